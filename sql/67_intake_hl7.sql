-- HL7 v2 in canonical words: templates that messages fill in. 67_intake_hl7_message.sql and _order.sql make cases of messages.

CREATE FUNCTION referral.hl7_fill(message jsonb, template jsonb, zone text DEFAULT 'UTC') RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'hl7_fill';
COMMENT ON FUNCTION referral.hl7_fill(jsonb, jsonb, text) IS
'The template, an object, with what a parsed message, or one segment of it, has at the paths that its strings are: "PID-5.1", "PID-7:date", "PID-3:ids|PID-2:ids" (the first that is there), "=MR" (a constant). What is not there is left out, and so are objects and arrays without a value of the message; arrays in arrays become one. What is there and no value of its type comes in findings, an array of findings of intake. Times without a zone are in the one given. The types are in docs/intake_hl7.md. Null for null; RF020 for another template or an unknown zone.';

CREATE FUNCTION referral.hl7_text(message jsonb, path text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(nullif(btrim(referral.hl7_get(message, path)), ''), '""');
COMMENT ON FUNCTION referral.hl7_text(jsonb, text) IS
'The text at a path of a parsed message or segment (see hl7_get()), without blanks around it. Null for null, and for what is absent, empty or HL7''s explicit null. RF020 for a malformed path.';

CREATE FUNCTION referral.hl7_finding(code text, severity text, attribute text, value text, place text, detail text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('code', code, 'severity', severity, 'attribute', attribute,
    'value', value, 'position', place, 'detail', detail)));
COMMENT ON FUNCTION referral.hl7_finding(text, text, text, text, text, text) IS
'An array of one finding of a case: code, severity (info, warning, error), the canonical attribute, the value as sent, where it stood, and what is wrong without naming content. Null parts are left out.';

-- codes of HL7 in canonical words

