/*-------------------------------------------------------------------------
 *
 * matching_dictionary.c
 *		What is known of names and of values that mean nothing: nicknames,
 *		placeholders, and how common a name is.
 *
 * Nearly every look-up is in vain, so each table has a filter of bits before
 * it: nothing is hashed for a value whose letters and length no entry has.
 *
 * IDENTIFICATION
 *		src/matching_dictionary.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "matching_model.h"
#include "matching_string.h"

#define FILTER_BITS		8192	/* a power of 2 */
#define MAX_GROUPS		8		/* formal names that one nickname may stand for */
#define MAX_TERMS		50000	/* names whose frequency is kept, the most common ones */

typedef struct Filter
{
	uint64		words[FILTER_BITS / 64];
} Filter;

/* The formal names that a name is, or is short for. */
typedef struct NicknameEntry
{
	uint64		hash;
	int			ngroups;
	uint32		groups[MAX_GROUPS];
} NicknameEntry;

typedef struct TermEntry
{
	uint64		hash;
	float		share;			/* of all people */
} TermEntry;

struct MatchDictionary
{
	Filter		nickname_filter;
	Filter		placeholder_filter;
	HTAB	   *nicknames;		/* NicknameEntry */
	HTAB	   *placeholders;	/* hashes of kind and text */
	HTAB	   *terms[2];		/* TermEntry, of given and family names */
	float		rare_share;		/* of a name that is in none of them; 0: nothing counted yet */
	int		   *births;			/* dates that mean nothing, as numbers yyyymmdd */
	int			nbirths;
	bool		first_january;	/* is the first of January a placeholder in every year? */
};

static inline uint64
text_hash(const char *text, int length, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) text, length, seed);
}

static inline uint32
filter_bit(uint32 letters, int length, int kind)
{
	return (murmurhash32(letters) + length * 131 + kind * 1021) & (FILTER_BITS - 1);
}

static inline bool
filter_has(const Filter *filter, uint32 bit)
{
	return (filter->words[bit / 64] >> (bit % 64)) & 1;
}

static inline void
filter_add(Filter *filter, uint32 bit)
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
	NicknameEntry *entry;
	uint64		hash;
	bool		found;

	length = plain(text, length, name);
	hash = text_hash(name, length, 0);
	entry = hash_search(dictionary->nicknames, &hash, HASH_ENTER, &found);
	if (!found)
		entry->ngroups = 0;
	if (entry->ngroups < MAX_GROUPS)
		entry->groups[entry->ngroups++] = group;
	filter_add(&dictionary->nickname_filter,
			   filter_bit(string_letters(name, length), length, 0));
}

static void
load_nicknames(RuleCache *cache, MatchDictionary *dictionary)
{
	security_read("SELECT n.name, n.nicknames FROM referral.match_nickname n"
				  " JOIN referral.rule_version v USING (rule_version_id) WHERE v.status = 'active' AND $1"
				  " ORDER BY n.rule_version_id, n.name",
				  BOOLOID, BoolGetDatum(true));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		text	   *name = DatumGetTextPP(rule_read_datum(row, 1, &isnull));
		Datum	   *nicknames;
		int			count;

		add_nickname(dictionary, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), (uint32) row);
		deconstruct_array(DatumGetArrayTypeP(rule_read_datum(row, 2, &isnull)), TEXTOID, -1, false,
						  TYPALIGN_INT, &nicknames, NULL, &count);
		for (int i = 0; i < count; i++)
			add_nickname(dictionary, VARDATA_ANY(DatumGetPointer(nicknames[i])),
						 VARSIZE_ANY_EXHDR(DatumGetPointer(nicknames[i])), (uint32) row);
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
	uint64		hash = text_hash(text, length, kind + 1);

	(void) hash_search(dictionary->placeholders, &hash, HASH_ENTER, NULL);
	filter_add(&dictionary->placeholder_filter,
			   filter_bit(string_letters(text, length), length, kind + 1));
}

