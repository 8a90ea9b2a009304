-- Tables and rivals of workflow.bench.sh. Every table has the columns, indexes and rows of bench.ours; the change that
-- is measured sets state (ready_to_schedule and scheduled in turn) and scheduled_for, and step follows from state.
\ir lib.sql
\ir ours.sql

-- Rounds go there and back. What a round needs to know:
CREATE FUNCTION bench.turn(round int) RETURNS TABLE (
    from_state text, to_state text, transition text, transition_id bigint, workflow_id bigint, rule_version bigint,
    new_time text, changes text)
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT t.from_step, t.to_step, t.transition, t.transition_id, t.workflow_id, t.rule_version_id, at[2],
           jsonb_build_object('scheduled_for', to_jsonb(at::timestamptz[]))::text
    FROM (VALUES (true, 'schedule', '{2026-09-01 10:00+00,2026-09-02 10:00+00}'::text[]),
                 (false, 'release', '{2026-09-02 10:00+00,2026-09-01 10:00+00}')) v (even, name, at)
    JOIN referral.workflow_transition t ON t.transition = v.name
    JOIN referral.workflow w ON w.workflow_id = t.workflow_id AND w.entity = 'ours'
    WHERE v.even = (round % 2 = 0)
$$;

-- ---------- Ours ----------

SELECT bench.make_ours('ours', 100000, 9, 6);

-- ---------- Rivals: the same table and the same rows, with a journal each ----------

DO $do$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{bare,floor,plpgsql_static,plpgsql_execute,plpgsql_jsonb}'::text[] LOOP
        EXECUTE format('CREATE TABLE bench.%I (LIKE referral.referral INCLUDING ALL)', name);
        EXECUTE format('INSERT INTO bench.%I SELECT * FROM bench.ours', name);
        PERFORM bench.make_journal('journal_' || name);
        EXECUTE format('INSERT INTO bench.journal_%s SELECT (jsonb_populate_record(j, ''{"changes": null}'')).*'
                       ' FROM referral.journal j', name);
        PERFORM setval(format('bench.journal_%s_journal_id_seq', name), (SELECT max(journal_id) FROM referral.journal));
    END LOOP;
END $do$;

-- The transitions, laid out for one look-up by key, guards as SQL over $1 (new row) and $2 (old row).
CREATE TABLE bench.transition (
    workflow_id bigint, from_step text, to_state referral.state, to_step text NOT NULL, transition_id bigint UNIQUE,
    transition text NOT NULL, rule_version bigint, required_role text, human_only boolean, reason_required boolean,
    comment_required boolean, guards text[], PRIMARY KEY (workflow_id, from_step, to_state));
INSERT INTO bench.transition
SELECT t.workflow_id, t.from_step, s.state, t.to_step, t.transition_id, t.transition, t.rule_version_id,
       t.required_role, t.human_only, t.reason_required, t.comment_required,
       '{($1).patient_id IS NOT NULL AND ($1).specialty IS NOT NULL,
         ($1).authorization_required IS NOT TRUE OR ($1).authorization_number IS NOT NULL}'
FROM referral.workflow_transition t
JOIN referral.workflow w ON w.workflow_id = t.workflow_id AND w.entity = 'ours'
JOIN referral.workflow_step s ON s.workflow_id = t.workflow_id AND s.step = t.to_step AND s.is_entry;

-- Two guards in PL/pgSQL: rules compiled into the function, or read from the table and run by EXECUTE.
DO $do$
DECLARE
    rules text;
    name text;
BEGIN
    FOREACH name IN ARRAY '{static,execute}'::text[] LOOP
        rules := CASE name
            WHEN 'static' THEN $$
        IF t.transition IN ('schedule', 'release') THEN
            IF (NEW.patient_id IS NOT NULL AND NEW.specialty IS NOT NULL) IS NOT TRUE THEN
                RAISE EXCEPTION 'transition % is blocked by its first guard', t.transition;
            END IF;
            IF (NEW.authorization_required IS NOT TRUE OR NEW.authorization_number IS NOT NULL) IS NOT TRUE THEN
                RAISE EXCEPTION 'transition % is blocked by its second guard', t.transition;
            END IF;
        END IF; $$
            ELSE $$
        FOREACH g IN ARRAY t.guards LOOP
            EXECUTE 'SELECT ' || g INTO ok USING NEW, OLD;
            IF ok IS NOT TRUE THEN
                RAISE EXCEPTION 'transition % is blocked by %', t.transition, g;
            END IF;
        END LOOP; $$ END;
        EXECUTE format($f$
CREATE FUNCTION bench.guard_%s() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    t bench.transition;
    g text;
    ok boolean;
BEGIN
    IF NEW.org_id <> OLD.org_id OR NEW.referral_id <> OLD.referral_id THEN
        RAISE EXCEPTION 'the identity of a row may not change';
    END IF;
    IF NEW.version <> OLD.version AND NEW.version <> OLD.version + 1 THEN
        RAISE EXCEPTION 'stale version';
    END IF;
    IF NEW.state <> OLD.state THEN
        SELECT * INTO t FROM bench.transition x
        WHERE x.workflow_id = OLD.workflow_id AND x.from_step = OLD.step AND x.to_state = NEW.state;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no transition from %% to state %%', OLD.step, NEW.state;
        END IF;
        IF t.required_role IS NOT NULL AND NOT pg_has_role(t.required_role, 'USAGE') THEN
            RAISE EXCEPTION 'transition %% needs role %%', t.transition, t.required_role;
        END IF;
        IF (t.reason_required AND NEW.status_reason IS NULL)
           OR (t.comment_required AND coalesce(current_setting('referral.reason', true), '') = '') THEN
            RAISE EXCEPTION 'transition %% needs a reason', t.transition;
        END IF;%s
        NEW.step := t.to_step;
        NEW.transition_id := t.transition_id;
        NEW.entered_at := now();
    ELSE
        NEW.step := OLD.step;
        NEW.transition_id := NULL;
        NEW.entered_at := OLD.entered_at;
    END IF;
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $body$ $f$, name, rules);
    END LOOP;
