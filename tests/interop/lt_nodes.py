"""Several libtorrent DHT nodes without torrents: lt_nodes.py BOOTSTRAP IP... Each listens on port 6881. Runs until ended."""
import sys
import time

import libtorrent as lt

bootstrap, *ips = sys.argv[1:]
sessions = [lt.session({
    "listen_interfaces": f"{ip}:6881", "enable_dht": True, "dht_bootstrap_nodes": bootstrap, "enable_lsd": False,
    "enable_upnp": False, "enable_natpmp": False, "enable_outgoing_utp": False, "enable_incoming_utp": False,
    "alert_mask": 0, "aio_threads": 1, "hashing_threads": 1, "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False, "dht_prefer_verified_node_ids": False, "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False,
}) for ip in ips]
while sessions:
    time.sleep(1)
