/*-------------------------------------------------------------------------
 *
 * hl7_content.h
 *		What an HL7 message says, in the parts of a case of intake.
 *
 * IDENTIFICATION
 *		src/hl7_content.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_HL7_CONTENT_H
#define REFERRAL_HL7_CONTENT_H

#include "lib/stringinfo.h"

#include "hl7_fill.h"

/* In the order of the attributes of type hl7_content */
typedef enum Hl7Part
{
	HL7_MESSAGE, HL7_PATIENT, HL7_COVERAGES, HL7_REQUEST, HL7_ENCOUNTER, HL7_APPOINTMENTS,
	HL7_REPORTS, HL7_DOCUMENTS, HL7_AUTHORIZATIONS, HL7_COMMENT, HL7_FINDINGS, HL7_EXTRA,
	HL7_PARTS
} Hl7Part;

/* A part that the message does not have is of type jbvNull. */
typedef struct Hl7Content
{
	JsonbValue	parts[HL7_PARTS];
} Hl7Content;

extern void hl7_read_head(JsonbContainer *message, const text *zone, JsonbValue *told,
						  JsonbValue *findings);
extern void hl7_read_content(JsonbContainer *message, bool results, const text *zone,
							 Hl7Content *content);
extern void hl7_add_line(StringInfo lines, Hl7Slice line);

/* in hl7_case.c */
extern Datum hl7_make_referral_case(JsonbContainer *message, Hl7Slice type, Hl7Slice event,
									const text *zone);

/* in hl7_insurance.c */
extern void hl7_read_coverage(JsonbContainer *in1, const text *zone, JsonbValue *coverages,
							  JsonbValue *findings);
extern void hl7_read_subscriber(JsonbContainer *in2, const text *zone, JsonbValue *coverages,
								JsonbValue *findings);
extern void hl7_read_authorization(JsonbContainer *aut, const JsonbValue *procedure,
								   const text *zone, JsonbValue *authorizations,
								   JsonbValue *findings);

#endif							/* REFERRAL_HL7_CONTENT_H */
