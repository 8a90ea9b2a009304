-- HL7 v2 messages as cases of intake: what all types share, referrals, authorizations, appointments, patients

CREATE TYPE referral.hl7_content AS (message jsonb, patient jsonb, coverages jsonb, request jsonb, encounter jsonb, appointments jsonb,
    reports jsonb, documents jsonb, authorizations jsonb, comment text, findings jsonb, extra jsonb);
COMMENT ON TYPE referral.hl7_content IS
'What a message of HL7 v2 says, in the parts of a case of intake; request is its referral, comment that of the referral or appointment.';

CREATE FUNCTION referral.hl7_head(message jsonb, zone text DEFAULT 'UTC') RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.hl7_fill(message, '{"message": {"type": "MSH-9:event", "control_id": "MSH-10", "sent_at": "MSH-7:time",
    "sender": "MSH-3|MSH-4", "facility": "MSH-4", "originator": "MSH-3"}}', zone);
COMMENT ON FUNCTION referral.hl7_head(jsonb, text) IS
'What a parsed message says about itself: {"message": {"type", "control_id", "sent_at", "sender", "facility", "originator"}, "findings": [...]}.';

CREATE FUNCTION referral.hl7_parts(message jsonb, results boolean, zone text) RETURNS referral.hl7_content
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts referral.hl7_content;
    segment jsonb;
    name text;
    -- what a note is about
    owner text;
    part jsonb;
    procedure jsonb;
    coverages jsonb := '[]';
    authorizations jsonb := '[]';
    -- there may be many of these: an array of jsonb grows in place
    diagnoses jsonb[] := '{}';
    procedures jsonb[] := '{}';
    documents jsonb[] := '{}';
    observations jsonb[] := '{}';
    notes jsonb[] := '{}';
    patients integer := 0;
    findings jsonb;
