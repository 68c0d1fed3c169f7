/// Why a datagram is not a KRPC message that can be acted on: one variant for each broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum KrpcFault {
    /// Not a bencoded dictionary.
    #[error("not a bencoded dictionary")]
    NotBencode,
    /// No transaction id.
    #[error("no transaction id")]
    NoTransactionId,
    /// A transaction id longer than [`super::TRANSACTION_ID_LEN_MAX`].
    #[error("a transaction id of more than 32 bytes")]
    LongTransactionId,
    /// No `y`, or none of `q`, `r`, `e`.
    #[error("neither a query nor a response nor an error")]
    NoType,
    /// A query without a method name.
    #[error("a query without a method")]
    NoMethod,
    /// A query without arguments, or a response without return values.
    #[error("no arguments or return values")]
    NoBody,
    /// A missing id, or one that has not 20 bytes.
    #[error("an id that has not 20 bytes")]
    BadId,
    /// A missing info hash or target, or one that has not 20 bytes.
    #[error("an info hash or target that has not 20 bytes")]
    BadTarget,
    /// A port outside 1 to 65535 without `implied_port`.
    #[error("no port between 1 and 65535")]
    BadPort,
    /// No token, or one longer than [`super::TOKEN_LEN_MAX`].
    #[error("no token")]
    BadToken,
    /// A `put` without a value, or a mutable one without its key, signature or sequence number.
    #[error("a put that lacks a field")]
    BadPut,
    /// An error message whose `e` is not a list of a number and a text.
    #[error("an error without a code")]
    BadError,
}

/// The error codes of BEP 5 and BEP 44.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// 201.
    Generic,
    /// 202.
    Server,
    /// 203: malformed packet, invalid arguments, bad token.
    Protocol,
    /// 204.
    MethodUnknown,
    /// 205: the value of a `put` is larger than 1000 bytes.
    ValueTooBig,
    /// 206.
    BadSignature,
    /// 207: the salt is larger than 64 bytes.
    SaltTooBig,
    /// 301: the stored sequence number is not the one of `cas`.
    CasMismatch,
    /// 302: the sequence number is lower than the stored one.
    SequenceTooLow,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn number(self) -> i64 {
        match self {
            ErrorCode::Generic => 201,
            ErrorCode::Server => 202,
            ErrorCode::Protocol => 203,
            ErrorCode::MethodUnknown => 204,
            ErrorCode::ValueTooBig => 205,
            ErrorCode::BadSignature => 206,
            ErrorCode::SaltTooBig => 207,
            ErrorCode::CasMismatch => 301,
            ErrorCode::SequenceTooLow => 302,
        }
    }
}
