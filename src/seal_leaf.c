/*-------------------------------------------------------------------------
 *
 * seal_leaf.c
 *		The bytes that a journal row is hashed as.
 *
 * Version 1: one byte 1, then each column of the journal in the order of
 * journal_columns, as a 4-byte length and that many bytes; length -1 is null.
 * Integers, xid8 and timestamps (microseconds from 2000-01-01 00:00 UTC) are
 * big-endian, as in COPY BINARY; text, the labels of enums and the text of
 * jsonb are UTF-8.  No setting of the session has a part in it.
 *
 * IDENTIFICATION
 *		src/seal_leaf.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "seal.h"

#define LEAF_VERSION	1

/* How a column becomes bytes. */
typedef enum LeafKind
{
	LEAF_INT8,					/* bigint, xid8, timestamptz */
	LEAF_INT4,
	LEAF_TEXT,
	LEAF_STATE,
	LEAF_JSONB
} LeafKind;

static const LeafKind leaf_kinds[J_NCOLUMNS] = {
	[J_ORG_ID] = LEAF_INT8, [J_JOURNAL_ID] = LEAF_INT8, [J_ENTITY] = LEAF_TEXT,
	[J_ENTITY_ID] = LEAF_INT8, [J_VERSION] = LEAF_INT8, [J_ACTION] = LEAF_TEXT,
	[J_TRANSITION] = LEAF_TEXT, [J_FROM_STEP] = LEAF_TEXT, [J_TO_STEP] = LEAF_TEXT,
	[J_FROM_STATE] = LEAF_STATE, [J_TO_STATE] = LEAF_STATE, [J_ACTOR] = LEAF_TEXT,
	[J_ACTOR_KIND] = LEAF_TEXT, [J_DB_USER] = LEAF_TEXT, [J_APPLICATION_NAME] = LEAF_TEXT,
	[J_REASON] = LEAF_TEXT, [J_ORIGIN] = LEAF_TEXT, [J_CORRELATION_ID] = LEAF_TEXT,
	[J_RULE_VERSION] = LEAF_INT8, [J_OCCURRED_AT] = LEAF_INT8, [J_RECORDED_AT] = LEAF_INT8,
	[J_XID_EPOCH] = LEAF_INT4, [J_XID] = LEAF_INT8, [J_CHANGES] = LEAF_JSONB
};

static bool
kind_fits(LeafKind kind, Oid type)
{
	switch (kind)
	{
		case LEAF_INT8:
			return type == INT8OID || type == XID8OID || type == TIMESTAMPTZOID;
		case LEAF_INT4:
			return type == INT4OID;
		case LEAF_TEXT:
			return type == TEXTOID;
		case LEAF_JSONB:
			return type == JSONBOID;
		case LEAF_STATE:
			return type_is_enum(type);
	}
	return false;
}

LeafEncoder *
leaf_encoder_create(void)
{
	LeafEncoder *encoder = palloc0(sizeof(LeafEncoder));

	initStringInfo(&encoder->bytes);
	encoder->scratch = AllocSetContextCreate(CurrentMemoryContext, "journal leaf",
											 ALLOCSET_DEFAULT_SIZES);
	return encoder;
}

/* Find the journal's columns by name: in a partition they may be in another order. */
void
leaf_learn(LeafEncoder *encoder, TupleDesc desc)
{
	for (int c = 0; c < J_NCOLUMNS; c++)
	{
		encoder->attno[c] = 0;
		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			if (!att->attisdropped && strcmp(NameStr(att->attname), journal_columns[c]) == 0 &&
				kind_fits(leaf_kinds[c], att->atttypid))
				encoder->attno[c] = att->attnum;
		}
		if (encoder->attno[c] == 0)
			ereport(ERROR,
					(errcode(ERRCODE_RF_NOT_DEPLOYED),
					 errmsg("the row is not one of the journal"),
					 errdetail("It has no column \"%s\" of the journal's type.", journal_columns[c]),
					 errhint("Give a whole row of referral.journal.")));
	}
}

/* Room is made before anything is written, so none is checked for again. */
static inline void
put_int4(StringInfo out, int32 value)
{
	uint32		big_endian = pg_hton32((uint32) value);

	memcpy(out->data + out->len, &big_endian, 4);
	out->len += 4;
}

static inline void
put_int8(StringInfo out, int64 value)
{
	uint64		big_endian = pg_hton64((uint64) value);

	memcpy(out->data + out->len, &big_endian, 8);
	out->len += 8;
}

static void
put_string(StringInfo out, const char *string, int length)
{
	char	   *utf8 = pg_server_to_any(string, length, PG_UTF8);

	if (utf8 != string)
		length = strlen(utf8);
	enlargeStringInfo(out, length + 4);
	put_int4(out, length);
	memcpy(out->data + out->len, utf8, length);
	out->len += length;
}

