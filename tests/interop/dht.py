"""The DHT with libtorrent and the mainline crate: items (BEP 44), counted swarms (BEP 33), sampled info hashes (BEP 51);
and with rqbit, whose DHT knows peers only: announces and searches.

Each case runs twice: in a DHT of our nodes, and in one of the others', so that both sides ask and both sides answer.
A DHT of rqbit's nodes alone does not come to be (they take nobody into their tables whom no other names), so that there
one of them is among ours.
"""
import hashlib
import json
import os
import time

import libtorrent as lt

import clients

# What a node of the loopback network needs: libtorrent allows one node an IP address otherwise.
SETTINGS = dict(
    enable_dht=True, enable_lsd=False, enable_upnp=False, enable_natpmp=False, dht_restrict_routing_ips=False,
    dht_restrict_search_ips=False, dht_prefer_verified_node_ids=False, dht_enforce_node_id=False,
    dht_ignore_dark_internet=False, alert_mask=lt.alert.category_t.all_categories)


class Libtorrent:
    """A libtorrent DHT node in this process."""

    def __init__(self, bootstrap=""):
        self.address = f"127.0.0.1:{clients.free_port()}"
        self.session = lt.session(
            {**SETTINGS, "listen_interfaces": self.address, "dht_bootstrap_nodes": bootstrap})
        if bootstrap:
            host, port = bootstrap.split(":")
            self.session.add_dht_node((host, int(port)))

    def wait(self, kind, seconds, what, until=lambda alert: True):
        """The next alert of a kind that `until` takes."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self.session.wait_for_alert(100)
            for alert in self.session.pop_alerts():
                if isinstance(alert, kind) and until(alert):
                    return alert
        raise RuntimeError(f"libtorrent: no {what} in {seconds} s")

    def wait_for_nodes(self, count, seconds):
        limit = time.monotonic() + seconds
        while self.session.status().dht_nodes < count:
            if time.monotonic() > limit:
                raise RuntimeError(f"libtorrent knows {self.session.status().dht_nodes} nodes after {seconds} s")
            time.sleep(0.1)


class Asking:
    """Asks with our program, in the DHT around `bootstrap`."""

    case, bootstrap, count = None, None, 0

    def ask(self, *question):
        """The answers to `magnes dht`."""
        options = ["--bootstrap", self.bootstrap, "--listen", "127.0.0.1:0", "--timeout", "20"]
        return self.run(*question, *options)

    def keygen(self, path):
        """The public half of a key that is made there."""
        [made] = self.run("keygen", path)
        return made["key"]

    def run(self, *question):
        self.count += 1
        command = [clients.MAGNES, "dht", *question, "--json"]
        process = clients.Process(self.case.work, f"magnes-dht-{question[0]}-{self.count}", command)
        code = process.wait_exit(self.case.timeout)
        assert code == 0, f"{' '.join(command)} ended with {code}: {process.output()}"
        return [json.loads(line) for line in process.output().splitlines() if line.startswith("{")]


class Network(Asking):
    """A DHT whose nodes are ours or libtorrent's, and a libtorrent node that asks in it."""

    def __init__(self, case, servers):
        self.case, self.servers = case, []
        if servers == "magnes":
            self.bootstrap = case.dht()
        else:
            self.servers.append(Libtorrent())
            self.bootstrap = self.servers[0].address
            self.servers += [Libtorrent(self.bootstrap) for _ in range(4)]
        self.client = Libtorrent(self.bootstrap)
        for node in [*self.servers, self.client]:
            node.wait_for_nodes(3, case.timeout)
        # libtorrent remembers our commands for 15 s in spite of `ro`, and waits for each: one salt a network is enough.
        self.salts = ["salt"] if servers == "magnes" else [""]


def libtorrent_key(seed):
    """The private key as libtorrent wants it, 64 bytes, of the 32 bytes that both begin with (RFC 8032, 5.1.5)."""
    key = bytearray(hashlib.sha512(seed).digest())
    key[0] &= 248
    key[31] = key[31] & 63 | 64
    return bytes(key)


