#!/usr/bin/env bash
# Maria and Jonas take from one queue at the same moment, eight times each, in sessions of their own. For week.sql.
set -euo pipefail
for who in Maria Jonas; do
	{
		echo "SET SESSION AUTHORIZATION demo_app; SET referral.org_id = 1; SET referral.actor = '$who';"
		for _ in {1..8}; do
			echo "INSERT INTO week.claimed SELECT '$who', work_item_id, referral_id FROM referral.claim_next(1, 'intake');"
		done
	} | psql -X -q -v ON_ERROR_STOP=1 &
done
wait
