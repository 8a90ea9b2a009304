-- matching: are two records of the same person?  Score, grade and why.

CREATE FUNCTION referral.match_default_levels(OUT field text, OUT level text, OUT m float8, OUT u float8) RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 60 AS 'MODULE_PATHNAME', 'match_default_levels';
COMMENT ON FUNCTION referral.match_default_levels() IS
'The fields that are compared and their levels, with what the shipped model says: m, how often a level is found among two records of one person, and u, among records of two people.';

CREATE FUNCTION referral.match_term_hash(term text) RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'match_term_hash';
COMMENT ON FUNCTION referral.match_term_hash(text) IS
'The hash by which referral.match_frequency counts a normalised name. Null for null.';

CREATE FUNCTION referral.match_score(a referral.demographics, b referral.demographics, model bigint DEFAULT NULL) RETURNS float8
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'match_score';
COMMENT ON FUNCTION referral.match_score(referral.demographics, referral.demographics, bigint) IS
'How sure it is that two records are of one person: the base-2 logarithm of the odds, in bits; 0 is even, 10 is a thousand to one. model: a referral.match_model; null for the active one. Null when a record is null; RF012 without a model, RF019 when there is none of that id.';

CREATE FUNCTION referral.match_grade(a referral.demographics, b referral.demographics, model bigint DEFAULT NULL) RETURNS text
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'match_grade';
COMMENT ON FUNCTION referral.match_grade(referral.demographics, referral.demographics, bigint) IS
'certain, probable, possible or certainly-not (FHIR match-grade) of two records alone: without the margin over other candidates that find_matches() wants of a certain one. Null when a record is null; errors as match_score().';

CREATE FUNCTION referral.match_levels(a referral.demographics, b referral.demographics) RETURNS text[]
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'match_levels';
COMMENT ON FUNCTION referral.match_levels(referral.demographics, referral.demographics) IS
'How the fields of two records compare: field:level of each field that both know. Null for null; RF012 without a model.';

CREATE FUNCTION referral.match_explain(a referral.demographics, b referral.demographics, model bigint DEFAULT NULL,
    OUT line integer, OUT field text, OUT level text, OUT value_a text, OUT value_b text, OUT m float8, OUT u float8,
    OUT weight float8, OUT frequency_adjustment float8, OUT running_total float8, OUT probability float8) RETURNS SETOF record
LANGUAGE C STABLE PARALLEL SAFE ROWS 14 AS 'MODULE_PATHNAME', 'match_explain';
COMMENT ON FUNCTION referral.match_explain(referral.demographics, referral.demographics, bigint) IS
'Why two records score what they score: the prior, each field that one of both knows with its level, values, m, u, weight = log2(m / u) and frequency adjustment in bits; household: what is above the cap on what people of one household share; veto: why it cannot be certain; keys: blocking keys in common; total: the grade. weight + frequency_adjustment add up to running_total, whose last is match_score(). No rows when a record is null; errors as match_score().';

CREATE FUNCTION referral.is_match_level(field text, level text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM referral.match_default_levels() d WHERE d.field = $1 AND d.level = $2);
COMMENT ON FUNCTION referral.is_match_level(text, text) IS
'Is there such a level of such a field? Null for null.';

CREATE FUNCTION referral.check_matching_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    -- not there yet after the extension itself was upgraded, before deploy()
    IF to_regclass('referral.match_model') IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT s.name, ', ') INTO bad
    FROM referral.match_model m JOIN referral.rule_version v USING (rule_version_id) JOIN referral.rule_set s USING (rule_set_id)
    WHERE v.status = 'active'
      AND s.rule_set_id <> (SELECT r.rule_set_id FROM referral.rule_version r WHERE r.rule_version_id = check_matching_version.rule_version_id)
      AND EXISTS (SELECT FROM referral.match_model own WHERE own.rule_version_id = check_matching_version.rule_version_id);
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'rule set "%" has an active model of matching already', bad
            USING ERRCODE = 'RF011', DETAIL = 'One model at a time says what a match is.',
                  HINT = 'Write the model as a version of that rule set, or retire its active version first.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_matching_version(bigint) IS
'The part of check_rule_version() about matching: no other rule set has an active model (RF011). Null for null.';
