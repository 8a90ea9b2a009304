-- Data for the benchmark of the views: :rows referrals of an organisation that is busy, a tenth of them at their end.
-- They come in by INSERT, with everything that is on; where they stand after some weeks is then set without triggers.
CREATE ROLE bench_ann LOGIN IN ROLE referral_coordinator;   -- works on two queues
CREATE ROLE bench_lead LOGIN IN ROLE referral_admin;
CREATE ROLE bench_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE bench_other LOGIN IN ROLE referral_admin;       -- of another organisation
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind)
VALUES (1, 'bench_ann', 'user'), (1, 'bench_lead', 'user'), (1, 'bench_analyst', 'user'), (2, 'bench_other', 'user');
SELECT set_config('referral.org_id', '1', false) \g /dev/null
INSERT INTO referral.queue_member (org_id, queue_id, member, is_lead, capacity)
SELECT 1, q.queue_id, m.member, m.member = 'bench_lead', m.capacity
FROM referral.queue q
JOIN (SELECT 'bench_ann' AS member, 20 AS capacity, '{intake,scheduling}'::text[] AS queues
      UNION ALL SELECT 'bench_lead', NULL, '{intake}'
      UNION ALL SELECT 'bench_' || n, 15, ARRAY[(ARRAY['intake', 'scheduling', 'authorization', 'closing_the_loop', 'clinical_triage'])[1 + n % 5]]
                FROM generate_series(1, 40) n) m ON q.name = ANY (m.queues)
WHERE q.org_id = 1;
INSERT INTO referral.practitioner (org_id, practitioner_id, name) SELECT 1, n, 'Dr ' || n FROM generate_series(1, 200) n;
INSERT INTO referral.payer (org_id, payer_id, name) SELECT 1, n, 'Payer ' || n FROM generate_series(1, 20) n;
INSERT INTO referral.patient (org_id, patient_id, family, given) SELECT 1, n, 'Family' || n, 'Given' || n FROM generate_series(1, :rows / 4) n;

-- in chunks: what one transaction waits for at its end stays small
SELECT format($$INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, urgency, requester_id, performer_id, payer_id, received_at)
SELECT 1, n, CASE WHEN n %% 50 > 0 THEN 1 + n %% (%s / 4) END, (ARRAY['cardiology', 'radiology', 'dermatology', 'oncology'])[1 + n %% 4],
       CASE WHEN n %% 100 = 0 THEN 'stat' WHEN n %% 30 = 0 THEN 'asap' WHEN n %% 7 = 0 THEN 'urgent' ELSE 'routine' END::referral.urgency, 1 + n %% 200, 1 + n %% 199, 1 + n %% 20,
       now() - n %% 90 * interval '1 day' FROM generate_series(%s, %s) n$$, :rows, s, least(s + 4999, :rows))
FROM generate_series(1, :rows, 5000) s \gexec

-- where they stand: 27 in a hundred have just come in, 10 are at their end
SET session_replication_role = replica;
CREATE TABLE bench.stand AS
SELECT r.referral_id AS n, s.state, s.queue, r.referral_id % 29 = 0 AND s.queue IS NOT NULL AS is_claimed, now() - (hashint8(r.referral_id) & 63) * interval '11 hours' AS since
FROM referral.referral r
JOIN (VALUES (0, 26, 'received', 'intake'), (27, 41, 'validated', 'intake'), (42, 51, 'pending_authorization', 'authorization'),
             (52, 66, 'ready_to_schedule', 'scheduling'), (67, 76, 'scheduled', 'scheduling'), (77, 79, 'no_show', 'scheduling'),
             (80, 81, 'appointment_cancelled', 'scheduling'), (82, 87, 'completed', 'closing_the_loop'), (88, 88, 'on_hold', 'manual_triage'),
             (89, 89, 'cancellation_requested', 'manual_triage'), (90, 95, 'closed_loop', NULL), (96, 97, 'declined', NULL), (98, 99, 'cancelled', NULL)
     ) s (first, last, state, queue) ON (r.referral_id * 7919) % 100 BETWEEN s.first AND s.last;
