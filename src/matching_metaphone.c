/*-------------------------------------------------------------------------
 *
 * matching_metaphone.c
 *		Double metaphone: how a name sounds, and how else it may sound.
 *
 * After Lawrence Philips, "The double metaphone search algorithm" (C/C++ Users
 * Journal, June 2000).  A function for each letter looks at its surroundings,
 * writes the sounds of one or both keys and says how many letters it has dealt
 * with.  Sounds are written as there: 0 stands for th, X for sh, A for any
 * vowel at the beginning of the name.
 *
 * IDENTIFICATION
 *		src/matching_metaphone.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "compat.h"
#include "matching_string.h"

PG_FUNCTION_INFO_V1(double_metaphone_keys);

/* Letters of a name that are looked at: keys are full long before */
#define NAME_LENGTH		64

/* Spaces around the name, so that its surroundings can be looked at */
#define MARGIN			8

/* Letters that are not ASCII but have sounds of their own */
#define C_CEDILLA		'\1'
#define N_TILDE			'\2'

typedef struct Spelling
{
	char		padded[MARGIN + NAME_LENGTH + MARGIN];
	const char *text;			/* within padded */
	int			length;
	int			at;				/* the letter at hand */
	bool		slavic;			/* of Slavic or Germanic origin, by its letters */
	int			primary_length;
	int			secondary_length;
	Metaphone  *keys;
} Spelling;

/* ---------- Letters ---------- */

/* Latin letters from U+00C0 on by the plain letter that sounds like them; a space has none. */
static const char latin[] =
	"AAAAAAA\1EEEEIIII" "D\2OOOOO OUUUUYTS" "AAAAAAA\1EEEEIIII" "D\2OOOOO OUUUUYTY"
	"AAAAAACCCCCCCCDD" "DDEEEEEEEEEEGGGG" "GGGGHHHHIIIIIIII" "IIIIJJKKKLLLLLLL"
	"LLLNNNNNNNNNOOOO" "OOOORRRRRRSSSSSS" "SSTTTTTTUUUUUUUU" "UUUUWWYYYZZZZZZS";

#define LATIN_FIRST		0x00C0
#define LATIN_LAST		0x017F

/* The capital letter at *text, which moves on; what is no letter comes as it is or as a space. */
static inline char
next_letter(const char **text, const char *end, bool utf8)
{
	uint8		c = (uint8) *(*text)++;
	int			code;

	if (c >= 'a' && c <= 'z')
		return c - 'a' + 'A';
	if (!IS_HIGHBIT_SET(c))
		return c >= ' ' ? c : ' ';
	if (!utf8 || c < 0xC3 || c > 0xC5 || *text == end)
		return ' ';
	code = (c & 0x1F) << 6 | ((uint8) *(*text)++ & 0x3F);
	return latin[code - LATIN_FIRST];
}

static void
read_name(Spelling *name, const char *text, int length)
{
	const char *end = text + length;
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;
	char	   *letters = name->padded + MARGIN;

	memset(name->padded, ' ', sizeof(name->padded));
	name->text = letters;
	name->length = 0;
	name->at = 0;
	name->slavic = false;
	while (text < end && name->length < NAME_LENGTH)
		letters[name->length++] = next_letter(&text, end, utf8);
}

static inline char
letter(const Spelling *name, int offset)
{
	return name->text[name->at + offset];
}

static inline bool
is_vowel(char c)
{
	return c == 'A' || c == 'E' || c == 'I' || c == 'O' || c == 'U' || c == 'Y';
}

static inline bool
is_one_of(char c, const char *letters)
{
	for (; *letters != '\0'; letters++)
	{
		if (c == *letters)
			return true;
	}
	return false;
}

/* Does one of the words, which "|" separates, stand there? */
static bool
word_at(const char *text, const char *words)
{
	const char *t = text;

	for (;; words++)
	{
		if (*words == '|' || *words == '\0')
			return true;
		if (*words == *t)
			t++;
		else
		{
			while (*words != '|' && *words != '\0')
				words++;
			if (*words == '\0')
				return false;
			t = text;
		}
	}
}

/* The same at so many letters from the one at hand. */
static inline bool
word(const Spelling *name, int offset, const char *words)
{
	if (name->at + offset < 0)
		return false;
	return word_at(name->text + name->at + offset, words);
}

