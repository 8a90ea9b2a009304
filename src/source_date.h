/*-------------------------------------------------------------------------
 *
 * source_date.h
 *		Dates and times as other systems write them, by declared formats.
 *
 * IDENTIFICATION
 *		src/source_date.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_SOURCE_DATE_H
#define REFERRAL_SOURCE_DATE_H

#include "utils/timestamp.h"

typedef struct SourceDate
{
	struct pg_tm tm;
	fsec_t		fsec;
	bool		is_written;		/* is the text of the format, be there such a day or not? */
	bool		has_time;
	bool		has_zone;
	int			zone;			/* seconds east of UTC */
} SourceDate;

extern bool source_date_parse(const char *format, const char *text, int length, bool past,
							  SourceDate *result);
extern bool source_format_check(const char *format, const char **problem);

#endif							/* REFERRAL_SOURCE_DATE_H */
