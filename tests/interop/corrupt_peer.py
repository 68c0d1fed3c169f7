"""A peer that claims to have everything and answers each request with zeros: corrupt_peer.py PORT INFO_HASH PIECES."""
import socketserver
import struct
import sys

port, info_hash, pieces = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3])


class Peer(socketserver.StreamRequestHandler):
    """One connection: handshake, a full bitfield, an unchoke, then zeros."""

    def handle(self):
        if len(self.rfile.read(68)) < 68:
            return
        self.wfile.write(b"\x13BitTorrent protocol" + bytes(8) + info_hash + b"-XX0000-corruptpeer0")
        bits = (1 << pieces) - 1 << -pieces % 8
        self.send(5, bits.to_bytes(-(-pieces // 8), "big"))
        self.send(1, b"")
        while len(prefix := self.rfile.read(4)) == 4:
            message = self.rfile.read(struct.unpack(">I", prefix)[0])
            if message[:1] == b"\6":
                piece, begin, length = struct.unpack(">III", message[1:])
                self.send(7, struct.pack(">II", piece, begin) + bytes(length))
                print("served", piece, begin, flush=True)

    def send(self, kind, payload):
        self.wfile.write(struct.pack(">IB", len(payload) + 1, kind) + payload)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Being hung up on is what this peer is for."""


Server(("127.0.0.1", port), Peer).serve_forever()
