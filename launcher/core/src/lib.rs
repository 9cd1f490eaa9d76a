//! The deciding half of the coordinator, without a runtime.
//!
//! [`Coordinator`] is one state machine: inputs and time go in, commands, events and deadlines come out.
//!
//! ```text
//! handle(now, Input) ---> reports, reconcile, stop, queue ---> commands: Persist(Record), Send{node, Order}
//! handle_timeout(now) -->   (decide)                      ---> events, for people
//!                               |
//!                               v
//!                       Durable::apply(&Record) <--- replay of stored records
//! ```
//!
//! What must survive a restart is in [`Durable`] and changes by records alone. What can be learnt anew
//! from the nodes (connections, phases of pods, deadlines) is in [`Gang`](gang::Gang) and
//! [`Nodes`](nodes::Nodes), and is rebuilt from the Hello of every worker.

pub mod access;
mod clients;
mod coordinator;
mod durable;
mod ending;
mod evidence;
mod explained;
mod forgetting;
pub mod gang;
mod in_place;
mod input;
mod ledger;
mod meeting;
pub mod nodes;
pub mod placement;
mod probes;
mod queue;
mod readiness;
mod reconcile;
pub mod records;
mod reports;
pub mod restart;
pub mod simulate;
pub mod stock;
pub mod survey;
#[cfg(test)]
mod testing;
mod timers;
mod views;
mod waits;

pub use coordinator::{Coordinator, JobView};
pub use durable::{Durable, GenerationState, Job, JobState, PodPlace, StopRequest};
pub use evidence::{Evidence, MAX_ALSO};
pub use explained::{Planning, plan};
pub use input::{Command, Config, Input, Why};
pub use ledger::Ledger;
pub use nodes::standing::Standing;
pub use nodes::wishes::Wish;
pub use records::Record;
pub use waits::Waits;
