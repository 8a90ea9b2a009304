-- match_review: which patients may be one person, and what was decided about them

-- ---------- Candidates ----------

-- Whatever found a pair, it is scored here, by both rows as they are now. Older rows never overwrite newer ones, so it
-- does not matter who writes last. In order of the pairs, so that sessions do not wait for each other in a circle.
CREATE FUNCTION referral.write_candidates(org_ids bigint[], patient_ids bigint[], duplicate_ids bigint[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
-- a plan made when there were few patients must not scan many: OFFSET 0 keeps both columns of the key together
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    model bigint := referral.match_model_version();
    written bigint;
BEGIN
    INSERT INTO referral.match_candidate AS c (org_id, patient_id, duplicate_id, probability, grade, rule_version,
                                               patient_version, duplicate_version, last_scored_at, status)
    SELECT s.org_id, s.patient_id, s.duplicate_id, s.probability, s.grade, model, s.patient_version, s.duplicate_version,
           clock_timestamp(), CASE WHEN s.is_candidate THEN 'open' ELSE 'superseded' END
    FROM (SELECT f.*, p.version AS patient_version, q.version AS duplicate_version,
                 referral.match_probability(p.demographics, q.demographics) AS probability, g.grade,
                 g.grade <> 'certainly-not' AND p.merged_into IS NULL AND q.merged_into IS NULL AS is_candidate
          FROM (SELECT DISTINCT u.org_id, least(u.a, u.b) AS patient_id, greatest(u.a, u.b) AS duplicate_id
                FROM unnest(org_ids, patient_ids, duplicate_ids) u (org_id, a, b) WHERE u.a <> u.b) f
          CROSS JOIN LATERAL (SELECT x.version, x.demographics, x.merged_into FROM referral.patient x
                              WHERE x.org_id = f.org_id AND x.patient_id = f.patient_id OFFSET 0) p
          CROSS JOIN LATERAL (SELECT x.version, x.demographics, x.merged_into FROM referral.patient x
                              WHERE x.org_id = f.org_id AND x.patient_id = f.duplicate_id OFFSET 0) q
          CROSS JOIN LATERAL (SELECT referral.match_grade(p.demographics, q.demographics) AS grade OFFSET 0) g) s
    WHERE s.is_candidate
       OR EXISTS (SELECT FROM referral.match_candidate k
                  WHERE k.org_id = s.org_id AND k.patient_id = s.patient_id AND k.duplicate_id = s.duplicate_id)
    ORDER BY s.org_id, s.patient_id, s.duplicate_id
    ON CONFLICT ON CONSTRAINT match_candidate_pair DO UPDATE
    SET probability = excluded.probability, grade = excluded.grade, rule_version = excluded.rule_version,
        patient_version = excluded.patient_version, duplicate_version = excluded.duplicate_version,
        last_scored_at = excluded.last_scored_at, link_error = NULL,
        status = CASE WHEN c.status IN ('open', 'superseded') THEN excluded.status ELSE c.status END,
        opened_at = CASE WHEN c.status = 'superseded' AND excluded.status = 'open' THEN excluded.last_scored_at ELSE c.opened_at END
    WHERE excluded.patient_version >= c.patient_version AND excluded.duplicate_version >= c.duplicate_version
      AND ((c.probability, c.grade, c.rule_version, c.patient_version, c.duplicate_version)
           IS DISTINCT FROM (excluded.probability, excluded.grade, excluded.rule_version, excluded.patient_version, excluded.duplicate_version)
           OR (c.status IN ('open', 'superseded') AND c.status <> excluded.status));
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END $$;
COMMENT ON FUNCTION referral.write_candidates(bigint[], bigint[], bigint[]) IS
'Scores pairs of patients and writes referral.match_candidate: pairs that are at least possible, and those that were candidates before. What was decided stays. Returns how many rows it wrote. For the functions that find pairs.';

CREATE FUNCTION referral.match_model_version() RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.rule_version_id FROM referral.match_model m JOIN referral.rule_version v USING (rule_version_id)
    WHERE v.status = 'active' ORDER BY m.rule_version_id LIMIT 1
$$;
COMMENT ON FUNCTION referral.match_model_version() IS 'The active model of matching: its referral.rule_version. Null when there is none.';

CREATE FUNCTION referral.rescore_patients(org_ids bigint[], patient_ids bigint[]) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    orgs bigint[];
    patients bigint[];
    duplicates bigint[];
BEGIN
    WITH asked AS MATERIALIZED (
        SELECT DISTINCT u.org_id, u.patient_id FROM unnest(org_ids, patient_ids) u (org_id, patient_id))
    SELECT array_agg(f.org_id), array_agg(f.a), array_agg(f.b) INTO orgs, patients, duplicates
    FROM (SELECT x.org_id, x.patient_id AS a, m.patient_id AS b
          FROM asked x
          CROSS JOIN LATERAL (SELECT y.demographics FROM referral.patient y
                              WHERE y.org_id = x.org_id AND y.patient_id = x.patient_id AND y.merged_into IS NULL OFFSET 0) p
          CROSS JOIN LATERAL referral.find_matches(x.org_id, p.demographics, 100, x.patient_id) m
          UNION ALL
          -- those of before, which may be none any more
          SELECT x.org_id, x.patient_id, k.duplicate_id
          FROM asked x CROSS JOIN LATERAL (SELECT y.duplicate_id FROM referral.match_candidate y
                                           WHERE y.org_id = x.org_id AND y.patient_id = x.patient_id OFFSET 0) k
          UNION ALL
          SELECT x.org_id, x.patient_id, k.patient_id
          FROM asked x CROSS JOIN LATERAL (SELECT y.patient_id FROM referral.match_candidate y
                                           WHERE y.org_id = x.org_id AND y.duplicate_id = x.patient_id OFFSET 0) k) f;
    RETURN referral.write_candidates(orgs, patients, duplicates);
END $$;
COMMENT ON FUNCTION referral.rescore_patients(bigint[], bigint[]) IS
'Compares patients with all others of their organisation and brings their candidates up to date, at most 100 new ones for each; returns how many rows it wrote. Patients that do not exist are left out. For the functions that say which.';

CREATE FUNCTION referral.rescore_patient(org_id bigint, patient_id bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.may_change_org(org_id) IS NOT TRUE
       OR NOT EXISTS (SELECT FROM referral.patient p WHERE p.org_id = rescore_patient.org_id AND p.patient_id = rescore_patient.patient_id)
       OR NOT referral.sees_patient(org_id, patient_id) THEN
        RAISE EXCEPTION 'there is no patient % in organisation %', patient_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.patient.';
    END IF;
    PERFORM referral.rescore_patients(ARRAY[org_id], ARRAY[patient_id]);
END $$;
COMMENT ON FUNCTION referral.rescore_patient(bigint, bigint) IS
'Compares a patient with all others of the organisation, now, and brings its candidates up to date. RF019 when there is no such patient, also for null.';

CREATE FUNCTION referral.load_duplicates(org_id bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    patients bigint[];
    duplicates bigint[];
    step CONSTANT integer := 10000;
    written bigint := 0;
BEGIN
    IF referral.may_change_org(org_id) IS NOT TRUE THEN
        RAISE EXCEPTION 'there is no organisation %', org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.organization.';
    END IF;
    SELECT array_agg(f.patient_id ORDER BY f.patient_id, f.duplicate_id), array_agg(f.duplicate_id ORDER BY f.patient_id, f.duplicate_id)
    INTO patients, duplicates
    FROM (SELECT d.patient_id, d.duplicate_id FROM referral.find_duplicates(load_duplicates.org_id) d
          UNION
          SELECT k.patient_id, k.duplicate_id FROM referral.match_candidate k WHERE k.org_id = load_duplicates.org_id) f;
    FOR i IN 1 .. coalesce(cardinality(patients), 0) BY step LOOP
        written := written + referral.write_candidates(array_fill(org_id, ARRAY[least(step, cardinality(patients) - i + 1)]),
                                                       patients[i : i + step - 1], duplicates[i : i + step - 1]);
    END LOOP;
    RETURN written;
END $$;
COMMENT ON FUNCTION referral.load_duplicates(bigint) IS
'Compares all patients of an organisation with each other and brings its candidates up to date: after a first load, after a new model. Returns how many candidates it wrote; the same call again writes none. RF019 when there is no such organisation, also for null.';

-- ---------- The queue ----------

CREATE FUNCTION referral.match_on_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mode text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM referral.match_candidate k WHERE k.org_id = OLD.org_id AND k.patient_id = OLD.patient_id;
        DELETE FROM referral.match_candidate k WHERE k.org_id = OLD.org_id AND k.duplicate_id = OLD.patient_id;
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.merged_into IS NOT DISTINCT FROM OLD.merged_into
       AND (NEW.demographics OPERATOR(referral.=) OLD.demographics
            OR (NEW.demographics IS NULL AND OLD.demographics IS NULL)) THEN
        RETURN NULL;
    END IF;
    mode := current_setting('referral.match_on_write', true);
    IF mode = 'off' THEN
        RETURN NULL;
    END IF;
    INSERT INTO referral.match_queue (org_id, patient_id) VALUES (NEW.org_id, NEW.patient_id);
    IF TG_OP = 'UPDATE' AND NEW.merged_into IS DISTINCT FROM OLD.merged_into THEN
        INSERT INTO referral.match_queue (org_id, patient_id) VALUES (NEW.org_id, coalesce(NEW.merged_into, OLD.merged_into));
    END IF;
    -- stays in the queue all the same: a patient that another session is writing now is not to be seen yet
    IF mode = 'immediate' THEN
        BEGIN
            PERFORM referral.rescore_patients(ARRAY[NEW.org_id], ARRAY[NEW.patient_id]);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'patient % waits in the queue to be compared', NEW.patient_id
                USING DETAIL = referral.harmless_error(SQLSTATE, SQLERRM);
        END;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.match_on_write() IS
'AFTER row trigger of referral.patient: what is new, was changed or merged is to be compared with all others, as the setting referral.match_on_write says: queue (by the next process_match_queue(); the default), immediate (in the same transaction, and once more by the queue), off. What is deleted is no candidate any more.';

CREATE FUNCTION referral.match_queue_batch(
    max integer, as_of timestamptz, OUT taken bigint, OUT written bigint, OUT failed bigint, OUT last_error text)
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET enable_seqscan = off SET jit = off SET lock_timeout = '500ms' AS $$
DECLARE
    orgs bigint[];
    ids bigint[];
    patients bigint[];
BEGIN
    written := 0;
    failed := 0;
    SELECT array_agg(d.org_id), array_agg(d.queue_id), array_agg(d.patient_id) INTO orgs, ids, patients
    FROM (SELECT q.org_id, q.queue_id, q.patient_id FROM referral.match_queue q
          WHERE q.try_at <= match_queue_batch.as_of
          ORDER BY q.org_id, q.queue_id LIMIT match_queue_batch.max
          FOR UPDATE SKIP LOCKED) d;
    taken := coalesce(cardinality(ids), 0);
    IF taken = 0 THEN
        RETURN;
    END IF;
    BEGIN
        written := referral.rescore_patients(orgs, patients);
        DELETE FROM referral.match_queue q USING unnest(orgs, ids) d (org_id, queue_id)
        WHERE q.org_id = d.org_id AND q.queue_id = d.queue_id;
        RETURN;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
        written := 0;
    END;
    -- one by one, so that none holds up the others
    FOR i IN 1 .. cardinality(ids) LOOP
        BEGIN
            written := written + referral.rescore_patients(orgs[i:i], patients[i:i]);
            DELETE FROM referral.match_queue q WHERE q.org_id = orgs[i] AND q.queue_id = ids[i];
        EXCEPTION WHEN OTHERS OR assert_failure THEN
            failed := failed + 1;
            last_error := format('patient %s: %s', patients[i], referral.harmless_error(SQLSTATE, SQLERRM));
            UPDATE referral.match_queue q
            SET attempts = q.attempts + 1, error = referral.harmless_error(SQLSTATE, SQLERRM),
                try_at = clock_timestamp() + make_interval(mins => 1 << least(q.attempts, 6))
            WHERE q.org_id = orgs[i] AND q.queue_id = ids[i];
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.match_queue_batch(integer, timestamptz) IS
'One batch of process_match_queue(): takes up to max rows of the queue that are due by as_of, leaving out those that others work on, compares their patients and removes them; returns how many it took and candidates it wrote. What fails stays, with the error, to be tried again after a minute, then two, up to an hour. Null for null.';

-- ---------- Linking without a person ----------

CREATE FUNCTION referral.auto_links() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT m.auto_link FROM referral.match_model m WHERE m.rule_version_id = referral.match_model_version()), false)
$$;
COMMENT ON FUNCTION referral.auto_links() IS 'Does the active model ask for certain pairs to be merged without a person? False when there is none.';

CREATE FUNCTION referral.rival_candidates(org_id bigint, patient_id bigint, duplicate_id bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    -- who is close to one of both, without being as surely the other one, too
    WITH near AS (
        SELECT k.patient_id AS a, k.duplicate_id AS b, k.status, k.grade
        FROM referral.match_candidate k
        WHERE k.org_id = rival_candidates.org_id AND k.patient_id IN (rival_candidates.patient_id, rival_candidates.duplicate_id)
        UNION ALL
        SELECT k.duplicate_id, k.patient_id, k.status, k.grade
        FROM referral.match_candidate k
        WHERE k.org_id = rival_candidates.org_id AND k.duplicate_id IN (rival_candidates.patient_id, rival_candidates.duplicate_id))
    SELECT n.b FROM near n
    JOIN referral.patient p ON p.org_id = rival_candidates.org_id AND p.patient_id = n.b AND p.merged_into IS NULL
    WHERE n.b NOT IN (rival_candidates.patient_id, rival_candidates.duplicate_id)
    GROUP BY n.b
    -- one of both belongs to the third, and the other one does not
    HAVING bool_or(n.status = 'linked' OR (n.status IN ('open', 'deferred') AND n.grade IN ('certain', 'probable')))
       AND NOT (count(*) = 2 AND bool_and(n.status = 'linked' OR (n.status = 'open' AND n.grade = 'certain')))
$$;
COMMENT ON FUNCTION referral.rival_candidates(bigint, bigint, bigint) IS
'Patients that are linked to one of two patients, or certain or probable to be it, and not linked to or certain to be both: which of them belong together is for a person to say. Null for null.';

CREATE FUNCTION referral.is_surely_one(org_id bigint, patient_id bigint, duplicate_id bigint) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    SELECT referral.auto_links()
       AND NOT EXISTS (SELECT FROM referral.match_queue q
                       WHERE q.org_id = is_surely_one.org_id AND q.patient_id IN (is_surely_one.patient_id, is_surely_one.duplicate_id))
       AND referral.kept_apart(org_id, patient_id, duplicate_id) IS NULL
       AND NOT EXISTS (SELECT FROM referral.rival_candidates(org_id, patient_id, duplicate_id))
       -- of each the other one is the nearest, by the margin
       AND (SELECT count(*) FROM referral.patient p CROSS JOIN LATERAL referral.find_matches(p.org_id, p.demographics, 1, p.patient_id) m
            WHERE p.org_id = is_surely_one.org_id AND p.patient_id IN (is_surely_one.patient_id, is_surely_one.duplicate_id)
              AND m.patient_id IN (is_surely_one.patient_id, is_surely_one.duplicate_id) AND m.grade = 'certain') = 2
$$;
COMMENT ON FUNCTION referral.is_surely_one(bigint, bigint, bigint) IS
'May two patients be merged without a person, by their rows, the model, the candidates and the decisions as they are now? The model asks for that (auto_link); find_matches() calls each certain to be the other one; neither waits in the queue; there is no third one who is close to one of both, and no decision against it. Null for null.';

CREATE FUNCTION referral.auto_link_next(
    after_org bigint, after_id bigint, OUT org_id bigint, OUT candidate_id bigint, OUT linked boolean, OUT last_error text)
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.actor_kind = 'system'
SET referral.reason = '' SET enable_seqscan = off SET jit = off SET lock_timeout = '500ms' AS $$
DECLARE
    model bigint := referral.match_model_version();
    c record;
BEGIN
    SELECT k.* INTO c FROM referral.match_candidate k
    WHERE k.status = 'open' AND k.grade = 'certain' AND k.link_error IS NULL AND k.rule_version = model
      AND (k.org_id, k.candidate_id) > (after_org, after_id)
    ORDER BY k.org_id, k.candidate_id LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    org_id := c.org_id;
    candidate_id := c.candidate_id;
    linked := false;
    BEGIN
        IF referral.is_surely_one(c.org_id, c.patient_id, c.duplicate_id) THEN
            -- what is known of the two is of former rows until they are locked: all of it once more
            PERFORM referral.lock_patients(c.org_id, ARRAY[c.patient_id, c.duplicate_id]);
            PERFORM referral.write_candidates(ARRAY[c.org_id], ARRAY[c.patient_id], ARRAY[c.duplicate_id]);
            linked := referral.is_surely_one(c.org_id, c.patient_id, c.duplicate_id)
                  AND EXISTS (SELECT FROM referral.match_candidate k
                              WHERE k.org_id = c.org_id AND k.candidate_id = c.candidate_id AND k.status = 'open' AND k.grade = 'certain'
                                AND k.rule_version = model AND model = referral.match_model_version());
        END IF;
        IF linked THEN
            PERFORM referral.merge_patient(c.org_id, c.patient_id, c.duplicate_id, format('certain by the model of rule version %s', model));
        END IF;
    EXCEPTION
        WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
            linked := false;        -- somebody works on one of both: the next run tries again
        WHEN OTHERS OR assert_failure THEN
            linked := false;
            last_error := format('candidate %s: %s', c.candidate_id, referral.harmless_error(SQLSTATE, SQLERRM));
            UPDATE referral.match_candidate k SET link_error = referral.harmless_error(SQLSTATE, SQLERRM)
            WHERE k.org_id = c.org_id AND k.candidate_id = c.candidate_id;
    END;
END $$;
COMMENT ON FUNCTION referral.auto_link_next(bigint, bigint) IS
'Looks at the next open candidate, by (org_id, candidate_id), that is certain by the active model, and merges its patients when is_surely_one() still says so after both are locked and scored anew; returns which, whether it was linked, and what failed. All null when there is none left, and for null.';

-- A procedure that commits can have no SET clause: everything is in the functions it calls.
CREATE PROCEDURE referral.process_match_queue(max integer DEFAULT 1000)
LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := pg_catalog.clock_timestamp();
    batch record;
    taken bigint := 0;
    written bigint := 0;
    failed bigint := 0;
    last_error text;
    after_org bigint := 0;
    after_id bigint := 0;
    linked bigint := 0;
BEGIN
    IF max IS NULL OR max < 1 THEN
        RAISE EXCEPTION 'a batch has at least one patient'
            USING ERRCODE = 'RF020', DETAIL = 'max says how many are compared between two commits.', HINT = 'Leave max out.';
    END IF;
    PERFORM referral.heartbeat_start('match', at);
    COMMIT;
    LOOP
        SELECT * INTO batch FROM referral.match_queue_batch(max, at);
        COMMIT;
        EXIT WHEN batch.taken = 0;
        taken := taken + batch.taken - batch.failed;
        written := written + batch.written;
        failed := failed + batch.failed;
        last_error := coalesce(batch.last_error, last_error);
    END LOOP;
    IF referral.auto_links() THEN
        LOOP
            SELECT * INTO batch FROM referral.auto_link_next(after_org, after_id);
            COMMIT;
            EXIT WHEN batch.candidate_id IS NULL;
            after_org := batch.org_id;
            after_id := batch.candidate_id;
            linked := linked + batch.linked::integer;
            failed := failed + CASE WHEN batch.last_error IS NULL THEN 0 ELSE 1 END;
            last_error := coalesce(batch.last_error, last_error);
        END LOOP;
    END IF;
    PERFORM referral.heartbeat_end('match', written, taken + linked, 0, failed, last_error);
    COMMIT;
END $$;
COMMENT ON PROCEDURE referral.process_match_queue(integer) IS
'Compares the patients in referral.match_queue with all others, up to max between two commits, until none is left that was due when it began; then, where the active model asks for it (auto_link), merges pairs that are certain and have no rival. Leaves a heartbeat of the job match: fired = candidates written, acted = patients compared and pairs merged. Several may run at once, be killed, or run twice: the outcome is the same. Cannot be called inside a transaction block. RF020 when max is null or not positive. Works for all organisations, so it is for the owner of the model.';

-- ---------- Decisions ----------

CREATE FUNCTION referral.match_decision_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lesser bigint := least(NEW.patient_id, NEW.duplicate_id);
BEGIN
    IF TG_OP <> 'INSERT' THEN
        RAISE EXCEPTION 'decision % stays as it is', OLD.decision_id
            USING ERRCODE = 'RF007', DETAIL = 'What was decided, by whom and why, is on record.', HINT = 'Add another decision: the last one counts.';
    END IF;
    NEW.actor_kind := referral.current_actor_kind(NEW.org_id);
    IF NEW.actor_kind = 'ai' THEN
        RAISE EXCEPTION 'an AI does not decide who is who'
            USING ERRCODE = 'RF003', DETAIL = format('The session acts as %s, an AI.', referral.current_actor()), HINT = 'Have a person decide.';
    END IF;
    IF coalesce(NEW.reason !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a reason is required'
            USING ERRCODE = 'RF005', DETAIL = 'A decision about two patients outweighs every later score.', HINT = 'Give a reason.';
    END IF;
    IF coalesce(NEW.decision NOT IN ('link', 'not_a_match', 'defer'), true) THEN
        RAISE EXCEPTION 'a decision is link, not_a_match or defer'
            USING ERRCODE = 'RF020', DETAIL = 'One person, two persons, or not to be said yet.', HINT = 'Choose one of the three.';
    END IF;
    IF (NEW.decision = 'defer') <> (NEW.defer_until IS NOT NULL) OR NEW.defer_until <= (now() AT TIME ZONE 'UTC')::date
       OR NOT isfinite(NEW.defer_until) THEN
        RAISE EXCEPTION 'a pair is deferred until a later day, and only with decision defer'
            USING ERRCODE = 'RF020', DETAIL = 'On that day it is to be looked at again.', HINT = 'Set defer_until to a day after today, or leave it out with link and not_a_match.';
    END IF;
    IF NEW.patient_id = NEW.duplicate_id THEN
        RAISE EXCEPTION 'patient % is itself', NEW.patient_id
            USING ERRCODE = 'RF020', DETAIL = 'A decision is about two patients.', HINT = 'Name two of them.';
    END IF;
    -- with the rights of whoever decides
    IF (SELECT count(*) FROM referral.patient p WHERE p.org_id = NEW.org_id AND p.patient_id IN (NEW.patient_id, NEW.duplicate_id)) < 2 THEN
        RAISE EXCEPTION 'there are no patients % and % in organisation %', NEW.patient_id, NEW.duplicate_id, NEW.org_id
            USING ERRCODE = 'RF019', DETAIL = 'One of them does not exist or is not visible to the session.', HINT = 'See referral.patient.';
    END IF;
    NEW.duplicate_id := greatest(NEW.patient_id, NEW.duplicate_id);
    NEW.patient_id := lesser;
    NEW.decided_by := referral.current_actor();
    NEW.decided_at := now();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.match_decision_guard() IS
'BEFORE row trigger of referral.match_decision: puts the smaller id first and fills in who decides and when. RF003 for an AI, RF005 without a reason, RF007 for an UPDATE or a DELETE, RF019 when one of both patients is not there or not visible, RF020 for another decision or a wrong date.';

-- The row of the pair is what all that is decided and scored about it waits for. Before it those who are left of both are
-- locked: a merge, which goes by decisions about all records of its patients, waits, or is waited for.
CREATE FUNCTION referral.match_decision_lock() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last bigint[];
BEGIN
    LOOP
        last := ARRAY[referral.survivor_of(NEW.org_id, NEW.patient_id), referral.survivor_of(NEW.org_id, NEW.duplicate_id)];
        PERFORM FROM referral.patient p WHERE p.org_id = NEW.org_id AND p.patient_id = ANY (last) ORDER BY p.patient_id FOR KEY SHARE;
        EXIT WHEN last IS NOT DISTINCT FROM ARRAY[referral.survivor_of(NEW.org_id, NEW.patient_id), referral.survivor_of(NEW.org_id, NEW.duplicate_id)];
    END LOOP;
    INSERT INTO referral.match_candidate (org_id, patient_id, duplicate_id, status)
    VALUES (NEW.org_id, NEW.patient_id, NEW.duplicate_id, 'superseded')
    ON CONFLICT ON CONSTRAINT match_candidate_pair DO NOTHING;
    PERFORM FROM referral.match_candidate k
    WHERE k.org_id = NEW.org_id AND k.patient_id = NEW.patient_id AND k.duplicate_id = NEW.duplicate_id
    FOR UPDATE;
    IF NEW.decision <> 'link' AND last[1] = last[2] THEN
        RAISE EXCEPTION 'patients % and % are merged', NEW.patient_id, NEW.duplicate_id
            USING ERRCODE = 'RF015', DETAIL = 'As long as they are, they count as one person.', HINT = 'Take the merge back first: referral.unmerge_patient().';
    END IF;
    -- of the rows as they are now, which the candidate may be behind or ahead of
    NEW.rule_version := referral.match_model_version();
    SELECT p.version, q.version, CASE WHEN NEW.rule_version IS NOT NULL THEN referral.match_probability(p.demographics, q.demographics) END,
           CASE WHEN NEW.rule_version IS NOT NULL THEN referral.match_grade(p.demographics, q.demographics) END
    INTO NEW.patient_version, NEW.duplicate_version, NEW.probability, NEW.grade
    FROM referral.patient p, referral.patient q
    WHERE p.org_id = NEW.org_id AND p.patient_id = NEW.patient_id AND q.org_id = NEW.org_id AND q.patient_id = NEW.duplicate_id;
    -- drawn under the lock, so that the last decision has the highest
    NEW.decision_id := nextval(pg_get_serial_sequence('referral.match_decision', 'decision_id'));
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.match_decision_lock() IS
'BEFORE INSERT row trigger of referral.match_decision: locks those who are left of both patients and the pair, gives the decision its number and notes the model, the versions of both patients and their score. RF015 when both are merged and the decision is another than link.';

CREATE FUNCTION referral.match_decision_holds() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE referral.match_candidate k
    SET status = CASE NEW.decision WHEN 'link' THEN 'linked' WHEN 'defer' THEN 'deferred' ELSE NEW.decision END,
        deferred_until = NEW.defer_until, decision_id = NEW.decision_id
    WHERE k.org_id = NEW.org_id AND k.patient_id = NEW.patient_id AND k.duplicate_id = NEW.duplicate_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.match_decision_holds() IS
'AFTER INSERT row trigger of referral.match_decision: the pair gets the status that was decided.';

CREATE FUNCTION referral.decide_match(
    org_id bigint, patient_id bigint, duplicate_id bigint, decision text, reason text, defer_until date DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
BEGIN
    INSERT INTO referral.match_decision AS d (org_id, patient_id, duplicate_id, decision, reason, defer_until)
    VALUES (decide_match.org_id, decide_match.patient_id, decide_match.duplicate_id, decide_match.decision, decide_match.reason,
            decide_match.defer_until)
    RETURNING d.decision_id INTO id;
    RETURN id;
END $$;
COMMENT ON FUNCTION referral.decide_match(bigint, bigint, bigint, text, text, date) IS
'Records what was decided about two patients, in either order, and returns the decision_id: link (one person; merge_patient() is another step), not_a_match (two persons, never to be linked or merged) or defer (not before defer_until). The last decision about a pair counts and outweighs every score. RF003 for an AI, RF005 without a reason, RF015 for another decision than link about patients that are merged, RF019 when one of both is not there or not visible, RF020 for another decision or a wrong date.';

CREATE FUNCTION referral.record_match_decision(
    org_id bigint, patient_id bigint, duplicate_id bigint, decision text, reason text, source text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
BEGIN
    INSERT INTO referral.match_decision AS d (org_id, patient_id, duplicate_id, decision, reason, source)
    VALUES (record_match_decision.org_id, record_match_decision.patient_id, record_match_decision.duplicate_id,
            record_match_decision.decision, record_match_decision.reason, record_match_decision.source)
    RETURNING d.decision_id INTO id;
    RETURN id;
END $$;
COMMENT ON FUNCTION referral.record_match_decision(bigint, bigint, bigint, text, text, text) IS
'decide_match() for merge_patient() and unmerge_patient(), with source merge or unmerge: the decision that follows from what they do.';

-- ---------- Clusters ----------

CREATE FUNCTION referral.match_cluster(org_id bigint)
RETURNS TABLE (cluster_id bigint, patient_ids bigint[], size integer, weakest text, needs_review boolean, conflicts jsonb)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off AS $$
DECLARE
    largest CONSTANT integer := 50;     -- whose pairs are all looked at
    ids bigint[];
    up integer[];
    ones integer[];
    others integer[];
    kinds integer[];
    a integer;
    b integer;
BEGIN
    -- What is known of pairs: 3 linked, 2 certain, 1 probable, 0 possible or never scored, -1 not a match. What was decided
    -- about somebody who was merged away goes for who is left of him. Patients have numbers in the order of their ids.
    WITH RECURSIVE gone AS MATERIALIZED (
        SELECT p.patient_id AS id, p.merged_into AS other FROM referral.patient p
        WHERE p.org_id = match_cluster.org_id AND p.merged_into IS NOT NULL),
    way AS (
        SELECT g.id, g.other FROM gone g
        UNION
        SELECT w.id, g.other FROM way w JOIN gone g ON g.id = w.other),
    survivor AS MATERIALIZED (
        SELECT w.id, w.other AS last FROM way w WHERE NOT EXISTS (SELECT FROM gone g WHERE g.id = w.other)),
    known AS MATERIALIZED (
        SELECT coalesce(s.last, k.patient_id) AS one, coalesce(t.last, k.duplicate_id) AS other,
               CASE WHEN k.status = 'not_a_match' THEN -1 WHEN k.status = 'linked' THEN 3 WHEN k.grade = 'certain' THEN 2
                    WHEN k.grade = 'probable' THEN 1 ELSE 0 END AS kind
        FROM referral.match_candidate k
        LEFT JOIN survivor s ON s.id = k.patient_id
        LEFT JOIN survivor t ON t.id = k.duplicate_id
        WHERE k.org_id = match_cluster.org_id
          AND (k.status IN ('linked', 'not_a_match') OR (k.status = 'open' AND s.id IS NULL AND t.id IS NULL))
          AND coalesce(s.last, k.patient_id) <> coalesce(t.last, k.duplicate_id)),
    node AS MATERIALIZED (
        SELECT n.id, (row_number() OVER (ORDER BY n.id))::integer AS number
        FROM (SELECT one AS id FROM known UNION SELECT other FROM known) n)
    SELECT n.ids, n.numbers, k.ones, k.others, k.kinds INTO ids, up, ones, others, kinds
    FROM (SELECT array_agg(x.id ORDER BY x.number) AS ids, array_agg(x.number ORDER BY x.number) AS numbers FROM node x) n,
         (SELECT array_agg(least(m.number, n.number)) AS ones, array_agg(greatest(m.number, n.number)) AS others, array_agg(x.kind) AS kinds
          FROM known x JOIN node m ON m.id = x.one JOIN node n ON n.id = x.other) k;
    -- Each points to itself, or to one of its group with a smaller number; who points to himself stands for the group.
    FOR i IN 1 .. coalesce(cardinality(ones), 0) LOOP
        CONTINUE WHEN kinds[i] < 1;
        a := ones[i];
        WHILE up[a] <> a LOOP
            up[a] := up[up[a]];
            a := up[a];
        END LOOP;
        b := others[i];
        WHILE up[b] <> b LOOP
            up[b] := up[up[b]];
            b := up[b];
        END LOOP;
        IF a < b THEN
            up[b] := a;
        ELSE
            up[a] := b;
        END IF;
    END LOOP;
    FOR i IN 1 .. coalesce(cardinality(up), 0) LOOP
        up[i] := up[up[i]];
    END LOOP;
    RETURN QUERY
        WITH member AS MATERIALIZED (
            SELECT m.root, m.number::integer AS number, count(*) OVER (PARTITION BY m.root)::integer AS size
            FROM unnest(up) WITH ORDINALITY m (root, number)),
        known AS MATERIALIZED (
            SELECT k.one, k.other, min(k.kind) = -1 AS apart, max(k.kind) AS strength,
                   min(k.kind) FILTER (WHERE k.kind > 0) AS weakness
            FROM unnest(ones, others, kinds) k (one, other, kind)
            WHERE up[k.one] = up[k.other]
            GROUP BY k.one, k.other),
        pair AS (
            SELECT m.root, m.number AS one, n.number AS other FROM member m JOIN member n ON n.root = m.root
            WHERE m.size BETWEEN 3 AND largest AND n.number > m.number
            UNION
            SELECT up[k.one], k.one, k.other FROM known k WHERE k.apart),
        conflict AS (
            SELECT y.root, jsonb_agg(jsonb_build_object('patient_id', ids[y.one], 'duplicate_id', ids[y.other], 'why', y.why)
                                     ORDER BY y.one, y.other) AS pairs
            FROM (SELECT x.root, x.one, x.other,
                         CASE WHEN k.apart THEN 'not_a_match'
                              -- what is known says that they may be one; otherwise they are compared
                              WHEN k.strength IS NULL AND referral.match_grade(
                                  (SELECT p.demographics FROM referral.patient p WHERE p.org_id = match_cluster.org_id AND p.patient_id = ids[x.one]),
                                  (SELECT p.demographics FROM referral.patient p WHERE p.org_id = match_cluster.org_id AND p.patient_id = ids[x.other]))
                                  = 'certainly-not' THEN 'certainly-not' END AS why
                  FROM pair x LEFT JOIN known k ON k.one = x.one AND k.other = x.other) y
            WHERE y.why IS NOT NULL
            GROUP BY y.root),
        strength AS (
            SELECT up[k.one] AS root, min(k.weakness) AS weakest FROM known k WHERE k.weakness > 0 GROUP BY 1)
        SELECT ids[m.root], array_agg(ids[m.number] ORDER BY m.number), m.size, (ARRAY['probable', 'certain', 'linked'])[s.weakest],
               c.pairs IS NOT NULL OR m.size > largest, c.pairs
        FROM member m
        JOIN strength s ON s.root = m.root
        LEFT JOIN conflict c ON c.root = m.root
        GROUP BY m.root, m.size, s.weakest, c.pairs
        ORDER BY 1;
END $$;
COMMENT ON FUNCTION referral.match_cluster(bigint) IS
'Groups of patients that are connected by decisions to link and by open candidates that are certain or probable. cluster_id: the smallest patient_id; weakest: of what connects it, probable, certain or linked. needs_review: two of the group were decided to be not_a_match, or compared directly are certainly-not (conflicts names the pairs), or it has more than 50 members: it is not one person as it stands. Reads what the session may see. Null: no rows.';

-- ---------- How frequent names are ----------

CREATE FUNCTION referral.refresh_match_frequencies() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$
DECLARE
    written bigint;
BEGIN
    -- one refresh at a time
    PERFORM pg_advisory_xact_lock('referral.refresh_match_frequencies()'::regprocedure::oid::bigint);
    WITH person AS MATERIALIZED (
        SELECT p.demographics::jsonb AS names FROM referral.patient p WHERE p.merged_into IS NULL),
    counted AS MATERIALIZED (
        -- a whole name, as the scoring looks it up: its words without what stands between them
        SELECT n.kind, referral.match_term_hash(n.name) AS term_hash, count(*) AS n
        FROM (SELECT k.kind, translate(v.name #>> '{}', ' -', '') AS name
              FROM person p CROSS JOIN (VALUES ('family'), ('given')) k (kind)
              CROSS JOIN LATERAL jsonb_path_query(p.names -> k.kind, '$[*]') v (name)) n
        GROUP BY 1, 2 HAVING count(*) >= 10    -- of fewer, scores shall not tell
        UNION ALL
        SELECT 'people', 0, count(*) FROM person HAVING count(*) > 0),
    gone AS (
        DELETE FROM referral.match_frequency f
        WHERE NOT EXISTS (SELECT FROM counted c WHERE c.kind = f.kind AND c.term_hash = f.term_hash)
        RETURNING 1),
    changed AS (
        INSERT INTO referral.match_frequency AS f (kind, term_hash, n)
        SELECT c.kind, c.term_hash, c.n FROM counted c
        ON CONFLICT ON CONSTRAINT match_frequency_pkey DO UPDATE SET n = excluded.n
        -- what hardly changed changes no score
        WHERE abs(excluded.n - f.n) * 10 > f.n
        RETURNING 1)
    SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM changed) INTO written;
    RETURN written;
END $$;
COMMENT ON FUNCTION referral.refresh_match_frequencies() IS
'Counts over all patients that are not merged away how many there are and how many have each family and given name, and writes referral.match_frequency: names of ten or more patients, where the number has changed by more than a tenth. Returns how many rows it wrote. A daily job, for the owner of the model.';

REVOKE ALL ON FUNCTION referral.write_candidates(bigint[], bigint[], bigint[]), referral.rescore_patients(bigint[], bigint[]), referral.match_model_version(),
    referral.rescore_patient(bigint, bigint), referral.load_duplicates(bigint), referral.match_on_write(),
    referral.match_queue_batch(integer, timestamptz), referral.auto_links(), referral.rival_candidates(bigint, bigint, bigint),
    referral.is_surely_one(bigint, bigint, bigint),
    referral.auto_link_next(bigint, bigint), referral.match_decision_guard(), referral.match_decision_lock(),
    referral.match_decision_holds(), referral.decide_match(bigint, bigint, bigint, text, text, date),
    referral.record_match_decision(bigint, bigint, bigint, text, text, text),
    referral.match_cluster(bigint), referral.refresh_match_frequencies() FROM PUBLIC;
REVOKE ALL ON PROCEDURE referral.process_match_queue(integer) FROM PUBLIC;
