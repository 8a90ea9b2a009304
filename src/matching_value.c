/*-------------------------------------------------------------------------
 *
 * matching_value.c
 *		The type demographics: layout, comparison, hash, binary form.
 *
 * Values that are equal have the same bytes: items are in the order of their
 * kinds; of a kind whose order tells nothing they are sorted; none is there
 * twice.
 *
 * IDENTIFICATION
 *		src/matching_value.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errors.h"
#include "matching_draft.h"
#include "matching_string.h"

/* ---------- Making a value ---------- */

DemographicsDraft *
demographics_begin(void)
{
	DemographicsDraft *draft = palloc0(sizeof(DemographicsDraft));

	draft->max = 32;
	draft->items = palloc(draft->max * sizeof(DraftItem));
	draft->size = 1024;
	draft->texts = palloc(draft->size);
	return draft;
}

static inline bool
is_sorted_kind(int kind)
{
	return kind == DEMO_PREVIOUS || kind == DEMO_PREVIOUS_PART || kind == DEMO_ALIAS ||
		kind == DEMO_SUFFIX || kind == DEMO_MOTHER_MAIDEN || kind == DEMO_PHONE ||
		kind == DEMO_EMAIL || kind == DEMO_IDENTIFIER;
}

static int
compare_bytes(const char *a, int alength, const char *b, int blength)
{
	int			order = memcmp(a, b, Min(alength, blength));

	return order != 0 ? order : alength - blength;
}

static int
draft_text(DemographicsDraft *draft, const char *text, int length)
{
	int			offset = draft->used;

	if (draft->used + length > draft->size)
	{
		draft->size = Max(2 * draft->size, draft->used + length);
		draft->texts = repalloc(draft->texts, draft->size);
	}
	memcpy(draft->texts + offset, text, length);
	draft->used += length;
	return offset;
}

/*
 * The same name in other words ("Mary Ann", "Maryann") is one name: the one of
 * more words, or of two that differ in where one ends the later by its bytes.
 */
static bool
is_again(DemographicsDraft *draft, DraftItem *item, const char *text, int length,
		 const char *shown, int shown_length)
{
	if (item->length != length || memcmp(draft->texts + item->offset, text, length) != 0)
		return false;
	if (shown_length > 0 &&
		(shown_length > item->shown_length ||
		 (shown_length == item->shown_length &&
		  memcmp(shown, draft->texts + item->offset + length, shown_length) > 0)))
	{
		item->offset = draft_text(draft, text, length);
		draft_text(draft, shown, shown_length);
		item->shown_length = shown_length;
	}
	return true;
}

void
draft_item(DemographicsDraft *draft, DemographicsKind kind, const char *text, int length,
		   const char *shown, int shown_length)
{
	DraftItem  *item;

	Assert(length > 0 && length <= DEMO_MAX_LENGTH);
	if (draft->count[kind] > 0)
	{
		for (int i = 0; i < draft->n; i++)
		{
			if (draft->items[i].kind == kind &&
				is_again(draft, &draft->items[i], text, length, shown, shown_length))
				return;
		}
	}
	if (draft->count[kind] == DRAFT_MAX_ITEMS)
		return;
	if (draft->n == draft->max)
	{
		draft->max *= 2;
		draft->items = repalloc(draft->items, draft->max * sizeof(DraftItem));
	}
	item = &draft->items[draft->n++];
	draft->count[kind]++;
	item->kind = kind;
	item->length = length;
	item->shown_length = shown_length;
	item->offset = draft_text(draft, text, length);
	if (shown_length > 0)
		draft_text(draft, shown, shown_length);
}

