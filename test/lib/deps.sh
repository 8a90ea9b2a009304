#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, and those named as arguments, and only those that are
# missing. PGMAJOR chooses the PostgreSQL major version.
set -euo pipefail

major=${PGMAJOR:-15}
packages=(gcc libc6-dev make perl libipc-run-perl "postgresql-$major" "postgresql-server-dev-$major"
	"postgresql-$major-cron" "postgresql-$major-pgtap" "$@")

if ! command -v dpkg-query >/dev/null; then
	echo "not a Debian system: taking for granted that the equivalents of these are installed: ${packages[*]}" >&2
	exit 0
fi

missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing ${missing[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
	as_root=(sudo)
	[ -t 0 ] || as_root=(sudo -n)	# nobody there to type a password
	if ! command -v sudo >/dev/null || ! "${as_root[@]}" true; then
		echo "error: neither root nor able to sudo; have an administrator run: apt-get install ${missing[*]}" >&2
		exit 1
	fi
fi

# The server package would create and start a cluster of the system, which nobody asked for. Its installation script
# calls pg_createcluster by name, so that a do-nothing one, found first during this call of apt-get only, prevents it.
# Unlike a line in /etc/postgresql-common/createcluster.conf this changes nothing that lasts.
shim=$(mktemp -d)
trap 'rm -rf "$shim"' EXIT
chmod 755 "$shim"
printf '#!/bin/sh\nexit 0\n' > "$shim/pg_createcluster"
chmod 755 "$shim/pg_createcluster"

"${as_root[@]}" apt-get -qq update || echo "warning: apt-get update failed; trying with the package lists at hand" >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
	-o DPkg::Path="$shim:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "${missing[@]}" >/dev/null || {
	echo "error: could not install ${missing[*]} (another major version can be chosen with PGMAJOR)" >&2
	exit 1
}
