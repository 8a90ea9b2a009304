-- find_matches() and find_duplicates(): who is found, who may see it, and that both find the same.
SELECT plan(73);
\ir ../lib/refused.sql
SET client_min_messages = error;
SET referral.org_id = '1';

CREATE ROLE find_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE find_other LOGIN IN ROLE referral_coordinator;
CREATE ROLE find_nobody LOGIN;
CREATE ROLE find_outside LOGIN;
GRANT USAGE ON SCHEMA referral TO find_outside;
CREATE ROLE find_columns LOGIN;
CREATE ROLE find_narrow LOGIN IN ROLE referral_coordinator;
GRANT USAGE ON SCHEMA referral TO find_nobody, find_columns;
GRANT SELECT (org_id, patient_id, merged_into) ON referral.patient TO find_columns;
GRANT EXECUTE ON FUNCTION referral.find_matches, referral.find_duplicates TO find_nobody, find_columns;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2'), (3, 'Organisation 3'), (4, 'Organisation 4'), (5, 'Organisation 5');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'find_jane', 'user'), (2, 'find_other', 'user'), (1, 'find_narrow', 'user');

-- who is found, in order, as text; with grades
CREATE FUNCTION public.found(org bigint, d referral.demographics, n int DEFAULT 10, but bigint DEFAULT NULL) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(string_agg(m.patient_id::text, ', ' ORDER BY m.n), '')
    FROM referral.find_matches(org, d, n, but) WITH ORDINALITY m (patient_id, probability, grade, n)
$$;
CREATE FUNCTION public.graded(org bigint, d referral.demographics, n int DEFAULT 10, but bigint DEFAULT NULL) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(string_agg(m.patient_id || ' ' || m.grade, ', ' ORDER BY m.n), '')
    FROM referral.find_matches(org, d, n, but) WITH ORDINALITY m (patient_id, probability, grade, n)
$$;
CREATE FUNCTION public.scans(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line LIKE '%patient_demographics%' THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;
CREATE FUNCTION public.ask(family text, given text, birth_date text, phone text DEFAULT NULL, ssn text DEFAULT NULL) RETURNS referral.demographics LANGUAGE sql IMMUTABLE AS
$$SELECT referral.demographics(family, given, birth_date, NULL, phone, NULL, '12 Main Street', 'Dover', '19901', ARRAY['ssn|' || ssn])$$;

SET session_replication_role = replica;    -- rows alone
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, phone, address, city, postal_code, identifier_system, identifier, version) VALUES
    (1, 1, 'Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '12 Main Street', 'Dover', '19901', 'ssn', '657680344', 1),
    (1, 2, 'Abernathy', 'Quentin', '1971-08-30', '906 389 1111', '7 Elm Avenue', 'Salem', '08079', NULL, NULL, 1),
    (1, 3, 'Larssen', 'Ingrid', '1990-01-17', '906 389 8576', '12 Main Street', 'Dover', '19901', NULL, NULL, 1),
    (2, 1, 'Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '12 Main Street', 'Dover', '19901', 'ssn', '657680344', 1),
    (2, 2, 'Larssen', 'Fyodor', '1962-04-09', '906 389 0000', '12 Main Street', 'Dover', '19901', 'ssn', '657680344', 1);
RESET session_replication_role;

-- ---------- who is found ----------

SELECT is(found(1, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576')), '1', 'a person in full');
SELECT is(found(1, ask('Larsen', 'Fyodor', '1962-09-04')), '1', 'misspelled, day and month exchanged');
SELECT is(found(1, ask('Fyodor', 'Larssen', '1962-04-09')), '1', 'names exchanged');
SELECT is(found(1, ask('Nobody', 'Atall', '1930-12-12')), '', 'who is not there');
SELECT is(found(1, '{}'), '', 'nobody');
SELECT is(graded(1, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '657680344')), '1 certain', 'a person in full, with an identifier');
SELECT is(graded(2, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '657680344')), '1 probable, 2 probable', 'two who may be: none of them is certain');
SELECT is(graded(2, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '657680344'), 10, 1), '2 certain', 'one left out does not count');
SELECT is(graded(2, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '657680344'), 1), '1 probable', 'at most one: the best, and no more certain for that');
SELECT is(found(9, ask('Larssen', 'Fyodor', '1962-04-09')), '', 'an organisation that does not exist');
SELECT ok((SELECT m.probability = referral.match_probability(p.demographics, ask('Larsen', 'Fyodor', '1962-09-04'))
           FROM referral.patient p, referral.find_matches(1, ask('Larsen', 'Fyodor', '1962-09-04')) m
           WHERE p.org_id = 1 AND p.patient_id = m.patient_id), 'the probability is match_probability()');
