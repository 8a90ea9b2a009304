-- How well duplicates are found among the people of matching_data.sql and matching_synthetic.sql.

-- ---------- The values, as different sources would give them ----------

CREATE TABLE people.person (dataset text, via text, id int, entity text, d referral.demographics, PRIMARY KEY (dataset, via, id));
CREATE TABLE people.pair (dataset text, via text, id int, scenario text, expect text, a referral.demographics,
                          b referral.demographics, PRIMARY KEY (dataset, via, id));

-- full: everything. counted: the same, scored with the names counted as refresh_match_frequencies() does. plain: what the function of ten arguments takes, middle names with the given one, the suffix with the
-- family name. bare: the same without middle names and suffix. no ids: everything but identifiers. names: name, birth date
-- and sex alone.
CREATE FUNCTION people.make(doc jsonb, via text) RETURNS referral.demographics LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN via IN ('full', 'counted') THEN referral.demographics(doc - 'only_family')
        WHEN via = 'no ids' THEN referral.demographics(doc - '{only_family,identifiers}'::text[])
        WHEN via = 'names' THEN referral.demographics(
            people.several(doc->'family', '-'), people.several(doc->'given', ' '), doc->>'birth_date', doc->>'sex')
        ELSE referral.demographics(
            concat_ws(' ', coalesce(doc->>'only_family', people.several(doc->'family', '-')),
                      CASE WHEN via = 'plain' THEN doc->>'suffix' END),
            concat_ws(' ', people.several(doc->'given', ' '), CASE WHEN via = 'plain' THEN people.several(doc->'middle', ' ') END),
            doc->>'birth_date', doc->>'sex', people.several(doc->'phone', ';'), doc->>'email', doc->>'address', doc->>'city',
            doc->>'postal_code', ARRAY(SELECT jsonb_array_elements_text(doc->'identifiers'))) END
$$;

-- Which of these a dataset is tried with.
CREATE TABLE people.variant (dataset text, via text, PRIMARY KEY (dataset, via));
INSERT INTO people.variant SELECT d.dataset, v.via
FROM (SELECT DISTINCT dataset FROM people.raw) d
CROSS JOIN (VALUES ('full', '.'), ('plain', 'febrl3|fake_1000|hard|twins'), ('no ids', 'febrl|uganda|hard|world'), ('names', 'uganda'),
                   ('counted', 'febrl3|fake_1000|uganda|hard|register|world')) v (via, datasets)
WHERE d.dataset ~ v.datasets;
INSERT INTO people.variant SELECT d.dataset, v.via
FROM (SELECT DISTINCT dataset FROM people.raw_pair) d CROSS JOIN (VALUES ('full'), ('plain'), ('bare')) v (via);

CREATE PROCEDURE people.load() LANGUAGE sql AS $$
    TRUNCATE people.person, people.pair;
    INSERT INTO people.person SELECT r.dataset, v.via, r.id, r.entity, people.make(r.doc, v.via)
    FROM people.raw r JOIN people.variant v USING (dataset);
    INSERT INTO people.pair SELECT r.dataset, v.via, r.id, r.scenario, r.expect, people.make(r.a, v.via), people.make(r.b, v.via)
    FROM people.raw_pair r JOIN people.variant v USING (dataset);
    ANALYZE people.person;
$$;

-- ---------- Pairs with their scores ----------

-- A pair of two different records that has a blocking key in common (by_keys), or that a full comparison finds likely.
CREATE TABLE people.scored (dataset text, via text, a int, b int, same boolean, by_keys boolean, bits float8, grade text);
CREATE INDEX ON people.scored (dataset, via);

-- The pairs that share a key which no more than this many records have: find_duplicates leaves out the others.
CREATE FUNCTION people.candidates(dataset text, via text, cap int DEFAULT 2000) RETURNS TABLE (a int, b int)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY EXECUTE
        'WITH key AS MATERIALIZED (
             SELECT p.id, unnest(referral.match_keys(p.d)) AS key FROM people.person p WHERE p.dataset = $1 AND p.via = $2),
         rare AS (SELECT k.key, array_agg(k.id ORDER BY k.id) AS ids FROM key k GROUP BY k.key HAVING count(*) BETWEEN 2 AND $3)
         SELECT DISTINCT x, y FROM rare r, unnest(r.ids) x, unnest(r.ids) y WHERE x < y' USING dataset, via, cap;
