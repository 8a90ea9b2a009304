#!/usr/bin/env bash
# How well duplicates are found, and how fast. How it is measured: lib.sh.
# Section 1: accuracy. 2: one lookup among a million, against pg_trgm; also with dead rows, without a right birth date,
# and beside other organisations. 3: scoring pairs, against SQL. 4: all duplicates among 300,000. 5: what the index costs
# an INSERT; memory over many lookups. Only when asked for (BENCH_SECTIONS="6"): lookups among ten million. LOOKUPS is for
# section 5. In sections 2, 4 and 6 people are asked for by a birth date that is right, or has day and month exchanged.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

few() { if [ -n "${BENCH_QUICK:-}" ]; then echo "$2"; else echo "$1"; fi; }
value() { sql -At -c "$1"; }
verdict() { # WHAT VALUE UNIT OPERATOR TARGET
	awk -v w="$1" -v v="$2" -v u="$3" -v o="$4" -v t="$5" \
		'BEGIN { printf "%-48s %s %s, target %s %s: %s\n", w, v, u, o, t, (o == "<=" ? v <= t : v >= t) ? "PASS" : "MISS" }'
}
# The value that a part of the numbers of a file does not exceed.
part() { sort -g "$1" | awk -v p="$2" '{ v[NR] = $1 } END { print v[int((NR - 1) * p) + 1] }'; }

sql -o /dev/null -f matching.sql

if wanted 1; then
	printf '\n1. Accuracy with the shipped model\n'
	sql -o /dev/null -f matching_data.sql -f matching_synthetic.sql -f matching_report.sql -c 'CALL people.load()' -c 'CALL people.run()'
	sql -f matching_print.sql
	if [ "$(value "SELECT to_regproc('referral.match_levels') IS NOT NULL")" = t ]; then
		printf '\nLeave one dataset out: weights from the labelled pairs of all others (levels alone)\n'
		sql -o /dev/null -f matching_leave_out.sql -c "CALL people.take_levels($(few 60000 5000))"
		sql -P footer=off -c "SELECT d.dataset, l.truth, l.best_f1 AS \"best F1\", l.f1 AS \"F1 at even odds\", s.f1 AS \"F1 as shipped\"
			FROM people.summary_clusters s JOIN (SELECT DISTINCT dataset FROM people.person) d USING (dataset), people.left_out(d.dataset) l
			WHERE s.via = 'full' ORDER BY 1"
	fi
fi

# The CPU time of each single statement (getrusage), in ms, to a file per variant: the names stand before the statements.
# Each line: VARIANT, tab, statement.
one_by_one() { # PREPARATIONS < lines
	{
		echo "$1"
		echo 'SET log_statement_stats = on; SET client_min_messages = log;'
		sed -E 's/^([a-z_]+)\t(.*)$/\\warn variant \1\n\2;/'
	} | sql -o /dev/null 2>&1 >/dev/null | awk -v out="$BENCH_OUT/one_by_one." '
		/^variant / { variant = $2 }
		/^!\t[0-9.]+ s user/ && variant { print ($2 + $5) * 1000 > (out variant); variant = "" }'
}

