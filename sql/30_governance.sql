-- governance: rule versions, from draft to active, and what may change when

CREATE TYPE referral.rule_status AS ENUM ('draft', 'submitted', 'approved', 'active', 'retired');
COMMENT ON TYPE referral.rule_status IS
'Life of a rule version: draft (may be edited), submitted, approved (by another than its authors), active (in force, immutable), retired.';

CREATE FUNCTION referral.rule_checksum(rule_version_id bigint) RETURNS bytea
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
-- what values look like as text
SET extra_float_digits = 1 SET intervalstyle = 'postgres' SET timezone = 'UTC' SET bytea_output = 'hex' AS $$
DECLARE
    t record;
    part text;
    whole text := '';
BEGIN
    FOR t IN SELECT g.tgrelid::regclass AS relation
             FROM pg_trigger g
             WHERE g.tgfoid = 'referral.rule_row_guard()'::regprocedure AND g.tgparentid = 0
             ORDER BY g.tgrelid::regclass::text COLLATE "C" LOOP
        -- columns that are null do not count, so that a column added later does not change what was approved
        EXECUTE format('SELECT string_agg(row, E''\n'' ORDER BY row COLLATE "C") FROM'
                       ' (SELECT jsonb_strip_nulls(to_jsonb(r.*))::text AS row FROM %s r WHERE r.rule_version_id = $1) x',
                       t.relation)
           INTO part USING rule_version_id;
        -- nor do tables without rules of it, so that a table added later does not either
        whole := whole || coalesce(t.relation::text || E'\n' || part || E'\n', '');
    END LOOP;
    RETURN sha256(convert_to(whole, 'UTF8'));
END $$;
COMMENT ON FUNCTION referral.rule_checksum(bigint) IS
'SHA-256 over all rule rows of a version, in every rule table (those with trigger rule_row). Taken at submission, compared at approval and activation. Null for null.';

