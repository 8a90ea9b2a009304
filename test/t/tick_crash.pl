# Crashes while clocks come due, stop and pause, and four ticks run at once: in the end each level that was reached is there
# once, at the time that follows from the journal alone, and what it asked for was done once. Then: whether ticks come every
# minute, every hour, only in the end, or two at once makes no difference.
use strict;
use warnings;
use JournalCheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 2400;
my $node = journal_node('tick_crash', <<'CONF');
fsync = on
synchronous_commit = on
full_page_writes = on
autovacuum = on
max_wal_size = 64MB
checkpoint_timeout = 30s
restart_after_crash = on
CONF
my $dir = PostgreSQL::Test::Utils::tempdir();
my $is_none = sub { is($node->safe_psql(@_[0, 1]), '', $_[2]) };

# A database with these policies only.
sub make_database
{
	my ($database, $policies) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database") if $database ne 'postgres';
	$node->safe_psql($database, <<SQL);
CREATE EXTENSION referral;
SELECT referral.deploy();
INSERT INTO referral.rule_version (rule_set_id, is_seed, note)
SELECT rule_set_id, true, 'test' FROM referral.rule_set WHERE name = 'sla/standard';
INSERT INTO referral.sla_policy (rule_version_id, entity, name, start_when, stop_when, pause_when, target, calendar, pause_counts)
SELECT v.rule_version_id, 'referral', p.* FROM referral.rule_version v, (VALUES $policies) p WHERE v.note = 'test';
INSERT INTO referral.sla_level (sla_policy_id, rule_version_id, level, percent, action, argument)
SELECT p.sla_policy_id, v.rule_version_id, l.* FROM referral.rule_version v JOIN referral.sla_policy p USING (rule_version_id),
       (VALUES (1, 50, 'notify', 'coordinator'), (2, 75, 'raise_priority', '5'), (3, 100, 'assign_role', 'referral_coordinator'),
               (4, 150, 'notify', 'manager')) l
WHERE v.note = 'test';
UPDATE referral.rule_version SET status = 'active' WHERE note = 'test';
INSERT INTO referral.patient (patient_id) VALUES (1);
SQL
}

my $answer = q{('answer', 'state = ''received''', 'state NOT IN (''received'', ''on_hold'')', 'state = ''on_hold''', interval '4 hours', 'always', false)};

# ---------- Crashes ----------

# Clocks of four hours begin between 08:00 and 09:00; levels are reached after two, three, four, and six hours. The time is
# what public.time says; it does not go on while a change is under way, so no tick can be ahead of a change.
make_database('postgres', $answer);
$node->safe_psql('postgres', <<SQL);
CREATE TABLE public.time (at timestamptz);
INSERT INTO public.time VALUES ('2026-03-02 09:00+00');
DO \$\$
BEGIN
    FOR i IN 0 .. $rows - 1 LOOP
        PERFORM set_config('referral.occurred_at', (timestamptz '2026-03-02 08:00+00' + i * interval '1.5 s')::text, true);
        INSERT INTO referral.referral (referral_id, patient_id, specialty) OVERRIDING SYSTEM VALUE VALUES (i + 1, 1, 'x');
    END LOOP;
END \$\$;
SELECT setval('referral.referral_referral_id_seq', 1000000);
SQL

append_to_file("$dir/time.sql", <<'SQL' x 2000);
BEGIN;
SELECT FROM pg_advisory_xact_lock(1);
UPDATE public.time SET at = at + interval '1 minute' WHERE at < :'until';
COMMIT;
SELECT FROM pg_sleep(0.01);
SQL
append_to_file("$dir/tick.sql", <<'SQL' x 4000);
SELECT at FROM public.time \gset
CALL referral.tick(:'at');
SQL
# A row is put on hold, goes on, is done with, or is merely changed; and one that has expired comes in now and then.
append_to_file("$dir/change.sql", <<SQL);
\\set id random(1, $rows)
\\set dice random(1, 40)
BEGIN;
SELECT FROM pg_advisory_xact_lock_shared(1);
SELECT set_config('referral.occurred_at', at::text, true) FROM public.time;
UPDATE referral.referral r SET region = 'x' || :dice, step = c.to_step,
    status_reason = CASE WHEN c.to_step = 'on_hold' THEN 'waiting_for_patient' END