BEGIN
    part := referral.hl7_head(message, zone);
    parts.message := part -> 'message';
    findings := coalesce(part -> 'findings', '[]');
    part := referral.hl7_fill(message, '{
        "encounter": {"kind": "=encounter", "class": "PV1-2:class", "identifier": "PV1-19",
                      "identifier_system": "PV1-19.4|PV1-19.4.2|PV1-19.6", "started_at": "PV1-44:time", "ended_at": "PV1-45:time"}}', zone);
    parts.encounter := part -> 'encounter' || jsonb_build_object('status', CASE WHEN part -> 'encounter' ? 'ended_at' THEN 'finished' ELSE 'in-progress' END);
    findings := findings || coalesce(part -> 'findings', '[]');
    part := referral.hl7_patient(message);
    parts.patient := part -> 'patient';
    parts.request := '{}';
    findings := findings || coalesce(part -> 'findings', '[]');
    FOR segment IN SELECT v FROM jsonb_array_elements(message -> 'segments') AS v LOOP
        name := segment ->> 'segment';
        part := NULL;
        CASE name
            WHEN 'PID' THEN
                patients := patients + 1;
            WHEN 'PRD' THEN
                parts.request := parts.request || referral.hl7_party(segment);
            WHEN 'IN1' THEN
                part := referral.hl7_coverage(segment, jsonb_array_length(coverages) + 1);
                coverages := coverages || coalesce(part -> 'coverage', '[]');
            WHEN 'IN2' THEN
                part := referral.hl7_fill(segment, '{"subscriber_id": "IN2-61", "identifiers": ["IN2-61:ids"]}');
                IF coverages <> '[]' AND part <> '{}' THEN
                    part := part || (coverages -> -1) || jsonb_build_object('identifiers',
                        coalesce(coverages -> -1 -> 'identifiers' || (part -> 'identifiers'), part -> 'identifiers'));
                    coverages := coverages - -1 || part;
                END IF;
            WHEN 'AUT' THEN
                part := referral.hl7_authorization(segment, procedure, zone);
                authorizations := authorizations || (part -> 'authorization');
            WHEN 'DG1' THEN
                part := referral.hl7_fill(segment, '{"display": "DG1-4:raw", "code": "DG1-3:code", "action": "DG1-21"}');
                IF part ->> 'action' IS DISTINCT FROM 'D' AND part - 'action' <> '{}' THEN
                    diagnoses := diagnoses || (part - '{code,action}'::text[] || coalesce(part -> 'code', '{}'));
                END IF;
            WHEN 'PR1' THEN
                part := referral.hl7_fill(segment, '{"display": "PR1-4:raw", "code": "PR1-3:code"}');
                procedure := nullif(part - 'code' || coalesce(part -> 'code', '{}'), '{}');
                IF procedure IS NOT NULL THEN
                    procedures := procedures || procedure;
                END IF;
            WHEN 'OBX' THEN
                IF referral.hl7_text(segment, 'OBX-2') IN ('ED', 'RP') THEN
                    documents := documents || referral.hl7_document(segment);
                ELSE
                    observations := observations || referral.hl7_fill(segment,
                        '{"what": "OBX-3:code", "value": "OBX-5:lines", "unit": "OBX-6.1", "status": "OBX-11", "at": "OBX-14"}');
                END IF;
            WHEN 'NTE' THEN
                part := referral.hl7_fill(segment, '{"text": "NTE-3:lines"}');
                IF owner IN ('OBX', 'AIS', 'AIG', 'AIL', 'AIP', 'PR1', 'DG1') OR owner = 'OBR' AND results THEN
                    notes := notes || (part || jsonb_build_object('segment', owner));
                ELSE
                    parts.comment := concat_ws(E'\n', parts.comment, part ->> 'text');
                END IF;
            ELSE
                NULL;
        END CASE;
        IF part ? 'findings' THEN
            findings := findings || (part -> 'findings');
        END IF;
        IF name NOT IN ('NTE', 'PRT', 'TQ1') THEN
            owner := name;
        END IF;
    END LOOP;
    IF patients > 1 THEN
        findings := findings || referral.hl7_finding('invalid_value', 'error', 'patient', NULL, 'PID', 'several patients in one message');
    END IF;
    -- the first ones stand for the others
    IF diagnoses <> '{}' THEN
        part := diagnoses[1];
        parts.request := jsonb_strip_nulls(jsonb_build_object('diagnoses', diagnoses, 'reason_code', part -> 'code',
            'reason_code_system', part -> 'system', 'reason_text', part -> 'display')) || parts.request;
    END IF;
    IF procedures <> '{}' THEN
        part := procedures[1];
        parts.request := jsonb_strip_nulls(jsonb_build_object('procedures', procedures, 'service_code', part -> 'code',
            'service_code_system', part -> 'system', 'service_text', part -> 'display')) || parts.request;
    END IF;
    IF authorizations <> '[]' THEN
        parts.request := jsonb_strip_nulls(jsonb_build_object('authorization_required', true,
            'authorization_number', authorizations -> 0 -> 'authorization_number')) || parts.request;
    END IF;
    parts.coverages := nullif(coverages, '[]');
    parts.documents := to_jsonb(nullif(documents, '{}'));
    parts.authorizations := nullif(authorizations, '[]');
    parts.findings := findings;
    parts.extra := jsonb_strip_nulls(jsonb_build_object('observations', nullif(observations, '{}'), 'notes', nullif(notes, '{}')));
    RETURN parts;
END $$;
COMMENT ON FUNCTION referral.hl7_parts(jsonb, boolean, text) IS
'What the segments of a parsed message say whatever its type: of the referral PRD, DG1, PR1 and AUT, and in extra observations and notes. results: an OBR is a result that comes with the message, not its order. Times without a zone are in the one given.';

CREATE FUNCTION referral.hl7_case(kind text, parts referral.hl7_content) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    comment text := nullif(concat_ws(E'\n', parts.request ->> 'comment', parts.comment), '');
BEGIN
    IF parts.request <> '{}' THEN
        parts.request := parts.request || jsonb_build_object('comment', comment, 'encounter', parts.encounter);
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('kind', kind, 'message', parts.message, 'patient', parts.patient, 'coverages', parts.coverages,
        'referral', nullif(parts.request, '{}'), 'appointments', parts.appointments, 'reports', parts.reports, 'documents', parts.documents,
        'authorizations', parts.authorizations, 'findings', parts.findings, 'extra', nullif(parts.extra, '{}'),
        'encounters', CASE WHEN parts.encounter IS NOT NULL THEN jsonb_build_array(parts.encounter) END));
