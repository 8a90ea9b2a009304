# A physical standby: the journal can be read and verified there, and goes on where it ended when the standby is promoted.
use strict;
use warnings;
use JournalCheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 20;
my $primary = journal_node('journal_primary', "autovacuum = off\nmax_prepared_transactions = 5\n", allows_streaming => 1);
$primary->safe_psql('postgres', <<SQL);
CREATE EXTENSION referral;
SELECT referral.deploy();
SELECT referral.create_consumer('worker', start => '-infinity');
INSERT INTO referral.patient (family) VALUES ('x');
INSERT INTO referral.referral (patient_id, specialty) SELECT 1, 'x' FROM generate_series(1, $rows + 1);
UPDATE referral.referral SET state = 'validated';
UPDATE referral.referral SET state = 'ready_to_schedule';
SQL
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('journal_standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/load.sql", <<SQL);
\\set a random(1, $rows - 1)
\\set b random(:a + 1, $rows)
BEGIN;
UPDATE referral.referral SET region = 'x' || clock_timestamp() WHERE org_id = 1 AND referral_id = :a;
UPDATE referral.referral SET region = 'x' || clock_timestamp() WHERE org_id = 1 AND referral_id = :b;
COMMIT;
SQL
append_to_file("$dir/seal.sql", "SELECT count(*) FROM referral.seal();\n\\sleep 20 ms\n");

# Changes, seals and, on another node, whatever look does meanwhile.
sub load
{
	my ($node, $transactions, $look) = @_;
	my @err;

	local %ENV = $node->_get_env();
	my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-t', $transactions, '-f', "$dir/load.sql", 'postgres' ], '>', '/dev/null', '2>', \$err[0]);
	my $sealer = IPC::Run::start([ 'pgbench', '-n', '-t', '20', '-f', "$dir/seal.sql", 'postgres' ], '>', '/dev/null', '2>', \$err[1]);
	$look->() if $look;
	ok($_->finish, 'load') or diag(@err) foreach $writers, $sealer;
}

# 1. Reading on the standby, while changes arrive
my @bad;
my $looks = 0;
my $state_of = sub { state_of($standby, 'postgres', "SET referral.org_id = '1'; " . shift) };
load($primary, 150, sub {
	foreach (1 .. 15)
	{
		my $result = $standby->safe_psql('postgres', q{SELECT string_agg(v.detail, ' ') FROM generate_series(0, 1) o, referral.verify_journal(o) v WHERE NOT ok});

		$looks++;
		push @bad, $result if $result ne '';
	}
});
is("@bad", '', "standby: the journal verifies all the time ($looks times)");
seal_all($primary, 'postgres', 'primary');
my $head = head_of($primary, 'postgres');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'standby: it is one');
is_sound($standby, 'postgres', 'standby');
is_known($standby, 'postgres', $head, 'standby');
my $horizon = 'SELECT * FROM referral.journal_horizon(1)';
is($standby->safe_psql('postgres', $horizon), $primary->safe_psql('postgres', $horizon), 'standby: the horizon is that of the primary, at rest');
my $proof = q{SELECT p.leaf_index, p.tree_size, p.leaf_hash, p.root_hash, p.proof, referral.verify_inclusion(p.leaf_index, p.tree_size, p.leaf_hash, p.proof, p.root_hash)
    FROM (SELECT max(journal_id) AS id FROM referral.journal WHERE org_id = 1 AND entity = 'referral') j, referral.inclusion_proof(1, j.id) p};
is($standby->safe_psql('postgres', $proof), $primary->safe_psql('postgres', $proof), 'standby: an inclusion proof is that of the primary');
like($standby->safe_psql('postgres', $proof), qr/\|t$/, 'standby: and is right');
foreach my $query ('SELECT referral.export_checkpoint(1)', "SELECT referral.journal_replay('referral', 1, 3)",
	"SELECT count(*), max(data ->> 'version') FROM referral.event", 'SELECT count(*), min(time_in_step) FROM referral.history',
	"SELECT referral.case_as_of('referral', 1, 3, now())", 'SELECT oldest_unread FROM referral.consumer_status')
{
	is($standby->safe_psql('postgres', $query), $primary->safe_psql('postgres', $query), "standby: $query");
}
is($standby->safe_psql('postgres', 'SELECT count(*) FROM referral.journal_lag'), 0, 'standby: journal_lag can be read');

