"""A bootstrap node of ours and foreign clients that begin with nothing else.

    bootstrap.py [--timeout SECS]

Everything runs in a network of its own (10.77.0.0/24 on `lo`, each client with its own address), where nothing but DHT
leads from one to another. libtorrent seeds; transmission fetches; our node is stopped, started again with nobody to begin
with, and has to find its way back by its saved table, with the same id; then aria2, our getter and, where it is installed,
rqbit begin with it and fetch by magnet link.
"""
import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

INSIDE = "MAGNES_INTEROP_INSIDE"
ROUTER = "10.77.0.1:6881"
METRICS = "127.0.0.1:9681"
PAYLOAD_LEN = 3 << 20


def enter():
    """Runs this script again in a network and process namespace of its own, with which every process ends."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for number in range(1, 31):
            subprocess.run(["ip", "addr", "add", f"10.77.0.{number}/24", "dev", "lo"], check=True)
        return
    unshare = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        unshare.insert(1, "--map-root-user")
    if subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        print("skip  bootstrap-node: this system allows no network of its own", flush=True)
        sys.exit(0)
    sys.exit(subprocess.run([*unshare, sys.executable, *sys.argv], env={**os.environ, INSIDE: "1"}, check=False).returncode)


enter()

import clients  # noqa: E402  (the namespace comes first)
import libtorrent as lt  # noqa: E402


class Node(clients.Process):
    """`magnes node` with --json and metrics."""

    events = clients.Magnes.events

    def __init__(self, work, bootstrap):
        options = ["--listen", ROUTER, "--metrics", METRICS, "--state-dir", os.path.join(work, "node"), "--json"]
        super().__init__(work, "magnes-node", [clients.MAGNES, "node", *options, *bootstrap])
        self.wait_until(lambda: self.events("listening"), 20, "listening line")

    def node_id(self):
        return self.events("listening")[0]["node_id"]

    def await_contacts(self, count, seconds):
        """Waits until that many nodes are in its table."""
        self.wait_until(lambda: (self.events("status") or [{}])[-1].get("contacts", 0) >= count, seconds,
                        f"table of {count}")

    def await_samples(self, wanted, seconds):
        """Waits until each of these metrics is above zero."""
        def is_there():
            with urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            return all(float(samples[name]) > 0 for name in wanted)
        self.wait_until(is_there, seconds, f"metrics {wanted}")


def make_payload(folder):
    path = os.path.join(folder, "payload.bin")
    with open(path, "wb") as file:
        file.write(os.urandom(PAYLOAD_LEN))
    creator = lt.create_torrent(lt.list_files(path), 64 * 1024, lt.create_torrent.v1_only)
    lt.set_piece_hashes(creator, folder)
    torrent = os.path.join(folder, "payload.torrent")
    with open(torrent, "wb") as file:
        file.write(lt.bencode(creator.generate()))
    return torrent, lt.make_magnet_uri(lt.torrent_info(torrent))


def digest(folder):
    path = os.path.join(folder, "payload.bin")
    if not os.path.isfile(path) or os.path.getsize(path) != PAYLOAD_LEN:
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def libtorrent(work, ip, role, source, folder):
    script = [sys.executable, os.path.join(clients.HERE, "lt_client.py"), role, "6881", source, folder, ROUTER, "0", ip]
    return clients.Process(work, f"libtorrent-{ip}", script)


def aria2(work, ip, magnet, folder):
    return clients.Process(work, "aria2", [
        "aria2c", f"--dir={folder}", f"--interface={ip}", "--listen-port=6891", "--dht-listen-port=6892", "--no-conf=true",
        "--enable-dht=true", "--enable-dht6=false", f"--dht-entry-point={ROUTER}", f"--dht-file-path={work}/aria2.dat",
        "--enable-peer-exchange=false", "--bt-enable-lpd=false", "--file-allocation=none", "--summary-interval=0",
        "--seed-ratio=0.0", magnet])


def transmission(work, ip, torrent, folder):
    home = os.path.join(work, "transmission")
    watch = os.path.join(home, "watch")
    os.makedirs(watch)
    shutil.copy(torrent, watch)
    settings = {
        "bind-address-ipv4": ip, "dht-enabled": True, "download-dir": folder, "encryption": 0, "lpd-enabled": False,
        "peer-port": 6881, "pex-enabled": False, "port-forwarding-enabled": False, "rpc-enabled": False,
        "utp-enabled": False, "watch-dir": watch, "watch-dir-enabled": True,
    }
    with open(os.path.join(home, "settings.json"), "w") as file:
        json.dump(settings, file)
    with open(os.path.join(home, "dht.bootstrap"), "w") as file:
        file.write(ROUTER.replace(":", " ") + "\n")
    return clients.Process(work, "transmission", ["transmission-daemon", "--foreground", "--config-dir", home])


def rqbit(work, magnet, folder):
    """Its address is the one the kernel takes, and cannot be chosen for the DHT."""
    return clients.Process(work, "rqbit", [
        clients.RQBIT, *clients.RQBIT_ALONE, "--listen-ip", "0.0.0.0", "--listen-port", "6901",
        "--disable-dht-persistence", "--dht-bootstrap-addrs", ROUTER, "download", "--disable-http-api", "-o", folder, "-e",
        magnet])


class Test:
    def __init__(self, work, timeout, stack):
        self.work, self.timeout, self.stack = work, timeout, stack
        self.data = self.folder("data")
        self.torrent, self.magnet = make_payload(self.data)
        self.wanted = digest(self.data)

    def folder(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path)
        return path

    def run(self, process):
        self.stack.callback(process.stop)
        return process

    def fetch(self, name, start):
        """Starts a client that fetches into a folder of its own, and waits for the file."""
        started, folder = time.monotonic(), self.folder(name)
        process = self.run(start(folder))
        process.wait_until(lambda: digest(folder) == self.wanted, self.timeout, "whole file")
        print(f"ok    bootstrap-node: {name} found its peers  {time.monotonic() - started:.1f} s", flush=True)

    def all(self):
        node = self.run(Node(self.work, ["--no-bootstrap"]))
        self.run(libtorrent(self.work, "10.77.0.2", "seed", self.torrent, self.data))
        # Transmission searches only once it knows more than eight nodes.
        others = [f"10.77.0.{number}:6881" for number in range(20, 31)]
        script = [sys.executable, os.path.join(clients.HERE, "lt_nodes.py"), ROUTER, *others]
        self.run(clients.Process(self.work, "libtorrent-nodes", script))
        node.await_contacts(1 + len(others), self.timeout)
        kinds = ("get_peers", "announce_peer")
        node.await_samples([f'magnes_dht_queries_received_total{{kind="{kind}"}}' for kind in kinds], self.timeout)
        node.await_samples(["magnes_dht_stored_peers", "magnes_dht_ready"], self.timeout)
        self.fetch("transmission", lambda folder: transmission(self.work, "10.77.0.5", self.torrent, folder))

        before = node.node_id()
        node.stop()
        assert node.child.returncode == 0, f"magnes node ended with {node.child.returncode}: {node.output()[-800:]}"
        node = self.run(Node(self.work, ["--no-bootstrap"]))
        assert node.node_id() == before, "another id after the restart"
        node.await_contacts(1 + len(others), self.timeout)
        print("ok    bootstrap-node: back by its saved table", flush=True)

        self.fetch("aria2", lambda folder: aria2(self.work, "10.77.0.6", self.magnet, folder))
        self.fetch("magnes", lambda folder: clients.Process(self.work, "magnes-get", [
            clients.MAGNES, "get", self.magnet, "-o", folder, "--listen", "10.77.0.7:6881", "--bootstrap", ROUTER,
            "--state-dir", os.path.join(self.work, "getter"), "--json", "--timeout", str(self.timeout)]))
        self.fetch("rqbit", lambda folder: rqbit(self.work, self.magnet, folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=int, default=150, help="seconds for each step (150)")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="magnes-bootstrap-")
    try:
        with contextlib.ExitStack() as stack:
            Test(work, args.timeout, stack).all()
    except (AssertionError, RuntimeError, OSError) as error:
        print(f"FAIL  bootstrap-node: {error}\nthe logs are in {work}", flush=True)
        return 1
    shutil.rmtree(work)
    return 0


sys.exit(main())
