-- matching: blocking keys, the operators % and <->, and their index

CREATE FUNCTION referral.match_keys(demographics referral.demographics) RETURNS integer[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'match_keys';
COMMENT ON FUNCTION referral.match_keys(referral.demographics) IS
'The blocking keys of a person, sorted: hashes of what duplicates have in common, at most 64. Two people are compared only if they share one. Null for null.';

CREATE FUNCTION referral.match_keys_explain(demographics referral.demographics) RETURNS TABLE (key integer, kind text)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 25 AS 'MODULE_PATHNAME', 'match_keys_explain';
COMMENT ON FUNCTION referral.match_keys_explain(referral.demographics) IS
'The blocking keys of a person and what each was made of, such as: name, birth year. No rows for null.';

-- ---------- operators ----------

CREATE FUNCTION referral.match_probability(a referral.demographics, b referral.demographics) RETURNS float8
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'match_probability';    -- stable: the model is a rule
COMMENT ON FUNCTION referral.match_probability(referral.demographics, referral.demographics) IS
'How probable it is, from 0 to 1, that two records are of one person, by the active model. Null for null; RF012 without an active model.';

CREATE FUNCTION referral.demographics_distance(a referral.demographics, b referral.demographics) RETURNS float8
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'demographics_distance';    -- stable: the model is a rule
COMMENT ON FUNCTION referral.demographics_distance(referral.demographics, referral.demographics) IS
'1 - match_probability: to order by. Null for null; RF012 without an active model.';

CREATE FUNCTION referral.demographics_match(a referral.demographics, b referral.demographics) RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'demographics_match';    -- stable: a setting and the model
COMMENT ON FUNCTION referral.demographics_match(referral.demographics, referral.demographics) IS
'Are two records of one person? They share a blocking key (match_keys) and their match_probability is at least the setting referral.match_threshold. Null for null; RF012 without an active model.';

CREATE FUNCTION referral.demographics_match_sel(internal, oid, internal, integer) RETURNS float8
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_match_sel';
COMMENT ON FUNCTION referral.demographics_match_sel(internal, oid, internal, integer) IS
'For the planner: a condition with % holds for a few rows of any table.';

CREATE FUNCTION referral.demographics_match_joinsel(internal, oid, internal, smallint, internal) RETURNS float8
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_match_joinsel';
COMMENT ON FUNCTION referral.demographics_match_joinsel(internal, oid, internal, smallint, internal) IS
'For the planner: a join with % finds a few rows of the larger side for each row of the smaller.';

CREATE OPERATOR referral.% (LEFTARG = referral.demographics, RIGHTARG = referral.demographics,
    FUNCTION = referral.demographics_match, COMMUTATOR = OPERATOR(referral.%),
    RESTRICT = referral.demographics_match_sel, JOIN = referral.demographics_match_joinsel);
COMMENT ON OPERATOR referral.% (referral.demographics, referral.demographics) IS
'of one person, with a probability of at least referral.match_threshold';

CREATE OPERATOR referral.<-> (LEFTARG = referral.demographics, RIGHTARG = referral.demographics,
    FUNCTION = referral.demographics_distance, COMMUTATOR = OPERATOR(referral.<->));
COMMENT ON OPERATOR referral.<-> (referral.demographics, referral.demographics) IS '1 - match_probability';

-- ---------- index ----------

CREATE FUNCTION referral.demographics_extract_value(referral.demographics, internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_extract_value';
COMMENT ON FUNCTION referral.demographics_extract_value(referral.demographics, internal) IS
'For GIN: the keys of a value.';

CREATE FUNCTION referral.demographics_extract_query(referral.demographics, internal, smallint, internal, internal, internal, internal) RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_extract_query';
COMMENT ON FUNCTION referral.demographics_extract_query(referral.demographics, internal, smallint, internal, internal, internal, internal) IS
'For GIN: the keys of whom is looked for.';

CREATE FUNCTION referral.demographics_consistent(internal, smallint, referral.demographics, integer, internal, internal, internal, internal) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_consistent';
COMMENT ON FUNCTION referral.demographics_consistent(internal, smallint, referral.demographics, integer, internal, internal, internal, internal) IS
'For GIN: whoever shares a key is compared.';

CREATE FUNCTION referral.demographics_triconsistent(internal, smallint, referral.demographics, integer, internal, internal, internal) RETURNS "char"
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'demographics_triconsistent';
COMMENT ON FUNCTION referral.demographics_triconsistent(internal, smallint, referral.demographics, integer, internal, internal, internal) IS
'For GIN: whoever may share a key may match.';

CREATE OPERATOR CLASS referral.demographics_ops DEFAULT FOR TYPE referral.demographics USING gin AS
    OPERATOR 1 referral.%,
    FUNCTION 1 pg_catalog.btint4cmp(integer, integer),
    FUNCTION 2 referral.demographics_extract_value(referral.demographics, internal),
    FUNCTION 3 referral.demographics_extract_query(referral.demographics, internal, smallint, internal, internal, internal, internal),
    FUNCTION 4 referral.demographics_consistent(internal, smallint, referral.demographics, integer, internal, internal, internal, internal),
    FUNCTION 6 referral.demographics_triconsistent(internal, smallint, referral.demographics, integer, internal, internal, internal),
    STORAGE integer;
COMMENT ON OPERATOR CLASS referral.demographics_ops USING gin IS 'finds people who share a blocking key';

-- ---------- lookup ----------

CREATE FUNCTION referral.find_matches(org_id bigint, demographics referral.demographics, max integer DEFAULT 10,
                                      other_than bigint DEFAULT NULL)
RETURNS TABLE (patient_id bigint, probability float8, grade text)
LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10 AS 'MODULE_PATHNAME', 'find_matches';
COMMENT ON FUNCTION referral.find_matches(bigint, referral.demographics, integer, bigint) IS
'The patients of an organisation who may be a person, best first, at most max of them: grade certain, probable or possible (docs/matching.md). Only rows of referral.patient that the caller may select take part; who was merged answers as the patient merged into. Certain is only who is far ahead of the next one. other_than: a patient to leave out, such as the one whose demographics these are. No rows when org_id, demographics or max is null; RF020 when max is not positive, RF012 when the model is not deployed, or no model of matching is active.';

CREATE FUNCTION referral.find_match(org_id bigint, demographics referral.demographics, OUT patient_id bigint, OUT grade text)
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'find_match';
COMMENT ON FUNCTION referral.find_match(bigint, referral.demographics) IS
'The first row of find_matches(), which costs less where nothing else is wanted. Nulls when there is nobody; null for null; errors as there.';

CREATE FUNCTION referral.find_duplicates(org_id bigint, min_probability float8 DEFAULT NULL)
RETURNS TABLE (patient_id bigint, duplicate_id bigint, probability float8, grade text)
LANGUAGE C STABLE PARALLEL SAFE COST 1000000 AS 'MODULE_PATHNAME', 'find_duplicates';
COMMENT ON FUNCTION referral.find_duplicates(bigint, float8) IS
'All pairs of an organisation''s patients who may be one person, patient_id below duplicate_id, in their order: what find_matches() finds for each of them, at least as probable as min_probability (null: all that are possible). Only rows of referral.patient that the caller may select take part. Takes maintenance_work_mem, a byte for each blocking key and what it returns; patients are kept in a temporary file. No rows when org_id is null; RF020 when min_probability is not from 0 to 1, RF012 when the model is not deployed, or no model of matching is active.';

-- A lookup takes a little longer where there is somebody whom the caller does not see: so it is for those who read patients (sql/model/51_matching_index.sql).
REVOKE ALL ON FUNCTION referral.find_matches(bigint, referral.demographics, integer, bigint),
    referral.find_match(bigint, referral.demographics), referral.find_duplicates(bigint, float8) FROM PUBLIC;
