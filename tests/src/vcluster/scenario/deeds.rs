//! What ranks, init containers and pods of a scenario do.

use std::ops::RangeInclusive;

use phalanx_common::exit::{ExitStatus, signal_name};
use phalanx_common::id::NodeId;
use phalanx_common::report::{OutOfMemory, PrepareFailureKind};
use phalanx_common::spec::JobSpec;

use super::read::{RUNS, Wrong, job_id, number, time, words};
use crate::vcluster::script::{HookScript, InitScript, PodScript, RankScript, Scripts};

/// SIGKILL.
const KILL: ExitStatus = ExitStatus::Signal(9);

const KNOWN_OF_RANKS: &str = "\
    runs on | ends well after 5 s | exits with 7 after 5 s | dies of SIGSEGV after 5 s | is out of memory after 5 s | \
    meets a port in use after 5 s | hangs after 5 s | ignores its stop signal | takes 5 s to stop | is ready after 5 s | \
    is never ready | is not ready from 5 s to 8 s | is sick after 5 s | ends with 0 when it is ended | preStop takes 5 s | \
    preStop hangs | postStart takes 5 s | postStart hangs | postStart fails | leaves a child behind | \
    cannot be started again";
const KNOWN_OF_INIT: &str = "takes 5 s | fails | fails after 5 s | hangs | ignores its stop signal";
const KNOWN_OF_PODS: &str = "takes 5 s to prepare | finds no command | may not execute the command | \
    cannot be prepared | hangs in exec";

/// A line of the part `ranks`.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    who: Who,
    node: Option<NodeId>,
    generations: RangeInclusive<u32>,
    attempt: u32,
    deeds: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    Rank(u32),
    Init(String),
    Pod,
}

impl Cast {
    /// `every rank`, `rank 1`, `init NAME` or `pod`, with `on b`, `generation 2`, `generations 1 to 3` and `attempt 1`; then
    /// a colon and what they do.
    pub(super) fn read(line: &str) -> Result<Cast, Wrong> {
        let (who, deeds) = line.split_once(": ").ok_or("say `rank 1: runs on`, who does what")?;
        let words: Vec<&str> = who.split_whitespace().collect();
        let (who, mut rest) = match words.as_slice() {
            ["every", "rank", rest @ ..] => (Who::Everybody, rest),
            ["rank", rank, rest @ ..] => (Who::Rank(number(rank)?), rest),
            ["init", name, rest @ ..] => (Who::Init((*name).to_owned()), rest),
            ["pod", rest @ ..] => (Who::Pod, rest),
            _ => return Err(format!("{who:?} is neither `every rank`, `rank 1`, `init NAME` nor `pod`")),
        };
        let deeds = deeds.split(", ").map(str::to_owned).collect();
        let mut cast = Cast { who, node: None, generations: 1..=1, attempt: 0, deeds };
        loop {
            rest = match rest {
                [] => return Ok(cast),
                ["on", node, rest @ ..] => {
                    cast.node = Some(NodeId::new(*node));
                    rest
                }
                ["generation", only, rest @ ..] => {
                    cast.generations = number(only)?..=number(only)?;
                    rest
                }
                ["generations", first, "to", last, rest @ ..] => {
                    cast.generations = number(first)?..=number(last)?;
                    rest
                }
                ["attempt", attempt, rest @ ..] => {
                    cast.attempt = number(attempt)?;
                    rest
                }
                _ => return Err(format!("{:?} says nothing of who that is", rest.join(" "))),
            };
        }
    }

    pub(super) fn is_everybody(&self) -> bool {
        self.who == Who::Everybody
    }
}

/// Has them do it.
pub(super) fn assign(
    cast: &Cast,
    nodes: &[NodeId],
    job: &JobSpec,
    scripts: &mut Scripts,
) -> Result<(), Wrong> {
    let id = job_id();
    let first = phalanx_common::id::Generation(*cast.generations.start());
    match &cast.who {
        Who::Everybody => {
            let mut script = RankScript::succeeds_after(RUNS);
            cast.deeds.iter().try_for_each(|deed| rank(&mut script, deed, job))?;
            scripts.set_job(&id, script);
        }
        Who::Rank(_) if cast.node.is_some() => {
            return Err("a rank is where the job puts it; leave out the node".to_owned());
        }
        Who::Rank(number) if *number >= job.world_size() => {
            return Err(format!("the job has no rank {number}"));
        }
        Who::Rank(number) => {
            let mut script = scripts.of_job(&id).unwrap_or_else(|| RankScript::succeeds_after(RUNS));
            cast.deeds.iter().try_for_each(|deed| rank(&mut script, deed, job))?;
            for generation in cast.generations.clone() {
                match cast.attempt {
                    0 => scripts.set_rank(&id, generation, *number, script.clone()),
                    attempt => scripts.set_attempt(&id, (generation, *number, attempt), script.clone()),
                }
            }
        }
        Who::Init(_) | Who::Pod => {
            for node in nodes.iter().filter(|node| cast.node.as_ref().is_none_or(|only| only == *node)) {
                let mut script = scripts.pod(&id, first, node);
                for deed in &cast.deeds {
                    match &cast.who {
                        Who::Init(name) => init(&mut script, name, deed, job)?,
                        _ => pod(&mut script, deed)?,
                    }
                }
                for generation in cast.generations.clone() {
                    scripts.set_pod(&id, generation, node, script.clone());
                }
            }
        }
    }
    Ok(())
}

