-- Blocking keys, the operators % and <->, their index, and what the planner makes of it.
SELECT plan(52);
\ir ../lib/refused.sql
SET search_path = referral, public;

CREATE FUNCTION public.shared(a demographics, b demographics) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(DISTINCT kind, '; ' ORDER BY kind)
    FROM match_keys_explain(a) x JOIN match_keys_explain(b) y USING (key, kind)
$$;

-- ---------- keys ----------

SELECT is(match_keys('{}'), '{}', 'nobody has no keys');
SELECT is(match_keys(NULL), NULL, 'keys of null');
SELECT is_empty('SELECT match_keys_explain(NULL)', 'and none explained');
CREATE TABLE public.person (d demographics);
INSERT INTO public.person VALUES
    (demographics('Larssen', 'Fyodor', '1962-04-09', 'm', '(906) 389-8576', 'fyodor.larssen@example.org', '52 Williamson Cir', 'Lansing', '48909', '{ssn|657680344,mrn|A-1009}')),
    (demographics('Garcia-Marquez', 'Mary Ann', '1990-11-30', 'f')), (demographics('Иванова', 'Елена', '1988-01-02')),
    (demographics('O''Brien', NULL, '1975')), (demographics(family => 'X', given => 'Y')),
    ('{"family": ["Vega", "Ruiz"], "previous_family": ["Lopez", "Diaz"], "alias": ["Pepe", "Pep"], "given": "Jose", "phone": ["5550100200", "5550100300"], "birth_date": "1950-05-06"}');
SELECT ok(bool_and(k = ARRAY(SELECT DISTINCT x FROM unnest(k) x ORDER BY 1)), 'keys are sorted and distinct')
FROM public.person, match_keys(d) k;
SELECT ok(bool_and(match_keys(d) = ARRAY(SELECT key FROM match_keys_explain(d))), 'explained are the same keys') FROM public.person;
SELECT ok(bool_and(match_keys(d) = match_keys(d::text::demographics)), 'keys depend on the value alone') FROM public.person;
SELECT ok(bool_and(cardinality(match_keys(d)) BETWEEN 1 AND 64), 'everybody of whom something is known has keys') FROM public.person;
SELECT cmp_ok(cardinality(match_keys((SELECT jsonb_build_object('family', 'Long', 'given', 'Anne', 'birth_date', '1990-02-03',
    'identifiers', (SELECT jsonb_agg('id|' || 1000000 + i) FROM generate_series(1, 30) i),
    'phone', (SELECT jsonb_agg((2025550000 + i)::text) FROM generate_series(1, 30) i),
    'alias', (SELECT jsonb_agg('Ali' || chr(96 + i)) FROM generate_series(1, 12) i),
    'previous_family', (SELECT jsonb_agg('Smi' || chr(96 + i)) FROM generate_series(1, 12) i),
    'address', '12 Main St', 'city', 'Dover', 'postal_code', '12345', 'email', 'long@example.org'))::text::demographics)), '<=', 64, 'there are never more than 64');

