-- A week of a network's work, made up: a few thousand referrals through every path. It is the same in every run, but for
-- the day that it ends on: whatever looks like chance is the digest of a number and a word. Each referral has a plan of
-- events; they are carried out in order of time by a service that names who acts and when it happened, as applications
-- and interfaces do. What lies in the future stays undone, so that the week ends in the middle of work.

CREATE SCHEMA week;
GRANT USAGE ON SCHEMA week TO PUBLIC;

-- Times and spans as people write them.
CREATE FUNCTION week.short(at timestamptz) RETURNS text LANGUAGE sql STABLE RETURN to_char(at, 'Dy DD Mon HH24:MI');
CREATE FUNCTION week.short(span interval) RETURNS text LANGUAGE sql IMMUTABLE RETURN
    CASE WHEN span >= '1 day' THEN (extract(epoch FROM span)::bigint / 86400) || ' d ' || (extract(epoch FROM span)::bigint % 86400 / 3600) || ' h'
         ELSE (extract(epoch FROM span)::bigint / 3600) || ' h ' || (extract(epoch FROM span)::bigint % 3600 / 60) || ' min' END;

-- ---------- Who there is ----------

CREATE ROLE demo_app LOGIN;
GRANT referral_application, referral_integration, referral_coordinator, referral_clinician, referral_scheduler, referral_authorizer,
    referral_approver, referral_admin TO demo_app;
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES (1, 'demo_app', 'user');
SET referral.org_id = 1;

CREATE TABLE week.staff (member text, queue text, is_lead boolean, capacity integer, languages text[]);
INSERT INTO week.staff VALUES
    ('demo_jane', 'intake', true, 40, '{en}'), ('demo_jane', 'manual_triage', true, NULL, '{en}'), ('demo_jane', 'missing_documents', true, 20, '{en}'),
    ('Maria', 'intake', false, 30, '{en,es}'), ('Jonas', 'intake', false, 30, '{en}'),
    ('Dr. Khan', 'clinical_triage', true, NULL, '{en}'), ('Tessa', 'authorization', true, 40, '{en}'), ('Omar', 'authorization', false, 40, '{en}'),
    ('Tessa', 'utilisation_review', true, 20, '{en}'), ('Nora', 'financial_clearance', true, NULL, '{en}'),
    ('Priya', 'scheduling', true, 40, '{en}'), ('Sam', 'scheduling', false, 40, '{en}'), ('Elena', 'scheduling', false, 40, '{en,es}'),
    ('Lena', 'closing_the_loop', true, 50, '{en}'), ('Eva', 'exceptions', true, 20, '{en}'), ('Eva', 'data_quality', true, 20, '{en}'),
    ('Eva', 'review', true, 20, '{en}'), ('Victor', 'approvals', true, NULL, '{en}'), ('Nora', 'approvals', false, NULL, '{en}');
-- the application names them; none of them has a login
SET client_min_messages = error;
INSERT INTO referral.queue_member (queue_id, member, is_lead, capacity, languages, during)
SELECT q.queue_id, s.member, s.is_lead, s.capacity, s.languages, tstzrange(now() - interval '60 days', NULL)
FROM week.staff s JOIN referral.queue q ON q.org_id = 1 AND q.name = s.queue;
SET client_min_messages = warning;
UPDATE referral.queue q SET manager = s.member FROM week.staff s WHERE q.org_id = 1 AND q.name = s.queue AND s.is_lead;

-- ---------- The network ----------

CREATE TABLE week.site AS SELECT * FROM (VALUES (101, 'Lakeside', 'north'), (102, 'Harbor', 'north'), (103, 'Oakgrove', 'west'), (104, 'Hillcrest', 'south')) v (id, name, region);
CREATE TABLE week.payer AS SELECT * FROM (VALUES (101, 'First Health', 10), (102, 'Union Mutual', 20), (103, 'State Medicaid', 35), (104, 'Prairie Advantage', 60)) v (id, name, authorizes);
CREATE TABLE week.specialty AS SELECT * FROM (VALUES (0, 'cardiology', 'I20.9', 'Chest pain on exertion'), (1, 'orthopedics', 'M17.1', 'Knee pain, worse on stairs'),
    (2, 'neurology', 'G43.9', 'Headaches, twice a week'), (3, 'dermatology', 'L40.0', 'Rash that does not heal'), (4, 'radiology', 'M54.5', 'Back pain, imaging asked for'),
    (5, 'gastroenterology', 'K21.9', 'Reflux despite treatment')) v (id, name, code, reason);
