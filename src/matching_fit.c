/*-------------------------------------------------------------------------
 *
 * matching_fit.c
 *		A model of matching fitted to people's own data.
 *
 * u, how often a level is found among records of two people, is counted over
 * random pairs.  m, how often it is found among records of one person, and the
 * share of such pairs are what makes the data most likely (expectation and
 * maximisation over Fellegi and Sunter's model).
 *
 * All pairs of the sample are the population: those that share no blocking key
 * are taken for two people, the others are compared.  So u, the share and the
 * score's prior are about the same thing, two records taken at random.
 *
 * Of two people some live together and share family name, phone and address.
 * They are a class of their own, or else the most alike of strangers would be
 * taken for records of one person whose first name and birth date changed.
 *
 * Pairs that were found by a key agree on what the key is made of.  Therefore
 * the m of a field is counted over those pairs alone that have a key in common
 * which the field is no part of: whether they were found says nothing of it.
 *
 * IDENTIFICATION
 *		src/matching_fit.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "errors.h"
#include "matching_model.h"
#include "matching_sample.h"

#define MAX_RANDOM_PAIRS	INT64CONST(2000000)
#define MAX_ROUNDS			500
#define CONVERGED			1e-6
/* Different outcomes of comparison that are told apart; what comes after is left out. */
#define MAX_PATTERNS		500000
/* A pair so unlike at the start is of two strangers whatever is learned. */
#define HOPELESS_ODDS		1e-9

/*
 * Where it starts, however readily the active model takes two for one: one person
 * in ten has a second record, which seldom differs in any field.  Starting from
 * more, strangers of one name would be taken for records of one person, and stay that.
 */
#define START_DUPLICATES	0.1
#define START_DIFFERENT		0.02

/* Less than that, and there is nothing to learn from. */
#define MIN_PEOPLE			100
#define MIN_PAIRS			50
#define MIN_MATCHES			20
/* A field that is known of fewer keeps what it had. */
#define MIN_FIELD_MATCHES	10
#define MIN_FIELD_RANDOM	1000

/* Fewer than about so many random pairs say nothing of how fields depend on each other. */
#define DEPENDENCE_PAIRS	5

/*
 * What people of one household share, about as often as records of one person.
 * Some share an e-mail address, too: the score takes that for evidence, but
 * nobody may learn from it that first names change.
 */
#define SHARED_FIELDS		(MATCH_HOUSEHOLD_FIELDS | 1 << FIELD_EMAIL)
/* How many pairs of a household are twins. */
#define TWINS				0.05

typedef double LevelTable[MATCH_FIELDS][MATCH_MAX_LEVELS];

/* Pairs that compare alike: four bits for the level of each field. */
typedef struct PatternKey
{
	uint64		levels;
	uint64		free;			/* fields that are known, and no part of some common key */
} PatternKey;

typedef struct PatternEntry
{
	PatternKey	key;
	int64		pairs;
	int64		equal;			/* of these, pairs of the very same value */
} PatternEntry;

typedef struct Pattern
{
	PatternKey	key;
	double		weight;			/* for how many pairs it stands */
} Pattern;

typedef struct Round
{
	double		likelihood;
	double		change;
	double		share;
	double		household_share;
} Round;

typedef struct Fit
{
	MatchModel	model;			/* where it starts; a copy: writing rules retires what is cached */
	const MatchSample *sample;
	LevelTable	m;
	LevelTable	u;
	LevelTable	weight;			/* log2(m / u); 0 where the model has no such level */
	double		dependence[GIVEN_LEVELS][FAMILY_LEVELS][SEX_LEVELS];	/* of names and sex */
	bool		kept_m[MATCH_FIELDS][MATCH_MAX_LEVELS];
	bool		kept_u[MATCH_FIELDS][MATCH_MAX_LEVELS];
	bool		met[MATCH_FIELDS][MATCH_MAX_LEVELS];	/* among pairs with a key in common */
	double		namesakes_expected[SEX_LEVELS]; /* if names and sex were independent */
	double		namesakes[SEX_LEVELS];	/* found */
	double		share;			/* of pairs that are of one person, among all */
	double		household_share;	/* of pairs of one household */
	double		matches;
	double		all_pairs;
	int64		random_pairs;
	int64		pairs;			/* with a key in common */
	HTAB	   *table;
	Pattern    *patterns;
	int			npatterns;
	Round	   *rounds;
	int			nrounds;
} Fit;

