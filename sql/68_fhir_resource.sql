-- fhir: people, places and what they are covered by, one function for each type of resource

CREATE FUNCTION referral.fhir_human_name(names jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := referral.fhir_list(names);
    chosen jsonb;
    given text;
    family text;
    shown text;
BEGIN
    chosen := CASE jsonb_array_length(list) WHEN 0 THEN NULL WHEN 1 THEN list -> 0 ELSE coalesce(
        jsonb_path_query_first(list, '$[*] ? (@.use == "official")'), jsonb_path_query_first(list, '$[*] ? (@.use == "usual")'),
        jsonb_path_query_first(list, '$[*] ? (!exists(@.use))'),
        jsonb_path_query_first(list, '$[*] ? (@.use != "old" && @.use != "maiden" && @.use != "nickname")'), list -> 0) END;
    family := referral.fhir_text(chosen -> 'family');
    given := referral.fhir_join(chosen -> 'given', ' ');
    shown := coalesce(referral.fhir_text(chosen -> 'text'), referral.fhir_text(chosen));
    IF family IS NULL AND given IS NULL AND shown IS NOT NULL THEN
        -- "Oyelaran, Miriam" or "Miriam Oyelaran"
        family := CASE WHEN shown ~ ',' THEN btrim(split_part(shown, ',', 1)) ELSE substring(shown FROM '\S+$') END;
        given := nullif(btrim(CASE WHEN shown ~ ',' THEN split_part(shown, ',', 2) ELSE regexp_replace(shown, '\S+$', '') END), '');
    END IF;
    RETURN referral.fhir_strip(jsonb_build_object(
        'family', family, 'given', given, 'suffix', referral.fhir_text(referral.fhir_first(chosen -> 'suffix')),
        'name', coalesce(nullif(concat_ws(' ', given, family), ''), shown)));
END $$;
COMMENT ON FUNCTION referral.fhir_human_name(jsonb) IS
'One of the names of a person (official, usual, then the others but old ones): family, given, suffix, and name as it is shown. A name of one text is split. Null when there is none.';

CREATE FUNCTION referral.fhir_address(addresses jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    chosen jsonb := referral.fhir_first(addresses);
    lines text;
BEGIN
    IF chosen IS NULL THEN
        RETURN NULL;
    ELSIF jsonb_array_length(referral.fhir_list(addresses)) > 1 THEN
        chosen := coalesce(jsonb_path_query_first(addresses, '$[*] ? (@.use == "home")'),
                           jsonb_path_query_first(addresses, '$[*] ? (@.use != "old" && @.use != "temp")'), chosen);
    END IF;
    lines := referral.fhir_join(chosen -> 'line', ', ');
    RETURN referral.fhir_strip(jsonb_build_object(
        'address', coalesce(lines, referral.fhir_text(chosen -> 'text'), referral.fhir_text(chosen)),
        'city', referral.fhir_text(chosen -> 'city'), 'state', referral.fhir_text(chosen -> 'state'),
        'postal_code', referral.fhir_text(chosen -> 'postalCode')));
END $$;
COMMENT ON FUNCTION referral.fhir_address(jsonb) IS 'One of the addresses (at home, else the first that is not old): address, city, state, postal_code. Null when there is none.';

CREATE FUNCTION referral.fhir_patient(patient jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    phones jsonb := referral.fhir_telecom(patient -> 'telecom', 'phone');
    extension jsonb := referral.fhir_list(patient -> 'extension');
    former jsonb;
    alias jsonb;
BEGIN
    IF jsonb_array_length(referral.fhir_list(patient -> 'name')) > 1 THEN
        former := jsonb_path_query_array(patient, '$.name[*] ? (@.use == "old" || @.use == "maiden").family ? (@.type() == "string")');
        alias := jsonb_path_query_array(patient, '$.name[*] ? (@.use == "nickname").given[*] ? (@.type() == "string")');
    END IF;
    RETURN referral.fhir_strip(
        coalesce(referral.fhir_human_name(patient -> 'name') - 'name', '{}')
        || coalesce(referral.fhir_address(patient -> 'address'), '{}')
        || jsonb_build_object(
            'identifiers', referral.fhir_identifiers(patient, source),
            'birth_date', referral.fhir_date(referral.fhir_text(patient -> 'birthDate')),
            'sex', CASE lower(referral.fhir_text(patient -> 'gender'))
                       WHEN 'male' THEN 'male' WHEN 'female' THEN 'female' WHEN 'other' THEN 'other' WHEN 'unknown' THEN 'unknown' END,
            'phone', phones -> 0, 'other_phones', referral.fhir_some(phones - 0),
            'email', referral.fhir_telecom(patient -> 'telecom', 'email') -> 0,
            'previous_family', referral.fhir_some(former), 'alias', referral.fhir_some(alias),
            'language', coalesce(referral.fhir_text(patient #> '{communication,0,language,coding,0,code}'),
                                 referral.fhir_text(patient #> '{communication,0,language,text}')),
            'mother_maiden_name', referral.fhir_text(jsonb_path_query_first(extension,
                '$[*] ? (@.url == "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName").valueString')),
            'multiple_birth', coalesce(referral.fhir_boolean(patient -> 'multipleBirthBoolean'),
                                       CASE WHEN referral.fhir_number(patient -> 'multipleBirthInteger') >= 1 THEN true END),
            'birth_order', CASE WHEN referral.fhir_number(patient -> 'multipleBirthInteger') BETWEEN 1 AND 20
                                THEN referral.fhir_number(patient -> 'multipleBirthInteger')::integer END,
            'deceased', coalesce(referral.fhir_boolean(patient -> 'deceasedBoolean'),
                                 CASE WHEN referral.fhir_text(patient -> 'deceasedDateTime') IS NOT NULL THEN true END)));
END $$;
COMMENT ON FUNCTION referral.fhir_patient(jsonb, text) IS
'A FHIR Patient as the patient of a case (docs/fhir.md). What cannot be read is left out. source: the system whose id it has.';

CREATE FUNCTION referral.fhir_practitioner(practitioner jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN referral.fhir_strip(
        coalesce(referral.fhir_human_name(practitioner -> 'name') - 'suffix', '{}')
        || jsonb_build_object('identifiers', referral.fhir_identifiers(practitioner, source),
                              'phone', referral.fhir_telecom(practitioner -> 'telecom', 'phone') -> 0));
END $$;
COMMENT ON FUNCTION referral.fhir_practitioner(jsonb, text) IS 'A FHIR Practitioner as a person of a case. source: the system whose id it has.';

CREATE FUNCTION referral.fhir_organization(organization jsonb, source text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN referral.fhir_strip(
        coalesce(referral.fhir_address(organization -> 'address'), '{}')
        || jsonb_build_object('identifiers', referral.fhir_identifiers(organization, source),
                              'name', referral.fhir_text(organization -> 'name'),
                              'phone', referral.fhir_telecom(organization -> 'telecom', 'phone') -> 0));
END $$;
COMMENT ON FUNCTION referral.fhir_organization(jsonb, text) IS 'A FHIR Organization as an organisation of a case. source: the system whose id it has.';

CREATE FUNCTION referral.fhir_is_payer(organization jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(organization @? '$.type.coding.code ? (@ == "pay" || @ == "ins" || @ == "X3" || @ == "PR")', false);
COMMENT ON FUNCTION referral.fhir_is_payer(jsonb) IS 'Does a FHIR Organization say of itself that it pays? False for null.';

-- ---------- by reference ----------

CREATE FUNCTION referral.fhir_organization_of(keys jsonb, resources jsonb[], source text, reference jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n integer := referral.fhir_target(keys, reference, root);
    found jsonb := resources[n];
    of text;
BEGIN
    IF reference IS NULL THEN
        RETURN NULL;
    ELSIF found IS NULL THEN
        of := referral.fhir_reference_type(reference);
        IF of IN ('Practitioner', 'PractitionerRole', 'Patient', 'RelatedPerson', 'Device') THEN
            RETURN NULL;
        END IF;
        RETURN referral.fhir_strip(jsonb_build_object('name', referral.fhir_text(reference -> 'display'),
                                                      'identifiers', referral.fhir_reference_ids(reference, source, 'Organization')));
    END IF;
    -- a role, a place and a service are of an organisation; one step only, so a circle ends
    root := CASE WHEN reference ->> 'reference' LIKE '#%' THEN root ELSE n END;
    of := CASE found ->> 'resourceType' WHEN 'PractitionerRole' THEN 'organization' WHEN 'Location' THEN 'managingOrganization'
                                        WHEN 'HealthcareService' THEN 'providedBy' WHEN 'CareTeam' THEN 'managingOrganization' END;
    IF of IS NOT NULL THEN
        reference := referral.fhir_first(found -> of);
        found := resources[referral.fhir_target(keys, reference, root)];
        IF found IS NULL AND reference IS NOT NULL THEN
            RETURN referral.fhir_strip(jsonb_build_object('name', referral.fhir_text(reference -> 'display'),
                                                          'identifiers', referral.fhir_reference_ids(reference, source, 'Organization')));
        END IF;
    END IF;
    RETURN CASE WHEN found ->> 'resourceType' = 'Organization' THEN referral.fhir_organization(found, source) END;
END $$;
COMMENT ON FUNCTION referral.fhir_organization_of(jsonb, jsonb[], text, jsonb, integer) IS
'The organisation that a reference means: itself, or that of a role, a place or a service. One that the message does not have is what the reference says. Null for references to persons and for null.';

CREATE FUNCTION referral.fhir_organization_who(keys jsonb, resources jsonb[], source text, reference jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- who acts is a person, unless the message says otherwise
    RETURN CASE WHEN referral.fhir_target(keys, reference, root) IS NOT NULL OR referral.fhir_reference_type(reference) IS NOT NULL
                THEN referral.fhir_organization_of(keys, resources, source, reference, root) END;
END $$;
COMMENT ON FUNCTION referral.fhir_organization_who(jsonb, jsonb[], text, jsonb, integer) IS
'fhir_organization_of() for a reference that may mean a person as well. Null when the message does not say that it is an organisation.';

CREATE FUNCTION referral.fhir_person_of(keys jsonb, resources jsonb[], source text, reference jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n integer := referral.fhir_target(keys, reference, root);
    found jsonb := resources[n];
    role jsonb;
    person jsonb;
BEGIN
    IF reference IS NULL THEN
        RETURN NULL;
    ELSIF found ->> 'resourceType' = 'PractitionerRole' THEN
        role := found;
        root := CASE WHEN reference ->> 'reference' LIKE '#%' THEN root ELSE n END;
        reference := role -> 'practitioner';
        found := resources[referral.fhir_target(keys, reference, root)];
    END IF;
    IF found ->> 'resourceType' = 'Practitioner' THEN
        person := referral.fhir_practitioner(found, source);
    ELSIF found IS NULL AND reference IS NOT NULL
          AND coalesce(referral.fhir_reference_type(reference), 'Practitioner') LIKE 'Practitioner%' THEN
        person := referral.fhir_strip(jsonb_build_object(
            'name', regexp_replace(referral.fhir_text(reference -> 'display'), '^(Dr|Prof)\.?\s+', ''),
            'identifiers', referral.fhir_reference_ids(reference, source, 'Practitioner')));
    END IF;
    IF role IS NULL THEN
        RETURN person;
    END IF;
    RETURN referral.fhir_strip(coalesce(person, '{}') || jsonb_strip_nulls(jsonb_build_object(
        'identifiers', referral.fhir_some(coalesce(person -> 'identifiers', '[]') || coalesce(referral.fhir_identifiers(role, source), '[]')),
        'specialty', referral.fhir_concept_name(role -> 'specialty'),
        'phone', coalesce(referral.fhir_telecom(role -> 'telecom', 'phone') -> 0, person -> 'phone'),
        'organization', referral.fhir_organization_of(keys, resources, source, role -> 'organization', root))));
END $$;
COMMENT ON FUNCTION referral.fhir_person_of(jsonb, jsonb[], text, jsonb, integer) IS
'The person that a reference means: a Practitioner, or that of a PractitionerRole with its specialty and organisation. One that the message does not have is what the reference says. Null for references to organisations, patients and things, and for null.';

CREATE FUNCTION referral.fhir_patient_of(keys jsonb, resources jsonb[], source text, reference jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found jsonb := resources[referral.fhir_target(keys, reference, root)];
    ids jsonb;
BEGIN
    IF found ->> 'resourceType' = 'Patient' THEN
        RETURN referral.fhir_patient(found, source);
    ELSIF found IS NOT NULL THEN
        RETURN NULL;
    END IF;
    ids := referral.fhir_reference_ids(reference, source, 'Patient');
    -- a group or a device is no patient
    IF ids @? '$[*].system ? (@ like_regex "/(Group|Device|Location|Practitioner)$")' THEN
        RETURN NULL;
    END IF;
    RETURN referral.fhir_strip(jsonb_build_object('identifiers', ids)
        || coalesce(referral.fhir_human_name(reference -> 'display') - 'name', '{}'));
END $$;
COMMENT ON FUNCTION referral.fhir_patient_of(jsonb, jsonb[], text, jsonb, integer) IS
'The patient that a reference means; one that the message does not have is what the reference says. Null for a reference to something else and for null.';

-- ---------- coverage ----------

CREATE FUNCTION referral.fhir_payer(organization jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN referral.fhir_strip(jsonb_build_object('identifier', organization #> '{identifiers,0,value}', 'name', organization -> 'name',
                                              'identifiers', organization -> 'identifiers'));
COMMENT ON FUNCTION referral.fhir_payer(jsonb) IS 'An organisation of a case as a payer: identifier, name, and all identifiers. Null for null.';

CREATE FUNCTION referral.fhir_payer_of(keys jsonb, resources jsonb[], source text, reference jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    organization jsonb := referral.fhir_organization_of(keys, resources, source, reference, root);
BEGIN
    IF organization IS NULL AND referral.fhir_reference_type(reference) IN ('Patient', 'RelatedPerson') THEN
        RETURN '{"name": "self-pay"}';
    END IF;
    RETURN referral.fhir_payer(organization);
END $$;
COMMENT ON FUNCTION referral.fhir_payer_of(jsonb, jsonb[], text, jsonb, integer) IS
'Who pays, by a reference of a FHIR Coverage, as fhir_payer() writes it; self-pay for the patient himself. Null for null.';

CREATE FUNCTION referral.fhir_coverage(keys jsonb, resources jsonb[], source text, coverage jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    plan jsonb := jsonb_path_query_first(coverage, '$.class[*] ? (@.type.coding.code == "plan")');
    class jsonb := jsonb_path_query_first(coverage, '$.class[*] ? (@.type.coding.code == "group")');
    grouping jsonb := coverage -> 'grouping';    -- before R4
    kind text := referral.fhir_concept_name(coverage -> 'type');
BEGIN
    RETURN referral.fhir_strip(jsonb_build_object(
        'priority', CASE WHEN referral.fhir_number(coverage -> 'order') BETWEEN 1 AND 99
                         THEN trunc(referral.fhir_number(coverage -> 'order'))::integer END,
        'payer', referral.fhir_payer_of(keys, resources, source, referral.fhir_first(coverage -> 'payor'), root),
        'plan', referral.fhir_strip(jsonb_build_object(
            'identifier', referral.fhir_text(plan -> 'value'),
            'name', coalesce(referral.fhir_text(plan -> 'name'), referral.fhir_text(plan -> 'value'), referral.fhir_text(grouping -> 'plan'),
                             referral.fhir_text(coverage #> '{type,text}'), referral.fhir_text(coverage #> '{type,coding,0,display}')),
            'kind', kind)),
        'subscriber_id', coalesce(referral.fhir_text(coverage -> 'subscriberId'),
                                  referral.fhir_text(jsonb_path_query_first(coverage, '$.identifier[*] ? (@.type.coding.code == "MB").value'))),
        'group_number', coalesce(referral.fhir_text(class -> 'value'), referral.fhir_text(grouping -> 'group')),
        'relationship', referral.fhir_concept_name(coverage -> 'relationship'),
        'start', referral.fhir_date(referral.fhir_text(coverage #> '{period,start}')),
        'end', referral.fhir_date(referral.fhir_text(coverage #> '{period,end}')),
        'status', referral.fhir_text(coverage -> 'status'),
        'identifiers', referral.fhir_identifiers(coverage, source)));
END $$;
COMMENT ON FUNCTION referral.fhir_coverage(jsonb, jsonb[], text, jsonb, integer) IS
'A FHIR Coverage as a coverage of a case; end is the last day. What cannot be read is left out.';
