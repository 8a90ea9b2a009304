#!/usr/bin/env bash
# What it costs to read and to write HL7 v2 messages, net of an empty loop. How it is measured: lib.sh.
# Section 1: hl7_parse on REF^I12 and SIU^S12, against the server's reading of the same document as JSON, and against
# nothing but taking the text apart in SQL. Section 2: single values, and writing.
set -euo pipefail
# shellcheck source=test/bench/lib.sh
source "$(dirname "$0")/lib.sh"

declare -A size

# The variants take turns, in another order in each round; two rounds warm up. A statement is about the same message :n times.
take_turns() { # SECTION ROUNDS VARIANT...
	local section=$1 rounds=$2 round turn variant
	shift 2
	for ((round = -2; round < rounds; round++)); do
		for ((turn = 0; turn < $#; turn++)); do
			variant=${*:$(((turn + round + 2) % $# + 1)):1}
			echo "\\set n ${size[$variant]:-2000}"
			echo "SELECT bench.cpu() AS cpu \\gset"
			echo "${statement[$variant]} \\g /dev/null"
			echo "SELECT bench.stop('$section', $round, '$variant', :n, :cpu) \\g /dev/null"
		done
	done | sql
}

# The cost of a call: what a variant costs more than BASE, and how many there are in a second of a core.
cost() { # SECTION WHAT VARIANT BASE [TARGET: calls per second]
	sql -At -v section="$1" -v what="$2" -v variant="$3" -v base="$4" -v target="${5:-0}" <<-'SQL'
	SELECT format('%s %s CPU us, %s per CPU s', rpad(:'what', 48), round(us, 2), round(1e6 / us))
	       || CASE WHEN :target > 0 THEN format(', target >= %s: %s', :target, CASE WHEN 1e6 / us >= :target THEN 'PASS' ELSE 'MISS' END) ELSE '' END
	FROM (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY (a.ns / a.n - b.ns / b.n) / 1000))::numeric AS us
	      FROM bench.result a JOIN bench.result b USING (section, round)
	      WHERE section = :'section' AND a.variant = :'variant' AND b.variant = :'base') r;
	SQL
}

# OFFSET 0 keeps the message from being a constant of the plan.
ask() { # KIND EXPRESSION
	echo "SELECT count($2) FROM (SELECT t || '' AS t, j || '' AS text, j::jsonb AS j FROM bench.message WHERE kind = '$1' OFFSET 0) m, generate_series(1, :n) i"
}

sql -o /dev/null -f hl7.sql
mapfile -t kinds < <(sql -At -c "SELECT kind FROM bench.message ORDER BY kind")
[ ${#kinds[@]} -gt 1 ] || echo "the published messages are not there: our own sample only"

if wanted 1; then
	echo "-- 1. Reading messages: $(sql -At -c "SELECT string_agg(format('%s of %s characters', kind, length(t)), ', ' ORDER BY kind) FROM bench.message")"
	variants=()
	for kind in "${kinds[@]}"; do
		statement[${kind}_empty]=$(ask "$kind" "m.t")
		statement[${kind}_parse]=$(ask "$kind" "referral.hl7_parse(m.t)")
		statement[${kind}_json]=$(ask "$kind" "m.text::jsonb")
		statement[${kind}_array]=$(ask "$kind" "string_to_array(m.t, '|')")
		statement[${kind}_split]=$(ask "$kind" "(SELECT count(*) FROM regexp_split_to_table(m.t, '[\\r|^~&]'))")
		size[${kind}_json]=400
		size[${kind}_split]=40
		variants+=("${kind}_empty" "${kind}_parse" "${kind}_json" "${kind}_array" "${kind}_split")
	done
	take_turns 1 "$(rounds 20)" "${variants[@]}"
	for kind in "${kinds[@]}"; do
		report 1 "${kind}_parse" | grep -E "variant|^-|$kind"
		cost 1 "hl7_parse, $kind" "${kind}_parse" "${kind}_empty" 20000
		ratio 1 "the same document as JSON / hl7_parse, $kind" "${kind}_json-${kind}_empty" "${kind}_parse-${kind}_empty" '>=' 4
		ratio 1 "regexp_split_to_table / hl7_parse, $kind" "${kind}_split-${kind}_empty" "${kind}_parse-${kind}_empty" '>=' 10
		ratio 1 "hl7_parse / string_to_array by fields, $kind" "${kind}_parse-${kind}_empty" "${kind}_array-${kind}_empty" '<=' 3
	done
fi
if wanted 2; then
	kind=${kinds[1]:-own}
	echo "-- 2. Single values of a message ($kind), and writing it"
	statement[empty]=$(ask "$kind" "m.t")
	statement[get_text]=$(ask "$kind" "referral.hl7_get(m.t, 'DG1-3.1')")
	statement[get_jsonb]=$(ask "$kind" "referral.hl7_get(m.j, 'DG1-3.1')")
	statement[arrow]=$(ask "$kind" "jsonb_path_query_first(m.j, '\$.segments[*] ? (@.segment == \"DG1\").\"3\"[0].\"1\"')")
	statement[build]=$(ask "$kind" "referral.hl7_build(m.j)")
	statement[json_out]=$(ask "$kind" "m.j::text")
	statement[decode]=$(ask "$kind" "referral.hl7_decode(convert_to(m.t, 'UTF8'))")
	statement[bytes]=$(ask "$kind" "convert_to(m.t, 'UTF8')")
	statement[date]=$(ask "$kind" "referral.hl7_timestamp('20261102093015.5-0600' || left(i::text, 0))")
	statement[no_date]=$(ask "$kind" "'20261102093015.5-0600' || left(i::text, 0)")
	statement[to_date]=$(ask "$kind" "to_timestamp('20261102093015.5-0600' || left(i::text, 0), 'YYYYMMDDHH24MISS.MSTZHTZM')")
	take_turns 2 "$(rounds 20)" empty get_text get_jsonb arrow build json_out decode bytes date no_date to_date
	report 2 empty
	cost 2 "hl7_get of text" get_text empty
	cost 2 "hl7_get of jsonb" get_jsonb empty
	cost 2 "hl7_build" build empty
	cost 2 "hl7_decode" decode bytes
	cost 2 "hl7_timestamp" date no_date
	ratio 2 "jsonb path / hl7_get of jsonb" arrow-empty get_jsonb-empty '>=' 4
	ratio 2 "hl7_build / text of the jsonb" build-empty json_out-empty '<=' 1
	ratio 2 "to_timestamp / hl7_timestamp" to_date-no_date date-no_date '>=' 2
fi
