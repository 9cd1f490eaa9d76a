//! Arrivals of a stated load, made from a trace.
//!
//! A trace is of another cluster, mostly a smaller one. It is laid over itself as often as the load takes, each copy shifted by a
//! random time and wrapped round at the end of the trace: bursts, days and weeks stay, as do durations, while
//! copies do not burst together. What is left between a whole number of copies and the stated load is closed by
//! stretching the times between arrivals, by less than one copy in all.

use super::cluster::Ask;
use super::random::Draws;

/// A job of a trace. Times are seconds from any moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    pub submitted: u64,
    pub duration: u64,
    pub gpus: u32,
}

/// How much of the cluster is asked for, and for how long that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// GPU-seconds asked for per second, in percent of the cluster's GPUs.
    pub load_percent: u32,
    pub nodes: u32,
    pub gpus_per_node: u32,
    /// Seconds that are measured, after the warm-up.
    pub measured: u64,
    /// No more arrivals than this.
    pub most: usize,
    pub seed: u64,
}

/// A gang that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// Seconds from the start.
    pub at: u64,
    pub duration: u64,
    pub ask: Ask,
}

/// What arrives, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub arrivals: Vec<Arrival>,
    /// What arrives earlier, in seconds, fills the cluster and is not measured: twice the longest job, after
    /// which no running gang knows that the cluster was empty once.
    pub warm_up: u64,
    /// Nothing arrives from here on.
    pub end: u64,
    /// How often the trace was laid over itself.
    pub copies: u64,
    /// Times between arrivals of a copy, in thousandths of those of the trace.
    pub stretch_permille: u64,
    /// Jobs of the trace that are larger than the cluster, and left out.
    pub too_large: usize,
}

/// Why a trace makes no workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a load is from 1 to 100 percent of the cluster, not {0}")]
    Load(u32),
    #[error(
        "the trace has no job that the cluster of {nodes} nodes could take and that uses a GPU for some time"
    )]
    Nothing { nodes: u32 },
    #[error(
        "the load takes about {jobs} jobs, of which the bound allows {most}: measure fewer days, or raise the bound"
    )]
    TooMany { jobs: u128, most: usize },
}

impl Workload {
    /// The same demand and trace are the same arrivals.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(jobs: &[Job], demand: &Demand) -> Result<Workload, Error> {
        if !(1..=100).contains(&demand.load_percent) {
            return Err(Error::Load(demand.load_percent));
        }
        let ask = |job: &Job| Ask::of(job.gpus, demand.gpus_per_node);
        let fits = |job: &&Job| job.gpus > 0 && ask(job).nodes <= demand.nodes;
        let taken: Vec<&Job> = jobs.iter().filter(fits).collect();
        let work: u128 =
            taken.iter().map(|job| u128::from(ask(job).all_gpus()) * u128::from(job.duration)).sum();
        let nothing = Error::Nothing { nodes: demand.nodes };
        let first = taken.iter().map(|job| job.submitted).min().ok_or(nothing)?;
        let last = taken.iter().map(|job| job.submitted).max().ok_or(nothing)?;
        let longest = taken.iter().map(|job| job.duration).max().ok_or(nothing)?;
        // A job at the very end is followed by the first one a second later.
        let span = u128::from(last - first) + 1;
        let capacity = u128::from(demand.nodes) * u128::from(demand.gpus_per_node.max(1));
        let per_second = capacity * u128::from(demand.load_percent);
        if work == 0 || per_second == 0 {
            return Err(nothing);
        }
        let copies = (per_second * span).div_ceil(work * 100).max(1);
        // In which time so many copies are the load.
        let period = (copies * work * 100).div_ceil(per_second).max(1);
        let warm_up = longest.saturating_mul(2);
        let end = warm_up.saturating_add(demand.measured.max(1));
        let expected = copies * taken.len() as u128 * u128::from(end).div_ceil(period);
        let about = copies * taken.len() as u128 * u128::from(end) / period;
        // A short part of a long period has fewer than `expected`; what is looked at is bounded, too.
        if about > demand.most as u128 || copies * taken.len() as u128 > 16 * demand.most as u128 {
            return Err(Error::TooMany { jobs: about.max(expected.min(about * 2)), most: demand.most });
        }
        let mut draws = Draws::new(demand.seed);
        let mut arrivals = Vec::with_capacity(usize::try_from(about).unwrap_or(0));
        for _ in 0..copies {
            let shift = u128::from(draws.below(u64::try_from(span).unwrap_or(u64::MAX)));
            for job in &taken {
                let place = (u128::from(job.submitted - first) + shift) % span;
                let mut at = u64::try_from(place * period / span).unwrap_or(u64::MAX);
                while at < end {
                    arrivals.push(Arrival { at, duration: job.duration.max(1), ask: ask(job) });
                    at = at.saturating_add(u64::try_from(period).unwrap_or(u64::MAX));
                }
            }
        }
        arrivals.sort_unstable();
        Ok(Workload {
            arrivals,
            warm_up,
            end,
            copies: u64::try_from(copies).unwrap_or(u64::MAX),
            stretch_permille: u64::try_from(period * 1000 / span).unwrap_or(u64::MAX),
            too_large: jobs.len() - taken.len(),
        })
    }

    /// GPU-seconds per second that arrive while it is measured.
    pub fn offered(&self) -> f64 {
        let measured = self.arrivals.iter().filter(|arrival| arrival.at >= self.warm_up);
        let work: u128 =
            measured.map(|arrival| u128::from(arrival.ask.all_gpus()) * u128::from(arrival.duration)).sum();
        work as f64 / (self.end - self.warm_up).max(1) as f64
    }
}
