use std::net::IpAddr;

use bytes::Bytes;
use magnes_bencode::{Error, Kind, Reader, Writer};

use super::{ExtendedHandshake, MetadataMessage, PeerFault};
use crate::model::INFO_LEN_MAX;

/// Length in bytes of metadata pieces; only the last may be shorter (BEP 9).
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

/// Extended message id of the extension handshake (BEP 10).
pub(super) const HANDSHAKE_ID: u8 = 0;
/// The id under which we take ut_metadata; ours to choose (BEP 10).
pub(super) const UT_METADATA_ID_OURS: u8 = 1;

/// Of a client's name no more characters are kept.
const CLIENT_CHARS_MAX: usize = 64;

/// Our extension handshake, without its frame.
pub(super) fn encode_handshake(handshake: &ExtendedHandshake, out: &mut Vec<u8>) {
    Writer::new(out).dict(|dict| {
        dict.key(b"m").dict(|ids| {
            if handshake.ut_metadata {
                ids.key(b"ut_metadata").int(i64::from(UT_METADATA_ID_OURS));
            }
        });
        if let Some(size) = handshake.metadata_size {
            dict.key(b"metadata_size").int(i64::from(size));
        }
        if let Some(port) = handshake.port {
            dict.key(b"p").int(i64::from(port));
        }
        if let Some(reqq) = handshake.reqq {
            dict.key(b"reqq").int(i64::from(reqq));
        }
        // Said either way: a later handshake changes only what it names.
        dict.key(b"upload_only").int(i64::from(handshake.upload_only));
        if let Some(client) = &handshake.client {
            dict.key(b"v").bytes(client.as_bytes());
        }
        match handshake.your_ip {
            Some(IpAddr::V4(ip)) => dict.key(b"yourip").bytes(&ip.octets()),
            Some(IpAddr::V6(ip)) => dict.key(b"yourip").bytes(&ip.octets()),
            None => {}
        }
    });
}

/// The peer's extension handshake and its id for ut_metadata: `None` when the handshake does not name the extension,
/// 0 when it turns it off (BEP 10). Fields of a wrong type or range count as absent.
pub(super) fn parse_handshake(payload: &[u8]) -> Result<(ExtendedHandshake, Option<u8>), PeerFault> {
    let mut handshake = ExtendedHandshake::default();
    let mut ut_metadata = None;
    read_handshake(payload, &mut handshake, &mut ut_metadata).map_err(|_| PeerFault::ExtensionMalformed)?;
    handshake.ut_metadata = ut_metadata.is_some_and(|id| id != 0);
    Ok((handshake, ut_metadata))
}

fn read_handshake(
    payload: &[u8],
    handshake: &mut ExtendedHandshake,
    ut_metadata: &mut Option<u8>,
) -> Result<(), Error> {
    let mut reader = Reader::new(payload);
    let mut dict = reader.dict()?;
    while let Some((key, value)) = dict.entry()? {
        match key {
            b"m" if value.kind()? == Kind::Dict => {
                let mut ids = value.dict()?;
                while let Some((name, id)) = ids.entry()? {
                    if name == b"ut_metadata" {
                        *ut_metadata = int(id);
                    }
                }
            }
            b"metadata_size" => {
                let size = int::<u32>(value).filter(|size| *size > 0);
                handshake.metadata_size = size.filter(|size| u64::from(*size) <= INFO_LEN_MAX as u64);
            }
            b"p" => handshake.port = int(value).filter(|port| *port != 0),
            b"reqq" => handshake.reqq = int(value),
            b"upload_only" => handshake.upload_only = int::<u32>(value).is_some_and(|flag| flag != 0),
            b"v" => {
                let name = value.bytes().map(String::from_utf8_lossy);
                handshake.client = name.ok().map(|name| name.chars().take(CLIENT_CHARS_MAX).collect());
            }
            b"yourip" => handshake.your_ip = value.bytes().ok().and_then(parse_ip),
            _ => {}
        }
    }
    Ok(())
}

/// A ut_metadata message, without its frame.
pub(super) fn encode_metadata(message: &MetadataMessage, out: &mut Vec<u8>) {
    let (kind, piece, total_size, data) = match message {
        MetadataMessage::Request { piece } => (0, piece, None, None),
        MetadataMessage::Data { piece, total_size, data } => (1, piece, Some(*total_size), Some(data)),
        MetadataMessage::Reject { piece } => (2, piece, None, None),
    };
    Writer::new(out).dict(|dict| {
        dict.key(b"msg_type").int(kind);
        dict.key(b"piece").int(i64::from(*piece));
        if let Some(total_size) = total_size {
            dict.key(b"total_size").int(i64::from(total_size));
        }
    });
    out.extend_from_slice(data.map_or(&[], |data| &data[..]));
}

