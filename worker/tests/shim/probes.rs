//! Probes of ranks: each handler against a real rank, and what follows from its answers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use phalanx_common::exit::ExitStatus;
use phalanx_common::health::{Question, RankHealth};
use phalanx_common::id::Rank;
use phalanx_common::report::PrepareFailureKind;
use phalanx_common::spec::{LogPattern, Probe, ProbeHandler, ProbePort, Probes};
use phalanx_worker_core::shim::{ShimOrder, ShimPlan, ShimReport};

use crate::support::{
    GENERATION, Scratch, Shim, eventually, free_port, is_alive, line_in, marked, nothing_left, shell,
};

/// Says its arguments on NOTIFY_SOCKET, each as a message.
const SAY: &str = r#"say() {
  perl -MSocket -e 'my $name = $ENV{NOTIFY_SOCKET}; $name =~ s/^@/\0/; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die;
    send(S, $_, 0, pack_sockaddr_un($name)) or die "send: $!" for @ARGV' -- "$@"
}
"#;

pub(crate) fn probe(handler: ProbeHandler) -> Probe {
    Probe {
        handler,
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(10),
        period: Duration::from_millis(100),
        success_threshold: 1,
        failure_threshold: 1,
        grace: None,
    }
}

pub(crate) fn exec(script: &str) -> Probe {
    probe(ProbeHandler::Exec { command: ["sh", "-c", script].map(str::to_owned).to_vec() })
}

pub(crate) fn log(pattern: &str) -> Probe {
    probe(ProbeHandler::Log { pattern: LogPattern::new(pattern).unwrap() })
}

fn readiness(probe: Probe) -> Probes {
    Probes { readiness: Some(probe), ..Probes::default() }
}

fn probed(plan: ShimPlan, probes: Probes) -> ShimPlan {
    ShimPlan { probes, ..plan }
}

/// The next word on this rank that `wanted` is true of.
pub(crate) fn health(
    shim: &mut Shim,
    rank: u32,
    what: &str,
    wanted: impl Fn(&RankHealth) -> bool,
) -> RankHealth {
    shim.until(what, |report| match report {
        ShimReport::Health { ranks, .. } => {
            ranks.iter().find(|health| health.rank == Rank(rank) && wanted(health)).cloned()
        }
        _ => None,
    })
}

fn ready(shim: &mut Shim, rank: u32) {
    health(shim, rank, "ready", |health| health.ready);
}

/// What keeps it from being ready, once that is told and has `part` in it.
fn waits(shim: &mut Shim, rank: u32, part: &str) -> String {
    let has = |health: &RankHealth| health.waits.as_ref().is_some_and(|it| it.message.contains(part));
    health(shim, rank, part, has).waits.unwrap().message
}

pub(crate) fn end(mut shim: Shim, plan: &ShimPlan) {
    shim.stop(Duration::ZERO);
    assert_eq!(shim.ended().survivors, Vec::new());
    nothing_left(plan);
}

#[test]
fn an_exec_probe_is_as_its_rank_is_and_what_it_writes_is_its_message() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 2, "exec sleep 600");
    plan.working_dir = Some(scratch.path(""));
    let check = "test -e ready-$RANK && exit 0; echo \"rank $RANK of $PHALANX_POD\"; exit 3";
    let plan = probed(plan, readiness(exec(check)));
    let mut shim = Shim::started(&plan);
    assert_eq!(waits(&mut shim, 1, "exit code 3"), format!("exit code 3: rank 1 of {}", plan.mark));
    std::fs::write(scratch.path("ready-1"), "").unwrap();
    ready(&mut shim, 1);
    shim.heard.clear();
    std::fs::remove_file(scratch.path("ready-1")).unwrap();
    let lost = health(&mut shim, 1, "not ready again", |health| !health.ready);
    assert_eq!(lost.waits.unwrap().probe, Question::Readiness);
    end(shim, &plan);
}