static inline int
level_of(uint64 levels, int field)
{
	return levels >> (4 * field) & 15;
}

StaticAssertDecl(MATCH_FIELDS <= 16 && MATCH_MAX_LEVELS <= 16,
				 "the levels of all fields are in 64 bits");

/* ---------- The model as it stands ---------- */

static inline bool
has_level(const Fit *fit, int field, int level)
{
	return fit->model.u[field][level] > 0;
}

static void
set_weights(Fit *fit)
{
	for (int f = 0; f < MATCH_FIELDS; f++)
		for (int l = 1; l < matching_fields[f].nlevels; l++)
			fit->weight[f][l] = has_level(fit, f, l) ? log2(fit->m[f][l] / fit->u[f][l]) : 0;
}

static double
prior_bits(const Fit *fit)
{
	return log2(fit->share / (1 - fit->share));
}

typedef struct Odds
{
	double		person;			/* one person, against strangers */
	double		household;		/* two people of one household, against strangers */
} Odds;

/*
 * The odds of a pattern.  They are what matching_score() has, but for how common
 * the names are, and for how the score caps what a household shares.
 */
static Odds
pattern_odds(const Fit *fit, uint64 levels)
{
	double		strangers = 1 - fit->share - fit->household_share;
	double		dependence = fit->dependence[level_of(levels, FIELD_GIVEN)]
		[level_of(levels, FIELD_FAMILY)][level_of(levels, FIELD_SEX)];
	double		person = -dependence;
	double		household = -dependence;
	int			birth = level_of(levels, FIELD_BIRTH_DATE);
	Odds		result;

	for (int f = 0; f < MATCH_FIELDS; f++)
	{
		double		weight = fit->weight[f][level_of(levels, f)];

		person += weight;
		if (SHARED_FIELDS >> f & 1)
			household += weight;
	}
	result.person = exp2(person) * fit->share / strangers;
	result.household = exp2(household) * fit->household_share / strangers;
	if (birth == BIRTH_EXACT && has_level(fit, FIELD_BIRTH_DATE, birth))
		result.household *= 1 - TWINS + TWINS / fit->u[FIELD_BIRTH_DATE][birth];
	else if (birth != LEVEL_UNKNOWN)
		result.household *= 1 - TWINS;
	return result;
}

/* How likely it is that a pair is of one person. */
static inline double
of_one_person(const Odds *odds)
{
	return odds->person / (1 + odds->person + odds->household);
}

static uint64
compare_people(const Fit *fit, int a, int b)
{
	MatchComparison comparison;
	uint64		levels = 0;

	matching_compare(fit->model.dictionary, fit->sample->people[a].value,
					 fit->sample->people[b].value, &comparison);
	for (int f = 0; f < MATCH_FIELDS; f++)
		levels |= (uint64) comparison.level[f] << (4 * f);
	return levels;
}

static inline bool
same_names(uint64 levels)
{
	return level_of(levels, FIELD_GIVEN) == GIVEN_EXACT &&
		level_of(levels, FIELD_FAMILY) == FAMILY_EXACT;
}

/* ---------- u, from random pairs ---------- */

typedef struct RandomCounts
{
	LevelTable	levels;
	double		names[GIVEN_LEVELS][FAMILY_LEVELS][SEX_LEVELS];
} RandomCounts;

/*
 * Some random pairs are of one person all the same, and would spoil what rarely
 * agrees by chance: those that the model takes for such do not count.
 */