END $do$;

-- The journal in PL/pgSQL: what changed, column by column, generated; or by comparing the rows as jsonb.
DO $do$
DECLARE
    carried text[] := '{org_id,referral_id,version,step,state,entered_at,transition_id}';
    diff text;
    name text;
BEGIN
    FOREACH name IN ARRAY '{plpgsql_static,plpgsql_execute,plpgsql_jsonb}'::text[] LOOP
        IF name = 'plpgsql_jsonb' THEN
            diff := format($$
    SELECT jsonb_object_agg(n.key, jsonb_build_array(o.value, n.value)) INTO changes
    FROM jsonb_each(to_jsonb(NEW)) n JOIN jsonb_each(to_jsonb(OLD)) o USING (key)
    WHERE n.value IS DISTINCT FROM o.value AND n.key <> ALL (%L);$$, carried);
        ELSE
            SELECT string_agg(format($$
    IF NEW.%1$I IS DISTINCT FROM OLD.%1$I THEN
        changes := coalesce(changes, '{}') || jsonb_build_object(%1$L, jsonb_build_array(OLD.%1$I, NEW.%1$I));
    END IF;$$, attname), '' ORDER BY attnum) INTO diff
            FROM pg_attribute WHERE attrelid = 'bench.ours'::regclass AND attnum > 0 AND attname <> ALL (carried);
        END IF;
        EXECUTE format($f$
CREATE FUNCTION bench.journal_%1$s() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
    changes jsonb;
    actor text := coalesce(nullif(current_setting('referral.actor', true), ''), session_user);
    name text;
    ruled_by bigint;
BEGIN%2$s
    IF changes IS NULL AND NEW.version = OLD.version THEN
        RETURN NULL;
    END IF;
    IF NEW.transition_id IS NOT NULL THEN
        SELECT x.transition, x.rule_version INTO name, ruled_by
        FROM bench.transition x WHERE x.transition_id = NEW.transition_id;
    END IF;
    INSERT INTO bench.journal_%1$s (org_id, entity_id, version, rule_version, occurred_at, recorded_at, xid, xid_epoch,
        from_state, to_state, entity, action, transition, from_step, to_step, actor, actor_kind, db_user,
        application_name, reason, origin, correlation_id, changes)
    VALUES (NEW.org_id, NEW.referral_id, NEW.version, ruled_by, now(), clock_timestamp(), pg_current_xact_id(), 1,
        OLD.state, NEW.state, 'ours', 'update', name, OLD.step, NEW.step, actor, 'user', session_user,
        current_setting('application_name'), nullif(current_setting('referral.reason', true), ''),
        nullif(current_setting('referral.origin', true), ''),
        nullif(current_setting('referral.correlation_id', true), ''), changes);
    RETURN NULL;
END $body$ $f$, name, diff);
        EXECUTE format('CREATE TRIGGER guard BEFORE UPDATE ON bench.%I FOR EACH ROW EXECUTE FUNCTION bench.guard_%s()',
                       name, CASE name WHEN 'plpgsql_execute' THEN 'execute' ELSE 'static' END);
        EXECUTE format('CREATE TRIGGER journal AFTER UPDATE ON bench.%1$I'
                       ' FOR EACH ROW EXECUTE FUNCTION bench.journal_%1$s()', name);
    END LOOP;
END $do$;

-- ---------- A member of referral_coordinator, under row-level security ----------

CREATE ROLE bench_member LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'bench_member');
GRANT USAGE ON SCHEMA bench TO bench_member;
GRANT SELECT, UPDATE ON bench.ours TO bench_member;

-- ---------- Guards are really asked: a row without patient is refused by all ----------

DO $do$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{ours,plpgsql_static,plpgsql_execute,plpgsql_jsonb}'::text[] LOOP
        BEGIN
            EXECUTE format('UPDATE bench.%I SET state = ''scheduled'', patient_id = NULL WHERE referral_id = 1', name);
            RAISE EXCEPTION '% did not ask its guards', name;
        EXCEPTION WHEN raise_exception OR SQLSTATE 'RF002' THEN
            IF SQLERRM NOT LIKE '%is blocked%' THEN
                RAISE;
            END IF;
        END;
    END LOOP;
END $do$;
