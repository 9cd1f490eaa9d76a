//! Domain types to wire types of version 1 and back.

use std::time::Duration;

use super::bytes::Bytes;
use super::{v1, v1_probes};
use crate::defaults::LOG_TAIL;
use crate::exit::ExitStatus;
use crate::id::{Epoch, Generation, Incarnation, JobId, NodeId, Rank};
use crate::order::{Order, OrderKind};
use crate::plan::{PlanBody, PodPlan};
use crate::report::{
    Network, NodeReport, Notice, OutOfMemory, PodEnd, PodPhase, PodStatus, PrepareFailure,
    PrepareFailureKind, RankExit, Report,
};
use crate::spec::{Keep, Ship, StopScope, VirtualEnv};
use crate::time::Timestamp;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn job(id: &JobId) -> String {
    id.as_str().to_owned()
}

/// Enums of the two worlds with the same variants.
macro_rules! same_variants {
    ($domain:ty, $wire:ty, $($variant:ident $(($field:ident))?),+) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> $wire {
                type Domain = $domain;
                type Wire = $wire;
                match value { $(Domain::$variant $(($field))? => Wire::$variant $(($field))?),+ }
            }
        }
        impl From<$wire> for $domain {
            fn from(value: $wire) -> $domain {
                type Domain = $domain;
                type Wire = $wire;
                match value { $(Wire::$variant $(($field))? => Domain::$variant $(($field))?),+ }
            }
        }
    };
}

pub(super) use same_variants;

same_variants!(StopScope, v1::StopScope, Group, Process);
same_variants!(Keep, v1::Keep, Never, OnFailure, Always);
same_variants!(PodPhase, v1::PodPhase, Preparing, Prepared, Releasing, Started, Stopping, Ended);
same_variants!(ExitStatus, v1::ExitStatus, Code(code), Signal(number));
same_variants!(
    PrepareFailureKind,
    v1::PrepareFailureKind,
    CommandNotFound,
    CommandNotExecutable,
    PortTaken(port),
    Node,
    Job,
    Init
);

impl From<&Order> for v1::ToWorker {
    fn from(order: &Order) -> v1::ToWorker {
        let wire = match &order.kind {
            OrderKind::Prepare(plan) => v1::Order::Prepare(Box::new(plan.as_ref().into())),
            OrderKind::Go { job: id, generation } => v1::Order::Go { job: job(id), generation: generation.0 },
            OrderKind::Stop { job: id, generation, grace, pre_stop } => v1::Order::Stop {
                job: job(id),
                generation: generation.0,
                grace_ms: millis(*grace),
                pre_stop: *pre_stop,
            },
            OrderKind::Forget { job: id, failed } => v1::Order::Forget { job: job(id), failed: *failed },
            OrderKind::Renew => v1::Order::Renew,
            OrderKind::Suspend { job: id } => v1::Order::Suspend { job: job(id) },
            OrderKind::Resume { job: id } => v1::Order::Resume { job: job(id) },
            OrderKind::Probe { job: id, generation, target, address } => v1::Order::Probe {
                job: job(id),
                generation: generation.0,
                target: target.as_str().to_owned(),
                address: *address,
            },
            OrderKind::Restart { job: id, generation, ranks, delay, grace } => v1::Order::Restart {
                job: job(id),
                generation: generation.0,
                ranks: ranks.iter().map(|(rank, attempt)| (rank.0, *attempt)).collect(),
                delay_ms: millis(*delay),
                grace_ms: millis(*grace),
            },
        };
        v1::ToWorker::Order { epoch: order.epoch.0, order: wire }
    }
}

