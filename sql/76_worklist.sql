-- worklist: queues, who works on them, and the items in them

CREATE TYPE referral.task_status AS ENUM ('draft', 'requested', 'received', 'accepted', 'ready', 'in-progress', 'on-hold',
    'completed', 'cancelled', 'rejected', 'failed', 'entered-in-error');
COMMENT ON TYPE referral.task_status IS
'FHIR R4 task-status. A work item is ready (nobody has it), requested (handed over, not accepted yet), in-progress (claimed), on-hold, or closed: completed, cancelled, entered-in-error.';

-- ---------- Queues ----------

CREATE FUNCTION referral.standard_queues(org_id bigint) RETURNS integer
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made integer;
BEGIN
    IF referral.may_change_org(org_id) IS NOT TRUE
       OR NOT EXISTS (SELECT FROM referral.organization o WHERE o.org_id = standard_queues.org_id) THEN
        PERFORM referral.refuse_queue(org_id, NULL);
    END IF;
    -- what the others fall back to comes first
    INSERT INTO referral.queue (org_id, name, title, kind)
    SELECT standard_queues.org_id, s.name, s.title, s.kind
    FROM (VALUES (1, 'manual_triage', 'Manual triage: what no rule has sent elsewhere', 'triage'),
                 (2, 'intake', 'Intake: new referrals, to be checked', 'work'),
                 (3, 'clinical_triage', 'Clinical triage', 'triage'),
                 (4, 'authorization', 'Authorization by the payer', 'work'),
                 (5, 'utilisation_review', 'Utilisation review', 'review'),
                 (6, 'financial_clearance', 'Financial clearance', 'work'),
                 (7, 'scheduling', 'Scheduling', 'work'),
                 (8, 'missing_documents', 'Missing documents', 'work'),
                 (9, 'exceptions', 'Exceptions', 'exception'),
                 (10, 'data_quality', 'Data quality', 'exception'),
                 (11, 'review', 'Review of what models have read', 'review'),
                 (12, 'approvals', 'Approvals', 'approval'),
                 (13, 'closing_the_loop', 'Closing the loop: reports to the requester', 'work'),
                 (14, 'alternate_verification', 'Alternate verification: coverage that no interface can confirm', 'work')) s (sort, name, title, kind)
    WHERE NOT EXISTS (SELECT FROM referral.queue q WHERE q.org_id = standard_queues.org_id AND q.name = s.name)
    ORDER BY s.sort;
    GET DIAGNOSTICS made = ROW_COUNT;
    RETURN made;
END $$;
COMMENT ON FUNCTION referral.standard_queues(bigint) IS
'Lays down the queues that every organisation has, as far as they are missing, and returns how many were. Called for a new organisation and by deploy(). RF019 for an organisation that is not there, or that the session does not work for. Null for null.';

CREATE FUNCTION referral.organization_queues() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.standard_queues(NEW.org_id);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.organization_queues() IS
'AFTER INSERT row trigger of referral.organization: lays down its queues.';

