-- matching: how alike two strings are, and how one sounds

CREATE FUNCTION referral.jaro_winkler(a text, b text) RETURNS double precision
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'jaro_winkler';
COMMENT ON FUNCTION referral.jaro_winkler(text, text) IS
'How alike two strings are by Jaro and Winkler, by characters as they stand: 1 for equal strings (two empty ones, too), 0 for no character in common. Strings more alike than 0.7 by Jaro get a tenth of the rest for each of up to 4 first characters in common; whether they are is decided in integers. The order of the two does not matter. Null for null; RF020 for more than 100,000 characters. See docs/matching_string.md.';

CREATE FUNCTION referral.damerau_levenshtein(a text, b text, max integer DEFAULT 2147483647) RETURNS integer
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'damerau_levenshtein';
COMMENT ON FUNCTION referral.damerau_levenshtein(text, text, integer) IS
'How many insertions, deletions, substitutions and transpositions of neighbours make one string the other, no part of it changed twice (optimal string alignment); max + 1 when it is more than max, which is found sooner. By characters as they stand. Null for null, also for a null max; RF020 for a negative max, or more than 100,000 characters.';

CREATE FUNCTION referral.double_metaphone_keys(name text) RETURNS text[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'double_metaphone_keys';
COMMENT ON FUNCTION referral.double_metaphone_keys(text) IS
'How a name sounds by double metaphone, in keys of up to 6 letters: the likely one, and another where it may sound otherwise. Empty when there is nothing to be heard. Accented Latin letters count as the plain ones (in UTF8 only); other letters as none. Null for null. No errors.';
