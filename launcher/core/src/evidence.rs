//! What ended a generation: which of several failures came first, and which only followed from another.
//!
//! Ranks that talk to each other fall one after the other, and not always in the order of their faults: one that raised an
//! exception, or dumps its core, closes its connections at once and ends seconds later; its peers may be gone by then.
//! What they say tells: that a peer went is a consequence, and never the first cause while there is another.

use phalanx_common::event::Cause;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::NodeId;
use phalanx_common::report::RankExit;
use phalanx_common::time::Timestamp;

/// Most pieces of evidence that are kept of a generation beside the first cause.
pub const MAX_ALSO: usize = 16;
/// Bytes at the end of what a rank said that are looked at.
const LOOKED_AT: usize = 4 << 10;

/// What ranks say whose peer is gone: gloo (`pair.cc`), PyTorch's store (`TCPStore`, `socket.cpp`), NCCL (`ncclRemoteError`,
/// the watchdog), HCCL (its code for a peer that did not come) and the C library.
const OF_A_PEER: [&str; 13] = [
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection was likely closed",
    "Broken pipe",
    "Software caused connection abort",
    "Socket Timeout",
    "Timed out waiting ",
    "caught collective operation timeout",
    "remote process exited or there was a network error",
    "ncclRemoteError",
    "DistNetworkError",
    "EI0002",
    "EI0006",
];

/// What is raised in a rank because it is told to end.
const OF_ITS_END: [&str; 4] = ["KeyboardInterrupt", "SystemExit", "SignalException", "is killed by signal"];

/// Signals that nobody sends to end a program: it did something that it must not.
const CRASHES: [u8; 5] = [4, 7, 8, 11, 31];

/// Why a generation stops, and when that arose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub cause: Cause,
    pub at: Timestamp,
    /// It names a port in use.
    pub port_conflict: bool,
    /// Its rank says that a peer went: there may be another cause.
    pub consequence: bool,
}

impl Evidence {
    pub(crate) fn new(cause: Cause, at: Timestamp) -> Evidence {
        Evidence { cause, at, port_conflict: false, consequence: false }
    }

    /// Whether this came first: before another in time, or as the fault of which the other is a consequence. Of ranks that
    /// failed in the same microsecond the lowest is named, so the answer does not depend on which report was faster.
    pub(crate) fn precedes(&self, other: &Evidence) -> bool {
        let rank = |cause: &Cause| match cause {
            Cause::RankFailed { rank, .. }
            | Cause::ProbeFailed { rank, .. }
            | Cause::OutOfMemory { rank, .. } => Some(*rank),
            _ => None,
        };
        if self.consequence != other.consequence && is_fault(&self.cause) && is_fault(&other.cause) {
            return other.consequence;
        }
        // Ranks end at once of what their node tells with its next look.
        match (&self.cause, &other.cause) {
            (Cause::DeviceFailed { .. }, Cause::DeviceFailed { .. }) => {}
            (Cause::DeviceFailed { node, .. }, of_rank) if node_of_rank(of_rank) == Some(node) => {
                return true;
            }
            (of_rank, Cause::DeviceFailed { node, .. }) if node_of_rank(of_rank) == Some(node) => {
                return false;
            }
            _ => {}
        }
        let enough = |cause: &Cause| matches!(cause, Cause::Enough { .. });
        if enough(&self.cause) != enough(&other.cause) && self.at == other.at {
            // Of what is as old, success counts, whichever was heard first.
            return enough(&self.cause);
        }
        match (rank(&self.cause), rank(&other.cause)) {
            (Some(mine), Some(theirs)) => (self.at, mine) < (other.at, theirs),
            _ => self.at < other.at,
        }
    }
}

/// Where a rank failed, if that is what failed.
fn node_of_rank(cause: &Cause) -> Option<&NodeId> {
    match cause {
        Cause::RankFailed { node, .. } | Cause::ProbeFailed { node, .. } => Some(node),
        _ => None,
    }
}

/// Something of the gang failed by itself: nobody's wish, and no deadline.
pub(crate) fn is_fault(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::RankFailed { .. }
            | Cause::ProbeFailed { .. }
            | Cause::OutOfMemory { .. }
            | Cause::DeviceFailed { .. }
            | Cause::LeafLost { .. }
            | Cause::NodeLost { .. }
            | Cause::NodeRestarted { .. }
            | Cause::ShimLost { .. }
            | Cause::PodLost { .. }
    )
}

/// It ended a generation, and was nobody's wish: a fault, or something that kept it from beginning.
pub(crate) fn is_failure(cause: &Cause) -> bool {
    is_fault(cause) || matches!(cause, Cause::StartTimeout { .. } | Cause::NotPrepared { .. })
}

/// Whether a rank failed, and is not only stopped. One that ends after an order to stop it may have failed before: a program that
/// raised an exception, or crashed, takes its time to be gone.
pub(crate) fn failed(exit: &RankExit) -> bool {
    if exit.status.success() {
        return false;
    }
    !exit.after_stop || crashed(exit.status) || exit.oom.is_some() || raised(exit)
}

