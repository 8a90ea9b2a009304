-- matching_fit: a model fitted to one's own data, and two models compared

CREATE FUNCTION referral.fit_match_model(relation regclass, "column" name, seed bigint DEFAULT 1,
    note text DEFAULT 'Fitted to data') RETURNS bigint
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'fit_match_model';
COMMENT ON FUNCTION referral.fit_match_model(regclass, name, bigint, text) IS
'Copies the active model of matching into a new draft whose levels and prior are fitted to the people in a column of type referral.demographics, and returns its rule_version_id; how it went is in referral.match_fit. Reads the column and writes the draft with the rights of the caller. The same data and seed give the same model. Null for null; RF019 when there is no such table or column, RF020 when the column is of another type or there is too little data, RF012 without an active model.';

CREATE FUNCTION referral.compare_match_models(model_a bigint, model_b bigint, relation regclass, "column" name,
    seed bigint DEFAULT 1, max_pairs integer DEFAULT 100000,
    OUT grade_a text, OUT grade_b text, OUT pairs bigint) RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 16 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'compare_match_models';
COMMENT ON FUNCTION referral.compare_match_models(bigint, bigint, regclass, name, bigint, integer) IS
'How two models of matching grade the same pairs of people in a column of type referral.demographics: how many pairs have which grade by either, best grades first. A model is a rule_version_id of referral.match_model, 0 is the active one. The pairs are those that share a blocking key, max_pairs at most (1 to 10,000,000), chosen by the seed; a pair is graded alone, without the margin over other candidates. Reads the column with the rights of the caller. No rows for null; RF019 when there is no such model, table or column, RF020 when the column is of another type or max_pairs is out of range.';

CREATE FUNCTION referral.match_model_differences(model_a bigint, model_b bigint, relation regclass, "column" name, key name,
    seed bigint DEFAULT 1, max_pairs integer DEFAULT 100000,
    OUT key_a text, OUT key_b text, OUT grade_a text, OUT grade_b text, OUT bits_a float8, OUT bits_b float8) RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 1000 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'match_model_differences';
COMMENT ON FUNCTION referral.match_model_differences(bigint, bigint, regclass, name, name, bigint, integer) IS
'The pairs that two models of matching grade differently, out of those that compare_match_models() counts for the same arguments: what the key column says of both people, as text, with both grades and scores in bits. Look at them before a model is activated. No rows for null; errors as compare_match_models().';

REVOKE ALL ON FUNCTION referral.fit_match_model(regclass, name, bigint, text),
    referral.compare_match_models(bigint, bigint, regclass, name, bigint, integer),
    referral.match_model_differences(bigint, bigint, regclass, name, name, bigint, integer) FROM PUBLIC;
