/*-------------------------------------------------------------------------
 *
 * matching_normalize.c
 *		Text as people write it, reduced to what tells people apart.
 *
 * Nothing here depends on a locale, and of the server only on its Unicode
 * normalisation.  Folding what was folded changes nothing.
 *
 * IDENTIFICATION
 *		src/matching_normalize.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/unicode_norm.h"
#include "mb/pg_wchar.h"

#include "compat.h"
#include "errors.h"
#include "matching_normalize.h"

/* What becomes of a character beyond ASCII: see fold_character(). */
#define FOLD_DROP		0

typedef struct FoldRange
{
	pg_wchar	first;
	pg_wchar	last;
	pg_wchar	to;				/* FOLD_DROP, or the character that stands for all of them */
} FoldRange;

/*
 * Marks, characters that are not seen, and punctuation.  Vowel signs of Indic
 * scripts are marks, too, but stay: a name without them is another name.
 */
static const FoldRange fold_ranges[] = {
	{0x0080, 0x00A9, ' '}, {0x00AB, 0x00AB, '"'}, {0x00AC, 0x00AC, ' '},
	{0x00AD, 0x00AD, FOLD_DROP},
	{0x00AE, 0x00B4, ' '}, {0x00B6, 0x00B9, ' '}, {0x00BB, 0x00BB, '"'}, {0x00BC, 0x00BF, ' '},
	{0x00D7, 0x00D7, ' '}, {0x00F7, 0x00F7, ' '},
	{0x02B0, 0x036F, FOLD_DROP},	/* modifier letters and combining marks */
	{0x0374, 0x0375, FOLD_DROP}, {0x037A, 0x037A, FOLD_DROP}, {0x0384, 0x0385, FOLD_DROP},
	{0x0387, 0x0387, ' '}, {0x0483, 0x0489, FOLD_DROP},
	{0x0559, 0x055F, FOLD_DROP}, {0x0589, 0x0589, ' '}, {0x058A, 0x058A, '-'},
	{0x0591, 0x05BD, FOLD_DROP}, {0x05BE, 0x05BE, '-'}, {0x05BF, 0x05BF, FOLD_DROP},
	{0x05C0, 0x05C0, ' '}, {0x05C1, 0x05C2, FOLD_DROP}, {0x05C3, 0x05C3, ' '},
	{0x05C4, 0x05C5, FOLD_DROP}, {0x05C6, 0x05C6, ' '}, {0x05C7, 0x05C7, FOLD_DROP},
	{0x05F3, 0x05F4, FOLD_DROP}, {0x0600, 0x060B, ' '}, {0x060C, 0x060D, ','},
	{0x060E, 0x060F, ' '}, {0x0610, 0x061A, FOLD_DROP}, {0x061B, 0x061B, ','},
	{0x061C, 0x061C, FOLD_DROP}, {0x061D, 0x061F, ' '}, {0x0640, 0x0640, FOLD_DROP},
	{0x064B, 0x065F, FOLD_DROP}, {0x066A, 0x066D, ' '}, {0x0670, 0x0670, FOLD_DROP},
	{0x06D4, 0x06D4, ' '}, {0x06D6, 0x06DC, FOLD_DROP}, {0x06DD, 0x06DE, ' '},
	{0x06DF, 0x06E4, FOLD_DROP}, {0x06E7, 0x06E8, FOLD_DROP}, {0x06E9, 0x06E9, ' '},
	{0x06EA, 0x06ED, FOLD_DROP}, {0x0700, 0x070D, ' '}, {0x0711, 0x0711, FOLD_DROP},
	{0x0730, 0x074A, FOLD_DROP}, {0x0964, 0x0965, ' '}, {0x180B, 0x180F, FOLD_DROP},
	{0x1AB0, 0x1AFF, FOLD_DROP}, {0x1DC0, 0x1DFF, FOLD_DROP}, {0x1FBD, 0x1FBF, FOLD_DROP},
	{0x2000, 0x200A, ' '}, {0x200B, 0x200F, FOLD_DROP}, {0x2010, 0x2015, '-'},
	{0x2016, 0x2017, ' '}, {0x2018, 0x201B, FOLD_DROP}, {0x201C, 0x201F, '"'},
	{0x2020, 0x2029, ' '}, {0x202A, 0x202E, FOLD_DROP}, {0x202F, 0x2031, ' '},
	{0x2032, 0x2032, FOLD_DROP}, {0x2033, 0x2033, '"'}, {0x2034, 0x2034, ' '},
	{0x2035, 0x2035, FOLD_DROP}, {0x2036, 0x2043, ' '}, {0x2044, 0x2044, '/'},
	{0x2045, 0x205F, ' '}, {0x2060, 0x206F, FOLD_DROP}, {0x207A, 0x207F, ' '},
	{0x208A, 0x208F, ' '}, {0x20A0, 0x20CF, ' '}, {0x20D0, 0x20FF, FOLD_DROP},
	{0x2190, 0x2211, ' '}, {0x2212, 0x2212, '-'}, {0x2213, 0x2BFF, ' '},
	{0x2E00, 0x2E7F, ' '}, {0x3000, 0x3000, ' '}, {0x3001, 0x3001, ','}, {0x3002, 0x3004, ' '},
	{0x3008, 0x3020, ' '}, {0x302A, 0x302D, FOLD_DROP}, {0x3030, 0x3030, '-'},
	{0x303D, 0x303F, ' '}, {0x30A0, 0x30A0, '-'}, {0x30FB, 0x30FB, ' '},
	{0xA78B, 0xA78C, FOLD_DROP}, {0xE000, 0xF8FF, ' '}, {0xFD3E, 0xFD3F, ' '},
	{0xFE00, 0xFE0F, FOLD_DROP}, {0xFE10, 0xFE1F, ' '}, {0xFE20, 0xFE2F, FOLD_DROP},
	{0xFE30, 0xFE6F, ' '}, {0xFEFF, 0xFEFF, FOLD_DROP}, {0xFFF0, 0xFFFF, ' '},
	{0x1F000, 0x1FAFF, ' '}, {0xE0000, 0x10FFFF, FOLD_DROP},
};

