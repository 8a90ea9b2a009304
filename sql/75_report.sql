-- report: measures

CREATE FUNCTION referral.value_set_key(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN regexp_replace(lower(name), '[^a-z0-9]', '', 'g');
COMMENT ON FUNCTION referral.value_set_key(text) IS
'The name of a value set without what its writers do differently: "Office Visit" and OfficeVisit are one. Null for null.';

CREATE FUNCTION referral.load_value_set(org_id bigint, value_set jsonb) RETURNS integer
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    codes jsonb := CASE jsonb_typeof(value_set -> 'codes') WHEN 'array' THEN value_set -> 'codes' ELSE '[]' END;
    written integer;
BEGIN
    IF coalesce(value_set ->> 'name', '') = '' OR codes = '[]' THEN
        RETURN 0;
    END IF;
    INSERT INTO referral.value_set AS v (org_id, name, identifier, system, code, display)
    SELECT load_value_set.org_id, value_set ->> 'name', value_set ->> 'identifier', c.system, c.code, max(c.display)
    FROM jsonb_to_recordset(codes) AS c (system text, code text, display text)
    WHERE c.code <> ''
    GROUP BY c.system, c.code
    ON CONFLICT ON CONSTRAINT value_set_code DO UPDATE SET active = true, display = coalesce(excluded.display, v.display)
    WHERE NOT v.active OR excluded.display IS NOT NULL AND excluded.display IS DISTINCT FROM v.display;
    GET DIAGNOSTICS written = ROW_COUNT;
    -- it is sent as a whole: what is not in it any more does not count any more
    UPDATE referral.value_set v SET active = false
    WHERE v.org_id = load_value_set.org_id AND v.name = value_set ->> 'name' AND v.active
      AND NOT EXISTS (SELECT FROM jsonb_to_recordset(codes) AS c (system text, code text)
                      WHERE c.code = v.code AND c.system IS NOT DISTINCT FROM v.system);
    RETURN written;
END $$;
COMMENT ON FUNCTION referral.load_value_set(bigint, jsonb) IS
'Writes a value set {"name", "identifier", "codes": [{"system", "code", "display"}]}, as messages bring it, into referral.value_set; codes that it does not list any more become inactive, but one without any codes, or without a name, changes nothing. Returns how many codes were new or changed. Null for null.';
REVOKE ALL ON FUNCTION referral.load_value_set(bigint, jsonb) FROM PUBLIC;

CREATE FUNCTION referral.cms50(org_id bigint, from_date date, to_date date, zone text DEFAULT 'UTC')
RETURNS TABLE (patient_id bigint, denominator boolean, numerator boolean, referral_id bigint, consult_report_id bigint)
LANGUAGE sql STABLE STRICT ROWS 1000 SET search_path = pg_catalog, pg_temp AS $$
    WITH period AS MATERIALIZED (
        SELECT from_date::timestamp AT TIME ZONE zone AS starts,
               (to_date + 1)::timestamp AT TIME ZONE zone AS ends,
               -- a referral of the last two months has too little time to be answered
               ((to_date + 1)::timestamp - interval '2 months') AT TIME ZONE zone AS last_referral),
    member AS MATERIALIZED (
        SELECT k.role, v.system, v.code
        FROM (VALUES ('visit', 'officevisit'), ('visit', 'ophthalmologicalservices'),
                     ('visit', 'preventivecareservicesestablishedofficevisit18andup'),
                     ('visit', 'preventivecareservicesinitialofficevisit0to17'),
                     ('visit', 'preventivecareservicesinitialofficevisit18andup'),
                     ('visit', 'preventivecareestablishedofficevisit0to17'),
                     ('procedure', 'behavioralneuropsychassessment'), ('procedure', 'psychvisitdiagnosticevaluation'),
                     ('referral', 'referral'), ('report', 'consultantreport')) k (role, name)
        JOIN referral.value_set v ON referral.value_set_key(v.name) = k.name
        WHERE v.org_id = cms50.org_id AND v.active
        UNION ALL
        -- the measure names these codes themselves
        SELECT 'procedure', 'http://www.ama-assn.org/go/cpt', c FROM unnest(ARRAY['96156', '96136', '96138', '90839', '96112']) c),
    visited AS (
        SELECT DISTINCT e.patient_id
        FROM referral.encounter e, period p
        WHERE e.org_id = cms50.org_id AND e.started_at >= p.starts AND coalesce(e.ended_at, e.started_at) < p.ends
          AND (e.kind = 'procedure' OR e.ended_at IS NOT NULL)
          AND e.status = CASE e.kind WHEN 'procedure' THEN 'completed' ELSE 'finished' END
          AND EXISTS (SELECT FROM member m WHERE m.role = CASE e.kind WHEN 'procedure' THEN 'procedure' ELSE 'visit' END
                      AND m.code = e.code AND (m.system = e.code_system OR m.system IS NULL OR e.code_system IS NULL))),
    first_referral AS (
        SELECT DISTINCT ON (r.patient_id) r.patient_id, r.referral_id, r.authored_at
        FROM referral.referral r, period p
        WHERE r.org_id = cms50.org_id AND r.patient_id IS NOT NULL AND r.intent = 'order'
          AND r.state NOT IN ('on_hold', 'declined', 'cancelled', 'expired', 'entered_in_error')
          AND r.authored_at >= p.starts AND r.authored_at < p.last_referral
          AND (EXISTS (SELECT FROM member m WHERE m.role = 'referral' AND m.code = r.service_code
                       AND (m.system = r.service_code_system OR m.system IS NULL OR r.service_code_system IS NULL))
               OR EXISTS (SELECT FROM referral.referral_code c JOIN member m ON m.role = 'referral' AND m.code = c.code
                          WHERE c.org_id = r.org_id AND c.referral_id = r.referral_id AND c.kind = 'procedure' AND c.active
                            AND (m.system = c.system OR m.system IS NULL OR c.system IS NULL)))
        ORDER BY r.patient_id, r.authored_at, r.referral_id),
    answered AS (
        SELECT f.patient_id, min(q.consult_report_id) AS consult_report_id
        FROM first_referral f
        CROSS JOIN period p
        JOIN referral.consult_report q ON q.org_id = cms50.org_id AND q.referral_id = f.referral_id
        WHERE q.status IN ('final', 'amended') AND q.ended_at > f.authored_at AND q.ended_at >= p.starts AND q.ended_at < p.ends
          AND EXISTS (SELECT FROM member m WHERE m.role = 'report' AND m.code = q.code
                      AND (m.system = q.code_system OR m.system IS NULL OR q.code_system IS NULL))
        GROUP BY f.patient_id)
    SELECT coalesce(v.patient_id, f.patient_id), v.patient_id IS NOT NULL AND f.patient_id IS NOT NULL,
           v.patient_id IS NOT NULL AND a.patient_id IS NOT NULL, f.referral_id, a.consult_report_id
    FROM visited v
    FULL JOIN first_referral f ON f.patient_id = v.patient_id
    LEFT JOIN answered a ON a.patient_id = f.patient_id
    ORDER BY 1
$$;
COMMENT ON FUNCTION referral.cms50(bigint, date, date, text) IS
'CMS50, closing the referral loop: one row for each patient with a qualifying visit or procedure, or with a referral that counts; whoever is not returned is in neither population. denominator: a qualifying visit or procedure within the days (both inclusive, in the time zone), and a referral (an order that is neither on hold nor withdrawn) authored then, but not in the last two months. Only the first such referral (referral_id) counts. numerator: a final consultant report of that very referral (consult_report_id) that ended after it and within the days. Codes are looked up in referral.value_set under the names that the measure has for its value sets. Reads with the caller''s rights. No rows for null. Source: CMS50FHIR v0.4.000 (2026).';
