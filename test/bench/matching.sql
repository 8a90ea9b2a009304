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

-- ---------- The same people as plain columns, for a rival in SQL ----------

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