/* Letters that decomposition leaves alone, spelled with letters of English. */
typedef struct FoldLetter
{
	pg_wchar	from;
	const char *to;
} FoldLetter;

static const FoldLetter fold_letters[] = {
	{0x00C6, "ae"}, {0x00D0, "d"}, {0x00D8, "o"}, {0x00DE, "th"}, {0x00DF, "ss"}, {0x00E6, "ae"},
	{0x00F0, "d"}, {0x00F8, "o"}, {0x00FE, "th"}, {0x0110, "d"}, {0x0111, "d"}, {0x0126, "h"},
	{0x0127, "h"}, {0x0131, "i"}, {0x0138, "k"}, {0x0141, "l"}, {0x0142, "l"}, {0x014A, "n"},
	{0x014B, "n"}, {0x0152, "oe"}, {0x0153, "oe"}, {0x0166, "t"}, {0x0167, "t"}, {0x0180, "b"},
	{0x0181, "b"}, {0x0182, "b"}, {0x0183, "b"}, {0x0186, "o"}, {0x0187, "c"}, {0x0188, "c"},
	{0x0189, "d"}, {0x018A, "d"}, {0x018B, "d"}, {0x018C, "d"}, {0x018E, "e"}, {0x018F, "e"},
	{0x0190, "e"}, {0x0191, "f"}, {0x0192, "f"}, {0x0193, "g"}, {0x0194, "g"}, {0x0196, "i"},
	{0x0197, "i"}, {0x0198, "k"}, {0x0199, "k"}, {0x019A, "l"}, {0x019D, "n"}, {0x019E, "n"},
	{0x019F, "o"}, {0x01A4, "p"}, {0x01A5, "p"}, {0x01AB, "t"}, {0x01AC, "t"}, {0x01AD, "t"},
	{0x01AE, "t"}, {0x01B2, "v"}, {0x01B3, "y"}, {0x01B4, "y"}, {0x01B5, "z"}, {0x01B6, "z"},
	{0x01B7, "z"}, {0x01DD, "e"}, {0x01E4, "g"}, {0x01E5, "g"}, {0x0220, "n"}, {0x0221, "d"},
	{0x0234, "l"}, {0x0235, "n"}, {0x0236, "t"}, {0x0237, "j"}, {0x023A, "a"}, {0x023B, "c"},
	{0x023C, "c"}, {0x023D, "l"}, {0x023E, "t"}, {0x0243, "b"}, {0x0244, "u"}, {0x0246, "e"},
	{0x0247, "e"}, {0x0248, "j"}, {0x0249, "j"}, {0x024C, "r"}, {0x024D, "r"}, {0x024E, "y"},
	{0x024F, "y"}, {0x0253, "b"}, {0x0254, "o"}, {0x0256, "d"}, {0x0257, "d"}, {0x0258, "e"},
	{0x0259, "e"}, {0x025B, "e"}, {0x0260, "g"}, {0x0261, "g"}, {0x0263, "g"}, {0x0268, "i"},
	{0x0269, "i"}, {0x026B, "l"}, {0x0272, "n"}, {0x0275, "o"}, {0x0288, "t"}, {0x0289, "u"},
	{0x028B, "v"}, {0x0292, "z"}, {0x1E9E, "ss"}, {0x2C65, "a"}, {0x2C66, "t"},
};

