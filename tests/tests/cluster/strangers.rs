//! Who is not let in, each by name. What a handshake alone decides is tested beside it, in `common/net`.
//!
//! | who or what | tests; `trust` is `common/net/tests/trust.rs` |
//! |---|---|
//! | token: malformed, wrong, expired, used up, revoked | `a_token_that_is_malformed_wrong_…_joins_nobody` here; `trust::a_wrong_secret_does_not_sign_for_a_token` |
//! | token: of one session, used in another | `trust::a_request_signed_for_one_session_is_worth_nothing_in_another` |
//! | CA that does not match | `a_token_of_another_cluster_does_not_join_this_one_…` here; `trust::a_token_of_another_cluster_meets_a_ca_that_does_not_match` |
//! | no certificate; one on the protocol of joining; unknown protocol | `whoever_has_no_certificate_of_this_cluster_…` here; `trust::every_other_pair_…_is_refused` |
//! | certificate of another cluster | `whoever_has_no_certificate_of_this_cluster_…`, `a_removed_user_…` here; `trust::a_certificate_of_another_cluster_…` |
//! | certificate that expired; clocks that differ | `a_certificate_that_expired_…` here; `bad_input::a_clock_that_is_off_…`; `trust::an_expired_client_certificate_…`, `trust::a_coordinator_certificate_that_is_not_valid_now_…` |
//! | certificate of the wrong role: worker as client, user as worker | `a_removed_user_…` here; `frames::a_node_speaks_for_itself_alone` |
//! | certificate of the wrong role: worker or user as coordinator | `versions::a_workers_certificate_and_one_of_another_cluster_…`; `trust::a_workers_certificate_is_never_a_coordinators` |
//! | certificate of another node; reports, tails, files of others | `frames::a_node_speaks_for_itself_alone` |
//! | removed user; user who may not | `a_removed_user_…` here; `life::two_users_share_a_node_…` |
//! | older and newer protocol version | `versions::a_peer_of_an_older_or_newer_version_…`, `versions::a_worker_and_a_client_that_meet_…`, `versions::a_request_of_an_unknown_version_or_kind_…` |
//! | garbage, oversized, slow frames: joining | `trust::garbage_oversized_and_slow_join_requests_are_cut_off` |
//! | garbage, oversized, slow frames: control | `frames::garbage_and_oversized_frames_…`, `frames::what_a_certified_peer_begins_and_never_finishes_…` |
//! | more streams than allowed | `frames::a_peer_has_no_more_streams_than_it_is_allowed` |
//! | flood of garbage, and of handshakes, while a gang starts | `garbage_and_a_flood_of_handshakes_…` here |

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use phalanx_common::identity::Principal;
use phalanx_common::wire::{ALPN_CONTROL, join_v1};
use phalanx_net::authority::Keys;
use phalanx_net::identity_file::Identity;
use phalanx_net::token::Token;
use phalanx_net::{connect, tls, transport};
use ring::rand::SystemRandom;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::task::JoinSet;

use crate::lab::Lab;
use crate::peer;
use crate::quic::{DAY, authority, now};
use crate::support::{Finished, Running, wait_for};

fn lab() -> Option<Lab> {
    let mut lab = Lab::new(1)?;
    lab.serve();
    Some(lab)
}

pub(crate) fn token(lab: &Lab, args: &[&str]) -> String {
    let made = lab.operate(&[&["token", "create", "--quiet"], args].concat());
    made.assert_code(0).out().trim().to_owned()
}

/// Joins and ends, or says why not.
pub(crate) fn join(lab: &Lab, token: &str, state: &str) -> Finished {
    join_at(lab, ("node1", "10.77.0.1"), token, state)
}

/// The same on a host, with the coordinator at this address.
pub(crate) fn join_at(lab: &Lab, (host, address): (&str, &str), token: &str, state: &str) -> Finished {
    let state = lab.dir.join(state).to_string_lossy().into_owned();
    let worker = crate::lab::worker();
    let args = ["join", address, "--no-run", "--state-dir", &state, "--interface", "data0"];
    let mut command = lab.on(host, &worker, &args);
    command.env("PHALANX_TOKEN", token);
    Running::start(command).finish()
}

