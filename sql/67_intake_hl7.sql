-- HL7 v2 in canonical words: what the fields and segments of a parsed message say. 67_intake_hl7_message.sql makes cases of it.

-- values: every one is null for what is absent, empty or an explicit null ("") of HL7

CREATE FUNCTION referral.hl7_text(segment jsonb, path text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(nullif(btrim(referral.hl7_get(segment, path)), ''), '""');
COMMENT ON FUNCTION referral.hl7_text(jsonb, text) IS
'The text at a path of a parsed message or segment (see hl7_get()), without blanks around it. Null for null, and for what is absent, empty or HL7''s explicit null. RF020 for a malformed path.';

CREATE FUNCTION referral.hl7_integer(segment jsonb, path text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN referral.hl7_text(segment, path) ~ '^[0-9]{1,9}$' THEN referral.hl7_text(segment, path)::integer END;
COMMENT ON FUNCTION referral.hl7_integer(jsonb, text) IS
'The whole number at a path of a parsed message or segment; null when there is none, RF020 for a malformed path.';

CREATE FUNCTION referral.hl7_number(segment jsonb, path text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN referral.hl7_text(segment, path) ~ '^[0-9]{1,12}(\.[0-9]{1,6})?$' THEN referral.hl7_text(segment, path)::numeric END;
COMMENT ON FUNCTION referral.hl7_number(jsonb, text) IS
'The number at a path of a parsed message or segment; null when there is none, RF020 for a malformed path.';

CREATE FUNCTION referral.hl7_day(segment jsonb, path text) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.hl7_date(referral.hl7_text(segment, path));
COMMENT ON FUNCTION referral.hl7_day(jsonb, text) IS
'The date at a path of a parsed message or segment; null when there is none, RF020 for a malformed path.';

CREATE FUNCTION referral.hl7_time(segment jsonb, path text, zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.hl7_timestamp(referral.hl7_text(segment, path), zone);
COMMENT ON FUNCTION referral.hl7_time(jsonb, text, text) IS
'The time at a path of a parsed message or segment, in the zone where it names none; null when there is none, RF020 for a malformed path or an unknown zone.';

CREATE FUNCTION referral.hl7_repetitions(segment jsonb, field text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(jsonb_array_length(segment -> field), 0);
COMMENT ON FUNCTION referral.hl7_repetitions(jsonb, text) IS
'How many repetitions a field, named by its number, has in a parsed segment; 0 when it is absent. An error of PostgreSQL for what is no parsed segment.';

CREATE FUNCTION referral.hl7_finding(code text, severity text, attribute text, value text, place text, detail text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('code', code, 'severity', severity, 'attribute', attribute,
    'value', value, 'position', place, 'detail', detail)));
COMMENT ON FUNCTION referral.hl7_finding(text, text, text, text, text, text) IS
'An array of one finding of a case: code, severity (info, warning, error), the canonical attribute, the value as sent, where it stood, and what is wrong without naming content. Null parts are left out.';

CREATE FUNCTION referral.hl7_bad_date(segment jsonb, path text, attribute text, severity text DEFAULT 'warning') RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN referral.hl7_text(segment, path) IS NOT NULL AND referral.hl7_date(referral.hl7_text(segment, path)) IS NULL
    THEN referral.hl7_finding('invalid_date', severity, attribute, referral.hl7_text(segment, path), path, 'no date of the calendar')
    ELSE '[]'::jsonb END;
COMMENT ON FUNCTION referral.hl7_bad_date(jsonb, text, text, text) IS
'The finding invalid_date, in an array, when what stands at the path is no date; else an empty array.';

CREATE FUNCTION referral.hl7_bad_time(segment jsonb, path text, attribute text, severity text DEFAULT 'warning') RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN referral.hl7_text(segment, path) IS NOT NULL AND referral.hl7_timestamp(referral.hl7_text(segment, path)) IS NULL
    THEN referral.hl7_finding('invalid_time', severity, attribute, referral.hl7_text(segment, path), path, 'no time of the calendar')
    ELSE '[]'::jsonb END;
COMMENT ON FUNCTION referral.hl7_bad_time(jsonb, text, text, text) IS
'The finding invalid_time, in an array, when what stands at the path is no time; else an empty array.';

CREATE FUNCTION referral.hl7_filled(object jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(jsonb_strip_nulls(object), '{}'::jsonb);
COMMENT ON FUNCTION referral.hl7_filled(jsonb) IS 'The object without its null members; null when nothing is left.';

-- codes of HL7 in canonical words

CREATE FUNCTION referral.hl7_code_system(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE upper(name)
    WHEN 'I10' THEN 'http://hl7.org/fhir/sid/icd-10-cm' WHEN 'I10C' THEN 'http://hl7.org/fhir/sid/icd-10-cm'
    WHEN 'ICD10' THEN 'http://hl7.org/fhir/sid/icd-10-cm' WHEN 'ICD10CM' THEN 'http://hl7.org/fhir/sid/icd-10-cm'
    WHEN 'ICD-10-CM' THEN 'http://hl7.org/fhir/sid/icd-10-cm' WHEN 'ICD-10' THEN 'http://hl7.org/fhir/sid/icd-10-cm'
    WHEN 'I9' THEN 'http://hl7.org/fhir/sid/icd-9-cm' WHEN 'I9C' THEN 'http://hl7.org/fhir/sid/icd-9-cm'
    WHEN 'I9CDX' THEN 'http://hl7.org/fhir/sid/icd-9-cm' WHEN 'ICD9' THEN 'http://hl7.org/fhir/sid/icd-9-cm'
    WHEN 'ICD9CM' THEN 'http://hl7.org/fhir/sid/icd-9-cm' WHEN 'ICD-9-CM' THEN 'http://hl7.org/fhir/sid/icd-9-cm'
    WHEN 'SCT' THEN 'http://snomed.info/sct' WHEN 'SNOMED' THEN 'http://snomed.info/sct'
    WHEN 'SNOMEDCT' THEN 'http://snomed.info/sct' WHEN 'SNOMED-CT' THEN 'http://snomed.info/sct'
    WHEN 'LN' THEN 'http://loinc.org' WHEN 'LOINC' THEN 'http://loinc.org'
    WHEN 'C4' THEN 'http://www.ama-assn.org/go/cpt' WHEN 'CPT' THEN 'http://www.ama-assn.org/go/cpt'
    WHEN 'CPT4' THEN 'http://www.ama-assn.org/go/cpt' WHEN 'CPT-4' THEN 'http://www.ama-assn.org/go/cpt'
    ELSE name END;
COMMENT ON FUNCTION referral.hl7_code_system(text) IS
'The URI of a coding system of HL7 table 0396 (I10, I9C, SCT, LN, C4 and their other spellings); others as they are. Null for null.';

CREATE FUNCTION referral.hl7_urgency(code text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE upper(code)
    WHEN 'S' THEN 'stat' WHEN 'STAT' THEN 'stat' WHEN 'E' THEN 'stat'
    WHEN 'A' THEN 'asap' WHEN 'ASAP' THEN 'asap'
    WHEN 'U' THEN 'urgent' WHEN 'URGENT' THEN 'urgent' WHEN 'UR' THEN 'urgent' WHEN 'T' THEN 'urgent'
    WHEN 'R' THEN 'routine' WHEN 'ROUTINE' THEN 'routine' WHEN 'RO' THEN 'routine' WHEN 'N' THEN 'routine' END;
COMMENT ON FUNCTION referral.hl7_urgency(text) IS
'The urgency for a priority of HL7 tables 0280 and 0485: routine, urgent, asap or stat; null for another code.';

CREATE FUNCTION referral.hl7_order_state(status text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE upper(status) WHEN 'CA' THEN 'cancelled' WHEN 'DC' THEN 'cancelled' WHEN 'CM' THEN 'completed'
    WHEN 'HD' THEN 'on_hold' WHEN 'SC' THEN 'scheduled' END;
COMMENT ON FUNCTION referral.hl7_order_state(text) IS
'The state for an order status of HL7 table 0038 (ORC-5); null for one that names none (A, ER, IP, RP).';

CREATE FUNCTION referral.hl7_appointment_status(status text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE lower(status)
    WHEN 'booked' THEN 'booked' WHEN 'overbook' THEN 'booked' WHEN 'pending' THEN 'pending' WHEN 'waitlist' THEN 'waitlist'
    WHEN 'started' THEN 'arrived' WHEN 'arrived' THEN 'arrived' WHEN 'complete' THEN 'fulfilled' WHEN 'completed' THEN 'fulfilled'
    WHEN 'cancelled' THEN 'cancelled' WHEN 'canceled' THEN 'cancelled' WHEN 'dc' THEN 'cancelled'
    WHEN 'noshow' THEN 'noshow' WHEN 'no-show' THEN 'noshow' WHEN 'deleted' THEN 'entered-in-error' END;
COMMENT ON FUNCTION referral.hl7_appointment_status(text) IS
'The FHIR status of an appointment for a filler status code of HL7 table 0278 (SCH-25); null for another code.';

CREATE FUNCTION referral.hl7_relationship(code text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE upper(code)
    WHEN 'SEL' THEN 'self' WHEN 'SELF' THEN 'self' WHEN 'SLF' THEN 'self' WHEN '18' THEN 'self'
    WHEN 'SPO' THEN 'spouse' WHEN 'SPOUSE' THEN 'spouse' WHEN '01' THEN 'spouse' WHEN '1' THEN 'spouse'
    WHEN 'CHD' THEN 'child' WHEN 'CHILD' THEN 'child' WHEN 'NCH' THEN 'child' WHEN 'SCH' THEN 'child'
    WHEN 'FCH' THEN 'child' WHEN '19' THEN 'child'
    WHEN 'PAR' THEN 'parent' WHEN 'FTH' THEN 'parent' WHEN 'MTH' THEN 'parent' WHEN 'DOM' THEN 'common'
    ELSE 'other' END;
COMMENT ON FUNCTION referral.hl7_relationship(text) IS
'The FHIR relationship to the subscriber for a code of HL7 table 0063 or of X12: self, spouse, child, parent, common or other.';

-- compound values

CREATE FUNCTION referral.hl7_identifier_system(space text, universal text, universal_type text, type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN type IN ('SS', 'SSN') OR space = 'USSSA' OR universal = '2.16.840.1.113883.4.1' THEN 'http://hl7.org/fhir/sid/us-ssn'
    WHEN type = 'NPI' OR universal = '2.16.840.1.113883.4.6' THEN 'http://hl7.org/fhir/sid/us-npi'
    WHEN space IS NULL AND universal_type = 'ISO' THEN 'urn:oid:' || universal
    ELSE coalesce(space, universal) END;
COMMENT ON FUNCTION referral.hl7_identifier_system(text, text, text, text) IS
'The system of an identifier by its assigning authority (namespace, universal id and its type) and its type of HL7 table 0203: the FHIR URI for US social security numbers and NPIs, else the namespace, else the universal id (urn:oid: for ISO). Null when nothing tells.';

CREATE FUNCTION referral.hl7_id(segment jsonb, path text, type text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id text := referral.hl7_text(segment, path || '.1.1');
    kind text;
    space text;
    facility text;
BEGIN
    IF id IS NULL THEN
        RETURN NULL;
    END IF;
    kind := referral.hl7_text(segment, path || '.5.1');
    facility := referral.hl7_text(segment, path || '.6.1');
    -- the name of a facility in the place of the type
    IF length(kind) > 6 OR kind ~ '[^A-Za-z0-9]' THEN
        facility := coalesce(facility, kind);
        kind := NULL;
    END IF;
    space := coalesce(referral.hl7_text(segment, path || '.4.1'),
                      CASE WHEN referral.hl7_text(segment, path || '.4.2') IS NULL THEN facility END);
    kind := coalesce(kind, CASE WHEN space = 'USSSA' THEN 'SS' END, type);
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'system', referral.hl7_identifier_system(space, referral.hl7_text(segment, path || '.4.2'),
                                                 referral.hl7_text(segment, path || '.4.3'), kind),
        'value', id, 'type', kind, 'assigner', coalesce(facility, space)));
END $$;
COMMENT ON FUNCTION referral.hl7_id(jsonb, text, text) IS
'The identifier (CX) at a path of a parsed segment: {"system", "value", "type", "assigner"}; type, when given, stands for one that the message leaves out. A type that is no code of table 0203 but a name is taken for the assigner. Null when there is no value.';

CREATE FUNCTION referral.hl7_ids(segment jsonb, field text, type text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids jsonb := '[]';
    id jsonb;
BEGIN
    FOR i IN 1 .. referral.hl7_repetitions(segment, field) LOOP
        id := referral.hl7_id(segment, format('%s-%s(%s)', segment ->> 'segment', field, i), type);
        IF id IS NOT NULL AND NOT ids @> jsonb_build_array(id) THEN
            ids := ids || id;
        END IF;
    END LOOP;
    RETURN ids;
END $$;
COMMENT ON FUNCTION referral.hl7_ids(jsonb, text, text) IS
'The identifiers (CX) of all repetitions of a field of a parsed segment as an array, each as hl7_id() gives it; an empty array when there are none.';

CREATE FUNCTION referral.hl7_code(segment jsonb, path text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    code text := referral.hl7_text(segment, path || '.1.1');
    display text := referral.hl7_text(segment, path || '.2.1');
BEGIN
    IF code IS NULL AND referral.hl7_text(segment, path || '.4.1') IS NOT NULL THEN
        RETURN jsonb_strip_nulls(jsonb_build_object(
            'system', referral.hl7_code_system(referral.hl7_text(segment, path || '.6.1')),
            'code', referral.hl7_text(segment, path || '.4.1'),
            'display', coalesce(referral.hl7_text(segment, path || '.5.1'), display)));
    END IF;
    display := coalesce(display, referral.hl7_text(segment, path || '.9.1'));
    IF code IS NULL AND display IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('code', code, 'display', display,
        'system', CASE WHEN code IS NOT NULL THEN referral.hl7_code_system(referral.hl7_text(segment, path || '.3.1')) END));
END $$;
COMMENT ON FUNCTION referral.hl7_code(jsonb, text) IS
'The coded value (CE, CWE) at a path of a parsed segment: {"system", "code", "display"}; the alternate code when there is no first one, the text alone when there is no code. Null when there is nothing.';

CREATE FUNCTION referral.hl7_phone(segment jsonb, path text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN coalesce(referral.hl7_text(segment, path || '.3'), 'PH') NOT IN ('FX', 'BP', 'MD') THEN
    nullif(regexp_replace(coalesce(referral.hl7_text(segment, path || '.1'),
        nullif(concat_ws('-', referral.hl7_text(segment, path || '.6'), referral.hl7_text(segment, path || '.7')), ''),
        referral.hl7_text(segment, path || '.12')), '^.*@.*$', ''), '') END;
COMMENT ON FUNCTION referral.hl7_phone(jsonb, text) IS
'The telephone number (XTN) at a path of a parsed segment, whether written as one or in parts; null when there is none, for fax, pager and modem, and for an e-mail address.';

CREATE FUNCTION referral.hl7_email(segment jsonb, path text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN position('@' IN referral.hl7_text(segment, path || '.4')) > 1 THEN referral.hl7_text(segment, path || '.4')
            WHEN position('@' IN referral.hl7_text(segment, path || '.1')) > 1 THEN referral.hl7_text(segment, path || '.1')
            WHEN position('@' IN referral.hl7_text(segment, path || '.12')) > 1 THEN referral.hl7_text(segment, path || '.12') END;
COMMENT ON FUNCTION referral.hl7_email(jsonb, text) IS
'The e-mail address (XTN) at a path of a parsed segment; null when there is none.';

CREATE FUNCTION referral.hl7_address(segment jsonb, path text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'address', nullif(concat_ws(' ', referral.hl7_text(segment, path || '.1.1'), referral.hl7_text(segment, path || '.1.2'),
                                    referral.hl7_text(segment, path || '.1.3'), referral.hl7_text(segment, path || '.2.1')), ''),
        'city', referral.hl7_text(segment, path || '.3.1'), 'state', referral.hl7_text(segment, path || '.4.1'),
        'postal_code', referral.hl7_text(segment, path || '.5.1')));
END $$;
COMMENT ON FUNCTION referral.hl7_address(jsonb, text) IS
'The address (XAD) at a path of a parsed segment: {"address", "city", "state", "postal_code"}, without what is absent.';

CREATE FUNCTION referral.hl7_person(segment jsonb, path text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.hl7_text(segment, path || '.1.1');
    family text := referral.hl7_text(segment, path || '.2.1');
    given text := referral.hl7_text(segment, path || '.3.1');
    kind text := referral.hl7_text(segment, path || '.13.1');
    space text := referral.hl7_text(segment, path || '.9.1');
BEGIN
    -- a name in the place of the number
    IF number !~ '[0-9]' AND family IS NULL THEN
        family := number;
        number := NULL;
    END IF;
    RETURN referral.hl7_filled(jsonb_build_object(
        'identifiers', CASE WHEN number IS NOT NULL THEN jsonb_build_array(jsonb_build_object(
            'system', referral.hl7_identifier_system(space, referral.hl7_text(segment, path || '.9.2'),
                                                     referral.hl7_text(segment, path || '.9.3'), kind),
            'value', number, 'type', kind, 'assigner', space)) END,
        'name', nullif(concat_ws(' ', given, family), ''), 'family', family, 'given', given));
END $$;
COMMENT ON FUNCTION referral.hl7_person(jsonb, text) IS
'The person (XCN) at a path of a parsed segment: {"identifiers", "name", "family", "given"}, without what is absent; null when there is nothing.';

-- segments: each gives the part of a case that it tells, with its findings

CREATE FUNCTION referral.hl7_patient(pid jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    family text := referral.hl7_text(pid, 'PID-5.1.1');
    given text := referral.hl7_text(pid, 'PID-5.2.1');
    sex text := referral.hl7_text(pid, 'PID-8.1');
    ids jsonb := referral.hl7_ids(pid, '3') || referral.hl7_ids(pid, '2') || referral.hl7_ids(pid, '4');
    licence text := referral.hl7_text(pid, 'PID-20.1');
    name jsonb := referral.hl7_other_names(pid, family, given);
    contact jsonb := referral.hl7_contact(pid);
    findings jsonb := referral.hl7_bad_date(pid, 'PID-7.1', 'patient.birth_date');
    gender text := CASE upper(sex) WHEN 'M' THEN 'male' WHEN 'F' THEN 'female' WHEN 'U' THEN 'unknown' WHEN 'O' THEN 'other'
        WHEN 'A' THEN 'other' WHEN 'N' THEN 'other' WHEN 'X' THEN 'other' WHEN 'MALE' THEN 'male' WHEN 'FEMALE' THEN 'female' END;
BEGIN
    IF referral.hl7_text(pid, 'PID-19.1') IS NOT NULL THEN
        ids := ids || jsonb_build_object('system', 'http://hl7.org/fhir/sid/us-ssn', 'type', 'SS',
                                         'value', referral.hl7_text(pid, 'PID-19.1'));
    END IF;
    -- some senders put a word before the number
    IF licence !~ '[0-9]' THEN
        licence := referral.hl7_text(pid, 'PID-20.2');
    END IF;
    IF licence ~ '[0-9]' THEN
        ids := ids || jsonb_strip_nulls(jsonb_build_object('system', 'DL', 'type', 'DL', 'value', licence, 'assigner',
            CASE WHEN referral.hl7_text(pid, 'PID-20.2') !~ '[0-9]' THEN referral.hl7_text(pid, 'PID-20.2') END));
    END IF;
    IF family IS NULL AND given IS NULL THEN
        findings := findings || referral.hl7_finding('patient_unnamed', 'warning', 'patient.family', NULL, 'PID-5', 'the patient has no name');
    END IF;
    IF sex IS NOT NULL AND gender IS NULL THEN
        findings := findings || referral.hl7_finding('invalid_code', 'info', 'patient.sex', sex, 'PID-8', 'no code of table 0001');
    END IF;
    RETURN jsonb_build_object('findings', findings, 'patient', jsonb_strip_nulls(jsonb_build_object(
        'identifiers', ids, 'family', family, 'given', given, 'middle', referral.hl7_text(pid, 'PID-5.3.1'),
        'suffix', referral.hl7_text(pid, 'PID-5.4.1'), 'birth_date', referral.hl7_day(pid, 'PID-7.1'), 'sex', gender,
        'language', lower(referral.hl7_text(pid, 'PID-15.1')), 'mother_maiden_name', referral.hl7_text(pid, 'PID-6.1.1'),
        'multiple_birth', CASE referral.hl7_text(pid, 'PID-24.1') WHEN 'Y' THEN true WHEN 'N' THEN false END,
        'birth_order', referral.hl7_integer(pid, 'PID-25.1'),
        'deceased', CASE WHEN referral.hl7_text(pid, 'PID-30.1') = 'Y' OR referral.hl7_text(pid, 'PID-29.1') IS NOT NULL THEN true
                         WHEN referral.hl7_text(pid, 'PID-30.1') = 'N' THEN false END))
        || name || contact || referral.hl7_address(pid, 'PID-11'));
END $$;
COMMENT ON FUNCTION referral.hl7_patient(jsonb) IS
'What a parsed PID says: {"patient": ..., "findings": [...]}. See docs/intake_hl7.md for the fields.';

CREATE FUNCTION referral.hl7_other_names(pid jsonb, family text, given text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    families text[] := '{}';
    alias text[] := '{}';
    names text[] := '{}';
    other_family text;
    other_given text;
    path text;
BEGIN
    FOR i IN 2 .. referral.hl7_repetitions(pid, '5') LOOP
        names := names || format('PID-5(%s)', i);
    END LOOP;
    FOR i IN 1 .. referral.hl7_repetitions(pid, '9') LOOP
        names := names || format('PID-9(%s)', i);
    END LOOP;
    FOREACH path IN ARRAY names LOOP
        other_family := referral.hl7_text(pid, path || '.1.1');
        other_given := referral.hl7_text(pid, path || '.2.1');
        IF other_family <> coalesce(family, '') AND other_family <> ALL (families) THEN
            families := families || other_family;
        END IF;
        IF other_given <> coalesce(given, '') AND other_given <> ALL (alias) THEN
            alias := alias || other_given;
        END IF;
    END LOOP;
    other_family := referral.hl7_text(pid, 'PID-5.1.3');
    IF other_family <> coalesce(family, '') AND other_family <> ALL (families) THEN
        families := families || other_family;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('previous_family', nullif(families, '{}'), 'alias', nullif(alias, '{}')));
END $$;
COMMENT ON FUNCTION referral.hl7_other_names(jsonb, text, text) IS
'The names of a parsed PID beyond the first: {"previous_family": [...], "alias": [...]} of further PID-5 and of PID-9, each once.';

CREATE FUNCTION referral.hl7_contact(pid jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    field text;
    path text;
    number text;
    phones text[] := '{}';
    email text;
BEGIN
    FOREACH field IN ARRAY ARRAY['13', '14', '40'] LOOP
        FOR i IN 1 .. referral.hl7_repetitions(pid, field) LOOP
            path := format('PID-%s(%s)', field, i);
            email := coalesce(email, referral.hl7_email(pid, path));
            number := referral.hl7_phone(pid, path);
            IF number <> ALL (phones) THEN
                phones := phones || number;
            END IF;
        END LOOP;
    END LOOP;
    RETURN jsonb_strip_nulls(jsonb_build_object('email', email, 'phone', phones[1], 'other_phones', nullif(phones[2:], '{}')));
END $$;
COMMENT ON FUNCTION referral.hl7_contact(jsonb) IS
'Telephone numbers and e-mail address of a parsed PID (PID-13, PID-14, PID-40): {"phone", "other_phones", "email"}, without what is absent.';

CREATE FUNCTION referral.hl7_coverage(in1 jsonb, in2 jsonb, ordinal integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    starts date := referral.hl7_day(in1, 'IN1-12.1');
    ends date := referral.hl7_day(in1, 'IN1-13.1');
    payer jsonb := referral.hl7_filled(jsonb_build_object('identifier', referral.hl7_text(in1, 'IN1-3.1'),
                                                          'name', referral.hl7_text(in1, 'IN1-4.1')));
    ids jsonb := referral.hl7_ids(in1, '49', 'MB') || referral.hl7_ids(in2, '61', 'MB');
    findings jsonb := referral.hl7_bad_date(in1, 'IN1-12.1', 'coverage.start') || referral.hl7_bad_date(in1, 'IN1-13.1', 'coverage.end');
BEGIN
    IF ends < starts THEN
        findings := findings || referral.hl7_finding('invalid_date', 'warning', 'coverage.end', referral.hl7_text(in1, 'IN1-13.1'),
                                                     'IN1-13', 'ends before it starts');
        ends := NULL;
    END IF;
    IF payer IS NULL THEN
        findings := findings || referral.hl7_finding('missing', 'warning', 'coverage.payer', NULL, format('IN1(%s)-3', ordinal),
                                                     'insurance without a payer');
    END IF;
    RETURN jsonb_build_object('findings', findings, 'coverage', jsonb_strip_nulls(jsonb_build_object(
        'priority', coalesce(nullif(referral.hl7_integer(in1, 'IN1-22.1'), 0), nullif(referral.hl7_integer(in1, 'IN1-1.1'), 0), ordinal),
        'payer', payer,
        'plan', referral.hl7_filled(jsonb_build_object('identifier', referral.hl7_text(in1, 'IN1-2.1'),
            'name', coalesce(referral.hl7_text(in1, 'IN1-2.2'), referral.hl7_text(in1, 'IN1-9.1')),
            'kind', referral.hl7_text(in1, 'IN1-15.1'))),
        'subscriber_id', coalesce(referral.hl7_text(in1, 'IN1-36.1'), referral.hl7_text(in1, 'IN1-49.1'),
                                  referral.hl7_text(in2, 'IN2-61.1')),
        'group_number', referral.hl7_text(in1, 'IN1-8.1'),
        'relationship', CASE WHEN referral.hl7_text(in1, 'IN1-17.1') IS NOT NULL
                             THEN referral.hl7_relationship(referral.hl7_text(in1, 'IN1-17.1')) END,
        'start', starts, 'end', ends, 'identifiers', nullif(ids, '[]'))));
END $$;
COMMENT ON FUNCTION referral.hl7_coverage(jsonb, jsonb, integer) IS
'What a parsed IN1, with its IN2 when there is one, says as the ordinal-th insurance: {"coverage": ..., "findings": [...]}.';

CREATE FUNCTION referral.hl7_provider(prd jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids jsonb := '[]';
    family text := referral.hl7_text(prd, 'PRD-2.1.1');
    given text := referral.hl7_text(prd, 'PRD-2.2.1');
    kind text;
    organization jsonb;
BEGIN
    FOR i IN 1 .. referral.hl7_repetitions(prd, '7') LOOP
        IF referral.hl7_text(prd, format('PRD-7(%s).1', i)) IS NOT NULL THEN
            kind := referral.hl7_text(prd, format('PRD-7(%s).2', i));
            ids := ids || jsonb_strip_nulls(jsonb_build_object('system', referral.hl7_identifier_system(NULL, NULL, NULL, kind),
                'value', referral.hl7_text(prd, format('PRD-7(%s).1', i)), 'type', kind,
                'assigner', referral.hl7_text(prd, format('PRD-7(%s).3', i))));
        END IF;
    END LOOP;
    organization := referral.hl7_organization(prd, 'PRD-10');
    IF organization IS NOT NULL THEN
        organization := organization || referral.hl7_address(prd, 'PRD-11')
            || jsonb_strip_nulls(jsonb_build_object('phone', referral.hl7_phone(prd, 'PRD-13')));
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('organization', organization,
        'person', referral.hl7_filled(jsonb_build_object('identifiers', nullif(ids, '[]'),
            'name', nullif(concat_ws(' ', given, family), ''), 'family', family, 'given', given,
            'phone', referral.hl7_phone(prd, 'PRD-5'), 'organization', organization))));
END $$;
COMMENT ON FUNCTION referral.hl7_provider(jsonb) IS
'Who a parsed PRD names: {"person": ..., "organization": ...}, without what is absent.';

CREATE FUNCTION referral.hl7_organization(segment jsonb, path text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := coalesce(referral.hl7_text(segment, path || '.10.1'), referral.hl7_text(segment, path || '.3.1'));
    kind text := referral.hl7_text(segment, path || '.7.1');
    space text := referral.hl7_text(segment, path || '.6.1');
BEGIN
    RETURN referral.hl7_filled(jsonb_build_object('name', referral.hl7_text(segment, path || '.1'),
        'identifiers', CASE WHEN number IS NOT NULL THEN jsonb_build_array(jsonb_build_object(
            'system', referral.hl7_identifier_system(space, referral.hl7_text(segment, path || '.6.2'),
                                                     referral.hl7_text(segment, path || '.6.3'), kind),
            'value', number, 'type', kind, 'assigner', space)) END));
END $$;
COMMENT ON FUNCTION referral.hl7_organization(jsonb, text) IS
'The organisation (XON) at a path of a parsed segment: {"identifiers", "name"}; null when there is nothing.';

CREATE FUNCTION referral.hl7_visit(pv1 jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    visit jsonb := referral.hl7_id(pv1, 'PV1-19');
    class text := referral.hl7_text(pv1, 'PV1-2.1');
    ended timestamptz := referral.hl7_time(pv1, 'PV1-45.1', zone);
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object('kind', 'encounter',
        'status', CASE WHEN ended IS NULL THEN 'in-progress' ELSE 'finished' END,
        'class', CASE class WHEN 'I' THEN 'IMP' WHEN 'O' THEN 'AMB' WHEN 'E' THEN 'EMER' WHEN 'P' THEN 'PRENC' ELSE class END,
        'identifier', visit ->> 'value', 'identifier_system', visit ->> 'system',
        'started_at', referral.hl7_time(pv1, 'PV1-44.1', zone), 'ended_at', ended));
END $$;
COMMENT ON FUNCTION referral.hl7_visit(jsonb, text) IS
'The encounter that a parsed PV1 tells of; times without a zone are in the one given.';

CREATE FUNCTION referral.hl7_authorization(aut jsonb, procedure jsonb, zone text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.hl7_text(aut, 'AUT-6.1.1');
    asked numeric := referral.hl7_number(aut, 'AUT-8.1');
    given numeric := referral.hl7_number(aut, 'AUT-9.1');
    valid_from date := referral.hl7_day(aut, 'AUT-4.1');
    valid_to date := referral.hl7_day(aut, 'AUT-5.1');
    findings jsonb := referral.hl7_bad_date(aut, 'AUT-4.1', 'authorization.valid_from')
        || referral.hl7_bad_date(aut, 'AUT-5.1', 'authorization.valid_to');
BEGIN
    IF valid_to < valid_from THEN
        findings := findings || referral.hl7_finding('invalid_date', 'warning', 'authorization.valid_to',
                                                     referral.hl7_text(aut, 'AUT-5.1'), 'AUT-5', 'ends before it starts');
        valid_to := NULL;
    END IF;
    RETURN jsonb_build_object('findings', findings, 'authorization', jsonb_strip_nulls(jsonb_build_object(
        'identifiers', CASE WHEN number IS NOT NULL THEN jsonb_build_array(jsonb_build_object('value', number,
            'system', coalesce(referral.hl7_text(aut, 'AUT-6.2'), referral.hl7_text(aut, 'AUT-2.1')), 'type', 'AUTH')) END,
        'status', CASE WHEN number IS NULL AND given IS NULL THEN 'requested' ELSE 'decided' END,
        'authorization_number', number, 'valid_from', valid_from, 'valid_to', valid_to,
        'decided_at', referral.hl7_time(aut, 'AUT-10.1', zone), 'disposition', referral.hl7_text(aut, 'AUT-28'),
        'items', jsonb_build_array(jsonb_build_object('sequence', 1, 'code', procedure ->> 'code',
            'code_system', procedure ->> 'system', 'display', procedure ->> 'display',
            'quantity', asked, 'authorized_quantity', given, 'authorization_number', number,
            'valid_from', valid_from, 'valid_to', valid_to,
            'review_action', CASE WHEN given = 0 THEN 'A3' WHEN given < asked THEN 'A2'
                                  WHEN number IS NOT NULL OR given > 0 THEN 'A1' END)))));
END $$;
COMMENT ON FUNCTION referral.hl7_authorization(jsonb, jsonb, text) IS
'What a parsed AUT says, about a procedure when it follows one: {"authorization": ..., "findings": [...]}.';

CREATE FUNCTION referral.hl7_content_type(kind text, subtype text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN upper(subtype) = 'PDF' THEN 'application/pdf'
    WHEN subtype IS NULL THEN CASE upper(kind) WHEN 'TEXT' THEN 'text/plain' WHEN 'PDF' THEN 'application/pdf' END
    ELSE CASE upper(kind) WHEN 'IM' THEN 'image/' WHEN 'IMAGE' THEN 'image/' WHEN 'AU' THEN 'audio/' WHEN 'AUDIO' THEN 'audio/'
                          WHEN 'TEXT' THEN 'text/' WHEN 'MULTIPART' THEN 'multipart/' WHEN 'VIDEO' THEN 'video/'
                          ELSE 'application/' END || lower(subtype) END;
COMMENT ON FUNCTION referral.hl7_content_type(text, text) IS
'The MIME type for a type of data and a subtype of HL7 tables 0191 and 0291; null when neither tells.';

CREATE FUNCTION referral.hl7_document(obx jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    pointer boolean := referral.hl7_text(obx, 'OBX-2') = 'RP';
    title text := coalesce(referral.hl7_text(obx, 'OBX-3.2'), referral.hl7_text(obx, 'OBX-3.1'));
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object('type', 'attachment', 'title', title,
        'status', CASE referral.hl7_text(obx, 'OBX-11') WHEN 'D' THEN 'entered-in-error' WHEN 'W' THEN 'entered-in-error'
                  ELSE 'current' END,
        'content_type', CASE WHEN pointer
            THEN referral.hl7_content_type(referral.hl7_text(obx, 'OBX-5.3'), referral.hl7_text(obx, 'OBX-5.4'))
            ELSE referral.hl7_content_type(referral.hl7_text(obx, 'OBX-5.2'), referral.hl7_text(obx, 'OBX-5.3')) END,
        'url', CASE WHEN pointer THEN referral.hl7_text(obx, 'OBX-5.1') END,
        'content', CASE WHEN NOT pointer THEN referral.hl7_text(obx, 'OBX-5.5') END));
END $$;
COMMENT ON FUNCTION referral.hl7_document(jsonb) IS
'The document that a parsed OBX of type ED or RP carries or points to.';

CREATE FUNCTION referral.hl7_observation(obx jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce(referral.hl7_code(obx, 'OBX-3'), '{}') || jsonb_strip_nulls(jsonb_build_object(
        'value', referral.hl7_text(obx, 'OBX-5'), 'unit', referral.hl7_text(obx, 'OBX-6.1'),
        'status', referral.hl7_text(obx, 'OBX-11'), 'at', referral.hl7_text(obx, 'OBX-14')));
END $$;
COMMENT ON FUNCTION referral.hl7_observation(jsonb) IS
'What a parsed OBX observes, in few words: code, value as sent, unit, status, time as sent.';