END $$;

-- How common names are among the people at hand.
CREATE PROCEDURE people.count_names(dataset text, via text) LANGUAGE sql AS $$
    DELETE FROM referral.match_frequency;
    WITH doc AS (
        SELECT p.d::text::jsonb AS doc FROM people.person p WHERE p.dataset = count_names.dataset AND p.via = count_names.via)
    INSERT INTO referral.match_frequency (kind, term_hash, n)
    SELECT 'people', 0, count(*) FROM doc
    UNION ALL
    SELECT k.kind, referral.match_term_hash(replace(n.name #>> '{}', ' ', '')), count(*)
    FROM doc, (VALUES ('family'), ('given')) k (kind), jsonb_path_query(doc.doc -> k.kind, '$[*]') n (name)
    GROUP BY 1, 2 HAVING count(*) >= 3
$$;

-- Scores the candidates of a dataset and, where they are wanted or there are no keys yet, all pairs, of which only those
-- that are of one person or not unlikely are kept.
CREATE PROCEDURE people.score(dataset text, via text, all_pairs boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE
    has_keys boolean := to_regprocedure('referral.match_keys(referral.demographics)') IS NOT NULL;
BEGIN
    DELETE FROM people.scored s WHERE s.dataset = score.dataset AND s.via = score.via;
    CREATE TEMP TABLE candidate (a int, b int, by_keys boolean);
    IF has_keys THEN
        INSERT INTO candidate SELECT c.a, c.b, true FROM people.candidates(dataset, via) c;
    END IF;
    IF all_pairs OR NOT has_keys THEN
        INSERT INTO candidate
        SELECT x.id, y.id, NOT has_keys FROM people.person x JOIN people.person y USING (dataset, via)
        WHERE x.dataset = score.dataset AND x.via = score.via AND x.id < y.id
              AND (x.entity = y.entity OR referral.match_score(x.d, y.d) > -7)
        EXCEPT SELECT c.a, c.b, NOT has_keys FROM candidate c;
    END IF;
    INSERT INTO people.scored
    SELECT x.dataset, x.via, c.a, c.b, x.entity = y.entity, c.by_keys, referral.match_score(x.d, y.d),
           referral.match_grade(x.d, y.d)
    FROM candidate c
    JOIN people.person x ON x.dataset = score.dataset AND x.via = score.via AND x.id = c.a
    JOIN people.person y ON y.dataset = score.dataset AND y.via = score.via AND y.id = c.b;
    DROP TABLE candidate;
END $$;

-- ---------- Figures ----------

CREATE FUNCTION people.truth(dataset text, via text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(n * (n - 1) / 2), 0)::bigint
    FROM (SELECT count(*) AS n FROM people.person p WHERE p.dataset = truth.dataset AND p.via = truth.via GROUP BY p.entity) e
$$;

-- The shipped threshold, in bits.
CREATE FUNCTION people.threshold() RETURNS float8 LANGUAGE sql STABLE AS $$
    SELECT ln(p / (1 - p)) / ln(2::float8) FROM (SELECT coalesce(nullif(current_setting('referral.match_threshold', true), ''), '0.5')::float8) t (p)
$$;

-- What the candidates by keys give: of all pairs of one person the part that is found at all, the best F1 of all
-- thresholds, the one at the given threshold, and the grades. A pair that has no key in common is a miss.
CREATE FUNCTION people.figures(dataset text, via text, threshold float8 DEFAULT people.threshold())
RETURNS TABLE (truth bigint, candidates bigint, completeness numeric, best_f1 numeric, best_threshold float8,
               "precision" numeric, recall numeric, f1 numeric, wrong bigint, missed bigint,
               certain_right bigint, certain_wrong bigint, probable_right bigint, probable_wrong bigint,
               possible_right bigint, possible_wrong bigint)
LANGUAGE sql STABLE AS $$
    WITH pair AS (
        SELECT s.* FROM people.scored s WHERE s.dataset = figures.dataset AND s.via = figures.via AND s.by_keys),
    truth AS MATERIALIZED (SELECT people.truth(figures.dataset, figures.via) AS n),
    step AS (
        SELECT bits, sum(count(*) FILTER (WHERE same)) OVER w AS tp, sum(count(*)) OVER w AS found
        FROM pair GROUP BY bits WINDOW w AS (ORDER BY bits DESC)),
    best AS (
        SELECT 2 * tp / (found + t.n) AS f1, bits FROM step, truth t ORDER BY 1 DESC, bits DESC LIMIT 1),
    shipped AS (
        SELECT count(*) FILTER (WHERE same AND bits >= threshold) AS tp,
               count(*) FILTER (WHERE bits >= threshold) AS found,
               count(*) AS candidates, count(*) FILTER (WHERE same) AS reached,
               count(*) FILTER (WHERE grade = 'certain' AND same) AS certain_right,
               count(*) FILTER (WHERE grade = 'certain' AND NOT same) AS certain_wrong,
               count(*) FILTER (WHERE grade = 'probable' AND same) AS probable_right,
               count(*) FILTER (WHERE grade = 'probable' AND NOT same) AS probable_wrong,
               count(*) FILTER (WHERE grade = 'possible' AND same) AS possible_right,
               count(*) FILTER (WHERE grade = 'possible' AND NOT same) AS possible_wrong
        FROM pair)
    SELECT t.n, s.candidates, round(s.reached / nullif(t.n, 0)::numeric, 5), round(b.f1, 5), b.bits,
           round(s.tp / nullif(s.found, 0)::numeric, 5), round(s.tp / nullif(t.n, 0)::numeric, 5),
           round(2 * s.tp / nullif(s.found + t.n, 0)::numeric, 5), s.found - s.tp, t.n - s.tp,
           s.certain_right, s.certain_wrong, s.probable_right, s.probable_wrong, s.possible_right, s.possible_wrong
    FROM truth t CROSS JOIN shipped s LEFT JOIN best b ON true
$$;

-- Where pairs lie, by score in bits: how many of one person and how many of two; null is a pair of one person without a
-- key in common. Above 30 and below -30 bits they are taken together.
CREATE FUNCTION people.histogram(dataset text, via text) RETURNS TABLE (around int, same bigint, different bigint)
LANGUAGE sql STABLE AS $$
    SELECT (round(greatest(least(s.bits, 30), -30) / 2) * 2)::int,
           count(*) FILTER (WHERE s.same), count(*) FILTER (WHERE NOT s.same)
    FROM people.scored s WHERE s.dataset = histogram.dataset AND s.via = histogram.via AND s.by_keys
    GROUP BY 1
    UNION ALL
    SELECT NULL, people.truth(histogram.dataset, histogram.via) - count(*), NULL
    FROM people.scored s WHERE s.dataset = histogram.dataset AND s.via = histogram.via AND s.by_keys AND s.same
    ORDER BY 1 DESC
$$;

-- The worst mistakes: pairs of two people that score high, and pairs of one that score low.
CREATE FUNCTION people.mistakes(dataset text, via text, n int DEFAULT 20, threshold float8 DEFAULT people.threshold())
RETURNS TABLE (mistake text, bits float8, grade text, a jsonb, b jsonb) LANGUAGE sql STABLE AS $$
    WITH bad AS (
        SELECT CASE WHEN s.same THEN 'missed' ELSE 'wrong' END AS mistake, s.*,
               row_number() OVER (PARTITION BY s.same ORDER BY CASE WHEN s.same THEN s.bits ELSE -s.bits END, a, b) AS rank
        FROM people.scored s WHERE s.dataset = mistakes.dataset AND s.via = mistakes.via
                                   AND s.same = (s.bits < threshold OR NOT s.by_keys)
                                   AND (s.by_keys OR s.same))
    SELECT bad.mistake, bad.bits, bad.grade, x.doc, y.doc
    FROM bad JOIN people.raw x ON x.dataset = bad.dataset AND x.id = bad.a JOIN people.raw y ON y.dataset = bad.dataset AND y.id = bad.b
    WHERE bad.rank <= n ORDER BY bad.mistake, bad.rank
$$;

-- ---------- Pairs judged by people: three classes ----------

CREATE FUNCTION people.class_of(grade text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN grade IN ('certain', 'probable') THEN 'Match' WHEN grade = 'possible' THEN 'Possible Match'
                ELSE 'Not a Match' END
$$;

CREATE VIEW people.judged AS
SELECT p.*, referral.match_score(p.a, p.b) AS bits, referral.match_grade(p.a, p.b) AS grade,
       people.class_of(referral.match_grade(p.a, p.b)) AS class
FROM people.pair p WHERE p.expect <> 'Not Sure';

CREATE FUNCTION people.judged_figures(dataset text, via text)
RETURNS TABLE (pairs bigint, accuracy numeric, match_f1 numeric, "precision" numeric, recall numeric,
               not_graded_certain bigint, possible_graded_certain bigint, not_graded_match bigint, match_graded_not bigint)
LANGUAGE sql STABLE AS $$
    SELECT count(*), round(avg((expect = class)::int), 4),
           round(2.0 * tp / (count(*) FILTER (WHERE expect = 'Match') + found), 4),
           round(tp / nullif(found, 0)::numeric, 4), round(tp::numeric / count(*) FILTER (WHERE expect = 'Match'), 4),
           count(*) FILTER (WHERE expect = 'Not a Match' AND grade = 'certain'),
           count(*) FILTER (WHERE expect = 'Possible Match' AND grade = 'certain'),
           count(*) FILTER (WHERE expect = 'Not a Match' AND class = 'Match'),
           count(*) FILTER (WHERE expect = 'Match' AND class = 'Not a Match')
    FROM (SELECT j.*, count(*) FILTER (WHERE j.expect = 'Match' AND j.class = 'Match') OVER () AS tp,
                 count(*) FILTER (WHERE j.class = 'Match') OVER () AS found
          FROM people.judged j WHERE j.dataset = judged_figures.dataset AND j.via = judged_figures.via) j
    GROUP BY tp, found
$$;

-- The best three-class accuracy of any two thresholds on the score alone: what other limits could give at most.
CREATE FUNCTION people.judged_best(dataset text, via text)
RETURNS TABLE (accuracy numeric, possible_threshold float8, match_threshold float8) LANGUAGE sql STABLE AS $$
    WITH point AS (
        SELECT j.bits, count(*) FILTER (WHERE j.expect = 'Not a Match') AS nots,
               count(*) FILTER (WHERE j.expect = 'Possible Match') AS possibles, count(*) FILTER (WHERE j.expect = 'Match') AS matches
        FROM people.judged j WHERE j.dataset = judged_best.dataset AND j.via = judged_best.via GROUP BY 1),
    -- right by a threshold below: nots - possibles of what lies below it; by one above: possibles - matches
    cut AS (
        SELECT bits, sum(nots - possibles) OVER w - (nots - possibles) AS low,
               sum(possibles - matches) OVER w - (possibles - matches) AS high, sum(matches) OVER () AS matches,
               sum(nots + possibles + matches) OVER () AS n
        FROM point WINDOW w AS (ORDER BY bits)),
    -- the best lower threshold of those up to each upper one: the largest (right by it, -threshold)
    pairing AS (
        SELECT c.*, max(ARRAY[c.low::float8, -c.bits]) OVER (ORDER BY c.bits) AS lower FROM cut c)
    SELECT round(((p.lower[1]::numeric + p.high + p.matches) / p.n), 4), -p.lower[2], p.bits FROM pairing p
    ORDER BY 1 DESC, p.bits LIMIT 1
$$;

CREATE FUNCTION people.confusion(dataset text, via text)
RETURNS TABLE (expect text, certain bigint, probable bigint, possible bigint, certainly_not bigint) LANGUAGE sql STABLE AS $$
    SELECT j.expect, count(*) FILTER (WHERE j.grade = 'certain'), count(*) FILTER (WHERE j.grade = 'probable'),
           count(*) FILTER (WHERE j.grade = 'possible'), count(*) FILTER (WHERE j.grade = 'certainly-not')
    FROM people.judged j WHERE j.dataset = confusion.dataset AND j.via = confusion.via GROUP BY 1 ORDER BY 1
$$;

CREATE FUNCTION people.scenarios(dataset text, via text, n int DEFAULT 10)
RETURNS TABLE (scenario text, pairs bigint, accuracy numeric, mistakes text) LANGUAGE sql STABLE AS $$
    SELECT s.scenario, sum(s.n)::bigint, round(sum(s.n) FILTER (WHERE s.expect = s.class) / sum(s.n), 2),
           string_agg(format('%s %s as %s', s.n, s.expect, s.class), ', ' ORDER BY s.n DESC) FILTER (WHERE s.expect <> s.class)
    FROM (SELECT j.scenario, j.expect, j.class, count(*) AS n FROM people.judged j
          WHERE j.dataset = scenarios.dataset AND j.via = scenarios.via GROUP BY 1, 2, 3) s
    GROUP BY 1 ORDER BY 3 NULLS FIRST, 1 LIMIT scenarios.n
$$;

-- ---------- Everything at once ----------

CREATE TABLE people.target (dataset text, via text, measure text, op text, value numeric);
INSERT INTO people.target
SELECT d, 'full', m, op, v
FROM (VALUES ('febrl1'), ('febrl2'), ('febrl3')) d (d),
     (VALUES ('F1', '>=', 0.9995), ('wrong links', '=', 0), ('completeness', '>=', 0.9995)) m (m, op, v)
UNION ALL SELECT d, 'full', m, op, v
FROM (VALUES ('immreg C'), ('immreg F1')) d (d),
     (VALUES ('accuracy', '>=', 0.88), ('match F1', '>=', 0.90), ('wrong links', '=', 0)) m (m, op, v)
UNION ALL VALUES ('fake_1000', 'full', 'best F1', '>=', 0.944), ('uganda', 'no ids', 'F1', '>=', 0.96),
                 ('uganda', 'names', 'F1', '>=', 0.96), ('hard', 'full', 'completeness', '>=', 0.92)
UNION ALL SELECT d, v, 'wrong links', '=', 0
FROM (VALUES ('fake_1000', 'full'), ('uganda', 'no ids'), ('uganda', 'full'), ('twins', 'full'), ('hard', 'full')) d (d, v);

-- What was measured: one row per measure, so that targets can be put beside them.
CREATE TABLE people.measured (dataset text, via text, measure text, value numeric, PRIMARY KEY (dataset, via, measure));
CREATE TABLE people.summary_clusters AS
    SELECT NULL::text AS dataset, NULL::text AS via, f.* FROM people.figures('', '') f WITH NO DATA;
CREATE TABLE people.summary_pairs AS
    SELECT NULL::text AS dataset, NULL::text AS via, f.*, b.accuracy AS best_accuracy
    FROM people.judged_figures('', '') f, people.judged_best('', '') b WITH NO DATA;

-- Scores the datasets that the pattern names, and keeps the figures. With all pairs it shows also what keys lose.
CREATE PROCEDURE people.run(pattern text DEFAULT '.', all_pairs boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE
    v record;
BEGIN
    DELETE FROM people.summary_clusters s WHERE s.dataset ~ pattern;
    DELETE FROM people.summary_pairs s WHERE s.dataset ~ pattern;
    FOR v IN SELECT x.* FROM people.variant x WHERE x.dataset ~ pattern ORDER BY x.dataset, x.via LOOP
        IF EXISTS (SELECT FROM people.raw r WHERE r.dataset = v.dataset) THEN
            IF v.via = 'counted' THEN
                CALL people.count_names(v.dataset, v.via);
            END IF;
            CALL people.score(v.dataset, v.via, all_pairs);
            DELETE FROM referral.match_frequency;
            INSERT INTO people.summary_clusters SELECT v.dataset, v.via, f.* FROM people.figures(v.dataset, v.via) f;
        ELSE
            INSERT INTO people.summary_pairs SELECT v.dataset, v.via, f.*, b.accuracy
            FROM people.judged_figures(v.dataset, v.via) f, people.judged_best(v.dataset, v.via) b;
        END IF;
    END LOOP;
    TRUNCATE people.measured;
    INSERT INTO people.measured
    SELECT s.dataset, s.via, m.*
    FROM people.summary_clusters s,
         LATERAL (VALUES ('F1', s.f1), ('best F1', s.best_f1), ('wrong links', s.certain_wrong), ('completeness', s.completeness)) m
    UNION ALL
    SELECT s.dataset, s.via, m.*
    FROM people.summary_pairs s,
         LATERAL (VALUES ('accuracy', s.accuracy), ('match F1', s.match_f1), ('wrong links', s.not_graded_certain)) m;
END $$;

CREATE VIEW people.against_targets AS
SELECT t.dataset, t.via, t.measure, m.value AS measured, t.op || ' ' || t.value AS target,
       CASE WHEN CASE t.op WHEN '>=' THEN round(m.value, 4) >= t.value ELSE m.value = t.value END THEN 'PASS' ELSE 'MISS' END AS result
FROM people.target t JOIN people.measured m USING (dataset, via, measure) ORDER BY 1, 2, 3;
