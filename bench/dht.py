"""How many get_peers one DHT node answers a second: ours beside rqbit's, libtorrent's and the mainline crate's.

    tests/interop/run.sh compare-dht [--rounds N] [--seconds N] [--window N] [SERVER..]

All of them run at the same time in one DHT on 127.0.0.1, so that their tables are full, and each stores the same peers, so
that a reply has a token, nodes and peers. Each round asks every one of them once, in turn, with `dht/examples/load.rs`; what
disturbs the machine disturbs them alike. The servers share one processor, the others of which are idle meanwhile; the
generator and everything else has another one. The table gives medians (least to most). The processor time of a query is that
of the server's whole process.

Ours is a plain `magnes node`: its guard has no budgets for the loopback network, from which nothing forged can come, and
every other check is in place. libtorrent's limits are lifted (it answers some 200 a second by default); rqbit and mainline
have none. Ratios count: absolute figures differ from machine to machine. Only Linux can pin and count.
"""
import argparse
import contextlib
import os
import re
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "interop"))

import clients

LOAD = os.environ.get("LOAD", "load")
# Nodes that fill the tables, and how many of them a reply has (mainline gives more).
NODES, REPLY_NODES = 24, 8
# rqbit stores a thousand peers.
INFO_HASHES, PEERS = 300, 3
RESULT = re.compile(r"(\d+) answers/s, (\d+) lost, (\d+) errors, (\d+) bytes a reply with ([\d.]+) nodes and ([\d.]+) peers")
START_S = 60
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Server:
    """A node under test: its process, and where it listens."""

    def __init__(self, process, address):
        self.process, self.address = process, address

    def cpu_s(self):
        with open(f"/proc/{self.process.child.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def pinned(cpu, command):
    return ["taskset", "--cpu-list", str(cpu), *command]


def ready(process):
    """A process that prints `READY HOST:PORT` once it is one."""
    line = process.wait_until(
        lambda: [line for line in process.output().splitlines() if line.startswith("READY ")], START_S, "READY line")[0]
    return Server(process, line.split()[1])


def contacts(node):
    return (node.events("status") or [{}])[-1].get("contacts", 0)


def magnes(work, cpu, bootstrap):
    process = clients.Magnes(work, "node", [], bootstrap=bootstrap, prefix=pinned(cpu, []))
    server = Server(process, process.address())
    process.wait_until(lambda: contacts(process) >= REPLY_NODES, START_S, "table")
    return server


def rqbit(work, cpu, bootstrap):
    process = clients.Process(work, "rqbit", pinned(cpu, [clients.RQBIT_DHT, "node", bootstrap]))
    server = ready(process)
    process.wait_until(lambda: any(line.startswith("table ") and int(line.split()[1]) >= REPLY_NODES
                                   for line in process.output().splitlines()), START_S, "table")
    return server


def libtorrent(work, cpu, bootstrap):
    script = [sys.executable, os.path.join(clients.HERE, "lt_nodes.py"), bootstrap, f"127.0.0.1:{clients.free_port()}"]
    return ready(clients.Process(work, "libtorrent", pinned(cpu, script)))


def mainline(work, cpu, bootstrap):
    return ready(clients.Process(work, "mainline", pinned(cpu, [clients.MAINLINE, "node", bootstrap])))


SERVERS = {"magnes": magnes, "rqbit": rqbit, "libtorrent": libtorrent, "mainline": mainline}


def network(work, stack):
    """A DHT of libtorrent's nodes around one of ours; the address of that."""
    router = clients.Magnes(work, "node", [], bootstrap="127.0.0.1:1")
    stack.callback(router.stop)
    bootstrap = router.address()
    addresses = [f"127.0.0.1:{clients.free_port()}" for _ in range(NODES)]
    script = [sys.executable, os.path.join(clients.HERE, "lt_nodes.py"), bootstrap, *addresses]
    others = clients.Process(work, "nodes", script)
    stack.callback(others.stop)
    router.wait_until(lambda: contacts(router) >= NODES, START_S, "whole network")
    return bootstrap


def measure(server, work, cpu, args):
    """Answers a second, microseconds of the server's processor a query, and what a reply has: bytes, nodes, peers."""
    before = server.cpu_s()
    generator = clients.Process(work, "load", pinned(cpu, [
        LOAD, server.address, "--seconds", str(args.seconds), "--window", str(args.window),
        "--info-hashes", str(INFO_HASHES), "--peers", str(PEERS)]))
    code = generator.wait_exit(args.seconds + START_S)
    used_s = server.cpu_s() - before
    found = RESULT.search(generator.output())
    assert code == 0 and found, f"load ended with {code}: {generator.output()}"
    answers, lost, errors, *reply = map(float, found.groups())
    assert errors == 0, f"{server.process.name} answers with {errors:.0f} errors"
    return answers, used_s * 1e6 / (answers * args.seconds), lost, *reply


def fill(server, work, cpu, args):
    """Asks until replies have what is to be measured."""
    limit = time.monotonic() + START_S
    while time.monotonic() < limit:
        *_, nodes, peers = measure(server, work, cpu, args)
        if nodes >= REPLY_NODES and peers == PEERS:
            return
    raise RuntimeError(f"{server.process.name} gives {nodes} nodes and {peers} peers after {START_S} s")


def row(name, runs, rqbit_rates):
    rates, costs, lost, length, nodes, peers = zip(*runs)
    ratio = f"{statistics.median(rates) / statistics.median(rqbit_rates):.2f}" if rqbit_rates else "-"
    return (f"| {name} | {statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f}) | {ratio} | "
            f"{statistics.median(costs):.1f} ({min(costs):.1f}-{max(costs):.1f}) | {statistics.median(length):.0f} | "
            f"{statistics.median(nodes):.1f} | {statistics.median(peers):.1f} | {sum(lost):.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="*", metavar="SERVER", help=f"which ({', '.join(SERVERS)})")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each server (5)")
    parser.add_argument("--seconds", type=int, default=3, metavar="N", help="length of a run (3)")
    parser.add_argument("--window", type=int, default=64, metavar="N", help="queries under way at a time (64)")
    args = parser.parse_args()
    names = args.servers or list(SERVERS)
    if unknown := set(names) - set(SERVERS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[:1])
    work, runs = tempfile.mkdtemp(prefix="magnes-dht-load-"), {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        bootstrap = network(work, stack)
        servers = {}
        for name in names:
            folder = os.path.join(work, name)
            os.makedirs(folder)
            servers[name] = SERVERS[name](folder, cpus[-1], bootstrap)
            stack.callback(servers[name].process.stop)
        for name in names:
            fill(servers[name], work, cpus[0], args)
        for _ in range(args.rounds):
            for name in names:
                runs[name].append(measure(servers[name], work, cpus[0], args))
                print(row(name, runs[name][-1:], []), file=sys.stderr, flush=True)
    print(f"{args.rounds} rounds of {args.seconds} s, {args.window} queries under way, {len(cpus)} processors")
    print("| server | get_peers/s | of rqbit's | server CPU us a query | reply bytes | nodes | peers | lost |\n" + "|---" * 8 + "|")
    rqbit_rates = [run[0] for run in runs.get("rqbit", [])]
    for name in names:
        print(row(name, runs[name], rqbit_rates))


main()
