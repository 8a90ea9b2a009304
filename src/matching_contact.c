/*-------------------------------------------------------------------------
 *
 * matching_contact.c
 *		Phones, e-mail addresses, identifiers and dates of birth.
 *
 * IDENTIFICATION
 *		src/matching_contact.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "matching_draft.h"

#define PHONE_MAX_DIGITS	10
#define PHONE_MIN_DIGITS	5
#define TYPE_MAX_LENGTH		40
#define VALUE_MAX_LENGTH	(DEMO_MAX_LENGTH - 1 - TYPE_MAX_LENGTH)

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* ---------- Phones ---------- */

/* How many digits a country's calling code has. */
static int
calling_code_length(const char *digits, int n)
{
	static const char *const two[] = {
		"", "", "07", "0123469", "013456789", "12345678", "0123456", "", "1246", "0123458"
	};

	if (n < 2 || digits[0] == '1' || digits[0] == '7')
		return Min(n, 1);
	return strchr(two[digits[0] - '0'], digits[1]) != NULL ? 2 : 3;
}

/* Adds the number that the digits dial, without calling code and trunk prefix. */
static void
phone_item(DemographicsDraft *draft, const char *digits, int n, bool international)
{
	if (!international && n > 2 && digits[0] == '0' && digits[1] == '0')
	{
		digits += 2;
		n -= 2;
		international = true;
	}
	if (international)
	{
		int			code = calling_code_length(digits, n);

		code = Min(code, n);
		digits += code;
		n -= code;
	}
	else if (n == 11 && digits[0] == '1')
	{
		digits++;
		n--;
	}
	if (n > PHONE_MAX_DIGITS)
	{
		digits += n - PHONE_MAX_DIGITS;
		n = PHONE_MAX_DIGITS;
	}
	while (n > 0 && digits[0] == '0')
	{
		digits++;
		n--;
	}
	if (n >= PHONE_MIN_DIGITS)
		draft_item(draft, DEMO_PHONE, digits, n, NULL, 0);
}

/*
 * Several are separated by commas or semicolons; what follows a letter after a
 * number is an extension.
 */
void
draft_phone(DemographicsDraft *draft, const char *text, int length)
{
	char		folded[NORMALIZE_MAX_LENGTH];
	char		digits[32];
	int			n = 0;
	bool		international = false;
	bool		extension = false;

	text = normalize_fold(text, &length, folded);
	for (int i = 0; i < length; i++)
	{
		char		c = text[i];

		if (c == ',' || c == ';')
		{
			phone_item(draft, digits, n, international);
			n = 0;
			international = extension = false;
		}
		else if (is_digit(c) && !extension && n < (int) sizeof(digits))
			digits[n++] = c;
		else if (c == '+' && n == 0)
			international = true;
		else if (n >= PHONE_MIN_DIGITS &&
				 ((lower(c) >= 'a' && lower(c) <= 'z') || IS_HIGHBIT_SET(c) || c == '#'))
			extension = true;
	}
	phone_item(draft, digits, n, international);
}

/* ---------- E-mail ---------- */

static void
email_item(DemographicsDraft *draft, const char *email, int length)
{
	length = normalize_clip(email, length, DEMO_MAX_LENGTH);
	if (memchr(email, '@', length) != NULL || memchr(email, '.', length) != NULL)
		draft_item(draft, DEMO_EMAIL, email, length, NULL, 0);
}

static inline bool
is_email_byte(char c)
{
	return (unsigned char) c > ' ' && c != 0x7F && strchr(",;<>()[]\"':\\|", c) == NULL;
}

void
draft_email(DemographicsDraft *draft, const char *text, int length)
{
	char		folded[NORMALIZE_MAX_LENGTH];
	char		email[NORMALIZE_MAX_LENGTH];
	int			n = 0;

	text = normalize_fold(text, &length, folded);
	for (int i = 0; i < length; i++)
	{
		if (is_email_byte(text[i]))
			email[n++] = lower(text[i]);
		else if (n > 0)
		{
			email_item(draft, email, n);
			n = 0;
		}
	}
	if (n > 0)
		email_item(draft, email, n);
}

