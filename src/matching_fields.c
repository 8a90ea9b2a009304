/*-------------------------------------------------------------------------
 *
 * matching_fields.c
 *		The fields that are compared, their levels, and what the shipped model
 *		says of them: how often a level is found among records of one person
 *		(m) and among records of two (u).
 *
 * IDENTIFICATION
 *		src/matching_fields.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "matching_compare.h"

#define UNKNOWN {"unknown", 1, 1}

/* In the order of enum MatchField, and of each field's levels. */
const MatchFieldName matching_fields[MATCH_FIELDS] = {
	{"given", 9, {UNKNOWN,
		{"exact", 0.8, 0.006},
		{"nickname", 0.03, 0.004},
		{"part", 0.03, 0.004},
		{"initial", 0.02, 0.03},
		{"close", 0.06, 0.002},
		{"similar", 0.03, 0.008},
		{"swapped", 0.02, 0.0005},
		{"different", 0.02, 0.95}
	}},
	{"family", 8, {UNKNOWN,
		{"exact", 0.82, 0.004},
		{"previous", 0.03, 0.0005},
		{"part", 0.02, 0.0006},
		{"close", 0.07, 0.0012},
		{"similar", 0.03, 0.005},
		{"swapped", 0.02, 0.0005},
		{"different", 0.03, 0.98}
	}},
	{"middle", 5, {UNKNOWN,
		{"exact", 0.6, 0.015},
		{"initial", 0.25, 0.06},
		{"similar", 0.05, 0.01},
		{"different", 0.1, 0.9}
	}},
	{"suffix", 3, {UNKNOWN,
		{"same", 0.95, 0.5},
		{"different", 0.02, 0.5}
	}},
	{"birth_date", 8, {UNKNOWN,
		{"exact", 0.85, 0.0001},
		{"swapped", 0.01, 4e-05},
		{"digit", 0.07, 0.0012},
		{"near", 0.02, 0.0036},
		{"two_parts", 0.03, 0.004},
		{"year", 0.01, 0.0125},
		{"different", 0.02, 0.98}
	}},
	{"birth_order", 4, {UNKNOWN,
		{"same", 0.95, 0.5},
		{"unsure", 0.5, 0.5},
		{"different", 0.02, 0.5}
	}},
	{"sex", 3, {UNKNOWN,
		{"same", 0.98, 0.5},
		{"different", 0.02, 0.5}
	}},
	{"identifier", 5, {UNKNOWN,
		{"same", 0.9, 0.0002},
		{"mixed", 0.01, 0.0005},
		{"close", 0.05, 0.0004},
		{"different", 0.04, 0.999}
	}},
	{"record_number", 5, {UNKNOWN,
		{"same", 0.5, 0.0002},
		{"mixed", 0.05, 0.0002},
		{"close", 0.05, 0.005},
		{"different", 0.4, 0.99}
	}},
	{"phone", 4, {UNKNOWN,
		{"same", 0.7, 0.0005},
		{"close", 0.05, 0.0008},
		{"different", 0.25, 0.999}
	}},
	{"email", 4, {UNKNOWN,
		{"same", 0.75, 0.0002},
		{"close", 0.08, 0.001},
		{"different", 0.17, 0.998}
	}},
	{"address", 5, {UNKNOWN,
		{"same", 0.6, 0.0003},
		{"close", 0.15, 0.0006},
		{"street", 0.03, 0.002},
		{"different", 0.22, 0.997}
	}},
	{"locality", 4, {UNKNOWN,
		{"same", 0.75, 0.01},
		{"close", 0.12, 0.03},
		{"different", 0.13, 0.95}
	}},
	{"mother", 4, {UNKNOWN,
		{"same", 0.8, 0.005},
		{"similar", 0.08, 0.01},
		{"different", 0.1, 0.98}
	}},
};

/* What the shipped model is made from: every field and level, with m and u. */
PG_FUNCTION_INFO_V1(match_default_levels);
Datum
match_default_levels(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int f = 0; f < MATCH_FIELDS; f++)
		for (int l = 1; l < matching_fields[f].nlevels; l++)
		{
			const MatchLevelName *level = &matching_fields[f].levels[l];
			bool		nulls[4] = {false};
			Datum		values[4];

			values[0] = CStringGetTextDatum(matching_fields[f].name);
			values[1] = CStringGetTextDatum(level->name);
			values[2] = Float8GetDatum(level->m);
			values[3] = Float8GetDatum(level->u);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	return (Datum) 0;
}
