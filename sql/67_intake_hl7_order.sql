-- HL7 v2 orders (ORM, OMG) and reports (ORU, MDM, and those that come in an RRI) as cases of intake

CREATE FUNCTION referral.hl7_report_document(parts referral.hl7_content) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    content text;
BEGIN
    IF parts.documents IS NOT NULL THEN
        RETURN parts.documents -> 0;
    END IF;
    SELECT nullif(string_agg(o ->> 'value', E'\n' ORDER BY n), '') INTO content
    FROM jsonb_array_elements(parts.extra -> 'observations') WITH ORDINALITY AS v (o, n);
    RETURN CASE WHEN content IS NOT NULL THEN jsonb_build_object('content', content, 'content_type', 'text/plain') END;
END $$;
COMMENT ON FUNCTION referral.hl7_report_document(referral.hl7_content) IS
'What a report says, of what hl7_parts() read: the first document, else the values of the observations as text; null when there is neither.';

CREATE FUNCTION referral.hl7_with_report(parts referral.hl7_content, message jsonb, zone text) RETURNS referral.hl7_content
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told jsonb := referral.hl7_fill(message, '{
        "report": {"started_at": "OBR-7:time", "ended_at": "OBR-8:time|OBR-22:time|OBR-7:time", "sent_at": "MSH-7:time",
                   "author": "OBR-32:interpreter|OBX-16:person"},
        "code": "OBR-4:code", "number": "OBR-3|OBR-2", "status": "OBR-25|OBX-11"}', zone);
    status text := referral.hl7_report_status(told ->> 'status');
    document jsonb := referral.hl7_report_document(parts);
BEGIN
    parts.findings := parts.findings || coalesce(told -> 'findings', '[]');
    IF status IS NULL THEN
        -- an interim note by mistake is better than a loop closed by mistake
        status := 'preliminary';
        parts.findings := parts.findings || referral.hl7_finding(CASE WHEN told ? 'status' THEN 'invalid_code' ELSE 'missing' END, 'warning',
                                                     'report.status', told ->> 'status', 'OBR-25', 'taken as preliminary');
    END IF;
    IF document IS NOT NULL THEN
        document := jsonb_build_object('title', told -> 'code' -> 'display') || document || jsonb_build_object('type', 'consult_report');
    END IF;
    parts.documents := nullif(parts.documents - 0, '[]');
    parts.reports := jsonb_build_array(coalesce(told -> 'report', '{}') || jsonb_build_object('status', status,
        -- the same order may have several reports, of one code each
        'identifier', told ->> 'number' || coalesce('/' || (told -> 'code' ->> 'code'), ''),
        'code', told -> 'code' -> 'code', 'code_system', told -> 'code' -> 'system', 'document', document));
    RETURN parts;
END $$;
COMMENT ON FUNCTION referral.hl7_with_report(referral.hl7_content, jsonb, text) IS
'The content with the report that the first OBR of a parsed message is about; its first document, or else its observations, are what it says. Without a status it is preliminary.';

