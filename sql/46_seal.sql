-- seal: the journal as Merkle trees (RFC 9162), so that tampering shows

CREATE FUNCTION referral.journal_leaf(journal_row record) RETURNS bytea
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'journal_leaf';
COMMENT ON FUNCTION referral.journal_leaf(record) IS
'The bytes that a row of referral.journal is hashed as, version 1 (docs/seal.md has the layout): the same whatever the session''s settings are. Its leaf hash is SHA-256(0x00 || these bytes). Columns that the user added are not in it. RF012 for a row of another table. Null for null.';

CREATE FUNCTION referral.seal(max_rows bigint DEFAULT 1000000,
    OUT org_id bigint, OUT tree_size bigint, OUT root_hash bytea)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT ROWS 10 AS 'MODULE_PATHNAME', 'seal';
COMMENT ON FUNCTION referral.seal(bigint) IS
'Hashes what is new in the journal, up to its horizon, into the Merkle tree of each organisation (RFC 9162), and returns the new tree heads; no row for an organisation without news. At most max_rows journal rows of each organisation: the next call goes on. One sealer works at a time. Each seal is journaled, and so is an event. Null: nothing happens.';

CREATE FUNCTION referral.verify_journal(org_id bigint, known_size bigint DEFAULT NULL, known_root bytea DEFAULT NULL,
    OUT ok boolean, OUT tree_size bigint, OUT first_bad_journal_id bigint, OUT detail text)
RETURNS record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'verify_journal';
COMMENT ON FUNCTION referral.verify_journal(bigint, bigint, bytea) IS
'Hashes the journal of an organisation again and compares it with every seal: a row or a seal that was altered, removed, put in or moved is found. known_size and known_root: a tree head that was kept elsewhere, which convicts even those who rebuilt everything. first_bad_journal_id is null where no row can be named; detail says what is wrong, or what was verified. Purged rows count as good when their purge is on record. RF003 when the organisation is not the session''s. Null for a null org_id.';

CREATE FUNCTION referral.inclusion_proof(org_id bigint, journal_id bigint, of_size bigint DEFAULT NULL,
    OUT leaf_index bigint, OUT tree_size bigint, OUT leaf_hash bytea, OUT root_hash bytea, OUT proof bytea[])
RETURNS record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'inclusion_proof';
COMMENT ON FUNCTION referral.inclusion_proof(bigint, bigint, bigint) IS
'Proof that a journal row is in the sealed tree of so many leaves (default: of the last seal), for verify_inclusion() (RFC 9162 2.1.3). RF019 when there is no such row, seal or tree size, RF021 when the row is not sealed yet, or is not the one that was sealed, RF003 when the organisation is not the session''s. Null for a null org_id or journal_id.';

CREATE FUNCTION referral.consistency_proof(org_id bigint, old_size bigint, new_size bigint) RETURNS bytea[]
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'consistency_proof';
COMMENT ON FUNCTION referral.consistency_proof(bigint, bigint, bigint) IS
'Proof that the tree of new_size leaves begins with that of old_size leaves, for verify_consistency() (RFC 9162 2.1.4). RF019 when the tree never had so many leaves, RF003 when the organisation is not the session''s. Null for null.';

CREATE FUNCTION referral.export_checkpoint(org_id bigint, origin text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF origin !~ '^[^[:space:]+]+$' THEN
        RAISE EXCEPTION 'this is no origin of a checkpoint'
            USING ERRCODE = 'RF020', DETAIL = 'It is one line, not empty, without white space and plus signs.',
                  HINT = 'Name the log, such as example.org/referrals.';
    END IF;
    RETURN (SELECT coalesce(export_checkpoint.origin, 'referral/organization/' || s.org_id) || E'\n'
                   || s.tree_size || E'\n' || encode(s.root_hash, 'base64') || E'\n'
            FROM referral.seal s WHERE s.org_id = export_checkpoint.org_id
            ORDER BY s.seal_id DESC LIMIT 1);
END $$;
COMMENT ON FUNCTION referral.export_checkpoint(bigint, text) IS
'The last tree head of an organisation as the text of a checkpoint (C2SP tlog-checkpoint: origin, size, root in base64, a line each), to be signed and kept elsewhere. origin names the log for the world; the default is good inside one house. RF020 for an origin with white space or a plus sign. Null when nothing is sealed or visible.';

CREATE FUNCTION referral.journal_leaves(org_id bigint, partition regclass)
RETURNS TABLE (first_leaf bigint, last_leaf bigint)
LANGUAGE C VOLATILE STRICT ROWS 1 AS 'MODULE_PATHNAME', 'journal_leaves';
COMMENT ON FUNCTION referral.journal_leaves(bigint, regclass) IS
'The leaves of an organisation''s tree whose rows are in a partition of the journal, as ranges in rising order. RF021 when the journal does not verify. Used by purge_journal(). Null for null.';

REVOKE ALL ON FUNCTION referral.seal(bigint), referral.verify_journal(bigint, bigint, bytea),
    referral.inclusion_proof(bigint, bigint, bigint), referral.consistency_proof(bigint, bigint, bigint),
    referral.journal_leaves(bigint, regclass) FROM PUBLIC;
