-- The guard under every way to write rows: versions, no-op and bulk UPDATE, COPY, upsert, MERGE, partitions, other
-- triggers, replication.
SELECT plan(74);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql

CREATE TABLE task (task_id bigint PRIMARY KEY, quantity integer, note text);
SELECT referral.attach('task', row_security => false) AS task \gset
SELECT make_workflow('task', 'quantity > 0') AS wf \gset
CREATE FUNCTION journal_rows(entity text, id bigint) RETURNS bigint LANGUAGE sql AS
    'SELECT count(*) FROM referral.journal j WHERE j.entity = $1 AND j.entity_id = $2';

-- ---------- version ----------
INSERT INTO task (task_id, quantity) VALUES (1, 1);
UPDATE task SET note = 'x' WHERE task_id = 1;
SELECT is(version, 2::bigint, 'every change raises version by one') FROM task WHERE task_id = 1;
UPDATE task SET note = 'y', version = 2 WHERE task_id = 1;
SELECT is(version, 3::bigint, 'an UPDATE may carry the version it read') FROM task WHERE task_id = 1;
UPDATE task SET note = 'z', version = 4 WHERE task_id = 1 AND version = 3;
SELECT is(version, 4::bigint, 'or that plus one, as object mappers do') FROM task WHERE task_id = 1;
UPDATE task SET step = 'b', version = version WHERE task_id = 1;
SELECT is(version, 5::bigint, 'a move counts, too') FROM task WHERE task_id = 1;
SELECT is(code, 'RF006', 'an older version is stale')
FROM refused($$UPDATE task SET note = 'q', version = 4 WHERE task_id = 1$$);
SELECT matches(message || detail, 'task 1 has changed since it was read.*carries version 4.* version 5',
    'the refusal names both versions')
FROM refused($$UPDATE task SET note = 'q', version = 4 WHERE task_id = 1$$);
SELECT is(code, 'RF006', 'a version of the future is refused')
FROM refused($$UPDATE task SET note = 'q', version = 7 WHERE task_id = 1$$);
SELECT is(code, 'RF006', 'no version is none that was read')
FROM refused($$UPDATE task SET note = 'q', version = NULL WHERE task_id = 1$$);
SELECT is(code, 'RF006', 'also when nothing else changes')
FROM refused($$UPDATE task SET version = 3 WHERE task_id = 1$$);
SELECT is(code, 'RF006', 'a stale write is refused before its step is looked at')
FROM refused($$UPDATE task SET step = 'nowhere', version = 3 WHERE task_id = 1$$);
UPDATE task SET note = 'lost', version = 5 WHERE task_id = 1 AND version = 4;
SELECT is(note, 'z', 'a WHERE on an older version finds no row') FROM task WHERE task_id = 1;
UPDATE task SET note = 'a' WHERE task_id = 1;
UPDATE task SET note = 'b' WHERE task_id = 1;
SELECT is((SELECT array_agg(version ORDER BY journal_id) FROM referral.journal WHERE entity = 'task' AND entity_id = 1),
          ARRAY[1, 2, 3, 4, 5, 6, 7]::bigint[], 'the journal has every version once');

-- ---------- what changes nothing ----------
SELECT journal_rows('task', 1) AS before \gset
UPDATE task SET note = note, quantity = quantity, step = step, state = state, version = version WHERE task_id = 1;
UPDATE task SET note = 'b', step = 'b', version = 7 WHERE task_id = 1;
UPDATE task SET entered_at = now() - interval '1 year', transition_id = 42 WHERE task_id = 1;
SELECT is(version || ', ' || journal_rows('task', 1) - :before, '7, 0', 'what changes nothing has no version and no journal row')
FROM task WHERE task_id = 1;
SELECT isnt(entered_at::date, (now() - interval '1 year')::date, 'entered_at is the guard''s to set')
FROM task WHERE task_id = 1;
UPDATE task SET version = 8 WHERE task_id = 1;
SELECT is(version || ', ' || journal_rows('task', 1) - :before, '8, 1', 'a version raised by an object mapper is a change')
FROM task WHERE task_id = 1;
UPDATE task SET note = repeat('long', 10000) WHERE task_id = 1;
UPDATE task SET note = repeat('long', 10000) WHERE task_id = 1;
UPDATE task SET note = note || '' WHERE task_id = 1;
SELECT is(version, 9::bigint, 'a long value that is the same is no change') FROM task WHERE task_id = 1;
SELECT entered_at AS entered FROM task WHERE task_id = 1 \gset
UPDATE task SET note = 'short' WHERE task_id = 1;
SELECT is(entered_at, :'entered'::timestamptz, 'entered_at stays while the step does') FROM task WHERE task_id = 1;
UPDATE task SET step = 'a' WHERE task_id = 1;
SELECT ok(entered_at > :'entered'::timestamptz, 'and moves with it') FROM task WHERE task_id = 1;

