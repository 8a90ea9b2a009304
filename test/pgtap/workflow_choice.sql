-- Which workflow a row gets, that it stays with it, migrate_workflow(), and imported history.
SELECT plan(62);
\ir ../lib/refused.sql
\ir ../lib/make_workflow.sql

INSERT INTO referral.organization (org_id, name) VALUES (2, 'Second');
INSERT INTO referral.site (org_id, site_id, name) VALUES (1, 7, 'Seven'), (1, 8, 'Eight'), (2, 7, 'Seven of Two');

-- ---------- scope and applies_when ----------
SELECT make_workflow('referral', name => 'for_org', scope => '{"org": 1}'),
       make_workflow('referral', name => 'for_region', scope => '{"region": "north"}'),
       make_workflow('referral', name => 'for_site', scope => '{"site": 7}'),
       make_workflow('referral', name => 'for_specialty', scope => '{"specialty": "cardiology"}'),
       make_workflow('referral', name => 'for_region_of_org', scope => '{"org": 1, "region": "north"}'),
       make_workflow('referral', name => 'for_all_but_specialty',
           scope => '{"org": 1, "region": "north", "site": 7}') AS narrow \gset
SELECT make_workflow('referral', name => 'urgent', applies_when => 'urgency = ''stat''',
    scope => '{"specialty": "cardiology"}', priority => 50) AS urgent,
       make_workflow('referral', name => 'never', applies_when => 'referral_type = ''never''',
           scope => '{"specialty": "cardiology"}', priority => 10) AS never \gset
CREATE FUNCTION chosen(org bigint, region text, site bigint, specialty text, urgency text DEFAULT 'routine') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    INSERT INTO referral.referral (org_id, region, site_id, specialty, urgency)
    VALUES (org, region, site, specialty, urgency::referral.urgency)
    RETURNING (SELECT w.name FROM referral.workflow w WHERE w.workflow_id = referral.workflow_id) INTO result;
    RETURN result;
END $$;
SELECT is(chosen(2, NULL, NULL, NULL), 'standard', 'where no scope fits, the workflow without one serves');
SELECT is(chosen(1, NULL, NULL, NULL), 'for_org', 'an organisation''s own goes before it');
SELECT is(chosen(2, 'north', NULL, NULL), 'for_region', 'so does a region''s');
SELECT is(chosen(1, 'south', NULL, NULL), 'for_org', 'not another region''s');
SELECT is(chosen(1, 'north', NULL, NULL), 'for_region_of_org', 'both together go before either');
SELECT is(chosen(2, 'north', 7, NULL), 'for_site', 'a site goes before a region');
SELECT is(chosen(1, 'south', 7, NULL), 'for_site', 'and before an organisation');
SELECT is(chosen(1, 'south', 8, NULL), 'for_org', 'not another site');
SELECT is(chosen(1, 'north', 7, NULL), 'for_all_but_specialty', 'the more specific scope wins');
SELECT is(chosen(2, NULL, NULL, 'cardiology'), 'for_specialty', 'a specialty''s own');
SELECT is(chosen(1, 'north', 7, 'cardiology'), 'for_specialty', 'goes before everything else');
SELECT is(chosen(1, 'north', 7, 'oncology'), 'for_all_but_specialty', 'not another specialty');
SELECT is(chosen(1, 'north', 7, 'Cardiology'), 'for_specialty', 'in capital letters it is the same specialty');
SELECT is(chosen(1, NULL, NULL, 'cardiology', 'stat'), 'urgent',
    'in one scope the lower priority number goes first, where applies_when holds');
SELECT is(code, 'RF012', 'a workflow that does not apply cannot be named')
FROM refused(format('INSERT INTO referral.referral (org_id, workflow_id) VALUES (1, %s)', :urgent));
SELECT is(code, 'RF012', 'nor one whose scope does not fit')
FROM refused(format('INSERT INTO referral.referral (org_id, region, workflow_id) VALUES (1, ''south'', %s)', :narrow));
INSERT INTO referral.referral (org_id, region, workflow_id)
SELECT 1, 'north', workflow_id FROM referral.workflow WHERE name = 'for_region' RETURNING referral_id AS named \gset
SELECT is(w.name, 'for_region', 'one that fits less specifically can')
FROM referral.referral r JOIN referral.workflow w USING (workflow_id)
WHERE r.referral_id = :named;

