//! One topology stream: what a node tells comes in, in parts where it is large; what it is asked goes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use phalanx_common::id::NodeId;
use phalanx_common::label;
use phalanx_common::topology::machine::{CpuSet, CpuSetError, Machine};
use phalanx_common::wire::topology_v1::{FromNode, Policy, ToNode};
use phalanx_formats::ibnetdiscover;
use phalanx_net::frames::{self, Receiving, Sending};
use tokio::sync::mpsc;

use crate::cluster::surveys::{ASKS_QUEUED, Message, Said, Surveys};
use crate::driver::wall;
use crate::topo::plain;

/// A machine with a thousand devices has a megabyte.
const LARGEST_MACHINE: usize = 8 << 20;
// Many times what the largest machines have; who looks at machines compares devices with each other.
const MOST_ACCELERATORS: usize = 1024;
const MOST_LINKS: usize = 65_536;
/// Virtual functions are ports too.
const MOST_PORTS: usize = 4096;
const MOST_PATHS: usize = 4096;
const MOST_PCI: usize = 65_536;

/// What a node said makes no sense.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Stream(#[from] frames::Error),
    #[error("a machine of more than {LARGEST_MACHINE} bytes")]
    LargeMachine,
    #[error("no machine of this version: {0}")]
    Machine(#[source] serde_json::Error),
    #[error("a machine of {has} {what}, and at most {most} are taken")]
    Devices { what: &'static str, has: usize, most: usize },
    #[error("labels that are none: {0}")]
    Labels(#[from] label::Error),
    #[error("reserved CPUs that are no list: {0}")]
    Reserved(#[from] CpuSetError),
    #[error("a fabric that it was not asked for, or more than {} bytes of one", ibnetdiscover::MAX_BYTES)]
    Fabric,
    #[error("the coordinator ends")]
    Ending,
}

/// Takes what this node tells until its stream ends.
pub(super) async fn serve(surveys: Surveys, node: NodeId, send: Sending, frames: Receiving) {
    let (asks, asked) = mpsc::channel(ASKS_QUEUED);
    let stream = surveys.stream();
    if !surveys.tell(Message::Linked { node: node.clone(), stream, asks }).await {
        return;
    }
    let mut talk =
        Talk { surveys: &surveys, node: &node, stream, machine: Vec::new(), fabrics: BTreeMap::new() };
    match talk.run(send, frames, asked).await {
        Err(Error::Stream(error)) => {
            tracing::debug!(%node, error = &error as &dyn std::error::Error, "a topology stream ended");
        }
        Err(Error::Ending) | Ok(()) => {}
        Err(error) => tracing::warn!(%node, %error, "a node told of its topology what makes no sense"),
    }
}

struct Talk<'a> {
    surveys: &'a Surveys,
    node: &'a NodeId,
    stream: u64,
    /// Parts that came so far.
    machine: Vec<u8>,
    /// The same of fabrics that this node was asked for.
    fabrics: BTreeMap<u64, Vec<u8>>,
}

impl Talk<'_> {
    /// `Ok` when the owner of the survey has another stream of this node.
    async fn run(
        &mut self,
        mut send: Sending,
        mut frames: Receiving,
        mut asked: mpsc::Receiver<ToNode>,
    ) -> Result<(), Error> {
        loop {
            tokio::select! {
                told = frames.read::<FromNode>() => self.on_told(told?).await?,
                ask = asked.recv() => match ask {
                    Some(ask) => self.on_ask(&ask, &mut send).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn on_ask(&mut self, ask: &ToNode, send: &mut Sending) -> Result<(), Error> {
        if let ToNode::TellFabric { subnet } = ask {
            self.fabrics.entry(*subnet).or_default();
        }
        Ok(send.write(ask).await?)
    }

    async fn on_told(&mut self, told: FromNode) -> Result<(), Error> {
        let said = match told {
            FromNode::Machine { part, last } => {
                if self.machine.len() + part.0.len() > LARGEST_MACHINE {
                    return Err(Error::LargeMachine);
                }
                self.machine.extend_from_slice(&part.0);
                if !last {
                    return Ok(());
                }
                let text = std::mem::take(&mut self.machine);
                // Elsewhere: it may be megabytes of what is no machine.
                let read = tokio::task::spawn_blocking(move || machine(&text)).await;
                Said::Machine(Arc::new(read.map_err(|_| Error::Ending)??))
            }
            FromNode::Fabric { subnet, part, last } => {
                let bytes = self.fabrics.get_mut(&subnet).ok_or(Error::Fabric)?;
                if bytes.len() + part.0.len() > ibnetdiscover::MAX_BYTES {
                    return Err(Error::Fabric);
                }
                bytes.extend_from_slice(&part.0);
                if !last {
                    return Ok(());
                }
                let dump = std::mem::take(bytes);
                let Some(said) = self.fabric(subnet, dump).await else { return Ok(()) };
                said
            }
            FromNode::Policy(policy) => {
                check(&policy)?;
                Said::Other(FromNode::Policy(policy))
            }
            other => Said::Other(other),
        };
        let told = Message::Said { node: self.node.clone(), stream: self.stream, said };
        if self.surveys.tell(told).await { Ok(()) } else { Err(Error::Ending) }
    }

    /// `None` for a dump that cannot be read, which is said.
    async fn fabric(&self, subnet: u64, dump: Vec<u8>) -> Option<Said> {
        let origin = format!("ibnetdiscover on {}", self.node);
        let read = move || {
            let mut evidence = ibnetdiscover::read(&dump)?.evidence(&origin, wall());
            // The survey compares it with what was told before.
            evidence.sort();
            Ok::<_, ibnetdiscover::Error>(evidence)
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(evidence)) => Some(Said::Fabric { subnet, evidence }),
            Ok(Err(error)) => {
                tracing::warn!(node = %self.node, %error, "a fabric cannot be read");
                None
            }
            Err(_) => None,
        }
    }
}

/// Operators and their jobs' owners read them.
fn check(policy: &Policy) -> Result<(), Error> {
    label::check(&policy.labels)?;
    policy.reserved_cpus.parse::<CpuSet>()?;
    Ok(())
}

fn machine(text: &[u8]) -> Result<Machine, Error> {
    let machine = plain::machine(text).map_err(Error::Machine)?;
    let links = machine.accelerators.iter().map(|it| it.links.len() + it.slices.len()).sum();
    for (what, has, most) in [
        ("accelerators", machine.accelerators.len(), MOST_ACCELERATORS),
        ("links and slices of accelerators", links, MOST_LINKS),
        ("network ports", machine.nics.len(), MOST_PORTS),
        ("paths", machine.told.len(), MOST_PATHS),
        ("PCI devices", machine.pci.len(), MOST_PCI),
    ] {
        if has > most {
            return Err(Error::Devices { what, has, most });
        }
    }
    Ok(machine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx_common::topology::machine::{Accelerator, AcceleratorKind};

    #[test]
    fn a_machine_is_read_without_what_a_terminal_would_obey() {
        let read = machine(br#"{"host": "a\u001b[2Jb", "accelerators": []}"#).unwrap();
        assert_eq!(read.host.as_deref(), Some("a[2Jb"));
        assert!(matches!(machine(b"{\"host\": 7}"), Err(Error::Machine(_))));
        assert!(matches!(machine(b"{"), Err(Error::Machine(_))));
    }

    #[test]
    fn what_an_operator_wants_of_a_node_is_labels_and_cpus() {
        let policy = |value: &str, cpus: &str| Policy {
            labels: vec![("pool".to_owned(), value.to_owned())],
            reserved_cpus: cpus.to_owned(),
            ..Policy::default()
        };
        assert!(check(&Policy::default()).is_ok() && check(&policy("a", "0-1,64")).is_ok());
        assert!(matches!(check(&policy("\u{1b}[2J", "")), Err(Error::Labels(_))));
        assert!(matches!(check(&policy("a", "\u{1b}[2J")), Err(Error::Reserved(_))));
    }

    #[test]
    fn a_machine_has_no_more_devices_than_machines_have() {
        let of = |count| {
            let device = Accelerator::new(AcceleratorKind::Nvidia);
            let whole = Machine { accelerators: vec![device; count], ..Machine::default() };
            machine(&serde_json::to_vec(&whole).unwrap())
        };
        assert!(of(MOST_ACCELERATORS).is_ok());
        let refused = of(MOST_ACCELERATORS + 1);
        assert!(matches!(refused, Err(Error::Devices { what: "accelerators", has: 1025, most: 1024 })));
    }
}
