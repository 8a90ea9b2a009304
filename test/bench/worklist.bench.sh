#!/usr/bin/env bash
# What work items cost: to claim the next one among many, and to have one for each referral. How it is measured: lib.sh.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

few() { if [ -n "${BENCH_QUICK:-}" ]; then echo "$2"; else echo "$1"; fi; }
sql -o /dev/null -f lib.sql
sql -o /dev/null <<-'SQL'
	CREATE TABLE bench.claim (variant text, block int, us float8);
	-- claims in a row, each a transaction of its own, and what a claim of each block costs
	CREATE PROCEDURE bench.claims(variant text, blocks int, size int) LANGUAGE plpgsql AS $$
	DECLARE
	    started bigint;
	BEGIN
	    FOR block IN 1 .. blocks LOOP
	        started := bench.cpu();
	        FOR i IN 1 .. size LOOP
	            PERFORM referral.claim_next(1, 'intake');
	            COMMIT;
	        END LOOP;
	        INSERT INTO bench.claim VALUES (variant, block, (bench.cpu() - started) / 1000.0 / size);
	        COMMIT;
	    END LOOP;
	END $$;
	CREATE PROCEDURE bench.referrals(n int) LANGUAGE plpgsql AS $$
	BEGIN
	    FOR i IN 1 .. n LOOP
	        INSERT INTO referral.referral (org_id, patient_id, specialty, urgency) VALUES (1, 1, 'cardiology', 'urgent');
	        COMMIT;
	    END LOOP;
	END $$;
	CREATE PROCEDURE bench.changes(n int) LANGUAGE plpgsql AS $$
	BEGIN
	    FOR i IN 1 .. n LOOP
	        UPDATE referral.referral SET reason_text = i::text WHERE org_id = 1 AND referral_id = 1;
	        COMMIT;
	    END LOOP;
	END $$;
	INSERT INTO referral.organization_member (org_id, login) VALUES (1, current_user);
	INSERT INTO referral.patient (family) VALUES ('Doe');
	INSERT INTO referral.queue_member (org_id, queue_id, member)
	SELECT 1, queue_id, current_user FROM referral.queue WHERE org_id = 1 AND name = 'intake';
SQL
claims() { # VARIANT BLOCKS SIZE
	sql -o /dev/null -c "CALL bench.claims('$1', $2, $3)"
	sql -At -c "SELECT format('%-12s %s', '$1', string_agg(round(us)::text, ' ' ORDER BY block)) FROM bench.claim WHERE variant = '$1'"
}

if wanted 1; then
	rows=$(few 1000000 20000)
	printf "\n1. claim_next() among %'d open items, us of CPU for each of 20 blocks of claims in a row\n" "$rows"
	cat <<-'TEXT'
	plain        autovacuum as it is set, no other session
	old_snapshot while a session keeps a snapshot from before the first claim, so that nothing can be cleaned up
	TEXT
	sql -o /dev/null <<-SQL
	SET session_replication_role = replica;
	INSERT INTO referral.work_item (org_id, queue_id, entity, entity_id, kind, title, score, version)
	SELECT 1, q.queue_id, 'patient', g, 'task', 'x', -1143600 + (hashint8(g) % 10000000) / 10000.0, 1
	FROM generate_series(1, $rows) g, referral.queue q WHERE q.org_id = 1 AND q.name = 'intake';
	VACUUM ANALYZE referral.work_item;
	SQL
	sql -o /dev/null -c 'ALTER SYSTEM SET autovacuum = on' -c 'SELECT pg_reload_conf()'
	claims plain 20 "$(few 5000 50)"
	psql -X -q -o /dev/null -c 'BEGIN ISOLATION LEVEL REPEATABLE READ' -c 'SELECT 1' -c 'SELECT pg_sleep(600)' 2> /dev/null &
	holder=$!
	sleep 1
	claims old_snapshot 20 "$(few 1000 50)"
	kill "$holder" 2> /dev/null || true
	sql -o /dev/null -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()" \
		-c 'ALTER SYSTEM RESET autovacuum' -c 'SELECT pg_reload_conf()'
	wait "$holder" 2> /dev/null || true
	sql -At -c "SELECT format('checked: nobody has an item twice: %s', count(*) = count(DISTINCT work_item_id)) FROM referral.work_item WHERE owner IS NOT NULL"
fi

if wanted 2; then
	size=$(few 3000 100)
	printf "\n2. A referral that comes in, and an UPDATE that no rule asks for, with and without the trigger work, us of CPU\n"
	sql -At <<-SQL
	CALL bench.referrals($size); CALL bench.changes(100);
	ANALYZE referral.referral, referral.work_item, referral.sla_clock;
	CALL bench.referrals(200);
	SELECT bench.cpu() AS a \gset
	CALL bench.referrals($size);
	SELECT bench.cpu() AS b \gset
	CALL bench.changes($size);
	SELECT bench.cpu() AS c \gset
	ALTER TABLE referral.referral DISABLE TRIGGER work;
	CALL bench.referrals(200); CALL bench.changes(100);
	SELECT bench.cpu() AS d \gset
	CALL bench.referrals($size);
	SELECT bench.cpu() AS e \gset
	CALL bench.changes($size);
	SELECT bench.cpu() AS f \gset
	ALTER TABLE referral.referral ENABLE TRIGGER work;
	SELECT format('new: %s with, %s without; UPDATE: %s with, %s without', (:b - :a) / 1000 / $size, (:e - :d) / 1000 / $size,
	              (:c - :b) / 1000 / $size, (:f - :e) / 1000 / $size);
	SQL
fi
