/*-------------------------------------------------------------------------
 *
 * security.c
 *		Settings, actor, organisations, and reading with the owner's rights.
 *
 * Any session can set any referral.* setting, so a setting proves nothing by
 * itself.  referral.actor and referral.org_id count for logins that belong to
 * referral_application (a service that authenticated the person); for all
 * others the login is the actor and its memberships are its organisations.
 *
 * IDENTIFICATION
 *		src/security.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errors.h"
#include "rule.h"
#include "security.h"

static char *setting_org_id = NULL;
static char *setting_actor = NULL;
static char *setting_actor_kind = NULL;
static char *setting_reason = NULL;
static char *setting_origin = NULL;
static char *setting_correlation_id = NULL;
static char *setting_transition = NULL;
static char *setting_occurred_at = NULL;
static char *setting_inbox_message = NULL;

static const char *const kind_names[] = {"user", "system", "ai"};

/* That of our own functions, to the letter. */
#define OWNER_SEARCH_PATH	"pg_catalog, pg_temp"

/* A login's membership in one organisation. */
typedef struct Membership
{
	int64		org_id;
	ActorKind	kind;
} Membership;

/* What is known of the login, until a rule table or a role changes. */
static struct
{
	uint64		generation;
	Oid			userid;
	char		name[NAMEDATALEN];
	bool		is_application;
	int64		only_org;		/* the one organisation, 0 when there are several */
	int			nmemberships;
	Membership *memberships;
}			login;

/* Whose triggers, policies and defaults may be running; see security_begin_owner(). */
static Oid	code_owner = InvalidOid;

/* ---------- Settings ---------- */

/* Settings from the start of a session are not checked by anybody else. */
static bool
check_text(char **newval, void **extra, GucSource source)
{
	if (pg_verifymbstr(*newval, strlen(*newval), true))
		return true;
	GUC_check_errdetail("It is not valid in the database's encoding.");
	return false;
}

static bool
check_number(char **newval, void **extra, GucSource source)
{
	char	   *end;
	long long	value;

	if (**newval == '\0')
		return true;
	errno = 0;
	value = strtoll(*newval, &end, 10);
	if (errno != 0 || *end != '\0' || value <= 0)
	{
		GUC_check_errdetail("It is a number above 0, or empty.");
		return false;
	}
	return true;
}

static bool
check_actor_kind(char **newval, void **extra, GucSource source)
{
	if (**newval == '\0')
		return true;
	for (int i = 0; i < lengthof(kind_names); i++)
		if (strcmp(*newval, kind_names[i]) == 0)
			return true;
	GUC_check_errdetail("It is \"user\", \"system\" or \"ai\", or empty.");
	return false;
}

static void
define_setting(const char *name, const char *what, char **variable,
			   GucStringCheckHook check)
{
	DefineCustomStringVariable(name, what, NULL, variable, "", PGC_USERSET, 0,
							   check, NULL, NULL);
}

static void
forget_code_owner(XactEvent event, void *arg)
{
	code_owner = InvalidOid;
}

void
security_init(void)
{
	define_setting("referral.org_id",
				   "Organisation the session works for; counts for members of referral_application, narrows for others.",
				   &setting_org_id, check_number);
	define_setting("referral.actor",
				   "Person or system that acts; counts for members of referral_application.",
				   &setting_actor, check_text);
	define_setting("referral.actor_kind",
				   "Kind of actor: user, system or ai. A session can lower its trust, not raise it.",
				   &setting_actor_kind, check_actor_kind);
	define_setting("referral.reason", "Comment that explains the change.",
				   &setting_reason, check_text);
	define_setting("referral.origin", "System that causes the change.",
				   &setting_origin, check_text);
	define_setting("referral.correlation_id", "Identifier shared by all changes of one business event.",
				   &setting_correlation_id, check_text);
	define_setting("referral.transition",
				   "Name of the transition to take, where two share a pair of steps or a step leads to itself.",
				   &setting_transition, check_text);
	define_setting("referral.occurred_at",
				   "Time of an imported event (timestamptz); for members of referral_integration.",
				   &setting_occurred_at, check_text);
	define_setting("referral.inbox_message",
				   "Message in the inbox that a new row comes from: its clocks start when that came.",
				   &setting_inbox_message, check_number);
	RegisterXactCallback(forget_code_owner, NULL);
}

