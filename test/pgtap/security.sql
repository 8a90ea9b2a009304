-- Who acts, for which organisations, with which rights; and what a hostile login may try.
CREATE VIEW public.of_an_organisation AS
SELECT c.oid, c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'
WHERE c.relnamespace = 'referral'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition;
-- beyond those of this file: seven for each table that has org_id, one for each reference between two of them
SELECT plan(201 + 7 * (SELECT count(*) FROM public.of_an_organisation)::integer
                + (SELECT count(*) FROM pg_constraint k JOIN public.of_an_organisation t ON t.oid = k.conrelid
                   JOIN public.of_an_organisation f ON f.oid = k.confrelid WHERE k.contype = 'f' AND cardinality(k.conkey) = 2)::integer);
\ir ../lib/refused.sql
\ir ../lib/model_rows.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';

-- Logins of this file. everything has every privilege on every table, so that only row-level security is in its way.
CREATE ROLE security_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE security_anna LOGIN IN ROLE referral_coordinator;
CREATE ROLE security_both LOGIN IN ROLE referral_coordinator;
CREATE ROLE security_pete LOGIN IN ROLE referral_coordinator;
CREATE ROLE security_bot LOGIN IN ROLE referral_coordinator;
CREATE ROLE security_app LOGIN IN ROLE referral_application, referral_coordinator;
CREATE ROLE security_pool NOLOGIN IN ROLE referral_application;
CREATE ROLE security_late LOGIN IN ROLE referral_coordinator;
CREATE ROLE security_admin LOGIN IN ROLE referral_admin;
CREATE ROLE security_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE security_everything LOGIN IN ROLE referral_coordinator, referral_admin, referral_integration;
CREATE ROLE security_nobody LOGIN;
CREATE SCHEMA security_hostile;
GRANT ALL ON SCHEMA security_hostile TO security_admin, security_jane, security_author;

INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'security_jane', 'user'), (1, 'security_bot', 'ai'), (1, 'security_admin', 'user'),
    (1, 'security_author', 'user'), (1, 'security_everything', 'user');

-- 1. The actor

SELECT is(referral.current_actor(), 'postgres', 'the actor is the login');
SET referral.actor = 'mallory';
SELECT is(referral.current_actor(), 'postgres', 'referral.actor does not count for a superuser');
SET SESSION AUTHORIZATION security_jane;
SELECT is(referral.current_actor(), 'security_jane', 'referral.actor does not count for a plain login');
SELECT is(referral.current_actor_kind(1), 'user', 'a member who is a person is a user');
SET ROLE referral_coordinator;
SELECT is(referral.current_actor(), 'security_jane', 'SET ROLE does not change the actor');
SELECT is(referral.visible_orgs(), '{1}', 'nor the organisations');
RESET ROLE;
SET SESSION AUTHORIZATION security_app;
SELECT is(referral.current_actor(), 'mallory', 'referral.actor counts for members of referral_application');
SELECT is(referral.current_actor_kind(1), 'user', 'an application that names a person acts for a person');
SET referral.actor_kind = 'system';
SELECT is(referral.current_actor_kind(1), 'system', 'it may say that a system acts');
SET referral.actor_kind = 'ai';
SELECT is(referral.current_actor_kind(1), 'ai', 'or an AI');
RESET referral.actor_kind;
SET referral.actor = 'Øyvind "the o''clock" \ Müller';
SELECT is(referral.current_actor(), 'Øyvind "the o''clock" \ Müller', 'any name is kept as it is');
SET referral.actor = '';
SELECT is(referral.current_actor(), 'security_app', 'an application that names nobody acts itself');
SELECT is(referral.current_actor_kind(1), 'system', 'and is a system');
SET referral.actor_kind = 'user';
SELECT is(referral.current_actor_kind(1), 'system', 'which it cannot talk itself out of');
SET referral.actor_kind = 'ai';
SELECT is(referral.current_actor_kind(1), 'ai', 'but may lower further');
RESET referral.actor_kind;
SET SESSION AUTHORIZATION security_bot;
SELECT is(referral.current_actor_kind(1), 'ai', 'a member registered as an AI is one');
SET referral.actor_kind = 'user';
SELECT is(referral.current_actor_kind(1), 'ai', 'the setting cannot make it a user');
SET referral.actor_kind = 'system';
SELECT is(referral.current_actor_kind(1), 'ai', 'nor a system');
RESET referral.actor_kind;
SELECT is(referral.current_actor_kind(2), 'user', 'the kind is that of the organisation asked about');
SELECT is(referral.current_actor_kind(NULL), NULL, 'null for null');
SELECT throws_ok($$SET referral.actor_kind = 'admin'$$, '22023', NULL, 'there is no other kind');
SELECT throws_ok($$SET referral.actor_kind = 'User'$$, '22023', NULL, 'kinds are written in lower case');

-- membership in referral_application counts from the moment it is given, also when it is inherited
SET SESSION AUTHORIZATION security_late;
SET referral.actor = 'dr.who';
SELECT is(referral.current_actor(), 'security_late', 'a login is itself before it becomes an application');
RESET SESSION AUTHORIZATION;
GRANT security_pool TO security_late;
SET SESSION AUTHORIZATION security_late;
SELECT is(referral.current_actor(), 'dr.who', 'granted membership, also through another role, counts at once');
RESET SESSION AUTHORIZATION;
REVOKE security_pool FROM security_late;
SET SESSION AUTHORIZATION security_late;
SELECT is(referral.current_actor(), 'security_late', 'and is gone at once when revoked');
RESET SESSION AUTHORIZATION;
RESET referral.actor;

-- 2. One organisation

SELECT is(referral.current_org(), 1::bigint, 'one organisation: superuser works for it');
SET SESSION AUTHORIZATION security_jane;
SELECT is(referral.current_org(), 1::bigint, 'one organisation: its member works for it');
SELECT is(referral.visible_orgs(), '{1}', 'one organisation: its member sees it');
SET SESSION AUTHORIZATION security_pete;
SELECT is(referral.current_org(), 1::bigint, 'one organisation: the default is it also for a login without membership');
SELECT is(referral.visible_orgs(), '{}', 'one organisation: a login without membership sees nothing');
SET SESSION AUTHORIZATION security_app;
SELECT is(referral.current_org(), 1::bigint, 'one organisation: an application need not name it');
SELECT is(referral.visible_orgs(), '{1}', 'one organisation: an application sees it without naming it');
SET referral.org_id = '2';
SELECT is(referral.current_org(), 2::bigint, 'referral.org_id names the organisation');
SELECT is(referral.visible_orgs(), '{2}', 'an application sees what it names');
SET SESSION AUTHORIZATION security_jane;
SELECT is(referral.visible_orgs(), '{}', 'a login that names a foreign organisation sees nothing');
RESET referral.org_id;
SELECT throws_ok(format('SET referral.org_id = %L', v), '22023', NULL, format('referral.org_id = %L is refused', v))
FROM unnest(ARRAY['0', '-1', 'one', '1x', '1.5', '99999999999999999999', '1;2', '1,2']) v;
RESET SESSION AUTHORIZATION;

