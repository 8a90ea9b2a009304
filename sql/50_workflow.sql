-- workflow: states, steps, transitions, and the guard that enforces them

CREATE TYPE referral.state AS ENUM (
    'received', 'validated', 'pending_authorization', 'ready_to_schedule', 'scheduled', 'no_show',
    'appointment_cancelled', 'completed', 'closed_loop', 'on_hold', 'cancellation_requested',
    'declined', 'cancelled', 'expired', 'entered_in_error');
COMMENT ON TYPE referral.state IS
'Canonical state of a referral, the same for everybody, in lifecycle order. closed_loop, declined, cancelled, expired and entered_in_error are terminal. Workflows refine states into local steps. Sources: FHIR R4 Task, BSeR / IHE 360X, NHS e-RS.';

CREATE TYPE referral.urgency AS ENUM ('routine', 'urgent', 'asap', 'stat');
COMMENT ON TYPE referral.urgency IS 'FHIR R4 request-priority, in rising order.';

CREATE TYPE referral.intent AS ENUM ('proposal', 'plan', 'directive', 'order', 'original-order', 'reflex-order', 'filler-order',
    'instance-order', 'option');
COMMENT ON TYPE referral.intent IS 'FHIR R4 request-intent, the part that referrals use. Only orders count for CMS50.';

CREATE TYPE referral.party AS ENUM ('initiator', 'recipient');
COMMENT ON TYPE referral.party IS 'Side of a referral exchange: who asks, who is asked (BSeR, IHE 360X).';

CREATE FUNCTION referral.guard() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'guard';
COMMENT ON FUNCTION referral.guard() IS
'guard(entity, id_column): BEFORE INSERT OR UPDATE row trigger of a tracked table with a version column, on partitioned tables also BEFORE DELETE. Finds and checks the transition, sets step, state, entered_at, version and transition_id. Errors: RF001 no such transition, RF002 guard not satisfied, RF003 role or person, RF005 reason or comment, RF006 stale version, RF012 no rules, RF017 identity changed, and the code that a guard names. Must be the last BEFORE trigger, hence its name zz_guard.';
REVOKE ALL ON FUNCTION referral.guard() FROM PUBLIC;

CREATE FUNCTION referral.next_transitions(
    entity text, org_id bigint, id bigint,
    OUT transition text, OUT to_step text, OUT to_state referral.state,
    OUT allowed boolean, OUT blocked_by text[], OUT how_to_unblock text[])
RETURNS SETOF record
LANGUAGE C STABLE STRICT ROWS 10 AS 'MODULE_PATHNAME', 'next_transitions';
COMMENT ON FUNCTION referral.next_transitions(text, bigint, bigint) IS
'Every transition from the row''s present step, in priority order: whether an UPDATE by this session would be allowed now, what blocks it and what would unblock it. Asks the guard''s own code and changes nothing. A reason counts as given when referral.reason is set. RF019 when the row does not exist or is not visible. Null arguments: no rows. After NHS e-RS A029 (available actions).';

CREATE FUNCTION referral.step_before(workflow_id bigint, org_id bigint, id bigint, step text) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT j.from_step FROM referral.journal j
    WHERE j.org_id = step_before.org_id AND j.entity_id = step_before.id AND j.to_step = step_before.step
      AND j.entity = (SELECT w.entity FROM referral.workflow w WHERE w.workflow_id = step_before.workflow_id)
    ORDER BY j.journal_id DESC LIMIT 1
$$;
COMMENT ON FUNCTION referral.step_before(bigint, bigint, bigint, text) IS
'The step a row was at before it last entered the given step; null when it never did. workflow_id is the row''s own and tells the entity, so that a guard copied for another entity asks about that one. Lets a guard resume a suspended referral where it was (FHIR Task: a suspended task resumes in the state it had). Null for null.';

