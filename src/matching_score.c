/*-------------------------------------------------------------------------
 *
 * matching_score.c
 *		Weights added up: score, grade, and the explanation of both.
 *
 * The score is the base-2 logarithm of the odds that two records are of one
 * person (Fellegi and Sunter): the prior, and for each field log2(m / u) of
 * its level.  What people of one household have in common counts up to a cap.
 *
 * IDENTIFICATION
 *		src/matching_score.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "errors.h"
#include "matching_model.h"

/* A common name can count this much less than the average one. */
#define FREQUENCY_LIMIT		(5 * MATCH_BIT)

typedef struct Contributions
{
	MatchComparison comparison;
	int			weight[MATCH_FIELDS];
	int			frequency[MATCH_FIELDS];	/* because the name is more common than most */
	int			household;		/* what is above the cap, negative */
	int			total;
} Contributions;

static const char *const grade_names[] = {"certainly-not", "possible", "probable", "certain"};

const char *
matching_grade_name(MatchGrade grade)
{
	return grade_names[grade];
}

/* ---------- Adding up ---------- */

static double
item_share(const MatchDictionary *dictionary, bool family, const Demographics *d,
		   const DemographicsItem *item)
{
	return matching_name_share(dictionary, family, demographics_text(d, item), item->length);
}

/*
 * Two who share a name that one in fifty has have less in common than others.
 * That a name is rare adds nothing: most are, and u is of these.  Of names that
 * are merely alike the more common one says how likely that is.
 */
static int
frequency_adjustment(const MatchModel *model, MatchField field, const Demographics *a,
					 const Demographics *b, const MatchComparison *comparison)
{
	int			level = comparison->level[field];
	double		average;
	double		share;
	double		bits;

	if (model->frequency_weight == 0 || level == LEVEL_UNKNOWN || model->weight[field][level] <= 0)
		return 0;
	share = item_share(model->dictionary, field == FIELD_FAMILY, a, comparison->a[field]);
	if (share == 0)
		return 0;
	if (level != GIVEN_EXACT)
	{
		double		other = item_share(model->dictionary, field == FIELD_FAMILY, b, comparison->b[field]);

		share = Max(share, other);
	}
	average = model->u[field][GIVEN_EXACT];
	bits = log2(average / share) * model->frequency_weight * MATCH_BIT;
	return (int) rint(Max(Min(bits, 0), -FREQUENCY_LIMIT));
}

StaticAssertDecl((int) GIVEN_EXACT == (int) FAMILY_EXACT, "frequency_adjustment takes both for one");

static void
add_up(const MatchModel *model, const Demographics *a, const Demographics *b, Contributions *result)
{
	int			household = 0;

	matching_compare(model->dictionary, a, b, &result->comparison);
	result->total = model->prior;
	result->household = 0;
	for (int f = 0; f < MATCH_FIELDS; f++)
	{
		result->weight[f] = model->weight[f][result->comparison.level[f]];
		result->frequency[f] = f == FIELD_GIVEN || f == FIELD_FAMILY ?
			frequency_adjustment(model, f, a, b, &result->comparison) : 0;
		result->total += result->weight[f] + result->frequency[f];
		if (MATCH_HOUSEHOLD_FIELDS >> f & 1)
			household += Max(result->weight[f] + result->frequency[f], 0);
	}
	if (household > model->household_cap)
		result->household = model->household_cap - household;
	result->total += result->household;
}

static MatchGrade
grade_of(const MatchModel *model, int total, int vetoes)
{
	MatchGrade	grade = total >= model->certain && vetoes == 0 ? MATCH_CERTAIN :
		total >= model->probable ? MATCH_PROBABLE :
		total >= model->possible ? MATCH_POSSIBLE : MATCH_CERTAINLY_NOT;

	/* brothers, sisters and twins share nearly everything else */
	if (grade > MATCH_CERTAINLY_NOT &&
		(vetoes & MATCH_VETOES_LOWER) != 0)
		grade--;
	return grade;
}

