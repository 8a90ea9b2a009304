-- How rules are evaluated, when a compiled rule is thrown away, and with whose rights it runs.
SELECT plan(72);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql

CREATE TABLE task (task_id bigint PRIMARY KEY, quantity integer, note text, placed date);
SELECT referral.attach('task', row_security => false) AS task \gset
GRANT ALL ON task TO PUBLIC;

-- A row for a guard of its own: what becomes of an attempt to take "go" with these values.
CREATE FUNCTION go(guard text, quantity integer DEFAULT NULL, note text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    outcome text;
BEGIN
    PERFORM make_workflow('task', guard);
    INSERT INTO task (task_id, quantity) VALUES (0, 5);
    UPDATE task SET quantity = go.quantity, note = go.note, step = 'b' WHERE task_id = 0;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN RETURN 'done';
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;

-- ---------- three-valued logic; old and new row ----------
SELECT is(go('quantity > 0', 1), 'done', 'true is satisfied');
SELECT is(go('quantity > 0', 0), 'RF002', 'false is not');
SELECT is(go('quantity > 0', NULL), 'RF002', 'null is not');
SELECT is(go('NOT quantity > 0', NULL), 'RF002', 'nor is the negation of null');
SELECT is(go('quantity > 0 OR note IS NULL', NULL), 'done', 'null or true is satisfied');
SELECT is(go('NULL', 1), 'RF002', 'a rule that is always null is never satisfied');
SELECT is(go('quantity > old.quantity', 6), 'done', 'old.column is the former value');
SELECT is(go('quantity > old.quantity', 5), 'RF002', 'old.column is not the new value');
SELECT is(go('step = ''b'' AND state = ''validated'' AND old.step = ''a'' AND old.state = ''received'''), 'done',
          'the new row already has the step and state it goes to');
SELECT is(go('note = ''x''', NULL, 'x'), 'done', 'a guard sees what the same UPDATE sets');
SELECT is(go('quantity::text || note = ''7x''', 7, 'x'), 'done', 'casts between built-in types work');
SELECT is(go('current_setting(''referral.origin'') = ''here'''), 'RF002', 'settings are read when the rule runs');
SET referral.origin = 'here';
SELECT is(go('current_setting(''referral.origin'') = ''here'''), 'done', 'not when it is compiled');
RESET referral.origin;

-- a BEFORE trigger that sorts before the guard's changes what the guard sees
CREATE FUNCTION fill_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'filled'; RETURN NEW; END $$;
CREATE TRIGGER fill_note BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION fill_note();
SELECT is(go('note = ''filled'''), 'done', 'a guard sees what earlier triggers set');
DROP TRIGGER fill_note ON task;

-- applies_when
SELECT make_workflow('task', NULL, 'old.quantity IS NULL AND old.task_id IS NULL AND quantity = 7') AS chosen \gset
INSERT INTO task (task_id, quantity) VALUES (1, 7);
SELECT is((SELECT workflow_id FROM task WHERE task_id = 1), :chosen::bigint, 'old.column is null for a new row');
SELECT is(code, 'RF012', 'applies_when that is null does not apply')
FROM refused('INSERT INTO task (task_id) VALUES (2)');
SELECT is(code, 'RF012', 'applies_when that is false does not apply')
FROM refused('INSERT INTO task (task_id, quantity) VALUES (2, 8)');

-- ---------- errors in a guard ----------
SELECT make_workflow('task', '10 / quantity = 5') AS divides \gset
INSERT INTO task (task_id, quantity) VALUES (3, 0);
SELECT is(code, '22012', 'an error in a guard is raised as it is')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 3$$);
SELECT matches(context, '^guard \d+ of transition go of workflow main', 'the context names the guard')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 3$$);
SELECT is(code, 'RF001', 'the error does not hide that another step is not legal')
FROM refused($$UPDATE task SET step = 'nowhere' WHERE task_id = 3$$);
SELECT is(code, 'done', 'after the error the guard still works')
FROM refused($$UPDATE task SET step = 'b', quantity = 2 WHERE task_id = 3$$);
SELECT is(code, 'RF002', 'and still refuses')
FROM refused($$UPDATE task SET step = 'b', quantity = 3 WHERE task_id = 3$$);

