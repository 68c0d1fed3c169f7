#!/bin/sh
# Checks the unit file and the Prometheus files with the tools of their makers, where those are installed.
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
