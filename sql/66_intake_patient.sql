-- intake_apply: the patient of a case, and what pays for his care

CREATE TYPE referral.intake_person AS (
    family text, given text, middle text, suffix text, birth_date date, sex text, phone text, email text, address text, city text,
    state text, postal_code text, language text, mother_maiden_name text, multiple_birth boolean, birth_order integer,
    alias text[], previous_family text[], other_phones text[], identifier_system text, identifier text
);
COMMENT ON TYPE referral.intake_person IS 'What messages tell of a patient: columns of referral.patient.';

CREATE TYPE referral.intake_cover AS (
    coverage_id bigint, patient_id bigint, payer_id bigint, plan_id bigint, priority integer, stated_priority integer, subscriber_id text,
    group_number text, relationship text, period daterange, status text
);
COMMENT ON TYPE referral.intake_cover IS 'What messages tell of a coverage: columns of referral.coverage.';

CREATE TYPE referral.intake_told AS (
    person referral.intake_person,          -- identifier is the first of his own numbers
    is_told boolean,                        -- is anything told that he could be known by?
    own referral.intake_identifiers,        -- those that say who he is: intake_identifies(); else the message itself
    identifiers referral.intake_identifiers,
    other_numbers text[],                   -- own beside the first, for patient.other_identifiers
    demographics referral.demographics,     -- own and person
    findings jsonb
);
COMMENT ON TYPE referral.intake_told IS 'What a case tells of its patient.';

CREATE FUNCTION referral.intake_told(p jsonb, source text, message_key text) RETURNS referral.intake_told
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_told';
COMMENT ON FUNCTION referral.intake_told(jsonb, text, text) IS
'What the patient of a case tells, from its source; message_key is the number that he is known by when no other is told. What cannot be used becomes a finding; findings is null when there are none.';

CREATE FUNCTION referral.intake_patient_values(p jsonb, n INOUT referral.intake_person, OUT findings jsonb)
LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_patient_values';
COMMENT ON FUNCTION referral.intake_patient_values(jsonb, referral.intake_person) IS
'The row n with what a case says of the patient in place of what it says, but for his number; several values are added to those there are. What cannot be used becomes a finding; findings is null when there are none.';

CREATE FUNCTION referral.intake_demographics(n referral.intake_person) RETURNS referral.demographics
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_demographics';
COMMENT ON FUNCTION referral.intake_demographics(referral.intake_person) IS
'What somebody is compared by, but for his numbers. Null for null.';

CREATE FUNCTION referral.intake_claim(org_id bigint, numbers text[], systems text[], wait boolean) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'intake_claim';
COMMENT ON FUNCTION referral.intake_claim(bigint, text[], text[], boolean) IS
'Keeps others from making a patient of one of these numbers until the end of the transaction. Without wait false when another transaction has done so already. Several numbers in the same order everywhere.';

-- The number agrees, or nobody would ask.  What a family shares (name, address, phone) says nothing for it; one slip, a
-- marriage or another spelling says nothing against it; two of them at once do.
CREATE FUNCTION referral.intake_contradicts(known referral.demographics, told referral.demographics) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    levels text[] := referral.match_levels(known, told);
    known_birth text := referral.demographics_to_jsonb(known) ->> 'birth_date';
    told_birth text := referral.demographics_to_jsonb(told) ->> 'birth_date';
    known_year integer := referral.try_integer(left(known_birth, 4));
    told_year integer := referral.try_integer(left(told_birth, 4));
    doubts integer := 0;
    level text;
BEGIN
    -- a parent and a child may share the rest; the first of January says little of the day, but something of the year
    IF levels && '{given:different,birth_date:different}' OR abs(known_year - told_year) > 12 AND least(known_year, told_year) > 1901 THEN
        RETURN true;
    END IF;
    FOREACH level IN ARRAY levels LOOP
        IF level IN ('birth_date:digit', 'birth_date:near', 'birth_date:two_parts')
           OR level = 'birth_date:year' AND '-01-01' NOT IN (right(known_birth, 6), right(told_birth, 6)) THEN
            doubts := doubts + 1;
        ELSIF level = 'family:different' THEN
            -- who has married was still born on the same day
            doubts := doubts + CASE WHEN known_birth = told_birth OR levels && '{birth_date:swapped}' THEN 1 ELSE 2 END;
        ELSIF level IN ('given:nickname', 'given:close', 'given:similar', 'family:close', 'family:similar', 'sex:different', 'suffix:different', 'birth_order:different') THEN
            doubts := doubts + 1;
        END IF;
    END LOOP;
    RETURN doubts > 1;
END $$;
COMMENT ON FUNCTION referral.intake_contradicts(referral.demographics, referral.demographics) IS
'Do names, birth date and sex say that two records are not of one person, even though a number says that they are? Another first name or birth date does; so do two lesser differences. What is not known contradicts nothing.';

