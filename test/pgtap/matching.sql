-- Comparison, score, grade and explanation of two records; models and dictionaries as rules.
SELECT plan(153);
\ir ../lib/refused.sql
SET client_min_messages = error;

-- 1. What each field finds, both ways round

CREATE TABLE compared (a jsonb, b jsonb, finds text, what text);
INSERT INTO compared VALUES
    ('{"given":"Maria"}', '{"given":"MARIA"}', 'given:exact', 'case does not count'),
    ('{"given":"José"}', '{"given":"Jose"}', 'given:exact', 'nor do accents'),
    ('{"given":"William"}', '{"given":"Bill"}', 'given:nickname', 'a nickname'),
    ('{"given":"Bill"}', '{"given":"Billy"}', 'given:nickname', 'two nicknames of one name'),
    ('{"given":"Christopher"}', '{"given":"Chris"}', 'given:nickname', 'a short form'),
    ('{"given":"Bill"}', '{"given":"Robert"}', 'given:different', 'a nickname of somebody else'),
    ('{"given":"Mary Ann"}', '{"given":"Ann"}', 'given:part', 'a middle name as the first'),
    ('{"given":"Robert","alias":"Skip"}', '{"given":"Skip"}', 'given:part', 'an alias'),
    ('{"given":"J"}', '{"given":"Jane"}', 'given:initial', 'an initial'),
    ('{"given":"Katherine"}', '{"given":"Kathirine"}', 'given:close', 'one letter wrong'),
    ('{"given":"John","family":"Paul"}', '{"given":"Paul","family":"John"}', 'family:swapped given:swapped', 'names in the wrong order'),
    ('{"given":"John"}', '{"given":"Edith"}', 'given:different', 'other names'),
    ('{"given":"John"}', '{"family":"Smith"}', '', 'what one of both does not know is no evidence'),
    ('{"given":"Baby Boy"}', '{"given":"Baby Boy"}', '', 'a placeholder is none either'),
    ('{"given":"Unknown","family":"Doe"}', '{"given":"Unknown","family":"Doe"}', '', 'nor John Doe'),
    ('{"family":"O''Brien"}', '{"family":"OBrien"}', 'family:exact', 'an apostrophe does not count'),
    ('{"family":"Garcia-Lopez"}', '{"family":"Lopez"}', 'family:part', 'one of two family names'),
    ('{"family":"Jones","previous_family":"Baker"}', '{"family":"Baker"}', 'family:previous', 'a maiden name'),
    ('{"family":"Johnson"}', '{"family":"Johnsen"}', 'family:close', 'one letter wrong'),
    ('{"family":"Smith"}', '{"family":"Walker"}', 'family:different', 'another family'),
    ('{"family":"Smith","suffix":"Jr"}', '{"family":"Smith","suffix":"Sr."}', 'family:exact suffix:different', 'father and son'),
    ('{"birth_date":"1961-03-14"}', '{"birth_date":"19610314"}', 'birth_date:exact', 'a date in another format'),
    ('{"birth_date":"1961-03-04"}', '{"birth_date":"1961-04-03"}', 'birth_date:swapped', 'day and month exchanged'),
    ('{"birth_date":"1961-03-14"}', '{"birth_date":"1961-03-15"}', 'birth_date:digit', 'one digit'),
    ('{"birth_date":"1961-03-14"}', '{"birth_date":"1961-03-29"}', 'birth_date:two_parts', 'another day'),
    ('{"birth_date":"1961-03-14"}', '{"birth_date":"1961"}', 'birth_date:year', 'the year alone'),
    ('{"birth_date":"1961-03-14"}', '{"birth_date":"1984-11-29"}', 'birth_date:different', 'another date'),
    ('{"birth_date":"1900-01-01"}', '{"birth_date":"1900-01-01"}', '', 'nobody was born on 1900-01-01'),
    ('{"birth_date":"1961-01-01"}', '{"birth_date":"1961-01-01"}', 'birth_date:year', 'on a first of January the year alone counts'),
    ('{"birth_date":"1961-01-01"}', '{"birth_date":"1962-05-07"}', '', 'and another one is no evidence'),
    ('{"multiple_birth":true,"birth_order":1}', '{"multiple_birth":true,"birth_order":2}', 'birth_order:different', 'first and second of twins'),
    ('{"multiple_birth":true,"birth_order":1}', '{"multiple_birth":true,"birth_order":1}', 'birth_order:same', 'the first of twins'),
    ('{"multiple_birth":true}', '{}', 'birth_order:unsure', 'one of both is a twin'),
    ('{"birth_order":1}', '{"birth_order":1}', '', 'the first of those who are born alone says nothing'),
    ('{"sex":"F"}', '{"sex":"female"}', 'sex:same', 'sex'),
    ('{"sex":"F"}', '{"sex":"male"}', 'sex:different', 'another sex'),
    ('{"sex":"F"}', '{"sex":"unknown"}', '', 'unknown is no sex'),
    ('{"phone":"(312) 555-0142"}', '{"phone":"+1 312 555 0142"}', 'phone:same', 'a phone number'),
    ('{"phone":"312-555-0142"}', '{"phone":"773-555-0142"}', 'phone:close', 'another area code'),
    ('{"phone":["3125550142","3125550199"]}', '{"phone":["7735550111","3125550199"]}', 'phone:same', 'of several the best pair counts'),
    ('{"phone":"9999999999"}', '{"phone":"9999999999"}', '', 'nines are no number'),
    ('{"email":"Jane.Roe@Example.org"}', '{"email":"jane.roe@example.org"}', 'email:same', 'mail'),
    ('{"email":"jane.roe@example.org"}', '{"email":"jane.roe@example.net"}', 'email:close', 'another provider'),
    ('{"address":"12 North Main Street Apt 4"}', '{"address":"12 N. Main St."}', 'address:same', 'an address'),
    ('{"address":"12 Main Street"}', '{"address":"12 Maine Street"}', 'address:close', 'a street misspelled'),
    ('{"address":"12 Main Street"}', '{"address":"98 Main Street"}', 'address:street', 'the street'),
    ('{"address":"12 Main Street"}', '{"address":"4 Elm Road"}', 'address:different', 'moved'),
    ('{"address":"P.O. Box 4410"}', '{"address":"PO Box 4410"}', 'address:same', 'a post office box'),
    ('{"postal_code":"60614-1234"}', '{"postal_code":"60614"}', 'locality:same', 'a postal code'),
    ('{"postal_code":"60614","city":"Chicago"}', '{"postal_code":"60657","city":"Chicago"}', 'locality:close', 'the city'),
    ('{"identifiers":"ssn|123-45-6788"}', '{"identifiers":"http://hl7.org/fhir/sid/us-ssn|123456788"}', 'identifier:same', 'a national number'),
    ('{"identifiers":"ssn|123-45-6788"}', '{"identifiers":"ssn|123-45-6778"}', 'identifier:close', 'with a digit wrong'),
    ('{"identifiers":"ssn|123-45-6788"}', '{"identifiers":"ssn|6788"}', 'identifier:close', 'the last four'),
    ('{"identifiers":"ssn|123-45-6788"}', '{"identifiers":"ssn|771-20-0091"}', 'identifier:different', 'another one'),
    ('{"identifiers":"ssn|999-99-9999"}', '{"identifiers":"ssn|999-99-9999"}', '', 'nines are none'),
    ('{"identifiers":"mrn|A1234"}', '{"identifiers":"mrn|A1234"}', 'record_number:same', 'a medical record number'),
    ('{"identifiers":"mrn|A1234"}', '{"identifiers":"chart|99"}', '', 'numbers of two kinds say nothing about each other'),
    ('{"identifiers":["ssn|123-45-6788","mbi|1EG4TE5MK73"]}', '{"identifiers":["ssn|123-45-6788","mbi|9XX9XX9XX99"]}', 'identifier:mixed', 'one the same, one different'),
    ('{"mother_maiden_name":"Rossi"}', '{"mother_maiden_name":"Rossi"}', 'mother:same', 'the mother''s name'),
    ('{"middle":"Anne"}', '{"middle":"A"}', 'middle:initial', 'a middle initial'),
    ('{}', '{}', '', 'nothing compares as nothing'),
    ('{"family":"李","given":"小龙"}', '{"family":"李","given":"小龙"}', 'family:exact given:exact', 'names in Chinese');

