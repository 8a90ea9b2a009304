-- Demographics: how texts are normalised, what is refused, and that a value survives every form it takes.
SELECT plan(236);
\ir ../lib/refused.sql
SET search_path = referral, public;
SELECT setseed(0.2026);

-- ---------- names ----------

CREATE TABLE public.named (family text, given text, expected jsonb);
INSERT INTO public.named VALUES
    ('Smith', 'John', '{"family": "smith", "given": "john"}'),
    ('  SMITH ', E'\tJohn\n', '{"family": "smith", "given": "john"}'),
    ('O''Brien', 'Seán', '{"family": "obrien", "given": "sean"}'),
    ('O’Brien', 'D´Arcy', '{"family": "obrien", "given": "darcy"}'),
    ('Garcia-Márquez', 'Mary-Ann', '{"family": "garcia marquez", "given": "mary-ann"}'),
    ('García Márquez', 'Mary – Ann', '{"family": "garcia marquez", "given": "mary-ann"}'),
    ('de la Cruz', 'Mary Ann K.', '{"family": "de la cruz", "given": "mary", "middle": ["ann", "k"]}'),
    ('Smith, Jr.', 'J. Robert', '{"family": "smith", "suffix": "jr", "given": "j", "middle": "robert"}'),
    ('Smith III', 'John Sr', '{"family": "smith", "suffix": ["iii", "sr"], "given": "john"}'),
    ('Smith V', 'John V', '{"family": "smith", "suffix": "v", "given": "john", "middle": "v"}'),
    ('Smith Jr MD, PhD', 'Dr. Mary', '{"family": "smith", "suffix": "jr", "given": "mary"}'),
    ('Mrs. Smith', 'Prof. Dr. Ann', '{"family": "smith", "given": "ann"}'),
    ('Nguyen Do', 'Rev', '{"family": "nguyen do", "given": "rev"}'),
    ('Nguyen, DO', 'Jr', '{"family": "nguyen", "given": "jr"}'),
    ('MD', 'Dr Sir', '{"family": "md", "given": "sir"}'),
    ('Smith', 'William (Bill)', '{"family": "smith", "given": "william", "alias": "bill"}'),
    ('Smith', 'William "Bill" Henry', '{"family": "smith", "given": "william", "middle": "henry", "alias": "bill"}'),
    ('Smith', 'William “Billy Bob”', '{"family": "smith", "given": "william", "alias": "billy bob"}'),
    ('Smith', '(Bill)', '{"family": "smith", "given": "bill"}'),
    ('Müller née Strauß', 'Žofie', '{"family": "muller", "previous_family": "strauss", "given": "zofie"}'),
    ('Smith nee Jones', '', '{"family": "smith", "previous_family": "jones"}'),
    ('Smith (Jones)', NULL, '{"family": "smith", "previous_family": "jones"}'),
    ('Smith (née Jones)', NULL, '{"family": "smith", "previous_family": "jones"}'),
    ('Nee', 'Ann', '{"family": "nee", "given": "ann"}'),
    ('Łukasiewicz', 'Øystein Æ', '{"family": "lukasiewicz", "given": "oystein", "middle": "ae"}'),
    ('Þórðarson', 'İlhan Işık', '{"family": "thordarson", "given": "ilhan", "middle": "isik"}'),
    ('Đặng', 'ﬁona', '{"family": "dang", "given": "fiona"}'),
    ('ＳＭＩＴＨ', 'Ｊｏｈｎ', '{"family": "smith", "given": "john"}'),
    ('Иванова', 'Семён', '{"family": "иванова", "given": "семен"}'),
    ('ПАПАДОПУЛОС', 'Παῦλος ΓΙΏΡΓΟΣ', '{"family": "пападопулос", "given": "παυλοσ", "middle": "γιωργοσ"}'),
    ('Պետրոսյան', 'ԱՆԻ', '{"family": "պետրոսյան", "given": "անի"}'),
    ('김', '철수', '{"family": "김", "given": "철수"}'),
    ('محمّد', 'أحمد', '{"family": "محمد", "given": "احمد"}'),
    ('山田', '太郎・花子', '{"family": "山田", "given": "太郎", "middle": "花子"}'),
    ('123', '--', '{"family": "123"}'),
    ('', '   ', '{}'), (NULL, NULL, '{}'), ('!?', '…', '{}'), ('🙂', '', '{}');
