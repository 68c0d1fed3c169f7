"""The interop cases. Every file that arrives is compared by SHA-256; a case that fails keeps its folder."""
import argparse
import contextlib
import copy
import hashlib
import os
import shutil
import sys
import tempfile
import time

import libtorrent as lt

import clients
import dht

FOREIGN = {"libtorrent": clients.libtorrent, "aria2": clients.aria2, "transmission": clients.transmission,
           "rqbit": clients.rqbit}

# Info hashes tried until one shares 16 bits with an id: that as many fail is as good as impossible.
TRIES = 1 << 21


class Payload:
    """A folder of random files, its .torrent file and its magnet link."""

    def __init__(self, folder, size):
        self.folder, self.size, self.torrent = folder, size, os.path.join(folder, "payload.torrent")
        for name, length in {"a.bin": size * 7 // 10, "sub/b.bin": size - size * 7 // 10 - 5, "sub/c.txt": 5}.items():
            path = os.path.join(folder, "payload", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(os.urandom(length))
        files = lt.list_files(os.path.join(folder, "payload"))
        creator = lt.create_torrent(files, 256 * 1024, lt.create_torrent.v1_only)
        lt.set_piece_hashes(creator, folder)
        with open(self.torrent, "wb") as file:
            file.write(lt.bencode(creator.generate()))
        info = lt.torrent_info(self.torrent)
        self.info_hash, self.pieces, self.magnet = str(info.info_hash()), info.num_pieces(), lt.make_magnet_uri(info)
        self.hashes = digests(folder)

    def is_in(self, folder):
        return digests(folder) == self.hashes

    def near(self, ids, torrent):
        """The same files under an info hash that shares its first 16 bits with one of these ids."""
        with open(self.torrent, "rb") as file:
            meta = lt.bdecode(file.read())
        starts = {node_id[:4] for node_id in ids}
        for number in range(TRIES):
            meta[b"info"][b"source"] = str(number).encode()
            if hashlib.sha1(lt.bencode(meta[b"info"])).hexdigest()[:4] in starts:
                break
        with open(torrent, "wb") as file:
            file.write(lt.bencode(meta))
        info, same = lt.torrent_info(torrent), copy.copy(self)
        same.torrent, same.info_hash, same.magnet = torrent, str(info.info_hash()), lt.make_magnet_uri(info)
        assert same.info_hash[:4] in starts, "no info hash is near"
        return same


def digests(folder):
    """SHA-256 of each file of the payload in `folder`, by path; empty files that a client adds do not count."""
    found = {}
    for parent, _, names in os.walk(os.path.join(folder, "payload")):
        for name in names:
            path = os.path.join(parent, name)
            # Some clients rename a file when it is whole, maybe at this moment.
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


class Case:
    """What one case works with: a folder, the payload, a time limit, and the processes to end."""

    def __init__(self, work, payload, timeout, stack):
        self.work, self.payload, self.timeout, self.stack = work, payload, timeout, stack
        self.nodes = []
        self.out = os.path.join(work, "out")
        os.makedirs(self.out)

    def run(self, process):
        self.stack.callback(process.stop)
        return process

    def get(self, **net):
        """Our getter, with nothing but the magnet link."""
        return self.run(clients.magnes_get(self.work, self.payload.magnet, self.out, self.timeout, **net))

    def finish(self, getter):
        code = getter.wait_exit(self.timeout + 10)
        assert code == 0, f"magnes get ended with {code}: {getter.output()[-800:]}"
        assert self.payload.is_in(self.out), "the files differ"

    def seed(self, **net):
        return self.run(clients.magnes_seed(self.work, self.payload.torrent, self.payload.folder, **net))

    def await_files(self, process):
        """Waits for a foreign getter, which tells the end only by its files."""
        total = os.path.join(self.out, "payload")
        process.wait_until(lambda: os.path.isdir(total) and self.payload.is_in(self.out), self.timeout, "whole files")

    def dht(self):
        """A private DHT of five of our nodes, which stay in `nodes`; the address of the first."""
        self.nodes = [self.run(clients.Magnes(self.work, "node", [], bootstrap="127.0.0.1:1"))]
        first = self.nodes[0].address()
        for number in range(4):
            folder = os.path.join(self.work, f"node{number}")
            os.makedirs(folder)
            self.nodes.append(self.run(clients.Magnes(folder, "node", [], bootstrap=first)))
            self.nodes[-1].address()
        return first

    def node_ids(self):
        return [node.events("listening")[0]["node_id"] for node in self.nodes]

    def await_announce(self):
        """Waits until somebody's announce is at one of our nodes, so that searches need not be repeated."""
        def is_there():
            return any(event["stored_peers"] for node in self.nodes for event in node.events("status")[-1:])
        self.nodes[0].wait_until(is_there, self.timeout, "announce")


def from_foreign(name, case):
    """A foreign client seeds, ours fetches metadata and files from it by magnet."""
    seeder = case.run(FOREIGN[name](case.work, "seed", case.payload.torrent, case.payload.folder))
    case.finish(case.get(peers=[seeder.address]))


def to_foreign(name, case):
    """Ours seeds and dials, the foreign client fetches the files, and where it can the metadata, from us."""
    source = case.payload.torrent if name in ("transmission", "rqbit") else case.payload.magnet
    getter = case.run(FOREIGN[name](case.work, "get", source, case.out))
    case.seed(peers=[getter.address])
    case.await_files(getter)


def from_foreign_dht(name, case):
    bootstrap = case.dht()
    # rqbit announces to nodes that share 16 bits with the info hash, and never to the one that it began with.
    if name == "rqbit":
        case.payload = case.payload.near(case.node_ids()[1:], os.path.join(case.work, "near.torrent"))
    case.run(FOREIGN[name](case.work, "seed", case.payload.torrent, case.payload.folder, bootstrap=bootstrap))
    case.await_announce()
    case.finish(case.get(bootstrap=bootstrap))


def to_foreign_dht(name, case):
    bootstrap = case.dht()
    case.seed(bootstrap=bootstrap).address()
    case.await_files(case.run(FOREIGN[name](case.work, "get", case.payload.magnet, case.out, bootstrap=bootstrap)))


def corrupt_peer(case):
    """A peer that sends garbage is found out, and the download completes from the other one."""
    port = clients.free_port()
    script = [sys.executable, os.path.join(clients.HERE, "corrupt_peer.py")]
    bad = case.run(clients.Process(case.work, "corrupt", [*script, str(port), case.payload.info_hash,
                                                          str(case.payload.pieces)]))
    good = case.run(clients.libtorrent(case.work, "seed", case.payload.torrent, case.payload.folder,
                                      up=case.payload.size // 5))
    getter = case.get(peers=[f"127.0.0.1:{port}", good.address])
    case.finish(getter)
    assert "served" in bad.output(), "the corrupt peer was never asked, so nothing was tried"
    failed = getter.events("piece_failed")
    assert any(f"127.0.0.1:{port}" in event["blamed"] for event in failed), f"nobody was blamed: {failed}"


def kill_and_resume(case):
    """After kill -9 in the middle, verified pieces are not fetched again."""
    size = case.payload.size
    seeder = case.run(clients.libtorrent(case.work, "seed", case.payload.torrent, case.payload.folder, up=size // 8))
    first = case.get(peers=[seeder.address])
    first.wait_until(lambda: any(event["bytes"] > size // 2 for event in first.events("progress")), case.timeout,
                     "half of the files")
    first.kill()
    case.finish(case.get(peers=[seeder.address]))
    uploaded = int([line for line in seeder.output().splitlines() if line.startswith("up ")][-1].split()[1])
    assert uploaded < size * 5 // 4, f"{uploaded} bytes were sent for {size}"


def cases():
    table = {}
    for name in FOREIGN:
        table[f"from-{name}"] = lambda case, name=name: from_foreign(name, case)
        table[f"to-{name}"] = lambda case, name=name: to_foreign(name, case)
    for name in ("libtorrent", "aria2", "rqbit"):
        table[f"from-{name}-dht"] = lambda case, name=name: from_foreign_dht(name, case)
        table[f"to-{name}-dht"] = lambda case, name=name: to_foreign_dht(name, case)
    return {**table, "corrupt-peer": corrupt_peer, "kill-and-resume": kill_and_resume, **dht.cases()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--size", type=int, default=100 << 20, help="bytes of the payload (100 MiB)")
    parser.add_argument("--timeout", type=int, default=90, help="seconds for each case (90)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    args = parser.parse_args()
    table = cases()
    if args.list:
        print("\n".join(table))
        return 0
    if unknown := set(args.cases) - set(table):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    root, failed = tempfile.mkdtemp(prefix="magnes-interop-"), []
    payload = Payload(os.path.join(root, "data"), args.size)
    for name in args.cases or table:
        work, started = os.path.join(root, name), time.monotonic()
        try:
            with contextlib.ExitStack() as stack:
                table[name](Case(work, payload, args.timeout, stack))
            shutil.rmtree(work)
            print(f"ok    {name}  {time.monotonic() - started:.1f} s", flush=True)
        except (AssertionError, RuntimeError, OSError) as error:
            failed.append(name)
            print(f"FAIL  {name}: {error}", flush=True)
    if failed:
        print(f"{len(failed)} failed; their logs are in {root}")
        return 1
    shutil.rmtree(root)
    return 0


sys.exit(main())
