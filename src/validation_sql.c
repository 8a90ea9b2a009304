/*-------------------------------------------------------------------------
 *
 * validation_sql.c
 *		The statements of validation, prepared once per backend.
 *
 * IDENTIFICATION
 *		src/validation_sql.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "compat.h"
#include "statement.h"
#include "validation.h"

#define MAX_ARGS 9

static const struct
{
	const char *sql;
	int			nargs;
	Oid			argtypes[MAX_ARGS];
}			statements[VALIDATION_NSTATEMENTS] = {
	[LOCK_REFERRAL] = {
		"SELECT FROM referral.referral r WHERE r.org_id = $1 AND r.referral_id = $2"
		" FOR NO KEY UPDATE",
	2, {INT8OID, INT8OID}},
	[READ_REFERRAL] = {
		"SELECT r, p, c.coverage, lower(r.specialty), r.referral_type, r.payer_id, r.xmin,"
		" r.state IN ('closed_loop', 'declined', 'cancelled', 'expired', 'entered_in_error'),"
		" l.findings, l.rule_versions, l.passed"
		" FROM referral.referral r"
		" LEFT JOIN referral.patient p ON p.org_id = r.org_id AND p.patient_id = r.patient_id"
		" LEFT JOIN LATERAL ("
		"  SELECT k AS coverage FROM referral.coverage k"
		"  WHERE k.org_id = r.org_id AND k.patient_id = r.patient_id"
		"   AND (k.coverage_id = r.coverage_id OR (r.coverage_id IS NULL AND k.status = 'active'"
		"        AND k.period @> (now() AT TIME ZONE 'UTC')::date))"
		"  ORDER BY k.priority LIMIT 1) c ON true"
		" LEFT JOIN LATERAL ("
		"  SELECT v.findings, v.rule_versions, v.passed FROM referral.validation_result v"
		"  WHERE v.org_id = r.org_id AND v.referral_id = r.referral_id"
		"  ORDER BY v.validation_result_id DESC LIMIT 1) l ON $3"
		" WHERE r.org_id = $1 AND r.referral_id = $2",
	3, {INT8OID, INT8OID, BOOLOID}},
	[READ_DOCUMENTS] = {
		"SELECT DISTINCT d.type FROM referral.document d"
		" WHERE d.org_id = $1 AND d.referral_id = $2 AND d.status = 'current'",
	2, {INT8OID, INT8OID}},
	[WRITE_RESULT] = {
		"INSERT INTO referral.validation_result (org_id, referral_id, is_first_pass, passed,"
		"  missing, invalid, warnings, findings, rule_versions)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
	9, {INT8OID, INT8OID, BOOLOID, BOOLOID, INT4OID, INT4OID, INT4OID, JSONBOID, INT8ARRAYOID}},
	[OPEN_NEW_EXCEPTIONS] = {
		"INSERT INTO referral.exception_item (org_id, category, entity, entity_id, referral_id,"
		"  code, detail, severity, blocking)"
		" SELECT $1, n.category::referral.exception_category, 'referral', $2, $2,"
		"  n.code, n.detail, 'medium', true"
		" FROM unnest($3, $4, $5) n (category, code, detail)"
		" ON CONFLICT (org_id, entity, entity_id, category, code, (exception_rule_id IS NOT NULL))"
		"  DO NOTHING",
	5, {INT8OID, INT8OID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}},
	[OPEN_EXCEPTIONS] = {
		"SELECT referral.open_exception($1, n.category::referral.exception_category, 'referral',"
		"  $2, $2, n.code, n.detail, 'medium', true)"
		" FROM unnest($3, $4, $5) n (category, code, detail)",
	5, {INT8OID, INT8OID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID}},
	[CLOSE_EXCEPTIONS] = {
		"SELECT referral.close_exception(e.org_id, e.exception_id,"
		"  'In order now: a later check found nothing wrong.')"
		" FROM unnest($3, $4) n (category, code)"
		" JOIN referral.exception_item e ON e.org_id = $1 AND e.entity = 'referral'"
		"  AND e.entity_id = $2 AND e.category::text = n.category AND e.code = n.code"
		" WHERE e.status IN ('open', 'in_progress')",
	4, {INT8OID, INT8OID, TEXTARRAYOID, TEXTARRAYOID}},
	/* a message could not tell it */
	[CLOSE_UNTOLD] = {
		"SELECT referral.close_exception(e.org_id, e.exception_id, 'It has been told since.')"
		" FROM (VALUES ('patient', 'patient_missing', ''),"
		"  ('patient.family', 'patient_unnamed', ''),"
		"  ('patient.birth_date', 'invalid_date', 'patient.birth_date')) t (field, code, attribute)"
		" JOIN referral.exception_item e ON e.org_id = $1 AND e.entity = 'referral'"
		"  AND e.entity_id = $2 AND e.category = 'integration' AND e.code = t.code"
		"  AND starts_with(e.detail, t.attribute)"
		" WHERE t.field = ANY ($3) AND e.status IN ('open', 'in_progress')",
	3, {INT8OID, INT8OID, TEXTARRAYOID}},
	[READ_FACTS] = {
		"SELECT referral.outreach_facts($1, $2)",
	2, {INT8OID, INT8OID}},
	/* + 0: else the primary key, which has that order, might be read from its end */
	[FIND_DRAFT] = {
		"SELECT c.communication_id FROM referral.communication c"
		" WHERE c.org_id = $1 AND c.referral_id = $2 AND c.template = $3"
		"  AND c.status = 'preparation'"
		" ORDER BY c.communication_id + 0 DESC LIMIT 1",
	3, {INT8OID, INT8OID, TEXTOID}},
	[FOLLOW_DRAFT] = {
		"UPDATE referral.communication c"
		" SET subject = $4, body = $5, template_version = $6"
		" WHERE c.org_id = $1 AND c.communication_id = $2 AND c.template = $3"
		"  AND c.approved_by IS NULL AND c.body IS DISTINCT FROM $5",
	6, {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID}},
	[WRITE_DRAFT] = {
		"INSERT INTO referral.communication (org_id, referral_id, patient_id, medium, recipient,"
		"  template, template_version, subject, body, drafted_by_kind)"
		" SELECT r.org_id, r.referral_id, r.patient_id, $3, $4, $5, $6, $7, $8, 'system'"
		" FROM referral.referral r WHERE r.org_id = $1 AND r.referral_id = $2",
	8, {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID}},
	[DROP_DRAFT] = {
		"UPDATE referral.communication c"
		" SET status = 'not-done', outcome = 'What was to be asked for is no longer missing.'"
		" WHERE c.org_id = $1 AND c.referral_id = $2 AND c.template = $3"
		"  AND c.status = 'preparation'",
	3, {INT8OID, INT8OID, TEXTOID}},
};

/* A plan is for the rights of those who use it. */
static SPIPlanPtr plans[VALIDATION_NSTATEMENTS][2];

/* The caller has connected to SPI, with those rights. */
void
validation_run(bool as_owner, ValidationStatement which, Datum *args, const char *nulls)
{
	SPIPlanPtr *plan = &plans[which][as_owner];

	statement_keep(plan, statements[which].sql, statements[which].nargs, statements[which].argtypes,
				   CURSOR_OPT_GENERIC_PLAN);
	if (SPI_execute_plan(*plan, args, nulls, !as_owner, 0) < 0)
		elog(ERROR, "could not run: %s", statements[which].sql);
}