-- a table without the columns that a scope is about
SET referral.org_id = 1;
CREATE TABLE task (task_id bigint PRIMARY KEY, note text);
SELECT referral.attach('task', row_security => false) AS task \gset
SELECT make_workflow('task', name => 'scoped', scope => '{"specialty": "cardiology"}') AS scoped \gset
SELECT is(code, 'RF012', 'a scope of a column that the table lacks never fits')
FROM refused('INSERT INTO task (task_id) VALUES (1)');

-- ---------- a row stays with its workflow ----------
SELECT make_workflow('task') AS first \gset
INSERT INTO task (task_id) VALUES (1), (2), (3), (4);
SELECT make_workflow('task', 'false') AS second \gset
UPDATE task SET step = 'b' WHERE task_id = 1;
SELECT is(step, 'b', 'a row in flight goes on under the version it started with') FROM task WHERE task_id = 1;
SELECT is(rule_version, (SELECT rule_version_id FROM referral.workflow WHERE workflow_id = :first), 'which the journal names')
FROM referral.journal WHERE entity = 'task' AND entity_id = 1 ORDER BY journal_id DESC LIMIT 1;
SET client_min_messages = error;
UPDATE referral.rule_version SET status = 'retired' WHERE status = 'active' AND rule_set_id = (SELECT rule_set_id
    FROM referral.rule_set WHERE name = 'workflow/task/main');
SELECT is(code, 'RF012', 'without an active workflow no row can begin')
FROM refused('INSERT INTO task (task_id) VALUES (9)');
SELECT is(code, 'done', 'but those that began go on') FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 2$$);
SELECT referral.rollback_rule_set('workflow/task/main') AS back \gset
INSERT INTO task (task_id) VALUES (10);
SELECT is(workflow_id, :second::bigint, 'after rollback_rule_set they begin again') FROM task WHERE task_id = 10;

-- ---------- migrate_workflow() ----------
SELECT entered_at AS entered, version AS was FROM task WHERE task_id = 1 \gset
SELECT referral.migrate_workflow('task', 1, 1, :second, 'New rules for all');
SELECT is(workflow_id || step || (entered_at = :'entered')::text || (version - :was), :second || 'btrue1',
    'a row is moved to another version, where it stands')
FROM task WHERE task_id = 1;
SELECT is(transition || ', ' || from_step || '-' || to_step || ', ' || reason || ', ' || rule_version,
          'migrate_workflow, b-b, New rules for all, ' || (SELECT rule_version_id FROM referral.workflow
              WHERE workflow_id = :second),
          'the journal says so, and why') FROM referral.journal WHERE entity = 'task' AND entity_id = 1
              ORDER BY journal_id DESC LIMIT 1;
UPDATE task SET step = 'a' WHERE task_id = 1;
SELECT is(code, 'RF002', 'and it follows the new version from then on')
FROM refused($$UPDATE task SET step = 'b' WHERE task_id = 1$$);

INSERT INTO referral.rule_set (name, kind) VALUES ('workflow/task/renamed', 'workflow') RETURNING rule_set_id AS renamed_set \gset
INSERT INTO referral.rule_version (rule_set_id, is_seed) VALUES (:renamed_set, true)
    RETURNING rule_version_id AS renamed_version \gset
INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (:renamed_version, 'task', 'renamed')
    RETURNING workflow_id AS renamed \gset
INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial) VALUES (:renamed, 'begun', 'received', true),
    (:renamed, 'b', 'completed', false);