static inline bool
begins(const Spelling *name, const char *words)
{
	return word_at(name->text, words);
}

static inline bool
is_last(const Spelling *name)
{
	return name->at == name->length - 1;
}

static inline bool
is_germanic(const Spelling *name)
{
	return begins(name, "VAN |VON |SCH");
}

static bool
has_slavic_letters(const Spelling *name)
{
	for (int i = 0; i < name->length; i++)
	{
		char		c = name->text[i];

		if (c == 'W' || c == 'K' || (c == 'C' && name->text[i + 1] == 'Z'))
			return true;
	}
	return false;
}

/* ---------- Sounds ---------- */

static inline void
append(char *key, int *length, const char *sounds)
{
	while (*sounds != '\0' && *length < METAPHONE_LENGTH)
		key[(*length)++] = *sounds++;
}

/* The sounds of both keys. */
static inline void
sounds(Spelling *name, const char *primary, const char *secondary)
{
	append(name->keys->primary, &name->primary_length, primary);
	append(name->keys->secondary, &name->secondary_length, secondary);
}

static inline void
sound(Spelling *name, const char *both)
{
	sounds(name, both, both);
}

/* A consonant that sounds alike everywhere, and once when it is doubled. */
static inline int
plain(Spelling *name, const char *both)
{
	sound(name, both);
	return letter(name, 1) == letter(name, 0) ? 2 : 1;
}

/* ---------- C ---------- */

/* ch as in Bach, and not as in Bachini. */
static bool
is_throaty_ch(const Spelling *name)
{
	return name->at > 1 && !is_vowel(letter(name, -2)) && word(name, -1, "ACH") &&
		letter(name, 2) != 'I' && (letter(name, 2) != 'E' || word(name, -2, "BACHER|MACHER"));
}

/* ch as in character. */
static bool
is_greek_ch(const Spelling *name)
{
	return name->at == 0 && word(name, 1, "HARAC|HARIS|HOR|HYM|HIA|HEM") && !begins(name, "CHORE");
}

/* ch that is hard because of its neighbours: orchestra, Wachtler, Schneider. */
static bool
is_hard_ch(const Spelling *name)
{
	if (is_germanic(name) || word(name, -2, "ORCHES|ARCHIT|ORCHID") ||
		is_one_of(letter(name, 2), "TS"))
		return true;
	return (name->at == 0 || is_one_of(letter(name, -1), "AOUE")) &&
		is_one_of(letter(name, 2), "LRNMBHFVW ");
}

static int
letters_ch(Spelling *name)
{
	if (name->at > 0 && word(name, 0, "CHAE"))
		sounds(name, "K", "X");
	else if (is_greek_ch(name) || is_hard_ch(name))
		sound(name, "K");
	else if (name->at == 0)
		sound(name, "X");
	else if (begins(name, "MC"))
		sound(name, "K");
	else
		sounds(name, "X", "K");
	return 2;
}

static int
letters_cc(Spelling *name)
{
	if (!is_one_of(letter(name, 2), "IEH") || word(name, 2, "HU"))
	{
		sound(name, "K");
		return 2;
	}
	if ((name->at == 1 && letter(name, -1) == 'A') || word(name, -1, "UCCEE|UCCES"))
		sound(name, "KS");
	else
		sound(name, "X");
	return 3;
}

/* c before no letter that makes it soft. */
static int
letter_hard_c(Spelling *name)
{
	sound(name, "K");
	if (word(name, 1, " C| Q| G"))
		return 3;
	return is_one_of(letter(name, 1), "CKQ") && !word(name, 1, "CE|CI") ? 2 : 1;
}

static int
letter_c(Spelling *name)
{
	if (is_throaty_ch(name))
		sound(name, "K");
	else if (name->at == 0 && word(name, 0, "CAESAR"))
		sound(name, "S");
	else if (word(name, 0, "CHIA"))
		sound(name, "K");
	else if (word(name, 0, "CH"))
		return letters_ch(name);
	else if (word(name, 0, "CZ") && !word(name, -2, "WICZ"))
		sounds(name, "S", "X");
	else if (word(name, 1, "CIA"))
	{
		sound(name, "X");
		return 3;
	}
	else if (word(name, 0, "CC") && !(name->at == 1 && letter(name, -1) == 'M'))
		return letters_cc(name);
	else if (word(name, 0, "CK|CG|CQ"))
		sound(name, "K");
	else if (word(name, 0, "CIO|CIE|CIA"))
		sounds(name, "S", "X");
	else if (word(name, 0, "CI|CE|CY"))
		sound(name, "S");
	else
		return letter_hard_c(name);
	return 2;
}

