/*-------------------------------------------------------------------------
 *
 * intake_latest.c
 *		Which message told last of a row.
 *
 * IDENTIFICATION
 *		src/intake_latest.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "compat.h"
#include "intake_message.h"
#include "rule.h"
#include "security.h"

/* A row that a case told of. */
typedef struct ToldRow
{
	const char *entity;			/* one of "remembered" */
	int64		id;
} ToldRow;

/* Messages correct these; of others each message may only tell more. */
static const char *const remembered[] = {
	"appointment", "communication", "consult_report", "coverage", "document", "patient", "prior_authorization",
	"referral"
};

static IntakeStatement note_latest = {
	.sql = "INSERT INTO referral.intake_latest AS t (org_id, entity, entity_id, source, sent_at, message_id)"
	" SELECT $1, x.entity, x.id, $3, $4, $2 FROM unnest($5, $6) x (entity, id)"
	" ON CONFLICT ON CONSTRAINT intake_latest_pkey DO UPDATE SET sent_at = excluded.sent_at, message_id = excluded.message_id"
	" WHERE CASE WHEN t.sent_at <> excluded.sent_at THEN excluded.sent_at > t.sent_at ELSE excluded.message_id > t.message_id END",
	.nargs = 6,.argtypes = {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTARRAYOID, INT8ARRAYOID}
};

static const char *
remembered_entity(JsonbContainer *line)
{
	JsonbValue	v;

	if (getKeyJsonValueFromContainer(line, "entity", 6, &v) == NULL || v.type != jbvString)
		return NULL;
	for (int i = 0; i < lengthof(remembered); i++)
	{
		if (v.val.string.len == strlen(remembered[i]) &&
			memcmp(v.val.string.val, remembered[i], v.val.string.len) == 0)
			return remembered[i];
	}
	return NULL;
}

static int
compare_rows(const void *a, const void *b)
{
	const ToldRow *x = a;
	const ToldRow *y = b;
	int			order = strcmp(x->entity, y->entity);

	if (order != 0)
		return order;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Each once, and in one order, in which all sessions lock them. */
static int
read_rows(Jsonb *results, ToldRow **rows)
{
	int			n = JB_ROOT_IS_ARRAY(results) ? JB_ROOT_COUNT(results) : 0;
	int			told = 0;
	int			kept = 0;

	*rows = palloc((n + 1) * sizeof(ToldRow));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *line = getIthJsonbValueFromContainer(&results->root, i);
		JsonbValue	id;

		if (line->type != jbvBinary || !JsonContainerIsObject(line->val.binary.data))
			continue;
		(*rows)[told].entity = remembered_entity(line->val.binary.data);
		if ((*rows)[told].entity == NULL ||
			getKeyJsonValueFromContainer(line->val.binary.data, "id", 2, &id) == NULL || id.type != jbvNumeric)
			continue;
		(*rows)[told++].id = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(id.val.numeric)));
	}
	qsort(*rows, told, sizeof(ToldRow), compare_rows);
	for (int i = 0; i < told; i++)
	{
		if (i == 0 || compare_rows(&(*rows)[i], &(*rows)[i - 1]) != 0)
			(*rows)[kept++] = (*rows)[i];
	}
	return kept;
}

/*
 * As the owner of the model when it is so: nobody else has the right to say
 * which messages are out of date.
 */
static void
write_latest(bool is_so, Datum *args, const char *nulls)
{
	OwnerScope	scope;
	int			level;

	if (is_so)
	{
		security_begin_read(&scope, rule_cache(false)->owner);
		intake_do(&note_latest, args, nulls);
		security_end_read(&scope);
	}
	else
	{
		level = intake_begin();
		intake_do(&note_latest, args, nulls);
		intake_end(level);
	}
}

PG_FUNCTION_INFO_V1(intake_note_latest);
Datum
intake_note_latest(PG_FUNCTION_ARGS)
{
	Datum		args[6];
	ToldRow    *rows;
	int			n;

	/* sent_at may be null */
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(4))
		PG_RETURN_VOID();
	n = read_rows(PG_GETARG_JSONB_P(4), &rows);
	if (n > 0)
	{
		Datum	   *entities = palloc(n * sizeof(Datum));
		Datum	   *ids = palloc(n * sizeof(Datum));

		for (int i = 0; i < n; i++)
		{
			entities[i] = CStringGetTextDatum(rows[i].entity);
			ids[i] = Int64GetDatum(rows[i].id);
		}
		for (int i = 0; i < 4; i++)
			args[i] = PG_GETARG_DATUM(i);
		args[4] = PointerGetDatum(construct_array(entities, n, TEXTOID, -1, false, TYPALIGN_INT));
		args[5] = PointerGetDatum(construct_array(ids, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		write_latest(intake_is_message_in_work(PG_GETARG_INT64(0), PG_GETARG_INT64(1)), args,
					 PG_ARGISNULL(3) ? "   n  " : NULL);
	}
	PG_RETURN_VOID();
}
