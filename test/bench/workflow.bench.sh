#!/usr/bin/env bash
# What a guarded, journaled state change costs, against the same work by hand and in PL/pgSQL. All numbers are CPU time
# of the backend (Linux: /proc/self/schedstat), not wall time. The variants of a section take turns in one session, in
# blocks whose order rotates; a ratio is the median of the ratios round by round, with the smallest and the largest.
# BENCH_SECTIONS="1 2" narrows it, BENCH_QUICK=1 runs few rounds: to see that it works, not to measure.
set -euo pipefail
cd "$(dirname "$0")"
export PGTZ=UTC PGAPPNAME=bench
: "${BENCH_OUT:?run it with make bench}"

sql() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
wanted() { [[ " ${BENCH_SECTIONS:-1 2 3 4 5} " == *" $1 "* ]]; }
rounds() { if [ -n "${BENCH_QUICK:-}" ]; then echo 2; else echo "$1"; fi; }

# ---------- The statements; :names are those of bench.turn() ----------

declare -A statement before

plain_update() { # table, condition
	echo "UPDATE bench.$1 SET state = :to_state, scheduled_for = :new_time $2"
}

floor_update() { # condition
	cat <<-SQL
	WITH moved AS (
		UPDATE bench.floor SET state = :to_state, scheduled_for = :new_time, step = :to_state, entered_at = now(),
			version = version + 1, transition_id = :transition_id $1
		RETURNING org_id, referral_id, version, state, step)
	INSERT INTO bench.journal_floor (org_id, entity_id, version, rule_version, occurred_at, recorded_at, xid,
		xid_epoch, from_state, to_state, entity, action, transition, from_step, to_step, actor, actor_kind, db_user,
		application_name, changes)
	SELECT org_id, referral_id, version, :rule_version::bigint, now(), clock_timestamp(), pg_current_xact_id(),
		1, :from_state::referral.state, state, 'ours', 'update', :transition, :from_state, step,
		session_user, 'user', session_user, current_setting('application_name'), :changes::jsonb
	FROM moved
	SQL
}

# ---------- Measuring ----------

# Single statements in their own transactions, prepared. ROUNDS must be even; two more warm up.
measure() { # SECTION ROUNDS SIZE ROWS VARIANT...
	local section=$1 rounds=$2 size=$3 rows=$4 script=$BENCH_OUT/section$1.pgbench warm=20 number=0 variant
	shift 4
	{
		echo "\\set block :n / ($size + $warm)"
		echo "\\set at mod(:n, $size + $warm)"
		echo "\\set round :block / $# - 2"
		echo "\\set variant mod(:block + :round + 2, $#)"
		echo "\\set id 1 + mod(7919 * :at + 1013 * ((:round + 2) / 2), $rows)"
		echo "\\if :at = 0"
		for variant; do
			[ -z "${before[$variant]:-}" ] || printf '\\if :variant = %d\n%s;\n\\endif\n' $number "${before[$variant]}"
			number=$((number + 1))
		done
		echo "SELECT * FROM bench.turn(:round) \\gset"
		printf '\\elif :at = %d\n' $warm
		echo "SELECT bench.cpu() AS cpu \\gset"
		printf '\\endif\n'
		number=0
		for variant; do
			printf '\\if :variant = %d\n%s;\n' $number "${statement[$variant]}"
			echo "\\if :at = $size + $warm - 1"
			echo "SELECT bench.stop('$section', :round, '$variant', $size, :cpu);"
			printf '\\endif\n\\endif\n'
			number=$((number + 1))
		done
		echo "\\set n :n + 1"
	} > "$script"
	pgbench -n -M prepared -c 1 -t $(((rounds + 2) * $# * (size + warm))) -D n=0 -f "$script" \
		> "$script.log" 2>&1 || { cat "$script.log" >&2; exit 1; }
	grep -q 'failed transactions: 0 ' "$script.log"
}

# Statements over all rows. FIRST and ROUNDS must be even. VACUUM keeps the tables equally bloated.
measure_bulk() { # SECTION FIRST ROUNDS ROWS VARIANT...
	local section=$1 first=$2 rounds=$3 rows=$4 round turn variant
	shift 4
	for ((round = first; round < first + rounds; round++)); do
		echo "SET work_mem = '64MB';"
		echo "SELECT * FROM bench.turn($round) \\gset"
		for ((turn = 0; turn < $#; turn++)); do
			variant=${*:$(((turn + round) % $# + 1)):1}
			echo "SELECT bench.cpu() AS cpu \\gset"
			sed -E "s/([^:]):([a-z_]+)/\1:'\2'/g" <<< "${statement[$variant]};"
			echo "SELECT bench.stop('$section', $round, '$variant', $rows, :cpu) \\g /dev/null"
			echo "VACUUM bench.$variant;"
		done
	done | sql
}

# The cost of each variant of a section, and as a multiple of BASE: median, middle half and extremes of the rounds.
report() { # SECTION BASE
	sql -v section="$1" -v base="$2" <<-'SQL'
	\pset footer off
	SELECT variant,
	       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY us))::numeric, 2) AS "CPU us per row",
	       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY x))::numeric, 2) AS "x base",
	       format('%s to %s', round((percentile_cont(0.25) WITHIN GROUP (ORDER BY x))::numeric, 2),
	              round((percentile_cont(0.75) WITHIN GROUP (ORDER BY x))::numeric, 2)) AS "middle half",
	       format('%s to %s', round(min(x)::numeric, 2), round(max(x)::numeric, 2)) AS "all rounds",
	       count(*) || ' x ' || max(n) AS "rounds x rows"
	FROM (SELECT r.variant, r.n, r.ns / r.n / 1000 AS us, (r.ns / r.n) / (b.ns / b.n) AS x
	      FROM bench.result r JOIN bench.result b USING (section, round)
	      WHERE section = :'section' AND b.variant = :'base') r
	GROUP BY variant ORDER BY 3;
	SQL
}

# One ratio with its target, and whether it was met. "a-b" stands for what a costs more than b.
ratio() { # SECTION WHAT VARIANT BASE OPERATOR TARGET
	sql -At -v section="$1" -v what="$2" -v variant="$3" -v base="$4" -v op="$5" -v target="$6" <<-'SQL'
	WITH cost AS (
	    SELECT round, variant, ns / n AS ns FROM bench.result WHERE section = :'section'
	    UNION ALL
	    SELECT round, a.variant || '-' || b.variant, a.ns / a.n - b.ns / b.n
	    FROM bench.result a JOIN bench.result b USING (section, round) WHERE section = :'section'),
	ratio AS (
	    SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY x))::numeric AS x,
	           (percentile_cont(0.25) WITHIN GROUP (ORDER BY x))::numeric AS low,
	           (percentile_cont(0.75) WITHIN GROUP (ORDER BY x))::numeric AS high
	    FROM (SELECT a.ns / nullif(b.ns, 0) AS x FROM cost a JOIN cost b USING (round)
	          WHERE a.variant = :'variant' AND b.variant = :'base') r)
	SELECT format('%s %s (middle half %s to %s), target %s %s: %s', rpad(:'what', 48), round(x, 2), round(low, 2),
	              round(high, 2), :'op', :'target',
	              CASE WHEN CASE :'op' WHEN '<=' THEN round(x, 2) <= :target ELSE round(x, 2) >= :target END
	                   THEN 'PASS' ELSE 'MISS' END)
	FROM ratio;
	SQL
}

