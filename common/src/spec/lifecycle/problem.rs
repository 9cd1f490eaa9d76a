//! What can be wrong with hooks and init containers, and how it is put into words.

use std::time::Duration;

use crate::spec::error::{At, Place};

/// What is wrong with a hook or an init container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleProblem {
    #[error("a hook has one of exec, httpGet and sleep, and this one has none")]
    NoHandler,
    #[error("a hook has one of exec, httpGet and sleep; {first} is there already ({})", At(at))]
    TwoHandlers { first: &'static str, at: Place },
    #[error("the key {0} is missing")]
    Missing(&'static str),
    #[error("a hook does something, and a connection alone does nothing: use exec or httpGet")]
    TcpSocket,
    #[error("the stop signal stands beside `command`: `stopSignal: SIGUSR1`")]
    StopSignalElsewhere,
    #[error(
        "preStop takes {} s, and a rank has {} s to end in all (terminationGracePeriodSeconds): SIGKILL would come first",
        sleep.as_secs_f64(),
        grace.as_secs_f64()
    )]
    LongerThanGrace { sleep: Duration, grace: Duration },
    #[error("a rank has no time to end (terminationGracePeriodSeconds is 0), so preStop is never done")]
    NoGrace,
    #[error(
        "postStart takes {} s, and the job fails if it is not ready within {} s (startTimeoutSeconds)",
        sleep.as_secs_f64(),
        deadline.as_secs_f64()
    )]
    AfterDeadline { sleep: Duration, deadline: Duration },
    #[error("SIGKILL leaves a rank no time to end: for that, `terminationGracePeriodSeconds: 0`")]
    StopByKill,
    #[error(
        "SIGSTOP and SIGCONT end nothing: a stop signal is one that a rank can end by, such as SIGTERM, SIGINT or SIGUSR1"
    )]
    StopByStop,
    #[error("an init container runs to its end before the ranks start, and has no {0}")]
    EndsBefore(&'static str),
    #[error(
        "an init container runs to its end before the ranks start, and has no startupProbe: `restartPolicy: Always` makes it a sidecar"
    )]
    SidecarsProbe,
    #[error(
        "{0} of a sidecar is not known here: it has a startupProbe alone, and is started again whenever it ends"
    )]
    NotOfSidecars(&'static str),
    #[error("an init container is called {name} already ({})", At(at))]
    TwoOfOneName { name: String, at: Place },
    #[error("a sidecar is asked by exec, httpGet or tcpSocket; {0} is for ranks")]
    Asked(&'static str),
    #[error("`initOnce` is about init containers that end, and this job has none")]
    NothingOnce,
}