SELECT is(demographics(family, given)::jsonb, expected, format('%s / %s', family, given)) FROM public.named;
SELECT is(demographics('a', n)::jsonb ->> 'given', demographics('a', upper(normalize(n, NFD)))::jsonb ->> 'given', 'composed or not: ' || n)
FROM unnest('{josé,zoë,ångström,nguyễn}'::text[]) n;

-- the C functions of comparison see parts; SQL sees that words in another place are another name of the same letters
SELECT ok(demographics('Garcia Lopez', 'x') <> demographics('Garcialopez', 'x'), 'words are kept apart');
SELECT is(demographics('{"alias": ["Mary Ann", "Maryann"]}'::jsonb), demographics('{"alias": ["maryann", "mary-ann", "Mary Ann"]}'::jsonb),
          'the same name in more or fewer words is one');

-- ---------- dates ----------

SELECT is(demographics(birth_date => given)::jsonb ->> 'birth_date', expected, 'born ' || given) FROM (VALUES
    ('1976-05-13', '1976-05-13'), ('19760513', '1976-05-13'), ('1976-5-3', '1976-05-03'), ('1976-05', '1976-05'), ('197605', '1976-05'),
    ('1976', '1976'), ('1976-05-13T10:11:12Z', '1976-05-13'), ('1976-05-13 00:00:00', '1976-05-13'), ('19760513101112', '1976-05-13'),
    ('5/13/1976', '1976-05-13'), ('05/06/1976', '1976-05-06'), ('13/5/1976', '1976-05-13'), ('13.05.1976', '1976-05-13'), ('5.6.1976', '1976-06-05'),
    ('5.13.1976', '1976-05-13'), ('1976/05/13', '1976-05-13'), ('05-13-1976', '1976-05-13'),
    ('19761325', '1976-13-25'), ('1976-02-31', '1976-02-31'), ('1915061', '1915-06'), ('1976-00-00', '1976'), ('1976-05-00', '1976-05'),
    ('0000-05-13', '0000-05-13'), ('00000000', NULL), ('１９７６-０５-１３', '1976-05-13'),
    ('13 May 1976', NULL), ('76-05-13', NULL), ('unknown', NULL), ('', NULL), ('1976-', NULL), ('1976-05-', NULL), ('197', NULL), ('1976051310111213', NULL),
    ('1976-05-131', NULL), ('197605130x', '1976-05-13'), ('-1976', NULL)) v (given, expected);
SELECT is(demographics('a', 'b', date '1976-05-13'), demographics('a', 'b', '1976-05-13'), 'a date and its text');
SELECT is(demographics('a', 'b', d)::text, '{"family":"a","given":"b"}', 'not known: ' || d)
FROM unnest('{infinity,-infinity,0044-03-15 BC,12000-01-01}'::date[]) d;

-- ---------- phones, mails ----------

SELECT is(demographics(phone => given)::jsonb -> 'phone', to_jsonb(expected), 'phone ' || given) FROM (VALUES
    ('(555) 123-4567', '5551234567'), ('1-555-123-4567', '5551234567'), ('+1 555.123.4567', '5551234567'), ('0015551234567', '5551234567'),
    ('555-123-4567 x89', '5551234567'), ('555-123-4567 ext. 89', '5551234567'), ('5551234567#89', '5551234567'), ('tel:+1-555-123-4567', '5551234567'),
    ('+44 20 7946 0958', '2079460958'), ('020 7946 0958', '2079460958'), ('+44 (0)20 7946 0958', '2079460958'), ('0044 20 7946 0958', '2079460958'),
    ('+61 2 9374 4000', '293744000'), ('(02) 9374 4000', '293744000'), ('+256 712 300633', '712300633'), ('712 300633', '712300633'),
    ('123-4567', '1234567'), ('1234', NULL), ('none', NULL), ('0000000000', NULL), ('٠٥٥٥١٢٣٤٥٦٧', '5551234567'), ('+86 138 1234 5678', '3812345678'),
    ('12345678901234567890', '1234567890'), ('+', NULL)) v (given, expected);
