//! What a user asks for: the job, resolved and checked.

mod job;

pub use job::{JobSpec, Keep, OutputMode, OutputSpec, StopScope};