-- Whoever gives out numbers of a kind, and has given them two, says that they are two people; it may be wrong, which a person decides.
CREATE FUNCTION referral.intake_told_apart(org_id bigint, own referral.intake_identifiers, patient_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a_uuid constant text := '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$';
BEGIN
    RETURN EXISTS (
        SELECT FROM unnest(own.numbers, own.systems, own.types) s (number, system, type)
        JOIN referral.identifier t ON t.org_id = intake_told_apart.org_id AND t.patient_id = intake_told_apart.patient_id
                                  AND t.system = s.system AND t.type IS NOT DISTINCT FROM s.type AND t.value <> s.number
                                  -- no server gives out both: the UUID was made up for a message
                                  AND (s.type = 'FHIR' AND (s.number ~ a_uuid) <> (t.value ~ a_uuid)) IS NOT TRUE
        WHERE s.system <> 'inbox_message' AND referral.intake_identifies(t.system, t.value, t.type));
END $$;
COMMENT ON FUNCTION referral.intake_told_apart(bigint, referral.intake_identifiers, bigint) IS
'Has the patient an identifier of the same system and type as one of those that were sent, with another value? Of ids of FHIR resources, one that is a UUID and one that is none say nothing of each other.';

-- Whoever is made at the same time leaves his numbers: see intake_claim().
CREATE FUNCTION referral.intake_number_known(org_id bigint, numbers text[]) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'intake_number_known';
COMMENT ON FUNCTION referral.intake_number_known(bigint, text[]) IS
'Has any patient one of these numbers, of whatever system? A quick look, before intake_find_patient() looks closely. Null for null.';

-- Who has one of the identifiers, or is known otherwise, and is not contradicted by the rest?  One number may be shared by
-- two records of a sender that have other numbers of their own; then the names are to say that it is one person.
CREATE FUNCTION referral.intake_find_patient(w INOUT referral.intake_work, ids referral.intake_identifiers, n referral.intake_person, known bigint[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    candidates bigint[] := '{}';
    numbered integer;
    hit record;
    told referral.demographics;
    refused integer := 0;
    same bigint[] := '{}';
    records referral.demographics[] := '{}';
BEGIN
    w.new_identifiers := false;
    IF cardinality(ids.numbers) > 0 THEN
        -- what more than 20 have stands for "not known"; of several owners it is not known here who has which
        SELECT coalesce(array_agg(y.id ORDER BY s.place) FILTER (WHERE y.id IS NOT NULL), '{}'),
               bool_or(t.owners IS NULL OR cardinality(t.owners) > 20) OR coalesce(min(y.id) <> max(y.id), false)
        INTO candidates, w.new_identifiers
        FROM unnest(ids.numbers, ids.systems) WITH ORDINALITY s (number, system, place)
        CROSS JOIN LATERAL (SELECT array_agg(i.patient_id) AS owners
                            FROM (SELECT x.patient_id FROM referral.identifier x
                                  WHERE x.org_id = w.org_id AND x.value = s.number AND x.system = s.system AND x.patient_id IS NOT NULL LIMIT 21) i) t
        CROSS JOIN LATERAL (SELECT array_agg(i.patient_id) AS owners
                            FROM (SELECT x.patient_id FROM referral.patient x
                                  WHERE t.owners IS NULL AND x.org_id = w.org_id
                                    AND x.identifier = s.number AND (x.identifier_system = s.system OR x.identifier_system IS NULL)
                                  LIMIT 21) i) q
        LEFT JOIN LATERAL unnest(coalesce(t.owners, q.owners)) y (id) ON cardinality(coalesce(t.owners, q.owners)) <= 20;
    END IF;
    numbered := cardinality(candidates);
    IF NOT candidates @> known THEN
        candidates := candidates || known;
        w.new_identifiers := true;
    END IF;
    w.patient_id := NULL;
    FOR i IN 1 .. cardinality(candidates) LOOP
        SELECT q.patient_id, q.merged_into, q.family, q.given, q.birth_date, q.sex, q.demographics INTO hit
        FROM referral.patient q WHERE q.org_id = w.org_id AND q.patient_id = candidates[i];
        IF hit.merged_into IS NOT NULL THEN
            SELECT q.patient_id, q.merged_into, q.family, q.given, q.birth_date, q.sex, q.demographics INTO hit
            FROM referral.patient q WHERE q.org_id = w.org_id AND q.patient_id = referral.survivor_of(w.org_id, candidates[i]);
        END IF;
        CONTINUE WHEN hit.patient_id IS NULL OR hit.patient_id = ANY (same);
        IF told IS NULL AND (lower(hit.family), lower(hit.given), hit.birth_date) IS DISTINCT FROM (lower(n.family), lower(n.given), n.birth_date) THEN
            told := referral.intake_demographics(n);
        END IF;
        IF (lower(hit.family), lower(hit.given), hit.birth_date) IS DISTINCT FROM (lower(n.family), lower(n.given), n.birth_date)
           AND (referral.intake_contradicts(hit.demographics, told)
                OR (num_nonnulls(n.family, n.given) > 0 OR i > numbered)
                   AND referral.intake_told_apart(w.org_id, ids, hit.patient_id)
                   AND referral.match_grade(hit.demographics, told) NOT IN ('certain', 'probable')) THEN
            refused := refused + 1;
        ELSE
            same := same || hit.patient_id;
            records := records || hit.demographics;
        END IF;
    END LOOP;
    IF cardinality(same) > 1 THEN
        same := referral.intake_choose_patient(same, records, coalesce(told, referral.intake_demographics(n)));
        w.findings := w.findings || referral.intake_finding('possible_duplicate', CASE WHEN same = '{}' THEN 'error' ELSE 'warning' END,
            'patient.identifiers', 'several patients fit what was sent');
    END IF;
    IF same <> '{}' THEN
        w.patient_id := same[1];
        w.patient_match := 'identifier';
    ELSIF refused > 0 THEN
        w.new_identifiers := true;    -- two have it now
        w.findings := w.findings || referral.intake_finding('possible_duplicate', 'error', 'patient.identifiers',
            CASE WHEN num_nonnulls(n.family, n.given, n.birth_date) = 0 THEN 'the order or an identifier is that of a patient whom the sender calls by another number'
                 ELSE 'the order or an identifier is that of a patient whose name, birth date or numbers say otherwise' END);
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_find_patient(referral.intake_work, referral.intake_identifiers, referral.intake_person, bigint[]) IS
'Finds the patient of a case by his own identifiers, or among known, those whom the referrals have that it may mean; in patient_id of the answer. Nobody whose demographics contradict.';

-- Records of one person that nobody has merged yet are all right, whichever; of two people the wrong one is not.
CREATE FUNCTION referral.intake_choose_patient(same bigint[], records referral.demographics[], told referral.demographics) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    best integer := 1;
    score float8;
    first float8 := referral.match_score(records[1], told);
    second float8 := '-infinity';
    alike boolean := true;
BEGIN
    FOR i IN 2 .. cardinality(same) LOOP
        alike := alike AND NOT referral.intake_contradicts(records[1], records[i]);
        score := referral.match_score(records[i], told);
        IF score > first THEN
            second := first;
            first := score;
            best := i;
        ELSE
            second := greatest(second, score);
        END IF;
    END LOOP;
    RETURN CASE WHEN alike THEN ARRAY[same[1]] WHEN first - second >= 5 THEN ARRAY[same[best]] ELSE '{}' END;
END $$;
COMMENT ON FUNCTION referral.intake_choose_patient(bigint[], referral.demographics[], referral.demographics) IS
'Of several patients that fit what was told, the first when nothing says that they are different people; else the one that fits best, by 5 bits; else none. An array of one, or an empty one.';

CREATE FUNCTION referral.intake_owns_patient(w referral.intake_work, ids referral.intake_identifiers, number text, of_system text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a_country constant text := 'http://hl7.org/fhir/sid/%';
BEGIN
    IF of_system NOT LIKE a_country
       AND EXISTS (SELECT FROM unnest(ids.numbers, ids.systems) s (number, system)
                   WHERE s.number = intake_owns_patient.number AND s.system = of_system) THEN
        RETURN true;
    END IF;
    RETURN NOT EXISTS (SELECT FROM referral.referral t
                       WHERE t.org_id = w.org_id AND t.patient_id = w.patient_id AND t.source IS DISTINCT FROM w.source)
       AND NOT EXISTS (SELECT FROM referral.identifier t
                       WHERE t.org_id = w.org_id AND t.patient_id = w.patient_id
                         AND t.system NOT IN (w.source, 'inbox_message') AND t.system NOT LIKE a_country);
END $$;
COMMENT ON FUNCTION referral.intake_owns_patient(referral.intake_work, referral.intake_identifiers, text, text) IS
'May the sender of a case say what the name, birth date and sex of its patient are? Yes when it tells the number by which he is known first (number of of_system), if that is not one of a whole country; or when nobody else has told of him.';

CREATE FUNCTION referral.intake_update_patient(w INOUT referral.intake_work, p jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o referral.intake_person;
    n referral.intake_person;
    v record;
    ids referral.intake_identifiers;
    of_person text[] := '{family,given,middle,suffix,birth_date,sex}';
    refused text;
BEGIN
    SELECT t.family, t.given, t.middle, t.suffix, t.birth_date, t.sex, t.phone, t.email, t.address, t.city, t.state, t.postal_code,
           t.language, t.mother_maiden_name, t.multiple_birth, t.birth_order, t.alias, t.previous_family, t.other_phones,
           t.identifier_system, t.identifier
    INTO o FROM referral.patient t WHERE t.org_id = w.org_id AND t.patient_id = w.patient_id;
    IF w.fill_only THEN
        p := p - ARRAY(SELECT k FROM jsonb_object_keys(jsonb_strip_nulls(to_jsonb(o))) k);
    END IF;
    v := referral.intake_patient_values(p, o);    -- its findings are there already
    n := v.n;
    IF n.identifier IS NULL THEN
        ids := referral.intake_personal(p -> 'identifiers', w.source);
        n.identifier := ids.numbers[1];
        n.identifier_system := ids.systems[1];
    END IF;
    IF (o.family <> n.family OR o.given <> n.given OR o.middle <> n.middle OR o.suffix <> n.suffix OR o.birth_date <> n.birth_date
        OR o.sex <> n.sex AND o.sex <> 'unknown') 
       AND NOT referral.intake_owns_patient(w, referral.intake_identifiers(p -> 'identifiers', w.source), n.identifier, n.identifier_system) THEN
        -- a number links; it does not rename
        w.findings := w.findings || referral.intake_finding('not_source_of_record', 'warning', 'patient',
            'who he is was told by somebody else; name, birth date and sex were not changed');
        n := jsonb_populate_record(n, (SELECT jsonb_object_agg(x.key, x.value) FROM jsonb_each(jsonb_strip_nulls(to_jsonb(o))) x
                                       WHERE x.key = ANY (of_person) AND x.value <> '"unknown"'));
    END IF;
    IF n IS DISTINCT FROM o AND NOT w.fill_only AND referral.intake_is_outdated(w, 'patient', w.patient_id) THEN
        n := jsonb_populate_record(n, jsonb_strip_nulls(to_jsonb(o)));
        w.findings := w.findings || referral.intake_finding('out_of_order', 'info', 'patient',
            'a newer message has been applied; only what was not known is written');
    END IF;
    -- a source of record may refuse single values: the others are written without them
    FOR attempt IN 1 .. 25 LOOP
        EXIT WHEN n IS NOT DISTINCT FROM o;
        BEGIN
            UPDATE referral.patient t
            SET family = n.family, given = n.given, middle = n.middle, suffix = n.suffix, birth_date = n.birth_date, sex = n.sex,
                phone = n.phone, email = n.email, address = n.address, city = n.city, state = n.state, postal_code = n.postal_code,
                language = n.language, mother_maiden_name = n.mother_maiden_name, multiple_birth = n.multiple_birth,
                birth_order = n.birth_order, alias = n.alias, previous_family = n.previous_family, other_phones = n.other_phones,
                identifier = n.identifier, identifier_system = n.identifier_system
            WHERE t.org_id = w.org_id AND t.patient_id = w.patient_id AND t.merged_into IS NULL;
            IF NOT FOUND AND referral.survivor_of(w.org_id, w.patient_id) <> w.patient_id THEN
                -- merged while this waited
                w.patient_id := referral.survivor_of(w.org_id, w.patient_id);
                w.new_identifiers := true;
                w := referral.intake_update_patient(w, p);
                RETURN;
            END IF;
            w.results := w.results || referral.intake_result('patient', w.patient_id, 'updated');
            RETURN;
        EXCEPTION WHEN SQLSTATE 'RF009' THEN
            GET STACKED DIAGNOSTICS refused = COLUMN_NAME;
        END;
        w.findings := w.findings || referral.intake_finding('not_source_of_record', 'warning', concat_ws('.', 'patient', nullif(refused, '')),
            'another system owns this attribute', to_jsonb(n) ->> refused);
        EXIT WHEN coalesce(refused, '') = '';
        n := jsonb_populate_record(n, jsonb_build_object(refused, to_jsonb(o) -> refused));
    END LOOP;
    w.results := w.results || referral.intake_result('patient', w.patient_id, 'unchanged');
END $$;
COMMENT ON FUNCTION referral.intake_update_patient(referral.intake_work, jsonb) IS
'Writes what a case says of a known patient, where it differs. Values that another system owns are left out, with a finding.';

-- What a message could not tell of a patient is no question any more once a newer one has told it, and was believed.
CREATE FUNCTION referral.intake_settled(w referral.intake_work, told jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known jsonb;
BEGIN
    SELECT to_jsonb(p) INTO known FROM referral.patient p WHERE p.org_id = w.org_id AND p.patient_id = w.patient_id;
    RETURN (SELECT coalesce(jsonb_agg(referral.intake_result('data_quality_finding', x.finding_id, 'settled') -> 0 ORDER BY x.finding_id), '[]')
            FROM referral.data_quality_finding x
            WHERE x.org_id = w.org_id AND x.patient_id = w.patient_id AND x.resolved_at IS NULL AND x.message_id < w.message_id
              AND x.code IN ('invalid_date', 'invalid_code', 'invalid_value', 'missing', 'patient_unnamed')
              AND x.attribute LIKE 'patient.%' AND told ->> substr(x.attribute, 9) = known ->> substr(x.attribute, 9));
END $$;
COMMENT ON FUNCTION referral.intake_settled(referral.intake_work, jsonb) IS
'Lines of results for what older messages could not tell of the patient of a case (a birth date that is none, a missing name), where what this one tells is what is known now: settle_told() marks those findings as resolved. told: columns of referral.patient.';

CREATE FUNCTION referral.intake_known_patient(w INOUT referral.intake_work, p jsonb, told referral.intake_told)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own referral.intake_identifiers := told.own;
    ids referral.intake_identifiers := told.identifiers;
BEGIN
    w := referral.intake_update_patient(w, CASE WHEN own.systems[1] = 'inbox_message' THEN p - 'identifiers' ELSE p END);
    IF w.new_identifiers OR cardinality(own.numbers) < cardinality(ids.numbers) THEN
        PERFORM referral.intake_keep_identifiers(w.org_id, ids, patient_id => w.patient_id);
    END IF;
    IF w.message_id IS NOT NULL AND EXISTS (
        SELECT FROM referral.data_quality_finding x
        WHERE x.org_id = w.org_id AND x.patient_id = w.patient_id AND x.resolved_at IS NULL AND x.message_id < w.message_id) THEN
        w.results := w.results || referral.intake_settled(w, to_jsonb(told.person));
    END IF;
    -- who is only referred to by a number may be known by name
    IF (told.person).family IS NULL AND (told.person).given IS NULL AND EXISTS (
        SELECT FROM referral.patient t
        WHERE t.org_id = w.org_id AND t.patient_id = w.patient_id AND t.family IS NULL AND t.given IS NULL) THEN
        w.findings := w.findings || referral.intake_finding('patient_unnamed', 'warning', 'patient.family', 'the patient has no name');
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_known_patient(referral.intake_work, jsonb, referral.intake_told) IS
'Brings the patient of a case up to date who was known already, and keeps the identifiers that he has not had.';

CREATE FUNCTION referral.intake_create_patient(w INOUT referral.intake_work, told referral.intake_told, grade text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n referral.intake_person := told.person;
    ids referral.intake_identifiers := told.identifiers;
BEGIN
    WITH made AS (
        INSERT INTO referral.patient (org_id, family, given, middle, suffix, birth_date, sex, phone, email, address, city, state, postal_code,
            language, mother_maiden_name, multiple_birth, birth_order, alias, previous_family, other_phones, identifier_system, identifier,
            other_identifiers)
        VALUES (w.org_id, n.family, n.given, n.middle, n.suffix, n.birth_date, n.sex, n.phone, n.email, n.address, n.city, n.state, n.postal_code,
            n.language, n.mother_maiden_name, n.multiple_birth, n.birth_order, n.alias, n.previous_family, n.other_phones,
            n.identifier_system, n.identifier, told.other_numbers)
        RETURNING org_id, patient_id
    ), numbered AS (
        INSERT INTO referral.identifier (org_id, patient_id, system, value, type, assigner)
        SELECT m.org_id, m.patient_id, i.system, i.number, i.type, i.assigner
        FROM made m CROSS JOIN unnest(ids.numbers, ids.systems, ids.types, ids.assigners) i (number, system, type, assigner)
    )
    SELECT m.patient_id INTO w.patient_id FROM made m;
    w.results := w.results || referral.intake_result('patient', w.patient_id, 'created');
    w.patient_match := 'new';
    IF grade IN ('certain', 'probable', 'possible') THEN
        w.patient_match := 'review';
        w.findings := w.findings || referral.intake_finding('possible_duplicate', 'warning', 'patient', 'somebody who may be the same person is known');
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_create_patient(referral.intake_work, referral.intake_told, text) IS
'Writes a new patient with his identifiers. grade: how well the one fits whom matching has found, and who is not him; null for nobody.';

CREATE FUNCTION referral.intake_patient(w referral.intake_work, p jsonb, known bigint[]) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told referral.intake_told := referral.intake_told(p, w.source, w.message_key);
    own referral.intake_identifiers := told.own;
    n referral.intake_person;
    is_alone boolean;
    m record;
BEGIN
    IF told.findings IS NOT NULL THEN
        w.findings := w.findings || told.findings;
    END IF;
    IF NOT told.is_told THEN
        IF cardinality(known) = 1 THEN
            w.patient_id := referral.survivor_of(w.org_id, known[1]);
            w.patient_match := 'identifier';
        END IF;
        RETURN w;
    END IF;

    is_alone := referral.intake_claim(w.org_id, own.numbers, own.systems, false);
    IF known <> '{}' OR referral.intake_number_known(w.org_id, own.numbers) THEN
        n := told.person;
        w := referral.intake_find_patient(w, own, n, known);
    ELSE
        w.patient_id := NULL;
        w.new_identifiers := true;
    END IF;
    IF w.patient_id IS NULL AND NOT is_alone THEN
        -- another message may be making him right now
        PERFORM referral.intake_claim(w.org_id, own.numbers, own.systems, true);
        IF referral.intake_number_known(w.org_id, own.numbers) THEN
            n := told.person;
            w := referral.intake_find_patient(w, own, n, known);
        END IF;
    END IF;
    IF w.patient_id IS NULL THEN
        m := referral.find_match(w.org_id, told.demographics);
        IF m.grade = 'certain' THEN
            IF NOT referral.intake_told_apart(w.org_id, own, m.patient_id) THEN
                w.patient_id := m.patient_id;
                w.patient_match := 'certain';
                w.new_identifiers := true;
            END IF;
        END IF;
    END IF;

    IF w.patient_id IS NOT NULL THEN
        RETURN referral.intake_known_patient(w, p, told);
    ELSIF w.kind IN ('referral_status', 'referral_cancel', 'status_request') THEN
        w.is_stranger := cardinality(known) > 0;
        RETURN w;    -- about a referral that is here or is not: no reason to make a patient
    END IF;
    w := referral.intake_create_patient(w, told, m.grade);
    n := told.person;
    IF n.family IS NULL AND n.given IS NULL THEN
        w.findings := w.findings || referral.intake_finding('patient_unnamed', 'warning', 'patient.family', 'the patient has no name');
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_patient(referral.intake_work, jsonb, bigint[]) IS
'Finds or makes the patient of a case and brings him up to date; patient_id and patient_match of the answer. known: the patients whom the referrals have that it may mean. Nobody, with a finding, when nothing is told.';

CREATE FUNCTION referral.intake_patient_of(w INOUT referral.intake_work)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    w.patient_id := coalesce(
        (SELECT t.patient_id FROM referral.referral t WHERE t.org_id = w.org_id AND t.referral_id = w.referral_id),
        (SELECT t.patient_id FROM referral.appointment t WHERE t.org_id = w.org_id AND t.appointment_id = w.appointment_id));
    IF w.patient_id IS NOT NULL THEN
        w.patient_id := referral.survivor_of(w.org_id, w.patient_id);
        w.patient_match := 'identifier';
    ELSIF w.kind IN ('referral', 'patient', 'appointment', 'report') THEN
        w.findings := w.findings || referral.intake_finding('patient_missing', 'error', 'patient', 'nothing says who the patient is');
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_patient_of(referral.intake_work) IS
'The patient of a case that does not tell him, by its referral or appointment; a finding when he is not known there either.';

-- ---------- coverage ----------

-- An older coverage that has no end makes room for a new payer; what still is in the way moves the new one behind it.
CREATE FUNCTION referral.intake_place_coverage(w INOUT referral.intake_work, n INOUT referral.intake_cover)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o record;
BEGIN
    FOR o IN SELECT c.coverage_id, c.period FROM referral.coverage c
             WHERE c.org_id = w.org_id AND c.patient_id = n.patient_id AND c.priority = n.priority AND c.status = 'active'
               AND (c.period && n.period) IS TRUE ORDER BY lower(c.period) NULLS FIRST LOOP
        IF lower_inf(n.period) THEN
            -- a message that tells no beginning speaks of its own day
            IF NOT upper_inf(o.period) OR lower(o.period) >= coalesce(w.sent_at::date, current_date)
               OR upper(n.period) <= coalesce(w.sent_at::date, current_date) THEN
                EXIT;
            END IF;
            n.period := daterange(coalesce(w.sent_at::date, current_date), upper(n.period));
        END IF;
        -- some give as its last day the day on which the next one begins
        IF upper(n.period) = lower(o.period) + 1 AND lower(n.period) < lower(o.period) THEN
            n.period := daterange(lower(n.period), lower(o.period));
            CONTINUE;
        END IF;
        EXIT WHEN lower(o.period) >= lower(n.period) OR (NOT upper_inf(o.period) AND upper(o.period) > lower(n.period) + 1);
        BEGIN
            UPDATE referral.coverage c SET period = daterange(lower(o.period), lower(n.period))
            WHERE c.org_id = w.org_id AND c.coverage_id = o.coverage_id;
        EXCEPTION WHEN SQLSTATE 'RF009' THEN
            w.findings := w.findings || referral.intake_finding('not_source_of_record', 'warning', 'coverage.period',
                'another system owns the coverage before, which therefore does not end');
            EXIT;
        END;
        w.results := w.results || referral.intake_result('coverage', o.coverage_id, 'updated');
        w.findings := w.findings || referral.intake_finding('payer_changed', 'info', 'coverage.payer',
            'the coverage before ends the day before this one begins');
    END LOOP;
    IF EXISTS (SELECT FROM referral.coverage c
               WHERE c.org_id = w.org_id AND c.patient_id = n.patient_id AND c.priority = n.priority AND c.status = 'active'
                 AND (c.period && n.period) IS TRUE) THEN
        n.stated_priority := n.priority;
        SELECT min(g) INTO n.priority FROM generate_series(n.priority + 1, n.priority + 1000) g
        WHERE NOT EXISTS (SELECT FROM referral.coverage c
                          WHERE c.org_id = w.org_id AND c.patient_id = n.patient_id AND c.priority = g AND c.status = 'active'
                            AND (c.period && n.period) IS TRUE);
        w.findings := w.findings || referral.intake_finding('overlapping_coverage', 'warning', 'coverage.period',
            'another coverage of the same priority holds at the same time; this one was put behind it');
    END IF;
END $$;
COMMENT ON FUNCTION referral.intake_place_coverage(referral.intake_work, referral.intake_cover) IS
'Finds a place for a new active coverage among those of the patient: n with the period and priority that it can have.';

CREATE TYPE referral.intake_told_cover AS (
    payer_number text, payer_system text, payer_name text, plan_number text, plan_name text, priority integer,
    subscriber_id text, group_number text, relationship text, status text, first_day date, last_day date, findings jsonb
);
COMMENT ON TYPE referral.intake_told_cover IS 'What a case tells of a coverage.';

CREATE FUNCTION referral.intake_told_cover(c jsonb, source text) RETURNS referral.intake_told_cover
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'intake_told_cover';
COMMENT ON FUNCTION referral.intake_told_cover(jsonb, text) IS
'What a coverage of a case tells, from its source. A status that is none counts as active, a last day before the first one or at the end of time as none. What cannot be used becomes a finding; findings is null when there are none.';

-- The coverage of a payer and number; not the one before or after it, where one day is told as the last and the first.
CREATE FUNCTION referral.intake_find_coverage(org_id bigint, n referral.intake_cover, told referral.intake_told_cover)
RETURNS referral.intake_cover
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o referral.intake_cover;
BEGIN
    SELECT t.coverage_id, t.patient_id, t.payer_id, t.plan_id, t.priority, t.stated_priority, t.subscriber_id, t.group_number,
           t.relationship, t.period, t.status
    INTO o
    FROM referral.coverage t
    WHERE t.org_id = intake_find_coverage.org_id AND t.patient_id = n.patient_id
      -- a payer that is told with one message only is the same, by the number
      AND (t.payer_id IS NOT DISTINCT FROM n.payer_id OR t.subscriber_id = n.subscriber_id AND num_nulls(t.payer_id, n.payer_id) = 1)
      AND (t.subscriber_id = n.subscriber_id OR n.subscriber_id IS NULL OR t.subscriber_id IS NULL)
      AND (told.priority IS NULL OR told.priority IN (t.priority, t.stated_priority))
      AND (t.period && n.period) IS TRUE AND t.status <> 'entered-in-error'    -- the index of the constraint is not for this
      AND ((lower(t.period) < told.first_day AND upper(t.period) = told.first_day + 1)
           OR (told.first_day < lower(t.period) AND lower(t.period) = told.last_day)) IS NOT TRUE
    ORDER BY t.payer_id IS NOT DISTINCT FROM n.payer_id DESC, t.subscriber_id IS NOT DISTINCT FROM n.subscriber_id DESC, lower(t.period) = told.first_day DESC NULLS LAST, t.coverage_id DESC
    LIMIT 1;
    RETURN o;
END $$;
COMMENT ON FUNCTION referral.intake_find_coverage(bigint, referral.intake_cover, referral.intake_told_cover) IS
'The coverage of a patient that a case means by n, as it is now. Null when there is none.';

CREATE FUNCTION referral.intake_coverage(w referral.intake_work, c jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    told referral.intake_told_cover := referral.intake_told_cover(c, w.source);
    n referral.intake_cover;
    o referral.intake_cover;
    v record;
    payer_id bigint;
    plan_id bigint;
    is_of_new boolean := w.patient_match IN ('new', 'review');
BEGIN
    IF told.findings IS NOT NULL THEN
        w.findings := w.findings || told.findings;
    END IF;
    IF told.payer_number IS NOT NULL OR told.payer_name IS NOT NULL THEN
        payer_id := referral.intake_find_payer(w.org_id, told.payer_number, told.payer_system, told.payer_name);
        IF payer_id IS NULL THEN
            w := referral.intake_payer(w, c -> 'payer');
            payer_id := w.id;
        END IF;
    END IF;
    IF payer_id IS NULL AND told.subscriber_id IS NULL THEN
        w.id := NULL;
        w.findings := w.findings || referral.intake_finding('missing', 'info', 'coverage.payer', 'a coverage without payer and number was left out');
        RETURN w;
    END IF;
    IF payer_id IS NOT NULL AND (told.plan_number IS NOT NULL OR told.plan_name IS NOT NULL) THEN
        plan_id := referral.intake_find_plan(w.org_id, payer_id, told.plan_number, told.plan_name);
        IF plan_id IS NULL THEN
            w := referral.intake_plan(w, c -> 'plan', payer_id);
            plan_id := w.id;
        END IF;
    END IF;
    n := (NULL::bigint, w.patient_id, payer_id, plan_id, greatest(coalesce(told.priority, 1), 1), NULL::integer, told.subscriber_id, told.group_number,
          told.relationship, daterange(told.first_day, told.last_day + 1), told.status);

    IF NOT is_of_new THEN
        o := referral.intake_find_coverage(w.org_id, n, told);
        IF o.coverage_id IS NULL THEN
            -- another message may be making it right now
            PERFORM referral.intake_lock(w.org_id, 'coverage ' || w.patient_id);
            o := referral.intake_find_coverage(w.org_id, n, told);
        END IF;
    END IF;
    IF o.coverage_id IS NOT NULL THEN
        w.id := o.coverage_id;
        w := referral.intake_update_coverage(w, o, n, c);
        n.payer_id := coalesce(n.payer_id, o.payer_id);
        n.plan_id := coalesce(n.plan_id, o.plan_id);
    ELSE
        -- the first one of somebody new has all the room
        IF told.status = 'active' AND NOT (is_of_new AND w.coverage_id IS NULL) THEN
            v := referral.intake_place_coverage(w, n);
            w := v.w;
            n := v.n;
        END IF;
        INSERT INTO referral.coverage (org_id, patient_id, payer_id, plan_id, priority, stated_priority, subscriber_id, group_number,
                                       relationship, period, status, source)
        VALUES (w.org_id, n.patient_id, n.payer_id, n.plan_id, n.priority, n.stated_priority, n.subscriber_id, n.group_number,
                n.relationship, n.period, n.status, w.source)
        RETURNING coverage_id INTO w.id;
        w.results := w.results || referral.intake_result('coverage', w.id, 'created');
    END IF;
    -- the first one that is told pays first
    IF w.coverage_id IS NULL AND told.status = 'active' THEN
        w.coverage_id := w.id;
        w.payer_id := n.payer_id;
        w.plan_id := n.plan_id;
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_coverage(referral.intake_work, jsonb) IS
'Finds or makes a coverage of the patient of a case and brings it up to date; its id is in id of the answer, that of the first one in coverage_id.';

CREATE FUNCTION referral.intake_update_coverage(w referral.intake_work, o referral.intake_cover, n referral.intake_cover, c jsonb)
RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    n.payer_id := coalesce(n.payer_id, o.payer_id);
    n.plan_id := coalesce(n.plan_id, o.plan_id);
    n.subscriber_id := coalesce(n.subscriber_id, o.subscriber_id);
    n.group_number := coalesce(n.group_number, o.group_number);
    n.relationship := coalesce(n.relationship, o.relationship);
    n.status := CASE WHEN c ? 'status' THEN n.status ELSE o.status END;
    n.period := daterange(coalesce(lower(n.period), lower(o.period)), coalesce(upper(n.period), upper(o.period)));
    IF n.status = 'active' AND n.period <> o.period AND EXISTS (
        SELECT FROM referral.coverage t
        WHERE t.org_id = w.org_id AND t.patient_id = o.patient_id AND t.coverage_id <> w.id AND t.priority = o.priority
          AND t.status = 'active' AND (t.period && n.period) IS TRUE) THEN
        w.findings := w.findings || referral.intake_finding('overlapping_coverage', 'warning', 'coverage.period',
            'another coverage of the same priority holds at the same time; the period was not changed', n.period::text);
        n.period := o.period;
    END IF;
    IF (n.payer_id, n.plan_id, n.subscriber_id, n.group_number, n.relationship, n.status, n.period)
       IS NOT DISTINCT FROM (o.payer_id, o.plan_id, o.subscriber_id, o.group_number, o.relationship, o.status, o.period) THEN
        w.results := w.results || referral.intake_result('coverage', w.id, 'unchanged');
        RETURN w;
    ELSIF referral.intake_is_outdated(w, 'coverage', w.id) THEN
        w.findings := w.findings || referral.intake_finding('out_of_order', 'info', 'coverage',
            'a newer message has been applied; the coverage stays as it is');
        RETURN w;
    END IF;
    BEGIN
        UPDATE referral.coverage t
        SET payer_id = n.payer_id, plan_id = n.plan_id, subscriber_id = n.subscriber_id, group_number = n.group_number, relationship = n.relationship,
            status = n.status, period = n.period
        WHERE t.org_id = w.org_id AND t.coverage_id = w.id;
        w.results := w.results || referral.intake_result('coverage', w.id, 'updated');
    EXCEPTION WHEN SQLSTATE 'RF009' THEN
        w.findings := w.findings || referral.intake_finding('not_source_of_record', 'warning', 'coverage', 'another system owns what would change');
    END;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_update_coverage(referral.intake_work, referral.intake_cover, referral.intake_cover, jsonb) IS
'Brings a coverage, o, whose id is in id of w, up to date by n, where it differs.';

CREATE FUNCTION referral.intake_encounter(w referral.intake_work, e jsonb) RETURNS referral.intake_work
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n record;
    changed bigint;
BEGIN
    w.id := NULL;
    IF w.patient_id IS NULL OR NOT (e ?| '{identifier,code,started_at}') THEN
        RETURN w;
    END IF;
    SELECT CASE e ->> 'kind' WHEN 'procedure' THEN 'procedure' ELSE 'encounter' END AS kind,
           referral.intake_text(e, 'identifier') AS identifier, coalesce(referral.intake_text(e, 'identifier_system'), w.source) AS system,
           referral.intake_text(e, 'status') AS status, referral.intake_text(e, 'code') AS code,
           referral.try_timestamp(e ->> 'started_at') AS started_at, referral.try_timestamp(e ->> 'ended_at') AS ended_at INTO n;
    SELECT t.encounter_id INTO w.id FROM referral.encounter t
    WHERE t.org_id = w.org_id AND t.patient_id = w.patient_id AND t.kind = n.kind
      AND CASE WHEN n.identifier IS NOT NULL THEN (t.identifier, t.identifier_system) = (n.identifier, n.system)
               ELSE (t.code, t.started_at, t.source) IS NOT DISTINCT FROM (n.code, n.started_at, w.source) END
    LIMIT 1;
    IF w.id IS NULL THEN
        INSERT INTO referral.encounter (org_id, patient_id, kind, status, class, code_system, code, display, identifier_system, identifier,
                                        started_at, ended_at, source)
        VALUES (w.org_id, w.patient_id, n.kind, coalesce(n.status, 'unknown'), referral.intake_text(e, 'class'), referral.intake_text(e, 'code_system'), n.code,
                referral.intake_text(e, 'display'), CASE WHEN n.identifier IS NOT NULL THEN n.system END, n.identifier, n.started_at, n.ended_at, w.source)
        RETURNING encounter_id INTO w.id;
        w.results := w.results || referral.intake_result('encounter', w.id, 'created');
        RETURN w;
    END IF;
    UPDATE referral.encounter t
    SET status = coalesce(n.status, t.status), started_at = coalesce(n.started_at, t.started_at), ended_at = coalesce(n.ended_at, t.ended_at)
    WHERE t.org_id = w.org_id AND t.encounter_id = w.id
      AND (t.status, t.started_at, t.ended_at) IS DISTINCT FROM
          (coalesce(n.status, t.status), coalesce(n.started_at, t.started_at), coalesce(n.ended_at, t.ended_at));
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed > 0 THEN
        w.results := w.results || referral.intake_result('encounter', w.id, 'updated');
    END IF;
    RETURN w;
END $$;
COMMENT ON FUNCTION referral.intake_encounter(referral.intake_work, jsonb) IS
'Finds or makes a visit or procedure of the patient of a case; its id is in id of the answer. None without a patient, or when nothing says which.';
