-- intake: the front door. A message is stored first, then read, mapped and written; what fails stays with its error.

CREATE TYPE referral.intake_channel AS ENUM ('fax', 'fax_email', 'portal', 'call_centre', 'ehr', 'partner_feed', 'secure_message',
    'hl7v2', 'fhir', 'flat_file');
COMMENT ON TYPE referral.intake_channel IS 'The way by which a message came in.';
CREATE TYPE referral.inbox_status AS ENUM ('received', 'processed', 'error', 'ignored', 'echo');
COMMENT ON TYPE referral.inbox_status IS
'What became of a message: received, stored and not worked on yet; processed; error, could not be read or written; ignored, understood and nothing to do; echo, tells of a change that was our own.';

-- ---------- What a payload is, and its parts ----------

CREATE FUNCTION referral.payload_kind(content_type text, payload text, channel referral.intake_channel DEFAULT NULL) RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'payload_kind';
COMMENT ON FUNCTION referral.payload_kind(text, text, referral.intake_channel) IS
'How a payload is read, by its content type, by its beginning where that says nothing, and else by the channel where only one kind comes (hl7v2, fhir, flat_file): hl7, fhir, json (FHIR, or records of a source mapping), lines (JSON, one per line), csv, or document: kept, and read by people or by extraction. Never null.';

CREATE FUNCTION referral.payload_json(payload text) RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'payload_json';
COMMENT ON FUNCTION referral.payload_json(text) IS
'A JSON message as jsonb. Characters \u0000, which PostgreSQL cannot keep, become U+FFFD. RF014 with the line in the detail when it is not JSON, or is nested too deep. Null for null.';

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
    END IF;
    IF parts = '{}' THEN
        RAISE EXCEPTION 'the message is empty' USING ERRCODE = 'RF014', DETAIL = 'whole message', HINT = 'Have the sender send it again.';
    END IF;
    RETURN parts;
END $$;
COMMENT ON FUNCTION referral.payload_parts(text, text) IS
'The parts of a payload that are worked on one by one, so that a faulty one does not stop the rest: messages of an HL7 batch, lines; the payload itself otherwise. RF014 when it cannot be taken apart, or is empty.';

CREATE FUNCTION referral.payload_records(kind text, payload text) RETURNS jsonb[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    records jsonb[];
BEGIN
    IF kind = 'csv' THEN
        -- map_record() tells by the columns, the line and its fault what is wrong; none is a file of a day without news
        RETURN ARRAY(SELECT r.record || jsonb_strip_nulls(jsonb_build_object('_line', r.line, '_fault', r.fault,
                                '_columns', CASE WHEN r.number = 1 THEN to_jsonb(referral.csv_columns(payload)) END))
                     FROM referral.csv_records(payload) WITH ORDINALITY r (line, record, fault, number) WHERE r.record <> '{}');
    END IF;
    records := ARRAY(SELECT p FROM jsonb_array_elements(referral.payload_json(payload)) p);
    IF records = '{}' THEN
        RAISE EXCEPTION 'the message is empty' USING ERRCODE = 'RF014', DETAIL = 'whole message', HINT = 'Have the sender send it again.';
    END IF;
    RETURN records;
END $$;
COMMENT ON FUNCTION referral.payload_records(text, text) IS
'The records of a payload that are worked on one by one, as payload_parts(): rows of a CSV file that hold something, which may be none, with their lines; elements of a JSON array. RF014 when it cannot be taken apart, or is an empty array.';

-- ---------- Errors that are not the message's ----------

CREATE FUNCTION referral.is_passing_error(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN code ~ '^(08|25|40|57|58)' OR code IN ('53100', '53200', '53300', '55P03', '55P04');
COMMENT ON FUNCTION referral.is_passing_error(text) IS
'Is the error one of the moment (deadlock, serialization, lock, cancel, disk, memory), and not of what a message holds? Then the caller has to repeat the whole call. Null for null.';

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
RETURN severity = 'error' OR code = 'answer_wanted'
       OR (severity = 'warning' AND (code IN ('patient_unnamed', 'unknown_payer', 'ambiguous_referral', 'transition_refused', 'out_of_order')
                                     OR (code = 'invalid_date' AND attribute IS NOT DISTINCT FROM 'patient.birth_date')
                                     -- it counts as routine, until somebody asks
                                     OR (code = 'invalid_code' AND attribute IS NOT DISTINCT FROM 'referral.urgency')));
COMMENT ON FUNCTION referral.finding_needs_person(text, text, text) IS
'Does a finding open an exception? Those of severity error do, who wants an answer, and of the warnings those without which the case cannot go on for long.';

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
                    CASE WHEN f.severity = 'error' OR f.attribute = 'referral.urgency' THEN 'high' WHEN f.severity = 'info' THEN 'low' ELSE 'medium' END);
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
                 AND referral.finding_needs_person(x.code, x.severity, x.attribute)
                 AND CASE WHEN close_found.referral_id IS NULL THEN x.message_id = close_found.message_id
                          ELSE x.referral_id = close_found.referral_id END) THEN
        RETURN;
    END IF;
    PERFORM referral.close_exception(e.org_id, e.exception_id, reason)
    FROM referral.exception_item e
    WHERE e.org_id = close_found.org_id AND e.code = close_found.code AND e.category = referral.finding_category(close_found.code)
      AND e.entity = CASE WHEN close_found.referral_id IS NULL THEN 'inbox_message' ELSE 'referral' END
      AND e.entity_id = coalesce(close_found.referral_id, close_found.message_id) AND e.status NOT IN ('resolved', 'dismissed')
      AND e.exception_rule_id IS NULL;
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

