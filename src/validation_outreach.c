/*-------------------------------------------------------------------------
 *
 * validation_outreach.c
 *		Asking for what a referral lacks: drafts by templates.
 *
 * There is one open draft for a referral and a template.  One that nobody has
 * approved follows what is missing.
 *
 * IDENTIFICATION
 *		src/validation_outreach.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/varlena.h"

#include "compat.h"
#include "security.h"
#include "validation.h"

/* What goes into the placeholders, and what is asked for. */
typedef struct Facts
{
	Jsonb	   *known;
	const char *missing;		/* a line for each finding */
} Facts;

/* ---------- Which template ---------- */

/* How well a language suits a patient: as a whole, by its first part, English, any. */
static int
language_rank(OutreachTemplate *template, const char *wanted)
{
	if (wanted != NULL && strcmp(template->recipient, "patient") == 0)
	{
		size_t		first = strcspn(wanted, "-");

		if (strcmp(template->language, wanted) == 0)
			return 3;
		if (strlen(template->language) == first &&
			strncmp(template->language, wanted, first) == 0)
			return 2;
	}
	return template->is_english ? 1 : 0;
}

static OutreachTemplate *
choose_template(ValidationRules *rules, const char *name, const char *language)
{
	OutreachTemplate *best = NULL;

	for (int i = 0; i < rules->ntemplates; i++)
	{
		OutreachTemplate *template = &rules->templates[i];

		if (strcmp(template->name, name) == 0 &&
			(best == NULL || language_rank(template, language) > language_rank(best, language)))
			best = template;
	}
	return best;
}

/* ---------- What it says ---------- */

