-- review: what models read from documents counts only when it is sure enough, or when a person has looked at it

-- ---------- What a value must look like ----------

CREATE FUNCTION referral.is_canonical_attribute(attribute text) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'is_canonical_attribute';
COMMENT ON FUNCTION referral.is_canonical_attribute(text) IS
'Is there such a canonical attribute (canonical_attribute())? Null for null.';

CREATE FUNCTION referral.canonical_fault(attribute text, value text) RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'canonical_fault';
COMMENT ON FUNCTION referral.canonical_fault(text, text) IS
'What is wrong with a value of a canonical attribute, in words without the value; null when nothing is. Dates and times as ISO 8601 writes them, times with zone; booleans true or false. Never fails.';

-- ---------- Which threshold holds ----------

CREATE FUNCTION referral.confidence_threshold_for(
    document_type text, field text, OUT confidence_threshold_id bigint, OUT minimum float8, OUT rule_version bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT t.confidence_threshold_id, t.minimum, t.rule_version_id
    INTO confidence_threshold_for.confidence_threshold_id, confidence_threshold_for.minimum, confidence_threshold_for.rule_version
    FROM referral.confidence_threshold t JOIN referral.rule_version v USING (rule_version_id)
    WHERE v.status = 'active'
      AND (t.document_type IS NULL OR t.document_type = confidence_threshold_for.document_type)
      AND (t.field IS NULL OR t.field = confidence_threshold_for.field)
    -- of two rule sets the stricter one
    ORDER BY (t.field IS NOT NULL) DESC, (t.document_type IS NOT NULL) DESC, t.minimum DESC, t.confidence_threshold_id LIMIT 1;
END $$;
COMMENT ON FUNCTION referral.confidence_threshold_for(text, text) IS
'The threshold in force for a field of a document of a type: that of field and type, else of the field, else of the type, else the general one. Nulls when there is none.';

CREATE FUNCTION referral.judge_confidence(
    document_type text, field text, value text, confidence float8, contradicted boolean,
    OUT status text, OUT reason text, OUT confidence_threshold_id bigint, OUT threshold float8, OUT rule_version bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT t.confidence_threshold_id, t.minimum, t.rule_version INTO confidence_threshold_id, threshold, rule_version
    FROM referral.confidence_threshold_for(document_type, field) t;
    -- NaN is above every number; null and what is out of range are no confidence at all
    reason := CASE WHEN referral.canonical_fault(field, value) IS NOT NULL THEN 'invalid_value'
                   WHEN (confidence BETWEEN 0 AND 1) IS NOT TRUE THEN 'no_confidence'
                   WHEN threshold IS NULL THEN 'no_threshold'
                   WHEN confidence < threshold THEN 'below_threshold'
                   WHEN contradicted THEN 'contradiction' END;
    status := CASE WHEN reason IS NULL THEN 'auto_accepted' ELSE 'in_review' END;
END $$;
COMMENT ON FUNCTION referral.judge_confidence(text, text, text, float8, boolean) IS
'May what a model says pass without a person? auto_accepted when its confidence, 0 to 1, reaches the threshold in force, the value is one that the field can have, and nothing that holds for the field contradicts it, nor has a person rejected the same; else in_review, with the reason: invalid_value, no_confidence (null, NaN or out of range), no_threshold, below_threshold, contradiction. With the threshold that decided.';

-- ---------- The guards ----------

CREATE FUNCTION referral.check_review(org_id bigint, entity text, id bigint, new_status text, produced_by text, is_again boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(new_status NOT IN ('accepted', 'corrected', 'rejected'), true) THEN
        RAISE EXCEPTION '% % can only be accepted, corrected or rejected', entity, id
            USING ERRCODE = 'RF001', DETAIL = 'What passes without a person, and what goes to review, the database decides when the row comes in.',
                  HINT = 'Set status to accepted, corrected or rejected.';
    END IF;
    IF referral.current_actor_kind(org_id) <> 'user' THEN
        RAISE EXCEPTION 'only a person reviews what a model has read'
            USING ERRCODE = 'RF003', DETAIL = format('The session acts as kind "%s".', referral.current_actor_kind(org_id)),
                  HINT = 'Have a person review it; an application names him in referral.actor.';
    END IF;
    IF referral.current_actor() = produced_by THEN
        RAISE EXCEPTION '% % cannot be reviewed by who brought it in', entity, id
            USING ERRCODE = 'RF013', DETAIL = format('It was brought in by %s.', produced_by), HINT = 'Have somebody else review it.';
    END IF;
    IF is_again AND coalesce(current_setting('referral.reason', true) !~ '[^[:space:]]', true) THEN
        RAISE EXCEPTION 'a reason is required to review % % again', entity, id
            USING ERRCODE = 'RF005', DETAIL = 'A person has decided about it already.', HINT = 'Give a reason, or SET LOCAL referral.reason.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_review(bigint, text, bigint, text, text, boolean) IS
'Refuses a review: to another status than accepted, corrected or rejected (RF001), by a system or an AI (RF003), by who brought the row in (RF013), a second one without a reason (RF005).';

CREATE FUNCTION referral.reviewed_as(entity text, id bigint, status text, field text, value text, reviewed text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result text := CASE status WHEN 'accepted' THEN value WHEN 'corrected' THEN reviewed END;
    fault text := CASE WHEN status <> 'rejected' THEN referral.canonical_fault(field, result) END;
BEGIN
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '% % cannot be % with that value', entity, id, status
            USING ERRCODE = 'RF020', DETAIL = format('Field %s: %s.', field, fault),
                  HINT = 'Correct it to a value that the field can have (referral.canonical_attribute()), or reject it.';
    END IF;
    IF status = 'corrected' AND result = value THEN
        RAISE EXCEPTION '% % is not corrected by the value that it has', entity, id
            USING ERRCODE = 'RF020', DETAIL = 'A correction says what the model should have read.', HINT = 'Accept it, or give another value.';
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION referral.reviewed_as(text, bigint, text, text, text, text) IS
'The value that holds after a review: the model''s own when it is accepted, the reviewer''s when it is corrected, null when it is rejected. RF020 when the field cannot have it, or a correction corrects nothing.';

CREATE FUNCTION referral.check_produced_at(produced_at timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT isfinite(produced_at) THEN
        RAISE EXCEPTION 'a model has read nothing at an infinite time'
            USING ERRCODE = 'RF020', DETAIL = 'produced_at tells how long a value waits for its review.', HINT = 'Give the time at which the model read it, or leave it out.';
    END IF;
END $$;
COMMENT ON FUNCTION referral.check_produced_at(timestamptz) IS 'Refuses an infinite time at which a model has read something (RF020). Null is let through.';

CREATE FUNCTION referral.refuse_result_change(entity text, id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'what a model has read stays as it is: % %', entity, id
        USING ERRCODE = 'RF007', DETAIL = 'Value, confidence, model and the threshold that decided are on record.',
              HINT = 'Review it, or insert what the model says now as a new row.';
END $$;
COMMENT ON FUNCTION referral.refuse_result_change(text, bigint) IS
'Refuses (RF007) to change or delete what a model has said.';

CREATE FUNCTION referral.extraction_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM referral.check_produced_at(NEW.produced_at);
        IF NOT referral.is_canonical_attribute(NEW.field) THEN
            RAISE EXCEPTION 'there is no canonical attribute "%"', left(NEW.field, 60)
                USING ERRCODE = 'RF020', DETAIL = 'A field is named as in the canonical model.', HINT = 'See referral.canonical_attribute().';
        END IF;
        -- one after the other, so that a contradiction is noticed
        PERFORM FROM referral.document d WHERE d.org_id = NEW.org_id AND d.document_id = NEW.document_id FOR NO KEY UPDATE;
        SELECT j.status, j.reason, j.confidence_threshold_id, j.threshold, j.rule_version
        INTO NEW.status, NEW.reason, NEW.confidence_threshold_id, NEW.threshold, NEW.rule_version
        FROM referral.judge_confidence(
            (SELECT d.type FROM referral.document d WHERE d.org_id = NEW.org_id AND d.document_id = NEW.document_id),
            NEW.field, NEW.value, NEW.confidence,
            EXISTS (SELECT FROM referral.extraction e
                    WHERE e.org_id = NEW.org_id AND e.document_id = NEW.document_id AND e.field = NEW.field
                      AND CASE e.status WHEN 'in_review' THEN false
                          -- what a person has rejected comes back only by a person
                          WHEN 'rejected' THEN e.value = NEW.value
                              AND NOT EXISTS (SELECT FROM referral.extraction l
                                              WHERE l.org_id = e.org_id AND l.document_id = e.document_id AND l.field = e.field
                                                AND l.status IN ('accepted', 'corrected') AND l.reviewed_value = e.value
                                                AND l.reviewed_at > e.reviewed_at)
                          ELSE coalesce(e.reviewed_value, e.value) <> NEW.value END)) j;
        NEW.produced_by := referral.current_actor();
        NEW.reviewed_value := NULL; NEW.reviewed_by := NULL; NEW.reviewed_at := NULL;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE'
       OR (NEW.org_id, NEW.extraction_id, NEW.document_id, NEW.field, NEW.value, NEW.confidence, NEW.model, NEW.model_version,
           NEW.produced_at, NEW.produced_by, NEW.reason, NEW.confidence_threshold_id, NEW.threshold, NEW.rule_version)
          IS DISTINCT FROM
          (OLD.org_id, OLD.extraction_id, OLD.document_id, OLD.field, OLD.value, OLD.confidence, OLD.model, OLD.model_version,
           OLD.produced_at, OLD.produced_by, OLD.reason, OLD.confidence_threshold_id, OLD.threshold, OLD.rule_version) THEN
        PERFORM referral.refuse_result_change('extraction', OLD.extraction_id);
    END IF;
    NEW.reviewed_by := OLD.reviewed_by; NEW.reviewed_at := OLD.reviewed_at;
    IF (NEW.status, NEW.reviewed_value) IS DISTINCT FROM (OLD.status, OLD.reviewed_value) THEN
        PERFORM referral.check_review(OLD.org_id, 'extraction', OLD.extraction_id, NEW.status, OLD.produced_by, OLD.reviewed_by IS NOT NULL);
        NEW.reviewed_value := referral.reviewed_as('extraction', OLD.extraction_id, NEW.status, OLD.field, OLD.value, NEW.reviewed_value);
        NEW.reviewed_by := referral.current_actor(); NEW.reviewed_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.extraction_guard() IS
'BEFORE row trigger of referral.extraction: decides by the threshold in force whether a new value passes or goes to review, whatever status was given; afterwards only a review changes the row. RF001, RF003, RF005, RF013 as check_review(), RF007 for any other change, RF020 for a field that there is not or a value that it cannot have.';

CREATE FUNCTION referral.classification_guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM referral.check_produced_at(NEW.produced_at);
        PERFORM FROM referral.document d WHERE d.org_id = NEW.org_id AND d.document_id = NEW.document_id FOR NO KEY UPDATE;
        SELECT j.status, j.reason, j.confidence_threshold_id, j.threshold, j.rule_version
        INTO NEW.status, NEW.reason, NEW.confidence_threshold_id, NEW.threshold, NEW.rule_version
        FROM referral.judge_confidence(
            NEW.document_type, 'document.type', NEW.document_type, NEW.confidence,
            EXISTS (SELECT FROM referral.document_classification c
                    WHERE c.org_id = NEW.org_id AND c.document_id = NEW.document_id
                      AND CASE c.status WHEN 'in_review' THEN false
                          WHEN 'rejected' THEN c.document_type = NEW.document_type
                              AND NOT EXISTS (SELECT FROM referral.document_classification l
                                              WHERE l.org_id = c.org_id AND l.document_id = c.document_id
                                                AND l.status IN ('accepted', 'corrected') AND l.reviewed_type = c.document_type
                                                AND l.reviewed_at > c.reviewed_at)
                          ELSE coalesce(c.reviewed_type, c.document_type) <> NEW.document_type END)) j;
        NEW.produced_by := referral.current_actor();
        NEW.reviewed_type := NULL; NEW.reviewed_by := NULL; NEW.reviewed_at := NULL;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE'
       OR (NEW.org_id, NEW.document_classification_id, NEW.document_id, NEW.document_type, NEW.confidence, NEW.model, NEW.model_version,
           NEW.produced_at, NEW.produced_by, NEW.reason, NEW.confidence_threshold_id, NEW.threshold, NEW.rule_version)
          IS DISTINCT FROM
          (OLD.org_id, OLD.document_classification_id, OLD.document_id, OLD.document_type, OLD.confidence, OLD.model, OLD.model_version,
           OLD.produced_at, OLD.produced_by, OLD.reason, OLD.confidence_threshold_id, OLD.threshold, OLD.rule_version) THEN
        PERFORM referral.refuse_result_change('document_classification', OLD.document_classification_id);
    END IF;
    NEW.reviewed_by := OLD.reviewed_by; NEW.reviewed_at := OLD.reviewed_at;
    IF (NEW.status, NEW.reviewed_type) IS DISTINCT FROM (OLD.status, OLD.reviewed_type) THEN
        PERFORM referral.check_review(OLD.org_id, 'document_classification', OLD.document_classification_id, NEW.status, OLD.produced_by,
                                      OLD.reviewed_by IS NOT NULL);
        NEW.reviewed_type := referral.reviewed_as('document_classification', OLD.document_classification_id, NEW.status,
                                                  'document.type', OLD.document_type, NEW.reviewed_type);
        NEW.reviewed_by := referral.current_actor(); NEW.reviewed_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION referral.classification_guard() IS
'BEFORE row trigger of referral.document_classification: as extraction_guard(), by the threshold of field document.type.';

-- ---------- What follows ----------

CREATE FUNCTION referral.review_item(
    org_id bigint, document_id bigint, entity text, id bigint, field text, old_status text, new_status text, reason text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF new_status = 'in_review' THEN
        PERFORM referral.open_exception(
            review_item.org_id, 'low_confidence', entity, id,
            (SELECT d.referral_id FROM referral.document d WHERE d.org_id = review_item.org_id AND d.document_id = review_item.document_id),
            reason, format('Field %s of document %s waits for a person.', field, document_id), 'medium', false);
    ELSIF old_status = 'in_review' THEN
        PERFORM referral.close_exception(x.org_id, x.exception_id, new_status)
        FROM referral.exception_item x
        WHERE x.org_id = review_item.org_id AND x.entity = review_item.entity AND x.entity_id = id AND x.category = 'low_confidence'
          AND x.status IN ('open', 'in_progress');
    END IF;
END $$;
COMMENT ON FUNCTION referral.review_item(bigint, bigint, text, bigint, text, text, text, text) IS
'Opens the exception item of what goes to review, or closes it when it was reviewed.';

CREATE FUNCTION referral.extraction_follows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.review_item(NEW.org_id, NEW.document_id, 'extraction', NEW.extraction_id, NEW.field,
        CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status, NEW.reason);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.extraction_follows() IS
'AFTER row trigger of referral.extraction: what goes to review becomes an exception item, which the review closes.';

CREATE FUNCTION referral.classification_follows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM referral.review_item(NEW.org_id, NEW.document_id, 'document_classification', NEW.document_classification_id, 'document.type',
        CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status, NEW.reason);
    -- a model names what nobody has named yet; a person has the last word
    IF NEW.status IN ('auto_accepted', 'accepted', 'corrected') THEN
        UPDATE referral.document d SET type = coalesce(NEW.reviewed_type, NEW.document_type)
        WHERE d.org_id = NEW.org_id AND d.document_id = NEW.document_id
          AND d.type <> coalesce(NEW.reviewed_type, NEW.document_type)
          AND (d.type = 'unindexed' OR NEW.status <> 'auto_accepted');
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.classification_follows() IS
'AFTER row trigger of referral.document_classification: as extraction_follows(); and the document gets its type, from a model only while it is unindexed.';

-- ---------- Reviewing ----------

CREATE FUNCTION referral.review_status(decision text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(decision NOT IN ('accept', 'correct', 'reject'), true) THEN
        RAISE EXCEPTION 'a review is accept, correct or reject'
            USING ERRCODE = 'RF020', DETAIL = 'The value is right, it should be another one, or there is none.', HINT = 'Choose one of the three.';
    END IF;
    RETURN CASE decision WHEN 'accept' THEN 'accepted' WHEN 'correct' THEN 'corrected' ELSE 'rejected' END;
END $$;
COMMENT ON FUNCTION referral.review_status(text) IS 'The status that a review leads to: accept, correct or reject. RF020 for anything else.';

CREATE FUNCTION referral.review_extraction(org_id bigint, extraction_id bigint, decision text, value text DEFAULT NULL, reason text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    new_status text := referral.review_status(decision);
BEGIN
    PERFORM set_config('referral.reason', coalesce(reason, ''), true);
    UPDATE referral.extraction e SET status = new_status, reviewed_value = CASE new_status WHEN 'corrected' THEN review_extraction.value
                                                                            WHEN 'accepted' THEN e.value END
    WHERE e.org_id = review_extraction.org_id AND e.extraction_id = review_extraction.extraction_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no extraction % in organisation %', extraction_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.extraction_review_queue.';
    END IF;
    RETURN new_status;
END $$;
COMMENT ON FUNCTION referral.review_extraction(bigint, bigint, text, text, text) IS
'A person''s review of what a model has read: accept, correct (with the value) or reject; returns the new status. The same as an UPDATE of status and reviewed_value. A second review needs a reason. Errors as extraction_guard(), RF019 when there is no such row, also for null.';

CREATE FUNCTION referral.review_classification(
    org_id bigint, document_classification_id bigint, decision text, document_type text DEFAULT NULL, reason text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET referral.reason = '' AS $$
DECLARE
    new_status text := referral.review_status(decision);
BEGIN
    PERFORM set_config('referral.reason', coalesce(reason, ''), true);
    UPDATE referral.document_classification c
    SET status = new_status, reviewed_type = CASE new_status WHEN 'corrected' THEN review_classification.document_type
                                                  WHEN 'accepted' THEN c.document_type END
    WHERE c.org_id = review_classification.org_id
      AND c.document_classification_id = review_classification.document_classification_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no document classification % in organisation %', document_classification_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.', HINT = 'See referral.extraction_review_queue.';
    END IF;
    RETURN new_status;
END $$;
COMMENT ON FUNCTION referral.review_classification(bigint, bigint, text, text, text) IS
'A person''s review of what a model takes a document for, as review_extraction(); a correction names the type of the document.';

-- ---------- The case that a document tells of ----------

CREATE FUNCTION referral.put_canonical(target jsonb, path text[], value jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    inner_value jsonb := value;
BEGIN
    IF cardinality(path) > 1 THEN
        inner_value := referral.put_canonical(coalesce(target -> path[1], '{}'), path[2:], value);
    END IF;
    RETURN target || jsonb_build_object(path[1], inner_value);
END $$;
COMMENT ON FUNCTION referral.put_canonical(jsonb, text[], jsonb) IS
'Puts a value at a path of a jsonb object, with the objects on the way; places of arrays become keys. Null for null.';

CREATE FUNCTION referral.number_to_array(value jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(value) <> 'object' THEN
        RETURN value;
    ELSIF value <> '{}' AND NOT EXISTS (SELECT FROM jsonb_object_keys(value) k WHERE k !~ '^[0-9]+$') THEN
        -- a place that was left out closes up
        RETURN (SELECT jsonb_agg(referral.number_to_array(e.value) ORDER BY e.key::integer) FROM jsonb_each(value) e);
    END IF;
    RETURN (SELECT coalesce(jsonb_object_agg(e.key, referral.number_to_array(e.value)), '{}') FROM jsonb_each(value) e);
END $$;
COMMENT ON FUNCTION referral.number_to_array(jsonb) IS
'Makes arrays of the objects whose keys are numbers, at any depth. Null for null.';

CREATE FUNCTION referral.canonical_case(attributes jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a record;
    result jsonb := '{}';
BEGIN
    FOR a IN SELECT c.path, c.type, g.value FROM jsonb_each_text(attributes) g JOIN referral.canonical_attribute() c ON c.attribute = g.key
             WHERE referral.canonical_fault(g.key, g.value) IS NULL ORDER BY c.attribute LOOP
        result := referral.put_canonical(result, a.path, CASE a.type WHEN 'integer' THEN to_jsonb(a.value::integer)
                                                              WHEN 'numeric' THEN to_jsonb(a.value::numeric)
                                                              WHEN 'boolean' THEN to_jsonb(a.value::boolean)
                                                              ELSE to_jsonb(a.value) END);
    END LOOP;
    -- which coverage pays first is told by its place
    IF result ? 'coverages' THEN
        result := result || jsonb_build_object('coverages',
            (SELECT jsonb_object_agg(c.key, jsonb_build_object('priority', c.key::integer + 1) || c.value) FROM jsonb_each(result -> 'coverages') c));
    END IF;
    RETURN referral.number_to_array(result);
END $$;
COMMENT ON FUNCTION referral.canonical_case(jsonb) IS
'The parts of an intake case that canonical attributes tell of: {"patient.family": "Smith", …} becomes {"patient": {"family": "Smith"}, …}. Values that an attribute cannot have, and what is no attribute, are left out. Null for null.';

CREATE FUNCTION referral.extracted_case(org_id bigint, document_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attributes jsonb;
    told jsonb;
BEGIN
    IF EXISTS (SELECT FROM referral.extraction e WHERE e.org_id = extracted_case.org_id AND e.document_id = extracted_case.document_id
               AND e.status = 'in_review')
       OR EXISTS (SELECT FROM referral.document_classification c
                  WHERE c.org_id = extracted_case.org_id AND c.document_id = extracted_case.document_id AND c.status = 'in_review') THEN
        RETURN NULL;
    END IF;
    -- what a person has said outweighs every model; of several models' values the last one
    SELECT jsonb_object_agg(f.field, f.value) INTO attributes
    FROM (SELECT DISTINCT ON (e.field) e.field, coalesce(e.reviewed_value, e.value) AS value
          FROM referral.extraction e
          WHERE e.org_id = extracted_case.org_id AND e.document_id = extracted_case.document_id
            AND e.status IN ('auto_accepted', 'accepted', 'corrected')
            -- nor does it hold as another model has read it before
            AND (e.status <> 'auto_accepted'
                 OR NOT EXISTS (SELECT FROM referral.extraction x
                                WHERE x.org_id = e.org_id AND x.document_id = e.document_id AND x.field = e.field
                                  AND x.status = 'rejected' AND x.value = e.value))
          ORDER BY e.field, (e.reviewed_by IS NOT NULL) DESC, e.reviewed_at DESC, e.extraction_id DESC) f
    WHERE f.field NOT LIKE 'document.%';    -- the document is there already
    IF attributes IS NULL THEN
        RETURN NULL;
    END IF;
    told := referral.canonical_case(attributes);
    RETURN told || jsonb_build_object(
        'kind', CASE WHEN told ? 'reports' THEN 'report' WHEN told ? 'referral' THEN 'referral'
                     WHEN told ? 'appointments' THEN 'appointment' ELSE 'patient' END,
        'message', jsonb_build_object('type', 'extraction'),
        'extra', jsonb_build_object('document_id', document_id));
END $$;
COMMENT ON FUNCTION referral.extracted_case(bigint, bigint) IS
'What models and people have read from a document, as an intake case: the accepted and corrected values alone, and of what passed by itself nothing that a person has rejected. Null while anything of the document is in review, when there is nothing, and for null.';

REVOKE ALL ON FUNCTION referral.check_review(bigint, text, bigint, text, text, boolean), referral.refuse_result_change(text, bigint),
    referral.extraction_guard(), referral.classification_guard(), referral.review_item(bigint, bigint, text, bigint, text, text, text, text),
    referral.extraction_follows(), referral.classification_follows(),
    referral.confidence_threshold_for(text, text), referral.judge_confidence(text, text, text, float8, boolean),
    referral.review_extraction(bigint, bigint, text, text, text), referral.review_classification(bigint, bigint, text, text, text),
    referral.extracted_case(bigint, bigint) FROM PUBLIC;
