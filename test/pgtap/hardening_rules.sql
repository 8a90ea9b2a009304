-- Ways round rules, their approval and memberships that an attacker found.
SELECT plan(77);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql
SET client_min_messages = error;

CREATE ROLE hardening_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE hardening_approver LOGIN IN ROLE referral_rule_approver;
CREATE ROLE hardening_both LOGIN IN ROLE referral_rule_author, referral_rule_approver;
CREATE ROLE hardening_clerk LOGIN IN ROLE referral_coordinator;
CREATE ROLE hardening_boss LOGIN IN ROLE referral_admin;
CREATE ROLE hardening_second LOGIN IN ROLE referral_admin;
CREATE ROLE hardening_ai LOGIN IN ROLE referral_admin;
CREATE ROLE hardening_system LOGIN IN ROLE referral_admin;
CREATE ROLE hardening_importer LOGIN IN ROLE referral_admin, referral_integration;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Second');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'hardening_clerk', 'user'),
    (1, 'hardening_boss', 'user'), (1, 'hardening_second', 'user'), (1, 'hardening_ai', 'ai'), (1, 'hardening_system', 'system'),
    (1, 'hardening_author', 'user'), (1, 'hardening_approver', 'user'), (1, 'hardening_both', 'user'),
    (1, 'hardening_importer', 'user'), (1, 'postgres', 'user'), (2, 'hardening_elsewhere', 'user');

