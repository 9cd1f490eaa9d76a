//! Peers with a good certificate that say what makes no sense, or what is not theirs to say: each case ends
//! at that peer, and the coordinator goes on.

use std::time::{Duration, Instant};

use phalanx_common::defaults::MAX_JOBS_OF_USER;
use phalanx_common::id::{Generation, Incarnation, JobId, NodeId, Rank};
use phalanx_common::identity::Principal;
use phalanx_common::report::{
    NodeReport, Notice, PodEnd, PrepareFailure, PrepareFailureKind, RankExit, Report,
};
use phalanx_common::time::Timestamp;
use phalanx_common::wire::ClientHello;
use phalanx_common::wire::bytes::Bytes;
use phalanx_common::wire::client_v1::{Reply, Request, Submit};
use phalanx_common::wire::v1::{FileFrame, FileRequest, Stream, TailFrame};
use phalanx_common::wire::{StreamHeader, StreamKind};
use phalanx_net::frames;
use phalanx_net::identity_file::Identity;
use phalanx_net::transport::{MORE_STREAMS, STREAMS};
use phalanx_worker::link::{FileLink, Link, QuicLink, TailLink};

use crate::lab::Lab;
use crate::peer::{self, MOMENT, closed, hello, opening, say};
use crate::strangers::{join, token};
use crate::support::{Running, wait_for};

const CONTROL: [u8; 3] = [1, 1, 0];
const REQUEST: [u8; 3] = [5, 1, 0];

/// A cluster with one healthy node, and the identities of a user and of a worker that does not run.
fn lab() -> Option<(Lab, Identity, Identity)> {
    let lab = Lab::joined(1)?;
    join(&lab, &token(&lab, &[]), "w").assert_code(0);
    let load = |file: &str| Identity::load(&lab.dir.join(file)).expect("an identity");
    let (user, worker) = (load("user.json"), load("w/identity.json"));
    Some((lab, user, worker))
}

fn assert_healthy(lab: &Lab) {
    lab.run(&["run", "-n", "2", "--", "true"]).assert_code(0);
}

/// What a frame must not be, behind its stream's header.
fn nonsense() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    vec![
        ("noise", noise, "a frame is broken: frame of"),
        (
            "no message",
            [&8u32.to_le_bytes()[..], &[0xff; 8]].concat(),
            "a frame is broken: frame does not decode",
        ),
        ("too large", (2u32 << 20).to_le_bytes().to_vec(), "is over the cap"),
        ("trailing", [&4u32.to_le_bytes()[..], &[3, 1, 1, 1]].concat(), "bytes follow the message"),
    ]
}

#[test]
fn garbage_and_oversized_frames_of_a_certified_peer_end_its_connection_and_nothing_else() {
    let Some((lab, user, worker)) = lab() else { return };
    for identity in [&user, &worker] {
        lab.within("node1", async || {
            for (what, bytes, why) in nonsense() {
                let connected = peer::connect(identity).await;
                let _stream = say(&connected.connection, &[&CONTROL[..], &bytes].concat()).await;
                let told = closed(&connected.connection).await;
                assert!(told.contains(why), "{what}: {told}");
            }
        });
    }
    lab.within("node1", async || {
        // Behind a good Hello: a worker's control stream is its connection, a client's request is one of many.
        for (what, bytes, _) in nonsense() {
            let connected = peer::connect(&worker).await;
            let (_, (mut send, _recv)) = hello(&connected.connection, &ClientHello::own()).await;
            let _ = send.write_all(&bytes).await;
            let told = closed(&connected.connection).await;
            assert!(told.contains("a frame is broken"), "{what}: {told}");
        }
        let connected = peer::connect(&user).await;
        let (_, _control) = hello(&connected.connection, &ClientHello::own()).await;
        for (what, bytes, _) in nonsense() {
            let (_send, mut recv) = say(&connected.connection, &[&REQUEST[..], &bytes].concat()).await;
            assert!(recv.read_to_end(1).await.is_ok_and(|answer| answer.is_empty()), "{what}");
        }
        let header = StreamHeader { kind: StreamKind::Request, version: 1 };
        let (mut send, mut receive) = frames::open(&connected.connection, header).await.expect("a stream");
        send.write(&Request::Jobs { ended: true }).await.expect("a request");
        assert!(matches!(receive.read::<Reply>().await, Ok(Reply::Part(_))));
    });
    assert_healthy(&lab);
}

