# The owner of a table may do to it what he likes, with triggers off too; the engine refuses what it cannot handle, and
# never takes the server down. In a cluster of its own, because a crash would take other tests along.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('robust');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "restart_after_crash = on\nwal_level = replica\nlog_error_verbosity = verbose");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION referral;
SELECT referral.deploy();

-- a workflow without conditions, for any table
CREATE TABLE public.model (model_id bigint PRIMARY KEY);
SELECT referral.attach('public.model');
DO $$
DECLARE
    v bigint;
    w bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('plain', 'workflow');
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'plain'
    RETURNING rule_version_id INTO v;
    INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (v, 'model', 'plain') RETURNING workflow_id INTO w;
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, sort)
    VALUES (w, 'one', 'received', true, 1), (w, 'two', 'validated', false, 2);
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step)
    VALUES (w, 'go', 'one', 'two'), (w, 'back', 'two', 'one');
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
END $$;
SQL
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $tables = 0;
my $crashes_before = 0;

# Runs statements in one session, each by itself; returns their SQLSTATEs, '00000' for success. A lost connection is 'LOST'.
sub states
{
	my @statements = @_;
	my ($stdout, $stderr);

	$node->psql('postgres', join('', map { "$_;\n\\echo :SQLSTATE\n" } @statements), stdout => \$stdout, stderr => \$stderr,
		on_error_stop => 0);
	my @states = $stdout =~ /^([0-9A-Z]{5})$/mg;
	push @states, 'LOST' if @states < @statements;
	return @states;
}

# The server must be the same one that was started, with no crash in between.
sub survived
{
	my $name = shift;

	$node->poll_query_until('postgres', 'SELECT true');
	my $log = slurp_file($node->logfile);
	my $crashes = () = $log =~ /was terminated by signal/g;
	is($crashes, $crashes_before, "$name: the server survives");
	$crashes_before = $crashes;
}

# A new table t<n> with an id and further columns.
sub table
{
	my $columns = shift;
	my $name = 't' . ++$tables;

	$node->safe_psql('postgres', "CREATE TABLE public.$name (id bigint PRIMARY KEY, note text" . ($columns ? ", $columns" : '')
		  . "); INSERT INTO public.$name (id, note) VALUES (1, 'a')");
	return $name;
}

# 1. A table whose own columns have the engine's names, with other types
foreach my $column (
	'org_id integer NOT NULL DEFAULT 1', 'org_id text DEFAULT 1', 'workflow_id integer', 'workflow_id text', 'step integer',
	'step varchar(3)', 'step varchar(40)', 'state text', 'state integer', 'state varchar(2)', 'state text[]', 'state jsonb',
	"state referral.urgency", 'status_reason integer', 'status_reason varchar(10)', 'entered_at date', 'entered_at timestamp',
	'entered_at text', 'version integer', 'version text', 'version numeric', 'transition_id integer', 'transition_id text',
	'region integer', 'site_id integer', 'site_id text', 'specialty integer', 'specialty text[]')
{
	my $t = table($column);
	my ($name) = $column =~ /^(\w+)/;
	my $before = $node->safe_psql('postgres', "SELECT to_jsonb(x) FROM (SELECT id, note, $name FROM public.$t) x");
	my ($attached) = states("SELECT referral.attach('public.$t', 'plain')");

	survived("attach with $column");
	isnt($attached, 'LOST', "attach with $column");
	if ($attached eq '00000')
	{
		# then it works
		is_deeply(
			[ states("INSERT INTO public.$t (id, note) VALUES (2, 'b')", "UPDATE public.$t SET note = 'c'",
					"UPDATE public.$t SET step = 'two'", "DELETE FROM public.$t") ],
			[ ('00000') x 4 ], "$column: insert, update, move, delete");
		survived("work with $column");
	}
	else
	{
		like($attached, qr/^RF0/, "$column: refused in our own words");
		is($node->safe_psql('postgres', "SELECT to_jsonb(x) FROM (SELECT id, note, $name FROM public.$t) x"), $before, "$column: the table is as it was");
		is_deeply([ states("UPDATE public.$t SET note = 'c'") ], ['00000'], "$column: and can be written as before");
	}
}

