/*-------------------------------------------------------------------------
 *
 * journal_baseline.c
 *		Putting on record what was never recorded.
 *
 * Where verify_coverage() finds a row that is not what the journal says, and
 * it turns out to be right, a journal row with action "baseline" says so: the
 * columns that differ, as [told, held].
 *
 * IDENTIFICATION
 *		src/journal_baseline.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/builtins.h"

#include "compat.h"
#include "entity.h"
#include "journal.h"
#include "rule.h"

PG_FUNCTION_INFO_V1(journal_baseline);

/*
 * journal_baseline(entity text, org_id bigint, id bigint, tracked record,
 * replayed jsonb) returns void.  Without a row, what the journal says is there
 * is recorded as deleted.
 */
Datum
journal_baseline(PG_FUNCTION_ARGS)
{
	char	   *entity;
	int64		org_id = PG_GETARG_INT64(1);
	RuleCache  *cache = rule_cache(true);
	JournalRow	row;
	TableWriter *writer = NULL;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) ||
		(PG_ARGISNULL(4) && !PG_ARGISNULL(3)))
		PG_RETURN_VOID();
	entity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	memset(row.nulls, true, sizeof(row.nulls));
	journal_put(&row, J_ORG_ID, Int64GetDatum(org_id));
	journal_put(&row, J_ENTITY, CStringGetTextDatum(entity));
	journal_put(&row, J_ENTITY_ID, Int64GetDatum(PG_GETARG_INT64(2)));
	journal_put(&row, J_ACTION, CStringGetTextDatum(PG_ARGISNULL(3) ? "delete" : "baseline"));
	cache->pins++;
	journal_depth++;
	PG_TRY();
	{
		if (!PG_ARGISNULL(3))
		{
			TupleTableSlot *slot;
			TrackedRel *rel = entity_of_record(cache, entity, PG_GETARG_HEAPTUPLEHEADER(3), &slot);

			journal_put(&row, J_CHANGES,
						JsonbPGetDatum(journal_unrecorded(rel, slot, PG_GETARG_JSONB_P(4))));
			if (rel->version != 0 && !slot->tts_isnull[rel->version - 1])
				journal_put(&row, J_VERSION, slot->tts_values[rel->version - 1]);
		}
		else
			journal_put(&row, J_TRANSITION, CStringGetTextDatum("baseline"));
		journal_put_circumstances(&row, org_id);
		journal_write(cache, &row, &writer, CurrentMemoryContext);
	}
	PG_FINALLY();
	{
		cache->pins--;
		journal_depth--;
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}
