-- worklist: which item comes first, and why

CREATE FUNCTION referral.rank_of_days(points float8, at timestamptz) RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rank_of_days';
COMMENT ON FUNCTION referral.rank_of_days(float8, timestamptz) IS
'Points for each day from 1970-01-01 to a time, to six decimals, so that sums are exact. Times before 1900 and after 2199 count as the first and the last of these years. 22003 when it is beyond all bounds. Null for null.';

CREATE FUNCTION referral.rank_points(score float8) RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rank_points';
COMMENT ON FUNCTION referral.rank_points(float8) IS
'A score as points, with its six decimals. 22003 when it is beyond all bounds. Null for null.';

CREATE FUNCTION referral.rank_of_time(points numeric, horizon interval, at timestamptz) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN referral.rank_of_days(points::float8, at) + round(points * extract(epoch FROM horizon) / 86400, 6);
COMMENT ON FUNCTION referral.rank_of_time(numeric, interval, timestamptz) IS
'What a rule of kind per_day adds to every item at a time: its points for each day from 1970-01-01 until then, and for the horizon. Null for null.';

CREATE FUNCTION referral.rank_parts(item record)
RETURNS TABLE (ranking_factor_id bigint, per_day float8, dated timestamptz, assumed boolean, points numeric)
LANGUAGE C STABLE STRICT ROWS 10 AS 'MODULE_PATHNAME', 'rank_parts';
COMMENT ON FUNCTION referral.rank_parts(record) IS
'What the score of a work item consists of by the active rules of ranking_factor, as the rows stand now: for each rule its points at the day 1970-01-01, and of rules of kind per_day how many points a day adds, the date, and whether it had to be assumed. expires_on counts up to the end of that day, UTC. Reads the rows with the rights of their owners. 42809 for a record that is no row of work_item, 22004 for one without its key, entity or opened_at. Null for null: no rows.';

CREATE FUNCTION referral.rank_now(item record) RETURNS float8
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'rank_now';
COMMENT ON FUNCTION referral.rank_now(record) IS 'The score of a work item as the rows and rules stand now, the sum of rank_parts(), with its errors; what work_item.score holds. Null for null.';

CREATE FUNCTION referral.rank_growth(org_id bigint, at timestamptz) RETURNS numeric
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT coalesce(sum(referral.rank_of_time(f.points, f.horizon, rank_growth.at)), 0)
            FROM referral.ranking_factor f JOIN referral.rule_version v USING (rule_version_id)
            WHERE v.status = 'active' AND f.kind = 'per_day' AND (f.scope_org_id IS NULL OR f.scope_org_id = rank_growth.org_id));
END $$;
COMMENT ON FUNCTION referral.rank_growth(bigint, timestamptz) IS
'How many points the time adds to the score of every item of an organisation, so that a date as far off as the horizon of its rule counts nothing: the same for all items, so that time alone never changes their order. Null for null.';

CREATE FUNCTION referral.rank_score(org_id bigint, work_item_id bigint, at timestamptz DEFAULT now()) RETURNS numeric
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT referral.rank_points(i.score) + referral.rank_growth(i.org_id, rank_score.at)
            FROM referral.work_item i
            WHERE i.org_id = rank_score.org_id AND i.work_item_id = rank_score.work_item_id);
END $$;
COMMENT ON FUNCTION referral.rank_score(bigint, bigint, timestamptz) IS
'The points that a work item has at a time: its score, and what the time adds to all items (rank_growth()). Null for null and for an item that is not visible.';