/* ---------- D ---------- */

static int
letter_d(Spelling *name)
{
	if (word(name, 0, "DG"))
	{
		bool		soft = is_one_of(letter(name, 2), "IEY");

		sound(name, soft ? "J" : "TK");
		return soft ? 3 : 2;
	}
	sound(name, "T");
	return word(name, 0, "DT|DD") ? 2 : 1;
}

/* ---------- G ---------- */

/* gh that is not heard: after b, h or d some letters before, as in Hugh, bough, Houghton. */
static bool
is_silent_gh(const Spelling *name)
{
	return (name->at > 1 && is_one_of(letter(name, -2), "BHD")) ||
		(name->at > 2 && is_one_of(letter(name, -3), "BHD")) ||
		(name->at > 3 && is_one_of(letter(name, -4), "BH"));
}

static int
letters_gh(Spelling *name)
{
	if (name->at > 0 && !is_vowel(letter(name, -1)))
		sound(name, "K");
	else if (name->at == 0)
		sound(name, letter(name, 2) == 'I' ? "J" : "K");
	else if (is_silent_gh(name))
		return 2;
	else if (name->at > 2 && letter(name, -1) == 'U' && is_one_of(letter(name, -3), "CGLRT"))
		sound(name, "F");
	else if (letter(name, -1) != 'I')
		sound(name, "K");
	return 2;
}

static int
letters_gn(Spelling *name)
{
	if (name->slavic)
		sound(name, "KN");
	else if (name->at == 1 && is_vowel(letter(name, -1)))
		sounds(name, "KN", "N");
	else if (!word(name, 2, "EY") && letter(name, 1) != 'Y')
		sounds(name, "N", "KN");
	else
		sound(name, "KN");
	return 2;
}

/* g that is hard in German and soft in English at the beginning: Gerber, Gilbert. */
static bool
is_doubtful_g(const Spelling *name)
{
	if (name->at == 0)
		return word(name, 1, "Y|ES|EP|EB|EL|EY|IB|IL|IN|IE|EI|ER");
	return false;
}

/* -ger- and -gy-, with the exceptions that are soft. */
static bool
is_doubtful_ger(const Spelling *name)
{
	return word(name, 1, "ER|Y") && !begins(name, "DANGER|RANGER|MANGER") &&
		!is_one_of(letter(name, -1), "EI") && !word(name, -1, "RGY|OGY");
}

static int
letter_g(Spelling *name)
{
	if (letter(name, 1) == 'H')
		return letters_gh(name);
	if (letter(name, 1) == 'N')
		return letters_gn(name);
	if (word(name, 1, "LI") && !name->slavic)
		sounds(name, "KL", "L");
	else if (is_doubtful_g(name) || is_doubtful_ger(name))
		sounds(name, "K", "J");
	else if (!is_one_of(letter(name, 1), "EIY") && !word(name, -1, "AGGI|OGGI"))
		return plain(name, "K");
	else if (is_germanic(name) || word(name, 1, "ET"))
		sound(name, "K");
	else if (word(name, 1, "IER "))
		sound(name, "J");
	else
		sounds(name, "J", "K");
	return 2;
}

/* ---------- H, J ---------- */

/* Only between vowels, or before one at the beginning. */
static int
letter_h(Spelling *name)
{
	if ((name->at > 0 && !is_vowel(letter(name, -1))) || !is_vowel(letter(name, 1)))
		return 1;
	sound(name, "H");
	return 2;
}

static int
letter_j(Spelling *name)
{
	bool		san = begins(name, "SAN ");

	if (word(name, 0, "JOSE") || san)
	{
		bool		spanish = san || (name->at == 0 && letter(name, 4) == ' ');

		sounds(name, spanish ? "H" : "J", "H");
		return 1;
	}
	if (name->at == 0)
		sounds(name, "J", "A");
	else if (is_vowel(letter(name, -1)) && !name->slavic && is_one_of(letter(name, 1), "AO"))
		sounds(name, "J", "H");
	else if (is_last(name))
		sounds(name, "J", "");
	else if (!is_one_of(letter(name, 1), "LTKSNMBZ") && !is_one_of(letter(name, -1), "SKL"))
		sound(name, "J");
	return letter(name, 1) == 'J' ? 2 : 1;
}