/* Capitals that few languages use, each with its small letter. */
static const pg_wchar rare_capitals[][2] = {
	{0x0184, 0x0185}, {0x019C, 0x026F}, {0x01A2, 0x01A3}, {0x01A6, 0x0280}, {0x01A7, 0x01A8},
	{0x01A9, 0x0283}, {0x01B1, 0x028A}, {0x01B8, 0x01B9}, {0x01BC, 0x01BD}, {0x01F6, 0x0195},
	{0x01F7, 0x01BF}, {0x021C, 0x021D}, {0x0222, 0x0223}, {0x0224, 0x0225}, {0x0241, 0x0242},
	{0x0245, 0x028C}, {0x024A, 0x024B}, {0x0370, 0x0371}, {0x0372, 0x0373}, {0x0376, 0x0377},
	{0x037F, 0x03F3}, {0x03CF, 0x03D7}, {0x03F7, 0x03F8}, {0x03FA, 0x03FB}, {0x03FD, 0x037B},
	{0x03FE, 0x037C}, {0x03FF, 0x037D},
};

/* Zeros of decimal digits in other scripts, each followed by 1 to 9. */
static const pg_wchar zeros[] = {
	0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
	0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x17E0, 0x1810
};

static const FoldRange *
find_range(pg_wchar c)
{
	int			low = 0;
	int			high = lengthof(fold_ranges) - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (c < fold_ranges[middle].first)
			high = middle - 1;
		else if (c > fold_ranges[middle].last)
			low = middle + 1;
		else
			return &fold_ranges[middle];
	}
	return NULL;
}

static const char *
find_letter(pg_wchar c)
{
	int			low = 0;
	int			high = lengthof(fold_letters) - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (c < fold_letters[middle].from)
			high = middle - 1;
		else if (c > fold_letters[middle].from)
			low = middle + 1;
		else
			return fold_letters[middle].to;
	}
	return NULL;
}

