-- fhir: out again. What the model knows is written; what it does not know is taken from the request as it arrived.

CREATE FUNCTION referral.fhir_out_identifiers(org_id bigint, entity text, id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                       'type', CASE WHEN i.type = 'FHIR' THEN jsonb_build_object('text', i.type)
                                    WHEN i.type IS NOT NULL THEN jsonb_build_object('coding', jsonb_build_array(jsonb_build_object(
                                        'system', 'http://terminology.hl7.org/CodeSystem/v2-0203', 'code', i.type))) END,
                       'system', i.system, 'value', i.value,
                       'assigner', CASE WHEN i.assigner IS NOT NULL THEN jsonb_build_object('display', i.assigner) END)) ORDER BY i.identifier_id)
            FROM referral.identifier i
            WHERE i.org_id = fhir_out_identifiers.org_id
              AND fhir_out_identifiers.id = CASE entity WHEN 'patient' THEN i.patient_id WHEN 'practitioner' THEN i.practitioner_id
                      WHEN 'provider_organization' THEN i.provider_organization_id WHEN 'referral' THEN i.referral_id END);
END $$;
COMMENT ON FUNCTION referral.fhir_out_identifiers(bigint, text, bigint) IS
'The identifiers of a patient, practitioner, provider_organization or referral as FHIR Identifiers. Ids of FHIR resources elsewhere have type FHIR. Null when there are none.';
REVOKE ALL ON FUNCTION referral.fhir_out_identifiers(bigint, text, bigint) FROM PUBLIC;

CREATE FUNCTION referral.fhir_out_address(address text, city text, state text, postal_code text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.fhir_some(referral.fhir_array(referral.fhir_strip(jsonb_build_object(
    'line', to_jsonb(string_to_array(address, ', ')), 'city', city, 'state', state, 'postalCode', postal_code))));
COMMENT ON FUNCTION referral.fhir_out_address(text, text, text, text) IS 'An address as a list of FHIR Address. Null when nothing is known.';

CREATE FUNCTION referral.fhir_out_patient(org_id bigint, patient_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
    identifiers jsonb;
BEGIN
    SELECT * INTO p FROM referral.patient t WHERE t.org_id = fhir_out_patient.org_id AND t.patient_id = fhir_out_patient.patient_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    identifiers := coalesce(referral.fhir_out_identifiers(p.org_id, 'patient', p.patient_id), '[]');
    IF p.identifier IS NOT NULL AND NOT identifiers @> jsonb_build_array(jsonb_build_object('value', p.identifier)) THEN
        identifiers := jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('system', p.identifier_system, 'value', p.identifier))) || identifiers;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'resourceType', 'Patient', 'id', p.patient_id::text, 'active', p.active AND p.merged_into IS NULL,
        'identifier', referral.fhir_some(identifiers),
        'name', referral.fhir_some(
            CASE WHEN num_nonnulls(p.family, p.given, p.middle) > 0 THEN jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
                'use', 'official', 'family', p.family, 'given', to_jsonb(string_to_array(nullif(concat_ws(' ', p.given, p.middle), ''), ' ')),
                'suffix', to_jsonb(string_to_array(p.suffix, ' '))))) ELSE '[]' END
            || coalesce((SELECT jsonb_agg(jsonb_build_object('use', 'old', 'family', f)) FROM unnest(p.previous_family) f), '[]')
            || coalesce((SELECT jsonb_agg(jsonb_build_object('use', 'nickname', 'given', jsonb_build_array(a))) FROM unnest(p.alias) a), '[]')),
        'telecom', (SELECT jsonb_agg(jsonb_build_object('system', c.system, 'value', c.value))
                    FROM (SELECT 'phone', p.phone UNION ALL SELECT 'phone', unnest(p.other_phones) UNION ALL SELECT 'email', p.email) c (system, value)
                    WHERE c.value IS NOT NULL),
        'gender', p.sex, 'birthDate', p.birth_date,
        'address', referral.fhir_out_address(p.address, p.city, p.state, p.postal_code),
        'multipleBirthInteger', p.birth_order,
        'multipleBirthBoolean', CASE WHEN p.birth_order IS NULL THEN p.multiple_birth END,
        'communication', CASE WHEN p.language IS NOT NULL THEN jsonb_build_array(jsonb_build_object('language', jsonb_build_object(
            'coding', jsonb_build_array(jsonb_build_object('system', 'urn:ietf:bcp:47', 'code', p.language))))) END,
        'extension', CASE WHEN p.mother_maiden_name IS NOT NULL THEN jsonb_build_array(jsonb_build_object(
            'url', 'http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName', 'valueString', p.mother_maiden_name)) END));
