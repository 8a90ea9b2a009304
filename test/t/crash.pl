# Rows and their journal agree after crashes under load, and what was acknowledged is there.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 40;
my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', <<'CONF');
fsync = on
synchronous_commit = on
full_page_writes = on
autovacuum = on
max_wal_size = 64MB
checkpoint_timeout = 30s
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION referral;
SELECT referral.deploy();
CREATE EXTENSION amcheck;
INSERT INTO referral.rule_set (name, kind) VALUES ('mine', 'test');
SQL

# 0. Right after deploy(): with wal_level minimal, which tests have, a sequence that is used in the transaction that made
# it forgets up to 32 of the numbers given out afterwards, unless deploy() does something about it.
my $numbers = q{SELECT max(journal_id) FROM referral.journal};
my $last = $node->safe_psql('postgres', $numbers);
$node->stop('immediate');
$node->start;
is($node->psql('postgres', q{INSERT INTO referral.rule_set (name, kind) VALUES ('mine too', 'test')}), 0, 'numbers continue after a crash right after deploy()');
cmp_ok($node->safe_psql('postgres', $numbers), '>', $last, 'those of the journal, too');

$node->safe_psql('postgres', <<SQL);
INSERT INTO referral.patient (family) VALUES ('x');
INSERT INTO referral.referral (patient_id, specialty) SELECT 1, 'x' FROM generate_series(1, $rows);
UPDATE referral.referral SET state = 'validated';
UPDATE referral.referral SET state = 'ready_to_schedule';
SQL

# One step further on a round trip of three.
my $move = <<'SQL';
UPDATE referral.referral SET scheduled_for = '2026-01-01',
    step = CASE step WHEN 'ready_to_schedule' THEN 'scheduled' WHEN 'scheduled' THEN 'no_show' ELSE 'ready_to_schedule' END
WHERE org_id = 1 AND referral_id =
SQL
$move =~ s/\s+/ /g;

my $dir = PostgreSQL::Test::Utils::tempdir();

# pgbench: transactions of two moves, with a savepoint that is given up now and then, and a document.
append_to_file("$dir/load.sql", <<SQL);
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

# psql: a move per transaction; what it prints was acknowledged.
my @scripts = map { "$dir/psql$_.sql" } 1 .. 2;
foreach my $script (@scripts)
{
	append_to_file($script, join('', map { "$move " . (1 + int(rand($rows))) . " RETURNING referral_id, version, step;\n" } 1 .. 20000));
}

# Starts all clients; returns their handles.
sub start_load
{
	my $round = shift;
	my @clients;

	local %ENV = $node->_get_env();
	foreach my $i (0 .. $#scripts)
	{
		push @clients,
		  IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'postgres', '-f', $scripts[$i] ],
			'>', "$dir/acknowledged.$round.$i", '2>', "$dir/psql.$round.$i.err");
	}
	push @clients,
	  IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-T', '60', '-f', "$dir/load.sql", 'postgres' ],
		'>', "$dir/pgbench.$round.out", '2>', "$dir/pgbench.$round.err");
	return @clients;
}

# Waits until n more journal rows are there.
sub wait_for_work
{
	my $n = shift;
	my $now = $node->safe_psql('postgres', 'SELECT count(*) FROM referral.journal');

	ok($node->poll_query_until('postgres', "SELECT count(*) >= $now + $n FROM referral.journal"), "$n changes and more were made");
}

