-- The journal's partitions, what it keeps to itself, epochs, and that rows can be had back from it.
SELECT plan(215);
-- work items follow referrals and would be among what is counted here; see worklist
ALTER TABLE referral.referral DISABLE TRIGGER work;
ALTER TABLE referral.exception_item DISABLE TRIGGER work;
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';

CREATE ROLE journal_record_admin LOGIN IN ROLE referral_admin;
CREATE ROLE journal_record_coordinator LOGIN IN ROLE referral_coordinator;
CREATE ROLE journal_record_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE journal_record_feed LOGIN IN ROLE referral_integration;
CREATE ROLE journal_record_owner LOGIN IN ROLE referral_admin;
INSERT INTO referral.organization_member (org_id, login)
SELECT 1, 'journal_record_' || l FROM unnest(ARRAY['admin', 'coordinator', 'auditor', 'feed', 'owner']) l;
CREATE VIEW public.last WITH (security_invoker = true) AS SELECT * FROM referral.journal ORDER BY journal_id DESC LIMIT 1;
GRANT SELECT ON public.last TO PUBLIC;

-- All entities with rows that are not as the journal says.
CREATE FUNCTION public.coverage() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    e text;
    found text := '';
BEGIN
    FOR e IN SELECT x.entity FROM referral.entity x JOIN pg_class c ON c.oid = x.relation WHERE x.detached_at IS NULL ORDER BY 1 LOOP
        found := found || coalesce((SELECT string_agg(concat_ws(' ', e, v.org_id, v.id, v.problem, v.columns), '; ') || '; '
                                    FROM referral.verify_coverage(e) v), '');
    END LOOP;
    RETURN found;
END $$;

-- 1. Partitions

SET TimeZone = 'America/New_York';
SELECT results_eq($$SELECT partition::text, from_time, to_time FROM referral.journal_bounds() ORDER BY 2$$,
    $$SELECT 'referral.journal_' || to_char(m, 'YYYY_MM'), m AT TIME ZONE 'UTC', (m + interval '1 month') AT TIME ZONE 'UTC'
      FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', '1 month') m$$,
    'this month and the next three, in UTC');
SELECT is((SELECT count(*) FROM referral.make_journal_partitions()), 0::bigint, 'they are made once');
SELECT is((SELECT count(*) FROM referral.make_journal_partitions('0')), 0::bigint, 'fewer are no wish to drop any');
SELECT is((SELECT count(*) FROM referral.make_journal_partitions(NULL)), 0::bigint, 'nor is null');
SELECT is((SELECT count(*) FROM referral.make_journal_partitions('-1 year')), 0::bigint, 'or the past');
RESET TimeZone;
SELECT results_eq($$SELECT partition::text, from_time IS NULL, bytes > 0, warning FROM referral.journal_partition$$,
    $$SELECT partition::text, false, true, NULL FROM referral.journal_bounds()
      UNION ALL SELECT 'referral.journal_default', true, true, NULL ORDER BY 2, 1$$, 'the view tells of them and of the default one, without warning');
-- under any settings
SET DateStyle = 'Postgres, DMY';
SET TimeZone = 'Asia/Kathmandu';
SELECT lives_ok($$SELECT referral.make_journal_partitions('5 months')$$, 'two more, as Postgres writes dates');
SET DateStyle = 'German';
SELECT lives_ok($$SELECT referral.make_journal_partitions('6 months')$$, 'one more, as Germans do');
SET DateStyle = 'SQL, MDY';
SELECT lives_ok($$SELECT referral.make_journal_partitions('7 months')$$, 'one more, as SQL does');
RESET DateStyle;
RESET TimeZone;
SELECT results_eq($$SELECT partition::text, from_time, to_time FROM referral.journal_bounds() ORDER BY 2$$,
    $$SELECT 'referral.journal_' || to_char(m, 'YYYY_MM'), m AT TIME ZONE 'UTC', (m + interval '1 month') AT TIME ZONE 'UTC'
      FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'), date_trunc('month', (now() + interval '7 months') AT TIME ZONE 'UTC'), '1 month') m$$,
    'each takes its month');
SELECT is((SELECT string_agg(t.tgname || ' ' || t.tgenabled::text || ' ' || t.tgtype, ', ' ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = p.relid),
          (SELECT string_agg(t.tgname || ' A ' || t.tgtype, ', ' ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = 'referral.journal'::regclass),
          format('%s is append-only, always', p.relid::regclass))
FROM pg_partition_tree('referral.journal') p WHERE p.isleaf ORDER BY 1;
SELECT is((SELECT count(*) FROM pg_index i WHERE i.indrelid = p.relid AND i.indisvalid), 3::bigint, format('%s has its indexes', p.relid::regclass))
FROM pg_partition_tree('referral.journal') p WHERE p.isleaf ORDER BY p.relid;
SELECT is(public.code(format('TRUNCATE %s', p.relid::regclass)), 'RF007', format('TRUNCATE %s is refused', p.relid::regclass))
FROM pg_partition_tree('referral.journal') p ORDER BY p.relid;
SELECT 'journal_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM') AS month \gset
SELECT is(public.code(format(s, :'month')), 'RF007', 'refused: ' || format(s, 'part'))
FROM unnest(ARRAY['UPDATE referral.%I SET reason = ''x''', 'DELETE FROM referral.%I']) s;

-- columns of one's own
ALTER TABLE referral.journal ADD COLUMN site_note text DEFAULT 'noted', ADD COLUMN site_number bigint NOT NULL DEFAULT 5,
    ADD COLUMN actor_upper text GENERATED ALWAYS AS (upper(actor)) STORED, ADD CONSTRAINT site_positive CHECK (site_number > 0);
SELECT lives_ok($$SELECT referral.make_journal_partitions('8 months')$$, 'a journal with columns of one''s own gets partitions, too');
SELECT is((SELECT array_agg(pg_get_expr(d.adbin, d.adrelid) || ' ' || a.attgenerated::text ORDER BY a.attname) FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           WHERE a.attrelid = p.relid AND a.attname IN ('site_note', 'site_number', 'actor_upper')), '{"upper(actor) s","''noted''::text ","5 "}', format('%s has their defaults', p.relid::regclass))
FROM pg_partition_tree('referral.journal') p WHERE p.isleaf ORDER BY p.relid DESC LIMIT 2;
INSERT INTO referral.patient (family) VALUES ('Added');
SELECT results_eq('SELECT site_note, site_number, actor_upper, tableoid::regclass::text FROM referral.journal ORDER BY journal_id DESC LIMIT 1',
                  format($$VALUES ('noted', 5::bigint, 'POSTGRES', 'referral.%s')$$, :'month'), 'and the row comes to its month with them');

-- nobody made partitions in time
ALTER TABLE referral.journal DISABLE TRIGGER append_only;
CREATE TABLE public.kept AS SELECT * FROM referral.journal;
DO $$
DECLARE
    p regclass;
BEGIN
    FOR p IN SELECT partition FROM referral.journal_bounds() LOOP
        EXECUTE format('DROP TABLE %s', p);
    END LOOP;
END $$;
ALTER TABLE referral.journal ENABLE ALWAYS TRIGGER append_only;
SELECT lives_ok($$INSERT INTO referral.patient (family) VALUES ('Stray')$$, 'a change is recorded all the same');
SELECT results_eq('SELECT tableoid::regclass::text, site_number FROM referral.journal ORDER BY journal_id DESC LIMIT 1', $$VALUES ('referral.journal_default', 5::bigint)$$, 'in the default partition');
SELECT matches((SELECT warning FROM referral.journal_partition), 'make_journal_partitions', 'which is a warning');
SELECT is(public.code('TRUNCATE referral.journal_default'), 'RF007', 'it is not to be emptied');
SELECT results_eq('SELECT referral.make_journal_partitions()', format($$VALUES (%L), (%L), (%L), (%L), ('journal_default')$$, :'month',
    'journal_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY_MM'),
    'journal_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months', 'YYYY_MM'),
    'journal_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', 'YYYY_MM')), 'it becomes the partition of its month, and a new one takes its place');
