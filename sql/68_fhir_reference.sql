-- fhir: what a message consists of, and which resource belongs to which. The plans do not depend on the message, and
-- planning costs more than running: so they are generic.

CREATE FUNCTION referral.fhir_entries(message jsonb, OUT roots integer[], OUT types text[], OUT positions text[], OUT full_urls text[],
    OUT resources jsonb[], OUT keys jsonb)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_entries';
COMMENT ON FUNCTION referral.fhir_entries(jsonb) IS
'The resources of a message: itself, or those of a Bundle or Parameters, also of bundles within (to a depth of 4), then those contained in them; all arrays null for an empty bundle. roots: the number, from 1, of the one whose references to contained resources mean this one; types: null for what is no resource; positions: JSON pointers; resources: the id of a contained one begins with #. keys: by which they can be referred to, each with the number of its resource: fullUrl, Type/id, the bare id, #id below the number of the resource that contains it, and Type|system|value of each identifier. Null for null.';

CREATE FUNCTION referral.fhir_reference_key(reference text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_reference_key';
COMMENT ON FUNCTION referral.fhir_reference_key(text) IS
'What a FHIR reference is looked up by: Type/id of a relative or an absolute URL, without the version; any other text as it is. Null for null.';

CREATE FUNCTION referral.fhir_reference_type(reference jsonb) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_reference_type';
COMMENT ON FUNCTION referral.fhir_reference_type(jsonb) IS
'The type of resource that a FHIR Reference says it refers to. Null for null and when it does not say.';

CREATE FUNCTION referral.fhir_target(keys jsonb, reference jsonb, root integer) RETURNS integer
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_target';
COMMENT ON FUNCTION referral.fhir_target(jsonb, jsonb, integer) IS
'The number of the resource that a FHIR Reference (or a bare text) means, among those of the same message; keys are those of fhir_entries(), root the resource in which contained ones are looked up. Null when the message does not have it.';

CREATE FUNCTION referral.fhir_reference_ids(reference jsonb, source text, type text) RETURNS jsonb
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_reference_ids';
COMMENT ON FUNCTION referral.fhir_reference_ids(jsonb, text, text) IS
'What a reference to a resource outside of the message says about it: identifiers by which it may be known already. type: of the resource, where the reference does not tell. Null when it says nothing.';

CREATE FUNCTION referral.fhir_references(keys jsonb, roots integer[], types text[], resources jsonb[])
RETURNS TABLE (n integer, role text, path text, reference jsonb, target integer)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    SELECT e.n::integer, r.role, r.path::text, q.reference, referral.fhir_target(keys, q.reference, e.root)
    FROM unnest(roots, types, resources) WITH ORDINALITY e (root, type, resource, n)
    JOIN (VALUES ('ServiceRequest', '$.subject[*]'::jsonpath, 'patient'), ('Task', '$.for[*]', 'patient'), ('Coverage', '$.beneficiary[*]', 'patient'),
               ('Appointment', '$.participant.actor[*]', 'actor'), ('DocumentReference', '$.subject[*]', 'patient'), ('Claim', '$.patient[*]', 'patient'),
               ('ClaimResponse', '$.patient[*]', 'patient'), ('CommunicationRequest', '$.subject[*]', 'patient'), ('Communication', '$.subject[*]', 'patient'),
               ('Encounter', '$.subject[*]', 'patient'), ('Procedure', '$.subject[*]', 'patient'), ('DiagnosticReport', '$.subject[*]', 'patient'),
               ('Composition', '$.subject[*]', 'patient'), ('Condition', '$.subject[*]', 'patient'), ('DeviceRequest', '$.subject[*]', 'patient'),
               ('MedicationRequest', '$.subject[*]', 'patient'), ('QuestionnaireResponse', '$.subject[*]', 'patient'),
               ('Observation', '$.subject[*]', 'patient'),
               -- the resource belongs to the one it refers to
               ('Task', '$.focus[*]', 'parent'), ('Task', '$.basedOn[*]', 'parent'), ('Appointment', '$.basedOn[*]', 'parent'),
               ('DocumentReference', '$.context.related[*]', 'parent'), ('CommunicationRequest', '$.basedOn[*]', 'parent'),
               ('CommunicationRequest', '$.about[*]', 'parent'), ('Communication', '$.basedOn[*]', 'parent'), ('Communication', '$.about[*]', 'parent'),
               ('DiagnosticReport', '$.basedOn[*]', 'parent'), ('Procedure', '$.basedOn[*]', 'parent'), ('Encounter', '$.basedOn[*]', 'parent'),
               ('QuestionnaireResponse', '$.basedOn[*]', 'parent'), ('Observation', '$.basedOn[*]', 'parent'), ('Claim', '$.prescription[*]', 'parent'),
               ('Claim', '$.prescription.extension.valueReference[*]', 'parent'), ('Claim', '$.item.extension.valueReference[*]', 'parent'),
               ('ClaimResponse', '$.request[*]', 'parent'), ('DeviceRequest', '$.basedOn[*]', 'parent'), ('MedicationRequest', '$.basedOn[*]', 'parent'),
               -- the one it refers to belongs to the resource
               ('ServiceRequest', '$.reasonReference[*]', 'part'), ('ServiceRequest', '$.supportingInfo[*]', 'part'),
               ('ServiceRequest', '$.encounter[*]', 'part'), ('ServiceRequest', '$.insurance[*]', 'part'), ('Task', '$.output.valueReference[*]', 'part'),
               ('Task', '$.input.valueReference[*]', 'part'), ('Task', '$.reasonReference[*]', 'part'), ('Task', '$.insurance[*]', 'part'),
               ('Claim', '$.supportingInfo.valueReference[*]', 'part'), ('Claim', '$.diagnosis.diagnosisReference[*]', 'part'),
               ('Claim', '$.insurance.coverage[*]', 'part'), ('Composition', '$.section.entry[*]', 'part'),
               ('DiagnosticReport', '$.result[*]', 'part'), ('DiagnosticReport', '$.encounter[*]', 'part'),
               -- people and places that the case names
               ('ServiceRequest', '$.requester[*]', 'use'), ('ServiceRequest', '$.performer[*]', 'use'), ('ServiceRequest', '$.locationReference[*]', 'use'),
               ('Task', '$.requester[*]', 'use'), ('Task', '$.owner[*]', 'use'), ('Coverage', '$.payor[*]', 'use'), ('Claim', '$.provider[*]', 'use'),
               ('Claim', '$.insurer[*]', 'use'), ('Claim', '$.facility[*]', 'use'), ('ClaimResponse', '$.insurer[*]', 'use'),
               ('ClaimResponse', '$.requestor[*]', 'use'), ('Practitioner', '$.qualification.issuer[*]', 'use'), ('PractitionerRole', '$.practitioner[*]', 'use'),
               ('PractitionerRole', '$.organization[*]', 'use'), ('HealthcareService', '$.providedBy[*]', 'use'),
               ('Location', '$.managingOrganization[*]', 'use'), ('DocumentReference', '$.author[*]', 'use'), ('DiagnosticReport', '$.performer[*]', 'use'),
               ('Patient', '$.generalPractitioner[*]', 'use'), ('Patient', '$.managingOrganization[*]', 'use'),
               ('Encounter', '$.participant.individual[*]', 'use'), ('Encounter', '$.serviceProvider[*]', 'use'),
               ('DeviceRequest', '$.requester[*]', 'use'), ('DeviceRequest', '$.performer[*]', 'use'), ('MedicationRequest', '$.requester[*]', 'use')) r (type, path, role) ON r.type = e.type
    CROSS JOIN LATERAL jsonb_path_query(e.resource, r.path) q (reference)
    WHERE q.reference <> 'null';
END $$;
COMMENT ON FUNCTION referral.fhir_references(jsonb, integer[], text[], jsonb[]) IS
'The references of FHIR R4 that map_fhir() follows: the number of the resource that has one, its role, where it stands, and the number of the resource that it means, null when the message does not have that. Roles: patient, whom it is about; parent, what the resource belongs to; part, what belongs to the resource; actor and use, people and places. Arguments as fhir_entries() gives them.';

CREATE FUNCTION referral.fhir_rank(type text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE type WHEN 'ServiceRequest' THEN 1 WHEN 'Claim' THEN 2 WHEN 'ClaimResponse' THEN 3 WHEN 'Task' THEN 4
                 WHEN 'Appointment' THEN 5 WHEN 'DiagnosticReport' THEN 6 WHEN 'Composition' THEN 7
                 WHEN 'CommunicationRequest' THEN 8 WHEN 'Communication' THEN 9 END;
COMMENT ON FUNCTION referral.fhir_rank(text) IS
'Which type of resource makes a case: of those that belong together the one with the lowest number. Null for types that make none.';

CREATE FUNCTION referral.fhir_group(type text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN type IN ('Patient', 'Coverage', 'Encounter', 'Procedure') THEN 'patient'
            WHEN type IN ('Condition', 'Observation', 'DeviceRequest', 'MedicationRequest') THEN 'detail'
            WHEN type IN ('DocumentReference', 'QuestionnaireResponse') THEN 'document'
            WHEN type IN ('Organization', 'Practitioner', 'PractitionerRole', 'Location', 'HealthcareService', 'ValueSet') THEN 'directory' END;
COMMENT ON FUNCTION referral.fhir_group(text) IS
'What a type of resource is that makes no case by its rank: patient, of a patient; detail, of a patient and never alone; document; directory. Null for others.';

CREATE FUNCTION referral.fhir_heads(keys jsonb, roots integer[], types text[], resources jsonb[], is_bundle boolean)
RETURNS TABLE (n integer, head integer, who text, unresolved jsonb)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF cardinality(types) = 1 THEN
        n := 1;
        head := CASE WHEN referral.fhir_rank(types[1]) IS NOT NULL OR referral.fhir_group(types[1]) IN ('patient', 'document') THEN 1
                     WHEN referral.fhir_group(types[1]) = 'directory' THEN 0 ELSE -1 END;
        -- on its own it may refer to what is elsewhere, but not to what it should contain
        IF is_bundle OR resources[1]::text LIKE '%"reference": "#%' THEN
            unresolved := (SELECT jsonb_agg(jsonb_build_object('path', r.path, 'role', r.role, 'reference', r.reference))
                           FROM referral.fhir_references(keys, roots, types, resources) r WHERE r.target IS NULL);
        END IF;
        RETURN NEXT;
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE entry AS (
        SELECT e.n::integer, e.type, referral.fhir_rank(e.type) AS rank, referral.fhir_group(e.type) AS kind
        FROM unnest(types) WITH ORDINALITY e (type, n)
    ), reference AS MATERIALIZED (
        SELECT * FROM referral.fhir_references(keys, roots, types, resources)
    ), edge AS (
        SELECT r.n AS part, r.target AS whole FROM reference r WHERE r.role = 'parent' AND r.target IS NOT NULL
        UNION
        SELECT r.target, r.n FROM reference r WHERE r.role = 'part' AND r.target IS NOT NULL
        UNION
        -- an answer that names a request by a number of its own, in a message with one request, is the answer to that
        SELECT a.n, (SELECT min(c.n) FROM entry c WHERE c.type = 'Claim') FROM entry a
        WHERE a.type = 'ClaimResponse' AND 1 = (SELECT count(*) FROM entry c WHERE c.type = 'Claim')
    ), reach (n, whole, depth) AS (
        SELECT e.n, e.n, 0 FROM entry e
        UNION
        SELECT r.n, e.whole, r.depth + 1 FROM reach r JOIN edge e ON e.part = r.whole WHERE r.depth < 4
    ), linked AS (
        SELECT DISTINCT ON (r.n) r.n, r.whole AS head
        FROM reach r JOIN entry e ON e.n = r.whole
        WHERE e.rank IS NOT NULL ORDER BY r.n, e.rank, r.whole
    ), subject AS (
        SELECT DISTINCT ON (s.n) s.n, s.who
        FROM (SELECT r.n, coalesce(r.target::text, referral.fhir_reference_key(referral.fhir_text(r.reference -> 'reference')),
                                   r.reference #>> '{identifier,value}')
              FROM reference r LEFT JOIN entry t ON t.n = r.target
              WHERE r.role = 'patient' AND coalesce(t.type, 'Patient') = 'Patient'
                 OR r.role = 'actor' AND coalesce(t.type, referral.fhir_reference_type(r.reference)) = 'Patient'
              UNION ALL
              SELECT e.n, e.n::text FROM entry e WHERE e.type = 'Patient'
              UNION ALL
              -- who else, when the message has one patient
              SELECT e.n, (SELECT min(p.n)::text FROM entry p WHERE p.type = 'Patient') FROM entry e
              WHERE 1 = (SELECT count(*) FROM entry p WHERE p.type = 'Patient')
                AND NOT EXISTS (SELECT FROM reference r WHERE r.n = e.n AND r.role = 'patient')) s (n, who)
        ORDER BY s.n, s.who
    ), case_of AS (
        SELECT s.who, min(l.head) AS head, min(l.head) FILTER (WHERE e.rank = 1) AS request,
               count(DISTINCT l.head) FILTER (WHERE e.rank = 1) AS requests
        FROM subject s JOIN linked l ON l.head = s.n AND l.n = s.n JOIN entry e ON e.n = l.head
        GROUP BY s.who
    ), settled AS (
        SELECT e.n, s.who, e.kind,
               CASE WHEN l.head IS NOT NULL AND e.type NOT IN ('Patient', 'Coverage') THEN l.head
                    WHEN e.kind IN ('patient', 'detail') THEN c.head
                    -- what comes along with the only request for a patient is about it
                    WHEN e.kind = 'document' AND c.requests = 1 THEN c.request END AS head
        FROM entry e LEFT JOIN linked l ON l.n = e.n LEFT JOIN subject s ON s.n = e.n LEFT JOIN case_of c ON c.who = s.who
    )
    SELECT s.n,
           CASE WHEN s.head IS NOT NULL THEN s.head
                WHEN s.kind = 'directory' THEN
                    CASE WHEN u.n IS NULL THEN 0 END
                WHEN s.kind = 'patient' THEN min(s.n) FILTER (WHERE s.head IS NULL AND s.kind = 'patient') OVER (PARTITION BY s.who)
                WHEN s.kind = 'document' THEN s.n
                ELSE -1 END,
           s.who, m.list
    FROM settled s
    LEFT JOIN (SELECT DISTINCT r.target AS n FROM reference r JOIN entry e ON e.n = r.n
               -- what only a place or a patient names is not told with the case
               WHERE r.role IN ('use', 'actor') AND e.type NOT IN ('Location', 'Patient')) u ON u.n = s.n
    LEFT JOIN (SELECT r.n, jsonb_agg(jsonb_build_object('path', r.path, 'role', r.role, 'reference', r.reference)) AS list
               FROM reference r WHERE r.target IS NULL GROUP BY r.n) m ON m.n = s.n
    ORDER BY s.n;
END $$;
COMMENT ON FUNCTION referral.fhir_heads(jsonb, integer[], text[], jsonb[], boolean) IS
'Which resources of a message make one case: head is the number of the one that leads it; 0 for the directory, -1 for what belongs to nothing, null for a person or a place that cases only name. who tells the patients apart that they are about; unresolved holds the references to what the message does not have; of a resource that is no bundle only when it refers to something within itself. Arguments as fhir_entries() gives them.';
