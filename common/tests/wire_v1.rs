//! The bytes of control protocol version 1, and decoders against bytes of strangers.
//!
//! A golden line may be added with a new variant; none may ever change.

use std::collections::BTreeMap;
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{ProbeFailure, ProbeWord, Question, RankHealth};
use phalanx_common::id::{Epoch, Generation, Incarnation, JobId, NodeId, Rank};
use phalanx_common::order::{Order, OrderKind};
use phalanx_common::plan::{BoundDevice, PlanBody, PodBinding, PodPlan, RankBinding};
use phalanx_common::report::{
    Network, NodeReport, Notice, OutOfMemory, PodEnd, PodPhase, PodStatus, PrepareFailure,
    PrepareFailureKind, RankExit, Report,
};
use phalanx_common::spec::{
    DeviceView, Hook, InitContainer, Keep, Lifecycle, LogPattern, MemoryBinding, Probe, ProbeHandler,
    ProbePort, Probes, Ship, StopScope, VirtualEnv,
};
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::AcceleratorKind;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::topology_v1::{FromNode, Heard, Neighbour, Policy, ToNode};
use phalanx_common::wire::v1::{
    self, Confidential, FileFrame, FileRequest, FromWorker, LogCredit, LogFrame, LogRequest, Stream,
    TailFrame, ToWorker,
};
use phalanx_common::wire::{ClientHello, ServerHello, codec};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

const GOLDEN: &str = include_str!("golden/wire_v1.txt");

fn job() -> JobId {
    JobId::from_existing("digits-0c7f3km")
}

fn binding() -> PodBinding {
    let device = |index, uuid: Option<&str>, mig| BoundDevice {
        kind: AcceleratorKind::Nvidia,
        index,
        uuid: uuid.map(str::to_owned),
        mig,
    };
    let rank = |devices, cpus: &str, nodes: &str| RankBinding {
        devices,
        cpus: cpus.parse().expect("a list of CPUs"),
        nodes: nodes.parse().expect("a list of nodes"),
    };
    PodBinding {
        devices: vec![
            device(3, Some("GPU-1"), false),
            device(300, Some("MIG-2"), true),
            device(4, None, false),
        ],
        view: DeviceView::Rank,
        hca: vec!["mlx5_0:1".to_owned()],
        memory: MemoryBinding::Strict,
        ranks: vec![rank(1, "0-3,96", "0"), rank(2, "", ""), rank(0, "8191", "1"), rank(0, "4", "0-1")],
        nccl_topology: Some([("ib3".to_owned(), 3)].into()),
    }
}

fn plan() -> PodPlan {
    PodPlan {
        job: job(),
        generation: Generation(2),
        node_rank: 1,
        first_rank: Rank(4),
        local_ranks: 4,
        probe_port: Some(20_002),
        binding: binding(),
        body: PlanBody {
            name: "digits".to_owned(),
            user: Some("ann".to_owned()),
            world_size: 8,
            nodes: 2,
            command: vec!["python".to_owned(), "train.py".to_owned()],
            working_dir: Some("/data".to_owned()),
            env: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            secrets: vec!["KEY".to_owned()],
            virtual_env: Some(VirtualEnv { prefix: "/venv".to_owned(), version: Some("3.11.2".to_owned()) }),
            ship: Some(Ship { digest: "ab".to_owned(), bytes: 7 }),
            master_addr: [10, 0, 0, 1].into(),
            master_port: 20_001,
            interface: Some("eth0".to_owned()),
            restart_count: 1,
            max_restarts: 3,
            termination_grace: Duration::from_millis(30_000),
            stop_scope: StopScope::Process,
            keep: Keep::OnFailure,
            log_dir: Some("/logs".to_owned()),
            max_file_bytes: 1 << 30,
            keep_files: 3,
            lease: Some(Duration::from_millis(600_000)),
            probes: probes(),
            lifecycle: lifecycle(),
            in_place: true,
            memory_limit: Some(7),
        },
    }
}

fn probes() -> Probes {
    let probe = |handler| Probe {
        handler,
        initial_delay: Duration::from_millis(1),
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace: None,
    };
    let at = ProbePort { host: Some([127, 0, 0, 1].into()), port: 8000, per_local_rank: true };
    let headers = vec![("a".to_owned(), "b".to_owned())];
    let command = vec!["true".to_owned()];
    Probes {
        startup: Some(probe(ProbeHandler::Log { pattern: LogPattern::from_existing("up") })),
        readiness: Some(probe(ProbeHandler::HttpGet { path: "/r".to_owned(), at, headers })),
        liveness: Some(Probe {
            grace: Some(Duration::from_secs(2)),
            ..probe(ProbeHandler::Exec { command })
        }),
    }
}

