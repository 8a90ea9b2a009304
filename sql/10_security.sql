-- security: who acts, and for which organisations

CREATE FUNCTION referral.current_org() RETURNS bigint
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'current_org';
COMMENT ON FUNCTION referral.current_org() IS
'Organisation the session works for, the default of every org_id: referral.org_id when set, else the login''s only organisation, else the only one there is (1 while there is none). Never null. RF018 when it cannot be told.';

CREATE FUNCTION referral.current_actor() RETURNS text
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'current_actor';
COMMENT ON FUNCTION referral.current_actor() IS
'Who is acting: referral.actor for logins that are members of referral_application, the login itself for all others. Never null.';

CREATE FUNCTION referral.event_time() RETURNS timestamptz
LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'event_time';
COMMENT ON FUNCTION referral.event_time() IS
'When what is being written happened: referral.occurred_at when an interface has set it, else the start of the transaction. Never null. RF003 when somebody else has set it, RF018 for a time to come.';

CREATE FUNCTION referral.current_actor_kind(org_id bigint) RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'current_actor_kind';
COMMENT ON FUNCTION referral.current_actor_kind(bigint) IS
'user, system or ai: the least trusted of what the login''s membership in the organisation and referral.actor_kind say. An application that names no person in referral.actor is a system. Null for null.';

CREATE FUNCTION referral.acting_login() RETURNS name
LANGUAGE C STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'acting_login';
COMMENT ON FUNCTION referral.acting_login() IS
'The login whose rights count in functions that run with the owner''s: that of the session; while code of an attached table''s owner runs on behalf of another session, as when tick() changes his row, that owner. Never null.';

CREATE FUNCTION referral.visible_orgs() RETURNS bigint[]
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'visible_orgs';
COMMENT ON FUNCTION referral.visible_orgs() IS
'Organisations whose rows the session may see and write; every row-level security policy compares org_id with it. Memberships of the login (referral.organization_member), narrowed by referral.org_id; for members of referral_application, referral.org_id itself, or the only organisation there is when it is not set. None while code of an attached table''s owner runs on behalf of another session.';

-- Called by the model files: one policy and the triggers every table of a kind has.
CREATE FUNCTION referral.secure_table(relation regclass, installation boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = relation AND polname = 'organisation') THEN
        EXECUTE format('CREATE POLICY organisation ON %s USING (org_id = ANY ((SELECT referral.visible_orgs())::bigint[])%s)',
                       relation,
                       CASE WHEN installation THEN ' OR (org_id = 0 AND pg_has_role(''referral_auditor'', ''USAGE''))' END);
    END IF;
END $$;
COMMENT ON FUNCTION referral.secure_table(regclass, boolean) IS
'Turns on row-level security for a table with an org_id column, with the policy "organisation": a session sees and writes only rows of referral.visible_orgs(). installation: the table has rows of the whole installation too (org_id 0), for members of referral_auditor. Idempotent; for the table''s owner.';
REVOKE ALL ON FUNCTION referral.secure_table(regclass, boolean) FROM PUBLIC;

CREATE FUNCTION referral.member_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- the owner of the model, a DBA, decides over everybody
    IF pg_has_role(referral.acting_login(), (SELECT c.relowner FROM pg_class c WHERE c.oid = 'referral.organization_member'::regclass), 'MEMBER') THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF referral.acting_login() = (CASE TG_OP WHEN 'INSERT' THEN NEW.login ELSE OLD.login END)
       OR (TG_OP = 'UPDATE' AND NEW.login <> OLD.login)
       OR referral.current_actor_kind(CASE TG_OP WHEN 'INSERT' THEN NEW.org_id ELSE OLD.org_id END) <> 'user' THEN
        RAISE EXCEPTION 'nobody changes his own membership, and only a person changes that of others'
            USING ERRCODE = 'RF003', DETAIL = 'A membership says for whom a login works, and whether it is a person.',
                  HINT = 'Ask another member of referral_admin, or the DBA.';
    END IF;
    IF TG_OP = 'INSERT' AND NEW.org_id = ANY (referral.visible_orgs())  -- else row-level security refuses
       AND EXISTS (SELECT FROM referral.organization_member m WHERE m.login = NEW.login AND m.org_id <> NEW.org_id) THEN
        RAISE EXCEPTION 'the login works for another organisation already'
            USING ERRCODE = 'RF003', DETAIL = 'A second membership changes what the login sees and where its rows go.',
                  HINT = 'Ask the DBA to add it.';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
COMMENT ON FUNCTION referral.member_guard() IS
'BEFORE row trigger of referral.organization_member (RF003): nobody changes his own membership, an AI or a system none at all, and a login that works for another organisation is added by the owner of the model only.';
REVOKE ALL ON FUNCTION referral.member_guard() FROM PUBLIC;
