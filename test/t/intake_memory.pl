# The memory of a session that takes messages in does not grow with what it has taken in: not with the parts of a message, nor
# with the messages of an array or of a batch. It is that of the whole process, which the kernel counts (Linux).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no /proc/self/status here' if !-r '/proc/self/status';

my $node = PostgreSQL::Test::Cluster->new('intake_memory');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nshared_buffers = 16MB\njit = off");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION referral;
SELECT referral.deploy();
CREATE FUNCTION peak() RETURNS bigint LANGUAGE sql AS $$ SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s*(\d+)'))[1]::bigint $$;
CREATE FUNCTION people(first integer, last integer) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('{"resourceType":"Patient","id":"s%s","name":[{"family":"Jam%s"}]}', i, i), E'\n') FROM generate_series(first, last) i $$;
CREATE FUNCTION note(i integer) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(E'\r', 'MSH|^~\&|LAKE|CLINIC|HUB|CITY|20260302101500+0000||REF^I12^REF_I12|C' || i || '|P|2.5.1',
        'RF1|P^Pending^HL70283|R^Routine^HL70280|||O^Outpatient^HL70284|ORDER' || i || '^LAKE|20260302',
        'PID|1||MRN' || i || '^^^LAKE^MR||' || translate(md5(i::text), '0123456789', 'ghijklmnop') || '^Ada||19550417|F', '') $$;
SQL

my $sessions = 0;

# How much the peak of a session that has warmed up rises by the statement, in MB. Pages of shared memory that it touches count
# for it, too: there are 16 MB of them.
sub rise
{
	my ($statement) = @_;
	my $warm = 900_000 + 100 * $sessions++;
	my $out = $node->safe_psql('postgres', <<SQL);
SET referral.org_id = '1';
\\o /dev/null
SELECT status FROM referral.receive('portal', 'warm', 'application/x-ndjson', people($warm + 1, $warm + 50));
SELECT status FROM referral.receive('hl7v2', 'warm', NULL, note($warm));
SELECT * FROM referral.receive_chunk('hl7v2', 'warm', NULL, ARRAY[note($warm + 1)], NULL);
\\o
SELECT peak() AS before \\gset
$statement
SELECT (peak() - :before) / 1024;
SQL
	return (split /\n/, $out)[-1];
}

# By the square of their number it was 900 MB.
cmp_ok(rise("SELECT status FROM referral.receive('portal', 'parts', 'application/x-ndjson', people(1, 1500));"), '<=', 48, 'a message of 1,500 parts');
is($node->safe_psql('postgres', "SELECT status || ' ' || jsonb_array_length(results) FROM referral.inbox_message WHERE source = 'parts'"),
	'processed 1500', 'each of which is written');
cmp_ok(rise("SELECT * FROM referral.receive_chunk('hl7v2', 'chunk', NULL, (SELECT array_agg(note(i)) FROM generate_series(1, 1000) i), NULL);"),
	'<=', 48, 'an array of 1,000 messages');
# 10 kB for each were 100 MB.
cmp_ok(rise("SELECT * FROM referral.receive_chunk('hl7v2', 'chunk', NULL, (SELECT array_agg(note(1)) FROM generate_series(1, 10000) i), NULL);"),
	'<=', 32, '10,000 that are there already');
is($node->safe_psql('postgres', "SELECT count(*) || ' ' || max(repeat_count) FROM referral.inbox_message WHERE source = 'chunk'"), '1000 10000', 'all of which are counted');
cmp_ok(rise("CREATE TEMP TABLE staged AS SELECT note(100000 + i) AS payload FROM generate_series(1, 2000) i;\nCALL referral.receive_batch('staged', 'hl7v2', 'batch', NULL);"),
	'<=', 48, 'a batch of 2,000 messages');

done_testing();
