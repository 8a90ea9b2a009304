-- intake_apply: people, organisations, payers and what else the directory holds, found or made as messages name them
--
-- Who makes a row of the directory first waits for others who do (intake_lock) and looks again. One lock for all of them:
-- transactions that name many in different orders must not wait for each other in a circle.

CREATE FUNCTION referral.intake_find_practitioner(org_id bigint, ids jsonb, source text, name text, organization text) RETURNS bigint
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'intake_find_practitioner';
COMMENT ON FUNCTION referral.intake_find_practitioner(bigint, jsonb, text, text, text) IS
'The practitioner that one of the identifiers names, else one of that name (and organisation, where both are told) who may be him. Null when there is none.';

CREATE FUNCTION referral.intake_known_practitioner(org_id bigint, practitioner jsonb, source text) RETURNS bigint
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'intake_known_practitioner';
COMMENT ON FUNCTION referral.intake_known_practitioner(bigint, jsonb, text) IS
'The practitioner that the only identifier of a case names, where the case says nothing of him that is not known. Null in all other cases: intake_practitioner() looks closer.';

CREATE FUNCTION referral.intake_practitioner(w referral.intake_work, p jsonb, replace boolean DEFAULT false) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids jsonb := p -> 'identifiers';
    number text := referral.intake_text(ids -> 0, 'value');
    shown text := coalesce(referral.intake_text(p, 'name'),
                           left(nullif(concat_ws(' ', referral.intake_text(p, 'given'), referral.intake_text(p, 'family')), ''), 500));
    organization text := referral.intake_text(p -> 'organization', 'name');
    o record;
    n record;
BEGIN
    w.id := NULL;
    IF number IS NULL AND shown IS NULL THEN
        RETURN w;
    END IF;
    w.id := referral.intake_find_practitioner(w.org_id, ids, w.source, shown, organization);
    IF w.id IS NULL THEN
        PERFORM referral.intake_lock(w.org_id, 'directory');
        w.id := referral.intake_find_practitioner(w.org_id, ids, w.source, shown, organization);
    END IF;
    IF w.id IS NULL THEN
        INSERT INTO referral.practitioner (org_id, identifier_system, identifier, name, specialty, organization_name)
        VALUES (w.org_id, CASE WHEN number IS NOT NULL THEN referral.intake_system(ids -> 0, w.source) END, number,
                coalesce(shown, number), referral.intake_text(p, 'specialty'), organization)
        RETURNING practitioner_id INTO w.id;
        PERFORM referral.intake_keep_identifiers(w.org_id, referral.intake_identifiers(ids, w.source), practitioner_id => w.id, is_new => true);
        w.results := w.results || referral.intake_result('practitioner', w.id, 'created');
        RETURN w;
    END IF;
    -- senders write names in many ways: only a feed of the directory corrects what is there
    SELECT t.name, t.specialty, t.organization_name, t.identifier, t.identifier_system, t.active INTO o
    FROM referral.practitioner t WHERE t.org_id = w.org_id AND t.practitioner_id = w.id;
    n := o;
    IF replace OR o.name = o.identifier THEN
        n.name := coalesce(shown, o.name);
    END IF;
    n.specialty := coalesce(CASE WHEN replace THEN referral.intake_text(p, 'specialty') END, o.specialty, referral.intake_text(p, 'specialty'));
    n.organization_name := coalesce(CASE WHEN replace THEN organization END, o.organization_name, organization);
    IF o.identifier IS NULL AND number IS NOT NULL THEN
        n.identifier := number;
        n.identifier_system := referral.intake_system(ids -> 0, w.source);
    END IF;
    IF replace THEN
        n.active := coalesce(referral.try_boolean(p ->> 'active'), o.active);
    END IF;
    IF n IS DISTINCT FROM o THEN
        UPDATE referral.practitioner t
        SET name = n.name, specialty = n.specialty, organization_name = n.organization_name, identifier = n.identifier,
            identifier_system = n.identifier_system, active = n.active
        WHERE t.org_id = w.org_id AND t.practitioner_id = w.id;
        w.results := w.results || referral.intake_result('practitioner', w.id, 'updated');
    END IF;
    IF replace OR o.identifier IS DISTINCT FROM number OR referral.intake_count(ids) > 1 THEN
        PERFORM referral.intake_keep_identifiers(w.org_id, referral.intake_identifiers(ids, w.source), practitioner_id => w.id);
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_practitioner(referral.intake_work, jsonb, boolean) IS
'Finds or makes the practitioner that a case names; his id is in id of the answer. What is known already stays, unless replace. Nobody for nothing told.';

