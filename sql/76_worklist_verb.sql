-- worklist: what people do with items. Each verb is a function of its own, with its own right to call it

CREATE FUNCTION referral.require_number(number integer, most integer DEFAULT 2147483647) RETURNS void
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF number NOT BETWEEN 0 AND most THEN
        RAISE EXCEPTION 'cannot take % rows at once', number
            USING ERRCODE = 'RF020', DETAIL = 'The number says how many are wanted at most.', HINT = format('Name one from 0 to %s.', most);
    END IF;
END $$;
COMMENT ON FUNCTION referral.require_number(integer, integer) IS
'Refuses (RF020) a number of rows to take at once that is below 0, or above the most. Nothing happens for null.';

CREATE FUNCTION referral.claim_next(org_id bigint, queue text, n integer DEFAULT 1)
RETURNS TABLE (work_item_id bigint, entity text, entity_id bigint, referral_id bigint, kind text, title text, score float8,
               due_at timestamptz, lease_until timestamptz)
LANGUAGE C ROWS 1 AS 'MODULE_PATHNAME', 'claim_next';
COMMENT ON FUNCTION referral.claim_next(bigint, text, integer) IS
'Claims the n items (default 1, at most 1,000) of a queue that nobody has and that rank first, for whoever acts, and returns them; fewer when he has room for fewer, none when there is none left. Two who call it at once never get the same item, and nobody waits. Each is his until lease_until. score: as work_item holds it, without what time adds to all; my_worklist and rank_score() tell the points. RF003 when he does not work on the queue, is absent, or is a model; RF019 when there is no such queue; RF020 when n is below 0 or above 1,000; RF026 when he has as many as he may already. Null for null: no rows.';

CREATE FUNCTION referral.claim(org_id bigint, work_item_id bigint) RETURNS timestamptz
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item;
    actor text := referral.current_actor();
    until timestamptz;
BEGIN
    PERFORM referral.require_claimer(org_id);
    PERFORM referral.require_present(org_id, actor);
    i := referral.lock_item(org_id, work_item_id);
    IF i.owner IS NOT NULL AND (i.owner <> actor OR i.status = 'on-hold') THEN
        RAISE EXCEPTION 'work item % is %', i.work_item_id, CASE i.status WHEN 'on-hold' THEN 'on hold' ELSE 'claimed already' END
            USING ERRCODE = 'RF001', DETAIL = 'owner in referral.work_item says by whom.',
                  HINT = CASE i.status WHEN 'on-hold' THEN 'See referral.resume().' ELSE 'Take another one: referral.claim_next().' END;
    END IF;
    IF NOT (referral.is_called(referral.acting_login(), i.escalated_to) AND referral.works_here(org_id)) THEN
        -- who has it needs no more room, but still has to work on the queue
        IF i.owner IS NULL THEN
            PERFORM referral.require_room(org_id, i.queue_id, actor);
        ELSE
            PERFORM referral.room_of(org_id, i.queue_id, actor);
        END IF;
    END IF;
    UPDATE referral.work_item w
    SET status = 'in-progress', verb = CASE WHEN i.owner IS NULL THEN 'claim' ELSE 'renew' END, owner = actor,
        claimed_at = coalesce(w.claimed_at, now()),
        lease_until = now() + (SELECT q.lease FROM referral.queue q WHERE q.org_id = i.org_id AND q.queue_id = i.queue_id)
    WHERE w.org_id = i.org_id AND w.work_item_id = i.work_item_id
    RETURNING w.lease_until INTO until;
    RETURN until;
END $$;
COMMENT ON FUNCTION referral.claim(bigint, bigint) IS
'Claims one item for whoever acts, and returns until when it is his; called again by him, it is his for as long anew. RF001 when somebody else has it, or it is closed; RF003 when he does not work on its queue, nor has the role that it was escalated to, is absent, or is a model; RF019 when there is no such item; RF026 when he has as many as he may, unless it was escalated to a role of his. Null for null.';

