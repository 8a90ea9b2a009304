-- eligibility: was the payer asked whether it covers the referral, and what did it say

CREATE FUNCTION referral.eligibility_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.status <> 'requested'
       AND (NEW.status, NEW.coverage_id, NEW.covered, NEW.pa_needed, NEW.active_from, NEW.active_to, NEW.answered_at)
           IS DISTINCT FROM (OLD.status, OLD.coverage_id, OLD.covered, OLD.pa_needed, OLD.active_from, OLD.active_to, OLD.answered_at) THEN
        RAISE EXCEPTION 'eligibility check % is % already', OLD.eligibility_check_id, OLD.status
            USING ERRCODE = 'RF001', DETAIL = 'What a payer has answered stays as it was.',
                  HINT = 'Ask again with request_eligibility(), and record that answer.';
    END IF;
    IF NEW.status = 'answered' THEN
        IF NEW.covered IS NULL THEN
            RAISE EXCEPTION 'an answer about eligibility says whether the referral is covered'
                USING ERRCODE = 'RF020', DETAIL = 'covered is null.',
                      HINT = 'Set covered to covered, not-covered, conditional or indeterminate.';
        END IF;
        NEW.answered_at := coalesce(NEW.answered_at, now());
        NEW.answered_by := coalesce(NEW.answered_by, referral.current_actor());
    ELSIF (NEW.covered, NEW.pa_needed, NEW.answered_at) IS DISTINCT FROM (NULL, NULL, NULL) THEN
        RAISE EXCEPTION 'only an answered eligibility check holds an answer'
            USING ERRCODE = 'RF020', DETAIL = format('Its status is %s.', NEW.status), HINT = 'Set status to answered as well.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.eligibility_guard() IS
'BEFORE row trigger of referral.eligibility_check: an answer has covered and is not changed afterwards (RF001, RF020); fills in who answered and when.';

CREATE FUNCTION referral.care_date(org_id bigint, referral_id bigint) RETURNS date
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT (coalesce(r.scheduled_for, now()) AT TIME ZONE coalesce(s.timezone, 'UTC'))::date
            FROM referral.referral r LEFT JOIN referral.site s ON s.org_id = r.org_id AND s.site_id = r.site_id
            WHERE r.org_id = care_date.org_id AND r.referral_id = care_date.referral_id);
END $$;
COMMENT ON FUNCTION referral.care_date(bigint, bigint) IS
'The day on which the coverage of a referral has to hold: that of its appointment, today while it has none, in the time zone of its site (UTC without one). Null for null and for a referral that is not visible.';

CREATE FUNCTION referral.referral_coverage(org_id bigint, referral_id bigint) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    on_date date := referral.care_date(org_id, referral_id);
BEGIN
    RETURN (SELECT k.coverage_id
            FROM referral.referral r
            JOIN referral.coverage k ON k.org_id = r.org_id AND k.patient_id = r.patient_id AND k.status = 'active' AND k.period @> on_date
            WHERE r.org_id = referral_coverage.org_id AND r.referral_id = referral_coverage.referral_id
            ORDER BY (k.coverage_id = r.coverage_id) DESC NULLS LAST, k.priority LIMIT 1);
END $$;
COMMENT ON FUNCTION referral.referral_coverage(bigint, bigint) IS
'The coverage that is in force for a referral on its care_date(): the one it names, else the patient''s that pays first. Null when there is none, and for null.';

CREATE FUNCTION referral.request_eligibility(org_id bigint, referral_id bigint, mode text DEFAULT 'api') RETURNS bigint
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    patient bigint;
    coverage bigint;
    id bigint;
BEGIN
    -- two requests for one referral come one after the other
    SELECT r.patient_id INTO patient FROM referral.referral r
    WHERE r.org_id = request_eligibility.org_id AND r.referral_id = request_eligibility.referral_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no referral % in organisation %', referral_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'Check org_id and referral_id.';
    END IF;
    coverage := referral.referral_coverage(org_id, referral_id);
    IF coverage IS NULL THEN
        PERFORM referral.open_exception(request_eligibility.org_id, 'eligibility', 'referral', request_eligibility.referral_id,
            request_eligibility.referral_id, 'no_coverage', 'no coverage of the patient is in force on the day of care', 'medium', true);
        RETURN NULL;
    END IF;
    UPDATE referral.eligibility_check c SET status = 'cancelled'
    WHERE c.org_id = request_eligibility.org_id AND c.referral_id = request_eligibility.referral_id
      AND c.status = 'requested' AND c.coverage_id <> coverage;
    SELECT c.eligibility_check_id INTO id FROM referral.eligibility_check c
    WHERE c.org_id = request_eligibility.org_id AND c.referral_id = request_eligibility.referral_id AND c.status = 'requested';
    IF NOT FOUND THEN
        INSERT INTO referral.eligibility_check (org_id, referral_id, patient_id, coverage_id, mode, attempt)
        SELECT request_eligibility.org_id, request_eligibility.referral_id, patient, coverage, request_eligibility.mode,
               1 + count(*) FILTER (WHERE c.status = 'failed'
                                    AND c.eligibility_check_id > coalesce((SELECT max(a.eligibility_check_id) FROM referral.eligibility_check a
                                        WHERE a.org_id = request_eligibility.org_id AND a.referral_id = request_eligibility.referral_id
                                          AND a.coverage_id = coverage AND a.status = 'answered'), 0))
        FROM referral.eligibility_check c
        WHERE c.org_id = request_eligibility.org_id AND c.referral_id = request_eligibility.referral_id AND c.coverage_id = coverage
        RETURNING eligibility_check_id INTO id;
    END IF;
    PERFORM referral.settle_coverage(request_eligibility.org_id, request_eligibility.referral_id);
    RETURN id;
