use magnes_bencode::{DictWriter, Reader, Writer};

use super::compact::{CompactPeer, Family};
use super::message::{Body, Message, Method, MutablePut, Query, Response, Values, ValuesSource, Want};
use super::{PAYLOAD_LEN_MAX, VALUE_PAYLOAD_LEN_MAX, VALUES_MAX};
use crate::Target;

impl Message<'_> {
    /// Appends the message to `out`, keys in order. A response that would be larger than a datagram should be (1024
    /// bytes, 1400 with an item's value) loses nodes, farthest first, then peers.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.write(out);
        let len_max = match &self.body {
            Body::Response(response) if response.value.is_some() => VALUE_PAYLOAD_LEN_MAX,
            _ => PAYLOAD_LEN_MAX,
        };
        let excess = (out.len() - start).saturating_sub(len_max);
        if let Body::Response(response) = &self.body
            && excess > 0
        {
            out.truncate(start);
            Message { body: Body::Response(trimmed(response, excess)), ..*self }.write(out);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        Writer::new(out).dict(|dict| {
            match &self.body {
                Body::Query(query) => dict.key(b"a").dict(|dict| write_arguments(dict, query)),
                Body::Error { code, text } => dict.key(b"e").list(|list| {
                    list.int(*code);
                    list.bytes(text);
                }),
                Body::Response(_) => {}
            }
            if let Some(ip) = self.ip {
                dict.key(b"ip").bytes(CompactPeer::new(ip).as_bytes());
            }
            match &self.body {
                Body::Query(query) => {
                    dict.key(b"q").bytes(method_name(&query.method));
                    if query.read_only {
                        dict.key(b"ro").int(1);
                    }
                }
                Body::Response(response) => dict.key(b"r").dict(|dict| write_response(dict, response)),
                Body::Error { .. } => {}
            }
            dict.key(b"t").bytes(self.transaction);
            if let Some(version) = self.version {
                dict.key(b"v").bytes(version);
            }
            dict.key(b"y").bytes(match self.body {
                Body::Query(_) => b"q",
                Body::Response(_) => b"r",
                Body::Error { .. } => b"e",
            });
        });
    }
}

/// The response with at least `excess` bytes less: nodes go first, then peers.
fn trimmed<'a>(response: &Response<'a>, excess: usize) -> Response<'a> {
    let mut trimmed = *response;
    let mut excess = excess;
    for (nodes, family) in [(&mut trimmed.nodes6, Family::V6), (&mut trimmed.nodes, Family::V4)] {
        let len = nodes.map_or(0, <[u8]>::len) / family.node_len() * family.node_len();
        let cut = excess.div_ceil(family.node_len()) * family.node_len();
        let kept = len.saturating_sub(cut);
        *nodes = nodes.map(|bytes| &bytes[..kept]);
        excess = excess.saturating_sub(len - kept);
    }
    if let ValuesSource::Peers(peers) = trimmed.values.source() {
        let mut kept = peers.len().min(VALUES_MAX);
        // What is beyond the maximum was never written and makes nothing shorter.
        while excess > 0 && kept > 0 {
            kept -= 1;
            excess = excess.saturating_sub(value_len(peers[kept].is_ipv4()));
        }
        trimmed.values = Values::of(&peers[..kept]);
    }
    trimmed
}

/// Length of a compact peer as a bencoded string.
fn value_len(is_ipv4: bool) -> usize {
    if is_ipv4 { "6:".len() + 6 } else { "18:".len() + 18 }
}

fn method_name<'a>(method: &Method<'a>) -> &'a [u8] {
    match method {
        Method::Ping => b"ping",
        Method::FindNode { .. } => b"find_node",
        Method::GetPeers { .. } => b"get_peers",
        Method::AnnouncePeer { .. } => b"announce_peer",
        Method::Get { .. } => b"get",
        Method::Put { .. } => b"put",
        Method::SampleInfohashes { .. } => b"sample_infohashes",
        Method::Unknown { name, .. } => name,
    }
}

