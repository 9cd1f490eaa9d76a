//! What a cluster is: the machines, and the networks between them.
//!
//! The model only. Text that the kernel or another tool wrote is read in `phalanx-formats`, live
//! machines are read by the worker, and both end here.
//!
//! ```text
//!  what nodes say of their ports --+
//!  Evidence: dumps, LLDP, files ---+--> derive() --> Network (facts) --> findings(), Snapshot
//! ```

mod adrift;
mod attach;
mod capacity;
mod change;
mod decide;
mod derive;
mod diff;
mod distance;
mod evidence;
mod findings;
mod groups;
mod layer2;
mod levels;
mod look;
pub mod machine;
mod network;
mod nodes;
mod nvlink;
mod owners;
mod places;
mod planes;
mod port;
mod rails;
mod sets;
mod snapshot;
mod splits;
mod stated;
mod switches;
mod tier;
mod unseen;

pub use change::Change;
pub use derive::{Error, LIMITS, Limits, derive};
pub use evidence::{Claim, End, Evidence, Member, Source, SwitchId};
pub use findings::{Adapter, Finding, InPlane, Lone, Named, OffRail, Ports, Problem, Severity, Stated, Thin};
pub use look::findings;
pub use network::{
    At, Capacity, Conflict, Cut, Duplicate, Group, Idle, Link, Network, Node, NodePort, OneWay, Place, Plane,
    PlaneKind, PortRef, Prefix, Reason, Row, Said, Subject, Switch, Unjoined, Unseen, Value,
};
pub use nodes::NodePorts;
pub use owners::Stray;
pub use port::{Bdf, Guid, LinkLayer, Mac, Port, WrittenError};
pub use snapshot::{Error as SnapshotError, Hash, MAX_BYTES as MAX_SNAPSHOT_BYTES, Snapshot};
pub use splits::Split;
pub use tier::{Tier, TierInterval};
pub use unseen::Known as KnownNames;
