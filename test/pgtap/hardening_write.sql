-- Ways round the guard and the journal that an attacker found, through rows, partitions, triggers and memory.
SELECT plan(78);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql

CREATE FUNCTION journal_of(entity text, id bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', j.action || j.version, j.transition, nullif(j.changes - 'workflow_id', '{}')), ', ' ORDER BY j.journal_id)
    FROM referral.journal j WHERE j.entity = $1 AND j.entity_id = $2 $$;
CREATE FUNCTION memory() RETURNS bigint LANGUAGE sql AS 'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
CREATE FUNCTION growth(statement text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    before bigint := memory();
BEGIN
    EXECUTE statement;
    RETURN round((memory() - before) / 1048576.0, 1);
END $$;
COMMENT ON FUNCTION growth(text) IS 'MB that the backend has more after a statement, in the same transaction.';

-- ---------- next_transitions() sees the row ----------
CREATE TABLE named_t (gone integer, named_t_id bigint PRIMARY KEY, t text, lost text, quantity integer);
ALTER TABLE named_t DROP COLUMN gone, DROP COLUMN lost;
SELECT referral.attach('named_t', row_security => false) AS named_t \gset
SELECT make_workflow('named_t', 'quantity > 0 AND coalesce(t, ''x'') = ''x''') AS named_wf \gset
INSERT INTO named_t (named_t_id, t, quantity) VALUES (1, 'x', 1), (2, NULL, 1), (3, 'y', 1), (4, NULL, 0);
SELECT results_eq($$SELECT named_t_id, n.transition, n.to_step, n.allowed, n.blocked_by FROM named_t,
    referral.next_transitions('named_t', org_id, named_t_id) n ORDER BY 1$$,
    $$VALUES (1::bigint, 'go', 'b', true, '{}'::text[]), (2, 'go', 'b', true, '{}'), (3, 'go', 'b', false, '{not now}'),
        (4, 'go', 'b', false, '{not now}')$$, 'next_transitions() of a table with a column t, and with dropped columns');
ALTER TABLE named_t DROP COLUMN t CASCADE, ADD COLUMN t integer DEFAULT 5;
SELECT make_workflow('named_t', 'quantity > 0 AND t = 5', name => 'later', priority => 1) AS named_later \gset
INSERT INTO named_t (named_t_id, quantity) VALUES (5, 1);
ALTER TABLE named_t DROP COLUMN transition_id;
ALTER TABLE named_t ADD COLUMN transition_id bigint, ADD COLUMN more text DEFAULT 'more';
SELECT is(allowed, true, 'and of one that loses and gains columns after its rows')
FROM referral.next_transitions('named_t', 1, 5);

SELECT repeat('e', 63) AS long_name \gset
CREATE TABLE long_named (long_named_id bigint PRIMARY KEY);
SELECT referral.attach('long_named', entity => :'long_name', row_security => false) AS long_named \gset
SELECT make_workflow(:'long_name', name => 'long') AS long_wf \gset
INSERT INTO long_named VALUES (1);
SELECT is(code, 'RF019', 'an entity name that is too long is nobody''s')
FROM refused($$SELECT * FROM referral.next_transitions(repeat('e', 70), 1, 1)$$);
SELECT is(transition, 'go', 'and does not hide the one it begins with')
FROM referral.next_transitions(:'long_name', 1, 1);
SELECT is(code, 'RF019', 'also not when asked first: ' || name)
FROM unnest(ARRAY[repeat('n', 70), 'nothing']) name, refused(format('SELECT * FROM referral.next_transitions(%L, 1, 1)', name));
UPDATE long_named SET step = 'b';
UPDATE named_t SET quantity = 2 WHERE named_t_id = 5;
SELECT is((SELECT step || version FROM long_named) || (SELECT step || version FROM named_t WHERE named_t_id = 5), 'b2a2',
    'other entities go on');
SELECT is(code, 'RF019', 'a tracked table without a workflow has no transitions')
FROM refused($$SELECT * FROM referral.next_transitions('rule_set', 1, 1)$$);
SELECT is(code, 'done', 'but can be written')
FROM refused($$UPDATE referral.rule_set SET note = 'x'$$);

-- ---------- rows without identity ----------
CREATE TABLE generated (n bigint, generated_id bigint GENERATED ALWAYS AS (n) STORED PRIMARY KEY);
SELECT is(code, 'RF017', 'attach() refuses a generated id column' || how)
FROM (VALUES ('', ''), (', also by name', ', id_column => ''generated_id''')) v (how, what),
    refused(format('SELECT referral.attach(%L%s)', 'generated', what));
CREATE TABLE anonymous (anonymous_id bigint NOT NULL UNIQUE, note text);
SELECT referral.attach('anonymous', id_column => 'anonymous_id', row_security => false) AS anonymous \gset
SELECT make_workflow('anonymous') AS anonymous_wf \gset
ALTER TABLE anonymous ALTER anonymous_id DROP NOT NULL, ALTER org_id DROP NOT NULL;
CREATE FUNCTION give_identity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.anonymous_id := coalesce(NEW.anonymous_id, 1);
    NEW.org_id := coalesce(NEW.org_id, 1);
    RETURN NEW;
END $$;
CREATE TRIGGER zzz_late BEFORE INSERT ON anonymous FOR EACH ROW EXECUTE FUNCTION give_identity();
SELECT is(code, '23502', 'a row has an identity before the guard: ' || columns)
FROM (VALUES ('anonymous_id', 'NULL'), ('anonymous_id, org_id', '1, NULL'), ('anonymous_id, org_id', 'NULL, NULL')) v (columns, given),
    refused(format($$INSERT INTO anonymous (%s, workflow_id, step, state, version, entered_at)
        VALUES (%s, %s, 'b', 'validated', 9, now())$$, columns, given, :anonymous_wf));
SELECT is_empty('SELECT * FROM anonymous', 'no row is got past it');
ALTER TABLE anonymous DROP COLUMN anonymous_id, ADD n bigint, ADD anonymous_id bigint GENERATED ALWAYS AS (n) STORED;
SELECT is(code, 'RF012', 'an id column that becomes a generated one is none')
FROM refused($$INSERT INTO anonymous (n, step) VALUES (1, 'b')$$);

-- ---------- rows forged behind a partition move ----------
CREATE TABLE fold (org_id bigint NOT NULL DEFAULT 1, fold_id bigint, part text, note text, quantity integer,
    PRIMARY KEY (org_id, fold_id, part)) PARTITION BY LIST (part);
CREATE TABLE fold_p PARTITION OF fold FOR VALUES IN ('p');
CREATE TABLE fold_q PARTITION OF fold FOR VALUES IN ('q');
CREATE TABLE fold_r PARTITION OF fold FOR VALUES IN ('r');
SELECT referral.attach('fold', id_column => 'fold_id', row_security => false) AS fold \gset
SELECT make_workflow('fold', 'quantity > 0') AS fold_wf \gset
SELECT transition_id AS fold_go FROM referral.workflow_transition WHERE workflow_id = :fold_wf AND transition = 'go' \gset
SET enable_hashjoin = off;
SET enable_mergejoin = off;
CREATE FUNCTION forge(source text, step text, state text, transition_id bigint, entered_at text, version bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    found text;
    since bigint := (SELECT max(journal_id) FROM referral.journal);
BEGIN
    DELETE FROM fold;
    INSERT INTO fold (fold_id, part, quantity) VALUES (1, 'p', 1), (1, 'q', 1);
    EXECUTE format('MERGE INTO fold f USING (VALUES %s) v (part) ON f.part = v.part AND f.fold_id = 1
        WHEN MATCHED AND v.part = ''p'' THEN UPDATE SET note = ''x''
        WHEN MATCHED THEN DELETE
        WHEN NOT MATCHED THEN INSERT (fold_id, part, quantity, workflow_id, step, state, transition_id, entered_at, version)
            VALUES (1, ''r'', 0, (SELECT max(workflow_id) FROM referral.workflow WHERE entity = ''fold''), %L, %L, %L, %s, %L)',
        source, step, state, transition_id, entered_at, version);
    SELECT INTO STRICT found concat_ws(' ', f.step, f.state, f.version, f.transition_id, f.entered_at = now(),
        (SELECT count(*) FROM referral.journal j WHERE j.entity = 'fold' AND j.action = 'insert' AND j.version = f.version
         AND j.journal_id > since AND j.changes -> 'part' ->> 1 = 'r'))
    FROM fold f WHERE part = 'r';
    RETURN found;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
COMMENT ON FUNCTION forge(text, text, text, bigint, text, bigint) IS
'Has a MERGE update one row, delete another and insert one with chosen values; returns what that became, or the SQLSTATE.';
SELECT matches(forge(source, step, state, transition, entered_at, version), '^(RF0..|a received 1 t 1)$',
    format('MERGE does not insert a forged row as it is (%s, %s, %s, %s, %s)', source, step, version, transition, entered_at))
FROM (VALUES ('(''p''), (''q''), (''r'')'), ('(''q''), (''p''), (''r'')')) s (source),
    (VALUES ('b', 'validated', NULL, 'now()', 2), ('b', 'validated', :fold_go, '''2020-01-01''', 2), ('a', 'received', NULL, 'now()', 2),
            ('a', 'received', NULL, '''2020-01-01''', 2), ('b', 'validated', :fold_go, 'now()', 1)) v (step, state, transition, entered_at, version);

-- what was judged and then undone does not count
DELETE FROM fold;
INSERT INTO fold (fold_id, part, quantity) VALUES (7, 'p', 1);
BEGIN;
SAVEPOINT judged;
UPDATE fold SET step = 'b', quantity = 1 WHERE fold_id = 7;
ROLLBACK TO judged;
SELECT is(code, 'RF001', 'a row does not take the place of one whose change was undone') FROM refused(format($$
    WITH d AS (DELETE FROM fold WHERE fold_id = 7 RETURNING fold_id, workflow_id)
    INSERT INTO fold (fold_id, part, quantity, workflow_id, step, state, transition_id, entered_at, version)
    SELECT fold_id, 'r', -5, workflow_id, 'b', 'validated', %s, now(), 2 FROM d$$, :fold_go));
COMMIT;

-- nor what another trigger let fall
CREATE FUNCTION drop_change() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RETURN CASE WHEN NEW.note = 'drop' THEN NULL ELSE NEW END; END$$;
CREATE TRIGGER zzz_late BEFORE UPDATE ON fold FOR EACH ROW EXECUTE FUNCTION drop_change();
BEGIN;
UPDATE fold SET step = 'b', note = 'drop' WHERE fold_id = 7;
SELECT is(code, 'RF001', 'or was let fall by a later trigger') FROM refused(format($$
    WITH d AS (DELETE FROM fold WHERE fold_id = 7 RETURNING fold_id, workflow_id)
    INSERT INTO fold (fold_id, part, quantity, workflow_id, step, state, transition_id, entered_at, version)
    SELECT fold_id, 'r', -5, workflow_id, 'b', 'validated', %s, now(), 2 FROM d$$, :fold_go));
COMMIT;
DROP TRIGGER zzz_late ON fold;

-- ---------- moves to other partitions, with other triggers in between ----------
CREATE TABLE move_log (what text);
CREATE FUNCTION log_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO move_log VALUES (TG_OP || TG_NAME);
    IF TG_ARGV[0] = 'catch' THEN
        BEGIN
            INSERT INTO move_log VALUES ('undone');
            PERFORM 1 / 0;
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE FUNCTION move_all(events text, name text, argument text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
    since bigint;
BEGIN
    DELETE FROM fold;
    INSERT INTO fold (fold_id, part, quantity) SELECT i, 'p', i FROM generate_series(1, 4) i;
    UPDATE fold SET step = 'b';
    since := (SELECT max(journal_id) FROM referral.journal);
    EXECUTE format('CREATE TRIGGER %I %s ON fold FOR EACH ROW EXECUTE FUNCTION log_move(%s)', name, events, argument);
    UPDATE fold SET part = CASE WHEN fold_id % 2 = 0 THEN 'q' ELSE 'r' END, note = 'moved';
    SELECT string_agg(concat(f.fold_id, f.part, f.step, f.version, j.what), ' ' ORDER BY f.fold_id) INTO found
    FROM fold f LEFT JOIN (SELECT entity_id, string_agg(action || version, ',' ORDER BY journal_id) AS what
        FROM referral.journal WHERE entity = 'fold' AND journal_id > since GROUP BY 1) j ON j.entity_id = f.fold_id;
    EXECUTE format('DROP TRIGGER %I ON fold', name);
    RETURN found;
END $$;
SELECT is(move_all(events, name, argument), '1rb3update3 2qb3update3 3rb3update3 4qb3update3',
    format('moved rows keep step and journal with a trigger %s %s %s', name, events, argument))
FROM unnest('{BEFORE UPDATE,BEFORE DELETE,BEFORE INSERT,BEFORE INSERT OR UPDATE OR DELETE,AFTER INSERT OR UPDATE OR DELETE}'::text[]) events,
    unnest('{aaa,zzz}'::text[]) name, unnest(ARRAY['', 'catch']) argument
ORDER BY events, name, argument;
SELECT isnt_empty('SELECT * FROM move_log', 'the trigger was at work');

-- ---------- a column with a default that old rows never stored ----------
CREATE TABLE quick (quick_id bigint, part text, note text, PRIMARY KEY (quick_id, part)) PARTITION BY LIST (part);
CREATE TABLE quick_p PARTITION OF quick FOR VALUES IN ('p');
CREATE TABLE quick_q (note text, part text NOT NULL, gone integer, quick_id bigint NOT NULL);
ALTER TABLE quick_q DROP COLUMN gone;
ALTER TABLE quick ATTACH PARTITION quick_q FOR VALUES IN ('q');
SELECT referral.attach('quick', id_column => 'quick_id', row_security => false) AS quick \gset
SELECT make_workflow('quick') AS quick_wf \gset
INSERT INTO quick (quick_id, part) VALUES (1, 'p'), (2, 'q'), (3, 'p');
ALTER TABLE quick ADD COLUMN extra text DEFAULT 'dflt', ADD COLUMN fresh integer DEFAULT 7;
UPDATE quick SET part = CASE part WHEN 'p' THEN 'q' ELSE 'p' END WHERE quick_id < 3;
UPDATE quick SET part = 'q', extra = 'other' WHERE quick_id = 3;
SELECT is(extra || fresh || version, 'dflt72', 'a moved row keeps a default it never stored') FROM quick WHERE quick_id = 1;
SELECT is(journal_of('quick', 1) || journal_of('quick', 2),
    'insert1 {"part": [null, "p"]}, update2 {"part": ["p", "q"]}insert1 {"part": [null, "q"]}, update2 {"part": ["q", "p"]}',
    'which the journal does not take for a change');
SELECT is((SELECT changes FROM referral.journal WHERE entity = 'quick' AND entity_id = 3 AND version = 2),
    '{"part": ["p", "q"], "extra": ["dflt", "other"]}', 'while one is recorded');

-- ---------- triggers and functions beside the guard ----------
CREATE ROLE hardening_spy LOGIN IN ROLE referral_admin;
CREATE TABLE decoy (referral_id bigint PRIMARY KEY, org_id bigint DEFAULT 1, version bigint, note text);
GRANT TRIGGER, INSERT, SELECT, UPDATE, DELETE ON decoy TO hardening_spy;
INSERT INTO decoy VALUES (1, 1, 1, 'x');
SET SESSION AUTHORIZATION hardening_spy;
CREATE TRIGGER journal AFTER INSERT OR UPDATE OR DELETE ON decoy FOR EACH ROW
    EXECUTE FUNCTION referral.journal('referral', 'referral_id');
SELECT is(code, 'RF012', 'no other table of the owner speaks for an entity: ' || statement)
FROM unnest(ARRAY['INSERT INTO decoy VALUES (42, 1, 1, ''forged'')', 'UPDATE decoy SET note = ''forged'', version = 2',
    'DELETE FROM decoy']) statement, refused(statement);
RESET SESSION AUTHORIZATION;
ALTER TABLE decoy RENAME TO referral_decoy;
SELECT is(code, 'RF012', 'under no name') FROM refused($$DELETE FROM referral_decoy$$);
SELECT is_empty($$SELECT * FROM referral.journal WHERE entity = 'referral'$$, 'the journal has nothing of it');

CREATE TABLE parent (parent_id bigint PRIMARY KEY);
CREATE TABLE child (child_id bigint PRIMARY KEY) INHERITS (parent);
SELECT is(code, '42809', 'attach() refuses an inheritance ' || name)
FROM unnest('{parent,child}'::text[]) name, refused(format('SELECT referral.attach(%L)', name));
SELECT is_empty($$SELECT * FROM referral.entity WHERE entity IN ('parent', 'child')$$, 'and registers neither');

CREATE TABLE sly (sly_id bigint PRIMARY KEY, note text, quantity integer);
SELECT referral.attach('sly', row_security => false) AS sly \gset
CREATE FUNCTION write_another(id bigint) RETURNS boolean LANGUAGE plpgsql AS
    $$BEGIN UPDATE public.sly SET note = 'inner', quantity = 99 WHERE sly_id = 2; RETURN true; END$$;
CREATE FUNCTION innocent(id bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS
    $$BEGIN RETURN public.write_another(id); END$$;
INSERT INTO referral.rule_function (signature) VALUES ('public.innocent(bigint)');
SELECT make_workflow('sly', 'CASE sly_id WHEN 1 THEN public.innocent(sly_id) ELSE true END') AS sly_wf \gset
INSERT INTO sly (sly_id, note, quantity) VALUES (1, 'one', 1), (2, 'two', 2);
UPDATE sly SET step = 'b', note = 'outer' WHERE sly_id = 1;
SELECT is(string_agg(concat(sly_id, step, version, note, quantity), ' ' ORDER BY sly_id), '1b2outer1 2a2inner99',
    'a rule that updates another row leaves the one at hand alone') FROM sly;
SELECT is(journal_of('sly', 1), 'insert1 {"note": [null, "one"], "quantity": [null, 1]}, update2 go {"note": ["one", "outer"]}',
    'also in the journal');

CREATE TABLE helped (helped_id bigint PRIMARY KEY, note text);
SELECT referral.attach('helped', row_security => false) AS helped \gset
SELECT make_workflow('helped') AS helped_wf \gset
SET session_replication_role = replica;
UPDATE referral.workflow_transition SET reason_required = true WHERE workflow_id = :helped_wf AND transition = 'go';
RESET session_replication_role;
CREATE FUNCTION help() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.note = 'help' THEN NEW.state := 'validated'; NEW.status_reason := 'because'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER before_guard BEFORE UPDATE ON helped FOR EACH ROW EXECUTE FUNCTION help();
INSERT INTO helped (helped_id) VALUES (1);
SELECT is(code, 'RF005', 'a transition needs its reason') FROM refused($$UPDATE helped SET state = 'validated'$$);
SELECT is(code, 'done', 'a trigger before the guard may give step and reason') FROM refused($$UPDATE helped SET note = 'help'$$);
UPDATE helped SET status_reason = 'old', note = 'help';
SELECT is(concat_ws(' ', step, state, status_reason, version), 'b validated because 2', 'which then stand in the row') FROM helped;

-- ---------- refusals say what is wrong ----------
SELECT is(code || ' ' || message || ' ' || detail,
    'RF001 step and state given for sly 2 do not agree Step "b" belongs to state "validated".', 'step and state that differ')
FROM refused($$UPDATE sly SET step = 'b', state = 'scheduled' WHERE sly_id = 2$$);
SELECT is(code || ' ' || detail, 'RF006 The UPDATE sets version to null, the row is at version 2.', 'version set to null')
FROM refused($$UPDATE sly SET version = NULL WHERE sly_id = 2$$);
CREATE TABLE finished (finished_id bigint PRIMARY KEY);
SELECT referral.attach('finished', row_security => false) AS finished \gset
SELECT make_workflow('finished') AS finished_wf \gset
INSERT INTO finished VALUES (1);
UPDATE finished SET step = 'b';
SELECT ok(code = 'RF001' AND hint LIKE 'Take one of the legal steps%', 'a row that can go on is told where to')
FROM refused($$UPDATE finished SET step = 'c'$$);
SET session_replication_role = replica;
DELETE FROM referral.workflow_transition WHERE workflow_id = :finished_wf AND transition = 'back';
RESET session_replication_role;
SELECT ok(code = 'RF001' AND hint NOT LIKE '%legal steps%', 'one at a final step is not') FROM refused($$UPDATE finished SET step = 'a'$$);

-- ---------- memory ----------
CREATE TABLE heavy (heavy_id bigint PRIMARY KEY, reason_text text, note text);
SELECT referral.attach('heavy', row_security => false) AS heavy \gset
SELECT make_workflow('heavy', 'reason_text::int > 1') AS heavy_wf \gset
INSERT INTO heavy (heavy_id, reason_text) VALUES (1, 'none');
SELECT is(code, '22P02', 'a rule that raises') FROM refused($$UPDATE heavy SET step = 'b'$$);
SELECT cmp_ok(growth($$DO 'BEGIN FOR i IN 1..2000 LOOP BEGIN UPDATE heavy SET step = ''b''; EXCEPTION WHEN invalid_text_representation THEN NULL; END; END LOOP; END'$$),
    '<', 20.0, '2000 times, MB of memory');
SELECT cmp_ok(growth($$SELECT count(n.blocked_by) FROM generate_series(1, 2000) i, LATERAL referral.next_transitions('heavy', 1, 1 + 0 * i) n$$),
    '<', 20.0, '2000 times in next_transitions()');
SELECT is(blocked_by, '{"not now (its rule raises error 22P02)"}', 'which goes on explaining') FROM referral.next_transitions('heavy', 1, 1);
SELECT cmp_ok(growth($$DO 'BEGIN FOR i IN 1..500 LOOP
        INSERT INTO referral.organization_member (login) VALUES (''hardening_'' || i);
        UPDATE heavy SET note = i::text;
    END LOOP; END'$$), '<', 20.0, '500 changes of rules, each with a write');
SELECT is(version, 501::bigint, 'that all were made') FROM heavy;

SELECT cmp_ok(growth($$DO 'BEGIN FOR i IN 1..500 LOOP
        BEGIN UPDATE heavy SET step = ''b''; EXCEPTION WHEN invalid_text_representation THEN NULL; END;
        INSERT INTO referral.organization_member (login) VALUES (''hardening_again_'' || i);
        UPDATE heavy SET note = i::text;
    END LOOP; END'$$), '<', 20.0, 'also with a refused one each');

INSERT INTO fold (fold_id, part, quantity, note) SELECT i, 'p', 1, repeat('x', 100) FROM generate_series(1001, 11000) i;
BEGIN;
SELECT memory() AS before \gset
UPDATE fold SET part = 'q' WHERE fold_id > 1000;
SELECT cmp_ok(round((memory() - :before) / 1048576.0, 1), '<', 10.0, '10000 rows that change partition in one statement');
COMMIT;
SELECT is(count(*) FILTER (WHERE j.action = 'update' AND j.version = 2) || ' of ' || count(*), '10000 of 10000',
    'each one update in the journal')
FROM referral.journal j WHERE j.entity = 'fold' AND j.entity_id > 1000 AND j.xid = (SELECT max(xid::text::numeric)::text::xid8 FROM referral.journal);

SELECT * FROM finish();
