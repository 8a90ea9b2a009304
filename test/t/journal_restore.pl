# Dumps of a journal that is sealed and consumed, restored into a new cluster, another database of the same cluster and an
# older copy of the cluster: nothing is lost, nothing comes twice, and old tree heads still hold.
use strict;
use warnings;
use JournalCheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $settings = "autovacuum = off\nfsync = off\n";
my $origin = journal_node('journal_origin', $settings, allows_streaming => 1);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
my $rows = 30;

$origin->safe_psql('postgres', 'CREATE DATABASE origin');
$origin->safe_psql('origin', <<SQL);
CREATE EXTENSION referral;
SELECT referral.deploy();
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Second'), (3, 'Third, which is quiet');
INSERT INTO referral.referral (org_id, referral_id) SELECT 1, g FROM generate_series(1, $rows) g UNION ALL SELECT 2, 1000 UNION ALL SELECT 3, 2000;
SET referral.org_id = '1';
SELECT referral.create_consumer('worker', start => '-infinity');
SET referral.org_id = '3';
SELECT referral.create_consumer('filtered', filter => 'entity = ''document''', start => '-infinity');
SQL
my $numbers = 'DO $$ BEGIN FOR i IN 1..%d LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$';
my $change = "UPDATE referral.referral SET region = clock_timestamp()::text WHERE org_id = 1 AND referral_id = ";

# an early copy of the cluster, which will be the older one
$origin->backup('early');

# The origin goes far ahead: its transaction ids, too.
$origin->safe_psql('origin', join('', map { "$change$_;" } 1 .. $rows));
$origin->safe_psql('origin', 'SELECT referral.seal()');
$origin->safe_psql('origin', sprintf($numbers, 3000));
$origin->safe_psql('origin', 'UPDATE referral.referral SET region = 1 WHERE org_id = 2');	# 3 stays quiet
$origin->safe_psql('origin', join('', map { "$change$_;" } 1 .. $rows));
$origin->safe_psql('origin', 'SELECT referral.seal()');
my $head = head_of($origin, 'origin');
# some events are acknowledged, some in hand, some not read; what the filter leaves out is passed
my @delivered = take_events($origin, 'origin', 'worker', 40);
ack_events($origin, 'origin', 'worker', $delivered[-1]);
my @in_hand = take_events($origin, 'origin', 'worker', 10, '1 second');
$origin->safe_psql('origin', q{SET referral.org_id = '3'; SELECT referral.events('filtered')});
$origin->safe_psql('origin', join('', map { "$change$_;" } 1 .. 5));
is(errors_of($origin, 'pg_dump', '-Fc', '-f', $dump, 'origin'), '', 'pg_dump -Fc');
my $superuser = $origin->safe_psql('postgres', 'SELECT current_user');

sub restore
{
	my ($node, $database) = @_;

	if ($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'referral_admin'}) == 0)
	{
		is(errors_of($origin, 'pg_dumpall', '--roles-only', '-f', "$dump.all"), '', 'pg_dumpall --roles-only');
		my $roles = slurp_file("$dump.all");

		$roles =~ s/^CREATE ROLE "?\Q$superuser\E"?;\n//m;
		append_to_file("$dump.roles", $roles);
		is(errors_of($node, 'psql', '-X', '-q', '-d', 'postgres', '-f', "$dump.roles"), '', 'the roles are restored');
	}
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	is(errors_of($node, 'pg_restore', '-d', $database, $dump), '', "$database: pg_restore");
}