CREATE FUNCTION referral.intake_find_organization(org_id bigint, ids jsonb, source text, name text) RETURNS bigint
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'intake_find_organization';
COMMENT ON FUNCTION referral.intake_find_organization(bigint, jsonb, text, text) IS
'The provider organisation that one of the identifiers names, else one of that name which may be it. Null when there is none.';

CREATE FUNCTION referral.intake_organization(w referral.intake_work, o jsonb, replace boolean DEFAULT false) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids jsonb := o -> 'identifiers';
    number text := referral.intake_text(ids -> 0, 'value');
    shown text := referral.intake_text(o, 'name');
    changed bigint;
BEGIN
    w.id := NULL;
    IF number IS NULL AND shown IS NULL THEN
        RETURN w;
    END IF;
    w.id := referral.intake_find_organization(w.org_id, ids, w.source, shown);
    IF w.id IS NULL THEN
        PERFORM referral.intake_lock(w.org_id, 'directory');
        w.id := referral.intake_find_organization(w.org_id, ids, w.source, shown);
    END IF;
    IF w.id IS NULL THEN
        INSERT INTO referral.provider_organization (org_id, identifier_system, identifier, name, phone, address, city, state, postal_code)
        VALUES (w.org_id, CASE WHEN number IS NOT NULL THEN referral.intake_system(ids -> 0, w.source) END, number,
                coalesce(shown, number), referral.intake_text(o, 'phone'), referral.intake_text(o, 'address'),
                referral.intake_text(o, 'city'), referral.intake_text(o, 'state'), referral.intake_text(o, 'postal_code'))
        RETURNING provider_organization_id INTO w.id;
        PERFORM referral.intake_keep_identifiers(w.org_id, referral.intake_identifiers(ids, w.source), provider_organization_id => w.id, is_new => true);
        w.results := w.results || referral.intake_result('provider_organization', w.id, 'created');
        RETURN w;
    END IF;
    UPDATE referral.provider_organization t
    SET name = n.name, phone = n.phone, address = n.address, city = n.city, state = n.state, postal_code = n.postal_code,
        identifier = n.identifier, identifier_system = n.identifier_system
    FROM (SELECT q.provider_organization_id,
                 CASE WHEN replace OR q.name = q.identifier THEN coalesce(shown, q.name) ELSE q.name END AS name,
                 coalesce(CASE WHEN replace THEN referral.intake_text(o, 'phone') END, q.phone, referral.intake_text(o, 'phone')) AS phone,
                 coalesce(CASE WHEN replace THEN referral.intake_text(o, 'address') END, q.address, referral.intake_text(o, 'address')) AS address,
                 coalesce(CASE WHEN replace THEN referral.intake_text(o, 'city') END, q.city, referral.intake_text(o, 'city')) AS city,
                 coalesce(CASE WHEN replace THEN referral.intake_text(o, 'state') END, q.state, referral.intake_text(o, 'state')) AS state,
                 coalesce(CASE WHEN replace THEN referral.intake_text(o, 'postal_code') END, q.postal_code,
                          referral.intake_text(o, 'postal_code')) AS postal_code,
                 coalesce(q.identifier, number) AS identifier,
                 CASE WHEN q.identifier IS NULL AND number IS NOT NULL THEN referral.intake_system(ids -> 0, w.source)
                      ELSE q.identifier_system END AS identifier_system
          FROM referral.provider_organization q WHERE q.org_id = w.org_id AND q.provider_organization_id = w.id) n
    WHERE t.org_id = w.org_id AND t.provider_organization_id = n.provider_organization_id
      AND (t.name, t.phone, t.address, t.city, t.state, t.postal_code, t.identifier, t.identifier_system)
          IS DISTINCT FROM (n.name, n.phone, n.address, n.city, n.state, n.postal_code, n.identifier, n.identifier_system);
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed > 0 THEN
        w.results := w.results || referral.intake_result('provider_organization', w.id, 'updated');
    END IF;
    IF ids IS NOT NULL THEN
        PERFORM referral.intake_keep_identifiers(w.org_id, referral.intake_identifiers(ids, w.source), provider_organization_id => w.id);
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_organization(referral.intake_work, jsonb, boolean) IS
'Finds or makes the provider organisation that a case names; its id is in id of the answer. What is known already stays, unless replace. None for nothing told.';