CREATE FUNCTION referral.release(org_id bigint, work_item_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    i referral.work_item;
BEGIN
    PERFORM referral.require_reason(reason);
    i := referral.lock_item(org_id, work_item_id);
    PERFORM referral.require_owner(i, true);
    PERFORM referral.move_item(i.org_id, i.work_item_id, referral.effective_queue(i.org_id, i.queue_id), 'release');
END $$;
COMMENT ON FUNCTION referral.release(bigint, bigint, text) IS
'Gives an item back to its queue, or to the one that it falls back to now, where others find it. For who has it, and who leads the queue. RF001 when nobody has it, or it is closed; RF003 for others; RF005 without a reason; RF019 when there is no such item, also for null.';

CREATE FUNCTION referral.assign(org_id bigint, work_item_id bigint, member text, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    i referral.work_item;
BEGIN
    PERFORM referral.require_reason(reason);
    i := referral.lock_item(org_id, work_item_id);
    PERFORM referral.require_lead(i.org_id, i.queue_id);
    IF i.owner IS NOT DISTINCT FROM assign.member AND i.status = 'in-progress' THEN
        RETURN;
    END IF;
    PERFORM referral.require_room(i.org_id, i.queue_id, assign.member);
    PERFORM referral.give_item(i.org_id, i.work_item_id, assign.member, 'assign');
END $$;
COMMENT ON FUNCTION referral.assign(bigint, bigint, text, text) IS
'Gives an item to a member of its queue, whoever had it before. For who leads the queue. RF001 when it is closed; RF003 for others, and for who does not work on the queue, is absent, or is a model; RF005 without a reason; RF019 when there is no such item, also for null; RF026 when he has as many as he may.';

CREATE FUNCTION referral.give_item(org_id bigint, work_item_id bigint, member text, verb text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE referral.work_item w
    SET status = 'in-progress', verb = give_item.verb, owner = give_item.member, claimed_at = now(),
        lease_until = now() + (SELECT q.lease FROM referral.queue q WHERE q.org_id = w.org_id AND q.queue_id = w.queue_id)
    WHERE w.org_id = give_item.org_id AND w.work_item_id = give_item.work_item_id AND w.closed_at IS NULL;
END $$;
COMMENT ON FUNCTION referral.give_item(bigint, bigint, text, text) IS
'Makes an open item a person''s, until its queue''s lease is over; verb: what is being done, for the record. Writes with the caller''s rights and asks nobody.';

CREATE FUNCTION referral.reassign(org_id bigint, work_item_id bigint, queue text, reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    i referral.work_item;
    target bigint;
BEGIN
    PERFORM referral.require_reason(reason);
    i := referral.lock_item(org_id, work_item_id);
    PERFORM referral.require_lead(i.org_id, i.queue_id);
    target := referral.effective_queue(i.org_id, referral.queue_named(i.org_id, queue));
    PERFORM referral.move_item(i.org_id, i.work_item_id, target, 'reassign');
    RETURN target;
END $$;
COMMENT ON FUNCTION referral.reassign(bigint, bigint, text, text) IS
'Puts an item into another queue, where nobody has it, and returns its queue_id: that queue, or the one it falls back to now. For who leads the queue it comes from. RF001 when it is closed; RF003 for others; RF005 without a reason; RF019 when there is no such item or queue, also for null.';

CREATE FUNCTION referral.hold(org_id bigint, work_item_id bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    i referral.work_item;
BEGIN
    PERFORM referral.require_reason(reason);
    i := referral.lock_item(org_id, work_item_id);
    PERFORM referral.require_owner(i, true);
    UPDATE referral.work_item w SET status = 'on-hold', verb = 'hold', lease_until = NULL
    WHERE w.org_id = i.org_id AND w.work_item_id = i.work_item_id AND w.status <> 'on-hold';
END $$;
COMMENT ON FUNCTION referral.hold(bigint, bigint, text) IS
'Sets an item aside: its owner keeps it, without a lease, and has room for another one. For who has it, and who leads the queue. RF001 when nobody has it, or it is closed; RF003 for others; RF005 without a reason; RF019 when there is no such item, also for null.';

CREATE FUNCTION referral.resume(org_id bigint, work_item_id bigint) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item;
BEGIN
    i := referral.lock_item(org_id, work_item_id);
    PERFORM referral.require_owner(i, true);
    IF i.status = 'on-hold' THEN
        IF NOT referral.is_called(i.owner, i.escalated_to) THEN
            PERFORM referral.require_room(i.org_id, i.queue_id, i.owner);
        END IF;
        PERFORM referral.give_item(i.org_id, i.work_item_id, i.owner, 'resume');
    END IF;
END $$;
COMMENT ON FUNCTION referral.resume(bigint, bigint) IS
'Goes on with an item that was set aside. For who has it, and who leads the queue. RF001 when nobody has it, or it is closed; RF003 for others; RF019 when there is no such item; RF026 when the owner has as many as he may. Null for null.';

CREATE FUNCTION referral.complete(org_id bigint, work_item_id bigint, outcome text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item;
BEGIN
    i := referral.lock_item(org_id, work_item_id);
    PERFORM referral.require_owner(i, true);
    IF i.kind NOT IN ('referral', 'task') THEN
        RAISE EXCEPTION 'work item % is done when its % is settled', i.work_item_id, i.kind
            USING ERRCODE = 'RF001', DETAIL = format('It is about %s %s, which is still work.', i.entity, i.entity_id),
                  HINT = CASE i.entity
                         WHEN 'exception_item' THEN format('SELECT referral.close_exception(%s, %s, ''what was done''). That completes the item.', i.org_id, i.entity_id)
                         WHEN 'approval_request' THEN format('SELECT referral.approve(%s, %s), or referral.reject(). That completes the item.', i.org_id, i.entity_id)
                         WHEN 'extraction' THEN format('SELECT referral.review_extraction(%s, %s, ''accept''). That completes the item.', i.org_id, i.entity_id)
                         WHEN 'document_classification' THEN format('SELECT referral.review_classification(%s, %s, ''accept''). That completes the item.', i.org_id, i.entity_id)
                         ELSE 'Change the row, so that no rule of referral.work_source asks for the item.' END;
    END IF;
    PERFORM referral.close_work(i.org_id, i.work_item_id, 'completed', outcome, 'complete');
    RETURN CASE WHEN i.kind = 'referral' THEN referral.work_again(i.entity, i.org_id, i.entity_id) END;
END $$;
COMMENT ON FUNCTION referral.complete(bigint, bigint, text) IS
'Closes the item of a referral, or a task, as done, with what came of it. A referral that has not come to its end has its next item at once, unclaimed, where the rules send it now, also to the same queue when it is still at the same step; its work_item_id is returned, else null. For who has it, and who leads the queue. RF001 when nobody has it, it is closed, or it is about an exception, an approval or a review, which is done when that is settled; RF003 for others; RF019 when there is no such item, also for null.';

-- ---------- Absence, load, leases ----------

CREATE FUNCTION referral.rebalance(org_id bigint, queue text)
RETURNS TABLE (work_item_id bigint, from_member text, to_member text, why text)
LANGUAGE plpgsql SECURITY DEFINER ROWS 10 SET search_path = pg_catalog, pg_temp SET referral.reason = 'rebalance' AS $$
#variable_conflict use_column
DECLARE
    q bigint;
    i record;
BEGIN
    IF referral.may_change_org(rebalance.org_id) IS NOT TRUE THEN
        PERFORM referral.refuse_queue(rebalance.org_id, rebalance.queue);
    END IF;
    q := referral.queue_named(rebalance.org_id, rebalance.queue);
    PERFORM referral.require_lead(rebalance.org_id, q);
    -- nobody claims meanwhile, so that the room that is found is there
    PERFORM FROM referral.queue_member m WHERE m.org_id = rebalance.org_id AND m.queue_id = q
    ORDER BY m.queue_member_id FOR NO KEY UPDATE;
    FOR i IN
        WITH held AS (
            SELECT w.work_item_id, w.owner, w.status, m.capacity, m.queue_member_id,
                   row_number() OVER (PARTITION BY w.owner, w.status = 'in-progress' ORDER BY w.score DESC, w.work_item_id) AS nth
            FROM referral.work_item w
            LEFT JOIN LATERAL (SELECT p.capacity, p.queue_member_id FROM referral.present_members(w.org_id, w.queue_id) p WHERE p.member = w.owner) m ON true
            WHERE w.org_id = rebalance.org_id AND w.queue_id = q AND w.status IN ('in-progress', 'on-hold'))
        SELECT h.work_item_id AS id, h.owner,
               CASE WHEN h.queue_member_id IS NULL THEN 'absent' ELSE 'overloaded' END AS why,
               (SELECT a.substitute FROM referral.absence a
                WHERE a.org_id = rebalance.org_id AND a.member = h.owner AND a.during @> now()) AS substitute
        FROM held h
        WHERE h.queue_member_id IS NULL OR (h.status = 'in-progress' AND h.nth > h.capacity)
        ORDER BY h.work_item_id
    LOOP
        SELECT p.member INTO to_member
        FROM referral.present_members(rebalance.org_id, q) p
        CROSS JOIN LATERAL (SELECT count(*) AS items FROM referral.work_item w
                            WHERE w.org_id = rebalance.org_id AND w.owner = p.member AND w.queue_id = q AND w.status = 'in-progress') l
        WHERE p.member <> i.owner AND (p.capacity IS NULL OR l.items < p.capacity)
        ORDER BY p.member IS NOT DISTINCT FROM i.substitute DESC, l.items, p.member LIMIT 1;
        -- nobody has room: what an absent one has goes back, so that it is not forgotten
        IF to_member IS NOT NULL THEN
            PERFORM referral.give_item(rebalance.org_id, i.id, to_member, 'rebalance');
        ELSIF i.why = 'absent' THEN
            PERFORM referral.move_item(rebalance.org_id, i.id, referral.effective_queue(rebalance.org_id, q), 'rebalance');
        ELSE
            CONTINUE;
        END IF;
        work_item_id := i.id;
        from_member := i.owner;
        why := i.why;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.rebalance(bigint, text) IS
'Gives claimed items of members who are absent, or who have more than their capacity (the lowest ranking ones), to others of the queue who have room: the substitute first, then who has the fewest; where nobody has, items of absent members go back to the queue (to_member null) or to the one it falls back to. Returns what moved. What nobody has claimed stays. For who leads the queue. RF003 for others, RF019 when there is no such queue, also for null.';

CREATE FUNCTION referral.reclaim_expired(as_of timestamptz DEFAULT now(), max integer DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET referral.reason = 'the lease is over' SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    i record;
    n bigint := 0;
BEGIN
    PERFORM referral.require_number(max);
    FOR i IN SELECT w.org_id, w.work_item_id, w.queue_id FROM referral.work_item w
             WHERE w.status = 'in-progress' AND w.lease_until <= reclaim_expired.as_of
             ORDER BY w.lease_until LIMIT reclaim_expired.max FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM referral.move_item(i.org_id, i.work_item_id, referral.effective_queue(i.org_id, i.queue_id, as_of), 'reclaim');
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.reclaim_expired(timestamptz, integer) IS
'Takes back up to max items whose lease was over at as_of, so that others find them in their queue, or in the one that it falls back to; returns how many. Called by tick(). RF020 when max is below 0. Null for null.';

CREATE FUNCTION referral.reclaim_held(as_of timestamptz DEFAULT now(), max integer DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET referral.reason = 'who had set it aside does not work on the queue any more' SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    i record;
    n bigint := 0;
BEGIN
    PERFORM referral.require_number(max);
    -- people first: there are fewer of them than items
    FOR i IN SELECT w.org_id, w.work_item_id, w.queue_id
             FROM (SELECT DISTINCT h.org_id, h.queue_id, h.owner FROM referral.work_item h WHERE h.status = 'on-hold') o
             JOIN referral.work_item w USING (org_id, queue_id, owner)
             WHERE w.status = 'on-hold' AND NOT referral.is_called(o.owner, w.escalated_to)
               AND referral.queue_membership(o.org_id, o.queue_id, o.owner, reclaim_held.as_of) IS NULL
             LIMIT reclaim_held.max FOR UPDATE OF w SKIP LOCKED
    LOOP
        PERFORM referral.move_item(i.org_id, i.work_item_id, referral.effective_queue(i.org_id, i.queue_id, as_of), 'reclaim');
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.reclaim_held(timestamptz, integer) IS
'Takes back up to max items on hold whose owner does not work on their queue at as_of any more, neither as a member nor for an absent one, or is a model; returns how many. Not those that were escalated to a role of his. Called by tick(). RF020 when max is below 0. Null for null.';

CREATE FUNCTION referral.move_stranded(as_of timestamptz DEFAULT now(), max integer DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET referral.reason = 'nobody works on the queue' SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    i record;
    n bigint := 0;
BEGIN
    PERFORM referral.require_number(max);
    FOR i IN SELECT w AS item, t.target
             FROM referral.queue q
             -- most queues without anybody are empty, too: those are not asked
             CROSS JOIN LATERAL (SELECT CASE WHEN EXISTS (SELECT FROM referral.work_item e
                                                          WHERE e.org_id = q.org_id AND e.queue_id = q.queue_id AND e.status IN ('ready', 'requested'))
                                             THEN referral.effective_queue(q.org_id, q.queue_id, move_stranded.as_of) END AS target OFFSET 0) t
             JOIN referral.work_item w ON w.org_id = q.org_id AND w.queue_id = q.queue_id AND w.status IN ('ready', 'requested')
             WHERE t.target <> q.queue_id
             LIMIT move_stranded.max FOR UPDATE OF w SKIP LOCKED
    LOOP
        PERFORM referral.hand_over_by_rule(i.item, i.target, 'nobody works on the queue', 'fall_back');
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
COMMENT ON FUNCTION referral.move_stranded(timestamptz, integer) IS
'Moves up to max items that wait in a queue that is not active at as_of, or where nobody is there, to the queue that it falls back to; what was handed over still waits to be accepted, there. Returns how many. Called by tick(). RF020 when max is below 0. Null for null.';

-- of all that the parts of worklist have
REVOKE ALL ON FUNCTION referral.standard_queues(bigint), referral.organization_queues(), referral.refuse_queue(bigint, text), referral.queue_named(bigint, text),
    referral.queue_guard(), referral.is_model(bigint, text), referral.is_called(text, name), referral.queue_membership(bigint, bigint, text, timestamptz), referral.is_absent(bigint, text, timestamptz),
    referral.present_members(bigint, bigint, timestamptz), referral.effective_queue(bigint, bigint, timestamptz),
    referral.leads_queue(bigint, bigint), referral.require_lead(bigint, bigint), referral.absence_guard(),
    referral.lock_item(bigint, bigint), referral.require_present(bigint, text), referral.room_of(bigint, bigint, text), referral.require_room(bigint, bigint, text),
    referral.require_claimer(bigint), referral.require_owner(record, boolean), referral.work_item_guard(), referral.arrival(), referral.work_item_arrives(),
    referral.open_work(text, bigint, bigint, text, bigint, bigint, text, timestamptz, boolean, text, bigint, bigint),
    referral.close_work(bigint, bigint, referral.task_status, text, text), referral.move_item(bigint, bigint, bigint, text, bigint),
    referral.give_item(bigint, bigint, text, text), referral.claim_next(bigint, text, integer), referral.claim(bigint, bigint),
    referral.release(bigint, bigint, text), referral.assign(bigint, bigint, text, text), referral.reassign(bigint, bigint, text, text),
    referral.hold(bigint, bigint, text), referral.resume(bigint, bigint), referral.complete(bigint, bigint, text),
    referral.rebalance(bigint, text), referral.reclaim_expired(timestamptz, integer), referral.reclaim_held(timestamptz, integer),
    referral.move_stranded(timestamptz, integer) FROM PUBLIC;