SELECT is_empty('SELECT * FROM referral.find_matches(NULL, ask(''A'', ''B'', NULL))', 'null organisation');
SELECT is_empty('SELECT * FROM referral.find_matches(1, NULL)', 'null person');
SELECT is_empty('SELECT * FROM referral.find_matches(1, ask(''Larssen'', ''Fyodor'', ''1962-04-09''), NULL)', 'null number');
SELECT is(r.code, 'RF020', 'max = ' || n) FROM (VALUES ('0'), ('-1')) x (n), refused('SELECT * FROM referral.find_matches(1, ask(''A'', ''B'', NULL), ' || n || ')') r;

-- changes are seen at once, and only what the statement may see
BEGIN;
UPDATE referral.patient SET family = 'Abercrombie' WHERE org_id = 1 AND patient_id = 2;
SELECT is(found(1, referral.demographics('Abercrombie', 'Quentin', '1971-08-30')), '2', 'a changed row by what it is now');
ROLLBACK;
SELECT is(found(1, referral.demographics('Abercrombie', 'Quentin', '1980-08-30')), '', 'and no more once that is undone');
BEGIN;
DELETE FROM referral.patient WHERE org_id = 1 AND patient_id = 2;
SELECT is(found(1, referral.demographics('Abernathy', 'Quentin', '1971-08-30')), '', 'a deleted row');
ROLLBACK;

-- ---------- who was merged answers as who is left ----------

