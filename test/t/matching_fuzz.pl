# 100,000 broken texts and binary values of type demographics, sent to one backend: each is refused, or it is a value
# that reads back as it was written; the backend lives, and its memory does not grow.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Wire;

my $rounds = 50_000;    # of each kind
my $batch = 500;

my $node = PostgreSQL::Test::Cluster->new('fuzz');
$node->init;
$node->append_conf('postgresql.conf', "log_min_messages = fatal\nlog_min_error_statement = panic\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION referral');

my $wire = Wire->new($node);
$wire->prepare('same', 'SELECT $1', 'referral.demographics');

sub query { return $wire->query(@_); }

# Sends values in text (0) or binary (1) format, and gets what the server makes of them.
sub send_values
{
	my ($format, @values) = @_;
	return $wire->send_values('same', $format, $format, @values);
}

# ---------- values to begin with ----------

my @texts = (
	'{}',
	'{"family":"smith","given":"john"}',
	'{"family":["de la cruz","garcia marquez"],"given":"mary-ann","middle":["k","lee"],"suffix":"jr","alias":["annie","mary lou"],'
	  . '"previous_family":["jones","o brien smith"],"mother_maiden_name":"miller","birth_date":"1976-05-13","sex":"female","multiple_birth":true,'
	  . '"birth_order":2,"phone":["2079460958","5551234567"],"email":"a@b.c","street_number":["12b","po 7"],"street":"n main st","unit":"4",'
	  . '"city":"st louis","state":"mo","postal_code":"63101","identifiers":["12345","mrn|0077","ssn|123456789"]}',
	'{"family":"иванова петрова","given":"김","middle":"철수","birth_date":"1976","street":"山田 太郎","identifiers":["がx|77"]}',
	'{"family":"' . 'x' x 120 . '","given":"' . join('-', ('é') x 60) . '","email":"' . 'y@' x 60 . '","identifiers":["' . 'z' x 40 . '|' . '9' x 79 . '"]}',
	'{"family":[' . join(',', map { "\"a b$_\"" } 1 .. 12) . '],"phone":[' . join(',', map { '"' . (55500 + $_) . '"' } 1 .. 12) . ']}');

my @values;
foreach my $reply (send_values(0, @texts))
{
	is($reply->[1], undef, 'a text is read');
	push @values, $reply->[0];
}
is_deeply([ map { $_->[0] } send_values(0, @values) ], \@values, 'what is written reads back');
# text in, binary out
my @binary = map { pack('H*', query("SELECT encode(referral.demographics_send('$_'), 'hex')")) } @values;
is_deeply([ map { $_->[0] } send_values(1, @binary) ], \@binary, 'in binary form, too');

# ---------- broken ones ----------

srand(2026);
my @special = ("\0", "\xff", "\x80", "\xc3", "\xf0\x9d", ' ', '-', '|', '"', '\\', '{', '}', '[', ']', ',', ':', 'A', 'e', '9', "\xcc\x81", 'jr', 'null', '1e999999',
	'\\u0000', '\\ud800', '"x":', chr(19), chr(13));

sub broken
{
	my ($value) = @_;
	for my $change (0 .. rand(3))
	{
		my $at = int(rand(length($value) + 1));
		my $kind = int(rand(7));
		my $n = 1 + int(rand(rand() < 0.5 ? 2 : 40));
		$n = length($value) - $at if $at + $n > length $value;
		if ($kind == 0) { substr($value, $at, 1) = chr(int(rand(256))) if $at < length $value; }
		elsif ($kind == 1) { substr($value, $at, $n) = ''; }
		elsif ($kind == 2) { substr($value, $at, 0) = $special[ rand @special ]; }
		elsif ($kind == 3) { substr($value, $at, $n) = $special[ rand @special ]; }
		elsif ($kind == 4) { substr($value, $at, 0) = substr($value, rand(length $value), $n); }
		elsif ($kind == 5) { substr($value, $at, 1) = chr((ord(substr($value, $at, 1)) + (rand() < 0.5 ? 1 : 255)) % 256) if $at < length $value; }
		else { $value = substr($value, 0, $at); }
	}
	return $value;
}

my $memory = 'SELECT sum(total_bytes) FROM pg_backend_memory_contexts';
my %allowed = (
	0 => { map { $_ => 1 } qw(RF020 22021 22003) },
	1 => { map { $_ => 1 } qw(RF020 08P01 22P03) });
foreach my $format (0, 1)
{
	my $form = $format ? 'binary values' : 'texts';
	my @from = $format ? @binary : @values;
	my (%refused, @wrong, $before);
	my $read = 0;
	for (my $sent = 0; $sent < $rounds; $sent += $batch)
	{
		my @sent = map { broken($from[ rand @from ]) } 1 .. $batch;
		my @replies = send_values($format, @sent);
		my @kept;
		for my $i (0 .. $#sent)
		{
			my ($got, $code) = @{ $replies[$i] };
			if (defined $code)
			{
				$refused{$code}++;
				push @wrong, "$code for " . unpack('H*', $sent[$i]) if !$allowed{$format}{$code};
			}
			else
			{
				push @kept, $got;
				push @wrong, 'changed ' . unpack('H*', $sent[$i]) if $format && $got ne $sent[$i];
			}
		}
		$read += @kept;
		my @again = send_values($format, @kept);
		for my $i (0 .. $#kept)
		{
			push @wrong, "$kept[$i] reads back otherwise" if ($again[$i][0] // '') ne $kept[$i];
		}
		$before //= query($memory);
	}
	is_deeply([ splice @wrong, 0, 5 ], [], "$rounds broken $form are refused as they should be, or are values");
	cmp_ok($read, '>', $rounds / 100, "some of the $form are values");
	cmp_ok($refused{RF020}, '>', $rounds / 10, "many of the $form are refused");
	cmp_ok(query($memory) - $before, '<', 262144, "no memory is lost over $form");
	note "$form: $read read, " . join ', ', map { "$_: $refused{$_}" } sort keys %refused;
}
is($node->safe_psql('postgres', 'SELECT 1'), 1, 'the server is up');
$wire->close;

# ---------- another encoding ----------

$node->safe_psql('postgres', "CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
$node->safe_psql('latin1', 'CREATE EXTENSION referral');
is($node->safe_psql('latin1', "SELECT referral.demographics('O''Brien', 'Ann Marie', '1976-05-13', address => '1 Elm Street')"),
	'{"family":"obrien","given":"ann","middle":"marie","birth_date":"1976-05-13","street_number":"1","street":"elm st"}', 'LATIN1: ASCII works');
foreach my $sql ("referral.demographics(chr(233))", "referral.demographics(identifiers => ARRAY[chr(233) || '|1'])",
	"jsonb_build_object('given', 'a' || chr(233))::referral.demographics", "('{\"email\": \"' || chr(233) || '\"}')::referral.demographics")
{
	my (undef, undef, $error) = $node->psql('latin1', "\\set VERBOSITY sqlstate\nSELECT $sql", on_error_stop => 0);
	like($error, qr/RF012/, "LATIN1: refused beyond ASCII: $sql");
}
$node->stop;

done_testing();
