#!/usr/bin/env bash
# What the journal costs: capture, sealing, verification, proofs, events, indexes. How it is measured: lib.sh.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"
export PGOPTIONS='-c max_parallel_workers_per_gather=0'

few() { if [ -n "${BENCH_QUICK:-}" ]; then echo "$2"; else echo "$1"; fi; }
value() { sql -At -c "$1"; }

# Rows 1 to N of an organisation, in steps; prints their first journal_id less one.
fill() { # ORG N
	local id0 from step=500000
	id0=$(value "SELECT bench.take_ids($2)")
	for ((from = 1; from <= $2; from += step)); do
		echo "SET session_replication_role = replica;"
		echo "INSERT INTO referral.journal SELECT * FROM bench.journal_rows($1, $id0, $from, least($2, $from + $step - 1), false, 5000);"
	done | sql -o /dev/null
	echo "$id0"
}

# CPU time per single call, less that of an empty one in the same place. The clock only moves when the backend waits
# for the next statement; so what is measured is a statement between two others.
call() { # SECTION ROUND VARIANT STATEMENT
	cat <<-SQL
	SELECT bench.cpu() AS cpu \\gset
	SELECT bench.cpu() AS cpu0 \\gset
	$4 \\gset
	SELECT bench.stop('$1', $2, '$3', 1, 2 * :cpu0::bigint - :cpu) \\g /dev/null
	SQL
}

check() { # WHAT CONDITION
	value "SELECT CASE WHEN $2 THEN 'checked: ' ELSE 'WRONG: ' END || '$1'"
}

sql -o /dev/null -f journal.sql