fn lifecycle() -> Lifecycle {
    let at = ProbePort { host: None, port: 8000, per_local_rank: false };
    let init = InitContainer {
        name: "fetch".to_owned(),
        command: vec!["true".to_owned()],
        env: [("A".to_owned(), "b".to_owned())].into(),
        sidecar: true,
        startup: probes().startup,
    };
    Lifecycle {
        stop_signal: Some(10),
        post_start: Some(Hook::Sleep(Duration::from_secs(1))),
        pre_stop: Some(Hook::HttpGet { path: "/save".to_owned(), at, headers: Vec::new() }),
        init: vec![init.clone(), InitContainer { sidecar: false, startup: None, ..init }],
        init_once: true,
    }
}

fn health() -> Vec<RankHealth> {
    let waits = Some(ProbeWord { probe: Question::Readiness, message: "no".to_owned() });
    let at = |rank| RankHealth { rank: Rank(rank), ready: true, waits: None, status: None };
    vec![RankHealth { ready: false, waits, status: Some("epoch 3".to_owned()), ..at(4) }, at(5)]
}

fn orders() -> Vec<Order> {
    let (job, generation) = (job(), Generation(2));
    [
        OrderKind::Prepare(Box::new(plan())),
        OrderKind::Go { job: job.clone(), generation },
        OrderKind::Stop { job: job.clone(), generation, grace: Duration::from_millis(1500), pre_stop: true },
        OrderKind::Forget { job: job.clone(), failed: true },
        OrderKind::Renew,
        OrderKind::Suspend { job: job.clone() },
        OrderKind::Resume { job: job.clone() },
        OrderKind::Probe {
            job: job.clone(),
            generation,
            target: NodeId::new("n2"),
            address: ([10, 0, 0, 2], 20_002).into(),
        },
        OrderKind::Restart {
            job,
            generation,
            ranks: vec![(Rank(5), 2), (Rank(300), 1)],
            delay: Duration::from_millis(1500),
            grace: Duration::from_millis(30_000),
        },
    ]
    .map(|kind| Order { epoch: Epoch(7), kind })
    .to_vec()
}

fn exit() -> RankExit {
    RankExit {
        rank: Rank(5),
        attempt: 2,
        status: ExitStatus::Signal(9),
        at: Timestamp(1_700_000_000_000_001),
        after_stop: false,
        port_conflict: true,
        stderr_tail: b"no\xff".to_vec(),
        stdout_tail: Vec::new(),
        error_file: Some(b"{}".to_vec()),
        probe: None,
        oom: None,
    }
}

fn failure() -> ProbeFailure {
    let (probe, message) = (Question::Liveness, "no".to_owned());
    ProbeFailure { probe, message, at: Timestamp(1_700_000_000_000_000) }
}

fn end() -> PodEnd {
    PodEnd { swept: 2, shim_lost: true, lease_lapsed: false, survivors: vec![(41, "dd".to_owned())] }
}

fn not_prepared(kind: PrepareFailureKind) -> PrepareFailure {
    PrepareFailure { kind, message: "why".to_owned() }
}

fn reports() -> Vec<Report> {
    let (job, generation) = (job(), Generation(2));
    let pod = PodStatus {
        job: job.clone(),
        generation,
        phase: PodPhase::Ended,
        not_prepared: Some(not_prepared(PrepareFailureKind::PortTaken(20_001))),
        suspended: true,
        exits: vec![exit()],
        end: Some(end()),
        pids: vec![40, 41],
        health: health(),
        attempts: vec![(Rank(1), 2)],
    };
    let node = NodeReport {
        node: NodeId::new("n1"),
        incarnation: Incarnation(3),
        host_name: "host".to_owned(),
        cores: 16,
        slots: 8,
        user: Some("ann".to_owned()),
        clock: Timestamp(1_700_000_000_000_002),
        version: "0.1.0".to_owned(),
        ports: (10_000, 32_767),
        address: [10, 0, 0, 1].into(),
        interface: None,
        networks: vec![Network { address: [10, 0, 0, 1].into(), prefix: 24, interface: "eth0".to_owned() }],
        pods: vec![pod],
    };
    let failed = |kind| Report::NotPrepared { job: job.clone(), generation, reason: not_prepared(kind) };
    let notice = |notice| Report::Notice { job: Some(job.clone()), notice };
    vec![
        Report::Hello(Box::new(node)),
        Report::Prepared { job: job.clone(), generation, interpreter: Some("3.11.2".to_owned()) },
        failed(PrepareFailureKind::CommandNotFound),
        failed(PrepareFailureKind::CommandNotExecutable),
        failed(PrepareFailureKind::PortTaken(1)),
        failed(PrepareFailureKind::Node),
        Report::Started { job: job.clone(), generation, pids: vec![40, 300] },
        Report::Exited { job: job.clone(), generation, exit: exit() },
        Report::PodEnded { job: job.clone(), generation, end: end() },
        notice(Notice::OutputDropped { rank: Rank(1), bytes: 70_000, why: "full".to_owned() }),
        notice(Notice::OutputRotatedOut { rank: Rank(1), bytes: 7 }),
        notice(Notice::Refused { what: "old".to_owned() }),
        notice(Notice::EnvironmentOverridden { job: vec!["RANK".to_owned()], inherited: Vec::new() }),
        failed(PrepareFailureKind::Job),
        failed(PrepareFailureKind::Init),
        Report::Probed { job: job.clone(), generation, target: NodeId::new("n2"), heard: true },
        notice(Notice::Directory { node: NodeId::new("n2"), path: "/t".to_owned(), keep: Keep::OnFailure }),
        notice(Notice::MemoryNotPreferred { rank: Rank(3), why: "full".to_owned() }),
        Report::Health { job: job.clone(), generation, ranks: health() },
        Report::Exited { job: job.clone(), generation, exit: RankExit { probe: Some(failure()), ..exit() } },
        Report::Exited {
            job: job.clone(),
            generation,
            exit: RankExit { oom: Some(OutOfMemory { limit: Some(70_000), peak: None }), ..exit() },
        },
        Report::Restarted { job: job.clone(), generation, rank: Rank(5), attempt: 2, pid: 70_000 },
    ]
}

