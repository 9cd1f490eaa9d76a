//! `phalanx node drain`: waits until nothing of any job is left on the nodes, and says what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phalanx_common::id::{JobId, NodeId};
use phalanx_common::status::{JobStatus, NodeStatus};
use phalanx_common::wire::client_v1::{NodeWish, Request};

use super::super::args::NodesArgs;
use super::super::cluster::{Purpose, need_identity, on_event_loop};
use super::super::{Exit, print};
use crate::remote::Client;

/// So often the coordinator is asked how far it is: people read it.
const LOOK: Duration = Duration::from_millis(500);
/// A job that runs on for so long is not to be moved: one that is, is stopped at once.
const RUNS_ON: u32 = 4;

pub(super) fn drain(
    args: &NodesArgs,
    grace: Option<u32>,
    reason: String,
    no_wait: bool,
) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Administer)?;
    let wish = NodeWish::Drain { reason, grace_ms: grace.map(|seconds| u64::from(seconds) * 1000) };
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        let mut waiting = Waiting::default();
        for node in &args.nodes {
            let request = Request::Node { node: node.clone(), wish: wish.clone() };
            let status: NodeStatus = client.document(&request).await?;
            print(&format!("{} is cordoned, and its jobs go elsewhere\n", status.node))?;
            waiting.nodes.insert(status.node);
        }
        while !no_wait && !waiting.nodes.is_empty() {
            let nodes: Vec<NodeStatus> = client.document(&Request::Nodes).await?;
            let jobs: Vec<JobStatus> = client.document(&Request::Jobs { ended: false }).await?;
            for line in waiting.look(&nodes, &jobs) {
                print(&format!("{line}\n"))?;
            }
            if !waiting.nodes.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
        client.close().await;
        Ok(Exit::Success)
    })
}

/// What is left, and what was said of it last.
#[derive(Debug, Default)]
struct Waiting {
    nodes: BTreeSet<NodeId>,
    /// Jobs that were on the nodes, with what was said of them last and how often they were seen running.
    jobs: BTreeMap<JobId, (String, u32)>,
}

impl Waiting {
    /// What there is to say by now.
    fn look(&mut self, nodes: &[NodeStatus], jobs: &[JobStatus]) -> Vec<String> {
        let mut lines = Vec::new();
        let here = |node: &&NodeStatus| self.nodes.contains(&node.node);
        let mut left: BTreeMap<&JobId, &NodeId> = BTreeMap::new();
        for node in nodes.iter().filter(here) {
            left.extend(node.jobs.iter().map(|job| (job, &node.node)));
        }
        for job in left.keys() {
            self.jobs.entry((*job).clone()).or_default();
        }
        for (id, (said, runs)) in &mut self.jobs {
            let Some(job) = jobs.iter().find(|job| job.job == *id) else { continue };
            let now = match left.get(id) {
                Some(node) if job.phase == "running" => {
                    *runs += 1;
                    if *runs < RUNS_ON {
                        continue;
                    }
                    format!(
                        "{id} runs on, on {node}, as it is not to begin again (restartPolicy: Never); `phalanx stop {id}` ends it"
                    )
                }
                Some(node) => format!("{id} is {} on {node}", job.phase),
                None => match &job.waits_for {
                    Some(why) => format!("{id} waits: {why}"),
                    None if job.phase == "queued" => continue,
                    None => {
                        let nodes: Vec<&str> = job.pods.iter().map(|pod| pod.node.as_str()).collect();
                        format!("{id} is on {}", nodes.join(", "))
                    }
                },
            };
            if *said != now {
                lines.push(now.clone());
                *said = now;
            }
        }
        let is_left = |id: &NodeId| nodes.iter().any(|node| node.node == *id && !node.jobs.is_empty());
        self.nodes.retain(|node| {
            let left = is_left(node);
            if !left {
                lines.push(format!("{node} is drained: nothing of any job is left there"));
            }
            left
        });
        lines
    }
}
