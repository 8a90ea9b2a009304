-- worklist_view: what a coordinator opens in the morning, and why everything is as it is

-- ---------- What recommendations go by ----------

CREATE FUNCTION referral.has_blocking_exception(org_id bigint, referral_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'has_blocking_exception';
COMMENT ON FUNCTION referral.has_blocking_exception(bigint, bigint) IS
'Is an exception open that keeps the referral from going on? Null for null.';

CREATE FUNCTION referral.has_pending_approval(org_id bigint, referral_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'has_pending_approval';
COMMENT ON FUNCTION referral.has_pending_approval(bigint, bigint) IS
'Does somebody still have to decide about an approval for the referral? Null for null.';

CREATE FUNCTION referral.is_handed_over(org_id bigint, referral_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'is_handed_over';
COMMENT ON FUNCTION referral.is_handed_over(bigint, bigint) IS
'Was the referral handed over to a team that has not accepted it yet? Null for null.';

CREATE FUNCTION referral.is_overdue(org_id bigint, referral_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'is_overdue';
COMMENT ON FUNCTION referral.is_overdue(bigint, bigint) IS
'Has the first of the referral''s open clocks run out, at as_of()? Null for null.';

CREATE FUNCTION referral.contact_attempts(org_id bigint, referral_id bigint) RETURNS integer
LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'contact_attempts';
COMMENT ON FUNCTION referral.contact_attempts(bigint, bigint) IS
'How often somebody has tried in vain to reach the patient of a referral. Null for null.';

-- ---------- What the views compute ----------

CREATE FUNCTION referral.queue_presence(org_id bigint, queue_id bigint) RETURNS integer
LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*)::integer FROM referral.present_members(queue_presence.org_id, queue_presence.queue_id, referral.as_of())
    WHERE referral.may_change_org(queue_presence.org_id)
$$;
COMMENT ON FUNCTION referral.queue_presence(bigint, bigint) IS
'How many people work on a queue at as_of(), absences and substitutes counted; not who. 0 for a queue that is not visible; null for null.';

CREATE FUNCTION referral.rank_reasons(org_id bigint, work_item_id bigint) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT string_agg(format('%s %s%s', replace(f.why, '_', ' '), CASE WHEN f.points > 0 THEN '+' END, round(f.points)), '; ' ORDER BY f.place)
            FROM (SELECT x.points,
                         -- of a date what it is and how far off: due in 2.1 days
                         CASE WHEN x.value ~ '^[a-z_]+ [0-9]{4}-.* days( ago)?$' THEN regexp_replace(x.value, '^([a-z_]+?)(_at|_on|_for)? .*, ', '\1 ') ELSE x.factor END AS why,
                         row_number() OVER (ORDER BY abs(x.points) DESC, x.factor) AS place
                  FROM referral.explain_rank(rank_reasons.org_id, rank_reasons.work_item_id, referral.as_of()) x
                  -- what is assumed of all alike says nothing about this one
                  WHERE x.value IS NULL OR x.value NOT LIKE '%(assumed)') f
            WHERE f.place <= 3);
END $$;
COMMENT ON FUNCTION referral.rank_reasons(bigint, bigint) IS
'Why a work item stands where it stands, in a line: the three rules that count most at as_of(), of those that go by a date how far off it is, with their points, as in: stat +1000; received 3.0 days ago +15; due in 2.1 days -43. See explain_rank() for all. Null for an item that is not visible, and for null.';

CREATE FUNCTION referral.is_for_me(role name) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = is_for_me.role AND pg_has_role(r.oid, 'MEMBER'))
$$;
COMMENT ON FUNCTION referral.is_for_me(name) IS
'Is the session''s role a member of the role? False when there is no such role. Null for null.';

CREATE FUNCTION referral.recommended_actions(org_id bigint, referral_id bigint)
RETURNS TABLE (place bigint, action text, reason text, rule text, rule_version bigint)
LANGUAGE sql STABLE STRICT ROWS 3 SET search_path = pg_catalog, pg_temp AS $$
    SELECT n.place, f.action, f.reason, f.name, f.rule_version_id
    FROM referral.referral r
    CROSS JOIN LATERAL unnest(referral.matching_rules('recommendation_rule', 'referral', r.org_id, r)) WITH ORDINALITY n (id, place)
    JOIN referral.recommendation_rule f ON f.recommendation_rule_id = n.id
    WHERE r.org_id = recommended_actions.org_id AND r.referral_id = recommended_actions.referral_id
      AND r.state NOT IN ('closed_loop', 'declined', 'cancelled', 'expired', 'entered_in_error')
    ORDER BY n.place
$$;
COMMENT ON FUNCTION referral.recommended_actions(bigint, bigint) IS
'All that is to be done next with a referral by the active rules of recommendation_rule, the best first, each with its reason; next_best_action has the first. With the caller''s rights. No rows for a referral that has come to its end or is not visible, and for null.';

-- ---------- explain() ----------

CREATE FUNCTION referral.explain_flow(entity text, org_id bigint, id bigint)
RETURNS TABLE (kind text, decided_at timestamptz, what text, rule text, rule_version bigint, detail text)
LANGUAGE plpgsql STABLE STRICT ROWS 20 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'transition', j.occurred_at, referral.describe_change(j.action, j.transition, j.from_step, j.to_step, NULL), j.transition, j.rule_version,
           concat_ws(', ', 'by ' || j.actor, j.reason)
    FROM referral.journal j
    WHERE j.org_id = explain_flow.org_id AND j.entity = explain_flow.entity AND j.entity_id = explain_flow.id AND j.to_step IS NOT NULL
    UNION ALL
    SELECT 'clock', c.started_at,
           CASE WHEN c.nullified_at IS NOT NULL THEN 'nullified' WHEN c.breached_at IS NOT NULL THEN 'breached'
                WHEN c.stopped_at IS NOT NULL THEN 'met' WHEN c.due_at IS NULL THEN 'paused' ELSE 'running' END,
           c.policy, c.rule_version, format('target %s, due %s', c.target, coalesce(c.due_at::text, 'open'))
    FROM referral.sla_clock c
    WHERE c.org_id = explain_flow.org_id AND c.entity = explain_flow.entity AND c.entity_id = explain_flow.id
    UNION ALL
    SELECT 'escalation', e.fired_at, format('%s %s: %s', e.action, coalesce(e.argument, ''), e.outcome), format('%s, level %s', e.policy, e.level),
           c.rule_version, e.title
    FROM referral.escalation e JOIN referral.sla_clock c ON c.org_id = e.org_id AND c.clock_id = e.clock_id
    WHERE e.org_id = explain_flow.org_id AND e.entity = explain_flow.entity AND e.entity_id = explain_flow.id
    UNION ALL
    SELECT 'validation', v.checked_at,
           CASE WHEN v.passed THEN 'complete' ELSE format('%s missing, %s invalid', v.missing, v.invalid) END, s.name, n.id,
           (SELECT string_agg(f ->> 'code', ', ') FROM jsonb_array_elements(v.findings) f)
    FROM referral.validation_result v
    CROSS JOIN LATERAL unnest(v.rule_versions) n (id)
    JOIN referral.rule_version r ON r.rule_version_id = n.id
    JOIN referral.rule_set s USING (rule_set_id)
    WHERE explain_flow.entity = 'referral' AND v.org_id = explain_flow.org_id AND v.referral_id = explain_flow.id;
END $$;
COMMENT ON FUNCTION referral.explain_flow(text, bigint, bigint) IS
'The part of explain() about the steps of a row, its clocks and their escalations, and, for a referral, its checks for completeness. Null for null: no rows.';

CREATE FUNCTION referral.explain_work(entity text, org_id bigint, id bigint)
RETURNS TABLE (kind text, decided_at timestamptz, what text, rule text, rule_version bigint, detail text)
LANGUAGE plpgsql STABLE STRICT ROWS 20 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH item AS MATERIALIZED (
        -- open and closed ones have each an index
        SELECT * FROM referral.work_item i
        WHERE i.org_id = explain_work.org_id AND i.entity = explain_work.entity AND i.entity_id = explain_work.id AND i.closed_at IS NULL
        UNION ALL
        SELECT * FROM referral.work_item i
        WHERE i.org_id = explain_work.org_id AND i.entity = explain_work.entity AND i.entity_id = explain_work.id AND i.closed_at IS NOT NULL)
    SELECT 'routing', d.decided_at, format('to %s', q.name), coalesce(d.rule, d.reason), d.rule_version,
           concat_ws('; ', d.explanation, CASE WHEN q.name <> d.target_queue THEN format('meant for %s', d.target_queue) END,
                     'with ' || d.owner, CASE d.reason WHEN 'person' THEN 'by ' || d.decided_by END)
    FROM referral.routing_decision d JOIN referral.queue q ON q.org_id = d.org_id AND q.queue_id = d.queue_id
    WHERE d.org_id = explain_work.org_id AND d.entity = explain_work.entity AND d.entity_id = explain_work.id
    UNION ALL
    SELECT 'handoff', h.released_at, format('%s to %s: %s', f.name, t.name, h.status), CASE WHEN h.by_rule THEN 'rule' ELSE 'person' END, NULL,
           concat_ws('; ', format('by %s: %s', h.released_by, h.reason), 'accepted by ' || h.accepted_by,
                     CASE WHEN h.returned_by IS NOT NULL THEN format('returned by %s: %s', h.returned_by, h.return_reason) END)
    FROM item i
    JOIN referral.handoff h ON h.org_id = i.org_id AND h.work_item_id = i.work_item_id
    JOIN referral.queue f ON f.org_id = h.org_id AND f.queue_id = h.from_queue_id
    JOIN referral.queue t ON t.org_id = h.org_id AND t.queue_id = h.to_queue_id
    UNION ALL
    SELECT 'task', i.opened_at, concat_ws(': ', i.title, i.status::text, i.outcome), i.task, t.rule_version_id, 'with ' || i.owner
    FROM item i
    LEFT JOIN referral.task_template t ON t.task_template_id = i.task_template_id
    WHERE i.kind = 'task'
    UNION ALL
    SELECT 'ranking', referral.as_of(), format('%s points', round(x.points, 1)), x.factor, x.rule_version, concat_ws('; ', x.explanation, x.value)
    FROM item i
    CROSS JOIN LATERAL referral.explain_rank(i.org_id, i.work_item_id, referral.as_of()) x
    WHERE i.kind <> 'task' AND i.closed_at IS NULL;
END $$;
COMMENT ON FUNCTION referral.explain_work(text, bigint, bigint) IS
'The part of explain() about the work on a row: where it was sent, handed over and why, the tasks that came up, and what its rank consists of. Null for null: no rows.';

CREATE FUNCTION referral.explain_gates(entity text, org_id bigint, id bigint)
RETURNS TABLE (kind text, decided_at timestamptz, what text, rule text, rule_version bigint, detail text)
LANGUAGE plpgsql STABLE STRICT ROWS 20 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'exception', e.opened_at, format('%s: %s', e.category, e.status), coalesce(r.name, e.code), coalesce(r.rule_version_id, p.rule_version_id),
           concat_ws('; ', e.detail, CASE WHEN e.blocking THEN 'blocks ' || coalesce(array_to_string(e.blocks, ', '), 'nothing') END,
                     e.resolution, 'root cause ' || e.root_cause)
    FROM referral.exception_item e
    LEFT JOIN referral.exception_rule r ON r.exception_rule_id = e.exception_rule_id
    LEFT JOIN referral.exception_policy p ON p.exception_policy_id = e.exception_policy_id
    WHERE e.org_id = explain_gates.org_id
      AND ((e.entity = explain_gates.entity AND e.entity_id = explain_gates.id) OR (explain_gates.entity = 'referral' AND e.referral_id = explain_gates.id))
    UNION ALL
    SELECT 'approval', a.requested_at, a.status, format('%s, level %s', a.policy, a.level), a.rule_version,
           concat_ws('; ', 'asked by ' || a.requested_by, a.reason, 'for ' || array_to_string(a.transitions, ', '))
    FROM referral.approval_request a
    WHERE a.org_id = explain_gates.org_id
      AND ((a.entity = explain_gates.entity AND a.entity_id = explain_gates.id) OR (explain_gates.entity = 'referral' AND a.referral_id = explain_gates.id))
    UNION ALL
    SELECT 'approval', d.decided_at, d.decision, format('%s, level %s', a.policy, a.level), a.rule_version,
           concat_ws('; ', 'by ' || d.decided_by, 'in place of ' || d.on_behalf_of, d.reason)
    FROM referral.approval_request a
    JOIN referral.approval_decision d ON d.org_id = a.org_id AND d.approval_request_id = a.approval_request_id
    WHERE a.org_id = explain_gates.org_id
      AND ((a.entity = explain_gates.entity AND a.entity_id = explain_gates.id) OR (explain_gates.entity = 'referral' AND a.referral_id = explain_gates.id));
END $$;
COMMENT ON FUNCTION referral.explain_gates(text, bigint, bigint) IS
'The part of explain() about what stands in the way of a row, and what was asked and answered about it: exceptions and approvals, of a referral also those about other rows that hold it up. Null for null: no rows.';

CREATE FUNCTION referral.explain(entity text, org_id bigint, id bigint)
RETURNS TABLE (kind text, decided_at timestamptz, what text, rule text, rule_version bigint, detail text)
LANGUAGE plpgsql STABLE STRICT ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM referral.entity e WHERE e.entity = explain.entity) THEN
        RAISE EXCEPTION 'there is no entity "%"', entity
            USING ERRCODE = 'RF019', DETAIL = 'Only tracked tables have decisions to explain.', HINT = 'SELECT entity FROM referral.entity.';
    END IF;
    RETURN QUERY
        SELECT x.*
        FROM (SELECT * FROM referral.explain_flow(explain.entity, explain.org_id, explain.id)
              UNION ALL SELECT * FROM referral.explain_work(explain.entity, explain.org_id, explain.id)
              UNION ALL SELECT * FROM referral.explain_gates(explain.entity, explain.org_id, explain.id)) x
        ORDER BY x.decided_at, x.kind, x.rule;
END $$;
COMMENT ON FUNCTION referral.explain(text, bigint, bigint) IS
'Why a row is where it is: every decision about it in order of time, with the rule and the version (referral.rule_version) that decided: its steps (transition), where it was sent (routing, handoff), its tasks, what stands in its way (exception, approval), its clocks and escalations, checks for completeness (validation), and what its present rank consists of (ranking). detail: who, and why. entity as in referral.entity, such as referral; with the caller''s rights. RF019 when there is no such entity. No rows for a row that is not visible, and for null.';

REVOKE ALL ON FUNCTION referral.queue_presence(bigint, bigint), referral.rank_reasons(bigint, bigint), referral.explain_flow(text, bigint, bigint),
    referral.explain_work(text, bigint, bigint), referral.explain_gates(text, bigint, bigint), referral.explain(text, bigint, bigint) FROM PUBLIC;