INSERT INTO referral.site (site_id, name, region, timezone) SELECT id, name, region, 'America/Chicago' FROM week.site;
INSERT INTO referral.payer (payer_id, name) SELECT id, name FROM week.payer;
INSERT INTO referral.provider_organization (provider_organization_id, name, region) SELECT id, name || ' Family Practice', region FROM week.site;
INSERT INTO referral.practitioner (practitioner_id, name) SELECT 100 + g, 'Dr. ' || (ARRAY['Abbott', 'Bell', 'Chen', 'Diaz', 'Evans', 'Flores', 'Grant', 'Hughes'])[g] FROM generate_series(1, 8) g;
INSERT INTO referral.healthcare_service (healthcare_service_id, name, site_id, specialty, weekly_capacity)
SELECT 100 + 10 * p.id + s.id - 100, initcap(p.name) || ', ' || s.name, s.id, p.name, 20 + 5 * p.id FROM week.specialty p CROSS JOIN week.site s;
INSERT INTO referral.network_contract (payer_id, healthcare_service_id)
SELECT p.id, h.healthcare_service_id FROM week.payer p, referral.healthcare_service h WHERE h.healthcare_service_id > 100 AND (h.healthcare_service_id + p.id) % 5 > 0;

-- ---------- What looks like chance, and working time ----------

CREATE FUNCTION week.pick(n bigint, what text, size integer) RETURNS integer
LANGUAGE sql IMMUTABLE RETURN (('x' || substr(md5(n || what), 1, 7))::bit(28)::integer % size);
COMMENT ON FUNCTION week.pick(bigint, text, integer) IS 'A number from 0 to size - 1, the same one for the same n and word.';

-- minute 0 is eight in the morning of the first of nine working days; a day has 540 of them
CREATE TABLE week.day AS
SELECT row_number() OVER (ORDER BY d) - 1 AS day, d + interval '8 hours' AS opens
FROM (SELECT d FROM generate_series(date_trunc('day', now() AT TIME ZONE 'America/Chicago') - interval '20 days',
                                    date_trunc('day', now() AT TIME ZONE 'America/Chicago') + interval '40 days', '1 day') d
      WHERE extract(isodow FROM d) < 6) w
WHERE d >= (SELECT min(x) FROM (SELECT x FROM generate_series(date_trunc('day', now() AT TIME ZONE 'America/Chicago') - interval '20 days',
                                                              (now() AT TIME ZONE 'America/Chicago') - interval '8 hours', '1 day') x
                                WHERE extract(isodow FROM x) < 6 ORDER BY x DESC LIMIT 9) l);
ALTER TABLE week.day ADD PRIMARY KEY (day);
CREATE FUNCTION week.at(minute bigint) RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT (opens + minute % 540 * interval '1 minute') AT TIME ZONE 'America/Chicago' FROM week.day WHERE day = minute / 540 $$;

-- ---------- The plans ----------

CREATE TABLE week.event (event_id bigint GENERATED ALWAYS AS IDENTITY, minute bigint, n bigint, what text, visit bigint);
CREATE TABLE week.referral (n bigint PRIMARY KEY, referral_id bigint, stopped text);
CREATE TABLE week.refusal (n bigint, what text, code text, message text);

CREATE PROCEDURE week.add(INOUT minute bigint, after bigint, n bigint, what text, visit bigint DEFAULT NULL) LANGUAGE plpgsql AS $$
BEGIN
    minute := minute + greatest(1, after / CASE WHEN week.pick(n, 'urgency', 100) < 14 THEN 4 ELSE 1 END);
    INSERT INTO week.event (minute, n, what, visit) VALUES (add.minute, add.n, add.what, add.visit);
