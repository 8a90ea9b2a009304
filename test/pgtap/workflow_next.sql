-- next_transitions() tells beforehand what the guard will say: for every step of the shipped workflows and every
-- transition from it, "allowed" is compared with an UPDATE that is really made, by several logins, for bare and for
-- complete rows, with and without a comment.
SELECT plan(20);

CREATE ROLE workflow_next_clerk LOGIN IN ROLE referral_coordinator;
CREATE ROLE workflow_next_admin LOGIN IN ROLE referral_admin;
CREATE ROLE workflow_next_robot LOGIN IN ROLE referral_coordinator;
CREATE ROLE workflow_next_interface LOGIN IN ROLE referral_integration;
INSERT INTO referral.organization_member (org_id, login, actor_kind)
VALUES (1, 'workflow_next_clerk', 'user'), (1, 'workflow_next_admin', 'user'), (1, 'workflow_next_robot', 'ai'), (1,
    'workflow_next_interface', 'system');

INSERT INTO referral.patient (patient_id, family) VALUES (1, 'Example');
INSERT INTO referral.practitioner (practitioner_id, name) VALUES (1, 'Dr Example');

-- a bare and a complete row at every step of every workflow
SET referral.occurred_at = '2024-02-03 04:05:06+00';
INSERT INTO referral.referral (org_id, referral_type, step)
SELECT 1, CASE w.name WHEN 'coordination' THEN 'coordination' WHEN 'closed_loop_exchange' THEN 'exchange' END, s.step
FROM referral.workflow_step s JOIN referral.workflow w USING (workflow_id) WHERE w.entity = 'referral';
INSERT INTO referral.referral (org_id, referral_type, step, exchange_role, patient_id, performer_id, specialty,
    authorization_required,
                               authorization_number, scheduled_for, expires_on)
SELECT 1, CASE w.name WHEN 'coordination' THEN 'coordination' WHEN 'closed_loop_exchange' THEN 'exchange' END, s.step,
       'recipient', 1, 1, 'cardiology', true, 'A-1', '2024-01-01', '2024-01-31'
FROM referral.workflow_step s JOIN referral.workflow w USING (workflow_id) WHERE w.entity = 'referral';
RESET referral.occurred_at;
INSERT INTO referral.consult_report (referral_id, status)
SELECT referral_id, 'final' FROM referral.referral WHERE patient_id IS NOT NULL;
-- two rows were suspended where they began
INSERT INTO referral.referral (org_id, referral_type, patient_id) VALUES (1, NULL, 1), (1, 'coordination', 1);
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient'
WHERE patient_id = 1 AND step IN ('received', 'intake_received') AND scheduled_for IS NULL;
SELECT is((SELECT count(*) FROM referral.referral), 2 * 38 + 2::bigint,
    'two rows stand at each of 38 steps, and two are suspended');

-- one row per transition on offer: what was foretold, and what came of trying it by name
CREATE TABLE tried (login text, comment text, referral_id bigint, workflow text, from_step text, transition text,
    to_step text, allowed boolean,
                    blocked integer, unblock integer, code text, detail text, blocked_by text[]);