#[test]
fn what_a_certified_peer_begins_and_never_finishes_is_cut_off_in_time() {
    let Some((lab, user, worker)) = lab() else { return };
    let began = Instant::now();
    lab.within("node1", async || {
        let half_a_hello: &[u8] = &[1, 1, 0, 4, 0, 0, 0, 1];
        let (user, worker) = (&user, &worker);
        let never = async |identity: &Identity, bytes: &[u8]| {
            let connected = peer::connect(identity).await;
            let _stream = match bytes {
                [] => None,
                bytes => Some(say(&connected.connection, bytes).await),
            };
            let told = closed(&connected.connection).await;
            assert!(told.contains("no Hello came in time"), "{told}");
        };
        // A stream that ends before the rest of it comes ends with nothing, and its connection lives.
        let half = async |bytes: Vec<u8>| {
            let connected = peer::connect(user).await;
            let (_, _control) = hello(&connected.connection, &ClientHello::own()).await;
            let (_send, mut recv) = say(&connected.connection, &bytes).await;
            let answer = recv.read_to_end(1 << 16).await.expect("the stream ends");
            assert!(connected.connection.close_reason().is_none());
            String::from_utf8_lossy(&answer).into_owned()
        };
        let put = Request::Put { digest: "00".repeat(32), bytes: 1 << 20, as_user: None };
        let (request, piece, ..) = tokio::join!(
            half([&REQUEST[..], &100u32.to_le_bytes(), &[0; 3]].concat()),
            half(opening(REQUEST, &put)),
            half(REQUEST[..2].to_vec()),
            never(user, &[]),
            never(user, half_a_hello),
            never(worker, &[]),
            never(worker, &CONTROL[..1]),
            never(worker, half_a_hello),
        );
        assert_eq!(request, "");
        assert!(piece.contains("the directory broke off"), "{piece}");
    });
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    // What was half there is removed after its sender was answered.
    let ship = lab.dir.join("coordinator/ship");
    wait_for("what broke off to be removed", || ship.read_dir().ok()?.next().is_none().then_some(()));
    assert_healthy(&lab);
}

#[test]
fn a_peer_has_no_more_streams_than_it_is_allowed() {
    let Some((lab, user, _)) = lab() else { return };
    lab.within("node1", async || {
        let connected = peer::connect(&user).await;
        let connection = &connected.connection;
        let mut open = Vec::new();
        let (_, control) = hello(connection, &ClientHello::own()).await;
        open.push(control);
        while let Ok(stream) = tokio::time::timeout(MOMENT, say(connection, &REQUEST[..1])).await {
            open.push(stream);
        }
        let most = (MORE_STREAMS + STREAMS) as usize;
        assert!(open.len() > STREAMS as usize && open.len() <= most, "{} streams", open.len());
    });
    assert_healthy(&lab);
}

/// A worker that runs nothing, at the coordinator as node `name`.
async fn impostor(identity: &Identity, name: &str) -> (QuicLink, quinn::Connection) {
    let connected = peer::connect(identity).await;
    let connection = connected.connection.clone();
    let mut link = QuicLink::greet(connected.endpoint, connected.connection).await.expect("a Hello");
    let report = NodeReport {
        node: NodeId::new(name),
        incarnation: Incarnation(1),
        host_name: "node9".into(),
        cores: 1,
        slots: 0,
        user: None,
        clock: crate::quic::now(),
        version: "0".into(),
        ports: (20_000, 20_100),
        address: [10, 78, 0, 99].into(),
        interface: None,
        networks: Vec::new(),
        pods: Vec::new(),
    };
    link.send((&Report::Hello(Box::new(report))).into()).await.expect("its Hello is taken");
    (link, connection)
}

