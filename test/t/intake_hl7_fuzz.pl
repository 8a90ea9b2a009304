# 40,000 mutated HL7 messages through the mapper: each that can be parsed and says its type gives at least one case of a
# known kind, whose values are of the types that the loader expects; only RF014 refuses. The backend lives, and its
# memory stays.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wire;

my $rounds = 40_000;
my $batch = 500;

my $node = PostgreSQL::Test::Cluster->new('fuzz');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf', "log_min_messages = fatal\nlog_min_error_statement = panic\njit = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION referral');

my $wire = Wire->new($node);
$wire->query('SET search_path = referral, public');
my $kinds = join ',', map { "'$_'" } qw(referral referral_cancel referral_status status_request appointment report document authorization patient none);
# a value of these names, wherever it stands, is a date, a time, a number
$wire->prepare('map', <<"SQL", 'bytea');
SELECT coalesce(max(CASE
    WHEN c ->> 'kind' NOT IN ($kinds) OR c -> 'kind' IS NULL THEN 'is of an unknown kind'
    WHEN jsonb_typeof(c -> 'findings') IS DISTINCT FROM 'array' THEN 'has no findings'
    WHEN c \@? 'lax \$.findings[*] ? (!exists(\@.code) || !exists(\@.severity))' THEN 'has an incomplete finding'
    WHEN c \@? 'strict \$.** ? (\@ == null)' THEN 'has a null'
    WHEN c \@? '\$.patient.birth_date ? (!(\@ like_regex "^[0-9]{4}-[0-9]{2}-[0-9]{2}\$"))' THEN 'has a birth date that is none'
    WHEN c \@? '\$.**.starts_at ? (!(\@ like_regex "^[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9:.]+[+]00:00\$"))' THEN 'has a time that is none'
    WHEN c \@? '\$.**.ends_at ? (!(\@ like_regex "^[0-9]{4,}-[0-9]{2}-[0-9]{2}T[0-9:.]+[+]00:00\$"))' THEN 'has a time that is none'
    WHEN c \@? '\$.patient.sex ? (!(\@ like_regex "^(male|female|other|unknown)\$"))' THEN 'has a sex that is none'
    WHEN c \@? '\$.referral.urgency ? (!(\@ like_regex "^(routine|urgent|asap|stat)\$"))' THEN 'has an urgency that is none'
    WHEN c \@? '\$.coverages[*].priority ? (\@ < 1 || \@ > 99)' THEN 'has a priority out of range'
    END), CASE WHEN count(*) = 0 THEN 'has no case' ELSE 'mapped' END)
FROM hl7_decode(\$1) t, hl7_parse(t) j, map_hl7v2(j, 'fuzz') c
SQL

my $root = $ENV{REFERRAL_ROOT} // '.';
my @messages = map { slurp_file($_) } grep { -f } glob("$root/test/data/*.hl7"), glob(($ENV{REFERRAL_SHARED} // '') . '/health/hl7v2/ms/*.hl7');
cmp_ok(scalar @messages, '>', 20, 'there are samples');
my @first = $wire->send_values('map', 1, 0, @messages);
is_deeply([ map { $_->[1] // $_->[0] } @first ], [ map { 'mapped' } @messages ], 'they are mapped');

srand(2027);
my @special = ('|', '|', '^', '^', '~', '&', '\\', '""', ' ', "\r", '9', '0', '-', '+0000', '19761325', '99991231235959.9999+1500', '00010101', '999999999999999', '1e9', '0.5', "\xc3\xa9", "\xe6\x97\xa5",
	"\rPID|1||7^^^A^MR||A^B", "\rORC|NW|7^X", "\rOBR|1|7^X||1^x^L", "\rAUT||||||9", "\rIN1|1|||", "\rPV1|1|O", "\rNTE|1||x", "\rRF1|A", "\rSCH|", "\rTXA|1", "\rPRD|RP~RT|", 'RRI^I14', 'SIU^S15', 'ORM^O01', 'ORU^R01',
	'MDM^T10', 'RPA^I08', 'ADT^A40', ('|' x 30), ('~' x 30));

# changes within the fields of a message, and of its segments
sub mutated
{
	my ($value) = @_;
	for (1 .. 1 + rand(5))
	{
		my $kind = int(rand(6));
		my @segments = split /\r/, $value;
		my $at = int(rand(@segments));
		if ($kind == 0 && @segments > 1) { splice @segments, 1 + rand($#segments), 1; $value = join "\r", @segments; }
		elsif ($kind == 1) { splice @segments, 1 + rand(@segments), 0, $segments[$at]; $value = join "\r", @segments; }
		elsif ($kind == 2) { my $other = $messages[ rand @messages ]; my @other = split /[\r\n]+/, $other; splice @segments, 1 + rand(@segments), 0, $other[ 1 + rand($#other) ]; $value = join "\r", @segments; }
		elsif ($kind == 3) { my $place = 8 + int(rand(length($value) - 7)); substr($value, $place, rand() < 0.5 ? 0 : int(rand(6))) = $special[ rand @special ] if $place <= length $value; }
		elsif ($kind == 4) { my @fields = split /\|/, $segments[$at], -1; $fields[ 1 + rand(@fields) ] = $special[ rand @special ] if $at > 0; $segments[$at] = join '|', map { $_ // '' } @fields; $value = join "\r", @segments; }
		else { my $place = 8 + int(rand(length($value) - 7)); substr($value, $place, int(rand(12))) = '' if $place <= length $value; }
	}
	return $value;
}

my $pid = $wire->query('SELECT pg_backend_pid()');

sub memory
{
	my ($rss) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
	return ($rss, $wire->query('SELECT sum(total_bytes) / 1024 FROM pg_backend_memory_contexts'));
}

my (%became, @wrong, @before);
for (my $sent = 0; $sent < $rounds; $sent += $batch)
{
	my @sent = map { mutated($messages[ rand @messages ]) } 1 .. $batch;
	my @replies = $wire->send_values('map', 1, 0, @sent);
	for my $i (0 .. $#sent)
	{
		my ($got, $code) = @{ $replies[$i] };
		my $outcome = $code // $got // 'nothing';
		$became{$outcome}++;
		push @wrong, "$outcome for " . unpack('H*', $sent[$i]) if $outcome ne 'mapped' && $outcome ne 'RF014';
	}
	@before = memory() if !@before && $sent >= $rounds / 5;
}
my @after = memory();
note join ', ', map { "$_ $became{$_}" } sort keys %became;
note "$before[0] kB of memory before, $after[0] kB after";
is_deeply([ splice @wrong, 0, 3 ], [], 'a message is mapped, or refused with RF014');
cmp_ok($became{mapped}, '>', $rounds / 2, 'many are mapped');
cmp_ok($after[0] - $before[0], '<', 2048, "the backend's memory does not grow (kB)");
cmp_ok($after[1] - $before[1], '<', 64, 'nor does what the server counts');
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'the server is up');
$wire->close;
$node->stop;
done_testing();
