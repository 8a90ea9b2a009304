/*-------------------------------------------------------------------------
 *
 * security.h
 *		Who acts, for which organisations, and with whose rights.
 *
 * IDENTIFICATION
 *		src/security.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_SECURITY_H
#define REFERRAL_SECURITY_H

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/* In falling order of trust; a session may lower its kind, never raise it. */
typedef enum ActorKind
{
	ACTOR_USER,
	ACTOR_SYSTEM,
	ACTOR_AI
} ActorKind;

/* The session's own identity, while the extension reads as the owner. */
typedef struct OwnerScope
{
	Oid			save_userid;
	int			save_sec_context;
	int			guc_level;
	Oid			save_code_owner;
} OwnerScope;

extern void security_init(void);

/* Settings; NULL when empty. */
extern const char *security_reason(void);
extern const char *security_origin(void);
extern const char *security_correlation_id(void);
extern const char *security_transition(void);

extern const char *security_actor(void);
extern ActorKind security_actor_kind(int64 org_id);
extern const char *security_actor_kind_name(ActorKind kind);
extern const char *security_login_name(void);
extern bool security_has_role(const char *rolename, bool *exists);
extern bool security_in_foreign_code(void);
extern bool security_sees_org(int64 org_id);
extern bool security_occurred_at(TimestampTz *occurred_at);
extern TimestampTz security_event_time(void);
extern int64 security_inbox_message(void);
extern int	security_neutral_settings(void);

/*
 * Between begin and end, SPI runs with the rights of "owner" and a search_path
 * no session can bend; security_read() runs a query with one argument on the
 * newest snapshot, or the one that the scope was begun with.
 */
extern void security_begin_read(OwnerScope *scope, Oid owner);
extern void security_begin_read_as_of(OwnerScope *scope, Oid owner, Snapshot snapshot);
extern void security_begin_owner(OwnerScope *scope, Oid owner);
extern void security_read(const char *sql, Oid argtype, Datum arg);
extern void security_end_read(OwnerScope *scope);

#endif							/* REFERRAL_SECURITY_H */
