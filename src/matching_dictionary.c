/*-------------------------------------------------------------------------
 *
 * matching_dictionary.c
 *		What is known of names and of values that mean nothing: nicknames,
 *		placeholders, and how common a name is.
 *
 * IDENTIFICATION
 *		src/matching_dictionary.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "matching_model.h"
#include "matching_string.h"

#define MAX_GROUPS		8		/* formal names that one nickname may stand for */
#define MAX_TERMS		50000	/* names whose frequency is kept, the most common ones */

/* Hashes of texts, each with a value; filled once. */
typedef struct TextTable
{
	uint32		mask;			/* size - 1, a power of 2 */
	uint32		used;
	uint64	   *hashes;			/* 0: free */
	float	   *values;
} TextTable;

/* The formal names that a name is, or is short for. */
typedef struct Groups
{
	int			n;
	uint32		group[MAX_GROUPS];
} Groups;

struct MatchTables
{
	TextTable	nicknames;		/* names; the value is the index of their groups */
	Groups	   *groups;
	TextTable	placeholders;	/* kinds with texts */
	TextTable	terms[2];		/* given and family names; the value is the share of people who have it */
	float		rare_share;		/* of a name that is in none of them; 0: nothing counted yet */
	int		   *births;			/* dates that mean nothing, as match_birth_date() */
	int			nbirths;
};

static inline uint64
text_hash(const char *text, int length, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) text, length, seed);
}

/* ---------- Tables of texts ---------- */

static void
table_create(TextTable *table, MemoryContext context, uint64 entries)
{
	uint32		size = pg_nextpower2_32(Max(entries, 8) * 2);

	table->mask = size - 1;
	table->used = 0;
	table->hashes = MemoryContextAllocZero(context, sizeof(uint64) * size);
	table->values = MemoryContextAllocZero(context, sizeof(float) * size);
}

/* The place of a hash, or where it would be. */
static inline uint32
table_place(const TextTable *table, uint64 hash)
{
	uint32		place = (uint32) hash & table->mask;

	while (table->hashes[place] != 0 && table->hashes[place] != hash)
		place = (place + 1) & table->mask;
	return place;
}

/* The value of a text's hash, or NULL. */
static inline const float *
table_find(const TextTable *table, uint64 hash)
{
	uint32		place = table_place(table, hash);

	return table->hashes[place] == hash && hash != 0 ? &table->values[place] : NULL;
}

static float *
table_add(TextTable *table, uint64 hash, bool *found)
{
	uint32		place = table_place(table, hash);

	*found = table->hashes[place] == hash;
	if (!*found)
	{
		if (table->used >= table->mask / 2 + 1)
			elog(ERROR, "table of names is full");
		table->used++;
		table->hashes[place] = hash;
	}
	return &table->values[place];
}

static inline void
filter_add(MatchFilter *filter, uint32 bit)
{
	filter->words[bit / 64] |= UINT64CONST(1) << (bit % 64);
}

/* ---------- Loading ---------- */

/* Letters and digits of a dictionary entry, lower case: as items of values are. */
static int
plain(const char *text, int length, char *result)
{
	int			n = 0;

	for (int i = 0; i < length && n < DEMO_MAX_LENGTH; i++)
	{
		unsigned char c = text[i];

		if (c >= 'A' && c <= 'Z')
			result[n++] = c - 'A' + 'a';
		else if (c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			result[n++] = c;
	}
	return n;
}

static void
add_nickname(MatchDictionary *dictionary, const char *text, int length, uint32 group)
{
	char		name[DEMO_MAX_LENGTH];
	struct MatchTables *tables = dictionary->tables;
	Groups	   *groups;
	float	   *index;
	bool		found;

	length = plain(text, length, name);
	index = table_add(&tables->nicknames, text_hash(name, length, 0), &found);
	if (!found)
		*index = tables->nicknames.used - 1;
	groups = &tables->groups[(int) *index];
	if (groups->n < MAX_GROUPS)
		groups->group[groups->n++] = group;
	filter_add(&dictionary->nicknames,
			   match_filter_bit(string_letters(name, length), length, 0));
}

static int
nicknames_of(uint64 row, Datum **nicknames)
{
	bool		isnull;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(rule_read_datum(row, 2, &isnull)), TEXTOID, -1, false,
					  TYPALIGN_INT, nicknames, NULL, &count);
	return count;
}