-- 3. Several organisations

INSERT INTO referral.organization (org_id, name) VALUES (2, 'Organisation 2'), (3, 'Organisation 3');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (2, 'security_anna', 'user'), (1, 'security_both', 'user'), (2, 'security_both', 'system');

SELECT throws_ok('SELECT referral.current_org()', 'RF018', NULL, 'several organisations: a superuser must name one');
SET SESSION AUTHORIZATION security_jane;
SELECT is(referral.current_org(), 1::bigint, 'several organisations: the default is that of the login (1)');
SELECT is(referral.visible_orgs(), '{1}', 'several organisations: a login sees its own (1)');
SET referral.org_id = '2';
SELECT is(referral.visible_orgs(), '{}', 'several organisations: a login cannot name another');
SELECT is((SELECT count(*) FROM referral.organization), 0::bigint, 'and then sees nothing at all');
RESET referral.org_id;
SET SESSION AUTHORIZATION security_anna;
SELECT is(referral.current_org(), 2::bigint, 'several organisations: the default is that of the login (2)');
SELECT is(referral.visible_orgs(), '{2}', 'several organisations: a login sees its own (2)');
SET SESSION AUTHORIZATION security_both;
SELECT throws_ok('SELECT referral.current_org()', 'RF018', NULL, 'a login of two organisations has no default');
SELECT is(referral.visible_orgs(), '{1,2}', 'a login of two organisations sees both');
SELECT is(referral.current_actor_kind(1), 'user', 'a login may be a person in one organisation');
SELECT is(referral.current_actor_kind(2), 'system', 'and a system in another');
SET referral.org_id = '2';
SELECT is(referral.current_org(), 2::bigint, 'it may name one');
SELECT is(referral.visible_orgs(), '{2}', 'and then sees only that');
SET referral.org_id = '3';
SELECT is(referral.visible_orgs(), '{}', 'but none that it does not belong to');
RESET referral.org_id;
SET SESSION AUTHORIZATION security_pete;
SELECT throws_ok('SELECT referral.current_org()', 'RF018', NULL, 'a login without membership has no default');
SELECT is(referral.visible_orgs(), '{}', 'and sees nothing');
SET SESSION AUTHORIZATION security_app;
SELECT throws_ok('SELECT referral.current_org()', 'RF018', NULL, 'several organisations: an application must name one');
SELECT is(referral.visible_orgs(), '{}', 'several organisations: an application that names none sees nothing');
RESET SESSION AUTHORIZATION;
SELECT is(referral.visible_orgs(), '{}', 'a superuser belongs to no organisation');

-- membership counts from the moment it is given
INSERT INTO referral.organization_member (org_id, login) VALUES (3, 'security_pete');
SET SESSION AUTHORIZATION security_pete;
SELECT is(referral.visible_orgs(), '{3}', 'a new membership counts at once');
RESET SESSION AUTHORIZATION;
BEGIN;
DELETE FROM referral.organization_member WHERE login = 'security_pete';
SET LOCAL SESSION AUTHORIZATION security_pete;
SELECT is(referral.visible_orgs(), '{}', 'a removed membership is gone at once');
ROLLBACK;
SET SESSION AUTHORIZATION security_pete;
SELECT is(referral.visible_orgs(), '{3}', 'and is back when the removal is undone');
RESET SESSION AUTHORIZATION;

-- 4. Rows of organisations 1 and 2 in every table that has org_id; those that are not made here come from fill_rest().

