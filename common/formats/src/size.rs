//! How much of a file is read.

/// A file that is larger than what its reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file has {bytes} bytes, and at most {limit} are read; give the part of it that is needed")]
pub struct TooLarge {
    pub bytes: usize,
    pub limit: usize,
}

/// The bytes, if a reader takes as many.
pub(crate) fn within(bytes: &[u8], limit: usize) -> Result<&[u8], TooLarge> {
    if bytes.len() > limit { Err(TooLarge { bytes: bytes.len(), limit }) } else { Ok(bytes) }
}
