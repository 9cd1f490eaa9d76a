//! What probes of a job file mean.

use std::time::Duration;

use phalanx_common::spec::{Flags, JobSpec, LogPattern, Probe, ProbeHandler, ProbeKind, ProbePort, Probes};
use proptest::prelude::*;

use crate::{run, run_in_cluster};

const SECOND: Duration = Duration::from_secs(1);

fn probes(text: &str) -> Probes {
    run(&format!("command: [a]\n{text}"), &Flags::default()).unwrap().probes
}

#[test]
fn what_a_probe_leaves_out_is_as_in_kubernetes() {
    let found = probes("readinessProbe: {exec: {command: [cat, /tmp/ready]}}");
    let wanted = Probe {
        handler: ProbeHandler::Exec { command: vec!["cat".into(), "/tmp/ready".into()] },
        initial_delay: Duration::ZERO,
        timeout: SECOND,
        period: 10 * SECOND,
        success_threshold: 1,
        failure_threshold: 3,
        grace: None,
    };
    assert_eq!(found, Probes { readiness: Some(wanted), ..Probes::default() });
    assert!(found.gate() && found.watchdog().is_none());
}

#[test]
fn every_handler_is_read() {
    let found = probes(
        "startupProbe: {httpGet: {path: /up, port: 8000, portPerLocalRank: true, host: localhost, scheme: HTTP, \
         httpHeaders: [{name: X-A, value: b c}]}, failureThreshold: 30}\n\
         readinessProbe: {tcpSocket: {port: 80, host: \"::1\"}, successThreshold: 2}\n\
         livenessProbe: {notify: {}, periodSeconds: 2.5, failureThreshold: 2, terminationGracePeriodSeconds: 1}",
    );
    let loopback = Some([127, 0, 0, 1].into());
    let at = ProbePort { host: loopback, port: 8000, per_local_rank: true };
    assert_eq!(at.address(3).to_string(), "127.0.0.1:8003");
    let headers = vec![("X-A".to_owned(), "b c".to_owned())];
    assert_eq!(
        found.get(ProbeKind::Startup).unwrap().handler,
        ProbeHandler::HttpGet { path: "/up".into(), at, headers }
    );
    let at = ProbePort { host: Some("::1".parse().unwrap()), port: 80, per_local_rank: false };
    assert_eq!(at.address(3).to_string(), "[::1]:80");
    assert_eq!(found.get(ProbeKind::Readiness).unwrap().handler, ProbeHandler::TcpSocket { at });
    assert_eq!(found.get(ProbeKind::Liveness).unwrap().grace, Some(SECOND));
    assert_eq!(found.watchdog(), Some(5 * SECOND));
}

#[test]
fn a_pattern_is_over_bytes_and_knows_no_unicode_classes() {
    let pattern = LogPattern::new(r"step \d+ (?i:done)$").unwrap().compile().unwrap();
    assert!(pattern.is_match(b"\xff step 12 DONE"));
    assert!(!pattern.is_match("step ١٢ done".as_bytes()));
}

fn kind() -> impl Strategy<Value = ProbeHandler> {
    let host = prop_oneof![
        Just(None),
        any::<std::net::Ipv4Addr>().prop_map(|ip| Some(ip.into())),
        any::<std::net::Ipv6Addr>().prop_map(|ip| Some(ip.into())),
    ];
    let at = (host, 1..=60_000u16, any::<bool>()).prop_map(|(host, port, per_local_rank)| ProbePort {
        host,
        port,
        per_local_rank,
    });
    prop_oneof![
        prop::collection::vec("[a-z]{1,9}", 1..4).prop_map(|command| ProbeHandler::Exec { command }),
        ("/[a-z?=]{0,9}", at.clone(), prop::collection::vec(("[a-zA-Z-]{1,9}", "[ -~]{0,9}"), 0..3))
            .prop_map(|(path, at, headers)| ProbeHandler::HttpGet { path, at, headers }),
        at.prop_map(|at| ProbeHandler::TcpSocket { at }),
        Just(ProbeHandler::Notify),
        "[a-z .*+]{0,9}x".prop_filter_map("a pattern", |text| {
            Some(ProbeHandler::Log { pattern: LogPattern::new(&text).ok()? })
        }),
    ]
}

fn probe(readiness: bool) -> impl Strategy<Value = Option<Probe>> {
    let time = || (1..=1_000_000_000u64).prop_map(Duration::from_micros);
    let times = (time(), time(), 100_000..=1_000_000_000u64, prop::option::of(time()));
    prop::option::of((kind(), times, 1..=9u32, 1..=u32::MAX)).prop_map(move |made| {
        let (handler, (initial_delay, timeout, period, grace), success, failure_threshold) = made?;
        let one = !readiness || handler.is_told();
        Some(Probe {
            initial_delay: initial_delay.min(500 * SECOND),
            timeout,
            period: Duration::from_micros(period),
            success_threshold: if one { 1 } else { success },
            failure_threshold,
            grace: grace.filter(|_| !readiness),
            handler,
        })
    })
}

pub(crate) fn any_probes() -> impl Strategy<Value = Probes> {
    let all = (probe(false), probe(true), probe(false));
    all.prop_map(|(startup, readiness, liveness)| Probes { startup, readiness, liveness })
}

proptest! {
    #[test]
    fn probes_come_out_of_their_document_as_they_went_in(probes in any_probes()) {
        let job = run_in_cluster("ranks: 4\ncommand: [a]", &Flags::default()).unwrap();
        let job = JobSpec { probes, ..job };
        let read = JobSpec::from_document(job.to_document().as_bytes()).map_err(|error| error.to_string());
        prop_assert_eq!(read, Ok(job));
    }
}