END $$;
COMMENT ON FUNCTION referral.fhir_out_patient(bigint, bigint) IS 'A patient as a FHIR R4 Patient. Null for one that is not visible, and for null.';
REVOKE ALL ON FUNCTION referral.fhir_out_patient(bigint, bigint) FROM PUBLIC;

CREATE FUNCTION referral.fhir_out_practitioner(org_id bigint, practitioner_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
BEGIN
    SELECT * INTO p FROM referral.practitioner t
    WHERE t.org_id = fhir_out_practitioner.org_id AND t.practitioner_id = fhir_out_practitioner.practitioner_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'resourceType', 'Practitioner', 'id', p.practitioner_id::text, 'active', p.active,
        'identifier', coalesce(referral.fhir_out_identifiers(p.org_id, 'practitioner', p.practitioner_id),
            CASE WHEN p.identifier IS NOT NULL
                 THEN jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('system', p.identifier_system, 'value', p.identifier))) END),
        'name', jsonb_build_array(jsonb_build_object('text', p.name)),
        'qualification', CASE WHEN p.specialty IS NOT NULL THEN jsonb_build_array(jsonb_build_object('code', jsonb_build_object('text', p.specialty))) END));
END $$;
COMMENT ON FUNCTION referral.fhir_out_practitioner(bigint, bigint) IS 'A practitioner as a FHIR R4 Practitioner. Null for one that is not visible, and for null.';
REVOKE ALL ON FUNCTION referral.fhir_out_practitioner(bigint, bigint) FROM PUBLIC;

CREATE FUNCTION referral.fhir_out_organization(org_id bigint, provider_organization_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o record;
BEGIN
    SELECT * INTO o FROM referral.provider_organization t
    WHERE t.org_id = fhir_out_organization.org_id AND t.provider_organization_id = fhir_out_organization.provider_organization_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'resourceType', 'Organization', 'id', o.provider_organization_id::text, 'active', o.active,
        'identifier', coalesce(referral.fhir_out_identifiers(o.org_id, 'provider_organization', o.provider_organization_id),
            CASE WHEN o.identifier IS NOT NULL
                 THEN jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('system', o.identifier_system, 'value', o.identifier))) END),
        'name', o.name,
        'telecom', CASE WHEN o.phone IS NOT NULL THEN jsonb_build_array(jsonb_build_object('system', 'phone', 'value', o.phone)) END,
        'address', referral.fhir_out_address(o.address, o.city, o.state, o.postal_code)));
END $$;
COMMENT ON FUNCTION referral.fhir_out_organization(bigint, bigint) IS 'A provider organisation as a FHIR R4 Organization. Null for one that is not visible, and for null.';
REVOKE ALL ON FUNCTION referral.fhir_out_organization(bigint, bigint) FROM PUBLIC;

