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

CREATE FUNCTION referral.rule_fits(expression text, candidate record, rule text) RETURNS boolean
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'rule_fits';
COMMENT ON FUNCTION referral.rule_fits(text, record, text) IS
'The same as rule_matches(), for rules that must not break what they are asked for: null for one that raises an error, or does not compile any more, with a warning that names it (rule), without the row''s content. What is not the rule''s fault (a conflict, a lack of resources, a cancelled statement) is raised. Null for null.';

CREATE FUNCTION referral.matching_rules(rule_table text, entity text, org_id bigint, "row" record, only_first boolean DEFAULT false)
RETURNS bigint[]
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'matching_rules';
COMMENT ON FUNCTION referral.matching_rules(text, text, bigint, record, boolean) IS
'The rules of a rule table that fit a row: numbers (<rule_table>_id) of the rules of active versions whose entity, scope_org_id (null: all), valid_during (null: always; compared with now()) and applies_when (null: always; a rule expression over the row, old.… is null) fit, as far as the table has these columns, in the order of priority and number; only_first: the first alone. Empty when none does. A rule that raises an error does not fit, and a warning without the row''s content says so; broken_rules() lists those that do not compile. Evaluated with the caller''s rights. RF012 when there is no such rule table. Null for null.';

CREATE FUNCTION referral.rules_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'rules_changed';
COMMENT ON FUNCTION referral.rules_changed() IS
'AFTER trigger of the rule tables: at commit, every backend forgets its compiled rules. Writes nothing.';
REVOKE ALL ON FUNCTION referral.rules_changed() FROM PUBLIC;

CREATE FUNCTION referral.rule_expressions() RETURNS TABLE (rule_version_id bigint, rule text, expression text, relation regclass)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
BEGIN
    FOR c IN
        SELECT g.tgrelid::regclass AS relation, a.attname,
               replace((SELECT k.relname FROM pg_class k WHERE k.oid = g.tgrelid), '_', ' ') AS kind,
               (SELECT quote_ident(i.attname) FROM pg_attribute i WHERE i.attrelid = g.tgrelid AND i.attidentity <> '' AND NOT i.attisdropped) AS id,
               EXISTS (SELECT FROM pg_attribute e WHERE e.attrelid = g.tgrelid AND e.attname = 'entity' AND NOT e.attisdropped) AS of_entity
        FROM pg_trigger g
        JOIN pg_attribute a ON a.attrelid = g.tgrelid AND a.attname LIKE '%\_when' AND a.atttypid = 'text'::regtype AND NOT a.attisdropped
        WHERE g.tgfoid = 'referral.rule_row_guard()'::regprocedure AND g.tgparentid = 0
    LOOP
        RETURN QUERY EXECUTE format(
            'SELECT r.rule_version_id, format(''%%s of %%s %%I'', %1$L, %2$L, coalesce(to_jsonb(r) ->> ''name'', r.%3$s::text)), r.%1$I, %4$s'
            ' WHERE r.%1$I IS NOT NULL',
            c.attname, c.kind, c.id,
            CASE WHEN c.of_entity THEN format('e.relation FROM %s r JOIN referral.entity e USING (entity)', c.relation)
                 ELSE format('''referral.referral''::regclass FROM %s r', c.relation) END);
    END LOOP;
    RETURN QUERY
        SELECT g.rule_version_id, format('guard %s of transition %I of workflow %I', g.guard_id, t.transition, w.name),
               g.predicate, e.relation
        FROM referral.workflow_guard g JOIN referral.workflow_transition t USING (transition_id)
        JOIN referral.workflow w ON w.workflow_id = g.workflow_id JOIN referral.entity e USING (entity);
    RETURN QUERY SELECT * FROM referral.validation_expressions();
END $$;
COMMENT ON FUNCTION referral.rule_expressions() IS
'Every rule expression of every version, with the table whose rows it is about: the columns of rule tables whose name ends in _when (about the rule''s entity; about referral.referral where the table has no entity), guards of transitions, and conditions of fields.';
REVOKE ALL ON FUNCTION referral.rule_expressions() FROM PUBLIC;

CREATE FUNCTION referral.broken_rules(
    OUT rule_version_id bigint, OUT rule text, OUT expression text, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT * FROM referral.rule_expressions() x ORDER BY 1, 2 LOOP
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
