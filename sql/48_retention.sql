-- retention: what of the journal may go, and the proof that it went rightly

CREATE FUNCTION referral.former_purges(org_id bigint, purge_id bigint) RETURNS bytea
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY'
SET intervalstyle = 'postgres' SET bytea_output = 'hex' AS $$
    SELECT sha256(convert_to(coalesce(string_agg(ROW(p.purge_id, p.partition, p.from_time, p.to_time, p.nrows, p.leaves, p.tree_size,
                                                     p.root_hash, p.keep, p.purged_at, p.former)::text, E'\n' ORDER BY p.purge_id), ''), 'UTF8'))
    FROM referral.journal_purge p WHERE p.org_id = former_purges.org_id AND p.purge_id < former_purges.purge_id
$$;
COMMENT ON FUNCTION referral.former_purges(bigint, bigint) IS
'SHA-256 of what journal_purge has of an organisation before a purge: the later purge answers for them when what the journal told of them is purged. Null for null.';

CREATE FUNCTION referral.purged_leaves(org_id bigint) RETURNS TABLE (first_leaf bigint, last_leaf bigint)
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    WITH purge AS (
        SELECT p.*, EXISTS (
            SELECT FROM referral.journal j
            WHERE j.org_id = p.org_id AND j.entity_id = p.purge_id AND j.entity = 'journal_purge' AND j.action = 'insert'
              AND referral.journal_differences('journal_purge', p,
                      (SELECT jsonb_object_agg(c.key, c.value -> 1)
                       FROM jsonb_each(CASE jsonb_typeof(j.changes) WHEN 'object' THEN j.changes END) c)) = '{}') AS told
        FROM referral.journal_purge p WHERE p.org_id = purged_leaves.org_id),
    answering AS (
        SELECT max(p.purge_id) AS purge_id FROM purge p WHERE p.told AND p.former = referral.former_purges(p.org_id, p.purge_id))
    SELECT lower(r), upper(r) - 1
    FROM purge p LEFT JOIN answering a ON p.purge_id < a.purge_id, unnest(p.leaves) r
    WHERE p.told OR a.purge_id IS NOT NULL
$$;
COMMENT ON FUNCTION referral.purged_leaves(bigint) IS
'Leaves of an organisation''s tree whose rows were purged, as ranges: those of the purges that the journal tells of in the same words. Null for null.';

CREATE FUNCTION referral.legal_hold_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.placed_by := referral.current_actor();
        NEW.placed_at := now();
    ELSIF (NEW.entity, NEW.entity_id, NEW.placed_by, NEW.placed_at) IS DISTINCT FROM (OLD.entity, OLD.entity_id, OLD.placed_by, OLD.placed_at)
          OR OLD.released_at IS NOT NULL THEN
        RAISE EXCEPTION 'legal hold % cannot be changed, only released', OLD.legal_hold_id
            USING ERRCODE = 'RF017', DETAIL = 'What it is about, who placed it and when stays as it is, and a released one is over.',
                  HINT = 'Place another hold; then set released_at of this one.';
    END IF;
    IF NEW.reason !~ '[^[:space:]]' THEN
        RAISE EXCEPTION 'a legal hold needs a reason'
            USING ERRCODE = 'RF005', DETAIL = 'Those who may release it have to know why it was placed.', HINT = 'Set reason.';
    END IF;
    IF NEW.entity IS NOT NULL AND NOT EXISTS (SELECT FROM referral.entity e WHERE e.entity = NEW.entity)
       AND NOT EXISTS (SELECT FROM referral.journal j WHERE j.org_id = NEW.org_id AND j.entity = NEW.entity) THEN
        RAISE EXCEPTION 'there is no entity "%"', NEW.entity
            USING ERRCODE = 'RF019', DETAIL = 'A hold on it would hold nothing.', HINT = 'SELECT entity FROM referral.entity.';
    END IF;
    IF NEW.entity_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM referral.journal j WHERE j.org_id = NEW.org_id AND j.entity_id = NEW.entity_id AND j.entity = NEW.entity) THEN
        RAISE WARNING 'the journal has nothing of % % in organisation %', NEW.entity, NEW.entity_id, NEW.org_id
            USING DETAIL = 'As long as that is so, the hold holds nothing.', HINT = 'Check the id.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.legal_hold_guard() IS
'BEFORE row trigger of referral.legal_hold: the entity must be there (RF019), who placed it and when is filled in, and afterwards it can only be released (RF017). RF005 without a reason.';

CREATE FUNCTION referral.purge_obstacle(partition regclass, keep interval) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    obstacle text;
    to_time timestamptz := (SELECT b.to_time FROM referral.journal_bounds() b WHERE b.partition = purge_obstacle.partition);
