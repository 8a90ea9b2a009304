-- The guard: which step a write leads to, which transition is taken, and every refusal. workflow_*.sql has the rest.
SELECT plan(102);
\ir ../lib/refused.sql

-- ---------- a table of one's own with a workflow that has everything ----------
CREATE TABLE job (job_id bigint PRIMARY KEY, quantity integer, note text);
SELECT referral.attach('job', row_security => false) AS job \gset
GRANT ALL ON job TO PUBLIC;
SELECT is(code || ': ' || message, 'RF012: no active workflow applies to this row of entity "job"',
          'a table without a workflow refuses new rows') FROM refused('INSERT INTO job (job_id) VALUES (1)');

INSERT INTO referral.rule_set (name, kind) VALUES ('reasons/job', 'reasons'), ('workflow/job', 'workflow');
INSERT INTO referral.rule_version (rule_set_id, is_seed)
SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'reasons/job' RETURNING rule_version_id AS reasons \gset
INSERT INTO referral.reason_code (rule_version_id, domain, code, display, comment_required, active)
VALUES (:reasons, 'job_hold', 'parts', 'Parts are missing', false, true),
       (:reasons, 'job_hold', 'other', 'Another reason', true, true),
       (:reasons, 'job_hold', 'weather', 'The weather', false, false),
       (:reasons, 'job_else', 'elsewhere', 'Of another domain', false, true);
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :reasons;
INSERT INTO referral.rule_version (rule_set_id, is_seed)
SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'workflow/job' RETURNING rule_version_id AS rules \gset
INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (:rules, 'job', 'job') RETURNING workflow_id AS wf \gset
INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, is_entry, sort) VALUES
    (:wf, 'alt', 'received', true, false, 2), (:wf, 'new', 'received', true, true, 1),
    (:wf, 'deep', 'validated', false, false, 3), (:wf, 'work', 'validated', false, true, 4),
    (:wf, 'wait', 'on_hold', false, true, 5), (:wf, 'done', 'completed', false, true, 6),
    (:wf, 'closed', 'closed_loop', false, true, 7), (:wf, 'lost', 'expired', false, false, 8);
INSERT INTO referral.workflow_transition
    (workflow_id, transition, from_step, to_step, priority, required_role, human_only, reason_required, comment_required,
        reason_domain) VALUES
    (:wf, 'slow', 'new', 'work', 30, NULL, false, false, false, NULL),
    (:wf, 'quick', 'new', 'work', 10, NULL, false, false, false, NULL),
    (:wf, 'normal', 'new', 'work', 20, NULL, false, false, false, NULL),
    (:wf, 'park', 'new', 'wait', 100, NULL, false, true, false, NULL),
    (:wf, 'discard', 'new', 'closed', 100, NULL, false, false, false, NULL),
    (:wf, 'start', 'alt', 'work', 100, 'workflow_no_such_role', false, false, false, NULL),
    (:wf, 'touch', 'work', 'work', 100, NULL, false, false, false, NULL),
    (:wf, 'retouch', 'work', 'work', 100, NULL, false, false, false, NULL),
    (:wf, 'deepen', 'work', 'deep', 100, 'referral_clinician', false, false, false, NULL),
    (:wf, 'return', 'deep', 'work', 100, NULL, false, false, false, NULL),
    (:wf, 'finish', 'work', 'done', 100, NULL, true, false, false, NULL),
    (:wf, 'hold', 'work', 'wait', 100, NULL, false, true, false, 'job_hold'),
    (:wf, 'pause', 'deep', 'wait', 100, NULL, false, false, false, 'job_hold'),
    (:wf, 'go_on', 'wait', 'work', 100, NULL, false, false, true, NULL),
    (:wf, 'close', 'done', 'closed', 100, NULL, false, false, false, NULL);
INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message, unblock, error_code, sort)
SELECT :wf, t.transition_id, g.predicate, g.message, g.unblock, g.error_code, g.sort
FROM referral.workflow_transition t JOIN (VALUES
    ('quick', 'quantity > 10', 'too few for quick', 'Raise quantity above 10.', 'RF002', 0),
    ('normal', 'quantity > 5', 'too few for normal', 'Raise quantity above 5.', 'RF002', 0),
    ('slow', 'quantity > 0', 'nothing to do', NULL, 'RF002', 0),
    ('retouch', 'note IS NOT NULL', 'there is no note', 'Set note.', 'RF002', 0),
    ('discard', 'quantity = 1', 'the gate is closed', 'Open the gate.', 'RF008', 2),
    ('discard', 'note = ''approved''', 'approval is outstanding', 'Have it approved.', 'RF004', 1)
) g (transition, predicate, message, unblock, error_code, sort) USING (transition)
WHERE t.workflow_id = :wf;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :rules;

-- What a row at a step, with the given quantity, is refused with, or "transition: from-to" of what it does.
CREATE FUNCTION outcome(at_step text, quantity integer, assignments text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    INSERT INTO job (job_id, org_id, quantity, workflow_id, step, state, version, entered_at)
    SELECT 0, 1, outcome.quantity, s.workflow_id, s.step, s.state, 1, '2020-01-01'
    FROM referral.workflow_step s JOIN referral.workflow w USING (workflow_id) WHERE w.entity = 'job' AND s.step = at_step;
    PERFORM set_config('session_replication_role', 'origin', true);
    EXECUTE format('UPDATE job SET %s WHERE job_id = 0', assignments);
    SELECT format('%s: %s-%s', coalesce(j.transition, 'none'), coalesce(j.from_step, '?'), coalesce(j.to_step, '?')) INTO result
    FROM referral.journal j WHERE j.entity = 'job' AND j.entity_id = 0 ORDER BY j.journal_id DESC LIMIT 1;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN RETURN coalesce(result, 'no journal row');
    WHEN OTHERS THEN RETURN format('%s %s', SQLSTATE, regexp_replace(SQLERRM, '^.* is blocked: ', ''));
END $$;

-- ---------- INSERT ----------
INSERT INTO job (job_id, version, entered_at, transition_id, status_reason) VALUES (1, 77, '2001-01-01', 5, 'kept');
SELECT results_eq('SELECT step, state::text, version, entered_at = transaction_timestamp(), transition_id, status_reason FROM job WHERE job_id = 1',
    $$VALUES ('new', 'received', 1::bigint, false, NULL::bigint, 'kept')$$,
        'a new row starts at the first initial step, at version 1');
SELECT ok(entered_at > '2001-01-02', 'entered_at is the time of the write, not what the INSERT says')
FROM job WHERE job_id = 1;
INSERT INTO job (job_id, step) VALUES (2, 'alt');
INSERT INTO job (job_id, state) VALUES (3, 'received');
INSERT INTO job (job_id, step, state) VALUES (4, 'alt', 'received');
SELECT is(string_agg(job_id || step || state, ' ' ORDER BY job_id), '2altreceived 3newreceived 4altreceived',
          'any initial step can be named, and a state stands for its entry step') FROM job WHERE job_id BETWEEN 2 AND 4;
SELECT is(code, 'RF001', 'a step that is not initial is refused')
FROM refused($$INSERT INTO job (job_id, step) VALUES (5, 'work')$$);
SELECT matches(message || detail || hint, 'cannot start at step "work".*starts at step "new".*referral.occurred_at',
    'and what would do is said')
FROM refused($$INSERT INTO job (job_id, step) VALUES (5, 'work')$$);
SELECT is(code, 'RF001', 'so is its state') FROM refused($$INSERT INTO job (job_id, state) VALUES (5, 'validated')$$);
SELECT is(code, 'RF001', 'an unknown step is refused')
FROM refused($$INSERT INTO job (job_id, step) VALUES (5, 'nowhere')$$);
SELECT is(code, 'RF001', 'a very long step is refused')
FROM refused($$INSERT INTO job (job_id, step) VALUES (5, repeat('new', 50))$$);
SELECT is(code, 'RF001', 'a state without an entry step is refused')
FROM refused($$INSERT INTO job (job_id, state) VALUES (5, 'expired')$$);
SELECT is(code, 'RF001', 'a state that the workflow lacks is refused')
FROM refused($$INSERT INTO job (job_id, state) VALUES (5, 'no_show')$$);
SELECT is(code, 'RF001', 'step and state must agree')
FROM refused($$INSERT INTO job (job_id, step, state) VALUES (5, 'new', 'validated')$$);
SELECT is(code, 'RF012', 'a workflow that does not exist cannot be chosen')
FROM refused($$INSERT INTO job (job_id, workflow_id) VALUES (5, 999999)$$);
SELECT is(code, 'RF012', 'nor one of another entity')
FROM refused($$INSERT INTO job (job_id, workflow_id) SELECT 5, workflow_id FROM referral.workflow WHERE name = 'standard'$$);
SELECT is(code, 'done', 'an active one of the entity can be named')
FROM refused(format('INSERT INTO job (job_id, workflow_id) VALUES (5, %s)', :wf));
SELECT is(code, '23502', 'a missing key is PostgreSQL''s to refuse')
FROM refused('INSERT INTO job (job_id) VALUES (NULL)');

-- ---------- step or state ----------
SELECT is(outcome('new', 20, $$step = 'work'$$), 'quick: new-work', 'an UPDATE of step');
SELECT is(outcome('new', 20, $$state = 'validated'$$), 'quick: new-work',
    'an UPDATE of state goes to its entry step, not to the first by sort');
SELECT is(outcome('new', 20, $$step = 'work', state = 'validated'$$), 'quick: new-work', 'of both, when they agree');
SELECT is(outcome('new', 20, $$step = 'work', state = 'received'$$), 'quick: new-work',
    'of both, when the state is the former one');
SELECT is(left(outcome('new', 20, $$step = 'work', state = 'on_hold'$$), 5), 'RF001', 'not when they disagree');
SELECT is(outcome('work', 1, $$step = 'work', state = 'on_hold', status_reason = 'parts'$$), 'hold: work-wait',
    'a former step is no objection to a new state');
SELECT is(left(outcome('new', 20, 'step = NULL'), 5), 'RF001', 'step cannot be emptied');
SELECT is(left(outcome('new', 20, 'state = NULL'), 5), 'RF001', 'nor state');
SELECT is(left(outcome('new', 20, $$step = ''$$), 5), 'RF001', 'nor be empty');
SELECT is(left(outcome('new', 20, $$step = 'nowhere'$$), 5), 'RF001', 'a step that does not exist is refused');
SELECT is(left(outcome('new', 20, $$step = repeat('work', 1000)$$), 5), 'RF001', 'a very long one, too');
SELECT is(left(outcome('new', 20, $$step = 'done'$$), 5), 'RF001', 'a step that no transition leads to is refused');
SELECT is(left(outcome('new', 20, $$state = 'no_show'$$), 5), 'RF001', 'a state that the workflow lacks is refused');
SELECT is(left(outcome('done', 20, $$state = 'expired'$$), 5), 'RF001', 'a state without an entry step is refused');
SELECT is(outcome('deep', 1, $$state = 'validated', note = 'x'$$), 'none: ?-?',
    'the state it has already is no move to that state''s entry step');
SELECT is(outcome('closed', 1, $$note = 'x'$$), 'none: ?-?', 'a row at a final step can still be changed otherwise');
SELECT is(left(outcome('closed', 1, $$step = 'done'$$), 5), 'RF001', 'but not moved');

-- what the refusal explains
SELECT is(message, 'job 1 cannot go from step "new" to "done"', 'the refusal names row, step and wish')
FROM refused($$UPDATE job SET step = 'done' WHERE job_id = 1$$);
SELECT matches(detail, '^Legal next steps from "new": work \(quick: blocked, too few for quick\); work \(normal: .*; work \(slow: .*'
                       'wait \(park: blocked, a reason is required\); closed \(discard: blocked, approval is outstanding, the gate is closed\)\.$',
               'lists the legal steps in order of priority, and what blocks each')
                   FROM refused($$UPDATE job SET step = 'done' WHERE job_id = 1$$);
SELECT matches(hint, 'next_transitions\(''job'', 1, 1\)', 'and tells where to ask')
FROM refused($$UPDATE job SET step = 'done' WHERE job_id = 1$$);
SET session_replication_role = replica;
INSERT INTO job (job_id, workflow_id, step, state, version, entered_at) VALUES (6, :wf, 'closed', 'closed_loop', 1, now());
RESET session_replication_role;
SELECT matches(detail, '"closed" is final: it has no next steps', 'a final step has none')
FROM refused($$UPDATE job SET step = 'done' WHERE job_id = 6$$);

-- ---------- several transitions of one pair ----------
SELECT is(outcome('new', 20, $$step = 'work'$$), 'quick: new-work', 'the first by priority is taken');
SELECT is(outcome('new', 7, $$step = 'work'$$), 'normal: new-work', 'or the first whose guard holds');
SELECT is(outcome('new', 1, $$step = 'work'$$), 'slow: new-work', 'or the last');
SELECT is(outcome('new', 0, $$step = 'work'$$), 'RF002 too few for quick',
    'when none is open, the first one''s obstacle is the message');
SELECT matches(detail, 'too few for quick.*too few for normal.*nothing to do', 'and all obstacles are in the detail')
FROM refused($$UPDATE job SET step = 'work', quantity = 0 WHERE job_id = 1$$);
SELECT is(hint, 'Raise quantity above 10. Raise quantity above 5.', 'the hint says what would help')
FROM refused($$UPDATE job SET step = 'work', quantity = 0 WHERE job_id = 1$$);
SET referral.transition = 'slow';
SELECT is(outcome('new', 20, $$step = 'work'$$), 'slow: new-work', 'the setting names one of them');
SET referral.transition = 'quick';
SELECT is(outcome('new', 7, $$step = 'work'$$), 'RF002 too few for quick', 'which is taken or refused, not another in its place');
SELECT is(detail ~ 'too few for quick' AND hint = 'Raise quantity above 10.', true, 'the others are not mentioned as its obstacles')
FROM refused($$UPDATE job SET step = 'work', quantity = 0 WHERE job_id = 1$$);
SET referral.transition = 'park';
SELECT is(outcome('new', 20, $$step = 'work'$$), 'RF001 job 0 has no transition "park" from step "new" to "work"',
    'a name of another pair is refused');
SET referral.transition = 'quick';
SELECT is(outcome('new', 20, $$note = 'x'$$), 'none: ?-?', 'a name alone moves nothing');

-- ---------- the same step again ----------
RESET referral.transition;
SELECT is(outcome('work', 1, $$step = 'work', note = 'x'$$), 'none: ?-?', 'without a name, the same step is no move');
SELECT is(outcome('work', 1, $$step = 'work', state = 'validated'$$), 'no journal row', 'and no change');
SET referral.transition = 'touch';
SELECT is(outcome('work', 1, $$step = 'work'$$), 'touch: work-work', 'by name, it is one');
SELECT is(outcome('work', 1, $$note = 'x'$$), 'touch: work-work', 'also with another column changed');
SELECT is(left(outcome('done', 1, $$step = 'done'$$), 5), 'RF001', 'not where the step has no such transition');
SET referral.transition = 'retouch';
SELECT is(outcome('work', 1, $$step = 'work'$$), 'RF002 there is no note', 'its guard counts');
SELECT is(outcome('work', 1, $$step = 'work', note = 'x'$$), 'retouch: work-work', 'and may hold');
RESET referral.transition;

-- ---------- guards with codes of their own ----------
SELECT is(outcome('new', 5, $$step = 'closed'$$), 'RF004 approval is outstanding',
    'a guard names its SQLSTATE; the first by sort is reported');
SELECT is(outcome('new', 5, $$step = 'closed', note = 'approved'$$), 'RF008 the gate is closed', 'then the next one');
SELECT is(outcome('new', 1, $$step = 'closed', note = 'approved'$$), 'discard: new-closed', 'all must hold');

-- ---------- role and person ----------
CREATE ROLE workflow_jane LOGIN IN ROLE referral_clinician;
CREATE ROLE workflow_robot LOGIN IN ROLE referral_coordinator;
CREATE ROLE workflow_app LOGIN IN ROLE referral_coordinator, referral_application;
INSERT INTO referral.organization_member (org_id, login, actor_kind)
VALUES (1, 'workflow_jane', 'user'), (1, 'workflow_robot', 'ai');
SET session_replication_role = replica;
INSERT INTO job (job_id, workflow_id, step, state, version, entered_at) VALUES (7, :wf, 'work', 'validated', 1, now());
RESET session_replication_role;
CREATE FUNCTION seven(to_step text) RETURNS text LANGUAGE sql AS
    $$ SELECT code || ' ' || regexp_replace(message, '^.* is blocked: ', '')
       FROM refused(format('UPDATE job SET step = %L WHERE job_id = 7', to_step)) $$;
SET SESSION AUTHORIZATION workflow_jane;
SELECT is(seven('deep'), 'done ', 'who has the role takes the transition');
SELECT is(seven('done'), 'done ', 'a person takes a transition for persons');
SET referral.actor_kind = 'system';
SELECT is(seven('done'), 'RF003 only a person may take it, the actor is of kind "system"', 'a session can give away its trust');
RESET referral.actor_kind;
SET SESSION AUTHORIZATION workflow_robot;
SELECT is(seven('deep'), 'RF003 it needs role referral_clinician', 'without the role it is refused');
SELECT is(seven('done'), 'RF003 only a person may take it, the actor is of kind "ai"', 'an AI is refused');
SET referral.actor_kind = 'user';
SELECT is(left(seven('done'), 5), 'RF003', 'whatever it calls itself');
SET referral.actor = 'dr jane';
SELECT is(left(seven('done'), 5), 'RF003', 'or whom it names');
RESET referral.actor_kind;
RESET referral.actor;
SET SESSION AUTHORIZATION workflow_app;
SELECT is(seven('done'), 'RF003 only a person may take it, the actor is of kind "system"', 'an application is a system');
SET referral.actor = 'dr jane';
SELECT is(seven('done'), 'done ', 'unless it names the person it acts for');
SET referral.actor_kind = 'ai';
SELECT is(left(seven('done'), 5), 'RF003', 'or says that it is an AI that acts');
RESET referral.actor_kind;
RESET referral.actor;
RESET SESSION AUTHORIZATION;
SELECT matches(hint, 'workflow_no_such_role.* does not exist', 'a role that does not exist is named')
FROM refused($$UPDATE job SET step = 'work' WHERE job_id = 2$$);
SELECT is(code, 'RF003', 'and nobody has it') FROM refused($$UPDATE job SET step = 'work' WHERE job_id = 2$$);
CREATE ROLE workflow_no_such_role;
SELECT is(code, 'done', 'once it is created, it counts')
FROM refused($$UPDATE job SET step = 'work' WHERE job_id = 2$$);
GRANT referral_clinician TO workflow_robot;
SET SESSION AUTHORIZATION workflow_robot;
SELECT is(seven('deep'), 'done ', 'a role that was granted counts at once');
RESET SESSION AUTHORIZATION;

-- ---------- reason and comment ----------
SELECT is(outcome('new', 1, $$step = 'wait'$$), 'RF005 a reason is required', 'a transition may require a reason');
SELECT is(outcome('new', 1, $$step = 'wait', status_reason = 'just so'$$), 'park: new-wait', 'status_reason gives one');
SELECT is(outcome('work', 1, $$step = 'wait'$$), 'RF005 a reason code of domain "job_hold" is required', 'or a code of a domain');
SELECT is(hint, 'SET status_reason to one of: other, parts.', 'the active codes are offered')
FROM refused($$UPDATE job SET step = 'wait' WHERE job_id = 7$$);
SELECT is(outcome('work', 1, $$step = 'wait', status_reason = 'parts'$$), 'hold: work-wait', 'a code of the domain');
SELECT is(left(outcome('work', 1, $$step = 'wait', status_reason = 'elsewhere'$$), 5), 'RF005', 'not one of another domain');
SELECT is(left(outcome('work', 1, $$step = 'wait', status_reason = 'weather'$$), 5), 'RF005',
    'nor one that is not active any more');
SELECT is(left(outcome('work', 1, $$step = 'wait', status_reason = repeat('parts', 30)$$), 5), 'RF005', 'nor a very long one');
SELECT is(outcome('work', 1, $$step = 'wait', status_reason = 'other'$$), 'RF005 a comment is required',
    'some codes need a comment');
SELECT is(outcome('deep', 1, $$step = 'wait'$$), 'pause: deep-wait', 'where no reason is required, none need be given');
SELECT is(left(outcome('deep', 1, $$step = 'wait', status_reason = 'elsewhere'$$), 5), 'RF005',
    'but one that is given must be of the domain');
SELECT is(outcome('wait', 1, $$step = 'work'$$), 'RF005 a comment is required', 'a transition may require a comment');
SELECT is(outcome('wait', 1, $$step = 'work', status_reason = 'parts'$$), 'RF005 a comment is required',
    'which status_reason is not');
SET referral.reason = 'It was said on the phone.';
SELECT is(outcome('new', 1, $$step = 'wait'$$), 'park: new-wait', 'referral.reason serves as a reason');
SELECT is(left(outcome('work', 1, $$step = 'wait'$$), 5), 'RF005', 'but not as a code');
SELECT is(outcome('work', 1, $$step = 'wait', status_reason = 'other'$$), 'hold: work-wait', 'it is the comment that a code needs');
SELECT is(outcome('wait', 1, $$step = 'work'$$), 'go_on: wait-work', 'and that a transition needs');

-- status_reason belongs to the step
UPDATE job SET step = 'wait', status_reason = 'other' WHERE job_id = 7;
SELECT is(reason || ', ' || (changes #>> '{status_reason,1}'), 'It was said on the phone., other',
    'reason and comment are in the journal')
FROM referral.journal WHERE entity = 'job' AND entity_id = 7 ORDER BY journal_id DESC LIMIT 1;
UPDATE job SET note = 'x' WHERE job_id = 7;
SELECT is(status_reason, 'other', 'a change without a move leaves status_reason') FROM job WHERE job_id = 7;
UPDATE job SET step = 'work' WHERE job_id = 7;
SELECT is(status_reason, NULL, 'a move that gives none clears it') FROM job WHERE job_id = 7;
UPDATE job SET step = 'wait', status_reason = 'parts' WHERE job_id = 7;
UPDATE job SET step = 'work', status_reason = 'parts' WHERE job_id = 7;
SELECT is(status_reason, 'parts', 'a move that gives the same one again keeps it') FROM job WHERE job_id = 7;
RESET referral.reason;

-- ---------- rules or rows that are not there; identity ----------
SET session_replication_role = replica;
INSERT INTO job (job_id, workflow_id, step, state, version, entered_at)
VALUES (8, 999999, 'work', 'validated', 1, now()), (9, :wf, 'unknown', 'validated', 1, now());
RESET session_replication_role;
SELECT is(code, 'RF012', 'a row whose workflow has no rules cannot be changed')
FROM refused($$UPDATE job SET note = 'x' WHERE job_id = 8$$);
SELECT is(code, 'RF012', 'nor one at a step that its workflow does not know')
FROM refused($$UPDATE job SET note = 'x' WHERE job_id = 9$$);
SELECT is(code, 'RF017', 'the key of a tracked row stays') FROM refused('UPDATE job SET job_id = 100 WHERE job_id = 1');
SELECT is(code, 'RF017', 'its organisation, too') FROM refused('UPDATE job SET org_id = 2 WHERE job_id = 1');
SELECT is(code, 'RF007', 'the table cannot be emptied without a trace') FROM refused('TRUNCATE job');
SELECT throws_ok($$SELECT * FROM referral.next_transitions('job', 1, 12345)$$, 'RF019', NULL,
    'a row that does not exist has no next steps');
SELECT throws_ok($$SELECT * FROM referral.next_transitions('nothing', 1, 1)$$, 'RF019', NULL, 'nor has an entity that does not');
SELECT throws_ok($$SELECT * FROM referral.next_transitions('patient', 1, 1)$$, 'RF019', NULL, 'nor one without a workflow');
SELECT is_empty($$SELECT * FROM referral.next_transitions('job', 1, NULL)$$, 'null asks for nothing');

SELECT * FROM finish();
