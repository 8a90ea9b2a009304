-- matching_fit: a model fitted to one's own data, and two models compared

CREATE FUNCTION referral.fit_match_model(relation regclass, "column" name, seed bigint DEFAULT 1,
    note text DEFAULT 'Fitted to data') RETURNS bigint
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'fit_match_model';
COMMENT ON FUNCTION referral.fit_match_model(regclass, name, bigint, text) IS
'Copies the active model of matching into a new draft whose levels and prior are fitted to the people in a column of type referral.demographics, and returns its rule_version_id; how it went is in referral.match_fit. Reads the column and writes the draft with the rights of the caller. The same data and seed give the same model. Null for null; RF019 when there is no such table or column, RF020 when the column is of another type or there is too little data, RF012 without an active model.';

REVOKE ALL ON FUNCTION referral.fit_match_model(regclass, name, bigint, text) FROM PUBLIC;