CREATE FUNCTION found(a jsonb, b jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(l, ' ' ORDER BY l), '') FROM unnest(referral.match_levels(a::referral.demographics, b::referral.demographics)) l $$;
SELECT is(found(a, b), finds, what) FROM compared;
SELECT is(found(b, a), finds, what || ', the other way round') FROM compared;

-- 2. The score, and what it is made of

SELECT is((SELECT count(*) FROM compared c, compared d
           WHERE referral.match_score(c.a::referral.demographics, d.b::referral.demographics) <> referral.match_score(d.b::referral.demographics, c.a::referral.demographics)),
          0::bigint, 'the score of two is the same whichever comes first');
SELECT is((SELECT count(*) FROM compared c, compared d,
               LATERAL (SELECT sum(e.weight + e.frequency_adjustment) AS total, (array_agg(e.running_total ORDER BY e.line DESC))[1] AS last,
                               (array_agg(e.level ORDER BY e.line DESC))[1] AS grade
                        FROM referral.match_explain(c.a::referral.demographics, d.b::referral.demographics) e) e
           WHERE e.total <> referral.match_score(c.a::referral.demographics, d.b::referral.demographics) OR e.last <> e.total
              OR e.grade <> referral.match_grade(c.a::referral.demographics, d.b::referral.demographics)),
          0::bigint, 'the explanation adds up to the score, to the last bit, and ends with its grade');
