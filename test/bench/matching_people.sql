-- Many people, made up: names as frequent as they are in life (the most frequent family name has one in a hundred, most
-- are rare), and the same people as a sloppy desk enters them a second time. Nothing is random; after lib.sql.

CREATE FUNCTION bench.u(i bigint, k int) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (hashint8extended(i, k) & 1073741823) / 1073741824.0
$$;

-- One of the words, the earlier the more often when skew is above 1.
CREATE FUNCTION bench.word(words text[], i bigint, k int, skew float8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT words[1 + (cardinality(words) * ((hashint8extended(i, k) & 1073741823) / 1073741824.0) ^ skew)::int % cardinality(words)]
$$;

CREATE FUNCTION bench.people(first bigint, last bigint)
RETURNS TABLE (id bigint, family text, given text, middle text, birth_date date, sex text, phone text, email text,
               address text, city text, state text, postal_code text, ssn text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    WITH list AS MATERIALIZED (
        SELECT string_to_array('Smith,Johnson,Williams,Brown,Jones,Garcia,Miller,Davis,Rodriguez,Martinez,Hernandez,Lopez,Gonzalez,Wilson,Anderson,Thomas,Taylor,Moore,Jackson,Martin,Lee,Perez,Thompson,White,Harris,Sanchez,Clark,Ramirez,Lewis,Robinson,Walker,Young,Allen,King,Wright,Scott,Torres,Nguyen,Hill,Flores,Green,Adams,Nelson,Baker,Hall,Rivera,Campbell,Mitchell,Carter,Roberts', ',') AS common,
               string_to_array('Ash,Bar,Black,Brad,Brom,Carl,Chat,Clif,Crom,Dan,Dun,East,El,Farn,Gil,Gold,Har,Hart,Hazel,Hol,Is,Kings,Lang,Lin,Mar,Mel,Nor,Oak,Pem,Pres,Ram,Raven,Rock,Ros,Shel,Stan,Sut,Thorn,Under,Wake,West,Whit,Win,Wood', ',') AS front,
               string_to_array(',,,er,ing,en,le', ',') AS between,
               string_to_array('ton,ley,ford,son,man,field,wood,by,den,well,ham,bourne,brook,bury,combe,dale,don,grave,hurst,land,low,mere,more,ridge,stead,stone,worth,wick,gate,ell', ',') AS back,
               string_to_array('James,John,Robert,Michael,William,David,Richard,Joseph,Thomas,Charles,Daniel,Matthew,Anthony,Mark,Steven,Paul,Andrew,Joshua,Kenneth,Kevin,Brian,George,Edward,Ronald,Timothy,Jason,Jeffrey,Ryan,Jacob,Gary,Nicholas,Eric,Jonathan,Stephen,Larry,Justin,Scott,Brandon,Benjamin,Samuel,Jose,Luis,Carlos,Juan,Gregory,Frank,Alexander,Raymond,Patrick,Jack,Dennis,Jerry,Tyler,Aaron,Henry,Nathan,Douglas,Zachary,Peter,Kyle,Walter,Ethan,Jeremy,Harold,Keith,Christian,Roger,Noah,Gerald,Carl,Terry,Sean,Austin,Arthur,Lawrence,Jesse,Dylan,Bryan,Joe,Jordan,Billy,Bruce,Albert,Willie,Gabriel,Logan,Alan,Wayne,Roy,Ralph,Randy,Eugene,Vincent,Russell,Elijah,Louis,Bobby,Philip,Johnny', ',') AS male,
               string_to_array('Mary,Patricia,Jennifer,Linda,Elizabeth,Barbara,Susan,Jessica,Sarah,Karen,Lisa,Nancy,Betty,Margaret,Sandra,Ashley,Kimberly,Emily,Donna,Michelle,Carol,Amanda,Melissa,Deborah,Stephanie,Rebecca,Laura,Sharon,Cynthia,Kathleen,Amy,Angela,Shirley,Anna,Brenda,Pamela,Emma,Nicole,Helen,Samantha,Katherine,Christine,Rachel,Carolyn,Janet,Maria,Heather,Diane,Ruth,Julie,Olivia,Joyce,Virginia,Victoria,Kelly,Lauren,Christina,Joan,Evelyn,Judith,Andrea,Hannah,Megan,Cheryl,Jacqueline,Martha,Madison,Teresa,Gloria,Sara,Janice,Ann,Kathryn,Abigail,Sophia,Frances,Jean,Alice,Judy,Isabella,Julia,Grace,Amber,Denise,Danielle,Marilyn,Beverly,Charlotte,Natalie,Theresa,Diana,Brittany,Doris,Kayla,Alexis,Lori,Marie', ',') AS female,
               string_to_array('Main,Oak,Park,Maple,Cedar,Elm,Washington,Lake,Hill,Walnut,Spring,Church,Mill,River,Sunset,Railroad,Jefferson,Center,Highland,Forest,Jackson,Meadow,Chestnut,Ridge,Franklin,Cherry,Locust,Prospect,Madison,Spruce,Lincoln,Adams,Grove,Pleasant,Dogwood,Monroe,Valley,Hickory,Sycamore,Willow', ',') AS street,
               string_to_array('Street,Avenue,Road,Drive,Lane,Court,Place,Circle', ',') AS type,
               string_to_array('North,South,New,Port,Lake,Mount,Fort,Grand,Old,Saint', ',') AS city1,
               string_to_array('Albion,Bristol,Camden,Dover,Easton,Fairfax,Geneva,Hudson,Ithaca,Jasper,Keene,Linden,Milton,Newton,Orleans,Preston,Quincy,Ripley,Salem,Troy', ',') AS city2)
    SELECT p.id,
           CASE WHEN bench.u(p.id, 1) < 0.25 THEN bench.word(common, p.id, 2, 1.3)
                ELSE bench.word(front, p.id, 3, 1.2) || bench.word(between, p.id, 4, 1) || bench.word(back, p.id, 5, 1.2) END,
           bench.word(CASE WHEN woman THEN female ELSE male END, p.id, 6, 1.5),
           CASE WHEN bench.u(p.id, 7) < 0.5 THEN bench.word(CASE WHEN woman THEN female ELSE male END, p.id, 8, 1.5) END,
           date '2025-12-31' - (33000 * bench.u(p.id, 9))::int,
           CASE WHEN woman THEN 'female' ELSE 'male' END,
           CASE WHEN bench.u(p.id, 10) < 0.85 THEN (2000000000 + 7999999999 * bench.u(p.id, 11))::bigint::text END,
           CASE WHEN bench.u(p.id, 12) < 0.3 THEN lower(bench.word(front, p.id, 13, 1)) || (100000 * bench.u(p.id, 14))::int || '@example.org' END,
           1 + (2000 * bench.u(p.id, 15) ^ 2)::int || ' ' || bench.word(street, p.id, 16, 1.2) || ' ' || bench.word(type, p.id, 17, 1),
           bench.word(city1, town, 18, 1) || ' ' || bench.word(city2, town, 19, 1), 'PA',
           (15000 + 9 * town)::text,
           CASE WHEN bench.u(p.id, 20) < 0.7 THEN (100000000 + 899999999 * bench.u(p.id, 21))::bigint::text END
    FROM list, generate_series(first, last) p (id),
         LATERAL (SELECT bench.u(p.id, 22) < 0.5 AS woman, (500 * bench.u(p.id, 23) ^ 1.5)::bigint AS town) x
$$;

-- A letter exchanged for another one or two neighbours for each other.
CREATE FUNCTION bench.slip(value text, i bigint, k int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN length(value) < 3 THEN value
                WHEN bench.u(i, k) < 0.5 THEN overlay(value PLACING substr('etaoinshrdlu', 1 + (12 * bench.u(i, k + 1))::int % 12, 1) FROM at FOR 1)
                ELSE left(value, at - 1) || substr(value, at + 1, 1) || substr(value, at, 1) || substr(value, at + 2) END
    FROM (SELECT 2 + (bench.u(i, k + 2) * (length(value) - 2))::int % greatest(length(value) - 2, 1)) x (at)
$$;

-- The same people as they are asked for: given name, family name and address misspelled, half without number, some moved,
-- some with day and month of birth exchanged.
CREATE FUNCTION bench.again(first bigint, last bigint)
RETURNS TABLE (id bigint, family text, given text, middle text, birth_date date, sex text, phone text, email text,
               address text, city text, state text, postal_code text, ssn text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p.id, bench.slip(p.family, p.id, 31), bench.slip(p.given, p.id, 34), NULL,
           CASE WHEN bench.u(p.id, 37) < 0.1 AND extract(day FROM p.birth_date) <= 12
                THEN make_date(extract(year FROM p.birth_date)::int, extract(day FROM p.birth_date)::int, extract(month FROM p.birth_date)::int)
                ELSE p.birth_date END,
           p.sex, CASE WHEN bench.u(p.id, 38) < 0.6 THEN p.phone END, NULL,
           CASE WHEN bench.u(p.id, 39) < 0.2 THEN q.address ELSE bench.slip(p.address, p.id, 40) END,
           CASE WHEN bench.u(p.id, 39) < 0.2 THEN q.city ELSE p.city END, p.state,
           CASE WHEN bench.u(p.id, 39) < 0.2 THEN q.postal_code ELSE p.postal_code END,
           CASE WHEN bench.u(p.id, 43) < 0.5 THEN p.ssn END
    FROM bench.people(first, last) p JOIN bench.people(first + 500000000, last + 500000000) q ON q.id = p.id + 500000000
$$;