/* ---------- Identifiers ---------- */

/* Names of systems that everybody uses for the same numbers, letters and digits only. */
static const WordMap systems[] = {
	{"216840111388341", "ssn"},		/* object identifier of U.S. social security numbers */
	{"216840111388346", "npi"},
	{"mbi", "mbi"}, {"medicare", "mbi"}, {"npi", "npi"}, {"socialsecurity", "ssn"},
	{"socialsecuritynumber", "ssn"}, {"socsecid", "ssn"}, {"ss", "ssn"}, {"ssn", "ssn"},
	{"usmbi", "mbi"}, {"usnpi", "npi"}, {"usssn", "ssn"},
};

/* Letters and digits of a text, lower case, up to a number of bytes. */
static int
letters_and_digits(const char *text, int length, char *out, int max)
{
	int			n = 0;

	for (int i = 0; i < length; i++)
	{
		char		c = lower(text[i]);

		if ((c >= 'a' && c <= 'z') || is_digit(c) || IS_HIGHBIT_SET(c))
			out[n++] = c;
	}
	return normalize_clip(out, n, max);
}

/* Writes the letters and digits of a system, or the name by which everybody knows it. */
static int
system_name(const char *system, int length, char *out, bool *known)
{
	char		type[NORMALIZE_MAX_LENGTH];
	int			n = letters_and_digits(system, length, type, TYPE_MAX_LENGTH);
	const char *name = normalize_map(systems, lengthof(systems), type, n);

	*known = name != NULL;
	if (name != NULL)
		n = strlen(name);
	memcpy(out, name != NULL ? name : type, n);
	return n;
}

/*
 * The type of an identifier, by the end of its system where everybody knows
 * that.  Any other system is kept whole, because the patient numbers of two
 * hospitals are not of one type.
 */
static int
identifier_type(const char *system, int length, char *out)
{
	int			last = length;
	bool		known;
	int			n;

	while (last > 0 && system[last - 1] != '/' && system[last - 1] != ':')
		last--;
	n = system_name(system + last, length - last, out, &known);
	if (known)
		return n;
	/* http and https are the same */
	for (int i = 0; i + 3 <= length; i++)
	{
		if (memcmp(system + i, "://", 3) == 0)
			return system_name(system + i + 3, length - i - 3, out, &known);
	}
	return system_name(system, length, out, &known);
}

/* Where the value of "type|value" or "type:value" begins; 0 without a type. */
static int
value_start(const char *text, int length)
{
	int			i = length;

	while (i > 0 && text[i - 1] != '|')
		i--;
	if (i > 0)
		return i;
	while (i < length && i <= TYPE_MAX_LENGTH &&
		   ((lower(text[i]) >= 'a' && lower(text[i]) <= 'z') || is_digit(text[i]) ||
			text[i] == '-' || text[i] == '_'))
		i++;
	return i > 0 && i < length && text[i] == ':' &&
		!(i + 2 < length && text[i + 1] == '/' && text[i + 2] == '/') ? i + 1 : 0;
}

void
demographics_add_identifier(DemographicsDraft *draft, const char *system, int system_length,
							const char *value, int length)
{
	char		folded[NORMALIZE_MAX_LENGTH];
	char		digits[NORMALIZE_MAX_LENGTH];
	char		item[DEMO_MAX_LENGTH];
	int			n = 0;

	if (system_length > 0)
	{
		system = normalize_fold(system, &system_length, folded);
		n = identifier_type(system, system_length, item);
	}
	item[n++] = '|';
	value = normalize_fold(value, &length, folded);
	length = letters_and_digits(value, length, digits, VALUE_MAX_LENGTH);
	memcpy(item + n, digits, length);
	if (length > 0)
		draft_item(draft, DEMO_IDENTIFIER, item, n + length, NULL, 0);
}

