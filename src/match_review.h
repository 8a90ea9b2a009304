/*-------------------------------------------------------------------------
 *
 * match_review.h
 *		What happens with patients that may be one person.
 *
 * IDENTIFICATION
 *		src/match_review.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCH_REVIEW_H
#define REFERRAL_MATCH_REVIEW_H

extern void match_review_init(void);

#endif							/* REFERRAL_MATCH_REVIEW_H */