static const char *
setting(const char *value)
{
	return value == NULL || *value == '\0' ? NULL : value;
}

const char *
security_reason(void)
{
	return setting(setting_reason);
}

const char *
security_origin(void)
{
	return setting(setting_origin);
}

const char *
security_correlation_id(void)
{
	return setting(setting_correlation_id);
}

const char *
security_transition(void)
{
	return setting(setting_transition);
}

/* ---------- Settings that must not count ---------- */

/*
 * How values are read and written, what names mean, and what day it is,
 * depends on settings.
 * Rules and the journal must not: they mean the same in every session.
 * Returns a level for AtEOXact_GUC(false, level): what was set in between goes too.
 */
int
security_neutral_settings(void)
{
	static const char *const neutral[][2] = {
		{"search_path", "pg_catalog, referral, pg_temp"}, {"TimeZone", "UTC"},
		{"timezone_abbreviations", "Default"}, {"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "postgres"}, {"extra_float_digits", "1"}, {"bytea_output", "hex"},
		{"array_nulls", "on"}, {"default_text_search_config", "pg_catalog.simple"}
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(neutral); i++)
		if (strcmp(GetConfigOption(neutral[i][0], false, false), neutral[i][1]) != 0)
			(void) set_config_option(neutral[i][0], neutral[i][1], PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/* ---------- Reading as the owner ---------- */

void
security_begin_read(OwnerScope *scope, Oid owner)
{
	/* a parallel worker must see what its leader sees */
	if (IsInParallelMode())
		rule_cache_is_provisional(GetActiveSnapshot());
	security_begin_read_as_of(scope, owner,
							  IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
}

void
security_begin_read_as_of(OwnerScope *scope, Oid owner, Snapshot snapshot)
{
	scope->save_code_owner = code_owner;
	scope->guc_level = NewGUCNestLevel();
	/* our own functions have it set already: setting it makes names looked up anew */
	if (strcmp(namespace_search_path, OWNER_SEARCH_PATH) != 0)
		(void) set_config_option("search_path", OWNER_SEARCH_PATH,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&scope->save_userid, &scope->save_sec_context);
	SetUserIdAndSecContext(owner, scope->save_sec_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(snapshot);
}

/* Where code of the owner's may run: his triggers, policies and defaults. */
void
security_begin_owner(OwnerScope *scope, Oid owner)
{
	Oid			userid;
	int			sec_context;

	security_begin_read(scope, owner);
	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(userid, sec_context | SECURITY_RESTRICTED_OPERATION);
	if (!security_in_foreign_code())	/* what is foreign stays so, whatever it calls */
		code_owner = owner;
}

/*
 * Does code of somebody else than the session's user run for the session, as
 * when tick() changes a row of his?  Then the rights of the session count for
 * nothing: it did not ask for what that code does.
 */
bool
security_in_foreign_code(void)
{
	return OidIsValid(code_owner) && InSecurityRestrictedOperation() &&
		code_owner != GetSessionUserId();
}

void
security_read(const char *sql, Oid argtype, Datum arg)
{
	if (SPI_execute_with_args(sql, 1, &argtype, &arg, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
}

/* Nothing that was set within the scope, by whosever code, outlives it. */
void
security_end_read(OwnerScope *scope)
{
	PopActiveSnapshot();
	SPI_finish();
	SetUserIdAndSecContext(scope->save_userid, scope->save_sec_context);
	AtEOXact_GUC(false, scope->guc_level);
	code_owner = scope->save_code_owner;
}

/* ---------- The login ---------- */

static void
load_memberships(RuleCache *cache)
{
	OwnerScope	scope;
	bool		isnull;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT org_id, actor_kind FROM referral.organization_member"
				  " WHERE login = $1 ORDER BY org_id",
				  TEXTOID, CStringGetTextDatum(login.name));
	login.memberships = MemoryContextAlloc(cache->context,
										   sizeof(Membership) * Max(SPI_processed, 1));
	login.nmemberships = (int) SPI_processed;
	for (int i = 0; i < login.nmemberships; i++)
	{
		char	   *kind = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);

		login.memberships[i].org_id =
			DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		login.memberships[i].kind = ACTOR_USER;
		for (int k = 0; k < lengthof(kind_names); k++)
			if (kind != NULL && strcmp(kind, kind_names[k]) == 0)
				login.memberships[i].kind = (ActorKind) k;
	}
	security_read("SELECT CASE count(*) WHEN 0 THEN 1 WHEN 1 THEN min(org_id) ELSE 0 END"
				  " FROM (SELECT org_id FROM referral.organization WHERE $1 LIMIT 2) o",
				  BOOLOID, BoolGetDatum(true));
	login.only_org = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
												 SPI_tuptable->tupdesc, 1, &isnull));
	security_end_read(&scope);
}

static void
know_login(void)
{
	RuleCache  *cache;
	Oid			userid = GetSessionUserId();
	Oid			application;

	rule_cache_settle();
	if (login.generation == rule_generation && login.userid == userid)
		return;
	cache = rule_cache(false);
	login.generation = 0;
	login.userid = userid;
	strlcpy(login.name, GetUserNameFromId(userid, false), NAMEDATALEN);
	application = get_role_oid("referral_application", true);
	login.is_application = OidIsValid(application) &&
		is_member_of_role_nosuper(userid, application);
	load_memberships(cache);
	login.generation = cache->generation;
}

const char *
security_login_name(void)
{
	know_login();
	return login.name;
}

const char *
security_actor(void)
{
	know_login();
	if (login.is_application && setting(setting_actor) != NULL)
		return setting_actor;
	return login.name;
}

const char *
security_actor_kind_name(ActorKind kind)
{
	return kind_names[kind];
}

/*
 * The kind that counts in an organisation.  An application that names no
 * person is a system; a login is what its membership says, and a setting may
 * only take trust away.
 */
ActorKind
security_actor_kind(int64 org_id)
{
	ActorKind	kind = ACTOR_USER;

	know_login();
	if (login.is_application && setting(setting_actor) == NULL)
		kind = ACTOR_SYSTEM;
	for (int i = 0; i < login.nmemberships; i++)
		if (login.memberships[i].org_id == org_id)
			kind = Max(kind, login.memberships[i].kind);
	if (setting(setting_actor_kind) != NULL)
		for (int k = 0; k < lengthof(kind_names); k++)
			if (strcmp(setting_actor_kind, kind_names[k]) == 0)
				kind = Max(kind, (ActorKind) k);
	return kind;
}

bool
security_has_role(const char *rolename, bool *exists)
{
	Oid			roleid = get_role_oid(rolename, true);

	*exists = OidIsValid(roleid);
	return *exists && has_privs_of_role(GetUserId(), roleid);
}

/* Judged by the session, not by whom a function or a foreign key acts for. */
static bool
session_is_integration(void)
{
	Oid			roleid = get_role_oid("referral_integration", true);

	return OidIsValid(roleid) && !security_in_foreign_code() &&
		is_member_of_role(GetSessionUserId(), roleid);
}

/*
 * The event time of imported history, when set.  Only an interface may say
 * that something happened at another time than now.
 */
bool
security_occurred_at(TimestampTz *occurred_at)
{
	if (setting(setting_occurred_at) == NULL)
		return false;
	if (!session_is_integration())
		ereport(ERROR,
				(errcode(ERRCODE_RF_ROLE),
				 errmsg("only members of referral_integration may set referral.occurred_at"),
				 errdetail("The setting says that a change happened at another time than it is made."),
				 errhint("RESET referral.occurred_at, or act as a member of referral_integration.")));
	*occurred_at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
														   CStringGetDatum(setting_occurred_at),
														   ObjectIdGetDatum(InvalidOid),
														   Int32GetDatum(-1)));
	if (TIMESTAMP_NOT_FINITE(*occurred_at) || *occurred_at > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_RF_SETTING),
				 errmsg("referral.occurred_at must be a time in the past"),
				 errdetail("It is \"%s\".", setting_occurred_at),
				 errhint("Give the time at which the imported event happened.")));
	return true;
}