#[test]
fn a_node_speaks_for_itself_alone() {
    let Some((lab, user, worker)) = lab() else { return };
    let Principal::Worker { node: own } = worker.principal.clone() else { panic!("a worker's identity") };
    let code = lab.dir.join("code");
    std::fs::create_dir_all(&code).expect("a directory to ship");
    std::fs::write(code.join("secret.py"), "print()").expect("a file to ship");
    let ship = code.to_string_lossy().into_owned();
    let script = format!("until [ -e {}/go ]; do echo mine; sleep 0.2; done", lab.dir.display());
    let running =
        Running::start(lab.phalanx(&["run", "-n", "1", "--ship", &ship, "--", "sh", "-c", &script]));
    let job = wait_for("the job to run", || {
        let jobs = lab.operate(&["ps"]).out();
        let line = jobs.lines().find(|line| line.contains(" running "))?;
        Some(line.split_whitespace().next()?.to_owned())
    });
    let nodes = lab.operate(&["nodes"]).out();
    let healthy = nodes.lines().find(|line| line.contains(" 1/4 ")).expect("the job's node").to_owned();
    let healthy = healthy.split_whitespace().next().expect("a name").to_owned();
    let (id, generation) = (JobId::from_existing(job.as_str()), Generation(1));
    let exit = RankExit {
        rank: Rank(0),
        attempt: 0,
        status: phalanx_common::exit::ExitStatus::Code(66),
        at: Timestamp(1),
        after_stop: false,
        port_conflict: false,
        stderr_tail: b"forged".to_vec(),
        stdout_tail: Vec::new(),
        error_file: None,
        probe: None,
        oom: None,
    };
    let reason = PrepareFailure { kind: PrepareFailureKind::Job, message: "forged".into() };
    let notice = || Notice::Refused { what: "forged".into() };
    let nobodys = JobId::from_existing("no-job-at-all");
    let lies = [
        Report::Exited { job: id.clone(), generation, exit },
        Report::NotPrepared { job: id.clone(), generation, reason },
        Report::PodEnded {
            job: id.clone(),
            generation,
            end: PodEnd { shim_lost: true, ..PodEnd::default() },
        },
        Report::Notice { job: Some(id.clone()), notice: notice() },
        Report::Notice { job: Some(nobodys.clone()), notice: notice() },
        Report::Started { job: nobodys, generation, pids: vec![1] },
    ];
    lab.within("node1", async || {
        // As somebody else: not even heard.
        let (_link, connection) = impostor(&worker, &healthy).await;
        let told = closed(&connection).await;
        assert!(told.contains("the certificate is another node's"), "{told}");
        // Before its Hello.
        let connected = peer::connect(&worker).await;
        let mut link =
            QuicLink::greet(connected.endpoint, connected.connection.clone()).await.expect("a Hello");
        link.send((&lies[0]).into()).await.expect("a report is taken");
        let told = closed(&connected.connection).await;
        assert!(told.contains("a worker reports before its Hello"), "{told}");
        // As itself, of a job that is not its.
        let (mut link, connection) = impostor(&worker, own.as_str()).await;
        for lie in &lies {
            link.send(lie.into()).await.expect("a report is taken");
        }
        let mut file = link.open_file().await.expect("a stream");
        file.ask(FileRequest { job: job.clone() }).await.expect("a request");
        let answer = file.next().await.expect("an answer");
        assert!(matches!(&answer, FileFrame::Refused { why } if why.contains("has no pod")), "{answer:?}");
        let mut tails = link.open_tails().await.expect("a stream");
        let frame = |job: &str| TailFrame {
            job: job.to_owned(),
            generation: 1,
            rank: 0,
            stream: Stream::Stdout,
            written: 7,
            bytes: Bytes(b"forged\n".to_vec()),
        };
        for job in [job.as_str(), "../../../../etc"] {
            tails.send(frame(job)).await.expect("a tail is taken");
        }
        let refused = "a node sent output of a rank that it does not have";
        while lab.log("coordinator").matches(refused).count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(connection.close_reason().is_none());
    });
    // A user is no worker, whatever it says.
    lab.within("node1", async || {
        let (_link, connection) = impostor(&user, &healthy).await;
        assert!(tokio::time::timeout(MOMENT, connection.closed()).await.is_err(), "nobody reads it");
    });
    lab.wait_ready("node1");
    std::fs::write(lab.dir.join("go"), "").expect("a file");
    let done = running.finish();
    done.assert_code(0);
    assert!(!done.err().contains("forged") && !done.out().contains("forged"), "{}{}", done.err(), done.out());
    let log = lab.log("coordinator");
    assert!(
        log.contains("reported a pod of job") && log.contains("of which it has no pod"),
        "lies are named"
    );
    let tails = lab.dir.join("coordinator/tails");
    let kept = std::fs::read_dir(tails.join(&job)).map(|files| {
        let texts = files.flatten().map(|file| std::fs::read_to_string(file.path()).unwrap_or_default());
        texts.collect::<String>()
    });
    assert!(!kept.unwrap_or_default().contains("forged"));
    assert_healthy(&lab);
}

#[test]
fn a_user_who_submits_without_end_is_stopped_at_a_bound_and_others_are_not() {
    let Some((lab, user, _)) = lab() else { return };
    // The first waits for room for ever; in strict order all others wait behind it.
    let checked = lab.run(&["check", "-n", "1000", "--", "true"]);
    let document = format!(r#"{{"job": {}}}"#, checked.assert_code(0).out());
    lab.within("head", async || {
        // Each has a connection of its own: the events of a job keep its stream.
        let submit = async || {
            let connected = peer::connect(&user).await;
            let (_, _control) = hello(&connected.connection, &ClientHello::own()).await;
            let header = StreamHeader { kind: StreamKind::Request, version: 1 };
            let (mut send, mut receive) =
                frames::open(&connected.connection, header).await.expect("a stream");
            let submit =
                Submit { document: document.clone(), as_user: None, attached: false, secrets: Vec::new() };
            send.write(&Request::Submit(submit)).await.expect("a request");
            receive.read::<Reply>().await.expect("an answer")
        };
        for _ in 0..MAX_JOBS_OF_USER {
            let reply = submit().await;
            assert!(matches!(reply, Reply::Submitted { .. }), "{reply:?}");
        }
        let Reply::Refused { why, .. } = submit().await else { panic!("one more is taken") };
        assert!(why.contains("as many as one user may"), "{why}");
    });
    let bundle = lab.dir.join("gil.json").to_string_lossy().into_owned();
    lab.operate(&["user", "add", "gil", "--unix-user", "games", "--out", &bundle]).assert_code(0);
    let mut other = lab.phalanx(&["submit", "--", "true"]);
    other.env("PHALANX_IDENTITY", bundle);
    Running::start(other).finish().assert_code(0);
}
