-- What attacks on clocks and ticks have found: each stays refused, or without effect.
SELECT plan(29);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql
\ir ../lib/make_policy.sql
SET client_min_messages = warning;

CREATE ROLE hard_mallory LOGIN IN ROLE referral_admin;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'hard_mallory');
CREATE SCHEMA evil AUTHORIZATION hard_mallory;
SELECT make_calendar('round', referral.always_open('UTC')::text) \g /dev/null

-- ---------- the owner of an attached table runs no code with the rights of whoever ticks ----------
SET SESSION AUTHORIZATION hard_mallory;
CREATE TABLE evil.ev (ev_id bigint PRIMARY KEY, phase text DEFAULT 'open', priority integer);
SELECT referral.attach('evil.ev') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT make_workflow('ev') \g /dev/null
SELECT make_policies('sla/ev', '[{"entity": "ev", "name": "w", "target": "1 minute", "calendar": "round",
    "levels": [{"level": 1, "percent": 0, "action": "raise_priority", "argument": "5"}]}]') \g /dev/null
SET SESSION AUTHORIZATION hard_mallory;
CREATE TABLE evil.log (who text, is_restricted boolean);
GRANT INSERT ON evil.log TO public;
GRANT USAGE ON SCHEMA evil TO public;
CREATE FUNCTION evil.plus(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO evil.log VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.+) $2; END $$;
CREATE OPERATOR evil.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.plus);
CREATE FUNCTION evil.noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO evil.log VALUES (current_user);
    PERFORM pg_catalog.set_config('search_path', 'evil, pg_catalog', false),
            pg_catalog.set_config('referral.org_id', '2', false), pg_catalog.set_config('lock_timeout', '1h', false);
    RETURN NEW;
END $$;
CREATE TRIGGER aa BEFORE UPDATE ON evil.ev FOR EACH ROW EXECUTE FUNCTION evil.noted();
INSERT INTO evil.ev (ev_id) VALUES (1), (2);
RESET SESSION AUTHORIZATION;
SELECT current_setting('search_path') AS path, current_setting('lock_timeout') AS lock_timeout \gset
SELECT * FROM referral.tick_fire(now() + interval '1 second', 100) \g /dev/null
SELECT is(acted || ' ' || failed, '2 0', 'the priority of both rows is raised') FROM act();
SELECT is(current_setting('search_path'), :'path', 'no setting of the owner''s trigger outlives it: search_path');
SELECT is(current_setting('lock_timeout'), :'lock_timeout', 'lock_timeout');
SELECT is(current_setting('referral.org_id', true), '', 'referral.org_id');
SELECT is((SELECT string_agg(DISTINCT who, ',') FROM evil.log), 'hard_mallory', 'and his code ran as himself');

-- ---------- a deferred trigger would run at commit, as the one who ticks ----------
SET SESSION AUTHORIZATION hard_mallory;
DROP TRIGGER aa ON evil.ev;
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON evil.ev DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.noted();
INSERT INTO evil.ev (ev_id) VALUES (3);
RESET SESSION AUTHORIZATION;
SELECT * FROM referral.tick_fire(now() + interval '1 second', 100) \g /dev/null
SELECT is(acted || ' ' || failed, '0 1', 'it is refused, and the escalation says so') FROM act();
SELECT matches(error, 'deferred trigger within security-restricted operation', 'with the reason')
FROM referral.escalation WHERE entity = 'ev' AND entity_id = 3;
SELECT is((SELECT string_agg(DISTINCT who, ',') FROM evil.log), 'hard_mallory', 'nothing ran as somebody else');

-- ---------- a column that is named like a row ----------
CREATE TABLE public.tt (tt_id bigint PRIMARY KEY, phase text DEFAULT 'open', priority int, t bigint DEFAULT 1234567, t_ text DEFAULT 'x');
SELECT referral.attach('public.tt') \g /dev/null
SELECT make_workflow('tt') \g /dev/null
SELECT make_policies('sla/tt', '[{"entity": "tt", "name": "tt", "target": "1 hour", "calendar": "round"}]') \g /dev/null
INSERT INTO public.tt (tt_id) VALUES (1);
SELECT is((SELECT p.phase FROM referral.policies_of('tt', 1, 1) p), 'other', 'is a column');
SELECT lives_ok('SELECT * FROM referral.recompute_clocks()', 'and clocks of such a table can be recomputed');