static void
count_random_pair(Fit *fit, int a, int b, RandomCounts *counts)
{
	uint64		levels = compare_people(fit, a, b);
	Odds		odds = pattern_odds(fit, levels);

	if (of_one_person(&odds) >= 0.5)
		return;
	for (int f = 0; f < MATCH_FIELDS; f++)
		counts->levels[f][level_of(levels, f)]++;
	counts->names[level_of(levels, FIELD_GIVEN)][level_of(levels, FIELD_FAMILY)]
		[level_of(levels, FIELD_SEX)]++;
}

static void
count_random_pairs(Fit *fit, RandomCounts *counts)
{
	int64		n = fit->sample->npeople;
	uint64		state = matching_sample_mix(fit->sample->seed);

	fit->random_pairs = Min(n * (n - 1) / 2, MAX_RANDOM_PAIRS);
	if (fit->random_pairs < MAX_RANDOM_PAIRS)
	{
		for (int a = 0; a < n; a++)
		{
			CHECK_FOR_INTERRUPTS();
			for (int b = a + 1; b < n; b++)
				count_random_pair(fit, a, b, counts);
		}
		return;
	}
	for (int64 i = 0; i < fit->random_pairs; i++)
	{
		int64		a = (state = matching_sample_mix(state)) % n;
		int64		b = (state = matching_sample_mix(state)) % (n - 1);

		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		count_random_pair(fit, a, b + (b >= a), counts);
	}
}

/* Half a pair is added to each level that was found; the others keep what they had. */
static void
estimate_levels(Fit *fit, LevelTable counts)
{
	for (int f = 0; f < MATCH_FIELDS; f++)
	{
		double		total = 0;
		int			found = 0;

		for (int l = 1; l < matching_fields[f].nlevels; l++)
		{
			total += counts[f][l];
			found += counts[f][l] >= 0.5;
		}
		for (int l = 1; l < matching_fields[f].nlevels; l++)
		{
			fit->kept_u[f][l] = total < MIN_FIELD_RANDOM || counts[f][l] < 0.5;
			if (!fit->kept_u[f][l])
				fit->u[f][l] = (counts[f][l] + 0.5) / (total + 0.5 * found);
		}
	}
}

static double
dependence_bits(double found, double expected)
{
	return log2((found + DEPENDENCE_PAIRS) / (expected + DEPENDENCE_PAIRS));
}

/*
 * Who has the same first name is mostly of the same sex, and first names go
 * with family names by language.  So strangers agree on all of them more often
 * than u of each would have it, which must not be taken for records of one
 * person: how much more is counted, in bits, and counts against a pair.
 */
static void
estimate_dependence(Fit *fit, RandomCounts *counts)
{
	for (int s = 0; s < SEX_LEVELS; s++)
	{
		double		sex = s == LEVEL_UNKNOWN ? 1 : fit->u[FIELD_SEX][s];
		double		total = 0;

		for (int g = 1; g < GIVEN_LEVELS; g++)
			for (int f = 1; f < FAMILY_LEVELS; f++)
				total += s == LEVEL_UNKNOWN ? counts->names[g][f][s] :
					counts->names[g][f][SEX_SAME] + counts->names[g][f][SEX_DIFFERENT];
		for (int g = 1; g < GIVEN_LEVELS; g++)
			for (int f = 1; f < FAMILY_LEVELS; f++)
			{
				double		expected = total * sex *
					fit->u[FIELD_GIVEN][g] * fit->u[FIELD_FAMILY][f];

				fit->dependence[g][f][s] = dependence_bits(counts->names[g][f][s], expected);
				if (g == GIVEN_EXACT && f == FAMILY_EXACT)
					fit->namesakes_expected[s] = expected * fit->all_pairs / fit->random_pairs;
			}
	}
}

