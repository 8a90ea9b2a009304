-- fhir: from a message to cases

CREATE FUNCTION referral.fhir_message(message jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    header jsonb := CASE WHEN message #>> '{entry,0,resource,resourceType}' = 'MessageHeader' THEN message #> '{entry,0,resource}' END;
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'type', coalesce(referral.fhir_text(header #> '{eventCoding,code}'),
                         concat_ws(' ', message ->> 'resourceType',
                                   CASE WHEN message ->> 'resourceType' = 'Bundle' THEN referral.fhir_text(message -> 'type') END)),
        'control_id', coalesce(referral.fhir_text(referral.fhir_first(message -> 'identifier') -> 'value'), referral.fhir_text(message -> 'id')),
        'sent_at', referral.fhir_time(referral.fhir_text(coalesce(message -> 'timestamp', message #> '{meta,lastUpdated}'))),
        'sender', coalesce(referral.fhir_text(header #> '{source,name}'), referral.fhir_text(header #> '{source,endpoint}')),
        'originator', referral.fhir_text(message #> '{meta,source}')));
END $$;
COMMENT ON FUNCTION referral.fhir_message(jsonb) IS 'What a FHIR message says about itself: type, control_id, sent_at, sender, and originator, the system whose own change it tells of (meta.source). Never null.';

CREATE FUNCTION referral.fhir_diagnoses(keys jsonb, resources jsonb[], request jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    codes jsonb := coalesce(referral.fhir_concept_codes(request -> 'reasonCode'), '[]');
    list jsonb := referral.fhir_list(request -> 'reasonReference') || referral.fhir_list(request -> 'diagnosis');
    found jsonb;
BEGIN
    FOR i IN 0 .. least(jsonb_array_length(list), 50) - 1 LOOP
        found := resources[referral.fhir_target(keys, coalesce(list -> i -> 'diagnosisReference', list -> i), root)];
        codes := codes || coalesce(CASE WHEN found ->> 'resourceType' = 'Condition' THEN referral.fhir_concept(found -> 'code')
                                        ELSE referral.fhir_concept(list -> i -> 'diagnosisCodeableConcept') END, '[]');
    END LOOP;
    RETURN nullif(codes, '[]');
END $$;
COMMENT ON FUNCTION referral.fhir_diagnoses(jsonb, jsonb[], jsonb, integer) IS
'The reasons of a request or the diagnoses of a claim, those of the conditions that it refers to too, as codes. Null when there is none.';

CREATE FUNCTION referral.fhir_referral_ids(resource jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := referral.fhir_list(resource -> 'basedOn') || referral.fhir_list(resource -> 'focus')
                  || referral.fhir_list(resource -> 'about') || referral.fhir_list(resource #> '{context,related}')
                  || referral.fhir_list(resource -> 'prescription')
                  || referral.fhir_list(referral.fhir_extension(resource -> 'prescription', 'requestedService') -> 'valueReference');
    items jsonb := CASE WHEN resource ->> 'resourceType' = 'Claim' THEN referral.fhir_list(resource -> 'item') END;
    ids jsonb := '[]';
    one jsonb;
BEGIN
    -- items mostly ask for the same
    FOR i IN 0 .. least(jsonb_array_length(items), 20) - 1 LOOP
        list := list || referral.fhir_list(referral.fhir_extension(items -> i, 'requestedService') -> 'valueReference');
    END LOOP;
    FOR i IN 0 .. least(jsonb_array_length(list), 20) - 1 LOOP
        -- of the types that a referral has; a reference may not tell
        IF coalesce(referral.fhir_reference_type(list -> i), 'ServiceRequest')
           IN ('ServiceRequest', 'ReferralRequest') THEN
            one := coalesce(referral.fhir_reference_ids(list -> i, source, 'ServiceRequest'), '[]');
            CONTINUE WHEN ids @> one;
            ids := ids || one;
        END IF;
    END LOOP;
    IF resource ->> 'resourceType' = 'Task' THEN
        ids := ids || coalesce(referral.fhir_identifier(resource -> 'groupIdentifier'), '[]');
    END IF;
    RETURN nullif(ids, '[]');
END $$;
COMMENT ON FUNCTION referral.fhir_referral_ids(jsonb, text) IS
'The referral that a resource belongs to, as its references tell (basedOn, focus, about, context, prescription, the service that an item of a claim asks for). Null when they do not.';

CREATE FUNCTION referral.fhir_task_reports(keys jsonb, resources jsonb[], source text, task jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    outputs jsonb := referral.fhir_list(task -> 'output');
    own jsonb := referral.fhir_report(keys, resources, source, task, root);
    output jsonb;
    found jsonb;
    reports jsonb := '[]';
BEGIN
    FOR i IN 0 .. least(jsonb_array_length(outputs), 20) - 1 LOOP
        output := outputs -> i;
        found := resources[referral.fhir_target(keys, output -> 'valueReference', root)];
        IF found ->> 'resourceType' IN ('DocumentReference', 'DiagnosticReport', 'Composition') THEN
            reports := reports || coalesce(referral.fhir_report(keys, resources, source, found, root), '[]');
        ELSIF found IS NULL AND own IS NOT NULL AND output <> '{}' THEN
            reports := reports || (own || jsonb_strip_nulls(jsonb_build_object('document', referral.fhir_strip(
                coalesce(referral.fhir_attachment(output -> 'valueAttachment'), '{}') || jsonb_build_object(
                    'type', coalesce(referral.fhir_concept_name(output -> 'type'), 'report'),
                    'url', coalesce(referral.fhir_text(output #> '{valueAttachment,url}'), referral.fhir_text(output -> 'valueUrl')),
                    'title', referral.fhir_text(output #> '{valueReference,display}'),
                    'identifier', referral.fhir_reference_key(referral.fhir_text(output #> '{valueReference,reference}')))))));
        END IF;
    END LOOP;
    IF reports = '[]' AND own IS NOT NULL AND referral.fhir_is_report(task) THEN
        RETURN jsonb_build_array(own);
    END IF;
    RETURN nullif(reports, '[]');
END $$;
COMMENT ON FUNCTION referral.fhir_task_reports(jsonb, jsonb[], text, jsonb, integer) IS
'The reports that a FHIR Task brings: its output, and itself when it stands for a report (fhir_is_report()). Null when there is none.';

CREATE FUNCTION referral.fhir_directory(keys jsonb, resources jsonb[], source text, members integer[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m integer;
    entry jsonb;
    organizations jsonb[];
    practitioners jsonb[];
    roles jsonb[];
    sites jsonb[];
    services jsonb[];
    payers jsonb[];
    value_sets jsonb[];
BEGIN
    FOREACH m IN ARRAY members LOOP
        entry := resources[m];
        CASE entry ->> 'resourceType'
            WHEN 'Organization' THEN
                IF referral.fhir_is_payer(entry) THEN
                    payers := payers || referral.fhir_payer(referral.fhir_organization(entry, source));
                ELSE
                    organizations := organizations || referral.fhir_organization(entry, source);
                END IF;
            WHEN 'Practitioner' THEN
                practitioners := practitioners || referral.fhir_practitioner(entry, source);
            WHEN 'PractitionerRole' THEN
                roles := roles || jsonb_strip_nulls(jsonb_build_object(
                    'practitioner', referral.fhir_person_of(keys, resources, source, entry -> 'practitioner', m),
                    'organization', referral.fhir_organization_of(keys, resources, source, entry -> 'organization', m),
                    'specialty', referral.fhir_concept_name(coalesce(entry -> 'specialty', entry -> 'code')),
                    'active', coalesce(referral.fhir_boolean(entry -> 'active'), true)));
            WHEN 'Location' THEN
                sites := sites || jsonb_strip_nulls(jsonb_build_object(
                    'identifier', coalesce(referral.fhir_text(referral.fhir_first(entry -> 'identifier') -> 'value'), referral.fhir_text(entry -> 'id')),
                    'name', coalesce(referral.fhir_text(entry -> 'name'), referral.fhir_text(entry -> 'description'))));
            WHEN 'HealthcareService' THEN
                services := services || jsonb_strip_nulls(jsonb_build_object(
                    'name', coalesce(referral.fhir_text(entry -> 'name'), referral.fhir_concept_name(entry -> 'type')),
                    'organization', referral.fhir_organization_of(keys, resources, source, entry -> 'providedBy', m),
                    'specialty', referral.fhir_concept_name(entry -> 'specialty')));
            WHEN 'ValueSet' THEN
                value_sets := value_sets || referral.fhir_value_set(entry);
            ELSE
        END CASE;
    END LOOP;
    RETURN referral.fhir_strip(jsonb_build_object('organizations', organizations, 'practitioners', practitioners, 'roles', roles,
                                                  'sites', sites, 'services', services, 'payers', payers, 'value_sets', value_sets));
END $$;
COMMENT ON FUNCTION referral.fhir_directory(jsonb, jsonb[], text, integer[]) IS
'The directory of a case, of those resources of a message that are numbered in members: organisations, practitioners, their roles, places, services, payers, value sets. Null when there is none.';

CREATE FUNCTION referral.fhir_value_set(value_set jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'name', coalesce(referral.fhir_text(value_set -> 'name'), referral.fhir_text(value_set -> 'title'), referral.fhir_text(value_set -> 'id')),
        'identifier', coalesce(referral.fhir_text(referral.fhir_first(value_set -> 'identifier') -> 'value'), referral.fhir_text(value_set -> 'id')),
        'url', referral.fhir_text(value_set -> 'url'), 'version', referral.fhir_text(value_set -> 'version'),
        'codes', (SELECT jsonb_agg(referral.fhir_coding(c.value) ORDER BY c.sort) FROM (
                      SELECT e.value, row_number() OVER () FROM jsonb_path_query(value_set, '$.expansion.contains.**{0 to 8} ? (exists(@.code))') e (value)
                      UNION ALL
                      -- not expanded: the codes that it is composed of
                      SELECT jsonb_build_object('system', i.value -> 'system') || c.value, row_number() OVER ()
                      FROM jsonb_path_query(value_set, '$.compose.include[*]') i (value)
                      CROSS JOIN LATERAL jsonb_array_elements(referral.fhir_list(i.value -> 'concept')) c (value)
                      WHERE NOT value_set ? 'expansion' AND jsonb_typeof(c.value) = 'object') c (value, sort)
                  WHERE referral.fhir_coding(c.value) ? 'code')));
END $$;
COMMENT ON FUNCTION referral.fhir_value_set(jsonb) IS 'A FHIR ValueSet: name, identifier, url, version, and its codes, of its expansion when it has one, else those it is composed of. Never null.';

-- ---------- a case ----------

CREATE FUNCTION referral.fhir_request_facts(keys jsonb, resources jsonb[], source text, head jsonb, root integer, tasks jsonb[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    type text := head ->> 'resourceType';
    ids jsonb := referral.fhir_referral_ids(head, source);
    request jsonb := CASE WHEN type IN ('ServiceRequest') THEN head
        WHEN type = 'Claim' THEN resources[referral.fhir_target(keys, head -> 'prescription', root)] END;
    facts jsonb := '{}';
    diagnoses jsonb := referral.fhir_diagnoses(keys, resources, head, root);
    answer jsonb := '{}';
    task jsonb;
BEGIN
    IF request IS NOT NULL THEN
        facts := referral.fhir_facts(keys, resources, source, request, root);
    ELSIF ids IS NOT NULL THEN
        facts := jsonb_build_object('identifiers', ids);
    END IF;
    IF diagnoses IS NULL AND type = 'Claim' THEN
        diagnoses := referral.fhir_diagnoses(keys, resources, request, root);
    END IF;
    IF type = 'Claim' AND NOT facts ? 'requester' THEN
        facts := facts || jsonb_strip_nulls(jsonb_build_object(
            'requester', referral.fhir_person_of(keys, resources, source, head -> 'provider', root),
            'requesting_organization', referral.fhir_organization_who(keys, resources, source, head -> 'provider', root)));
    END IF;
    FOREACH task IN ARRAY coalesce(tasks, '{}') LOOP
        answer := answer || referral.fhir_answer(task, task ? 'output');
        -- who does it is the owner of the task, where the request does not tell
        IF type = 'ServiceRequest' AND NOT facts ? 'performer' AND NOT referral.fhir_is_report(task) THEN
            facts := facts || jsonb_strip_nulls(jsonb_build_object(
                'performer', referral.fhir_person_of(keys, resources, source, task -> 'owner', root),
                'performing_organization', coalesce(facts -> 'performing_organization',
                                                    referral.fhir_organization_who(keys, resources, source, task -> 'owner', root))));
        END IF;
    END LOOP;
    IF diagnoses IS NOT NULL THEN
        facts := facts || jsonb_strip_nulls(jsonb_build_object(
            'diagnoses', diagnoses, 'reason_code', diagnoses #> '{0,code}', 'reason_code_system', diagnoses #> '{0,system}',
            'reason_text', coalesce(referral.fhir_text(head #> '{reasonCode,0,text}'), diagnoses #>> '{0,display}')));
    END IF;
    RETURN facts || answer || jsonb_strip_nulls(jsonb_build_object(
        'state', coalesce(CASE WHEN type = 'ServiceRequest' THEN referral.fhir_request_state(head ->> 'status') END, answer ->> 'state')));
END $$;
COMMENT ON FUNCTION referral.fhir_request_facts(jsonb, jsonb[], text, jsonb, integer, jsonb[]) IS
'The referral of a case: what the resource that leads it says, and what the tasks of the case add to that. Never null.';

CREATE FUNCTION referral.fhir_case_kind(head jsonb, facts jsonb, parts jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN head ->> 'resourceType' = 'ServiceRequest' THEN
        CASE WHEN facts ->> 'state' IN ('cancelled', 'cancellation_requested', 'entered_in_error') THEN 'referral_cancel' ELSE 'referral' END
    WHEN head ->> 'resourceType' = 'Task' THEN
        CASE WHEN facts ->> 'state' = 'cancellation_requested' THEN 'referral_cancel' WHEN parts ? 'reports' THEN 'report'
             WHEN facts ? 'state' OR facts ? 'decision' THEN 'referral_status' ELSE 'none' END
    WHEN head ->> 'resourceType' IN ('Claim', 'ClaimResponse') THEN
        CASE WHEN head ->> 'use' IN ('claim', 'predetermination') THEN 'none' ELSE 'authorization' END
    WHEN head ->> 'resourceType' = 'Appointment' THEN 'appointment'
    WHEN head ->> 'resourceType' IN ('DiagnosticReport', 'Composition') THEN CASE WHEN parts ? 'reports' THEN 'report' ELSE 'document' END
    WHEN head ->> 'resourceType' IN ('CommunicationRequest', 'Communication') THEN 'communication'
    WHEN head ->> 'resourceType' IN ('DocumentReference', 'QuestionnaireResponse') THEN 'document'
    ELSE 'patient' END;
COMMENT ON FUNCTION referral.fhir_case_kind(jsonb, jsonb, jsonb) IS
'The kind of a case: head is the resource that leads it, facts its referral, parts what else it has. Never null.';

CREATE FUNCTION referral.fhir_case(keys jsonb, roots integer[], resources jsonb[], source text, leader integer, members integer[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head jsonb := resources[leader];
    subject jsonb := coalesce(head -> 'subject', head -> 'for', head -> 'patient', head -> 'beneficiary',
        jsonb_path_query_first(head, '$.participant.actor ? (@.reference like_regex "^(.*/)?Patient/" || @.reference starts with "urn:" || @.type == "Patient")'));
    m integer;
    part jsonb;
    reported integer[] := '{}';
    tasks jsonb[];
    patient jsonb := referral.fhir_patient_of(keys, resources, source, subject, roots[leader]);
    claim jsonb;
    coverages jsonb[];
    appointments jsonb[];
    documents jsonb := '[]';
    reports jsonb := '[]';
    encounters jsonb[];
    authorizations jsonb[];
    communications jsonb[];
    observations jsonb[];
    conditions jsonb[];
    facts jsonb;
    parts jsonb;
    kind text;
BEGIN
    -- requests come before their answers, whatever their order in the message
    FOREACH m IN ARRAY members LOOP
        part := resources[m];
        CASE part ->> 'resourceType'
            WHEN 'Task' THEN
                tasks := tasks || part;
                reports := reports || coalesce(referral.fhir_task_reports(keys, resources, source, part, roots[m]), '[]');
                reported := reported || ARRAY(SELECT referral.fhir_target(keys, o.value -> 'valueReference', roots[m])
                                              FROM jsonb_array_elements(referral.fhir_list(part -> 'output')) o);
            WHEN 'Claim' THEN
                claim := referral.fhir_claim(keys, resources, source, part, roots[m]);
                authorizations := authorizations || claim;
            WHEN 'Coverage' THEN
                coverages := coverages || referral.fhir_coverage(keys, resources, source, part, roots[m]);
            WHEN 'Patient' THEN
                patient := coalesce(patient, referral.fhir_patient(part, source));
            ELSE
        END CASE;
    END LOOP;
    FOREACH m IN ARRAY members LOOP
        part := resources[m];
        CASE part ->> 'resourceType'
            WHEN 'ClaimResponse' THEN
                authorizations := authorizations || referral.fhir_claim_response(source, part, referral.fhir_some(
                    coalesce(claim -> 'identifiers', '[]') || coalesce(referral.fhir_reference_ids(part -> 'request', source, 'Claim'), '[]')), claim -> 'items');
            WHEN 'Appointment' THEN
                appointments := appointments || referral.fhir_appointment(keys, resources, source, part, roots[m]);
            WHEN 'DocumentReference', 'QuestionnaireResponse' THEN
                IF NOT m = ANY (reported) IS TRUE THEN
                    documents := documents || referral.fhir_documents(part);
                END IF;
            WHEN 'DiagnosticReport', 'Composition' THEN
                IF NOT m = ANY (reported) IS TRUE THEN
                    IF head ->> 'resourceType' IN ('ServiceRequest', 'Task') OR referral.fhir_referral_ids(part, source) IS NOT NULL THEN
                        reports := reports || coalesce(referral.fhir_report(keys, resources, source, part, roots[m]), '[]');
                    ELSE
                        documents := documents || jsonb_strip_nulls(jsonb_build_object(
                            'type', coalesce(referral.fhir_concept_name(part -> 'code'), referral.fhir_concept_name(part -> 'type'), 'report'),
                            'title', coalesce(referral.fhir_text(part -> 'title'), referral.fhir_text(part #> '{code,text}')),
                            'identifier', referral.fhir_id(part), 'status', 'current'))
                            || coalesce(referral.fhir_attachment(referral.fhir_first(part -> 'presentedForm')), '[]');
                    END IF;
                END IF;
            WHEN 'Encounter', 'Procedure' THEN
                encounters := encounters || referral.fhir_encounter(part, source);
            WHEN 'CommunicationRequest', 'Communication' THEN
                communications := communications || referral.fhir_communication(part, source);
            WHEN 'Observation' THEN
                observations := observations || referral.fhir_strip(jsonb_build_object('code', referral.fhir_concept(part -> 'code'),
                    'value', coalesce(part -> 'valueQuantity', part -> 'valueString', part -> 'valueCodeableConcept'),
                    'at', referral.fhir_time(referral.fhir_text(coalesce(part -> 'effectiveDateTime', part -> 'issued')))));
            WHEN 'Condition' THEN
                conditions := conditions || referral.fhir_concept(part -> 'code');
            ELSE
        END CASE;
    END LOOP;
    facts := referral.fhir_request_facts(keys, resources, source, head, roots[leader], tasks);
    parts := jsonb_strip_nulls(jsonb_build_object(
        'patient', patient, 'coverages', coverages, 'referral', nullif(facts, '{}'), 'appointments', appointments,
        'documents', referral.fhir_some(documents), 'reports', referral.fhir_some(reports), 'encounters', encounters,
        'authorizations', authorizations, 'communications', communications,
        'extra', referral.fhir_strip(jsonb_build_object('observations', observations, 'conditions', conditions,
            'category', referral.fhir_concept_codes(head -> 'category'), 'requisition', referral.fhir_identifier(head -> 'requisition'),
            'occurrence', referral.fhir_text(head -> 'occurrenceDateTime'), 'quantity', referral.fhir_number(head #> '{quantityQuantity,value}'),
            'patient_instruction', referral.fhir_text(head -> 'patientInstruction')))));
    kind := referral.fhir_case_kind(head, facts, parts);
    RETURN jsonb_build_object('kind', kind) || parts
           || CASE WHEN kind = 'none' THEN jsonb_build_object('reason', 'nothing to do for a ' || (head ->> 'resourceType')) ELSE '{}' END;
END $$;
COMMENT ON FUNCTION referral.fhir_case(jsonb, integer[], jsonb[], text, integer, integer[]) IS
'The case that a resource of a message leads, with what belongs to it: members are the numbers of those resources, its own too. Without message and findings, which map_fhir() adds. Never null.';

-- ---------- a message ----------

CREATE FUNCTION referral.fhir_case_findings(types text[], positions text[], resources jsonb[], heads integer[], unresolved jsonb[], is_bundle boolean)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    first integer := (SELECT min(h) FROM unnest(heads) h WHERE h >= 0);
BEGIN
    RETURN (
        SELECT jsonb_object_agg(f.head, f.list) FROM (
            SELECT CASE WHEN heads[s.n] >= 0 THEN heads[s.n] ELSE coalesce(first, -1) END AS head, jsonb_agg(s.finding ORDER BY s.n) AS list
            FROM (
                SELECT f.n, f.finding FROM referral.fhir_findings(types, positions, resources) f
                UNION ALL
                SELECT t.n, referral.fhir_finding('unmapped_type', 'info', NULL, positions[t.n], 'resources of this type are not used', to_jsonb(t.type))
                FROM unnest(types) WITH ORDINALITY t (type, n)
                WHERE t.type NOT IN ('Condition', 'Observation', 'MessageHeader') AND heads[t.n] = -1 AND positions[t.n] !~ '/contained/[0-9]+$'
                UNION ALL
                SELECT u.n, referral.fhir_finding('unresolved_reference', CASE r.value ->> 'role' WHEN 'patient' THEN 'warning' ELSE 'info' END,
                                                  NULL, positions[u.n] || translate(r.value ->> 'path', '.$"[*]', '/'),
                                                  'the message does not have what is referred to',
                                                  coalesce(r.value #> '{reference,reference}', r.value #> '{reference,identifier,value}'))
                FROM unnest(unresolved) WITH ORDINALITY u (list, n) CROSS JOIN LATERAL jsonb_array_elements(u.list) r
                WHERE (is_bundle AND (r.value -> 'reference' ? 'reference' OR r.value -> 'reference' ? 'identifier'))
                   OR r.value #>> '{reference,reference}' LIKE '#%'
            ) s (n, finding)
            GROUP BY 1) f);
END $$;
COMMENT ON FUNCTION referral.fhir_case_findings(text[], text[], jsonb[], integer[], jsonb[], boolean) IS
'The findings of a message by the number of the case that they are told with; those of resources without a case go to the first. A resource on its own may refer to what is elsewhere, one in a bundle should not. Null when there are none.';

CREATE FUNCTION referral.map_fhir(resource jsonb, source text) RETURNS SETOF jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000 ROWS 2 SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    is_bundle boolean := resource ->> 'resourceType' IN ('Bundle', 'Parameters');
    roots integer[];
    types text[];
    positions text[];
    resources jsonb[];
    keys jsonb;
    heads integer[];
    subjects text[];
    unresolved jsonb[];
    findings jsonb;
    facts jsonb;
    leader integer;
    members integer[];
    result jsonb;
BEGIN
    IF jsonb_typeof(resource) IS DISTINCT FROM 'object' OR referral.fhir_text(resource -> 'resourceType') IS NULL THEN
        RAISE EXCEPTION 'the message is no FHIR resource' USING ERRCODE = 'RF014',
            DETAIL = 'It has no resourceType.', HINT = 'Receive it over another channel, or declare a source mapping for it.';
    END IF;
    -- a stored message may be compressed; every look into it would unpack it again
    resource := resource || '{}';
    facts := referral.fhir_message(resource);
    SELECT e.roots, e.types, e.positions, e.resources, e.keys INTO roots, types, positions, resources, keys FROM referral.fhir_entries(resource) e;
    IF roots IS NULL THEN
        RETURN NEXT jsonb_build_object('kind', 'none', 'reason', 'the bundle is empty', 'message', facts);
        RETURN;
    END IF;
    SELECT array_agg(h.head), array_agg(h.who), array_agg(h.unresolved) INTO heads, subjects, unresolved
    FROM referral.fhir_heads(keys, roots, types, resources, is_bundle) h;
    findings := referral.fhir_case_findings(types, positions, resources, heads, unresolved, is_bundle);

    FOR leader, members IN
        SELECT g.head, array_agg(g.n ORDER BY g.n)
        FROM (SELECT h.head, h.n::integer FROM unnest(heads) WITH ORDINALITY h (head, n) WHERE h.head >= 0
              UNION
              -- what covers a patient is told with each of his referrals
              SELECT s.n::integer, c.n::integer
              FROM unnest(heads, subjects, types) WITH ORDINALITY s (head, who, type, n)
              JOIN unnest(subjects, types) WITH ORDINALITY c (who, type, n) ON c.who = s.who AND c.type = 'Coverage'
              WHERE s.head = s.n AND s.type = 'ServiceRequest') g (head, n)
        GROUP BY g.head ORDER BY g.head <> 0, referral.fhir_rank(types[nullif(g.head, 0)]), g.head
    LOOP
        IF leader = 0 THEN
            result := jsonb_strip_nulls(jsonb_build_object('kind', 'directory', 'directory', referral.fhir_directory(keys, resources, source, members)));
        ELSE
            result := referral.fhir_case(keys, roots, resources, source, leader, members);
        END IF;
        RETURN NEXT result || jsonb_build_object('message', facts)
            || CASE WHEN findings ? leader::text THEN jsonb_build_object('findings', findings -> leader::text) ELSE '{}' END;
    END LOOP;
    IF leader IS NULL THEN
        RETURN NEXT jsonb_strip_nulls(jsonb_build_object('kind', 'none', 'reason', 'nothing in it is about a referral',
                                                         'message', facts, 'findings', findings -> '-1'));
    END IF;
END $$;
COMMENT ON FUNCTION referral.map_fhir(jsonb, text) IS
'The cases of a FHIR R4 message: a resource of any type, a Bundle of any type, or Parameters. One case for each ServiceRequest with all that belongs to it, one for each other event, one for the directory; docs/fhir.md says which element goes where. source: the system that sent it, whose ids its resources have. Values that cannot be used are left out and told in findings. RF014 when it is no FHIR resource; nothing else is refused.';