/* Lower case of Greek, Cyrillic, Armenian and Georgian letters without marks; digits. */
static pg_wchar
fold_case(pg_wchar c)
{
	if (c >= 0x0391 && c <= 0x03A9 && c != 0x03A2)
		return c + 0x20;
	if (c == 0x03C2)			/* sigma at the end of a word */
		return 0x03C3;
	if (c >= 0x03D8 && c <= 0x03EF)
		return c | 1;
	if (c >= 0x0400 && c <= 0x040F)
		return c + 0x50;
	if (c >= 0x0410 && c <= 0x042F)
		return c + 0x20;
	if ((c >= 0x0460 && c <= 0x0481) || (c >= 0x048A && c <= 0x04BF) ||
		(c >= 0x04D0 && c <= 0x052F))
		return c | 1;
	if (c == 0x04C0)
		return 0x04CF;
	if (c >= 0x04C1 && c <= 0x04CE)
		return c + (c & 1);
	if (c >= 0x0531 && c <= 0x0556)
		return c + 0x30;
	if (c >= 0x1C90 && c <= 0x1CBF && c != 0x1CBB && c != 0x1CBC)
		return c - 0x0BC0;
	for (int i = 0; i < lengthof(rare_capitals) && c <= 0x03FF; i++)
	{
		if (c == rare_capitals[i][0])
			return rare_capitals[i][1];
	}
	for (int i = 0; i < lengthof(zeros); i++)
	{
		if (c >= zeros[i] && c <= zeros[i] + 9)
			return '0' + (c - zeros[i]);
	}
	return c;
}

/* Writes what stands for a character, at most 2 characters; returns their number. */
static int
fold_character(pg_wchar c, pg_wchar *out)
{
	const FoldRange *range = find_range(c);
	const char *letters;

	if (range != NULL)
	{
		out[0] = range->to;
		return range->to == FOLD_DROP ? 0 : 1;
	}
	letters = find_letter(c);
	if (letters == NULL)
	{
		out[0] = fold_case(c);
		return 1;
	}
	out[0] = letters[0];
	out[1] = letters[1];
	return letters[1] == '\0' ? 1 : 2;
}

/* Accents that stand for themselves are meant as apostrophes, but decompose to a space. */
static inline bool
is_accent(pg_wchar c)
{
	return c == 0x00B4 || c == 0x02BC || c == 0x0384 || c == 0x1FBD || c == 0x1FBF ||
		(c >= 0x1FCD && c <= 0x1FCF) || (c >= 0x1FDD && c <= 0x1FDF) ||
		c == 0x1FEF || c == 0x1FFD || c == 0x1FFE;
}

static pg_wchar *
decode(const char *text, int length)
{
	const unsigned char *p = (const unsigned char *) text;
	const unsigned char *end = p + length;
	pg_wchar   *wide = palloc((length + 1) * sizeof(pg_wchar));
	int			n = 0;

	while (p < end)
	{
		int			size = pg_utf_mblen(p);

		if (size > end - p)
			break;				/* not in verified text */
		wide[n] = utf8_to_unicode(p);
		if (is_accent(wide[n]))
			wide[n] = '\'';
		if (wide[n] != 0)
			n++;
		p += size;
	}
	wide[n] = 0;
	return wide;
}

static int
encode(const pg_wchar *wide, char *buffer)
{
	int			length = 0;

	for (; *wide != 0; wide++)
	{
		unsigned char utf8[MAX_MULTIBYTE_CHAR_LEN];
		int			size;

		unicode_to_utf8(*wide, utf8);
		size = pg_utf_mblen(utf8);
		if (length + size > NORMALIZE_MAX_LENGTH)
			break;
		memcpy(buffer + length, utf8, size);
		length += size;
	}
	return length;
}

static void
refuse_encoding(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_NOT_DEPLOYED),
			 errmsg("text beyond ASCII cannot be matched in this database"),
			 errdetail("The encoding of the database is %s, and letters are told apart by their "
					   "Unicode code points.", GetDatabaseEncodingName()),
			 errhint("Use a database with the encoding UTF8.")));
}

