-- How well weights do on people that they were not made from: m and u of each level from the labelled pairs of all other
-- datasets, then the dataset that was left out scored with them. After matching_report.sql and people.load(). Only levels
-- are summed up here: no frequency of names, no caps on households, no vetoes; what is compared is the weights.

CREATE TABLE people.level_pair (dataset text, kind text, same boolean, levels text[]);
CREATE INDEX ON people.level_pair (dataset, kind);

-- truth: all pairs of one person. chance: two people drawn by hash. candidate: pairs with a key in common.
CREATE PROCEDURE people.take_levels(draws int DEFAULT 60000) LANGUAGE plpgsql AS $$
DECLARE
    s record;
BEGIN
    TRUNCATE people.level_pair;
    FOR s IN SELECT dataset, count(*)::int AS n FROM people.person WHERE via = 'full' GROUP BY 1 ORDER BY 1 LOOP
        INSERT INTO people.level_pair
        SELECT s.dataset, 'truth', true, referral.match_levels(x.d, y.d)
        FROM people.person x JOIN people.person y USING (dataset, via, entity)
        WHERE x.dataset = s.dataset AND x.via = 'full' AND x.id < y.id
        UNION ALL
        SELECT s.dataset, 'chance', false, referral.match_levels(x.d, y.d)
        FROM generate_series(1, draws) i
        JOIN people.person x ON x.dataset = s.dataset AND x.via = 'full'
                                AND x.id = 1 + (hashint8extended(i, 1) & 2147483647) % s.n
        JOIN people.person y ON y.dataset = s.dataset AND y.via = 'full'
                                AND y.id = 1 + (hashint8extended(i, 2) & 2147483647) % s.n
        WHERE x.entity <> y.entity
        UNION ALL
        SELECT s.dataset, 'candidate', x.entity = y.entity, referral.match_levels(x.d, y.d)
        FROM people.candidates(s.dataset, 'full') c
        JOIN people.person x ON x.dataset = s.dataset AND x.via = 'full' AND x.id = c.a
        JOIN people.person y ON y.dataset = s.dataset AND y.via = 'full' AND y.id = c.b;
    END LOOP;
    -- Of judged pairs: those that are a match, and people of two pairs.
    INSERT INTO people.level_pair
    SELECT p.dataset, 'truth', true, referral.match_levels(p.a, p.b) FROM people.pair p WHERE p.via = 'full' AND p.expect = 'Match'
    UNION ALL
    SELECT p.dataset, 'chance', false, referral.match_levels(p.a, q.b)
    FROM people.pair p JOIN people.pair q USING (dataset, via)
    WHERE p.via = 'full' AND (hashint8extended(p.id::bigint * 10000 + q.id, 3) & 255) < 2 AND abs(p.id - q.id) > 100;
    ANALYZE people.level_pair;
END $$;

-- How often a level is found among pairs where the field is known of both, in each dataset; every dataset counts alike.
-- Half a pair is added to each level, so that nothing is impossible.
CREATE FUNCTION people.weights(without text) RETURNS TABLE (level text, m float8, u float8, weight float8)
LANGUAGE sql STABLE AS $$
    WITH counted AS (
        SELECT p.dataset, p.kind, l AS level, count(*) AS n
        FROM people.level_pair p, unnest(p.levels) l
        WHERE p.kind IN ('truth', 'chance') AND l !~ ':unknown$' AND p.dataset <> without
              -- two files of the same registry are no other dataset
              AND NOT (p.dataset ~ '^immreg' AND without ~ '^immreg') AND NOT (p.dataset ~ '^febrl' AND without ~ '^febrl')
        GROUP BY 1, 2, 3),
    filled AS (
        SELECT f.dataset, f.kind, l.level, coalesce(c.n, 0) + 0.5 AS n,
               sum(coalesce(c.n, 0) + 0.5) OVER (PARTITION BY f.dataset, f.kind, f.field) AS total
        FROM (SELECT DISTINCT dataset, kind, split_part(level, ':', 1) AS field FROM counted) f
        JOIN (SELECT DISTINCT level, split_part(level, ':', 1) AS field FROM counted) l USING (field)
        LEFT JOIN counted c ON c.dataset = f.dataset AND c.kind = f.kind AND c.level = l.level)
    SELECT f.level, m, u, ln(m / u) / ln(2)
    FROM (SELECT level, avg(n / total) FILTER (WHERE kind = 'truth')::float8 AS m,
                 avg(n / total) FILTER (WHERE kind = 'chance')::float8 AS u
          FROM filled GROUP BY 1) f
    WHERE m IS NOT NULL AND u IS NOT NULL
$$;

-- The dataset that is left out, scored with the others' weights: its best F1, and the F1 at even odds, where the odds of
-- two records at hand to be of one person are those that the dataset's own size suggests: one other record each.
CREATE FUNCTION people.left_out(left_out text) RETURNS TABLE (levels int, truth bigint, best_f1 numeric, f1 numeric)
LANGUAGE sql STABLE AS $$
    WITH weight AS MATERIALIZED (
        SELECT count(*)::int AS levels, jsonb_object_agg(w.level, w.weight) AS bits FROM people.weights(left_out) w),
    n AS MATERIALIZED (SELECT count(*) AS n FROM people.person WHERE dataset = left_out AND via = 'full'),
    pattern AS MATERIALIZED (
        SELECT p.levels, count(*) AS found, count(*) FILTER (WHERE p.same) AS tp
        FROM people.level_pair p WHERE p.dataset = left_out AND p.kind = 'candidate' GROUP BY p.levels),
    scored AS (
        SELECT x.found, x.tp,
               -ln(n.n / 2.0) / ln(2.0) + (SELECT coalesce(sum((weight.bits ->> l)::float8), 0) FROM unnest(x.levels) l) AS bits
        FROM pattern x CROSS JOIN n CROSS JOIN weight),
    truth AS MATERIALIZED (SELECT people.truth(left_out, 'full') AS n),
    step AS (SELECT bits, sum(sum(tp)) OVER w AS tp, sum(sum(found)) OVER w AS found
             FROM scored GROUP BY bits WINDOW w AS (ORDER BY bits DESC))
    SELECT (SELECT w.levels FROM weight w), t.n, (SELECT round(max(2 * tp / (found + t.n)), 5) FROM step),
           (SELECT round(2 * sum(tp) FILTER (WHERE bits >= 0) / (sum(found) FILTER (WHERE bits >= 0) + t.n), 5) FROM scored)
    FROM truth t
$$;
