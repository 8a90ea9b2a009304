/*-------------------------------------------------------------------------
 *
 * hl7.h
 *		HL7 v2 messages in the vertical bar encoding (ER7).
 *
 * A message is text; as jsonb it has the shape that docs/hl7.md describes.
 * All separators are single ASCII characters, which no server encoding uses
 * as a part of another character: texts are read by bytes.
 *
 * IDENTIFICATION
 *		src/hl7.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_HL7_H
#define REFERRAL_HL7_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#define HL7_MAX_BYTES		(64 * 1024 * 1024)
#define HL7_MAX_SEGMENTS	100000
#define HL7_MAX_VALUES		1000000
#define HL7_MAX_LIST		1000	/* different values of a field that a case takes */
#define HL7_MAX_NUMBER		9999	/* of a field, component or subcomponent */

#define HL7_NAME_LENGTH		3

#define HL7_MLLP_START		'\x0B'
#define HL7_MLLP_END		'\x1C'

#define HL7_HEADER_HINT \
	"A message starts with MSH, a field separator, and the four or five other separators, " \
	"as in MSH|^~\\&|."

/* In the order in which MSH-1 and MSH-2 declare them. */
typedef struct Hl7Separators
{
	char		field;
	char		component;
	char		repetition;
	char		escape;
	char		subcomponent;
	char		truncation;		/* 0 when MSH declares none */
} Hl7Separators;

/* Where a message goes wrong; 0 and -1 are not known. */
typedef struct Hl7Place
{
	int			segment;
	int			field;
	int			character;
} Hl7Place;

/* What an escape sequence is to a reader. */
typedef enum Hl7Escape
{
	HL7_ESCAPE_DECODED,			/* stands for other characters */
	HL7_ESCAPE_KEPT,			/* has a sense that text cannot carry */
	HL7_ESCAPE_UNKNOWN			/* is none, but text between two escape characters */
} Hl7Escape;

/* in hl7_text.c */
extern const Hl7Separators hl7_default_separators;
pg_noreturn extern void hl7_refuse(const Hl7Place *place, const char *problem, const char *hint);
extern const char *hl7_check_separators(const char *text, int length, Hl7Separators *separators);
extern const char *hl7_separators_text(const Hl7Separators *separators, int *length);
extern const char *hl7_skip_frame(const char *at, const char *end);
extern const char *hl7_skip_frame_end(const char *at, const char *end);
extern const char *hl7_line_end(const char *at, const char *end);
extern bool hl7_is_blank(const char *at, const char *end);
extern bool hl7_is_envelope(const char *at, const char *end, char field);
extern const char *hl7_read_header(const char *at, const char *end, Hl7Separators *separators,
								   const char **problem);
extern bool hl7_is_name(const char *name, int length);
extern Hl7Escape hl7_escape(const Hl7Separators *separators, const char *body, int length,
							char *out, int *outlength);
extern int	hl7_decode_escapes(const Hl7Separators *separators, const char *text, int length,
							   char *out);

/* in hl7_parse.c */
extern void hl7_read_repetition(const Hl7Separators *separators, const char *text, int length,
								JsonbValue *value);

/* in hl7_build.c */
extern void hl7_write_value(StringInfo out, const Hl7Separators *separators,
							const JsonbValue *value, bool is_component);
extern void hl7_get_separators(JsonbContainer *message, Hl7Separators *separators);

#endif							/* REFERRAL_HL7_H */