void
demographics_add(DemographicsDraft *draft, DemographicsKind kind, const char *text, int length)
{
	typedef void (*Reader) (DemographicsDraft *, const char *, int);
	static const Reader readers[DEMO_KINDS] = {
		[DEMO_FAMILY] = draft_family,
		[DEMO_GIVEN] = draft_given,
		[DEMO_MIDDLE] = draft_middle,
		[DEMO_SUFFIX] = draft_suffix,
		[DEMO_PHONE] = draft_phone,
		[DEMO_EMAIL] = draft_email,
		[DEMO_STREET_NUMBER] = draft_street_number,
		[DEMO_STREET] = draft_street,
		[DEMO_UNIT] = draft_unit,
		[DEMO_CITY] = draft_city,
		[DEMO_STATE] = draft_state,
		[DEMO_POSTAL] = draft_postal,
		[DEMO_IDENTIFIER] = draft_identifier,
	};

	if (kind == DEMO_PREVIOUS || kind == DEMO_ALIAS || kind == DEMO_MOTHER_MAIDEN)
		draft_names(draft, kind, text, length);
	else if (readers[kind] != NULL)
		readers[kind] (draft, text, length);
}

/* Adds the words of a name as parts, when it has several. */
static void
add_parts(DemographicsDraft *draft, const DraftItem *whole, DemographicsKind kind)
{
	char		words[PG_UINT8_MAX];
	int			length = whole->shown_length;

	/* adding a text may move the texts */
	memcpy(words, draft->texts + whole->offset + whole->length, length);
	for (int from = 0, to; from < length; from = to + 1)
	{
		for (to = from; to < length && words[to] != ' '; to++)
			;
		if (!normalize_is_initial(words + from, to - from) &&
			!name_is_particle(words + from, to - from))
			draft_item(draft, kind, words + from, to - from, NULL, 0);
	}
}

/* Moves the items of a kind to a list, in their order, at most DEMO_MAX_ITEMS; returns how many. */
static int
take_kind(DemographicsDraft *draft, int kind, DraftItem *taken)
{
	DraftItem	found[DRAFT_MAX_ITEMS];
	int			n = 0;

	if (draft->count[kind] == 0)
		return 0;
	for (int i = 0; i < draft->n; i++)
	{
		DraftItem	item = draft->items[i];
		int			place = n;

		if (item.kind != kind)
			continue;
		if (is_sorted_kind(kind))
		{
			for (; place > 0; place--)
			{
				const DraftItem *other = &found[place - 1];

				if (compare_bytes(draft->texts + other->offset, other->length,
								  draft->texts + item.offset, item.length) <= 0)
					break;
				found[place] = *other;
			}
		}
		found[place] = item;
		n++;
	}
	n = Min(n, DEMO_MAX_ITEMS);
	memcpy(taken, found, n * sizeof(DraftItem));
	return n;
}

/* The letters by which a text is compared; those of an identifier without its type. */
static uint32
item_letters(int kind, const char *text, int length)
{
	if (kind == DEMO_IDENTIFIER)
	{
		const char *bar = memchr(text, '|', length);

		length -= bar + 1 - text;
		text = bar + 1;
	}
	return string_letters(text, length);
}

Demographics *
demographics_finish(DemographicsDraft *draft)
{
	DraftItem	items[DEMO_KINDS * DEMO_MAX_ITEMS];
	uint8		first[DEMO_KINDS + 1];
	Demographics *d;
	char	   *texts;
	int			n = 0;
	int			length = 0;
	Size		size;

	for (int kind = 0; kind < DEMO_KINDS; kind++)
	{
		int			taken = take_kind(draft, kind, items + n);

		first[kind] = n;
		n += taken;
		for (int i = first[kind]; i < n; i++)
		{
			length += items[i].length + items[i].shown_length;
			if (items[i].shown_length > 0 &&
				(kind == DEMO_FAMILY || kind == DEMO_PREVIOUS || kind == DEMO_GIVEN))
				add_parts(draft, &items[i], kind + 1);
		}
	}
	first[DEMO_KINDS] = n;

	size = offsetof(Demographics, items) + n * sizeof(DemographicsItem) + length;
	d = palloc0(size);
	SET_VARSIZE(d, size);
	d->version = DEMOGRAPHICS_VERSION;
	d->sex = draft->sex;
	d->multiple_birth = draft->multiple_birth;
	d->birth_order = draft->birth_order;
	d->birth_year = draft->birth_year;
	d->birth_month = draft->birth_month;
	d->birth_day = draft->birth_day;
	memcpy(d->first, first, sizeof(first));
	texts = (char *) (d->items + n);
	length = 0;
	for (int i = 0; i < n; i++)
	{
		int			used = items[i].length + items[i].shown_length;

		memcpy(texts + length, draft->texts + items[i].offset, used);
		d->items[i].offset = length;
		d->items[i].length = items[i].length;
		d->items[i].shown_length = items[i].shown_length;
		d->items[i].letters = item_letters(items[i].kind, texts + length, items[i].length);
		length += used;
	}
	pfree(draft->items);
	pfree(draft->texts);
	pfree(draft);
	return d;
}

