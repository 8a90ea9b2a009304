# Crashes while changes are made, sealed and consumed: each change that was committed is in the journal once, in its place
# in the tree, and is delivered at least once, in order per row, and not again once it was acknowledged.
use strict;
use warnings;
use JournalCheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 40;
my $clients = 4;
my $node = journal_node('journal_crash', <<'CONF');
fsync = on
synchronous_commit = on
full_page_writes = on
autovacuum = on
max_wal_size = 64MB
checkpoint_timeout = 30s
restart_after_crash = on
CONF
$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION referral;
SELECT referral.deploy();
SELECT referral.create_consumer('worker', start => '-infinity', max_attempts => 10000);
INSERT INTO referral.patient (family) VALUES ('x');
INSERT INTO referral.referral (patient_id, specialty) SELECT 1, 'x' FROM generate_series(1, $rows);
UPDATE referral.referral SET state = 'validated';
UPDATE referral.referral SET state = 'ready_to_schedule';
SQL

my $dir = PostgreSQL::Test::Utils::tempdir();

# Writers: a move, or two of them with a savepoint that is given up now and then, and a document.
my $move = <<'SQL';
UPDATE referral.referral SET scheduled_for = '2026-01-01',
    step = CASE step WHEN 'ready_to_schedule' THEN 'scheduled' WHEN 'scheduled' THEN 'no_show' ELSE 'ready_to_schedule' END
WHERE org_id = 1 AND referral_id =
SQL
$move =~ s/\s+/ /g;
append_to_file("$dir/one.sql", "\\set a random(1, $rows)\n$move :a;\n");
append_to_file("$dir/two.sql", <<SQL);
\\set a random(1, $rows - 1)
\\set b random(:a + 1, $rows)
\\set undo random(1, 4)
BEGIN;
$move :a;
SAVEPOINT s;
$move :b;
\\if :undo = 1
ROLLBACK TO s;
\\endif
INSERT INTO referral.document (org_id, referral_id, type) VALUES (1, :a, 'letter');
COMMIT;
SQL

# A sealer, who looks now and then whether all is well.
append_to_file("$dir/seal.sql", <<'SQL');
\set n random(50, 1000)
\set look random(1, 20)
SELECT count(*) FROM referral.seal(:n);
\if :look = 1
SELECT 1 / ok::integer FROM referral.verify_journal(1);
\endif
\sleep 10 ms
SQL

# Workers, who write down what they were handed and what they have acknowledged: now and then only half of it.
append_to_file("$dir/worker.sql", <<'SQL' x 4000);
SELECT count(*) > 0 AS some, coalesce(string_agg(item, ' ' ORDER BY n), '') AS list,
       coalesce((array_agg(position ORDER BY n))[ceil(count(*) * CASE WHEN random() < 0.2 THEN 0.5 ELSE 1 END)], '') AS position
FROM (SELECT row_number() OVER () AS n, e.position,
             concat_ws(',', referral.event_journal_id(e.id), e.subject, coalesce(e.data ->> 'version', '0')) AS item
      FROM referral.events('worker', 60, '700 ms') e) e \gset
\if :some
\echo taken :position :list
SELECT referral.ack('worker', :'position') AS n \gset
\echo acknowledged :position :n
\else
SELECT pg_sleep(0.02) AS slept \gset
\endif
SQL

sub start_load
{
	my $round = shift;
	my @run;

	local %ENV = $node->_get_env();
	push @run,
	  IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-T', '60', '-l', "--log-prefix=$dir/log.$round", '-f', "$dir/one.sql", '-f', "$dir/two.sql", 'postgres' ],
		'>', "$dir/pgbench.$round.out", '2>', "$dir/pgbench.$round.err");
	push @run,
	  IPC::Run::start([ 'pgbench', '-n', '-T', '60', '-f', "$dir/seal.sql", 'postgres' ],
		'>', "$dir/sealer.$round.out", '2>', "$dir/sealer.$round.err");
	push @run,
	  map { IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$dir/worker.sql" ],
		'>', "$dir/worker.$round.$_", '2>', "$dir/worker.$round.$_.err") } 1 .. 2;
	return @run;
}

my $kills = 0;
sub wait_for_work
{
	my $now = $node->safe_psql('postgres', 'SELECT count(*) FROM referral.journal');

	ok($node->poll_query_until('postgres', "SELECT count(*) >= $now + 700 FROM referral.journal"), 'changes are made');
	$kills++;
}

# Crashes ----------

my $round = 0;
foreach my $victim ('seal(', 'events(', 'UPDATE', 'postmaster', 'postmaster')
{
	my @run = start_load(++$round);

	wait_for_work();
	if ($victim eq 'postmaster')
	{
		my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity');

		$node->kill9;
		$_->finish foreach @run;
		foreach (1 .. 600)	# its children notice, and leave the shared memory
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
			$pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE strpos(query, '$victim') > 0 AND state = 'active' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1");
			last if $pid;
		}
		is(kill('KILL', $pid || 0), 1, "a backend is killed in $victim");
		$_->finish foreach @run;
		is_up($node, 'the server recovers');
	}
	is_sound($node, 'postgres', "$round. crash, of $victim");
}
my @errors = grep { !/terminat|server closed|connection|recovery mode|shutting down|starting up|HINT|DETAIL|WARNING|before or while|pgbench|repeat your command|corrupted shared memory|^\s*$/ }
  map { split /\n/, slurp_file($_) } glob("$dir/*.err");