SELECT isnt(code, 'done', 'a draft that nobody approved takes no rows')
FROM refused(format($$SELECT referral.migrate_workflow('task', 1, 3, %s, 'r', '{"a": "begun"}')$$, :renamed));
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :renamed_version;
SELECT is(code, 'RF001', 'the step must exist in the new version')
FROM refused(format($$SELECT referral.migrate_workflow('task', 1, 3, %s, 'r')$$, :renamed));
SELECT is(code, 'RF001', 'with the same state')
FROM refused(format($$SELECT referral.migrate_workflow('task', 1, 3, %s, 'r', '{"a": "b"}')$$, :renamed));
SELECT matches(detail, 'state "received"', 'which is named')
FROM refused(format($$SELECT referral.migrate_workflow('task', 1, 3, %s, 'r', '{"a": "b"}')$$, :renamed));
SELECT referral.migrate_workflow('task', 1, 3, :renamed, 'Renamed', '{"a": "begun"}');
SELECT is(step || state, 'begunreceived', 'a step map gives the new name') FROM task WHERE task_id = 3;
SELECT is(code, 'RF019', 'no workflow of another entity')
FROM refused($$SELECT referral.migrate_workflow('task', 1, 4, (SELECT workflow_id FROM referral.workflow
    WHERE name = 'for_org'), 'r')$$);
SELECT is(code, 'RF019', 'nor one that does not exist')
FROM refused($$SELECT referral.migrate_workflow('task', 1, 4, 999999, 'r')$$);
SELECT is(code, 'RF001', 'a reason is needed')
FROM refused(format($$SELECT referral.migrate_workflow('task', 1, 4, %s, '')$$, :second));
SELECT is(code, 'RF019', 'a row that does not exist')
FROM refused(format($$SELECT referral.migrate_workflow('task', 1, 999, %s, 'r')$$, :second));
SELECT is(code, 'RF019', 'or is another organisation''s')
FROM refused(format($$SELECT referral.migrate_workflow('task', 2, 4, %s, 'r')$$, :second));
SELECT is(code, 'RF019', 'an entity that does not exist')
FROM refused(format($$SELECT referral.migrate_workflow('nothing', 1, 4, %s, 'r')$$, :second));
SELECT referral.migrate_workflow('task', 1, 4, :second, NULL);
SELECT is(workflow_id, :first::bigint, 'null moves nothing') FROM task WHERE task_id = 4;
BEGIN;
SET LOCAL referral.reason = 'mine';
SELECT referral.migrate_workflow('task', 1, 4, :second, 'theirs');
SELECT current_setting('referral.reason') AS reason \gset
COMMIT;
SELECT is(:'reason'::text, 'mine', 'the caller''s own referral.reason stays as it was');
SELECT is(current_setting('referral.reason'), '', 'and none is left behind');

CREATE ROLE workflow_choice_admin LOGIN IN ROLE referral_admin;
CREATE ROLE workflow_choice_clerk LOGIN IN ROLE referral_coordinator;
CREATE ROLE workflow_choice_interface LOGIN IN ROLE referral_integration;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'workflow_choice_admin'), (1,
    'workflow_choice_clerk'), (1, 'workflow_choice_interface');
GRANT SELECT, UPDATE ON task TO workflow_choice_clerk;
SELECT make_workflow('referral', name => 'for_org', scope => '{"org": 1}') AS newer \gset
SELECT referral_id AS moving FROM referral.referral r JOIN referral.workflow w USING (workflow_id)
    WHERE w.name = 'for_org' ORDER BY 1 LIMIT 1 \gset
SET SESSION AUTHORIZATION workflow_choice_clerk;
SELECT isnt(code, 'done', 'others than administrators do not migrate rows')
FROM refused(format($$SELECT referral.migrate_workflow('referral', 1, %s, %s, 'r')$$, :moving, :newer));
SELECT is(code, 'RF003', 'nor by a plain UPDATE')
FROM refused(format('UPDATE referral.referral SET workflow_id = %s WHERE referral_id = %s', :newer, :moving));
SELECT is(code, 'RF003', 'nor out of every workflow')
FROM refused('UPDATE task SET workflow_id = NULL WHERE task_id = 1');
SET SESSION AUTHORIZATION workflow_choice_admin;
SELECT is(code, 'done', 'administrators do')
FROM refused(format($$SELECT referral.migrate_workflow('referral', 1, %s, %s, 'r')$$, :moving, :newer));
SELECT is(code, 'RF001', 'with a reason, when by UPDATE')
FROM refused(format('UPDATE referral.referral SET workflow_id = %s WHERE referral_id = %s', :newer, :moving));
RESET SESSION AUTHORIZATION;
SELECT isnt(code, 'done', 'no row can be taken out of every workflow')
FROM refused('UPDATE task SET workflow_id = NULL WHERE task_id = 1');