CREATE FUNCTION referral.migrate_workflow(
    entity text, org_id bigint, id bigint, to_workflow bigint, reason text, step_map jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    n bigint;
    former_reason text := current_setting('referral.reason', true);
BEGIN
    SELECT * INTO e FROM referral.entity x WHERE x.entity = migrate_workflow.entity;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM referral.workflow w
                                WHERE w.workflow_id = to_workflow AND w.entity = migrate_workflow.entity) THEN
        RAISE EXCEPTION 'there is no workflow % of entity "%"', to_workflow, entity
            USING ERRCODE = 'RF019', DETAIL = 'referral.workflow has no such row.',
                  HINT = 'SELECT workflow_id, name FROM referral.workflow WHERE entity = ….';
    END IF;
    PERFORM set_config('referral.reason', reason, true);
    EXECUTE format('UPDATE %s SET workflow_id = $1, step = coalesce($2 ->> step, step)'
                   ' WHERE org_id = $3 AND %I = $4', e.relation, e.id_column)
    USING to_workflow, step_map, migrate_workflow.org_id, migrate_workflow.id;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM set_config('referral.reason', coalesce(former_reason, ''), true);
    IF n = 0 THEN
        RAISE EXCEPTION 'there is no row % of entity "%" in organisation %', id, entity, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.',
                  HINT = 'See referral.entity for the entities.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.migrate_workflow(text, bigint, bigint, bigint, text, jsonb) IS
'Moves a row in flight to another workflow version of its entity: step_map gives new names for steps, {"old step": "new step"}; the canonical state stays. to_workflow must be, or have been, active. For referral_admin (RF003); the journal records transition migrate_workflow with the reason. RF001 when the workflow does not have the step with the same state. Null arguments: nothing happens.';

CREATE FUNCTION referral.workflow_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    new_row jsonb := to_jsonb(NEW);
    target regclass := (SELECT e.relation FROM referral.entity e
                        WHERE e.entity = CASE
                            WHEN new_row ? 'entity' THEN new_row ->> 'entity'
                            WHEN new_row ? 'workflow_id' THEN (SELECT w.entity FROM referral.workflow w
                                                               WHERE w.workflow_id = (new_row ->> 'workflow_id')::bigint)
                            ELSE 'referral' END);
BEGIN
    IF target IS NOT NULL THEN
        FOR i IN 0 .. TG_NARGS - 1 LOOP
            PERFORM referral.check_rule(target, new_row ->> TG_ARGV[i]);
        END LOOP;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.workflow_check() IS
'workflow_check(column, …): BEFORE row trigger of rule tables whose rows are about an entity or a workflow, otherwise about referrals; refuses a predicate in one of those columns that does not compile over the entity''s table (RF011).';

CREATE FUNCTION referral.entity_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = NEW.relation), 'USAGE') IS NOT TRUE
       OR (TG_OP = 'UPDATE' AND pg_has_role(current_user,
               (SELECT c.relowner FROM pg_class c WHERE c.oid = OLD.relation), 'USAGE') IS FALSE) THEN
        RAISE EXCEPTION 'only the owner of table % may register it as an entity', NEW.relation
            USING ERRCODE = 'RF003', DETAIL = 'Who registers a table decides what the journal says of it.',
                  HINT = 'Call referral.attach() as the owner of the table.';
    END IF;
    IF TG_OP = 'UPDATE' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = OLD.relation)
       AND NOT pg_has_role(current_user,
           (SELECT c.relowner FROM pg_class c WHERE c.oid = 'referral.entity'::regclass), 'USAGE') THEN
        RAISE EXCEPTION 'the table of entity "%" was dropped; only the owner of the model may give the name away', OLD.entity
            USING ERRCODE = 'RF003', DETAIL = 'The journal keeps that table''s past under the name.',
                  HINT = 'Give attach() another entity name.';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.relation <> OLD.relation AND OLD.detached_at IS NULL
       AND EXISTS (SELECT FROM pg_class c WHERE c.oid = OLD.relation) THEN
        RAISE EXCEPTION 'entity "%" is table %', OLD.entity, OLD.relation
            USING ERRCODE = 'RF017', DETAIL = 'Two tables under one name would be one in the journal.',
                  HINT = 'Give attach() another entity name, or detach the other table first.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.entity_guard() IS 'BEFORE row trigger of referral.entity: a table is registered by its owner (RF003), and a name stays with its table (RF017).';