SET session_replication_role = replica;
UPDATE referral.patient SET merged_into = 1 WHERE org_id = 2 AND patient_id = 2;
SELECT is(found(2, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 0000')), '1', 'once, as the survivor, by the best of both');
SELECT is_empty('SELECT * FROM referral.find_duplicates(2)', 'and is no duplicate of it');
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, address, city, postal_code, merged_into, version) VALUES
    (2, 3, 'Larson', 'Teodor', '1962-09-04', '12 Main Street', 'Dover', '19901', 2, 1),
    (2, 4, 'Larson', 'Teodor', '1962-09-04', '12 Main Street', 'Dover', '19901', NULL, 1);
SELECT is(found(2, ask('Larson', 'Teodor', '1962-09-04'), 10, 4), '1', 'over two merges');
SELECT is((SELECT string_agg(patient_id || ' ' || duplicate_id, ', ') FROM referral.find_duplicates(2)), '1 4', 'in the batch too');
UPDATE referral.patient SET merged_into = 3 WHERE org_id = 2 AND patient_id = 2;    -- in a circle, which nobody can do
SELECT lives_ok('SELECT found(2, ask(''Larson'', ''Teodor'', ''1962-09-04''), 10, 4)', 'merges in a circle lead nowhere, and end');
SELECT lives_ok('SELECT * FROM referral.find_duplicates(2)', 'in the batch too');
DELETE FROM referral.patient WHERE org_id = 2 AND patient_id > 2;
UPDATE referral.patient SET merged_into = NULL WHERE org_id = 2;
RESET session_replication_role;

-- ---------- who may see it ----------

SET SESSION AUTHORIZATION find_jane;
SELECT is(found(1, ask('Larssen', 'Fyodor', '1962-04-09')), '1', 'a member finds people of the organisation');
SELECT is(found(2, ask('Larssen', 'Fyodor', '1962-04-09')), '', 'and nobody of another one');
SELECT is_empty('SELECT * FROM referral.find_duplicates(2)', 'nor duplicates there');
SET SESSION AUTHORIZATION find_nobody;
SELECT is(r.code || ' ' || (r.message LIKE '%table patient'), '42501 true', 'who may not select patients is refused' || what)
FROM (VALUES (', with somebody to find', 'SELECT * FROM referral.find_matches(1, ask(''Larssen'', ''Fyodor'', ''1962-04-09''))'),
             (', alike without', 'SELECT * FROM referral.find_matches(1, ask(''Nobody'', ''Atall'', ''1930-12-12''))'),
             (', and alike for all', 'SELECT * FROM referral.find_duplicates(1)')) x (what, statement), refused(statement) r;
SET SESSION AUTHORIZATION find_columns;
SELECT is(r.code || ' ' || (r.message LIKE '%table patient'), '42501 true', 'who may not select what people are compared by is refused') FROM refused('SELECT * FROM referral.find_matches(1, ask(''Larssen'', ''Fyodor'', ''1962-04-09''))') r;
RESET SESSION AUTHORIZATION;

SET SESSION AUTHORIZATION find_outside;
SELECT is(r.code || ' ' || (r.message LIKE '%function%'), '42501 true', 'who has none of the roles that read patients may not even ask')
FROM (VALUES ('SELECT * FROM referral.find_matches(1, ''{}'')'), ('SELECT * FROM referral.find_duplicates(1)')) x (statement), refused(statement) r;
RESET SESSION AUTHORIZATION;

-- the operator under row-level security: nobody but the caller's organisation, and without the index
SET SESSION AUTHORIZATION find_jane;
SET enable_seqscan = off;
SELECT results_eq('SELECT DISTINCT org_id FROM referral.patient WHERE demographics OPERATOR(referral.%) ask(''Larssen'', ''Fyodor'', ''1962-04-09'', ''906 389 8576'', ''657680344'')',
                  'VALUES (1::bigint)', 'the operator finds people of the organisation');
SELECT ok(NOT scans('SELECT 1 FROM referral.patient WHERE demographics OPERATOR(referral.%) ask(''Larssen'', ''Fyodor'', ''1962-04-09'')'),
          'but not by the index: it is not leakproof, so the policy comes first');
RESET SESSION AUTHORIZATION;
SELECT ok(scans('SELECT 1 FROM referral.patient WHERE demographics OPERATOR(referral.%) ask(''Larssen'', ''Fyodor'', ''1962-04-09'')'), 'which is for those whom no policy concerns');
RESET enable_seqscan;
SELECT is(format('%s %s', provolatile, proleakproof), 's f', 'demographics_match') FROM pg_proc WHERE proname = 'demographics_match' AND pronamespace = 'referral'::regnamespace;

-- somebody who sees a part of the patients: the others change neither grades nor number
SET session_replication_role = replica;
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, phone, address, city, postal_code, identifier_system, identifier, version)
SELECT 1, 100 + i, 'Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '12 Main Street', 'Dover', '19901', 'ssn', '657680344', 1 FROM generate_series(1, 30) i;
RESET session_replication_role;
CREATE POLICY find_narrow ON referral.patient AS RESTRICTIVE FOR SELECT USING (patient_id < 100 OR current_user <> 'find_narrow');
SELECT is(graded(1, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '657680344'), 3), '1 probable, 101 probable, 102 probable', 'who sees all has many to choose from');
SET SESSION AUTHORIZATION find_narrow;
SELECT is(graded(1, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '657680344'), 3), '1 certain', 'who sees one has a certain one, and no empty place is left by others');
SELECT is((SELECT count(*) FROM referral.find_duplicates(1)), 0::bigint, 'and no duplicates');
RESET SESSION AUTHORIZATION;
SET session_replication_role = replica;
UPDATE referral.patient SET merged_into = 101 WHERE org_id = 1 AND patient_id = 1;
RESET session_replication_role;
SET SESSION AUTHORIZATION find_narrow;
SELECT is(found(1, ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576'), 3), '', 'who was merged into somebody invisible does not give that away');
SELECT lives_ok('SELECT * FROM referral.find_duplicates(1)', 'in the batch too');
SELECT is((SELECT count(*) FROM referral.find_duplicates(1) d WHERE 101 IN (d.patient_id, d.duplicate_id)), 0::bigint, 'no trace of the invisible');
RESET SESSION AUTHORIZATION;
SET session_replication_role = replica;
UPDATE referral.patient SET merged_into = NULL WHERE org_id = 1 AND patient_id = 1;
DELETE FROM referral.patient WHERE org_id = 1 AND patient_id > 100;
RESET session_replication_role;
DROP POLICY find_narrow ON referral.patient;
-- hostile objects on the caller's search_path are not taken
CREATE SCHEMA find_hostile;
CREATE FUNCTION find_hostile.eq(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''hostile''; END';
CREATE OPERATOR find_hostile.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = find_hostile.eq);
CREATE TABLE find_hostile.patient AS SELECT 1 AS patient_id;
SET search_path = find_hostile, referral, public, pg_catalog;
SELECT public.found(1, public.ask('Larssen', 'Fyodor', '1962-04-09')) AS hostile_found \gset
SELECT pg_catalog.count(*) AS hostile_pairs FROM referral.find_duplicates(1) \gset
RESET search_path;
SELECT is(:'hostile_found'::text, '1', 'a hostile search_path does nothing to a lookup');
SELECT is(:'hostile_pairs'::text, '0', 'nor to the batch');

-- ---------- frequent keys ----------

SET session_replication_role = replica;
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, phone, city, version)
SELECT 3, i, 'Smith' || chr(97 + i % 26) || chr(97 + i / 26 % 26), 'John', '1900-01-01', (5550000000 + i * 7919)::text, 'Dover', 1 FROM generate_series(1, 3000) i;
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, version)
SELECT 4, i, 'Same', 'Person', '1950-05-05', 1 FROM generate_series(1, 1200) i;
RESET session_replication_role;
ANALYZE referral.patient;
SELECT is(found(3, (SELECT demographics FROM referral.patient WHERE org_id = 3 AND patient_id = 1234), 1), '1234', 'a birth date of thousands hides nobody');
SELECT is((SELECT count(*) FROM referral.find_matches(4, referral.demographics('Same', 'Person', '1950-05-05'), 1000)), 500::bigint, 'of those whose keys are all too frequent, some are found');
SELECT ok(max(m.patient_id) > 1100 AND min(m.patient_id) < 100, 'from all over the table')
FROM referral.find_matches(4, referral.demographics('Same', 'Person', '1950-05-05'), 1000) m;
SELECT is((SELECT count(*) FROM referral.find_duplicates(4)), 0::bigint, 'but not all pairs of them');

