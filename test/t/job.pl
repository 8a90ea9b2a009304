# The jobs in a real pg_cron, waited for: here as connections with pg_cron in the referral database, apart as background
# workers of a login that is no superuser with pg_cron in another. pg_cron fires on the minute, so this takes about two.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = q{it's referral};
my @jobs = qw(tick match seal partitions frequencies housekeeping);

# What a statement is refused with: (SQLSTATE, whole message).
sub refused
{
	my ($node, $database, $sql) = @_;
	my ($stdout, $stderr);

	$node->psql($database, $sql, stdout => \$stdout, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	my ($code) = $stderr =~ /ERROR:\s+(\w{5}):/;
	return ($code // 'done', $stderr);
}

# The problem of a job, empty when all is well.
sub problem
{
	my ($node, $database, $job) = @_;

	return $node->safe_psql($database, "SELECT problem FROM referral.job_status WHERE job = '$job'");
}

# Waits until the jobs that are named have had a run that ended, pg_cron being in the database itself.
sub wait_for_runs
{
	my ($node, $database, $since, @names) = @_;
	my $list = join(', ', map { "'$_'" } @names);

	# pg_cron may miss a change that is committed while it reads its jobs, until the next one
	for my $second (1 .. 240)
	{
		return 1 if $node->safe_psql($database, "SELECT count(*) = " . @names
			  . " FROM referral.job_status WHERE job IN ($list) AND last_status IN ('succeeded', 'failed') AND last_end > '$since'") eq 't';
		$node->safe_psql($database, 'SELECT cron.alter_job(jobid, schedule => schedule) FROM cron.job') if $second == 5 || $second == 70;
		sleep 1;
	}
	return 0;
}

# 1. Without pg_cron: the refusal says how to get it, word for word.
my $here = PostgreSQL::Test::Cluster->new('job_here');
$here->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$here->append_conf('postgresql.conf', "shared_preload_libraries = 'auto_explain'");
$here->start;
$here->safe_psql('postgres', qq{CREATE DATABASE "$db"});
$here->safe_psql($db, 'CREATE EXTENSION referral');

my ($code, $message) = refused($here, $db, 'SELECT referral.schedule_jobs()');
is($code, 'RF012', 'without the model there is nothing to schedule');
$here->safe_psql($db, 'SELECT referral.deploy()');
($code, $message) = refused($here, $db, 'SELECT referral.schedule_jobs()');
is($code, 'RF024', 'without pg_cron schedule_jobs() refuses');
like($message, qr/DETAIL:.*not started with it/, 'saying that the server was started without it');
is($here->safe_psql($db, 'SELECT * FROM referral.unschedule_jobs()'), join("\n", map { "$_|absent" } @jobs), 'unschedule_jobs() has nothing to do');
is($here->safe_psql($db, 'SELECT job, pg_cron, problem FROM referral.job_status'), join("\n", map { "$_|not preloaded|not scheduled" } @jobs),
	'job_status works without pg_cron');
is($here->safe_psql($db, q{SELECT referral.heartbeat_start('tick'); SELECT referral.heartbeat_end('tick'); SELECT problem IS NULL, runs FROM referral.job_status WHERE job = 'tick'}),
	"\n\nt|1", 'a tick that something else calls is well');
$here->safe_psql($db, 'DELETE FROM referral.heartbeat');

my @lines = $message =~ /^((?:shared_preload_libraries|cron\.\w+) = .*)$/mg;
is(scalar(@lines), 3, 'the hint has three lines for postgresql.conf');
like($lines[0], qr/'auto_explain,pg_cron'/, 'and keeps what is preloaded already');
$here->append_conf('postgresql.conf', join("\n", @lines));
$here->restart;

($code, $message) = refused($here, $db, 'SELECT referral.schedule_jobs()');
is($code, 'RF024', 'with these lines the extension is still to be created');
my ($create) = $message =~ /HINT:\s+(CREATE EXTENSION \w+;)/;
is($here->safe_psql($db, 'SELECT DISTINCT pg_cron, problem FROM referral.job_status'), 'not created in this database|not scheduled', 'job_status says so, too');
is($here->safe_psql($db, 'SELECT DISTINCT action FROM referral.unschedule_jobs()'), 'absent', 'and there is nothing to unschedule');
# a schema cron of somebody else's is not pg_cron
$here->safe_psql($db, <<'SQL');
CREATE SCHEMA cron;
CREATE VIEW cron.job AS SELECT 1 / 0 AS jobid;
SQL
is($here->safe_psql($db, 'SELECT count(*) FROM referral.job_status'), 6, 'a schema of that name is not read');
$here->safe_psql($db, 'DROP SCHEMA cron CASCADE');
$here->safe_psql($db, $create);

# 2. What gets scheduled
is($here->safe_psql($db, 'SELECT job, schedule, action FROM referral.schedule_jobs()'),
	"tick|* * * * *|created\nmatch|* * * * *|created\nseal|*/5 * * * *|created\npartitions|17 3 * * *|created\nfrequencies|27 3 * * *|created\nhousekeeping|47 3 * * *|created", 'six jobs');
is($here->safe_psql($db, 'SELECT DISTINCT action FROM referral.schedule_jobs()'), 'kept', 'scheduling again changes nothing');
is($here->safe_psql($db, 'SELECT jobname, database, username, active FROM cron.job ORDER BY jobid'),
	join("\n", map { "referral $db $_|$db|" . $here->safe_psql($db, 'SELECT current_user') . '|t' } @jobs), 'they are in cron.job, under their names');
is($here->safe_psql($db, 'SELECT count(*) FROM referral.job_status WHERE problem IS NULL AND next_expected BETWEEN now() AND now() + interval \'1 day\''),
	6, 'a job that is not due yet is no problem');

# what a DBA changes
$here->safe_psql($db, q{SELECT cron.alter_job(jobid, schedule => '* * * * *') FROM cron.job WHERE jobname ~ '(seal|partitions|frequencies)$'});
$here->safe_psql($db, q{SELECT cron.alter_job(jobid, schedule => '*/30 * * * * *', active => false) FROM cron.job WHERE jobname ~ 'housekeeping$'});
$here->safe_psql($db, q{SELECT cron.alter_job(jobid, command => 'SELECT 1') FROM cron.job WHERE jobname ~ 'tick$'});
is(problem($here, $db, 'tick'), 'runs another command; call referral.schedule_jobs()', 'another command is noticed');
is(problem($here, $db, 'housekeeping'), 'inactive', 'a job that is switched off is noticed');
is($here->safe_psql($db, 'SELECT job, schedule, action FROM referral.schedule_jobs()'),
	"tick|* * * * *|updated\nmatch|* * * * *|kept\nseal|* * * * *|kept\npartitions|* * * * *|kept\nfrequencies|* * * * *|kept\nhousekeeping|*/30 * * * * *|kept", 'its schedules stay, commands are put right');
is($here->safe_psql($db, q{SELECT command FROM cron.job WHERE jobname ~ 'tick$'}), 'CALL referral.tick()', 'as they were');
is(problem($here, $db, 'housekeeping'), 'inactive', 'what is off stays off');
$here->safe_psql($db, q{SELECT cron.alter_job(jobid, active => true) FROM cron.job WHERE jobname ~ 'housekeeping$'});
like(problem($here, $db, 'housekeeping'), qr/^its schedule has more than five fields/, 'pg_cron takes six fields; job_status does not');
$here->safe_psql($db, q{SELECT cron.alter_job(jobid, schedule => '* * * * *') FROM cron.job WHERE jobname ~ 'housekeeping$'});

# other logins
$here->safe_psql($db, <<'SQL');
CREATE ROLE job_admin LOGIN IN ROLE referral_admin;
CREATE ROLE job_second LOGIN SUPERUSER;
GRANT USAGE ON SCHEMA cron TO job_admin;
SQL
is((refused($here, $db, 'SET SESSION AUTHORIZATION job_admin; SELECT referral.schedule_jobs()'))[0], 'RF003', 'jobs are for the owner of the journal');
is((refused($here, $db, 'SET SESSION AUTHORIZATION job_admin; SELECT referral.unschedule_jobs()'))[0], 'RF003', 'also to take them out');
$here->safe_psql($db, qq{SET SESSION AUTHORIZATION job_admin; SELECT cron.schedule('referral it''s referral tick', '* * * * *', 'SELECT 1')});
is($here->safe_psql($db, q{SELECT count(*) FROM referral.job_status}), 6, 'a job of the same name by somebody without the rights is not taken for it');
$here->safe_psql($db, q{SET SESSION AUTHORIZATION job_admin; SELECT cron.unschedule('referral it''s referral tick')});
is($here->safe_psql($db, q{SET SESSION AUTHORIZATION job_second; SELECT DISTINCT action FROM referral.schedule_jobs(); SELECT count(*) FROM cron.job}),
	"kept\n6", 'another superuser does not schedule them again');

# long names of databases
my $long = 'long' x 15;
$here->safe_psql('postgres', "CREATE DATABASE $long");
$here->safe_psql($long, 'CREATE EXTENSION referral');
is($here->safe_psql($long, 'SELECT max(octet_length(job_name)) <= 63, count(DISTINCT job_name) FROM referral.job_plan()'), 't|6',
	'names fit into cron.job where that of the database is long');

# 3. pg_cron in another database; the model belongs to no superuser
my $apart = PostgreSQL::Test::Cluster->new('job_apart');
$apart->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$apart->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.use_background_workers = on");
$apart->start;
$apart->safe_psql('postgres', 'CREATE EXTENSION pg_cron; CREATE ROLE job_owner LOGIN CREATEROLE');
$apart->safe_psql('postgres', qq{CREATE DATABASE "$db"});
$apart->safe_psql($db, <<'SQL');
CREATE EXTENSION referral;
ALTER SCHEMA referral OWNER TO job_owner;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA referral TO job_owner WITH GRANT OPTION;
SET SESSION AUTHORIZATION job_owner;
SELECT referral.deploy();
SQL
($code, $message) = refused($apart, $db, 'SET SESSION AUTHORIZATION job_owner; SELECT referral.schedule_jobs()');
is($code, 'RF024', 'pg_cron in another database: refused');
like($message, qr/Run in database "postgres"/, 'saying which');
my @schedule = $message =~ /^(SELECT cron\.schedule_in_database.*;)$/mg;
is(scalar(@schedule), 6, 'with a line for each job');
$apart->safe_psql('postgres', $_) foreach @schedule;
is($apart->safe_psql('postgres', 'SELECT database, username, count(*) FROM cron.job GROUP BY 1, 2 ORDER BY 3 DESC'),
	"$db|job_owner|5\npostgres|" . $apart->safe_psql('postgres', 'SELECT current_user') . '|1', 'they run as the owner, housekeeping where pg_cron is');
is($apart->safe_psql($db, q{SELECT job, pg_cron, problem FROM referral.job_status}),
	join("\n", map { "$_|in database \"postgres\"|" . (/^(tick|match)$/ ? 'never ran' : 'unknown: its runs are recorded in database postgres') } @jobs),
	'from here only the heartbeats are seen');
is((refused($apart, $db, 'CREATE ROLE job_group; GRANT job_owner TO job_group; SET ROLE job_group; SELECT referral.schedule_jobs()'))[0], 'RF003', 'not as a role that cannot log in');
$apart->safe_psql('postgres', q{SELECT cron.alter_job(jobid, schedule => '* * * * *') FROM cron.job});

# 4. The first firing. Housekeeping takes runs of these jobs that are older than 7 days, but the last of each.
my %since;
foreach my $where ([ $here, $db ], [ $apart, 'postgres' ])
{
	my ($node, $database) = @$where;

	$node->safe_psql($database, <<"SQL");
INSERT INTO cron.job_run_details (jobid, database, command, status, start_time, end_time)
SELECT coalesce(r.jobid, (SELECT jobid FROM cron.job WHERE jobname ~ 'tick\$')), r.database, r.command, 'succeeded', t.at, t.at
FROM (VALUES (1, 1001, 'it''s referral', 'SELECT referral.seal()', 10), (2, 1001, 'it''s referral', 'SELECT referral.seal()', 9),
             (3, NULL, 'it''s referral', 'CALL referral.tick()', 9), (4, 1002, 'it''s referral', 'SELECT 1', 9),
             (5, 1002, 'it''s referral', 'SELECT 1', 8), (6, NULL, 'it''s referral', 'CALL referral.tick()', 6)) r (n, jobid, database, command, days),
     LATERAL (SELECT now() - r.days * interval '1 day' AS at) t
ORDER BY r.n;
SQL
	$since{ $node->name } = $node->safe_psql($database, 'SELECT clock_timestamp()');
}
ok(wait_for_runs($here, $db, $since{job_here}, @jobs), 'here: all jobs run');
ok( $apart->poll_query_until('postgres',
		"SELECT count(DISTINCT jobid) = 6 FROM cron.job_run_details WHERE end_time > '$since{job_apart}'"), 'apart: all jobs run');
is($here->safe_psql($db, q{SELECT job, last_status, failures_last_hour, problem, next_expected > now() FROM referral.job_status}),
	join("\n", map { "$_|succeeded|0||t" } @jobs), 'here: all is well');
is($apart->safe_psql('postgres', "SELECT DISTINCT status FROM cron.job_run_details WHERE end_time > '$since{job_apart}'"), 'succeeded', 'apart: all succeed, under another login');
is(problem($apart, $db, $_), '', "apart: the job $_ is well") foreach qw(tick match);
foreach my $where ([ $here, $db ], [ $apart, 'postgres' ])
{
	my ($node, $database) = @$where;
	my $name = $node->name =~ s/job_//r;

	is($node->safe_psql($database, q{SELECT command, (now()::date - end_time::date) FROM cron.job_run_details WHERE end_time < now() - interval '1 day' ORDER BY runid}),
		"SELECT referral.seal()|9\nSELECT 1|9\nSELECT 1|8\nCALL referral.tick()|6", "$name: housekeeping leaves the runs of others, and the last of a job");
	is($node->safe_psql($db, q{SELECT runs >= 1, finished_at >= started_at, as_of <= started_at, last_error FROM referral.heartbeat WHERE job = 'tick'}),
		't|t|t|', "$name: the tick has left a heartbeat");
	cmp_ok($node->safe_psql($db, 'SELECT count(*) FROM referral.seal'), '>', 0, "$name: the journal is sealed");
}

# 5. What goes wrong. Here the tick fails and sealing hangs, apart the tick hangs. Age is made, not waited for.
my @locks;
sub lock_table
{
	my ($node, $table) = @_;

	local %ENV = $node->_get_env();
	push @locks, IPC::Run::start([ 'psql', '-XqAt', '-d', $db, '-c', "BEGIN; LOCK TABLE referral.$table IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)" ],
		'<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
	$node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_locks WHERE relation = 'referral.$table'::regclass AND mode = 'AccessExclusiveLock' AND granted");
}
lock_table($here, 'seal');
lock_table($apart, 'sla_clock');
$here->safe_psql($db, 'ALTER TABLE referral.sla_clock RENAME TO sla_clock_gone');
$since{job_here} = $here->safe_psql($db, 'SELECT clock_timestamp()');
ok(wait_for_runs($here, $db, $since{job_here}, 'tick'), 'the tick runs again');
like(problem($here, $db, 'tick'), qr/^failing: ERROR:\s+\S/, 'a failing tick is seen, with its error');
unlike(problem($here, $db, 'tick'), qr/\n/, 'the first line of it');
is($here->safe_psql($db, q{SELECT failures_last_hour > 0, last_status, heartbeat_finished_at IS NOT NULL FROM referral.job_status WHERE job = 'tick'}),
	't|failed|t', 'with the number of failures and the last heartbeat');
ok( $apart->poll_query_until($db, q{SELECT started_at > finished_at AND EXISTS (SELECT FROM pg_locks WHERE relation = 'referral.sla_clock'::regclass AND NOT granted)
		FROM referral.heartbeat WHERE job = 'tick'}), 'apart: a tick hangs, and its heartbeat has begun');
is(problem($apart, $db, 'tick'), '', 'for some minutes that is no problem');
$apart->safe_psql($db, q{UPDATE referral.heartbeat SET started_at = started_at - interval '6 minutes', finished_at = finished_at - interval '6 minutes'});
like(problem($apart, $db, 'tick'), qr/^stalled: nothing finished since \d{4}-/, 'then it is');
ok($here->poll_query_until($db, q{SELECT last_status = 'running' FROM referral.job_status WHERE job = 'seal'}), 'here: sealing hangs');
$here->safe_psql($db, q{UPDATE cron.job_run_details SET end_time = end_time - interval '16 minutes'; UPDATE referral.heartbeat SET scheduled_at = scheduled_at - interval '1 day'});
like(problem($here, $db, 'seal'), qr/^stalled: nothing finished since \d{4}-/, 'which is seen where pg_cron is');
$here->safe_psql($db, q{DELETE FROM cron.job_run_details WHERE status <> 'running' AND command ~ 'seal'});
like(problem($here, $db, 'seal'), qr/^stalled: nothing has finished, begun \d{4}-/, 'also in its first run');
is(problem($here, $db, 'partitions'), '', 'the other jobs are well');
$here->safe_psql($db, q{DELETE FROM cron.job_run_details WHERE command ~ 'partitions'});
is(problem($here, $db, 'partitions'), 'never ran', 'a job that was due and has no run');

# and ends
$_->safe_psql($db, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^BEGIN; LOCK TABLE'}) foreach $here, $apart;
$_->finish foreach @locks;
ok($apart->poll_query_until($db, q{SELECT problem IS NULL FROM referral.job_status WHERE job = 'tick'}), 'apart: when the tick goes on, all is well again');
ok($here->poll_query_until($db, q{SELECT problem IS NULL FROM referral.job_status WHERE job = 'seal'}), 'here: so is sealing');
$here->safe_psql($db, 'ALTER TABLE referral.sla_clock_gone RENAME TO sla_clock');
$here->safe_psql($db, 'CALL referral.tick()');
is(problem($here, $db, 'tick'), '', 'a tick that succeeds after the one that failed settles it');
$here->safe_psql($db, q{SELECT referral.heartbeat_end('tick', failed => 1, last_error => E'could not notify\nDETAIL: …')});
is(problem($here, $db, 'tick'), 'finished with errors: could not notify', 'a tick that went on after an error tells');

# 6. Taken out again
is($here->safe_psql($db, 'SELECT * FROM referral.unschedule_jobs()'), join("\n", map { "$_|removed" } @jobs), 'unschedule_jobs() takes them out');
is($here->safe_psql($db, 'SELECT * FROM referral.unschedule_jobs()'), join("\n", map { "$_|absent" } @jobs), 'also when they are gone');
is($here->safe_psql($db, 'SELECT count(*) FROM cron.job'), 0, 'none is left');
is($here->safe_psql($db, 'SELECT DISTINCT problem FROM referral.job_status'), 'not scheduled', 'which job_status tells');
($code, $message) = refused($apart, $db, 'SELECT referral.unschedule_jobs()');
is($code, 'RF024', 'apart: refused again');
$apart->safe_psql('postgres', $_) foreach $message =~ /^(SELECT cron\.unschedule.*;)$/mg;
is($apart->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, 'with the lines that do it');

done_testing();
