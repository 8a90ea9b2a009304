# The queue of matching under crashes: sessions enter and change people, three workers compare them, one worker is
# terminated and the server crashes in between. In the end the candidates are those that a comparison of all with all
# finds, each pair once, and what was decided meanwhile still stands.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('match_crash');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\nautovacuum = on");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION referral; SELECT referral.deploy()');

# Person n: two thirds of them come a second time, with a letter of the family name changed or another phone.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION public.enter(low int, high int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO referral.patient (org_id, family, given, birth_date, sex, address, city, postal_code, phone)
    SELECT 1, CASE WHEN copy = 1 AND n % 3 = 1 THEN overlay(name PLACING 'x' FROM 3 FOR 1) ELSE name END, given, born, 'female',
           n || ' Oak Street', 'Springfield', (62701 + n % 40)::text, CASE WHEN copy = 0 OR n % 3 = 1 THEN '217555' || lpad(n::text, 4, '0') END
    FROM generate_series(low, high) n, generate_series(0, CASE n % 3 WHEN 0 THEN 0 ELSE 1 END) copy,
         LATERAL (SELECT translate(md5(n::text), '0123456789', 'ghijklmnop') AS m) h,
         LATERAL (SELECT initcap(substr(m, 1, 8)) AS name, initcap(substr(m, 9, 6)) AS given, date '1930-01-01' + n * 17 % 30000 AS born) x
$$;
SQL

sub begin_session
{
	my ($sql) = @_;
	my @command = ('psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $sql);

	return IPC::Run::start(\@command, '<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
}

sub end_sessions
{
	foreach my $session (@_)
	{
		eval { $session->finish };
	}
}

$node->safe_psql('postgres', 'SELECT public.enter(1, 600)');
my @workers = map { begin_session('CALL referral.process_match_queue(20)') } 1 .. 3;
my @writers = map { begin_session("SELECT public.enter($_, $_ + 149)") } 601, 751;
ok($node->poll_query_until('postgres', 'SELECT count(*) > 50 FROM referral.match_candidate'), 'workers compare while others write');
# who is decided about while the work goes on
$node->safe_psql('postgres', <<'SQL');
INSERT INTO referral.match_decision (org_id, patient_id, duplicate_id, decision, reason)
SELECT org_id, patient_id, duplicate_id, 'not_a_match', 'two persons' FROM referral.match_candidate ORDER BY patient_id, duplicate_id LIMIT 20;
UPDATE referral.patient SET phone = '217-555-9999' WHERE patient_id IN (SELECT patient_id FROM referral.match_decision);
SQL
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(min(pid)) FROM pg_stat_activity WHERE query ~ '^CALL referral.process_match_queue'});
$node->stop('immediate');
end_sessions(@workers, @writers);
$node->start;

my $waiting = $node->safe_psql('postgres', 'SELECT count(*) FROM referral.match_queue');
note("after the crash $waiting wait");
@workers = map { begin_session('CALL referral.process_match_queue(20)') } 1 .. 2;
end_sessions(@workers);
$node->safe_psql('postgres', 'CALL referral.process_match_queue()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM referral.match_queue'), 0, 'nobody waits any more');
is($node->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE k.status = 'not_a_match') FROM referral.match_decision d JOIN referral.match_candidate k USING (org_id, patient_id, duplicate_id)}),
	'20|20', 'what was decided stands');
is($node->safe_psql('postgres', 'SELECT referral.load_duplicates(1)'), 0, 'a comparison of all with all finds nothing to correct');
$node->safe_psql('postgres', q{CREATE TABLE public.found AS SELECT patient_id, duplicate_id, probability, grade FROM referral.match_candidate WHERE status <> 'superseded';
	DELETE FROM referral.match_candidate; SELECT referral.load_duplicates(1)});
is($node->safe_psql('postgres', q{SELECT * FROM (SELECT patient_id, duplicate_id, probability, grade FROM referral.match_candidate EXCEPT TABLE public.found) x LIMIT 5}), '', 'no pair is missing');
is($node->safe_psql('postgres', q{SELECT * FROM (TABLE public.found EXCEPT SELECT patient_id, duplicate_id, probability, grade FROM referral.match_candidate) x LIMIT 5}), '', 'and none is too many');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM public.found'), '>', 300, 'there were many');

done_testing();
