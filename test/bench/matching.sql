-- People, rivals and questions of matching.bench.sh.
\ir lib.sql
\ir matching_people.sql
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE EXTENSION IF NOT EXISTS fuzzystrmatch SCHEMA public;

-- ---------- Patients: rows without journal and guards, the index made afterwards ----------

CREATE FUNCTION bench.demographics(p record) RETURNS referral.demographics LANGUAGE plpgsql AS $$
BEGIN
    RETURN referral.demographics(jsonb_strip_nulls(jsonb_build_object(
        'family', p.family, 'given', p.given, 'middle', p.middle, 'birth_date', p.birth_date, 'sex', p.sex, 'phone', p.phone,
        'email', p.email, 'address', p.address, 'city', p.city, 'state', p.state, 'postal_code', p.postal_code,
        'identifiers', CASE WHEN p.ssn IS NOT NULL THEN jsonb_build_array('ssn|' || p.ssn) END)));
END $$;

-- What a desk asks about: the person as entered again.
CREATE FUNCTION bench.asked(first bigint, last bigint) RETURNS TABLE (id bigint, d referral.demographics, text text)
LANGUAGE sql AS $$
    SELECT a.id, bench.demographics(a), concat_ws(' ', a.given, a.family, a.birth_date, a.address, a.city)
    FROM bench.again(first, last) a
$$;

CREATE TABLE bench.dropped_index (definition text);
CREATE PROCEDURE bench.drop_patient_index() LANGUAGE plpgsql AS $$
DECLARE
    i record;
BEGIN
    FOR i IN SELECT x.indexrelid::regclass AS name, pg_get_indexdef(x.indexrelid) AS definition
             FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_am a ON a.oid = c.relam
             WHERE x.indrelid = 'referral.patient'::regclass AND a.amname = 'gin' LOOP
        INSERT INTO bench.dropped_index VALUES (i.definition);
        EXECUTE format('DROP INDEX %s', i.name);
    END LOOP;
END $$;
CREATE PROCEDURE bench.make_patient_index() LANGUAGE plpgsql AS $$
DECLARE
    d text;
BEGIN
    FOR d IN DELETE FROM bench.dropped_index RETURNING definition LOOP
        EXECUTE d;
    END LOOP;
END $$;

