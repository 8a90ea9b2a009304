-- FHIR in and out, over our own samples: what becomes of each element, of what is wrong with it, and that what goes out
-- says what came in.
SELECT plan(154);
\ir ../lib/refused.sql
SET search_path = referral, public;

\set referral `cat test/data/fhir_referral.json`
\set tasks `cat test/data/fhir_tasks.json`
\set claims `cat test/data/fhir_claim_response.json`
\set dirty `cat test/data/fhir_dirty.json`

CREATE FUNCTION public.cases(message jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_agg(c) FROM referral.map_fhir(message, 'ehr') c $$;
-- the only case of a message
CREATE FUNCTION public.single(message jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT CASE jsonb_array_length(public.cases(message)) WHEN 1 THEN public.cases(message) -> 0 END $$;
CREATE FUNCTION public.bundle(VARIADIC resources jsonb[]) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('resourceType', 'Bundle', 'type', 'collection',
       'entry', (SELECT jsonb_agg(jsonb_build_object('resource', r)) FROM unnest(resources) r)) $$;
CREATE FUNCTION public.codes(c jsonb) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg((f ->> 'code') || ' ' || (f ->> 'position'), ', ' ORDER BY f ->> 'position', f ->> 'code')
   FROM jsonb_array_elements(c -> 'findings') f $$;

-- ---------- readers ----------

SELECT is(array_agg(fhir_text(v) ORDER BY n), ARRAY['a b', NULL, '12', NULL, NULL, NULL, '1.50']::text[], 'texts')
FROM jsonb_array_elements('[" a b\n", "  ", 12, {"a": 1}, ["a"], true, 1.50]') WITH ORDINALITY t (v, n);
SELECT is(array_agg(fhir_number(v) ORDER BY n), ARRAY[1, -2.5, NULL, NULL, 7, NULL, NULL, NULL]::numeric[], 'numbers')
FROM jsonb_array_elements('[1, "-2.5", "x", "1.", "007", "1e5", {"value": 1}, "1234567890123456"]') WITH ORDINALITY t (v, n);
SELECT is(array_agg(fhir_date(v) ORDER BY n),
          ARRAY['2026-11-02', '2024-02-29', NULL, '2000-02-29', NULL, NULL, NULL, NULL, '2026-11-02', NULL, NULL]::text[], 'days')
FROM unnest(ARRAY['2026-11-02', '2024-02-29', '2023-02-29', '2000-02-29', '1900-02-29', '2019-04', '2019', '19761325', '2026-11-02T10:00:00Z',
                  '0000-01-01', '2026-11-02x']) WITH ORDINALITY t (v, n);
SELECT is(array_agg(fhir_time(v) ORDER BY n),
          ARRAY['2026-11-02T10:00:00Z', '2026-11-02T00:00:00Z', '2026-11-02T10:00:00.123-06:00', '2026-11-02T10:00Z', '2026-11-02T10:00:00Z',
                NULL, NULL, NULL, NULL, NULL, NULL]::text[], 'times')
FROM unnest(ARRAY['2026-11-02T10:00:00Z', '2026-11-02', '2026-11-02T10:00:00.123-06:00', '2026-11-02 10:00', '2026-11-02T10:00:00',
                  '2026-11-02T24:00:00Z', '2026-11-02T10:61:00Z', '2026-11-02T10:00:00+15:00', '2026-11', '2026-11-02T10:00:00.Z', 'now'])
     WITH ORDINALITY t (v, n);
SELECT is(bool_and(v::timestamptz IS NOT NULL), true, 'every time that is read is a time of PostgreSQL')
FROM (SELECT fhir_time(t) FROM unnest(ARRAY['2026-11-02T23:59:60Z', '0001-01-01T00:00:00-14:59', '9999-12-31T23:59:59.999999999999+14:59',
                                           '2016-12-31T23:59:60+00:00']) t) x (v);
SELECT is(array_agg(fhir_reference_key(v) ORDER BY n),
          ARRAY['Patient/1', 'Patient/1', 'Patient/a-b.c', 'pat013', 'urn:uuid:1', 'Patient?x=y', '/Patient/1x/', 'xPatient/1', 'patient/1']::text[],
          'what a reference is looked up by')
FROM unnest(ARRAY['Patient/1', 'http://x.example/fhir/Patient/1/_history/2', 'Patient/a-b.c', 'pat013', 'urn:uuid:1', 'Patient?x=y', '/Patient/1x/',
                  'xPatient/1', 'patient/1']) WITH ORDINALITY t (v, n);
SELECT is(fhir_reference_ids(r, 'ehr', 'Claim'), e::jsonb, 'what a reference says: ' || r::text)
FROM (VALUES ('{"reference": "Claim/7"}'::jsonb, '[{"system": "ehr/Claim", "value": "7", "type": "FHIR"}]'),
             ('{"reference": "7"}', '[{"system": "ehr/Claim", "value": "7", "type": "FHIR"}]'),
             ('{"reference": "urn:uuid:7", "type": "Task"}', '[{"system": "ehr/Task", "value": "7", "type": "FHIR"}]'),
             ('{"reference": "urn:oid:1.2"}', '[{"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2"}]'),
             ('{"reference": "http://p/Claim?x=1&identifier=s|9&y=2"}', '[{"system": "s", "value": "9"}]'),
             ('{"reference": "http://p/Claim?identifier="}', NULL), ('{"reference": "#a"}', NULL), ('{"display": "x"}', NULL), ('[]', NULL), ('5', '[{"system": "ehr/Claim", "value": "5", "type": "FHIR"}]'),
             ('{"identifier": {"value": " 9 ", "system": "http://hl7.org/fhir/sid/us-npi"}}', '[{"system": "http://hl7.org/fhir/sid/us-npi", "value": "9", "type": "NPI"}]')
     ) t (r, e);
SELECT is(fhir_concept('{"coding": [{"code": "a"}, {"system": "urn:oid:2.16.840.1.113883.6.96", "code": "b", "userSelected": true}], "text": "t"}'),
          '{"system": "http://snomed.info/sct", "code": "b", "display": "t"}', 'the code a person chose, its system by its URI');
SELECT is(fhir_concept('"cardiology"'), '{"display": "cardiology"}', 'a text where a concept belongs is its text');
SELECT is(fhir_concept('[1]'), NULL, 'no concept');
SELECT is(fhir_human_name('{"text": "Oyelaran, Miriam Ade"}'), '{"family": "Oyelaran", "given": "Miriam Ade", "name": "Miriam Ade Oyelaran"}', 'a name of one text');
SELECT is(fhir_human_name('[{"use": "old", "family": "A"}, {"family": "B"}, {"use": "usual", "family": "C"}]') ->> 'family', 'C', 'the usual name');

-- ---------- a referral ----------

CREATE TABLE public.mapped AS SELECT public.single(:'referral') AS c;
SELECT is(c ->> 'kind', 'referral', 'a bundle with a ServiceRequest is one case') FROM public.mapped;
SELECT is(c -> 'message', '{"type": "Bundle transaction", "control_id": "PKG-7731", "sent_at": "2026-11-02T09:15:00-06:00",
    "originator": "https://ehr.oakgrove.example"}', 'what it says about itself') FROM public.mapped;
SELECT is((c -> 'patient') - 'identifiers', '{"family": "Oyelaran", "given": "Miriam Ade", "suffix": "II", "birth_date": "1961-02-28", "sex": "female",
    "phone": "+1 555 010 2030", "other_phones": ["+1 555 010 2031"], "email": "miriam@example.org", "address": "14 Elm Street, Apt 3",
    "city": "Oak Grove", "state": "IL", "postal_code": "62099", "language": "yo", "mother_maiden_name": "Abara", "previous_family": ["Adeyemi"],
    "alias": ["Miri"], "multiple_birth": true, "birth_order": 2}', 'the patient: old phones, addresses and names are not the present ones') FROM public.mapped;
SELECT is(c #> '{patient,identifiers}', '[{"system": "https://oakgrove.example/mrn", "value": "771-204", "type": "MR", "assigner": "Oak Grove"},
    {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "900-12-3456", "type": "SS"}]',
    'his identifiers without the old one; a UUID that a transaction makes up is none') FROM public.mapped;
SELECT is(public.single(jsonb_set(:'referral', '{type}', '"collection"')) #> '{patient,identifiers,2}',
    '{"system": "ehr/Patient", "value": "5a1c0f8e-0000-4000-8000-000000000002", "type": "FHIR"}', 'elsewhere it is the id of a resource that has none');
SELECT is((c -> 'coverages' -> 0) - 'identifiers', '{"priority": 1, "payer": {"identifier": "60054", "name": "Prairie Mutual", "identifiers": [
    {"system": "urn:oid:2.16.840.1.113883.6.300", "value": "60054"}, {"system": "ehr/Organization", "value": "payer-1", "type": "FHIR"}]},
    "plan": {"identifier": "SILVER", "name": "Silver Choice", "kind": "PPO"}, "subscriber_id": "W123456789", "group_number": "GRP-1",
    "relationship": "self", "start": "2026-01-01", "end": "2026-12-31", "status": "active"}', 'the coverage, its last day inclusive') FROM public.mapped;
