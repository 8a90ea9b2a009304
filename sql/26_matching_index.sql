-- matching: blocking keys, the operators % and <->, and their index

CREATE FUNCTION referral.match_keys(demographics referral.demographics) RETURNS integer[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'match_keys';
COMMENT ON FUNCTION referral.match_keys(referral.demographics) IS
'The blocking keys of a person, sorted: hashes of what duplicates have in common, at most 64. Two people are compared only if they share one. Null for null.';

CREATE FUNCTION referral.match_keys_explain(demographics referral.demographics) RETURNS TABLE (key integer, kind text)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 25 AS 'MODULE_PATHNAME', 'match_keys_explain';
COMMENT ON FUNCTION referral.match_keys_explain(referral.demographics) IS
'The blocking keys of a person and what each was made of, such as: name, birth year. No rows for null.';