-- ---------- a new version of the rules ----------
SELECT make_workflow('task', 'quantity = 1') AS first_version \gset
INSERT INTO task (task_id, quantity) VALUES (10, 1), (11, 1);
SELECT is(code, 'done', 'the active version''s guard holds')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 10$$);
SELECT make_workflow('task', 'quantity = 2') AS second_version \gset
INSERT INTO task (task_id, quantity) VALUES (12, 1);
SELECT is((SELECT array_agg(workflow_id ORDER BY task_id) FROM task WHERE task_id BETWEEN 10 AND 12),
          ARRAY[:first_version, :first_version, :second_version]::bigint[], 'a new version serves new rows only');
SELECT is(code, 'RF002', 'a new row follows the new version')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 12$$);
SELECT is(code, 'done', 'an older row follows its own') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 11$$);

-- a change that is rolled back was never made, in any of the ways to roll back
BEGIN;
SELECT make_workflow('task', 'quantity = 3') AS third_version \gset
INSERT INTO task (task_id, quantity) VALUES (13, 3);
SELECT workflow_id = :third_version AS inside, step FROM task WHERE task_id = 13 \gset
UPDATE task SET step = 'b' WHERE task_id = 13;
ROLLBACK;
INSERT INTO task (task_id, quantity) VALUES (13, 3);
SELECT ok(:'inside', 'a new version counts at once in its own transaction');
SELECT is((SELECT workflow_id FROM task WHERE task_id = 13), :second_version::bigint, 'after ROLLBACK the former version serves');

BEGIN;
SAVEPOINT before_change;
SELECT make_workflow('task', 'quantity = 4') AS fourth_version \gset
INSERT INTO task (task_id, quantity) VALUES (14, 4);
ROLLBACK TO SAVEPOINT before_change;
INSERT INTO task (task_id, quantity) VALUES (15, 4);
SELECT workflow_id AS after_savepoint FROM task WHERE task_id = 15 \gset
SAVEPOINT again;
SELECT make_workflow('task', 'quantity = 5') AS fifth_version \gset
RELEASE SAVEPOINT again;
INSERT INTO task (task_id, quantity) VALUES (16, 5);
SELECT workflow_id AS after_release FROM task WHERE task_id = 16 \gset
COMMIT;
SELECT is(:after_savepoint::bigint, :second_version::bigint, 'after ROLLBACK TO SAVEPOINT the former version serves');
SELECT is(:after_release::bigint, :fifth_version::bigint, 'after RELEASE SAVEPOINT the new one does');
INSERT INTO task (task_id, quantity) VALUES (17, 5);
SELECT is((SELECT workflow_id FROM task WHERE task_id = 17), :fifth_version::bigint, 'and still does after COMMIT');

-- a row of a version that is rolled back does not leave its rules behind for the same identifier
SELECT is(code, 'RF002', 'the guard of the version that stands is the one asked')
FROM refused($$UPDATE task SET step = 'b', quantity = 4 WHERE task_id = 17$$);

-- ---------- the table changes ----------
SELECT make_workflow('task', 'quantity > 3') AS grown \gset
INSERT INTO task (task_id, quantity) VALUES (20, 10), (21, 3), (22, 10);
SELECT is(code, 'done', 'before the table changes') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 20$$);
ALTER TABLE task ADD COLUMN added text DEFAULT 'x';
SELECT is(code, 'done', 'a column was added') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 20$$);
ALTER TABLE task ALTER COLUMN quantity TYPE numeric;
SELECT is(code, 'done', 'the column has another type that compares')
FROM refused($$UPDATE task SET step = 'b', quantity = 3.5 WHERE task_id = 21$$);
SELECT is(code, 'RF002', 'and is compared as that type')
FROM refused($$UPDATE task SET step = 'b', quantity = 2.5 WHERE task_id = 21$$);
ALTER TABLE task ALTER COLUMN quantity TYPE text;
SELECT is(code, 'RF011', 'the column has a type that does not compare')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 20$$);
SELECT matches(context, 'guard \d+ of transition go', 'the guard is named')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 20$$);
SELECT is(code, 'done', 'changes that need no guard go on')
FROM refused($$UPDATE task SET note = 'x' WHERE task_id = 20$$);
ALTER TABLE task RENAME COLUMN quantity TO amount;
SELECT is(code || ': ' || message, 'RF011: invalid rule expression: column "quantity" does not exist', 'the column was renamed')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 20$$);
ALTER TABLE task DROP COLUMN amount;
SELECT matches(code || ': ' || message || ' ' || detail, 'RF011: .*column "quantity" does not exist.*note, placed',
               'the column is gone: refused, with the columns that are there') FROM refused($$UPDATE task SET step = 'b'
                   WHERE task_id = 20$$);
