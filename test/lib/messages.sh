#!/usr/bin/env bash
# Prints files as rows for COPY: set, path, number of the line (0: the whole file), and the content in base 64.
# messages.sh set whole|lines file...
set -euo pipefail
set=$1 how=$2
shift 2
for f in "$@"; do
	[ -r "$f" ] || continue
	perl -MMIME::Base64 -e '
		my ($set, $how, $file, $name) = @ARGV;
		open my $in, "<:raw", $file or die "$file: $!";
		local $/ = $how eq "lines" ? "\n" : undef;
		while (my $part = <$in>) {
			chomp $part if $how eq "lines";
			print join("\t", $set, $name, $how eq "lines" ? $. : 0, encode_base64($part, "")), "\n";
		}' "$set" "$how" "$f" "${f#"${REFERRAL_SHARED:-}"/}"
done