-- ---------- rows that are nobody of the organisation: dead, undone, of others ----------

CREATE FUNCTION public.larssen(ssn text DEFAULT '657680344') RETURNS referral.demographics LANGUAGE sql IMMUTABLE AS
$$SELECT ask('Larssen', 'Fyodor', '1962-04-09', '906 389 8576', ssn)$$;
SELECT graded(1, larssen()) AS before_1, graded(2, larssen()) AS before_2 \gset
SET session_replication_role = replica;
DO $$
BEGIN
    FOR i IN 1..600 LOOP
        UPDATE referral.patient SET other_phones = ARRAY[(3022000000 + i)::text] WHERE org_id = 2 AND patient_id = 1;
    END LOOP;
END $$;
RESET session_replication_role;
SELECT is(graded(2, larssen()), :'before_2', 'a row changed many times hides neither itself nor others');
SELECT is(graded(1, larssen()), :'before_1', 'nor in another organisation');
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, phone, address, city, postal_code, identifier_system, identifier, version)
SELECT 3, 10000 + i, 'Larssen', 'Fyodor', '1962-04-09', '906 389 8576', '12 Main Street', 'Dover', '19901', 'ssn', '657680344', 1 FROM generate_series(1, 3000) i;
SELECT is(graded(1, larssen()), :'before_1', 'copies in another organisation hide nobody');
SELECT is((SELECT count(*) FROM referral.find_matches(3, larssen(), 1000)), 500::bigint, 'where they are, they are too many');
ROLLBACK;
SELECT is(graded(1, larssen()), :'before_1', 'nor copies that were rolled back');
SELECT is(found(3, larssen()), '', 'who are nobody');
-- one key that nobody else asks for is not enough for a name and a phone that thousands have
SELECT is(found(1, referral.demographics('Larssen', 'Fyodor', '1962-04-09', NULL, NULL, 'new@example.org', '99 Wide Road', 'Camden', '08101')), '1', 'by name and birth date alone');
-- all keys are too frequent but those of somebody who is gone
SET session_replication_role = replica;
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, identifier_system, identifier, version) VALUES (4, 5000, 'Gone', 'Long', '1950-05-05', 'ssn', '871239999', 1);
DELETE FROM referral.patient WHERE org_id = 4 AND patient_id = 5000;
RESET session_replication_role;
SELECT is((SELECT count(*) FROM referral.find_matches(4, referral.demographics('Same', 'Person', '1950-05-05', identifiers => ARRAY['ssn|871239999']), 1000)), 500::bigint,
          'who is gone does not stand for those who share the frequent keys');

