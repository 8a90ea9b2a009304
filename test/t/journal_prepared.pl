# Transactions that stay open: prepared ones and those in other databases are neither sealed nor delivered before they
# commit, and then once; who holds readers back is told. Then logical decoding of the journal.
use strict;
use warnings;
use JournalCheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = journal_node('journal_prepared', "wal_level = logical\nmax_prepared_transactions = 5\nmax_replication_slots = 5\nmax_wal_senders = 5\nautovacuum = off\n");
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION referral;
SELECT referral.deploy();
CREATE DATABASE elsewhere;
SELECT referral.create_consumer('worker', start => '-infinity');
INSERT INTO referral.referral (referral_id) SELECT g FROM generate_series(1, 5) g;
SQL
my $run = sub { $node->safe_psql('postgres', shift) };
my $lag = 'SELECT kind, pid, prepared_as, database, open_for IS NOT NULL FROM referral.journal_lag';
my $tell = sub { "UPDATE referral.referral SET region = '$_[1]' WHERE referral_id = $_[0]" };
my $unsealed = sub {
	return $run->(q{SELECT string_agg(changes #>> '{region,1}', ' ' ORDER BY journal_id) FROM referral.journal j WHERE entity = 'referral' AND changes ? 'region'
		AND (xid_epoch, xid, journal_id) > (SELECT s.xid_epoch, s.xid, s.journal_id FROM referral.seal s WHERE s.org_id = 1 ORDER BY seal_id DESC LIMIT 1)});
};
# regions of the events that come, in order of journal_id
my $deliver = sub {
	my @new = take_all($node, 'postgres', 'worker');
	my $ids = join(',', 0, map { $_->[0] } @new);

	return $run->("SELECT string_agg(changes #>> '{region,1}', ' ' ORDER BY journal_id) FROM referral.journal WHERE journal_id IN ($ids) AND entity = 'referral'");
};

seal_all($node, 'postgres', 'before');
is($deliver->(), '', 'all is delivered');
is($run->($lag), '', 'nothing holds readers back');

# 1. Prepared transactions
foreach my $end ('COMMIT', 'ROLLBACK')
{
	my $name = "$end PREPARED";

	$run->('BEGIN; ' . $tell->(1, "$end-p") . "; PREPARE TRANSACTION '$end''s'");
	$run->($tell->(2, "$end-later"));
	is($run->($lag), "prepared||${end}'s|postgres|t", "$name: journal_lag names it");
	$run->('SELECT referral.seal()');
	is($unsealed->(), "$end-later", "$name: what came later is not sealed");
	is($deliver->(), '', "$name: nor delivered");
	$node->restart;
	is($run->($lag), "prepared||${end}'s|postgres|t", "$name: also after a restart");
	$run->('SELECT referral.seal()');
	is($unsealed->(), "$end-later", "$name: it is still not sealed");
	is($deliver->(), '', "$name: nor delivered");
	$node->stop('immediate');
	$node->start;
	is($run->($lag), "prepared||${end}'s|postgres|t", "$name: also after a crash");
	$run->($tell->(3, "$end-third"));
	is($deliver->(), '', "$name: nothing is delivered");
	$run->("$end PREPARED '$end''s'");
	is($run->($lag), '', "$name: it holds nobody back any more");
	is($deliver->(), $end eq 'COMMIT' ? "$end-p $end-later $end-third" : "$end-later $end-third", "$name: then all is delivered");
	is($deliver->(), '', "$name: once");
	seal_all($node, 'postgres', $name);
	is_sound($node, 'postgres', $name);
}

# sealing itself, prepared; the next sealer waits for it
is(state_of($node, 'postgres', $tell->(1, 'x') . "; BEGIN; SELECT referral.seal(); PREPARE TRANSACTION 'sealer'"), '', 'seal() can be prepared');
is(state_of($node, 'postgres', q{SET lock_timeout = '100ms'; SELECT referral.seal()}), '55P03', 'another one waits for it');
$run->(q{ROLLBACK PREPARED 'sealer'});
seal_all($node, 'postgres', 'after a sealer that was rolled back');
is(state_of($node, 'postgres', $tell->(1, 'y') . "; BEGIN; SELECT referral.seal(); PREPARE TRANSACTION 'sealer'"), '', 'seal() can be prepared');
is(state_of($node, 'postgres', $tell->(1, 'z')), '', 'writers do not wait');
$run->(q{COMMIT PREPARED 'sealer'});
seal_all($node, 'postgres', 'after a sealer that was committed');
is_sound($node, 'postgres', 'after prepared sealers');

# events() and ack(), prepared and taken back: nothing was handed out, nothing was acknowledged
$run->($tell->(4, 'handed'));
$deliver->();
$run->($tell->(4, 'again'));
is(state_of($node, 'postgres', "BEGIN; SELECT referral.events('worker'); PREPARE TRANSACTION 'worker'"), '', 'events() can be prepared');
is(state_of($node, 'postgres', "SET lock_timeout = '100ms'; SELECT referral.events('worker')"), '55P03', 'another worker waits for it');
$run->("ROLLBACK PREPARED 'worker'");
my @events = take_events($node, 'postgres', 'worker', 100);
is(join(' ', map { "$_->[1] $_->[4]" } @events), 'referral/4 1', 'what was rolled back was not handed out');
is(state_of($node, 'postgres', "BEGIN; SELECT referral.ack('worker', '$events[-1][3]'); PREPARE TRANSACTION 'worker'"), '', 'ack() can be prepared');
$run->("COMMIT PREPARED 'worker'");
is($run->('SELECT count(*) FROM referral.delivery'), 0, 'what was committed is acknowledged');

# 2. A transaction of another database that has written something there
my ($in, $out, $err) = ('', '', '');
my $open = do {
	local %ENV = ($node->_get_env(), PGAPPNAME => 'the other one');
	IPC::Run::start([ 'psql', '-XqAt', '-d', 'elsewhere' ], '<', \$in, '>', \$out, '2>', \$err);
};
$in .= "BEGIN; CREATE TABLE t (); SELECT pg_backend_pid();\n";
$open->pump until $out =~ /(\d+)\n/;
my ($pid) = $out =~ /(\d+)\n/;
$run->($tell->(5, 'meanwhile'));
is($run->($lag), "session|$pid||elsewhere|t", 'journal_lag tells who and where');
is($run->('SELECT application_name, state, login = current_user FROM referral.journal_lag'), 'the other one|idle in transaction|t', 'and what state it is in');
$run->('SELECT referral.seal()');
is($unsealed->(), 'meanwhile', 'other database: nothing is sealed');
is($deliver->(), '', 'other database: nothing is delivered');
$in .= "COMMIT;\n\\q\n";
$open->finish;
is($run->($lag), '', 'other database: then nobody is named');
is($deliver->(), 'meanwhile', 'other database: then it is delivered');
seal_all($node, 'postgres', 'other database');
is_sound($node, 'postgres', 'other database');

# 3. Logical decoding: each journal row once, in order of commit, whatever partition it is in
$run->('CREATE PUBLICATION journal FOR TABLE referral.journal WITH (publish = \'insert\', publish_via_partition_root)');
my $slot = q{SELECT pg_create_logical_replication_slot('journal_text', 'test_decoding'), pg_create_logical_replication_slot('journal_copy', 'pgoutput')};
$run->($slot);
my $first = $run->('SELECT max(journal_id) FROM referral.journal');

$in = $out = '';
$open = do {
	local %ENV = $node->_get_env();
	IPC::Run::start([ 'psql', '-XqAt', '-d', 'postgres' ], '<', \$in, '>', \$out, '2>', \$err);
};
$in .= 'BEGIN; ' . $tell->(1, 'late') . " RETURNING 'done';\n";
$open->pump until $out =~ /done\n/;
$run->($tell->(2, 'early'));
$run->('BEGIN; ' . $tell->(3, 'taken') . '; ROLLBACK');
$run->('BEGIN; SAVEPOINT a; ' . $tell->(3, 'back') . '; ROLLBACK TO a; ' . $tell->(3, 'kept') . "; PREPARE TRANSACTION 'p'");
$in .= $tell->(1, 'latest') . "; COMMIT;\n\\q\n";
$open->finish;
$run->("COMMIT PREPARED 'p'; " . $tell->(4, 'last'));
$run->('SELECT referral.seal()');
my @decoded;
foreach my $line (split /\n/, $run->(q{SELECT data FROM pg_logical_slot_get_changes('journal_text', NULL, NULL) WHERE data ~ '^table referral.journal_(2|d)'}))
{
	my ($region) = $line =~ /"region": \[[^\]]*, "(\w+)"\]/;
	my ($id) = $line =~ /journal_id\[bigint\]:(\d+)/;

	push @decoded, [ $id, $line =~ /entity\[text\]:'referral'/ ? $region : '-' ];
	fail("decoding: $line") if $line !~ /: INSERT: /;
}
is(join(' ', map { $_->[1] } grep { $_->[1] ne '-' } @decoded), 'early late latest kept last', 'decoding: in order of commit');
is(join(' ', sort { $a <=> $b } map { $_->[0] } @decoded), $run->("SELECT string_agg(journal_id::text, ' ' ORDER BY journal_id) FROM referral.journal WHERE journal_id > $first"),
	'decoding: each row once');