# 2. Rows made or changed while the triggers were off
{
	my $t = table();
	$node->safe_psql('postgres', "SELECT referral.attach('public.$t', 'plain')");
	foreach my $change ('step = NULL', 'state = NULL', 'workflow_id = NULL', 'version = NULL', 'entered_at = NULL',
		q{step = 'nowhere'}, 'workflow_id = 9999', q{state = 'expired'}, 'version = -5', 'transition_id = 9999',
		'step = NULL, state = NULL, workflow_id = NULL, version = NULL, entered_at = NULL')
	{
		my $rows = "BEGIN; ALTER TABLE public.$t DISABLE TRIGGER USER; UPDATE public.$t SET $change; ALTER TABLE public.$t ENABLE TRIGGER USER";

		foreach my $then ("UPDATE public.$t SET note = note || 'x'", "UPDATE public.$t SET step = 'two'", "UPDATE public.$t SET state = 'validated'",
			"UPDATE public.$t SET version = 3", "DELETE FROM public.$t", "SELECT * FROM referral.next_transitions('$t', 1, 1)",
			"INSERT INTO public.$t SELECT 2, 'b', org_id, workflow_id, step, state FROM public.$t")
		{
			my ($stdout, $stderr);
			$node->psql('postgres', "$rows; $then; ROLLBACK", stdout => \$stdout, stderr => \$stderr);
			unlike($stderr, qr/server closed|terminated|XX\d\d\d/, "$change behind the triggers' back, then $then");
			survived($change) if $stderr =~ /server closed|terminated/;
		}
		# only the journal trigger is on
		my ($stdout, $stderr);
		$node->psql('postgres', "BEGIN; ALTER TABLE public.$t DISABLE TRIGGER zz_guard; UPDATE public.$t SET $change; UPDATE public.$t SET note = 'y'; DELETE FROM public.$t; ROLLBACK",
			stdout => \$stdout, stderr => \$stderr);
		unlike($stderr, qr/server closed|terminated/, "$change with the journal trigger alone");
	}
	survived('rows changed behind the triggers\' back');
}

# 3. Tables changed after they were attached
foreach my $change (
	'ALTER COLUMN state TYPE text', 'ALTER COLUMN step TYPE varchar(40)', 'ALTER COLUMN version TYPE integer', 'ALTER COLUMN org_id TYPE text',
	'ALTER COLUMN workflow_id TYPE text', 'ALTER COLUMN entered_at TYPE date', 'ALTER COLUMN transition_id TYPE integer',
	'ALTER COLUMN id TYPE integer', 'ALTER COLUMN id TYPE text', 'ALTER COLUMN id TYPE numeric', 'DROP COLUMN state', 'DROP COLUMN step',
	'DROP COLUMN version', 'DROP COLUMN org_id CASCADE', 'DROP COLUMN workflow_id', 'DROP COLUMN entered_at', 'DROP COLUMN status_reason',
	'DROP COLUMN transition_id', 'DROP COLUMN id', 'DROP COLUMN note, ADD COLUMN note integer', 'RENAME COLUMN step TO stage', 'RENAME COLUMN id TO number',
	'RENAME TO renamed', 'SET SCHEMA referral', 'ADD COLUMN more integer DEFAULT 5', 'ALTER COLUMN org_id DROP NOT NULL')
{
	my $t = table();
	$node->safe_psql('postgres', "SELECT referral.attach('public.$t', 'plain'); UPDATE public.$t SET note = 'b'");
	my $now = $change eq 'RENAME TO renamed' ? 'public.renamed' : $change eq 'SET SCHEMA referral' ? "referral.$t" : "public.$t";

	# one session that knows the table from before, and policies out of the way of ALTER
	my @states = states("UPDATE public.$t SET note = 'c'", "DROP POLICY organisation ON public.$t", "ALTER TABLE public.$t $change", "UPDATE $now SET note = NULL", "UPDATE $now SET step = 'two'",
		"INSERT INTO $now (note) VALUES (NULL)", "DELETE FROM $now", "SELECT * FROM referral.next_transitions('$t', 1, 1)");
	is(scalar(grep { $_ eq 'LOST' || /^XX/ } @states), 0, "$change in a session that knew the table (@states)");
	survived("$change");
	$node->safe_psql('postgres', "DROP TABLE IF EXISTS $now");
}

# 4. Entities that lead nowhere
{
	my $t = table();
	$node->safe_psql('postgres', "SELECT referral.attach('public.$t', 'plain'); DROP TABLE public.$t");
	is_deeply([ states("SELECT * FROM referral.next_transitions('$t', 1, 1)", "SELECT * FROM referral.next_transitions('nothing', 1, 1)",
				"SELECT * FROM referral.next_transitions('', 1, 1)", "SELECT count(*) FROM referral.next_transitions(NULL, 1, 1)",
				"SELECT * FROM referral.next_transitions('patient', 1, 1)", "SELECT * FROM referral.next_transitions(repeat('x', 100000), 1, 1)",
				"SELECT * FROM referral.next_transitions('referral', -9223372036854775808, 9223372036854775807)",
				"SELECT referral.migrate_workflow('nothing', 1, 1, 1, 'x')", "SELECT referral.migrate_workflow('$t', 1, 1, 1, 'x')",
				"SELECT referral.step_before(-1, 1, 1, 'x')", "SELECT referral.has_document(1, -1, 'x')") ],
		[ 'RF019', 'RF019', 'RF019', '00000', 'RF019', 'RF019', 'RF019', 'RF019', 'RF019', '00000', '00000' ], 'entities and rows that are not there');
	survived('entities that lead nowhere');
	foreach my $relation ('pg_catalog.pg_class', 'referral.history', 'information_schema.tables', 'referral.journal')
	{
		isnt((states("SELECT referral.attach('$relation', 'plain')"))[0], '00000', "attach('$relation') is refused");
	}
	is_deeply([ states(q{SELECT referral.attach(NULL)}, q{SELECT referral.attach('public.model', 'no such workflow')}) ], [ 'RF003', 'RF012' ], 'attach of nothing');
	survived('attach of what cannot be attached');
}

