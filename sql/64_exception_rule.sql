-- exception: what rules say of exceptions, and the exceptions that rules open

CREATE FUNCTION referral.exception_policy_apply() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'exception_policy_apply';
COMMENT ON FUNCTION referral.exception_policy_apply() IS
'BEFORE row trigger of referral.exception_item while it is open: what is opened, or opened again, gets severity, blocking, the transitions that wait and the due time that the active referral.exception_policy has for its kind: the one for its code before the one for its category, the organisation''s own before the one for all.';
REVOKE ALL ON FUNCTION referral.exception_policy_apply() FROM PUBLIC;

CREATE FUNCTION referral.is_root_cause(code text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM referral.reason_code r JOIN referral.rule_version v USING (rule_version_id)
                   WHERE v.status = 'active' AND r.active AND r.domain = 'root_cause' AND r.code = is_root_cause.code);
END $$;
COMMENT ON FUNCTION referral.is_root_cause(text) IS 'Is it an active reason code of domain root_cause? Null for null.';

CREATE FUNCTION referral.has_rule_exception(entity text, org_id bigint, id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'has_rule_exception';
COMMENT ON FUNCTION referral.has_rule_exception(text, bigint, bigint) IS
'Is there an exception about a row that a rule of referral.exception_rule opened and that held when it was last asked? If so, open_rule_exceptions() is to be called when the row changes. Whoever may see the exception. Null for null.';
REVOKE ALL ON FUNCTION referral.has_rule_exception(text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION referral.referral_of_row(entity text, org_id bigint, id bigint) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    found_id bigint;
BEGIN
    IF entity = 'referral' THEN
        RETURN id;
    END IF;
    SELECT x.relation, x.id_column INTO e FROM referral.entity x
    WHERE x.entity = referral_of_row.entity
      AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = x.relation AND a.attname = 'referral_id' AND NOT a.attisdropped);
    IF FOUND THEN
        EXECUTE format('SELECT referral_id FROM %s WHERE org_id = $1 AND %I = $2', e.relation, e.id_column)
        INTO found_id USING referral_of_row.org_id, referral_of_row.id;
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION referral.referral_of_row(text, bigint, bigint) IS
'The referral that a row of an entity is about: its referral_id; of a referral, its own number. Null when it has none, and for null. Reads with the caller''s rights.';
REVOKE ALL ON FUNCTION referral.referral_of_row(text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION referral.open_rule_exceptions(entity text, org_id bigint, id bigint, rules bigint[]) RETURNS integer
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
-- by key, also while nothing is known of the tables
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    r record;
    e record;
    item bigint;
    opened integer := 0;
BEGIN
    FOR r IN
        SELECT DISTINCT ON (x.category, x.code) x.*
        FROM unnest(rules) WITH ORDINALITY u (rule_id, n) JOIN referral.exception_rule x ON x.exception_rule_id = u.rule_id
        ORDER BY x.category, x.code, u.n
    LOOP
        -- one that a person has closed stays closed while the rule holds; those of others under the same code are not the rule's
        CONTINUE WHEN EXISTS (
            SELECT FROM referral.exception_item i
            WHERE i.org_id = open_rule_exceptions.org_id AND i.entity = open_rule_exceptions.entity
              AND i.entity_id = open_rule_exceptions.id AND i.category = r.category AND i.code = r.code
              AND i.exception_rule_id IS NOT NULL AND i.rule_holds);
        item := referral.open_exception(open_rule_exceptions.org_id, r.category, open_rule_exceptions.entity, open_rule_exceptions.id,
                                        referral.referral_of_row(entity, org_id, id), r.code, r.explanation, r.severity, r.blocking,
                                        r.blocks, r.exception_rule_id);
        opened := opened + 1;
    END LOOP;
    FOR e IN
        SELECT i.exception_id, i.status IN ('open', 'in_progress')
               AND (NOT referral.is_decision(i.category, i.code) OR referral.current_actor_kind(i.org_id) = 'user') AS closes
        FROM referral.exception_item i
        WHERE i.org_id = open_rule_exceptions.org_id AND i.entity = open_rule_exceptions.entity
          AND i.entity_id = open_rule_exceptions.id AND i.rule_holds AND i.exception_rule_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM referral.exception_rule x
                          WHERE x.exception_rule_id = ANY (rules) AND x.category = i.category AND x.code = i.code)
          -- a rule that raises an error says nothing: what it has opened stays open
          AND NOT EXISTS (SELECT FROM referral.exception_rule x JOIN referral.rule_version v USING (rule_version_id)
                          WHERE v.status = 'active' AND x.entity = i.entity AND x.category = i.category AND x.code = i.code
                            AND referral.rule_fits(x.applies_when, referral.work_row(i.entity, i.org_id, i.entity_id), x.name) IS NULL)
    LOOP
        UPDATE referral.exception_item i
        SET rule_holds = false, status = CASE WHEN e.closes THEN 'resolved' ELSE i.status END,
            resolution = CASE WHEN e.closes THEN 'The rule that opened it does not hold any more.' ELSE i.resolution END
        WHERE i.org_id = open_rule_exceptions.org_id AND i.exception_id = e.exception_id;
    END LOOP;
    RETURN opened;
END $$;
COMMENT ON FUNCTION referral.open_rule_exceptions(text, bigint, bigint, bigint[]) IS
'Opens the exceptions of the rules of referral.exception_rule that hold for a row, as matching_rules() tells them, and closes those whose rule holds no more, but for those that a person has to close, or whose rule raises an error; returns how many it opened. One that a person closed while its rule held is opened again only after the rule has ceased to hold. Exceptions that others opened under the same code are left alone. Called when a row changes. Null: nothing happens.';
REVOKE ALL ON FUNCTION referral.open_rule_exceptions(text, bigint, bigint, bigint[]) FROM PUBLIC;

CREATE FUNCTION referral.check_exceptions(entity text, org_id bigint, id bigint) RETURNS integer
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    rules bigint[];
BEGIN
    IF NOT org_id = ANY (referral.visible_orgs()) AND NOT pg_has_role(referral.acting_login(), current_user, 'USAGE') THEN
        RETURN NULL;
    END IF;
    SELECT x.relation, x.id_column INTO e FROM referral.entity x WHERE x.entity = check_exceptions.entity;
    IF FOUND THEN
        EXECUTE format('SELECT referral.matching_rules(''exception_rule'', $1, $2, r) FROM %s r WHERE org_id = $2 AND %I = $3', e.relation, e.id_column)
        INTO rules USING check_exceptions.entity, check_exceptions.org_id, check_exceptions.id;
    END IF;
    IF rules IS NULL THEN
        RAISE EXCEPTION 'there is no row % of entity "%" in organisation %', id, entity, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist.', HINT = 'See referral.entity for the entities.';
    END IF;
    RETURN referral.open_rule_exceptions(entity, org_id, id, rules);
END $$;
COMMENT ON FUNCTION referral.check_exceptions(text, bigint, bigint) IS
'Asks the rules of referral.exception_rule about a row as it stands, as a change of it does, and returns how many exceptions they opened; at once, where tick() has not come to it since other rules became active. RF019 when there is no such row. Null for null, and for an organisation that the session does not work for.';
REVOKE ALL ON FUNCTION referral.check_exceptions(text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION referral.check_exception_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    -- not there yet after the extension itself was upgraded, before deploy()
    IF to_regclass('referral.exception_rule') IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT b.transition, ', ') INTO bad
    FROM (SELECT unnest(p.blocks) FROM referral.exception_policy p WHERE p.rule_version_id = check_exception_version.rule_version_id
          UNION ALL
          SELECT unnest(r.blocks) FROM referral.exception_rule r WHERE r.rule_version_id = check_exception_version.rule_version_id) b (transition)
    WHERE NOT EXISTS (SELECT FROM referral.workflow_transition t WHERE t.transition = b.transition);
    IF EXISTS (SELECT FROM referral.exception_rule r
               WHERE r.rule_version_id = check_exception_version.rule_version_id AND r.entity = 'exception_item') THEN
        RAISE EXCEPTION 'there are no exceptions about exceptions'
            USING ERRCODE = 'RF011', DETAIL = 'A rule about exception_item would be asked about what it opens itself.',
                  HINT = 'Write it about the entity that the exception is about.';
    END IF;
    IF bad IS NOT NULL THEN
        RAISE WARNING 'no workflow has a transition "%"', bad
            USING DETAIL = 'An exception is to block it, and would block nothing.', HINT = 'Correct blocks, or write the workflow first.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_exception_version(bigint) IS
'The part of check_rule_version() about exceptions: warns of transitions to be blocked that no workflow has; refuses exceptions about exceptions (RF011). Null for null.';