CREATE FUNCTION referral.settle_told(org_id bigint, results jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d record;
BEGIN
    FOR d IN
        UPDATE referral.data_quality_finding x SET resolved_at = clock_timestamp()
        WHERE x.org_id = settle_told.org_id AND x.resolved_at IS NULL
          AND x.finding_id IN (SELECT (r ->> 'id')::bigint FROM jsonb_array_elements(results) r
                               WHERE r ->> 'entity' = 'data_quality_finding' AND r ->> 'action' = 'settled')
        RETURNING x.code, x.referral_id, x.message_id
    LOOP
        PERFORM referral.close_found(settle_told.org_id, d.message_id, d.referral_id, d.code, 'It has been told since.');
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.settle_told(bigint, jsonb) IS
'Marks as resolved the findings of older messages that the cases of a message have settled, as their results say, and closes the exceptions that were opened for them.';

-- ---------- One message ----------

CREATE FUNCTION referral.message_key(given text, hash bytea, payload text) RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'message_key';
COMMENT ON FUNCTION referral.message_key(text, bytea, text) IS
'The key under which a message is kept: what the sender calls it, the SHA-256 of that when it is longer than 500 bytes; when it has no name, the hash of the payload, of an HL7 message as it is with carriage returns and without a frame.';

CREATE FUNCTION referral.keep_document(org_id bigint, message_id bigint, source text, content_type text, payload text,
    OUT document_id bigint, OUT is_new boolean, OUT told jsonb, OUT filed_in bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT d.document_id, CASE WHEN d.type <> 'unindexed' THEN d.referral_id END INTO document_id, filed_in FROM referral.document d
    WHERE d.org_id = keep_document.org_id AND d.inbox_message_id = keep_document.message_id
    ORDER BY d.document_id LIMIT 1;
    is_new := NOT FOUND;
    IF is_new THEN
        INSERT INTO referral.document AS d (org_id, type, source, content_type, content_hash, url, inbox_message_id)
        VALUES (keep_document.org_id, 'unindexed', keep_document.source, keep_document.content_type, sha256(convert_to(payload, 'UTF8')),
                -- a reference instead of the content
                CASE WHEN length(payload) <= 2000 AND payload ~ '^[a-z][a-z0-9+.-]*:[^\s]+$' THEN payload END, keep_document.message_id)
        RETURNING d.document_id INTO document_id;
    ELSE
        told := referral.extracted_case(keep_document.org_id, document_id);
    END IF;
END $$;
COMMENT ON FUNCTION referral.keep_document(bigint, bigint, text, text, text) IS
'Keeps the payload of a message that has no structure as a document of type unindexed, once: is_new says whether it was kept now. told: the case that extracted_case() has of it by now; null until somebody has read it. filed_in: the referral in which a person has filed it, with a type. For receive() and reprocess(), which call it as the owner of the model.';

CREATE FUNCTION referral.receive(channel referral.intake_channel, source text, content_type text DEFAULT NULL, payload text DEFAULT NULL,
    dedup_key text DEFAULT NULL, OUT message_id bigint, OUT status referral.inbox_status, OUT outcome text, OUT referral_id bigint,
    OUT patient_id bigint, OUT repeated boolean, OUT findings integer, OUT error text)
LANGUAGE C AS 'MODULE_PATHNAME', 'receive';
COMMENT ON FUNCTION referral.receive(referral.intake_channel, text, text, text, text) IS
'Takes in a message of a source (the system that sends): stores it in inbox_message, then reads it, maps it to the canonical model and writes that. Returns one row: the message''s id, what became of it, and how many findings there are. What the payload holds never raises an error: it is kept in status error with the reason, and an exception is opened. content_type: application/hl7-v2, application/fhir+json, application/json and text/csv (with ; mapping=name), others become documents; null: told by the first characters. dedup_key: default the SHA-256 of the payload; the same key and payload again are answered with the first result (repeated) and counted; one in status error that comes with another content type is read again by that. The same key with another payload is a message of its own, with a finding. RF003 when the source is not for this login, RF020 without source, channel or payload. An error of the moment, such as a deadlock, passes through: nothing is stored, send it again.';

CREATE FUNCTION referral.reprocess(org_id bigint, message_id bigint, content_type text DEFAULT NULL, OUT status referral.inbox_status,
    OUT outcome text, OUT referral_id bigint, OUT patient_id bigint, OUT findings integer, OUT error text)
LANGUAGE C AS 'MODULE_PATHNAME', 'reprocess';
COMMENT ON FUNCTION referral.reprocess(bigint, bigint, text) IS
'Reads a stored message again and writes what it tells, for instance after its mapping was mended or a document was read; by another content type from now on when one is given, as it was sent with a wrong one (RF007 when it was read by the first one and written); returns what became of it. What it wrote before is brought up to date, not written twice. When it succeeds, its exception is closed, and findings that are not found any more are resolved. RF019 when there is no such message; RF003 when its source keeps attributes (source_of_record) and this login is none of the source''s.';

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
    referral.close_found(bigint, bigint, bigint, text, text), referral.settle_told(bigint, jsonb),
    referral.keep_document(bigint, bigint, text, text, text),
    referral.receive(referral.intake_channel, text, text, text, text), referral.reprocess(bigint, bigint, text),
    referral.reprocess_errors(text, integer) FROM PUBLIC;

-- ---------- Guards ----------

CREATE FUNCTION referral.inbox_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.channel, OLD.source, OLD.dedup_key, OLD.payload_hash, OLD.received_at, OLD.received_by)
                            IS NOT DISTINCT FROM (NEW.channel, NEW.source, NEW.dedup_key, NEW.payload_hash, NEW.received_at, NEW.received_by)
       AND OLD.payload = NEW.payload
       -- how it is to be read was said wrong, perhaps; not where it has been read and written
       AND (OLD.content_type IS NOT DISTINCT FROM NEW.content_type
            OR (OLD.status = 'processed' AND coalesce(OLD.outcome, '') NOT LIKE 'document\_%') IS NOT TRUE) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'message % stays as it was received', OLD.message_id
        USING ERRCODE = 'RF007', DETAIL = 'What a system sent, how and when, is on record.',
              HINT = 'Have the sender send a new message; reprocess() reads this one again.';
END $$;
COMMENT ON FUNCTION referral.inbox_guard() IS
'BEFORE row trigger of referral.inbox_message: RF007 when a message is deleted, or anything of it changed but what became of it; its content type only while it is in error, or a document that nobody has read.';

CREATE FUNCTION referral.inbox_arrival() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'inbox_arrival';
COMMENT ON FUNCTION referral.inbox_arrival() IS
'BEFORE INSERT row trigger of referral.inbox_message: RF003 when the source is not for this login, by whatever way it writes; the hash is that of the payload. receive() has seen to both.';

CREATE FUNCTION referral.document_filed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.current_actor_kind(NEW.org_id) <> 'user' THEN
        RETURN NULL;    -- what a model makes of it is looked at by a person
    END IF;
    UPDATE referral.data_quality_finding x SET resolved_at = clock_timestamp()
    WHERE x.org_id = NEW.org_id AND x.message_id = NEW.inbox_message_id AND x.code = 'content_not_indexed' AND x.resolved_at IS NULL;
    IF FOUND THEN
        UPDATE referral.inbox_message x
        SET outcome = 'document_updated', referral_id = NEW.referral_id, patient_id = r.patient_id,
            results = jsonb_build_array(jsonb_build_object('entity', 'document', 'id', NEW.document_id, 'action', 'updated'),
                                        jsonb_build_object('entity', 'referral', 'id', NEW.referral_id, 'action', 'unchanged'))
        FROM referral.referral r
        WHERE x.org_id = NEW.org_id AND x.message_id = NEW.inbox_message_id AND r.org_id = NEW.org_id AND r.referral_id = NEW.referral_id;
        PERFORM referral.close_found(NEW.org_id, NEW.inbox_message_id, NULL, 'content_not_indexed', 'filed by hand');
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.document_filed() IS
'AFTER UPDATE row trigger of referral.document: when a person has put a document that came as a message into a referral, with a type, there is nothing left to read of it: the finding content_not_indexed is resolved, its exception closed, and the message tells the referral.';

CREATE FUNCTION referral.source_system_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- one that is a draft still may be waited for; a slip of the pen would be found out by its messages
    IF NOT EXISTS (SELECT FROM referral.source_mapping m WHERE m.mapping = NEW.default_mapping) AND NEW.default_mapping IS NOT NULL THEN
        RAISE EXCEPTION 'there is no source mapping "%"', NEW.default_mapping USING ERRCODE = 'RF019',
            DETAIL = 'No version of any rules has it, so no record of the source could be read.',
            HINT = 'There are: ' || coalesce((SELECT string_agg(DISTINCT m.mapping, ', ') FROM referral.source_mapping m), 'none') || '.';
    END IF;
    PERFORM now() AT TIME ZONE NEW.zone;
    RETURN NEW;
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'there is no time zone "%"', NEW.zone USING ERRCODE = 'RF020',
        DETAIL = 'Times that a source sends without a zone are read in its own.', HINT = 'SELECT name FROM pg_timezone_names.';
END $$;
COMMENT ON FUNCTION referral.source_system_guard() IS 'BEFORE row trigger of referral.source_system: RF020 for a zone that is none, RF019 for a default_mapping that no version of rules has.';
REVOKE ALL ON FUNCTION referral.inbox_guard(), referral.inbox_arrival(), referral.document_filed(), referral.source_system_guard()
    FROM PUBLIC;
