/*-------------------------------------------------------------------------
 *
 * intake_directory.c
 *		Whom a case of intake names: practitioners and provider organisations,
 *		by their numbers, else by name.
 *
 * Every message names two or three of them, and mostly they are known.
 *
 * IDENTIFICATION
 *		src/intake_directory.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "intake.h"
#include "statement.h"

/* One to be found, as a statement sees him: $1 to $7. */
typedef struct Wanted
{
	Datum		org_id;
	text	   *number;
	text	   *system;
	text	   *name;
	text	   *organization;
	bool		numbered;		/* was any number told? */
	text	   *specialty;
} Wanted;

typedef enum Search
{
	BY_IDENTIFIER, BY_NUMBER, BY_NAME, SEARCHES
} Search;

/* %1$s: the table; %2$s: what a namesake has to fulfil besides */
static const char *const searches[SEARCHES] = {
	[BY_IDENTIFIER] =
	"SELECT t.%1$s_id FROM referral.identifier t"
	" WHERE t.org_id " EQ " $1 AND t.value " EQ " $2 AND t.system " EQ " $3 AND t.%1$s_id IS NOT NULL LIMIT 1",
	[BY_NUMBER] =
	"SELECT p.%1$s_id FROM referral.%1$s p WHERE p.org_id " EQ " $1 AND p.identifier " EQ " $2"
	" AND (p.identifier_system " EQ " $3 OR p.identifier_system IS NULL) LIMIT 1",
	/* one of the name whose number nobody knows yet, or the only one of the name where the message has no number */
	[BY_NAME] =
	"SELECT CASE WHEN pg_catalog.count(*) FILTER (WHERE p.identifier IS NULL) OPERATOR(pg_catalog.>) 0"
	"             THEN pg_catalog.min(p.%1$s_id) FILTER (WHERE p.identifier IS NULL)"
	"            WHEN pg_catalog.count(*) " EQ " 1 AND NOT $6 THEN pg_catalog.min(p.%1$s_id) END"
	" FROM referral.%1$s p"
	" WHERE p.org_id " EQ " $1 AND p.name_key " EQ " pg_catalog.lower($4) AND p.active%2$s"
};

typedef struct Directory
{
	const char *table;
	const char *namesake;
	SPIPlanPtr	plans[SEARCHES];
} Directory;

static Directory practitioners = {
	"practitioner",
	" AND ($5 IS NULL OR p.organization_name IS NULL"
	" OR pg_catalog.lower(p.organization_name) " EQ " pg_catalog.lower($5))",
	{NULL}
};

static Directory organizations = {"provider_organization", "", {NULL}};