FROM (SELECT CASE WHEN o.step = 'on_hold' THEN 'received' WHEN o.step = 'received' AND :dice <= 12 THEN 'on_hold'
                  WHEN o.step = 'received' AND :dice <= 15 THEN 'validated' ELSE o.step END AS to_step
      FROM referral.referral o WHERE o.org_id = 1 AND o.referral_id = :id FOR UPDATE) c
WHERE r.org_id = 1 AND r.referral_id = :id;
\\if :dice = 40
INSERT INTO referral.referral (patient_id, specialty, expires_on) VALUES (1, 'x', '2026-03-01');
\\endif
COMMIT;
\\sleep 1 ms
SQL

sub start_load
{
	my ($round, $until) = @_;
	my @run;

	local %ENV = $node->_get_env();
	push @run,
	  map { IPC::Run::start([ 'psql', '-Xqt', '-d', 'postgres', '-f', "$dir/tick.sql" ], '>', '/dev/null', '2>', "$dir/tick.$round.$_.err") } 1 .. 4;
	push @run,
	  IPC::Run::start([ 'psql', '-Xqt', '-d', 'postgres', '-v', "until=$until", '-f', "$dir/time.sql" ], '>', '/dev/null', '2>', "$dir/time.$round.err");
	push @run,
	  IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-T', '300', '-f', "$dir/change.sql", 'postgres' ],
		'>', "$dir/pgbench.$round.out", '2>', "$dir/pgbench.$round.err");
	return @run;
}

my $round = 0;
my @until = ('10:30', '11:15', '12:00', '13:00', '14:15', '15:10');
foreach my $until (map { "2026-03-02 $_+00" } @until)
{
	my @run = start_load(++$round, $until);

	# a while before, so that the ticks have something to do
	ok($node->poll_query_until('postgres', "SELECT at >= timestamptz '$until' - interval '20 minutes' FROM public.time"), "round $round: it is nearly $until");
	# one is cancelled, and goes on with the next
	$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL referral.tick%' AND state = 'active' LIMIT 1});
	if ($round == 4)
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

		foreach (1 .. 400)
		{
			$pid = $node->safe_psql('postgres', <<'SQL');
SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL referral.tick%' AND state = 'active' AND backend_xid IS NOT NULL ORDER BY random() LIMIT 1
SQL
			last if $pid;
		}
		is(kill('KILL', $pid || 0), 1, "round $round: a tick is killed while it writes");
		$_->finish foreach @run;
		is_up($node, "round $round: the server recovers");
	}
	$is_none->('postgres', q{SELECT e.entity, c.* FROM referral.entity e, referral.verify_coverage(e.entity) c}, "round $round: each row is what its journal says");
}
# A guard asks the journal as of the statement's beginning: one that had to wait for the row may be refused, and has to try again.
my @errors = grep { /ERROR|FATAL|PANIC/ && !/terminat|server closed|connection|recovery mode|shutting down|starting up|canceling statement due to user request|suspended at another step/ }
  map { split /\n/, slurp_file($_) } glob("$dir/*.err");
is("@errors", '', 'nobody saw another error');

# One last tick, and what it left.
$node->safe_psql('postgres', q{UPDATE public.time SET at = '2026-03-02 23:00+00'; CALL referral.tick('2026-03-02 23:00+00')});
is($node->safe_psql('postgres', 'SELECT last_error IS NULL, failed, finished_at >= started_at FROM referral.heartbeat WHERE job = \'tick\''), 't|0|t', 'the heartbeat is well');

