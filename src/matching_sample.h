/*-------------------------------------------------------------------------
 *
 * matching_sample.h
 *		People read from a table, and the pairs of them worth comparing.
 *
 * IDENTIFICATION
 *		src/matching_sample.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_SAMPLE_H
#define REFERRAL_MATCHING_SAMPLE_H

#include "matching_compare.h"

typedef struct SamplePerson
{
	Demographics *value;
	uint64		hash;			/* of value and seed */
	char	   *name;			/* what the naming column says; NULL when none was asked for */
	int			nkeys;
} SamplePerson;

typedef struct SampleKey
{
	int32		block;
	uint32		free;			/* bits of fields that the key is not made of */
} SampleKey;

typedef struct MatchSample
{
	MemoryContext context;
	char	   *relation;		/* as text */
	uint64		seed;
	int64		rows;			/* that have a value */
	uint64		limit;			/* people whose hash is above are left out */
	Size		bytes;
	int			npeople;
	int			room;
	SamplePerson *people;		/* in order of hash */
	/* blocks: people that have a key in common */
	int			largest_block;	/* larger ones are left out */
	int			nblocks;
	int		   *block_start;	/* nblocks + 1 */
	int32	   *block_people;
	int		   *keys_start;		/* npeople + 1 */
	SampleKey  *keys;			/* of a person: in order of block */
} MatchSample;

/* Two people with a key in common; free: bits of fields that some common key is not made of. */
typedef void (*SamplePairFunction) (void *arg, int a, int b, uint32 free);

extern MatchSample *matching_sample_read(Oid relation, const char *column, const char *naming,
										 int64 seed);
extern void matching_sample_pairs(const MatchSample *sample, SamplePairFunction function,
								  void *arg);
extern double matching_sample_share(const MatchSample *sample);

/* Are the two values the same? */
static inline bool
matching_sample_equal(const MatchSample *sample, int a, int b)
{
	return sample->people[a].hash == sample->people[b].hash;
}

/* The finalizer of SplitMix64: mixes all bits. */
static inline uint64
matching_sample_mix(uint64 x)
{
	x += UINT64CONST(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

#endif							/* REFERRAL_MATCHING_SAMPLE_H */