fn rank(script: &mut RankScript, deed: &str, job: &JobSpec) -> Result<(), Wrong> {
    let words = words(deed);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut ends = |status, after: &str| -> Result<(), Wrong> {
        (script.runs, script.status) = (Some(time(after)?), status);
        Ok(())
    };
    match words.as_slice() {
        ["runs", "on"] => script.runs = None,
        ["ends", "well", "after", after] => ends(ExitStatus::SUCCESS, after)?,
        ["exits", "with", code, "after", after] => ends(ExitStatus::Code(number(code)?), after)?,
        ["dies", "of", signal, "after", after] => {
            let known = (1..=31).find(|number| signal_name(*number) == Some(*signal));
            ends(ExitStatus::Signal(known.ok_or_else(|| format!("no signal is called {signal}"))?), after)?;
        }
        ["is", "out", "of", "memory", "after", after] => {
            ends(KILL, after)?;
            let limit = job.resources.memory_limit;
            script.oom = Some(OutOfMemory { limit, peak: limit });
        }
        ["meets", "a", "port", "in", "use", "after", after] => {
            ends(ExitStatus::Code(1), after)?;
            script.port_conflict = true;
        }
        ["hangs", "after", after] => script.hangs = Some(time(after)?),
        ["ignores", "its", "stop", "signal"] => script.heeds_term = None,
        ["takes", takes, "to", "stop"] => script.heeds_term = Some(time(takes)?),
        ["is", "ready", "after", after] => script.health.ready = Some(time(after)?),
        ["is", "never", "ready"] => script.health.ready = None,
        ["is", "not", "ready", "from", from, "to", to] => {
            script.health.unready = Some((time(from)?, time(to)?));
        }
        ["is", "sick", "after", after] => script.health.sick = Some(time(after)?),
        ["ends", "with", "0", "when", "it", "is", "ended"] => script.health.ends_well = true,
        ["preStop", "takes", takes] => script.pre_stop = Some(time(takes)?),
        ["preStop", "hangs"] => script.pre_stop = None,
        ["postStart", "takes", takes] => script.post_start.takes = Some(time(takes)?),
        ["postStart", "hangs"] => script.post_start.takes = None,
        ["postStart", "fails"] => script.post_start = HookScript { good: false, ..HookScript::WELL },
        ["leaves", "a", "child", "behind"] => script.grandchildren = 1,
        ["cannot", "be", "started", "again"] => script.cannot_start_again = true,
        _ => return Err(format!("no rank is known that does {deed:?}; known: {KNOWN_OF_RANKS}")),
    }
    Ok(())
}

fn init(script: &mut PodScript, name: &str, deed: &str, job: &JobSpec) -> Result<(), Wrong> {
    let index = job.lifecycle.init.iter().position(|init| init.name == name);
    let index = index.ok_or_else(|| format!("the job has no init container {name}"))?;
    if script.init.len() <= index {
        script.init.resize(index + 1, InitScript::default());
    }
    let script = &mut script.init[index];
    let words = words(deed);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["takes", takes] => script.takes = Some(time(takes)?),
        ["fails"] => script.good = false,
        ["fails", "after", after] => (script.good, script.takes) = (false, Some(time(after)?)),
        ["hangs"] => script.takes = None,
        ["ignores", "its", "stop", "signal"] => script.heeds_term = None,
        _ => return Err(format!("no init container is known that does {deed:?}; known: {KNOWN_OF_INIT}")),
    }
    Ok(())
}

fn pod(script: &mut PodScript, deed: &str) -> Result<(), Wrong> {
    let words = words(deed);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["takes", takes, "to", "prepare"] => script.prepare = time(takes)?,
        ["finds", "no", "command"] => script.fails = Some(PrepareFailureKind::CommandNotFound),
        ["may", "not", "execute", "the", "command"] => {
            script.fails = Some(PrepareFailureKind::CommandNotExecutable);
        }
        ["cannot", "be", "prepared"] => script.fails = Some(PrepareFailureKind::Node),
        ["hangs", "in", "exec"] => script.start = None,
        _ => return Err(format!("no pod is known that does {deed:?}; known: {KNOWN_OF_PODS}")),
    }
    Ok(())
}