CREATE FUNCTION referral.check_attachable(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind IN ('r', 'p') AND NOT c.relispartition) THEN
        RAISE EXCEPTION '% is not a table that can be attached', relation
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Views, foreign tables and single partitions cannot be guarded.',
                  HINT = 'Attach the table itself; of a partitioned table, the parent.';
    END IF;
    IF EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = relation
               WHERE c.relkind = 'r' AND relation IN (i.inhparent, i.inhrelid)) THEN
        RAISE EXCEPTION '% inherits or is inherited from', relation
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Triggers and policies do not reach inheritance children, so their rows would go unguarded.',
                  HINT = 'Use a partitioned table, or end the inheritance first.';
    END IF;
    SELECT string_agg(format('%I is %s, not %s', a.attname, format_type(a.atttypid, a.atttypmod), want.type), ', ')
    INTO bad
    FROM (VALUES ('org_id', 'bigint'::regtype), ('workflow_id', 'bigint'), ('step', 'text'),
                 ('state', 'referral.state'), ('status_reason', 'text'), ('entered_at', 'timestamptz'),
                 ('version', 'bigint'), ('transition_id', 'bigint')) want (name, type)
    JOIN pg_attribute a ON a.attrelid = relation AND a.attname = want.name AND NOT a.attisdropped
    WHERE a.atttypid <> want.type;
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'table % has columns of its own under the engine''s names', relation
            USING ERRCODE = 'RF012', DETAIL = 'Column ' || bad || '.',
                  HINT = 'Rename them first: ALTER TABLE … RENAME COLUMN ….';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_attachable(regclass) IS
'Refuses a relation that attach() cannot guard: not a table, or with columns of other types under the names the engine needs (RF012). Changes nothing. Null for null.';

CREATE FUNCTION referral.check_identifies(relation regclass, id_column name) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = id_column AND a.attnotnull AND a.attgenerated = ''
                   AND a.atttypid IN ('bigint'::regtype, 'integer'::regtype, 'smallint'::regtype))
       -- a partitioned table's unique keys hold the partition key as well: its owner answers for uniqueness
       OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relkind = 'p'
                      UNION ALL
                      SELECT FROM pg_index i WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid
                        AND i.indpred IS NULL AND i.indexprs IS NULL
                        AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) k
                                        JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = k
                                        WHERE a.attname NOT IN ('org_id', id_column))) THEN
        RAISE EXCEPTION 'column % of table % does not identify its rows', id_column, relation
            USING ERRCODE = 'RF017', DETAIL = 'It must be an integer, NOT NULL, not generated, and unique alone or together with org_id.',
                  HINT = 'Name another column, or leave id_column out: attach() then adds tracking_id.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_identifies(regclass, name) IS
'Refuses (RF017) an id column that is not an integer, NOT NULL and unique within an organisation. Null for null.';

CREATE FUNCTION referral.attach(
    relation regclass, workflow text DEFAULT NULL, entity text DEFAULT NULL, id_column name DEFAULT NULL,
    step text DEFAULT NULL, row_security boolean DEFAULT true)
RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    entity_name text := coalesce(attach.entity, (SELECT c.relname FROM pg_class c WHERE c.oid = attach.relation));
    id_name name := coalesce(attach.id_column,
        (SELECT e.id_column FROM referral.entity e WHERE e.relation = attach.relation));
    target bigint;
    guard_state "char";
    first_step text;
    first_state referral.state;