GRANT ALL ON tried TO PUBLIC;
CREATE FUNCTION try(id bigint, transition text, to_step text, OUT code text, OUT detail text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('referral.transition', transition, true);
    UPDATE referral.referral SET step = to_step WHERE org_id = 1 AND referral_id = id AND version > 0;
    code := CASE WHEN FOUND THEN 'done' ELSE 'no row' END;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN NULL;
    WHEN OTHERS THEN GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL;
END $$;
CREATE FUNCTION try_all() RETURNS SETOF tried LANGUAGE sql AS $$
    SELECT session_user, current_setting('referral.reason'), r.referral_id, w.name, r.step, n.transition, n.to_step, n.allowed,
           cardinality(n.blocked_by), cardinality(n.how_to_unblock), t.code, t.detail, n.blocked_by
    FROM referral.referral r JOIN referral.workflow w USING (workflow_id),
         referral.next_transitions('referral', 1, r.referral_id) n, try(r.referral_id, n.transition, n.to_step) t
$$;
SELECT md5(string_agg(r::text, '' ORDER BY referral_id)) || (SELECT count(*) FROM referral.journal) AS before
    FROM referral.referral r \gset
SET SESSION AUTHORIZATION workflow_next_clerk;
INSERT INTO tried SELECT * FROM try_all();
SET referral.reason = 'As agreed by phone.';
INSERT INTO tried SELECT * FROM try_all();
SET SESSION AUTHORIZATION workflow_next_admin;
INSERT INTO tried SELECT * FROM try_all();
SET SESSION AUTHORIZATION workflow_next_robot;
INSERT INTO tried SELECT * FROM try_all();
RESET referral.reason;
SET SESSION AUTHORIZATION workflow_next_interface;
INSERT INTO tried SELECT * FROM try_all();
RESET SESSION AUTHORIZATION;
INSERT INTO tried SELECT * FROM try_all();
SELECT is((SELECT md5(string_agg(r::text, '' ORDER BY referral_id)) || (SELECT count(*) FROM referral.journal)
    FROM referral.referral r),
          :'before', 'asking and trying changed nothing');

SELECT is((SELECT count(*) FROM tried) / 6, (SELECT count(*) FROM referral.referral r
           JOIN referral.workflow_transition t ON (t.workflow_id, t.from_step) = (r.workflow_id, r.step)),
          'every transition from a row''s step is on offer, to every login');
SELECT is((SELECT count(DISTINCT (workflow, from_step, transition, to_step)) FROM tried), (SELECT count(*)
    FROM referral.workflow_transition JOIN referral.workflow w USING (workflow_id) WHERE w.entity = 'referral'),
          'so every transition of the shipped workflows was tried');
SELECT is_empty($$SELECT login, comment, workflow, from_step, transition, to_step, allowed, code FROM tried
    WHERE allowed <> (code = 'done')$$,
                'allowed is what the guard does');
SELECT is_empty($$SELECT * FROM tried WHERE code NOT IN ('done', 'RF002', 'RF003', 'RF005')$$,
    'refusals are those of guards, roles and reasons');
SELECT is_empty($$SELECT * FROM tried WHERE allowed <> (blocked = 0) OR blocked <> unblock$$,
    'what is not allowed has an obstacle, each with its remedy');
SELECT is_empty($$SELECT * FROM tried, unnest(blocked_by) b WHERE position(b IN detail) = 0$$,
    'every obstacle foretold is in the refusal''s detail');
SELECT cmp_ok((SELECT count(*) FROM tried WHERE login = l AND allowed), '>', 0::bigint, l || ' is allowed something')
FROM unnest('{workflow_next_clerk,workflow_next_admin,workflow_next_robot,workflow_next_interface,postgres}'::text[]) l;
SELECT cmp_ok((SELECT count(*) FROM tried WHERE login = l AND NOT allowed), '>', 0::bigint, l || ' is not allowed everything')
FROM unnest('{workflow_next_clerk,workflow_next_admin,workflow_next_robot,workflow_next_interface,postgres}'::text[]) l;
SELECT set_eq($$SELECT DISTINCT to_step FROM tried WHERE transition = 'resume' AND allowed$$, '{received,intake_received}'::text[],
              'a suspended row resumes where it was, and nowhere else');

-- a step by itself, without naming a transition, is decided by the same rules
CREATE TABLE unnamed AS
SELECT t.referral_id, t.to_step, bool_or(t.allowed) AS allowed, (try(t.referral_id, '', t.to_step)).code
FROM tried t WHERE login = 'postgres' AND from_step <> to_step GROUP BY 1, 2;
SELECT is_empty($$SELECT * FROM unnamed WHERE allowed <> (code = 'done')$$,
    'a step can be taken when one of the transitions to it can');

SELECT * FROM finish();
