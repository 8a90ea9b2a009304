/*-------------------------------------------------------------------------
 *
 * matching_address.c
 *		Addresses: number, street, unit, city, state, postal code.
 *
 * IDENTIFICATION
 *		src/matching_address.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "matching_draft.h"

#define IN(map, w, i) \
	(normalize_map(map, lengthof(map), (w)->data + (w)->word[i].start, (w)->word[i].length) != NULL)

/* Sorted.  What stands for a word is never a word that something else stands for. */
static const WordMap street_words[] = {
	{"alley", "aly"}, {"annex", "anx"}, {"arcade", "arc"}, {"av", "ave"}, {"avenue", "ave"},
	{"avn", "ave"}, {"beach", "bch"}, {"bend", "bnd"}, {"boul", "blvd"}, {"boulevard", "blvd"},
	{"boulv", "blvd"}, {"bridge", "brg"}, {"brook", "brk"}, {"bvd", "blvd"}, {"bypass", "byp"},
	{"canyon", "cyn"}, {"center", "ctr"}, {"centre", "ctr"}, {"chase", "ch"}, {"circ", "cir"},
	{"circle", "cir"}, {"circuit", "cct"}, {"clf", "clfs"}, {"close", "cl"}, {"common", "cmn"},
	{"corner", "cor"}, {"course", "crse"}, {"court", "ct"}, {"cove", "cv"}, {"creek", "crk"},
	{"cres", "cres"}, {"crescent", "cres"}, {"cresent", "cres"}, {"crossing", "xing"},
	{"crt", "ct"}, {"drive", "dr"}, {"drv", "dr"}, {"east", "e"}, {"esplanade", "esp"},
	{"estate", "est"}, {"expressway", "expy"}, {"extension", "ext"}, {"fort", "ft"},
	{"freeway", "fwy"}, {"garden", "gdn"}, {"gardens", "gdns"}, {"gate", "gte"}, {"green", "grn"},
	{"grove", "gr"}, {"grv", "gr"}, {"harbor", "hbr"}, {"harbour", "hbr"}, {"heights", "hts"},
	{"highway", "hwy"}, {"hill", "hl"}, {"hills", "hls"}, {"hollow", "holw"}, {"island", "is"},
	{"junction", "jct"}, {"lake", "lk"}, {"lane", "ln"}, {"loop", "lp"}, {"manor", "mnr"},
	{"meadow", "mdw"}, {"meadows", "mdws"}, {"mount", "mt"}, {"mountain", "mtn"}, {"north", "n"},
	{"northeast", "ne"}, {"northwest", "nw"}, {"parade", "pde"}, {"park", "pk"},
	{"parkway", "pkwy"},
	{"path", "pth"}, {"pkway", "pkwy"}, {"place", "pl"}, {"plaza", "plz"}, {"point", "pt"},
	{"ridge", "rdg"}, {"river", "riv"}, {"road", "rd"}, {"route", "rte"}, {"saint", "st"},
	{"sainte", "st"}, {"south", "s"}, {"southeast", "se"}, {"southwest", "sw"}, {"spring", "spg"},
	{"springs", "spgs"}, {"square", "sq"}, {"ste", "st"}, {"str", "st"}, {"strasse", "st"},
	{"street", "st"}, {"strt", "st"}, {"summit", "smt"}, {"tce", "ter"}, {"terr", "ter"},
	{"terrace", "ter"}, {"trail", "trl"}, {"turnpike", "tpke"}, {"valley", "vly"}, {"view", "vw"},
	{"village", "vlg"}, {"vlge", "vlg"}, {"west", "w"},
};

static const WordMap city_words[] = {
	{"east", "e"}, {"fort", "ft"}, {"heights", "hts"}, {"lake", "lk"}, {"mount", "mt"},
	{"north", "n"}, {"saint", "st"}, {"sainte", "st"}, {"south", "s"}, {"ste", "st"},
	{"township", "twp"}, {"west", "w"},
};

