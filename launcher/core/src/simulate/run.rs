//! The loop: from one end or arrival to the next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::cluster::Cluster;
use super::outcome::{Gang, Outcome, Sample};
use super::policy::Policy;
use super::workload::Workload;
use crate::placement::fabric::{Fabric, NodeRow};

/// Moments at which the cluster is looked at.
const SAMPLES: u64 = 500;

/// What the policy makes of the workload on a cluster that is empty at first. Ends with the last measured gang's start.
pub fn simulate(fabric: &Fabric, per_node: u32, workload: &Workload, policy: &mut dyn Policy) -> Outcome {
    let mut run = Run {
        workload,
        cluster: Cluster::new(fabric, per_node),
        now: 0,
        queue: VecDeque::new(),
        ends: BinaryHeap::new(),
        held: vec![Vec::new(); workload.arrivals.len()],
        in_use: 0,
        blocked: false,
        outcome: Outcome {
            gangs: Vec::new(),
            stuck: 0,
            wrong: 0,
            samples: Vec::new(),
            decisions: 0,
            busy: 0,
            capacity: 0,
        },
    };
    run.play(policy);
    run.outcome
}

struct Run<'a> {
    workload: &'a Workload,
    cluster: Cluster<'a>,
    now: u64,
    /// Rows of arrivals.
    queue: VecDeque<usize>,
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    /// For each arrival what it holds, by node.
    held: Vec<Vec<(NodeRow, u32)>>,
    in_use: u64,
    /// The head of the queue did not fit, and nothing was given back since.
    blocked: bool,
    outcome: Outcome,
}

impl Run<'_> {
    fn play(&mut self, policy: &mut dyn Policy) {
        let &Workload { warm_up, end, .. } = self.workload;
        self.outcome.capacity = u128::from(self.cluster.gpus()) * u128::from(end - warm_up);
        let mut next = 0;
        let mut samples = (0..SAMPLES).map(|at| warm_up + (end - warm_up) * at / SAMPLES).peekable();
        loop {
            let arrival = self.workload.arrivals.get(next).map(|arrival| arrival.at);
            let done = self.ends.peek().map(|Reverse((at, _))| *at);
            let Some(at) = arrival.into_iter().chain(done).min() else { break };
            while let Some(sample) = samples.next_if(|sample| *sample < at) {
                self.sample(sample);
            }
            self.pass(at);
            while let Some(Reverse((_, row))) =
                self.ends.peek().filter(|Reverse((end, _))| *end == at).copied()
            {
                self.ends.pop();
                self.end(row);
            }
            while self.workload.arrivals.get(next).is_some_and(|arrival| arrival.at == at) {
                self.queue.push_back(next);
                next += 1;
            }
            self.start(policy);
            if next == self.workload.arrivals.len() && self.queue.is_empty() && at >= end {
                break;
            }
        }
        for sample in samples {
            self.sample(sample);
        }
        self.pass(end.max(self.now));
        self.outcome.stuck = self.queue.iter().filter(|row| self.is_measured(**row)).count();
    }

    fn is_measured(&self, row: usize) -> bool {
        self.workload.arrivals[row].at >= self.workload.warm_up
    }

    /// Moves on to a later moment.
    fn pass(&mut self, at: u64) {
        let within = |at: u64| at.clamp(self.workload.warm_up, self.workload.end);
        let passed = within(at) - within(self.now);
        self.outcome.busy += u128::from(self.in_use) * u128::from(passed);
        self.now = at;
    }

    fn end(&mut self, row: usize) {
        for (node, gpus) in std::mem::take(&mut self.held[row]) {
            self.cluster.give_back(node, gpus);
            self.in_use -= u64::from(gpus);
        }
        self.blocked = false;
    }

    /// Starts the head of the queue as long as it fits.
    fn start(&mut self, policy: &mut dyn Policy) {
        while let Some(&row) = self.queue.front().filter(|_| !self.blocked) {
            let arrival = &self.workload.arrivals[row];
            self.outcome.decisions += 1;
            let Some(nodes) = policy.choose(&self.cluster, &arrival.ask) else {
                self.blocked = true;
                return;
            };
            self.queue.pop_front();
            if !self.cluster.has(&arrival.ask, &nodes) {
                self.outcome.wrong += 1;
                continue;
            }
            if self.is_measured(row) {
                self.outcome.gangs.push(Gang::new(&self.cluster, policy, arrival, self.now, &nodes));
            }
            for node in nodes {
                if self.cluster.take(node, arrival.ask.gpus) {
                    self.in_use += u64::from(arrival.ask.gpus);
                    self.held[row].push((node, arrival.ask.gpus));
                }
            }
            self.ends.push(Reverse((self.now + arrival.duration, row)));
        }
    }

    fn sample(&mut self, at: u64) {
        let head = self.queue.front().map(|row| &self.workload.arrivals[*row]);
        self.outcome.samples.push(Sample::of(&self.cluster, at, self.queue.len(), head));
    }
}
