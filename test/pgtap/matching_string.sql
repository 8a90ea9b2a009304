-- String measures: published values, edges, and random strings against the definitions written out in PL/pgSQL.
SELECT plan(60);
\ir ../lib/refused.sql
SET search_path = referral, public;

-- ---------- the definitions, written out ----------

-- The measure as a fraction: nothing is rounded before the division.
CREATE FUNCTION public.jaro_winkler_oracle(a text, b text) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    x text[] := string_to_array(a, NULL);
    y text[] := string_to_array(b, NULL);
    la int := length(a);
    lb int := length(b);
    reach int := greatest(greatest(la, lb) / 2 - 1, 0);
    taken bool[] := array_fill(false, ARRAY[lb + 1]);
    of_a text[] := '{}';
    of_b text[];
    m numeric; t numeric; n numeric; d numeric;
    prefix int := 0;
BEGIN
    IF a = b THEN
        RETURN 1;
    END IF;
    FOR i IN 1 .. la LOOP
        FOR j IN greatest(i - reach, 1) .. least(i + reach, lb) LOOP
            IF NOT taken[j] AND x[i] = y[j] THEN
                taken[j] := true;
                of_a := of_a || x[i];
                EXIT;
            END IF;
        END LOOP;
    END LOOP;
    m := cardinality(of_a);
    IF m = 0 THEN
        RETURN 0;
    END IF;
    of_b := ARRAY(SELECT y[j] FROM generate_series(1, lb) j WHERE taken[j] ORDER BY j);
    t := (SELECT count(*) FROM generate_series(1, m::int) k WHERE of_a[k] <> of_b[k])::int / 2;
    n := m * m * (la + lb) + (m - t) * la * lb;
    d := 3 * m * la * lb;
    IF 10 * n > 7 * d THEN
        WHILE prefix < least(la, lb, 4) AND x[prefix + 1] = y[prefix + 1] LOOP
            prefix := prefix + 1;
        END LOOP;
        n := 10 * n + prefix * (d - n);
        d := 10 * d;
    END IF;
    RETURN n::float8 / d::float8;
END $$;