/* When what is being written happened. */
TimestampTz
security_event_time(void)
{
	TimestampTz at;

	return security_occurred_at(&at) ? at : GetCurrentTransactionStartTimestamp();
}

/* The message that new rows come from; 0 when none was named. */
int64
security_inbox_message(void)
{
	return setting(setting_inbox_message) == NULL ? 0 : strtoll(setting_inbox_message, NULL, 10);
}

/* Room for one more than the login has memberships. */
static int
list_visible_orgs(Datum *orgs)
{
	int64		wanted = 0;
	int			norgs = 0;

	if (security_in_foreign_code())
		return 0;
	if (setting(setting_org_id) != NULL)
		wanted = strtoll(setting_org_id, NULL, 10);
	if (login.is_application)
	{
		/* unset counts only while no other organisation could be meant */
		if (wanted != 0 || login.only_org != 0)
			orgs[norgs++] = Int64GetDatum(wanted != 0 ? wanted : login.only_org);
	}
	else
		for (int i = 0; i < login.nmemberships; i++)
			if (wanted == 0 || login.memberships[i].org_id == wanted)
				orgs[norgs++] = Int64GetDatum(login.memberships[i].org_id);
	return norgs;
}

bool
security_sees_org(int64 org_id)
{
	Datum	   *orgs;
	int			norgs;

	know_login();
	orgs = palloc(sizeof(Datum) * (login.nmemberships + 1));
	norgs = list_visible_orgs(orgs);
	for (int i = 0; i < norgs; i++)
		if (DatumGetInt64(orgs[i]) == org_id)
			return true;
	return false;
}