# 5. Partitions, inheritance, foreign names
{
	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE public.parted (id bigint, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE public.parted_1 PARTITION OF public.parted FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE public.parted_2 (note text, gone int, day date NOT NULL, id bigint NOT NULL);
ALTER TABLE public.parted_2 DROP COLUMN gone;
ALTER TABLE public.parted ATTACH PARTITION public.parted_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE public."Odd ""name"" 'x' \ ü" ("Id %s" bigint PRIMARY KEY, "a ""b""" text);
SQL
	is_deeply([ states(q{SELECT referral.attach('public.parted', 'plain', id_column => 'id')}, q{INSERT INTO public.parted (id, day, note) VALUES (1, '2026-01-05', 'a'), (2, '2026-02-05', 'b')},
				q{UPDATE public.parted SET step = 'two'}, q{UPDATE public.parted SET day = '2026-02-06' WHERE id = 1}, q{UPDATE public.parted SET note = 'c'}, q{DELETE FROM public.parted WHERE id = 2}) ],
		[ ('00000') x 6 ], 'a partitioned table, with a partition of another layout');
	is($node->safe_psql('postgres', q{SELECT string_agg(entity_id || action || version, ' ' ORDER BY entity_id, version, journal_id) FROM referral.journal WHERE entity = 'parted'}),
		'1insert1 1update2 1update3 1update4 2insert1 2update2 2update3 2delete3', 'is journaled like any other');
	is_deeply([ states(q{SELECT referral.attach('public."Odd ""name"" ''x'' \ ü"', 'plain')}, q{INSERT INTO public."Odd ""name"" 'x' \ ü" VALUES (1, 'a')},
				q{UPDATE public."Odd ""name"" 'x' \ ü" SET step = 'two', "a ""b""" = 'b'}, q{SELECT * FROM referral.next_transitions('Odd "name" ''x'' \ ü', 1, 1)},
				q{SELECT referral.detach('public."Odd ""name"" ''x'' \ ü"')}) ],
		[ ('00000') x 5 ], 'odd names');
	survived('partitions and odd names');
}

# 6. Rules that call themselves, fail, or change the rules while they are at work
{
	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE public.deep (deep_id bigint PRIMARY KEY, note text);
SELECT referral.attach('public.deep');
CREATE FUNCTION public.again(bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS
$$BEGIN RETURN (SELECT bool_or(allowed) FROM referral.next_transitions('deep', 1, $1)); END$$;
CREATE FUNCTION public.fails(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$BEGIN RETURN 1 / (length($1) - 1) > 0; END$$;
INSERT INTO referral.rule_function (signature) VALUES ('public.again(bigint)'), ('public.fails(text)');
DO $$
DECLARE
    v bigint;
    w bigint;
    t bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('deep', 'workflow');
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'deep'
    RETURNING rule_version_id INTO v;
    INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (v, 'deep', 'deep') RETURNING workflow_id INTO w;
    INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, sort)
    VALUES (w, 'one', 'received', true, 1), (w, 'two', 'validated', false, 2), (w, 'three', 'scheduled', false, 3);
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step) VALUES (w, 'go', 'one', 'two') RETURNING transition_id INTO t;
    INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message) VALUES (w, t, 'public.fails(note)', 'fails');
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step) VALUES (w, 'never', 'one', 'three') RETURNING transition_id INTO t;
    INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message) VALUES (w, t, 'false', 'never');
    INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step) VALUES (w, 'on', 'two', 'three') RETURNING transition_id INTO t;
    INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message) VALUES (w, t, 'public.again(deep_id)', 'again');
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
END $$;
INSERT INTO public.deep (deep_id, note) VALUES (1, 'x'), (2, 'two');
SQL
	my @states = states(
		q{UPDATE public.deep SET step = 'two' WHERE deep_id = 1},    # division by zero
		q{UPDATE public.deep SET step = 'three' WHERE deep_id = 1},    # blocked; explaining it meets the division by zero
		q{UPDATE public.deep SET step = 'nowhere' WHERE deep_id = 1},    # the same
		q{SELECT * FROM referral.next_transitions('deep', 1, 1)},
		q{UPDATE public.deep SET note = 'xx' WHERE deep_id = 1},
		q{UPDATE public.deep SET step = 'two' WHERE deep_id = 1},    # the same expression again
		q{DO $$BEGIN UPDATE public.deep SET note = 'x', step = 'two' WHERE deep_id = 2; EXCEPTION WHEN division_by_zero THEN UPDATE public.deep SET step = 'two' WHERE deep_id = 2; END$$},
		q{UPDATE public.deep SET step = 'three' WHERE deep_id = 1},    # without end
		q{SELECT * FROM referral.next_transitions('deep', 1, 1)},
		q{UPDATE public.deep SET note = 'y' WHERE deep_id = 1});
	like("@states", qr/^22012 RF002 RF001 (00000|22012) 00000 00000 RF002 (RF002|54001) (00000|54001) 00000$/, 'rules that fail, and one that calls itself');
	survived('rules that call themselves');

	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE public.busy (busy_id bigint PRIMARY KEY, note text);
