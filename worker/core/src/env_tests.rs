use std::time::Duration;

use phalanx_common::defaults;
use phalanx_common::id::{Generation, JobId, Rank};
use phalanx_common::plan::PlanBody;

use super::*;

#[test]
fn a_rank_gets_torchruns_variables_and_the_neutral_ones() {
    let inherited =
        vars(&[("HOME", "/home/ada"), ("RANK", "9"), ("WORLD_SIZE", "99"), ("TMPDIR", "/scratch")]);
    let env = rank_env(&plan(), 1, &facts(&inherited));
    let expected = "\
GLOO_SOCKET_IFNAME=lo
GROUP_RANK=1
GROUP_WORLD_SIZE=2
LOCAL_RANK=1
LOCAL_WORLD_SIZE=4
MASTER_ADDR=127.0.0.1
MASTER_PORT=29400
NCCL_SOCKET_IFNAME==lo
OMP_NUM_THREADS=2
PHALANX_GENERATION=3
PHALANX_JOB_DIR=/run/pod
PHALANX_JOB_ID=digits-0c7f3k
PHALANX_JOB_NAME=digits
PHALANX_LOCAL_RANK=1
PHALANX_LOCAL_WORLD_SIZE=4
PHALANX_NODES=2
PHALANX_NODE_RANK=1
PHALANX_POD=digits-0c7f3k/1
PHALANX_RANK=5
PHALANX_RESTART_COUNT=2
PHALANX_WORLD_SIZE=8
PYTHONUNBUFFERED=1
RANK=5
ROLE_NAME=default
ROLE_RANK=5
ROLE_WORLD_SIZE=8
TMPDIR=/run/pod/tmp
TORCHELASTIC_ERROR_FILE=/run/pod/5.json
TORCHELASTIC_MAX_RESTARTS=3
TORCHELASTIC_RESTART_COUNT=2
TORCHELASTIC_RUN_ID=digits-0c7f3k
TORCHELASTIC_USE_AGENT_STORE=False
TORCH_NCCL_ASYNC_ERROR_HANDLING=1
WORLD_SIZE=8";
    assert_eq!(print(&env.set), expected);
    assert_eq!(env.overridden, [], "identity never comes from outside, so nothing was overridden");
}

#[test]
fn a_rank_has_at_least_one_thread_and_no_interface_that_the_plan_does_not_name() {
    let inherited = BTreeMap::new();
    let plan = PodPlan { body: PlanBody { interface: None, ..body() }, ..plan() };
    let env = rank_env(&plan, 0, &EnvFacts { cores: 1, ..facts(&inherited) });
    assert_eq!(get(&env, "OMP_NUM_THREADS"), Some("1"));
    assert_eq!((get(&env, "GLOO_SOCKET_IFNAME"), get(&env, "NCCL_SOCKET_IFNAME")), (None, None));
}

#[test]
fn what_the_job_sets_wins_and_is_told_except_for_the_mark() {
    let inherited = vars(&[("OMP_NUM_THREADS", "7"), ("MASTER_PORT", "1234")]);
    let job = vars(&[
        ("DATA", "/data"),
        ("GROUP_RANK", "1"),
        ("MASTER_PORT", "5555"),
        ("OMP_NUM_THREADS", "16"),
        ("PHALANX_POD", "hidden"),
        ("RANK", "0"),
    ]);
    let plan = PodPlan { body: PlanBody { env: job, ..body() }, ..plan() };
    let env = rank_env(&plan, 1, &facts(&inherited));
    assert_eq!(get(&env, "DATA"), Some("/data"));
    assert_eq!(get(&env, "RANK"), Some("0"));
    assert_eq!(get(&env, "PHALANX_RANK"), Some("5"));
    assert_eq!(get(&env, MARK), Some("digits-0c7f3k/1"));
    assert_eq!(get(&env, "OMP_NUM_THREADS"), Some("16"));
    let told: Vec<_> =
        env.overridden.iter().map(|o| (o.name.as_str(), o.ours.as_str(), o.theirs.as_str(), o.by)).collect();
    assert_eq!(
        told,
        [
            ("MASTER_PORT", "29400", "5555", OverriddenBy::Job),
            ("OMP_NUM_THREADS", "2", "16", OverriddenBy::Job),
            ("RANK", "5", "0", OverriddenBy::Job),
        ],
        "a value that says the same is no override"
    );
}

