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
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_text';
COMMENT ON FUNCTION referral.intake_text(jsonb, text) IS
'A short text of a case: without the space around it, cut off after 500 characters or 1,200 bytes, since what goes into an index has to fit on its page. Null when there is none or it is empty.';

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
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_system';
COMMENT ON FUNCTION referral.intake_system(jsonb, text) IS
'Whose number an identifier is: the system it names, else the source; numbers of a whole country have one name, whoever sends them.';

CREATE TYPE referral.intake_identifiers AS (numbers text[], systems text[], types text[], assigners text[]);
COMMENT ON TYPE referral.intake_identifiers IS 'The identifiers of somebody, one at each place of the four arrays.';

CREATE FUNCTION referral.intake_identifiers(list jsonb, source text) RETURNS referral.intake_identifiers
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_identifiers';
COMMENT ON FUNCTION referral.intake_identifiers(jsonb, text) IS
'The identifiers of a list of a case that have a value, each once, with the system that intake_system() tells. Empty arrays for what is no list; null for null.';

CREATE FUNCTION referral.intake_fill("row" anyelement, object jsonb) RETURNS anyelement
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_fill';
COMMENT ON FUNCTION referral.intake_fill(anyelement, jsonb) IS
'The row with what an object of a case says in its text columns, by their names: as intake_text() has it; what it does not say stays. A row of nulls is taken for a null row. The row for a null object.';

CREATE FUNCTION referral.intake_identifies(system text, value text, type text) RETURNS boolean
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_identifies';
COMMENT ON FUNCTION referral.intake_identifies(text, text, text) IS
'Can a number of a system and type (HL7 table 0203) say who somebody is? Not an account, a visit or a member of an insurance, and not what stands for "not known": what match_placeholder lists, and from four digits on one digit repeated or digits that count up. True where it is not said of what type it is; false for a null number or system.';

CREATE FUNCTION referral.intake_personal(list jsonb, source text) RETURNS referral.intake_identifiers
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_personal';
COMMENT ON FUNCTION referral.intake_personal(jsonb, text) IS
'Those identifiers of a list that say who somebody is: intake_identifies(). Empty arrays for what is no list, and for null.';

CREATE FUNCTION referral.intake_lock(org_id bigint, what text) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'intake_lock';
COMMENT ON FUNCTION referral.intake_lock(bigint, text) IS
'Waits for another transaction that is about to write the same thing for the first time. Held until the end of the transaction. An advisory lock of a class that only intake takes; a transaction with very many of them takes one for its whole organisation instead. Nothing for null.';