if wanted 1; then
	printf '\n1. Capture without a guard: the journal of a table that is only tracked\n'
	cat <<-'TEXT'
	none               no audit
	ours               the journal trigger of a table tracked with guarded => false
	plpgsql_composite  PL/pgSQL row trigger, old and new row as composite values, a log per table, its key the only index
	plpgsql_jsonb      PL/pgSQL row trigger, old and new row as jsonb, one log, its key the only index
	TEXT
	all=(none ours plpgsql_composite plpgsql_jsonb)
	if [ "$(value "SELECT count(*) FROM pg_available_extensions WHERE name = 'table_log'")" = 1 ]; then
		all+=(table_log)
		echo 'table_log          the extension of that name, old and new row as rows of a log per table'
	else
		echo 'table_log is not installed: left out'
	fi
	for v in "${all[@]}"; do
		sql -o /dev/null -c "SELECT bench.make_record('$v')" -c "VACUUM ANALYZE bench.$v"
		statement[$v]="CALL bench.loop_$v(:first, :status, :amount)"
	done
	measure_bulk 1a -2 "$(($(rounds 20) + 2))" 5000 "${all[@]}"
	printf '\n1a. 5,000 updates of one row each, in a loop\n'
	report 1a none
	for v in "${all[@]}"; do statement[$v]="UPDATE bench.$v SET status = :status, amount = :amount"; done
	measure_bulk 1b 100 "$(rounds 6)" 100000 "${all[@]}"
	printf '\n1b. UPDATE of 100,000 rows\n'
	report 1b none
	value "SELECT format('%s %% of the updates were HOT', round(100.0 * sum(n_tup_hot_upd) / sum(n_tup_upd)))
		FROM pg_stat_user_tables WHERE schemaname = 'bench' AND n_tup_upd > 0"
	sql <<-'SQL'
	\pset footer off
	SELECT log, round(bytes / n) AS "bytes per update, with indexes"
	FROM (SELECT 'ours' AS log, (SELECT count(*) FROM referral.journal) AS n,
	             (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('referral.journal')) AS bytes
	      UNION ALL SELECT 'plpgsql_composite', (SELECT count(*) FROM bench.log_composite), pg_total_relation_size('bench.log_composite')
	      UNION ALL SELECT 'plpgsql_jsonb', (SELECT count(*) FROM bench.log_jsonb), pg_total_relation_size('bench.log_jsonb')) l
	ORDER BY 2;
	SQL
	check 'a journal row for every change' \
		"(SELECT count(*) FROM referral.journal WHERE entity = 'ours') = (SELECT count(*) FROM bench.log_jsonb)"
	for v in "${all[@]}"; do
		statement[$v]="BEGIN; INSERT INTO bench.$v SELECT r.* FROM generate_series(100001, 200000) i, bench.record_row(i) r; ROLLBACK"
	done
	measure_bulk 1c 0 "$(rounds 6)" 100000 "${all[@]}"
	printf '\n1c. INSERT of 100,000 rows\n'
	report 1c none

	cat <<-'TEXT'

	Overhead as a multiple of no audit, and what an audit adds as a multiple of what plpgsql_composite adds. "Here" is
	this run; the others were measured once, with such rows, CPU time, PostgreSQL 15. The second half bridges the two:
	there the same trigger is the unit of both, and another speed of the UPDATE alone plays no part.
	TEXT
	sql <<-'SQL'
	\pset footer off
	WITH here AS (
	    SELECT section, a.variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY a.ns / b.ns)::numeric AS x,
	           percentile_cont(0.5) WITHIN GROUP (ORDER BY (a.ns - b.ns) / (c.ns - b.ns))::numeric AS added
	    FROM bench.result a JOIN bench.result b USING (section, round) JOIN bench.result c USING (section, round)
	    WHERE section IN ('1a', '1b', '1c') AND a.variant <> 'none' AND b.variant = 'none' AND c.variant = 'plpgsql_composite'
	    GROUP BY 1, 2),
	overhead AS (
	    SELECT 'here: ' || variant AS audit, sum(x) FILTER (WHERE section = '1a') AS one, sum(x) FILTER (WHERE section = '1b') AS upd,
	           sum(x) FILTER (WHERE section = '1c') AS ins, sum(added) FILTER (WHERE section = '1a') AS one_added,
	           sum(added) FILTER (WHERE section = '1b') AS upd_added, sum(added) FILTER (WHERE section = '1c') AS ins_added
	    FROM here GROUP BY variant
	    UNION ALL
	    SELECT p.peer, p.one_row, p.bulk_update, p.bulk_insert, (p.one_row - 1) / (c.one_row - 1),
	           (p.bulk_update - 1) / (c.bulk_update - 1), (p.bulk_insert - 1) / (c.bulk_insert - 1)
	    FROM bench.peer p, bench.peer c WHERE c.peer = 'PL/pgSQL row trigger, composite')
	SELECT audit, round(one, 2) AS "one row", round(upd, 2) AS "bulk UPDATE", round(ins, 2) AS "bulk INSERT",
	       round(one_added, 2) AS "one row, added", round(upd_added, 2) AS "bulk UPDATE, added", round(ins_added, 2) AS "bulk INSERT, added"
	FROM overhead ORDER BY upd_added;
	SQL
	for peer in plpgsql_composite plpgsql_jsonb; do
		ratio 1a "one row: ours / $peer" ours $peer '<=' 1
		ratio 1b "bulk UPDATE: ours / $peer" ours $peer '<=' 1
		ratio 1c "bulk INSERT: ours / $peer" ours $peer '<=' 1
	done
	# the cheapest of the peers in each of the three is plpgsql_composite
	ratio 1a 'one row: what ours adds / cheapest peer' ours-none plpgsql_composite-none '<=' 1
	ratio 1b 'bulk UPDATE: what ours adds / cheapest peer' ours-none plpgsql_composite-none '<=' 1
	ratio 1c 'bulk INSERT: what ours adds / cheapest peer' ours-none plpgsql_composite-none '<=' 1
fi

