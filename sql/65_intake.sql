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
        IF payload ~ '[\r\n\x0B\x1C]MSH[^[:alnum:]\s]' THEN
            -- a batch: messages one after the other, perhaps with FHS, BHS, BTS and FTS around them
            parts := ARRAY(
                SELECT p FROM regexp_split_to_table(payload, '[\r\n\x0B\x1C]+(?=(?:MSH|BHS|BTS|FTS)[^[:alnum:]\s])') p
                WHERE p ~ '^[\uFEFF\s\x0B\x1C]*MSH');
        END IF;
    ELSIF kind = 'lines' THEN
        parts := ARRAY(SELECT p FROM regexp_split_to_table(ltrim(payload, E'\uFEFF'), '[\r\n]+') p WHERE p ~ '\S');
    ELSIF kind = 'csv' THEN
        parts := ARRAY(SELECT r.record::text FROM referral.csv_records(payload) r);
    ELSIF kind = 'json' AND left(ltrim(payload, E' \t\r\n\uFEFF'), 1) = '[' THEN
        parts := ARRAY(SELECT p::text FROM jsonb_array_elements(referral.payload_json(payload)) p);
    END IF;
    IF parts = '{}' THEN
        RAISE EXCEPTION 'the message is empty' USING ERRCODE = 'RF014', DETAIL = 'whole message', HINT = 'Have the sender send it again.';
    END IF;
    RETURN parts;
END $$;
COMMENT ON FUNCTION referral.payload_parts(text, text) IS
'The parts of a payload that are worked on one by one, so that a faulty one does not stop the rest: messages of an HL7 batch, lines, elements of a JSON array, rows of a CSV file; the payload itself otherwise. RF014 when it cannot be taken apart, or is empty.';

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

CREATE FUNCTION referral.part_cases(kind text, part text, source text, mapping text, zone text) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    content jsonb;
BEGIN
    IF kind = 'hl7' THEN
        RETURN QUERY SELECT c FROM referral.map_hl7v2(referral.hl7_parse(part), source, zone) c;
        RETURN;
    END IF;
    content := referral.payload_json(part);
    IF kind = 'fhir' OR (kind <> 'csv' AND content ? 'resourceType') THEN
        RETURN QUERY SELECT c FROM referral.map_fhir(content, source) c;
    ELSIF mapping IS NULL THEN
        RAISE EXCEPTION 'no mapping says what the fields mean' USING ERRCODE = 'RF014', DETAIL = 'whole message',
            HINT = 'Set default_mapping in referral.source_system, or name a mapping in the content type: text/csv; mapping=name.';
    ELSE
        RETURN QUERY SELECT c FROM referral.map_record(content, mapping) c;
    END IF;
END $$;
COMMENT ON FUNCTION referral.part_cases(text, text, text, text, text) IS
'What a part of a payload tells, as cases of the canonical model: HL7 v2, FHIR, or a record of a source mapping. zone: of times without one. RF014 when it cannot be read; the detail says where.';

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
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN code ~ '^(08|25|40|57|58)' OR code IN ('53100', '53300', '55P03', '55P04');
COMMENT ON FUNCTION referral.is_passing_error(text) IS
'Is the error one of the moment (deadlock, serialization, lock, cancel, disk), and not of what a message holds? Then the caller has to repeat the whole call. Null for null.';

