#!/usr/bin/env bash
# What the questions of a calendar cost, against the same answers from SQL and PL/pgSQL. How it is measured: lib.sh.
# Section 1: due times and open time over a day and over ten years. Section 2: many calendars in turn. Section 3: rivals.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

# The variants take turns, in another order in each round; two rounds warm up. A statement asks about the first :n rows.
take_turns() { # SECTION ROUNDS VARIANT...
	local section=$1 rounds=$2 round turn variant
	shift 2
	for ((round = -2; round < rounds; round++)); do
		for ((turn = 0; turn < $#; turn++)); do
			variant=${*:$(((turn + round + 2) % $# + 1)):1}
			echo "\\set n ${size[$variant]:-20000}"
			echo "SELECT bench.cpu() AS cpu \\gset"
			echo "${statement[$variant]} \\g /dev/null"
			echo "SELECT bench.stop('$section', $round, '$variant', :n, :cpu) \\g /dev/null"
		done
	done | { echo "SELECT calendar FROM bench.calendar WHERE id = 1 \\gset"; cat; } | sql
}

# The cost of a call: what a variant costs more than the same statement without it.
cost() { # SECTION WHAT VARIANT BASE TARGET
	sql -At -v section="$1" -v what="$2" -v variant="$3" -v base="$4" -v target="$5" <<-'SQL'
	SELECT format('%s %s CPU us (with the empty loop %s), target <= %s: %s', rpad(:'what', 48), round(us, 2), round(gross, 2),
	              :'target', CASE WHEN round(us, 2) <= :target THEN 'PASS' ELSE 'MISS' END)
	FROM (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY (a.ns / a.n - b.ns / b.n) / 1000))::numeric AS us,
	             (percentile_cont(0.5) WITHIN GROUP (ORDER BY a.ns / a.n / 1000))::numeric AS gross
	      FROM bench.result a JOIN bench.result b USING (section, round)
	      WHERE section = :'section' AND a.variant = :'variant' AND b.variant = :'base') r;
	SQL
}

declare -A size
ask() { echo "SELECT count($1) FROM bench.ask a WHERE a.id <= :n"; }
ask_calendar() { # FUNCTION CALENDAR ARGUMENTS
	echo "SELECT count(referral.$1(c.calendar, $3)) FROM bench.ask a JOIN bench.calendar c ON c.id = a.$2 WHERE a.id <= :n"
}

# The calendar is a constant. 8 hours are a business day, 20,000 hours ten years.
statement[empty]=$(ask "a.start")
statement[due_1_day]=$(ask "referral.due_at(:'calendar', a.start, '8 hours')")
statement[due_1_year]=$(ask "referral.due_at(:'calendar', a.start, '2000 hours')")
statement[due_10_years]=$(ask "referral.due_at(:'calendar', a.start, '20000 hours')")
statement[due_5_days]=$(ask "referral.due_at(:'calendar', a.start, '5 days')")
statement[elapsed_1_day]=$(ask "referral.business_elapsed(:'calendar', a.start, a.start + '24 hours'::interval)")
statement[elapsed_10_years]=$(ask "referral.business_elapsed(:'calendar', a.start, a.start + '87660 hours'::interval)")
statement[empty_sum]=$(ask "a.start + '24 hours'::interval")

statement[empty_join]=$(sed 's/count(.*) FROM/count(a.start) FROM/' <<< "$(ask_calendar x one a.start)")
statement[one]=$(ask_calendar due_at one "a.start, '40 hours'")
statement[mixed]=$(ask_calendar due_at mixed "a.start, '40 hours'")

# A month: 160 hours.
statement[due_c]=$(ask "referral.due_at(:'calendar', a.start, '160 hours')")
statement[due_table]=$(ask "bench.due_sql(a.start, '160 hours')")
statement[due_loop]=$(ask "bench.due_loop(a.start, '160 hours')")
statement[elapsed_c]=$(ask "referral.business_elapsed(:'calendar', a.start, a.start + '720 hours'::interval)")
statement[elapsed_table]=$(ask "bench.position_sql(a.start + '720 hours'::interval) - bench.position_sql(a.start)")
statement[elapsed_loop]=$(ask "bench.elapsed_loop(a.start, a.start + '720 hours'::interval)")
size=([due_table]=5000 [elapsed_table]=5000 [due_loop]=300 [elapsed_loop]=300)

sql -o /dev/null -f calendar.sql

if wanted 1; then
	echo "-- 1. One calendar with 300 dated exceptions, as a constant of the statement"
	take_turns 1 "$(rounds 30)" empty empty_sum due_1_day due_1_year due_10_years due_5_days elapsed_1_day elapsed_10_years
	report 1 empty
	cost 1 "due_at, 1 day" due_1_day empty 1
	cost 1 "due_at, 10 years" due_10_years empty 1
	cost 1 "due_at, 5 business days" due_5_days empty 2
	cost 1 "business_elapsed, 1 day" elapsed_1_day empty_sum 1
	cost 1 "business_elapsed, 10 years" elapsed_10_years empty_sum 1
	ratio 1 "due_at, 10 years / 1 day" due_10_years-empty due_1_day-empty '<=' 1.5
	ratio 1 "business_elapsed, 10 years / 1 day" elapsed_10_years-empty_sum elapsed_1_day-empty_sum '<=' 1.5
fi
if wanted 2; then
	echo "-- 2. Calendars from a table, of 300 dated exceptions each: one of them, or 20 in turn"
	take_turns 2 "$(rounds 30)" empty_join one mixed
	report 2 one
	cost 2 "due_at, calendar from a table" one empty_join 1
	ratio 2 "due_at, 20 calendars / one" mixed-empty_join one-empty_join '<=' 1.5
fi
if wanted 3; then
	echo "-- 3. A month: from C, from a table of sums in SQL, from a loop over days in PL/pgSQL"
	take_turns 3 "$(rounds 20)" empty due_c due_table due_loop elapsed_c elapsed_table elapsed_loop
	report 3 due_c
	ratio 3 "due time, table of sums / C" due_table-empty due_c-empty '>=' 15
	ratio 3 "due time, loop over days / C" due_loop-empty due_c-empty '>=' 100
	ratio 3 "open time, table of sums / C" elapsed_table-empty elapsed_c-empty '>=' 15
	ratio 3 "open time, loop over days / C" elapsed_loop-empty elapsed_c-empty '>=' 100
fi
