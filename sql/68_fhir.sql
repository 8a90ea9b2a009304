-- fhir: the small readers. What a sender wrote may be of any type, so each takes any jsonb and answers null for what it
-- cannot use; referral.fhir_findings() tells the sender. Bodies are expressions, so the planner folds them in.

CREATE FUNCTION referral.fhir_text(value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(value) WHEN 'string' THEN nullif(btrim(value #>> '{}', E' \t\r\n'), '')
                                WHEN 'number' THEN value #>> '{}' END;
COMMENT ON FUNCTION referral.fhir_text(jsonb) IS
'The text of a FHIR primitive, trimmed; of a number too. Null for null, for an empty text, and for a value of another type.';

CREATE FUNCTION referral.fhir_first(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(value) WHEN 'array' THEN value -> 0 ELSE value END;
COMMENT ON FUNCTION referral.fhir_first(jsonb) IS 'The first of an array; a value that is none is its own first. Null for null and for an empty array.';

CREATE FUNCTION referral.fhir_list(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(value) WHEN 'array' THEN value
                                WHEN 'object' THEN jsonb_build_array(value)
                                WHEN 'string' THEN jsonb_build_array(value) ELSE '[]'::jsonb END;
COMMENT ON FUNCTION referral.fhir_list(jsonb) IS 'An array as it is, an object or a text as an array of one, anything else as an empty array; never null.';

CREATE FUNCTION referral.fhir_strip(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(jsonb_strip_nulls(value), '{}'::jsonb);
COMMENT ON FUNCTION referral.fhir_strip(jsonb) IS 'An object without its null members; null when nothing is left, and for null.';

CREATE FUNCTION referral.fhir_some(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(value, '[]'::jsonb);
COMMENT ON FUNCTION referral.fhir_some(jsonb) IS 'An array that has elements; null for an empty one and for null.';

CREATE FUNCTION referral.fhir_boolean(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE value #>> '{}' WHEN 'true' THEN true WHEN 'false' THEN false END;
COMMENT ON FUNCTION referral.fhir_boolean(jsonb) IS 'A boolean, also one written as text. Null for anything else.';

CREATE FUNCTION referral.fhir_number(value jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(value) IN ('number', 'string') AND value #>> '{}' ~ '^-?[0-9]{1,15}(\.[0-9]{1,9})?$'
            THEN (value #>> '{}')::numeric END;
COMMENT ON FUNCTION referral.fhir_number(jsonb) IS
'A decimal number of up to 15 digits before and 9 after the point, also one written as text. Null for anything else.';

CREATE FUNCTION referral.fhir_date(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF value !~ '^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])($|T)' THEN
        RETURN NULL;
    ELSIF substr(value, 9, 2)::int > extract(day FROM make_date(left(value, 4)::int, substr(value, 6, 2)::int, 1)
                                                       + interval '1 month' - interval '1 day') THEN
        RETURN NULL;
    END IF;
    RETURN left(value, 10);
END $$;
COMMENT ON FUNCTION referral.fhir_date(text) IS
'The day of a FHIR date or dateTime, as 2026-11-02. Null for null, for a year or a month alone (it is no day), and for what is no day of the calendar.';

CREATE FUNCTION referral.fhir_time(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.fhir_date(replace(value, ' ', 'T')) IS NULL THEN
        RETURN NULL;
    ELSIF value ~ '^.{10}$' THEN
        RETURN value || 'T00:00:00Z';
    ELSIF value !~ '^.{10}[T ]([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)(\.[0-9]{1,12})?)?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?$' THEN
        RETURN NULL;
    END IF;
    RETURN CASE WHEN value ~ '(Z|[+-][0-9]{2}:[0-9]{2})$' THEN value ELSE value || 'Z' END;
END $$;
COMMENT ON FUNCTION referral.fhir_time(text) IS
'A FHIR dateTime or instant as ISO 8601 with its zone. A day alone is its start in UTC, a time without a zone is taken as UTC. Null for null and for what is no time.';

CREATE FUNCTION referral.fhir_code_system(system text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE system
    WHEN 'urn:oid:2.16.840.1.113883.6.90' THEN 'http://hl7.org/fhir/sid/icd-10-cm'
    WHEN 'urn:oid:2.16.840.1.113883.6.103' THEN 'http://hl7.org/fhir/sid/icd-9-cm'
    WHEN 'http://hl7.org/fhir/sid/icd-9-cm/diagnosis' THEN 'http://hl7.org/fhir/sid/icd-9-cm'
    WHEN 'urn:oid:2.16.840.1.113883.6.96' THEN 'http://snomed.info/sct'
    WHEN 'urn:oid:2.16.840.1.113883.6.1' THEN 'http://loinc.org'
    WHEN 'urn:oid:2.16.840.1.113883.6.12' THEN 'http://www.ama-assn.org/go/cpt'
    ELSE system END;
COMMENT ON FUNCTION referral.fhir_code_system(text) IS 'The URI by which the model knows a code system that may be named by its OID; others as they are. Null for null.';

CREATE FUNCTION referral.fhir_coding(coding jsonb, display text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.fhir_strip(jsonb_build_object(
    'system', referral.fhir_code_system(referral.fhir_text(coding -> 'system')),
    'code', referral.fhir_text(coding -> 'code'),
    'display', coalesce(referral.fhir_text(coding -> 'display'), display)));
COMMENT ON FUNCTION referral.fhir_coding(jsonb, text) IS
'A FHIR Coding as system, code and display; display is what to show when it has none. Null when nothing can be read.';

CREATE FUNCTION referral.fhir_concept(concept jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    codings jsonb := referral.fhir_list(concept -> 'coding');
    chosen jsonb := codings -> 0;
BEGIN
    -- the one that a person chose, else the first
    IF jsonb_array_length(codings) > 1 AND chosen -> 'userSelected' IS DISTINCT FROM 'true' THEN
        chosen := coalesce(jsonb_path_query_first(codings, '$[*] ? (@.userSelected == true)'), chosen);
    END IF;
    RETURN referral.fhir_coding(chosen, referral.fhir_text(concept -> 'text'));
END $$;
COMMENT ON FUNCTION referral.fhir_concept(jsonb) IS
'A FHIR CodeableConcept as one code: the coding a person selected, else the first; its text is shown where the coding has no display. Null for null and when nothing can be read.';

CREATE FUNCTION referral.fhir_concept_codes(concepts jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := referral.fhir_list(concepts);
    codes jsonb := '[]';
    code jsonb;
BEGIN
    FOR i IN 0 .. jsonb_array_length(list) - 1 LOOP
        code := referral.fhir_concept(list -> i);
        IF code IS NOT NULL THEN
            codes := codes || code;
        END IF;
    END LOOP;
    RETURN nullif(codes, '[]');
END $$;
COMMENT ON FUNCTION referral.fhir_concept_codes(jsonb) IS 'Each of a list of CodeableConcepts as fhir_concept() reads it, as an array. Null when there is none.';

CREATE FUNCTION referral.fhir_concept_name(concept jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    code jsonb := referral.fhir_concept(referral.fhir_first(concept));
BEGIN
    RETURN coalesce(code ->> 'code', code ->> 'display');
END $$;
COMMENT ON FUNCTION referral.fhir_concept_name(jsonb) IS 'The code of a CodeableConcept, or of the first of several; its text when it has no code. Null for null and when nothing can be read.';

CREATE FUNCTION referral.fhir_identifier_type(identifier jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(
    referral.fhir_text(identifier #> '{type,coding,0,code}'),
    CASE referral.fhir_text(identifier -> 'system')
        WHEN 'http://hl7.org/fhir/sid/us-ssn' THEN 'SS' WHEN 'urn:oid:2.16.840.1.113883.4.1' THEN 'SS'
        WHEN 'http://hl7.org/fhir/sid/us-npi' THEN 'NPI' WHEN 'urn:oid:2.16.840.1.113883.4.6' THEN 'NPI'
        WHEN 'http://hl7.org/fhir/sid/us-medicare' THEN 'MC' WHEN 'http://hl7.org/fhir/sid/us-mbi' THEN 'MC' END,
    referral.fhir_text(identifier #> '{type,text}'));
COMMENT ON FUNCTION referral.fhir_identifier_type(jsonb) IS
'The type of a FHIR Identifier, a code of HL7 table 0203 as far as the sender uses them: as it is told, or known by the system. Null when it cannot be told.';

CREATE FUNCTION referral.fhir_identifier(identifier jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN referral.fhir_text(identifier -> 'value') IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
    'system', referral.fhir_text(identifier -> 'system'),
    'value', referral.fhir_text(identifier -> 'value'),
    'type', referral.fhir_identifier_type(identifier),
    'assigner', coalesce(referral.fhir_text(identifier #> '{assigner,display}'),
                         referral.fhir_text(identifier #> '{assigner,identifier,value}')))) END;
COMMENT ON FUNCTION referral.fhir_identifier(jsonb) IS 'A FHIR Identifier as system, value, type and assigner. Null when it has no value.';

CREATE FUNCTION referral.fhir_identifiers(resource jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known jsonb := '[]';
    identifier jsonb;
BEGIN
    FOR i IN 0 .. least(jsonb_array_length(referral.fhir_list(resource -> 'identifier')), 50) - 1 LOOP
        identifier := referral.fhir_list(resource -> 'identifier') -> i;
        IF identifier ->> 'use' IS DISTINCT FROM 'old' AND referral.fhir_identifier(identifier) IS NOT NULL THEN
            known := known || referral.fhir_identifier(identifier);
        END IF;
    END LOOP;
    IF referral.fhir_text(resource -> 'id') IS NOT NULL THEN
        known := known || jsonb_build_object('system', source || '/' || (resource ->> 'resourceType'),
                                             'value', referral.fhir_text(resource -> 'id'), 'type', 'FHIR');
    END IF;
    RETURN nullif(known, '[]');
END $$;
COMMENT ON FUNCTION referral.fhir_identifiers(jsonb, text) IS
'What a resource is known by: its identifiers but those that are old (at most 50), and its id, whose system is the source and the type of the resource. Null when it has none.';