END $$;

-- From the door to the scheduling desk: false when the plan ends before.
CREATE FUNCTION week.plan_intake(n bigint, INOUT m bigint, OUT goes_on boolean) LANGUAGE plpgsql AS $$
DECLARE
    fate integer := week.pick(n, 'fate', 100);
BEGIN
    goes_on := false;
    CALL week.add(m, 0, n, 'receive');
    CALL week.add(m, 3, n, 'check');
    IF fate < 8 THEN
        IF fate < 4 THEN RETURN; END IF;            -- what is missing never came
        CALL week.add(m, 200 + week.pick(n, 'mend', 900), n, 'mend');
    END IF;
    CALL week.add(m, 20 + week.pick(n, 'validate', 700), n, CASE WHEN fate IN (8, 9) THEN 'cancel' WHEN fate IN (10, 11) THEN 'decline' ELSE 'validate' END);
    IF fate BETWEEN 8 AND 11 THEN RETURN; END IF;
    IF n % 3 = 0 THEN CALL week.add(m, 20, n, 'eligibility'); END IF;
    IF n % 97 = 0 THEN CALL week.add(m, 15, n, 'override'); END IF;
    IF fate = 12 THEN CALL week.add(m, 60, n, 'hold'); RETURN; END IF;
    IF fate = 13 THEN
        CALL week.add(m, 30, n, 'duplicate');
        IF week.pick(n, 'compared', 2) = 0 THEN CALL week.add(m, 300, n, 'compared'); END IF;
        RETURN;
    END IF;
    IF week.pick(n, 'network', 100) < 8 THEN
        IF week.pick(n, 'manager', 10) < 3 THEN RETURN; END IF;         -- the manager has not got round to it
        CALL week.add(m, 60 + week.pick(n, 'manager hours', 500), n, CASE WHEN week.pick(n, 'manager says', 10) < 2 THEN 'reject' ELSE 'approve' END);
    END IF;
    IF n % 3 = 0 AND week.pick(n, 'covered', 100) < 12 AND week.pick(n, 'covered after all', 2) = 0 THEN CALL week.add(m, 300, n, 'covered'); END IF;
    goes_on := true;
END $$;

CREATE FUNCTION week.plan_authorization(n bigint, INOUT m bigint, OUT goes_on boolean) LANGUAGE plpgsql AS $$
BEGIN
    goes_on := true;
    IF week.pick(n, 'authorization', 100) >= (SELECT authorizes FROM week.payer WHERE id = 101 + week.pick(n, 'payer', 4)) THEN
        CALL week.add(m, 30 + week.pick(n, 'release', 300), n, 'release');
        RETURN;
    END IF;
    CALL week.add(m, 60 + week.pick(n, 'await', 300), n, 'await');
    CASE
    WHEN week.pick(n, 'payer says', 10) < 7 THEN CALL week.add(m, 300 + week.pick(n, 'payer', 1900), n, 'authorize');
    WHEN week.pick(n, 'payer says', 10) < 8 THEN
        CALL week.add(m, 700, n, 'deny');
        IF week.pick(n, 'give up', 2) = 0 THEN CALL week.add(m, 200, n, 'give_up'); END IF;
        goes_on := false;
    ELSE goes_on := false;
    END CASE;
END $$;

CREATE PROCEDURE week.plan_visit(n bigint, INOUT m bigint) LANGUAGE plpgsql AS $$
DECLARE
    visit bigint;
    says integer := week.pick(n, 'visit', 100);