#[test]
fn an_exec_probe_that_hangs_is_killed_with_all_that_it_started() {
    let scratch = Scratch::new();
    let note = scratch.path("pids");
    // One child in a session of its own, whose parent is gone.
    let check = format!(
        "setsid sleep 601 & setsid sh -c 'sleep 602 & echo $! >> {note}'; echo $! >> {note}; echo started; sleep 603"
    );
    let plan = probed(
        shell(&scratch, 1, "exec sleep 600"),
        readiness(Probe {
            timeout: Duration::from_millis(1500),
            period: Duration::from_secs(600),
            ..exec(&check)
        }),
    );
    let mut shim = Shim::started(&plan);
    assert_eq!(waits(&mut shim, 0, "within"), "no answer within 1.5 s: started");
    let pids: Vec<u32> =
        std::fs::read_to_string(&note).unwrap().lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    eventually("all of the probe is gone", || pids.iter().all(|pid| !is_alive(*pid)).then_some(()));
    eventually("the rank alone is left", || (marked(&plan).len() == 1).then_some(()));
    end(shim, &plan);
}

#[test]
fn what_an_exec_probe_leaves_behind_ends_with_it() {
    let scratch = Scratch::new();
    let note = scratch.path("pid");
    let check = format!("setsid sleep 601 > /dev/null 2>&1 & echo $! > {note}");
    let probes = readiness(Probe { period: Duration::from_secs(600), ..exec(&check) });
    let plan = probed(shell(&scratch, 1, "exec sleep 600"), probes);
    let mut shim = Shim::started(&plan);
    ready(&mut shim, 0);
    let left: u32 = line_in(&note).parse().unwrap();
    eventually("what it left is gone", || (!is_alive(left)).then_some(()));
    end(shim, &plan);
}

#[test]
fn a_probe_in_flight_does_not_outlive_its_rank_and_is_no_leftover() {
    let scratch = Scratch::new();
    let note = scratch.path("pid");
    let check = format!("echo $$ > {note}; exec sleep 600");
    let plan = probed(
        shell(&scratch, 1, &format!("while ! test -s {note}; do sleep 0.02; done")),
        readiness(Probe { timeout: Duration::from_secs(600), ..exec(&check) }),
    );
    let (exits, end) = {
        let mut shim = Shim::prepared(&plan);
        shim.run_to_end()
    };
    assert_eq!((exits[0].status, end.swept), (ExitStatus::SUCCESS, 0));
    nothing_left(&plan);
}

#[test]
fn the_program_of_a_probe_is_looked_for_before_anything_starts() {
    let scratch = Scratch::new();
    let command = vec!["no-such-program".to_owned()];
    let probes = readiness(probe(ProbeHandler::Exec { command }));
    let plan = probed(shell(&scratch, 1, "exit 0"), probes);
    let mut shim = Shim::start();
    let refused = shim.refused(&plan);
    assert_eq!(refused.kind, PrepareFailureKind::CommandNotFound);
    assert!(
        refused.message.starts_with("the readiness probe: no-such-program: command not found in PATH"),
        "{}",
        refused.message
    );
    shim.exit(true);
}

#[test]
fn a_tcp_probe_finds_the_port_of_each_rank() {
    let scratch = Scratch::new();
    let (first, second) = loop {
        let port = free_port();
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port + 1)) {
            break (port, listener);
        }
    };
    let at = ProbePort { host: None, port: first, per_local_rank: true };
    let probes = readiness(probe(ProbeHandler::TcpSocket { at }));
    let plan = probed(shell(&scratch, 2, "exec sleep 600"), probes);
    let mut shim = Shim::started(&plan);
    ready(&mut shim, 1);
    assert!(waits(&mut shim, 0, "cannot connect").contains("Connection refused"));
    drop(second);
    end(shim, &plan);
}

#[test]
fn an_http_probe_asks_in_plain_http_and_takes_200_to_399() {
    let scratch = Scratch::new();
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let headers = vec![("X-Probe".to_owned(), "yes".to_owned())];
    let at = ProbePort { host: None, port, per_local_rank: false };
    let get = ProbeHandler::HttpGet { path: "/up?a=b".into(), at, headers };
    let plan = probed(shell(&scratch, 1, "exec sleep 600"), readiness(probe(get)));
    let mut shim = Shim::started(&plan);
    let answer = |text: &[u8]| {
        let (mut peer, _) = server.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        // Byte by byte, as a slow server may. Who has heard enough hangs up.
        let _ = text.iter().try_for_each(|byte| peer.write_all(&[*byte]));
        String::from_utf8(asked).unwrap()
    };
    let asked = answer(b"HTTP/1.1 503 Service Unavailable\r\n\r\nloading shard 3");
    assert!(asked.starts_with("GET /up?a=b HTTP/1.1\r\nHost: 127.0.0.1:"), "{asked}");
    assert!(asked.contains("\r\nX-Probe: yes\r\n"), "{asked}");
    assert_eq!(waits(&mut shim, 0, "HTTP"), "HTTP status 503: loading shard 3");
    answer(b"HTTP/1.1 302 Found\r\n\r\n");
    ready(&mut shim, 0);
    end(shim, &plan);
}