fn log_frames() -> Vec<LogFrame> {
    vec![
        LogFrame::Open { id: 4 },
        LogFrame::Chunk { generation: 2, rank: 5, stream: Stream::Stdout, bytes: Bytes(b"hi\n".to_vec()) },
        LogFrame::Skipped { generation: 2, rank: 5, stream: Stream::Stderr, bytes: 9 },
        LogFrame::End { generation: 2 },
        LogFrame::Refused { why: "why".to_owned() },
    ]
}

fn confidential() -> Confidential {
    Confidential {
        job: "digits-0c7f3km".to_owned(),
        generation: 2,
        secrets: vec![("KEY".to_owned(), "hush".to_owned())],
        probe_key: [9; 32],
    }
}

fn log_request() -> LogRequest {
    LogRequest {
        job: "digits-0c7f3km".to_owned(),
        user: Some("ann".to_owned()),
        log_dir: None,
        max_file_bytes: 1 << 30,
        generation: None,
        rank: Some(3),
        follow: true,
    }
}

fn tail() -> TailFrame {
    TailFrame {
        job: "digits-0c7f3km".to_owned(),
        generation: 2,
        rank: 5,
        stream: Stream::Stderr,
        written: 70_000,
        bytes: Bytes(b"bye".to_vec()),
    }
}

fn file_frames() -> Vec<FileFrame> {
    vec![
        FileFrame::Found { bytes: 300 },
        FileFrame::Piece(Bytes(b"tar".to_vec())),
        FileFrame::Refused { why: "why".to_owned() },
    ]
}

fn from_node() -> Vec<FromNode> {
    vec![
        FromNode::Policy(Policy {
            labels: vec![("pool".to_owned(), "a".to_owned())],
            reserved_cpus: "0-1".to_owned(),
            reserved_memory_bytes: 300,
            share: true,
        }),
        FromNode::Machine { part: Bytes(b"{}".to_vec()), last: true },
        FromNode::Neighbours(vec![Neighbour {
            interface: "eth0".to_owned(),
            chassis: "mac 3e:cc:04:9c:17:ad".to_owned(),
            name: Some("sw1".to_owned()),
            address: None,
            port: "swp7".to_owned(),
        }]),
        FromNode::Heard {
            beacons: vec![Heard {
                interface: "eth0".to_owned(),
                node: "n1-0a1b2c".to_owned(),
                by: "eth1".to_owned(),
            }],
            whole: true,
        },
        FromNode::Fabrics(vec![0xfe80_0000_0000_0000]),
        FromNode::Fabric { subnet: 300, part: Bytes(b"Switch".to_vec()), last: false },
    ]
}

fn to_node() -> Vec<ToNode> {
    vec![ToNode::BeaconKey { number: 300, key: [7; 32] }, ToNode::TellFabric { subnet: 300 }]
}