def immutable(network):
    text = f"from libtorrent {os.urandom(4).hex()}"
    target = network.client.session.dht_put_immutable_item(text)
    network.client.wait(lt.dht_put_alert, network.case.timeout, "put", lambda alert: alert.num_success > 0)
    [item] = network.ask("get", str(target))
    assert item["value"] == text, item

    text = f"from magnes {os.urandom(4).hex()}"
    [put] = network.ask("put", text)
    assert put["acknowledged"] > 0 and not put["refused"], put
    network.client.session.dht_get_immutable_item(lt.sha1_hash(bytes.fromhex(put["target"])))
    alert = network.client.wait(lt.dht_immutable_item_alert, network.case.timeout, "item")
    assert text in str(alert.item), alert.item


def mutable(network):
    path = os.path.join(network.case.work, f"{time.monotonic_ns()}.key")
    key = network.keygen(path)
    with open(path) as file:
        private = libtorrent_key(bytes.fromhex(file.read().strip()))
    public, client = bytes.fromhex(key), network.client
    for salt in network.salts:
        salted = ["--salt", salt] if salt else []
        [put] = network.ask("put", "--key", path, *salted, "first, from magnes")
        assert put["seq"] == 1 and not put["refused"], put
        client.session.dht_get_mutable_item(public, salt.encode())
        alert = client.wait(lt.dht_mutable_item_alert, network.case.timeout, "item", lambda alert: alert.seq == 1)
        assert "first, from magnes" in str(alert.item), alert.item

        # The same owner replaces it with libtorrent, which takes the next sequence number too.
        client.session.dht_put_mutable_item(private, public, b"second, from libtorrent", salt.encode())
        alert = client.wait(lt.dht_put_alert, network.case.timeout, "put", lambda alert: alert.num_success > 0)
        assert alert.seq == 2, alert.seq
        [item] = network.ask("get", "--key", key, *salted)
        assert (item["seq"], item["value"]) == (2, "second, from libtorrent"), item
        [put] = network.ask("put", "--key", path, *salted, "third, from magnes")
        assert put["seq"] == 3 and put["acknowledged"] > 0, put
        [item] = network.ask("get", "--key", key, *salted)
        assert (item["seq"], item["value"]) == (3, "third, from magnes"), item


def scrape_and_sample(network):
    info_hash = os.urandom(20).hex()
    network.client.session.dht_announce(lt.sha1_hash(bytes.fromhex(info_hash)), 7000, 1)
    [announced] = network.ask("announce", info_hash, "--port", "7001")
    assert announced["acknowledged"] > 0, announced

    def counted():
        [count] = network.ask("scrape", info_hash)
        return count["seeds"] + count["downloaders"] >= 1 and count
    limit = time.monotonic() + network.case.timeout
    while not counted():
        assert time.monotonic() < limit, "nobody is counted"
    samples = network.ask("sample")
    assert any(info_hash in node["samples"] for node in samples), samples

    host, port = network.bootstrap.split(":")
    endpoints = [(host, int(port))] + [tuple(node["addr"].rsplit(":", 1)) for node in samples if node["samples"]]
    for host, port in endpoints:
        network.client.session.dht_sample_infohashes((host, int(port)), lt.sha1_hash(bytes.fromhex(info_hash)))
        alert = network.client.wait(lt.dht_sample_infohashes_alert, network.case.timeout, "samples")
        if info_hash in [str(sample) for sample in alert.samples]:
            assert alert.num_infohashes == 1, alert.num_infohashes
            return
    raise AssertionError(f"libtorrent was given no sample by {endpoints}")


class Mainline(Asking):
    """A DHT whose nodes are ours or mainline's, and a mainline process for each question."""

    def __init__(self, case, servers):
        self.case = case
        if servers == "magnes":
            self.bootstrap = case.dht()
            return
        self.bootstrap = "-"
        for _ in range(5):
            node = case.run(clients.Process(case.work, "mainline-node", [clients.MAINLINE, "node", self.bootstrap]))
            ready = node.wait_until(lambda: "READY" in node.output() and node.output().split()[-1], 20, "READY line")
            self.bootstrap = ready if self.bootstrap == "-" else self.bootstrap

    def foreign(self, what, *rest):
        """What a mainline process answers."""
        self.count += 1
        command = [clients.MAINLINE, what, self.bootstrap, *rest]
        process = clients.Process(self.case.work, f"mainline-{what}-{self.count}", command)
        code = process.wait_exit(self.case.timeout)
        assert code == 0, f"{' '.join(command)} ended with {code}: {process.output()}"
        return process.output().strip()


