-- attach() and detach(): the engine on tables of one's own.
SELECT plan(68);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql

-- Columns, triggers, policies, entity, rule sets: everything that attach() may add to a table.
CREATE FUNCTION traces(relation regclass) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' | ',
        (SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = relation AND attnum > 0
            AND NOT attisdropped),
        (SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal),
        (SELECT string_agg(polname, ',') FROM pg_policy WHERE polrelid = relation),
        (SELECT relrowsecurity::text FROM pg_class WHERE oid = relation),
        (SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint WHERE conrelid = relation AND contype IN ('p', 'u')),
        (SELECT string_agg(entity || ':' || id_column, ',') FROM referral.entity e WHERE e.relation = traces.relation
            AND detached_at IS NULL),
        (SELECT count(*) FROM referral.rule_set))
$$;

-- ---------- a table with an integer key ----------
CREATE TABLE task (task_id bigint PRIMARY KEY, note text);
SELECT is(referral.attach('task'), 'task', 'attach() returns the entity, by default the name of the table');
SELECT matches(traces('task'),
    '^task_id,note,org_id,workflow_id,step,state,status_reason,entered_at,version,transition_id \| journal,no_truncate,sla_clock,zz_guard \| organisation \| true \| task_pkey \| task:task_id \| ',
    'one call adds columns, triggers, policy and entity');
SELECT traces('task') AS once \gset
SELECT referral.attach('task') AS again \gset
SELECT is(traces('task'), :'once', 'a second call adds nothing');
SELECT is(code, 'RF012', 'without a workflow, new rows are refused')
FROM refused('INSERT INTO task (task_id) VALUES (1)');
SELECT make_workflow('task') AS wf \gset
INSERT INTO task (task_id) VALUES (1);
UPDATE task SET step = 'b' WHERE task_id = 1;
SELECT is(step || version || ' ' || (SELECT count(*) FROM referral.history WHERE entity = 'task'), 'b2 2',
    'with one, they are guarded and journaled')
FROM task;
SELECT referral.attach('task') AS again \gset
SELECT is(step || version, 'b2', 'attaching again leaves rows in flight alone') FROM task;

-- rows that were there before a workflow was
CREATE TABLE early (early_id integer PRIMARY KEY, note text);
INSERT INTO early SELECT i, 'old ' || i FROM generate_series(1, 3) i;
SELECT referral.attach('early') AS early \gset
SELECT is(code, 'RF012', 'rows without a workflow cannot be changed')
FROM refused($$UPDATE early SET note = 'x' WHERE early_id = 1$$);
SELECT make_workflow('early') AS early_wf \gset
SELECT referral.attach('early') AS again \gset
SELECT is(string_agg(step || state || version || (workflow_id = :early_wf)::text, ' '),
    'areceived2true areceived2true areceived2true',
          'attach() lets them enter the workflow once there is one') FROM early;
SELECT is(count(*), 3::bigint, 'and journals that')
FROM referral.journal WHERE entity = 'early' AND transition = 'attach' AND to_step = 'a';
UPDATE early SET step = 'b';
SELECT is(count(*), 3::bigint, 'from there they move on') FROM early WHERE step = 'b' AND version = 3;

-- ---------- a table with another key ----------
CREATE TABLE parcel (parcel_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), note text);
INSERT INTO parcel (note) VALUES ('first'), ('second');
SELECT referral.attach('parcel', step => NULL) AS parcel \gset
SELECT make_workflow('parcel') AS parcel_wf \gset
SELECT referral.attach('parcel') AS parcel \gset
SELECT is((SELECT id_column::text FROM referral.entity WHERE entity = 'parcel'), 'tracking_id',
    'a table whose key is no integer gets a tracking_id');
SELECT is(count(DISTINCT tracking_id), 2::bigint, 'each row its own') FROM parcel;
INSERT INTO parcel (note) VALUES ('third');
UPDATE parcel SET step = 'b' WHERE note = 'third';
SELECT is((SELECT array_agg(j.transition ORDER BY journal_id) FROM referral.journal j WHERE entity = 'parcel'
    AND entity_id = tracking_id),
          '{NULL,go}'::text[], 'by which the journal knows it') FROM parcel WHERE note = 'third';
SELECT is((SELECT array_agg(to_step) FROM referral.next_transitions('parcel', 1, (SELECT tracking_id FROM parcel
    WHERE note = 'third'))),
          '{a}'::text[], 'and next_transitions()');
SELECT is((SELECT count(*) FROM pg_constraint WHERE conrelid = 'parcel'::regclass AND contype = 'u'), 1::bigint,
    'a second call makes no second tracking_id');
