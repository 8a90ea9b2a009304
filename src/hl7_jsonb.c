/*-------------------------------------------------------------------------
 *
 * hl7_jsonb.c
 *		jsonb written from the inside out.
 *
 * The layout is that of utils/jsonb.h, to the byte what the server writes for
 * the same document; test/pgtap/hl7.sql compares the two.
 *
 * IDENTIFICATION
 *		src/hl7_jsonb.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "hl7_jsonb.h"

#define FIRST_ITEMS		16
#define FIRST_BYTES		256

typedef struct Writer
{
	JEntry	   *entries;
	char	   *bytes;
	int			n;				/* entries written */
	uint32		length;			/* of the bytes behind them */
} Writer;

void
hl7_items_grow(Hl7Items *list)
{
	list->allocated = list->allocated == 0 ? FIRST_ITEMS : list->allocated * 2;
	list->items = list->items == NULL ? palloc(list->allocated * sizeof(Hl7Item)) :
		repalloc(list->items, list->allocated * sizeof(Hl7Item));
}

/* Room for so many more bytes, at a place that is aligned as jsonb wants it. */
static void *
reserve(Hl7Items *list, Size size)
{
	list->size = INTALIGN(list->size);
	if (list->size + size > list->allocated_bytes)
	{
		list->allocated_bytes = Max(Max(list->allocated_bytes * 2, list->size + size),
									FIRST_BYTES);
		list->bytes = list->bytes == NULL ? palloc(list->allocated_bytes) :
			repalloc(list->bytes, list->allocated_bytes);
	}
	return list->bytes + list->size;
}

/* Every so many entries one has the end of its bytes in place of their length. */
static inline void
add_entry(Writer *writer, uint32 type, uint32 length)
{
	writer->length += length;
	writer->entries[writer->n] = type |
		(writer->n % JB_OFFSET_STRIDE == 0 ? JENTRY_HAS_OFF | writer->length : length);
	writer->n++;
}

static inline void
add_string(Writer *writer, const char *text, int length)
{
	memcpy(writer->bytes + writer->length, text, length);
	add_entry(writer, JENTRY_ISSTRING, length);
}

/* The padding before an object or array is part of it. */
static inline void
add_container(Writer *writer, const char *bytes, int length)
{
	uint32		padding = INTALIGN(writer->length) - writer->length;

	memset(writer->bytes + writer->length, 0, padding);
	memcpy(writer->bytes + writer->length + padding, bytes, length);
	add_entry(writer, JENTRY_ISCONTAINER, padding + length);
}

static Size
most_room(const Hl7Items *list, int n, bool is_array)
{
	Size		size = sizeof(JsonbContainer) + n * (is_array ? 1 : 2) * sizeof(JEntry) +
		list->room;

	if (size > JENTRY_OFFLENMASK)
		elog(ERROR, "an HL7 message is too large for jsonb");
	return size;
}

/* Lays the first n items of a list out; returns how many bytes they take. */
static int
lay_out(const Hl7Items *list, int n, bool is_array, JsonbContainer *container)
{
	Writer		writer = { 0 };

	writer.entries = container->children;
	writer.bytes = (char *) (container->children + n * (is_array ? 1 : 2));
	container->header = n | (is_array ? JB_FARRAY : JB_FOBJECT);
	for (int i = 0; i < n && !is_array; i++)
		add_string(&writer, list->items[i].key, list->items[i].key_length);
	for (int i = 0; i < n; i++)
	{
		const Hl7Item *item = &list->items[i];

		if (item->text != NULL)
			add_string(&writer, item->text, item->length);
		else
			add_container(&writer, list->bytes + item->start, item->length);
	}
	return writer.bytes + writer.length - (char *) container;
}

/* Makes the first n items of a list one item of another, and leaves it empty. */
void
hl7_items_close(Hl7Items *list, int n, bool is_array, Hl7Items *into, const char *key,
				int key_length)
{
	void	   *place = reserve(into, most_room(list, n, is_array));
	int			length = lay_out(list, n, is_array, place);
	Hl7Item    *item = items_add(into, key, key_length, length);

	item->text = NULL;
	item->start = into->size;
	into->size += length;
	items_clear(list);
}

/* The object that a list is */
Jsonb *
hl7_items_to_jsonb(Hl7Items *list)
{
	Jsonb	   *result = palloc(VARHDRSZ + most_room(list, list->n, false));

	SET_VARSIZE(result, VARHDRSZ + lay_out(list, list->n, false, &result->root));
	return result;
}