/// What a rank that failed failed of.
pub(crate) fn cause_of(node: &NodeId, exit: &RankExit) -> Cause {
    let (rank, node, status) = (exit.rank, node.clone(), exit.status);
    match exit.oom {
        Some(figures) => Cause::OutOfMemory { rank, node, status, figures },
        None => Cause::RankFailed { rank, node, status },
    }
}

/// Whether a rank ended because of a peer, as far as it says.
pub(crate) fn is_consequence(exit: &RankExit) -> bool {
    if exit.oom.is_some() {
        return false;
    }
    let said = last_of(&exit.stderr_tail);
    let raised = exit.error_file.as_deref().map(last_of).unwrap_or_default();
    !crashed(exit.status) && OF_A_PEER.iter().any(|words| said.contains(words) || raised.contains(words))
}

fn crashed(status: ExitStatus) -> bool {
    matches!(status, ExitStatus::Signal(signal) if CRASHES.contains(&signal))
}

/// It died of an exception of its own.
fn raised(exit: &RankExit) -> bool {
    let said = last_of(&exit.stderr_tail);
    let Some((_, trace)) = said.rsplit_once("Traceback (most recent call last)") else { return false };
    !is_consequence(exit) && !OF_ITS_END.iter().any(|words| trace.contains(words))
}

fn last_of(said: &[u8]) -> String {
    String::from_utf8_lossy(&said[said.len().saturating_sub(LOOKED_AT)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use phalanx_common::id::Rank;

    use super::*;

    fn exit(status: ExitStatus, after_stop: bool, stderr: &str) -> RankExit {
        RankExit {
            rank: Rank(0),
            attempt: 0,
            status,
            at: Timestamp(5),
            after_stop,
            port_conflict: false,
            stderr_tail: stderr.as_bytes().to_vec(),
            stdout_tail: Vec::new(),
            error_file: None,
            probe: None,
            oom: None,
        }
    }

    fn of_rank(rank: u32, at: u64, consequence: bool) -> Evidence {
        let cause =
            Cause::RankFailed { rank: Rank(rank), node: NodeId::new("n"), status: ExitStatus::Code(1) };
        Evidence { consequence, ..Evidence::new(cause, Timestamp(at)) }
    }

    #[test]
    fn a_fault_is_before_its_consequences_however_late_it_ends() {
        assert!(of_rank(1, 9, false).precedes(&of_rank(0, 5, true)));
        assert!(!of_rank(0, 5, true).precedes(&of_rank(1, 9, false)));
        assert!(of_rank(0, 5, true).precedes(&of_rank(1, 9, true)), "of consequences alone the earliest");
        assert!(of_rank(0, 5, false).precedes(&of_rank(1, 5, false)), "of one moment the lowest");
        let lost = Evidence::new(Cause::NodeLost { node: NodeId::new("n") }, Timestamp(99));
        assert!(lost.precedes(&of_rank(0, 5, true)), "its peers noticed before its coordinator");
        let wish = Cause::Requested { by: "ann".into(), status: ExitStatus::Signal(2) };
        assert!(
            !Evidence::new(wish, Timestamp(9)).precedes(&of_rank(0, 5, true)),
            "a wish explains no failure"
        );
    }

    #[test]
    fn what_ranks_say_of_their_peers_is_known() {
        let peer = [
            "RuntimeError: [gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:9945: Connection reset by peer.",
            "RuntimeError: [gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:15555.",
            "torch.distributed.DistNetworkError: Failed to recv, got 0 bytes. Connection was likely closed.",
            "ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.",
            "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE)",
        ];
        for said in peer {
            let exit = exit(ExitStatus::Code(1), false, said);
            assert!(is_consequence(&exit) && failed(&exit), "{said}");
        }
        assert!(!is_consequence(&exit(ExitStatus::Code(1), false, "ValueError: bad shard")));
        let crash = exit(ExitStatus::Signal(11), false, "Connection reset by peer");
        assert!(!is_consequence(&crash), "nobody crashes because a peer is gone");
    }

    #[test]
    fn of_ranks_that_end_after_the_order_only_those_failed_that_had_before() {
        let trace = |last: &str| format!("Traceback (most recent call last):\n  File \"t.py\"\n{last}\n");
        let stopped = |status, said: &str| failed(&exit(status, true, said));
        assert!(stopped(ExitStatus::Signal(11), ""), "a crash that took its time");
        assert!(stopped(ExitStatus::Signal(15), &trace("ValueError: bad shard")));
        assert!(!stopped(ExitStatus::Signal(15), "step 7"));
        assert!(!stopped(ExitStatus::Code(1), &trace("KeyboardInterrupt")));
        assert!(!stopped(ExitStatus::Code(1), &trace("RuntimeError: Connection closed by peer")));
        assert!(!stopped(ExitStatus::Code(0), &trace("ValueError: caught")), "it ended well");
    }
}
