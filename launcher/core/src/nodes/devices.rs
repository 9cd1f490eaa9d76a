//! Devices that fail under a job. A node tells of its devices each time it looks; one that the driver wants to reset before it is
//! used again, or that is not there any more, ends the generation that has it.

use phalanx_common::event::Cause;
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::plan::BoundDevice;
use phalanx_common::topology::machine::{Accelerator, Machine};

use crate::coordinator::Coordinator;
use crate::evidence::Evidence;
use crate::stock::Topology;

impl Coordinator {
    /// The nodes told something new. `before`: what was known.
    pub(crate) fn end_with_devices(&mut self, before: &Topology) {
        let jobs: Vec<JobId> = self.gangs.keys().cloned().collect();
        for job in jobs {
            if let Some(cause) = self.failed_device(&job, before) {
                self.fail(&job, Evidence::new(cause, self.now));
            }
        }
    }

    /// The first of the job's devices, by its ranks, that has failed.
    fn failed_device(&self, job: &JobId, before: &Topology) -> Option<Cause> {
        let active = self.durable.jobs.get(job)?.active()?;
        active.pods.iter().find_map(|place| {
            let now = machine(self.stock.topology(), &place.node)?;
            let before = machine(before, &place.node);
            place.binding.devices.iter().find_map(|bound| {
                let what = what_failed(bound, now, before)?;
                let device = bound.uuid.clone().unwrap_or_else(|| bound.index.to_string());
                Some(Cause::DeviceFailed { node: place.node.clone(), device, what })
            })
        })
    }
}

fn machine<'a>(topology: &'a Topology, node: &NodeId) -> Option<&'a Machine> {
    topology.nodes.get(node)?.machine.as_deref()
}

/// What the driver says of a device that cannot go on.
fn what_failed(device: &BoundDevice, now: &Machine, before: Option<&Machine>) -> Option<String> {
    match find(device, now) {
        Some(found) => {
            let mut ailments = found.ailments.iter().flatten();
            ailments.find(|ailment| ailment.ends_work()).map(ToString::to_string)
        }
        // A driver that says nothing of any of them says nothing of this one.
        None if now.accelerators.iter().all(|other| other.uuid.is_none()) => None,
        None => before.and_then(|before| find(device, before)).map(|_| "it is not there any more".to_owned()),
    }
}

/// The device, or that of which it is a slice.
fn find<'a>(device: &BoundDevice, machine: &'a Machine) -> Option<&'a Accelerator> {
    let uuid = device.uuid.as_ref()?;
    machine.accelerators.iter().find(|it| {
        it.uuid.as_ref() == Some(uuid) || it.slices.iter().any(|slice| slice.uuid.as_ref() == Some(uuid))
    })
}
