//! The invariants of DESIGN section 9 as functions, called after every step.
//!
//! | | what is compared |
//! |---|---|
//! | I1 | Of each rank at most one process runs on machines the coordinator can reach. A pod that was given up while its machine was out of reach is not counted, but once its machine is back its end must have been ordered on that connection. On one machine there is never more than one. Of a job that is fenced strictly there is never more than one anywhere, within reach or not. And no rank outlives its lease: the time since its worker took an order. (A child of a rank may, if its shim is dead and its worker does not run: nobody is left to end it.) |
//! | I2 | Go is recorded only when the shims of all pods of the generation hold their ranks, and no shim releases before that record |
//! | I3 | Generations rise one by one, epochs rise; an order of a lower epoch changes nothing on a worker; a shim never sees a generation twice |
//! | I4 | A node that is cordoned or quarantined gets no pod and is no spare. One that cannot take a pod of a job gets no pod of its next generations, until the job pays for a restart |
//! | I5 | No two live generations hold the same port of a node, by the records alone |
//! | I6 | What the records charge stays within the budgets, and a job that its user stopped never restarts |
//! | I7 | Nothing is alive of a pod that was said to have ended, nor of an ended job on a machine within reach (but pods given up, whose end was ordered) |
//! | I8 | The stored records replayed give the coordinator's durable state; no order is sent before the record it depends on; only a job that ended is forgotten, and once |
//! | I9 | A change of a job's phase, a pod or a node comes with an event that tells it |
//! | I10 | Once faults stop, every job ends, or is Running if its ranks run on, within a bound; no gang waits for what it already has; no worker remembers a pod of an ended job and no shim is left of one |

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::event::{Event, EventKind};
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::report::{Notice, Report};
use phalanx_common::spec::Fencing;
use phalanx_common::time::Timestamp;
use phalanx_launcher_core::gang::{GangPhase, PodView};
use phalanx_launcher_core::records::GenerationRecord;
use phalanx_launcher_core::restart;
use phalanx_launcher_core::{Coordinator, Durable, Record};
use phalanx_worker_core::Command as WorkerCommand;

use super::witness::Witness;
use super::world::World;

/// An invariant of DESIGN section 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    pub at: Timestamp,
    pub what: String,
}

/// What the coordinator shows of itself, to be compared over an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct View {
    jobs: BTreeMap<JobId, JobShown>,
    nodes: BTreeMap<NodeId, bool>,
}

#[derive(Debug, PartialEq, Eq)]
struct JobShown {
    phase: GangPhase,
    suspended: bool,
    generation: Option<Generation>,
    pods: BTreeMap<NodeId, PodView>,
}

impl View {
    pub(crate) fn of(coordinator: &Coordinator) -> View {
        let jobs = coordinator.jobs().map(|view| {
            let pods =
                view.gang.map(|gang| gang.pods().map(|(node, pod)| (node.clone(), pod.view)).collect());
            let shown = JobShown {
                phase: view.phase,
                suspended: view.job.suspended,
                generation: view.job.generation.as_ref().map(|generation| generation.number),
                pods: pods.unwrap_or_default(),
            };
            (view.id.clone(), shown)
        });
        let nodes = coordinator.nodes().iter().map(|(id, node)| (id.clone(), node.reachable()));
        View { jobs: jobs.collect(), nodes: nodes.collect() }
    }
}

