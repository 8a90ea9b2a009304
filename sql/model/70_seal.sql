CREATE TABLE IF NOT EXISTS referral.seal (
    org_id bigint NOT NULL,
    seal_id bigint NOT NULL,
    tree_size bigint NOT NULL CHECK (tree_size > 0),
    root_hash bytea NOT NULL CHECK (octet_length(root_hash) = 32),
    frontier bytea NOT NULL,
    tail bytea NOT NULL,
    xid_epoch integer NOT NULL,
    xid xid8 NOT NULL,
    journal_id bigint NOT NULL,
    sealed_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, seal_id),
    UNIQUE (org_id, tree_size)
);
COMMENT ON TABLE referral.seal IS
'Tree heads (RFC 9162) of each organisation''s journal, written by seal() only and never changed. seal_id counts from 1. xid_epoch, xid, journal_id: the last row sealed. frontier: the roots of the perfect trees that the tree is made of, to go on from; tail: hashes of those of its new leaves that are in no complete tile.';

CREATE TABLE IF NOT EXISTS referral.seal_tile (
    org_id bigint NOT NULL,
    level integer NOT NULL,
    tile bigint NOT NULL,
    root_hash bytea NOT NULL CHECK (octet_length(root_hash) = 32),
    hashes bytea,
    xid_epoch integer,
    xid xid8,
    journal_id bigint,
    PRIMARY KEY (org_id, level, tile)
);
CREATE UNIQUE INDEX IF NOT EXISTS seal_tile_last ON referral.seal_tile (org_id, xid_epoch, xid, journal_id) WHERE hashes IS NOT NULL;
ALTER TABLE referral.seal_tile ALTER COLUMN hashes SET STORAGE EXTERNAL;
COMMENT ON TABLE referral.seal_tile IS
'Interior nodes of the sealed trees, never changed: the root of each complete tile of 256 leaves (level 0) or of 256 tiles of the level below. Tiles of level 0 have the hashes of their leaves, and the place of the last one.';

SELECT referral.lay_trigger('referral.' || t, 'append_only', 'BEFORE UPDATE OR DELETE', 'ROW', 'referral.append_only()', 'A')
FROM unnest(ARRAY['seal', 'seal_tile']) t;
SELECT referral.lay_trigger('referral.seal_tile', 'append_only_truncate', 'BEFORE TRUNCATE', 'STATEMENT', 'referral.append_only()', 'A');
SELECT referral.track_table('referral.seal', 'seal', 'seal_id');
-- what can be computed from the leaves need not be in the journal
INSERT INTO referral.journal_column (entity, column_name, treatment)
SELECT 'seal', c, 'ignored' FROM unnest(ARRAY['frontier', 'tail']) c
WHERE NOT EXISTS (SELECT FROM referral.journal_column j WHERE j.entity = 'seal' AND j.column_name = c);

SELECT referral.secure_table('referral.' || t, true) FROM unnest(ARRAY['seal', 'seal_tile']) t;
GRANT SELECT ON referral.seal TO referral_admin, referral_auditor, referral_integration;
GRANT SELECT ON referral.seal_tile TO referral_admin, referral_auditor;
GRANT EXECUTE ON FUNCTION referral.seal(bigint) TO referral_admin;
GRANT EXECUTE ON FUNCTION referral.verify_journal(bigint, bigint, bytea), referral.inclusion_proof(bigint, bigint, bigint),
    referral.consistency_proof(bigint, bigint, bigint) TO referral_admin, referral_auditor, referral_integration;
