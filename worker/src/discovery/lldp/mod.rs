//! The switches at the other ends of this node's cables, by LLDP (IEEE 802.1AB): from lldpd where it runs and
//! answers, else heard by ourselves, which takes CAP_NET_RAW.
//!
//! What is heard is evidence and no authentication: anybody on the cable can send it.

mod socket;
mod table;

use std::time::Duration;

use phalanx_common::wire::topology_v1::Neighbour;
use phalanx_formats::lldp::{self, MAX_LLDPCTL_BYTES, lldpctl};

pub use socket::{Arrived, Listener};
pub use table::Table;

use super::tool::{self, Tool};

const LLDPCTL: Tool<'static> = Tool {
    name: "lldpctl",
    args: &["-f", "json0"],
    within: Duration::from_secs(5),
    limit: MAX_LLDPCTL_BYTES,
};

/// lldpd was asked in vain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Tool(#[from] tool::Error),
    #[error("lldpctl wrote what is no list of neighbours: {0}")]
    List(#[from] lldp::LldpctlError),
}

/// What lldpd hears. Blocks.
///
/// # Errors
/// It does not run, or does not talk to this user.
pub fn ask_lldpd() -> Result<Vec<Neighbour>, Error> {
    let heard = lldpctl(&LLDPCTL.output()?)?;
    Ok(heard.iter().filter_map(|heard| neighbour(&heard.interface, &heard.neighbour)).collect())
}

/// `None` for what is no switch: a neighbour that takes leave, or that says that it forwards nothing.
pub(super) fn neighbour(interface: &str, heard: &lldp::Neighbour) -> Option<Neighbour> {
    let switch = heard.is_switch().then(|| heard.switch())?;
    Some(Neighbour {
        interface: interface.to_owned(),
        chassis: heard.chassis.clone(),
        name: switch.name,
        address: switch.address,
        port: heard.switch_port().to_owned(),
    })
}