ALTER TABLE task ADD COLUMN quantity integer;
SELECT is(code, 'done', 'a column of that name is back')
FROM refused($$UPDATE task SET step = 'b', quantity = 4 WHERE task_id = 20$$);
BEGIN;
ALTER TABLE task DROP COLUMN quantity;
SELECT code AS inside FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 20$$) \gset
ROLLBACK;
SELECT is(:'inside'::text, 'RF011', 'a column dropped in this transaction is missed');
SELECT is(code, 'done', 'and is there again after ROLLBACK')
FROM refused($$UPDATE task SET step = 'b', quantity = 4 WHERE task_id = 20$$);

-- ---------- registered functions ----------
CREATE SCHEMA site;
GRANT USAGE ON SCHEMA site TO PUBLIC;
CREATE FUNCTION site.enough(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 3';
SELECT is(code, 'RF011', 'a function of another schema is refused in a rule')
FROM refused($$SELECT make_workflow('task', 'site.enough(quantity)')$$);
INSERT INTO referral.rule_function (signature) VALUES ('site.enough(integer)');
SELECT make_workflow('task', 'site.enough(quantity)') AS calls \gset
INSERT INTO task (task_id, quantity) VALUES (30, 4), (31, 1);
SELECT is(code, 'done', 'once registered it is called') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 30$$);
CREATE OR REPLACE FUNCTION site.enough(integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
SELECT is(code, 'RF011', 'after it changed, it is not') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 30$$);
SELECT matches(message, 'site.enough\(integer\) is not registered for rules, or changed since', 'and the refusal says so')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 30$$);
UPDATE referral.rule_function SET signature = signature WHERE signature = 'site.enough(integer)';
SELECT is(code, 'done', 'registered again it is called, with its new body')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 31$$);
DELETE FROM referral.rule_function WHERE signature = 'site.enough(integer)';
SELECT is(code, 'RF011', 'no longer registered, it is refused')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 30$$);
INSERT INTO referral.rule_function (signature) VALUES ('site.enough(int)');
SELECT is((SELECT signature FROM referral.rule_function), 'site.enough(integer)', 'the signature is kept as PostgreSQL spells it');
ALTER FUNCTION site.enough(integer) VOLATILE;
SELECT is(code, 'RF011', 'a function that became volatile is refused')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 30$$);
ALTER FUNCTION site.enough(integer) IMMUTABLE;

-- a guard that comes to itself again through a function: the same compiled rule, two rows at once
CREATE FUNCTION site.previous_is_open(id bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT $1 <= 40 OR (SELECT allowed FROM referral.next_transitions('task', 1, $1 - 1) WHERE transition = 'go') $$;
INSERT INTO referral.rule_function (signature) VALUES ('site.previous_is_open(bigint)');
SELECT make_workflow('task', 'site.previous_is_open(task_id) AND quantity > 0') AS recursive \gset
INSERT INTO task (task_id, quantity) VALUES (40, 1), (41, 1), (42, 1), (43, 0), (44, 1);
SELECT is(string_agg(code, ' ' ORDER BY id), 'done done done RF002 RF002', 'a guard may come to itself again, for another row')
FROM generate_series(40, 44) id, refused(format($$UPDATE task SET step = 'b' WHERE task_id = %s$$, id));

-- ---------- rights ----------
CREATE ROLE rule_may;
CREATE ROLE rule_may_not;
GRANT USAGE ON SCHEMA referral TO rule_may, rule_may_not;
CREATE FUNCTION site.secret(integer) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';
REVOKE ALL ON FUNCTION site.secret(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION site.secret(integer) TO rule_may;
INSERT INTO referral.rule_function (signature) VALUES ('site.secret(integer)');
SELECT make_workflow('task', 'site.secret(quantity)') AS secret \gset
INSERT INTO task (task_id, quantity) VALUES (50, 1);
SET ROLE rule_may;
SELECT is(code, 'done', 'a role with EXECUTE takes the transition')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 50$$);
SET ROLE rule_may_not;
SELECT is(code, '42501', 'a role without it may not use the tree that is compiled already')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 50$$);
SELECT ok(NOT allowed AND blocked_by[1] LIKE '%42501%', 'nor is it when asking what is next')
FROM referral.next_transitions('task', 1, 50) WHERE to_step = 'b';
SET ROLE rule_may;
SELECT is(code, 'done', 'the first role still may') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 50$$);
RESET ROLE;
REVOKE EXECUTE ON FUNCTION site.secret(integer) FROM rule_may;
GRANT EXECUTE ON FUNCTION site.secret(integer) TO rule_may_not;
SET ROLE rule_may;
SELECT is(code, '42501', 'after REVOKE it may not') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 50$$);
SET ROLE rule_may_not;
SELECT is(code, 'done', 'after GRANT the other one may')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 50$$);
RESET ROLE;
GRANT rule_may_not TO rule_may;
SET ROLE rule_may;
SELECT is(code, 'done', 'a membership gives the right, too')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 50$$);
RESET ROLE;
REVOKE rule_may_not FROM rule_may;
SET ROLE rule_may;
SELECT is(code, '42501', 'and takes it away') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 50$$);
RESET ROLE;

