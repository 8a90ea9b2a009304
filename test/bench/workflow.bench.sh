#!/usr/bin/env bash
# What a guarded, journaled state change costs, against the same work by hand and in PL/pgSQL. How it is measured:
# lib.sh.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

# ---------- The statements; :names are those of bench.turn() ----------

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

# ---------- Checks ----------

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
	ratio 2 'ours / floor' ours floor '<=' 1.2
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
