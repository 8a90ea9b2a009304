#!/usr/bin/env bash
# make test: builds, then runs four kinds of tests; README.md in this directory says how each is written.
# SUITE and FILES narrow it. The last line is always "N passed, N failed", with ", N skipped" if any were.
set -euo pipefail
# shellcheck source=test/lib/harness.sh
source "$(dirname "$0")/lib/harness.sh"

passed=0 failed=0 skipped=0 complete=no

finish() {
	local status=$?
	trap - EXIT INT TERM
	if [ "${locked:-no}" = yes ]; then
		cluster_stop test || status=1
		[ $failed = 0 ] || echo "logs and results: $SCRATCH/test/out"
	fi
	[ $complete = yes ] || failed=$((failed + 1))	# whatever stopped us
	printf '%d passed, %d failed' $passed $failed
	[ $skipped = 0 ] || printf ', %d skipped' $skipped
	echo
	[ $failed = 0 ] && [ $passed != 0 ] || status=1
	exit $status
}

# Adds PASSED FAILED SKIPPED of a suite to the sum and reports them.
tally() {
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
	printf '%-10s %d ok, %d not ok, %d skipped, %d s\n\n' "$1" "$2" "$3" "$4" $((SECONDS - started))
}

# Runs pg_regress or pg_isolation_regress (first argument) with output and a copy of the expected results (second
# argument) in directory $out. A missing expected file becomes an empty one, so that the test fails but runs.
regress() {
	local program=$1 expected=$2 name
	shift 2
	mkdir -p "$out/expected"
	[ ! -d "$expected" ] || cp "$expected"/*.out "$out/expected" 2>/dev/null || true
	for name; do
		case $name in -*) ;; *) [ -e "$out/expected/$name.out" ] || : > "$out/expected/$name.out" ;; esac
	done
	if "$program" --help | grep -q expecteddir; then set -- --expecteddir="$out" "$@"; fi	# 16 and later
	(cd "$out" && "$program" --bindir="$BINDIR" --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" --outputdir="$out" "$@" \
		>> log 2>&1) || true
	[ ! -s "$out/regression.diffs" ] || cat "$out/regression.diffs" >> "$out/all.diffs"
}

# Counts the results in $out/log (up to 15 "test x ... ok", then "ok 1 - x") of NUMBER tests; what never ran, failed.
regress_tally() {
	local good
	grep -E '^(test |ok |not ok )' "$out/log" || cat "$out/log"
	[ ! -e "$out/all.diffs" ] || cat "$out/all.diffs"
	good=$(grep -cE '^(test .* ok( |$)|ok )' "$out/log" || true)
	tally "$1" "$good" $(($2 - good)) 0
}

run_regress() {
	local out=$OUT/regress names
	mapfile -t names < <(printf '%s\n' "$@" | sed 's,.*/,,; s,\.sql$,,')
	regress "$PGXS_DIR/test/regress/pg_regress" "$TOP/expected" \
		--inputdir="$TOP/test" --dbname=contrib_regression --load-extension=referral "${names[@]}"
	regress_tally regress $#
}

run_isolation() {
	local out=$OUT/isolation spec name
	mkdir -p "$out"
	ln -s "$TOP/test/isolation" "$out/specs"	# the place that pg_isolation_regress insists on
	for spec; do
		name=$(basename "$spec" .spec)
		sql -c "CREATE DATABASE \"isolation_$name\" TEMPLATE referral_template"
		regress "$PGXS_DIR/test/isolation/pg_isolation_regress" "$TOP/expected/isolation" \
			--inputdir="$out" --use-existing --dbname="isolation_$name" "$name"
	done
	regress_tally isolation $#
}

run_pgtap() {
	perl test/lib/tap.pl "$OUT/pgtap.counts" "$(nproc)" "bash test/lib/pgtap.sh" "$@"
	# shellcheck disable=SC2046
	tally pgtap $(cat "$OUT/pgtap.counts")
}

# These start clusters of their own, so they run as the server's user, and from a copy where the checkout is closed.
run_tap() {
	local tree=$TOP
	if [ $REACHABLE = no ]; then
		tree=$SCRATCH/test/tree
		mkdir "$tree"
		tar -C "$TOP" --exclude=./.git --exclude=./tmp -cf - . | tar -C "$tree" --no-same-owner -xf -
		chmod -R a+rX "$tree"
	fi
	echo "extension_destdir = '$SCRATCH/test/stage'" > "$SCRATCH/test/tap.conf"
	mkdir "$OUT/tap"
	give_to_server "$OUT/tap"
	# PGHOST's directory is short enough for sockets and is removed in the end, so it serves as TMPDIR, too.
	as_server env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE -C "$OUT/tap" TMPDIR="$PGHOST" \
		TESTDIR="$OUT/tap" TESTDATADIR="$OUT/tap/tmp_check" TESTLOGDIR="$OUT/tap/tmp_check/log" REFERRAL_ROOT="$tree" \
		PERL5LIB="$PGXS_DIR/test/perl:$tree/test/t" PG_REGRESS="$PGXS_DIR/test/regress/pg_regress" \
		TEMP_CONFIG="$SCRATCH/test/tap.conf" \
		perl "$tree/test/lib/tap.pl" "$OUT/tap/counts" "$(nproc)" perl "${@/#/$tree/}"
	# shellcheck disable=SC2046
	tally tap $(cat "$OUT/tap/counts")
}

for suite in ${SUITE:=regress isolation pgtap tap}; do
	[[ $suite =~ ^(regress|isolation|pgtap|tap)$ ]] || die "no such suite: $suite (regress, isolation, pgtap, tap)"
done
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
prepare
lock test
locked=yes
cluster_start test <<-SETTINGS
	autovacuum = off
	cron.database_name = 'cron'
SETTINGS
sql -c 'CREATE DATABASE cron'
template=none

for suite in $SUITE; do
	case $suite in
		regress) mapfile -t files < <(select_files test/sql .sql) ;;
		isolation) mapfile -t files < <(select_files test/isolation .spec) ;;
		pgtap) mapfile -t files < <(select_files test/pgtap .sql) ;;
		tap) mapfile -t files < <(select_files test/t .pl) ;;
	esac
	[ ${#files[@]} -gt 0 ] || continue
	if [[ $suite =~ ^(isolation|pgtap)$ ]]; then
		if [ $template = none ]; then
			create_template -c 'CREATE EXTENSION pgtap' && template=good || template=bad
		fi
		if [ $template = bad ]; then
			echo "$suite was not run: the database to copy could not be made"
			failed=$((failed + 1))
			continue
		fi
	fi
	started=$SECONDS
	"run_$suite" "${files[@]}" 9>&-	# TAP tests start servers, which must not inherit the lock
done
complete=yes
[ $((passed + failed)) != 0 ] || echo "no test was selected"
