#!/bin/bash
# need.sh PACKAGE...: install the Debian packages among these that are missing, saying so.
# Does nothing with NEED=0, or on a system without dpkg.
set -u
[ "${NEED:-1}" != 0 ] || exit 0
command -v dpkg-query >/dev/null || exit 0

find_missing() {
    local package
    missing=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ]
}
find_missing "$@" || exit 0
# make -j may ask several times at once: one after the other, and look again.
exec 9<"$0" && flock 9
find_missing "$@" || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && command -v sudo >/dev/null; }; then
        echo "Missing Debian packages: ${missing[*]}" >&2
        echo "Not root and no sudo here. Have them installed: apt-get install ${missing[*]}  (NEED=0: go on without)" >&2
        exit 1
    fi
    as_root=(sudo)
fi
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

echo "Installing Debian packages: ${missing[*]}" >&2
if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
    "${as_root[@]}" apt-get update -q >&2 || exit 1
    install
else
    install || { "${as_root[@]}" apt-get update -q >&2 && install; } # the lists were too old
fi || { echo "apt-get could not install: ${missing[*]}" >&2; exit 1; }
