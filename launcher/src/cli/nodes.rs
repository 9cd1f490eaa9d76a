//! `phalanx nodes` and `phalanx node`: what nodes there are, and what operators want of them.

mod drain;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use phalanx_common::status::NodeStatus;
use phalanx_common::wire::client_v1::{NodeWish, Request};

use super::admin::{administer, documents};
use super::args::{ListArgs, NodeCommand, NodesArgs};
use super::cluster::{Purpose, ago, document, left, need_identity, on_event_loop, table};
use super::{Exit, pretty, print};
use crate::driver::wall;
use crate::remote::Client;

/// `phalanx nodes`.
pub(super) fn nodes(args: &ListArgs) -> anyhow::Result<Exit> {
    let nodes: Vec<NodeStatus> = document(&args.cluster, &Request::Nodes)?;
    if args.json {
        return print(&pretty(&nodes));
    }
    if nodes.is_empty() {
        return print("no nodes; `phalanx token create` prints the line that joins one\n");
    }
    let rows = nodes.iter().map(|node| {
        vec![
            node.node.to_string(),
            state(node),
            node.address.map(|address| address.to_string()).unwrap_or_default(),
            format!("{}/{}", node.slots_used, node.slots),
            node.cores.to_string(),
            node.user.clone().unwrap_or_else(|| "all".to_owned()),
            node.version.clone(),
            node.certificate_expires.map(|at| left(at, wall())).unwrap_or_default(),
            node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(","),
        ]
    });
    let header = ["NODE", "STATE", "ADDRESS", "RANKS", "CORES", "USERS", "VERSION", "CERTIFICATE", "LABELS"];
    let mut text = table(&header, rows);
    for node in &nodes {
        if let Some(why) = &node.closed {
            let _ = writeln!(text, "{} is {why}", node.node);
        }
    }
    print(&text)
}

/// `ready`, `unreachable 3m`, and what keeps pods away in one word.
fn state(node: &NodeStatus) -> String {
    let link = match node.unreachable_since {
        _ if node.reachable => "ready".to_owned(),
        Some(since) => format!("unreachable {}", ago(wall().since(since))),
        None => "unreachable".to_owned(),
    };
    let closed = match &node.closed {
        Some(_) if node.draining && node.jobs.is_empty() => ", drained".to_owned(),
        Some(_) if node.draining => ", draining".to_owned(),
        Some(why) => format!(", {}", why.split([' ', ':']).next().unwrap_or_default()),
        None => String::new(),
    };
    link + &closed
}

/// `phalanx node`.
pub(super) fn node(command: NodeCommand) -> anyhow::Result<Exit> {
    match command {
        NodeCommand::Label { node, changes, cluster } => {
            let labels: BTreeMap<String, String> =
                documents(&cluster, &Request::Label { node: node.clone(), changes })?;
            if labels.is_empty() {
                return print(&format!("{node} has no labels\n"));
            }
            print(&labels.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>())
        }
        NodeCommand::Cordon { nodes, reason } => {
            wish(&nodes, &NodeWish::Cordon { reason }, |node| match node.jobs.len() {
                0 => format!("{} is cordoned: it gets no pods", node.node),
                _ => format!("{} is cordoned: it gets no new pods, what runs there goes on", node.node),
            })
        }
        NodeCommand::Uncordon(nodes) => {
            wish(&nodes, &NodeWish::Uncordon, |node| format!("{} gets pods again", node.node))
        }
        NodeCommand::Drain { nodes, grace, reason, no_wait } => drain::drain(&nodes, grace, reason, no_wait),
        NodeCommand::ResumeReplacement { cluster } => {
            let said = "gangs get other nodes again than they had\n";
            administer(&cluster, &Request::ResumeReplacement, said)
        }
        NodeCommand::Forget(nodes) => forget(&nodes),
    }
}

/// Asks the same of each node, and says what became of it.
fn wish(args: &NodesArgs, wish: &NodeWish, said: impl Fn(&NodeStatus) -> String) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Administer)?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        for node in &args.nodes {
            let request = Request::Node { node: node.clone(), wish: wish.clone() };
            let status: NodeStatus = client.document(&request).await?;
            print(&format!("{}\n", said(&status)))?;
        }
        client.close().await;
        Ok(Exit::Success)
    })
}

fn forget(args: &NodesArgs) -> anyhow::Result<Exit> {
    let identity = need_identity(&args.cluster, Purpose::Administer)?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        for node in &args.nodes {
            client.done(&Request::Node { node: node.clone(), wish: NodeWish::Forget }).await?;
            print(&format!("{node} is forgotten; to have it again, join it with a new token\n"))?;
        }
        client.close().await;
        Ok(Exit::Success)
    })
}