lookups() { # SECTION PEOPLE QUESTIONS TRIGRAM_QUESTIONS
	local section=$1 people=$2 n=$3 rival=$4 i
	sql -o /dev/null <<-SQL
	SET maintenance_work_mem = '1GB';
	CALL bench.drop_patient_index();
	CALL bench.make_patients(1, $((1 + $(value "SELECT count(*) FROM referral.patient WHERE org_id = 1"))), $people);
	CALL bench.make_patient_index();
	VACUUM ANALYZE referral.patient;
	DROP TABLE IF EXISTS bench.ask;
	CREATE TABLE bench.ask AS SELECT row_number() OVER (ORDER BY q.id) AS n, q.*
	    FROM generate_series(1, $n) i, bench.asked(1 + i * 7919::bigint % $people, 1 + i * 7919::bigint % $people) q;
	CREATE UNIQUE INDEX ON bench.ask (n);
	VACUUM ANALYZE bench.ask;
	SQL
	value "SELECT format('patients: %s; index: %s', pg_size_pretty(pg_table_size('referral.patient')), string_agg(pg_size_pretty(pg_relation_size(indexrelid)), ', '))
		FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = c.relam WHERE indrelid = 'referral.patient'::regclass AND amname = 'gin'"
	if [ "$rival" -gt 0 ]; then
		sql -o /dev/null <<-SQL
		SET maintenance_work_mem = '1GB';
		CREATE TABLE bench.text AS
		    SELECT p.id, concat_ws(' ', p.given, p.family, p.birth_date, p.address, p.city) AS t FROM bench.people(1, $people) p;
		CREATE INDEX text_trigrams ON bench.text USING gist (t gist_trgm_ops (siglen = 64));
		VACUUM ANALYZE bench.text;
		SQL
	fi
	rm -f "$BENCH_OUT"/one_by_one.*
	{
		for ((i = 1; i <= n; i++)); do			# every block of the table and of the index once
			printf "warm\tEXECUTE lookup(%s)\n" $i
		done
		for ((i = 1; i <= n; i++)); do
			[ "$rival" = 0 ] || [ $((i % (n / rival))) != 0 ] || printf "trigrams\tEXECUTE trigrams(%s)\n" $i
			printf "lookup\tEXECUTE lookup(%s)\n" $i
		done
	} | one_by_one "
		PREPARE lookup(bigint) AS SELECT m.* FROM bench.ask a, referral.find_matches(1, a.d, 10) m WHERE a.n = \$1;
		$([ "$rival" = 0 ] || echo "PREPARE trigrams(bigint) AS SELECT t.id FROM bench.text t ORDER BY t.t <-> (SELECT a.text FROM bench.ask a WHERE a.n = \$1) LIMIT 10;")"
	first=$(part "$BENCH_OUT/one_by_one.warm" 0.95)
	p50=$(part "$BENCH_OUT/one_by_one.lookup" 0.5) p95=$(part "$BENCH_OUT/one_by_one.lookup" 0.95)
	printf 'first time: p50 %s ms, p95 %s ms; once more: p50 %s ms, p95 %s ms, slowest %s ms (CPU of the whole statement)\n' \
		"$(part "$BENCH_OUT/one_by_one.warm" 0.5)" "$first" "$p50" "$p95" \
		"$(part "$BENCH_OUT/one_by_one.lookup" 1)"
	found 1
}

# Are those asked for found?
found() { # ORGANISATION
	value "SELECT format('the person asked for: first in %s of %s, among ten in %s', count(*) FILTER (WHERE r.rank = 1), count(*), count(r.rank))
		FROM bench.ask a LEFT JOIN LATERAL (SELECT m.rank FROM referral.find_matches($1, a.d, 10) WITH ORDINALITY m (id, p, g, rank)
			WHERE m.id = a.id) r ON true"
}

# Asks bench.ask twice, the second time counts.
ask_again() { # ORGANISATION QUESTIONS
	local i
	rm -f "$BENCH_OUT"/one_by_one.*
	{
		for ((i = 1; i <= $2; i++)); do printf "warm\tEXECUTE lookup(%s)\n" $i; done
		for ((i = 1; i <= $2; i++)); do printf "lookup\tEXECUTE lookup(%s)\n" $i; done
	} | one_by_one "PREPARE lookup(bigint) AS SELECT m.* FROM bench.ask a, referral.find_matches($1, a.d, 10) m WHERE a.n = \$1;"
	p95=$(part "$BENCH_OUT/one_by_one.lookup" 0.95)
	printf 'p50 %s ms, p95 %s ms, slowest %s ms\n' "$(part "$BENCH_OUT/one_by_one.lookup" 0.5)" "$p95" "$(part "$BENCH_OUT/one_by_one.lookup" 1)"
}