-- who is found by what, whatever else is wrong
CREATE FUNCTION public.found_by(a text, b text) RETURNS text LANGUAGE sql STABLE AS 'SELECT shared(a::demographics, b::demographics)';
SELECT is(found_by('{"birth_date": "1962-04-09"}', '{"birth_date": "1962-09-04"}'), 'birth date', 'day and month exchanged');
SELECT is(found_by('{"birth_date": "1962-04-09"}', '{"birth_date": "1962-04-10"}'), NULL, 'another day');
SELECT is(found_by('{"birth_date": "1962-04"}', '{"birth_date": "1962-04"}'), NULL, 'a month of birth alone finds nobody');
SELECT is(found_by('{"family": "Smith", "given": "John", "phone": "5550100200", "email": "someone@example.org"}', '{"family": "John", "given": "Smyth"}'), 'names by sound', 'names exchanged, by sound');
SELECT is(found_by('{"family": "Smith", "given": "John", "phone": "5550100200", "email": "someone@example.org"}', '{"family": "Smitten", "given": "Johanna"}'), 'starts of names', 'names by their first letters');
SELECT is(found_by('{"family": "Smith", "birth_date": "1962-04-09"}', '{"given": "Smyth", "birth_date": "1962-12-24"}'), 'name; name, birth year', 'a name and the birth year, of people of whom little more is known');
SELECT is(found_by('{"family": "Smith", "birth_date": "1962-04-09"}', '{"family": "Smyth", "birth_date": "1926-09-04"}'), 'name', 'a name alone');
SELECT is(found_by('{"identifiers": "ssn|657680344"}', '{"identifiers": "657680344"}'), 'end of identifier; start of identifier', 'an identifier of whatever type');
SELECT is(found_by('{"identifiers": "ssn|657680344"}', '{"identifiers": "ssn|657680345"}'), 'start of identifier', 'its last digit wrong');
SELECT is(found_by('{"identifiers": "ssn|657680344"}', '{"identifiers": "ssn|757680344"}'), 'end of identifier', 'its first digit wrong');
SELECT is(found_by('{"identifiers": "mrn|A17"}', '{"identifiers": "A17"}'), 'identifier', 'a short one whole');
SELECT is(found_by('{"phone": "(906) 389-8576"}', '{"phone": "389-8576"}'), 'end of phone; middle of phone', 'a phone number without area code');
SELECT is(found_by('{"email": "fyodor.larssen@example.org"}', '{"email": "fyodor.larssen@exmaple.org"}'), 'e-mail up to the first letter of its domain; start of e-mail', 'an e-mail address, its domain wrong');
SELECT is(found_by('{"email": "fyodor.larssen@example.org"}', '{"email": "fyodorlarsen@example.org"}'), 'first letter and domain of e-mail; start of e-mail', 'or its middle wrong');
SELECT is(found_by('{"address": "52 N Williamson Cir", "city": "Lansing"}', '{"address": "52 Willamson Circle", "city": "East Lansing"}'), 'street number, street', 'a street with and without direction, by sound');
SELECT is(found_by('{"address": "52 Pine St", "postal_code": "48909"}', '{"address": "52 Pnie St", "postal_code": "48909"}'), 'street number, postal code', 'street misspelled');
SELECT is(found_by('{"family": "Garcia-Marquez", "given": "Ana", "phone": "5550100200", "email": "someone@example.org"}', '{"family": "Marquez", "given": "Anna"}'), 'names by sound', 'half of a double name');
SELECT is(found_by('{"family": "Larssen", "previous_family": "Williams", "given": "Ana", "phone": "5550100200", "email": "someone@example.org"}', '{"family": "Williams", "given": "Ana"}'), 'names by sound; starts of names', 'a former name');
SELECT is(found_by('{"given": "Robert", "alias": "Bob", "family": "Ash", "phone": "5550100200", "email": "someone@example.org"}', '{"given": "Bob", "family": "Ash"}'), 'names by sound; starts of names', 'an alias');
SELECT ok(found_by('{"family": "Иванова", "birth_date": "1988-01-02"}', '{"family": "Ивановна", "birth_date": "1988-02-10"}') LIKE '%name, birth year%', 'a name that is not Latin, by its beginning');

-- ---------- operators ----------

SELECT is((SELECT count(*) FROM public.person a, public.person b WHERE a.d % b.d IS DISTINCT FROM (b.d % a.d)), 0::bigint, '%% commutes');
SELECT is((SELECT count(*) FROM public.person a, public.person b WHERE (a.d <-> b.d) IS DISTINCT FROM (b.d <-> a.d)), 0::bigint, '<-> commutes');
SELECT ok((SELECT bool_and(abs((a.d <-> b.d) - (1 - match_probability(a.d, b.d))) < 1e-12) FROM public.person a, public.person b), '<-> is what lacks to 1');
SELECT ok(bool_and(b > 0) AND max(b) > min(b), 'and puts even those in order who are all but certain')
FROM (SELECT d <-> d FROM (VALUES ('{"family":"Smith","given":"Jo","birth_date":"1970-01-02","phone":"3025551234","email":"jo@example.org"}'::demographics),
      ('{"family":"Smith","given":"Jo","birth_date":"1970-01-02","phone":"3025551234","email":"jo@example.org","identifiers":["ssn|657680344"]}')) v (d)) x (b);
SELECT ok((SELECT bool_and((a.d % b.d) = (match_probability(a.d, b.d) >= 0.5 AND match_keys(a.d) && match_keys(b.d)))
           FROM public.person a, public.person b), '%% is a shared key and a probability of half at least');
