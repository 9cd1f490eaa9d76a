//! A scenario on the virtual cluster, and what is told of it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::NodeId;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Ailment, Machine};
use phalanx_common::topology::{Network, Source, derive};
use phalanx_formats::outline::Outline;
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::stock::{Told as ToldOf, Topology};
use phalanx_launcher_core::{Config, Input};

use super::read::job_id;
use super::{Scenario, What};
use crate::vcluster::invariants::check_settled;
use crate::vcluster::seeded::{phase, run_until};
use crate::vcluster::tell::tell;
use crate::vcluster::world::{Setup, World};

/// A job ends within this, and then all that its faults broke is whole again.
const ENDS_WITHIN: Duration = Duration::from_secs(4 * 3600);
const WHOLE_WITHIN: Duration = Duration::from_secs(3600);

/// A scenario that came to no good end: an invariant is broken, or the job goes on for ever.
#[derive(Debug, thiserror::Error)]
#[error("{why}\n{told}")]
pub struct NotPlayed {
    pub why: String,
    /// What was told until then.
    pub told: String,
}

impl Scenario {
    /// Plays it, and tells of it.
    ///
    /// # Errors
    /// An invariant is broken, the job does not end, or something of it is left.
    pub fn play(&self) -> Result<String, NotPlayed> {
        let config = Config { cluster: true, ..Config::default() };
        let (nodes, scripts) = (self.nodes.clone(), self.scripts.clone());
        let mut world =
            World::new(Setup { seed: 1, config, nodes, scripts, sabotage: None, calm: true, trace: false });
        let joined = |world: &World| {
            world.coordinator().is_some_and(|coordinator| coordinator.nodes().len() == self.nodes.len())
        };
        self.until(&mut world, "the nodes do not join", Duration::from_secs(60), joined)?;
        if self.gpus > 0 || !self.leaves.is_empty() {
            self.tell_topology(&mut world, None);
        }
        let begun = (world.now, world.events.len());
        world.submit(&job_id(), self.job.clone());
        for happens in &self.happens {
            let due = begun.0 + happens.after;
            self.until_time(&mut world, due)?;
            match &happens.what {
                What::Fault(fault) => world.schedule(Duration::ZERO, fault.clone()),
                What::LoseDevice { node, device } => self.tell_topology(&mut world, Some((node, *device))),
                What::ResumeReplacement => world.input(Input::ResumeReplacement { by: "root".to_owned() }),
            }
        }
        let ended = |world: &World| phase(world, &job_id()) == Some(GangPhase::Ended);
        self.until(&mut world, "the job does not end", ENDS_WITHIN, ended)?;
        let whole = |world: &World| check_settled(world).is_empty();
        self.until(&mut world, "something is left, or broken", WHOLE_WITHIN, whole)?;
        Ok(self.tell(&world.events[begun.1..], begun.0))
    }

    fn until_time(&self, world: &mut World, due: Timestamp) -> Result<(), NotPlayed> {
        let within = due.since(world.now);
        // The clock stands at the last thing that happened: this makes it stand at `due`.
        match run_until(world, within, |world| world.now > due) {
            Err("an invariant is broken") => Err(self.not_played(world, "an invariant is broken")),
            _ => Ok(()),
        }
    }

    fn until(
        &self,
        world: &mut World,
        what: &str,
        within: Duration,
        predicate: impl Fn(&World) -> bool,
    ) -> Result<(), NotPlayed> {
        run_until(world, within, predicate)
            .map_err(|why| self.not_played(world, &format!("{what}: {why}; {:?}", check_settled(world))))
    }

    fn not_played(&self, world: &World, why: &str) -> NotPlayed {
        let begun = world.events.iter().find(|event| event.job.is_some()).map_or(world.now, |event| event.at);
        NotPlayed { why: format!("{why}; {:?}", world.violations), told: self.tell(&world.events, begun) }
    }

    /// Which nodes share a leaf, what each node has, and a device of one of them that is gone.
    fn tell_topology(&self, world: &mut World, gone: Option<(&NodeId, u32)>) {
        let told = |node: &NodeId| {
            let mut machine = Machine::default();
            for index in 0..self.gpus {
                let lost = Ailment::Lost("the GPU has fallen off the bus".to_owned());
                machine.accelerators.push(Accelerator {
                    index: Some(index),
                    uuid: Some(format!("GPU-{node}-{index}")),
                    ailments: (gone == Some((node, index))).then(|| vec![lost]),
                    ..Accelerator::new(AcceleratorKind::Nvidia)
                });
            }
            (node.clone(), ToldOf { machine: Some(Arc::new(machine)), ..ToldOf::default() })
        };
        let nodes = self.nodes.iter().map(told).collect();
        // By which the network knows them.
        let ids = self.leaves.iter().flatten().map(|node| (node.to_string(), node.clone())).collect();
        world.input(Input::Topology(Arc::new(Topology { network: self.network(), ids, nodes })));
    }

    fn network(&self) -> Network {
        let mut outline = Outline::default();
        for (number, nodes) in (1..).zip(&self.leaves) {
            let leaf = format!("leaf-{number}");
            outline.nodes.extend(nodes.iter().map(|node| (node.to_string(), leaf.clone())));
            outline.under.insert((leaf, "spine".to_owned()));
        }
        let evidence = outline.evidence(Source::Csv, "the scenario", Timestamp(1));
        derive(&[], &evidence, Timestamp(1)).unwrap_or_default()
    }

    /// Events up to the end of the job, and between them what happened.
    fn tell(&self, events: &[Event], begun: Timestamp) -> String {
        let last = events.iter().position(|event| matches!(event.kind, EventKind::JobEnded { .. }));
        let events = &events[..last.map_or(events.len(), |last| last + 1)];
        let mut happens = self.happens.iter().peekable();
        let mut lines: Vec<Line> = Vec::new();
        for event in events {
            while let Some(due) = happens.next_if(|it| begun + it.after <= event.at) {
                lines.push(Line::new(due.after, None, format!("--> {}", due.text)));
            }
            let Some(told) = tell(&event.kind) else { continue };
            let line = Line::new(event.at.since(begun), told.whom, told.what);
            match lines.last_mut().filter(|last| last.befell_like(&line)) {
                Some(last) => last.whom.extend(line.whom),
                None => lines.push(line),
            }
        }
        lines.iter().fold(String::new(), |mut text, line| {
            line.write(&mut text);
            text
        })
    }
}

struct Line {
    /// Tenths of a second.
    at: u128,
    whom: Vec<String>,
    what: String,
}

impl Line {
    fn new(at: Duration, whom: Option<String>, what: String) -> Line {
        Line { at: at.as_millis() / 100, whom: whom.into_iter().collect(), what }
    }

    /// The same, to somebody else.
    fn befell_like(&self, other: &Line) -> bool {
        !self.whom.is_empty() && !other.whom.is_empty() && (self.at, &self.what) == (other.at, &other.what)
    }

    fn write(&self, text: &mut String) {
        let whom = if self.whom.is_empty() { String::new() } else { format!("{}: ", self.whom.join(", ")) };
        let told = format!("{whom}{}", self.what);
        for (index, line) in told.lines().enumerate() {
            let _ = match index {
                0 => writeln!(text, "{:>7}.{} s  {line}", self.at / 10, self.at % 10),
                _ => writeln!(text, "{:>13}{}", "", line.trim_end()),
            };
        }
    }
}