#[test]
fn a_rank_says_itself_that_it_is_ready_and_what_it_does() {
    let scratch = Scratch::new();
    let go = scratch.path("go");
    let script = format!(
        "{SAY} say STATUS=loading; until test -e {go}; do sleep 0.02; done; say \"READY=1\nSTATUS=epoch $RANK\"; \
         until test -e {go}2; do sleep 0.02; done; say RELOADING=1; exec sleep 600"
    );
    // A period that no test waits for: what is said counts at once.
    let mut notify = probe(ProbeHandler::Notify);
    notify.period = Duration::from_secs(600);
    let plan = probed(shell(&scratch, 2, &script), readiness(notify));
    let mut shim = Shim::started(&plan);
    assert_eq!(waits(&mut shim, 1, "READY"), "no READY=1 was heard");
    health(&mut shim, 1, "status", |health| health.status.as_deref() == Some("loading") && !health.ready);
    std::fs::write(&go, "").unwrap();
    health(&mut shim, 1, "ready", |health| health.ready && health.status.as_deref() == Some("epoch 1"));
    std::fs::write(format!("{go}2"), "").unwrap();
    assert_eq!(waits(&mut shim, 0, "RELOADING"), "it said RELOADING=1");
    end(shim, &plan);
}

#[test]
fn a_status_is_told_without_probes_and_a_stranger_is_not_heard() {
    let scratch = Scratch::new();
    let note = scratch.path("socket");
    let script = format!(
        "{SAY} echo $NOTIFY_SOCKET > {note}; read line < {note}.fifo; say \"STATUS=$line\"; exec sleep 600"
    );
    let plan = shell(&scratch, 1, &script);
    nix::unistd::mkfifo(format!("{note}.fifo").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut shim = Shim::started(&plan);
    // This process has started the shim, so it is none below it.
    let name = line_in(&note);
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name[1..]).unwrap();
    std::os::unix::net::UnixDatagram::unbound().unwrap().send_to_addr(b"STATUS=strange", &address).unwrap();
    std::fs::write(format!("{note}.fifo"), "its own\n").unwrap();
    let told = health(&mut shim, 0, "a status", |health| health.status.is_some());
    assert_eq!((told.status.as_deref(), told.ready, told.waits), (Some("its own"), true, None));
    end(shim, &plan);
}

#[test]
fn a_line_of_the_output_is_a_sign_and_the_file_has_it_too() {
    let scratch = Scratch::new();
    let script = "printf 'loaded in '; sleep 0.1; echo 3 s; exec sleep 600";
    let probes = Probes { startup: Some(log(r"^loaded in \d+ s$")), ..Probes::default() };
    let mut startup = probes.startup.clone().unwrap();
    startup.period = Duration::from_secs(600);
    let plan = probed(shell(&scratch, 1, script), Probes { startup: Some(startup), ..probes });
    let mut shim = Shim::started(&plan);
    ready(&mut shim, 0);
    assert_eq!(crate::support::text(&plan, 0), "loaded in 3 s\n");
    end(shim, &plan);
}

#[test]
fn a_rank_that_is_not_alive_is_told_to_end_and_killed_after_the_grace_of_its_probe() {
    let scratch = Scratch::new();
    let script = "trap 'echo told to end' TERM; echo up; while :; do sleep 0.05; done";
    let mut liveness = exec("echo no pulse; exit 1");
    liveness.grace = Some(Duration::from_millis(300));
    // It is asked once the trap is set.
    let startup = Some(log("^up$"));
    let probes = Probes { startup, liveness: Some(liveness), ..Probes::default() };
    let plan = probed(shell(&scratch, 2, script), probes);
    let mut shim = Shim::started(&plan);
    let exit = shim.exit_of(0);
    let failure = exit.probe.unwrap();
    assert_eq!((exit.status, exit.after_stop), (ExitStatus::Signal(9), false));
    assert_eq!((failure.probe, failure.message.as_str()), (Question::Liveness, "exit code 1: no pulse"));
    let took = exit.at.since(failure.at);
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(exit.stdout_tail, b"up\ntold to end\n");
    end(shim, &plan);
}

