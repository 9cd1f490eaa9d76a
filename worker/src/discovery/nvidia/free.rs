//! GPUs that ranks can have.

use std::ffi::OsString;

use super::read::{Board, Error};

/// The GPUs of a machine, by their indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Free {
    /// Those that ranks can have.
    pub gpus: Vec<u32>,
    /// Those that others compute on, each with one of their processes.
    pub taken: Vec<(u32, u32)>,
    /// Those that do not answer.
    pub lost: Vec<u32>,
}

/// Counts them. `is_ours` says whether a process belongs to us and so takes a GPU from nobody; processes that
/// only draw do not count.
///
/// # Errors
/// No driver, or one that does not answer.
pub fn free_gpus(library: Option<OsString>, is_ours: impl Fn(u32) -> bool) -> Result<Free, Error> {
    let mut free = Free::default();
    Board::open(library)?.each(|index, device| {
        let Ok(device) = device else { return free.lost.push(index) };
        // Without an answer nobody is known to compute on it.
        let processes = device.running_compute_processes().unwrap_or_default();
        match processes.iter().map(|process| process.pid).find(|pid| !is_ours(*pid)) {
            Some(pid) => free.taken.push((index, pid)),
            None => free.gpus.push(index),
        }
    })?;
    Ok(free)
}
