# 100,000 broken FHIR messages through map_fhir(), in one backend: each gives cases of which every value is of its type, or
# is refused as no FHIR; the backend lives, and its memory does not grow.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = 100_000;
my $batch = 500;

my $node = PostgreSQL::Test::Cluster->new('fhir_fuzz');
$node->init;
$node->append_conf('postgresql.conf', "log_min_messages = fatal\nlog_min_error_statement = panic\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION referral');

# ---------- what is broken ----------

my $root = $ENV{REFERRAL_ROOT};
my @files = glob("$root/test/data/fhir_*.json");
my $shared = ($ENV{REFERRAL_SHARED} // '') . '/health';
# small ones of others, when they are there
push @files, grep { -s $_ < 9000 } glob("$shared/pas/ri/claim*.json $shared/pas/ri/bundle-*.json");
cmp_ok(scalar(@files), '>=', 4, 'there are messages to break');

my $setup = <<'SQL';
CREATE TABLE seed (n serial, body jsonb);
SQL
foreach my $file (@files)
{
	my $content = PostgreSQL::Test::Utils::slurp_file($file);
	$setup .= "INSERT INTO seed (body) SELECT \$json\$$content\$json\$::jsonb;\n";
}
$setup .= <<'SQL';
-- the resources of bundles and the elements of arrays on their own, too
INSERT INTO seed (body) SELECT e -> 'resource' FROM seed, jsonb_array_elements(body -> 'entry') e WHERE jsonb_typeof(e -> 'resource') = 'object';
INSERT INTO seed (body) SELECT e FROM seed, jsonb_array_elements(body) e WHERE jsonb_typeof(body) = 'array';
DELETE FROM seed WHERE jsonb_typeof(body) <> 'object' OR NOT body ? 'resourceType';
CREATE TABLE part (seed int, path text[], value jsonb);
WITH RECURSIVE walk (seed, path, value) AS (
    SELECT n, '{}'::text[], body FROM seed
    UNION ALL
    SELECT w.seed, w.path || p.key, p.value FROM walk w
    CROSS JOIN LATERAL (SELECT o.key, o.value FROM jsonb_each(CASE jsonb_typeof(w.value) WHEN 'object' THEN w.value ELSE '{}' END) o
                        UNION ALL
                        SELECT (a.ordinality - 1)::text, a.value
                        FROM jsonb_array_elements(CASE jsonb_typeof(w.value) WHEN 'array' THEN w.value ELSE '[]' END) WITH ORDINALITY a) p (key, value)
) INSERT INTO part SELECT * FROM walk WHERE path <> '{}';
CREATE TABLE nasty (n serial, value jsonb);
INSERT INTO nasty (value)
SELECT v FROM jsonb_array_elements('[null, true, false, 0, -1, 1, 2147483648, 1e300, 1.5e-300, "", " ", "#", "#why", "/", "?", "Patient/", "Patient/1", "/1",
    "urn:uuid:", "urn:", "?identifier=", "a?identifier=|", "a?identifier=s|v", "1#1", "_history/", "P/1/_history/2", "2026-02-30", "2026-02-28T24:00:00Z", "0001-01-01",
    "9999-12-31T23:59:60.999999999999+14:59", "2019", "2019-04", "19761325", "19610228", "now", "infinity", "NaN", "\\", "''", "%s%n", "{", "<div>", "\u0001", "\ud83d\ude00é",
    [], {}, [[]], [{}], [null], [1, "a"], {"coding": 5}, {"reference": {}}, {"reference": 7}, {"reference": "#"}, {"value": []}, {"extension": [[]]},
    {"resourceType": "Bundle", "entry": {}}, {"resourceType": ["Patient"]}, "ServiceRequest", "Task", "Claim", "Bundle", "active", "revoked", "completed"]') v
UNION ALL SELECT to_jsonb(repeat('x', 100000)) UNION ALL SELECT to_jsonb(repeat('é,;|/ ', 3000)) UNION ALL SELECT (repeat('[', 2000) || repeat(']', 2000))::jsonb
UNION ALL SELECT (repeat('{"extension":[', 500) || repeat(']}', 500))::jsonb UNION ALL SELECT (SELECT jsonb_agg(i) FROM generate_series(1, 300) i);
-- paths of a seed by number, for a quick choice
CREATE TABLE choice AS SELECT seed, row_number() OVER (PARTITION BY seed) AS n, count(*) OVER (PARTITION BY seed) AS of, path FROM part;
CREATE INDEX ON choice (seed, n);
CREATE TABLE spare AS SELECT row_number() OVER () AS n, value FROM part WHERE length(value::text) < 2000;
CREATE INDEX ON spare (n);
ANALYZE;

CREATE FUNCTION broken() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    broken jsonb; chosen int; total int; place text[]; v jsonb;
    seeds int[] := (SELECT array_agg(n) FROM public.seed); nasties int := (SELECT count(*) FROM public.nasty); spares int := (SELECT count(*) FROM public.spare);
BEGIN
    chosen := seeds[1 + floor(random() * cardinality(seeds))];
    SELECT s.body INTO broken FROM public.seed s WHERE s.n = chosen;
    SELECT c.of INTO total FROM public.choice c WHERE c.seed = chosen LIMIT 1;
    FOR i IN 1 .. 1 + floor(random() * 4) LOOP
        place := (SELECT c.path FROM public.choice c WHERE c.seed = chosen AND c.n = (SELECT 1 + floor(random() * total)::int));
        -- what has been broken before may have no such place
        CONTINUE WHEN broken #> place[:cardinality(place) - 1] IS NULL
            OR jsonb_typeof(broken #> place[:cardinality(place) - 1]) <> 'object' AND place[cardinality(place)] !~ '^[0-9]+$';
        IF random() < 0.2 THEN
            broken := broken #- place;
        ELSE
            v := CASE WHEN random() < 0.7 THEN (SELECT s.value FROM public.nasty s ORDER BY s.n OFFSET floor(random() * nasties)::int LIMIT 1)
                      ELSE (SELECT s.value FROM public.spare s WHERE s.n = (SELECT 1 + floor(random() * spares)::int)) END;
            IF random() < 0.2 THEN
                v := jsonb_build_array(v, v);
            END IF;
            broken := jsonb_set(broken, place, coalesce(v, 'null'));
        END IF;
    END LOOP;
    RETURN broken;
END $$;

-- reads every value of a case that has a type; what is none raises an error
CREATE FUNCTION typed(c jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    kinds CONSTANT text[] := '{referral,referral_cancel,referral_status,appointment,report,authorization,patient,document,communication,directory,status_request,none}';
BEGIN
    IF c ->> 'kind' <> ALL (kinds) OR c ->> 'kind' IS NULL THEN
        RAISE EXCEPTION 'kind %', c ->> 'kind';
    END IF;
    PERFORM (c #>> '{referral,state}')::referral.state, (c #>> '{referral,urgency}')::referral.urgency, (c #>> '{referral,intent}')::referral.intent,
            (c #>> '{referral,decision}')::referral.decision, (c #>> '{patient,birth_date}')::date, (c #>> '{patient,multiple_birth}')::boolean,
            (c #>> '{patient,birth_order}')::int, (c #>> '{message,sent_at}')::timestamptz;
    PERFORM (x #>> '{}')::timestamptz
    FROM unnest('{authored_at,starts_at,ends_at,started_at,ended_at,sent_at,requested_at,decided_at}'::text[]) k,
         jsonb_path_query(c, format('$.*[*].%s', k)::jsonpath) x;
    PERFORM (x #>> '{}')::date FROM jsonb_path_query(c, '$.coverages[*].start') x;
    PERFORM (x #>> '{}')::date FROM jsonb_path_query(c, '$.coverages[*].end') x;
    PERFORM (x #>> '{}')::int FROM jsonb_path_query(c, '$.coverages[*].priority') x;
    PERFORM (x #>> '{}')::int FROM jsonb_path_query(c, '$.authorizations[*].items[*].sequence') x;
    PERFORM (x #>> '{}')::numeric FROM jsonb_path_query(c, '$.authorizations[*].items[*].quantity') x;
    PERFORM (x #>> '{}')::date FROM jsonb_path_query(c, '$.authorizations[*].valid_from') x;
    IF c @? '$.findings[*] ? (!exists(@.code) || !exists(@.severity))' THEN
        RAISE EXCEPTION 'a finding without a code';
    END IF;
    RETURN true;
END $$;
SQL
$setup .= <<'SQL';
CREATE TABLE outcome (code text, message text, body jsonb);
CREATE FUNCTION fuzz(rounds int) RETURNS TABLE (cases int, refused int) LANGUAGE plpgsql AS $$
DECLARE
    body jsonb; n int;
BEGIN
    cases := 0; refused := 0;
    FOR i IN 1 .. rounds LOOP
        body := broken();
        BEGIN
            SELECT count(*) FILTER (WHERE typed(c)) INTO n FROM referral.map_fhir(body, 'ehr') c;
            IF n = 0 THEN
                INSERT INTO outcome VALUES ('none', 'no case', body);
            END IF;
            cases := cases + n;
        EXCEPTION WHEN OTHERS THEN
            IF SQLSTATE = 'RF014' AND jsonb_typeof(body -> 'resourceType') IN ('string', 'number') AND btrim(body ->> 'resourceType') <> '' THEN
                INSERT INTO outcome VALUES (SQLSTATE, 'refused though it is FHIR', body);
            ELSIF SQLSTATE <> 'RF014' THEN
                INSERT INTO outcome VALUES (SQLSTATE, SQLERRM, body);
            END IF;
            refused := refused + 1;
        END;
    END LOOP;
    RETURN NEXT;
END $$;
SQL
$node->safe_psql('postgres', $setup);

# ---------- breaking ----------

my $memory = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts;';
my $call = "SELECT * FROM fuzz($batch);\n";
my $warm = 4;
my $script = "SELECT setseed(0.2026);\n" . $call x $warm . "$memory\n" . $call x ($rounds / $batch - $warm) . "$memory\n";
my $output = $node->safe_psql('postgres', $script);
my ($cases, $refused, @memory) = (0, 0);
foreach my $line (split /\n/, $output)
{
	if ($line =~ /^(\d+)\|(\d+)$/) { $cases += $1; $refused += $2; }
	elsif ($line =~ /^(\d+)$/) { push @memory, $1; }
}
is($node->safe_psql('postgres', "SELECT code, left(message, 200), left(body::text, 1500) FROM outcome LIMIT 3"), '',
	"$rounds broken messages give cases of sound values, or are refused as no FHIR");
cmp_ok($cases, '>', $rounds / 2, 'most of them give cases');
cmp_ok($refused, '>', 0, 'some are no FHIR any more');
cmp_ok($refused, '<', $rounds / 4, 'but most still are');
is(scalar(@memory), 2, 'memory is measured');
cmp_ok($memory[1] - $memory[0], '<', 262144, 'no memory is lost');
note "cases $cases, refused $refused, memory $memory[0] to $memory[1]";
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'the server is up');
$node->stop;

done_testing();
