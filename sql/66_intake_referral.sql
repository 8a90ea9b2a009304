-- intake_apply: the referral of a case, and where it moves

CREATE FUNCTION referral.intake_may_be_here(w referral.intake_work, request jsonb) RETURNS boolean
LANGUAGE C AS 'MODULE_PATHNAME', 'intake_may_be_here';
COMMENT ON FUNCTION referral.intake_may_be_here(referral.intake_work, jsonb) IS
'Is there a referral with any number that the request of a case has, or one that its message made? False is certain; true asks to look closer. Waits for another transaction that may be making the same request. True for null.';

CREATE FUNCTION referral.intake_find_referral(w referral.intake_work, r jsonb) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    placer text;
    placer_system text;
    filler text;
    filler_system text;
    ids referral.intake_identifiers;
    candidates bigint[];
BEGIN
    IF w.kind = 'referral' AND NOT referral.intake_may_be_here(w, r) THEN
        RETURN NULL;
    END IF;
    placer := referral.intake_text(r, 'placer_order_number');
    placer_system := referral.intake_text(r, 'placer_order_system');
    filler := referral.intake_text(r, 'filler_order_number');
    filler_system := referral.intake_text(r, 'filler_order_system');
    ids := referral.intake_identifiers(r -> 'identifiers', w.source);
    IF cardinality(ids.numbers) > 0 THEN
        SELECT t.owners INTO candidates
        FROM unnest(ids.numbers, ids.systems) WITH ORDINALITY n (number, system, place)
        CROSS JOIN LATERAL (SELECT array_agg(DISTINCT i.referral_id) AS owners FROM referral.identifier i
                            WHERE i.org_id = w.org_id AND i.value = n.number AND i.system = n.system AND i.referral_id IS NOT NULL
                              -- who gave it another number of the kind means another one
                              AND NOT EXISTS (SELECT FROM referral.identifier b
                                              JOIN unnest(ids.systems, ids.types) s (system, type) ON s.system = b.system AND s.type IS NOT DISTINCT FROM b.type
                                              WHERE b.org_id = w.org_id AND b.referral_id = i.referral_id AND s.type IS DISTINCT FROM 'FHIR'
                                              GROUP BY b.system, b.type HAVING NOT bool_or(b.value = ANY (ids.numbers)))) t
        WHERE t.owners IS NOT NULL ORDER BY n.place LIMIT 1;
    END IF;
    -- a number belongs to the system that gave it; one that was sent without a system belongs to the sender
    IF candidates IS NULL AND placer IS NOT NULL THEN
        SELECT array_agg(t.referral_id) INTO candidates FROM referral.referral t
        WHERE t.org_id = w.org_id AND t.placer_order_number = placer
          AND (t.placer_order_system = placer_system
               OR t.source = w.source AND (placer_system IS NULL OR t.placer_order_system IS NULL OR t.placer_order_system = t.source));
    END IF;
    IF candidates IS NULL AND filler IS NOT NULL THEN
        SELECT array_agg(t.referral_id) INTO candidates FROM referral.referral t
        WHERE t.org_id = w.org_id AND t.filler_order_number = filler
          AND (t.filler_order_system = filler_system
               OR t.source = w.source AND (filler_system IS NULL OR t.filler_order_system IS NULL OR t.filler_order_system = t.source))
          -- requests with other numbers of their own are other requests
          AND (w.kind <> 'referral' OR placer IS NULL OR t.placer_order_number IS NULL);
    END IF;
    IF candidates IS NULL AND w.kind <> 'referral' AND coalesce(placer, filler) IS NOT NULL THEN
        -- the other side answers with our number, often without saying whose it is
        SELECT array_agg(DISTINCT t.referral_id) INTO candidates FROM (
            SELECT u.referral_id FROM referral.referral u
            WHERE u.org_id = w.org_id AND u.placer_order_number = placer AND (placer_system IS NULL OR u.placer_order_system IS NULL)
            UNION ALL
            SELECT u.referral_id FROM referral.referral u
            WHERE u.org_id = w.org_id AND u.filler_order_number = filler AND (filler_system IS NULL OR u.filler_order_system IS NULL)) t;
    END IF;
    IF candidates IS NULL AND w.kind = 'referral' AND w.message_key <> '' THEN
        -- a number that could not be read before does not make another referral of the same message
        SELECT array_agg(t.referral_id) INTO candidates
        FROM referral.identifier t JOIN referral.referral u USING (org_id, referral_id)
        WHERE t.org_id = w.org_id AND t.value = w.message_key AND t.system = 'inbox_message'
          AND (coalesce(placer, filler) IS NULL OR coalesce(u.placer_order_number, u.filler_order_number) IS NULL);
    END IF;
    RETURN candidates;
END $$;
COMMENT ON FUNCTION referral.intake_find_referral(referral.intake_work, jsonb) IS
'The referrals that a case may mean: by identifiers, else by the placer''s number, else by the filler''s, else, of a request, the one without a number that this very message made. Null when there is none. Waits for another transaction that may be making the same request.';

CREATE FUNCTION referral.intake_foreign(list jsonb, referral_id bigint) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR i IN REVERSE referral.intake_count(list) - 1 .. 0 LOOP
        IF list -> i ->> 'type' = 'FHIR' AND list -> i ->> 'value' = referral_id::text THEN
            list := list - i;
        END IF;
    END LOOP;
    RETURN list;
END $$;
COMMENT ON FUNCTION referral.intake_foreign(jsonb, bigint) IS
'The identifiers of a list without the id that a resource has when it is ours: a referral that we sent and that came back keeps its id, which is not one of the sender''s.';

