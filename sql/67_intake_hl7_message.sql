-- HL7 v2 messages as cases of intake. map_hl7v2() takes a message apart by its type; hl7_parts() reads what all types share.

CREATE FUNCTION referral.hl7_first(segments jsonb[], name text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    segment jsonb;
BEGIN
    FOREACH segment IN ARRAY segments LOOP
        IF segment ->> 'segment' = name THEN
            RETURN segment;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.hl7_first(jsonb[], text) IS 'The first of the parsed segments that has the name; null when there is none.';

CREATE FUNCTION referral.hl7_note(nte jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    note text;
BEGIN
    FOR i IN 1 .. referral.hl7_repetitions(nte, '3') LOOP
        note := concat_ws(E'\n', note, referral.hl7_text(nte, format('NTE-3(%s)', i)));
    END LOOP;
    RETURN note;
END $$;
COMMENT ON FUNCTION referral.hl7_note(jsonb) IS 'The lines of a parsed NTE; null when there is none.';

CREATE FUNCTION referral.hl7_parts(segments jsonb[], results boolean, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    segment jsonb;
    name text;
    -- what a note is about
    owner text;
    part jsonb;
    patient jsonb;
    request jsonb := '{}';
    encounter jsonb;
    procedure jsonb;
    coverages jsonb := '[]';
    authorizations jsonb := '[]';
    diagnoses jsonb := '[]';
    procedures jsonb := '[]';
    documents jsonb := '[]';
    observations jsonb := '[]';
    notes jsonb := '[]';
    findings jsonb := '[]';
    extra jsonb := '{}';
    comment text;
BEGIN
    FOR i IN 1 .. cardinality(segments) LOOP
        segment := segments[i];
        name := segment ->> 'segment';
        part := NULL;
        CASE name
            WHEN 'PID' THEN
                IF patient IS NULL THEN
                    part := referral.hl7_patient(segment);
                    patient := part -> 'patient';
                ELSE
                    findings := findings || referral.hl7_finding('invalid_value', 'error', 'patient', NULL, 'PID(2)',
                                                                 'a second patient in one message');
                END IF;
            WHEN 'IN1' THEN
                part := referral.hl7_coverage(segment, CASE WHEN segments[i + 1] ->> 'segment' = 'IN2' THEN segments[i + 1] END,
                                              jsonb_array_length(coverages) + 1);
                coverages := coverages || (part -> 'coverage');
            WHEN 'RF1' THEN
                part := referral.hl7_request(segment, zone);
                request := request || (part -> 'referral');
                extra := extra || (part -> 'extra');
            WHEN 'PRD' THEN
                request := request || referral.hl7_party(segment);
            WHEN 'AUT' THEN
                part := referral.hl7_authorization(segment, procedure, zone);
                authorizations := authorizations || (part -> 'authorization');
            WHEN 'DG1' THEN
                part := coalesce(referral.hl7_code(segment, 'DG1-3'), '{}')
                    || coalesce(jsonb_build_object('display', coalesce(referral.hl7_text(segment, 'DG1-3.2'),
                                                                       referral.hl7_text(segment, 'DG1-4'))), '{}');
                IF referral.hl7_text(segment, 'DG1-21') IS DISTINCT FROM 'D' AND referral.hl7_filled(part) IS NOT NULL THEN
                    diagnoses := diagnoses || jsonb_strip_nulls(part);
                END IF;
            WHEN 'PR1' THEN
                procedure := coalesce(referral.hl7_code(segment, 'PR1-3'),
                    referral.hl7_filled(jsonb_build_object('display', referral.hl7_text(segment, 'PR1-4'))));
                IF procedure IS NOT NULL THEN
                    procedures := procedures || procedure;
                END IF;
            WHEN 'PV1' THEN
                encounter := coalesce(encounter, referral.hl7_visit(segment, zone));
                request := jsonb_strip_nulls(jsonb_build_object('requester', referral.hl7_person(segment, 'PV1-8'))) || request;
            WHEN 'OBX' THEN
                IF referral.hl7_text(segment, 'OBX-2') IN ('ED', 'RP') THEN
                    documents := documents || referral.hl7_document(segment);
                ELSE
                    observations := observations || referral.hl7_observation(segment);
                END IF;
            WHEN 'NTE' THEN
                IF owner IN ('OBX', 'AIS', 'AIG', 'AIL', 'AIP', 'PR1', 'DG1') OR owner = 'OBR' AND results THEN
                    notes := notes || jsonb_strip_nulls(jsonb_build_object('segment', owner, 'text', referral.hl7_note(segment)));
                ELSE
                    comment := concat_ws(E'\n', comment, referral.hl7_note(segment));
                END IF;
            ELSE
                NULL;
        END CASE;
        findings := findings || coalesce(part -> 'findings', '[]');
        IF name NOT IN ('NTE', 'PRT', 'TQ1') THEN
            owner := name;
        END IF;
    END LOOP;
    IF diagnoses <> '[]' THEN
        request := jsonb_strip_nulls(jsonb_build_object('diagnoses', diagnoses, 'reason_code', diagnoses -> 0 -> 'code',
            'reason_code_system', diagnoses -> 0 -> 'system', 'reason_text', diagnoses -> 0 -> 'display')) || request;
    END IF;
    IF procedures <> '[]' THEN
        request := jsonb_strip_nulls(jsonb_build_object('procedures', procedures, 'service_code', procedures -> 0 -> 'code',
            'service_code_system', procedures -> 0 -> 'system', 'service_text', procedures -> 0 -> 'display')) || request;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('patient', patient, 'coverages', nullif(coverages, '[]'), 'referral', request,
        'encounter', encounter, 'authorizations', nullif(authorizations, '[]'), 'documents', nullif(documents, '[]'),
        'comment', nullif(comment, ''), 'findings', findings,
        'extra', extra || jsonb_strip_nulls(jsonb_build_object('observations', nullif(observations, '[]'),
                                                               'notes', nullif(notes, '[]')))));
END $$;
COMMENT ON FUNCTION referral.hl7_parts(jsonb[], boolean, text) IS
'What parsed segments say whatever their message: patient, coverages, referral (RF1, PRD, DG1, PR1), encounter, authorizations, documents, comment, findings, and in extra observations and notes. results: an OBR is a result that comes with the message, not its order. Times without a zone are in the one given.';

-- referrals and authorizations: REF, RRI, RQA, RPA

CREATE FUNCTION referral.hl7_request(rf1 jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    urgency text := referral.hl7_text(rf1, 'RF1-2.1');
    subject text := coalesce(referral.hl7_text(rf1, 'RF1-3.1'), referral.hl7_text(rf1, 'RF1-3.2'));
    placer text := referral.hl7_text(rf1, 'RF1-6.1.1');
    placer_system text := referral.hl7_identifier_system(referral.hl7_text(rf1, 'RF1-6.2'), referral.hl7_text(rf1, 'RF1-6.3'),
                                                         referral.hl7_text(rf1, 'RF1-6.4'), NULL);
    filler text := referral.hl7_text(rf1, 'RF1-11.1.1');
    filler_system text := referral.hl7_identifier_system(referral.hl7_text(rf1, 'RF1-11.2'), referral.hl7_text(rf1, 'RF1-11.3'),
                                                         referral.hl7_text(rf1, 'RF1-11.4'), NULL);
    ids jsonb := '[]';
    findings jsonb := referral.hl7_bad_date(rf1, 'RF1-7.1', 'referral.authored_at')
        || referral.hl7_bad_date(rf1, 'RF1-8.1', 'referral.expires_on')
        || referral.hl7_bad_date(rf1, 'RF1-9.1', 'referral.authored_at');
BEGIN
    IF placer IS NOT NULL THEN
        ids := ids || jsonb_build_object('system', placer_system, 'value', placer, 'type', 'PLAC');
    END IF;
    IF filler IS NOT NULL THEN
        ids := ids || jsonb_build_object('system', filler_system, 'value', filler, 'type', 'FILL');
    END IF;
    IF urgency IS NOT NULL AND referral.hl7_urgency(urgency) IS NULL THEN
        findings := findings || referral.hl7_finding('invalid_code', 'warning', 'referral.urgency', urgency, 'RF1-2', 'no code of table 0280');
    END IF;
    RETURN jsonb_build_object('findings', findings,
        'referral', jsonb_strip_nulls(jsonb_build_object(
            'identifiers', nullif(ids, '[]'),
            'placer_order_number', placer, 'placer_order_system', CASE WHEN placer IS NOT NULL THEN placer_system END,
            'filler_order_number', filler, 'filler_order_system', CASE WHEN filler IS NOT NULL THEN filler_system END,
            'urgency', referral.hl7_urgency(urgency),
            -- medical care of any kind is no specialty
            'specialty', CASE WHEN upper(subject) <> 'MED' THEN subject END,
            'authored_at', coalesce(referral.hl7_time(rf1, 'RF1-9.1', zone), referral.hl7_time(rf1, 'RF1-7.1', zone)),
            'expires_on', referral.hl7_day(rf1, 'RF1-8.1'), 'reason_text', referral.hl7_text(rf1, 'RF1-14'),
            'performing_organization', referral.hl7_organization(rf1, 'RF1-19'),
            'performer', referral.hl7_person(rf1, 'RF1-20'), 'comment', referral.hl7_text(rf1, 'RF1-24'))),
        'extra', jsonb_strip_nulls(jsonb_build_object('referral_status', referral.hl7_code(rf1, 'RF1-1'),
            'referral_type', referral.hl7_code(rf1, 'RF1-3'), 'disposition', referral.hl7_code(rf1, 'RF1-4'),
            'category', referral.hl7_code(rf1, 'RF1-5'), 'referral_reason', referral.hl7_code(rf1, 'RF1-10'))));
END $$;
COMMENT ON FUNCTION referral.hl7_request(jsonb, text) IS
'What a parsed RF1 says of a referral: {"referral": ..., "extra": ..., "findings": [...]}. What RF1-1 means depends on the message: see hl7_referral_case().';

CREATE FUNCTION referral.hl7_party(prd jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    provider jsonb := referral.hl7_provider(prd);
BEGIN
    FOR i IN 1 .. referral.hl7_repetitions(prd, '1') LOOP
        CASE upper(referral.hl7_text(prd, format('PRD-1(%s).1', i)))
            WHEN 'RP' THEN
                RETURN jsonb_strip_nulls(jsonb_build_object('requester', provider -> 'person',
                                                            'requesting_organization', provider -> 'organization'));
            WHEN 'RT' THEN
                RETURN jsonb_strip_nulls(jsonb_build_object('performer', provider -> 'person',
                                                            'performing_organization', provider -> 'organization'));
            ELSE
                NULL;
        END CASE;
    END LOOP;
    RETURN '{}';
END $$;
COMMENT ON FUNCTION referral.hl7_party(jsonb) IS
'What a parsed PRD says of a referral: requester and requesting_organization for role RP, performer and performing_organization for RT; an empty object for other roles.';

CREATE FUNCTION referral.hl7_referral_case(segments jsonb[], type text, event text, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_parts(segments, true, zone);
    request jsonb := parts -> 'referral';
    findings jsonb := '[]';
    rf1 jsonb := referral.hl7_first(segments, 'RF1');
    status text := upper(referral.hl7_text(rf1, 'RF1-1.1'));
    answer text := upper(referral.hl7_text(referral.hl7_first(segments, 'MSA'), 'MSA-1'));
    kind text;
    outcome jsonb := '{}';
BEGIN
    IF rf1 IS NULL THEN
        findings := findings || referral.hl7_finding('missing', 'info', 'referral', NULL, 'RF1', 'the segment RF1 is missing');
    ELSIF status NOT IN ('P', 'A', 'R', 'E', 'C') THEN
        findings := findings || referral.hl7_finding('invalid_code', 'warning', 'referral.state', status, 'RF1-1', 'no code of table 0283');
    END IF;
    kind := CASE WHEN type = 'RRI' THEN 'referral_status' WHEN event = 'I15' THEN 'status_request'
                 WHEN event = 'I14' OR status = 'C' THEN 'referral_cancel' ELSE 'referral' END;
    IF answer IN ('AE', 'AR', 'CE', 'CR') THEN
        findings := findings || referral.hl7_finding('message_refused', 'error', 'referral.state', answer, 'MSA-1',
                                                     'the other side could not use our message');
    ELSIF kind = 'referral_cancel' OR status = 'C' OR event = 'I14' AND coalesce(status, 'A') = 'A' THEN
        outcome := jsonb_build_object('state', 'cancelled');
    ELSIF status = 'R' AND event <> 'I14' THEN
        outcome := jsonb_build_object('state', 'declined', 'decision', 'declined');
    ELSIF status = 'E' THEN
        outcome := jsonb_build_object('state', 'expired');
    ELSIF status = 'A' AND type = 'RRI' THEN
        outcome := jsonb_build_object('state', 'validated', 'decision', 'accepted');
    END IF;
    IF kind = 'referral' AND NOT request ? 'requester' THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'referral.requester', NULL, 'PRD', 'no referring provider');
    END IF;
    IF answer IS NOT NULL THEN
        parts := jsonb_set(parts, '{extra}', (parts -> 'extra') || jsonb_strip_nulls(jsonb_build_object('acknowledgement', answer,
            'acknowledges', referral.hl7_text(referral.hl7_first(segments, 'MSA'), 'MSA-2'))));
    END IF;
    outcome := referral.hl7_case(kind, parts, request || outcome, findings);
    -- the performer's answer may carry the report
    IF type = 'RRI' AND referral.hl7_first(segments, 'OBR') IS NOT NULL THEN
        outcome := referral.hl7_with_report(outcome, segments, zone);
    END IF;
    RETURN outcome;
END $$;
COMMENT ON FUNCTION referral.hl7_referral_case(jsonb[], text, text, text) IS
'The case of a parsed REF or RRI: a request, its cancellation, a question for its status, or the other side''s answer. A request that says pending or accepted (RF1-1 P, A) asks for no state; in an answer A is accepted, R declined, E expired.';

CREATE FUNCTION referral.hl7_case(kind text, parts jsonb, request jsonb, findings jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    comment text := nullif(concat_ws(E'\n', request ->> 'comment', parts ->> 'comment'), '');
    authorizations jsonb := parts -> 'authorizations';
BEGIN
    IF parts -> 'patient' IS NULL THEN
        findings := findings || referral.hl7_finding('patient_missing', CASE WHEN kind IN ('referral', 'appointment') THEN 'error' ELSE 'info' END,
                                                     'patient', NULL, 'PID', 'the segment PID is missing');
    END IF;
    IF authorizations IS NOT NULL THEN
        request := jsonb_strip_nulls(jsonb_build_object('authorization_required', true,
            'authorization_number', authorizations -> 0 -> 'authorization_number')) || request;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('kind', kind, 'patient', parts -> 'patient', 'coverages', parts -> 'coverages',
        'referral', nullif(request || jsonb_strip_nulls(jsonb_build_object('comment', comment,
            'encounter', CASE WHEN request <> '{}' THEN parts -> 'encounter' END)), '{}'),
        'encounters', CASE WHEN parts -> 'encounter' IS NOT NULL THEN jsonb_build_array(parts -> 'encounter') END,
        'authorizations', authorizations, 'documents', parts -> 'documents',
        'findings', (parts -> 'findings') || findings, 'extra', nullif(parts -> 'extra', '{}')));
END $$;
COMMENT ON FUNCTION referral.hl7_case(text, jsonb, jsonb, jsonb) IS
'A case of the kind from what hl7_parts() read, the referral as the caller completed it, and further findings.';

CREATE FUNCTION referral.hl7_authorization_case(segments jsonb[], type text, event text, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_parts(segments, true, zone);
    request jsonb := parts -> 'referral';
    status text := upper(referral.hl7_text(referral.hl7_first(segments, 'RF1'), 'RF1-1.1'));
    answer text := upper(referral.hl7_text(referral.hl7_first(segments, 'MSA'), 'MSA-1'));
    findings jsonb := '[]';
    told jsonb;
    item jsonb;
    items jsonb := '[]';
BEGIN
    -- one request or answer, whose items are the AUT segments or, without any, the procedures
    told := coalesce(parts -> 'authorizations' -> 0, '{}');
    FOR item IN SELECT v -> 'items' -> 0 FROM jsonb_array_elements(parts -> 'authorizations') AS v LOOP
        items := items || (item || jsonb_build_object('sequence', jsonb_array_length(items) + 1));
    END LOOP;
    IF items = '[]' THEN
        FOR item IN SELECT v FROM jsonb_array_elements(request -> 'procedures') AS v LOOP
            items := items || jsonb_strip_nulls(jsonb_build_object('sequence', jsonb_array_length(items) + 1, 'code', item -> 'code',
                'code_system', item -> 'system', 'display', item -> 'display'));
        END LOOP;
    END IF;
    IF type = 'RQA' THEN
        told := told || jsonb_strip_nulls(jsonb_build_object('identifiers', request -> 'identifiers',
            'status', CASE WHEN event = 'I11' THEN 'cancelled' ELSE 'requested' END, 'requested_at', request -> 'authored_at'));
    ELSE
        items := (SELECT jsonb_agg(CASE WHEN v ? 'review_action' AND coalesce(status, 'A') = 'A' THEN v
                ELSE v || jsonb_strip_nulls(jsonb_build_object('review_action', CASE status WHEN 'A' THEN 'A1' WHEN 'R' THEN 'A3' WHEN 'P' THEN 'A4' END)) END)
            FROM jsonb_array_elements(items) AS v);
        told := told || jsonb_strip_nulls(jsonb_build_object('request', request -> 'identifiers',
            'status', CASE WHEN event = 'I11' THEN 'cancelled' WHEN answer IN ('AE', 'AR', 'CE', 'CR') THEN 'error'
                           WHEN status = 'P' THEN 'pended' WHEN status IN ('A', 'R') THEN 'decided' END));
        IF answer IN ('AE', 'AR', 'CE', 'CR') THEN
            findings := referral.hl7_finding('message_refused', 'error', 'authorization.status', answer, 'MSA-1',
                                             'the other side could not use our message');
        END IF;
    END IF;
    RETURN referral.hl7_case('authorization', parts - 'authorizations', request, findings)
        || jsonb_build_object('authorizations', jsonb_build_array(told || jsonb_build_object('items', coalesce(items, '[]'))));
END $$;
COMMENT ON FUNCTION referral.hl7_authorization_case(jsonb[], text, text, text) IS
'The case of a parsed RQA (a request for authorization, I11 takes it back) or RPA (its answer; RF1-1 A approved, R not, P pended), known by the numbers of RF1.';

CREATE FUNCTION referral.hl7_acknowledgement(segments jsonb[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    msa jsonb := referral.hl7_first(segments, 'MSA');
    answer text := upper(referral.hl7_text(msa, 'MSA-1'));
    findings jsonb := '[]';
BEGIN
    IF answer IN ('AE', 'AR', 'CE', 'CR') THEN
        findings := referral.hl7_finding('message_refused', 'error', 'message', answer, 'MSA-1', 'the other side could not use our message');
    END IF;
    RETURN jsonb_build_object('kind', 'none', 'reason', 'an acknowledgement', 'findings', findings,
        'extra', jsonb_strip_nulls(jsonb_build_object('acknowledges', referral.hl7_text(msa, 'MSA-2'), 'acknowledgement', answer)));
END $$;
COMMENT ON FUNCTION referral.hl7_acknowledgement(jsonb[]) IS
'The case of a parsed ACK: of kind none, with the finding message_refused when the other side refused our message.';

-- appointments: SIU

CREATE FUNCTION referral.hl7_place(segment jsonb, path text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(concat_ws(', ', referral.hl7_text(segment, path || '.4.1'), referral.hl7_text(segment, path || '.1.1'),
    referral.hl7_text(segment, path || '.2.1'), referral.hl7_text(segment, path || '.3.1'), referral.hl7_text(segment, path || '.9.1')), '');
COMMENT ON FUNCTION referral.hl7_place(jsonb, text) IS
'The place (PL) at a path of a parsed segment in words: facility, point of care, room, bed, description; null when there is nothing.';

CREATE FUNCTION referral.hl7_resources(segments jsonb[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    segment jsonb;
    resources jsonb := '[]';
    name text;
    what jsonb;
BEGIN
    FOREACH segment IN ARRAY segments LOOP
        name := segment ->> 'segment';
        what := CASE name
            WHEN 'AIS' THEN referral.hl7_code(segment, 'AIS-3')
            WHEN 'AIG' THEN referral.hl7_code(segment, 'AIG-3')
            WHEN 'AIL' THEN jsonb_build_object('display', referral.hl7_place(segment, 'AIL-3'))
            WHEN 'AIP' THEN referral.hl7_person(segment, 'AIP-3')
                || jsonb_strip_nulls(jsonb_build_object('specialty', coalesce(referral.hl7_text(segment, 'AIP-4.2'),
                                                                              referral.hl7_text(segment, 'AIP-4.1')))) END;
        IF what IS NOT NULL THEN
            resources := resources || jsonb_build_object('segment', name, 'resource', what);
        END IF;
    END LOOP;
    RETURN resources;
END $$;
COMMENT ON FUNCTION referral.hl7_resources(jsonb[]) IS
'The services, equipment, places and people (AIS, AIG, AIL, AIP) of a parsed scheduling message: [{"segment", "resource"}, ...].';

CREATE FUNCTION referral.hl7_slot(segments jsonb[], sch jsonb, zone text, OUT starts_at timestamptz, OUT ends_at timestamptz, OUT findings jsonb)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tq1 jsonb := referral.hl7_first(segments, 'TQ1');
    segment jsonb;
    name text;
    amount integer := referral.hl7_integer(sch, 'SCH-9.1');
    unit text := referral.hl7_text(sch, 'SCH-10.1');
BEGIN
    findings := referral.hl7_bad_time(tq1, 'TQ1-7.1', 'appointment.starts_at') || referral.hl7_bad_time(tq1, 'TQ1-8.1', 'appointment.ends_at');
    starts_at := referral.hl7_time(tq1, 'TQ1-7.1', zone);
    ends_at := referral.hl7_time(tq1, 'TQ1-8.1', zone);
    IF starts_at IS NULL THEN
        FOREACH segment IN ARRAY segments LOOP
            name := segment ->> 'segment';
            IF name IN ('AIS', 'AIG', 'AIL', 'AIP') THEN
                -- AIS has its start in the fourth field, the others in their eighth or sixth
                name := name || CASE name WHEN 'AIS' THEN '-4' WHEN 'AIG' THEN '-8' ELSE '-6' END;
                findings := findings || referral.hl7_bad_time(segment, name || '.1', 'appointment.starts_at');
                starts_at := referral.hl7_time(segment, name || '.1', zone);
                IF starts_at IS NOT NULL AND segment ->> 'segment' = 'AIS' AND referral.hl7_integer(segment, 'AIS-7.1') > 0 THEN
                    amount := referral.hl7_integer(segment, 'AIS-7.1');
                    unit := referral.hl7_text(segment, 'AIS-8.1');
                END IF;
                EXIT WHEN starts_at IS NOT NULL;
            END IF;
        END LOOP;
    END IF;
    starts_at := coalesce(starts_at, referral.hl7_time(sch, 'SCH-11.4', zone));
    ends_at := coalesce(ends_at, referral.hl7_time(sch, 'SCH-11.5', zone),
        starts_at + CASE WHEN upper(unit) IN ('S', 'SEC') THEN make_interval(secs => amount)
                         WHEN upper(unit) IN ('H', 'HR', 'HOUR') THEN make_interval(hours => least(amount, 9999))
                         WHEN upper(unit) IN ('M', 'MIN', 'MINUTES') THEN make_interval(mins => least(amount, 999999)) END);
    IF ends_at < starts_at THEN
        findings := findings || referral.hl7_finding('invalid_time', 'warning', 'appointment.ends_at', NULL, 'TQ1-8', 'ends before it starts');
        ends_at := NULL;
    END IF;
END $$;
COMMENT ON FUNCTION referral.hl7_slot(jsonb[], jsonb, text) IS
'When a parsed scheduling message is about: TQ1, else the first resource with a start, else SCH-11; the end, when it is not told, from the duration. An end before the start becomes a finding.';

CREATE FUNCTION referral.hl7_appointment_case(segments jsonb[], event text, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_parts(segments, true, zone);
    sch jsonb := referral.hl7_first(segments, 'SCH');
    resources jsonb := referral.hl7_resources(segments);
    slot record;
    told text := referral.hl7_text(sch, 'SCH-25.1');
    findings jsonb := '[]';
    service jsonb := jsonb_path_query_first(resources, '$[*] ? (@.segment == "AIS").resource');
    reason text := referral.hl7_text(sch, 'SCH-6.1');
    referral_of jsonb;
BEGIN
    SELECT * INTO slot FROM referral.hl7_slot(segments, sch, zone);
    IF sch IS NULL THEN
        findings := referral.hl7_finding('missing', 'error', 'appointment', NULL, 'SCH', 'the segment SCH is missing');
    ELSIF told IS NOT NULL AND lower(told) <> 'blocked' AND referral.hl7_appointment_status(told) IS NULL THEN
        findings := referral.hl7_finding('invalid_code', 'warning', 'appointment.status', told, 'SCH-25', 'no code of table 0278');
    END IF;
    referral_of := jsonb_strip_nulls(jsonb_build_object(
        'placer_order_number', referral.hl7_text(sch, 'SCH-26.1'), 'placer_order_system', referral.hl7_text(sch, 'SCH-26.2'),
        'filler_order_number', referral.hl7_text(sch, 'SCH-27.1'), 'filler_order_system', referral.hl7_text(sch, 'SCH-27.2')));
    RETURN referral.hl7_case('appointment', parts - 'comment' || jsonb_build_object(
               'extra', (parts -> 'extra') || jsonb_strip_nulls(jsonb_build_object('resources', nullif(resources, '[]'), 'event_reason', reason,
                            'appointment_reason', referral.hl7_code(sch, 'SCH-7'), 'appointment_type', referral.hl7_code(sch, 'SCH-8'),
                            'diagnoses', parts -> 'referral' -> 'diagnoses'))), referral_of, findings || slot.findings)
        || jsonb_build_object('appointments', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
            'placer_appointment_id', referral.hl7_text(sch, 'SCH-1.1.1'), 'filler_appointment_id', referral.hl7_text(sch, 'SCH-2.1.1'),
            'identifiers', nullif(referral.hl7_ei_ids(sch, 'SCH-1', 'PLAC') || referral.hl7_ei_ids(sch, 'SCH-2', 'FILL'), '[]'),
            'event', event,
            'status', CASE WHEN event IN ('S15', 'S16') THEN 'cancelled' WHEN event = 'S17' THEN 'entered-in-error'
                           WHEN event = 'S26' THEN 'noshow' ELSE coalesce(referral.hl7_appointment_status(told), 'booked') END,
            'starts_at', slot.starts_at, 'ends_at', slot.ends_at,
            'service_code', service -> 'code', 'service_code_system', service -> 'system',
            'service_text', coalesce(service ->> 'display', referral.hl7_text(sch, 'SCH-7.2'), referral.hl7_text(sch, 'SCH-7.1')),
            'location', jsonb_path_query_first(resources, '$[*] ? (@.segment == "AIL").resource.display'),
            'practitioner', coalesce(jsonb_path_query_first(resources, '$[*] ? (@.segment == "AIP").resource'),
                                     referral.hl7_person(sch, 'SCH-16')),
            'comment', parts -> 'comment',
            'status_reason', CASE WHEN event IN ('S13', 'S15', 'S16', 'S17', 'S26') AND lower(reason) NOT IN ('add', 'a') THEN reason END)
            || referral_of)));
END $$;
COMMENT ON FUNCTION referral.hl7_appointment_case(jsonb[], text, text) IS
'The case of a parsed SIU about one appointment. Cancelled, deleted and no-show are told by the event, other states by SCH-25; the service, place and person are those of the first AIS, AIL and AIP, all of them are in extra.';

CREATE FUNCTION referral.hl7_ei_ids(segment jsonb, path text, type text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.hl7_text(segment, path || '.1.1') IS NULL THEN
        RETURN '[]';
    END IF;
    RETURN jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('value', referral.hl7_text(segment, path || '.1.1'), 'type', type,
        'system', referral.hl7_identifier_system(referral.hl7_text(segment, path || '.2'), referral.hl7_text(segment, path || '.3'),
                                                 referral.hl7_text(segment, path || '.4'), NULL))));
END $$;
COMMENT ON FUNCTION referral.hl7_ei_ids(jsonb, text, text) IS
'The identifier of an entity (EI) at a path of a parsed segment as an array of one, of the type given; an empty array when there is none.';

-- the mapper

CREATE FUNCTION referral.map_hl7v2(message jsonb, source text, zone text DEFAULT 'UTC') RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    msh jsonb := message -> 'segments' -> 0;
    type text := upper(referral.hl7_text(msh, 'MSH-9.1'));
    event text := upper(referral.hl7_text(msh, 'MSH-9.2'));
    segments jsonb[];
    base jsonb;
BEGIN
    IF message IS NULL THEN
        RETURN;
    END IF;
    IF type IS NULL THEN
        RAISE EXCEPTION 'message has no type' USING ERRCODE = 'RF014', DETAIL = 'MSH-9 is empty.',
            HINT = 'Have the sender fill in MSH-9, or write a mapping that says what the message is.';
    END IF;
    base := jsonb_build_object('message', jsonb_strip_nulls(jsonb_build_object('type', concat_ws('^', type, event),
        'control_id', referral.hl7_text(msh, 'MSH-10'), 'sent_at', referral.hl7_time(msh, 'MSH-7.1', zone),
        'sender', coalesce(referral.hl7_text(msh, 'MSH-3.1'), referral.hl7_text(msh, 'MSH-4.1'), source),
        'facility', referral.hl7_text(msh, 'MSH-4.1'), 'originator', referral.hl7_text(msh, 'MSH-3.1'))));
    segments := ARRAY(SELECT jsonb_array_elements(message -> 'segments'));
    CASE
        WHEN type IN ('REF', 'RRI') AND event IN ('I12', 'I13', 'I14', 'I15') THEN
            RETURN NEXT base || referral.hl7_referral_case(segments, type, event, zone);
        WHEN type = 'SIU' AND event IN ('S12', 'S13', 'S14', 'S15', 'S16', 'S17', 'S18', 'S19', 'S20', 'S21', 'S22', 'S26', 'S27') THEN
            RETURN NEXT base || referral.hl7_appointment_case(segments, event, zone);
        WHEN type = 'SIU' AND event IN ('S23', 'S24') THEN
            RETURN NEXT base || jsonb_build_object('kind', 'none', 'reason', 'a schedule was blocked or opened');
        WHEN type IN ('ORM', 'OMG', 'ORU') THEN
            RETURN QUERY SELECT base || c FROM referral.hl7_order_cases(segments, type, zone) AS c;
            IF NOT FOUND THEN
                RETURN NEXT base || jsonb_build_object('kind', 'none', 'reason', 'no order in the message', 'findings',
                    referral.hl7_finding('missing', 'error', 'referral', NULL, 'ORC', 'the message has neither ORC nor OBR'));
            END IF;
        WHEN type = 'MDM' THEN
            RETURN NEXT base || referral.hl7_note_case(segments, event, zone);
        WHEN type IN ('RQA', 'RPA') AND event IN ('I08', 'I09', 'I10', 'I11') THEN
            RETURN NEXT base || referral.hl7_authorization_case(segments, type, event, zone);
        WHEN type = 'ADT' THEN
            RETURN NEXT base || referral.hl7_patient_case(segments, event, zone);
        WHEN type = 'ACK' THEN
            RETURN NEXT base || referral.hl7_acknowledgement(segments);
        ELSE
            RETURN NEXT base || jsonb_build_object('kind', 'none', 'reason', 'no mapping for this type of message', 'findings',
                referral.hl7_finding('unmapped_type', 'warning', 'message.type', concat_ws('^', type, event), 'MSH-9', 'no mapping for this type'));
    END CASE;
END $$;
COMMENT ON FUNCTION referral.map_hl7v2(jsonb, text, text) IS
'The cases of intake that a parsed message (hl7_parse()) of HL7 v2 tells of: REF, RRI, SIU, ORM, OMG, ORU, MDM, RQA, RPA, ADT; one of kind none for other types. Times without a zone are in the one given. What cannot be used is left out and named among the findings. None for null; RF014 when MSH-9 is empty, RF020 for an unknown zone. See docs/intake_hl7.md.';