#[test]
fn a_token_that_is_malformed_wrong_expired_used_up_or_revoked_joins_nobody() {
    let Some(lab) = lab() else { return };
    for (text, why) in [("", "empty"), ("secret", "begins with `phx1.`"), ("phx1.aa.bb", "has 3 parts")] {
        join(&lab, text, "w").assert_code(125).assert_says(why);
    }
    let good = token(&lab, &["--uses", "2"]);
    let mut mistyped = good.clone();
    let middle = mistyped.len() / 2;
    let other = if mistyped.as_bytes()[middle] == b'0' { "1" } else { "0" };
    mistyped.replace_range(middle..=middle, other);
    join(&lab, &mistyped, "w").assert_code(125).assert_says("mistyped or cut off");
    // The first use is good; the second too; a third is not.
    join(&lab, &good, "w1").assert_code(0);
    join(&lab, &good, "w2").assert_code(0);
    join(&lab, &good, "w3").assert_code(125).assert_says("as often as it may be (2 of 2)");
    let short = token(&lab, &["--ttl", "1s"]);
    wait_for("the token to expire", || {
        lab.operate(&["token", "list"]).out().contains("expired").then_some(())
    });
    join(&lab, &short, "w4").assert_code(125).assert_says("expired at");
    let revoked = token(&lab, &[]);
    let id = revoked.split('.').nth(1).expect("an id").to_owned();
    lab.operate(&["token", "revoke", &id]).assert_code(0);
    join(&lab, &revoked, "w5").assert_code(125).assert_says("revoked");
    lab.operate(&["token", "revoke", "nonsense"]).assert_code(125).assert_says("no such token");
    assert!(!lab.log("coordinator").contains(&good), "a token in a log");
    for state in ["w3", "w4", "w5"] {
        assert!(!lab.dir.join(state).join("identity.json").exists(), "{state} has an identity");
    }
}

#[test]
fn a_token_of_another_cluster_does_not_join_this_one_and_an_unknown_one_is_told_no_more_than_that() {
    let Some(lab) = lab() else { return };
    let Some(other) = self::lab() else { return };
    let foreign = token(&other, &[]);
    join(&lab, &foreign, "w").assert_code(125).assert_says("its CA does not match the token");
    // Its own cluster takes it: the pin alone was wrong.
    join(&other, &foreign, "w").assert_code(0);
}

