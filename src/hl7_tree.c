/*-------------------------------------------------------------------------
 *
 * hl7_tree.c
 *		Trees of JsonbValue that become a case of intake.
 *
 * IDENTIFICATION
 *		src/hl7_tree.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/formatting.h"

#include "compat.h"
#include "hl7.h"
#include "hl7_tree.h"

#define FIRST_SIZE			8

/* ---------- texts ---------- */

Hl7Slice
hl7_in_capitals(Hl7Slice text)
{
	return text.text == NULL ? text :
		hl7_slice(str_toupper(text.text, text.length, DEFAULT_COLLATION_OID));
}

bool
hl7_is_one_of(Hl7Slice text, const char *const *values, int n)
{
	for (int i = 0; i < n; i++)
		if (hl7_is(text, values[i]))
			return true;
	return false;
}

/* ---------- objects and arrays ---------- */

void
hl7_new_object(JsonbValue *object)
{
	object->type = jbvObject;
	object->val.object.nPairs = 0;
	object->val.object.pairs = palloc(FIRST_SIZE * sizeof(JsonbPair));
}

void
hl7_new_array(JsonbValue *array)
{
	array->type = jbvArray;
	array->val.array.nElems = 0;
	array->val.array.rawScalar = false;
	array->val.array.elems = palloc(FIRST_SIZE * sizeof(JsonbValue));
}

/* Whether n elements fill an array that starts with FIRST_SIZE and doubles. */
static bool
is_full(int n)
{
	return n >= FIRST_SIZE && (n & (n - 1)) == 0;
}

/* ---------- objects ---------- */

/* In the order of jsonb: shorter keys first, then by their bytes */
static int
compare_keys(const JsonbValue *key, const char *other, int length)
{
	if (key->val.string.len != length)
		return key->val.string.len > length ? 1 : -1;
	return memcmp(key->val.string.val, other, length);
}

/* Where a key is, or where it belongs; *found says which. */
static int
find_place(const JsonbValue *object, const char *key, int length, bool *found)
{
	const JsonbPair *pairs = object->val.object.pairs;
	int			n = object->val.object.nPairs;
	int			order = -1;

	while (n > 0 && (order = compare_keys(&pairs[n - 1].key, key, length)) > 0)
		n--;
	*found = n > 0 && order == 0;
	return *found ? n - 1 : n;
}

static void
insert(JsonbValue *object, int place, const char *key, int length, const JsonbValue *value)
{
	int			n = object->val.object.nPairs;
	JsonbPair  *pair;

	if (is_full(n))
		object->val.object.pairs = repalloc(object->val.object.pairs, 2 * n * sizeof(JsonbPair));
	pair = &object->val.object.pairs[place];
	memmove(pair + 1, pair, (n - place) * sizeof(JsonbPair));
	pair->key.type = jbvString;
	pair->key.val.string.val = unconstify(char *, key);
	pair->key.val.string.len = length;
	pair->value = *value;
	object->val.object.nPairs++;
}

/* Adds a member in its place, whatever was there before. */
void
hl7_add(JsonbValue *object, const char *key, int length, const JsonbValue *value)
{
	bool		found;
	int			place = find_place(object, key, length, &found);

	if (found)
		object->val.object.pairs[place].value = *value;
	else
		insert(object, place, key, length, value);
}

/* Adds a text, unless it is none. */
void
hl7_add_slice(JsonbValue *object, const char *key, Hl7Slice slice)
{
	JsonbValue	value;

	if (slice.text == NULL)
		return;
	value.type = jbvString;
	value.val.string.val = unconstify(char *, slice.text);
	value.val.string.len = slice.length;
	hl7_add(object, key, strlen(key), &value);
}

/* Adds a value, unless it is none: NULL. */
void
hl7_put(JsonbValue *object, const char *key, const JsonbValue *value)
{
	if (value != NULL)
		hl7_add(object, key, strlen(key), value);
}

void
hl7_put_text(JsonbValue *object, const char *key, const char *text)
{
	hl7_add_slice(object, key, hl7_slice(text));
}

