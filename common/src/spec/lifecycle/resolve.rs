//! From the keys of hooks and init containers to what they are, with the checks that take more than one value.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::{HookKeys, InitKeys};
use super::{Hook, InitContainer, Lifecycle, LifecycleProblem};
use crate::spec::error::Problem;
use crate::spec::file::JobFile;
use crate::spec::job::Shape;
use crate::spec::place::Origin;
use crate::spec::probes::{Asked, HttpGet};

/// How long a job's ranks have to be ready, and to end.
#[derive(Clone, Copy)]
pub(in crate::spec) struct Times {
    pub(in crate::spec) start: Duration,
    pub(in crate::spec) grace: Duration,
}

impl JobFile {
    /// What is done before a pod's ranks run, beside them, and at their ends.
    ///
    /// # Errors
    /// All that is wrong with it, at least one problem.
    pub(in crate::spec) fn resolve_lifecycle(
        &self,
        shape: Shape,
        times: Times,
    ) -> Result<Lifecycle, Vec<Problem>> {
        let mut reader = Reader { asked: Asked::new(self, shape), times };
        let post_start = reader.hook("lifecycle.postStart", &self.lifecycle.post_start);
        let pre_stop = reader.hook("lifecycle.preStop", &self.lifecycle.pre_stop);
        reader.check_times(&post_start, &pre_stop);
        let (mut reader, init) = reader.init_containers();
        let ends = init.iter().any(|init| !init.sidecar);
        let init_once = self.init_once.as_ref().filter(|given| given.value);
        if let Some(given) = init_once.filter(|_| !ends) {
            reader.problem("initOnce", &given.origin, LifecycleProblem::NothingOnce);
        }
        let problems = reader.asked.problems;
        if !problems.is_empty() {
            return Err(problems);
        }
        let stop_signal = self.stop_signal.as_ref().map(|given| given.value);
        Ok(Lifecycle { stop_signal, post_start, pre_stop, init, init_once: init_once.is_some() })
    }
}

struct Reader<'a> {
    asked: Asked<'a>,
    times: Times,
}

impl<'a> Reader<'a> {
    /// The hook; `None` if there is none, or none that could be, which is told.
    fn hook(&mut self, path: &str, keys: &Option<HookKeys>) -> Option<Hook> {
        let keys = keys.as_ref()?;
        let mut found: Vec<(&'static str, &Origin)> = [
            keys.exec.as_ref().map(|it| ("exec", &it.origin)),
            keys.http_get.as_ref().map(|it| ("httpGet", &it.origin)),
            keys.sleep.as_ref().map(|it| ("sleep", &it.origin)),
        ]
        .into_iter()
        .flatten()
        .collect();
        found.sort_by_key(|(_, origin)| origin.position());
        let Some((first, at)) = found.first().copied() else {
            self.problem(path, &keys.origin, LifecycleProblem::NoHandler);
            return None;
        };
        if let Some((second, origin)) = found.get(1).copied() {
            let problem = LifecycleProblem::TwoHandlers { first, at: self.asked.file.place_of(at) };
            self.problem(&format!("{path}.{second}"), origin, problem);
            return None;
        }
        if let Some(exec) = &keys.exec {
            let command = self.asked.command(&format!("{path}.exec"), exec)?;
            return Some(Hook::Exec { command });
        }
        if let Some(get) = &keys.http_get {
            let HttpGet { path, at, headers } = self.asked.http_get(&format!("{path}.httpGet"), get)?;
            return Some(Hook::HttpGet { path, at, headers });
        }
        let sleep = keys.sleep.as_ref()?;
        match &sleep.seconds {
            Some(given) => Some(Hook::Sleep(given.value.0)),
            None => self.missing(&format!("{path}.sleep"), &sleep.origin, "seconds"),
        }
    }

    /// Hooks that could never be done, or never in time.
    fn check_times(&mut self, post_start: &Option<Hook>, pre_stop: &Option<Hook>) {
        let Times { start, grace } = self.times;
        let hooks = &self.asked.file.lifecycle;
        let origin = |keys: &'a Option<HookKeys>| keys.as_ref().map(|keys| &keys.origin);
        if let (Some(Hook::Sleep(sleep)), Some(origin)) = (post_start, origin(&hooks.post_start))
            && *sleep >= start
        {
            let problem = LifecycleProblem::AfterDeadline { sleep: *sleep, deadline: start };
            self.problem("lifecycle.postStart", origin, problem);
        }
        let Some((hook, origin)) = pre_stop.as_ref().zip(origin(&hooks.pre_stop)) else { return };
        if grace.is_zero() {
            self.problem("lifecycle.preStop", origin, LifecycleProblem::NoGrace);
        } else if let Hook::Sleep(sleep) = hook
            && *sleep > grace
        {
            let problem = LifecycleProblem::LongerThanGrace { sleep: *sleep, grace };
            self.problem("lifecycle.preStop", origin, problem);
        }
    }

    fn init_containers(mut self) -> (Reader<'a>, Vec<InitContainer>) {
        let file = self.asked.file;
        let mut names: BTreeMap<&str, &Origin> = BTreeMap::new();
        let mut all = Vec::new();
        for (i, keys) in file.init_containers.iter().flat_map(|given| &given.value).enumerate() {
            let path = format!("initContainers[{i}]");
            if let Some(name) = &keys.name {
                if let Some(first) = names.get(name.value.as_str()) {
                    let at = file.place_of(first);
                    let problem = LifecycleProblem::TwoOfOneName { name: name.value.clone(), at };
                    self.problem(&format!("{path}.name"), &name.origin, problem);
                }
                names.entry(&name.value).or_insert(&name.origin);
            }
            let (reader, one) = self.init_container(&path, keys);
            self = reader;
            all.extend(one);
        }
        (self, all)
    }

    fn init_container(mut self, path: &str, keys: &InitKeys) -> (Reader<'a>, Option<InitContainer>) {
        let sidecar = keys.restart_policy.is_some();
        if let Some(probe) = &keys.startup_probe {
            let told = [("notify", probe.notify.is_some()), ("log", probe.log.is_some())];
            let problem = match told.into_iter().find(|(_, given)| *given) {
                _ if !sidecar => Some(LifecycleProblem::SidecarsProbe),
                Some((what, _)) => Some(LifecycleProblem::Asked(what)),
                None => None,
            };
            if let Some(problem) = problem {
                self.problem(&format!("{path}.startupProbe"), &probe.origin, problem);
                return (self, None);
            }
        }
        let within = format!("{path}.");
        let (asked, startup) = self.asked.startup(&within, &keys.startup_probe, self.times.start);
        self.asked = asked;
        let name = match &keys.name {
            Some(name) => Some(name.value.clone()),
            None => self.missing(path, &keys.origin, "name"),
        };
        let command = match &keys.command {
            Some(command) => Some(command.value.iter().map(|word| word.0.clone()).collect()),
            None => self.missing(path, &keys.origin, "command"),
        };
        let env = keys.env.iter().map(|(name, value)| (name.clone(), value.value.0.clone())).collect();
        let one =
            name.zip(command).map(|(name, command)| InitContainer { name, command, env, sidecar, startup });
        (self, one)
    }

    fn missing<T>(&mut self, path: &str, at: &Origin, key: &'static str) -> Option<T> {
        self.problem(path, at, LifecycleProblem::Missing(key));
        None
    }

    fn problem(&mut self, path: &str, origin: &Origin, problem: LifecycleProblem) {
        self.asked.problems.push(self.asked.file.problem(path, origin, problem.into()));
    }
}
