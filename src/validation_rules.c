/*-------------------------------------------------------------------------
 *
 * validation_rules.c
 *		The rules of validate(), read once per backend.
 *
 * A finding says nothing but what its rule says, so each is made once, when
 * the rules are read.
 *
 * IDENTIFICATION
 *		src/validation_rules.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "compat.h"
#include "security.h"
#include "validation.h"

/* Columns of the query below; the first nine are those of validate(). */
enum
{
	R_SEVERITY = 1, R_KIND, R_CODE, R_FIELD, R_MESSAGE, R_HOW_TO_FIX, R_TEMPLATE, R_RULE_ID,
	R_RULE_VERSION, R_FINDING, R_DOCUMENT_TYPE, R_TESTED, R_TESTED_LABEL, R_APPLIES_WHEN,
	R_APPLIES_LABEL, R_SCOPE_ORG_ID, R_SCOPE_PAYER_ID, R_SCOPE_SPECIALTY, R_SCOPE_REFERRAL_TYPE
};

static const char *const rules_sql =
	"WITH rule AS ("
	" SELECT f.severity, 'field' AS kind, f.name AS code, f.field AS field_or_document, f.message,"
	"  f.how_to_fix, f.template, f.required_field_rule_id AS rule_id,"
	"  f.rule_version_id AS rule_version, f.tested, f.applies_when, f.scope_org_id,"
	"  f.scope_payer_id, f.scope_specialty, f.scope_referral_type"
	" FROM referral.required_field_rule f"
	" UNION ALL"
	" SELECT d.severity, 'document', d.name, d.document_type, d.message,"
	"  d.how_to_fix, d.template, d.document_requirement_id,"
	"  d.rule_version_id, NULL, d.applies_when, d.scope_org_id,"
	"  d.scope_payer_id, d.scope_specialty, d.scope_referral_type"
	" FROM referral.document_requirement d)"
	" SELECT x.*, to_jsonb(x), CASE r.kind WHEN 'document' THEN r.field_or_document END,"
	"  r.tested, format('condition of required field rule %I', r.code), r.applies_when,"
	"  format('applies_when of %s %I',"
	"   CASE r.kind WHEN 'field' THEN 'required field rule' ELSE 'document requirement' END,"
	"   r.code),"
	"  r.scope_org_id, r.scope_payer_id, lower(r.scope_specialty), r.scope_referral_type"
	" FROM rule r JOIN referral.rule_version v ON v.rule_version_id = r.rule_version"
	" CROSS JOIN LATERAL (SELECT r.severity, r.kind, r.code, r.field_or_document, r.message,"
	"  r.how_to_fix, r.template, r.rule_id, r.rule_version) x"
	" WHERE v.status::text = $1"
	" ORDER BY r.rule_version, r.kind DESC, r.rule_id";

/* In the order in which they are preferred, for whoever has no language. */
static const char *const templates_sql =
	"SELECT o.name, lower(o.language), o.language = 'en', o.recipient, o.medium, o.subject, o.body,"
	"  o.rule_version_id"
	" FROM referral.outreach_template o JOIN referral.rule_version v USING (rule_version_id)"
	" WHERE v.status::text = $1 ORDER BY o.outreach_template_id";

static ValidationSeverity
read_severity(const char *name)
{
	static const char *const names[SEVERITY_NKINDS] = {"missing", "invalid", "warning"};

	for (int i = 0; i < SEVERITY_NKINDS; i++)
		if (strcmp(name, names[i]) == 0)
			return (ValidationSeverity) i;
	elog(ERROR, "unexpected severity \"%s\" of a finding", name);
}

/* Which row a field is of: patient, patient.column, coverage, coverage.column, column. */
static void
read_field(ValidationRule *rule, const char *field)
{
	static const char *const names[ROW_NKINDS] = {"referral", "patient", "coverage"};

	rule->row = ROW_REFERRAL;
	for (int i = ROW_PATIENT; i < ROW_NKINDS; i++)
	{
		int			length = strlen(names[i]);

		if (strncmp(field, names[i], length) != 0 ||
			(field[length] != '\0' && field[length] != '.'))
			continue;
		rule->row = (ValidatedRow) i;
		rule->wants_row = field[length] == '\0';
	}
}