SELECT referral.attach('public.busy', 'plain');
CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE referral.organization SET name = name || '.';
    EXECUTE 'COMMENT ON TABLE public.busy IS ' || quote_literal(NEW.busy_id);
    EXECUTE 'ALTER FUNCTION public.again(bigint) COST ' || (NEW.busy_id % 7 + 1);
    RETURN NEW;
END $$;
CREATE TRIGGER before_all BEFORE INSERT OR UPDATE ON public.busy FOR EACH ROW EXECUTE FUNCTION public.meddle();
CREATE TRIGGER after_all AFTER INSERT OR UPDATE ON public.busy FOR EACH ROW EXECUTE FUNCTION public.meddle();
SQL
	is_deeply([ states(q{INSERT INTO public.busy (busy_id) SELECT generate_series(1, 200)}, q{UPDATE public.busy SET step = 'two'},
				q{UPDATE public.busy SET note = 'x', step = 'one' WHERE busy_id % 2 = 0}) ],
		[ ('00000') x 3 ], 'rules and functions that change between any two rows');
	is($node->safe_psql('postgres', q{SELECT count(*), min(version), max(version) FROM referral.journal WHERE entity = 'busy'}), '500|1|3', 'every change is journaled');
	survived('rules that change meanwhile');
}

# 7. Expressions of every kind of nonsense
{
	my @expressions = ('', ' ', ';', '(', ')', 'true;', 'true--', '/*', "'", '"', '$$', ':x', '?', '1', 'NULL', 'note', 'old', 'new', 'old.*', 'new.*', 'old.nothing', 'new.id', 'model.id',
		'referral.model', 'ctid IS NULL', 'tableoid = 0', 'xmin::text = 1', 'true AS x', 'true, false', 'DISTINCT true', 'ALL true', '*', 'count(*)', 'sum(model_id) OVER ()',
		'generate_series(1, 2) > 0', 'EXISTS (SELECT)', 'ARRAY(SELECT true)', 'true IN (SELECT true)', 'random() > 0', 'CURRENT OF c', 'GROUPING(note) = 0', 'DEFAULT', 'ROW(1, 2)', '(1, 2) = (1, 3)',
		'(' x 5000, 'NOT ' x 5000 . 'true', '1' . '+1' x 3000 . ' > 0', 'true ' . 'AND true ' x 1000, "'" . 'x' x 9000 . "' = 'x'", "U&'\\0000' = ''", "E'\\x00' = ''", "X'FF'::int > 0",
		'model_id / 0 > 1', "'x'::int > 0", "'infinity'::date > 'now'", 'CASE WHEN true THEN 1 END', 'COALESCE(note, 1)', 'note COLLATE "nothing" > note', "note ~ '('", 'pg_catalog.nothing()',
		'unnest(ARRAY[true])', "interval '1' > 1", "(old).model_id = 1", '@ model_id', 'model_id[1] = 1', 'note.x = 1', '$1 = 1', "XMLPARSE(DOCUMENT '<') IS NULL");
	foreach my $expression (@expressions)
	{
		my $quoted = $expression =~ s/'/''/gr;
		my ($state) = states(q{SELECT referral.check_rule('public.model', '} . ($quoted =~ s/:/' || chr(58) || '/gr) . q{')});

		like($state, qr/^(RF011|00000|54001)$/, 'the expression ' . substr($expression, 0, 40));
		$node->poll_query_until('postgres', 'SELECT true') if $state eq 'LOST';
	}
	survived('nonsense');
}

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'it is still the same server');
is(join("\n", grep { /TRAP:|PANIC:|XX000:/ } split /\n/, slurp_file($node->logfile)), '', 'with no internal error in its log');

done_testing();