CREATE FUNCTION referral.hl7_order(message jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told jsonb := referral.hl7_fill(message, '{
        "referral": {
            "identifiers": [{"type": "=PLAC", "value": "ORC-2|OBR-2|TXA-14", "system": "ORC-2:authority|OBR-2:authority|TXA-14:authority"},
                            {"type": "=FILL", "value": "ORC-3|OBR-3|TXA-15", "system": "ORC-3:authority|OBR-3:authority|TXA-15:authority"},
                            {"type": "=PGN", "value": "ORC-4", "system": "ORC-4:authority"}],
            "placer_order_number": "ORC-2|OBR-2|TXA-14", "placer_order_system": "ORC-2:authority|OBR-2:authority|TXA-14:authority",
            "filler_order_number": "ORC-3|OBR-3|TXA-15", "filler_order_system": "ORC-3:authority|OBR-3:authority|TXA-15:authority",
            "urgency": "TQ1-9.1:urgency|ORC-7.6:urgency|OBR-27.6:urgency|OBR-5:urgency", "specialty": "OBR-24",
            "authored_at": "ORC-9:time", "requester": "ORC-12:person|OBR-16:person", "requesting_organization": "ORC-21:organization",
            "procedures": ["OBR-4:code"]},
        "service": {"service": "OBR-4:code"}, "reason": "OBR-31:code",
        "extra": {"order_control": "ORC-1", "order_status": "ORC-5", "status_reason": "ORC-16.1"}}', zone);
    service jsonb := told -> 'service' -> 'service';
    reason jsonb := told -> 'reason';
BEGIN
    RETURN told || jsonb_build_object('referral', coalesce(told -> 'referral', '{}') || jsonb_strip_nulls(
        jsonb_build_object('service_code', service -> 'code', 'service_code_system', service -> 'system', 'service_text', service -> 'display',
            'reason_code', reason -> 'code', 'reason_code_system', reason -> 'system', 'reason_text', reason -> 'display')));
END $$;
COMMENT ON FUNCTION referral.hl7_order(jsonb, text) IS
'What the first ORC, OBR, TQ1 (and TXA) of a parsed message say of a referral: {"referral": ..., "extra": ..., "findings": [...]}.';

CREATE FUNCTION referral.hl7_order_numbers(request jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_strip_nulls(jsonb_build_object('identifiers', request -> 'identifiers',
    'placer_order_number', request -> 'placer_order_number', 'placer_order_system', request -> 'placer_order_system',
    'filler_order_number', request -> 'filler_order_number', 'filler_order_system', request -> 'filler_order_system'));
COMMENT ON FUNCTION referral.hl7_order_numbers(jsonb) IS 'Of the referral of a case only what it is found by.';

CREATE FUNCTION referral.hl7_order_case(message jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts referral.hl7_content := referral.hl7_parts(message, false, zone);
    told jsonb := referral.hl7_order(message, zone);
    extra jsonb := coalesce(told -> 'extra', '{}');
    control text := upper(extra ->> 'order_control');
    kind text := coalesce(referral.hl7_order_kind(control), 'none');
    request jsonb := parts.request || (told -> 'referral');
    findings jsonb := coalesce(told -> 'findings', '[]');
    outcome jsonb := '{}';
BEGIN
    IF kind = 'none' THEN
        findings := findings || referral.hl7_finding('invalid_code', 'warning', 'referral.state', control, 'ORC-1', 'no code of table 0119');
    ELSIF kind = 'referral_cancel' OR control IN ('OC', 'OD', 'CR', 'DR') THEN
        outcome := '{"state": "cancelled"}';
    ELSIF control = 'OK' THEN
        outcome := '{"state": "validated", "decision": "accepted"}';
    ELSIF control = 'UA' THEN
        outcome := '{"state": "declined", "decision": "declined"}';
    ELSIF control IN ('HD', 'OH', 'HR') THEN
        outcome := '{"state": "on_hold"}';
    ELSIF kind = 'referral_status' THEN
        outcome := jsonb_strip_nulls(jsonb_build_object('state', referral.hl7_order_state(extra ->> 'order_status')));
    ELSIF kind = 'referral' AND NOT request ? 'requester' THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'referral.requester', NULL, 'ORC-12', 'no ordering provider');
    END IF;
    IF kind <> 'referral' THEN
        outcome := outcome || jsonb_strip_nulls(jsonb_build_object('status_reason', extra -> 'status_reason'));
    END IF;
    IF kind <> 'none' AND NOT request ?| '{placer_order_number,filler_order_number}' THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'referral.placer_order_number', NULL, 'ORC-2', 'the order has no number');
    END IF;
    parts.extra := extra || parts.extra;
    parts.request := request || outcome;
    parts.findings := parts.findings || findings;
    RETURN referral.hl7_case(kind, parts);
END $$;
COMMENT ON FUNCTION referral.hl7_order_case(jsonb, text) IS
'The case of one order: a message of the segments that all orders share and its own. What is asked is told by ORC-1, for a change of status by ORC-5.';

CREATE FUNCTION referral.hl7_report_case(message jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts referral.hl7_content := referral.hl7_parts(message, false, zone);
BEGIN
    parts.request := referral.hl7_order_numbers(referral.hl7_order(message, zone) -> 'referral');
    IF parts.request = '{}' THEN
        parts.findings := parts.findings || referral.hl7_finding('missing', 'warning', 'referral.placer_order_number', NULL, 'OBR-2',
                                                                 'the report names no order');
    END IF;
    RETURN referral.hl7_case('report', referral.hl7_with_report(parts, message, zone));
END $$;
COMMENT ON FUNCTION referral.hl7_report_case(jsonb, text) IS
'The case of one result of a parsed ORU: a message of the segments that all results share and its own ORC, OBR and OBX.';

CREATE FUNCTION referral.hl7_note_case(message jsonb, event text, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts referral.hl7_content := referral.hl7_parts(message, false, zone);
    numbers jsonb := referral.hl7_order_numbers(referral.hl7_order(message, zone) -> 'referral');
    told jsonb := referral.hl7_fill(message, '{
        "report": {"identifier": "TXA-12", "code": "TXA-2.1", "started_at": "TXA-4:time", "sent_at": "MSH-7:time",
                   "ended_at": "TXA-22.15:time|TXA-7:time|TXA-6:time|TXA-4:time", "author": "TXA-9:person|TXA-5:person"},
        "document": {"identifier": "TXA-12", "title": "TXA-2.2|TXA-16|TXA-2.1"},
        "completion": "TXA-17", "result": "OBX-11"}', zone);
    completion text := upper(told ->> 'completion');
    done boolean := coalesce(completion IN ('AU', 'LA') OR completion IS NULL AND told ->> 'result' = 'F', false);
    status text := CASE WHEN event = 'T11' THEN 'entered-in-error' WHEN NOT done THEN 'preliminary'
        WHEN event IN ('T05', 'T06', 'T07', 'T08', 'T09', 'T10') THEN 'amended' ELSE 'final' END;
    document jsonb := coalesce(referral.hl7_report_document(parts), '{}') || coalesce(told -> 'document', '{}')
        || jsonb_build_object('status', CASE WHEN event = 'T11' THEN 'entered-in-error' ELSE 'current' END);
BEGIN
    parts.findings := parts.findings || coalesce(told -> 'findings', '[]');
    parts.documents := nullif(parts.documents - 0, '[]');
    parts.request := numbers;
    IF NOT told ? 'document' THEN
        parts.findings := parts.findings || referral.hl7_finding('missing', 'warning', 'document', NULL, 'TXA', 'the segment TXA is missing');
    END IF;
    IF numbers = '{}' THEN
        parts.documents := jsonb_build_array(document || jsonb_build_object('type', coalesce(told -> 'report' ->> 'code', 'note')))
            || coalesce(parts.documents, '[]');
        RETURN referral.hl7_case('document', parts);
    END IF;
    parts.reports := jsonb_build_array(coalesce(told -> 'report', '{}') || jsonb_build_object('status', status,
        'document', document || jsonb_build_object('type', 'consult_report')));
    RETURN referral.hl7_case('report', parts);
END $$;
COMMENT ON FUNCTION referral.hl7_note_case(jsonb, text, text) IS
'The case of a parsed MDM: a report when it names an order (TXA-14, TXA-15, ORC, OBR), else a document of the patient. Final when authenticated (TXA-17 AU, LA), else preliminary; an addendum, edit or replacement is amended, T11 entered in error.';

-- a message of several orders or results: one case each

CREATE FUNCTION referral.hl7_order_cases(message jsonb, type text, zone text) RETURNS SETOF jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    segment jsonb;
    name text;
    control text;
    head jsonb[] := '{}';
    own jsonb[] := '{}';
    -- there is an OBR in own
    with_result boolean := false;
    -- among results of former orders, which an order comes with
    prior boolean := false;
    part jsonb;
BEGIN
    FOR segment IN SELECT v FROM jsonb_array_elements(message -> 'segments') AS v UNION ALL SELECT NULL LOOP
        name := segment ->> 'segment';
        control := CASE WHEN name = 'ORC' THEN upper(referral.hl7_text(segment, 'ORC-1')) END;
        -- a new order ends the one before
        IF own <> '{}' AND (name IS NULL OR name = 'PID' AND type = 'ORU' OR name = 'OBR' AND with_result AND NOT prior
                            OR name = 'ORC' AND control IS DISTINCT FROM 'PR'
                               AND (NOT prior OR referral.hl7_order_kind(control) IN ('referral', 'referral_cancel'))) THEN
            part := jsonb_build_object('segments', to_jsonb(head || own));
            RETURN NEXT CASE WHEN type = 'ORU' THEN referral.hl7_report_case(part, zone) ELSE referral.hl7_order_case(part, zone) END;
            own := '{}';
            with_result := false;
            prior := false;
        END IF;
        EXIT WHEN name IS NULL;
        IF name = 'PID' AND type = 'ORU' THEN
            head := ARRAY[head[1], segment];
        ELSIF own = '{}' AND name NOT IN ('ORC', 'OBR') THEN
            head := head || segment;
        ELSE
            prior := type <> 'ORU' AND (prior AND name NOT IN ('FT1', 'CTI', 'BLG') OR with_result AND name IN ('PID', 'PV1', 'AL1')
                                        OR coalesce(control = 'PR', false));
            IF NOT prior THEN
                own := own || segment;
                with_result := with_result OR name = 'OBR';
            END IF;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.hl7_order_cases(jsonb, text, text) IS
'The cases of parsed orders (ORM, OMG) or results (ORU), one for each ORC or OBR. Results of former orders that come with an order (behind a PID, PV1 or AL1 that follows its OBR, or with ORC-1 PR) are no orders.';