-- People first to last of an organisation; of every "again"-th one a second record, numbered after them.
CREATE PROCEDURE bench.make_patients(org bigint, first bigint, last bigint, again int DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL session_replication_role = replica;
    INSERT INTO referral.organization (org_id, name, version) VALUES (org, 'Bench ' || org, 1) ON CONFLICT DO NOTHING;
    INSERT INTO referral.patient (org_id, patient_id, identifier_system, identifier, family, given, middle, birth_date, sex,
                                  phone, email, address, city, state, postal_code, version)
    SELECT org, p.id, 'http://hl7.org/fhir/sid/us-ssn', p.ssn, p.family, p.given, p.middle, p.birth_date, p.sex,
           p.phone, p.email, p.address, p.city, p.state, p.postal_code, 1
    FROM bench.people(first, last) p;
    IF again > 0 THEN
        INSERT INTO referral.patient (org_id, patient_id, identifier_system, identifier, family, given, middle, birth_date,
                                      sex, phone, email, address, city, state, postal_code, version)
        SELECT org, last + p.id, 'http://hl7.org/fhir/sid/us-ssn', p.ssn, p.family, p.given, p.middle, p.birth_date, p.sex,
               p.phone, p.email, p.address, p.city, p.state, p.postal_code, 1
        FROM bench.again(first, last) p WHERE p.id % again = 0;
    END IF;
END $$;

-- ---------- The same weights as the best SQL there is: one CASE per field, cheap questions first ----------

CREATE TABLE bench.flat (
    id bigint PRIMARY KEY, d referral.demographics, family text, given text, middle text, birth_date date, sex text, phone text,
    email text, address text, city text, postal_code text, ssn text);
CREATE FUNCTION bench.flat(first bigint, last bigint, again boolean) RETURNS SETOF bench.flat LANGUAGE sql AS $$
    SELECT p.id, bench.demographics(p), lower(p.family), lower(p.given), lower(p.middle), p.birth_date, p.sex, p.phone,
           p.email, lower(p.address), lower(p.city), p.postal_code, p.ssn
    FROM bench.people(first, last) p WHERE NOT again
    UNION ALL
    SELECT p.id, bench.demographics(p), lower(p.family), lower(p.given), lower(p.middle), p.birth_date, p.sex, p.phone,
           p.email, lower(p.address), lower(p.city), p.postal_code, p.ssn
    FROM bench.again(first, last) p WHERE again
$$;

-- Which expression is inlined: no function call. NULL is no evidence, hence coalesce(..., 0).
CREATE FUNCTION bench.score(a bench.flat, b bench.flat) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
    SELECT -20
      + CASE WHEN a.family = b.family THEN 7.7
             WHEN a.family = b.given AND a.given = b.family THEN 5.3
             ELSE CASE levenshtein_less_equal(a.family, b.family, 2) WHEN 1 THEN 5.9 WHEN 2 THEN 2.6 ELSE -5.0 END END
      + CASE WHEN a.given = b.given THEN 7.1
             WHEN a.family = b.given AND a.given = b.family THEN 5.3
             ELSE CASE levenshtein_less_equal(a.given, b.given, 2) WHEN 1 THEN 4.9 WHEN 2 THEN 1.9
                       ELSE CASE WHEN left(a.given, 1) = b.given OR a.given = left(b.given, 1) THEN -0.6 ELSE -5.6 END END END
      + CASE WHEN a.middle IS NULL OR b.middle IS NULL THEN 0 WHEN a.middle = b.middle THEN 5.3
             WHEN left(a.middle, 1) = left(b.middle, 1) THEN 2.0 ELSE -3.2 END
      + CASE WHEN a.birth_date IS NULL OR b.birth_date IS NULL THEN 0 WHEN a.birth_date = b.birth_date THEN 13.0
             WHEN abs(a.birth_date - b.birth_date) <= 9 THEN 5.9
             WHEN extract(year FROM a.birth_date) = extract(year FROM b.birth_date)
             THEN CASE WHEN extract(month FROM a.birth_date) = extract(day FROM b.birth_date)
                            AND extract(day FROM a.birth_date) = extract(month FROM b.birth_date) THEN 8.0 ELSE -0.3 END
             ELSE -5.6 END
      + CASE WHEN a.sex IS NULL OR b.sex IS NULL THEN 0 WHEN a.sex = b.sex THEN 1.0 ELSE -4.6 END
      + CASE WHEN a.phone IS NULL OR b.phone IS NULL THEN 0 WHEN a.phone = b.phone THEN 10.4
             WHEN levenshtein_less_equal(a.phone, b.phone, 1) <= 1 THEN 6.0 ELSE -2.0 END
      + CASE WHEN a.email IS NULL OR b.email IS NULL THEN 0 WHEN a.email = b.email THEN 11.0
             WHEN levenshtein_less_equal(a.email, b.email, 2) <= 2 THEN 6.0 ELSE -1.0 END
      + CASE WHEN a.address IS NULL OR b.address IS NULL THEN 0 WHEN a.address = b.address THEN 9.0
             WHEN levenshtein_less_equal(a.address, b.address, 2) <= 2 THEN 6.0 ELSE -1.5 END
      + CASE WHEN a.postal_code IS NULL OR b.postal_code IS NULL THEN 0 WHEN a.postal_code = b.postal_code THEN 6.0
             WHEN a.city = b.city THEN 4.0 ELSE -1.5 END
      + CASE WHEN a.ssn IS NULL OR b.ssn IS NULL THEN 0 WHEN a.ssn = b.ssn THEN 12.0
             WHEN levenshtein_less_equal(a.ssn, b.ssn, 1) <= 1 THEN 7.0 ELSE -4.6 END
$$;
