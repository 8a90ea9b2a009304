-- HL7 v2 messages about a referral, for a worker to send: REF to whom it is referred, RRI to who referred

-- values and fields as hl7_build() takes them

CREATE FUNCTION referral.hl7_field(VARIADIC components text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT jsonb_build_array(jsonb_object_agg(n::text, c)) FROM unnest(components) WITH ORDINALITY AS v (c, n) WHERE c <> '');
COMMENT ON FUNCTION referral.hl7_field(text[]) IS
'A field of one repetition with these components, for hl7_build(); null when all are null or empty.';

CREATE FUNCTION referral.hl7_time_text(at timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN rtrim(rtrim(left(to_char(at AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS.US'), 19), '0'), '.') || '+0000';
COMMENT ON FUNCTION referral.hl7_time_text(timestamptz) IS
'A time as HL7 writes it, in UTC, with up to four digits of a second. Null for null.';

CREATE FUNCTION referral.hl7_date_text(on_date date) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_char(on_date::timestamp, 'YYYYMMDD');
COMMENT ON FUNCTION referral.hl7_date_text(date) IS 'A date as HL7 writes it. Null for null.';

CREATE FUNCTION referral.hl7_coding(system text, code text, display text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.hl7_field(code, display, CASE system
    WHEN 'http://hl7.org/fhir/sid/icd-10-cm' THEN 'I10C' WHEN 'http://hl7.org/fhir/sid/icd-9-cm' THEN 'I9C'
    WHEN 'http://snomed.info/sct' THEN 'SCT' WHEN 'http://loinc.org' THEN 'LN' WHEN 'http://www.ama-assn.org/go/cpt' THEN 'C4'
    ELSE system END);
COMMENT ON FUNCTION referral.hl7_coding(text, text, text) IS
'A field with a coded value (CWE), its system by the name of HL7 table 0396 where there is one. Null when there is nothing.';

CREATE FUNCTION referral.hl7_authority(system text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN system LIKE 'urn:oid:%' THEN ARRAY[NULL, substr(system, 9), 'ISO']
            WHEN system LIKE '%:%' THEN ARRAY[NULL, system, 'URI'] ELSE ARRAY[system, NULL, NULL] END;
COMMENT ON FUNCTION referral.hl7_authority(text) IS
'An assigning authority (HD) in its three parts, namespace, universal id and its type, for a system that identifiers are of.';

CREATE FUNCTION referral.hl7_number(number text, system text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN number <> '' THEN referral.hl7_field(VARIADIC ARRAY[number] || referral.hl7_authority(system)) END;
COMMENT ON FUNCTION referral.hl7_number(text, text) IS 'A field with a number that a system has given (EI). Null when there is none.';

CREATE FUNCTION referral.hl7_identifiers(ids jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('1', i -> 'value', '5', i -> 'type', '4', CASE i ->> 'system'
            WHEN 'http://hl7.org/fhir/sid/us-ssn' THEN jsonb_build_object('1', 'USSSA')
            ELSE referral.hl7_field(VARIADIC referral.hl7_authority(i ->> 'system')) -> 0 END)) ORDER BY n)
        FROM jsonb_array_elements(ids) WITH ORDINALITY AS v (i, n) WHERE i ->> 'value' <> '');
COMMENT ON FUNCTION referral.hl7_identifiers(jsonb) IS
'A field with the identifiers (CX) of an array of {"value", "system", "type"}. Null when there are none.';

CREATE FUNCTION referral.hl7_segment(name text, fields jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_strip_nulls(fields) || jsonb_build_object('segment', name);
COMMENT ON FUNCTION referral.hl7_segment(text, jsonb) IS 'A segment for hl7_build(): its name, and its fields by number; null fields are left out.';

-- rows of the model as segments; read with the rights of the caller

CREATE FUNCTION referral.hl7_known_ids(org_id bigint, patient_id bigint, practitioner_id bigint, provider_organization_id bigint,
    identifier text, identifier_system text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_agg(jsonb_build_object('value', k.value, 'system', k.system, 'type', k.type) ORDER BY k.n)
    FROM (SELECT DISTINCT ON (a.value, a.system) a.value, a.system, a.type, a.n
          FROM (SELECT i.value, i.system, i.type, i.identifier_id AS n FROM referral.identifier i
                WHERE i.org_id = hl7_known_ids.org_id
                  AND (i.patient_id = hl7_known_ids.patient_id OR i.practitioner_id = hl7_known_ids.practitioner_id
                       OR i.provider_organization_id = hl7_known_ids.provider_organization_id)
                UNION ALL
                SELECT hl7_known_ids.identifier, identifier_system, NULL, 0 WHERE hl7_known_ids.identifier <> '') a
          -- the one with a type, where both are there
          ORDER BY a.value, a.system, a.type NULLS LAST, a.n) k
$$;
COMMENT ON FUNCTION referral.hl7_known_ids(bigint, bigint, bigint, bigint, text, text) IS
'The identifiers of a patient, practitioner or provider organisation, those of referral.identifier and the one given, each once: [{"value", "system", "type"}, ...]. Null when there are none.';

CREATE FUNCTION referral.hl7_pid(org_id bigint, patient_id bigint) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT referral.hl7_segment('PID', jsonb_build_object('1', jsonb_build_array('1'),
        '3', referral.hl7_identifiers(referral.hl7_known_ids(p.org_id, p.patient_id, NULL, NULL, p.identifier, p.identifier_system)),
        '5', coalesce(referral.hl7_field(p.family, p.given, p.middle, p.suffix, NULL, NULL, 'L'), '[]')
             || coalesce((SELECT jsonb_agg(jsonb_build_object('1', f, '7', 'M')) FROM unnest(p.previous_family) f), '[]')
             || coalesce((SELECT jsonb_agg(jsonb_build_object('2', a, '7', 'A')) FROM unnest(p.alias) a), '[]'),
        '6', referral.hl7_field(p.mother_maiden_name), '7', referral.hl7_field(referral.hl7_date_text(p.birth_date)),
        '8', referral.hl7_field(CASE p.sex WHEN 'male' THEN 'M' WHEN 'female' THEN 'F' WHEN 'other' THEN 'O' WHEN 'unknown' THEN 'U' END),
        '11', referral.hl7_field(p.address, NULL, p.city, p.state, p.postal_code),
        '13', nullif(coalesce(referral.hl7_field(p.phone, 'PRN', 'PH'), '[]')
             || coalesce((SELECT jsonb_agg(jsonb_build_object('1', t, '2', 'ORN', '3', 'PH')) FROM unnest(p.other_phones) t), '[]')
             || CASE WHEN p.email <> '' THEN referral.hl7_field(NULL, 'NET', 'Internet', p.email) ELSE '[]' END, '[]'),
        '15', referral.hl7_field(p.language),
        '24', referral.hl7_field(CASE WHEN p.multiple_birth THEN 'Y' WHEN NOT p.multiple_birth THEN 'N' END),
        '25', referral.hl7_field(p.birth_order::text)))
    FROM referral.patient p WHERE p.org_id = hl7_pid.org_id AND p.patient_id = hl7_pid.patient_id
$$;
COMMENT ON FUNCTION referral.hl7_pid(bigint, bigint) IS 'The segment PID of a patient. Null when there is none, or none that the caller may read.';

CREATE FUNCTION referral.hl7_prd(org_id bigint, role text, practitioner_id bigint, provider_organization_id bigint) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT referral.hl7_segment('PRD', jsonb_build_object(
        '1', referral.hl7_field(role, CASE role WHEN 'RP' THEN 'Referring Provider' ELSE 'Referred to Provider' END, 'HL70286'),
        -- practitioners have one name: its last word is the family name
        '2', referral.hl7_field(substring(p.name FROM '\S+$'), btrim(regexp_replace(p.name, '\S+$', ''))),
        '7', (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('1', i -> 'value', '2',
                  CASE WHEN i ->> 'system' = 'http://hl7.org/fhir/sid/us-npi' THEN to_jsonb('NPI'::text) ELSE i -> 'type' END)))
              FROM jsonb_array_elements(referral.hl7_known_ids(hl7_prd.org_id, NULL, p.practitioner_id, NULL, p.identifier, p.identifier_system)) i),
        '10', coalesce((SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('1', o.name, '10', i -> 'value', '7', i -> 'type',
                            '6', referral.hl7_field(VARIADIC referral.hl7_authority(i ->> 'system')) -> 0)))
                        FROM jsonb_array_elements(referral.hl7_known_ids(o.org_id, NULL, NULL, o.provider_organization_id, o.identifier, o.identifier_system)) i),
                       referral.hl7_field(coalesce(o.name, p.organization_name))),
        '11', referral.hl7_field(o.address, NULL, o.city, o.state, o.postal_code), '13', referral.hl7_field(o.phone, 'WPN', 'PH')))
    FROM (SELECT) AS one
    LEFT JOIN referral.practitioner p ON p.org_id = hl7_prd.org_id AND p.practitioner_id = hl7_prd.practitioner_id
    LEFT JOIN referral.provider_organization o ON o.org_id = hl7_prd.org_id AND o.provider_organization_id = hl7_prd.provider_organization_id
    WHERE p.org_id IS NOT NULL OR o.org_id IS NOT NULL
$$;
COMMENT ON FUNCTION referral.hl7_prd(bigint, text, bigint, bigint) IS
'The segment PRD of a practitioner and his organisation in a role (RP, RT). Null when neither is known.';

CREATE FUNCTION referral.hl7_in1(org_id bigint, patient_id bigint, on_date date) RETURNS SETOF jsonb
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
    SELECT referral.hl7_segment('IN1', jsonb_build_object(
        '1', referral.hl7_field((row_number() OVER (ORDER BY c.priority, c.coverage_id))::text),
        '2', referral.hl7_field(coalesce(l.identifier, l.name), l.name), '3', referral.hl7_field(y.identifier), '4', referral.hl7_field(y.name),
        '8', referral.hl7_field(c.group_number), '12', referral.hl7_field(referral.hl7_date_text(lower(c.period))),
        '13', referral.hl7_field(referral.hl7_date_text(upper(c.period) - 1)), '15', referral.hl7_field(l.kind),
        '17', referral.hl7_field(CASE c.relationship WHEN 'self' THEN 'SEL' WHEN 'spouse' THEN 'SPO' WHEN 'child' THEN 'CHD'
                                 WHEN 'parent' THEN 'PAR' WHEN 'common' THEN 'DOM' WHEN 'other' THEN 'OTH' ELSE c.relationship END),
        '22', referral.hl7_field(c.priority::text), '36', referral.hl7_field(c.subscriber_id)))
    FROM referral.coverage c
    LEFT JOIN referral.payer y ON y.org_id = c.org_id AND y.payer_id = c.payer_id
    LEFT JOIN referral.plan l ON l.org_id = c.org_id AND l.plan_id = c.plan_id
    WHERE c.org_id = hl7_in1.org_id AND c.patient_id = hl7_in1.patient_id AND c.status = 'active' AND c.period @> on_date
    ORDER BY c.priority, c.coverage_id
$$;
COMMENT ON FUNCTION referral.hl7_in1(bigint, bigint, date) IS
'The segments IN1 of a patient''s active coverages on a day, in the order in which they pay.';

CREATE FUNCTION referral.hl7_header(org_id bigint, type text, event text, receiver text, facility text) RETURNS jsonb
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT referral.hl7_segment('MSH', jsonb_build_object('3', referral.hl7_field(referral.hl7_own_name(hl7_header.org_id)),
        '4', (SELECT referral.hl7_field(o.name) FROM referral.organization o WHERE o.org_id = hl7_header.org_id),
        '5', referral.hl7_field(receiver), '6', referral.hl7_field(facility),
        '7', referral.hl7_field(referral.hl7_time_text(clock_timestamp())), '9', referral.hl7_field(type, event, type || '_I12'),
        -- 20 characters are what every version of HL7 takes
        '10', referral.hl7_field(left(replace(gen_random_uuid()::text, '-', ''), 20)), '11', referral.hl7_field('P'),
        '12', referral.hl7_field('2.5.1'), '18', referral.hl7_field('UNICODE UTF-8')))
$$;
COMMENT ON FUNCTION referral.hl7_header(bigint, text, text, text, text) IS
'The segment MSH of a new message, with a control id of its own and the time of day.';

CREATE FUNCTION referral.hl7_own_name(org_id bigint) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT s.source FROM referral.source_system s WHERE s.org_id = hl7_own_name.org_id AND s.is_self AND s.active
                     ORDER BY s.source_system_id LIMIT 1), 'referral')
$$;
COMMENT ON FUNCTION referral.hl7_own_name(bigint) IS
'The name under which an organisation sends: its first source_system that is itself, else referral.';

CREATE FUNCTION referral.hl7_rf1(org_id bigint, referral_id bigint, status text, note text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT referral.hl7_segment('RF1', jsonb_build_object(
        '1', referral.hl7_field(status, CASE status WHEN 'P' THEN 'Pending' WHEN 'A' THEN 'Accepted' WHEN 'R' THEN 'Rejected' WHEN 'E' THEN 'Expired' END, 'HL70283'),
        '2', referral.hl7_field(CASE r.urgency WHEN 'routine' THEN 'R' WHEN 'urgent' THEN 'U' WHEN 'asap' THEN 'A' WHEN 'stat' THEN 'S' END),
        '3', referral.hl7_field(r.specialty),
        -- who asked has numbered it; a referral that was entered here has our number
        '6', coalesce(referral.hl7_number(r.placer_order_number, r.placer_order_system),
                      CASE WHEN r.source IS NULL THEN referral.hl7_number(r.referral_id::text, referral.hl7_own_name(r.org_id)) END),
        '7', referral.hl7_field(referral.hl7_date_text((r.authored_at AT TIME ZONE 'UTC')::date)), '8', referral.hl7_field(referral.hl7_date_text(r.expires_on)),
        '9', referral.hl7_field(referral.hl7_time_text(r.authored_at)),
        '11', coalesce(referral.hl7_number(r.filler_order_number, r.filler_order_system),
                       CASE WHEN r.source IS NOT NULL THEN referral.hl7_number(r.referral_id::text, referral.hl7_own_name(r.org_id)) END),
        '14', referral.hl7_field(r.reason_text), '24', referral.hl7_field(note)))
    FROM referral.referral r WHERE r.org_id = hl7_rf1.org_id AND r.referral_id = hl7_rf1.referral_id
$$;
COMMENT ON FUNCTION referral.hl7_rf1(bigint, bigint, text, text) IS 'The segment RF1 of a referral with a status of HL7 table 0283 and a comment.';

CREATE FUNCTION referral.hl7_body(org_id bigint, referral_id bigint) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(s.segment ORDER BY s.place, s.n) FILTER (WHERE s.segment IS NOT NULL), '[]')
    FROM referral.referral r CROSS JOIN LATERAL (
          SELECT 1 AS place, 1::bigint AS n, CASE WHEN r.authorization_number <> '' THEN referral.hl7_segment('AUT', jsonb_build_object(
                     '2', (SELECT referral.hl7_field(coalesce(y.identifier, y.name)) FROM referral.payer y
                           WHERE y.org_id = r.org_id AND y.payer_id = r.payer_id),
                     '6', referral.hl7_field(r.authorization_number))) END AS segment
          UNION ALL SELECT 2, 1, referral.hl7_prd(r.org_id, 'RP', r.requester_id, r.requesting_organization_id)
          UNION ALL SELECT 2, 2, referral.hl7_prd(r.org_id, 'RT', r.performer_id, r.performing_organization_id)
          UNION ALL SELECT 3, 1, referral.hl7_pid(r.org_id, r.patient_id)
          UNION ALL SELECT 4, i.n, i.s FROM referral.hl7_in1(r.org_id, r.patient_id, (r.received_at AT TIME ZONE 'UTC')::date) WITH ORDINALITY AS i (s, n)
          UNION ALL SELECT CASE c.kind WHEN 'diagnosis' THEN 5 ELSE 6 END, c.sequence, CASE c.kind
              WHEN 'diagnosis' THEN referral.hl7_segment('DG1', jsonb_build_object('1', jsonb_build_array(c.sequence::text),
                  '3', referral.hl7_coding(c.system, c.code, c.display), '6', referral.hl7_field('W')))
              ELSE referral.hl7_segment('PR1', jsonb_build_object('1', jsonb_build_array(c.sequence::text), '3', referral.hl7_coding(c.system, c.code, c.display))) END
          FROM referral.referral_code c WHERE c.org_id = r.org_id AND c.referral_id = r.referral_id AND c.active
          UNION ALL SELECT 8, e.encounter_id, referral.hl7_segment('PV1', jsonb_build_object('1', jsonb_build_array('1'),
              '2', referral.hl7_field(CASE e.class WHEN 'IMP' THEN 'I' WHEN 'AMB' THEN 'O' WHEN 'EMER' THEN 'E' WHEN 'PRENC' THEN 'P' ELSE coalesce(e.class, 'U') END),
              '19', referral.hl7_identifiers(jsonb_build_array(jsonb_build_object('value', e.identifier, 'system', e.identifier_system))),
              '44', referral.hl7_field(referral.hl7_time_text(e.started_at)), '45', referral.hl7_field(referral.hl7_time_text(e.ended_at))))
          FROM referral.encounter e WHERE e.org_id = r.org_id AND e.encounter_id = r.encounter_id) s
    WHERE r.org_id = hl7_body.org_id AND r.referral_id = hl7_body.referral_id
$$;
COMMENT ON FUNCTION referral.hl7_body(bigint, bigint) IS
'The segments of a referral that REF and RRI share: AUT, PRD, PID, IN1, DG1, PR1, PV1, as an array.';

CREATE FUNCTION referral.hl7_report_segments(org_id bigint, referral_id bigint) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_array(
        referral.hl7_segment('OBR', jsonb_build_object('1', jsonb_build_array('1'),
            '2', referral.hl7_number(r.placer_order_number, r.placer_order_system), '3', referral.hl7_field(coalesce(c.identifier, c.consult_report_id::text)),
            '4', coalesce(referral.hl7_coding(c.code_system, c.code, d.title), referral.hl7_field('11488-4', 'Consult note', 'LN')),
            '7', referral.hl7_field(referral.hl7_time_text(c.started_at)), '8', referral.hl7_field(referral.hl7_time_text(c.ended_at)),
            '22', referral.hl7_field(referral.hl7_time_text(coalesce(c.sent_at, c.received_at))),
            '25', referral.hl7_field(CASE c.status WHEN 'final' THEN 'F' WHEN 'amended' THEN 'C' END))),
        referral.hl7_segment('OBX', jsonb_build_object('1', jsonb_build_array('1'), '2', referral.hl7_field(CASE WHEN d.url <> '' THEN 'RP' ELSE 'TX' END),
            '3', coalesce(referral.hl7_coding(c.code_system, c.code, d.title), referral.hl7_field('11488-4', 'Consult note', 'LN')),
            '5', CASE WHEN d.url <> '' THEN referral.hl7_field(d.url, NULL, upper(split_part(d.content_type, '/', 1)), upper(split_part(d.content_type, '/', 2)))
                      ELSE referral.hl7_field(coalesce(d.title, 'Report')) END,
            '11', referral.hl7_field(CASE c.status WHEN 'final' THEN 'F' WHEN 'amended' THEN 'C' END),
            '16', (SELECT referral.hl7_field(p.identifier, substring(p.name FROM '\S+$'), btrim(regexp_replace(p.name, '\S+$', '')))
                   FROM referral.practitioner p WHERE p.org_id = c.org_id AND p.practitioner_id = c.author_id))))
    FROM referral.referral r JOIN referral.consult_report c ON c.org_id = r.org_id AND c.referral_id = r.referral_id
    LEFT JOIN referral.document d ON d.org_id = c.org_id AND d.document_id = c.document_id
    WHERE r.org_id = hl7_report_segments.org_id AND r.referral_id = hl7_report_segments.referral_id AND c.status IN ('final', 'amended')
    ORDER BY c.received_at DESC, c.consult_report_id DESC LIMIT 1
$$;
COMMENT ON FUNCTION referral.hl7_report_segments(bigint, bigint) IS
'OBR and OBX that tell of the last final or amended report of a referral: where it is (a document''s url), else its title; reports themselves are not in the database. Null when there is none.';

-- messages

CREATE FUNCTION referral.hl7_no_referral(org_id bigint, referral_id bigint) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF num_nulls(org_id, referral_id) = 0 THEN
        RAISE EXCEPTION 'no such referral' USING ERRCODE = 'RF019',
            DETAIL = format('There is no referral %s of organisation %s that you may see.', referral_id, org_id), HINT = 'Check org_id and referral_id.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.hl7_no_referral(bigint, bigint) IS 'RF019 for a referral that is not there; nothing for null.';

CREATE FUNCTION referral.hl7_referral(org_id bigint, referral_id bigint, event text DEFAULT 'I12', receiver text DEFAULT NULL, receiver_facility text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
BEGIN
    IF event IS NULL OR event NOT IN ('I12', 'I13', 'I14') THEN
        RAISE EXCEPTION 'no such event of a referral message' USING ERRCODE = 'RF020', DETAIL = format('The event is %L.', event),
            HINT = 'Use I12 (request), I13 (change) or I14 (cancellation).';
    END IF;
    SELECT t.* INTO r FROM referral.referral t WHERE t.org_id = $1 AND t.referral_id = $2;
    IF NOT FOUND THEN
        PERFORM referral.hl7_no_referral(org_id, referral_id);
        RETURN NULL;
    END IF;
    RETURN referral.hl7_build(jsonb_build_object('segments',
        jsonb_build_array(referral.hl7_header(org_id, 'REF', event, receiver, receiver_facility),
                          referral.hl7_rf1(org_id, referral_id, CASE WHEN r.decision = 'accepted' THEN 'A' ELSE 'P' END, CASE WHEN event = 'I14' THEN r.status_reason END))
        || referral.hl7_body(org_id, referral_id)));
END $$;
COMMENT ON FUNCTION referral.hl7_referral(bigint, bigint, text, text, text) IS
'A new message REF about a referral, for the one it is referred to: I12 request, I13 change, I14 cancellation. receiver and receiver_facility are MSH-5 and MSH-6. Read with the caller''s rights; nothing is written or sent. Null for null ids; RF019 when there is no such referral to be seen, RF020 for another event.';

CREATE FUNCTION referral.hl7_response(org_id bigint, referral_id bigint, answered text DEFAULT NULL, receiver text DEFAULT NULL, receiver_facility text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
    status text;
BEGIN
    SELECT t.* INTO r FROM referral.referral t WHERE t.org_id = $1 AND t.referral_id = $2;
    IF NOT FOUND THEN
        PERFORM referral.hl7_no_referral(org_id, referral_id);
        RETURN NULL;
    END IF;
    status := CASE WHEN r.state = 'declined' OR r.decision = 'declined' THEN 'R' WHEN r.state = 'expired' THEN 'E'
                   WHEN r.decision IS NULL AND r.state IN ('received', 'on_hold', 'cancellation_requested') OR r.decision = 'returned' THEN 'P' ELSE 'A' END;
    RETURN referral.hl7_build(jsonb_build_object('segments',
        jsonb_build_array(referral.hl7_header(org_id, 'RRI', CASE WHEN r.state = 'cancelled' THEN 'I14' ELSE 'I12' END, coalesce(receiver, r.source), receiver_facility),
                          referral.hl7_segment('MSA', jsonb_build_object('1', jsonb_build_array('AA'), '2', referral.hl7_field(answered))),
                          referral.hl7_rf1(org_id, referral_id, status, r.status_reason))
        || referral.hl7_body(org_id, referral_id) || coalesce(referral.hl7_report_segments(org_id, referral_id), '[]')));
END $$;
COMMENT ON FUNCTION referral.hl7_response(bigint, bigint, text, text, text) IS
'A new message RRI that tells the one who referred how a referral stands (RF1-1: P pending, A accepted, R declined, E expired; event I14 when it is cancelled), with its final report when there is one. answered: the control id of the message that it answers. The receiver is the system that sent the referral, unless given. Read with the caller''s rights; nothing is written or sent. Null for null ids; RF019 when there is no such referral to be seen.';

REVOKE ALL ON FUNCTION referral.hl7_body(bigint, bigint), referral.hl7_header(bigint, text, text, text, text), referral.hl7_in1(bigint, bigint, date),
    referral.hl7_known_ids(bigint, bigint, bigint, bigint, text, text), referral.hl7_own_name(bigint), referral.hl7_pid(bigint, bigint),
    referral.hl7_prd(bigint, text, bigint, bigint), referral.hl7_referral(bigint, bigint, text, text, text),
    referral.hl7_report_segments(bigint, bigint), referral.hl7_response(bigint, bigint, text, text, text),
    referral.hl7_rf1(bigint, bigint, text, text) FROM PUBLIC;