static void
load_nicknames(RuleCache *cache, MatchDictionary *dictionary)
{
	struct MatchTables *tables = dictionary->tables;
	Datum	   *nicknames;
	uint64		names = 0;

	security_read("SELECT n.name, n.nicknames FROM referral.match_nickname n"
				  " JOIN referral.rule_version v USING (rule_version_id) WHERE v.status = 'active' AND $1"
				  " ORDER BY n.rule_version_id, n.name",
				  BOOLOID, BoolGetDatum(true));
	for (uint64 row = 0; row < SPI_processed; row++)
		names += 1 + nicknames_of(row, &nicknames);
	table_create(&tables->nicknames, cache->context, names);
	tables->groups = MemoryContextAllocZero(cache->context, sizeof(Groups) * Max(names, 1));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		text	   *name = DatumGetTextPP(rule_read_datum(row, 1, &isnull));
		int			count = nicknames_of(row, &nicknames);

		add_nickname(dictionary, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), (uint32) row);
		for (int i = 0; i < count; i++)
		{
			name = DatumGetTextPP(nicknames[i]);
			add_nickname(dictionary, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), (uint32) row);
		}
	}
}

/* Kinds of items for which a dictionary has placeholders, by the name of their kind. */
static const struct
{
	const char *name;
	DemographicsKind kind;
}			placeholder_kinds[] = {
	{"family", DEMO_FAMILY}, {"given", DEMO_GIVEN}, {"phone", DEMO_PHONE}, {"email", DEMO_EMAIL},
	{"street", DEMO_STREET}, {"city", DEMO_CITY}, {"postal_code", DEMO_POSTAL},
	{"identifier", DEMO_IDENTIFIER}
};

static void
add_placeholder(MatchDictionary *dictionary, DemographicsKind kind, const char *text, int length)
{
	bool		found;

	(void) table_add(&dictionary->tables->placeholders, text_hash(text, length, kind + 1), &found);
	filter_add(&dictionary->placeholders,
			   match_filter_bit(string_letters(text, length), length, kind));
}

static void
load_placeholders(RuleCache *cache, MatchDictionary *dictionary)
{
	struct MatchTables *tables = dictionary->tables;

	security_read("SELECT p.kind, p.value FROM referral.match_placeholder p"
				  " JOIN referral.rule_version v USING (rule_version_id) WHERE v.status = 'active' AND $1",
				  BOOLOID, BoolGetDatum(true));
	table_create(&tables->placeholders, cache->context, SPI_processed);
	tables->births = MemoryContextAlloc(cache->context, sizeof(int) * (SPI_processed + 1));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		char	   *kind = rule_read_string(cache, row, 1);
		char	   *value = rule_read_string(cache, row, 2);
		char		text[DEMO_MAX_LENGTH + 1];

		if (strcmp(kind, "birth_date") == 0)
		{
			if (strcmp(value, "*-01-01") == 0)
				dictionary->first_january = true;
			else
			{
				text[plain(value, strlen(value), text)] = '\0';
				tables->births[tables->nbirths] = atoi(text);
				dictionary->births |= match_birth_bit(tables->births[tables->nbirths++]);
			}
		}
		for (int k = 0; k < lengthof(placeholder_kinds); k++)
			if (strcmp(placeholder_kinds[k].name, kind) == 0)
			{
				/* an address of mail keeps its punctuation */
				if (placeholder_kinds[k].kind == DEMO_EMAIL)
					add_placeholder(dictionary, DEMO_EMAIL, value, strlen(value));
				else if (placeholder_kinds[k].kind == DEMO_STREET)
					add_placeholder(dictionary, DEMO_STREET, value, strlen(value));
				else
					add_placeholder(dictionary, placeholder_kinds[k].kind, text,
									plain(value, strlen(value), text));
			}
	}
}

static const char *const term_kinds[] = {"given", "family"};

/*
 * To a power of 2.  Everybody sees scores, and nobody shall count by them how
 * many people of all organisations have a name.
 */
static float
round_share(double share)
{
	return share > 0 ? exp2(rint(log2(share))) : 0;
}