void
draft_identifier(DemographicsDraft *draft, const char *text, int length)
{
	int			start = value_start(text, length);

	demographics_add_identifier(draft, text, Max(start - 1, 0), text + start, length - start);
}

/* ---------- Dates of birth ---------- */

#define MAX_BIRTH_PARTS			3
#define TIMESTAMP_MAX_DIGITS	14	/* YYYYMMDDhhmmss */

typedef struct BirthPart
{
	int			value;			/* of its first 8 digits */
	int			digits;
	char		after;			/* the character that follows, or 0 */
} BirthPart;

static int
birth_parts(const char *text, int length, BirthPart *parts)
{
	int			n = 0;
	int			i = 0;

	while (i < length && text[i] == ' ')
		i++;
	while (n < MAX_BIRTH_PARTS && i < length && is_digit(text[i]))
	{
		BirthPart  *part = &parts[n++];

		part->value = part->digits = 0;
		for (; i < length && is_digit(text[i]); i++)
		{
			if (++part->digits > TIMESTAMP_MAX_DIGITS)
				return 0;
			if (part->digits <= 8)
				part->value = part->value * 10 + (text[i] - '0');
		}
		part->after = i < length ? text[i++] : '\0';
		if (part->after != '-' && part->after != '/' && part->after != '.')
			break;
	}
	return n;
}

static void
set_birth(DemographicsDraft *draft, int year, int month, int day)
{
	draft->birth_year = year;
	draft->birth_month = month;
	draft->birth_day = day;
}

/* 19760513, with a time of day too; 1976051 and 197605, both without a day; 1976 */
static void
set_compact_birth(DemographicsDraft *draft, const BirthPart *part)
{
	if (part->digits >= 8)
		set_birth(draft, part->value / 10000, part->value / 100 % 100, part->value % 100);
	else if (part->digits == 7)
		set_birth(draft, part->value / 1000, part->value / 10 % 100, 0);
	else if (part->digits == 6 && part->value % 100 <= MONTHS_PER_YEAR)
		set_birth(draft, part->value / 100, part->value % 100, 0);
	else if (part->digits == 4)
		set_birth(draft, part->value, 0, 0);
}

/* Month and day in either order: as the separator says, unless only the other one is a date. */
static void
set_short_birth(DemographicsDraft *draft, const BirthPart *part)
{
	bool		day_first = part[0].after == '.';
	int			month = part[day_first ? 1 : 0].value;
	int			day = part[day_first ? 0 : 1].value;

	if (month > MONTHS_PER_YEAR && day <= MONTHS_PER_YEAR)
		set_birth(draft, part[2].value, day, month);
	else
		set_birth(draft, part[2].value, month, day);
}

/* Anything that is no date leaves the date unknown. */
void
demographics_set_birth_text(DemographicsDraft *draft, const char *text, int length)
{
	char		folded[NORMALIZE_MAX_LENGTH];
	BirthPart	part[MAX_BIRTH_PARTS];
	int			n;
	char		last;

	text = normalize_fold(text, &length, folded);
	n = birth_parts(text, length, part);
	if (n == 0)
		return;
	last = part[n - 1].after;
	if (last != '\0' && last != ' ' && last != 'T' && last != 't' &&
		!(n == 1 && part[0].digits >= 8))
		return;
	if (n == 1)
		set_compact_birth(draft, &part[0]);
	else if (part[0].digits == 4 && part[1].digits <= 2 && part[n - 1].digits <= 2)
		set_birth(draft, part[0].value, part[1].value, n == 3 ? part[2].value : 0);
	else if (n == 3 && part[2].digits == 4 && part[0].digits <= 2 && part[1].digits <= 2)
		set_short_birth(draft, part);
}
