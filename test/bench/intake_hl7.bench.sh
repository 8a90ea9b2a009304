#!/usr/bin/env bash
# What it costs to make cases of HL7 v2 messages, net of an empty loop. How it is measured: lib.sh. Messages: hl7.sql.
# The floor is hl7_parse() of the same message.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

sql -o /dev/null -f hl7.sql
mapfile -t kinds < <(sql -At -c "SELECT kind FROM bench.message ORDER BY kind")

# OFFSET 0 keeps the message from being a constant of the plan.
ask() { # KIND EXPRESSION
	echo "SELECT count($2) FROM (SELECT t || '' AS t, j::jsonb AS j FROM bench.message WHERE kind = '$1' OFFSET 0) m, generate_series(1, :n) i"
}

variants=()
for kind in "${kinds[@]}"; do
	statement[${kind}_empty]=$(ask "$kind" "m.t")
	statement[${kind}_map]=$(ask "$kind" "(SELECT count(c) FROM referral.map_hl7v2(m.j, 'bench') c)")
	statement[${kind}_parse]=$(ask "$kind" "referral.hl7_parse(m.t)")
	variants+=("${kind}_empty" "${kind}_map" "${kind}_parse")
done
rounds=$(rounds 10)
for ((round = -2; round < rounds; round++)); do
	for ((turn = 0; turn < ${#variants[@]}; turn++)); do
		variant=${variants[$(((turn + round + 2) % ${#variants[@]}))]}
		echo "\\set n 300"
		echo "SELECT bench.cpu() AS cpu \\gset"
		echo "${statement[$variant]} \\g /dev/null"
		echo "SELECT bench.stop('map', $round, '$variant', :n, :cpu) \\g /dev/null"
	done
done | sql
for kind in "${kinds[@]}"; do
	sql -At -v kind="$kind" <<-'SQL'
	SELECT format('map_hl7v2, %s: %s CPU us, target <= 500: %s', :'kind', round(us), CASE WHEN us <= 500 THEN 'PASS' ELSE 'MISS' END)
	FROM (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY (a.ns / a.n - b.ns / b.n) / 1000))::numeric AS us
	      FROM bench.result a JOIN bench.result b USING (section, round) WHERE a.variant = :'kind' || '_map' AND b.variant = :'kind' || '_empty') r;
	SQL
	ratio map "map_hl7v2 / hl7_parse, $kind" "${kind}_map-${kind}_empty" "${kind}_parse-${kind}_empty" '<=' 30
done
