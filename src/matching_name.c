/*-------------------------------------------------------------------------
 *
 * matching_name.c
 *		Names of people: which words are a name, and which are something else.
 *
 * What is kept here is kept when it is read again.  Hence words are cut off at
 * the end of a name that is too long before titles and suffixes are looked
 * for, and no word is cut within.
 *
 * IDENTIFICATION
 *		src/matching_name.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "matching_draft.h"

#define IN(map, w, word)	(MAP(map, w, word) != NULL)
#define MAP(map, w, word) \
	normalize_map(map, lengthof(map), (w)->data + (word)->start, (word)->length)

/* Each list is sorted. */
static const WordMap titles[] = {
	{"dr", ""}, {"miss", ""}, {"mr", ""}, {"mrs", ""}, {"ms", ""}, {"prof", ""}, {"professor", ""},
	{"rev", ""}, {"sir", ""},
};

static const WordMap degrees[] = {
	{"dds", ""}, {"md", ""}, {"phd", ""}, {"rn", ""},
};

/* Degrees that are family names, too, and are meant only after a comma. */
static const WordMap comma_degrees[] = {
	{"do", ""}, {"esq", ""}, {"np", ""}, {"pa", ""},
};

static const WordMap suffixes[] = {
	{"2nd", "ii"}, {"3rd", "iii"}, {"4th", "iv"}, {"5th", "v"}, {"ii", "ii"}, {"iii", "iii"},
	{"iv", "iv"}, {"jr", "jr"}, {"jun", "jr"}, {"junior", "jr"}, {"senior", "sr"}, {"snr", "sr"},
	{"sr", "sr"}, {"v", "v"},
};

/* Suffixes that are nobody's given name or initial. */
static const WordMap given_suffixes[] = {
	{"2nd", "ii"}, {"3rd", "iii"}, {"4th", "iv"}, {"ii", "ii"}, {"iii", "iii"}, {"iv", "iv"},
	{"jr", "jr"}, {"sr", "sr"},
};

/* What follows was the name before. */
static const WordMap formerly[] = {
	{"fka", ""}, {"formerly", ""}, {"geb", ""}, {"nee", ""},
};

static const WordMap particles[] = {
	{"abu", ""}, {"af", ""}, {"al", ""}, {"ap", ""}, {"av", ""}, {"ben", ""}, {"bin", ""},
	{"bint", ""}, {"da", ""}, {"das", ""}, {"de", ""}, {"del", ""}, {"della", ""}, {"den", ""},
	{"der", ""}, {"di", ""}, {"do", ""}, {"dos", ""}, {"du", ""}, {"el", ""}, {"ibn", ""},
	{"la", ""}, {"las", ""}, {"le", ""}, {"los", ""}, {"mac", ""}, {"mc", ""}, {"st", ""},
	{"te", ""}, {"ten", ""}, {"ter", ""}, {"van", ""}, {"vom", ""}, {"von", ""}, {"zu", ""},
	{"zum", ""}, {"zur", ""},
};

bool
name_is_particle(const char *word, int length)
{
	return normalize_map(particles, lengthof(particles), word, length) != NULL;
}

/* How many of the words from one on fit into an item; the first is cut when it alone does not. */
static int
fitting(NormalWords *w, int from, int to)
{
	int			length = 0;

	for (int i = from; i < to; i++)
	{
		NormalWord *word = &w->word[i];

		if (i == from)
			word->length = normalize_clip(w->data + word->start, word->length, DEMO_MAX_LENGTH);
		length += word->length;
		if (length > DEMO_MAX_LENGTH)
			return i;
	}
	return to;
}

/* Adds a name of the words from one up to another, without that one. */
static void
name_item(DemographicsDraft *draft, DemographicsKind kind, NormalWords *w, int from, int to)
{
	char		whole[DEMO_MAX_LENGTH];
	char		shown[DEMO_MAX_LENGTH + NORMALIZE_MAX_WORDS];
	int			length = 0;
	int			shown_length = 0;

	to = fitting(w, from, to);
	for (int i = from; i < to; i++)
	{
		const NormalWord *word = &w->word[i];

		memcpy(whole + length, w->data + word->start, word->length);
		length += word->length;
		if (i > from)
			shown[shown_length++] = ' ';
		memcpy(shown + shown_length, w->data + word->start, word->length);
		shown_length += word->length;
	}
	if (to > from)
		draft_item(draft, kind, whole, length, shown, to - from > 1 ? shown_length : 0);
}