impl v1::Order {
    /// The order of a coordinator in `epoch`.
    pub fn into_domain(self, epoch: u64) -> Order {
        let kind = match self {
            v1::Order::Prepare(plan) => OrderKind::Prepare(Box::new((*plan).into())),
            v1::Order::Go { job, generation } => {
                OrderKind::Go { job: JobId::from_existing(job), generation: Generation(generation) }
            }
            v1::Order::Stop { job, generation, grace_ms, pre_stop } => OrderKind::Stop {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                grace: Duration::from_millis(grace_ms),
                pre_stop,
            },
            v1::Order::Forget { job, failed } => OrderKind::Forget { job: JobId::from_existing(job), failed },
            v1::Order::Renew => OrderKind::Renew,
            v1::Order::Suspend { job } => OrderKind::Suspend { job: JobId::from_existing(job) },
            v1::Order::Resume { job } => OrderKind::Resume { job: JobId::from_existing(job) },
            v1::Order::Probe { job, generation, target, address } => OrderKind::Probe {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                target: NodeId::new(target),
                address,
            },
            v1::Order::Restart { job, generation, ranks, delay_ms, grace_ms } => OrderKind::Restart {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                ranks: ranks.into_iter().map(|(rank, attempt)| (Rank(rank), attempt)).collect(),
                delay: Duration::from_millis(delay_ms),
                grace: Duration::from_millis(grace_ms),
            },
        };
        Order { epoch: Epoch(epoch), kind }
    }
}

impl From<&PodPlan> for v1::PodPlan {
    fn from(plan: &PodPlan) -> v1::PodPlan {
        let body = plan.body.clone();
        v1::PodPlan {
            job: job(&plan.job),
            generation: plan.generation.0,
            node_rank: plan.node_rank,
            first_rank: plan.first_rank.0,
            local_ranks: plan.local_ranks,
            probe_port: plan.probe_port,
            name: body.name,
            user: body.user,
            world_size: body.world_size,
            nodes: body.nodes,
            command: body.command,
            working_dir: body.working_dir,
            env: body.env,
            secrets: body.secrets,
            virtual_env: body.virtual_env.map(|it| v1::VirtualEnv { prefix: it.prefix, version: it.version }),
            ship: body.ship.map(|it| v1::Ship { digest: it.digest, bytes: it.bytes }),
            master_addr: body.master_addr,
            master_port: body.master_port,
            interface: body.interface,
            restart_count: body.restart_count,
            max_restarts: body.max_restarts,
            termination_grace_ms: millis(body.termination_grace),
            stop_scope: body.stop_scope.into(),
            keep: body.keep.into(),
            log_dir: body.log_dir,
            max_file_bytes: body.max_file_bytes,
            keep_files: body.keep_files,
            lease_ms: body.lease.map(millis),
            binding: plan.binding.clone().into(),
            probes: v1_probes::from_domain(&body.probes),
            lifecycle: (&body.lifecycle).into(),
            in_place: body.in_place,
            memory_limit: body.memory_limit,
        }
    }
}

impl From<v1::PodPlan> for PodPlan {
    fn from(plan: v1::PodPlan) -> PodPlan {
        PodPlan {
            job: JobId::from_existing(plan.job),
            generation: Generation(plan.generation),
            node_rank: plan.node_rank,
            first_rank: Rank(plan.first_rank),
            local_ranks: plan.local_ranks,
            probe_port: plan.probe_port,
            binding: plan.binding.into(),
            body: PlanBody {
                name: plan.name,
                user: plan.user,
                world_size: plan.world_size,
                nodes: plan.nodes,
                command: plan.command,
                working_dir: plan.working_dir,
                env: plan.env,
                secrets: plan.secrets,
                virtual_env: plan.virtual_env.map(|it| VirtualEnv { prefix: it.prefix, version: it.version }),
                ship: plan.ship.map(|it| Ship { digest: it.digest, bytes: it.bytes }),
                master_addr: plan.master_addr,
                master_port: plan.master_port,
                interface: plan.interface,
                restart_count: plan.restart_count,
                max_restarts: plan.max_restarts,
                termination_grace: Duration::from_millis(plan.termination_grace_ms),
                stop_scope: plan.stop_scope.into(),
                keep: plan.keep.into(),
                log_dir: plan.log_dir,
                max_file_bytes: plan.max_file_bytes,
                keep_files: plan.keep_files,
                lease: plan.lease_ms.map(Duration::from_millis),
                probes: v1_probes::to_domain(plan.probes),
                lifecycle: plan.lifecycle.into(),
                in_place: plan.in_place,
                memory_limit: plan.memory_limit,
            },
        }
    }
}