if wanted 2; then
	sealed=$(few 400000 40000) turns=$(few 8 4)
	printf "\n2. Sealing and verifying %'d journal rows, against SHA-256 of the same bytes\n" "$sealed"
	sql -o /dev/null -c "SELECT * FROM referral.seal(1000000000)"
	fill 2 "$sealed" > /dev/null
	sql <<-'SQL'
	CREATE UNLOGGED TABLE bench.leaf (leaf bytea);
	CREATE UNLOGGED TABLE bench.node (node bytea);
	ALTER TABLE bench.leaf ALTER leaf SET STORAGE PLAIN;
	ALTER TABLE bench.node ALTER node SET STORAGE PLAIN;
	INSERT INTO bench.leaf SELECT '\x00'::bytea || referral.journal_leaf(j) FROM referral.journal j WHERE j.org_id = 2;
	INSERT INTO bench.node SELECT '\x01'::bytea || sha256(leaf) || sha256(leaf || '\x00') FROM bench.leaf;
	VACUUM ANALYZE bench.leaf, bench.node;
	SELECT format('A leaf is %s bytes on average', round(avg(length(leaf)))) FROM bench.leaf \g (format=unaligned tuples_only)
	SQL
	{
		echo 'SELECT count(leaf) FROM bench.leaf \g /dev/null'
		echo 'SELECT count(node) FROM bench.node \g /dev/null'
		for ((round = 0; round < turns; round++)); do
			for what in leaf node; do
				for function in '' sha256; do
					echo 'SELECT bench.cpu() AS cpu \gset'
					echo "SELECT count($function($what)) FROM bench.$what \\g /dev/null"
					echo "SELECT bench.stop('2', $round, '${function:-scan}_$what', $sealed, :cpu) \\g /dev/null"
				done
			done
			echo 'SELECT bench.cpu() AS cpu \gset'
			echo "SELECT count(*) FROM referral.seal($((sealed / turns))) \\g /dev/null"
			echo "SELECT bench.stop('2', $round, 'seal', $((sealed / turns)), :cpu) \\g /dev/null"
		done
		for ((round = 0; round < turns; round++)); do
			echo 'SELECT bench.cpu() AS cpu \gset'
			echo 'SELECT ok, tree_size FROM referral.verify_journal(2) \gset'
			echo "SELECT bench.stop('2', $round, 'verify', $sealed, :cpu) \\g /dev/null"
			echo "SELECT 1 / (:'ok' AND :tree_size >= $sealed)::int \\g /dev/null"
		done
	} | sql
	sql <<-'SQL'
	\pset footer off
	INSERT INTO bench.result
	SELECT '2', round, 'SHA-256 alone', sum(CASE WHEN variant LIKE 'scan%' THEN -ns ELSE ns END), max(n)
	FROM bench.result WHERE section = '2' AND variant ~ '^(scan|sha256)_' GROUP BY round;
	SELECT variant, round((1e9 / percentile_cont(0.5) WITHIN GROUP (ORDER BY ns / n))::numeric, -3) AS "rows/s",
	       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ns / n) / 1000)::numeric, 2) AS "CPU us per row",
	       format('%s to %s', round(min(ns / n / 1000)::numeric, 2), round(max(ns / n / 1000)::numeric, 2)) AS "all rounds"
	FROM bench.result WHERE section = '2' GROUP BY 1 ORDER BY 3;
	SQL
	check 'all rows are sealed' "(SELECT max(tree_size) >= $sealed FROM referral.seal WHERE org_id = 2)"
	for what in seal verify; do
		rate=$(value "SELECT round((1e9 / percentile_cont(0.5) WITHIN GROUP (ORDER BY ns / n))::numeric)
			FROM bench.result WHERE section = '2' AND variant = '$what'")
		ratio 2 "$what: SHA-256 alone / $what" 'SHA-256 alone' $what '>=' 0.6
		value "SELECT format('%s %s rows/s, target >= 300000 or the ratio above: %s', rpad('$what', 48), $rate,
			CASE WHEN $rate >= 300000 THEN 'PASS' ELSE 'MISS' END)"
	done
fi

big=0
# The rows of sections 3 and 4, sealed: organisation 3.
build_big() {
	local free want=10000000 id
	[ "$big" = 0 ] || return 0
	free=$(df -Pk "$(dirname "$BENCH_PIDFILE")" | awk 'NR == 2 { print int($4 / 1048576) }')
	if [ -n "${BENCH_QUICK:-}" ]; then
		want=100000
	elif [ "$free" -lt 15 ]; then
		want=2000000
		echo "only $free GB are free: 2,000,000 rows in place of 10,000,000"
	fi
	# what is there already, first
	sql -o /dev/null -c "SELECT * FROM referral.seal(1000000000)"
	id=$(fill 3 $want)
	sql -o /dev/null -c 'ANALYZE referral.journal' -c 'SELECT referral.make_journal_partitions()'
	{
		for ((round = 0; round * 1000000 < want; round++)); do
			echo 'SELECT bench.cpu() AS cpu \gset'
			echo 'SELECT count(*) FROM referral.seal(1000000) \g /dev/null'
			echo "SELECT bench.stop('big', $round, 'seal', least(1000000, $want), :cpu) \\g /dev/null"
		done
	} | sql
	sql -o /dev/null -c 'ANALYZE referral.seal, referral.seal_tile'
	check "$want rows are sealed" "(SELECT max(tree_size) = $want FROM referral.seal WHERE org_id = 3)"
	value "SELECT format('%s rows, %s of journal and %s of tiles; sealed at %s rows/s (first step %s, last %s)', $want,
		(SELECT pg_size_pretty(sum(pg_total_relation_size(relid))) FROM pg_partition_tree('referral.journal')),
		pg_size_pretty(pg_total_relation_size('referral.seal_tile')), round((sum(n) / sum(ns) * 1e9)::numeric, -3),
		round((1e9 * (array_agg(n / ns ORDER BY round))[1])::numeric, -3),
		round((1e9 * (array_agg(n / ns ORDER BY round DESC))[1])::numeric, -3))
		FROM bench.result WHERE section = 'big'"
	big=$want big_id=$id
}

