"""Rude peers at a seed of ours, and an honest download beside them.

    run.sh hostile [--size MIB] [ATTACK..]     all attacks; --list names them

For each attack: the time of an honest download from the seed without and with it, in turn, and the seed's peak memory. What
has to hold is that the download completes, that the seed lives and serves on, and that its memory stays under MEMORY_MAX_MIB.
The attackers run at the lowest priority: on a small machine they would otherwise measure themselves.
"""
import argparse
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

import clients

# What the seed may take under any attack, in MiB. Idle it takes about 8.
MEMORY_MAX_MIB = 96
# How often a peer that was hung up on comes back.
AGAIN_S = 0.5
BLOCK = 16384


class Peer:
    """A connection to the seed, from any address of the loopback network."""

    def __init__(self, port, info_hash, source="127.0.0.1", rcvbuf=None):
        self.socket = socket.socket()
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.socket.settimeout(5)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        reserved = bytes([0, 0, 0, 0, 0, 0x10, 0, 5])
        peer_id = b"-XX0000-" + random.randbytes(12)
        self.socket.sendall(b"\x13BitTorrent protocol" + reserved + info_hash + peer_id)

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def drain(self, seconds):
        """Reads for a while, and throws away."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not self.socket.recv(1 << 16):
                    raise ConnectionError
            except socket.timeout:
                return


def message(kind, payload=b""):
    return struct.pack(">IB", len(payload) + 1, kind) + payload


def block(kind, piece, begin, length=BLOCK):
    return message(kind, struct.pack(">III", piece, begin, length))


def extended(number, payload):
    return message(20, bytes([number]) + payload)


HANDSHAKE = extended(0, b"d1:md11:ut_metadatai3eee")
PIECE = struct.pack(">II", 0, 0) + bytes(BLOCK)
# One of each kind of message; a flood repeats it.
FLOODS = {
    "keep-alive": bytes(4),
    "choke": message(0) + message(1),
    "interest": message(2) + message(3),
    "have": message(4, bytes(4)),
    "bitfield": message(5, b"\x80" + bytes(7)),
    "request": block(6, 0, 0),
    "piece": message(7, PIECE),
    "cancel": block(8, 0, 0),
    "port": message(9, b"\x1a\xe1"),
    "suggest": message(13, bytes(4)),
    "have-all": message(14),
    "have-none": message(15),
    "reject": block(16, 0, 0),
    "allowed-fast": message(17, bytes(4)),
    "extension-handshake": HANDSHAKE,
    "metadata-request": extended(1, b"d8:msg_typei0e5:piecei0ee"),
    "metadata-data": extended(1, b"d8:msg_typei1e5:piecei0e10:total_sizei9eexxxxxxxxx"),
    "unknown": message(99, bytes(100)),
}


def tiny_requests(port, info_hash):
    peer = Peer(port, info_hash)
    peer.send(message(15), message(2))
    for start in range(0, 20000, 500):
        peer.send(*[block(6, 0, 2 * number, 1) for number in range(start, start + 500)])
        peer.drain(0.02)
    peer.drain(5)


def allowed_fast(port, info_hash):
    """Asks without ever being interested, and so choked, for what choked peers may have."""
    peer = Peer(port, info_hash, f"127.0.1.{random.randrange(1, 255)}")
    peer.send(message(15))
    while True:
        peer.send(*[block(6, piece, begin * BLOCK) for piece in range(64) for begin in range(4)])
        peer.drain(0.1)


def stallers(port, info_hash):
    """200 connections: half say what they want and nothing more, half not even that."""
    held = []
    for number in range(200):
        source = f"127.0.{2 + number % 4}.{1 + number % 50}"
        try:
            if number % 2:
                held.append(Peer(port, info_hash, source))
            else:
                held.append(socket.create_connection(("127.0.0.1", port), 5, (source, 0)))
        except OSError:
            pass
    time.sleep(60)


def slow_readers(port, info_hash):
    """Five connections, as many as there are slots, that ask for as much as they can and read nothing."""
    held = []
    for number in range(5):
        peer = Peer(port, info_hash, f"127.0.6.{number + 1}", rcvbuf=4096)
        peer.send(message(15), message(2))
        peer.drain(0.3)
        peer.send(*[block(6, piece, 0) for piece in range(500)])
        held.append(peer)
    time.sleep(20)


def flood(kind):
    def attack(port, info_hash):
        peer = Peer(port, info_hash)
        peer.send(HANDSHAKE)
        many = FLOODS[kind] * max(1, (1 << 16) // len(FLOODS[kind]))
        while True:
            peer.send(many)
            peer.drain(0.005)

    return attack


ATTACKS = {"tiny-requests": tiny_requests, "choked-requests": allowed_fast, "stallers": stallers,
           "slow-readers": slow_readers, **{f"flood-{kind}": flood(kind) for kind in FLOODS}}


def attack_forever(name, port, info_hash):
    """Runs in a process of its own, until it is killed."""
    os.nice(19)
    while True:
        try:
            ATTACKS[name](port, info_hash)
        except OSError:
            pass
        time.sleep(AGAIN_S)


def peak_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def download(work, torrent, address, number):
    """Seconds of an honest download, checked by its exit code: it ends with 0 when every piece is verified."""
    out = os.path.join(work, f"out{number}")
    started = time.monotonic()
    get = clients.magnes_get(work, torrent, out, 120, peers=[address])
    code = get.wait_exit(130)
    elapsed = time.monotonic() - started
    shutil.rmtree(out, ignore_errors=True)
    if code != 0:
        raise RuntimeError(f"the download ended with {code}: {get.output()[-600:]}")
    return elapsed


def run(work, torrent, data, info_hash, name, options):
    """One attack against a fresh seed. Returns the times without and with it, and the seed's peak memory in MiB."""
    seed = clients.magnes_seed(work, torrent, data)
    address = seed.address()
    port = int(address.rsplit(":", 1)[1])
    quiet, attacked = [], []
    try:
        for number in range(options.rounds):
            quiet.append(download(work, torrent, address, number))
            attacker = subprocess.Popen([sys.executable, __file__, "--attack", name, str(port), info_hash])
            try:
                time.sleep(options.settle)
                attacked.append(download(work, torrent, address, number))
            finally:
                attacker.kill()
                attacker.wait()
        if seed.child.poll() is not None:
            raise RuntimeError(f"the seed ended with {seed.child.returncode}: {seed.output()[-600:]}")
        return quiet, attacked, peak_mib(seed.child.pid)
    finally:
        seed.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK")
    parser.add_argument("--size", type=int, default=64, help="MiB to download (64)")
    parser.add_argument("--rounds", type=int, default=3, help="downloads without and with each attack (3)")
    parser.add_argument("--settle", type=float, default=5, metavar="S",
                        help="seconds that an attack runs before it counts (5): a seed needs 3 to tell who does not read")
    parser.add_argument("--list", action="store_true", help="name the attacks")
    options = parser.parse_args()
    if options.list:
        print("\n".join(ATTACKS))
        return 0
    work = tempfile.mkdtemp(prefix="magnes-hostile-")
    failed = 0
    try:
        data = os.path.join(work, "data")
        os.mkdir(data)
        with open(os.path.join(data, "payload"), "wb") as payload:
            for _ in range(options.size):
                payload.write(random.randbytes(1 << 20))
        torrent = os.path.join(work, "payload.torrent")
        subprocess.run([clients.MAGNES, "create", os.path.join(data, "payload"), "-o", torrent], check=True,
                       stdout=subprocess.DEVNULL)
        shown = subprocess.run([clients.MAGNES, "show", "--json", torrent], check=True, capture_output=True, text=True)
        info_hash = shown.stdout.split('"info_hash":"')[1][:40]
        for name in options.attacks or ATTACKS:
            try:
                quiet, attacked, peak = run(work, torrent, data, info_hash, name, options)
            except RuntimeError as error:
                failed += 1
                print(f"FAILED {name}: {error}", flush=True)
                continue
            # The best of several: what else the machine does only ever makes it slower.
            rate = min(quiet) / min(attacked)
            verdict = "ok    " if peak <= MEMORY_MAX_MIB else "FAILED"
            failed += peak > MEMORY_MAX_MIB
            print(f"{verdict} {name:26} rate {rate:4.0%} of undisturbed ({min(quiet):.2f} s, {min(attacked):.2f} s), "
                  f"seed {peak:.0f} MiB", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attack"]:
        attack_forever(sys.argv[2], int(sys.argv[3]), bytes.fromhex(sys.argv[4]))
    sys.exit(main())
