/*-------------------------------------------------------------------------
 *
 * intake_cover.c
 *		What a case of intake says of a coverage.
 *
 * IDENTIFICATION
 *		src/intake_cover.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"

#include "compat.h"
#include "intake.h"

/* The columns of the type intake_told_cover, in its order. */
enum
{
	C_PAYER_NUMBER, C_PAYER_SYSTEM, C_PAYER_NAME, C_PLAN_NUMBER, C_PLAN_NAME, C_PRIORITY,
	C_SUBSCRIBER_ID, C_GROUP_NUMBER, C_RELATIONSHIP, C_STATUS, C_FIRST_DAY, C_LAST_DAY, C_FINDINGS,
	C_NCOLUMNS
};

typedef struct Cover
{
	Datum		values[C_NCOLUMNS];
	bool		nulls[C_NCOLUMNS];
	JsonbParseState *findings;
} Cover;

static void
set_value(Cover *cover, int column, Datum value)
{
	cover->values[column] = value;
	cover->nulls[column] = false;
}

/* A null text is a null. */
static void
set_text(Cover *cover, int column, const text *value)
{
	cover->nulls[column] = value == NULL;
	if (value != NULL)
		cover->values[column] = PointerGetDatum(value);
}

/* The value of the first of its identifiers. */
static text *
first_number(JsonbContainer *c)
{
	JsonbContainer *list = intake_member_list(c, "identifiers");
	JsonbContainer *first = list == NULL ? NULL : intake_list_object(list, 0);

	return first == NULL ? NULL : intake_member_text(first, "value");
}

static void
invalid_date(Cover *cover, const char *attribute, const char *detail, const text *told)
{
	intake_put_finding(&cover->findings, "invalid_date", "warning", attribute, detail, told);
}

/* The days it holds.  A last day at the end of time, or before the first one, is none. */
static void
read_days(Cover *cover, JsonbContainer *c)
{
	text	   *first = intake_member_text(c, "start");
	text	   *last = intake_member_text(c, "end");
	DateADT		never = date2j(9999, 12, 30) - POSTGRES_EPOCH_JDATE;
	Datum		day;

	if (first != NULL)
	{
		if (intake_try(try_date, first, &day))
			set_value(cover, C_FIRST_DAY, day);
		else
			invalid_date(cover, "coverage.start", "no such date", first);
	}
	if (last == NULL)
		return;
	if (!intake_try(try_date, last, &day))
		invalid_date(cover, "coverage.end", "no such date", last);
	else if (!cover->nulls[C_FIRST_DAY] &&
			 DatumGetDateADT(day) < DatumGetDateADT(cover->values[C_FIRST_DAY]))
		invalid_date(cover, "coverage.end", "before the first day", last);
	else if (DatumGetDateADT(day) <= never)
		set_value(cover, C_LAST_DAY, day);
}

static void
read_status(Cover *cover, JsonbContainer *c)
{
	text	   *status = intake_member_text(c, "status");

	if (status != NULL && !intake_text_is(status, "active") &&
		!intake_text_is(status, "cancelled") && !intake_text_is(status, "draft") && !intake_text_is(status, "entered-in-error"))
	{
		intake_put_finding(&cover->findings, "invalid_code", "warning", "coverage.status",
						   "not a status of a coverage", status);
		status = NULL;
	}
	set_text(cover, C_STATUS, status != NULL ? status : cstring_to_text("active"));
}

/* Objects and lists, where there is to be one value. */
static void
note_no_values(Cover *cover, JsonbContainer *c)
{
	static const char *const single[][2] = {
		{"start", "invalid_date"}, {"end", "invalid_date"}, {"status", "invalid_code"},
		{"priority", "invalid_value"}, {"subscriber_id", "invalid_value"},
		{"group_number", "invalid_value"}, {"relationship", "invalid_value"}
	};

	for (int i = 0; i < lengthof(single); i++)
	{
		JsonbValue	v;

		if (getKeyJsonValueFromContainer(c, single[i][0], strlen(single[i][0]), &v) != NULL &&
			v.type == jbvBinary)
			intake_put_no_value(&cover->findings, single[i][1], psprintf("coverage.%s", single[i][0]));
	}
}

static void
read_payer(Cover *cover, JsonbContainer *c, text *source)
{
	JsonbContainer *payer = intake_member_object(c, "payer");
	JsonbContainer *plan = intake_member_object(c, "plan");

	if (payer != NULL)
	{
		text	   *system = intake_member_text(payer, "identifier_system");

		set_text(cover, C_PAYER_NUMBER, intake_member_text(payer, "identifier"));
		set_text(cover, C_PAYER_SYSTEM, system != NULL ? system : source);
		set_text(cover, C_PAYER_NAME, intake_member_text(payer, "name"));
	}
	if (plan != NULL)
	{
		set_text(cover, C_PLAN_NUMBER, intake_member_text(plan, "identifier"));
		set_text(cover, C_PLAN_NAME, intake_member_text(plan, "name"));
	}
}

static void
read_cover(Cover *cover, JsonbContainer *c, text *source)
{
	text	   *priority = intake_member_text(c, "priority");
	text	   *number = intake_member_text(c, "subscriber_id");
	Datum		value;

	note_no_values(cover, c);
	read_days(cover, c);
	read_payer(cover, c, source);
	read_status(cover, c);
	if (priority != NULL && intake_try(try_integer, priority, &value))
		set_value(cover, C_PRIORITY, value);
	set_text(cover, C_SUBSCRIBER_ID, number != NULL ? number : first_number(c));
	set_text(cover, C_GROUP_NUMBER, intake_member_text(c, "group_number"));
	set_text(cover, C_RELATIONSHIP, intake_member_text(c, "relationship"));
}

PG_FUNCTION_INFO_V1(intake_told_cover);

/* intake_told_cover(c jsonb, source text) returns intake_told_cover */
Datum
intake_told_cover(PG_FUNCTION_ARGS)
{
	Jsonb	   *c = intake_argument_object(fcinfo, 0);
	TupleDesc	desc;
	Cover		cover;
	Jsonb	   *findings;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != C_NCOLUMNS)
		elog(ERROR, "unexpected result type of intake_told_cover()");
	cover.findings = NULL;
	memset(cover.nulls, true, sizeof(cover.nulls));
	set_text(&cover, C_STATUS, cstring_to_text("active"));
	if (c != NULL)
		read_cover(&cover, &c->root, intake_argument_text(fcinfo, 1));
	findings = intake_findings(&cover.findings);
	if (findings != NULL)
		set_value(&cover, C_FINDINGS, JsonbPGetDatum(findings));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), cover.values,
													  cover.nulls)));
}
