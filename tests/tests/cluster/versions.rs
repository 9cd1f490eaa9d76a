//! Peers of another version of the protocol, and coordinators that are none: each side says what the other
//! speaks, and what to do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use phalanx_common::id::NodeId;
use phalanx_common::identity::Principal;
use phalanx_common::wire::client_v1::{Reply, Request};
use phalanx_common::wire::{ClientHello, ServerHello, StreamHeader, StreamKind};
use phalanx_net::authority::Authority;
use phalanx_net::frames;
use phalanx_net::identity_file::Identity;
use quinn::Endpoint;
use tokio::sync::oneshot;

use crate::lab::{Lab, worker};
use crate::peer::{self, closed, opening, say};
use crate::quic::{authority, endpoint, identity, now};
use crate::strangers::{join, token};
use crate::support::{PATIENCE, Running, binary, kill};

/// What a healthy cluster does: a job runs on the node that has nothing to do with it.
fn assert_healthy(lab: &Lab) {
    lab.run(&["run", "-n", "2", "--", "true"]).assert_code(0);
}

#[test]
fn a_peer_of_an_older_or_newer_version_is_told_which_are_spoken_and_nothing_else_happens() {
    let Some(lab) = Lab::joined(1) else { return };
    join(&lab, &token(&lab, &[]), "w").assert_code(0);
    for file in ["w/identity.json", "user.json"] {
        let identity = Identity::load(&lab.dir.join(file)).expect("an identity");
        lab.within("node1", async || {
            for (lowest, highest) in [(0, 0), (2, 9)] {
                let connected = peer::connect(&identity).await;
                let (answer, _) = peer::hello(&connected.connection, &ClientHello { lowest, highest }).await;
                assert_eq!(answer, ServerHello::NoCommonVersion { lowest: 1, highest: 1 });
                closed(&connected.connection).await;
            }
            // The range counts, not its end.
            let connected = peer::connect(&identity).await;
            let (answer, _) =
                peer::hello(&connected.connection, &ClientHello { lowest: 0, highest: 9 }).await;
            assert!(matches!(answer, ServerHello::Welcome { version: 1, .. }), "{answer:?}");
            connected.connection.close(0u32.into(), b"");
            for (header, why) in [
                ([1, 7, 0], "stream of version 7; versions 1 to 1 are spoken here"),
                ([9, 1, 0], "stream of unknown kind 9"),
                ([5, 1, 0], "the first stream is the control stream"),
            ] {
                let connected = peer::connect(&identity).await;
                let _stream = say(&connected.connection, &header).await;
                let told = closed(&connected.connection).await;
                assert!(told.contains(why), "{told}");
            }
        });
    }
    let log = lab.log("coordinator");
    assert!(log.contains("a worker broke the protocol") && log.contains("a client broke the protocol"));
    // Who never said a report's Hello is no node.
    let nodes = lab.operate(&["nodes"]).out();
    assert_eq!(nodes.lines().count(), 2, "{nodes}");
    assert_healthy(&lab);
}

#[test]
fn a_request_of_an_unknown_version_or_kind_ends_its_stream_and_no_other() {
    let Some(lab) = Lab::joined(1) else { return };
    let identity = Identity::load(&lab.dir.join("user.json")).expect("an identity");
    lab.within("node1", async || {
        let connected = peer::connect(&identity).await;
        let (_, control) = peer::hello(&connected.connection, &ClientHello::own()).await;
        for header in [[5, 7, 0], [9, 1, 0], [2, 1, 0]] {
            let asked = opening(header, &Request::Nodes);
            let (_send, mut recv) = say(&connected.connection, &asked).await;
            assert!(recv.read_to_end(1).await.is_ok_and(|answer| answer.is_empty()), "{header:?}");
        }
        let header = StreamHeader { kind: StreamKind::Request, version: 1 };
        let (mut send, mut receive) = frames::open(&connected.connection, header).await.expect("a stream");
        send.write(&Request::Nodes).await.expect("a request");
        let answer: Reply = receive.read().await.expect("an answer");
        assert!(matches!(answer, Reply::Part(_)), "{answer:?}");
        drop(control);
    });
    assert_healthy(&lab);
}

/// A coordinator that is none, on loopback of this host, until dropped.
struct Impostor {
    dir: PathBuf,
    address: String,
    /// Dropped, it ends the thread that answers.
    _answers: oneshot::Sender<()>,
}