CREATE FUNCTION referral.intake_keep_identifiers(org_id bigint, ids referral.intake_identifiers, patient_id bigint DEFAULT NULL,
    practitioner_id bigint DEFAULT NULL, provider_organization_id bigint DEFAULT NULL, referral_id bigint DEFAULT NULL,
    is_new boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cardinality(ids.numbers) > 0 AND is_new THEN
        INSERT INTO referral.identifier (org_id, patient_id, practitioner_id, provider_organization_id, referral_id, system, value, type, assigner)
        SELECT intake_keep_identifiers.org_id, intake_keep_identifiers.patient_id, intake_keep_identifiers.practitioner_id,
               intake_keep_identifiers.provider_organization_id, intake_keep_identifiers.referral_id, n.system, n.number, n.type, n.assigner
        FROM unnest(ids.numbers, ids.systems, ids.types, ids.assigners) n (number, system, type, assigner);
    ELSIF cardinality(ids.numbers) > 0 THEN
        INSERT INTO referral.identifier (org_id, patient_id, practitioner_id, provider_organization_id, referral_id, system, value, type, assigner)
        SELECT intake_keep_identifiers.org_id, intake_keep_identifiers.patient_id, intake_keep_identifiers.practitioner_id,
               intake_keep_identifiers.provider_organization_id, intake_keep_identifiers.referral_id, n.system, n.number, n.type, n.assigner
        FROM unnest(ids.numbers, ids.systems, ids.types, ids.assigners) n (number, system, type, assigner)
        -- one by one: NOT EXISTS may become a join that reads all identifiers of the organisation
        WHERE (SELECT true FROM referral.identifier t
               WHERE t.org_id = intake_keep_identifiers.org_id AND t.value = n.number AND t.system = n.system
                 AND (t.patient_id = intake_keep_identifiers.patient_id
                      OR t.practitioner_id = intake_keep_identifiers.practitioner_id
                      OR t.provider_organization_id = intake_keep_identifiers.provider_organization_id
                      OR t.referral_id = intake_keep_identifiers.referral_id) LIMIT 1) IS NULL;
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_keep_identifiers(bigint, referral.intake_identifiers, bigint, bigint, bigint, bigint, boolean) IS
'Writes those of some identifiers that a patient, practitioner, provider organisation or referral does not have yet. Exactly one of the four is given. is_new: it was made just now, so it has none.';

CREATE FUNCTION referral.intake_is_fresh(message_id bigint) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'intake_is_fresh';
COMMENT ON FUNCTION referral.intake_is_fresh(bigint) IS
'Is receive() writing the first case of this message, which it has just stored? Then nothing that it made can be here, and it came now. Null for null.';

-- Clocks of two systems are never the same: what two of them say counts in the order in which it came.
CREATE FUNCTION referral.intake_is_outdated(w referral.intake_work, entity text, id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM referral.intake_latest t
        WHERE t.org_id = w.org_id AND t.entity = intake_is_outdated.entity AND t.entity_id = intake_is_outdated.id
          AND CASE WHEN t.source = w.source AND t.sent_at <> w.sent_at THEN t.sent_at > w.sent_at ELSE t.message_id > w.message_id END);
END $$;
COMMENT ON FUNCTION referral.intake_is_outdated(referral.intake_work, text, bigint) IS
'Has a newer message than the one that is being applied told of the row already? Newer is one that the same source sent later; of another source, or where it is not said when, one that came later.';

-- What has no number of its own is known by the message that made it.
CREATE FUNCTION referral.intake_made_before(w referral.intake_work, entity text) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(SELECT (x ->> 'id')::bigint FROM referral.inbox_message m CROSS JOIN LATERAL jsonb_array_elements(m.results) x
                 WHERE m.org_id = w.org_id AND m.message_id = w.message_id AND x ->> 'entity' = intake_made_before.entity
                   AND NOT w.results @> jsonb_build_array(x - 'action'));
END $$;
COMMENT ON FUNCTION referral.intake_made_before(referral.intake_work, text) IS
'The rows of an entity that the message wrote or found when it was processed before, but those that it has come to now already. None when it is processed for the first time.';

CREATE FUNCTION referral.intake_note_latest(org_id bigint, message_id bigint, source text, sent_at timestamptz, results jsonb) RETURNS void
LANGUAGE C AS 'MODULE_PATHNAME', 'intake_note_latest';
COMMENT ON FUNCTION referral.intake_note_latest(bigint, bigint, text, timestamptz, jsonb) IS
'Notes in intake_latest for the rows that a case told of (its results) that its message did, unless a newer one of the source has. sent_at may be null; nothing is noted when any other is. receive() and reprocess() write it as the owner of the model, of the message that they work on; 42501 for anybody else.';

-- ---------- the case ----------

CREATE FUNCTION referral.intake_find_by_event(w referral.intake_work, intake jsonb) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    request jsonb;
BEGIN
    IF w.kind = 'appointment' THEN
        RETURN referral.intake_find_referral(w, (intake #> '{appointments,0}') - 'identifiers');
    END IF;
    request := coalesce(intake #> '{authorizations,0,request}', intake #> '{authorizations,0,identifiers}');
    RETURN (SELECT array_agg(DISTINCT t.referral_id) FROM referral.prior_authorization t
            WHERE t.org_id = w.org_id AND t.referral_id IS NOT NULL AND t.identifier = referral.intake_text(request -> 0, 'value')
              AND t.identifier_system = referral.intake_system(request -> 0, w.source));
END $$;
COMMENT ON FUNCTION referral.intake_find_by_event(referral.intake_work, jsonb) IS
'The referrals that the first appointment of a case tells of, by its order numbers, or its first authorization, by the request. Null when there is none.';

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
    -- one assignment costs less than one for each; the columns are those of the type
    w := ROW(org_id, message_id, source, channel, coalesce(intake ->> 'kind', 'none'),
             concat_ws('.', message_id, intake #>> '{message,part}'), referral.try_timestamp(intake #>> '{message,sent_at}'),
             -- answers complete what is known of a patient; they do not correct it
             coalesce(intake ->> 'kind' IN ('referral_status', 'referral_cancel', 'status_request', 'report', 'authorization'), false),
             NULL, NULL, NULL, 'none', NULL, NULL, NULL, NULL, NULL, NULL, '[]', '[]');
    IF w.sent_at > now() + interval '1 day' THEN
        -- by that clock all that comes until then would be older
        w.findings := referral.intake_finding('invalid_time', 'warning', 'message.sent_at', 'in the future; it counts as sent when it came',
                                              intake #>> '{message,sent_at}');
        w.sent_at := NULL;
    END IF;

    IF w.kind <> 'none' THEN
        IF intake ? 'directory' THEN
            w := referral.intake_directory(w, intake -> 'directory');
        END IF;
        -- the referral comes first: it may tell who the patient is
        IF w.kind <> 'directory' AND w.kind <> 'patient' THEN
            candidates := referral.intake_find_referral(w, r);
            IF candidates IS NULL AND w.kind IN ('appointment', 'authorization') THEN
                candidates := referral.intake_find_by_event(w, intake);
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
            IF intake ? 'encounters' THEN
                FOR i IN 0 .. referral.intake_count(intake -> 'encounters') - 1 LOOP
                    w := referral.intake_encounter(w, intake -> 'encounters' -> i);
                END LOOP;
            END IF;
        END IF;
        IF w.kind <> 'directory' AND w.kind <> 'patient' THEN
            w := referral.intake_referral(w, r, candidates);
            w := referral.intake_events(w, intake);
        END IF;
        IF w.patient_id IS NULL THEN
            w := referral.intake_patient_of(w);
        END IF;
    END IF;

    IF w.message_id IS NOT NULL THEN
        PERFORM referral.intake_note_latest(org_id, message_id, source, w.sent_at, w.results);
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('referral_id', w.referral_id, 'patient_id', w.patient_id, 'appointment_id', w.appointment_id))
        || jsonb_build_object('patient_match', w.patient_match, 'results', w.results, 'findings', w.findings);
END $$;
COMMENT ON FUNCTION referral.apply_case(bigint, bigint, text, text, jsonb) IS
'Writes one case of a message (docs/intake_apply.md) into the model with the caller''s rights: finds or makes its patient, coverage, people, referral, appointments, reports and so on. Returns {"referral_id","patient_id","appointment_id","patient_match","results":[{"entity","id","action"}…],"findings":[…]}. What cannot be used becomes a finding; moves that the guard refuses do, too. Applying the same case again changes nothing; one that was sent before another that has been applied only adds what is not known. message_id may be null: it is then no row of inbox_message; any other is for receive(), reprocess() and the owner of the model. Errors are those of the tables, such as 42501.';
