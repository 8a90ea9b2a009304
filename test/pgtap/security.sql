-- Who acts, for which organisations, with which rights; and what a hostile login may try.
CREATE VIEW public.of_an_organisation AS
SELECT c.oid, c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'
WHERE c.relnamespace = 'referral'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition;
-- beyond those of this file: seven for each table that has org_id, one for each reference between two of them
SELECT plan(210 + 7 * (SELECT count(*) FROM public.of_an_organisation)::integer
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
        -- a review and a decision are looked at by a trigger first, which finds no such breach or patients in organisation 2
        RETURN NEXT CASE WHEN t.name IN ('referral.sla_breach_review', 'referral.match_decision') THEN is(r.code, 'RF019', t.name || ': it inserts no row of organisation 2')
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
                       CASE WHEN k.relation = 'referral.sla_breach_review'::regclass THEN 'RF019' ELSE '23503' END,
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
            WHEN 'referral.inbox_message'::regclass THEN '{"dedup_key": "another"}' ELSE '{}'::jsonb END
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

-- 7. Least privilege. What each group role may do, in full; a table that is not here is open to nobody.

CREATE TABLE public.expected (relation text, privilege text, roles text);
INSERT INTO public.expected VALUES
    ('entity', 'SELECT', 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'),
    ('entity', 'INSERT', 'admin'),
    ('entity', 'UPDATE', 'admin'),
    ('rule_set', 'SELECT', 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'),
    ('rule_set', 'INSERT', 'rule_author'),
    ('rule_set.owner', 'UPDATE', 'rule_author'),
    ('rule_set.note', 'UPDATE', 'rule_author'),
    ('rule_version', 'SELECT', 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'),
    ('rule_version', 'INSERT', 'rule_author'),
    ('rule_version', 'UPDATE', 'rule_author'),
    ('rule_version', 'DELETE', 'rule_author'),
    ('rule_version.status', 'UPDATE', 'rule_approver'),
    ('rule_function', 'SELECT', 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'),
    ('rule_function', 'INSERT', 'admin'),
    ('rule_function', 'UPDATE', 'admin'),
    ('rule_function', 'DELETE', 'admin'),
    ('journal', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('history', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('journal_epoch', 'SELECT', 'admin auditor'),
    ('journal_column', 'SELECT', 'admin auditor'), ('journal_column', 'INSERT', 'admin'), ('journal_column', 'UPDATE', 'admin'),
    ('journal_column', 'DELETE', 'admin'),
    ('journal_lag', 'SELECT', 'admin auditor integration'), ('journal_partition', 'SELECT', 'admin auditor integration'),
    ('seal', 'SELECT', 'admin auditor integration'), ('seal_tile', 'SELECT', 'admin auditor'),
    ('journal_purge', 'SELECT', 'admin auditor'), ('legal_hold', 'SELECT', 'admin auditor'),
    ('legal_hold', 'INSERT', 'admin'), ('legal_hold', 'UPDATE', 'admin'),
    ('audit_log', 'SELECT', 'admin auditor'),
    ('heartbeat', 'SELECT', 'admin auditor analyst'), ('job_status', 'SELECT', 'admin auditor analyst'),
    ('event_log', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('event_type', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('event_type', 'INSERT', 'admin'), ('event_type', 'UPDATE', 'admin'), ('event_type', 'DELETE', 'admin'),
    ('event', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('outbox', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('consumer', 'SELECT', 'admin auditor integration'), ('consumer', 'INSERT', 'admin integration'),
    ('consumer', 'UPDATE', 'admin'), ('consumer', 'DELETE', 'admin integration'),
    ('consumer_position', 'SELECT', 'admin auditor integration'), ('consumer_position', 'INSERT', 'admin integration'),
    ('consumer_position', 'UPDATE', 'admin integration'),
    ('delivery', 'SELECT', 'admin auditor integration'), ('delivery', 'INSERT', 'admin integration'),
    ('delivery', 'UPDATE', 'admin integration'), ('delivery', 'DELETE', 'admin integration'),
    ('dead_letter', 'SELECT', 'admin auditor integration'), ('consumer_status', 'SELECT', 'admin auditor integration'),
    ('calendar_horizon', 'SELECT', 'admin coordinator rule_author rule_approver auditor analyst'),
    ('sla_clock', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('sla_pause', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('sla_pause.org_id', 'SELECT', 'analyst'), ('sla_pause.pause_id', 'SELECT', 'analyst'), ('sla_pause.clock_id', 'SELECT', 'analyst'),
    ('sla_pause.pause_kind', 'SELECT', 'analyst'), ('sla_pause.reason', 'SELECT', 'analyst'), ('sla_pause.paused_at', 'SELECT', 'analyst'),
    ('sla_pause.resumed_at', 'SELECT', 'analyst'), ('sla_pause.counted', 'SELECT', 'analyst'), ('sla_pause.version', 'SELECT', 'analyst'),
    ('sla_adjustment', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('escalation', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('escalation.acknowledged_by', 'UPDATE', 'admin coordinator clinician scheduler authorizer approver'),
    ('escalation.note', 'UPDATE', 'admin coordinator clinician scheduler authorizer approver'),
    ('escalation.version', 'UPDATE', 'admin coordinator clinician scheduler authorizer approver'),
    ('sla_breach_review', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('sla_breach_review.org_id', 'INSERT', 'admin coordinator'), ('sla_breach_review.clock_id', 'INSERT', 'admin coordinator'),
    ('sla_breach_review.cause', 'INSERT', 'admin coordinator'), ('sla_breach_review.corrective_action', 'INSERT', 'admin coordinator'),
    ('sla_breach_review.cause', 'UPDATE', 'admin coordinator'), ('sla_breach_review.corrective_action', 'UPDATE', 'admin coordinator'),
    ('sla_breach_review.version', 'UPDATE', 'admin coordinator'),
    ('organization', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('organization', 'UPDATE', 'admin'),
    ('organization_member', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'),
    ('organization_member', 'INSERT', 'admin'),
    ('organization_member', 'UPDATE', 'admin'),
    ('organization_member', 'DELETE', 'admin'),
    ('patient', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('patient', 'INSERT', 'coordinator clinician integration'),
    ('patient', 'UPDATE', 'coordinator clinician integration'),
    ('referral', 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'),
    ('referral', 'INSERT', 'coordinator clinician integration'),
    ('referral', 'UPDATE', 'admin coordinator clinician scheduler authorizer integration');
-- the model: everybody who works with referrals reads it; what tells of no patient analysts may read, too
INSERT INTO public.expected
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['appointment', 'communication', 'consult_report', 'contact_attempt', 'coverage', 'document', 'encounter', 'identifier', 'practitioner',
    'practitioner_role', 'prior_authorization', 'prior_authorization_item', 'referral_code', 'referral_relation']) t
UNION ALL
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'
FROM unnest(ARRAY['cost_centre', 'healthcare_service', 'network_contract', 'payer', 'plan', 'provider_organization', 'region', 'service_line', 'site',
    'specialty']) t
UNION ALL
SELECT t, p, r
FROM (VALUES ('admin', ARRAY['cost_centre', 'network_contract', 'region', 'service_line', 'specialty']),
             ('admin integration', ARRAY['healthcare_service', 'payer', 'plan', 'site']),
             ('admin coordinator clinician integration', ARRAY['practitioner', 'practitioner_role', 'provider_organization']),
             ('coordinator clinician integration', ARRAY['consult_report', 'encounter', 'identifier', 'referral_code', 'referral_relation']),
             ('coordinator clinician authorizer integration', ARRAY['coverage']),
             ('coordinator clinician scheduler integration', ARRAY['appointment']),
             ('coordinator clinician scheduler authorizer integration', ARRAY['communication', 'contact_attempt', 'document']),
             ('coordinator clinician authorizer integration', ARRAY['prior_authorization', 'prior_authorization_item'])) w (r, tables),
     unnest(tables) t, unnest(ARRAY['INSERT', 'UPDATE']) p;
INSERT INTO public.expected
SELECT t, p, CASE p WHEN 'SELECT' THEN 'admin coordinator clinician scheduler authorizer approver rule_author rule_approver auditor analyst integration application'
                    ELSE 'rule_author' END
FROM unnest(ARRAY['workflow', 'workflow_step', 'workflow_transition', 'workflow_guard', 'reason_code', 'stall_threshold', 'business_calendar',
                  'sla_policy', 'sla_level', 'merge_rule', 'match_model', 'match_level', 'match_nickname', 'match_placeholder',
                  'source_mapping', 'source_mapping_field', 'code_translation', 'required_field_rule', 'document_requirement', 'outreach_template',
                  'confidence_threshold', 'source_of_record']) t,
     unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p;
INSERT INTO public.expected
SELECT v, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration'
FROM unnest(ARRAY['sla_status', 'sla_adherence', 'breach', 'open_escalation', 'referral_age', 'aging']) v
UNION ALL
SELECT v, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['breach_risk', 'stalled_referral']) v;
INSERT INTO public.expected
SELECT v, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['match_candidate', 'match_decision', 'duplicate_review', 'patient_merge', 'merge_reattribution', 'patient_link', 'patient_golden']) v
UNION ALL
SELECT 'match_decision.' || c, 'INSERT', 'admin coordinator'
FROM unnest(ARRAY['org_id', 'patient_id', 'duplicate_id', 'decision', 'defer_until', 'reason']) c
UNION ALL
SELECT 'match_queue', 'SELECT', 'admin auditor';
INSERT INTO public.expected
SELECT t, p, CASE p WHEN 'SELECT' THEN 'admin rule_author rule_approver auditor' ELSE 'rule_author' END
FROM unnest(ARRAY['match_fit', 'match_fit_round']) t, unnest(ARRAY['SELECT', 'INSERT', 'DELETE']) p;
-- what comes in, what stands in its way, what models read of it
INSERT INTO public.expected
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor integration'
FROM unnest(ARRAY['data_quality_finding', 'document_classification', 'eligibility_check', 'eligibility_to_check', 'exception_item', 'exception_queue', 'extraction',
    'extraction_review_queue', 'inbox_message', 'inbox_outcome', 'missing_document', 'outreach_to_send', 'referral_case', 'source_system']) t
UNION ALL
SELECT t, 'SELECT', 'admin coordinator clinician scheduler authorizer approver auditor analyst integration' FROM unnest(ARRAY['first_pass', 'validation_result', 'value_set']) t
UNION ALL
SELECT t || '.' || c, p, r
FROM (VALUES ('inbox_message', 'INSERT', 'coordinator clinician integration', '{channel,content_type,dedup_key,org_id,payload,payload_hash,source}'::text[]),
             ('inbox_message', 'UPDATE', 'coordinator clinician integration', '{attempts,control_id,error,error_code,error_position,last_repeat_at,mapping_version,message_type,outcome,patient_id,patient_match,processed_at,referral_id,repeat_count,results,status}'),
             ('data_quality_finding', 'INSERT', 'coordinator clinician integration', '{attribute,code,detail,message_id,org_id,patient_id,position,referral_id,severity,value}'),
             ('data_quality_finding', 'UPDATE', 'coordinator clinician integration', '{resolved_at}'),
             ('document_classification', 'INSERT', 'coordinator integration', '{confidence,document_id,document_type,model,model_version,org_id,produced_at}'),
             ('document_classification', 'SELECT', 'analyst', '{confidence,document_classification_id,document_id,document_type,model,model_version,org_id,produced_at,reason,reviewed_at,reviewed_type,rule_version,status,threshold}'),
             ('document_classification', 'UPDATE', 'admin authorizer clinician coordinator', '{reviewed_type,status,version}'),
             ('extraction', 'INSERT', 'coordinator integration', '{confidence,document_id,field,model,model_version,org_id,produced_at,value}'),
             ('validation_result', 'INSERT', 'authorizer clinician coordinator integration scheduler', '{findings,invalid,is_first_pass,missing,org_id,passed,referral_id,rule_versions,warnings}'),
             ('extraction', 'SELECT', 'analyst', '{confidence,document_id,extraction_id,field,model,model_version,org_id,produced_at,reason,reviewed_at,rule_version,status,threshold}'),
             ('extraction', 'UPDATE', 'admin authorizer clinician coordinator', '{reviewed_value,status,version}'),
             ('eligibility_check', 'SELECT', 'analyst', '{answered_at,attempt,coverage_id,covered,eligibility_check_id,mode,org_id,pa_needed,referral_id,requested_at,status,version}')) g (t, p, r, columns),
     unnest(columns) c;
INSERT INTO public.expected VALUES
    ('eligibility_check', 'INSERT', 'authorizer coordinator integration'), ('eligibility_check', 'UPDATE', 'authorizer coordinator integration'),
    ('exception_item', 'INSERT', 'admin authorizer clinician coordinator integration scheduler'), ('exception_item', 'UPDATE', 'admin authorizer clinician coordinator integration scheduler'),
    ('intake_latest', 'SELECT', 'admin auditor clinician coordinator integration'), ('intake_latest', 'INSERT', 'clinician coordinator integration'), ('intake_latest', 'UPDATE', 'clinician coordinator integration'),
    ('source_system', 'INSERT', 'admin'), ('source_system', 'UPDATE', 'admin'),
    ('value_set', 'INSERT', 'admin integration'), ('value_set', 'UPDATE', 'admin integration'), ('rejected_write', 'SELECT', 'admin auditor clinician coordinator integration'),
    ('silent_pass', 'SELECT', 'admin auditor'), ('extraction_accuracy', 'SELECT', 'admin analyst auditor authorizer clinician coordinator integration');
-- what an analyst sees of a referral: the operation, not the patient
INSERT INTO public.expected
SELECT 'referral.' || c, 'SELECT', 'analyst'
FROM unnest(ARRAY['org_id', 'referral_id', 'workflow_id', 'version', 'entered_at', 'state', 'urgency', 'step', 'referral_type',
    'exchange_role', 'payer_id', 'site_id', 'region', 'specialty', 'service_line', 'intent', 'channel', 'authored_at',
    'received_at', 'authorization_required', 'scheduled_for', 'expires_on', 'plan_id', 'healthcare_service_id', 'requesting_organization_id',
    'performing_organization_id', 'network_status', 'decision', 'decision_at', 'expected_value', 'source']) c
UNION ALL
SELECT 'appointment.' || c, 'SELECT', 'analyst'
FROM unnest(ARRAY['org_id', 'appointment_id', 'version', 'entered_at', 'state', 'step', 'status_reason', 'referral_id', 'healthcare_service_id',
    'site_id', 'starts_at', 'ends_at', 'service_code_system', 'service_code', 'source']) c;

CREATE VIEW public.granted AS
SELECT c.relname::text AS relation, x.privilege_type AS privilege,
       coalesce(g.rolname::text, 'PUBLIC') AS role, x.is_grantable
FROM pg_class c CROSS JOIN aclexplode(c.relacl) x LEFT JOIN pg_roles g ON g.oid = x.grantee
WHERE c.relnamespace = 'referral'::regnamespace AND x.grantee <> c.relowner
  AND coalesce(g.rolname::text, '') <> 'security_everything'
UNION ALL
SELECT c.relname || '.' || a.attname, x.privilege_type, coalesce(g.rolname::text, 'PUBLIC'), x.is_grantable
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid CROSS JOIN aclexplode(a.attacl) x
LEFT JOIN pg_roles g ON g.oid = x.grantee
WHERE c.relnamespace = 'referral'::regnamespace AND x.grantee <> c.relowner
  AND coalesce(g.rolname::text, '') <> 'security_everything';

SELECT is(string_agg(g.relation || ': ' || g.role || ' ' || g.privilege, ', ' ORDER BY g.relation, g.role, g.privilege),
          NULL, 'no privilege beyond the expected ones')
FROM public.granted g
WHERE NOT EXISTS (SELECT FROM public.expected e WHERE e.relation = g.relation AND e.privilege = g.privilege
                  AND g.role = ANY (SELECT 'referral_' || r FROM unnest(string_to_array(e.roles, ' ')) r));
SELECT is(string_agg(format('%s: referral_%s %s', e.relation, r, e.privilege), ', ' ORDER BY e.relation, r, e.privilege),
          NULL, 'and none of them is missing')
FROM public.expected e CROSS JOIN unnest(string_to_array(e.roles, ' ')) r
WHERE NOT EXISTS (SELECT FROM public.granted g WHERE g.relation = e.relation AND g.privilege = e.privilege
                  AND g.role = 'referral_' || r);
SELECT is((SELECT count(*) FROM public.granted WHERE is_grantable), 0::bigint, 'no privilege can be passed on');
SELECT results_eq(
    $$SELECT rolname::text COLLATE "C" FROM pg_roles WHERE rolname LIKE 'referral\_%' ORDER BY 1$$,
    $$SELECT 'referral_' || r COLLATE "C" FROM unnest(ARRAY['admin', 'analyst', 'application', 'approver', 'auditor', 'authorizer',
      'clinician', 'coordinator', 'integration', 'rule_approver', 'rule_author', 'scheduler']) r$$,
    'the twelve group roles');
SELECT is((SELECT array_agg(rolname::text) FROM pg_roles WHERE rolname LIKE 'referral\_%'
           AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolcanlogin OR rolreplication OR rolbypassrls)), NULL,
          'group roles cannot log in and have no attribute');
SELECT is((SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname LIKE 'referral\_%'),
          0::bigint, 'no group role is a member of another');
SELECT results_eq(
    $$SELECT coalesce(g.rolname::text, 'PUBLIC') COLLATE "C", x.privilege_type
      FROM pg_namespace n CROSS JOIN aclexplode(n.nspacl) x LEFT JOIN pg_roles g ON g.oid = x.grantee
      WHERE n.nspname = 'referral' AND x.grantee <> n.nspowner ORDER BY 1$$,
    $$SELECT rolname::text COLLATE "C", 'USAGE' FROM pg_roles WHERE rolname LIKE 'referral\_%' ORDER BY 1$$,
    'group roles may use schema referral, and create nothing in it');

CREATE TABLE public.expected_function (function text, roles text);
INSERT INTO public.expected_function VALUES
    ('merkle_leaf_hash', 'PUBLIC'), ('merkle_node_hash', 'PUBLIC'), ('merkle_tree_root', 'PUBLIC'),
    ('merkle_inclusion_proof', 'PUBLIC'), ('merkle_consistency_proof', 'PUBLIC'), ('verify_inclusion', 'PUBLIC'),
    ('verify_consistency', 'PUBLIC'), ('journal_leaf', 'PUBLIC'), ('export_checkpoint', 'PUBLIC'), ('rule_matches', 'PUBLIC'),
    ('journal_tells', 'PUBLIC'), ('journal_replay', 'PUBLIC'), ('case_as_of', 'PUBLIC'), ('describe_change', 'PUBLIC'),
    ('event_id', 'PUBLIC'), ('event_org', 'PUBLIC'), ('event_journal_id', 'PUBLIC'), ('event_of', 'PUBLIC'),
    ('event_json', 'referral_admin referral_integration'), ('create_consumer', 'referral_admin referral_integration'),
    ('drop_consumer', 'referral_admin referral_integration'), ('lock_consumer', 'referral_admin referral_integration'),
    ('free_next', 'referral_admin referral_integration'), ('events', 'referral_admin referral_integration'),
    ('ack', 'referral_admin referral_integration'), ('nack', 'referral_admin referral_integration'),
    ('redrive', 'referral_admin referral_integration'), ('discard', 'referral_admin referral_integration'),
    ('journal_bounds', 'referral_admin referral_auditor referral_integration'),
    ('journal_lag_of', 'referral_admin referral_auditor referral_integration'),
    ('journal_horizon', 'referral_admin referral_auditor referral_integration'),
    ('verify_coverage', 'referral_admin referral_auditor'), ('tracked_row', 'referral_admin referral_auditor'), ('journal_differences', 'referral_admin referral_auditor'),
    ('seal', 'referral_admin'), ('evidence_pack', 'referral_admin referral_auditor'),
    ('verify_journal', 'referral_admin referral_auditor referral_integration'),
    ('inclusion_proof', 'referral_admin referral_auditor referral_integration'),
    ('consistency_proof', 'referral_admin referral_auditor referral_integration'),
    ('check_rule', 'referral_admin referral_auditor referral_integration referral_rule_approver referral_rule_author'), ('current_actor', 'PUBLIC'), ('current_actor_kind', 'PUBLIC'), ('current_org', 'PUBLIC'),
    ('visible_orgs', 'PUBLIC'), ('next_transitions', 'PUBLIC'), ('step_before', 'PUBLIC'), ('has_document', 'PUBLIC'), ('harmless_error', 'PUBLIC'), ('has_clocks', 'PUBLIC'), ('acting_login', 'PUBLIC'),
    ('broken_rules', 'referral_admin referral_auditor referral_rule_approver referral_rule_author'),
    ('rule_expressions', 'referral_admin referral_auditor referral_rule_approver referral_rule_author'), ('matching_rules', 'PUBLIC'), ('check_attachable', 'PUBLIC'), ('check_identifies', 'PUBLIC'), ('check_rule_version', 'PUBLIC'),
    ('rule_checksum', 'PUBLIC'), ('deployed_objects', 'PUBLIC'), ('model_parts', 'PUBLIC'),
    ('attach', 'referral_admin'), ('detach', 'referral_admin'), ('track_table', 'referral_admin'), ('lay_trigger', 'referral_admin'),
    ('adopt_workflow', 'referral_admin'), ('secure_table', 'referral_admin'), ('guard', 'referral_admin'),
    ('journal', 'referral_admin'), ('append_only', 'referral_admin'), ('migrate_workflow', 'referral_admin'),
    ('pause_clock', 'referral_admin referral_authorizer referral_coordinator'), ('resume_clock', 'referral_admin referral_authorizer referral_coordinator'),
    ('retry_escalation', 'referral_admin referral_authorizer referral_coordinator'), ('extend_clock', 'referral_admin referral_authorizer referral_coordinator'), ('nullify_clock', 'referral_admin referral_authorizer referral_coordinator'),
    ('recompute_clocks', 'referral_admin'), 
    ('sla_clock', 'referral_admin'), ('end_clocks', 'referral_admin'),
    ('heartbeat_start', 'referral_admin'), ('heartbeat_end', 'referral_admin'), ('job_plan', 'referral_admin'), ('cron_field', 'PUBLIC'),
    ('cron_next', 'PUBLIC'), ('cron_facts', 'referral_admin'), ('cron_jobs', 'referral_admin'), ('check_cron', 'referral_admin'),
    ('schedule_jobs', 'referral_admin'), ('unschedule_jobs', 'referral_admin'),
    ('job_status_of', 'referral_admin referral_analyst referral_auditor'),
    ('as_of', 'PUBLIC'), ('clock_elapsed', 'PUBLIC'), ('clock_reaches', 'PUBLIC'), ('aging_bucket', 'PUBLIC'), ('held_at', 'PUBLIC'), ('last_event', 'PUBLIC'),
    ('copy_rule_version', 'referral_rule_author'), ('copy_workflow_rules', 'referral_rule_author'),
    ('rollback_rule_set', 'referral_rule_approver');
-- calendars, and what is asked about them and about rules
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['calendar_in', 'calendar_out', 'calendar_recv', 'calendar_send', 'always_open', 'due_at', 'due_at_next_open',
    'business_target', 'business_elapsed', 'is_open', 'next_open', 'next_close', 'prev_close', 'open_intervals', 'business_days', 'add_business_days',
    'is_business_day', 'fingerprint', 'calendar_and', 'calendar_minus', 'calendar_eq', 'calendar_ne', 'calendar_lt', 'calendar_le', 'calendar_gt',
    'calendar_ge', 'calendar_cmp', 'calendar_hash', 'calendar_hash_extended', 'us_federal_holidays', 'calendar_of', 'known_elapsed', 'clock_levels',
    'transition_name', 'may_change_org']) f;
-- what the model tells, and what a message is made of
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['canonical_attribute', 'coverage_on', 'has_final_report', 'network_status', 'network_status_of']) f;
-- mappers only compute
INSERT INTO public.expected_function
SELECT p.proname, 'PUBLIC' FROM pg_proc p
WHERE p.pronamespace = 'referral'::regnamespace AND p.proname ~ '^(fhir|hl7|map)_' AND p.provolatile = 'i' AND NOT p.prosecdef;
INSERT INTO public.expected_function
SELECT f, 'referral_clinician referral_coordinator referral_integration'
FROM unnest(ARRAY['analyze_first_rows', 'apply_case', 'apply_document', 'apply_intake', 'apply_part', 'intake_answer', 'intake_appointment',
    'intake_appointment_referral', 'intake_authorization', 'intake_authorization_item', 'intake_check_request', 'intake_choose_referral',
    'intake_codes', 'intake_communication', 'intake_coverage', 'intake_create_referral', 'intake_directory', 'intake_document', 'intake_encounter',
    'intake_events', 'intake_find_appointment', 'intake_find_authorization', 'intake_find_organization', 'intake_find_patient', 'intake_find_payer',
    'intake_find_plan', 'intake_find_practitioner', 'intake_find_referral', 'intake_follow_appointment', 'intake_hash', 'intake_is_outdated', 'intake_keep_identifiers', 'intake_made_before', 'intake_note_latest',
    'intake_lock', 'intake_move', 'intake_move_appointment', 'intake_organization', 'intake_owns_patient', 'intake_patient', 'intake_patient_of', 'intake_patient_values', 'intake_payer',
    'intake_place_coverage', 'intake_plan', 'intake_practitioner', 'intake_progress', 'intake_referral', 'intake_relations', 'intake_report',
    'intake_request_values', 'intake_role', 'intake_service', 'intake_site', 'intake_update_coverage', 'intake_update_patient',
    'intake_update_referral', 'intake_valid', 'message_from', 'note_findings', 'receive', 'receive_batch', 'receive_chunk', 'receive_rows',
    'reprocess', 'reprocess_errors', 'settle_findings', 'staging_plan', 'work_on_message']) f;
INSERT INTO public.expected_function
SELECT f, 'PUBLIC'
FROM unnest(ARRAY[
    'canonical_case', 'canonical_fault', 'care_date', 'case_actions', 'case_outcome', 'check_validation_version', 'cms50', 'csv_columns',
    'csv_records', 'eligibility_confirmed', 'eligibility_in_force', 'fill_placeholders', 'finding_category', 'finding_needs_person',
    'intake_choose_patient', 'intake_contradicts', 'intake_foreign', 'intake_identifies', 'intake_personal',
    'intake_count', 'intake_demographics', 'intake_error', 'intake_fill', 'intake_finding', 'intake_identifiers',
    'intake_is_over', 'intake_prose', 'intake_reason', 'intake_result',
    'intake_system', 'intake_text', 'intake_told_apart', 'intake_union', 'is_canonical_attribute', 'is_complete', 'is_passing_error',
    'map_record', 'message_key', 'missing_documents', 'number_to_array',
    'outreach_facts', 'outreach_placeholders', 'part_cases', 'payload_json', 'payload_kind', 'payload_parts', 'put_canonical', 'referral_coverage',
    'required_field_condition', 'required_field_relation', 'review_status', 'reviewed_as', 'source_format_problem', 'try_boolean', 'try_date',
    'try_integer', 'try_numeric', 'try_timestamp', 'validate', 'validation_category', 'validation_expressions', 'value_set_key']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['fhir_contained_actor', 'fhir_out_coverage', 'fhir_out_identifiers', 'fhir_out_organization', 'fhir_out_patient', 'fhir_out_practitioner',
    'fhir_patient_match', 'fhir_received', 'fhir_service_request', 'fhir_task', 'hl7_body', 'hl7_header', 'hl7_in1', 'hl7_known_ids', 'hl7_own_name',
    'hl7_pid', 'hl7_prd', 'hl7_referral', 'hl7_report_segments', 'hl7_response', 'hl7_rf1']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin'
FROM unnest(ARRAY['accept_rejected_write', 'discard_rejected_write', 'guard_sources', 'source_guard']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['check_patient', 'check_referral', 'draft_outreach', 'end_validation', 'settle_validation']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_authorizer referral_coordinator referral_integration'
FROM unnest(ARRAY['answer_eligibility', 'close_eligibility_exception', 'request_eligibility']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['close_exception', 'open_exception']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_authorizer referral_clinician referral_coordinator'
FROM unnest(ARRAY['review_classification', 'review_extraction']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_rule_approver referral_rule_author'
FROM unnest(ARRAY['confidence_threshold_for']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_rule_author'
FROM unnest(ARRAY['copy_rules']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration'
FROM unnest(ARRAY['extracted_case']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['foreign_attributes']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_integration'
FROM unnest(ARRAY['load_value_set']) f;
-- people, as values
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['demographics', 'demographics', 'demographics', 'demographics_eq', 'demographics_hash', 'demographics_hash_extended',
    'demographics_in', 'demographics_ne', 'demographics_out', 'demographics_recv', 'demographics_send', 'demographics_to_jsonb', 'patient_demographics']) f;
-- their keys, operators and index, and who is found by them
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['demographics_consistent', 'demographics_distance', 'demographics_extract_query', 'demographics_extract_value',
    'demographics_match', 'demographics_match_joinsel', 'demographics_match_sel', 'demographics_triconsistent',
    'match_keys', 'match_keys_explain', 'match_probability']) f;
INSERT INTO public.expected_function
SELECT f, 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler'
FROM unnest(ARRAY['find_duplicates', 'find_matches']) f;
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['append_new', 'computed_columns', 'find_duplicate_referrals', 'kept_apart', 'merge_field', 'merge_newest', 'merge_preview',
    'merge_rules', 'merge_value', 'merge_values', 'merged_ids', 'patient_columns', 'patient_references', 'reference_name', 'restored_value', 'survivor_of', 'token_of']) f;
INSERT INTO public.expected_function VALUES
    ('decide_match', 'referral_admin referral_coordinator'), ('rescore_patient', 'referral_admin referral_coordinator'),
    ('load_duplicates', 'referral_admin'),
    ('merge_patient', 'referral_admin referral_coordinator referral_integration'), ('unmerge_patient', 'referral_admin referral_coordinator referral_integration'),
    ('reattribute', 'referral_admin referral_coordinator referral_integration'),
    ('match_cluster', 'referral_admin referral_approver referral_auditor referral_authorizer referral_clinician referral_coordinator referral_integration referral_scheduler');
-- how they compare
INSERT INTO public.expected_function
SELECT f, 'PUBLIC' FROM unnest(ARRAY['damerau_levenshtein', 'double_metaphone_keys', 'is_match_level', 'jaro_winkler', 'match_default_levels',
    'match_explain', 'match_grade', 'match_levels', 'match_score', 'match_term_hash']) f;
INSERT INTO public.expected_function VALUES
    ('fit_match_model', 'referral_rule_author'), ('compare_match_models', 'referral_admin referral_rule_approver referral_rule_author'),
    ('match_model_differences', 'referral_admin referral_rule_approver referral_rule_author');
CREATE VIEW public.executable AS
SELECT p.proname::text AS function, string_agg(coalesce(g.rolname::text, 'PUBLIC'), ' ' ORDER BY g.rolname) AS roles
FROM pg_proc p CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
LEFT JOIN pg_roles g ON g.oid = x.grantee
WHERE p.pronamespace = 'referral'::regnamespace AND x.grantee <> p.proowner
GROUP BY p.oid, p.proname;
SELECT is((SELECT string_agg(f.function || ': ' || f.roles, ', ' ORDER BY f.function)
           FROM (SELECT * FROM public.executable EXCEPT ALL SELECT * FROM public.expected_function) f), NULL, 'nobody may execute more functions than expected');
SELECT is((SELECT string_agg(f.function || ': ' || f.roles, ', ' ORDER BY f.function)
           FROM (SELECT * FROM public.expected_function EXCEPT ALL SELECT * FROM public.executable) f), NULL, 'nor fewer');

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
