-- handoff: an item goes from one team to another, and somebody answers for it all the while

-- ---------- Checklist ----------

CREATE FUNCTION referral.handoff_rules(work record, from_queue text, to_queue text)
RETURNS TABLE (handoff_checklist_id bigint, item text, required boolean, holds boolean)
LANGUAGE plpgsql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r referral.referral;
    fits bigint[];
BEGIN
    IF work.referral_id IS NOT NULL THEN
        SELECT x.* INTO r FROM referral.referral x WHERE x.org_id = work.org_id AND x.referral_id = work.referral_id;
    END IF;
    IF r.referral_id IS NOT NULL THEN
        fits := referral.matching_rules('handoff_checklist', 'referral', work.org_id, r);
    END IF;
    RETURN QUERY
        SELECT f.handoff_checklist_id, f.item, f.required,
               CASE WHEN r.referral_id IS NOT NULL THEN referral.rule_fits(f.done_when, r, 'done_when of handoff checklist ' || f.name) END
        FROM referral.handoff_checklist f JOIN referral.rule_version v USING (rule_version_id)
        WHERE v.status = 'active' AND coalesce(f.scope_org_id = work.org_id, true)
          AND coalesce(f.from_queue = handoff_rules.from_queue, true) AND coalesce(f.to_queue = handoff_rules.to_queue, true)
          AND (f.applies_when IS NULL OR coalesce(f.handoff_checklist_id = ANY (fits), false))
        ORDER BY f.required DESC, f.handoff_checklist_id;
END $$;
COMMENT ON FUNCTION referral.handoff_rules(record, text, text) IS
'What the active rules of handoff_checklist ask for when a work item goes from one queue to another, the required ones first. holds: what the referral''s row says of it; null where a person has to say it, and where the rule raises an error (a warning says so). Rules over the referral do not apply to an item that serves none, nor one whose applies_when raises an error (a warning says so).';