CREATE FUNCTION public.alignment_oracle(a text, b text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    x text[] := string_to_array(a, NULL);
    y text[] := string_to_array(b, NULL);
    above2 int[];
    above int[] := ARRAY(SELECT generate_series(0, length(b)));
    this int[];
    best int;
BEGIN
    FOR i IN 1 .. length(a) LOOP
        this := ARRAY[i];
        FOR j IN 1 .. length(b) LOOP
            best := least(above[j + 1] + 1, this[j] + 1, above[j] + (x[i] <> y[j])::int);
            IF i > 1 AND j > 1 AND x[i] = y[j - 1] AND x[i - 1] = y[j] THEN
                best := least(best, above2[j - 1] + 1);
            END IF;
            this[j + 1] := best;
        END LOOP;
        above2 := above;
        above := this;
    END LOOP;
    RETURN above[length(b) + 1];
END $$;

-- ---------- Jaro-Winkler: published values ----------

CREATE TABLE public.published (a text, b text, similarity numeric);
INSERT INTO public.published VALUES
    ('MARTHA', 'MARHTA', 0.961), ('DIXON', 'DICKSONX', 0.813), ('DWAYNE', 'DUANE', 0.840), ('JONES', 'JOHNSON', 0.832),
    ('ABROMS', 'ABRAMS', 0.922), ('SHACKLEFORD', 'SHACKELFORD', 0.982), ('DUNNINGHAM', 'CUNNIGHAM', 0.896),
    ('NICHLESON', 'NICHULSON', 0.956), ('MASSEY', 'MASSIE', 0.933), ('JERALDINE', 'GERALDINE', 0.926),
    ('MICHELLE', 'MICHAEL', 0.921), ('JULIES', 'JULIUS', 0.933), ('TANYA', 'TONYA', 0.880), ('SEAN', 'SUSAN', 0.805),
    ('JON', 'JOHN', 0.933), ('JON', 'JAN', 0.800);
SELECT is(round(jaro_winkler(a, b)::numeric, 3), similarity, format('%s and %s', a, b)) FROM public.published;

-- ---------- Jaro-Winkler: edges ----------

SELECT is(jaro_winkler('MARTHA', 'MARHTA'), 173::float8 / 180, 'the double nearest to the fraction');
SELECT is(jaro_winkler('abcxy', 'abcpqr'), 0.7::float8, 'no bonus at exactly 0.7 by Jaro');
SELECT is(jaro_winkler('abcdxy', 'abcdpqrs'), 0.8333333333333334::float8, 'a bonus above: 0.7222 by Jaro');
SELECT is(jaro_winkler('abcdefgh', 'abcdefgx') - jaro_winkler('abcdefgh', 'abcdexgh'), 0::float8,
          'four characters of a common prefix count, not more');
SELECT is(jaro_winkler('', ''), 1::float8, 'two empty strings are equal');
SELECT is(ARRAY[jaro_winkler('', 'a'), jaro_winkler('abc', ''), jaro_winkler('abc', 'xyz')], '{0,0,0}', 'nothing in common');
SELECT is(jaro_winkler('ab', 'ba'), 0::float8, 'in strings of two, characters must stand in the same place');
SELECT is(jaro_winkler('José', 'Jose'), 53::float8 / 60, 'a character of two bytes is one character');
SELECT is(jaro_winkler('María', 'Marïa'), jaro_winkler('Maria', 'Marxa'), 'characters with a first byte in common are different');
SELECT is(jaro_winkler('大谷翔平', '大谷翔太'), jaro_winkler('abcd', 'abce'), 'characters of three bytes');
SELECT is(jaro_winkler('a😀b😀c', 'a😀c😀b'), jaro_winkler('a_b_c', 'a_c_b'), 'characters of four bytes');
SELECT is(jaro_winkler('a', NULL), NULL, 'null for null');
SELECT is(jaro_winkler(NULL, 'a'), NULL, 'null for null, the first one');
SELECT is(jaro_winkler('Smith', 'smith'), jaro_winkler('amith', 'smith'), 'upper and lower case are different');
SELECT is(jaro_winkler(repeat('a', 100000), repeat('a', 99999) || 'b') > 0.9999, true, '100,000 characters');
SELECT is(ARRAY[code, message, detail, hint], ARRAY['RF020', 'string is too long to be compared',
          'It has 100001 characters; 100000 are the most.', 'Compare names, not documents; left(string, 100000) is the beginning.'],
          'longer ones are refused') FROM refused($$SELECT referral.jaro_winkler(repeat('é', 100001), 'e')$$);
SELECT is(jaro_winkler(repeat('x', 300000), repeat('x', 300000)), 1::float8, 'equal ones are not');

-- ---------- optimal string alignment: edges ----------

SELECT is(damerau_levenshtein('smith', 'smiht'), 1, 'a transposition is one change');
SELECT is(damerau_levenshtein('ca', 'abc'), 3, 'nothing is changed twice');
SELECT is(ARRAY[damerau_levenshtein('', ''), damerau_levenshtein('', 'abc'), damerau_levenshtein('abc', '')], '{0,3,3}', 'empty strings');
SELECT is(damerau_levenshtein('José', 'Jose'), 1, 'a character of two bytes is one character');
SELECT is(damerau_levenshtein('Muñoz', 'Muzño'), 2, 'characters of two bytes are moved as a whole');
SELECT is(ARRAY[damerau_levenshtein('kitten', 'sitting', 3), damerau_levenshtein('kitten', 'sitting', 2),
                damerau_levenshtein('kitten', 'sitting', 0), damerau_levenshtein('kitten', 'kitten', 0)], '{3,3,1,0}',
          'more than the bound is one more than it');
SELECT is(damerau_levenshtein(repeat('ab', 500), repeat('ba', 500)), 2, 'long strings');
SELECT is(damerau_levenshtein(repeat('ab', 500), repeat('xy', 500), 7), 8, 'long strings, with a bound');
SELECT is(damerau_levenshtein(repeat('a', 90000), repeat('b', 90000), 1), 2, 'a bound ends it soon');
SELECT is(ARRAY[damerau_levenshtein(NULL, 'a'), damerau_levenshtein('a', NULL), damerau_levenshtein('a', 'a', NULL)],
          '{NULL,NULL,NULL}', 'null for null');
SELECT is(ARRAY[code, message, detail, hint], ARRAY['RF020', 'the largest distance must not be negative', 'It is -1.',
          'Give 0 or more, or leave it out for the exact distance.'], 'a negative bound is refused')
FROM refused($$SELECT referral.damerau_levenshtein('a', 'a', -1)$$);
SELECT is((refused($$SELECT referral.damerau_levenshtein(repeat('a', 100001), 'e')$$)).code, 'RF020', 'too long');
CREATE FUNCTION public.interrupted(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN false;
EXCEPTION WHEN query_canceled THEN
    RETURN true;
END $$;
SET statement_timeout = '100ms';
SELECT ok(interrupted($$SELECT referral.damerau_levenshtein(repeat('ab', 50000), repeat('bca', 33333))$$),
          'enormous strings can be interrupted');
RESET statement_timeout;

-- ---------- random strings ----------

-- Pieces of names and of single characters, so that strings have much or little in common; a third of the seconds are
-- the first one with a change or two.
SELECT setseed(0.5);
CREATE FUNCTION public.random_string(size int, letters text) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(string_agg(substr(letters, 1 + floor(random() * length(letters))::int, 1), ''), '')
    FROM generate_series(1, size)
$$;
CREATE FUNCTION public.changed(s text) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT left(s, at) || CASE kind WHEN 0 THEN '' WHEN 1 THEN 'q' WHEN 2 THEN substr(s, at + 2, 1) || substr(s, at + 1, 1) ELSE 'a' END
           || substr(s, at + CASE kind WHEN 0 THEN 2 WHEN 1 THEN 1 WHEN 2 THEN 3 ELSE 2 END)
    FROM (SELECT floor(random() * greatest(length(s), 1))::int AS at, floor(random() * 4)::int AS kind) c
$$;
CREATE TABLE public.pair AS
SELECT n, a, CASE WHEN n % 3 = 0 THEN changed(changed(a)) ELSE random_string(floor(random() * size)::int, letters) END AS b
FROM (SELECT n, size, letters, random_string(floor(random() * size)::int, letters) AS a
      FROM (SELECT n, CASE WHEN n % 50 = 0 THEN 150 WHEN n % 10 = 0 THEN 70 ELSE 14 END AS size,
                   (ARRAY['ab', 'abcde', 'abcdefghijklmnopqrstuvwxyz', 'aeéèøñ', 'abé漢😀語', 'ABCDabcd0123 -'])[1 + n % 6] AS letters
            FROM generate_series(1, 3000) n) s) r;
SELECT ok(count(*) FILTER (WHERE length(a) > 64) > 10 AND count(*) FILTER (WHERE octet_length(a) BETWEEN 17 AND 64) > 100
          AND count(*) FILTER (WHERE octet_length(a) <= 16) > 1000, 'strings of every path are among them') FROM public.pair;
SELECT is_empty('SELECT n, a, b FROM pair WHERE jaro_winkler(a, b) <> jaro_winkler_oracle(a, b)', 'jaro_winkler is what its definition says');
SELECT is_empty('SELECT n, a, b FROM pair WHERE jaro_winkler(a, b) <> jaro_winkler(b, a)', 'jaro_winkler does not depend on the order');
SELECT is_empty('SELECT n, a, b FROM pair WHERE NOT jaro_winkler(a, b) BETWEEN 0 AND 1 OR (jaro_winkler(a, b) = 1) <> (a = b)',
                'jaro_winkler is 1 for equal strings only');
SELECT is_empty('SELECT n, a, b FROM pair WHERE damerau_levenshtein(a, b) <> alignment_oracle(a, b)', 'damerau_levenshtein is what its definition says');
SELECT is_empty('SELECT n, a, b, max FROM pair, unnest(''{0,1,2,5,40,64,65,2147483647}''::int[]) max
                 WHERE damerau_levenshtein(a, b, max) <> least(damerau_levenshtein(a, b), max + 1::bigint)', 'bounds of every size');
-- a register, a table and the long path have to agree: the same strings behind 20 and 80 characters that they share
SELECT is_empty($$SELECT n, a, b FROM pair, unnest('{20,80}'::int[]) more
                  WHERE damerau_levenshtein(repeat('é', more) || a, repeat('é', more) || b) <> damerau_levenshtein(a, b)
                     OR damerau_levenshtein(repeat('z', more) || a, repeat('z', more) || b) <> damerau_levenshtein(a, b)$$,
                'what strings have in common at the beginning costs nothing');

-- ---------- double metaphone ----------

CREATE TABLE public.heard (name text, keys text);
INSERT INTO public.heard VALUES
    ('Smith', 'SM0 XMT'), ('Schmidt', 'XMT SMT'), ('Smyth', 'SM0 XMT'), ('Schneider', 'XNTR SNTR'), ('Snider', 'SNTR XNTR'),
    ('Michael', 'MKL MXL'), ('Thomas', 'TMS'), ('Thompson', 'TMPSN'), ('Catherine', 'K0RN KTRN'), ('Katherine', 'K0RN KTRN'),
    ('Wright', 'RT'), ('Knight', 'NT'), ('Philip', 'FLP'), ('Filip', 'FLP'), ('Stephen', 'STFN'), ('Steven', 'STFN'),
    ('Jose', 'HS'), ('José', 'HS'), ('Jorge', 'JRJ ARK'), ('San Jacinto', 'SNHSNT'), ('Gallegos', 'KLKS KKS'), ('Cabrillo', 'KPRL KPR'),
    ('Peña', 'PN'), ('Muñoz', 'MNS'), ('François', 'FRNS FRNSS'), ('Müller', 'MLR'), ('Lévesque', 'LFSK'), ('Žižek', 'SSK STSK'),
    ('Xavier', 'SF SFR'), ('Filipowicz', 'FLPTS FLPFX'), ('Kowalski', 'KLSK'), ('Lewandowski', 'LNTSK LNTFSK'), ('Arnow', 'ARN ARNF'),
    ('McClellan', 'MKLLN'), ('McDonald', 'MKTNLT'), ('Campbell', 'KMPL'), ('Dumb', 'TM'), ('Bacher', 'PKR'), ('Bacci', 'PX'),
    ('Bellocchio', 'PLX'), ('Accident', 'AKSTNT'), ('Caesar', 'SSR'), ('Czerny', 'SRN XRN'), ('Edgar', 'ATKR'), ('Edge', 'AJ'),
    ('Ghislane', 'JLN'), ('Hugh', 'H'), ('McLaughlin', 'MKLFLN'), ('Cough', 'KF'), ('Biaggi', 'PJ PK'), ('Zhao', 'J'), ('Rogier', 'RJ RJR'),
    ('Breaux', 'PR'), ('Isley', 'AL'), ('Sugar', 'XKR SKR'), ('Schermerhorn', 'XRMRRN SKRMRR'), ('Whitman', 'ATMN'), ('Wilson', 'ALSN FLSN'),
    ('', ''), ('123', ''), ('漢字', ''), ('Н', '');
SELECT is_empty($$SELECT name, double_metaphone_keys(name), keys FROM heard WHERE array_to_string(double_metaphone_keys(name), ' ') <> keys$$,
                'names as they are known to be heard');
SELECT is(double_metaphone_keys('smith'), double_metaphone_keys('SMITH'), 'upper and lower case sound alike');
SELECT is(double_metaphone_keys('Wolfeschlegelsteinhausenbergerdorff'), '{ALFXLJ,FLFXLK}', 'keys have six letters at most');
SELECT is(double_metaphone_keys(repeat('a', 1000000) || 'b'), '{A}', 'a name without end');
SELECT is(double_metaphone_keys(NULL), NULL, 'null for null');

-- Random names of letters that rules are about: fuzzystrmatch's implementation, whose keys have four letters, agrees.
-- Where a name may be silent it gives an empty key, which is none here.
CREATE TABLE public.random_name AS
SELECT CASE n % 20 WHEN 1 THEN 'VAN ' WHEN 2 THEN 'SCH' WHEN 3 THEN 'SAN ' WHEN 4 THEN 'MC' ELSE '' END
       || random_string(2 + n % 9, 'AEIOUYAEIOBCCDFGGHHJKLLMMNNPQRSSSTTVWXZ ') AS name
FROM generate_series(1, 20000) n;
SELECT count(*) > 0 AS fuzzystrmatch FROM pg_available_extensions WHERE name = 'fuzzystrmatch' \gset
\if :fuzzystrmatch
CREATE EXTENSION fuzzystrmatch SCHEMA public;
SELECT is_empty($$SELECT name, double_metaphone_keys(name), dmetaphone(name), dmetaphone_alt(name)
                  FROM random_name, double_metaphone_keys(name) k
                  WHERE dmetaphone(name) <> '' AND left(k[1], 4) <> dmetaphone(name)
                     OR dmetaphone_alt(name) <> '' AND left(coalesce(k[2], k[1]), 4) <> dmetaphone_alt(name)$$,
                'keys begin as those of fuzzystrmatch');
\else
SELECT skip('fuzzystrmatch is not installed', 1);
\endif
SELECT is_empty($$SELECT name FROM random_name, double_metaphone_keys(name) k
                  WHERE cardinality(k) > 2 OR k[1] = k[2] OR array_position(k, '') > 0 OR length(k[1]) > 6 OR length(k[2]) > 6
                     OR k[1] !~ '^[A0XSKJTFHLMNPR]+$'$$, 'one or two keys, of the sounds there are');

SELECT * FROM finish();
