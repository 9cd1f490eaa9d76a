//! One thing that changed in a cluster, in words.

use std::fmt;

use super::network::Capacity;
use super::tier::Tier;

/// One change. Names are those of the newer snapshot where both have one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    NodeCame {
        node: String,
    },
    NodeWent {
        node: String,
    },
    /// The closest tier of a plane in which the node is elsewhere; `None` is unknown.
    NodeMoved {
        node: String,
        plane: String,
        tier: Tier,
        from: Option<String>,
        to: Option<String>,
    },
    PortCame {
        node: String,
        port: String,
        /// The switch that it is attached to.
        at: Option<String>,
    },
    PortWent {
        node: String,
        port: String,
    },
    /// A port is attached to another switch, or to none that is known.
    PortMoved {
        node: String,
        port: String,
        from: Option<String>,
        to: Option<String>,
    },
    PortDown {
        node: String,
        port: String,
    },
    PortUp {
        node: String,
        port: String,
    },
    /// Megabits per second.
    PortSpeed {
        node: String,
        port: String,
        from: Option<u32>,
        to: Option<u32>,
    },
    /// The rail that a port should be on.
    PortRail {
        node: String,
        port: String,
        from: Option<u16>,
        to: Option<u16>,
    },
    /// The rail that a leaf serves.
    LeafRail {
        switch: String,
        from: Option<u16>,
        to: Option<u16>,
    },
    /// How many rails a plane has.
    Rails {
        plane: String,
        from: u16,
        to: u16,
    },
    NvlinkMoved {
        node: String,
        from: Option<String>,
        to: Option<String>,
    },
    BoardChanged {
        node: String,
    },
    SwitchCame {
        switch: String,
    },
    SwitchWent {
        switch: String,
    },
    /// The number of working cables between two switches; `None`: a tree was written down, and nobody counted.
    Cables {
        lower: String,
        upper: String,
        from: Option<u32>,
        to: Option<u32>,
    },
    /// The rate of one of them, in megabits per second.
    CableRate {
        lower: String,
        upper: String,
        from: Option<u32>,
        to: Option<u32>,
    },
    Uplinks {
        switch: String,
        from: Option<Capacity>,
        to: Option<Capacity>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn or_unknown(name: &Option<String>) -> &str {
            name.as_deref().unwrap_or("nothing known")
        }
        fn counted(capacity: &Option<Capacity>) -> String {
            capacity.map_or("not counted".to_string(), |capacity| capacity.to_string())
        }
        fn number<N: fmt::Display>(number: &Option<N>) -> String {
            number.as_ref().map_or("unknown".to_string(), N::to_string)
        }
        fn giga(mbps: &Option<u32>) -> String {
            mbps.map_or("unknown".to_string(), |mbps| format!("{}G", f64::from(mbps) / 1000.0))
        }
        match self {
            Change::NodeCame { node } => write!(f, "node {node} came"),
            Change::NodeWent { node } => write!(f, "node {node} went"),
            Change::NodeMoved { node, plane, tier, from, to } => {
                write!(
                    f,
                    "node {node} moved in {plane} from {tier} {} to {}",
                    or_unknown(from),
                    or_unknown(to)
                )
            }
            Change::PortMoved { node, port, from, to } => {
                write!(f, "port {port} of {node} moved from {} to {}", or_unknown(from), or_unknown(to))
            }
            Change::PortCame { node, port, at: Some(at) } => write!(f, "port {port} of {node} came, on {at}"),
            Change::PortCame { node, port, at: None } => write!(f, "port {port} of {node} came"),
            Change::PortWent { node, port } => write!(f, "port {port} of {node} went"),
            Change::PortDown { node, port } => write!(f, "port {port} of {node} is down"),
            Change::PortUp { node, port } => write!(f, "port {port} of {node} is up"),
            Change::PortSpeed { node, port, from, to } => {
                write!(f, "speed of port {port} of {node}: {}, before {}", giga(to), giga(from))
            }
            Change::PortRail { node, port, from, to } => {
                write!(f, "rail of port {port} of {node}: {}, before {}", number(to), number(from))
            }
            Change::LeafRail { switch, from, to } => {
                write!(f, "rail of leaf {switch}: {}, before {}", number(to), number(from))
            }
            Change::Rails { plane, from, to } => write!(f, "rails of {plane}: {to}, before {from}"),
            Change::NvlinkMoved { node, from, to } => {
                write!(f, "node {node} moved from NVLink domain {} to {}", or_unknown(from), or_unknown(to))
            }
            Change::BoardChanged { node } => write!(f, "what is on the board of {node} changed"),
            Change::SwitchCame { switch } => write!(f, "switch {switch} came"),
            Change::SwitchWent { switch } => write!(f, "switch {switch} went"),
            Change::Cables { lower, upper, from: Some(from), to: Some(to) } => {
                write!(f, "{to} cables between {lower} and {upper}, where there were {from}")
            }
            Change::Cables { lower, upper, from, to } => {
                let counted =
                    |links: &Option<u32>| links.map_or("not counted".to_string(), |links| links.to_string());
                write!(f, "cables between {lower} and {upper}: {}, before {}", counted(to), counted(from))
            }
            Change::CableRate { lower, upper, from, to } => {
                write!(f, "rate of cables between {lower} and {upper}: {}, before {}", giga(to), giga(from))
            }
            Change::Uplinks { switch, from, to } => {
                write!(f, "uplinks of {switch}: {}, before {}", counted(to), counted(from))
            }
        }
    }
}