/// I9: every change between two views has its event.
pub(crate) fn changes_are_told(before: &View, after: &View, events: &[Event]) -> Vec<String> {
    let mut untold = Vec::new();
    for (job, shown) in &after.jobs {
        let told = |fits: &dyn Fn(&EventKind) -> bool| {
            events.iter().any(|event| event.job.as_ref() == Some(job) && fits(&event.kind))
        };
        let old = before.jobs.get(job);
        if old.map(|old| (old.phase, old.generation)) != Some((shown.phase, shown.generation))
            && !told(&|kind| tells_phase(shown.phase, kind))
        {
            untold.push(format!("job {job} became {:?}", shown.phase));
        }
        // The end of a job ends its suspension.
        if old.is_some_and(|old| old.suspended != shown.suspended)
            && !told(&|kind| {
                matches!(kind, EventKind::JobSuspended | EventKind::JobResumed | EventKind::JobEnded { .. })
            })
        {
            untold.push(format!("job {job} was suspended or resumed"));
        }
        for (node, view) in &shown.pods {
            let same_generation = old.filter(|old| old.generation == shown.generation);
            let Some(was) = same_generation.and_then(|old| old.pods.get(node)) else { continue };
            if view > was && !told(&|kind| tells_pod(*view, node, kind)) {
                untold.push(format!("the pod of job {job} on node {node} became {view:?}"));
            }
        }
    }
    for job in before.jobs.keys().filter(|job| !after.jobs.contains_key(*job)) {
        let told = |event: &Event| event.job.as_ref() == Some(job) && event.kind == EventKind::JobForgotten;
        if !events.iter().any(told) {
            untold.push(format!("job {job} was forgotten"));
        }
    }
    for node in before.nodes.keys().filter(|node| !after.nodes.contains_key(*node)) {
        let told = |event: &Event| matches!(&event.kind, EventKind::NodeForgotten { node: told, .. } if told == node);
        if !events.iter().any(told) {
            untold.push(format!("node {node} was forgotten"));
        }
    }
    for (node, reachable) in &after.nodes {
        if before.nodes.get(node) != Some(reachable)
            && !events.iter().any(|event| tells_node(*reachable, node, &event.kind))
            // Known from records, not heard of yet: no change of the node.
            && (before.nodes.contains_key(node) || *reachable)
        {
            untold
                .push(format!("node {node} became {}", if *reachable { "reachable" } else { "unreachable" }));
        }
    }
    untold
}

fn tells_phase(phase: GangPhase, kind: &EventKind) -> bool {
    match phase {
        GangPhase::Queued => {
            matches!(kind, EventKind::JobSubmitted { .. } | EventKind::GangRestarting { .. })
        }
        GangPhase::Preparing => matches!(kind, EventKind::GangPlaced { .. }),
        GangPhase::Starting => matches!(kind, EventKind::GangReleased),
        GangPhase::Running => matches!(kind, EventKind::GangRunning),
        GangPhase::Finishing => matches!(kind, EventKind::RankExited { .. }),
        GangPhase::Stopping => matches!(kind, EventKind::GangStopping { .. }),
        GangPhase::Ended => matches!(kind, EventKind::JobEnded { .. }),
    }
}

fn tells_pod(view: PodView, node: &NodeId, kind: &EventKind) -> bool {
    match (view, kind) {
        (PodView::Prepared, EventKind::PodPrepared { node: told })
        | (PodView::Started, EventKind::PodStarted { node: told, .. })
        | (PodView::Ended, EventKind::PodEnded { node: told, .. })
        | (PodView::Abandoned, EventKind::PodAbandoned { node: told }) => told == node,
        _ => false,
    }
}

fn tells_node(reachable: bool, node: &NodeId, kind: &EventKind) -> bool {
    match kind {
        EventKind::NodeJoined { node: told, .. }
        | EventKind::NodeReachable { node: told }
        | EventKind::NodeRestarted { node: told } => reachable && told == node,
        EventKind::NodeUnreachable { node: told } => !reachable && told == node,
        _ => false,
    }
}