CREATE FUNCTION public.fill(org bigint, from_id bigint DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r bigint; p bigint; d bigint; y bigint; s bigint; c bigint; p2 bigint; m bigint;
BEGIN
    PERFORM set_config('referral.org_id', org::text, true);
    INSERT INTO referral.site (name) VALUES ('Site of ' || org) RETURNING site_id INTO s;
    INSERT INTO referral.patient (family) VALUES ('SECRETMARKER') RETURNING patient_id INTO p;
    INSERT INTO referral.practitioner (name) VALUES ('Doctor of ' || org) RETURNING practitioner_id INTO d;
    INSERT INTO referral.payer (name) VALUES ('Payer of ' || org) RETURNING payer_id INTO y;
    INSERT INTO referral.referral (patient_id, requester_id, performer_id, payer_id, site_id, specialty, reason_text,
                                   placer_order_number)
    VALUES (p, d, d, y, s, 'cardiology', 'SECRETMARKER', 'SECRETMARKER') RETURNING referral_id INTO r;
    INSERT INTO referral.document (referral_id, type, title) VALUES (r, 'letter', 'SECRETMARKER');
    PERFORM referral.create_consumer('feed ' || r);
    INSERT INTO referral.delivery (consumer, xid_epoch, xid, journal_id, recorded_at, entity, entity_id, status, attempts)
    VALUES ('feed ' || r, 1, '1', 1, now(), 'referral', r, 'held', 0);
    INSERT INTO referral.legal_hold (reason) VALUES ('SECRETMARKER');
    INSERT INTO referral.seal (org_id, seal_id, tree_size, root_hash, frontier, tail, xid_epoch, xid, journal_id, sealed_at)
    VALUES (org, r, r, sha256(''), '', '', 1, '1', 1, now());
    INSERT INTO referral.seal_tile (org_id, level, tile, root_hash) VALUES (org, 1, r, sha256(''));
    INSERT INTO referral.journal_purge (org_id, partition, from_time, to_time, nrows, leaves, tree_size, root_hash, keep, purged_at)
    VALUES (org, 'journal_2001_01', '2001-01-01', '2001-02-01', 0, '{}', 1, sha256(''), '1 year', now());
    c := (SELECT min(x.clock_id) FROM referral.sla_clock x WHERE x.org_id = org AND x.entity = 'referral' AND x.entity_id = r);
    PERFORM referral.extend_clock(org, c, '1 day', 'SECRETMARKER');
    PERFORM referral.pause_clock(org, c, 'SECRETMARKER');
    UPDATE referral.sla_clock x SET breached_at = now() WHERE x.org_id = org AND x.clock_id = c;
    INSERT INTO referral.sla_breach_review (org_id, clock_id, cause) VALUES (org, c, 'SECRETMARKER');
    INSERT INTO referral.escalation (org_id, clock_id, cycle, level, entity_id, entity, policy, planned_at, fired_at, action, outcome)
    VALUES (org, c, 1, 1, r, 'referral', 'triage', now(), now(), 'notify', 'done');
    INSERT INTO referral.patient (family) VALUES ('SECRETMARKER') RETURNING patient_id INTO p2;
    PERFORM referral.decide_match(org, p, p2, 'defer', 'SECRETMARKER', current_date + 30);
    INSERT INTO referral.patient (family) VALUES ('SECRETMARKER') RETURNING patient_id INTO p2;
    m := referral.merge_patient(org, p, p2, 'SECRETMARKER');
    PERFORM referral.unmerge_patient(org, m, 'SECRETMARKER');
    INSERT INTO referral.merge_reattribution (merge_id, kind, column_name, status) VALUES (m, 'column', 'family', 'open');
    INSERT INTO referral.referral (patient_id) VALUES (p);
    INSERT INTO referral.absence (member, during, substitute, reason)
    VALUES ('SECRETMARKER', tstzrange(now() + coalesce(from_id, 0) * interval '1 day', now() + (coalesce(from_id, 0) + 1) * interval '1 day'), 'SECRETMARKER too', 'SECRETMARKER');
    PERFORM public.fill_rest(org, 'SECRETMARKER', from_id);
    PERFORM set_config('referral.org_id', '', true);
END $$;
SELECT public.fill(o) FROM unnest(ARRAY[1, 2]) o \g /dev/null
SELECT min(referral_id) AS ref1 FROM referral.referral WHERE org_id = 1 \gset
SELECT min(referral_id) AS ref2 FROM referral.referral WHERE org_id = 2 \gset
SELECT min(patient_id) AS pat2 FROM referral.patient WHERE org_id = 2 \gset
SELECT isnt(:ref1::bigint, :ref2::bigint, 'the two organisations'' ids differ');

GRANT ALL ON ALL TABLES IN SCHEMA referral TO security_everything;

CREATE TABLE public.per_org AS
SELECT c.oid AS relid, 'referral.' || quote_ident(c.relname) AS name,
       (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND (a.attidentity <> '' OR a.attgenerated <> '')) AS made_columns
FROM public.of_an_organisation c;
GRANT SELECT ON public.per_org TO PUBLIC;
SELECT cmp_ok((SELECT count(*)::int FROM public.per_org), '>=', 9, 'there are tables to look at');

-- A copy of one of organisation 1's rows of a table, with some columns changed.
CREATE FUNCTION public.copy_row(relation regclass, changed jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    made text[] := coalesce((SELECT array_agg(a.attname::text) FROM pg_attribute a
                             WHERE a.attrelid = relation AND a.attidentity <> '' AND a.attname <> 'org_id'), '{}');
BEGIN
    RETURN format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, (SELECT to_jsonb(x) || %3$L'
                  ' FROM %1$s x WHERE org_id = 1 LIMIT 1))', relation,
                  (SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a
                   WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
                     AND a.attgenerated = '' AND NOT a.attname = ANY (made)), changed);
END $$;

CREATE FUNCTION public.each_table() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    t record;
    n bigint;
    r record;
BEGIN
    FOR t IN SELECT * FROM public.per_org ORDER BY name LOOP
        EXECUTE format('SELECT count(*) FROM %s WHERE org_id = 1', t.name) INTO n;
        RETURN NEXT cmp_ok(n, '>', 0::bigint, t.name || ': a login of organisation 1 sees its rows');
        EXECUTE format('SELECT count(*) FROM %s WHERE org_id <> 1', t.name) INTO n;
        RETURN NEXT is(n, 0::bigint, t.name || ': and no others');
        EXECUTE format('UPDATE %s SET org_id = org_id WHERE org_id <> 1', t.name);
        GET DIAGNOSTICS n = ROW_COUNT;
        RETURN NEXT is(n, 0::bigint, t.name || ': it updates no others');
        EXECUTE format('DELETE FROM %s WHERE org_id <> 1', t.name);
        GET DIAGNOSTICS n = ROW_COUNT;
        RETURN NEXT is(n, 0::bigint, t.name || ': it deletes no others');
        SELECT * INTO r FROM public.refused(public.copy_row(t.relid, '{"org_id": 2}'));
        -- a review and a decision are looked at by a trigger first, which finds no such breach, patients or request in organisation 2
        RETURN NEXT CASE WHEN t.name IN ('referral.sla_breach_review', 'referral.match_decision', 'referral.approval_decision') THEN is(r.code, 'RF019', t.name || ': it inserts no row of organisation 2')
            -- which has been decided about
            WHEN t.name = 'referral.approval_request' THEN is(r.code, 'RF001', t.name || ': it inserts no row of organisation 2')
            ELSE is(r.code || ' ' || r.message,
                    format('42501 new row violates row-level security policy for table "%s"', split_part(t.name, '.', 2)),
                    t.name || ': it inserts no row of organisation 2') END;
        RETURN NEXT ok((SELECT f.code IN ('RF017', 'RF007', '42501') OR (f.code, t.name) = ('RF019', 'referral.sla_breach_review')
                        FROM public.refused(format('UPDATE %s SET org_id = 2 WHERE org_id = 1', t.name)) f),
                       t.name || ': it moves no row to organisation 2');
    END LOOP;
END $$;

-- the superuser sees that there is something to be seen
CREATE FUNCTION public.both_filled() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    t record;
    n bigint;
BEGIN
    FOR t IN SELECT * FROM public.per_org ORDER BY name LOOP
        EXECUTE format('SELECT count(DISTINCT org_id) FROM %s WHERE org_id IN (1, 2)', t.name) INTO n;
        RETURN NEXT is(n, 2::bigint, t.name || ' has rows of both organisations');
    END LOOP;
END $$;
SELECT public.both_filled();
SET SESSION AUTHORIZATION security_everything;
SELECT public.each_table();

-- Foreign keys within an organisation lead to rows of that organisation only; foreign_id is in organisation 2 only.
CREATE FUNCTION pg_temp.each_reference() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    k record;
BEGIN
    FOR k IN SELECT * FROM public.reference ORDER BY conname LOOP
        RETURN NEXT is(public.code(public.copy_row(k.relation, k.others || jsonb_build_object(k.referring, k.foreign_id))),
                       CASE WHEN k.relation IN ('referral.sla_breach_review'::regclass, 'referral.approval_decision'::regclass) THEN 'RF019' ELSE '23503' END,
                       format('%s: %s of another organisation cannot be referred to', k.relation, k.referring));
    END LOOP;
END $$;
RESET SESSION AUTHORIZATION;
CREATE FUNCTION public.other_id(target regclass, referred name) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    id text;
BEGIN
    EXECUTE format('SELECT min(t.%1$I)::text FROM %2$s t WHERE t.org_id = 2'
                   ' AND NOT EXISTS (SELECT FROM %2$s o WHERE o.org_id = 1 AND o.%1$I = t.%1$I)', referred, target) INTO id;
    RETURN id;
END $$;
-- ids that exist in organisation 2 only, in every table
SELECT setval(pg_get_serial_sequence(p.name, a.attname), 1000) FROM public.per_org p JOIN pg_attribute a ON a.attrelid = p.relid
WHERE a.attidentity <> '' \g /dev/null
SELECT public.fill(2, 1001) \g /dev/null
CREATE TABLE public.reference AS
SELECT c.conname::text, c.conrelid::regclass AS relation, a.attname AS referring, public.other_id(c.confrelid, f.attname) AS foreign_id,
       -- where one of several columns has a value, the others have none; and what is unique stays so
       CASE c.conrelid WHEN 'referral.coverage'::regclass THEN '{"priority": 99}' WHEN 'referral.exception_item'::regclass THEN '{"code": "another"}'
            WHEN 'referral.approval_request'::regclass THEN '{"status": "pending", "policy": "another"}'
            WHEN 'referral.inbox_message'::regclass THEN '{"dedup_key": "another"}' WHEN 'referral.queue'::regclass THEN '{"name": "another"}'
            WHEN 'referral.work_item'::regclass THEN '{"task": "another", "is_primary": false}' ELSE '{}'::jsonb END
       || coalesce((SELECT jsonb_object_agg(o.attname, NULL) FROM pg_constraint x JOIN pg_attribute o ON o.attrelid = x.conrelid AND o.attnum = ANY (x.conkey)
                    WHERE x.conrelid = c.conrelid AND x.contype = 'c' AND pg_get_constraintdef(x.oid) ~ 'num_nonnulls' AND c.conkey[2] = ANY (x.conkey)), '{}') AS others
FROM pg_constraint c
JOIN public.per_org p ON p.relid = c.conrelid
JOIN public.per_org q ON q.relid = c.confrelid
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[2]
JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[2]
WHERE c.contype = 'f' AND cardinality(c.conkey) = 2;
GRANT SELECT ON public.reference TO PUBLIC;
SELECT is((SELECT string_agg(relation || ' ' || conname, ', ') FROM public.reference WHERE foreign_id IS NULL), NULL,
          'each table that is referred to has rows of organisation 2 that are not of organisation 1');
SET SESSION AUTHORIZATION security_everything;
SELECT pg_temp.each_reference();

-- 5. Ways around row-level security

SET SESSION AUTHORIZATION security_jane;
SELECT is((SELECT count(*) FROM referral.history WHERE org_id <> 1), 0::bigint, 'the view history shows no others');
SELECT cmp_ok((SELECT count(*) FROM referral.history), '>', 0::bigint, 'but one''s own');
SELECT throws_ok(format($$SELECT * FROM referral.next_transitions('referral', 2, %s)$$, :ref2), 'RF019', NULL,
                 'next_transitions() tells nothing of others');
SELECT is(referral.has_document(2, :ref2, 'letter'), false, 'has_document() finds nothing of others');
SELECT is(referral.has_document(1, :ref1, 'letter'), true, 'but one''s own');
SELECT is(referral.step_before(1, 2, :ref2, 'received'), NULL, 'step_before() finds nothing of others');
SET row_security = off;
SELECT throws_ok('SELECT * FROM referral.patient', '42501', NULL, 'row_security = off raises an error');
RESET row_security;
SELECT throws_ok('ALTER TABLE referral.patient DISABLE ROW LEVEL SECURITY', '42501', NULL, 'only the owner disables it');
SELECT throws_ok('CREATE POLICY mine ON referral.patient USING (true)', '42501', NULL, 'only the owner adds policies');
SELECT throws_ok('SET session_replication_role = replica', '42501', NULL, 'triggers cannot be avoided');
SELECT throws_ok('ALTER TABLE referral.patient DISABLE TRIGGER journal', '42501', NULL, 'nor disabled');
WITH u AS (UPDATE referral.patient SET family = 'x' WHERE patient_id = :pat2 RETURNING 1)
SELECT is((SELECT count(*) FROM u), 0::bigint, 'an UPDATE by id finds no row of others');
SELECT throws_ok(format($$INSERT INTO referral.patient (org_id, patient_id) VALUES (2, %s)
                          ON CONFLICT (org_id, patient_id) DO UPDATE SET family = 'x'$$, :pat2),
                 '42501', NULL, 'nor does ON CONFLICT');
SELECT throws_ok(format($$MERGE INTO referral.patient p USING (VALUES (2, %s)) v (o, i) ON p.org_id = v.o AND p.patient_id = v.i
                          WHEN MATCHED THEN UPDATE SET family = 'x'
                          WHEN NOT MATCHED THEN INSERT (org_id, patient_id) VALUES (o, i)$$, :pat2),
                 '42501', NULL, 'nor does MERGE');
-- a cheap function of one's own in the condition is not shown the rows of others
CREATE TEMP TABLE seen (org_id bigint);
CREATE FUNCTION pg_temp.look(org bigint) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
    INSERT INTO pg_temp.seen VALUES (org);
    RETURN true;
END $$;
SELECT count(*) FROM referral.patient WHERE pg_temp.look(org_id) \g /dev/null
SELECT is((SELECT array_agg(DISTINCT org_id) FROM seen), '{1}', 'a function in the condition sees one''s own rows only');

-- the application switches with SET LOCAL
SET SESSION AUTHORIZATION security_app;
SELECT is((SELECT count(*) FROM referral.referral), 0::bigint, 'an application that names no organisation sees no row');
SELECT throws_ok($$INSERT INTO referral.patient (family) VALUES ('x')$$, 'RF018', NULL, 'and can insert none');
SELECT throws_ok($$INSERT INTO referral.patient (org_id, family) VALUES (1, 'x')$$, '42501', NULL,
                 'also when the row names one');
PREPARE orgs AS SELECT array_agg(DISTINCT org_id) FROM referral.referral;
PREPARE new_patient AS INSERT INTO referral.patient (family) VALUES ('switch') RETURNING org_id;
SET plan_cache_mode = force_generic_plan;
BEGIN;
SET LOCAL referral.org_id = '1';
SELECT results_eq('EXECUTE orgs', $$VALUES ('{1}'::bigint[])$$, 'SET LOCAL referral.org_id = 1 shows organisation 1');
SELECT results_eq('EXECUTE new_patient', 'VALUES (1::bigint)', 'and inserts into it');
COMMIT;
BEGIN;
SET LOCAL referral.org_id = '2';
SELECT results_eq('EXECUTE orgs', $$VALUES ('{2}'::bigint[])$$, 'the next transaction of a pooled session may be organisation 2''s');
SELECT results_eq('EXECUTE new_patient', 'VALUES (2::bigint)', 'and inserts into that');
SET LOCAL referral.org_id = '1';
SELECT results_eq('EXECUTE orgs', $$VALUES ('{1}'::bigint[])$$, 'it may switch within a transaction');
COMMIT;
SELECT results_eq('EXECUTE orgs', $$VALUES (NULL::bigint[])$$, 'after the transaction nothing is to be seen again');
RESET plan_cache_mode;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(org_id ORDER BY org_id) FROM referral.patient WHERE family = 'switch'), '{1,2}',
          'each row is in the organisation that was set');
