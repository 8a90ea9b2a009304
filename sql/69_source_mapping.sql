-- source_mapping: records of flat files and portals, by declared rules

CREATE FUNCTION referral.csv_records(content text, delimiter text DEFAULT NULL, OUT line integer, OUT record jsonb, OUT fault text)
RETURNS SETOF record
LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'csv_records';
COMMENT ON FUNCTION referral.csv_records(text, text) IS
'The records of a text of comma-separated values (RFC 4180) as objects, with the line where each begins: the first line names the columns, spaces around values go, empty values are left out, values beyond the last column are called _ and their number; fault says when a line has more or fewer values than there are columns. delimiter: one character; null: the one of comma, semicolon, tab and bar that the first line has most of. RF014 for a quote that is not closed or more than 1,600 columns; no rows for null content.';

CREATE FUNCTION referral.csv_columns(content text, delimiter text DEFAULT NULL) RETURNS text[]
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'csv_columns';
COMMENT ON FUNCTION referral.csv_columns(text, text) IS
'The names of the columns of a text of comma-separated values, as csv_records() uses them. RF014 as there; null for null content.';

CREATE FUNCTION referral.map_record(record jsonb, mapping text) RETURNS jsonb
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'map_record';
COMMENT ON FUNCTION referral.map_record(jsonb, text) IS
'The intake case that an active source mapping makes of a record. A value that cannot be used is left out and becomes a finding. Of the keys _line, _fault and _columns a finding takes where the record stands in its file, what is wrong with its line, and what columns the file has: one that the mapping names, and that is not among them, is a finding. RF019 when no active rules have the mapping, RF014 when the record is not an object. Null for null.';

CREATE FUNCTION referral.map_record(record jsonb, mapping text, rule_version_id bigint) RETURNS jsonb
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'map_record_by_version';
COMMENT ON FUNCTION referral.map_record(jsonb, text, bigint) IS
'map_record() by the source mapping of one version of rules, which may be a draft: to try it before it is submitted. RF019 when that version has no such mapping. The mapping is read anew by each call. Null for null.';

CREATE FUNCTION referral.source_format_problem(format text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'source_format_problem';
COMMENT ON FUNCTION referral.source_format_problem(text) IS
'What is wrong with a format of dates (YYYY, YY, MM, DD, Mon, HH24, HH12, MI, SS, AM, TZ; formats joined by | are tried in turn); null when nothing is, and for null.';

CREATE FUNCTION referral.source_mapping_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known record;
    problem text;
    hint text := 'SELECT * FROM referral.canonical_attribute() lists what a mapping can name.';
BEGIN
    IF TG_ARGV[0] = 'source_mapping' THEN
        IF NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = NEW.zone) THEN
            problem := format('Its zone %s is no IANA name.', NEW.zone);
            hint := 'Give a name such as America/Chicago.';
        END IF;
    ELSE
        SELECT * INTO known FROM referral.canonical_attribute() a WHERE a.attribute = NEW.attribute;
        IF NOT FOUND THEN
            problem := 'there is no such attribute.';
        ELSIF NEW.format IS NOT NULL AND known.type NOT IN ('date', 'timestamptz') THEN
            problem := 'only dates and times have a format.';
        ELSIF referral.source_format_problem(NEW.format) IS NOT NULL THEN
            problem := format('format %s: %s', NEW.format, referral.source_format_problem(NEW.format));
            hint := 'Write it with YYYY, YY, MM, DD, Mon, HH24, HH12, MI, SS, AM and TZ.';
        ELSIF NEW.translation IS NULL AND NEW.constant <> ALL (known.codes) THEN
            problem := format('the constant %s is not one of its codes.', NEW.constant);
            hint := 'Take one of: ' || array_to_string(known.codes, ', ') || '.';
        END IF;
        -- a mapping is written many fields at a time
        problem := format('Attribute %s, %s: ', NEW.attribute, coalesce('column ' || NEW.column_name, 'without a column')) || problem;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'the source mapping "%" cannot work', NEW.mapping
            USING ERRCODE = 'RF011', DETAIL = problem, HINT = hint;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.source_mapping_check() IS
'source_mapping_check(table): BEFORE row trigger of source mappings and their fields (RF011): attributes, formats, constants and zones that there are.';
REVOKE ALL ON FUNCTION referral.source_mapping_check() FROM PUBLIC;

CREATE FUNCTION referral.check_source_mapping_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    SELECT string_agg(m.mapping, ', ') INTO bad
    FROM referral.source_mapping m
    WHERE m.rule_version_id = check_source_mapping_version.rule_version_id
      AND EXISTS (SELECT FROM referral.source_mapping other JOIN referral.rule_version v USING (rule_version_id)
                  WHERE other.mapping = m.mapping AND v.status = 'active'
                    AND v.rule_set_id <> (SELECT r.rule_set_id FROM referral.rule_version r
                                          WHERE r.rule_version_id = check_source_mapping_version.rule_version_id));
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'another rule set has an active source mapping "%"', bad
            USING ERRCODE = 'RF011', DETAIL = 'Messages could not tell which one is meant.', HINT = 'Give it another name.';
    END IF;
    SELECT string_agg(DISTINCT f.translation, ', ') INTO bad
    FROM referral.source_mapping_field f
    WHERE f.rule_version_id = check_source_mapping_version.rule_version_id AND f.translation IS NOT NULL
      AND NOT EXISTS (SELECT FROM referral.code_translation c
                      WHERE c.rule_version_id = f.rule_version_id AND c.translation = f.translation);
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'translation "%" has no codes', bad
            USING ERRCODE = 'RF011', DETAIL = 'A field of a source mapping goes by it, so each of its values would be refused.',
                  HINT = 'Insert codes into referral.code_translation, in this version.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_source_mapping_version(bigint) IS
'The part of check_rule_version() about source mappings: no other rule set has an active one of the name, and its translations have codes (RF011). Null for null.';