def items_with_mainline(network):
    """Values, keys and sequence numbers of one side are the other's."""
    text = f"from mainline {os.urandom(4).hex()}"
    [item] = network.ask("get", network.foreign("put", text))
    assert item["value"] == text, item
    text = f"from magnes {os.urandom(4).hex()}"
    [put] = network.ask("put", text)
    assert put["acknowledged"] > 0 and not put["refused"], put
    assert network.foreign("get", put["target"]) == text

    path = os.path.join(network.case.work, "key")
    key = network.keygen(path)
    with open(path) as file:
        secret = file.read().strip()
    for salt in ("", "salt"):
        salted = ["--salt", salt] if salt else []
        [put] = network.ask("put", "--key", path, *salted, "first, from magnes")
        assert put["seq"] == 1 and not put["refused"], put
        assert network.foreign("get-mutable", key, salt) == "1 first, from magnes"
        network.foreign("put-mutable", secret, salt, "5", "second, from mainline")
        [item] = network.ask("get", "--key", key, *salted)
        assert (item["seq"], item["value"]) == (5, "second, from mainline"), item
        [put] = network.ask("put", "--key", path, *salted, "third, from magnes")
        assert put["seq"] == 6 and put["acknowledged"] > 0, put
        assert network.foreign("get-mutable", key, salt) == "6 third, from magnes"


class Rqbit(Asking):
    """A DHT of our nodes, and rqbit processes in it."""

    def __init__(self, case):
        self.case, self.bootstrap = case, case.dht()

    def foreign(self, what, *rest):
        command = [clients.RQBIT_DHT, what, self.bootstrap, *rest]
        return self.case.run(clients.Process(self.case.work, f"rqbit-{what}", command))

    def answers(self, info_hash):
        """How many peers each node names on the way to an info hash, by address."""
        hops = self.ask("trace", info_hash)
        return {hop["addr"]: hop["peers"] for hop in hops if hop.get("step") == "answered"}

    def await_true(self, check, what):
        limit = time.monotonic() + self.case.timeout
        while not check():
            assert time.monotonic() < limit, f"{what} within {self.case.timeout} s"


def peers_at_magnes(network):
    """rqbit announces to nodes that share 16 bits with the info hash, which is made to fit one of ours."""
    info_hash = network.case.node_ids()[2][:4] + os.urandom(18).hex()
    network.foreign("announce", info_hash, "7000")
    network.await_true(lambda: sum(network.answers(info_hash).values()), "rqbit's announce reaches none of our nodes")
    peers = [peer["addr"] for peer in network.ask("get-peers", info_hash)]
    assert peers == ["127.0.0.1:7000"], peers

    info_hash = os.urandom(20).hex()
    [announced] = network.ask("announce", info_hash, "--port", "7001")
    assert announced["acknowledged"] > 0, announced
    search = network.foreign("get-peers", info_hash)
    assert search.wait_exit(network.case.timeout) == 0, search.output()
    assert search.output().split() == ["127.0.0.1:7001"], search.output()


def peers_at_rqbit(network):
    """rqbit stores what shares 20 bits with its id, and nothing else."""
    node = network.foreign("node")
    _, address, node_id = node.wait_until(
        lambda: "READY" in node.output() and node.output().splitlines()[0].split(), 20, "READY line")
    info_hash = node_id[:5] + os.urandom(18).hex()[1:]

    def stored():
        network.ask("announce", info_hash, "--port", "7002")
        return network.answers(info_hash).get(address)
    network.await_true(stored, "no announce of ours is at rqbit's node")
    peers = [peer["addr"] for peer in network.ask("get-peers", info_hash)]
    assert peers == ["127.0.0.1:7002"], peers


def cases():
    kinds = {"immutable": immutable, "mutable": mutable, "scrape-sample": scrape_and_sample}
    mainline = {
        f"dht-mainline-at-{servers}": lambda case, servers=servers: items_with_mainline(Mainline(case, servers))
        for servers in ("magnes", "mainline")
    }
    rqbit = {
        "dht-rqbit-at-magnes": lambda case: peers_at_magnes(Rqbit(case)),
        "dht-rqbit-at-rqbit": lambda case: peers_at_rqbit(Rqbit(case)),
    }
    return mainline | rqbit | {
        f"dht-{name}-at-{servers}": lambda case, check=check, servers=servers: check(Network(case, servers))
        for name, check in kinds.items() for servers in ("magnes", "libtorrent")
    }
