-- audit: the journal for people

CREATE FUNCTION referral.describe_change(action text, transition text, from_step text, to_step text, changes jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT concat_ws('; ',
        CASE WHEN to_step IS NOT NULL AND from_step IS NOT NULL THEN format('moved from %s to %s', from_step, to_step)
                  || CASE WHEN transition IS NULL THEN '' ELSE format(' (%s)', transition) END
             WHEN to_step IS NOT NULL AND action = 'update' THEN format('entered %s (%s)', to_step, transition)
             WHEN to_step IS NOT NULL THEN format('created at step %s', to_step)
             WHEN action = 'baseline' THEN 'put on record what was changed without a record'
             WHEN action = 'delete' AND transition = 'baseline' THEN 'put on record that it was deleted without a record'
             WHEN action = 'insert' THEN 'created'
             WHEN action = 'delete' THEN 'deleted'
             ELSE 'changed' END,
        (SELECT string_agg(
             CASE WHEN action = 'insert' THEN format('%s: %s', c.key, c.value ->> 1)
                  WHEN action = 'delete' THEN format('%s was %s', c.key, c.value ->> 0)
                  ELSE format('%s: %s -> %s', c.key, coalesce(c.value ->> 0, '(none)'), coalesce(c.value ->> 1, '(none)')) END,
             ', ' ORDER BY c.key)
         FROM jsonb_each(changes) c))
$$;
COMMENT ON FUNCTION referral.describe_change(text, text, text, text, jsonb) IS
'A journal row in words: the step it led to, and each changed column with its old and new value.';

CREATE FUNCTION referral.evidence_pack(org_id bigint, referral_id bigint) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY' AS $$
DECLARE
    whole jsonb;
    related jsonb := '{}';
    entities text[] := '{referral}';
    ids bigint[] := ARRAY[evidence_pack.referral_id];
    last_seal record;
    part record;
    found_rows jsonb;
    found_ids bigint[];
BEGIN
    SELECT referral.tracked_row('referral', r) INTO whole FROM referral.referral r
    WHERE r.org_id = evidence_pack.org_id AND r.referral_id = evidence_pack.referral_id;
    IF whole IS NULL AND NOT EXISTS (SELECT FROM referral.journal j WHERE j.org_id = evidence_pack.org_id
                                     AND j.entity_id = evidence_pack.referral_id AND j.entity = 'referral') THEN
        RAISE EXCEPTION 'there is no referral % in organisation %', referral_id, org_id
            USING ERRCODE = 'RF019', DETAIL = 'It does not exist or is not visible to the session.',
                  HINT = 'SELECT referral_id FROM referral.referral.';
    END IF;
    -- whatever belongs to the referral: its documents, and the approvals, clocks, … of later parts
    FOR part IN SELECT e.entity, e.relation, e.id_column FROM referral.entity e
                WHERE e.entity <> 'referral' AND e.detached_at IS NULL
                  AND (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = e.relation AND NOT a.attisdropped
                         AND a.attname IN ('org_id', 'referral_id') AND a.atttypid = 'bigint'::regtype) = 2
                  AND has_table_privilege(e.relation, 'SELECT')
                ORDER BY e.entity LOOP
        EXECUTE format('SELECT jsonb_agg(referral.tracked_row($3, t) ORDER BY t.%1$I), array_agg(t.%1$I::bigint ORDER BY t.%1$I) FROM %2$s t'
                       ' WHERE t.org_id = $1 AND t.referral_id = $2', part.id_column, part.relation)
           INTO found_rows, found_ids USING org_id, referral_id, part.entity;
        CONTINUE WHEN found_rows IS NULL;
        related := related || jsonb_build_object(part.entity, found_rows);
        entities := entities || array_fill(part.entity, ARRAY[cardinality(found_ids)]);
        ids := ids || found_ids;
    END LOOP;
    SELECT s.* INTO last_seal FROM referral.seal s WHERE s.org_id = evidence_pack.org_id ORDER BY s.seal_id DESC LIMIT 1;
    RETURN jsonb_build_object(
        'format', 'org.referral.evidence/1', 'created_at', now(), 'created_by', referral.current_actor(),
        'org_id', org_id, 'referral_id', referral_id, 'case', whole, 'related', related,
        'unrecorded', (SELECT coalesce(jsonb_agg(jsonb_build_object('problem', v.problem, 'columns', v.columns)), '[]')
                       FROM referral.verify_coverage('referral', evidence_pack.org_id, evidence_pack.referral_id) v),
        'missing_versions', (SELECT coalesce(jsonb_agg(n), '[]')
                             FROM generate_series(1, coalesce((whole ->> 'version')::bigint, 0)) n
                             WHERE NOT EXISTS (SELECT FROM referral.journal j WHERE j.org_id = evidence_pack.org_id
                                               AND j.entity_id = evidence_pack.referral_id AND j.entity = 'referral' AND j.version = n)),
        'history', (SELECT coalesce(jsonb_agg(to_jsonb(h) ORDER BY h.journal_id), '[]') FROM referral.history h
                    WHERE h.org_id = evidence_pack.org_id AND h.entity = 'referral' AND h.entity_id = evidence_pack.referral_id),
        'journal', (SELECT coalesce(jsonb_agg(jsonb_build_object('row', to_jsonb(j), 'leaf', encode(referral.journal_leaf(j), 'hex'),
                        'proof', CASE WHEN p.leaf_index IS NOT NULL THEN jsonb_build_object(
                            'leaf_index', p.leaf_index, 'leaf_hash', encode(p.leaf_hash, 'hex'),
                            'hashes', (SELECT coalesce(jsonb_agg(encode(h, 'hex')), '[]') FROM unnest(p.proof) h)) END)
                        ORDER BY j.journal_id), '[]')
                    FROM unnest(entities, ids) k (entity, id)
                    JOIN referral.journal j ON j.org_id = evidence_pack.org_id AND j.entity_id = k.id AND j.entity = k.entity
                    CROSS JOIN LATERAL referral.inclusion_proof(j.org_id,
                        CASE WHEN (j.xid_epoch, j.xid, j.journal_id) <= (last_seal.xid_epoch, last_seal.xid, last_seal.journal_id)
                             THEN j.journal_id END, last_seal.tree_size) p),
        'checkpoint', CASE WHEN last_seal.org_id IS NOT NULL THEN jsonb_build_object(
            'tree_size', last_seal.tree_size, 'root_hash', encode(last_seal.root_hash, 'hex'), 'sealed_at', last_seal.sealed_at,
            'text', referral.export_checkpoint(org_id)) END);
END $$;
COMMENT ON FUNCTION referral.evidence_pack(bigint, bigint) IS
'All there is on a referral, as one JSON document for an auditor: the case, the rows that belong to it, its history, and each of its journal rows with the bytes it is hashed as and the proof that it is under the last tree head (checkpoint); proof is null for rows not sealed yet. unrecorded: what verify_coverage() says of the referral; missing_versions: changes that the journal has no row of. What the session may not read is left out. RF019 when the referral does not exist or is not visible. Null for null.';
REVOKE ALL ON FUNCTION referral.evidence_pack(bigint, bigint) FROM PUBLIC;
