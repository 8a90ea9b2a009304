-- source_of_record: each attribute is kept by one system; what others write to it is refused or set aside

CREATE FUNCTION referral.source_guard() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'source_guard';
COMMENT ON FUNCTION referral.source_guard() IS
'BEFORE UPDATE row trigger, arguments entity and id column (guard_sources() lays it): a change of an attribute that another system keeps is refused (RF009) or set aside in referral.rejected_write, as the rule in referral.source_of_record says. Who writes is told by referral.origin and source_system.logins.';

CREATE FUNCTION referral.foreign_attributes(org_id bigint, entity text, OUT attribute text, OUT owner_system text, OUT policy text)
RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 5 AS 'MODULE_PATHNAME', 'foreign_attributes';
COMMENT ON FUNCTION referral.foreign_attributes(bigint, text) IS
'The attributes of an entity that the session, with the origin that it has, may not change in an organisation: who keeps them, and what becomes of a write (refuse or quarantine). No rows for an entity that there is not, and for null.';

CREATE FUNCTION referral.guard_sources(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
BEGIN
    SELECT x.entity, x.id_column INTO e FROM referral.entity x WHERE x.relation = guard_sources.relation AND x.detached_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not attached', relation
            USING ERRCODE = 'RF019', DETAIL = 'referral.entity does not name it.', HINT = 'Call referral.attach() or track_table() first.';
    END IF;
    PERFORM referral.lay_trigger(relation, 'source_guard', 'BEFORE UPDATE', 'ROW',
                                 format('referral.source_guard(%L, %L)', e.entity, e.id_column));
END $$;
COMMENT ON FUNCTION referral.guard_sources(regclass) IS
'Lets rules of referral.source_of_record hold for a tracked table. Idempotent; for the table''s owner. RF019 when the table is not tracked.';

CREATE FUNCTION referral.source_of_record_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    problem text;
    hint text := 'See referral.entity, and the columns of its table.';
    e referral.entity;
BEGIN
    SELECT * INTO e FROM referral.entity x WHERE x.entity = NEW.entity AND x.detached_at IS NULL;
    IF NOT FOUND THEN
        problem := 'There is no such entity.';
    ELSIF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = e.relation AND t.tgfoid = 'referral.source_guard()'::regprocedure) THEN
        problem := 'Nothing guards the table.';
        hint := format('SELECT referral.guard_sources(%L).', e.relation);
    ELSIF NEW.attribute IS NULL THEN
        NULL;
    ELSIF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = e.relation AND a.attname = NEW.attribute AND a.attnum > 0
                      AND NOT a.attisdropped AND a.attgenerated = '') THEN
        problem := 'The table has no such column that is written.';
    ELSIF NEW.attribute IN ('org_id', e.id_column, 'version')
          OR (NEW.attribute IN ('workflow_id', 'step', 'status_reason', 'entered_at', 'transition_id')
              AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = e.relation AND a.attname = 'entered_at' AND NOT a.attisdropped)) THEN
        problem := 'The engine keeps it.';
        hint := 'Of steps, name attribute state.';
    ELSIF NEW.attribute = 'state' AND NEW.policy <> 'refuse' THEN
        problem := 'A step that was not taken cannot be taken later.';
        hint := 'Set policy to refuse.';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'no system can keep %.%', NEW.entity, coalesce(NEW.attribute, '*')
            USING ERRCODE = 'RF011', DETAIL = problem, HINT = hint;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.source_of_record_check() IS
'BEFORE row trigger of referral.source_of_record (RF011): entities whose table is guarded, columns that there are and that the engine does not keep; a state can only be refused.';

-- ---------- What was set aside ----------