SELECT is((SELECT j.tableoid::regclass::text FROM public.last l JOIN referral.journal j USING (journal_id)), 'referral.' || :'month', 'with its rows');
SELECT is((SELECT count(*) FROM referral.journal_partition WHERE warning IS NOT NULL), 0::bigint, 'nothing to warn of any more');
SELECT is((SELECT string_agg(t.tgname || ' ' || t.tgenabled::text, ', ' ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = p.relid), 'append_only A, append_only_truncate A',
          format('%s is append-only, always', p.relid::regclass))
FROM pg_partition_tree('referral.journal') p WHERE p.isleaf ORDER BY p.relid;
SELECT is(public.code(format(s, :'month')), 'RF007', 'refused: ' || format(s, 'part'))
FROM unnest(ARRAY['UPDATE referral.%I SET reason = ''x''', 'DELETE FROM referral.%I', 'TRUNCATE referral.%I']) s;
SELECT is((SELECT count(*) FROM referral.make_journal_partitions()), 0::bigint, 'and that is all');
INSERT INTO referral.patient (family) VALUES ('Next');
SELECT is((SELECT j.tableoid::regclass::text FROM public.last l JOIN referral.journal j USING (journal_id)), 'referral.' || :'month', 'changes go on there');
-- stray rows of several months: one partition for all of them
BEGIN;
INSERT INTO referral.journal (org_id, journal_id, entity_id, occurred_at, recorded_at, xid, xid_epoch, entity, action, actor, actor_kind, db_user)
SELECT 1, -n, 1, now(), t, '1', 1, 'x', 'x', 'x', 'x', 'x' FROM unnest(ARRAY['2011-03-31 23:59:59.999999Z', '2011-04-01Z', '2011-05-31 23:00Z']::timestamptz[]) WITH ORDINALITY u (t, n);
SELECT results_eq('SELECT referral.make_journal_partitions()', $$VALUES ('journal_2011_03'), ('journal_default')$$, 'stray rows of several months');
SELECT results_eq($$SELECT from_time, to_time FROM referral.journal_bounds() WHERE partition::text = 'referral.journal_2011_03'$$,
                  $$VALUES ('2011-03-01Z'::timestamptz, '2011-06-01Z'::timestamptz)$$, 'make one partition of all of them');
ROLLBACK;
-- stray rows on both sides of a partition stay where they are
BEGIN;
INSERT INTO referral.journal (org_id, journal_id, entity_id, occurred_at, recorded_at, xid, xid_epoch, entity, action, actor, actor_kind, db_user)
SELECT 1, -n, 1, now(), t, '1', 1, 'x', 'x', 'x', 'x', 'x' FROM unnest(ARRAY['2011-03-31Z', '2111-04-01Z']::timestamptz[]) WITH ORDINALITY u (t, n);
SELECT lives_ok('SELECT referral.make_journal_partitions()', 'stray rows around the partitions there are');
SELECT matches((SELECT warning FROM referral.journal_partition WHERE partition::text = 'referral.journal_default'), 'no partition', 'stay in the default partition, with a warning');
ROLLBACK;
-- no partition at all
BEGIN;
DO $$
DECLARE
    p regclass;
BEGIN
    FOR p IN SELECT relid FROM pg_partition_tree('referral.journal') WHERE isleaf LOOP
        EXECUTE format('DROP TABLE %s', p);
    END LOOP;
END $$;
SELECT is(public.code($$INSERT INTO referral.patient (family) VALUES ('x')$$), 'RF012', 'without a partition, nothing can be changed');
SELECT is((SELECT count(*) FROM referral.journal_partition), 0::bigint, 'the view shows none');
SELECT is((SELECT count(*) FROM referral.make_journal_partitions()), 5::bigint, 'but they can be made');
SELECT is(public.code($$INSERT INTO referral.patient (family) VALUES ('x')$$), 'done', 'and then it goes on');
ROLLBACK;
-- the last one nearly over
BEGIN;
DO $$
DECLARE
    p regclass;
BEGIN
    FOR p IN SELECT partition FROM referral.journal_bounds() WHERE from_time > now() LOOP
        EXECUTE format('DROP TABLE %s', p);
    END LOOP;
END $$;
SELECT matches((SELECT warning FROM referral.journal_partition WHERE from_time IS NOT NULL), 'nearly over', 'a month before the last one is full, the view warns');
ROLLBACK;
SELECT is(public.code('SET ROLE journal_record_admin; SELECT referral.make_journal_partitions()'), '42501', 'an administrator makes no partitions');
SELECT is(public.code('SET ROLE journal_record_coordinator; SELECT * FROM referral.journal_partition'), '42501', 'nor does a coordinator see them');
SELECT is(public.code('SET ROLE journal_record_auditor; SELECT * FROM referral.journal_partition'), 'done', 'an auditor does');
ALTER TABLE referral.journal DROP COLUMN site_note, DROP COLUMN site_number, DROP COLUMN actor_upper;
-- back to the rows there were
INSERT INTO referral.journal SELECT org_id, journal_id, entity_id, version, rule_version, occurred_at, recorded_at, xid, xid_epoch, from_state, to_state, entity, action,
    transition, from_step, to_step, actor, actor_kind, db_user, application_name, reason, origin, correlation_id, changes FROM public.kept;
SELECT is(public.coverage(), '', 'and everything there is is on record');

-- 2. Sensitive and ignored columns

CREATE TABLE public.person (
    org_id bigint NOT NULL DEFAULT 1,
    person_id bigint GENERATED BY DEFAULT AS IDENTITY,
    secret text, pin integer, born date, note text, other text, doc jsonb, unseen text,
    PRIMARY KEY (org_id, person_id)
);
SELECT referral.track_table('public.person', 'person', 'person_id') \g /dev/null
INSERT INTO public.person (secret, pin, unseen) VALUES ('plain before', 1, 'seen before');
INSERT INTO referral.journal_column (entity, column_name, treatment)
VALUES ('person', 'secret', 'sensitive'), ('person', 'pin', 'sensitive'), ('person', 'born', 'sensitive'), ('person', 'doc', 'sensitive'), ('person', 'other', 'sensitive'),
       ('person', 'unseen', 'ignored');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'journal_column' AND changes -> 'entity' ->> 1 = 'person' AND action = 'insert'), 6::bigint, 'marking a column is on record');
