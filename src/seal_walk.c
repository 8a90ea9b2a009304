/*-------------------------------------------------------------------------
 *
 * seal_walk.c
 *		The journal rows of an organisation in their order, and who may ask.
 *
 * IDENTIFICATION
 *		src/seal_walk.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "seal.h"
#include "security.h"

typedef struct WalkReceiver
{
	DestReceiver pub;
	LeafEncoder *encoder;
	SealRow		row;
	void	   *arg;
} WalkReceiver;

static void
walk_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	leaf_learn(((WalkReceiver *) self)->encoder, desc);
}

static bool
walk_receive(TupleTableSlot *slot, DestReceiver *self)
{
	WalkReceiver *receiver = (WalkReceiver *) self;

	CHECK_FOR_INTERRUPTS();
	return receiver->row(receiver->arg, slot);
}

static void
walk_shutdown(DestReceiver *self)
{
}

static void
walk_destroy(DestReceiver *self)
{
}

static void
add_param(ParamListInfo params, Oid type, Datum value)
{
	ParamExternData *param = &params->params[params->numParams++];

	param->value = value;
	param->isnull = false;
	param->pflags = PARAM_FLAG_CONST;
	param->ptype = type;
}

/* The primary key has the order; sorting millions of rows would be no help. */
static int
walk_settings(void)
{
	static const char *const off[] = {
		"enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort", "jit"
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	(void) set_config_option("max_parallel_workers_per_gather", "0", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * Calls "row" for each row after "from", in order;
 * when until_xid is valid, for those before (until_epoch, until_xid) only.  The
 * encoder is told where the columns are.
 * Needs a security_begin_read() around it.
 */
void
seal_walk(int64 org_id, SealPosition from, int32 until_epoch, FullTransactionId until_xid,
		  LeafEncoder *encoder, SealRow row, void *arg)
{
	WalkReceiver receiver = {
		{walk_receive, walk_startup, walk_shutdown, walk_destroy, DestNone}, encoder, row, arg
	};
	ParamListInfo params = makeParamList(6);
	SPIExecuteOptions options = {0};
	int			guc_level = walk_settings();
	bool		bounded = FullTransactionIdIsValid(until_xid);

	params->numParams = 0;
	add_param(params, INT8OID, Int64GetDatum(org_id));
	add_param(params, INT4OID, Int32GetDatum(from.xid_epoch));
	add_param(params, XID8OID, FullTransactionIdGetDatum(from.xid));
	add_param(params, INT8OID, Int64GetDatum(from.journal_id));
	add_param(params, INT4OID, Int32GetDatum(until_epoch));
	add_param(params, XID8OID, FullTransactionIdGetDatum(until_xid));
	options.params = params;
	options.read_only = true;
	options.dest = &receiver.pub;
	if (SPI_execute_extended(bounded
							 ? "SELECT j.*, j.tableoid FROM referral.journal j WHERE j.org_id = $1"
							 " AND (j.xid_epoch, j.xid, j.journal_id) > ($2, $3, $4)"
							 " AND (j.xid_epoch, j.xid) < ($5, $6)"
							 " ORDER BY j.xid_epoch, j.xid, j.journal_id"
							 : "SELECT j.*, j.tableoid FROM referral.journal j WHERE j.org_id = $1"
							 " AND (j.xid_epoch, j.xid, j.journal_id) > ($2, $3, $4)"
							 " ORDER BY j.xid_epoch, j.xid, j.journal_id",
							 &options) < 0)
		elog(ERROR, "could not read referral.journal");
	AtEOXact_GUC(false, guc_level);
}

/* As the row-level security of the journal has it. */
bool
seal_may_see(RuleCache *cache, int64 org_id)
{
	Oid			journal = get_relname_relid("journal", cache->namespace_id);
	bool		exists;

	if (!OidIsValid(journal) || check_enable_rls(journal, InvalidOid, true) != RLS_ENABLED)
		return true;
	if (org_id == 0)
		return security_has_role("referral_auditor", &exists);
	return security_sees_org(org_id);
}

void
seal_require_org(RuleCache *cache, int64 org_id)
{
	if (!seal_may_see(cache, org_id))
		ereport(ERROR,
				(errcode(ERRCODE_RF_ROLE),
				 errmsg("organisation " INT64_FORMAT " is not one of yours", org_id),
				 errdetail("Its journal is for its members, that of the installation (0) for referral_auditor."),
				 errhint("See referral.visible_orgs().")));
}
