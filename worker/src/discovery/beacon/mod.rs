//! Beacons: who shares a layer-2 broadcast domain with this node.
//!
//! Every port sends a small datagram to a link-local multicast group, which no router forwards, and listens for
//! those of others. That two ports hear each other proves one broadcast domain; it says nothing of who is
//! on which switch. It needs no privilege.

mod packet;
mod socket;
mod table;

pub use packet::{Beacon, Keys};
pub use socket::{Arrived, Interface, Sockets, interfaces};
pub use table::{News, Table};
