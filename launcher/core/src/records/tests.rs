//! What is stored keeps its bytes.

use super::*;
use crate::nodes::standing::Standing;
use crate::placement::inside::Held;
use phalanx_common::plan::{BoundDevice, PodBinding, RankBinding};
use phalanx_common::spec::{
    CpuBinding, DeviceKind, DeviceView, Exclusive, ExitCodes, FailureAction, FailureReason, Fencing, JobSpec,
    MemoryBinding, Pattern, RestartPolicy, Shape, Ship, VirtualEnv,
};
use phalanx_common::topology::Tier;
use phalanx_common::topology::machine::AcceleratorKind;
use phalanx_common::wire::codec;

fn bytes(record: &Record) -> String {
    let mut out = Vec::new();
    codec::encode(record, &mut out).unwrap();
    out.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spec() -> SpecRecord {
    SpecRecord {
        name: "j".into(),
        shape: Shape::Nodes { nodes: 1, ranks_per_node: 4 },
        needs: needs(),
        command: vec!["true".into()],
        working_dir: Some("/".into()),
        ship: Some(Ship { digest: "ab".into(), bytes: 3 }),
        virtual_env: Some(VirtualEnv { prefix: "/v".into(), version: None }),
        env: [("A".to_owned(), "b".to_owned())].into(),
        secrets: ["S".to_owned()].into(),
        start_timeout: Duration::from_secs(600),
        termination_grace: Duration::from_secs(30),
        max_restarts: 1,
        recovery: recovery(),
        lifetime: LifetimeRecord {
            active_deadline: Some(Duration::from_secs(60)),
            ttl_after_finished: None,
            suspend: true,
            success: vec![SuccessRecord { ranks: vec![(0, 2)], count: Some(1) }],
        },
        unreachable: Duration::from_secs(120),
        lease: Duration::from_secs(600),
        fencing: Fencing::Strict,
        stop_scope: phalanx_common::spec::StopScope::Process,
        keep: phalanx_common::spec::Keep::OnFailure,
        output_mode: phalanx_common::spec::OutputMode::Files,
        log_dir: Some("/l".into()),
        max_file_bytes: 1 << 30,
        keep_files: 3,
        probes: probes(),
        lifecycle: lifecycle(),
    }
}

fn lifecycle() -> LifecycleRecord {
    let at = PortRecord { host: None, port: 8000, per_local_rank: true };
    let init = InitRecord {
        name: "fetch".into(),
        command: vec!["true".into()],
        env: [("A".into(), "b".into())].into(),
        sidecar: true,
        startup: probes().startup,
    };
    LifecycleRecord {
        stop_signal: Some(10),
        post_start: Some(HookRecord::Sleep { time: Duration::from_secs(1) }),
        pre_stop: Some(HookRecord::HttpGet { path: "/save".into(), at, headers: Vec::new() }),
        init: vec![init, InitRecord { sidecar: false, startup: None, ..InitRecord::default() }],
        init_once: true,
    }
}

fn probes() -> ProbesRecord {
    let probe = |handler| ProbeRecord {
        handler,
        initial_delay: Duration::from_secs(1),
        timeout: Duration::from_millis(1500),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace: None,
    };
    let at = PortRecord { host: Some(IpAddr::from([127, 0, 0, 1])), port: 8000, per_local_rank: true };
    let headers = vec![("a".into(), "b".into())];
    ProbesRecord {
        startup: Some(probe(HandlerRecord::Log { pattern: "up".into() })),
        readiness: Some(probe(HandlerRecord::HttpGet { path: "/r".into(), at, headers })),
        liveness: Some(ProbeRecord {
            grace: Some(Duration::from_secs(2)),
            ..probe(HandlerRecord::Exec { command: vec!["true".into()] })
        }),
    }
}

fn recovery() -> RecoveryRecord {
    RecoveryRecord {
        policy: RestartPolicy::Always,
        rules: vec![RuleRecord {
            exit_codes: Some(ExitCodes::NotIn([7].into())),
            signals: [9].into(),
            reasons: [FailureReason::StartTimeout].into(),
            action: FailureAction::Ignore,
        }],
        window: Some(Duration::from_secs(3600)),
        backoff_initial: Duration::from_secs(1),
        backoff_max: Duration::from_secs(60),
        replace_node: Some(2),
        no_progress: 3,
        scope: RestartScope::Rank,
        rank: StepRecord {
            max: Some(5),
            window: Some(Duration::from_secs(60)),
            backoff_initial: Duration::from_secs(1),
            backoff_max: Duration::from_secs(2),
        },
        pod: StepRecord {
            max: None,
            window: None,
            backoff_initial: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        },
    }
}

fn needs() -> NeedsRecord {
    NeedsRecord {
        devices: Some(DevicesRecord {
            kind: DeviceKind::Npu,
            count: 2,
            model: Some("m".into()),
            memory_bytes: Some(7),
            mig: None,
        }),
        cpus: Some(8),
        memory_bytes: Some(9),
        memory_limit: Some(300),
        nics: None,
        groups: vec![GroupRecord {
            kind: "tp".into(),
            size: 4,
            pattern: Some(Pattern::AllToAll),
            volume_bytes: Some(10),
        }],
        placement: WishesRecord {
            require_all: Some(Tier::Leaf),
            prefer: [("tp".to_owned(), Tier::Island)].into(),
            spares: 1,
            spread: None,
            node_selector: [("k".to_owned(), "v".to_owned())].into(),
            nodes: vec!["a".into(), "b".into()],
            avoid: vec!["c".into()],
            exclusive: Exclusive::Numa,
            uneven: true,
            mixed: false,
            device_view: DeviceView::Rank,
            memory_binding: MemoryBinding::Strict,
            cpu_binding: CpuBinding::None,
            ..WishesRecord::default()
        },
        elastic: Some(ElasticRecord { min: 4, max: 8, step: 4 }),
    }
}

fn binding() -> PodBinding {
    let device = BoundDevice { kind: AcceleratorKind::Ascend, index: 3, uuid: Some("u".into()), mig: true };
    let rank = RankBinding { devices: 1, cpus: "0-3,96".parse().unwrap(), nodes: "0".parse().unwrap() };
    PodBinding {
        devices: vec![device],
        view: DeviceView::Rank,
        hca: vec!["mlx5_0:1".into()],
        memory: MemoryBinding::Strict,
        ranks: vec![rank],
        nccl_topology: Some([("eth0".to_owned(), 3)].into()),
    }
}

fn standing(at: Timestamp) -> StandingRecord {
    StandingRecord {
        node: NodeId::new("a"),
        cordon: Some(CordonRecord { by: "ann".into(), reason: "DIMM".into(), at }),
        drain: Some(DrainRecord { grace: Some(Duration::from_secs(5)) }),
        quarantine: Some(QuarantineRecord { why: "lost".into(), at }),
        blames: vec![BlameRecord { at, job: JobId::from_existing("j-1"), what: "gone".into() }],
    }
}

fn held() -> Held {
    Held { cpus: "0-3,96".parse().unwrap(), memory: vec![(None, 5), (Some(1), 6)] }
}

#[test]
fn a_job_comes_out_of_its_record_as_it_went_in() {
    let spec = JobSpec::from(&spec());
    assert_eq!(JobSpec::from(&SpecRecord::from(&spec)), spec);
    assert_eq!((spec.placement.spares, spec.parallelism.groups.len()), (1, 1));
}

#[test]
fn a_stored_binding_comes_back_as_it_was() {
    for binding in [binding(), PodBinding::default()] {
        assert_eq!(PodBinding::from(&BindingRecord::from(&binding)), binding);
    }
    assert_eq!(Held::from(&HeldRecord::from(&held())), held());
}

#[test]
fn what_stands_against_a_node_comes_back_as_it_was() {
    let record = standing(Timestamp(1000));
    assert_eq!(StandingRecord::new(&record.node, &Standing::from(&record)), record);
}

#[test]
fn a_replayed_generation_gives_the_plan_that_was_made() {
    let (job, at, generation) = (JobId::from_existing("j-1"), Timestamp(1000), Generation(1));
    let pod = PodRecord {
        node: NodeId::new("a"),
        first_rank: Rank(0),
        ranks: 4,
        interface: None,
        probe_port: None,
        binding: (&binding()).into(),
        held: Some((&held()).into()),
    };
    let mut durable = crate::Durable::default();
    durable.apply(&Record::JobSubmitted {
        job: job.clone(),
        at,
        spec: Box::new(spec()),
        owner: "ann".into(),
        unix_user: None,
        attached: false,
    });
    durable.apply(&Record::GenerationPlanned(Box::new(GenerationRecord {
        job: job.clone(),
        generation,
        at,
        pods: vec![pod],
        spares: vec![NodeId::new("s")],
        master_addr: IpAddr::from([127, 0, 0, 1]),
        master_port: 29500,
    })));
    let planned = &durable.jobs[&job];
    let plan = crate::queue::pod_plan(&job, planned, planned.active().unwrap(), 0, true).unwrap();
    assert_eq!(plan.binding, binding());
}

#[test]
fn stored_bytes_keep_their_meaning() {
    let job = || JobId::from_existing("j-1");
    let generation = Generation(2);
    let at = Timestamp(1000);
    let golden: Vec<(Record, &str)> = vec![
        (Record::EpochStarted { epoch: Epoch(7) }, "020000000007"),
        (
            Record::JobSubmitted {
                job: job(),
                at,
                spec: Box::new(spec()),
                owner: "ann".into(),
                unix_user: Some("ann".into()),
                attached: true,
            },
            "4601000001036a2d31fbe803016a00010401010201016d010700010801090001fb2c0101027470040101010a010500000102747001010001016b01760201610162010163010100010101000104080401047472756501012f010261620301022f76000101410162010153fb5802001e0001020101010107010901010301fb100e0001003c00010203000105013c0001000200000001003c00013c0000010101000201017800fb5802000101010301022f6cfc00000040030104027570010001fc0065cd1d0a000103000101022f7201007f000001fb401f010101610162010001fc0065cd1d0a000103000100010474727565010001fc0065cd1d0a000103010200010a010201000101052f7361766500fb401f0100020566657463680104747275650101410162010104027570010001fc0065cd1d0a0001030000000000000103616e6e0103616e6e01",
        ),
        (
            Record::GenerationPlanned(Box::new(GenerationRecord {
                job: job(),
                generation,
                at,
                pods: vec![PodRecord {
                    node: NodeId::new("a"),
                    first_rank: Rank(0),
                    ranks: 4,
                    interface: Some("lo".into()),
                    probe_port: Some(10_000),
                    binding: (&binding()).into(),
                    held: Some((&held()).into()),
                }],
                spares: vec![NodeId::new("s")],
                master_addr: IpAddr::from([127, 0, 0, 1]),
                master_port: 29500,
            })),
            "5500000002036a2d3102fbe803010161000401026c6f01fb1027010203010175010101086d6c78355f303a3101010106302d332c3936013001010465746830030106302d332c3936020005010106010173007f000001fb3c73",
        ),
        (Record::Released { job: job(), generation, at }, "0900000003036a2d3102fbe803"),
        (Record::Running { job: job(), generation, at }, "0900000004036a2d3102fbe803"),
        (
            Record::Stopping(Box::new(StoppingRecord {
                job: job(),
                generation,
                cause: CauseRecord::RankFailed {
                    rank: Rank(3),
                    node: NodeId::new("a"),
                    status: ExitStatus::Signal(9),
                },
                at,
                port_conflict: false,
                consequence: false,
            })),
            "1100000005036a2d3102000301610109fbe8030000",
        ),
        (
            Record::Stopping(Box::new(StoppingRecord {
                job: job(),
                generation,
                cause: CauseRecord::Drained { node: NodeId::new("a") },
                at,
                port_conflict: false,
                consequence: false,
            })),
            "0e00000005036a2d31020d0161fbe8030000",
        ),
        (
            Record::StopRequested {
                job: job(),
                at,
                by: "SIGINT".into(),
                status: ExitStatus::Signal(2),
                force: true,
            },
            "1200000006036a2d31fbe80306534947494e54010201",
        ),
        (Record::Suspended { job: job() }, "0500000007036a2d31"),
        (Record::Resumed { job: job() }, "0500000008036a2d31"),
        (
            Record::GenerationEnded(Box::new(EndedRecord {
                job: job(),
                generation,
                at,
                charge: Charge::PortRetry,
                progress: Progress::Barren,
                delay: Duration::from_millis(1500),
                blamed: Some(NodeId::new("a")),
                shun: None,
            })),
            "1500000009036a2d3102fbe803020101fc0065cd1d01016100",
        ),
        (
            Record::JobEnded { job: job(), at, outcome: OutcomeRecord::Succeeded },
            "090000000a036a2d31fbe80300",
        ),
        (
            Record::JobEnded {
                job: job(),
                at,
                outcome: OutcomeRecord::Failed {
                    first_cause: CauseRecord::NodeLost { node: NodeId::new("a") },
                    exit_code: 125,
                    no_restart: Some(NoRestartRecord::Budget { max: 2, window: None }),
                },
            },
            "110000000a036a2d31fbe803010301617d01030200",
        ),
        (Record::JobForgotten { job: job() }, "050000000b036a2d31"),
        (Record::JobAttached { job: job() }, "050000000c036a2d31"),
        (
            Record::NodeRefused { job: job(), generation, node: NodeId::new("a"), why: "no".into() },
            "0b0000000d036a2d31020161026e6f",
        ),
        (Record::DeadlinePassed { job: job() }, "050000000e036a2d31"),
        (
            Record::NodeStands(Box::new(standing(at))),
            "2a0000000f01610103616e6e0444494d4dfbe8030101050001046c6f7374fbe80301fbe803036a2d3104676f6e65",
        ),
        (
            Record::DeadlineLeft { job: job(), at, left: Duration::from_secs(5) },
            "0a00000010036a2d31fbe8030500",
        ),
        (
            Record::RanksRestarted(Box::new(RestartedRecord {
                job: job(),
                generation,
                at,
                node: NodeId::new("a"),
                ranks: vec![Rank(3)],
                step: RestartScope::Rank,
                delay: Duration::from_secs(1),
                cause: CauseRecord::OutOfMemory {
                    rank: Rank(3),
                    node: NodeId::new("a"),
                    status: ExitStatus::Signal(9),
                    limit: Some(300),
                    peak: None,
                },
            })),
            "1b00000011036a2d3102fbe803016101030001000e030161010901fb2c0100",
        ),
        (
            Record::Stopping(Box::new(StoppingRecord {
                job: job(),
                generation,
                cause: CauseRecord::DeviceFailed {
                    node: NodeId::new("a"),
                    device: "GPU-1".into(),
                    what: "w".into(),
                },
                at,
                port_conflict: false,
                consequence: false,
            })),
            "1600000005036a2d31020f0161054750552d310177fbe8030000",
        ),
        (
            Record::NodesAround {
                job: job(),
                generation,
                notes: vec![NodeNoteRecord { at, node: NodeId::new("a"), what: "w".into() }],
            },
            "0e00000012036a2d310201fbe80301610177",
        ),
    ];
    for (record, want) in golden {
        assert_eq!(bytes(&record), want, "{record:?}");
    }
    let charges = [
        Charge::Budget,
        Charge::PortConflict,
        Charge::PortRetry,
        Charge::NodeGone,
        Charge::NodeRefused,
        Charge::Replacement,
        Charge::Ignored,
        Charge::Completed,
        Charge::Drained,
    ];
    for (charge, number) in charges.into_iter().zip(0..) {
        let mut out = Vec::new();
        codec::encode(&charge, &mut out).unwrap();
        assert_eq!(out, [1, 0, 0, 0, number], "{charge:?}");
    }
}