END $$;
COMMENT ON FUNCTION referral.hl7_case(text, referral.hl7_content) IS
'The case of intake of that kind with what the message says.';

-- referrals and authorizations: REF, RRI, RQA, RPA

CREATE FUNCTION referral.hl7_request(message jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_fill(message, '{
        "referral": {
            "identifiers": [{"type": "=PLAC", "value": "RF1-6", "system": "RF1-6:authority"},
                            {"type": "=FILL", "value": "RF1-11", "system": "RF1-11:authority"}],
            "placer_order_number": "RF1-6", "placer_order_system": "RF1-6:authority",
            "filler_order_number": "RF1-11", "filler_order_system": "RF1-11:authority",
            "urgency": "RF1-2.1:urgency", "specialty": "RF1-3.2:lower|RF1-3.1:lower", "authored_at": "RF1-9:time|RF1-7:time",
            "expires_on": "RF1-8:date", "reason_text": "RF1-14:raw", "comment": "RF1-24:raw",
            "performing_organization": "RF1-19:organization", "performer": "RF1-20:person", "requester": "PV1-8:person"},
        "extra": {"referral_status": "RF1-1:code", "referral_type": "RF1-3:code", "disposition": "RF1-4:code", "category": "RF1-5:code",
                  "referral_reason": "RF1-10:code", "acknowledgement": "MSA-1", "acknowledges": "MSA-2"}}', zone);
BEGIN
    -- medical care of any kind is no specialty
    IF upper(parts -> 'extra' -> 'referral_type' ->> 'code') = 'MED' THEN
        RETURN parts #- '{referral,specialty}';
    END IF;
    RETURN parts;
END $$;
COMMENT ON FUNCTION referral.hl7_request(jsonb, text) IS
'What RF1 and MSA of a parsed message say of a referral: {"referral": ..., "extra": ..., "findings": [...]}. What RF1-1 means depends on the message: see hl7_referral_case().';

CREATE FUNCTION referral.hl7_referral_case(message jsonb, type text, event text, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts referral.hl7_content := referral.hl7_parts(message, true, zone);
    told jsonb := referral.hl7_request(message, zone);
    extra jsonb := coalesce(told -> 'extra', '{}');
    request jsonb := coalesce(told -> 'referral', '{}') || parts.request;
    findings jsonb := coalesce(told -> 'findings', '[]');
    status text := upper(extra -> 'referral_status' ->> 'code');
    answer text := upper(extra ->> 'acknowledgement');
    kind text := CASE WHEN type = 'RRI' THEN 'referral_status' WHEN event = 'I15' THEN 'status_request'
                      WHEN event = 'I14' OR status = 'C' THEN 'referral_cancel' ELSE 'referral' END;
    -- what RF1 says of the reason goes before a name of the diagnosis
    outcome jsonb := jsonb_strip_nulls(jsonb_build_object('reason_text', told -> 'referral' -> 'reason_text'));
BEGIN
    IF status NOT IN ('P', 'A', 'R', 'E', 'C') THEN
        findings := findings || referral.hl7_finding('invalid_code', 'warning', 'referral.state', status, 'RF1-1', 'no code of table 0283');
    END IF;
    IF NOT request ? 'identifiers' THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'referral.placer_order_number', NULL, 'RF1-6', 'the referral has no number');
    END IF;
    IF answer IN ('AE', 'AR', 'CE', 'CR') THEN
        findings := findings || referral.hl7_finding('message_refused', 'error', 'referral.state', answer, 'MSA-1',
                                                     'the other side could not use our message');
    ELSIF kind = 'referral_cancel' OR status = 'C' OR event = 'I14' AND coalesce(status, 'A') = 'A' THEN
        outcome := outcome || '{"state": "cancelled"}';
    ELSIF status = 'R' AND event <> 'I14' THEN
        outcome := outcome || '{"state": "declined", "decision": "declined"}';
    ELSIF status = 'E' THEN
        outcome := outcome || '{"state": "expired"}';
    ELSIF status = 'A' AND type = 'RRI' THEN
        outcome := outcome || '{"state": "validated", "decision": "accepted"}';
    END IF;
    IF kind = 'referral' AND NOT request ? 'requester' THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'referral.requester', NULL, 'PRD', 'no referring provider');
    END IF;
    parts.extra := extra || parts.extra;
    parts.request := request || outcome;
    parts.findings := parts.findings || findings;
    -- the performer's answer may carry the report
    IF type = 'RRI' AND referral.hl7_count(message, 'OBR') > 0 THEN
        parts := referral.hl7_with_report(parts, message, zone);
    END IF;
    RETURN referral.hl7_case(kind, parts);