SELECT is(jsonb_array_length(c -> 'coverages'), 1, 'once') FROM public.mapped;
SELECT is(c -> 'referral' -> k, v::jsonb, 'the referral: ' || k)
FROM public.mapped, (VALUES
    ('placer_order_number', '"OG-20417"'), ('placer_order_system', '"https://oakgrove.example/orders"'), ('urgency', '"urgent"'), ('intent', '"order"'),
    ('service_code', '"183519002"'), ('service_code_system', '"http://snomed.info/sct"'), ('authored_at', '"2026-11-02T09:10:00-06:00"'),
    ('reason_code', '"R00.2"'), ('specialty', '"207RC0000X"'), ('comment', '"Please see within two weeks."'), ('state', NULL),
    ('diagnoses', '[{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "R00.2", "display": "Palpitations"},
                    {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "I48.91", "display": "Unspecified atrial fibrillation"}]')) e (k, v);
SELECT is((c #> '{referral,requester}') #- '{organization,identifiers}', '{"name": "Aksel Lindqvist", "family": "Lindqvist", "given": "Aksel", "specialty": "207Q00000X",
    "identifiers": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1999999984", "type": "NPI"}, {"system": "ehr/Practitioner", "value": "dr-4", "type": "FHIR"}],
    "organization": {"name": "Oak Grove Family Practice", "phone": "555-0100", "address": "2 Main St", "city": "Oak Grove", "state": "IL"}}',
    'the requester: role, person and organisation') FROM public.mapped;
SELECT is(c #>> '{referral,performer,name}', 'Ines Okafor', 'the performer by a logical reference') FROM public.mapped;
SELECT is(c #>> '{referral,performing_organization,name}', 'Lakeside Heart Center', 'the organisation he works for') FROM public.mapped;
SELECT is(c -> 'documents', '[{"type": "57133-1", "title": "Referral note", "identifier": "DOC-55", "status": "current", "content_type": "text/plain", "content": "RGVhciBjb2xsZWFndWU="},
    {"type": "57133-1", "title": "Referral note", "identifier": "DOC-55/2", "status": "current", "content_type": "application/pdf",
     "url": "https://ehr.oakgrove.example/Binary/9"}]', 'the documents that come along, one for each content') FROM public.mapped;
SELECT is(public.codes(c), 'unresolved_reference /entry/8/resource/organization, unresolved_reference /entry/8/resource/practitioner, unmapped_type /entry/9/resource',
          'what is not in the message or not used is told') FROM public.mapped;
SELECT is((SELECT array_agg(DISTINCT f ->> 'severity') FROM jsonb_array_elements(c -> 'findings') f), '{info}', 'as a remark') FROM public.mapped;

-- ---------- requests ----------

SELECT is((public.single(jsonb_build_object('resourceType', 'ServiceRequest', 'id', 'a', 'status', s)) ->> 'kind')
          || coalesce(' ' || (public.single(jsonb_build_object('resourceType', 'ServiceRequest', 'id', 'a', 'status', s)) #>> '{referral,state}'), ''), e, 'status ' || s)
FROM (VALUES ('active', 'referral'), ('on-hold', 'referral on_hold'), ('draft', 'referral on_hold'), ('unknown', 'referral on_hold'),
             ('revoked', 'referral_cancel cancelled'), ('completed', 'referral completed'), ('entered-in-error', 'referral_cancel entered_in_error'),
             ('nonsense', 'referral')) t (s, e);
SELECT is(public.cases(public.bundle('{"resourceType": "ServiceRequest", "id": "a", "subject": {"reference": "Patient/p"}}', '{"resourceType": "ServiceRequest", "id": "b", "subject": {"reference": "Patient/p"}, "basedOn": [{"reference": "ServiceRequest/a"}]}',
              '{"resourceType": "Patient", "id": "p"}', '{"resourceType": "Coverage", "id": "c", "beneficiary": {"reference": "Patient/p"}}')) @?
          '$[*] ? (@.referral.based_on.value == "a" && @.coverages.identifiers.value == "c" && @.patient.identifiers.value == "p")', true,
          'of two requests each has the patient and his coverage; the second is based on the first');
SELECT is(jsonb_array_length(public.cases(public.bundle('{"resourceType": "ServiceRequest", "id": "a"}', '{"resourceType": "ServiceRequest", "id": "b"}'))), 2, 'each is a case');
SELECT is(public.single(public.bundle('{"resourceType": "Task", "status": "requested", "focus": {"reference": "#s"}, "owner": {"reference": "Organization/o"},
              "contained": [{"resourceType": "ServiceRequest", "id": "s", "status": "active", "subject": {"reference": "#p"}}, {"resourceType": "Patient", "id": "p", "gender": "male"}]}',
              '{"resourceType": "Organization", "id": "o", "name": "Lakeside"}')) - '{message,kind}'::text[],
          '{"patient": {"sex": "male"}, "referral": {"state": "received", "performing_organization": {"name": "Lakeside", "identifiers": [{"system": "ehr/Organization", "value": "o", "type": "FHIR"}]}}}',
          'a request contained in its Task, with what that adds; contained ids are nobody''s numbers');
SELECT is(public.single('{"resourceType": "ServiceRequest", "subject": {"reference": "Patient/1"}, "requester": {"display": "Dr. Who"}, "performer": {"reference": "Organization/9"}}') -> 'referral',
          '{"requester": {"name": "Who"}, "performing_organization": {"identifiers": [{"system": "ehr/Organization", "value": "9", "type": "FHIR"}]}}', 'names and ids of those who are not there');
SELECT is(public.single('{"resourceType": "ServiceRequest", "subject": {"reference": "Group/1"}}') ? 'patient', false, 'a group is no patient');
SELECT is(jsonb_array_length(public.cases(public.bundle(public.bundle('{"resourceType": "ServiceRequest", "id": "a"}'), public.bundle(public.bundle('{"resourceType": "ServiceRequest", "id": "b"}'))))), 2, 'bundles in bundles');
SELECT is(public.single('{"resourceType": "Parameters", "parameter": [{"name": "x", "resource": {"resourceType": "ServiceRequest", "id": "a"}}, {"name": "y", "valueString": "z"}]}') ->> 'kind', 'referral', 'Parameters carry resources, too');

-- ---------- answers and reports ----------

CREATE TABLE public.task AS SELECT t ->> 'id' AS id, public.single(t) AS c FROM jsonb_array_elements(:'tasks') t;
SELECT is((c ->> 'kind') || ' ' || coalesce(c #>> '{referral,state}', '-') || ' ' || coalesce(c #>> '{referral,decision}', '-') || ' ' || coalesce(c #>> '{reports,0,status}', '-'), e, 'Task ' || id)
FROM public.task JOIN (VALUES ('t1', 'referral_status validated accepted -'), ('t2', 'referral_status declined declined -'), ('t3', 'referral_cancel cancellation_requested - -'),
    ('t4', 'referral_status no_show - -'), ('t5', 'report - - final'), ('t6', 'none - - -'), ('t7', 'report closed_loop - preliminary'), ('t8', 'none - - -')) x (id, e) USING (id);
SELECT is((SELECT array_agg(DISTINCT c #> '{referral,identifiers}') FROM public.task), ARRAY['[{"system": "ehr/ServiceRequest", "value": "sr-1", "type": "FHIR"}]'::jsonb], 'all of them name the request that they are about');
SELECT is(c #> '{reports,0}', '{"status": "final", "identifier": "Task/t5", "code": "11488-4", "code_system": "http://loinc.org", "started_at": "2026-11-20T10:00:00Z", "ended_at": "2026-11-20T10:30:00Z",
    "author": {"name": "Ines Okafor", "identifiers": [{"system": "ehr/Practitioner", "value": "dr-8", "type": "FHIR"}]}}', 'a Task that stands for a report') FROM public.task WHERE id = 't5';
SELECT is(c #> '{reports,0,document}', '{"type": "11488-4", "status": "current", "content_type": "text/plain", "content": "Tm90ZQ=="}', 'the output of a Task is a report with its document') FROM public.task WHERE id = 't7';
SELECT is((SELECT (c -> 'referral') - 'identifiers' FROM public.task WHERE id = 't2'), '{"state": "declined", "decision": "declined", "comment": "no room before May", "status_reason": "no_capacity"}', 'why it was declined');
SELECT is(fhir_business_state(jsonb_build_object('coding', jsonb_build_array(jsonb_build_object('code', s.business_status)))), s.state::text, 'business status ' || s.business_status)
FROM referral.workflow w JOIN referral.workflow_step s USING (workflow_id) WHERE w.name = 'closed_loop_exchange' AND s.business_status IS NOT NULL ORDER BY s.sort;
SELECT is(public.single('{"resourceType": "DiagnosticReport", "id": "d", "status": "final", "basedOn": [{"reference": "ServiceRequest/9"}], "issued": "2026-11-20T10:30:00Z", "code": {"text": "Consult"}}') #>> '{reports,0,status}', 'final', 'a DiagnosticReport of a request is a report');
SELECT is(public.single('{"resourceType": "DiagnosticReport", "id": "d", "status": "final", "code": {"text": "Blood count"}}') ->> 'kind', 'document', 'of nothing, a document');

-- ---------- prior authorization ----------

CREATE TABLE public.claim AS SELECT public.single(:'claims') AS c;
SELECT is(c ->> 'kind', 'authorization', 'a claim and its answer are one case') FROM public.claim;
SELECT is((c #> '{authorizations,0}') - 'identifiers', '{"status": "requested", "expedited": true, "requested_at": "2026-11-02T00:00:00Z", "replaces": [{"system": "http://clinic.example/pa", "value": "PA-0"}],
    "items": [{"sequence": 1, "code": "99243", "system": "http://www.ama-assn.org/go/cpt", "quantity": 2, "unit": "visits"}, {"sequence": 2, "code": "93350", "system": "http://www.ama-assn.org/go/cpt"},
              {"sequence": 3, "code": "93307", "system": "http://www.ama-assn.org/go/cpt"}]}', 'the request') FROM public.claim;
SELECT is((c #> '{authorizations,1}') - 'identifiers' - 'request', '{"status": "decided", "valid_from": "2026-11-03", "valid_to": "2027-01-31", "decided_at": "2026-11-03T12:00:00Z", "authorization_number": "AUTH-77",
    "items": [{"sequence": 1, "review_action": "A1", "human_reviewed": true, "authorization_number": "AUTH-77-1"}, {"sequence": 2, "review_action": "A3", "reason_code": "0U", "human_reviewed": true},
              {"sequence": 3, "review_action": "A6", "human_reviewed": true, "code": "93306", "system": "http://www.ama-assn.org/go/cpt", "authorized_quantity": 1, "valid_from": "2026-11-10", "valid_to": "2026-12-10"}]}',
    'the answer, item by item, with what was granted in place of an item') FROM public.claim;
SELECT is((c #> '{authorizations,1,request}') @> '[{"value": "PA-1"}, {"value": "c-1"}]', true, 'names the request') FROM public.claim;
SELECT is(c #>> '{referral,identifiers,0,value}', 'sr-1', 'and both the referral') FROM public.claim;
SELECT is(public.single('{"resourceType": "ClaimResponse", "id": "r", "use": "preauthorization", "outcome": "queued", "preAuthRef": "P1", "request": {"reference": "Claim/1"}}') #> '{authorizations,0}',
          '{"status": "pended", "administrative_reference": "P1", "request": [{"system": "ehr/Claim", "value": "1", "type": "FHIR"}], "identifiers": [{"system": "ehr/ClaimResponse", "value": "r", "type": "FHIR"}]}', 'a pended answer has a reference, and no authorization');
SELECT is(public.single('{"resourceType": "Claim", "use": "claim", "id": "b"}') ->> 'kind', 'none', 'a bill is no request for authorization');
SELECT is(public.single('{"resourceType": "Claim", "use": "preauthorization", "_use": {"extension": [{"url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-certificationType", "valueCode": "3"}]}}') #>> '{authorizations,0,status}', 'cancelled', 'certification type 3 cancels');

-- ---------- the others ----------

SELECT is(public.single('{"resourceType": "Appointment", "id": "a", "status": "booked", "start": "2026-12-01T09:00:00-06:00", "end": "2026-12-01T09:30:00-06:00", "basedOn": [{"reference": "ServiceRequest/9"}],
    "identifier": [{"type": {"coding": [{"code": "FILL"}]}, "value": "F1"}], "serviceType": [{"text": "consult"}], "participant": [{"actor": {"reference": "Patient/p"}}, {"actor": {"reference": "Location/l", "display": "Room 5"}},
    {"actor": {"reference": "Practitioner/d", "display": "Dr. Ines Okafor"}}]}') - 'message',
    '{"kind": "appointment", "patient": {"identifiers": [{"system": "ehr/Patient", "value": "p", "type": "FHIR"}]}, "referral": {"identifiers": [{"system": "ehr/ServiceRequest", "value": "9", "type": "FHIR"}]},
      "appointments": [{"status": "booked", "starts_at": "2026-12-01T09:00:00-06:00", "ends_at": "2026-12-01T09:30:00-06:00", "filler_appointment_id": "F1", "service_text": "consult", "location": "Room 5",
      "identifiers": [{"value": "F1", "type": "FILL"}, {"system": "ehr/Appointment", "value": "a", "type": "FHIR"}],
      "practitioner": {"name": "Ines Okafor", "identifiers": [{"system": "ehr/Practitioner", "value": "d", "type": "FHIR"}]}}]}', 'an appointment');
SELECT is(public.single('{"resourceType": "CommunicationRequest", "id": "c", "status": "active", "medium": [{"coding": [{"code": "EMAILWRIT"}]}], "recipient": [{"reference": "Patient/p"}], "about": [{"reference": "ServiceRequest/9"}],
    "payload": [{"contentString": "Please call us."}]}') -> 'communications', '[{"identifier": "c", "medium": "email", "recipient": "patient", "status": "in-progress", "body": "Please call us."}]', 'a message to the patient');
SELECT is(public.single('{"resourceType": "Procedure", "id": "x", "status": "completed", "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "45378"}]}, "subject": {"reference": "Patient/p"}, "performedDateTime": "2026-05-01"}') -> 'encounters',
    '[{"kind": "procedure", "status": "completed", "code": "45378", "code_system": "http://www.ama-assn.org/go/cpt", "identifier": "x", "identifier_system": "ehr/Procedure", "started_at": "2026-05-01T00:00:00Z", "ended_at": "2026-05-01T00:00:00Z"}]', 'a procedure');
SELECT is(public.single(public.bundle('{"resourceType": "Organization", "id": "o", "name": "Lakeside"}', '{"resourceType": "Organization", "id": "p", "name": "Prairie", "type": [{"coding": [{"code": "pay"}]}]}',
    '{"resourceType": "Practitioner", "id": "d", "name": [{"family": "Okafor"}]}', '{"resourceType": "PractitionerRole", "id": "r", "practitioner": {"reference": "Practitioner/d"}, "organization": {"reference": "Organization/o"}}',
    '{"resourceType": "Location", "id": "l", "name": "West wing"}', '{"resourceType": "HealthcareService", "id": "h", "name": "Cardiology"}',
    '{"resourceType": "ValueSet", "id": "v", "name": "Referral", "compose": {"include": [{"system": "s", "concept": [{"code": "1"}, {"code": "2"}]}]}}')) -> 'directory',
    '{"payers": [{"identifier": "p", "name": "Prairie", "identifiers": [{"system": "ehr/Organization", "value": "p", "type": "FHIR"}]}], "sites": [{"identifier": "l", "name": "West wing"}], "services": [{"name": "Cardiology"}],
      "roles": [{"active": true, "practitioner": {"name": "Okafor", "family": "Okafor", "identifiers": [{"system": "ehr/Practitioner", "value": "d", "type": "FHIR"}]},
                 "organization": {"name": "Lakeside", "identifiers": [{"system": "ehr/Organization", "value": "o", "type": "FHIR"}]}}],
      "value_sets": [{"name": "Referral", "identifier": "v", "codes": [{"system": "s", "code": "1"}, {"system": "s", "code": "2"}]}]}', 'the directory');
SELECT is(public.single('{"resourceType": "Flag", "id": "f"}') - 'message', '{"kind": "none", "reason": "nothing in it is about a referral", "findings": [{"code": "unmapped_type", "severity": "info", "position": "", "value": "Flag",
    "detail": "resources of this type are not used"}]}', 'a type that is not used');
SELECT is(public.single('{"resourceType": "Bundle", "type": "searchset", "total": 0}') ->> 'reason', 'the bundle is empty', 'an empty bundle');

-- ---------- dirt ----------

SELECT is((SELECT string_agg(c ->> 'kind', ' ') FROM jsonb_array_elements(public.cases(:'dirty')) c), 'referral none appointment', 'a bundle full of dirt is read');
SELECT cmp_ok(jsonb_array_length(public.cases(:'dirty') #> '{0,findings}'), '>=', 11, 'with findings');
SELECT is(array_agg((f ->> 'code') || ' ' || (f ->> 'attribute') ORDER BY f ->> 'attribute', f ->> 'code'), '{"invalid_time appointment.ends_at","invalid_time appointment.starts_at","invalid_code appointment.status",
    "invalid_date coverage.end","invalid_value coverage.priority","invalid_date coverage.start","invalid_date patient.birth_date","invalid_value patient.birth_order","invalid_value patient.city","invalid_value patient.family","invalid_value patient.given",
    "invalid_code patient.sex"}'::text[], 'of each value that cannot be used') FROM jsonb_array_elements(public.cases(:'dirty') #> '{2,findings}') f WHERE f ->> 'attribute' <> '-';
SELECT is(public.cases(:'dirty') #> '{2,patient}', '{"given": "1 Ada", "address": "5 Low Rd", "deceased": true, "identifiers": [{"value": "12"}, {"system": "ehr/Patient", "value": "q", "type": "FHIR"}]}', 'and the rest is kept');
SELECT is(public.cases(:'dirty') #> '{0,referral,diagnoses}', '[{"display": "chest pain"}]', 'an object where a list belongs is one of a list');
SELECT throws_ok(format('SELECT referral.map_fhir(%L, ''ehr'')', m), 'RF014', NULL, 'no FHIR: ' || m)
FROM unnest(ARRAY['{}', '[]', '"x"', 'null', '{"resourceType": {}}', '{"resourceType": ""}', '[{"resourceType": "Patient"}]']) m;
SELECT throws_ok('SELECT referral.map_fhir(NULL, ''ehr'')', 'RF014', NULL, 'nothing is no FHIR');
SELECT lives_ok($$ SELECT referral.map_fhir((repeat('{"resourceType": "Bundle", "entry": [{"resource": ', 500) || '{"resourceType": "Patient"}' || repeat('}]}', 500))::jsonb, 'ehr') $$, 'bundles in bundles in bundles');
SELECT lives_ok($$ SELECT referral.map_fhir(jsonb_build_object('resourceType', 'ClaimResponse', 'item', (repeat('[', 3000) || repeat(']', 3000))::jsonb, 'extension', (repeat('{"extension":[', 2000) || repeat(']}', 2000))::jsonb), 'ehr') $$, 'deep nesting');

-- ---------- out ----------

SELECT set_config('referral.org_id', '1', false);
SELECT message_id, status, outcome, referral_id FROM referral.receive('fhir', 'ehr', 'application/fhir+json', :'referral') \gset
SELECT is(:'outcome'::text, 'referral_created', 'the bundle makes a referral');
CREATE TABLE public.sent AS SELECT referral.fhir_service_request(1, :referral_id) AS r;
CREATE TABLE public.back AS SELECT public.single(r) AS c FROM public.sent;
SELECT is((b.c -> 'referral') - '{authored_at,identifiers,performer,requester,requesting_organization,performing_organization}'::text[],
          (a.c -> 'referral') - '{authored_at,identifiers,performer,requester,requesting_organization,performing_organization}'::text[], 'what goes out says what came in')
FROM public.back b, public.mapped a;
SELECT is((b.c #>> '{referral,authored_at}')::timestamptz, (a.c #>> '{referral,authored_at}')::timestamptz, 'at the same time') FROM public.back b, public.mapped a;
SELECT is((b.c #> '{referral,identifiers}') @> (a.c #> '{referral,identifiers}'), true, 'under the same numbers') FROM public.back b, public.mapped a;
SELECT is((b.c #> '{referral,performer}') - '{family,given,identifiers}'::text[], (a.c #> '{referral,performer}') - '{identifiers}'::text[], 'the same performer') FROM public.back b, public.mapped a;
SELECT is((b.c #> '{referral,requester}') - '{identifiers}'::text[], (a.c #> '{referral,requester}') - '{identifiers}'::text[], 'the same requester') FROM public.back b, public.mapped a;
SELECT is((b.c -> 'patient') - 'identifiers', (a.c -> 'patient') - 'identifiers', 'the same patient') FROM public.back b, public.mapped a;
SELECT is((b.c #> '{coverages,0}') #- '{payer,identifiers}'::text[], ((a.c #> '{coverages,0}') #- '{payer,identifiers}'::text[]) - 'identifiers'::text, 'the same coverage') FROM public.back b, public.mapped a;
SELECT is(r -> 'patientInstruction', '"Bring a list of your medicines."', 'elements that the model does not have come out as they came') FROM public.sent;
SELECT is(r -> 'extension', '[{"url": "https://oakgrove.example/fhir/transport", "valueCode": "wheelchair"}]', 'extensions too') FROM public.sent;
SELECT is(r #>> '{code,coding,0,code}', 'none-such', 'and codings beside the one that is used') FROM public.sent;
SELECT is(r ? 'supportingInfo', false, 'a reference within the message does not go out') FROM public.sent;
SELECT is((SELECT count(*) FROM jsonb_path_query(r, '$.**.reference') x WHERE x #>> '{}' LIKE '#%' AND NOT (r -> 'contained') @> jsonb_build_array(jsonb_build_object('id', substr(x #>> '{}', 2)))), 0::bigint,
          'every contained resource that is referred to is there') FROM public.sent;

UPDATE referral.referral SET service_code = '408443003', service_text = NULL, urgency = 'stat' WHERE referral_id = :referral_id;
SELECT is(referral.fhir_service_request(1, :referral_id) -> 'code', '{"coding": [{"system": "http://snomed.info/sct", "code": "408443003"}]}', 'what was changed here is not what arrived');
SELECT is(referral.fhir_task(1, :referral_id) - '{contained,identifier,authoredOn,lastModified,for,requester,owner}'::text[],
    format('{"resourceType": "Task", "id": "%1$s", "status": "received", "intent": "order", "priority": "stat", "statusReason": {"text": "received"},
      "businessStatus": {"text": "received", "coding": [{"system": "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS", "code": "2.0", "display": "Service Request Created"}]},
      "focus": {"reference": "ServiceRequest/%1$s", "type": "ServiceRequest", "identifier": {"system": "https://oakgrove.example/orders", "value": "OG-20417"}}}', :referral_id)::jsonb, 'a Task');
INSERT INTO referral.consult_report (referral_id, status, code, code_system, identifier) VALUES (:referral_id, 'final', '11488-4', 'http://loinc.org', 'R-1');
SELECT is(referral.fhir_task(1, :referral_id) -> 'output', '[{"type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]}, "valueReference": {"type": "DocumentReference", "display": "final", "identifier": {"value": "R-1"}}}]', 'with its report');
SELECT is(bool_and((t ? 'statusReason') AND t #>> '{statusReason,text}' <> '' AND t ->> 'status' IS NOT NULL), true, 'every state has a status and a reason in words')
FROM unnest(enum_range(NULL::referral.state)) s, LATERAL (SELECT jsonb_build_object('status', (referral.fhir_out_task_status(s)).status, 'statusReason', jsonb_build_object('text', s))) x (t);
SELECT is(referral.fhir_service_request(1, -1), NULL::jsonb, 'no such referral');
SELECT is(referral.fhir_task(2, :referral_id), NULL::jsonb, 'not of that organisation');

-- the other side answers with a number of the request, or with the order's
SELECT outcome FROM referral.receive('fhir', 'ehr', NULL, '{"resourceType": "Task", "id": "t", "status": "accepted", "intent": "order",
    "focus": {"type": "ServiceRequest", "identifier": {"system": "https://oakgrove.example/referrals", "value": "REF-88"}}}') \gset
SELECT is((SELECT r.state || ' ' || r.decision FROM referral.referral r WHERE r.referral_id = :referral_id), 'validated accepted', 'a Task moves the referral that it is about');
SELECT outcome FROM referral.receive('fhir', 'specialist', NULL, '{"resourceType": "Task", "id": "r", "status": "completed", "intent": "order",
    "code": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]}, "executionPeriod": {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T10:30:00Z"},
    "basedOn": [{"type": "ServiceRequest", "identifier": {"system": "https://oakgrove.example/orders", "value": "OG-20417"}}]}') \gset
SELECT is((SELECT array_agg(x.referral_id || ' ' || x.status || ' ' || x.ended_at::date) FROM referral.consult_report x WHERE x.ended_at IS NOT NULL), ARRAY[:referral_id || ' final 2026-11-20'], 'a report by the number of the request');
SELECT outcome FROM referral.receive('fhir', 'ehr', NULL, '{"resourceType": "ServiceRequest", "status": "revoked", "intent": "order", "identifier": [{"system": "https://oakgrove.example/referrals", "value": "REF-88"}]}') \gset
SELECT matches((SELECT r.state::text FROM referral.referral r WHERE r.referral_id = :referral_id), '^(cancelled|cancellation_requested)$', 'who asked takes it back');

-- ids that a transaction made up stand in nobody's way later
SELECT outcome FROM referral.receive('fhir', 'maple', NULL, '{"resourceType": "Bundle", "type": "transaction", "entry": [
    {"fullUrl": "urn:uuid:11111111-aaaa-4aaa-8aaa-000000000001", "resource": {"resourceType": "Patient", "name": [{"family": "Tanaka", "given": ["Yuki"]}], "birthDate": "1983-07-19"}},
    {"fullUrl": "urn:uuid:11111111-aaaa-4aaa-8aaa-000000000002", "resource": {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "priority": "routine",
        "identifier": [{"type": {"coding": [{"code": "PLAC"}]}, "system": "urn:maple:orders", "value": "MAP-200"}],
        "subject": {"reference": "urn:uuid:11111111-aaaa-4aaa-8aaa-000000000001"}}}]}') \gset
SELECT is(:'outcome'::text, 'referral_created', 'a transaction makes a referral');
SELECT is((SELECT count(*) FROM referral.identifier WHERE type = 'FHIR' AND value LIKE '11111111-%'), 0::bigint, 'and keeps none of its UUIDs');
SELECT is((SELECT outcome FROM referral.receive('fhir', 'maple', NULL, '{"resourceType": "ServiceRequest", "id": "8801", "status": "active", "intent": "order", "priority": "stat",
    "identifier": [{"type": {"coding": [{"code": "PLAC"}]}, "system": "urn:maple:orders", "value": "MAP-200"}], "subject": {"reference": "Patient/123"}}')),
    'referral_updated', 'the sender''s own ids come later');
SELECT is((SELECT outcome FROM referral.receive('fhir', 'maple', NULL, '{"resourceType": "ServiceRequest", "id": "8801", "status": "revoked", "intent": "order", "subject": {"reference": "Patient/123"}}')),
    'referral_cancelled', 'and are known from then on');
SELECT results_eq($$SELECT state::text, urgency::text, count(*) OVER () FROM referral.referral WHERE source = 'maple'$$, $$VALUES ('cancelled', 'stat', 1::bigint)$$, 'it is one referral');
INSERT INTO referral.identifier (patient_id, system, value, type)
SELECT patient_id, 'maple/Patient', '11111111-aaaa-4aaa-8aaa-00000000000f', 'FHIR' FROM referral.referral WHERE source = 'maple';
SELECT is((SELECT array_agg(referral.intake_told_apart(1, referral.intake_identifiers(jsonb_build_array(jsonb_build_object('system', 'oak/Patient', 'value', v, 'type', 'FHIR')), 'oak'), q.patient_id) ORDER BY n)
           FROM unnest('{7,22222222-aaaa-4aaa-8aaa-000000000001}'::text[]) WITH ORDINALITY t (v, n),
                LATERAL (SELECT i.patient_id FROM referral.identifier i WHERE i.value = '11111111-aaaa-4aaa-8aaa-00000000000f') q), '{f,f}', 'another server''s ids say nothing');
UPDATE referral.identifier SET system = 'oak/Patient' WHERE value = '11111111-aaaa-4aaa-8aaa-00000000000f';
SELECT is((SELECT array_agg(referral.intake_told_apart(1, referral.intake_identifiers(jsonb_build_array(jsonb_build_object('system', 'oak/Patient', 'value', v, 'type', 'FHIR')), 'oak'), q.patient_id) ORDER BY n)
           FROM unnest('{7,22222222-aaaa-4aaa-8aaa-000000000001}'::text[]) WITH ORDINALITY t (v, n),
                LATERAL (SELECT i.patient_id FROM referral.identifier i WHERE i.value = '11111111-aaaa-4aaa-8aaa-00000000000f') q), '{f,t}', 'a UUID and a number do not tell two people apart, two UUIDs do');

SELECT referral.fhir_patient_match('{"resourceType": "Patient", "identifier": [{"type": {"coding": [{"code": "MR"}]}, "system": "https://oakgrove.example/mrn", "value": "771-204"}],
    "name": [{"family": "Oyelaran", "given": ["Miriam"]}], "birthDate": "1961-02-28", "gender": "female", "telecom": [{"system": "phone", "value": "+1 555 010 2030"}]}') AS found \gset
SELECT is(:'found'::jsonb #>> '{entry,0,resource,name,0,family}', 'Oyelaran', '$match finds the patient');
SELECT is(:'found'::jsonb - 'entry', '{"resourceType": "Bundle", "type": "searchset", "total": 1}', 'as a searchset');
SELECT is(:'found'::jsonb #>> '{entry,0,search,mode}', 'match', 'with search mode');
SELECT matches(:'found'::jsonb #>> '{entry,0,search,extension,0,valueCode}', '^(certain|probable|possible)$', 'graded');
SELECT is(referral.fhir_patient_match('{"resourceType": "Patient", "name": [{"family": "Zzyzx", "given": ["Quentin"]}], "birthDate": "2001-01-01"}'), '{"resourceType": "Bundle", "type": "searchset", "total": 0}', 'or nobody');
SELECT throws_ok($$ SELECT referral.fhir_patient_match('{"resourceType": "Group"}') $$, 'RF014', NULL, 'only a Patient is matched');
SELECT throws_ok($$ SELECT referral.fhir_patient_match('{"resourceType": "Patient", "name": [{"family": "A"}]}', false, 0) $$, 'RF020', NULL, 'at least one is asked for');

-- time that grows with the square of their number would take many times that
SET statement_timeout = '5s';
SELECT is(jsonb_array_length(referral.fhir_concept_codes((SELECT jsonb_agg(jsonb_build_object('coding', jsonb_build_array(jsonb_build_object('system', 's', 'code', 'c' || i)))) FROM generate_series(1, 10000) i))), 10000, 'thousands of codes');
RESET statement_timeout;

SELECT * FROM finish();
