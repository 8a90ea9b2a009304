/*-------------------------------------------------------------------------
 *
 * table_writer.h
 *		A table held open for the rows that one statement's triggers write.
 *
 * IDENTIFICATION
 *		src/table_writer.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_TABLE_WRITER_H
#define REFERRAL_TABLE_WRITER_H

#include "lib/ilist.h"
#include "nodes/execnodes.h"
#include "utils/relcache.h"
#include "utils/resowner.h"

typedef struct TableWriter
{
	dlist_node	node;			/* in open_writers, while it is open */
	Oid			relid;			/* InvalidOid when it is not */
	uint64		generation;		/* as given when it was opened */
	SubTransactionId subid;
	ResourceOwner owner;
	EState	   *estate;
	ResultRelInfo *rri;
	TupleTableSlot *slot;
	MemoryContextCallback callback;
} TableWriter;

extern void table_writer_init(void);
extern TableWriter *table_writer_get(TableWriter **kept, MemoryContext lifetime, Oid relid,
									 uint64 generation);
extern List *table_added_columns(Relation rel, const AttrNumber *ours, int nours,
								 MemoryContext context);
extern void table_writer_fill(TableWriter *writer, const AttrNumber *attnos, const Datum *values,
							  const bool *nulls, int ncolumns, List *added);
extern bool table_writer_insert(TableWriter *writer);
extern void table_writer_update(TableWriter *writer, ItemPointer tid);

#endif							/* REFERRAL_TABLE_WRITER_H */
