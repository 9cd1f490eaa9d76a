//! What ended a generation: which of several failures came first, and which only followed from another.
//!
//! Ranks that talk to each other fall one after the other, and not always in the order of their faults: one that raised an
//! exception, or dumps its core, closes its connections at once and ends seconds later; its peers may be gone by then.
//! What they say tells: that a peer went is a consequence, and never the first cause while there is another.

use phalanx_common::event::{Cause, NodeNote};
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::{Generation, NodeId};
use phalanx_common::report::RankExit;
use phalanx_common::time::Timestamp;

use crate::durable::GenerationState;

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

/// How Python begins to tell of an exception.
const TRACEBACK: &str = "Traceback (most recent call last)";
/// Lines of an exception that are looked at: NCCL's has four.
const EXCEPTION_LINES: usize = 8;

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
}

/// What is known of a failure of the gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    pub generation: Generation,
    /// The first cause first, and the others in the order in which they arose.
    pub evidence: Vec<Evidence>,
    /// What happened to its nodes around that.
    pub around: Vec<NodeNote>,
}

impl Failed {
    /// `None`: nothing of this generation failed.
    pub fn of(generation: &GenerationState) -> Option<Failed> {
        let first = generation.stopping.iter().filter(|first| is_failure(&first.cause));
        let mut also: Vec<&Evidence> = generation.also.iter().collect();
        also.sort_by_key(|evidence| evidence.at);
        let evidence: Vec<Evidence> = first.chain(also).cloned().collect();
        (!evidence.is_empty()).then(|| Failed {
            generation: generation.number,
            evidence,
            around: generation.around.clone(),
        })
    }
}

/// Which of these is the first cause, whatever the order in which they were heard; of none, none.
///
/// The earliest; of ranks that failed in the same microsecond the lowest, and of what is as old success before a failure. If its
/// rank says that a peer went, the earliest fault that says nothing of the kind. If that is a rank of a node that
/// tells of a device that failed, the device: ranks end at once of what their node tells with its next look.
pub(crate) fn first_of<'a>(all: impl IntoIterator<Item = &'a Evidence>) -> Option<&'a Evidence> {
    let all: Vec<&Evidence> = all.into_iter().collect();
    let key = |it: &Evidence| (it.at, !matches!(it.cause, Cause::Enough { .. }), it.cause.rank());
    let earliest = *all.iter().min_by_key(|it| key(it))?;
    let fault = |it: &&&Evidence| is_fault(&it.cause) && !it.consequence;
    let first = match all.iter().filter(fault).min_by_key(|it| key(it)) {
        Some(fault) if earliest.consequence => *fault,
        _ => earliest,
    };
    let of_its_node = |it: &&&Evidence| matches!(&it.cause, Cause::DeviceFailed { node, .. } if node_of_rank(&first.cause) == Some(node));
    Some(all.iter().filter(of_its_node).min_by_key(|it| it.at).copied().unwrap_or(first))
}

