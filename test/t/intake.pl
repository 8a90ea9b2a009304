# Crashes in the middle of receive() and of receive_batch(): what was acknowledged is there, nothing is half done, and when
# the sender sends all of it again, each message has been worked on once.
use strict;
use warnings;
use JournalCheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = journal_node('intake', <<'CONF');
fsync = on
synchronous_commit = on
full_page_writes = on
autovacuum = on
restart_after_crash = on
CONF
my $dir = PostgreSQL::Test::Utils::tempdir();
my $messages = 600;
my $rows = 3000;

# Every third order comes from one of five doctors, so that sessions meet.
$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION referral;
SELECT referral.deploy();
CREATE FUNCTION message(i integer) RETURNS text LANGUAGE sql AS \$\$
    SELECT concat_ws(E'\\r', 'MSH|^~\\&|LAKE|CLINIC|HUB|CITY|20260302101500+0000||REF^I12^REF_I12|C' || i || '|P|2.5.1',
        'RF1|P^Pending^HL70283|R^Routine^HL70280|||O^Outpatient^HL70284|ORDER' || i || '^LAKE|20260302',
        'PRD|RP^Referring Provider^HL70286|DOC' || i % 5 || '^ROBERT^^^DR^MD|||||' || 1003000100 + i % 5 || '^NPI',
        'PID|1||MRN' || i || '^^^LAKE^MR||' || translate(md5(i::text), '0123456789', 'ghijklmnop') || '^Ada||' || to_char(date '1930-01-01' + i * 17 % 30000, 'YYYYMMDD') || '|F', '') \$\$;
CREATE TABLE staged AS SELECT replace(message(i), 'ORDER', 'BULK') AS payload, 'B' || i AS dedup_key FROM generate_series(1, $rows) i;
SQL

# Kills a backend that works on this, or the whole server.
sub crash
{
	my ($victim, $what) = @_;

	if ($victim eq 'postmaster')
	{
		my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity');

		# a backend in the middle of a batch would not notice for long that the postmaster is gone
		$node->kill9;
		kill('KILL', @pids);
		foreach (1 .. 600)
		{
			last if !grep { kill(0, $_) } @pids;
			select(undef, undef, undef, 0.05);
		}
		$node->start;
	}
	else
	{
		my $pid;

		foreach (1 .. 200)
		{
			$pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE strpos(query, '$what') > 0 AND state = 'active' AND pid <> pg_backend_pid() LIMIT 1");
			last if $pid;
		}
		is(kill('KILL', $pid || 0), 1, "a backend is killed in $what");
		select(undef, undef, undef, 0.3);
	}
	is_up($node, 'the server is there again');
}

# Nothing is half done: every message that is stored was worked on, and every referral has its message.
sub is_whole
{
	my $name = shift;

	is($node->safe_psql('postgres', q{SELECT count(*) FROM referral.inbox_message WHERE status <> 'processed'}), '0', "$name: no message is stored and not worked on");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM referral.referral r FULL JOIN (SELECT DISTINCT org_id, referral_id FROM referral.inbox_message) m USING (org_id, referral_id)
		WHERE m.referral_id IS NULL OR r.referral_id IS NULL}), '0', "$name: each has its referral, and each referral its message");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT FROM referral.referral GROUP BY placer_order_number HAVING count(*) > 1) x'), '0', "$name: none is there twice");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM unnest('{inbox_message,referral,patient,practitioner}'::text[]) e, referral.verify_coverage(e)}), '0', "$name: all is in the journal as it is");
}

# 1. One by one. What psql has printed was acknowledged.

append_to_file("$dir/send.sql", join('', map { "SELECT '$_ ' || status || ' ' || repeated FROM referral.receive('hl7v2', 'lake', NULL, message($_), 'M$_');\n" } 1 .. $messages));

