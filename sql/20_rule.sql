-- rule: compiled SQL predicates

CREATE FUNCTION referral.check_rule(relation regclass, expression text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'check_rule';
COMMENT ON FUNCTION referral.check_rule(regclass, text) IS
'Parses and type-checks a rule expression over the rows of a table and returns it; RF011 with the position and the columns on offer when it is not a boolean expression over one row. Null for null. The triggers of the rule tables call it, so that a bad rule is refused when it is written.';

REVOKE ALL ON FUNCTION referral.check_rule(regclass, text) FROM PUBLIC;

CREATE FUNCTION referral.rule_matches(expression text, candidate record) RETURNS boolean
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'rule_matches';
COMMENT ON FUNCTION referral.rule_matches(text, record) IS
'Does a row of a table satisfy a rule expression over it? Where the expression is null, it does not. Checked and run like the guard of a transition, under fixed settings and with the caller''s rights; old.… is null. RF011 when the expression is not one. Null for null.';

CREATE FUNCTION referral.rules_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'rules_changed';
COMMENT ON FUNCTION referral.rules_changed() IS
'AFTER trigger of the rule tables: at commit, every backend forgets its compiled rules. Writes nothing.';
REVOKE ALL ON FUNCTION referral.rules_changed() FROM PUBLIC;

CREATE FUNCTION referral.broken_rules(
    OUT rule_version_id bigint, OUT rule text, OUT expression text, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
BEGIN
    FOR r IN
        SELECT w.rule_version_id, format('applies_when of workflow %I', w.name) AS rule, w.applies_when AS expression, e.relation
        FROM referral.workflow w JOIN referral.entity e USING (entity)
        WHERE w.applies_when IS NOT NULL
        UNION ALL
        SELECT g.rule_version_id, format('guard %s of transition %I of workflow %I', g.guard_id, t.transition, w.name),
               g.predicate, e.relation
        FROM referral.workflow_guard g JOIN referral.workflow_transition t USING (transition_id)
        JOIN referral.workflow w ON w.workflow_id = g.workflow_id JOIN referral.entity e USING (entity)
        UNION ALL
        SELECT p.rule_version_id, format('%s of service level policy %I', x.name, p.name), x.expression, e.relation
        FROM referral.sla_policy p JOIN referral.entity e USING (entity)
        CROSS JOIN LATERAL (VALUES ('applies_when', p.applies_when), ('start_when', p.start_when), ('stop_when', p.stop_when),
                                   ('pause_when', p.pause_when), ('cancel_when', p.cancel_when)) x (name, expression)
        WHERE x.expression IS NOT NULL
        UNION ALL
        SELECT * FROM referral.validation_expressions()
        ORDER BY 1, 2
    LOOP
        BEGIN
            PERFORM referral.check_rule(r.relation, r.expression);
        EXCEPTION WHEN OTHERS THEN
            rule_version_id := r.rule_version_id;
            rule := r.rule;
            expression := r.expression;
            error := SQLERRM;
            RETURN NEXT;
        END;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION referral.broken_rules() FROM PUBLIC;
COMMENT ON FUNCTION referral.broken_rules() IS
'Rules of any version that no longer compile, with the reason: a column or function they use was dropped, changed or is no longer registered. Empty when all is well; to be run after ALTER TABLE on a tracked table.';