GRANT SELECT ON bench.stand TO PUBLIC;
UPDATE referral.referral r
SET state = s.state::referral.state, step = s.state, entered_at = s.since, expires_on = CASE WHEN n % 3 = 0 THEN current_date + (n % 120)::integer END,
    authorization_required = n % 3 = 0, authorization_number = CASE WHEN n % 9 = 0 THEN 'A' || n END,
    scheduled_for = CASE WHEN s.state IN ('scheduled', 'no_show', 'completed') THEN now() + (n % 40 - 12) * interval '1 day' END,
    decision = CASE WHEN s.state = 'declined' THEN 'declined' WHEN n % 70 = 0 THEN 'returned' WHEN s.state <> 'received' THEN 'accepted' END::referral.decision,
    decision_at = CASE WHEN s.state <> 'received' OR n % 70 = 0 THEN s.since END,
    status_reason = CASE WHEN s.state = 'declined' THEN 'no_capacity' END
FROM bench.stand s WHERE r.org_id = 1 AND r.referral_id = s.n;
UPDATE referral.work_item i
SET queue_id = coalesce(q.queue_id, i.queue_id), opened_at = s.since, due_at = s.since + interval '15 days',
    score = i.score + hashint8(n) % 1000, closed_at = CASE WHEN s.queue IS NULL THEN s.since END,
    owner = CASE WHEN s.is_claimed THEN CASE WHEN n % 2 = 0 THEN 'bench_ann' ELSE 'bench_' || 1 + n % 40 END END,
    claimed_at = CASE WHEN s.is_claimed THEN s.since + interval '1 hour' END, lease_until = CASE WHEN s.is_claimed THEN now() + interval '1 hour' END,
    status = CASE WHEN s.queue IS NULL THEN 'completed' WHEN s.is_claimed THEN 'in-progress' ELSE i.status END
FROM bench.stand s LEFT JOIN referral.queue q ON q.org_id = 1 AND q.name = s.queue
WHERE i.org_id = 1 AND i.entity = 'referral' AND i.entity_id = s.n AND i.is_primary;
ANALYZE referral.work_item;
-- nobody has more than thirty
UPDATE referral.work_item i SET status = 'ready', owner = NULL, claimed_at = NULL, lease_until = NULL
FROM (SELECT work_item_id, row_number() OVER (PARTITION BY owner ORDER BY work_item_id) AS place FROM referral.work_item WHERE status = 'in-progress') p
WHERE p.work_item_id = i.work_item_id AND p.place > 30;

-- what is around them
INSERT INTO referral.contact_attempt (org_id, referral_id, medium, attempted_at, outcome, version)
SELECT 1, n, 'phone', since + k * interval '1 hour', CASE WHEN n % 4 = k THEN 'reached' ELSE 'no_answer' END, 1
FROM bench.stand, generate_series(1, 4) k WHERE state = 'ready_to_schedule' AND k <= n % 5;
INSERT INTO referral.appointment (org_id, referral_id, patient_id, workflow_id, entered_at, state, step, starts_at, version)
SELECT 1, n, NULL, w.workflow_id, since, CASE s.state WHEN 'scheduled' THEN 'scheduled' ELSE 'ready_to_schedule' END::referral.state,
       CASE s.state WHEN 'scheduled' THEN 'booked' ELSE 'waitlist' END, CASE s.state WHEN 'scheduled' THEN now() + (n % 40 - 12) * interval '1 day' END, 1
FROM bench.stand s, referral.workflow w WHERE w.name = 'appointment' AND (state = 'scheduled' OR (state = 'ready_to_schedule' AND n % 6 = 0));
INSERT INTO referral.validation_result (org_id, referral_id, checked_at, passed, missing, invalid, warnings, findings, rule_versions, version)
SELECT 1, n, since, n % 6 > 0, (n % 6 = 0)::integer, 0, 0,
       CASE WHEN n % 6 = 0 THEN '[{"severity": "missing", "kind": "document", "code": "missing", "field_or_document": "referral_letter", "message": "x", "how_to_fix": "x", "template": "letter"}]' ELSE '[]' END::jsonb,
       '{}', 1
