-- intake: the front door. A message is stored first, then read, mapped and written; what fails stays with its error.

CREATE TYPE referral.intake_channel AS ENUM ('fax', 'fax_email', 'portal', 'call_centre', 'ehr', 'partner_feed', 'secure_message',
    'hl7v2', 'fhir', 'flat_file');
COMMENT ON TYPE referral.intake_channel IS 'The way by which a message came in.';
CREATE TYPE referral.inbox_status AS ENUM ('received', 'processed', 'error', 'ignored', 'echo');
COMMENT ON TYPE referral.inbox_status IS
'What became of a message: received, stored and not worked on yet; processed; error, could not be read or written; ignored, understood and nothing to do; echo, tells of a change that was our own.';

-- ---------- What a payload is, and its parts ----------

CREATE FUNCTION referral.payload_kind(content_type text, payload text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    media text := lower(btrim(split_part(coalesce(content_type, ''), ';', 1)));
    head text := left(payload, 200);
BEGIN
    IF media IN ('text/csv', 'application/csv', 'text/tab-separated-values') THEN
        RETURN 'csv';
    ELSIF media IN ('application/x-ndjson', 'application/ndjson', 'application/fhir+ndjson', 'application/jsonl') THEN
        RETURN 'lines';
    ELSIF media = 'application/fhir+json' THEN
        RETURN 'fhir';
    ELSIF media = 'application/json' OR (media IN ('', 'text/plain', 'text/json') AND head ~ '^[\uFEFF\s]*[{[]') THEN
        RETURN 'json';
    ELSIF media IN ('application/hl7-v2', 'x-application/hl7-v2+er7', 'application/hl7-v2+er7', 'application/edi-hl7')
          OR head ~ '^[\uFEFF\s\x0B\x1C]*(MSH|FHS|BHS)[^[:alnum:]\s]' THEN
        RETURN 'hl7';
    END IF;
    RETURN 'document';
END $$;
COMMENT ON FUNCTION referral.payload_kind(text, text) IS
'How a payload is read, by its content type, and by its beginning where that says nothing: hl7, fhir, json (FHIR, or records of a source mapping), lines (JSON, one per line), csv, or document: kept, and read by people or by extraction. Never null.';

CREATE FUNCTION referral.payload_parts(kind text, payload text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[] := ARRAY[payload];
BEGIN
    IF kind = 'hl7' THEN
        -- more than one, perhaps in an envelope
        IF payload ~ '[\r\n\x0B\x1C](MSH|BTS|FTS)[^[:alnum:]\s]' THEN
            parts := ARRAY(SELECT p FROM referral.hl7_split(payload) p);
        END IF;
    ELSIF kind = 'lines' THEN
        parts := ARRAY(SELECT p FROM regexp_split_to_table(ltrim(payload, E'\uFEFF'), '[\r\n]+') p WHERE p ~ '\S');
    ELSIF kind = 'csv' THEN
        -- map_record() tells by the columns, the line and its fault what is wrong
        parts := ARRAY(SELECT (r.record || jsonb_strip_nulls(jsonb_build_object('_line', r.line, '_fault', r.fault,
                                   '_columns', CASE WHEN r.number = 1 THEN to_jsonb(referral.csv_columns(payload)) END)))::text
                       FROM referral.csv_records(payload) WITH ORDINALITY r (line, record, fault, number) WHERE r.record <> '{}');
        -- a file of a day without news
        IF parts = '{}' THEN
            RETURN parts;
        END IF;
    ELSIF kind = 'json' AND left(ltrim(payload, E' \t\r\n\uFEFF'), 1) = '[' THEN
        parts := ARRAY(SELECT p::text FROM jsonb_array_elements(referral.payload_json(payload)) p);
    END IF;
    IF parts = '{}' THEN
        RAISE EXCEPTION 'the message is empty' USING ERRCODE = 'RF014', DETAIL = 'whole message', HINT = 'Have the sender send it again.';
    END IF;
    RETURN parts;
END $$;
COMMENT ON FUNCTION referral.payload_parts(text, text) IS
'The parts of a payload that are worked on one by one, so that a faulty one does not stop the rest: messages of an HL7 batch, lines, elements of a JSON array, rows of a CSV file that hold something, which may be none; the payload itself otherwise. RF014 when it cannot be taken apart, or is empty.';

CREATE FUNCTION referral.payload_json(payload text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    context text;
    place text;
BEGIN
    RETURN ltrim(payload, E'\uFEFF')::jsonb;
EXCEPTION
    WHEN untranslatable_character THEN
        -- \u0000 has no place in a text; what stood there is of no use to anybody
        RETURN regexp_replace(ltrim(payload, E'\uFEFF'), '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g')::jsonb;
    WHEN invalid_text_representation OR program_limit_exceeded OR statement_too_complex THEN
        GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
        place := substring(context FROM 'JSON data, (line \d+)');
        RAISE EXCEPTION 'the message is not JSON' USING ERRCODE = 'RF014', DETAIL = coalesce(place, 'whole message'),
            HINT = 'Have the sender mend it.';
END $$;
COMMENT ON FUNCTION referral.payload_json(text) IS
'A JSON message as jsonb. Characters \u0000, which PostgreSQL cannot keep, become U+FFFD. RF014 with the line in the detail when it is not JSON, or is nested too deep. Null for null.';

-- ---------- From a part to cases ----------

CREATE FUNCTION referral.part_cases(kind text, part text, source text, mapping text, zone text) RETURNS jsonb[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    content jsonb;
    cases jsonb[];
BEGIN
    IF kind = 'hl7' THEN
        cases := ARRAY(SELECT c FROM referral.map_hl7v2(referral.hl7_parse(part), source, zone) c);
    ELSE
        content := referral.payload_json(part);
        IF kind = 'fhir' OR (kind <> 'csv' AND content ? 'resourceType') THEN
            cases := ARRAY(SELECT c FROM referral.map_fhir(content, source) c);
        ELSIF mapping IS NULL THEN
            RAISE EXCEPTION 'no mapping says what the fields mean' USING ERRCODE = 'RF014', DETAIL = 'whole message',
                HINT = 'Set default_mapping in referral.source_system, or name a mapping in the content type: text/csv; mapping=name.';
        ELSE
            cases := ARRAY[referral.map_record(content, mapping)];
        END IF;
    END IF;
    IF cases = '{}' THEN
        RAISE EXCEPTION 'the message tells nothing that is known' USING ERRCODE = 'RF014', DETAIL = 'whole message',
            HINT = 'Is the content type right? Does the mapping take records of this form?';
    END IF;
    RETURN cases;
END $$;
COMMENT ON FUNCTION referral.part_cases(text, text, text, text, text) IS
'What a part of a payload tells, as cases of the canonical model, at least one: HL7 v2, FHIR, or a record of a source mapping. zone: of times without one. RF014 when it cannot be read or tells nothing; the detail says where.';

CREATE FUNCTION referral.case_outcome(kind text, referral_id bigint, results jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    about text := CASE WHEN kind IN ('referral_cancel', 'referral_status') THEN 'referral' ELSE kind END;
    entity text := CASE kind WHEN 'report' THEN 'consult_report' WHEN 'authorization' THEN 'prior_authorization' ELSE about END;
    action text;
BEGIN
    FOR i IN 0 .. coalesce(jsonb_array_length(results), 0) - 1 LOOP
        -- the same row may come several times; a directory is about rows of any kind
        IF entity IN (results -> i ->> 'entity', 'directory') AND coalesce(action, 'unchanged') = 'unchanged' THEN
            action := results -> i ->> 'action';
        END IF;
    END LOOP;
    RETURN CASE WHEN kind = 'referral_cancel' AND action = 'updated' THEN 'referral_cancelled'
                WHEN action IS NOT NULL THEN about || '_' || action
                WHEN about <> 'referral' THEN about || '_kept'
                WHEN referral_id IS NULL THEN 'referral_not_found'
                ELSE 'referral_unchanged' END;
END $$;
COMMENT ON FUNCTION referral.case_outcome(text, bigint, jsonb) IS
'One word for what became of a case: what it is about, and created, updated, unchanged, or kept when no row of its own was written; referral_cancelled; referral_not_found when it is about a referral that nobody knows here. By the results of apply_case(). Null for a null kind.';

-- ---------- Errors that are not the message's ----------

CREATE FUNCTION referral.is_passing_error(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN code ~ '^(08|25|40|57|58)' OR code IN ('53100', '53300', '55P03', '55P04');
COMMENT ON FUNCTION referral.is_passing_error(text) IS
'Is the error one of the moment (deadlock, serialization, lock, cancel, disk), and not of what a message holds? Then the caller has to repeat the whole call. Null for null.';

CREATE FUNCTION referral.intake_error(code text, message text, context text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.harmless_error(code, message)
       || CASE WHEN code LIKE 'RF%' THEN '' ELSE coalesce(' in ' || substring(context FROM '(?:PL/pgSQL|SQL) function ([^\n]*)'), '') END;
COMMENT ON FUNCTION referral.intake_error(text, text, text) IS
'An error as it is kept with a message: harmless_error(), and for others than our own the function where it came up. Nothing of what the message holds.';

-- ---------- Findings ----------

CREATE FUNCTION referral.finding_category(code text) RETURNS referral.exception_category
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN code IN ('unknown_payer', 'payer_changed', 'overlapping_coverage') THEN 'payer_mismatch'
            WHEN code = 'possible_duplicate' THEN 'duplicate_record'
            WHEN code = 'low_confidence' THEN 'low_confidence'
            WHEN code = 'content_not_indexed' THEN 'clinical_review'
            WHEN code IN ('transition_refused', 'not_source_of_record', 'out_of_order') THEN 'policy'
            ELSE 'integration' END::referral.exception_category;
COMMENT ON FUNCTION referral.finding_category(text) IS 'The category of the exception that a finding opens; integration for null.';

CREATE FUNCTION referral.finding_needs_person(code text, severity text, attribute text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN severity = 'error'
       OR (severity = 'warning' AND (code IN ('patient_unnamed', 'unknown_payer', 'ambiguous_referral', 'transition_refused', 'out_of_order')
                                     OR (code = 'invalid_date' AND attribute IS NOT DISTINCT FROM 'patient.birth_date')));
COMMENT ON FUNCTION referral.finding_needs_person(text, text, text) IS
'Does a finding open an exception? Those of severity error do, and of the warnings those without which the case cannot go on for long.';

CREATE FUNCTION referral.note_findings(org_id bigint, message_id bigint, again boolean, findings jsonb) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted integer := 0;
    told text[] := '{}';
    f record;
BEGIN
    IF again THEN
        PERFORM referral.settle_findings(note_findings.org_id, note_findings.message_id, findings);
    END IF;
    IF findings <> '[]' THEN
        FOR f IN
            INSERT INTO referral.data_quality_finding AS d (org_id, message_id, referral_id, patient_id, code, severity, attribute, value,
                                                            position, detail)
            SELECT DISTINCT ON (g.referral_id, g.patient_id, g.code, g.attribute, g.position)
                   note_findings.org_id, note_findings.message_id, g.referral_id, g.patient_id, coalesce(g.code, 'invalid_value'),
                   CASE WHEN g.severity IN ('info', 'warning', 'error') THEN g.severity ELSE 'warning' END, g.attribute,
                   left(g.value, 1000), g.position, g.detail
            FROM jsonb_to_recordset(findings) g (code text, severity text, attribute text, value text, position text, detail text,
                                                 referral_id bigint, patient_id bigint)
            WHERE NOT again OR NOT EXISTS (
                SELECT FROM referral.data_quality_finding x
                WHERE x.org_id = note_findings.org_id AND x.message_id = note_findings.message_id AND x.resolved_at IS NULL
                  AND (x.code, x.attribute, x.position, x.referral_id, x.patient_id)
                      IS NOT DISTINCT FROM (g.code, g.attribute, g.position, g.referral_id, g.patient_id))
            -- the worst of those that are the same
            ORDER BY g.referral_id, g.patient_id, g.code, g.attribute, g.position, CASE g.severity WHEN 'error' THEN 1 WHEN 'info' THEN 3 ELSE 2 END
            RETURNING d.referral_id, d.code, d.severity, d.attribute, d.position, d.detail
        LOOP
            noted := noted + 1;
            IF referral.finding_needs_person(f.code, f.severity, f.attribute) AND concat_ws(' ', f.code, f.referral_id) <> ALL (told) THEN
                told := told || concat_ws(' ', f.code, f.referral_id);
                PERFORM referral.open_exception(note_findings.org_id, referral.finding_category(f.code),
                    CASE WHEN f.referral_id IS NULL THEN 'inbox_message' ELSE 'referral' END,
                    coalesce(f.referral_id, note_findings.message_id), f.referral_id, f.code,
                    concat_ws('; ', f.attribute, f.position, f.detail, 'message ' || note_findings.message_id),
                    CASE f.severity WHEN 'error' THEN 'high' ELSE 'medium' END);
            END IF;
        END LOOP;
    END IF;
    IF again THEN
        noted := (SELECT count(*) FROM referral.data_quality_finding x
                  WHERE x.org_id = note_findings.org_id AND x.message_id = note_findings.message_id AND x.resolved_at IS NULL);
    END IF;
    RETURN noted;
END $$;
COMMENT ON FUNCTION referral.note_findings(bigint, bigint, boolean, jsonb) IS
'Keeps what was found about a message in data_quality_finding, and opens exceptions for what needs a person; returns how many there are. again: the message was worked on before: what is not found any more is settled, what was found before is neither written nor opened again.';

CREATE FUNCTION referral.close_found(org_id bigint, message_id bigint, referral_id bigint, code text, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- another message may have found the same about the referral
    IF EXISTS (SELECT FROM referral.data_quality_finding x
               WHERE x.org_id = close_found.org_id AND x.code = close_found.code AND x.resolved_at IS NULL
                 AND CASE WHEN close_found.referral_id IS NULL THEN x.message_id = close_found.message_id
                          ELSE x.referral_id = close_found.referral_id END) THEN
        RETURN;
    END IF;
    PERFORM referral.close_exception(e.org_id, e.exception_id, reason)
    FROM referral.exception_item e
    WHERE e.org_id = close_found.org_id AND e.code = close_found.code AND e.category = referral.finding_category(close_found.code)
      AND e.entity = CASE WHEN close_found.referral_id IS NULL THEN 'inbox_message' ELSE 'referral' END
      AND e.entity_id = coalesce(close_found.referral_id, close_found.message_id) AND e.status NOT IN ('resolved', 'dismissed');
END $$;
COMMENT ON FUNCTION referral.close_found(bigint, bigint, bigint, text, text) IS
'Closes the exception that a finding has opened, about its referral, or about its message where that is null, unless there are other findings for it.';

CREATE FUNCTION referral.settle_findings(org_id bigint, message_id bigint, findings jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
BEGIN
    FOR d IN
        UPDATE referral.data_quality_finding x SET resolved_at = clock_timestamp()
        WHERE x.org_id = settle_findings.org_id AND x.message_id = settle_findings.message_id AND x.resolved_at IS NULL
          AND NOT EXISTS (SELECT FROM jsonb_to_recordset(findings) g (code text, attribute text, position text, referral_id bigint, patient_id bigint)
                          WHERE (g.code, g.attribute, g.position, g.referral_id, g.patient_id)
                                IS NOT DISTINCT FROM (x.code, x.attribute, x.position, x.referral_id, x.patient_id))
        RETURNING x.code, x.referral_id
    LOOP
        PERFORM referral.close_found(settle_findings.org_id, settle_findings.message_id, d.referral_id, d.code,
                                     'not found any more when the message was processed again');
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.settle_findings(bigint, bigint, jsonb) IS
'Marks what was found about a message before, and is not among these findings any more, as resolved, and closes the exceptions that were opened for it.';

-- What a message could not tell of a patient is no question any more once a newer one has told it.
CREATE FUNCTION referral.settle_patient_findings(org_id bigint, patient_id bigint, message_id bigint, told jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known jsonb;
    d record;
BEGIN
    IF NOT EXISTS (SELECT FROM referral.data_quality_finding x
                   WHERE x.org_id = settle_patient_findings.org_id AND x.patient_id = settle_patient_findings.patient_id
                     AND x.message_id < settle_patient_findings.message_id AND x.resolved_at IS NULL) THEN
        RETURN;
    END IF;
    SELECT to_jsonb(p) INTO known FROM referral.patient p
    WHERE p.org_id = settle_patient_findings.org_id AND p.patient_id = settle_patient_findings.patient_id;
    FOR d IN
        UPDATE referral.data_quality_finding x SET resolved_at = clock_timestamp()
        WHERE x.org_id = settle_patient_findings.org_id AND x.patient_id = settle_patient_findings.patient_id
          AND x.message_id < settle_patient_findings.message_id AND x.resolved_at IS NULL
          AND x.code IN ('invalid_date', 'invalid_code', 'invalid_value', 'missing', 'patient_unnamed')
          -- what was told and not believed has settled nothing
          AND x.attribute LIKE 'patient.%' AND told ->> substr(x.attribute, 9) = known ->> substr(x.attribute, 9)
        RETURNING x.code, x.referral_id, x.message_id
    LOOP
        PERFORM referral.close_found(settle_patient_findings.org_id, d.message_id, d.referral_id, d.code, 'It has been told since.');
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.settle_patient_findings(bigint, bigint, bigint, jsonb) IS
'Marks as resolved what older messages than this one could not tell of a patient (a birth date that is none, a missing name), where what this one tells is what is known now, and closes the exceptions that were opened for it. told: columns of referral.patient.';

-- ---------- One message ----------

CREATE TYPE referral.intake_message AS (org_id bigint, message_id bigint, channel text, source text, content_type text, mapping text,
    zone text, selves text[]);
COMMENT ON TYPE referral.intake_message IS
'A message that is worked on: its head, and what source_system says of its source: the mapping, the zone of times without one, and the names that are our own.';
CREATE TYPE referral.intake_result AS (outcome text, wrote boolean, results jsonb, findings jsonb, referral_id bigint, patient_id bigint,
    patient_match text, message_type text, control_id text, mapping_version bigint);
COMMENT ON TYPE referral.intake_result IS
'What has become of a message so far: the outcome of its cases (mixed when they differ), whether any wrote something, all rows and findings, and the ids that the last case told.';

CREATE FUNCTION referral.message_from(org_id bigint, source text, channel text, content_type text, is_new boolean) RETURNS referral.intake_message
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m referral.intake_message;
    s record;
BEGIN
    IF coalesce(source !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a message needs a source' USING ERRCODE = 'RF020',
            DETAIL = 'The source is the system that sends; dedup keys are unique within it.', HINT = 'Name the system in source.';
    END IF;
    IF octet_length(source) > 500 THEN
        RAISE EXCEPTION 'the name of a source is too long' USING ERRCODE = 'RF020',
            DETAIL = 'It is part of the key of its messages, which has room for 500 bytes.', HINT = 'Name the system in source.';
    END IF;
    m.org_id := message_from.org_id;
    m.source := message_from.source;
    m.channel := message_from.channel;
    m.content_type := message_from.content_type;
    m.zone := 'UTC';
    FOR s IN SELECT x.source = message_from.source AS is_sender, x.is_self, x.source, x.active, x.logins, x.default_mapping, x.zone
             FROM referral.source_system x WHERE x.org_id = message_from.org_id AND (x.source = message_from.source OR x.is_self) LOOP
        IF s.is_self THEN
            m.selves := m.selves || s.source;
        END IF;
        IF s.is_sender THEN
            IF is_new AND NOT (s.active AND coalesce(referral.acting_login() = ANY (s.logins), true)) THEN
                RAISE EXCEPTION 'this login may not receive messages of this source' USING ERRCODE = 'RF003',
                    DETAIL = CASE WHEN s.active THEN 'Messages of the source come by other logins.' ELSE 'The source is not active.' END,
                    HINT = 'See logins and active in referral.source_system.';
            END IF;
            m.mapping := s.default_mapping;
            m.zone := s.zone;
        END IF;
    END LOOP;
    m.mapping := coalesce(substring(content_type FROM '(?i);\s*mapping\s*=\s*"?([^;"\s]+)'), m.mapping);
    RETURN m;
END $$;
COMMENT ON FUNCTION referral.message_from(bigint, text, text, text, boolean) IS
'The head of a message of a source, with what source_system says of it (a source without a row there: no mapping, UTC). is_new: may this session receive its messages? RF003 when source_system says that it may not. RF020 without a source, or for one of more than 500 bytes.';

CREATE FUNCTION referral.message_key(given text, hash bytea, payload text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    frame CONSTANT text := E'\uFEFF\x0B\x1C\r\n\t ';
BEGIN
    IF coalesce(given, '') = '' THEN
        -- the frame and the ends of lines are the transport's
        IF ltrim(left(payload, 20), frame) LIKE 'MSH%' THEN
            RETURN encode(sha256(convert_to(replace(replace(btrim(payload, frame), E'\r\n', E'\r'), E'\n', E'\r') || E'\r', 'UTF8')), 'hex');
        END IF;
        RETURN encode(hash, 'hex');
    END IF;
    -- an index takes no long ones
    RETURN CASE WHEN octet_length(given) > 500 THEN encode(sha256(convert_to(given, 'UTF8')), 'hex') ELSE given END;
END $$;
COMMENT ON FUNCTION referral.message_key(text, bytea, text) IS
'The key under which a message is kept: what the sender calls it, the SHA-256 of that when it is longer than 500 bytes; when it has no name, the hash of the payload, of an HL7 message as it is with carriage returns and without a frame.';

CREATE FUNCTION referral.apply_intake(m referral.intake_message, intake jsonb, INOUT done referral.intake_result)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head jsonb := intake -> 'message';
    written jsonb;
    became text;
    found jsonb;
BEGIN
    IF head IS NOT NULL THEN
        done.message_type := coalesce(done.message_type, head ->> 'type');
        done.control_id := coalesce(done.control_id, head ->> 'control_id');
        done.mapping_version := coalesce(done.mapping_version, (head ->> 'mapping_version')::bigint);
        -- in effect until the next one; an assignment costs less than PERFORM
        became := set_config('referral.correlation_id', coalesce(nullif(head ->> 'control_id', ''), 'message ' || m.message_id), true);
        IF head ->> 'originator' = ANY (m.selves) OR head ->> 'sender' = ANY (m.selves) THEN
            done.outcome := CASE WHEN done.outcome <> 'echo' THEN 'mixed' ELSE 'echo' END;
            RETURN;
        END IF;
    END IF;
    IF intake ->> 'kind' = 'none' THEN
        became := 'none';
    ELSE
        written := referral.apply_case(m.org_id, m.message_id, m.source, m.channel, intake);
        became := referral.case_outcome(intake ->> 'kind', (written ->> 'referral_id')::bigint, written -> 'results');
        done.wrote := true;
        done.results := done.results || coalesce(written -> 'results', '[]');
        IF became IN ('referral_created', 'referral_updated') THEN
            PERFORM referral.check_referral(m.org_id, (written ->> 'referral_id')::bigint);
        END IF;
        -- what is known of a patient now counts for the referrals that he has
        IF written ->> 'patient_match' <> 'new'
           AND (written -> 'results' @> '[{"entity": "patient", "action": "updated"}]' OR written -> 'results' @> '[{"entity": "coverage", "action": "created"}]'
                OR written -> 'results' @> '[{"entity": "coverage", "action": "updated"}]') THEN
            PERFORM referral.check_patient(m.org_id, (written ->> 'patient_id')::bigint);
        END IF;
    END IF;
    done.outcome := CASE WHEN done.outcome <> became THEN 'mixed' ELSE became END;
    found := coalesce(intake -> 'findings', '[]') || coalesce(written -> 'findings', '[]');
    IF found <> '[]' THEN
        done.findings := done.findings || (
            SELECT jsonb_agg(f || jsonb_strip_nulls(jsonb_build_object('referral_id', written -> 'referral_id', 'patient_id', written -> 'patient_id')))
            FROM jsonb_array_elements(found) f);
    END IF;
    done.referral_id := coalesce((written ->> 'referral_id')::bigint, done.referral_id);
    done.patient_id := coalesce((written ->> 'patient_id')::bigint, done.patient_id);
    done.patient_match := coalesce(written ->> 'patient_match', done.patient_match);
END $$;
COMMENT ON FUNCTION referral.apply_intake(referral.intake_message, jsonb, referral.intake_result) IS
'Writes one case of a message with apply_case(), unless it is an echo of our own change or there is nothing to do, and adds what became of it to the result.';

CREATE FUNCTION referral.apply_document(m referral.intake_message, payload text, INOUT done referral.intake_result)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
    told jsonb;
    filed text := 'unchanged';
BEGIN
    SELECT d.document_id INTO id FROM referral.document d
    WHERE d.org_id = m.org_id AND d.inbox_message_id = m.message_id
    ORDER BY d.document_id LIMIT 1;
    IF FOUND THEN
        told := referral.extracted_case(m.org_id, id);
    ELSE
        INSERT INTO referral.document (org_id, type, source, content_type, content_hash, url, inbox_message_id)
        VALUES (m.org_id, 'unindexed', m.source, m.content_type, sha256(convert_to(payload, 'UTF8')),
                -- a reference instead of the content
                CASE WHEN length(payload) <= 2000 AND payload ~ '^[a-z][a-z0-9+.-]*:[^\s]+$' THEN payload END, m.message_id)
        RETURNING document_id INTO id;
        filed := 'created';
    END IF;
    IF told IS NULL THEN
        done.outcome := 'document_' || filed;
        done.wrote := true;
        done.results := done.results || jsonb_build_object('entity', 'document', 'id', id, 'action', filed);
        done.findings := done.findings || '{"code": "content_not_indexed", "severity": "error"}'::jsonb;
    ELSE
        done := referral.apply_intake(m, told, done);
        UPDATE referral.document d SET referral_id = done.referral_id, patient_id = done.patient_id
        WHERE d.org_id = m.org_id AND d.document_id = id
          AND (d.referral_id, d.patient_id) IS DISTINCT FROM (done.referral_id, done.patient_id);
    END IF;
END $$;
COMMENT ON FUNCTION referral.apply_document(referral.intake_message, text, referral.intake_result) IS
'Keeps a payload without structure as a document of type unindexed, once. When extracted_case() has a case of it by now, that is written, and the document belongs to its referral and patient; until then there is a finding, and so an exception.';

CREATE FUNCTION referral.apply_part(m referral.intake_message, kind text, part text, number integer, INOUT done referral.intake_result)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    intake jsonb;
    n integer := 0;
BEGIN
    IF kind = 'document' THEN
        done := referral.apply_document(m, part, done);
        RETURN;
    END IF;
    FOREACH intake IN ARRAY referral.part_cases(kind, part, m.source, m.mapping, m.zone) LOOP
        n := n + 1;
        -- what has no number of its own is known by its place
        IF number IS NOT NULL OR n > 1 THEN
            intake := jsonb_set(intake, '{message}', coalesce(intake -> 'message', '{}')
                || jsonb_build_object('part', concat_ws('.', number, coalesce(intake #>> '{message,part}', n::text))));
        END IF;
        done := referral.apply_intake(m, intake, done);
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.apply_part(referral.intake_message, text, text, integer, referral.intake_result) IS
'Reads and maps one part of a message, writes its cases, and adds what became of them to the result. number: which part, where there are several. RF014 when it cannot be read or tells nothing.';

CREATE FUNCTION referral.work_on_message(m referral.intake_message, payload text, again boolean, key_reused boolean,
    OUT status referral.inbox_status, OUT outcome text, OUT referral_id bigint, OUT patient_id bigint, OUT findings integer, OUT error text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    kind text := referral.payload_kind(m.content_type, payload);
    -- of the session, given back at the end
    origin text := current_setting('referral.origin', true);
    correlation_id text := current_setting('referral.correlation_id', true);
    zone text := current_setting('TimeZone');
    done referral.intake_result := ROW(NULL, false, '[]', '[]', NULL, NULL, NULL, NULL, NULL, NULL);
    parts text[];
    part integer := 0;
    failed integer := 0;
    code text;
    place text;
    context text;
BEGIN
    context := set_config('referral.origin', m.source, true);
    context := set_config('referral.correlation_id', 'message ' || m.message_id, true);
    LOOP
        BEGIN
            -- times without a zone are the sender's, and never the session's; here, because the server may not know it
            IF m.zone <> current_setting('TimeZone') THEN
                context := set_config('TimeZone', m.zone, true);
            END IF;
            IF parts IS NULL THEN
                parts := referral.payload_parts(kind, payload);
                EXIT WHEN parts = '{}';
            END IF;
            part := part + 1;
            done := referral.apply_part(m, kind, parts[part], CASE WHEN cardinality(parts) > 1 THEN part END, done);
        EXCEPTION WHEN OTHERS THEN
            IF referral.is_passing_error(SQLSTATE) THEN
                RAISE;
            END IF;
            failed := failed + 1;
            IF failed = 1 THEN
                GET STACKED DIAGNOSTICS place = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
                code := SQLSTATE;
                error := referral.intake_error(SQLSTATE, SQLERRM, context);
                place := nullif(concat_ws(', ', CASE WHEN cardinality(parts) > 1 THEN 'part ' || part END,
                                          CASE WHEN code = 'RF014' THEN nullif(place, '') END), '');
            END IF;
        END;
        EXIT WHEN part >= coalesce(cardinality(parts), 0);
    END LOOP;
    IF failed > 0 AND cardinality(parts) > 1 THEN
        error := format('%s of %s parts: %s', failed, cardinality(parts), error);
    END IF;
    IF key_reused THEN
        done.findings := done.findings || '{"code": "dedup_key_reused", "severity": "warning"}'::jsonb;
    END IF;
    status := CASE WHEN failed > 0 THEN 'error' WHEN done.outcome = 'echo' THEN 'echo' WHEN done.wrote THEN 'processed' ELSE 'ignored' END;
    outcome := done.outcome;
    referral_id := done.referral_id;
    patient_id := done.patient_id;
    UPDATE referral.inbox_message x
    SET status = work_on_message.status,
        -- what it wrote when it was worked on before is still there
        outcome = CASE WHEN failed > 0 AND NOT done.wrote THEN x.outcome ELSE done.outcome END,
        results = CASE WHEN failed > 0 AND NOT done.wrote THEN x.results ELSE done.results END,
        referral_id = coalesce(done.referral_id, CASE WHEN failed > 0 THEN x.referral_id END),
        patient_id = coalesce(done.patient_id, CASE WHEN failed > 0 THEN x.patient_id END),
        patient_match = coalesce(done.patient_match, CASE WHEN failed > 0 THEN x.patient_match END),
        message_type = coalesce(done.message_type, CASE WHEN failed > 0 THEN x.message_type END),
        control_id = coalesce(done.control_id, CASE WHEN failed > 0 THEN x.control_id END),
        mapping_version = done.mapping_version, error_code = code, error = work_on_message.error, error_position = place,
        attempts = x.attempts + 1, processed_at = clock_timestamp()
    WHERE x.org_id = m.org_id AND x.message_id = m.message_id;
    findings := 0;
    IF again OR done.findings <> '[]' THEN
        findings := referral.note_findings(m.org_id, m.message_id, again AND failed = 0, done.findings);
    END IF;
    IF failed > 0 THEN
        PERFORM referral.open_exception(m.org_id, 'integration', 'inbox_message', m.message_id, done.referral_id, 'not_processed',
                                        concat_ws('; ', error, place), 'high');
    ELSIF again THEN
        PERFORM referral.close_exception(e.org_id, e.exception_id, 'the message was processed')
        FROM referral.exception_item e
        WHERE e.org_id = m.org_id AND e.entity = 'inbox_message' AND e.entity_id = m.message_id
          AND e.category = 'integration' AND e.code = 'not_processed' AND e.status NOT IN ('resolved', 'dismissed');
    END IF;
    context := set_config('referral.origin', coalesce(origin, ''), true);
    context := set_config('referral.correlation_id', coalesce(correlation_id, ''), true);
    IF m.zone <> zone THEN
        context := set_config('TimeZone', zone, true);
    END IF;
END $$;
COMMENT ON FUNCTION referral.work_on_message(referral.intake_message, text, boolean, boolean) IS
'Reads a stored message, writes what it tells, and notes on it what became of it. Each part of it is undone alone when it fails, and the message then has the status error, with the error, and an exception. again: it was worked on before. Raises only errors of the moment: the caller has to repeat then. All queries under it look rows up by keys: their plans are kept whatever the values are, and take the indexes even while the tables are new and have no statistics.';

CREATE FUNCTION referral.receive(channel referral.intake_channel, source text, content_type text DEFAULT NULL, payload text DEFAULT NULL,
    dedup_key text DEFAULT NULL, OUT message_id bigint, OUT status referral.inbox_status, OUT outcome text, OUT referral_id bigint,
    OUT patient_id bigint, OUT repeated boolean, OUT findings integer, OUT error text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m referral.intake_message := referral.message_from(referral.current_org(), source, channel::text, content_type, true);
    hash bytea := sha256(convert_to(payload, 'UTF8'));
    key text := referral.message_key(dedup_key, hash, payload);
    reused boolean := false;
    w record;
BEGIN
    IF payload IS NULL OR channel IS NULL THEN
        RAISE EXCEPTION 'a message needs a channel and a payload' USING ERRCODE = 'RF020',
            DETAIL = 'There is nothing to keep.', HINT = 'Pass the message as text, what is binary as base64.';
    END IF;
    repeated := false;
    LOOP
        INSERT INTO referral.inbox_message (org_id, channel, source, content_type, dedup_key, payload, payload_hash)
        VALUES (m.org_id, receive.channel, receive.source, receive.content_type, key, receive.payload, hash)
        ON CONFLICT ON CONSTRAINT inbox_message_key DO NOTHING
        RETURNING inbox_message.message_id INTO message_id;
        EXIT WHEN FOUND;
        UPDATE referral.inbox_message x SET repeat_count = x.repeat_count + 1, last_repeat_at = clock_timestamp()
        WHERE x.org_id = m.org_id AND x.source = receive.source AND x.dedup_key = key
          AND (x.payload_hash = hash OR referral.message_key('', x.payload_hash, x.payload) = referral.message_key('', hash, receive.payload))
        RETURNING x.message_id, x.status, x.outcome, x.referral_id, x.patient_id, x.error INTO w;
        IF FOUND THEN
            message_id := w.message_id;
            status := w.status;
            outcome := w.outcome;
            referral_id := w.referral_id;
            patient_id := w.patient_id;
            error := w.error;
            repeated := true;
            findings := (SELECT count(*) FROM referral.data_quality_finding f
                         WHERE f.org_id = m.org_id AND f.message_id = w.message_id AND f.resolved_at IS NULL);
            RETURN;
        END IF;
        -- senders do use a key again for another message: it is kept under a key of its own
        EXIT WHEN reused;
        reused := true;
        key := key || '#' || left(encode(hash, 'hex'), 16);
    END LOOP;
    m.message_id := message_id;
    w := referral.work_on_message(m, payload, false, reused);
    status := w.status;
    outcome := w.outcome;
    referral_id := w.referral_id;
    patient_id := w.patient_id;
    findings := w.findings;
    error := w.error;
END $$;
COMMENT ON FUNCTION referral.receive(referral.intake_channel, text, text, text, text) IS
'Takes in a message of a source (the system that sends): stores it in inbox_message, then reads it, maps it to the canonical model and writes that. Returns one row: the message''s id, what became of it, and how many findings there are. What the payload holds never raises an error: it is kept in status error with the reason, and an exception is opened. content_type: application/hl7-v2, application/fhir+json, application/json and text/csv (with ; mapping=name), others become documents; null: told by the first characters. dedup_key: default the SHA-256 of the payload; the same key and payload again are answered with the first result (repeated) and counted, the same key with another payload is a message of its own, with a finding. RF003 when the source is not for this login, RF020 without source, channel or payload. An error of the moment, such as a deadlock, passes through: nothing is stored, send it again.';

CREATE FUNCTION referral.reprocess(org_id bigint, message_id bigint, OUT status referral.inbox_status, OUT outcome text,
    OUT referral_id bigint, OUT patient_id bigint, OUT findings integer, OUT error text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m record;
    head referral.intake_message;
    origin text;
BEGIN
    SELECT x.channel, x.source, x.content_type, x.payload, x.attempts,
           starts_with(reverse(x.dedup_key), reverse('#' || left(encode(x.payload_hash, 'hex'), 16))) AS key_reused
    INTO m FROM referral.inbox_message x
    WHERE x.org_id = reprocess.org_id AND x.message_id = reprocess.message_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no message %', message_id USING ERRCODE = 'RF019',
            DETAIL = 'It is not there, or another organisation''s.', HINT = 'SELECT message_id FROM referral.inbox_message.';
    END IF;
    head := referral.message_from(reprocess.org_id, m.source, m.channel::text, m.content_type, false);
    head.message_id := reprocess.message_id;
    -- who is not believed for the source could not write what the source keeps, and it would be lost
    origin := current_setting('referral.origin', true);
    PERFORM set_config('referral.origin', m.source, true);
    IF EXISTS (SELECT FROM (SELECT DISTINCT s.entity FROM referral.source_of_record s WHERE s.owner_system = m.source) e
               CROSS JOIN LATERAL referral.foreign_attributes(reprocess.org_id, e.entity) f
               WHERE f.owner_system = m.source) THEN
        RAISE EXCEPTION 'this login may not process messages of this source again' USING ERRCODE = 'RF003',
            DETAIL = 'The source keeps attributes here, and its messages come by other logins, or it is not active.',
            HINT = 'Have a login of the source call reprocess(): see logins and active in referral.source_system.';
    END IF;
    PERFORM set_config('referral.origin', coalesce(origin, ''), true);
    SELECT w.* INTO status, outcome, referral_id, patient_id, findings, error
    FROM referral.work_on_message(head, m.payload, m.attempts > 0, m.key_reused) w;
END $$;
COMMENT ON FUNCTION referral.reprocess(bigint, bigint) IS
'Reads a stored message again and writes what it tells, for instance after its mapping was mended or a document was read; returns what became of it. What it wrote before is brought up to date, not written twice. When it succeeds, its exception is closed, and findings that are not found any more are resolved. RF019 when there is no such message; RF003 when its source keeps attributes (source_of_record) and this login is none of the source''s.';

CREATE FUNCTION referral.reprocess_errors(source text DEFAULT NULL, max integer DEFAULT 1000, OUT processed bigint, OUT failed bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m record;
BEGIN
    processed := 0;
    failed := 0;
    FOR m IN SELECT x.org_id, x.message_id FROM referral.inbox_message x
             WHERE x.org_id = referral.current_org() AND x.status IN ('received', 'error')
               AND (reprocess_errors.source IS NULL OR x.source = reprocess_errors.source)
             ORDER BY x.attempts, x.message_id LIMIT max FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        BEGIN
            IF (SELECT r.status FROM referral.reprocess(m.org_id, m.message_id) r) = 'error' THEN
                failed := failed + 1;
            ELSE
                processed := processed + 1;
            END IF;
        EXCEPTION WHEN SQLSTATE 'RF003' THEN
            failed := failed + 1;    -- for a login of its source
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.reprocess_errors(text, integer) IS
'reprocess() of up to max messages of the organisation in status error, those tried least often first; of one source, or of all when it is null. Returns how many went well and how many failed again; those that only a login of their source may process fail here.';
REVOKE ALL ON FUNCTION referral.note_findings(bigint, bigint, boolean, jsonb), referral.settle_findings(bigint, bigint, jsonb),
    referral.close_found(bigint, bigint, bigint, text, text), referral.settle_patient_findings(bigint, bigint, bigint, jsonb),
    referral.message_from(bigint, text, text, text, boolean), referral.apply_intake(referral.intake_message, jsonb, referral.intake_result),
    referral.apply_document(referral.intake_message, text, referral.intake_result),
    referral.apply_part(referral.intake_message, text, text, integer, referral.intake_result),
    referral.work_on_message(referral.intake_message, text, boolean, boolean),
    referral.receive(referral.intake_channel, text, text, text, text), referral.reprocess(bigint, bigint),
    referral.reprocess_errors(text, integer) FROM PUBLIC;

-- ---------- Guards ----------

CREATE FUNCTION referral.inbox_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.channel, OLD.source, OLD.content_type, OLD.dedup_key, OLD.payload_hash, OLD.received_at, OLD.received_by)
                            IS NOT DISTINCT FROM (NEW.channel, NEW.source, NEW.content_type, NEW.dedup_key, NEW.payload_hash, NEW.received_at, NEW.received_by)
       AND OLD.payload = NEW.payload THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'message % stays as it was received', OLD.message_id
        USING ERRCODE = 'RF007', DETAIL = 'What a system sent, how and when, is on record.',
              HINT = 'Have the sender send a new message; reprocess() reads this one again.';
END $$;
COMMENT ON FUNCTION referral.inbox_guard() IS
'BEFORE row trigger of referral.inbox_message: RF007 when a message is deleted, or anything of it changed but what became of it.';

CREATE FUNCTION referral.inbox_arrival() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM referral.source_system s WHERE s.org_id = NEW.org_id AND s.source = NEW.source
               AND NOT (s.active AND coalesce(referral.acting_login() = ANY (s.logins), true))) THEN
        RAISE EXCEPTION 'this login may not receive messages of this source' USING ERRCODE = 'RF003',
            DETAIL = 'Messages of the source come by other logins, or it is not active.',
            HINT = 'See logins and active in referral.source_system.';
    END IF;
    NEW.payload_hash := sha256(convert_to(NEW.payload, 'UTF8'));
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.inbox_arrival() IS
'BEFORE INSERT row trigger of referral.inbox_message: RF003 when the source is not for this login, by whatever way it writes; the hash is that of the payload.';

CREATE FUNCTION referral.source_system_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM now() AT TIME ZONE NEW.zone;
    RETURN NEW;
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'there is no time zone "%"', NEW.zone USING ERRCODE = 'RF020',
        DETAIL = 'Times that a source sends without a zone are read in its own.', HINT = 'SELECT name FROM pg_timezone_names.';
END $$;
COMMENT ON FUNCTION referral.source_system_guard() IS 'BEFORE row trigger of referral.source_system: RF020 for a zone that is none.';
REVOKE ALL ON FUNCTION referral.inbox_guard(), referral.inbox_arrival(), referral.source_system_guard() FROM PUBLIC;