/* ---------- Text form ---------- */

int
demographics_shown(const Demographics *d, const DemographicsItem *item, DemographicsKind kind,
				   char *buffer)
{
	const char *text = demographics_text(d, item);
	int			length = item->length;

	if (item->shown_length > 0)
	{
		text += item->length;
		length = item->shown_length;
	}
	else if (kind == DEMO_IDENTIFIER && text[0] == '|')
	{
		text++;
		length--;
	}
	memcpy(buffer, text, length);
	if (kind == DEMO_GIVEN)
	{
		for (int i = 0; i < length; i++)
		{
			if (buffer[i] == ' ')
				buffer[i] = '-';
		}
	}
	return length;
}

/* A value of another version, which an older or newer library wrote, is not looked into. */
Demographics *
demographics_checked(Datum datum)
{
	Demographics *d = DatumGetDemographics(datum);

	if (d->version != DEMOGRAPHICS_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("a stored value is of version %d of type demographics, not %d",
						d->version, DEMOGRAPHICS_VERSION),
				 errdetail("Another version of the extension's library wrote it."),
				 errhint("Make the value again: UPDATE the row, or rewrite the table.")));
	return d;
}

PG_FUNCTION_INFO_V1(demographics_in);

Datum
demographics_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(demographics_from_json(PG_GETARG_CSTRING(0)));
}

PG_FUNCTION_INFO_V1(demographics_out);

Datum
demographics_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(demographics_to_json(demographics_checked(PG_GETARG_DATUM(0))));
}

/* ---------- Binary form ---------- */

/*
 * Version, sex, multiple birth, birth order (a byte each), year (int16), month,
 * day, number of items (a byte each); for each item but name parts its kind
 * (a byte), length (a byte) and text as in the text form, in UTF-8 whatever the
 * client's encoding is.
 */
static inline bool
is_part(int kind)
{
	return kind == DEMO_FAMILY_PART || kind == DEMO_PREVIOUS_PART || kind == DEMO_GIVEN_PART ||
		kind == DEMO_MIDDLE_PART;
}

static void
write_binary(StringInfo buf, const Demographics *d)
{
	char		shown[PG_UINT8_MAX];
	int			n = d->first[DEMO_KINDS];

	for (int kind = 0; kind < DEMO_KINDS; kind++)
		n -= is_part(kind) ? demographics_count(d, kind) : 0;
	pq_sendbyte(buf, d->version);
	pq_sendbyte(buf, d->sex);
	pq_sendbyte(buf, d->multiple_birth);
	pq_sendbyte(buf, d->birth_order);
	pq_sendint16(buf, d->birth_year);
	pq_sendbyte(buf, d->birth_month);
	pq_sendbyte(buf, d->birth_day);
	pq_sendbyte(buf, n);
	for (int kind = 0; kind < DEMO_KINDS; kind++)
	{
		const DemographicsItem *items = demographics_items(d, kind);

		for (int i = 0; i < demographics_count(d, kind) && !is_part(kind); i++)
		{
			int			length = demographics_shown(d, &items[i], kind, shown);

			pq_sendbyte(buf, kind);
			pq_sendbyte(buf, length);
			pq_sendbytes(buf, shown, length);
		}
	}
}

PG_FUNCTION_INFO_V1(demographics_send);

Datum
demographics_send(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	pq_begintypsend(&buf);
	write_binary(&buf, demographics_checked(PG_GETARG_DATUM(0)));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

static void
refuse_binary(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_ARGUMENT),
			 errmsg("invalid demographics"),
			 errdetail("The binary form %s.", detail),
			 errhint("Send what demographics_send() wrote.")));
}

