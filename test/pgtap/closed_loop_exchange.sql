-- The exchange machine of BSeR, harmonised with IHE 360X: of 12 × 12 pairs of business states exactly 33 are moves,
-- each of one party. Every pair is attempted as a real UPDATE.
SELECT plan(24);
\ir ../lib/refused.sql

-- The pairs by business status. 3.0 to 5.1 has two rows in the source: two triggers lead there.
CREATE TABLE pair (party text, from_status text, to_status text);
INSERT INTO pair VALUES
    ('initiator', '1.0', '2.0'),
    ('recipient', '2.0', '3.0'),       ('recipient', '2.0', '4.0'),     ('initiator', '2.0', '5.2'),
    ('recipient', '3.0', '4.0'),       ('recipient', '3.0', '5.1'),     ('recipient', '3.0', '5.1.1'),
    ('recipient', '3.0', '5.1.4'),     ('initiator', '3.0', '5.2'),     ('recipient', '3.0', '7.0'),
    ('recipient', '5.1', '4.0'),       ('initiator', '5.1', '5.2'),
    ('recipient', '5.1.1', '4.0'),     ('recipient', '5.1.1', '5.1.1'), ('recipient', '5.1.1', '5.1.2'),
    ('recipient', '5.1.1', '5.1.3'),   ('recipient', '5.1.1', '5.1.4'), ('initiator', '5.1.1', '5.2'),
    ('recipient', '5.1.1', '7.0'),
    ('recipient', '5.1.2', '4.0'),     ('recipient', '5.1.2', '5.1.1'), ('recipient', '5.1.2', '5.1.3'),
    ('initiator', '5.1.2', '5.2'),
    ('recipient', '5.1.3', '5.1.1'),   ('initiator', '5.1.3', '5.2'),
    ('recipient', '5.1.4', '4.0'),     ('recipient', '5.1.4', '5.1.1'), ('recipient', '5.1.4', '5.1.3'),
    ('recipient', '5.1.4', '5.1.4'),   ('initiator', '5.1.4', '5.2'),   ('recipient', '5.1.4', '7.0'),
    ('recipient', '5.2', '6.0'),       ('recipient', '5.2', '7.0');
SELECT is((SELECT count(*) FROM pair), 33::bigint, 'the list has 33 pairs');

CREATE TABLE csv (tid text, actor text, trigger_event text, from_task_status text, from_business text,
                  to_task_status text, to_business text, business_status_display text);
\getenv shared REFERRAL_SHARED
\set csv_is_there `test -r "$REFERRAL_SHARED/health/bser/transitions.csv" && echo true || echo false`
\if :csv_is_there
\cd :shared
\copy csv FROM 'health/bser/transitions.csv' CSV HEADER
SELECT set_eq('SELECT actor, from_business, to_business FROM csv', 'SELECT * FROM pair',
              'the list is the one of the published transitions');
SELECT results_eq(
    $$SELECT s.business_status COLLATE "C", min(s.fhir_task_status)
      FROM referral.workflow_step s JOIN referral.workflow w USING (workflow_id)
      WHERE w.name = 'closed_loop_exchange' GROUP BY 1 ORDER BY 1$$,
    $$SELECT business COLLATE "C", min(task)
      FROM (SELECT from_business, from_task_status FROM csv UNION SELECT to_business, to_task_status FROM csv)
           b (business, task)
      GROUP BY 1 HAVING count(*) = 1 ORDER BY 1$$,
    'each business status has the published FHIR task status, and only one');
SELECT is((SELECT count(*) FROM csv), (SELECT count(*) FROM referral.workflow_transition t
                                       JOIN referral.workflow w USING (workflow_id) WHERE w.name = 'closed_loop_exchange'),
          'every published transition is one of the workflow, and no other');
\else
SELECT skip('the published transitions are not here', 3);
\endif

SELECT is((SELECT count(*) || ' steps, ' || count(DISTINCT business_status) || ' business states'
           FROM referral.workflow_step s JOIN referral.workflow w USING (workflow_id) WHERE w.name = 'closed_loop_exchange'),
          '12 steps, 12 business states', 'one step per business state');

