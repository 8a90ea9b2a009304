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