static const char *
enum_label(LeafEncoder *encoder, Oid value)
{
	HeapTuple	tuple;
	char	   *label;

	for (int i = 0; i < encoder->nlabels; i++)
		if (encoder->labels[i].value == value)
			return encoder->labels[i].label;
	tuple = SearchSysCache1(ENUMOID, ObjectIdGetDatum(value));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for enum value %u", value);
	label = MemoryContextStrdup(GetMemoryChunkContext(encoder),
								NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel));
	ReleaseSysCache(tuple);
	if (encoder->nlabels < lengthof(encoder->labels))
	{
		encoder->labels[encoder->nlabels].value = value;
		encoder->labels[encoder->nlabels++].label = label;
	}
	return label;
}

static void
put_jsonb(StringInfo out, Jsonb *jsonb)
{
	int			start;

	enlargeStringInfo(out, 4);
	start = out->len;
	out->len += 4;
	JsonbToCString(out, &jsonb->root, VARSIZE(jsonb));
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		int			end = out->len;

		out->len = start;
		put_int4(out, end - start - 4);
		out->len = end;
	}
	else
	{
		char	   *text = pnstrdup(out->data + start + 4, out->len - start - 4);

		out->len = start;
		put_string(out, text, strlen(text));
	}
}

static void
put_value(LeafEncoder *encoder, LeafKind kind, Datum value)
{
	StringInfo	out = &encoder->bytes;

	switch (kind)
	{
		case LEAF_INT8:
			enlargeStringInfo(out, 12);
			put_int4(out, 8);
			put_int8(out, DatumGetInt64(value));
			break;
		case LEAF_INT4:
			enlargeStringInfo(out, 8);
			put_int4(out, 4);
			put_int4(out, DatumGetInt32(value));
			break;
		case LEAF_TEXT:
			{
				text	   *t = DatumGetTextPP(value);

				put_string(out, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
				break;
			}
		case LEAF_STATE:
			{
				const char *label = enum_label(encoder, DatumGetObjectId(value));

				put_string(out, label, strlen(label));
				break;
			}
		case LEAF_JSONB:
			put_jsonb(out, DatumGetJsonbP(value));
			break;
	}
}

Datum
leaf_column(LeafEncoder *encoder, TupleTableSlot *slot, JournalColumn column, bool *isnull)
{
	return slot_getattr(slot, encoder->attno[column], isnull);
}

bool
leaf_is_of_seal(LeafEncoder *encoder, TupleTableSlot *slot)
{
	bool		isnull;
	text	   *entity = DatumGetTextPP(leaf_column(encoder, slot, J_ENTITY, &isnull));

	return VARSIZE_ANY_EXHDR(entity) == 4 && memcmp(VARDATA_ANY(entity), "seal", 4) == 0;
}

SealPosition
leaf_position(LeafEncoder *encoder, TupleTableSlot *slot)
{
	SealPosition position;
	bool		isnull;

	position.xid_epoch = DatumGetInt32(leaf_column(encoder, slot, J_XID_EPOCH, &isnull));
	position.xid = DatumGetFullTransactionId(leaf_column(encoder, slot, J_XID, &isnull));
	position.journal_id = DatumGetInt64(leaf_column(encoder, slot, J_JOURNAL_ID, &isnull));
	return position;
}

bool
seal_is_after(const SealPosition *a, const SealPosition *b)
{
	if (a->xid_epoch != b->xid_epoch)
		return a->xid_epoch > b->xid_epoch;
	if (!FullTransactionIdEquals(a->xid, b->xid))
		return FullTransactionIdPrecedes(b->xid, a->xid);
	return a->journal_id > b->journal_id;
}

/* The leaf of a row; in encoder->bytes until the next one. */
void
leaf_encode(LeafEncoder *encoder, TupleTableSlot *slot)
{
	StringInfo	out = &encoder->bytes;
	MemoryContext caller;

	slot_getallattrs(slot);
	resetStringInfo(out);
	appendStringInfoCharMacro(out, LEAF_VERSION);
	caller = MemoryContextSwitchTo(encoder->scratch);
	for (int c = 0; c < J_NCOLUMNS; c++)
	{
		AttrNumber	attno = encoder->attno[c];

		if (!slot->tts_isnull[attno - 1])
			put_value(encoder, leaf_kinds[c], slot->tts_values[attno - 1]);
		else
		{
			enlargeStringInfo(out, 4);
			put_int4(out, -1);
		}
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(encoder->scratch);
}

PG_FUNCTION_INFO_V1(journal_leaf);

/* journal_leaf(journal_row record) returns bytea */
Datum
journal_leaf(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											  HeapTupleHeaderGetTypMod(header));
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	LeafEncoder *encoder = leaf_encoder_create();
	HeapTupleData tuple = {0};
	bytea	   *leaf;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	ExecStoreHeapTuple(&tuple, slot, false);
	leaf_learn(encoder, desc);
	leaf_encode(encoder, slot);
	leaf = (bytea *) cstring_to_text_with_len(encoder->bytes.data, encoder->bytes.len);
	ExecDropSingleTupleTableSlot(slot);
	ReleaseTupleDesc(desc);
	PG_RETURN_BYTEA_P(leaf);
}
