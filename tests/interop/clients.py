"""The clients as child processes. Each is started on a free port of 127.0.0.1 and ended by its own handle.

A source is a magnet link or the path of a .torrent file. `peers` are dialled at once; `bootstrap` turns the DHT on.
"""
import json
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MAGNES = os.environ.get("MAGNES", "magnes")
MAINLINE = os.environ.get("MAINLINE", "magnes-interop-mainline")
RQBIT = os.environ.get("RQBIT", "rqbit")
RQBIT_DHT = os.environ.get("RQBIT_DHT", "magnes-interop-rqbit")
# What keeps rqbit to peers it is told of and to those of its DHT.
RQBIT_ALONE = ["--disable-lsd", "--disable-upnp-port-forward", "--disable-trackers", "--ipv4-only"]


def free_port():
    """A port that is free for both TCP and UDP at this moment."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return tcp.getsockname()[1]


class Process:
    """A child whose output goes to a file, with waits that are bounded in time."""

    def __init__(self, work, name, command):
        self.name = name
        self.log = os.path.join(work, f"{name}-{time.monotonic_ns()}.log")
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def output(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def wait_until(self, check, seconds, what):
        """Polls `check` until it gives something true, which is returned."""
        limit = time.monotonic() + seconds
        while not (found := check()):
            if self.child.poll() not in (None, 0):
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}: {self.output()[-800:]}")
            if time.monotonic() > limit:
                raise RuntimeError(f"{self.name}: no {what} in {seconds} s: {self.output()[-800:]}")
            time.sleep(0.05)
        return found

    def wait_exit(self, seconds):
        """The exit code."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{self.name} still runs after {seconds} s: {self.output()[-800:]}") from None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Magnes(Process):
    """Our program with --json; `prefix` is a program that becomes it."""

    def __init__(self, work, command, arguments, bootstrap=None, peers=(), prefix=()):
        options = ["--listen", "127.0.0.1:0", "--state-dir", os.path.join(work, "state"), "--json"]
        options += ["--bootstrap", bootstrap] if bootstrap else ["--no-dht"]
        for peer in peers:
            options += ["--peer", peer]
        super().__init__(work, f"magnes-{command}", [*prefix, MAGNES, command, *arguments, *options])

    def events(self, name):
        """The events of this name so far. Log lines and a last line that is not whole are passed over."""
        lines = [line for line in self.output().splitlines(keepends=True) if line.startswith("{")]
        events = [json.loads(line) for line in lines if line.endswith("}\n")]
        return [event for event in events if event["event"] == name]

    def address(self):
        """IP:PORT of TCP and UDP."""
        return self.wait_until(lambda: self.events("listening"), 20, "listening line")[0]["udp"]


class Foreign(Process):
    """A foreign client; `address` is where it listens."""

    def __init__(self, work, name, command, port):
        self.address = f"127.0.0.1:{port}"
        super().__init__(work, name, command)


def magnes_seed(work, torrent, data, **net):
    return Magnes(work, "seed", [torrent, "--data", data], **net)


def magnes_get(work, source, out, timeout, **net):
    return Magnes(work, "get", [source, "-o", out, "--timeout", str(timeout)], **net)


def libtorrent(work, role, source, folder, bootstrap=None, up=0, peer=None):
    port = free_port()
    command = [sys.executable, os.path.join(HERE, "lt_client.py"), role, str(port), source, folder, bootstrap or "-",
               str(up), "127.0.0.1", *([peer] if peer else [])]
    return Foreign(work, f"libtorrent-{role}", command, port)


def aria2(work, role, source, folder, bootstrap=None):
    port = free_port()
    command = ["aria2c", f"--dir={folder}", f"--listen-port={port}", "--seed-ratio=0.0", "--enable-peer-exchange=false",
               "--file-allocation=none", "--no-conf=true", "--summary-interval=0", "--enable-dht6=false"]
    if role == "seed":
        command.append("--check-integrity=true")
    if bootstrap:
        command += ["--enable-dht=true", f"--dht-entry-point={bootstrap}", f"--dht-listen-port={port}",
                    f"--dht-file-path={work}/aria2-{port}.dat"]
    else:
        command.append("--enable-dht=false")
    return Foreign(work, f"aria2-{role}", [*command, source], port)


def transmission(work, role, source, folder):
    """Transmission 3 takes its .torrent file from a watched folder; magnet links only by remote control."""
    port, home = free_port(), os.path.join(work, f"transmission-{role}")
    watch = os.path.join(home, "watch")
    os.makedirs(watch)
    os.symlink(source, os.path.join(watch, "one.torrent"))
    settings = {
        "bind-address-ipv4": "127.0.0.1", "dht-enabled": False, "download-dir": folder, "encryption": 0,
        "lpd-enabled": False, "peer-port": port, "pex-enabled": False, "port-forwarding-enabled": False,
        "rpc-enabled": False, "utp-enabled": False, "watch-dir": watch, "watch-dir-enabled": True,
    }
    with open(os.path.join(home, "settings.json"), "w") as file:
        json.dump(settings, file)
    return Foreign(work, f"transmission-{role}", ["transmission-daemon", "--foreground", "--config-dir", home], port)


def rqbit(work, role, source, folder, bootstrap=None):
    """Its DHT has a port of its own. On a loopback address it announces only what it is told to."""
    port = free_port()
    dht = ["--disable-dht-persistence", "--dht-bootstrap-addrs", bootstrap] if bootstrap else ["--disable-dht"]
    command = [RQBIT, *RQBIT_ALONE, *dht, "--listen-ip", "127.0.0.1", "--listen-port", str(port), "--announce-port",
               str(port), "download", "--disable-http-api", *(["--overwrite"] if role == "seed" else []), "-o", folder, source]
    return Foreign(work, f"rqbit-{role}", command, port)