CREATE TABLE line (order_id bigint, line_no integer, PRIMARY KEY (order_id, line_no));
SELECT referral.attach('line') AS line \gset
SELECT is((SELECT id_column::text FROM referral.entity WHERE entity = 'line'), 'tracking_id',
    'a key of two columns is none that the journal can hold');
CREATE TABLE keyless (note text);
SELECT referral.attach('keyless') AS keyless \gset
SELECT is((SELECT id_column::text FROM referral.entity WHERE entity = 'keyless'), 'tracking_id', 'nor is no key at all');
CREATE TABLE tenant (org_id bigint NOT NULL DEFAULT referral.current_org(), tenant_id smallint, PRIMARY KEY (org_id, tenant_id));
SELECT referral.attach('tenant') AS tenant \gset
SELECT is((SELECT id_column::text FROM referral.entity WHERE entity = 'tenant'), 'tenant_id',
    'an organisation before the key does not count');

-- ---------- names ----------
CREATE SCHEMA "My Schema";
CREATE TABLE "My Schema"."Order ""Line""" ("Line Id" bigint PRIMARY KEY, "Note's" text);
INSERT INTO "My Schema"."Order ""Line""" VALUES (1, 'x');
SELECT is(referral.attach('"My Schema"."Order ""Line"""'), 'Order "Line"', 'names that need quotes, in another schema');
SELECT make_workflow('Order "Line"', '"Note''s" = ''y''') AS quoted_wf \gset
SELECT referral.attach('"My Schema"."Order ""Line"""') AS again \gset
UPDATE "My Schema"."Order ""Line""" SET step = 'b', "Note's" = 'y';
SELECT is(step || version, 'b3', 'the guard works there') FROM "My Schema"."Order ""Line""";
SELECT is((SELECT to_step FROM referral.next_transitions('Order "Line"', 1, 1)), 'a', 'next_transitions() does');
SELECT make_workflow('Order "Line"') AS quoted_newer \gset
SELECT referral.migrate_workflow('Order "Line"', 1, 1, :quoted_newer, 'r');
SELECT is(workflow_id, :quoted_newer::bigint, 'migrate_workflow() does') FROM "My Schema"."Order ""Line""";
SELECT referral.detach('"My Schema"."Order ""Line"""');
SELECT hasnt_trigger('My Schema', 'Order "Line"', 'zz_guard', 'detach() does');
CREATE SCHEMA other;
CREATE TABLE other.named (named_id bigint PRIMARY KEY);
SELECT is(referral.attach('other.named', entity => 'vendor'), 'vendor', 'an entity may have a name of its own');
CREATE TABLE other.task (task_id bigint PRIMARY KEY);
SELECT isnt(code, 'done', 'a name that another table has is not taken over')
FROM refused($$SELECT referral.attach('other.task')$$);
UPDATE task SET note = 'x' WHERE task_id = 1;
SELECT is(note, 'x', 'whose own guard goes on') FROM task WHERE task_id = 1;
SELECT is(code, 'done', 'with another name it can be attached')
FROM refused($$SELECT referral.attach('other.task', entity => 'other_task')$$);
SELECT isnt(code, 'done', 'a name that is too long for the journal is refused')
FROM refused(format($$SELECT referral.attach('other.task', entity => %L)$$, repeat('x', 64)));
DROP TABLE task;
CREATE TABLE task (task_id bigint PRIMARY KEY, note text);
SELECT is(referral.attach('task', row_security => false), 'task', 'the name of a table that was dropped is free');

-- ---------- columns that are there already ----------
CREATE TABLE address (address_id bigint PRIMARY KEY, state text);
SELECT isnt(code, 'done', 'a column state of another type is refused')
FROM refused($$SELECT referral.attach('address')$$);
CREATE TABLE versioned (versioned_id bigint PRIMARY KEY, version integer NOT NULL DEFAULT 0);
SELECT isnt(code, 'done', 'a column version of another type, which the guard could not keep, is refused')
FROM refused($$SELECT referral.attach('versioned')$$);
CREATE TABLE stepped (stepped_id bigint PRIMARY KEY, step integer);
SELECT isnt(code, 'done', 'a column step of another type is refused')
FROM refused($$SELECT referral.attach('stepped')$$);
CREATE TABLE ready (ready_id bigint PRIMARY KEY, state referral.state, version bigint, step text);
SELECT is(code, 'done', 'columns of the right type are used as they are')
FROM refused($$SELECT referral.attach('ready')$$);
CREATE TABLE eventful (eventful_id bigint PRIMARY KEY, note text);
CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := 'noted'; RETURN NEW; END $$;
CREATE TRIGGER journal BEFORE INSERT ON eventful FOR EACH ROW EXECUTE FUNCTION note_it();
CREATE FUNCTION attach_and_write() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM referral.attach('eventful', row_security => false);
    PERFORM make_workflow('eventful');
    INSERT INTO eventful (eventful_id) VALUES (1) RETURNING note INTO result;
    RETURN result;