INSERT INTO public.person (person_id, secret, pin, born, note, other, doc, unseen)
VALUES (10, 'swordfish', 471147114, '1999-12-31', 'open', 'swordfish', '{"a": "needle"}', 'haystack'), (11, 'swordfish', NULL, NULL, NULL, NULL, NULL, NULL), (12, NULL, NULL, NULL, 'x', NULL, NULL, 'y');
CREATE VIEW public.told AS SELECT entity_id, journal_id, changes FROM referral.journal WHERE entity = 'person' AND entity_id >= 10;
SELECT is((SELECT jsonb_object_agg(key, CASE WHEN value ->> 1 ~ '^hmac:[0-9a-f]{64}$' AND value -> 0 = 'null' THEN '"digest"' ELSE value END) FROM public.told, jsonb_each(changes) WHERE entity_id = 10),
          '{"secret": "digest", "pin": "digest", "born": "digest", "doc": "digest", "other": "digest", "note": [null, "open"]}', 'sensitive columns are digests, ignored ones are left out');
SELECT is((SELECT count(*) FROM referral.journal j WHERE j.entity_id >= 10 AND j.entity = 'person' AND (j::text ~ 'swordfish|471147114|1999-12-31|needle|haystack')), 0::bigint, 'the values are nowhere in the journal');
SELECT is((SELECT count(DISTINCT v) FROM public.told, jsonb_each(changes), jsonb_array_elements_text(value) v WHERE v LIKE 'hmac:%'), 6::bigint,
          'equal values in another column or row have another digest');