static void
load_terms(RuleCache *cache, MatchDictionary *dictionary)
{
	struct MatchTables *tables = dictionary->tables;
	double		people;
	bool		isnull;

	security_read("SELECT f.n::float8 FROM referral.match_frequency f WHERE f.kind = 'people' AND $1",
				  BOOLOID, BoolGetDatum(true));
	if (SPI_processed == 0)
		return;
	people = DatumGetFloat8(rule_read_datum(0, 1, &isnull));
	if (people < MATCH_FREQUENCY_PEOPLE)
		return;
	/* what few people have is not in the table */
	tables->rare_share = round_share(MATCH_RARE_COUNT / people);
	for (int k = 0; k < lengthof(term_kinds); k++)
	{
		security_read("SELECT f.term_hash, f.n::float8 FROM referral.match_frequency f WHERE f.kind = $1"
					  " ORDER BY f.n DESC, f.term_hash LIMIT " CppAsString2(MAX_TERMS),
					  TEXTOID, CStringGetTextDatum(term_kinds[k]));
		table_create(&tables->terms[k], cache->context, SPI_processed);
		for (uint64 row = 0; row < SPI_processed; row++)
		{
			bool		found;
			float	   *share = table_add(&tables->terms[k], (uint64) rule_read_int64(row, 1), &found);

			*share = round_share(DatumGetFloat8(rule_read_datum(row, 2, &isnull)) / people);
		}
	}
}

MatchDictionary *
matching_dictionary_load(RuleCache *cache)
{
	MatchDictionary *dictionary = MemoryContextAllocZero(cache->context, sizeof(MatchDictionary));
	OwnerScope	scope;

	dictionary->tables = MemoryContextAllocZero(cache->context, sizeof(struct MatchTables));
	security_begin_read(&scope, cache->owner);
	load_nicknames(cache, dictionary);
	load_placeholders(cache, dictionary);
	load_terms(cache, dictionary);
	security_end_read(&scope);
	return dictionary;
}

/* ---------- Look-ups ---------- */

static const Groups *
groups_of(const MatchDictionary *dictionary, const Demographics *d, const DemographicsItem *item)
{
	const struct MatchTables *tables = dictionary->tables;
	const float *index = table_find(&tables->nicknames,
									text_hash(demographics_text(d, item), item->length, 0));

	return index ? &tables->groups[(int) *index] : NULL;
}

/* May both names stand for one formal name? */
bool
matching_is_nickname(const MatchDictionary *dictionary, const Demographics *a, const DemographicsItem *x,
					 const Demographics *b, const DemographicsItem *y)
{
	const Groups *of_x;
	const Groups *of_y;

	if (!match_filter_has(&dictionary->nicknames, match_filter_bit(x->letters, x->length, 0)) ||
		!match_filter_has(&dictionary->nicknames, match_filter_bit(y->letters, y->length, 0)))
		return false;
	of_x = groups_of(dictionary, a, x);
	of_y = of_x ? groups_of(dictionary, b, y) : NULL;
	if (!of_y)
		return false;
	for (int i = 0; i < of_x->n; i++)
		for (int j = 0; j < of_y->n; j++)
			if (of_x->group[i] == of_y->group[j])
				return true;
	return false;
}

/* Of a text that the filter lets pass. */
bool
matching_is_placeholder(const MatchDictionary *dictionary, DemographicsKind kind,
						const char *text, int length)
{
	return table_find(&dictionary->tables->placeholders, text_hash(text, length, kind + 1)) != NULL;
}

BirthMeaning
matching_birth_meaning(const MatchDictionary *dictionary, const Demographics *d)
{
	int			date = match_birth_date(d);

	if (dictionary->births & match_birth_bit(date))
		for (int i = 0; i < dictionary->tables->nbirths; i++)
			if (dictionary->tables->births[i] == date)
				return BIRTH_MEANS_NOTHING;
	if (dictionary->first_january && d->birth_month == 1 && d->birth_day == 1)
		return BIRTH_MEANS_YEAR;
	return BIRTH_MEANS_DATE;
}

/* The share of people who have a name; 0 when nothing is known of it. */
double
matching_name_share(const MatchDictionary *dictionary, bool family, const char *text, int length)
{
	const struct MatchTables *tables = dictionary->tables;
	const float *share;

	if (tables->rare_share == 0)
		return 0;
	share = table_find(&tables->terms[family], text_hash(text, length, 0));
	return share ? *share : tables->rare_share;
}

/* What match_frequency counts a name by. */
PG_FUNCTION_INFO_V1(match_term_hash);
Datum
match_term_hash(PG_FUNCTION_ARGS)
{
	text	   *term = PG_GETARG_TEXT_PP(0);

	PG_RETURN_INT64((int64) text_hash(VARDATA_ANY(term), VARSIZE_ANY_EXHDR(term), 0));
}
