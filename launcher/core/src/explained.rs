//! Why jobs are where they are, and where one would go: for people, without changing anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_common::event::Outcome;
use phalanx_common::explanation::{Explained, Placed, Refused};
use phalanx_common::id::{Generation, JobId, NodeId};
use phalanx_common::spec::JobSpec;
use phalanx_common::time::Timestamp;

use crate::coordinator::Coordinator;
use crate::durable::{GenerationState, Job, JobState, PodPlace};
use crate::placement::explain::{PlannedPod, Proven, explain, explain_refusal, never_fits, strangers};
use crate::placement::gang::place_gang;
use crate::placement::order::Effort;
use crate::placement::refusal::unknown;
use crate::placement::replace::anew;
use crate::placement::request::{GangRequest, NONE_SHUNNED};
use crate::stock::Stock;
use crate::waits::{NEVER, Waits};

/// So many nodes are named in one line.
const NAMED: usize = 4;

/// Where a job would go on nodes that are as they are now.
pub fn plan(stock: &Stock, request: &GangRequest<'_>) -> Explained {
    match place_gang(stock, request, &BTreeMap::new(), &Effort::default()) {
        Ok(gang) => {
            let bindings: Vec<_> = gang.pods.iter().map(|pod| stock.bind(request, &gang, pod)).collect();
            let pods: Vec<PlannedPod<'_>> = gang
                .pods
                .iter()
                .zip(&bindings)
                .map(|(pod, binding)| PlannedPod {
                    node: pod.node,
                    ranks: pod.ranks,
                    binding,
                    inside: pod.inside.as_ref(),
                })
                .collect();
            let proven = Proven { bound: gang.bound, exact: gang.exact };
            match explain(stock, request, &pods, &gang.spares, Some(proven)) {
                Some(mut placed) => {
                    let cost = placed.cost.cost;
                    placed.notes.extend(gang.best.map(|best| {
                        // The order of the network is what unequal pods have else: it is not always better.
                        format!(
                            "nodes are in the dictionary order of their addresses, as Ascend's rank table wants them: \
                             cost {cost}, in the best order found {}",
                            best.min(u128::from(cost))
                        )
                    }));
                    Explained::Placed(Box::new(placed))
                }
                None => refused("its groups make no pods of such sizes"),
            }
        }
        Err(no_fit) => Explained::Refused(explain_refusal(stock, request, &no_fit)),
    }
}

