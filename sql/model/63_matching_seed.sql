-- Shipped: a model of matching that is good without training, common nicknames, and values that mean nothing.
DO $do$
DECLARE
    version_id bigint;
BEGIN
    IF EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'matching/standard') THEN
        RETURN;
    END IF;
    INSERT INTO referral.rule_set (name, kind, owner, note)
    VALUES ('matching/standard', 'matching', 'referral', 'Shipped with the extension: the model.'),
           ('matching/dictionary', 'matching', 'referral', 'Shipped with the extension: nicknames and placeholders.');

    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'matching/standard'
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.match_model (rule_version_id, title, prior_bits, certain_bits, probable_bits, possible_bits,
                                      margin_bits, household_cap_bits, frequency_weight)
    VALUES (version_id, 'Good without training', -11.6, 19, 14.5, 0, 5, 21.5, 0.5);
    INSERT INTO referral.match_level (rule_version_id, field, level, m, u)
    SELECT version_id, d.field, d.level, d.m, d.u FROM referral.match_default_levels() d;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;

    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    SELECT s.rule_set_id, true, 'Shipped with the extension.' FROM referral.rule_set s WHERE s.name = 'matching/dictionary'
    RETURNING rule_version_id INTO version_id;
    -- a line is a name and its nicknames
    INSERT INTO referral.match_nickname (rule_version_id, name, nicknames)
    SELECT version_id, words[1], words[2:]
    FROM (SELECT string_to_array(line, ' ') FROM string_to_table($names$aaron ron ronnie erin
abigail abby abbie gail
abraham abe bram ibrahim
adelaide addie ada heidi della
adeline addie ada adele
adrian ade adriano hadrian
agatha aggie
agnes aggie inez nessa
ahmed ahmad achmed ahmet
albert al bert bertie alberto
alejandro alex ale jandro
alejandra alex ale jandra sandra
alexander alex al alec xander zander sandy sasha lex alexandre aleksandr alessandro
alexandra alex lexi lexie sandra sandy sasha alexa aleksandra alessandra
alfred al alf alfie fred freddie alfredo
alice ali allie alicia alyce
alison ali allie allison alyson
amanda mandy manda amy
amelia amy millie emily mel
anastasia ana stacy stacey tasha stasia
andrea andi andie drea andy
andrew andy drew andre andreas andrzej andrei
angela angie ange angelina angel
angelica angie angel
ann anne anna annie nan nancy ana
annabelle anna belle bella annie anabel
anthony tony ant antony antonio anton
antoinette toni tony nettie
antonia toni nia
archibald archie
arnold arnie
arthur art artie arturo
augustus gus augie august augustine agustin
barbara barb babs barbie bobbie
bartholomew bart barry
beatrice bea trixie bee beatriz
belinda bel linda
benjamin ben benny benji benjie
bernadette bernie detta
bernard bernie barney bernardo
bertram bert bertie
bethany beth
beverly bev beverley
bradley brad
brandon brand
brenda bren
brian bryan bryant
bridget biddy bridie brigid birgit
calvin cal
cameron cam
candace candy candice
carl karl carlos
carol carole caroline carrie carolyn
caroline carol carrie caro lina carolyn carolina
carolyn carol carrie lyn
casey kc
cassandra cass cassie sandra sandy
catherine cathy kate katie cat cath kathy kitty kay katherine kathryn catharine catalina caterina
cecilia cece celia cissy
charles charlie chuck chas chaz charley carlos karl
charlotte charlie lottie lotte char carlotta
chelsea chels
chester chet
christian chris cristian kristian
christina chris chrissy tina christy christine kristina cristina
christine chris chrissy tina christy christina kristine
christopher chris kit topher christoph cristobal christophe
clarence clare
clifford cliff
clinton clint
concepcion concha conchita
constance connie
consuelo chelo
cordelia delia
cornelius neil corny
courtney court
crystal krystal chrystal
curtis curt kurt
cynthia cindy cyndi
daisy margaret
dalton dal
daniel dan danny daniele danilo
danielle dani danny daniela
darlene dar
david dave davy davey davide dawid
deborah deb debbie debra debby
delores dee lola dolores
dennis denny denis
desiree desi
diana di diane dianne dinah
dominic dom nick dominick domenico domingo
donald don donnie donny
dorothy dot dottie dolly dora
douglas doug
duncan dunc
edith edie
edmund ed eddie ned ted edmond
eduardo ed eddie lalo edward
edward ed eddie ted teddy ned eduardo edouard
edwin ed eddie win
eleanor ellie ella nell nellie nora elinor leonor
elaine ellie lainie helen
elijah eli
elizabeth liz beth betty lizzie eliza betsy bess elisabeth libby lisa elsie ellie liza lizbeth isabel elspeth
ellen ellie nell helen elena
emily em emmy millie emilia
emma em emmy
enrique kike quique henry
ernest ernie ernesto
esperanza lanza hope
esther essie hester ester
ethel effie
eugene gene
eugenia gena genie
evangeline eva evie angie
evelyn eve evie lyn eveline
ezekiel zeke
fatima fatma fatimah
felicia fee licia
fernando nando fern
florence flo flossie flora
frances fran francie frannie fanny francesca
francesca fran frankie cesca
francis frank fran franky francisco francesco
francisco paco pancho frank cisco kiko francis
franklin frank
frederick fred freddie freddy rick fritz frederic federico friedrich
gabriel gabe gabby gavriel
gabriela gabby gabi gabrielle ella
gabrielle gabby gabi brie ella gabriela
geoffrey geoff jeff jeffrey
george georgie jorge georg giorgio
georgina gina georgie georgia
gerald gerry jerry gerardo
geraldine gerry geri dina
gerard gerry gerardo
gertrude trudy gert gertie
giovanni gianni john vanni
giuseppe beppe peppe joseph
glenn glen glyn
gloria glory
grace gracie graciela
graham graeme gray
gregory greg gregg gregorio grzegorz
guadalupe lupe lupita
guillermo memo william
gwendolyn gwen wendy
hannah hanna annie
harold hal harry
harriet hattie harry
harrison harry
harvey harv
hassan hasan
heather hettie
hector heck
helen nell ellen helena lena elena
henrietta etta hettie hattie
henry harry hank hal henri enrique heinrich hendrik
herbert herb bert
herman hermann armand
horace horatio
howard howie
hubert hugh bert hugo
hugh hughie hugo huw
humberto beto
ian iain john
ignacio nacho iggy ignatius
imogen immy
irene rene renie irena
isaac ike zac itzhak
isabel izzy bella belle isabella isobel isabelle ysabel
isabella izzy bella belle isabel isabelle
isaiah zay ike
isidore izzy isidro
ivan john vanya
jacqueline jackie jacqui jacquelyn jaclyn
jacob jake jakob jacobo coby
jaime jamie james
james jim jimmy jamie jem jimmie jaime jas
jamie james jaime
jane janie janet jean jenny jayne
janet jan jane janette
janice jan janis
jason jay jase
jasmine jas jazz yasmin jasmin
javier javi xavier
jean jeannie jeanne jane joan
jeanette jean jeannie nettie
jeffrey jeff geoff geoffrey jeffery
jennifer jen jenny jenna jenni
jeremiah jerry jeremy
jeremy jerry jem jeremiah
jerome jerry
jesse jess jessie
jessica jess jessie
jesus chuy chucho
jill jillian gillian
jillian jill jilly gillian
gillian gill jill jilly
joan joanie jo
joanna jo joan joanne johanna jojo
joanne jo joann joanna joan
joaquin quino
jocelyn joss josie
joel joey
john johnny jack jon johnnie sean juan ian jean johann johannes jan
jonathan jon john johnny nathan jonny johnathan jonathon
jordan jordy judd
jorge george coque
jose pepe joe joseph chepe
josefina pepa fina josie
joseph joe joey jo josef jose yusuf giuseppe
josephine jo josie josey jody
joshua josh
joyce joy
juan john juancho
juanita nita juana
judith judy jude
julia julie jules juliet
julian jules julio
julie jules julia
juliet jules julie juliette
june junie
justin justus
karen kari karin caren
katherine kate katie kathy kat kay kitty katharine kathryn catherine katrina kathleen katarina
kathleen kathy kate katie kay cathleen
kathryn kathy kate katie kat katherine catherine
katrina kat trina katie
kelly kel kelley
kenneth ken kenny
kevin kev
kimberly kim kimmy kimberley kym
kristen kris kirsten kristin kristi
kristina kris tina kristi christina
kyle kile
larry lawrence laurence
laura laurie lori lauren
lauren laurie laura loren
laurence larry laurie lawrence
lawrence larry laurie lars loren laurence lorenzo
leonard leo len lenny leonardo
leonora nora leo
leroy roy lee
leslie les lesley
lester les
lewis lew lou louis
lillian lil lily lilly lilian
linda lindy lyn lynda
lindsay lindsey lin
lisa liz elisabeth
lois louise
lorenzo enzo lawrence
loretta lori etta
lorraine lori raine
louis lou louie lewis luis luigi ludwig
louise lou lulu luisa
lucas luke luc lukas luca
lucille lucy lu
lucinda lucy cindy
lucy lucia lu luz
luis lucho louis
luther lute
lydia liddy
lynn lynne lyn
mabel may mae amabel
mackenzie kenzie mac
madeline maddie mady madeleine madelyn lena magdalena
magdalena magda lena maggie maddie
malcolm mal
manuel manny manolo emmanuel
emmanuel manny manuel emanuel manu
marcus mark marc marco marcos
margaret maggie meg peggy marge margie megan greta rita daisy madge peg margarita margot marguerite
margarita margo rita margaret
maria mary marie mia mariah
mariam maryam miriam mary
marianne mary anne mariana marian
marie mary maria
marilyn mary lyn marylin
marion mary marian
marjorie marge margie marjory
mark marc marcus marco
martha marty mattie marta
martin marty mart martijn
marvin marv
mary molly polly mae may mamie maria marie mariam miriam
matilda tilly mattie tilda
matthew matt matty mathew mateo matthias mathias
maureen mo
maurice moe morris mauricio
maxine max
maximilian max maximiliano
maxwell max
megan meg meghan
melanie mel melly
melinda mel mindy linda
melissa mel missy lissa
melvin mel
mercedes mercy merche
meredith merry
michael mike mick mickey mikey mitch micheal miguel michel mikhail michal
michelle shelly chelle shell micki michele
miguel mike michael
mildred millie
milton milt
minerva minnie
miranda randy mandy
miriam mimi mary
mitchell mitch
mohammed mohammad muhammad mohamed mohamad mo muhammed mohd
monica mona nica monika
montgomery monty
morgan mo
moses moe moshe moises musa
muriel mur
nancy nan ann
naomi omi
natalie nat nattie natalia natasha
natasha nat tasha natalie
nathan nat nate nathaniel
nathaniel nat nate nathan
neil neal niall
nellie helen eleanor nell
nicholas nick nicky nico nicolas klaus nikolai nicola
nicole nikki nicky nic nichole nicola
noah noe
nora eleanor honora norah
norman norm
octavia tavia
oliver ollie olly olivier
olivia liv livvy ollie
oscar ossie
oswald ozzie os
pamela pam pammy
patience pat patty
patricia pat patty trish tricia patsy patti trisha
patrick pat paddy rick patricio
paul pauly paulie pablo paolo pavel
paula polly paulina
pauline paula polly paulina
penelope penny
percival percy
perry peregrine
peter pete pedro pietro pierre piotr
philip phil pip phillip felipe philippe
philippa pippa pip
phyllis phyl
priscilla cilla prissy
prudence pru
quentin quinn
rachel rach rae raquel rachael
rafael rafa raf ralph raphael
ralph rafe rafael
ramon ray raymond
randall randy rand
randolph randy dolph
raymond ray ramon raymundo
rebecca becky becca beck reba rebekah
regina gina reggie
reginald reg reggie ron reynaldo
rene rena
renee rena
reuben rube ruben
rhonda ronnie
ricardo ricky rick cardo richard
richard rick dick rich ricky richie dickie ricardo rik
rita margarita margaret
robert bob rob bobby robbie bert robin roberto bobbie rupert
roberta bobbie robbie berta
roderick rod rick roddy
rodney rod
rodolfo rudy fito rudolph
rodrigo rod rigo
roger rodge rogelio
roland rollie rolly orlando
ronald ron ronnie ronny
rosalind ros rosie roz rosalinda
rosemary rose rosie mary romy
rosario charo rosa
rose rosie rosa
rosa rosie rose rosita
roxanne roxy roxie
rudolph rudy rolf rodolfo
russell russ rusty
ruth ruthie
ryan ry
sabrina brina
sadie sarah sally
salvador sal chava
salvatore sal
samantha sam sammy
samuel sam sammy
sandra sandy sandi alexandra
santiago santi james diego
sarah sally sadie sara
scott scotty
sean shaun shawn shane john
sebastian seb bastian bas
serena rena
sergio serge checo
seth set
shannon shan
sharon shari sherry
sheila shelagh
shelby shel
sheldon shelly
shirley shirl lee
sidney sid sydney
silvia sylvia sylvie
simon si simeon
sophia sophie sofia
spencer spence
stanley stan
stella estelle estella
stephanie steph stephie stefanie steffi
stephen steve steven stevie stefan esteban stephan stevan
steven steve stephen stevie stefan esteban
stuart stu stewart
susan sue susie suzy suzanne susanna sukie
susanna sue susan anna suzanna zsuzsanna
suzanne sue susan suzy
sylvester sly
sylvia syl silvia
tabitha tabby
tamara tammy tam
tatiana tania tanya
taylor tay
teresa terry tess tessa theresa therese tracy
terence terry terrence terrance
theodora dora thea theo
theodore ted teddy theo theodor teodoro
theresa terry tess tessa teresa tracy terri
thomas tom tommy thom tomas tommaso
tiffany tiff
timothy tim timmy
tobias toby tobi
todd tod
tracy tracey tracie
travis trav
trevor trev
ursula ursa
valentina val tina
valerie val
vanessa nessa van
veronica ronnie vera roni nica
victor vic vick vittorio
victoria vicky vicki tori vikki tory
vincent vin vince vinny vinnie vicente vincenzo
viola vi violet
violet vi
virginia ginny ginger ginnie
vivian viv vivien vivienne
vladimir vlad volodya
walter walt wally
wallace wally
wanda wendy
warren ren
wayne dwayne duane
wendell del
wendy gwendolyn
wesley wes
wilbur will wil
wilfred will fred wilf
wilhelmina mina billie willa minnie
willard will bill
william bill will billy willy liam willie guillermo wilhelm willem
winifred winnie freda
winston win
xavier javier zav
yasmin yas jasmine
yolanda yoli
yusuf joseph youssef yousef
yvonne evie von
zachary zach zack zac zachariah$names$, E'\n') line) n (words);
    INSERT INTO referral.match_placeholder (rule_version_id, kind, value)
    SELECT version_id, p.kind, v.value
    FROM (VALUES
        ('family', 'unknown,unk,none,null,na,nln,nolastname,lastname,nofamilyname,test,testpatient,patient,xxx,xx,doe,'
         'anonymous,anon,notgiven,notknown,unidentified,baby,babyboy,babygirl,newborn,trauma'),
        ('given', 'unknown,unk,none,null,na,nfn,nofirstname,firstname,test,testpatient,patient,xxx,xx,anonymous,anon,'
         'notgiven,notknown,unidentified,baby,babyboy,babygirl,babya,babyb,boy,girl,newborn,infant,infantboy,'
         'infantgirl,male,female,twin,twina,twinb,twinone,twintwo,bb,bg,trauma'),
        ('birth_date', '1900-01-01,1901-01-01,1800-01-01,1850-01-01,1753-01-01,0001-01-01,1111-11-11,1899-12-30,1899-12-31,'
         '1900-12-31,1999-12-31,9999-12-31,9999-09-09,*-01-01'),
        ('phone', '5555555,5551212,1234567890,0123456789,5555555555,9999999999,0000000000'),
        ('email', 'none@none.com,no@email.com,noemail@noemail.com,test@test.com,na@na.com,unknown@unknown.com,'
         'none@example.com,noreply@example.com'),
        ('street', 'unknown,none,homeless,no fixed address,no fixed abode,general delivery,no address,not known,'
         'undomiciled'),
        ('city', 'unknown,none,unk,na,test'),
        ('postal_code', '00000,99999,12345,11111,0000,9999,0,unknown'),
        ('identifier', '123456789,987654321,078051120,219099999,111223333,unknown,none,na')
    ) p (kind, list), string_to_table(p.list, ',') v (value);
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
END $do$;
