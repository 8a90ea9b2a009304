-- routing: which queue a row's work goes to, and why

-- ---------- What rules may ask for ----------

CREATE FUNCTION referral.language_tag(language text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT nullif(split_part(replace(lower(btrim(language)), '_', '-'), '-', 1), '')
$$;
COMMENT ON FUNCTION referral.language_tag(text) IS
'A language without its region, in lower case: es of es-MX. Null for null and for an empty text.';

CREATE FUNCTION referral.patient_language(org_id bigint, patient_id bigint) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT referral.language_tag(p.language) FROM referral.patient p
            WHERE p.org_id = patient_language.org_id AND p.patient_id = patient_language.patient_id);
END $$;
COMMENT ON FUNCTION referral.patient_language(bigint, bigint) IS
'The language of a patient, without its region: es. For rules. Null when it is not known, for null and for a patient that is not visible.';

CREATE FUNCTION referral.patient_postal_code(org_id bigint, patient_id bigint) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT p.postal_code FROM referral.patient p
            WHERE p.org_id = patient_postal_code.org_id AND p.patient_id = patient_postal_code.patient_id);
END $$;
COMMENT ON FUNCTION referral.patient_postal_code(bigint, bigint) IS
'The postal code of a patient, for rules by geography. Null when it is not known, for null and for a patient that is not visible.';

CREATE FUNCTION referral.payer_identifier(org_id bigint, payer_id bigint) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT p.identifier FROM referral.payer p
            WHERE p.org_id = payer_identifier.org_id AND p.payer_id = payer_identifier.payer_id);
END $$;
COMMENT ON FUNCTION referral.payer_identifier(bigint, bigint) IS
'The number of a payer that others know it by, for rules of all organisations. Null when it has none, for null and for a payer that is not visible.';

CREATE FUNCTION referral.complexity(org_id bigint, referral_id bigint) RETURNS integer
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT (coalesce(r.authorization_required, false) AND r.authorization_number IS NULL)::integer
             + (r.network_status = 'out_of_network')::integer
             + (r.urgency >= 'asap')::integer
             + ((SELECT count(*) FROM referral.referral_code c WHERE c.org_id = r.org_id AND c.referral_id = r.referral_id AND c.active) > 3)::integer
             + ((SELECT count(*) FROM referral.coverage k
                 WHERE k.org_id = r.org_id AND k.patient_id = r.patient_id AND k.status = 'active' AND k.period @> current_date) > 1)::integer
             + (SELECT count(*) FROM referral.exception_item e
                WHERE e.org_id = r.org_id AND e.referral_id = r.referral_id AND e.status IN ('open', 'in_progress'))::integer
        FROM referral.referral r
        WHERE r.org_id = complexity.org_id AND r.referral_id = complexity.referral_id);
END $$;
COMMENT ON FUNCTION referral.complexity(bigint, bigint) IS
'How much stands in the way of a referral, as it is stored: one point each for an authorization that is needed and not there, out of network, urgency asap or stat, more than three codes, more than one coverage in force today, and each open exception. Null for null and for a referral that is not visible.';

-- ---------- Who of a team ----------