-- three logins: both sides' clerk, and the interface
CREATE ROLE closed_loop_exchange_clerk LOGIN IN ROLE referral_coordinator;
CREATE ROLE closed_loop_exchange_interface LOGIN IN ROLE referral_integration;
INSERT INTO referral.organization_member (org_id, login)
VALUES (1, 'closed_loop_exchange_clerk'), (1, 'closed_loop_exchange_interface');

-- a row at every step, as history is imported, for each side and for an organisation that is both
CREATE TABLE placed (referral_id bigint, step text, business_status text, exchange_role text);
SET referral.occurred_at = '2024-05-06 07:08:09+00';
WITH row AS (
    INSERT INTO referral.referral (org_id, referral_type, step, exchange_role)
    SELECT 1, 'exchange', s.step, r.exchange_role
    FROM referral.workflow_step s JOIN referral.workflow w USING (workflow_id),
         (VALUES (NULL::referral.party), ('initiator'), ('recipient')) r (exchange_role)
    WHERE w.name = 'closed_loop_exchange'
    RETURNING referral_id, step, exchange_role, workflow_id)
INSERT INTO placed
SELECT r.referral_id, r.step, s.business_status, r.exchange_role
FROM row r JOIN referral.workflow_step s USING (workflow_id, step);
RESET referral.occurred_at;
SELECT is((SELECT count(*) FROM placed), 36::bigint, 'a row stands at each step');

-- Tries one UPDATE and undoes it: the party whose move it was, "stays" when no transition was taken, or the SQLSTATE.
CREATE FUNCTION attempt(id bigint, to_step text, transition text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
    outcome text;
BEGIN
    PERFORM set_config('referral.transition', coalesce(transition, ''), true);
    UPDATE referral.referral SET step = to_step, status_reason = 'as tested'
    WHERE org_id = 1 AND referral_id = id AND step IS NOT NULL
    RETURNING transition_id INTO STRICT taken;
    outcome := coalesce((SELECT t.party::text FROM referral.workflow_transition t WHERE t.transition_id = taken), 'stays');
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN RETURN outcome;
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;

-- every pair; a move to the same step needs a name, so there the names that such moves have are given in turn
CREATE TABLE attempted (login text, exchange_role text, from_status text, to_status text, outcome text);
GRANT ALL ON pair, placed, attempted TO PUBLIC;
CREATE FUNCTION attempt_all() RETURNS SETOF attempted
LANGUAGE sql AS $$
    SELECT session_user, p.exchange_role, p.business_status, s.business_status,
           CASE WHEN p.step <> s.step THEN attempt(p.referral_id, s.step, NULL)
                ELSE (SELECT min(attempt(p.referral_id, s.step, n))
                      FROM unnest(CASE s.step WHEN 'scheduled' THEN '{send_reschedule}'
                                              WHEN 'event_completed' THEN '{send_interim_note}'
                                              ELSE '{send_reschedule,send_interim_note}' END::text[]) n) END
    FROM placed p, referral.workflow_step s JOIN referral.workflow w USING (workflow_id)
    WHERE w.name = 'closed_loop_exchange'
$$;
SET SESSION AUTHORIZATION closed_loop_exchange_clerk;
INSERT INTO attempted SELECT * FROM attempt_all();
SET SESSION AUTHORIZATION closed_loop_exchange_interface;
INSERT INTO attempted SELECT * FROM attempt_all();
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM attempted), (2 * 3 * 144)::bigint, '144 pairs, three rows and two logins were tried');

-- an organisation that is both sides
SELECT set_eq(
    $$SELECT outcome, from_status, to_status FROM attempted
      WHERE login = 'closed_loop_exchange_clerk' AND exchange_role IS NULL AND outcome <> 'RF001'$$,
    'SELECT * FROM pair', 'exactly the 33 pairs are allowed, each as the move of its party');
SELECT is((SELECT count(*) FROM attempted
           WHERE login = 'closed_loop_exchange_clerk' AND exchange_role IS NULL AND outcome = 'RF001'),
          111::bigint, 'the other 111 are refused as no such transition');
SELECT is((SELECT count(*) FROM placed p JOIN referral.referral r USING (referral_id)
           WHERE r.version = 1 AND r.step = p.step), 36::bigint, 'every attempt was undone');