static void
estimate_u(Fit *fit)
{
	RandomCounts *counts = palloc0_object(RandomCounts);

	count_random_pairs(fit, counts);
	estimate_levels(fit, counts->levels);
	estimate_dependence(fit, counts);
	pfree(counts);
}

/* ---------- Patterns ---------- */

static void
count_pair(void *arg, int a, int b, uint32 free)
{
	Fit		   *fit = arg;
	PatternKey	key = {compare_people(fit, a, b), free};
	PatternEntry *entry;
	Odds		odds;
	bool		found;

	fit->pairs++;
	for (int f = 0; f < MATCH_FIELDS; f++)
	{
		fit->met[f][level_of(key.levels, f)] = true;
		/* of what is not known it does not matter */
		if (level_of(key.levels, f) == LEVEL_UNKNOWN)
			key.free &= ~(UINT64CONST(1) << f);
	}
	odds = pattern_odds(fit, key.levels);
	if (same_names(key.levels) && of_one_person(&odds) < 0.5)
		fit->namesakes[level_of(key.levels, FIELD_SEX)]++;
	if (Max(odds.person, odds.household) < HOPELESS_ODDS)
		return;
	entry = hash_search(fit->table, &key,
						hash_get_num_entries(fit->table) < MAX_PATTERNS ? HASH_ENTER : HASH_FIND,
						&found);
	if (entry == NULL)
		return;
	if (!found)
		entry->pairs = entry->equal = 0;
	entry->pairs++;
	entry->equal += matching_sample_equal(fit->sample, a, b);
}

static int
compare_patterns(const void *a, const void *b)
{
	const PatternKey *x = &((const Pattern *) a)->key;
	const PatternKey *y = &((const Pattern *) b)->key;

	if (x->levels != y->levels)
		return x->levels < y->levels ? -1 : 1;
	return x->free < y->free ? -1 : x->free > y->free;
}

/*
 * A sample of one in n people has one in n of the pairs of equal values, which
 * come or go together, but one in n squared of all others.
 */
static void
collect_patterns(Fit *fit)
{
	double		share = matching_sample_share(fit->sample);
	HASHCTL		ctl = {0};
	HASH_SEQ_STATUS status;
	PatternEntry *entry;

	ctl.keysize = sizeof(PatternKey);
	ctl.entrysize = sizeof(PatternEntry);
	ctl.hcxt = CurrentMemoryContext;
	fit->table = hash_create("referral match patterns", 4096, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	matching_sample_pairs(fit->sample, count_pair, fit);
	fit->patterns = palloc_array(Pattern, hash_get_num_entries(fit->table) + 1);
	hash_seq_init(&status, fit->table);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		fit->patterns[fit->npatterns].key = entry->key;
		fit->patterns[fit->npatterns++].weight = entry->pairs - entry->equal + entry->equal * share;
	}
	hash_destroy(fit->table);
	/* who has the same names is always found: random pairs need not tell how many these are */
	for (int s = 0; s < SEX_LEVELS; s++)
		fit->dependence[GIVEN_EXACT][FAMILY_EXACT][s] =
			dependence_bits(fit->namesakes[s], fit->namesakes_expected[s]);
	qsort(fit->patterns, fit->npatterns, sizeof(Pattern), compare_patterns);
}

/* ---------- m and the share, by expectation and maximisation ---------- */

/* How many pairs are expected. */
typedef struct Expected
{
	double		matches;		/* of one person */
	double		households;
	LevelTable	levels;			/* of one person, at each level of each field */
} Expected;

/* Returns the log-likelihood, but for what strangers make of it, which does not change. */
static double
expect(const Fit *fit, Expected *expected)
{
	double		likelihood = fit->all_pairs * log1p(-fit->share - fit->household_share);

	memset(expected, 0, sizeof(Expected));
	for (int i = 0; i < fit->npatterns; i++)
	{
		const Pattern *pattern = fit->patterns + i;
		Odds		odds = pattern_odds(fit, pattern->key.levels);
		double		all = 1 + odds.person + odds.household;
		double		matches = pattern->weight * of_one_person(&odds);

		likelihood += pattern->weight * log(all);
		expected->matches += matches;
		expected->households += pattern->weight * odds.household / all;
		for (int f = 0; f < MATCH_FIELDS; f++)
			if (pattern->key.free >> f & 1)
				expected->levels[f][level_of(pattern->key.levels, f)] += matches;
	}
	return likelihood;
}