# Every variant wrote a journal row per change, and the same one: compared are all columns but id, times and xid.
check_journals() { # RIVAL...
	PGOPTIONS="-c bench.rivals=$(tr ' ' , <<< "$*")" sql -At <<-'SQL'
	DO $$
	DECLARE
	    name text;
	    columns text := 'org_id, entity_id, version, rule_version, xid_epoch, from_state, to_state, entity, action,'
	        ' transition, from_step, to_step, actor, actor_kind, db_user, application_name, reason, origin,'
	        ' correlation_id, changes';
	    mine bigint := (SELECT count(*) FROM referral.journal WHERE entity = 'ours' AND action = 'update');
	    n bigint;
	    differing bigint;
	BEGIN
	    FOREACH name IN ARRAY string_to_array(current_setting('bench.rivals'), ',') LOOP
	        EXECUTE format('SELECT count(*) FROM bench.journal_%s WHERE entity = ''ours'' AND action = ''update''', name)
	           INTO n;
	        EXECUTE format('SELECT count(*) FROM (SELECT %1$s FROM referral.journal'
	                       ' WHERE entity = ''ours'' AND action = ''update'''
	                       ' EXCEPT ALL SELECT %1$s FROM bench.journal_%2$s) d', columns, name) INTO differing;
	        IF n <> mine OR differing > 0 THEN
	            RAISE EXCEPTION '% wrote % journal rows, ours %, % of which differ', name, n, mine, differing;
	        END IF;
	        EXECUTE format('SELECT count(*) FROM (SELECT referral_id, state, step, version, transition_id, scheduled_for'
	                       ' FROM bench.ours EXCEPT ALL SELECT referral_id, state, step, version, transition_id,'
	                       ' scheduled_for FROM bench.%s) d', name) INTO differing;
	        IF differing > 0 THEN
	            RAISE EXCEPTION '% left % rows that differ from ours', name, differing;
	        END IF;
	    END LOOP;
	    RAISE NOTICE 'checked: % changes, the same rows and the same journal rows by every variant', mine;
	END $$;
	SQL
}

# The groups wrote equally many journal rows, and some.
check_counts() { # EXPRESSION CONDITION
	sql -At <<-SQL
	SELECT CASE WHEN min(n) = max(n) AND count(*) > 1 THEN format('checked: %s journal rows by each', min(n))
	       ELSE 'UNEQUAL: ' || string_agg(what || ' ' || n, ', ') END
	FROM (SELECT $1 AS what, count(*) AS n FROM referral.journal WHERE action = 'update' AND $2 GROUP BY 1) j
	SQL
}

# ---------- The sections ----------