if wanted 3; then
	printf '\n3. Proofs in a large tree\n'
	build_big
	calls=$(few 200 20)
	{
		echo "SELECT setseed(0.5) \\g /dev/null"
		for ((i = -10; i < calls; i++)); do
			echo "SELECT 1 + floor(random() * $big)::bigint AS row, 1 + floor(random() * $big)::bigint AS old_size \\gset"
			call 3 "$i" inclusion_proof "SELECT * FROM referral.inclusion_proof(3, $big_id + :row)"
			echo "SELECT 1 / (referral.verify_inclusion(:row - 1, $big, :'leaf_hash', :'proof', :'root_hash') AND
				:'root_hash'::bytea = (SELECT root_hash FROM referral.seal WHERE org_id = 3 AND tree_size = $big))::int \\g /dev/null"
			call 3 "$i" consistency_proof "SELECT referral.consistency_proof(3, :old_size, $big) AS steps"
			echo "SELECT root_hash AS old_root FROM referral.inclusion_proof(3, $big_id + 1, :old_size) \\gset"
			echo "SELECT 1 / referral.verify_consistency(:old_size, $big, :'old_root', :'root_hash', :'steps')::int \\g /dev/null"
		done
	} | sql
	sql -c '\pset footer off' -c "SELECT * FROM bench.single_calls('3')"
	echo 'checked: every one of these proofs verifies'
	for what in inclusion_proof consistency_proof; do
		value "SELECT format('%s %s ms, target <= 5: %s', rpad('$what, median', 48), round(ms, 3),
				CASE WHEN ms <= 5 THEN 'PASS' ELSE 'MISS' END)
			FROM (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY ns) / 1e6)::numeric AS ms FROM bench.result
				WHERE section = '3' AND variant = '$what') r"
	done
fi

if wanted 4; then
	printf '\n4. events(): 100 new ones, with few and with many events before them\n'
	if [ "$(value "SELECT count(*) FROM pg_proc WHERE proname = 'events' AND pronamespace = 'referral'::regnamespace")" = 0 ]; then
		echo 'there is no events() in this version: left out'
	else
		build_big
		turns=$(few 40 4) plans=$BENCH_OUT/events.plan
		behind=([3]=$big [4]=10000 [6]=$(few 100000 30000))
		fill 4 10000 > /dev/null
		fill 6 "${behind[6]}" > /dev/null
		sql -c 'ANALYZE referral.journal' -c 'SELECT referral.make_journal_partitions()' -o /dev/null
		for org in 3 4 6; do
			# a consumer's own beginning is an event
			sql -o /dev/null <<-SQL
			INSERT INTO referral.organization (org_id, name) VALUES ($org, 'bench') ON CONFLICT DO NOTHING;
			SET referral.org_id = $org;
			SELECT referral.create_consumer('bench');
			SELECT referral.ack('bench', max(position)) FROM referral.events('bench');
			SQL
		done
		{
			echo 'SET session_replication_role = replica;'
			for ((i = -4; i <= turns; i++)); do
				orgs=(3 4 6) round=$i
				[ $((i % 2)) = 0 ] || orgs=(6 4 3)
				if [ "$i" = "$turns" ]; then
					# once more, for the plan
					orgs=(3) round=-1
					echo "LOAD 'auto_explain'; SET auto_explain.log_nested_statements = on;"
					echo "SET auto_explain.log_min_duration = 0; SET client_min_messages = log;"
				fi
				for org in "${orgs[@]}"; do
					echo "SET referral.org_id = $org;"
					echo "INSERT INTO referral.journal SELECT r.* FROM bench.take_ids(100) t, bench.journal_rows($org, t, 1, 100, true, 100) r;"
					call 4 "$round" "${behind[org]} before" \
						"SELECT count(*) AS n, (array_agg(position))[100] AS last FROM referral.events('bench', 100)"
					echo "SELECT 1 / (:n = 100)::int \\g /dev/null"
					call 4 "$round" "${behind[org]} before, ack" "SELECT referral.ack('bench', :'last') AS acked"
					call 4 "$round" "${behind[org]} before, no new" "SELECT count(*) AS n FROM referral.events('bench', 100)"
					echo "SELECT 1 / (:n = 0)::int \\g /dev/null"
				done
			done
		} | sql 2> "$plans" || { tail -20 "$plans" >&2; exit 1; }
		sql -c '\pset footer off' -c "SELECT * FROM bench.single_calls('4')"
		for what in '' ', ack' ', no new'; do
			for org in 3 6; do
				[ "${behind[org]}" = 10000 ] || ratio 4 "events()$what: ${behind[org]} before / 10000" \
					"${behind[org]} before$what" "10000 before$what" '<=' 1.2
			done
		done
		# the statement that looks for new ones, as it ran last: of its plan the part that reads the journal
		awk '/plan:$/ { part = "" } /^ *CTE/ { if (show) last = part; show = /CTE batch/ }
			show { part = part $0 "\n" } END { printf "%s", last }' "$plans" > "$plans.batch"
		printf 'By which plan events() finds them, first partition: '
		if grep -q 'Index Cond:.*org_id = .*ROW(xid_epoch, xid, journal_id) > ' "$plans.batch" &&
			! grep -qE -e '-> +((Incremental )?Sort|Seq Scan|Bitmap)' "$plans.batch"; then
			echo 'an index range without a sort: PASS'
		else
			echo 'not an index range, or sorted: MISS'
		fi
		sed -n '1,6p' "$plans.batch"
	fi