/// Where a rank failed, if that is what failed.
fn node_of_rank(cause: &Cause) -> Option<&NodeId> {
    match cause {
        Cause::RankFailed { node, .. }
        | Cause::ProbeFailed { node, .. }
        | Cause::OutOfMemory { node, .. } => Some(node),
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
fn is_failure(cause: &Cause) -> bool {
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
    // What came before its last exception it may have lived through.
    let said = last_exception(&said).unwrap_or(said);
    let raised = exit.error_file.as_deref().map(last_of).unwrap_or_default();
    !crashed(exit.status) && OF_A_PEER.iter().any(|words| said.contains(words) || raised.contains(words))
}

/// What a program says of the exception that it died of, without where that was raised. PyTorch writes whose it is before each line.
fn last_exception(said: &str) -> Option<String> {
    let (_, trace) = said.rsplit_once(TRACEBACK)?;
    let line = |line: &str| match line.strip_prefix("[rank").and_then(|rest| rest.split_once("]: ")) {
        Some((_, line)) => line.to_owned(),
        None => line.to_owned(),
    };
    let lines = trace.lines().skip(1).map(line).skip_while(|line| line.starts_with(' '));
    let message: Vec<String> = lines.take(EXCEPTION_LINES).collect();
    (!message.is_empty()).then(|| message.join("\n"))
}

fn crashed(status: ExitStatus) -> bool {
    matches!(status, ExitStatus::Signal(signal) if CRASHES.contains(&signal))
}

/// It died of an exception of its own.
fn raised(exit: &RankExit) -> bool {
    let said = last_of(&exit.stderr_tail);
    let Some((_, trace)) = said.rsplit_once(TRACEBACK) else { return false };
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
        let exit = RankExit::new(Rank(0), status, Timestamp(5));
        RankExit { after_stop, stderr_tail: stderr.as_bytes().to_vec(), ..exit }
    }

    fn of_rank(rank: u32, at: u64, consequence: bool) -> Evidence {
        let cause =
            Cause::RankFailed { rank: Rank(rank), node: NodeId::new("n"), status: ExitStatus::Code(1) };
        Evidence { consequence, ..Evidence::new(cause, Timestamp(at)) }
    }

    /// The first of these in whichever order they are heard.
    fn first(all: &[Evidence]) -> Cause {
        let ways = [vec![0, 1, 2], vec![0, 2, 1], vec![1, 0, 2], vec![1, 2, 0], vec![2, 0, 1], vec![2, 1, 0]];
        let mut found: Vec<Cause> = ways
            .iter()
            .map(|way| {
                let heard = way.iter().filter_map(|at| all.get(*at));
                first_of(heard).expect("there is evidence").cause.clone()
            })
            .collect();
        found.dedup();
        assert_eq!(found.len(), 1, "the order decides: {found:?}");
        found.remove(0)
    }

    #[test]
    fn a_fault_is_before_its_consequences_however_late_it_ends() {
        let rank = |evidence: &[Evidence]| first(evidence).rank().map(|rank| rank.0);
        assert_eq!(rank(&[of_rank(1, 9, false), of_rank(0, 5, true)]), Some(1));
        assert_eq!(
            rank(&[of_rank(0, 5, true), of_rank(1, 9, true)]),
            Some(0),
            "of consequences the earliest"
        );
        assert_eq!(rank(&[of_rank(0, 5, false), of_rank(1, 5, false)]), Some(0), "of one moment the lowest");
        let lost = Evidence::new(Cause::NodeLost { node: NodeId::new("n") }, Timestamp(99));
        assert_eq!(first(&[lost.clone(), of_rank(0, 5, true)]), lost.cause, "its peers noticed before");
        let wish = Cause::Requested { by: "ann".into(), status: ExitStatus::Signal(2) };
        let wish = Evidence::new(wish, Timestamp(7));
        assert_eq!(rank(&[wish.clone(), of_rank(0, 5, true)]), Some(0), "a wish explains no failure");
        assert_eq!(rank(&[wish, of_rank(0, 5, true), of_rank(1, 9, false)]), Some(1));
    }

    #[test]
    fn a_device_is_before_the_ranks_of_its_node_and_of_no_other() {
        let on = |node: &str, rank: u32, at| {
            let node = NodeId::new(node);
            let cause = Cause::RankFailed { rank: Rank(rank), node, status: ExitStatus::Code(1) };
            Evidence::new(cause, Timestamp(at))
        };
        let device = |node: &str, at| {
            let (node, device, what) = (NodeId::new(node), "GPU-1".to_owned(), "lost".to_owned());
            Evidence::new(Cause::DeviceFailed { node, device, what }, Timestamp(at))
        };
        let all = [on("n1", 0, 1), on("n2", 1, 2), device("n1", 5)];
        assert_eq!(first(&all), device("n1", 5).cause);
        assert_eq!(first(&[on("n1", 0, 1), on("n2", 1, 2), device("n2", 5)]).rank(), Some(Rank(0)));
        let figures = phalanx_common::report::OutOfMemory { limit: None, peak: None };
        let oom = Cause::OutOfMemory {
            rank: Rank(0),
            node: NodeId::new("n1"),
            status: ExitStatus::Signal(9),
            figures,
        };
        assert_eq!(first(&[Evidence::new(oom, Timestamp(1)), device("n1", 5)]), device("n1", 5).cause);
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
        let lived_through = "WARN s3: Connection reset by peer, retrying\n\
            [rank1]: Traceback (most recent call last):\n[rank1]:   File \"t.py\", line 3\n[rank1]: ValueError: bad shard";
        assert!(!is_consequence(&exit(ExitStatus::Code(1), false, lived_through)));
        let of_nccl = "Traceback (most recent call last):\n  File \"t.py\", line 3, in <module>\n\
            torch.distributed.DistBackendError: NCCL error in: x.cpp:1, remote process exited or there was a network error\n\
            Last error:\nsocketProgress: Connection closed by remote peer";
        assert!(is_consequence(&exit(ExitStatus::Code(1), false, of_nccl)));
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