static char *
fact(Facts *facts, const char *name, int length)
{
	JsonbValue	value;

	if (length == strlen("missing") && strncmp(name, "missing", length) == 0)
		return pstrdup(facts->missing);
	if (getKeyJsonValueFromContainer(&facts->known->root, name, length, &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/*
 * The text with its {{placeholders}} replaced; what is not known becomes a
 * dash.  In one pass, so that a value that looks like a placeholder stays.
 */
static char *
fill_placeholders(const char *text, Facts *facts)
{
	StringInfoData filled;
	const char *part = text;
	bool		is_name = false;

	initStringInfo(&filled);
	for (;;)
	{
		const char *stop = part;
		char	   *value;

		while (*stop != '\0' && strncmp(stop, "{{", 2) != 0 && strncmp(stop, "}}", 2) != 0)
			stop++;
		if (is_name)
		{
			value = fact(facts, part, stop - part);
			appendStringInfoString(&filled, value == NULL ? "-" : value);
		}
		else
			appendBinaryStringInfo(&filled, part, stop - part);
		if (*stop == '\0')
			return filled.data;
		is_name = !is_name;
		part = stop + 2;
	}
}

/* A text parameter of a statement. */
static Datum
text_or_null(const char *value, char *null)
{
	*null = value == NULL ? 'n' : ' ';
	return value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

/* ---------- Drafts ---------- */

static bool
follow_draft(int64 org_id, int64 referral_id, OutreachTemplate *template,
			 const char *subject, const char *body)
{
	char		nulls[] = "      ";
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(referral_id),
		CStringGetTextDatum(template->name), text_or_null(subject, &nulls[3]),
	CStringGetTextDatum(body), Int64GetDatum(template->rule_version_id)};

	validation_run(true, FIND_DRAFT, args, NULL);
	if (SPI_processed == 0)
		return false;
	args[1] = Int64GetDatum(rule_read_int64(0, 1));
	validation_run(true, FOLLOW_DRAFT, args, nulls);
	return true;
}

static void
write_draft(int64 org_id, int64 referral_id, OutreachTemplate *template,
			const char *subject, const char *body)
{
	char		nulls[] = "        ";
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(referral_id),
		CStringGetTextDatum(template->medium), CStringGetTextDatum(template->recipient),
		CStringGetTextDatum(template->name), Int64GetDatum(template->rule_version_id),
	text_or_null(subject, &nulls[6]), CStringGetTextDatum(body)};

	validation_run(true, WRITE_DRAFT, args, nulls);
}

static int
compare_messages(const ListCell *a, const ListCell *b)
{
	const char *one = ((Finding *) lfirst(a))->message;
	const char *other = ((Finding *) lfirst(b))->message;

	return varstr_cmp(one, strlen(one), other, strlen(other), DEFAULT_COLLATION_OID);
}

static char *
list_messages(List *findings)
{
	StringInfoData lines;
	ListCell   *lc;

	initStringInfo(&lines);
	list_sort(findings, compare_messages);
	foreach(lc, findings)
		appendStringInfo(&lines, "%s- %s", lines.len == 0 ? "" : "\n",
						 ((Finding *) lfirst(lc))->message);
	return lines.data;
}

/* Was it found already, by the same rule? */
static bool
was_found(List *former, Finding *finding)
{
	ListCell   *lc;

	foreach(lc, former)
	{
		Finding    *found = lfirst(lc);

		if (strcmp(found->kind, finding->kind) == 0 && strcmp(found->code, finding->code) == 0)
			return true;
	}
	return false;
}

/* What was asked for once is not asked for again. */
static void
draft_by(ValidationRules *rules, int64 org_id, int64 referral_id, List *former, List *asking,
		 Facts *facts)
{
	char	   *language = fact(facts, "patient_language", strlen("patient_language"));
	OutreachTemplate *template;
	char	   *subject;
	char	   *body;
	bool		is_new = false;
	ListCell   *lc;

	if (language != NULL)
		language = str_tolower(language, strlen(language), DEFAULT_COLLATION_OID);
	template = choose_template(rules, ((Finding *) linitial(asking))->template, language);
	if (template == NULL)
		return;
	foreach(lc, asking)
		is_new = is_new || !was_found(former, lfirst(lc));
	facts->missing = list_messages(asking);
	subject = template->subject == NULL ? NULL : fill_placeholders(template->subject, facts);
	body = fill_placeholders(template->body, facts);
	if (!follow_draft(org_id, referral_id, template, subject, body) && is_new)
		write_draft(org_id, referral_id, template, subject, body);
}

/* Those of the findings that ask by the template. */
static List *
findings_asking(List *findings, const char *template)
{
	List	   *asking = NIL;
	ListCell   *lc;

	foreach(lc, findings)
	{
		Finding    *finding = lfirst(lc);

		if (finding->template != NULL && strcmp(finding->template, template) == 0)
			asking = lappend(asking, finding);
	}
	return asking;
}

static Jsonb *
read_facts(int64 org_id, int64 referral_id)
{
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(referral_id)};
	bool		isnull;
	Datum		known;

	validation_run(true, READ_FACTS, args, NULL);
	known = rule_read_datum(0, 1, &isnull);
	return isnull ? NULL : DatumGetJsonbPCopy(known);
}

/* What no finding asks for any more. */
static void
drop_drafts(int64 org_id, int64 referral_id, List *former, List *present)
{
	ListCell   *lc;

	foreach(lc, former)
	{
		const char *template = ((Finding *) lfirst(lc))->template;
		Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(referral_id), (Datum) 0};

		if (template == NULL || findings_asking(present, template) != NIL)
			continue;
		args[2] = CStringGetTextDatum(template);
		validation_run(true, DROP_DRAFT, args, NULL);
	}
}

/* Within a scope of the owner. */
void
validation_draft(RuleCache *cache, int64 org_id, int64 referral_id, List *former, List *present)
{
	Facts		facts = {0};
	ListCell   *lc;

	foreach(lc, present)
	{
		Finding    *finding = lfirst(lc);
		List	   *asking = finding->template == NULL ? NIL :
		findings_asking(present, finding->template);

		if (asking == NIL || linitial(asking) != finding)
			continue;			/* asks nobody, or was asked for with another one */
		if (facts.known == NULL)
			facts.known = read_facts(org_id, referral_id);
		if (facts.known != NULL)
			draft_by(validation_rules(cache), org_id, referral_id, former, asking, &facts);
	}
	drop_drafts(org_id, referral_id, former, present);
}