impl Impostor {
    /// Shows a certificate of `ca` for `principal`, and answers every Hello so.
    fn new(name: &str, ca: &Authority, principal: &Principal, answer: ServerHello) -> Impostor {
        let dir = std::env::temp_dir().join(format!("phx-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for the test");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("an event loop");
        let entered = runtime.enter();
        let (endpoint, address) = endpoint(ca, principal, now());
        drop(entered);
        let (answers, over) = oneshot::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = answer_all(endpoint, answer) => {}
                    _ = over => {}
                }
            });
        });
        Impostor { dir, address: address.to_string(), _answers: answers }
    }

    /// What a real client says, with exit code 125.
    fn client(&self, ca: &Authority) -> String {
        let operator = Principal::Operator { name: "op".into() };
        let path = self.dir.join("user.json");
        identity(ca, &operator, now(), &self.address).save(&path).expect("an identity file");
        let mut command = Command::new(binary());
        command.arg("nodes").env("PHALANX_IDENTITY", path).env("PHALANX_CONFIG", "/dev/null");
        let done = Running::start(piped(command)).finish();
        done.assert_code(125).err()
    }

    /// What a real worker logs, which goes on trying.
    fn worker(&self, ca: &Authority, says: &str) {
        let state = self.dir.join("worker");
        std::fs::create_dir_all(&state).expect("a directory for the worker");
        let node = Principal::Worker { node: NodeId::new("n-1") };
        identity(ca, &node, now(), &self.address)
            .save(&state.join("identity.json"))
            .expect("an identity file");
        let mut command = Command::new(worker());
        let state = state.to_string_lossy().into_owned();
        command.args(["run", "--interface", "lo", "--state-dir", &state]);
        let log = self.dir.join("worker.log");
        command.stdin(Stdio::null()).stderr(std::fs::File::create(&log).expect("a log file"));
        let mut child = command.spawn().expect("the worker starts");
        let said = wait_in(&log, says);
        kill(child.id(), "TERM");
        assert!(child.wait().expect("the worker ends").success(), "{said}");
        assert!(!said.contains("connected"), "{said}");
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn answer_all(endpoint: Endpoint, answer: ServerHello) {
    while let Some(incoming) = endpoint.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            let connection = incoming.await.ok()?;
            let (_, mut send, mut receive) = frames::accept(connection.accept_bi().await.ok()?).await.ok()?;
            receive.read::<ClientHello>().await.ok()?;
            send.write(&answer).await.ok()?;
            Some(connection.closed().await)
        });
    }
}

fn piped(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn wait_in(log: &Path, says: &str) -> String {
    let read = || std::fs::read_to_string(log).unwrap_or_default();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !read().contains(says) {
        assert!(std::time::Instant::now() < deadline, "the log lacks {says:?}:\n{}", read());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    read()
}

#[test]
fn a_worker_and_a_client_that_meet_a_coordinator_of_another_version_name_both_and_what_to_do() {
    let ca = authority();
    let says = "the coordinator speaks versions 2 to 3 of the control protocol, this program versions 1 to 1: upgrade the older of the two";
    let refusal = ServerHello::NoCommonVersion { lowest: 2, highest: 3 };
    let newer = Impostor::new("newer", &ca, &Principal::Coordinator, refusal);
    assert!(newer.client(&ca).contains(says), "{}", newer.client(&ca));
    newer.worker(&ca, says);
    // A coordinator that does not ask but chooses what it was not offered.
    let welcome = ServerHello::Welcome { version: 4, epoch: 1 };
    let bold = Impostor::new("bold", &ca, &Principal::Coordinator, welcome);
    assert!(bold.client(&ca).contains("versions 4 to 4"), "{}", bold.client(&ca));
    bold.worker(&ca, "versions 4 to 4");
}

#[test]
fn a_workers_certificate_and_one_of_another_cluster_are_never_taken_for_a_coordinators() {
    let (ca, other) = (authority(), authority());
    let welcome = ServerHello::Welcome { version: 1, epoch: 9 };
    let node = Principal::Worker { node: NodeId::new("n-2") };
    let user = Principal::Operator { name: "eve".into() };
    for (name, principal) in [("worker", node), ("user", user)] {
        let impostor = Impostor::new(name, &ca, &principal, welcome.clone());
        let told = impostor.client(&ca);
        assert!(told.contains("its certificate is not a coordinator's"), "{told}");
        impostor.worker(&ca, "its certificate is not a coordinator's");
    }
    let impostor = Impostor::new("other", &other, &Principal::Coordinator, welcome);
    let told = impostor.client(&ca);
    assert!(told.contains(&format!("it is not of cluster {}", ca.cluster())), "{told}");
    impostor.worker(&ca, "it is not of cluster");
}