CREATE FUNCTION referral.handoff_checklist_of(work record, from_queue text, to_queue text, stated jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(coalesce(stated, '[]')) <> 'array'
       OR EXISTS (SELECT FROM jsonb_array_elements(stated) s
                  WHERE jsonb_typeof(s) <> 'object' OR jsonb_typeof(s -> 'item') IS DISTINCT FROM 'string'
                     OR coalesce(jsonb_typeof(s -> 'done'), 'boolean') <> 'boolean') THEN
        RAISE EXCEPTION 'a checklist is a list of items and whether they are done'
            USING ERRCODE = 'RF020', DETAIL = 'It is a JSON array of objects with the keys item (a text) and done (a boolean).',
                  HINT = 'Write it like [{"item": "Patient told", "done": true}]; see referral.handoff_checklist.';
    END IF;
    -- what the database can see for itself counts, whatever is stated
    RETURN (
        WITH asked AS (
            SELECT r.item, r.required, r.holds,
                   coalesce(r.holds, EXISTS (SELECT FROM jsonb_array_elements(stated) s WHERE s ->> 'item' = r.item AND (s -> 'done')::boolean)) AS done
            FROM referral.handoff_rules(work, from_queue, to_queue) r
            UNION ALL
            SELECT s ->> 'item', false, NULL, coalesce((s -> 'done')::boolean, false)
            FROM jsonb_array_elements(stated) s
            WHERE NOT EXISTS (SELECT FROM referral.handoff_rules(work, from_queue, to_queue) r WHERE r.item = s ->> 'item'))
        SELECT coalesce(jsonb_agg(jsonb_build_object('item', a.item, 'required', a.required, 'done', a.done,
                   'by', CASE WHEN NOT a.done THEN NULL WHEN a.holds THEN 'rule' ELSE referral.current_actor() END,
                   'at', CASE WHEN a.done THEN referral.event_time() END)), '[]')
        FROM asked a);
END $$;
COMMENT ON FUNCTION referral.handoff_checklist_of(record, text, text, jsonb) IS
'The checklist of a handoff: what the rules ask for, and whatever else is stated, each with item, required, done, by (the person, or rule where the database sees it for itself) and at. RF020 when stated is no list of items.';

CREATE FUNCTION referral.handoff_steps(org_id bigint, work_item_id bigint, to_queue text)
RETURNS TABLE (item text, required boolean, done boolean)
LANGUAGE plpgsql STABLE STRICT ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    i referral.work_item;
BEGIN
    SELECT w.* INTO i FROM referral.work_item w WHERE w.org_id = handoff_steps.org_id AND w.work_item_id = handoff_steps.work_item_id;
    RETURN QUERY
        SELECT r.item, r.required, r.holds
        FROM referral.queue q CROSS JOIN LATERAL referral.handoff_rules(i, q.name, handoff_steps.to_queue) r
        WHERE q.org_id = i.org_id AND q.queue_id = i.queue_id;
END $$;
COMMENT ON FUNCTION referral.handoff_steps(bigint, bigint, text) IS
'What is to be done before a work item is handed over to a queue: the checklist that hand_over() wants. done: what the database sees for itself; null where the person has to say it. No rows for an item that is not visible, and for null.';

-- ---------- Verbs ----------

CREATE FUNCTION referral.open_handoff(item record, to_queue_id bigint, summary text, reason text, checklist jsonb, by_rule boolean) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    q record;
    id bigint;
BEGIN
    SELECT x.calendar, x.lease INTO q FROM referral.queue x WHERE x.org_id = item.org_id AND x.queue_id = to_queue_id;
    INSERT INTO referral.handoff (org_id, work_item_id, referral_id, from_queue_id, to_queue_id, from_owner, reason, summary, checklist,
                                  by_rule, released_at, released_by, accept_by)
    VALUES (item.org_id, item.work_item_id, item.referral_id, item.queue_id, open_handoff.to_queue_id, item.owner, open_handoff.reason,
            open_handoff.summary, open_handoff.checklist, open_handoff.by_rule, referral.event_time(), referral.current_actor(),
            referral.due_by(q.calendar, item.org_id, referral.event_time(), q.lease))
    RETURNING handoff_id INTO id;
    UPDATE referral.work_item w
    SET queue_id = open_handoff.to_queue_id, status = 'requested', verb = 'hand_over', owner = NULL, claimed_at = NULL, lease_until = NULL,
        handed_over_by = coalesce(item.handed_over_by, CASE WHEN by_rule THEN item.owner ELSE referral.current_actor() END)
    WHERE w.org_id = item.org_id AND w.work_item_id = item.work_item_id;
    RETURN id;
END $$;
COMMENT ON FUNCTION referral.open_handoff(record, bigint, text, text, jsonb, boolean) IS
'Writes down that a work item which somebody has goes to another queue, and puts it there, to be accepted. Writes with the caller''s rights and asks nobody.';

CREATE FUNCTION referral.hand_over(org_id bigint, work_item_id bigint, to_queue text, summary text, reason text, checklist jsonb DEFAULT '[]')
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    i referral.work_item;
    source text;
    target bigint;
    list jsonb;
BEGIN
    PERFORM referral.require_reason(reason);
    IF coalesce(summary !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a summary is required'
            USING ERRCODE = 'RF005', DETAIL = 'Who takes the work over has to know where it stands.',
                  HINT = 'Say what has been done, and what is to be done next.';
    END IF;
    i := referral.lock_item(org_id, work_item_id);
    PERFORM referral.require_owner(i, true);
    source := (SELECT q.name FROM referral.queue q WHERE q.org_id = i.org_id AND q.queue_id = i.queue_id);
    target := referral.effective_queue(i.org_id, referral.queue_named(i.org_id, to_queue));
    IF target = i.queue_id THEN
        RAISE EXCEPTION 'work item % is in queue "%" already', i.work_item_id, source
            USING ERRCODE = 'RF020', DETAIL = 'The queue that is named is this one, or falls back to it now.',
                  HINT = 'Release it, or have who leads the queue assign it to somebody else.';
    END IF;
    list := referral.handoff_checklist_of(i, source, to_queue, checklist);
    IF jsonb_path_exists(list, '$[*] ? (@.required == true && @.done == false)') THEN
        RAISE EXCEPTION 'the checklist of the handoff is not complete'
            USING ERRCODE = 'RF002',
                  DETAIL = format('Not done: %s.', (SELECT string_agg(format('"%s"', x ->> 'item'), ', ')
                                                    FROM jsonb_array_elements(list) x
                                                    WHERE (x -> 'required')::boolean AND NOT (x -> 'done')::boolean)),
                  HINT = 'Do it, and say so in checklist where the database cannot see it; see referral.handoff_steps().';
    END IF;
    RETURN referral.open_handoff(i, target, summary, reason, list, false);
END $$;
COMMENT ON FUNCTION referral.hand_over(bigint, bigint, text, text, text, jsonb) IS
'Hands a work item over to another queue, or the one that it falls back to now, and returns the handoff_id: somebody there accepts it (accept_handoff(), or a claim) or returns it; until then who hands it over answers for it. summary: what the next one has to know; reason: why it goes; checklist: what was done of handoff_steps(), such as [{"item": "Patient told", "done": true}]. For who has the item, and who leads its queue. RF001 when nobody has it, or it is closed; RF002 when a required item of the checklist is not done; RF003 for others; RF005 without summary or reason; RF019 when there is no such item or queue, also for null; RF020 when it is there already, or checklist is no list of items.';

CREATE FUNCTION referral.hand_over_by_rule(item record, to_queue_id bigint, reason text, verb text DEFAULT 'route',
    routing_decision_id bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item := item;
    former referral.handoff;
    list jsonb;
BEGIN
    IF i.queue_id = to_queue_id THEN
        RETURN NULL;
    END IF;
    IF i.status = 'requested' THEN
        -- who handed it over answers for it until somebody accepts it, wherever that is
        UPDATE referral.handoff h SET status = 'withdrawn', withdrawn_at = referral.event_time(), withdrawn_by = referral.current_actor()
        WHERE h.org_id = i.org_id AND h.work_item_id = i.work_item_id AND h.status = 'released'
        RETURNING h.* INTO former;
        IF former.from_queue_id = to_queue_id THEN
            PERFORM referral.put_back(former, verb);
            RETURN NULL;
        END IF;
        i.queue_id := coalesce(former.from_queue_id, i.queue_id);
        i.owner := coalesce(former.from_owner, i.handed_over_by);
    END IF;
    IF i.owner IS NULL THEN
        PERFORM referral.move_item(i.org_id, i.work_item_id, to_queue_id, verb, routing_decision_id);
        RETURN NULL;
    END IF;
    SELECT referral.handoff_checklist_of(i, f.name, t.name, '[]') INTO list
    FROM referral.queue f, referral.queue t
    WHERE f.org_id = i.org_id AND f.queue_id = i.queue_id AND t.org_id = i.org_id AND t.queue_id = hand_over_by_rule.to_queue_id;
    RETURN referral.open_handoff(i, to_queue_id, former.summary, reason, list, true);
END $$;
COMMENT ON FUNCTION referral.hand_over_by_rule(record, bigint, text, text, bigint) IS
'Sends a work item, which is locked, to another queue because a rule says so. What nobody has is moved. What somebody has is handed over, as by hand_over(): nobody is asked for a summary, and what is not done of the checklist is only noted; who had it answers for it until it is accepted. What was handed over and not accepted yet is handed over anew by who had it, with his summary; sent to where it came from, it goes back to him. verb, routing_decision_id: what is being done, for the record. Returns the handoff_id; null when it is there already, was moved, or went back. Writes with the caller''s rights.';

CREATE FUNCTION referral.lock_handoff(org_id bigint, handoff_id bigint, wanted text[]) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    h referral.handoff;
BEGIN
    IF referral.may_change_org(org_id) THEN
        SELECT * INTO h FROM referral.handoff x WHERE x.org_id = lock_handoff.org_id AND x.handoff_id = lock_handoff.handoff_id;
    END IF;
    IF h.handoff_id IS NULL THEN
        RAISE EXCEPTION 'there is no handoff % in organisation %', handoff_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.handoff.';
    END IF;
    -- the item first, as everybody does: who comes second sees what the first one did
    PERFORM referral.lock_item(org_id, h.work_item_id);
    SELECT * INTO h FROM referral.handoff x
    WHERE x.org_id = lock_handoff.org_id AND x.handoff_id = lock_handoff.handoff_id FOR UPDATE;
    IF h.status <> ALL (wanted) OR EXISTS (SELECT FROM referral.handoff x
                                           WHERE x.org_id = h.org_id AND x.work_item_id = h.work_item_id AND x.handoff_id > h.handoff_id) THEN
        RAISE EXCEPTION 'handoff % is %', handoff_id,
                        CASE WHEN h.status = ANY (wanted) THEN 'not the last one of its item' ELSE h.status END
            USING ERRCODE = 'RF001', DETAIL = format('This is possible for the last handoff of an item, while it is %s.', array_to_string(wanted, ' or ')),
                  HINT = 'See referral.handoff; the item can be claimed where it is, or handed over anew.';
    END IF;
    RETURN h;
END $$;
COMMENT ON FUNCTION referral.lock_handoff(bigint, bigint, text[]) IS
'Locks the work item of a handoff, and the handoff, until the end of the transaction and returns the handoff. For functions that run with the owner''s rights. RF001 when its status is none of those wanted, the item was handed over again or is closed; RF019 when there is none that the session may change.';

CREATE FUNCTION referral.put_back(h record, verb text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- to the one who had it, as long as he is there and has room for it
    IF referral.queue_membership(h.org_id, h.from_queue_id, h.from_owner) IS NOT NULL AND NOT referral.is_absent(h.org_id, h.from_owner, now())
       AND coalesce(referral.room_of(h.org_id, h.from_queue_id, h.from_owner) > 0, true) THEN
        UPDATE referral.work_item w
        SET queue_id = h.from_queue_id, status = 'in-progress', verb = put_back.verb, owner = h.from_owner, handed_over_by = NULL, claimed_at = now(),
            lease_until = now() + (SELECT q.lease FROM referral.queue q WHERE q.org_id = h.org_id AND q.queue_id = h.from_queue_id)
        WHERE w.org_id = h.org_id AND w.work_item_id = h.work_item_id;
    ELSE
        PERFORM referral.move_item(h.org_id, h.work_item_id, referral.effective_queue(h.org_id, h.from_queue_id), verb);
    END IF;
END $$;
COMMENT ON FUNCTION referral.put_back(record, text) IS
'Gives the item of a handoff back to who had it before, or, when he is not there or has no room, to the queue it came from. Writes with the caller''s rights and asks nobody.';

CREATE FUNCTION referral.accept_handoff(org_id bigint, handoff_id bigint) RETURNS timestamptz
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    h referral.handoff := referral.lock_handoff(org_id, handoff_id, '{released}');
BEGIN
    RETURN referral.claim(h.org_id, h.work_item_id);
END $$;
COMMENT ON FUNCTION referral.accept_handoff(bigint, bigint) IS
'Accepts what was handed over: whoever acts has the item from now on, until the time that is returned, and answers for it. The same as to claim the item. RF001 when it was accepted, returned or withdrawn already, or the item is closed; RF003 when he does not work on the queue it was handed to, or is a model; RF019 when there is no such handoff; RF026 when he has as many as he may. Null for null.';

CREATE FUNCTION referral.return_handoff(org_id bigint, handoff_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    h referral.handoff;
    i referral.work_item;
BEGIN
    PERFORM referral.require_reason(reason);
    PERFORM referral.require_claimer(org_id);
    h := referral.lock_handoff(org_id, handoff_id, '{released,accepted}');
    i := referral.lock_item(h.org_id, h.work_item_id);
    IF h.status = 'accepted' THEN
        PERFORM referral.require_owner(i, true);
    ELSIF referral.queue_membership(i.org_id, i.queue_id, referral.current_actor()) IS NULL THEN
        PERFORM referral.require_lead(i.org_id, i.queue_id);
    END IF;
    IF i.queue_id <> h.to_queue_id THEN
        RAISE EXCEPTION 'work item % has gone elsewhere since', i.work_item_id
            USING ERRCODE = 'RF001', DETAIL = 'It is no longer in the queue that it was handed to.', HINT = 'Hand it over from where it is.';
    END IF;
    UPDATE referral.handoff x
    SET status = 'returned', returned_at = referral.event_time(), returned_by = referral.current_actor(), return_reason = return_handoff.reason
    WHERE x.org_id = h.org_id AND x.handoff_id = h.handoff_id;
    PERFORM referral.put_back(h, 'return');
END $$;
COMMENT ON FUNCTION referral.return_handoff(bigint, bigint, text) IS
'Returns what was handed over, with the reason, to who had it before, or to his queue while he is not there or has no room. Before it is accepted for those who work on the queue it was handed to; after that for who has the item; for who leads the queue always. RF001 when it was returned or withdrawn already, or the item was closed, handed over again or put elsewhere; RF003 for others; RF005 without a reason; RF019 when there is no such handoff, also for null.';

CREATE FUNCTION referral.withdraw_handoff(org_id bigint, handoff_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    h referral.handoff;
BEGIN
    PERFORM referral.require_reason(reason);
    h := referral.lock_handoff(org_id, handoff_id, '{released}');
    IF referral.current_actor() <> ALL (ARRAY[h.released_by, h.from_owner]) OR referral.current_actor_kind(h.org_id) = 'ai' THEN
        PERFORM referral.require_lead(h.org_id, h.from_queue_id);
    END IF;
    UPDATE referral.handoff x
    SET status = 'withdrawn', withdrawn_at = referral.event_time(), withdrawn_by = referral.current_actor()
    WHERE x.org_id = h.org_id AND x.handoff_id = h.handoff_id;
    PERFORM referral.put_back(h, 'withdraw');
END $$;
COMMENT ON FUNCTION referral.withdraw_handoff(bigint, bigint, text) IS
'Takes back what was handed over and nobody has accepted yet; the item goes back to who had it, or to his queue while he is not there or has no room. For who handed it over, who had it, and who leads the queue it came from. RF001 when it was accepted, returned or withdrawn already, or the item is closed; RF003 for others; RF005 without a reason; RF019 when there is no such handoff, also for null.';

-- ---------- What follows from the item ----------

CREATE FUNCTION referral.handoff_settled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.status = 'in-progress' THEN
        UPDATE referral.handoff h SET status = 'accepted', accepted_at = referral.event_time(), accepted_by = NEW.owner
        WHERE h.org_id = NEW.org_id AND h.work_item_id = NEW.work_item_id AND h.status = 'released';
    ELSE
        UPDATE referral.handoff h SET status = 'withdrawn', withdrawn_at = referral.event_time(), withdrawn_by = referral.current_actor()
        WHERE h.org_id = NEW.org_id AND h.work_item_id = NEW.work_item_id AND h.status = 'released';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.handoff_settled() IS
'AFTER UPDATE row trigger of referral.work_item, where it is no longer waiting to be accepted: the open handoff is accepted by who has the item now; when it was closed or put elsewhere, it is withdrawn.';

REVOKE ALL ON FUNCTION referral.handoff_rules(record, text, text), referral.handoff_checklist_of(record, text, text, jsonb),
    referral.handoff_steps(bigint, bigint, text), referral.open_handoff(record, bigint, text, text, jsonb, boolean),
    referral.hand_over(bigint, bigint, text, text, text, jsonb), referral.hand_over_by_rule(record, bigint, text, text, bigint),
    referral.lock_handoff(bigint, bigint, text[]), referral.put_back(record, text), referral.accept_handoff(bigint, bigint),
    referral.return_handoff(bigint, bigint, text), referral.withdraw_handoff(bigint, bigint, text), referral.handoff_settled() FROM PUBLIC;