is("@errors", '', 'the clients saw no other error');

# What was acknowledged to the writers ----------

my %done = (0 => 0, 1 => 0);
foreach my $line (map { split /\n/, slurp_file($_) } glob("$dir/log.*"))
{
	my ($client, $number, $time, $script) = split / /, $line;
	$done{$script}++ if $time ne 'failed';
}
my ($moves, $documents) = split /\|/, $node->safe_psql('postgres',
	"SELECT count(*) FILTER (WHERE entity = 'referral' AND version > 3), count(*) FILTER (WHERE entity = 'document') FROM referral.journal");
cmp_ok($done{0}, '>', 500, 'moves were acknowledged');
cmp_ok($done{1}, '>', 500, 'and transactions of two');
cmp_ok($moves, '>=', $done{0} + $done{1}, 'all of them are there');
cmp_ok($moves, '<=', $done{0} + 2 * $done{1} + 2 * $clients * $kills, 'and no more than were under way besides');
cmp_ok($documents, '>=', $done{1}, 'the documents, too');
cmp_ok($documents, '<=', $done{1} + $clients * $kills, 'and no more');

# The rest is sealed, and handed out in the end ----------

seal_all($node, 'postgres', 'in the end');
$round++;
{
	local %ENV = ($node->_get_env(), PGAPPNAME => 'drain');
	my $drain = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', "$dir/worker.sql" ],
		'>', "$dir/worker.$round.1", '2>', "$dir/worker.$round.1.err");
	ok($node->poll_query_until('postgres', <<'SQL'), 'all events are handed out and acknowledged');
SELECT oldest_unread IS NULL AND oldest_unfinished IS NULL FROM referral.consumer_status
SQL
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'drain' AND pid <> pg_backend_pid()");
	$drain->finish;
}

# What the workers wrote down, in the order in which it was handed out. A position is the number of the batch, which rises,
# and a journal_id.
my (%batch, %acknowledged);
foreach my $line (map { split /\n/, slurp_file($_) } grep { !/err$/ } glob("$dir/worker.*.*"))
{
	my ($what, $position, @items) = split / /, $line;
	my ($lease, $upto) = ($position // '') =~ /^(\d+)-(\d+)$/;

	next if !defined $lease || !@items;
	if ($what eq 'taken')
	{
		$batch{$lease} = [ map { [ split /,/ ] } @items ];
		$acknowledged{$lease}{upto} = $upto;
	}
	else
	{
		$acknowledged{$lease}{n} = $items[0];
	}
}
my (%delivered, %open_from, %seen, @again, @disorder, @skipped);
my $unsure = 0;
foreach my $lease (sort { $a <=> $b } keys %batch)
{
	my (%first, %last, @known);

	foreach my $event (@{ $batch{$lease} })
	{
		my ($journal_id, $row, $version) = @$event;

		$delivered{$journal_id}++;
		push @again, "$row $version in lease $lease" if $version < ($open_from{$row} // 0);
		push @skipped, "$row $version in lease $lease" if $version > ($seen{$row} // $version - 1) + 1;
		push @disorder, "$row $version in lease $lease" if $version <= ($last{$row} // -1);
		$first{$row} //= $version;
		$last{$row} = $version;
		$seen{$row} = $version if $version > ($seen{$row} // -1);
		push @known, $event if !@known || $known[-1]->[0] ne $acknowledged{$lease}{upto};
	}
	# what is not in the batch though later events of its row are must be finished
	foreach my $row (keys %first)
	{
		$open_from{$row} = $first{$row} if $first{$row} > ($open_from{$row} // 0);
	}
	# what was acknowledged, unless some of it had been handed out again meanwhile
	if (defined $acknowledged{$lease}{n} && $acknowledged{$lease}{n} == @known)
	{
		foreach my $event (@known)
		{
			$open_from{ $event->[1] } = $event->[2] + 1 if $event->[2] + 1 > ($open_from{ $event->[1] } // 0);
		}
	}
	else
	{
		$unsure++;
	}
}
cmp_ok(scalar keys %batch, '>', 50, 'there were batches');
cmp_ok($unsure, '<', keys(%batch) / 2, 'most of which were acknowledged');
is("@again", '', 'nothing that was acknowledged was delivered again');
is("@disorder", '', 'each batch is in order');
is("@skipped", '', 'and begins where the one before it ended');
append_to_file("$dir/delivered", join("\n", keys %delivered, ''));
$node->safe_psql('postgres', 'CREATE TABLE public.delivered (journal_id bigint)');
$node->command_ok([ 'psql', '-Xq', '-d', 'postgres', '-c', "\\copy public.delivered FROM '$dir/delivered'" ], 'they are loaded');
is($node->safe_psql('postgres', <<'SQL'), '', 'each event was delivered, and none that is not there');
SELECT j.journal_id, j.entity, d.journal_id FROM (SELECT * FROM referral.journal WHERE org_id = 1) j
FULL JOIN public.delivered d USING (journal_id) WHERE j.journal_id IS NULL OR d.journal_id IS NULL LIMIT 10
SQL
is_sound($node, 'postgres', 'in the end');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT xid_epoch) FROM referral.journal'), 1, 'all in one epoch');
note(scalar(keys %batch) . " batches, $unsure not surely acknowledged, " . keys(%delivered) . " events, $done{0} + $done{1} transactions, "
	  . $node->safe_psql('postgres', 'SELECT count(*) FROM referral.seal') . ' seals');

done_testing();