CREATE FUNCTION referral.rules_key(rule_table text) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key bigint;
BEGIN
    EXECUTE format('SELECT hashtextextended(coalesce(string_agg(v.rule_version_id || '' '' || hash_multirange_extended(v.valid_during, 0),'
                   ' '','' ORDER BY v.rule_version_id), ''''), 0)'
                   ' FROM referral.rule_version v WHERE NOT isempty(v.valid_during)'
                   ' AND EXISTS (SELECT FROM referral.%I r WHERE r.rule_version_id = v.rule_version_id)', rule_table) INTO key;
    RETURN key;
END $$;
COMMENT ON FUNCTION referral.rules_key(text) IS
'Tells when rules of a rule table have come into force or gone: another number after each time, also when the same rules are in force again. Null for null; 42P01 when there is no such table.';

CREATE FUNCTION referral.rules_to_follow(rule_table text, again_after interval) RETURNS TABLE (org_id bigint, entity text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT o.org_id, e.entity FROM referral.organization o'
        ' CROSS JOIN (SELECT DISTINCT r.entity FROM referral.%I r JOIN referral.rule_version v USING (rule_version_id)'
        '             JOIN referral.entity x USING (entity)'
        '             WHERE v.status IN (''active'', ''retired'') AND has_table_privilege(x.relation, ''SELECT'')) e'
        ' LEFT JOIN referral.rule_progress p ON p.rule_table = $1 AND p.org_id = o.org_id AND p.entity = e.entity'
        ' WHERE p.org_id IS NULL OR p.after_id IS NOT NULL OR p.rules_key <> $2 OR p.finished_at < now() - $3'
        ' ORDER BY o.org_id, e.entity', rule_table)
        USING rule_table, referral.rules_key(rule_table), again_after;
END $$;
COMMENT ON FUNCTION referral.rules_to_follow(text, interval) IS
'Organisations and entities whose rows have to be gone through because other rules of a rule table have come into force, or gone, since that was done last, or because it was longer ago than again_after (null: that does not matter).';

CREATE FUNCTION referral.follow_rules(rule_table text, org_id bigint, entity text, again_after interval) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at bigint;
BEGIN
    INSERT INTO referral.rule_progress AS p (org_id, rule_table, entity, rules_key, after_id)
    VALUES (follow_rules.org_id, follow_rules.rule_table, follow_rules.entity, referral.rules_key(follow_rules.rule_table), -9223372036854775807)
    ON CONFLICT ON CONSTRAINT rule_progress_pkey DO UPDATE SET rules_key = excluded.rules_key, after_id = excluded.after_id
    WHERE p.rules_key <> excluded.rules_key OR p.finished_at < now() - follow_rules.again_after;
    SELECT p.after_id INTO at FROM referral.rule_progress p
    WHERE p.org_id = follow_rules.org_id AND p.rule_table = follow_rules.rule_table AND p.entity = follow_rules.entity FOR UPDATE SKIP LOCKED;
    RETURN at;
END $$;
COMMENT ON FUNCTION referral.follow_rules(text, bigint, text, interval) IS
'Begins a batch of going through the rows of an entity in an organisation: the number after which to go on, held until the end of the transaction. Null when all rows are done, or somebody else is at it. again_after as for rules_to_follow().';

CREATE FUNCTION referral.rules_followed(rule_table text, org_id bigint, entity text, after_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE referral.rule_progress p
    SET after_id = rules_followed.after_id, finished_at = CASE WHEN rules_followed.after_id IS NULL THEN now() END
    WHERE p.org_id = rules_followed.org_id AND p.rule_table = rules_followed.rule_table AND p.entity = rules_followed.entity;
END $$;
COMMENT ON FUNCTION referral.rules_followed(text, bigint, text, bigint) IS
'Ends the batch that follow_rules() has begun: the rows up to after_id are done; null: all are.';

CREATE FUNCTION referral.check_rule_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    PERFORM referral.check_workflow_version(rule_version_id);
    PERFORM referral.check_calendar_version(rule_version_id);
    PERFORM referral.check_sla_version(rule_version_id);
    PERFORM referral.check_matching_version(rule_version_id);
    PERFORM referral.check_source_mapping_version(rule_version_id);
    PERFORM referral.check_source_of_record_version(rule_version_id);
    PERFORM referral.check_validation_version(rule_version_id);
    PERFORM referral.check_exception_version(rule_version_id);
    PERFORM referral.check_worklist_version(rule_version_id);
    PERFORM referral.check_routing_version(rule_version_id);
    PERFORM referral.check_approval_version(rule_version_id);
    SELECT string_agg(b.rule || ': ' || b.error, '; ') INTO bad
    FROM referral.broken_rules() b WHERE b.rule_version_id = check_rule_version.rule_version_id;
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'not every rule of version % compiles', check_rule_version.rule_version_id
            USING ERRCODE = 'RF011', DETAIL = bad, HINT = 'Correct the rules; see referral.broken_rules().';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_rule_version(bigint) IS
'Refuses (RF011) a version whose rules are each well-formed but cannot work: a workflow without an initial step, a required reason without codes, an expression that does not compile any more. Each concept with rules has a part of its own, check_<concept>_version(). Warns of a required role that does not exist. Called at submission. Null for null.';

CREATE FUNCTION referral.rule_version_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text := referral.current_actor();
    is_owner boolean := pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'referral.rule_version'::regclass), 'USAGE');
    changed_at timestamptz := clock_timestamp();
    retired_at timestamptz;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.status <> 'draft' OR OLD.submitted_at IS NOT NULL THEN
            RAISE EXCEPTION 'rule version % is %, only a draft that was never submitted can be deleted', OLD.rule_version_id, OLD.status
                USING ERRCODE = 'RF016', DETAIL = 'What was ever submitted stays on record.',
                      HINT = CASE OLD.status WHEN 'active' THEN 'Retire the version instead.' ELSE 'Leave it as it is.' END;
        END IF;
        RETURN OLD;
    END IF;

    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'draft' OR (NEW.is_seed AND NOT is_owner) THEN
            RAISE EXCEPTION 'a rule version starts as a draft'
                USING ERRCODE = 'RF016', DETAIL = 'Status and is_seed of a new version cannot be chosen.',
                      HINT = 'Insert it without status; then submit, approve and activate it.';
        END IF;
        PERFORM pg_advisory_xact_lock('referral.rule_set'::regclass::oid::int, hashint8(NEW.rule_set_id));
        NEW.version_number := coalesce((SELECT max(v.version_number) FROM referral.rule_version v
                                 WHERE v.rule_set_id = NEW.rule_set_id), 0) + 1;
        NEW.author := actor;
        NEW.editors := '{}';
        NEW.approver := NULL; NEW.submitted_at := NULL; NEW.approved_at := NULL;
        NEW.valid_during := '{}'; NEW.checksum := NULL;
        NEW.created_at := changed_at;
        RETURN NEW;
    END IF;

    IF (NEW.rule_version_id, NEW.rule_set_id, NEW.version_number, NEW.author, NEW.is_seed, NEW.created_at)
       IS DISTINCT FROM
       (OLD.rule_version_id, OLD.rule_set_id, OLD.version_number, OLD.author, OLD.is_seed, OLD.created_at)
       OR (NEW.approver, NEW.submitted_at, NEW.approved_at, NEW.valid_during, NEW.checksum)
          IS DISTINCT FROM (OLD.approver, OLD.submitted_at, OLD.approved_at, OLD.valid_during, OLD.checksum)
       OR (NEW.note IS DISTINCT FROM OLD.note AND OLD.status <> 'draft')
       OR (NEW.editors IS DISTINCT FROM OLD.editors
           AND (OLD.status <> 'draft' OR NEW.editors IS DISTINCT FROM OLD.editors || actor)) THEN
        RAISE EXCEPTION 'rule version % cannot be changed', OLD.rule_version_id
            USING ERRCODE = 'RF016',
                  DETAIL = 'Author, approver, times, checksum and validity are kept by the database; the note can change only in a draft.',
                  HINT = 'Change status, or write a new version with referral.copy_rule_version().';
    END IF;
    IF NEW.status = OLD.status THEN
        RETURN NEW;
    END IF;

    PERFORM pg_advisory_xact_lock('referral.rule_set'::regclass::oid::int, hashint8(OLD.rule_set_id));
    CASE
        WHEN (OLD.status, NEW.status) = ('draft', 'submitted') THEN
            IF NOT (is_owner OR pg_has_role(current_user, 'referral_rule_author', 'USAGE')) THEN
                RAISE EXCEPTION 'only referral_rule_author may submit a rule version'
                    USING ERRCODE = 'RF003', DETAIL = format('The session acts as %I.', current_user),
                          HINT = 'Ask a member of referral_rule_author.';
            END IF;
            PERFORM referral.check_rule_version(OLD.rule_version_id);
            NEW.submitted_at := changed_at;
            NEW.checksum := referral.rule_checksum(OLD.rule_version_id);
        WHEN (OLD.status, NEW.status) IN (('submitted', 'draft'), ('approved', 'draft')) THEN
            NEW.approved_at := NULL; NEW.approver := NULL; NEW.checksum := NULL;
        WHEN (OLD.status, NEW.status) = ('submitted', 'approved') THEN
            IF NOT pg_has_role(current_user, 'referral_rule_approver', 'USAGE') THEN
                RAISE EXCEPTION 'only referral_rule_approver may approve a rule version'
                    USING ERRCODE = 'RF003', DETAIL = format('The session acts as %I.', current_user),
                          HINT = 'Ask a member of referral_rule_approver.';
            END IF;
            IF actor = OLD.author OR actor = ANY (OLD.editors) THEN
                RAISE EXCEPTION 'rule version % cannot be approved by who wrote or edited it', OLD.rule_version_id
                    USING ERRCODE = 'RF013', DETAIL = format('Author: %s. Editors: %s. Acting: %s.', OLD.author, coalesce(nullif(array_to_string(OLD.editors, ', '), ''), 'none'), actor),
                          HINT = 'Ask another member of referral_rule_approver.';
            END IF;
            NEW.approver := actor;
            NEW.approved_at := changed_at;
        WHEN (OLD.status, NEW.status) IN (('approved', 'active'), ('retired', 'active'))
             OR ((OLD.status, NEW.status) = ('draft', 'active') AND OLD.is_seed AND is_owner) THEN
            IF NOT (is_owner OR pg_has_role(current_user, 'referral_rule_approver', 'USAGE')) THEN
                RAISE EXCEPTION 'only referral_rule_approver may activate a rule version'
                    USING ERRCODE = 'RF003', DETAIL = format('The session acts as %I.', current_user),
                          HINT = 'Ask a member of referral_rule_approver.';
            END IF;
            IF OLD.is_seed AND OLD.status = 'draft' THEN
                PERFORM referral.check_rule_version(OLD.rule_version_id);
            END IF;
            -- the former version's last instant is the new one's first
            UPDATE referral.rule_version v SET status = 'retired'
            WHERE v.rule_set_id = OLD.rule_set_id AND v.status = 'active'
            RETURNING upper(v.valid_during) INTO retired_at;
            changed_at := greatest(retired_at, changed_at);
            NEW.checksum := coalesce(OLD.checksum, referral.rule_checksum(OLD.rule_version_id));
            NEW.valid_during := OLD.valid_during + tstzmultirange(tstzrange(changed_at, NULL));
        WHEN (OLD.status, NEW.status) = ('active', 'retired') THEN
            IF NOT (is_owner OR pg_has_role(current_user, 'referral_rule_approver', 'USAGE')) THEN
                RAISE EXCEPTION 'only referral_rule_approver may retire a rule version'
                    USING ERRCODE = 'RF003', DETAIL = format('The session acts as %I.', current_user),
                          HINT = 'Ask a member of referral_rule_approver.';
            END IF;
            NEW.valid_during := OLD.valid_during * tstzmultirange(tstzrange(NULL, changed_at));
            IF pg_trigger_depth() = 1 THEN
                RAISE WARNING 'rule set % has no active version now', OLD.rule_set_id
                    USING HINT = 'What depends on it is refused until a version is active again.';
            END IF;
        ELSE
            RAISE EXCEPTION 'rule version % cannot go from % to %', OLD.rule_version_id, OLD.status, NEW.status
                USING ERRCODE = 'RF001',
                      DETAIL = 'The order is draft, submitted, approved, active, retired; submitted and approved may go back to draft, retired may become active again.',
                      HINT = 'Take the next step of that order.';
    END CASE;
    IF NEW.status IN ('approved', 'active') AND NOT OLD.is_seed
       AND NEW.checksum IS DISTINCT FROM referral.rule_checksum(OLD.rule_version_id) THEN
        RAISE EXCEPTION 'the rules of version % are not the ones that were submitted', OLD.rule_version_id
            USING ERRCODE = 'RF016', DETAIL = 'Their checksum has changed since submission.',
                  HINT = 'Return the version to draft, review it and submit it again.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.rule_version_guard() IS
'BEFORE row trigger of referral.rule_version: keeps the order draft, submitted, approved, active, retired; author and editors differ from approver (RF013); one active version per rule set.';

CREATE FUNCTION referral.rule_row_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[];
    v record;
    actor text := referral.current_actor();
BEGIN
    -- rows that hang on a workflow or a policy inherit its version
    IF TG_OP <> 'DELETE' AND NEW.rule_version_id IS NULL THEN
        IF to_jsonb(NEW) ? 'workflow_id' THEN
            NEW.rule_version_id := (SELECT w.rule_version_id FROM referral.workflow w
                                    WHERE w.workflow_id = (to_jsonb(NEW) ->> 'workflow_id')::bigint);
        ELSIF to_jsonb(NEW) ? 'sla_level_id' THEN
            NEW.rule_version_id := (SELECT p.rule_version_id FROM referral.sla_policy p
                                    WHERE p.sla_policy_id = (to_jsonb(NEW) ->> 'sla_policy_id')::bigint);
        END IF;
    END IF;
    ids := CASE TG_OP WHEN 'INSERT' THEN ARRAY[NEW.rule_version_id]
                      WHEN 'DELETE' THEN ARRAY[OLD.rule_version_id]
                      ELSE ARRAY[OLD.rule_version_id, NEW.rule_version_id] END;
    -- the lock keeps the version from being submitted while a row is on its way in
    FOR v IN SELECT r.* FROM referral.rule_version r WHERE r.rule_version_id = ANY (ids) FOR NO KEY UPDATE LOOP
        IF v.status <> 'draft' THEN
            RAISE EXCEPTION 'rule version % is %, its rules cannot be changed', v.rule_version_id, v.status
                USING ERRCODE = 'RF016',
                      DETAIL = 'Only the rules of a draft can be written, so that every decision can be traced to rules that still stand.',
                      HINT = format('Write a new version: SELECT referral.copy_rule_version(%s, ''why'').', v.rule_version_id);
        END IF;
        IF NOT v.is_seed AND actor <> v.author AND NOT actor = ANY (v.editors) THEN
            UPDATE referral.rule_version r SET editors = r.editors || actor
            WHERE r.rule_version_id = v.rule_version_id;
        END IF;
    END LOOP;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
COMMENT ON FUNCTION referral.rule_row_guard() IS
'BEFORE row trigger of every rule table: rules can be written only while their version is a draft (RF016); whoever writes one becomes an editor, who cannot approve.';

CREATE FUNCTION referral.rollback_rule_set(rule_set text) RETURNS bigint
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    former bigint;
BEGIN
    -- whoever activates a version of the set now is waited for
    PERFORM pg_advisory_xact_lock('referral.rule_set'::regclass::oid::int, hashint8(s.rule_set_id))
    FROM referral.rule_set s WHERE s.name = rollback_rule_set.rule_set;
    SELECT v.rule_version_id INTO former
    FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id)
    WHERE s.name = rollback_rule_set.rule_set AND v.status = 'retired' AND NOT isempty(v.valid_during)
    ORDER BY upper(v.valid_during) DESC LIMIT 1;
    IF NOT FOUND AND NOT EXISTS (SELECT FROM referral.rule_set s WHERE s.name = rollback_rule_set.rule_set) THEN
        RAISE EXCEPTION 'there is no rule set "%"', rollback_rule_set.rule_set
            USING ERRCODE = 'RF019', DETAIL = 'referral.rule_set has no such row.', HINT = 'See referral.rule_set.';
    END IF;
    IF former IS NULL THEN
        RAISE EXCEPTION 'rule set "%" has no former version to go back to', rollback_rule_set.rule_set
            USING ERRCODE = 'RF001', DETAIL = 'No retired version of it was ever active.',
                  HINT = 'See referral.rule_version.';
    END IF;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = former;
    RETURN former;
END $$;
COMMENT ON FUNCTION referral.rollback_rule_set(text) IS
'Re-activates the version that was active before the present one, and returns its rule_version_id. Takes effect at commit. RF001 when there is none. Null for null.';

CREATE FUNCTION referral.copy_rule_version(rule_version_id bigint, note text) RETURNS bigint
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    draft bigint;
    w record;
    new_workflow bigint;
    p record;
    new_policy bigint;
BEGIN
    INSERT INTO referral.rule_version (rule_set_id, note)
    SELECT v.rule_set_id, copy_rule_version.note FROM referral.rule_version v
    WHERE v.rule_version_id = copy_rule_version.rule_version_id
    RETURNING rule_version.rule_version_id INTO draft;
    IF draft IS NULL THEN
        RAISE EXCEPTION 'there is no rule version %', copy_rule_version.rule_version_id
            USING ERRCODE = 'RF019', DETAIL = 'referral.rule_version has no such row.',
                  HINT = 'See referral.rule_version.';
    END IF;
    PERFORM referral.copy_rules(copy_rule_version.rule_version_id, draft);
    FOR w IN SELECT * FROM referral.workflow x
             WHERE x.rule_version_id = copy_rule_version.rule_version_id ORDER BY x.workflow_id LOOP
        INSERT INTO referral.workflow (rule_version_id, entity, name, title, applies_when, priority,
                                       scope_org_id, scope_region, scope_site_id, scope_specialty)
        VALUES (draft, w.entity, w.name, w.title, w.applies_when, w.priority,
                w.scope_org_id, w.scope_region, w.scope_site_id, w.scope_specialty)
        RETURNING workflow_id INTO new_workflow;
        PERFORM referral.copy_workflow_rules(w.workflow_id, new_workflow);
    END LOOP;
    FOR p IN SELECT * FROM referral.sla_policy x
             WHERE x.rule_version_id = copy_rule_version.rule_version_id ORDER BY x.sla_policy_id LOOP
        INSERT INTO referral.sla_policy (rule_version_id, entity, name, title, kind, applies_when, priority, scope_org_id,
                                         start_when, stop_when, pause_when, cancel_when, pause_counts, reopen, target, calendar)
        VALUES (draft, p.entity, p.name, p.title, p.kind, p.applies_when, p.priority, p.scope_org_id,
                p.start_when, p.stop_when, p.pause_when, p.cancel_when, p.pause_counts, p.reopen, p.target, p.calendar)
        RETURNING sla_policy_id INTO new_policy;
        INSERT INTO referral.sla_level (sla_policy_id, rule_version_id, level, percent, after, action, argument, title)
        SELECT new_policy, draft, l.level, l.percent, l.after, l.action, l.argument, l.title
        FROM referral.sla_level l WHERE l.sla_policy_id = p.sla_policy_id;
    END LOOP;
    RETURN draft;
END $$;
COMMENT ON FUNCTION referral.copy_rule_version(bigint, text) IS
'Copies a rule version with all its rules into a new draft of the same rule set and returns its rule_version_id: the way to change rules that are active. Null for null.';

CREATE FUNCTION referral.copy_rules(from_version bigint, to_version bigint) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    FOR t IN
        WITH rule_table AS (
            SELECT g.tgrelid AS id FROM pg_trigger g WHERE g.tgfoid = 'referral.rule_row_guard()'::regprocedure AND g.tgparentid = 0
        ), bound AS (
            -- what hangs on generated numbers is copied by whoever knows the new ones
            SELECT k.conrelid, k.confrelid
            FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
            WHERE k.contype = 'f' AND a.attidentity <> '' AND k.conrelid IN (SELECT id FROM rule_table) AND k.confrelid IN (SELECT id FROM rule_table))
        SELECT r.id::regclass AS relation,
               (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                WHERE a.attrelid = r.id AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = '' AND a.attgenerated = ''
                  AND a.attname <> 'rule_version_id') AS columns,
               coalesce((SELECT quote_ident(a.attname) FROM pg_attribute a
                         WHERE a.attrelid = r.id AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity <> ''), 'rule_version_id') AS number
        FROM rule_table r
        WHERE r.id NOT IN (SELECT conrelid FROM bound UNION SELECT confrelid FROM bound)
          -- how a model was fitted is about the version that it was fitted for
          AND r.id NOT IN ('referral.match_fit'::regclass, 'referral.match_fit_round'::regclass)
        -- what another one refers to goes first
        ORDER BY (SELECT count(*) FROM pg_constraint k
                  WHERE k.conrelid = r.id AND k.contype = 'f' AND k.confrelid IN (SELECT id FROM rule_table)), r.id::regclass::text
    LOOP
        EXECUTE format('INSERT INTO %1$s (rule_version_id, %2$s) SELECT $2, %2$s FROM %1$s r WHERE r.rule_version_id = $1 ORDER BY r.%3$s',
                       t.relation, t.columns, t.number)
        USING from_version, to_version;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.copy_rules(bigint, bigint) IS
'Copies the rows of a rule version in all rule tables, columns of the user''s own too, into another version, which must be a draft; not workflows and service level policies, whose parts hang on their numbers.';

CREATE FUNCTION referral.copy_workflow_rules(from_workflow bigint, to_workflow bigint) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    new_transition bigint;
BEGIN
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, is_entry, title,
                                        business_status, fhir_task_status, sort)
    SELECT to_workflow, s.step, s.state, s.is_initial, s.is_entry, s.title,
           s.business_status, s.fhir_task_status, s.sort
    FROM referral.workflow_step s WHERE s.workflow_id = from_workflow;
    FOR t IN SELECT * FROM referral.workflow_transition x
             WHERE x.workflow_id = from_workflow ORDER BY x.transition_id LOOP
        INSERT INTO referral.workflow_transition
            (workflow_id, transition, from_step, to_step, priority, required_role, human_only,
             reason_required, comment_required, reason_domain, notify, party, title)
        VALUES (to_workflow, t.transition, t.from_step, t.to_step, t.priority, t.required_role, t.human_only,
                t.reason_required, t.comment_required, t.reason_domain, t.notify, t.party, t.title)
        RETURNING transition_id INTO new_transition;
        INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message, unblock, error_code, sort)
        SELECT to_workflow, new_transition, g.predicate, g.message, g.unblock, g.error_code, g.sort
        FROM referral.workflow_guard g WHERE g.transition_id = t.transition_id ORDER BY g.guard_id;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.copy_workflow_rules(bigint, bigint) IS
'Copies steps, transitions and guards of one workflow into another, empty one, whose version must be a draft.';

CREATE FUNCTION referral.rule_function_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f oid;
BEGIN
    BEGIN
        f := to_regprocedure(NEW.signature);
    EXCEPTION WHEN OTHERS THEN
        f := NULL;      -- not even the form of a signature
    END;
    IF f IS NULL OR NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = f
                                AND p.prokind = 'f' AND NOT p.proretset AND p.provolatile IN ('i', 's')) THEN
        RAISE EXCEPTION 'function % cannot be registered for rules', NEW.signature
            USING ERRCODE = 'RF011',
                  DETAIL = 'It must exist, be IMMUTABLE or STABLE, and return one value.',
                  HINT = 'Write its name with schema and argument types, such as public.distance(text,text).';
    END IF;
    -- what it calls may change without anybody's notice: its owner must be one who can do all that it could be made to do
    IF NOT EXISTS (SELECT FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
                   WHERE p.oid = f AND (r.rolsuper OR r.oid = (SELECT c.relowner FROM pg_class c WHERE c.oid = 'referral.rule_function'::regclass))) THEN
        RAISE EXCEPTION 'function % belongs to somebody who could change what it does', NEW.signature
            USING ERRCODE = 'RF003', DETAIL = 'Rules call it with the rights of whoever changes a row.',
                  HINT = 'Let the owner of the model, or a superuser, read it and take it over: ALTER FUNCTION … OWNER TO ….';
    END IF;
    NEW.signature := f::regprocedure::text;
    NEW.definition_hash := sha256(convert_to(pg_get_functiondef(f), 'UTF8'));
    NEW.registered_by := referral.current_actor();
    NEW.registered_at := now();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.rule_function_guard() IS
'BEFORE row trigger of referral.rule_function: records the definition the administrator saw. Only functions of the owner of the model, or of a superuser (RF003). A function that changes afterwards is no longer registered.';

-- Called by the model files: a trigger that is there keeps its enabled state, also a disabled one.
CREATE FUNCTION referral.lay_trigger(relation regclass, trigger name, events text, level text, call text,
                                     fires "char" DEFAULT 'O') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    present record;
BEGIN
    SELECT t.tgenabled, p.pronamespace = 'referral'::regnamespace AS ours INTO present
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = relation AND t.tgname = trigger;
    IF NOT present.ours THEN
        RAISE EXCEPTION 'table % has a trigger "%" of its own', relation, trigger
            USING ERRCODE = 'RF012', DETAIL = 'The engine needs that name.',
                  HINT = 'Rename it: ALTER TRIGGER … ON … RENAME TO ….';
    END IF;
    EXECUTE format('CREATE OR REPLACE TRIGGER %I %s ON %s FOR EACH %s EXECUTE FUNCTION %s',
                   trigger, events, relation, level, call);
    -- what somebody has switched off stays off, but a restore may have made an ALWAYS trigger an ordinary one
    fires := CASE WHEN present.tgenabled IS NULL OR (present.tgenabled = 'O' AND fires = 'A') THEN fires ELSE present.tgenabled END;
    IF fires <> 'O' THEN
        EXECUTE format('ALTER TABLE %s %s TRIGGER %I', relation,
                       CASE fires WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'DISABLE' END, trigger);
    END IF;
END $$;
COMMENT ON FUNCTION referral.lay_trigger(regclass, name, text, text, text, "char") IS
'Creates a trigger, or brings it up to date without changing whether it is enabled. events, level and call: the parts of CREATE TRIGGER, such as BEFORE INSERT, ROW (and WHEN (…)) and referral.guard(…); fires: tgenabled of a new one. RF012 when the table has a trigger of that name on another function. For the table''s owner.';

-- Called by the model files for every rule table.
CREATE FUNCTION referral.govern_table(relation regclass, id_column name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entity text := (SELECT relname FROM pg_class WHERE oid = relation);
BEGIN
    PERFORM referral.lay_trigger(relation, 'rule_row', 'BEFORE INSERT OR UPDATE OR DELETE', 'ROW',
                                 'referral.rule_row_guard()');
    PERFORM referral.watch_table(relation);
    PERFORM referral.track_table(relation, entity, id_column);
END $$;
COMMENT ON FUNCTION referral.govern_table(regclass, name) IS
'Makes a table a rule table: rows change only in a draft, every backend is told, every change is journaled. Idempotent; for the table''s owner.';

CREATE FUNCTION referral.watch_table(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- ALWAYS: they write nothing, and replicated rules must be noticed too
    PERFORM referral.lay_trigger(relation, 'rules_changed', 'AFTER INSERT OR UPDATE OR DELETE', 'ROW',
                                 'referral.rules_changed()', 'A');
    PERFORM referral.lay_trigger(relation, 'rules_changed_truncate', 'AFTER TRUNCATE', 'STATEMENT',
                                 'referral.rules_changed()', 'A');
END $$;
COMMENT ON FUNCTION referral.watch_table(regclass) IS
'Lets every backend forget its compiled rules when the table changes. Idempotent; for the table''s owner.';

REVOKE ALL ON FUNCTION referral.rules_key(text), referral.rules_to_follow(text, interval), referral.follow_rules(text, bigint, text, interval),
    referral.rules_followed(text, bigint, text, bigint), referral.rollback_rule_set(text), referral.copy_rule_version(bigint, text), referral.copy_rules(bigint, bigint),
    referral.copy_workflow_rules(bigint, bigint), referral.rule_version_guard(), referral.rule_row_guard(), referral.rule_function_guard(),
    referral.govern_table(regclass, name), referral.watch_table(regclass),
    referral.lay_trigger(regclass, name, text, text, text, "char") FROM PUBLIC;
