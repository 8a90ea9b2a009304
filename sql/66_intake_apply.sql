-- intake_apply: a case, as the mappers of messages give it, is written into the model (docs/intake_apply.md)

CREATE TYPE referral.intake_work AS (
    org_id bigint,
    message_id bigint,
    source text,
    channel text,
    kind text,
    message_key text,           -- names this case where it brings no number of its own
    sent_at timestamptz,
    fill_only boolean,          -- only what is not known yet may be written
    new_identifiers boolean,    -- does the case tell identifiers of the patient that are not kept yet?
    id bigint,                  -- what the step that was taken last has found or made; null when nothing
    patient_id bigint,
    patient_match text,
    is_stranger boolean,        -- is who is told another person than the referral of the case has?
    coverage_id bigint,
    payer_id bigint,
    plan_id bigint,
    referral_id bigint,
    appointment_id bigint,
    results jsonb,
    findings jsonb
);
COMMENT ON TYPE referral.intake_work IS
'What apply_case() hands from step to step: whose case it is, what was found or made so far, and what there is to say about it.';

-- ---------- small helpers, inlined where they are called ----------

CREATE FUNCTION referral.intake_text(object jsonb, key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(nullif(btrim(object ->> key), ''), 500);    -- what goes into an index has to fit on its page
COMMENT ON FUNCTION referral.intake_text(jsonb, text) IS
'A short text of a case: without the space around it, cut off after 500 characters. Null when there is none or it is empty.';

CREATE FUNCTION referral.intake_prose(object jsonb, key text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(btrim(object ->> key), '');
COMMENT ON FUNCTION referral.intake_prose(jsonb, text) IS
'A text of a case, of any length, without the space around it. Null when there is none or it is empty.';

CREATE FUNCTION referral.intake_count(list jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(list) WHEN 'array' THEN jsonb_array_length(list) ELSE 0 END;
COMMENT ON FUNCTION referral.intake_count(jsonb) IS
'How many elements a list of a case has; 0 for what is no list, and for null.';

CREATE FUNCTION referral.intake_result(entity text, id bigint, action text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_array(jsonb_build_object('entity', entity, 'id', id, 'action', action));
COMMENT ON FUNCTION referral.intake_result(text, bigint, text) IS
'A line of the results of apply_case(), as an array of one: entity, id, and created, updated or unchanged.';

CREATE FUNCTION referral.intake_finding(code text, severity text, attribute text, detail text, value text DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('code', code, 'severity', severity, 'attribute', attribute,
                                                              'detail', detail, 'value', value)));
COMMENT ON FUNCTION referral.intake_finding(text, text, text, text, text) IS
'A finding about a case, as an array of one. detail holds no content of the message; value is what was sent.';

CREATE FUNCTION referral.intake_system(identifier jsonb, source text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN identifier ->> 'type' = 'NPI' OR identifier ->> 'system' IN ('NPI', 'urn:oid:2.16.840.1.113883.4.6')
            THEN 'http://hl7.org/fhir/sid/us-npi'
            WHEN identifier ->> 'type' = 'SS' OR identifier ->> 'system' IN ('SSN', 'urn:oid:2.16.840.1.113883.4.1')
            THEN 'http://hl7.org/fhir/sid/us-ssn'
            ELSE coalesce(left(nullif(btrim(identifier ->> 'system'), ''), 500), source) END;
COMMENT ON FUNCTION referral.intake_system(jsonb, text) IS
'Whose number an identifier is: the system it names, else the source; numbers of a whole country have one name, whoever sends them.';

CREATE FUNCTION referral.intake_identifies(system text, value text, type text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d referral.demographics;
BEGIN
    -- accounts, visits, and what a family shares
    IF type IN ('AN', 'ANC', 'AND', 'ANON', 'ANT', 'VN', 'MB', 'SN') THEN
        RETURN false;
    END IF;
    -- these are not typed by anybody
    IF type = 'FHIR' OR system = 'inbox_message' THEN
        RETURN true;
    END IF;
    d := referral.patient_demographics(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                                       NULL, NULL, NULL, NULL, ARRAY[system || '|' || value]);
    RETURN referral.match_levels(d, d) <> '{}';
END $$;
COMMENT ON FUNCTION referral.intake_identifies(text, text, text) IS
'Can a number of a system and type (HL7 table 0203) say who somebody is? Not an account, a visit or a member of an insurance, and not what stands for "not known": what match_placeholder lists, one digit repeated, digits that count up. True where it is not said of what type it is.';

CREATE FUNCTION referral.intake_personal(list jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR i IN REVERSE referral.intake_count(list) - 1 .. 0 LOOP
        IF referral.intake_identifies(referral.intake_system(list -> i, source), referral.intake_text(list -> i, 'value'), list -> i ->> 'type') IS NOT TRUE THEN
            list := list - i;
        END IF;
    END LOOP;
    RETURN list;
END $$;
COMMENT ON FUNCTION referral.intake_personal(jsonb, text) IS
'Those identifiers of a list that say who somebody is: intake_identifies().';

CREATE FUNCTION referral.intake_lock(org_id bigint, what text) RETURNS void
LANGUAGE sql VOLATILE
RETURN pg_advisory_xact_lock(hashtextextended(what, org_id));
COMMENT ON FUNCTION referral.intake_lock(bigint, text) IS
'Waits for another transaction that is about to write the same thing for the first time. Held until the end of the transaction.';

CREATE FUNCTION referral.intake_keep_identifiers(org_id bigint, list jsonb, source text, patient_id bigint DEFAULT NULL,
    practitioner_id bigint DEFAULT NULL, provider_organization_id bigint DEFAULT NULL, referral_id bigint DEFAULT NULL,
    is_new boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    x jsonb;
    number text;
    of_system text;
    numbers text[] := '{}';
    systems text[] := '{}';
    types text[] := '{}';
    assigners text[] := '{}';
BEGIN
    FOR i IN 0 .. referral.intake_count(list) - 1 LOOP
        x := list -> i;
        number := referral.intake_text(x, 'value');
        of_system := referral.intake_system(x, source);
        CONTINUE WHEN number IS NULL OR number = ANY (numbers) AND systems[array_position(numbers, number)] = of_system;
        CONTINUE WHEN NOT is_new AND EXISTS (
            SELECT FROM referral.identifier t
            WHERE t.org_id = intake_keep_identifiers.org_id AND t.value = number AND t.system = of_system
              AND (t.patient_id = intake_keep_identifiers.patient_id
                   OR t.practitioner_id = intake_keep_identifiers.practitioner_id
                   OR t.provider_organization_id = intake_keep_identifiers.provider_organization_id
                   OR t.referral_id = intake_keep_identifiers.referral_id));
        numbers := numbers || number;
        systems := systems || of_system;
        types := types || referral.intake_text(x, 'type');
        assigners := assigners || referral.intake_text(x, 'assigner');
    END LOOP;
    IF numbers <> '{}' THEN
        INSERT INTO referral.identifier (org_id, patient_id, practitioner_id, provider_organization_id, referral_id, system, value, type, assigner)
        SELECT intake_keep_identifiers.org_id, intake_keep_identifiers.patient_id, intake_keep_identifiers.practitioner_id,
               intake_keep_identifiers.provider_organization_id, intake_keep_identifiers.referral_id, n.system, n.number, n.type, n.assigner
        FROM unnest(numbers, systems, types, assigners) n (number, system, type, assigner);
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_keep_identifiers(bigint, jsonb, text, bigint, bigint, bigint, bigint, boolean) IS
'Writes the identifiers of a list that a patient, practitioner, provider organisation or referral does not have yet. Exactly one of the four is given. is_new: it was made just now, so it has none.';

CREATE FUNCTION referral.intake_is_outdated(w referral.intake_work, entity text, id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF w.sent_at IS NULL THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM referral.inbox_message m CROSS JOIN LATERAL jsonb_array_elements(m.results) x
        WHERE m.org_id = w.org_id AND m.referral_id = w.referral_id AND m.message_id IS DISTINCT FROM w.message_id
          AND x ->> 'entity' = intake_is_outdated.entity AND x ->> 'id' = intake_is_outdated.id::text
          AND referral.try_timestamp(x ->> 'sent_at') > w.sent_at)
    OR entity = 'patient' AND EXISTS (
        SELECT FROM referral.inbox_message m CROSS JOIN LATERAL jsonb_array_elements(m.results) x
        WHERE m.org_id = w.org_id AND m.patient_id = w.patient_id AND m.message_id IS DISTINCT FROM w.message_id
          AND x ->> 'entity' = 'patient' AND x ->> 'id' = intake_is_outdated.id::text
          AND referral.try_timestamp(x ->> 'sent_at') > w.sent_at);
END $$;
COMMENT ON FUNCTION referral.intake_is_outdated(referral.intake_work, text, bigint) IS
'Has another message, sent later than the one that is being applied, told of the row already? By the results that inbox_message keeps; false when the message does not say when it was sent.';

-- ---------- the case ----------

-- A session keeps its plans for long: those made while tables are small have to be good when they have grown.
CREATE FUNCTION referral.apply_case(org_id bigint, message_id bigint, source text, channel text, intake jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    w referral.intake_work;
    r jsonb := CASE jsonb_typeof(intake -> 'referral') WHEN 'object' THEN intake -> 'referral' END;
    p jsonb := CASE jsonb_typeof(intake -> 'patient') WHEN 'object' THEN intake -> 'patient' END;
    candidates bigint[];
    known bigint[];
    x jsonb;
BEGIN
    w.org_id := org_id;
    w.message_id := message_id;
    w.source := source;
    w.channel := channel;
    w.kind := coalesce(intake ->> 'kind', 'none');
    w.message_key := concat_ws('.', message_id, intake #>> '{message,part}');
    w.sent_at := referral.try_timestamp(intake #>> '{message,sent_at}');
    -- answers complete what is known of a patient; they do not correct it
    w.fill_only := w.kind IN ('referral_status', 'referral_cancel', 'status_request', 'report', 'authorization');
    w.patient_match := 'none';
    w.results := '[]';
    w.findings := '[]';

    IF w.kind <> 'none' THEN
        IF intake ? 'directory' THEN
            w := referral.intake_directory(w, intake -> 'directory');
        END IF;
        -- the referral comes first: it may tell who the patient is
        IF w.kind <> 'directory' AND w.kind <> 'patient' THEN
            candidates := referral.intake_find_referral(w, r);
            IF candidates IS NULL AND w.kind = 'appointment' THEN
                candidates := referral.intake_find_referral(w, (intake #> '{appointments,0}') - 'identifiers');
            END IF;
            IF candidates IS NOT NULL THEN
                known := ARRAY(SELECT DISTINCT t.patient_id FROM referral.referral t
                               WHERE t.org_id = w.org_id AND t.referral_id = ANY (candidates) AND t.patient_id IS NOT NULL LIMIT 20);
            END IF;
        END IF;
        IF w.kind <> 'directory' THEN
            w := referral.intake_patient(w, p, known);
        END IF;
        IF w.patient_id IS NOT NULL THEN
            IF referral.intake_count(intake -> 'coverages') = 1 THEN
                w := referral.intake_coverage(w, intake #> '{coverages,0}');
            ELSIF intake ? 'coverages' THEN
                FOR x IN SELECT c FROM jsonb_array_elements(CASE jsonb_typeof(intake -> 'coverages') WHEN 'array' THEN intake -> 'coverages' END) c
                         ORDER BY referral.try_integer(c ->> 'priority') LOOP
                    w := referral.intake_coverage(w, x);
                END LOOP;
            END IF;
            FOR i IN 0 .. referral.intake_count(intake -> 'encounters') - 1 LOOP
                w := referral.intake_encounter(w, intake #> '{encounters}' -> i);
            END LOOP;
        END IF;
        IF w.kind <> 'directory' AND w.kind <> 'patient' THEN
            w := referral.intake_referral(w, r, candidates);
            w := referral.intake_events(w, intake);
        END IF;
        IF w.patient_id IS NULL THEN
            w := referral.intake_patient_of(w);
        END IF;
    END IF;

    IF w.sent_at IS NOT NULL AND w.results <> '[]' THEN
        -- a message that was sent before this one and is applied later is known by that: intake_is_outdated()
        w.results := (SELECT jsonb_agg(t || jsonb_build_object('sent_at', w.sent_at) ORDER BY o)
                      FROM jsonb_array_elements(w.results) WITH ORDINALITY x (t, o));
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('referral_id', w.referral_id, 'patient_id', w.patient_id, 'appointment_id', w.appointment_id))
        || jsonb_build_object('patient_match', w.patient_match, 'results', w.results, 'findings', w.findings);
END $$;
COMMENT ON FUNCTION referral.apply_case(bigint, bigint, text, text, jsonb) IS
'Writes one case of a message (docs/intake_apply.md) into the model with the caller''s rights: finds or makes its patient, coverage, people, referral, appointments, reports and so on. Returns {"referral_id","patient_id","appointment_id","patient_match","results":[{"entity","id","action","sent_at"}…],"findings":[…]}. What cannot be used becomes a finding; moves that the guard refuses do, too. Applying the same case again changes nothing; one that was sent before another that has been applied only adds what is not known. message_id may be null: it is then no row of inbox_message. Errors are those of the tables, such as 42501.';
