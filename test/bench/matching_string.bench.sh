#!/usr/bin/env bash
# What it costs to compare two strings, net of reading them. How it is measured: lib.sh.
# Section 1: jaro_winkler on surnames, against pg_similarity. Section 2: the other measures, against fuzzystrmatch, and
# strings that are longer or not ASCII.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

# The variants take turns, in another order in each round; two rounds warm up. A statement is about all pairs of a table.
take_turns() { # SECTION ROUNDS ROWS VARIANT...
	local section=$1 rounds=$2 rows=$3 round turn variant
	shift 3
	for ((round = -2; round < rounds; round++)); do
		for ((turn = 0; turn < $#; turn++)); do
			variant=${*:$(((turn + round + 2) % $# + 1)):1}
			echo "SELECT bench.cpu() AS cpu \\gset"
			echo "${statement[$variant]} \\g /dev/null"
			echo "SELECT bench.stop('$section', $round, '$variant', $rows, :cpu) \\g /dev/null"
		done
	done | { echo "SET max_parallel_workers_per_gather = 0;"; cat; } | sql
}

# Million pairs per CPU second: of VARIANT, net of BASE.
speed() { # SECTION WHAT VARIANT BASE TARGET
	sql -At -v section="$1" -v what="$2" -v variant="$3" -v base="$4" -v target="$5" <<-'SQL'
	SELECT format('%s %s M pairs per CPU s (with the scan %s), target >= %s: %s', rpad(:'what', 48), round(net, 1), round(gross, 1),
	              :'target', CASE WHEN round(net, 1) >= :target THEN 'PASS' ELSE 'MISS' END)
	FROM (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY 1000 / (a.ns / a.n - b.ns / b.n)))::numeric AS net,
	             (percentile_cont(0.5) WITHIN GROUP (ORDER BY 1000 / (a.ns / a.n)))::numeric AS gross
	      FROM bench.result a JOIN bench.result b USING (section, round)
	      WHERE section = :'section' AND a.variant = :'variant' AND b.variant = :'base') r;
	SQL
}

available() { # EXTENSION
	[ "$(sql -At -c "SELECT count(*) FROM pg_available_extensions WHERE name = '$1'")" = 1 ] &&
		sql -c "CREATE EXTENSION IF NOT EXISTS $1 SCHEMA bench"
}

ask() { echo "SELECT count($1) FROM bench.pair p"; }
ask_some() { echo "SELECT count($1) FROM bench.some_pair p"; }

statement[scan]=$(ask "p.b")
statement[jaro_winkler]=$(ask "referral.jaro_winkler(p.a, p.b)")
statement[similarity]=$(ask "bench.jarowinkler(p.a, p.b)")

statement[some]=$(ask_some "p.b")
statement[alignment]=$(ask_some "referral.damerau_levenshtein(p.a, p.b)")
statement[alignment_2]=$(ask_some "referral.damerau_levenshtein(p.a, p.b, 2)")
statement[levenshtein]=$(ask_some "bench.levenshtein(p.a, p.b)")
statement[metaphone]=$(ask_some "referral.double_metaphone_keys(p.a)")
statement[dmetaphone]=$(ask_some "bench.dmetaphone(p.a) || bench.dmetaphone_alt(p.a)")
statement[accented_scan]=$(ask_some "p.accented_b")
statement[accented]=$(ask_some "referral.jaro_winkler(p.accented_a, p.accented_b)")
statement[long_scan]=$(ask_some "p.long_b")
statement[long]=$(ask_some "referral.jaro_winkler(p.long_a, p.long_b)")

sql -o /dev/null -f matching_string.sql

if wanted 1; then
	echo "-- 1. jaro_winkler of surnames of 4 to 11 letters"
	variants=(scan jaro_winkler)
	if available pg_similarity; then variants+=(similarity); else echo "pg_similarity is not installed: not compared"; fi
	take_turns 1 "$(rounds 20)" 1000000 "${variants[@]}"
	report 1 jaro_winkler
	speed 1 "jaro_winkler" jaro_winkler scan 10
	[ ${#variants[@]} = 2 ] || ratio 1 "jarowinkler of pg_similarity / jaro_winkler" similarity-scan jaro_winkler-scan '>=' 3
fi
if wanted 2; then
	echo "-- 2. The other measures of surnames; jaro_winkler of accented and of longer strings"
	variants=(some alignment alignment_2 metaphone accented_scan accented long_scan long)
	if available fuzzystrmatch; then variants+=(levenshtein dmetaphone); else echo "fuzzystrmatch is not installed: not compared"; fi
	take_turns 2 "$(rounds 20)" 200000 "${variants[@]}"
	report 2 alignment
	speed 2 "damerau_levenshtein" alignment some 8
	speed 2 "double_metaphone_keys" metaphone some 2
	speed 2 "jaro_winkler, 8 bytes or more, not ASCII" accented accented_scan 2
	speed 2 "jaro_winkler, 20 to 35 letters" long long_scan 4
	if [ ${#variants[@]} = 10 ]; then
		ratio 2 "levenshtein of fuzzystrmatch / alignment" levenshtein-some alignment-some '>=' 3
		ratio 2 "both dmetaphones / double_metaphone_keys" dmetaphone-some metaphone-some '>=' 1
	fi
fi
