#!/usr/bin/env bash
# What "make test", "make demo" and "make bench" share: building, and private throw-away clusters.
#
# A cluster NAME lives in $SCRATCH/NAME: stage/ (make install DESTDIR), data/, out/ (logs and results). Nothing is
# written into PostgreSQL's own directories: the server finds the extension through extension_destdir, a setting of
# Debian's packages up to 17. It listens on a Unix socket only, in a directory that only its owner may enter.
# The server refuses to run as root; then it runs as the OS user postgres, while psql and pg_regress stay root.
# shellcheck shell=bash
set -euo pipefail
umask 022

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cd "$TOP"
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGSERVICE PGOPTIONS PGTZ PGDATA PGAPPNAME PGSSLMODE
: "${REFERRAL_SHARED:=$TOP/../shared/data}"
export REFERRAL_SHARED

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

am_root() { [ "$(id -u)" = 0 ]; }

# Runs a command as the user who may run a server.
as_server() {
	if am_root; then (cd / && exec runuser -u postgres -- "$@"); else "$@"; fi
}

# Gives files to that user.
give_to_server() {
	! am_root || chown -R postgres "$@"
}

# Sets SCRATCH: ./tmp, or a directory below /var/tmp where the checkout is closed to the server's user.
find_scratch() {
	SCRATCH=$TOP/tmp REACHABLE=yes
	if am_root && id -u postgres >/dev/null 2>&1 && ! as_server test -r "$TOP/test/run.sh"; then
		SCRATCH=/var/tmp/referral-$(printf %s "$TOP" | cksum | cut -d' ' -f1) REACHABLE=no
	fi
}

# Installs packages, builds, and sets BINDIR, PGXS_DIR and SCRATCH.
prepare() {
	bash test/lib/deps.sh
	find_scratch
	[ $REACHABLE = yes ] || echo "the user postgres cannot read $TOP: working in $SCRATCH (make clean removes it)"
	mkdir -p "$SCRATCH"
	[ -O "$SCRATCH" ] || die "$SCRATCH belongs to somebody else; that user can remove it with: make clean"
	PG_CONFIG=$(make -s --no-print-directory print-pg_config)
	[ -n "$PG_CONFIG" ] || die "no pg_config with server headers found"
	export PG_CONFIG
	BINDIR=$("$PG_CONFIG" --bindir)
	# shellcheck disable=SC2034	# used by test/run.sh
	PGXS_DIR=$(cd "$(dirname "$("$PG_CONFIG" --pgxs)")/.." && pwd)
	export PATH="$BINDIR:$PATH"
	flock "$SCRATCH/build.lock" make -s --no-print-directory -j"$(nproc)" all || die "the build failed"
}

# Refuses to go on while another run has the cluster NAME. The server must not inherit descriptor 9.
lock() {
	exec 9> "$SCRATCH/$1.lock"
	flock -n 9 || die "another run is using $SCRATCH/$1"
}

# Stops every server below a directory: ours, and those which an interrupted TAP test left.
stop_servers() {
	local pidfile pid i
	[ -d "$1" ] || return 0
	find "$1" -name postmaster.pid | while read -r pidfile; do
		pid=$(head -n 1 "$pidfile" 2>/dev/null || true)
		for i in {1..300}; do
			# A postmaster works in its data directory; any other process merely got the number of a dead one.
			[ "$(readlink "/proc/$pid/cwd")" = "$(dirname "$pidfile")" ] || break
			case $i in 1) kill -INT "$pid" ;; 200) kill -QUIT "$pid" ;; esac
			sleep 0.05
		done
	done
}

# Stops the cluster NAME and removes its data; out/ stays, for its logs.
cluster_stop() {
	stop_servers "$SCRATCH/$1"
	[ ! -e "$SCRATCH/$1/socket" ] || rm -rf -- "$(cat "$SCRATCH/$1/socket")"
	rm -rf -- "$SCRATCH/$1/data" "$SCRATCH/$1/stage" "$SCRATCH/$1/tree" "$SCRATCH/$1/socket"
}

# Creates and starts the cluster NAME, in place of an older one; more settings come from standard input. Sets PGHOST,
# PGPORT and PGUSER, and OUT for results.
cluster_start() {
	local dir=$SCRATCH/$1 settings
	settings=$(cat)
	cluster_stop "$1"
	rm -rf -- "$dir"
	export OUT=$dir/out
	mkdir -p "$dir/data" "$OUT"
	make -s --no-print-directory install DESTDIR="$dir/stage" > "$OUT/install.log"
	PGHOST=$(mktemp -d /tmp/referral.XXXXXX)
	echo "$PGHOST" > "$dir/socket"
	give_to_server "$dir/data" "$OUT" "$PGHOST"
	export PGHOST PGPORT=5432 PGUSER=postgres PGDATABASE=postgres

	as_server "$BINDIR/initdb" -D "$dir/data" -U postgres --auth-local=trust --auth-host=reject \
		--encoding=UTF8 --locale=C.UTF-8 --no-sync > "$OUT/initdb.log"
	cat >> "$dir/data/postgresql.conf" <<-SETTINGS
		listen_addresses = ''
		unix_socket_directories = '$PGHOST'
		port = $PGPORT
		extension_destdir = '$dir/stage'
		shared_preload_libraries = 'pg_cron'
		cron.use_background_workers = on
		max_worker_processes = 20
		timezone = 'UTC'
		fsync = off
		$settings
	SETTINGS
	as_server "$BINDIR/pg_ctl" -D "$dir/data" -l "$OUT/server.log" -s -w start 9>&- || {
		cat "$OUT/server.log" >&2
		die "the server did not start"
	}
}

# psql for scripts: stops at the first error.
sql() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }

# Creates the database that tests and benchmarks are copied from: extension installed, model deployed. Takes options
# for psql, too.
# shellcheck disable=SC2120	# the options are optional
create_template() {
	sql -c 'CREATE DATABASE referral_template'
	sql -d referral_template -o /dev/null -c 'SET client_min_messages = warning' -c 'CREATE EXTENSION referral' \
		"$@" -c 'SELECT referral.deploy()'
}

# Prints the files DIRECTORY/*SUFFIX; FILES (names, patterns or paths, with or without suffix) narrows them.
select_files() {
	local file name pattern wanted
	local -
	set -f
	read -ra wanted <<< "${FILES:-*}"
	set +f
	for file in "$1"/*"$2"; do
		[ -e "$file" ] || continue
		name=$(basename "$file" "$2")
		for pattern in "${wanted[@]}"; do
			pattern=${pattern##*/}
			# shellcheck disable=SC2053	# it is a pattern
			if [[ $name == ${pattern%"$2"} ]]; then echo "$file"; break; fi
		done
	done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	[ "${1:-}" = clean ] || die "usage: harness.sh clean"
	find_scratch
	for name in test demo bench; do cluster_stop $name; done
	rm -rf -- "$SCRATCH"
fi