SELECT is((SELECT count(*) FROM compared c, compared d, LATERAL referral.match_explain(c.a::referral.demographics, d.b::referral.demographics) e
           WHERE e.m IS NOT NULL AND abs(e.weight - log(2, (e.m / e.u)::numeric)) > 0.0005), 0::bigint, 'each weight is log2(m / u)');
SELECT is(referral.match_score(NULL, '{}'), NULL, 'null has no score');
SELECT is(referral.match_grade('{}', NULL), NULL, 'nor a grade');
SELECT is((SELECT count(*) FROM referral.match_explain(NULL, '{}')), 0::bigint, 'nor an explanation');
SELECT is(code, 'RF019', 'a model that is not there') FROM refused('SELECT referral.match_score(''{}'', ''{}'', 4711)');

-- 3. Grades, of people as a coordinator would see them

CREATE TABLE graded (a jsonb, b jsonb, grades text[], what text);
INSERT INTO graded VALUES
    ('{"family":"Okafor","given":"Adaeze","birth_date":"1974-05-21","sex":"F","address":"77 Larch Lane","postal_code":"55401","phone":"6125550133"}',
     '{"family":"OKAFOR","given":"Adaeze N","birth_date":"19740521","sex":"female","address":"77 Larch Ln","postal_code":"55401","phone":"(612) 555-0133"}', '{certain}', 'the same but for spelling'),
    ('{"family":"Nowak","given":"Katherine","birth_date":"1988-04-09","sex":"F","address":"4 Elm Road","city":"Duluth","postal_code":"55802","phone":"2185550170"}',
     '{"family":"Nowak","given":"Kate","birth_date":"1988-09-04","sex":"F","address":"1910 Superior Street","city":"Duluth","postal_code":"55812","phone":"2185550170"}', '{probable,certain}', 'day and month exchanged, a nickname, moved'),
    ('{"family":"Silva","given":"Ana","birth_date":"2015-06-03","sex":"F","address":"9 Oak St","postal_code":"55401","phone":"6125550111","multiple_birth":true}',
     '{"family":"Silva","given":"Bea","birth_date":"2015-06-03","sex":"F","address":"9 Oak St","postal_code":"55401","phone":"6125550111","multiple_birth":true}', '{possible,certainly-not}', 'twins'),
    ('{"family":"Silva","given":"Ana","birth_date":"2015-06-03","sex":"F","address":"9 Oak St","postal_code":"55401","phone":"6125550111"}',
     '{"family":"Silva","given":"Rui","birth_date":"2018-11-20","sex":"M","address":"9 Oak St","postal_code":"55401","phone":"6125550111"}', '{certainly-not}', 'sister and brother'),
    ('{"family":"Kelly","given":"Sean","suffix":"Sr","birth_date":"1950-02-11","address":"3 Bay Ave","postal_code":"02110","phone":"6175550101"}',
     '{"family":"Kelly","given":"Sean","suffix":"Jr","birth_date":"1979-08-30","address":"3 Bay Ave","postal_code":"02110","phone":"6175550101"}', '{possible,certainly-not}', 'father and son of one name'),
    ('{"family":"Smith","given":"John"}', '{"family":"Smith","given":"John"}', '{possible,certainly-not}', 'a common name alone'),
    ('{"family":"Smith","given":"Baby Boy","birth_date":"2020-01-07"}', '{"family":"Smith","given":"Baby Boy","birth_date":"2020-01-07"}', '{possible,probable,certainly-not}', 'newborns without a name'),
    ('{"family":"Varga","given":"Lena","birth_date":"1990-07-18","identifiers":"ssn|212-44-9031"}',
     '{"family":"Varga","given":"Lena","birth_date":"1990-07-18","identifiers":"ssn|640-18-2277"}', '{possible,probable,certainly-not}', 'the same but for the national number'),
    ('{}', '{}', '{certainly-not}', 'nobody');
SELECT ok(referral.match_grade(a::referral.demographics, b::referral.demographics) = ANY (grades),
          format('%s: %s (%s bits)', what, referral.match_grade(a::referral.demographics, b::referral.demographics), round(referral.match_score(a::referral.demographics, b::referral.demographics)::numeric, 1)))
FROM graded;

-- 4. Models are rules

SET ROLE postgres;
SELECT is((SELECT count(*) FROM referral.match_level l JOIN referral.match_default_levels() d USING (field, level) WHERE l.m = d.m AND l.u = d.u),
          (SELECT count(*) FROM referral.match_default_levels()), 'the shipped model is the documented one');