-- ---------- lookup and batch find the same ----------

CREATE FUNCTION public.u(i int, k int) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT (hashint8extended(i, k) & 1073741823) / 1073741824.0';
CREATE FUNCTION public.pick(words text, x float8) RETURNS text LANGUAGE sql IMMUTABLE AS
$$SELECT w[1 + (cardinality(w) * x * x)::int % cardinality(w)] FROM string_to_array(words, ' ') w$$;
SET session_replication_role = replica;
DELETE FROM referral.patient;
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, sex, phone, email, address, city, postal_code, identifier_system, identifier, version)
SELECT 5, i, pick('Smith Johnson Garcia Nguyen Olsen Ferrari Kowalski Petrov Haddad Okafor Tanaka Silva Novak Murphy Dubois', u(p, 1)) || CASE WHEN u(p, 2) < 0.5 THEN '-' || pick('Ash Bell Cole Dunn Frey Hart Kerr Lane Moss', u(p, 3)) ELSE '' END,
       CASE WHEN u(i, 20) < 0.2 THEN left(given, 1) || 'h' || substr(given, 3) ELSE given END,
       CASE WHEN u(i, 21) < 0.1 THEN NULL WHEN u(p, 5) < 0.03 THEN '1900-01-01' ELSE date '1930-01-01' + (30000 * u(p, 6))::int END,
       CASE WHEN u(p, 7) < 0.5 THEN 'male' ELSE 'female' END, CASE WHEN u(i, 22) < 0.6 THEN (2025550000 + (99999 * u(p, 8))::int)::text END,
       CASE WHEN u(i, 23) < 0.3 THEN lower(given) || (1000 * u(p, 9))::int || '@example.org' END,
       (300 * u(p, 10))::int || ' ' || pick('Main Oak Elm Lake Hill Mill Park Cedar', u(p, 11)) || ' Street', pick('Dover Salem Troy Albion Camden', u(p, 12)),
       (19900 + (50 * u(p, 12))::int)::text, 'ssn', CASE WHEN u(i, 24) < 0.5 THEN (100000000 + (899999999 * u(p, 13))::int)::text END, 1
FROM (SELECT i, i / 2 + i % 2 * 100 * (i % 7) AS p FROM generate_series(1, 4000) i) x,
     LATERAL (SELECT pick('James Mary John Linda Robert Susan Aisha Wei Juan Olga Pedro Ingrid Kofi Yuki', u(p, 4)) AS given) y;
