-- Made-up people with known answers, harder than published sets; after matching_data.sql. Nothing here is random: what
-- happens to a record follows from hashes of its number. The names are a list of our own. The variable few_people leaves
-- out what no target is set for.

-- A number of [0, 1) that the key decides.
CREATE FUNCTION people.u(VARIADIC key text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
    SELECT (hashtextextended(array_to_string(key, '/'), 2026) & 4294967295) / 4294967296.0
$$;

-- One of the values; those at the front more often than the rest when skew is above 1.
CREATE FUNCTION people.pick(list text[], key text, skew float8 DEFAULT 1) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT list[1 + floor(cardinality(list) * power(people.u(key), skew))::int]
$$;

-- ---------- Names ----------

CREATE TABLE people.name (culture text, kind text, names text[], PRIMARY KEY (culture, kind));
INSERT INTO people.name SELECT v.culture, v.kind, string_to_array(v.names, ',') FROM (VALUES
('anglo', 'family', 'Smith,Johnson,Brown,Taylor,Wilson,Davies,Evans,Thomas,Walker,White,Roberts,Green,Hall,Wood,Clarke,Jackson,Harris,Cooper,King,Lee,Martin,Baker,Hill,Ward,Turner,Carter,Phillips,Mitchell,Campbell,Anderson,Scott,Young,Stewart,Morris,Murphy,Cook,Rogers,Reed,Bailey,Bell,Kelly,Howard,Cox,Richardson,Watson,Brooks,Gray,James,Bennett,Hughes,Price,Myers,Long,Foster,Sanders,Ross,Powell,Sullivan,Russell,Fisher,Henderson,Cole,West,Jordan,Owens,Reynolds,Graham,Wallace,Woods,McDonald,O''Brien,MacLeod,Fitzgerald,McCarthy'),
('anglo', 'male', 'James,John,Robert,Michael,William,David,Richard,Joseph,Thomas,Charles,Daniel,Matthew,Anthony,Mark,Steven,Paul,Andrew,Joshua,Kenneth,Kevin,Brian,George,Edward,Ronald,Timothy,Jason,Jeffrey,Ryan,Jacob,Gary,Nicholas,Eric,Jonathan,Stephen,Larry,Justin,Scott,Brandon,Benjamin,Samuel,Gregory,Frank,Alexander,Raymond,Patrick,Jack,Dennis,Jerry,Tyler,Aaron,Henry,Nathan,Douglas,Zachary,Peter,Kyle,Walter,Ethan,Jeremy,Harold'),
('anglo', 'female', 'Mary,Patricia,Jennifer,Linda,Elizabeth,Barbara,Susan,Jessica,Sarah,Karen,Lisa,Nancy,Betty,Margaret,Sandra,Ashley,Kimberly,Emily,Donna,Michelle,Carol,Amanda,Melissa,Deborah,Stephanie,Rebecca,Laura,Sharon,Cynthia,Kathleen,Amy,Angela,Shirley,Anna,Brenda,Pamela,Emma,Nicole,Helen,Samantha,Katherine,Christine,Rachel,Carolyn,Janet,Catherine,Maria,Heather,Diane,Ruth,Julie,Olivia,Joyce,Virginia,Victoria,Kelly,Lauren,Christina,Joan,Evelyn'),
('german', 'family', 'Müller,Schmidt,Schneider,Fischer,Weber,Meyer,Wagner,Becker,Schulz,Hoffmann,Schäfer,Koch,Bauer,Richter,Klein,Wolf,Schröder,Neumann,Schwarz,Zimmermann,Braun,Krüger,Hofmann,Hartmann,Lange,Werner,Krause,Lehmann,Köhler,Maier,Herrmann,König,Mayer,Walter,Kaiser,Fuchs,Peters,Lang,Scholz,Möller,Weiß,Jung,Hahn,Vogel,Keller,Günther,Berger,Winkler,Roth,Beck,Lorenz,Baumann,Franke,Albrecht,Schuster,Simon,Ludwig,Böhm,Winter,Kraus,Schumacher,Krämer,Vogt,Jäger,Otto,Groß,Seidel,Heinrich,Brandt,Haas,Schreiber,Graf,Dietrich,Ziegler,Kuhn,Kühn,Pohl,Engel,Horn,Busch,Bergmann,Voigt,Sauer,Arnold,Pfeiffer'),
('german', 'male', 'Peter,Michael,Thomas,Andreas,Wolfgang,Klaus,Jürgen,Günter,Stefan,Christian,Uwe,Werner,Horst,Frank,Dieter,Manfred,Gerhard,Hans,Bernd,Torsten,Matthias,Helmut,Walter,Heinz,Martin,Jörg,Rolf,Jens,Sven,Alexander,Rainer,Holger,Karl,Ralf,Dirk,Heiko,Herbert,Kurt,Joachim,Norbert,Karl-Heinz,Hans-Peter,Tobias,Sebastian,Markus,Björn,Lukas,Felix,Jan,Tim'),
('german', 'female', 'Ursula,Karin,Helga,Sabine,Ingrid,Renate,Monika,Susanne,Gisela,Petra,Birgit,Andrea,Anna,Brigitte,Claudia,Erika,Christa,Elke,Stefanie,Gertrud,Elisabeth,Maria,Angelika,Heike,Gabriele,Ilse,Nicole,Christine,Barbara,Martina,Katharina,Hildegard,Silke,Jutta,Katrin,Julia,Anja,Silvia,Melanie,Ute,Kerstin,Anna-Lena,Eva-Maria,Ulrike,Käthe,Bärbel,Doris,Sandra,Nadine,Tanja'),
('hispanic', 'family', 'García,Rodríguez,Martínez,Hernández,López,González,Pérez,Sánchez,Ramírez,Torres,Flores,Rivera,Gómez,Díaz,Reyes,Morales,Cruz,Ortiz,Gutiérrez,Chávez,Ramos,Ruiz,Álvarez,Mendoza,Vásquez,Castillo,Jiménez,Moreno,Romero,Herrera,Medina,Aguilar,Garza,Castro,Vargas,Fernández,Guzmán,Muñoz,Méndez,Salazar,Soto,Delgado,Peña,Ríos,Ortega,Guerrero,Sandoval,Domínguez,Núñez,Ibáñez'),
('hispanic', 'male', 'José,Luis,Juan,Carlos,Jesús,Miguel,Jorge,Francisco,Antonio,Manuel,Alejandro,Pedro,Roberto,Fernando,Ricardo,Eduardo,Javier,Rafael,Sergio,Arturo,Alberto,Héctor,Raúl,Enrique,Óscar,Martín,Andrés,Víctor,Rubén,Ramón,Diego,Álvaro,Juan Carlos,José Luis,Miguel Ángel,Marco Antonio'),
('hispanic', 'female', 'María,Guadalupe,Juana,Margarita,Verónica,Rosa,Elena,Leticia,Gabriela,Patricia,Carmen,Alicia,Yolanda,Martha,Teresa,Ana,Silvia,Claudia,Lucía,Sofía,Isabel,Adriana,Beatriz,Mónica,Ángela,Inés,Pilar,Dolores,María José,Ana María,María Elena,Rosa María'),
('arabic', 'family', 'Hassan,Hussein,Ahmed,Ibrahim,Mansour,Khalil,Al-Sayed,Haddad,Nasser,Saleh,Abdullah,Al-Masri,Farouk,Qasim,Rahman,Said,Aziz,Karim,Hamdan,Khoury,Darwish,El-Sherif,Al-Amin,Bakri,Shaheen,Najjar,Sabbagh,Tawfiq,Zaki,Younis,Habib,Sharif,Jabbar,Mahmoud,Othman'),
('arabic', 'male', 'Mohammed,Ahmed,Ali,Omar,Youssef,Khaled,Hassan,Hussein,Ibrahim,Abdullah,Mustafa,Samir,Tariq,Bilal,Faisal,Hamza,Karim,Nabil,Rashid,Walid,Abdul Rahman,Abdelaziz,Jamal,Sulaiman,Zaid'),
('arabic', 'female', 'Fatima,Aisha,Maryam,Zainab,Khadija,Layla,Noor,Salma,Amina,Hana,Yasmin,Rania,Huda,Samira,Nadia,Leila,Sumaya,Rasha,Dina,Iman,Mariam,Zahra,Safiya,Asma,Ghada'),
('chinese', 'family', 'Wang,Li,Zhang,Liu,Chen,Yang,Huang,Zhao,Wu,Zhou,Xu,Sun,Ma,Zhu,Hu,Guo,He,Lin,Gao,Luo,Zheng,Liang,Xie,Song,Tang,Deng,Feng,Han,Cao,Zeng,Peng,Xiao,Cai,Pan,Tian,Dong,Yuan,Yu,Ye,Jiang'),
('chinese', 'male', 'Wei,Qiang,Lei,Jun,Yong,Jie,Tao,Ming,Chao,Gang,Xiaoming,Jianguo,Zhiqiang,Guangming,Haoran,Zihan,Yuxuan,Junjie,Weidong,Jianping,Xiaodong,Guoqiang,Zhigang,Wenbin,Haitao,Yifan,Mingze,Jiahao'),
('chinese', 'female', 'Fang,Na,Xiuying,Min,Jing,Li,Yan,Juan,Xia,Ying,Xiaohong,Yuhan,Meiling,Xiuzhen,Lihua,Xiaoyan,Yuting,Jiayi,Shuying,Chunhua,Guiying,Hongmei,Xinyi,Ziyu,Yanling,Lijuan,Qian,Mengyao'),
('african', 'family', 'Okafor,Okonkwo,Adeyemi,Balogun,Mensah,Owusu,Boateng,Nkrumah,Diallo,Traoré,Ouédraogo,Coulibaly,Keita,Mwangi,Kamau,Otieno,Odhiambo,Wanjiru,Kiprotich,Mugisha,Byaruhanga,Namukasa,Ssempijja,Tumusiime,Ndlovu,Dlamini,Khumalo,Nkosi,Moyo,Chukwu,Eze,Nwosu,Abebe,Tesfaye,Bekele,Haile,Mutombo,Kabila,Lumumba,Banda,Phiri,Zulu'),
('african', 'male', 'Kwame,Kofi,Chinedu,Emeka,Oluwaseun,Babatunde,Tunde,Kipkoech,Kiprono,Mutua,Juma,Baraka,Musa,Sekou,Mamadou,Ousmane,Sipho,Thabo,Tendai,Tafadzwa,Abel,Dawit,Yonas,Okello,Opio,Ssebo,Wasswa,Kato,Emmanuel,Moses,Isaac,Godfrey'),
('african', 'female', 'Akosua,Ama,Chioma,Ngozi,Adaeze,Folake,Yetunde,Wanjiku,Njeri,Akinyi,Achieng,Fatoumata,Aminata,Mariama,Nomsa,Thandiwe,Lindiwe,Rudo,Chipo,Tsion,Hirut,Almaz,Nakato,Babirye,Nalubega,Zuwena,Grace,Esther,Mercy,Blessing,Patience,Naume'),
('slavic', 'family', 'Ivanov,Petrov,Sidorov,Kuznetsov,Popov,Volkov,Sokolov,Morozov,Novikov,Fedorov,Mikhailov,Kowalski,Nowak,Wiśniewski,Wójcik,Kamiński,Lewandowski,Zieliński,Szymański,Novák,Svoboda,Dvořák,Horvat,Kovačević,Jovanović,Shevchenko,Bondarenko,Kovalenko,Tkachenko,Kravchenko'),
('slavic', 'male', 'Aleksandr,Sergei,Dmitry,Andrei,Alexei,Yevgeny,Mikhail,Vladimir,Ivan,Nikolai,Piotr,Krzysztof,Andrzej,Tomasz,Paweł,Jan,Josip,Marko,Oleksandr,Mykola,Yuri,Grigory,Pavel,Viktor'),
('slavic', 'female', 'Yelena,Olga,Tatiana,Natalia,Irina,Svetlana,Anna,Yekaterina,Maria,Ludmila,Agnieszka,Małgorzata,Katarzyna,Ewa,Joanna,Barbara,Ivana,Marija,Oksana,Galina,Nadezhda,Vera,Zoya,Larisa'),
('asian', 'family', 'Nguyễn,Trần,Lê,Phạm,Huỳnh,Võ,Đặng,Bùi,Đỗ,Ngô,Patel,Sharma,Singh,Kumar,Gupta,Reddy,Nair,Iyer,Chowdhury,Banerjee,Mukherjee,Kim,Park,Choi,Jung,Kang,Tanaka,Suzuki,Sato,Takahashi,Watanabe,Santos,Bautista,Dela Cruz,Villanueva'),
('asian', 'male', 'Minh,Hùng,Dũng,Tuấn,Quang,Đức,Rajesh,Amit,Vijay,Sanjay,Anil,Suresh,Ravi,Arjun,Rohit,Min-jun,Seo-jun,Ji-hoon,Hiroshi,Takeshi,Kenji,Yuki,Jose Mari,Ramon,Venkatesh,Lakshman'),
('asian', 'female', 'Linh,Hương,Thảo,Ngọc,Mai,Lan,Priya,Anjali,Sunita,Deepika,Kavita,Lakshmi,Pooja,Shreya,Ananya,Seo-yeon,Ji-woo,Min-ji,Yoko,Keiko,Haruka,Akiko,Maricel,Rosario,Meenakshi,Radhika')
) v (culture, kind, names);

-- Rarer family names, put together: 30 x 24.
INSERT INTO people.name
SELECT 'rare', 'family', array_agg(a || b ORDER BY people.u(a, b))
FROM unnest(string_to_array('Ash,Black,Brad,Brom,Carl,Chat,Clif,Crom,Dan,East,Farn,Gold,Hart,Hazel,Hol,Kings,Lang,Mar,Nor,Oak,Pem,Raven,Rock,Shel,Stan,Thorn,Under,Wake,West,Win', ',')) a,
     unnest(string_to_array('bourne,brook,bury,by,combe,dale,den,don,field,ford,grave,ham,hurst,land,ley,low,man,mere,more,ridge,stead,stone,ton,worth', ',')) b;
INSERT INTO people.name SELECT 'anglo', 'street', string_to_array('Main,Oak,Park,Maple,Cedar,Elm,Washington,Lake,Hill,Walnut,Spring,Church,Mill,River,Sunset,Railroad,Jefferson,Center,Highland,Forest,Jackson,Meadow,Chestnut,Ridge,Franklin,Cherry,Locust,Prospect,Madison,Spruce,Lincoln,Adams,Grove,Pleasant,Dogwood,Monroe,Valley,Hickory,Sycamore,Willow', ',');
INSERT INTO people.name SELECT 'anglo', 'street_type', string_to_array('Street,Avenue,Road,Drive,Lane,Court,Place,Circle', ',');
INSERT INTO people.name SELECT 'anglo', 'city', array_agg(a || ' ' || b ORDER BY people.u(a, b))
FROM unnest(string_to_array('North,South,New,Port,Lake,Mount,Fort,Grand,Old,Saint', ',')) a,
     unnest(string_to_array('Albion,Bristol,Camden,Dover,Easton,Fairfax,Geneva,Hudson,Ithaca,Jasper,Keene,Linden,Milton,Newton,Orleans,Preston,Quincy,Ripley,Salem,Troy', ',')) b;

CREATE FUNCTION people.name(culture text, kind text, key text, skew float8 DEFAULT 1.6) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT people.pick(n.names, key || kind, skew) FROM people.name n WHERE n.culture = name.culture AND n.kind = name.kind
$$;

CREATE FUNCTION people.family(culture text, key text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN culture IN ('anglo', 'german') AND people.u(key, 'rare?') < 0.5 THEN people.name('rare', 'family', key, 1.2)
                ELSE people.name(culture, 'family', key) END
$$;

-- ---------- A whole person ----------

CREATE FUNCTION people.birth(key text, years int DEFAULT 90) RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT date '2025-12-31' - floor(years * 365 * people.u(key, 'birth'))::int
$$;

CREATE FUNCTION people.street(key text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT (1 + floor(900 * power(people.u(key, 'number'), 2)))::int || ' ' || people.name('anglo', 'street', key, 1.2) || ' '
           || people.name('anglo', 'street_type', key)
$$;

CREATE FUNCTION people.digits(key text, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lpad(floor(people.u(key, 'digits') * power(10, n))::bigint::text, n, '0')
$$;

CREATE FUNCTION people.synthetic(culture text, key text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'family', people.family(culture, key), 'given', people.name(culture, sex.word, key),
        'middle', CASE WHEN people.u(key, 'middle?') < 0.4 THEN people.name(culture, sex.word, key || 'middle') END,
        'sex', left(sex.word, 1), 'birth_date', people.birth(key),
        'address', people.street(key), 'city', city, 'postal_code', (10000 + floor(people.u(city) * 80000))::int,
        'state', people.pick('{PA,NY,NJ,OH,MA}', city), 'phone', '5' || people.digits(key || 'phone', 9),
        'email', CASE WHEN people.u(key, 'email?') < 0.4 THEN lower(people.digits(key || 'mail', 5) || left(key, 1) || '@' || people.pick('{example.org,example.com,example.net,mail.example,post.example,inbox.example}', key || 'domain', 1.5)) END,
        'identifiers', jsonb_build_array('ssn|' || (100000000 + people.digits(key || 'ssn', 8)::int))))
    FROM (VALUES (CASE WHEN people.u(key, 'sex') < 0.5 THEN 'male' ELSE 'female' END)) sex (word),
         people.name('anglo', 'city', key, 1.3) city
$$;

-- ---------- What goes wrong ----------

-- One slip of the pen, of the ear or of a scanner.
CREATE FUNCTION people.slip(value text, key text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    n int := length(value);
    at int := 1 + floor(people.u(key, 'at') * n)::int;
    u float8 := people.u(key, 'slip');
    letters text := CASE WHEN value ~ '^[-0-9/ ]+$' THEN '0123456789' ELSE 'etaoinshrdlucmfwypvbgkjqxz' END;
    new text := substr(letters, 1 + floor(people.u(key, 'letter') * length(letters))::int, 1);
    sound text[];
BEGIN
    IF value ~ '^\d{4}-\d\d-\d\d$' THEN       -- of a date a digit, or two exchanged: it stays a date's eight digits
        value := replace(value, '-', '');
        at := 3 + floor(power(people.u(key, 'at'), 0.7) * 6)::int;
        value := CASE WHEN u < 0.7 OR at = 8 THEN left(value, at - 1) || new || substr(value, at + 1)
                      ELSE left(value, at - 1) || substr(value, at + 1, 1) || substr(value, at, 1) || substr(value, at + 2) END;
        RETURN regexp_replace(value, '(....)(..)(..)', '\1-\2-\3');
    ELSIF n < 2 THEN
        RETURN value;
    ELSIF u < 0.25 THEN                 -- another letter
        RETURN left(value, at - 1) || new || substr(value, at + 1);
    ELSIF u < 0.45 THEN                 -- one too few
        RETURN left(value, at - 1) || substr(value, at + 1);
    ELSIF u < 0.62 THEN                 -- one too many
        RETURN left(value, at - 1) || new || substr(value, at);
    ELSIF u < 0.80 THEN                 -- two exchanged
        at := least(at, n - 1);
        RETURN left(value, at - 1) || substr(value, at + 1, 1) || substr(value, at, 1) || substr(value, at + 2);
    ELSIF u < 0.86 THEN                 -- a space where none was, or the reverse
        RETURN CASE WHEN value ~ ' ' THEN replace(value, ' ', '') ELSE left(value, at) || ' ' || substr(value, at + 1) END;
    END IF;
    FOREACH sound SLICE 1 IN ARRAY '{{ph,f},{ck,k},{ee,ea},{ie,y},{c,k},{z,s},{ou,ow},{tt,t},{ll,l},{n,nn},{m,rn},{a,e},{i,e},{o,u},{0,6},{1,7},{5,6}}'::text[] LOOP
        IF strpos(lower(value), sound[1]) > 0 AND people.u(key, sound[1]) < 0.6 THEN
            RETURN replace(lower(value), sound[1], sound[2]);
        END IF;
    END LOOP;
    RETURN left(value, at - 1) || new || substr(value, at + 1);
END $$;

-- Several changes to a record: slips, values missing, new (moved, married, another phone), in each other's place.
CREATE FUNCTION people.damage(doc jsonb, changes int, culture text, key text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    fields text[] := '{family,family,given,given,address,address,city,postal_code,birth_date,birth_date,phone,identifiers,identifiers,state,middle,email}';
    field text;
    k text;
    u float8;
    value text;
    other jsonb;
BEGIN
    FOR i IN 1 .. changes LOOP
        k := key || '#' || i;
        field := people.pick(fields, k || 'field');
        u := people.u(k, 'what');
        value := people.several(doc->field, ' ');
        CONTINUE WHEN value IS NULL;
        IF field IN ('family', 'given') AND u < 0.06 THEN
            doc := doc || jsonb_build_object('family', doc->'given', 'given', doc->'family');
        ELSIF field = 'birth_date' AND u < 0.10 AND value ~ '^\d{4}-\d\d-\d\d$' THEN
            doc := doc || jsonb_build_object(field, substr(value, 1, 5) || substr(value, 9, 2) || '-' || substr(value, 6, 2));
        ELSIF u < 0.18 THEN
            doc := doc - field;
        ELSIF u < 0.28 OR field = 'state' THEN
            other := people.synthetic(culture, k || 'new');
            CONTINUE WHEN other->field IS NULL;
            doc := doc || jsonb_build_object(field, other->field);
            IF field = 'address' THEN
                doc := doc || jsonb_build_object('city', other->'city', 'postal_code', other->'postal_code');
            END IF;
        ELSIF field = 'identifiers' THEN
            doc := doc || jsonb_build_object(field, jsonb_build_array('ssn|' || people.slip(substr(value, 5), k)));
        ELSIF field = 'given' AND u < 0.36 THEN
            doc := doc || jsonb_build_object(field, left(value, 1));
        ELSE
            doc := doc || jsonb_build_object(field, people.slip(value, k));
        END IF;
    END LOOP;
    RETURN jsonb_strip_nulls(doc);
END $$;

-- Another way in which names of a culture are written.
CREATE FUNCTION people.respelled(doc jsonb, culture text, key text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
    family text := doc->>'family';
    given text := doc->>'given';
    u float8 := people.u(key, 'respelled');
    way text[];
BEGIN
    CASE culture
    WHEN 'hispanic' THEN        -- two family names: both, one, with a hyphen, the second alone
        family := CASE WHEN u < 0.35 THEN split_part(family, ' ', 1) WHEN u < 0.55 THEN replace(family, ' ', '-')
                       WHEN u < 0.65 THEN split_part(family, ' ', 2) ELSE family END;
        IF people.u(key, 'marks') < 0.5 THEN
            family := translate(family, 'áéíóúñÁ', 'aeiounA');
            given := translate(given, 'áéíóúñÁÓ', 'aeiounAO');
        END IF;
        IF people.u(key, 'first') < 0.3 THEN
            given := split_part(given, ' ', 1);
        END IF;
    WHEN 'arabic' THEN
        FOREACH way SLICE 1 IN ARRAY '{{Mohammed,Muhammad},{Mohammed,Mohamed},{Ahmed,Ahmad},{Hussein,Husain},{Youssef,Yusuf},{Abdul Rahman,Abdulrahman},{Abdelaziz,Abdul Aziz},{Khaled,Khalid},{Sulaiman,Suleiman},{Aisha,Aysha},{Maryam,Mariam},{Fatima,Fatma},{Khadija,Khadeeja},{Layla,Leila},{Noor,Nur},{Zainab,Zeinab},{Yasmin,Yasmeen},{Ibrahim,Ebrahim},{Mustafa,Moustafa}}'::text[] LOOP
            IF given = way[1] AND people.u(key, way[2]) < 0.6 THEN
                given := way[2];
            END IF;
        END LOOP;
        IF u < 0.3 THEN
            family := regexp_replace(family, '^(Al|El)-', '');
        ELSIF u < 0.5 THEN
            family := regexp_replace(regexp_replace(family, '^Al-', 'El '), 'ou', 'u');
        END IF;
    WHEN 'chinese' THEN         -- family name first; syllables apart; an English name
        IF u < 0.3 THEN
            doc := doc || jsonb_build_object('family', given);
            given := family;
            family := doc->>'family';
        ELSIF u < 0.5 THEN
            given := regexp_replace(given, '^(Xiao|Jian|Zhi|Guang|Hao|Zi|Yu|Jun|Wei|Guo|Wen|Hai|Yi|Ming|Jia|Xiu|Mei|Li|Shu|Chun|Gui|Hong|Xin|Yan|Meng)(?=[a-z]{2})', '\1 ');
        ELSIF u < 0.65 THEN
            doc := doc || jsonb_build_object('alias', given);
            given := people.name('anglo', CASE WHEN doc->>'sex' = 'm' THEN 'male' ELSE 'female' END, key);
        END IF;
    WHEN 'african' THEN
        IF u < 0.35 THEN
            doc := doc || jsonb_build_object('family', given);
            given := family;
            family := doc->>'family';
        ELSIF u < 0.6 THEN
            family := translate(regexp_replace(regexp_replace(family, 'ou', 'u'), 'iu', 'ew'), 'éè', 'ee');
        END IF;
    WHEN 'slavic' THEN
        given := regexp_replace(regexp_replace(regexp_replace(given, '^Ye', 'E'), 'ei$', 'ey'), 'ks', 'x');
        family := translate(regexp_replace(family, 'ov$', CASE WHEN u < 0.4 THEN 'off' ELSE 'ov' END), 'śńóáćčřšžł', 'snoaccrszl');
    WHEN 'german' THEN          -- ü as ue or as u
        IF u < 0.5 THEN
            family := replace(replace(replace(replace(family, 'ü', 'ue'), 'ö', 'oe'), 'ä', 'ae'), 'ß', 'ss');
            given := replace(replace(replace(given, 'ü', 'ue'), 'ö', 'oe'), 'ä', 'ae');
        ELSE
            family := translate(family, 'üöäß', 'uoas');
            given := translate(given, 'üöä', 'uoa');
        END IF;
    WHEN 'asian' THEN
        IF u < 0.3 THEN
            doc := doc || jsonb_build_object('family', given);
            given := family;
            family := doc->>'family';
        ELSE
            family := translate(family, 'ễầêạỳõĐặùỗô', 'eaeayoDauoo');
            given := translate(given, 'ùũấươảọứ-', 'uuauoaou');
        END IF;
    ELSE                        -- a short name
        FOREACH way SLICE 1 IN ARRAY '{{Robert,Bob},{William,Bill},{Richard,Dick},{Michael,Mike},{James,Jim},{Elizabeth,Liz},{Margaret,Peggy},{Katherine,Kate},{Patricia,Pat},{Thomas,Tom},{Joseph,Joe},{Charles,Chuck},{Daniel,Dan},{Matthew,Matt},{Anthony,Tony},{Jennifer,Jen},{Susan,Sue},{Deborah,Debbie},{Rebecca,Becky},{Samantha,Sam},{Edward,Ted},{John,Jack},{Barbara,Barb},{Kimberly,Kim}}'::text[] LOOP
            IF given = way[1] THEN
                given := way[2];
                EXIT;
            END IF;
        END LOOP;
    END CASE;
    RETURN doc || jsonb_build_object('family', family, 'given', given);
END $$;

-- ---------- The sets ----------

-- hard: every person of 1 to 9 records with up to 10 changes each.
INSERT INTO people.raw
SELECT 'hard', row_number() OVER (ORDER BY e, r), e,
       CASE WHEN r = 0 THEN s.doc
            ELSE people.damage(s.doc, 1 + floor(10 * power(people.u('hard', e::text, r::text, 'n'), 1.3))::int, 'anglo', format('hard %s %s', e, r)) END
FROM generate_series(1, 2000) e, people.synthetic('anglo', 'hard' || e) s (doc),
     generate_series(0, floor(9 * power(people.u('hard', e::text, 'of'), 2.5))::int) r;

\if :{?few_people}
\else
-- register: names and birth dates alone, 9,000 people and 1,000 second records with one or two slips.
INSERT INTO people.raw
SELECT 'register', row_number() OVER (ORDER BY r, e), e,
       CASE WHEN r = 0 THEN x.doc
            ELSE (SELECT x.doc || jsonb_build_object(f1, people.slip(x.doc->>f1, 'r1' || e))
                         || CASE WHEN people.u('register two', e::text) < 0.3 AND f2 <> f1
                                 THEN jsonb_build_object(f2, people.slip(x.doc->>f2, 'r2' || e)) ELSE '{}' END
                  FROM (SELECT people.pick('{family,given,birth_date}', 'rf1' || e), people.pick('{family,given,birth_date}', 'rf2' || e)) f (f1, f2)) END
FROM (SELECT e, jsonb_build_object('family', s->'family', 'given', s->'given', 'birth_date', s->'birth_date') AS doc
      FROM generate_series(1, 9000) e, people.synthetic('german', 'register' || e) s) x,
     generate_series(0, (e <= 1000)::int) r;

-- archive: several records of a person from different sources, many values missing, birth dates known to the year alone
-- or entered as the first of January, names as each source had them.
INSERT INTO people.raw
SELECT 'archive', row_number() OVER (ORDER BY e, r), e,
       (CASE WHEN people.u('a dob', k) < 0.15 THEN s.doc - 'birth_date'
             WHEN people.u('a dob', k) < 0.25 THEN s.doc || jsonb_build_object('birth_date', left(s.doc->>'birth_date', 4) || '-01-01')
             ELSE s.doc END
        || CASE WHEN people.u('a title', k) < 0.1 THEN jsonb_build_object('given', 'Sir ' || (s.doc->>'given'))
                WHEN people.u('a title', k) < 0.25 THEN people.respelled(s.doc - 'birth_date', 'anglo', k)
                WHEN people.u('a title', k) < 0.35 THEN jsonb_build_object('given', left(s.doc->>'given', 1)) ELSE '{}' END
        || CASE WHEN people.u('a slip', k) < 0.3 THEN jsonb_build_object('family', people.slip(s.doc->>'family', k)) ELSE '{}' END
        || CASE WHEN people.u('a slip2', k) < 0.2 AND s.doc ? 'postal_code' THEN jsonb_build_object('postal_code', people.slip(s.doc->>'postal_code', k)) ELSE '{}' END)
       - CASE WHEN people.u('a city', k) < 0.3 THEN 'city' ELSE 'x' END - CASE WHEN people.u('a post', k) < 0.4 THEN 'postal_code' ELSE 'x' END
       - CASE WHEN people.u('a given', k) < 0.05 THEN 'given' ELSE 'x' END
FROM (SELECT e, jsonb_build_object('family', d->'family', 'given', d->'given', 'birth_date', (d->>'birth_date')::date - 80000,
                                   'city', d->'city', 'postal_code', people.digits('pc' || e, 5)) AS doc
      FROM generate_series(1, 1500) e, people.synthetic('anglo', 'archive' || e) d) s,
     generate_series(0, floor(7 * people.u('archive', s.e::text, 'of'))::int) r, concat_ws(' ', 'archive', e, r) k;

-- world: names of many languages, each person in two records in half of the cases, the second written another way and,
-- in part, with a slip, a new address or without identifier.
INSERT INTO people.raw
SELECT 'world', row_number() OVER (ORDER BY e, r), e,
       CASE WHEN r = 0 THEN s.doc
            ELSE people.damage(people.respelled(s.doc, c.culture, 'w' || e), floor(3 * people.u('world', e::text, 'n'))::int, c.culture, 'world' || e) END
       - CASE WHEN people.u('world id', e::text, r::text) < 0.7 THEN 'identifiers' ELSE 'x' END
       - CASE WHEN people.u('world phone', e::text, r::text) < 0.4 THEN 'phone' ELSE 'x' END
FROM generate_series(1, 4000) e,
     people.pick('{hispanic,arabic,chinese,african,slavic,german,asian,anglo}', 'world' || e) c (culture),
     LATERAL (SELECT CASE WHEN c.culture = 'hispanic'
                          THEN d || jsonb_build_object('family', concat(d->>'family', ' ', people.family('hispanic', 'second' || e))) ELSE d END
              FROM people.synthetic(c.culture, 'world' || e) d) s (doc),
     generate_series(0, (e <= 2000)::int) r;
\endif

-- twins: households. Twins with and without what tells them from each other, parents with their child's number, father and
-- son of one name, newborns without a name, and records of the same person among them (every third household).
CREATE FUNCTION people.household(e int) RETURNS TABLE (member text, doc jsonb) LANGUAGE sql STABLE AS $$
    WITH home AS (
        SELECT people.synthetic('anglo', 'home' || e) - '{middle,email,identifiers}'::text[] AS h, people.birth('kids' || e, 17) AS born,
               people.name('anglo', 'male', 'boy' || e) AS boy, people.name('anglo', 'female', 'girl' || e) AS girl,
               jsonb_build_array('ssn|' || (100000000 + people.digits('home ssn' || e, 8)::int)) AS ssn),
    -- names of twins that look alike
    alike AS (
        SELECT x[1] AS one, x[2] AS two, x[3] AS sex
        FROM string_to_array(people.pick('{Jayden Hayden m,Taylor Tyler m,Madison Madelyn f,Ava Eva f,Daniel Danielle x,Jacob Joshua m,Ella Emma f,Faith Hope f,Matthew Michael m,Olivia Olive f,Brian Ryan m,Marie Maria f,Aiden Caden m,Landon Logan m}', 'alike' || e), ' ') x)
    SELECT m.member, h || m.doc
    FROM home, alike, LATERAL (VALUES
        ('mother', jsonb_build_object('given', people.name('anglo', 'female', 'mo' || e), 'sex', 'f', 'birth_date', born - 9000 - e, 'identifiers', ssn)),
        ('father', jsonb_build_object('given', boy, 'sex', 'm', 'suffix', 'Sr', 'birth_date', born - 10000 - e)),
        ('son', jsonb_build_object('given', boy, 'sex', 'm', 'suffix', 'Jr', 'birth_date', born - 800)),
        ('daughter', jsonb_build_object('given', girl, 'sex', 'f', 'birth_date', born - 1500, 'identifiers', ssn)),
        ('twin 1', jsonb_build_object('given', one, 'sex', CASE WHEN sex = 'x' THEN 'm' ELSE sex END, 'birth_date', born)
                   || CASE WHEN e % 3 = 1 THEN jsonb '{"multiple_birth": true, "birth_order": 1}' WHEN e % 3 = 2 THEN '{"multiple_birth": true}' ELSE '{}'::jsonb END),
        ('twin 2', jsonb_build_object('given', two, 'sex', CASE WHEN sex = 'x' THEN 'f' ELSE sex END, 'birth_date', born)
                   || CASE WHEN e % 3 = 1 THEN jsonb '{"multiple_birth": true, "birth_order": 2}' WHEN e % 3 = 2 THEN '{"multiple_birth": true}' ELSE '{}'::jsonb END),
        ('newborn 1', CASE WHEN e % 4 = 0 THEN jsonb_build_object('given', 'Baby Boy A', 'sex', 'm', 'birth_date', born + 900, 'multiple_birth', true) END),
        ('newborn 2', CASE WHEN e % 4 = 0 THEN jsonb_build_object('given', 'Baby Boy B', 'sex', 'm', 'birth_date', born + 900, 'multiple_birth', true) END),
        -- a cousin: same name and birth date, another house
        ('cousin', CASE WHEN e % 5 = 0 THEN people.synthetic('anglo', 'cousin' || e) - '{middle,email}'::text[]
                        || jsonb_build_object('family', h->'family', 'given', one || 'a', 'birth_date', born, 'sex', h->'sex') END)) m (member, doc)
    WHERE m.doc IS NOT NULL
$$;
INSERT INTO people.raw
SELECT 'twins', row_number() OVER (ORDER BY e, m.member, r), e || m.member,
       CASE WHEN r = 0 THEN m.doc ELSE people.damage(m.doc, 1 + (e / 3) % 3, 'anglo', format('twins %s %s', e, m.member)) END
FROM generate_series(1, 600) e, people.household(e) m, generate_series(0, (e % 3 = 0 AND m.member !~ 'newborn')::int) r;
