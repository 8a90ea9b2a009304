-- exception: what stands in the way of a case and needs a person

CREATE TYPE referral.exception_category AS ENUM ('missing_document', 'payer_mismatch', 'duplicate_record', 'clinical_review',
    'low_confidence', 'eligibility', 'capacity', 'integration', 'policy');
COMMENT ON TYPE referral.exception_category IS 'What kind of exception it is, and so whose work.';

CREATE FUNCTION referral.is_decision(category referral.exception_category, code text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN category = 'low_confidence' OR code = 'decision_declined';
COMMENT ON FUNCTION referral.is_decision(referral.exception_category, text) IS
'Does an exception ask for a decision that only a person takes? Null for null.';

CREATE FUNCTION referral.keeps_exceptions() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = 'referral.exception_item'::regclass), 'USAGE');
END $$;
COMMENT ON FUNCTION referral.keeps_exceptions() IS
'Does the caller have the rights of the owner of referral.exception_item, as our own functions that find something settled do? Never null.';

CREATE FUNCTION referral.may_close(org_id bigint, opened_by text, is_decision boolean, is_ours boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind text := referral.current_actor_kind(org_id);
BEGIN
    -- what our own functions find settled is so, whoever made it so
    RETURN kind = 'user' OR (is_ours AND NOT is_decision)
        OR (kind = 'system' AND NOT is_decision AND coalesce(opened_by = referral.current_actor(), false));
END $$;
COMMENT ON FUNCTION referral.may_close(bigint, text, boolean, boolean) IS
'May the session close an exception? A person may; a system what it opened itself; our own functions (is_ours: with the rights of the owner of the model) what they find settled. What asks for a decision (is_decision) only a person closes. opened_by: null when a rule opened it.';

CREATE FUNCTION referral.check_closing(org_id bigint, exception_id bigint, opened_by text, is_decision boolean, is_ours boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT referral.may_close(org_id, opened_by, is_decision, is_ours) THEN
        RAISE EXCEPTION 'exception % is for a person to close', exception_id
            USING ERRCODE = 'RF003',
                  DETAIL = CASE WHEN is_decision THEN 'It asks for a decision that models and systems do not take.'
                                ELSE 'A model closes none, and a system only those that it opened.' END,
                  HINT = CASE WHEN is_decision THEN 'Let a person decide: review the value, or decline or send on the referral.'
                              ELSE 'Let a person close it, or settle its cause: reprocess() the message, check_referral().' END;
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_closing(bigint, bigint, text, boolean, boolean) IS
'Refuses with RF003 who may not close an exception: see may_close().';

CREATE FUNCTION referral.may_loosen(org_id bigint, exception_id bigint, opened_by text, is_decision boolean, is_ours boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.current_actor_kind(org_id) = 'ai' OR NOT referral.may_close(org_id, opened_by, is_decision, is_ours) THEN
        RETURN false;
    END IF;
    IF NOT is_ours AND referral.current_actor_kind(org_id) = 'user'
       AND coalesce(current_setting('referral.reason', true) !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a reason is required to let the case of exception % go on', exception_id
            USING ERRCODE = 'RF005', DETAIL = 'It is open, and blocks less, or another referral, from now on.',
                  HINT = 'SET LOCAL referral.reason to a sentence that says why, or close the exception with its resolution.';
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION referral.may_loosen(bigint, bigint, text, boolean, boolean) IS
'May an open exception block less than it did? As said by who may close it (may_close()), but by no model; RF005 when a person gives no reason in referral.reason.';

CREATE FUNCTION referral.check_missed(org_id bigint, exception_id bigint, entity text, entity_id bigint, opened_by text, dismisses boolean) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF dismisses THEN
        RAISE EXCEPTION 'exception % cannot be dismissed', exception_id
            USING ERRCODE = 'RF001', DETAIL = 'That an approval was missed is so, whatever is decided about it.',
                  HINT = 'Have somebody else resolve it with what was decided; it closes by itself when nothing needs the approval any more.';
    END IF;
    IF coalesce(opened_by = referral.current_actor(), false)
       OR EXISTS (SELECT FROM referral.journal j
                  WHERE j.org_id = check_missed.org_id AND j.entity_id = check_missed.entity_id AND j.entity = check_missed.entity
                    AND j.actor = referral.current_actor()
                    AND j.transition IN (SELECT unnest(p.transitions) FROM referral.approval_policy p JOIN referral.rule_version v USING (rule_version_id)
                                         WHERE v.status = 'active' AND p.entity = check_missed.entity)) THEN
        RAISE EXCEPTION 'exception % is for somebody else to close', exception_id
            USING ERRCODE = 'RF013', DETAIL = 'Who took a row past an approval, or changed it so that it lacks one, does not settle that alone.',
                  HINT = 'Have another person look at it and close it.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_missed(bigint, bigint, text, bigint, text, boolean) IS
'Refuses to close the exception that an approval was missed: RF013 by who opened it, or has ever moved its row through a transition that waits for approvals; RF001 to dismiss it (dismisses). Reads with the owner''s rights.';
REVOKE ALL ON FUNCTION referral.check_missed(bigint, bigint, text, bigint, text, boolean) FROM PUBLIC;

CREATE FUNCTION referral.keep_exception() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind text;
    is_open boolean := NEW.status IN ('open', 'in_progress');
BEGIN
    IF NOT isfinite(NEW.opened_at) THEN
        RAISE EXCEPTION 'an exception is not opened at an infinite time'
            USING ERRCODE = 'RF020', DETAIL = 'opened_at tells how long it has waited.', HINT = 'Leave opened_at out.';
    END IF;
    IF referral.keeps_exceptions() THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' THEN
        NEW.opened_by := referral.current_actor();
        NEW.opened_at := referral.event_time();
        NEW.reopen_count := 0;
        NEW.exception_policy_id := NULL;
        NEW.exception_rule_id := NULL;
        NEW.rule_holds := false;
        RETURN NEW;
    END IF;
    NEW.reopen_count := OLD.reopen_count;
    NEW.exception_policy_id := OLD.exception_policy_id;
    NEW.exception_rule_id := OLD.exception_rule_id;
    NEW.rule_holds := OLD.rule_holds;
    kind := referral.current_actor_kind(NEW.org_id);
    IF OLD.status IN ('open', 'in_progress') THEN
        -- a model, or a system that did not open it, does not make little of it, nor hangs it on another referral
        IF kind = 'ai' OR (kind = 'system' AND (OLD.exception_rule_id IS NOT NULL OR OLD.opened_by <> referral.current_actor())) THEN
            NEW.detail := coalesce(OLD.detail, NEW.detail);
            NEW.due_at := least(OLD.due_at, NEW.due_at);
            NEW.referral_id := coalesce(OLD.referral_id, NEW.referral_id);
            IF array_position('{low,medium,high,critical}', NEW.severity) < array_position('{low,medium,high,critical}', OLD.severity) THEN
                NEW.severity := OLD.severity;
            END IF;
        END IF;
    ELSIF is_open AND OLD.exception_rule_id IS NOT NULL AND kind <> 'user' THEN
        RAISE EXCEPTION 'exception % is for its rule to open', OLD.exception_id
            USING ERRCODE = 'RF003', DETAIL = 'A rule has opened it, and it was closed since.', HINT = 'Call open_exception(), which opens one of its own.';
    ELSIF NOT is_open
          AND ((NEW.status, NEW.resolution, NEW.detail, NEW.severity, NEW.blocking, NEW.blocks, NEW.referral_id, NEW.due_at)
               IS DISTINCT FROM (OLD.status, OLD.resolution, OLD.detail, OLD.severity, OLD.blocking, OLD.blocks, OLD.referral_id, OLD.due_at)
               OR (kind <> 'user' AND NEW.root_cause IS DISTINCT FROM OLD.root_cause)) THEN
        RAISE EXCEPTION 'exception % is % already', OLD.exception_id, OLD.status
            USING ERRCODE = 'RF001', DETAIL = 'What was settled stays as it was said; a person may still say its root cause.',
                  HINT = 'When the trouble is there again, open_exception() opens it again.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.keep_exception() IS
'BEFORE row trigger of referral.exception_item, for who does not own it: keeps what the database fills in (who opened it, when and by which rule or policy, how often); what is open a model, or a system that did not open it, makes no less severe, no later due and hangs on no other referral. RF001 when a closed one is rewritten, but for its root cause by a person; RF003 when a model or a system opens one of a rule again. RF020 for an infinite opened_at, whoever gives it.';
REVOKE ALL ON FUNCTION referral.keep_exception() FROM PUBLIC;

CREATE FUNCTION referral.exception_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_closed boolean := TG_OP = 'UPDATE' AND OLD.status IN ('resolved', 'dismissed');
    closes boolean := NOT was_closed AND NEW.status IN ('resolved', 'dismissed');
    is_ours boolean := referral.keeps_exceptions();
    is_missed boolean := NEW.category = 'policy' AND NEW.code = 'approval_missed' AND NOT is_ours;
    is_decision boolean := referral.is_decision(NEW.category, NEW.code) OR is_missed;
    opener text := CASE WHEN NEW.exception_rule_id IS NULL THEN NEW.opened_by END;
BEGIN
    IF TG_OP = 'UPDATE' AND ((NEW.entity, NEW.entity_id, NEW.category, NEW.code, NEW.opened_at)
                             IS DISTINCT FROM (OLD.entity, OLD.entity_id, OLD.category, OLD.code, OLD.opened_at)
                             -- a person who opens what is open already answers for it
                             OR (NEW.opened_by <> OLD.opened_by
                                 AND (NEW.opened_by <> referral.current_actor() OR referral.current_actor_kind(NEW.org_id) <> 'user'))) THEN
        RAISE EXCEPTION 'exception % stays about what it is about', OLD.exception_id
            USING ERRCODE = 'RF017', DETAIL = 'entity, entity_id, category, code, opened_by and opened_at do not change.',
                  HINT = 'Dismiss it, and open another one with open_exception().';
    END IF;
    NEW.opened_at := least(NEW.opened_at, clock_timestamp());
    -- a case that waits for a person is not let go on by others
    IF TG_OP = 'UPDATE' AND NOT was_closed AND OLD.blocking
       AND (NOT NEW.blocking OR NOT coalesce(NEW.blocks, '{}') @> coalesce(OLD.blocks, '{}')
            OR (OLD.referral_id IS NOT NULL AND NEW.referral_id IS DISTINCT FROM OLD.referral_id))
       AND NOT (closes AND referral.current_actor_kind(NEW.org_id) <> 'ai')
       AND NOT referral.may_loosen(NEW.org_id, OLD.exception_id, opener, is_decision, is_ours) THEN
        NEW.blocking := true;
        NEW.blocks := OLD.blocks;
        NEW.referral_id := coalesce(OLD.referral_id, NEW.referral_id);
    END IF;
    IF NEW.root_cause IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.root_cause IS DISTINCT FROM OLD.root_cause)
       AND NOT referral.is_root_cause(NEW.root_cause) THEN
        RAISE EXCEPTION 'the root cause given is no active code of domain "root_cause"'
            USING ERRCODE = 'RF005', DETAIL = 'Causes are counted, so they come from a catalogue.',
                  HINT = 'SELECT code, display FROM referral.reason_code WHERE domain = ''root_cause''; a new version of the rules can bring more.';
    END IF;
    IF NEW.status NOT IN ('resolved', 'dismissed') THEN
        NEW.resolved_at := NULL;
        NEW.resolved_by := NULL;
        NEW.resolution := NULL;
        IF was_closed THEN
            NEW.reopen_count := OLD.reopen_count + 1;
            NEW.opened_at := referral.event_time();
            NEW.opened_by := referral.current_actor();
        END IF;
    ELSIF closes THEN
        IF coalesce(NEW.resolution !~ '[^[:space:]]', true) THEN
            RAISE EXCEPTION 'a resolution is required'
                USING ERRCODE = 'RF005', DETAIL = 'The record is to say how the exception was settled.',
                      HINT = 'Set resolution, or call close_exception() with it.';
        END IF;
        PERFORM referral.check_closing(NEW.org_id, NEW.exception_id, opener, is_decision, is_ours);
        IF is_missed THEN
            PERFORM referral.check_missed(NEW.org_id, NEW.exception_id, NEW.entity, NEW.entity_id, NEW.opened_by, NEW.status = 'dismissed');
        END IF;
        NEW.resolved_at := greatest(NEW.opened_at, referral.event_time());
        NEW.resolved_by := referral.current_actor();
    ELSE
        NEW.resolved_at := OLD.resolved_at;
        NEW.resolved_by := OLD.resolved_by;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.exception_guard() IS
'BEFORE row trigger of referral.exception_item: fills in who closed an exception and when, counts how often it was opened again. What blocks goes on doing so, for the same referral, unless who may loosen it says otherwise (may_loosen()). RF003 when somebody closes it who may not (check_closing()), RF013 and RF001 that an approval was missed (check_missed()); RF005 when it is closed without a resolution, a person lets it block less without a reason, or its root cause is no code of the catalogue; RF017 when what it is about is changed.';
REVOKE ALL ON FUNCTION referral.exception_guard() FROM PUBLIC;

CREATE FUNCTION referral.open_exception(org_id bigint, category referral.exception_category, entity text, entity_id bigint,
    referral_id bigint, code text, detail text, severity text, blocking boolean DEFAULT false,
    blocks text[] DEFAULT NULL, exception_rule_id bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    item record;
    policy record;
    was_closed boolean;
    anew boolean;
    opener text;
    -- others than our own functions speak for no rule
    rule_id bigint := CASE WHEN open_exception.exception_rule_id IS NOT NULL AND referral.keeps_exceptions() THEN open_exception.exception_rule_id END;
    id bigint;
BEGIN
    IF severity NOT IN ('low', 'medium', 'high', 'critical') THEN
        RAISE EXCEPTION 'there is no severity "%"', severity
            USING ERRCODE = 'RF020', DETAIL = 'It says how bad the exception is.', HINT = 'Name low, medium, high or critical.';
    END IF;
    LOOP
        INSERT INTO referral.exception_item (org_id, category, entity, entity_id, referral_id, code, detail, severity, blocking, blocks,
                                             exception_rule_id, rule_holds)
        VALUES (open_exception.org_id, open_exception.category, open_exception.entity, open_exception.entity_id,
                open_exception.referral_id, open_exception.code, open_exception.detail, open_exception.severity, open_exception.blocking,
                open_exception.blocks, rule_id, rule_id IS NOT NULL)
        ON CONFLICT (org_id, entity, entity_id, category, code, (exception_rule_id IS NOT NULL)) DO NOTHING
        RETURNING exception_id INTO id;
        IF FOUND THEN
            RETURN id;
        END IF;
        SELECT e.exception_id, e.status, e.detail, e.severity, e.blocking, e.referral_id, e.blocks, e.exception_policy_id, e.opened_by, e.rule_holds
        INTO item
        FROM referral.exception_item e
        WHERE e.org_id = open_exception.org_id AND e.entity = open_exception.entity AND e.entity_id = open_exception.entity_id
          AND e.category = open_exception.category AND e.code = open_exception.code
          AND (e.exception_rule_id IS NOT NULL) = (rule_id IS NOT NULL);
        EXIT WHEN FOUND;
    END LOOP;
    SELECT p.severity, p.blocking INTO policy FROM referral.exception_policy p WHERE p.exception_policy_id = item.exception_policy_id;
    severity := coalesce(policy.severity, severity);
    blocking := coalesce(policy.blocking, blocking);
    was_closed := item.status IN ('resolved', 'dismissed');
    anew := was_closed OR (rule_id IS NOT NULL AND NOT item.rule_holds);
    -- what a person has said, too, no system closes as its own
    opener := CASE WHEN referral.current_actor_kind(open_exception.org_id) = 'user' THEN referral.current_actor() ELSE item.opened_by END;
    -- written only when there is news
    IF anew OR opener <> item.opened_by
       OR (coalesce(open_exception.detail, item.detail), open_exception.severity, open_exception.blocking,
           coalesce(open_exception.referral_id, item.referral_id),
           CASE WHEN open_exception.blocking THEN coalesce(open_exception.blocks, item.blocks) END)
          IS DISTINCT FROM (item.detail, item.severity, item.blocking, item.referral_id, item.blocks) THEN
        UPDATE referral.exception_item e
        SET status = CASE WHEN was_closed THEN 'open' ELSE e.status END,
            -- the guard says it of one that is opened again
            opened_by = CASE WHEN was_closed THEN e.opened_by ELSE opener END,
            detail = coalesce(open_exception.detail, e.detail), severity = open_exception.severity,
            blocking = open_exception.blocking, referral_id = coalesce(open_exception.referral_id, e.referral_id),
            -- what it blocks is said anew when it is opened again
            blocks = coalesce(open_exception.blocks, CASE WHEN NOT anew THEN e.blocks END),
            exception_rule_id = coalesce(rule_id, e.exception_rule_id), rule_holds = rule_id IS NOT NULL
        WHERE e.org_id = open_exception.org_id AND e.exception_id = item.exception_id;
    END IF;
    RETURN item.exception_id;
END $$;
COMMENT ON FUNCTION referral.open_exception(bigint, referral.exception_category, text, bigint, bigint, text, text, text, boolean, text[], bigint) IS
'Opens an exception about a row, and returns its exception_id. The same one (row, category and code) that is open already is returned, with detail, severity and blocking brought up to date, and is the person''s own who opens it; one that was closed is opened again, which reopen_count counts. detail: where and why, without what the row holds. severity: low, medium, high, critical; the active policy for its kind has the last word on severity and blocking. blocks: the transitions that wait for a blocking one; null: those of the policy. exception_rule_id: the rule that holds, whose exception is another one than that of others; only our own functions name one. RF020 for a severity that is none. Writes with the caller''s rights.';
REVOKE ALL ON FUNCTION referral.open_exception(bigint, referral.exception_category, text, bigint, bigint, text, text, text, boolean, text[], bigint) FROM PUBLIC;

CREATE FUNCTION referral.close_exception(org_id bigint, exception_id bigint, resolution text, dismiss boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE referral.exception_item e
    SET status = CASE WHEN dismiss THEN 'dismissed' ELSE 'resolved' END, resolution = close_exception.resolution
    WHERE e.org_id = close_exception.org_id AND e.exception_id = close_exception.exception_id
      AND e.status NOT IN ('resolved', 'dismissed');
    IF NOT FOUND AND NOT EXISTS (SELECT FROM referral.exception_item e
                                 WHERE e.org_id = close_exception.org_id AND e.exception_id = close_exception.exception_id) THEN
        RAISE EXCEPTION 'there is no exception %', exception_id
            USING ERRCODE = 'RF019', DETAIL = 'It is not there, or another organisation''s.',
                  HINT = 'SELECT exception_id FROM referral.exception_queue.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.close_exception(bigint, bigint, text, boolean) IS
'Closes an exception: resolved, or dismissed when it never was one. Nothing happens when it is closed already. RF003 when the session may not (check_closing()), RF005 without a resolution, RF019 when there is no such exception, also for null.';
REVOKE ALL ON FUNCTION referral.close_exception(bigint, bigint, text, boolean) FROM PUBLIC;