-- one side may not make the other's moves
SELECT set_eq(
    format($$SELECT outcome, from_status, to_status FROM attempted
             WHERE login = 'closed_loop_exchange_clerk' AND exchange_role = %L AND outcome <> 'RF001'$$, side),
    format($$SELECT CASE party WHEN %L THEN party ELSE 'RF003' END, from_status, to_status FROM pair$$, side),
    format('the %s makes its own moves and is refused the other side''s', side))
FROM (VALUES ('initiator'), ('recipient')) v (side);
SELECT is((SELECT string_agg(format('%s: %s', exchange_role, n), ', ' ORDER BY exchange_role)
           FROM (SELECT exchange_role, count(*) n FROM attempted
                 WHERE login = 'closed_loop_exchange_clerk' AND outcome = 'RF003' GROUP BY 1) c),
          'initiator: 25, recipient: 8', 'refused are the other side''s 25 and 8 pairs');

-- the interface carries the other side's messages
SELECT set_eq(
    format($$SELECT outcome, from_status, to_status FROM attempted
             WHERE login = 'closed_loop_exchange_interface' AND exchange_role IS NOT DISTINCT FROM %L
               AND outcome <> 'RF001'$$, side),
    'SELECT * FROM pair', format('the interface makes all moves on a row whose side is %s', coalesce(side, 'both')))
FROM (VALUES (NULL), ('initiator'), ('recipient')) v (side);

-- what the refusals say
SET SESSION AUTHORIZATION closed_loop_exchange_clerk;
SELECT is(code, 'RF003', 'a move of the other side is refused with RF003') FROM refused(
    $$UPDATE referral.referral SET step = 'accepted'
      WHERE (org_id, referral_id) = (SELECT 1, referral_id FROM placed WHERE step = 'created' AND exchange_role = 'initiator')$$);
SELECT matches(message, 'send_acceptance.*only the recipient of the exchange', 'naming the side') FROM refused(
    $$UPDATE referral.referral SET step = 'accepted'
      WHERE (org_id, referral_id) = (SELECT 1, referral_id FROM placed WHERE step = 'created' AND exchange_role = 'initiator')$$);
SELECT matches(hint, 'referral_integration', 'and the way in') FROM refused(
    $$UPDATE referral.referral SET step = 'accepted'
      WHERE (org_id, referral_id) = (SELECT 1, referral_id FROM placed WHERE step = 'created' AND exchange_role = 'initiator')$$);
SELECT is(code, 'RF005', 'a decline without a reason is refused') FROM refused(
    $$UPDATE referral.referral SET step = 'declined'
      WHERE (org_id, referral_id) = (SELECT 1, referral_id FROM placed WHERE step = 'created' AND exchange_role = 'recipient')$$);

-- two triggers lead from 3.0 to 5.1
SELECT is(string_agg(attempt(referral_id, 'active', n), ', '), 'recipient, recipient',
          'both triggers of the pair with two can be named')
FROM placed, unnest('{send_schedule,send_interim_note}'::text[]) n
WHERE step = 'accepted' AND exchange_role = 'recipient';

-- by state: an organisation that only knows canonical states comes to the same steps
SELECT is(code, 'done', 'an UPDATE of state leads to that state''s step') FROM refused(
    $$UPDATE referral.referral SET state = 'validated'
      WHERE (org_id, referral_id) = (SELECT 1, referral_id FROM placed WHERE step = 'created' AND exchange_role = 'recipient')$$);
SELECT is(code, 'RF001', 'and is refused where there is no such move') FROM refused(
    $$UPDATE referral.referral SET state = 'closed_loop'
      WHERE (org_id, referral_id) = (SELECT 1, referral_id FROM placed WHERE step = 'created' AND exchange_role = 'recipient')$$);

-- the same step again without naming a transition is no move
INSERT INTO attempted SELECT session_user, 'unnamed', business_status, business_status, attempt(referral_id, step, NULL)
FROM placed WHERE exchange_role IS NULL;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM attempted WHERE exchange_role = 'unnamed' AND outcome = 'stays'), 12::bigint,
          'no step is left or entered again without naming the transition');

SELECT * FROM finish();
