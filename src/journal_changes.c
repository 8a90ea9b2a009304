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
#include "common/hmac.h"
#include "common/sha2.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/datum.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "compat.h"
#include "entity.h"
#include "errors.h"
#include "journal.h"
#include "rule.h"
#include "security.h"
#include "workflow.h"

static void
json_of_text(JsonbValue *out, const char *value, int length)
{
	out->type = jbvString;
	out->val.string.val = (char *) value;
	out->val.string.len = length;
}

/*
 * May to_jsonb() of the type be another under the session's settings?  Those
 * of our own tables are known; that of others may.
 */
static bool
depends_on_settings(Oid type)
{
	switch (type)
	{
		case INT4ARRAYOID:
		case INT8ARRAYOID:
		case TEXTARRAYOID:
			return false;
		case BYTEAOID:
			return bytea_output != BYTEA_OUTPUT_HEX;
		case DATERANGEOID:
			return DateStyle != USE_ISO_DATES;
		default:
			return true;
	}
}

/*
 * Turn a column's value into one JSON value.  "guc_level" is set when the
 * settings had to be made neutral.
 */
static void
json_of_value(TrackedRel *rel, int index, TupleTableSlot *slot, JsonbValue *out,
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
	if (column->kind == JOURNAL_OTHER && *guc_level == 0 && depends_on_settings(type))
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

/* The text that jsonb prints for a value. */
static char *
text_of_json(JsonbValue *value)
{
	Jsonb	   *jsonb;

	if (value->type == jbvBinary)
		return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
	jsonb = JsonbValueToJsonb(value);
	return JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
}

/*
 * "hmac:" and HMAC-SHA256, by the installation's key, of entity, org_id, id,
 * column and value, with a zero byte after each but the last: equal values of
 * different rows have different digests.
 */
static void
digest_value(TrackedRel *rel, int index, TupleTableSlot *slot, JsonbValue *value)
{
	static const char hex[] = "0123456789abcdef";
	const char *column = NameStr(TupleDescAttr(rel->desc, index)->attname);
	int64		org_id = rel->org_id == 0 || slot->tts_isnull[rel->org_id - 1] ? 0
		: DatumGetInt64(slot->tts_values[rel->org_id - 1]);
	int64		id = entity_get_int64(rel, rel->id, slot->tts_values[rel->id - 1]);
	StringInfoData message;
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *out = palloc(5 + 2 * sizeof(digest));
	pg_hmac_ctx *ctx;

	if (rel->digest_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the key for sensitive columns is missing"),
				 errdetail("referral.journal_key is empty."),
				 errhint("Run SELECT * FROM referral.deploy().")));
	initStringInfo(&message);
	appendStringInfo(&message, "%s%c" INT64_FORMAT "%c" INT64_FORMAT "%c%s%c%s",
					 rel->entity, 0, org_id, 0, id, 0, column, 0, text_of_json(value));
	ctx = pg_hmac_create(PG_SHA256);
	if (ctx == NULL || pg_hmac_init(ctx, rel->digest_key, DIGEST_KEY_LENGTH) < 0 ||
		pg_hmac_update(ctx, (uint8 *) message.data, message.len) < 0 ||
		pg_hmac_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute HMAC: %s", pg_hmac_error(ctx));
	pg_hmac_free(ctx);
	memcpy(out, "hmac:", 5);
	for (int i = 0; i < sizeof(digest); i++)
	{
		out[5 + 2 * i] = hex[digest[i] >> 4];
		out[6 + 2 * i] = hex[digest[i] & 15];
	}
	json_of_text(value, out, 5 + 2 * sizeof(digest));
}

/* As the journal tells it. */
static void
json_of_column(TrackedRel *rel, int index, TupleTableSlot *slot, JsonbValue *out, int *guc_level)
{
	json_of_value(rel, index, slot, out, guc_level);
	if (rel->columns[index].treatment == JOURNAL_SENSITIVE && out->type != jbvNull)
		digest_value(rel, index, slot, out);
}

static bool
is_told(TrackedRel *rel, int index, TupleTableSlot *oldslot, TupleTableSlot *newslot,
		JournalScope scope)
{
	JournalTreatment treatment = rel->columns[index].treatment;

	if (treatment == JOURNAL_CARRIED || treatment == JOURNAL_IGNORED)
		return false;
	if (scope == JOURNAL_ALL)
		return !oldslot->tts_isnull[index] || !newslot->tts_isnull[index];
	return entity_column_changed(rel, index, oldslot, newslot);
}

/* "column": [old, new], for an object that has been begun; NULL is null. */
static void
push_pair(JsonbParseState **state, const char *name, JsonbValue *old, JsonbValue *new)
{
	JsonbValue	key;
	JsonbValue	nothing = {.type = jbvNull};

	json_of_text(&key, name, strlen(name));
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	pushJsonbValue(state, WJB_ELEM, old != NULL ? old : &nothing);
	pushJsonbValue(state, WJB_ELEM, new != NULL ? new : &nothing);
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/*
 * {"column": [old, new], …} of the columns that differ, or of all; NULL when
 * there is none.  A row that did not exist, or no longer does, counts as all
 * null.
 */
Jsonb *
journal_changes(TrackedRel *rel, TupleTableSlot *oldslot, TupleTableSlot *newslot,
				JournalScope scope)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;
	bool		any = false;
	int			guc_level = 0;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < rel->desc->natts; i++)
	{
		JsonbValue	old,
					new;

		if (!is_told(rel, i, oldslot, newslot, scope))
			continue;
		any = true;
		json_of_column(rel, i, oldslot, &old, &guc_level);
		json_of_column(rel, i, newslot, &new, &guc_level);
		push_pair(&state, NameStr(TupleDescAttr(rel->desc, i)->attname), &old, &new);
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	if (guc_level != 0)
		AtEOXact_GUC(false, guc_level);
	return any ? JsonbValueToJsonb(result) : NULL;
}

/* ---------- Comparing a row with what the journal says of it ---------- */

static bool
is_compared(TrackedRel *rel, int index)
{
	return !TupleDescAttr(rel->desc, index)->attisdropped &&
		rel->columns[index].treatment != JOURNAL_IGNORED;
}

/*
 * Is it what a column was added with?  The catalog keeps that until the table
 * is written anew, and for plain tables only; then the default, if it is a
 * constant, stands for it, if the row was ever recorded.
 */
static bool
is_added_default(TrackedRel *rel, int index, Datum value, bool recorded)
{
	Form_pg_attribute att = TupleDescAttr(rel->desc, index);
	TupleConstr *constr = rel->desc->constr;
	bool		isnull;
	Datum		added = getmissingattr(rel->desc, index + 1, &isnull);

	if (!isnull)
		return datum_image_eq(added, value, att->attbyval, att->attlen);
	for (int i = 0; recorded && constr != NULL && i < constr->num_defval; i++)
	{
		Node	   *node;

		if (constr->defval[i].adnum != index + 1)
			continue;
		/* never evaluated: it may call functions of the table's owner */
		node = stringToNode(constr->defval[i].adbin);
		while (IsA(node, RelabelType))
			node = (Node *) ((RelabelType *) node)->arg;
		return IsA(node, Const) && !((Const *) node)->constisnull &&
			datum_image_eq(((Const *) node)->constvalue, value, att->attbyval, att->attlen);
	}
	return false;
}

/*
 * Does the column hold what the journal says?  A value that was recorded as a
 * digest is compared by digest, for those who could not try values of their
 * own until one fits; a column the journal never told of counts as
 * null, or as the default it was added with.
 */
static bool
column_agrees(TrackedRel *rel, int index, TupleTableSlot *slot, Jsonb *replayed, bool digests,
			  int *guc_level)
{
	Form_pg_attribute att = TupleDescAttr(rel->desc, index);
	JsonbValue *told = getKeyJsonValueFromContainer(&replayed->root, NameStr(att->attname),
													strlen(NameStr(att->attname)), NULL);
	JsonbValue	held;
	char	   *text;

	if (told == NULL)
		return rel->columns[index].treatment == JOURNAL_CARRIED || att->attgenerated ||
			slot->tts_isnull[index] ||
			is_added_default(rel, index, slot->tts_values[index], JB_ROOT_COUNT(replayed) > 0);
	json_of_value(rel, index, slot, &held, guc_level);
	text = text_of_json(told);
	if (strcmp(text, text_of_json(&held)) == 0)
		return true;
	if (strncmp(text, "\"hmac:", 6) != 0 || held.type == jbvNull)
		return false;
	if (!digests)
		return true;
	digest_value(rel, index, slot, &held);
	return strcmp(text, text_of_json(&held)) == 0;
}

/*
 * Reading a row of somebody's table can run functions of his: casts to json.
 * They get his rights, not those of whoever checks the table.
 */
static void
become_owner(TrackedRel *rel, OwnerScope *scope)
{
	scope->guc_level = 0;		/* json_of_value() raises it when it has to */
	GetUserIdAndSecContext(&scope->save_userid, &scope->save_sec_context);
	SetUserIdAndSecContext(rel->owner, scope->save_sec_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

static void
become_oneself(OwnerScope *scope)
{
	if (scope->guc_level != 0)
		AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->save_userid, scope->save_sec_context);
}

static Datum
differing_columns(TrackedRel *rel, TupleTableSlot *slot, Jsonb *replayed, bool digests)
{
	ArrayBuildState *names = NULL;
	OwnerScope	scope;

	become_owner(rel, &scope);
	for (int i = 0; i < rel->desc->natts; i++)
		if (is_compared(rel, i) && !column_agrees(rel, i, slot, replayed, digests, &scope.guc_level))
			names = accumArrayResult(names,
									 CStringGetTextDatum(NameStr(TupleDescAttr(rel->desc, i)->attname)),
									 false, TEXTOID, CurrentMemoryContext);
	become_oneself(&scope);
	return names == NULL ? PointerGetDatum(construct_empty_array(TEXTOID))
		: makeArrayResult(names, CurrentMemoryContext);
}

/*
 * {"column": [told, held], …} of the columns in which the row is not what the
 * journal says; all but the version, which a journal row has a place for.
 */
Jsonb *
journal_unrecorded(TrackedRel *rel, TupleTableSlot *slot, Jsonb *replayed)
{
	JsonbParseState *state = NULL;
	OwnerScope	scope;

	become_owner(rel, &scope);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < rel->desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(rel->desc, i)->attname);
		JsonbValue	held;

		if (!is_compared(rel, i) || i == rel->version - 1 ||
			column_agrees(rel, i, slot, replayed, true, &scope.guc_level))
			continue;
		json_of_column(rel, i, slot, &held, &scope.guc_level);
		push_pair(&state, name,
				  getKeyJsonValueFromContainer(&replayed->root, name, strlen(name), NULL), &held);
	}
	become_oneself(&scope);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* {"column": value, …} of the whole row, nothing hidden. */
static Jsonb *
row_as_json(TrackedRel *rel, TupleTableSlot *slot)
{
	JsonbParseState *state = NULL;
	OwnerScope	scope;

	become_owner(rel, &scope);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < rel->desc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(rel->desc, i)->attname);
		JsonbValue	value;

		if (TupleDescAttr(rel->desc, i)->attisdropped)
			continue;
		json_of_text(&value, name, strlen(name));
		pushJsonbValue(&state, WJB_KEY, &value);
		json_of_value(rel, i, slot, &value, &scope.guc_level);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	become_oneself(&scope);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

PG_FUNCTION_INFO_V1(journal_differences);

/* journal_differences(entity text, tracked record, replayed jsonb) returns text[] */
Datum
journal_differences(PG_FUNCTION_ARGS)
{
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RuleCache  *cache = rule_cache(false);
	Datum		names = 0;

	cache->pins++;
	PG_TRY();
	{
		TupleTableSlot *slot;
		TrackedRel *rel = entity_of_record(cache, entity, PG_GETARG_HEAPTUPLEHEADER(1), &slot);

		names = differing_columns(rel, slot, PG_GETARG_JSONB_P(2),
								  has_privs_of_role(GetUserId(), cache->owner));
		ExecDropSingleTupleTableSlot(slot);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	PG_RETURN_DATUM(names);
}

PG_FUNCTION_INFO_V1(tracked_row);

/* tracked_row(entity text, tracked record) returns jsonb */
Datum
tracked_row(PG_FUNCTION_ARGS)
{
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RuleCache  *cache = rule_cache(false);
	Jsonb	   *row = NULL;

	cache->pins++;
	PG_TRY();
	{
		TupleTableSlot *slot;
		TrackedRel *rel = entity_of_record(cache, entity, PG_GETARG_HEAPTUPLEHEADER(1), &slot);

		row = row_as_json(rel, slot);
		ExecDropSingleTupleTableSlot(slot);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	PG_RETURN_JSONB_P(row);
}