-- ---------- many rows ----------
INSERT INTO task (task_id, quantity) SELECT 1000 + i, i FROM generate_series(1, 500) i;
SELECT is(count(*), 500::bigint, 'INSERT … SELECT: each row starts its workflow') FROM task
WHERE task_id > 1000 AND step = 'a' AND version = 1 AND workflow_id = :wf;
UPDATE task SET step = 'b' WHERE task_id > 1000;
SELECT is(count(*), 500::bigint, 'one UPDATE moves 500 rows')
FROM task WHERE task_id > 1000 AND step = 'b' AND version = 2;
SELECT is(count(*), 500::bigint, 'each with its journal row') FROM referral.journal
WHERE entity = 'task' AND entity_id > 1000 AND transition = 'go' AND from_step = 'a' AND to_step = 'b';
UPDATE task SET step = 'a', quantity = quantity - 1 WHERE task_id > 1000;
SELECT is(code, 'RF002', 'one row whose guard does not hold refuses the statement')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id > 1000$$);
SELECT is(count(*), 0::bigint, 'as a whole') FROM task WHERE task_id > 1000 AND step = 'b';
UPDATE task SET step = CASE step WHEN 'a' THEN 'b' ELSE 'a' END WHERE task_id IN (1001, 1002) AND quantity > 0;
UPDATE task t SET step = v.step FROM (VALUES (1002, 'a'), (1003, 'b')) v (id, step) WHERE t.task_id = v.id;
SELECT is(string_agg(step, '' ORDER BY task_id), 'aab', 'each row goes its own way')
FROM task WHERE task_id IN (1001, 1002, 1003);

-- ---------- COPY ----------
COPY task (task_id, quantity, note) FROM stdin;
2001	1	copied
2002	\N	copied
\.
SELECT is(string_agg(step || version || (workflow_id = :wf), ' '), 'a1true a1true', 'COPY: each row starts its workflow')
FROM task WHERE note = 'copied';
SELECT is(journal_rows('task', 2001) + journal_rows('task', 2002), 2::bigint, 'and has its journal row');
SELECT is(code, 'RF001', 'COPY cannot start a row at another step')
FROM refused($$COPY task (task_id, step) FROM PROGRAM 'echo 2003,b' (FORMAT csv)$$);