RESET session_replication_role;
VACUUM ANALYZE referral.patient;
CREATE TABLE public.batch AS SELECT * FROM referral.find_duplicates(5);
CREATE VIEW public.lookup AS
SELECT least(p.patient_id, m.patient_id) AS patient_id, greatest(p.patient_id, m.patient_id) AS duplicate_id, max(m.probability) AS probability,
       CASE WHEN min(m.grade) = 'certain' AND max(m.grade) = 'probable' THEN 'probable' ELSE min(m.grade) END AS grade
FROM referral.patient p, referral.find_matches(5, p.demographics, 100000, p.patient_id) m WHERE p.org_id = 5 GROUP BY 1, 2;
SELECT cmp_ok((SELECT count(*) FROM public.batch WHERE grade = 'certain'), '>', 100::bigint, 'many are certain');
SELECT cmp_ok((SELECT count(*) FROM public.batch WHERE grade = 'possible'), '>', 20::bigint, 'some are possible');
SELECT set_eq('TABLE public.batch', 'TABLE public.lookup', 'find_duplicates() finds what find_matches() finds for each');
-- dead rows and other organisations between them: still the same
SET session_replication_role = replica;
UPDATE referral.patient SET other_phones = ARRAY['3022000001'] WHERE org_id = 5;
UPDATE referral.patient SET other_phones = NULL WHERE org_id = 5;
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, sex, phone, email, address, city, postal_code, identifier_system, identifier, version)
SELECT 2, patient_id, family, given, birth_date, sex, phone, email, address, city, postal_code, identifier_system, identifier, 1 FROM referral.patient WHERE org_id = 5;
RESET session_replication_role;
SELECT set_eq('SELECT * FROM referral.find_duplicates(5)', 'TABLE public.lookup', 'and in a table of dead rows and other organisations too');
DELETE FROM referral.patient WHERE org_id = 2;
VACUUM FULL referral.patient;
ANALYZE referral.patient;
SELECT results_eq('TABLE public.batch', 'SELECT * FROM public.batch ORDER BY patient_id, duplicate_id', 'in order');
SELECT ok(bool_and(patient_id < duplicate_id), 'the lesser id first') FROM public.batch;
SELECT set_eq('SELECT * FROM referral.find_duplicates(5, 0.9)', 'SELECT * FROM public.batch WHERE probability >= 0.9', 'from a probability on');
SET maintenance_work_mem = '1MB';
SELECT set_eq('SELECT * FROM referral.find_duplicates(5)', 'TABLE public.batch', 'in little memory, in parts');
RESET maintenance_work_mem;
SELECT is_empty('SELECT * FROM referral.find_duplicates(NULL)', 'null organisation');
SELECT is_empty('SELECT * FROM referral.find_duplicates(9)', 'nobody there');
SELECT is(r.code, 'RF020', 'min_probability = ' || n) FROM (VALUES ('-0.1'), ('1.1'), ('''NaN''')) x (n), refused('SELECT * FROM referral.find_duplicates(1, ' || n || ')') r;

-- rows that wait to be put into the index are found too
ALTER INDEX referral.patient_demographics SET (fastupdate = on);
SET session_replication_role = replica;
INSERT INTO referral.patient (org_id, patient_id, family, given, birth_date, version) VALUES (5, 9001, 'Zabriskie', 'Wilhelmina', '1961-02-03', 1);
RESET session_replication_role;
SELECT is(found(5, referral.demographics('Zabriskie', 'Wilhelmina', '1961-02-03')), '9001', 'also what waits (fastupdate)');
DROP INDEX referral.patient_demographics;
SELECT is(r.code || ' ' || (r.hint <> ''), 'RF012 true', 'without the index') FROM refused('SELECT * FROM referral.find_matches(5, ''{}'')') r;
SELECT * FROM finish();
