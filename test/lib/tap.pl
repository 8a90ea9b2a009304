#!/usr/bin/perl
# tap.pl COUNTS JOBS COMMAND FILE... runs COMMAND FILE for each file, JOBS at a time, and reads their output as TAP.
# Prints a line per file and, in the end, comments "note: …" and what the failed ones said; writes "passed failed skipped", counted in
# assertions, to the file COUNTS. What breaks a file as a whole (a wrong plan, a non-zero exit) counts as one failure.
use strict;
use warnings;
use File::Basename;
use TAP::Harness;

my ($counts, $jobs, $command, @files) = @ARGV;
my %output;

my $harness = TAP::Harness->new(
	{ jobs => $jobs, merge => 1, verbosity => 0, exec => [ split ' ', $command ] });
$harness->callback(
	made_parser => sub {
		my ($parser, $job) = @_;
		my $lines = $output{ $job->[0] } = [];
		$parser->callback(ALL => sub { push @$lines, $_[0]->raw });
	});
my $aggregator = $harness->runtests(@files);

my ($passed, $failed, $skipped) = (0, 0, 0);
for my $file ($aggregator->descriptions)
{
	my ($parser) = $aggregator->parsers($file);
	my $skips = () = $parser->skipped;
	my $good = () = $parser->passed;
	my $bad = () = $parser->failed;

	$bad ||= 1 if $parser->has_problems;
	$skips ||= 1 if $parser->skip_all;
	$passed += $good - ($parser->skip_all ? 0 : $skips);
	$failed += $bad;
	$skipped += $skips;
	print map { /^# note: (.*)/ ? "$file: $1\n" : () } @{ $output{$file} };
	if ($bad)
	{
		print "---- $file\n";
		print "$_\n" for grep { !/^ok / } @{ $output{$file} };

		# PostgreSQL::Test::Utils sends what a script dies of to a log.
		my $log = ($ENV{TESTLOGDIR} // '') . '/regress_log_' . basename($file, '.pl');
		if (open(my $in, '<', $log))
		{
			my @lines = <$in>;
			print "---- end of $log\n", @lines > 25 ? @lines[ -25 .. -1 ] : @lines;
		}
	}
}

open(my $out, '>', $counts) or die "could not write $counts: $!";
print $out "$passed $failed $skipped\n";
close($out) or die "could not write $counts: $!";
