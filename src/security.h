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

/* In falling order of trust; a session may lower its kind, never raise it. */
typedef enum ActorKind
{
	ACTOR_USER,
	ACTOR_SYSTEM,
	ACTOR_AI
} ActorKind;

/* Saved identity while the extension reads its own tables as their owner. */
typedef struct OwnerScope
{
	Oid			save_userid;
	int			save_sec_context;
	int			guc_level;
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
extern bool security_is_integration(void);
extern bool security_has_role(const char *rolename, bool *exists);
extern bool security_occurred_at(TimestampTz *occurred_at);

/* Run SPI reads as "owner", with a search_path no session can bend. */
extern void security_enter_owner(OwnerScope *scope, Oid owner);
extern void security_leave_owner(OwnerScope *scope);

#endif							/* REFERRAL_SECURITY_H */