END $$;
COMMENT ON FUNCTION referral.hl7_referral_case(jsonb, text, text, text) IS
'The case of a parsed REF or RRI: a request, its cancellation, a question for its status, or the other side''s answer. A request that says pending or accepted (RF1-1 P, A) asks for no state; in an answer A is accepted, R declined, E expired.';

CREATE FUNCTION referral.hl7_authorization_case(message jsonb, type text, event text, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts referral.hl7_content := referral.hl7_parts(message, true, zone);
    rf1 jsonb := referral.hl7_request(message, zone);
    extra jsonb := coalesce(rf1 -> 'extra', '{}');
    request jsonb := coalesce(rf1 -> 'referral', '{}') || parts.request;
    findings jsonb := coalesce(rf1 -> 'findings', '[]');
    status text := upper(extra -> 'referral_status' ->> 'code');
    answer text := upper(extra ->> 'acknowledgement');
    -- one request or answer, whose items are the AUT segments or, without any, the procedures
    told jsonb := coalesce(parts.authorizations -> 0, '{}');
    items jsonb := coalesce(
        (SELECT jsonb_agg((v -> 'items' -> 0) || jsonb_build_object('sequence', n) ORDER BY n)
         FROM jsonb_array_elements(parts.authorizations) WITH ORDINALITY AS a (v, n)),
        (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('sequence', n, 'code', v -> 'code', 'code_system', v -> 'system',
                                                               'display', v -> 'display')) ORDER BY n)
         FROM jsonb_array_elements(request -> 'procedures') WITH ORDINALITY AS a (v, n)), '[]');
BEGIN
    IF type = 'RQA' THEN
        told := told || jsonb_strip_nulls(jsonb_build_object('identifiers', request -> 'identifiers',
            'status', CASE WHEN event = 'I11' THEN 'cancelled' ELSE 'requested' END, 'requested_at', request -> 'authored_at'));
    ELSE
        items := coalesce((SELECT jsonb_agg(CASE WHEN v ? 'review_action' AND coalesce(status, 'A') = 'A' THEN v
                ELSE v || jsonb_strip_nulls(jsonb_build_object('review_action', CASE status WHEN 'A' THEN 'A1' WHEN 'R' THEN 'A3' WHEN 'P' THEN 'A4' END)) END)
            FROM jsonb_array_elements(items) AS v), '[]');
        told := told || jsonb_strip_nulls(jsonb_build_object('request', request -> 'identifiers',
            'status', CASE WHEN event = 'I11' THEN 'cancelled' WHEN answer IN ('AE', 'AR', 'CE', 'CR') THEN 'error'
                           WHEN status = 'P' THEN 'pended' WHEN status IN ('A', 'R') THEN 'decided' END));
        IF answer IN ('AE', 'AR', 'CE', 'CR') THEN
            findings := findings || referral.hl7_finding('message_refused', 'error', 'authorization.status', answer, 'MSA-1',
                                                         'the other side could not use our message');
        END IF;
    END IF;
    parts.authorizations := jsonb_build_array(told || jsonb_build_object('items', items));
    parts.extra := extra || parts.extra;
    parts.request := request;
    parts.findings := parts.findings || findings;
    RETURN referral.hl7_case('authorization', parts);
