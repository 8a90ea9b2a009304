/*-------------------------------------------------------------------------
 *
 * matching_model.c
 *		Models of matching, as loaded from the rule tables.
 *
 * A model is the version of rules that it came with.  Of a model that is not
 * active the weights and thresholds are its own; nicknames, placeholders and
 * how common names are, are those in force.
 *
 * IDENTIFICATION
 *		src/matching_model.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "errors.h"
#include "matching_model.h"

struct MatchRules
{
	HTAB	   *models;			/* rule_version_id -> ModelEntry */
	MatchModel *active;
	MatchDictionary *dictionary;
};

typedef struct ModelEntry
{
	int64		rule_version_id;
	MatchModel *model;
} ModelEntry;

/* Beyond any evidence there is; a sum of them fits into an int. */
#define MOST_BITS	1000

static int
in_units(double bits)
{
	bits = bits > MOST_BITS ? MOST_BITS : bits < -MOST_BITS ? -MOST_BITS : bits;
	return (int) rint(bits * MATCH_BIT);
}

static MatchModel *
read_model(RuleCache *cache, uint64 row)
{
	MatchModel *model = MemoryContextAllocZero(cache->context, sizeof(MatchModel));
	double		value[7];
	bool		isnull;

	for (int i = 0; i < lengthof(value); i++)
		value[i] = DatumGetFloat8(rule_read_datum(row, 2 + i, &isnull));
	model->rule_version_id = rule_read_int64(row, 1);
	model->prior = in_units(value[0]);
	model->certain = in_units(value[1]);
	model->probable = in_units(value[2]);
	model->possible = in_units(value[3]);
	model->margin = in_units(value[4]);
	model->household_cap = in_units(value[5]);
	model->frequency_weight = value[6];
	model->auto_link = rule_read_bool(row, 9);
	return model;
}

static void
read_levels(MatchModel *model)
{
	security_read("SELECT l.field, l.level, l.m, l.u FROM referral.match_level l"
				  " WHERE l.rule_version_id = $1",
				  INT8OID, Int64GetDatum(model->rule_version_id));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		char	   *field = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1);
		char	   *level = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 2);
		bool		isnull;
		double		m = DatumGetFloat8(rule_read_datum(row, 3, &isnull));
		double		u = DatumGetFloat8(rule_read_datum(row, 4, &isnull));

		for (int f = 0; f < MATCH_FIELDS; f++)
			for (int l = 1; l < matching_fields[f].nlevels; l++)
				if (strcmp(matching_fields[f].name, field) == 0 &&
					strcmp(matching_fields[f].levels[l].name, level) == 0)
				{
					model->m[f][l] = m;
					model->u[f][l] = u;
					model->weight[f][l] = in_units(log2(m / u));
				}
	}
}

static MatchModel *
load_model(RuleCache *cache, int64 rule_version_id)
{
	MatchModel *model = NULL;
	OwnerScope	scope;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT x.rule_version_id, x.prior_bits, x.certain_bits, x.probable_bits, x.possible_bits,"
				  "  x.margin_bits, x.household_cap_bits, x.frequency_weight, x.auto_link"
				  " FROM referral.match_model x JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE CASE WHEN $1 = 0 THEN v.status = 'active' ELSE x.rule_version_id = $1 END"
				  " ORDER BY x.rule_version_id LIMIT 1",
				  INT8OID, Int64GetDatum(rule_version_id));
	if (SPI_processed > 0)
	{
		model = read_model(cache, 0);
		read_levels(model);
	}
	security_end_read(&scope);
	if (model == NULL)
		ereport(ERROR,
				rule_version_id == 0 ?
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("there is no active model of matching"),
				 errdetail("No version of a rule set that has a row in referral.match_model is active."),
				 errhint("Activate one: see referral.rule_version, rule set matching/standard.")) :
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("there is no model of matching %lld", (long long) rule_version_id),
				 errdetail("referral.match_model has no row of that rule version."),
				 errhint("See referral.match_model.")));
	return model;
}

static struct MatchRules *
match_rules(RuleCache *cache)
{
	if (cache->matching == NULL)
	{
		struct MatchRules *rules = MemoryContextAllocZero(cache->context, sizeof(struct MatchRules));

		rules->models = rule_cache_table(cache, "referral match models", sizeof(int64),
										 sizeof(ModelEntry), HASH_BLOBS);
		rules->dictionary = matching_dictionary_load(cache);
		cache->matching = rules;
	}
	return cache->matching;
}

const MatchModel *
matching_model(int64 rule_version_id)
{
	RuleCache  *cache = rule_cache(false);
	struct MatchRules *rules = match_rules(cache);
	MatchModel *model;
	ModelEntry *entry;

	if (rule_version_id == 0 && rules->active != NULL)
		return rules->active;
	entry = hash_search(rules->models, &rule_version_id, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->model;
	model = load_model(cache, rule_version_id);
	model->dictionary = rules->dictionary;
	if (rule_version_id == 0)
		rules->active = model;
	entry = hash_search(rules->models, &rule_version_id, HASH_ENTER, NULL);
	entry->model = model;
	return model;
}

double
matching_model_margin(const MatchModel *model)
{
	return (double) model->margin / MATCH_BIT;
}

double
matching_model_possible(const MatchModel *model)
{
	return 1 / (1 + exp2(-(double) model->possible / MATCH_BIT));
}