/* What an address calls a part of a building or of land. */
static const WordMap units[] = {
	{"apartment", ""}, {"appt", ""}, {"apt", ""}, {"flat", ""}, {"lot", ""}, {"no", ""},
	{"rm", ""}, {"room", ""}, {"shop", ""}, {"spc", ""}, {"ste", ""}, {"suite", ""}, {"trlr", ""},
	{"unit", ""}, {"villa", ""},
};

/* Names of states of the United States and of Australia, without spaces. */
static const WordMap states[] = {
	{"alabama", "al"}, {"alaska", "ak"}, {"arizona", "az"}, {"arkansas", "ar"},
	{"australiancapitalterritory", "act"}, {"california", "ca"}, {"colorado", "co"},
	{"connecticut", "ct"}, {"delaware", "de"}, {"districtofcolumbia", "dc"}, {"florida", "fl"},
	{"georgia", "ga"}, {"hawaii", "hi"}, {"idaho", "id"}, {"illinois", "il"}, {"indiana", "in"},
	{"iowa", "ia"}, {"kansas", "ks"}, {"kentucky", "ky"}, {"louisiana", "la"}, {"maine", "me"},
	{"maryland", "md"}, {"massachusetts", "ma"}, {"michigan", "mi"}, {"minnesota", "mn"},
	{"mississippi", "ms"}, {"missouri", "mo"}, {"montana", "mt"}, {"nebraska", "ne"},
	{"nevada", "nv"}, {"newhampshire", "nh"}, {"newjersey", "nj"}, {"newmexico", "nm"},
	{"newsouthwales", "nsw"}, {"newyork", "ny"}, {"northcarolina", "nc"}, {"northdakota", "nd"},
	{"northernterritory", "nt"}, {"ohio", "oh"}, {"oklahoma", "ok"}, {"oregon", "or"},
	{"pennsylvania", "pa"}, {"puertorico", "pr"}, {"queensland", "qld"}, {"rhodeisland", "ri"},
	{"southaustralia", "sa"}, {"southcarolina", "sc"}, {"southdakota", "sd"}, {"tasmania", "tas"},
	{"tennessee", "tn"}, {"texas", "tx"}, {"utah", "ut"}, {"vermont", "vt"}, {"victoria", "vic"},
	{"virginia", "va"}, {"washington", "wa"}, {"westernaustralia", "wa"}, {"westvirginia", "wv"},
	{"wisconsin", "wi"}, {"wyoming", "wy"},
};