SELECT is(demographics(phone => '555-123-4567; 555-999-0000, 5551234567')::jsonb -> 'phone', '["5551234567", "5559990000"]', 'several phones, each once, sorted');
SELECT is(demographics(email => given)::jsonb -> 'email', expected::jsonb, 'mail ' || given) FROM (VALUES
    (' Foo.Bar@Example.ORG ', '"foo.bar@example.org"'), ('mailto:a@b.c', '"a@b.c"'), ('b@x.y; a@x.y', '["a@x.y", "b@x.y"]'),
    ('Jo <jo@x.y>', '"jo@x.y"'), ('none', NULL), ('jo(at)x.org', '"x.org"'), ('jösé@x.y', '"jose@x.y"')) v (given, expected);

-- ---------- addresses ----------

SELECT is(demographics(address => given)::jsonb, expected::jsonb, 'address ' || given) FROM (VALUES
    ('12B Main Street Apt 4, Springfield', '{"street_number": "12b", "street": "main st", "unit": "4"}'),
    ('12b main st. #4', '{"street_number": "12b", "street": "main st", "unit": "4"}'),
    ('Apt #4, 12B Main Str', '{"street_number": "12b", "street": "main st", "unit": "4"}'),
    ('48 North Goldfinch Circuit', '{"street_number": "48", "street": "n goldfinch cct"}'),
    ('Goldfinch Crescent', '{"street": "goldfinch cres"}'),
    ('PO Box 12', '{"street_number": "po 12"}'), ('P.O. Box 12, Springfield', '{"street_number": "po 12"}'),
    ('Post Office Box 12', '{"street_number": "po 12"}'), ('Box 12', '{"street_number": "po 12"}'),
    ('unit 2/14 X St', '{"street_number": "14", "street": "x st", "unit": "2"}'), ('2/14 X Street', '{"street_number": "14", "street": "x st", "unit": "2"}'),
    ('lot 3 Elm Road', '{"street": "elm rd", "unit": "3"}'), ('5th Avenue', '{"street": "5th ave"}'), ('350 5th Av', '{"street_number": "350", "street": "5th ave"}'),
    ('Hauptstraße 12', '{"street_number": "12", "street": "hauptstrasse"}'), ('12, Main St', '{"street_number": "12", "street": "main st"}'),
    ('Willow Cottage, 5 High St', '{"street_number": "5", "street": "high st"}'), ('12-14 Saint Mary Place', '{"street_number": "12 14", "street": "st mary pl"}'),
    ('42', '{"street_number": "42"}'), ('Suite Street', '{"street": "suite st"}'), (',,#', '{}')) v (given, expected);
SELECT is(demographics(city => 'Saint Clair Shores, MI', postal_code => '48081-1234')::text, '{"city":"st clair shores","postal_code":"48081"}', 'city and ZIP+4');
SELECT is(demographics(postal_code => 'SW1A 1aa')::text, '{"postal_code":"sw1a1aa"}', 'a British postal code');
SELECT is(demographics(jsonb_build_object('state', s))::text, '{"state":"nsw"}', 'state ' || s) FROM unnest('{NSW,"New South Wales",n.s.w.}'::text[]) s;
SELECT is(demographics('{"address": "12 Main St", "street_number": "P.O. Box 7", "street": "Elm Avenue", "unit": "Apt 3"}'::jsonb)::text,
          '{"street_number":["12","po 7"],"street":["main st","elm ave"],"unit":"3"}', 'an address, and parts of another one');

-- ---------- identifiers, sex, birth ----------

SELECT is(demographics(identifiers => ARRAY[given])::jsonb ->> 'identifiers', expected, 'identifier ' || given) FROM (VALUES
    ('ssn|123-45-6789', 'ssn|123456789'), ('http://hl7.org/fhir/sid/us-ssn|123-45-6789', 'ssn|123456789'), ('urn:oid:2.16.840.1.113883.4.1|123456789', 'ssn|123456789'),
    ('SSN:123 45 6789', 'ssn|123456789'), ('us-mbi|1EG4-TE5-MK73', 'mbi|1eg4te5mk73'), ('MRN|00-77', 'mrn|0077'),
    ('https://a.org/mrn|5', 'aorgmrn|5'), ('http://a.org/mrn|5', 'aorgmrn|5'), ('https://b.org/mrn|5', 'borgmrn|5'),
    ('CF21927470OWMT', 'cf21927470owmt'), ('|77', '77'), ('a|b|77', 'ab|77'), ('ssn|', NULL), ('|', NULL), ('', NULL), ('--', NULL)) v (given, expected);