-- ---------- upsert ----------
INSERT INTO task (task_id, quantity) VALUES (3001, 1);
INSERT INTO task (task_id, quantity) VALUES (3001, 5) ON CONFLICT (task_id) DO UPDATE SET quantity = excluded.quantity;
SELECT is(quantity || step || version, '5a2', 'ON CONFLICT DO UPDATE is an update') FROM task WHERE task_id = 3001;
INSERT INTO task (task_id, quantity) VALUES (3001, 6) ON CONFLICT (task_id) DO UPDATE SET step = 'b';
SELECT is(quantity || step || version, '5b3', 'that may move the row') FROM task WHERE task_id = 3001;
SELECT is(code, 'RF001', 'along its transitions')
FROM refused($$INSERT INTO task (task_id) VALUES (3001) ON CONFLICT (task_id) DO UPDATE SET step = 'c'$$);
INSERT INTO task (task_id, quantity) VALUES (3001, 7), (3002, 7) ON CONFLICT DO NOTHING;
SELECT is(string_agg(task_id || step || version, ' ' ORDER BY task_id), '3001b3 3002a1', 'ON CONFLICT DO NOTHING leaves the row')
FROM task WHERE task_id IN (3001, 3002);
SELECT is(journal_rows('task', 3001) || ' ' || journal_rows('task', 3002), '3 1', 'and the journal') ;
INSERT INTO task (task_id, note) VALUES (3001, 'c') ON CONFLICT (task_id) DO UPDATE SET note = excluded.note, version = 3;
SELECT is(version, 4::bigint, 'an upsert may carry the version it read') FROM task WHERE task_id = 3001;
SELECT is(code, 'RF006', 'or be stale')
FROM refused($$INSERT INTO task (task_id) VALUES (3001) ON CONFLICT (task_id) DO UPDATE SET note = 'd', version = 2$$);
-- the proposed row went through the guard first, which made its version 1
SELECT is(code, 'RF006', 'excluded.version is the one of a new row')
FROM refused($$INSERT INTO task (task_id) VALUES (3001) ON CONFLICT (task_id) DO UPDATE SET note = 'e',
    version = excluded.version$$);

-- ---------- MERGE ----------
MERGE INTO task t USING (VALUES (3001, 8), (3003, 8)) v (id, quantity) ON t.task_id = v.id
WHEN MATCHED THEN UPDATE SET step = 'a', quantity = v.quantity
WHEN NOT MATCHED THEN INSERT (task_id, quantity) VALUES (v.id, v.quantity);
SELECT is(string_agg(task_id || step || quantity || version, ' ' ORDER BY task_id), '3001a85 3003a81', 'MERGE updates and inserts')
FROM task WHERE task_id IN (3001, 3003);
SELECT is(code, 'RF001', 'MERGE cannot insert at another step')
FROM refused($$MERGE INTO task t USING (VALUES (3004)) v (id) ON t.task_id = v.id
    WHEN NOT MATCHED THEN INSERT (task_id, step) VALUES (v.id, 'b')$$);
SELECT is(code, 'RF002', 'nor pass a guard that does not hold')
FROM refused($$MERGE INTO task t USING (VALUES (3001)) v (id) ON t.task_id = v.id
    WHEN MATCHED THEN UPDATE SET step = 'b', quantity = 0$$);
MERGE INTO task t USING (VALUES (3003)) v (id) ON t.task_id = v.id WHEN MATCHED THEN DELETE;
SELECT is(action, 'delete', 'a deletion is in the journal')
FROM referral.journal WHERE entity = 'task' AND entity_id = 3003 ORDER BY journal_id DESC LIMIT 1;

-- ---------- partitions ----------
CREATE TABLE part (gone text, part_id bigint, region text, note text, PRIMARY KEY (part_id, region)) PARTITION BY LIST (region);
CREATE TABLE part_north PARTITION OF part FOR VALUES IN ('north');
ALTER TABLE part DROP COLUMN gone;
-- a partition with another order of columns, and one that is partitioned itself
CREATE TABLE part_south (note text, extra integer, region text NOT NULL, part_id bigint NOT NULL);
ALTER TABLE part_south DROP COLUMN extra;
ALTER TABLE part ATTACH PARTITION part_south FOR VALUES IN ('south');
CREATE TABLE part_else PARTITION OF part DEFAULT PARTITION BY HASH (part_id);
CREATE TABLE part_else_0 PARTITION OF part_else FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_else_1 PARTITION OF part_else FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT is(referral.attach('part', id_column => 'part_id', row_security => false), 'part', 'a partitioned table can be attached');
SELECT make_workflow('part', 'note IS NOT NULL AND old.region IS NOT NULL') AS part_wf \gset
INSERT INTO part (part_id, region) VALUES (1, 'north'), (2, 'south'), (3, 'east');
SELECT is(string_agg(step || version, ' '), 'a1 a1 a1', 'rows start in every partition') FROM part;
UPDATE part SET step = 'b', note = 'x';
SELECT is(string_agg(step || version, ' '), 'b2 b2 b2', 'and move in every partition') FROM part;
SELECT is(count(*), 3::bigint, 'each with its journal row')
FROM referral.journal WHERE entity = 'part' AND transition = 'go';
SELECT is(code, 'RF001', 'a partition cannot be entered by itself')
FROM refused($$INSERT INTO part_south (part_id, region, step) VALUES (4, 'south', 'b')$$);
UPDATE part_south SET step = 'a' WHERE part_id = 2;
SELECT is(step || version, 'a3', 'but a row in it be moved on') FROM part WHERE part_id = 2;
SELECT is(code, 'RF002', 'as its guard allows')
FROM refused($$UPDATE part_south SET step = 'b', note = NULL WHERE part_id = 2$$);

