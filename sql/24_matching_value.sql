-- demographics: what identifies a person, normalised, as a value

CREATE TYPE referral.demographics;

CREATE FUNCTION referral.demographics_in(cstring) RETURNS referral.demographics
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_in';
COMMENT ON FUNCTION referral.demographics_in(cstring) IS
'Reads demographics from JSON; RF020 when it is none, or has an unknown key.';

CREATE FUNCTION referral.demographics_out(referral.demographics) RETURNS cstring
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_out';
COMMENT ON FUNCTION referral.demographics_out(referral.demographics) IS
'Writes demographics as JSON, normalised, the same for all values that are equal.';

CREATE FUNCTION referral.demographics_recv(internal) RETURNS referral.demographics
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_recv';
COMMENT ON FUNCTION referral.demographics_recv(internal) IS
'Reads the binary form of demographics; RF020 when it is not what demographics_send() writes.';

CREATE FUNCTION referral.demographics_send(referral.demographics) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_send';
COMMENT ON FUNCTION referral.demographics_send(referral.demographics) IS
'Writes the binary form of demographics, the same for all values that are equal; texts are in the database''s encoding.';

CREATE TYPE referral.demographics (
    INPUT = referral.demographics_in, OUTPUT = referral.demographics_out,
    RECEIVE = referral.demographics_recv, SEND = referral.demographics_send,
    INTERNALLENGTH = VARIABLE, ALIGNMENT = int4, STORAGE = main
);
COMMENT ON TYPE referral.demographics IS
'What identifies a person: names, date of birth, sex, phones, e-mail, address and identifiers, normalised; written as JSON. See docs/matching_value.md.';

CREATE FUNCTION referral.demographics(family text DEFAULT NULL, given text DEFAULT NULL, birth_date text DEFAULT NULL, sex text DEFAULT NULL,
    phone text DEFAULT NULL, email text DEFAULT NULL, address text DEFAULT NULL, city text DEFAULT NULL, postal_code text DEFAULT NULL,
    identifiers text[] DEFAULT NULL) RETURNS referral.demographics
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_of_texts';
COMMENT ON FUNCTION referral.demographics(text, text, text, text, text, text, text, text, text, text[]) IS
'Demographics of a person. Null is not known, and so is what cannot be read, a date too: nothing is refused but text beyond ASCII in a database that is not UTF8 (RF012). birth_date: 1976-05-13, 19760513, 1976-05, 1976, 5/13/1976, 13.5.1976; phone and email may hold several; identifiers are type|value.';

CREATE FUNCTION referral.demographics(family text, given text, birth_date date, sex text DEFAULT NULL,
    phone text DEFAULT NULL, email text DEFAULT NULL, address text DEFAULT NULL, city text DEFAULT NULL, postal_code text DEFAULT NULL,
    identifiers text[] DEFAULT NULL) RETURNS referral.demographics
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_of_date';
COMMENT ON FUNCTION referral.demographics(text, text, date, text, text, text, text, text, text, text[]) IS
'Demographics of a person, with a date of birth of type date; an infinite one is not known. Null is not known; RF012 for text beyond ASCII in a database that is not UTF8.';

CREATE FUNCTION referral.demographics(json jsonb) RETURNS referral.demographics
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_of_jsonb';
COMMENT ON FUNCTION referral.demographics(jsonb) IS
'Demographics of an object with any of the keys family, given, middle, suffix, alias, previous_family, mother_maiden_name, birth_date, sex, multiple_birth, birth_order, phone, email, address, street_number, street, unit, city, state, postal_code, identifiers. Null for null; RF020 for another key, or a value of a wrong type.';

CREATE FUNCTION referral.demographics_to_jsonb(referral.demographics) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_to_jsonb';
COMMENT ON FUNCTION referral.demographics_to_jsonb(referral.demographics) IS
'Demographics as an object: a string for each key of one item, an array for one of several. Null for null.';

CREATE CAST (jsonb AS referral.demographics) WITH FUNCTION referral.demographics(jsonb);
COMMENT ON CAST (jsonb AS referral.demographics) IS 'demographics(jsonb)';
CREATE CAST (referral.demographics AS jsonb) WITH FUNCTION referral.demographics_to_jsonb(referral.demographics);
COMMENT ON CAST (referral.demographics AS jsonb) IS 'demographics_to_jsonb(referral.demographics)';

CREATE FUNCTION referral.patient_demographics(family text, given text, middle text, suffix text, alias text[], previous_family text[],
    mother_maiden_name text, birth_date date, sex text, multiple_birth boolean, birth_order integer, phone text, email text, other_phones text[],
    address text, city text, state text, postal_code text, identifier_system text, identifier text, other_identifiers text[])
RETURNS referral.demographics
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'patient_demographics';
COMMENT ON FUNCTION referral.patient_demographics(text, text, text, text, text[], text[], text, date, text, boolean, integer, text, text, text[], text, text, text, text, text, text, text[]) IS
'Demographics of a row of referral.patient. Null is not known; RF012 for text beyond ASCII in a database that is not UTF8.';

-- operators

CREATE FUNCTION referral.demographics_eq(referral.demographics, referral.demographics) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_eq';
COMMENT ON FUNCTION referral.demographics_eq(referral.demographics, referral.demographics) IS
'Are two demographics the same, normalised? Null for null.';

CREATE FUNCTION referral.demographics_ne(referral.demographics, referral.demographics) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_ne';
COMMENT ON FUNCTION referral.demographics_ne(referral.demographics, referral.demographics) IS
'Are two demographics not the same, normalised? Null for null.';

CREATE FUNCTION referral.demographics_hash(referral.demographics) RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_hash';
COMMENT ON FUNCTION referral.demographics_hash(referral.demographics) IS
'Hash of demographics. Null for null.';

CREATE FUNCTION referral.demographics_hash_extended(referral.demographics, bigint) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_hash_extended';
COMMENT ON FUNCTION referral.demographics_hash_extended(referral.demographics, bigint) IS
'Hash of demographics, with a seed. Null for null.';

CREATE OPERATOR referral.= (LEFTARG = referral.demographics, RIGHTARG = referral.demographics, FUNCTION = referral.demographics_eq,
    COMMUTATOR = OPERATOR(referral.=), NEGATOR = OPERATOR(referral.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES);
COMMENT ON OPERATOR referral.= (referral.demographics, referral.demographics) IS 'equal';

CREATE OPERATOR referral.<> (LEFTARG = referral.demographics, RIGHTARG = referral.demographics, FUNCTION = referral.demographics_ne,
    COMMUTATOR = OPERATOR(referral.<>), NEGATOR = OPERATOR(referral.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel);
COMMENT ON OPERATOR referral.<> (referral.demographics, referral.demographics) IS 'not equal';

CREATE OPERATOR CLASS referral.demographics_hash_ops DEFAULT FOR TYPE referral.demographics USING hash AS
    OPERATOR 1 referral.=,
    FUNCTION 1 referral.demographics_hash(referral.demographics),
    FUNCTION 2 referral.demographics_hash_extended(referral.demographics, bigint);
COMMENT ON OPERATOR CLASS referral.demographics_hash_ops USING hash IS 'equality';