/* Runs a statement with the rights of the caller; the first column of its first row, 0 for none. */
static int64
first_id(SPIPlanPtr *plan, const char *sql, Wanted *wanted)
{
	static Oid	types[] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID};
	Datum		args[] = {wanted->org_id, PointerGetDatum(wanted->number), PointerGetDatum(wanted->system),
	PointerGetDatum(wanted->name), PointerGetDatum(wanted->organization), BoolGetDatum(wanted->numbered),
	PointerGetDatum(wanted->specialty)};
	char		nulls[lengthof(args)];
	bool		isnull = true;
	Datum		id = 0;

	for (int i = 0; i < lengthof(args); i++)
		nulls[i] = types[i] == TEXTOID && DatumGetPointer(args[i]) == NULL ? 'n' : ' ';
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	statement_keep(plan, sql, lengthof(types), types, CURSOR_OPT_GENERIC_PLAN);
	if (SPI_execute_plan(*plan, args, nulls, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
	if (SPI_processed > 0)
		id = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	SPI_finish();
	return isnull ? 0 : DatumGetInt64(id);
}

static int64
search(Directory *directory, Search how, Wanted *wanted)
{
	const char *sql = directory->plans[how] != NULL ? "" :
		psprintf(searches[how], directory->table, directory->namesake);

	return first_id(&directory->plans[how], sql, wanted);
}

/* The number and the system of an identifier; false when it has no number. */
static bool
take_number(JsonbContainer *identifier, text *source, Wanted *wanted)
{
	if (identifier == NULL)
		return false;
	wanted->number = intake_member_text(identifier, "value");
	wanted->system = intake_system_of(intake_member_text(identifier, "type"),
									  intake_member_text(identifier, "system"), source);
	return wanted->number != NULL;
}

static int64
find(Directory *directory, Wanted *wanted, Jsonb *ids, text *source)
{
	int64		id = 0;
	int			count = ids != NULL && JB_ROOT_IS_ARRAY(ids) && !JB_ROOT_IS_SCALAR(ids) ? JB_ROOT_COUNT(ids) : 0;

	for (int i = 0; i < count && id == 0; i++)
	{
		if (!take_number(intake_list_object(&ids->root, i), source, wanted))
			continue;
		wanted->numbered = true;
		id = search(directory, BY_IDENTIFIER, wanted);
		if (id == 0)
			id = search(directory, BY_NUMBER, wanted);
	}
	if (id == 0 && wanted->name != NULL)
		id = search(directory, BY_NAME, wanted);
	return id;
}

static Datum
answer(FunctionCallInfo fcinfo, int64 id)
{
	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

PG_FUNCTION_INFO_V1(intake_find_practitioner);

/* intake_find_practitioner(org_id bigint, ids jsonb, source text, name text, organization text) returns bigint */
Datum
intake_find_practitioner(PG_FUNCTION_ARGS)
{
	Wanted		wanted = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	wanted.org_id = PG_GETARG_DATUM(0);
	wanted.name = intake_argument_text(fcinfo, 3);
	wanted.organization = intake_argument_text(fcinfo, 4);
	return answer(fcinfo, find(&practitioners, &wanted, PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1),
							   intake_argument_text(fcinfo, 2)));
}

PG_FUNCTION_INFO_V1(intake_find_organization);

/* intake_find_organization(org_id bigint, ids jsonb, source text, name text) returns bigint */
Datum
intake_find_organization(PG_FUNCTION_ARGS)
{
	Wanted		wanted = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	wanted.org_id = PG_GETARG_DATUM(0);
	wanted.name = intake_argument_text(fcinfo, 3);
	return answer(fcinfo, find(&organizations, &wanted, PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1),
							   intake_argument_text(fcinfo, 2)));
}

/* ---------- Who is known, and nothing new is told of him ---------- */

static const char *const known_practitioner =
"SELECT p.practitioner_id FROM referral.practitioner p"
" WHERE p.org_id " EQ " $1 AND p.identifier " EQ " $2 AND p.identifier_system " EQ " $3 AND p.name OPERATOR(pg_catalog.<>) $2"
" AND ($7 IS NULL OR p.specialty IS NOT NULL) AND ($5 IS NULL OR p.organization_name IS NOT NULL) LIMIT 1";

PG_FUNCTION_INFO_V1(intake_known_practitioner);

/* intake_known_practitioner(org_id bigint, practitioner jsonb, source text) returns bigint */
Datum
intake_known_practitioner(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;
	Jsonb	   *told = intake_argument_object(fcinfo, 1);
	JsonbContainer *ids = told == NULL ? NULL : intake_member_list(&told->root, "identifiers");
	JsonbContainer *organization;
	Wanted		wanted = {0};

	if (PG_ARGISNULL(0) || ids == NULL || JsonContainerSize(ids) != 1 ||
		!take_number(intake_list_object(ids, 0), intake_argument_text(fcinfo, 2), &wanted))
		PG_RETURN_NULL();
	wanted.org_id = PG_GETARG_DATUM(0);
	wanted.specialty = intake_member_text(&told->root, "specialty");
	organization = intake_member_object(&told->root, "organization");
	if (organization != NULL)
		wanted.organization = intake_member_text(organization, "name");
	return answer(fcinfo, first_id(&plan, known_practitioner, &wanted));
}
