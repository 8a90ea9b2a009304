/*-------------------------------------------------------------------------
 *
 * compat.h
 *		The differences between PostgreSQL majors, in one place.
 *
 * Written against 15; everything below gives the newer name to the older
 * server or hides a changed signature.
 *
 * IDENTIFICATION
 *		src/compat.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_COMPAT_H
#define REFERRAL_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "referral needs PostgreSQL 15 or newer"
#endif

#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "utils/acl.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 16 folded the per-class ACL checks into one function. */
static inline bool
compat_may_execute(Oid funcid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, funcid, roleid,
						   ACL_EXECUTE) == ACLCHECK_OK;
#else
	return pg_proc_aclcheck(funcid, roleid, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

static inline bool
compat_may_use_schema(Oid schema, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, schema, roleid, ACL_USAGE) == ACLCHECK_OK;
#else
	return pg_namespace_aclcheck(schema, roleid, ACL_USAGE) == ACLCHECK_OK;
#endif
}

/* 16 lets the caller say that a datum need not be copied. */
#if PG_VERSION_NUM >= 160000
#define compat_tuplesort_getdatum(sort, datum, null) \
	tuplesort_getdatum(sort, true, false, datum, null, NULL)
#else
#define compat_tuplesort_getdatum(sort, datum, null) \
	tuplesort_getdatum(sort, true, datum, null, NULL)
#endif

/* 17 dropped "snapshot too old", and with it the snapshot. */
#if PG_VERSION_NUM >= 170000
#define compat_gin_find_leaf_page(btree, snapshot) \
	ginFindLeafPage(btree, true, false)
#define compat_gin_begin_posting_tree(btree, index, root, snapshot) \
	ginScanBeginPostingTree(btree, index, root)
#else
#define compat_gin_find_leaf_page(btree, snapshot) \
	ginFindLeafPage(btree, true, false, snapshot)
#define compat_gin_begin_posting_tree(btree, index, root, snapshot) \
	ginScanBeginPostingTree(btree, index, root, snapshot)
#endif

/* 16 has memory of its own for what a setting keeps beside its value. */
#if PG_VERSION_NUM >= 160000
#define compat_guc_malloc(size) guc_malloc(LOG, size)
#else
#define compat_guc_malloc(size) malloc(size)
#endif

/* 18 writes it before the declaration, where C11 wants it. */
#ifndef pg_noreturn
#define pg_noreturn __attribute__((noreturn))
#endif

/* 18 counts what a scan does for EXPLAIN. */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(rel, index, snapshot, nkeys) \
	index_beginscan(rel, index, snapshot, nkeys, 0)
#endif

/* 18 gave the module magic a name and a version. */
#ifndef PG_MODULE_MAGIC_EXT
#define PG_MODULE_MAGIC_EXT(...) PG_MODULE_MAGIC
#endif

#endif							/* REFERRAL_COMPAT_H */
