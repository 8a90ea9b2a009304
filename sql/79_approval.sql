-- approval: what may only go on when others than who asks have agreed

-- ---------- What a row needs ----------

CREATE FUNCTION referral.approval_needs(entity text, org_id bigint, id bigint)
RETURNS TABLE (policy text, level integer, approval_policy_id bigint, needed boolean, waiting boolean, status text,
               approval_request_id bigint, subject jsonb, error text)
LANGUAGE C STABLE STRICT ROWS 5 AS 'MODULE_PATHNAME', 'approval_needs';
COMMENT ON FUNCTION referral.approval_needs(text, bigint, bigint) IS
'Each level of each active approval policy about the entity, as the row of that id stands: is the approval needed, does a transition that waits for it leave from the row''s step, and how far is it (not_requested, pending, approved, rejected, expired, withdrawn, other_values: the row has changed since, other_rule: the policy asks for more by now), by the last request about it. subject: what an approval would be about, a digest for each watched column. error: SQLSTATE that the condition raises, in which case the approval counts as needed. The guard goes by the same answers. Reads with the rights of the table''s owner. No rows when there is no such row, and for null.';

CREATE FUNCTION referral.approval_policy_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target regclass := (SELECT e.relation FROM referral.entity e WHERE e.entity = NEW.entity);
    bad text;
BEGIN
    SELECT string_agg(w.name, ', ') INTO bad FROM unnest(NEW.watched) w (name)
    WHERE w.name IN ('org_id', 'version', 'state', 'step', 'entered_at', 'transition_id', 'workflow_id', 'status_reason', 'owner')
       OR NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target AND a.attname = w.name AND a.attnum > 0
                        AND NOT a.attisdropped AND a.attgenerated = '');
    IF bad IS NOT NULL OR array_position(NEW.watched, NULL) IS NOT NULL OR array_position(NEW.transitions, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'an approval cannot be about column "%"', coalesce(bad, 'null')
            USING ERRCODE = 'RF011', DETAIL = 'watched names columns of the entity''s table, none that is generated or that changes as the row moves on.',
                  HINT = 'Name the columns whose values the approver is to agree to.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.approval_policy_check() IS
'BEFORE row trigger of referral.approval_policy: the columns that it watches are there, and are the row''s own (RF011).';

CREATE FUNCTION referral.check_approval_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    IF to_regclass('referral.approval_policy') IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT p.approver_role, ', ') INTO bad FROM referral.approval_policy p
    WHERE p.rule_version_id = check_approval_version.rule_version_id AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = p.approver_role);
    IF bad IS NOT NULL THEN
        RAISE WARNING 'approver role "%" does not exist', bad
            USING DETAIL = 'Nobody could approve what waits for it.', HINT = 'Correct approver_role, or create the role first.';
    END IF;
    SELECT string_agg(DISTINCT t, ', ') INTO bad FROM referral.approval_policy p CROSS JOIN unnest(p.transitions) t
    WHERE p.rule_version_id = check_approval_version.rule_version_id
      AND NOT EXISTS (SELECT FROM referral.workflow w JOIN referral.workflow_transition x USING (workflow_id)
                      WHERE w.entity = p.entity AND x.transition = t);
    IF bad IS NOT NULL THEN
        RAISE WARNING 'no workflow has a transition "%"', bad
            USING DETAIL = 'Nothing would wait for the approval there.', HINT = 'Correct the name; see referral.workflow_transition.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_approval_version(bigint) IS
'The part of check_rule_version() about approvals: warns of roles and transitions that are not there. Null for null.';

-- ---------- Requests ----------

CREATE FUNCTION referral.approval_request_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    agreed bigint;
    refused bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.status <> 'pending' THEN
            RAISE EXCEPTION 'an approval request starts as pending'
                USING ERRCODE = 'RF001', DETAIL = 'Decisions are rows of referral.approval_decision.', HINT = 'Leave status out.';
        END IF;
        NEW.requested_by := coalesce(NEW.requested_by, referral.current_actor());
        NEW.requested_at := referral.event_time();
        NEW.decided_at := NULL;
        NEW.expires_at := NULL;
        NEW.withdrawn_by := NULL;
        NEW.agreed := 0;
        RETURN NEW;
    END IF;
    IF to_jsonb(NEW) - ARRAY['status', 'agreed', 'due_at', 'approval_policy_id', 'rule_version', 'queue', 'decided_at', 'expires_at', 'withdrawn_by', 'version']
       <> to_jsonb(OLD) - ARRAY['status', 'agreed', 'due_at', 'approval_policy_id', 'rule_version', 'queue', 'decided_at', 'expires_at', 'withdrawn_by', 'version'] THEN
        RAISE EXCEPTION 'approval request % stays about what it is about', OLD.approval_request_id
            USING ERRCODE = 'RF017', DETAIL = 'What was asked for, by whom, when, and who may agree to it does not change.',
                  HINT = 'Withdraw it, and ask anew.';
    END IF;
    IF (NEW.status, NEW.agreed) = (OLD.status, OLD.agreed) THEN
        RETURN NEW;
    END IF;
    SELECT count(*) FILTER (WHERE d.decision = 'approve'), count(*) FILTER (WHERE d.decision = 'reject') INTO agreed, refused
    FROM referral.approval_decision d WHERE d.org_id = OLD.org_id AND d.approval_request_id = OLD.approval_request_id;
    NEW.agreed := agreed;
    IF NEW.status <> OLD.status AND (CASE NEW.status
           WHEN 'approved' THEN OLD.status <> 'pending' OR refused > 0 OR agreed < OLD.quorum
           WHEN 'rejected' THEN OLD.status <> 'pending' OR refused = 0
           WHEN 'withdrawn' THEN OLD.status = 'expired'
           WHEN 'expired' THEN OLD.status <> 'approved' OR OLD.expires_at IS NULL
           ELSE true END) THEN
        RAISE EXCEPTION 'approval request % cannot become % from %', OLD.approval_request_id, NEW.status, OLD.status
            USING ERRCODE = 'RF001',
                  DETAIL = format('%s of %s have agreed, %s refused.', agreed, OLD.quorum, refused),
                  HINT = 'Have it decided with referral.approve() or referral.reject().';
    END IF;
    IF NEW.status IN ('approved', 'rejected') AND NEW.status <> OLD.status THEN
        NEW.decided_at := greatest(OLD.requested_at, referral.event_time());
    END IF;
    IF NEW.status = 'approved' AND NEW.status <> OLD.status THEN
        NEW.expires_at := NEW.decided_at + OLD.valid_for;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.approval_request_guard() IS