static int
fold_wide(const char *text, int length, char *buffer)
{
	pg_wchar   *wide = decode(text, length);
	pg_wchar   *decomposed = unicode_normalize(UNICODE_NFKD, wide);
	pg_wchar   *folded;
	pg_wchar   *composed;
	int			n = 0;

	while (decomposed[n] != 0)
		n++;
	folded = palloc((2 * n + 1) * sizeof(pg_wchar));
	n = 0;
	for (const pg_wchar *c = decomposed; *c != 0; c++)
	{
		if (*c < 0x80)
			folded[n++] = *c;
		else
			n += fold_character(*c, folded + n);
	}
	folded[n] = 0;
	/* shorter, and what people write in Korean and Japanese */
	composed = unicode_normalize(UNICODE_NFC, folded);
	length = encode(composed, buffer);
	pfree(composed);
	pfree(folded);
	pfree(decomposed);
	pfree(wide);
	return length;
}

static inline bool
is_ascii(const char *text, int length)
{
	uint64		chunk;
	int			i = 0;

	for (; i + (int) sizeof(chunk) <= length; i += sizeof(chunk))
	{
		memcpy(&chunk, text + i, sizeof(chunk));
		if ((chunk & UINT64CONST(0x8080808080808080)) != 0)
			return false;
	}
	for (; i < length; i++)
	{
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	}
	return true;
}

int
normalize_clip(const char *text, int length, int max)
{
	if (length <= max)
		return length;
	/* back to the first byte of a character of UTF-8 */
	while (max > 0 && ((unsigned char) text[max] & 0xC0) == 0x80)
		max--;
	return max;
}

const char *
normalize_fold(const char *text, int *length, char *buffer)
{
	*length = normalize_clip(text, *length, NORMALIZE_MAX_LENGTH);
	if (is_ascii(text, *length))
		return text;
	if (GetDatabaseEncoding() != PG_UTF8)
		refuse_encoding();
	*length = fold_wide(text, *length, buffer);
	return buffer;
}

/* What a separator tells of the word that follows. */
static inline uint8
separator(char c)
{
	switch (c)
	{
		case '-':
			return BEFORE_HYPHEN;
		case ',':
		case ';':
			return BEFORE_COMMA;
		case '/':
			return BEFORE_SLASH;
		case '#':
			return BEFORE_HASH;
		default:
			return BEFORE_SPACE;
	}
}

/* The lower-case letter or digit that a byte is, or 0. */
static inline char
word_byte(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || IS_HIGHBIT_SET(c))
		return c;
	if (c >= 'A' && c <= 'Z')
		return c + ('a' - 'A');
	return 0;
}

void
normalize_words(const char *text, int length, NormalWords *words)
{
	char		folded[NORMALIZE_MAX_LENGTH];
	int			used = 0;
	int			groups = 0;
	uint8		group = 0;
	uint8		before = 0;
	NormalWord *word = NULL;	/* that is being read */

	text = normalize_fold(text, &length, folded);
	words->n = 0;
	for (int i = 0; i < length; i++)
	{
		char		c = text[i];
		char		letter = word_byte(c);

		if (letter != 0)
		{
			if (word == NULL)
			{
				if (words->n == NORMALIZE_MAX_WORDS)
					return;
				word = &words->word[words->n++];
				word->start = used;
				word->length = 0;
				word->before = before;
				word->group = group;
				before = 0;
			}
			words->data[used++] = letter;
			word->length++;
			continue;
		}
		if (c == '\'' || c == '`')
			continue;			/* O'Brien is one word */
		word = NULL;
		before |= separator(c);
		if (c == '(' || c == '[' || c == '{' || (c == '"' && group == 0))
			group = groups < PG_UINT8_MAX ? ++groups : groups;
		else if (c == ')' || c == ']' || c == '}' || c == '"')
			group = 0;
	}
}

bool
normalize_is_initial(const char *text, int length)
{
	return length <= 1 || (IS_HIGHBIT_SET(text[0]) &&
						   length <= pg_utf_mblen((const unsigned char *) text));
}

const char *
normalize_map(const WordMap *map, int n, const char *word, int length)
{
	int			low = 0;
	int			high = n - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		const char *from = map[middle].from;
		int			order = strncmp(word, from, length);

		if (order == 0)
			order = from[length] == '\0' ? 0 : -1;
		if (order == 0)
			return map[middle].to;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}
