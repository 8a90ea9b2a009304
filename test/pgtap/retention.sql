-- What goes from the journal, what stays, and that nothing goes without evidence.
SELECT plan(82);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';

CREATE ROLE retention_admin LOGIN IN ROLE referral_admin;
CREATE ROLE retention_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE retention_coordinator LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'two'), (3, 'three');
INSERT INTO referral.organization_member (org_id, login) SELECT 1, 'retention_' || l FROM unnest(ARRAY['admin', 'auditor', 'coordinator']) l;
SET referral.org_id = '1';
DO $$
BEGIN
    -- until there are consumers
    IF to_regclass('referral.consumer_position') IS NULL THEN
        CREATE TABLE referral.consumer_position (org_id bigint, consumer text, xid_epoch integer, xid xid8, journal_id bigint);
        CREATE TABLE referral.delivery (org_id bigint, consumer text, status text, recorded_at timestamptz);
    END IF;
END $$;

\ir ../lib/sealing.sql

CREATE FUNCTION public.old_month(month date) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE referral.%I PARTITION OF referral.journal FOR VALUES FROM (%L) TO (%L)',
                   'journal_' || to_char(month, 'YYYY_MM'), month + time '0:00', month + interval '1 month');
END $$;
-- Rows of long ago, as a journal that has been in use for years has them.
CREATE FUNCTION public.old_rows(org bigint, month date, n integer, entity text DEFAULT 'patient', id bigint DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
INSERT INTO referral.journal (org_id, entity_id, version, occurred_at, recorded_at, xid, xid_epoch, entity, action, actor, actor_kind, db_user, changes)
SELECT org, coalesce(id, g), 1, month + interval '10 days', month + interval '10 days 1 s' * g / n, pg_current_xact_id(), 1, entity, 'insert', 'x', 'user', 'x', '{"family": [null, "old"]}'
FROM generate_series(1, n) g
$$;
SELECT public.old_month(m) FROM unnest(ARRAY['2015-01-01', '2015-02-01', '2015-03-01', '2015-04-01', '2015-05-01', '2019-05-01']::date[]) m \g /dev/null
SELECT public.old_rows(1, '2015-01-01', 300), public.old_rows(2, '2015-01-01', 10), public.old_rows(0, '2015-01-01', 3, 'workflow') \g /dev/null
SELECT public.old_rows(1, '2015-02-01', 5, 'document') \g /dev/null
SELECT public.old_rows(2, '2015-03-01', 5, 'referral', 17), public.old_rows(2, '2015-03-01', 5, 'referral', 18) \g /dev/null
INSERT INTO referral.patient (family) SELECT 'new' FROM generate_series(1, 20);

CREATE VIEW public.plan_of_purge AS
SELECT string_agg(replace(partition, 'referral.journal_', '') || ' ' || action, '; ' ORDER BY from_time) AS plan FROM referral.purge_journal() WHERE from_time < '2015-05-01';

-- 1. What may be purged

SELECT is(plan, '2015_01 kept: not sealed yet: organisation 0; 2015_02 kept: not sealed yet: organisation 1; 2015_03 kept: not sealed yet: organisation 2; 2015_04 would be purged',
          'what is not sealed is kept') FROM (SELECT regexp_replace(plan, '(2015_01 [^;]*) .;', '\1 0;') AS plan FROM public.plan_of_purge) x;
CALL public.settle();
SELECT referral.seal() \g /dev/null
CREATE TABLE public.heads AS SELECT org_id, tree_size, root_hash FROM referral.seal;
SELECT is(plan, '2015_01 would be purged; 2015_02 would be purged; 2015_03 would be purged; 2015_04 would be purged', 'what is sealed may go') FROM public.plan_of_purge;
SELECT results_eq('SELECT from_time, to_time FROM referral.purge_journal() LIMIT 1', $$VALUES ('2015-01-01Z'::timestamptz, '2015-02-01Z'::timestamptz)$$, 'by month');
SELECT is((SELECT count(*) FROM referral.purge_journal('100 years')), 0::bigint, 'what is not old enough is not in question');
SELECT is((SELECT count(*) FROM referral.purge_journal(now() - '2015-03-02Z')), 2::bigint, 'a month goes when its last day is old enough');
SELECT is((SELECT string_agg(partition, ' ' ORDER BY from_time) FROM referral.purge_journal(interval '0') WHERE to_time > now()), NULL, 'never the present one');
SELECT is((SELECT count(*) FROM referral.purge_journal(NULL)) + (SELECT count(*) FROM referral.purge_journal('6 years', NULL)), 0::bigint, 'null does nothing');
SELECT is((SELECT count(*) FROM referral.journal_purge), 0::bigint, 'so far nothing was done');

-- legal holds
CREATE FUNCTION public.plan_with_hold(org bigint, entity text, id bigint, released timestamptz DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    p text;
BEGIN
    INSERT INTO referral.legal_hold (org_id, entity, entity_id, reason, released_at) VALUES (org, entity, id, 'a case', released);
    SELECT string_agg(substr(plan, 1, 7), ' ') INTO p FROM (SELECT unnest(string_to_array(v.plan, '; ')) AS plan FROM public.plan_of_purge v) x WHERE plan LIKE '%kept: legal hold%';
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
    RETURN p;
END $$;
SELECT is(public.plan_with_hold(o, e, i, r), k, format('a hold on %s', w))
FROM (VALUES (2, 'referral', 17, NULL::timestamptz, '2015_03', 'a record'), (2, 'referral', 19, NULL, NULL, 'a record without rows'), (1, 'referral', 17, NULL, NULL, 'that of another organisation'),
             (2, 'document', 17, NULL, NULL, 'that of another entity'), (2, 'referral', NULL, NULL, '2015_03', 'an entity'), (1, 'patient', NULL, NULL, '2015_01', 'another entity'),
             (2, NULL, NULL, NULL, '2015_01 2015_03', 'an organisation'), (1, NULL, NULL, NULL, '2015_01 2015_02', 'another organisation'), (3, NULL, NULL, NULL, NULL, 'one without old rows'),
             (2, 'referral', 17, now(), NULL, 'a record, released')) v (o, e, i, r, k, w);
SELECT is(public.code($$INSERT INTO referral.legal_hold (entity_id, reason) VALUES (1, 'x')$$), '23514', 'an id without an entity holds nothing');
SELECT is(public.code($$INSERT INTO referral.legal_hold (entity) VALUES ('patient')$$), '23502', 'a hold has a reason');
SET SESSION AUTHORIZATION retention_coordinator;
SELECT is(public.code($$INSERT INTO referral.legal_hold (reason) VALUES ('x')$$), '42501', 'a coordinator places none');
SET SESSION AUTHORIZATION retention_auditor;
SELECT is(public.code($$INSERT INTO referral.legal_hold (reason) VALUES ('x')$$), '42501', 'nor does an auditor');
SET SESSION AUTHORIZATION retention_admin;
SELECT is(public.code($$INSERT INTO referral.legal_hold (org_id, reason) VALUES (2, 'x')$$), '42501', 'an administrator does for the own organisation only');
INSERT INTO referral.legal_hold (entity, entity_id, reason) VALUES ('document', 1, 'a case');
SELECT is(public.code('DELETE FROM referral.legal_hold'), '42501', 'a hold is released, not deleted');
RESET SESSION AUTHORIZATION;
SELECT matches((SELECT plan FROM public.plan_of_purge), '2015_02 kept: legal hold \d+ of organisation 1;', 'it counts at once');
SELECT results_eq($$SELECT actor, changes #>> '{reason,1}' FROM referral.journal WHERE entity = 'legal_hold'$$, $$VALUES ('retention_admin', 'a case')$$, 'and is on record');

-- who may purge
SET SESSION AUTHORIZATION retention_admin;
SELECT is(public.code('SELECT * FROM referral.purge_journal()'), '42501', 'an administrator does not purge');
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON FUNCTION referral.purge_journal(interval, boolean) TO retention_admin;
SET SESSION AUTHORIZATION retention_admin;
SELECT is(public.code('SELECT * FROM referral.purge_journal()'), 'RF003', 'nor when the function is granted: only the owner');
RESET SESSION AUTHORIZATION;
REVOKE EXECUTE ON FUNCTION referral.purge_journal(interval, boolean) FROM retention_admin;

-- a journal that was tampered with
ALTER TABLE referral.journal DISABLE TRIGGER append_only;
SELECT is(public.code(s || ' ; SELECT * FROM referral.purge_journal(dry_run => false)'), 'RF021', 'nothing is purged when ' || w)
FROM (VALUES ($$UPDATE referral.journal SET actor = 'y' WHERE entity = 'patient' AND org_id = 1 AND entity_id = 7 AND recorded_at < '2016-01-01'$$, 'a row that is to go was altered'),
             ($$UPDATE referral.journal SET actor = 'y' WHERE entity = 'patient' AND org_id = 1 AND recorded_at > '2020-01-01'$$, 'any row was'),
             ($$DELETE FROM referral.journal WHERE entity_id = 7 AND org_id = 1 AND recorded_at < '2015-02-01'$$, 'a row is missing already'),
             ($$SELECT public.old_rows(1, '2015-01-01', 1); UPDATE referral.journal SET xid = '1', xid_epoch = 0 WHERE xid = pg_current_xact_id()$$, 'a row was put in')) v (s, w);
SELECT is(public.code($$SELECT public.old_rows(3, '2015-02-01', 1)$$) || (SELECT count(*) FROM referral.journal_purge), 'done0', 'and nothing was written');
ALTER TABLE referral.journal ENABLE ALWAYS TRIGGER append_only;

-- 2. A purge

CREATE TABLE public.copies AS SELECT j.org_id, j.journal_id, referral.journal_leaf(j) AS leaf, p.*
FROM referral.journal j, LATERAL referral.inclusion_proof(j.org_id, j.journal_id) p WHERE j.recorded_at < '2015-02-01' AND j.entity_id < 5;
SELECT results_eq($$SELECT substr(partition, 18), action FROM referral.purge_journal(dry_run => false)$$,
    $$VALUES ('2015_01', 'purged'), ('2015_02', 'kept: legal hold ' || (SELECT legal_hold_id FROM referral.legal_hold) || ' of organisation 1'), ('2015_03', 'purged'), ('2015_04', 'purged'), ('2015_05', 'purged'), ('2019_05', 'purged')$$,
    'what may go is gone');
SELECT is(to_regclass('referral.journal_2015_01'), NULL, 'with its table');
SELECT is((SELECT count(*) FROM referral.journal WHERE recorded_at < '2020-01-01'), 5::bigint, 'what is held stays');
SELECT results_eq($$SELECT p.org_id, p.partition, p.from_time, p.nrows, (SELECT sum(upper(r) - lower(r))::bigint FROM unnest(p.leaves) r), p.keep, p.tree_size = h.tree_size AND p.root_hash = h.root_hash
                    FROM referral.journal_purge p JOIN public.heads h USING (org_id) ORDER BY purge_id$$,
    $$VALUES (0::bigint, 'journal_2015_01', '2015-01-01Z'::timestamptz, 3::bigint, 3::bigint, interval '6 years', true), (1, 'journal_2015_01', '2015-01-01Z', 300, 300, '6 years', true),
             (2, 'journal_2015_01', '2015-01-01Z', 10, 10, '6 years', true), (2, 'journal_2015_03', '2015-03-01Z', 10, 10, '6 years', true)$$, 'there is evidence for each organisation');
SELECT results_eq($$SELECT org_id, entity_id, action, actor FROM referral.journal WHERE entity = 'journal_purge' ORDER BY journal_id$$, $$SELECT org_id, purge_id, 'insert', 'postgres' FROM referral.journal_purge ORDER BY purge_id$$, 'which is on record');
SELECT results_eq('SELECT v.ok, v.first_bad_journal_id FROM generate_series(0, 3) o, LATERAL referral.verify_journal(o) v', 'VALUES (true, NULL::bigint), (true, NULL), (true, NULL), (true, NULL)', 'every journal verifies without the rows');
SELECT matches((referral.verify_journal(1)).detail, ', 300 purged,', 'and tells how many are gone');
CALL public.settle();
SELECT referral.seal() \g /dev/null
SELECT results_eq('SELECT v.ok FROM generate_series(0, 3) o, LATERAL referral.verify_journal(o) v', 'VALUES (true), (true), (true), (true)', 'also when the evidence is sealed');
SELECT is((SELECT count(*) FROM public.heads h, LATERAL referral.verify_journal(h.org_id, h.tree_size, h.root_hash) v WHERE NOT v.ok), 0::bigint, 'and holds the heads of before');
SELECT is((SELECT count(*) FROM referral.purge_journal(dry_run => false)), 1::bigint, 'what is gone is in question no more');
SELECT is((SELECT count(*) FROM referral.journal j, LATERAL referral.inclusion_proof(j.org_id, j.journal_id) p
           WHERE j.entity <> 'seal' AND (NOT referral.verify_inclusion(p.leaf_index, p.tree_size, referral.merkle_leaf_hash(referral.journal_leaf(j)), p.proof, p.root_hash)
                 OR p.root_hash <> (SELECT s.root_hash FROM referral.seal s WHERE s.org_id = j.org_id ORDER BY seal_id DESC LIMIT 1))), 0::bigint, 'all rows that are left can be proven');
SELECT is((SELECT count(*) FROM public.heads h JOIN referral.seal s ON s.org_id = h.org_id AND s.tree_size >= h.tree_size
           WHERE NOT referral.verify_consistency(h.tree_size, s.tree_size, h.root_hash, s.root_hash, referral.consistency_proof(h.org_id, h.tree_size, s.tree_size))), 0::bigint, 'and all heads be connected');
SELECT is((SELECT count(*) FROM public.copies c WHERE NOT referral.verify_inclusion(c.leaf_index, c.tree_size, referral.merkle_leaf_hash(c.leaf), c.proof, c.root_hash)
              OR c.root_hash <> (SELECT h.root_hash FROM public.heads h WHERE h.org_id = c.org_id)), 0::bigint, 'a copy of a purged row can still be proven');
SELECT is(public.code(format('SELECT referral.inclusion_proof(%s, %s)', org_id, journal_id)), 'RF019', 'but a purged row is no longer there') FROM public.copies LIMIT 1;
SELECT is(referral.purge_obstacle(NULL, '1 year'), NULL, 'null for null');

-- 3. Evidence cannot be made up

ALTER TABLE referral.journal DISABLE TRIGGER append_only;
ALTER TABLE referral.journal_purge DISABLE TRIGGER append_only;
SELECT journal_id AS id, leaf_index AS leaf FROM referral.journal j, LATERAL referral.inclusion_proof(1, j.journal_id) p WHERE j.org_id = 1 AND entity = 'patient' AND entity_id = 9 AND recorded_at > '2020-01-01' \gset
SELECT format('DELETE FROM referral.journal WHERE org_id = 1 AND journal_id = %s', :id) AS remove \gset
-- leaves of a purge, as a multirange
CREATE FUNCTION public.forged(id bigint, leaves text, change jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
SELECT format('INSERT INTO referral.journal_purge SELECT (jsonb_populate_record(p, %L)).* FROM referral.journal_purge p WHERE org_id = 1 ORDER BY purge_id LIMIT 1',
              jsonb_build_object('purge_id', id, 'leaves', leaves, 'nrows', 1) || change)
$$;
SELECT is(public.tampered(:'remove'), 'bad at ', 'a row removed without a purge');
SELECT matches(public.tampered(:'remove' || ';;' || s), '^bad', 'nor does it help that ' || w)
FROM (VALUES (public.forged(1000, format('{[%1$s,%1$s]}', :leaf)), 'a purge is put in'), (public.forged(-1, format('{[%1$s,%1$s]}', :leaf)), 'one is put in before all others'),
             (public.forged(-1, format('{[%1$s,%1$s]}', :leaf), '{"purged_at": "2015-01-15Z"}'), 'as of the time that was purged'),
             (format('UPDATE referral.journal_purge SET leaves = leaves + int8multirange(int8range(%s, %s)) WHERE org_id = 1', :leaf, :leaf + 1), 'one has more leaves than it had'),
             (format('UPDATE referral.journal_purge SET leaves = leaves + int8multirange(int8range(%s, %s)), nrows = nrows + 1 WHERE org_id = 1;;UPDATE referral.journal SET changes = jsonb_set(changes, ''{leaves,1}'', ''"{[0,1000)}"'') WHERE org_id = 1 AND entity = ''journal_purge''', :leaf, :leaf + 1),
              'the journal says so, too'),
             (format('UPDATE referral.journal_purge SET leaves = ''{[0,100000)}'' WHERE org_id = 2;;UPDATE referral.journal_purge SET org_id = 1, purge_id = 1000 WHERE org_id = 2 AND partition = ''journal_2015_03'''), 'that of another organisation is taken')) v (s, w);
SELECT matches(public.tampered('DELETE FROM referral.journal_purge WHERE org_id = 1'), '^bad', 'evidence removed is no evidence');
SELECT matches(public.tampered('DELETE FROM referral.journal WHERE org_id = 1 AND entity = ''journal_purge'''), '^bad', 'nor is it when the journal''s is removed');
CREATE TABLE public.alteration AS
SELECT a.attname AS column_name, format('%s = %s', a.attname, format(e, a.attname)) AS what,
       public.tampered(format('UPDATE referral.journal_purge SET %1$I = %2$s WHERE org_id = 1 AND %1$I IS DISTINCT FROM %2$s', a.attname, format(e, a.attname))) AS outcome
FROM pg_attribute a, unnest(CASE a.atttypid WHEN 'text'::regtype THEN ARRAY['''x'''] WHEN 'bigint'::regtype THEN ARRAY['%I + 1000'] WHEN 'timestamptz'::regtype THEN ARRAY['%I + interval ''1 us''']
     WHEN 'bytea'::regtype THEN ARRAY['''\x''', 'sha256(%I)'] WHEN 'interval'::regtype THEN ARRAY['''1 day'''] ELSE ARRAY['''{}''', '''{[2,300)}''', '''{[0,100000)}'''] END) e
WHERE a.attrelid = 'referral.journal_purge'::regclass AND a.attnum > 0 AND NOT a.attisdropped;
SELECT is((SELECT string_agg(outcome || ': ' || what, '; ') FROM public.alteration WHERE outcome NOT LIKE 'bad%'), NULL, 'altered evidence is none, whatever the column');
SELECT is((SELECT count(DISTINCT column_name) FROM public.alteration), (SELECT count(*) FROM pg_attribute WHERE attrelid = 'referral.journal_purge'::regclass AND attnum > 0 AND NOT attisdropped),
          'and all were tried');
SELECT matches(public.tampered(format('UPDATE referral.journal SET changes = %s WHERE org_id = 1 AND entity = ''journal_purge''', e)), '^bad', 'the journal on a purge: ' || e)
FROM unnest(ARRAY['NULL', '''1''', '''[]''', '''{}''', '''{"leaves": 1}''', 'changes - ''leaves''', 'jsonb_set(changes, ''{nrows,1}'', ''1'')']) e;

-- 4. Evidence is purged in turn

-- that purge was made in May 2019
SELECT public.old_month('2015-05-01') \g /dev/null
SELECT public.old_rows(1, '2015-05-01', 4) \g /dev/null
CALL public.settle();
SELECT referral.seal() \g /dev/null
SELECT referral.purge_journal(dry_run => false) \g /dev/null
SELECT public.old_month('2019-05-01') \g /dev/null
SET session_replication_role = replica;
UPDATE referral.journal_purge SET purged_at = '2019-05-05Z' WHERE org_id = 1 AND partition = 'journal_2015_05';
UPDATE referral.journal SET recorded_at = '2019-05-05Z', changes = jsonb_set(changes, '{purged_at,1}', '"2019-05-05T00:00:00+00:00"')
WHERE org_id = 1 AND entity = 'journal_purge' AND changes #>> '{partition,1}' = 'journal_2015_05';
RESET session_replication_role;
CALL public.settle();
SELECT referral.seal() \g /dev/null
SELECT is((referral.verify_journal(1)).ok, true, 'a purge of 2019, sealed');
SELECT results_eq($$SELECT partition, action FROM referral.purge_journal(dry_run => false) WHERE from_time > '2019-01-01'$$, $$VALUES ('referral.journal_2019_05', 'purged')$$, 'is old now, and its evidence goes');
SELECT results_eq('SELECT ok, first_bad_journal_id FROM referral.verify_journal(1)', 'VALUES (true, NULL::bigint)', 'the later purge answers for it');
CALL public.settle();
SELECT referral.seal() \g /dev/null
SELECT is((referral.verify_journal(1)).ok, true, 'also when it is sealed');
SELECT matches(public.tampered('DELETE FROM referral.journal_purge WHERE org_id = 1 AND partition = ''journal_2015_05'''), '^bad', 'it must still be there');
SELECT matches(public.tampered(format('UPDATE referral.journal_purge SET leaves = leaves + int8multirange(int8range(%s, %s)) WHERE org_id = 1 AND partition = ''journal_2015_05''', :leaf, :leaf + 1) || ';;' || :'remove'), '^bad',
               'and tell what it told');
SELECT matches(public.tampered(:'remove' || ';;' || public.forged(-1, format('{[%1$s,%1$s]}', :leaf), '{"purged_at": "2019-05-15Z"}')), '^bad', 'nor does the later purge answer for one that is made up');
SELECT matches(public.tampered('DELETE FROM referral.journal_purge WHERE org_id = 1 AND partition = ''journal_2019_05'''), '^bad', 'nor can it be removed itself');
ALTER TABLE referral.journal ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE referral.journal_purge ENABLE ALWAYS TRIGGER append_only;

-- 5. An organisation that has come to rest does not keep the others' rows for ever

SELECT public.old_month('2016-01-01') \g /dev/null
CALL public.settle();
SELECT referral.seal() \g /dev/null
-- its last row tells of its last seal, and was written in January 2016
ALTER TABLE referral.journal DISABLE TRIGGER append_only;
UPDATE referral.journal SET recorded_at = '2016-01-20Z' WHERE journal_id = (SELECT max(journal_id) FROM referral.journal WHERE org_id = 3 AND entity = 'seal');
ALTER TABLE referral.journal ENABLE ALWAYS TRIGGER append_only;
CALL public.settle();
SELECT referral.seal() \g /dev/null
SELECT is((SELECT action FROM referral.purge_journal() WHERE partition = 'referral.journal_2016_01'), 'would be purged', 'the last seal''s own row does not keep its month');

-- A hold must hold something, and stays what it is

SELECT throws_ok($$INSERT INTO referral.legal_hold (org_id, entity, entity_id, reason) VALUES (1, 'Patient', 1, 'x')$$, 'RF019', NULL, 'a misspelt entity is refused');
SELECT lives_ok($$INSERT INTO referral.legal_hold (org_id, entity, entity_id, reason) VALUES (1, 'patient', 987654, 'x')$$, 'one on a record that there never was warns');
SELECT throws_ok($$INSERT INTO referral.legal_hold (org_id, reason) VALUES (1, ' ')$$, 'RF005', NULL, 'and a hold without a reason');
INSERT INTO referral.legal_hold (org_id, reason, placed_by, placed_at) VALUES (1, 'guarded', 'nobody', '2001-01-01');
SELECT is((SELECT placed_by || (placed_at > now() - interval '1 hour') FROM referral.legal_hold WHERE reason = 'guarded'), 'postgrestrue', 'who placed it and when is filled in');
SELECT throws_ok($$UPDATE referral.legal_hold SET entity = 'patient' WHERE reason = 'guarded'$$, 'RF017', NULL, 'it cannot be moved');
SELECT lives_ok($$UPDATE referral.legal_hold SET released_at = now() WHERE reason = 'guarded'$$, 'it can be released');
SELECT throws_ok($$UPDATE referral.legal_hold SET released_at = NULL WHERE reason = 'guarded'$$, 'RF017', NULL, 'for good');

SELECT * FROM finish();