# and it does not write
is($state_of->('SELECT referral.seal()'), '55000', 'standby: seal() is refused: it cannot even take its lock');
is($state_of->(q{SELECT referral.events('worker')}), '25006', 'standby: events() is refused, read only');
is($state_of->(q{UPDATE referral.referral SET region = 'y' WHERE referral_id = 1}), '25006', 'standby: a change is refused, read only');

# 2. Transactions that are open: the standby's horizon stops there
my ($in, $out, $err) = ('', '', '');
my $open = do {
	local %ENV = $primary->_get_env();
	IPC::Run::start([ 'psql', '-XqAt', '-d', 'postgres' ], '<', \$in, '>', \$out, '2>', \$err);
};
$in .= "BEGIN; UPDATE referral.referral SET region = 'open' WHERE referral_id = 1 RETURNING pg_current_xact_id();\n";
$open->pump until $out =~ /(\d+)\n/;
my ($xid) = $out =~ /(\d+)\n/;
$primary->safe_psql('postgres', q{UPDATE referral.referral SET region = 'closed' WHERE referral_id = 2});
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT xid <= '$xid' FROM referral.journal_horizon(1)"), 't', 'standby: the horizon does not pass a transaction that is open on the primary');
$in .= "COMMIT;\n\\q\n";
$open->finish;
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT xid > '$xid' FROM referral.journal_horizon(1)"), 't', 'standby: once it has committed, it does');

# 3. Promotion. Some events are acknowledged, some are handed out, one transaction is prepared, most is still to come.
my @delivered = take_events($primary, 'postgres', 'worker', 300);
ack_events($primary, 'postgres', 'worker', $delivered[-1]);
my @in_hand = take_events($primary, 'postgres', 'worker', 40, '1 second');
is(scalar @in_hand, 40, 'events are in a worker\'s hands');
$primary->safe_psql('postgres', "BEGIN; UPDATE referral.referral SET region = 'prepared' WHERE referral_id = $rows + 1; PREPARE TRANSACTION 'over'");
my $epochs = $primary->safe_psql('postgres', 'SELECT * FROM referral.journal_epoch');
load($primary, 30);
$primary->wait_for_catchup($standby);
# what the standby does not get any more
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->reload;
ok($primary->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_replication'), 'the connection is cut');
$head = head_of($primary, 'postgres');
$primary->safe_psql('postgres', q{UPDATE referral.referral SET region = 'too late' WHERE referral_id = 3});
$primary->safe_psql('postgres', "COMMIT PREPARED 'over'");
$primary->safe_psql('postgres', 'SELECT referral.seal()');
my $late_head = head_of($primary, 'postgres');
isnt($head, $late_head, 'the primary has sealed something that the standby does not get');
$primary->stop('immediate');
$standby->promote;

is_sound($standby, 'postgres', 'promoted');
like($standby->safe_psql('postgres', 'SELECT kind, prepared_as FROM referral.journal_lag'), qr/^prepared\|over$/, 'promoted: the prepared transaction holds readers back');
$standby->safe_psql('postgres', "COMMIT PREPARED 'over'");
load($standby, 50);
seal_all($standby, 'postgres', 'promoted');
is_sound($standby, 'postgres', 'promoted, changed');
is_known($standby, 'postgres', $head, 'promoted');
is($standby->safe_psql('postgres', "SELECT ok FROM referral.verify_journal(1, $late_head)"), 'f',
	'promoted: a head from the primary that the standby never had shows that something is missing');
is($standby->safe_psql('postgres', 'SELECT * FROM referral.journal_epoch'), $epochs, 'promoted: the epoch goes on');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM referral.journal WHERE changes #>> '{region,1}' IN ('prepared', 'too late')}), 1,
	'promoted: the prepared change is there, the late one is not');

# the consumer goes on without loss; what was in hand comes again, what was acknowledged does not
ok($standby->poll_query_until('postgres', q{SELECT bool_and(due_at < clock_timestamp()) FROM referral.delivery}), 'the lease ends');
my @again = take_all($standby, 'postgres', 'worker');
my %again = map { $_->[0] => 1 } @again;
is(join(' ', grep { !$again{$_} } map { $_->[0] } @in_hand), '', 'promoted: what was in hand comes again');
is_delivered($standby, 'postgres', 0, 'promoted', @delivered, @again);

done_testing();