# What must have happened, from the journal of the rows alone: the time that a row spends in step received, added up.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE public.run AS
SELECT entity_id, began, ended, sum(coalesce(ended, '2026-03-02 23:00+00') - began) OVER w - (coalesce(ended, '2026-03-02 23:00+00') - began) AS before,
       sum(coalesce(ended, '2026-03-02 23:00+00') - began) OVER w AS after
FROM (SELECT entity_id, version, to_step AS step, occurred_at AS began, lead(occurred_at) OVER (PARTITION BY entity_id ORDER BY version) AS ended
      FROM referral.journal WHERE org_id = 1 AND entity = 'referral' AND from_step IS DISTINCT FROM to_step) s
WHERE step = 'received' AND began < '2026-03-02 23:00+00'
WINDOW w AS (PARTITION BY entity_id ORDER BY version);
CREATE TABLE public.expected AS
SELECT DISTINCT ON (entity_id, level) entity_id, level, began + (after_hours - before) AS planned_at
FROM public.run, (VALUES (1, interval '2 hours'), (2, '3 hours'), (3, '4 hours'), (4, '6 hours')) l (level, after_hours)
WHERE after >= after_hours
ORDER BY entity_id, level, began;
CREATE TABLE public.overdue AS
SELECT DISTINCT ON (entity_id) entity_id, began + (interval '4 hours' - before) AS breached_at
FROM public.run WHERE after > interval '4 hours' ORDER BY entity_id, began;
SQL
my ($expected, $stopped, $paused, $expired) = split /\|/, $node->safe_psql('postgres', <<'SQL');
SELECT (SELECT count(*) FROM public.expected), (SELECT count(*) FROM referral.sla_clock WHERE stopped_at < '2026-03-02 23:00+00'),
       (SELECT count(*) FROM referral.sla_pause), (SELECT count(*) FROM referral.referral WHERE state = 'expired')
SQL
cmp_ok($expected, '>', 4000, 'thousands of levels were reached');
cmp_ok($stopped, '>', 20, 'clocks were stopped meanwhile');
cmp_ok($paused, '>', 50, 'and paused');
cmp_ok($expired, '>', 5, 'and rows expired');
note("$expected levels, $stopped stopped, $paused pauses, $expired expired, "
	  . $node->safe_psql('postgres', q{SELECT string_agg(format('%s %s', n, outcome), ', ') FROM (SELECT outcome, count(*) AS n FROM referral.escalation GROUP BY 1) o}));

$is_none->('postgres', <<'SQL', 'each level that was reached was recorded, at its time, and no other');
SELECT * FROM public.expected x FULL JOIN referral.escalation e USING (entity_id, level, planned_at)
WHERE x.level IS NULL OR e.clock_id IS NULL LIMIT 5
SQL
$is_none->('postgres', 'SELECT entity_id, level FROM referral.escalation GROUP BY 1, 2 HAVING count(*) > 1', 'none twice');
$is_none->('postgres', <<'SQL', 'the journal has each once, too');
SELECT entity_id FROM referral.journal WHERE entity = 'escalation' GROUP BY 1 HAVING count(*) FILTER (WHERE action = 'insert') <> 1
SQL
$is_none->('postgres', <<'SQL', 'none after the clock was stopped');
SELECT e.* FROM referral.escalation e JOIN referral.sla_clock c USING (org_id, clock_id) WHERE e.planned_at > c.stopped_at LIMIT 5
SQL
$is_none->('postgres', <<'SQL', 'breaches are those that follow from the journal');
SELECT c.entity_id, c.breached_at, o.breached_at, c.stopped_at FROM referral.sla_clock c LEFT JOIN public.overdue o USING (entity_id)
WHERE c.breached_at IS DISTINCT FROM o.breached_at LIMIT 5
SQL
$is_none->('postgres', <<'SQL', 'so are starts, stops, and open time');
SELECT c.entity_id, c.started_at, r.began, c.stopped_at, e.ended FROM referral.sla_clock c
FULL JOIN (SELECT entity_id, min(began) AS began, max(after) AS used FROM public.run GROUP BY 1) r USING (entity_id)
LEFT JOIN referral.referral t ON t.referral_id = c.entity_id
LEFT JOIN LATERAL (SELECT max(occurred_at) AS ended FROM referral.journal j WHERE j.entity = 'referral' AND j.entity_id = c.entity_id AND j.from_step = 'received' AND j.to_step NOT IN ('received', 'on_hold')) e ON true
WHERE (c.started_at, c.stopped_at, c.pause_kind IS NOT NULL) IS DISTINCT FROM (r.began, e.ended, t.step = 'on_hold')
   OR (c.stopped_at IS NULL OR c.stopped_at < '2026-03-02 23:00+00')
      AND c.consumed + coalesce(coalesce(c.stopped_at, '2026-03-02 23:00+00') - c.running_since, '0') IS DISTINCT FROM r.used LIMIT 5
