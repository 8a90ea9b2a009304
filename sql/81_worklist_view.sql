-- worklist_view: what a coordinator opens in the morning, and why everything is as it is

-- ---------- What recommendations go by ----------

CREATE FUNCTION referral.has_blocking_exception(org_id bigint, referral_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'has_blocking_exception';
COMMENT ON FUNCTION referral.has_blocking_exception(bigint, bigint) IS
'Is an exception open that keeps the referral from a transition which leaves from the step where it is? One that blocks later ones only does not count yet. Null for null.';

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
'How often somebody has tried in vain to reach the patient of a referral: attempts with another outcome than reached. Null for null.';

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

CREATE FUNCTION referral.works_here(org_id bigint) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT referral.current_actor() = referral.acting_login()
        OR EXISTS (SELECT FROM referral.queue_member m WHERE m.org_id = works_here.org_id AND m.member = referral.current_actor())
        OR EXISTS (SELECT FROM referral.absence a WHERE a.org_id = works_here.org_id AND a.substitute = referral.current_actor())
$$;
COMMENT ON FUNCTION referral.works_here(bigint) IS
'Is who acts the login itself, or does he work on a queue of the organisation, or stand in for somebody? A person whom an application names and nobody knows has none of the roles of the application''s login. Null for null.';

CREATE FUNCTION referral.item_action(kind text, entity text, org_id bigint, id bigint, referral_id bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    CASE kind
    WHEN 'referral' THEN
        RETURN (SELECT concat_ws(': ', n.action, n.reason) FROM referral.next_best_action n
                WHERE n.org_id = item_action.org_id AND n.referral_id = item_action.referral_id);
    WHEN 'exception' THEN
        RETURN (SELECT concat_ws(': ', upper(left(q.what_to_do, 1)) || rtrim(substr(q.what_to_do, 2), '.'), q.detail) FROM referral.exception_queue q
                WHERE q.org_id = item_action.org_id AND q.exception_id = item_action.id AND item_action.entity = 'exception_item');
    WHEN 'approval' THEN
        RETURN (SELECT concat_ws(': ', 'Approve or reject it', p.explanation) FROM referral.approval_request a
                LEFT JOIN referral.approval_policy p ON p.approval_policy_id = a.approval_policy_id
                WHERE a.org_id = item_action.org_id AND a.approval_request_id = item_action.id AND item_action.entity = 'approval_request');
    WHEN 'review' THEN
        RETURN 'Compare it with the document: A model was not sure enough.';
    ELSE
        RETURN 'Do it, and complete it: A rule asks for it.';
    END CASE;
END $$;
COMMENT ON FUNCTION referral.item_action(text, text, bigint, bigint, bigint) IS
'What is to be done about a work item of a kind about a row, and why: for that of a referral the first of next_best_action, for an exception what exception_queue says. With the caller''s rights. Null when nothing is known.';

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

CREATE FUNCTION referral.status_history(entity text, org_id bigint, id bigint)
RETURNS TABLE (occurred_at timestamptz, journal_id bigint, status text, is_first boolean, actor text, changes jsonb)
LANGUAGE plpgsql STABLE STRICT ROWS 3 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- prepared once in a session
    RETURN QUERY
    SELECT j.occurred_at, j.journal_id, j.changes -> 'status' ->> 1, j.action = 'insert', j.actor, j.changes
    FROM referral.journal j
    WHERE j.org_id = status_history.org_id AND j.entity_id = status_history.id AND j.entity = status_history.entity AND j.changes ? 'status'
    ORDER BY j.journal_id;
END $$;
COMMENT ON FUNCTION referral.status_history(text, bigint, bigint) IS
'Each status that a row has had, by its journal: since when, by whom, and what else changed. is_first: with it the row came in. With the caller''s rights. Null for null: no rows.';

CREATE FUNCTION referral.explain_flow(entity text, org_id bigint, id bigint)
RETURNS TABLE (kind text, decided_at timestamptz, what text, rule text, rule_version bigint, detail text, journal_id bigint)
LANGUAGE plpgsql STABLE STRICT ROWS 20 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH step AS MATERIALIZED (
        SELECT j.* FROM referral.journal j
        WHERE j.org_id = explain_flow.org_id AND j.entity = explain_flow.entity AND j.entity_id = explain_flow.id AND j.to_step IS NOT NULL)
    SELECT 'transition', j.occurred_at, referral.describe_change(j.action, j.transition, j.from_step, j.to_step, NULL), j.transition, j.rule_version,
           concat_ws(', ', 'by ' || j.actor, j.reason), j.journal_id
    FROM step j
    UNION ALL
    -- the journal does not tell of clocks: they follow the step that they started, were stopped or ran out at
    SELECT 'clock', x.at, x.what, c.policy, c.rule_version, x.detail, (SELECT max(j.journal_id) FROM step j WHERE j.occurred_at <= x.at)
    FROM referral.sla_clock c
    CROSS JOIN LATERAL (VALUES
        ('started', c.started_at, concat_ws(', ', 'target ' || c.target,
            CASE WHEN c.nullified_at IS NULL AND c.stopped_at IS NULL THEN coalesce('due ' || c.due_at, 'paused') END)),
        ('breached', c.breached_at, 'due ' || c.due_at),
        (CASE WHEN c.breached_at IS NULL THEN 'met' ELSE 'stopped late' END, c.stopped_at, 'due ' || c.due_at),
        ('nullified', c.nullified_at, NULL)) x (what, at, detail)
    WHERE c.org_id = explain_flow.org_id AND c.entity = explain_flow.entity AND c.entity_id = explain_flow.id AND x.at IS NOT NULL
    UNION ALL
    SELECT 'escalation', e.fired_at, format('%s %s: %s', e.action, coalesce(e.argument, ''), e.outcome), format('%s, level %s', e.policy, e.level),
           c.rule_version, e.title, h.journal_id
    FROM referral.escalation e JOIN referral.sla_clock c ON c.org_id = e.org_id AND c.clock_id = e.clock_id
    LEFT JOIN LATERAL (SELECT min(j.journal_id) AS journal_id FROM referral.journal j
                       WHERE j.org_id = e.org_id AND j.entity_id = e.escalation_id AND j.entity = 'escalation') h ON true
    WHERE e.org_id = explain_flow.org_id AND e.entity = explain_flow.entity AND e.entity_id = explain_flow.id
    UNION ALL
    SELECT 'validation', v.checked_at,
           CASE WHEN v.passed THEN 'complete' ELSE format('%s missing, %s invalid', v.missing, v.invalid) END, s.name, n.id,
           (SELECT string_agg(f ->> 'code', ', ') FROM jsonb_array_elements(v.findings) f), h.journal_id
    FROM referral.validation_result v
    CROSS JOIN LATERAL unnest(v.rule_versions) n (id)
    JOIN referral.rule_version r ON r.rule_version_id = n.id
    JOIN referral.rule_set s USING (rule_set_id)
    LEFT JOIN LATERAL (SELECT min(j.journal_id) AS journal_id FROM referral.journal j
                       WHERE j.org_id = v.org_id AND j.entity_id = v.validation_result_id AND j.entity = 'validation_result') h ON true
    WHERE explain_flow.entity = 'referral' AND v.org_id = explain_flow.org_id AND v.referral_id = explain_flow.id;
END $$;
COMMENT ON FUNCTION referral.explain_flow(text, bigint, bigint) IS
'The part of explain() about the steps of a row, its clocks and their escalations, and, for a referral, its checks for completeness. journal_id: the journal row that tells of it, or that it follows. Null for null: no rows.';

CREATE FUNCTION referral.explain_work(entity text, org_id bigint, id bigint)
RETURNS TABLE (kind text, decided_at timestamptz, what text, rule text, rule_version bigint, detail text, journal_id bigint)
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
    SELECT 'routing', d.decided_at, concat('to ', q.name, CASE WHEN q.name <> d.target_queue THEN format(', in place of %s', d.target_queue) END),
           CASE d.reason WHEN 'rule' THEN d.rule END, d.rule_version,
           concat_ws('; ', 'by ' || d.decided_by, CASE d.reason WHEN 'fallback' THEN 'no rule fitted' END, d.explanation,
                     CASE d.reason WHEN 'person' THEN 'overrode rule ' || d.rule END, 'with ' || d.owner), h.journal_id
    FROM referral.routing_decision d JOIN referral.queue q ON q.org_id = d.org_id AND q.queue_id = d.queue_id
    LEFT JOIN LATERAL (SELECT min(j.journal_id) AS journal_id FROM referral.journal j
                       WHERE j.org_id = d.org_id AND j.entity_id = d.routing_decision_id AND j.entity = 'routing_decision') h ON true
    WHERE d.org_id = explain_work.org_id AND d.entity = explain_work.entity AND d.entity_id = explain_work.id
    UNION ALL
    SELECT 'handoff', s.occurred_at, format('%s to %s: %s', f.name, t.name, s.status), NULL, NULL,
           concat_ws('; ', CASE WHEN h.by_rule AND s.is_first THEN 'by a rule' ELSE 'by ' || s.actor END,
                     CASE WHEN s.is_first THEN h.reason ELSE s.changes -> 'return_reason' ->> 1 END), s.journal_id
    FROM item i
    JOIN referral.handoff h ON h.org_id = i.org_id AND h.work_item_id = i.work_item_id
    JOIN referral.queue f ON f.org_id = h.org_id AND f.queue_id = h.from_queue_id
    JOIN referral.queue t ON t.org_id = h.org_id AND t.queue_id = h.to_queue_id
    CROSS JOIN LATERAL referral.status_history('handoff', h.org_id, h.handoff_id) s
    UNION ALL
    SELECT 'task', s.occurred_at, format('%s: %s', i.title, CASE WHEN s.is_first THEN 'opened' ELSE s.status END), i.task, t.rule_version_id,
           concat_ws('; ', 'by ' || s.actor, CASE WHEN NOT s.is_first THEN i.outcome END), s.journal_id
    FROM item i
    LEFT JOIN referral.task_template t ON t.task_template_id = i.task_template_id
    CROSS JOIN LATERAL referral.status_history('work_item', i.org_id, i.work_item_id) s
    WHERE i.kind = 'task' AND (s.is_first OR s.status IN ('completed', 'cancelled', 'entered-in-error'))
    UNION ALL
    SELECT 'ranking', referral.as_of(), format('%s points', round(x.points, 1)), x.factor, x.rule_version, concat_ws('; ', x.explanation, x.value), NULL
    FROM item i
    CROSS JOIN LATERAL referral.explain_rank(i.org_id, i.work_item_id, referral.as_of()) x
    WHERE i.kind <> 'task' AND i.closed_at IS NULL;
END $$;
COMMENT ON FUNCTION referral.explain_work(text, bigint, bigint) IS
'The part of explain() about the work on a row: where it was sent, handed over and why, the tasks that came up, and what its rank consists of. journal_id: the journal row that tells of it. Null for null: no rows.';

CREATE FUNCTION referral.explain_gates(entity text, org_id bigint, id bigint)
RETURNS TABLE (kind text, decided_at timestamptz, what text, rule text, rule_version bigint, detail text, journal_id bigint)
LANGUAGE plpgsql STABLE STRICT ROWS 20 SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH request AS MATERIALIZED (
        SELECT a.*, format('%s, level %s', a.policy, a.level) AS rule FROM referral.approval_request a
        WHERE a.org_id = explain_gates.org_id
          AND ((a.entity = explain_gates.entity AND a.entity_id = explain_gates.id) OR (explain_gates.entity = 'referral' AND a.referral_id = explain_gates.id)
               OR (explain_gates.entity = 'approval_request' AND a.approval_request_id = explain_gates.id)))
    SELECT 'exception', s.occurred_at, format('%s: %s', e.category, CASE WHEN s.is_first THEN 'opened' WHEN s.status = 'open' THEN 'opened again' ELSE s.status END),
           coalesce(r.name, e.code), coalesce(r.rule_version_id, p.rule_version_id),
           CASE WHEN s.status IN ('resolved', 'dismissed')
                THEN concat_ws('; ', 'by ' || s.actor, s.changes -> 'resolution' ->> 1, 'root cause ' || (s.changes -> 'root_cause' ->> 1))
                ELSE concat_ws('; ', 'by ' || s.actor, e.detail, CASE WHEN e.blocking THEN 'blocks ' || coalesce(array_to_string(e.blocks, ', '), 'nothing') END) END,
           s.journal_id
    FROM referral.exception_item e
    LEFT JOIN referral.exception_rule r ON r.exception_rule_id = e.exception_rule_id
    LEFT JOIN referral.exception_policy p ON p.exception_policy_id = e.exception_policy_id
    CROSS JOIN LATERAL referral.status_history('exception_item', e.org_id, e.exception_id) s
    WHERE e.org_id = explain_gates.org_id
      AND ((e.entity = explain_gates.entity AND e.entity_id = explain_gates.id) OR (explain_gates.entity = 'referral' AND e.referral_id = explain_gates.id)
           OR (explain_gates.entity = 'exception_item' AND e.exception_id = explain_gates.id))
    UNION ALL
    SELECT 'approval', s.occurred_at, CASE WHEN s.is_first THEN 'asked' ELSE s.status END, a.rule, a.rule_version,
           CASE WHEN s.is_first THEN concat_ws('; ', 'by ' || a.requested_by, a.reason, 'for ' || array_to_string(a.transitions, ', '))
                WHEN s.status = 'withdrawn' THEN 'by ' || s.actor END, s.journal_id
    FROM request a
    CROSS JOIN LATERAL referral.status_history('approval_request', a.org_id, a.approval_request_id) s
    UNION ALL
    SELECT 'approval', d.decided_at, d.decision, a.rule, a.rule_version,
           concat_ws('; ', 'by ' || d.decided_by, 'in place of ' || d.on_behalf_of, d.reason), h.journal_id
    FROM request a
    JOIN referral.approval_decision d ON d.org_id = a.org_id AND d.approval_request_id = a.approval_request_id
    LEFT JOIN LATERAL (SELECT min(j.journal_id) AS journal_id FROM referral.journal j
                       WHERE j.org_id = d.org_id AND j.entity_id = d.approval_decision_id AND j.entity = 'approval_decision') h ON true;
END $$;
COMMENT ON FUNCTION referral.explain_gates(text, bigint, bigint) IS
'The part of explain() about what stands in the way of a row, and what was asked and answered about it: exceptions and approvals, of a referral also those about other rows that hold it up; of an exception or an approval itself, who opened or asked for it, by which rule, and how it was settled. journal_id: the journal row that tells of it. Null for null: no rows.';

CREATE FUNCTION referral.explain(entity text, org_id bigint, id bigint)
RETURNS TABLE (kind text, decided_at timestamptz, what text, rule text, rule_version bigint, detail text)
LANGUAGE plpgsql STABLE STRICT ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM referral.entity e WHERE e.entity = explain.entity) THEN
        RAISE EXCEPTION 'there is no entity "%"', entity
            USING ERRCODE = 'RF019', DETAIL = 'Only tracked tables have decisions to explain.', HINT = 'SELECT entity FROM referral.entity.';
    END IF;
    RETURN QUERY
        SELECT x.kind, x.decided_at, x.what, x.rule, x.rule_version, x.detail
        FROM (SELECT * FROM referral.explain_flow(explain.entity, explain.org_id, explain.id)
              UNION ALL SELECT * FROM referral.explain_work(explain.entity, explain.org_id, explain.id)
              UNION ALL SELECT * FROM referral.explain_gates(explain.entity, explain.org_id, explain.id)) x
        -- within an instant in the order of the journal: the cause goes before what it causes
        ORDER BY x.kind = 'ranking', x.decided_at, x.journal_id, x.kind <> 'transition', array_position('{started,breached}', x.what), x.rule;
END $$;
COMMENT ON FUNCTION referral.explain(text, bigint, bigint) IS
'Why a row is where it is: what happened to it, each at its time and in its order, with the rule and the version (referral.rule_version) that decided: its steps (transition), where it was sent (routing, handoff), its tasks, what stands in its way (exception, approval), its clocks and escalations, checks for completeness (validation); at the end what its present rank consists of (ranking). rule is null where a person decided. detail: who, and why. entity as in referral.entity, such as referral, exception_item or approval_request; with the caller''s rights. RF019 when there is no such entity. No rows for a row that is not visible, and for null.';

REVOKE ALL ON FUNCTION referral.works_here(bigint), referral.item_action(text, text, bigint, bigint, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION referral.queue_presence(bigint, bigint), referral.rank_reasons(bigint, bigint), referral.status_history(text, bigint, bigint),
    referral.explain_flow(text, bigint, bigint), referral.explain_work(text, bigint, bigint), referral.explain_gates(text, bigint, bigint),
    referral.explain(text, bigint, bigint) FROM PUBLIC;