CREATE FUNCTION reasons_version(display text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('reasons/hardening', 'reasons') ON CONFLICT DO NOTHING;
    INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'reasons/hardening'
    RETURNING rule_version_id INTO id;
    INSERT INTO referral.reason_code (rule_version_id, domain, code, display) VALUES (id, 'hardening', 'one', display);
    RETURN id;
END $$;
COMMENT ON FUNCTION reasons_version(text) IS 'Makes a draft with a reason code, by the author who calls it.';

-- ---------- checking a rule runs nothing ----------
CREATE TABLE item (item_id bigint PRIMARY KEY, code text, note text, expires_on date, seen_at timestamptz, wait interval);
SELECT referral.attach('item', row_security => false) AS item \gset
GRANT SELECT ON item TO PUBLIC;
CREATE TABLE spied (by text);
CREATE FUNCTION spy() RETURNS boolean LANGUAGE sql VOLATILE SECURITY DEFINER AS
    'INSERT INTO public.spied VALUES (session_user) RETURNING true';
CREATE FUNCTION spying(integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.spy(); END';
CREATE FUNCTION failing(integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
    $$BEGIN RAISE EXCEPTION 'called' USING ERRCODE = 'ZZ001'; END$$;
INSERT INTO referral.rule_function (signature) VALUES ('public.spying(integer)'), ('public.failing(integer)');
SELECT is(has_function_privilege('public', f, 'EXECUTE'), false, 'not everybody may call ' || f)
FROM unnest('{referral.check_rule(regclass\,text),referral.broken_rules()}'::text[]) f;
SET SESSION AUTHORIZATION hardening_clerk;
SELECT is(code, '42501', 'a coordinator checks no rules')
FROM refused($$SELECT referral.check_rule('public.item', 'true')$$);
SET SESSION AUTHORIZATION hardening_author;
SELECT is(code, 'done', 'a rule author may check ' || rule)
FROM unnest(ARRAY['public.spying(1)', 'public.failing(1)', 'CASE WHEN true THEN public.spying(2) ELSE false END',
    'note = ''x'' AND public.failing(length(''abc''))']) rule,
    refused(format('SELECT referral.check_rule(''public.item'', %L)', rule));
SELECT is(referral.check_rule('public.item', 'public.spying(3)'), 'public.spying(3)', 'which gives it back');
RESET SESSION AUTHORIZATION;
SELECT is(code, 'done', 'so may the owner') FROM refused($$SELECT referral.check_rule('public.item', 'public.failing(1)')$$);
SELECT is(referral.check_rule('item', 'public.spying(4)'), 'public.spying(4)', 'who gets it back, too');
SELECT is_empty('SELECT * FROM spied', 'which calls no function');
SELECT is(code, 'RF011', 'constants are evaluated: ' || rule)
FROM unnest(ARRAY['1/0 = 1', 'expires_on < ''nonsense''::date', 'note = ''x'' AND 1/0 = 1']) rule,
    refused(format('SELECT referral.check_rule(''item'', %L)', rule));
SELECT is(code, 'RF011', 'an operator of no schema is refused as a rule: ' || rule)
FROM unnest(ARRAY['item_id OPERATOR(nosuch.=) 1', 'note OPERATOR(nosuch.~) ''x''', 'nosuch.f(1)', 'note::nosuch.t = 1']) rule,
    refused(format('SELECT referral.check_rule(''item'', %L)', rule));

-- ---------- settings do not change what a rule means ----------
CREATE FUNCTION verdict(guard text, settings text, given text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    -- the workflow is new, so the rule is compiled with the settings on
    DELETE FROM item;
    PERFORM make_workflow('item', guard);
    INSERT INTO item (item_id) VALUES (1);
    EXECUTE format('UPDATE item SET %s', given);
    EXECUTE (SELECT string_agg(format('SET LOCAL %s', s), ';') FROM unnest(string_to_array(settings, ';')) s);
    SELECT code INTO found FROM public.refused('UPDATE public.item SET step = ''b''');
    PERFORM set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO, MDY', true), set_config('IntervalStyle', 'postgres', true),
        set_config('standard_conforming_strings', 'on', true), set_config('transform_null_equals', 'off', true),
        set_config('default_text_search_config', 'pg_catalog.english', true), set_config('array_nulls', 'on', true),
        set_config('xmloption', 'content', true), set_config('timezone_abbreviations', 'Default', true),
        set_config('search_path', 'public, pg_catalog', true), set_config('extra_float_digits', '1', true), set_config('bytea_output', 'hex', true);
    RETURN found;
END $$;
COMMENT ON FUNCTION verdict(text, text, text) IS 'What a guard says of a row, compiled and asked under the settings.';
SELECT is(verdict(guard, settings, given), expected, format('%s under %s', guard, settings))
FROM (VALUES
    ('code !~ ''\D''', 'standard_conforming_strings = off', 'code = ''12a''', 'RF002'),
    ('code !~ ''\D''', 'standard_conforming_strings = off', 'code = ''D12''', 'RF002'),
    ('code !~ ''\D''', 'standard_conforming_strings = off', 'code = ''123''', 'done'),
    ('expires_on < current_date', 'TimeZone = ''<X>-167''', 'expires_on = (now() AT TIME ZONE ''UTC'')::date + 2', 'RF002'),
    ('expires_on < current_date', 'TimeZone = ''<X>+167''', 'expires_on = (now() AT TIME ZONE ''UTC'')::date - 1', 'done'),
    ('expires_on < now()::date', 'TimeZone = ''<X>-167''', 'expires_on = (now() AT TIME ZONE ''UTC'')::date + 2', 'RF002'),
    ('expires_on < localtimestamp', 'TimeZone = ''<X>-167''', 'expires_on = (now() AT TIME ZONE ''UTC'')::date + 2', 'RF002'),
    ('seen_at::date = ''2026-01-02''', 'TimeZone = ''<X>-20''', 'seen_at = ''2026-01-02 12:00+00''', 'done'),
    ('seen_at = ''2026-01-02 12:00''', 'TimeZone = ''<X>-20''', 'seen_at = ''2026-01-02 12:00+00''', 'done'),
    ('extract(hour FROM seen_at) = 12', 'TimeZone = ''<X>-20''', 'seen_at = ''2026-01-02 12:00+00''', 'done'),
    ('to_char(seen_at, ''HH24'') = ''12''', 'TimeZone = ''<X>-20''', 'seen_at = ''2026-01-02 12:00+00''', 'done'),
    ('expires_on::text = ''2026-01-02''', 'DateStyle = ''SQL, DMY''', 'expires_on = ''2026-01-02''', 'done'),
    ('expires_on = ''01/02/2026''', 'DateStyle = ''ISO, DMY''', 'expires_on = ''2026-01-02''', 'done'),
    ('expires_on = code::date', 'DateStyle = ''ISO, DMY''', 'expires_on = ''2026-01-02'', code = ''01/02/2026''', 'done'),
    ('format(''%s'', expires_on) = ''2026-01-02''', 'DateStyle = ''German''', 'expires_on = ''2026-01-02''', 'done'),
    ('wait::text = ''1 day 02:00:00''', 'IntervalStyle = iso_8601', 'wait = ''1 day 2 hours''', 'done'),
    ('wait = ''-1 02:00:00''', 'IntervalStyle = sql_standard', 'wait = ''-1 day +2 hours''', 'done'),
    ('note = NULL', 'transform_null_equals = on', 'note = NULL', 'RF002'),
    ('(note = NULL) IS NULL', 'transform_null_equals = on', 'note = NULL', 'done'),
    ('convert_to(code, ''UTF8'')::text = ''\x61''', 'bytea_output = escape', 'code = ''a''', 'done'),
    ('(length(code) / 3.0::float8)::text = ''0.3333333333333333''', 'extra_float_digits = -5', 'code = ''a''', 'done'))
    v (guard, settings, given, expected);
SELECT is(verdict(guard, format('%s = %s', setting, one), given), verdict(guard, format('%s = %s', setting, other), given),
    format('%s is the same under %s %s and %s', guard, setting, one, other))
FROM (VALUES
    ('to_tsvector(note) = to_tsvector(code)', 'default_text_search_config', '''pg_catalog.simple''', '''pg_catalog.english''', 'note = ''cats'', code = ''cat'''),
    ('array_position(code::text[], ''NULL'') IS NULL', 'array_nulls', 'off', 'on', 'code = ''{NULL}'''),
    ('code::timestamptz = ''2026-01-01 06:30+00''', 'timezone_abbreviations', '''India''', '''Default''', 'code = ''2026-01-01 12:00 IST'''),
    ('has_table_privilege(code, ''INSERT'')', 'search_path', 'pg_temp', 'public', 'code = ''item'''))
    v (guard, setting, one, other, given);

-- ---------- approval stands for the very rules ----------
SET SESSION AUTHORIZATION hardening_author;
SELECT reasons_version('First') AS first \gset
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :first;
SELECT is(code, 'RF016', 'an author makes nobody an editor')
FROM (SELECT reasons_version('Draft') AS id) d, refused(format($$UPDATE referral.rule_version
    SET editors = editors || 'hardening_approver'::text WHERE rule_version_id = %s$$, id));
SET SESSION AUTHORIZATION hardening_approver;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :first;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :first;
SET SESSION AUTHORIZATION hardening_author;
SELECT reasons_version('Second') AS second \gset
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :second;
SELECT reasons_version('Third') AS third \gset
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :third;
SET SESSION AUTHORIZATION hardening_approver;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id IN (:second, :third);
RESET SESSION AUTHORIZATION;
ALTER TABLE referral.reason_code ADD COLUMN my_note text;
ALTER TABLE referral.workflow_guard ADD COLUMN my_note text;
SELECT is(code, 'done', 'a column more in a rule table does not undo an approval')
FROM refused(format($$UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = %s$$, :second));
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :third;
SELECT is(referral.rollback_rule_set('reasons/hardening'), :first::bigint, 'nor the way back');
ALTER TABLE referral.reason_code ADD COLUMN r text;
SET SESSION AUTHORIZATION hardening_author;
SELECT reasons_version('Fourth') AS fourth \gset
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :fourth;
SET SESSION AUTHORIZATION hardening_approver;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :fourth;
RESET SESSION AUTHORIZATION;
SET session_replication_role = replica;
UPDATE referral.reason_code SET display = 'Not what was approved' WHERE rule_version_id = :fourth;
RESET session_replication_role;
SELECT is(code, 'RF016', 'a column named r does not hide what is not what was approved')
FROM refused(format($$UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = %s$$, :fourth));
SELECT is(code, 'RF019', 'there is no way back of a set that is not there') FROM refused($$SELECT referral.rollback_rule_set('nosuch')$$);

SET SESSION AUTHORIZATION hardening_both;
SELECT reasons_version('By both') AS by_both \gset
SET SESSION AUTHORIZATION hardening_author;
UPDATE referral.reason_code SET display = 'Edited' WHERE rule_version_id = :by_both;
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :by_both;
SET SESSION AUTHORIZATION hardening_both;
SELECT ok(code = 'RF013' AND detail LIKE '%Author: hardening\_both.%Editors: hardening\_author.%', 'who may not approve is told why')
FROM refused(format($$UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = %s$$, :by_both));
RESET SESSION AUTHORIZATION;

CREATE TABLE narrow (narrow_id bigint PRIMARY KEY);
SELECT referral.attach('narrow', row_security => false) AS narrow \gset
SELECT make_workflow('item', 'note = ''x''', name => 'wide', priority => 200) AS wide \gset
SET SESSION AUTHORIZATION hardening_author;
SELECT referral.copy_rule_version(rule_version_id, 'for another') AS bent FROM referral.workflow WHERE workflow_id = :wide \gset
UPDATE referral.workflow SET entity = 'narrow' WHERE rule_version_id = :bent;
SELECT ok(code = 'RF011' AND detail LIKE '%note%', 'a draft whose guards do not fit its entity is not submitted')
FROM refused(format($$UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = %s$$, :bent));
UPDATE referral.workflow SET entity = 'item' WHERE rule_version_id = :bent;
SELECT is(code, 'done', 'one whose guards do is')
FROM refused(format($$UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = %s$$, :bent));
RESET SESSION AUTHORIZATION;

-- ---------- the time of imported history is an interface's to say ----------
GRANT CREATE ON SCHEMA public TO hardening_boss, hardening_importer;
SET SESSION AUTHORIZATION hardening_boss;
CREATE TABLE public.past (past_id bigint PRIMARY KEY);
INSERT INTO public.past VALUES (1);
SET referral.occurred_at = '2020-01-01';
SELECT is(code, 'RF003', 'attach() does not backdate' || what)
FROM (VALUES ('', ''), (', with a workflow', ', ''main''')) v (what, workflow),
    refused(format('SELECT referral.attach(%L%s)', 'public.past', workflow));
RESET referral.occurred_at;
SELECT is(referral.attach('public.past'), 'past', 'attach() of today');
SET referral.occurred_at = '2020-01-01';
SELECT is(code, 'RF003', 'nor does adopt_workflow()') FROM refused($$SELECT referral.adopt_workflow('main', 'past')$$);
SELECT is(code, 'RF003', 'nor does a second attach()') FROM refused($$SELECT referral.attach('public.past', 'main')$$);
SET ROLE referral_admin;
SELECT is(code, 'RF003', 'under no role') FROM refused($$SELECT referral.adopt_workflow('main', 'past')$$);
RESET ROLE;
RESET referral.occurred_at;
RESET SESSION AUTHORIZATION;
SELECT is_empty($$SELECT * FROM referral.journal WHERE occurred_at < '2021-01-01'$$, 'the journal has no such past');
SET SESSION AUTHORIZATION hardening_importer;
CREATE TABLE public.imported (imported_id bigint PRIMARY KEY);
SET referral.occurred_at = '2020-01-01';
SELECT is(referral.attach('public.imported'), 'imported', 'an interface may say it');
RESET referral.occurred_at;
RESET SESSION AUTHORIZATION;

-- ---------- memberships ----------
SET SESSION AUTHORIZATION hardening_boss;
SELECT is(code, 'RF003', 'an admin does not draw in a login of another organisation')
FROM refused($$INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'hardening_elsewhere')$$);
SELECT is(code, 'RF003', 'nor changes his own membership: ' || statement)
FROM unnest(ARRAY['UPDATE referral.organization_member SET actor_kind = ''system'' WHERE login = session_user',
    'DELETE FROM referral.organization_member WHERE login = session_user',
    'UPDATE referral.organization_member SET login = ''hardening_other'' WHERE login = session_user',
    'UPDATE referral.organization_member SET login = session_user || ''x'' WHERE login = ''hardening_clerk''']) statement, refused(statement);
SELECT isnt(code, 'done', 'nor gives himself a second one')
FROM refused($$INSERT INTO referral.organization_member (org_id, login) VALUES (2, session_user)$$);
SELECT is(code, 'done', 'but he changes others'': ' || statement)
FROM unnest(ARRAY['INSERT INTO referral.organization_member (login) VALUES (''hardening_new'')',
    'UPDATE referral.organization_member SET actor_kind = ''system'' WHERE login = ''hardening_clerk''',
    'DELETE FROM referral.organization_member WHERE login = ''hardening_second''']) statement, refused(statement);
SET referral.actor_kind = 'ai';
SELECT is(code, 'RF003', 'though not as an AI')
FROM refused($$UPDATE referral.organization_member SET actor_kind = 'system' WHERE login = 'hardening_clerk'$$);
RESET referral.actor_kind;
SET SESSION AUTHORIZATION hardening_ai;
SELECT is(code, 'RF003', 'an AI changes none: ' || statement)
FROM unnest(ARRAY['INSERT INTO referral.organization_member (login) VALUES (''hardening_new'')',
    'UPDATE referral.organization_member SET actor_kind = ''user'' WHERE login = ''hardening_system''',
    'UPDATE referral.organization_member SET actor_kind = ''user'' WHERE login = session_user',
    'DELETE FROM referral.organization_member WHERE login = ''hardening_clerk''']) statement, refused(statement);
SET SESSION AUTHORIZATION hardening_system;
SELECT is(code, 'RF003', 'nor does a system')
FROM refused($$UPDATE referral.organization_member SET actor_kind = 'user' WHERE login = 'hardening_ai'$$);
RESET SESSION AUTHORIZATION;
SELECT is(code, 'done', 'the owner of the model may: ' || statement)
FROM unnest(ARRAY['INSERT INTO referral.organization_member (org_id, login) VALUES (1, ''hardening_elsewhere'')',
    'UPDATE referral.organization_member SET actor_kind = ''user'' WHERE login = ''hardening_ai''',
    'DELETE FROM referral.organization_member WHERE login = ''hardening_boss''']) statement, refused(statement);

SELECT * FROM finish();