CREATE FUNCTION referral.date_seen_from(date timestamptz, at timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT isfinite(date) THEN date::text
                ELSE to_char(date, 'YYYY-MM-DD HH24:MI TZ')
                     || CASE WHEN NOT isfinite(at) THEN '' ELSE format(CASE WHEN date > at THEN ', in %s days' ELSE ', %s days ago' END,
                                                                       round(abs(extract(epoch FROM date) - extract(epoch FROM at)) / 86400, 1)) END
           END
$$;
COMMENT ON FUNCTION referral.date_seen_from(timestamptz, timestamptz) IS
'A time in the time zone of the session, and how many days it lies before or after another one. Null for null.';

CREATE FUNCTION referral.explain_rank(org_id bigint, work_item_id bigint, at timestamptz DEFAULT now())
RETURNS TABLE (factor text, value text, points numeric, rule bigint, rule_version bigint, explanation text)
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item;
BEGIN
    SELECT * INTO i FROM referral.work_item w
    WHERE w.org_id = explain_rank.org_id AND w.work_item_id = explain_rank.work_item_id AND referral.may_change_org(w.org_id);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY WITH part AS (
        SELECT f.name, CASE f.kind WHEN 'per_day' THEN f.date_field || ' ' || referral.date_seen_from(p.dated, explain_rank.at)
                                                       || CASE WHEN p.assumed THEN ' (assumed)' ELSE '' END
                                   ELSE f.applies_when END,
               p.points + CASE f.kind WHEN 'per_day' THEN referral.rank_of_time(f.points, f.horizon, explain_rank.at) ELSE 0 END AS points,
               f.ranking_factor_id, f.rule_version_id, f.explanation
        FROM referral.rank_parts(i) p
        JOIN referral.ranking_factor f USING (ranking_factor_id))
    SELECT * FROM part
    -- until tick() comes to it
    UNION ALL
    SELECT 'not ranked anew yet', NULL, d.points, NULL, NULL, 'Other rules have come into force, or what they go by has changed; tick() ranks it anew.'
    FROM (SELECT referral.rank_score(explain_rank.org_id, explain_rank.work_item_id, explain_rank.at) - coalesce((SELECT sum(part.points) FROM part), 0) AS points) d
    WHERE d.points <> 0
    ORDER BY 3 DESC, 4;
END $$;
COMMENT ON FUNCTION referral.explain_rank(bigint, bigint, timestamptz) IS
'Why a work item stands where it stands: each rule that counts, what it goes by (its condition; of rules by the day their date, in the time zone of the session, and how far off it is; assumed, when it is not known), and its points at a time, which sum up to rank_score(); a row of its own says what is not ranked anew yet. A date as far off as the horizon of its rule counts 0, a nearer or past one more, one further off less; one that is not known counts as if it had been as far off when the item was opened. No rows for an item that is not visible, and for null.';

-- ---------- Keeping it up to date ----------

CREATE FUNCTION referral.refresh_item(item record) RETURNS boolean
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'refresh_item';
COMMENT ON FUNCTION referral.refresh_item(record) IS
'Ranks an open work item anew, and brings its due time up to date: the first of the open clocks of its row, else what the row says in the due_column of its work_source; a task keeps its own. Writes with the rights of the owner of the model, and only when one of them is another. Was it? Errors as rank_parts(). Null for null.';

CREATE FUNCTION referral.refresh_rank(org_id bigint, referral_id bigint) RETURNS integer
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item;
    n integer := 0;
BEGIN
    FOR i IN SELECT * FROM referral.work_item w
             WHERE w.org_id = refresh_rank.org_id AND w.referral_id = refresh_rank.referral_id AND w.closed_at IS NULL
    LOOP
        n := n + referral.refresh_item(i)::integer;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.refresh_rank(bigint, bigint) IS
'Ranks the open work items of a referral anew, as its row and its clocks stand now; returns how many have another score or due time, only those are written. Called when something that the ranking goes by has changed. Null for null.';

CREATE FUNCTION referral.ranking_key() RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- when versions were in force, and not which ones are: what was active for a moment has ranked items too
    SELECT hashtextextended(coalesce(string_agg(v.rule_version_id || ' ' || hash_multirange_extended(v.valid_during, 0), ',' ORDER BY v.rule_version_id), ''), 0)
    FROM referral.rule_version v
    WHERE NOT isempty(v.valid_during) AND EXISTS (SELECT FROM referral.ranking_factor f WHERE f.rule_version_id = v.rule_version_id)
$$;
COMMENT ON FUNCTION referral.ranking_key() IS
'Another one each time that a version with rules of ranking is activated or retired, and never again what it was.';

CREATE FUNCTION referral.next_xact() RETURNS xid8
LANGUAGE C AS 'MODULE_PATHNAME', 'next_xact';
COMMENT ON FUNCTION referral.next_xact() IS 'The number that the next transaction that writes will have, higher than any so far.';

CREATE FUNCTION referral.are_over(before xid8) RETURNS boolean
LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    -- a number that is still to come is of the cluster that the database was restored from
    SELECT before <= pg_snapshot_xmin(pg_current_snapshot()) OR before > referral.next_xact()
$$;
COMMENT ON FUNCTION referral.are_over(xid8) IS 'Are all transactions before this one over? Null for null.';

CREATE FUNCTION referral.begin_ranking(org_id bigint) RETURNS bigint
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p referral.rank_progress;
BEGIN
    INSERT INTO referral.rank_progress AS x (org_id, ranking_key, after_id, again_after)
    VALUES (begin_ranking.org_id, referral.ranking_key(), 0, referral.next_xact())
    ON CONFLICT ON CONSTRAINT rank_progress_pkey DO UPDATE
    SET ranking_key = excluded.ranking_key, after_id = 0, again_after = excluded.again_after
    WHERE x.ranking_key <> excluded.ranking_key;
    SELECT * INTO p FROM referral.rank_progress x WHERE x.org_id = begin_ranking.org_id FOR UPDATE SKIP LOCKED;
    IF p.after_id IS NULL AND referral.are_over(p.again_after) THEN
        UPDATE referral.rank_progress x SET after_id = 0, again_after = NULL WHERE x.org_id = begin_ranking.org_id
        RETURNING x.after_id INTO p.after_id;
    END IF;
    RETURN p.after_id;
END $$;
COMMENT ON FUNCTION referral.begin_ranking(bigint) IS
'Locks how far an organisation is ranked, and returns it; from the beginning when rules of ranking have become active or were retired since, and once more when the transactions of that moment are over: what they had ranked by the former rules could not be seen. Null when nothing is left, another session is at it, and for null.';

CREATE FUNCTION referral.refresh_ranks(org_id bigint, max integer) RETURNS integer
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    after_id bigint := referral.begin_ranking(org_id);
    i referral.work_item;
    last bigint;
    n integer := 0;
BEGIN
    IF after_id IS NULL THEN
        RETURN 0;
    END IF;
    FOR i IN SELECT * FROM referral.work_item w
             WHERE w.org_id = refresh_ranks.org_id AND w.work_item_id > after_id AND w.closed_at IS NULL
             ORDER BY w.work_item_id LIMIT refresh_ranks.max
    LOOP
        PERFORM referral.refresh_item(i);
        last := i.work_item_id;
        n := n + 1;
    END LOOP;
    UPDATE referral.rank_progress p SET after_id = CASE WHEN n < refresh_ranks.max THEN NULL ELSE last END
    WHERE p.org_id = refresh_ranks.org_id;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.refresh_ranks(bigint, integer) IS
'After other rules of ranking have become active: ranks the next max open items of an organisation anew, in the order of their numbers, and returns how many it looked at; 0 when all are done. All are looked at twice: see begin_ranking(). Called by tick(). Null for null.';

CREATE FUNCTION referral.refresh_all_ranks(as_of timestamptz, max integer) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET referral.reason = 'the rules of ranking have changed' AS $$
DECLARE
    key bigint := referral.ranking_key();
    org bigint;
    n bigint := 0;
BEGIN
    FOR org IN SELECT o.org_id FROM referral.organization o
               LEFT JOIN referral.rank_progress p ON p.org_id = o.org_id
               WHERE p.org_id IS NULL OR p.after_id IS NOT NULL OR p.ranking_key <> key OR referral.are_over(p.again_after)
               ORDER BY o.org_id
    LOOP
        n := n + referral.refresh_ranks(org, (max - n)::integer);
        EXIT WHEN n >= max;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.refresh_all_ranks(timestamptz, integer) IS
'refresh_ranks() for all organisations, max items in all: a chore of tick().';

CREATE FUNCTION referral.clock_changes_rank() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.refresh_item(i) FROM referral.work_item i
    WHERE i.org_id = NEW.org_id AND i.entity_id = NEW.entity_id AND i.entity = NEW.entity AND i.closed_at IS NULL;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.clock_changes_rank() IS
'AFTER UPDATE row trigger of referral.sla_clock, when its due time has changed or it was nullified: ranks the items of its row anew.';

CREATE FUNCTION referral.check_ranking(versions bigint[]) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most record;
BEGIN
    WITH sums AS (
        SELECT f.scope_org_id, coalesce(sum(abs(f.points)) FILTER (WHERE f.kind = 'points'), 0) AS points,
               coalesce(sum(abs(f.points)) FILTER (WHERE f.kind = 'per_day'), 0) AS per_day
        FROM referral.ranking_factor f WHERE f.rule_version_id = ANY (versions) GROUP BY f.scope_org_id)
    -- what counts for all, and of the organisations' own the most that there is
    SELECT sum(x.points) AS points, sum(x.per_day) AS per_day INTO most
    FROM (SELECT max(s.points) AS points, max(s.per_day) AS per_day FROM sums s GROUP BY s.scope_org_id IS NULL) x;
    IF most.points > 100000000 OR most.per_day > 20000 THEN
        RAISE EXCEPTION 'the rules of ranking together go beyond what can be ranked'
            USING ERRCODE = 'RF011', DETAIL = format('Their points, without signs, are %s of at most 100000000, by the day %s of at most 20000: so far, scores are exact.', most.points, most.per_day),
                  HINT = 'Only the order of the items counts: divide the points of all rules by the same number.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_ranking(bigint[]) IS
'Refuses (RF011) versions of rules of ranking by which an item could get a score that cannot be told exactly: the points of all that count for an organisation are at most 100000000, by the day 20000. Null for null.';

CREATE FUNCTION referral.ranking_version_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM referral.ranking_factor f WHERE f.rule_version_id = NEW.rule_version_id) THEN
        -- two that become active at once would each pass without the other
        PERFORM pg_advisory_xact_lock('referral.ranking_factor'::regclass::oid::int, 0);
        PERFORM referral.check_ranking(ARRAY(SELECT v.rule_version_id FROM referral.rule_version v WHERE v.status = 'active'));
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.ranking_version_check() IS
'AFTER UPDATE row trigger of referral.rule_version, when it becomes active: check_ranking() of all that are active then.';