-- ---------- imported history ----------
SET SESSION AUTHORIZATION workflow_choice_interface;
SELECT is(code, 'RF001', 'an interface starts rows at an initial step, too')
FROM refused($$INSERT INTO referral.referral (org_id, region, step) VALUES (1, 'south', 'b')$$);
SET referral.occurred_at = '2023-04-05 06:07:08+00';
INSERT INTO referral.referral (org_id, region, step, placer_order_number) VALUES (1, 'south', 'b', 'imported')
    RETURNING referral_id AS imported \gset
SELECT is(step || ' ' || entered_at, 'b 2023-04-05 06:07:08+00', 'but brings history in at any step, at its own time')
FROM referral.referral WHERE referral_id = :imported;
SELECT is(occurred_at || ' ' || (recorded_at > occurred_at)::text, '2023-04-05 06:07:08+00 true',
    'which the journal has beside the time of recording')
FROM referral.journal WHERE entity = 'referral' AND entity_id = :imported;
SELECT is(code, 'RF001', 'a step that does not exist is not history')
FROM refused($$INSERT INTO referral.referral (org_id, region, step) VALUES (1, 'south', 'nowhere')$$);
SET referral.occurred_at = '2023-05-06 07:08:09+00';
UPDATE referral.referral SET step = 'a' WHERE referral_id = :imported;
SELECT is(entered_at::text, '2023-05-06 07:08:09+00', 'a move happened when it is said to have happened')
FROM referral.referral WHERE referral_id = :imported;
SELECT is(code, 'RF001', 'the transitions count for imported moves')
FROM refused(format($$UPDATE referral.referral SET step = 'nowhere' WHERE referral_id = %s$$, :imported));
SET referral.occurred_at = '2999-01-01';
SELECT is(code, 'RF018', 'nothing has happened in the future')
FROM refused($$INSERT INTO referral.referral (org_id, region) VALUES (1, 'south')$$);
SET referral.occurred_at = '-infinity';
SELECT is(code, 'RF018', 'nor since ever')
FROM refused($$INSERT INTO referral.referral (org_id, region) VALUES (1, 'south')$$);
SET referral.occurred_at = 'yesterweek';
SELECT is(code, '22007', 'nor at what is no time')
FROM refused($$INSERT INTO referral.referral (org_id, region) VALUES (1, 'south')$$);
SET SESSION AUTHORIZATION workflow_choice_clerk;
SET referral.occurred_at = '2023-04-05 06:07:08+00';
SELECT is(code, 'RF003', 'others may not say when it happened')
FROM refused($$INSERT INTO referral.referral (org_id, region, step) VALUES (1, 'south', 'b')$$);
SELECT is(code, 'RF003', 'not even of a row that begins now')
FROM refused($$INSERT INTO referral.referral (org_id, region) VALUES (1, 'south')$$);
SELECT is(code, 'RF003', 'nor of a move')
FROM refused(format($$UPDATE referral.referral SET step = 'b' WHERE referral_id = %s$$, :imported));
SELECT is(code, 'RF003', 'nor of another change')
FROM refused(format($$UPDATE referral.referral SET region = 'x' WHERE referral_id = %s$$, :imported));
RESET referral.occurred_at;
RESET SESSION AUTHORIZATION;

-- ---------- settings that are wrong or missing ----------
RESET referral.org_id;
SELECT throws_ok('SELECT referral.current_org()', 'RF018', 'referral.org_id is not set',
    'with several organisations, the session must say which');
SELECT throws_ok($$SET referral.org_id = 'first'$$, '22023', NULL, 'an organisation is a number');
SELECT throws_ok($$SET referral.actor_kind = 'robot'$$, '22023', NULL, 'an actor is of a known kind');

SELECT * FROM finish();
