-- A model fitted to data: what it learns of a population whose answers are known, that it says the same twice, how it
-- goes through governance, and what it is refused.
SELECT plan(69);
\ir ../lib/refused.sql
SET client_min_messages = error;

-- ---------- made-up people; some are entered twice, with errors ----------

-- A number from 0 to 1 that is the same in every run.
CREATE FUNCTION chance(id integer, what integer) RETURNS float8 LANGUAGE sql IMMUTABLE AS
    'SELECT (hashint4extended(id, what) >> 11 & 9007199254740991) / 9007199254740992.0';
CREATE FUNCTION pick(list text[], chance float8) RETURNS text LANGUAGE sql IMMUTABLE AS
    'SELECT list[1 + floor(chance * chance * cardinality(list))]';
CREATE FUNCTION syllables(n integer, salt integer) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(initcap(a || b || c) ORDER BY hashtextextended(a || b || c, salt))
    FROM (SELECT a, b, c FROM unnest('{bar,kel,mon,tra,shu,wil,gre,pol,fen,dor,cas,lin}'::text[]) a,
          unnest('{a,e,ov,ing,er,is}'::text[]) b, unnest('{ton,man,ski,dez,well,son}'::text[]) c
          ORDER BY hashtextextended(a || b || c, salt) LIMIT n) x $$;
CREATE TABLE list AS SELECT
    '{Mary,Patricia,Linda,Susan,Karen,Nancy,Lisa,Betty,Helen,Sandra,Donna,Carol,Ruth,Sharon,Laura,Cynthia,Amy,Angela,Brenda,Emma,Olivia,Fatima,Aisha,Mei,Yuki,Ingrid,Chloe,Zoe,Priya,Lakshmi}'::text[] AS women,
    '{James,John,Robert,Michael,William,David,Richard,Joseph,Thomas,Charles,Daniel,Matthew,Anthony,Mark,Donald,Steven,Paul,Andrew,Kenneth,George,Joshua,Kevin,Brian,Edward,Ahmed,Omar,Wei,Hiroshi,Lars,Raj}'::text[] AS men,
    syllables(300, 1) AS families, syllables(200, 2) AS streets, syllables(60, 3) AS cities;