sub check
{
	my $name = shift;
	my $is_zero = sub { is($node->safe_psql('postgres', "SELECT count(*) FROM (" . shift . ") x"), 0, "$name: " . shift) };

	$is_zero->(q{SELECT r.referral_id FROM referral.referral r LEFT JOIN referral.journal j
	             ON j.org_id = r.org_id AND j.entity = 'referral' AND j.entity_id = r.referral_id
	             GROUP BY r.org_id, r.referral_id, r.version HAVING count(j.journal_id) <> r.version},
		'version is the number of journal rows');
	$is_zero->(q{SELECT entity_id FROM (SELECT entity_id, version, row_number() OVER (PARTITION BY entity_id ORDER BY journal_id) AS n
	                                   FROM referral.journal WHERE entity = 'referral') j WHERE version <> n},
		'the versions in the journal are 1 to n, in order');
	$is_zero->(q{SELECT r.referral_id FROM referral.referral r
	             JOIN referral.journal j ON j.org_id = r.org_id AND j.entity = 'referral' AND j.entity_id = r.referral_id AND j.version = r.version
	             WHERE j.to_step IS DISTINCT FROM r.step OR j.to_state IS DISTINCT FROM r.state},
		'the last step in the journal is the row\'s');
	$is_zero->(q{SELECT entity_id FROM (SELECT entity_id, from_step, lag(to_step) OVER (PARTITION BY entity_id ORDER BY journal_id) AS former
	                                   FROM referral.journal WHERE entity = 'referral') j WHERE from_step IS DISTINCT FROM former},
		'each step starts where the former ended');
	$is_zero->(q{SELECT document_id, count(*) FROM referral.document d
	             FULL JOIN (SELECT * FROM referral.journal WHERE entity = 'document') j ON j.entity_id = d.document_id
	             GROUP BY 1 HAVING count(*) <> 1 OR document_id IS NULL},
		'each document has one journal row, and the other way round');
	is($node->safe_psql('postgres', "SELECT count(bt_index_check(i.indexrelid, true)) > 3 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
		WHERE a.amname = 'btree' AND c.relkind = 'i' AND (i.indrelid = 'referral.referral'::regclass
		  OR i.indrelid IN (SELECT p.relid FROM pg_partition_tree('referral.journal') p))"),
		"t", "$name: the indexes have all rows");

	# what the clients were told
	my @acknowledged = map { split /\n/, slurp_file($_) } glob("$dir/acknowledged.*");
	cmp_ok(scalar @acknowledged, '>', 100, "$name: changes were acknowledged");
	append_to_file("$dir/$name.copy", join("\n", @acknowledged, ''));
	$node->safe_psql('postgres', "CREATE TABLE public.$name (referral_id bigint, version bigint, step text)");
	$node->command_ok([ 'psql', '-Xq', '-d', 'postgres', '-c', "\\copy public.$name FROM '$dir/$name.copy' (DELIMITER '|')" ],
		"$name: they are loaded");
	$is_zero->(qq{SELECT FROM public.$name a WHERE NOT EXISTS (SELECT FROM referral.journal j WHERE j.org_id = 1 AND j.entity = 'referral'
	              AND j.entity_id = a.referral_id AND j.version = a.version AND j.to_step = a.step)},
		'each acknowledged change is there');

	# the clients stopped for no other reason
	my @errors = grep { !/terminat|server closed|connection|recovery mode|shutting down|starting up|HINT|DETAIL|WARNING|before or while|pgbench|repeat your command|corrupted shared memory|^\s*$/ }
	  map { split /\n/, slurp_file($_) } glob("$dir/*.err");
	is("@errors", '', "$name: no other error");
}

# 1. One backend is killed in the middle of its work, and takes the others with it.
my @clients = start_load(1);
wait_for_work(1500);
my $victim = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'UPDATE referral%' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
like($victim, qr/^\d+$/, 'there is a backend to kill');
is(kill('KILL', $victim), 1, 'it is killed');
$_->finish foreach @clients;
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server recovers');
check('backend');

# 2. The postmaster is killed.
@clients = start_load(2);
wait_for_work(1500);
my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity');
$node->kill9;
$_->finish foreach @clients;
foreach (1 .. 600)	# its children notice, and leave the shared memory
{
	last if !grep { kill(0, $_) } @pids;
	select(undef, undef, undef, 0.05);
}
$node->start;
check('postmaster');

# 3. All of it is stopped at once.
@clients = start_load(3);
wait_for_work(1500);
$node->stop('immediate');
$_->finish foreach @clients;
$node->start;
check('immediate');

# and it goes on
is($node->safe_psql('postgres', "$move 1 RETURNING version = (SELECT count(*) + 1 FROM referral.journal WHERE entity = 'referral' AND entity_id = 1)"),
	't', 'a move works after all that');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT xid_epoch) FROM referral.journal'), 1, 'a crash begins no new epoch');

done_testing();