-- ---------- a row that cannot be acted on does not hold up the others ----------
SELECT is((SELECT string_agg(outcome, ',' ORDER BY entity_id) FROM referral.escalation WHERE entity = 'ev'), 'done,done,failed', 'each has its outcome');
SELECT is(acted || ' ' || failed, '0 0', 'and is not tried for ever') FROM act();

-- ---------- the owner's types: a cast, asked by a condition, is code of his ----------
SET SESSION AUTHORIZATION hard_mallory;
CREATE TYPE evil.span AS RANGE (subtype = integer);
CREATE FUNCTION evil.who(evil.span) RETURNS json LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.log VALUES ('cast ' || current_user); RETURN '3'; END $$;
CREATE CAST (evil.span AS json) WITH FUNCTION evil.who(evil.span);
CREATE TABLE evil.dd (dd_id bigint PRIMARY KEY, phase text DEFAULT 'open', d evil.span DEFAULT '[1,2)');
SELECT referral.attach('evil.dd') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT make_workflow('dd') \g /dev/null
SELECT make_policies('sla/dd', '[{"entity": "dd", "name": "dd", "target": "1 hour", "calendar": "round", "pause_when": "to_jsonb(d) = ''4''"}]') \g /dev/null
SET SESSION AUTHORIZATION hard_mallory;
INSERT INTO evil.dd (dd_id) VALUES (1);
DELETE FROM evil.log;
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM referral.recompute_clocks() \g /dev/null
SELECT referral.pause_clock(1, clock_id, 'x') FROM referral.sla_clock WHERE entity = 'dd' \g /dev/null
SELECT referral.resume_clock(1, clock_id) FROM referral.sla_clock WHERE entity = 'dd' \g /dev/null
SELECT cmp_ok((SELECT count(*) FROM evil.log), '>', 0::bigint, 'conditions were asked');
SELECT is((SELECT string_agg(DISTINCT who, ',') FROM evil.log), 'cast hard_mallory', 'with the rights of the table''s owner');

-- ---------- his code, run for a tick, has none of the rights of the session ----------
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Other');
SET SESSION AUTHORIZATION hard_mallory;
DROP TRIGGER later ON evil.ev;
CREATE FUNCTION evil.reach() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO evil.log VALUES ('orgs ' || coalesce(array_to_string(referral.visible_orgs(), ' '), '-'));
    PERFORM referral.end_clocks('tt');
    BEGIN
        PERFORM referral.nullify_clock(1, c, 'mine') FROM generate_series(1, 100) c;
    EXCEPTION WHEN OTHERS THEN
        INSERT INTO evil.log VALUES ('nullify ' || SQLSTATE);
    END;
    BEGIN
        PERFORM set_config('referral.occurred_at', '2020-01-01', true);
        UPDATE evil.dd SET phase = 'later';
    EXCEPTION WHEN OTHERS THEN
        INSERT INTO evil.log VALUES ('occurred_at ' || SQLSTATE);
    END;
    RETURN NEW;
END $$;
DELETE FROM evil.log;
CREATE TRIGGER reach BEFORE UPDATE ON evil.ev FOR EACH ROW EXECUTE FUNCTION evil.reach();
INSERT INTO evil.ev (ev_id) VALUES (4);
RESET SESSION AUTHORIZATION;
SELECT * FROM referral.tick_fire(now() + interval '1 second', 100) \g /dev/null
SELECT is(acted || ' ' || failed, '1 0', 'his trigger ran') FROM act();
SELECT is((SELECT string_agg(who, ', ' ORDER BY who) FROM evil.log), 'nullify RF019, occurred_at RF003, orgs ', 'and saw no organisation, no clock, and no past');
SELECT is((SELECT count(*) FROM referral.sla_clock WHERE entity = 'tt' AND nullified_at IS NULL), 1::bigint, 'the clocks of others'' tables go on');
SELECT is(current_setting('referral.occurred_at', true), '', 'and nothing is left of what he set');