SELECT is((SELECT array_agg(DISTINCT org_id ORDER BY org_id) FROM referral.journal
           WHERE entity = 'patient' AND db_user = 'security_app'), '{1,2}', 'and so is its journal');
-- a plan made for one role serves no other
PREPARE shared AS SELECT array_agg(DISTINCT org_id ORDER BY org_id) FROM referral.patient;
SELECT results_eq('EXECUTE shared', $$VALUES ('{1,2}'::bigint[])$$, 'a superuser sees all organisations');
SET SESSION AUTHORIZATION security_anna;
SELECT results_eq('EXECUTE shared', $$VALUES ('{2}'::bigint[])$$, 'the same prepared statement shows a login its own');
RESET SESSION AUTHORIZATION;

-- 6. In parallel

CREATE FUNCTION public.in_parallel(query text) RETURNS text LANGUAGE plpgsql
SET force_parallel_mode = on SET parallel_setup_cost = 0 SET parallel_tuple_cost = 0 SET min_parallel_table_scan_size = 0 AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE query INTO answer;
    RETURN answer;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
ALTER TABLE referral.patient SET (parallel_workers = 2);
SET SESSION AUTHORIZATION security_jane;
SELECT is(public.in_parallel('SELECT referral.current_actor()'), 'security_jane', 'current_actor() in a parallel worker');
SELECT is(public.in_parallel('SELECT referral.current_actor_kind(1)'), 'user', 'current_actor_kind() in a parallel worker');
SELECT is(public.in_parallel('SELECT referral.current_org()'), '1', 'current_org() in a parallel worker');
SELECT is(public.in_parallel('SELECT referral.visible_orgs()'), '{1}', 'visible_orgs() in a parallel worker');
RESET SESSION AUTHORIZATION;
ALTER ROLE security_nobody CONNECTION LIMIT 9;	-- so that what is known of the login is read anew
SET SESSION AUTHORIZATION security_jane;
SELECT is(public.in_parallel('SELECT array_agg(DISTINCT org_id) FROM referral.patient'), '{1}',
          'row-level security under a parallel plan');