SELECT is(demographics(identifiers => '{b|2,a|1,NULL,b|2}')::jsonb -> 'identifiers', '["a|1", "b|2"]', 'sorted, each once');
SELECT is(demographics(sex => given)::jsonb ->> 'sex', expected, 'sex ' || given) FROM (VALUES
    ('M', 'male'), ('male', 'male'), ('1', 'male'), (' F. ', 'female'), ('Female', 'female'), ('2', 'female'), ('o', 'other'), ('X', 'other'),
    ('U', NULL), ('unknown', NULL), ('', NULL), ('9', NULL), ('mf', NULL)) v (given, expected);
SELECT is(demographics('{"multiple_birth": true, "birth_order": 2}'::jsonb)::text, '{"multiple_birth":true,"birth_order":2}', 'a twin');
SELECT is(demographics('{"multiple_birth": false, "birth_order": "1"}'::jsonb)::text, '{"multiple_birth":false,"birth_order":1}', 'a single child');
SELECT is(demographics(jsonb_build_object('birth_order', n))::text, '{}', 'no order: ' || n) FROM unnest('{0,-1,21,99999999999}'::numeric[]) n;

-- ---------- forms of the same ----------

SELECT is(demographics(), '{}'::demographics, 'nothing is known');
SELECT is(demographics('Smith', 'John', '1976-05-13', 'm', '555-123-4567', 'j@x.y', '1 Elm St', 'Lansing', '48909', '{ssn|1}'),
          '{"identifiers": ["ssn|1"], "postal_code": 48909, "city": "Lansing", "address": ["1 Elm St"], "email": "j@x.y", "phone": 5551234567,
            "sex": "M", "birth_date": 19760513, "given": ["John"], "family": "Smith", "suffix": null}'::demographics, 'columns and JSON');
SELECT is('{"family": "x", "family": "y"}'::demographics::text, '{"family":"y"}', 'of a key that is there twice, the last counts, as in jsonb');
SELECT is(demographics('{"given": ["Mary", "Ann"]}'::jsonb), demographics(NULL, 'Mary Ann'), 'further given names are middle names');
SELECT is(demographics('{"given": "Mary", "middle": "Ann K"}'::jsonb), demographics(given => 'Mary Ann K'), 'wherever they stand');
SELECT is(patient_demographics('Smith', 'Ann', 'K', 'Jr', '{Annie}', '{Jones}', 'Miller', '1976-05-13', 'female', true, 2, '5551234567', 'a@b.c',
                               '{5559990000}', '1 Elm St', 'Lansing', 'Michigan', '48909', 'http://hl7.org/fhir/sid/us-ssn', '123456789', '{mrn|7}')::text,
          '{"family":"smith","given":"ann","middle":"k","suffix":"jr","alias":"annie","previous_family":"jones","mother_maiden_name":"miller",'
          '"birth_date":"1976-05-13","sex":"female","multiple_birth":true,"birth_order":2,"phone":["5551234567","5559990000"],"email":"a@b.c",'
          '"street_number":"1","street":"elm st","city":"lansing","state":"mi","postal_code":"48909","identifiers":["mrn|7","ssn|123456789"]}', 'a row of patient');
SELECT is(patient_demographics(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'x', NULL, NULL),
          demographics(), 'of a row without anything');
INSERT INTO patient (org_id, family, given, other_phones) VALUES (1, 'Smith', 'Bob', '{555-123-4567}');
SELECT is(demographics, demographics('smith', 'bob', phone => '5551234567'), 'the column of patient') FROM patient WHERE given = 'Bob';

-- ---------- refused ----------

CREATE TABLE public.bad (given text, names text);
INSERT INTO public.bad VALUES
    ('', 'not JSON'), ('Smith', 'not JSON'), ('{', 'not JSON'), ('{"family": "Secret"', 'not JSON'), ('{"family": "Secret"} x', 'not JSON'),
    ('{"family": "\u0000Secret"}', 'not JSON'), ('[]', 'object'), ('"Secret"', 'object'), ('1', 'object'), ('null', 'object'), ('[{"family": "Secret"}]', 'object'),
    ('{"surname": "Secret"}', 'surname'), ('{"Family": "Secret"}', 'Family'), ('{"": "Secret"}', 'no key'),
    ('{"family": {"text": "Secret"}}', 'family'), ('{"family": [["Secret"]]}', 'family'), ('{"family": true}', 'family'), ('{"given": [{"Secret": 1}]}', 'given'),
    ('{"multiple_birth": "Secret"}', 'multiple_birth'), ('{"multiple_birth": 2}', 'multiple_birth'), ('{"birth_date": ["1976-05-13"]}', 'birth_date'),
    ('{"sex": {}}', 'sex'), ('{"birth_order": true}', 'birth_order'), ('{"identifiers": [false]}', 'identifiers');