CREATE FUNCTION referral.fhir_out_coverage(org_id bigint, coverage_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
BEGIN
    SELECT t.*, y.name AS payer, y.identifier AS payer_identifier, l.name AS plan, l.identifier AS plan_identifier, l.kind INTO c
    FROM referral.coverage t
    LEFT JOIN referral.payer y ON y.org_id = t.org_id AND y.payer_id = t.payer_id
    LEFT JOIN referral.plan l ON l.org_id = t.org_id AND l.plan_id = t.plan_id
    WHERE t.org_id = fhir_out_coverage.org_id AND t.coverage_id = fhir_out_coverage.coverage_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'resourceType', 'Coverage', 'id', c.coverage_id::text, 'status', c.status, 'order', c.priority,
        'type', CASE WHEN c.kind IS NOT NULL THEN jsonb_build_object('text', c.kind) END, 'subscriberId', c.subscriber_id, 'beneficiary', jsonb_build_object('reference', 'Patient/' || c.patient_id),
        'relationship', CASE WHEN c.relationship IS NOT NULL THEN jsonb_build_object('coding', jsonb_build_array(jsonb_build_object(
            'system', 'http://terminology.hl7.org/CodeSystem/subscriber-relationship', 'code', c.relationship))) END,
        'period', referral.fhir_strip(jsonb_build_object('start', lower(c.period), 'end', upper(c.period) - 1)),
        'payor', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('display', coalesce(c.payer, 'unknown'),
            'identifier', CASE WHEN c.payer_identifier IS NOT NULL THEN jsonb_build_object('value', c.payer_identifier) END))),
        'class', referral.fhir_some(
            CASE WHEN c.plan IS NOT NULL THEN jsonb_build_array(jsonb_build_object('type', jsonb_build_object('coding', jsonb_build_array(
                jsonb_build_object('system', 'http://terminology.hl7.org/CodeSystem/coverage-class', 'code', 'plan'))),
                'value', coalesce(c.plan_identifier, c.plan), 'name', c.plan)) ELSE '[]' END
            || CASE WHEN c.group_number IS NOT NULL THEN jsonb_build_array(jsonb_build_object('type', jsonb_build_object('coding', jsonb_build_array(
                jsonb_build_object('system', 'http://terminology.hl7.org/CodeSystem/coverage-class', 'code', 'group'))),
                'value', c.group_number)) ELSE '[]' END)));
END $$;
COMMENT ON FUNCTION referral.fhir_out_coverage(bigint, bigint) IS 'A coverage as a FHIR R4 Coverage. Null for one that is not visible, and for null.';
REVOKE ALL ON FUNCTION referral.fhir_out_coverage(bigint, bigint) FROM PUBLIC;

CREATE FUNCTION referral.fhir_out_specialty(specialty text) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN specialty ~ '^[0-9]{3}[0-9A-Z]{6}X$'
            THEN jsonb_build_object('coding', jsonb_build_array(jsonb_build_object('system', 'http://nucc.org/provider-taxonomy', 'code', specialty)))
            ELSE jsonb_build_object('text', specialty) END;
COMMENT ON FUNCTION referral.fhir_out_specialty(text) IS 'A specialty as a FHIR CodeableConcept, with the system of the provider taxonomy when it is one of its codes. Null for null.';

CREATE FUNCTION referral.fhir_contained(resource jsonb, id text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.fhir_array(resource || jsonb_build_object('id', id));
COMMENT ON FUNCTION referral.fhir_contained(jsonb, text) IS 'A list of a resource under the id by which the resource that will contain it refers to it; empty for null.';

CREATE FUNCTION referral.fhir_contained_actor(org_id bigint, practitioner_id bigint, provider_organization_id bigint, id text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    person jsonb := referral.fhir_out_practitioner(org_id, practitioner_id);
    organization jsonb := referral.fhir_out_organization(org_id, provider_organization_id);
    specialty text;
BEGIN
    IF person IS NULL OR organization IS NULL AND NOT person ? 'qualification' THEN
        RETURN referral.fhir_contained(coalesce(person, organization), id);
    END IF;
    specialty := person #>> '{qualification,0,code,text}';
    RETURN referral.fhir_contained(person - 'qualification', id || '-person') || referral.fhir_contained(organization, id || '-organization')
        || jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('resourceType', 'PractitionerRole', 'id', id,
            'practitioner', jsonb_build_object('reference', '#' || id || '-person'),
            'organization', CASE WHEN organization IS NOT NULL THEN jsonb_build_object('reference', '#' || id || '-organization') END,
            'specialty', CASE WHEN specialty IS NOT NULL THEN jsonb_build_array(referral.fhir_out_specialty(specialty)) END)));
END $$;
COMMENT ON FUNCTION referral.fhir_contained_actor(bigint, bigint, bigint, text) IS
'Who acts, as resources to contain, the one to refer to under the id: a PractitionerRole with its Practitioner and Organization, or the one of them that there is. Empty when there is none.';
REVOKE ALL ON FUNCTION referral.fhir_contained_actor(bigint, bigint, bigint, text) FROM PUBLIC;

-- ---------- the request ----------