#[test]
fn a_removed_user_a_users_identity_at_another_cluster_and_a_workers_identity_get_nothing() {
    let Some(mut lab) = lab() else { return };
    let bundle = |name: &str| lab.dir.join(format!("{name}.json")).to_string_lossy().into_owned();
    lab.operate(&["user", "add", "ann", "--unix-user", "nobody", "--out", &bundle("ann")]).assert_code(0);
    let as_of = |lab: &Lab, identity: &str, args: &[&str]| {
        let mut command = lab.phalanx(args);
        command.env("PHALANX_IDENTITY", identity);
        Running::start(command).finish()
    };
    as_of(&lab, &bundle("ann"), &["nodes"]).assert_code(0);
    as_of(&lab, &bundle("ann"), &["token", "create"])
        .assert_code(125)
        .assert_says("submitter ann may not administer");
    lab.operate(&["user", "add", "eve", "--role", "viewer", "--out", &bundle("eve")]).assert_code(0);
    as_of(&lab, &bundle("eve"), &["ps"]).assert_code(0);
    as_of(&lab, &bundle("eve"), &["submit", "--", "true"]).assert_code(125).assert_says("viewer eve may not");
    lab.operate(&["user", "remove", "ann"]).assert_code(0);
    as_of(&lab, &bundle("ann"), &["nodes"]).assert_code(125).assert_says("counts no more");
    // Another name for the same file does not make a worker a client.
    join(&lab, &token(&lab, &[]), "w").assert_code(0);
    let worker = lab.dir.join("w/identity.json").to_string_lossy().into_owned();
    let mut command = lab.phalanx(&["nodes"]);
    command.env("PHALANX_IDENTITY", &worker);
    Running::start(command).finish().assert_code(125).assert_says("this is the identity of worker node1-");
    // Nor a user a worker.
    fs::rename(bundle("eve"), &worker).expect("another's identity in its place");
    let state = lab.dir.join("w").to_string_lossy().into_owned();
    let command = lab.on("node1", &crate::lab::worker(), &["run", "--state-dir", &state]);
    Running::start(command)
        .finish()
        .assert_code(125)
        .assert_says("is the identity of a viewer eve, not of a worker");
    let other = self::lab().expect("the first one came up");
    lab.operate(&["user", "add", "bob", "--unix-user", "nobody", "--out", &bundle("bob")]).assert_code(0);
    let stranger = as_of(&other, &bundle("bob"), &["nodes"]);
    stranger.assert_code(125).assert_says("not of cluster");
    // Who may read the key may be it: a file open to others is refused.
    fs::set_permissions(bundle("bob"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("chmod");
    as_of(&lab, &bundle("bob"), &["nodes"]).assert_code(125).assert_says("chmod 600");
    lab.kill("coordinator");
}

#[test]
fn whoever_has_no_certificate_of_this_cluster_is_refused_before_a_word_is_read() {
    let Some(lab) = lab() else { return };
    join(&lab, &token(&lab, &[]), "w").assert_code(0);
    let own = Identity::load(&lab.dir.join("w/identity.json")).expect("an identity");
    let other = authority();
    let pair = |principal: &Principal| {
        let keys = Keys::generate().expect("a key");
        let certificate = other.issue_for(principal, &keys, now(), DAY, &SystemRandom::new());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(keys.to_pkcs8()));
        Some((CertificateDer::from(certificate.expect("a certificate")), key))
    };
    let address: SocketAddr = lab.coordinator().parse().expect("an address");
    let name = own.cluster.server_name();
    let told = |alpn: &'static [u8], pair| {
        let name = name.clone();
        lab.within("node1", async move || peer::come(address, &name, alpn, pair).await)
    };
    let no_certificate = told(ALPN_CONTROL, None);
    assert!(no_certificate.contains("this protocol needs a certificate of the cluster"), "{no_certificate}");
    let unknown = told(b"h3", None);
    assert!(unknown.contains("speaks another version of this protocol"), "{unknown}");
    for principal in
        [own.principal.clone(), Principal::Operator { name: "operator".into() }, Principal::Coordinator]
    {
        for alpn in [ALPN_CONTROL, join_v1::ALPN] {
            let foreign = told(alpn, pair(&principal));
            assert!(foreign.contains("does not accept this certificate"), "{principal}: {foreign}");
        }
    }
    // Each is named, with the address it came from.
    let log = wait_for("a line for each", || {
        let log = lab.log("coordinator");
        (log.matches("a connection was refused").count() >= 7).then_some(log)
    });
    assert!(log.contains("from=10.77.0.11:"), "{log}");
    lab.operate(&["nodes"]).assert_code(0);
}

#[test]
fn a_certificate_that_expired_is_refused_by_a_coordinator_that_goes_on_with_others() {
    let Some(mut lab) = lab() else { return };
    lab.login();
    join(&lab, &token(&lab, &[]), "w").assert_code(0);
    lab.kill("coordinator");
    // A quarter later on all hosts: the coordinator has certified itself and its operator anew.
    for host in ["head", "node1"] {
        if !lab.set_clock(host, "+91d") {
            return;
        }
    }
    lab.serve();
    lab.run(&["nodes"]).assert_code(125).assert_says("this certificate has expired");
    let state = lab.dir.join("w").to_string_lossy().into_owned();
    let worker = Running::start(lab.on("node1", &crate::lab::worker(), &["run", "--state-dir", &state]));
    wait_for("the worker to be refused", || {
        let log = lab.log("coordinator");
        let refused = |line: &&str| line.contains("from=10.77.0.11:") && line.contains("handshake");
        // The second time it has said what became of the first.
        (log.lines().filter(refused).count() > 1).then_some(())
    });
    crate::support::kill(worker.pid(), "TERM");
    worker.finish().assert_says("this certificate has expired");
    lab.login();
    lab.run(&["nodes"]).assert_code(0);
}

