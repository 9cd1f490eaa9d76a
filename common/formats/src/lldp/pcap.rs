//! The classic capture file of libpcap (pcap-savefile(5)), in both byte orders and both time units.

use crate::size::{TooLarge, within};

/// Captures of neighbours are small.
pub const MAX_BYTES: usize = 64 << 20;
const ETHERNET: u32 = 1;

/// Why a capture was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("this is no capture file of libpcap; pcapng is turned into one by `editcap -F pcap`")]
    NotPcap,
    #[error(
        "the capture's link type is {0}, and only Ethernet (1) is read; capture on the interface, not on `any`"
    )]
    NotEthernet(u32),
    #[error("the packet at byte {offset} has {length} bytes, and the file ends before; it was cut")]
    Short { offset: usize, length: usize },
}

/// The packets of a capture.
///
/// # Errors
/// More than [`MAX_BYTES`], another format, another link layer than Ethernet, and a file that was cut.
pub fn pcap(bytes: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    let big = match bytes.first_chunk() {
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => true,
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => false,
        _ => return Err(Error::NotPcap),
    };
    let number = |offset: usize| -> Option<u32> {
        let four = *bytes.get(offset..)?.first_chunk()?;
        Some(if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    };
    // The upper half tells of checksums.
    let link = number(20).ok_or(Error::NotPcap)? & 0xffff;
    if link != ETHERNET {
        return Err(Error::NotEthernet(link));
    }
    let mut packets = Vec::new();
    let mut offset = 24;
    while offset < bytes.len() {
        let captured = number(offset + 8).ok_or(Error::Short { offset, length: 16 })?;
        let length = usize::try_from(captured).unwrap_or(usize::MAX);
        let from = offset + 16;
        let packet = from.checked_add(length).and_then(|end| bytes.get(from..end));
        packets.push(packet.ok_or(Error::Short { offset, length })?);
        offset = from + length;
    }
    Ok(packets)
}