CREATE FUNCTION person(id integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('family', pick(families, chance(id, 1)),
        'given', pick(CASE WHEN chance(id, 2) < 0.5 THEN women ELSE men END, chance(id, 3)),
        'sex', CASE WHEN chance(id, 2) < 0.5 THEN 'F' ELSE 'M' END,
        'birth_date', (date '1940-01-01' + floor(chance(id, 4) * 25000)::int)::text,
        'phone', lpad(floor(chance(id, 5) * 1e10)::text, 10, '2'),
        'address', 1 + floor(chance(id, 6) * 400) || ' ' || pick(streets, chance(id, 7)) || ' Street',
        'city', pick(cities, chance(id, 8)), 'postal_code', (10000 + floor(chance(id, 9) * 500) * 7)::text,
        'identifiers', jsonb_build_array('ssn|' || 100000000 + floor(chance(id, 10) * 9e8)::bigint))
    FROM list $$;

-- One letter or digit wrong.
CREATE FUNCTION misspelled(word text, chance float8) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT overlay(word PLACING CASE WHEN word ~ '[0-9]$' THEN floor(chance * 10)::text ELSE chr(97 + floor(chance * 26)::int) END
                   FROM 2 + floor(chance * 7919)::int % (length(word) - 1) FOR 1) $$;

CREATE FUNCTION entered_again(p jsonb, id integer) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(p || jsonb_build_object(
        'given', CASE WHEN chance(id, 20) < 0.08 THEN misspelled(p->>'given', chance(id, 21)) WHEN chance(id, 20) < 0.12 THEN pick(men || women, chance(id, 22)) ELSE p->>'given' END,
        'family', CASE WHEN chance(id, 23) < 0.07 THEN misspelled(p->>'family', chance(id, 24)) WHEN chance(id, 23) < 0.15 THEN pick(families, chance(id, 25)) ELSE p->>'family' END,
        'sex', CASE WHEN chance(id, 26) < 0.03 THEN CASE p->>'sex' WHEN 'F' THEN 'M' ELSE 'F' END ELSE p->>'sex' END,
        'birth_date', CASE WHEN chance(id, 27) < 0.09 THEN overlay(p->>'birth_date' PLACING floor(chance(id, 28) * 10)::text FROM 10 FOR 1)
                           WHEN chance(id, 27) < 0.12 THEN (date '1940-01-01' + floor(chance(id, 29) * 25000)::int)::text ELSE p->>'birth_date' END,
        'phone', CASE WHEN chance(id, 30) < 0.3 THEN lpad(floor(chance(id, 31) * 1e10)::text, 10, '3') WHEN chance(id, 30) > 0.8 THEN NULL ELSE p->>'phone' END,
        'identifiers', CASE WHEN chance(id, 32) < 0.15 THEN NULL ELSE p->'identifiers' END)
        -- who moves gets another street and city at once
        || CASE WHEN chance(id, 33) < 0.25 THEN person(-id) - '{family,given,sex,birth_date,phone,identifiers}'::text[] ELSE '{}' END)
    FROM list $$;

CREATE TABLE people (id integer PRIMARY KEY, person integer, d referral.demographics, names referral.demographics);
-- the last 400 are brothers and sisters of the first, the last 60 of them their twins
INSERT INTO people (id, person, d)
SELECT i, i, (person(i) || CASE WHEN i > 2000 THEN person(i - 2000) - '{given,sex,identifiers}'::text[] - CASE WHEN i > 2340 THEN '' ELSE 'birth_date' END ELSE '{}' END)::referral.demographics
FROM generate_series(1, 2400) i;
INSERT INTO people (id, person, d) SELECT 10000 + i, i, entered_again(person(i), i)::referral.demographics FROM generate_series(1, 800) i;
UPDATE people SET names = (d::text::jsonb - '{phone,street_number,street,city,postal_code,identifiers}'::text[])::referral.demographics;
ANALYZE people;

CREATE VIEW pair AS SELECT a.person = b.person AS same, a.d AS a, b.d AS b, a.names AS names_a, b.names AS names_b
FROM (SELECT DISTINCT x, y FROM (SELECT array_agg(k.id) AS ids FROM (SELECT id, unnest(referral.match_keys(d)) AS key FROM people) k
                                 GROUP BY k.key HAVING count(*) BETWEEN 2 AND 300) r, unnest(r.ids) x, unnest(r.ids) y WHERE x < y) c
JOIN people a ON a.id = c.x JOIN people b ON b.id = c.y;
CREATE TABLE candidate AS SELECT * FROM pair;

-- What a perfect estimate of m would be: how often each level is found among those entered twice.
CREATE FUNCTION true_m(alone boolean) RETURNS TABLE (field text, level text, m float8, pairs bigint) LANGUAGE sql STABLE AS $$
    WITH found AS (
        SELECT split_part(l, ':', 1) AS field, split_part(l, ':', 2) AS level, count(*) AS n
        FROM people a JOIN people b ON b.person = a.person AND b.id > a.id,
             unnest(CASE WHEN alone THEN referral.match_levels(a.names, b.names) ELSE referral.match_levels(a.d, b.d) END) l GROUP BY 1, 2)
    SELECT f.field, f.level, f.n / sum(f.n) OVER (PARTITION BY f.field), (sum(f.n) OVER (PARTITION BY f.field))::bigint FROM found f $$;
CREATE FUNCTION true_u() RETURNS TABLE (field text, level text, u float8) LANGUAGE sql STABLE AS $$
    WITH found AS (
        SELECT split_part(l, ':', 1) AS field, split_part(l, ':', 2) AS level, count(*) AS n
        FROM people a JOIN people b ON b.id > a.id AND b.person <> a.person AND (a.id + b.id) % 40 = 0,
             unnest(referral.match_levels(a.d, b.d)) l GROUP BY 1, 2)
    SELECT f.field, f.level, f.n / sum(f.n) OVER (PARTITION BY f.field) FROM found f $$;
CREATE FUNCTION f1(model bigint) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT round(2.0 * count(*) FILTER (WHERE same) / (800 + count(*)), 5) FROM candidate WHERE referral.match_score(a, b, model) >= 0 $$;

-- ---------- roles ----------

CREATE ROLE matching_fit_ann LOGIN IN ROLE referral_rule_author;
CREATE ROLE matching_fit_eve LOGIN IN ROLE referral_rule_approver;
CREATE ROLE matching_fit_clerk LOGIN IN ROLE referral_coordinator;
GRANT SELECT ON people TO matching_fit_ann, matching_fit_eve;

SELECT rule_version_id AS shipped FROM referral.match_model JOIN referral.rule_version USING (rule_version_id) WHERE status = 'active' \gset

-- ---------- what is learned ----------

SET SESSION AUTHORIZATION matching_fit_ann;
SELECT referral.fit_match_model('people', 'd') AS fitted \gset
SELECT results_eq(format('SELECT v.status::text, v.author, v.note, m.title FROM referral.rule_version v JOIN referral.match_model m USING (rule_version_id) WHERE v.rule_version_id = %s', :fitted),
    $$VALUES ('draft', 'matching_fit_ann', 'Fitted to data', 'Fitted to public.people')$$, 'a fitted model is a draft of who fits it');
SELECT results_eq(format('SELECT fitted_from, relation, column_name, seed, row_count, people, converged FROM referral.match_fit WHERE rule_version_id = %s', :fitted),
    format($$VALUES (%s::bigint, 'public.people', 'd', 1::bigint, 3200::bigint, 3200, true)$$, :shipped), 'what it was fitted to is kept');
SELECT ok(count(*) BETWEEN 2 AND 100 AND min(round) = 1 AND max(round) = count(*) AND (array_agg(largest_change ORDER BY round DESC))[1] < 1e-6
          AND (array_agg(largest_change ORDER BY round DESC))[2] >= 1e-6, 'and how it converged, round by round')
FROM referral.match_fit_round WHERE rule_version_id = :fitted;
SELECT cmp_ok((array_agg(log_likelihood ORDER BY round DESC))[1], '>', (array_agg(log_likelihood ORDER BY round))[1], 'the data became more likely')
FROM referral.match_fit_round WHERE rule_version_id = :fitted;
RESET SESSION AUTHORIZATION;

SELECT cmp_ok(abs(matches - 800), '<', 12::float8, 'it finds how many were entered twice') FROM referral.match_fit WHERE rule_version_id = :fitted;
SELECT cmp_ok(abs(prior_bits - log(2, 800 / (3200 * 3199 / 2 - 800.0))::float8), '<', 0.05::float8, 'so the prior is right') FROM referral.match_model WHERE rule_version_id = :fitted;
SELECT is((SELECT string_agg(format('%s:%s %s instead of %s', t.field, t.level, round(l.m::numeric, 3), round(t.m::numeric, 3)), ', ')
           FROM true_m(false) t JOIN referral.match_level l ON (l.rule_version_id, l.field, l.level) = (:fitted, t.field, t.level)
           WHERE abs(l.m - t.m) > 0.015), NULL, 'm is what it is among those entered twice, of every level of every field');
SELECT is((SELECT string_agg(format('%s:%s %s instead of %s', t.field, t.level, l.u, t.u), ', ')
           FROM true_u() t JOIN referral.match_level l ON (l.rule_version_id, l.field, l.level) = (:fitted, t.field, t.level)
           WHERE abs(l.u - t.u) > 0.05 * t.u + 0.0005), NULL, 'u is what it is among different people');
SELECT is((SELECT string_agg(field || ' ' || sum, ', ') FROM (SELECT field, sum(m) FROM referral.match_level WHERE rule_version_id = :fitted AND field = 'sex' GROUP BY field) s
           WHERE abs(sum - 1) > 1e-9), NULL, 'the m of a field whose levels are all found add up to one');
SELECT results_eq(format('SELECT l.m, l.u FROM referral.match_level l WHERE rule_version_id = %s AND field IN (''mother'', ''email'', ''middle'', ''suffix'') ORDER BY field, level', :fitted),
    format('SELECT l.m, l.u FROM referral.match_level l WHERE rule_version_id = %s AND field IN (''mother'', ''email'', ''middle'', ''suffix'') ORDER BY field, level', :shipped),
    'fields that nobody has keep what they had');
SELECT ok(kept_m @> '{mother:same,email:different}' AND kept_u @> '{mother:same,email:different}' AND NOT kept_m && '{given:exact,sex:different}'
          AND NOT kept_u && '{given:exact,sex:different}', 'and it says so')
FROM referral.match_fit WHERE rule_version_id = :fitted;
SELECT is((SELECT count(*) FROM referral.match_level WHERE rule_version_id = :fitted AND (m <= 0 OR m > 1 OR u <= 0 OR u > 1)), 0::bigint, 'nothing is impossible');
SELECT is((SELECT (certain_bits, probable_bits, possible_bits, margin_bits, household_cap_bits, frequency_weight, auto_link) FROM referral.match_model WHERE rule_version_id = :fitted),
          (SELECT (certain_bits, probable_bits, possible_bits, margin_bits, household_cap_bits, frequency_weight, auto_link) FROM referral.match_model WHERE rule_version_id = :shipped),
          'thresholds are not fitted');
SELECT cmp_ok(f1(:fitted), '>=', f1(:shipped) - 0.002, 'the fitted model is as good as the shipped one');
SELECT is((SELECT count(*) FROM candidate WHERE NOT same AND referral.match_grade(a, b, :fitted) = 'certain' AND NOT 'given:exact' = ANY (referral.match_levels(a, b))),
          0::bigint, 'no two people of different names are certainly one, not even twins');

-- where nearly every key has a name in it, counting all pairs that share one would take names for more certain than they are
-- (without twins, whom nothing tells from one person whose first name was changed)
CREATE VIEW but_twins AS SELECT names FROM people WHERE id NOT BETWEEN 2341 AND 2400;
SELECT referral.fit_match_model('but_twins', 'names') AS names_alone \gset
SELECT is((SELECT string_agg(format('%s:%s %s instead of %s', t.field, t.level, round(l.m::numeric, 3), round(t.m::numeric, 3)), ', ')
           FROM true_m(true) t JOIN referral.match_level l ON (l.rule_version_id, l.field, l.level) = (:names_alone, t.field, t.level)
           WHERE abs(l.m - t.m) > 0.03), NULL, 'm is right too when names, birth date and sex are all there is');


-- ---------- the same again ----------

CREATE FUNCTION said(model bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('prior', (SELECT prior_bits FROM referral.match_model WHERE rule_version_id = model),
        'levels', (SELECT jsonb_agg(jsonb_build_array(field, level, m, u) ORDER BY field, level) FROM referral.match_level WHERE rule_version_id = model),
        'fit', (SELECT to_jsonb(f) - '{rule_version_id,relation}'::text[] FROM referral.match_fit f WHERE rule_version_id = model),
        'rounds', (SELECT jsonb_agg(to_jsonb(r) - '{rule_version_id,match_fit_round_id}'::text[] ORDER BY round) FROM referral.match_fit_round r WHERE rule_version_id = model)) $$;
CREATE TABLE shuffled AS SELECT id, d FROM people ORDER BY chance(id, 99);
SELECT referral.fit_match_model('people', 'd') AS same \gset
SELECT is(said(:same), said(:fitted), 'the same data and seed: the same model and the same rounds');
SELECT referral.fit_match_model('shuffled', 'd') AS shuffled \gset
SELECT is(said(:shuffled), said(:fitted), 'also from rows in another order');
SELECT referral.fit_match_model('people', 'd', 2, 'Another seed') AS seeded \gset
SELECT ok(said(:seeded) <> said(:fitted), 'another seed takes other random pairs');
SELECT is((SELECT max(abs(a.m - b.m)) < 0.005 FROM referral.match_level a JOIN referral.match_level b USING (field, level) WHERE (a.rule_version_id, b.rule_version_id) = (:fitted, :seeded)),
          true, 'and learns about the same');
SELECT is((SELECT note FROM referral.rule_version WHERE rule_version_id = :seeded), 'Another seed', 'the note is kept');
INSERT INTO shuffled (id, d) SELECT -i, CASE WHEN i % 2 = 0 THEN '{}'::referral.demographics END FROM generate_series(1, 500) i;
SELECT referral.fit_match_model('shuffled', 'd') AS emptier \gset
SELECT is((SELECT (row_count, people) FROM referral.match_fit WHERE rule_version_id = :emptier), (3450::bigint, 3200), 'who has no key, or no value, does not count');
SELECT is((SELECT prior_bits FROM referral.match_model WHERE rule_version_id = :emptier), (SELECT prior_bits FROM referral.match_model WHERE rule_version_id = :fitted), 'and changes nothing');

-- ---------- two models on the same pairs ----------

CREATE TABLE graded AS SELECT grade_a, grade_b, pairs FROM referral.compare_match_models(:shipped, :fitted, 'people', 'd', 1, 10000000);
SELECT results_eq('SELECT grade_a, grade_b, pairs FROM graded ORDER BY 1, 2',
    format('SELECT g.a, g.b, count(*) FROM (SELECT referral.match_grade(a, b, %s) AS a, referral.match_grade(a, b, %s) AS b FROM candidate) g GROUP BY 1, 2 ORDER BY 1, 2', :shipped, :fitted),
    'each pair with a key in common is graded by both');
SELECT is((SELECT array_agg(grade_a || pairs) FROM referral.compare_match_models(0, 0, 'people', 'd', 1, 10000000) WHERE grade_a = grade_b),
          (SELECT array_agg(grade_a || pairs ORDER BY position(grade_a IN 'certain probable possible certainly-not'), grade_a) FROM (SELECT grade_a, sum(pairs) AS pairs FROM graded GROUP BY 1) g WHERE grade_a <> ''),
          '0 is the active model; the best grades come first');
SELECT is((SELECT sum(pairs) FROM referral.compare_match_models(:shipped, :fitted, 'people', 'd', 1, 1000)), 1000::numeric, 'so many pairs at most');
SELECT results_eq(format('SELECT * FROM referral.compare_match_models(%s, %s, ''people'', ''d'', 1, 3000)', :shipped, :fitted),
    format('SELECT * FROM referral.compare_match_models(%s, %s, ''people'', ''d'', 1, 3000)', :shipped, :fitted), 'the same ones for the same seed');
SELECT is((SELECT count(*) FROM (SELECT * FROM referral.match_model_differences(:shipped, :fitted, 'people', 'd', 'id', 1, 3000)
                                 EXCEPT SELECT * FROM referral.match_model_differences(:shipped, :fitted, 'people', 'd', 'id', 2, 3000)) x) > 0, true, 'others for another one');
CREATE TABLE differing AS SELECT * FROM referral.match_model_differences(:shipped, :fitted, 'people', 'd', 'id', 1, 10000000);
SELECT is((SELECT count(*) FROM differing), (SELECT sum(pairs)::bigint FROM graded WHERE grade_a <> grade_b), 'those graded differently are listed');
SELECT is((SELECT count(*) FROM differing x JOIN people a ON a.id = x.key_a::integer JOIN people b ON b.id = x.key_b::integer
           WHERE x.grade_a = x.grade_b OR x.grade_a <> referral.match_grade(a.d, b.d, :shipped) OR x.grade_b <> referral.match_grade(a.d, b.d, :fitted)
              OR x.bits_a <> referral.match_score(a.d, b.d, :shipped) OR x.bits_b <> referral.match_score(a.d, b.d, :fitted) OR x.key_a >= x.key_b COLLATE "C"),
          0::bigint, 'with keys, grades and scores');
SELECT is((SELECT count(*) FROM differing), (SELECT count(DISTINCT (key_a, key_b)) FROM differing), 'each once');

-- ---------- governance: a draft, another's approval, in force, and back ----------

SELECT is(referral.match_score(a.d, b.d, 0), referral.match_score(a.d, b.d, :shipped), 'a draft changes nothing') FROM people a, people b WHERE a.id = 1 AND b.id = 10001;
SET SESSION AUTHORIZATION matching_fit_ann;
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :fitted;
SELECT is(code, 'RF016', 'what was submitted is fixed, how it was fitted too')
FROM unnest('{match_fit,match_fit_round}'::text[]) t, refused(format('DELETE FROM referral.%I WHERE rule_version_id = %s', t, :fitted));
SET SESSION AUTHORIZATION matching_fit_eve;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :fitted;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :fitted;
SELECT ok(sum(pairs) > 0, 'an approver can compare, too') FROM referral.compare_match_models(:shipped, 0, 'people', 'd', 1, 100);
RESET SESSION AUTHORIZATION;
SELECT is(referral.match_score(a.d, b.d, 0), referral.match_score(a.d, b.d, :fitted), 'the active model scores') FROM people a, people b WHERE a.id = 1 AND b.id = 10001;
SELECT isnt(referral.match_score(a.d, b.d), referral.match_score(a.d, b.d, :shipped), 'otherwise than the former one') FROM people a, people b WHERE a.id = 1 AND b.id = 10001;
SELECT referral.fit_match_model('people', 'd') AS again \gset
SELECT is((SELECT fitted_from FROM referral.match_fit WHERE rule_version_id = :again), :fitted::bigint, 'the next fit starts from it');
SELECT is((SELECT max(abs(a.m - b.m)) < 0.005 FROM referral.match_level a JOIN referral.match_level b USING (field, level) WHERE (a.rule_version_id, b.rule_version_id) = (:fitted, :again)),
          true, 'and comes to the same');
SET SESSION AUTHORIZATION matching_fit_eve;
SELECT is(referral.rollback_rule_set('matching/standard'), :shipped::bigint, 'one word and the former model is back');
RESET SESSION AUTHORIZATION;
SELECT is(referral.match_score(a.d, b.d), referral.match_score(a.d, b.d, :shipped), 'and scores') FROM people a, people b WHERE a.id = 1 AND b.id = 10001;
SET SESSION AUTHORIZATION matching_fit_ann;
SELECT referral.copy_rule_version(:shipped, 'Generous') AS generous \gset
UPDATE referral.match_model SET prior_bits = -7 WHERE rule_version_id = :generous;
UPDATE referral.match_level SET m = 0.3 WHERE rule_version_id = :generous AND level = 'different';
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :generous;
SET SESSION AUTHORIZATION matching_fit_eve;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :generous;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :generous;
RESET SESSION AUTHORIZATION;
SELECT referral.fit_match_model('but_twins', 'names') AS from_generous \gset
SELECT cmp_ok(max(abs(a.m - b.m)), '<', 0.02::float8, 'what is learned does not depend on how readily the former model takes two for one')
FROM referral.match_level a JOIN referral.match_level b USING (field, level) JOIN true_m(true) t USING (field, level)
WHERE (a.rule_version_id, b.rule_version_id) = (:names_alone, :from_generous);
SET SESSION AUTHORIZATION matching_fit_eve;
SELECT is(referral.rollback_rule_set('matching/standard'), :shipped::bigint, 'back again');
RESET SESSION AUTHORIZATION;
SET extra_float_digits = -5;
SELECT is(referral.rule_checksum(:fitted), (SELECT checksum FROM referral.rule_version WHERE rule_version_id = :fitted), 'the checksum is the same however numbers are shown');
RESET extra_float_digits;
SELECT referral.copy_rule_version(:fitted, 'A copy') AS copy \gset
SELECT is((SELECT count(*) FROM referral.match_fit f WHERE f.rule_version_id = :copy), 0::bigint, 'a copy was fitted to nothing');
SELECT ok(count(*) > 0, 'the journal has it') FROM referral.journal WHERE entity = 'match_fit' AND entity_id = :fitted;

-- ---------- whose rights ----------

SET SESSION AUTHORIZATION matching_fit_clerk;
SELECT is(code, '42501', 'only an author of rules fits models') FROM refused($$SELECT referral.fit_match_model('people', 'd')$$);
SELECT is(code, '42501', 'nor may others compare them') FROM refused($$SELECT * FROM referral.compare_match_models(0, 0, 'people', 'd')$$);
SELECT is(code, '42501', 'or see what they were fitted to') FROM refused('SELECT * FROM referral.match_fit');
RESET SESSION AUTHORIZATION;
CREATE TABLE hidden AS SELECT id, d, id % 2 = 0 AS visible FROM people;
SET SESSION AUTHORIZATION matching_fit_ann;
SELECT is(code, '42501', 'who fits a model must be allowed to read the people') FROM refused($$SELECT referral.fit_match_model('hidden', 'd')$$);
SELECT is(code, '42501', 'and who compares two') FROM refused($$SELECT * FROM referral.compare_match_models(0, 0, 'hidden', 'd')$$);
RESET SESSION AUTHORIZATION;
GRANT SELECT (d, visible) ON hidden TO matching_fit_ann;
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON hidden USING (visible);
SET SESSION AUTHORIZATION matching_fit_ann;
SELECT referral.fit_match_model('hidden', 'd') AS seen \gset
SELECT is((SELECT row_count FROM referral.match_fit WHERE rule_version_id = :seen), (SELECT count(*) FROM hidden WHERE visible AND d IS NOT NULL), 'rows that row-level security hides are not read')
FROM (SELECT 1) x WHERE has_column_privilege('hidden', 'visible', 'SELECT');
SELECT is(code, '42501', 'a column that one may not read is not named') FROM refused($$SELECT * FROM referral.match_model_differences(0, 0, 'hidden', 'd', 'id')$$);
RESET SESSION AUTHORIZATION;

-- ---------- what is refused ----------

CREATE TABLE few AS SELECT * FROM people LIMIT 50;
CREATE TABLE strangers AS SELECT id, jsonb_build_object('phone', (3000000000 + id * 7919)::text)::referral.demographics AS d FROM generate_series(1, 150) id;
CREATE TABLE unique_people AS SELECT * FROM people WHERE id < 10000;
SELECT is(r.code || ': ' || r.message, e.refusal, e.refusal) FROM (VALUES
    ($$SELECT referral.fit_match_model('few', 'd')$$, 'RF020: there is too little data to fit a model to'),
    ($$SELECT referral.fit_match_model('strangers', 'd')$$, 'RF020: there is too little data to fit a model to'),
    ($$SELECT referral.fit_match_model('unique_people', 'd')$$, 'RF020: there is too little data to fit a model to'),
    ($$SELECT referral.fit_match_model('people', 'person')$$, 'RF020: column "person" of public.people is not of type referral.demographics'),
    ($$SELECT referral.fit_match_model('people', 'none')$$, 'RF019: public.people has no column "none"'),
    ($$SELECT referral.fit_match_model(4::regclass, 'd')$$, 'RF019: there is no relation with OID 4'),
    ($$SELECT * FROM referral.compare_match_models(0, 999999, 'people', 'd')$$, 'RF019: there is no model of matching 999999'),
    ($$SELECT * FROM referral.compare_match_models(0, 0, 'people', 'd', 1, 0)$$, 'RF020: 0 is no number of pairs to compare'),
    ($$SELECT * FROM referral.compare_match_models(0, 0, 'people', 'd', 1, 10000001)$$, 'RF020: 10000001 is no number of pairs to compare'),
    ($$SELECT * FROM referral.match_model_differences(0, 0, 'people', 'd', 'none')$$, 'RF019: public.people has no column "none"')) e (statement, refusal), refused(e.statement) r;
SELECT matches(r.detail, e.detail, e.detail) FROM (VALUES
    ('few', '^[0-9]+ people are found, 100 are needed.$'), ('strangers', '^[0-9]+ pairs of people with a blocking key in common are found, 50 are needed.$'),
    ('unique_people', '^[0-9]+ pairs of records of one person are found, 20 are needed.$')) e (relation, detail), refused(format('SELECT referral.fit_match_model(%L, ''d'')', e.relation)) r;
SELECT is(referral.fit_match_model('people', NULL), NULL, 'null for null');
SELECT is((SELECT count(*) FROM referral.compare_match_models(NULL, 0, 'people', 'd')), 0::bigint, 'no rows for null');
CREATE FUNCTION cancelled() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM referral.fit_match_model('people', 'd');
    RETURN 'done';
EXCEPTION WHEN query_canceled THEN
    RETURN 'cancelled';
END $$;
SET statement_timeout = '200ms';
SELECT is(cancelled(), 'cancelled', 'a fit can be cancelled');
RESET statement_timeout;

SELECT * FROM finish();
