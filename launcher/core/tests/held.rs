//! What pods hold of their nodes, as the next job finds it.
#![allow(clippy::unwrap_used, reason = "helpers of tests end where something is wrong")]

#[allow(dead_code, reason = "other tests use the rest")]
mod desk;

use std::sync::Arc;

use desk::{Desk, job, spec};
use phalanx_common::event::EventKind;
use phalanx_common::exit::ExitStatus;
use phalanx_common::id::NodeId;
use phalanx_common::spec::{CpuBinding, DeviceKind, DeviceNeeds, Exclusive, JobSpec};
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, Ailment, CpuSet, Machine};
use phalanx_launcher_core::gang::GangPhase;
use phalanx_launcher_core::records::Record;
use phalanx_launcher_core::stock::{Told, Topology};
use phalanx_launcher_core::{Config, Input, JobState};

const GIB: u64 = 1 << 30;

/// Two NUMA nodes with four cores and 64 GiB each, and four GPUs of which nobody knows where they are.
fn machine() -> Machine {
    let cores = (0..8u32).map(|core| core.to_string().parse().unwrap()).collect();
    let mut machine = Machine { cores, ..Machine::default() };
    for (node, cpus) in [(0, "0-3"), (1, "4-7")] {
        let numa = machine.numa.entry(node).or_default();
        numa.cpus = cpus.parse().unwrap();
        numa.memory_bytes = Some(64 * GIB);
        numa.distances = [(node, 10), (1 - node, 20)].into();
    }
    for gpu in 0..4 {
        machine.accelerators.push(Accelerator {
            index: Some(gpu),
            uuid: Some(format!("GPU-{gpu}")),
            ..Accelerator::new(AcceleratorKind::Nvidia)
        });
    }
    machine
}

fn tell(desk: &mut Desk) {
    let told = Told { machine: Some(Arc::new(machine())), ..Told::default() };
    let nodes = [(NodeId::new("a"), told)].into();
    desk.input(Input::Topology(Arc::new(Topology { nodes, ..Topology::default() })));
}

/// A coordinator that knows what is in its one node.
fn told() -> Desk {
    let mut desk = Desk::new(Config::default(), &["a"]);
    tell(&mut desk);
    desk
}

fn with_devices(ranks: u32, count: u32) -> JobSpec {
    let mut job = spec(1, ranks);
    job.resources.devices =
        Some(DeviceNeeds { kind: DeviceKind::Gpu, count, model: None, memory_bytes: None, mig: None });
    job
}

fn with_memory(gib: u64, cpus: Option<u32>, exclusive: Exclusive) -> JobSpec {
    let mut job = spec(1, 1);
    job.resources.memory_bytes = Some(gib * GIB);
    job.resources.cpus = cpus;
    job.placement.exclusive = exclusive;
    job
}

fn runs(desk: &Desk, name: &str) -> bool {
    desk.coordinator.job(&job(name)).unwrap().job.state == JobState::Active
}

/// The NUMA nodes of the first rank of the job planned last.
fn nodes(desk: &Desk) -> CpuSet {
    let planned = desk.records.iter().rev().find_map(|record| match record {
        Record::GenerationPlanned(record) => Some(record.pods[0].binding.ranks[0].nodes.clone()),
        _ => None,
    });
    planned.unwrap()
}

#[test]
fn ranks_that_asked_for_no_devices_leave_them_to_others() {
    let mut desk = told();
    desk.submit("cpus", spec(1, 4));
    desk.submit("gpus", with_devices(4, 1));
    assert!(runs(&desk, "cpus") && runs(&desk, "gpus"));
}

#[test]
fn ranks_that_were_planned_before_their_node_told_of_its_devices_have_the_first_of_them() {
    let mut desk = Desk::new(Config::default(), &["a"]);
    desk.submit("early", spec(1, 3));
    tell(&mut desk);
    desk.submit("one", with_devices(1, 1));
    desk.submit("two", with_devices(1, 1));
    assert!(runs(&desk, "early") && runs(&desk, "one") && !runs(&desk, "two"));
}

#[test]
fn cores_that_were_asked_for_are_given_once_though_nobody_is_bound_to_them() {
    let mut desk = told();
    for name in ["first", "second"] {
        let mut unbound = spec(1, 1);
        unbound.resources.cpus = Some(5);
        unbound.placement.cpu_binding = CpuBinding::None;
        desk.submit(name, unbound);
    }
    assert!(runs(&desk, "first") && !runs(&desk, "second"));
}