/// The first few of these names.
fn list(names: &[&str]) -> String {
    let named = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn refused(why: &str) -> Explained {
    Explained::Refused(Refused { why: why.to_owned(), ..Refused::default() })
}

/// What there is to know for a question about placement, as it is in this moment: nobody waits for the answer.
#[derive(Clone, Debug)]
pub struct Planning {
    stock: Arc<Stock>,
    /// The same without what a job holds that was started again.
    without: Option<Stock>,
    /// Jobs that wait.
    waiting: usize,
    probes: bool,
    now: Timestamp,
    port_salt: u64,
}

impl Planning {
    /// Where a job would go if it were submitted now. Takes as long as placing it does, and for one that does not fit
    /// as long as placing it in some other ways.
    pub fn plan(&self, spec: &JobSpec, user: Option<&str>) -> Explained {
        let refused = BTreeMap::new();
        let request = self.request(spec, user, &refused);
        let mut explained = plan(&self.stock, &request);
        match &mut explained {
            Explained::Placed(placed) if self.waiting > 0 => {
                let (s, verb) = if self.waiting == 1 { ("", "waits") } else { ("s", "wait") };
                placed.notes.push(format!("{} job{s} {verb} before it", self.waiting));
            }
            Explained::Refused(refused) if never_fits(&self.stock, &request) => {
                refused.notes.push(NEVER.to_owned());
            }
            _ => {}
        }
        explained
    }

    /// What whoever submitted a job should hear at once, if it waits for `waits`: that no end of other jobs lets it in, and that
    /// there are no nodes of these names. `hears`: they hear why it waits anyway.
    pub fn warnings(&self, job: &Job, waits: Option<&Waits>, hears: bool) -> Vec<String> {
        let request = self.request(&job.spec, job.owner.unix_user.as_deref(), &job.refused);
        let placement = &job.spec.placement;
        let is_told = hears && matches!(waits, Some(Waits::Room { .. }));
        let never = match waits {
            Some(Waits::Room { never, .. }) => *never,
            Some(Waits::Behind { .. }) => never_fits(&self.stock, &request),
            Some(Waits::Paused { .. }) | None => false,
        };
        let mut warnings = Vec::new();
        let strangers =
            if is_told { self.stock.strangers(&placement.avoid) } else { strangers(&self.stock, &job.spec) };
        warnings.extend(unknown(&strangers));
        if never && !is_told {
            warnings.push(format!(
                "{NEVER}, and jobs submitted after it wait for it; `phalanx explain` says more"
            ));
        }
        warnings
    }

    /// Why a job is where it is, or nowhere. `waits`: why it waits, if it does.
    pub fn explain(&self, job: &Job, waits: Option<&Waits>) -> Explained {
        if let JobState::Ended(outcome) = &job.state {
            let why = match outcome {
                Outcome::Succeeded => "it is over: it succeeded".to_owned(),
                Outcome::Failed { first_cause, .. } | Outcome::Stopped { first_cause, .. } => {
                    format!("it is over: {}", first_cause.with_node())
                }
            };
            return Explained::Ended { why };
        }
        let request = self.request(&job.spec, job.owner.unix_user.as_deref(), &job.refused);
        if let Some(active) = job.active() {
            return match self.placed(&request, active) {
                Some(placed) => Explained::Placed(Box::new(placed)),
                None => Explained::Runs { why: self.held(active) },
            };
        }
        let mut refused = match waits {
            // What was found when it was tried last, and not what would be found now: one answer wherever somebody asks.
            Some(Waits::Room { no_fit, .. }) => explain_refusal(&self.stock, &request, no_fit),
            Some(Waits::Behind { .. }) => {
                let effort = Effort::default();
                match place_gang(&self.stock, &request, &BTreeMap::new(), &effort) {
                    Ok(_) => Refused::default(),
                    Err(no_fit) => {
                        let mut refused = explain_refusal(&self.stock, &request, &no_fit);
                        refused.notes.push(format!("by itself it does not fit either: {}", refused.why));
                        if never_fits(&self.stock, &request) {
                            refused.notes.push(NEVER.to_owned());
                        }
                        refused
                    }
                }
            }
            Some(Waits::Paused { .. }) => Refused::default(),
            None => return refused("it is about to be placed"),
        };
        if let Some(waits) = waits {
            refused.why = waits.headline();
        }
        Explained::Refused(refused)
    }

    /// What is to be said of a live generation on nodes that are not known.
    fn held(&self, active: &GenerationState) -> String {
        let on: Vec<&str> = active.pods.iter().map(|pod| pod.node.as_str()).collect();
        let is_unknown = |pod: &&PodPlace| self.stock.fabric().row(&pod.node).is_none();
        let unknown: Vec<&str> = active.pods.iter().filter(is_unknown).map(|pod| pod.node.as_str()).collect();
        let verb = if active.running_since.is_some() { "runs" } else { "begins" };
        let of = if unknown.is_empty() { String::new() } else { format!(" of {}", list(&unknown)) };
        format!(
            "it {verb} on {}; nothing is known{of} since the coordinator began, so it is not known what its traffic crosses",
            list(&on)
        )
    }

    /// What the pods of a live generation cost by what is known now; `None`: a node is unknown.
    fn placed(&self, request: &GangRequest<'_>, active: &GenerationState) -> Option<Placed> {
        let row = |node: &NodeId| self.stock.fabric().row(node);
        let pods: Vec<PlannedPod<'_>> = active
            .pods
            .iter()
            .map(|pod| {
                let node = row(&pod.node)?;
                Some(PlannedPod { node, ranks: pod.ranks, binding: &pod.binding, inside: None })
            })
            .collect::<Option<_>>()?;
        let spares: Vec<u32> = active.spares.iter().filter_map(row).collect();
        let mut placed = explain(&self.stock, request, &pods, &spares, None)?;
        let silent: Vec<&str> = active
            .pods
            .iter()
            .zip(&pods)
            .filter(|(_, pod)| self.stock.node(pod.node).is_silent())
            .map(|(place, _)| place.node.as_str())
            .collect();
        if !silent.is_empty() {
            placed.notes.push(format!("nothing was heard of {} since the coordinator began", list(&silent)));
        }
        let on: Vec<_> = pods.iter().map(|pod| (pod.node, pod.ranks)).collect();
        let anew = self.without.as_ref().and_then(|stock| anew(stock, request, &on));
        placed.notes.extend(anew.map(|anew| anew.to_string()));
        Some(placed)
    }

    fn request<'a>(
        &self,
        spec: &'a JobSpec,
        user: Option<&'a str>,
        refused: &'a BTreeMap<NodeId, String>,
    ) -> GangRequest<'a> {
        GangRequest {
            spec,
            user,
            probes: self.probes,
            last: &[],
            spares: &[],
            shun: NONE_SHUNNED,
            refused,
            now: self.now,
            port_salt: self.port_salt,
        }
    }
}

impl Coordinator {
    /// What is known for questions about placement.
    pub fn planning(&self) -> Planning {
        let mut stock = Arc::clone(&self.stock);
        if !stock.is_fresh() {
            Arc::make_mut(&mut stock).refresh(&self.nodes, &self.durable.ledger);
        }
        let waiting = self.jobs().filter(|view| matches!(view.job.state, JobState::Queued { .. })).count();
        Planning {
            stock,
            without: None,
            waiting,
            probes: self.config.cluster,
            now: self.now,
            port_salt: self.config.port_salt,
        }
    }

    /// The same, with a job and why it waits; `None`: there is no such job.
    pub fn planning_of(&self, id: &JobId) -> Option<(Planning, Job, Option<Waits>)> {
        let job = self.durable.jobs.get(id)?;
        let mut planning = self.planning();
        // Only a gang that kept its nodes may be elsewhere than it would be placed.
        if let Some(active) = job.active().filter(|active| active.number > Generation(1)) {
            let held = active.pods.iter().map(|pod| &pod.node).chain(&active.spares);
            planning.without = Some(self.stock.without(&self.nodes, &self.durable.ledger, id, held));
        }
        Some((planning, job.clone(), self.queued_why.get(id).cloned()))
    }
}

#[cfg(test)]
mod tests;