# Epochs: how many more there are after the first writes.
sub goes_on
{
	my ($node, $database, $new_epochs) = @_;
	my $run = sub { $node->safe_psql($database, shift) };
	my @all = @delivered;

	# as it came
	is_sound($node, $database, "$database: as restored");
	is_known($node, $database, $head, "$database: as restored");
	is($run->(q{SELECT string_agg(DISTINCT tgenabled::text, ' ') FROM pg_trigger WHERE tgname ~ '^append_only'}), 'A', "$database: all triggers append_only and append_only_truncate are ENABLE ALWAYS");
	is($run->(q{SELECT string_agg(p.relid::text, ' ') FROM pg_partition_tree('referral.journal') p
	            WHERE (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = p.relid AND t.tgenabled = 'A' AND t.tgfoid = 'referral.append_only'::regproc) <> 2}),
		'', "$database: the journal and each partition has both of them");
	foreach my $statement ('DELETE FROM referral.journal', 'UPDATE referral.journal SET reason = NULL', 'TRUNCATE referral.journal', 'TRUNCATE referral.journal_default',
		'DELETE FROM referral.seal', 'UPDATE referral.seal_tile SET root_hash = root_hash', 'TRUNCATE referral.seal_tile', 'TRUNCATE referral.seal', 'TRUNCATE referral.journal_purge', 'UPDATE referral.journal_key SET key = key')
	{
		is(state_of($node, $database, "BEGIN; SET LOCAL session_replication_role = $_; $statement"), 'RF007', "$database: $statement, $_") foreach 'origin', 'replica';
	}
	is($run->('SELECT count(*) FROM referral.journal_bounds()'), $origin->safe_psql('origin', 'SELECT count(*) FROM referral.journal_bounds()'), "$database: the partitions have their bounds");

	# the consumer takes all there is before anybody writes
	my $epoch = $run->('SELECT max(xid_epoch) FROM referral.journal_epoch');
	$node->poll_query_until($database, q{SELECT coalesce(bool_and(due_at < clock_timestamp()), true) FROM referral.delivery});
	push @all, take_all($node, $database, 'worker');

	# a consumer that had passed everything, in an organisation without changes since; then one that it wants
	$run->("INSERT INTO referral.document (org_id, referral_id, type) VALUES (3, 2000, 'letter')");
	is($run->(q{SET referral.org_id = '3'; SELECT string_agg(subject, ' ') FROM referral.events('filtered')}), 'document/1', "$database: a filtered consumer misses nothing either");
	# then a change of organisation 1 begins the epoch, if there is to be one
	$run->("$change 1");
	is($run->("SELECT xid_epoch - $epoch FROM referral.journal ORDER BY journal_id DESC LIMIT 1"), $new_epochs, "$database: epochs that began with the first change");
	is($run->("SELECT count(*) FROM referral.journal_epoch WHERE xid_epoch > $epoch"), $new_epochs, "$database: and are on record");
	$run->(join('', map { "$change$_;" } 1 .. 5));
	push @all, take_events($node, $database, 'worker', 2);
	ack_events($node, $database, 'worker', $all[-1]);
	seal_all($node, $database, "$database: first");
	push @all, take_all($node, $database, 'worker');
	$run->('BEGIN; ' . join('', map { "$change$_;" } 6 .. 9) . 'COMMIT');
	push @all, take_all($node, $database, 'worker');
	seal_all($node, $database, "$database: second");
	is_sound($node, $database, "$database: gone on");
	is_known($node, $database, $head, "$database: gone on");
	push @all, take_all($node, $database, 'worker');
	is_delivered($node, $database, 0, "$database: consumer", @all);
	is(join(' ', map { $_->[0] } grep { $_->[4] == 2 } @all), join(' ', map { $_->[0] } @in_hand), "$database: only what was in hand came a second time");

	is($run->('SELECT string_agg(kind || name, \' \') FROM referral.deploy() WHERE action <> \'kept\''), '', "$database: deploy() finds everything in place");
}

# 1. A new cluster, whose transaction ids are low
my $fresh = journal_node('journal_fresh', $settings);
cmp_ok($fresh->safe_psql('postgres', 'SELECT pg_current_xact_id()'), '<', $origin->safe_psql('postgres', 'SELECT pg_current_xact_id()'), 'the new cluster has lower transaction ids');
restore($fresh, 'fresh');
goes_on($fresh, 'fresh', 1);