fn frame<T: Serialize>(message: &T) -> String {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes).expect("a message of the protocol encodes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every message of the protocol as a golden line: a name and its frame in hex.
fn lines() -> Vec<String> {
    let mut lines = vec![
        format!("ClientHello {}", frame(&ClientHello { lowest: 1, highest: 300 })),
        format!("Welcome {}", frame(&ServerHello::Welcome { version: 1, epoch: 7 })),
        format!("NoCommonVersion {}", frame(&ServerHello::NoCommonVersion { lowest: 1, highest: 2 })),
        format!("Confidential {}", frame(&ToWorker::Confidential(confidential()))),
        format!("Logs {}", frame(&ToWorker::Logs { id: 4, request: log_request() })),
        format!("EndLogs {}", frame(&ToWorker::EndLogs { id: 4 })),
        format!("Tail {}", frame(&tail())),
        format!("FileRequest {}", frame(&FileRequest { job: "digits-0c7f3km".to_owned() })),
        format!("LogCredit {}", frame(&LogCredit { bytes: 65_536 })),
    ];
    let numbered = |name: &str, frames: Vec<String>| {
        frames.into_iter().enumerate().map(|(i, hex)| format!("{name}{i} {hex}")).collect::<Vec<_>>()
    };
    lines.extend(numbered("Order", orders().iter().map(|order| frame(&ToWorker::from(order))).collect()));
    lines.extend(numbered(
        "Report",
        reports().iter().map(|report| frame(&FromWorker::from(report))).collect(),
    ));
    lines.extend(numbered("Log", log_frames().iter().map(frame).collect()));
    lines.extend(numbered("File", file_frames().iter().map(frame).collect()));
    lines.extend(numbered("FromNode", from_node().iter().map(frame).collect()));
    lines.extend(numbered("ToNode", to_node().iter().map(frame).collect()));
    lines
}

#[test]
fn version_1_is_these_bytes() {
    let (ours, golden) = (lines().join("\n"), GOLDEN.trim_end());
    assert_eq!(ours, golden, "the bytes of version 1 changed: peers of this version would misread them");
}

#[test]
fn orders_and_reports_come_back_as_they_were() {
    for order in orders() {
        let ToWorker::Order { epoch, order: wire } = ToWorker::from(&order) else { panic!("{order:?}") };
        assert_eq!(wire.into_domain(epoch), order);
    }
    for report in reports() {
        assert_eq!(Report::from(FromWorker::from(&report)), report);
    }
}

/// Decodes a frame of `T` from anything; a message that comes out is one that goes in again.
fn survives<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let mut buffer = bytes.to_vec();
    if let Ok(Some(message)) = codec::take::<T>(&mut buffer) {
        let mut again = Vec::new();
        codec::encode(&message, &mut again).expect("what was decoded encodes");
        assert_eq!(codec::take::<T>(&mut again).expect("and decodes"), Some(message));
    }
}

fn survives_as_anything(bytes: &[u8]) {
    survives::<ClientHello>(bytes);
    survives::<ServerHello>(bytes);
    survives::<ToWorker>(bytes);
    survives::<FromWorker>(bytes);
    survives::<LogFrame>(bytes);
    survives::<LogCredit>(bytes);
    survives::<TailFrame>(bytes);
    survives::<FileRequest>(bytes);
    survives::<FileFrame>(bytes);
    survives::<FromNode>(bytes);
    survives::<ToNode>(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_break_a_decoder(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = (payload.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&payload);
        survives_as_anything(&bytes);
        survives_as_anything(&payload);
    }

    #[test]
    fn no_flipped_byte_breaks_a_decoder(which in 0..20usize, at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = Vec::new();
        let messages: Vec<FromWorker> = reports().iter().map(FromWorker::from).collect();
        match messages.get(which) {
            Some(report) => codec::encode(report, &mut bytes).unwrap(),
            None => codec::encode(&ToWorker::from(&orders()[which - messages.len()]), &mut bytes).unwrap(),
        }
        let at = at.index(bytes.len());
        bytes[at] = value;
        survives_as_anything(&bytes);
    }
}

#[test]
fn secrets_are_not_in_what_a_log_would_show() {
    let shown = format!("{:?}", ToWorker::Confidential(confidential()));
    assert!(shown.contains("KEY") && !shown.contains("hush") && !shown.contains("probe_key"), "{shown}");
    let shown = format!("{:?}", ToNode::BeaconKey { number: 3, key: [7; 32] });
    assert_eq!(shown, "BeaconKey { number: 3, .. }");
}

#[test]
fn what_a_worker_says_is_cut_to_what_a_record_can_hold() {
    let long = || "ä".repeat(400 << 10);
    let reason = v1::PrepareFailure { kind: v1::PrepareFailureKind::Node, message: long() };
    let report = Report::from(FromWorker::NotPrepared { job: "j-1".into(), generation: 1, reason });
    let Report::NotPrepared { reason, .. } = report else { panic!("another report") };
    assert_eq!(reason.message, "ä".repeat(4 << 10));
    let survivors = vec![(7, long()); 1000];
    let end = v1::PodEnd { swept: 0, shim_lost: false, lease_lapsed: false, survivors };
    let report = Report::from(FromWorker::PodEnded { job: "j-1".into(), generation: 1, end });
    let Report::PodEnded { end, .. } = report else { panic!("another report") };
    assert_eq!((end.survivors.len(), end.survivors[0].1.len()), (256, 256));
}
