//! What happens in a scenario: faults, and what operators want.

use phalanx_common::id::NodeId;
use phalanx_launcher_core::Wish;

use super::What;
use super::read::{Wrong, job_id, number, time, words};
use crate::vcluster::faults::Fault;

const KNOWN: &str = "\
    suspend | resume | stop | stop at once | cordon, uncordon or drain node b | drain node b with 2 s of grace | \
    resume replacement | node b loses power for 1 min | node b is cut off for 1 min | node b loses its connection for 5 s | \
    the peers of node b do not hear it for 1 min | node b flaps 3 times, 2 s down, 10 s up | leaf a b is lost for 10 s | \
    leaf a b loses power for 10 s | node b is 5 times slower for 1 min | the worker of node b crashes | \
    the shim of node b dies | a rank of node b hangs | the coordinator is down for 5 s | port 20000 of node b is taken | \
    device 0 of node b fails";

pub(super) fn read(text: &str) -> Result<What, Wrong> {
    let node = |name: &str| NodeId::new(name.trim_end_matches(','));
    let wish = |name: &str, wish| Fault::Wish { node: node(name), wish };
    let reason = String::new;
    let words = words(text);
    let words: Vec<&str> = words.iter().map(|word| word.trim_end_matches(',')).collect();
    let fault = match words.as_slice() {
        ["suspend"] => Fault::Suspend { job: job_id() },
        ["resume"] => Fault::Resume { job: job_id() },
        ["stop"] => Fault::Stop { job: job_id(), force: false },
        ["stop", "at", "once"] => Fault::Stop { job: job_id(), force: true },
        ["cordon", "node", name] => wish(name, Wish::Cordon { reason: reason() }),
        ["uncordon", "node", name] => wish(name, Wish::Uncordon),
        ["drain", "node", name] => wish(name, Wish::Drain { reason: reason(), grace: None }),
        ["drain", "node", name, "with", grace, "of", "grace"] => {
            wish(name, Wish::Drain { reason: reason(), grace: Some(time(grace)?) })
        }
        ["node", name, "loses", "power", "for", down] => {
            Fault::KillNode { node: node(name), down: time(down)? }
        }
        ["node", name, "is", "cut", "off", "for", cut] => {
            Fault::Isolate { node: node(name), cut: time(cut)? }
        }
        ["node", name, "loses", "its", "connection", "for", cut] => {
            Fault::LoseConnection { node: node(name), cut: time(cut)? }
        }
        ["the", "peers", "of", "node", name, "do", "not", "hear", "it", "for", cut] => {
            Fault::CutData { node: node(name), cut: time(cut)? }
        }
        ["node", name, "flaps", times, "times", down, "down", up, "up"] => {
            Fault::FlapLink { node: node(name), times: number(times)?, down: time(down)?, up: time(up)? }
        }
        ["leaf", names @ .., "is", "lost", "for", cut] => Fault::LoseLeaf {
            nodes: names.iter().map(|name| node(name)).collect(),
            power: false,
            time: time(cut)?,
        },
        ["leaf", names @ .., "loses", "power", "for", down] => Fault::LoseLeaf {
            nodes: names.iter().map(|name| node(name)).collect(),
            power: true,
            time: time(down)?,
        },
        ["node", name, "is", times, "times", "slower", "for", slow] => {
            Fault::SlowNode { node: node(name), times: number(times)?, time: time(slow)? }
        }
        ["the", "worker", "of", "node", name, "crashes"] => Fault::CrashWorker { node: node(name) },
        ["the", "shim", "of", "node", name, "dies"] => Fault::KillShim { node: node(name) },
        ["a", "rank", "of", "node", name, "hangs"] => Fault::HangRank { node: node(name) },
        ["the", "coordinator", "is", "down", "for", down] => Fault::CrashCoordinator { down: time(down)? },
        ["port", port, "of", "node", name, "is", "taken"] => {
            Fault::TakePort { node: node(name), port: number(port)? }
        }
        ["device", device, "of", "node", name, "fails"] => {
            return Ok(What::LoseDevice { node: node(name), device: number(device)? });
        }
        ["resume", "replacement"] => return Ok(What::ResumeReplacement),
        _ => return Err(format!("nothing is known that happens as {text:?}; known: {KNOWN}")),
    };
    Ok(What::Fault(fault))
}
