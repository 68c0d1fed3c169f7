"""One libtorrent session: lt_client.py seed|get PORT SOURCE FOLDER BOOTSTRAP|- UPLOAD_LIMIT [IP [PEER]]. Runs until it is
ended, and dials PEER at once.

Prints `up BYTES` whenever the number of uploaded payload bytes has changed, and `done` once everything is there.
"""
import sys
import time

import libtorrent as lt

role, port, source, folder, bootstrap, up = sys.argv[1:7]
ip = sys.argv[7] if len(sys.argv) > 7 else "127.0.0.1"
peer = sys.argv[8] if len(sys.argv) > 8 else None
dht = bootstrap != "-"
session = lt.session({
    "listen_interfaces": f"{ip}:{port}", "enable_dht": dht, "dht_bootstrap_nodes": bootstrap if dht else "",
    "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "enable_outgoing_utp": False,
    "enable_incoming_utp": False, "allow_multiple_connections_per_ip": True, "upload_rate_limit": int(up),
    "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False, "dht_prefer_verified_node_ids": False,
    "dht_enforce_node_id": False, "dht_ignore_dark_internet": False,
})
if int(up):  # peers of the local network are exempt from limits unless the global class holds them
    everyone = lt.ip_filter()
    everyone.add_rule("0.0.0.0", "255.255.255.255", 1)
    session.set_peer_class_filter(everyone)
params = lt.parse_magnet_uri(source) if source.startswith("magnet:") else lt.load_torrent_file(source)
params.save_path = folder
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
if role == "seed":
    params.flags |= lt.torrent_flags.seed_mode
torrent = session.add_torrent(params)
if peer:
    host, peer_port = peer.rsplit(":", 1)
    torrent.connect_peer((host, int(peer_port)))
told, rounds, done = -1, 0, False
while True:
    time.sleep(0.1)
    rounds += 1
    if dht and rounds % 20 == 0:
        torrent.force_dht_announce()
    status = torrent.status()
    uploaded = status.total_payload_upload
    if uploaded != told:
        told = uploaded
        print(f"up {told}", flush=True)
    if status.is_seeding and not done:
        done = True
        print("done", flush=True)
