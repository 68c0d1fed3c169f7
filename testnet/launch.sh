#!/bin/sh
# A trackerless network on this machine: DHT nodes, seeds and getters as real processes on 127.0.0.1. The getters know a
# magnet link and one DHT node, nothing else. No internet, no tracker; a POSIX shell, coreutils and cargo are enough.
set -u

usage() {
    cat <<'TEXT'
usage: testnet/launch.sh [--nodes N] [--seeds N] [--getters N] [--size BYTES] [--timeout SECS] [--keep]
  --nodes N        DHT nodes (20)
  --seeds N        peers that have the files (1)
  --getters N      peers that fetch them (3)
  --size BYTES     size of the files together; suffixes K and M (64M)
  --timeout SECS   limit for the start, and again for the download (120)
  --keep           go on until Ctrl-C, and print how to join
The environment variable MAGNES names a program to run instead of building one.
TEXT
}

nodes=20 seeds=1 getters=3 size=64M timeout=120 keep=no
work='' names=''

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "launch.sh: $1"
    exit "${2:-1}"
}

# number OPTION VALUE MIN: fails unless VALUE is a plain number of at least MIN.
number() {
    case $2 in '' | *[!0-9]* | ??????????*) fail "$1 takes a number, not '$2'" 2 ;; esac
    [ "$2" -ge "$3" ] || fail "$1 has to be at least $3" 2
}

parse_args() {
    while [ $# -gt 0 ]; do
        case $1 in
        --nodes | --seeds | --getters | --size | --timeout)
            [ $# -ge 2 ] || fail "$1 needs a value" 2
            ;;
        esac
        case $1 in
        --nodes) nodes=$2 && shift ;;
        --seeds) seeds=$2 && shift ;;
        --getters) getters=$2 && shift ;;
        --size) size=$2 && shift ;;
        --timeout) timeout=$2 && shift ;;
        --keep) keep=yes ;;
        -h | --help) usage && exit 0 ;;
        *)
            usage >&2
            fail "unknown option '$1'" 2
            ;;
        esac
        shift
    done
    number --nodes "$nodes" 1
    number --seeds "$seeds" 1
    number --getters "$getters" 1
    number --timeout "$timeout" 1
    number --size "${size%[KM]}" 1
    case $size in
    *K) size=$((${size%K} * 1024)) ;;
    *M) size=$((${size%M} * 1048576)) ;;
    esac
}

# Every process has a small shell of its own around it, which keeps its pid and, at its end, its exit code.
# start NAME COMMAND..: standard output goes to NAME.json, standard error to NAME.log.
start() {
    name=$1
    shift
    (
        "$@" >"$work/$name.json" 2>"$work/$name.log" </dev/null &
        echo $! >"$work/$name.pid"
        wait $!
        echo $? >"$work/$name.exit"
    ) &
    names="$names $name"
}

signal_all() {
    for name in $names; do
        if [ -s "$work/$name.pid" ] && ! [ -e "$work/$name.exit" ]; then
            read -r pid <"$work/$name.pid"
            kill "-$1" "$pid" 2>/dev/null
        fi
    done
}

all_ended() {
    for name in $names; do
        [ -e "$work/$name.exit" ] || return 1
    done
}

stop_all() {
    code=$?
    trap '' INT TERM HUP
    trap - EXIT
    if [ -n "$work" ]; then
        signal_all TERM
        tries=0
        until all_ended || [ $tries -ge 50 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
        signal_all KILL
        wait
        rm -rf "$work"
    fi
    exit $code
}

# field LINE NAME: the text of a JSON field, without its quotes.
field() {
    value=${1#*\""$2"\":}
    [ "$value" != "$1" ] || return 1
    case $value in
    \"*) value=${value#\"} && value=${value%%\"*} ;;
    *) value=${value%%[,\}]*} ;;
    esac
    printf '%s\n' "$value"
}

# event NAME EVENT: the first line with this event that a process printed; fails when there is none.
event() {
    [ -f "$work/$1.json" ] || return 1
    while IFS= read -r line; do
        case $line in *\"event\":\""$2"\"*) printf '%s\n' "$line" && return 0 ;; esac
    done <"$work/$1.json"
    return 1
}

# await NAME EVENT DEADLINE: waits until a process prints an event, and fails when it ends or the time is over.
await() {
    until event "$1" "$2" >/dev/null; do
        # A process may print the event and end between the two looks.
        if [ -e "$work/$1.exit" ] && ! event "$1" "$2" >/dev/null; then
            read -r exit_code <"$work/$1.exit"
            tail -n 5 "$work/$1.log" "$work/$1.json" >&2
            fail "$1 ended with exit code $exit_code before '$2'"
        fi
        if [ "$(date +%s)" -ge "$3" ]; then
            tail -n 5 "$work/$1.log" "$work/$1.json" >&2
            fail "$1: no '$2' in $timeout s" 3
        fi
        sleep 0.05
    done
}