EXCEPTION WHEN OTHERS THEN RETURN 'refused';
END $$;
SELECT isnt(attach_and_write(), NULL, 'a trigger of one''s own that is called journal is not replaced in silence');

-- ---------- a shipped workflow for one's own table ----------
CREATE TABLE supplier (supplier_id bigint PRIMARY KEY, name text);
INSERT INTO supplier VALUES (1, 'old');
SELECT traces('supplier') AS before \gset
SELECT is(code, 'RF011', 'a workflow whose guards name columns that the table lacks is refused')
FROM refused($$SELECT referral.attach('supplier', 'standard')$$);
SELECT matches(message || detail, 'column "patient_id" does not exist.*supplier_id, name', 'naming the column and those on offer')
FROM refused($$SELECT referral.attach('supplier', 'standard')$$);
SELECT is(traces('supplier'), :'before', 'and nothing is left behind');
SELECT is(code, 'RF012', 'a workflow that does not exist is refused')
FROM refused($$SELECT referral.attach('supplier', 'nosuch')$$);
SELECT matches(detail, 'closed_loop_exchange, coordination,.* standard', 'with those that do')
FROM refused($$SELECT referral.attach('supplier', 'nosuch')$$);
SELECT make_workflow('task', name => 'simple') AS simple \gset
SELECT referral.attach('supplier', 'simple') AS supplier \gset
SELECT is(step || version || (workflow_id <> :simple)::text, 'a1true', 'one that fits serves as a copy of its own')
FROM supplier;
SELECT is(action || ' ' || transition || ' ' || to_step, 'update attach a', 'the journal says how the row came in')
FROM referral.journal WHERE entity = 'supplier';
SELECT is((SELECT count(*) FROM referral.workflow_transition t JOIN referral.workflow w USING (workflow_id)
    WHERE w.entity = 'supplier'), 2::bigint, 'with its transitions');
SELECT traces('supplier') AS once \gset
SELECT referral.attach('supplier', 'simple') AS again \gset
SELECT is(traces('supplier'), :'once', 'a second call makes no second copy');
UPDATE supplier SET step = 'b';
SELECT make_workflow('task', 'false', name => 'simple') AS stricter \gset
INSERT INTO supplier (supplier_id) VALUES (2);
UPDATE supplier SET step = 'b' WHERE supplier_id = 2;
SELECT is(string_agg(step, ''), 'bb', 'a later version of the original does not touch the copy') FROM supplier;
SELECT is(code, 'RF003', 'a table that has a workflow adopts no other')
FROM refused($$SELECT referral.attach('supplier', 'standard')$$);
CREATE TABLE placed (placed_id bigint PRIMARY KEY);
INSERT INTO placed VALUES (1);
SELECT referral.attach('placed', 'simple', step => 'b') AS placed \gset
SELECT is(step || state, 'bvalidated', 'rows that are there can be placed at a step') FROM placed;
CREATE TABLE misplaced (misplaced_id bigint PRIMARY KEY);
INSERT INTO misplaced VALUES (1);
SELECT isnt(code, 'done', 'not at one that does not exist')
FROM refused($$SELECT referral.attach('misplaced', 'simple', step => 'nowhere')$$);

-- a table that has all the columns of a referral
CREATE TABLE copied (LIKE referral.referral INCLUDING ALL);
SELECT referral.attach('copied', 'standard', row_security => false) AS copied \gset
INSERT INTO copied (org_id, referral_id) VALUES (1, 1);
SELECT is(code, 'RF002', 'the guards of the shipped workflow work')
FROM refused($$UPDATE copied SET step = 'validated'$$);
UPDATE copied SET step = 'on_hold', status_reason = 'waiting_for_patient';
SELECT is(code, 'done', 'and what they remember is that of the table''s own rows')
FROM refused($$UPDATE copied SET step = 'received'$$);

-- ---------- partitioned ----------
CREATE TABLE part (part_id bigint, region text, PRIMARY KEY (part_id, region)) PARTITION BY LIST (region);
CREATE TABLE part_1 PARTITION OF part DEFAULT;
INSERT INTO part VALUES (1, 'x');
SELECT referral.attach('part', 'simple', id_column => 'part_id') AS part \gset
SELECT is(code, 'done', 'a partitioned table can be attached twice') FROM refused($$SELECT referral.attach('part')$$);
SELECT referral.detach('part');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('part'::regclass, 'part_1'::regclass) AND NOT tgisinternal),
    0::bigint, 'and be detached with its partitions');