if wanted 2; then
	people=$(few 1000000 20000)
	printf "\n2. The ten most similar among %'d people; names and address misspelled, half without number\n" "$people"
	lookups 2 "$people" "$(few 1000 50)" "$(few 20 5)"
	trigrams=$(part "$BENCH_OUT/one_by_one.trigrams" 0.5)
	echo "pg_trgm GiST <->: p50 $trigrams ms"
	verdict 'lookup, p95, the first time' "$first" ms '<=' 3
	verdict 'lookup, p95' "$p95" ms '<=' 3
	verdict 'pg_trgm GiST <-> (five columns as one text) / lookup, p50' "$(awk "BEGIN { print $trigrams / $p50 }")" x '>=' 200
	million=$p95
	sql -o /dev/null -c "DROP TABLE bench.text"

	printf 'The same after an update of every fifth patient, without VACUUM:\n'
	sql -o /dev/null <<-SQL
	SET session_replication_role = replica;
	UPDATE referral.patient SET other_phones = ARRAY['3022' || lpad((patient_id % 1000000)::text, 6, '0')] WHERE org_id = 1 AND patient_id % 5 = 0;
	SQL
	ask_again 1 "$(few 1000 50)"
	verdict 'lookup among dead rows, p95' "$p95" ms '<=' 3
	found 1
	printf 'The same, asked for without a birth date, with a wrong year, or with the first of January:\n'
	sql -o /dev/null <<-SQL
	TRUNCATE bench.ask;
	INSERT INTO bench.ask SELECT a.i, a.id, bench.demographics(a), ''
	FROM (SELECT i, x.id, x.family, x.given, x.middle, x.sex, x.phone, x.email, x.address, x.city, x.state, x.postal_code, x.ssn,
	             CASE i % 3 WHEN 1 THEN x.birth_date - 365 * 3 WHEN 2 THEN date_trunc('year', x.birth_date)::date END AS birth_date
	      FROM generate_series(1, $(few 1000 50)) i, bench.again(1 + i * 7919::bigint % $people, 1 + i * 7919::bigint % $people) x) a;
	VACUUM ANALYZE bench.ask;
	SQL
	ask_again 1 "$(few 1000 50)"
	verdict 'lookup by other things, p95' "$p95" ms '<=' 3
	found 1
	printf "The same in an organisation of %'d patients, beside those:\n" $((people / 10))
	sql -o /dev/null <<-SQL
	CALL bench.make_patients(10, 1, $((people / 10)));
	TRUNCATE bench.ask;
	INSERT INTO bench.ask SELECT i, q.* FROM generate_series(1, $(few 1000 50)) i,
	    bench.asked(1 + i * 7919::bigint % $((people / 10)), 1 + i * 7919::bigint % $((people / 10))) q;
	VACUUM ANALYZE bench.ask;
	SQL
	sql -o /dev/null -c "ANALYZE referral.patient"
	ask_again 10 "$(few 1000 50)"
	verdict 'lookup in one of several organisations, p95' "$p95" ms '<=' 5
	found 10
	sql -o /dev/null -c "SET session_replication_role = replica; DELETE FROM referral.patient WHERE org_id = 10" -c "VACUUM referral.patient"
fi

