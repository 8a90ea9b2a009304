# What happens to the files below the server: a row that is altered there, and a data directory from an older copy.
use strict;
use warnings;
use JournalCheck;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = journal_node('journal_tamper', 'autovacuum = off');
my $run = sub { $node->safe_psql('postgres', shift) };
$run->('CREATE EXTENSION referral; SELECT referral.deploy()');
$run->(<<'SQL');
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Second');
INSERT INTO referral.referral (org_id, referral_id) SELECT 1 + g % 2, g FROM generate_series(1, 700) g;
SQL
$run->("SET referral.reason = 'reason-$_'; UPDATE referral.referral SET region = 'x' WHERE referral_id = $_") foreach 10, 20, 21, 30;
seal_all($node, 'postgres', 'before');
is_sound($node, 'postgres', 'before');
my $head = head_of($node, 'postgres');
my $file = $node->data_dir . '/' . $run->(q{SELECT pg_relation_filepath(tableoid) FROM referral.journal WHERE reason = 'reason-20'});
my ($id10, $id20, $id21, $id30) = map { $run->("SELECT journal_id FROM referral.journal WHERE reason = 'reason-$_'") } 10, 20, 21, 30;

# 1. One byte of a file
sub replace_in_file
{
	my ($old, $new) = @_;

	$node->stop;
	my $bytes = slurp_file($file);
	my $at = index($bytes, $old);
	cmp_ok($at, '>', 0, 'what is to be altered is in the file');
	is(index($bytes, $old, $at + 1), -1, 'once');
	open(my $fh, '+<:raw', $file) or die "$file: $!";
	seek($fh, $at, 0);
	print $fh $new;
	close($fh);
	$node->start;
}
my $verify = sub { $run->('SELECT ok, first_bad_journal_id, detail FROM referral.verify_journal(' . shift . ')') };

# organisations: even ids are of 1, odd ones of 2
replace_in_file('reason-20', 'reason-2O');
like($verify->(1), qr/^f\|$id20\|journal row $id20 was altered/, 'verify_journal() names the row');
like($verify->("1, $head"), qr/^f\|$id20\|/, 'also with a known head');
like($verify->(2), qr/^t\|/, 'the other organisation is not concerned');
like($verify->(0), qr/^t\|/, 'nor is the installation');
is(state_of($node, 'postgres', "SELECT referral.inclusion_proof(1, $id20)"), 'RF021', 'there is no proof for that row');
is(state_of($node, 'postgres', "SELECT referral.inclusion_proof(1, $id30)"), '', 'there is for others');
is($run->(q{SELECT count(*) FROM referral.journal WHERE reason = 'reason-2O'}), 1, 'the server itself notices nothing');
replace_in_file('reason-2O', 'reason-20');
like($verify->(1), qr/^t\|/, 'put back, it is good again');
replace_in_file('reason-21', 'reason-12');
like($verify->(2), qr/^f\|$id21\|/, 'the same in the other organisation');
replace_in_file('reason-12', 'reason-21');

# the kept hash of a leaf
my $journal_file = $file;
my @hashes = split /\n/, $run->(q{SELECT substr(p.leaf_hash::text, 3) FROM referral.journal j, referral.inclusion_proof(1, j.journal_id) p
    WHERE j.org_id = 1 AND j.entity = 'referral' AND p.leaf_index < 256 ORDER BY 1});
$run->('CHECKPOINT');
$file = $node->data_dir . '/' . $run->(q{SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'referral.seal_tile'::regclass});
my $tiles = slurp_file($file);
my ($hash) = grep { index($tiles, $_) >= 0 } map { pack('H*', $_) } @hashes;	# one that is not on two pages
my $altered = substr($hash, 0, 31) . chr(255 - ord(substr($hash, 31)));
replace_in_file($hash, $altered);
like($verify->(1), qr/^f\|\|the kept hash of leaf \d+/, 'a kept hash that was altered is not taken for an altered row');
replace_in_file($altered, $hash);
$file = $journal_file;
is_sound($node, 'postgres', 'all put back');

# 2. An older copy of the data directory takes the place of the newer one
$node->stop;
my $copy = PostgreSQL::Test::Utils::tempdir() . '/copy';
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $copy);
$node->start;
$run->(q{UPDATE referral.referral SET region = 'later' WHERE referral_id < 100});
seal_all($node, 'postgres', 'later');
my $later = head_of($node, 'postgres');
$node->stop;
PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $node->data_dir);
PostgreSQL::Test::RecursiveCopy::copypath($copy, $node->data_dir);
chmod(0700, $node->data_dir);
$node->start;
is_sound($node, 'postgres', 'the older copy by itself');
is_known($node, 'postgres', $head, 'the older copy');
like($verify->("1, $later"), qr/^f\|\|the tree has \d+ leaves, but had \d+/, 'a head that was kept elsewhere convicts it');
my ($size) = $later =~ /^(\d+)/;
$run->(q{UPDATE referral.referral SET region = 'anew' WHERE referral_id < 200});
seal_all($node, 'postgres', 'anew');
cmp_ok($run->('SELECT max(tree_size) FROM referral.seal WHERE org_id = 1'), '>', $size, 'it has grown beyond that size');
is_sound($node, 'postgres', 'the older copy, gone on with');
like($verify->("1, $later"), qr/^f\|\|the tree of the first $size rows does not have the root/, 'and is still convicted');
like($verify->("1, $head"), qr/^t\|/, 'by that head only');

done_testing();