/// I2, I3, I5, I6 and I8, as far as one record can break them.
pub(crate) fn record_is_lawful(witness: &Witness, record: &Record) -> Option<(Invariant, String)> {
    match record {
        Record::EpochStarted { epoch } if *epoch <= witness.epoch => {
            Some((Invariant::I3, format!("epoch {epoch} after {}", witness.epoch)))
        }
        Record::GenerationPlanned(planned) => {
            let facts = witness.jobs.get(&planned.job)?;
            let expected = facts.generation.map_or(Generation(1), Generation::next);
            if planned.generation != expected {
                let what =
                    format!("job {} goes to generation {}, not {expected}", planned.job, planned.generation);
                return Some((Invariant::I3, what));
            }
            if let Some(what) = goes_where_it_must_not(witness, planned) {
                return Some((Invariant::I4, what));
            }
            let first = planned.pods.first()?;
            let holder = witness.ports.get(&(first.node.clone(), planned.master_port))?;
            let what = format!(
                "port {} of node {} goes to job {} while job {} generation {} holds it",
                planned.master_port, first.node, planned.job, holder.0, holder.1
            );
            Some((Invariant::I5, what))
        }
        Record::Released { job, generation, .. } => {
            let facts = witness.jobs.get(job)?;
            let missing = facts
                .nodes
                .iter()
                .find(|node| !witness.prepared.contains(&(job.clone(), *generation, (*node).clone())))?;
            Some((Invariant::I2, format!("job {job} is released, its pod on node {missing} is not prepared")))
        }
        Record::Running { job, generation, .. } => {
            let facts = witness.jobs.get(job).filter(|facts| facts.spec.gate())?;
            let late = (0..facts.world)
                .map(Rank)
                .find(|rank| !witness.ready.contains(&(job.clone(), *generation, *rank)))?;
            Some((Invariant::I2, format!("job {job} is running, its rank {late} was never ready")))
        }
        Record::GenerationEnded(ended) => {
            let facts = witness.jobs.get(&ended.job)?;
            if facts.stop_requested {
                return Some((
                    Invariant::I6,
                    format!("job {} restarts after its user stopped it", ended.job),
                ));
            }
            let mut after = witness.jobs.clone();
            let mut copy = Witness { jobs: std::mem::take(&mut after), ..Witness::default() };
            copy.note_record(record);
            let used = copy.jobs.get(&ended.job)?.used.clone();
            let window = facts.spec.recovery.window;
            let over = !ended.charge.free() && used.counted(window, ended.at) > facts.spec.max_restarts
                || facts.spec.recovery.replace_node.is_some_and(|max| used.replacements > max)
                || used.port_conflicts > defaults::PORT_CONFLICT_RESTARTS
                || used.port_retries > defaults::PORT_RETRIES
                || used.node_retries > defaults::NODE_RETRIES;
            over.then(|| {
                (Invariant::I6, format!("job {} used {used:?} of {}", ended.job, facts.spec.max_restarts))
            })
        }
        Record::RanksRestarted(restarted) => {
            let facts = witness.jobs.get(&restarted.job)?;
            let budget = restart::budget(&facts.spec.recovery, restarted.step);
            let window = budget.window.unwrap_or(Duration::MAX);
            let before = facts.in_place.get(&restarted.step).into_iter().flatten();
            let count = before.filter(|at| restarted.at.since(**at) < window).count() + 1;
            let max = budget.max.unwrap_or(facts.spec.max_restarts) as usize;
            let over = facts.stop_requested || count > max;
            let what = format!("job {} starts ranks again: {count} of {max}, {restarted:?}", restarted.job);
            over.then_some((Invariant::I6, what))
        }
        Record::NodeRefused { job, node, .. } => {
            let again = witness.jobs.get(job).is_some_and(|facts| facts.refused.contains(node));
            again.then(|| (Invariant::I6, format!("node {node} refused job {job} a second time")))
        }
        Record::JobForgotten { job } => {
            let facts = witness.jobs.get(job);
            let once = facts.is_some_and(|facts| facts.ended && !facts.forgotten);
            (!once).then(|| (Invariant::I8, format!("job {job} is forgotten: {facts:?}")))
        }
        _ => None,
    }
}

/// I4: of the nodes of a generation one that must not get a rank of it.
fn goes_where_it_must_not(witness: &Witness, planned: &GenerationRecord) -> Option<String> {
    let facts = witness.jobs.get(&planned.job)?;
    let nodes = || planned.pods.iter().map(|pod| &pod.node);
    let refused = nodes().find(|node| facts.refused.contains(*node)).map(|node| (node, "refused it"));
    let closed = nodes()
        .chain(&planned.spares)
        .find(|node| witness.closed.contains(*node))
        .map(|node| (node, "is cordoned or quarantined"));
    let (node, why) = refused.or(closed)?;
    Some(format!("job {} goes to node {node}, which {why}", planned.job))
}

