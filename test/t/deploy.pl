# deploy() where the group roles do not exist yet, by an owner who is no superuser, and by several at once.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('deploy');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->start;

my @roles = map { "referral_$_" } qw(admin coordinator clinician scheduler authorizer approver rule_author rule_approver
  auditor analyst integration application);

# All columns of the error that a statement raises, run as a login.
sub error_of
{
	my ($database, $login, $sql) = @_;
	my ($stdout, $stderr);

	$node->psql($database, "SET SESSION AUTHORIZATION $login; $sql", stdout => \$stdout, stderr => \$stderr,
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $stderr;
}

# 1. Several at once: two databases, which share the roles, and two sessions in one of them.
$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(one two);
$node->safe_psql($_, 'CREATE EXTENSION referral') foreach qw(one two);
{
	local %ENV = $node->_get_env();
	my %err;
	my @sessions = map {
		my $n = $_;
		IPC::Run::start(
			[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $n < 3 ? 'one' : 'two', '-c', 'SELECT count(*) FROM referral.deploy()' ],
			'>', '/dev/null', '2>', \$err{$n})
	} 1 .. 4;
	$_->finish foreach @sessions;
	is(join('', values %err), '', 'four sessions deploy at once');
	is(scalar(grep { $_->result(0) } @sessions), 0, 'and all succeed');
}
foreach my $database (qw(one two))
{
	is($node->safe_psql($database, q{SELECT count(*) >= 11, count(*) = count(DISTINCT rule_set_id), bool_and(status = 'active') FROM referral.rule_set LEFT JOIN referral.rule_version USING (rule_set_id)}),
		't|t|t', "$database: the rules are there once");
	is($node->safe_psql($database, q{SELECT count(*) FROM referral.deploy() WHERE action <> 'kept'}), 0, "$database: nothing is missing");
}
$node->safe_psql('postgres', "DROP DATABASE $_") foreach qw(one two);
$node->safe_psql('postgres', join('', map { "DROP ROLE $_;" } @roles));

# 2. An owner who may not create roles.
$node->safe_psql('postgres', 'CREATE ROLE deploy_owner LOGIN; CREATE ROLE deploy_jane LOGIN; CREATE ROLE deploy_admin LOGIN;
	CREATE ROLE referral_auditor NOLOGIN; CREATE DATABASE three OWNER deploy_owner');
$node->safe_psql('three', 'CREATE EXTENSION referral');
like(error_of('three', 'deploy_owner', 'SELECT referral.deploy()'), qr/ERROR:\s+42501/, 'whoever does not own the schema may not deploy');

# the extension's functions and its schema change hands
$node->safe_psql('three', <<'SQL');
ALTER SCHEMA referral OWNER TO deploy_owner;
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'referral'::regnamespace LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO deploy_owner', f);
    END LOOP;
END $$;
SQL
my $error = error_of('three', 'deploy_owner', 'SELECT referral.deploy()');
like($error, qr/ERROR:\s+42501/, 'without CREATEROLE it is refused');
like($error, qr/deploy_owner/, 'saying who');
my ($hint) = $error =~ /HINT:\s+(.*)/;
foreach my $role (grep { $_ ne 'referral_auditor' } @roles)
{
	like($error, qr/DETAIL:.*\b$role\b/, "that $role is missing");
	like($hint, qr/\bCREATE ROLE $role NOLOGIN;/, "and how to create $role");
}
unlike(($error =~ m{(DETAIL:.*)})[0] . $hint, qr/referral_auditor/, 'but not of the one that is there');
is($node->safe_psql('three', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'referral'::regnamespace AND relkind <> 'c'}), 0, 'nothing was left half done');

my ($commands) = $hint =~ /(CREATE ROLE .*;)/;
is($node->psql('three', $commands), 0, 'the commands in the hint work as they stand');
is(error_of('three', 'deploy_owner', 'SELECT count(*) FROM referral.deploy()'), '', 'and then it is deployed, by no superuser');
is($node->safe_psql('three', q{SELECT array_agg(DISTINCT pg_get_userbyid(relowner)) FROM pg_class WHERE relnamespace = 'referral'::regnamespace AND relkind <> 'c'}),
	'{deploy_owner}', 'who owns the tables');

# 3. The engine reads and writes with the rights of that owner, who is subject to row-level security where it is forced.
$node->safe_psql('three', <<'SQL');
GRANT referral_coordinator TO deploy_jane;
GRANT referral_admin TO deploy_admin;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'deploy_jane'), (1, 'deploy_admin');
SQL
is( $node->safe_psql('three', <<'SQL'), "1|validated|2\n{1}", 'a login works');
SET SESSION AUTHORIZATION deploy_jane;
INSERT INTO referral.patient (family) VALUES ('x');
INSERT INTO referral.referral (patient_id, specialty) VALUES (1, 'y');
UPDATE referral.referral SET state = 'validated' RETURNING org_id, step, version;
SELECT referral.visible_orgs();
SQL
like(error_of('three', 'deploy_jane', q{UPDATE referral.referral SET state = 'closed_loop'}), qr/ERROR:\s+RF001/, 'the guard refuses');
like(error_of('three', 'deploy_jane', q{INSERT INTO referral.patient (org_id, family) VALUES (2, 'x')}), qr/ERROR:\s+42501/, 'row-level security holds');
is($node->safe_psql('three', q{SELECT string_agg(entity || version, ' ' ORDER BY journal_id) FROM referral.journal WHERE db_user = 'deploy_jane' AND entity IN ('patient', 'referral')}),
	'patient1 referral1 referral2', 'the journal is written');
my $forced = sub {
	my $how = shift;
	$node->safe_psql('three', join('', map { "ALTER TABLE referral.$_ $how ROW LEVEL SECURITY;" } qw(organization organization_member journal referral patient)));
};
$forced->('FORCE');
is( $node->safe_psql('three', <<'SQL'), "{1}\n3", 'also where row-level security is forced on the owner');
SET SESSION AUTHORIZATION deploy_jane;
SELECT referral.visible_orgs();
UPDATE referral.referral SET specialty = 'z' RETURNING version;
SQL
$forced->('NO FORCE');
$node->safe_psql('three', 'CREATE SCHEMA deploy_own AUTHORIZATION deploy_admin');
is( $node->safe_psql('three', <<'SQL'), "own\nreceived", 'an administrator attaches a table of his own');
SET SESSION AUTHORIZATION deploy_admin;
CREATE TABLE deploy_own.own (own_id bigint PRIMARY KEY, patient_id bigint, specialty text, authorization_required boolean,
    authorization_number text, scheduled_for timestamptz, referral_id bigint, expires_on date);
SELECT referral.attach('deploy_own.own', 'standard');
INSERT INTO deploy_own.own (own_id) VALUES (1) RETURNING step;
SQL
is($node->safe_psql('three', q{SET SESSION AUTHORIZATION deploy_owner; SELECT count(*) FROM referral.deploy() WHERE action <> 'kept'}), 0,
	'a second deploy() finds everything');

# 4. A role that may create roles deploys by itself.
$node->safe_psql('postgres', 'CREATE DATABASE four');
$node->safe_psql('four', 'CREATE EXTENSION referral');
is($node->safe_psql('four', q{SELECT count(*) FROM referral.deploy() WHERE kind = 'role' AND action = 'created'}), 0,
	'a second database finds the roles there');

done_testing();
