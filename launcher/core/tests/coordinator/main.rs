//! The coordinator alone, fed by hand: what it orders, records and says, in which order.

mod again;
mod around;
#[path = "../desk/mod.rs"]
mod desk;
mod end;
mod nodes;
mod queue;
mod start;
mod told;

use phalanx_common::spec::{Exclusive, JobSpec};
use phalanx_launcher_core::Config;

use self::desk::{Desk, spec};

fn cluster(nodes: &[&str]) -> Desk {
    Desk::new(Config { cluster: true, ..Config::default() }, nodes)
}

/// So many nodes with a rank each, and nobody else on them.
fn alone(nodes: u32) -> JobSpec {
    let mut alone = spec(nodes, 1);
    alone.placement.exclusive = Exclusive::Node;
    alone
}

/// Why a job waits, as `status` tells it.
fn waits_for(desk: &Desk, name: &str) -> String {
    let id = desk::job(name);
    let view = desk.coordinator.job(&id).expect("a job that was submitted");
    desk.coordinator.job_status(&view).waits_for.unwrap_or_default()
}