SELECT is((SELECT count(*) FROM (SELECT field FROM referral.match_level GROUP BY field HAVING sum(m) > 1.1 OR sum(u) > 1.1) x), 0::bigint, 'no field''s shares are more than all');
CREATE TABLE before AS SELECT row_number() OVER () AS n, referral.match_score(a::referral.demographics, b::referral.demographics) AS score FROM graded;
CREATE TABLE draft AS SELECT referral.copy_rule_version(m.rule_version_id, 'prior of one') AS id FROM referral.match_model m;
UPDATE referral.match_model SET prior_bits = prior_bits - 1 WHERE rule_version_id = (SELECT id FROM draft);
SELECT is((SELECT array_agg(referral.match_score(a::referral.demographics, b::referral.demographics, draft.id)) FROM graded, draft), (SELECT array_agg(score - 1 ORDER BY n) FROM before), 'a draft can be tried by its id');
SELECT is((SELECT array_agg(referral.match_score(a::referral.demographics, b::referral.demographics)) FROM graded), (SELECT array_agg(score ORDER BY n) FROM before), 'and changes nothing');
SELECT is(code, 'RF016', 'an active model cannot be changed') FROM refused('UPDATE referral.match_model SET prior_bits = 0 WHERE rule_version_id <> (SELECT id FROM draft)');
SELECT is(code, '23514', 'nor is there a level that no comparison finds') FROM refused('INSERT INTO referral.match_level (rule_version_id, field, level, m, u) SELECT id, ''given'', ''rhymes'', 0.1, 0.1 FROM draft');
SELECT is(code, '23514', 'or a share above one') FROM refused('INSERT INTO referral.match_level (rule_version_id, field, level, m, u) SELECT id, ''mother'', ''same'', 1.1, 0.1 FROM draft');
INSERT INTO referral.rule_set (name, kind) VALUES ('matching/second', 'matching');
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'matching/second';
INSERT INTO referral.match_model SELECT v.rule_version_id, 'second', -14, 10, 0, -4, 5, 20, 0.5 FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id) WHERE s.name = 'matching/second';
SELECT is(code, 'RF011', 'there is one active model, of one rule set')
FROM refused('UPDATE referral.rule_version v SET status = ''submitted'' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = ''matching/second''');

-- 5. How common names are

INSERT INTO referral.match_frequency VALUES ('people', 0, 100000), ('family', referral.match_term_hash('smith'), 1000), ('given', referral.match_term_hash('john'), 3000);
SELECT cmp_ok(referral.match_score('{"family":"Smith","given":"John"}', '{"family":"Smith","given":"John"}'), '<',
              referral.match_score('{"family":"Abiodun","given":"Zephyr"}', '{"family":"Abiodun","given":"Zephyr"}') - 1.5, 'a common name counts less than a rare one, as soon as it is known');
SELECT is((SELECT round(frequency_adjustment::numeric, 2) FROM referral.match_explain('{"family":"Smith"}', '{"family":"Smith"}') WHERE field = 'family'),
          (SELECT round(log(2, (l.u * 128)::numeric) * m.frequency_weight::numeric, 2) FROM referral.match_level l JOIN referral.match_model m USING (rule_version_id) JOIN referral.rule_version v USING (rule_version_id)
           WHERE v.status = 'active' AND l.field = 'family' AND l.level = 'exact'), 'by the logarithm of how common it is, to a power of 2: 1 in 128, not in 100');
SELECT frequency_adjustment AS before FROM referral.match_explain('{"family":"Smith"}', '{"family":"Smith"}') WHERE field = 'family' \gset
SELECT cmp_ok((SELECT frequency_adjustment FROM referral.match_explain('{"family":"Smith"}', '{"family":"Smyth"}') WHERE field = 'family'), '<', 0::float8, 'for names that are alike, too');
UPDATE referral.match_frequency SET n = 1050 WHERE term_hash = referral.match_term_hash('smith');
SELECT is((SELECT frequency_adjustment FROM referral.match_explain('{"family":"Smith"}', '{"family":"Smith"}') WHERE field = 'family'), :before::float8,
          'a score does not tell how many there are');

-- a model may say that something never happens: no weight is beyond 1000 bits, and sums do not overflow
BEGIN;
SET LOCAL session_replication_role = replica;
UPDATE referral.match_level SET m = 1, u = 1e-310 WHERE level = 'exact';
ALTER TABLE referral.match_model SET (fillfactor = 100);    -- rules are read again
SELECT is((SELECT array_agg(e.weight ORDER BY e.field) FROM referral.match_explain('{"family":"Smith","given":"Jo"}', '{"family":"Smith","given":"Jo"}') e
           WHERE e.field IN ('family', 'given')), '{1000,1000}', 'no weight is without bounds');
ROLLBACK;
SELECT * FROM finish();
