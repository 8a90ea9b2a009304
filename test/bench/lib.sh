# What the benchmarks share; sourced by *.bench.sh. All numbers are CPU time of the backend (Linux:
# /proc/self/schedstat), not wall time. The variants of a section take turns in one session, in blocks whose order
# rotates; a ratio is the median of the ratios round by round, with the smallest and the largest.
# BENCH_SECTIONS="1 2" narrows it, BENCH_QUICK=1 runs few rounds: to see that it works, not to measure.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export PGTZ=UTC PGAPPNAME=bench
: "${BENCH_OUT:?run it with make bench}"

sql() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
wanted() { [[ " ${BENCH_SECTIONS:-1 2 3 4 5} " == *" $1 "* ]]; }
rounds() { if [ -n "${BENCH_QUICK:-}" ]; then echo 2; else echo "$1"; fi; }

# A variant's statement, and what is to run before each of its turns, or in bulk after them; :names are those of
# bench.turn().
declare -A statement before after

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

# Statements over all rows. FIRST and ROUNDS must be even; rounds below 0, -2 at least, warm up. VACUUM keeps the tables
# equally bloated.
measure_bulk() { # SECTION FIRST ROUNDS ROWS VARIANT...
	local section=$1 first=$2 rounds=$3 rows=$4 round turn variant
	shift 4
	for ((round = first; round < first + rounds; round++)); do
		echo "SET work_mem = '64MB';"
		echo "SELECT * FROM bench.turn($round) \\gset"
		for ((turn = 0; turn < $#; turn++)); do
			variant=${*:$(((turn + round + 2 * $#) % $# + 1)):1}
			echo "SELECT bench.cpu() AS cpu \\gset"
			sed -E "s/([^:]):([a-z_]+)/\1:'\2'/g" <<< "${statement[$variant]};"
			echo "SELECT bench.stop('$section', $round, '$variant', $rows, :cpu) \\g /dev/null"
			echo "VACUUM bench.$variant;"
			[ -z "${after[$variant]:-}" ] || echo "${after[$variant]};"
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

# Calls within one statement, of which a variant makes size[variant], as :n. The variants take turns, in another order in
# each round; two rounds warm up.
declare -A size
take_turns() { # SECTION ROUNDS VARIANT...
	local section=$1 rounds=$2 round turn variant
	shift 2
	for ((round = -2; round < rounds; round++)); do
		for ((turn = 0; turn < $#; turn++)); do
			variant=${*:$(((turn + round + 2) % $# + 1)):1}
			echo "\\set n ${size[$variant]}"
			echo "SELECT bench.cpu() AS cpu \\gset"
			echo "${statement[$variant]} \\g /dev/null"
			echo "SELECT bench.stop('$section', $round, '$variant', :n, :cpu) \\g /dev/null"
		done
	done | sql
}

# The cost of a call: what a variant costs more than the variant "empty".
cost() { # SECTION WHAT VARIANT [TARGET: us]
	sql -At -v section="$1" -v what="$2" -v variant="$3" -v target="${4:-0}" <<-'SQL'
	SELECT format('%s %s CPU us', rpad(:'what', 60), round(us, 2))
	       || CASE WHEN :target > 0 THEN format(', target <= %s: %s', :target, CASE WHEN us <= :target THEN 'PASS' ELSE 'MISS' END) ELSE '' END
	FROM (SELECT (percentile_cont(0.5) WITHIN GROUP (ORDER BY (a.ns / a.n - b.ns / b.n) / 1000))::numeric AS us
	      FROM bench.result a JOIN bench.result b USING (section, round)
	      WHERE section = :'section' AND a.variant = :'variant' AND b.variant = 'empty') r;
	SQL
}
