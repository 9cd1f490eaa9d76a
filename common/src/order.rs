//! What a coordinator tells a worker. Each order carries the epoch of the coordinator that gave it
//! and the generation it is about; a worker refuses lower ones (invariant I3).

use std::net::SocketAddr;
use std::time::Duration;

use crate::id::{Epoch, Generation, JobId, NodeId, Rank};
use crate::plan::PodPlan;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub epoch: Epoch,
    pub kind: OrderKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// Check, create and hold the pod; answer Prepared or NotPrepared. Repeating it is harmless.
    Prepare(Box<PodPlan>),
    /// Release the held ranks of this generation.
    Go { job: JobId, generation: Generation },
    /// Stop signal, grace, SIGKILL of the whole tree; answered by PodEnded. A later, shorter grace
    /// shortens an earlier one, never the reverse. `pre_stop`: ranks do their preStop hook first, within the grace.
    Stop { job: JobId, generation: Generation, grace: Duration, pre_stop: bool },
    /// The job is over on this node: end the shim, remove what is not to be kept. Sent only after
    /// PodEnded of the last generation.
    Forget { job: JobId, failed: bool },
    /// The coordinator lives: leases of the node's pods start anew.
    Renew,
    /// Freeze the pod's processes; no deadline of the pod runs meanwhile.
    Suspend { job: JobId },
    /// Let them go on.
    Resume { job: JobId },
    /// Ask the pod of the same generation on another node whether it lives, at its probe address on the
    /// data plane; answered by Probed.
    Probe { job: JobId, generation: Generation, target: NodeId, address: SocketAddr },
    /// Start these ranks of a generation that runs again, each as this attempt: those that live are ended first, with this
    /// grace, and none begins before `delay` is over. Answered by Restarted for each; repeating it is harmless.
    Restart { job: JobId, generation: Generation, ranks: Vec<(Rank, u32)>, delay: Duration, grace: Duration },
}
