-- fhir: the request, what answers it, and what happens on its way, one function for each type of resource

CREATE FUNCTION referral.fhir_ids(references_ jsonb, source text, type text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := referral.fhir_list(references_);
    ids jsonb := '[]';
BEGIN
    FOR i IN 0 .. least(jsonb_array_length(list), 50) - 1 LOOP
        ids := ids || coalesce(referral.fhir_reference_ids(list -> i, source, type), '[]');
    END LOOP;
    RETURN nullif(ids, '[]');
END $$;
COMMENT ON FUNCTION referral.fhir_ids(jsonb, text, text) IS 'fhir_reference_ids() of each of a list of references (at most 50), as one array. Null when there is none.';

CREATE FUNCTION referral.fhir_number_of(resource jsonb, type text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN jsonb_path_query_first(resource, '$.identifier[*] ? (@.type.coding.code == $type)', jsonb_build_object('type', type));
COMMENT ON FUNCTION referral.fhir_number_of(jsonb, text) IS 'The first identifier of a resource that is of a type of HL7 table 0203, such as PLAC. Null when there is none.';

CREATE FUNCTION referral.fhir_facts(keys jsonb, resources jsonb[], source text, request jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    placer jsonb := referral.fhir_number_of(request, 'PLAC');
    filler jsonb := referral.fhir_number_of(request, 'FILL');
    service jsonb := coalesce(referral.fhir_concept(request -> 'code'), referral.fhir_concept(request -> 'codeCodeableConcept'),
                              referral.fhir_concept(request -> 'medicationCodeableConcept'));
    performers jsonb := referral.fhir_list(request -> 'performer');
    performer jsonb;
    organization jsonb;
    place jsonb := referral.fhir_first(request -> 'locationReference');
    requester jsonb := referral.fhir_person_of(keys, resources, source, request -> 'requester', root);
    asking jsonb := referral.fhir_organization_who(keys, resources, source, request -> 'requester', root);
    procedures jsonb := referral.fhir_concept_codes(request -> 'orderDetail');
BEGIN
    FOR i IN 0 .. least(jsonb_array_length(performers), 5) - 1 LOOP
        performer := coalesce(performer, referral.fhir_person_of(keys, resources, source, performers -> i, root));
        organization := coalesce(organization, referral.fhir_organization_who(keys, resources, source, performers -> i, root));
    END LOOP;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'identifiers', referral.fhir_identifiers(request, source),
        'placer_order_number', referral.fhir_text(placer -> 'value'), 'placer_order_system', referral.fhir_text(placer -> 'system'),
        'filler_order_number', referral.fhir_text(filler -> 'value'), 'filler_order_system', referral.fhir_text(filler -> 'system'),
        'urgency', CASE WHEN request ->> 'priority' IN ('routine', 'urgent', 'asap', 'stat') THEN request ->> 'priority' END,
        'intent', CASE WHEN request ->> 'intent' IN ('proposal', 'plan', 'directive', 'order', 'original-order', 'reflex-order',
                                                     'filler-order', 'instance-order', 'option') THEN request ->> 'intent' END,
        'specialty', coalesce(referral.fhir_specialty(request -> 'performerType'),
                              referral.fhir_specialty(resources[referral.fhir_target(keys, performers -> 0, root)] -> 'specialty'),
                              performer ->> 'specialty'),
        'service_code', service -> 'code', 'service_code_system', service -> 'system', 'service_text', service -> 'display',
        'authored_at', referral.fhir_time(referral.fhir_text(request -> 'authoredOn')),
        'procedures', referral.fhir_some(referral.fhir_array(service) || coalesce(procedures, '[]')),
        'requester', requester, 'performer', performer,
        'requesting_organization', coalesce(asking, requester -> 'organization'),
        'performing_organization', coalesce(organization, performer -> 'organization'),
        'site', coalesce(referral.fhir_text(resources[referral.fhir_target(keys, place, root)] -> 'name'), referral.fhir_text(place -> 'display')),
        'encounter', referral.fhir_encounter_ref(request -> 'encounter', source),
        'based_on', referral.fhir_ids(request -> 'basedOn', source, 'ServiceRequest'),
        'replaces', referral.fhir_ids(request -> 'replaces', source, 'ServiceRequest'),
        'comment', coalesce(referral.fhir_text(request #> '{note,0,text}'), referral.fhir_text(request -> 'note'))));
END $$;
COMMENT ON FUNCTION referral.fhir_facts(jsonb, jsonb[], text, jsonb, integer) IS
'The facts of a referral that a FHIR request tells: a ServiceRequest, or the DeviceRequest or MedicationRequest that stands for one. Its status and diagnoses are read by fhir_case(). Never null.';

CREATE FUNCTION referral.fhir_encounter_ref(reference jsonb, source text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN referral.fhir_text(reference -> 'reference') IS NOT NULL THEN jsonb_build_object(
    'identifier', regexp_replace(referral.fhir_reference_key(referral.fhir_text(reference -> 'reference')), '^Encounter/', ''),
    'identifier_system', source || '/Encounter') END;
COMMENT ON FUNCTION referral.fhir_encounter_ref(jsonb, text) IS 'What a reference to a FHIR Encounter says: identifier and identifier_system. Null for null.';

CREATE FUNCTION referral.fhir_request_state(status text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE status WHEN 'draft' THEN 'on_hold' WHEN 'on-hold' THEN 'on_hold' WHEN 'unknown' THEN 'on_hold'
                   WHEN 'revoked' THEN 'cancelled' WHEN 'completed' THEN 'completed' WHEN 'entered-in-error' THEN 'entered_in_error' END;
COMMENT ON FUNCTION referral.fhir_request_state(text) IS
'The canonical state that a ServiceRequest.status asks for. Null for active, which leaves the referral where it is, and for other texts. A draft, and one whose status is not known, is not to be worked on yet: on_hold.';

-- ---------- tasks ----------

CREATE FUNCTION referral.fhir_business_state(status jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    concept jsonb := referral.fhir_concept(status);
    title text := lower(concat_ws(' ', referral.fhir_text(status -> 'text'), concept ->> 'display', concept ->> 'code'));
BEGIN
    RETURN coalesce(
        CASE concept ->> 'code'
            WHEN '1.0' THEN 'received' WHEN '2.0' THEN 'received' WHEN '3.0' THEN 'validated' WHEN '4.0' THEN 'declined'
            WHEN '5.1' THEN 'ready_to_schedule' WHEN '5.1.1' THEN 'scheduled' WHEN '5.1.2' THEN 'no_show'
            WHEN '5.1.3' THEN 'appointment_cancelled' WHEN '5.1.4' THEN 'completed' WHEN '5.2' THEN 'cancellation_requested'
            WHEN '6.0' THEN 'cancelled' WHEN '7.0' THEN 'closed_loop' END,
        CASE WHEN title = '' THEN NULL
             WHEN title ~ 'cancel.*request' THEN 'cancellation_requested'
             WHEN title ~ 'unattended|no.?show|not attend' THEN 'no_show'
             WHEN title ~ '(appointment|event|visit|schedul).*cancel|cancel.*(appointment|event|visit)' THEN 'appointment_cancelled'
             WHEN title ~ 'cancel' THEN 'cancelled'
             WHEN title ~ 'declin|reject|refus' THEN 'declined'
             WHEN title ~ 'authori[sz]ation' THEN 'pending_authorization'
             WHEN title ~ 'ready to schedul|awaiting schedul|needs schedul' THEN 'ready_to_schedule'
             WHEN title ~ 'schedul|booked' THEN 'scheduled'
             WHEN title ~ 'interim|(event|visit) complet' THEN 'completed'
             WHEN title ~ 'fulfil.*complet|outcome|closed' THEN 'closed_loop'
             WHEN title ~ 'accept' THEN 'validated'
             WHEN title ~ 'active|in.progress' THEN 'ready_to_schedule'
             WHEN title ~ 'created|received' THEN 'received' END);
END $$;
COMMENT ON FUNCTION referral.fhir_business_state(jsonb) IS
'The canonical state that Task.businessStatus tells: by the codes of BSeR (2.0 to 7.0, 5.1 too), else by its wording. Null when neither is known.';

CREATE FUNCTION referral.fhir_task_state(status text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE status WHEN 'draft' THEN 'received' WHEN 'requested' THEN 'received' WHEN 'received' THEN 'received'
                   WHEN 'accepted' THEN 'validated' WHEN 'ready' THEN 'ready_to_schedule' WHEN 'in-progress' THEN 'ready_to_schedule'
                   WHEN 'on-hold' THEN 'on_hold' WHEN 'failed' THEN 'on_hold' WHEN 'rejected' THEN 'declined'
                   WHEN 'cancelled' THEN 'cancelled' WHEN 'completed' THEN 'completed' END;
COMMENT ON FUNCTION referral.fhir_task_state(text) IS
'The canonical state that Task.status tells where the Task has no business status. One that failed waits for a person: on_hold. Null for entered-in-error, which takes the Task back but not the referral, and for other texts.';

CREATE FUNCTION referral.fhir_is_report(task jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(task @? '$.code.coding ? (@.system == "http://loinc.org" || @.system == "urn:oid:2.16.840.1.113883.6.1"
    || @.system == "http://snomed.info/sct" && (@.code == "371530004" || @.code == "371531000" || @.code == "371545006"
                                               || @.code == "721916007" || @.code == "721927009"))', false);
COMMENT ON FUNCTION referral.fhir_is_report(jsonb) IS
'Does a Task stand for a report of the consultant? Its code is a type of document then: of LOINC, or one of the SNOMED CT codes of value set Consultant Report (CMS50). False for null.';

CREATE FUNCTION referral.fhir_answer(task jsonb, has_report boolean) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state text := coalesce(referral.fhir_business_state(task -> 'businessStatus'),
                           CASE WHEN task ->> 'status' = 'completed' AND has_report THEN 'closed_loop'
                                ELSE referral.fhir_task_state(task ->> 'status') END);
BEGIN
    -- a Task that is itself the report says nothing about the request
    IF task ->> 'status' = 'entered-in-error' OR referral.fhir_is_report(task) AND task -> 'businessStatus' IS NULL THEN
        RETURN '{}';
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'state', state,
        'decision', CASE WHEN state = 'declined' THEN 'declined'
                         WHEN state IN ('validated', 'ready_to_schedule', 'scheduled') THEN 'accepted' END,
        'status_reason', referral.fhir_text(task #> '{statusReason,coding,0,code}'),
        'comment', coalesce(referral.fhir_text(task #> '{statusReason,text}'), referral.fhir_text(task #> '{statusReason,coding,0,display}'),
                            referral.fhir_text(task #> '{note,0,text}'))));
END $$;
COMMENT ON FUNCTION referral.fhir_answer(jsonb, boolean) IS
'What a FHIR Task tells about the referral it is for: state, decision, status_reason, comment. has_report: does it bring a report? Empty for one that only stands for a report, or was entered in error.';

CREATE FUNCTION referral.fhir_report_status(resource jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    status text := resource ->> 'status';
BEGIN
    IF resource ->> 'resourceType' = 'Task' THEN
        RETURN CASE status WHEN 'completed' THEN 'final' WHEN 'failed' THEN 'failed' WHEN 'in-progress' THEN 'preliminary'
                           WHEN 'entered-in-error' THEN 'entered-in-error' END;
    ELSIF resource ->> 'resourceType' = 'DocumentReference' THEN
        RETURN CASE WHEN status = 'entered-in-error' THEN status
                    WHEN resource ->> 'docStatus' IN ('preliminary', 'final', 'amended', 'entered-in-error') THEN resource ->> 'docStatus'
                    ELSE 'final' END;
    END IF;
    RETURN CASE status WHEN 'final' THEN 'final' WHEN 'amended' THEN 'amended' WHEN 'corrected' THEN 'amended'
                       WHEN 'appended' THEN 'amended' WHEN 'partial' THEN 'preliminary' WHEN 'preliminary' THEN 'preliminary'
                       WHEN 'registered' THEN 'preliminary' WHEN 'cancelled' THEN 'failed' WHEN 'entered-in-error' THEN 'entered-in-error' END;
END $$;
COMMENT ON FUNCTION referral.fhir_report_status(jsonb) IS
'The status of the report that a Task, DocumentReference, DiagnosticReport or Composition stands for. Null when there is no report yet.';

CREATE FUNCTION referral.fhir_report(keys jsonb, resources jsonb[], source text, resource jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    type text := resource ->> 'resourceType';
    code jsonb := coalesce(referral.fhir_concept(resource -> 'code'), referral.fhir_concept(resource -> 'type'));
    period jsonb := CASE type WHEN 'Task' THEN resource -> 'executionPeriod' WHEN 'DocumentReference' THEN resource #> '{context,period}'
                              ELSE resource -> 'effectivePeriod' END;
    author jsonb := CASE type WHEN 'Task' THEN resource -> 'owner' WHEN 'DiagnosticReport' THEN resource -> 'performer'
                              ELSE resource -> 'author' END;
    status text := referral.fhir_report_status(resource);
BEGIN
    IF status IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'status', status,
        'identifier', coalesce(type || '/' || referral.fhir_id(resource),
                               referral.fhir_text(referral.fhir_first(resource -> 'identifier') -> 'value')),
        'code', code -> 'code', 'code_system', code -> 'system',
        'started_at', referral.fhir_time(referral.fhir_text(period -> 'start')),
        'ended_at', coalesce(referral.fhir_time(referral.fhir_text(period -> 'end')),
                             referral.fhir_time(referral.fhir_text(coalesce(resource -> 'effectiveDateTime', resource -> 'issued', resource -> 'date'))),
                             CASE WHEN type = 'Task' THEN referral.fhir_time(referral.fhir_text(resource -> 'lastModified')) END),
        'author', referral.fhir_person_of(keys, resources, source, referral.fhir_first(author), root),
        'sent_at', CASE WHEN type IN ('DiagnosticReport', 'DocumentReference')
                        THEN referral.fhir_time(referral.fhir_text(coalesce(resource -> 'issued', resource -> 'date'))) END,
        'document', CASE WHEN type = 'DocumentReference' THEN referral.fhir_documents(resource) -> 0
                         WHEN type = 'DiagnosticReport' AND resource ? 'presentedForm' THEN referral.fhir_strip(
                             coalesce(referral.fhir_attachment(referral.fhir_first(resource -> 'presentedForm')), '{}')
                             || jsonb_build_object('type', coalesce(code -> 'code', code -> 'display'), 'status', 'current')) END));
END $$;
COMMENT ON FUNCTION referral.fhir_report(jsonb, jsonb[], text, jsonb, integer) IS
'The report that a Task, DocumentReference, DiagnosticReport or Composition stands for. ended_at is the end of the time that the report was written in, else when it was issued. Null when there is no report yet.';

-- ---------- documents, appointments, communication, visits ----------

CREATE FUNCTION referral.fhir_attachment(attachment jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.fhir_strip(jsonb_build_object(
    'title', referral.fhir_text(attachment -> 'title'), 'content_type', referral.fhir_text(attachment -> 'contentType'),
    'url', referral.fhir_text(attachment -> 'url'), 'content', referral.fhir_text(attachment -> 'data')));
COMMENT ON FUNCTION referral.fhir_attachment(jsonb) IS 'A FHIR Attachment as title, content_type, url and content (base64). Null when nothing can be read.';

CREATE FUNCTION referral.fhir_documents(resource jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_form boolean := resource ->> 'resourceType' = 'QuestionnaireResponse';
    contents jsonb := referral.fhir_list(resource -> 'content');
    document jsonb := jsonb_strip_nulls(jsonb_build_object(
        'type', CASE WHEN is_form THEN 'QuestionnaireResponse'
                     ELSE coalesce(referral.fhir_concept_name(resource -> 'type'), referral.fhir_concept_name(resource -> 'category'), 'document') END,
        'title', coalesce(referral.fhir_text(resource -> 'description'), referral.fhir_text(resource #> '{type,text}'),
                          referral.fhir_text(resource #> '{type,coding,0,display}'), referral.fhir_text(resource -> 'questionnaire')),
        'identifier', coalesce(referral.fhir_text(resource #> '{masterIdentifier,value}'), referral.fhir_id(resource),
                               referral.fhir_text(referral.fhir_first(resource -> 'identifier') -> 'value')),
        'status', CASE resource ->> 'status' WHEN 'superseded' THEN 'superseded' WHEN 'entered-in-error' THEN 'entered-in-error' ELSE 'current' END));
    documents jsonb := '[]';
BEGIN
    IF is_form THEN
        RETURN jsonb_build_array(document || jsonb_build_object('content_type', 'application/fhir+json', 'content', resource::text));
    END IF;
    FOR i IN 0 .. least(jsonb_array_length(contents), 20) - 1 LOOP
        documents := documents || (coalesce(referral.fhir_attachment(contents -> i -> 'attachment'), '{}') || document
            -- several contents are several documents, and each has its number
            || CASE WHEN i > 0 AND document ? 'identifier' THEN jsonb_build_object('identifier', (document ->> 'identifier') || '/' || (i + 1))
                    ELSE '{}' END);
    END LOOP;
    RETURN CASE documents WHEN '[]' THEN jsonb_build_array(document) ELSE documents END;
END $$;
COMMENT ON FUNCTION referral.fhir_documents(jsonb) IS
'The documents of a DocumentReference (one for each content, at most 20), or the filled-in form of a QuestionnaireResponse, as an array. The answers of a form are its content.';

CREATE FUNCTION referral.fhir_appointment(keys jsonb, resources jsonb[], source text, appointment jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    service jsonb := coalesce(referral.fhir_concept(referral.fhir_first(appointment -> 'serviceType')),
                              referral.fhir_concept(appointment -> 'appointmentType'));
    placer jsonb := referral.fhir_number_of(appointment, 'PLAC');
    filler jsonb := referral.fhir_number_of(appointment, 'FILL');
    actors jsonb := referral.fhir_list(appointment -> 'participant');
    actor jsonb;
    found jsonb;
    practitioner jsonb;
    location text;
BEGIN
    FOR i IN 0 .. least(jsonb_array_length(actors), 20) - 1 LOOP
        actor := actors -> i -> 'actor';
        found := resources[referral.fhir_target(keys, actor, root)];
        IF found ->> 'resourceType' = 'Location' OR found IS NULL AND referral.fhir_reference_type(actor) = 'Location' THEN
            location := coalesce(location, referral.fhir_text(found -> 'name'), referral.fhir_text(actor -> 'display'),
                                 referral.fhir_reference_key(referral.fhir_text(actor -> 'reference')));
        ELSIF found ->> 'resourceType' LIKE 'Practitioner%' OR found IS NULL AND referral.fhir_reference_type(actor) LIKE 'Practitioner%' THEN
            practitioner := coalesce(practitioner, referral.fhir_person_of(keys, resources, source, actor, root));
        END IF;
    END LOOP;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'identifiers', referral.fhir_identifiers(appointment, source),
        'placer_appointment_id', referral.fhir_text(placer -> 'value'),
        'filler_appointment_id', coalesce(referral.fhir_text(filler -> 'value'), referral.fhir_id(appointment)),
        'status', CASE WHEN appointment ->> 'status' IN ('proposed', 'pending', 'booked', 'arrived', 'fulfilled', 'cancelled', 'noshow',
                                                         'entered-in-error', 'checked-in', 'waitlist') THEN appointment ->> 'status' END,
        'starts_at', referral.fhir_time(referral.fhir_text(appointment -> 'start')),
        'ends_at', referral.fhir_time(referral.fhir_text(appointment -> 'end')),
        'service_code', service -> 'code', 'service_code_system', service -> 'system', 'service_text', service -> 'display',
        'location', location, 'practitioner', practitioner,
        'comment', coalesce(referral.fhir_text(appointment -> 'comment'), referral.fhir_text(appointment -> 'description')),
        'status_reason', coalesce(referral.fhir_concept_name(appointment -> 'cancelationReason'),
                                  referral.fhir_concept_name(appointment -> 'cancellationReason'))));
END $$;
COMMENT ON FUNCTION referral.fhir_appointment(jsonb, jsonb[], text, jsonb, integer) IS
'A FHIR Appointment as an appointment of a case; the practitioner and the place are the first of its participants. Never null.';

CREATE FUNCTION referral.fhir_communication(communication jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    medium text := lower(concat_ws(' ', referral.fhir_concept_name(communication -> 'medium'),
                                   referral.fhir_first(communication -> 'medium') #>> '{coding,0,display}'));
    recipient text := referral.fhir_reference_type(referral.fhir_first(communication -> 'recipient'));
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'identifier', coalesce(referral.fhir_id(communication),
                               referral.fhir_text(referral.fhir_first(communication -> 'identifier') -> 'value')),
        'medium', CASE WHEN medium ~ 'phone|voice' THEN 'phone' WHEN medium ~ 'sms|text' THEN 'sms' WHEN medium ~ 'mail(writ|$)|letter|postal'
                       AND medium !~ 'e-?mail' THEN 'letter' WHEN medium ~ 'e-?mail' THEN 'email' WHEN medium ~ 'fax' THEN 'fax'
                       WHEN medium ~ 'portal' THEN 'portal' WHEN medium ~ 'physical|person' THEN 'in_person' END,
        'recipient', CASE recipient WHEN 'Patient' THEN 'patient' WHEN 'Practitioner' THEN 'requester' WHEN 'PractitionerRole' THEN 'requester' END,
        'subject', coalesce(referral.fhir_text(communication #> '{topic,text}'), referral.fhir_concept_name(communication -> 'reasonCode'),
                            referral.fhir_concept_name(communication -> 'category')),
        'body', coalesce(referral.fhir_text(communication #> '{payload,0,contentString}'), referral.fhir_text(communication #> '{note,0,text}')),
        'status', CASE communication ->> 'status' WHEN 'draft' THEN 'preparation' WHEN 'active' THEN 'in-progress' WHEN 'revoked' THEN 'stopped'
                      WHEN 'preparation' THEN 'preparation' WHEN 'in-progress' THEN 'in-progress' WHEN 'not-done' THEN 'not-done'
                      WHEN 'on-hold' THEN 'on-hold' WHEN 'stopped' THEN 'stopped' WHEN 'completed' THEN 'completed'
                      WHEN 'entered-in-error' THEN 'entered-in-error' ELSE 'unknown' END,
        'sent_at', referral.fhir_time(referral.fhir_text(communication -> 'sent'))));
END $$;
COMMENT ON FUNCTION referral.fhir_communication(jsonb, text) IS 'A FHIR CommunicationRequest or Communication as a communication of a case. Never null.';

CREATE FUNCTION referral.fhir_encounter(resource jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_visit boolean := resource ->> 'resourceType' = 'Encounter';
    code jsonb := referral.fhir_concept(CASE WHEN is_visit THEN referral.fhir_first(resource -> 'type') ELSE resource -> 'code' END);
    period jsonb := coalesce(resource -> 'period', resource -> 'performedPeriod');
    moment jsonb := resource -> 'performedDateTime';
BEGIN
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'kind', CASE WHEN is_visit THEN 'encounter' ELSE 'procedure' END,
        'status', coalesce(referral.fhir_text(resource -> 'status'), 'unknown'),
        'class', coalesce(referral.fhir_text(resource #> '{class,code}'), referral.fhir_concept_name(resource -> 'class')),
        'code', code -> 'code', 'code_system', code -> 'system', 'display', code -> 'display',
        'identifier', coalesce(referral.fhir_id(resource), referral.fhir_text(referral.fhir_first(resource -> 'identifier') -> 'value')),
        'identifier_system', CASE WHEN referral.fhir_id(resource) IS NOT NULL THEN source || '/' || (resource ->> 'resourceType')
                                  ELSE referral.fhir_text(referral.fhir_first(resource -> 'identifier') -> 'system') END,
        'started_at', referral.fhir_time(referral.fhir_text(coalesce(period -> 'start', moment))),
        'ended_at', referral.fhir_time(referral.fhir_text(coalesce(period -> 'end', moment)))));
END $$;
COMMENT ON FUNCTION referral.fhir_encounter(jsonb, text) IS 'A FHIR Encounter or Procedure as an encounter of a case. Never null.';
