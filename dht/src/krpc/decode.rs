use magnes_bencode::{Dict, Error, Kind, Reader};

use super::compact;
use super::message::{Body, Message, Method, MutablePut, Query, Response, Values, Want};
use super::{KrpcFault, TOKEN_LEN_MAX, TRANSACTION_ID_LEN_MAX};
use crate::{InfoHash, NodeId, Target};

/// Why a datagram cannot be acted on, and whether its sender is told so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecodeError<'a> {
    /// The rule it breaks.
    pub fault: KrpcFault,
    /// The transaction id, if it is a query: such a one is answered with error 203. Anything else is met with silence.
    pub answer_to: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Reads a datagram. Unknown keys, unsorted keys and trailing bytes do no harm; optional fields of a wrong type or
    /// length read as absent.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError<'a>> {
        let silent = |fault| DecodeError { fault, answer_to: None };
        let mut top = Top::default();
        top.read(datagram).map_err(|_| silent(KrpcFault::NotBencode))?;
        let transaction = top.transaction.ok_or(silent(KrpcFault::NoTransactionId))?;
        if transaction.len() > TRANSACTION_ID_LEN_MAX {
            return Err(silent(KrpcFault::LongTransactionId));
        }
        let body = match top.kind {
            Some(b"q") => {
                Body::Query(top.query().map_err(|fault| DecodeError { fault, answer_to: Some(transaction) })?)
            }
            Some(b"r") => Body::Response(top.response().map_err(silent)?),
            Some(b"e") => {
                let (code, text) = top.error.ok_or(silent(KrpcFault::BadError))?;
                Body::Error { code, text }
            }
            _ => return Err(silent(KrpcFault::NoType)),
        };
        let ip = top.ip.and_then(compact::parse_peer);
        Ok(Message { transaction, version: top.version, ip, body })
    }
}

/// Which of the two dictionaries [`Fields`] were read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// `a`.
    Arguments,
    /// `r`.
    Response,
}

/// The keys of the outer dictionary, in whatever order they came.
#[derive(Default)]
struct Top<'a> {
    fields: Fields<'a>,
    /// Where the fields come from, if there are any.
    source: Option<Source>,
    /// The other dictionary, should a message have both: which one counts is said by `y`, which may come last.
    other: Option<&'a [u8]>,
    error: Option<(i64, &'a [u8])>,
    ip: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    read_only: bool,
    transaction: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
}

impl<'a> Top<'a> {
    fn read(&mut self, datagram: &'a [u8]) -> Result<(), Error> {
        let top = self;
        let mut reader = Reader::new(datagram);
        let mut dict = reader.dict()?;
        while let Some((key, value)) = dict.entry()? {
            match key {
                b"a" => top.read_fields(Source::Arguments, value)?,
                b"r" => top.read_fields(Source::Response, value)?,
                b"e" => top.error = read_error(value)?,
                b"ip" => top.ip = bytes(value)?,
                b"q" => top.method = bytes(value)?,
                b"ro" => top.read_only = int(value)? == Some(1),
                b"t" => top.transaction = bytes(value)?,
                b"v" => top.version = bytes(value)?,
                b"y" => top.kind = bytes(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_fields(&mut self, source: Source, value: &mut Reader<'a>) -> Result<(), Error> {
        if self.source.is_some_and(|first| first != source) {
            self.other = Some(value.raw()?);
            return Ok(());
        }
        if self.fields.read(value)? {
            self.source = Some(source);
        }
        Ok(())
    }

    /// The fields of one of the dictionaries.
    fn fields_of(&mut self, source: Source) -> Result<&Fields<'a>, KrpcFault> {
        if self.source != Some(source) {
            let other = self.other.take().ok_or(KrpcFault::NoBody)?;
            self.fields = Fields::default();
            let is_read = self.fields.read(&mut Reader::new(other)).map_err(|_| KrpcFault::NoBody)?;
            self.source = is_read.then_some(source);
        }
        if self.source == Some(source) { Ok(&self.fields) } else { Err(KrpcFault::NoBody) }
    }

    fn response(&mut self) -> Result<Response<'a>, KrpcFault> {
        self.fields_of(Source::Response)?.response()
    }

    fn query(&mut self) -> Result<Query<'a>, KrpcFault> {
        let name = self.method.ok_or(KrpcFault::NoMethod)?;
        let read_only = self.read_only;
        let fields = self.fields_of(Source::Arguments)?;
        let id = fields.node_id()?;
        Ok(Query { id, read_only, want: fields.want, method: fields.method(name)? })
    }
}

/// Every known key of `a` and `r`. Reading both with one walk keeps this to a single pass over the datagram, whatever
/// order `y` and `q` come in.
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a [u8]>,
    target: Option<&'a [u8]>,
    info_hash: Option<&'a [u8]>,
    want: Want,
    noseed: bool,
    scrape: bool,
    seed: bool,
    implied_port: bool,
    port: Option<i64>,
    token: Option<&'a [u8]>,
    cas: Option<i64>,
    key: Option<&'a [u8]>,
    salt: Option<&'a [u8]>,
    seq: Option<i64>,
    signature: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    nodes: Option<&'a [u8]>,
    nodes6: Option<&'a [u8]>,
    values: Values<'a>,
    seeds_filter: Option<&'a [u8]>,
    peers_filter: Option<&'a [u8]>,
    samples: Option<&'a [u8]>,
    interval: Option<i64>,
    num: Option<i64>,
}