CREATE FUNCTION referral.intake_find_payer(org_id bigint, identifier text, of_system text, name text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_id bigint;
BEGIN
    IF identifier IS NOT NULL THEN
        SELECT p.payer_id INTO found_id FROM referral.payer p
        WHERE p.org_id = intake_find_payer.org_id AND p.identifier = intake_find_payer.identifier
          AND (p.identifier_system = of_system OR p.identifier_system IS NULL)
        ORDER BY p.identifier_system NULLS LAST, p.payer_id LIMIT 1;
    END IF;
    IF found_id IS NULL AND name IS NOT NULL THEN
        SELECT min(p.payer_id) INTO found_id FROM referral.payer p
        WHERE p.org_id = intake_find_payer.org_id AND p.name_key = lower(intake_find_payer.name)
          -- another number of the same system makes it another payer of the same name
          AND (p.identifier IS NULL OR intake_find_payer.identifier IS NULL OR p.identifier_system <> of_system);
    END IF;
    RETURN found_id;
END $$;
COMMENT ON FUNCTION referral.intake_find_payer(bigint, text, text, text) IS
'The payer of that identifier, as the system gave it or as it is everywhere, else of that name. Null when there is none.';

-- Whoever may take in a message has its payer and plan made: without them a case would count as paid by the patient.
CREATE FUNCTION referral.intake_make_payer(org_id bigint, identifier text, of_system text, name text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM referral.intake_check_org(org_id);
    INSERT INTO referral.payer (org_id, identifier, identifier_system, name)
    VALUES (intake_make_payer.org_id, intake_make_payer.identifier, CASE WHEN intake_make_payer.identifier IS NOT NULL THEN of_system END,
            coalesce(intake_make_payer.name, intake_make_payer.identifier))
    RETURNING payer_id INTO made;
    RETURN made;
END $$;
COMMENT ON FUNCTION referral.intake_make_payer(bigint, text, text, text) IS
'Makes a payer that a message names, and returns its id; its name is its identifier where none is told. Writes with the owner''s rights, for organisations that the session works for: RF003 for others. 23502 without identifier and name.';

CREATE FUNCTION referral.intake_make_plan(org_id bigint, payer_id bigint, identifier text, name text, kind text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM referral.intake_check_org(org_id);
    INSERT INTO referral.plan (org_id, payer_id, identifier, name, kind)
    VALUES (intake_make_plan.org_id, intake_make_plan.payer_id, intake_make_plan.identifier,
            coalesce(intake_make_plan.name, intake_make_plan.identifier), intake_make_plan.kind)
    RETURNING plan_id INTO made;
    RETURN made;
END $$;
COMMENT ON FUNCTION referral.intake_make_plan(bigint, bigint, text, text, text) IS
'Makes a plan of a payer that a message names, and returns its id; as intake_make_payer().';

CREATE FUNCTION referral.intake_check_org(org_id bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF referral.may_change_org(org_id) IS NOT TRUE THEN
        RAISE EXCEPTION 'the session does not work for organisation %', org_id
            USING ERRCODE = 'RF003', DETAIL = 'Messages are taken in for an organisation of the login.',
                  HINT = 'See referral.organization_member, and the setting referral.org_id.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_check_org(bigint) IS
'RF003 unless the session works for the organisation; for null, too.';

CREATE FUNCTION referral.intake_payer(w referral.intake_work, p jsonb, feed boolean DEFAULT false) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.intake_text(p, 'identifier');
    of_system text := coalesce(referral.intake_text(p, 'identifier_system'), w.source);
    shown text := referral.intake_text(p, 'name');
BEGIN
    w.id := NULL;
    IF number IS NULL AND shown IS NULL THEN
        RETURN w;
    END IF;
    w.id := referral.intake_find_payer(w.org_id, number, of_system, shown);
    IF w.id IS NOT NULL THEN
        IF feed AND number IS NOT NULL THEN
            UPDATE referral.payer t SET identifier = number, identifier_system = of_system WHERE t.org_id = w.org_id AND t.payer_id = w.id AND t.identifier IS NULL;
        END IF;
        RETURN w;
    END IF;
    IF NOT feed THEN
        w.findings := w.findings || referral.intake_finding('unknown_payer',
            CASE WHEN EXISTS (SELECT FROM referral.payer t WHERE t.org_id = w.org_id) THEN 'warning' ELSE 'info' END,
            'coverage.payer', 'no payer of that identifier or name was known', coalesce(shown, number));
    END IF;
    PERFORM referral.intake_lock(w.org_id, 'directory');
    w.id := referral.intake_find_payer(w.org_id, number, of_system, shown);
    IF w.id IS NULL THEN
        w.id := referral.intake_make_payer(w.org_id, number, of_system, shown);
        w.results := w.results || referral.intake_result('payer', w.id, 'created');
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_payer(referral.intake_work, jsonb, boolean) IS
'Finds or makes the payer that a case names; its id is in id of the answer. One that nobody has met is a finding, unless a feed of the directory tells of it.';

CREATE FUNCTION referral.intake_find_plan(org_id bigint, payer_id bigint, identifier text, name text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT p.plan_id FROM referral.plan p
            WHERE p.org_id = intake_find_plan.org_id AND p.payer_id = intake_find_plan.payer_id
              AND (p.identifier = intake_find_plan.identifier
                   OR lower(p.name) = lower(intake_find_plan.name) AND (p.identifier IS NULL OR intake_find_plan.identifier IS NULL))
            ORDER BY p.identifier = intake_find_plan.identifier DESC NULLS LAST, p.plan_id LIMIT 1);
END $$;
COMMENT ON FUNCTION referral.intake_find_plan(bigint, bigint, text, text) IS
'The plan of a payer by identifier, else by name. Null when there is none.';

CREATE FUNCTION referral.intake_plan(w referral.intake_work, p jsonb, payer_id bigint) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.intake_text(p, 'identifier');
    shown text := referral.intake_text(p, 'name');
BEGIN
    w.id := NULL;
    IF payer_id IS NULL OR (number IS NULL AND shown IS NULL) THEN
        RETURN w;
    END IF;
    w.id := referral.intake_find_plan(w.org_id, payer_id, number, shown);
    IF w.id IS NULL THEN
        PERFORM referral.intake_lock(w.org_id, 'directory');
        w.id := referral.intake_find_plan(w.org_id, payer_id, number, shown);
        IF w.id IS NULL THEN
            w.id := referral.intake_make_plan(w.org_id, payer_id, number, shown, referral.intake_text(p, 'kind'));
            w.results := w.results || referral.intake_result('plan', w.id, 'created');
        END IF;
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_plan(referral.intake_work, jsonb, bigint) IS
'Finds or makes the plan of a payer that a case names; its id is in id of the answer.';

CREATE FUNCTION referral.intake_site(w referral.intake_work, s jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number text := referral.intake_text(s, 'identifier');
    shown text := referral.intake_text(s, 'name');
    zone text := referral.intake_text(s, 'timezone');
BEGIN
    w.id := NULL;
    IF number IS NULL AND shown IS NULL THEN
        RETURN w;
    END IF;
    IF zone IS NOT NULL AND referral.try_timestamp('2000-01-01', zone) IS NULL THEN
        w.findings := w.findings || referral.intake_finding('invalid_value', 'warning', 'site.timezone', 'no such time zone', zone);
        zone := NULL;
    END IF;
    SELECT min(t.site_id) INTO w.id FROM referral.site t
    WHERE t.org_id = w.org_id AND CASE WHEN number IS NOT NULL AND t.identifier IS NOT NULL THEN t.identifier = number
                                       ELSE lower(t.name) = lower(shown) END;
    IF w.id IS NULL THEN
        PERFORM referral.intake_lock(w.org_id, 'directory');
        INSERT INTO referral.site (org_id, identifier, name, region, timezone)
        SELECT w.org_id, number, coalesce(shown, number), referral.intake_text(s, 'region'), coalesce(zone, 'UTC')
        WHERE NOT EXISTS (SELECT FROM referral.site t WHERE t.org_id = w.org_id
                            AND CASE WHEN number IS NOT NULL AND t.identifier IS NOT NULL THEN t.identifier = number
                                     ELSE lower(t.name) = lower(shown) END)
        RETURNING site_id INTO w.id;
        w.results := w.results || referral.intake_result('site', w.id, 'created');
    ELSE
        UPDATE referral.site t
        SET identifier = coalesce(t.identifier, number), name = coalesce(shown, t.name),
            region = coalesce(referral.intake_text(s, 'region'), t.region), timezone = coalesce(zone, t.timezone)
        WHERE t.org_id = w.org_id AND t.site_id = w.id
          AND (t.identifier, t.name, t.region, t.timezone) IS DISTINCT FROM
              (coalesce(t.identifier, number), coalesce(shown, t.name), coalesce(referral.intake_text(s, 'region'), t.region),
               coalesce(zone, t.timezone));
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_site(referral.intake_work, jsonb) IS
'Finds or makes a site that a feed of the directory tells of, and brings it up to date; its id is in id of the answer.';

CREATE FUNCTION referral.intake_service(w referral.intake_work, s jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shown text := referral.intake_text(s, 'name');
    organization bigint;
BEGIN
    w := referral.intake_organization(w, s -> 'organization', true);
    organization := w.id;
    w.id := NULL;
    IF shown IS NULL THEN
        RETURN w;
    END IF;
    PERFORM referral.intake_lock(w.org_id, 'directory');
    SELECT min(t.healthcare_service_id) INTO w.id FROM referral.healthcare_service t
    WHERE t.org_id = w.org_id AND lower(t.name) = lower(shown) AND t.provider_organization_id IS NOT DISTINCT FROM organization;
    IF w.id IS NULL THEN
        INSERT INTO referral.healthcare_service (org_id, name, provider_organization_id, specialty)
        VALUES (w.org_id, shown, organization, referral.intake_text(s, 'specialty'))
        RETURNING healthcare_service_id INTO w.id;
        w.results := w.results || referral.intake_result('healthcare_service', w.id, 'created');
    ELSE
        UPDATE referral.healthcare_service t SET specialty = referral.intake_text(s, 'specialty')
        WHERE t.org_id = w.org_id AND t.healthcare_service_id = w.id AND t.specialty <> referral.intake_text(s, 'specialty');
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_service(referral.intake_work, jsonb) IS
'Finds or makes a service of an organisation that a feed of the directory tells of; its id is in id of the answer.';

CREATE FUNCTION referral.intake_role(w referral.intake_work, x jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    practitioner bigint;
    organization bigint;
    wanted text := referral.intake_text(x, 'specialty');
    is_active boolean := coalesce(referral.try_boolean(x ->> 'active'), true);
    role_id bigint;
BEGIN
    w := referral.intake_practitioner(w, x -> 'practitioner', true);
    practitioner := w.id;
    w := referral.intake_organization(w, x -> 'organization', true);
    organization := w.id;
    w.id := NULL;
    IF practitioner IS NULL THEN
        RETURN w;
    END IF;
    PERFORM referral.intake_lock(w.org_id, 'directory');
    SELECT min(t.practitioner_role_id) INTO role_id FROM referral.practitioner_role t
    WHERE t.org_id = w.org_id AND t.practitioner_id = practitioner AND t.provider_organization_id IS NOT DISTINCT FROM organization
      AND (t.specialty IS NOT DISTINCT FROM wanted OR t.specialty IS NULL);
    IF role_id IS NULL THEN
        INSERT INTO referral.practitioner_role (org_id, practitioner_id, provider_organization_id, specialty, active)
        VALUES (w.org_id, practitioner, organization, wanted, is_active) RETURNING practitioner_role_id INTO role_id;
        w.results := w.results || referral.intake_result('practitioner_role', role_id, 'created');
    ELSE
        UPDATE referral.practitioner_role t SET specialty = coalesce(wanted, t.specialty), active = is_active
        WHERE t.org_id = w.org_id AND t.practitioner_role_id = role_id
          AND (t.specialty, t.active) IS DISTINCT FROM (coalesce(wanted, t.specialty), is_active);
    END IF;
    w.id := role_id;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_role(referral.intake_work, jsonb) IS
'Finds or makes the role of a practitioner in an organisation that a feed of the directory tells of; its id is in id of the answer.';

CREATE FUNCTION referral.intake_directory(w referral.intake_work, d jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR i IN 0 .. referral.intake_count(d -> 'organizations') - 1 LOOP
        w := referral.intake_organization(w, d -> 'organizations' -> i, true);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(d -> 'practitioners') - 1 LOOP
        w := referral.intake_practitioner(w, d -> 'practitioners' -> i, true);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(d -> 'roles') - 1 LOOP
        w := referral.intake_role(w, d -> 'roles' -> i);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(d -> 'sites') - 1 LOOP
        w := referral.intake_site(w, d -> 'sites' -> i);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(d -> 'services') - 1 LOOP
        w := referral.intake_service(w, d -> 'services' -> i);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(d -> 'payers') - 1 LOOP
        w := referral.intake_payer(w, d -> 'payers' -> i, true);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(d -> 'plans') - 1 LOOP
        w := referral.intake_payer(w, d -> 'plans' -> i -> 'payer', true);
        w := referral.intake_plan(w, d -> 'plans' -> i, w.id);
    END LOOP;
    FOR i IN 0 .. referral.intake_count(d -> 'value_sets') - 1 LOOP
        PERFORM referral.load_value_set(w.org_id, d -> 'value_sets' -> i);
    END LOOP;
    w.id := NULL;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_directory(referral.intake_work, jsonb) IS
'Writes what a case tells of the directory: organisations, practitioners, roles, sites, services, payers, plans, value sets.';
