-- Real messages of HL7 v2 as cases of intake, where they are at hand: what each of them is about, and that no segment
-- is lost on the way.
SELECT plan(14);

\getenv shared REFERRAL_SHARED
\set messages_are_there `test -r "$REFERRAL_SHARED/health/hl7v2/ms/REF-I12-01.hl7" && echo true || echo false`
\if :messages_are_there

CREATE TABLE public.sample (name text PRIMARY KEY, message text);
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/OMG-O19-01.hl7"`
INSERT INTO public.sample VALUES ('OMG-O19-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/ORM-O01-01.hl7"`
INSERT INTO public.sample VALUES ('ORM-O01-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/REF-I12-01.hl7"`
INSERT INTO public.sample VALUES ('REF-I12-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/REF-I12-02.hl7"`
INSERT INTO public.sample VALUES ('REF-I12-02', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/REF-I14-01.hl7"`
INSERT INTO public.sample VALUES ('REF-I14-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/REF-I14-02.hl7"`
INSERT INTO public.sample VALUES ('REF-I14-02', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/SIU-S12-01.hl7"`
INSERT INTO public.sample VALUES ('SIU-S12-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/SIU-S12-02.hl7"`
INSERT INTO public.sample VALUES ('SIU-S12-02', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/SIU-S13-01.hl7"`
INSERT INTO public.sample VALUES ('SIU-S13-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/SIU-S14-01.hl7"`
INSERT INTO public.sample VALUES ('SIU-S14-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/SIU-S15-01.hl7"`
INSERT INTO public.sample VALUES ('SIU-S15-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/SIU-S17-01.hl7"`
INSERT INTO public.sample VALUES ('SIU-S17-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/SIU-S26-01.hl7"`
INSERT INTO public.sample VALUES ('SIU-S26-01', :'message');
\set message `cat "$REFERRAL_SHARED/health/hl7v2/ms/SIU-S26-02.hl7"`
INSERT INTO public.sample VALUES ('SIU-S26-02', :'message');

CREATE TABLE public.mapped AS
SELECT s.name, m.n, m.c, p.message FROM public.sample s, LATERAL (SELECT referral.hl7_parse(s.message)) AS p (message),
       LATERAL referral.map_hl7v2(p.message, 'ms') WITH ORDINALITY AS m (c, n);

-- what each is about
SELECT results_eq('SELECT name, n, c ->> ''kind'' FROM public.mapped ORDER BY name, n',
    $$VALUES ('OMG-O19-01', 1::bigint, 'referral_status'), ('ORM-O01-01', 1, 'referral'), ('REF-I12-01', 1, 'referral'), ('REF-I12-02', 1, 'referral'),
             ('REF-I14-01', 1, 'referral_cancel'), ('REF-I14-02', 1, 'referral_cancel'), ('SIU-S12-01', 1, 'appointment'), ('SIU-S12-02', 1, 'appointment'),
             ('SIU-S13-01', 1, 'appointment'), ('SIU-S14-01', 1, 'appointment'), ('SIU-S15-01', 1, 'appointment'), ('SIU-S17-01', 1, 'appointment'),
             ('SIU-S26-01', 1, 'appointment'), ('SIU-S26-02', 1, 'appointment')$$, 'each message is one case');
SELECT results_eq($$SELECT name, f ->> 'code', f ->> 'attribute' FROM public.mapped, jsonb_array_elements(c -> 'findings') f$$,
    $$VALUES ('OMG-O19-01', 'missing', 'referral.placer_order_number')$$, 'one order has no number, nothing else is wrong');
SELECT results_eq($$SELECT name, c #>> '{referral,placer_order_number}', c #>> '{referral,placer_order_system}', c #>> '{referral,filler_order_number}', c #>> '{referral,filler_order_system}', c #>> '{referral,state}',
                           c #>> '{referral,urgency}', c #>> '{referral,reason_code}', c #>> '{referral,service_code}'
                    FROM public.mapped WHERE c ->> 'kind' <> 'appointment' ORDER BY name$$,
    $$VALUES ('OMG-O19-01', NULL, NULL, NULL, NULL, 'on_hold', 'routine', 'E10.9', '57698-3'), ('ORM-O01-01', '1101', 'GHHPlacer', '1201', 'GHHFiller', NULL, NULL, 'S06.9', '24725-4'),
             ('REF-I12-01', '226839', 'EPIC', '11001', 'EXTID', NULL, 'routine', 'K63.3', '76164006'), ('REF-I12-02', '226839', 'EPIC', '11001', 'EXTID', NULL, 'routine', 'K63.3', '76164006'),
             ('REF-I14-01', '226839', 'EPIC', '11001', 'EXTID', 'cancelled', 'routine', 'K63.3', '76164006'), ('REF-I14-02', '226839', 'EPIC', '11001', 'EXTID', 'cancelled', 'routine', 'K63.3', '76164006')$$,
    'requests and what is asked of them');
SELECT is((SELECT jsonb_object_agg(k, c -> 'referral' -> k) FROM public.mapped, unnest(ARRAY['expires_on', 'authored_at', 'authorization_number', 'comment', 'reason_text']) k WHERE name = 'REF-I12-01'),
    '{"expires_on": "2022-02-10", "authored_at": "2022-01-25T00:00:00+00:00", "authorization_number": "HL71001111111111", "comment": "Referral to Specialist\nLab test", "reason_text": "Ulcer of Intestine"}', 'the rest of a request');
SELECT results_eq($$SELECT c #>> '{referral,requester,name}', c #>> '{referral,requester,identifiers,0,value}', c #>> '{referral,requesting_organization,name}', c #>> '{referral,performer,name}', c #>> '{referral,performer,identifiers,0,value}', c #>> '{referral,performing_organization,name}'
                    FROM public.mapped WHERE name LIKE 'REF%' GROUP BY 1, 2, 3, 4, 5, 6$$,
    $$VALUES ('ROBERT POWELL', 'PLN1001', 'GOOD HEALTH HOSPITAL', 'PAUL McWILLIAMS', 'PLN5010', 'RADIANT HEALTH HOSPITAL')$$, 'who refers to whom');
SELECT results_eq($$SELECT c #>> '{patient,family}', c #>> '{patient,given}', c #>> '{patient,birth_date}', c #>> '{patient,sex}', c #>> '{patient,phone}', c #>> '{patient,address}', c #>> '{patient,city}', c #>> '{patient,identifiers,0,value}', c #>> '{patient,identifiers,1,system}', count(*)
                    FROM public.mapped GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 ORDER BY 10$$,
    $$VALUES ('EVERYMAN', 'ADAM', '1961-06-15', 'male', '270-6009800', '115 MAINSTREET', 'GOODTOWN', 'PATID1234', 'http://hl7.org/fhir/sid/us-ssn', 4::bigint),
             ('EVERYMAN', 'ADAM', '1988-08-18', 'male', '78788788', '1000 Hospital Lane Ste. 123', 'Ann Arbor', 'PATID1234', 'http://hl7.org/fhir/sid/us-ssn', 10)$$, 'the patients');
SELECT results_eq($$SELECT count(*), c -> 'coverages' FROM public.mapped WHERE c ? 'coverages' GROUP BY 2$$,
    $$VALUES (5::bigint, '[{"priority": 1, "payer": {"identifier": "Org-12345", "name": "Blue Cross Blue Shield of Texas"}, "plan": {"identifier": "BAV", "name": "Blue Advantage HMO", "kind": "HMO"}, "subscriber_id": "548851236L", "group_number": "Grp-12345",
        "relationship": "spouse", "start": "1998-11-01", "identifiers": [{"value": "HMO-12345", "type": "NI", "system": "urn:oid:2.16.840.1.113883.1.3"}, {"value": "MB-12345", "type": "MB", "system": "urn:oid:2.16.840.1.113883.1.5"}]}]'::jsonb)$$, 'the insurance');
SELECT results_eq($$SELECT name, a ->> 'event', a ->> 'status', a ->> 'starts_at', a ->> 'ends_at', a ->> 'service_code', a ->> 'location', a #>> '{practitioner,name}' FROM public.mapped, LATERAL (SELECT c #> '{appointments,0}') x (a) WHERE name LIKE 'SIU%' ORDER BY name$$,
    $$VALUES ('SIU-S12-01', 'S12', 'booked', '2021-09-24T07:15:00+00:00', '2021-09-24T08:05:00+00:00', '76164006', 'GH Clinic, 055, Room01', 'Robert GE'),
             ('SIU-S12-02', 'S12', 'booked', '2021-08-18T09:15:00+00:00', '2021-08-18T10:15:00+00:00', '58410-2', 'GHH Hospital, LabUnit101, Lab Room 01', 'Tim PB'),
             ('SIU-S13-01', 'S13', 'booked', '2021-09-24T07:15:00+00:00', '2021-09-24T08:05:00+00:00', '76164006', 'GH Clinic, 055, Room01', 'Robert GE'),
             ('SIU-S14-01', 'S14', 'booked', '2021-09-24T07:15:00+00:00', '2021-09-24T08:05:00+00:00', '76164006', 'GH Clinic, 055, Room02', 'Robert GE'),
             ('SIU-S15-01', 'S15', 'cancelled', '2021-09-24T07:15:00+00:00', '2021-09-24T08:05:00+00:00', '76164006', 'GH Clinic, 055, Room01', 'Robert GE'),
             ('SIU-S17-01', 'S17', 'entered-in-error', '2021-09-24T07:15:00+00:00', '2021-09-24T08:05:00+00:00', '76164006', 'GH Clinic, 055, Room01', 'Robert GE'),
             ('SIU-S26-01', 'S26', 'noshow', '2021-09-24T07:15:00+00:00', '2021-09-24T08:05:00+00:00', '76164006', 'GH Clinic, 055, Room01', 'Robert GE'),
             ('SIU-S26-02', 'S26', 'noshow', '2021-08-18T09:15:00+00:00', '2021-08-18T10:15:00+00:00', '58410-2', 'GHH Hospital, LabUnit101, Lab Room 01', 'Tim PB')$$, 'the appointments');
SELECT is((SELECT count(*) FROM public.mapped WHERE name LIKE 'SIU%' AND c #>> '{appointments,0,placer_appointment_id}' = '12345' AND c #>> '{appointments,0,filler_appointment_id}' = '36996'), 8::bigint, 'by their numbers');
SELECT is((SELECT c -> 'authorizations' FROM public.mapped WHERE name = 'REF-I12-01'),
    '[{"status": "decided", "identifiers": [{"type": "AUTH", "value": "HL71001111111111", "system": "HC02"}], "authorization_number": "HL71001111111111", "valid_from": "2022-01-10", "valid_to": "2022-03-10", "decided_at": "2022-03-10T00:00:00+00:00", "disposition": "comment",
       "items": [{"sequence": 1, "quantity": 1, "authorized_quantity": 1, "authorization_number": "HL71001111111111", "valid_from": "2022-01-10", "valid_to": "2022-03-10", "review_action": "A1"}]},
      {"status": "decided", "identifiers": [{"type": "AUTH", "value": "HL72001111111111", "system": "HC03"}], "authorization_number": "HL72001111111111", "valid_from": "2022-01-10", "valid_to": "2022-02-10", "decided_at": "2022-02-10T00:00:00+00:00", "disposition": "comment",
       "items": [{"sequence": 1, "code": "76164006", "code_system": "http://snomed.info/sct", "display": "Biopsy of colon (procedure)", "quantity": 1, "authorized_quantity": 1, "authorization_number": "HL72001111111111", "valid_from": "2022-01-10", "valid_to": "2022-02-10", "review_action": "A1"}]}]',
    'the authorizations, the second one for a procedure');

-- nothing is lost: as many of each as there are segments (OMG comes with results of former orders, which are none)
SELECT is_empty($$
    WITH kept AS (
        SELECT name, message, c -> 'coverages' AS in1, coalesce(c #> '{referral,diagnoses}', c #> '{extra,diagnoses}') AS dg1, c -> 'authorizations' AS aut,
               c -> 'documents' AS file, c #> '{extra,observations}' AS seen, c #> '{extra,resources}' AS resource, c #> '{extra,notes}' AS note,
               c -> 'encounters' AS pv1, coalesce(c #>> '{appointments,0,comment}', c #>> '{referral,comment}') AS comment
        FROM public.mapped WHERE name NOT LIKE 'OMG%')
    SELECT name, what FROM kept, LATERAL (VALUES
        ('IN1', in1, referral.hl7_count(message, 'IN1')), ('DG1', dg1, referral.hl7_count(message, 'DG1')), ('AUT', aut, referral.hl7_count(message, 'AUT')), ('PV1', pv1, referral.hl7_count(message, 'PV1')),
        ('OBX of documents', file, (SELECT count(*) FROM referral.hl7_segments(message, 'OBX') x WHERE referral.hl7_get(x, 'OBX-2') IN ('ED', 'RP'))),
        ('OBX', seen, (SELECT count(*) FROM referral.hl7_segments(message, 'OBX') x WHERE referral.hl7_get(x, 'OBX-2') NOT IN ('ED', 'RP'))),
        ('AI', resource, referral.hl7_count(message, 'AIS') + referral.hl7_count(message, 'AIG') + referral.hl7_count(message, 'AIL') + referral.hl7_count(message, 'AIP'))) v (what, list, n)
    WHERE coalesce(jsonb_array_length(list), 0) <> n
    UNION ALL
    SELECT name, 'NTE ' || referral.hl7_get(x, 'NTE-3') FROM kept, referral.hl7_segments(message, 'NTE') x
    WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(note) n WHERE n ->> 'text' = btrim(referral.hl7_get(x, 'NTE-3')))
      AND position(btrim(referral.hl7_get(x, 'NTE-3')) IN coalesce(comment, '')) = 0$$, 'no insurance, diagnosis, authorization, visit, document, observation, resource or note is lost');
SELECT is((SELECT array_agg(DISTINCT d ->> 'url') FROM public.mapped m, jsonb_array_elements(m.c -> 'documents') d WHERE m.name LIKE 'OMG%' AND d ? 'url'),
    '{http://172.16.237.4/CaseCenter/index.php?ContainerType=CaseView&ContainerID=0&SlideID=40bcbe96bcbf8cda8b07403263b92cb4}', 'the pointer to an image, with its escaped separators; not the one of a former result');

-- through receive()
SET referral.org_id = 1;
CREATE TABLE public.received AS
SELECT s.name, r.outcome, r.status::text, r.referral_id, r.error FROM (SELECT * FROM public.sample ORDER BY name LIKE 'OMG%', name) s, LATERAL referral.receive('hl7v2', 'ms', NULL, s.message, s.name) r;
SELECT is_empty($$SELECT name, error FROM public.received WHERE status <> 'processed'$$, 'all of them are received without an error');
SELECT is((SELECT count(DISTINCT referral_id) FROM public.received WHERE name LIKE 'REF%'), 1::bigint, 'the messages about one referral find it');
\else
SELECT skip('REFERRAL_SHARED has no health/hl7v2', 14);
\endif
SELECT * FROM finish();
