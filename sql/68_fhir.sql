-- fhir: the small readers. What a sender wrote may be of any type, so each takes any jsonb and answers null for what it
-- cannot use; referral.fhir_findings() tells the sender.

CREATE FUNCTION referral.fhir_text(value jsonb) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_text';
COMMENT ON FUNCTION referral.fhir_text(jsonb) IS
'The text of a FHIR primitive, trimmed; of a number too. Null for null, for an empty text, and for a value of another type.';

CREATE FUNCTION referral.fhir_first(value jsonb) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_first';
COMMENT ON FUNCTION referral.fhir_first(jsonb) IS 'The first of an array; a value that is none is its own first. Null for null and for an empty array.';

CREATE FUNCTION referral.fhir_list(value jsonb) RETURNS jsonb
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_list';
COMMENT ON FUNCTION referral.fhir_list(jsonb) IS 'An array as it is, an object or a text as an array of one, anything else as an empty array; never null.';

CREATE FUNCTION referral.fhir_join(list jsonb, separator text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_join';
COMMENT ON FUNCTION referral.fhir_join(jsonb, text) IS 'The texts of an array (at most 50), or the only one, with a separator in between. Null when there is none, and for null.';

CREATE FUNCTION referral.fhir_telecom(telecom jsonb, system text) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_telecom';
COMMENT ON FUNCTION referral.fhir_telecom(jsonb, text) IS
'The values of a ContactPoint list (of its first 50) that are of a system and not old, as an array; sms is a phone. Null when there is none, and for null.';

CREATE FUNCTION referral.fhir_strip(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(jsonb_strip_nulls(value), '{}'::jsonb);
COMMENT ON FUNCTION referral.fhir_strip(jsonb) IS 'An object without its null members; null when nothing is left, and for null.';

CREATE FUNCTION referral.fhir_some(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(value, '[]'::jsonb);
COMMENT ON FUNCTION referral.fhir_some(jsonb) IS 'An array that has elements; null for an empty one and for null.';

CREATE FUNCTION referral.fhir_array(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value IS NULL THEN '[]'::jsonb ELSE jsonb_build_array(value) END;
COMMENT ON FUNCTION referral.fhir_array(jsonb) IS 'A value as an array of one; an empty array for null.';

CREATE FUNCTION referral.fhir_boolean(value jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE value #>> '{}' WHEN 'true' THEN true WHEN 'false' THEN false END;
COMMENT ON FUNCTION referral.fhir_boolean(jsonb) IS 'A boolean, also one written as text. Null for anything else.';

CREATE FUNCTION referral.fhir_number(value jsonb) RETURNS numeric
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_number';
COMMENT ON FUNCTION referral.fhir_number(jsonb) IS
'A decimal number of up to 15 digits before and 9 after the point, also one written as text. Null for anything else.';

CREATE FUNCTION referral.fhir_date(value text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_date';
COMMENT ON FUNCTION referral.fhir_date(text) IS
'The day of a FHIR date or dateTime, as 2026-11-02. Null for null, for a year or a month alone (it is no day), and for what is no day of the calendar.';

CREATE FUNCTION referral.fhir_time(value text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_time';
COMMENT ON FUNCTION referral.fhir_time(text) IS
'A FHIR dateTime or instant as ISO 8601 with its zone. A day alone is its start in UTC, a time without a zone is taken as UTC. Null for null and for what is no time.';

CREATE FUNCTION referral.fhir_coding(coding jsonb, display text DEFAULT NULL) RETURNS jsonb
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_coding';
COMMENT ON FUNCTION referral.fhir_coding(jsonb, text) IS
'A FHIR Coding as system, code and display; a system that is named by its OID is named by its URI; display is what to show when it has none. Null when nothing can be read.';

CREATE FUNCTION referral.fhir_concept(concept jsonb) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_concept';
COMMENT ON FUNCTION referral.fhir_concept(jsonb) IS
'A FHIR CodeableConcept as one code: the coding a person selected, else the first; its text is shown where the coding has no display. Null for null and when nothing can be read.';

CREATE FUNCTION referral.fhir_concept_codes(concepts jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := referral.fhir_list(concepts);
    codes jsonb[] := '{}';    -- grows in place
    code jsonb;
BEGIN
    FOR i IN 0 .. jsonb_array_length(list) - 1 LOOP
        code := referral.fhir_concept(list -> i);
        IF code IS NOT NULL THEN
            codes := codes || code;
        END IF;
    END LOOP;
    RETURN to_jsonb(nullif(codes, '{}'));
END $$;
COMMENT ON FUNCTION referral.fhir_concept_codes(jsonb) IS 'Each of a list of CodeableConcepts as fhir_concept() reads it, as an array. Null when there is none.';

CREATE FUNCTION referral.fhir_concept_name(concept jsonb) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_concept_name';
COMMENT ON FUNCTION referral.fhir_concept_name(jsonb) IS 'The code of a CodeableConcept, or of the first of several; its text when it has no code. Null for null and when nothing can be read.';

CREATE FUNCTION referral.fhir_specialty(concept jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN referral.fhir_concept_name(concept) ~ '^[0-9]{3}[0-9A-Z]{6}X$' THEN referral.fhir_concept_name(concept)
            ELSE lower(coalesce(referral.fhir_concept(referral.fhir_first(concept)) ->> 'display', referral.fhir_concept_name(concept))) END;
COMMENT ON FUNCTION referral.fhir_specialty(jsonb) IS
'The specialty that a CodeableConcept names, or the first of several: in words and small letters, as other messages tell it; a code of the provider taxonomy as it is, and another code only when there are no words. Null for null and when nothing can be read.';

CREATE FUNCTION referral.fhir_identifier(identifier jsonb) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_identifier';
COMMENT ON FUNCTION referral.fhir_identifier(jsonb) IS 'A FHIR Identifier as system, value, type (as it is told, or known by the system) and assigner. Null when it has no value.';

CREATE FUNCTION referral.fhir_identifiers(resource jsonb, source text) RETURNS jsonb
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_identifiers';
COMMENT ON FUNCTION referral.fhir_identifiers(jsonb, text) IS
'What a resource is known by: its identifiers but those that are old (at most 50), and its id, whose system is the source and the type of the resource. Null when it has none.';

CREATE FUNCTION referral.fhir_id(resource jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN left(resource ->> 'id', 1) <> '#' THEN referral.fhir_text(resource -> 'id') END;
COMMENT ON FUNCTION referral.fhir_id(jsonb) IS 'The id of a resource; null for one that is contained in another, whose id means nothing elsewhere, and when there is none.';