SELECT is_empty($$SELECT given, r.* FROM bad, refused(format('SELECT %L::demographics', given)) r
                  WHERE r.code <> 'RF020' OR r.message <> 'invalid demographics' OR r.hint = '' OR strpos(r.detail, names) = 0
                     OR (r.message || r.detail || r.hint) ~* 'secret|1976'$$, 'refused, and the message says where, but not what');
SELECT is_empty($$SELECT given, r.* FROM bad, refused(format('SELECT demographics(%L::jsonb)', given)) r WHERE names <> 'not JSON' AND r.code <> 'RF020'$$,
                'as jsonb, too');
SELECT is((refused(format('SELECT %L::demographics', '{"' || repeat('é', 10000) || '": 1}'))).code, 'RF020', 'an enormous key');

-- ---------- enormous fields ----------

SELECT is(octet_length(demographics(repeat(x, n))::jsonb ->> 'family'), expected, format('%s times %s', n, x)) FROM (VALUES
    ('x', 10000000, 120), ('é', 10000000, 120), ('中', 1000, 120), ('xy ', 1000000, 179), ('𐍈', 1000, 120)) v (x, n, expected);
SELECT is(jsonb_array_length(demographics(jsonb_build_object(k, (SELECT jsonb_agg(5550000000 + i || '.x') FROM generate_series(1, 100000) i)))::jsonb
                             -> CASE k WHEN 'address' THEN 'street_number' ELSE k END), 12, 'too many of ' || k)
FROM unnest('{family,alias,phone,email,address,identifiers}'::text[]) k;
SELECT is(demographics(identifiers => ARRAY(SELECT 'x|' || i FROM generate_series(1, 50) i)),
          demographics(identifiers => ARRAY(SELECT 'x|' || i FROM generate_series(50, 1, -1) i)), 'in whatever order they come');

-- ---------- equality ----------

CREATE TABLE public.person (n integer, d demographics);
INSERT INTO public.person
SELECT n, demographics('Family ' || n % 7, 'Given' || n % 3, NULL, CASE WHEN n % 2 = 0 THEN 'f' END) FROM generate_series(1, 1000) n;
SELECT is((SELECT count(*) FROM (SELECT DISTINCT d FROM person) x), 42::bigint, 'DISTINCT');
SET enable_sort = off;
SELECT is((SELECT array_agg(DISTINCT c) FROM (SELECT count(*) c FROM person GROUP BY d) x), '{23,24}'::bigint[], 'GROUP BY');
RESET enable_sort;
SELECT is((SELECT count(*) FROM person a JOIN person b USING (d) WHERE a.d::text <> b.d::text), 0::bigint, 'equal values have equal texts');
SELECT is((SELECT count(*) FROM person a JOIN person b ON a.d::text = b.d::text WHERE a.d <> b.d OR demographics_hash(a.d) <> demographics_hash(b.d)
           OR demographics_hash_extended(a.d, 7) <> demographics_hash_extended(b.d, 7) OR demographics_send(a.d) <> demographics_send(b.d)), 0::bigint,
          'equal texts are of equal values, with equal hashes and bytes');
CREATE INDEX ON public.person USING hash (d);
SET enable_seqscan = off;
SELECT is((SELECT count(*) FROM person WHERE d = demographics('family 3', 'given1', NULL, 'F')), 24::bigint, 'by a hash index');
RESET enable_seqscan;
SELECT is((SELECT array_agg(amvalidate(oid)) FROM pg_opclass WHERE opcname = 'demographics_hash_ops'), '{t}', 'the operator class is valid');
SELECT is((SELECT count(*) FROM (VALUES (demographics_eq(NULL, '{}')), (demographics_ne('{}', NULL)), (NULL::demographics = '{}')) v (x) WHERE x IS NOT NULL), 0::bigint, 'null for null');

-- ---------- what is normalised stays so ----------