BEGIN
    IF attach.relation IS NULL OR NOT pg_has_role(current_user,
        (SELECT c.relowner FROM pg_class c WHERE c.oid = attach.relation), 'USAGE') THEN
        RAISE EXCEPTION 'only the owner of a table may attach it'
            USING ERRCODE = 'RF003', DETAIL = 'attach() adds columns and triggers.', HINT = 'Call it as the owner.';
    END IF;
    PERFORM referral.check_attachable(attach.relation);
    IF workflow IS NOT NULL AND NOT EXISTS (
        SELECT FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id)
        WHERE w.name = attach.workflow AND v.status = 'active') THEN
        RAISE EXCEPTION 'there is no active workflow "%"', workflow
            USING ERRCODE = 'RF012',
                  DETAIL = 'Active are: ' || coalesce((SELECT string_agg(DISTINCT w.name, ', ')
                      FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id)
                      WHERE v.status = 'active'), 'none') || '.',
                  HINT = 'Attach without a workflow, then write one for the entity and activate it.';
    END IF;

    -- the columns the engine needs
    EXECUTE format('ALTER TABLE %s'
        ' ADD COLUMN IF NOT EXISTS org_id bigint NOT NULL DEFAULT referral.current_org(),'
        ' ADD COLUMN IF NOT EXISTS workflow_id bigint,'
        ' ADD COLUMN IF NOT EXISTS step text,'
        ' ADD COLUMN IF NOT EXISTS state referral.state,'
        ' ADD COLUMN IF NOT EXISTS status_reason text,'
        ' ADD COLUMN IF NOT EXISTS entered_at timestamptz,'
        ' ADD COLUMN IF NOT EXISTS version bigint,'
        ' ADD COLUMN IF NOT EXISTS transition_id bigint', relation);
    EXECUTE format('ALTER TABLE %s ALTER COLUMN org_id SET NOT NULL', relation);
    IF id_name IS NULL THEN
        SELECT CASE WHEN count(*) = 1 THEN min(a.attname::text) END INTO id_name
        FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = attach.relation AND i.indisprimary AND a.attname <> 'org_id'
          AND a.atttypid IN ('bigint'::regtype, 'integer'::regtype, 'smallint'::regtype)
          AND (SELECT count(*) FROM unnest(i.indkey::int2[]) k
               JOIN pg_attribute b ON b.attrelid = i.indrelid AND b.attnum = k
               WHERE b.attname <> 'org_id') = 1;
    END IF;
    IF id_name IS NULL AND EXISTS (SELECT FROM pg_class c WHERE c.oid = attach.relation AND c.relkind = 'p') THEN
        RAISE EXCEPTION 'partitioned table % needs an integer column that identifies its rows', relation
            USING ERRCODE = 'RF017', DETAIL = 'Its primary key is not one integer beside org_id.',
                  HINT = 'Name the column: referral.attach(…, id_column => ''…'').';
    ELSIF id_name IS NULL THEN
        id_name := 'tracking_id';
        EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS tracking_id bigint GENERATED BY DEFAULT AS IDENTITY,'
                       ' ADD UNIQUE (org_id, tracking_id)', relation);
    END IF;

    PERFORM referral.check_identifies(attach.relation, id_name);

    -- registered before its workflow, whose rules are checked against the table
    INSERT INTO referral.entity (entity, relation, id_column)
    VALUES (entity_name, attach.relation, id_name)
    ON CONFLICT ON CONSTRAINT entity_pkey DO UPDATE SET relation = excluded.relation, id_column = excluded.id_column;

    -- a workflow of another entity serves this one as a copy, checked against its columns
    IF workflow IS NOT NULL AND NOT EXISTS (
        SELECT FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id)
        WHERE w.entity = entity_name AND w.name = attach.workflow AND v.status = 'active') THEN
        PERFORM referral.adopt_workflow(attach.workflow, entity_name);
    END IF;

    SELECT w.workflow_id INTO target
    FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id)
    WHERE w.entity = entity_name AND v.status = 'active' AND w.name = coalesce(attach.workflow, w.name)
    ORDER BY w.priority, w.workflow_id LIMIT 1;
    IF target IS NOT NULL THEN
        SELECT s.step, s.state INTO first_step, first_state FROM referral.workflow_step s
        WHERE s.workflow_id = target AND (s.step = attach.step OR (attach.step IS NULL AND s.is_initial))
        ORDER BY s.sort LIMIT 1;
    END IF;
    IF attach.step IS NOT NULL AND first_step IS NULL THEN
        RAISE EXCEPTION 'the workflow has no step "%"', attach.step
            USING ERRCODE = 'RF001', DETAIL = 'Existing rows were to stand there.',
                  HINT = 'Leave step out: existing rows then stand at the initial step.';
    END IF;
    -- rows that are there already enter the workflow; the journal says so, the guard would not allow it
    PERFORM referral.track_table(attach.relation, entity_name, id_name, false);
    guard_state := (SELECT t.tgenabled FROM pg_trigger t
                    WHERE t.tgrelid = attach.relation AND t.tgname = 'zz_guard');
    IF guard_state <> 'D' THEN
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER zz_guard', relation);
    END IF;
    IF first_step IS NOT NULL THEN
        EXECUTE format('UPDATE %s SET workflow_id = $1, step = $2, state = $3, entered_at = now(),'
                       ' version = coalesce(version, 0) + 1 WHERE step IS NULL', relation)
        USING target, first_step, first_state;
    ELSE
        EXECUTE format('UPDATE %s SET version = 1 WHERE version IS NULL', relation);
    END IF;
    IF guard_state <> 'D' THEN
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER zz_guard', relation,
                       CASE guard_state WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END);
    END IF;

    PERFORM referral.track_table(attach.relation, entity_name, id_name);
    IF row_security THEN
        PERFORM referral.secure_table(attach.relation);
    END IF;
    RETURN entity_name;