/// A ut_metadata message of the peer; `None` for a kind that BEP 9 does not know, which it says to ignore.
pub(super) fn parse_metadata(payload: &[u8]) -> Result<Option<MetadataMessage>, PeerFault> {
    let mut reader = Reader::new(payload);
    let fields = read_metadata_fields(&mut reader).map_err(|_| PeerFault::ExtensionMalformed)?;
    let piece = fields.piece.ok_or(PeerFault::ExtensionMalformed)?;
    match fields.kind.ok_or(PeerFault::ExtensionMalformed)? {
        0 => Ok(Some(MetadataMessage::Request { piece })),
        1 => {
            let total_size = fields.total_size.ok_or(PeerFault::ExtensionMalformed)?;
            let data = &payload[reader.position()..];
            if u64::from(total_size) > INFO_LEN_MAX as u64 {
                return Err(PeerFault::MetadataTooLong(u64::from(total_size)));
            }
            if data.len() > METADATA_PIECE_LEN as usize {
                return Err(PeerFault::MetadataTooLong(data.len() as u64));
            }
            // A copy, so that 16 KiB that wait for their siblings do not hold a whole receive buffer.
            Ok(Some(MetadataMessage::Data { piece, total_size, data: Bytes::copy_from_slice(data) }))
        }
        2 => Ok(Some(MetadataMessage::Reject { piece })),
        _ => Ok(None),
    }
}

#[derive(Default)]
struct MetadataFields {
    kind: Option<u32>,
    piece: Option<u32>,
    total_size: Option<u32>,
}

fn read_metadata_fields(reader: &mut Reader<'_>) -> Result<MetadataFields, Error> {
    let mut fields = MetadataFields::default();
    let mut dict = reader.dict()?;
    while let Some((key, value)) = dict.entry()? {
        match key {
            b"msg_type" => fields.kind = int(value),
            b"piece" => fields.piece = int(value),
            b"total_size" => fields.total_size = int(value),
            _ => {}
        }
    }
    Ok(fields)
}

fn int<T: TryFrom<i64>>(value: &mut Reader<'_>) -> Option<T> {
    value.int().ok().and_then(|value| T::try_from(value).ok())
}

fn parse_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_reads_back() {
        let handshake = ExtendedHandshake {
            ut_metadata: true,
            metadata_size: Some(31_235),
            reqq: Some(500),
            port: Some(6881),
            client: Some("magnes 0.1".into()),
            your_ip: Some(IpAddr::from([127, 0, 0, 1])),
            upload_only: true,
        };
        let mut out = Vec::new();
        encode_handshake(&handshake, &mut out);
        assert_eq!(parse_handshake(&out), Ok((handshake, Some(UT_METADATA_ID_OURS))));
    }

    #[test]
    fn odd_fields_count_as_absent_and_no_dictionary_is_a_fault() {
        let (handshake, id) =
            parse_handshake(b"d1:md11:ut_metadatai3ee13:metadata_sizei-5e1:pi70000e4:reqq1:xe").unwrap();
        assert_eq!((handshake, id), (ExtendedHandshake { ut_metadata: true, ..Default::default() }, Some(3)));
        let (handshake, _) = parse_handshake(
            b"d12:complete_agoi18446744073709551615e1:md4:othri18446744073709551616e11:ut_metadatai3ee4:reqqi99999999999999999999e1:pi5ee",
        )
        .unwrap();
        let read = ExtendedHandshake { ut_metadata: true, port: Some(5), ..Default::default() };
        assert_eq!(handshake, read, "numbers that do not fit count as absent");
        assert_eq!(parse_handshake(b"le"), Err(PeerFault::ExtensionMalformed));
        assert_eq!(parse_handshake(b"d1:m"), Err(PeerFault::ExtensionMalformed));
    }

    #[test]
    fn metadata_messages_read_back_and_claims_are_capped() {
        let data = MetadataMessage::Data { piece: 1, total_size: 20_000, data: Bytes::from_static(b"abc") };
        for message in [MetadataMessage::Request { piece: 7 }, MetadataMessage::Reject { piece: 0 }, data] {
            let mut out = Vec::new();
            encode_metadata(&message, &mut out);
            assert_eq!(parse_metadata(&out), Ok(Some(message)));
        }
        let huge = b"d8:msg_typei1e5:piecei0e10:total_sizei4000000000ee";
        assert_eq!(parse_metadata(huge), Err(PeerFault::MetadataTooLong(4_000_000_000)));
        assert_eq!(parse_metadata(b"d8:msg_typei9e5:piecei0ee"), Ok(None));
        let odd = b"d8:msg_typei0e5:piecei7e1:zi18446744073709551616ee";
        assert_eq!(parse_metadata(odd), Ok(Some(MetadataMessage::Request { piece: 7 })));
        let needed = b"d8:msg_typei0e5:piecei18446744073709551616ee";
        assert_eq!(parse_metadata(needed), Err(PeerFault::ExtensionMalformed));
        assert_eq!(parse_metadata(b"d5:piecei0ee"), Err(PeerFault::ExtensionMalformed));
    }
}
