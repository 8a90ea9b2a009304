-- People with known answers, for measuring how well duplicates are found: those of the folder that the environment
-- variable REFERRAL_SHARED names (nothing without it), as schema people. Who reads this file stays in the directory.
SET client_min_messages = warning;
CREATE SCHEMA people;

-- What is known of a person, with the keys of referral.demographics(jsonb). Records of one entity are of one person.
CREATE TABLE people.raw (dataset text, id int, entity text, doc jsonb, PRIMARY KEY (dataset, id));

-- Pairs that people have judged: Match, Possible Match, Not a Match, Not Sure.
CREATE TABLE people.raw_pair (dataset text, id int, scenario text, expect text, a jsonb, b jsonb, PRIMARY KEY (dataset, id));

-- ---------- Files: lines, the first of them the columns' names ----------

CREATE TABLE people.line (n int GENERATED ALWAYS AS IDENTITY, dataset text, line text);

CREATE FUNCTION people.rows_of(dataset text, separator text) RETURNS TABLE (n int, doc jsonb)
LANGUAGE sql STABLE AS $$
    WITH cells AS (
        SELECT l.n - min(l.n) OVER () AS n, string_to_array(l.line, separator) AS cells
        FROM people.line l WHERE l.dataset = rows_of.dataset),
    header AS (SELECT c.cells FROM cells c WHERE c.n = 0)
    SELECT c.n, (SELECT jsonb_object_agg(btrim(k), btrim(v)) FROM unnest(h.cells, c.cells) x (k, v) WHERE btrim(v) <> '')
    FROM cells c, header h WHERE c.n > 0
$$;

-- A document of what is there; an empty one where nothing is.
CREATE FUNCTION people.document(VARIADIC pairs text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(pairs[i], pairs[i + 1]), '{}')
    FROM generate_series(1, cardinality(pairs), 2) i WHERE btrim(pairs[i + 1]) <> ''
$$;

-- A value as text; several of them with the separator between.
CREATE FUNCTION people.several(value jsonb, separator text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(value) WHEN 'array' THEN (SELECT string_agg(v, separator) FROM jsonb_array_elements_text(value) v)
                                    ELSE value #>> '{}' END
$$;

-- The values of a key that are identifiers: 'type|value' where there is a value.
CREATE FUNCTION people.identifiers(VARIADIC pairs text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN count(*) > 0 THEN jsonb_build_object('identifiers', jsonb_agg(pairs[i] || '|' || v)) ELSE '{}' END
    FROM generate_series(1, cardinality(pairs), 2) i, regexp_split_to_table(pairs[i + 1], '[,;]+') v WHERE btrim(v) <> ''
$$;

\getenv shared REFERRAL_SHARED
\set people_are_there `test -r "$REFERRAL_SHARED/people/febrl/dataset3.csv" && echo true || echo false`
\if :people_are_there
\set here `pwd`
\cd :shared
\copy people.line (line) FROM 'people/febrl/dataset1.csv' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
UPDATE people.line SET dataset = 'febrl1' WHERE dataset IS NULL;
\copy people.line (line) FROM 'people/febrl/dataset2.csv' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
UPDATE people.line SET dataset = 'febrl2' WHERE dataset IS NULL;
\copy people.line (line) FROM 'people/febrl/dataset3.csv' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
UPDATE people.line SET dataset = 'febrl3' WHERE dataset IS NULL;
\copy people.line (line) FROM 'people/splink/fake_1000.csv' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
UPDATE people.line SET dataset = 'fake_1000' WHERE dataset IS NULL;
\copy people.line (line) FROM 'people/uganda_opencr/uganda_data_v21_20201501.csv' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
UPDATE people.line SET dataset = 'uganda' WHERE dataset IS NULL;
\copy people.line (line) FROM 'people/immreg/MIIS-C.tsv' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
UPDATE people.line SET dataset = 'immreg C' WHERE dataset IS NULL;
\copy people.line (line) FROM 'people/immreg/MIIS-F1.tsv' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
UPDATE people.line SET dataset = 'immreg F1' WHERE dataset IS NULL;
\cd :here
\endif

INSERT INTO people.raw
SELECT s.dataset, r.n, split_part(r.doc->>'rec_id', '-', 2),
       people.document('family', r.doc->>'surname', 'given', r.doc->>'given_name', 'birth_date', r.doc->>'date_of_birth',
                       'address', concat_ws(' ', r.doc->>'street_number', r.doc->>'address_1'),
                       'city', r.doc->>'suburb', 'state', r.doc->>'state', 'postal_code', r.doc->>'postcode')
       || people.identifiers('ssn', r.doc->>'soc_sec_id')
FROM (VALUES ('febrl1'), ('febrl2'), ('febrl3')) s (dataset), people.rows_of(s.dataset, ',') r;

INSERT INTO people.raw
SELECT 'fake_1000', r.n, r.doc->>'cluster',
       people.document('family', r.doc->>'surname', 'given', r.doc->>'first_name', 'birth_date', r.doc->>'dob',
                       'city', r.doc->>'city', 'email', r.doc->>'email')
FROM people.rows_of('fake_1000', ',') r;

INSERT INTO people.raw
SELECT 'uganda', r.n, split_part(r.doc->>'rec_id', '-', 2),
       people.document('family', r.doc->>'surname', 'given', r.doc->>'given_name', 'birth_date', r.doc->>'date_of_birth',
                       'sex', r.doc->>'sex', 'phone', r.doc->>'phone_number')
       || people.identifiers('nin', r.doc->>'uganda_nin', 'art', r.doc->>'art_number')
FROM people.rows_of('uganda', ',') r;

-- One of the two people of a line. nameLastHyph is a second family name, which the first may contain already. The
-- guardian is nothing that a value holds. "only_family" is the family name of a source that keeps one.
CREATE FUNCTION people.immreg_person(line jsonb, side text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT people.document('family', CASE WHEN x->>'nameLast' ~* ('\y' || (x->>'nameLastHyph') || '\y') THEN x->>'nameLast'
                                          ELSE concat_ws('-', x->>'nameLast', x->>'nameLastHyph') END,
                           'only_family', x->>'nameLast', 'given', x->>'nameFirst', 'middle', x->>'nameMiddle', 'suffix', x->>'nameSuffix', 'alias', x->>'nameAlias',
                           'mother_maiden_name', x->>'motherMaidenName', 'birth_date', x->>'birthDate', 'sex', x->>'gender',
                           'birth_order', x->>'birthOrder', 'phone', x->>'phone',
                           'address', concat_ws(' ', x->>'addressStreet1', x->>'addressStreet2'), 'city', x->>'addressCity',
                           'state', x->>'addressState', 'postal_code', x->>'addressZip')
           || CASE WHEN x->>'birthStatus' IN ('Y', 'N') THEN jsonb_build_object('multiple_birth', x->>'birthStatus' = 'Y')
                   ELSE '{}' END
           || people.identifiers('ssn', x->>'ssn', 'medicaid', x->>'medicaid', 'mrn', x->>'mrns')
    FROM (SELECT jsonb_object_agg(substr(e.key, 3), e.value) AS x FROM jsonb_each(line) e WHERE e.key LIKE side || '\_%') x
$$;

INSERT INTO people.raw_pair
SELECT s.dataset, r.n, coalesce(r.doc->>'scenario', 'from a registry'), r.doc->>'expect',
       people.immreg_person(r.doc, 'a'), people.immreg_person(r.doc, 'b')
FROM (VALUES ('immreg C'), ('immreg F1')) s (dataset), people.rows_of(s.dataset, E'\t') r;
DROP TABLE people.line;
