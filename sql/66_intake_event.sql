-- intake_apply: what happens to a referral after it was made: appointments, reports, documents, authorizations, communication

-- ---------- appointments ----------

-- Whose appointment is it?  The one of the number, else the only one that the patient has and that is not over.
CREATE FUNCTION referral.intake_appointment_referral(w INOUT referral.intake_work, a jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    candidates bigint[];
    numbered boolean := referral.intake_text(a, 'placer_order_number') IS NOT NULL OR referral.intake_text(a, 'filler_order_number') IS NOT NULL;
BEGIN
    IF w.referral_id IS NOT NULL THEN
        RETURN;
    END IF;
    IF numbered THEN
        candidates := referral.intake_find_referral(w, a - 'identifiers');
        w := referral.intake_choose_referral(w, candidates);
        IF candidates IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    IF w.patient_id IS NOT NULL AND NOT numbered THEN
        SELECT array_agg(t.referral_id) INTO candidates FROM referral.referral t
        WHERE t.org_id = w.org_id AND t.patient_id = w.patient_id AND NOT referral.intake_is_over(t.state);
    END IF;
    IF array_length(candidates, 1) = 1 THEN
        w.referral_id := candidates[1];
        w.findings := w.findings || referral.intake_finding('ambiguous_referral', 'info', 'appointment.placer_order_number',
            'no number was told; it is the only referral of the patient that is not over');
    ELSIF candidates IS NULL THEN
        w.findings := w.findings || referral.intake_finding('order_not_found', CASE WHEN numbered THEN 'error' ELSE 'warning' END, 'appointment.placer_order_number',
            'the referral that it was made for is not here',
            coalesce(referral.intake_text(a, 'placer_order_number'), referral.intake_text(a, 'filler_order_number')));
    ELSE
        w.findings := w.findings || referral.intake_finding('ambiguous_referral', 'warning', 'appointment.placer_order_number',
            'no number was told, and the patient has several referrals that are not over');
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_appointment_referral(referral.intake_work, jsonb) IS
'Finds the referral that an appointment was made for; in referral_id of the answer. None, with a finding, when it cannot be told.';

-- Schedulers count anew, and one number may serve two of them: it is the patient's appointment, or another one.
CREATE FUNCTION referral.intake_find_appointment(w INOUT referral.intake_work, a jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    placer text := referral.intake_text(a, 'placer_appointment_id');
    filler text := coalesce(referral.intake_text(a, 'filler_appointment_id'), referral.intake_text(a #> '{identifiers,0}', 'value'));
    starts timestamptz := referral.try_timestamp(a ->> 'starts_at');
    candidates bigint[];
    several boolean;
BEGIN
    w.appointment_id := NULL;
    IF filler IS NOT NULL THEN
        candidates := ARRAY(SELECT t.appointment_id FROM referral.appointment t
                            WHERE t.org_id = w.org_id AND t.filler_appointment_id = filler AND t.source IS NOT DISTINCT FROM w.source);
    END IF;
    IF placer IS NOT NULL AND coalesce(candidates, '{}') = '{}' THEN
        candidates := ARRAY(SELECT t.appointment_id FROM referral.appointment t
                            WHERE t.org_id = w.org_id AND t.placer_appointment_id = placer AND t.source IS NOT DISTINCT FROM w.source
                              AND (filler IS NULL OR t.filler_appointment_id IS NULL));
    END IF;
    IF candidates <> '{}' THEN
        SELECT max(t.appointment_id), min(t.patient_id) <> max(t.patient_id) INTO w.appointment_id, several
        FROM referral.appointment t
        WHERE t.org_id = w.org_id AND t.appointment_id = ANY (candidates)
          AND (w.patient_id IS NULL OR t.patient_id IS NULL OR t.patient_id = w.patient_id
               OR t.patient_id = ANY ((SELECT referral.merged_ids(w.org_id, w.patient_id))::bigint[]));
        IF w.appointment_id IS NULL OR several AND w.patient_id IS NULL THEN
            w.appointment_id := NULL;
            w.findings := w.findings || referral.intake_finding('ambiguous_referral', 'error', 'appointment.filler_appointment_id',
                'the number is that of an appointment of another patient; this one stands for itself');
        END IF;
    ELSIF filler IS NULL AND placer IS NULL AND starts IS NOT NULL AND w.patient_id IS NOT NULL THEN
        SELECT max(t.appointment_id) INTO w.appointment_id FROM referral.appointment t
        WHERE t.org_id = w.org_id AND t.patient_id = w.patient_id AND t.starts_at = starts AND t.source IS NOT DISTINCT FROM w.source;
    ELSIF filler IS NULL AND placer IS NULL THEN
        SELECT min(t.appointment_id) INTO w.appointment_id FROM referral.appointment t
        WHERE t.org_id = w.org_id AND t.appointment_id = ANY (referral.intake_made_before(w, 'appointment'))
          AND t.patient_id IS NOT DISTINCT FROM w.patient_id;
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_find_appointment(referral.intake_work, jsonb) IS
'Finds the appointment that a case means: by the filler''s number, else the placer''s, of the same source, where it is its patient''s; one without numbers by patient and time. In appointment_id of the answer; null when there is none, with a finding when the number is that of another patient.';

CREATE FUNCTION referral.intake_move_appointment(w referral.intake_work, wanted text, reason text, starts timestamptz, ends timestamptz) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    transition_before text := current_setting('referral.transition', true);
    reason_before text := current_setting('referral.reason', true);
BEGIN
    PERFORM set_config('referral.reason', coalesce(reason, ''), true), set_config('referral.transition', (
        SELECT CASE WHEN t.step = 'booked' AND wanted = 'booked' AND t.starts_at <> starts THEN 'reschedule' ELSE '' END
        FROM referral.appointment t WHERE t.org_id = w.org_id AND t.appointment_id = w.appointment_id), true);
    UPDATE referral.appointment t
    SET step = wanted, starts_at = coalesce(starts, t.starts_at), ends_at = CASE WHEN starts IS NULL THEN coalesce(ends, t.ends_at) ELSE ends END,
        status_reason = CASE WHEN t.step = wanted THEN t.status_reason ELSE reason END
    WHERE t.org_id = w.org_id AND t.appointment_id = w.appointment_id;
    PERFORM set_config('referral.transition', coalesce(transition_before, ''), true), set_config('referral.reason', coalesce(reason_before, ''), true);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    IF SQLSTATE NOT LIKE 'RF%' THEN
        RAISE;
    END IF;
    RETURN format('%s was refused: %s, %s', wanted, SQLSTATE, SQLERRM);
END $$;
COMMENT ON FUNCTION referral.intake_move_appointment(referral.intake_work, text, text, timestamptz, timestamptz) IS
'Takes the appointment of a case to a step and a time. Null when that was done; when the guard refused, what it said.';

-- The referral goes where its appointment takes it, if its own guard agrees.
CREATE FUNCTION referral.intake_follow_appointment(w INOUT referral.intake_work, a jsonb, status text, starts timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o record;
    refused text;
    wanted referral.state;
BEGIN
    SELECT t.state, t.scheduled_for INTO o FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
    wanted := CASE WHEN status IN ('booked', 'arrived', 'checked-in') THEN 'scheduled' WHEN status = 'fulfilled' THEN 'completed'
                   WHEN status = 'noshow' THEN 'no_show' WHEN status = 'cancelled' THEN 'appointment_cancelled' END;
    IF wanted IS NULL OR o.state IN ('completed', 'closed_loop') AND wanted IN ('scheduled', 'completed')
       OR wanted = o.state AND (wanted <> 'scheduled' OR starts IS NULL OR starts = o.scheduled_for) THEN
        RETURN;
    END IF;
    -- another appointment of the referral stands
    IF wanted IN ('no_show', 'appointment_cancelled') AND EXISTS (
        SELECT FROM referral.appointment t
        WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id AND t.appointment_id <> w.appointment_id
          AND t.step IN ('booked', 'arrived', 'checked-in', 'fulfilled')) THEN
        RETURN;
    END IF;
    IF wanted = 'appointment_cancelled' AND o.state IN ('received', 'validated', 'pending_authorization', 'ready_to_schedule') THEN
        RETURN;    -- it had not been scheduled anyway
    END IF;
    IF wanted = 'scheduled' AND o.state = 'scheduled' THEN
        refused := referral.intake_move(w, 'scheduled', NULL, referral.intake_prose(a, 'comment'), starts, 'reschedule');
    ELSIF wanted = 'appointment_cancelled' THEN
        refused := referral.intake_move(w, wanted, referral.intake_reason('appointment', referral.intake_text(a, 'status_reason')),
                                        coalesce(referral.intake_prose(a, 'comment'), referral.intake_text(a, 'status_reason'),
                                                 'as the message of the scheduling system says'));
    ELSE
        refused := referral.intake_move(w, wanted, NULL, referral.intake_prose(a, 'comment'), CASE WHEN wanted = 'scheduled' THEN starts END);
    END IF;
    IF refused IS NULL THEN
        w.results := w.results || referral.intake_result('referral', w.referral_id, 'updated');
        -- its report may have come first
        IF wanted = 'completed' AND EXISTS (
            SELECT FROM referral.consult_report t
            WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id AND t.status IN ('final', 'amended')) THEN
            refused := referral.intake_move(w, 'closed_loop');
        END IF;
    END IF;
    IF refused IS NOT NULL THEN
        w.findings := w.findings || referral.intake_finding('transition_refused', 'warning', 'referral.state', refused);
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_follow_appointment(referral.intake_work, jsonb, text, timestamptz) IS
'Moves the referral of an appointment: booked to scheduled, noshow to no_show, cancelled to appointment_cancelled, fulfilled to completed, and on to closed_loop when its final report is here already; a finding when the guard refuses.';

CREATE FUNCTION referral.intake_appointment(w referral.intake_work, a jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told text := referral.intake_text(a, 'status');
    status text := told;
    starts timestamptz := referral.try_timestamp(a ->> 'starts_at');
    ends timestamptz := referral.try_timestamp(a ->> 'ends_at');
    reason text := coalesce(referral.intake_text(a, 'status_reason'), left(referral.intake_prose(a, 'comment'), 500));
    practitioner bigint;
    place bigint;
    refused text;
    old_step text;
    old_starts timestamptz;
    before bigint;
    after bigint;
    said jsonb;
BEGIN
    IF starts IS NULL AND referral.intake_text(a, 'starts_at') IS NOT NULL THEN
        w.findings := w.findings || referral.intake_finding('invalid_time', 'warning', 'appointment.starts_at', 'no such time', a ->> 'starts_at');
    END IF;
    IF ends < starts THEN
        w.findings := w.findings || referral.intake_finding('invalid_time', 'warning', 'appointment.ends_at', 'before it starts', a ->> 'ends_at');
        ends := NULL;
    END IF;
    IF status NOT IN ('proposed', 'pending', 'booked', 'arrived', 'checked-in', 'fulfilled', 'cancelled', 'noshow', 'waitlist', 'entered-in-error') THEN
        w.findings := w.findings || referral.intake_finding('invalid_code', 'warning', 'appointment.status', 'not a status of an appointment', status);
        status := NULL;
    END IF;
    w := referral.intake_practitioner(w, a -> 'practitioner');
    practitioner := w.id;
    IF referral.intake_text(a, 'location') IS NOT NULL THEN
        SELECT min(s.site_id) INTO place FROM referral.site s
        WHERE s.org_id = w.org_id AND (s.identifier = a ->> 'location' OR lower(s.name) = lower(a ->> 'location'));
    END IF;

    said := w.findings;
    w := referral.intake_find_appointment(w, a);
    IF w.appointment_id IS NULL THEN
        PERFORM referral.intake_lock(w.org_id, 'appointment ' || coalesce(referral.intake_text(a, 'filler_appointment_id'),
            referral.intake_text(a, 'placer_appointment_id'), w.patient_id::text, ''));
        w.findings := said;
        w := referral.intake_find_appointment(w, a);
    END IF;
    IF w.appointment_id IS NOT NULL THEN
        -- what it was made for is known
        SELECT coalesce(t.referral_id, w.referral_id) INTO w.referral_id FROM referral.appointment t
        WHERE t.org_id = w.org_id AND t.appointment_id = w.appointment_id;
    END IF;
    w := referral.intake_appointment_referral(w, a);

    IF w.appointment_id IS NULL THEN
        status := coalesce(status, 'booked');
        INSERT INTO referral.appointment (org_id, referral_id, patient_id, practitioner_id, site_id, starts_at, ends_at, service_code_system,
            service_code, service_text, location, placer_appointment_id, filler_appointment_id, source, comment, status_reason, step)
        SELECT w.org_id, w.referral_id,
               coalesce(w.patient_id, (SELECT t.patient_id FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id)),
               practitioner, place, starts, ends, referral.intake_text(a, 'service_code_system'), referral.intake_text(a, 'service_code'),
               referral.intake_prose(a, 'service_text'), referral.intake_text(a, 'location'), referral.intake_text(a, 'placer_appointment_id'),
               coalesce(referral.intake_text(a, 'filler_appointment_id'), referral.intake_text(a #> '{identifiers,0}', 'value')), w.source,
               referral.intake_prose(a, 'comment'), CASE WHEN status IN ('cancelled', 'noshow', 'entered-in-error') THEN reason END,
               -- who has arrived was booked before
               CASE WHEN status IN ('arrived', 'checked-in') THEN 'booked' ELSE status END
        RETURNING appointment_id INTO w.appointment_id;
        IF status IN ('arrived', 'checked-in') THEN
            refused := referral.intake_move_appointment(w, status, NULL, NULL, NULL);
        END IF;
        w.results := w.results || referral.intake_result('appointment', w.appointment_id, 'created');
    ELSIF referral.intake_is_outdated(w, 'appointment', w.appointment_id) THEN
        w.results := w.results || referral.intake_result('appointment', w.appointment_id, 'unchanged');
        w.findings := w.findings || referral.intake_finding('out_of_order', 'info', 'appointment',
            'a newer message has been applied; the appointment stays as it is');
        RETURN w;
    ELSE
        SELECT t.step, t.starts_at, t.version INTO old_step, old_starts, before
        FROM referral.appointment t WHERE t.org_id = w.org_id AND t.appointment_id = w.appointment_id;
        UPDATE referral.appointment t
        SET referral_id = n.referral_id, patient_id = n.patient_id, practitioner_id = n.practitioner_id, site_id = n.site_id,
            service_code_system = n.service_code_system, service_code = n.service_code, service_text = n.service_text, location = n.location,
            placer_appointment_id = n.placer_appointment_id, filler_appointment_id = n.filler_appointment_id, comment = n.comment
        FROM (SELECT coalesce(o.referral_id, w.referral_id) AS referral_id, coalesce(o.patient_id, w.patient_id) AS patient_id,
                     coalesce(practitioner, o.practitioner_id) AS practitioner_id, coalesce(place, o.site_id) AS site_id,
                     coalesce(referral.intake_text(a, 'service_code_system'), o.service_code_system) AS service_code_system,
                     coalesce(referral.intake_text(a, 'service_code'), o.service_code) AS service_code,
                     coalesce(referral.intake_prose(a, 'service_text'), o.service_text) AS service_text,
                     coalesce(referral.intake_text(a, 'location'), o.location) AS location,
                     coalesce(referral.intake_text(a, 'placer_appointment_id'), o.placer_appointment_id) AS placer_appointment_id,
                     coalesce(o.filler_appointment_id, referral.intake_text(a, 'filler_appointment_id')) AS filler_appointment_id,
                     coalesce(referral.intake_prose(a, 'comment'), o.comment) AS comment
              FROM referral.appointment o WHERE o.org_id = w.org_id AND o.appointment_id = w.appointment_id) n
        WHERE t.org_id = w.org_id AND t.appointment_id = w.appointment_id
          AND (t.referral_id, t.patient_id, t.practitioner_id, t.site_id, t.service_code_system, t.service_code, t.service_text, t.location,
               t.placer_appointment_id, t.filler_appointment_id, t.comment)
              IS DISTINCT FROM (n.referral_id, n.patient_id, n.practitioner_id, n.site_id, n.service_code_system, n.service_code, n.service_text,
               n.location, n.placer_appointment_id, n.filler_appointment_id, n.comment);
        status := coalesce(status, old_step);
        IF status <> old_step OR starts <> old_starts OR old_starts IS NULL AND starts IS NOT NULL THEN
            refused := referral.intake_move_appointment(w, status, reason, starts, ends);
        END IF;
        SELECT t.version INTO after FROM referral.appointment t WHERE t.org_id = w.org_id AND t.appointment_id = w.appointment_id;
        w.results := w.results || referral.intake_result('appointment', w.appointment_id, CASE WHEN after > before THEN 'updated' ELSE 'unchanged' END);
    END IF;
    IF refused IS NOT NULL THEN
        w.findings := w.findings || referral.intake_finding('transition_refused', 'warning', 'appointment.status', refused);
    ELSIF w.referral_id IS NOT NULL AND (told IS NOT NULL OR old_step IS NULL) THEN
        w := referral.intake_follow_appointment(w, a, status, starts);
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_appointment(referral.intake_work, jsonb) IS
'Finds or makes an appointment of a case, links it to its referral, and takes both where its status says, as far as the guards let it; its id is in appointment_id of the answer.';

-- ---------- documents and reports ----------

CREATE FUNCTION referral.intake_hash(d jsonb) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN d ->> 'hash' ~ '^([0-9A-Fa-f]{2}){16,64}$' THEN decode(d ->> 'hash', 'hex')
            WHEN d ->> 'content' ~ '^[A-Za-z0-9+/\s]{16,}={0,2}\s*$' AND length(translate(d ->> 'content', E' \r\n\t', '')) % 4 = 0
            THEN sha256(decode(d ->> 'content', 'base64'))
            ELSE sha256(convert_to(d ->> 'content', 'UTF8')) END;
COMMENT ON FUNCTION referral.intake_hash(jsonb) IS
'The hash of a document of a case: the one that is told, else SHA-256 of its content, which is decoded when it is Base64. Null without content.';

CREATE FUNCTION referral.intake_document(w referral.intake_work, d jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.intake_text(d, 'identifier');
    hash bytea := referral.intake_hash(d);
    told text := referral.intake_text(d, 'status');
    changed bigint;
BEGIN
    w.id := NULL;
    IF told NOT IN ('current', 'superseded', 'entered-in-error') THEN
        w.findings := w.findings || referral.intake_finding('invalid_code', 'warning', 'document.status', 'not a status of a document', told);
        told := NULL;
    END IF;
    -- one that came before its referral, or its patient, is that of the referral now
    SELECT t.document_id INTO w.id FROM referral.document t
    WHERE t.org_id = w.org_id AND t.source IS NOT DISTINCT FROM w.source
      AND CASE WHEN number IS NOT NULL THEN t.identifier = number
               -- what has no number, and belongs to nobody, is known by its message
               ELSE t.identifier IS NULL AND t.content_hash = hash
                    AND (num_nonnulls(t.referral_id, t.patient_id) > 0 OR num_nulls(w.referral_id, w.patient_id) = 2
                         OR t.inbox_message_id = w.message_id) END
      AND (t.referral_id = w.referral_id
           OR t.referral_id IS NULL AND (t.patient_id = w.patient_id OR t.patient_id IS NULL)
           OR w.referral_id IS NULL AND t.patient_id = w.patient_id)
    ORDER BY t.referral_id = w.referral_id DESC NULLS LAST, t.patient_id = w.patient_id DESC NULLS LAST, t.document_id DESC LIMIT 1;
    IF w.id IS NULL AND number IS NULL AND hash IS NULL THEN
        SELECT min(t.document_id) INTO w.id FROM referral.document t
        WHERE t.org_id = w.org_id AND t.document_id = ANY (referral.intake_made_before(w, 'document'))
          AND t.identifier IS NULL AND t.content_hash IS NULL
          AND coalesce(t.referral_id = w.referral_id, t.referral_id IS NULL) AND coalesce(t.patient_id = w.patient_id, t.patient_id IS NULL);
    END IF;
    IF w.id IS NULL THEN
        INSERT INTO referral.document (org_id, referral_id, patient_id, type, status, title, source, content_hash, identifier, content_type, url,
            inbox_message_id)
        VALUES (w.org_id, w.referral_id, w.patient_id, coalesce(referral.intake_text(d, 'type'), 'other'), coalesce(told, 'current'),
                referral.intake_text(d, 'title'), w.source, hash, number, referral.intake_text(d, 'content_type'), referral.intake_prose(d, 'url'),
                w.message_id)
        RETURNING document_id INTO w.id;
        w.results := w.results || referral.intake_result('document', w.id, 'created');
        RETURN w;
    END IF;
    IF referral.intake_is_outdated(w, 'document', w.id) THEN
        w.results := w.results || referral.intake_result('document', w.id, 'unchanged');
        RETURN w;
    END IF;
    UPDATE referral.document t
    SET status = coalesce(told, t.status), title = coalesce(referral.intake_text(d, 'title'), t.title), content_hash = coalesce(hash, t.content_hash),
        url = coalesce(referral.intake_prose(d, 'url'), t.url), referral_id = coalesce(t.referral_id, w.referral_id),
        patient_id = coalesce(t.patient_id, w.patient_id),
        -- the message that has the content which counts now
        inbox_message_id = CASE WHEN t.content_hash IS DISTINCT FROM hash AND hash IS NOT NULL THEN coalesce(w.message_id, t.inbox_message_id)
                                ELSE t.inbox_message_id END
    WHERE t.org_id = w.org_id AND t.document_id = w.id
      AND (t.status, t.title, t.content_hash, t.url, t.referral_id, t.patient_id) IS DISTINCT FROM
          (coalesce(told, t.status), coalesce(referral.intake_text(d, 'title'), t.title), coalesce(hash, t.content_hash),
           coalesce(referral.intake_prose(d, 'url'), t.url), coalesce(t.referral_id, w.referral_id), coalesce(t.patient_id, w.patient_id));
    GET DIAGNOSTICS changed = ROW_COUNT;
    w.results := w.results || referral.intake_result('document', w.id, CASE WHEN changed > 0 THEN 'updated' ELSE 'unchanged' END);
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_document(referral.intake_work, jsonb) IS
'Finds or makes a document of a case, by its source''s number, else by the hash of its content; its id is in id of the answer. It is linked to the referral and the patient where they are known.';

CREATE FUNCTION referral.intake_report(w referral.intake_work, r jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.intake_text(r, 'identifier');
    told text := referral.intake_text(r, 'status');
    ended timestamptz := referral.try_timestamp(r ->> 'ended_at');
    author bigint;
    document bigint;
    report bigint;
    now_in referral.state;
    refused text;
    changed bigint;
BEGIN
    IF told IS NULL OR told NOT IN ('preliminary', 'final', 'amended', 'failed', 'entered-in-error') THEN
        w.findings := w.findings || referral.intake_finding(CASE WHEN told IS NULL THEN 'missing' ELSE 'invalid_code' END, 'warning', 'report.status',
            'not a status of a report; it counts as preliminary', told);
        told := 'preliminary';
    END IF;
    -- the second time, too, when it was only kept as a document the first time
    IF r ? 'document' OR w.referral_id IS NULL OR referral.intake_made_before(w, 'document') <> '{}' THEN
        w := referral.intake_document(w, coalesce(r -> 'document', '{}')
            || jsonb_strip_nulls(jsonb_build_object('type', coalesce(r #>> '{document,type}', 'consult_report'),
                                                    'identifier', coalesce(r #>> '{document,identifier}', number))));
        document := w.id;
    END IF;
    IF w.referral_id IS NULL THEN
        w.findings := w.findings || referral.intake_finding('order_not_found', 'error', 'report',
            'the referral that it answers is not here; it was kept as a document', number);
        RETURN w;
    END IF;
    w := referral.intake_practitioner(w, r -> 'author');
    author := w.id;
    SELECT max(t.consult_report_id) INTO report FROM referral.consult_report t
    WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id AND t.source IS NOT DISTINCT FROM w.source
      AND CASE WHEN number IS NOT NULL THEN t.identifier = number
               ELSE t.identifier IS NULL AND t.document_id IS NOT DISTINCT FROM document
                    AND (document IS NOT NULL OR t.ended_at IS NOT DISTINCT FROM ended AND t.status = told) END;
    IF report IS NULL THEN
        INSERT INTO referral.consult_report (org_id, referral_id, document_id, status, author_id, identifier, code_system, code, started_at, ended_at,
            sent_at, acknowledged_at, told_patient_at, source)
        VALUES (w.org_id, w.referral_id, document, told, author, number, referral.intake_text(r, 'code_system'), referral.intake_text(r, 'code'),
            referral.try_timestamp(r ->> 'started_at'), ended, referral.try_timestamp(r ->> 'sent_at'),
            referral.try_timestamp(r ->> 'acknowledged_at'), referral.try_timestamp(r ->> 'told_patient_at'), w.source)
        RETURNING consult_report_id INTO report;
        w.results := w.results || referral.intake_result('consult_report', report, 'created');
    ELSIF referral.intake_is_outdated(w, 'consult_report', report) THEN
        w.results := w.results || referral.intake_result('consult_report', report, 'unchanged');
        w.findings := w.findings || referral.intake_finding('out_of_order', 'info', 'report',
            'a newer message has been applied; the report stays as it is');
        RETURN w;
    ELSE
        UPDATE referral.consult_report t
        SET status = n.status, document_id = n.document_id, author_id = n.author_id, ended_at = n.ended_at, sent_at = n.sent_at,
            acknowledged_at = n.acknowledged_at, told_patient_at = n.told_patient_at
        FROM (SELECT -- what was final does not become an interim note again
                     CASE WHEN told = 'preliminary' THEN o.status ELSE told END AS status,
                     coalesce(document, o.document_id) AS document_id, coalesce(author, o.author_id) AS author_id,
                     coalesce(ended, o.ended_at) AS ended_at, coalesce(referral.try_timestamp(r ->> 'sent_at'), o.sent_at) AS sent_at,
                     coalesce(referral.try_timestamp(r ->> 'acknowledged_at'), o.acknowledged_at) AS acknowledged_at,
                     coalesce(referral.try_timestamp(r ->> 'told_patient_at'), o.told_patient_at) AS told_patient_at
              FROM referral.consult_report o WHERE o.org_id = w.org_id AND o.consult_report_id = report) n
        WHERE t.org_id = w.org_id AND t.consult_report_id = report
          AND (t.status, t.document_id, t.author_id, t.ended_at, t.sent_at, t.acknowledged_at, t.told_patient_at) IS DISTINCT FROM
              (n.status, n.document_id, n.author_id, n.ended_at, n.sent_at, n.acknowledged_at, n.told_patient_at);
        GET DIAGNOSTICS changed = ROW_COUNT;
        w.results := w.results || referral.intake_result('consult_report', report, CASE WHEN changed > 0 THEN 'updated' ELSE 'unchanged' END);
    END IF;

    SELECT t.state INTO now_in FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
    IF told IN ('final', 'amended') AND NOT referral.intake_is_over(now_in) THEN
        refused := referral.intake_move(w, 'closed_loop');
        IF refused IS NULL THEN
            w.results := w.results || referral.intake_result('referral', w.referral_id, 'updated');
        ELSE
            -- somebody has to see that the report is there, and the loop is open
            w.findings := w.findings || referral.intake_finding('transition_refused', 'warning', 'referral.state', refused);
        END IF;
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_report(referral.intake_work, jsonb) IS
'Finds or makes a report about the referral of a case, with its document; a final one closes the loop where the guard lets it. Without the referral it is kept as a document, with a finding.';

-- ---------- prior authorization ----------

CREATE FUNCTION referral.intake_valid(x jsonb) RETURNS daterange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (referral.try_date(x ->> 'valid_from') IS NOT NULL OR referral.try_date(x ->> 'valid_to') IS NOT NULL)
                 AND coalesce(referral.try_date(x ->> 'valid_from') <= referral.try_date(x ->> 'valid_to'), true)
                 AND coalesce(referral.try_date(x ->> 'valid_to') < '9999-12-31', true)
            THEN daterange(referral.try_date(x ->> 'valid_from'), referral.try_date(x ->> 'valid_to') + 1) END;
COMMENT ON FUNCTION referral.intake_valid(jsonb) IS
'The days from valid_from to valid_to, both inclusive, either of which may be missing. Null when both are, or they are in the wrong order.';

CREATE FUNCTION referral.intake_authorization_item(w INOUT referral.intake_work, authorization_id bigint, x jsonb, place integer)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number integer := coalesce(referral.try_integer(x ->> 'sequence'), place);
    action text := referral.intake_text(x, 'review_action');
BEGIN
    IF action NOT IN ('A1', 'A2', 'A3', 'A4', 'A6', 'C', 'CT', 'NA') THEN
        w.findings := w.findings || referral.intake_finding('invalid_code', 'error', 'authorization.review_action', 'not a code of X12 306', action);
        action := NULL;
    END IF;
    UPDATE referral.prior_authorization_item t
    SET code_system = n.code_system, code = n.code, display = n.display, quantity = n.quantity, unit = n.unit, review_action = n.review_action,
        reason_code = n.reason_code, authorization_number = n.authorization_number, authorized_quantity = n.authorized_quantity,
        valid = n.valid, human_reviewed = n.human_reviewed
    FROM (SELECT coalesce(referral.intake_text(x, 'code_system'), o.code_system) AS code_system,
                 coalesce(referral.intake_text(x, 'code'), o.code) AS code, coalesce(referral.intake_text(x, 'display'), o.display) AS display,
                 coalesce(referral.try_numeric(x ->> 'quantity'), o.quantity) AS quantity, coalesce(referral.intake_text(x, 'unit'), o.unit) AS unit,
                 coalesce(action, o.review_action) AS review_action, coalesce(referral.intake_text(x, 'reason_code'), o.reason_code) AS reason_code,
                 coalesce(referral.intake_text(x, 'authorization_number'), o.authorization_number) AS authorization_number,
                 coalesce(referral.try_numeric(x ->> 'authorized_quantity'), o.authorized_quantity) AS authorized_quantity,
                 coalesce(referral.intake_valid(x), o.valid) AS valid, coalesce(referral.try_boolean(x ->> 'human_reviewed'), o.human_reviewed) AS human_reviewed
          FROM referral.prior_authorization_item o
          WHERE o.org_id = w.org_id AND o.prior_authorization_id = authorization_id AND o.sequence = number
            AND o.review_action IS DISTINCT FROM 'A3'
          UNION ALL
          -- of a denial only the reason and who gave it may be told later
          SELECT o.code_system, o.code, o.display, o.quantity, o.unit, o.review_action, coalesce(o.reason_code, referral.intake_text(x, 'reason_code')),
                 o.authorization_number, o.authorized_quantity, o.valid, coalesce(o.human_reviewed, referral.try_boolean(x ->> 'human_reviewed'))
          FROM referral.prior_authorization_item o
          WHERE o.org_id = w.org_id AND o.prior_authorization_id = authorization_id AND o.sequence = number AND o.review_action = 'A3') n
    WHERE t.org_id = w.org_id AND t.prior_authorization_id = authorization_id AND t.sequence = number
      AND (t.code_system, t.code, t.display, t.quantity, t.unit, t.review_action, t.reason_code, t.authorization_number, t.authorized_quantity,
           t.valid, t.human_reviewed) IS DISTINCT FROM
          (n.code_system, n.code, n.display, n.quantity, n.unit, n.review_action, n.reason_code, n.authorization_number, n.authorized_quantity,
           n.valid, n.human_reviewed);
    INSERT INTO referral.prior_authorization_item (org_id, prior_authorization_id, sequence, code_system, code, display, quantity, unit,
        review_action, reason_code, authorization_number, authorized_quantity, valid, human_reviewed)
    SELECT w.org_id, authorization_id, number, referral.intake_text(x, 'code_system'), referral.intake_text(x, 'code'),
           referral.intake_text(x, 'display'), referral.try_numeric(x ->> 'quantity'), referral.intake_text(x, 'unit'), action,
           referral.intake_text(x, 'reason_code'), referral.intake_text(x, 'authorization_number'), referral.try_numeric(x ->> 'authorized_quantity'),
           referral.intake_valid(x), referral.try_boolean(x ->> 'human_reviewed')
    WHERE NOT EXISTS (SELECT FROM referral.prior_authorization_item t
                      WHERE t.org_id = w.org_id AND t.prior_authorization_id = authorization_id AND t.sequence = number);
END $$;
COMMENT ON FUNCTION referral.intake_authorization_item(referral.intake_work, bigint, jsonb, integer) IS
'Writes an item of a prior authorization, by its number in the request (place where it has none): what is told in place of what is there. Of a denied one only what is not known yet of its reason.';

CREATE FUNCTION referral.intake_find_authorization(w INOUT referral.intake_work, list jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    another boolean;
BEGIN
    w.id := NULL;
    FOR i IN 0 .. referral.intake_count(list) - 1 LOOP
        SELECT max(t.prior_authorization_id) FILTER (WHERE x.fits),
               coalesce(NOT bool_or(x.fits) OR w.patient_id IS NULL AND min(p.patient_id) <> max(p.patient_id), false)
        INTO w.id, another
        FROM referral.prior_authorization t
        CROSS JOIN LATERAL (SELECT coalesce(t.patient_id, (SELECT r.patient_id FROM referral.referral r
                                                           WHERE r.org_id = t.org_id AND r.referral_id = t.referral_id)) AS patient_id OFFSET 0) p
        CROSS JOIN LATERAL (SELECT w.patient_id IS NULL OR p.patient_id IS NULL OR p.patient_id = w.patient_id
                                   OR p.patient_id = ANY ((SELECT referral.merged_ids(w.org_id, w.patient_id))::bigint[]) AS fits) x
        WHERE t.org_id = w.org_id AND t.identifier = referral.intake_text(list -> i, 'value')
          AND t.identifier_system = referral.intake_system(list -> i, w.source);
        IF another THEN
            w.id := NULL;
            w.findings := w.findings || referral.intake_finding('ambiguous_referral', 'error', 'authorization.identifiers',
                'the number is that of an authorization of another patient');
        END IF;
        EXIT WHEN w.id IS NOT NULL;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.intake_find_authorization(referral.intake_work, jsonb) IS
'Finds the newest prior authorization of the patient of a case that one of the identifiers names; in id of the answer. Null when there is none, with a finding when it is of another patient.';

CREATE FUNCTION referral.intake_authorization(w referral.intake_work, a jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_answer boolean := referral.intake_text(a #> '{request,0}', 'value') IS NOT NULL;
    ids jsonb := CASE WHEN is_answer THEN a -> 'request' ELSE a -> 'identifiers' END;
    told text := referral.intake_text(a, 'status');
    found_id bigint;
    replaced bigint;
    x record;
    o record;
    changed bigint;
BEGIN
    IF told NOT IN ('draft', 'requested', 'pended', 'decided', 'cancelled', 'error') THEN
        w.findings := w.findings || referral.intake_finding('invalid_code', 'warning', 'authorization.status', 'not a status of an authorization', told);
        told := NULL;
    END IF;
    w := referral.intake_find_authorization(w, a -> 'replaces');
    replaced := w.id;
    w := referral.intake_find_authorization(w, ids);
    found_id := w.id;
    IF found_id IS NULL AND referral.intake_text(ids -> 0, 'value') IS NULL THEN
        SELECT min(t.prior_authorization_id) INTO found_id FROM referral.prior_authorization t
        WHERE t.org_id = w.org_id AND t.prior_authorization_id = ANY (referral.intake_made_before(w, 'prior_authorization'))
          AND t.identifier IS NULL AND t.patient_id IS NOT DISTINCT FROM w.patient_id;
    END IF;
    IF is_answer AND found_id IS NULL THEN
        w.findings := w.findings || referral.intake_finding('order_not_found', 'warning', 'authorization.request', 'the request that it answers is not here');
    END IF;
    IF found_id IS NOT NULL AND referral.intake_is_outdated(w, 'prior_authorization', found_id) THEN
        w.results := w.results || referral.intake_result('prior_authorization', found_id, 'unchanged');
        w.findings := w.findings || referral.intake_finding('out_of_order', 'info', 'authorization',
            'a newer message has been applied; the authorization stays as it is');
        RETURN w;
    END IF;
    -- a denial stays as it was; what the payer says later stands beside it
    IF found_id IS NOT NULL AND EXISTS (
        SELECT FROM referral.prior_authorization_item t
        JOIN jsonb_array_elements(CASE jsonb_typeof(a -> 'items') WHEN 'array' THEN a -> 'items' END) WITH ORDINALITY i (item, place)
          ON coalesce(referral.try_integer(i.item ->> 'sequence'), i.place::integer) = t.sequence
        WHERE t.org_id = w.org_id AND t.prior_authorization_id = found_id AND t.review_action = 'A3'
          AND (i.item ->> 'review_action' <> t.review_action
               OR is_answer AND (referral.intake_text(i.item, 'reason_code') <> t.reason_code OR referral.intake_text(i.item, 'code') <> t.code
                                 OR referral.intake_text(i.item, 'authorization_number') IS DISTINCT FROM t.authorization_number
                                    AND i.item ->> 'authorization_number' <> ''
                                 OR referral.try_numeric(i.item ->> 'authorized_quantity') > 0))) THEN
        replaced := found_id;
        found_id := NULL;
    END IF;
    IF w.referral_id IS NULL THEN
        SELECT t.referral_id INTO w.referral_id FROM referral.prior_authorization t
        WHERE t.org_id = w.org_id AND t.prior_authorization_id = coalesce(found_id, replaced);
    END IF;

    IF found_id IS NULL THEN
        INSERT INTO referral.prior_authorization (org_id, referral_id, patient_id, payer_id, coverage_id, identifier_system, identifier, status,
            expedited, administrative_reference, authorization_number, valid, requested_at, decided_at, replaces_id, disposition, source)
        VALUES (w.org_id, w.referral_id, w.patient_id, w.payer_id, w.coverage_id, CASE WHEN ids #>> '{0,value}' <> '' THEN referral.intake_system(ids -> 0, w.source) END,
            referral.intake_text(ids -> 0, 'value'), coalesce(told, CASE WHEN is_answer THEN 'decided' ELSE 'requested' END),
            coalesce(referral.try_boolean(a ->> 'expedited'), false), referral.intake_text(a, 'administrative_reference'),
            referral.intake_text(a, 'authorization_number'), referral.intake_valid(a), referral.try_timestamp(a ->> 'requested_at'),
            referral.try_timestamp(a ->> 'decided_at'), replaced, referral.intake_prose(a, 'disposition'), w.source)
        RETURNING prior_authorization_id INTO found_id;
        w.results := w.results || referral.intake_result('prior_authorization', found_id, 'created');
    ELSE
        UPDATE referral.prior_authorization t
        SET referral_id = n.referral_id, patient_id = n.patient_id, payer_id = n.payer_id, coverage_id = n.coverage_id, status = n.status,
            expedited = n.expedited, administrative_reference = n.administrative_reference, authorization_number = n.authorization_number,
            valid = n.valid, requested_at = n.requested_at, decided_at = n.decided_at, replaces_id = n.replaces_id, disposition = n.disposition
        FROM (SELECT coalesce(q.referral_id, w.referral_id) AS referral_id, coalesce(q.patient_id, w.patient_id) AS patient_id,
                     coalesce(q.payer_id, w.payer_id) AS payer_id, coalesce(q.coverage_id, w.coverage_id) AS coverage_id,
                     -- the request, sent again, does not undo its answer
                     CASE WHEN told IS NULL OR told IN ('draft', 'requested') AND q.status IN ('pended', 'decided', 'cancelled') THEN q.status ELSE told END AS status,
                     coalesce(referral.try_boolean(a ->> 'expedited'), q.expedited) AS expedited,
                     coalesce(referral.intake_text(a, 'administrative_reference'), q.administrative_reference) AS administrative_reference,
                     coalesce(referral.intake_text(a, 'authorization_number'), q.authorization_number) AS authorization_number,
                     coalesce(referral.intake_valid(a), q.valid) AS valid, coalesce(q.requested_at, referral.try_timestamp(a ->> 'requested_at')) AS requested_at,
                     coalesce(referral.try_timestamp(a ->> 'decided_at'), q.decided_at) AS decided_at, coalesce(q.replaces_id, replaced) AS replaces_id,
                     coalesce(referral.intake_prose(a, 'disposition'), q.disposition) AS disposition
              FROM referral.prior_authorization q WHERE q.org_id = w.org_id AND q.prior_authorization_id = found_id) n
        WHERE t.org_id = w.org_id AND t.prior_authorization_id = found_id
          AND (t.referral_id, t.patient_id, t.payer_id, t.coverage_id, t.status, t.expedited, t.administrative_reference, t.authorization_number,
               t.valid, t.requested_at, t.decided_at, t.replaces_id, t.disposition) IS DISTINCT FROM
              (n.referral_id, n.patient_id, n.payer_id, n.coverage_id, n.status, n.expedited, n.administrative_reference, n.authorization_number,
               n.valid, n.requested_at, n.decided_at, n.replaces_id, n.disposition);
        GET DIAGNOSTICS changed = ROW_COUNT;
        w.results := w.results || referral.intake_result('prior_authorization', found_id, CASE WHEN changed > 0 THEN 'updated' ELSE 'unchanged' END);
    END IF;
    FOR x IN SELECT i.item, i.place FROM jsonb_array_elements(CASE jsonb_typeof(a -> 'items') WHEN 'array' THEN a -> 'items' END)
                 WITH ORDINALITY i (item, place) LOOP
        w := referral.intake_authorization_item(w, found_id, x.item, x.place::integer);
    END LOOP;
    -- a full authorization opens the way for its referral
    IF w.referral_id IS NOT NULL THEN
        SELECT bool_and(t.review_action IN ('A1', 'A6')) AS granted,
               coalesce((SELECT q.authorization_number FROM referral.prior_authorization q
                         WHERE q.org_id = w.org_id AND q.prior_authorization_id = found_id), min(t.authorization_number)) AS number
        INTO o FROM referral.prior_authorization_item t WHERE t.org_id = w.org_id AND t.prior_authorization_id = found_id;
        IF o.granted AND o.number IS NOT NULL THEN
            BEGIN
                UPDATE referral.referral t SET authorization_number = o.number
                WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id AND t.authorization_number IS NULL;
            EXCEPTION WHEN SQLSTATE 'RF009' THEN
                w.findings := w.findings || referral.intake_finding('not_source_of_record', 'warning', 'referral.authorization_number',
                    'another system owns this attribute', o.number);
            END;
        END IF;
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_authorization(referral.intake_work, jsonb) IS
'Finds or makes a prior authorization of a case, request or answer, with its items. A denied item is never overwritten: another answer makes a row that replaces it. A full authorization gives the referral its number when it has none.';

-- ---------- communication ----------

CREATE FUNCTION referral.intake_communication(w referral.intake_work, c jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.intake_text(c, 'identifier');
    told text := referral.intake_text(c, 'status');
    changed bigint;
BEGIN
    told := CASE told WHEN 'active' THEN 'in-progress' WHEN 'draft' THEN 'preparation' WHEN 'revoked' THEN 'stopped' ELSE told END;
    IF told NOT IN ('preparation', 'in-progress', 'not-done', 'on-hold', 'stopped', 'completed', 'entered-in-error', 'unknown') THEN
        w.findings := w.findings || referral.intake_finding('invalid_code', 'warning', 'communication.status', 'not a status of a communication', told);
        told := 'unknown';
    END IF;
    SELECT max(t.communication_id) INTO w.id FROM referral.communication t
    WHERE t.org_id = w.org_id AND t.source = w.source
      AND CASE WHEN number IS NOT NULL THEN t.identifier = number
               ELSE t.identifier IS NULL AND t.subject IS NOT DISTINCT FROM referral.intake_prose(c, 'subject')
                    AND t.body IS NOT DISTINCT FROM referral.intake_prose(c, 'body')
                    AND t.sent_at IS NOT DISTINCT FROM referral.try_timestamp(c ->> 'sent_at') END
      AND CASE WHEN w.referral_id IS NOT NULL THEN t.referral_id = w.referral_id
               WHEN w.patient_id IS NOT NULL THEN t.patient_id = w.patient_id
               ELSE t.referral_id IS NULL AND t.patient_id IS NULL END;
    IF w.id IS NULL THEN
        -- what came in is nobody's draft here
        INSERT INTO referral.communication (org_id, referral_id, patient_id, direction, medium, recipient, status, subject, body, identifier, sent_at, source)
        VALUES (w.org_id, w.referral_id, w.patient_id, 'in',
                CASE WHEN c ->> 'medium' IN ('phone', 'sms', 'email', 'letter', 'fax', 'portal', 'in_person', 'system') THEN c ->> 'medium' END,
                CASE WHEN c ->> 'recipient' IN ('patient', 'requester', 'performer', 'payer') THEN c ->> 'recipient' END,
                coalesce(told, 'completed'), referral.intake_prose(c, 'subject'), referral.intake_prose(c, 'body'), number,
                referral.try_timestamp(c ->> 'sent_at'), w.source)
        RETURNING communication_id INTO w.id;
        w.results := w.results || referral.intake_result('communication', w.id, 'created');
    ELSE
        UPDATE referral.communication t SET status = told
        WHERE t.org_id = w.org_id AND t.communication_id = w.id AND t.status <> told
          AND NOT referral.intake_is_outdated(w, 'communication', w.id);
        GET DIAGNOSTICS changed = ROW_COUNT;
        w.results := w.results || referral.intake_result('communication', w.id, CASE WHEN changed > 0 THEN 'updated' ELSE 'unchanged' END);
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_communication(referral.intake_work, jsonb) IS
'Finds or makes a communication that came in, linked to the referral and the patient where they are known; its id is in id of the answer.';

-- ---------- all of them ----------

CREATE FUNCTION referral.intake_events(w referral.intake_work, intake jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT intake ?| '{appointments,documents,reports,authorizations,communications}' THEN
        RETURN w;
    END IF;
    FOR i IN 0 .. referral.intake_count(intake -> 'appointments') - 1 LOOP
        w := referral.intake_appointment(w, intake -> 'appointments' -> i);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(intake -> 'documents') - 1 LOOP
        w := referral.intake_document(w, intake -> 'documents' -> i);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(intake -> 'reports') - 1 LOOP
        w := referral.intake_report(w, intake -> 'reports' -> i);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(intake -> 'authorizations') - 1 LOOP
        w := referral.intake_authorization(w, intake -> 'authorizations' -> i);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(intake -> 'communications') - 1 LOOP
        w := referral.intake_communication(w, intake -> 'communications' -> i);
    END LOOP;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_events(referral.intake_work, jsonb) IS
'Writes the appointments, documents, reports, authorizations and communications of a case.';
