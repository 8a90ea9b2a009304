/*-------------------------------------------------------------------------
 *
 * source_of_record.h
 *		Which system keeps which attribute, and what others may do to it.
 *
 * IDENTIFICATION
 *		src/source_of_record.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_SOURCE_OF_RECORD_H
#define REFERRAL_SOURCE_OF_RECORD_H

extern void source_of_record_init(void);

#endif							/* REFERRAL_SOURCE_OF_RECORD_H */