static void
load_placeholders(RuleCache *cache, MatchDictionary *dictionary)
{
	security_read("SELECT p.kind, p.value FROM referral.match_placeholder p"
				  " JOIN referral.rule_version v USING (rule_version_id) WHERE v.status = 'active' AND $1",
				  BOOLOID, BoolGetDatum(true));
	dictionary->births = MemoryContextAlloc(cache->context, sizeof(int) * (SPI_processed + 1));
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
				dictionary->births[dictionary->nbirths++] = atoi(text);
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

static void
load_terms(RuleCache *cache, MatchDictionary *dictionary)
{
	double		people;

	security_read("SELECT f.n::float8 FROM referral.match_frequency f WHERE f.kind = 'people' AND $1",
				  BOOLOID, BoolGetDatum(true));
	if (SPI_processed == 0)
		return;
	{
		bool		isnull;

		people = DatumGetFloat8(rule_read_datum(0, 1, &isnull));
	}
	if (people < MATCH_FREQUENCY_PEOPLE)
		return;
	/* what was counted once or twice is not in the table */
	dictionary->rare_share = MATCH_RARE_COUNT / people;
	for (int k = 0; k < lengthof(term_kinds); k++)
	{
		security_read("SELECT f.term_hash, f.n::float8 FROM referral.match_frequency f WHERE f.kind = $1"
					  " ORDER BY f.n DESC, f.term_hash LIMIT " CppAsString2(MAX_TERMS),
					  TEXTOID, CStringGetTextDatum(term_kinds[k]));
		for (uint64 row = 0; row < SPI_processed; row++)
		{
			bool		isnull;
			uint64		hash = (uint64) rule_read_int64(row, 1);
			TermEntry  *entry = hash_search(dictionary->terms[k], &hash, HASH_ENTER, NULL);

			entry->share = DatumGetFloat8(rule_read_datum(row, 2, &isnull)) / people;
		}
	}
}

MatchDictionary *
matching_dictionary_load(RuleCache *cache)
{
	MatchDictionary *dictionary = MemoryContextAllocZero(cache->context, sizeof(MatchDictionary));
	OwnerScope	scope;

	dictionary->nicknames = rule_cache_table(cache, "referral nicknames", sizeof(uint64),
											 sizeof(NicknameEntry), HASH_BLOBS);
	dictionary->placeholders = rule_cache_table(cache, "referral placeholders", sizeof(uint64),
												sizeof(uint64), HASH_BLOBS);
	for (int k = 0; k < lengthof(term_kinds); k++)
		dictionary->terms[k] = rule_cache_table(cache, "referral name frequencies", sizeof(uint64),
												sizeof(TermEntry), HASH_BLOBS);
	security_begin_read(&scope, cache->owner);
	load_nicknames(cache, dictionary);
	load_placeholders(cache, dictionary);
	load_terms(cache, dictionary);
	security_end_read(&scope);
	return dictionary;
}

/* ---------- Look-ups ---------- */

static const NicknameEntry *
nickname_entry(const MatchDictionary *dictionary, const char *text, int length, uint32 letters)
{
	uint64		hash;

	if (!filter_has(&dictionary->nickname_filter, filter_bit(letters, length, 0)))
		return NULL;
	hash = text_hash(text, length, 0);
	return hash_search(dictionary->nicknames, &hash, HASH_FIND, NULL);
}

/* May both names stand for one formal name? */
bool
matching_is_nickname(const MatchDictionary *dictionary, const Demographics *a, const DemographicsItem *x,
					 const Demographics *b, const DemographicsItem *y)
{
	const NicknameEntry *ex = nickname_entry(dictionary, demographics_text(a, x), x->length, x->letters);
	const NicknameEntry *ey;

	if (ex == NULL)
		return false;
	ey = nickname_entry(dictionary, demographics_text(b, y), y->length, y->letters);
	if (ey == NULL)
		return false;
	for (int i = 0; i < ex->ngroups; i++)
		for (int j = 0; j < ey->ngroups; j++)
			if (ex->groups[i] == ey->groups[j])
				return true;
	return false;
}

bool
matching_is_placeholder(const MatchDictionary *dictionary, DemographicsKind kind,
						const char *text, int length, uint32 letters)
{
	uint64		hash;

	if (kind == DEMO_MIDDLE)
		kind = DEMO_GIVEN;
	if (!filter_has(&dictionary->placeholder_filter, filter_bit(letters, length, kind + 1)))
		return false;
	hash = text_hash(text, length, kind + 1);
	return hash_search(dictionary->placeholders, &hash, HASH_FIND, NULL) != NULL;
}

BirthMeaning
matching_birth_meaning(const MatchDictionary *dictionary, const Demographics *d)
{
	int			date = d->birth_year * 10000 + d->birth_month * 100 + d->birth_day;

	for (int i = 0; i < dictionary->nbirths; i++)
		if (dictionary->births[i] == date)
			return BIRTH_MEANS_NOTHING;
	if (dictionary->first_january && d->birth_month == 1 && d->birth_day == 1)
		return BIRTH_MEANS_YEAR;
	return BIRTH_MEANS_DATE;
}

/* The share of people who have a name; 0 when nothing is known of it. */
double
matching_name_share(const MatchDictionary *dictionary, bool family, const char *text, int length)
{
	uint64		hash;
	TermEntry  *entry;

	if (dictionary->rare_share == 0)
		return 0;
	hash = text_hash(text, length, 0);
	entry = hash_search(dictionary->terms[family], &hash, HASH_FIND, NULL);
	return entry == NULL ? dictionary->rare_share : entry->share;
}

/* What match_frequency counts a name by. */
PG_FUNCTION_INFO_V1(match_term_hash);
Datum
match_term_hash(PG_FUNCTION_ARGS)
{
	text	   *term = PG_GETARG_TEXT_PP(0);

	PG_RETURN_INT64((int64) text_hash(VARDATA_ANY(term), VARSIZE_ANY_EXHDR(term), 0));
}