/* Adds a whole name, without a word in front that says that it was the name before. */
static void
other_name(DemographicsDraft *draft, DemographicsKind kind, NormalWords *w, int from, int to)
{
	while (from + 1 < to && IN(formerly, w, &w->word[from]))
		from++;
	name_item(draft, kind, w, from, to);
}

/*
 * Takes out what stands in brackets or quotes, as items of a kind; unless
 * everything does, which is then taken as it stands.
 */
static void
take_groups(DemographicsDraft *draft, DemographicsKind kind, NormalWords *w)
{
	int			n = 0;
	int			plain = 0;

	for (int i = 0; i < w->n; i++)
		plain += w->word[i].group == 0;
	if (plain == 0 || plain == w->n)
		return;
	for (int from = 0, to; from < w->n; from = to)
	{
		for (to = from + 1; to < w->n && w->word[to].group == w->word[from].group; to++)
			;
		if (w->word[from].group != 0)
			other_name(draft, kind, w, from, to);
		else
		{
			memmove(&w->word[n], &w->word[from], (to - from) * sizeof(NormalWord));
			n += to - from;
		}
	}
	w->n = n;
}

static void
suffix_item(DemographicsDraft *draft, const char *suffix)
{
	draft_item(draft, DEMO_SUFFIX, suffix, strlen(suffix), NULL, 0);
}

/* Takes suffixes and degrees from the end of a family name, titles from its start. */
static void
trim_family(DemographicsDraft *draft, NormalWords *w, int *from, int *to)
{
	while (*to - *from > 1)
	{
		const NormalWord *last = &w->word[*to - 1];
		const char *suffix = MAP(suffixes, w, last);

		if (suffix != NULL)
		{
			suffix_item(draft, suffix);
			--*to;
		}
		else if (IN(degrees, w, last) ||
				 ((last->before & BEFORE_COMMA) != 0 && IN(comma_degrees, w, last)))
			--*to;
		else if (IN(titles, w, &w->word[*from]))
			++*from;
		else
			break;
	}
}

void
draft_family(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;
	int			from = 0;
	int			to;

	normalize_words(text, length, &w);
	take_groups(draft, DEMO_PREVIOUS, &w);
	w.n = fitting(&w, 0, w.n);
	to = 1;
	while (to < w.n && !IN(formerly, &w, &w.word[to]))
		to++;
	if (to < w.n)
		other_name(draft, DEMO_PREVIOUS, &w, to + 1, w.n);
	to = Min(to, w.n);
	trim_family(draft, &w, &from, &to);
	name_item(draft, DEMO_FAMILY, &w, from, to);
}

static void
middle_word(DemographicsDraft *draft, NormalWords *w, int i)
{
	const NormalWord *word = &w->word[i];
	const char *suffix = MAP(given_suffixes, w, word);

	if (suffix != NULL)
		suffix_item(draft, suffix);
	else if (!IN(degrees, w, word) && !IN(titles, w, word))
		name_item(draft, DEMO_MIDDLE, w, i, i + 1);
}

/* The first word, with those that hyphens join to it, is the name; others follow it. */
void
draft_given(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;
	int			from = 0;
	int			to;

	normalize_words(text, length, &w);
	take_groups(draft, DEMO_ALIAS, &w);
	if (draft->count[DEMO_GIVEN] == 0)
	{
		while (from + 1 < w.n && (w.word[from + 1].before & BEFORE_HYPHEN) == 0 &&
			   IN(titles, &w, &w.word[from]))
			from++;
		to = Min(from + 1, w.n);
		while (to < w.n && (w.word[to].before & BEFORE_HYPHEN) != 0)
			to++;
		name_item(draft, DEMO_GIVEN, &w, from, to);
		from = to;
	}
	for (int i = from; i < w.n; i++)
		middle_word(draft, &w, i);
}

void
draft_middle(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;

	normalize_words(text, length, &w);
	for (int i = 0; i < w.n; i++)
		middle_word(draft, &w, i);
}

void
draft_suffix(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;

	normalize_words(text, length, &w);
	for (int i = 0; i < w.n; i++)
	{
		const char *suffix = MAP(suffixes, &w, &w.word[i]);

		if (suffix != NULL)
			suffix_item(draft, suffix);
	}
}

/* Whole names, separated by commas: other first names, former and mothers' family names. */
void
draft_names(DemographicsDraft *draft, DemographicsKind kind, const char *text, int length)
{
	NormalWords w;

	normalize_words(text, length, &w);
	for (int from = 0, to; from < w.n; from = to)
	{
		for (to = from + 1; to < w.n && (w.word[to].before & BEFORE_COMMA) == 0; to++)
			;
		other_name(draft, kind, &w, from, to);
	}
}
