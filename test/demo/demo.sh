#!/usr/bin/env bash
# make demo, make demo-stop: a private cluster with the extension, that stays up to be looked at.
set -euo pipefail
# shellcheck source=test/lib/harness.sh
source "$(dirname "$0")/../lib/harness.sh"

if [ "${1:-start}" = stop ]; then
	find_scratch
	cluster_stop demo
	echo "The demo is stopped."
	exit
fi

prepare
lock demo
cluster_start demo <<< "cron.database_name = 'demo'"
trap 'cluster_stop demo' EXIT
sql -c 'CREATE DATABASE demo'
export PGDATABASE=demo
sql -c 'CREATE EXTENSION referral' -c 'CREATE EXTENSION pg_cron'
# without the name of the script before each refusal; and what is refused stays where it happened
sql -f test/demo/demo.sql 2>&1 | sed -u 's/^psql:[^:]*:[0-9]*: //'
trap - EXIT

cat <<-HOW

	The demo's database stays up. Connect with
	    $BINDIR/psql -h $PGHOST -p $PGPORT -U $PGUSER demo
	and stop it, removing everything, with
	    make demo-stop
HOW