RESET SESSION AUTHORIZATION;

-- 7. Least privilege. What each group role may do is in security_table.sql and security_function.sql.

-- nobody but the owner touches the journal
CREATE FUNCTION public.each_role_and_journal() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    r text;
BEGIN
    FOR r IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'referral\_%' ORDER BY 1 LOOP
        EXECUTE format('SET LOCAL ROLE %I', r);
        RETURN NEXT is(
            (SELECT array_agg(public.code(s)) FROM unnest(ARRAY[
                 $s$INSERT INTO referral.journal (org_id, entity_id, occurred_at, recorded_at, xid, xid_epoch, entity, action,
                    actor, actor_kind, db_user) VALUES (1, 1, now(), now(), '1', 1, 'referral', 'update', 'x', 'user', 'x')$s$,
                 'UPDATE referral.journal SET actor = ''x''', 'DELETE FROM referral.journal', 'TRUNCATE referral.journal',
                 'SELECT setval(''referral.journal_journal_id_seq'', 1)', 'SELECT referral.deploy()']) s),
            '{42501,42501,42501,42501,42501,42501}', r || ' cannot write the journal nor move its numbers nor deploy');
        RESET ROLE;
    END LOOP;
END $$;
SELECT public.each_role_and_journal();
SET SESSION AUTHORIZATION security_nobody;
SELECT is(public.code('SELECT * FROM referral.journal'), '42501', 'a login without a role sees nothing');
RESET SESSION AUTHORIZATION;

-- 8. Forging the journal

SET SESSION AUTHORIZATION security_jane;
CREATE TABLE security_hostile.fake (org_id bigint, referral_id bigint PRIMARY KEY, note text);
SELECT is(public.code($$CREATE TRIGGER forge AFTER INSERT ON security_hostile.fake FOR EACH ROW
                        EXECUTE FUNCTION referral.journal('referral', 'referral_id')$$), '42501',
          'a login cannot put the journal trigger on a table of its own');
SELECT is(public.code($$CREATE TRIGGER forge BEFORE INSERT ON security_hostile.fake FOR EACH ROW
                        EXECUTE FUNCTION referral.guard('referral', 'referral_id')$$), '42501', 'nor the guard');
SELECT is(public.code($$SELECT referral.attach('security_hostile.fake')$$), '42501', 'nor attach it');
SELECT is(public.code($$CREATE TRIGGER forge AFTER UPDATE ON referral.referral FOR EACH ROW
                        EXECUTE FUNCTION referral.journal('referral', 'referral_id')$$), '42501',
          'nor put a trigger on the canonical tables');

SET SESSION AUTHORIZATION security_admin;
CREATE TABLE security_hostile.other (org_id bigint, referral_id bigint PRIMARY KEY, note text);
CREATE TABLE security_hostile.referral (org_id bigint, referral_id bigint PRIMARY KEY, note text);
SELECT is(public.code($$SELECT referral.attach('security_hostile.other', entity => 'referral')$$), 'RF003',
          'an administrator cannot attach a table under the entity of another');
SELECT is(public.code($$SELECT referral.attach('security_hostile.referral')$$), 'RF003', 'not even one of the same name');
SELECT is(public.code($$SELECT referral.track_table('security_hostile.other', 'referral', 'referral_id')$$), 'RF003',
          'nor through track_table()');