# Much the same model as the best SQL there is: one CASE per field, cheap questions first. Null is no evidence.
# levenshtein: the fastest, names compared by edits alone. jaro_winkler: names compared as in C, by our own function.
bench_score() { # levenshtein | jaro_winkler
	local names='3 - levenshtein_less_equal(\1, \2, 2)'
	[ "$1" = levenshtein ] || names="width_bucket(referral.jaro_winkler(\1, \2), '{0.85,0.92}'::float8[])"
	sed "s/NAMES(\(a\.[a-z]*\), \(b\.[a-z]*\))/$names/" <<-'TEXT'
	-20
	+ CASE WHEN a.family = b.family THEN 7.7::float8 WHEN a.family = b.given AND a.given = b.family THEN 5.3
	       ELSE CASE NAMES(a.family, b.family) WHEN 2 THEN 5.9 WHEN 1 THEN 2.6 ELSE -5.0 END END
	+ CASE WHEN a.given = b.given THEN 7.1::float8 WHEN a.family = b.given AND a.given = b.family THEN 5.3
	       ELSE CASE NAMES(a.given, b.given) WHEN 2 THEN 4.9 WHEN 1 THEN 1.9
	            ELSE CASE WHEN left(a.given, 1) = b.given OR a.given = left(b.given, 1) THEN -0.6 ELSE -5.6 END END END
	+ CASE WHEN a.middle IS NULL OR b.middle IS NULL THEN 0::float8 WHEN a.middle = b.middle THEN 5.3
	       WHEN left(a.middle, 1) = left(b.middle, 1) THEN 2.0 ELSE -3.2 END
	+ CASE WHEN a.birth_date IS NULL OR b.birth_date IS NULL THEN 0::float8 WHEN a.birth_date = b.birth_date THEN 13.0
	       WHEN abs(a.birth_date - b.birth_date) <= 9 THEN 5.9 WHEN abs(a.birth_date - b.birth_date) > 366 THEN -5.6
	       WHEN extract(month FROM a.birth_date) = extract(day FROM b.birth_date)
	            AND extract(day FROM a.birth_date) = extract(month FROM b.birth_date) THEN 8.0 ELSE -0.3 END
	+ CASE WHEN a.sex IS NULL OR b.sex IS NULL THEN 0::float8 WHEN a.sex = b.sex THEN 1.0 ELSE -4.6 END
	+ CASE WHEN a.phone IS NULL OR b.phone IS NULL THEN 0::float8 WHEN a.phone = b.phone THEN 10.4
	       WHEN levenshtein_less_equal(a.phone, b.phone, 1) <= 1 THEN 6.0 ELSE -2.0 END
	+ CASE WHEN a.email IS NULL OR b.email IS NULL THEN 0::float8 WHEN a.email = b.email THEN 11.0
	       WHEN levenshtein_less_equal(a.email, b.email, 2) <= 2 THEN 6.0 ELSE -1.0 END
	+ CASE WHEN a.address IS NULL OR b.address IS NULL THEN 0::float8 WHEN a.address = b.address THEN 9.0
	       WHEN levenshtein_less_equal(a.address, b.address, 2) <= 2 THEN 6.0 ELSE -1.5 END
	+ CASE WHEN a.postal_code IS NULL OR b.postal_code IS NULL THEN 0::float8 WHEN a.postal_code = b.postal_code THEN 6.0
	       WHEN a.city = b.city THEN 4.0 ELSE -1.5 END
	+ CASE WHEN a.ssn IS NULL OR b.ssn IS NULL THEN 0::float8 WHEN a.ssn = b.ssn THEN 12.0
	       WHEN levenshtein_less_equal(a.ssn, b.ssn, 1) <= 1 THEN 7.0 ELSE -4.6 END
	TEXT
}