-- Of several that have the number, the one of the patient; of those, one that is not over, the newest.
CREATE FUNCTION referral.intake_choose_referral(w INOUT referral.intake_work, candidates bigint[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    fitting bigint[];
    patient bigint;
BEGIN
    w.referral_id := NULL;
    IF candidates IS NULL THEN
        RETURN;
    END IF;
    IF w.is_stranger THEN
        w.findings := w.findings || referral.intake_finding('ambiguous_referral', 'error', 'referral.placer_order_number',
            'the number is that of a referral of another patient');
        RETURN;
    END IF;
    IF array_length(candidates, 1) = 1 THEN
        SELECT t.patient_id INTO patient FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = candidates[1];
        IF w.patient_id IS NULL OR patient IS NULL OR patient = w.patient_id THEN
            w.referral_id := candidates[1];
            RETURN;
        END IF;
    END IF;
    SELECT array_agg(t.referral_id ORDER BY t.patient_id IS NULL, referral.intake_is_over(t.state), t.referral_id DESC) INTO fitting
    FROM unnest(candidates) c (id)
    CROSS JOIN LATERAL (SELECT u.referral_id, u.patient_id, u.state FROM referral.referral u
                        WHERE u.org_id = w.org_id AND u.referral_id = c.id LIMIT 1) t
    WHERE w.patient_id IS NULL OR t.patient_id IS NULL OR t.patient_id = w.patient_id
       OR t.patient_id = ANY ((SELECT referral.merged_ids(w.org_id, w.patient_id))::bigint[]);
    IF fitting IS NULL THEN
        w.findings := w.findings || referral.intake_finding('ambiguous_referral', 'error', 'referral.placer_order_number',
            'the number is that of a referral of another patient');
    ELSIF array_length(fitting, 1) = 1 OR w.kind = 'referral' THEN
        w.referral_id := fitting[1];
    END IF;
    IF array_length(fitting, 1) > 1 THEN
        w.findings := w.findings || referral.intake_finding('ambiguous_referral', 'warning', 'referral.placer_order_number',
            'several referrals have the number');
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_choose_referral(referral.intake_work, bigint[]) IS
'Chooses among the referrals that a case may mean, by its patient; in referral_id of the answer. What is not a request gets none when several fit.';

CREATE FUNCTION referral.intake_is_over(state referral.state) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN state IN ('closed_loop', 'declined', 'cancelled', 'expired', 'entered_in_error');
COMMENT ON FUNCTION referral.intake_is_over(referral.state) IS
'Is a referral of that state over? Null for null.';

CREATE FUNCTION referral.intake_reason(domain text, code text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN coalesce((SELECT r.code FROM referral.reason_code r JOIN referral.rule_version v USING (rule_version_id)
                     WHERE v.status = 'active' AND r.domain = intake_reason.domain AND r.code = intake_reason.code LIMIT 1), 'other');
END $$;
COMMENT ON FUNCTION referral.intake_reason(text, text) IS
'The reason code of a domain that a message gives, or other.';

CREATE FUNCTION referral.intake_move(w referral.intake_work, wanted referral.state, reason text DEFAULT NULL, comment text DEFAULT NULL,
    at timestamptz DEFAULT NULL, transition text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    reason_before text := current_setting('referral.reason', true);
    transition_before text := current_setting('referral.transition', true);
BEGIN
    PERFORM set_config('referral.reason', coalesce(comment, ''), true), set_config('referral.transition', coalesce(transition, ''), true);
    UPDATE referral.referral t SET state = wanted, status_reason = reason, scheduled_for = coalesce(at, t.scheduled_for)
    WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
    PERFORM set_config('referral.reason', coalesce(reason_before, ''), true),
            set_config('referral.transition', coalesce(transition_before, ''), true);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- the settings are back by themselves
    IF SQLSTATE NOT LIKE 'RF%' THEN
        RAISE;
    END IF;
    RETURN format('%s was refused: %s, %s', wanted, SQLSTATE, SQLERRM);
END $$;
COMMENT ON FUNCTION referral.intake_move(referral.intake_work, referral.state, text, text, timestamptz, text) IS
'Moves the referral of a case to a state. Null when that was done; when the guard refused, what it said.';

-- ---------- the request ----------

CREATE TYPE referral.intake_code_list AS (kinds text[], places integer[], systems text[], codes text[], displays text[]);
COMMENT ON TYPE referral.intake_code_list IS 'Diagnoses and procedures of a request, one at each place of the five arrays; places counts them within their list.';

CREATE FUNCTION referral.intake_code_list(request jsonb) RETURNS referral.intake_code_list
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_code_list';
COMMENT ON FUNCTION referral.intake_code_list(jsonb) IS
'The diagnoses and procedures of a request of a case that have a code or a display. Null when there are none, and for what is no object.';

CREATE FUNCTION referral.intake_codes(w INOUT referral.intake_work, r jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed boolean;
    list referral.intake_code_list;
    same integer := 0;
    o record;
    x jsonb;
BEGIN
    -- mostly nothing has changed, which is soon seen
    FOR o IN SELECT t.kind, t.sequence, t.system, t.code, t.display FROM referral.referral_code t
             WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id AND t.active LOOP
        CONTINUE WHEN NOT r ? CASE o.kind WHEN 'diagnosis' THEN 'diagnoses' ELSE 'procedures' END;
        x := CASE o.kind WHEN 'diagnosis' THEN r -> 'diagnoses' ELSE r -> 'procedures' END -> (o.sequence - 1);
        IF (o.system, o.code, o.display) IS DISTINCT FROM
           (referral.intake_text(x, 'system'), referral.intake_text(x, 'code'), referral.intake_text(x, 'display')) THEN
            same := -1;
            EXIT;
        END IF;
        same := same + 1;
    END LOOP;
    IF same = referral.intake_count(r -> 'diagnoses') + referral.intake_count(r -> 'procedures') THEN
        RETURN;
    END IF;
    list := referral.intake_code_list(r);
    WITH told AS (
        SELECT c.kind, c.sequence, c.system, c.code, c.display
        FROM unnest(list.kinds, list.places, list.systems, list.codes, list.displays) c (kind, sequence, system, code, display)
    ), mended AS (
        UPDATE referral.referral_code t SET system = n.system, code = n.code, display = n.display, active = n.active
        FROM (SELECT c.referral_code_id, n.sequence IS NOT NULL AS active,
                     CASE WHEN n.sequence IS NULL THEN c.system ELSE n.system END AS system,
                     CASE WHEN n.sequence IS NULL THEN c.code ELSE n.code END AS code,
                     CASE WHEN n.sequence IS NULL THEN c.display ELSE n.display END AS display
              FROM referral.referral_code c LEFT JOIN told n USING (kind, sequence)
              WHERE c.org_id = w.org_id AND c.referral_id = w.referral_id
                AND r ? CASE kind WHEN 'diagnosis' THEN 'diagnoses' ELSE 'procedures' END) n
        WHERE t.org_id = w.org_id AND t.referral_code_id = n.referral_code_id
          AND (t.system, t.code, t.display, t.active) IS DISTINCT FROM (n.system, n.code, n.display, n.active)
        RETURNING 1
    ), added AS (
        INSERT INTO referral.referral_code (org_id, referral_id, kind, sequence, system, code, display)
        SELECT w.org_id, w.referral_id, n.kind, n.sequence, n.system, n.code, n.display FROM told n
        WHERE NOT EXISTS (SELECT FROM referral.referral_code c
                          WHERE c.org_id = w.org_id AND c.referral_id = w.referral_id AND c.kind = n.kind AND c.sequence = n.sequence)
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM mended) OR EXISTS (SELECT FROM added) INTO changed;
    IF changed THEN
        w.results := w.results || referral.intake_result('referral_code', w.referral_id, 'updated');
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_codes(referral.intake_work, jsonb) IS
'The diagnoses and procedures of the referral become those of the case, in its order; what it no longer lists is not active. A list that it does not have stays as it is.';

CREATE FUNCTION referral.intake_unusable(request jsonb) RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_unusable';
COMMENT ON FUNCTION referral.intake_unusable(jsonb) IS
'The keys of a request of a case that have a value which is not of their kind: a date that is none, a label that the type does not have. Null when there are none, and for what is no object.';

-- Values that have to be of a kind, or to be known here: what is not becomes a finding and is left out of the request.
CREATE FUNCTION referral.intake_check_request(w INOUT referral.intake_work, r INOUT jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k text;
    v text;
    known text;
BEGIN
    FOREACH k IN ARRAY coalesce(referral.intake_unusable(r), '{}') LOOP
        w.findings := w.findings || referral.intake_finding(
            CASE WHEN k = 'expires_on' THEN 'invalid_date' WHEN k LIKE '%\_at' THEN 'invalid_time'
                 WHEN k IN ('authorization_required', 'expected_value') THEN 'invalid_value' ELSE 'invalid_code' END,
            'warning', 'referral.' || k, 'cannot be used', r ->> k);
        r := r - k;
    END LOOP;
    v := referral.intake_text(r, 'specialty');
    IF v IS NOT NULL AND NOT EXISTS (SELECT FROM referral.specialty s WHERE s.org_id = w.org_id AND s.code = v) THEN
        SELECT s.code INTO known FROM referral.specialty s
        WHERE s.org_id = w.org_id AND (lower(s.title) = lower(v) OR lower(s.code) = lower(v)) ORDER BY s.active DESC LIMIT 1;
        IF known IS NOT NULL THEN
            r := jsonb_set(r, '{specialty}', to_jsonb(known));
        ELSIF EXISTS (SELECT FROM referral.specialty s WHERE s.org_id = w.org_id) THEN
            w.findings := w.findings || referral.intake_finding('unknown_specialty', 'warning', 'referral.specialty', 'no such specialty here', v);
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_check_request(referral.intake_work, jsonb) IS
'The referral of a case without values that cannot be used; each of them is a finding. A specialty by its title or in other letters becomes its code.';

CREATE FUNCTION referral.intake_relations(w INOUT referral.intake_work, r jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    x record;
    related bigint;
BEGIN
    FOR x IN SELECT k.kind, referral.intake_system(i, w.source) AS system, referral.intake_text(i, 'value') AS value
             FROM (VALUES ('based_on', r -> 'based_on'), ('replaces', r -> 'replaces')) k (kind, list)
             CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(k.list) WHEN 'array' THEN k.list END) i
             WHERE referral.intake_text(i, 'value') IS NOT NULL LOOP
        SELECT coalesce((SELECT t.referral_id FROM referral.identifier t
                         WHERE t.org_id = w.org_id AND t.value = x.value AND t.system = x.system AND t.referral_id IS NOT NULL LIMIT 1),
                        (SELECT t.referral_id FROM referral.referral t
                         WHERE t.org_id = w.org_id AND t.placer_order_number = x.value AND t.placer_order_system = x.system LIMIT 1))
        INTO related;
        IF related IS NULL THEN
            w.findings := w.findings || referral.intake_finding('unresolved_reference', 'info', 'referral.' || x.kind, 'no such referral is here', x.value);
        ELSIF related <> w.referral_id THEN
            INSERT INTO referral.referral_relation (org_id, referral_id, related_id, kind)
            SELECT w.org_id, w.referral_id, related, x.kind
            WHERE NOT EXISTS (SELECT FROM referral.referral_relation t
                              WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id AND t.related_id = related AND t.kind = x.kind);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.intake_relations(referral.intake_work, jsonb) IS
'Links the referral of a case to those that it is based on or replaces, where they are here.';

CREATE TYPE referral.intake_request AS (
    urgency referral.urgency, intent referral.intent, referral_type text, patient_id bigint, requester_id bigint, performer_id bigint,
    payer_id bigint, plan_id bigint, coverage_id bigint, encounter_id bigint, site_id bigint, region text, specialty text, service_line text,
    placer_order_number text, placer_order_system text, filler_order_number text, filler_order_system text,
    reason_code_system text, reason_code text, reason_text text, service_code_system text, service_code text, service_text text,
    authored_at timestamptz, expires_on date, authorization_required boolean, authorization_number text, expected_value numeric,
    requesting_organization_id bigint, performing_organization_id bigint, network_status referral.network_status
);
COMMENT ON TYPE referral.intake_request IS 'What messages tell of a referral: columns of referral.referral.';

CREATE FUNCTION referral.intake_request(w referral.intake_work, request jsonb, before referral.intake_request) RETURNS referral.intake_request
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_request';
COMMENT ON FUNCTION referral.intake_request(referral.intake_work, jsonb, referral.intake_request) IS
'The row before with what a request of a case says in place of what it says: texts, times, amounts, codes with their systems; the first diagnosis is the reason and the first procedure the service where it does not say. Patient and coverage as w has found them. Values that cannot be used say nothing. Null for what is no object.';

CREATE FUNCTION referral.intake_request_places(w INOUT referral.intake_work, r jsonb, n INOUT referral.intake_request)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF r ? 'requesting_organization' OR r #> '{requester}' ? 'organization' THEN
        w := referral.intake_organization(w, coalesce(r -> 'requesting_organization', r #> '{requester,organization}'));
        n.requesting_organization_id := coalesce(w.id, n.requesting_organization_id);
    END IF;
    IF r ? 'performing_organization' OR r #> '{performer}' ? 'organization' THEN
        w := referral.intake_organization(w, coalesce(r -> 'performing_organization', r #> '{performer,organization}'));
        n.performing_organization_id := coalesce(w.id, n.performing_organization_id);
    END IF;
    IF r ? 'encounter' THEN
        w := referral.intake_encounter(w, r -> 'encounter');
        n.encounter_id := coalesce(w.id, n.encounter_id);
    END IF;
    IF referral.intake_text(r, 'site') IS NOT NULL THEN
        SELECT coalesce(min(s.site_id), n.site_id) INTO n.site_id FROM referral.site s
        WHERE s.org_id = w.org_id AND (s.identifier = r ->> 'site' OR lower(s.name) = lower(r ->> 'site'));
        IF n.site_id IS NULL THEN
            w.findings := w.findings || referral.intake_finding('unresolved_reference', 'info', 'referral.site', 'no such site here', r ->> 'site');
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_request_places(referral.intake_work, jsonb, referral.intake_request) IS
'The row n with the organisations, the encounter and the site that a checked request names; organisations and encounters are found or made.';

CREATE FUNCTION referral.intake_request_values(w INOUT referral.intake_work, r jsonb, n INOUT referral.intake_request)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before referral.intake_request := n;
    known bigint;
    v record;
BEGIN
    n := referral.intake_request(w, r, n);
    IF r ? 'requester' THEN
        known := referral.intake_known_practitioner(w.org_id, r -> 'requester', w.source);
        IF known IS NULL THEN
            w := referral.intake_practitioner(w, r -> 'requester');
            known := w.id;
        END IF;
        n.requester_id := coalesce(known, n.requester_id);
    END IF;
    IF r ? 'performer' THEN
        known := referral.intake_known_practitioner(w.org_id, r -> 'performer', w.source);
        IF known IS NULL THEN
            w := referral.intake_practitioner(w, r -> 'performer');
            known := w.id;
        END IF;
        n.performer_id := coalesce(known, n.performer_id);
    END IF;
    IF r ?| '{requesting_organization,performing_organization,encounter,site}' OR r #> '{requester}' ? 'organization'
       OR r #> '{performer}' ? 'organization' THEN
        v := referral.intake_request_places(w, r, n);
        w := v.w;
        n := v.n;
    END IF;
    IF n.coverage_id IS NULL AND n.payer_id IS NULL AND n.patient_id IS NOT NULL AND w.patient_match <> 'new' THEN
        SELECT c.coverage_id, c.payer_id, c.plan_id INTO n.coverage_id, n.payer_id, n.plan_id
        FROM referral.coverage_on(w.org_id, n.patient_id) c LIMIT 1;
    END IF;
    IF (n.payer_id, n.plan_id, n.performer_id, n.performing_organization_id)
       IS DISTINCT FROM (before.payer_id, before.plan_id, before.performer_id, before.performing_organization_id) THEN
        n.network_status := CASE WHEN n.payer_id IS NULL OR coalesce(n.performer_id, n.performing_organization_id) IS NULL THEN 'unknown'
            ELSE referral.network_status_of(w.org_id, n.payer_id, n.plan_id, n.performer_id, n.performing_organization_id, NULL) END;
    ELSIF n.network_status IS NULL THEN
        n.network_status := 'unknown';
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_request_values(referral.intake_work, jsonb, referral.intake_request) IS
'The row n with what a checked request says in place of what it says; people and organisations are found or made.';

CREATE FUNCTION referral.intake_create_referral(w INOUT referral.intake_work, r jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    n referral.intake_request;
    codes referral.intake_code_list;
    arrived timestamptz := now();
    dated_by text;
BEGIN
    IF NOT referral.intake_is_fresh(w.message_id) THEN
        -- a message that was mended or filed since has not waited less
        arrived := least(arrived, (SELECT m.received_at FROM referral.inbox_message m WHERE m.org_id = w.org_id AND m.message_id = w.message_id));
    END IF;
    v := referral.intake_request_values(w, r, n);
    w := v.w;
    n := v.n;
    IF arrived < now() AND coalesce(current_setting('referral.occurred_at', true), '') = '' THEN
        IF pg_has_role(session_user, 'referral_integration', 'MEMBER') THEN
            dated_by := 'referral.occurred_at';
            PERFORM set_config(dated_by, to_char(arrived AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), true);
        ELSE
            dated_by := 'referral.inbox_message';
            PERFORM set_config(dated_by, w.message_id::text, true);
        END IF;
    END IF;
    INSERT INTO referral.referral (org_id, urgency, intent, referral_type, patient_id, requester_id, performer_id, payer_id, plan_id, coverage_id,
        encounter_id, site_id, region, specialty, service_line, placer_order_number, placer_order_system, filler_order_number, filler_order_system,
        reason_code_system, reason_code, reason_text, service_code_system, service_code, service_text, authored_at, expires_on,
        authorization_required, authorization_number, expected_value, requesting_organization_id, performing_organization_id, network_status,
        channel, source, received_at)
    VALUES (w.org_id, n.urgency, n.intent, n.referral_type, n.patient_id, n.requester_id, n.performer_id, n.payer_id, n.plan_id, n.coverage_id,
        n.encounter_id, n.site_id, n.region, n.specialty, n.service_line, n.placer_order_number, n.placer_order_system, n.filler_order_number,
        n.filler_order_system, n.reason_code_system, n.reason_code, n.reason_text, n.service_code_system, n.service_code, n.service_text,
        n.authored_at, n.expires_on, n.authorization_required, n.authorization_number, n.expected_value, n.requesting_organization_id,
        n.performing_organization_id, n.network_status, w.channel, w.source,
        coalesce(referral.try_timestamp(r ->> 'received_at'), arrived))
    RETURNING referral_id INTO w.referral_id;
    IF dated_by IS NOT NULL THEN
        PERFORM set_config(dated_by, '', true);
    END IF;
    w.results := w.results || referral.intake_result('referral', w.referral_id, 'created');
    IF n.placer_order_number IS NULL AND n.filler_order_number IS NULL AND r #>> '{identifiers,0,value}' IS NULL AND w.message_key <> '' THEN
        -- so that this message finds it when it is applied again
        r := jsonb_set(r, '{identifiers}', jsonb_build_array(jsonb_build_object('system', 'inbox_message', 'own', true, 'value', w.message_key)));
    END IF;
    IF r ? 'identifiers' THEN
        PERFORM referral.intake_keep_identifiers(w.org_id, referral.intake_identifiers(r -> 'identifiers', w.source), referral_id => w.referral_id,
                                                 is_new => true);
    END IF;
    codes := referral.intake_code_list(r);
    IF codes IS NOT NULL THEN
        INSERT INTO referral.referral_code (org_id, referral_id, kind, sequence, system, code, display)
        SELECT w.org_id, w.referral_id, c.kind, c.sequence, c.system, c.code, c.display
        FROM unnest(codes.kinds, codes.places, codes.systems, codes.codes, codes.displays) c (kind, sequence, system, code, display);
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_create_referral(referral.intake_work, jsonb) IS
'Makes the referral of a checked request, as of when its message came: its clocks, too, and its first row in the journal when a member of referral_integration does it; its id is in referral_id of the answer.';

CREATE FUNCTION referral.intake_update_referral(w INOUT referral.intake_work, r jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    n referral.intake_request;
    o referral.intake_request;
    state_now referral.state;
    refused text;
    before integer;
BEGIN
    SELECT t.urgency, t.intent, t.referral_type, t.patient_id, t.requester_id, t.performer_id, t.payer_id, t.plan_id, t.coverage_id,
           t.encounter_id, t.site_id, t.region, t.specialty, t.service_line, t.placer_order_number, t.placer_order_system,
           t.filler_order_number, t.filler_order_system, t.reason_code_system, t.reason_code, t.reason_text, t.service_code_system,
           t.service_code, t.service_text, t.authored_at, t.expires_on, t.authorization_required, t.authorization_number, t.expected_value,
           t.requesting_organization_id, t.performing_organization_id, t.network_status
    INTO o FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
    v := referral.intake_request_values(w, r, o);
    w := v.w;
    n := v.n;
    before := jsonb_array_length(w.results);
    IF n IS DISTINCT FROM o THEN
        SELECT t.state INTO state_now FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
    END IF;
    IF referral.intake_is_over(state_now) THEN
        IF n IS DISTINCT FROM o THEN
            w.findings := w.findings || referral.intake_finding('transition_refused', 'error', 'referral',
                format('the referral is %s; what the message says otherwise was not written', state_now));
        END IF;
        w.results := w.results || referral.intake_result('referral', w.referral_id, 'unchanged');
        RETURN;
    END IF;
    IF n IS DISTINCT FROM o AND referral.intake_is_outdated(w, 'referral', w.referral_id) THEN
        w.fill_only := true;
        n := jsonb_populate_record(n, jsonb_strip_nulls(to_jsonb(o)));
        w.findings := w.findings || referral.intake_finding('out_of_order', 'info', 'referral',
            'a newer message has been applied; only what was not known is written');
    END IF;
    FOR attempt IN 1 .. 40 LOOP
        EXIT WHEN n IS NOT DISTINCT FROM o;
        BEGIN
            UPDATE referral.referral t
            SET urgency = n.urgency, intent = n.intent, referral_type = n.referral_type, patient_id = n.patient_id,
                requester_id = n.requester_id, performer_id = n.performer_id, payer_id = n.payer_id, plan_id = n.plan_id,
                coverage_id = n.coverage_id, encounter_id = n.encounter_id, site_id = n.site_id, region = n.region, specialty = n.specialty,
                service_line = n.service_line, placer_order_number = n.placer_order_number, placer_order_system = n.placer_order_system,
                filler_order_number = n.filler_order_number, filler_order_system = n.filler_order_system,
                reason_code_system = n.reason_code_system, reason_code = n.reason_code, reason_text = n.reason_text,
                service_code_system = n.service_code_system, service_code = n.service_code, service_text = n.service_text,
                authored_at = n.authored_at, expires_on = n.expires_on, authorization_required = n.authorization_required,
                authorization_number = n.authorization_number, expected_value = n.expected_value,
                requesting_organization_id = n.requesting_organization_id, performing_organization_id = n.performing_organization_id,
                network_status = n.network_status
            WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
            w.results := w.results || referral.intake_result('referral', w.referral_id, 'updated');
            EXIT;
        EXCEPTION WHEN SQLSTATE 'RF009' THEN
            GET STACKED DIAGNOSTICS refused = COLUMN_NAME;
        END;
        w.findings := w.findings || referral.intake_finding('not_source_of_record', 'warning', concat_ws('.', 'referral', nullif(refused, '')),
            'another system owns this attribute');
        EXIT WHEN coalesce(refused, '') = '';
        n := jsonb_populate_record(n, jsonb_build_object(refused, to_jsonb(o) -> refused));
    END LOOP;
    IF r ?| '{diagnoses,procedures}' AND NOT w.fill_only THEN
        w := referral.intake_codes(w, r);
    END IF;
    IF r ? 'identifiers' THEN
        PERFORM referral.intake_keep_identifiers(w.org_id,
            referral.intake_identifiers(referral.intake_foreign(r -> 'identifiers', w.referral_id), w.source), referral_id => w.referral_id);
    END IF;
    IF jsonb_array_length(w.results) = before THEN
        w.results := w.results || referral.intake_result('referral', w.referral_id, 'unchanged');
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_update_referral(referral.intake_work, jsonb) IS
'Brings the referral of a checked request up to date, where it differs. One that is over stays as it is, with a finding.';

-- ---------- state and decision ----------

CREATE FUNCTION referral.intake_progress(w INOUT referral.intake_work, r jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted referral.state := referral.intake_text(r, 'state')::referral.state;
    told referral.decision := referral.intake_text(r, 'decision')::referral.decision;
    comment text := referral.intake_prose(r, 'comment');
    reason text := referral.intake_text(r, 'status_reason');
    now_in referral.state;
    refused text;
    decided referral.decision;
BEGIN
    SELECT t.state, t.decision INTO now_in, decided FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
    IF referral.intake_is_outdated(w, 'referral', w.referral_id) THEN
        -- somebody does not want it any more, and what came later does not say that it is wanted again
        w.findings := w.findings || referral.intake_finding('out_of_order',
            CASE WHEN NOT referral.intake_is_over(now_in)
                      AND (w.kind = 'referral_cancel' AND now_in <> 'cancellation_requested' OR wanted IN ('declined', 'cancelled')
                           OR told = 'declined' AND decided IS DISTINCT FROM told) THEN 'warning' ELSE 'info' END,
            'referral.state', 'a newer message has been applied; the referral stays where it is');
        RETURN;
    END IF;
    IF told IS DISTINCT FROM decided AND told IS NOT NULL AND (NOT referral.intake_is_over(now_in) OR now_in = 'declined') THEN
        BEGIN
            UPDATE referral.referral t SET decision = told, decision_at = coalesce(w.sent_at, now())
            WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
        EXCEPTION WHEN SQLSTATE 'RF009' THEN
            w.findings := w.findings || referral.intake_finding('not_source_of_record', 'warning', 'referral.decision',
                'another system owns this attribute', told::text);
            RETURN;
        END;
        IF NOT w.results @> referral.intake_result('referral', w.referral_id, 'updated') THEN
            w.results := w.results || referral.intake_result('referral', w.referral_id, 'updated');
        END IF;
    END IF;
    IF told IS NOT NULL AND (NOT referral.intake_is_over(now_in) OR now_in = 'declined') THEN
        -- a decision asks for the move that goes with it
        wanted := coalesce(wanted, CASE told WHEN 'accepted' THEN CASE WHEN now_in = 'received' THEN 'validated'::referral.state END
                                             WHEN 'declined' THEN 'declined' END);
    END IF;
    IF w.kind = 'referral_cancel' THEN
        IF now_in IN ('cancelled', 'cancellation_requested') THEN
            RETURN;
        END IF;
        reason := referral.intake_reason('cancel', reason);
        comment := coalesce(comment, 'as the requester''s message says');
        refused := referral.intake_move(w, 'cancellation_requested', reason, comment);
        IF refused IS NOT NULL AND referral.intake_move(w, 'cancelled', reason, comment) IS NULL THEN
            refused := NULL;
        END IF;
        wanted := 'cancelled';
    ELSIF wanted IS NULL OR wanted = now_in THEN
        RETURN;
    ELSIF wanted IN ('declined', 'cancelled', 'cancellation_requested', 'on_hold') THEN
        reason := referral.intake_reason(CASE wanted WHEN 'declined' THEN 'decline' WHEN 'on_hold' THEN 'hold' ELSE 'cancel' END, reason);
        refused := referral.intake_move(w, wanted, reason, coalesce(comment, 'as the other side''s message says'));
    ELSE
        refused := referral.intake_move(w, wanted, reason, comment);
    END IF;
    IF refused IS NULL THEN
        w.results := w.results || referral.intake_result('referral', w.referral_id, 'updated');
    ELSIF wanted = 'declined' AND NOT referral.intake_is_over(now_in) THEN
        -- a person has to decline it
        PERFORM referral.open_exception(w.org_id, 'policy', 'referral', w.referral_id, w.referral_id, 'decision_declined',
                                        'The performer declined. A person has to decline the referral, or send it to somebody else.', 'high', true);
        w.findings := w.findings || referral.intake_finding('transition_refused', 'info', 'referral.decision', refused);
    ELSE
        w.findings := w.findings || referral.intake_finding('transition_refused', 'warning', 'referral.state', refused);
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_progress(referral.intake_work, jsonb) IS
'Takes the referral of a case where its state, decision or cancellation says, by one move, if the guard lets it; else with a finding. A refusal by the performer that no person has confirmed becomes an exception item.';

CREATE FUNCTION referral.intake_referral(w referral.intake_work, r jsonb, candidates bigint[]) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record;
    said integer := jsonb_array_length(w.findings);
BEGIN
    IF r IS NULL AND w.kind <> 'referral' THEN
        IF w.kind IN ('referral_cancel', 'referral_status', 'status_request') THEN
            w.findings := w.findings || referral.intake_finding('order_not_found', 'error', 'referral', 'nothing says which referral is meant');
        END IF;
        RETURN w;
    END IF;
    -- mostly all of it can be used, and the specialty is a code: then there is nothing to mend
    IF r IS NULL OR referral.intake_unusable(r) IS NOT NULL
       OR r ? 'specialty' AND NOT EXISTS (SELECT FROM referral.specialty s WHERE s.org_id = w.org_id AND s.code = r ->> 'specialty')
          AND EXISTS (SELECT FROM referral.specialty s WHERE s.org_id = w.org_id) THEN
        v := referral.intake_check_request(w, coalesce(r, '{}'));
        w := v.w;
        r := v.r;
    END IF;
    w.referral_id := NULL;
    IF candidates IS NOT NULL THEN
        w := referral.intake_choose_referral(w, candidates);
    END IF;

    IF w.kind = 'referral' THEN
        IF w.referral_id IS NULL THEN
            w := referral.intake_create_referral(w, r);
        ELSE
            w := referral.intake_update_referral(w, r);
        END IF;
        IF r ?| '{based_on,replaces}' THEN
            w := referral.intake_relations(w, r);
        END IF;
    ELSIF w.referral_id IS NULL THEN
        -- appointments, reports and the like look further, or stand for themselves
        IF w.kind IN ('referral_cancel', 'referral_status', 'status_request') AND jsonb_array_length(w.findings) = said THEN
            w.findings := w.findings || referral.intake_finding('order_not_found', 'error', 'referral', 'the referral that is meant is not here',
                coalesce(referral.intake_text(r, 'placer_order_number'), referral.intake_text(r, 'filler_order_number')));
        ELSIF w.kind = 'authorization' AND referral.intake_text(r #> '{identifiers,0}', 'value') IS NOT NULL AND jsonb_array_length(w.findings) = said THEN
            w.findings := w.findings || referral.intake_finding('order_not_found', 'warning', 'referral', 'the request that is to be authorized is not here',
                referral.intake_text(r #> '{identifiers,0}', 'value'));
        END IF;
        RETURN w;
    ELSE
        -- an answer may bring the performer's number, and who that is
        w := referral.intake_answer(w, r);
    END IF;
    IF w.kind = 'status_request' THEN
        -- only a person, or a worker who sends, can answer
        w.findings := w.findings || referral.intake_finding('answer_wanted', 'info', 'referral.state', 'the sender asks how the referral stands');
    END IF;
    IF w.kind IN ('referral_cancel', 'referral_status') OR w.kind = 'referral' AND r ?| '{state,decision}' AND NOT w.fill_only THEN
        w := referral.intake_progress(w, r);
        IF NOT w.results @> jsonb_build_array(jsonb_build_object('entity', 'referral', 'id', w.referral_id)) THEN
            w.results := w.results || referral.intake_result('referral', w.referral_id, 'unchanged');
        END IF;
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_referral(referral.intake_work, jsonb, bigint[]) IS
'Finds, makes or changes the referral of a case; its id is in referral_id of the answer. candidates: as intake_find_referral() has found them.';

CREATE FUNCTION referral.intake_answer(w INOUT referral.intake_work, r jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed bigint;
    over boolean;
    refused text;
BEGIN
    SELECT referral.intake_is_over(t.state) INTO over FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id;
    IF over THEN
        RETURN;
    END IF;
    BEGIN
        UPDATE referral.referral t
        SET filler_order_number = coalesce(t.filler_order_number, referral.intake_text(r, 'filler_order_number')),
            filler_order_system = CASE WHEN t.filler_order_number IS NULL AND referral.intake_text(r, 'filler_order_number') IS NOT NULL
                                       THEN coalesce(referral.intake_text(r, 'filler_order_system'), w.source) ELSE t.filler_order_system END,
            patient_id = coalesce(t.patient_id, w.patient_id)
        WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id
          AND (t.filler_order_number IS NULL AND referral.intake_text(r, 'filler_order_number') IS NOT NULL
               OR t.patient_id IS NULL AND w.patient_id IS NOT NULL);
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed > 0 THEN
            w.results := w.results || referral.intake_result('referral', w.referral_id, 'updated');
        END IF;
        IF w.kind = 'referral_status' AND r ? 'authorization_number' THEN
            UPDATE referral.referral t SET authorization_number = referral.intake_text(r, 'authorization_number')
            WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id AND t.authorization_number IS NULL
              AND referral.intake_text(r, 'authorization_number') IS NOT NULL;
            IF FOUND THEN
                w.results := w.results || referral.intake_result('referral', w.referral_id, 'updated');
            END IF;
        END IF;
    EXCEPTION WHEN SQLSTATE 'RF009' THEN
        GET STACKED DIAGNOSTICS refused = COLUMN_NAME;
    END;
    IF refused IS NOT NULL THEN
        w.findings := w.findings || referral.intake_finding('not_source_of_record', 'warning', concat_ws('.', 'referral', nullif(refused, '')),
            'another system owns this attribute');
    END IF;
    IF r ? 'identifiers' THEN
        PERFORM referral.intake_keep_identifiers(w.org_id,
            referral.intake_identifiers(referral.intake_foreign(r -> 'identifiers', w.referral_id), w.source), referral_id => w.referral_id);
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_answer(referral.intake_work, jsonb) IS
'Keeps what the other side''s message adds to a referral: its own number and identifiers, an authorization number, the patient; nothing of what is known already.';

-- all of them write or tell of patients; sql/model/59_intake_apply.sql grants what is revoked here
REVOKE ALL ON FUNCTION
    referral.intake_lock(bigint, text), referral.intake_keep_identifiers(bigint, referral.intake_identifiers, bigint, bigint, bigint, bigint, boolean),
    referral.apply_case(bigint, bigint, text, text, jsonb), referral.intake_find_practitioner(bigint, jsonb, text, text, text),
    referral.intake_practitioner(referral.intake_work, jsonb, boolean), referral.intake_find_organization(bigint, jsonb, text, text),
    referral.intake_organization(referral.intake_work, jsonb, boolean), referral.intake_find_payer(bigint, text, text, text),
    referral.intake_payer(referral.intake_work, jsonb, boolean), referral.intake_make_payer(bigint, text, text, text),
    referral.intake_make_plan(bigint, bigint, text, text, text), referral.intake_find_plan(bigint, bigint, text, text),
    referral.intake_plan(referral.intake_work, jsonb, bigint), referral.intake_site(referral.intake_work, jsonb),
    referral.intake_service(referral.intake_work, jsonb), referral.intake_role(referral.intake_work, jsonb),
    referral.intake_directory(referral.intake_work, jsonb), referral.intake_appointment_referral(referral.intake_work, jsonb),
    referral.intake_find_appointment(referral.intake_work, jsonb),
    referral.intake_move_appointment(referral.intake_work, text, text, timestamptz, timestamptz),
    referral.intake_follow_appointment(referral.intake_work, jsonb, text, timestamptz), referral.intake_appointment(referral.intake_work, jsonb),
    referral.intake_hash(jsonb), referral.intake_document(referral.intake_work, jsonb), referral.intake_report(referral.intake_work, jsonb),
    referral.intake_valid(jsonb), referral.intake_authorization_item(referral.intake_work, bigint, jsonb, integer),
    referral.intake_authorization(referral.intake_work, jsonb), referral.intake_communication(referral.intake_work, jsonb),
    referral.intake_events(referral.intake_work, jsonb), referral.intake_claim(bigint, text[], text[], boolean),
    referral.intake_is_fresh(bigint),
    referral.intake_told_apart(bigint, referral.intake_identifiers, bigint), referral.intake_number_known(bigint, text[]),
    referral.intake_find_patient(referral.intake_work, referral.intake_identifiers, referral.intake_person, bigint[]),
    referral.intake_owns_patient(referral.intake_work, referral.intake_identifiers, text, text),
    referral.intake_settled(referral.intake_work, jsonb), referral.intake_known_patient(referral.intake_work, jsonb, referral.intake_told),
    referral.intake_create_patient(referral.intake_work, referral.intake_told, text),
    referral.intake_update_patient(referral.intake_work, jsonb), referral.intake_patient(referral.intake_work, jsonb, bigint[]),
    referral.intake_patient_of(referral.intake_work), referral.intake_is_outdated(referral.intake_work, text, bigint), referral.intake_note_latest(bigint, bigint, text, timestamptz, jsonb), referral.intake_made_before(referral.intake_work, text), referral.intake_find_by_event(referral.intake_work, jsonb),
    referral.intake_place_coverage(referral.intake_work, referral.intake_cover), referral.intake_coverage(referral.intake_work, jsonb),
    referral.intake_find_coverage(bigint, referral.intake_cover, referral.intake_told_cover),
    referral.intake_update_coverage(referral.intake_work, referral.intake_cover, referral.intake_cover, jsonb),
    referral.intake_encounter(referral.intake_work, jsonb), referral.intake_find_referral(referral.intake_work, jsonb),
    referral.intake_choose_referral(referral.intake_work, bigint[]),
    referral.intake_move(referral.intake_work, referral.state, text, text, timestamptz, text), referral.intake_codes(referral.intake_work, jsonb),
    referral.intake_check_request(referral.intake_work, jsonb), referral.intake_relations(referral.intake_work, jsonb),
    referral.intake_request_values(referral.intake_work, jsonb, referral.intake_request),
    referral.intake_request_places(referral.intake_work, jsonb, referral.intake_request),
    referral.intake_known_practitioner(bigint, jsonb, text), referral.intake_may_be_here(referral.intake_work, jsonb),
    referral.intake_create_referral(referral.intake_work, jsonb), referral.intake_update_referral(referral.intake_work, jsonb),
    referral.intake_progress(referral.intake_work, jsonb), referral.intake_referral(referral.intake_work, jsonb, bigint[]),
    referral.intake_answer(referral.intake_work, jsonb), referral.intake_find_authorization(referral.intake_work, jsonb)
    FROM PUBLIC;
