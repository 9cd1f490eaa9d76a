//! Frames: a length (u32, little endian), then one bincode value. The only place that knows bincode.
//!
//! bincode is positional: a message never gains a field, an enum variant is only appended.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::defaults::FRAME_CAP;

/// Bytes before the payload of a frame.
pub const HEADER: usize = 4;

/// Why bytes are not a frame of the expected message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("frame of {len} bytes is over the cap of {cap} bytes")]
    TooLarge { len: usize, cap: usize },
    #[error("{0} bytes follow the message in its frame")]
    TrailingBytes(usize),
    #[error("frame does not decode")]
    Decode(#[source] bincode::error::DecodeError),
    #[error("message does not encode")]
    Encode(#[source] bincode::error::EncodeError),
}

fn config() -> impl bincode::config::Config {
    // The limit bounds what a hostile length inside the payload can make the decoder allocate.
    bincode::config::standard().with_limit::<FRAME_CAP>()
}

/// Appends `message` to `out` as one frame.
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let written = bincode::serde::encode_into_std_write(message, out, config()).map_err(Error::Encode)?;
    let cap = FRAME_CAP - HEADER;
    let len = match u32::try_from(written) {
        Ok(len) if written <= cap => len,
        _ => {
            out.truncate(start);
            return Err(Error::TooLarge { len: written, cap });
        }
    };
    out[start..start + HEADER].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// The payload length a frame header announces.
pub fn payload_len(header: [u8; HEADER]) -> Result<usize, Error> {
    let len = u32::from_le_bytes(header) as usize;
    let cap = FRAME_CAP - HEADER;
    if len > cap { Err(Error::TooLarge { len, cap }) } else { Ok(len) }
}

/// Decodes the payload of one frame.
pub fn decode_payload<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    let (message, read) = bincode::serde::decode_from_slice(payload, config()).map_err(Error::Decode)?;
    if read == payload.len() { Ok(message) } else { Err(Error::TrailingBytes(payload.len() - read)) }
}

/// Takes the first whole frame off `buffer`; `None` if more bytes are needed.
pub fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, Error> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let end = HEADER + payload_len(*header)?;
    if buffer.len() < end {
        return Ok(None);
    }
    let message = decode_payload(&buffer[HEADER..end])?;
    buffer.drain(..end);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_from_any_split() {
        let mut bytes = Vec::new();
        encode(&("hello".to_string(), 7u32), &mut bytes).unwrap();
        for split in 0..bytes.len() {
            let mut buffer = bytes[..split].to_vec();
            assert!(take::<(String, u32)>(&mut buffer).unwrap().is_none(), "split at {split}");
            buffer.extend_from_slice(&bytes[split..]);
            assert_eq!(take(&mut buffer).unwrap(), Some(("hello".to_string(), 7u32)));
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn trailing_bytes_and_oversized_frames_are_refused() {
        let mut bytes = Vec::new();
        encode(&1u8, &mut bytes).unwrap();
        bytes.push(9);
        bytes[0] += 1;
        assert!(matches!(take::<u8>(&mut bytes), Err(Error::TrailingBytes(1))));
        let mut huge = u32::MAX.to_le_bytes().to_vec();
        assert!(matches!(take::<u8>(&mut huge), Err(Error::TooLarge { .. })));
        let mut out = vec![1, 2, 3];
        assert!(matches!(encode(&vec![0u8; FRAME_CAP], &mut out), Err(Error::TooLarge { .. })));
        assert_eq!(out, [1, 2, 3], "a refused message leaves nothing behind");
    }

    #[test]
    fn a_hostile_inner_length_allocates_nothing() {
        // A Vec<u64> announcing 2^60 elements.
        let mut payload = vec![253];
        payload.extend_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(matches!(decode_payload::<Vec<u64>>(&payload), Err(Error::Decode(_))));
    }
}