-- ---------- what looks like a cancelled query is a failure, and ends no tick ----------
SET SESSION AUTHORIZATION hard_mallory;
CREATE OR REPLACE FUNCTION evil.reach() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.ev_id = 5 THEN RAISE EXCEPTION 'forged' USING ERRCODE = '57014'; END IF;
    IF NEW.ev_id = 6 THEN ASSERT false; END IF;
    RETURN NEW;
END $$;
INSERT INTO evil.ev (ev_id) VALUES (5), (6), (7);
RESET SESSION AUTHORIZATION;
SELECT * FROM referral.tick_fire(now() + interval '1 second', 100) \g /dev/null
SELECT is(acted || ' ' || failed, '1 2', 'a forged cancellation and a failed assertion fail') FROM act();
SELECT is((SELECT array_agg(outcome ORDER BY entity_id) FROM referral.escalation WHERE entity = 'ev' AND entity_id > 4), '{failed,failed,done}', 'and hold up nobody');
DROP TRIGGER reach ON evil.ev;
SELECT referral.retry_escalation(1, escalation_id) FROM referral.escalation WHERE entity = 'ev' AND entity_id IN (5, 6) \g /dev/null
SELECT is(acted || ' ' || failed, '2 0', 'once the cause is gone, they can be tried again') FROM act();
SELECT is((refused('SELECT referral.retry_escalation(2, 1)')).code, 'RF019', 'if there is such a one');

-- ---------- a row that is locked, tick after tick, is not given up ----------
SET SESSION AUTHORIZATION hard_mallory;
INSERT INTO evil.ev (ev_id) VALUES (8);
RESET SESSION AUTHORIZATION;
SELECT * FROM referral.tick_fire(now() + interval '1 second', 100) \g /dev/null
SELECT x.org_id, x.escalation_id FROM referral.escalation x WHERE x.entity = 'ev' AND x.entity_id = 8 \gset
SELECT referral.tick_begin(3, -1, 0) FROM generate_series(1, 1) \g /dev/null
UPDATE referral.escalation SET attempts = greatest(attempts - 1, 0) WHERE escalation_id = :escalation_id;
SELECT is((SELECT attempts FROM referral.escalation WHERE escalation_id = :escalation_id), 0, 'what was only waited for does not count');
SELECT is((SELECT b.escalation_id FROM referral.tick_begin(3, 0, :escalation_id) b), NULL, 'what was tried is not begun again');

-- ---------- functions in rules ----------
SET SESSION AUTHORIZATION hard_mallory;
CREATE FUNCTION evil.harmless(bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
SELECT is((refused($$INSERT INTO referral.rule_function (signature) VALUES ('evil.harmless(bigint)')$$)).code, 'RF003', 'belong to one who could not gain by changing them');
RESET SESSION AUTHORIZATION;
ALTER FUNCTION evil.harmless(bigint) OWNER TO CURRENT_USER;
SET SESSION AUTHORIZATION hard_mallory;
SELECT lives_ok($$INSERT INTO referral.rule_function (signature) VALUES ('evil.harmless(bigint)')$$, 'as a superuser, who took it over');
RESET SESSION AUTHORIZATION;

-- ---------- clocks of a table that was dropped ----------
DROP TABLE public.tt;
SELECT lives_ok('SELECT * FROM referral.recompute_clocks()', 'do not stop recompute_clocks()');
SELECT is((SELECT r.change FROM referral.recompute_clocks(dry_run => false, reason => 'dropped') r WHERE r.entity = 'tt'), 'nullified: its row is gone', 'which closes them');
SELECT throws_ok($$CALL referral.tick('infinity')$$, 'RF020', NULL, 'tick() needs an end');
SELECT * FROM finish();