UPDATE part SET region = 'south' WHERE part_id = 1;
SELECT is(tableoid::regclass || step || version || note, 'part_southb3x', 'a row that goes to another partition keeps its step')
FROM part WHERE part_id = 1;
UPDATE part SET region = 'west', step = 'a', note = 'y' WHERE part_id = 1;
SELECT is(region || step || version || note, 'westa4y', 'and may take a transition on the way')
FROM part WHERE part_id = 1;
SELECT results_eq($$SELECT action, version, transition, from_step, to_step, changes FROM referral.journal
                    WHERE entity = 'part' AND entity_id = 1 AND version > 2 ORDER BY journal_id$$,
    $$VALUES ('update', 3::bigint, NULL, NULL, NULL, '{"region": ["north", "south"]}'::jsonb),
             ('update', 4, 'back', 'b', 'a', '{"region": ["south", "west"], "note": ["x", "y"]}')$$,
    'the journal has one row for each, with what changed');
SELECT is(code, 'RF001', 'the way to another partition is no way round the guard')
FROM refused($$UPDATE part SET region = 'north', step = 'closed' WHERE part_id = 1$$);
SELECT is(code, 'RF006', 'nor round the version')
FROM refused($$UPDATE part SET region = 'north', version = 2 WHERE part_id = 1$$);
UPDATE part SET region = CASE region WHEN 'south' THEN 'north' ELSE 'south' END;
SELECT is(string_agg(part_id || region || step || version, ' ' ORDER BY part_id), '1southa5 2northa4 3southb3',
    'many rows change partitions in one statement')
FROM part;
SELECT is(count(*), 3::bigint, 'each with one journal row') FROM referral.journal
WHERE entity = 'part' AND xid = (SELECT xid FROM referral.journal WHERE entity = 'part' ORDER BY journal_id DESC LIMIT 1);
-- one statement that updates a row and inserts another one with the same number and version
SELECT isnt(code, 'done', 'a row cannot be smuggled in behind one that was judged') FROM refused($$
    WITH u AS (UPDATE part SET note = 'z' WHERE part_id = 1 RETURNING part_id, version, workflow_id)
    INSERT INTO part (part_id, region, version, workflow_id, step, state, entered_at)
    SELECT part_id, 'smuggled', version, workflow_id, 'b', 'validated', now() FROM u$$);
CREATE TABLE other_part (part_id bigint PRIMARY KEY, region text) PARTITION BY LIST (part_id);
CREATE TABLE other_part_1 PARTITION OF other_part DEFAULT;
SELECT is(referral.attach('other_part', id_column => 'part_id', row_security => false), 'other_part',
    'another partitioned table is attached');
SELECT make_workflow('other_part') AS other_wf \gset
SELECT is(code, 'RF001', 'nor into another table') FROM refused(format($$
    WITH u AS (UPDATE part SET note = 'z' WHERE part_id = 1 RETURNING part_id, version)
    INSERT INTO other_part (part_id, region, version, workflow_id, step, state, entered_at)
    SELECT part_id, 'smuggled', version, %s, 'b', 'validated', now() FROM u$$, :other_wf));
