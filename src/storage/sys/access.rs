/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::storage) enum Access {
    /// Reading. Links are followed, wherever they lead: what is read is served only when its hash is right.
    Read,
    /// Reading what could be written: no link below the target folder is followed.
    ReadOwn,
    /// Writing too. No link is followed; the file and its folders are made where they are missing.
    Write,
}
