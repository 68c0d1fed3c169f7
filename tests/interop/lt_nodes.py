"""Several libtorrent DHT nodes without torrents: lt_nodes.py BOOTSTRAP IP:PORT... Their limits are lifted. Prints `READY IP:PORT`
of each that knows eight nodes. Runs until ended.
"""
import sys
import time
import warnings

import libtorrent as lt

warnings.simplefilter("ignore", DeprecationWarning)  # session.status() is the short way to the size of a table
bootstrap, *addresses = sys.argv[1:]
waiting = {address: lt.session({
    "listen_interfaces": address, "enable_dht": True, "dht_bootstrap_nodes": bootstrap, "enable_lsd": False,
    "enable_upnp": False, "enable_natpmp": False, "enable_outgoing_utp": False, "enable_incoming_utp": False,
    "alert_mask": 0, "aio_threads": 1, "hashing_threads": 1, "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False, "dht_prefer_verified_node_ids": False, "dht_enforce_node_id": False,
    "dht_ignore_dark_internet": False, "dht_upload_rate_limit": 10**9, "dht_block_ratelimit": 10**8,
}) for address in addresses}
sessions = list(waiting.values())
while sessions:
    for address, session in list(waiting.items()):
        if session.status().dht_nodes >= 8:
            del waiting[address]
            print(f"READY {address}", flush=True)
    time.sleep(0.2 if waiting else 60)