all=(bare floor ours plpgsql_static plpgsql_execute plpgsql_jsonb)
sql -o /dev/null -f workflow.sql
cat <<-'TEXT'
bare             the UPDATE of state and one other column, no triggers, no journal
floor            one statement: the UPDATE with all derived columns, and by CTE the journal row, all values given
                 as constants; no checks. The least that plain SQL can do it with
ours             the UPDATE, with guard (2 rule expressions) and journal triggers in C
plpgsql_static   the same in PL/pgSQL: look-up of the transition by key, rules compiled into the function,
                 generated column-by-column diff
plpgsql_execute  the same, the rules held as SQL text and run by EXECUTE
plpgsql_jsonb    as plpgsql_static, with the usual generic audit: to_jsonb of both rows compared
Not done by the rivals: privileges of the journal's writer, actor kinds, refusals that explain themselves.
Not measured: refusals, first use in a session, guards that query tables, contention among clients.
TEXT

if wanted 1; then
	printf '\n1. State change of one row per transaction, prepared, synchronous_commit = off\n'
	for v in "${all[@]}"; do statement[$v]=$(plain_update "$v" 'WHERE org_id = 1 AND referral_id = :id'); done
	statement[floor]=$(floor_update 'WHERE org_id = 1 AND referral_id = :id')
	measure 1 "$(rounds 60)" 300 100000 "${all[@]}"
	report 1 floor
	check_journals floor plpgsql_static plpgsql_execute plpgsql_jsonb
	ratio 1 'ours / floor' ours floor '<=' 1.25
	ratio 1 'ours / PL/pgSQL, static rules' ours plpgsql_static '<=' 0.5
	ratio 1 'ours / PL/pgSQL, rules as data' ours plpgsql_execute '<=' 0.5
	ratio 1 'ours / PL/pgSQL, generic jsonb diff' ours plpgsql_jsonb '<=' 0.5
	ratio 1 'what they add to bare: ours / floor' ours-bare floor-bare '<=' 1.25
	ratio 1 'what triggers add to bare: ours / static rules' ours-bare plpgsql_static-bare '<=' 0.5
fi

if wanted 2; then
	printf '\n2. State change of 100,000 rows in one statement\n'
	for v in "${all[@]}"; do statement[$v]=$(plain_update "$v" ''); done
	statement[floor]=$(floor_update '')
	for v in "${all[@]}"; do sql -c "VACUUM ANALYZE bench.$v"; done
	# the slow ones only in the first rounds
	measure_bulk 2 0 2 100000 bare floor ours plpgsql_static plpgsql_jsonb
	check_journals floor plpgsql_static plpgsql_jsonb
	measure_bulk 2 2 "$(rounds 6)" 100000 floor ours
	check_journals floor
	report 2 floor
	ratio 2 'ours / floor' ours floor '<=' 1.35
	ratio 2 'what they add to bare: ours / floor' ours-bare floor-bare '<=' 1.35
	ratio 2 'PL/pgSQL, generic jsonb diff / ours' plpgsql_jsonb ours '>=' 3.5
	ratio 2 'PL/pgSQL, static rules / ours' plpgsql_static ours '>=' 1.7
fi

if wanted 3; then
	printf '\n3. A workflow of 100 transitions and 20 guards against one of 5 and 4\n'
	sql -o /dev/null -c "SELECT bench.make_ours('small', 20000, 5, 4), bench.make_ours('small_again', 20000, 5, 4),
		bench.make_ours('large', 20000, 100, 20)"
	for v in small small_again large; do
		statement[$v]=$(plain_update "$v" 'WHERE org_id = 1 AND referral_id = :id')
	done
	measure 3 "$(rounds 60)" 300 20000 small small_again large
	report 3 small
	check_counts entity "entity IN ('small', 'small_again', 'large')"
	ratio 3 'noise: the small one against its double' small_again small '<=' 1.05
	ratio 3 'large / small' large small '<=' 1.05
fi

if wanted 4; then
	printf '\n4. next_transitions() for a row with eight transitions, against reading the row\n'
	statement[next_transitions]="SELECT count(*) FROM referral.next_transitions('ours', 1, :id)"
	statement[read_row]='SELECT state FROM bench.ours WHERE org_id = 1 AND referral_id = :id'
	measure 4 "$(rounds 30)" 200 100000 read_row next_transitions
	report 4 read_row
fi

if wanted 5; then
	printf '\n5. The change of section 1 by the owner, and by a coordinator under row-level security\n'
	statement[owner]=$(plain_update ours 'WHERE org_id = 1 AND referral_id = :id')
	statement[member]=$(plain_update ours 'WHERE org_id = 1 AND referral_id = :id + 50000')
	before[owner]='RESET SESSION AUTHORIZATION' before[member]='SET SESSION AUTHORIZATION bench_member'
	last=$(sql -At -c 'SELECT max(journal_id) FROM referral.journal')
	measure 5 "$(rounds 60)" 300 50000 owner member
	report 5 owner
	check_counts "entity_id > 50000" "entity = 'ours' AND journal_id > $last"
fi
