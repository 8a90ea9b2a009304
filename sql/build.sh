#!/usr/bin/env bash
# Prints the install script of the extension, joined from two kinds of parts:
#   sql/NN_<concept>.sql        the members of the extension, as they are;
#   sql/model/NN_<concept>.sql  what deploy() lays down for the concept. CREATE EXTENSION must not run it (the tables
#                               would become members), so each is carried as the body of referral.deploy_<concept>().
# referral.model_parts() lists the concepts of the model in the order of NN, which is the order to deploy them in.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")"
shopt -s nullglob

printf '%s\n' '\echo Use "CREATE EXTENSION referral" to load this file. \quit'

for part in [0-9]*_*.sql; do
	printf '\n-- sql/%s\n' "$part"
	cat "$part"
done

concepts=
for part in model/[0-9]*_*.sql; do
	concept=$(basename "$part" .sql)
	concept=${concept#*_}
	if [[ ! $concept =~ ^[a-z][a-z0-9_]*$ ]]; then
		echo "sql/$part: \"$concept\" cannot be part of a function's name" >&2
		exit 1
	fi
	if grep -nF -e "\$model\$" -e "\$deploy\$" "$part" >&2; then
		echo "sql/$part: the quotes \$model\$ and \$deploy\$ are taken by sql/build.sh" >&2
		exit 1
	fi
	concepts+="${concepts:+, }'$concept'"
	cat <<-HEAD

		-- sql/$part
		CREATE FUNCTION referral.deploy_$concept() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS \$deploy\$ BEGIN EXECUTE \$model\$
	HEAD
	cat "$part"
	cat <<-TAIL

		\$model\$; END \$deploy\$;
		REVOKE ALL ON FUNCTION referral.deploy_$concept() FROM PUBLIC;
		COMMENT ON FUNCTION referral.deploy_$concept() IS 'Lays down the $concept part of the model; called by deploy().';
	TAIL
done

cat <<TAIL

-- the parts of the model, in the order of their numbers
CREATE FUNCTION referral.model_parts() RETURNS pg_catalog.text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS \$\$ SELECT ARRAY[$concepts]::pg_catalog.text[] \$\$;
COMMENT ON FUNCTION referral.model_parts() IS 'The parts of the model in the order in which deploy() lays them down.';
TAIL
