#!/bin/sh
# Interop with clients that this project did not write: libtorrent, aria2, transmission, rqbit and the mainline crate, all
# on 127.0.0.1.
#   tests/interop/run.sh [--size BYTES] [CASE..]      the cases are listed by --list
#   tests/interop/run.sh prepare                      only installs and builds the other clients
#   tests/interop/run.sh bootstrap-node               only that clients bootstrap from a node of ours; part of a run without arguments
#   tests/interop/run.sh hostile [--help]             what hostile peers cost a seed of ours; part of a run without arguments
#   tests/interop/run.sh compare [--help]             how fast we are beside libtorrent: bench/transfer.py
#   tests/interop/run.sh compare-dht [--help]         how fast our DHT node is beside others: bench/dht.py
# Needs Python 3.10+ and a C compiler. libtorrent is installed from PyPI into ~/.cache/magnes-interop; aria2 and transmission
# come from the system's packages, rqbit and mainline from crates.io, compiled once. MAGNES names a program to test instead
# of building one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/magnes-interop
what=${1:-}
mkdir -p "$cache"

if ! "$cache/venv/bin/python" -c 'import libtorrent' 2>/dev/null; then
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" install --quiet 'libtorrent>=2.1,<3'
fi
python=$cache/venv/bin/python

packages() {
    missing=
    command -v aria2c >/dev/null || missing="$missing aria2"
    command -v transmission-daemon >/dev/null || missing="$missing transmission-daemon"
    command -v ip >/dev/null || missing="$missing iproute2"
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "run.sh: install these first: apt-get install$missing" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $missing >&2
}

# The program is compiled as cheaply as can be: how fast it is does not matter here.
rqbit_program() {
    version=9.1.0
    RQBIT=$cache/rqbit-$version/bin/rqbit
    export RQBIT
    if [ ! -x "$RQBIT" ]; then
        CARGO_TARGET_DIR="$cache/rqbit-$version/target" CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 CARGO_PROFILE_RELEASE_DEBUG=0 \
            cargo install "rqbit@$version" --locked --no-default-features --features rust-tls --root "$cache/rqbit-$version" >&2
        rm -rf "$cache/rqbit-$version/target"
    fi
}

# peer NAME PROFILE: builds a crate of this folder and prints the path of its program.
peer() {
    (cd "$here/$1" && CARGO_TARGET_DIR="$cache/$1" cargo build --locked --profile "$2" >&2)
    folder=$2
    [ "$2" != dev ] || folder=debug
    echo "$cache/$1/$folder/magnes-interop-$1"
}

if [ -z "${MAGNES:-}" ] && [ "$what" != prepare ]; then
    (cd "$root" && cargo build --release --locked --bin magnes >&2)
    MAGNES=${CARGO_TARGET_DIR:-$root/target}/release/magnes
fi
export MAGNES=${MAGNES:-}

case $what in
hostile)
    shift
    exec "$python" "$here/hostile.py" "$@"
    ;;
compare)
    shift
    exec "$python" "$root/bench/transfer.py" "$@"
    ;;
compare-dht)
    shift
    (cd "$root" && cargo build --release --locked -p magnes-dht --example load >&2)
    LOAD=${CARGO_TARGET_DIR:-$root/target}/release/examples/load
    MAINLINE=$(peer mainline release)
    RQBIT_DHT=$(peer rqbit release)
    export LOAD MAINLINE RQBIT_DHT
    exec "$python" "$root/bench/dht.py" "$@"
    ;;
esac

packages
rqbit_program
MAINLINE=${MAINLINE:-$(peer mainline dev)}
RQBIT_DHT=${RQBIT_DHT:-$(peer rqbit dev)}
export MAINLINE RQBIT_DHT
if [ "$what" = prepare ]; then
    exit 0
fi
if [ "$what" = bootstrap-node ]; then
    exec "$python" "$here/bootstrap.py"
fi
"$python" "$here/interop.py" "$@"
if [ $# = 0 ]; then
    "$python" "$here/bootstrap.py"
    exec "$python" "$here/hostile.py" --size 16 --rounds 1 --settle 1
fi
