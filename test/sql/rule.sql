-- check_rule: what may stand in a rule, and what each refusal says.
-- The model is deployed in a transaction that is rolled back; each error undoes only its own statement.
\set ON_ERROR_ROLLBACK on
SET client_min_messages = warning;

-- where registered functions are kept is part of the model: without it, others than built-in ones cannot be judged
CREATE FUNCTION rule_foreign(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE TABLE rule_early (a integer);
SELECT referral.check_rule('rule_early', 'a > 0 AND lower(''X'') = ''x''');
SELECT referral.check_rule('rule_early', 'rule_foreign(a) = 1');
SELECT referral.check_rule('rule_early', 'public.rule_foreign(a) = 1');
DROP FUNCTION rule_foreign;
DROP TABLE rule_early;

BEGIN;
SELECT count(*) > 0 AS deployed FROM referral.deploy();

CREATE SCHEMA rule_site;
CREATE FUNCTION rule_site.loud(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE
    AS $$ BEGIN RAISE EXCEPTION 'code of a foreign type ran'; END $$;
CREATE DOMAIN rule_site.code AS text CHECK (rule_site.loud(VALUE));
CREATE DOMAIN rule_site.own_code AS text CHECK (VALUE <> '');
CREATE TYPE rule_site.pair AS (a integer, b rule_site.code);
CREATE TYPE rule_site.mood AS ENUM ('good', 'bad');
CREATE FUNCTION rule_site.strength(text) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT length($1)';
CREATE FUNCTION rule_site.moody() RETURNS integer LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION rule_site.differ(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR rule_site.= (FUNCTION = rule_site.differ, LEFTARG = integer, RIGHTARG = integer);
-- a function of the user's in the extension's schema is the user's all the same
CREATE FUNCTION referral.rule_guest(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';

CREATE TABLE rule_order (
    gone integer,
    quantity integer,
    price numeric,
    total numeric GENERATED ALWAYS AS (quantity * price) STORED,
    note text,
    placed timestamptz,
    status referral.state,
    own rule_site.own_code,
    tags text[],
    "Mixed case" text,
    "new" text
);
ALTER TABLE rule_order DROP COLUMN gone;

-- ---------- accepted ----------
SELECT referral.check_rule('rule_order', 'quantity > 0') AS "returned as given";
SELECT referral.check_rule(NULL, 'true') IS NULL AND referral.check_rule('rule_order', NULL) IS NULL AS "null for null";
SELECT count(*) AS accepted, bool_and(referral.check_rule('rule_order', e) = e) AS unchanged
FROM (VALUES
    ('true'), ('NULL'), ('NULL::boolean'), ('(quantity > 0)'), (' quantity = 1 -- why'), ('quantity BETWEEN 1 AND 5'),
    ('quantity IS DISTINCT FROM old.quantity'), ('NOT (note IS NULL OR note = '''')'), ('note LIKE ''a%'''),
    ('new.quantity > old.quantity'), ('old.total > 10'), ('"Mixed case" = ''x'' AND old."Mixed case" IS NULL'),
    ('quantity IN (1, 2, 3)'), ('quantity = ANY (ARRAY[1, 2])'), ('''a'' = ANY (tags)'),
    ('placed <= now()'), ('placed < current_date - 7'), ('placed + interval ''2 days'' < now()'),
    ('status = ''scheduled'''), ('status > ''received'''), ('status::text ~ ''^s'''), ('(status, quantity) = (''received'', 1)'),
    ('own = ''x'''), ('''x''::rule_site.own_code = own'), ('lower(note) = upper(note)'), ('coalesce(note, ''?'') <> ''?'''),
    ('CASE WHEN quantity > 0 THEN price / quantity ELSE 0 END < 5'), ('current_user = ''x'''), ('note COLLATE "C" < ''x'''),
    ('referral.has_document(1, quantity, ''consult_report'')'), ('has_document(1, quantity, ''consult_report'')'),
    ('pg_has_role(''referral_admin'', ''USAGE'')'), ('''{"a": true}''::jsonb ->> ''a'' = ''true''')
) v (e);

-- ---------- refused: what the error looks like ----------
SELECT referral.check_rule('rule_order', 'quantity >> > 0 AND');
\echo :LAST_ERROR_SQLSTATE
SELECT referral.check_rule('rule_order', 'note = ''é'' AND quantty > 0');
\echo :LAST_ERROR_SQLSTATE
SELECT referral.check_rule('rule_order', 'random() < 0.5');
\echo :LAST_ERROR_SQLSTATE

-- ---------- refused: each kind ----------
-- SQLSTATE, message without its beginning, and the position in characters where there is one
CREATE FUNCTION rule_verdict(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code text; message text; detail text; hint text;
BEGIN
    PERFORM referral.check_rule('rule_order', expression);
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' ', code, regexp_replace(message, '^invalid rule expression: ', '- '),
                     '@' || substring(hint FROM 'character (\d+)'),
                     CASE WHEN detail !~ 'old.column: quantity, price, note, placed, status, own, tags, "Mixed case", new\.$'
                          THEN '(columns on offer: ' || detail || ')' END);
END $$;
\pset format unaligned
\pset fieldsep ' => '
\pset footer off
\t on

\echo -- not one expression
SELECT e, rule_verdict(e) FROM (VALUES
    (''), ('   '), ('-- nothing'), ('true, false'), ('true; DROP TABLE rule_order'), ('quantity > 0 FROM rule_order'),
    ('true WHERE false'), ('DISTINCT true'), ('true ORDER BY 1'), ('true LIMIT 1'), ('true GROUP BY 1'),
    ('true HAVING true'), ('true AS x'), ('true FOR UPDATE'), ('true UNION SELECT false'), ('SELECT true'),
    ('quantity := 1'), ('(quantity > 0'), ('quantity > 0)'), ('note = ''x'), ('/* quantity > 0'), ('true INTO rule_order')
) v (e);

\echo -- too long
SELECT rule_verdict('true' || repeat(' ', 8188)), rule_verdict('true' || repeat(' ', 8189)),
       rule_verdict('note <> ''' || repeat('é', 4100) || '''');

\echo -- unknown names and wrong types
SELECT e, rule_verdict(e) FROM (VALUES
    ('nothing'), ('quantity > 0 AND gone = 1'), ('old.nothing = 1'), ('"mixed case" IS NULL'), ('rule_order.quantity = 1'),
    ('pg_class.oid = 1'), ('quantity'), ('note'), ('quantity + 1'), ('old.quantity'), ('quantity = ''many'''),
    ('quantity = placed'), ('nosuch(quantity)'), ('quantity @@@ 1'), ('status = ''nosuch'''), ('''maybe'''),
    ('quantity::nosuch = 1'), ('note COLLATE "nosuch" = ''x'''), ('placed < ''2026-13-45''')
) v (e);

\echo -- whole rows, system and generated columns, parameters
SELECT e, rule_verdict(e) FROM (VALUES
    ('old IS NULL'), ('new.* IS NOT NULL'), ('old.*'), ('row_to_json(old) IS NULL'), ('old = old'), ('ctid IS NULL'),
    ('old.xmin = 1'), ('new.tableoid = 1'), ('total > 0'), ('new.total > 0'), ('quantity > $1'), ('$1')
) v (e);

\echo -- subqueries, aggregates, window and set-returning functions
SELECT e, rule_verdict(e) FROM (VALUES
    ('(SELECT true)'), ('EXISTS (SELECT FROM rule_order)'), ('quantity IN (SELECT 1)'), ('quantity = ALL (SELECT 1)'),
    ('tags = ARRAY(SELECT note)'), ('note = ''é'' AND (SELECT true)'), ('CASE WHEN (SELECT true) THEN true END'),
    ('count(*) > 1'), ('sum(quantity) > 1'), ('bool_or(quantity > 1) FILTER (WHERE true)'), ('grouping(quantity) = 1'),
    ('row_number() OVER () = 1'), ('count(*) OVER (ORDER BY quantity) = 1'),
    ('generate_series(1, 2) = 1'), ('unnest(tags) = ''x''')
) v (e);

\echo -- volatile functions
SELECT e, rule_verdict(e) FROM (VALUES
    ('random() < 0.5'), ('clock_timestamp() > placed'), ('nextval(''pg_class'') = 1'), ('pg_sleep(1) IS NULL'),
    ('set_config(''search_path'', '''', false) = '''''), ('pg_notify(''a'', ''b'') IS NULL'), ('lo_import(''x'') = 1'),
    ('pg_advisory_lock(1) IS NULL'), ('ts_rewrite(''a''::tsquery, note) IS NULL'), ('gen_random_uuid() IS NULL'),
    ('quantity > 0 OR random() < 0.5'), ('note = ''é'' AND random() < 0.5')
) v (e);

\echo -- built-in functions that run what they are told
SELECT e, rule_verdict(e) FROM (VALUES
    ('query_to_xml(note, true, true, '''') IS NULL'), ('table_to_xml(''pg_class'', true, true, '''') IS NULL'),
    ('schema_to_xml(''public'', true, true, '''') IS NULL'), ('database_to_xml(true, true, '''') IS NULL'),
    ('query_to_xmlschema(note, true, true, '''') IS NULL'), ('query_to_xml_and_xmlschema(note, true, true, '''') IS NULL')
) v (e);

\echo -- functions and operators of others
SELECT e, rule_verdict(e) FROM (VALUES
    ('rule_site.strength(note) > 1'), ('strength(note) > 1'), ('rule_guest(quantity)'), ('referral.rule_guest(quantity)'),
    ('quantity OPERATOR(rule_site.=) 1'), ('rule_site.moody() = 1'), ('referral.deploy() IS NULL'),
    ('referral.rollback_rule_set(''x'') = 1'), ('rule_verdict(note) = ''x'''), ('public.rule_verdict(note) = ''x''')
) v (e);

\echo -- types of others, whose code must not even run while the rule is checked
SELECT e, split_part(rule_verdict(e), ' @', 1) FROM (VALUES
    ('note::rule_site.code IS NULL'), ('''x''::rule_site.code = note'), ('NULL::rule_site.pair IS NULL'),
    ('ROW(1, note)::rule_site.pair IS NULL'), ('tags::rule_site.code[] IS NULL'), ('ARRAY[]::rule_site.pair[] IS NULL'),
    ('note::rule_site.mood = ''good'''), ('''good''::rule_site.mood IS NULL')
) v (e);
SELECT e, left(rule_verdict(e), 5) FROM (VALUES
    ('''{x}''::rule_site.code[] IS NULL'), ('''(1,x)''::rule_site.pair IS NULL'),
    ('CAST(''{x}'' AS rule_site.code[]) IS NULL')
) v (e);

\echo -- input functions make values of any type, running its code
SELECT e, left(rule_verdict(e), 5) FROM (VALUES
    ('domain_in(''x'', ''rule_site.code''::regtype, -1) IS NULL'), ('array_in(''{x}'', ''rule_site.code''::regtype, -1) IS NULL'),
    ('record_in(''(1,x)'', ''rule_site.pair''::regtype, -1) IS NULL'), ('domain_in(note::cstring, quantity::oid, -1) IS NULL'),
    ('pg_input_is_valid(note, ''rule_site.code'')')
) v (e);

\echo -- a registered function is accepted until its body changes
INSERT INTO referral.rule_function (signature) VALUES ('rule_site.strength(text)');
SELECT rule_verdict('rule_site.strength(note) > 1'), rule_verdict('strength(note) > 1');
CREATE OR REPLACE FUNCTION rule_site.strength(text) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';
SELECT rule_verdict('rule_site.strength(note) > 1');
UPDATE referral.rule_function SET signature = signature;
SELECT rule_verdict('rule_site.strength(note) > 1');
DELETE FROM referral.rule_function;
SELECT rule_verdict('rule_site.strength(note) > 1');

\echo -- names are resolved alike for everybody
SET search_path = rule_site, public, pg_catalog;
SELECT rule_verdict('strength(note) > 1'), rule_verdict('quantity = 1');
RESET search_path;

\echo -- a star stands for all columns in a select list, but is no expression
SELECT e, left(rule_verdict(e), 5) FROM (VALUES ('*'), ('*, *'), ('quantity.*'), ('(*)')) v (e);
ROLLBACK;