CREATE FUNCTION referral.hl7_order_state(status text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE upper(status) WHEN 'CA' THEN 'cancelled' WHEN 'DC' THEN 'cancelled' WHEN 'CM' THEN 'completed'
    WHEN 'HD' THEN 'on_hold' WHEN 'SC' THEN 'scheduled' END;
COMMENT ON FUNCTION referral.hl7_order_state(text) IS
'The state for an order status of HL7 table 0038 (ORC-5); null for one that names none (A, ER, IP, RP).';

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

CREATE FUNCTION referral.hl7_appointment_status(status text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE lower(status)
    WHEN 'booked' THEN 'booked' WHEN 'overbook' THEN 'booked' WHEN 'pending' THEN 'pending' WHEN 'waitlist' THEN 'waitlist'
    WHEN 'started' THEN 'arrived' WHEN 'arrived' THEN 'arrived' WHEN 'complete' THEN 'fulfilled' WHEN 'completed' THEN 'fulfilled'
    WHEN 'cancelled' THEN 'cancelled' WHEN 'canceled' THEN 'cancelled' WHEN 'dc' THEN 'cancelled'
    WHEN 'noshow' THEN 'noshow' WHEN 'no-show' THEN 'noshow' WHEN 'deleted' THEN 'entered-in-error' END;
COMMENT ON FUNCTION referral.hl7_appointment_status(text) IS
'The FHIR status of an appointment for a filler status code of HL7 table 0278 (SCH-25); null for another code.';

CREATE FUNCTION referral.hl7_report_status(code text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE upper(code) WHEN 'F' THEN 'final' WHEN 'C' THEN 'amended' WHEN 'X' THEN 'failed'
    WHEN 'P' THEN 'preliminary' WHEN 'A' THEN 'preliminary' WHEN 'R' THEN 'preliminary' WHEN 'I' THEN 'preliminary'
    WHEN 'S' THEN 'preliminary' WHEN 'O' THEN 'preliminary'
    WHEN 'D' THEN 'entered-in-error' WHEN 'W' THEN 'entered-in-error' END;
COMMENT ON FUNCTION referral.hl7_report_status(text) IS
'The status of a report for a result status of HL7 tables 0123 and 0085: final, amended, preliminary, failed or entered-in-error; null for another code.';

CREATE FUNCTION referral.hl7_content_type(kind text, subtype text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN upper(subtype) = 'PDF' THEN 'application/pdf'
    WHEN subtype IS NULL THEN CASE upper(kind) WHEN 'TEXT' THEN 'text/plain' WHEN 'PDF' THEN 'application/pdf' END
    ELSE CASE upper(kind) WHEN 'IM' THEN 'image/' WHEN 'IMAGE' THEN 'image/' WHEN 'AU' THEN 'audio/' WHEN 'AUDIO' THEN 'audio/'
                          WHEN 'TEXT' THEN 'text/' WHEN 'MULTIPART' THEN 'multipart/' WHEN 'VIDEO' THEN 'video/'
                          ELSE 'application/' END || lower(subtype) END;
COMMENT ON FUNCTION referral.hl7_content_type(text, text) IS
'The MIME type for a type of data and a subtype of HL7 tables 0191 and 0291; null when neither tells.';

-- segments that repeat: each gives the part of a case that it tells, with its findings

CREATE FUNCTION referral.hl7_patient(message jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_fill(message, '{"patient": {
        "identifiers": ["PID-3:ids", "PID-2:ids", "PID-4:ids",
                        {"system": "=http://hl7.org/fhir/sid/us-ssn", "type": "=SS", "value": "PID-19"}, "PID-20:driver"],
        "family": "PID-5.1", "given": "PID-5.2", "middle": "PID-5.3", "suffix": "PID-5.4",
        "previous_family": ["PID-5.1.3", "PID-5(2):families", "PID-9:families"], "alias": ["PID-5(2):givens", "PID-9:givens"],
        "mother_maiden_name": "PID-6.1", "birth_date": "PID-7:date", "sex": "PID-8:gender",
        "address": "PID-11:street", "city": "PID-11.3", "state": "PID-11.4", "postal_code": "PID-11.5",
        "phone": "PID-13:phone|PID-14:phone|PID-40:phone", "other_phones": ["PID-13:phones", "PID-14:phones", "PID-40:phones"],
        "email": "PID-13:email|PID-14:email|PID-40:email", "language": "PID-15.1:lower",
        "multiple_birth": "PID-24:boolean", "birth_order": "PID-25:integer", "deceased": "PID-30:boolean", "died": "PID-29"}}');
    patient jsonb := parts -> 'patient';
BEGIN
    IF patient IS NULL THEN
        RETURN parts;
    END IF;
    patient := patient - '{died,previous_family,alias,other_phones}'::text[] || jsonb_strip_nulls(jsonb_build_object(
        'previous_family', nullif((patient -> 'previous_family') - coalesce(patient ->> 'family', ''), '[]'),
        'alias', nullif((patient -> 'alias') - coalesce(patient ->> 'given', ''), '[]'),
        'other_phones', nullif((patient -> 'other_phones') - (patient ->> 'phone'), '[]'),
        'deceased', CASE WHEN patient ? 'died' THEN true END));
    RETURN parts || jsonb_build_object('patient', patient);
END $$;
COMMENT ON FUNCTION referral.hl7_patient(jsonb) IS
'What the PID of a parsed message says: {"patient": ..., "findings": [...]}; no patient when PID is missing or empty.';

CREATE FUNCTION referral.hl7_coverage(in1 jsonb, ordinal integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_fill(in1, '{"coverage": {"priority": "IN1-22:integer|IN1-1:integer",
        "payer": {"identifier": "IN1-3", "name": "IN1-4"},
        "plan": {"identifier": "IN1-2.1", "name": "IN1-2.2|IN1-9", "kind": "IN1-15.1"},
        "subscriber_id": "IN1-36|IN1-49", "group_number": "IN1-8", "relationship": "IN1-17:relationship",
        "start": "IN1-12:date", "end": "IN1-13:date", "identifiers": ["IN1-49:ids"]}}');
    coverage jsonb := coalesce(parts -> 'coverage', '{}');
    findings jsonb := coalesce(parts -> 'findings', '[]');
BEGIN
    IF NOT coverage ? 'priority' OR (coverage ->> 'priority')::numeric NOT BETWEEN 1 AND 99 THEN
        coverage := coverage || jsonb_build_object('priority', ordinal);
    END IF;
    IF coverage ->> 'end' < coverage ->> 'start' THEN
        findings := findings || referral.hl7_finding('invalid_date', 'warning', 'coverage.end', coverage ->> 'end', 'IN1-13',
                                                     'ends before it starts');
        coverage := coverage - 'end';
    END IF;
    IF NOT coverage ? 'payer' THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'coverage.payer', NULL, 'IN1-3', 'insurance without a payer');
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('coverage', CASE WHEN coverage - 'priority' <> '{}' THEN coverage END, 'findings', findings));
END $$;
COMMENT ON FUNCTION referral.hl7_coverage(jsonb, integer) IS
'What a parsed IN1 says as the ordinal-th insurance of a message: {"coverage": ..., "findings": [...]}; no coverage when nothing of it can be used.';

CREATE FUNCTION referral.hl7_party(prd jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    role text := (SELECT r FROM unnest(ARRAY['RP', 'RT']) AS r
                  WHERE r IN (referral.hl7_text(prd, 'PRD-1(1).1'), referral.hl7_text(prd, 'PRD-1(2).1'), referral.hl7_text(prd, 'PRD-1(3).1')) LIMIT 1);
    parts jsonb;
    person jsonb;
    organization jsonb;
BEGIN
    IF role IS NULL THEN
        RETURN '{}';
    END IF;
    parts := referral.hl7_fill(prd, '{
        "person": {"identifiers": ["PRD-7:licences"], "name": "PRD-2:name", "family": "PRD-2.1", "given": "PRD-2.2", "phone": "PRD-5:phone"},
        "organization": "PRD-10:organization",
        "place": {"phone": "PRD-13:phone", "address": "PRD-11:street", "city": "PRD-11.3", "state": "PRD-11.4", "postal_code": "PRD-11.5"}}');
    organization := parts -> 'organization' || coalesce(parts -> 'place', '{}');
    IF parts -> 'person' ?| '{identifiers,name}' THEN
        person := (parts -> 'person') || jsonb_strip_nulls(jsonb_build_object('organization', organization));
    END IF;
    RETURN jsonb_strip_nulls(CASE role
        WHEN 'RP' THEN jsonb_build_object('requester', person, 'requesting_organization', organization)
        ELSE jsonb_build_object('performer', person, 'performing_organization', organization) END);
END $$;
COMMENT ON FUNCTION referral.hl7_party(jsonb) IS
'What a parsed PRD says of a referral: requester and requesting_organization for role RP, performer and performing_organization for RT; an empty object for other roles.';

CREATE FUNCTION referral.hl7_authorization(aut jsonb, procedure jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := referral.hl7_fill(aut, '{"authorization": {
        "identifiers": [{"type": "=AUTH", "value": "AUT-6", "system": "AUT-6:authority|AUT-2.1"}],
        "authorization_number": "AUT-6", "valid_from": "AUT-4:date", "valid_to": "AUT-5:date", "decided_at": "AUT-10:time",
        "disposition": "AUT-28:raw", "quantity": "AUT-8:number", "authorized_quantity": "AUT-9:number"}}', zone);
    told jsonb := coalesce(parts -> 'authorization', '{}');
    findings jsonb := coalesce(parts -> 'findings', '[]');
    asked numeric := told -> 'quantity';
    given numeric := told -> 'authorized_quantity';
BEGIN
    IF told ->> 'valid_to' < told ->> 'valid_from' THEN
        findings := findings || referral.hl7_finding('invalid_date', 'warning', 'authorization.valid_to', told ->> 'valid_to', 'AUT-5',
                                                     'ends before it starts');
        told := told - 'valid_to';
    END IF;
    RETURN jsonb_build_object('findings', findings, 'authorization',
        (told - '{quantity,authorized_quantity}'::text[]) || jsonb_build_object(
            'status', CASE WHEN NOT told ? 'authorization_number' AND given IS NULL THEN 'requested' ELSE 'decided' END,
            'items', jsonb_build_array((told - '{identifiers,decided_at,disposition}'::text[]) || jsonb_strip_nulls(jsonb_build_object('sequence', 1,
                'code', procedure -> 'code', 'code_system', procedure -> 'system', 'display', procedure -> 'display',
                'review_action', CASE WHEN given = 0 THEN 'A3' WHEN given < asked THEN 'A2'
                                      WHEN told ? 'authorization_number' OR given > 0 THEN 'A1' END)))));
END $$;
COMMENT ON FUNCTION referral.hl7_authorization(jsonb, jsonb, text) IS
'What a parsed AUT says, about a procedure when it follows one: {"authorization": ..., "findings": [...]}.';

CREATE FUNCTION referral.hl7_document(obx jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pointer boolean := referral.hl7_text(obx, 'OBX-2') = 'RP';
BEGIN
    RETURN jsonb_build_object('type', 'attachment',
               'status', CASE WHEN referral.hl7_text(obx, 'OBX-11') IN ('D', 'W') THEN 'entered-in-error' ELSE 'current' END)
        || CASE WHEN pointer THEN referral.hl7_fill(obx, '{"title": "OBX-3.2|OBX-3.1", "url": "OBX-5.1"}')
                ELSE referral.hl7_fill(obx, '{"title": "OBX-3.2|OBX-3.1", "content": "OBX-5.5"}') END
        || jsonb_strip_nulls(jsonb_build_object('content_type', CASE WHEN pointer
               THEN referral.hl7_content_type(referral.hl7_text(obx, 'OBX-5.3'), referral.hl7_text(obx, 'OBX-5.4'))
               ELSE referral.hl7_content_type(referral.hl7_text(obx, 'OBX-5.2'), referral.hl7_text(obx, 'OBX-5.3')) END));
END $$;
COMMENT ON FUNCTION referral.hl7_document(jsonb) IS
'The document that a parsed OBX of type ED or RP carries or points to.';