-- Texts of pieces that mean something somewhere.
CREATE TABLE public.piece AS SELECT ARRAY['jr', 'sr', 'iii', 'v', 'IV', '2nd', 'née', 'nee', 'geb', 'Dr.', 'mr', 'rev', 'md', 'MD', 'phd', 'do', 'esq', 'Smith', 'García',
    'O''Brien', 'de', 'la', 'van', '-', ',', ';', '(', ')', '"', '“', '”', '’', '´', '/', '#', '.', '|', ':', '@', 'x', 'ext', '+', '00', '+44', '+1', '0', '12', '12b',
    '5th', 'unit', 'apt', 'lot', 'po', 'box', 'P.O.', 'street', 'St', 'av', 'north', 'Saint', 'ste', 'k', '𐍈', '김', '철수', 'が', 'Й', 'ё', 'ß', 'ẞ', 'Ø', 'İ', 'ı', 'ǅ', 'ﬁ',
    '½', '²', '①', 'Ⅷ', '٣', E'e\u0301', E'\u0651', E'\u200e', E'\n', '{', '}', '\', 'Σας', 'ΐ', 'Ἀ', 'ᾳ', 'Ա', 'և', 'Ა', 'हिन्दी', 'ไทย', '中文', 'ㄱ', 'ｱ', 'Ｊｒ', 'ﷺ', E'\u0345', E'\u1fbe',
    E'\u212b', E'\u0958', E'\u2126', '1976', '05', '13', '1976-05-13', '19760513', '999', 'urn:oid:', 'http://', 'us-ssn', 'ssn', '000', repeat('a', 115), repeat('b', 42),
    repeat('é', 35), 'true', 'null'] AS p;
CREATE FUNCTION public.pieces(n integer) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(p[1 + floor(random() * cardinality(p))::integer] || CASE WHEN random() < 0.6 THEN ' ' ELSE '' END, '')
    FROM public.piece, generate_series(1, n)
$$;
CREATE TABLE public.random AS
SELECT i, (SELECT jsonb_object_agg(k, CASE WHEN k IN ('birth_date', 'sex', 'birth_order') THEN to_jsonb(pieces(2))
                                           ELSE jsonb_build_array(pieces(1 + i % 6), pieces(i % 4)) END)
           FROM unnest(ARRAY['family', 'given', 'middle', 'suffix', 'alias', 'previous_family', 'mother_maiden_name', 'birth_date', 'sex', 'birth_order', 'phone', 'email',
                             'address', 'street_number', 'street', 'unit', 'city', 'state', 'postal_code', 'identifiers']) k WHERE i > 0) AS j
FROM generate_series(1, 3000) i;
CREATE TABLE public.made AS SELECT j, demographics(j) AS d FROM public.random;
SELECT is_empty($$SELECT j, d, d::text::demographics FROM made WHERE d::text::demographics <> d OR demographics(d::jsonb) <> d OR d::text::demographics::text <> d::text$$,
                'the text of a value makes the value again');
SELECT ok((SELECT count(*) > 2990 AND max(octet_length(d::text)) > 500 FROM (SELECT DISTINCT d FROM made) x), 'of which there are many');
SELECT is_empty($$SELECT c FROM generate_series(128, 65535) i, LATERAL (SELECT chr(i) AS c) x, LATERAL (SELECT demographics('a' || c || 'b', c) AS d) y
                  WHERE i NOT BETWEEN 55296 AND 57343 AND (d::text::demographics <> d OR d <> demographics('a' || normalize(c, NFD) || 'b', normalize(c, NFD)))$$,
                'so does that of any character, and of it decomposed');
SELECT is_empty($$SELECT c FROM generate_series(192, 1423) i, LATERAL (SELECT chr(i) AS c) x
                  WHERE lower(c) <> c AND demographics(c || 'x') <> demographics(lower(c) || 'x')$$, 'capitals are as small letters');

-- A stored value is the same, whatever its header and wherever it is.
CREATE TABLE public.stored (n integer, main demographics, plain demographics, extern demographics, extended demographics);
ALTER TABLE public.stored ALTER main SET STORAGE main;
ALTER TABLE public.stored ALTER plain SET STORAGE plain;
ALTER TABLE public.stored ALTER extern SET STORAGE external;
ALTER TABLE public.stored ALTER extended SET STORAGE extended;
CREATE FUNCTION public.big(n integer) RETURNS demographics LANGUAGE sql AS
$$SELECT demographics('Smith', identifiers => ARRAY(SELECT md5(i::text) || md5((-i)::text) FROM generate_series(1, n) i))$$;
INSERT INTO public.stored SELECT n, big(n), big(n), big(n), big(n) FROM unnest('{0,1,12}'::integer[]) n;
SELECT is_empty($$SELECT n FROM stored, unnest(ARRAY[main, plain, extern, extended]) s
                  WHERE s <> big(n) OR s::text <> big(n)::text OR demographics_hash(s) <> demographics_hash(big(n)) OR demographics_send(s) <> demographics_send(big(n))$$,
                'a stored value is the same');