static void
receive_item(StringInfo buf, DemographicsDraft *draft)
{
	int			kind = pq_getmsgbyte(buf);
	int			length = pq_getmsgbyte(buf);
	const char *text = pq_getmsgbytes(buf, length);

	if (kind >= DEMO_KINDS || is_part(kind))
		refuse_binary("has an item of an unknown kind");
	if (!pg_verifymbstr(text, length, true))
		refuse_binary("has a text that is not of the database's encoding");
	demographics_add(draft, kind, text, length);
}

PG_FUNCTION_INFO_V1(demographics_recv);

/*
 * What normalisation would not write is not accepted: the value made is written
 * again and compared.
 */
Datum
demographics_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	const char *start = buf->data + buf->cursor;
	int			begin = buf->cursor;
	DemographicsDraft *draft = demographics_begin();
	StringInfoData again;
	Demographics *d;
	int			n;

	if (pq_getmsgbyte(buf) != DEMOGRAPHICS_VERSION)
		refuse_binary("has an unknown version");
	draft->sex = pq_getmsgbyte(buf);
	draft->multiple_birth = pq_getmsgbyte(buf);
	draft->birth_order = pq_getmsgbyte(buf);
	draft->birth_year = pq_getmsgint(buf, 2);
	draft->birth_month = pq_getmsgbyte(buf);
	draft->birth_day = pq_getmsgbyte(buf);
	if (draft->sex > DEMO_SEX_OTHER || draft->multiple_birth > 2 ||
		draft->birth_order > DEMO_MAX_BIRTH_ORDER || draft->birth_year < 0 ||
		draft->birth_year > 9999 || draft->birth_month > 99 || draft->birth_day > 99)
		refuse_binary("has a number out of range");
	n = pq_getmsgbyte(buf);
	for (int i = 0; i < n; i++)
		receive_item(buf, draft);
	d = demographics_finish(draft);

	initStringInfo(&again);
	write_binary(&again, d);
	if (again.len != buf->cursor - begin || memcmp(again.data, start, again.len) != 0)
		refuse_binary("is not in order, or has text that is not normalised");
	pfree(again.data);
	PG_RETURN_POINTER(d);
}

/* ---------- Equality ---------- */

static inline const unsigned char *
content(const Demographics *d, int *length)
{
	*length = VARSIZE(d) - offsetof(Demographics, version);
	return (const unsigned char *) &d->version;
}

static bool
equal_values(FunctionCallInfo fcinfo)
{
	Demographics *a = PG_GETARG_DEMOGRAPHICS(0);
	Demographics *b = PG_GETARG_DEMOGRAPHICS(1);
	bool		equal = VARSIZE(a) == VARSIZE(b) &&
		memcmp(&a->version, &b->version, VARSIZE(a) - offsetof(Demographics, version)) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return equal;
}

PG_FUNCTION_INFO_V1(demographics_eq);

Datum
demographics_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(equal_values(fcinfo));
}

PG_FUNCTION_INFO_V1(demographics_ne);

Datum
demographics_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!equal_values(fcinfo));
}

PG_FUNCTION_INFO_V1(demographics_hash);

Datum
demographics_hash(PG_FUNCTION_ARGS)
{
	Demographics *d = PG_GETARG_DEMOGRAPHICS(0);
	int			length;
	const unsigned char *start = content(d, &length);
	uint32		hash = hash_bytes(start, length);

	PG_FREE_IF_COPY(d, 0);
	PG_RETURN_INT32(hash);
}

PG_FUNCTION_INFO_V1(demographics_hash_extended);

Datum
demographics_hash_extended(PG_FUNCTION_ARGS)
{
	Demographics *d = PG_GETARG_DEMOGRAPHICS(0);
	int			length;
	const unsigned char *start = content(d, &length);
	uint64		hash = hash_bytes_extended(start, length, PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(d, 0);
	PG_RETURN_INT64(hash);
}
