#!/usr/bin/env bash
# What it costs to take a message in, against plain INSERTs of the same rows with everything on. 1: receive() of REF^I12
# messages, one per transaction. 2: receive_batch() of CSV rows, by one session and by two, and the memory of a session. 3:
# receive() of FHIR transactions, as 1. BENCH_ROWS: the rows of one batch (default 20000, all of them four times that); the
# figure that is aimed at is of 100000: BENCH_ROWS=100000 BENCH_SECTIONS=2 make bench FILES=intake. How it is measured: lib.sh.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

rounds=$(rounds 6)
size=100
total=$(((rounds + 2) * 4 * (size + 20)))
rows=${BENCH_ROWS:-20000}
[ -z "${BENCH_QUICK:-}" ] || rows=1000
known=$((rows / 40 * 4 + 40))
sql -v rows="$rows" -v messages="$total" -v known="$known" -f intake.sql

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

# A batch for each query, all at once. Reports rows per second of the clock, CPU time and peak memory of the sessions.
batch() { # NAME QUERY...
	local name=$1 began query pids=() i=0
	shift
	rm -f "$BENCH_OUT"/batch.*
	began=$(date +%s.%N)
	for query; do
		i=$((i + 1))
		feed -At <<-SQL > "$BENCH_OUT/batch.$i" &
		CREATE TEMP TABLE staged AS $query;
		SELECT bench.cpu() AS cpu \\gset
		CALL referral.receive_batch('staged', 'flat_file', 'csv', 'text/csv; mapping=bench') \\gset b_
		SELECT :b_processed + :b_failed, :b_failed, (bench.cpu() - :cpu) / 1e6, bench.peak();
		SQL
		pids+=($!)
	done
	wait "${pids[@]}"
	awk -F'|' -v name="$name" -v began="$began" -v ended="$(date +%s.%N)" '
		{ n += $1; failed += $2; cpu += $3; if ($4 > peak) peak = $4 }
		END { printf "%-24s %d rows/s (%d rows, %d failed), CPU per row %.2f ms, memory %d MB\n", name, n / (ended - began), n, failed, cpu / n, peak }' "$BENCH_OUT"/batch.*
}

# What a figure is to be
verdict() { # WHAT FIGURE OPERATOR TARGET UNIT
	printf '%s: %s %s, target %s %s: %s\n' "$1" "$2" "$5" "$3" "$4" "$(awk "BEGIN { print ($2 $3 $4) ? \"PASS\" : \"MISS\" }")"
}

if wanted 2; then
	first=$((total + known))
	echo
	echo "2. CSV rows with patient, coverage, practitioner and diagnosis, batches of $rows: three of ten are of known patients, one of ten gives no reason:"
	batch "first day" "SELECT * FROM bench.record WHERE i <= $first" > "$BENCH_OUT/known.log"
	sql -c ANALYZE
	feed <<-SQL > "$BENCH_OUT/plain.log"
	SELECT bench.cpu() AS cpu \\gset
	SELECT clock_timestamp() AS began \\gset
	SELECT count(bench.plain('flat_file', 'B' || r.i, row_to_json(r)::text, p)) FROM bench.record r JOIN bench.person p USING (i) WHERE r.i > $first AND r.i % 4 = 0 \\g /dev/null
	SELECT format('%s %s rows/s, CPU per row %s ms', rpad('plain INSERTs', 24), round(count(*) / extract(epoch FROM clock_timestamp() - :'began'::timestamptz)),
	              round(((bench.cpu() - :cpu) / 1e6 / count(*))::numeric, 2)) AS "plain INSERTs" FROM bench.record r WHERE r.i > $first AND r.i % 4 = 0;
	SQL
	sed -n 3p "$BENCH_OUT/plain.log"
	batch "one session" "SELECT r.* FROM bench.record r WHERE r.i > $first AND r.i % 4 = 1" | tee "$BENCH_OUT/one.log"
	batch "two sessions" "SELECT r.* FROM bench.record r WHERE r.i > $first AND r.i % 4 = 2" "SELECT r.* FROM bench.record r WHERE r.i > $first AND r.i % 4 = 3" | tee "$BENCH_OUT/two.log"
	feed -At -c "SELECT format('%s referrals of %s patients, %s with an exception', count(*), count(DISTINCT patient_id),
		count(*) FILTER (WHERE EXISTS (SELECT FROM referral.exception_item e WHERE e.org_id = r.org_id AND e.referral_id = r.referral_id)))
		FROM referral.referral r WHERE source = 'csv'"
	verdict "receive_batch(), two sessions" "$(sed -E 's/.* ([0-9]+) rows\/s.*/\1/' "$BENCH_OUT/two.log")" ">=" 1500 "rows/s"
	verdict "memory of a session after a batch of $rows" "$(sed -E 's/.*memory ([0-9]+) MB.*/\1/' "$BENCH_OUT/one.log")" "<=" 100 MB
	feed -At <<-SQL > "$BENCH_OUT/parts.log"
	SELECT jsonb_agg(to_jsonb(r)) AS parts FROM (SELECT * FROM bench.record WHERE i > $first AND i % 4 = 0 ORDER BY i LIMIT 2000) r \\gset
	SELECT status, jsonb_array_length(:'parts') FROM referral.receive('flat_file', 'csv', 'application/json; mapping=bench', :'parts');
	SELECT bench.peak();
	SQL
	verdict "memory of a session after a message of $(sed -n '1s/.*|//p' "$BENCH_OUT/parts.log") parts" "$(tail -n 1 "$BENCH_OUT/parts.log")" "<=" 100 MB
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
