# 100,000 mutated HL7 messages, and 20,000 mutated jsonb to write: each is refused with RF014, or it is a message that is
# written and read back as the same; both forms of hl7_get() agree about it. The backend lives, and its memory stays.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wire;

my $rounds = 100_000;
my $jsonb_rounds = 20_000;
my $batch = 500;

my $node = PostgreSQL::Test::Cluster->new('fuzz');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "log_min_messages = fatal\nlog_min_error_statement = panic\njit = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION referral');

my $wire = Wire->new($node);
$wire->query('SET search_path = referral, public');

# Bytes of any kind become text, so that only the message itself can be refused.
my $paths = join ',', qw(MSH-1 MSH-2 MSH-3 MSH-9.2 MSH-18 PID-3 PID-3.4.2 PID-3(2).1 PID-5.1.1 PID-5 PRD(2)-2.1 OBX-5 IN1-3.4 ZZ1-1(3) ZZ1-2.3.1);
$wire->prepare('message', <<"SQL", 'bytea');
SELECT CASE
    WHEN hl7_parse(hl7_build(j)) <> j THEN 'is written as another'
    WHEN hl7_build(hl7_parse(hl7_build(j))) <> hl7_build(j) THEN 'is written in two ways'
    WHEN length(\$1) % 8 = 0 AND NOT record_image_eq(ROW (j), ROW (j::text::jsonb)) THEN 'is not the jsonb of the server'
    WHEN EXISTS (SELECT FROM unnest('{$paths}'::text[]) path WHERE hl7_get(t, path) IS DISTINCT FROM hl7_get(j, path)) THEN 'has values that differ'
    WHEN hl7_count(j, 'PID') <> (SELECT count(*) FROM hl7_segments(j, 'PID')) THEN 'is counted wrong'
    WHEN (SELECT count(hl7_date(v)) > count(hl7_timestamp(v)) FROM regexp_split_to_table(left(t, 500), '[|^~]') v) THEN 'has a date that is no time'
    ELSE 'same' END
FROM hl7_decode(\$1) t, hl7_parse(t) j
SQL
$wire->prepare('split', <<'SQL', 'bytea');
SELECT (coalesce(string_agg(m, E'\n'), '') ~ '^\s*$') = (regexp_replace(t, '^([\v\x1C\uFEFF]*(FHS|BHS|BTS|FTS)(\M|(?=_))[^\r\n]*|[\v\x1C\uFEFF\s]+)$', '', 'gn') ~ '^\s*$')
FROM hl7_decode($1) t, hl7_split(t) m GROUP BY t
SQL
$wire->prepare('path', 'SELECT hl7_get(hl7_decode($1), $$PID-3.1$$)', 'bytea');
$wire->prepare('jsonb', <<'SQL', 'text');
SELECT CASE
    WHEN hl7_build(hl7_parse(t)) <> t THEN 'is written in two ways'
    WHEN hl7_parse(t) <> hl7_parse(hl7_build(hl7_parse(t))) THEN 'reads back otherwise'
    ELSE 'same' END
FROM hl7_build($1::jsonb) t
SQL

# ---------- messages to begin with ----------

my @messages = (
	"MSH|^~\\&|A|B|C|D|20261102093015.1234-0600||REF^I12^REF_I12|7|P|2.5.1\rPID|1||77^^^L&1.2&ISO^MR~88~^^9||HALL&van^INGRID^M||19580314|\"\"\r",
	"MSH|^~\\&#|A\rZZ1|a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\P\\g|\\H\\x\\N\\\\X41C3A9\\\\X00\\\\XE9\\\\.br\\\\.sp2\\\\Zq\\\\C1234\\\\M123456\\\\q\\|~~x~\rZZ1\r",
	"MSH#\$%!*#a#b\rPID#1##x\$y*z%w\$!F!!E!\rPRD#b\rPRD##c\$d#\r",
	"\x0bMSH|^~\\&|\xc3\xa9|\xe6\x97\xa5\xe6\x9c\xac\rOBX|1|TX|||one\\.br\\two\\X0D0A\\three\\T\\\rPID|||\xf0\x9d\x84\x9e\r\x1c\r",
	"\xef\xbb\xbfFHS|^~\\&\r\nBHS|^~\\&\r\nMSH|^~\\&" . ('|' x 16) . "8859/1|\r\nPID|1||\xe9\r\n\r\nIN1|1||&&&x\r\nBTS|1\r\nFTS|1\r\n",
	"MSH|^~\\&|a\rPID|1\rMSH|^~\\&|b\rPID|2\r",
	"MSH|^~\\&" . ('|a^b&c~d' x 60) . "\rPID|" . ('x^' x 40) . '|' . ('y&' x 40) . '|' . ('z~' x 40) . "\r",
	"MSH|.,;:|a\rZZ1|x.y:z,w|;X2E;;.br;;E;\r");
