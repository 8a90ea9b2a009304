/*-------------------------------------------------------------------------
 *
 * hl7_tree.h
 *		Trees of JsonbValue that become a case of intake.
 *
 * Members of an object are kept in the order of jsonb, so that a tree can be
 * laid out as it is.  Strings stay where they are; values that are put in two
 * places are shared, and a shared object or array is not changed any more.
 *
 * IDENTIFICATION
 *		src/hl7_tree.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_HL7_TREE_H
#define REFERRAL_HL7_TREE_H

#include "utils/jsonb.h"

/* A piece of the message, without blanks around it; text is NULL for none. */
typedef struct Hl7Slice
{
	const char *text;
	int			length;
} Hl7Slice;

extern void hl7_new_object(JsonbValue *object);
extern void hl7_new_array(JsonbValue *array);
extern void hl7_add(JsonbValue *object, const char *key, int length, const JsonbValue *value);
extern void hl7_add_slice(JsonbValue *object, const char *key, Hl7Slice slice);
extern void hl7_put(JsonbValue *object, const char *key, const JsonbValue *value);
extern void hl7_put_text(JsonbValue *object, const char *key, const char *text);
extern void hl7_put_new(JsonbValue *object, const char *key, const JsonbValue *value);
extern void hl7_merge(JsonbValue *object, const JsonbValue *other);
extern void hl7_remove(JsonbValue *object, const char *key);
extern JsonbValue *hl7_find(const JsonbValue *object, const char *key);
extern Hl7Slice hl7_find_text(const JsonbValue *object, const char *key);
extern void hl7_push(JsonbValue *array, const JsonbValue *value);
extern void hl7_append(JsonbValue *array, const JsonbValue *value);
extern void hl7_concat(JsonbValue *array, const JsonbValue *other);
extern Hl7Slice hl7_in_capitals(Hl7Slice text);
extern bool hl7_is_one_of(Hl7Slice text, const char *const *values, int n);
extern void hl7_expand(const JsonbValue *value, JsonbValue *tree);

static inline Hl7Slice
hl7_slice(const char *text)
{
	return (Hl7Slice) {text, strlen(text)};
}

static inline bool
hl7_is(Hl7Slice slice, const char *text)
{
	return slice.text != NULL && slice.length == (int) strlen(text) &&
		memcmp(slice.text, text, slice.length) == 0;
}

/* Whether an object has no member, or an array no element. */
static inline bool
hl7_is_empty(const JsonbValue *value)
{
	return value->type == jbvObject ? value->val.object.nPairs == 0 :
		value->type == jbvArray && value->val.array.nElems == 0;
}

#endif							/* REFERRAL_HL7_TREE_H */