static inline bool
is_word(const NormalWords *w, int i, const char *word)
{
	return i >= 0 && i < w->n && w->word[i].length == strlen(word) &&
		memcmp(w->data + w->word[i].start, word, w->word[i].length) == 0;
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A house number: begins with a digit, and is no "5th". */
static bool
is_number(const NormalWords *w, int i)
{
	const char *text;
	int			length;
	int			n = 0;

	if (i < 0 || i >= w->n)
		return false;
	text = w->data + w->word[i].start;
	length = w->word[i].length;
	while (n < length && is_digit(text[n]))
		n++;
	if (n > 0 && length == n + 2)
		return memcmp(text + n, "st", 2) != 0 && memcmp(text + n, "nd", 2) != 0 &&
			memcmp(text + n, "rd", 2) != 0 && memcmp(text + n, "th", 2) != 0;
	return n > 0;
}

/* "4", "4b", "b" */
static bool
is_unit_number(const NormalWords *w, int i)
{
	return i < w->n && (w->word[i].before & BEFORE_COMMA) == 0 &&
		(is_digit(w->data[w->word[i].start]) || w->word[i].length == 1 ||
		 is_digit(w->data[w->word[i].start + w->word[i].length - 1]));
}

/* Adds words with spaces between them, as many as fit, each as what a map has for it. */
static void
words_item(DemographicsDraft *draft, DemographicsKind kind, const NormalWords *w,
		   const bool *taken, int from, int to, const WordMap *map, int nmap)
{
	char		text[DEMO_MAX_LENGTH];
	int			length = 0;

	for (int i = from; i < to; i++)
	{
		const char *word = w->data + w->word[i].start;
		int			n = w->word[i].length;
		const char *mapped = normalize_map(map, nmap, word, n);

		if (taken != NULL && taken[i])
			continue;
		if (mapped != NULL)
		{
			word = mapped;
			n = strlen(word);
		}
		if (length == 0)
			n = normalize_clip(word, n, DEMO_MAX_LENGTH);
		else if (length + 1 + n > DEMO_MAX_LENGTH)
			break;
		else
			text[length++] = ' ';
		memcpy(text + length, word, n);
		length += n;
	}
	if (length > 0)
		draft_item(draft, kind, text, length, NULL, 0);
}

void
draft_street(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;

	normalize_words(text, length, &w);
	words_item(draft, DEMO_STREET, &w, NULL, 0, w.n, street_words, lengthof(street_words));
}

void
draft_city(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;
	int			n = 0;

	normalize_words(text, length, &w);
	/* "Springfield, IL" */
	while (n < w.n && (n == 0 || (w.word[n].before & BEFORE_COMMA) == 0))
		n++;
	words_item(draft, DEMO_CITY, &w, NULL, 0, n, city_words, lengthof(city_words));
}

void
draft_unit(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;
	int			from = 0;

	normalize_words(text, length, &w);
	while (from + 1 < w.n && IN(units, &w, from))
		from++;
	words_item(draft, DEMO_UNIT, &w, NULL, from, w.n, NULL, 0);
}

/* How long the words of a text are, which stand one after another in its data. */
static int
joined_length(const NormalWords *w)
{
	int			length = 0;

	for (int i = 0; i < w->n; i++)
		length += w->word[i].length;
	return length;
}

void
draft_state(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;
	const char *code;

	normalize_words(text, length, &w);
	length = normalize_clip(w.data, joined_length(&w), DEMO_MAX_LENGTH);
	code = normalize_map(states, lengthof(states), w.data, length);
	if (code != NULL)
		draft_item(draft, DEMO_STATE, code, strlen(code), NULL, 0);
	else if (length > 0)
		draft_item(draft, DEMO_STATE, w.data, length, NULL, 0);
}

/* Of ZIP+4, the ZIP code. */
void
draft_postal(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;
	int			digits = 0;

	normalize_words(text, length, &w);
	length = joined_length(&w);
	while (digits < length && is_digit(w.data[digits]))
		digits++;
	if (length == 9 && digits == 9)
		length = 5;
	length = normalize_clip(w.data, length, DEMO_MAX_LENGTH);
	if (length > 0)
		draft_item(draft, DEMO_POSTAL, w.data, length, NULL, 0);
}

/* Marks the words of a post office box, if the one at i has its number; how many there are. */
static int
box_words(const NormalWords *w, int i)
{
	int			first = i - 1;

	if (!is_number(w, i) || first < 0)
		return 0;
	if (is_word(w, first, "box"))
	{
		if (is_word(w, first - 1, "po") || is_word(w, first - 1, "gpo"))
			first--;
		else if ((is_word(w, first - 2, "p") && is_word(w, first - 1, "o")) ||
				 (is_word(w, first - 2, "post") && is_word(w, first - 1, "office")))
			first -= 2;
	}
	else if (!is_word(w, first, "pobox") && !is_word(w, first, "po") && !is_word(w, first, "gpo"))
		return 0;
	return i - first + 1;
}

static void
box_item(DemographicsDraft *draft, const NormalWords *w, int i)
{
	char		text[DEMO_MAX_LENGTH] = "po ";
	int			n = normalize_clip(w->data + w->word[i].start, w->word[i].length,
								   DEMO_MAX_LENGTH - 3);

	memcpy(text + 3, w->data + w->word[i].start, n);
	draft_item(draft, DEMO_STREET_NUMBER, text, n + 3, NULL, 0);
}

void
draft_street_number(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;

	normalize_words(text, length, &w);
	if (w.n > 1 && box_words(&w, w.n - 1) == w.n)
		box_item(draft, &w, w.n - 1);
	else
		words_item(draft, DEMO_STREET_NUMBER, &w, NULL, 0, w.n, NULL, 0);
}

/* Takes units and post office boxes out of an address. */
static void
take_units(DemographicsDraft *draft, const NormalWords *w, bool *taken)
{
	for (int i = 0; i < w->n; i++)
	{
		int			box = box_words(w, i);

		if (box > 0)
		{
			box_item(draft, w, i);
			memset(taken + i - box + 1, true, box);
		}
		else if ((w->word[i].before & BEFORE_HASH) != 0 && i > 0 && !taken[i])
		{
			words_item(draft, DEMO_UNIT, w, NULL, i, i + 1, NULL, 0);
			taken[i] = true;
			/* "Apt #4" */
			if (IN(units, w, i - 1))
				taken[i - 1] = true;
		}
		else if (IN(units, w, i) && is_unit_number(w, i + 1) &&
				 (w->word[i + 1].before & BEFORE_HASH) == 0)
		{
			words_item(draft, DEMO_UNIT, w, NULL, i + 1, i + 2, NULL, 0);
			taken[i] = taken[i + 1] = true;
		}
	}
}

static int
next_untaken(const NormalWords *w, const bool *taken, int i)
{
	while (i < w->n && taken[i])
		i++;
	return i;
}

/* Where the part of an address that begins at a word ends: at a comma. */
static int
part_end(const NormalWords *w, int i)
{
	do
		i++;
	while (i < w->n && (w->word[i].before & BEFORE_COMMA) == 0);
	return Min(i, w->n);
}

/* Takes the number at i, with a unit before a slash or the end of a range; where it ends. */
static int
take_number(DemographicsDraft *draft, const NormalWords *w, bool *taken, int i)
{
	int			end = i + 1;

	if (is_number(w, end) && (w->word[end].before & BEFORE_SLASH) != 0)
	{
		words_item(draft, DEMO_UNIT, w, NULL, i, end, NULL, 0);
		taken[i] = true;
		i = end++;
	}
	while (is_number(w, end) && (w->word[end].before & BEFORE_HYPHEN) != 0)
		end++;
	words_item(draft, DEMO_STREET_NUMBER, w, NULL, i, end, NULL, 0);
	memset(taken + i, true, end - i);
	return end;
}

/* The first word of the first part that begins with a number, or the number of words. */
static int
find_number(const NormalWords *w, const bool *taken)
{
	for (int part = 0; part < w->n; part = part_end(w, part))
	{
		int			i = next_untaken(w, taken, part);

		if (i < part_end(w, part) && is_number(w, i))
			return i;
	}
	return w->n;
}

/* "12B Main Street Apt 4, Springfield": what follows the street is left out. */
void
demographics_add_address(DemographicsDraft *draft, const char *text, int length)
{
	NormalWords w;
	bool		taken[NORMALIZE_MAX_WORDS + 1] = {false};
	int			boxes = draft->count[DEMO_STREET_NUMBER];
	int			number;
	int			street;
	int			end;

	normalize_words(text, length, &w);
	take_units(draft, &w, taken);
	number = find_number(&w, taken);
	street = next_untaken(&w, taken, number < w.n ? take_number(draft, &w, taken, number) : 0);
	if (street == w.n || (number == w.n && draft->count[DEMO_STREET_NUMBER] > boxes))
		return;
	end = part_end(&w, street);
	/* "Hauptstrasse 12" */
	if (number == w.n && end - street > 1 && !taken[end - 1] && is_number(&w, end - 1))
		take_number(draft, &w, taken, end - 1);
	words_item(draft, DEMO_STREET, &w, taken, street, end, street_words, lengthof(street_words));
}