CREATE FUNCTION referral.pick_member(org_id bigint, queue_id bigint, language text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m record;
BEGIN
    FOR m IN SELECT p.member, p.capacity, p.queue_member_id
             FROM referral.present_members(pick_member.org_id, pick_member.queue_id) p
             CROSS JOIN LATERAL (SELECT count(*) AS items FROM referral.work_item w
                                 WHERE w.org_id = pick_member.org_id AND w.owner = p.member AND w.queue_id = pick_member.queue_id
                                   AND w.status = 'in-progress') l
             WHERE p.capacity IS NULL OR l.items < p.capacity
             ORDER BY referral.language_tag(pick_member.language) IN (SELECT referral.language_tag(x) FROM unnest(p.languages) x) IS TRUE DESC,
                      l.items, p.member
    LOOP
        IF m.capacity IS NULL THEN
            RETURN m.member;
        END IF;
        -- who is being given work elsewhere just now is passed over: nobody waits here, so there is no deadlock either
        PERFORM FROM referral.queue_member q
        WHERE q.org_id = pick_member.org_id AND q.queue_member_id = m.queue_member_id FOR NO KEY UPDATE SKIP LOCKED;
        IF FOUND AND referral.room_of(org_id, queue_id, m.member) > 0 THEN
            RETURN m.member;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.pick_member(bigint, bigint, text) IS
'Who of those who work on a queue now gets the next item: who speaks the language before others, then who has the fewest items of the queue, among those who have room. Null when nobody has room: the item waits in the queue. Where there is a limit, the membership stays locked until the end of the transaction.';

-- ---------- Deciding ----------

CREATE FUNCTION referral.fallback_queue(entity text) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'fallback_queue';
COMMENT ON FUNCTION referral.fallback_queue(text) IS
'The queue for rows of an entity that no routing rule fits: that of its rule of work_source, else manual_triage. Null for null.';

CREATE FUNCTION referral.decide_route(entity text, org_id bigint, id bigint, referral_id bigint, routing_rule_id bigint, with_owner boolean)
RETURNS record
LANGUAGE C AS 'MODULE_PATHNAME', 'decide_route';
COMMENT ON FUNCTION referral.decide_route(text, bigint, bigint, bigint, bigint, boolean) IS
'Decides where the work on a row goes by a routing rule, by none for null, records that in routing_decision and returns the row. with_owner: also who gets it, where the rule says so. Writes with the rights of the model''s owner. Null, and nothing is recorded, without entity, org_id or id.';

CREATE FUNCTION referral.lock_routed_item(entity text, org_id bigint, id bigint) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item;
BEGIN
    SELECT * INTO i FROM referral.work_item w
    WHERE w.org_id = lock_routed_item.org_id AND w.entity_id = lock_routed_item.id AND w.entity = lock_routed_item.entity
      AND w.kind <> 'task' AND w.closed_at IS NULL
    ORDER BY w.is_primary DESC, w.work_item_id LIMIT 1 FOR UPDATE;
    RETURN i;
END $$;
COMMENT ON FUNCTION referral.lock_routed_item(text, bigint, bigint) IS
'Locks the open work item of a row that routing is about, no task, and returns it; a row of nulls when there is none.';

CREATE FUNCTION referral.place_item(item record, decision record) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF item.queue_id <> decision.queue_id THEN
        PERFORM referral.hand_over_by_rule(item, decision.queue_id, coalesce(decision.explanation, 'routing rule ' || decision.rule),
                                           'route', decision.routing_decision_id);
    END IF;
    IF decision.owner IS NOT NULL THEN
        PERFORM referral.give_item(item.org_id, item.work_item_id, decision.owner, 'assign');
    END IF;
END $$;
COMMENT ON FUNCTION referral.place_item(record, record) IS
'Puts an open work item where a routing decision sends it, as hand_over_by_rule() does, and gives it to who gets it by the decision. Writes with the caller''s rights.';

CREATE FUNCTION referral.standing_override(entity text, org_id bigint, id bigint, routing_rule_id bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last record;
BEGIN
    SELECT p.routing_decision_id, p.reason, p.rule INTO last FROM referral.routing_decision p
    WHERE p.org_id = standing_override.org_id AND p.entity_id = standing_override.id AND p.entity = standing_override.entity
    ORDER BY p.routing_decision_id DESC LIMIT 1;
    IF last.reason = 'person'
       AND last.rule IS NOT DISTINCT FROM (SELECT r.name FROM referral.routing_rule r WHERE r.routing_rule_id = standing_override.routing_rule_id) THEN
        RETURN last.routing_decision_id;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.standing_override(text, bigint, bigint, bigint) IS
'The routing_decision_id by which a person has put aside this routing rule (or, for null, that none fits) for a row, while it is the last decision about it: rules that come to the same again do not undo it. Null when there is none.';

CREATE FUNCTION referral.route_row(entity text, org_id bigint, id bigint, rules bigint[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item := referral.lock_routed_item(entity, org_id, id);
    d referral.routing_decision;
BEGIN
    -- nothing to move, no rule says anything new, or a person has put this very rule aside
    IF i.work_item_id IS NULL OR rules = '{}' OR referral.standing_override(entity, org_id, id, rules[1]) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    d := referral.decide_route(entity, org_id, id, i.referral_id, rules[1], i.status = 'ready');
    PERFORM referral.place_item(i, d);
    RETURN d.routing_decision_id;
END $$;
COMMENT ON FUNCTION referral.route_row(text, bigint, bigint, bigint[]) IS
'Routes the open work item of a row by the first of these routing rules, and returns the routing_decision_id: it is moved while nobody has it, and handed over otherwise. Null, and nothing happens, when there is none, when no rule fits, and when a person has overridden the very rule. Called by the trigger work; an item that is opened is routed as it is.';

CREATE FUNCTION referral.route(org_id bigint, referral_id bigint,
    OUT routing_decision_id bigint, OUT queue text, OUT owner text, OUT rule text, OUT rule_version bigint, OUT reason text, OUT explanation text)
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r referral.referral;
    i referral.work_item;
    d referral.routing_decision;
    rule_id bigint;
    standing bigint;
BEGIN
    IF referral.may_change_org(route.org_id) THEN
        SELECT * INTO r FROM referral.referral x WHERE x.org_id = route.org_id AND x.referral_id = route.referral_id;
    END IF;
    i := referral.lock_routed_item('referral', r.org_id, r.referral_id);
    IF i.work_item_id IS NULL THEN
        PERFORM referral.refuse_route(route.org_id, route.referral_id, r.state);
    END IF;
    rule_id := (referral.matching_rules('routing_rule', 'referral', r.org_id, r, true))[1];
    -- people decide anew, systems keep what a person has decided
    IF NOT referral.require_rerouter(i, rule_id) THEN
        standing := referral.standing_override('referral', r.org_id, r.referral_id, rule_id);
    END IF;
    IF standing IS NULL THEN
        d := referral.decide_route('referral', r.org_id, r.referral_id, r.referral_id, rule_id, i.status = 'ready');
        PERFORM referral.place_item(i, d);
    ELSE
        SELECT * INTO d FROM referral.routing_decision p WHERE p.org_id = r.org_id AND p.routing_decision_id = standing;
    END IF;
    routing_decision_id := d.routing_decision_id;
    queue := (SELECT q.name FROM referral.queue q WHERE q.org_id = d.org_id AND q.queue_id = d.queue_id);
    owner := d.owner;
    rule := d.rule;
    rule_version := d.rule_version;
    reason := d.reason;
    explanation := d.explanation;
END $$;
COMMENT ON FUNCTION referral.route(bigint, bigint) IS
'Routes a referral anew by the rules that are active now and returns the decision as it is recorded in routing_decision: queue is where the work goes now, owner who gets it, null when it waits in the queue. Without a rule that fits it goes to manual_triage. An item that nobody has is moved; one that somebody has, or that waits to be accepted, is handed over. For people who lead the queue that it comes from or goes to, and for systems; a person puts an end to what override_route() has decided, a system leaves it as long as the same rule fits, and gets that decision. RF001 when the referral has no open work item; RF003 for others, and for models; RF019 when it does not exist or is not visible. Null for null.';

CREATE FUNCTION referral.require_rerouter(item record, routing_rule_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind text := referral.current_actor_kind(item.org_id);
BEGIN
    -- a person who calls himself a system stays one
    IF kind = 'user' AND (referral.leads_queue(item.org_id, item.queue_id)
           OR referral.leads_queue(item.org_id, referral.queue_for(item.org_id,
                  coalesce((SELECT r.queue FROM referral.routing_rule r WHERE r.routing_rule_id = require_rerouter.routing_rule_id),
                           referral.fallback_queue('referral')))))
       OR kind = 'system' AND pg_has_role(referral.acting_login(), 'referral_integration', 'MEMBER') THEN
        RETURN kind = 'user';
    END IF;
    RAISE EXCEPTION 'only who leads the queue may have the work routed anew'
        USING ERRCODE = 'RF003', DETAIL = 'It is for people who lead the queue that it comes from or goes to, and for systems; not for models.',
              HINT = 'See manager in referral.queue, and is_lead in referral.queue_member; who works on the item may call referral.override_route().';
END $$;
COMMENT ON FUNCTION referral.require_rerouter(record, bigint) IS
'Refuses (RF003) whoever may not have an item routed anew by a rule (null: by none): models, and people who lead neither the queue that it comes from nor the one that it goes to; a system has to be a member of referral_integration. Else: is it a person?';

CREATE FUNCTION referral.refuse_route(org_id bigint, referral_id bigint, state referral.state) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF state IS NULL THEN
        RAISE EXCEPTION 'there is no referral % in organisation %', referral_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'Check org_id and referral_id.';
    END IF;
    RAISE EXCEPTION 'referral % has no open work item', referral_id
        USING ERRCODE = 'RF001', DETAIL = format('It is %s.', state), HINT = 'What has come to its end is not routed.';
END $$;
COMMENT ON FUNCTION referral.refuse_route(bigint, bigint, referral.state) IS
'Refuses to route a referral: RF019 when there is none (state null), RF001 when it has no open work item.';

CREATE FUNCTION referral.override_route(org_id bigint, referral_id bigint, queue text, reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    i referral.work_item;
    last referral.routing_decision;
    d referral.routing_decision;
    target bigint;
BEGIN
    PERFORM referral.require_reason(reason);
    IF referral.may_change_org(override_route.org_id) THEN
        i := referral.lock_routed_item('referral', org_id, referral_id);
    END IF;
    IF i.work_item_id IS NULL THEN
        PERFORM referral.refuse_route(org_id, referral_id, (SELECT r.state FROM referral.referral r
            WHERE r.org_id = override_route.org_id AND r.referral_id = override_route.referral_id AND referral.may_change_org(r.org_id)));
    END IF;
    PERFORM referral.require_router(i);
    target := referral.effective_queue(org_id, referral.queue_named(org_id, queue));
    SELECT * INTO last FROM referral.routing_decision p
    WHERE p.org_id = override_route.org_id AND p.entity_id = override_route.referral_id AND p.entity = 'referral'
    ORDER BY p.routing_decision_id DESC LIMIT 1;
    INSERT INTO referral.routing_decision AS n (org_id, entity, entity_id, referral_id, reason, routing_rule_id, rule_version, rule,
        overrides_id, target_queue, queue_id, explanation)
    VALUES (org_id, 'referral', referral_id, referral_id, 'person', last.routing_rule_id, last.rule_version, last.rule,
        last.routing_decision_id, queue, target, reason)
    RETURNING n.* INTO d;
    PERFORM referral.place_item(i, d);
    RETURN d.routing_decision_id;
END $$;
COMMENT ON FUNCTION referral.override_route(bigint, bigint, text, text) IS
'Sends the work on a referral to another queue than the rules did, or to the one that it falls back to now, and returns the routing_decision_id. The decision stands until a change of the referral lets another rule than the overridden one fit, a person calls route() or override_route(), or the item is completed; routing_quality counts it. An item that nobody has is moved; one that somebody has is handed over. For people: who has the item, members of its queue while nobody has it, and who leads the queue. RF001 when the referral has no open work item; RF003 for others; RF005 without a reason; RF019 when there is no such referral or queue, also for null.';

CREATE FUNCTION referral.require_router(item record) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text := referral.current_actor();
BEGIN
    IF referral.current_actor_kind(item.org_id) IS DISTINCT FROM 'user'
       OR NOT (item.owner IS NOT DISTINCT FROM actor
               OR (item.owner IS NULL AND referral.queue_membership(item.org_id, item.queue_id, actor) IS NOT NULL)
               OR referral.leads_queue(item.org_id, item.queue_id)) THEN
        RAISE EXCEPTION 'only a person who works on the item may send it elsewhere'
            USING ERRCODE = 'RF003', DETAIL = 'Who has it may, a member of its queue while nobody has it, and who leads the queue.',
                  HINT = 'See owner in referral.work_item, and referral.queue_member; rules route with referral.route().';
    END IF;
END $$;
COMMENT ON FUNCTION referral.require_router(record) IS
'Refuses (RF003) whoever may not override where an item goes: systems, models, and people who neither have it, nor work on its queue while nobody has it, nor lead the queue.';

-- ---------- Trying ----------

CREATE FUNCTION referral.routing_defaults(entity text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    defaults text;
    found jsonb;
BEGIN
    SELECT string_agg(format('%s AS %I', pg_get_expr(d.adbin, d.adrelid), a.attname), ', ') INTO defaults
    FROM referral.entity e
    JOIN pg_attribute a ON a.attrelid = e.relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> 'org_id'
    JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE e.entity = routing_defaults.entity
      AND NOT EXISTS (SELECT FROM pg_depend n WHERE n.classid = 'pg_attrdef'::regclass AND n.objid = d.oid AND n.refclassid = 'pg_class'::regclass
                        AND n.refobjid IN (SELECT s.oid FROM pg_class s WHERE s.relkind = 'S'));
    IF defaults IS NOT NULL THEN
        EXECUTE format('SELECT to_jsonb(d) FROM (SELECT %s) d', defaults) INTO found;
    END IF;
    RETURN coalesce(found, '{}') || coalesce((
        SELECT jsonb_build_object('workflow_id', w.workflow_id, 'step', s.step, 'state', s.state, 'entered_at', now())
        FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id) JOIN referral.workflow_step s USING (workflow_id)
        WHERE w.entity = routing_defaults.entity AND v.status = 'active' AND s.is_initial
        ORDER BY num_nonnulls(w.applies_when, w.scope_org_id, w.scope_region, w.scope_site_id, w.scope_specialty), w.priority, w.workflow_id
        LIMIT 1), '{}');
END $$;
COMMENT ON FUNCTION referral.routing_defaults(text) IS
'What a new row of an entity has when nothing is said: the defaults of its columns but org_id, and the step where its most general active workflow begins.';

CREATE FUNCTION referral.routing_candidate(entity text, org_id bigint, candidate jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
    stored jsonb;
    unknown text;
BEGIN
    SELECT x.relation, x.id_column INTO e FROM referral.entity x WHERE x.entity = routing_candidate.entity;
    SELECT string_agg(k, ', ') INTO unknown FROM jsonb_object_keys(candidate) k
    WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = e.relation AND a.attname = k AND a.attnum > 0 AND NOT a.attisdropped);
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'entity "%" has no column "%"', entity, unknown
            USING ERRCODE = 'RF020', DETAIL = 'The row to be tried is given with the columns of its table.',
                  HINT = 'For example {"specialty": "cardiology", "urgency": "urgent"}, or {"referral_id": 7, "urgency": "stat"}.';
    END IF;
    IF candidate ->> e.id_column IS NOT NULL THEN
        IF has_table_privilege(referral.acting_login(), e.relation, 'SELECT') THEN
            stored := to_jsonb(referral.work_row(entity, org_id, (candidate ->> e.id_column)::bigint));
        END IF;
        IF stored IS NULL THEN
            RAISE EXCEPTION 'there is no % % in organisation %', entity, candidate ->> e.id_column, org_id
                USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'Leave it out to try a row that is not stored.';
        END IF;
    END IF;
    RETURN coalesce(stored, referral.routing_defaults(entity)) || candidate || jsonb_build_object('org_id', org_id);
END $$;
COMMENT ON FUNCTION referral.routing_candidate(text, bigint, jsonb) IS
'The row that test_routing() tries: the stored one when its id is given, else the defaults of a new one, with the given columns in their place. RF019 when there is no such row, or the session may not read it; RF020 for a column that the table does not have.';

CREATE FUNCTION referral.test_routing(candidate jsonb, org_id bigint DEFAULT referral.current_org(), entity text DEFAULT 'referral')
RETURNS TABLE (chosen boolean, rule text, priority integer, queue text, effective_queue text, healthcare_service text, assign text,
               explanation text, routing_rule_id bigint, rule_version bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    target regclass := (SELECT e.relation FROM referral.entity e WHERE e.entity = test_routing.entity);
    rules bigint[];
BEGIN
    IF referral.may_change_org(test_routing.org_id) IS NOT TRUE OR target IS NULL OR jsonb_typeof(candidate) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'routing is tried for a row of an entity, in an organisation of the session'
            USING ERRCODE = 'RF020', DETAIL = 'The first argument is a JSON object; the second is an organisation that the session works for, the third an entity.',
                  HINT = 'For example test_routing(''{"specialty": "cardiology"}'', 1); see referral.entity.';
    END IF;
    BEGIN
        EXECUTE format('SELECT referral.matching_rules(''routing_rule'', $2, $3, jsonb_populate_record(NULL::%s, $1))', target)
        INTO rules USING referral.routing_candidate(test_routing.entity, test_routing.org_id, candidate), test_routing.entity, test_routing.org_id;
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION 'a value does not fit its column'
            USING ERRCODE = 'RF020', DETAIL = format('The object is read as a row of %s.', target),
                  HINT = 'Write values as the columns have them: see the types of the table.';
    END;
    RETURN QUERY
        SELECT t.n = 1, r.name, r.priority, t.queue,
               (SELECT q.name FROM referral.queue q
                WHERE q.org_id = test_routing.org_id
                  AND q.queue_id = referral.effective_queue(test_routing.org_id,
                      (SELECT x.queue_id FROM referral.queue x WHERE x.org_id = test_routing.org_id AND x.name IN (t.queue, 'manual_triage')
                       ORDER BY x.name = t.queue DESC LIMIT 1))),
               r.healthcare_service, r.assign, coalesce(r.explanation, CASE WHEN r.name IS NULL THEN 'No routing rule fits.' END),
               r.routing_rule_id, r.rule_version_id
        FROM (SELECT u.n, u.id, x.queue FROM unnest(rules) WITH ORDINALITY u (id, n) JOIN referral.routing_rule x ON x.routing_rule_id = u.id
              UNION ALL SELECT 1, NULL, referral.fallback_queue(test_routing.entity) WHERE rules = '{}') t (n, id, queue)
        LEFT JOIN referral.routing_rule r ON r.routing_rule_id = t.id
        ORDER BY t.n;
END $$;
COMMENT ON FUNCTION referral.test_routing(jsonb, bigint, text) IS
'Tries the active routing rules on a row without writing anything: all that fit, in their order; the chosen one is the first. One row without a rule when none fits. candidate: the columns of the row as JSON; what is left out is as in a new row, or, when the id of a stored row is given, as that one is. effective_queue: where the work would go now, when the queue is not active or nobody of it is there. RF019 when there is no such row, or the session may not read it; RF020 for what is not a row of the entity.';

CREATE FUNCTION referral.check_routing_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
BEGIN
    IF to_regclass('referral.routing_rule') IS NULL THEN
        RETURN;
    END IF;
    FOR r IN SELECT x.name, x.queue, x.healthcare_service FROM referral.routing_rule x
             WHERE x.rule_version_id = check_routing_version.rule_version_id
    LOOP
        PERFORM referral.warn_queue(r.queue, format('routing rule "%s"', r.name));
        IF r.healthcare_service IS NOT NULL
           AND NOT EXISTS (SELECT FROM referral.healthcare_service h WHERE h.name = r.healthcare_service) THEN
            RAISE WARNING 'no organisation has a healthcare service "%"', r.healthcare_service
                USING DETAIL = format('Routing rule "%s" would put it first among the candidates.', r.name),
                      HINT = 'Make the service, or correct the name.';
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.check_routing_version(bigint) IS
'The part of check_rule_version() about routing: warns of queues and services that no organisation has, which it looks up with the owner''s rights, since authors of rules do not see them. Null for null.';

-- ---------- Where the patient could go ----------

CREATE FUNCTION referral.distance_km(latitude_a numeric, longitude_a numeric, latitude_b numeric, longitude_b numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT round((2 * 6371.0 * asin(least(1, sqrt(
        sind((latitude_b - latitude_a)::float8 / 2) ^ 2
        + cosd(latitude_a::float8) * cosd(latitude_b::float8) * sind((longitude_b - longitude_a)::float8 / 2) ^ 2))))::numeric, 1)
$$;
COMMENT ON FUNCTION referral.distance_km(numeric, numeric, numeric, numeric) IS
'Kilometres between two places given in degrees, along the great circle, to 0.1. Null for null.';

CREATE FUNCTION referral.service_wait(org_id bigint, healthcare_service_id bigint, today date,
    OUT free_slots integer, OUT first_free date, OUT basis text)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    weekly integer;
BEGIN
    SELECT sum(a.free), min(a.day) FILTER (WHERE a.free > 0), max('slots') INTO free_slots, first_free, basis
    FROM referral.service_availability a
    WHERE a.org_id = service_wait.org_id AND a.healthcare_service_id = service_wait.healthcare_service_id
      AND a.day BETWEEN today AND today + 90;
    IF basis IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT s.weekly_capacity INTO weekly FROM referral.healthcare_service s
    WHERE s.org_id = service_wait.org_id AND s.healthcare_service_id = service_wait.healthcare_service_id;
    IF weekly IS NULL THEN
        RETURN;
    END IF;
    basis := 'weekly capacity';
    SELECT sum(greatest(weekly - w.booked, 0)), min(w.starts) FILTER (WHERE w.booked < weekly) INTO free_slots, first_free
    FROM (SELECT today + 7 * n AS starts, (SELECT count(*) FROM referral.appointment a
                                           WHERE a.org_id = service_wait.org_id AND a.healthcare_service_id = service_wait.healthcare_service_id
                                             AND a.starts_at >= today + 7 * n AND a.starts_at < today + 7 * n + 7
                                             AND a.step IN ('pending', 'booked', 'arrived', 'checked-in', 'fulfilled')) AS booked
          FROM generate_series(0, 12) n) w;
END $$;
COMMENT ON FUNCTION referral.service_wait(bigint, bigint, date) IS
'How much room a service has in the next 90 days, and when first: by its service_capacity less what is booked (basis: slots), else by its weekly_capacity, week by week (basis: weekly capacity). All null when neither is known; first_free null when there is no room. Null for null.';

CREATE FUNCTION referral.candidate_services(org_id bigint, referral_id bigint, max integer DEFAULT 5)
RETURNS TABLE (healthcare_service_id bigint, service text, provider_organization text, site text, network referral.network_status,
               free_slots integer, first_free date, wait_days integer, distance_km numeric, same_region boolean, why text)
LANGUAGE plpgsql STABLE STRICT ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r referral.referral;
    home referral.site;
    today date;
    named text;
BEGIN
    PERFORM referral.require_number(max);
    SELECT * INTO r FROM referral.referral x WHERE x.org_id = candidate_services.org_id AND x.referral_id = candidate_services.referral_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no referral % in organisation %', candidate_services.referral_id, candidate_services.org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'Check org_id and referral_id.';
    END IF;
    SELECT * INTO home FROM referral.site x WHERE x.org_id = r.org_id AND x.site_id = r.site_id;
    today := (now() AT TIME ZONE coalesce(home.timezone, 'UTC'))::date;
    SELECT p.healthcare_service INTO named FROM referral.routing_decision p
    WHERE p.org_id = r.org_id AND p.entity_id = r.referral_id AND p.entity = 'referral' AND p.healthcare_service IS NOT NULL
    ORDER BY p.routing_decision_id DESC LIMIT 1;
    RETURN QUERY
        SELECT c.healthcare_service_id, c.name, c.organization, c.site, c.network, w.free_slots, w.first_free, w.first_free - today,
               c.distance, c.same_region,
               concat_ws('; ',
                   CASE WHEN c.is_requested THEN 'the referral asks for it' END,
                   CASE WHEN c.is_named THEN 'a routing rule names it' END,
                   CASE c.network WHEN 'in_network' THEN 'in the network of the payer' WHEN 'out_of_network' THEN 'out of the network of the payer'
                                  ELSE 'network not known' END,
                   CASE WHEN w.basis IS NULL THEN 'capacity not known'
                        WHEN w.first_free IS NULL THEN 'nothing free within 90 days'
                        ELSE format('first free on %s (%s), %s free within 90 days', w.first_free,
                                    CASE w.basis WHEN 'slots' THEN 'a slot' ELSE 'by its weekly capacity' END, w.free_slots) END,
                   coalesce(c.distance || ' km away', 'distance not known'),
                   CASE WHEN c.same_region THEN 'in the same region' END)
        FROM (SELECT s.healthcare_service_id, s.name, o.name AS organization, l.name AS site,
                     referral.network_status_of(s.org_id, r.payer_id, r.plan_id, NULL, s.provider_organization_id, s.healthcare_service_id, today) AS network,
                     referral.distance_km(home.latitude, home.longitude, coalesce(l.latitude, o.latitude), coalesce(l.longitude, o.longitude)) AS distance,
                     coalesce(r.region, home.region) = coalesce(l.region, o.region) AS same_region,
                     coalesce(s.healthcare_service_id = r.healthcare_service_id, false) AS is_requested, coalesce(s.name = named, false) AS is_named
              FROM referral.healthcare_service s
              LEFT JOIN referral.site l ON l.org_id = s.org_id AND l.site_id = s.site_id
              LEFT JOIN referral.provider_organization o ON o.org_id = s.org_id AND o.provider_organization_id = s.provider_organization_id
              WHERE s.org_id = r.org_id AND s.active AND s.accepts_new
                AND (s.healthcare_service_id = r.healthcare_service_id OR lower(s.specialty) = lower(r.specialty)
                     OR (s.specialty IS NULL AND lower(s.service_line) = lower(r.service_line)))) c
        CROSS JOIN LATERAL referral.service_wait(r.org_id, c.healthcare_service_id, today) w
        ORDER BY c.is_requested DESC, c.is_named DESC, array_position('{in_network,unknown,out_of_network}'::referral.network_status[], c.network),
                 w.first_free NULLS LAST, c.distance NULLS LAST, c.same_region DESC NULLS LAST, c.name, c.healthcare_service_id
        LIMIT candidate_services.max;
END $$;
COMMENT ON FUNCTION referral.candidate_services(bigint, bigint, integer) IS
'Services that a referral could go to, the best first, up to max (default 5), and why: those of its specialty (or service line) that take new patients, and the one it asks for. In order: asked for, named by the routing rule that decided, in the payer''s network before unknown before out of it, the earliest room, the shortest way from the referral''s site, the same region. What is not known is null and said to be. Read with the caller''s rights. RF019 when the referral does not exist or is not visible, RF020 when max is below 0. Null for null: no rows.';

REVOKE ALL ON FUNCTION referral.pick_member(bigint, bigint, text), referral.fallback_queue(text),
    referral.decide_route(text, bigint, bigint, bigint, bigint, boolean), referral.lock_routed_item(text, bigint, bigint),
    referral.place_item(record, record), referral.standing_override(text, bigint, bigint, bigint), referral.route_row(text, bigint, bigint, bigint[]), referral.route(bigint, bigint),
    referral.refuse_route(bigint, bigint, referral.state), referral.override_route(bigint, bigint, text, text), referral.require_router(record), referral.require_rerouter(record, bigint),
    referral.routing_defaults(text), referral.routing_candidate(text, bigint, jsonb), referral.test_routing(jsonb, bigint, text),
    referral.check_routing_version(bigint) FROM PUBLIC;
