#!/usr/bin/env bash
# make bench: runs test/bench/*.bench.sh one after the other, each with a fresh database, in a private cluster that
# is set up for measuring the processor's work, not the disk's. FILES narrows them.
set -euo pipefail
# shellcheck source=test/lib/harness.sh
source "$(dirname "$0")/../lib/harness.sh"

prepare
# Rivals: a benchmark leaves out one that is not there.
bash test/lib/deps.sh "postgresql-${PGMAJOR:-15}-similarity" || echo "going on without pg_similarity"
lock bench
trap 'cluster_stop bench' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cluster_start bench <<-SETTINGS
	shared_preload_libraries = ''
	shared_buffers = 512MB
	max_wal_size = 8GB
	checkpoint_timeout = 1h
	synchronous_commit = off
	autovacuum = off
	jit = off
SETTINGS
create_template

status=0
export BENCH_PIDFILE=$SCRATCH/bench/data/postmaster.pid BENCH_OUT=$OUT
mapfile -t files < <(select_files test/bench .bench.sh)
[ ${#files[@]} -gt 0 ] || die "no benchmark was selected"
for file in "${files[@]}"; do
	name=$(basename "$file" .bench.sh)
	printf '== %s\n' "$name"
	sql -c "CREATE DATABASE \"bench_$name\" TEMPLATE referral_template"
	PGDATABASE=bench_$name bash "$file" 9>&- || { echo "$file failed"; status=1; }
	sql -c "DROP DATABASE \"bench_$name\" WITH (FORCE)"
done
exit $status
