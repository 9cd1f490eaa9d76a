//! Golden bytes of the shim protocol. A change here is a new version of the protocol: a shim outlives
//! the worker that spawned it.

#![allow(clippy::unwrap_used, reason = "tests, and helpers that run in tests alone")]

use std::fmt::Debug;
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{ProbeFailure, ProbeWord, Question, RankHealth};
use phalanx_common::id::{Generation, JobId, NodeId, Rank};
use phalanx_common::report::{Notice, OutOfMemory, PodEnd, PrepareFailure, PrepareFailureKind, RankExit};
use phalanx_common::spec::{
    Hook, Keep, LogPattern, MemoryBinding, Probe, ProbeHandler, ProbePort, Probes, StopScope,
};
use phalanx_common::time::Timestamp;
use phalanx_common::wire::codec;
use phalanx_worker_core::shim::{
    ProbePlan, Secrets, ShimHello, ShimInit, ShimOrder, ShimPlan, ShimRank, ShimReport, Stream, VERSION,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The message has these bytes, frame header included, and comes back from them.
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: T, expected: &str) {
    let mut bytes = Vec::new();
    codec::encode(&message, &mut bytes).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected, "{message:?}");
    assert_eq!(codec::take::<T>(&mut bytes).unwrap().unwrap(), message);
    assert!(bytes.is_empty());
}

const GENERATION: Generation = Generation(3);

fn plan() -> ShimPlan {
    ShimPlan {
        job: JobId::from_existing("j-1"),
        generation: GENERATION,
        mark: "m".into(),
        command: vec!["python".into(), "t.py".into()],
        working_dir: Some("/w".into()),
        remove_env: vec!["X".into()],
        env: vec![("C".into(), "2".into())],
        ranks: vec![ShimRank {
            rank: Rank(300),
            env: vec![("A".into(), "1".into()), ("B".into(), String::new())],
            log_dir: "/l".into(),
            error_file: "/e".into(),
            cpus: "0-3,96".parse().unwrap(),
            nodes: "1".parse().unwrap(),
        }],
        memory: MemoryBinding::Strict,
        job_dir: "/d".into(),
        keep: Keep::OnFailure,
        ports: vec![29500],
        ship: Some("/a.tar".into()),
        virtual_env: Some("/v".into()),
        secrets: Secrets(vec![("S".into(), "t".into())]),
        probe: Some(ProbePlan { port: 300, family: [10, 0, 0, 1].into(), key: [9; 32] }),
        stop_scope: StopScope::Process,
        termination_grace: Duration::from_millis(2500),
        max_file_bytes: 1 << 30,
        keep_files: 3,
        lease: Some(Duration::from_millis(1500)),
        nccl_topology: Some("<system/>".into()),
        probes: probes(),
        stop_signal: 10,
        post_start: Some(Hook::Sleep(Duration::from_secs(1))),
        pre_stop: Some(Hook::Exec { command: vec!["s".into()] }),
        init: vec![ShimInit {
            name: "i".into(),
            command: vec!["f".into()],
            env: vec![("D".into(), "3".into())],
            log_dir: "/i".into(),
            sidecar: true,
            startup: None,
        }],
        init_once: true,
        in_place: true,
        memory_limit: Some(7),
    }
}

fn probes() -> Probes {
    let probe = Probe {
        handler: ProbeHandler::Exec { command: vec!["a".into()] },
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace: Some(Duration::from_millis(1500)),
    };
    let at = || ProbePort { host: None, port: 300, per_local_rank: true };
    let with = |handler| Some(Probe { handler, ..probe.clone() });
    let get = ProbeHandler::HttpGet { path: "/".into(), at: at(), headers: vec![("b".into(), "c".into())] };
    let pattern = LogPattern::from_existing("up");
    Probes {
        startup: with(ProbeHandler::Log { pattern }),
        readiness: with(get),
        liveness: with(ProbeHandler::Notify),
    }
}

#[test]
fn the_version_is_one() {
    assert_eq!(VERSION, 1);
    golden(ShimHello { version: VERSION }, "0100000001");
}

#[test]
fn orders_keep_their_bytes() {
    golden(
        ShimOrder::Prepare(Box::new(plan())),
        "fe00000000036a2d3103016d0206707974686f6e04742e707901022f7701015801062f612e74617201022f760101530174010143013201fb2c010201410131014200022f6c022f6506302d332c3936013101022f640101fb3c7301fb2c01000a00000109090909090909090909090909090909090909090909090909090909090909090102fc0065cd1dfc00000040030101fc0065cd1d01093c73797374656d2f3e0104027570000001000a0001030101fc0065cd1d0101012f00fb2c01010101620163000001000a0001030101fc0065cd1d0103000001000a0001030101fc0065cd1d0a0102010001000101730101690101660101440133022f69010001010107",
    );
    golden(ShimOrder::Go { generation: GENERATION }, "020000000103");
    golden(
        ShimOrder::Stop { generation: GENERATION, grace: Duration::from_millis(30_250), pre_stop: false },
        "0900000002031efc80b2e60e00",
    );
    golden(ShimOrder::Suspend, "0100000003");
    golden(ShimOrder::Resume, "0100000004");
    golden(ShimOrder::Lease { remaining: Duration::from_secs(600) }, "0500000005fb580200");
    golden(ShimOrder::Exit { failed: true }, "020000000601");
    let address = ([10, 0, 0, 2], 300).into();
    golden(
        ShimOrder::Restart {
            generation: GENERATION,
            ranks: vec![(Rank(1), 2), (Rank(300), 1)],
            delay: Duration::from_millis(1500),
            grace: Duration::from_secs(30),
        },
        "110000000803020102fb2c010101fc0065cd1d1e00",
    );
    golden(
        ShimOrder::Probe { generation: GENERATION, target: NodeId::new("n2"), address },
        "0d0000000703026e32000a000002fb2c01",
    );
}