/* ---------- L, M, P, R ---------- */

/* ll as in Cabrillo and Gallegos. */
static bool
is_spanish_ll(const Spelling *name)
{
	const char *end = name->text + name->length;

	if (name->at == name->length - 3 && word(name, -1, "ILLO|ILLA|ALLE"))
		return true;
	return (word_at(end - 2, "AS|OS") || word_at(end - 1, "A|O")) && word(name, -1, "ALLE");
}

static int
letter_l(Spelling *name)
{
	if (letter(name, 1) != 'L')
		return plain(name, "L");
	sounds(name, "L", is_spanish_ll(name) ? "" : "L");
	return 2;
}

/* The b of dumb and thumber is not heard. */
static int
letter_m(Spelling *name)
{
	bool		silent_b = word(name, -1, "UMB") &&
		(name->at + 1 == name->length - 1 || word(name, 2, "ER"));

	sound(name, "M");
	return silent_b || letter(name, 1) == 'M' ? 2 : 1;
}

static int
letter_p(Spelling *name)
{
	if (letter(name, 1) == 'H')
	{
		sound(name, "F");
		return 2;
	}
	sound(name, "P");
	return is_one_of(letter(name, 1), "PB") ? 2 : 1;
}

/* At the end of a French name (Rogier) it may not be heard. */
static int
letter_r(Spelling *name)
{
	bool		french = is_last(name) && !name->slavic &&
		word(name, -2, "IE") && !word(name, -4, "ME|MA");

	sounds(name, french ? "" : "R", "R");
	return letter(name, 1) == 'R' ? 2 : 1;
}

/* ---------- S ---------- */

static int
letters_sch(Spelling *name)
{
	if (word(name, 3, "ER|EN"))
		sounds(name, "X", "SK");
	else if (word(name, 3, "OO|UY|ED|EM"))
		sound(name, "SK");
	else if (name->at == 0 && !is_vowel(letter(name, 3)) && letter(name, 3) != 'W')
		sounds(name, "X", "S");
	else
		sound(name, "X");
	return 3;
}

static int
letters_sc(Spelling *name)
{
	if (letter(name, 2) == 'H')
		return letters_sch(name);
	sound(name, is_one_of(letter(name, 2), "IEY") ? "S" : "SK");
	return 3;
}

static int
letter_s(Spelling *name)
{
	bool		french = is_last(name) && word(name, -2, "AI|OI");

	if (word(name, -1, "ISL|YSL"))
		return 1;				/* island, Carlysle */
	if (name->at == 0 && word(name, 0, "SUGAR"))
	{
		sounds(name, "X", "S");
		return 1;
	}
	if (word(name, 0, "SH"))
	{
		sound(name, word(name, 1, "HEIM|HOEK|HOLM|HOLZ") ? "S" : "X");
		return 2;
	}
	if (word(name, 0, "SIO|SIA"))
	{
		sounds(name, "S", name->slavic ? "S" : "X");
		return 3;
	}
	if ((name->at == 0 && is_one_of(letter(name, 1), "MNLW")) || letter(name, 1) == 'Z')
	{
		sounds(name, "S", "X");
		return letter(name, 1) == 'Z' ? 2 : 1;
	}
	if (word(name, 0, "SC"))
		return letters_sc(name);
	sounds(name, french ? "" : "S", "S");
	return is_one_of(letter(name, 1), "SZ") ? 2 : 1;
}

/* ---------- T, W, X, Z ---------- */

static int
letter_t(Spelling *name)
{
	if (word(name, 0, "TION|TIA|TCH"))
	{
		sound(name, "X");
		return 3;
	}
	if (word(name, 0, "TH|TTH"))
	{
		if (word(name, 2, "OM|AM") || is_germanic(name))
			sound(name, "T");
		else
			sounds(name, "0", "T");
		return 2;
	}
	sound(name, "T");
	return is_one_of(letter(name, 1), "TD") ? 2 : 1;
}