my $root = $ENV{REFERRAL_ROOT} // '.';
my @own = grep { -f } glob "$root/test/data/*.hl7";
my @published = grep { -f } glob(($ENV{REFERRAL_SHARED} // '') . '/health/hl7v2/ms/*.hl7');
push @messages, map { slurp_file($_) } @own, @published;
cmp_ok(scalar @own, '>', 0, 'there are samples of our own');
note scalar(@published) . ' published messages';

my @first = $wire->send_values('message', 1, 0, @messages);
is_deeply([ map { $_->[1] // $_->[0] } @first ], [ map { /\rMSH/ ? 'RF014' : 'same' } @messages ], 'messages are read, and written the same');

# ---------- mutated ----------

srand(2026);
my @special = ("\0", "\xff", "\x80", "\xc3", "\xf0\x9d", "\xef\xbb\xbf", ' ', "\t", "\r", "\n", "\r\n", "\x0b", "\x1c", '|', '|', '^', '^', '~', '~', '&', '&', '\\', '\\', '\\', '#', '"', '""', '.',
	'\\F\\', '\\E\\', '\\X41\\', '\\X0D\\', '\\X1C\\', '\\X5C\\', '\\X00\\', '\\XC3', '\\.br\\', '\\Z', '\\C1234\\', '\\H\\', "\rMSH|^~\\&|", "\rPID|", "\rPRD", "\rZZ1|", "\rBTS", "\rFHS_", '||||', '^^^', '&&',
	('|' x 120), ('~' x 50), 'MSH');
my @special_json = ('7', 'null', '""', '[]', '{}', '"1": ', '"9999": "x", ', '"2": ["y"], ', '"1": [{"2": {"3": "z"}}], ', '"", ', '"x", ', '["x"], ', '{"1": "", "2": "a"}, ', '{"segment": "ZZ9"}, ', '1e5', 'é',
	'\\u001c', '\\u000d', '\\n', '\\\\', '\\\\Zq\\\\', '\\\\X41\\\\', '\\\\.sp\\\\', '|', '^', '~', '&', '#', '.');

sub mutated
{
	my ($value, $others, $changes, $special) = @_;
	for my $change (1 .. 1 + rand($changes))
	{
		my $at = int(rand(length($value) + 1));
		my $kind = int(rand(8));
		my $n = 1 + int(rand(rand() < 0.5 ? 2 : 40));
		$n = length($value) - $at if $at + $n > length $value;
		if ($kind == 0) { substr($value, $at, 1) = chr(int(rand(256))) if $at < length $value; }
		elsif ($kind == 1) { substr($value, $at, $n) = ''; }
		elsif ($kind == 2) { substr($value, $at, 0) = $special->[ rand @$special ]; }
		elsif ($kind == 3) { substr($value, $at, $n) = $special->[ rand @$special ]; }
		elsif ($kind == 4) { substr($value, $at, 0) = substr($value, rand(length $value), $n); }
		elsif ($kind == 5) { substr($value, $at, 1) = chr((ord(substr($value, $at, 1)) + (rand() < 0.5 ? 1 : 255)) % 256) if $at < length $value; }
		elsif ($kind == 6) { my $other = $others->[ rand @$others ]; substr($value, $at, 0) = substr($other, rand(length $other), $n); }
		else { $value = substr($value, 0, $at) if rand() < 0.3; }
	}
	return $value;
}

# The backend's own memory in kB, in all and as the server counts it.
my $pid = $wire->query('SELECT pg_backend_pid()');

sub memory
{
	my ($rss) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
	return ($rss, $wire->query('SELECT sum(total_bytes) / 1024 FROM pg_backend_memory_contexts'));
}

# Sends mutated values, and says what became of them; the memory is that after a fifth of them, and at the end.
sub fuzz
{
	my ($rounds, $format, $statements, $changes, $special, @from) = @_;
	my (%became, @wrong, @before);
	for (my $sent = 0; $sent < $rounds; $sent += $batch)
	{
		my @sent = map { mutated($from[ rand @from ], \@from, $changes, $special) } 1 .. $batch;
		foreach my $statement (sort keys %$statements)
		{
			my @replies = $wire->send_values($statement, $format, 0, @sent);
			for my $i (0 .. $#sent)
			{
				my ($got, $code) = @{ $replies[$i] };
				my $outcome = $code // (!defined $got ? 'nothing' : $statement eq 'path' ? 'value' : $got);
				$became{$statement}{$outcome}++;
				push @wrong, "$statement: $outcome for " . unpack('H*', $sent[$i]) if !$statements->{$statement}{$outcome};
			}
		}
		@before = memory() if !@before && $sent >= $rounds / 5;
	}
	return (\%became, \@wrong, @before, memory());
}

sub judge
{
	my ($what, $became, $wrong, $rss_before, $before, $rss, $after) = @_;
	is_deeply([ splice @$wrong, 0, 3 ], [], "$what: refused as they should be, or the same");
	cmp_ok($rss - $rss_before, '<', 2048, "$what: the backend's memory does not grow (kB)");
	cmp_ok($after - $before, '<', 64, "$what: nor does what the server counts");
	foreach my $statement (sort keys %$became)
	{
		note "$statement: " . join ', ', map { "$_ $became->{$statement}{$_}" } sort keys %{ $became->{$statement} };
	}
	note "$rss_before kB of memory before, $rss kB after";
}

# hl7_split() gives nothing for blanks and lines of envelopes only.
my @outcome = fuzz($rounds, 1, { message => { same => 1, RF014 => 1 }, split => { t => 1, nothing => 1 }, path => { value => 1, nothing => 1, RF014 => 1 } }, 4, \@special, @messages);
judge('messages', @outcome);
cmp_ok($outcome[0]{message}{same}, '>', $rounds / 4, 'many messages are read');
cmp_ok($outcome[0]{message}{RF014}, '>', $rounds / 10, 'many are refused');

my @documents = map { $_->[0] } grep { defined $_->[0] } do {
	$wire->prepare('parse', 'SELECT hl7_parse(hl7_decode($1))', 'bytea');
	$wire->send_values('parse', 1, 0, @messages[ 0 .. 7 ]);
};
# what is no JSON, or no text, the server refuses itself
@outcome = fuzz($jsonb_rounds, 0, { jsonb => { same => 1, RF014 => 1, '22P02' => 1, '22P05' => 1, '22021' => 1, '22003' => 1, '54000' => 1 } }, 1, \@special_json, @documents);
judge('jsonb', @outcome);
cmp_ok($outcome[0]{jsonb}{same}, '>', $jsonb_rounds / 20, 'many jsonb are written');
cmp_ok($outcome[0]{jsonb}{RF014}, '>', $jsonb_rounds / 50, 'many are refused');

is($node->safe_psql('postgres', 'SELECT 1'), 1, 'the server is up');
$wire->close;

# ---------- another encoding ----------

$node->safe_psql('postgres', "CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
$node->safe_psql('latin1', 'CREATE EXTENSION referral');
is($node->safe_psql('latin1', q(SELECT referral.hl7_parse(E'MSH|^~\\\\&|\\\\XE9\\\\' || chr(233)) #>> '{segments,0,3,0}' = chr(233) || chr(233))), 't', 'LATIN1: bytes are of the database');
is($node->safe_psql('latin1', q(SELECT referral.hl7_decode('\x4d53487c5e7e5c267cc3a9') = 'MSH|^~\&|' || chr(233))), 't', 'LATIN1: UTF-8 is converted');
my (undef, undef, $error) = $node->psql('latin1', q(\set VERBOSITY sqlstate
SELECT referral.hl7_decode('\xfeff65e5')), on_error_stop => 0);
is($error, '', 'LATIN1: what it lacks is read as single bytes');
$node->stop;

done_testing();
