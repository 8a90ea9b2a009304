-- For pgTAP files (\ir ../lib/make_workflow.sql): a small workflow, active at once, as the owner of the model may ship one.
-- Steps a (received, initial) and b (validated); transitions go (a to b, with the guard) and back.

CREATE FUNCTION make_workflow(entity text, guard text DEFAULT NULL, applies_when text DEFAULT NULL,
                              name text DEFAULT 'main', scope jsonb DEFAULT '{}', priority integer DEFAULT 100) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    version_id bigint;
    id bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES (format('workflow/%s/%s', entity, name), 'workflow')
    ON CONFLICT DO NOTHING;
    INSERT INTO referral.rule_version (rule_set_id, is_seed)
    SELECT rule_set_id, true FROM referral.rule_set s WHERE s.name = format('workflow/%s/%s', entity, make_workflow.name)
    RETURNING rule_version_id INTO version_id;
    INSERT INTO referral.workflow (rule_version_id, entity, name, applies_when, priority,
                                   scope_org_id, scope_region, scope_site_id, scope_specialty)
    VALUES (version_id, entity, name, applies_when, priority,
            (scope ->> 'org')::bigint, scope ->> 'region', (scope ->> 'site')::bigint, scope ->> 'specialty')
    RETURNING workflow_id INTO id;
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial)
    VALUES (id, 'a', 'received', true), (id, 'b', 'validated', false);
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
    VALUES (id, 'go', 'a', 'b'), (id, 'back', 'b', 'a');
    IF guard IS NOT NULL THEN
        INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message)
        SELECT id, t.transition_id, guard, 'not now' FROM referral.workflow_transition t
        WHERE t.workflow_id = id AND t.transition = 'go';
    END IF;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = version_id;
    RETURN id;
END $$;
COMMENT ON FUNCTION make_workflow(text, text, text, text, jsonb, integer) IS 'Makes and activates a version of a two-step workflow and returns its workflow_id.';
