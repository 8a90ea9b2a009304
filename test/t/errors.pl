# Every SQLSTATE of class RF that the code can raise is in docs/errors.md, once, and every one there can be raised or is
# reserved for a part that is still to come.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = $ENV{REFERRAL_ROOT};
my (%raised, %named, %documented);

foreach my $file (glob("$root/src/*.c $root/src/*.h"))
{
	my $text = slurp_file($file);

	# #define ERRCODE_RF_X MAKE_SQLSTATE('R','F','0','0','1')
	while ($text =~ /#define\s+(\w+)\s+MAKE_SQLSTATE\('(.)',\s*'(.)',\s*'(.)',\s*'(.)',\s*'(.)'\)/g)
	{
		$named{$1} = "$2$3$4$5$6";
	}
}
foreach my $file (glob("$root/src/*.c"))
{
	my $text = slurp_file($file);

	$text =~ s{/\*.*?\*/}{}gs;
	$raised{ $named{$_} } = $file foreach grep { $text =~ /\b$_\b/ } keys %named;
	$raised{$1} = $file while $text =~ /"(RF\d{3})"/g;
}
foreach my $file (glob("$root/sql/*.sql $root/sql/*/*.sql"))
{
	my $text = slurp_file($file);

	$text =~ s/^\s*--.*//gm;
	$raised{$1} = $file while $text =~ /'(RF\d{3})'/g;
}
foreach my $line (split /\n/, slurp_file("$root/docs/errors.md"))
{
	next if $line !~ /^\|\s*`?(RF\d{3})`?\s*\|/;
	ok(!$documented{$1}++, "$1 is documented once");
}

cmp_ok(scalar(keys %named), '>=', 10, 'errors.h names codes');
cmp_ok(scalar(keys %raised), '>=', 10, 'codes are raised');
is_deeply([ grep { !/^RF\d{3}$/ } values %named ], [], 'all are of class RF');

my %number;
push @{ $number{ $named{$_} } }, $_ foreach sort keys %named;
is_deeply([ grep { @{ $number{$_} } > 1 } sort keys %number ], [], 'no two names share a code');
ok($documented{$_}, "$_ (" . ($raised{$_} =~ s/^\Q$root\E\///r) . ') is in docs/errors.md') foreach sort keys %raised;
ok($documented{$_}, "$_ of errors.h is in docs/errors.md") foreach grep { !$raised{$_} } sort values %named;

# The codes that the design gives away; later ones are free.
my @design = map { sprintf 'RF%03d', $_ } 1 .. 15;
ok($documented{$_}, "$_ of the design is in docs/errors.md") foreach grep { !$raised{$_} } @design;
foreach my $code (sort keys %documented)
{
	ok($raised{$code} || grep({ $_ eq $code } @design), "$code in docs/errors.md can be raised or belongs to the design");
}

done_testing();
