-- HL7 v2 orders (ORM, OMG) and reports (ORU, MDM, and those that come in an RRI) as cases of intake

CREATE FUNCTION referral.hl7_report_status(code text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE upper(code) WHEN 'F' THEN 'final' WHEN 'C' THEN 'amended' WHEN 'X' THEN 'failed'
    WHEN 'P' THEN 'preliminary' WHEN 'A' THEN 'preliminary' WHEN 'R' THEN 'preliminary' WHEN 'I' THEN 'preliminary'
    WHEN 'S' THEN 'preliminary' WHEN 'O' THEN 'preliminary'
    WHEN 'D' THEN 'entered-in-error' WHEN 'W' THEN 'entered-in-error' END;
COMMENT ON FUNCTION referral.hl7_report_status(text) IS
'The status of a report for a result status of HL7 tables 0123 and 0085: final, amended, preliminary, failed or entered-in-error; null for another code.';

CREATE FUNCTION referral.hl7_report_document(parts jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    content text;
BEGIN
    IF parts -> 'documents' -> 0 IS NOT NULL THEN
        RETURN parts -> 'documents' -> 0;
    END IF;
    SELECT nullif(string_agg(o ->> 'value', E'\n' ORDER BY n), '') INTO content
    FROM jsonb_array_elements(parts -> 'extra' -> 'observations') WITH ORDINALITY AS v (o, n);
    RETURN referral.hl7_filled(jsonb_build_object('content', content, 'content_type', CASE WHEN content IS NOT NULL THEN 'text/plain' END));
END $$;
COMMENT ON FUNCTION referral.hl7_report_document(jsonb) IS
'What a report says, of what hl7_parts() read: the first document, else the values of the observations as text; null when there is neither.';

CREATE FUNCTION referral.hl7_with_report(intake jsonb, segments jsonb[], zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    obr jsonb := referral.hl7_first(segments, 'OBR');
    code jsonb := referral.hl7_code(obr, 'OBR-4');
    told text := coalesce(referral.hl7_text(obr, 'OBR-25'), referral.hl7_text(referral.hl7_first(segments, 'OBX'), 'OBX-11'));
    status text := referral.hl7_report_status(told);
    document jsonb := referral.hl7_report_document(intake);
    findings jsonb := intake -> 'findings';
BEGIN
    IF status IS NULL THEN
        -- an interim note by mistake is better than a loop closed by mistake
        status := 'preliminary';
        findings := findings || referral.hl7_finding(CASE WHEN told IS NULL THEN 'missing' ELSE 'invalid_code' END, 'warning',
                                                     'report.status', told, 'OBR-25', 'taken as preliminary');
    END IF;
    IF document IS NOT NULL THEN
        document := jsonb_build_object('type', 'consult_report', 'title', code ->> 'display') || (document - 'type');
    END IF;
    RETURN jsonb_strip_nulls(intake || jsonb_build_object('findings', findings,
        'documents', nullif((intake -> 'documents') - 0, '[]'),
        'reports', jsonb_build_array(jsonb_build_object('status', status,
            'identifier', nullif(concat_ws('/', coalesce(referral.hl7_text(obr, 'OBR-3.1.1'), referral.hl7_text(obr, 'OBR-2.1.1')),
                                           code ->> 'code'), code ->> 'code'),
            'code', code -> 'code', 'code_system', code -> 'system',
            'started_at', referral.hl7_time(obr, 'OBR-7.1', zone),
            'ended_at', coalesce(referral.hl7_time(obr, 'OBR-8.1', zone), referral.hl7_time(obr, 'OBR-22.1', zone),
                                 referral.hl7_time(obr, 'OBR-7.1', zone)),
            'author', coalesce(referral.hl7_interpreter(obr), referral.hl7_person(referral.hl7_first(segments, 'OBX'), 'OBX-16')),
            'sent_at', referral.hl7_time(segments[1], 'MSH-7.1', zone), 'document', document))));
END $$;
COMMENT ON FUNCTION referral.hl7_with_report(jsonb, jsonb[], text) IS
'The case with the report that its first OBR is about, its first document or its observations being what it says. Without a status it is preliminary.';

CREATE FUNCTION referral.hl7_interpreter(obr jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.hl7_text(obr, 'OBR-32.1.1');
    family text := referral.hl7_text(obr, 'OBR-32.1.2');
    given text := referral.hl7_text(obr, 'OBR-32.1.3');
BEGIN
    RETURN referral.hl7_filled(jsonb_build_object('name', nullif(concat_ws(' ', given, family), ''), 'family', family, 'given', given,
        'identifiers', CASE WHEN number IS NOT NULL THEN jsonb_build_array(jsonb_build_object('value', number)) END));
END $$;
COMMENT ON FUNCTION referral.hl7_interpreter(jsonb) IS 'The principal interpreter (OBR-32) of a parsed OBR as a person; null when none is named.';

CREATE FUNCTION referral.hl7_order_numbers(segments jsonb[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    orc jsonb := referral.hl7_first(segments, 'ORC');
    obr jsonb := referral.hl7_first(segments, 'OBR');
    placer jsonb := coalesce(nullif(referral.hl7_ei_ids(orc, 'ORC-2', 'PLAC'), '[]'), referral.hl7_ei_ids(obr, 'OBR-2', 'PLAC'));
    filler jsonb := coalesce(nullif(referral.hl7_ei_ids(orc, 'ORC-3', 'FILL'), '[]'), referral.hl7_ei_ids(obr, 'OBR-3', 'FILL'));
    ids jsonb := placer || filler || referral.hl7_ei_ids(orc, 'ORC-4', 'PGN');
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object('identifiers', nullif(ids, '[]'),
        'placer_order_number', placer -> 0 -> 'value', 'placer_order_system', placer -> 0 -> 'system',
        'filler_order_number', filler -> 0 -> 'value', 'filler_order_system', filler -> 0 -> 'system'));
END $$;
COMMENT ON FUNCTION referral.hl7_order_numbers(jsonb[]) IS
'By what the first ORC and OBR of parsed segments name an order: identifiers (PLAC, FILL, PGN for the group), placer and filler order number with their systems.';

CREATE FUNCTION referral.hl7_order(segments jsonb[], zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    orc jsonb := referral.hl7_first(segments, 'ORC');
    obr jsonb := referral.hl7_first(segments, 'OBR');
    service jsonb := referral.hl7_code(obr, 'OBR-4');
    reason jsonb := referral.hl7_code(obr, 'OBR-31');
    urgency text := coalesce(referral.hl7_text(referral.hl7_first(segments, 'TQ1'), 'TQ1-9.1'), referral.hl7_text(orc, 'ORC-7.6'),
                             referral.hl7_text(obr, 'OBR-27.6'), referral.hl7_text(obr, 'OBR-5.1'));
    findings jsonb := referral.hl7_bad_time(orc, 'ORC-9.1', 'referral.authored_at');
BEGIN
    IF urgency IS NOT NULL AND referral.hl7_urgency(urgency) IS NULL THEN
        findings := findings || referral.hl7_finding('invalid_code', 'warning', 'referral.urgency', urgency, 'TQ1-9', 'no code of table 0485');
    END IF;
    RETURN jsonb_build_object('findings', findings, 'referral', referral.hl7_order_numbers(segments) || jsonb_strip_nulls(jsonb_build_object(
        'urgency', referral.hl7_urgency(urgency), 'specialty', referral.hl7_text(obr, 'OBR-24'),
        'service_code', service -> 'code', 'service_code_system', service -> 'system', 'service_text', service -> 'display',
        'procedures', CASE WHEN service IS NOT NULL THEN jsonb_build_array(service) END,
        'authored_at', referral.hl7_time(orc, 'ORC-9.1', zone),
        'requester', coalesce(referral.hl7_person(orc, 'ORC-12'), referral.hl7_person(obr, 'OBR-16')),
        'requesting_organization', referral.hl7_organization(orc, 'ORC-21')))
        || CASE WHEN reason IS NULL THEN '{}' ELSE jsonb_strip_nulls(jsonb_build_object(
            'reason_code', reason -> 'code', 'reason_code_system', reason -> 'system', 'reason_text', reason -> 'display')) END);
END $$;
COMMENT ON FUNCTION referral.hl7_order(jsonb[], text) IS
'What the first ORC, OBR and TQ1 of parsed segments say of a referral: {"referral": ..., "findings": [...]}.';

CREATE FUNCTION referral.hl7_order_kind(control text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN control IN ('NW', 'XO', 'XX', 'XR', 'RP', 'RO', 'RU', 'PA', 'CH') OR control IS NULL THEN 'referral'
    WHEN control IN ('CA', 'DC') THEN 'referral_cancel'
    WHEN control = 'SS' THEN 'status_request'
    WHEN control IN ('OC', 'OD', 'CR', 'DR', 'OK', 'UA', 'UC', 'UD', 'UX', 'UH', 'UR', 'HD', 'OH', 'HR', 'RL', 'OE', 'OR', 'SC', 'SR', 'RE',
                     'NA', 'SN') THEN 'referral_status' END;
COMMENT ON FUNCTION referral.hl7_order_kind(text) IS
'The kind of case for an order control code of HL7 table 0119 (ORC-1): referral, referral_cancel, referral_status, status_request; referral for null; null for another code.';

CREATE FUNCTION referral.hl7_order_case(segments jsonb[], zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_parts(segments, false, zone);
    told jsonb := referral.hl7_order(segments, zone);
    orc jsonb := referral.hl7_first(segments, 'ORC');
    control text := upper(referral.hl7_text(orc, 'ORC-1'));
    kind text := referral.hl7_order_kind(control);
    request jsonb := (parts -> 'referral') || (told -> 'referral');
    findings jsonb := told -> 'findings';
    outcome jsonb := '{}';
BEGIN
    IF kind IS NULL THEN
        kind := 'none';
        findings := findings || referral.hl7_finding('invalid_code', 'warning', 'referral.state', control, 'ORC-1', 'no code of table 0119');
    ELSIF kind = 'referral_cancel' OR control IN ('OC', 'OD', 'CR', 'DR') THEN
        outcome := jsonb_build_object('state', 'cancelled');
    ELSIF control = 'OK' THEN
        outcome := jsonb_build_object('state', 'validated', 'decision', 'accepted');
    ELSIF control = 'UA' THEN
        outcome := jsonb_build_object('state', 'declined', 'decision', 'declined');
    ELSIF control IN ('HD', 'OH', 'HR') THEN
        outcome := jsonb_build_object('state', 'on_hold');
    ELSIF kind = 'referral_status' THEN
        outcome := jsonb_strip_nulls(jsonb_build_object('state', referral.hl7_order_state(referral.hl7_text(orc, 'ORC-5'))));
    ELSIF request -> 'requester' IS NULL THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'referral.requester', NULL, 'ORC-12', 'no ordering provider');
    END IF;
    IF kind <> 'referral' THEN
        outcome := outcome || jsonb_strip_nulls(jsonb_build_object('status_reason', referral.hl7_text(orc, 'ORC-16.1')));
    END IF;
    IF request -> 'identifiers' IS NULL AND kind <> 'none' THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'referral.placer_order_number', NULL, 'ORC-2', 'the order has no number');
    END IF;
    RETURN referral.hl7_case(kind, jsonb_set(parts, '{extra}', (parts -> 'extra') || jsonb_strip_nulls(jsonb_build_object(
        'order_control', control, 'order_status', referral.hl7_text(orc, 'ORC-5')))), request || outcome, findings);
END $$;
COMMENT ON FUNCTION referral.hl7_order_case(jsonb[], text) IS
'The case of one order: the segments that all orders of the message share, then its own. What is asked is told by ORC-1, for a change of status by ORC-5.';

CREATE FUNCTION referral.hl7_report_case(segments jsonb[], zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_parts(segments, false, zone);
    numbers jsonb := referral.hl7_order_numbers(segments);
    intake jsonb := referral.hl7_case('report', parts, numbers, '[]');
BEGIN
    intake := referral.hl7_with_report(intake, segments, zone);
    IF numbers = '{}' THEN
        intake := jsonb_set(intake, '{findings}', (intake -> 'findings') || referral.hl7_finding('missing', 'warning',
            'referral.placer_order_number', NULL, 'OBR-2', 'the report names no order'));
    END IF;
    RETURN intake;
END $$;
COMMENT ON FUNCTION referral.hl7_report_case(jsonb[], text) IS
'The case of one result of a parsed ORU: the segments that all results share, then its ORC, OBR and OBX.';

CREATE FUNCTION referral.hl7_note_case(segments jsonb[], event text, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_parts(segments, false, zone);
    txa jsonb := referral.hl7_first(segments, 'TXA');
    numbers jsonb := referral.hl7_order_numbers(segments);
    completion text := upper(referral.hl7_text(txa, 'TXA-17'));
    done boolean := completion IN ('AU', 'LA') OR completion IS NULL AND referral.hl7_text(referral.hl7_first(segments, 'OBX'), 'OBX-11') = 'F';
    status text := CASE WHEN event = 'T11' THEN 'entered-in-error' WHEN NOT coalesce(done, false) THEN 'preliminary'
        WHEN event IN ('T05', 'T06', 'T07', 'T08', 'T09', 'T10') THEN 'amended' ELSE 'final' END;
    document jsonb;
    findings jsonb := '[]';
    intake jsonb;
BEGIN
    IF txa IS NULL THEN
        findings := referral.hl7_finding('missing', 'warning', 'document', NULL, 'TXA', 'the segment TXA is missing');
    END IF;
    numbers := jsonb_strip_nulls(jsonb_build_object('placer_order_number', referral.hl7_text(txa, 'TXA-14.1.1'),
        'placer_order_system', referral.hl7_text(txa, 'TXA-14.2'), 'filler_order_number', referral.hl7_text(txa, 'TXA-15.1.1'),
        'filler_order_system', referral.hl7_text(txa, 'TXA-15.2'),
        'identifiers', nullif(referral.hl7_ei_ids(txa, 'TXA-14', 'PLAC') || referral.hl7_ei_ids(txa, 'TXA-15', 'FILL'), '[]'))) || numbers;
    document := jsonb_strip_nulls(jsonb_build_object('identifier', referral.hl7_text(txa, 'TXA-12.1.1'),
        'title', coalesce(referral.hl7_text(txa, 'TXA-2.2'), referral.hl7_text(txa, 'TXA-16'), referral.hl7_text(txa, 'TXA-2.1')),
        'status', CASE WHEN event = 'T11' THEN 'entered-in-error' ELSE 'current' END));
    IF numbers = '{}' THEN
        intake := referral.hl7_case('document', parts, '{}', findings);
        RETURN intake || jsonb_build_object('documents', jsonb_build_array(jsonb_build_object('type', coalesce(
            referral.hl7_text(txa, 'TXA-2.1'), 'note')) || coalesce(referral.hl7_report_document(parts) - 'type', '{}') || document)
            || coalesce((parts -> 'documents') - 0, '[]'));
    END IF;
    intake := referral.hl7_case('report', parts, numbers, findings);
    RETURN jsonb_strip_nulls(intake || jsonb_build_object('documents', nullif((parts -> 'documents') - 0, '[]'),
        'reports', jsonb_build_array(jsonb_build_object('status', status, 'identifier', referral.hl7_text(txa, 'TXA-12.1.1'),
            'code', referral.hl7_text(txa, 'TXA-2.1'), 'started_at', referral.hl7_time(txa, 'TXA-4.1', zone),
            'ended_at', coalesce(referral.hl7_time(txa, 'TXA-22.15', zone), referral.hl7_time(txa, 'TXA-7.1', zone),
                                 referral.hl7_time(txa, 'TXA-6.1', zone), referral.hl7_time(txa, 'TXA-4.1', zone)),
            'author', coalesce(referral.hl7_person(txa, 'TXA-9'), referral.hl7_person(txa, 'TXA-5')),
            'sent_at', referral.hl7_time(segments[1], 'MSH-7.1', zone),
            'document', jsonb_build_object('type', 'consult_report') || coalesce(referral.hl7_report_document(parts) - 'type', '{}') || document))));
END $$;
COMMENT ON FUNCTION referral.hl7_note_case(jsonb[], text, text) IS
'The case of a parsed MDM: a report when it names an order (TXA-14, TXA-15, ORC, OBR), else a document of the patient. Final when authenticated (TXA-17 AU, LA), else preliminary; an addendum, edit or replacement is amended, T11 entered in error.';

-- a message of several orders or results: one case each

CREATE FUNCTION referral.hl7_order_cases(segments jsonb[], type text, zone text) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    segment jsonb;
    name text;
    head jsonb[] := '{}';
    own jsonb[] := '{}';
    -- results of former orders, which an order comes with
    prior boolean := false;
    prior_segments integer := 0;
BEGIN
    FOREACH segment IN ARRAY segments || NULL::jsonb LOOP
        name := segment ->> 'segment';
        IF own <> '{}' AND (name IS NULL OR name = 'ORC' AND NOT prior OR name = 'PID' AND type = 'ORU'
                            OR name = 'OBR' AND NOT prior AND referral.hl7_first(own, 'OBR') IS NOT NULL
                            OR name = 'ORC' AND referral.hl7_order_kind(upper(referral.hl7_text(segment, 'ORC-1'))) IN ('referral', 'referral_cancel')) THEN
            RETURN NEXT CASE WHEN type = 'ORU' THEN referral.hl7_report_case(head || own, zone) ELSE referral.hl7_order_case(head || own, zone) END;
            own := '{}';
            prior := false;
        END IF;
        IF name = 'PID' AND type = 'ORU' THEN
            head := ARRAY[segments[1], segment];
        ELSIF own = '{}' AND name NOT IN ('ORC', 'OBR') THEN
            head := head || segment;
        ELSIF name IS NOT NULL THEN
            prior := type <> 'ORU' AND (prior AND name NOT IN ('FT1', 'CTI', 'BLG') OR own <> '{}' AND name IN ('PID', 'PV1', 'AL1')
                                        OR name = 'ORC' AND upper(referral.hl7_text(segment, 'ORC-1')) = 'PR');
            IF NOT prior THEN
                own := own || segment;
            END IF;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.hl7_order_cases(jsonb[], text, text) IS
'The cases of parsed orders (ORM, OMG) or results (ORU), one for each ORC or OBR. Results of former orders that come with an order (a second PID, PV1 or AL1, or ORC-1 PR) are no orders.';

-- patients: ADT; answers: ACK

CREATE FUNCTION referral.hl7_patient_case(segments jsonb[], event text, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_parts(segments, true, zone);
    mrg jsonb := referral.hl7_first(segments, 'MRG');
    findings jsonb := '[]';
    intake jsonb;
BEGIN
    IF mrg IS NOT NULL THEN
        findings := referral.hl7_finding('possible_duplicate', 'error', 'patient.identifiers', referral.hl7_text(mrg, 'MRG-1.1'), 'MRG-1',
                                         'the sender has merged this record into the patient');
        parts := jsonb_set(parts, '{extra,merged}', referral.hl7_ids(mrg, '1'));
    END IF;
    intake := referral.hl7_case('patient', parts, '{}', findings);
    RETURN intake;
END $$;
COMMENT ON FUNCTION referral.hl7_patient_case(jsonb[], text, text) IS
'The case of a parsed ADT: the patient, coverages and encounter. A merge (MRG) becomes the finding possible_duplicate, for a person to decide.';
