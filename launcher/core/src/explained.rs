//! Why jobs are where they are, and where one would go: for people, without changing anything.

use std::collections::BTreeMap;

use phalanx_common::event::Outcome;
use phalanx_common::explanation::{Explained, Placed, Refused};
use phalanx_common::id::{JobId, NodeId};
use phalanx_common::spec::JobSpec;

use crate::coordinator::Coordinator;
use crate::durable::{Job, JobState};
use crate::placement::explain::{PlannedPod, Proven, explain, explain_refusal};
use crate::placement::gang::place_gang;
use crate::placement::order::Effort;
use crate::placement::request::GangRequest;
use crate::stock::Stock;

/// Where a job would go on nodes that are as they are now.
pub fn plan(stock: &Stock, request: &GangRequest<'_>) -> Explained {
    match place_gang(stock, request, &BTreeMap::new(), &Effort::default()) {
        Ok(gang) => {
            let bindings: Vec<_> = gang.pods.iter().map(|pod| stock.bind(request, &gang, pod)).collect();
            let pods: Vec<PlannedPod<'_>> = gang
                .pods
                .iter()
                .zip(&bindings)
                .map(|(pod, binding)| PlannedPod { node: pod.node, ranks: pod.ranks, binding })
                .collect();
            let proven = Proven { bound: gang.bound, exact: gang.exact };
            match explain(stock, request, &pods, &gang.spares, Some(proven)) {
                Some(placed) => Explained::Placed(Box::new(placed)),
                None => refused("its groups make no pods of such sizes"),
            }
        }
        Err(no_fit) => Explained::Refused(explain_refusal(stock, request, &no_fit)),
    }
}

fn refused(why: &str) -> Explained {
    Explained::Refused(Refused { why: why.to_owned(), ..Refused::default() })
}

impl Coordinator {
    /// Where a job would go if it were submitted now.
    pub fn plan_job(&self, spec: &JobSpec, user: Option<&str>) -> Explained {
        let stock = self.current_stock();
        let refused = BTreeMap::new();
        let request = GangRequest {
            spec,
            user,
            probes: self.config.cluster,
            last: &[],
            spares: &[],
            shun: None,
            refused: &refused,
            now: self.now,
            port_salt: self.config.port_salt,
        };
        let mut explained = plan(&stock, &request);
        let ahead = self.jobs().filter(|view| matches!(view.job.state, JobState::Queued { .. })).count();
        if let (Explained::Placed(placed), true) = (&mut explained, ahead > 0) {
            placed.notes.push(format!("{ahead} job{} wait before it", if ahead == 1 { "" } else { "s" }));
        }
        explained
    }

    /// Why a job is where it is, or nowhere; `None`: there is no such job.
    pub fn explain_job(&self, id: &JobId) -> Option<Explained> {
        let job = self.durable.jobs.get(id)?;
        if let JobState::Ended(outcome) = &job.state {
            let why = match outcome {
                Outcome::Succeeded => "it is over: it succeeded".to_owned(),
                Outcome::Failed { first_cause, .. } => format!("it is over: {}", first_cause.with_node()),
                Outcome::Stopped { first_cause, .. } => format!("it is over: {}", first_cause.with_node()),
            };
            return Some(Explained::Ended { why });
        }
        let stock = self.current_stock();
        let last: Vec<(NodeId, u32)> = Vec::new();
        let request = self.request(job, &last);
        Some(match self.placed(&stock, &request, job) {
            Some(placed) => Explained::Placed(Box::new(placed)),
            None => match plan(&stock, &request) {
                // It fits, and something else is in its way.
                Explained::Placed(_) => {
                    let why = self.queued_why.get(id).cloned();
                    refused(&why.unwrap_or_else(|| "it is about to be placed".to_owned()))
                }
                other => other,
            },
        })
    }

    /// What the pods of a live generation cost by what is known now; `None`: it has none, or a node is unknown.
    fn placed(&self, stock: &Stock, request: &GangRequest<'_>, job: &Job) -> Option<Placed> {
        let active = job.active()?;
        let row = |node: &NodeId| stock.fabric().row(node);
        let pods: Vec<PlannedPod<'_>> = active
            .pods
            .iter()
            .map(|pod| Some(PlannedPod { node: row(&pod.node)?, ranks: pod.ranks, binding: &pod.binding }))
            .collect::<Option<_>>()?;
        let spares: Vec<u32> = active.spares.iter().filter_map(row).collect();
        explain(stock, request, &pods, &spares, None)
    }

    fn current_stock(&self) -> Stock {
        let mut stock = self.stock.clone();
        stock.refresh(&self.nodes, &self.durable.ledger);
        stock
    }
}