/* Returns the largest change of any m. */
static double
maximise(Fit *fit, LevelTable counts)
{
	double		largest = 0;

	for (int f = 0; f < MATCH_FIELDS; f++)
	{
		double		total = 0;
		int			met = 0;

		for (int l = 1; l < matching_fields[f].nlevels; l++)
		{
			total += counts[f][l];
			met += fit->met[f][l];
		}
		for (int l = 1; l < matching_fields[f].nlevels; l++)
		{
			double		m = (counts[f][l] + 0.5) / (total + 0.5 * met);

			fit->kept_m[f][l] = total < MIN_FIELD_MATCHES || !fit->met[f][l];
			if (fit->kept_m[f][l])
				m = fit->model.m[f][l];
			largest = Max(largest, fabs(m - fit->m[f][l]));
			fit->m[f][l] = m;
		}
	}
	return largest;
}

/* Never 0. */
static double
share_of(const Fit *fit, double pairs)
{
	return (pairs + 0.5) / (fit->all_pairs + 1.5);
}

static bool
converge(Fit *fit)
{
	Expected   *expected = palloc_object(Expected);

	fit->rounds = palloc_array(Round, MAX_ROUNDS);
	while (fit->nrounds < MAX_ROUNDS)
	{
		Round	   *round = fit->rounds + fit->nrounds++;
		double		former = fit->share;
		double		change;

		CHECK_FOR_INTERRUPTS();
		round->likelihood = expect(fit, expected);
		change = maximise(fit, expected->levels);
		fit->matches = expected->matches;
		fit->share = share_of(fit, expected->matches);
		fit->household_share = share_of(fit, expected->households);
		set_weights(fit);
		round->change = Max(change, fabs(fit->share - former) / fit->share);
		round->share = fit->share;
		round->household_share = fit->household_share;
		if (round->change < CONVERGED)
			return true;
	}
	return false;
}

/* ---------- The draft ---------- */

static Datum
run_scalar(const char *sql, int nargs, Oid *types, Datum *values)
{
	bool		isnull = true;
	Datum		result = (Datum) 0;
	int			code = SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);

	if (code < 0)
		elog(ERROR, "could not run: %s", sql);
	if (SPI_processed > 0 && SPI_tuptable != NULL)
		result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? (Datum) 0 : result;
}