static double
probability_of(int total)
{
	return 1 / (1 + exp2(-(double) total / MATCH_BIT));
}

void
matching_score(const MatchModel *model, const Demographics *a, const Demographics *b,
			   MatchScore *score)
{
	Contributions contributions;

	add_up(model, a, b, &contributions);
	score->bits = (double) contributions.total / MATCH_BIT;
	score->probability = probability_of(contributions.total);
	score->grade = grade_of(model, contributions.total, contributions.comparison.vetoes);
}

/* ---------- In SQL ---------- */

static const MatchModel *
model_argument(FunctionCallInfo fcinfo, int n)
{
	return matching_model(PG_NARGS() > n && !PG_ARGISNULL(n) ? PG_GETARG_INT64(n) : 0);
}

PG_FUNCTION_INFO_V1(match_score);
Datum
match_score(PG_FUNCTION_ARGS)
{
	const MatchModel *model;
	MatchScore	score;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	model = model_argument(fcinfo, 2);
	matching_score(model, PG_GETARG_DEMOGRAPHICS(0), PG_GETARG_DEMOGRAPHICS(1), &score);
	PG_RETURN_FLOAT8(score.bits);
}

PG_FUNCTION_INFO_V1(match_grade);
Datum
match_grade(PG_FUNCTION_ARGS)
{
	const MatchModel *model;
	MatchScore	score;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	model = model_argument(fcinfo, 2);
	matching_score(model, PG_GETARG_DEMOGRAPHICS(0), PG_GETARG_DEMOGRAPHICS(1), &score);
	PG_RETURN_TEXT_P(cstring_to_text(matching_grade_name(score.grade)));
}