-- ---------- detach ----------
SELECT traces('supplier') AS once \gset
SELECT count(*) AS journal_before FROM referral.journal WHERE entity = 'supplier' \gset
SELECT referral.detach('supplier');
SELECT matches(traces('supplier'), '^supplier_id,name,org_id,workflow_id,step,state,status_reason,entered_at,version,transition_id \| false \| supplier_pkey \| \d+$',
               'detach() takes off triggers, policy and entity, and leaves the columns');
UPDATE supplier SET name = 'free' WHERE supplier_id = 1;
SELECT is(version || ' ' || (SELECT count(*) - :journal_before FROM referral.journal WHERE entity = 'supplier'), '2 0',
    'changes are neither guarded nor journaled')
FROM supplier WHERE supplier_id = 1;
SELECT is((SELECT count(*) FROM referral.history WHERE entity = 'supplier') > 0, true, 'the past stays in the journal');
SELECT referral.detach('supplier');
SELECT referral.detach(NULL);
SELECT is(referral.attach('supplier'), 'supplier', 'detaching twice is no harm, and attach() puts everything back');
SELECT is(traces('supplier'), :'once', 'as it was');
UPDATE supplier SET step = 'a' WHERE supplier_id = 1;
SELECT is(version, 3::bigint, 'rows go on where they were') FROM supplier WHERE supplier_id = 1;
CREATE POLICY mine ON supplier USING (true);
SELECT referral.detach('supplier');
SELECT is((SELECT relrowsecurity FROM pg_class WHERE oid = 'supplier'::regclass), true, 'row-level security of one''s own stays');

-- ---------- who may ----------
CREATE ROLE workflow_attach_owner LOGIN IN ROLE referral_admin;
CREATE ROLE workflow_attach_plain LOGIN IN ROLE referral_coordinator;
CREATE ROLE workflow_attach_stranger LOGIN IN ROLE referral_admin;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'workflow_attach_owner'), (1, 'workflow_attach_plain');
CREATE SCHEMA AUTHORIZATION workflow_attach_owner;
SET SESSION AUTHORIZATION workflow_attach_owner;
CREATE TABLE workflow_attach_owner.refund (refund_id bigint PRIMARY KEY, amount numeric);
INSERT INTO workflow_attach_owner.refund VALUES (1, 10);
GRANT USAGE ON SCHEMA workflow_attach_owner TO PUBLIC;
GRANT SELECT, INSERT, UPDATE ON workflow_attach_owner.refund TO workflow_attach_plain;
SELECT is(code, 'done', 'an owner who is an administrator of referral may attach a table')
FROM refused($$SELECT referral.attach('workflow_attach_owner.refund', 'simple')$$);
SELECT referral.attach('workflow_attach_owner.refund') AS refund \gset
SELECT is(code, 'done', 'also one that is attached')
FROM refused($$SELECT referral.attach('workflow_attach_owner.refund', 'simple')$$);
SELECT referral.attach('workflow_attach_owner.refund', 'simple') AS refund \gset
SET SESSION AUTHORIZATION workflow_attach_stranger;
SELECT is(code, 'RF003', 'not another administrator')
FROM refused($$SELECT referral.attach('workflow_attach_owner.refund')$$);
SELECT is(code, 'RF003', 'who may not detach it either')
FROM refused($$SELECT referral.detach('workflow_attach_owner.refund')$$);
SET SESSION AUTHORIZATION workflow_attach_plain;
SELECT is(code, '42501', 'nor who is no administrator')
FROM refused($$SELECT referral.attach('workflow_attach_owner.refund')$$);
INSERT INTO workflow_attach_owner.refund (refund_id, amount) VALUES (2, 5);
UPDATE workflow_attach_owner.refund SET step = 'b';
SELECT is(string_agg(step || version, ' ' ORDER BY refund_id), 'b3 b2', 'others work with its rows')
FROM workflow_attach_owner.refund;
SELECT is(code, '42501', 'of their own organisation')
FROM refused('INSERT INTO workflow_attach_owner.refund (org_id, refund_id) VALUES (2, 3)');
RESET SESSION AUTHORIZATION;

-- ---------- the engine's columns change their type ----------
SELECT referral.attach('ready', row_security => false) AS ready \gset
SELECT make_workflow('ready') AS ready_wf \gset
INSERT INTO ready (ready_id) VALUES (1);
ALTER TABLE ready ALTER COLUMN step TYPE varchar(20);
SELECT is(code, 'RF012', 'a column whose type was changed is refused') FROM refused($$UPDATE ready SET step = 'b'$$);
ALTER TABLE ready ALTER COLUMN step TYPE text;
SELECT is(code, 'done', 'not when it was changed back') FROM refused($$UPDATE ready SET step = 'b'$$);
ALTER TABLE ready ALTER COLUMN state TYPE text;
SELECT is(code, 'RF012', 'the state, too') FROM refused($$UPDATE ready SET step = 'b'$$);

SELECT * FROM finish();
