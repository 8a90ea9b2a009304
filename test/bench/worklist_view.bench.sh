#!/usr/bin/env bash
# What it costs to open the views of a coordinator where there are 100,000 referrals, 90,000 of them open.
# How it is measured: lib.sh.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

rows=100000
[ -z "${BENCH_QUICK:-}" ] || rows=2000
sql -o /dev/null -f lib.sql
sql -o /dev/null -v rows="$rows" -f worklist_view.sql
sql -o /dev/null -c "GRANT USAGE ON SCHEMA bench TO PUBLIC"

# Each statement as that login, once to warm up and five times measured: the median of what the whole result costs.
open_as() { # LOGIN TARGET:ms WHAT STATEMENT
	local round
	{
		echo "SET SESSION AUTHORIZATION $1;"
		for round in -1 0 1 2 3 4; do
			echo "SELECT bench.cpu() AS cpu \\gset"
			echo "$4 \\g /dev/null"
			echo "SELECT bench.stop('$1', $round, \$\$$3\$\$, 1, :cpu) \\g /dev/null"
		done
	} | sql
	sql -At -v login="$1" -v what="$3" -v target="$2" <<-'SQL'
	SELECT format('%s %s CPU ms, target <= %s: %s', rpad(:'what', 60), lpad(round(ms, 1)::text, 7), :target, CASE WHEN ms <= :target THEN 'PASS' ELSE 'MISS' END)
	FROM (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY ns) / 1000000)::numeric AS ms FROM bench.result WHERE section = :'login' AND variant = :'what') r;
	SQL
}
# A page of a list, and all of it.
list() { # VIEW
	open_as bench_ann 100 "$1, the first 50" "SELECT * FROM referral.$1 ORDER BY score DESC LIMIT 50"
	open_as bench_ann 2000 "$1, all" "SELECT * FROM referral.$1"
}

printf "\n%'d referrals\n" "$rows"
if wanted 1; then
	came_in=$(sql -At -c "SELECT min(n) FROM bench.stand WHERE state = 'received' AND n % 8 > 0 AND n % 50 > 0")
	printf "\n1. What somebody opens who works on two queues\n"
	open_as bench_ann 50 "my_worklist, without why and next_action" \
		"SELECT place, queue, patient, title, state, urgency, due_at, overdue, score FROM referral.my_worklist ORDER BY place"
	open_as bench_ann 100 "my_worklist, the first 50 with why and next_action" "SELECT * FROM referral.my_worklist ORDER BY place LIMIT 50"
	open_as bench_ann 5 "next_best_action of a referral that came in" \
		"SELECT * FROM referral.next_best_action WHERE org_id = 1 AND referral_id = $came_in"
	open_as bench_ann 10 "explain() of a referral" "SELECT * FROM referral.explain('referral', 1, 8)"
fi
if wanted 2; then
	printf "\n2. The lists of both sides\n"
	for view in letters_outstanding rejected_triage_response returned_cancelled_dna awaiting_booking referrals_for_review appointment_slot_issues; do
		list "$view"
	done
fi
if wanted 3; then
	printf "\n3. What who leads opens\n"
	for view in queue_health staff_workload work_owner unowned_referral handoff_waiting handoff_latency exception_pattern next_best_action; do
		open_as bench_lead 2000 "$view" "SELECT * FROM referral.$view"
	done
	open_as bench_analyst 2000 "queue_health, for analysts" "SELECT * FROM referral.queue_health"
fi
sql -At <<-'SQL'
SET SESSION AUTHORIZATION bench_other;
SELECT format('checked: another organisation sees nothing: %s', count(*) = 0) FROM referral.listed_referral;
SQL