#[test]
fn what_is_left_of_the_memory_of_numa_nodes_of_ones_own_is_nobody_elses() {
    let mut desk = told();
    desk.submit("alone", with_memory(40, Some(1), Exclusive::Numa));
    desk.submit("rest", with_memory(60, Some(1), Exclusive::None));
    assert!(runs(&desk, "alone") && runs(&desk, "rest"));
    let mut desk = told();
    desk.submit("alone", with_memory(40, Some(1), Exclusive::Numa));
    desk.submit("more", with_memory(80, Some(1), Exclusive::None));
    assert!(runs(&desk, "alone") && !runs(&desk, "more"), "24 GiB of the 88 are not for others");
}

#[test]
fn a_numa_node_of_which_only_memory_is_taken_is_not_given_alone() {
    let mut desk = told();
    desk.submit("memory", with_memory(4, None, Exclusive::None));
    let shared = nodes(&desk);
    desk.submit("alone", with_memory(20, Some(1), Exclusive::Numa));
    assert!(runs(&desk, "alone"));
    let own = nodes(&desk);
    assert!(own.intersection(&shared).is_empty() && !own.is_empty(), "{own} {shared}");
}

#[test]
fn a_job_with_numa_nodes_of_its_own_takes_none_that_others_are_on() {
    let mut desk = told();
    let mut half = spec(1, 1);
    half.resources.cpus = Some(1);
    desk.submit("a-first", half.clone());
    desk.submit("alone", with_memory(1, Some(1), Exclusive::Numa));
    // Three cores are left beside the first job: the other node's are closed.
    half.resources.cpus = Some(3);
    desk.submit("second", half);
    assert!(runs(&desk, "a-first") && runs(&desk, "alone") && runs(&desk, "second"));
}

#[test]
fn a_job_ends_with_a_device_of_its_own_and_starts_again_without_the_node() {
    let mut job = with_devices(2, 1);
    job.max_restarts = 1;
    let mut desk = Desk::new(Config::default(), &["a", "b"]);
    let tell = |desk: &mut Desk, change: &dyn Fn(&mut Machine)| {
        let told = |node: &str| {
            let mut machine = machine();
            machine.accelerators.iter_mut().for_each(|gpu| {
                gpu.uuid = gpu.uuid.take().map(|uuid| format!("{uuid}-{node}"));
            });
            if node == "a" {
                change(&mut machine);
            }
            (NodeId::new(node), Told { machine: Some(Arc::new(machine)), ..Told::default() })
        };
        let nodes = ["a", "b"].map(told).into();
        desk.input(Input::Topology(Arc::new(Topology { nodes, ..Topology::default() })));
    };
    tell(&mut desk, &|_| {});
    desk.submit("j", job);
    desk.prepared("a", "j", 1);
    desk.started("a", "j", 1);
    let ails = |gpu: usize, ailment: Ailment| {
        move |machine: &mut Machine| machine.accelerators[gpu].ailments = Some(vec![ailment.clone()])
    };
    tell(&mut desk, &ails(0, Ailment::Recovery("drain and reset the GPU".into())));
    assert_eq!(desk.phase("j"), GangPhase::Running, "what computes there goes on");
    tell(&mut desk, &ails(3, Ailment::Recovery("reset the GPU".into())));
    assert_eq!(desk.phase("j"), GangPhase::Running, "it is no device of the job");
    desk.exited("a", "j", 1, desk::exit(0, ExitStatus::Signal(6), desk.now.0));
    tell(&mut desk, &ails(1, Ailment::Lost("the GPU has fallen off the bus".into())));
    desk.ended("a", "j", 1);
    let restart = desk.events.iter().find_map(|event| match &event.kind {
        EventKind::GangRestarting { cause, .. } => Some(cause.to_string()),
        _ => None,
    });
    let wanted = "device GPU-1-a of node a failed: the GPU has fallen off the bus";
    assert_eq!(restart.as_deref(), Some(wanted), "the rank that ended before followed from it");
    assert_eq!(desk.placed().0, [NodeId::new("b")]);
}

#[test]
fn a_device_that_is_not_there_any_more_has_failed_and_a_driver_that_says_nothing_has_not() {
    let mut desk = told();
    desk.submit("j", with_devices(1, 1));
    desk.prepared("a", "j", 1);
    desk.started("a", "j", 1);
    let tell = |desk: &mut Desk, machine: Machine| {
        let told = Told { machine: Some(Arc::new(machine)), ..Told::default() };
        let nodes = [(NodeId::new("a"), told)].into();
        desk.input(Input::Topology(Arc::new(Topology { nodes, ..Topology::default() })));
    };
    let mut silent = machine();
    silent.accelerators.iter_mut().for_each(|gpu| gpu.uuid = None);
    tell(&mut desk, silent);
    assert_eq!(desk.phase("j"), GangPhase::Running);
    tell(&mut desk, machine());
    let mut fewer = machine();
    fewer.accelerators.remove(0);
    tell(&mut desk, fewer);
    assert_eq!(desk.phase("j"), GangPhase::Stopping);
}