CREATE FUNCTION referral.note_rejected_write(
    org_id bigint, entity text, entity_id bigint, attribute text, attempted jsonb, origin text, owner_system text, rule_version bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- the same again is no news
    INSERT INTO referral.rejected_write AS w (org_id, entity, entity_id, attribute, attempted, origin, owner_system, rule_version)
    VALUES (note_rejected_write.org_id, note_rejected_write.entity, note_rejected_write.entity_id, note_rejected_write.attribute,
            coalesce(note_rejected_write.attempted, 'null'), note_rejected_write.origin, note_rejected_write.owner_system,
            note_rejected_write.rule_version)
    ON CONFLICT (org_id, entity, entity_id, attribute, origin) WHERE status = 'open' DO UPDATE
    SET attempted = excluded.attempted, owner_system = excluded.owner_system, rule_version = excluded.rule_version,
        attempted_at = excluded.attempted_at, attempted_by = excluded.attempted_by
    WHERE w.attempted IS DISTINCT FROM excluded.attempted;
    IF FOUND THEN
        PERFORM referral.open_exception(note_rejected_write.org_id, 'policy', note_rejected_write.entity, note_rejected_write.entity_id,
            CASE note_rejected_write.entity WHEN 'referral' THEN note_rejected_write.entity_id END, 'rejected_write',
            referral.rejected_attributes(note_rejected_write.org_id, note_rejected_write.entity, note_rejected_write.entity_id), 'low');
    END IF;
END $$;
COMMENT ON FUNCTION referral.note_rejected_write(bigint, text, bigint, text, jsonb, text, text, bigint) IS
'Notes in referral.rejected_write what source_guard() did not let through: one open row for each attribute and origin, with the last value; and opens an exception about the row. For source_guard().';

CREATE FUNCTION referral.rejected_attributes(org_id bigint, entity text, entity_id bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT string_agg(format('%s of %s, kept by %s', w.attribute, w.origin, w.owner_system), '; ' ORDER BY w.attribute, w.origin)
            FROM referral.rejected_write w
            WHERE w.org_id = rejected_attributes.org_id AND w.entity = rejected_attributes.entity
              AND w.entity_id = rejected_attributes.entity_id AND w.status = 'open');
END $$;
COMMENT ON FUNCTION referral.rejected_attributes(bigint, text, bigint) IS
'Which attributes of a row have changes that were set aside and are not decided: whose they are, and who keeps them; no values. Null when there are none, and for null.';

CREATE FUNCTION referral.lock_rejected_write(org_id bigint, rejected_write_id bigint, reason text) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    w referral.rejected_write;
BEGIN
    IF coalesce(reason !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a reason is required'
            USING ERRCODE = 'RF005', DETAIL = 'It is decided against, or for, the rule that says who keeps the attribute.', HINT = 'Give a reason.';
    END IF;
    IF referral.current_actor_kind(org_id) <> 'user' THEN
        RAISE EXCEPTION 'only a person decides about a rejected write'
            USING ERRCODE = 'RF003', DETAIL = format('The session acts as kind "%s".', referral.current_actor_kind(org_id)),
                  HINT = 'Have a member of referral_admin decide.';
    END IF;
    IF referral.may_change_org(org_id) THEN
        SELECT * INTO w FROM referral.rejected_write x
        WHERE x.org_id = lock_rejected_write.org_id AND x.rejected_write_id = lock_rejected_write.rejected_write_id FOR UPDATE;
    END IF;
    IF w.rejected_write_id IS NULL THEN
        RAISE EXCEPTION 'there is no rejected write % in organisation %', rejected_write_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.rejected_write.';
    END IF;
    IF w.status <> 'open' THEN
        RAISE EXCEPTION 'rejected write % is % already', rejected_write_id, w.status
            USING ERRCODE = 'RF001', DETAIL = 'It was decided about once.', HINT = 'Make the change in the system that keeps the attribute.';
    END IF;
    PERFORM set_config('referral.reason', reason, true);
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.lock_rejected_write(bigint, bigint, text) IS
'Locks a rejected write that is open, for the functions that decide about it. RF001 when it is not open, RF003 for a system or an AI, RF005 without a reason, RF019 when there is none.';

-- The exception about the row is settled with the last of its changes.
CREATE FUNCTION referral.settle_rejected_write(org_id bigint, rejected_write_id bigint, decision text, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    w referral.rejected_write;
    waiting text;
BEGIN
    UPDATE referral.rejected_write x
    SET status = decision, decided_at = clock_timestamp(), decided_by = referral.current_actor(), reason = settle_rejected_write.reason
    WHERE x.org_id = settle_rejected_write.org_id AND x.rejected_write_id = settle_rejected_write.rejected_write_id
    RETURNING x.* INTO w;
    waiting := referral.rejected_attributes(w.org_id, w.entity, w.entity_id);
    UPDATE referral.exception_item e
    SET status = CASE WHEN waiting IS NULL THEN 'resolved' ELSE e.status END, detail = coalesce(waiting, e.detail),
        resolution = CASE WHEN waiting IS NULL THEN decision ELSE e.resolution END
    WHERE e.org_id = w.org_id AND e.entity = w.entity AND e.entity_id = w.entity_id AND e.category = 'policy' AND e.code = 'rejected_write'
      AND e.status NOT IN ('resolved', 'dismissed') AND e.exception_rule_id IS NULL;
END $$;
COMMENT ON FUNCTION referral.settle_rejected_write(bigint, bigint, text, text) IS
'Notes what was decided about a rejected write, and closes the exception of its row when no other waits. For the functions that decide.';

CREATE FUNCTION referral.accept_rejected_write(org_id bigint, rejected_write_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' SET referral.source_override = 'on' AS $$
DECLARE
    w referral.rejected_write := referral.lock_rejected_write(org_id, rejected_write_id, reason);
    e referral.entity;
BEGIN
    SELECT * INTO STRICT e FROM referral.entity x WHERE x.entity = w.entity;
    EXECUTE format('UPDATE %1$s t SET %2$I = (SELECT r.%2$I FROM jsonb_populate_record(t, $3) r) WHERE t.org_id = $1 AND t.%3$I = $2',
                   e.relation, w.attribute, e.id_column)
    USING w.org_id, w.entity_id, jsonb_build_object(w.attribute, w.attempted);
    PERFORM referral.settle_rejected_write(w.org_id, w.rejected_write_id, 'accepted', reason);
END $$;
COMMENT ON FUNCTION referral.accept_rejected_write(bigint, bigint, text) IS
'Makes a change that was set aside all the same, against the rule, with a reason that the journal keeps. For persons of referral_admin; errors as lock_rejected_write().';

CREATE FUNCTION referral.discard_rejected_write(org_id bigint, rejected_write_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    w referral.rejected_write := referral.lock_rejected_write(org_id, rejected_write_id, reason);
BEGIN
    PERFORM referral.settle_rejected_write(w.org_id, w.rejected_write_id, 'discarded', reason);
END $$;
COMMENT ON FUNCTION referral.discard_rejected_write(bigint, bigint, text) IS
'Leaves a change that was set aside undone, for good. For persons of referral_admin; errors as lock_rejected_write().';

REVOKE ALL ON FUNCTION referral.source_guard(), referral.guard_sources(regclass), referral.source_of_record_check(),
    referral.foreign_attributes(bigint, text),
    referral.note_rejected_write(bigint, text, bigint, text, jsonb, text, text, bigint),
    referral.rejected_attributes(bigint, text, bigint), referral.settle_rejected_write(bigint, bigint, text, text),
    referral.lock_rejected_write(bigint, bigint, text), referral.accept_rejected_write(bigint, bigint, text),
    referral.discard_rejected_write(bigint, bigint, text) FROM PUBLIC;

CREATE FUNCTION referral.check_source_of_record_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    -- not there yet after the extension itself was upgraded, before deploy()
    IF to_regclass('referral.source_of_record') IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT format('%s.%s (rule set %s)', own.entity, coalesce(own.attribute, '*'), s.name), ', ') INTO bad
    FROM referral.source_of_record own JOIN referral.rule_version r ON r.rule_version_id = own.rule_version_id
    JOIN referral.source_of_record other ON (other.entity, other.attribute, other.scope_org_id)
                                            IS NOT DISTINCT FROM (own.entity, own.attribute, own.scope_org_id)
    JOIN referral.rule_version v ON v.rule_version_id = other.rule_version_id AND v.status = 'active' AND v.rule_set_id <> r.rule_set_id
    JOIN referral.rule_set s ON s.rule_set_id = v.rule_set_id
    WHERE own.rule_version_id = check_source_of_record_version.rule_version_id;
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'an attribute is kept by another active rule set already'
            USING ERRCODE = 'RF011', DETAIL = bad, HINT = 'One rule says which system keeps an attribute: write it as a version of that rule set.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_source_of_record_version(bigint) IS
'The part of check_rule_version() about sources of record: no other active rule set says who keeps the attribute (RF011). Null for null.';
