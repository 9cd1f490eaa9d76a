//! Jobs of several Unix users on one node, and what they can do to each other and to it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::Lab;
use crate::support::{Running, children, environ, kill, parent, state, wait_for};

/// Two Unix users of this test's own; removed with it.
struct Users(Vec<String>);

impl Users {
    fn new(names: &[&str]) -> Users {
        let users =
            Users(names.iter().map(|name| format!("phx{name}{}", std::process::id() % 10_000)).collect());
        for user in &users.0 {
            let made =
                Command::new("useradd").args(["--no-create-home", "--shell", "/bin/sh", user]).status();
            assert!(made.is_ok_and(|status| status.success()), "a user for the test");
        }
        users
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        for user in &self.0 {
            let _ = Command::new("userdel").args(["--force", user]).stderr(Stdio::null()).status();
        }
    }
}

fn bundle(lab: &Lab, user: &str) -> String {
    lab.dir.join(format!("{user}.json")).to_string_lossy().into_owned()
}

/// Makes a Unix user one of the cluster's.
fn admit(lab: &Lab, user: &str) {
    lab.operate(&["user", "add", user, "--unix-user", user, "--out", &bundle(lab, user)]).assert_code(0);
}

/// `phalanx` on the head, with this user's identity.
fn as_user(lab: &Lab, user: &str, args: &[&str]) -> Running {
    let mut command = lab.phalanx(args);
    command.env("PHALANX_IDENTITY", bundle(lab, user));
    Running::start(command)
}

/// A file that a job of the user writes and this test reads; removed with it.
struct Note(String);

impl Note {
    fn of(user: &str, name: &str) -> Note {
        Note(format!("/tmp/{user}-{name}"))
    }

