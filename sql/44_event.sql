-- event: consumers of the journal; at least once, in order per entity row

CREATE FUNCTION referral.event_id(org_id bigint, journal_id bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    -- 48 bits, version 8, 12 bits; variant 10, 62 bits
    SELECT CASE WHEN org_id BETWEEN 0 AND 1152921504606846975 AND journal_id BETWEEN 0 AND 4611686018427387903
                THEN (substr(lpad(to_hex(org_id), 15, '0'), 1, 12) || '8' || substr(lpad(to_hex(org_id), 15, '0'), 13)
                      || to_hex(journal_id | (-9223372036854775808)))::uuid END
$$;
COMMENT ON FUNCTION referral.event_id(bigint, bigint) IS
'Id of the event that a journal row is: a UUID of version 8 (RFC 9562) whose 60 high bits are the organisation and 62 low bits the journal_id, so that it needs no storage and the same row always has the same id. event_org() and event_journal_id() take it apart. Null for null, for negative numbers and for those that do not fit.';

CREATE FUNCTION referral.event_org(event uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN event::text ~ '^.{14}8.{4}[89ab]'
                THEN ('x' || lpad(substr(event::text, 1, 8) || substr(event::text, 10, 4) || substr(event::text, 16, 3), 16, '0'))::bit(64)::bigint END
$$;
COMMENT ON FUNCTION referral.event_org(uuid) IS
'The organisation that an event id was made from; null for a UUID that event_id() cannot have made, and for null.';

CREATE FUNCTION referral.event_journal_id(event uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN event::text ~ '^.{14}8.{4}[89ab]'
                THEN ('x' || substr(event::text, 20, 4) || substr(event::text, 25))::bit(64)::bigint & 4611686018427387903 END
$$;
COMMENT ON FUNCTION referral.event_journal_id(uuid) IS
'The journal_id that an event id was made from; null for a UUID that event_id() cannot have made, and for null.';

-- The one place that says what an event looks like.
CREATE FUNCTION referral.event_of(
    entry record, with_values boolean DEFAULT false,
    OUT id uuid, OUT source text, OUT specversion text, OUT type text, OUT subject text, OUT "time" timestamptz,
    OUT datacontenttype text, OUT dataschema text, OUT data jsonb)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
-- the types in the order of their index, so that the first that fits ends the search
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off AS $$
DECLARE
    t record;
BEGIN
    SELECT x.name, x.version_number INTO t
    FROM referral.event_type x
    WHERE x.entity = entry.entity
      AND NOT EXISTS (SELECT FROM referral.event_type newer WHERE newer.name = x.name AND newer.version_number > x.version_number)
      AND (x.applies_when IS NULL OR referral.rule_matches(x.applies_when, entry))
    ORDER BY x.priority, x.name LIMIT 1;
    id := referral.event_id(entry.org_id, entry.journal_id);
    source := '/organization/' || entry.org_id;
    specversion := '1.0';
    type := 'org.referral.' || coalesce(t.name, entry.entity || '.' || coalesce(entry.transition, entry.action));
    subject := entry.entity || '/' || entry.entity_id;
    time := entry.occurred_at;
    datacontenttype := 'application/json';
    dataschema := 'urn:org.referral:event:' || t.name || ':' || t.version_number;
    data := jsonb_build_object(
        'entity', entry.entity, 'entity_id', entry.entity_id, 'version', entry.version, 'action', entry.action,
        'transition', entry.transition, 'from_step', entry.from_step, 'to_step', entry.to_step,
        'from_state', entry.from_state, 'to_state', entry.to_state, 'actor', entry.actor,
        'actor_kind', entry.actor_kind, 'origin', entry.origin, 'correlation_id', entry.correlation_id,
        'rule_version', entry.rule_version, 'recorded_at', entry.recorded_at,
        'changed', coalesce((SELECT jsonb_agg(k ORDER BY k COLLATE "C") FROM jsonb_object_keys(entry.changes) k), '[]'));
    IF with_values THEN
        data := data || jsonb_build_object('changes', entry.changes);
    END IF;
END $$;
COMMENT ON FUNCTION referral.event_of(record, boolean) IS
'A row of referral.journal as an event, with the attributes of CloudEvents 1.0. Its type is the first by (priority, name) of the event types of the entity, each in its newest version, whose applies_when holds; without one, entity.transition or entity.action, and dataschema is null. data names the columns that changed, not their values, and leaves the reason out; with_values adds changes, values of patients included. Null for null.';

CREATE FUNCTION referral.event_json(
    org_id bigint, xid_epoch integer, xid xid8, journal_id bigint, recorded_at timestamptz, with_values boolean)
RETURNS jsonb
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT to_jsonb(e)
    FROM referral.journal j CROSS JOIN LATERAL referral.event_of(j, event_json.with_values) e
    WHERE j.org_id = event_json.org_id AND j.xid_epoch = event_json.xid_epoch AND j.xid = event_json.xid
      AND j.journal_id = event_json.journal_id AND j.recorded_at = event_json.recorded_at
$$;
COMMENT ON FUNCTION referral.event_json(bigint, integer, xid8, bigint, timestamptz, boolean) IS
'The event of one journal row, named by its whole key, as one JSON object in CloudEvents'' JSON format. Null when the row is not there or not visible to the session, and for null.';

CREATE FUNCTION referral.event_type_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.check_rule('referral.journal', NEW.applies_when);
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.event_type_guard() IS
'BEFORE row trigger of referral.event_type: refuses a condition that does not compile over a journal row (RF011).';

CREATE FUNCTION referral.consumer_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.check_rule('referral.journal', NEW.filter);
    IF NEW.include_values AND NOT pg_has_role(current_user, 'referral_admin', 'USAGE') THEN
        RAISE EXCEPTION 'only an administrator lets a consumer have values'
            USING ERRCODE = 'RF003', DETAIL = 'Its events would carry old and new values, those of patients included.',
                  HINT = 'Leave include_values false and read the row, or ask a member of referral_admin.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.consumer_guard() IS
'BEFORE row trigger of referral.consumer: refuses a filter that does not compile over a journal row (RF011), and include_values for all but referral_admin (RF003).';

CREATE FUNCTION referral.delivery_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.status = 'discarded' AND OLD.status <> 'discarded' THEN
        NEW.discarded_by := referral.current_actor();
        NEW.discarded_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.delivery_guard() IS
'BEFORE UPDATE row trigger of referral.delivery: fills in who discards an event, and when.';
REVOKE ALL ON FUNCTION referral.delivery_guard() FROM PUBLIC;

CREATE FUNCTION referral.create_consumer(
    consumer text, filter text DEFAULT NULL, start timestamptz DEFAULT now(), include_values boolean DEFAULT false,
    max_attempts integer DEFAULT 10)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    org bigint := referral.current_org();
    horizon record;
    first record;
BEGIN
    INSERT INTO referral.consumer (org_id, consumer, filter, include_values, max_attempts)
    VALUES (org, create_consumer.consumer, create_consumer.filter, coalesce(create_consumer.include_values, false),
            coalesce(create_consumer.max_attempts, 10));
    -- the horizon first: what comes in between is then behind it
    SELECT h.xid_epoch, h.xid INTO horizon FROM referral.journal_horizon(org) h;
    SELECT j.xid_epoch, j.xid, j.journal_id - 1 AS journal_id INTO first
    FROM referral.journal j
    WHERE j.org_id = org AND j.recorded_at >= coalesce(create_consumer.start, now())
    ORDER BY j.xid_epoch, j.xid, j.journal_id LIMIT 1;
    -- after the last row that is settled: the horizon itself would mean nothing in an older copy of the cluster
    IF first.journal_id IS NULL OR (first.xid_epoch, first.xid) >= (horizon.xid_epoch, horizon.xid) THEN
        SELECT j.xid_epoch, j.xid, j.journal_id INTO first FROM referral.journal j
        WHERE j.org_id = org AND (j.xid_epoch, j.xid) < (horizon.xid_epoch, horizon.xid)
        ORDER BY j.xid_epoch DESC, j.xid DESC, j.journal_id DESC LIMIT 1;
    END IF;
    INSERT INTO referral.consumer_position (org_id, consumer, xid_epoch, xid, journal_id)
    VALUES (org, create_consumer.consumer, coalesce(first.xid_epoch, 0), coalesce(first.xid, '0'), coalesce(first.journal_id, 0));
END $$;
COMMENT ON FUNCTION referral.create_consumer(text, text, timestamptz, boolean, integer) IS
'Registers a consumer of the organisation''s events (referral.current_org()). filter: rule expression over a journal row; null for all. start: no event recorded at or after it is missed, some that were recorded shortly before it may come too; -infinity for all that the journal has, a time to come counts as now, null too. include_values: events carry old and new values, those of patients included. max_attempts: how often an event is handed out before it is dead. RF011 when the filter is not a rule, RF003 when somebody else than referral_admin wants values; 23505 when there is one of that name.';

CREATE FUNCTION referral.drop_consumer(consumer text) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.lock_consumer(drop_consumer.consumer);
    DELETE FROM referral.consumer c WHERE c.org_id = referral.current_org() AND c.consumer = drop_consumer.consumer;
END $$;
COMMENT ON FUNCTION referral.drop_consumer(text) IS
'Removes a consumer, its position and its deliveries, dead ones included. RF019 when there is none of that name in the organisation. Null: nothing happens.';

-- All that hands out, takes back or gives up events does so under this lock, so that the order per entity row holds.
CREATE FUNCTION referral.lock_consumer(
    consumer text,
    OUT org_id bigint, OUT filter text, OUT include_values boolean, OUT max_attempts integer,
    OUT xid_epoch integer, OUT xid xid8, OUT journal_id bigint, OUT lease bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    org_id := referral.current_org();
    SELECT c.filter, c.include_values, c.max_attempts, p.xid_epoch, p.xid, p.journal_id, p.lease
    INTO filter, include_values, max_attempts, xid_epoch, xid, journal_id, lease
    FROM referral.consumer_position p JOIN referral.consumer c ON c.org_id = p.org_id AND c.consumer = p.consumer
    WHERE p.org_id = lock_consumer.org_id AND p.consumer = lock_consumer.consumer
    FOR UPDATE OF p;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'organisation % has no consumer "%"', org_id, lock_consumer.consumer
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist, or is not visible to the session.',
                  HINT = 'See referral.consumer; referral.create_consumer() makes one.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.lock_consumer(text) IS
'Locks a consumer of the organisation until the end of the transaction and returns its settings and position. RF019 when there is none.';

-- A worker's session keeps its plans, made perhaps when there were few deliveries and no journal to speak of. So the
-- functions below leave the planner one way only: no sorting, and look-ups that are in the order of one index alone,
-- hence BETWEEN x AND x, which is an equality that has an order; rows to change are told by their ctid, which nobody
-- moves while the consumer is locked.

CREATE FUNCTION referral.free_next(org_id bigint, consumer text, entities text[], ids bigint[]) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    UPDATE referral.delivery d SET due_at = clock_timestamp()
    FROM (SELECT DISTINCT e.entity, e.id FROM unnest(free_next.entities, free_next.ids) e (entity, id)) e
    CROSS JOIN LATERAL (
        SELECT f.ctid AS row, f.status FROM referral.delivery f
        WHERE f.org_id = free_next.org_id AND f.consumer = free_next.consumer
          AND f.entity_id BETWEEN e.id AND e.id AND f.entity = e.entity AND f.status <> 'discarded'
        ORDER BY f.entity_id, f.journal_id LIMIT 1) f
    WHERE f.status = 'held' AND d.ctid = f.row;
    -- a caller of events() with an older snapshot would hold back new events behind one that is gone: it has to fail
    UPDATE referral.consumer_position p SET lease = p.lease
    WHERE p.org_id = free_next.org_id AND p.consumer = free_next.consumer;
END $$;
COMMENT ON FUNCTION referral.free_next(bigint, text, text[], bigint[]) IS
'Makes the first unfinished delivery of each of these rows due, when it was held back. For ack() and discard(), which hold the consumer''s lock. Null: nothing happens.';

CREATE FUNCTION referral.events(consumer text, max integer DEFAULT 100, lease interval DEFAULT '5 minutes')
RETURNS TABLE (
    id uuid, source text, specversion text, type text, subject text, "time" timestamptz,
    datacontenttype text, dataschema text, data jsonb, "position" text, attempt integer)
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    c record;
    horizon record;
    this_lease bigint;
    at timestamptz;
    n integer;
    room integer;
    seen integer;
    handed integer;
    moved boolean := false;
    left_out record;
BEGIN
    SELECT * INTO c FROM referral.lock_consumer(events.consumer);
    IF events.max < 1 THEN
        RETURN;
    END IF;
    this_lease := c.lease + 1;
    at := clock_timestamp();

    -- Leases that ran out. Of each row only the first event was certainly begun: at the end of its attempts it is dead.
    -- Those behind it go back to wait for it.
    WITH late AS MATERIALIZED (
        SELECT l.row, l.attempts,
               row_number() OVER (PARTITION BY l.entity, l.entity_id ORDER BY l.journal_id) > 1 AS behind
        FROM (SELECT d.ctid AS row, d.* FROM referral.delivery d
              WHERE d.org_id = c.org_id AND d.consumer = events.consumer AND d.due_at <= at AND d.status = 'leased'
              ORDER BY d.due_at) l)
    UPDATE referral.delivery d
    SET status = CASE WHEN l.behind THEN 'held' ELSE 'dead' END, lease = NULL, due_at = NULL,
        attempts = CASE WHEN l.behind THEN d.attempts - 1 ELSE d.attempts END,
        last_error = CASE WHEN l.behind THEN d.last_error ELSE 'lease expired: neither ack nor nack came in time' END,
        dead_at = CASE WHEN NOT l.behind THEN at END,
        event = CASE WHEN NOT l.behind THEN
                    referral.event_json(d.org_id, d.xid_epoch, d.xid, d.journal_id, d.recorded_at, c.include_values) END
    FROM late l
    WHERE d.ctid = l.row AND (l.behind OR l.attempts >= c.max_attempts);

    -- What is due and the first unfinished event of its row; those behind it come along, up to one that must wait. One
    -- that was held may have been read before an earlier one of its row, see below.
    WITH head AS MATERIALIZED (
        SELECT d.ctid AS row, d.journal_id, d.entity, d.entity_id
        FROM referral.delivery d CROSS JOIN LATERAL (
            SELECT f.ctid AS row FROM referral.delivery f
            WHERE f.org_id = c.org_id AND f.consumer = events.consumer
              AND f.entity_id BETWEEN d.entity_id AND d.entity_id AND f.entity = d.entity AND f.status <> 'discarded'
            ORDER BY f.entity_id, f.journal_id LIMIT 1) f
        WHERE d.org_id = c.org_id AND d.consumer = events.consumer AND d.due_at <= at AND f.row = d.ctid
          AND (d.status <> 'held' OR (
              SELECT (p.xid_epoch, p.xid, p.journal_id) > (c.xid_epoch, c.xid, c.journal_id) FROM referral.journal p
              WHERE p.org_id = c.org_id AND p.entity_id BETWEEN d.entity_id AND d.entity_id AND p.entity = d.entity
                AND p.journal_id < d.journal_id AND p.recorded_at >= d.recorded_at - interval '1 month'
                AND (c.filter IS NULL OR referral.rule_matches(c.filter, p))
              ORDER BY p.entity_id DESC, p.journal_id DESC LIMIT 1) IS NOT TRUE)
        ORDER BY d.due_at, d.journal_id LIMIT events.max),
    behind AS MATERIALIZED (
        SELECT f.row
        FROM head h CROSS JOIN LATERAL (
            SELECT f.ctid AS row, f.journal_id,
                   bool_and(coalesce(f.due_at <= at, f.status = 'held')) OVER (ORDER BY f.entity_id, f.journal_id) AS free
            FROM referral.delivery f
            WHERE f.org_id = c.org_id AND f.consumer = events.consumer
              AND f.entity_id BETWEEN h.entity_id AND h.entity_id AND f.entity = h.entity AND f.status <> 'discarded'
              AND f.journal_id > h.journal_id
            ORDER BY f.entity_id, f.journal_id LIMIT events.max) f
        WHERE f.free
        ORDER BY f.journal_id
        LIMIT events.max - (SELECT count(*) FROM head))
    UPDATE referral.delivery d
    SET status = 'leased', lease = this_lease, due_at = at + events.lease, attempts = d.attempts + 1
    FROM (SELECT h.row FROM head h UNION ALL SELECT b.row FROM behind b) x
    WHERE d.ctid = x.row;
    GET DIAGNOSTICS n = ROW_COUNT;

    -- New ones, up to the horizon, which must be told by an earlier statement than the one that reads. Those of a row
    -- with an unfinished event before it outside this batch are held back; if there is one, the last one is.
    -- A transaction that had its xid before another, but changed the row after it, comes first in the journal: its
    -- event is held back until the earlier one has been read. That one is there to be seen, if not to be read yet.
    IF n < events.max THEN
        SELECT * INTO horizon FROM referral.journal_horizon(c.org_id);
        LOOP
            room := events.max - n;
            WITH batch AS MATERIALIZED (
                SELECT j.xid_epoch, j.xid, j.journal_id, j.recorded_at, j.entity, j.entity_id
                FROM referral.journal j
                WHERE j.org_id = c.org_id
                  AND (j.xid_epoch, j.xid, j.journal_id) > (c.xid_epoch, c.xid, c.journal_id)
                  AND (j.xid_epoch, j.xid) < (horizon.xid_epoch, horizon.xid)
                  AND (c.filter IS NULL OR referral.rule_matches(c.filter, j))
                ORDER BY j.xid_epoch, j.xid, j.journal_id LIMIT room),
            until AS MATERIALIZED (
                SELECT b.xid_epoch, b.xid, b.journal_id FROM batch b ORDER BY b.xid_epoch DESC, b.xid DESC, b.journal_id DESC LIMIT 1),
            placed AS MATERIALIZED (
                SELECT b.*, coalesce(bool_or(f.waits) OVER w, false) AS waits, coalesce(bool_or(p.unread) OVER w, false) AS early
                FROM until u CROSS JOIN batch b
                LEFT JOIN LATERAL (
                    SELECT f.lease IS DISTINCT FROM this_lease AS waits FROM referral.delivery f
                    WHERE f.org_id = c.org_id AND f.consumer = events.consumer
                      AND f.entity_id BETWEEN b.entity_id AND b.entity_id AND f.entity = b.entity AND f.status <> 'discarded'
                      AND f.journal_id < b.journal_id
                    ORDER BY f.entity_id DESC, f.journal_id DESC LIMIT 1) f ON true
                LEFT JOIN LATERAL (
                    SELECT (p.xid_epoch, p.xid, p.journal_id) > (u.xid_epoch, u.xid, u.journal_id) AS unread FROM referral.journal p
                    WHERE p.org_id = c.org_id AND p.entity_id BETWEEN b.entity_id AND b.entity_id AND p.entity = b.entity
                      AND p.journal_id < b.journal_id AND p.recorded_at >= b.recorded_at - interval '1 month'
                      AND (c.filter IS NULL OR referral.rule_matches(c.filter, p))
                    ORDER BY p.entity_id DESC, p.journal_id DESC LIMIT 1) p ON true
                WINDOW w AS (PARTITION BY b.entity, b.entity_id ORDER BY b.journal_id)),
            taken AS (
                INSERT INTO referral.delivery (org_id, consumer, xid_epoch, xid, journal_id, recorded_at, entity, entity_id,
                                               status, lease, due_at, attempts)
                SELECT c.org_id, events.consumer, b.xid_epoch, b.xid, b.journal_id, b.recorded_at, b.entity, b.entity_id,
                       CASE WHEN b.waits OR b.early THEN 'held' ELSE 'leased' END,
                       CASE WHEN NOT (b.waits OR b.early) THEN this_lease END,
                       CASE WHEN b.waits THEN NULL WHEN b.early THEN at ELSE at + events.lease END,
                       CASE WHEN b.waits OR b.early THEN 0 ELSE 1 END
                FROM placed b
                RETURNING status)
            SELECT count(*), count(*) FILTER (WHERE t.status = 'leased') INTO seen, handed FROM taken t;
            n := n + handed;
            IF seen > 0 THEN
                moved := true;
                SELECT d.xid_epoch, d.xid, d.journal_id INTO c.xid_epoch, c.xid, c.journal_id
                FROM referral.delivery d WHERE d.org_id = c.org_id AND d.consumer = events.consumer
                ORDER BY d.xid_epoch DESC, d.xid DESC, d.journal_id DESC LIMIT 1;
            END IF;
            EXIT WHEN seen < room OR n >= events.max;
        END LOOP;
        -- what the filter left out need not be looked at again
        IF seen < room AND c.filter IS NOT NULL THEN
            SELECT j.xid_epoch, j.xid, j.journal_id INTO left_out FROM referral.journal j
            WHERE j.org_id = c.org_id
              AND (j.xid_epoch, j.xid, j.journal_id) > (c.xid_epoch, c.xid, c.journal_id)
              AND (j.xid_epoch, j.xid) < (horizon.xid_epoch, horizon.xid)
            ORDER BY j.xid_epoch DESC, j.xid DESC, j.journal_id DESC LIMIT 1;
            IF FOUND THEN
                moved := true;
                c.xid_epoch := left_out.xid_epoch;
                c.xid := left_out.xid;
                c.journal_id := left_out.journal_id;
            END IF;
        END IF;
    END IF;
    IF n > 0 OR moved THEN
        UPDATE referral.consumer_position p
        SET xid_epoch = c.xid_epoch, xid = c.xid, journal_id = c.journal_id, lease = this_lease
        WHERE p.org_id = c.org_id AND p.consumer = events.consumer;
    END IF;

    RETURN QUERY
    SELECT e.id, e.source, e.specversion, e.type, e.subject, e.time, e.datacontenttype, e.dataschema, e.data,
           this_lease || '-' || x.journal_id, x.attempts
    FROM (SELECT d.lease, d.xid_epoch, d.xid, d.journal_id, d.recorded_at, d.attempts FROM referral.delivery d
          WHERE d.org_id = c.org_id AND d.consumer = events.consumer AND d.status = 'leased'
            AND d.lease BETWEEN this_lease AND this_lease
          ORDER BY d.lease, d.journal_id LIMIT n) x
    CROSS JOIN LATERAL (
        SELECT j AS entry FROM referral.journal j
        WHERE j.org_id = c.org_id AND j.recorded_at = x.recorded_at
          AND (j.xid_epoch, j.xid, j.journal_id) >= (x.xid_epoch, x.xid, x.journal_id)
          AND (j.xid_epoch, j.xid, j.journal_id) <= (x.xid_epoch, x.xid, x.journal_id)
        ORDER BY j.xid_epoch, j.xid, j.journal_id LIMIT 1) j
    CROSS JOIN LATERAL referral.event_of(j.entry, c.include_values) e
    ORDER BY x.lease, x.journal_id;
END $$;
COMMENT ON FUNCTION referral.events(text, integer, interval) IS
'Hands out the next events of a consumer, at most max, to whoever calls, for the time of the lease: those that are to be tried again before new ones, in order of journal_id. The columns are those of CloudEvents 1.0, then position, a token for ack(), and attempt, 1 the first time. An event is handed out only when all earlier ones of the same entity row are acknowledged or discarded, or come before it in the same batch; one that is neither acknowledged nor refused before the lease ends is handed out again, and is dead after max_attempts. Nothing was handed out when the transaction rolls back. Workers of one consumer wait for each other until the transaction that called ends. No row: nothing to do now. RF019 when there is no such consumer in the organisation. Null arguments: no rows.';

CREATE FUNCTION referral.ack(consumer text, "position" text) RETURNS bigint
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    c record;
    part text[] := regexp_match(ack.position, '^([0-9]{1,18})-([0-9]{1,18})$');
    n bigint;
    entities text[];
    ids bigint[];
BEGIN
    IF part IS NULL THEN
        RAISE EXCEPTION 'this is no position of a consumer'
            USING ERRCODE = 'RF020', DETAIL = 'It is two numbers, joined by a hyphen.',
                  HINT = 'Pass the position of an event as referral.events() returned it.';
    END IF;
    SELECT * INTO c FROM referral.lock_consumer(ack.consumer);
    WITH handed AS MATERIALIZED (
        SELECT d.ctid AS row FROM referral.delivery d
        WHERE d.org_id = c.org_id AND d.consumer = ack.consumer AND d.status = 'leased'
          AND d.lease BETWEEN part[1]::bigint AND part[1]::bigint AND d.journal_id <= part[2]::bigint
        ORDER BY d.lease, d.journal_id),
    done AS (
        DELETE FROM referral.delivery d USING handed h WHERE d.ctid = h.row RETURNING d.entity, d.entity_id)
    SELECT count(*), array_agg(d.entity), array_agg(d.entity_id) INTO n, entities, ids FROM done d;
    PERFORM referral.free_next(c.org_id, ack.consumer, entities, ids);
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.ack(text, text) IS
'Acknowledges all events that were handed out in the same call of events() up to and including the one with this position; returns how many. Those refused with nack(), and those whose lease ran out and that were handed out again, do not count and stay. Can be called in the transaction that did the work, then both hold or neither. RF020 when the position is malformed, RF019 when there is no such consumer in the organisation. Null for null.';

CREATE FUNCTION referral.nack(consumer text, event uuid, error text) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET enable_incremental_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    c record;
    d record;
    next_at timestamptz;
BEGIN
    SELECT * INTO c FROM referral.lock_consumer(nack.consumer);
    SELECT x.ctid AS row, x.* INTO d FROM referral.delivery x
    WHERE x.org_id = c.org_id AND x.consumer = nack.consumer AND x.status = 'leased'
      AND x.journal_id = referral.event_journal_id(nack.event) AND referral.event_org(nack.event) = c.org_id
    ORDER BY x.lease LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'event % is not handed out to consumer "%"', nack.event, nack.consumer
            USING ERRCODE = 'RF019', DETAIL = 'It was acknowledged or refused already, or its lease ran out.',
                  HINT = 'Nothing is to be done: what is not finished will be handed out again.';
    END IF;
    WITH behind AS MATERIALIZED (
        SELECT x.ctid AS row FROM referral.delivery x
        WHERE x.org_id = c.org_id AND x.consumer = nack.consumer AND x.status = 'leased'
          AND x.lease BETWEEN d.lease AND d.lease AND x.entity_id = d.entity_id AND x.entity = d.entity
          AND x.journal_id > d.journal_id
        ORDER BY x.lease)
    UPDATE referral.delivery x SET status = 'held', lease = NULL, due_at = NULL, attempts = x.attempts - 1
    FROM behind b WHERE x.ctid = b.row;
    IF d.attempts < c.max_attempts THEN
        next_at := clock_timestamp()
                   + least(10 * 2 ^ least(d.attempts - 1, 20), 3600) * (0.75 + random() / 2) * interval '1 second';
    END IF;
    UPDATE referral.delivery x
    SET status = CASE WHEN next_at IS NULL THEN 'dead' ELSE 'retry' END, lease = NULL, due_at = next_at,
        last_error = left(nack.error, 2000), dead_at = CASE WHEN next_at IS NULL THEN clock_timestamp() END,
        event = CASE WHEN next_at IS NULL THEN
                    referral.event_json(x.org_id, x.xid_epoch, x.xid, x.journal_id, x.recorded_at, c.include_values) END
    WHERE x.ctid = d.row;
    RETURN next_at;
END $$;
COMMENT ON FUNCTION referral.nack(text, uuid, text) IS
'Says that an event that was handed out could not be processed, and why; the first 2000 characters of error are kept, so put nothing about patients there. Returns when it will be tried again: after 10 seconds, doubled with each attempt up to an hour, give or take a quarter; null when that was the last attempt and it is dead now, kept in referral.dead_letter. Later events of the same entity row wait for it, also those of the same batch. RF019 when it is not handed out now, when event is null, and when there is no such consumer in the organisation.';

CREATE FUNCTION referral.redrive(consumer text, event uuid DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
    n bigint;
BEGIN
    SELECT * INTO c FROM referral.lock_consumer(redrive.consumer);
    UPDATE referral.delivery d SET status = 'retry', due_at = clock_timestamp(), attempts = 0, dead_at = NULL, event = NULL
    WHERE d.org_id = c.org_id AND d.consumer = redrive.consumer AND d.status = 'dead'
      AND (redrive.event IS NULL
           OR (d.journal_id = referral.event_journal_id(redrive.event) AND referral.event_org(redrive.event) = c.org_id));
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.redrive(text, uuid) IS
'Has a dead event, or with null all of a consumer, handed out again at once, with all attempts anew; returns how many. RF019 when there is no such consumer in the organisation.';

CREATE FUNCTION referral.discard(consumer text, event uuid, reason text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
    d record;
BEGIN
    IF coalesce(btrim(reason), '') = '' THEN
        RAISE EXCEPTION 'an event is given up for a reason'
            USING ERRCODE = 'RF005', DETAIL = 'Nobody will process it any more.', HINT = 'Say why in the argument reason.';
    END IF;
    SELECT * INTO c FROM referral.lock_consumer(discard.consumer);
    UPDATE referral.delivery x
    SET status = 'discarded', due_at = NULL, discarded_at = clock_timestamp(), discarded_by = referral.current_actor(),
        discard_reason = discard.reason
    WHERE x.org_id = c.org_id AND x.consumer = discard.consumer AND x.status IN ('dead', 'retry')
      AND x.journal_id = referral.event_journal_id(discard.event) AND referral.event_org(discard.event) = c.org_id
    RETURNING x.entity, x.entity_id INTO d;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM referral.free_next(c.org_id, discard.consumer, ARRAY[d.entity], ARRAY[d.entity_id]);
    RETURN true;
END $$;
COMMENT ON FUNCTION referral.discard(text, uuid, text) IS
'Gives up for good an event that is dead or waits for its next attempt: it is not handed out again and no longer holds back later events of its row. Who, when and why stay in referral.delivery. False when there is no such event; RF005 without a reason, RF019 when there is no such consumer in the organisation.';

REVOKE ALL ON FUNCTION referral.event_json(bigint, integer, xid8, bigint, timestamptz, boolean), referral.event_type_guard(),
    referral.consumer_guard(), referral.create_consumer(text, text, timestamptz, boolean, integer), referral.drop_consumer(text),
    referral.lock_consumer(text), referral.free_next(bigint, text, text[], bigint[]), referral.events(text, integer, interval),
    referral.ack(text, text), referral.nack(text, uuid, text), referral.redrive(text, uuid),
    referral.discard(text, uuid, text) FROM PUBLIC;