CREATE FUNCTION referral.refuse_queue(org_id bigint, queue text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'there is no queue "%" in organisation %', coalesce(queue, ''), org_id
        USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'SELECT name FROM referral.queue.';
END $$;
COMMENT ON FUNCTION referral.refuse_queue(bigint, text) IS 'Raises RF019: there is no such queue.';

CREATE FUNCTION referral.queue_named(org_id bigint, queue text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
BEGIN
    SELECT q.queue_id INTO id FROM referral.queue q WHERE q.org_id = queue_named.org_id AND q.name = queue_named.queue;
    IF id IS NULL THEN
        PERFORM referral.refuse_queue(org_id, queue);
    END IF;
    RETURN id;
END $$;
COMMENT ON FUNCTION referral.queue_named(bigint, text) IS 'The queue_id of a queue by its name. RF019 when there is none, and for null.';

CREATE FUNCTION referral.queue_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    next bigint;
    seen bigint[] := ARRAY[NEW.queue_id];
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.name = 'manual_triage'
       AND (TG_OP = 'DELETE' OR NOT NEW.active OR NEW.name <> OLD.name OR NEW.fallback_queue_id IS NOT NULL) THEN
        RAISE EXCEPTION 'queue "manual_triage" stays as it is'
            USING ERRCODE = 'RF017', DETAIL = 'Every queue falls back to it in the end, so that nothing is ever nowhere.',
                  HINT = 'Give it other members, or another title.';
    END IF;
    IF TG_OP = 'DELETE' THEN
        -- items and decisions go on naming it, and nothing locks it when one of them is written
        RAISE EXCEPTION 'queues are switched off, not deleted'
            USING ERRCODE = 'RF017', DETAIL = 'The work that was in queue ' || OLD.name || ' names it for ever.',
                  HINT = 'UPDATE referral.queue SET active = false; its work goes to the queue that it falls back to.';
    END IF;
    IF NEW.lease NOT BETWEEN '1 minute' AND '90 days' OR NOT referral.is_target(NEW.lease) THEN
        RAISE EXCEPTION 'the lease of queue "%" is not between a minute and 90 days', NEW.name
            USING ERRCODE = 'RF020', DETAIL = 'It says how long a claimed item stays with who claimed it, in days, or in hours and below.',
                  HINT = 'Choose about as long as one item takes; to claim it again renews it.';
    END IF;
    IF referral.is_model(NEW.org_id, NEW.manager) THEN
        RAISE EXCEPTION 'a model does not answer for a queue'
            USING ERRCODE = 'RF003', DETAIL = 'The manager of a queue answers for what nobody in it has claimed.', HINT = 'Name a person.';
    END IF;
    IF NEW.name <> 'manual_triage' AND NEW.fallback_queue_id IS NULL THEN
        NEW.fallback_queue_id := (SELECT q.queue_id FROM referral.queue q WHERE q.org_id = NEW.org_id AND q.name = 'manual_triage');
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.fallback_queue_id IS NOT DISTINCT FROM OLD.fallback_queue_id THEN
        RETURN NEW;
    END IF;
    -- one at a time, so that two cannot lead to each other
    PERFORM FROM referral.queue q WHERE q.org_id = NEW.org_id AND q.name = 'manual_triage' FOR NO KEY UPDATE;
    next := NEW.fallback_queue_id;
    WHILE next IS NOT NULL LOOP
        IF next = ANY (seen) THEN
            RAISE EXCEPTION 'queue "%" would fall back to itself', NEW.name
                USING ERRCODE = 'RF020', DETAIL = 'The queues that it falls back to lead back to it, or to each other.',
                      HINT = 'Choose another fallback_queue_id, or null for manual_triage.';
        END IF;
        seen := seen || next;
        next := (SELECT q.fallback_queue_id FROM referral.queue q WHERE q.org_id = NEW.org_id AND q.queue_id = next);
    END LOOP;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.queue_guard() IS
'BEFORE row trigger of referral.queue: none is deleted, and manual_triage is not renamed or switched off either (RF017); every other queue falls back to it when nothing else is said, and none falls back to itself (RF020); a lease is between a minute and 90 days (RF020), and no manager is a model (RF003).';

CREATE FUNCTION referral.queues_changed() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'queues_changed';
COMMENT ON FUNCTION referral.queues_changed() IS
'AFTER trigger of queue, queue_member and absence: sessions forget which queue takes the work for which.';
REVOKE ALL ON FUNCTION referral.queues_changed() FROM PUBLIC;

-- ---------- Who works on a queue ----------

CREATE FUNCTION referral.is_model(org_id bigint, member text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM referral.organization_member o
                   WHERE o.org_id = is_model.org_id AND o.login = is_model.member AND o.actor_kind = 'ai');
END $$;
COMMENT ON FUNCTION referral.is_model(bigint, text) IS
'Is that the login of a model, by referral.organization_member? It never has work, and does not count as somebody who is there. Null for null.';

CREATE FUNCTION referral.is_called(login text, escalated_to name) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN escalated_to IS NOT NULL
       AND EXISTS (SELECT FROM pg_roles l JOIN pg_roles r ON pg_has_role(l.oid, r.oid, 'MEMBER')
                   WHERE l.rolname = is_called.login AND r.rolname = is_called.escalated_to);
END $$;
COMMENT ON FUNCTION referral.is_called(text, name) IS
'Has the login the role that an item was escalated to? False for null and for who is no login.';

CREATE FUNCTION referral.queue_membership(org_id bigint, queue_id bigint, member text, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
BEGIN
    SELECT m.queue_member_id INTO id FROM referral.queue_member m
    WHERE m.org_id = queue_membership.org_id AND m.queue_id = queue_membership.queue_id AND m.member = queue_membership.member
      AND m.during @> queue_membership.at AND NOT referral.is_model(queue_membership.org_id, queue_membership.member);
    IF id IS NULL THEN
        SELECT m.queue_member_id INTO id FROM referral.queue_member m
        JOIN referral.absence a ON a.org_id = m.org_id AND a.member = m.member AND a.during @> queue_membership.at
        WHERE m.org_id = queue_membership.org_id AND m.queue_id = queue_membership.queue_id AND m.during @> queue_membership.at
          AND a.substitute = queue_membership.member AND NOT referral.is_model(queue_membership.org_id, queue_membership.member)
        ORDER BY m.queue_member_id LIMIT 1;
    END IF;
    RETURN id;
END $$;
COMMENT ON FUNCTION referral.queue_membership(bigint, bigint, text, timestamptz) IS
'The queue_member_id by which a person works on a queue at a time: his own, else that of an absent member whose substitute he is. Null when he does not, for a model, and for null. Whether he is there just then is_absent() tells.';

CREATE FUNCTION referral.is_absent(org_id bigint, member text, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM referral.absence a
                   WHERE a.org_id = is_absent.org_id AND a.member = is_absent.member AND a.during @> is_absent.at)
$$;
COMMENT ON FUNCTION referral.is_absent(bigint, text, timestamptz) IS 'Is the person absent at the time, by referral.absence? Null for null.';

CREATE FUNCTION referral.present_members(org_id bigint, queue_id bigint, at timestamptz DEFAULT now())
RETURNS TABLE (member text, capacity integer, languages text[], queue_member_id bigint)
LANGUAGE sql STABLE STRICT ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT ON (coalesce(a.substitute, m.member)) coalesce(a.substitute, m.member), m.capacity, m.languages, m.queue_member_id
    FROM referral.queue_member m
    LEFT JOIN referral.absence a ON a.org_id = m.org_id AND a.member = m.member AND a.during @> present_members.at
    WHERE m.org_id = present_members.org_id AND m.queue_id = present_members.queue_id AND m.during @> present_members.at
      AND m.capacity IS DISTINCT FROM 0
      AND (a.member IS NULL OR (a.substitute IS NOT NULL AND NOT referral.is_absent(m.org_id, a.substitute, present_members.at)))
      AND NOT referral.is_model(m.org_id, coalesce(a.substitute, m.member))
    ORDER BY coalesce(a.substitute, m.member), a.member IS NOT NULL, m.queue_member_id
$$;
COMMENT ON FUNCTION referral.present_members(bigint, bigint, timestamptz) IS
'Who works on a queue at a time: its members who may have items (whose capacity is not 0) and are not absent, and the substitutes of those who are, but no models; with the capacity (null: no limit) and languages of the membership. Null for null: no rows.';

CREATE FUNCTION referral.effective_queue(org_id bigint, queue_id bigint, at timestamptz DEFAULT now()) RETURNS bigint
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'effective_queue';
COMMENT ON FUNCTION referral.effective_queue(bigint, bigint, timestamptz) IS
'Where work for a queue goes at a time: the queue itself, or, when it is not active or none of its members is there (models do not count), the next one that it falls back to; manual_triage in the end, whoever works on it. Null for null and for a queue that is not there.';

CREATE FUNCTION referral.leads_queue(org_id bigint, queue_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text := referral.current_actor();
BEGIN
    IF referral.current_actor_kind(org_id) <> 'user' THEN
        RETURN false;
    END IF;
    RETURN pg_has_role(referral.acting_login(), 'referral_admin', 'MEMBER')
        OR EXISTS (SELECT FROM referral.queue q
                   WHERE q.org_id = leads_queue.org_id AND q.queue_id = leads_queue.queue_id AND q.manager = actor)
        OR EXISTS (SELECT FROM referral.queue_member m
                   WHERE m.org_id = leads_queue.org_id AND m.queue_id = leads_queue.queue_id AND m.is_lead
                     AND m.member = actor AND m.during @> now());
END $$;
COMMENT ON FUNCTION referral.leads_queue(bigint, bigint) IS
'May the person who acts say who does what in a queue? Its manager, its leads, and members of referral_admin may; no system or model. Null for null.';

CREATE FUNCTION referral.require_lead(org_id bigint, queue_id bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.leads_queue(org_id, queue_id) IS NOT TRUE THEN
        RAISE EXCEPTION 'only who leads the queue may do this'
            USING ERRCODE = 'RF003', DETAIL = 'It is for the manager of the queue, its leads and members of referral_admin, and for people.',
                  HINT = 'See manager in referral.queue, and is_lead in referral.queue_member.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.require_lead(bigint, bigint) IS 'Refuses (RF003) whoever does not lead the queue: see leads_queue().';

CREATE FUNCTION referral.speaks_for_login() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    actor text := referral.current_actor();
BEGIN
    RETURN referral.acting_login() <> actor AND EXISTS (SELECT FROM pg_roles l WHERE l.rolname = actor);
END $$;
COMMENT ON FUNCTION referral.speaks_for_login() IS
'Does an application name somebody in referral.actor who has a login of his own? What such people delegate, or that they are absent, they say themselves.';
REVOKE ALL ON FUNCTION referral.speaks_for_login() FROM PUBLIC;

CREATE FUNCTION referral.warn_unknown(org_id bigint, member text, place text) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM referral.organization_member o WHERE o.org_id = warn_unknown.org_id AND o.login = warn_unknown.member)
       AND NOT EXISTS (SELECT FROM referral.queue_member m WHERE m.org_id = warn_unknown.org_id AND m.member = warn_unknown.member)
       -- the login of an application or of the DBA belongs to no organisation
       AND (NOT EXISTS (SELECT FROM pg_roles l WHERE l.rolname = warn_unknown.member)
            OR EXISTS (SELECT FROM referral.organization_member o WHERE o.login = warn_unknown.member)) THEN
        RAISE WARNING 'nobody in organisation % is known as "%"', org_id, member
            USING DETAIL = format('%s has a name that is neither a login of the organisation nor a member of a queue.', place),
                  HINT = 'Correct the name, unless an application is to name this person in referral.actor.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.warn_unknown(bigint, text, text) IS
'Warns when a name is neither a login of the organisation, nor one that belongs to no organisation, nor a member of one of its queues; place: where it is written. For functions that run with the owner''s rights. Nothing happens for null.';

CREATE FUNCTION referral.queue_member_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.warn_unknown(NEW.org_id, NEW.member, 'referral.queue_member');
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.queue_member_check() IS
'BEFORE row trigger of referral.queue_member, where a member is named: warns of a name that nobody has (warn_unknown()).';

CREATE FUNCTION referral.absence_check() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF (lower(OLD.during) <= now() OR lower_inf(OLD.during))
           AND NOT pg_has_role(referral.acting_login(), (SELECT c.relowner FROM pg_class c WHERE c.oid = 'referral.absence'::regclass), 'MEMBER') THEN
            RAISE EXCEPTION 'absence % has begun', OLD.absence_id
                USING ERRCODE = 'RF017', DETAIL = 'It says where work went, and stays on record.',
                      HINT = format('End it: UPDATE referral.absence SET during = tstzrange(lower(during), now()) WHERE org_id = %s AND absence_id = %s.',
                                    OLD.org_id, OLD.absence_id);
        END IF;
        RETURN OLD;
    END IF;
    IF isempty(NEW.during) THEN
        RAISE EXCEPTION 'an absence lasts for some time'
            USING ERRCODE = 'RF020', DETAIL = 'Its range during is empty.', HINT = 'DELETE an absence that has not begun; end one that has, at now().';
    END IF;
    IF NEW.substitute = NEW.member THEN
        RAISE EXCEPTION 'nobody stands in for himself'
            USING ERRCODE = 'RF020', DETAIL = 'The substitute is somebody else, who is there meanwhile.', HINT = 'Name another person, or none.';
    END IF;
    IF TG_OP = 'INSERT' THEN
        PERFORM referral.warn_unknown(NEW.org_id, NEW.member, 'member of referral.absence');
    END IF;
    IF TG_OP = 'INSERT' OR NEW.substitute IS DISTINCT FROM OLD.substitute THEN
        PERFORM referral.warn_unknown(NEW.org_id, NEW.substitute, 'substitute of referral.absence');
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.absence_check() IS
'BEFORE row trigger of referral.absence: one that has begun is deleted by nobody but the owner (RF017); it is not empty, and nobody is his own substitute (RF020). Warns of names that nobody has (warn_unknown()).';

CREATE FUNCTION referral.absence_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    x referral.absence := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    is_own boolean := x.member = referral.current_actor() AND NOT referral.speaks_for_login();
    same_member boolean := true;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        same_member := OLD.member = NEW.member;
    END IF;
    IF NOT (same_member AND is_own)
       AND NOT (same_member AND referral.current_actor_kind(x.org_id) = 'user' AND NOT referral.speaks_for_login()
                AND EXISTS (SELECT FROM referral.queue_member m
                            WHERE m.org_id = x.org_id AND m.member = x.member AND referral.leads_queue(m.org_id, m.queue_id)))
       AND NOT pg_has_role(referral.acting_login(), 'referral_admin', 'MEMBER') THEN
        RAISE EXCEPTION 'only a person himself, or who leads his queue, notes his absence'
            USING ERRCODE = 'RF003', DETAIL = 'While he is absent, his work goes to others. An application does not speak for who has a login.',
                  HINT = 'Ask him, or a member of referral_admin.';
    END IF;
    RETURN x;
END $$;
COMMENT ON FUNCTION referral.absence_guard() IS
'BEFORE row trigger of referral.absence (RF003): an absence is noted, changed and called off by the person himself, by who leads a queue of his, or by a member of referral_admin; not by an application for who has a login (speaks_for_login()).';
REVOKE ALL ON FUNCTION referral.warn_unknown(bigint, text, text), referral.queue_member_check(), referral.absence_check() FROM PUBLIC;

-- ---------- Items ----------

CREATE FUNCTION referral.lock_item(org_id bigint, work_item_id bigint) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item;
BEGIN
    IF referral.may_change_org(org_id) THEN
        SELECT * INTO i FROM referral.work_item x
        WHERE x.org_id = lock_item.org_id AND x.work_item_id = lock_item.work_item_id FOR UPDATE;
    END IF;
    IF i.work_item_id IS NULL THEN
        RAISE EXCEPTION 'there is no work item % in organisation %', work_item_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.work_item.';
    END IF;
    IF i.closed_at IS NOT NULL THEN
        RAISE EXCEPTION 'work item % is closed', work_item_id
            USING ERRCODE = 'RF001', DETAIL = format('It is %s.', i.status), HINT = 'Only an open item can be worked on.';
    END IF;
    RETURN i;
END $$;
COMMENT ON FUNCTION referral.lock_item(bigint, bigint) IS
'Locks an open work item until the end of the transaction and returns it. For functions that run with the owner''s rights. RF019 when there is none that the session may change, RF001 when it is closed.';

CREATE FUNCTION referral.require_present(org_id bigint, member text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.is_model(org_id, member) THEN
        RAISE EXCEPTION 'a model does not have work'
            USING ERRCODE = 'RF003', DETAIL = 'Whoever has an item answers for it.', HINT = 'Let a person have it; models may suggest.';
    END IF;
    IF referral.is_absent(org_id, member) THEN
        RAISE EXCEPTION 'who is absent takes no work'
            USING ERRCODE = 'RF003', DETAIL = format('"%s" is absent; meanwhile his substitute works on his queues.', member),
                  HINT = format('When he is back, end absence %s: set its during to tstzrange(lower(during), now()).',
                                (SELECT a.absence_id FROM referral.absence a
                                 WHERE a.org_id = require_present.org_id AND a.member = require_present.member AND a.during @> now()));
    END IF;
END $$;
COMMENT ON FUNCTION referral.require_present(bigint, text) IS 'Refuses (RF003) work for a model, and for somebody who is absent now.';

CREATE FUNCTION referral.room_of(org_id bigint, queue_id bigint, member text) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    membership bigint := referral.queue_membership(org_id, queue_id, member);
    most integer;
BEGIN
    PERFORM referral.require_present(org_id, member);
    IF membership IS NULL THEN
        RAISE EXCEPTION 'only a member of the queue may have its items'
            USING ERRCODE = 'RF003',
                  DETAIL = format('"%s" is neither a member of queue "%s" now, nor the substitute of one who is absent.', member,
                                  (SELECT q.name FROM referral.queue q WHERE q.org_id = room_of.org_id AND q.queue_id = room_of.queue_id)),
                  HINT = 'See referral.queue_member; who leads the queue, or a member of referral_admin, can have members added.';
    END IF;
    SELECT m.capacity INTO most FROM referral.queue_member m
    WHERE m.org_id = room_of.org_id AND m.queue_member_id = membership;
    IF most IS NULL THEN
        RETURN NULL;
    END IF;
    -- two claims of one person come one after the other, or both would find the same room
    PERFORM FROM referral.queue_member m WHERE m.org_id = room_of.org_id AND m.queue_member_id = membership FOR NO KEY UPDATE;
    RETURN most - (SELECT count(*) FROM referral.work_item i
                   WHERE i.org_id = room_of.org_id AND i.owner = room_of.member AND i.queue_id = room_of.queue_id AND i.status = 'in-progress');
END $$;
COMMENT ON FUNCTION referral.room_of(bigint, bigint, text) IS
'How many more items of a queue a person may have at a time; null: no limit. Where there is a limit, his membership stays locked until the end of the transaction. RF003 when he does not work on the queue, is absent, or is a model.';

CREATE FUNCTION referral.require_room(org_id bigint, queue_id bigint, member text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    room integer := referral.room_of(org_id, queue_id, member);
BEGIN
    IF room <= 0 THEN
        RAISE EXCEPTION 'the person has as many items of this queue as he may have at a time'
            USING ERRCODE = 'RF026',
                  DETAIL = (SELECT format('"%s" may have %s items of queue "%s" at a time, and has %s.', require_room.member, m.capacity, q.name, m.capacity - room)
                            FROM referral.queue_member m JOIN referral.queue q ON q.org_id = m.org_id AND q.queue_id = m.queue_id
                            WHERE m.org_id = require_room.org_id
                              AND m.queue_member_id = referral.queue_membership(require_room.org_id, require_room.queue_id, require_room.member)),
                  HINT = 'Complete, release or hold one first; or have capacity in referral.queue_member raised.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.require_room(bigint, bigint, text) IS
'Refuses (RF026) an item for a person who has as many as the capacity of his membership allows; RF003 when he does not work on the queue, is absent, or is a model.';

CREATE FUNCTION referral.require_claimer(org_id bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.current_actor_kind(org_id) = 'ai' THEN
        RAISE EXCEPTION 'a model does not claim work'
            USING ERRCODE = 'RF003', DETAIL = 'Whoever has an item answers for it.', HINT = 'Let a person claim it; models may suggest.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.require_claimer(bigint) IS 'Refuses (RF003) a model that would have work: it cannot answer for it.';

CREATE FUNCTION referral.require_owner(item record, or_lead boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF item.owner IS NULL THEN
        RAISE EXCEPTION 'nobody has work item %', item.work_item_id
            USING ERRCODE = 'RF001',
                  DETAIL = CASE item.status WHEN 'requested' THEN 'It was handed over, and nobody has accepted it yet.' ELSE 'It waits in its queue.' END,
                  HINT = CASE item.status WHEN 'requested' THEN 'Who handed it over may take it back: referral.withdraw_handoff(); others accept it: referral.accept_handoff().'
                         ELSE 'Claim it first: referral.claim().' END;
    END IF;
    IF referral.current_actor_kind(item.org_id) = 'ai' OR item.owner <> referral.current_actor() THEN
        IF NOT or_lead OR referral.leads_queue(item.org_id, item.queue_id) IS NOT TRUE THEN
            RAISE EXCEPTION 'work item % is with somebody else', item.work_item_id
                USING ERRCODE = 'RF003', DETAIL = 'owner in referral.work_item says with whom.',
                      HINT = CASE WHEN or_lead THEN 'Let him do it, or who leads the queue.' ELSE 'Let him do it.' END;
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION referral.require_owner(record, boolean) IS
'Refuses whoever does not have the item (RF003), unless he leads its queue and or_lead says that he may too; RF001 when nobody has it.';

CREATE FUNCTION referral.work_item_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (NEW.entity, NEW.entity_id, NEW.referral_id, NEW.kind, NEW.task, NEW.is_primary)
       IS DISTINCT FROM (OLD.entity, OLD.entity_id, OLD.referral_id, OLD.kind, OLD.task, OLD.is_primary) THEN
        RAISE EXCEPTION 'work item % stays about what it is about', OLD.work_item_id
            USING ERRCODE = 'RF017', DETAIL = 'entity, entity_id, referral_id, kind, task and is_primary do not change.',
                  HINT = 'Close it; the rules open another one.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.work_item_guard() IS
'BEFORE UPDATE row trigger of referral.work_item, where what it is about would change: RF017.';

CREATE FUNCTION referral.arrival() RETURNS xid8
LANGUAGE C AS 'MODULE_PATHNAME', 'arrival';
COMMENT ON FUNCTION referral.arrival() IS
'The first of the 256 transaction numbers that the one of this transaction is among: default of arrived in referral.work_item.';

CREATE FUNCTION referral.work_item_arrives() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'work_item_arrives';
COMMENT ON FUNCTION referral.work_item_arrives() IS
'BEFORE UPDATE row trigger of referral.work_item. Where the item can be claimed, or claimed at another place, it notes the transaction, for claim_next(). Where it is no longer waiting to be accepted, who handed it over answers for it no more.';

CREATE FUNCTION referral.open_work(entity text, org_id bigint, id bigint, kind text, referral_id bigint, queue_id bigint, title text,
    due_at timestamptz DEFAULT NULL, is_primary boolean DEFAULT false, task text DEFAULT '', task_template_id bigint DEFAULT NULL,
    routing_decision_id bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i referral.work_item;
BEGIN
    i.org_id := org_id;
    i.entity := entity;
    i.entity_id := id;
    i.referral_id := referral_id;
    i.opened_at := referral.event_time();
    i.due_at := due_at;
    INSERT INTO referral.work_item AS w (org_id, queue_id, entity, entity_id, referral_id, kind, is_primary, task, title, opened_at, due_at,
                                         score, task_template_id, routing_decision_id)
    VALUES (i.org_id, open_work.queue_id, i.entity, i.entity_id, i.referral_id, open_work.kind, open_work.is_primary, open_work.task,
            open_work.title, i.opened_at, i.due_at, referral.rank_now(i), open_work.task_template_id, open_work.routing_decision_id)
    ON CONFLICT DO NOTHING
    RETURNING w.work_item_id INTO i.work_item_id;
    RETURN i.work_item_id;
END $$;
COMMENT ON FUNCTION referral.open_work(text, bigint, bigint, text, bigint, bigint, text, timestamptz, boolean, text, bigint, bigint) IS
'Opens a work item about a row, unclaimed, in a queue, ranked; returns its work_item_id, null when there is an open one of that kind and task already. Writes with the caller''s rights.';

CREATE FUNCTION referral.close_work(org_id bigint, work_item_id bigint, status referral.task_status, outcome text, verb text DEFAULT 'close') RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE referral.work_item i
    SET status = close_work.status, outcome = close_work.outcome, closed_at = clock_timestamp(), verb = close_work.verb, lease_until = NULL
    WHERE i.org_id = close_work.org_id AND i.work_item_id = close_work.work_item_id AND i.closed_at IS NULL;
END $$;
COMMENT ON FUNCTION referral.close_work(bigint, bigint, referral.task_status, text, text) IS
'Closes a work item: completed, cancelled or entered-in-error, with what came of it; verb: what is being done, for the record. Nothing happens when it is closed already. Writes with the caller''s rights.';

CREATE FUNCTION referral.move_item(org_id bigint, work_item_id bigint, queue_id bigint, verb text, routing_decision_id bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE referral.work_item i
    SET queue_id = move_item.queue_id, status = 'ready', verb = move_item.verb, owner = NULL, handed_over_by = NULL, claimed_at = NULL,
        lease_until = NULL, routing_decision_id = coalesce(move_item.routing_decision_id, i.routing_decision_id)
    WHERE i.org_id = move_item.org_id AND i.work_item_id = move_item.work_item_id AND i.closed_at IS NULL
      AND (i.queue_id, i.owner, i.status) IS DISTINCT FROM (move_item.queue_id, NULL, 'ready'::referral.task_status);
END $$;
COMMENT ON FUNCTION referral.move_item(bigint, bigint, bigint, text, bigint) IS
'Puts an open item into a queue, where nobody has it; verb: what is being done, for the record. Nothing happens when it lies there already. Writes with the caller''s rights.';
