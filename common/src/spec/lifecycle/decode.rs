//! From the tree of a file to the keys of hooks and init containers.

use std::collections::BTreeMap;

use super::keys::{HookKeys, HooksKeys, InitKeys, SleepKeys};
use super::{LifecycleProblem, MAX_INIT_CONTAINERS};
use crate::exit::signal_name;
use crate::spec::decoder::Decoder;
use crate::spec::file::Text;
use crate::spec::keys;
use crate::spec::place::{Given, Origin};
use crate::spec::read::{Read, Scalar, choice, name, positive, text, variable};
use crate::spec::recovery::signal;
use crate::yaml::Node;

/// A signal that asks a rank to end.
pub(in crate::spec) fn stop_signal(scalar: Scalar<'_>) -> Read<u8> {
    let number = signal(scalar)?;
    match signal_name(number) {
        Some("SIGKILL") => Err(LifecycleProblem::StopByKill.into()),
        Some("SIGSTOP" | "SIGCONT") => Err(LifecycleProblem::StopByStop.into()),
        _ => Ok(number),
    }
}

impl Decoder<'_> {
    pub(in crate::spec) fn lifecycle(&mut self, node: &Node) -> HooksKeys {
        let mut it = HooksKeys::default();
        let of = "hooks such as `preStop: {exec: {command: [program]}}`";
        for (key, node) in self.mapping("lifecycle", node, of).unwrap_or_default() {
            let path = format!("lifecycle.{}", key.text);
            let origin = Origin::File(key.span);
            match key.text.as_str() {
                "postStart" => it.post_start = Some(self.hook(&path, origin, node)),
                "preStop" => it.pre_stop = Some(self.hook(&path, origin, node)),
                "stopSignal" => {
                    self.problem(key.span, Some(path), LifecycleProblem::StopSignalElsewhere.into())
                }
                _ => self.unknown_in(key, "lifecycle", keys::LIFECYCLE),
            }
        }
        it
    }

    fn hook(&mut self, within: &str, origin: Origin, node: &Node) -> HookKeys {
        let mut it = HookKeys { exec: None, http_get: None, sleep: None, origin };
        let of = "keys such as `exec: {command: [program]}`";
        for (key, node) in self.mapping(within, node, of).unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            let origin = Origin::File(key.span);
            match key.text.as_str() {
                "exec" => it.exec = Some(self.exec(&path, origin, node)),
                "httpGet" => it.http_get = Some(self.http_get(&path, origin, node)),
                "sleep" => it.sleep = Some(self.sleep(&path, origin, node)),
                "tcpSocket" => self.problem(key.span, Some(path), LifecycleProblem::TcpSocket.into()),
                _ => self.unknown_in(key, "a hook", keys::HOOK),
            }
        }
        it
    }

    fn sleep(&mut self, within: &str, origin: Origin, node: &Node) -> SleepKeys {
        let mut it = SleepKeys { seconds: None, origin };
        for (key, node) in self.mapping(within, node, "a time: `seconds: 5`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "seconds" => it.seconds = self.scalar(&path, node, positive),
                _ => self.unknown_in(key, "sleep", keys::SLEEP),
            }
        }
        it
    }

    pub(in crate::spec) fn init_containers(&mut self, node: &Node) -> Option<Given<Vec<InitKeys>>> {
        let of = "init containers such as `{name: fetch, command: [program]}`";
        let items = self.items("initContainers", node, MAX_INIT_CONTAINERS, of)?;
        let all = items.iter().enumerate();
        let all = all.map(|(i, item)| self.init_container(&format!("initContainers[{i}]"), item)).collect();
        Some(Given::new(all, Origin::File(node.span)))
    }

    fn init_container(&mut self, within: &str, node: &Node) -> InitKeys {
        let mut it = InitKeys {
            name: None,
            command: None,
            env: BTreeMap::new(),
            restart_policy: None,
            startup_probe: None,
            origin: Origin::File(node.span),
        };
        let mut misplaced = Vec::new();
        for (key, node) in self.mapping(within, node, "name and command").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "name" => it.name = self.scalar(&path, node, name),
                "command" => it.command = self.command(&path, node),
                "env" => it.env = self.own_env(&path, node),
                "restartPolicy" => it.restart_policy = self.scalar(&path, node, choice),
                "startupProbe" => {
                    it.startup_probe =
                        Some(self.probe_at(&path, "startupProbe", Origin::File(key.span), node))
                }
                "lifecycle" => misplaced.push((key.span, path, "lifecycle")),
                "livenessProbe" => misplaced.push((key.span, path, "livenessProbe")),
                "readinessProbe" => misplaced.push((key.span, path, "readinessProbe")),
                _ => self.unknown_in(key, "an init container", keys::INIT),
            }
        }
        for (span, path, what) in misplaced {
            let problem = match it.restart_policy {
                Some(_) => LifecycleProblem::NotOfSidecars(what),
                None => LifecycleProblem::EndsBefore(what),
            };
            self.problem(span, Some(path), problem.into());
        }
        it
    }

    fn own_env(&mut self, within: &str, node: &Node) -> BTreeMap<String, Given<Text>> {
        let mut env = BTreeMap::new();
        let of = "variables such as `OMP_NUM_THREADS: 8`";
        for (key, node) in self.mapping(within, node, of).unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match variable(&key.text) {
                Ok(()) => env.extend(self.scalar(&path, node, text).map(|value| (key.text.clone(), value))),
                Err(problem) => self.problem(key.span, Some(path), problem),
            }
        }
        env
    }
}