SELECT is((SELECT changes FROM public.told WHERE entity_id = 12), '{"note": [null, "x"]}', 'null is no secret');
-- the digest, from its description
SELECT is((SELECT changes #>> '{secret,1}' FROM public.told WHERE entity_id = 10),
          (WITH k AS (SELECT decode(string_agg(lpad(to_hex(get_byte(k.key || repeat(E'\\000', 32)::bytea, i) # 54), 2, '0'), '' ORDER BY i), 'hex') AS inner,
                             decode(string_agg(lpad(to_hex(get_byte(k.key || repeat(E'\\000', 32)::bytea, i) # 92), 2, '0'), '' ORDER BY i), 'hex') AS outer
                      FROM referral.journal_key k, generate_series(0, 63) i)
           SELECT 'hmac:' || encode(sha256(k.outer || sha256(k.inner || 'person'::bytea || '\x00' || '1'::bytea || '\x00' || '10'::bytea || '\x00' || 'secret'::bytea || '\x00' || '"swordfish"'::bytea)), 'hex') FROM k),
          'HMAC-SHA256 of entity, organisation, id, column and value');
UPDATE public.person SET note = 'closed', unseen = 'needle' WHERE person_id = 10;
SELECT is((SELECT changes FROM public.last), '{"note": ["open", "closed"]}', 'unchanged sensitive columns are not told of, nor changed ignored ones');
SELECT count(*) AS before FROM referral.journal \gset
UPDATE public.person SET unseen = 'more hay' WHERE person_id = 10;
SELECT is((SELECT count(*) FROM referral.journal), :before::bigint, 'a change of nothing else is none, where there is no version');
UPDATE public.person SET secret = 'other' WHERE person_id = 10;
UPDATE public.person SET secret = 'swordfish' WHERE person_id = 10;
SELECT results_eq($$SELECT changes #>> '{secret,0}' = first.digest, changes #>> '{secret,1}' = first.digest FROM public.told,
                      (SELECT changes #>> '{secret,1}' AS digest FROM public.told WHERE entity_id = 10 ORDER BY journal_id LIMIT 1) first
                    WHERE entity_id = 10 AND changes ? 'secret' ORDER BY journal_id$$,
                  $$VALUES (NULL, true), (true, false), (false, true)$$, 'the same value of the same row has the same digest, so that a change back shows');
UPDATE public.person SET secret = NULL WHERE person_id = 10;
SELECT is((SELECT changes #> '{secret,1}' FROM public.last), 'null', 'null remains null');
DELETE FROM public.person WHERE person_id = 11;
SELECT matches((SELECT changes #>> '{secret,0}' FROM public.last), '^hmac:', 'a deleted row leaves digests');
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'German';
INSERT INTO public.person (person_id, born) VALUES (13, '31.12.1999');
RESET DateStyle;
RESET TimeZone;
UPDATE public.person SET born = NULL WHERE person_id = 13;
SELECT is((SELECT count(DISTINCT v) FROM public.told, jsonb_each(changes), jsonb_array_elements_text(value) v WHERE v LIKE 'hmac:%' AND entity_id = 13), 1::bigint, 'whatever the settings');
SELECT is((SELECT public.coverage()), '', 'sensitive columns are compared by digest, ignored ones not at all');
SET session_replication_role = replica;
UPDATE public.person SET pin = 4712, unseen = 'x' WHERE person_id = 10;
RESET session_replication_role;
SELECT results_eq($$SELECT id, problem, columns FROM referral.verify_coverage('person')$$, $$VALUES (10::bigint, 'differs', '{pin}'::text[])$$, 'a sensitive one changed unrecorded is found');
SET session_replication_role = replica;
UPDATE public.person SET pin = 471147114 WHERE person_id = 10;
RESET session_replication_role;
DELETE FROM referral.journal_column WHERE entity = 'person' AND column_name = 'secret';
SELECT is((SELECT action FROM referral.journal WHERE entity = 'journal_column' ORDER BY journal_id DESC LIMIT 1), 'delete', 'unmarking is on record, too');
UPDATE public.person SET secret = 'open sesame' WHERE person_id = 12;
SELECT is((SELECT changes FROM public.last), '{"secret": [null, "open sesame"]}', 'and the column is told of again');
SELECT is(public.coverage(), '', 'what was told as a digest and what was told in plain text agree');
-- who may mark what
SELECT is(public.code(format('INSERT INTO referral.journal_column (entity, column_name, treatment) VALUES (%L, %L, %L)', e, c, t)), x, format('%s of %s %s: %s', c, e, t, x))
FROM (VALUES ('person', 'nothing', 'sensitive', 'RF019'), ('person', 'org_id', 'ignored', 'RF019'), ('person', 'person_id', 'sensitive', 'RF019'), ('referral', 'version', 'ignored', 'RF019'),
             ('referral', 'step', 'ignored', 'RF019'), ('referral', 'state', 'ignored', 'RF019'), ('referral', 'entered_at', 'ignored', 'RF019'), ('referral', 'workflow_id', 'ignored', 'RF019'),
             ('referral', 'transition_id', 'ignored', 'RF019'), ('nonsense', 'x', 'ignored', 'RF019'), ('person', 'note', 'hidden', '23514'), ('person', '', 'ignored', 'RF019'), ('person', 'ctid', 'ignored', 'RF019'),
             ('person', 'pin', 'ignored', '23505'), ('patient', 'phone', 'sensitive', 'done')) v (e, c, t, x);
INSERT INTO referral.journal_column (entity, column_name, treatment) VALUES ('patient', 'phone', 'sensitive');
CREATE TABLE public.mine (org_id bigint NOT NULL DEFAULT 1, mine_id bigint PRIMARY KEY, a text, b text);
SELECT referral.track_table('public.mine', 'mine', 'mine_id') \g /dev/null
ALTER TABLE public.mine OWNER TO journal_record_owner;
SET SESSION AUTHORIZATION journal_record_owner;
SELECT is(public.code(s), x, format('the owner of another table: %s', s))
FROM (VALUES ($$INSERT INTO referral.journal_column (entity, column_name, treatment) VALUES ('mine', 'a', 'ignored')$$, 'done'),
             ($$INSERT INTO referral.journal_column (entity, column_name, treatment) VALUES ('patient', 'family', 'ignored')$$, 'RF003'),
             ($$DELETE FROM referral.journal_column WHERE entity = 'patient'$$, 'RF003'),
             ($$UPDATE referral.journal_column SET treatment = 'ignored' WHERE entity = 'patient'$$, 'RF003'),
             ($$UPDATE referral.journal_column SET entity = 'mine', column_name = 'a' WHERE entity = 'patient'$$, 'RF003')) v (s, x);
SET SESSION AUTHORIZATION journal_record_coordinator;
SELECT is(public.code($$INSERT INTO referral.journal_column (entity, column_name, treatment) VALUES ('mine', 'a', 'ignored')$$), '42501', 'a coordinator marks nothing');
SELECT is(public.code('SELECT * FROM referral.journal_column'), '42501', 'nor sees what is marked');
RESET SESSION AUTHORIZATION;
SELECT is(public.code($$DELETE FROM referral.journal_key$$), 'RF007', 'the key stays');

-- types that to_jsonb() writes by the session's settings, or by none
CREATE TABLE public.settled (org_id bigint NOT NULL DEFAULT 1, settled_id bigint GENERATED BY DEFAULT AS IDENTITY,
    days daterange, hash bytea, numbers bigint[], words text[], PRIMARY KEY (org_id, settled_id));
SELECT referral.track_table('public.settled', 'settled', 'settled_id') \g /dev/null
INSERT INTO public.settled (days, hash, numbers, words) VALUES ('[2026-01-02,)', '\x6162ff', '{1,NULL,3}', '{a,"b c"}');
SET DateStyle = 'German';
SET bytea_output = 'escape';
INSERT INTO public.settled (days, hash, numbers, words) VALUES (daterange(make_date(2026, 1, 2), NULL), '\x6162ff', '{1,NULL,3}', '{a,"b c"}');
SELECT is((SELECT count(DISTINCT j.changes) FROM referral.journal j WHERE j.entity = 'settled'), 1::bigint, 'ranges, bytes and arrays are told alike under any settings');
SELECT is((SELECT min(current_setting('DateStyle')) || current_setting('bytea_output')), 'German, DMYescape', 'which the journal leaves as they are');
RESET DateStyle;
RESET bytea_output;
SELECT is((SELECT j.changes FROM referral.journal j WHERE j.entity = 'settled' LIMIT 1),
    '{"days": [null, "[2026-01-02,)"], "hash": [null, "\\x6162ff"], "words": [null, ["a", "b c"]], "numbers": [null, [1, null, 3]]}'::jsonb, 'ISO 8601 and hexadecimal');

-- 3. What attach() takes in

CREATE TABLE public.legacy (legacy_id integer PRIMARY KEY, name text, amount numeric, at timestamptz, flag boolean, secret text, gone text);
ALTER TABLE public.legacy DROP COLUMN gone;
INSERT INTO public.legacy VALUES (1, 'one', 1.50, '2026-01-01 12:00+02', true, 's'), (2, NULL, NULL, NULL, NULL, NULL), (3, '', 0, 'infinity', false, NULL);
SELECT referral.attach('public.legacy') \g /dev/null
SELECT results_eq($$SELECT entity_id, action, transition, to_step, version, changes FROM referral.journal WHERE entity = 'legacy' ORDER BY 1$$,
    $$VALUES (1::bigint, 'update', NULL, NULL, 1::bigint, '{"name": ["one", "one"], "amount": [1.50, 1.50], "at": ["2026-01-01T10:00:00+00:00", "2026-01-01T10:00:00+00:00"], "flag": [true, true], "secret": ["s", "s"]}'::jsonb),
             (2, 'update', NULL, NULL, 1, NULL), (3, 'update', NULL, NULL, 1, '{"name": ["", ""], "amount": [0, 0], "at": ["infinity", "infinity"], "flag": [false, false]}')$$,
    'without a workflow, rows that were there before are on record with all that they hold');
SELECT is((SELECT count(*) FROM referral.verify_coverage('legacy')), 0::bigint, 'so nothing is missing');
SELECT make_workflow('legacy') \g /dev/null
SELECT referral.attach('public.legacy', 'main', step => 'a') \g /dev/null
SELECT results_eq($$SELECT entity_id, action, transition, to_step, version, changes - ARRAY['workflow_id', 'org_id'] FROM referral.journal WHERE entity = 'legacy' AND transition = 'attach' ORDER BY 1$$,
    $$VALUES (1::bigint, 'update', 'attach', 'a', 2::bigint, '{"name": ["one", "one"], "amount": [1.50, 1.50], "at": ["2026-01-01T10:00:00+00:00", "2026-01-01T10:00:00+00:00"], "flag": [true, true], "secret": ["s", "s"]}'::jsonb),
             (2, 'update', 'attach', 'a', 2, '{}'), (3, 'update', 'attach', 'a', 2, '{"name": ["", ""], "amount": [0, 0], "at": ["infinity", "infinity"], "flag": [false, false]}')$$,
    'rows that were there before are on record with all that they hold');
SELECT is((SELECT count(*) FROM referral.verify_coverage('legacy')), 0::bigint, 'so nothing is missing');
CREATE TABLE public.plain (org_id bigint NOT NULL DEFAULT 1, plain_id bigint PRIMARY KEY, a text);
INSERT INTO public.plain VALUES (1, 1, 'a'), (1, 2, NULL);
SELECT referral.attach('public.plain') \g /dev/null
SELECT is(public.coverage(), '', 'nor when there is no workflow for them');

-- 4. Everything is on record, after all that can happen

CREATE TABLE public.part (org_id bigint NOT NULL DEFAULT 1, part_id bigint NOT NULL, k text NOT NULL, v numeric, PRIMARY KEY (org_id, part_id, k)) PARTITION BY LIST (k);
CREATE TABLE public.part_a PARTITION OF public.part FOR VALUES IN ('a');
CREATE TABLE public.part_b (v numeric, k text NOT NULL, gone int, part_id bigint NOT NULL, org_id bigint NOT NULL DEFAULT 1);
ALTER TABLE public.part_b DROP COLUMN gone;
ALTER TABLE public.part ATTACH PARTITION public.part_b FOR VALUES IN ('b');
SELECT referral.track_table('public.part', 'part', 'part_id') \g /dev/null
INSERT INTO public.part SELECT 1, g, CASE WHEN g % 2 = 0 THEN 'a' ELSE 'b' END, g FROM generate_series(1, 20) g;
UPDATE public.part SET k = CASE k WHEN 'a' THEN 'b' ELSE 'a' END, v = v + 0.5 WHERE part_id <= 10;
DELETE FROM public.part WHERE part_id > 15;
INSERT INTO referral.site (name, region) VALUES ('s1', 'north');
INSERT INTO referral.patient (family, birth_date, phone) VALUES ('p1', '1970-01-01', '123'), ('p2', NULL, NULL);
INSERT INTO referral.practitioner (name) VALUES ('d1');
INSERT INTO referral.payer (name) VALUES ('y1');
INSERT INTO referral.referral (patient_id, specialty, site_id, requester_id, payer_id, scheduled_for)
SELECT (SELECT min(patient_id) FROM referral.patient), 'cardiology', 1, 1, 1, 'infinity' FROM generate_series(1, 8);
INSERT INTO referral.document (referral_id, type, content_hash) VALUES (1, 'consult_report', '\x0102'), (2, 'other', '\x');
UPDATE referral.referral SET state = 'validated' WHERE referral_id <= 4;
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient' WHERE referral_id <= 2;
UPDATE referral.referral SET step = 'validated' WHERE referral_id = 1;
UPDATE referral.document SET status = 'superseded' WHERE document_id = 2;
DELETE FROM referral.document WHERE document_id = 1;
UPDATE referral.patient SET phone = '456', family = 'p3' WHERE family = 'p2';
DELETE FROM referral.referral WHERE referral_id = 8;
INSERT INTO referral.referral (referral_id, patient_id, reason_text) SELECT 8, min(patient_id), 'again' FROM referral.patient;
SET SESSION AUTHORIZATION journal_record_feed;
SET referral.occurred_at = '2020-02-29 12:00Z';
INSERT INTO referral.referral (patient_id, specialty, entered_at) SELECT min(patient_id), 'x', now() FROM referral.patient;
RESET referral.occurred_at;
RESET SESSION AUTHORIZATION;
-- rules: a draft, changed, submitted or not; another workflow that rows move to
SELECT referral.copy_rule_version(rule_version_id, 'a copy') FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id) WHERE s.name = 'workflow/standard' AND v.status = 'active' \gset copied_
UPDATE referral.workflow_step SET title = 'Changed' WHERE step = 'validated' AND workflow_id = (SELECT workflow_id FROM referral.workflow WHERE rule_version_id = :copied_copy_rule_version);
DELETE FROM referral.workflow_guard WHERE workflow_id = (SELECT workflow_id FROM referral.workflow WHERE rule_version_id = :copied_copy_rule_version);
INSERT INTO referral.legal_hold (entity, reason) VALUES ('referral', 'a case');
UPDATE referral.legal_hold SET released_at = now();
INSERT INTO referral.journal_purge SELECT (jsonb_populate_record(NULL::referral.journal_purge, '{"org_id": 1, "purge_id": 1, "partition": "x", "from_time": "-infinity",
    "to_time": "infinity", "nrows": 0, "leaves": "{[1,2),[5,9)}", "tree_size": 1, "root_hash": "\\x00", "keep": "6 years 1 mon", "purged_at": "2026-01-01Z", "former": ""}')).*;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'two');
SET referral.org_id = '1';
INSERT INTO referral.patient (org_id, family) VALUES (2, 'elsewhere');
SELECT referral.seal() \g /dev/null
SELECT is(public.coverage(), '', 'all entities, after a busy history');
-- tables change, too
CREATE FUNCTION public.covered(entity text) RETURNS text LANGUAGE sql AS
$$SELECT coalesce(string_agg(DISTINCT concat_ws(' ', problem, columns), '; '), 'covered') FROM referral.verify_coverage(entity)$$;
CREATE TABLE public.grown (org_id bigint NOT NULL DEFAULT 1, grown_id bigint PRIMARY KEY, i integer);
SELECT referral.track_table('public.grown', 'grown', 'grown_id') \g /dev/null
INSERT INTO public.grown VALUES (1, 1, 1), (1, 2, 2), (1, 3, 3);
ALTER TABLE public.grown ADD COLUMN added integer DEFAULT 7, ADD COLUMN added_null text;
SELECT is(public.covered('grown'), 'covered', 'a column added with a default');
INSERT INTO public.grown (grown_id) VALUES (4);
UPDATE public.grown SET added = 8, added_null = 'x' WHERE grown_id = 1;
UPDATE public.grown SET added = 7, added_null = NULL WHERE grown_id = 1;
UPDATE public.grown SET added = 8 WHERE grown_id = 2;
SELECT is(public.covered('grown'), 'covered', 'which was changed since');
VACUUM FULL public.grown;
SELECT is(public.covered('grown'), 'covered', 'in a table written anew');
ALTER TABLE public.grown ADD COLUMN twice integer GENERATED ALWAYS AS (added * 2) STORED;
SELECT is(public.covered('grown'), 'covered', 'a generated column that was added');
ALTER TABLE public.grown ADD COLUMN added_text text NOT NULL DEFAULT 'some text', ADD COLUMN added_numeric numeric DEFAULT 1.50, ADD COLUMN added_array text[] DEFAULT '{a,b}', ADD COLUMN added_now timestamptz DEFAULT now();
SELECT is(public.covered('grown'), 'covered', 'defaults of other types');
ALTER TABLE public.grown ALTER COLUMN added_now DROP DEFAULT, ALTER COLUMN added_text SET DEFAULT 'other';
INSERT INTO public.grown (grown_id) VALUES (5);
SELECT is(public.covered('grown'), 'covered', 'defaults that are others now');
ALTER TABLE public.part ADD COLUMN added integer DEFAULT 7;
INSERT INTO public.part (part_id, k) VALUES (30, 'a');
UPDATE public.part SET v = 1, k = 'a' WHERE part_id = 1;
SELECT is(public.covered('part'), 'covered', 'a column added with a default to a table with partitions');
ALTER TABLE public.person ADD COLUMN added integer DEFAULT 7;
ALTER TABLE public.person DROP COLUMN other;
-- in any case the journal can be told
SELECT referral.baseline(e.entity, v.org_id, v.id, 'altered') FROM (SELECT entity FROM referral.entity WHERE detached_at IS NULL) e, referral.verify_coverage(e.entity) v \g /dev/null
SELECT is(public.coverage(), '', 'all is on record');

-- 5. What was not recorded shows

SET session_replication_role = replica;
SELECT count(*) AS before FROM referral.journal \gset
UPDATE referral.patient SET family = 'changed' WHERE family = 'p1';
INSERT INTO referral.patient (patient_id, family, version) VALUES (1000, 'put in', 1);
DELETE FROM referral.document WHERE document_id = 2;
UPDATE referral.referral SET state = 'closed_loop', version = version + 1 WHERE referral_id = 3;
UPDATE referral.referral SET step = 'declined' WHERE referral_id = 4;
UPDATE referral.referral SET entered_at = entered_at + interval '1 us' WHERE referral_id = 5;
UPDATE referral.referral SET workflow_id = workflow_id + 1 WHERE referral_id = 6;
UPDATE referral.referral SET scheduled_for = NULL WHERE referral_id = 7;
INSERT INTO referral.document (document_id, referral_id, type, version) VALUES (1, 1, 'consult_report', 1);
UPDATE public.part SET v = 99.50 WHERE part_id = 2;
UPDATE public.person SET added = 9 WHERE person_id = 12;
UPDATE referral.workflow_step SET title = 'x' WHERE step = 'on_hold' AND workflow_id = 1;
SELECT is((SELECT count(*) FROM referral.journal), :before::bigint, 'a replica records nothing');
RESET session_replication_role;
SELECT set_eq($$SELECT org_id, problem, columns FROM referral.verify_coverage('patient')$$,
              $$VALUES (1::bigint, 'differs', '{family}'::text[]), (1, 'no record left', NULL)$$, 'patients: one changed, one put in, as far as a purge allows to tell');
SELECT results_eq($$SELECT id, problem, columns FROM referral.verify_coverage('document')$$,
                  $$VALUES (1::bigint, 'recorded as deleted', NULL::text[]), (2, 'deleted without a record', NULL)$$, 'documents: one put in again, one deleted');
SELECT results_eq($$SELECT id, problem, columns FROM referral.verify_coverage('referral')$$,
                  $$VALUES (3::bigint, 'differs', '{version,state}'::text[]), (4, 'differs', '{step}'), (5, 'differs', '{entered_at}'), (6, 'differs', '{workflow_id}'), (7, 'differs', '{scheduled_for}')$$,
                  'referrals: what the journal carries in columns of its own, too');
SELECT results_eq($$SELECT id, problem, columns FROM referral.verify_coverage('part')$$, $$VALUES (2::bigint, 'differs', '{v}'::text[])$$, 'a row of a partition');
SELECT results_eq($$SELECT id, problem, columns FROM referral.verify_coverage('person')$$, $$VALUES (12::bigint, 'differs', '{added}'::text[])$$, 'a column with an added default');
SELECT results_eq($$SELECT org_id, problem, columns FROM referral.verify_coverage('workflow_step')$$, $$VALUES (0::bigint, 'differs', '{title}'::text[])$$, 'and rules');
SELECT is(public.code($$SELECT * FROM referral.verify_coverage('nonsense')$$), 'RF019', 'no such entity');
SELECT is((SELECT count(*) FROM referral.verify_coverage(NULL)), 0::bigint, 'null has no rows');
SELECT is(public.code('SET ROLE journal_record_coordinator; SELECT * FROM referral.verify_coverage(''patient'')'), '42501', 'a coordinator does not ask');
SET SESSION AUTHORIZATION journal_record_admin;
SELECT is((SELECT count(*) FROM referral.verify_coverage('patient')), 2::bigint, 'an administrator sees what is wrong in the own organisation');
SET SESSION AUTHORIZATION journal_record_auditor;
SELECT is((SELECT count(*) FROM referral.verify_coverage('referral')), 5::bigint, 'so does an auditor');
RESET SESSION AUTHORIZATION;
-- on record afterwards
SELECT is(referral.baseline(e.entity, v.org_id, v.id, 'Repaired'), v.problem, format('baseline of %s %s', e.entity, v.id))
FROM (SELECT entity FROM referral.entity WHERE detached_at IS NULL) e, referral.verify_coverage(e.entity) v ORDER BY e.entity, v.id;
SELECT is(public.coverage(), '', 'what was put on record is no problem any more');
SELECT is((SELECT count(*) FROM referral.journal WHERE reason = 'Repaired' AND action IN ('baseline', 'delete')), 12::bigint, 'each has a row with the reason');
SELECT is(referral.baseline('patient', 1, 1000, 'x'), NULL, 'nothing to settle');
SELECT is(referral.baseline('patient', 1, 1000, NULL), NULL, 'null for null');
SELECT is(public.code($$SET ROLE journal_record_admin; SELECT referral.baseline('patient', 1, 1000, 'x')$$), '42501', 'an administrator does not put on record');
ALTER TABLE public.person RENAME COLUMN pin TO code;
ALTER TABLE public.person ALTER COLUMN added TYPE text;
SELECT isnt(public.coverage(), '', 'another name or type makes rows differ');
SELECT referral.baseline('person', v.org_id, v.id, 'renamed') FROM referral.verify_coverage('person') v \g /dev/null
SELECT is(public.coverage(), '', 'until that is on record');

-- 6. A row as it was

INSERT INTO referral.patient (patient_id, family, given, birth_date, active) VALUES (500, 'a', 'b', '1999-12-31', false);
SELECT clock_timestamp() AS t1 \gset
UPDATE referral.patient SET family = 'c', given = NULL WHERE patient_id = 500;
SELECT clock_timestamp() AS t2 \gset
CREATE TABLE public.then_t2 AS SELECT * FROM referral.patient WHERE patient_id = 500;
DELETE FROM referral.patient WHERE patient_id = 500;
SELECT clock_timestamp() AS t3 \gset
INSERT INTO referral.patient (patient_id, sex) VALUES (500, 'other');
SELECT clock_timestamp() AS t4 \gset
SELECT is(referral.case_as_of('patient', 1, 500, t), x, 'the row ' || w)
FROM (VALUES ('1999-01-01Z'::timestamptz, NULL::jsonb, 'before there was one'), ('-infinity', NULL, 'at the beginning of time'),
             (:'t1', '{"org_id": 1, "patient_id": 500, "family": "a", "given": "b", "birth_date": "1999-12-31", "active": false, "version": 1}', 'as it came'),
             (:'t2', '{"org_id": 1, "patient_id": 500, "family": "c", "given": null, "birth_date": "1999-12-31", "active": false, "version": 2}', 'as it was changed'),
             (:'t3', NULL, 'when it was deleted'), (:'t4', '{"org_id": 1, "patient_id": 500, "sex": "other", "active": true, "version": 1}', 'when it was there again'),
             ('infinity', '{"org_id": 1, "patient_id": 500, "sex": "other", "active": true, "version": 1}', 'for ever')) v (t, x, w);
-- demographics is computed from the rest, and not in the journal
SELECT is((SELECT to_jsonb(t) - 'demographics' FROM public.then_t2 t),
          to_jsonb(jsonb_populate_record(NULL::referral.patient, referral.case_as_of('patient', 1, 500, :'t2'))) - 'demographics', 'it can be made a row again, equal to what it was');
SELECT is((SELECT count(*) FROM referral.patient p WHERE phone IS NULL
           AND to_jsonb(p) - 'demographics' <> to_jsonb(jsonb_populate_record(NULL::referral.patient, referral.case_as_of('patient', p.org_id, p.patient_id, 'infinity'))) - 'demographics'),
          0::bigint, 'so can every patient without a sensitive value');
SELECT is((SELECT count(*) FROM referral.referral r WHERE to_jsonb(r) - 'transition_id' <> to_jsonb(jsonb_populate_record(NULL::referral.referral, referral.case_as_of('referral', r.org_id, r.referral_id, 'infinity'))) - 'transition_id'),
          0::bigint, 'every referral');
SELECT is((SELECT count(*) FROM referral.document d WHERE d IS DISTINCT FROM jsonb_populate_record(NULL::referral.document, referral.case_as_of('document', d.org_id, d.document_id, 'infinity'))), 0::bigint, 'every document, bytes included');
SELECT is((SELECT count(*) FROM referral.rule_version r WHERE r IS DISTINCT FROM jsonb_populate_record(NULL::referral.rule_version, referral.case_as_of('rule_version', 0, r.rule_version_id, 'infinity'))), 0::bigint,
          'every rule version, with ranges and arrays');
SELECT is(referral.journal_replay('patient', 1, 500, :'t2'), '{"family": "c", "given": null, "birth_date": "1999-12-31", "active": false, "version": 2}', 'journal_replay() is that without the identity');
SELECT is(x, NULL, 'null for null')
FROM (VALUES (referral.case_as_of(NULL, 1, 500, now())), (referral.case_as_of('patient', NULL, 500, now())), (referral.case_as_of('patient', 1, NULL, now())), (referral.case_as_of('patient', 1, 500, NULL)),
             (referral.journal_replay(NULL, 1, 500)), (referral.case_as_of('patient', 2, 500, now())), (referral.case_as_of('patient', 1, 4711, now()))) v (x);
SELECT is(public.code($$SELECT referral.case_as_of('nonsense', 1, 1, now())$$), 'RF019', 'no such entity');
SET SESSION AUTHORIZATION journal_record_coordinator;
SELECT is((referral.case_as_of('patient', 1, 500, 'infinity')) ->> 'sex', 'other', 'a coordinator sees rows of the own organisation as they were');
SELECT is(referral.case_as_of('patient', 2, (SELECT 1)::bigint, 'infinity'), NULL, 'but not of another');
SELECT is(referral.case_as_of('workflow', 0, 1, 'infinity'), NULL, 'nor rules');
RESET SESSION AUTHORIZATION;
-- several changes in a transaction, and one that is undone
BEGIN;
UPDATE referral.patient SET city = 'one' WHERE patient_id = 500;
SAVEPOINT a;
UPDATE referral.patient SET city = 'two' WHERE patient_id = 500;
ROLLBACK TO a;
UPDATE referral.patient SET postal_code = '3' WHERE patient_id = 500;
COMMIT;
SELECT results_eq($$SELECT c ->> 'city', c ->> 'postal_code', c ->> 'version' FROM referral.case_as_of('patient', 1, 500, 'infinity') c$$, $$VALUES ('one', '3', '3')$$, 'a rolled back change was none');

-- 7. How far it may be read

SELECT results_eq('SELECT xid_epoch, xid <= pg_snapshot_xmax(pg_current_snapshot()), xid = pg_snapshot_xmin(pg_current_snapshot()) FROM referral.journal_horizon(1)', 'VALUES (1, true, true)',
                  'the horizon is the oldest transaction that is open');
SELECT is((referral.journal_horizon(NULL)).xid_epoch, NULL, 'null for null');
BEGIN;
INSERT INTO referral.patient (family) VALUES ('open');
SELECT cmp_ok((referral.journal_horizon(1)).xid, '<=', pg_current_xact_id(), 'one''s own transaction is not below it');
SELECT is((SELECT count(*) FROM referral.journal_lag WHERE pid = pg_backend_pid()), 0::bigint, 'but one does not wait for oneself');
COMMIT;
SELECT is(public.code('SET ROLE journal_record_coordinator; SELECT referral.journal_horizon(1)'), '42501', 'a coordinator does not ask');
SELECT is(public.code('SET ROLE journal_record_feed; SELECT * FROM referral.journal_lag'), 'done', 'an interface sees who holds it back');
SELECT is(public.code('SET ROLE journal_record_coordinator; SELECT * FROM referral.journal_lag'), '42501', 'a coordinator does not');

-- NOTIFY
SELECT is(public.code('SET ROLE journal_record_admin; SET referral.notify = on'), '42501', 'only a superuser switches NOTIFY on');
SELECT is(current_setting('referral.notify'), 'off', 'it is off');
LISTEN referral_journal;
SET referral.notify = on;
-- psql prints the notification it gets; TAP ignores the line
BEGIN;
UPDATE referral.patient SET city = 'notify' WHERE patient_id = 500;
SAVEPOINT a;
UPDATE referral.patient SET city = 'notify 2' WHERE patient_id = 500;
ROLLBACK TO a;
UPDATE referral.patient SET city = 'notify 3' WHERE patient_id = 500;
COMMIT;
SELECT is((SELECT city FROM referral.patient WHERE patient_id = 500), 'notify 3', 'changes that notify are made');
BEGIN;
UPDATE referral.patient SET city = 'notify 4' WHERE patient_id = 500;
ROLLBACK;
RESET referral.notify;
UNLISTEN *;

-- What a session knows of the journal by heart goes with any change of the table, as with a new session.
CREATE FUNCTION public.forget() RETURNS void LANGUAGE sql AS 'ALTER TABLE referral.journal ALTER COLUMN reason SET STATISTICS -1';
-- 8. Epochs: a restore into an older copy of the same cluster

SELECT max(xid_epoch) AS epoch FROM referral.journal_epoch \gset
-- what was restored has transactions that are yet to come here
INSERT INTO referral.journal (org_id, entity_id, occurred_at, recorded_at, xid, xid_epoch, entity, action, actor, actor_kind, db_user)
VALUES (2, 1, now(), now(), (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 1000000)::text::xid8, :epoch, 'patient', 'insert', 'x', 'user', 'x');
SELECT public.forget()\g /dev/null
SELECT max(xid_epoch) AS epoch FROM referral.journal_epoch \gset
SELECT is((referral.journal_horizon(2)).xid_epoch, :epoch, 'it may be read as far as its epoch goes here: nobody has begun the next one');
SELECT is((referral.journal_horizon(1)).xid_epoch, :epoch, 'the other one goes on');
UPDATE referral.patient SET family = 'before' WHERE org_id = 1 AND patient_id = 500;
SELECT is((SELECT xid_epoch FROM public.last), :epoch, 'and is written on');
BEGIN;
UPDATE referral.patient SET family = 'undone' WHERE org_id = 2;
SELECT is((SELECT xid_epoch FROM public.last), :epoch + 1, 'a change there begins a new epoch');
ROLLBACK;
SELECT is((SELECT max(xid_epoch) FROM referral.journal_epoch), :epoch, 'one that is undone does not');
BEGIN;
SAVEPOINT a;
UPDATE referral.patient SET family = 'undone' WHERE org_id = 2;
ROLLBACK TO a;
UPDATE referral.patient SET family = 'after' WHERE org_id = 2;
COMMIT;
SELECT is((SELECT xid_epoch FROM public.last), :epoch + 1, 'the next one does');
SELECT results_eq('SELECT xid_epoch, system_identifier FROM referral.journal_epoch ORDER BY 1 DESC LIMIT 1',
                  format('SELECT %s, system_identifier::text FROM pg_control_system()', :epoch + 1), 'it is in the list');
UPDATE referral.patient SET family = 'then' WHERE org_id = 1 AND patient_id = 500;
SELECT is((SELECT xid_epoch FROM public.last), :epoch + 1, 'all other organisations come along');
SELECT is((referral.journal_horizon(o)).xid_epoch, :epoch + 1, format('horizon of organisation %s', o)) FROM generate_series(0, 2) o;
UPDATE referral.patient SET family = 'then again' WHERE org_id = 2;
SELECT is((SELECT max(xid_epoch) FROM referral.journal_epoch), :epoch + 1, 'one restore, one epoch');
SELECT is((SELECT array_agg(j.family ORDER BY j.n) FROM (SELECT changes #>> '{family,1}' AS family, row_number() OVER (ORDER BY xid_epoch, xid, journal_id) AS n
           FROM referral.journal WHERE org_id = 2 AND entity = 'patient' AND changes ? 'family') j), '{elsewhere,after,"then again"}', 'the order is kept');
SELECT is((SELECT xid_epoch FROM referral.journal WHERE org_id = 2 AND entity = 'patient' ORDER BY xid_epoch DESC, xid DESC LIMIT 1), :epoch + 1, 'what was restored comes before');
-- into another cluster
UPDATE referral.journal_epoch SET system_identifier = 'another' WHERE xid_epoch = :epoch + 1;
SELECT public.forget()\g /dev/null
SELECT max(xid_epoch) AS epoch FROM referral.journal_epoch \gset
SELECT is((referral.journal_horizon(o)).xid_epoch, :epoch + 1, format('in another cluster all may be read, organisation %s', o)) FROM generate_series(0, 2) o;
UPDATE referral.patient SET family = 'elsewhere' WHERE org_id = 1 AND patient_id = 500;
SELECT is((SELECT xid_epoch FROM public.last), :epoch + 1, 'and the first change begins an epoch');

SELECT * FROM finish();
