-- HL7 v2 messages as cases of intake: what all types share, referrals, authorizations, appointments, patients

CREATE TYPE referral.hl7_content AS (message jsonb, patient jsonb, coverages jsonb, request jsonb, encounter jsonb, appointments jsonb,
    reports jsonb, documents jsonb, authorizations jsonb, comment text, findings jsonb, extra jsonb);
COMMENT ON TYPE referral.hl7_content IS
'What a message of HL7 v2 says, in the parts of a case of intake; request is its referral, comment that of the referral or appointment.';

CREATE FUNCTION referral.hl7_head(message jsonb, zone text DEFAULT 'UTC') RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_head';
COMMENT ON FUNCTION referral.hl7_head(jsonb, text) IS
'What a parsed message says about itself: {"message": {"type", "control_id", "sent_at", "sender", "facility", "originator"}, "findings": [...]}.';

CREATE FUNCTION referral.hl7_parts(message jsonb, results boolean, zone text) RETURNS referral.hl7_content
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_parts';
COMMENT ON FUNCTION referral.hl7_parts(jsonb, boolean, text) IS
'What the segments of a parsed message say whatever its type: of the referral PRD, DG1, PR1 and AUT, and in extra observations and notes. results: an OBR is a result that comes with the message, not its order. Times without a zone are in the one given.';

CREATE FUNCTION referral.hl7_case(kind text, parts referral.hl7_content) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_case';
COMMENT ON FUNCTION referral.hl7_case(text, referral.hl7_content) IS
'The case of intake of that kind with what the message says.';

-- referrals and authorizations: REF, RRI, RQA, RPA

CREATE FUNCTION referral.hl7_request(message jsonb, zone text) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_request';
COMMENT ON FUNCTION referral.hl7_request(jsonb, text) IS
'What RF1 and MSA of a parsed message say of a referral: {"referral": ..., "extra": ..., "findings": [...]}. What RF1-1 means depends on the message: see hl7_referral_parts().';

CREATE FUNCTION referral.hl7_referral_parts(message jsonb, type text, event text, zone text) RETURNS referral.hl7_content
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_referral_parts';
COMMENT ON FUNCTION referral.hl7_referral_parts(jsonb, text, text, text) IS
'What a parsed REF or RRI says: a request, its cancellation, a question for its status, or the other side''s answer. A request that says pending or accepted (RF1-1 P, A) asks for no state; in an answer A is accepted, R declined, E expired. The report that an RRI may carry is not among it.';

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

CREATE FUNCTION referral.hl7_cases(message jsonb, type text, event text, zone text) RETURNS SETOF jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    answer text;
BEGIN
    CASE
        WHEN type = 'RRI' AND event IN ('I12', 'I13', 'I14', 'I15') THEN
            RETURN NEXT referral.hl7_case('referral_status',
                referral.hl7_with_report(referral.hl7_referral_parts(message, type, event, zone), message, zone));
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
COMMENT ON FUNCTION referral.hl7_cases(jsonb, text, text, text) IS
'The cases of intake of a parsed message of a type and event, in capitals, but for referrals: of those only an RRI that carries the report. For map_hl7v2().';

CREATE FUNCTION referral.map_hl7v2(message jsonb, source text, zone text DEFAULT 'UTC') RETURNS SETOF jsonb
LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'map_hl7v2';
COMMENT ON FUNCTION referral.map_hl7v2(jsonb, text, text) IS
'The cases of intake that a parsed message (hl7_parse()) of HL7 v2 tells of: REF, RRI, SIU, ORM, OMG, ORU, MDM, RQA, RPA, ADT; one of kind none for other types. source is not used: messages name their sender. Times without a zone are in the one given. What cannot be used is left out and named among the findings. None for null; RF014 when MSH-9 is empty, RF020 for an unknown zone. See docs/intake_hl7.md.';