SQL
$is_none->('postgres', "SELECT * FROM referral.escalation WHERE outcome IN ('pending', 'failed') LIMIT 5", 'nothing is left to do, and nothing failed');
$is_none->('postgres', <<'SQL', 'the priority was raised once where a tick was to do that, and nowhere else');
SELECT r.referral_id, r.priority, e.outcome, j.n FROM referral.referral r
LEFT JOIN referral.escalation e ON e.org_id = r.org_id AND e.entity_id = r.referral_id AND e.action = 'raise_priority' AND e.outcome = 'done'
LEFT JOIN LATERAL (SELECT count(*) AS n FROM referral.journal j WHERE j.org_id = r.org_id AND j.entity = 'referral'
                   AND j.entity_id = r.referral_id AND j.action = 'update' AND j.changes ? 'priority') j ON true
WHERE (r.priority, j.n) IS DISTINCT FROM (CASE WHEN e.level IS NULL THEN 0 ELSE 5 END, CASE WHEN e.level IS NULL THEN 0 ELSE 1 END) LIMIT 5
SQL
$is_none->('postgres', <<'SQL', 'what has expired did so once, and nothing else');
SELECT r.referral_id, r.state, r.expires_on FROM referral.referral r
WHERE (SELECT count(*) FROM referral.journal j WHERE j.entity = 'referral' AND j.entity_id = r.referral_id AND j.transition = 'expire')
      <> (r.expires_on IS NOT NULL)::int OR (r.expires_on IS NOT NULL) <> (r.state = 'expired') LIMIT 5
SQL
is($node->safe_psql('postgres', "SELECT count(*) FROM referral.tick_fire('2026-03-02 23:00+00', 500) WHERE clocks > 0"), 0, 'there is nothing left to fire');
is_sound($node, 'postgres', 'in the end');

# ---------- Whenever ticks come ----------

# Changes between 20:00 and the next morning, while the office (08:00 to 17:00 in Chicago) closes at 23:00.
make_database('play', $answer . q{,
    ('desk', 'state = ''received''', 'state NOT IN (''received'', ''on_hold'')', 'state = ''on_hold''', interval '4 hours', 'us_business', false),
    ('whole', 'state IN (''received'', ''on_hold'')', 'state NOT IN (''received'', ''on_hold'')', 'state = ''on_hold''', interval '1 day', 'us_business', true)});
$node->safe_psql('play', <<'SQL');
CREATE TABLE public.plan AS
SELECT id, timestamptz '2026-03-02 20:00+00' + (id * 37 + n * (41 + id % 53) * 60) * interval '1 s' AS at,
       CASE WHEN n = 0 THEN 'insert' WHEN n = 7 AND id % 3 = 0 OR hashint4(id * 8 + n) % 29 = 0 THEN 'validated' WHEN n % 2 = 1 THEN 'on_hold' ELSE 'received' END AS step
FROM generate_series(1, 150) id, generate_series(0, 7) n;
CREATE PROCEDURE public.change(p public.plan) LANGUAGE plpgsql AS $$
DECLARE
    now_at text := (SELECT step FROM referral.referral WHERE referral_id = p.id);
