-- Merkle trees: against a second implementation, the recursive definitions of RFC 9162 in PL/pgSQL, and against
-- published vectors where they are at hand.
SELECT plan(62);
\ir ../lib/refused.sql
SET search_path = referral, public;

-- The definitions of RFC 9162 sections 2.1.1, 2.1.3.1 and 2.1.4.1 as they are written there, over the leaves' data.

CREATE FUNCTION public.rfc_split(n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    k int := 1;
BEGIN
    WHILE k * 2 < n LOOP
        k := k * 2;
    END LOOP;
    RETURN k;
END $$;

CREATE FUNCTION public.rfc_mth(d bytea[]) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    n int := cardinality(d);
    k int := rfc_split(n);
BEGIN
    RETURN CASE n WHEN 0 THEN sha256('') WHEN 1 THEN sha256('\x00' || d[1])
                  ELSE sha256('\x01' || rfc_mth(d[:k]) || rfc_mth(d[k + 1:])) END;
END $$;

CREATE FUNCTION public.rfc_path(m int, d bytea[]) RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE
    n int := cardinality(d);
    k int := rfc_split(n);
BEGIN
    RETURN CASE WHEN n = 1 THEN '{}'::bytea[] WHEN m < k THEN rfc_path(m, d[:k]) || rfc_mth(d[k + 1:])
                ELSE rfc_path(m - k, d[k + 1:]) || rfc_mth(d[:k]) END;
END $$;

CREATE FUNCTION public.rfc_proof(m int, d bytea[], b boolean DEFAULT true) RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE
    n int := cardinality(d);
    k int := rfc_split(n);
BEGIN
    RETURN CASE WHEN m = n AND b THEN '{}'::bytea[] WHEN m = n THEN ARRAY[rfc_mth(d)]
                WHEN m <= k THEN rfc_proof(m, d[:k], b) || rfc_mth(d[k + 1:])
                ELSE rfc_proof(m - k, d[k + 1:], false) || rfc_mth(d[:k]) END;
END $$;

-- What a proof's hashes are for, from its start on: "l" and "r" tell on which side a sibling is. A consistency proof
-- starts with a hash ("s"), or with the whole old tree ("w"). Null when there can be no proof.
CREATE FUNCTION public.inclusion_shape(i int, n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    k int := rfc_split(n);
BEGIN
    RETURN CASE WHEN i < 0 OR i >= n THEN NULL WHEN n = 1 THEN '' WHEN i < k THEN inclusion_shape(i, k) || 'r'
                ELSE inclusion_shape(i - k, n - k) || 'l' END;
END $$;

CREATE FUNCTION public.consistency_shape(m int, n int, b boolean DEFAULT true) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    k int := rfc_split(n);
BEGIN
    RETURN CASE WHEN m < 1 OR m > n THEN NULL WHEN m = n AND b THEN 'w' WHEN m = n THEN 's'
                WHEN m <= k THEN consistency_shape(m, k, b) || 'r'
                ELSE consistency_shape(m - k, n - k, false) || 'l' END;
END $$;

-- The root that a proof of some shape leads to; other letters leave the hash as it is.
CREATE FUNCTION public.fold(hash bytea, proof bytea[], shape text) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. length(shape) LOOP
        hash := CASE substr(shape, i, 1) WHEN 'l' THEN merkle_node_hash(proof[i], hash)
                                         WHEN 'r' THEN merkle_node_hash(hash, proof[i])
                                         ELSE hash END;
    END LOOP;
    RETURN hash;
END $$;

CREATE FUNCTION public.flip(hash bytea, at int) RETURNS bytea LANGUAGE sql IMMUTABLE AS
'SELECT set_bit(hash, at, 1 - get_bit(hash, at))';

-- What may happen to a proof.
CREATE FUNCTION public.damaged(proof bytea[]) RETURNS TABLE (damage text, bad bytea[]) LANGUAGE sql IMMUTABLE AS $$
    SELECT 'bit in hash ' || k, proof[:k - 1] || flip(proof[k], k * 37 % 256) || proof[k + 1:]
    FROM generate_subscripts(proof, 1) k
    UNION ALL
    SELECT 'no hash ' || k, proof[:k - 1] || proof[k + 1:] FROM generate_subscripts(proof, 1) k
    UNION ALL
    SELECT 'hash twice ' || k, proof[:k] || proof[k:] FROM generate_subscripts(proof, 1) k
    UNION ALL
    SELECT 'null hash ' || k, proof[:k - 1] || NULL::bytea || proof[k + 1:] FROM generate_subscripts(proof, 1) k
    UNION ALL
    SELECT 'short hash ' || k, proof[:k - 1] || substr(proof[k], 2) || proof[k + 1:]
    FROM generate_subscripts(proof, 1) k
    UNION ALL
    SELECT 'swapped ' || k, proof[:k - 1] || proof[k + 1] || proof[k] || proof[k + 2:]
    FROM generate_series(1, cardinality(proof) - 1) k
    UNION ALL
    SELECT 'new hash before ' || k, proof[:k - 1] || sha256('new') || proof[k:]
    FROM generate_series(1, cardinality(proof) + 1) k
    UNION ALL
    SELECT 'empty hash before ' || k, proof[:k - 1] || ''::bytea || proof[k:]
    FROM generate_series(1, cardinality(proof) + 1) k
$$;

-- 1. Hashes

SELECT is(merkle_leaf_hash(''), '\x6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
          'the empty leaf''s hash');
SELECT is(merkle_tree_root('{}'), '\xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
          'the empty tree''s root');
SELECT is_empty(
    $$SELECT n FROM unnest('{0,1,31,32,54,55,56,63,64,65,126,127,128,500,8191,1000000}'::int[]) n,
                    convert_to(repeat('x', n), 'UTF8') d
      WHERE merkle_leaf_hash(d) IS DISTINCT FROM sha256('\x00' || d)$$,
    'a leaf of any length is hashed after a byte 00');
CREATE TABLE public.big AS
SELECT convert_to(string_agg(md5(i::text), ''), 'UTF8') AS data FROM generate_series(1, 1000) i;
SELECT is(merkle_leaf_hash(data), sha256('\x00' || data), 'also a leaf from a row''s toast') FROM public.big;
SELECT is(merkle_node_hash(sha256('l'), sha256('r')), sha256('\x01' || sha256('l') || sha256('r')),
          'a node is hashed after a byte 01');
SELECT isnt(merkle_node_hash(sha256('l'), sha256('r')), merkle_leaf_hash(sha256('l') || sha256('r')),
            'so that no leaf passes for a node');

-- 2. Trees

CREATE TABLE public.tree AS
SELECT n, d, h, merkle_tree_root(h) AS root
FROM generate_series(0, 64) n,
     LATERAL (SELECT coalesce(array_agg(int8send(i) ORDER BY i), '{}'),
                     coalesce(array_agg(merkle_leaf_hash(int8send(i)) ORDER BY i), '{}')
              FROM generate_series(0, n - 1) i) a (d, h);
SELECT is((SELECT count(DISTINCT root) FROM tree), 65::bigint, 'trees have different roots');
SELECT is_empty('SELECT n FROM tree WHERE root IS DISTINCT FROM rfc_mth(d)', 'roots are as defined');
SELECT is_empty(
    $$SELECT n
      FROM tree, LATERAL (SELECT array_agg(x ORDER BY i DESC) FROM unnest(h) WITH ORDINALITY u (x, i)) r (backwards)
      WHERE n > 1 AND merkle_tree_root(backwards) = root$$, 'the order of leaves counts');
SELECT is((SELECT merkle_tree_root(('[5:7]=' || h::text)::bytea[]) FROM tree WHERE n = 3),
          (SELECT root FROM tree WHERE n = 3),
          'subscripts do not count');

-- 3. Inclusion

CREATE TABLE public.inclusion AS
SELECT n, i, h[i + 1] AS hash, merkle_inclusion_proof(h, i) AS proof, root, d, h
FROM tree, generate_series(0, n - 1) i WHERE n <= 40;
SELECT is((SELECT count(*) FROM inclusion), 820::bigint, 'inclusion of every leaf in trees of up to 40 leaves');
SELECT is_empty('SELECT i, n FROM inclusion WHERE proof IS DISTINCT FROM rfc_path(i, d)', 'proofs are as defined');
SELECT is_empty('SELECT i, n FROM inclusion WHERE verify_inclusion(i, n, hash, proof, root) IS NOT TRUE',
                'they verify');
SELECT is_empty('SELECT i, n, damage FROM inclusion, damaged(proof)
                 WHERE verify_inclusion(i, n, hash, bad, root) IS NOT FALSE',
                'damaged proofs do not');
SELECT is_empty('SELECT i, n, j FROM inclusion, generate_series(-1, n + 1) j
                 WHERE j <> i AND verify_inclusion(j, n, hash, proof, root) IS NOT FALSE', 'nor under another number');
SELECT is_empty('SELECT i, n, j FROM inclusion, generate_series(0, n - 1) j
                 WHERE j <> i AND verify_inclusion(i, n, h[j + 1], proof, root) IS NOT FALSE', 'nor for another leaf');
SELECT is_empty('SELECT i, s.n, t.n AS other FROM inclusion s, tree t
                 WHERE t.n <> s.n AND verify_inclusion(i, t.n, s.hash, s.proof, t.root) IS NOT FALSE',
                'nor in another tree');
SELECT is_empty('SELECT i, n, at FROM inclusion, generate_series(0, 255, 17) at
                 WHERE verify_inclusion(i, n, flip(hash, at), proof, root) IS NOT FALSE
                    OR verify_inclusion(i, n, hash, proof, flip(root, at)) IS NOT FALSE',
                'nor with a bit turned in leaf or root');
-- 4. Consistency

CREATE TABLE public.consistency AS
SELECT o.n AS m, t.n, o.root AS old_root, t.root, merkle_consistency_proof(t.h, o.n) AS proof, t.d
FROM tree o, tree t WHERE o.n BETWEEN 1 AND t.n AND t.n <= 40;
SELECT is((SELECT count(*) FROM consistency), 820::bigint, 'consistency of every two trees of up to 40 leaves');
SELECT is_empty('SELECT m, n FROM consistency WHERE proof IS DISTINCT FROM rfc_proof(m, d)', 'proofs are as defined');
SELECT is_empty('SELECT m, n FROM consistency WHERE verify_consistency(m, n, old_root, root, proof) IS NOT TRUE',
                'they verify');
SELECT is_empty('SELECT m, n, damage FROM consistency, damaged(proof)
                 WHERE verify_consistency(m, n, old_root, root, bad) IS NOT FALSE', 'damaged proofs do not');
SELECT is_empty('SELECT m, n, j FROM consistency, generate_series(-1, n + 1) j
                 WHERE j <> m AND verify_consistency(j, n, old_root, root, proof) IS NOT FALSE',
                'nor from another size');
SELECT is_empty('SELECT m, s.n, t.n AS other FROM consistency s, tree t
                 WHERE t.n <> s.n AND verify_consistency(m, t.n, old_root, t.root, proof) IS NOT FALSE',
                'nor to another tree');
SELECT is_empty('SELECT m, s.n, t.n AS other FROM consistency s, tree t
                 WHERE t.n <> m AND verify_consistency(m, s.n, t.root, s.root, proof) IS NOT FALSE',
                'nor from another tree');
SELECT is_empty('SELECT m, n FROM consistency
                 WHERE m < n AND verify_consistency(m, n, root, old_root, proof) IS NOT FALSE', 'nor backwards');
SELECT is_empty('SELECT m, n, at FROM consistency, generate_series(0, 255, 17) at
                 WHERE verify_consistency(m, n, flip(old_root, at), root, proof) IS NOT FALSE
                    OR verify_consistency(m, n, old_root, flip(root, at), proof) IS NOT FALSE',
                'nor with a bit turned in a root');
SELECT is_empty('SELECT o.n AS m, t.n FROM tree o, tree t WHERE (o.n = 0 OR o.n > t.n)
                   AND (verify_consistency(o.n, t.n, o.root, t.root, ''{}'') IS NOT FALSE
                     OR verify_consistency(o.n, t.n, o.root, t.root, ARRAY[t.root]) IS NOT FALSE)',
                'nothing is proved from the empty tree, nor from a larger one');

-- 5. Larger trees

CREATE TABLE public.larger AS
SELECT n, h, merkle_tree_root(h) AS root
FROM unnest('{255,256,257,1000}'::int[]) n,
     LATERAL (SELECT array_agg(merkle_leaf_hash(int8send(i)) ORDER BY i) FROM generate_series(0, n - 1) i) a (h);
SELECT is_empty(
    $$SELECT i, n FROM larger, generate_series(0, n - 1) i, merkle_inclusion_proof(h, i) proof
      WHERE verify_inclusion(i, n, h[i + 1], proof, root) IS NOT TRUE
         OR verify_inclusion(i, n, flip(h[i + 1], 9), proof, root) IS NOT FALSE
         OR verify_inclusion(i, n, h[i + 1], proof || root, root) IS NOT FALSE
         OR verify_inclusion(i, n, h[i + 1], proof[2:], root) IS NOT FALSE$$,
    'every leaf of larger trees is shown to be in');
SELECT is_empty(
    $$SELECT m, n
      FROM larger, generate_series(1, n) m, merkle_tree_root(h[:m]) old_root, merkle_consistency_proof(h, m) proof
      WHERE verify_consistency(m, n, old_root, root, proof) IS NOT TRUE
         OR verify_consistency(m, n, flip(old_root, 9), root, proof) IS NOT FALSE
         OR verify_consistency(m, n, old_root, root, proof || root) IS NOT FALSE
         OR (m < n AND verify_consistency(m, n, old_root, root, proof[2:]) IS NOT FALSE)$$,
    'larger trees are shown to continue every older one');

-- 6. Forged proofs: whatever the hashes are, a proof verifies only when its shape is that of the numbers

CREATE TABLE public.made_up AS
SELECT sha256('leaf') AS hash, array_agg(sha256(int4send(i)) ORDER BY i) AS p FROM generate_series(1, 66) i;
CREATE TABLE public.forged AS
WITH RECURSIVE s (shape) AS (
    SELECT '' UNION ALL SELECT shape || side FROM s, unnest('{l,r}'::text[]) side WHERE length(shape) < 5)
SELECT hash, shape, p[:length(shape)] AS proof, fold(hash, p, shape) AS root,
       fold(hash, p, translate(shape, 'r', '-')) AS old_root
FROM made_up, s;
SELECT is_empty(
    $$SELECT i, n, shape FROM generate_series(-1, 18) i, generate_series(-1, 18) n,
                          inclusion_shape(i, n) right_one, forged
      WHERE verify_inclusion(i, n, hash, proof, root) IS DISTINCT FROM coalesce(shape = right_one, false)$$,
    'a forged proof of inclusion');
SELECT is_empty(
    $$SELECT m, n, shape FROM generate_series(-1, 18) m, generate_series(-1, 18) n,
                          consistency_shape(m, n) right_one, forged
      WHERE verify_consistency(m, n, old_root, root, proof) IS DISTINCT FROM coalesce('w' || shape = right_one, false)
         OR verify_consistency(m, n, old_root, root, hash || proof)
            IS DISTINCT FROM coalesce('s' || shape = right_one, false)$$,
    'a forged proof of consistency');

-- 7. Sizes no tree ever has

SET statement_timeout = '10s';
CREATE TABLE public.huge AS SELECT 9223372036854775807 AS n, * FROM made_up;

-- the size has 63 bits set: the way from leaf 0 has 63 siblings on the right; the last leaf is its own parent once
SELECT results_eq(
    $$SELECT k FROM huge, generate_series(0, 66) k
      WHERE verify_inclusion(0, n, hash, p[:k], fold(hash, p, repeat('r', 63)))$$,
    'VALUES (63)', 'the first leaf of the largest tree has a proof of 63 hashes, not of 0 to 66 others');
SELECT results_eq(
    $$SELECT k FROM huge, generate_series(0, 66) k
      WHERE verify_inclusion(n - 1, n, hash, p[:k], fold(hash, p, repeat('l', 62)))$$,
    'VALUES (62)', 'the last one a proof of 62');
SELECT results_eq(
    $$SELECT k FROM huge, generate_series(0, 66) k
      WHERE verify_consistency(1, n, hash, fold(hash, p, repeat('r', 63)), p[:k])$$,
    'VALUES (63)', 'the largest tree continues one of a single leaf by 63 hashes');
SELECT results_eq(
    $$SELECT k FROM huge, generate_series(0, 66) k
      WHERE verify_consistency(4611686018427387904, n, hash, merkle_node_hash(hash, p[1]), p[:k])$$,
    'VALUES (1)', 'one of 2^62 leaves by a single hash');
SELECT results_eq(
    $$SELECT k FROM huge, generate_series(0, 66) k
      WHERE verify_consistency(n - 2, n, fold(p[1], p[2:], '--' || repeat('l', 61)),
                               fold(p[1], p[2:], 'rr' || repeat('l', 61)), p[:k])$$,
    'VALUES (64)', 'the longest proof there is has 64 hashes');
SELECT results_eq(
    $$SELECT k FROM huge, generate_series(0, 66) k WHERE verify_consistency(n, n, hash, hash, p[:k])$$,
    'VALUES (0)', 'the largest tree continues itself');
SELECT is_empty(
    $$WITH extreme AS (
          SELECT unnest(ARRAY[-9223372036854775808, -9223372036854775807, -1, 0, 1, 2, 3, 4611686018427387904,
                              9223372036854775806, 9223372036854775807]) AS x)
      SELECT a.x, b.x AS y, k FROM huge, extreme a, extreme b, generate_series(0, 66) k
      WHERE verify_inclusion(a.x, b.x, hash, p[:k], p[66]) IS NOT FALSE
         OR verify_consistency(a.x, b.x, hash, p[66], p[:k]) IS NOT FALSE$$,
    'any two of the extreme numbers come to an end, and to false');
SELECT is_empty(
    $$SELECT n, k FROM made_up, unnest('{-9223372036854775808,-1}'::bigint[]) n, generate_series(0, 64) k,
                      fold(hash, p, repeat('r', k)) root
      WHERE verify_inclusion(0, n, hash, p[:k], root) IS NOT FALSE
         OR verify_inclusion(n, n, hash, p[:k], root) IS NOT FALSE
         OR verify_consistency(1, n, hash, root, p[:k]) IS NOT FALSE
         OR verify_consistency(n, n, root, root, '{}') IS NOT FALSE$$,
    'negative numbers are not taken for large ones');
RESET statement_timeout;

-- 8. Malformed input

CREATE TABLE public.three AS
SELECT h, root, h[2] AS hash, merkle_inclusion_proof(h, 1) AS proof, merkle_tree_root(h[:2]) AS old_root,
       merkle_consistency_proof(h, 2) AS old_proof
FROM tree WHERE n = 3;
SELECT ok(verify_inclusion(1, 3, hash, proof, root) AND verify_consistency(2, 3, old_root, root, old_proof),
          'the unharmed proofs verify') FROM three;
SELECT is_empty(
    $$SELECT what, bad FROM three,
          LATERAL (VALUES ('empty', ''::bytea), ('short', substr(root, 2)), ('long', root || '\x00')) v (what, bad)
      WHERE verify_inclusion(1, 3, bad, proof, root) IS NOT FALSE
         OR verify_inclusion(1, 3, hash, proof, bad) IS NOT FALSE
         OR verify_inclusion(0, 1, bad, '{}', bad) IS NOT FALSE
         OR verify_consistency(2, 3, bad, root, old_proof) IS NOT FALSE
         OR verify_consistency(2, 3, old_root, bad, old_proof) IS NOT FALSE
         OR verify_consistency(3, 3, bad, bad, '{}') IS NOT FALSE$$,
    'a hash of another length than 32 bytes verifies nothing');
SELECT is(verify_inclusion(1, 3, hash, ARRAY[proof], root), false,
          'an array of two dimensions is no inclusion proof') FROM three;
SELECT is(verify_consistency(2, 3, old_root, root, ARRAY[old_proof]), false,
          'nor a consistency proof') FROM three;
SELECT ok(verify_inclusion(1, 3, hash, ('[0:1]=' || proof::text)::bytea[], root),
          'subscripts do not count in a proof') FROM three;
SELECT is(verify_inclusion(0, 1, root, array_fill(root, ARRAY[100000]), root), false,
          'a proof of many hashes is none') FROM three;

SELECT is_empty(
    $$SELECT statement, code FROM (VALUES
          ('merkle_node_hash('''', sha256(''''))'), ('merkle_node_hash(sha256(''''), ''N456'')'),
          ('merkle_node_hash(sha256('''') || ''\x00'', sha256(''''))'),
          ('merkle_tree_root(ARRAY[NULL::bytea])'), ('merkle_tree_root(ARRAY[sha256(''''), ''\x00''])'),
          ('merkle_tree_root(ARRAY[ARRAY[sha256('''')]])'),
          ('merkle_tree_root(array_fill(NULL::bytea, ARRAY[50000000]))'),
          ('merkle_inclusion_proof(ARRAY[sha256(''''), NULL], 0)'),
          ('merkle_inclusion_proof(ARRAY[ARRAY[sha256('''')]], 0)'),
          ('merkle_inclusion_proof(''{}'', 0)'), ('merkle_inclusion_proof(ARRAY[sha256('''')], 1)'),
          ('merkle_inclusion_proof(ARRAY[sha256('''')], -1)'),
          ('merkle_inclusion_proof(ARRAY[sha256('''')], 9223372036854775807)'),
          ('merkle_inclusion_proof(ARRAY[sha256('''')], 4294967296)'),
          ('merkle_consistency_proof(ARRAY[sha256(''''), ''''], 1)'),
          ('merkle_consistency_proof(ARRAY[ARRAY[sha256('''')]], 1)'),
          ('merkle_consistency_proof(''{}'', 0)'), ('merkle_consistency_proof(ARRAY[sha256('''')], 0)'),
          ('merkle_consistency_proof(ARRAY[sha256('''')], 2)'), ('merkle_consistency_proof(ARRAY[sha256('''')], -1)'),
          ('merkle_consistency_proof(ARRAY[sha256('''')], 4294967297)'),
          ('merkle_consistency_proof(ARRAY[sha256('''')], -9223372036854775808)')) v (statement),
          LATERAL refused('SELECT ' || statement) r
      WHERE r.code <> '22023' OR coalesce(r.detail, '') = '' OR coalesce(r.hint, '') = ''$$,
    'what makes hashes and proofs refuses bad input, with detail and hint');
CREATE FUNCTION public.is_null(call text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    answer boolean;
BEGIN
    EXECUTE format('SELECT %s IS NULL', call) INTO answer;
    RETURN answer;
END $$;
SELECT is_empty(
    $$SELECT call FROM (VALUES
          ('merkle_leaf_hash(NULL)'), ('merkle_node_hash(NULL, sha256(''''))'),
          ('merkle_node_hash(sha256(''''), NULL)'),
          ('merkle_tree_root(NULL)'), ('merkle_inclusion_proof(NULL, 0)'),
          ('merkle_inclusion_proof(ARRAY[sha256('''')], NULL)'),
          ('merkle_consistency_proof(NULL, 1)'), ('merkle_consistency_proof(ARRAY[sha256('''')], NULL)'),
          ('verify_inclusion(NULL, 1, sha256(''''), ''{}'', sha256(''''))'),
          ('verify_inclusion(0, NULL, sha256(''''), ''{}'', sha256(''''))'),
          ('verify_inclusion(0, 1, NULL, ''{}'', sha256(''''))'),
          ('verify_inclusion(0, 1, sha256(''''), NULL, sha256(''''))'),
          ('verify_inclusion(0, 1, sha256(''''), ''{}'', NULL)'),
          ('verify_consistency(NULL, 1, sha256(''''), sha256(''''), ''{}'')'),
          ('verify_consistency(1, NULL, sha256(''''), sha256(''''), ''{}'')'),
          ('verify_consistency(1, 1, NULL, sha256(''''), ''{}'')'),
          ('verify_consistency(1, 1, sha256(''''), NULL, ''{}'')'),
          ('verify_consistency(1, 1, sha256(''''), sha256(''''), NULL)')) v (call)
      WHERE NOT is_null(call)$$,
    'null for null');
SELECT is((SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc
           WHERE pronamespace = 'referral'::regnamespace
             AND (proname ~ '^merkle_' OR proname IN ('verify_inclusion', 'verify_consistency'))
             AND provolatile = 'i' AND proisstrict AND proparallel = 's' AND proacl IS NULL),
          'merkle_consistency_proof merkle_inclusion_proof merkle_leaf_hash merkle_node_hash merkle_tree_root '
          'verify_consistency verify_inclusion',
          'all are immutable, strict, parallel safe, and for everybody');

-- 9. Published vectors

\getenv shared REFERRAL_SHARED
\set vectors_are_there `test -r "$REFERRAL_SHARED/rfc6962/inclusion.tsv" && echo true || echo false`
\if :vectors_are_there
\cd :shared
CREATE FUNCTION public.unhex(hex text) RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$SELECT decode(CASE hex WHEN '(empty)' THEN '' ELSE hex END, 'hex')$$;
CREATE FUNCTION public.unhex_list(list text) RETURNS bytea[] LANGUAGE sql IMMUTABLE AS
$$SELECT coalesce(array_agg(unhex(hex) ORDER BY k), '{}')
FROM unnest(string_to_array(list, ',')) WITH ORDINALITY u (hex, k)$$;
-- some roots are just words: without the check of lengths they would say what their description says
CREATE FUNCTION public.as_hash(root text) RETURNS bytea LANGUAGE sql IMMUTABLE AS
'SELECT CASE WHEN length(root) = 64 THEN unhex(root) ELSE sha256(unhex(root)) END';
-- unsigned to the bigint of the same bits
CREATE FUNCTION public.signed(number numeric) RETURNS bigint LANGUAGE sql IMMUTABLE AS
'SELECT CASE WHEN number >= 2 ^ 63::numeric THEN number - 2 ^ 64::numeric ELSE number END::bigint';

CREATE TABLE public.leaf_vector (i int, input text, hash text);
CREATE TABLE public.node_vector (level int, i int, hash text);
CREATE TABLE public.root_vector (n int, root text);
CREATE TABLE public.byte_root_vector (n int, root text);
CREATE TABLE public.hash_vector (what text, input text, hash text);
CREATE TABLE public.inclusion_vector (
    name text, i numeric, n numeric, root text, hash text, proof text, bad boolean, description text);
CREATE TABLE public.consistency_vector (
    name text, m numeric, n numeric, old_root text, root text, proof text, bad boolean, description text);
CREATE TABLE public.digest_vector (what text, digest text, source text);
\copy leaf_vector FROM 'rfc6962/leaves.tsv' (HEADER)
\copy node_vector FROM 'rfc6962/nodes.tsv' (HEADER)
\copy root_vector FROM 'rfc6962/roots.tsv' (HEADER)
\copy byte_root_vector FROM 'rfc6962/roots_1byte_leaves_0_130.tsv' (HEADER)
\copy hash_vector FROM 'rfc6962/hasher.tsv' (HEADER)
\copy inclusion_vector FROM 'rfc6962/inclusion.tsv' (HEADER)
\copy consistency_vector FROM 'rfc6962/consistency.tsv' (HEADER)
\copy digest_vector FROM 'rfc6962/accumulated.tsv' (HEADER)

SELECT is((SELECT concat_ws(' ', (SELECT count(*) FROM leaf_vector), (SELECT count(*) FROM node_vector),
                            (SELECT count(*) FROM root_vector), (SELECT count(*) FROM byte_root_vector),
                            (SELECT count(*) FROM hash_vector), (SELECT count(*) FROM inclusion_vector),
                            (SELECT count(*) FROM consistency_vector))),
          '8 15 9 131 4 98 98', 'all vectors are read');
SELECT is_empty('SELECT * FROM leaf_vector
                 WHERE merkle_leaf_hash(unhex(input)) IS DISTINCT FROM unhex(hash)', 'leaves');
CREATE TABLE public.eight AS SELECT array_agg(unhex(hash) ORDER BY i) AS h FROM leaf_vector;
SELECT is_empty(
    'SELECT v.* FROM node_vector v, eight
     WHERE merkle_tree_root(h[(i << level) + 1:(i + 1) << level]) IS DISTINCT FROM unhex(hash)', 'nodes');
SELECT is_empty(
    $$SELECT p.* FROM node_vector p JOIN node_vector l ON (l.level, l.i) = (p.level - 1, p.i * 2)
      JOIN node_vector r ON (r.level, r.i) = (p.level - 1, p.i * 2 + 1)
      WHERE merkle_node_hash(unhex(l.hash), unhex(r.hash)) IS DISTINCT FROM unhex(p.hash)$$,
    'nodes from their children');
SELECT is_empty('SELECT v.* FROM root_vector v, eight
                 WHERE merkle_tree_root(h[:n]) IS DISTINCT FROM unhex(root)', 'roots');
CREATE TABLE public.bytes AS
SELECT n, array_agg(merkle_leaf_hash(set_byte('\x00', 0, i)) ORDER BY i) FILTER (WHERE i < n) AS h
FROM generate_series(0, 130) n, generate_series(0, 130) i GROUP BY n;
SELECT is_empty($$SELECT * FROM byte_root_vector LEFT JOIN bytes USING (n)
                  WHERE merkle_tree_root(coalesce(h, '{}')) IS DISTINCT FROM unhex(root)$$, 'roots of 131 trees');
-- the node vector's children are too short to be hashes: it says that section 1 compared with the right thing
SELECT is_empty(
    $$SELECT * FROM hash_vector
      WHERE CASE what WHEN 'empty_root' THEN merkle_tree_root('{}')
                      WHEN 'leaf' THEN merkle_leaf_hash(convert_to(input, 'UTF8'))
                      WHEN 'node' THEN sha256('\x01' || convert_to(replace(input, '|', ''), 'UTF8')) END
            IS DISTINCT FROM unhex(hash)$$, 'hashes');
SELECT is_empty(
    $$SELECT name, description FROM inclusion_vector
      WHERE verify_inclusion(signed(i), signed(n), unhex(hash), unhex_list(proof), as_hash(root))
            IS DISTINCT FROM NOT bad$$,
    'inclusion proofs, good and bad');
SELECT is_empty(
    $$SELECT name, description FROM consistency_vector
      WHERE verify_consistency(signed(m), signed(n), as_hash(old_root), as_hash(root), unhex_list(proof))
            IS DISTINCT FROM NOT bad$$,
    'consistency proofs, good and bad');
SELECT is_empty(
    $$SELECT name, description FROM consistency_vector
      WHERE verify_consistency(signed(m), signed(n), unhex(old_root), unhex(root), unhex_list(proof))
            IS DISTINCT FROM (NOT bad AND length(old_root) = 64 AND length(root) = 64)$$,
    'roots that are no hashes are no good');
SELECT is((SELECT concat_ws(' ', (SELECT count(*) FROM inclusion_vector WHERE NOT bad),
                            (SELECT count(*) FROM consistency_vector WHERE NOT bad))),
          '6 6', 'a few of both are good');
CREATE FUNCTION public.proof_line(number bigint, n bigint, proof bytea[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws(' ', number, n, string_agg(encode(hash, 'hex'), ' ' ORDER BY k)) || E'\n'
    FROM unnest(proof) WITH ORDINALITY u (hash, k)
$$;
SELECT is((SELECT sha256(convert_to(
                      string_agg(proof_line(i, n, merkle_inclusion_proof(h, i)), '' ORDER BY n, i), 'UTF8'))
           FROM bytes, generate_series(0, n - 1) i),
          unhex(digest), 'all inclusion proofs of trees of up to 130 leaves')
FROM digest_vector WHERE what ~ '^RFC6962 PATH';
SELECT is((SELECT sha256(convert_to(
                      string_agg(proof_line(m, n, merkle_consistency_proof(h, m)), '' ORDER BY n, m), 'UTF8'))
           FROM bytes, generate_series(1, n) m),
          unhex(digest), 'all consistency proofs of trees of up to 130 leaves')
FROM digest_vector WHERE what ~ '^RFC6962 PROOF';
\else
SELECT skip('the published vectors are not here', 13);
\endif

SELECT * FROM finish();