/* ---------- SQL ---------- */

PG_FUNCTION_INFO_V1(current_org);
PG_FUNCTION_INFO_V1(current_actor);
PG_FUNCTION_INFO_V1(current_actor_kind);
PG_FUNCTION_INFO_V1(acting_login);
PG_FUNCTION_INFO_V1(visible_orgs);
PG_FUNCTION_INFO_V1(may_change_org);
PG_FUNCTION_INFO_V1(event_time);

/* current_org() returns bigint: default of every org_id column. */
Datum
current_org(PG_FUNCTION_ARGS)
{
	if (setting(setting_org_id) != NULL)
		PG_RETURN_INT64(strtoll(setting_org_id, NULL, 10));
	know_login();
	if (!login.is_application && login.nmemberships == 1)
		PG_RETURN_INT64(login.memberships[0].org_id);
	if (login.only_org != 0)
		PG_RETURN_INT64(login.only_org);
	ereport(ERROR,
			(errcode(ERRCODE_RF_SETTING),
			 errmsg("referral.org_id is not set"),
			 errdetail("There are several organisations, and the login does not belong to exactly one."),
			 errhint("SET LOCAL referral.org_id, or name org_id in the statement.")));
}

Datum
current_actor(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(security_actor()));
}

/* The login whose rights count, whoever the current user of a function is. */
static Oid
acting_login_id(void)
{
	return security_in_foreign_code() ? code_owner : GetSessionUserId();
}

/* acting_login() returns name */
Datum
acting_login(PG_FUNCTION_ARGS)
{
	Name		name = palloc0(NAMEDATALEN);

	namestrcpy(name, GetUserNameFromId(acting_login_id(), false));
	PG_RETURN_NAME(name);
}

/* event_time() returns timestamptz */
Datum
event_time(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(security_event_time());
}

/* current_actor_kind(org_id bigint) returns text */
Datum
current_actor_kind(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(kind_names[security_actor_kind(PG_GETARG_INT64(0))]));
}

/*
 * visible_orgs() returns bigint[]: the organisations whose rows the session
 * may see and write; the row-level security policies compare with it.
 */
Datum
visible_orgs(PG_FUNCTION_ARGS)
{
	Datum	   *orgs;
	int			norgs;

	know_login();
	orgs = palloc(sizeof(Datum) * (login.nmemberships + 1));
	norgs = list_visible_orgs(orgs);
	PG_RETURN_ARRAYTYPE_P(construct_array(orgs, norgs, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* may_change_org(org_id bigint) returns boolean */
Datum
may_change_org(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(security_sees_org(PG_GETARG_INT64(0)) ||
				   is_member_of_role(acting_login_id(), rule_cache(false)->owner));
}