SELECT is(public.code($$SELECT referral.attach('referral.referral')$$), 'RF003', 'nor attach a table of the owner''s');
SELECT is(public.code($$SELECT referral.detach('referral.referral')$$), 'RF003', 'nor detach it');
SELECT is(public.code($$SELECT referral.track_table('referral.patient', 'other', 'patient_id')$$), 'RF003', 'nor track it');
SELECT is(public.code($$INSERT INTO referral.entity (entity, relation, id_column)
                        VALUES ('other', 'referral.patient', 'patient_id')$$), 'RF003',
          'nor register it under another name');
SELECT is(public.code($$UPDATE referral.entity SET relation = 'security_hostile.other' WHERE entity = 'referral'$$), 'RF003',
          'nor point the entity to its own table');
SELECT is(public.code($$UPDATE referral.entity SET entity = 'gone' WHERE entity = 'referral'$$), 'RF003', 'nor rename it');
SELECT is(public.code($$DELETE FROM referral.entity WHERE entity = 'referral'$$), '42501', 'nor delete it');
CREATE TRIGGER forge AFTER INSERT OR UPDATE ON security_hostile.other FOR EACH ROW
    EXECUTE FUNCTION referral.journal('referral', 'referral_id');
SELECT is(public.code('INSERT INTO security_hostile.other VALUES (1, 1)'), 'RF012',
          'trigger arguments that name a foreign entity are refused');
DROP TRIGGER forge ON security_hostile.other;
SELECT is(referral.attach('security_hostile.other'), 'other', 'an administrator attaches a table of his own');
SELECT is(public.code($$UPDATE referral.entity SET relation = 'referral.referral' WHERE entity = 'other'$$), 'RF003',
          'but cannot point its entity to a table of the owner''s');
-- a second trigger on an attached table, after the first has been found in order
CREATE TABLE security_hostile.tracked (org_id bigint DEFAULT 1, tracked_id bigint PRIMARY KEY, note text);
SELECT referral.track_table('security_hostile.tracked', 'tracked', 'tracked_id') \g /dev/null
CREATE TRIGGER zforge AFTER INSERT ON security_hostile.tracked FOR EACH ROW
    EXECUTE FUNCTION referral.journal('referral', 'tracked_id');
SELECT isnt(public.code('INSERT INTO security_hostile.tracked VALUES (1, 999)'), 'XX000', 'two journal triggers do not break it');
BEGIN;
SAVEPOINT s;
INSERT INTO security_hostile.tracked VALUES (1, 998);
ROLLBACK TO s;
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'referral' AND db_user = 'security_admin'), 0::bigint,
          'no row under entity "referral" was forged');
-- a table that is gone leaves its history; nobody may add to it
CREATE TABLE public.gone (org_id bigint DEFAULT 1, gone_id bigint PRIMARY KEY, note text);
SELECT referral.track_table('public.gone', 'gone', 'gone_id') \g /dev/null
INSERT INTO public.gone VALUES (1, 1, 'x');
DROP TABLE public.gone;
SET SESSION AUTHORIZATION security_admin;
CREATE TABLE security_hostile.gone (org_id bigint DEFAULT 1, gone_id bigint PRIMARY KEY, note text);
SELECT is(public.code($$SELECT referral.track_table('security_hostile.gone', 'gone', 'gone_id')$$), 'RF003',
          'the entity of a table that somebody else dropped cannot be taken over');
SELECT is(public.code('SELECT referral.journal()'), '39P01', 'a trigger function cannot be called');
SELECT is(public.code('SELECT referral.append_only()'), '39P01', 'none of them');
CREATE TRIGGER wrong BEFORE INSERT ON security_hostile.gone FOR EACH ROW EXECUTE FUNCTION referral.journal('gone', 'gone_id');
SELECT is(public.code('INSERT INTO security_hostile.gone VALUES (1, 1)'), '39P01', 'journal at the wrong time');
DROP TRIGGER wrong ON security_hostile.gone;
CREATE TRIGGER wrong AFTER INSERT ON security_hostile.gone EXECUTE FUNCTION referral.journal('gone', 'gone_id');
SELECT is(public.code('INSERT INTO security_hostile.gone VALUES (1, 1)'), '39P01', 'journal for a statement');
DROP TRIGGER wrong ON security_hostile.gone;
CREATE TRIGGER wrong AFTER INSERT ON security_hostile.gone FOR EACH ROW EXECUTE FUNCTION referral.journal();
SELECT is(public.code('INSERT INTO security_hostile.gone VALUES (1, 1)'), '39P01', 'journal without arguments');
DROP TRIGGER wrong ON security_hostile.gone;
CREATE TRIGGER wrong AFTER INSERT ON security_hostile.gone FOR EACH ROW EXECUTE FUNCTION referral.guard('gone', 'gone_id');
SELECT is(public.code('INSERT INTO security_hostile.gone VALUES (1, 1)'), '39P01', 'guard at the wrong time');
DROP TRIGGER wrong ON security_hostile.gone;
RESET SESSION AUTHORIZATION;

-- 9. Running code as the owner

