/// A rule that the peer broke, one variant a rule. The connection is over; a torrent never stops for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// The first bytes are not those of the protocol (BEP 3).
    #[error("the peer does not speak the BitTorrent protocol")]
    NotBitTorrent,
    /// The handshake answers for another torrent (BEP 3).
    #[error("the peer's handshake names another info hash")]
    WrongInfoHash,
    /// No whole handshake in time.
    #[error("the peer did not finish the handshake in time")]
    HandshakeTimeout,
    /// Not one byte for the idle time, not even a keep-alive (BEP 3).
    #[error("the peer fell silent")]
    IdleTimeout,
    /// It has read nothing of what waits for it for the write time.
    #[error("the peer does not read what it is sent")]
    WriteTimeout,
    /// More bytes behind a handshake than may wait for its acceptance.
    #[error("the peer sent {0} bytes before its handshake was answered")]
    TooEager(usize),
    /// A frame over the limit of its kind of message.
    #[error("a frame of {len} bytes is over the limit of {max} for message {id}")]
    FrameTooLong {
        /// Message id.
        id: u8,
        /// Length in bytes as the frame claims it.
        len: u32,
        /// The limit in bytes.
        max: u32,
    },
    /// A message of a length that its kind cannot have.
    #[error("message {id} cannot have a frame of {len} bytes")]
    WrongLength {
        /// Message id.
        id: u8,
        /// Length in bytes of the frame.
        len: u32,
    },
    /// A message of the Fast extension that was not agreed on (BEP 6).
    #[error("message {0} needs the Fast extension, which was not agreed on")]
    FastNotNegotiated(u8),
    /// An extended message although the extension protocol was not agreed on (BEP 10).
    #[error("an extended message came without the extension protocol")]
    ExtensionNotNegotiated,
    /// A request for no bytes or for more than 128 KiB.
    #[error("a request for {0} bytes")]
    RequestLength(u32),
    /// An extension handshake or ut_metadata header that is not a bencoded dictionary with its required keys.
    #[error("a malformed extended message")]
    ExtensionMalformed,
    /// A metadata piece over 16 KiB, or a claim of more metadata than is accepted (BEP 9).
    #[error("a metadata message claims {0} bytes")]
    MetadataTooLong(u64),
}