#[test]
fn reports_keep_their_bytes() {
    let generation = GENERATION;
    golden(
        ShimReport::Prepared { generation, interpreter: Some("3.11.2".into()) },
        "0a00000000030106332e31312e32",
    );
    let target = NodeId::new("n2");
    golden(ShimReport::Probed { generation, target, heard: true }, "060000000703026e3201");
    for (kind, bytes) in [
        (PrepareFailureKind::CommandNotFound, "06000000010300026e6f"),
        (PrepareFailureKind::CommandNotExecutable, "06000000010301026e6f"),
        (PrepareFailureKind::PortTaken(29500), "09000000010302fb3c73026e6f"),
        (PrepareFailureKind::Node, "06000000010303026e6f"),
    ] {
        let reason = PrepareFailure { kind, message: "no".into() };
        golden(ShimReport::NotPrepared { generation, reason }, bytes);
    }
    golden(ShimReport::Started { generation, pids: vec![7, 70_000] }, "0900000002030207fc70110100");
    let exit = RankExit {
        rank: Rank(1),
        attempt: 2,
        status: ExitStatus::Signal(9),
        at: Timestamp(1_700_000_000_000_000),
        after_stop: true,
        port_conflict: false,
        stderr_tail: vec![0xff, 0],
        stdout_tail: b"o".to_vec(),
        error_file: Some(b"{}".to_vec()),
        probe: Some(ProbeFailure {
            probe: Question::Liveness,
            message: "no".into(),
            at: Timestamp(1_700_000_000_000_000),
        }),
        oom: Some(OutOfMemory { limit: Some(7), peak: None }),
    };
    golden(
        ShimReport::Exited { generation, exit },
        "2c000000030301020109fd00401e18240a0600010002ff00016f01027b7d0102026e6ffd00401e18240a060001010700",
    );
    let exit = RankExit {
        rank: Rank(0),
        attempt: 0,
        status: ExitStatus::Code(1),
        at: Timestamp(0),
        after_stop: false,
        port_conflict: true,
        stderr_tail: Vec::new(),
        stdout_tail: Vec::new(),
        error_file: None,
        probe: None,
        oom: None,
    };
    golden(ShimReport::Exited { generation, exit }, "0e0000000303000000010000010000000000");
    let waits = Some(ProbeWord { probe: Question::Startup, message: "no".into() });
    let ranks = vec![RankHealth { rank: Rank(300), ready: false, waits, status: Some("s".into()) }];
    golden(ShimReport::Health { generation, ranks }, "0f000000080301fb2c01000100026e6f010173");
    let restarted = ShimReport::Restarted { generation, rank: Rank(1), attempt: 2, pid: 70_000 };
    golden(restarted, "0900000009030102fc70110100");
    let end = PodEnd { swept: 2, shim_lost: false, lease_lapsed: true, survivors: vec![(9, "d".into())] };
    golden(ShimReport::Ended { generation, end }, "09000000040302000101090164");
    for (stream, bytes) in [
        (Stream::Stdout, "0d00000005030200fd0000000002000000"),
        (Stream::Stderr, "0d00000005030201fd0000000002000000"),
    ] {
        golden(ShimReport::Output { generation, rank: Rank(2), stream, written: 1 << 33 }, bytes);
    }
    for (notice, bytes) in [
        (Notice::OutputDropped { rank: Rank(1), bytes: 5, why: "w".into() }, "06000000060001050177"),
        (Notice::OutputRotatedOut { rank: Rank(1), bytes: 5 }, "0400000006010105"),
        (Notice::Refused { what: "w".into() }, "0400000006020177"),
        (Notice::MemoryNotPreferred { rank: Rank(1), why: "w".into() }, "050000000605010177"),
    ] {
        golden(ShimReport::Notice { notice }, bytes);
    }
}

#[test]
fn a_report_with_the_longest_tails_fits_a_frame() {
    let tail = vec![b'x'; phalanx_common::defaults::LOG_TAIL];
    let exit = RankExit {
        rank: Rank(u32::MAX),
        attempt: 0,
        status: ExitStatus::Code(1),
        at: Timestamp(u64::MAX),
        after_stop: false,
        port_conflict: false,
        stderr_tail: tail.clone(),
        stdout_tail: tail.clone(),
        error_file: Some(tail),
        probe: None,
        oom: None,
    };
    let mut bytes = Vec::new();
    codec::encode(&ShimReport::Exited { generation: GENERATION, exit }, &mut bytes).unwrap();
}
