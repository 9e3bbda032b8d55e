#!/bin/sh
# Debian packages that the interop and system tests want. Idempotent: returns at once when all are there.
# Each stands for a peer that the project must agree with; nothing here is needed to run the testbed itself.
set -eu

PACKAGES="
gnuradio
chromium
chromium-driver
openssh-server
libiio-utils
libiio0
systemd
"

missing=""
for package in $PACKAGES; do
    case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)" in
    *"ok installed") ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "deps-system: no apt-get here; install with your system's own tools:$missing" >&2
    exit 2
fi

as_root=""
[ "$(id -u)" -eq 0 ] || as_root="sudo"

echo "deps-system: installing$missing"
export DEBIAN_FRONTEND=noninteractive
wait_for_lock="-o DPkg::Lock::Timeout=600" # another installer may be at work
$as_root apt-get $wait_for_lock update -qq
# A package's start scripts must not start services (sshd) on a build machine: policy-rc.d says 101, "not allowed".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    trap '$as_root rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086 # a list of words is meant
$as_root env DEBIAN_FRONTEND=noninteractive apt-get $wait_for_lock install -y -qq --no-install-recommends $missing >/dev/null