# a subscriber has a plain table of that name
$node->safe_psql('elsewhere', <<'SQL');
CREATE SCHEMA referral;
CREATE TYPE referral.state AS ENUM ();
SQL
$run->(q{CREATE TABLE public.labels AS SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) AS l FROM pg_enum WHERE enumtypid = 'referral.state'::regtype});
my $labels = $run->('SELECT l FROM public.labels');
$node->safe_psql('elsewhere', "DROP TYPE referral.state; CREATE TYPE referral.state AS ENUM ($labels)");
$node->safe_psql('elsewhere', 'CREATE TABLE referral.journal ('
	  . $run->(q{SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'referral.journal'::regclass AND attnum > 0 AND NOT attisdropped})
	  . ', PRIMARY KEY (org_id, journal_id))');
my $connection = $node->connstr('postgres');
$connection =~ s/'/''/g;
$node->safe_psql('elsewhere', "CREATE SUBSCRIPTION copy CONNECTION '$connection' PUBLICATION journal WITH (create_slot = false, slot_name = 'journal_copy', copy_data = false)");
$run->($tell->(5, 'copied'));
$node->wait_for_catchup('copy');
my $rows = "SELECT md5(string_agg(j::text, ' ' ORDER BY journal_id)), count(*) FROM referral.journal j WHERE journal_id > $first";
is($node->safe_psql('elsewhere', $rows), $run->($rows), 'publication: a subscriber has each row once, word for word');
$node->safe_psql('elsewhere', 'ALTER SUBSCRIPTION copy DISABLE; ALTER SUBSCRIPTION copy SET (slot_name = NONE); DROP SUBSCRIPTION copy');

done_testing();
