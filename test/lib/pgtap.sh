#!/usr/bin/env bash
# Runs one pgTAP file in a database of its own, copied from the template; its output is TAP. A file which says
# "-- requires: pg_cron" gets the one database where pg_cron can be created.
set -euo pipefail

database=pgtap_$(basename "$1" .sql)
if grep -q '^-- requires: pg_cron' "$1"; then
	database=cron
	exec 8> "$OUT/cron.lock"
	flock 8
fi

psql -X -q -c "SET client_min_messages = error" -c "DROP DATABASE IF EXISTS $database WITH (FORCE)" \
	-c "CREATE DATABASE $database TEMPLATE referral_template"
status=0
PGDATABASE=$database PGOPTIONS='-c client_min_messages=warning' \
	psql -X -q -A -t -P pager=off -v ON_ERROR_STOP=1 -f "$1" || status=$?
[ "$database" = cron ] || psql -X -q -c "DROP DATABASE $database WITH (FORCE)"
exit $status
