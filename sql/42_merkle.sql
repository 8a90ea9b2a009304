-- merkle: hashes, roots and proofs of Merkle trees (RFC 9162 section 2.1, SHA-256); leaves are numbered from 0

CREATE FUNCTION referral.merkle_leaf_hash(data bytea) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'merkle_leaf_hash';
COMMENT ON FUNCTION referral.merkle_leaf_hash(bytea) IS
'Hash of a leaf: SHA-256 of the byte 00 and the data. Null for null. RFC 9162 section 2.1.1.';

CREATE FUNCTION referral.merkle_node_hash(left_hash bytea, right_hash bytea) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'merkle_node_hash';
COMMENT ON FUNCTION referral.merkle_node_hash(bytea, bytea) IS
'Hash of a node: SHA-256 of the byte 01 and the hashes of its two children. Null for null; 22023 when a hash has other than 32 bytes. RFC 9162 section 2.1.1.';

CREATE FUNCTION referral.merkle_tree_root(leaf_hashes bytea[]) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'merkle_tree_root';
COMMENT ON FUNCTION referral.merkle_tree_root(bytea[]) IS
'Root of the tree over leaves with these hashes, in this order; SHA-256 of nothing for an empty array. Null for null; 22023 when an element is null or has other than 32 bytes, or the array has several dimensions. RFC 9162 section 2.1.1.';

CREATE FUNCTION referral.merkle_inclusion_proof(leaf_hashes bytea[], leaf_index bigint) RETURNS bytea[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'merkle_inclusion_proof';
COMMENT ON FUNCTION referral.merkle_inclusion_proof(bytea[], bigint) IS
'Proof, for verify_inclusion(), that the leaf is in the tree over all the leaves. Null for null; 22023 when there is no such leaf, an element is null or has other than 32 bytes, or the array has several dimensions. RFC 9162 section 2.1.3.1.';

CREATE FUNCTION referral.merkle_consistency_proof(leaf_hashes bytea[], old_size bigint) RETURNS bytea[]
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'merkle_consistency_proof';
COMMENT ON FUNCTION referral.merkle_consistency_proof(bytea[], bigint) IS
'Proof, for verify_consistency(), that the tree over all the leaves continues the one over the first old_size of them. Null for null; 22023 when old_size is below 1 or above the number of leaves, an element is null or has other than 32 bytes, or the array has several dimensions. RFC 9162 section 2.1.4.1.';

CREATE FUNCTION referral.verify_inclusion(leaf_index bigint, tree_size bigint, leaf_hash bytea, proof bytea[], root_hash bytea) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'verify_inclusion';
COMMENT ON FUNCTION referral.verify_inclusion(bigint, bigint, bytea, bytea[], bytea) IS
'Does the proof show that the leaf with this number and hash is in the tree of this size and root? False for anything malformed, null for null; raises no error. RFC 9162 section 2.1.3.2.';

CREATE FUNCTION referral.verify_consistency(old_size bigint, new_size bigint, old_root bytea, new_root bytea, proof bytea[]) RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'verify_consistency';
COMMENT ON FUNCTION referral.verify_consistency(bigint, bigint, bytea, bytea, bytea[]) IS
'Does the proof show that the tree of the new size and root continues the tree of the old size and root, which was not empty? For two equal sizes the roots must be equal and the proof empty. False for anything malformed, null for null; raises no error. RFC 9162 section 2.1.4.2.';