if wanted 3; then
	printf '\n3. Scoring pairs: any two people, and a person with the same one entered again\n'
	sql -o /dev/null <<-SQL
	-- any two: 4,000 and a few entered again, numbered from ten million; alike: each with itself
	INSERT INTO bench.flat SELECT * FROM bench.flat(1, $(few 250 50), true);
	UPDATE bench.flat SET id = id + 10000000;
	INSERT INTO bench.flat SELECT * FROM bench.flat(1, 4000, false);
	CREATE TABLE bench.left (LIKE bench.flat);
	INSERT INTO bench.left SELECT * FROM bench.flat(1, $(few 50000 5000), false);
	CREATE TABLE bench.right (LIKE bench.flat);
	INSERT INTO bench.right SELECT * FROM bench.flat(1, $(few 50000 5000), true);
	VACUUM ANALYZE;
	SQL
	pairs=$(value "SELECT 4000 * count(*) FROM bench.flat WHERE id > 10000000") same=$(value "SELECT count(*) FROM bench.left")
	any="FROM bench.flat a, bench.flat b WHERE a.id <= 4000 AND b.id > 10000000"
	alike="FROM bench.left a JOIN bench.right b ON b.id = a.id"
	statement[pairs_loop]="SELECT count(*) FILTER (WHERE a.id = b.id) $any"
	statement[pairs_c]="SELECT count(*) FILTER (WHERE referral.match_probability(a.d, b.d) >= 0.5) $any"
	statement[pairs_sql]="SELECT count(*) FILTER (WHERE $(bench_score levenshtein) >= 0) $any"
	statement[pairs_sql_jw]="SELECT count(*) FILTER (WHERE $(bench_score jaro_winkler) >= 0) $any"
	statement[alike_loop]="SELECT count(*) FILTER (WHERE a.family = b.given) $alike"
	statement[alike_c]="SELECT count(*) FILTER (WHERE referral.match_probability(a.d, b.d) >= 0.5) $alike"
	statement[alike_sql]="SELECT count(*) FILTER (WHERE $(bench_score levenshtein) >= 0) $alike"
	statement[alike_sql_jw]="SELECT count(*) FILTER (WHERE $(bench_score jaro_winkler) >= 0) $alike"
	turns() { # SECTION ROUNDS ROWS VARIANT...
		local section=$1 rounds=$2 rows=$3 round turn variant
		shift 3
		{
			echo "SET max_parallel_workers_per_gather = 0;"
			for ((round = -1; round < rounds; round++)); do
				for ((turn = 0; turn < $#; turn++)); do
					variant=${*:$(((turn + round + 1) % $# + 1)):1}
					echo "SELECT bench.cpu() AS cpu \\gset"
					echo "${statement[$variant]} \\g /dev/null"
					echo "SELECT bench.stop('$section', $round, '$variant', $rows, :cpu) \\g /dev/null"
				done
			done
		} | sql
	}
	turns 3a "$(rounds 8)" "$pairs" pairs_loop pairs_c pairs_sql pairs_sql_jw
	report 3a pairs_c
	turns 3b "$(rounds 8)" "$same" alike_loop alike_c alike_sql alike_sql_jw
	report 3b alike_c
	million_pairs() { value "SELECT round((1000 / percentile_cont(0.5) WITHIN GROUP (ORDER BY ns / n))::numeric, 2) FROM bench.result WHERE variant = '$1'"; }
	verdict 'any two, loop included' "$(million_pairs pairs_c)" 'million pairs per CPU s' '>=' 2.5
	ratio 3a 'in SQL, names by edits / in C' pairs_sql pairs_c '>=' 6
	ratio 3a 'in SQL, names by Jaro-Winkler / in C' pairs_sql_jw pairs_c '>=' 6
	ratio 3b 'the same person again: SQL, edits / C' alike_sql-alike_loop alike_c-alike_loop '>=' 6
	ratio 3b 'the same: SQL, Jaro-Winkler / C' alike_sql_jw-alike_loop alike_c-alike_loop '>=' 6
fi

if wanted 4; then
	people=$(few 270000 18000)
	printf "\n4. All duplicates among %'d people and %'d of them entered again\n" "$people" $((people / 9))
	sql -o /dev/null <<-SQL
	SET maintenance_work_mem = '1GB';
	CALL bench.drop_patient_index();
	CALL bench.make_patients(2, 20000001, 20000000 + $people, 9);
	CALL bench.make_patient_index();
	VACUUM ANALYZE referral.patient;
	SQL
	seconds=$(sql -At <<-SQL
	SELECT bench.cpu() AS cpu \gset
	CREATE TABLE bench.found AS SELECT * FROM referral.find_duplicates(2) \g /dev/null
	SELECT round((bench.cpu() - :cpu) / 1e9, 2);
	SQL
	)
	value "SELECT format('%s pairs; of the %s entered again %s were found, %s of them probable or certain; of two people: %s possible, %s probable, %s certain',
			count(*), $people / 9, count(*) FILTER (WHERE same), count(*) FILTER (WHERE same AND grade IN ('probable', 'certain')),
			count(*) FILTER (WHERE NOT same AND grade = 'possible'), count(*) FILTER (WHERE NOT same AND grade = 'probable'),
			count(*) FILTER (WHERE NOT same AND grade = 'certain'))
		FROM (SELECT f.*, f.duplicate_id - f.patient_id = 20000000 + $people AS same FROM bench.found f) f"
	verdict "find_duplicates, $((people + people / 9)) people" "$seconds" 'CPU s' '<=' "$(few 20 2)"
fi

if wanted 5; then
	rows=$(few 10000 1000)
	printf "\n5. Inserting %'d values beside %'d, with the index and without; memory over lookups\n" "$rows" "$(few 300000 10000)"
	sql -o /dev/null <<-SQL
	CREATE TABLE bench.value AS SELECT p.id, bench.demographics(p) AS d FROM bench.people(1, $(few 400000 16000)) p;
	CREATE TABLE bench.plain AS SELECT * FROM bench.value WHERE id <= $(few 300000 10000);
	CREATE TABLE bench.keyed AS SELECT * FROM bench.plain;
	CREATE INDEX keyed_index ON bench.keyed USING gin (d)
	    $(value "SELECT coalesce('WITH (' || array_to_string(reloptions, ', ') || ')', '') FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
		WHERE indrelid = 'referral.patient'::regclass AND amname = 'gin'");
	VACUUM ANALYZE bench.plain, bench.keyed;
	SQL
	for ((round = 0; round < $(few 8 4); round++)); do
		for variant in plain keyed; do
			echo "SELECT bench.cpu() AS cpu \\gset"
			echo "INSERT INTO bench.$variant SELECT * FROM bench.value WHERE id > $(few 300000 10000) + $round * $rows AND id <= $(few 300000 10000) + ($round + 1) * $rows;"
			[ $variant = plain ] || echo "SELECT gin_clean_pending_list('bench.keyed_index') \\g /dev/null"
			echo "SELECT bench.stop('5', $round - 2, '$variant', $rows, :cpu) \\g /dev/null"
		done
	done | sql
	report 5 plain
	verdict 'the index, per row' "$(value "SELECT round((percentile_cont(0.5) WITHIN GROUP (ORDER BY k.ns / k.n - p.ns / p.n) / 1000)::numeric, 1)
		FROM bench.result k JOIN bench.result p USING (section, round) WHERE section = '5' AND k.variant = 'keyed' AND p.variant = 'plain'")" 'CPU us' '<=' 40

	# Memory of one session: at its 1,000th lookup, and at its last.
	lookups=${LOOKUPS:-$(few 100000 3000)}
	sql -o /dev/null <<-SQL
	CALL bench.make_patients(5, 50000001, 50020000);
	CREATE TABLE bench.asked AS SELECT row_number() OVER (ORDER BY q.id) AS n, q.* FROM bench.asked(50000001, 50005000) q;
	CREATE UNIQUE INDEX ON bench.asked (n);
	CREATE TABLE bench.memory (at int, contexts int, bytes bigint, pages bigint);
	VACUUM ANALYZE referral.patient, bench.asked;
	SQL
	cat > "$BENCH_OUT/memory.pgbench" <<-'TEXT'
	SELECT count(*) FROM bench.asked a, referral.find_matches(5, a.d, 10) m WHERE a.n = 1 + :n % 5000;
	\if :n = 1000 or :n = :last
	INSERT INTO bench.memory SELECT :n, count(*), sum(total_bytes), split_part(pg_read_file('/proc/self/statm'), ' ', 6)::bigint FROM pg_backend_memory_contexts;
	\endif
	\set n :n + 1
	TEXT
	pgbench -n -M prepared -c 1 -t "$lookups" -D n=1 -D last="$lookups" -f "$BENCH_OUT/memory.pgbench" > "$BENCH_OUT/memory.log" 2>&1 ||
		{ cat "$BENCH_OUT/memory.log" >&2; exit 1; }
	value "SELECT format('after 1,000 lookups %s bytes in %s contexts, after %s: %s bytes in %s; data of the process: %s kB more',
			a.bytes, a.contexts, b.at, b.bytes, b.contexts, (b.pages - a.pages) * 4)
		FROM bench.memory a JOIN bench.memory b ON a.at = 1000 AND b.at > 1000"
	verdict "memory after $lookups lookups" "$(value "SELECT b.bytes - a.bytes FROM bench.memory a JOIN bench.memory b ON a.at = 1000 AND b.at > 1000")" 'bytes more' '<=' 0
fi

if [[ " ${BENCH_SECTIONS:-} " == *" 6 "* ]]; then
	people=$(few 10000000 40000)
	printf "\n6. The same lookup among %'d people\n" "$people"
	lookups 6 "$people" "$(few 1000 50)" 0
	[ -z "${million:-}" ] || verdict 'p95, ten million / one million' "$(awk "BEGIN { print $p95 / $million }")" x '<=' 3
fi
