# What the tests of the journal ask again and again: is each change recorded, sealed and delivered as it should be?
package JournalCheck;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(journal_node is_up errors_of state_of is_sound seal_all head_of is_known take_events ack_events take_all is_delivered);

# A cluster that is started, with these settings.
sub journal_node
{
	my ($name, $settings, @init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ], @init);
	$node->append_conf('postgresql.conf', $settings // '');
	$node->start;
	return $node;
}

# Waits for a server that recovers. Not with poll_query_until(), which dies when psql is turned away before it has read.
sub is_up
{
	my ($node, $name) = @_;
	my $is_ready = 0;

	local %ENV = $node->_get_env();
	foreach (1 .. 1800)
	{
		last if $is_ready = IPC::Run::run([ 'pg_isready', '-q', '-d', 'postgres' ]);
		select(undef, undef, undef, 0.1);
	}
	ok($is_ready, $name);
}

# Runs a client program and returns what it wrote to stderr; nothing is what we want.
sub errors_of
{
	my ($node, @command) = @_;
	my ($out, $err);

	local %ENV = $node->_get_env();
	my $status = IPC::Run::run(\@command, '>', \$out, '2>', \$err);
	return ($status ? '' : "exit status not 0\n") . $err;
}

# SQLSTATE of a statement; '' when it succeeds.
sub state_of
{
	my ($node, $database, $sql) = @_;
	my ($stdout, $stderr);

	$node->psql($database, $sql, stdout => \$stdout, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr;
}

# Rows, journal and seals agree. Six assertions.
sub is_sound
{
	my ($node, $database, $name) = @_;
	my $is_none = sub { is($node->safe_psql($database, shift), '', "$name: " . shift) };

	$is_none->(q{SELECT o.org_id, v.detail FROM (SELECT DISTINCT org_id FROM referral.journal) o, referral.verify_journal(o.org_id) v
	             WHERE v.ok IS NOT TRUE}, 'the journal of each organisation verifies');
	$is_none->(q{SELECT e.entity, c.* FROM referral.entity e, referral.verify_coverage(e.entity) c}, 'each row is what its journal says');
	$is_none->(q{SELECT entity, entity_id, version, n FROM (
	                SELECT entity, entity_id, version,
	                       row_number() OVER (PARTITION BY org_id, entity, entity_id ORDER BY journal_id) AS n
	                FROM referral.journal WHERE entity IN ('referral', 'document', 'patient')) j WHERE version <> n},
		'the versions in the journal are 1 to n, in order of journal_id');
	$is_none->(q{SELECT r.referral_id, r.version, count(j.journal_id) FROM referral.referral r
	             LEFT JOIN referral.journal j ON j.org_id = r.org_id AND j.entity = 'referral' AND j.entity_id = r.referral_id
	             GROUP BY r.org_id, r.referral_id, r.version HAVING count(j.journal_id) <> r.version},
		'each change has one journal row');
	$is_none->('SELECT org_id, journal_id FROM referral.journal GROUP BY 1, 2 HAVING count(*) > 1', 'no number was given out twice');
	$is_none->(q{SELECT org_id, seal_id FROM (SELECT org_id, seal_id, row_number() OVER w AS n, tree_size, lag(tree_size) OVER w AS former
	                                         FROM referral.seal WINDOW w AS (PARTITION BY org_id ORDER BY seal_id)) s
	             WHERE seal_id <> n OR tree_size <= former},
		'the seals are numbered 1 to n, and grow');
}

# Seals; nothing but the seals' own rows is left. One assertion.
sub seal_all
{
	my ($node, $database, $name) = @_;

	$node->safe_psql($database, 'SELECT referral.seal()');
	is($node->safe_psql($database, <<'SQL'), '', "$name: seal() takes all that there is");
SELECT j.org_id, j.journal_id, j.entity FROM referral.journal j
LEFT JOIN LATERAL (SELECT s.* FROM referral.seal s WHERE s.org_id = j.org_id ORDER BY s.seal_id DESC LIMIT 1) s ON true
WHERE j.entity <> 'seal' AND (s.seal_id IS NULL OR (j.xid_epoch, j.xid, j.journal_id) > (s.xid_epoch, s.xid, s.journal_id))
SQL
}

# Size and root of the tree of organisation 1, as SQL arguments, to be kept elsewhere.
sub head_of
{
	my ($node, $database) = @_;

	return $node->safe_psql($database,
		q{SELECT tree_size || ', ' || quote_literal(root_hash) FROM referral.seal WHERE org_id = 1 ORDER BY seal_id DESC LIMIT 1});
}

# The tree of organisation 1 begins with one that is known. Two assertions.
sub is_known
{
	my ($node, $database, $head, $name) = @_;
	my ($size) = $head =~ /^(\d+)/;

	is($node->safe_psql($database, "SELECT detail FROM referral.verify_journal(1, $head) WHERE ok IS NOT TRUE"), '', "$name: it verifies against a known head");
	is($node->safe_psql($database, <<"SQL"), 't', "$name: and is consistent with it");
SELECT referral.verify_consistency(old.size, s.tree_size, old.root, s.root_hash, referral.consistency_proof(1, old.size, s.tree_size))
FROM (VALUES ($head)) AS v (size, root), LATERAL (SELECT v.size::bigint, v.root::bytea) AS old (size, root),
     (SELECT * FROM referral.seal WHERE org_id = 1 ORDER BY seal_id DESC LIMIT 1) s
SQL
}

# ---------- Consumers ----------

# Next events, as [journal_id, subject, version, position, attempt].
sub take_events
{
	my ($node, $database, $consumer, $max, $lease) = @_;

	$lease //= '5 minutes';
	return map { [ split /\|/ ] } split /\n/, $node->safe_psql($database, <<"SQL");
SET referral.org_id = '1';
SELECT referral.event_journal_id(e.id), e.subject, e.data ->> 'version', e.position, e.attempt
FROM referral.events('$consumer', $max, '$lease') e
SQL
}

# Acknowledges events up to and including this one; returns how many that were.
sub ack_events
{
	my ($node, $database, $consumer, $event) = @_;

	return $node->safe_psql($database, "SET referral.org_id = '1'; SELECT referral.ack('$consumer', '$event->[3]')");
}

# Takes and acknowledges all there is; returns the events.
sub take_all
{
	my ($node, $database, $consumer) = @_;
	my @all;

	while (my @batch = take_events($node, $database, $consumer, 1000))
	{
		ack_events($node, $database, $consumer, $batch[-1]);
		push @all, @batch;
	}
	return @all;
}

# These events are all there are of organisation 1 after a journal_id, each once, and in order per row. Three assertions.
sub is_delivered
{
	my ($node, $database, $after, $name, @events) = @_;
	my (%count, %last, @disorder);

	foreach my $event (@events)
	{
		$count{ $event->[0] }++;
		push @disorder, $event->[1] if ($last{ $event->[1] } // 0) >= $event->[0];
		$last{ $event->[1] } = $event->[0];
	}
	is(join(' ', grep { $count{$_} > 1 } sort keys %count), '', "$name: no event twice");
	is(join(' ', sort { $a <=> $b } keys %count),
		$node->safe_psql($database, "SELECT string_agg(journal_id::text, ' ' ORDER BY journal_id) FROM referral.journal WHERE org_id = 1 AND journal_id > $after"),
		"$name: every event was delivered");
	is("@disorder", '', "$name: in order");
}

1;