# back again from there
is(errors_of($fresh, 'pg_dump', '-Fc', '-f', "$dump.back", 'fresh'), '', 'pg_dump of the new cluster');
$origin->safe_psql('postgres', 'CREATE DATABASE back TEMPLATE template0');
is(errors_of($origin, 'pg_restore', '-d', 'back', "$dump.back"), '', 'and back to the first');
$origin->safe_psql('back', "$change 1");
is($origin->safe_psql('back', 'SELECT xid_epoch FROM referral.journal ORDER BY journal_id DESC LIMIT 1'), 3, 'back: a third epoch begins');
seal_all($origin, 'back', 'back');
is_sound($origin, 'back', 'back');
is_known($origin, 'back', $head, 'back');

# 2. Another database of the same cluster
restore($origin, 'same');
goes_on($origin, 'same', 0);

# 3. The same cluster as it was long before
my $older = PostgreSQL::Test::Cluster->new('journal_older');
$older->init_from_backup($origin, 'early');
$older->start;
is($older->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'), $origin->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'), 'the older copy is the same cluster');
restore($older, 'older');
cmp_ok($older->safe_psql('older', 'SELECT pg_current_xact_id()'), '<', $older->safe_psql('older', 'SELECT max(xid::text::bigint) FROM referral.journal'), 'its journal is ahead of it');
goes_on($older, 'older', 1);
# beyond the ids that were ahead
$older->safe_psql('older', sprintf($numbers, 4000));
$older->safe_psql('older', "$change 1; UPDATE referral.referral SET region = 2 WHERE org_id = 2");
is($older->safe_psql('older', 'SELECT max(xid_epoch) FROM referral.journal'), 2, 'older: the epoch stays when the ids have caught up');
seal_all($older, 'older', 'older, caught up');
is_sound($older, 'older', 'older, caught up');

# 4. Only the data, into a database where the model is deployed. It is not made for that: what deploy() has written is in
# the way. In one transaction nothing changes. Piece by piece, it mixes the journals of two databases; and pg_dump's
# --disable-triggers leaves triggers behind that were ENABLE ALWAYS and are not any more.
my $lost = q{SELECT string_agg(tgrelid::regclass || ' ' || tgname, ', ') FROM pg_trigger WHERE tgname ~ '^append_only' AND tgenabled <> 'A'};
$origin->safe_psql('postgres', 'CREATE DATABASE deployed');
$origin->safe_psql('deployed', 'CREATE EXTENSION referral; SELECT referral.deploy()');
unlike(errors_of($origin, 'pg_dump', '--data-only', '--disable-triggers', '-f', "$dump.data", 'origin'), qr/error/, 'pg_dump --data-only');
like(errors_of($origin, 'psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', '-d', 'deployed', '-f', "$dump.data"), qr/ERROR:  duplicate key/, 'data only, in one transaction: refused');
is_sound($origin, 'deployed', 'data only, in one transaction');
is($origin->safe_psql('deployed', $lost), '', 'data only, in one transaction: all triggers are as before');
like(errors_of($origin, 'psql', '-X', '-q', '-d', 'deployed', '-f', "$dump.data"), qr/ERROR:  duplicate key/, 'data only, piece by piece: refused in part');
isnt($origin->safe_psql('deployed', $lost), '', 'data only, piece by piece: triggers are not ENABLE ALWAYS any more');
isnt($origin->safe_psql('deployed', 'SELECT c.* FROM referral.entity e, referral.verify_coverage(e.entity) c'), '', 'data only, piece by piece: verify_coverage() tells that rows are not what the journal says');
$origin->safe_psql('deployed', <<'SQL');
SELECT format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', tgrelid::regclass, tgname) FROM pg_trigger
WHERE tgname ~ '^append_only' AND tgenabled <> 'A' AND tgparentid = 0 \gexec
ALTER TABLE referral.journal ENABLE ALWAYS TRIGGER append_only;
SQL
is($origin->safe_psql('deployed', $lost), '', 'data only, piece by piece: ALTER TABLE puts them back');
is(state_of($origin, 'deployed', "BEGIN; SET LOCAL session_replication_role = replica; $_"), 'RF007', "data only, then ALTER TABLE: $_, replica")
  foreach 'DELETE FROM referral.seal', 'DELETE FROM referral.journal', 'TRUNCATE referral.journal_default', 'UPDATE referral.journal_key SET key = key';

done_testing();