/* The level of each field that is known of both: "given:exact". */
PG_FUNCTION_INFO_V1(match_levels);
Datum
match_levels(PG_FUNCTION_ARGS)
{
	const MatchModel *model = matching_model(0);
	MatchComparison comparison;
	Datum		levels[MATCH_FIELDS];
	int			n = 0;

	matching_compare(model->dictionary, PG_GETARG_DEMOGRAPHICS(0), PG_GETARG_DEMOGRAPHICS(1),
					 &comparison);
	for (int f = 0; f < MATCH_FIELDS; f++)
		if (comparison.level[f] != LEVEL_UNKNOWN)
			levels[n++] = PointerGetDatum(cstring_to_text(psprintf("%s:%s", matching_fields[f].name,
																   matching_fields[f].levels[comparison.level[f]].name)));
	PG_RETURN_ARRAYTYPE_P(construct_array(levels, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* ---------- Explanation ---------- */

typedef struct Explanation
{
	ReturnSetInfo *result;
	const MatchModel *model;
	int			lines;
	int			running;		/* total so far */
} Explanation;

static void
explain_line(Explanation *explanation, const char *field, const char *level, char *value_a, char *value_b,
			 const double *m_and_u, int weight, int frequency)
{
	Datum		values[11];
	bool		nulls[11] = {false};

	explanation->running += weight + frequency;
	values[0] = Int32GetDatum(++explanation->lines);
	values[1] = CStringGetTextDatum(field);
	values[2] = level ? CStringGetTextDatum(level) : (Datum) 0;
	values[3] = value_a ? CStringGetTextDatum(value_a) : (Datum) 0;
	values[4] = value_b ? CStringGetTextDatum(value_b) : (Datum) 0;
	values[5] = m_and_u ? Float8GetDatum(m_and_u[0]) : (Datum) 0;
	values[6] = m_and_u ? Float8GetDatum(m_and_u[1]) : (Datum) 0;
	values[7] = Float8GetDatum((double) weight / MATCH_BIT);
	values[8] = Float8GetDatum((double) frequency / MATCH_BIT);
	values[9] = Float8GetDatum((double) explanation->running / MATCH_BIT);
	values[10] = Float8GetDatum(probability_of(explanation->running));
	nulls[2] = level == NULL;
	nulls[3] = value_a == NULL;
	nulls[4] = value_b == NULL;
	nulls[5] = nulls[6] = m_and_u == NULL;
	tuplestore_putvalues(explanation->result->setResult, explanation->result->setDesc, values, nulls);
}

static char *
item_value(const Demographics *d, const DemographicsItem *item)
{
	const char *text = demographics_text(d, item);

	/* several words are shown as such */
	return item->shown_length > 0 ? pnstrdup(text + item->length, item->shown_length)
		: pnstrdup(text, item->length);
}

/* All items of a kind, with a comma between; NULL when there is none. */
static char *
kind_values(const Demographics *d, DemographicsKind kind, char *before)
{
	for (int i = 0; i < demographics_count(d, kind); i++)
	{
		char	   *value = item_value(d, demographics_items(d, kind) + i);

		before = before ? psprintf("%s, %s", before, value) : value;
	}
	return before;
}

static char *
birth_value(const Demographics *d)
{
	if (d->birth_year == 0)
		return NULL;
	if (d->birth_month == 0)
		return psprintf("%04d", d->birth_year);
	if (d->birth_day == 0)
		return psprintf("%04d-%02d", d->birth_year, d->birth_month);
	return psprintf("%04d-%02d-%02d", d->birth_year, d->birth_month, d->birth_day);
}

static char *
address_value(const Demographics *d)
{
	char	   *number = kind_values(d, DEMO_STREET_NUMBER, NULL);
	char	   *street = kind_values(d, DEMO_STREET, NULL);

	return number && street ? psprintf("%s %s", number, street) : number ? number : street;
}

static char *
field_value(const Demographics *d, MatchField field, const DemographicsItem *decisive)
{
	static char *const sexes[] = {NULL, "male", "female", "other"};

	switch (field)
	{
		case FIELD_BIRTH_DATE:
			return birth_value(d);
		case FIELD_BIRTH_ORDER:
			return d->birth_order != 0 ? psprintf("%d", d->birth_order) :
				d->multiple_birth == 2 ? pstrdup("one of several") : NULL;
		case FIELD_SEX:
			return sexes[d->sex];
		case FIELD_ADDRESS:
			return address_value(d);
		case FIELD_LOCALITY:
			return kind_values(d, DEMO_POSTAL, kind_values(d, DEMO_CITY, NULL));
		case FIELD_GIVEN:
			return kind_values(d, DEMO_ALIAS, kind_values(d, DEMO_GIVEN, NULL));
		case FIELD_FAMILY:
			return kind_values(d, DEMO_PREVIOUS, kind_values(d, DEMO_FAMILY, NULL));
		case FIELD_MIDDLE:
			return kind_values(d, DEMO_MIDDLE, NULL);
		case FIELD_SUFFIX:
			return kind_values(d, DEMO_SUFFIX, NULL);
		case FIELD_PHONE:
			return decisive ? item_value(d, decisive) : kind_values(d, DEMO_PHONE, NULL);
		case FIELD_EMAIL:
			return decisive ? item_value(d, decisive) : kind_values(d, DEMO_EMAIL, NULL);
		case FIELD_MOTHER:
			return kind_values(d, DEMO_MOTHER_MAIDEN, NULL);
		case FIELD_IDENTIFIER:
		case FIELD_RECORD_NUMBER:
			return decisive ? item_value(d, decisive) : NULL;
		case MATCH_FIELDS:
			break;
	}
	return NULL;
}

static char *
veto_names(int vetoes)
{
	static const struct
	{
		int			veto;
		const char *name;
	}			names[] = {
		{MATCH_VETO_GIVEN, "first names are not the same"},
		{MATCH_VETO_OTHER_GIVEN, "another first name: one grade lower"},
		{MATCH_VETO_MIDDLE, "middle names differ"},
		{MATCH_VETO_FAMILY, "family names differ"},
		{MATCH_VETO_BIRTH, "birth dates are not the same"},
		{MATCH_VETO_TWIN, "one of a multiple birth: one grade lower"},
		{MATCH_VETO_UNSURE_TWIN, "one of a multiple birth"},
		{MATCH_VETO_SUFFIX, "name suffixes differ: one grade lower"},
		{MATCH_VETO_SEX, "sexes differ"},
		{MATCH_VETO_IDENTIFIER, "identifiers differ"},
		{MATCH_VETO_MISSING, "too little is known"}
	};
	char	   *result = NULL;

	for (int i = 0; i < lengthof(names); i++)
		if (vetoes & names[i].veto)
			result = result ? psprintf("%s, %s", result, names[i].name) : pstrdup(names[i].name);
	return result;
}

static char *
keys_in_common(const Demographics *a, const Demographics *b)
{
	int32		akeys[MATCHING_MAX_KEYS];
	int32		bkeys[MATCHING_MAX_KEYS];
	const char *kinds[MATCHING_MAX_KEYS];
	int			na = matching_keys_kinds(a, akeys, kinds);
	int			nb = matching_keys(b, bkeys);
	char	   *result = NULL;

	for (int i = 0, j = 0; i < na && j < nb;)
	{
		if (akeys[i] < bkeys[j])
			i++;
		else if (akeys[i] > bkeys[j])
			j++;
		else
		{
			if (result == NULL)
				result = pstrdup(kinds[i]);
			else if (strstr(result, kinds[i]) == NULL)
				result = psprintf("%s, %s", result, kinds[i]);
			i++;
			j++;
		}
	}
	return result;
}

static void
explain_fields(Explanation *explanation, const Contributions *c, const Demographics *a,
			   const Demographics *b)
{
	const MatchModel *model = explanation->model;

	for (int f = 0; f < MATCH_FIELDS; f++)
	{
		int			level = c->comparison.level[f];
		bool		known = level != LEVEL_UNKNOWN;
		char	   *value_a = field_value(a, f, known ? c->comparison.a[f] : NULL);
		char	   *value_b = field_value(b, f, known ? c->comparison.b[f] : NULL);
		double		m_and_u[2];

		if (level == LEVEL_UNKNOWN && !value_a && !value_b)
			continue;
		m_and_u[0] = model->m[f][level];
		m_and_u[1] = model->u[f][level];
		explain_line(explanation, matching_fields[f].name, matching_fields[f].levels[level].name,
					 value_a, value_b, level == LEVEL_UNKNOWN ? NULL : m_and_u,
					 c->weight[f], c->frequency[f]);
	}
}

PG_FUNCTION_INFO_V1(match_explain);
Datum
match_explain(PG_FUNCTION_ARGS)
{
	const Demographics *a;
	const Demographics *b;
	Explanation explanation = {0};
	Contributions contributions;
	char	   *text;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return (Datum) 0;
	a = PG_GETARG_DEMOGRAPHICS(0);
	b = PG_GETARG_DEMOGRAPHICS(1);
	explanation.result = (ReturnSetInfo *) fcinfo->resultinfo;
	explanation.model = model_argument(fcinfo, 2);
	add_up(explanation.model, a, b, &contributions);
	explain_line(&explanation, "prior", psprintf("model %lld", (long long) explanation.model->rule_version_id),
				 NULL, NULL, NULL, explanation.model->prior, 0);
	explain_fields(&explanation, &contributions, a, b);
	if (contributions.household != 0)
		explain_line(&explanation, "household", "capped", NULL, NULL, NULL, contributions.household, 0);
	if ((text = veto_names(contributions.comparison.vetoes)) != NULL)
		explain_line(&explanation, "veto", text, NULL, NULL, NULL, 0, 0);
	text = keys_in_common(a, b);
	explain_line(&explanation, "keys", text ? text : "none in common", NULL, NULL, NULL, 0, 0);
	explain_line(&explanation, "total",
				 matching_grade_name(grade_of(explanation.model, contributions.total,
											  contributions.comparison.vetoes)),
				 NULL, NULL, NULL, 0, 0);
	return (Datum) 0;
}
