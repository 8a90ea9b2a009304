-- FHIR: real files of others, where they are at hand: every one gives cases, nothing is dropped, every value is of its type.
SELECT plan(27);

\getenv shared REFERRAL_SHARED
\set there `test -r "$REFERRAL_SHARED/health/pas/ri/Claim.json" && test -r "$REFERRAL_SHARED/health/synthea/smart100/Patient.ndjson" && test -d "$REFERRAL_SHARED/health/cms50/input/tests" && echo true || echo false`
\if :there

-- every file as lines, each file after a line with its name
CREATE TABLE public.line (n bigserial, line text);
\copy public.line (line) FROM PROGRAM 'cd "$REFERRAL_SHARED/health" && find pas/ri pas/ig cms50/input/tests -name "*.json" | LC_ALL=C sort | while read -r f; do printf "@file %s\n" "$f"; cat "$f"; echo; done' WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
\copy public.line (line) FROM PROGRAM 'cd "$REFERRAL_SHARED/health" && for f in synthea/smart100/*.ndjson; do awk -v f="$f" "{ print \"@file \" f \":\" NR; print }" "$f"; done' WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
CREATE TABLE public.message AS
SELECT split_part(file, '/', 1) AS set, file, body::jsonb
FROM (SELECT max(substr(line, 7)) FILTER (WHERE line LIKE '@file %') AS file, string_agg(line, E'\n' ORDER BY n) FILTER (WHERE line NOT LIKE '@file %') AS body
      FROM (SELECT n, line, count(*) FILTER (WHERE line LIKE '@file %') OVER (ORDER BY n) AS g FROM public.line) l GROUP BY g) f;
SELECT cmp_ok((SELECT count(*) FROM public.message), '>=', 1500::bigint, 'the files are read');

CREATE TABLE public.mapped AS
SELECT m.set, m.file, m.body ->> 'resourceType' AS type, c FROM public.message m, LATERAL referral.map_fhir(m.body, 'src') c WHERE m.body ? 'resourceType';
SELECT is((SELECT array_agg(file) FROM public.message m WHERE NOT EXISTS (SELECT FROM public.mapped x WHERE x.file = m.file)),
          '{pas/ri/cds-hook-order-review.json}'::text[], 'each of them gives a case, but one that is no FHIR');
SELECT throws_ok($$ SELECT referral.map_fhir(body, 'x') FROM public.message WHERE file LIKE '%cds-hook%' $$, 'RF014', NULL, 'that one is refused');
SELECT is((SELECT array_agg(DISTINCT c ->> 'kind' ORDER BY c ->> 'kind') FROM public.mapped),
          '{authorization,directory,document,none,patient,referral,report}'::text[], 'the kinds of cases that there are');
SELECT is((SELECT array_agg(DISTINCT type ORDER BY type) FROM public.mapped WHERE c ->> 'kind' = 'none' AND c ->> 'reason' NOT LIKE 'the bundle is empty'),
          '{Group,MeasureReport,Subscription,SubscriptionTopic}'::text[], 'what nothing is to be done for');

-- ---------- every value is of its type ----------

