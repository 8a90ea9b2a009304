-- Pairs of names for matching_string.bench.sh.
\ir lib.sql

SELECT setseed(0.25) \g /dev/null
CREATE FUNCTION bench.one_of(things text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT things[1 + floor(random() * cardinality(things))::int] $$;

-- Surnames: two or three syllables, 4 to 11 letters, 7 on average.
CREATE TABLE bench.surname AS
SELECT i AS id, bench.one_of('{ba,be,br,ca,cha,co,da,de,do,fa,fi,ga,gr,ha,he,ho,ja,jo,ka,kle,la,le,lo,ma,mc,mi,mo,na,ne,o,pa,pe,
                              qui,ra,ri,ro,sa,sch,so,ste,ta,tho,tu,va,vi,wa,we,wi,ya,za}')
       || CASE WHEN i % 2 = 0 THEN bench.one_of('{a,e,i,o,u}') || bench.one_of('{l,ll,m,n,nd,r,rr,s,t,tt}') ELSE '' END
       || bench.one_of('{a,e,i,o,u}') || bench.one_of('{ber,ck,der,dez,ford,ger,kins,ler,man,mer,n,ner,nson,res,rez,s,son,ter,th,ton,vis,ys}') AS name
FROM generate_series(1, 20000) i;

-- Half of the pairs are of two names, half of a name and the same with a change, which have much in common.
CREATE TABLE bench.pair AS
SELECT p.id, a.name AS a,
       CASE WHEN p.id % 2 = 0 THEN b.name ELSE overlay(a.name PLACING substr(b.name, 1, 1) FROM 1 + p.id % length(a.name) FOR p.id % 3) END AS b
FROM generate_series(1, 1000000) p (id)
JOIN bench.surname a ON a.id = 1 + p.id::bigint * 7919 % 20000
JOIN bench.surname b ON b.id = 1 + p.id / 50;

-- Some of them, also with letters that are not ASCII, and longer, as addresses are.
CREATE TABLE bench.some_pair AS
SELECT id, a, b, translate(a, 'aeiou', 'áèîöü') AS accented_a, translate(b, 'aeiou', 'áèîöü') AS accented_b,
       a || ' and ' || b || ' street' AS long_a, b || ' and ' || a || ' road' AS long_b
FROM bench.pair WHERE id <= 200000;
VACUUM ANALYZE bench.pair, bench.some_pair;