static int
letter_w(Spelling *name)
{
	if (word(name, 0, "WR"))
	{
		sound(name, "R");
		return 2;
	}
	if (name->at == 0 && is_vowel(letter(name, 1)))
		sounds(name, "A", "F");
	else if (name->at == 0 && letter(name, 1) == 'H')
		sound(name, "A");
	if ((is_last(name) && name->at > 0 && is_vowel(letter(name, -1))) ||
		word(name, -1, "EWSKI|EWSKY|OWSKI|OWSKY") || begins(name, "SCH"))
		sounds(name, "", "F");
	else if (word(name, 0, "WICZ|WITZ"))
	{
		sounds(name, "TS", "FX");
		return 4;
	}
	return 1;
}

static int
letter_x(Spelling *name)
{
	/* at the end of French names it is not heard */
	if (!(is_last(name) && (word(name, -3, "IAU|EAU") || word(name, -2, "AU|OU"))))
		sound(name, "KS");
	return is_one_of(letter(name, 1), "CX") ? 2 : 1;
}

static int
letter_z(Spelling *name)
{
	if (letter(name, 1) == 'H')
	{
		sound(name, "J");		/* Zhao */
		return 2;
	}
	if (word(name, 1, "ZO|ZI|ZA") || (name->slavic && name->at > 0 && letter(name, -1) != 'T'))
		sounds(name, "S", "TS");
	else
		sound(name, "S");
	return letter(name, 1) == 'Z' ? 2 : 1;
}

/* ---------- The whole ---------- */

/* Writes the sounds of the letter at hand; returns how many letters were dealt with. */
static int
one_letter(Spelling *name)
{
	switch (letter(name, 0))
	{
		case 'A':
		case 'E':
		case 'I':
		case 'O':
		case 'U':
		case 'Y':
			if (name->at == 0)
				sound(name, "A");
			return 1;
		case 'B':
			return plain(name, "P");
		case 'C':
			return letter_c(name);
		case C_CEDILLA:
			sound(name, "S");
			return 1;
		case 'D':
			return letter_d(name);
		case 'F':
			return plain(name, "F");
		case 'G':
			return letter_g(name);
		case 'H':
			return letter_h(name);
		case 'J':
			return letter_j(name);
		case 'K':
			return plain(name, "K");
		case 'L':
			return letter_l(name);
		case 'M':
			return letter_m(name);
		case 'N':
			return plain(name, "N");
		case N_TILDE:
			sound(name, "N");
			return 1;
		case 'P':
			return letter_p(name);
		case 'Q':
			return plain(name, "K");
		case 'R':
			return letter_r(name);
		case 'S':
			return letter_s(name);
		case 'T':
			return letter_t(name);
		case 'V':
			return plain(name, "F");
		case 'W':
			return letter_w(name);
		case 'X':
			return letter_x(name);
		case 'Z':
			return letter_z(name);
		default:
			return 1;
	}
}

void
string_double_metaphone(const char *text, int length, Metaphone *result)
{
	Spelling	name;

	read_name(&name, text, length);
	name.slavic = has_slavic_letters(&name);
	name.keys = result;
	name.primary_length = 0;
	name.secondary_length = 0;

	/* the first letter is silent in Gnome, Knight, Pneu, Wright and Psalm */
	if (begins(&name, "GN|KN|PN|WR|PS"))
		name.at = 1;
	else if (letter(&name, 0) == 'X')
	{
		sound(&name, "S");
		name.at = 1;
	}
	while (name.at < name.length &&
		   (name.primary_length < METAPHONE_LENGTH || name.secondary_length < METAPHONE_LENGTH))
		name.at += one_letter(&name);

	result->primary[name.primary_length] = '\0';
	result->secondary[name.secondary_length] = '\0';
	if (result->primary[0] == '\0')
		strcpy(result->primary, result->secondary);
	if (strcmp(result->primary, result->secondary) == 0)
		result->secondary[0] = '\0';
}

Datum
double_metaphone_keys(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	Metaphone	keys;
	Datum		elements[2];
	int			count = 0;

	string_double_metaphone(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &keys);
	if (keys.primary[0] != '\0')
		elements[count++] = CStringGetTextDatum(keys.primary);
	if (keys.secondary[0] != '\0')
		elements[count++] = CStringGetTextDatum(keys.secondary);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}
