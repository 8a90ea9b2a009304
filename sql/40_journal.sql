-- journal: one row per change

CREATE FUNCTION referral.journal() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'journal';
COMMENT ON FUNCTION referral.journal() IS
'journal(entity, id_column): AFTER INSERT OR UPDATE OR DELETE row trigger of a tracked table; appends one row to referral.journal with the changed columns. An UPDATE that changes nothing writes nothing. RF012 on a table that is not registered for the entity.';

CREATE FUNCTION referral.append_only() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'append_only';
COMMENT ON FUNCTION referral.append_only() IS
'BEFORE trigger of tables that only grow: refuses with RF007.';
REVOKE ALL ON FUNCTION referral.journal(), referral.append_only() FROM PUBLIC;