-- operators, functions and tables of the same names as those the engine uses
CREATE TABLE security_hostile.ran (as_role name, what text);
GRANT INSERT ON security_hostile.ran TO PUBLIC;
GRANT USAGE ON SCHEMA security_hostile TO PUBLIC;
CREATE FUNCTION security_hostile.caught(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO security_hostile.ran VALUES (current_user, what);
    RETURN true;
END $$;
CREATE FUNCTION security_hostile.eq(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$SELECT security_hostile.caught('= bigint')$$;
CREATE FUNCTION security_hostile.eq(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT security_hostile.caught('= text')$$;
CREATE FUNCTION security_hostile.eq(name, name) RETURNS boolean LANGUAGE sql AS $$SELECT security_hostile.caught('= name')$$;
CREATE FUNCTION security_hostile.eq(oid, oid) RETURNS boolean LANGUAGE sql AS $$SELECT security_hostile.caught('= oid')$$;
CREATE OPERATOR security_hostile.= (FUNCTION = security_hostile.eq, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR security_hostile.= (FUNCTION = security_hostile.eq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR security_hostile.= (FUNCTION = security_hostile.eq, LEFTARG = name, RIGHTARG = name);
CREATE OPERATOR security_hostile.= (FUNCTION = security_hostile.eq, LEFTARG = oid, RIGHTARG = oid);
CREATE FUNCTION security_hostile.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format';
CREATE FUNCTION security_hostile.now() RETURNS timestamptz LANGUAGE plpgsql
    AS $$BEGIN PERFORM security_hostile.caught('now'); RETURN pg_catalog.now(); END$$;
CREATE FUNCTION security_hostile.pg_has_role(name, oid, text) RETURNS boolean LANGUAGE sql AS $$SELECT security_hostile.caught('pg_has_role')$$;
CREATE FUNCTION security_hostile.sha256(bytea) RETURNS bytea LANGUAGE plpgsql
    AS $$BEGIN PERFORM security_hostile.caught('sha256'); RETURN $1; END$$;
CREATE FUNCTION security_hostile.has_document(bigint, bigint, text) RETURNS boolean LANGUAGE sql AS $$SELECT security_hostile.caught('has_document')$$;

SET SESSION AUTHORIZATION security_jane;
CREATE TEMP TABLE organization_member (org_id bigint, login text, actor_kind text);
INSERT INTO organization_member VALUES (2, 'security_jane', 'user'), (3, 'security_jane', 'user');
CREATE TEMP TABLE organization (org_id bigint);
CREATE TEMP TABLE entity (entity text, relation regclass, id_column name);
CREATE TEMP TABLE workflow_guard (workflow_id bigint, predicate text);
CREATE TEMP TABLE journal (LIKE referral.journal);
CREATE TEMP TABLE journal_epoch (xid_epoch int, system_identifier text);
SET search_path = security_hostile, pg_temp, pg_catalog, referral, public;
-- pgTAP uses operators too, so it comes in afterwards
SELECT referral.visible_orgs() AS orgs, referral.current_org() AS org \gset
UPDATE referral.referral SET state = 'validated' WHERE referral_id OPERATOR(pg_catalog.=) :ref1;
SELECT pg_catalog.count(*) AS options FROM referral.next_transitions('referral', 1, :ref1) \gset
SELECT referral.has_document(1, :ref1, 'letter') AS has_letter, referral.step_before(1, 1, :ref1, 'validated') AS before \gset
RESET search_path;
SELECT is(:'orgs'::text, '{1}', 'temporary tables and search_path lend no membership');
SELECT is(:'org'::text, '1', 'nor an organisation');
SELECT is((SELECT step FROM referral.referral WHERE referral_id = :ref1), 'validated', 'a move works under any search_path');
SELECT is((SELECT count(*) FROM pg_temp.journal), 0::bigint, 'it is not journaled into a temporary table');
SELECT cmp_ok(:options, '>', 0, 'next_transitions() works under any search_path');
SELECT is(:'has_letter'::text, 't', 'so does has_document()');
SELECT is(:'before'::text, 'received', 'so does step_before()');
SET SESSION AUTHORIZATION security_admin;
CREATE TABLE security_hostile.simple (simple_id bigint PRIMARY KEY, patient_id bigint, specialty text, authorization_required boolean,
    authorization_number text, scheduled_for timestamptz, referral_id bigint, expires_on date);
SET search_path = security_hostile, pg_catalog, public;
SELECT referral.attach('security_hostile.simple', 'standard') AS attached \gset
INSERT INTO security_hostile.simple (org_id, simple_id) VALUES (1, 1);
SELECT referral.detach('security_hostile.simple') \g /dev/null
SELECT referral.attach('security_hostile.simple') \g /dev/null
RESET search_path;
SELECT is(:'attached'::text, 'simple', 'attach() works under any search_path');
SELECT is((SELECT step FROM security_hostile.simple), 'received', 'and so does what it attached');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(DISTINCT as_role || ': ' || what) FROM security_hostile.ran), NULL,
          'nobody''s operators and functions were called');

-- types: a column's type may bring code of its own, in the CHECK of a domain
CREATE TABLE public.target (target_id bigint PRIMARY KEY, tags integer[], span int4range);
SET referral.org_id = '1';
SELECT referral.attach('public.target') \g /dev/null
RESET referral.org_id;
DO $$
DECLARE
    v bigint;
    w bigint;
    t bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('workflow/target/tags', 'workflow');
    INSERT INTO referral.rule_version (rule_set_id, is_seed)
    SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'workflow/target/tags' RETURNING rule_version_id INTO v;
    INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (v, 'target', 'tags') RETURNING workflow_id INTO w;
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, sort)
    VALUES (w, 'one', 'received', true, 1), (w, 'two', 'validated', false, 2);
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
    VALUES (w, 'go', 'one', 'two') RETURNING transition_id INTO t;
    INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message)
    VALUES (w, t, 'tags @> ''{1}'' AND span @> ''[1,2)''', 'needs tag 1');
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
END $$;
SET SESSION AUTHORIZATION security_admin;
CREATE FUNCTION security_hostile.check_code(integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO security_hostile.ran VALUES (current_user, 'domain');
    RETURN true;
END $$;
CREATE DOMAIN security_hostile.evil AS integer CHECK (security_hostile.check_code(VALUE));
CREATE TYPE security_hostile.evil_range AS RANGE (SUBTYPE = security_hostile.evil);
CREATE TABLE security_hostile.trap (trap_id bigint PRIMARY KEY, tags security_hostile.evil[], span security_hostile.evil_range);
SELECT lives_ok($$SELECT referral.attach('security_hostile.trap', 'tags')$$, 'a table whose columns are domains can be attached');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(DISTINCT as_role) FROM security_hostile.ran WHERE as_role <> 'security_admin'), NULL,
          'attach() does not run the domain''s CHECK with the owner''s rights');
TRUNCATE security_hostile.ran;
SELECT referral.check_rule('security_hostile.trap', 'tags @> ''{1}'' AND span @> ''[1,2)''') \g /dev/null
SELECT is((SELECT array_agg(DISTINCT as_role) FROM security_hostile.ran WHERE as_role <> 'security_admin'), NULL,
          'nor does check_rule() with the rights of who checks');

-- rules: no way from an expression to code that nobody registered
SELECT is(public.code(format($$SELECT referral.check_rule('referral.referral', %L)$$, e)), 'RF011',
          'a rule may not be: ' || regexp_replace(e, '\d+(?=::oid)', 'oid of a type'))