CREATE FUNCTION referral.fhir_received(org_id bigint, referral_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    payload text;
    message jsonb;
    source text;
    request jsonb;
BEGIN
    IF NOT has_column_privilege('referral.inbox_message', 'payload', 'SELECT') THEN
        RETURN NULL;
    END IF;
    FOR payload, source IN
        SELECT m.payload, m.source FROM referral.inbox_message m
        WHERE m.org_id = fhir_received.org_id AND m.referral_id = fhir_received.referral_id
          AND m.status = 'processed' AND m.payload ~ '^\s*\{' AND m.payload LIKE '%"ServiceRequest"%'
        ORDER BY m.message_id DESC LIMIT 5
    LOOP
        BEGIN
            message := payload::jsonb;
        EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
            CONTINUE;
        END;
        SELECT e.resource INTO request FROM referral.fhir_entries(message) f CROSS JOIN LATERAL unnest(f.types, f.resources) e (type, resource)
        WHERE e.type = 'ServiceRequest'
          AND (message ->> 'resourceType' = 'ServiceRequest' OR EXISTS (
              SELECT FROM referral.identifier i, jsonb_array_elements(referral.fhir_identifiers(e.resource, source)) k
              WHERE i.org_id = fhir_received.org_id AND i.referral_id = fhir_received.referral_id AND i.value = k.value ->> 'value'))
        LIMIT 1;
        IF FOUND THEN
            RETURN request;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.fhir_received(bigint, bigint) IS
'The ServiceRequest of a referral as it arrived last. Null when none arrived, it is not visible, or the caller may not read messages.';
REVOKE ALL ON FUNCTION referral.fhir_received(bigint, bigint) FROM PUBLIC;

CREATE FUNCTION referral.fhir_out_concept(code text, system text, display text, received jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    -- as it arrived it may say more, if it still says the same
    WHEN received IS NOT NULL AND referral.fhir_concept(received) IS NOT DISTINCT FROM
         referral.fhir_strip(jsonb_build_object('code', code, 'system', system, 'display', display)) THEN received
    WHEN code IS NOT NULL THEN jsonb_build_object('coding', jsonb_build_array(jsonb_strip_nulls(
        jsonb_build_object('system', system, 'code', code, 'display', display))))
    WHEN display IS NOT NULL THEN jsonb_build_object('text', display) END;
COMMENT ON FUNCTION referral.fhir_out_concept(text, text, text, jsonb) IS
'A code as a FHIR CodeableConcept: the one that arrived when that says the same. Null for no code and no text.';

CREATE FUNCTION referral.fhir_out_status(state referral.state) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN state IN ('declined', 'cancelled', 'expired') THEN 'revoked' WHEN state = 'on_hold' THEN 'on-hold'
            WHEN state IN ('completed', 'closed_loop') THEN 'completed' WHEN state = 'entered_in_error' THEN 'entered-in-error' ELSE 'active' END;
COMMENT ON FUNCTION referral.fhir_out_status(referral.state) IS 'ServiceRequest.status of a state. Never null but for null, which is active.';

CREATE FUNCTION referral.fhir_service_request(org_id bigint, referral_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
    received jsonb := coalesce(referral.fhir_received(org_id, referral_id), '{}');
    identifiers jsonb;
    contained jsonb;
    ours jsonb;
BEGIN
    SELECT * INTO r FROM referral.referral t WHERE t.org_id = fhir_service_request.org_id AND t.referral_id = fhir_service_request.referral_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    identifiers := coalesce(referral.fhir_out_identifiers(r.org_id, 'referral', r.referral_id), '[]');
    identifiers := identifiers || coalesce((
        SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('type', jsonb_build_object('coding', jsonb_build_array(jsonb_build_object(
                   'system', 'http://terminology.hl7.org/CodeSystem/v2-0203', 'code', n.type))), 'system', n.system, 'value', n.value)))
        FROM (VALUES ('PLAC', r.placer_order_system, r.placer_order_number), ('FILL', r.filler_order_system, r.filler_order_number)) n (type, system, value)
        WHERE n.value IS NOT NULL AND NOT identifiers @> jsonb_build_array(jsonb_build_object('value', n.value,
              'type', jsonb_build_object('coding', jsonb_build_array(jsonb_build_object('code', n.type)))))), '[]');
    contained := referral.fhir_contained(referral.fhir_out_patient(r.org_id, r.patient_id), 'patient')
        || referral.fhir_contained_actor(r.org_id, r.requester_id, r.requesting_organization_id, 'requester')
        || referral.fhir_contained_actor(r.org_id, r.performer_id, r.performing_organization_id, 'performer')
        || referral.fhir_contained(referral.fhir_out_coverage(r.org_id, r.coverage_id) || '{"beneficiary": {"reference": "#patient"}}', 'coverage');
    ours := jsonb_strip_nulls(jsonb_build_object(
        'resourceType', 'ServiceRequest', 'id', r.referral_id::text,
        'contained', referral.fhir_some(contained),
        'identifier', referral.fhir_some(identifiers),
        'status', CASE WHEN referral.fhir_request_state(received ->> 'status') = 'on_hold' AND r.state = 'on_hold' THEN received ->> 'status'
                       ELSE referral.fhir_out_status(r.state) END,
        'intent', r.intent, 'priority', r.urgency,
        'code', referral.fhir_out_concept(r.service_code, r.service_code_system, r.service_text, received -> 'code'),
        'orderDetail', (SELECT jsonb_agg(referral.fhir_out_concept(c.code, c.system, c.display) ORDER BY c.sequence) FROM referral.referral_code c
                        WHERE c.org_id = r.org_id AND c.referral_id = r.referral_id AND c.kind = 'procedure' AND c.active
                          AND c.code IS DISTINCT FROM r.service_code),
        'subject', CASE WHEN r.patient_id IS NOT NULL THEN '{"reference": "#patient"}'::jsonb ELSE coalesce(received -> 'subject', '{"display": "unknown"}') END,
        'authoredOn', r.authored_at,
        'requester', CASE WHEN contained @> '[{"id": "requester"}]' THEN '{"reference": "#requester"}'::jsonb END,
        'performer', CASE WHEN contained @> '[{"id": "performer"}]' THEN '[{"reference": "#performer"}]'::jsonb END,
        'performerType', referral.fhir_out_specialty(r.specialty),
        'reasonCode', coalesce((SELECT jsonb_agg(referral.fhir_out_concept(c.code, c.system, c.display) ORDER BY c.sequence) FROM referral.referral_code c
                                WHERE c.org_id = r.org_id AND c.referral_id = r.referral_id AND c.kind = 'diagnosis' AND c.active),
                               referral.fhir_some(referral.fhir_array(referral.fhir_out_concept(r.reason_code, r.reason_code_system, r.reason_text)))),
        'insurance', CASE WHEN contained @> '[{"id": "coverage"}]' THEN '[{"reference": "#coverage"}]'::jsonb END));
    -- what has gone from the model is not brought back from the message, nor what only means something within that
    received := coalesce((SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(received) e
                          WHERE e.value::text !~ '"reference": "(#|urn:uuid:)'), '{}');
    RETURN (received - '{contained,requester,performer,performerType,insurance,reasonReference,encounter,basedOn,replaces}'::text[]) || ours;
END $$;
COMMENT ON FUNCTION referral.fhir_service_request(bigint, bigint) IS
'A referral as a FHIR R4 ServiceRequest, with its patient, people, organisations and coverage contained; reads with the caller''s rights. Elements that the model does not have are those of the request as it arrived last, when the caller may read that. Null for a referral that is not visible, and for null.';
REVOKE ALL ON FUNCTION referral.fhir_service_request(bigint, bigint) FROM PUBLIC;

-- ---------- where it stands ----------

CREATE FUNCTION referral.fhir_out_task_status(state referral.state, OUT status text, OUT code text, OUT display text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT s.status, s.code, s.display INTO status, code, display
    FROM (VALUES ('received', 'received', '2.0', 'Service Request Created'), ('validated', 'accepted', '3.0', 'Service Request Accepted'),
                 ('pending_authorization', 'on-hold', '3.0', 'Service Request Accepted'), ('ready_to_schedule', 'ready', '3.0', 'Service Request Accepted'),
                 ('scheduled', 'in-progress', '5.1.1', 'Event Scheduled'), ('no_show', 'in-progress', '5.1.2', 'Scheduled Event Unattended'),
                 ('appointment_cancelled', 'in-progress', '5.1.3', 'Scheduled Event Cancelled'),
                 ('completed', 'in-progress', '5.1.4', 'Event Completed'), ('closed_loop', 'completed', '7.0', 'Service Request Fulfillment Completed'),
                 ('on_hold', 'on-hold', NULL, NULL), ('cancellation_requested', 'in-progress', '5.2', 'Cancellation Requested'),
                 ('declined', 'rejected', '4.0', 'Service Request Declined'), ('cancelled', 'cancelled', '6.0', 'Service Request Fulfillment Cancelled'),
                 ('expired', 'failed', NULL, NULL), ('entered_in_error', 'entered-in-error', NULL, NULL)) s (state, status, code, display)
    WHERE s.state = fhir_out_task_status.state::text;
END $$;
COMMENT ON FUNCTION referral.fhir_out_task_status(referral.state) IS
'Task.status of a state, and code and display of Task.businessStatus in BSeR, for steps that say neither. Nulls for null.';

CREATE FUNCTION referral.fhir_task(org_id bigint, referral_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
    known record;
    reports jsonb;
BEGIN
    SELECT t.*, s.fhir_task_status, s.business_status, s.title, c.display AS reason INTO r
    FROM referral.referral t
    LEFT JOIN referral.workflow_step s ON s.workflow_id = t.workflow_id AND s.step = t.step
    LEFT JOIN referral.workflow_transition m ON m.transition_id = t.transition_id
    LEFT JOIN LATERAL (SELECT k.display FROM referral.reason_code k WHERE k.code = t.status_reason
                       ORDER BY k.domain IS DISTINCT FROM m.reason_domain, NOT k.active, k.reason_code_id DESC LIMIT 1) c ON true
    WHERE t.org_id = fhir_task.org_id AND t.referral_id = fhir_task.referral_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    known := referral.fhir_out_task_status(r.state);
    SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'type', coalesce(referral.fhir_out_concept(x.code, x.code_system, NULL), '{"text": "report"}'),
        'valueReference', jsonb_strip_nulls(jsonb_build_object('type', 'DocumentReference', 'display', coalesce(d.title, x.status),
            'reference', CASE WHEN d.document_id IS NOT NULL THEN 'DocumentReference/' || d.document_id END,
            'identifier', jsonb_build_object('value', coalesce(x.identifier, x.consult_report_id::text)))))) ORDER BY x.consult_report_id)
    INTO reports
    FROM referral.consult_report x LEFT JOIN referral.document d ON d.org_id = x.org_id AND d.document_id = x.document_id
    WHERE x.org_id = r.org_id AND x.referral_id = r.referral_id AND x.status IN ('preliminary', 'final', 'amended');
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'resourceType', 'Task', 'id', r.referral_id::text,
        'contained', referral.fhir_some(referral.fhir_contained(referral.fhir_out_patient(r.org_id, r.patient_id), 'patient')
            || referral.fhir_contained_actor(r.org_id, r.requester_id, r.requesting_organization_id, 'requester')
            || referral.fhir_contained_actor(r.org_id, r.performer_id, r.performing_organization_id, 'owner')),
        'identifier', referral.fhir_out_identifiers(r.org_id, 'referral', r.referral_id),
        'status', coalesce(r.fhir_task_status, known.status),
        'statusReason', jsonb_strip_nulls(jsonb_build_object('text', coalesce(r.reason, r.status_reason, r.title, replace(r.step, '_', ' ')),
            'coding', CASE WHEN r.reason IS NOT NULL THEN jsonb_build_array(jsonb_build_object('code', r.status_reason, 'display', r.reason)) END)),
        'businessStatus', jsonb_strip_nulls(jsonb_build_object('text', coalesce(r.title, replace(r.step, '_', ' ')),
            'coding', CASE WHEN coalesce(r.business_status, known.code) IS NOT NULL THEN jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
                'system', 'http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS', 'code', coalesce(r.business_status, known.code),
                'display', CASE WHEN r.business_status IS NULL THEN known.display ELSE r.title END))) END)),
        'intent', 'order', 'priority', r.urgency,
        'focus', jsonb_strip_nulls(jsonb_build_object('reference', 'ServiceRequest/' || r.referral_id, 'type', 'ServiceRequest',
            'identifier', CASE WHEN r.placer_order_number IS NOT NULL
                               THEN jsonb_strip_nulls(jsonb_build_object('system', r.placer_order_system, 'value', r.placer_order_number)) END)),
        'for', CASE WHEN r.patient_id IS NOT NULL THEN '{"reference": "#patient"}'::jsonb END,
        'authoredOn', coalesce(r.authored_at, r.received_at), 'lastModified', r.entered_at,
        'requester', CASE WHEN num_nonnulls(r.requester_id, r.requesting_organization_id) > 0 THEN '{"reference": "#requester"}'::jsonb END,
        'owner', CASE WHEN num_nonnulls(r.performer_id, r.performing_organization_id) > 0 THEN '{"reference": "#owner"}'::jsonb END,
        'output', reports));