#[test]
fn a_rank_that_does_not_start_in_time_is_ended_and_one_that_obeys_is_not_killed() {
    let scratch = Scratch::new();
    let mut startup = log("never");
    startup.failure_threshold = 3;
    let probes = Probes { startup: Some(startup), ..Probes::default() };
    let plan = probed(shell(&scratch, 1, "trap 'exit 0' TERM; while :; do sleep 0.05; done"), probes);
    let mut shim = Shim::started(&plan);
    let exit = shim.exit_of(0);
    let failure = exit.probe.unwrap();
    assert_eq!(exit.status, ExitStatus::SUCCESS);
    assert_eq!(failure.message, "no line of its output had the pattern");
    shim.ended();
    nothing_left(&plan);
}

#[test]
fn a_rank_that_feeds_its_watchdog_lives_and_one_that_stops_does_not() {
    let scratch = Scratch::new();
    let script = format!(
        "{SAY} echo $WATCHDOG_USEC; say READY=1; \
         for beat in 1 2 3 4 5 6; do say WATCHDOG=1; sleep 0.3; done; \
         test $RANK = 0 || exec sleep 600; while :; do say WATCHDOG=1; sleep 0.3; done"
    );
    let mut liveness = probe(ProbeHandler::Notify);
    (liveness.period, liveness.failure_threshold) = (Duration::from_secs(1), 2);
    let startup = Some(probe(ProbeHandler::Notify));
    let startup = startup.map(|startup| Probe { failure_threshold: 600, ..startup });
    let probes = Probes { startup, liveness: Some(liveness), ..Probes::default() };
    let plan = probed(shell(&scratch, 2, &script), probes);
    let mut shim = Shim::started(&plan);
    let exit = shim.exit_of(1);
    assert_eq!(exit.probe.unwrap().message, "no WATCHDOG=1 was heard within 1 s");
    assert_eq!(exit.stdout_tail, b"2000000\n");
    assert!(shim.exits().len() == 1, "rank 0 lives");
    end(shim, &plan);
}

#[test]
fn the_time_of_probes_stands_still_while_the_pod_does() {
    let scratch = Scratch::new();
    let mut liveness = log("beat");
    (liveness.period, liveness.failure_threshold) = (Duration::from_millis(700), 1);
    let probes = Probes { liveness: Some(liveness), ..Probes::default() };
    let plan = probed(shell(&scratch, 1, "while :; do echo beat; sleep 0.05; done"), probes);
    let mut shim = Shim::started(&plan);
    shim.order(ShimOrder::Suspend);
    // Well beyond the period, which is the point: nothing else can show that nothing happens.
    std::thread::sleep(Duration::from_secs(2));
    shim.order(ShimOrder::Resume);
    let seen = crate::support::text(&plan, 0).len();
    eventually("it goes on", || (crate::support::text(&plan, 0).len() > seen + 50).then_some(()));
    shim.stop(Duration::from_secs(5));
    let exit = shim.exit_of(0);
    assert_eq!((exit.probe, exit.after_stop), (None, true));
    assert_eq!(shim.ended_of(GENERATION).swept, 0);
}

#[test]
fn many_ranks_are_asked_at_once_and_a_quiet_pod_costs_nothing() {
    let scratch = Scratch::new();
    let mut slow = exec("exit 0");
    slow.period = Duration::from_secs(600);
    let plan = probed(shell(&scratch, 24, "exec sleep 600"), readiness(slow));
    let mut shim = Shim::started(&plan);
    for rank in 0..24 {
        ready(&mut shim, rank);
    }
    let before = crate::support::cpu_ticks(shim.process.pid());
    std::thread::sleep(Duration::from_millis(1500));
    let ticks = crate::support::cpu_ticks(shim.process.pid()) - before;
    assert!(ticks <= 2, "{ticks} clock ticks while nothing was due");
    end(shim, &plan);
}
