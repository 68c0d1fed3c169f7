#!/bin/sh
# Checks the unit file, the Prometheus files and what a node serves with the tools of their makers, where those are installed.
#   packaging/check.sh PROGRAM      PROGRAM stands in for /usr/local/bin/magnes, which the unit names
set -eu
program=${1:?usage: packaging/check.sh PROGRAM}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if command -v systemd-analyze >/dev/null; then
    sed "s|/usr/local/bin/magnes|$program|" "$here/magnes-node.service" >"$work/magnes-node.service"
    said=$(systemd-analyze verify --man=no "$work/magnes-node.service" 2>&1) || { echo "$said" >&2; exit 1; }
    # An option that it does not know is said, and is no failure to it.
    case $said in *magnes-node.service*) echo "$said" >&2 && exit 1 ;; esac
    # 13 stands for 1.3 of 10.
    systemd-analyze security --offline=true --threshold=13 "$work/magnes-node.service" >"$work/security" ||
        { cat "$work/security" >&2; exit 1; }
    echo "ok    magnes-node.service"
else
    echo "skip  magnes-node.service: no systemd-analyze"
fi

if command -v promtool >/dev/null; then
    promtool check config "$here/prometheus/prometheus.yml" >&2
    echo "ok    prometheus.yml, magnes-alerts.yml"
else
    echo "skip  prometheus.yml, magnes-alerts.yml: no promtool"
fi

if command -v promtool >/dev/null && command -v curl >/dev/null; then
    mkfifo "$work/events"
    "$program" node --json --no-bootstrap --listen 127.0.0.1:0 --metrics 127.0.0.1:0 --state-dir "$work/state" \
        >"$work/events" &
    node=$!
    trap 'kill "$node"; rm -rf "$work"' EXIT
    # Read to the end only when the node ends: it goes on telling.
    exec 3<"$work/events"
    read -r listening <&3
    metrics=$(echo "$listening" | sed -n 's/.*"metrics":"\([^"]*\)".*/\1/p')
    curl --silent --show-error --fail "http://$metrics/metrics" >"$work/metrics"
    promtool check metrics <"$work/metrics" >&2
    echo "ok    /metrics"
else
    echo "skip  /metrics: no promtool, or no curl"
fi