SELECT is((SELECT count(*) FROM public.mapped, jsonb_path_query(c, '$.**.authored_at') v WHERE (v #>> '{}')::timestamptz IS NULL), 0::bigint, 'times of requests');
SELECT is((SELECT count(*) FROM public.mapped, jsonb_path_query(c, '$.**.ended_at') v WHERE (v #>> '{}')::timestamptz IS NULL), 0::bigint, 'times of reports and visits');
SELECT is((SELECT count(*) FROM public.mapped WHERE (c #>> '{referral,state}')::referral.state IS NULL AND c #>> '{referral,state}' IS NOT NULL
           OR (c #>> '{referral,intent}')::referral.intent IS NULL AND c #>> '{referral,intent}' IS NOT NULL), 0::bigint, 'states and intents');
SELECT is((SELECT count(*) FROM public.mapped WHERE (c #>> '{patient,birth_date}')::date > '2026-12-31'), 0::bigint, 'birth dates');
SELECT is((SELECT array_agg(DISTINCT f ->> 'code' ORDER BY f ->> 'code') FROM public.mapped, jsonb_array_elements(c -> 'findings') f),
          '{unmapped_type,unresolved_reference}'::text[], 'nothing in them is wrong but references to what is not there');
SELECT is((SELECT array_agg(DISTINCT f ->> 'value') FROM public.mapped, jsonb_array_elements(c -> 'findings') f WHERE f ->> 'severity' = 'warning'),
          '{Patient/1,Patient/8f9f3df4-60f6-4c9a-855f-1e3fa9b30f96}'::text[], 'two patients that bundles refer to and do not have');

-- ---------- prior authorization ----------

CREATE TABLE public.pa AS SELECT substring(file FROM '([^/]*)\.json$') AS file, c, c -> 'authorizations' AS a FROM public.mapped WHERE c ->> 'kind' = 'authorization';
SELECT is((SELECT jsonb_object_agg(file, a #>> '{1,status}' || coalesce(' ' || (a #>> '{1,items,0,review_action}'), '') || coalesce(' ' || left(a #>> '{1,authorization_number}', 8), '')) FROM public.pa WHERE a -> 1 IS NOT NULL),
          '{"DeniedResponse": "decided A3", "GrantedResponse": "decided A1 ee7f76f8", "PendedFinalResponse": "decided A1 8373b834", "PendedClaimResponse": "pended A4"}',
          'what was answered, in bundles with the request');
SELECT is((SELECT a #> '{0,items}' FROM public.pa WHERE file = 'Claim'), '[{"sequence": 1, "code": "G0154", "system": "http://www.ama-assn.org/go/cpt", "review_action": "C"},
          {"sequence": 2, "code": "B4184", "system": "http://www.ama-assn.org/go/cpt"}]', 'items, the one taken out marked');
SELECT is((SELECT array_agg(a #>> '{0,replaces,0,value}' ORDER BY file) FROM public.pa WHERE file LIKE 'ClaimUpdate%'),
          '{451fe716-4701-4cdf-b5bb-a6eedbe43bbb,ee7f76f8-5e4e-4733-8f85-3fe3c29cf30f}'::text[], 'an update says what it replaces');
SELECT is((SELECT a -> 0 ->> 'authorization_number' || ' ' || (a -> 0 ->> 'valid_from') || ' ' || (a -> 0 ->> 'valid_to') FROM public.pa WHERE file = 'bundle-response'), 'AUTH0001 2005-05-02 2005-06-02', 'an answer on its own');
SELECT is((SELECT jsonb_array_length(c -> 'coverages') FROM public.pa WHERE file = 'Claim'), 5, 'five coverages');
SELECT is((SELECT jsonb_array_length(c #> '{referral,diagnoses}') FROM public.pa WHERE file = 'Claim'), 3, 'three diagnoses');
SELECT is((SELECT c #>> '{referral,service_code}' FROM public.pa WHERE file = 'Claim'), 'E0424', 'the device asked for is the service');
SELECT is((SELECT c #>> '{referral,performer,name}' || ', ' || (c #>> '{authorizations,0,items,0,display}') FROM public.mapped WHERE file LIKE '%/bundle-request.json' AND c ->> 'kind' = 'referral'),
          'SUSAN WATSON, Consultation', 'a request for a specialist is a referral with its authorization');

-- ---------- a population ----------

SELECT is((SELECT count(*) FROM public.mapped WHERE file LIKE '%Patient.ndjson%' AND c ->> 'kind' = 'patient' AND c #>> '{patient,family}' IS NOT NULL AND c #>> '{patient,given}' IS NOT NULL
           AND c #>> '{patient,birth_date}' IS NOT NULL AND c #>> '{patient,sex}' IS NOT NULL AND c #>> '{patient,postal_code}' IS NOT NULL AND jsonb_array_length(c #> '{patient,identifiers}') >= 4),
          (SELECT count(*) FROM public.message WHERE file LIKE '%Patient.ndjson%' AND body #>> '{address,0,postalCode}' IS NOT NULL), 'patients are whole');
SELECT is((SELECT count(*) FROM public.mapped WHERE file LIKE '%PractitionerRole.ndjson%' AND c #> '{directory,roles,0,practitioner,identifiers,0,type}' = '"NPI"'
           AND c #>> '{directory,roles,0,organization,name}' IS NOT NULL AND c #>> '{directory,roles,0,specialty}' IS NOT NULL),
          (SELECT count(*) FROM public.message WHERE file LIKE '%PractitionerRole.ndjson%'), 'so are roles');
SELECT is((SELECT count(*) FROM public.mapped WHERE file LIKE '%/Practitioner.ndjson%' AND c #>> '{directory,practitioners,0,name}' IS NOT NULL),
          (SELECT count(*) FROM public.message WHERE file LIKE '%/Practitioner.ndjson%'), 'and practitioners');
SELECT is((SELECT count(*) FROM public.mapped WHERE file ~ '/(Organization|Location).ndjson' AND (c #>> '{directory,organizations,0,name}' IS NOT NULL OR c #>> '{directory,sites,0,name}' IS NOT NULL)),
          (SELECT count(*) FROM public.message WHERE file ~ '/(Organization|Location).ndjson'), 'organisations and places');

-- ---------- CMS50 ----------

CREATE TABLE public.cms AS SELECT * FROM public.mapped WHERE set = 'cms50' AND file ~ '/[A-Z][A-Za-z]+-[0-9a-f-]{36}\.json$' AND file !~ 'Group|Bundle';
SELECT is((SELECT jsonb_object_agg(k, n) FROM (SELECT c ->> 'kind' AS k, count(*) AS n FROM public.cms GROUP BY 1) x),
          '{"patient": 98, "referral": 38, "report": 16, "directory": 66, "none": 33}', 'the resources of the 33 test patients');
SELECT is((SELECT array_agg(s || ' ' || n ORDER BY s) FROM (SELECT c #>> '{reports,0,status}' AS s, count(*) AS n FROM public.cms WHERE c ->> 'kind' = 'report' GROUP BY 1) x), '{"failed 4","final 12"}'::text[], 'their reports');
SELECT is((SELECT count(*) FROM public.cms r WHERE c ->> 'kind' = 'report' AND EXISTS (SELECT FROM public.cms s WHERE s.c ->> 'kind' = 'referral'
           AND s.c #> '{referral,identifiers}' @> jsonb_build_array(r.c #> '{referral,identifiers,0}'))), 15::bigint, 'all but one name a request that is there');
SELECT is((SELECT count(*) FROM public.mapped WHERE set = 'cms50' AND type = 'Bundle' AND c ->> 'kind' = 'referral' AND c ? 'reports'), (SELECT count(DISTINCT file || (c #>> '{referral,identifiers,0,value}')) FROM public.mapped
           WHERE set = 'cms50' AND type = 'Bundle' AND c ->> 'kind' = 'referral' AND c ? 'reports'), 'in bundles a report is told with its request');
\else
SELECT skip('the files are not there', 27);
\endif

SELECT * FROM finish();