BEGIN
    PERFORM set_config('referral.occurred_at', p.at::text, true);
    IF p.step = 'insert' THEN
        INSERT INTO referral.referral (referral_id, patient_id, specialty) OVERRIDING SYSTEM VALUE VALUES (p.id, 1, 'x');
    ELSIF now_at IN ('received', 'on_hold') AND now_at <> p.step AND (now_at = 'received' OR p.step = 'received') THEN
        UPDATE referral.referral SET step = p.step, status_reason = CASE p.step WHEN 'on_hold' THEN 'waiting_for_patient' END
        WHERE referral_id = p.id;
    END IF;
    COMMIT;
END $$;
CREATE PROCEDURE public.play(every interval) LANGUAGE plpgsql AS $$
DECLARE
    p public.plan;
    tick_at timestamptz := timestamptz '2026-03-02 20:00+00' + every;
BEGIN
    FOR p IN SELECT * FROM public.plan ORDER BY at, id LOOP
        WHILE tick_at < p.at LOOP
            CALL referral.tick(tick_at);
            tick_at := tick_at + every;
        END LOOP;
        CALL public.change(p);
    END LOOP;
END $$;
CREATE VIEW public.outcome AS
SELECT c.entity_id, c.policy, c.cycle, c.started_at, c.stopped_at, c.consumed, c.running_since, c.due_at, c.next_fire_at, c.breached_at,
       (SELECT string_agg(concat(e.level, ' ', e.planned_at), ', ' ORDER BY e.level) FROM referral.escalation e WHERE e.org_id = c.org_id AND e.clock_id = c.clock_id) AS levels
FROM referral.sla_clock c ORDER BY 1, 2, 3;
SQL
my $outcome = sub { return $node->safe_psql(shift, 'SET timezone = UTC; TABLE public.outcome') };
my %result;
foreach my $copy ([ 'minutes', '1 minute' ], [ 'hours', '1 hour' ], [ 'late', '1 week' ], [ 'two', '1 week' ])
{
	my ($database, $every) = @$copy;

	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE play");
	$node->safe_psql($database, "CALL public.play('$every')");
	if ($database eq 'two')
	{
		local %ENV = $node->_get_env();
		my @run = map { IPC::Run::start([ 'psql', '-Xq', '-d', $database, '-c', "CALL referral.tick('2026-03-04 00:00+00')" ], '2>', "$dir/two.$_.err") } 1 .. 3;
		$_->finish foreach @run;
	}
	$node->safe_psql($database, "CALL referral.tick('2026-03-04 00:00+00')");
	$result{$database} = $outcome->($database);
	$is_none->($database, 'SELECT clock_id, level FROM referral.escalation GROUP BY 1, 2 HAVING count(*) > 1', "$database: no level twice");
	note("$database: " . $node->safe_psql($database, <<'SQL'));
SELECT (SELECT count(*) FROM referral.sla_clock WHERE breached_at IS NOT NULL) || ' breached, ' || string_agg(format('%s %s', n, outcome), ', ')
FROM (SELECT outcome, count(*) AS n FROM referral.escalation GROUP BY 1) o
SQL
}
cmp_ok(scalar(split /\n/, $result{minutes}), '==', 450, 'there are three clocks per row');
cmp_ok($node->safe_psql('minutes', "SELECT count(*) FROM referral.escalation WHERE outcome = 'done'"), '>', 100, 'the ticks of each minute found something to do');
cmp_ok($node->safe_psql('minutes', 'SELECT count(*) FROM referral.sla_clock WHERE breached_at IS NOT NULL'), '>', 20, 'targets were exceeded');
cmp_ok($node->safe_psql('late', "SELECT count(*) FROM referral.escalation WHERE outcome = 'overtaken'"), '>', 100, 'the late one found it overtaken');
is($result{hours}, $result{minutes}, 'a tick every hour: the same levels at the same times, the same breaches');
is($result{late}, $result{minutes}, 'a single tick in the end: the same');
is($result{two}, $result{minutes}, 'three at once in the end: the same');

done_testing();