CREATE TABLE part_late PARTITION OF part FOR VALUES IN ('late');
INSERT INTO part (part_id, region) VALUES (9, 'late');
SELECT is(step || version, 'a1', 'a partition that comes later is guarded') FROM part WHERE part_id = 9;
SELECT is(code, 'RF001', 'in full') FROM refused($$UPDATE part SET step = 'closed' WHERE part_id = 9$$);
SELECT is(code, 'RF017', 'a row keeps its number in every partition')
FROM refused($$UPDATE part SET part_id = 10, region = 'north' WHERE part_id = 9$$);

-- ---------- other triggers ----------
CREATE TABLE deed (deed_id bigint PRIMARY KEY, quantity integer, note text);
SELECT referral.attach('deed', row_security => false) AS deed \gset
SELECT make_workflow('deed') AS deed_wf, make_workflow('deed', name => 'second') AS deed_second \gset
INSERT INTO deed (deed_id) VALUES (1);
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.note = 'step' THEN NEW.step := 'b'; NEW.state := 'validated';
    ELSIF NEW.note = 'state' THEN NEW.state := 'closed_loop';
    ELSIF NEW.note = 'transition' THEN NEW.transition_id := (SELECT min(transition_id) FROM referral.workflow_transition
        WHERE workflow_id = NEW.workflow_id);
    ELSIF NEW.note = 'version' THEN NEW.version := 100;
    ELSIF NEW.note = 'workflow' THEN NEW.workflow_id := (SELECT max(workflow_id) FROM referral.workflow WHERE entity = 'deed');
    ELSIF NEW.note = 'id' THEN NEW.deed_id := 77;
    ELSIF NEW.note = 'org' THEN NEW.org_id := 77;
    ELSIF NEW.note = 'skip' THEN RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER zzz_late BEFORE INSERT OR UPDATE ON deed FOR EACH ROW EXECUTE FUNCTION meddle();
SELECT is(code, 'RF001', 'a later trigger cannot change ' || what) FROM unnest('{step,state,transition,workflow}'::text[]) what,
    refused(format('UPDATE deed SET note = %L WHERE deed_id = 1', what));
SELECT is(code, 'RF006', 'nor version') FROM refused($$UPDATE deed SET note = 'version' WHERE deed_id = 1$$);
SELECT is(code, 'RF017', 'nor ' || what) FROM unnest('{id,org}'::text[]) what,
    refused(format('UPDATE deed SET note = %L WHERE deed_id = 1', what));
SELECT is(code, 'RF001', 'nor, of a new row, ' || what) FROM unnest('{step,state}'::text[]) what,
    refused(format('INSERT INTO deed (deed_id, note) VALUES (2, %L)', what));
UPDATE deed SET note = 'skip' WHERE deed_id = 1;
SELECT is(coalesce(note, '-') || version || journal_rows('deed', 1), '-11', 'one that lets the change fall leaves no trace')
FROM deed WHERE deed_id = 1;
UPDATE deed SET note = 'fine' WHERE deed_id = 1;
SELECT is(version, 2::bigint, 'one that lets the guard''s columns alone is welcome') FROM deed WHERE deed_id = 1;
ALTER TRIGGER zzz_late ON deed RENAME TO early;
UPDATE deed SET note = 'step' WHERE deed_id = 1;
SELECT is(step || version, 'b3', 'an earlier trigger may ask for a step, as an UPDATE does')
FROM deed WHERE deed_id = 1;
SELECT is(transition, 'go', 'by a transition')
FROM referral.journal WHERE entity = 'deed' AND entity_id = 1 ORDER BY journal_id DESC LIMIT 1;

-- ---------- replication ----------
SET session_replication_role = replica;
INSERT INTO task (task_id, workflow_id, step, state, version, entered_at) VALUES (4001, :wf, 'b', 'validated', 17, '2020-01-01');
UPDATE task SET step = 'a', state = 'received', version = 12 WHERE task_id = 4001;
RESET session_replication_role;
SELECT is(step || version || journal_rows('task', 4001), 'a120', 'rows that are replicated or restored are taken as they are')
FROM task WHERE task_id = 4001;
UPDATE task SET note = 'x' WHERE task_id = 4001;
SELECT is(version, 13::bigint, 'and go on from there') FROM task WHERE task_id = 4001;

SELECT * FROM finish();