END $$;
COMMENT ON FUNCTION referral.hl7_authorization_case(jsonb, text, text, text) IS
'The case of a parsed RQA (a request for authorization, I11 takes it back) or RPA (its answer; RF1-1 A approved, R not, P pended), known by the numbers of RF1.';

-- appointments: SIU

CREATE FUNCTION referral.hl7_resources(message jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    segment jsonb;
    resources jsonb := '[]';
    what jsonb;
BEGIN
    FOR segment IN SELECT v FROM jsonb_array_elements(message -> 'segments') AS v LOOP
        what := CASE segment ->> 'segment'
            WHEN 'AIS' THEN referral.hl7_fill(segment, '{"service": "AIS-3:code"}')
            WHEN 'AIG' THEN referral.hl7_fill(segment, '{"equipment": "AIG-3:code"}')
            WHEN 'AIL' THEN referral.hl7_fill(segment, '{"place": "AIL-3:place"}')
            WHEN 'AIP' THEN referral.hl7_fill(segment, '{"person": "AIP-3:person", "role": "AIP-4:code"}') END;
        IF what <> '{}' THEN
            resources := resources || what;
        END IF;
    END LOOP;
    RETURN resources;
END $$;
COMMENT ON FUNCTION referral.hl7_resources(jsonb) IS
'The services, equipment, places and people (AIS, AIG, AIL, AIP) of a parsed scheduling message, each an object of its own in an array.';

CREATE FUNCTION referral.hl7_duration(message jsonb) RETURNS interval
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told jsonb := referral.hl7_fill(message, '{"service": {"amount": "AIS-7:integer", "unit": "AIS-8.1"}, "whole": {"amount": "SCH-9:integer", "unit": "SCH-10.1"}}');
    part jsonb := CASE WHEN told -> 'service' ? 'amount' THEN told -> 'service' ELSE told -> 'whole' END;
    amount numeric := (part ->> 'amount')::numeric;
BEGIN
    -- longer than any appointment, and an end beyond the calendar
    IF amount > 999999 THEN
        RETURN NULL;
    END IF;
    RETURN CASE WHEN upper(part ->> 'unit') IN ('S', 'SEC') THEN make_interval(secs => amount::integer)
                WHEN upper(part ->> 'unit') IN ('H', 'HR', 'HOUR') THEN make_interval(hours => amount::integer)
                WHEN upper(part ->> 'unit') IN ('M', 'MIN', 'MINUTES') THEN make_interval(mins => amount::integer) END;
END $$;
COMMENT ON FUNCTION referral.hl7_duration(jsonb) IS
'How long a parsed scheduling message says that the appointment takes: its first service (AIS-7, AIS-8), else the whole (SCH-9, SCH-10); null when neither tells.';

CREATE FUNCTION referral.hl7_appointment_case(message jsonb, event text, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts referral.hl7_content := referral.hl7_parts(message, true, zone);
    told jsonb := referral.hl7_fill(message, '{
        "appointment": {
            "identifiers": [{"type": "=PLAC", "value": "SCH-1", "system": "SCH-1:authority"},
                            {"type": "=FILL", "value": "SCH-2", "system": "SCH-2:authority"}],
            "placer_appointment_id": "SCH-1", "filler_appointment_id": "SCH-2", "service_text": "SCH-7.2|SCH-7.1",
            "starts_at": "TQ1-7:time|AIS-4:time|AIG-8:time|AIL-6:time|AIP-6:time|SCH-11.4:time", "ends_at": "TQ1-8:time",
            "location": "AIL-3:place", "practitioner": "AIP-3:person|SCH-16:person"},
        "referral": {"placer_order_number": "SCH-26", "placer_order_system": "SCH-26:authority",
                     "filler_order_number": "SCH-27", "filler_order_system": "SCH-27:authority"},
        "service": "AIS-3:code", "specialty": "AIP-4.2|AIP-4.1", "told_end": "SCH-11.5:time",
        "extra": {"event_reason": "SCH-6.1", "appointment_reason": "SCH-7:code", "appointment_type": "SCH-8:code", "status": "SCH-25.1"}}', zone);
    appointment jsonb := coalesce(told -> 'appointment', '{}');
    extra jsonb := coalesce(told -> 'extra', '{}');
    findings jsonb := coalesce(told -> 'findings', '[]');
    request jsonb := coalesce(told -> 'referral', '{}');
    status text := referral.hl7_appointment_status(extra ->> 'status');
    reason text := extra ->> 'event_reason';
    starts timestamptz := appointment ->> 'starts_at';
    ends timestamptz := coalesce((appointment ->> 'ends_at')::timestamptz, starts + referral.hl7_duration(message));
BEGIN
    IF ends IS NULL AND (told ->> 'told_end')::timestamptz > starts THEN
        ends := told ->> 'told_end';
    ELSIF ends < starts THEN
        findings := findings || referral.hl7_finding('invalid_time', 'warning', 'appointment.ends_at', appointment ->> 'ends_at', 'TQ1-8',
                                                     'ends before it starts');
        ends := NULL;
    END IF;
    IF appointment -> 'identifiers' IS NULL THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'appointment.filler_appointment_id', NULL, 'SCH-2', 'the appointment has no number');
    END IF;
    IF status IS NULL AND extra ? 'status' THEN
        findings := findings || referral.hl7_finding('invalid_code', 'warning', 'appointment.status', extra ->> 'status', 'SCH-25', 'no code of table 0278');
    END IF;
    appointment := (appointment - 'ends_at') || request || jsonb_strip_nulls(jsonb_build_object('event', event, 'ends_at',
        to_char(ends AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'),
        'status', CASE WHEN event IN ('S15', 'S16') THEN 'cancelled' WHEN event = 'S17' THEN 'entered-in-error'
                       WHEN event = 'S26' THEN 'noshow' ELSE coalesce(status, 'booked') END,
        'service_code', told -> 'service' -> 'code', 'service_code_system', told -> 'service' -> 'system',
        'service_text', told -> 'service' -> 'display', 'comment', nullif(parts.comment, ''),
        'practitioner', appointment -> 'practitioner' || jsonb_strip_nulls(jsonb_build_object('specialty', told -> 'specialty')),
        'status_reason', CASE WHEN event IN ('S13', 'S15', 'S16', 'S17', 'S26') AND lower(reason) NOT IN ('add', 'a') THEN reason END));
    parts.extra := extra || parts.extra || jsonb_strip_nulls(jsonb_build_object('resources', nullif(referral.hl7_resources(message), '[]'),
        'diagnoses', parts.request -> 'diagnoses'));
    parts.appointments := jsonb_build_array(appointment);
    -- the comment is the appointment's; of the referral only its numbers are told
    parts.comment := NULL;
    parts.request := request;
    parts.findings := parts.findings || findings;
    RETURN referral.hl7_case('appointment', parts);
END $$;
COMMENT ON FUNCTION referral.hl7_appointment_case(jsonb, text, text) IS
'The case of a parsed SIU about one appointment. Cancelled, deleted and no-show are told by the event, other states by SCH-25; the service, place and person are those of the first AIS, AIL and AIP, all of them are in extra.';

-- patients: ADT; what asks for nothing

CREATE FUNCTION referral.hl7_patient_case(message jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts referral.hl7_content := referral.hl7_parts(message, true, zone);
    merged jsonb := referral.hl7_fill(message, '{"merged": ["MRG-1:ids"]}');
BEGIN
    IF merged ? 'merged' THEN
        parts.findings := parts.findings || referral.hl7_finding('possible_duplicate', 'error', 'patient.identifiers', merged -> 'merged' -> 0 ->> 'value', 'MRG-1',
                                         'the sender has merged another record into this patient');
    END IF;
    parts.extra := merged || parts.extra;
    RETURN referral.hl7_case('patient', parts);
END $$;
COMMENT ON FUNCTION referral.hl7_patient_case(jsonb, text) IS
'The case of a parsed ADT: the patient, coverages and encounter. A merge (MRG) becomes the finding possible_duplicate, for a person to decide.';

CREATE FUNCTION referral.hl7_nothing(message jsonb, reason text, findings jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.hl7_head(message) || jsonb_build_object('kind', 'none', 'reason', reason, 'findings', findings);
COMMENT ON FUNCTION referral.hl7_nothing(jsonb, text, jsonb) IS
'The case of a parsed message that asks for nothing, and why.';

-- the mapper

CREATE FUNCTION referral.map_hl7v2(message jsonb, source text, zone text DEFAULT 'UTC') RETURNS SETOF jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    type text := upper(referral.hl7_text(message, 'MSH-9.1'));
    event text := upper(referral.hl7_text(message, 'MSH-9.2'));
    answer text;
BEGIN
    IF message IS NULL THEN
        RETURN;
    END IF;
    zone := coalesce(zone, 'UTC');
    IF type IS NULL THEN
        RAISE EXCEPTION 'message has no type' USING ERRCODE = 'RF014', DETAIL = 'MSH-9 is empty.',
            HINT = 'Have the sender fill in MSH-9, or write a mapping that says what the message is.';
    END IF;
    CASE
        WHEN type IN ('REF', 'RRI') AND event IN ('I12', 'I13', 'I14', 'I15') THEN
            RETURN NEXT referral.hl7_referral_case(message, type, event, zone);
        WHEN type = 'SIU' AND event IN ('S12', 'S13', 'S14', 'S15', 'S16', 'S17', 'S18', 'S19', 'S20', 'S21', 'S22', 'S26', 'S27') THEN
            RETURN NEXT referral.hl7_appointment_case(message, event, zone);
        WHEN type = 'SIU' AND event IN ('S23', 'S24') THEN
            RETURN NEXT referral.hl7_nothing(message, 'a schedule was blocked or opened', '[]');
        WHEN type IN ('ORM', 'OMG', 'ORU') THEN
            RETURN QUERY SELECT c FROM referral.hl7_order_cases(message, type, zone) AS c;
            IF NOT FOUND THEN
                RETURN NEXT referral.hl7_nothing(message, 'no order in the message',
                    referral.hl7_finding('missing', 'error', 'referral', NULL, 'ORC', 'the message has neither ORC nor OBR'));
            END IF;
        WHEN type = 'MDM' THEN
            RETURN NEXT referral.hl7_note_case(message, event, zone);
        WHEN type IN ('RQA', 'RPA') AND event IN ('I08', 'I09', 'I10', 'I11') THEN
            RETURN NEXT referral.hl7_authorization_case(message, type, event, zone);
        WHEN type = 'ADT' THEN
            RETURN NEXT referral.hl7_patient_case(message, zone);
        WHEN type = 'ACK' THEN
            answer := upper(referral.hl7_text(message, 'MSA-1'));
            RETURN NEXT referral.hl7_nothing(message, 'an acknowledgement', CASE WHEN answer IN ('AE', 'AR', 'CE', 'CR')
                THEN referral.hl7_finding('message_refused', 'error', 'message', answer, 'MSA-1', 'the other side could not use our message') ELSE '[]' END);
        ELSE
            RETURN NEXT referral.hl7_nothing(message, 'no mapping for this type of message',
                referral.hl7_finding('unmapped_type', 'warning', 'message.type', concat_ws('^', type, event), 'MSH-9', 'no mapping for this type'));
    END CASE;
END $$;
COMMENT ON FUNCTION referral.map_hl7v2(jsonb, text, text) IS
'The cases of intake that a parsed message (hl7_parse()) of HL7 v2 tells of: REF, RRI, SIU, ORM, OMG, ORU, MDM, RQA, RPA, ADT; one of kind none for other types. source is not used: messages name their sender. Times without a zone are in the one given. What cannot be used is left out and named among the findings. None for null; RF014 when MSH-9 is empty, RF020 for an unknown zone. See docs/intake_hl7.md.';
