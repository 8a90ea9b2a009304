/*-------------------------------------------------------------------------
 *
 * journal_changes.c
 *		The changed columns of a row as JSON, the same bytes whatever the
 *		session's settings.
 *
 * Numbers and booleans are JSON's own; times are ISO 8601, with a time zone
 * in UTC; jsonb is taken over; everything else is what to_jsonb() makes of it
 * under fixed settings.
 *
 * IDENTIFICATION
 *		src/journal_changes.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "compat.h"
#include "entity.h"
#include "journal.h"
#include "security.h"

static void
json_of_text(JsonbValue *out, const char *value, int length)
{
	out->type = jbvString;
	out->val.string.val = (char *) value;
	out->val.string.len = length;
}

/*
 * Turn a column's value into one JSON value.  "guc_level" is set when the
 * settings had to be made neutral.
 */
static void
json_of_column(TrackedRel *rel, int index, TupleTableSlot *slot, JsonbValue *out,
			   int *guc_level)
{
	TrackedColumn *column = &rel->columns[index];
	Oid			type = TupleDescAttr(rel->desc, index)->atttypid;
	Datum		value = slot->tts_values[index];

	if (slot->tts_isnull[index])
	{
		out->type = jbvNull;
		return;
	}
	if (column->kind == JOURNAL_OTHER && *guc_level == 0)
		*guc_level = security_neutral_settings();
	switch (column->kind)
	{
		case JOURNAL_BOOL:
			out->type = jbvBool;
			out->val.boolean = DatumGetBool(value);
			break;
		case JOURNAL_INTEGER:
			out->type = jbvNumeric;
			out->val.numeric = int64_to_numeric(type == INT8OID ? DatumGetInt64(value) :
												type == INT4OID ? DatumGetInt32(value) :
												DatumGetInt16(value));
			break;
		case JOURNAL_NUMERIC:
			if (numeric_is_nan(DatumGetNumeric(value)) || numeric_is_inf(DatumGetNumeric(value)))
			{
				char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, value));

				json_of_text(out, text, strlen(text));
				break;
			}
			out->type = jbvNumeric;
			out->val.numeric = DatumGetNumeric(value);
			break;
		case JOURNAL_TEXT:
			{
				text	   *t = DatumGetTextPP(value);

				json_of_text(out, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
				break;
			}
		case JOURNAL_OUTPUT:
			{
				char	   *text = OutputFunctionCall(&column->function, value);

				json_of_text(out, text, strlen(text));
				break;
			}
		case JOURNAL_DATETIME:
			{
				/* ISO 8601, times in UTC: the same whatever the session says */
				int			utc = 0;
				char	   *buf = palloc(MAXDATELEN + 1);

				JsonEncodeDateTime(buf, value, type, type == TIMESTAMPTZOID ? &utc : NULL);
				json_of_text(out, buf, strlen(buf));
				break;
			}
		default:
			{
				Jsonb	   *jsonb = column->kind == JOURNAL_JSONB
					? DatumGetJsonbP(value)
					: DatumGetJsonbP(FunctionCall1(&column->function, value));

				if (JB_ROOT_IS_SCALAR(jsonb))
				{
					JsonbIterator *it = JsonbIteratorInit(&jsonb->root);

					(void) JsonbIteratorNext(&it, out, true);
					(void) JsonbIteratorNext(&it, out, true);
				}
				else
				{
					out->type = jbvBinary;
					out->val.binary.data = &jsonb->root;
					out->val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
				}
			}
	}
}

/*
 * {"column": [old, new], …} of the columns that differ; NULL when none does.
 * A row that did not exist, or no longer does, counts as all null.
 */
Jsonb *
journal_changes(TrackedRel *rel, TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;
	bool		any = false;
	int			guc_level = 0;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < rel->desc->natts; i++)
	{
		JsonbValue	value;
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);

		if (rel->columns[i].kind == JOURNAL_SKIP ||
			!entity_column_changed(rel, i, oldslot, newslot))
			continue;
		any = true;
		json_of_text(&value, NameStr(att->attname), strlen(NameStr(att->attname)));
		pushJsonbValue(&state, WJB_KEY, &value);
		pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		json_of_column(rel, i, oldslot, &value, &guc_level);
		pushJsonbValue(&state, WJB_ELEM, &value);
		json_of_column(rel, i, newslot, &value, &guc_level);
		pushJsonbValue(&state, WJB_ELEM, &value);
		pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	if (guc_level != 0)
		AtEOXact_GUC(true, guc_level);
	return any ? JsonbValueToJsonb(result) : NULL;
}