'BEFORE row trigger of referral.approval_request: it is approved only by as many decisions as its quorum, rejected only by one (RF001), and stays about what it is about (RF017), whoever writes it. Fills in when it was asked for and decided, and until when the approval holds.';

CREATE FUNCTION referral.insert_approval_request(entity text, org_id bigint, id bigint, p record, subject jsonb, requested_by text,
    involved text[], reason text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    request bigint;
BEGIN
    INSERT INTO referral.approval_request (org_id, entity, entity_id, referral_id, policy, level, kind, quorum, approver_role, queue, transitions,
                                           subject, requested_by, involved, reason, due_at, valid_for, approval_policy_id, rule_version)
    VALUES (org_id, entity, id, referral.referral_of_row(entity, org_id, id), p.name, p.level, p.kind, p.quorum, p.approver_role, p.queue,
            p.transitions, subject, requested_by, involved, reason, referral.due_by(p.calendar, org_id, referral.event_time(), p.due), p.valid_for,
            p.approval_policy_id, p.rule_version_id)
    ON CONFLICT (org_id, entity_id, entity, policy, level) WHERE status = 'pending' DO NOTHING
    RETURNING approval_request_id INTO request;
    RETURN request;
END $$;
COMMENT ON FUNCTION referral.insert_approval_request(text, bigint, bigint, record, jsonb, text, text[], text) IS
'The row of open_approval_request(), by the policy p; null when there is a pending one already.';

CREATE FUNCTION referral.open_approval_request(entity text, org_id bigint, id bigint, approval_policy_id bigint, subject jsonb, requested_by text,
    involved text[], reason text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
    need record;
    request bigint;
    item bigint;
BEGIN
    SELECT * INTO STRICT p FROM referral.approval_policy x WHERE x.approval_policy_id = open_approval_request.approval_policy_id;
    -- the levels above begin anew with it, so that no former agreement to them counts again beside a new one here
    UPDATE referral.approval_request r SET status = 'withdrawn'
    WHERE r.org_id = open_approval_request.org_id AND r.entity_id = id AND r.entity = open_approval_request.entity
      AND r.policy = p.name AND r.level > p.level AND r.status IN ('pending', 'approved');
    LOOP
        request := referral.insert_approval_request(entity, org_id, id, p, subject, requested_by, involved, reason);
        EXIT WHEN request IS NOT NULL;
        -- somebody else has asked at the same time, perhaps about other values
        SELECT * INTO need FROM referral.approval_needs(entity, org_id, id) n WHERE n.policy = p.name AND n.level = p.level;
        IF need.status IS NULL OR need.status = 'pending' THEN
            RETURN need.approval_request_id;
        END IF;
        PERFORM referral.settle_approval_request(org_id, need);
        subject := need.subject;
    END LOOP;
    -- the trigger work has opened the item where all approvals go
    item := (SELECT w.work_item_id FROM referral.work_item w
             WHERE w.org_id = open_approval_request.org_id AND w.entity = 'approval_request' AND w.entity_id = request AND w.closed_at IS NULL);
    IF p.queue IS NOT NULL AND item IS NOT NULL THEN
        PERFORM referral.move_item(org_id, item, referral.queue_for(org_id, p.queue), 'route');
    END IF;
    RETURN request;
END $$;
COMMENT ON FUNCTION referral.open_approval_request(text, bigint, bigint, bigint, jsonb, text, text[], text) IS
'Asks for the approval of a policy about a row; requested_by: who counts as asking, null for whoever acts; involved: who else cannot approve it. Its work item goes to the queue of the policy. What somebody else asks for meanwhile is taken when it is about the same values, else taken back. Writes with the caller''s rights; returns approval_request_id.';

CREATE FUNCTION referral.requester_of(org_id bigint, lower_request bigint, former_request bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT r.requested_by FROM referral.approval_request r
            WHERE r.org_id = requester_of.org_id
              AND r.approval_request_id = coalesce(lower_request, CASE WHEN referral.current_actor_kind(requester_of.org_id) <> 'user' THEN former_request END));
END $$;
COMMENT ON FUNCTION referral.requester_of(bigint, bigint, bigint) IS
'Who counts as asking when the database asks by itself: on a higher level who asked on the lower one; when no person acts who asked the last time. Null: whoever acts.';

CREATE FUNCTION referral.approval_involves(entity text, org_id bigint, id bigint, need record, lower_request bigint DEFAULT NULL) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN ARRAY(
        -- whoever acts, but not for agreeing on the level below
        SELECT referral.current_actor()
        WHERE NOT EXISTS (SELECT FROM referral.approval_decision d
                          WHERE d.org_id = approval_involves.org_id AND d.approval_request_id = lower_request
                            AND d.decided_by = referral.current_actor())
        UNION
        -- who asked on the level below, or for the same before
        SELECT m FROM referral.approval_request r CROSS JOIN unnest(r.involved || r.requested_by) m
        WHERE r.org_id = approval_involves.org_id
          AND (r.approval_request_id = lower_request
               OR (r.approval_request_id = need.approval_request_id AND r.subject IS NOT DISTINCT FROM need.subject))
        UNION
        -- who wrote what it is about, and when no person acts who brought the row to where it is;
        -- what models and systems wrote does not hide the person before them
        SELECT c.actor FROM (
            SELECT j.actor, count(*) FILTER (WHERE j.actor_kind = 'user')
                       OVER (PARTITION BY w.name ORDER BY j.journal_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS people_since
            FROM (SELECT jsonb_object_keys(need.subject)
                  UNION ALL SELECT NULL WHERE referral.current_actor_kind(approval_involves.org_id) <> 'user') w (name)
            JOIN referral.journal j ON j.org_id = approval_involves.org_id AND j.entity_id = approval_involves.id
                                   AND j.entity = approval_involves.entity
                                   AND CASE WHEN w.name IS NULL THEN j.to_step IS NOT NULL ELSE j.changes ? w.name END) c
        WHERE c.people_since = 0
        EXCEPT SELECT NULL);
END $$;
COMMENT ON FUNCTION referral.approval_involves(text, bigint, bigint, record, bigint) IS
'Who has a part in asking for an approval, and so cannot give it, whoever counts as asking: who acts, who asked on the level below (lower_request) or for the same values before, who wrote the values that it is about, and when no person acts who brought the row to where it is; of these, by the journal, all back to the last person.';

CREATE FUNCTION referral.settle_approval_request(org_id bigint, need record) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r referral.approval_request;
    p record;
BEGIN
    SELECT * INTO r FROM referral.approval_request x
    WHERE x.org_id = settle_approval_request.org_id AND x.approval_request_id = need.approval_request_id AND x.status IN ('pending', 'approved')
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF r.status = 'approved' THEN
        UPDATE referral.approval_request x SET status = 'expired'
        WHERE x.org_id = r.org_id AND x.approval_request_id = r.approval_request_id AND need.status = 'expired';
        RETURN;
    END IF;
    -- what a person has asked for stays until the case comes to its end
    IF need.status <> 'pending'
       OR (r.reason IS NULL AND NOT (need.waiting AND need.needed))
       OR (r.reason IS NOT NULL AND r.entity = 'referral'
           AND NOT EXISTS (SELECT FROM referral.work_item i
                           WHERE i.org_id = r.org_id AND i.referral_id = r.entity_id AND i.is_primary AND i.closed_at IS NULL)) THEN
        UPDATE referral.approval_request x SET status = 'withdrawn'
        WHERE x.org_id = r.org_id AND x.approval_request_id = r.approval_request_id;
        RETURN;
    END IF;
    IF r.approval_policy_id <> need.approval_policy_id THEN
        -- another variant counts, as when a referral has become urgent
        SELECT * INTO STRICT p FROM referral.approval_policy x WHERE x.approval_policy_id = need.approval_policy_id;
        UPDATE referral.approval_request x
        SET approval_policy_id = p.approval_policy_id, rule_version = p.rule_version_id,
            due_at = referral.due_by(p.calendar, r.org_id, r.requested_at, p.due)
        WHERE x.org_id = r.org_id AND x.approval_request_id = r.approval_request_id;
    END IF;
END $$;
COMMENT ON FUNCTION referral.settle_approval_request(bigint, record) IS
'Brings the last request at a gate up to date with what approval_needs() says: withdrawn when it is not needed any more or is about other values, expired when the approval has lapsed, due by another time when another variant of the policy counts. Writes with the caller''s rights.';

CREATE FUNCTION referral.approval_missed(entity text, org_id bigint, id bigint, need record) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
    passed bigint;
BEGIN
    IF need.status IN ('approved', 'expired', 'other_rule') THEN
        RETURN NULL;
    END IF;
    SELECT a.transitions, lower(v.valid_during) AS since INTO STRICT p
    FROM referral.approval_policy a JOIN referral.rule_version v USING (rule_version_id) WHERE a.approval_policy_id = need.approval_policy_id;
    -- under the same rules the guard let it through: so it has changed since
    passed := (SELECT max(j.journal_id) FROM referral.journal j
               WHERE j.org_id = approval_missed.org_id AND j.entity_id = approval_missed.id AND j.entity = approval_missed.entity
                 AND j.transition = ANY (p.transitions) AND j.recorded_at >= p.since);
    -- any change: the condition may read what is not watched
    RETURN (SELECT max(j.journal_id) FROM referral.journal j
            WHERE j.org_id = approval_missed.org_id AND j.entity_id = approval_missed.id AND j.entity = approval_missed.entity
              AND j.journal_id > passed AND j.changes IS NOT NULL);
END $$;
COMMENT ON FUNCTION referral.approval_missed(text, bigint, bigint, record) IS
'For an approval that a row needs, and does not wait for where it is: has it gone through a transition without an approval that it would have had to wait for, had it had the values that it has now? The number in the journal of the last change after it went through; null when not. What lapsed afterwards, and what new rules ask for, does not count.';

CREATE FUNCTION referral.settle_missed(entity text, org_id bigint, id bigint, policies text, changed bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e record;
BEGIN
    SELECT x.exception_id, x.status IN ('resolved', 'dismissed') AS is_closed INTO e FROM referral.exception_item x
    WHERE x.org_id = settle_missed.org_id AND x.entity = settle_missed.entity AND x.entity_id = settle_missed.id
      AND x.category = 'policy' AND x.code = 'approval_missed' AND x.exception_rule_id IS NULL;
    IF policies IS NULL THEN
        IF NOT e.is_closed THEN
            PERFORM referral.close_exception(org_id, e.exception_id, 'approved since, or not needed any more');
        END IF;
    -- what a person has settled stays so until the row changes again
    ELSIF e.is_closed IS NOT TRUE
          OR changed > (SELECT max(j.journal_id) FROM referral.journal j
                        WHERE j.org_id = settle_missed.org_id AND j.entity_id = e.exception_id AND j.entity = 'exception_item') THEN
        PERFORM referral.open_exception(org_id, 'policy', entity, id, referral.referral_of_row(entity, org_id, id), 'approval_missed',
                                        format('It went on without an approval that it needs as it is now: %s.', policies), 'high');
    END IF;
END $$;
COMMENT ON FUNCTION referral.settle_missed(text, bigint, bigint, text, bigint) IS
'Opens the exception approval_missed of a row, or closes it when policies is null. policies: those whose approvals it missed; changed: approval_missed(). Writes with the caller''s rights.';

CREATE FUNCTION referral.request_approvals(entity text, org_id bigint, id bigint, rules bigint[] DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    need record;
    lower_policy text;
    lower_status text;
    lower_request bigint;
    changed bigint;
    missed text;
    last_change bigint;
    n integer := 0;
BEGIN
    -- what no policy asks for any more
    UPDATE referral.approval_request x SET status = 'withdrawn'
    WHERE x.org_id = request_approvals.org_id AND x.entity_id = request_approvals.id AND x.entity = request_approvals.entity
      AND x.status = 'pending'
      AND (x.policy, x.level) NOT IN (SELECT a.policy, a.level FROM referral.approval_needs(request_approvals.entity, request_approvals.org_id, request_approvals.id) a);
    FOR need IN SELECT * FROM referral.approval_needs(entity, org_id, id) a ORDER BY a.policy, a.level LOOP
        IF lower_policy IS DISTINCT FROM need.policy THEN
            lower_policy := need.policy;
            lower_status := 'approved';
            lower_request := NULL;
        END IF;
        IF need.approval_request_id IS NOT NULL THEN
            PERFORM referral.settle_approval_request(org_id, need);
        END IF;
        changed := CASE WHEN need.needed AND NOT need.waiting THEN referral.approval_missed(entity, org_id, id, need) END;
        IF changed IS NOT NULL THEN
            missed := concat_ws(', ', missed, need.policy || CASE WHEN need.level > 1 THEN format(' (level %s)', need.level) ELSE '' END);
            last_change := greatest(last_change, changed);
        END IF;
        -- a level is asked when all below it have agreed
        CONTINUE WHEN NOT need.needed OR lower_status <> 'approved';
        IF need.waiting AND need.status IN ('not_requested', 'other_values', 'other_rule', 'expired') THEN
            need.approval_request_id := referral.open_approval_request(entity, org_id, id, need.approval_policy_id, need.subject,
                coalesce(referral.requester_of(org_id, lower_request, need.approval_request_id), referral.current_actor()),
                referral.approval_involves(entity, org_id, id, need, lower_request));
            n := n + 1;
        END IF;
        lower_status := need.status;
        lower_request := need.approval_request_id;
    END LOOP;
    PERFORM referral.settle_missed(entity, org_id, id, missed, last_change);
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.request_approvals(text, bigint, bigint, bigint[]) IS
'Asks for the approvals that a row needs where it stands, level by level, and takes back what it does not need any more; returns how many were asked for. A row that has gone on without an approval that it needs as it is now gets an exception (policy, approval_missed). Called by the trigger work whenever a policy fits the row before or after a change; call it for rows of tables that do not have that trigger. rules is not looked at.';

CREATE FUNCTION referral.rows_to_ask(entity text, org_id bigint, after_id bigint, max integer, OUT ids bigint[], OUT n integer, OUT last bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    e record;
    steps text[];
BEGIN
    SELECT x.relation, x.id_column INTO STRICT e FROM referral.entity x WHERE x.entity = rows_to_ask.entity;
    steps := ARRAY(SELECT DISTINCT t.from_step FROM referral.workflow w JOIN referral.workflow_transition t USING (workflow_id)
                   WHERE w.entity = rows_to_ask.entity
                     AND t.transition IN (SELECT unnest(p.transitions) FROM referral.approval_policy p JOIN referral.rule_version v USING (rule_version_id)
                                          WHERE v.status = 'active' AND p.entity = rows_to_ask.entity));
    EXECUTE format('SELECT array_agg(x.id ORDER BY x.id) FILTER (WHERE (x.r).step = ANY ($4)'
                   ' AND cardinality(referral.matching_rules(''approval_policy'', $5, $1, x.r)) > 0), count(*), max(x.id)'
                   ' FROM (SELECT r.%1$I AS id, r FROM %2$s r WHERE r.org_id = $1 AND r.%1$I > $2 ORDER BY r.%1$I LIMIT $3) x',
                   e.id_column, e.relation)
       INTO ids, n, last USING org_id, after_id, max, steps, entity;
END $$;
COMMENT ON FUNCTION referral.rows_to_ask(text, bigint, bigint, integer) IS
'Of the next max rows of an entity with numbers beyond after_id: ids, those at a step where an active policy that fits them makes a transition wait; n, how many rows there were; last, the highest number. Reads with the caller''s rights.';

CREATE FUNCTION referral.renew_approvals_of(org_id bigint, entity text, max integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    after_id bigint := referral.follow_rules('approval_policy', org_id, entity, NULL);
    batch record;
    id bigint;
BEGIN
    IF after_id IS NULL THEN
        RETURN 0;
    END IF;
    batch := referral.rows_to_ask(entity, org_id, after_id, max);
    FOREACH id IN ARRAY coalesce(batch.ids, '{}') LOOP
        PERFORM referral.request_approvals(entity, org_id, id);
    END LOOP;
    PERFORM referral.rules_followed('approval_policy', org_id, entity, CASE WHEN batch.n = max THEN batch.last END);
    RETURN batch.n;
END $$;
COMMENT ON FUNCTION referral.renew_approvals_of(bigint, text, integer) IS
'After other policies have come into force: looks at the next max rows of an entity in an organisation, in the order of their numbers, asks for the approvals that they wait for now, and returns how many it looked at; 0 when all are done, or somebody else is at it.';

CREATE FUNCTION referral.expire_approvals(as_of timestamptz DEFAULT now(), max integer DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system' AS $$
DECLARE
    r record;
    n bigint := 0;
BEGIN
    PERFORM referral.require_number(max);
    FOR r IN SELECT x.org_id, x.approval_request_id, x.entity, x.entity_id FROM referral.approval_request x
             WHERE x.status = 'approved' AND x.expires_at <= expire_approvals.as_of
             ORDER BY x.expires_at LIMIT expire_approvals.max FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        UPDATE referral.approval_request x SET status = 'expired'
        WHERE x.org_id = r.org_id AND x.approval_request_id = r.approval_request_id;
        PERFORM referral.request_approvals(r.entity, r.org_id, r.entity_id);
        n := n + 1;
    END LOOP;
    -- and those that were asked for by rules which are not in force any more
    FOR r IN SELECT x.org_id, x.entity, x.entity_id FROM referral.approval_request x
             WHERE x.status = 'pending'
               AND NOT EXISTS (SELECT FROM referral.approval_policy p JOIN referral.rule_version v USING (rule_version_id)
                               WHERE p.approval_policy_id = x.approval_policy_id AND v.status = 'active')
             ORDER BY x.org_id, x.approval_request_id LIMIT expire_approvals.max - n FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        PERFORM referral.request_approvals(r.entity, r.org_id, r.entity_id);
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.expire_approvals(timestamptz, integer) IS
'Marks up to max approvals that had lapsed at as_of, and asks anew where a row still waits for them; goes through requests by rules that are not in force any more; returns how many that were. Called by tick(). The guard does not count a lapsed approval, whether it is marked or not. RF020 when max is below 0. Null for null.';

CREATE FUNCTION referral.renew_approvals(as_of timestamptz, max integer) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system' AS $$
DECLARE
    todo record;
    n bigint := 0;
BEGIN
    FOR todo IN SELECT * FROM referral.rules_to_follow('approval_policy', NULL) LOOP
        EXIT WHEN n >= max;
        n := n + referral.renew_approvals_of(todo.org_id, todo.entity, (max - n)::integer);
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.renew_approvals(timestamptz, integer) IS
'After other policies have come into force: has approvals asked for where rows wait for them now, as renew_approvals_of() does, for all organisations and all entities whose table the owner of the model reads, max rows in all; returns how many it looked at, 0 when all are done. Called by tick(). as_of is not looked at. Null for null.';

-- ---------- What people do ----------

CREATE FUNCTION referral.lock_approval_request(org_id bigint, approval_request_id bigint) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r referral.approval_request;
BEGIN
    IF referral.may_change_org(org_id) THEN
        SELECT * INTO r FROM referral.approval_request x
        WHERE x.org_id = lock_approval_request.org_id AND x.approval_request_id = lock_approval_request.approval_request_id FOR NO KEY UPDATE;
    END IF;
    IF r.approval_request_id IS NULL THEN
        RAISE EXCEPTION 'there is no approval request % in organisation %', approval_request_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.open_approval.';
    END IF;
    RETURN r;
END $$;
COMMENT ON FUNCTION referral.lock_approval_request(bigint, bigint) IS
'Locks an approval request until the end of the transaction and returns it. For functions that run with the owner''s rights. RF019 when there is none that the session may change.';

CREATE FUNCTION referral.request_approval(entity text, org_id bigint, id bigint, policy text, reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    need record;
BEGIN
    PERFORM referral.require_reason(reason);
    IF referral.may_change_org(org_id) IS NOT TRUE OR referral.work_row(entity, org_id, id) IS NULL THEN
        RAISE EXCEPTION 'there is no row % of entity "%" in organisation %', id, entity, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.entity.';
    END IF;
    -- the first level that is not given
    SELECT n.*, p.kind INTO need FROM referral.approval_needs(entity, org_id, id) n
    JOIN referral.approval_policy p ON p.approval_policy_id = n.approval_policy_id
    WHERE request_approval.policy IN (n.policy, p.kind)
    ORDER BY n.policy = request_approval.policy DESC, n.needed DESC, n.policy, n.status = 'approved', n.level LIMIT 1;
    IF need.policy IS NULL THEN
        RAISE EXCEPTION 'no active approval policy is called "%"', policy
            USING ERRCODE = 'RF019', DETAIL = 'Neither by its name nor by its kind.', HINT = 'See referral.approval_policy.';
    END IF;
    IF need.status = 'approved' THEN
        RAISE EXCEPTION 'approval "%" is given already', need.policy
            USING ERRCODE = 'RF001', DETAIL = format('By approval request %s.', need.approval_request_id), HINT = 'Nothing waits for it.';
    END IF;
    IF need.status = 'pending' THEN
        RETURN need.approval_request_id;
    END IF;
    PERFORM referral.settle_approval_request(org_id, need);
    RETURN referral.open_approval_request(entity, org_id, id, need.approval_policy_id, need.subject, referral.current_actor(),
        referral.approval_involves(entity, org_id, id, need), reason);
END $$;
COMMENT ON FUNCTION referral.request_approval(text, bigint, bigint, text, text) IS
'Asks for the approval of a policy, given by its name or its kind, about a row of an entity, at the lowest level that is not given, and returns approval_request_id; that of the request that is open already, if there is one. Also after it was refused or withdrawn. RF001 when it is given already, RF005 without a reason, RF019 when there is no such row or policy, also for null.';

CREATE FUNCTION referral.request_approval(org_id bigint, referral_id bigint, policy text, reason text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN referral.request_approval('referral', org_id, referral_id, policy, reason);
END $$;
COMMENT ON FUNCTION referral.request_approval(bigint, bigint, text, text) IS 'request_approval() about a referral.';

CREATE FUNCTION referral.approve(org_id bigint, approval_request_id bigint, reason text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO referral.approval_decision (org_id, approval_request_id, decision, reason)
    VALUES (approve.org_id, approve.approval_request_id, 'approve', approve.reason);
    RETURN (SELECT r.status FROM referral.approval_request r
            WHERE r.org_id = approve.org_id AND r.approval_request_id = approve.approval_request_id);
END $$;
COMMENT ON FUNCTION referral.approve(bigint, bigint, text) IS
'Agrees to what was asked for, as whoever acts, or on behalf of who has delegated it to him; returns the status of the request now: approved, or pending while more have to agree. RF001 when it is decided already; RF003 for who may not, and for systems and models; RF006 when the row has changed since; RF013 for who asked for it, has decided about it, or has agreed on another level; RF019 when there is no such request, also for null.';

CREATE FUNCTION referral.reject(org_id bigint, approval_request_id bigint, reason text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO referral.approval_decision (org_id, approval_request_id, decision, reason)
    VALUES (reject.org_id, reject.approval_request_id, 'reject', reject.reason);
    RETURN 'rejected';
END $$;
COMMENT ON FUNCTION referral.reject(bigint, bigint, text) IS
'Refuses what was asked for: one who refuses is enough. The transitions wait until it is asked for again and approved, or the policy does not apply any more. RF005 without a reason; otherwise as approve().';

CREATE FUNCTION referral.withdraw_approval(org_id bigint, approval_request_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    r referral.approval_request;
    actor text := referral.current_actor();
BEGIN
    PERFORM referral.require_reason(reason);
    r := referral.lock_approval_request(org_id, approval_request_id);
    IF NOT (pg_has_role(referral.acting_login(), 'referral_admin', 'MEMBER')
            OR CASE r.status WHEN 'pending' THEN r.requested_by = actor
                             ELSE EXISTS (SELECT FROM referral.approval_decision d
                                          WHERE d.org_id = r.org_id AND d.approval_request_id = r.approval_request_id AND d.decided_by = actor) END)
       OR referral.current_actor_kind(org_id) = 'ai' THEN
        RAISE EXCEPTION 'approval request % is not for the session to withdraw', r.approval_request_id
            USING ERRCODE = 'RF003', DETAIL = 'Who asked withdraws it while nobody has decided, who decided takes the decision back.',
                  HINT = 'Ask him, or a member of referral_admin.';
    END IF;
    UPDATE referral.approval_request x SET status = 'withdrawn', withdrawn_by = actor
    WHERE x.org_id = r.org_id AND x.approval_request_id = r.approval_request_id AND x.status <> 'withdrawn';
END $$;
COMMENT ON FUNCTION referral.withdraw_approval(bigint, bigint, text) IS
'Takes a request back: who asked while it is pending, who decided when it is decided, a member of referral_admin always. An approval does not count any more then; it has to be asked for again. RF003 for others, RF005 without a reason, RF019 when there is no such request, also for null.';

-- ---------- Decisions ----------

CREATE FUNCTION referral.has_approver_role(login text, approver_role name) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM pg_roles l CROSS JOIN pg_roles r
                   WHERE l.rolname = login AND r.rolname = approver_role AND pg_has_role(l.oid, r.oid, 'MEMBER'));
END $$;
COMMENT ON FUNCTION referral.has_approver_role(text, name) IS
'Is the login a member of the role? False when one of them is not there. Null for null.';

CREATE FUNCTION referral.took_part(org_id bigint, approval_request_id bigint, member text) RETURNS text
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT CASE WHEN r.requested_by = member THEN 'asked for it'
                        WHEN member = ANY (r.involved) THEN 'has a part in asking for it'
                        WHEN EXISTS (SELECT FROM referral.approval_decision d
                                     WHERE d.org_id = r.org_id AND d.approval_request_id = r.approval_request_id
                                       AND member IN (d.decided_by, d.on_behalf_of)) THEN 'has decided about it already'
                        WHEN EXISTS (SELECT FROM referral.approval_needs(r.entity, r.org_id, r.entity_id) n
                                     JOIN referral.approval_decision d ON d.org_id = r.org_id AND d.approval_request_id = n.approval_request_id
                                     WHERE n.policy = r.policy AND n.level <> r.level AND n.status IN ('pending', 'approved')
                                       AND member IN (d.decided_by, d.on_behalf_of)) THEN 'has decided on another level' END
            FROM referral.approval_request r
            WHERE r.org_id = took_part.org_id AND r.approval_request_id = took_part.approval_request_id);
END $$;
COMMENT ON FUNCTION referral.took_part(bigint, bigint, text) IS
'Why a person cannot decide about a request whatever his role: he asked for it, has a part in that (approval_involves()), has decided about it, or on another level of the same policy, as far as that counts for the row as it is, in his own name or another''s. Null when nothing is in the way, and for null.';

CREATE FUNCTION referral.delegator_for(r record, wanted text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
BEGIN
    SELECT x.* INTO d FROM referral.approval_delegation x
    WHERE x.org_id = r.org_id AND x.to_member = referral.current_actor()
      -- an application does not speak for who has a login
      AND NOT referral.speaks_for_login()
      AND (x.kinds IS NULL OR r.kind = ANY (x.kinds)) AND x.from_member = coalesce(wanted, x.from_member)
      -- who has left delegates no more; a person whom only applications know has the role by way of them
      AND (NOT EXISTS (SELECT FROM pg_roles l WHERE l.rolname = x.from_member)
           OR EXISTS (SELECT FROM referral.organization_member m WHERE m.org_id = x.org_id AND m.login = x.from_member))
      AND referral.has_approver_role(CASE WHEN EXISTS (SELECT FROM pg_roles l WHERE l.rolname = x.from_member) THEN x.from_member
                                          ELSE referral.acting_login()::text END, r.approver_role)
      AND CASE WHEN x.during IS NOT NULL THEN x.during @> clock_timestamp()
               -- as others say than he to whom it gives something
               ELSE EXISTS (SELECT FROM referral.absence a
                            WHERE a.org_id = x.org_id AND a.member = x.from_member AND a.during @> clock_timestamp()
                              AND NOT EXISTS (SELECT FROM referral.journal j
                                              WHERE j.org_id = a.org_id AND j.entity_id = a.absence_id AND j.entity = 'absence' AND j.actor = x.to_member)) END
    ORDER BY referral.took_part(r.org_id, r.approval_request_id, x.from_member) IS NOT NULL, x.approval_delegation_id
    LIMIT 1 FOR SHARE OF x;
    RETURN d.from_member;
END $$;
COMMENT ON FUNCTION referral.delegator_for(record, text) IS
'In whose place whoever acts may decide about a request, by a delegation that holds now and that is kept from ending until the end of the transaction; wanted: only in this person''s. Null when in nobody''s.';

CREATE FUNCTION referral.approval_decision_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r referral.approval_request;
    who text;
    why text;
BEGIN
    r := referral.lock_approval_request(NEW.org_id, NEW.approval_request_id);
    IF referral.current_actor_kind(NEW.org_id) <> 'user' THEN
        RAISE EXCEPTION 'only a person decides about an approval'
            USING ERRCODE = 'RF003', DETAIL = format('The session acts as kind "%s".', referral.current_actor_kind(NEW.org_id)),
                  HINT = 'Have a person decide; an application names him in referral.actor.';
    END IF;
    IF r.status <> 'pending' THEN
        RAISE EXCEPTION 'approval request % is % already', r.approval_request_id, r.status
            USING ERRCODE = 'RF001', DETAIL = 'referral.approval_log says by whom.',
                  HINT = 'If it is still needed, ask for it again with referral.request_approval().';
    END IF;
    NEW.decided_by := referral.current_actor();
    NEW.decided_at := greatest(r.requested_at, referral.event_time());
    why := referral.took_part(r.org_id, r.approval_request_id, NEW.decided_by);
    IF why IS NULL AND (NEW.on_behalf_of IS NOT NULL OR NOT referral.has_approver_role(referral.acting_login()::text, r.approver_role)) THEN
        NEW.on_behalf_of := referral.delegator_for(r, NEW.on_behalf_of);
        IF NEW.on_behalf_of IS NULL THEN
            RAISE EXCEPTION 'only a member of % decides about approval request %', r.approver_role, r.approval_request_id
                USING ERRCODE = 'RF003', DETAIL = 'Nor has a member delegated it to who acts.',
                      HINT = format('Ask a member of %s to decide, or to delegate it: referral.approval_delegation.', r.approver_role);
        END IF;
        why := referral.took_part(r.org_id, r.approval_request_id, NEW.on_behalf_of);
        who := 'who delegated it';
    END IF;
    IF why IS NOT NULL THEN
        RAISE EXCEPTION 'approval request % needs somebody else to decide: % %', r.approval_request_id, coalesce(who, 'who acts'), why
            USING ERRCODE = 'RF013', DETAIL = format('Requested by %s.', r.requested_by),
                  HINT = format('Ask another member of %s.', r.approver_role);
    END IF;
    IF NEW.decision = 'reject' AND coalesce(NEW.reason !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a reason is required to refuse an approval'
            USING ERRCODE = 'RF005', DETAIL = 'Who asked has to know what to change.', HINT = 'Give a reason.';
    END IF;
    IF EXISTS (SELECT FROM referral.approval_needs(r.entity, r.org_id, r.entity_id) n
               WHERE n.approval_request_id = r.approval_request_id AND n.status = 'other_values') THEN
        RAISE EXCEPTION 'the row has changed since approval request % was made', r.approval_request_id
            USING ERRCODE = 'RF006', DETAIL = 'It has other values in the columns that the approval is about.',
                  HINT = 'Have it asked for again: referral.request_approvals().';
    END IF;
    IF r.level > 1
       AND EXISTS (SELECT FROM referral.approval_needs(r.entity, r.org_id, r.entity_id) n
                   JOIN referral.approval_needs(r.entity, r.org_id, r.entity_id) own ON own.policy = n.policy AND own.level = r.level
                   WHERE n.policy = r.policy AND n.level < r.level AND n.status <> 'approved' AND (n.needed OR NOT own.needed)) THEN
        RAISE EXCEPTION 'approval request % waits for a level below it', r.approval_request_id
            USING ERRCODE = 'RF004', DETAIL = 'Levels are decided one after the other, about the row as it is.',
                  HINT = format('SELECT * FROM referral.approval_path(%s, %s);', r.org_id, r.referral_id);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.approval_decision_check() IS
'BEFORE INSERT row trigger of referral.approval_decision: locks the request, and refuses whoever may not decide (see approve()), whoever writes the row. Fills in who decides, in whose place, and when.';

CREATE FUNCTION referral.approval_settle() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
BEGIN
    -- written at each decision, so that of two who do not see each other's the second is refused
    UPDATE referral.approval_request x
    SET agreed = x.agreed + (NEW.decision = 'approve')::integer,
        status = CASE WHEN NEW.decision = 'reject' THEN 'rejected' WHEN x.agreed + 1 >= x.quorum THEN 'approved' ELSE x.status END
    WHERE x.org_id = NEW.org_id AND x.approval_request_id = NEW.approval_request_id
    RETURNING x.entity, x.entity_id, x.status INTO r;
    IF r.status = 'approved' THEN
        PERFORM referral.request_approvals(r.entity, NEW.org_id, r.entity_id);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.approval_settle() IS
'AFTER INSERT row trigger of referral.approval_decision: one who refuses settles the request, as do as many who agree as its quorum; then the next level is asked.';

CREATE FUNCTION referral.warn_delegation(d record, is_new boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    IF is_new THEN
        PERFORM referral.warn_unknown(d.org_id, d.from_member, 'from_member of referral.approval_delegation');
        PERFORM referral.warn_unknown(d.org_id, d.to_member, 'to_member of referral.approval_delegation');
    END IF;
    SELECT string_agg(k.name, ', ') INTO bad FROM unnest(d.kinds::text[]) k (name)
    WHERE NOT EXISTS (SELECT FROM referral.approval_policy p JOIN referral.rule_version v USING (rule_version_id)
                      WHERE v.status = 'active' AND p.kind = k.name);
    IF bad IS NOT NULL THEN
        RAISE WARNING 'no active approval policy is of kind "%"', bad
            USING DETAIL = 'Of that kind nothing is delegated.', HINT = 'Correct kinds; see kind in referral.approval_policy.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.warn_delegation(record, boolean) IS
'Warns of the names in a delegation that nobody has, when it is new, and of kinds that no active approval policy is of.';
REVOKE ALL ON FUNCTION referral.warn_delegation(record, boolean) FROM PUBLIC;

CREATE FUNCTION referral.approval_delegation_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text := referral.current_actor();
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.from_member, NEW.to_member) IS DISTINCT FROM (OLD.from_member, OLD.to_member) THEN
        RAISE EXCEPTION 'a delegation stays between the same two'
            USING ERRCODE = 'RF017', DETAIL = 'from_member and to_member do not change.', HINT = 'End it by its range during, and insert another one.';
    END IF;
    IF referral.current_actor_kind(NEW.org_id) <> 'user'
       -- nor does an application say what a login would delegate
       OR ((NEW.from_member <> actor OR referral.speaks_for_login())
           AND NOT pg_has_role(referral.acting_login(), 'referral_admin', 'MEMBER')) THEN
        RAISE EXCEPTION 'only a person delegates what he may approve'
            USING ERRCODE = 'RF003', DETAIL = 'Or a member of referral_admin for him; no system and no model.', HINT = 'Ask him, or a member of referral_admin.';
    END IF;
    -- by way of an administrator's right nobody gets a say
    IF NEW.from_member <> actor AND NEW.to_member = actor THEN
        RAISE EXCEPTION 'nobody delegates to himself what another may approve'
            USING ERRCODE = 'RF013', DETAIL = 'from_member is somebody else.', HINT = 'Ask him, or another member of referral_admin.';
    END IF;
    PERFORM referral.warn_delegation(NEW, TG_OP = 'INSERT');
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.approval_delegation_guard() IS
'BEFORE row trigger of referral.approval_delegation: a person delegates for himself, or a member of referral_admin for him (RF003), but not to himself (RF013). Warns of names and kinds that are not there (warn_delegation()).';

-- ---------- What applies, and why ----------

CREATE FUNCTION referral.approval_path(org_id bigint, referral_id bigint)
RETURNS TABLE (transition text, policy text, level integer, needed boolean, why text, status text, approval_request_id bigint,
               due_at timestamptz, who_may text, rule_version bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    flow bigint := (to_jsonb(referral.work_row('referral', approval_path.org_id, approval_path.referral_id)) ->> 'workflow_id')::bigint;
BEGIN
    IF referral.may_change_org(approval_path.org_id) IS NOT TRUE OR flow IS NULL THEN
        RAISE EXCEPTION 'there is no referral % in organisation %', approval_path.referral_id, approval_path.org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.referral.';
    END IF;
    RETURN QUERY WITH need AS (SELECT * FROM referral.approval_needs('referral', approval_path.org_id, approval_path.referral_id))
    SELECT t.transition, n.policy, n.level, n.needed, coalesce(p.explanation || ' (its rule raises error ' || n.error || ')', p.explanation),
           CASE WHEN NOT n.needed AND n.status = 'not_requested' THEN 'not_needed' ELSE n.status END,
           r.approval_request_id, r.due_at,
           CASE WHEN n.needed AND n.status <> 'approved'
                THEN format('a member of %s', p.approver_role) || coalesce(' other than ' || (
                         SELECT string_agg(DISTINCT m, ', ') FROM (
                             SELECT r.requested_by AS m
                             UNION ALL SELECT unnest(r.involved)
                             -- as took_part() has it
                             UNION ALL SELECT unnest(ARRAY[d.decided_by, d.on_behalf_of])
                             FROM need o JOIN referral.approval_decision d ON d.org_id = approval_path.org_id AND d.approval_request_id = o.approval_request_id
                             WHERE o.policy = n.policy AND (o.level = n.level OR o.status IN ('pending', 'approved'))
                               AND (o.level <> n.level OR o.status = 'pending')) x), '')
                     || CASE WHEN p.quorum > 1 THEN format(', %s of them', p.quorum - CASE r.status WHEN 'pending' THEN r.agreed ELSE 0 END) ELSE '' END END,
           p.rule_version_id
    FROM need n
    JOIN referral.approval_policy p ON p.approval_policy_id = n.approval_policy_id
    JOIN (SELECT DISTINCT x.transition FROM referral.workflow_transition x WHERE x.workflow_id = flow) t ON t.transition = ANY (p.transitions)
    LEFT JOIN referral.approval_request r ON r.org_id = approval_path.org_id AND r.approval_request_id = n.approval_request_id
    ORDER BY n.needed DESC, t.transition, n.policy, n.level;
END $$;
COMMENT ON FUNCTION referral.approval_path(bigint, bigint) IS
'Which approvals a referral needs, and which not: for each transition of its workflow and each level of a policy that it may have to wait for, whether it does, why, how far the approval is, until when it is due, and who may give it. rule_version: where the policy comes from. RF019 when there is no such referral that the session may see, also for null.';

REVOKE ALL ON FUNCTION referral.approval_needs(text, bigint, bigint), referral.approval_policy_check(),
    referral.approval_request_guard(), referral.open_approval_request(text, bigint, bigint, bigint, jsonb, text, text[], text),
    referral.requester_of(bigint, bigint, bigint), referral.approval_involves(text, bigint, bigint, record, bigint), referral.settle_approval_request(bigint, record),
    referral.insert_approval_request(text, bigint, bigint, record, jsonb, text, text[], text),
    referral.rows_to_ask(text, bigint, bigint, integer), referral.renew_approvals_of(bigint, text, integer), referral.renew_approvals(timestamptz, integer),
    referral.approval_missed(text, bigint, bigint, record), referral.settle_missed(text, bigint, bigint, text, bigint),
    referral.request_approvals(text, bigint, bigint, bigint[]), referral.expire_approvals(timestamptz, integer),
    referral.lock_approval_request(bigint, bigint), referral.request_approval(text, bigint, bigint, text, text),
    referral.request_approval(bigint, bigint, text, text), referral.approve(bigint, bigint, text), referral.reject(bigint, bigint, text),
    referral.withdraw_approval(bigint, bigint, text), referral.has_approver_role(text, name), referral.took_part(bigint, bigint, text),
    referral.delegator_for(record, text), referral.approval_decision_check(), referral.approval_settle(),
    referral.approval_delegation_guard(), referral.approval_path(bigint, bigint) FROM PUBLIC;
