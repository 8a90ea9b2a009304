#!/usr/bin/env bash
# What clocks cost: in the change that starts and stops them, and in the tick that finds what is due. How it is measured:
# lib.sh.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

few() { if [ -n "${BENCH_QUICK:-}" ]; then echo "$2"; else echo "$1"; fi; }
value() { sql -At -d "${2:-$PGDATABASE}" -c "$1"; }
check() { value "SELECT CASE WHEN $2 THEN 'checked: ' ELSE 'WRONG: ' END || '$1'" "${3:-$PGDATABASE}"; }
sql -o /dev/null -f sla.sql

if wanted 1; then
	rows=$(few 20000 2000)
	printf "\n1. A guarded, journaled UPDATE with clocks and without, %'d rows\n" "$rows"
	cat <<-'TEXT'
	guarded    guard and journal, no clock trigger
	no_policy  guard, journal and clock trigger; the entity has no policy
	clocked    the same; the change stops one clock and starts another, with four levels each
	among_8    the same, with six more policies that have no clock in this change
	...        where the UPDATE touches no clock
	TEXT
	sql -o /dev/null <<-SQL
	SELECT bench.make_ours(t, 0, 9, 6) FROM unnest('{guarded,no_policy,clocked,among_8}'::text[]) t;
	DROP TRIGGER sla_clock ON bench.guarded;
	SELECT bench.make_policies('clocked', 0), bench.make_policies('among_8', 6);
	SELECT bench.fill_ours(t, $rows) FROM unnest('{guarded,no_policy,clocked,among_8}'::text[]) t;
	VACUUM ANALYZE;
	SQL
	printf '\none row per transaction, prepared, synchronous_commit = off\n'
	for v in guarded no_policy clocked among_8; do
		statement[$v]="UPDATE bench.$v SET state = :to_state, scheduled_for = :new_time WHERE org_id = 1 AND referral_id = :id"
		statement[${v}_idle]="UPDATE bench.$v SET region = :region WHERE org_id = 1 AND referral_id = :id"
	done
	measure 1a "$(rounds 40)" "$(few 300 100)" "$rows" guarded no_policy clocked among_8
	report 1a guarded
	measure 1b "$(rounds 40)" "$(few 300 100)" "$rows" guarded_idle no_policy_idle clocked_idle among_8_idle
	report 1b guarded_idle
	ratio 1a 'starting and stopping a clock' clocked guarded '<=' 1.4
	ratio 1b 'an UPDATE that touches no clock' clocked_idle guarded_idle '<=' 1.1
fi

if wanted 2; then
	rows=$(few 100000 2000)
	printf "\n2. The same of %'d rows in one statement\n" "$rows"
	sql -o /dev/null <<-SQL
	SELECT bench.make_ours(t, 0, 9, 6) FROM unnest('{bulk,bulk_clocked}'::text[]) t;
	SELECT bench.make_policies('bulk_clocked', 0);
	SELECT bench.fill_ours(t, $rows) FROM unnest('{bulk,bulk_clocked}'::text[]) t;
	VACUUM ANALYZE;
	SQL
	for v in bulk bulk_clocked; do
		statement[$v]="UPDATE bench.$v SET state = :to_state, scheduled_for = :new_time"
	done
	after[bulk_clocked]='VACUUM referral.sla_clock'
	measure_bulk 2 0 "$(rounds 6)" "$rows" bulk bulk_clocked
	report 2 bulk
	check 'each has one open clock' "(SELECT count(*) = $rows AND min(policy) = max(policy) FROM referral.sla_clock
		WHERE entity = 'bulk_clocked' AND stopped_at IS NULL)"
fi

# A database like this one, with so many clocks and nothing else to do.
clock_database() { # NAME CLOCKS IS_SPREAD
	sql -d postgres -c "DROP DATABASE IF EXISTS $1" -c "CREATE DATABASE $1 TEMPLATE referral_template" 2> /dev/null
	sql -d "$1" -o /dev/null -f sla.sql -c "SELECT bench.make_clocks($2, $3)" -c 'VACUUM ANALYZE' -c CHECKPOINT
}