/* Adds a value, unless it is none or the object has the member already. */
void
hl7_put_new(JsonbValue *object, const char *key, const JsonbValue *value)
{
	if (hl7_find(object, key) == NULL)
		hl7_put(object, key, value);
}

/* Adds the members of another object, which take the place of the same here. */
void
hl7_merge(JsonbValue *object, const JsonbValue *other)
{
	if (other == NULL || other->type != jbvObject)
		return;
	for (int i = 0; i < other->val.object.nPairs; i++)
	{
		const JsonbPair *pair = &other->val.object.pairs[i];

		hl7_add(object, pair->key.val.string.val, pair->key.val.string.len, &pair->value);
	}
}

void
hl7_remove(JsonbValue *object, const char *key)
{
	JsonbPair  *pairs = object->val.object.pairs;
	bool		found;
	int			place = find_place(object, key, strlen(key), &found);

	if (!found)
		return;
	object->val.object.nPairs--;
	memmove(&pairs[place], &pairs[place + 1],
			(object->val.object.nPairs - place) * sizeof(JsonbPair));
}

/* A member; NULL when it is not there, or in what is NULL or no object. */
JsonbValue *
hl7_find(const JsonbValue *object, const char *key)
{
	bool		found;
	int			place;

	if (object == NULL || object->type != jbvObject)
		return NULL;
	place = find_place(object, key, strlen(key), &found);
	return found ? &object->val.object.pairs[place].value : NULL;
}

Hl7Slice
hl7_find_text(const JsonbValue *object, const char *key)
{
	JsonbValue *value = hl7_find(object, key);

	return value != NULL && value->type == jbvString ?
		(Hl7Slice) {value->val.string.val, value->val.string.len} : (Hl7Slice) {NULL, 0};
}

/* ---------- arrays ---------- */

void
hl7_push(JsonbValue *array, const JsonbValue *value)
{
	int			n = array->val.array.nElems;

	if (is_full(n))
		array->val.array.elems = repalloc(array->val.array.elems, 2 * n * sizeof(JsonbValue));
	array->val.array.elems[n] = *value;
	array->val.array.nElems++;
}

static bool
same_string(const JsonbValue *a, const JsonbValue *b)
{
	return a->type == jbvString && b->type == jbvString &&
		a->val.string.len == b->val.string.len &&
		memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
}

/* Appends a value to an array that is not full, a text only when it is not there yet. */
void
hl7_append(JsonbValue *array, const JsonbValue *value)
{
	int			n = array->val.array.nElems;

	CHECK_FOR_INTERRUPTS();
	if (n >= HL7_MAX_LIST)
		return;
	for (int i = 0; i < n; i++)
		if (same_string(&array->val.array.elems[i], value))
			return;
	hl7_push(array, value);
}

/* Appends the elements of another array; of NULL none. */
void
hl7_concat(JsonbValue *array, const JsonbValue *other)
{
	if (other == NULL || other->type != jbvArray)
		return;
	for (int i = 0; i < other->val.array.nElems; i++)
		hl7_push(array, &other->val.array.elems[i]);
}

/* ---------- from jsonb ---------- */

/* A value of jsonb with all that is in it as a tree, but for members that are null. */
void
hl7_expand(const JsonbValue *value, JsonbValue *tree)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key = {0};
	JsonbValue	part;
	JsonbValue	expanded;

	check_stack_depth();
	if (value->type != jbvBinary)
	{
		*tree = *value;
		return;
	}
	iterator = JsonbIteratorInit(value->val.binary.data);
	token = JsonbIteratorNext(&iterator, &part, true);
	if (token == WJB_BEGIN_OBJECT)
		hl7_new_object(tree);
	else
		hl7_new_array(tree);
	while ((token = JsonbIteratorNext(&iterator, &part, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = part;
		else if (token == WJB_VALUE || token == WJB_ELEM)
		{
			hl7_expand(&part, &expanded);
			if (token == WJB_ELEM)
				hl7_push(tree, &expanded);
			else if (expanded.type != jbvNull)
				hl7_add(tree, key.val.string.val, key.val.string.len, &expanded);
		}
	}
}
