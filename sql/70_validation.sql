-- validation: is a referral complete, what is missing, and who is asked for it

CREATE FUNCTION referral.required_field_condition(field text, condition text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(condition,
        CASE WHEN field IN ('patient', 'coverage') THEN 'true'
             ELSE 'nullif(btrim(' || quote_ident(split_part(field, '.', -1)) || '::text), '''') IS NOT NULL' END)
$$;
COMMENT ON FUNCTION referral.required_field_condition(text, text) IS
'What a row of referral.required_field_rule tests (its column tested): its condition, or, where that is null, that the column is neither null nor blank (of patient and coverage as a whole: that there is one). Null when both are null.';

CREATE FUNCTION referral.required_field_relation(field text) RETURNS regclass
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT to_regclass('referral.' || coalesce(substring(field FROM '^(patient|coverage)(\.|$)'), 'referral'))
$$;
COMMENT ON FUNCTION referral.required_field_relation(text) IS
'The table whose rows a rule about a field tests: referral.patient for patient and patient.…, referral.coverage for coverage and coverage.…, else referral.referral. Null for null.';

CREATE FUNCTION referral.required_field_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target regclass := referral.required_field_relation(NEW.field);
    column_name text := split_part(NEW.field, '.', -1);
BEGIN
    IF NEW.field NOT IN ('patient', 'coverage')
       AND (NEW.field !~ '^((patient|coverage)\.)?[^.]+$'
            OR NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = target AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped)) THEN
        RAISE EXCEPTION 'field "%" of required field rule "%" does not exist', NEW.field, NEW.name
            USING ERRCODE = 'RF011', DETAIL = format('%s has no column %I.', target, column_name),
                  HINT = 'Write a column of referral.referral, or patient, patient.column, coverage or coverage.column.';
    END IF;
    PERFORM referral.check_rule('referral.referral', NEW.applies_when);
    PERFORM referral.check_rule(target, referral.required_field_condition(NEW.field, NEW.condition));
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.required_field_check() IS
'BEFORE row trigger of referral.required_field_rule: the field exists, and its expressions compile (RF011).';

CREATE FUNCTION referral.document_requirement_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.check_rule('referral.referral', NEW.applies_when);
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.document_requirement_check() IS
'BEFORE row trigger of referral.document_requirement: its expression compiles (RF011).';

CREATE FUNCTION referral.validation_expressions() RETURNS TABLE (rule_version_id bigint, rule text, expression text, relation regclass)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- not there yet after the extension itself was upgraded, before deploy()
    IF to_regclass('referral.required_field_rule') IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT f.rule_version_id, format('condition of required field rule %I', f.name),
               f.tested, referral.required_field_relation(f.field)
        FROM referral.required_field_rule f;
END $$;
COMMENT ON FUNCTION referral.validation_expressions() IS
'What rules about fields test, for rule_expressions().';

CREATE FUNCTION referral.check_validation_version(rule_version_id bigint) RETURNS void
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bad text;
BEGIN
    IF to_regclass('referral.required_field_rule') IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT r.template, ', ') INTO bad
    FROM (SELECT f.template FROM referral.required_field_rule f WHERE f.rule_version_id = check_validation_version.rule_version_id
          UNION ALL
          SELECT d.template FROM referral.document_requirement d WHERE d.rule_version_id = check_validation_version.rule_version_id) r
    WHERE r.template IS NOT NULL
      AND NOT EXISTS (SELECT FROM referral.outreach_template o JOIN referral.rule_version v USING (rule_version_id)
                      WHERE o.name = r.template AND (v.status = 'active' OR v.rule_version_id = check_validation_version.rule_version_id));
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'outreach template "%" is not active', bad
            USING ERRCODE = 'RF011', DETAIL = 'A rule names it, so nobody could be asked for what is missing.',
                  HINT = 'Activate a version of the templates that has it first.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_validation_version(bigint) IS
'The part of check_rule_version() about validation: a template that a rule names is there (RF011). Null for null.';

CREATE FUNCTION referral.validate(org_id bigint, referral_id bigint) RETURNS TABLE (
    severity text, kind text, code text, field_or_document text, message text, how_to_fix text, template text,
    rule_id bigint, rule_version bigint)
LANGUAGE C STABLE STRICT ROWS 5 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'validate';
COMMENT ON FUNCTION referral.validate(bigint, bigint) IS
'What a referral lacks by the active rules of referral.required_field_rule and referral.document_requirement, as the row stands now: severity missing, invalid or warning; kind field or document; code: the rule''s name; what is wrong and how to mend it; no rows when it lacks nothing. Reads with the caller''s rights and writes nothing; check_referral() records it. RF019 when the referral does not exist or is not visible. Null for null: no rows.';

CREATE FUNCTION referral.is_complete(org_id bigint, referral_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'is_complete';
COMMENT ON FUNCTION referral.is_complete(bigint, bigint) IS
'Does validate() find nothing missing or invalid? Warnings do not count. For guards: it looks at the rows as they are stored, so what the very UPDATE that it guards fills in does not count yet. RF019 when the referral does not exist or is not visible. Null for null.';

CREATE FUNCTION referral.missing_documents(org_id bigint, referral_id bigint) RETURNS TABLE (
    document_type text, severity text, code text, message text, how_to_fix text)
LANGUAGE sql STABLE STRICT ROWS 3 SET search_path = pg_catalog, pg_temp AS $$
    SELECT v.field_or_document, v.severity, v.code, v.message, v.how_to_fix
    FROM referral.validate(missing_documents.org_id, missing_documents.referral_id) v WHERE v.kind = 'document'
$$;
COMMENT ON FUNCTION referral.missing_documents(bigint, bigint) IS
'The documents that validate() finds missing, as the rows stand now. RF019 when the referral does not exist or is not visible. Null for null: no rows.';

CREATE FUNCTION referral.check_referral(org_id bigint, referral_id bigint) RETURNS boolean
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'check_referral';
COMMENT ON FUNCTION referral.check_referral(bigint, bigint) IS
'Runs validate(), records the result in referral.validation_result, opens and closes exception items, drafts outreach. Returns: is nothing missing or invalid? A check that finds the same by the same rules as the last one writes nothing. A referral in a terminal state is not judged any more: what the last check found, null without one; what was open is closed, with a result that was judged by no rules. Reads and writes with the owner''s rights, for organisations that the session works for; the rules are asked with the caller''s. RF019 when the referral does not exist or is not visible. Null for null.';

CREATE FUNCTION referral.check_patient(org_id bigint, patient_id bigint) RETURNS integer
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    r record;
    checked integer := 0;
BEGIN
    FOR r IN SELECT x.referral_id FROM referral.referral x
             WHERE x.org_id = check_patient.org_id AND x.patient_id = check_patient.patient_id
               AND EXISTS (SELECT FROM referral.exception_item e
                           WHERE e.org_id = x.org_id AND e.entity = 'referral' AND e.entity_id = x.referral_id
                             AND e.category IN ('policy', 'eligibility', 'missing_document') AND e.status IN ('open', 'in_progress'))
             ORDER BY x.referral_id LOOP
        PERFORM referral.check_referral(check_patient.org_id, r.referral_id);
        checked := checked + 1;
    END LOOP;
    RETURN checked;
END $$;
COMMENT ON FUNCTION referral.check_patient(bigint, bigint) IS
'check_referral() of the referrals of a patient about which something is open, after the patient or a coverage was completed; returns how many. Messages do it by themselves. Null for null.';

CREATE FUNCTION referral.check_after_document() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
BEGIN
    -- whoever is checking one now may not see the document, and is waited for
    FOR r IN SELECT x.referral_id FROM referral.referral x
             WHERE x.org_id = NEW.org_id AND x.referral_id IN (NEW.referral_id, CASE TG_OP WHEN 'UPDATE' THEN OLD.referral_id END)
             ORDER BY x.referral_id FOR NO KEY UPDATE LOOP
        -- a new document counts for a referral that lacks one; one that changes, for any that was checked
        IF EXISTS (SELECT FROM (SELECT v.findings FROM referral.validation_result v
                                WHERE v.org_id = NEW.org_id AND v.referral_id = r.referral_id
                                ORDER BY v.validation_result_id DESC LIMIT 1) l
                   WHERE TG_OP = 'UPDATE' OR l.findings @> '[{"kind": "document"}]') THEN
            PERFORM referral.check_referral(NEW.org_id, r.referral_id);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.check_after_document() IS
'AFTER row trigger of referral.document: a referral that lacked a document is checked again; when a document changes its referral, type or status, those that it belongs and belonged to, if they were ever checked.';

CREATE FUNCTION referral.outreach_placeholders() RETURNS TABLE (placeholder text, recipients text[], description text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 13 SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.placeholder, p.recipients, p.description
    FROM (VALUES
        ('organization', '{patient,requester,performer,payer}'::text[], 'the name of this organisation'),
        ('referral_number', '{patient,requester,performer,payer}', 'the requester''s order number, else the number here'),
        ('received_on', '{patient,requester,performer,payer}', 'the date it was received'),
        ('missing', '{patient,requester,performer,payer}', 'what is missing, a line for each finding'),
        ('requester_name', '{patient,requester,performer,payer}', 'who refers'),
        ('specialty', '{requester,performer,payer}', 'the specialty that is asked'),
        ('service', '{requester,performer,payer}', 'the service that is asked for'),
        ('urgency', '{requester,performer,payer}', 'routine, urgent, asap or stat'),
        ('patient_name', '{requester,performer,payer}', 'the patient''s given and family name'),
        ('patient_birth_date', '{requester,performer,payer}', 'the patient''s date of birth'),
        ('patient_given', '{patient}', 'the patient''s given name'),
        ('subscriber_id', '{payer}', 'the member''s number with the payer'),
        ('appointment_at', '{patient,requester,performer}', 'when the appointment is, in the time of the site')
    ) p (placeholder, recipients, description)
$$;
COMMENT ON FUNCTION referral.outreach_placeholders() IS
'The placeholders that an outreach_template may use, and which recipients may be told what they stand for.';

CREATE FUNCTION referral.outreach_template_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    whole text := coalesce(NEW.subject, '') || NEW.body;
    bad text;
BEGIN
    SELECT string_agg(DISTINCT m[1], ', ') INTO bad FROM regexp_matches(whole, '\{\{([^{}]*)\}\}', 'g') m
    WHERE NOT EXISTS (SELECT FROM referral.outreach_placeholders() p WHERE p.placeholder = m[1] AND NEW.recipient = ANY (p.recipients));
    IF bad IS NULL AND regexp_replace(whole, '\{\{[^{}]*\}\}', '', 'g') ~ '\{\{|\}\}' THEN
        bad := 'an open brace';
    END IF;
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'outreach template "%" cannot be filled in', NEW.name
            USING ERRCODE = 'RF011', DETAIL = format('Not a placeholder for the %s: %s.', NEW.recipient, bad),
                  HINT = (SELECT 'Placeholders: ' || string_agg(p.placeholder, ', ') || '.'
                          FROM referral.outreach_placeholders() p WHERE NEW.recipient = ANY (p.recipients));
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.outreach_template_check() IS
'BEFORE row trigger of referral.outreach_template: each {{placeholder}} is one, and the recipient may be told it (RF011).';

CREATE FUNCTION referral.outreach_facts(org_id bigint, referral_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- in PL/pgSQL the plan is kept, which costs more than to run it
    RETURN (SELECT jsonb_build_object(
        'organization', o.name,
        'referral_number', coalesce(r.placer_order_number, r.referral_id::text),
        'received_on', (r.received_at AT TIME ZONE coalesce(s.timezone, 'UTC'))::date,
        'requester_name', coalesce(q.name, g.name),
        'specialty', coalesce(y.title, r.specialty),
        'service', coalesce(r.service_text, r.service_code),
        'urgency', r.urgency,
        'patient_name', nullif(concat_ws(' ', p.given, p.family), ''),
        'patient_birth_date', p.birth_date,
        'patient_given', p.given,
        'patient_language', p.language,
        'subscriber_id', k.subscriber_id,
        'appointment_at', to_char(r.scheduled_for AT TIME ZONE coalesce(s.timezone, 'UTC'), 'YYYY-MM-DD HH24:MI'))
    FROM referral.referral r
    JOIN referral.organization o ON o.org_id = r.org_id
    LEFT JOIN referral.patient p ON p.org_id = r.org_id AND p.patient_id = r.patient_id
    LEFT JOIN referral.coverage k ON k.org_id = r.org_id AND k.coverage_id = r.coverage_id
    LEFT JOIN referral.practitioner q ON q.org_id = r.org_id AND q.practitioner_id = r.requester_id
    LEFT JOIN referral.provider_organization g ON g.org_id = r.org_id AND g.provider_organization_id = r.requesting_organization_id
    LEFT JOIN referral.specialty y ON y.org_id = r.org_id AND y.code = r.specialty
    LEFT JOIN referral.site s ON s.org_id = r.org_id AND s.site_id = r.site_id
    WHERE r.org_id = outreach_facts.org_id AND r.referral_id = outreach_facts.referral_id);
END $$;
COMMENT ON FUNCTION referral.outreach_facts(bigint, bigint) IS
'What the placeholders of outreach templates stand for, for one referral, but for missing. Reads with the caller''s rights. Null for null, and for a referral that is not visible.';

CREATE FUNCTION referral.draft_outreach(org_id bigint, referral_id bigint, former jsonb, present jsonb) RETURNS void
LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'draft_outreach';
COMMENT ON FUNCTION referral.draft_outreach(bigint, bigint, jsonb, jsonb) IS
'Writes a draft into referral.communication for each template that findings name, when something new is missing: one open draft per referral and template. A draft that nobody has approved follows what is missing, and becomes not-done when nothing is. check_referral() does that by itself.';

CREATE FUNCTION referral.communication_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.approved_by IS NULL THEN
        NEW.approved_at := NULL;
    ELSIF TG_OP = 'INSERT' OR OLD.approved_by IS NULL THEN
        IF referral.current_actor_kind(NEW.org_id) = 'ai' THEN
            RAISE EXCEPTION 'a model does not approve what is sent'
                USING ERRCODE = 'RF003', DETAIL = 'Somebody is to have read it who answers for it.', HINT = 'Leave approved_by to a person.';
        END IF;
        NEW.approved_by := referral.current_actor();
        NEW.approved_at := clock_timestamp();
    ELSE
        NEW.approved_by := OLD.approved_by;
        NEW.approved_at := OLD.approved_at;
    END IF;
    -- what comes in tells itself when it was sent
    IF NEW.status = 'completed' AND NEW.direction = 'out' AND TG_OP = 'UPDATE' AND OLD.status IN ('preparation', 'in-progress') THEN
        NEW.sent_at := coalesce(NEW.sent_at, clock_timestamp());
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.communication_guard() IS
'BEFORE row trigger of referral.communication: whoever sets approved_by approves, and is noted with the time, whatever he writes there; it stays until it is emptied. RF003 when a model approves. sent_at of what is completed is now, where it is not told.';

REVOKE ALL ON FUNCTION referral.communication_guard(), referral.check_referral(bigint, bigint), referral.check_patient(bigint, bigint),
    referral.draft_outreach(bigint, bigint, jsonb, jsonb), referral.required_field_check(), referral.document_requirement_check(),
    referral.outreach_template_check(), referral.check_after_document() FROM PUBLIC;
