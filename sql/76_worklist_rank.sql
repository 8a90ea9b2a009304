-- worklist: which item comes first, and why

CREATE FUNCTION referral.rank_of_days(points float8, at timestamptz) RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'rank_of_days';
COMMENT ON FUNCTION referral.rank_of_days(float8, timestamptz) IS
'Points for each day from 1970-01-01 to a time, to six decimals, so that sums are exact. Null for null.';

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
    RETURN (SELECT coalesce(sum(referral.rank_of_days(f.points::float8, rank_growth.at)), 0)
            FROM referral.ranking_factor f JOIN referral.rule_version v USING (rule_version_id)
            WHERE v.status = 'active' AND f.kind = 'per_day' AND (f.scope_org_id IS NULL OR f.scope_org_id = rank_growth.org_id));
END $$;
COMMENT ON FUNCTION referral.rank_growth(bigint, timestamptz) IS
'How many points the days from 1970-01-01 to a time add to an item of an organisation: the same for all, so that time alone never changes their order. Null for null.';

CREATE FUNCTION referral.rank_points(score float8, growth numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN pg_catalog.round(score::numeric, 6) + growth;
COMMENT ON FUNCTION referral.rank_points(float8, numeric) IS
'The points of a work item at a time: its score, and what rank_growth() of its organisation and the time adds. Null for null.';

CREATE FUNCTION referral.rank_score(org_id bigint, work_item_id bigint, at timestamptz DEFAULT now()) RETURNS numeric
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT referral.rank_points(i.score, referral.rank_growth(i.org_id, rank_score.at))
            FROM referral.work_item i
            WHERE i.org_id = rank_score.org_id AND i.work_item_id = rank_score.work_item_id);
END $$;
COMMENT ON FUNCTION referral.rank_score(bigint, bigint, timestamptz) IS
'The points that a work item has at a time: its score, and what the days since 1970-01-01 add. Null for null and for an item that is not visible.';

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
    RETURN QUERY
        SELECT f.name,
               CASE WHEN p.dated IS NOT NULL
                    THEN f.date_field || ' ' || to_char(p.dated AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || CASE WHEN p.assumed THEN ' (assumed)' ELSE '' END
                    ELSE f.applies_when END,
               p.points + coalesce(referral.rank_of_days(p.per_day, explain_rank.at), 0), f.ranking_factor_id, f.rule_version_id, f.explanation
        FROM referral.rank_parts(i) p
        JOIN referral.ranking_factor f USING (ranking_factor_id)
        ORDER BY 3 DESC, f.ranking_factor_id;
END $$;
COMMENT ON FUNCTION referral.explain_rank(bigint, bigint, timestamptz) IS
'Why a work item stands where it stands: each rule that counts, what it goes by (dates in UTC), and its points at a time, which sum up to rank_score(). A date in the future counts negative, one that has passed positive. No rows for an item that is not visible, and for null.';

-- ---------- Keeping it up to date ----------

CREATE FUNCTION referral.refresh_item(item record) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- a task has its own time
    due timestamptz := CASE item.kind WHEN 'task' THEN item.due_at ELSE referral.work_due(item.entity, item.org_id, item.entity_id, item.due_at) END;
    i referral.work_item := item;
BEGIN
    i.due_at := due;
    UPDATE referral.work_item w SET due_at = due, score = n.score
    FROM (SELECT referral.rank_now(i) AS score) n
    WHERE w.org_id = i.org_id AND w.work_item_id = i.work_item_id AND (w.due_at, w.score) IS DISTINCT FROM (due, n.score);
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION referral.refresh_item(record) IS
'Ranks a work item anew, and brings its due time up to date; writes only when one of them is another. Was it?';

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
    SELECT hashtextextended(coalesce(string_agg(v.rule_version_id::text, ',' ORDER BY v.rule_version_id), ''), 0)
    FROM referral.rule_version v
    WHERE v.status = 'active' AND EXISTS (SELECT FROM referral.ranking_factor f WHERE f.rule_version_id = v.rule_version_id)
$$;
COMMENT ON FUNCTION referral.ranking_key() IS 'Tells the active rules of ranking apart from those of another time.';

CREATE FUNCTION referral.refresh_ranks(org_id bigint, max integer) RETURNS integer
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    key bigint := referral.ranking_key();
    at record;
    i referral.work_item;
    last bigint;
    n integer := 0;
BEGIN
    INSERT INTO referral.rank_progress AS p (org_id, ranking_key, after_id) VALUES (refresh_ranks.org_id, key, 0)
    ON CONFLICT ON CONSTRAINT rank_progress_pkey DO UPDATE SET ranking_key = excluded.ranking_key, after_id = 0
    WHERE p.ranking_key <> excluded.ranking_key;
    SELECT * INTO at FROM referral.rank_progress p WHERE p.org_id = refresh_ranks.org_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR at.after_id IS NULL THEN
        RETURN 0;
    END IF;
    FOR i IN SELECT * FROM referral.work_item w
             WHERE w.org_id = refresh_ranks.org_id AND w.work_item_id > at.after_id AND w.closed_at IS NULL
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
'After other rules of ranking have become active: ranks the next max open items of an organisation anew, in the order of their numbers, and returns how many it looked at; 0 when all are done. Called by tick(). Null for null.';

CREATE FUNCTION referral.refresh_all_ranks(as_of timestamptz, max integer) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET referral.reason = 'the rules of ranking have changed' AS $$
DECLARE
    org bigint;
    n bigint := 0;
BEGIN
    FOR org IN SELECT o.org_id FROM referral.organization o
               LEFT JOIN referral.rank_progress p ON p.org_id = o.org_id
               WHERE p.org_id IS NULL OR p.after_id IS NOT NULL OR p.ranking_key <> referral.ranking_key()
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

REVOKE ALL ON FUNCTION referral.rank_score(bigint, bigint, timestamptz), referral.explain_rank(bigint, bigint, timestamptz), referral.rank_parts(record), referral.rank_now(record), referral.rank_of_days(float8, timestamptz), referral.rank_growth(bigint, timestamptz),
    referral.refresh_item(record), referral.refresh_rank(bigint, bigint), referral.ranking_key(), referral.refresh_ranks(bigint, integer),
    referral.refresh_all_ranks(timestamptz, integer), referral.clock_changes_rank(), referral.ranking_factor_check() FROM PUBLIC;
