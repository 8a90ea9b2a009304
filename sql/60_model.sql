-- model: facts about a referral that guards may ask for

CREATE FUNCTION referral.has_document(org_id bigint, referral_id bigint, type text) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM referral.document d
                   WHERE d.org_id = has_document.org_id AND d.referral_id = has_document.referral_id
                     AND d.type = has_document.type AND d.status = 'current')
$$;
COMMENT ON FUNCTION referral.has_document(bigint, bigint, text) IS
'Is a current document of the type linked to this very referral? Reads referral.document with the caller''s rights. Null for null. CMS50: a report that is not linked to the referral does not close its loop.';

CREATE FUNCTION referral.has_final_report(org_id bigint, referral_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'has_final_report';
COMMENT ON FUNCTION referral.has_final_report(bigint, bigint) IS
'Is a final or amended report linked to this very referral? Reads referral.consult_report with the caller''s rights. Null for null. CMS50: a report that is not linked to the referral does not close its loop.';

CREATE TYPE referral.network_status AS ENUM ('in_network', 'out_of_network', 'unknown');
COMMENT ON TYPE referral.network_status IS 'Is the performer of a referral in the network of its payer? unknown: there are no contracts to tell by.';
CREATE TYPE referral.decision AS ENUM ('accepted', 'declined', 'returned', 'redirected');
COMMENT ON TYPE referral.decision IS 'What the performer decided about a request: accepted, declined, returned for more information, redirected to another.';

CREATE FUNCTION referral.network_status_of(org_id bigint, payer_id bigint, plan_id bigint, practitioner_id bigint,
    provider_organization_id bigint, healthcare_service_id bigint, on_date date DEFAULT current_date) RETURNS referral.network_status
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF payer_id IS NULL OR num_nonnulls(practitioner_id, provider_organization_id, healthcare_service_id) = 0
       OR NOT EXISTS (SELECT FROM referral.network_contract c
                      WHERE c.org_id = network_status_of.org_id AND c.payer_id = network_status_of.payer_id) THEN
        RETURN 'unknown';
    END IF;
    RETURN CASE WHEN EXISTS (
        SELECT FROM referral.network_contract c
        WHERE c.org_id = network_status_of.org_id AND c.payer_id = network_status_of.payer_id AND c.valid @> on_date
          AND (c.plan_id IS NULL OR c.plan_id = network_status_of.plan_id)
          AND (c.practitioner_id = network_status_of.practitioner_id
               OR c.provider_organization_id = network_status_of.provider_organization_id
               OR c.healthcare_service_id = network_status_of.healthcare_service_id
               OR c.provider_organization_id IN (
                   SELECT p.provider_organization_id FROM referral.practitioner_role p
                   WHERE p.org_id = network_status_of.org_id AND p.practitioner_id = network_status_of.practitioner_id AND p.active)))
        THEN 'in_network' ELSE 'out_of_network' END;
END $$;
COMMENT ON FUNCTION referral.network_status_of(bigint, bigint, bigint, bigint, bigint, bigint, date) IS
'Is a practitioner, an organisation or a service in the network of a payer, and of its plan, on a day? By referral.network_contract: the practitioner, an organisation he works for, the organisation or the service. unknown when the payer has no contracts here, or payer or performer are null. Null plan: only contracts for all plans count.';

CREATE FUNCTION referral.network_status(org_id bigint, referral_id bigint, on_date date DEFAULT current_date) RETURNS referral.network_status
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT referral.network_status_of(r.org_id, r.payer_id, r.plan_id, r.performer_id, r.performing_organization_id,
                                      r.healthcare_service_id, on_date)
    FROM referral.referral r
    WHERE r.org_id = network_status.org_id AND r.referral_id = network_status.referral_id
$$;
COMMENT ON FUNCTION referral.network_status(bigint, bigint, date) IS
'Is who the referral goes to in the network of its payer, and of its plan, on a day? See network_status_of(). Null for null and for a referral that is not visible.';

CREATE FUNCTION referral.coverage_on(org_id bigint, patient_id bigint, on_date date DEFAULT current_date) RETURNS TABLE (coverage_id bigint, priority integer, payer_id bigint, plan_id bigint, subscriber_id text, period daterange)
LANGUAGE sql STABLE STRICT ROWS 2 SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.coverage_id, c.priority, c.payer_id, c.plan_id, c.subscriber_id, c.period FROM referral.coverage c
    WHERE c.org_id = coverage_on.org_id AND c.patient_id = coverage_on.patient_id AND c.status = 'active' AND c.period @> on_date
    ORDER BY c.priority
$$;
COMMENT ON FUNCTION referral.coverage_on(bigint, bigint, date) IS
'The coverage of a patient that is in force on a day, the one that pays first at the top. No rows when there is none, and for null.';

CREATE FUNCTION referral.coverage_priority() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- a merge gives a patient the coverage of another, which may be the same one, written down twice
    NEW.priority := coalesce(OLD.stated_priority, OLD.priority);
    NEW.stated_priority := NULL;
    IF NEW.status = 'active' AND EXISTS (
        SELECT FROM referral.coverage c
        WHERE c.org_id = NEW.org_id AND c.patient_id = NEW.patient_id AND c.coverage_id <> NEW.coverage_id
          AND c.status = 'active' AND c.priority = NEW.priority AND c.period && NEW.period) THEN
        NEW.stated_priority := NEW.priority;
        NEW.priority := (SELECT max(c.priority) + 1 FROM referral.coverage c
                         WHERE c.org_id = NEW.org_id AND c.patient_id = NEW.patient_id AND c.coverage_id <> NEW.coverage_id);
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.coverage_priority() IS
'BEFORE row trigger of referral.coverage, when merge_patient() or unmerge_patient() gives it another patient: where it would overlap, it goes behind the other; back with its own patient it has its own priority again.';
REVOKE ALL ON FUNCTION referral.coverage_priority() FROM PUBLIC;
