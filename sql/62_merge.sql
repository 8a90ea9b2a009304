-- merge: two records of one patient become one, and can be parted again

CREATE FUNCTION referral.rows_as_owner(relation regclass, org_column name, column_name name, key name[],
                                       org_id bigint, id bigint, to_id bigint, keys jsonb) RETURNS jsonb
LANGUAGE C AS 'MODULE_PATHNAME', 'rows_as_owner';
COMMENT ON FUNCTION referral.rows_as_owner(regclass, name, name, name[], bigint, bigint, bigint, jsonb) IS
'Keys, as an array of {"key column": value}, of the rows of a table that refer to an id; with to_id they refer to that from now on. keys: only these rows; null: all. With the rights of the table''s owner, whose triggers may run. Null when there is no such row, and for null but in to_id and keys. For merge_patient() and its like.';

CREATE FUNCTION referral.sees_patient(org_id bigint, patient_id bigint) RETURNS boolean
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'sees_patient';
COMMENT ON FUNCTION referral.sees_patient(bigint, bigint) IS
'Does the role that the session acts as see the patient, whatever policies there are on referral.patient? For functions that run with the owner''s rights. True when it may not read the columns org_id and patient_id, so that a function of somebody else must answer for it; null for null.';

CREATE FUNCTION referral.survivor_of(org_id bigint, patient_id bigint) RETURNS bigint
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE way AS (
        SELECT p.patient_id, p.merged_into FROM referral.patient p
        WHERE p.org_id = survivor_of.org_id AND p.patient_id = survivor_of.patient_id
        UNION
        SELECT p.patient_id, p.merged_into FROM way w
        JOIN referral.patient p ON p.org_id = survivor_of.org_id AND p.patient_id = w.merged_into)
    SELECT w.patient_id FROM way w WHERE w.merged_into IS NULL
$$;
COMMENT ON FUNCTION referral.survivor_of(bigint, bigint) IS
'The patient that a record was merged into in the end; the patient himself when he was not merged. Null for null, and when there is no such patient that the caller can see.';

CREATE FUNCTION referral.patient_references()
RETURNS TABLE (relation regclass, org_column name, patient_column name, key_columns name[])
LANGUAGE sql STABLE ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
    WITH pair AS (
        SELECT k.oid, k.conrelid, a.attname, f.attname AS refers_to
        FROM pg_constraint k
        CROSS JOIN LATERAL unnest(k.conkey, k.confkey) c (own, theirs)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.own
        JOIN pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = c.theirs
        WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = to_regclass('referral.patient'))
    SELECT DISTINCT o.conrelid::regclass, o.attname, p.attname, coalesce(
        (SELECT ARRAY[e.id_column] FROM referral.entity e WHERE e.relation = o.conrelid AND e.detached_at IS NULL LIMIT 1),
        (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = o.conrelid AND i.indisprimary AND (a.attname <> o.attname OR i.indnatts = 1)))
    FROM pair o JOIN pair p ON p.oid = o.oid AND p.refers_to = 'patient_id'
    WHERE o.refers_to = 'org_id'
      -- these are about the records themselves
      AND o.conrelid <> ALL (ARRAY(SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'referral'::regnamespace
                                   AND c.relname IN ('patient_merge', 'merge_reattribution', 'match_candidate', 'match_decision', 'match_queue')))
$$;
COMMENT ON FUNCTION referral.patient_references() IS
'The columns that refer to referral.patient by foreign key, in any schema: what merge_patient() points to the survivor. key_columns: what names a row, its id as an entity or its primary key without the organisation; null when it has none. Not the tables about matching and merging themselves.';

-- ---------- Which value survives ----------

CREATE FUNCTION referral.merge_rule_check() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a record;
BEGIN
    SELECT x.attname, t.typcategory, x.attgenerated INTO a FROM pg_attribute x JOIN pg_type t ON t.oid = x.atttypid
    WHERE x.attrelid = 'referral.patient'::regclass AND x.attname = NEW.field AND x.attnum > 0 AND NOT x.attisdropped;
    IF a.attname IS NULL OR a.attgenerated <> '' OR a.attname IN ('org_id', 'patient_id', 'version', 'active', 'merged_into') THEN
        RAISE EXCEPTION 'patients have no field "%" that a merge could choose', NEW.field
            USING ERRCODE = 'RF011', DETAIL = 'The table has no such column, or the database keeps it.', HINT = 'Name a column of referral.patient.';
    END IF;
    IF referral.merge_field(NEW.field) <> NEW.field THEN
        RAISE EXCEPTION 'field "%" has no rule of its own', NEW.field
            USING ERRCODE = 'RF011', DETAIL = format('It goes with "%s".', referral.merge_field(NEW.field)), HINT = 'Set the rule of that field.';
    END IF;
    IF (NEW.rule = 'union') <> (a.typcategory = 'A') AND NEW.rule IN ('union', 'longest') THEN
        RAISE EXCEPTION 'rule "%" does not fit field "%"', NEW.rule, NEW.field
            USING ERRCODE = 'RF011', DETAIL = 'union is for arrays, longest for single values.', HINT = 'Choose another rule.';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.merge_rule_check() IS
'BEFORE row trigger of referral.merge_rule: refuses a field that patients do not have, that the database keeps, or that goes with another one, and a rule that does not fit its type (RF011).';

CREATE FUNCTION referral.merge_field(field text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN field = 'identifier_system' THEN 'identifier'
                WHEN field IN ('city', 'state', 'postal_code') THEN 'address'
                WHEN field = 'birth_order' THEN 'multiple_birth' ELSE field END
$$;
COMMENT ON FUNCTION referral.merge_field(text) IS
'The field with which a field of a patient goes together: half an address of one and half of the other would be nobody''s. Null for null.';

CREATE FUNCTION referral.merge_rules() RETURNS TABLE (field text, lead text, rule text, is_array boolean)
LANGUAGE sql STABLE ROWS 30 SET search_path = pg_catalog, pg_temp AS $$
    WITH field AS (
        SELECT a.attnum, a.attname::text AS name, referral.merge_field(a.attname::text) AS lead, t.typcategory = 'A' AS is_array,
               EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND (i.indisunique OR i.indisexclusion)
                         AND (a.attnum = ANY (i.indkey)
                              OR (i.indexprs IS NOT NULL
                                  AND EXISTS (SELECT FROM pg_depend d
                                              WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                                                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
                                                AND d.refobjsubid = a.attnum)))) AS is_unique
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = 'referral.patient'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
          AND a.attname NOT IN ('org_id', 'patient_id', 'version', 'active', 'merged_into'))
    SELECT f.name, f.lead,
           CASE WHEN bool_or(f.is_unique) OVER (PARTITION BY f.lead) THEN 'survivor'
                ELSE coalesce((SELECT r.rule FROM referral.merge_rule r JOIN referral.rule_version v USING (rule_version_id)
                               WHERE v.status = 'active' AND r.field = f.lead ORDER BY r.merge_rule_id DESC LIMIT 1),
                              CASE WHEN f.is_array THEN 'union' ELSE 'duplicate_when_null' END) END,
           f.is_array
    FROM field f
    ORDER BY f.attnum