impl From<&Report> for v1::FromWorker {
    fn from(report: &Report) -> v1::FromWorker {
        match report {
            Report::Hello(node) => v1::FromWorker::Hello(Box::new(node.as_ref().into())),
            Report::Prepared { job: id, generation, interpreter } => v1::FromWorker::Prepared {
                job: job(id),
                generation: generation.0,
                interpreter: interpreter.clone(),
            },
            Report::Probed { job: id, generation, target, heard } => v1::FromWorker::Probed {
                job: job(id),
                generation: generation.0,
                target: target.as_str().to_owned(),
                heard: *heard,
            },
            Report::NotPrepared { job: id, generation, reason } => v1::FromWorker::NotPrepared {
                job: job(id),
                generation: generation.0,
                reason: reason.clone().into(),
            },
            Report::Started { job: id, generation, pids } => {
                v1::FromWorker::Started { job: job(id), generation: generation.0, pids: pids.clone() }
            }
            Report::Exited { job: id, generation, exit } => {
                v1::FromWorker::Exited { job: job(id), generation: generation.0, exit: exit.clone().into() }
            }
            Report::PodEnded { job: id, generation, end } => {
                v1::FromWorker::PodEnded { job: job(id), generation: generation.0, end: end.clone().into() }
            }
            Report::Health { job: id, generation, ranks } => v1::FromWorker::Health {
                job: job(id),
                generation: generation.0,
                ranks: ranks.iter().cloned().map(Into::into).collect(),
            },
            Report::Restarted { job: id, generation, rank, attempt, pid } => v1::FromWorker::Restarted {
                job: job(id),
                generation: generation.0,
                rank: rank.0,
                attempt: *attempt,
                pid: *pid,
            },
            Report::Notice { job: id, notice } => {
                v1::FromWorker::Notice { job: id.as_ref().map(job), notice: notice.clone().into() }
            }
        }
    }
}

impl From<v1::FromWorker> for Report {
    fn from(report: v1::FromWorker) -> Report {
        match report {
            v1::FromWorker::Hello(node) => Report::Hello(Box::new((*node).into())),
            v1::FromWorker::Prepared { job, generation, interpreter } => Report::Prepared {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                interpreter: interpreter.map(name),
            },
            v1::FromWorker::Probed { job, generation, target, heard } => Report::Probed {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                target: NodeId::new(target),
                heard,
            },
            v1::FromWorker::NotPrepared { job, generation, reason } => Report::NotPrepared {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                reason: reason.into(),
            },
            v1::FromWorker::Started { job, generation, pids } => {
                Report::Started { job: JobId::from_existing(job), generation: Generation(generation), pids }
            }
            v1::FromWorker::Exited { job, generation, exit } => Report::Exited {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                exit: exit.into(),
            },
            v1::FromWorker::PodEnded { job, generation, end } => Report::PodEnded {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                end: end.into(),
            },
            v1::FromWorker::Health { job, generation, ranks } => Report::Health {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                ranks: ranks.into_iter().map(Into::into).collect(),
            },
            v1::FromWorker::Restarted { job, generation, rank, attempt, pid } => Report::Restarted {
                job: JobId::from_existing(job),
                generation: Generation(generation),
                rank: Rank(rank),
                attempt,
                pid,
            },
            v1::FromWorker::Notice { job, notice } => {
                Report::Notice { job: job.map(JobId::from_existing), notice: notice.into() }
            }
        }
    }
}

impl From<&NodeReport> for v1::NodeReport {
    fn from(node: &NodeReport) -> v1::NodeReport {
        v1::NodeReport {
            node: node.node.as_str().to_owned(),
            incarnation: node.incarnation.0,
            host_name: node.host_name.clone(),
            cores: node.cores,
            slots: node.slots,
            user: node.user.clone(),
            clock_micros: node.clock.0,
            version: node.version.clone(),
            ports: node.ports,
            address: node.address,
            interface: node.interface.clone(),
            networks: node.networks.iter().cloned().map(Into::into).collect(),
            pods: node.pods.iter().cloned().map(Into::into).collect(),
        }
    }
}

