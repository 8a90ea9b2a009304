/*-------------------------------------------------------------------------
 *
 * hl7_jsonb.h
 *		jsonb written from the inside out.
 *
 * A message has some thousand values of a few bytes.  A tree of JsonbValue
 * takes ten times the room of the jsonb that comes of it, and most of the time
 * goes into getting that memory.  Here the items of an object or array are
 * gathered in a list, whose strings stay where they are in the message; when
 * the list is complete, it is laid out as jsonb has it, among the bytes of the
 * list above, where it is one item.  That needs no sorting, since keys are added
 * in the order of jsonb: shorter ones first, then by their bytes.
 *
 * IDENTIFICATION
 *		src/hl7_jsonb.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_HL7_JSONB_H
#define REFERRAL_HL7_JSONB_H

#include "utils/jsonb.h"

typedef struct Hl7Item
{
	const char *key;			/* in an object */
	const char *text;			/* NULL when it is an object or array */
	int			key_length;
	int			length;
	uint32		start;			/* of an object or array in the list's bytes */
} Hl7Item;

/* All zero is an empty list. */
typedef struct Hl7Items
{
	Hl7Item    *items;
	int			n;
	int			allocated;
	char	   *bytes;			/* of the items that are objects or arrays */
	Size		size;
	Size		allocated_bytes;
	Size		room;			/* at most what the items take, without their entries */
} Hl7Items;

extern void hl7_items_grow(Hl7Items *list);
extern void hl7_items_close(Hl7Items *list, int n, bool is_array, Hl7Items *into, const char *key,
							int key_length);
extern Jsonb *hl7_items_to_jsonb(Hl7Items *list);

static inline Hl7Item *
items_add(Hl7Items *list, const char *key, int key_length, int length)
{
	Hl7Item    *item;

	if (list->n == list->allocated)
		hl7_items_grow(list);
	item = &list->items[list->n++];
	item->key = key;
	item->key_length = key_length;
	item->length = length;
	list->room += key_length + length + sizeof(uint32) - 1;
	return item;
}

static inline void
items_add_text(Hl7Items *list, const char *key, int key_length, const char *text, int length)
{
	items_add(list, key, key_length, length)->text = text;
}

static inline void
items_clear(Hl7Items *list)
{
	list->n = 0;
	list->size = 0;
	list->room = 0;
}

#endif							/* REFERRAL_HL7_JSONB_H */