-- the rule runs as the caller
SELECT make_workflow('task', 'current_user = ''rule_may''') AS who \gset
INSERT INTO task (task_id) VALUES (51);
SET ROLE rule_may;
SELECT is(code, 'done', 'a rule runs as the caller') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 51$$);
SET ROLE rule_may_not;
SELECT is(code, 'RF002', 'also when another compiled it')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 51$$);
RESET ROLE;

-- whether the schema of a function is closed to a role does not depend on who came first
SELECT make_workflow('task', 'site.enough(quantity)') AS closed \gset
UPDATE referral.rule_function SET signature = signature;
INSERT INTO task (task_id, quantity) VALUES (52, 4);
REVOKE USAGE ON SCHEMA site FROM PUBLIC;
SET ROLE rule_may;
SELECT is(code, '42501', 'in a closed schema it is refused as such')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 52$$);
RESET ROLE;
SELECT is(code, 'done', 'the owner of the schema is not')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 52$$);
SET ROLE rule_may;
SELECT is(code, '42501', 'the tree that the owner compiled is no way in')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 52$$);
RESET ROLE;
GRANT USAGE ON SCHEMA site TO PUBLIC;

-- ---------- search_path ----------
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE FUNCTION trap.never(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION trap.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR trap.= (FUNCTION = trap.never, LEFTARG = integer, RIGHTARG = integer);
CREATE OPERATOR trap.= (FUNCTION = trap.never, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'trapped'$$;
CREATE DOMAIN trap.int4 AS integer CHECK (false);
CREATE TABLE trap.workflow_step AS SELECT * FROM referral.workflow_step WHERE false;
SELECT make_workflow('task', 'quantity = 1 AND lower(note) = ''y'' AND note::int4 IS NULL') AS trapped \gset
INSERT INTO task (task_id) VALUES (60);
SET search_path = trap, public, pg_catalog;
SELECT go('quantity = 1 AND lower(note) = ''x''', 2, 'Y') AS false_twice, go('quantity = 1 AND lower(note) = ''x''', 1,
    'X') AS true_twice,
       go('quantity::int4 = 1', 1) AS typed \gset
SET search_path = trap, pg_catalog, public;
SELECT go('quantity = 1', 2) AS false_once \gset
RESET search_path;
SELECT is(:'false_twice'::text, 'RF002', 'operators and functions in front on the search_path are not taken');
SELECT is(:'true_twice'::text, 'done', 'the built-in ones are');
SELECT is(:'typed'::text, 'done', 'nor are types taken');
SELECT is(:'false_once'::text, 'RF002', 'also with pg_catalog named behind');
CREATE FUNCTION pg_temp.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'trapped'$$;
CREATE TEMP TABLE workflow_step AS SELECT * FROM referral.workflow_step WHERE false;
SELECT is(go('lower(note) = ''x''', NULL, 'X'), 'done', 'nor temporary ones');
SELECT is(code, 'RF011', 'a temporary type is not known to rules')
FROM refused($$SELECT make_workflow('task', 'note::workflow_step IS NULL')$$);

SELECT * FROM finish();
