-- rule: compiled SQL predicates

CREATE FUNCTION referral.check_rule(relation regclass, expression text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'check_rule';
COMMENT ON FUNCTION referral.check_rule(regclass, text) IS
'Parses and type-checks a rule expression over the rows of a table and returns it; RF011 with the position and the columns on offer when it is not a boolean expression over one row. Null for null. The triggers of the rule tables call it, so that a bad rule is refused when it is written.';

CREATE FUNCTION referral.rules_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'rules_changed';
COMMENT ON FUNCTION referral.rules_changed() IS
'AFTER statement trigger of the rule tables: at commit, every backend forgets its compiled rules. Writes nothing.';
REVOKE ALL ON FUNCTION referral.rules_changed() FROM PUBLIC;