/// I8: an order follows the record it depends on.
pub(crate) fn order_is_recorded(witness: &Witness, order: &Order) -> Option<String> {
    if order.epoch != witness.epoch {
        return Some(format!("an order of epoch {}, which is not recorded: {order:?}", order.epoch));
    }
    match &order.kind {
        OrderKind::Prepare(plan) => {
            let recorded = witness.jobs.get(&plan.job).and_then(|facts| facts.generation);
            (recorded != Some(plan.generation)).then(|| {
                format!("Prepare of job {} generation {} is not recorded", plan.job, plan.generation)
            })
        }
        OrderKind::Go { job, generation } => (!witness.released.contains(&(job.clone(), *generation)))
            .then(|| format!("Go of job {job} generation {generation} is not recorded")),
        OrderKind::Restart { job, generation, ranks, .. } => {
            let facts = witness.jobs.get(job).filter(|facts| facts.generation == Some(*generation));
            let recorded = |rank| facts.and_then(|facts| facts.attempts.get(rank));
            let unknown = ranks.iter().find(|(rank, attempt)| recorded(rank) < Some(attempt))?;
            Some(format!("restart {unknown:?} of job {job} generation {generation} is not recorded"))
        }
        _ => None,
    }
}

/// I3: what a worker did with an order of a lower epoch is to refuse it, and nothing else.
pub(crate) fn stale_order_changes_nothing(order: &Order, commands: &[WorkerCommand]) -> Option<String> {
    let did = commands.iter().find(|command| {
        let refused = matches!(
            command,
            WorkerCommand::ToCoordinator(Report::Notice { notice: Notice::Refused { .. }, .. })
        );
        !refused
    })?;
    Some(format!("{:?} of epoch {} led to {did:?}", order.kind, order.epoch))
}

/// I1 and I7: the processes that are, against what the coordinator believes.
pub(crate) fn check_processes(world: &World) -> Vec<(Invariant, String)> {
    let mut broken = Vec::new();
    let mut anywhere: BTreeMap<(&JobId, u32), Vec<(&NodeId, Generation)>> = BTreeMap::new();
    let mut within_reach: BTreeMap<(&JobId, u32), Vec<(&NodeId, Generation)>> = BTreeMap::new();
    for (node, machine) in &world.machines {
        let mut here: BTreeMap<(&JobId, u32), u32> = BTreeMap::new();
        let reachable = world.within_reach(node);
        for process in machine.processes.iter() {
            let (job, generation) = (&process.job, process.generation);
            if let Some(rank) = process.rank {
                *here.entry((job, rank.0)).or_default() += 1;
            }
            let key = (job.clone(), generation, node.clone());
            if world.witness.ended.contains(&key) {
                let what = format!(
                    "process {} of job {job} generation {generation} on node {node} outlived its pod",
                    process.pid
                );
                broken.push((Invariant::I7, what));
            }
            let spec =
                world.witness.jobs.get(job).map(|facts| &facts.spec).filter(|_| world.setup.config.cluster);
            if let (Some(Fencing::Strict), Some(rank), true) =
                (spec.map(|spec| spec.fencing), process.rank, process.released)
            {
                anywhere.entry((job, rank.0)).or_default().push((node, generation));
            }
            let lease = spec.map(|spec| spec.lease);
            let unheard = world.now.since(machine.last_order);
            if let Some(lease) =
                lease.filter(|lease| process.rank.is_some() && unheard > *lease + LEASE_SLACK)
            {
                let what = format!(
                    "process {} of job {job} on node {node} outlived its lease of {lease:?}",
                    process.pid
                );
                broken.push((Invariant::I1, what));
            }
            if !reachable {
                continue;
            }
            if given_up(world, job, generation, node) {
                let ordered = world.witness.stopped.get(&(node.clone(), job.clone()));
                if ordered.is_none_or(|up_to| *up_to < generation) {
                    let what =
                        format!("job {job} generation {generation} is back on node {node}, and not stopped");
                    broken.push((Invariant::I1, what));
                }
            } else {
                if world.witness.jobs.get(job).is_some_and(|facts| facts.ended) {
                    broken.push((Invariant::I7, format!("job {job} ended, and lives on node {node}")));
                }
                if let (Some(rank), true) = (process.rank, process.released) {
                    within_reach.entry((job, rank.0)).or_default().push((node, generation));
                }
            }
        }
        for ((job, rank), count) in here {
            if count > 1 {
                broken.push((
                    Invariant::I1,
                    format!("rank {rank} of job {job} is {count} times on node {node}"),
                ));
            }
        }
    }
    for ((job, rank), places) in anywhere {
        if places.len() > 1 {
            broken.push((
                Invariant::I1,
                format!("rank {rank} of job {job}, which is fenced strictly, runs at {places:?}"),
            ));
        }
    }
    for ((job, rank), places) in within_reach {
        if places.len() > 1 {
            broken.push((Invariant::I1, format!("rank {rank} of job {job} runs at {places:?}")));
        }
    }
    broken
}