    /// The number in it, once it is there.
    fn number(&self) -> u32 {
        wait_for(&self.0, || std::fs::read_to_string(&self.0).ok()?.trim().parse().ok())
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn is_alive(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// Leaves its session, its parents and its environment, and writes its process id where `$0` says.
const DAEMON: &str =
    r#"(env -i setsid sh -c 'echo $$ > "$0"; sleep 1000' "$0" &) ; until [ -s "$0" ]; do sleep 0.05; done"#;

#[test]
fn what_hides_from_its_job_ends_with_it_whoever_of_shim_and_worker_is_killed() {
    let Some(mut lab) = Lab::new(1) else { return };
    lab.serve();
    lab.join_plain("node1");
    let users = Users::new(&["eve"]);
    let eve = &users.0[0];
    admit(&lab, eve);
    let run = |lab: &Lab, script: &str, note: &Note| {
        as_user(lab, eve, &["run", "-C", "/", "--", "sh", "-c", script, &note.0])
    };
    let gone = |what: &str, pid: u32| wait_for(what, || (!is_alive(pid)).then_some(()));

    let note = Note::of(eve, "ends");
    run(&lab, DAEMON, &note).finish().assert_code(0);
    assert!(!is_alive(note.number()), "its rank ended, and the job says that nothing is left");

    if lab.pod_cgroups("node1").is_none() {
        return;
    }
    let no_cgroup = || (lab.pod_cgroups("node1") == Some(Vec::new())).then_some(());
    wait_for("a pod's cgroup to go with the pod", no_cgroup);
    // The job itself kills all who would end the daemon, and tries to get out first.
    let note = Note::of(eve, "kills");
    let script = format!(
        "here=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup | tail -n 1); pod=${{here%/*}}; \
         {{ echo $$ > ${{pod%/*}}/cgroup.procs && echo out; echo 1 > $pod/cgroup.kill && echo killed; \
         rmdir $pod && echo removed; mkdir $pod/mine && echo $$ > $pod/mine/cgroup.procs && echo inside; }} > $0.said; \
         {DAEMON}; pkill -9 -P $PPID -x phalanx-guard; kill -9 $PPID; sleep 1000"
    );
    let said = Note(format!("{}.said", note.0));
    run(&lab, &script, &note).finish();
    assert_eq!(std::fs::read_to_string(&said.0).unwrap(), "inside\n");
    gone("the daemon of a job that killed its shim to end", note.number());

    // Worker, shim and guardian at once: the next worker has nothing to go by but the cgroup.
    let note = Note::of(eve, "outlives");
    let running = run(&lab, &format!("{DAEMON}; echo $$ > $0.rank; sleep 1000"), &note);
    let rank = Note(format!("{}.rank", note.0)).number();
    let shim = parent(rank);
    let daemon = note.number();
    let guardian = children(shim).into_iter().find(|child| ![rank, daemon].contains(child)).unwrap();
    lab.kill("node1");
    kill(guardian, "KILL");
    kill(shim, "KILL");
    gone("the rank to die with its shim", rank);
    assert!(is_alive(daemon), "nobody has ended it yet");
    lab.start_worker_with("node1", &[]);
    running.finish();
    lab.wait_ready("node1");
    assert!(!is_alive(daemon), "the node is ready when nothing is left");
    assert_eq!(lab.pod_cgroups("node1"), Some(Vec::new()));
}

#[test]
fn a_user_who_stops_the_shim_does_not_keep_the_node_from_coming_back() {
    let Some(mut lab) = Lab::new(1) else { return };
    lab.serve();
    lab.join_plain("node1");
    let users = Users::new(&["joe"]);
    let joe = &users.0[0];
    admit(&lab, joe);
    let note = Note::of(joe, "stops");
    let script = "kill -STOP $PPID; echo $$ > $0; sleep 1000";
    let running = as_user(&lab, joe, &["run", "-C", "/", "--", "sh", "-c", script, &note.0]);
    let rank = note.number();
    let shim = parent(rank);
    lab.kill("node1");
    lab.start_worker_with("node1", &[]);
    running.finish();
    lab.wait_ready("node1");
    assert!(!is_alive(rank));
    as_user(&lab, joe, &["run", "-C", "/", "--", "true"]).finish().assert_code(0);
    if lab.pod_cgroups("node1").is_some() {
        assert!(!is_alive(shim), "and the shim is ended with its cgroup");
    }
}

#[test]
fn two_users_share_a_node_and_neither_can_touch_the_other() {
    let Some(mut lab) = Lab::new(1) else { return };
    lab.serve();
    // No --allow-root-jobs: this node refuses root.
    lab.join_with("node1", &["--ports", "20000-20031"]);
    let users = Users::new(&["ann", "bob"]);
    let [ann, bob] = [&users.0[0], &users.0[1]];
    admit(&lab, ann);
    admit(&lab, bob);
    let as_user = |user: &str, args: &[&str]| as_user(&lab, user, args);
    // Ann's rank waits, with a secret in its environment, a file in its TMPDIR and a directory of its own.
    let script = "id -un; echo $HOME; echo private > $TMPDIR/file; echo $$ > /tmp/$USER-pid; chmod 644 /tmp/$USER-pid; \
                  until [ -e /tmp/$USER-go ]; do sleep 0.1; done";
    let code = lab.dir.join("code");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("source"), "mine\n").unwrap();
    let ship = code.to_string_lossy();
    let anns = as_user(ann, &["run", "--ship", &ship, "-e", "SECRET=hush", "--", "sh", "-c", script]);
    let pid: u32 = wait_for("ann's rank", || {
        std::fs::read_to_string(format!("/tmp/{ann}-pid")).ok()?.trim().parse().ok()
    });
    let uid = nix::unistd::User::from_name(ann).unwrap().unwrap().uid.as_raw();
    let owner_and_mode = |path: &Path| {
        let meta = std::fs::symlink_metadata(path).unwrap();
        (meta.uid(), meta.mode() & 0o777)
    };
    let owner = |path: String| owner_and_mode(Path::new(&path)).0;
    assert_eq!(owner(format!("/proc/{pid}")), uid, "the rank is ann's process");
    let shim = parent(pid);
    assert_eq!(owner(format!("/proc/{shim}")), uid, "and so is its shim");
    assert!(!environ(pid).contains("PHALANX_TOKEN"), "nothing of the worker's own is passed on");
    let pods = lab.dir.join("node1/pods");
    let pod = std::fs::read_dir(&pods).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap().path();
    let logs = lab.dir.join("node1/logs").join(ann);
    let ships = lab.dir.join("node1/ship").join(ann);
    let archive = std::fs::read_dir(&ships).unwrap().flatten().next().unwrap().path();
    for (path, mode) in [(&pod, 0o700), (&logs, 0o700), (&ships, 0o700), (&archive, 0o600)] {
        assert_eq!(owner_and_mode(path), (uid, mode), "{}", path.display());
    }
    let cgroups = std::fs::read_to_string(format!("/proc/{shim}/cgroup")).unwrap();
    let cgroup = cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/none");
    // Bob's rank tries what it can.
    let attack = format!(
        "for pid in {pid} {shim}; do for signal in 9 STOP CONT; do kill -$signal $pid && echo signalled; done; \
         cat /proc/$pid/environ && echo read; ls /proc/$pid/fd/ && echo sockets; done; \
         ls {pod} && echo listed; cat {pod}/tmp/file && echo read; touch {pods}/new && echo made; \
         mv {pod} {pod}.gone && echo moved; ls {logs} && echo listed; ls {ships} && echo listed; \
         cat {archive} && echo read; echo 1 > /sys/fs/cgroup{cgroup}/cgroup.kill && echo killed; \
         echo $$ > /sys/fs/cgroup{cgroup}/cgroup.procs && echo inside; echo $(id -un) is done",
        pod = pod.display(),
        pods = pods.display(),
        logs = logs.display(),
        ships = ships.display(),
        archive = archive.display(),
    );
    let bobs = as_user(bob, &["run", "-C", "/", "--", "sh", "-c", &attack]).finish();
    bobs.assert_code(0);
    assert_eq!(bobs.out(), format!("[0] {bob} is done\n"));
    // Holding the names of all ports of the node keeps nobody else off them.
    let note = Note::of(bob, "holds");
    let squat = "use Socket; for (20000..20031) { socket($s[$_], PF_UNIX, SOCK_STREAM, 0); \
                 bind($s[$_], pack_sockaddr_un(qq(\\0phalanx-port-$_))) and $held++; listen($s[$_], 1) } \
                 open(F, '>', shift); print F qq($held\\n); close(F); sleep 1000";
    let squatter = as_user(bob, &["run", "-C", "/", "--", "perl", "-we", squat, &note.0]);
    assert!(note.number() > 20, "the names are held");
    as_user(ann, &["run", "-C", "/", "--", "true"]).finish().assert_code(0);
    kill(squatter.pid(), "INT");
    squatter.finish();
    // Bob's client gets no further.
    let jobs = lab.operate(&["ps"]).out();
    let job = jobs
        .lines()
        .find(|line| line.contains(ann.as_str()))
        .and_then(|line| line.split_whitespace().next())
        .unwrap()
        .to_owned();
    for args in [&["stop", &job][..], &["logs", &job], &["attach", &job]] {
        let denied = as_user(bob, args).finish();
        denied.assert_code(125).assert_says(&format!("submitter {bob} may not"));
    }
    as_user(bob, &["token", "create"]).finish().assert_code(125).assert_says("may not administer");
    as_user(bob, &["run", "-C", "/", "--as", ann, "--", "true"])
        .finish()
        .assert_code(125)
        .assert_says("may not");
    std::fs::write(format!("/tmp/{ann}-go"), "").unwrap();
    let done = anns.finish();
    for file in ["go", "pid"] {
        std::fs::remove_file(format!("/tmp/{ann}-{file}")).unwrap();
    }
    done.assert_code(0);
    assert!(done.out().starts_with(&format!("[0] {ann}\n[0] /home/{ann}\n")), "{}", done.out());
    wait_for("the pod's directory to go", || (!pod.exists()).then_some(()));
    // Root on the coordinator's host is not root on this node.
    lab.login();
    let root = lab.run(&["run", "-C", "/", "--", "id"]);
    root.assert_code(125).assert_says("jobs of root are not allowed on this node");
}

#[test]
fn a_user_who_connects_and_says_nothing_keeps_nobody_else_from_logging_in() {
    let Some(mut lab) = Lab::new(0) else { return };
    lab.serve();
    let users = Users::new(&["mallory"]);
    let socket = lab.dir.join("coordinator/login.sock");
    let silent = "import os, socket, sys, time; note = open('silent', 'w'); os.setuid(int(sys.argv[2]))\n\
         many = [socket.socket(socket.AF_UNIX) for _ in range(64)]\n\
         [one.connect(sys.argv[1]) for one in many]; note.write('connected'); note.flush(); time.sleep(600)";
    let id = Command::new("id").args(["-u", &users.0[0]]).output().unwrap();
    let id = String::from_utf8(id.stdout).unwrap();
    let args = ["-c", silent, &socket.to_string_lossy(), id.trim()];
    let stranger = Running::start(lab.on("head", "python3", &args));
    lab.wait_for_file("silent", "connected");
    lab.login();
    kill(stranger.pid(), "KILL");
    stranger.finish();
}
