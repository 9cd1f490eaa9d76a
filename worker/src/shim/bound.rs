//! Ranks that are bound to CPUs and memory: each binds itself between fork and exec (`fork`), and none counts as held
//! before it was seen to be bound as the plan says.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use phalanx_common::report::Notice;
use phalanx_common::spec::MemoryBinding;
use phalanx_common::topology::machine::CpuSet;
use phalanx_worker_core::shim::{ShimPlan, ShimRank};

use super::fork::{Bound, Memory, Step, Word};
use super::pod::Parts;
use super::refusal::{Refusal, shown, why};
use super::sys;

/// A rank takes microseconds, once it has a core.
const WITHIN: Duration = Duration::from_secs(20);

/// What to bind this rank to; `None`: nothing.
pub(super) fn of(rank: &ShimRank, policy: MemoryBinding) -> Option<Bound<'_>> {
    let memory = (policy != MemoryBinding::None && !rank.nodes.is_empty())
        .then(|| Memory { strict: policy == MemoryBinding::Strict, nodes: rank.nodes.words() });
    let cpus = rank.cpus.words();
    (!cpus.is_empty() || memory.is_some()).then_some(Bound { cpus, memory })
}

/// Waits until each of these ranks that is to be bound has said that it is.
pub(super) fn wait(plan: &ShimPlan, parts: &mut Parts, which: Range<usize>) -> Result<(), Refusal> {
    let ranks = plan.ranks.iter().enumerate();
    let mut missing: Vec<bool> =
        ranks.map(|(index, rank)| which.contains(&index) && of(rank, plan.memory).is_some()).collect();
    let until = Instant::now() + WITHIN;
    while let Some(next) = missing.iter().position(|missing| *missing) {
        let rank = plan.ranks.get(next).map_or(0, |rank| rank.rank.0);
        let Some(words) = &mut parts.errors else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        let failed = |error: io::Error| Refusal::Start { rank, what: "error pipe", error };
        if left.is_zero() || !sys::readable(words.as_fd(), left).map_err(|errno| failed(errno.into()))? {
            return Err(Refusal::NotBound { rank, within: WITHIN });
        }
        let mut bytes = [0; Word::LEN];
        match words.read(&mut bytes) {
            // Records are written whole, so they are read whole.
            Ok(Word::LEN) => {
                let word = Word::from_bytes(bytes);
                let Some(rank) = plan.ranks.get(word.index as usize) else { continue };
                heard(word, plan, rank, &mut parts.told)?;
                missing[word.index as usize] = false;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(_) => return Err(Refusal::NotBound { rank, within: WITHIN }),
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

fn heard(word: Word, plan: &ShimPlan, rank: &ShimRank, told: &mut Vec<Notice>) -> Result<(), Refusal> {
    let number = rank.rank.0;
    let error = || io::Error::from_raw_os_error(word.errno);
    let nodes = || rank.nodes.clone();
    match (word.step, word.errno) {
        (Step::Bound, 0) => Ok(()),
        (Step::Bound, _) => {
            // The same of every rank: the first of them is named, whichever was the fastest to say it.
            let names_earlier = |known: &Notice| matches!(known, Notice::MemoryNotPreferred { rank: named, .. } if *named <= rank.rank);
            if !told.iter().any(names_earlier) {
                told.retain(|known| !matches!(known, Notice::MemoryNotPreferred { .. }));
                told.push(Notice::MemoryNotPreferred { rank: rank.rank, why: why(&error()) });
            }
            Ok(())
        }
        (Step::Cpus, libc::EINVAL) => {
            Err(Refusal::Cpus { rank: number, cpus: rank.cpus.clone(), allowed: CpuSet::new() })
        }
        (Step::Cpus, _) => {
            Err(Refusal::CpusRefused { rank: number, cpus: rank.cpus.clone(), error: error() })
        }
        (Step::Memory, 0 | libc::EINVAL) => {
            let here = allowed_nodes("self").map(|allowed| rank.nodes.intersection(&allowed));
            match here {
                Some(allowed) if allowed != rank.nodes => {
                    Err(Refusal::Nodes { rank: number, nodes: nodes(), allowed })
                }
                _ if word.errno == 0 => Err(Refusal::NodesNotKept { rank: number, nodes: nodes() }),
                _ => Err(Refusal::NodesRefused { rank: number, nodes: nodes(), error: error() }),
            }
        }
        (Step::Memory, _) => Err(Refusal::NodesRefused { rank: number, nodes: nodes(), error: error() }),
        (Step::Chdir | Step::Exec, _) => {
            let path = shown(Path::new(plan.working_dir.as_deref().unwrap_or(".")));
            Err(Refusal::WorkingDir { path, error: error(), hint: None })
        }
    }
}

/// Looks at these ranks as they are held: the kernel takes what is there of a set, and says nothing of the rest.
pub(super) fn verify(plan: &ShimPlan, parts: &Parts, which: Range<usize>) -> Result<(), Refusal> {
    let ranks = plan.ranks.iter().zip(&parts.ranks);
    for (rank, process) in ranks.skip(which.start).take(which.len()) {
        let number = rank.rank.0;
        if !rank.cpus.is_empty() {
            let refused = |error| Refusal::CpusRefused { rank: number, cpus: rank.cpus.clone(), error };
            let allowed = sys::cpus_of(process.pid).map_err(refused)?;
            if allowed != rank.cpus {
                return Err(Refusal::Cpus { rank: number, cpus: rank.cpus.clone(), allowed });
            }
        }
        // What the policy is, the rank has read back itself: nobody else can ask the kernel.
        let nodes = of(rank, plan.memory).and_then(|bound| bound.memory).map(|_| &rank.nodes);
        if let (Some(nodes), Some(allowed)) = (nodes, allowed_nodes(&process.pid.to_string()))
            && !nodes.is_subset(&allowed)
        {
            let allowed = nodes.intersection(&allowed);
            return Err(Refusal::Nodes { rank: number, nodes: nodes.clone(), allowed });
        }
    }
    Ok(())
}

/// The NUMA nodes whose memory a process may use (`proc_pid_status(5)`); `None` where the kernel does not say.
fn allowed_nodes(pid: &str) -> Option<CpuSet> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Mems_allowed_list:"))?.parse().ok()
}