impl From<v1::NodeReport> for NodeReport {
    fn from(node: v1::NodeReport) -> NodeReport {
        NodeReport {
            node: NodeId::new(node.node),
            incarnation: Incarnation(node.incarnation),
            host_name: name(node.host_name),
            cores: node.cores,
            slots: node.slots,
            user: node.user.map(name),
            clock: Timestamp(node.clock_micros),
            version: name(node.version),
            ports: node.ports,
            address: node.address,
            interface: node.interface.map(name),
            networks: node.networks.into_iter().map(Into::into).collect(),
            pods: node.pods.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Network> for v1::Network {
    fn from(network: Network) -> v1::Network {
        let Network { address, prefix, interface } = network;
        v1::Network { address, prefix, interface }
    }
}

impl From<v1::Network> for Network {
    fn from(network: v1::Network) -> Network {
        let v1::Network { address, prefix, interface } = network;
        Network { address, prefix, interface: name(interface) }
    }
}

impl From<PodStatus> for v1::PodStatus {
    fn from(pod: PodStatus) -> v1::PodStatus {
        v1::PodStatus {
            job: job(&pod.job),
            generation: pod.generation.0,
            phase: pod.phase.into(),
            not_prepared: pod.not_prepared.map(Into::into),
            suspended: pod.suspended,
            exits: pod.exits.into_iter().map(Into::into).collect(),
            end: pod.end.map(Into::into),
            pids: pod.pids,
            health: pod.health.into_iter().map(Into::into).collect(),
            attempts: pod.attempts.into_iter().map(|(rank, attempt)| (rank.0, attempt)).collect(),
        }
    }
}

impl From<v1::PodStatus> for PodStatus {
    fn from(pod: v1::PodStatus) -> PodStatus {
        PodStatus {
            job: JobId::from_existing(pod.job),
            generation: Generation(pod.generation),
            phase: pod.phase.into(),
            not_prepared: pod.not_prepared.map(Into::into),
            suspended: pod.suspended,
            exits: pod.exits.into_iter().map(Into::into).collect(),
            end: pod.end.map(Into::into),
            pids: pod.pids,
            health: pod.health.into_iter().map(Into::into).collect(),
            attempts: pod.attempts.into_iter().map(|(rank, attempt)| (Rank(rank), attempt)).collect(),
        }
    }
}

impl From<PrepareFailure> for v1::PrepareFailure {
    fn from(reason: PrepareFailure) -> v1::PrepareFailure {
        v1::PrepareFailure { kind: reason.kind.into(), message: reason.message }
    }
}

impl From<v1::PrepareFailure> for PrepareFailure {
    fn from(reason: v1::PrepareFailure) -> PrepareFailure {
        PrepareFailure { kind: reason.kind.into(), message: clipped(reason.message, MESSAGE) }
    }
}

impl From<RankExit> for v1::RankExit {
    fn from(exit: RankExit) -> v1::RankExit {
        v1::RankExit {
            rank: exit.rank.0,
            attempt: exit.attempt,
            status: exit.status.into(),
            at_micros: exit.at.0,
            after_stop: exit.after_stop,
            port_conflict: exit.port_conflict,
            stderr_tail: Bytes(exit.stderr_tail),
            stdout_tail: Bytes(exit.stdout_tail),
            error_file: exit.error_file.map(Bytes),
            probe: exit.probe.map(Into::into),
            oom: exit.oom.map(|OutOfMemory { limit, peak }| v1::OutOfMemory { limit, peak }),
        }
    }
}

impl From<v1::RankExit> for RankExit {
    fn from(exit: v1::RankExit) -> RankExit {
        RankExit {
            rank: Rank(exit.rank),
            attempt: exit.attempt,
            status: exit.status.into(),
            at: Timestamp(exit.at_micros),
            after_stop: exit.after_stop,
            port_conflict: exit.port_conflict,
            stderr_tail: tail(exit.stderr_tail.0),
            stdout_tail: tail(exit.stdout_tail.0),
            error_file: exit.error_file.map(|bytes| tail(bytes.0)),
            probe: exit.probe.map(Into::into),
            oom: exit.oom.map(|v1::OutOfMemory { limit, peak }| OutOfMemory { limit, peak }),
        }
    }
}

impl From<PodEnd> for v1::PodEnd {
    fn from(end: PodEnd) -> v1::PodEnd {
        let PodEnd { swept, shim_lost, lease_lapsed, survivors } = end;
        v1::PodEnd { swept, shim_lost, lease_lapsed, survivors }
    }
}

impl From<v1::PodEnd> for PodEnd {
    fn from(end: v1::PodEnd) -> PodEnd {
        let v1::PodEnd { swept, shim_lost, lease_lapsed, survivors } = end;
        let survivors = survivors.into_iter().take(NAMED).map(|(pid, process)| (pid, name(process)));
        PodEnd { swept, shim_lost, lease_lapsed, survivors: survivors.collect() }
    }
}

impl From<Notice> for v1::Notice {
    fn from(notice: Notice) -> v1::Notice {
        match notice {
            Notice::OutputDropped { rank, bytes, why } => {
                v1::Notice::OutputDropped { rank: rank.0, bytes, why }
            }
            Notice::OutputRotatedOut { rank, bytes } => v1::Notice::OutputRotatedOut { rank: rank.0, bytes },
            Notice::EnvironmentOverridden { job, inherited } => {
                v1::Notice::EnvironmentOverridden { job, inherited }
            }
            Notice::Refused { what } => v1::Notice::Refused { what },
            Notice::Directory { node, path, keep } => {
                v1::Notice::Directory { node: node.to_string(), path, keep: keep.into() }
            }
            Notice::MemoryNotPreferred { rank, why } => v1::Notice::MemoryNotPreferred { rank: rank.0, why },
            Notice::PreStopFailed { rank, why } => v1::Notice::PreStopFailed { rank: rank.0, why },
        }
    }
}

impl From<v1::Notice> for Notice {
    fn from(notice: v1::Notice) -> Notice {
        match notice {
            v1::Notice::OutputDropped { rank, bytes, why } => {
                Notice::OutputDropped { rank: Rank(rank), bytes, why: clipped(why, MESSAGE) }
            }
            v1::Notice::OutputRotatedOut { rank, bytes } => {
                Notice::OutputRotatedOut { rank: Rank(rank), bytes }
            }
            v1::Notice::EnvironmentOverridden { job, inherited } => {
                let names = |all: Vec<String>| all.into_iter().take(NAMED).map(name).collect();
                Notice::EnvironmentOverridden { job: names(job), inherited: names(inherited) }
            }
            v1::Notice::Refused { what } => Notice::Refused { what: clipped(what, MESSAGE) },
            v1::Notice::Directory { node, path, keep } => Notice::Directory {
                node: NodeId::new(name(node)),
                path: clipped(path, MESSAGE),
                keep: keep.into(),
            },
            v1::Notice::MemoryNotPreferred { rank, why } => {
                Notice::MemoryNotPreferred { rank: Rank(rank), why: clipped(why, MESSAGE) }
            }
            v1::Notice::PreStopFailed { rank, why } => {
                Notice::PreStopFailed { rank: Rank(rank), why: clipped(why, MESSAGE) }
            }
        }
    }
}

/// Bytes of a worker's words to people. What workers say is kept in records, in memory and told to clients: a
/// worker that says more than one that means well is cut short.
const MESSAGE: usize = 8 << 10;
/// Bytes of a name.
const NAME: usize = 256;
/// Things named in one list.
const NAMED: usize = 256;

fn name(text: String) -> String {
    clipped(text, NAME)
}

pub(super) fn clipped(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

fn tail(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.drain(..bytes.len().saturating_sub(LOG_TAIL));
    bytes
}