/// From the lapse of a lease to the last SIGKILL: the grace, and what preStop hooks of a stop before it may add.
const LEASE_SLACK: Duration = Duration::from_secs(7);

/// Whether the coordinator gave this pod up and has not taken it back.
fn given_up(world: &World, job: &JobId, generation: Generation, node: &NodeId) -> bool {
    if !world.witness.abandoned.contains(&(job.clone(), generation, node.clone())) {
        return false;
    }
    let Some(view) = world.coordinator().and_then(|coordinator| coordinator.job(job)) else { return true };
    let live = view.job.active().is_some_and(|active| active.number == generation);
    let pod = view.gang.and_then(|gang| gang.pod(node));
    !live || pod.is_some_and(|pod| pod.view == PodView::Abandoned)
}

/// I8: the stored records replayed give the durable state.
pub(crate) fn check_replay(world: &World) -> Option<String> {
    let coordinator = world.coordinator()?;
    let replayed = Durable::replay(&world.store);
    (replayed != *coordinator.durable())
        .then(|| format!("replay gives {replayed:?}, live is {:?}", coordinator.durable()))
}

/// I10, asked after every input: no gang waits for what it already has.
pub(crate) fn nothing_waits_in_vain(coordinator: &Coordinator) -> Vec<String> {
    let reachable = |node: &NodeId| coordinator.nodes().get(node).is_some_and(|node| node.reachable());
    let in_vain = coordinator.jobs().filter(|view| {
        let Some(gang) = view.gang else { return false };
        match view.phase {
            GangPhase::Preparing => {
                let ready = gang.pods().all(|(node, pod)| pod.view == PodView::Prepared && reachable(node));
                ready && !view.job.suspended
            }
            GangPhase::Starting => gang.ready(),
            GangPhase::Finishing | GangPhase::Stopping => gang.over(),
            GangPhase::Queued | GangPhase::Running | GangPhase::Ended => false,
        }
    });
    in_vain.map(|view| format!("job {} is still {:?}: {:?}", view.id, view.phase, view.gang)).collect()
}

/// I10, asked once faults have stopped and the bound has passed.
pub(crate) fn check_settled(world: &World) -> Vec<String> {
    let Some(coordinator) = world.coordinator() else { return vec!["no coordinator".to_owned()] };
    let unsettled = coordinator.jobs().filter(|view| match view.phase {
        GangPhase::Ended => false,
        GangPhase::Running => !world.may_run_on(view.id),
        _ => true,
    });
    let mut broken: Vec<String> =
        unsettled.map(|view| format!("job {} is {:?}: {:?}", view.id, view.phase, view.gang)).collect();
    let over = |job: &JobId| coordinator.job(job).is_none_or(|view| view.phase == GangPhase::Ended);
    for (node, machine) in &world.machines {
        let Some(worker) = &machine.worker else {
            broken.push(format!("no worker on node {node}"));
            continue;
        };
        let remembered = worker.report(world.now).pods.into_iter().filter(|status| over(&status.job));
        broken
            .extend(remembered.map(|status| format!("node {node} remembers job {}: {status:?}", status.job)));
        let shims = machine.shims.values().filter(|shim| over(&shim.job));
        broken.extend(shims.map(|shim| format!("a shim of job {} is left on node {node}", shim.job)));
    }
    broken
}