deadline() { echo $(($(date +%s) + timeout)); }

address() { field "$(event "$1" listening)" udp; }

make_payload() {
    mkdir -p "$1/sub" || fail "cannot write to $work"
    head -c $((size / 3)) /dev/urandom >"$1/first.bin" &&
        head -c $((size - size / 3)) /dev/urandom >"$1/sub/second.bin" &&
        : >"$1/empty" || fail "cannot write $size bytes to $work"
}

hashes() { (cd "$1" && sha256sum first.bin sub/second.bin empty); }

start_nodes() {
    say "starting $nodes DHT nodes"
    until_time=$(deadline)
    # Nobody answers at port 1. Without it the first node would turn to the public network.
    start node1 "$magnes" node --listen 127.0.0.1:0 --bootstrap 127.0.0.1:1 --state-dir "$work/state-node1" --json
    await node1 listening "$until_time"
    bootstrap=$(address node1)
    index=2
    while [ $index -le "$nodes" ]; do
        start "node$index" "$magnes" node --listen 127.0.0.1:0 --bootstrap "$bootstrap" \
            --state-dir "$work/state-node$index" --json
        index=$((index + 1))
    done
    index=2
    while [ $index -le "$nodes" ]; do
        await "node$index" listening "$until_time"
        index=$((index + 1))
    done
}

start_seeds() {
    say "starting $seeds seeds of $size bytes"
    until_time=$(deadline)
    index=1
    while [ $index -le "$seeds" ]; do
        start "seed$index" "$magnes" seed "$work/data/payload" --listen 127.0.0.1:0 --bootstrap "$bootstrap" \
            --state-dir "$work/state-seed$index" --json
        index=$((index + 1))
    done
    index=1
    while [ $index -le "$seeds" ]; do
        await "seed$index" listening "$until_time"
        index=$((index + 1))
    done
    magnet=$(field "$(event seed1 magnet)" magnet) || fail "seed1 printed no magnet link"
}

start_getters() {
    say "starting $getters getters of $magnet"
    until_time=$(deadline)
    stay=''
    [ $keep = no ] || stay=--seed
    index=1
    while [ $index -le "$getters" ]; do
        # shellcheck disable=SC2086 # $stay is one word or none
        start "getter$index" "$magnes" get "$magnet" -o "$work/got$index" --listen 127.0.0.1:0 \
            --bootstrap "$bootstrap" --state-dir "$work/state-getter$index" --timeout "$timeout" --json $stay
        index=$((index + 1))
    done
    # The program gives up by itself at the limit and says why; the script waits a little longer to hear it.
    index=1
    while [ $index -le "$getters" ]; do
        await "getter$index" complete $((until_time + 5))
        index=$((index + 1))
    done
}

compare() {
    wanted=$(hashes "$work/data/payload")
    index=1
    while [ $index -le "$getters" ]; do
        got=$(hashes "$work/got$index/payload") || fail "getter$index has not all files"
        [ "$got" = "$wanted" ] || fail "getter$index has other bytes than the seed"
        index=$((index + 1))
    done
}

table() {
    format='%-10s %8s %-21s %-7s %12s %9s\n'
    # shellcheck disable=SC2059 # the format is the line above
    printf "$format" node pid address role bytes seconds
    for name in $names; do
        read -r pid <"$work/$name.pid"
        bytes=- seconds=-
        role=${name%%[0-9]*}
        if [ "$role" = getter ]; then
            bytes=$(field "$(event "$name" complete)" bytes)
            seconds=$(field "$(event "$name" complete)" t)
        fi
        # shellcheck disable=SC2059
        printf "$format" "$name" "$pid" "$(address "$name")" "$role" "$bytes" "$seconds"
    done
}

main() {
    parse_args "$@"
    root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
    magnes=${MAGNES:-}
    if [ -z "$magnes" ]; then
        (cd "$root" && cargo build --release --locked --bin magnes >&2) || fail "the build failed"
        magnes=${CARGO_TARGET_DIR:-$root/target}/release/magnes
    fi
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    work=$(mktemp -d "${TMPDIR:-/tmp}/magnes-testnet.XXXXXX") || exit 1
    make_payload "$work/data/payload"
    start_nodes
    start_seeds
    start_getters
    compare
    table
    say "all $getters getters have the seed's bytes"
    if [ $keep = yes ]; then
        say "running until Ctrl-C; join with:"
        printf '%s\n' "$magnes get '$magnet' -o DIR --listen 127.0.0.1:0 --bootstrap $bootstrap"
        wait
    fi
}

main "$@"
