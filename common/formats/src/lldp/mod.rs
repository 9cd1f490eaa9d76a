//! LLDP (IEEE 802.1AB): frames as a network card receives them, captures of frames, and the neighbours that
//! `lldpctl` lists.
//!
//! What comes here was sent by anybody on the cable. It is evidence and never authentication; every length
//! is checked before it is believed.

mod frame;
mod lldpctl;
mod pcap;

pub use frame::{ETHERTYPE, Error as FrameError, Neighbour, frame};
pub use lldpctl::{Error as LldpctlError, Heard, MAX_BYTES as MAX_LLDPCTL_BYTES, lldpctl};
pub use pcap::{Error as PcapError, MAX_BYTES as MAX_PCAP_BYTES, pcap};