END $$;
COMMENT ON FUNCTION referral.request_eligibility(bigint, bigint, text) IS
'Asks whether the payer covers a referral: a row of referral.eligibility_check for referral_coverage(), which a worker or a person answers; returns its eligibility_check_id. mode: api, portal, phone or manual. One that is still requested for the same coverage is returned again; one for another coverage is cancelled. Without a coverage in force: an exception (eligibility, no_coverage) and null. attempt counts requests since the last answer that failed. RF019 when the referral does not exist or is not visible. Null for null.';

CREATE FUNCTION referral.answer_eligibility(
    org_id bigint, eligibility_check_id bigint, covered text, pa_needed text DEFAULT NULL,
    active_from date DEFAULT NULL, active_to date DEFAULT NULL, copay numeric DEFAULT NULL, deductible_left numeric DEFAULT NULL,
    reference_number text DEFAULT NULL, detail jsonb DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE referral.eligibility_check c
    SET status = 'answered', covered = answer_eligibility.covered, pa_needed = answer_eligibility.pa_needed,
        active_from = answer_eligibility.active_from, active_to = answer_eligibility.active_to, copay = answer_eligibility.copay,
        deductible_left = answer_eligibility.deductible_left, reference_number = answer_eligibility.reference_number,
        detail = answer_eligibility.detail
    WHERE c.org_id = answer_eligibility.org_id AND c.eligibility_check_id = answer_eligibility.eligibility_check_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no eligibility check % in organisation %', eligibility_check_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.eligibility_check.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.answer_eligibility(bigint, bigint, text, text, date, date, numeric, numeric, text, jsonb) IS
'Records what the payer answered: an UPDATE of the row of referral.eligibility_check to answered does the same. covered: covered, not-covered, conditional, indeterminate; pa_needed: no-auth, auth-needed, satisfied, performpa, conditional, indeterminate (Da Vinci CRD). active_to is the last day. Opens or closes exceptions. RF019 when there is no such check, RF001 when it is answered already, RF020 when covered is null.';

CREATE FUNCTION referral.close_eligibility_exception(org_id bigint, referral_id bigint, code text, resolution text) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.close_exception(e.org_id, e.exception_id, close_eligibility_exception.resolution)
    FROM referral.exception_item e
    WHERE e.org_id = close_eligibility_exception.org_id AND e.entity = 'referral' AND e.entity_id = close_eligibility_exception.referral_id
      AND e.category IN ('eligibility', 'payer_mismatch') AND e.code = close_eligibility_exception.code AND e.status IN ('open', 'in_progress')
      AND e.exception_rule_id IS NULL;
END $$;
COMMENT ON FUNCTION referral.close_eligibility_exception(bigint, bigint, text, text) IS
'Closes the open exceptions about eligibility or payer that a referral has under a code. For functions that know that it is so. Null for null.';

CREATE FUNCTION referral.eligibility_in_force(status text, covered text, active_from date, active_to date, on_date date) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(status = 'answered' AND covered IN ('covered', 'conditional')
                    AND on_date >= coalesce(active_from, on_date) AND on_date <= coalesce(active_to, on_date), false)
$$;
COMMENT ON FUNCTION referral.eligibility_in_force(text, text, date, date, date) IS
'Does the answer to an eligibility check say that the coverage holds on a day: covered or conditional, and the day lies in its period? A null end of the period is open. Never null.';

CREATE FUNCTION referral.settle_coverage(org_id bigint, referral_id bigint) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.referral_coverage(org_id, referral_id) IS NOT NULL THEN
        PERFORM referral.close_eligibility_exception(org_id, referral_id, 'no_coverage', 'A coverage is in force.');
    END IF;
END $$;
COMMENT ON FUNCTION referral.settle_coverage(bigint, bigint) IS
'Closes the exception no_coverage of a referral for which a coverage is in force now (referral_coverage()). With the owner''s rights, since a system may not close what a person opened; it looks for itself whether it is so. Null for null.';

CREATE FUNCTION referral.eligibility_outcome() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    expected bigint;
    payer bigint;
BEGIN
    IF referral.eligibility_in_force(NEW.status, NEW.covered, NEW.active_from, NEW.active_to, referral.care_date(NEW.org_id, NEW.referral_id)) THEN
        PERFORM referral.close_eligibility_exception(NEW.org_id, NEW.referral_id, 'not_eligible', 'The payer has confirmed the coverage since.');
    ELSE
        PERFORM referral.open_exception(NEW.org_id, 'eligibility', 'referral', NEW.referral_id, NEW.referral_id, 'not_eligible',
            CASE WHEN NEW.covered IN ('covered', 'conditional') THEN 'the coverage is not active on the day of care'
                 WHEN NEW.covered = 'not-covered' THEN 'the payer does not cover it' ELSE 'the payer gave no clear answer' END, 'medium', true);
    END IF;
    SELECT r.payer_id, k.payer_id INTO expected, payer
    FROM referral.referral r LEFT JOIN referral.coverage k ON k.org_id = r.org_id AND k.coverage_id = NEW.coverage_id
    WHERE r.org_id = NEW.org_id AND r.referral_id = NEW.referral_id;
    IF expected <> payer THEN
        PERFORM referral.open_exception(NEW.org_id, 'payer_mismatch', 'referral', NEW.referral_id, NEW.referral_id, 'payer_mismatch',
            'the coverage that was asked about is with another payer than the referral', 'medium', true);
    ELSIF expected = payer THEN
        PERFORM referral.close_eligibility_exception(NEW.org_id, NEW.referral_id, 'payer_mismatch', 'Coverage and referral have one payer.');
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.eligibility_outcome() IS
'AFTER row trigger of referral.eligibility_check, when it is answered: an answer that the coverage does not hold on the day of care opens an exception (eligibility, not_eligible), a coverage of another payer than the referral''s one (payer_mismatch); an answer that it does closes them, with the owner''s rights, whoever opened them.';

CREATE FUNCTION referral.end_checks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.check_referral(NEW.org_id, NEW.referral_id);
    UPDATE referral.eligibility_check c SET status = 'cancelled'
    WHERE c.org_id = NEW.org_id AND c.referral_id = NEW.referral_id AND c.status = 'requested';
    PERFORM referral.close_eligibility_exception(NEW.org_id, NEW.referral_id, x, 'The referral has come to its end.')
    FROM unnest('{no_coverage,not_eligible,payer_mismatch}'::text[]) x;
    -- a move that was refused is not wanted any more; that somebody declined, only a person settles
    PERFORM referral.close_exception(e.org_id, e.exception_id, 'The referral has come to its end.')
    FROM referral.exception_item e
    WHERE e.org_id = NEW.org_id AND e.entity = 'referral' AND e.entity_id = NEW.referral_id AND e.category = 'policy'
      AND e.status IN ('open', 'in_progress') AND e.exception_rule_id IS NULL
      AND (e.code = 'transition_refused' OR e.code = 'decision_declined' AND referral.current_actor_kind(NEW.org_id) = 'user');
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.end_checks() IS
'AFTER row trigger of referral.referral, when it comes to a terminal state: what checks of it left open (exceptions, drafts, requests to the payer) is closed, and so are refused moves, and by a person that the performer declined. With the owner''s rights, since whoever ends a referral may not be one who writes those; it evaluates no rules.';

CREATE FUNCTION referral.eligibility_confirmed(org_id bigint, referral_id bigint, max_age interval DEFAULT '30 days') RETURNS boolean
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    on_date date := referral.care_date(org_id, referral_id);
    coverage bigint := referral.referral_coverage(org_id, referral_id);
BEGIN
    RETURN coalesce((SELECT referral.eligibility_in_force(c.status, c.covered, c.active_from, c.active_to, on_date)
                            AND c.answered_at >= now() - max_age
                     FROM referral.eligibility_check c
                     WHERE c.org_id = eligibility_confirmed.org_id AND c.referral_id = eligibility_confirmed.referral_id
                       AND c.coverage_id = coverage AND c.status = 'answered'
                     ORDER BY c.answered_at DESC, c.eligibility_check_id DESC LIMIT 1), false);
END $$;
COMMENT ON FUNCTION referral.eligibility_confirmed(bigint, bigint, interval) IS
'Does the latest answer about the referral_coverage() of a referral say that it holds on its care_date(), and is it not older than max_age? For guards; it looks at the rows as they are stored. False without an answer, without a coverage, and for a referral that is not visible; null for null.';

REVOKE ALL ON FUNCTION referral.eligibility_guard(), referral.eligibility_outcome(), referral.end_checks(), referral.request_eligibility(bigint, bigint, text),
    referral.answer_eligibility(bigint, bigint, text, text, date, date, numeric, numeric, text, jsonb),
    referral.settle_coverage(bigint, bigint), referral.close_eligibility_exception(bigint, bigint, text, text) FROM PUBLIC;