END $$;
COMMENT ON FUNCTION referral.attach(regclass, text, text, name, text, boolean) IS
'Puts guard, journal and row-level security on a table of one''s own, in one call, and returns the entity''s name. Adds the columns that are missing (org_id, workflow_id, step, state, status_reason, entered_at, version, transition_id; tracking_id when the primary key is not one integer). workflow: an active workflow, copied for this entity when it belongs to another; without one, writes are refused (RF012) until a workflow for the entity is active. entity: default the table''s name. step: where existing rows stand, default the initial step. For the table''s owner who is a member of referral_admin. Idempotent. Refuses what is not a table, columns of other types under the engine''s names and triggers under its triggers'' names (RF012), an id column that does not identify rows or a name that another table has (RF017), an unknown step (RF001).';

-- Also called by the model files, for the canonical tables.
CREATE FUNCTION referral.track_table(relation regclass, entity text, id_column name, guarded boolean DEFAULT true)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
BEGIN
    INSERT INTO referral.entity (entity, relation, id_column)
    VALUES (track_table.entity, track_table.relation, track_table.id_column)
    ON CONFLICT ON CONSTRAINT entity_pkey DO UPDATE
        SET relation = excluded.relation, id_column = excluded.id_column, detached_at = NULL
    WHERE (entity.relation, entity.id_column, entity.detached_at)
          IS DISTINCT FROM (excluded.relation, excluded.id_column, NULL);
    IF guarded AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = track_table.relation
               AND a.attname = 'version' AND a.atttypid = 'bigint'::regtype AND NOT a.attisdropped) THEN
        -- on a partitioned table an UPDATE may come back as DELETE and INSERT
        PERFORM referral.lay_trigger(relation, 'zz_guard',
            (SELECT CASE c.relkind WHEN 'p' THEN 'BEFORE INSERT OR UPDATE OR DELETE' ELSE 'BEFORE INSERT OR UPDATE' END
             FROM pg_class c WHERE c.oid = track_table.relation),
            'ROW', format('referral.guard(%L, %L)', entity, id_column));
    END IF;
    PERFORM referral.lay_trigger(relation, 'journal', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW',
                                 format('referral.journal(%L, %L)', entity, id_column));
    -- what has steps can have clocks; the name sorts after journal's
    IF guarded AND (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = track_table.relation AND NOT a.attisdropped
          AND ((a.attname = 'org_id' AND a.atttypid = 'bigint'::regtype) OR (a.attname = 'state' AND a.atttypid = 'referral.state'::regtype))) = 2 THEN
        PERFORM referral.lay_trigger(relation, 'sla_clock', 'AFTER INSERT OR UPDATE OR DELETE',
                                     format('ROW WHEN (referral.has_clocks(%L))', entity),
                                     format('referral.sla_clock(%L, %L)', entity, id_column));
    END IF;
    -- partitions do not inherit statement triggers
    FOR part IN SELECT p.relid FROM pg_partition_tree(track_table.relation) p
                UNION SELECT track_table.relation LOOP
        PERFORM referral.lay_trigger(part, 'no_truncate', 'BEFORE TRUNCATE', 'STATEMENT', 'referral.append_only()', 'A');
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.track_table(regclass, text, name, boolean) IS
'Registers a table as an entity and puts guard and journal on it; TRUNCATE, which would leave no trace, is refused. The guard of a table without workflow columns only keeps version and identity. Idempotent; for the table''s owner.';

