#!/usr/bin/env bash
# What it costs to take a message in, against plain INSERTs of the same rows with everything on. 1: receive() of REF^I12
# messages, one per transaction. 2: receive_batch() of CSV rows, by one session and by two. 3: receive() of FHIR
# transactions, as 1. BENCH_ROWS: how many rows (default 20000). How it is measured: lib.sh.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

rounds=$(rounds 6)
size=100
total=$(((rounds + 2) * 4 * (size + 20)))
rows=${BENCH_ROWS:-20000}
[ -z "${BENCH_QUICK:-}" ] || rows=2000
sql -v rows="$rows" -v messages="$total" -f intake.sql

feed() { PGUSER=bench_feed sql "$@"; }

# Statistics, and names and payers that are known, as after the first day
feed -c "SELECT count(r.message_id) FROM bench.message m, referral.receive('hl7v2', 'warm', NULL, replace(replace(m.payload, 'ORDER', 'WARM'), 'MRN', 'WRN')) r
	WHERE m.n % greatest($total / 300, 1) = 0" > "$BENCH_OUT/warm.log"
sql -c "CREATE INDEX ON bench.person (i)" -c "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA bench TO bench_feed"
sql -c ANALYZE

if wanted 1; then
	echo
	echo "1. A REF^I12 with patient, coverage, two practitioners, diagnosis and procedure, CPU per message:"
	statement[plain]="SELECT bench.plain('hl7v2', 'H' || m.n, m.payload, p) FROM bench.message m, bench.person p WHERE m.n = :n AND p.i = m.n + 1"
	statement[parse]="SELECT referral.hl7_parse(payload) FROM bench.message WHERE n = :n"
	statement[map]="SELECT c FROM bench.message, referral.map_hl7v2(referral.hl7_parse(payload), 'bench') c WHERE n = :n"
	statement[receive]="SELECT r.* FROM bench.message, referral.receive('hl7v2', 'bench', NULL, payload, 'H' || n) r WHERE n = :n"
	PGUSER=bench_feed measure 1 "$rounds" "$size" "$total" plain parse map receive
	report 1 plain
	sql -At -c "SELECT format('receive(): %s ms, target <= 2: %s', round(ms::numeric, 2), CASE WHEN ms <= 2 THEN 'PASS' ELSE 'MISS' END)
		FROM (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ns / n / 1e6) AS ms FROM bench.result WHERE section = '1' AND variant = 'receive') r"
	feed -At -c "SELECT format('%s messages: %s', count(*), string_agg(DISTINCT format('%s %s', status, outcome), ', ')) FROM referral.inbox_message WHERE source = 'bench'"
fi

# Reports rows per second of the clock, and CPU time of the sessions.
batch() { # NAME SOURCE QUERY...
	local name=$1 source=$2 began query pids=() i=0
	shift 2
	began=$(date +%s.%N)
	for query; do
		i=$((i + 1))
		feed -At <<-SQL > "$BENCH_OUT/batch.$source.$i" &
		CREATE TEMP TABLE staged AS $query;
		SELECT bench.cpu() AS cpu \\gset
		CALL referral.receive_batch('staged', 'flat_file', '$source', 'text/csv; mapping=bench');
		SELECT (bench.cpu() - :cpu) / 1e6 / count(*) FROM staged;
		SQL
		pids+=($!)
	done
	wait "${pids[@]}"
	sql -At -v name="$name" -v began="$began" -v ended="$(date +%s.%N)" -v source="$source" -v cpu="$(sed -n '2~2p' "$BENCH_OUT/batch.$source".* | paste -sd+)" <<-'SQL'
	SELECT format('%s %s rows/s (%s rows, %s failed), CPU per row %s ms', rpad(:'name', 24), round(count(*) / (:'ended'::numeric - :'began'::numeric)), count(*),
	              count(*) FILTER (WHERE status = 'error'), round(((:cpu) / array_length(string_to_array(:'cpu', '+'), 1))::numeric, 2))
	FROM referral.inbox_message WHERE source = :'source'
	SQL
}

if wanted 2; then
	echo
	echo "2. CSV rows with patient, coverage, practitioner and diagnosis, in bulk:"
	feed <<-SQL > "$BENCH_OUT/plain.log"
	SELECT bench.cpu() AS cpu \\gset
	SELECT clock_timestamp() AS began \\gset
	SELECT count(bench.plain('flat_file', 'B' || r.i, row_to_json(r)::text, p)) FROM bench.record r JOIN bench.person p USING (i) WHERE r.i % 4 = 0 \\g /dev/null
	SELECT format('%s %s rows/s, CPU per row %s ms', rpad('plain INSERTs', 24), round(count(*) / extract(epoch FROM clock_timestamp() - :'began'::timestamptz)),
	              round(((bench.cpu() - :cpu) / 1e6 / count(*))::numeric, 2)) AS "plain INSERTs" FROM bench.record r WHERE r.i % 4 = 0;
	SQL
	sed -n 3p "$BENCH_OUT/plain.log"
	batch "one session" one "SELECT r.* FROM bench.record r WHERE r.i % 4 = 1"
	batch "two sessions" two "SELECT r.* FROM bench.record r WHERE r.i % 4 = 2" "SELECT r.* FROM bench.record r WHERE r.i % 4 = 3"
	echo "target: 1500 rows/s by two sessions"
fi

if wanted 3; then
	echo
	echo "3. A FHIR transaction of a request with patient, coverage and two practitioners, CPU per message:"
	statement[plain]="SELECT bench.plain('hl7v2', 'J' || m.n, m.payload, p) FROM bench.bundle m, bench.person p WHERE m.n = :n AND p.i = m.n + 1"
	statement[map]="SELECT c FROM bench.bundle, referral.map_fhir(payload::jsonb, 'bundles') c WHERE n = :n"
	statement[receive]="SELECT r.* FROM bench.bundle, referral.receive('fhir', 'bundles', NULL, payload, 'J' || n) r WHERE n = :n"
	PGUSER=bench_feed measure 3 "$rounds" "$size" "$total" plain map receive
	report 3 plain
	feed -At -c "SELECT format('%s messages: %s', count(*), string_agg(DISTINCT format('%s %s', status, outcome), ', ')) FROM referral.inbox_message WHERE source = 'bundles'"
fi
