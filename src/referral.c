/*-------------------------------------------------------------------------
 *
 * referral.c
 *		Module start.
 *
 * IDENTIFICATION
 *		src/referral.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "compat.h"
#include "entity.h"
#include "journal.h"
#include "match_review.h"
#include "matching_find.h"
#include "rule.h"
#include "work.h"
#include "work_queue.h"
#include "security.h"
#include "table_writer.h"
#include "sla_view.h"
#include "source_of_record.h"
#include "workflow.h"

PG_MODULE_MAGIC_EXT(.name = "referral", .version = "0.1");

void		_PG_init(void);

void
_PG_init(void)
{
	entity_init();
	security_init();
	rule_cache_init();
	rule_init();
	work_claim_init();
	work_queue_init();
	workflow_init();
	table_writer_init();
	journal_write_init();
	journal_move_init();
	sla_view_init();
	match_review_init();
	matching_index_init();
	source_of_record_init();
	MarkGUCPrefixReserved("referral");	/* all are defined now */
}