if wanted 3; then
	few=20000 many=$(few 2000000 40000) turns=$(rounds 12) plans=$BENCH_OUT/tick.plan
	printf "\n3. A tick that finds 1,000 clocks due, among %'d open ones and among %'d\n" $few "$many"
	cat <<-'TEXT'
	age      clocks come due in the order in which they are stored
	spread   those that come due together are spread evenly over all: each on a page of its own
	nothing  nothing is due (per tick, not per clock)
	Each tick is a connection's second: the first one finds nothing.
	TEXT
	all=()
	for place in age spread; do
		is_spread=$([ $place = spread ] && echo true || echo false)
		for size in few many; do
			all+=("${place}_$size")
			clock_database "bench_${place}_$size" "${!size}" "$is_spread"
		done
	done
	value "SELECT format('%s open clocks: %s', $many, pg_size_pretty(pg_total_relation_size('referral.sla_clock')))" bench_age_many
	for ((round = -2; round < turns; round++)); do
		for ((turn = 0; turn < 4; turn++)); do
			variant=${all[(turn + round + 2) % 4]}
			cat <<-SQL
			\\c bench_$variant
			CALL referral.tick('2026-03-01');
			SELECT bench.cpu() AS cpu \\gset
			CALL referral.tick('2026-03-01');
			SELECT bench.stop('3', $round, 'nothing_${variant#*_}', 1, :cpu) \\g /dev/null
			SELECT bench.cpu() AS cpu \\gset
			CALL referral.tick(timestamptz '2026-03-02 01:00+00' + ($round + 2) * interval '1 hour');
			SELECT bench.stop('3', $round, '$variant', 1000, :cpu) \\g /dev/null
			SELECT 1 / (fired = 1000)::int FROM referral.heartbeat WHERE job = 'tick' \\g /dev/null
			VACUUM referral.sla_clock, referral.escalation;
			SQL
		done
	done | sql
	for variant in "${all[@]}"; do
		sql -d "bench_$variant" -c 'COPY bench.result TO STDOUT' | sql -c 'COPY bench.result FROM STDIN'
	done
	report 3 age_few
	for place in age spread; do
		ratio 3 "1,000 due, $place: among $many / among $few" ${place}_many ${place}_few '<=' 1.3
	done
	ratio 3 "nothing due: among $many / among $few" nothing_many nothing_few '<=' 1.3
	sql -d bench_spread_many > "$plans" 2>&1 <<-'SQL'
	LOAD 'auto_explain';
	SET auto_explain.log_nested_statements = on;
	SET auto_explain.log_min_duration = 0;
	SET client_min_messages = log;
	SELECT * FROM referral.tick_fire('2026-03-03', 500);
	SQL

	awk '/plan:$/ { show = 0 } /FOR UPDATE SKIP LOCKED/ { show = 1 } show' "$plans" > "$plans.due"
	printf 'By which plan tick_fire() finds them: '
	if grep -q 'Index Scan using sla_clock_fire' "$plans.due" && ! grep -qE -e '-> +((Incremental )?Sort|Seq Scan|Bitmap)' "$plans.due"; then
		echo 'the index on next_fire_at without a sort: PASS'
	else
		echo 'not the index on next_fire_at, or sorted: MISS'
	fi
	printf 'By which plans it records them: '
	if ! grep -A1 'Scan.* on sla_clock' "$plans" | grep -vqE 'Scan.* on sla_clock|Index Cond|^--' && ! grep -q 'Seq Scan on sla_clock' "$plans"; then
		echo 'each by index conditions: PASS'
	else
		echo 'not each by index conditions: MISS'
	fi
	for variant in "${all[@]}"; do sql -d postgres -c "DROP DATABASE bench_$variant"; done
fi

if wanted 4; then
	clocks=$(few 20000 1000)
	printf "\n4. %'d clocks with four levels due each, four ticks at once\n" "$clocks"
	clock_database bench_sla_four "$clocks" true
	# one cost of each tick's backend, written by itself
	cat > "$BENCH_OUT/four.sql" <<-'SQL'
	SELECT bench.cpu() AS cpu \gset
	CALL referral.tick('2027-01-01');
	SELECT bench.stop('4', 0, 'tick', 1, :cpu) \g /dev/null
	SQL
	started=$(date +%s%N) pids=()
	for i in 1 2 3 4; do
		sql -d bench_sla_four -o /dev/null -f "$BENCH_OUT/four.sql" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	wall=$((($(date +%s%N) - started) / 1000000))
	value "SELECT format('%s levels, %s duplicates, %s missing; %s ms in all, %s ms CPU in four backends, %s us CPU per level',
			n, n - d, $clocks * 4 - d, $wall, round(ms), round(ms * 1000 / n))
		FROM (SELECT count(*) AS n, count(DISTINCT (org_id, clock_id, level)) AS d FROM referral.escalation) e,
		     (SELECT (sum(ns) / 1e6)::numeric AS ms FROM bench.result WHERE section = '4') r" bench_sla_four
	check 'each level is there once, at its time, each breach is noted, nothing is left to do' "(SELECT count(*) = $clocks * 4 AND bool_and(
		e.planned_at = c.started_at + (ARRAY[50, 75, 100, 150])[e.level] * interval '1 hour' AND c.breached_at = c.due_at AND c.next_fire_at = 'infinity')
		FROM referral.escalation e JOIN referral.sla_clock c USING (org_id, clock_id))" bench_sla_four
	sql -d postgres -c 'DROP DATABASE bench_sla_four'
fi

if wanted 5; then
	clocks=$(few 20000 1000)
	printf "\n5. What stops leave to the tick: %'d clocks that were stopped in time\n" "$clocks"
	clock_database bench_sla_stopped "$clocks" true
	sql -d bench_sla_stopped -o /dev/null <<-'SQL'
	UPDATE referral.sla_clock SET stopped_at = started_at + interval '1 hour';
	VACUUM ANALYZE referral.sla_clock;
	SELECT bench.cpu() AS cpu \gset
	CALL referral.tick('2027-01-01');
	SELECT bench.stop('5', 0, 'tick', 1, :cpu);
	SQL
	value "SELECT format('%s us CPU per clock, which has no level and is not looked at again', round((ns / 1000 / $clocks)::numeric, 1))
		FROM bench.result WHERE section = '5'" bench_sla_stopped
	check 'no level was recorded, and nothing is left to do' "(SELECT count(*) = 0 FROM referral.escalation) AND
		NOT EXISTS (SELECT FROM referral.sla_clock WHERE next_fire_at IS NOT NULL)" bench_sla_stopped
	sql -d postgres -c 'DROP DATABASE bench_sla_stopped'
fi