$$;
COMMENT ON FUNCTION referral.merge_rules() IS
'How the fields of a patient survive a merge, in the order of the columns: by the active rule for the field that leads its group (lead), else union for arrays and duplicate_when_null for all others. What is in a unique index, or an expression of one, or an exclusion constraint stays as it is (survivor): the duplicate keeps its value.';

CREATE FUNCTION referral.merge_newest(org_id bigint, survivor bigint, duplicate bigint, fields text[]) RETURNS bigint
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT j.entity_id FROM referral.journal j
                     WHERE j.org_id = merge_newest.org_id AND j.entity_id IN (survivor, duplicate) AND j.entity = 'patient'
                       AND j.changes ?| fields
                     ORDER BY j.occurred_at DESC, j.journal_id DESC LIMIT 1), survivor)
$$;
COMMENT ON FUNCTION referral.merge_newest(bigint, bigint, bigint, text[]) IS
'Which of two patients got a value in one of the fields last, says the journal; the survivor when it does not know. Null for null.';

CREATE FUNCTION referral.append_new(list jsonb, element jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN coalesce(element, 'null') = 'null'
                     OR EXISTS (SELECT FROM jsonb_array_elements(nullif(list, 'null')) e WHERE lower(e #>> '{}') = lower(element #>> '{}'))
                THEN list ELSE coalesce(nullif(list, 'null'), '[]') || jsonb_build_array(element) END
$$;
COMMENT ON FUNCTION referral.append_new(jsonb, jsonb) IS
'A list with the element at its end, unless that is null or in the list already, in whatever case. A null list counts as empty.';

CREATE FUNCTION referral.merge_values(org_id bigint, survivor jsonb, duplicate jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r record;
    part record;
    result jsonb := survivor;
    whole jsonb;
    has_other boolean;
BEGIN
    -- single values, group by group
    FOR r IN SELECT m.lead, m.rule, array_agg(m.field) AS fields FROM referral.merge_rules() m WHERE NOT m.is_array GROUP BY 1, 2 LOOP
        CONTINUE WHEN r.rule = 'survivor';
        SELECT bool_and(s IS NULL OR d IS NULL OR s = d OR r.rule <> 'duplicate_when_null') AS agree, bool_or(d IS NOT NULL) AS any INTO part
        FROM unnest(r.fields) f CROSS JOIN LATERAL referral.merge_value(f, survivor) s CROSS JOIN LATERAL referral.merge_value(f, duplicate) d;
        CONTINUE WHEN NOT part.agree OR NOT part.any;
        has_other := referral.merge_value(r.lead, duplicate) IS NOT NULL;
        IF r.rule = 'duplicate_when_null' OR referral.merge_value(r.lead, survivor) IS NULL OR NOT has_other THEN
            SELECT jsonb_object_agg(f, coalesce(referral.merge_value(f, survivor), referral.merge_value(f, duplicate), survivor -> f)) INTO whole
            FROM unnest(r.fields) f;
        ELSIF (r.rule = 'newest' AND referral.merge_newest(org_id, (survivor ->> 'patient_id')::bigint, (duplicate ->> 'patient_id')::bigint, r.fields)
                                     = (duplicate ->> 'patient_id')::bigint)
              OR (r.rule = 'longest' AND length(duplicate ->> r.lead) > length(survivor ->> r.lead)) THEN
            SELECT jsonb_object_agg(f, duplicate -> f) INTO whole FROM unnest(r.fields) f;
        ELSE
            CONTINUE;
        END IF;
        result := result || whole;
    END LOOP;
    -- lists; what did not survive is kept where a later message finds it
    FOR r IN SELECT m.field, m.rule FROM referral.merge_rules() m WHERE m.is_array LOOP
        IF r.rule = 'union' THEN
            FOR part IN SELECT e.value FROM jsonb_array_elements(nullif(duplicate -> r.field, 'null')) WITH ORDINALITY e (value, n)
                        UNION ALL
                        SELECT o.value FROM (VALUES ('previous_family', survivor -> 'family', result -> 'family'), ('previous_family', duplicate -> 'family', result -> 'family'),
                            ('alias', survivor -> 'given', result -> 'given'), ('alias', duplicate -> 'given', result -> 'given'),
                            ('other_phones', survivor -> 'phone', result -> 'phone'), ('other_phones', duplicate -> 'phone', result -> 'phone'),
                            ('other_identifiers', referral.token_of(survivor), referral.token_of(result)),
                            ('other_identifiers', referral.token_of(duplicate), referral.token_of(result))) o (field, value, stays)
                        WHERE o.field = r.field AND lower(o.value #>> '{}') IS DISTINCT FROM lower(o.stays #>> '{}') AND btrim(o.value #>> '{}') <> '' LOOP
                result := jsonb_set(result, ARRAY[r.field], referral.append_new(result -> r.field, part.value));
            END LOOP;
        ELSIF (r.rule = 'duplicate_when_null' AND referral.merge_value(r.field, survivor) IS NULL)
              OR (r.rule = 'newest' AND referral.merge_value(r.field, duplicate) IS NOT NULL
                  AND referral.merge_newest(org_id, (survivor ->> 'patient_id')::bigint, (duplicate ->> 'patient_id')::bigint, ARRAY[r.field])
                      = (duplicate ->> 'patient_id')::bigint) THEN
            result := jsonb_set(result, ARRAY[r.field], coalesce(duplicate -> r.field, 'null'));
        END IF;
    END LOOP;
    RETURN (SELECT coalesce(jsonb_object_agg(m.field, result -> m.field), '{}') FROM referral.merge_rules() m
            WHERE result -> m.field IS DISTINCT FROM survivor -> m.field);
END $$;
COMMENT ON FUNCTION referral.merge_values(bigint, jsonb, jsonb) IS
'The columns of a surviving patient that a merge would change, each with its new value, by referral.merge_rules(); the rows as to_jsonb() makes them. Names, phones and identifiers that do not survive go to previous_family, alias, other_phones and other_identifiers.';

CREATE FUNCTION referral.merge_value(field text, patient jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN btrim(patient ->> field) = '' OR patient -> field IN ('null', '[]') OR (field = 'sex' AND patient ->> field = 'unknown')
                THEN NULL ELSE patient -> field END
$$;
COMMENT ON FUNCTION referral.merge_value(text, jsonb) IS
'A field of a patient; null when it says nothing: null, blank, an empty list, or unknown as the sex.';

CREATE FUNCTION referral.token_of(patient jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT to_jsonb(coalesce(patient ->> 'identifier_system', '') || '|' || nullif(btrim(patient ->> 'identifier'), ''))
$$;
COMMENT ON FUNCTION referral.token_of(jsonb) IS
'The identifier of a patient as one text, system|value, as other_identifiers holds them; null when there is none.';

CREATE FUNCTION referral.merge_preview(org_id bigint, survivor bigint, duplicate bigint)
RETURNS TABLE (field text, rule text, survivor_value jsonb, duplicate_value jsonb, result jsonb)
LANGUAGE sql STABLE STRICT ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
    SELECT m.field, m.rule, s.row -> m.field, d.row -> m.field, (s.row || referral.merge_values(merge_preview.org_id, s.row, d.row)) -> m.field
    FROM (SELECT to_jsonb(p) AS row FROM referral.patient p WHERE p.org_id = merge_preview.org_id AND p.patient_id = survivor) s,
         (SELECT to_jsonb(p) AS row FROM referral.patient p WHERE p.org_id = merge_preview.org_id AND p.patient_id = duplicate) d,
         referral.merge_rules() m
$$;
COMMENT ON FUNCTION referral.merge_preview(bigint, bigint, bigint) IS
'What merge_patient() would make of the survivor: field by field, the rule, both values and the result. Changes nothing; reads with the caller''s rights. No rows for null, and when one of them is not there or not visible.';

-- ---------- Merging ----------

CREATE FUNCTION referral.require_merge(org_id bigint, reason text, doing text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(reason !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a reason is required'
            USING ERRCODE = 'RF005', DETAIL = 'Who looks at the patient later must see why.', HINT = 'Give a reason.';
    END IF;
    IF referral.current_actor_kind(org_id) = 'ai' THEN
        RAISE EXCEPTION 'an AI may not %', doing
            USING ERRCODE = 'RF003', DETAIL = 'Two people taken for one is an error that harms.', HINT = 'Let a person decide.';
    END IF;
    PERFORM set_config('referral.reason', reason, true);
END $$;
COMMENT ON FUNCTION referral.require_merge(bigint, text, text) IS
'Refuses a reason that is null or blank (RF005) and an AI (RF003); the reason is what the journal notes while the calling function runs, which must have a SET clause for referral.reason.';

CREATE FUNCTION referral.lock_patients(org_id bigint, patients bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
    found_ids bigint[] := '{}';
BEGIN
    IF referral.may_change_org(org_id) THEN
        -- FOR UPDATE: new rows that refer to them have to wait as well
        FOR id IN SELECT x.patient_id FROM referral.patient x
                  WHERE x.org_id = lock_patients.org_id AND x.patient_id = ANY (patients) ORDER BY x.patient_id FOR UPDATE LOOP
            found_ids := found_ids || CASE WHEN referral.sees_patient(org_id, id) THEN ARRAY[id] ELSE '{}' END;
        END LOOP;
    END IF;
    IF EXISTS (SELECT FROM unnest(patients) n WHERE n IS NULL OR n <> ALL (found_ids)) THEN
        RAISE EXCEPTION 'there is no patient % in organisation %',
            (SELECT n FROM unnest(patients) n WHERE n IS NULL OR n <> ALL (found_ids) ORDER BY n LIMIT 1), org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'Check org_id and patient_id.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.lock_patients(bigint, bigint[]) IS
'Locks patients until the end of the transaction, always in the order of their ids. RF019 when there is one that the session may not change.';

CREATE FUNCTION referral.merged_ids(org_id bigint, patient_id bigint) RETURNS bigint[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE way AS (
        SELECT p.patient_id FROM referral.patient p WHERE p.org_id = merged_ids.org_id AND p.merged_into = merged_ids.patient_id
        UNION
        SELECT p.patient_id FROM way w JOIN referral.patient p ON p.org_id = merged_ids.org_id AND p.merged_into = w.patient_id)
    SELECT coalesce(array_agg(w.patient_id ORDER BY w.patient_id), '{}') FROM way w
$$;
COMMENT ON FUNCTION referral.merged_ids(bigint, bigint) IS
'The records that were merged into a patient, directly or by way of others; an empty array when there are none. Null for null.';

CREATE FUNCTION referral.kept_apart(org_id bigint, patient_id bigint, duplicate_id bigint) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one bigint[] := referral.merged_ids(org_id, patient_id) || patient_id;
    other bigint[] := referral.merged_ids(org_id, duplicate_id) || duplicate_id;
    apart bigint;
BEGIN
    SELECT last.decision_id INTO apart
    FROM unnest(one) a CROSS JOIN unnest(other) b
    CROSS JOIN LATERAL (SELECT m.decision_id, m.decision FROM referral.match_decision m
                        WHERE m.org_id = kept_apart.org_id AND m.patient_id = least(a, b) AND m.duplicate_id = greatest(a, b)
                        ORDER BY m.decision_id DESC LIMIT 1) last
    WHERE last.decision = 'not_a_match' ORDER BY 1 LIMIT 1;
    RETURN apart;
END $$;
COMMENT ON FUNCTION referral.kept_apart(bigint, bigint, bigint) IS
'The decision in force (referral.match_decision) that two patients, or records merged into them, are not the same person; null when there is none, and for null.';

CREATE FUNCTION referral.merge_obstacle(org_id bigint, survivor bigint, duplicate bigint, OUT detail text, OUT hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    survivor_last bigint := referral.survivor_of(org_id, survivor);
    duplicate_last bigint := referral.survivor_of(org_id, duplicate);
    apart bigint := referral.kept_apart(org_id, survivor, duplicate);
BEGIN
    IF survivor = duplicate THEN
        detail := 'Both are the same record.';
        hint := 'Name another survivor.';
    ELSIF NOT (referral.sees_patient(org_id, survivor_last) AND referral.sees_patient(org_id, duplicate_last)) THEN
        detail := 'One of them was merged into a patient that is not visible to the session.';
        hint := 'Ask somebody who sees all of them.';
    ELSIF survivor_last = duplicate_last THEN
        detail := format('Both are patient %s already.', survivor_last);
        hint := format('The survivor is patient %s; to turn it round, unmerge first.', survivor_last);
    ELSIF survivor_last <> survivor THEN
        detail := format('The survivor was merged itself, in the end into patient %s.', survivor_last);
        hint := format('Merge patient %s into patient %s.', duplicate_last, survivor_last);
    ELSIF duplicate_last <> duplicate THEN
        detail := format('The duplicate was merged into another patient, in the end into patient %s.', duplicate_last);
        hint := format('Merge patient %s into patient %s, or unmerge the duplicate first.', duplicate_last, survivor_last);
    ELSIF apart IS NOT NULL THEN
        detail := format('Decision %s says that they are not the same person.', apart);
        hint := 'Decide anew first, if that was wrong: referral.decide_match().';
    END IF;
END $$;
COMMENT ON FUNCTION referral.merge_obstacle(bigint, bigint, bigint) IS
'Why the duplicate cannot be merged into the survivor, and what would help; null when nothing is in the way.';

CREATE FUNCTION referral.change_patient(org_id bigint, patient_id bigint, changes jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    columns text := (SELECT string_agg(quote_ident(k), ', ' ORDER BY k) FROM jsonb_object_keys(changes) k);
    values_of text := (SELECT string_agg('r.' || quote_ident(k), ', ' ORDER BY k) FROM jsonb_object_keys(changes) k);
BEGIN
    IF columns IS NOT NULL THEN
        EXECUTE format('UPDATE referral.patient p SET (%s) = (SELECT %s FROM jsonb_populate_record(p, $3) r)'
                       ' WHERE p.org_id = $1 AND p.patient_id = $2', columns, values_of)
        USING org_id, patient_id, changes;
    END IF;
END $$;
COMMENT ON FUNCTION referral.change_patient(bigint, bigint, jsonb) IS
'Gives the columns of a patient that are named in changes the values they have there, as to_jsonb() wrote them.';

CREATE FUNCTION referral.computed_columns() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = 'referral.patient'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> '')
$$;
COMMENT ON FUNCTION referral.computed_columns() IS 'The columns of referral.patient that are computed from others.';

CREATE FUNCTION referral.patient_columns(org_id bigint, patient_id bigint, names jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_object_agg(c.key, c.value), '{}')
    FROM referral.patient p CROSS JOIN LATERAL jsonb_each(to_jsonb(p)) c
    WHERE p.org_id = patient_columns.org_id AND p.patient_id = patient_columns.patient_id AND names ? c.key
$$;
COMMENT ON FUNCTION referral.patient_columns(bigint, bigint, jsonb) IS
'The columns of a patient that are keys of names, with their values.';

CREATE FUNCTION referral.move_references(org_id bigint, survivor bigint, duplicate bigint, OUT moved jsonb, OUT held jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    name_of text;
    own jsonb;
    others jsonb;
    any_moved boolean;
BEGIN
    moved := '{}';
    held := '{}';
    FOR t IN SELECT * FROM referral.patient_references() r LOOP
        own := referral.rows_as_owner(t.relation, t.org_column, t.patient_column, coalesce(t.key_columns, '{}'), org_id, survivor, NULL, NULL);
        held := held || CASE WHEN own IS NULL THEN '{}' ELSE jsonb_build_object(referral.reference_name(t.relation, t.patient_column), own) END;
    END LOOP;
    -- once more as long as triggers write further rows of the duplicate while theirs go
    FOR turn IN 1 .. 10 LOOP
        any_moved := false;
        FOR t IN SELECT * FROM referral.patient_references() r ORDER BY r.relation::text COLLATE "C", r.patient_column LOOP
            name_of := referral.reference_name(t.relation, t.patient_column);
            others := referral.repoint(t.relation, t.org_column, t.patient_column, t.key_columns, org_id, duplicate, survivor, NULL);
            CONTINUE WHEN others IS NULL;
            any_moved := true;
            moved := moved || jsonb_build_object(name_of, coalesce(moved -> name_of, '[]') || others);
        END LOOP;
        EXIT WHEN NOT any_moved;
    END LOOP;
    IF any_moved THEN
        RAISE EXCEPTION 'rows of patient % keep coming while they are moved', duplicate
            USING ERRCODE = 'RF015', DETAIL = 'A trigger writes a new one for each that goes.', HINT = 'See the triggers of the tables that refer to patients.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.move_references(bigint, bigint, bigint) IS
'Points all that refers to the duplicate to the survivor. Returns by reference_name() the keys of the rows that moved, and of those that the survivor had before (held).';

CREATE FUNCTION referral.merge_patient(org_id bigint, survivor bigint, duplicate bigint, reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' SET referral.source_override = 'on'
SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
    s jsonb;
    d jsonb;
    chosen jsonb;
    obstacle record;
    new_id bigint;
BEGIN
    PERFORM referral.require_merge(org_id, reason, 'merge patients');
    PERFORM referral.lock_patients(org_id, ARRAY[survivor, duplicate]);
    SELECT m.merge_id INTO new_id FROM referral.patient_merge m
    WHERE m.org_id = merge_patient.org_id AND m.duplicate_id = duplicate AND m.survivor_id = survivor AND m.unmerged_at IS NULL;
    IF FOUND THEN
        RETURN new_id;
    END IF;
    obstacle := referral.merge_obstacle(org_id, survivor, duplicate);
    IF obstacle.detail IS NOT NULL THEN
        RAISE EXCEPTION 'patient % cannot be merged into patient %', duplicate, survivor
            USING ERRCODE = 'RF015', DETAIL = obstacle.detail, HINT = obstacle.hint;
    END IF;

    SELECT to_jsonb(p) INTO s FROM referral.patient p WHERE p.org_id = merge_patient.org_id AND p.patient_id = survivor;
    SELECT to_jsonb(p) INTO d FROM referral.patient p WHERE p.org_id = merge_patient.org_id AND p.patient_id = duplicate;
    chosen := referral.merge_values(org_id, s, d);
    -- before the rows change: it notes their score
    PERFORM referral.record_match_decision(org_id, survivor, duplicate, 'link', reason, 'merge');
    -- on record first: merge_guard() goes by that
    INSERT INTO referral.patient_merge (org_id, survivor_id, duplicate_id, reason, merged_by, before)
    VALUES (org_id, survivor, duplicate, reason, referral.current_actor(),
            jsonb_build_object('survivor', s - referral.computed_columns(), 'duplicate', d - referral.computed_columns()))
    RETURNING merge_id INTO new_id;
    PERFORM referral.change_patient(org_id, survivor, chosen);
    PERFORM referral.change_patient(org_id, duplicate, jsonb_build_object('merged_into', survivor, 'active', false));
    UPDATE referral.patient_merge m SET (after, moved, held) = (
        SELECT jsonb_build_object('survivor', referral.patient_columns(m.org_id, survivor, chosen),
                                  'duplicate', referral.patient_columns(m.org_id, duplicate, '{"merged_into": 0, "active": 0}')), r.moved, r.held
        FROM referral.move_references(m.org_id, survivor, duplicate) r)
    WHERE m.org_id = merge_patient.org_id AND m.merge_id = new_id;
    RETURN new_id;
END $$;
COMMENT ON FUNCTION referral.merge_patient(bigint, bigint, bigint, text) IS
'Merges a duplicate into the patient that survives, and returns the merge_id of referral.patient_merge. Nothing is deleted: the duplicate stays, with merged_into and without active; what referred to it refers to the survivor, in every table with a foreign key to referral.patient; fields survive by rule (merge_preview() shows them). The same call again returns the same merge_id and changes nothing. RF003 for an AI, RF005 without a reason, RF012 when a table that refers to it has no primary key, or deferred constraints and another owner, RF015 when they cannot be merged, RF019 when one is not there or not visible.';

CREATE FUNCTION referral.reference_name(relation regclass, column_name name) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%s(%I)', relation, column_name)
$$;
COMMENT ON FUNCTION referral.reference_name(regclass, name) IS
'A column that refers to patients, by the name that referral.patient_merge and referral.merge_reattribution know it by: schema.table(column). Null for null.';

CREATE FUNCTION referral.repoint(relation regclass, org_column name, patient_column name, key name[],
                                 org_id bigint, from_patient bigint, to_patient bigint, keys jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rows jsonb := referral.rows_as_owner(relation, org_column, patient_column, coalesce(key, '{}'), org_id, from_patient, NULL, keys);
    moved jsonb;
    why text;
BEGIN
    IF rows IS NULL THEN
        RETURN NULL;
    END IF;
    IF key IS NULL THEN
        RAISE EXCEPTION 'table % has no primary key', relation
            USING ERRCODE = 'RF012', DETAIL = 'Its rows refer to a patient, and could not be found again when he is unmerged.', HINT = 'Give it a primary key.';
    END IF;
    BEGIN
        moved := referral.rows_as_owner(relation, org_column, patient_column, key, org_id, from_patient, to_patient, keys);
    EXCEPTION
        WHEN unique_violation OR exclusion_violation OR SQLSTATE 'RF017' THEN
            why := 'It allows only one such row for a patient, and each of the two has one.';
        WHEN insufficient_privilege THEN
            -- what runs later, with other rights, is not left behind by somebody else's rights
            IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = relation AND t.tgdeferrable) THEN
                RAISE EXCEPTION 'table % has constraints that are deferred', relation
                    USING ERRCODE = 'RF012', DETAIL = 'Its rows are moved with the rights of its owner, and its constraints have to be checked at once.',
                          HINT = 'SET CONSTRAINTS ALL IMMEDIATE in this transaction first, or have the constraint NOT DEFERRABLE.';
            END IF;
            RAISE;
        WHEN OTHERS OR assert_failure THEN
            -- others may quote the row, which the caller may not be allowed to see
            IF SQLSTATE ~ '^(RF|40|42|55|57)' THEN
                RAISE;
            END IF;
            why := format('The change fails there (SQLSTATE %s).', SQLSTATE);
    END;
    IF why IS NOT NULL OR jsonb_array_length(moved) IS DISTINCT FROM jsonb_array_length(rows) THEN
        RAISE EXCEPTION 'rows of table % cannot be moved from patient % to patient %', relation, from_patient, to_patient
            USING ERRCODE = 'RF015', DETAIL = coalesce(why, 'A trigger or a policy of the table is against it.'),
                  HINT = 'Settle that in the table first.';
    END IF;
    RETURN moved;
END $$;
COMMENT ON FUNCTION referral.repoint(regclass, name, name, name[], bigint, bigint, bigint, jsonb) IS
'Points rows of a table from one patient to another and returns their keys; keys: only these rows, null: all; null when there is none. RF012 when nothing names its rows, or its constraints are deferred, RF015 when it does not let them go.';

-- ---------- Unmerging ----------

CREATE FUNCTION referral.lock_merge(org_id bigint, merge_id bigint) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m referral.patient_merge;
BEGIN
    SELECT * INTO m FROM referral.patient_merge x WHERE x.org_id = lock_merge.org_id AND x.merge_id = lock_merge.merge_id;
    IF m.merge_id IS NULL OR referral.may_change_org(m.org_id) IS NOT TRUE
       OR NOT (referral.sees_patient(m.org_id, m.survivor_id) AND referral.sees_patient(m.org_id, m.duplicate_id)) THEN
        RAISE EXCEPTION 'there is no merge % in organisation %', lock_merge.merge_id, lock_merge.org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.patient_merge.';
    END IF;
    PERFORM referral.lock_patients(m.org_id, ARRAY[m.survivor_id, m.duplicate_id]);
    SELECT * INTO m FROM referral.patient_merge x WHERE x.org_id = lock_merge.org_id AND x.merge_id = lock_merge.merge_id FOR UPDATE;
    RETURN m;
END $$;
COMMENT ON FUNCTION referral.lock_merge(bigint, bigint) IS
'Locks the two patients of a merge, then the merge itself, and returns it. RF019 when there is none that the session may change.';

CREATE FUNCTION referral.restored_value(before jsonb, after jsonb, present jsonb, is_array boolean) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN present = after THEN before
                WHEN NOT is_array OR present = 'null' THEN present
                ELSE coalesce((SELECT jsonb_agg(x.e ORDER BY x.n) FROM jsonb_array_elements(present) WITH ORDINALITY x (e, n)
                               WHERE x.e NOT IN (SELECT jsonb_array_elements(nullif(after, 'null'))
                                                 EXCEPT SELECT jsonb_array_elements(nullif(before, 'null')))),
                              CASE WHEN before IN ('null', '[]') THEN before ELSE '[]' END) END
$$;
COMMENT ON FUNCTION referral.restored_value(jsonb, jsonb, jsonb, boolean) IS
'What a column is to be when a merge is undone that made after of before: before, where it still is after; an array without the elements that the merge added; else what somebody has made of it (present).';

CREATE FUNCTION referral.restore_patient(org_id bigint, patient_id bigint, before jsonb, after jsonb) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    present jsonb := referral.patient_columns(org_id, patient_id, after);
    restored jsonb;
BEGIN
    SELECT jsonb_object_agg(p.key, referral.restored_value(before -> p.key, after -> p.key, p.value,
                                                           EXISTS (SELECT FROM referral.merge_rules() m WHERE m.field = p.key AND m.is_array)))
    INTO restored FROM jsonb_each(present) p;
    PERFORM referral.change_patient(org_id, patient_id, (
        SELECT jsonb_object_agg(r.key, r.value) FROM jsonb_each(restored) r WHERE r.value <> present -> r.key));
    RETURN ARRAY(SELECT r.key FROM jsonb_each(restored) r WHERE r.value <> before -> r.key ORDER BY 1);
END $$;
COMMENT ON FUNCTION referral.restore_patient(bigint, bigint, jsonb, jsonb) IS
'Gives the columns of a patient that a merge changed (the keys of after) the values of before, where they still are as it left them, and takes from arrays what the merge had added; returns the names of those that are not as before, since somebody has changed them.';

CREATE FUNCTION referral.is_redirect(org_id bigint, reattribution_id bigint, relation regclass, patient_column name, row_key jsonb) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    -- the note is made before the row is written, which may still come to nothing
    SELECT EXISTS (
        SELECT FROM referral.entity e
        JOIN referral.journal j ON j.org_id = is_redirect.org_id AND j.entity_id = (row_key ->> e.id_column::text)::bigint
             AND j.entity = e.entity AND j.changes ? patient_column::text
        JOIN referral.journal n ON n.org_id = is_redirect.org_id AND n.entity_id = is_redirect.reattribution_id
             AND n.entity = 'merge_reattribution' AND n.xid = j.xid AND n.xid_epoch = j.xid_epoch
        WHERE e.relation = is_redirect.relation AND e.detached_at IS NULL
          -- nor did anybody give it to a patient since, but by merging and unmerging
          AND NOT EXISTS (
              SELECT FROM referral.journal l
              WHERE l.org_id = j.org_id AND l.entity_id = j.entity_id AND l.journal_id > j.journal_id AND l.entity = j.entity
                AND l.changes ? patient_column::text
                AND NOT EXISTS (SELECT FROM referral.journal x WHERE x.org_id = l.org_id AND x.xid_epoch = l.xid_epoch AND x.xid = l.xid
                                AND x.entity = 'patient_merge')))
$$;
COMMENT ON FUNCTION referral.is_redirect(bigint, bigint, regclass, name, jsonb) IS
'Did a row get its patient in the transaction that noted it as redirected, and since by merging and unmerging only, says the journal? If not, the note is of a row that was not written, or that somebody gave to a patient since. Null for null.';

CREATE FUNCTION referral.return_references(org_id bigint, merge_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m referral.patient_merge;
    t record;
    name_of text;
    own jsonb;
    back jsonb;
    stay jsonb;
BEGIN
    SELECT * INTO m FROM referral.patient_merge x WHERE x.org_id = return_references.org_id AND x.merge_id = return_references.merge_id;
    FOR name_of IN SELECT k FROM jsonb_object_keys(m.moved) k
                   WHERE k NOT IN (SELECT referral.reference_name(r.relation, r.patient_column) FROM referral.patient_references() r) LOOP
        RAISE WARNING 'what was moved in % stays where it is', name_of
            USING DETAIL = 'The table, or its foreign key, is not there any more.', HINT = 'See moved in referral.patient_merge.';
    END LOOP;
    FOR t IN SELECT * FROM referral.patient_references() r ORDER BY r.relation::text COLLATE "C", r.patient_column LOOP
        name_of := referral.reference_name(t.relation, t.patient_column);
        own := coalesce(m.held -> name_of, '[]');
        -- what was moved, and what came for the duplicate afterwards
        SELECT coalesce(m.moved -> name_of, '[]') || coalesce(jsonb_agg(a.row_key), '[]') INTO back
        FROM referral.merge_reattribution a
        WHERE a.org_id = m.org_id AND a.merge_id = m.merge_id AND a.reference = name_of AND a.status = 'redirected'
          AND a.row_key NOT IN (SELECT jsonb_array_elements(own))
          AND referral.is_redirect(a.org_id, a.reattribution_id, t.relation, t.patient_column, a.row_key);
        back := coalesce(referral.repoint(t.relation, t.org_column, t.patient_column, t.key_columns, m.org_id, m.survivor_id, m.duplicate_id, back), '[]');
        stay := coalesce(referral.rows_as_owner(t.relation, t.org_column, t.patient_column, coalesce(t.key_columns, '{}'),
                                                m.org_id, m.survivor_id, NULL, NULL), '[]');
        -- what somebody wanted to be the duplicate's, and is still the survivor's, is to be decided
        UPDATE referral.merge_reattribution a
        SET status = CASE WHEN w.went THEN 'moved' WHEN w.stays THEN 'open' ELSE 'gone' END,
            patient_id = CASE WHEN w.went THEN m.duplicate_id END,
            decided_by = CASE WHEN w.went OR NOT w.stays THEN referral.current_actor() END,
            decided_at = CASE WHEN w.went OR NOT w.stays THEN now() END
        FROM (SELECT x.reattribution_id, x.row_key IN (SELECT jsonb_array_elements(back)) AS went,
                     x.row_key IN (SELECT jsonb_array_elements(stay)) AS stays
              FROM referral.merge_reattribution x
              WHERE x.org_id = m.org_id AND x.merge_id = m.merge_id AND x.reference = name_of) w
        WHERE a.org_id = m.org_id AND a.reattribution_id = w.reattribution_id AND a.status = 'redirected';
        INSERT INTO referral.merge_reattribution (org_id, merge_id, kind, reference, row_key, status)
        SELECT m.org_id, m.merge_id, 'row', name_of, l.key, 'open'
        FROM jsonb_array_elements(stay) l (key)
        WHERE l.key NOT IN (SELECT jsonb_array_elements(own))
          -- what came for somebody else who is merged into the survivor is his
          AND NOT EXISTS (SELECT FROM referral.merge_reattribution o JOIN referral.patient_merge x ON x.org_id = o.org_id AND x.merge_id = o.merge_id
                          WHERE x.org_id = m.org_id AND x.survivor_id = m.survivor_id AND x.merge_id <> m.merge_id AND x.unmerged_at IS NULL
                            AND o.reference = name_of AND o.row_key = l.key AND o.status = 'redirected')
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.return_references(bigint, bigint) IS
'Gives back to the duplicate of a merge what still refers to the survivor of what was moved, or has come for the duplicate since, and puts what else has come for the survivor since, or was to be the duplicate''s without becoming it, on the list referral.merge_reattribution.';

CREATE FUNCTION referral.unmerge_patient(org_id bigint, merge_id bigint, reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.reason = '' SET referral.source_override = 'on'
SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
    m referral.patient_merge;
    later bigint;
    kept text[];
BEGIN
    PERFORM referral.require_merge(org_id, reason, 'unmerge patients');
    m := referral.lock_merge(org_id, merge_id);
    IF m.unmerged_at IS NULL THEN
        SELECT max(x.merge_id) INTO later FROM referral.patient_merge x
        WHERE x.org_id = m.org_id AND x.merge_id > m.merge_id AND x.unmerged_at IS NULL AND m.survivor_id IN (x.survivor_id, x.duplicate_id);
        IF later IS NOT NULL THEN
            RAISE EXCEPTION 'merge % cannot be undone before a later one', m.merge_id
                USING ERRCODE = 'RF015', DETAIL = format('Merge %s has changed patient %s since.', later, m.survivor_id),
                      HINT = format('Undo merge %s first.', later);
        END IF;
        UPDATE referral.patient_merge x SET unmerged_by = referral.current_actor(), unmerged_at = now(), unmerge_reason = unmerge_patient.reason
        WHERE x.org_id = m.org_id AND x.merge_id = m.merge_id;
        PERFORM referral.restore_patient(m.org_id, m.duplicate_id, m.before -> 'duplicate', m.after -> 'duplicate');
        kept := referral.restore_patient(m.org_id, m.survivor_id, m.before -> 'survivor', m.after -> 'survivor');
        INSERT INTO referral.merge_reattribution (org_id, merge_id, kind, column_name, status)
        SELECT m.org_id, m.merge_id, 'column', k, 'open' FROM unnest(kept) k;
        PERFORM referral.return_references(m.org_id, m.merge_id);
        -- else the pair would be proposed, or merged, again
        PERFORM referral.record_match_decision(m.org_id, m.survivor_id, m.duplicate_id, 'not_a_match', reason, 'unmerge');
    END IF;
    RETURN (SELECT count(*) FROM referral.merge_reattribution a
            WHERE a.org_id = m.org_id AND a.merge_id = m.merge_id AND a.status = 'open');
END $$;
COMMENT ON FUNCTION referral.unmerge_patient(bigint, bigint, text) IS
'Undoes a merge: both patients become what they were in the columns that it changed, and get back the rows that were theirs. Returns how many entries it leaves in referral.merge_reattribution for somebody to decide: columns of the survivor that somebody has changed since, which stay, and rows that came for the survivor since. The same call again changes nothing. RF003 for an AI, RF005 without a reason, RF015 while a later merge of the survivor stands, or when a table does not let its rows go, RF019 when there is no such merge.';

CREATE FUNCTION referral.reattribute(org_id bigint, reattribution_id bigint, patient_id bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET referral.source_override = 'on'
SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
    a referral.merge_reattribution;
    m referral.patient_merge;
    t record;
    moved jsonb;
    taken jsonb;
    added jsonb;
BEGIN
    SELECT * INTO a FROM referral.merge_reattribution x WHERE x.org_id = reattribute.org_id AND x.reattribution_id = reattribute.reattribution_id;
    IF a.reattribution_id IS NULL OR a.status = 'redirected' OR referral.may_change_org(a.org_id) IS NOT TRUE THEN
        RAISE EXCEPTION 'there is no entry % to decide on in organisation %', reattribution_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist, its merge stands, or it is not visible to the session.', HINT = 'See referral.merge_reattribution.';
    END IF;
    IF referral.current_actor_kind(a.org_id) = 'ai' THEN
        RAISE EXCEPTION 'an AI may not decide whose data they are'
            USING ERRCODE = 'RF003', DETAIL = 'What goes to the wrong patient harms.', HINT = 'Let a person decide.';
    END IF;
    m := referral.lock_merge(a.org_id, a.merge_id);
    SELECT * INTO a FROM referral.merge_reattribution x
    WHERE x.org_id = a.org_id AND x.reattribution_id = a.reattribution_id FOR UPDATE;
    IF patient_id IS NULL OR patient_id NOT IN (m.survivor_id, m.duplicate_id) OR (a.status <> 'open' AND a.patient_id <> reattribute.patient_id) THEN
        RAISE EXCEPTION 'entry % cannot be given to patient %', a.reattribution_id, patient_id
            USING ERRCODE = 'RF015',
                  DETAIL = CASE WHEN a.status <> 'open' THEN format('It was decided already: it is patient %s''s.', a.patient_id)
                                ELSE format('Its merge was about the patients %s and %s.', m.survivor_id, m.duplicate_id) END,
                  HINT = CASE WHEN a.status <> 'open' THEN 'Change the row itself, if that was wrong.' ELSE 'Name one of these two.' END;
    END IF;
    IF a.status <> 'open' THEN
        RETURN a.status;
    END IF;
    IF patient_id = m.duplicate_id
       AND EXISTS (SELECT FROM referral.patient p
                   WHERE p.org_id = m.org_id AND p.patient_id IN (m.survivor_id, m.duplicate_id) AND p.merged_into IS NOT NULL) THEN
        RAISE EXCEPTION 'entry % cannot be given to patient %', a.reattribution_id, patient_id
            USING ERRCODE = 'RF015', DETAIL = format('Patient %s or patient %s was merged again since.', m.survivor_id, m.duplicate_id),
                  HINT = format('Undo that merge first, or give the entry to patient %s to close it.', m.survivor_id);
    END IF;
    IF patient_id = m.duplicate_id AND a.kind = 'row' THEN
        SELECT * INTO t FROM referral.patient_references() r WHERE referral.reference_name(r.relation, r.patient_column) = a.reference;
        IF FOUND THEN
            moved := referral.repoint(t.relation, t.org_column, t.patient_column, t.key_columns, m.org_id,
                                      m.survivor_id, m.duplicate_id, jsonb_build_array(a.row_key));
        END IF;
        IF moved IS NULL THEN
            RAISE EXCEPTION 'the row of entry % is not patient %''s any more', a.reattribution_id, m.survivor_id
                USING ERRCODE = 'RF015', DETAIL = 'Somebody has moved or deleted it since.', HINT = format('Give the entry to patient %s to close it.', m.survivor_id);
        END IF;
    ELSIF patient_id = m.duplicate_id THEN
        SELECT to_jsonb(p) -> a.column_name INTO taken FROM referral.patient p WHERE p.org_id = m.org_id AND p.patient_id = m.survivor_id;
        IF EXISTS (SELECT FROM referral.merge_rules() r WHERE r.field = a.column_name AND r.is_array) THEN
            -- what is new in a list, to what the duplicate has
            SELECT jsonb_agg(x.e ORDER BY x.n) INTO added
            FROM jsonb_array_elements(nullif(taken, 'null')) WITH ORDINALITY x (e, n)
            WHERE x.e NOT IN (SELECT jsonb_array_elements(nullif(m.before -> 'survivor' -> a.column_name, 'null')));
            SELECT to_jsonb(p) -> a.column_name INTO taken FROM referral.patient p WHERE p.org_id = m.org_id AND p.patient_id = m.duplicate_id;
            FOR moved IN SELECT jsonb_array_elements(added) LOOP
                taken := referral.append_new(taken, moved);
            END LOOP;
        END IF;
        PERFORM referral.change_patient(m.org_id, m.duplicate_id, jsonb_build_object(a.column_name, taken));
        PERFORM referral.change_patient(m.org_id, m.survivor_id, jsonb_build_object(a.column_name, m.before -> 'survivor' -> a.column_name));
    END IF;
    UPDATE referral.merge_reattribution x
    SET status = CASE WHEN reattribute.patient_id = m.duplicate_id THEN 'moved' ELSE 'kept' END, patient_id = reattribute.patient_id,
        decided_by = referral.current_actor(), decided_at = now()
    WHERE x.org_id = a.org_id AND x.reattribution_id = a.reattribution_id;
    RETURN CASE WHEN reattribute.patient_id = m.duplicate_id THEN 'moved' ELSE 'kept' END;
END $$;
COMMENT ON FUNCTION referral.reattribute(bigint, bigint, bigint) IS
'Decides on an entry that unmerge_patient() left: given to the survivor of the merge it stays where it is (kept), given to the duplicate the row, or the value of the column (of an array, what is new in it), goes there (moved); returns which. The same call again changes nothing. RF003 for an AI, RF015 for another patient, when it was decided otherwise, for the duplicate while one of both is merged, or when the row is not the survivor''s any more, RF019 when there is no such entry.';

-- ---------- What keeps it so ----------

CREATE FUNCTION referral.merge_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT max(m.survivor_id) FROM referral.patient_merge m
        WHERE m.org_id = NEW.org_id AND m.duplicate_id = NEW.patient_id AND m.unmerged_at IS NULL) IS DISTINCT FROM NEW.merged_into THEN
        RAISE EXCEPTION 'merged_into of patient % cannot be written', NEW.patient_id
            USING ERRCODE = 'RF015', DETAIL = 'It says what referral.patient_merge says.', HINT = 'Call referral.merge_patient() or referral.unmerge_patient().';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.merge_guard() IS
'BEFORE row trigger of referral.patient, where merged_into changes: only as merge_patient() and unmerge_patient() have put on record (RF015).';

CREATE FUNCTION referral.follow_merge() RETURNS trigger
LANGUAGE C AS 'MODULE_PATHNAME', 'follow_merge';
COMMENT ON FUNCTION referral.follow_merge() IS
'follow_merge(entity, id column, patient column): BEFORE INSERT OR UPDATE row trigger of an entity with a column that refers to referral.patient. A row that names a patient who was merged gets the survivor, and referral.merge_reattribution notes that, so that unmerging gives it back. Waits for whoever is merging the patient. RF012 when the table is not registered for the entity, or has no such column.';

CREATE FUNCTION referral.find_duplicate_referrals(org_id bigint, period interval DEFAULT '90 days')
RETURNS TABLE (patient_id bigint, referral_id bigint, duplicate_id bigint, score double precision, grade text, reasons text[])
LANGUAGE sql STABLE STRICT ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
    WITH open AS (
        SELECT r.org_id, r.referral_id, r.requester_id, r.performer_id, r.received_at, r.reason_code_system,
               nullif(btrim(r.placer_order_number), '') AS placer_order_number, CASE WHEN p.merged_into IS NULL THEN r.patient_id ELSE referral.survivor_of(r.org_id, r.patient_id) END AS person,
               lower(nullif(btrim(r.service_code), '')) AS service, lower(nullif(btrim(r.specialty), '')) AS special,
               lower(coalesce(nullif(btrim(r.reason_code), ''), nullif(btrim(r.reason_text), ''))) AS because
        FROM referral.referral r
        LEFT JOIN referral.patient p ON p.org_id = r.org_id AND p.patient_id = r.patient_id
        WHERE r.org_id = find_duplicate_referrals.org_id AND r.patient_id IS NOT NULL
          AND r.state NOT IN ('closed_loop', 'declined', 'cancelled', 'expired', 'entered_in_error')),
    pair AS (
        SELECT a.person, a.referral_id, b.referral_id AS duplicate_id,
               a.service = b.service AS same_service,
               a.special = b.special AS same_specialty,
               a.because = b.because AND a.reason_code_system IS NOT DISTINCT FROM b.reason_code_system AS same_reason,
               a.placer_order_number = b.placer_order_number AND (a.requester_id = b.requester_id) IS NOT FALSE AS same_order,
               a.requester_id = b.requester_id AS same_requester,
               a.performer_id = b.performer_id AS same_performer,
               abs(extract(epoch FROM a.received_at - b.received_at)) <= 7 * 86400 AS same_week
        FROM open a JOIN open b ON b.person = a.person AND b.referral_id > a.referral_id
             AND b.received_at BETWEEN a.received_at - period AND a.received_at + period),
    scored AS (
        SELECT p.*, CASE WHEN p.same_order THEN 1
                         ELSE 0.45 + CASE WHEN p.same_service THEN 0.2 ELSE 0 END + CASE WHEN p.same_reason THEN 0.1 ELSE 0 END
                              + CASE WHEN p.same_specialty THEN 0.05 ELSE 0 END + CASE WHEN p.same_requester THEN 0.05 ELSE 0 END
                              + CASE WHEN p.same_performer THEN 0.05 ELSE 0 END + CASE WHEN p.same_week THEN 0.1 ELSE 0 END END AS points
        FROM pair p
        WHERE p.same_order OR p.same_service OR (p.same_service IS NULL AND p.same_specialty AND p.same_reason))
    SELECT s.person, s.referral_id, s.duplicate_id, s.points::double precision,
           CASE WHEN s.same_order THEN 'certain' WHEN s.points >= 0.75 THEN 'probable' ELSE 'possible' END,
           array_remove(ARRAY[CASE WHEN s.same_order THEN 'placer_order_number' END, CASE WHEN s.same_service THEN 'service_code' END,
                              CASE WHEN s.same_specialty THEN 'specialty' END, CASE WHEN s.same_reason THEN 'reason' END,
                              CASE WHEN s.same_requester THEN 'requester' END, CASE WHEN s.same_performer THEN 'performer' END,
                              CASE WHEN s.same_week THEN 'same week' END], NULL)
    FROM scored s ORDER BY s.points DESC, s.referral_id, s.duplicate_id
$$;
COMMENT ON FUNCTION referral.find_duplicate_referrals(bigint, interval) IS
'Pairs of referrals that may ask for the same thing twice: of one patient (whoever he was merged into), not ended, received within the period, with the same service code, or specialty and reason where one has no service code, or the same placer order number. grade: certain (same order), probable, possible; score from 0.6 to 1; reasons: what agrees. Reads with the caller''s rights. No rows for null.';

REVOKE ALL ON FUNCTION referral.sees_patient(bigint, bigint), referral.merge_obstacle(bigint, bigint, bigint), referral.rows_as_owner(regclass, name, name, name[], bigint, bigint, bigint, jsonb), referral.merge_rule_check(),
    referral.require_merge(bigint, text, text), referral.lock_patients(bigint, bigint[]), referral.change_patient(bigint, bigint, jsonb),
    referral.merge_patient(bigint, bigint, bigint, text), referral.repoint(regclass, name, name, name[], bigint, bigint, bigint, jsonb),
    referral.lock_merge(bigint, bigint), referral.restore_patient(bigint, bigint, jsonb, jsonb), referral.return_references(bigint, bigint),
    referral.move_references(bigint, bigint, bigint), referral.is_redirect(bigint, bigint, regclass, name, jsonb),
    referral.unmerge_patient(bigint, bigint, text), referral.reattribute(bigint, bigint, bigint), referral.merge_guard(), referral.follow_merge() FROM PUBLIC;
