/*-------------------------------------------------------------------------
 *
 * matching_draft.h
 *		A person in the making: items as they are found in texts.
 *
 * IDENTIFICATION
 *		src/matching_draft.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_DRAFT_H
#define REFERRAL_MATCHING_DRAFT_H

#include "matching_normalize.h"
#include "matching_value.h"

/* Items of a kind that are looked at, before they are sorted and cut to DEMO_MAX_ITEMS. */
#define DRAFT_MAX_ITEMS		100

typedef struct DraftItem
{
	uint8		kind;
	uint8		length;
	uint8		shown_length;	/* of the words with spaces, which follow; 0 for one word */
	int			offset;
} DraftItem;

struct DemographicsDraft
{
	uint8		sex;
	uint8		multiple_birth;
	uint8		birth_order;
	int16		birth_year;
	uint8		birth_month;
	uint8		birth_day;
	int			n;
	int			max;
	DraftItem  *items;
	int			count[DEMO_KINDS];
	int			used;
	int			size;
	char	   *texts;
};

/* matching_value.c */
extern void draft_item(DemographicsDraft *draft, DemographicsKind kind,
					   const char *text, int length, const char *shown, int shown_length);

/* matching_name.c */
extern void draft_family(DemographicsDraft *draft, const char *text, int length);
extern void draft_given(DemographicsDraft *draft, const char *text, int length);
extern void draft_middle(DemographicsDraft *draft, const char *text, int length);
extern void draft_suffix(DemographicsDraft *draft, const char *text, int length);
extern void draft_names(DemographicsDraft *draft, DemographicsKind kind,
						const char *text, int length);
extern bool name_is_particle(const char *word, int length);

/* matching_contact.c */
extern void draft_phone(DemographicsDraft *draft, const char *text, int length);
extern void draft_email(DemographicsDraft *draft, const char *text, int length);
extern void draft_identifier(DemographicsDraft *draft, const char *text, int length);

/* matching_address.c */
extern void draft_street_number(DemographicsDraft *draft, const char *text, int length);
extern void draft_street(DemographicsDraft *draft, const char *text, int length);
extern void draft_unit(DemographicsDraft *draft, const char *text, int length);
extern void draft_city(DemographicsDraft *draft, const char *text, int length);
extern void draft_state(DemographicsDraft *draft, const char *text, int length);
extern void draft_postal(DemographicsDraft *draft, const char *text, int length);

/* A value, when it is of this version; else RF012. */
extern Demographics *demographics_checked(Datum datum);

/* What is shown of an item: the words of a name; of a first name joined by hyphens. */
extern int	demographics_shown(const Demographics *d, const DemographicsItem *item,
							   DemographicsKind kind, char *buffer);

/* matching_json.c */
extern Demographics *demographics_from_json(const char *json);
extern char *demographics_to_json(const Demographics *d);

#endif							/* REFERRAL_MATCHING_DRAFT_H */