/// A flood of handshakes is over within this.
const FLOODED: Duration = Duration::from_secs(60);
/// Handshakes of nobody in all, and how many of them at once.
const FLOOD: usize = 500;
const AT_ONCE: usize = 64;
/// What a coordinator may need for them: 30 kB each as measured, and as much again.
const MEMORY: u64 = 32 << 20;

#[test]
fn garbage_and_a_flood_of_handshakes_do_not_keep_a_gang_from_starting() {
    let Some(mut lab) = lab() else { return };
    lab.login();
    lab.join("node1");
    // Datagrams of every size, some that look like a QUIC Initial, thousands a second: as many as a core of
    // a busy host reads, for beyond that the kernel drops good and bad alike.
    let flood = "import os, socket, sys, time\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        end = time.time() + 8\n\
        n = 0\n\
        while time.time() < end:\n\
        \tn += 1\n\
        \tbody = os.urandom(1200) if n % 2 else os.urandom(n % 1400 + 1)\n\
        \thead = bytes([0xc3, 0, 0, 0, 1, 8]) + os.urandom(8) + bytes([8]) + os.urandom(8) + bytes([0, 0x44, 0x80])\n\
        \ttry: s.sendto((head + body)[:1252], ('10.77.0.1', 7429))\n\
        \texcept OSError: pass\n\
        \tif n % 20 == 0: time.sleep(0.004)\n\
        print(n)\n";
    let flooding = Running::start(lab.on("node1", "python3", &["-c", flood]));
    for _ in 0..3 {
        lab.run(&["run", "-n", "2", "--", "true"]).assert_code(0);
    }
    let sent: u64 = flooding.finish().assert_code(0).out().trim().parse().expect("a number");
    assert!(sent > 1000, "{sent} datagrams");
    let lines = lab.log("coordinator").lines().filter(|line| line.contains(" WARN ")).count();
    assert!(lines < 10, "garbage does not fill the log: {lines} warnings");
    lab.run(&["run", "-n", "2", "--", "true"]).assert_code(0);
}

/// Handshakes as a node makes them that joins, each held for a moment and the last until the coordinator
/// closes them; how many there were.
async fn flood(address: &str, pin: [u8; 32]) -> usize {
    let tls = tls::joiner(pin).expect("TLS of a joiner");
    let (mut under_way, mut finished) = (JoinSet::new(), 0);
    for number in 0..FLOOD {
        if under_way.len() >= AT_ONCE {
            finished += usize::from(matches!(under_way.join_next().await, Some(Ok(true))));
        }
        let (tls, address) = (tls.clone(), address.to_owned());
        let held = if number < FLOOD - AT_ONCE { peer::MOMENT } else { FLOODED };
        under_way.spawn(async move {
            let Ok(connected) = connect::connect(&tls, &[address], &transport::member()).await else {
                return false;
            };
            let _ = tokio::time::timeout(held, connected.connection.closed()).await;
            true
        });
    }
    while let Some(ended) = under_way.join_next().await {
        finished += usize::from(matches!(ended, Ok(true)));
    }
    finished
}

#[test]
fn a_flood_of_unauthenticated_handshakes_neither_delays_a_gang_nor_fills_the_memory() {
    let Some(mut lab) = lab() else { return };
    lab.login();
    lab.join("node1");
    let pin = *Token::parse(&token(&lab, &[])).expect("a token").pin();
    let before = lab.memory("coordinator");
    let address = lab.coordinator();
    let (finished, started, most) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| lab.within("node1", || flood(&address, pin)));
        let (mut started, mut most) = (0, 0);
        let began = Instant::now();
        while !flooding.is_finished() {
            lab.run(&["run", "-n", "2", "--start-timeout", "20", "--", "true"]).assert_code(0);
            started += 1;
            most = most.max(lab.memory("coordinator"));
            assert!(began.elapsed() < FLOODED, "the flood does not end");
        }
        (flooding.join().expect("the flood"), started, most)
    });
    assert!(finished > FLOOD / 2, "{finished} handshakes came through");
    assert!(started >= 2, "{started} gangs");
    assert!(most < before + MEMORY, "from {before} to {most} bytes");
    lab.wait_ready("node1");
}
