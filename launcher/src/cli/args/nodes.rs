//! What can be typed of nodes.

use clap::{Args, Subcommand};
use phalanx_common::label;

use super::ClusterArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Label a node, for jobs to choose it by: `phalanx node label n1 pool=a rack-`.
    Label {
        /// The node's id, or the beginning of it.
        node: String,
        /// `NAME=VALUE` sets a label, `NAME-` takes it away; without any the labels are shown.
        #[arg(value_name = "LABEL", value_parser = label_change)]
        changes: Vec<(String, Option<String>)>,
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Keep new pods away from nodes; what runs there goes on.
    ///
    /// `phalanx nodes` shows who did so and why, and so does `phalanx explain` of a job that waits for the node.
    /// It holds until `phalanx node uncordon`, whatever becomes of coordinator and node meanwhile.
    Cordon {
        #[command(flatten)]
        nodes: NodesArgs,
        /// Why, for whoever looks: it stands in every refusal.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Let nodes have pods again, whatever stood against them: a cordon, a quarantine, failures that count.
    Uncordon(NodesArgs),
    /// Keep new pods away from nodes and move their jobs elsewhere, for maintenance.
    ///
    /// Each job with ranks there is stopped, with its grace or the one given, and begins again without these nodes; that
    /// costs no restart. One that fits nowhere else waits, and `phalanx status` says for what. Waits until nothing of any
    /// job is left there. A job with `restartPolicy: Never` runs on to its end, as it is not to begin again: `phalanx
    /// stop` ends it. `phalanx node uncordon` gives the nodes back.
    Drain {
        #[command(flatten)]
        nodes: NodesArgs,
        /// Seconds between SIGTERM and SIGKILL, whatever the jobs say.
        #[arg(long, value_name = "SECONDS")]
        grace: Option<u32>,
        /// Why, for whoever looks: it stands in every refusal.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
        /// Do not wait until the nodes are empty.
        #[arg(long)]
        no_wait: bool,
    },
    /// Let gangs get other nodes again after many were lost at once.
    ///
    /// When more than two nodes and more than 5 % of them were lost within a minute, something that they share is broken:
    /// no gang gets other nodes than it had, and no node is quarantined, until no other was lost for a minute or an
    /// operator says this.
    ResumeReplacement {
        #[command(flatten)]
        cluster: ClusterArgs,
    },
    /// Forget nodes that do not come back: they are listed no more, and their certificates count no more.
    ///
    /// Refused while a node is connected or holds something of a job. To have it again, join it with a new token.
    Forget(NodesArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NodesArgs {
    /// The nodes' names or ids, or unambiguous beginnings of them.
    #[arg(value_name = "NODE", required = true)]
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

fn label_change(text: &str) -> Result<(String, Option<String>), label::Error> {
    match text.strip_suffix('-') {
        Some(name) if label::is_name(name) => Ok((name.to_owned(), None)),
        _ => label::parse(text).map(|(name, value)| (name, Some(value))),
    }
}
