//! What pods hold of their nodes, as the next job finds it.
#![allow(clippy::unwrap_used, reason = "helpers of tests end where something is wrong")]

#[allow(dead_code, reason = "other tests use the rest")]
mod desk;

use std::sync::Arc;

use desk::{Desk, job, spec};
use phalanx_common::id::NodeId;
use phalanx_common::spec::{CpuBinding, DeviceKind, DeviceNeeds, Exclusive, JobSpec};
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind, CpuSet, Machine};
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
