/*-------------------------------------------------------------------------
 *
 * plain_value.h
 *		Digits, numbers and days of the calendar as texts have them.
 *
 * What readers of dates and numbers share; which forms a reader takes is its
 * own business.
 *
 * IDENTIFICATION
 *		src/plain_value.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_PLAIN_VALUE_H
#define REFERRAL_PLAIN_VALUE_H

#include "utils/timestamp.h"

extern bool plain_digits(const char **at, const char *end, int least, int most, int *value);
extern int	plain_fraction(const char **at, const char *end, int most, fsec_t *fraction);
extern bool plain_offset(const char **at, const char *end, int *east);
extern bool plain_number(const char *text, int length, int before, int after);
extern bool is_day(int year, int month, int day);

#endif							/* REFERRAL_PLAIN_VALUE_H */
