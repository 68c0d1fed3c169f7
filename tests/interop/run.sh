#!/bin/sh
# Interop with clients that this project did not write: libtorrent, aria2, transmission and the mainline crate, all on
# 127.0.0.1.
#   tests/interop/run.sh [--size BYTES] [CASE..]      the cases are listed by --list
#   tests/interop/run.sh bootstrap-node               only that clients begin with a node of ours; part of a run without arguments
#   tests/interop/run.sh compare [--help]             how fast we are beside libtorrent: bench/transfer.py
# Needs Python 3.10+. libtorrent is installed from PyPI into ~/.cache/magnes-interop; aria2 and transmission come from
# the system's packages, mainline from crates.io. MAGNES names a program to test instead of building one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/magnes-interop
mkdir -p "$cache"

if ! "$cache/venv/bin/python" -c 'import libtorrent' 2>/dev/null; then
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet 'libtorrent>=2.1,<3'
fi

missing=
command -v aria2c >/dev/null || missing="$missing aria2"
command -v transmission-daemon >/dev/null || missing="$missing transmission-daemon"
command -v ip >/dev/null || missing="$missing iproute2"
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "run.sh: install these first: apt-get install$missing" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $missing >&2
fi

if [ -z "${MAGNES:-}" ]; then
    (cd "$root" && cargo build --release --locked --bin magnes >&2)
    MAGNES=${CARGO_TARGET_DIR:-$root/target}/release/magnes
fi
if [ -z "${MAINLINE:-}" ]; then
    (cd "$here/mainline" && CARGO_TARGET_DIR="$cache/mainline" cargo build --locked >&2)
    MAINLINE=$cache/mainline/debug/magnes-interop-mainline
fi
export MAGNES MAINLINE
python=$cache/venv/bin/python
if [ "${1:-}" = compare ]; then
    shift
    exec "$python" "$root/bench/transfer.py" "$@"
fi
if [ "${1:-}" = bootstrap-node ]; then
    exec "$python" "$here/bootstrap.py"
fi
"$python" "$here/interop.py" "$@"
if [ $# = 0 ]; then
    exec "$python" "$here/bootstrap.py"
fi