#[test]
fn an_inherited_setting_wins_and_is_left_to_inheritance() {
    let inherited = vars(&[
        ("GLOO_SOCKET_IFNAME", "eth1"),
        ("MASTER_ADDR", "10.0.0.1"),
        ("OMP_NUM_THREADS", "2"),
        ("PYTHONUNBUFFERED", ""),
    ]);
    let env = rank_env(&plan(), 0, &facts(&inherited));
    for name in inherited.keys() {
        assert_eq!(get(&env, name), None, "{name} is inherited");
    }
    assert_eq!(get(&env, "MASTER_PORT"), Some("29400"));
    let told: Vec<_> = env.overridden.iter().map(|o| (o.name.as_str(), o.by)).collect();
    assert_eq!(
        told,
        [
            ("GLOO_SOCKET_IFNAME", OverriddenBy::Inherited),
            ("MASTER_ADDR", OverriddenBy::Inherited),
            ("PYTHONUNBUFFERED", OverriddenBy::Inherited),
        ]
    );
}

#[test]
fn an_empty_inherited_setting_counts_as_unset() {
    let inherited = vars(&[("MASTER_ADDR", ""), ("OMP_NUM_THREADS", "")]);
    let env = rank_env(&plan(), 0, &facts(&inherited));
    assert_eq!(get(&env, "MASTER_ADDR"), Some("127.0.0.1"));
    assert_eq!(get(&env, "OMP_NUM_THREADS"), Some("2"));
}

#[test]
fn the_rendezvous_of_an_outer_job_does_not_leak_into_a_nested_one() {
    for sign in [MARK, "TORCHELASTIC_RUN_ID"] {
        let inherited = vars(&[(sign, "outer"), ("MASTER_ADDR", "10.0.0.1"), ("MASTER_PORT", "1234")]);
        let env = rank_env(&plan(), 0, &facts(&inherited));
        assert_eq!(get(&env, "MASTER_ADDR"), Some("127.0.0.1"), "{sign}");
        assert_eq!(get(&env, "MASTER_PORT"), Some("29400"), "{sign}");
        assert_eq!(env.overridden, [], "{sign}");
    }
}

#[test]
fn an_outer_launchers_facts_and_the_service_managers_variables_are_removed() {
    let inherited = vars(&[
        ("CUDA_VISIBLE_DEVICES", "0,1"),
        ("HOME", "/home/ada"),
        ("LISTEN_FDS", "1"),
        ("NOTIFY_SOCKET", "/run/notify"),
        ("PHALANX_RANK", "3"),
        ("TORCHELASTIC_ERROR_FILE", "/outer"),
        ("TORCH_LOGS", "all"),
    ]);
    assert_eq!(
        removed(&plan(), &inherited),
        ["LISTEN_FDS", "NOTIFY_SOCKET", "PHALANX_RANK", "TORCHELASTIC_ERROR_FILE"]
    );
}

fn plan() -> PodPlan {
    PodPlan {
        job: JobId::from_existing("digits-0c7f3k"),
        generation: Generation(3),
        body: body(),
        node_rank: 1,
        first_rank: Rank(4),
        local_ranks: 4,
        probe_port: None,
        binding: Default::default(),
    }
}

fn body() -> PlanBody {
    PlanBody {
        user: None,
        secrets: Vec::new(),
        virtual_env: None,
        ship: None,
        name: "digits".into(),
        world_size: 8,
        nodes: 2,
        command: vec!["true".into()],
        working_dir: None,
        env: BTreeMap::new(),
        master_addr: [127, 0, 0, 1].into(),
        master_port: 29400,
        interface: Some("lo".into()),
        restart_count: 2,
        max_restarts: 3,
        termination_grace: Duration::from_secs(30),
        stop_scope: Default::default(),
        keep: Default::default(),
        log_dir: Some("/logs".into()),
        max_file_bytes: defaults::LOG_FILE_CAP,
        keep_files: defaults::LOG_FILES_KEPT,
        lease: None,
        probes: Default::default(),
        lifecycle: Default::default(),
        in_place: false,
        memory_limit: None,
    }
}

fn facts(inherited: &BTreeMap<String, String>) -> EnvFacts<'_> {
    EnvFacts {
        inherited,
        cores: 8,
        job_dir: "/run/pod",
        tmp_dir: "/run/pod/tmp",
        error_file: "/run/pod/5.json",
        mark: "digits-0c7f3k/1",
    }
}

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn get<'a>(env: &'a RankEnv, name: &str) -> Option<&'a str> {
    env.set.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
}

fn print(set: &[(String, String)]) -> String {
    set.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n")
}