impl<'a> Fields<'a> {
    /// Reads a dictionary, in place because these are many; returns whether it is one.
    fn read(&mut self, reader: &mut Reader<'a>) -> Result<bool, Error> {
        if reader.kind()? != Kind::Dict {
            return Ok(false);
        }
        let mut dict = reader.dict()?;
        self.read_entries(&mut dict)?;
        Ok(true)
    }

    fn read_entries(&mut self, dict: &mut Dict<'_, 'a>) -> Result<(), Error> {
        while let Some((key, value)) = dict.entry()? {
            match key {
                b"id" => self.id = bytes(value)?,
                b"target" => self.target = bytes(value)?,
                b"info_hash" => self.info_hash = bytes(value)?,
                b"want" => self.want = read_want(value)?,
                b"noseed" => self.noseed = int(value)? == Some(1),
                b"scrape" => self.scrape = int(value)? == Some(1),
                b"seed" => self.seed = int(value)? == Some(1),
                b"implied_port" => self.implied_port = int(value)?.is_some_and(|flag| flag != 0),
                b"port" => self.port = int(value)?,
                b"token" => self.token = bytes(value)?,
                // A condition that cannot be read is met by no version: without it the put would be unconditional.
                b"cas" => self.cas = Some(int(value)?.unwrap_or(CAS_OF_NO_VERSION)),
                b"k" => self.key = bytes(value)?,
                b"salt" => self.salt = bytes(value)?,
                b"seq" => self.seq = int(value)?,
                b"sig" => self.signature = bytes(value)?,
                b"v" => self.value = Some(value.raw()?),
                b"nodes" => self.nodes = bytes(value)?,
                b"nodes6" => self.nodes6 = bytes(value)?,
                b"values" => self.values = Values::from_wire(value.raw()?),
                b"BFsd" => self.seeds_filter = bytes(value)?,
                b"BFpe" => self.peers_filter = bytes(value)?,
                b"samples" => self.samples = bytes(value)?,
                b"interval" => self.interval = int(value)?,
                b"num" => self.num = int(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn node_id(&self) -> Result<NodeId, KrpcFault> {
        self.id.and_then(NodeId::from_slice).ok_or(KrpcFault::BadId)
    }

    fn target(&self) -> Result<Target, KrpcFault> {
        self.target.and_then(Target::from_slice).ok_or(KrpcFault::BadTarget)
    }

    fn info_hash(&self) -> Result<InfoHash, KrpcFault> {
        self.info_hash.and_then(InfoHash::from_slice).ok_or(KrpcFault::BadTarget)
    }

    fn token(&self) -> Result<&'a [u8], KrpcFault> {
        self.token.filter(|token| token.len() <= TOKEN_LEN_MAX).ok_or(KrpcFault::BadToken)
    }

    fn method(&self, name: &'a [u8]) -> Result<Method<'a>, KrpcFault> {
        Ok(match name {
            b"ping" => Method::Ping,
            b"find_node" => Method::FindNode { target: self.target()? },
            b"get_peers" => Method::GetPeers { info_hash: self.info_hash()?, noseed: self.noseed, scrape: self.scrape },
            b"announce_peer" => self.announce()?,
            b"get" => Method::Get { target: self.target()?, seq: self.seq },
            b"put" => self.put()?,
            b"sample_infohashes" => Method::SampleInfohashes { target: self.target()? },
            _ => Method::Unknown { name, target: self.target().or(self.info_hash().map(Target::from)).ok() },
        })
    }

    fn announce(&self) -> Result<Method<'a>, KrpcFault> {
        let port = self.port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        if port.is_none() && !self.implied_port {
            return Err(KrpcFault::BadPort);
        }
        Ok(Method::AnnouncePeer {
            info_hash: self.info_hash()?,
            port,
            implied_port: self.implied_port,
            seed: self.seed,
            token: self.token()?,
        })
    }

    fn put(&self) -> Result<Method<'a>, KrpcFault> {
        let value = self.value.ok_or(KrpcFault::BadPut)?;
        let mutable = match (self.key, self.signature, self.seq) {
            (None, None, None) => None,
            (Some(key), Some(signature), Some(seq)) => Some(MutablePut {
                key: key.try_into().map_err(|_| KrpcFault::BadPut)?,
                signature: signature.try_into().map_err(|_| KrpcFault::BadPut)?,
                seq,
                cas: self.cas,
                salt: self.salt.unwrap_or_default(),
            }),
            _ => return Err(KrpcFault::BadPut),
        };
        Ok(Method::Put { token: self.token()?, value, mutable, target: self.target().ok() })
    }

    fn response(&self) -> Result<Response<'a>, KrpcFault> {
        Ok(Response {
            id: self.node_id()?,
            nodes: self.nodes,
            nodes6: self.nodes6,
            values: self.values,
            token: self.token().ok(),
            key: self.key.and_then(|key| key.try_into().ok()),
            signature: self.signature.and_then(|signature| signature.try_into().ok()),
            seq: self.seq,
            value: self.value,
            seeds_filter: self.seeds_filter.and_then(|filter| filter.try_into().ok()),
            peers_filter: self.peers_filter.and_then(|filter| filter.try_into().ok()),
            samples: self.samples,
            interval_s: self.interval,
            num: self.num,
        })
    }
}

/// Sequence numbers are not negative (BEP 44).
const CAS_OF_NO_VERSION: i64 = -1;

/// A string, or none if the value is of another type. What is broken bencode stays an error.
fn bytes<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Error> {
    if reader.kind()? == Kind::Bytes { reader.bytes().map(Some) } else { Ok(None) }
}

/// An integer, or none if the value is of another type or does not fit in 64 bits. What is no integer at all, though it
/// begins like one, is an error once it is skipped.
fn int(reader: &mut Reader<'_>) -> Result<Option<i64>, Error> {
    if reader.kind()? == Kind::Int { Ok(reader.int().ok()) } else { Ok(None) }
}

fn read_want(reader: &mut Reader<'_>) -> Result<Want, Error> {
    let mut want = Want::default();
    if reader.kind()? != Kind::List {
        return Ok(want);
    }
    let mut list = reader.list()?;
    while let Some(item) = list.item()? {
        match bytes(item)? {
            Some(b"n4") => want.v4 = true,
            Some(b"n6") => want.v6 = true,
            _ => {}
        }
    }
    Ok(want)
}

fn read_error<'a>(reader: &mut Reader<'a>) -> Result<Option<(i64, &'a [u8])>, Error> {
    if reader.kind()? != Kind::List {
        return Ok(None);
    }
    let mut code = None;
    let mut text: &[u8] = &[];
    let mut list = reader.list()?;
    while let Some(item) = list.item()? {
        match item.kind()? {
            Kind::Int if code.is_none() => code = int(item)?,
            Kind::Bytes if text.is_empty() => text = item.bytes()?,
            _ => {}
        }
    }
    Ok(code.map(|code| (code, text)))
}