-- ---------- broken texts and bytes; test/t/matching_fuzz.pl has many more ----------

CREATE FUNCTION public.kept(given text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    d demographics;
BEGIN
    d := given;
    RETURN CASE WHEN d::text::demographics = d THEN 'kept' ELSE 'changed' END;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
CREATE TABLE public.whole AS
SELECT patient_demographics('de la Cruz', 'Mary-Ann', 'K', 'Jr', '{Annie}', '{Jones}', 'Miller', '1976-05-13', 'female', true, 2, '5551234567', 'a@b.c',
                            '{5559990000}', '1 Elm St', 'Lansing', 'Michigan', '48909', 'ssn', '123456789', '{mrn|7}') AS d;
SELECT is_empty($$SELECT n FROM whole, generate_series(0, length(d::text) - 1) n WHERE kept(left(d::text, n)) <> 'RF020'$$, 'the start of a text is refused');
SELECT is_empty($$SELECT s, outcome FROM whole, LATERAL (SELECT d::text AS t) t, generate_series(1, length(t)) n, unnest(ARRAY[NULL, '9', '-', 'x', ',', '\', '{', '[', '"', 'é']) x,
                         LATERAL overlay(t PLACING coalesce(x, '') FROM n FOR 1) s, kept(s) outcome
                  WHERE outcome NOT IN ('kept', 'RF020')$$, 'so is one with another character, or it is another value');

CREATE TABLE public.arrived (d demographics);
-- What comes of bytes that arrive by COPY in binary format: the text, or an SQLSTATE.
CREATE FUNCTION public.received(data bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    file text := current_setting('data_directory') || '/demographics_received';
    lob oid;
BEGIN
    DELETE FROM arrived;
    lob := lo_from_bytea(0, '\x5047434f50590aff0d0a0000000000000000000001'::bytea || int4send(length(data)) || data || int2send(-1::smallint));
    PERFORM lo_export(lob, file), lo_unlink(lob);
    EXECUTE format('COPY arrived FROM %L (FORMAT binary)', file);
    RETURN (SELECT d FROM arrived);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
SELECT is_empty($$SELECT d FROM (SELECT d FROM whole UNION ALL (SELECT d FROM made LIMIT 50) UNION ALL SELECT main FROM stored UNION ALL SELECT '{}') x
                  WHERE received(demographics_send(d)) IS DISTINCT FROM d::text$$, 'binary values arrive as they are');
SELECT is_empty($$SELECT n, got FROM whole, LATERAL (SELECT demographics_send(d) AS data) s, generate_series(0, length(data), 7) n, received(substr(data, 1, n)) got
                  WHERE n < length(data) AND coalesce(got, 'null') NOT IN ('RF020', '08P01')$$, 'short ones are refused');
SELECT is(received(demographics_send(d) || '\x00'), '22P03', 'long ones, too') FROM whole;
SELECT is(received(data), 'RF020', 'refused: ' || what) FROM (VALUES
    ('version', '\x02000000000000000000'::bytea), ('sex', '\x01040000000000000000'), ('multiple birth', '\x01000300000000000000'), ('birth order', '\x01000015000000000000'),
    ('year', '\x01000000ffff000000'), ('month', '\x01000000000064000000'), ('a part', '\x0100000000000000010102' || 'ab'::bytea), ('an unknown kind', '\x0100000000000000011401' || 'a'::bytea),
    ('an empty text', '\x0100000000000000010000'), ('capitals', '\x0100000000000000010001' || 'A'::bytea), ('no UTF-8', '\x0100000000000000010001ff'), ('a null byte', '\x010000000000000001000100'),
    ('twice', '\x010000000000000002000161000161'), ('out of order', '\x010000000000000002040161000161'), ('not sorted', '\x010000000000000002080162080161')) v (what, data);

SELECT * FROM finish();