CREATE FUNCTION referral.adopt_workflow(workflow text, entity text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    source bigint;
    set_id bigint;
    draft bigint;
    copy bigint;
BEGIN
    -- only rules that were approved already, and only where there are none yet
    IF NOT EXISTS (SELECT FROM referral.entity e JOIN pg_class c ON c.oid = e.relation
                   WHERE e.entity = adopt_workflow.entity AND pg_has_role(referral.acting_login(), c.relowner, 'MEMBER'))
       OR EXISTS (SELECT FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id)
                  WHERE w.entity = adopt_workflow.entity AND v.status = 'active')
       OR EXISTS (SELECT FROM referral.rule_set s JOIN referral.rule_version v USING (rule_set_id)
                  WHERE s.name = format('workflow/%s/%s', adopt_workflow.entity, adopt_workflow.workflow)
                    AND v.status = 'active') THEN
        RAISE EXCEPTION 'entity "%" cannot adopt a workflow', entity
            USING ERRCODE = 'RF003', DETAIL = 'It must be a table of one''s own that has no active workflow yet.',
                  HINT = 'Write a version of its workflow instead: referral.copy_rule_version().';
    END IF;
    SELECT w.workflow_id INTO source
    FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id)
    WHERE w.name = adopt_workflow.workflow AND v.status = 'active'
    ORDER BY w.workflow_id LIMIT 1;
    IF source IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO referral.rule_set (name, kind)
    VALUES (format('workflow/%s/%s', entity, workflow), 'workflow')
    ON CONFLICT (name) DO NOTHING;
    SELECT s.rule_set_id INTO set_id FROM referral.rule_set s WHERE s.name = format('workflow/%s/%s', entity, workflow);
    INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
    VALUES (set_id, true, format('Copy of workflow %s for entity %s, by attach()', source, entity))
    RETURNING rule_version_id INTO draft;
    INSERT INTO referral.workflow (rule_version_id, entity, name, title, priority)
    SELECT draft, adopt_workflow.entity, w.name, w.title, w.priority
    FROM referral.workflow w WHERE w.workflow_id = source
    RETURNING workflow_id INTO copy;
    PERFORM referral.copy_workflow_rules(source, copy);
    UPDATE referral.rule_version v SET status = 'active' WHERE v.rule_version_id = draft;
    RETURN copy;
END $$;
COMMENT ON FUNCTION referral.adopt_workflow(text, text) IS
'Copies an active workflow, approved as it stands, for an entity of one''s own that has none, and activates the copy (steps, transitions and guards; not applies_when and scopes, which speak of the other table); returns its workflow_id, null when there is no such workflow. RF011 when a guard names a column that the entity''s table lacks, RF003 when the entity has a workflow already. Called by attach().';

CREATE FUNCTION referral.detach(relation regclass) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
DECLARE
    ours record;