BEGIN
    IF to_time IS NULL OR to_time > now() - keep THEN
        RETURN 'not old enough';
    END IF;
    EXECUTE format($query$
        SELECT format('legal hold %%s of organisation %%s', h.legal_hold_id, h.org_id) FROM referral.legal_hold h
        WHERE h.released_at IS NULL
          AND EXISTS (SELECT FROM %1$s j WHERE j.org_id = h.org_id AND (h.entity IS NULL OR j.entity = h.entity)
                      AND (h.entity_id IS NULL OR j.entity_id = h.entity_id))
        UNION ALL
        SELECT format('not sealed yet: organisation %%s', o.org_id) FROM (SELECT DISTINCT j.org_id FROM %1$s j) o
        LEFT JOIN LATERAL (SELECT s.* FROM referral.seal s WHERE s.org_id = o.org_id ORDER BY s.seal_id DESC LIMIT 1) s ON true
        WHERE s.seal_id IS NULL
           OR EXISTS (SELECT FROM %1$s j WHERE j.org_id = o.org_id
                      AND (j.xid_epoch, j.xid, j.journal_id) > (s.xid_epoch, s.xid, s.journal_id))
        UNION ALL
        SELECT format('consumer %%s of organisation %%s has not read it', p.consumer, p.org_id) FROM referral.consumer_position p
        WHERE EXISTS (SELECT FROM %1$s j WHERE j.org_id = p.org_id
                      AND (j.xid_epoch, j.xid, j.journal_id) > (p.xid_epoch, p.xid, p.journal_id))
           OR EXISTS (SELECT FROM referral.delivery d WHERE d.org_id = p.org_id AND d.consumer = p.consumer
                      AND d.status <> 'discarded' AND d.recorded_at < $1)
        LIMIT 1 $query$, partition) INTO obstacle USING to_time;
    RETURN obstacle;
END $$;
COMMENT ON FUNCTION referral.purge_obstacle(regclass, interval) IS
'Why a partition of the journal may not be purged: it is not old enough (keep), under a legal hold, not sealed, or not read by a consumer. Null when it may, and for null.';

CREATE FUNCTION referral.purge_journal(keep interval DEFAULT '6 years', dry_run boolean DEFAULT true)
RETURNS TABLE (partition text, from_time timestamptz, to_time timestamptz, action text)
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    b record;
    o bigint;
    nrows bigint;
    ranges int8multirange;
    obstacle text;
BEGIN
    IF NOT pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = 'referral.journal'::regclass), 'USAGE') THEN
        RAISE EXCEPTION 'only the owner of the journal may purge it'
            USING ERRCODE = 'RF003', DETAIL = 'Partitions of the journal are dropped.', HINT = 'Call it as the owner.';
    END IF;
    FOR b IN SELECT x.* FROM referral.journal_bounds() x WHERE x.to_time <= now() - keep ORDER BY x.from_time LOOP
        partition := b.partition::text;
        from_time := b.from_time;
        to_time := b.to_time;
        obstacle := referral.purge_obstacle(b.partition, keep);
        action := CASE WHEN obstacle IS NOT NULL THEN 'kept: ' || obstacle
                       WHEN dry_run THEN 'would be purged' ELSE 'purged' END;
        IF obstacle IS NULL AND NOT dry_run THEN
            -- the journal tells which leaves are gone, before they are
            FOR o, nrows IN EXECUTE format('SELECT j.org_id, count(*) FROM %s j GROUP BY 1 ORDER BY 1', b.partition) LOOP
                SELECT range_agg(int8range(l.first_leaf, l.last_leaf, '[]')) INTO ranges
                FROM referral.journal_leaves(o, b.partition) l;
                IF nrows <> (SELECT sum(upper(r) - lower(r)) FROM unnest(ranges) r) THEN
                    RAISE EXCEPTION 'partition % has rows that are not in the tree of organisation %', b.partition, o
                        USING ERRCODE = 'RF021', DETAIL = 'What is not sealed would be gone without a trace.',
                              HINT = 'SELECT * FROM referral.verify_journal(…) tells more.';
                END IF;
                INSERT INTO referral.journal_purge (org_id, partition, from_time, to_time, nrows, leaves, tree_size, root_hash, keep, purged_at, former)
                SELECT o, split_part(b.partition::text, '.', 2), b.from_time, b.to_time, nrows, ranges, s.tree_size, s.root_hash,
                       purge_journal.keep, clock_timestamp(), referral.former_purges(o, 9223372036854775807)
                FROM referral.seal s WHERE s.org_id = o ORDER BY s.seal_id DESC LIMIT 1;
            END LOOP;
            EXECUTE format('DROP TABLE %s', b.partition);
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.purge_journal(interval, boolean) IS
'Drops the partitions of the journal whose last row is older than keep (default 6 years, 45 CFR 164.316(b)(2)(i)), whole ones only: not those under a legal hold, with rows that are not sealed, or that a consumer has yet to read. By default only tells what it would do; dry_run false does it. Each purge is journaled, so the next seal() seals it; the hashes of the rows stay, and with them every proof. RF003 unless called by the owner of the journal, RF021 when the journal does not verify. Null: nothing happens.';

REVOKE ALL ON FUNCTION referral.legal_hold_guard(), referral.former_purges(bigint, bigint), referral.purged_leaves(bigint), referral.purge_obstacle(regclass, interval),
    referral.purge_journal(interval, boolean) FROM PUBLIC;
