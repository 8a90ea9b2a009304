-- fhir: what a sender wrote that cannot be used

CREATE FUNCTION referral.fhir_finding(code text, severity text, attribute text, "position" text, detail text, value jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_finding';
COMMENT ON FUNCTION referral.fhir_finding(text, text, text, text, text, jsonb) IS
'A finding of a case. value is what was sent, up to 200 characters, and is left out when it is an object or an array.';

CREATE FUNCTION referral.fhir_findings(types text[], positions text[], resources jsonb[]) RETURNS TABLE (n integer, finding jsonb)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
    SELECT e.n::integer, referral.fhir_finding(w.code, c.severity, c.attribute, e.position || replace(c.pointer, '.', '/'), w.detail, v.value)
    FROM unnest(types, positions, resources) WITH ORDINALITY e (type, position, resource, n)
    JOIN (VALUES
        ('Patient', '$.birthDate'::jsonpath, '.birthDate', 'date', 'patient.birth_date', 'warning', NULL::text[]),
        ('Patient', '$.gender', '.gender', 'code', 'patient.sex', 'warning', '{male,female,other,unknown}'),
        ('Patient', '$.name.family', '.name.family', 'text', 'patient.family', 'warning', NULL),
        ('Patient', '$.name.given[*]', '.name.given', 'text', 'patient.given', 'warning', NULL),
        ('Patient', '$.identifier.value', '.identifier.value', 'text', 'patient.identifiers', 'warning', NULL),
        ('Patient', '$.telecom.value', '.telecom.value', 'text', 'patient.phone', 'warning', NULL),
        ('Patient', '$.address.line[*]', '.address.line', 'text', 'patient.address', 'warning', NULL),
        ('Patient', '$.address.city', '.address.city', 'text', 'patient.city', 'warning', NULL),
        ('Patient', '$.address.state', '.address.state', 'text', 'patient.state', 'warning', NULL),
        ('Patient', '$.address.postalCode', '.address.postalCode', 'text', 'patient.postal_code', 'warning', NULL),
        ('Patient', '$.multipleBirthInteger', '.multipleBirthInteger', 'position', 'patient.birth_order', 'warning', NULL),
        ('Coverage', '$.period.start', '.period.start', 'date', 'coverage.start', 'warning', NULL),
        ('Coverage', '$.period.end', '.period.end', 'date', 'coverage.end', 'warning', NULL),
        ('Coverage', '$.order', '.order', 'position', 'coverage.priority', 'warning', NULL),
        ('Coverage', '$.subscriberId', '.subscriberId', 'text', 'coverage.subscriber_id', 'warning', NULL),
        ('ServiceRequest', '$.authoredOn', '.authoredOn', 'time', 'referral.authored_at', 'warning', NULL),
        ('ServiceRequest', '$.status', '.status', 'code', 'referral.state', 'warning',
         '{draft,active,on-hold,revoked,completed,entered-in-error,unknown}'),
        ('ServiceRequest', '$.intent', '.intent', 'code', 'referral.intent', 'warning',
         '{proposal,plan,directive,order,original-order,reflex-order,filler-order,instance-order,option}'),
        ('ServiceRequest', '$.priority', '.priority', 'code', 'referral.urgency', 'warning', '{routine,urgent,asap,stat}'),
        ('ServiceRequest', '$.identifier.value', '.identifier.value', 'text', 'referral.identifiers', 'warning', NULL),
        ('ServiceRequest', '$.code.coding.code', '.code.coding.code', 'text', 'referral.service_code', 'warning', NULL),
        ('ServiceRequest', '$.reasonCode.coding.code', '.reasonCode.coding.code', 'text', 'referral.diagnoses', 'warning', NULL),
        ('ServiceRequest', '$.note.text', '.note.text', 'text', 'referral.comment', 'info', NULL),
        ('Condition', '$.code.coding.code', '.code.coding.code', 'text', 'referral.diagnoses', 'warning', NULL),
        ('Task', '$.status', '.status', 'code', 'referral.state', 'warning',
         '{draft,requested,received,accepted,rejected,ready,cancelled,in-progress,on-hold,failed,completed,entered-in-error}'),
        ('Task', '$.executionPeriod.start', '.executionPeriod.start', 'time', 'report.started_at', 'warning', NULL),
        ('Task', '$.executionPeriod.end', '.executionPeriod.end', 'time', 'report.ended_at', 'warning', NULL),
        ('Task', '$.statusReason.text', '.statusReason.text', 'text', 'referral.comment', 'info', NULL),
        ('Appointment', '$.status', '.status', 'code', 'appointment.status', 'warning',
         '{proposed,pending,booked,arrived,fulfilled,cancelled,noshow,entered-in-error,checked-in,waitlist}'),
        ('Appointment', '$.start', '.start', 'time', 'appointment.starts_at', 'warning', NULL),
        ('Appointment', '$.end', '.end', 'time', 'appointment.ends_at', 'warning', NULL),
        ('Encounter', '$.period.start', '.period.start', 'time', 'encounter.started_at', 'warning', NULL),
        ('Encounter', '$.period.end', '.period.end', 'time', 'encounter.ended_at', 'warning', NULL),
        ('Procedure', '$.performedPeriod.start', '.performedPeriod.start', 'time', 'encounter.started_at', 'warning', NULL),
        ('Procedure', '$.performedPeriod.end', '.performedPeriod.end', 'time', 'encounter.ended_at', 'warning', NULL),
        ('Procedure', '$.performedDateTime', '.performedDateTime', 'time', 'encounter.started_at', 'warning', NULL),
        ('Claim', '$.created', '.created', 'time', 'authorization.requested_at', 'warning', NULL),
        ('Claim', '$.item.sequence', '.item.sequence', 'position', 'authorization.items.sequence', 'warning', NULL),
        ('Claim', '$.item.quantity.value', '.item.quantity.value', 'number', 'authorization.items.quantity', 'warning', NULL),
        ('Claim', '$.item.productOrService.coding.code', '.item.productOrService.coding.code', 'text', 'authorization.items.code', 'warning', NULL),
        ('ClaimResponse', '$.created', '.created', 'time', 'authorization.decided_at', 'warning', NULL),
        ('ClaimResponse', '$.outcome', '.outcome', 'code', 'authorization.status', 'warning', '{queued,complete,error,partial}'),
        ('ClaimResponse', '$.item.itemSequence[*]', '.item.itemSequence', 'position', 'authorization.items.sequence', 'warning', NULL),
        ('ClaimResponse', '$.preAuthPeriod.start', '.preAuthPeriod.start', 'date', 'authorization.valid_from', 'warning', NULL),
        ('ClaimResponse', '$.preAuthPeriod.end', '.preAuthPeriod.end', 'date', 'authorization.valid_to', 'warning', NULL),
        ('DiagnosticReport', '$.issued', '.issued', 'time', 'report.ended_at', 'warning', NULL),
        ('DiagnosticReport', '$.effectiveDateTime', '.effectiveDateTime', 'time', 'report.ended_at', 'warning', NULL),
        ('Communication', '$.sent', '.sent', 'time', 'communication.sent_at', 'warning', NULL),
        ('Practitioner', '$.name.family', '.name.family', 'text', 'practitioner.name', 'warning', NULL),
        ('Practitioner', '$.identifier.value', '.identifier.value', 'text', 'practitioner.identifiers', 'warning', NULL),
        ('Organization', '$.name', '.name', 'text', 'organization.name', 'warning', NULL)
    ) c (type, path, pointer, kind, attribute, severity, codes) ON c.type = e.type
    CROSS JOIN LATERAL jsonb_path_query(e.resource, c.path) v (value)
    CROSS JOIN LATERAL (SELECT
        CASE WHEN c.kind NOT IN ('number', 'position') AND jsonb_typeof(v.value) NOT IN ('string', 'number') THEN 'invalid_value'
             WHEN c.kind = 'date' AND referral.fhir_date(v.value #>> '{}') IS NULL THEN 'invalid_date'
             WHEN c.kind = 'time' AND (referral.fhir_time(v.value #>> '{}') IS NULL
                                       OR v.value #>> '{}' !~ '^.{10}$|(Z|[+-][0-9]{2}:[0-9]{2})$') THEN 'invalid_time'
             WHEN c.kind = 'code' AND v.value #>> '{}' <> ALL (c.codes) THEN 'invalid_code'
             WHEN c.kind = 'number' AND referral.fhir_number(v.value) IS NULL THEN 'invalid_value'
             WHEN c.kind = 'position' AND (referral.fhir_number(v.value) >= 1) IS NOT TRUE THEN 'invalid_value' END,
        CASE WHEN c.kind = 'date' AND v.value #>> '{}' ~ '^[0-9]{4}(-[0-9]{2})?$' THEN 'a year or a month is no day'
             WHEN c.kind = 'time' AND referral.fhir_time(v.value #>> '{}') IS NOT NULL THEN 'a time without a zone is taken as UTC' END
        ) w (code, detail)
    WHERE w.code IS NOT NULL
    UNION ALL
    SELECT e.n::integer, referral.fhir_finding('invalid_value', 'warning', NULL, e.position, 'no FHIR resource')
    FROM unnest(types, positions) WITH ORDINALITY e (type, position, n) WHERE e.type IS NULL;
END $$;
COMMENT ON FUNCTION referral.fhir_findings(text[], text[], jsonb[]) IS
'What of the resources of a message is not of its type, no date, no time or no code of its list, for the elements that map_fhir() reads: the number of the resource, and the finding. The position is a JSON pointer; in a list without the number of the element. Arguments as fhir_entries() gives them.';
