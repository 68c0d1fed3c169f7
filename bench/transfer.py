"""One seeder, one getter, over loopback: how fast and for how much processor time, our program beside libtorrent.

    tests/interop/run.sh compare [--size MIB] [--rounds N] [--folder DIR]

Each round runs every pair once, in turn, so that what disturbs the machine disturbs them alike; the table gives medians
(least to most). The payload is random, in pieces of 1 MiB, and every copy is compared by SHA-256. Time runs from the start
of the getter's process to its end or, for libtorrent, to its word that it is done. Processor time is that of whole
processes, start and verification included. Ratios count: absolute figures differ from machine to machine, and systems whose
TCP paces itself on loopback (BBR) give lower ones.
"""
import argparse
import hashlib
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "interop"))

import libtorrent as lt

import clients

MIB = 1 << 20
PIECE_LEN = MIB
TIMEOUT = 300


def make_payload(folder, size):
    """One random file, and the .torrent file of it."""
    path, torrent = os.path.join(folder, "payload"), os.path.join(folder, "payload.torrent")
    with open(path, "wb") as file:
        for _ in range(size):
            file.write(os.urandom(MIB))
    creator = lt.create_torrent(lt.list_files(path), PIECE_LEN, lt.create_torrent.v1_only)
    lt.set_piece_hashes(creator, folder)
    with open(torrent, "wb") as file:
        file.write(lt.bencode(creator.generate()))
    return torrent, digest(path)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cpu_s():
    """Processor seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def magnes(work, torrent, data, out):
    seeder = clients.magnes_seed(work, torrent, data)
    peer = seeder.address()
    began = time.monotonic()
    getter = clients.magnes_get(work, torrent, out, TIMEOUT, peers=[peer])
    assert getter.wait_exit(TIMEOUT) == 0, getter.output()[-800:]
    return seeder, getter, time.monotonic() - began


def libtorrent(work, torrent, data, out):
    seeder = clients.libtorrent(work, "seed", torrent, data)
    seeder.wait_until(lambda: "up 0" in seeder.output(), 20, "word that it seeds")
    began = time.monotonic()
    getter = clients.libtorrent(work, "get", torrent, out, peer=seeder.address)
    getter.wait_until(lambda: "done" in getter.output(), TIMEOUT, "word that it is done")
    return seeder, getter, time.monotonic() - began


def measure(pair, folder, torrent, wanted, size):
    """MiB/s, and processor seconds per GiB of getter and seeder."""
    work, out = os.path.join(folder, "work"), os.path.join(folder, "work", "out")
    os.makedirs(out)
    gib, before = size / 1024, cpu_s()
    seeder, getter, wall = pair(work, torrent, folder, out)
    try:
        getter.stop()
        getter_s = cpu_s() - before
    finally:
        seeder.stop()
    seeder_s = cpu_s() - before - getter_s
    assert digest(os.path.join(out, "payload")) == wanted, "the copy differs"
    shutil.rmtree(work)
    return size / wall, getter_s / gib, seeder_s / gib


def row(name, runs):
    def text(values, digits):
        return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"

    rates, getters, seeders = zip(*runs)
    return f"| {name} | {text(rates, 0)} | {text(getters, 2)} | {text(seeders, 2)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="length of the payload (1024)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each pair (3)")
    parser.add_argument("--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else None, metavar="DIR",
                        help="where payload and copies go, twice their length (/dev/shm)")
    args = parser.parse_args()
    pairs = {"magnes -> magnes": magnes, "libtorrent -> libtorrent": libtorrent}
    folder = tempfile.mkdtemp(prefix="magnes-compare-", dir=args.folder)
    try:
        torrent, wanted = make_payload(folder, args.size)
        runs = {name: [] for name in pairs}
        for _ in range(args.rounds):
            for name, pair in pairs.items():
                runs[name].append(measure(pair, folder, torrent, wanted, args.size))
                print(row(name, runs[name][-1:]), file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{args.size} MiB in pieces of 1 MiB, {args.rounds} rounds, libtorrent {lt.__version__}")
    print("| seeder -> getter | MiB/s | getter CPU s/GiB | seeder CPU s/GiB |\n|---|---|---|---|")
    for name, results in runs.items():
        print(row(name, results))


main()
