-- fhir: prior authorization (Da Vinci PAS): what a Claim asks for, and what a ClaimResponse answers, item by item

CREATE FUNCTION referral.fhir_extension(element jsonb, name text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := element -> 'extension';
BEGIN
    IF jsonb_typeof(list) IS DISTINCT FROM 'array' THEN
        RETURN NULL;
    END IF;
    FOR i IN 0 .. least(jsonb_array_length(list), 100) - 1 LOOP
        IF list -> i ->> 'url' = name OR right(list -> i ->> 'url', length(name) + 1) IN ('/' || name, '-' || name) THEN
            RETURN list -> i;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION referral.fhir_extension(jsonb, text) IS
'The first extension of an element whose URL ends in a name, after a slash or a hyphen. Null when there is none.';

CREATE FUNCTION referral.fhir_extension_text(extension jsonb) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'fhir_extension_text';
COMMENT ON FUNCTION referral.fhir_extension_text(jsonb) IS 'The value of an extension that is a code or a text, whichever way it is written. Null for another one.';

CREATE FUNCTION referral.fhir_review(element jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    review jsonb := referral.fhir_extension(element, 'reviewAction');
    -- the action is the value itself, or an extension within
    action text := upper(coalesce(referral.fhir_extension_text(review),
                                  referral.fhir_extension_text(referral.fhir_extension(review, 'reviewActionCode')),
                                  referral.fhir_extension_text(referral.fhir_extension(review, 'code'))));
BEGIN
    RETURN referral.fhir_strip(jsonb_build_object(
        'review_action', CASE WHEN action IN ('A1', 'A2', 'A3', 'A4', 'A6', 'C', 'CT', 'NA') THEN action END,
        'unknown_action', CASE WHEN action NOT IN ('A1', 'A2', 'A3', 'A4', 'A6', 'C', 'CT', 'NA') THEN action END,
        'authorization_number', referral.fhir_extension_text(referral.fhir_extension(review, 'number')),
        'reason_code', coalesce(referral.fhir_extension_text(referral.fhir_extension(review, 'reasonCode')),
                                referral.fhir_extension_text(referral.fhir_extension(element, 'reviewActionReason')))));
END $$;
COMMENT ON FUNCTION referral.fhir_review(jsonb) IS
'The review action of a ClaimResponse, of an item, or of an adjudication: review_action (X12 code 306), authorization_number, reason_code; unknown_action holds an action of another name. Null when there is none.';

CREATE FUNCTION referral.fhir_period(element jsonb, names text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    extension jsonb;
    name text;
BEGIN
    FOREACH name IN ARRAY names LOOP
        extension := coalesce(extension, referral.fhir_extension(element, name));
    END LOOP;
    RETURN referral.fhir_strip(jsonb_build_object(
        'valid_from', referral.fhir_date(referral.fhir_text(coalesce(extension #> '{valuePeriod,start}', extension -> 'valueDate', extension -> 'valueDateTime'))),
        'valid_to', referral.fhir_date(referral.fhir_text(coalesce(extension #> '{valuePeriod,end}', extension -> 'valueDate', extension -> 'valueDateTime')))));
END $$;
COMMENT ON FUNCTION referral.fhir_period(jsonb, text[]) IS 'The first of some extensions that is there, as valid_from and valid_to (the last day). Null when there is none.';

CREATE FUNCTION referral.fhir_claim(keys jsonb, resources jsonb[], source text, claim jsonb, root integer) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := referral.fhir_list(claim -> 'item');
    item jsonb;
    items jsonb := '[]';
    related jsonb := referral.fhir_list(claim -> 'related');
    replaces jsonb := '[]';
    service jsonb;
BEGIN
    FOR i IN 0 .. least(jsonb_array_length(list), 500) - 1 LOOP
        item := list -> i;
        items := items || jsonb_strip_nulls(
            jsonb_build_object('sequence', coalesce(CASE WHEN referral.fhir_number(item -> 'sequence') BETWEEN 1 AND 100000
                                                         THEN trunc(referral.fhir_number(item -> 'sequence'))::integer END, i + 1),
                               'quantity', referral.fhir_number(item #> '{quantity,value}'), 'unit', referral.fhir_text(item #> '{quantity,unit}'),
                               'review_action', CASE WHEN item @? '$.modifierExtension ? (@.url like_regex "itemCancelled$").valueBoolean ? (@ == true)'
                                                     THEN 'C' END)
            || coalesce(referral.fhir_concept(item -> 'productOrService'), '{}'));
    END LOOP;
    IF items = '[]' THEN
        -- the service asked for is the only item of a claim that has none
        service := resources[coalesce(referral.fhir_target(keys, claim -> 'prescription', root),
                                      referral.fhir_target(keys, referral.fhir_extension(claim -> 'prescription', 'requestedService') -> 'valueReference', root))];
        service := coalesce(referral.fhir_concept(service -> 'code'), referral.fhir_concept(service -> 'codeCodeableConcept'),
                            referral.fhir_concept(service -> 'medicationCodeableConcept'));
        items := CASE WHEN service IS NULL THEN '[]' ELSE jsonb_build_array(service || '{"sequence": 1}') END;
    END IF;
    FOR i IN 0 .. least(jsonb_array_length(related), 20) - 1 LOOP
        IF referral.fhir_concept_name(related -> i -> 'relationship') IN ('prior', 'replaces', 'associated') IS NOT FALSE THEN
            replaces := replaces || coalesce(referral.fhir_reference_ids(related -> i -> 'claim', source, 'Claim'),
                referral.fhir_strip(jsonb_build_object('system', referral.fhir_text(related -> i -> 'claim' -> 'identifier' -> 'system'),
                                                       'value', referral.fhir_text(related -> i -> 'claim' -> 'identifier' -> 'value'))),
                -- a sender that writes the id of the claim where the id of the element belongs
                CASE WHEN referral.fhir_text(related -> i -> 'id') IS NOT NULL THEN
                    jsonb_build_object('system', source || '/Claim', 'value', referral.fhir_text(related -> i -> 'id'), 'type', 'FHIR') END,
                '[]');
        END IF;
    END LOOP;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'identifiers', referral.fhir_identifiers(claim, source),
        'status', CASE WHEN referral.fhir_extension_text(referral.fhir_extension(claim -> '_use', 'certificationType')) = '3'
                            OR referral.fhir_extension_text(referral.fhir_extension(claim, 'certificationType')) = '3' THEN 'cancelled'
                       ELSE CASE claim ->> 'status' WHEN 'draft' THEN 'draft' WHEN 'cancelled' THEN 'cancelled'
                                                    WHEN 'entered-in-error' THEN 'error' ELSE 'requested' END END,
        'expedited', CASE WHEN referral.fhir_concept_name(claim -> 'priority') IN ('stat', 'urgent', 'asap') THEN true END,
        'requested_at', referral.fhir_time(referral.fhir_text(claim -> 'created')),
        'replaces', referral.fhir_some(replaces),
        'items', referral.fhir_some(items)));
END $$;
COMMENT ON FUNCTION referral.fhir_claim(jsonb, jsonb[], text, jsonb, integer) IS
'The request that a FHIR Claim of use preauthorization makes: its items (at most 500), what it replaces, its status. An item that an update takes out is of action C. Never null.';

CREATE FUNCTION referral.fhir_answered_items(answer jsonb, review jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    list jsonb := referral.fhir_list(answer -> 'item') || referral.fhir_list(answer -> 'addItem');
    item jsonb;
    adjudications jsonb;
    decided jsonb;
    granted jsonb;
    items jsonb := '[]';
BEGIN
    FOR i IN 0 .. least(jsonb_array_length(list), 500) - 1 LOOP
        item := list -> i;
        adjudications := referral.fhir_list(item -> 'adjudication');
        decided := referral.fhir_review(item);
        FOR k IN 0 .. least(jsonb_array_length(adjudications), 20) - 1 LOOP
            decided := coalesce(decided, referral.fhir_review(adjudications -> k));
        END LOOP;
        granted := referral.fhir_extension(item, 'itemAuthorizedDetail');
        items := items || jsonb_strip_nulls(
            coalesce(decided, review, '{}') - 'unknown_action'
            || coalesce(referral.fhir_period(item, '{itemAuthorizedDate,itemPreAuthPeriod}'), '{}')
            || jsonb_build_object(
                'sequence', coalesce(CASE WHEN referral.fhir_number(referral.fhir_first(item -> 'itemSequence')) BETWEEN 1 AND 100000
                                          THEN trunc(referral.fhir_number(referral.fhir_first(item -> 'itemSequence')))::integer END, i + 1),
                'authorized_quantity', coalesce(referral.fhir_number(referral.fhir_extension(granted, 'quantity') #> '{valueQuantity,value}'),
                                                referral.fhir_number(referral.fhir_extension(granted, 'quantity') #> '{valueSimpleQuantity,value}'),
                                                referral.fhir_number(item #> '{quantity,value}')),
                'authorization_number', coalesce(decided -> 'authorization_number',
                                                 to_jsonb(referral.fhir_extension_text(referral.fhir_extension(item, 'authorizationNumber')))))
            || coalesce(referral.fhir_concept(item -> 'productOrService'), '{}'));
    END LOOP;
    RETURN items;
END $$;
COMMENT ON FUNCTION referral.fhir_answered_items(jsonb, jsonb) IS
'The items of a ClaimResponse, those that it adds in place of others too (at most 500), each with its review action, else that of the answer as a whole. Empty when it has none.';

CREATE FUNCTION referral.fhir_claim_response(source text, answer jsonb, request jsonb, asked jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    review jsonb := referral.fhir_review(answer);
    items jsonb := referral.fhir_answered_items(answer, review);
    status text;
    granted boolean;
    number text := coalesce(referral.fhir_text(answer -> 'preAuthRef'), referral.fhir_text(referral.fhir_first(answer -> 'identifier') -> 'value'));
    human boolean := referral.fhir_boolean(jsonb_path_query_first(answer,
        '$.**{0 to 6}.extension[*] ? (@.url like_regex "[hH]umanReviewed").valueBoolean'));
BEGIN
    IF items = '[]' AND review IS NOT NULL THEN
        -- one answer to everything that was asked
        items := coalesce((SELECT jsonb_agg(jsonb_build_object('sequence', i.value -> 'sequence') || (review - 'unknown_action'))
                           FROM jsonb_array_elements(asked) i WHERE i.value ->> 'review_action' IS DISTINCT FROM 'C'),
                          jsonb_build_array('{"sequence": 1}'::jsonb || (review - 'unknown_action')));
    END IF;
    IF human IS NOT NULL THEN
        items := (SELECT coalesce(jsonb_agg(i.value || jsonb_build_object('human_reviewed', human)), '[]') FROM jsonb_array_elements(items) i);
    END IF;
    granted := items @? '$[*].review_action ? (@ == "A1" || @ == "A2" || @ == "A6")';
    status := CASE WHEN answer ->> 'status' = 'cancelled' THEN 'cancelled'
                   WHEN answer ->> 'status' = 'entered-in-error' OR answer ->> 'outcome' = 'error' THEN 'error'
                   WHEN items @? '$[*].review_action ? (@ == "A4")' OR answer ->> 'outcome' = 'queued' THEN 'pended'
                   WHEN answer ->> 'outcome' IN ('complete', 'partial') OR items <> '[]' THEN 'decided'
                   ELSE 'pended' END;
    RETURN jsonb_strip_nulls(coalesce(referral.fhir_period(answer, '{authorizedEventDate,preAuthPeriod}'), '{}') || jsonb_build_object(
        'identifiers', referral.fhir_identifiers(answer, source),
        'request', request,
        'status', status,
        'review_action', review -> 'review_action',
        'administrative_reference', coalesce(to_jsonb(referral.fhir_extension_text(referral.fhir_extension(answer, 'administrationReferenceNumber'))),
                                             CASE WHEN status = 'pended' THEN to_jsonb(number) END),
        'authorization_number', CASE WHEN granted THEN coalesce(review -> 'authorization_number', to_jsonb(number)) END,
        'decided_at', CASE WHEN status = 'decided' THEN referral.fhir_time(referral.fhir_text(answer -> 'created')) END,
        'disposition', referral.fhir_text(answer -> 'disposition'),
        'items', referral.fhir_some(items))
        || coalesce(referral.fhir_strip(jsonb_build_object(
            'valid_from', referral.fhir_date(referral.fhir_text(answer #> '{preAuthPeriod,start}')),
            'valid_to', referral.fhir_date(referral.fhir_text(answer #> '{preAuthPeriod,end}')))), '{}'));
END $$;
COMMENT ON FUNCTION referral.fhir_claim_response(text, jsonb, jsonb, jsonb) IS
'The answer that a FHIR ClaimResponse of use preauthorization gives. request: identifiers of what it answers; asked: the items of that, when the message has it, for an answer to all of them at once. The number is an authorization only when something was granted. Never null.';