BEGIN
    IF NOT pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = detach.relation), 'USAGE') THEN
        RAISE EXCEPTION 'only the owner of a table may detach it'
            USING ERRCODE = 'RF003', DETAIL = 'detach() removes triggers.', HINT = 'Call it as the owner.';
    END IF;
    IF NOT EXISTS (SELECT FROM referral.entity e WHERE e.relation = detach.relation) THEN
        RAISE EXCEPTION 'table % is not attached', relation
            USING ERRCODE = 'RF019', DETAIL = 'referral.entity does not name it.',
                  HINT = 'Of a partitioned table, detach the parent.';
    END IF;
    FOR ours IN SELECT t.tgrelid::regclass AS relation, t.tgname
                FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                WHERE (t.tgrelid = detach.relation
                       OR t.tgrelid IN (SELECT x.relid FROM pg_partition_tree(detach.relation) x))
                  AND t.tgparentid = 0 AND t.tgname IN ('zz_guard', 'journal', 'sla_clock', 'no_truncate')
                  AND p.pronamespace = 'referral'::regnamespace LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', ours.tgname, ours.relation);
    END LOOP;
    EXECUTE format('DROP POLICY IF EXISTS organisation ON %s', relation);
    IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = detach.relation) THEN
        EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', relation);
    END IF;
    PERFORM referral.end_clocks(e.entity) FROM referral.entity e WHERE e.relation = detach.relation;
    UPDATE referral.entity e SET detached_at = now() WHERE e.relation = detach.relation;
END $$;
COMMENT ON FUNCTION referral.detach(regclass) IS
'Takes guard, journal, clocks and the organisation policy off a table; its columns, its rows and its past in the journal stay, open clocks are nullified. attach() puts them back. For the table''s owner. Null: nothing happens.';
REVOKE ALL ON FUNCTION referral.attach(regclass, text, text, name, text, boolean), referral.detach(regclass),
    referral.track_table(regclass, text, name, boolean), referral.adopt_workflow(text, text),
    referral.workflow_check(), referral.entity_guard(),
    referral.migrate_workflow(text, bigint, bigint, bigint, text, jsonb) FROM PUBLIC;

CREATE FUNCTION referral.check_workflow_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text := (SELECT string_agg(w.name, ', ') FROM referral.workflow w
                 WHERE w.rule_version_id = check_workflow_version.rule_version_id
                   AND NOT EXISTS (SELECT FROM referral.workflow_step s
                                   WHERE s.workflow_id = w.workflow_id AND s.is_initial));
BEGIN
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'workflow "%" has no initial step', bad
            USING ERRCODE = 'RF011', DETAIL = 'No row could ever enter it.',
                  HINT = 'Mark the step where new rows start with is_initial.';
    END IF;
    SELECT string_agg(DISTINCT t.required_role, ', ') INTO bad
    FROM referral.workflow_transition t
    WHERE t.rule_version_id = check_workflow_version.rule_version_id AND t.required_role IS NOT NULL
      AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = t.required_role);
    IF bad IS NOT NULL THEN
        RAISE WARNING 'required role "%" does not exist', bad
            USING DETAIL = 'Nobody could take the transitions that require it.',
                  HINT = 'Correct required_role, or create the role first.';
    END IF;
    SELECT string_agg(DISTINCT t.reason_domain, ', ') INTO bad
    FROM referral.workflow_transition t
    WHERE t.rule_version_id = check_workflow_version.rule_version_id AND t.reason_domain IS NOT NULL AND t.reason_required
      AND NOT EXISTS (SELECT FROM referral.reason_code r JOIN referral.rule_version v USING (rule_version_id)
                      WHERE r.domain = t.reason_domain AND r.active
                        AND (v.status = 'active' OR v.rule_version_id = check_workflow_version.rule_version_id));
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'reason domain "%" has no active code', bad
            USING ERRCODE = 'RF011', DETAIL = 'Nobody could give the reason that is required.',
                  HINT = 'Insert codes into referral.reason_code, in this version or in an active one.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_workflow_version(bigint) IS
'The part of check_rule_version() about workflows: each has an initial step, and reasons that are required have codes (RF011). Warns of a required role that does not exist. Null for null.';