fn write_arguments(dict: &mut DictWriter<'_>, query: &Query<'_>) {
    if let Method::Put { mutable: Some(MutablePut { cas: Some(cas), .. }), .. } = &query.method {
        dict.key(b"cas").int(*cas);
    }
    dict.key(b"id").bytes(query.id.as_bytes());
    match &query.method {
        Method::Ping => {}
        Method::FindNode { target } | Method::SampleInfohashes { target } => {
            dict.key(b"target").bytes(target.as_bytes());
        }
        Method::GetPeers { info_hash, noseed, scrape } => {
            dict.key(b"info_hash").bytes(info_hash.as_bytes());
            write_flag(dict, b"noseed", *noseed);
            write_flag(dict, b"scrape", *scrape);
        }
        Method::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
            // Optional in BEP 5, but rqbit's nodes take no announce without it.
            dict.key(b"implied_port").int(i64::from(*implied_port));
            dict.key(b"info_hash").bytes(info_hash.as_bytes());
            if let Some(port) = port {
                dict.key(b"port").int((*port).into());
            }
            write_flag(dict, b"seed", *seed);
            dict.key(b"token").bytes(token);
        }
        Method::Get { target, seq } => {
            if let Some(seq) = seq {
                dict.key(b"seq").int(*seq);
            }
            dict.key(b"target").bytes(target.as_bytes());
        }
        Method::Put { token, value, mutable, target } => {
            write_put(dict, token, value, mutable.as_ref(), target.as_ref())
        }
        Method::Unknown { target, .. } => {
            if let Some(target) = target {
                dict.key(b"target").bytes(target.as_bytes());
            }
        }
    }
    write_want(dict, query.want);
}

fn write_put(
    dict: &mut DictWriter<'_>,
    token: &[u8],
    value: &[u8],
    mutable: Option<&MutablePut<'_>>,
    target: Option<&Target>,
) {
    if let Some(MutablePut { key, signature, seq, salt, .. }) = mutable {
        dict.key(b"k").bytes(*key);
        if !salt.is_empty() {
            dict.key(b"salt").bytes(salt);
        }
        dict.key(b"seq").int(*seq);
        dict.key(b"sig").bytes(*signature);
    }
    if let Some(target) = target {
        dict.key(b"target").bytes(target.as_bytes());
    }
    dict.key(b"token").bytes(token);
    dict.key(b"v").raw(value);
}

fn write_flag(dict: &mut DictWriter<'_>, key: &[u8], flag: bool) {
    if flag {
        dict.key(key).int(1);
    }
}

fn write_want(dict: &mut DictWriter<'_>, want: Want) {
    if want == Want::default() {
        return;
    }
    dict.key(b"want").list(|list| {
        if want.v4 {
            list.bytes(b"n4");
        }
        if want.v6 {
            list.bytes(b"n6");
        }
    });
}

fn write_response(dict: &mut DictWriter<'_>, response: &Response<'_>) {
    write_bytes(dict, b"BFpe", response.peers_filter.map(|filter| &filter[..]));
    write_bytes(dict, b"BFsd", response.seeds_filter.map(|filter| &filter[..]));
    dict.key(b"id").bytes(response.id.as_bytes());
    write_int(dict, b"interval", response.interval_s);
    write_bytes(dict, b"k", response.key.map(|key| &key[..]));
    write_bytes(dict, b"nodes", response.nodes);
    write_bytes(dict, b"nodes6", response.nodes6);
    write_int(dict, b"num", response.num);
    write_bytes(dict, b"samples", response.samples);
    write_int(dict, b"seq", response.seq);
    write_bytes(dict, b"sig", response.signature.map(|signature| &signature[..]));
    write_bytes(dict, b"token", response.token);
    if let Some(value) = response.value {
        dict.key(b"v").raw(value);
    }
    match response.values.source() {
        ValuesSource::Absent => {}
        ValuesSource::Wire(raw) if Reader::new(raw).list().is_ok() => dict.key(b"values").raw(raw),
        ValuesSource::Wire(_) | ValuesSource::Peers(_) => write_values(dict, response.values),
    }
}

fn write_values(dict: &mut DictWriter<'_>, values: Values<'_>) {
    dict.key(b"values").list(|list| {
        for peer in values.iter().take(VALUES_MAX) {
            list.bytes(CompactPeer::new(peer).as_bytes());
        }
    });
}

fn write_bytes(dict: &mut DictWriter<'_>, key: &[u8], value: Option<&[u8]>) {
    if let Some(value) = value {
        dict.key(key).bytes(value);
    }
}

fn write_int(dict: &mut DictWriter<'_>, key: &[u8], value: Option<i64>) {
    if let Some(value) = value {
        dict.key(key).int(value);
    }
}
