# Ways round rules and journal that an attacker found and that take a new connection, a dump or a prepared transaction.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('hardening');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->start;
my $make_workflow = slurp_file("$ENV{REFERRAL_ROOT}/test/lib/make_workflow.sql");
$node->safe_psql('postgres', "CREATE EXTENSION referral; SELECT referral.deploy(); $make_workflow");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE item (item_id bigint PRIMARY KEY, authorization_number text, expires_on date, wait interval, note text);
SELECT referral.attach('item', row_security => false);
SELECT make_workflow('item');
SQL

# SQLSTATE of a statement in a connection with these settings from its start; '' when it succeeds, '-' when there is no connection.
sub state_of
{
	my ($settings, $sql) = @_;
	my ($stdout, $stderr);

	local $ENV{PGOPTIONS} = join(' ', map { "-c $_" } @$settings);
	my $status = $node->psql('postgres', $sql, stdout => \$stdout, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return '-' if $status == 2;
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr =~ /ERROR|FATAL/ ? $stderr : '';
}

# 1. Rules mean the same under the settings that a connection starts with
my $id = 0;
foreach my $case (
	[ q{authorization_number !~ '\D'}, q{authorization_number = '12a'}, 'RF002', 'standard_conforming_strings=off' ],
	[ q{authorization_number !~ '\D'}, q{authorization_number = '123'}, '', 'standard_conforming_strings=off' ],
	[ q{authorization_number !~ '\D'}, q{authorization_number = 'D12'}, 'RF002', 'standard_conforming_strings=off', 'escape_string_warning=off' ],
	[ q{expires_on < current_date}, q{expires_on = (now() AT TIME ZONE 'UTC')::date + 2}, 'RF002', 'TimeZone=<X>-167' ],
	[ q{expires_on < current_date}, q{expires_on = (now() AT TIME ZONE 'UTC')::date - 1}, '', 'TimeZone=<X>+167' ],
	[ q{expires_on::text = '2026-01-02'}, q{expires_on = date '2026-01-02'}, '', 'DateStyle=SQL\ ,\ DMY' ],
	[ q{expires_on = '01/02/2026'}, q{expires_on = date '2026-01-02'}, '', 'DateStyle=DMY' ],
	[ q{wait::text = '1 day 02:00:00'}, q{wait = '1 day 2 hours'}, '', 'IntervalStyle=iso_8601' ],
	[ q{note = NULL}, q{note = NULL}, 'RF002', 'transform_null_equals=on' ])
{
	my ($guard, $given, $expected, @settings) = @$case;
	my $quoted = $guard =~ s/'/''/gr;

	$id++;
	$node->safe_psql('postgres', "SELECT make_workflow('item', '$quoted'); INSERT INTO item (item_id) VALUES ($id); UPDATE item SET $given WHERE item_id = $id");
	is(state_of([], "UPDATE item SET step = 'b' WHERE item_id = $id; UPDATE item SET step = 'a' WHERE item_id = $id"), $expected, "$guard");
	is(state_of(\@settings, "UPDATE item SET step = 'b' WHERE item_id = $id"), $expected, "$guard under @settings");
}

# 2. Bytes that are no text do not get into the journal, which could not be restored then
my @names = qw(reason origin correlation_id transition actor occurred_at);
foreach my $name (@names)
{
	my $state = state_of([ "referral.$name=unreadable\xff" ], 'INSERT INTO item (item_id) VALUES (' . ++$id . ')');

	like($state, qr/^(-|22\w{3}|RF018|RF003|)$/, "referral.$name with bytes that are no text: '$state'");
}
is(state_of([ "referral.reason=unreadable\xff", 'client_encoding=LATIN1' ], "UPDATE item SET note = 'latin' WHERE item_id = 1") =~ /^(-|22\w{3}|)$/ ? 1 : 0, 1,
	'also with another client encoding');
is(state_of([], q{SELECT 1 / (count(*) FILTER (WHERE convert_from(convert_to(j::text, 'UTF8'), 'UTF8') !~ 'unreadable') / count(*)) FROM referral.journal j}), '',
	'the journal holds only text');
my $rows = $node->safe_psql('postgres', 'SELECT count(*) FROM referral.journal');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/hardening.dump';
$node->safe_psql('postgres', 'CREATE DATABASE restored');
{
	my ($out, $err);
	local %ENV = $node->_get_env();
	ok(IPC::Run::run([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], '>', \$out, '2>', \$err), 'pg_dump') or diag($err);
	ok(IPC::Run::run([ 'pg_restore', '-e', '-d', 'restored', $dump ], '>', \$out, '2>', \$err), 'pg_restore') or diag($err);
}
is($node->safe_psql('restored', 'SELECT count(*) FROM referral.journal'), $rows, 'every journal row is restored');

# 3. An epoch that a prepared transaction began and took back is begun again
foreach my $end ('ROLLBACK PREPARED', 'COMMIT PREPARED')
{
	my $orphans = "SELECT count(*) FILTER (WHERE e IS NULL) || ' of ' || count(*) FROM referral.journal j LEFT JOIN referral.journal_epoch e USING (xid_epoch)"
	  . " WHERE changes #>> '{note,1}' LIKE '$end _'";

	$node->safe_psql('postgres', 'SET session_replication_role = replica; DELETE FROM referral.journal_epoch');
	my $first = $end eq 'COMMIT PREPARED' ? 1 : 0;
	is($node->safe_psql('postgres', <<"SQL"), '0 of ' . ($first + 1) . '|1', "$end of the first write of a cluster leaves the next an epoch") or diag(slurp_file($node->logfile));
BEGIN;
UPDATE item SET note = '$end 1' WHERE item_id = 1;
PREPARE TRANSACTION 'first';
$end 'first';
UPDATE item SET note = '$end 2' WHERE item_id = 2;
SELECT ($orphans), (SELECT count(*) FROM referral.journal_epoch)
SQL
	is($node->safe_psql('postgres', "UPDATE item SET note = '$end 3' WHERE item_id = 2; $orphans"), '0 of ' . ($first + 2), 'also another session');
}

done_testing();
