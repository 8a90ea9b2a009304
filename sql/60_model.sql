-- model: facts about a referral that guards may ask for

CREATE FUNCTION referral.has_document(org_id bigint, referral_id bigint, type text) RETURNS boolean
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM referral.document d
                   WHERE d.org_id = has_document.org_id AND d.referral_id = has_document.referral_id
                     AND d.type = has_document.type AND d.status = 'current')
$$;
COMMENT ON FUNCTION referral.has_document(bigint, bigint, text) IS
'Is a current document of the type linked to this very referral? Reads referral.document with the caller''s rights. Null for null. CMS50: a report that is not linked to the referral does not close its loop.';
