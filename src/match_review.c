/*-------------------------------------------------------------------------
 *
 * match_review.c
 *		When a patient who is written is compared with all others.
 *
 * The rest of match_review is in sql/64_match_review.sql; the trigger function
 * match_on_write() there reads the setting.
 *
 * IDENTIFICATION
 *		src/match_review.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/guc.h"

#include "match_review.h"

typedef enum MatchOnWrite
{
	MATCH_ON_WRITE_QUEUE,
	MATCH_ON_WRITE_IMMEDIATE,
	MATCH_ON_WRITE_OFF
} MatchOnWrite;

static const struct config_enum_entry on_write_options[] = {
	{"queue", MATCH_ON_WRITE_QUEUE, false},
	{"immediate", MATCH_ON_WRITE_IMMEDIATE, false},
	{"off", MATCH_ON_WRITE_OFF, false},
	{NULL, 0, false}
};

static int	setting_on_write = MATCH_ON_WRITE_QUEUE;

/* For superusers: whoever enters patients does not decide that nobody compares them. */
void
match_review_init(void)
{
	DefineCustomEnumVariable("referral.match_on_write",
							 "When a new or changed patient is compared with all others.",
							 "queue: by the next process_match_queue(); immediate: in the same transaction,"
							 " and once more by the queue; off: not at all.",
							 &setting_on_write, MATCH_ON_WRITE_QUEUE, on_write_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
}