CREATE FUNCTION referral.ranking_factor_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.kind = 'per_day' AND (NEW.applies_when IS NOT NULL OR NEW.date_field IS NULL) THEN
        RAISE EXCEPTION 'rule "%" of kind per_day counts for every item, by a date', NEW.name
            USING ERRCODE = 'RF011', DETAIL = 'All items age alike: only so time alone never changes their order.',
                  HINT = 'Leave applies_when out and set date_field; for what holds for some items only, write a rule of kind points.';
    END IF;
    -- so far, scores are exact
    IF abs(NEW.points) > (CASE NEW.kind WHEN 'per_day' THEN 10000 ELSE 1000000 END) OR NOT referral.is_within_a_century(NEW.horizon) THEN
        RAISE EXCEPTION 'rule "%" goes beyond what can be ranked', NEW.name
            USING ERRCODE = 'RF011', DETAIL = 'points are between -1000000 and 1000000, by the day between -10000 and 10000; a horizon is within 100 years.',
                  HINT = 'Only the order of the items counts: divide the points of all rules by the same number.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.ranking_factor_check() IS
'BEFORE row trigger of referral.ranking_factor: a rule of kind per_day has a date and no condition; points and horizon are such that every score can be told exactly (RF011).';

REVOKE ALL ON FUNCTION referral.rank_score(bigint, bigint, timestamptz), referral.explain_rank(bigint, bigint, timestamptz), referral.rank_parts(record), referral.rank_now(record), referral.rank_of_days(float8, timestamptz), referral.rank_points(float8),
    referral.rank_of_time(numeric, interval, timestamptz), referral.rank_growth(bigint, timestamptz), referral.date_seen_from(timestamptz, timestamptz),
    referral.ranking_version_check(),
    referral.refresh_item(record), referral.refresh_rank(bigint, bigint), referral.ranking_key(), referral.next_xact(), referral.are_over(xid8),
    referral.begin_ranking(bigint), referral.refresh_ranks(bigint, integer),
    referral.refresh_all_ranks(timestamptz, integer), referral.clock_changes_rank(), referral.ranking_factor_check() FROM PUBLIC;