CREATE FUNCTION referral.intake_error(code text, message text, context text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT referral.harmless_error(code, message)
           || CASE WHEN code LIKE 'RF%' THEN '' ELSE coalesce(' in ' || substring(context FROM '(?:PL/pgSQL|SQL) function ([^\n]*)'), '') END
$$;
COMMENT ON FUNCTION referral.intake_error(text, text, text) IS
'An error as it is kept with a message: harmless_error(), and for others than our own the function where it came up. Nothing of what the message holds.';

-- ---------- Findings ----------

CREATE FUNCTION referral.finding_category(code text) RETURNS referral.exception_category
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (CASE WHEN code IN ('unknown_payer', 'payer_changed', 'overlapping_coverage') THEN 'payer_mismatch'
                 WHEN code = 'possible_duplicate' THEN 'duplicate_record'
                 WHEN code = 'low_confidence' THEN 'low_confidence'
                 WHEN code = 'content_not_indexed' THEN 'clinical_review'
                 WHEN code IN ('transition_refused', 'not_source_of_record') THEN 'policy'
                 ELSE 'integration' END)::referral.exception_category
$$;
COMMENT ON FUNCTION referral.finding_category(text) IS 'The category of the exception that a finding opens. Null for null.';

CREATE FUNCTION referral.finding_needs_person(code text, severity text, attribute text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT severity = 'error'
           OR (severity = 'warning' AND (code IN ('patient_unnamed', 'unknown_payer', 'ambiguous_referral', 'transition_refused')
                                         OR (code = 'invalid_date' AND attribute IS NOT DISTINCT FROM 'patient.birth_date')))
$$;
COMMENT ON FUNCTION referral.finding_needs_person(text, text, text) IS
'Does a finding open an exception? Those of severity error do, and of the warnings those without which the case cannot go on for long.';

CREATE FUNCTION referral.note_findings(org_id bigint, message_id bigint, again boolean, findings jsonb) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted integer := 0;
    f record;
BEGIN
    IF again THEN
        PERFORM referral.settle_findings(note_findings.org_id, note_findings.message_id, findings);
    END IF;
    IF findings = '[]' THEN
        RETURN 0;
    END IF;
    INSERT INTO referral.data_quality_finding (org_id, message_id, referral_id, patient_id, code, severity, attribute, value, position, detail)
    SELECT DISTINCT ON (g.code, g.attribute, g.position)
           note_findings.org_id, note_findings.message_id, g.referral_id, g.patient_id, coalesce(g.code, 'invalid_value'),
           CASE WHEN g.severity IN ('info', 'warning', 'error') THEN g.severity ELSE 'warning' END, g.attribute,
           left(g.value, 1000), g.position, g.detail
    FROM jsonb_to_recordset(findings) g (code text, severity text, attribute text, value text, position text, detail text,
                                         referral_id bigint, patient_id bigint)
    WHERE NOT again OR NOT EXISTS (
        SELECT FROM referral.data_quality_finding d
        WHERE d.org_id = note_findings.org_id AND d.message_id = note_findings.message_id AND d.resolved_at IS NULL
          AND (d.code, d.attribute, d.position) IS NOT DISTINCT FROM (g.code, g.attribute, g.position))
    -- the worst of those that are the same
    ORDER BY g.code, g.attribute, g.position, CASE g.severity WHEN 'error' THEN 1 WHEN 'info' THEN 3 ELSE 2 END;
    GET DIAGNOSTICS noted = ROW_COUNT;
    FOR f IN SELECT DISTINCT ON (g.code, g.referral_id) g.* FROM jsonb_to_recordset(findings)
                 g (code text, severity text, attribute text, position text, detail text, referral_id bigint)
             WHERE referral.finding_needs_person(g.code, g.severity, g.attribute) ORDER BY g.code, g.referral_id, g.severity
    LOOP
        PERFORM referral.open_exception(note_findings.org_id, referral.finding_category(f.code),
            CASE WHEN f.referral_id IS NULL THEN 'inbox_message' ELSE 'referral' END, coalesce(f.referral_id, note_findings.message_id),
            f.referral_id, f.code, concat_ws('; ', f.attribute, f.position, f.detail, 'message ' || note_findings.message_id),
            CASE f.severity WHEN 'error' THEN 'high' ELSE 'medium' END);
    END LOOP;
    RETURN noted;
END $$;
COMMENT ON FUNCTION referral.note_findings(bigint, bigint, boolean, jsonb) IS
'Keeps what was found about a message in data_quality_finding, and opens exceptions for what needs a person; returns how many are new. again: the message was worked on before: what is not found any more is settled, what was found before is not written twice.';

CREATE FUNCTION referral.settle_findings(org_id bigint, message_id bigint, findings jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
    item bigint;
BEGIN
    FOR d IN
        UPDATE referral.data_quality_finding x SET resolved_at = clock_timestamp()
        WHERE x.org_id = settle_findings.org_id AND x.message_id = settle_findings.message_id AND x.resolved_at IS NULL
          AND NOT EXISTS (SELECT FROM jsonb_to_recordset(findings) g (code text, attribute text, position text)
                          WHERE (g.code, g.attribute, g.position) IS NOT DISTINCT FROM (x.code, x.attribute, x.position))
        RETURNING x.code, x.referral_id
    LOOP
        -- another message may have found the same about the referral
        CONTINUE WHEN EXISTS (SELECT FROM referral.data_quality_finding x
                              WHERE x.org_id = settle_findings.org_id AND x.code = d.code AND x.resolved_at IS NULL
                                AND CASE WHEN d.referral_id IS NULL THEN x.message_id = settle_findings.message_id
                                         ELSE x.referral_id = d.referral_id END);
        SELECT e.exception_id INTO item FROM referral.exception_item e
        WHERE e.org_id = settle_findings.org_id AND e.code = d.code AND e.category = referral.finding_category(d.code)
          AND e.entity = CASE WHEN d.referral_id IS NULL THEN 'inbox_message' ELSE 'referral' END
          AND e.entity_id = coalesce(d.referral_id, settle_findings.message_id) AND e.status NOT IN ('resolved', 'dismissed');
        IF FOUND THEN
            PERFORM referral.close_exception(settle_findings.org_id, item, 'not found any more when the message was processed again');
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.settle_findings(bigint, bigint, jsonb) IS
'Marks what was found about a message before, and is not among these findings any more, as resolved, and closes the exceptions that were opened for it.';

-- ---------- One message ----------

CREATE TYPE referral.intake_result AS (outcome text, wrote boolean, results jsonb, findings jsonb, referral_id bigint, patient_id bigint,
    patient_match text, message_type text, control_id text, mapping_version bigint);
COMMENT ON TYPE referral.intake_result IS
'What has become of a message so far: the outcome of its cases (mixed when they differ), whether any wrote something, all rows and findings, and the ids that the last case told.';

CREATE FUNCTION referral.apply_intake(org_id bigint, message_id bigint, channel text, source text, intake jsonb, INOUT done referral.intake_result)
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
        IF head ->> 'control_id' <> '' THEN
            PERFORM set_config('referral.correlation_id', head ->> 'control_id', true);
        END IF;
        IF EXISTS (SELECT FROM referral.source_system s
                   WHERE s.org_id = apply_intake.org_id AND s.source IN (head ->> 'originator', head ->> 'sender') AND s.is_self) THEN
            done.outcome := CASE WHEN done.outcome <> 'echo' THEN 'mixed' ELSE 'echo' END;
            RETURN;
        END IF;
    END IF;
    IF intake ->> 'kind' = 'none' THEN
        became := 'none';
    ELSE
        written := referral.apply_case(apply_intake.org_id, apply_intake.message_id, source, channel, intake);
        became := referral.case_outcome(intake ->> 'kind', (written ->> 'referral_id')::bigint, written -> 'results');
        done.wrote := true;
        done.results := done.results || coalesce(written -> 'results', '[]');
        IF became IN ('referral_created', 'referral_updated') THEN
            PERFORM referral.check_referral(apply_intake.org_id, (written ->> 'referral_id')::bigint);
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
COMMENT ON FUNCTION referral.apply_intake(bigint, bigint, text, text, jsonb, referral.intake_result) IS
'Writes one case of a message with apply_case(), unless it is an echo of our own change or there is nothing to do, and adds what became of it to the result.';

CREATE FUNCTION referral.apply_document(org_id bigint, message_id bigint, channel text, source text, content_type text, payload text,
    INOUT done referral.intake_result)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
    told jsonb;
    filed text := 'unchanged';
BEGIN
    SELECT d.document_id INTO id FROM referral.document d
    WHERE d.org_id = apply_document.org_id AND d.inbox_message_id = apply_document.message_id
    ORDER BY d.document_id LIMIT 1;
    IF FOUND THEN
        told := referral.extracted_case(apply_document.org_id, id);
    ELSE
        INSERT INTO referral.document (org_id, type, source, content_type, content_hash, url, inbox_message_id)
        VALUES (apply_document.org_id, 'unindexed', apply_document.source, apply_document.content_type,
                sha256(convert_to(payload, 'UTF8')),
                -- a reference instead of the content
                CASE WHEN length(payload) <= 2000 AND payload ~ '^[a-z][a-z0-9+.-]*:[^\s]+$' THEN payload END, apply_document.message_id)
        RETURNING document_id INTO id;
        filed := 'created';
    END IF;
    IF told IS NULL THEN
        done.outcome := 'document_' || filed;
        done.wrote := true;
        done.results := done.results || jsonb_build_object('entity', 'document', 'id', id, 'action', filed);
        done.findings := done.findings || '{"code": "content_not_indexed", "severity": "error"}'::jsonb;
    ELSE
        done := referral.apply_intake(apply_document.org_id, apply_document.message_id, channel, source, told, done);
        UPDATE referral.document d SET referral_id = done.referral_id, patient_id = done.patient_id
        WHERE d.org_id = apply_document.org_id AND d.document_id = id
          AND (d.referral_id, d.patient_id) IS DISTINCT FROM (done.referral_id, done.patient_id);
    END IF;
END $$;
COMMENT ON FUNCTION referral.apply_document(bigint, bigint, text, text, text, text, referral.intake_result) IS
'Keeps a payload without structure as a document of type unindexed, once. When extracted_case() has a case of it by now, that is written, and the document belongs to its referral and patient; until then there is a finding, and so an exception.';

CREATE FUNCTION referral.apply_part(org_id bigint, message_id bigint, channel text, source text, content_type text, kind text, part text,
    number integer, mapping text, INOUT done referral.intake_result)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    intake jsonb;
    n integer := 0;
BEGIN
    IF kind = 'document' THEN
        done := referral.apply_document(apply_part.org_id, apply_part.message_id, channel, source, content_type, part, done);
        RETURN;
    END IF;
    FOR intake IN SELECT c FROM referral.part_cases(kind, part, source, mapping, current_setting('TimeZone')) c LOOP
        n := n + 1;
        -- what has no number of its own is known by its place
        IF number IS NOT NULL OR n > 1 THEN
            intake := jsonb_set(intake, '{message}', coalesce(intake -> 'message', '{}')
                || jsonb_build_object('part', concat_ws('.', number, coalesce(intake #>> '{message,part}', n::text))));
        END IF;
        done := referral.apply_intake(apply_part.org_id, apply_part.message_id, channel, source, intake, done);
    END LOOP;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the message tells nothing that is known' USING ERRCODE = 'RF014', DETAIL = 'whole message',
            HINT = 'Is the content type right? Does the mapping take records of this form?';
    END IF;
END $$;
COMMENT ON FUNCTION referral.apply_part(bigint, bigint, text, text, text, text, text, integer, text, referral.intake_result) IS
'Reads and maps one part of a message, writes its cases, and adds what became of them to the result. number: which part, where there are several. RF014 when it cannot be read or tells nothing.';

CREATE FUNCTION referral.work_on_message(org_id bigint, message_id bigint, channel text, source text, content_type text, payload text,
    again boolean, key_reused boolean, OUT status referral.inbox_status, OUT outcome text, OUT referral_id bigint, OUT patient_id bigint,
    OUT findings integer, OUT error text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind text := referral.payload_kind(content_type, payload);
    former text[] := ARRAY[current_setting('referral.origin', true), current_setting('referral.correlation_id', true),
                           current_setting('TimeZone')];
    own_mapping text := substring(content_type FROM '(?i);\s*mapping\s*=\s*"?([^;"\s]+)');
    sender record;
    done referral.intake_result := ROW(NULL, false, '[]', '[]', NULL, NULL, NULL, NULL, NULL, NULL);
    parts text[];
    part integer := 0;
    failed integer := 0;
    code text;
    place text;
    context text;
BEGIN
    SELECT s.default_mapping, s.zone INTO sender FROM referral.source_system s
    WHERE s.org_id = work_on_message.org_id AND s.source = work_on_message.source;
    PERFORM set_config('referral.origin', source, true);
    PERFORM set_config('referral.correlation_id', 'message ' || work_on_message.message_id, true);
    -- times without a zone are the sender's, and never the session's
    IF coalesce(sender.zone, 'UTC') <> former[3] THEN
        PERFORM set_config('TimeZone', coalesce(sender.zone, 'UTC'), true);
    END IF;
    LOOP
        BEGIN
            IF parts IS NULL THEN
                parts := referral.payload_parts(kind, payload);
            END IF;
            part := part + 1;
            done := referral.apply_part(work_on_message.org_id, work_on_message.message_id, channel, source, content_type, kind,
                parts[part], CASE WHEN cardinality(parts) > 1 THEN part END, coalesce(own_mapping, sender.default_mapping), done);
        EXCEPTION WHEN OTHERS THEN
            IF referral.is_passing_error(SQLSTATE) THEN
                RAISE;
            END IF;
            failed := failed + 1;
            IF failed = 1 THEN
                GET STACKED DIAGNOSTICS place = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
                code := SQLSTATE;
                error := referral.intake_error(SQLSTATE, SQLERRM, context);
                place := CASE WHEN code = 'RF014' THEN nullif(place, '') END;
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
    UPDATE referral.inbox_message m
    SET status = work_on_message.status, outcome = work_on_message.outcome, message_type = done.message_type, control_id = done.control_id,
        results = done.results, referral_id = done.referral_id, patient_id = done.patient_id, patient_match = done.patient_match,
        mapping_version = done.mapping_version, error_code = code, error = work_on_message.error, error_position = place,
        attempts = m.attempts + 1, processed_at = clock_timestamp()
    WHERE m.org_id = work_on_message.org_id AND m.message_id = work_on_message.message_id;
    findings := referral.note_findings(work_on_message.org_id, work_on_message.message_id, again AND failed = 0, done.findings);
    IF failed > 0 THEN
        PERFORM referral.open_exception(work_on_message.org_id, 'integration', 'inbox_message', work_on_message.message_id, done.referral_id,
            'not_processed', concat_ws('; ', error, place), 'high');
    ELSIF again THEN
        PERFORM referral.close_exception(e.org_id, e.exception_id, 'the message was processed')
        FROM referral.exception_item e
        WHERE e.org_id = work_on_message.org_id AND e.entity = 'inbox_message' AND e.entity_id = work_on_message.message_id
          AND e.category = 'integration' AND e.code = 'not_processed' AND e.status NOT IN ('resolved', 'dismissed');
    END IF;
    PERFORM set_config('referral.origin', coalesce(former[1], ''), true);
    PERFORM set_config('referral.correlation_id', coalesce(former[2], ''), true);
    IF coalesce(sender.zone, 'UTC') <> former[3] THEN
        PERFORM set_config('TimeZone', former[3], true);
    END IF;
END $$;
COMMENT ON FUNCTION referral.work_on_message(bigint, bigint, text, text, text, text, boolean, boolean) IS
'Reads a stored message, writes what it tells, and notes on it what became of it. Each part of it is undone alone when it fails, and the message then has the status error, with the error, and an exception. again: it was worked on before. Raises only errors of the moment: the caller has to repeat then.';

CREATE FUNCTION referral.check_sender(org_id bigint, source text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s record;
BEGIN
    IF coalesce(source !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a message needs a source' USING ERRCODE = 'RF020',
            DETAIL = 'The source is the system that sends; dedup keys are unique within it.', HINT = 'Name the system in source.';
    END IF;
    SELECT x.active, x.logins INTO s FROM referral.source_system x WHERE x.org_id = check_sender.org_id AND x.source = check_sender.source;
    IF FOUND AND NOT (s.active AND coalesce(referral.acting_login() = ANY (s.logins), true)) THEN
        RAISE EXCEPTION 'this login may not receive messages of this source' USING ERRCODE = 'RF003',
            DETAIL = CASE WHEN s.active THEN 'Messages of the source come by other logins.' ELSE 'The source is not active.' END,
            HINT = 'See logins and active in referral.source_system.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_sender(bigint, text) IS
'May this session receive messages of the source? RF003 when source_system says that it may not, RF020 without a source. A source without a row there is free to all.';

CREATE FUNCTION referral.receive(channel referral.intake_channel, source text, content_type text DEFAULT NULL, payload text DEFAULT NULL,
    dedup_key text DEFAULT NULL, OUT message_id bigint, OUT status referral.inbox_status, OUT outcome text, OUT referral_id bigint,
    OUT patient_id bigint, OUT repeated boolean, OUT findings integer, OUT error text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    org bigint := referral.current_org();
    hash bytea := sha256(convert_to(payload, 'UTF8'));
    key text := coalesce(nullif(dedup_key, ''), encode(hash, 'hex'));
    reused boolean := false;
    first record;
BEGIN
    PERFORM referral.check_sender(org, source);
    IF payload IS NULL OR channel IS NULL THEN
        RAISE EXCEPTION 'a message needs a channel and a payload' USING ERRCODE = 'RF020',
            DETAIL = 'There is nothing to keep.', HINT = 'Pass the message as text, what is binary as base64.';
    END IF;
    repeated := false;
    LOOP
        INSERT INTO referral.inbox_message (org_id, channel, source, content_type, dedup_key, payload, payload_hash)
        VALUES (org, receive.channel, receive.source, receive.content_type, key, receive.payload, hash)
        ON CONFLICT ON CONSTRAINT inbox_message_key DO NOTHING
        RETURNING inbox_message.message_id INTO message_id;
        EXIT WHEN FOUND;
        UPDATE referral.inbox_message m SET repeat_count = m.repeat_count + 1, last_repeat_at = clock_timestamp()
        WHERE m.org_id = org AND m.source = receive.source AND m.dedup_key = key AND m.payload_hash = hash
        RETURNING m.message_id, m.status, m.outcome, m.referral_id, m.patient_id, m.error INTO first;
        IF FOUND THEN
            message_id := first.message_id;
            status := first.status;
            outcome := first.outcome;
            referral_id := first.referral_id;
            patient_id := first.patient_id;
            repeated := true;
            findings := (SELECT count(*) FROM referral.data_quality_finding f
                         WHERE f.org_id = org AND f.message_id = first.message_id AND f.resolved_at IS NULL);
            error := first.error;
            RETURN;
        END IF;
        -- senders do use a key again for another message: it is kept under a key of its own
        EXIT WHEN reused;
        reused := true;
        key := key || '#' || left(encode(hash, 'hex'), 16);
    END LOOP;
    SELECT w.* INTO status, outcome, referral_id, patient_id, findings, error
    FROM referral.work_on_message(org, message_id, channel::text, source, content_type, payload, false, reused) w;
END $$;
COMMENT ON FUNCTION referral.receive(referral.intake_channel, text, text, text, text) IS
'Takes in a message of a source (the system that sends): stores it in inbox_message, then reads it, maps it to the canonical model and writes that. Returns one row: the message''s id, what became of it, and how many findings there are. What the payload holds never raises an error: it is kept in status error with the reason, and an exception is opened. content_type: application/hl7-v2, application/fhir+json, application/json and text/csv (with ; mapping=name), others become documents; null: told by the first characters. dedup_key: default the SHA-256 of the payload; the same key and payload again are answered with the first result (repeated) and counted, the same key with another payload is a message of its own, with a finding. RF003 when the source is not for this login, RF020 without source or payload. An error of the moment, such as a deadlock, passes through: nothing is stored, send it again.';

CREATE FUNCTION referral.reprocess(org_id bigint, message_id bigint, OUT status referral.inbox_status, OUT outcome text,
    OUT referral_id bigint, OUT patient_id bigint, OUT findings integer, OUT error text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m record;
BEGIN
    SELECT x.channel, x.source, x.content_type, x.payload, x.attempts,
           starts_with(reverse(x.dedup_key), reverse('#' || left(encode(x.payload_hash, 'hex'), 16))) AS key_reused
    INTO m FROM referral.inbox_message x
    WHERE x.org_id = reprocess.org_id AND x.message_id = reprocess.message_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no message %', message_id USING ERRCODE = 'RF019',
            DETAIL = 'It is not there, or another organisation''s.', HINT = 'SELECT message_id FROM referral.inbox_message.';
    END IF;
    SELECT w.* INTO status, outcome, referral_id, patient_id, findings, error
    FROM referral.work_on_message(reprocess.org_id, reprocess.message_id, m.channel::text, m.source, m.content_type, m.payload,
                                  m.attempts > 0, m.key_reused) w;
END $$;
COMMENT ON FUNCTION referral.reprocess(bigint, bigint) IS
'Reads a stored message again and writes what it tells, for instance after its mapping was mended or a document was read; returns what became of it. What it wrote before is brought up to date, not written twice. When it succeeds, its exception is closed, and findings that are not found any more are resolved. RF019 when there is no such message.';

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
        IF (SELECT r.status FROM referral.reprocess(m.org_id, m.message_id) r) = 'error' THEN
            failed := failed + 1;
        ELSE
            processed := processed + 1;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.reprocess_errors(text, integer) IS
'reprocess() of up to max messages of the organisation in status error, those tried least often first; of one source, or of all when it is null. Returns how many went well and how many failed again.';
REVOKE ALL ON FUNCTION referral.note_findings(bigint, bigint, boolean, jsonb), referral.settle_findings(bigint, bigint, jsonb),
    referral.apply_intake(bigint, bigint, text, text, jsonb, referral.intake_result),
    referral.apply_document(bigint, bigint, text, text, text, text, referral.intake_result),
    referral.apply_part(bigint, bigint, text, text, text, text, text, integer, text, referral.intake_result),
    referral.work_on_message(bigint, bigint, text, text, text, text, boolean, boolean), referral.check_sender(bigint, text),
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
REVOKE ALL ON FUNCTION referral.inbox_guard(), referral.source_system_guard() FROM PUBLIC;
