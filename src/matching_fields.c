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
		{"exact", 0.68, 0.004},
		{"nickname", 0.035, 0.00115},
		{"part", 0.02, 0.00429},
		{"initial", 0.02, 0.00824},
		{"close", 0.09, 0.00323},
		{"similar", 0.02, 0.0025},
		{"swapped", 0.045, 0.000393},
		{"different", 0.0524, 0.95}
	}},
	{"family", 8, {UNKNOWN,
		{"exact", 0.66, 0.00434},
		{"previous", 0.03, 0.000499},
		{"part", 0.03, 0.0099},
		{"close", 0.12, 0.00118},
		{"similar", 0.02, 0.00127},
		{"swapped", 0.04, 0.000167},
		{"different", 0.0999, 0.95}
	}},
	{"middle", 5, {UNKNOWN,
		{"exact", 0.6, 0.00672},
		{"initial", 0.22, 0.08},
		{"similar", 0.05, 0.0144},
		{"different", 0.116, 0.95}
	}},
	{"suffix", 3, {UNKNOWN,
		{"same", 0.95, 0.499},
		{"different", 0.02, 0.499}
	}},
	{"birth_date", 8, {UNKNOWN,
		{"exact", 0.78, 0.000222},
		{"swapped", 0.02, 0.000223},
		{"digit", 0.06, 0.000469},
		{"near", 0.02, 0.000173},
		{"two_parts", 0.015, 0.0134},
		{"year", 0.02, 0.0182},
		{"different", 0.11, 0.95}
	}},
	{"birth_order", 4, {UNKNOWN,
		{"same", 0.45, 0.236},
		{"unsure", 0.25, 0.52},
		{"different", 0.01, 0.25}
	}},
	{"sex", 3, {UNKNOWN,
		{"same", 0.98, 0.5},
		{"different", 0.02, 0.499}
	}},
	{"identifier", 5, {UNKNOWN,
		{"same", 0.8, 1.66e-05},
		{"mixed", 0.02, 0.00101},
		{"close", 0.08, 0.000203},
		{"different", 0.175, 0.95}
	}},
	{"record_number", 5, {UNKNOWN,
		{"same", 0.5, 0.0156},
		{"mixed", 0.05, 0.000199},
		{"close", 0.05, 0.00501},
		{"different", 0.28, 0.849}
	}},
	{"phone", 4, {UNKNOWN,
		{"same", 0.75, 0.000118},
		{"close", 0.08, 0.000415},
		{"different", 0.0958, 0.95}
	}},
	{"email", 5, {UNKNOWN,
		{"same", 0.62, 1.95e-05},
		{"close", 0.15, 3.66e-05},
		{"similar", 0.05, 0.00058},
		{"different", 0.255, 0.95}
	}},
	{"address", 5, {UNKNOWN,
		{"same", 0.5, 0.000573},
		{"close", 0.25, 0.000309},
		{"street", 0.06, 0.000991},
		{"different", 0.13, 0.95}
	}},
	{"locality", 4, {UNKNOWN,
		{"same", 0.7, 0.00926},
		{"close", 0.2, 0.00591},
		{"different", 0.153, 0.95}
	}},
	{"mother", 4, {UNKNOWN,
		{"same", 0.8, 0.00497},
		{"similar", 0.08, 0.01},
		{"different", 0.0971, 0.95}
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