BEGIN
    visit := (m / 540 + 1 + week.pick(n, 'wait', 5)) * 540 + 30 * week.pick(n, 'slot', 16);
    CALL week.add(m, 20 + week.pick(n, 'book', 400), n, 'schedule', visit);
    visit := greatest(visit, m + 30);
    IF says < 6 THEN CALL week.add(m, 100, n, 'cancel_appointment'); RETURN; END IF;
    IF says < 9 THEN CALL week.add(m, 120, n, 'request_cancellation'); RETURN; END IF;
    m := visit;
    IF says < 18 THEN
        CALL week.add(m, 30, n, 'miss');
        IF says < 12 THEN CALL week.add(m, 240, n, 'rebook', m + 1080); m := m + 1080; ELSE RETURN; END IF;
    END IF;
    IF says < 22 THEN RETURN; END IF;               -- nobody has said whether it took place
    CALL week.add(m, 45, n, 'complete');
    IF says < 88 THEN
        CALL week.add(m, 100 + week.pick(n, 'report', 1200), n, 'report');
        IF says < 84 THEN CALL week.add(m, 60, n, 'close'); END IF;
    END IF;
END $$;

CREATE PROCEDURE week.plan(n bigint) LANGUAGE plpgsql AS $$
DECLARE
    m bigint := week.pick(n, 'arrives', 9 * 540);
    goes_on boolean;
BEGIN
    SELECT p.m, p.goes_on INTO m, goes_on FROM week.plan_intake(n, m) p;
    IF NOT goes_on THEN RETURN; END IF;
    SELECT p.m, p.goes_on INTO m, goes_on FROM week.plan_authorization(n, m) p;
    IF NOT goes_on THEN RETURN; END IF;
    IF week.pick(n, 'slots', 100) < 3 THEN
        CALL week.add(m, 60, n, 'no_slot');
        IF week.pick(n, 'slot found', 3) > 0 THEN RETURN; END IF;
        CALL week.add(m, 500, n, 'slot_found');
    END IF;
    IF week.pick(n, 'ask', 100) < 9 THEN
        CALL week.add(m, 40, n, 'hand_over');
        IF week.pick(n, 'asked', 10) < 4 THEN RETURN; END IF;
        CALL week.add(m, 60 + week.pick(n, 'answers', 400), n, CASE WHEN week.pick(n, 'asked', 10) < 7 THEN 'return' ELSE 'hand_back' END);
    END IF;
    FOR i IN 1 .. week.pick(n, 'calls', 3) LOOP CALL week.add(m, 90, n, 'call'); END LOOP;
    IF week.pick(n, 'reach', 100) < 6 THEN CALL week.add(m, 90, n, 'call'); CALL week.add(m, 90, n, 'call'); CALL week.add(m, 90, n, 'call'); RETURN; END IF;
    IF week.pick(n, 'value', 100) < 3 AND week.pick(n, 'finance', 10) < 6 THEN CALL week.add(m, 200, n, 'approve'); END IF;
    CALL week.plan_visit(n, m);
END $$;

-- ---------- The events ----------

CREATE FUNCTION week.acts(who text, kind text DEFAULT 'user') RETURNS void LANGUAGE sql AS
$$ SELECT set_config('referral.actor', who, true), set_config('referral.actor_kind', kind, true) $$;

