//! What hooks, init containers and a stop signal of a job file mean.

use std::time::Duration;

use phalanx_common::spec::{Flags, Hook, InitContainer, JobSpec, Lifecycle, ProbeHandler, ProbePort};
use proptest::prelude::*;

use crate::probes::any_probes;
use crate::{run, run_in_cluster};

fn lifecycle(text: &str) -> Lifecycle {
    run(&format!("command: [a]\n{text}"), &Flags::default()).unwrap().lifecycle
}

#[test]
fn a_job_that_says_nothing_is_stopped_by_sigterm_and_has_no_hooks() {
    let found = lifecycle("");
    assert_eq!((found.stop_signal(), found), (15, Lifecycle::default()));
}

#[test]
fn hooks_and_signals_are_read() {
    let found = lifecycle(
        "stopSignal: USR1\nlifecycle:\n  postStart: {httpGet: {port: 80, path: /warm}}\n  \
         preStop: {exec: {command: [save, 7]}}",
    );
    assert_eq!(found.stop_signal(), 10);
    let at = ProbePort { host: None, port: 80, per_local_rank: false };
    let warm = Hook::HttpGet { path: "/warm".into(), at, headers: Vec::new() };
    assert_eq!(found.post_start, Some(warm));
    assert_eq!(found.pre_stop, Some(Hook::Exec { command: vec!["save".into(), "7".into()] }));
    let found = lifecycle("lifecycle: {preStop: {sleep: {seconds: 2.5}}}");
    assert_eq!(found.pre_stop, Some(Hook::Sleep(Duration::from_millis(2500))));
}

#[test]
fn an_init_container_that_always_runs_is_a_sidecar() {
    let found = lifecycle(
        "initOnce: true\ninitContainers:\n- {name: fetch, command: [get], env: {N: 1}}\n\
         - {name: board, command: [show], restartPolicy: Always, startupProbe: {tcpSocket: {port: 6006}}}",
    );
    let [fetch, board] = found.init.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        *fetch,
        InitContainer {
            name: "fetch".into(),
            command: vec!["get".into()],
            env: [("N".to_owned(), "1".to_owned())].into(),
            sidecar: false,
            startup: None,
        }
    );
    assert!(board.sidecar && found.init_once);
    let at = ProbePort { host: None, port: 6006, per_local_rank: false };
    assert_eq!(board.startup.as_ref().unwrap().handler, ProbeHandler::TcpSocket { at });
}

fn any_hook() -> impl Strategy<Value = Option<Hook>> {
    let at = (1..=60_000u16, any::<bool>());
    let at = at.prop_map(|(port, per_local_rank)| ProbePort { host: None, port, per_local_rank });
    prop::option::of(prop_oneof![
        prop::collection::vec("[a-z]{1,9}", 1..4).prop_map(|command| Hook::Exec { command }),
        ("/[a-z]{0,9}", at).prop_map(|(path, at)| Hook::HttpGet { path, at, headers: Vec::new() }),
        (1..=20_000_000u64).prop_map(|time| Hook::Sleep(Duration::from_micros(time))),
    ])
}

fn any_init() -> impl Strategy<Value = Vec<InitContainer>> {
    let env = prop::collection::btree_map("[A-Z]{1,4}", "[a-z0-9 ]{0,5}", 0..3);
    let one = (prop::collection::vec("[a-z]{1,9}", 1..3), env, any::<bool>(), any_probes());
    prop::collection::vec(one, 0..4).prop_map(|all| {
        let all = all.into_iter().enumerate();
        all.map(|(i, (command, env, sidecar, probes))| {
            let startup = probes.startup.filter(|probe| sidecar && !probe.handler.is_told());
            InitContainer { name: format!("i{i}"), command, env, sidecar, startup }
        })
        .collect()
    })
}

proptest! {
    #[test]
    fn it_comes_out_of_its_document_as_it_went_in(
        post_start in any_hook(),
        pre_stop in any_hook(),
        init in any_init(),
        stop_signal in prop::option::of(prop_oneof![Just(2u8), Just(10), Just(15)]),
        once in any::<bool>(),
    ) {
        let init_once = once && init.iter().any(|init| !init.sidecar);
        let lifecycle = Lifecycle { stop_signal, post_start, pre_stop, init, init_once };
        let job = run_in_cluster("ranks: 4\ncommand: [a]", &Flags::default()).unwrap();
        let job = JobSpec { lifecycle, ..job };
        let read = JobSpec::from_document(job.to_document().as_bytes()).map_err(|error| error.to_string());
        prop_assert_eq!(read, Ok(job));
    }
}