fi

if wanted 5; then
	printf '\n5. Indexes of the journal: bulk INSERT of journal rows into tables that differ in them\n'
	cat <<-'TEXT'
	chosen      key (org_id, xid_epoch, xid, journal_id, recorded_at), (org_id, entity_id, journal_id), (journal_id)
	id_key      key (org_id, journal_id, recorded_at), (org_id, xid_epoch, xid, journal_id), (org_id, entity_id, journal_id)
	brin        as chosen, BRIN (journal_id) in place of its B-tree
	no_id       as chosen, without an index on journal_id
	no_index    none at all
	Rows of 20 organisations by turns, three a transaction.
	TEXT
	sql -o /dev/null <<-'SQL'
	SELECT bench.make_journal('chosen'), bench.make_journal('no_index', '{}'),
	    bench.make_journal('id_key', ARRAY['ALTER TABLE %s ADD PRIMARY KEY (org_id, journal_id, recorded_at)',
	        'CREATE INDEX ON %s (org_id, xid_epoch, xid, journal_id)', 'CREATE INDEX ON %s (org_id, entity_id, journal_id)']),
	    bench.make_journal('brin', ARRAY['ALTER TABLE %s ADD PRIMARY KEY (org_id, xid_epoch, xid, journal_id, recorded_at)',
	        'CREATE INDEX ON %s (org_id, entity_id, journal_id)', 'CREATE INDEX ON %s USING brin (journal_id) WITH (pages_per_range = 32)']),
	    bench.make_journal('no_id', ARRAY['ALTER TABLE %s ADD PRIMARY KEY (org_id, xid_epoch, xid, journal_id, recorded_at)',
	        'CREATE INDEX ON %s (org_id, entity_id, journal_id)']);
	CREATE UNLOGGED TABLE bench.staged (LIKE referral.journal);
	SQL
	all=(no_index chosen id_key brin no_id) rows=$(few 50000 5000) turns=$(rounds 12)
	for ((round = -2; round < turns; round++)); do
		cat <<-SQL
		TRUNCATE bench.staged;
		INSERT INTO bench.staged SELECT * FROM bench.journal_rows(5, ($round + 2) * $rows, 1, $rows, false, 3);
		UPDATE bench.staged SET org_id = 1 + journal_id * 13 % 20, entity_id = 1 + journal_id * 7919 % 100003,
			xid = (xid::text::bigint + ($round + 2) * $rows / 3)::text::xid8;
		VACUUM FULL bench.staged;
		SQL
		for ((turn = 0; turn < ${#all[@]}; turn++)); do
			v=${all[(turn + round + 2) % ${#all[@]}]}
			cat <<-SQL
			SELECT bench.cpu() AS cpu \\gset
			INSERT INTO bench.$v SELECT * FROM bench.staged;
			SELECT bench.stop('5', $round, '$v', $rows, :cpu) \\g /dev/null
			SQL
		done
	done | sql
	report 5 chosen
	for v in "${all[@]}"; do
		value "SELECT format('%s %s bytes per row, %s of them heap', rpad('$v', 10), round(sum(pg_total_relation_size(relid)) / n),
			round(sum(pg_relation_size(relid)) / n))
			FROM pg_partition_tree('bench.$v'), (SELECT count(*) AS n FROM bench.$v) c GROUP BY n"
	done
fi