-- Who of a queue does it.
CREATE FUNCTION week.clerk(n bigint, queue text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT s.member FROM week.staff s WHERE s.queue = clerk.queue ORDER BY s.member
   OFFSET week.pick(n, clerk.queue, greatest(1, (SELECT count(*)::integer FROM week.staff c WHERE c.queue = clerk.queue))) LIMIT 1 $$;

-- The clerk takes the item of the referral, in whichever queue it is; every third one, the others are done from the list.
CREATE PROCEDURE week.take(n bigint, id bigint, always boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE
    i record;
BEGIN
    SELECT w.work_item_id, w.owner, q.name INTO i FROM referral.work_item w JOIN referral.queue q USING (org_id, queue_id)
    WHERE w.org_id = 1 AND w.referral_id = id AND w.is_primary AND w.closed_at IS NULL;
    PERFORM week.acts(coalesce(i.owner, week.clerk(n, i.name)));
    IF i.owner IS NULL AND (always OR n % 3 = 1) THEN
        BEGIN
            PERFORM referral.claim(1, i.work_item_id);
        EXCEPTION WHEN SQLSTATE 'RF026' THEN        -- he has as many as he may
            NULL;
        END;
    END IF;
END $$;

CREATE PROCEDURE week.receive(n bigint, at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    s record;
    urgent integer := week.pick(n, 'urgency', 100);
    fate integer := week.pick(n, 'fate', 100);
    payer bigint := 101 + week.pick(n, 'payer', 4);
    site record;
    patient bigint;
    coverage bigint;
    id bigint;
BEGIN
    PERFORM week.acts('interface', 'system');
    SELECT * INTO s FROM week.specialty WHERE week.specialty.id = week.pick(n, 'specialty', 6);
    SELECT * INTO site FROM week.site WHERE week.site.id = 101 + week.pick(n, 'site', 4);
    INSERT INTO referral.patient (family, given, birth_date, sex, phone, city, language, identifier_system, identifier)
    VALUES ((ARRAY['Adams', 'Berg', 'Carter', 'Dubois', 'Ellis', 'Fischer', 'Garcia', 'Hansen', 'Ito', 'Johansson', 'Kowalski', 'Larsen', 'Moreno',
                   'Nguyen', 'Okafor', 'Petrov', 'Quinn', 'Rossi', 'Sato', 'Tanaka', 'Usman', 'Virtanen', 'Walker', 'Young'])[1 + week.pick(n, 'family', 24)],
            (ARRAY['Ada', 'Ben', 'Clara', 'David', 'Emma', 'Felix', 'Grace', 'Hugo', 'Ines', 'Jakob', 'Kira', 'Leo', 'Mina', 'Noah', 'Olga', 'Paul',
                   'Rosa', 'Simon', 'Tara', 'Viktor'])[1 + week.pick(n, 'given', 20)],
            date '1935-01-01' + week.pick(n, 'born', 29000), (ARRAY['female', 'male'])[1 + week.pick(n, 'sex', 2)], '218-555-' || lpad((n % 10000)::text, 4, '0'),
            'Duluth', CASE week.pick(n, 'language', 8) WHEN 0 THEN 'es' ELSE 'en' END, 'WEEK', 'W' || n)
    RETURNING patient_id INTO patient;
    INSERT INTO referral.coverage (patient_id, payer_id, subscriber_id) VALUES (patient, payer, 'S' || n) RETURNING coverage_id INTO coverage;
    INSERT INTO referral.referral (patient_id, specialty, urgency, channel, received_at, authored_at, reason_code, reason_text, service_text, requester_id,
        requesting_organization_id, site_id, region, payer_id, coverage_id, healthcare_service_id, network_status, authorization_required, expected_value, placer_order_number)
    VALUES (patient, s.name, (CASE WHEN urgent < 2 THEN 'stat' WHEN urgent < 5 THEN 'asap' WHEN urgent < 14 THEN 'urgent' ELSE 'routine' END)::referral.urgency,
            CASE WHEN fate < 8 AND s.name = 'radiology' THEN 'fax' ELSE (ARRAY['ehr', 'hl7v2', 'fhir', 'portal', 'fax', 'call_centre'])[1 + week.pick(n, 'channel', 6)] END,
            at, at - interval '1 hour', CASE WHEN fate >= 8 THEN s.code END, CASE WHEN fate >= 8 THEN s.reason END, s.name || ' consult',
            CASE WHEN fate IN (1, 5) THEN NULL ELSE 101 + week.pick(n, 'requester', 8) END, CASE WHEN fate NOT IN (1, 5) THEN site.id END, site.id, site.region,
            payer, coverage, 100 + 10 * s.id + site.id - 100, CASE WHEN week.pick(n, 'network', 100) < 8 THEN 'out_of_network' ELSE 'in_network' END::referral.network_status,
            week.pick(n, 'authorization', 100) < (SELECT authorizes FROM week.payer p WHERE p.id = payer),
            CASE WHEN week.pick(n, 'value', 100) < 3 THEN 14000 ELSE 300 + week.pick(n, 'value', 2500) END, 'WEEK-' || n)
    RETURNING referral_id INTO id;
    -- imaging that comes by paper or by telephone needs the signed order
    IF s.name = 'radiology' AND fate >= 8 THEN INSERT INTO referral.document (referral_id, type, received_at) VALUES (id, 'order', at); END IF;
    IF urgent < 14 AND week.pick(n, 'note', 4) > 0 THEN INSERT INTO referral.document (referral_id, type, received_at) VALUES (id, 'clinical_note', at); END IF;
    INSERT INTO week.referral (n, referral_id) VALUES (receive.n, id);
END $$;

-- What the staff does with a referral, but for its states.
CREATE PROCEDURE week.around(n bigint, id bigint, what text, at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    item bigint := (SELECT work_item_id FROM referral.work_item w WHERE w.org_id = 1 AND w.referral_id = id AND w.is_primary AND w.closed_at IS NULL);
    handoff bigint := (SELECT max(handoff_id) FROM referral.handoff h WHERE h.org_id = 1 AND h.work_item_id = item AND h.status = 'released' AND NOT h.by_rule);
    request bigint := (SELECT min(approval_request_id) FROM referral.approval_request a
                       WHERE a.org_id = 1 AND a.entity = 'referral' AND a.entity_id = id AND a.status = 'pending');
    covered boolean := week.pick(n, 'covered', 100) >= 12;
BEGIN
    CASE what
    WHEN 'check' THEN
        PERFORM week.acts('interface', 'system');
        PERFORM referral.check_referral(1, id);
    WHEN 'eligibility', 'covered' THEN
        PERFORM week.acts('interface', 'system');
        PERFORM referral.answer_eligibility(1, referral.request_eligibility(1, id, 'api'), CASE WHEN covered OR what = 'covered' THEN 'covered' ELSE 'not-covered' END,
                                            'no-auth', active_to => current_date + 300);
    WHEN 'override' THEN
        PERFORM week.acts('demo_jane');
        CALL week.take(n, id, true);
        PERFORM referral.override_route(1, id, 'clinical_triage', 'the letter reads worse than its code');
    WHEN 'duplicate' THEN
        PERFORM week.acts('interface', 'system');
        PERFORM referral.open_exception(1, 'duplicate_record', 'referral', id, id, 'same_request', 'another referral asks for the same', 'medium', true);
    WHEN 'compared', 'slot_found' THEN
        PERFORM week.acts(CASE what WHEN 'compared' THEN 'Eva' ELSE 'Priya' END);
        UPDATE referral.exception_item SET status = 'resolved', root_cause = CASE what WHEN 'compared' THEN 'sender_error' ELSE 'capacity_short' END,
               resolution = CASE what WHEN 'compared' THEN 'the sender has taken the other one back' ELSE 'an evening clinic was opened' END
        WHERE org_id = 1 AND referral_id = id AND code = CASE what WHEN 'compared' THEN 'same_request' ELSE 'no_slot' END AND status = 'open';
    WHEN 'no_slot' THEN
        PERFORM week.acts(week.clerk(n, 'scheduling'));
        PERFORM referral.open_exception(1, 'capacity', 'referral', id, id, 'no_slot', 'no slot within the time that is asked for', 'high', true);
    WHEN 'approve', 'reject' THEN
        PERFORM week.acts(CASE week.pick(n, 'approver', 3) WHEN 0 THEN 'Nora' ELSE 'Victor' END);
        IF what = 'approve' THEN PERFORM referral.approve(1, request, 'agreed'); ELSE PERFORM referral.reject(1, request, 'there is one in the network'); END IF;
    WHEN 'call' THEN
        PERFORM week.acts(week.clerk(n, 'scheduling'));
        INSERT INTO referral.contact_attempt (referral_id, medium, outcome, attempted_at, attempted_by)
        VALUES (id, 'phone', (ARRAY['no_answer', 'left_message', 'no_answer'])[1 + week.pick(n, 'call', 3)], at, referral.current_actor());
    WHEN 'hand_over' THEN
        CALL week.take(n, id, true);
        IF NOT EXISTS (SELECT FROM referral.work_item w WHERE w.org_id = 1 AND w.work_item_id = item AND w.owner IS NOT NULL) THEN RETURN; END IF;
        PERFORM referral.hand_over(1, item, (ARRAY['clinical_triage', 'financial_clearance'])[1 + n % 2],
            (ARRAY['The patient asks whether he may wait that long.', 'The patient asks what he has to pay.'])[1 + n % 2], 'a question before it is booked');
    WHEN 'return' THEN
        IF handoff IS NULL THEN RETURN; END IF;
        PERFORM week.acts(week.clerk(n, (ARRAY['clinical_triage', 'financial_clearance'])[1 + n % 2]));
        PERFORM referral.return_handoff(1, handoff, (ARRAY['nothing to decide here', 'no telephone number'])[1 + week.pick(n, 'why', 2)]);
    WHEN 'hand_back' THEN
        IF handoff IS NULL THEN RETURN; END IF;
        PERFORM week.acts(week.clerk(n, (ARRAY['clinical_triage', 'financial_clearance'])[1 + n % 2]));
        PERFORM referral.accept_handoff(1, handoff);
        PERFORM referral.hand_over(1, item, 'scheduling', 'Answered, goes on.', 'answered', '[{"item": "The patient knows what comes next", "done": true}]');
    WHEN 'deny' THEN
        PERFORM week.acts('interface', 'system');
        UPDATE referral.prior_authorization SET status = 'decided', decided_at = at, disposition = 'not medically necessary' WHERE org_id = 1 AND referral_id = id;
    WHEN 'report' THEN
        PERFORM week.acts('interface', 'system');
        INSERT INTO referral.consult_report (referral_id, status, received_at, sent_at) VALUES (id, 'final', at, at);
    END CASE;
END $$;

-- The moves.
CREATE PROCEDURE week.move(n bigint, id bigint, what text, at timestamptz, visit timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    CALL week.take(n, id);
    IF what IN ('decline', 'give_up') THEN PERFORM set_config('referral.reason', 'as the letter says', true); END IF;
    CASE what
    WHEN 'mend' THEN
        UPDATE referral.referral r SET reason_code = s.code, reason_text = s.reason, requester_id = coalesce(requester_id, 101)
        FROM week.specialty s WHERE r.org_id = 1 AND r.referral_id = move.id AND s.name = r.specialty;
        INSERT INTO referral.document (referral_id, type, received_at) SELECT id, 'order', at FROM referral.referral WHERE org_id = 1 AND referral_id = id AND specialty = 'radiology';
        PERFORM referral.check_referral(1, id);
    WHEN 'validate' THEN UPDATE referral.referral SET state = 'validated' WHERE org_id = 1 AND referral_id = id;
    WHEN 'cancel' THEN UPDATE referral.referral SET state = 'cancelled', status_reason = 'seen_elsewhere' WHERE org_id = 1 AND referral_id = id;
    WHEN 'decline' THEN UPDATE referral.referral SET state = 'declined', status_reason = 'no_capacity', decision = 'declined', decision_at = at WHERE org_id = 1 AND referral_id = id;
    WHEN 'give_up' THEN UPDATE referral.referral SET state = 'declined', status_reason = 'criteria_not_met' WHERE org_id = 1 AND referral_id = id;
    WHEN 'hold' THEN UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient' WHERE org_id = 1 AND referral_id = id;
    WHEN 'release' THEN UPDATE referral.referral SET state = 'ready_to_schedule' WHERE org_id = 1 AND referral_id = id;
    WHEN 'await' THEN
        UPDATE referral.referral SET state = 'pending_authorization' WHERE org_id = 1 AND referral_id = id;
        INSERT INTO referral.prior_authorization (referral_id, patient_id, payer_id, requested_at)
        SELECT id, patient_id, payer_id, at FROM referral.referral WHERE org_id = 1 AND referral_id = id;
    WHEN 'authorize' THEN
        UPDATE referral.prior_authorization SET status = 'decided', decided_at = at, authorization_number = 'A' || n WHERE org_id = 1 AND referral_id = id;
        UPDATE referral.referral SET state = 'ready_to_schedule', authorization_number = 'A' || n WHERE org_id = 1 AND referral_id = id;
    WHEN 'schedule' THEN
        INSERT INTO referral.appointment (referral_id, patient_id, healthcare_service_id, site_id, starts_at, ends_at)
        SELECT id, patient_id, healthcare_service_id, site_id, visit, visit + interval '30 minutes' FROM referral.referral WHERE org_id = 1 AND referral_id = id;
        UPDATE referral.referral SET state = 'scheduled', scheduled_for = visit WHERE org_id = 1 AND referral_id = id;
    WHEN 'rebook' THEN
        UPDATE referral.appointment SET step = 'booked', starts_at = visit, ends_at = visit + interval '30 minutes' WHERE org_id = 1 AND referral_id = id;
        UPDATE referral.referral SET state = 'scheduled', scheduled_for = visit WHERE org_id = 1 AND referral_id = id;
    WHEN 'cancel_appointment' THEN
        UPDATE referral.appointment SET step = 'cancelled' WHERE org_id = 1 AND referral_id = id;
        UPDATE referral.referral SET state = 'appointment_cancelled', status_reason = 'patient_cancelled' WHERE org_id = 1 AND referral_id = id;
    WHEN 'request_cancellation' THEN UPDATE referral.referral SET state = 'cancellation_requested', status_reason = 'patient_request' WHERE org_id = 1 AND referral_id = id;
    WHEN 'miss' THEN
        UPDATE referral.appointment SET step = 'noshow' WHERE org_id = 1 AND referral_id = id;
        UPDATE referral.referral SET state = 'no_show' WHERE org_id = 1 AND referral_id = id;
    WHEN 'complete' THEN
        UPDATE referral.appointment SET step = 'fulfilled' WHERE org_id = 1 AND referral_id = id;
        UPDATE referral.referral SET state = 'completed' WHERE org_id = 1 AND referral_id = id;
    WHEN 'close' THEN UPDATE referral.referral SET state = 'closed_loop' WHERE org_id = 1 AND referral_id = id;
    END CASE;
END $$;

-- One event. What the rules refuse is noted, and with it the plan ends: somebody has to see to it.
CREATE PROCEDURE week.happen(e week.event, at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    SELECT r.referral_id INTO id FROM week.referral r WHERE r.n = e.n AND r.stopped IS NULL;
    IF id IS NULL AND e.what <> 'receive' THEN RETURN; END IF;
    PERFORM set_config('referral.occurred_at', at::text, true), set_config('referral.reason', '', true);
    IF e.what = 'receive' THEN
        CALL week.receive(e.n, at);
    ELSIF e.what IN ('check', 'eligibility', 'covered', 'override', 'duplicate', 'compared', 'no_slot', 'slot_found', 'approve', 'reject', 'call', 'hand_over', 'return', 'hand_back', 'deny', 'report') THEN
        CALL week.around(e.n, id, e.what, at);
    ELSE
        CALL week.move(e.n, id, e.what, at, week.at(e.visit));
    END IF;
EXCEPTION WHEN SQLSTATE 'RF002' OR SQLSTATE 'RF004' OR SQLSTATE 'RF025' OR SQLSTATE 'RF026' THEN
    INSERT INTO week.refusal VALUES (e.n, e.what, SQLSTATE, SQLERRM);
    UPDATE week.referral r SET stopped = SQLSTATE WHERE r.n = e.n;
END $$;

CREATE PROCEDURE week.plans(referrals integer) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. referrals LOOP CALL week.plan(i); END LOOP;
END $$;

-- The events in order of time, but for the first ones; up to now, or the number that is given.
CREATE PROCEDURE week.run(but_for integer, number integer DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    e record;
    done integer := 0;
BEGIN
    FOR e IN SELECT v AS event, week.at(v.minute) AS at FROM week.event v ORDER BY v.minute, v.event_id OFFSET but_for LIMIT number LOOP
        EXIT WHEN e.at > now();
        CALL week.happen(e.event, e.at);
        done := done + 1;
        IF done % 500 = 0 THEN COMMIT; END IF;
    END LOOP;
END $$;

GRANT ALL ON ALL TABLES IN SCHEMA week TO demo_app;
GRANT SELECT ON week.staff, week.refusal TO PUBLIC;
