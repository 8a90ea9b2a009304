-- Matching: how well duplicates are found with the shipped model, against the targets in test/bench/matching_report.sql.
-- Published sets are tried where they are at hand; our own made-up ones always.
\ir ../bench/matching_data.sql
\set few_people yes
\ir ../bench/matching_synthetic.sql
\ir ../bench/matching_report.sql
SELECT plan((SELECT count(*)::int FROM people.target) + 8);

DELETE FROM people.variant v WHERE NOT EXISTS (SELECT FROM people.target t WHERE (t.dataset, t.via) = (v.dataset, v.via));
CALL people.load();
CALL people.run();

SELECT CASE WHEN EXISTS (SELECT FROM people.raw r WHERE r.dataset = v.dataset)
            THEN is(people.truth(v.dataset, 'full'), v.pairs, format('%s: as many pairs of one person as published', v.dataset))
            ELSE skip(v.dataset || ': the data are not there') END
FROM (VALUES ('febrl1', 500::bigint), ('febrl2', 1934), ('febrl3', 6538), ('fake_1000', 2031), ('uganda', 1000)) v (dataset, pairs);

SELECT CASE WHEN m.dataset IS NULL THEN skip(t.dataset || ': the data are not there')
            WHEN t.op = '=' THEN is(m.value, t.value, format('%s, %s: %s', t.dataset, t.via, t.measure))
            ELSE cmp_ok(round(m.value, 4), t.op, t.value, format('%s, %s: %s', t.dataset, t.via, t.measure)) END
FROM people.target t LEFT JOIN people.measured m USING (dataset, via, measure) ORDER BY t.dataset, t.via, t.measure;

-- What is not a matter of degree.
SELECT is(count(*), 0::bigint, 'a score does not depend on the order of the two')
FROM people.scored s JOIN people.person x ON x.dataset = s.dataset AND x.via = s.via AND x.id = s.a
JOIN people.person y ON y.dataset = s.dataset AND y.via = s.via AND y.id = s.b
WHERE s.dataset = 'twins' AND referral.match_score(y.d, x.d) <> s.bits;
SELECT is(count(*), 0::bigint, 'two records of one household''s twins are never certain')
FROM people.scored s JOIN people.raw x ON x.dataset = s.dataset AND x.id = s.a JOIN people.raw y ON y.dataset = s.dataset AND y.id = s.b
WHERE s.dataset = 'twins' AND s.grade = 'certain' AND x.entity <> y.entity;
SELECT cmp_ok(count(*) FILTER (WHERE s.grade = 'certain')::numeric / count(*), '>=', 0.3, 'that is not bought by linking nobody')
FROM people.scored s WHERE s.dataset = 'twins' AND s.via = 'full' AND s.same;
SELECT * FROM finish();
