#!/usr/bin/env bash
# What it costs to route a referral. How it is measured: lib.sh.
# Section 1: finding the rule among 1,000, net of an empty loop, against its floors: a hand-written CASE with as many
# branches, and an index over the values that the rules compare. The rule that fits is the last one, or in the middle.
# Section 2: route(), with its decision and the moved item, and the trigger when a referral comes in.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

sql -o /dev/null <<'SQL'
\ir lib.sql
INSERT INTO referral.patient (org_id, patient_id) VALUES (1, 1);
INSERT INTO referral.queue_member (org_id, queue_id, member) SELECT 1, queue_id, 'ann' FROM referral.queue WHERE org_id = 1;
-- Rules that each want a specialty, an urgency and an amount; s1000 is the last.
CREATE FUNCTION bench.activate(n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set WHERE name = 'routing/standard'
    RETURNING rule_version_id INTO v;
    INSERT INTO referral.routing_rule (rule_version_id, name, priority, applies_when, queue)
    SELECT v, 's' || i, i, format('specialty = %L AND urgency >= ''urgent'' AND (expected_value IS NULL OR expected_value < 1000)', 's' || i),
           (ARRAY['intake', 'scheduling', 'authorization', 'clinical_triage'])[1 + i % 4]
    FROM generate_series(1001 - n, 1000) i;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
END $$;
SELECT bench.activate(1000);
INSERT INTO referral.referral (org_id, referral_id, patient_id, specialty, urgency) VALUES (1, 1, 1, 's1000', 'urgent'), (1, 2, 1, 's500', 'urgent');
SELECT format('CREATE FUNCTION bench.by_case(r referral.referral) RETURNS text LANGUAGE sql STABLE AS $f$ SELECT CASE %s END $f$',
              string_agg(format('WHEN r.specialty = %L AND r.urgency >= ''urgent'' AND (r.expected_value IS NULL OR r.expected_value < 1000) THEN %L', name, queue), ' ' ORDER BY priority))
FROM referral.routing_rule JOIN referral.rule_version USING (rule_version_id) WHERE status = 'active' \gexec
CREATE TABLE bench.by_index AS SELECT name AS specialty, 'urgent'::referral.urgency AS urgency, 1000::numeric AS below, queue, priority
FROM referral.routing_rule JOIN referral.rule_version USING (rule_version_id) WHERE status = 'active';
CREATE INDEX ON bench.by_index (specialty, urgency);
ANALYZE;
SQL

if wanted 1; then
	from="FROM referral.referral r, generate_series(1, :n) i WHERE r.referral_id ="
	rules="count(referral.matching_rules('routing_rule', 'referral', 1, r, true))"
	index="count((SELECT x.queue FROM bench.by_index x WHERE x.specialty = r.specialty AND x.urgency <= r.urgency
		AND (r.expected_value IS NULL OR r.expected_value < x.below) AND i > 0 ORDER BY x.priority LIMIT 1))"
	statement[empty]="SELECT count(r) $from 1" size[empty]=20000
	statement[last]="SELECT $rules $from 1" size[last]=500
	statement[middle]="SELECT $rules $from 2" size[middle]=1000
	statement[case_last]="SELECT count(bench.by_case(r)) $from 1" size[case_last]=2000
	statement[case_middle]="SELECT count(bench.by_case(r)) $from 2" size[case_middle]=2000
	statement[index]="SELECT ${index//$'\n'/ } $from 1" size[index]=5000
	sql -At <<-'SQL' > /dev/null
	SELECT 1 / (x.queue = bench.by_case(r) AND x.queue = (SELECT b.queue FROM bench.by_index b WHERE b.specialty = r.specialty))::integer
	FROM referral.referral r JOIN referral.routing_rule x
	    ON x.routing_rule_id = (referral.matching_rules('routing_rule', 'referral', 1, r, true))[1]
	SQL
	take_turns 1 "$(rounds 20)" empty last middle case_last case_middle index
	echo "-- 1. Which of 1,000 rules sends it where"
	cost 1 'the first that fits is the last' last 1000
	cost 1 'it is in the middle' middle 1000
	cost 1 'floor: a CASE of 1,000 branches, the last' case_last
	cost 1 'floor: the same, in the middle' case_middle
	cost 1 'floor: an index over what the rules compare' index
fi

if wanted 2; then
	calls="CREATE OR REPLACE PROCEDURE bench.route(n integer) LANGUAGE plpgsql AS \$\$ BEGIN FOR i IN 1..n LOOP
		PERFORM referral.route(1, 1 + i % 2); COMMIT; END LOOP; END \$\$;
		CREATE OR REPLACE PROCEDURE bench.arrive(n integer) LANGUAGE plpgsql AS \$\$ BEGIN FOR i IN 1..n LOOP
		INSERT INTO referral.referral (org_id, patient_id, specialty, urgency) VALUES (1, 1, 's1000', 'urgent'); COMMIT; END LOOP; END \$\$;
		CREATE OR REPLACE PROCEDURE bench.nothing(n integer) LANGUAGE plpgsql AS \$\$ BEGIN FOR i IN 1..n LOOP
		PERFORM 1; COMMIT; END LOOP; END \$\$;"
	sql -c "SELECT setval('referral.referral_referral_id_seq', 10)" -o /dev/null
	sql <<< "$calls"
	statement[empty]="CALL bench.nothing(:n)" size[empty]=1000
	statement[route]="CALL bench.route(:n)" size[route]=200
	statement[arrive]="CALL bench.arrive(:n)" size[arrive]=200
	take_turns 2a "$(rounds 20)" empty route arrive
	sql -c "SELECT bench.activate(1)" -o /dev/null
	take_turns 2b "$(rounds 20)" empty route arrive
	echo "-- 2. Routing a referral, each in its own transaction"
	cost 2a 'route(): 1,000 rules, decision on record, item moved' route 1000
	cost 2b 'the same, one rule' route
	cost 2a 'a referral comes in, 1,000 rules' arrive
	cost 2b 'the same, one rule' arrive
fi
