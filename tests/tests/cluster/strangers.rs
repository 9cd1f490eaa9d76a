//! Who is not let in, each by name. What a handshake alone decides is tested beside it, in `common/net`.

use std::fs;

use crate::lab::Lab;
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
    let state = lab.dir.join(state).to_string_lossy().into_owned();
    let worker = crate::lab::worker();
    let mut command = lab.on(
        "node1",
        &worker,
        &["join", "10.77.0.1", "--no-run", "--state-dir", &state, "--interface", "data0"],
    );
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
    join(&lab, &good, "w3").assert_code(125).assert_says("was used 2 times");
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
    assert_eq!(Running::start(command).finish().status.code(), Some(125));
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
fn garbage_and_a_flood_of_handshakes_do_not_keep_a_gang_from_starting() {
    let Some(mut lab) = lab() else { return };
    lab.login();
    lab.join("node1");
    // Datagrams of every size, some that look like a QUIC Initial, as fast as the host makes them.
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
        print(n)\n";
    let flooding = Running::start(lab.on("node1", "python3", &["-c", flood]));
    for _ in 0..3 {
        lab.run(&["run", "-n", "2", "--", "true"]).assert_code(0);
    }
    let sent: u64 = flooding.finish().assert_code(0).out().trim().parse().expect("a number");
    assert!(sent > 1000, "{sent} datagrams");
    lab.run(&["run", "-n", "2", "--", "true"]).assert_code(0);
}