static Datum
numbers(Datum *values, int n)
{
	return PointerGetDatum(construct_array(values, n, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

static void
write_levels(const Fit *fit, int64 draft)
{
	Datum		fields[MATCH_FIELDS * MATCH_MAX_LEVELS];
	Datum		levels[MATCH_FIELDS * MATCH_MAX_LEVELS];
	Datum		m[MATCH_FIELDS * MATCH_MAX_LEVELS];
	Datum		u[MATCH_FIELDS * MATCH_MAX_LEVELS];
	Oid			types[] = {INT8OID, TEXTARRAYOID, TEXTARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID};
	Datum		values[5];
	int			n = 0;

	for (int f = 0; f < MATCH_FIELDS; f++)
		for (int l = 1; l < matching_fields[f].nlevels; l++)
			if (has_level(fit, f, l))
			{
				fields[n] = CStringGetTextDatum(matching_fields[f].name);
				levels[n] = CStringGetTextDatum(matching_fields[f].levels[l].name);
				m[n] = Float8GetDatum(fit->m[f][l]);
				u[n++] = Float8GetDatum(fit->u[f][l]);
			}
	values[0] = Int64GetDatum(draft);
	values[1] = PointerGetDatum(construct_array(fields, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(levels, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[3] = numbers(m, n);
	values[4] = numbers(u, n);
	run_scalar("UPDATE referral.match_level l SET m = n.m, u = n.u"
			   " FROM ROWS FROM (unnest($2, $3, $4, $5)) n (field, level, m, u)"
			   " WHERE l.rule_version_id = $1 AND l.field = n.field AND l.level = n.level",
			   lengthof(values), types, values);
}

/* field:level of all levels that kept what they had */
static Datum
level_names(const Fit *fit, const bool kept[MATCH_FIELDS][MATCH_MAX_LEVELS])
{
	Datum		names[MATCH_FIELDS * MATCH_MAX_LEVELS];
	int			n = 0;

	for (int f = 0; f < MATCH_FIELDS; f++)
		for (int l = 1; l < matching_fields[f].nlevels; l++)
			if (kept[f][l] && has_level(fit, f, l))
				names[n++] = CStringGetTextDatum(psprintf("%s:%s", matching_fields[f].name,
														  matching_fields[f].levels[l].name));
	return PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
write_fit(const Fit *fit, int64 draft, const char *column, bool converged)
{
	Oid			types[] = {
		INT8OID, INT8OID, TEXTOID, TEXTOID, INT8OID, INT8OID, INT4OID, INT8OID, INT8OID, INT4OID,
		INT4OID, FLOAT8OID, BOOLOID, TEXTARRAYOID, TEXTARRAYOID
	};
	Datum		values[] = {
		Int64GetDatum(draft),
		Int64GetDatum(fit->model.rule_version_id),
		CStringGetTextDatum(fit->sample->relation),
		CStringGetTextDatum(column),
		Int64GetDatum((int64) fit->sample->seed),
		Int64GetDatum(fit->sample->rows),
		Int32GetDatum(fit->sample->npeople),
		Int64GetDatum(fit->random_pairs),
		Int64GetDatum(fit->pairs),
		Int32GetDatum(fit->sample->largest_block),
		Int32GetDatum(fit->npatterns),
		Float8GetDatum(fit->matches),
		BoolGetDatum(converged),
		level_names(fit, fit->kept_m),
		level_names(fit, fit->kept_u)
	};

	run_scalar("INSERT INTO referral.match_fit (rule_version_id, fitted_from, relation,"
			   "  column_name, seed, row_count, people, random_pairs, pairs, largest_block,"
			   "  patterns, matches, converged, kept_m, kept_u)"
			   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
			   lengthof(values), types, values);
}

static void
write_rounds(const Fit *fit, int64 draft)
{
	Datum	   *likelihood = palloc_array(Datum, fit->nrounds);
	Datum	   *change = palloc_array(Datum, fit->nrounds);
	Datum	   *share = palloc_array(Datum, fit->nrounds);
	Datum	   *household_share = palloc_array(Datum, fit->nrounds);
	Oid			types[] = {INT8OID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID};
	Datum		values[5];

	for (int i = 0; i < fit->nrounds; i++)
	{
		likelihood[i] = Float8GetDatum(fit->rounds[i].likelihood);
		change[i] = Float8GetDatum(fit->rounds[i].change);
		share[i] = Float8GetDatum(fit->rounds[i].share);
		household_share[i] = Float8GetDatum(fit->rounds[i].household_share);
	}
	values[0] = Int64GetDatum(draft);
	values[1] = numbers(likelihood, fit->nrounds);
	values[2] = numbers(change, fit->nrounds);
	values[3] = numbers(share, fit->nrounds);
	values[4] = numbers(household_share, fit->nrounds);
	run_scalar("INSERT INTO referral.match_fit_round (rule_version_id, round, log_likelihood,"
			   "  largest_change, match_share, household_share)"
			   " SELECT $1, r.round, r.likelihood, r.change, r.share, r.household_share"
			   " FROM ROWS FROM (unnest($2, $3, $4, $5)) WITH ORDINALITY"
			   "  r (likelihood, change, share, household_share, round)",
			   lengthof(values), types, values);
}

/* As the caller: only an author of rules may. */
static int64
write_draft(const Fit *fit, const char *column, text *note, bool converged)
{
	Oid			copy_types[] = {INT8OID, TEXTOID};
	Datum		copy_values[] = {Int64GetDatum(fit->model.rule_version_id), PointerGetDatum(note)};
	Oid			model_types[] = {INT8OID, FLOAT8OID, TEXTOID};
	Datum		model_values[3];
	int64		draft;

	SPI_connect();
	draft = DatumGetInt64(run_scalar("SELECT referral.copy_rule_version($1, $2)",
									 lengthof(copy_values), copy_types, copy_values));
	model_values[0] = Int64GetDatum(draft);
	model_values[1] = Float8GetDatum(prior_bits(fit));
	model_values[2] = CStringGetTextDatum(psprintf("Fitted to %s", fit->sample->relation));
	run_scalar("UPDATE referral.match_model SET prior_bits = $2, title = $3"
			   " WHERE rule_version_id = $1",
			   lengthof(model_values), model_types, model_values);
	write_levels(fit, draft);
	write_fit(fit, draft, column, converged);
	write_rounds(fit, draft);
	SPI_finish();
	return draft;
}

/* ---------- In SQL ---------- */

static void
refuse_too_little(const char *what, int64 found, int wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_ARGUMENT),
			 errmsg("there is too little data to fit a model to"),
			 errdetail("%lld %s are found, %d are needed.", (long long) found, what, wanted),
			 errhint("Fit to more people, or keep the present model.")));
}

static void
begin_fit(Fit *fit, const MatchSample *sample)
{
	double		n = sample->npeople;

	fit->sample = sample;
	fit->model = *matching_model(0);
	memcpy(fit->m, fit->model.m, sizeof(LevelTable));
	memcpy(fit->u, fit->model.u, sizeof(LevelTable));
	for (int f = 0; f < MATCH_FIELDS; f++)
	{
		double	   *different = &fit->m[f][matching_fields[f].nlevels - 1];

		*different = Min(*different, START_DIFFERENT);
	}
	fit->all_pairs = n * (n - 1) / 2;
	fit->share = START_DUPLICATES * n / fit->all_pairs;
	/* no worse a start than any other */
	fit->household_share = fit->share;
	set_weights(fit);
}

PG_FUNCTION_INFO_V1(fit_match_model);
Datum
fit_match_model(PG_FUNCTION_ARGS)
{
	const char *column = NameStr(*PG_GETARG_NAME(1));
	MatchSample *sample = matching_sample_read(PG_GETARG_OID(0), column, NULL, PG_GETARG_INT64(2));
	Fit		   *fit = palloc0_object(Fit);
	bool		converged;
	double		matches;

	if (sample->npeople < MIN_PEOPLE)
		refuse_too_little("people", sample->npeople, MIN_PEOPLE);
	begin_fit(fit, sample);
	estimate_u(fit);
	set_weights(fit);
	collect_patterns(fit);
	if (fit->pairs < MIN_PAIRS)
		refuse_too_little("pairs of people with a blocking key in common", fit->pairs, MIN_PAIRS);
	converged = converge(fit);
	/* where there are hardly any, brothers and sisters are the most alike */
	matches = fit->matches;
	if (!fit->kept_m[FIELD_GIVEN][GIVEN_DIFFERENT])
		matches *= 1 - fit->m[FIELD_GIVEN][GIVEN_DIFFERENT];
	if (matches < MIN_MATCHES)
		refuse_too_little("pairs of records of one person", (int64) matches, MIN_MATCHES);
	PG_RETURN_INT64(write_draft(fit, column, PG_GETARG_TEXT_PP(3), converged));
}