END $$;
COMMENT ON FUNCTION referral.fhir_task(bigint, bigint) IS
'Where a referral stands, as a FHIR R4 Task: status and business status are those of its step, else those of its state (BSeR); statusReason always has a text; output are its reports. Reads with the caller''s rights. Null for a referral that is not visible, and for null.';
REVOKE ALL ON FUNCTION referral.fhir_task(bigint, bigint) FROM PUBLIC;

-- ---------- Patient/$match ----------

CREATE FUNCTION referral.fhir_patient_match(patient jsonb, only_certain boolean DEFAULT false, count integer DEFAULT 10,
                                            org_id bigint DEFAULT referral.current_org()) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known jsonb;
    entries jsonb;
BEGIN
    IF patient ->> 'resourceType' = 'Parameters' THEN
        only_certain := coalesce(referral.fhir_boolean(jsonb_path_query_first(patient, '$.parameter[*] ? (@.name == "onlyCertainMatches").valueBoolean')), only_certain);
        count := coalesce(least(referral.fhir_number(jsonb_path_query_first(patient, '$.parameter[*] ? (@.name == "count").valueInteger')), 1000)::integer, count);
        patient := jsonb_path_query_first(patient, '$.parameter[*] ? (@.name == "resource").resource');
    END IF;
    IF patient ->> 'resourceType' IS DISTINCT FROM 'Patient' THEN
        RAISE EXCEPTION 'the message is no FHIR Patient' USING ERRCODE = 'RF014',
            DETAIL = 'Only a Patient can be matched.', HINT = 'Give a Patient, or Parameters with a resource that is one.';
    END IF;
    known := referral.fhir_patient(patient, 'match');
    known := jsonb_strip_nulls((known - '{identifiers,deceased,language,phone,other_phones}'::text[]) || jsonb_build_object(
        'phone', referral.fhir_some(referral.fhir_array(known -> 'phone') || coalesce(known -> 'other_phones', '[]')),
        'identifiers', (SELECT jsonb_agg(concat_ws('|', coalesce(i.value ->> 'type', i.value ->> 'system'), i.value ->> 'value'))
                        FROM jsonb_array_elements(known -> 'identifiers') i WHERE i.value ->> 'type' IS DISTINCT FROM 'FHIR')));
    SELECT jsonb_agg(jsonb_build_object(
        'fullUrl', 'urn:referral:' || fhir_patient_match.org_id || ':Patient/' || m.patient_id,
        'resource', referral.fhir_out_patient(fhir_patient_match.org_id, m.patient_id),
        'search', jsonb_build_object('mode', 'match', 'score', round(m.probability::numeric, 4),
            'extension', jsonb_build_array(jsonb_build_object('url', 'http://hl7.org/fhir/StructureDefinition/match-grade', 'valueCode', m.grade))))
        ORDER BY m.probability DESC, m.patient_id)
    INTO entries
    FROM referral.find_matches(fhir_patient_match.org_id, referral.demographics(known), fhir_patient_match.count) m
    WHERE NOT coalesce(only_certain, false) OR m.grade = 'certain';
    RETURN jsonb_strip_nulls(jsonb_build_object('resourceType', 'Bundle', 'type', 'searchset',
                                                'total', coalesce(jsonb_array_length(entries), 0), 'entry', entries));
END $$;
COMMENT ON FUNCTION referral.fhir_patient_match(jsonb, boolean, integer, bigint) IS
'FHIR Patient/$match: the patients who may be the one described, as a searchset Bundle with score and match-grade, best first. patient: a Patient, or Parameters with resource, onlyCertainMatches and count. Reads with the caller''s rights. RF014 when it is no Patient, otherwise the errors of find_matches().';
REVOKE ALL ON FUNCTION referral.fhir_patient_match(jsonb, boolean, integer, bigint) FROM PUBLIC;