/* In the memory of the cache. */
static void
read_finding(ValidationRule *rule, uint64 row)
{
	bool		isnull;

	for (int i = 0; i < FINDING_NCOLUMNS; i++)
	{
		Datum		value = rule_read_datum(row, i + 1, &rule->nulls[i]);

		if (i + 1 == R_RULE_ID || i + 1 == R_RULE_VERSION)
			rule->columns[i] = Int64GetDatum(DatumGetInt64(value));
		else if (!rule->nulls[i])
			rule->columns[i] = datumCopy(value, false, -1);
	}
	rule->finding = DatumGetJsonbPCopy(rule_read_datum(row, R_FINDING, &isnull));
	rule->asks = !rule->nulls[R_TEMPLATE - 1];
}

static void
read_rule(RuleCache *cache, ValidationRule *rule, uint64 row)
{
	rule->severity = read_severity(rule_read_string(cache, row, R_SEVERITY));
	read_finding(rule, row);
	rule->scope_org_id = rule_read_int64(row, R_SCOPE_ORG_ID);
	rule->scope_payer_id = rule_read_int64(row, R_SCOPE_PAYER_ID);
	rule->scope_specialty = rule_read_string(cache, row, R_SCOPE_SPECIALTY);
	rule->scope_referral_type = rule_read_string(cache, row, R_SCOPE_REFERRAL_TYPE);
	rule->applies_when = rule_read_predicate(cache, row, R_APPLIES_WHEN,
											 rule_read_string(cache, row, R_APPLIES_LABEL));
	rule->document_type = rule_read_string(cache, row, R_DOCUMENT_TYPE);
	rule->tested = rule_read_predicate(cache, row, R_TESTED,
									   rule_read_string(cache, row, R_TESTED_LABEL));
	if (rule->document_type == NULL)
		read_field(rule, rule_read_string(cache, row, R_FIELD));
}

/* Each version once; the rules are in their order. */
static ArrayType *
versions_of(ValidationRules *rules)
{
	Datum	   *versions = palloc(sizeof(Datum) * (rules->nrules + 1));
	int			nversions = 0;

	for (int i = 0; i < rules->nrules; i++)
	{
		Datum		version = rules->rules[i].columns[R_RULE_VERSION - 1];

		if (nversions == 0 ||
			DatumGetInt64(versions[nversions - 1]) != DatumGetInt64(version))
			versions[nversions++] = version;
	}
	return construct_array(versions, nversions, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
						   TYPALIGN_DOUBLE);
}

static void
read_rules(RuleCache *cache, ValidationRules *rules)
{
	MemoryContext spi;

	security_read(rules_sql, TEXTOID, CStringGetTextDatum("active"));
	spi = MemoryContextSwitchTo(cache->context);
	rules->nrules = (int) SPI_processed;
	rules->rules = palloc0(sizeof(ValidationRule) * Max(rules->nrules, 1));
	for (int i = 0; i < rules->nrules; i++)
		read_rule(cache, &rules->rules[i], i);
	rules->versions = versions_of(rules);
	MemoryContextSwitchTo(spi);
}

static void
read_templates(RuleCache *cache, ValidationRules *rules)
{
	security_read(templates_sql, TEXTOID, CStringGetTextDatum("active"));
	rules->ntemplates = (int) SPI_processed;
	rules->templates = MemoryContextAllocZero(cache->context, sizeof(OutreachTemplate) *
											  Max(rules->ntemplates, 1));
	for (int i = 0; i < rules->ntemplates; i++)
	{
		OutreachTemplate *template = &rules->templates[i];

		template->name = rule_read_string(cache, i, 1);
		template->language = rule_read_string(cache, i, 2);
		template->is_english = rule_read_bool(i, 3);
		template->recipient = rule_read_string(cache, i, 4);
		template->medium = rule_read_string(cache, i, 5);
		template->subject = rule_read_string(cache, i, 6);
		template->body = rule_read_string(cache, i, 7);
		template->rule_version_id = rule_read_int64(i, 8);
	}
}

ValidationRules *
validation_rules(RuleCache *cache)
{
	ValidationRules *rules;
	OwnerScope	scope;

	if (cache->validation != NULL)
		return cache->validation;
	rules = MemoryContextAllocZero(cache->context, sizeof(ValidationRules));
	security_begin_read(&scope, cache->owner);
	read_rules(cache, rules);
	read_templates(cache, rules);
	security_end_read(&scope);
	cache->validation = rules;
	return rules;
}