my %acknowledged;
sub send_all
{
	my $victim = shift;
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM referral.inbox_message');
	my ($out, $err) = ('', '');
	my $run;

	{
		local %ENV = $node->_get_env();
		$run = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$dir/send.sql" ], '>', \$out, '2>', \$err);
	}
	if ($victim)
	{
		ok($node->poll_query_until('postgres', "SELECT count(*) >= $before + 100 FROM referral.inbox_message"), 'messages come in');
		crash($victim, 'receive(');
	}
	$run->finish;
	my @lines = split /\n/, $out;
	my @wrong = grep { !/^\d+ processed (true|false)$/ } @lines;
	is("@wrong", '', 'each answer says processed');
	@wrong = grep { /^(\d+) \w+ (\w+)$/ && $acknowledged{$1} && $2 ne 'true' } @lines;
	is("@wrong", '', 'what was acknowledged before is a repeat');
	/^(\d+) /, $acknowledged{$1} = 1 foreach @lines;
	my $missing = $node->safe_psql('postgres', 'SELECT count(*) FROM unnest(ARRAY[' . join(',', keys %acknowledged, 'NULL') . "]::int[]) i WHERE i IS NOT NULL AND NOT EXISTS (SELECT FROM referral.inbox_message m WHERE m.dedup_key = 'M' || i)");
	is($missing, '0', 'what was acknowledged is there: ' . scalar(keys %acknowledged));
	return scalar(@lines);
}

cmp_ok(send_all('backend'), '<', $messages, 'the backend was killed in the middle');
is_whole('receive() killed');
cmp_ok(send_all('postmaster'), '<', $messages, 'the server was killed in the middle');
is_whole('server killed');
is(send_all(''), $messages, 'then all are sent');
is_whole('sent again');
is($node->safe_psql('postgres', 'SELECT count(*) FROM referral.referral'), $messages, 'there are as many referrals as messages');
is($node->safe_psql('postgres', q{SELECT count(*) FROM referral.practitioner WHERE name LIKE '%DOC%'}), '5', 'and as many doctors as there are');

# 2. Many at once.

my $call = q{CALL referral.receive_batch('staged', 'hl7v2', 'bulk')};
my $received = q{SELECT count(*) FROM referral.inbox_message WHERE source = 'bulk'};
foreach my $victim ('backend', 'postmaster')
{
	my $before = $node->safe_psql('postgres', $received);
	my ($out, $err) = ('', '');
	my $run;

	{
		local %ENV = $node->_get_env();
		$run = IPC::Run::start([ 'psql', '-XqAt', '-d', 'postgres', '-c', $call ], '>', \$out, '2>', \$err);
	}
	ok($node->poll_query_until('postgres', "SELECT count(*) > $before FROM referral.inbox_message WHERE source = 'bulk'"), 'a chunk is there');
	crash($victim, 'receive_batch');
	$run->finish;
	is($out, '', 'the batch did not end');
	my $n = $node->safe_psql('postgres', $received);
	ok($n > $before && $n < $rows && $n % 500 == 0, "whole chunks of it are there: $n");
	is_whole("receive_batch() and $victim killed");
}
my ($done, $repeated, $failed) = split /\|/, $node->safe_psql('postgres', $call);
is($done + $repeated, $rows, "called again it does the rest: $done, and finds $repeated");
is($failed, '0', 'none fails');
is_whole('called again');
is($node->safe_psql('postgres', q{SELECT count(*) FROM referral.referral WHERE source = 'bulk'}), $rows, 'there are as many referrals as rows');
is($node->safe_psql('postgres', $call), "0|$rows|0|0", 'once more it finds them all');

# 3. Two sessions at once, about the same patients, orders and doctors, in opposite directions.

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE up AS SELECT replace(message(i), 'C' || i || '|P', 'U' || i || '|P') AS payload FROM generate_series(5001, 6000) i ORDER BY i;
CREATE TABLE down AS SELECT replace(message(i), 'C' || i || '|P', 'D' || i || '|P') AS payload FROM generate_series(5001, 6000) i ORDER BY i DESC;
UPDATE up SET payload = replace(payload, 'DOC', 'NEW');
UPDATE down SET payload = replace(payload, 'DOC', 'NEW');
SQL
my @out = ('', '');
my @err = ('', '');
my @runs;
foreach my $i (0, 1)
{
	local %ENV = $node->_get_env();
	push @runs, IPC::Run::start([ 'psql', '-XqAt', '-d', 'postgres', '-c', sprintf(q{CALL referral.receive_batch('%s', 'hl7v2', '%s')}, ('up', 'down')[$i], ('up', 'down')[$i]) ],
		'>', \$out[$i], '2>', \$err[$i]);
}
$_->finish foreach @runs;
is($out[0] . $out[1], "1000|0|0|0\n1000|0|0|0\n", 'two that are in each other\'s way both get through');
is($err[0] . $err[1], '', 'without an error');
is_whole('two at once');
is($node->safe_psql('postgres', q{SELECT count(*) FROM referral.referral WHERE placer_order_number ~ '^ORDER[56]\d{3}$'}), '1000', 'and each order is one referral');

done_testing();