FROM bench.stand, generate_series(1, 1 + (n % 3)::integer);
INSERT INTO referral.consult_report (org_id, referral_id, status, received_at, version)
SELECT 1, n, CASE WHEN n % 3 = 0 THEN 'final' ELSE 'preliminary' END, since, 1 FROM bench.stand WHERE state IN ('completed', 'closed_loop') AND n % 5 < 3;
INSERT INTO referral.exception_item (org_id, category, code, severity, blocking, entity, entity_id, referral_id, status, opened_at, resolved_at, root_cause, version)
SELECT 1, (ARRAY['capacity', 'missing_document', 'payer_mismatch', 'policy'])[1 + n % 4]::referral.exception_category, 'x', 'medium', n % 8 = 0, 'referral', n, n,
       CASE WHEN n % 5 = 0 THEN 'open' ELSE 'resolved' END, since, CASE WHEN n % 5 > 0 THEN since + n % 90 * interval '1 hour' END, 'cause' || n % 5, 1
FROM bench.stand WHERE n % 10 < 3;
INSERT INTO referral.handoff (org_id, work_item_id, referral_id, from_queue_id, to_queue_id, from_owner, reason, summary, checklist, by_rule, status,
                              released_at, released_by, accept_by, accepted_at, accepted_by, returned_at, returned_by, return_reason, version)
SELECT 1, i.work_item_id, n, f.queue_id, i.queue_id, 'bench_ann', 'x', 'x', jsonb_build_array(jsonb_build_object('item', 'x', 'required', true, 'done', n % 16 = 0)), false,
       (ARRAY['accepted', 'accepted', 'returned', 'released'])[1 + n / 8 % 4], since, 'bench_ann', since + interval '4 hours',
       CASE WHEN n / 8 % 4 < 2 THEN since + n % 300 * interval '1 minute' END, CASE WHEN n / 8 % 4 < 2 THEN 'bench_1' END,
       CASE WHEN n / 8 % 4 = 2 THEN since + interval '1 hour' END, CASE WHEN n / 8 % 4 = 2 THEN 'bench_1' END, CASE WHEN n / 8 % 4 = 2 THEN 'x' END, 1
FROM bench.stand s JOIN referral.work_item i ON i.org_id = 1 AND i.referral_id = n AND i.is_primary AND i.closed_at IS NULL AND i.owner IS NULL
JOIN referral.queue f ON f.org_id = 1 AND f.name = 'missing_documents' WHERE n % 8 = 0;
UPDATE referral.work_item i SET queue_id = h.from_queue_id FROM referral.handoff h WHERE h.org_id = i.org_id AND h.work_item_id = i.work_item_id AND h.status = 'returned';
UPDATE referral.work_item i SET status = 'requested', handed_over_by = 'bench_ann'
FROM referral.handoff h WHERE h.org_id = i.org_id AND h.work_item_id = i.work_item_id AND h.status = 'released';
INSERT INTO referral.work_item (org_id, queue_id, entity, entity_id, referral_id, kind, title, score, due_at, version)
SELECT 1, q.queue_id, 'approval_request', n, n, 'approval', 'Approval', -500000 + n % 1000, since + interval '2 days', 1
FROM bench.stand, referral.queue q WHERE q.org_id = 1 AND q.name = 'approvals' AND n % 40 = 1 AND state <> 'closed_loop';
INSERT INTO referral.referral_relation (org_id, referral_id, related_id, kind, version) SELECT 1, n + 1, n, 'replaces', 1 FROM bench.stand WHERE state = 'declined' AND n % 3 = 0 AND n < :rows;
RESET session_replication_role;
VACUUM ANALYZE;