SELECT is(NULL::demographics % (SELECT d FROM public.person LIMIT 1), NULL, 'null is of nobody');
SELECT is('{"sex": "f", "birth_date": "1990"}'::demographics % '{"sex": "f", "birth_date": "1990"}', false, 'without a shared key nobody is found');
SELECT is(current_setting('referral.match_threshold'), '0.5', 'the threshold');
SET referral.match_threshold = 1;
SELECT is((SELECT count(*) FROM public.person a, public.person b WHERE a.d % b.d AND match_probability(a.d, b.d) < 1), 0::bigint, 'a higher threshold');
SET referral.match_threshold = 0;
SELECT ok((SELECT bool_and((a.d % b.d) = (match_keys(a.d) && match_keys(b.d))) FROM public.person a, public.person b), 'a threshold of 0 asks for keys alone');
RESET referral.match_threshold;
SELECT throws_ok('SET referral.match_threshold = 1.1', '22023', NULL, 'a probability is not above 1');
SELECT throws_ok('SET referral.match_threshold = -0.1', '22023', NULL, 'nor below 0');

-- ---------- operator class ----------

SELECT ok(amvalidate(oid), 'operator class ' || opcname || ' is valid') FROM pg_opclass WHERE opcname = 'demographics_ops' AND opcmethod = (SELECT oid FROM pg_am WHERE amname = 'gin');
CREATE TABLE public.people (id int, d demographics);
INSERT INTO public.people SELECT i, demographics('Fam' || chr(97 + i % 26) || chr(97 + i / 26 % 26), 'Giv' || chr(97 + i / 7 % 26),
    (date '1940-01-01' + i * 37 % 25000)::text, NULL, (2025550000 + i)::text) FROM generate_series(1, 3000) i;
INSERT INTO public.people VALUES (0, NULL), (-1, '{}');
CREATE INDEX people_d ON public.people USING gin (d);
ANALYZE public.people;
PREPARE ask(demographics) AS SELECT id FROM public.people WHERE d % $1;
CREATE FUNCTION public.plan_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    plan text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN ' || statement LOOP
        plan := plan || line || E'\n';
    END LOOP;
    RETURN plan;
END $$;
SELECT matches(plan_of($$EXECUTE ask(demographics('Famab', 'Giva', '1950-01-01'))$$), 'Bitmap Index Scan on people_d', 'the planner takes the index for a constant');
SET plan_cache_mode = force_generic_plan;
SELECT matches(plan_of($$EXECUTE ask(demographics('Famab', 'Giva', '1950-01-01'))$$), 'Bitmap Index Scan on people_d', 'and for a parameter');
RESET plan_cache_mode;
SELECT matches(plan_of('SELECT * FROM public.people a JOIN public.people b ON a.d % b.d WHERE a.id = 7'), 'Bitmap Index Scan on people_d', 'and for a join');
SELECT matches(plan_of($$SELECT * FROM public.people WHERE d % demographics('Famab', 'Giva')$$), '^[^\n]*rows=[1-9] ', 'who expects a few rows');
CREATE FUNCTION public.by_index(how boolean) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('enable_seqscan', (NOT how)::text, true), set_config('enable_bitmapscan', how::text, true);
    RETURN QUERY SELECT a.id || ' ' || b.id FROM public.people a JOIN public.people b ON a.d % b.d WHERE a.id % 100 = 3;
END $$;
SELECT set_eq('SELECT by_index(true)', 'SELECT by_index(false)', 'the index finds what the table has');
INSERT INTO public.people SELECT 5000 + id, d FROM public.people WHERE id BETWEEN 1 AND 300;
DELETE FROM public.people WHERE id BETWEEN 100 AND 200;
UPDATE public.people SET d = demographics('Changed', 'Name', '2001-02-03') WHERE id = 303;
SELECT set_eq('SELECT by_index(true)', 'SELECT by_index(false)', 'also what waits to be put into the index (fastupdate)');
VACUUM public.people;
SELECT set_eq('SELECT by_index(true)', 'SELECT by_index(false)', 'also after VACUUM');
SELECT is_empty($$SELECT id FROM public.people WHERE d % '{}'$$, 'nobody is like nobody');
SELECT is((SELECT count(*) FROM public.people WHERE d % NULL), 0::bigint, 'nor like null');

-- selectivity functions are for the planner alone, whatever stands in an operator of theirs
CREATE FUNCTION public.odd(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = $2';
CREATE OPERATOR public.=%= (LEFTARG = int, RIGHTARG = int, FUNCTION = public.odd,
    RESTRICT = demographics_match_sel, JOIN = demographics_match_joinsel);
SELECT lives_ok('SELECT * FROM generate_series(1, 3) a JOIN generate_series(1, 3) b ON a =%= b WHERE a =%= 1 AND 1 =%= 1 AND a + b =%= b', 'of other types too');
SELECT lives_ok('SELECT * FROM public.people a JOIN (SELECT max(id), demographics(family => ''A'') AS d FROM public.people) b ON a.d % b.d', 'of what is no column too');
SELECT * FROM finish();