FROM unnest(ARRAY[
    format('domain_in(''1''::cstring, %s::oid, -1) IS NOT NULL', 'security_hostile.evil'::regtype::oid),
    format('array_in(''{1}''::cstring, %s::oid, -1) IS NOT NULL', 'security_hostile.evil'::regtype::oid),
    format('range_in(''[1,2)''::cstring, %s::oid, -1) IS NOT NULL', 'security_hostile.evil_range'::regtype::oid),
    format('record_in(''(1)''::cstring, %s::oid, -1) IS NOT NULL', 'security_hostile.trap'::regtype::oid),
    format('fmgr_sql_validator(%s::oid) IS NULL', 'security_hostile.check_code'::regproc::oid),
    '1::security_hostile.evil > 0', '''{1}''::security_hostile.evil[] IS NOT NULL',
    'security_hostile.caught(''x'')', 'query_to_xml(''SELECT 1'', true, true, '''') IS NOT NULL',
    'set_config(''a.b'', ''1'', true) IS NOT NULL', 'pg_sleep(0) IS NULL', 'nextval(''referral.journal_journal_id_seq'') > 0',
    'pg_read_file(''PG_VERSION'') IS NOT NULL', 'lo_get(1) IS NOT NULL', 'specialty OPERATOR(security_hostile.=) ''x''',
    '(SELECT true)', 'count(*) > 0', '$1', 'true; DROP TABLE referral.patient', 'true FROM referral.patient']) e;

-- 10. SET ROLE

SET SESSION AUTHORIZATION security_jane;
SELECT is(public.code('SET ROLE referral_admin'), '42501', 'a login cannot become a role it was not granted');
SELECT is(public.code('SET ROLE postgres'), '42501', 'nor the owner');
SELECT is(public.code($$SELECT referral.rollback_rule_set('workflow/standard')$$), '42501', 'nor roll rules back');
SELECT is(public.code($$SELECT referral.copy_rule_version(1, 'x')$$), '42501', 'nor write rules');
SELECT is(public.code($$SELECT referral.adopt_workflow('standard', 'referral')$$), '42501', 'nor adopt a workflow');
SELECT is(public.code(format($$SELECT referral.migrate_workflow('referral', 1, %s, 2, 'x')$$, :ref1)), '42501',
          'nor move a row to another workflow');
SET SESSION AUTHORIZATION security_everything;
CREATE FUNCTION pg_temp.under(role name, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    RETURN public.code(statement);
END $$;
BEGIN;
SELECT is(pg_temp.under('referral_integration', 'UPDATE referral.region SET title = ''x'' WHERE org_id = 1'), '42501',
          'SET ROLE leaves only the rights of the role');
SELECT is(referral.current_actor(), 'security_everything', 'but the actor stays');
ROLLBACK;
BEGIN;
SELECT is(pg_temp.under('referral_coordinator', $$SELECT referral.attach('security_hostile.other')$$), '42501',
          'attach() is refused under a lesser role');
ROLLBACK;
SET SESSION AUTHORIZATION security_admin;
SELECT is(public.code($$SELECT referral.adopt_workflow('standard', 'referral')$$), 'RF003',
          'a SECURITY DEFINER function serves the owner of the table only');
SELECT is(public.code($$SELECT referral.adopt_workflow('standard', 'patient')$$), 'RF003',
          'also where the entity has no workflow');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION security_author;
SELECT lives_ok($$SELECT referral.copy_rule_version(2, 'a new draft')$$, 'a rule author copies a version');
RESET SESSION AUTHORIZATION;

-- 11. What refusals tell

SELECT set_config('security.step', (SELECT step FROM referral.referral WHERE org_id = 1 AND referral_id = :ref1), false) \g /dev/null
SELECT is(current_setting('security.step'), 'validated', 'the referral stands where the refusals below start');
CREATE TABLE public.refusal (code text, statement text, settings text DEFAULT '');
INSERT INTO public.refusal (code, statement, settings) VALUES
    ('RF001', 'UPDATE referral.referral SET state = ''closed_loop'' WHERE org_id = 1', ''),
    ('RF001', 'UPDATE referral.referral SET step = ''SECRET'' WHERE org_id = 1', ''),
    ('RF002', 'UPDATE referral.referral SET state = ''expired'' WHERE org_id = 1', ''),
    ('RF003', 'UPDATE referral.referral SET state = ''entered_in_error'' WHERE org_id = 1', ''),
    ('RF003', 'UPDATE referral.referral SET specialty = ''x'' WHERE org_id = 1', 'referral.occurred_at=2020-01-01'),
    ('RF003', 'UPDATE referral.referral SET workflow_id = 2 WHERE org_id = 1', ''),
    ('RF005', 'UPDATE referral.referral SET state = ''on_hold'' WHERE org_id = 1', ''),
    ('RF006', 'UPDATE referral.referral SET version = 99 WHERE org_id = 1', ''),
    ('RF017', 'UPDATE referral.referral SET referral_id = 99 WHERE org_id = 1', ''),
    ('RF012', 'INSERT INTO referral.referral (reason_text, workflow_id) VALUES (''SECRETMARKER'', 99)', ''),
    ('RF001', 'INSERT INTO referral.referral (reason_text, state) VALUES (''SECRETMARKER'', ''scheduled'')', ''),
    ('42501', 'INSERT INTO referral.patient (org_id, family) VALUES (2, ''SECRETMARKER'')', ''),
    ('23514', 'INSERT INTO referral.patient (family, sex) VALUES (''SECRETMARKER'', ''x'')', ''),
    ('23502', 'INSERT INTO referral.document (referral_id, type, title) VALUES (1, NULL, ''SECRETMARKER'')', '');
CREATE FUNCTION public.tells(statement text, settings text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    IF settings <> '' THEN
        PERFORM set_config(split_part(settings, '=', 1), split_part(settings, '=', 2), true);
    END IF;
    SELECT * INTO r FROM public.refused(statement);
    IF settings <> '' THEN
        PERFORM set_config(split_part(settings, '=', 1), '', true);
    END IF;
    -- the statement itself is in the context; whoever sent it knows it
    RETURN r.code || CASE WHEN replace(concat_ws(' ', r.message, r.detail, r.hint, r.context), statement, '') LIKE '%SECRETMARKER%'
                          THEN ': ' || concat_ws(' | ', r.message, r.detail, r.hint, r.context) ELSE '' END;
END $$;
GRANT SELECT ON public.refusal TO PUBLIC;
SET SESSION AUTHORIZATION security_jane;
SELECT is(public.tells(statement, settings), code, 'refused without a word of the row: ' || statement) FROM public.refusal;
RESET SESSION AUTHORIZATION;
ALTER TABLE referral.journal ADD CONSTRAINT no_pediatrics CHECK (NOT changes ? 'specialty') NOT VALID;
SET SESSION AUTHORIZATION security_jane;
SELECT is(public.tells('UPDATE referral.referral SET specialty = ''pediatrics'', reason_text = NULL WHERE org_id = 1', ''),
          '23514', 'not even when the journal cannot be written');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
