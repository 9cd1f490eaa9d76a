//! What cannot work is refused in Prepare, in words that say what to do, and leaves nothing behind.

use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Child, Command, Stdio};

use phalanx_common::report::PrepareFailureKind::{
    self, CommandNotExecutable, CommandNotFound, Node, PortTaken,
};
use phalanx_worker_core::shim::ShimPlan;

use crate::support::{Scratch, Shim, code, command, free_port, is_root, shell, skipped, text};

/// The plan is refused with this kind, and the message holds all of these words.
fn refused(plan: &ShimPlan, kind: PrepareFailureKind, words: &[&str]) {
    let mut shim = Shim::start();
    let reason = shim.refused(plan);
    assert_eq!(reason.kind, kind, "{}", reason.message);
    for word in words {
        assert!(reason.message.contains(word), "{word:?} is not in {:?}", reason.message);
    }
    shim.exit(true);
    assert!(!fs::exists(&plan.ranks[0].log_dir).unwrap_or(false), "a log directory was left");
}

#[test]
fn a_command_that_is_not_in_path_is_refused_with_what_was_searched() {
    let scratch = Scratch::new();
    let mut plan = command(&scratch, 1, &["no-such-command-here"]);
    refused(&plan, CommandNotFound, &["no-such-command-here: command not found", "/bin"]);
    plan.command = vec![scratch.path("missing")];
    refused(&plan, CommandNotFound, &["missing", "No such file or directory"]);
    plan.command = Vec::new();
    refused(&plan, CommandNotFound, &["no command"]);
    assert!(!fs::exists(&plan.job_dir).unwrap());
}

#[test]
fn the_path_of_the_rank_counts_and_not_that_of_the_shim() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("bin")).unwrap();
    scratch.script("bin/mine", "#!/bin/sh\necho mine\n");
    let mut plan = command(&scratch, 1, &["mine"]);
    refused(&plan, CommandNotFound, &["mine: command not found"]);
    plan.ranks[0].env.push(("PATH".into(), format!("/nowhere:{}", scratch.path("bin"))));
    let mut shim = Shim::prepared(&plan);
    shim.run_to_end();
    assert_eq!(text(&plan, 0), "mine\n");
    shim.exit(false);
}

#[test]
fn a_python_script_that_cannot_be_executed_is_answered_with_python() {
    let scratch = Scratch::new();
    fs::write(scratch.path("train.py"), "print(1)\n").unwrap();
    let mut plan = command(&scratch, 1, &["train.py"]);
    plan.working_dir = Some(scratch.path("."));
    refused(&plan, CommandNotFound, &["command not found", "`python train.py`"]);
    plan.command = vec!["./train.py".into()];
    refused(&plan, CommandNotExecutable, &["Permission denied", "`python ./train.py`"]);
    fs::set_permissions(scratch.path("train.py"), fs::Permissions::from_mode(0o755)).unwrap();
    refused(&plan, CommandNotExecutable, &["neither a binary nor a script", "`python ./train.py`"]);
}

#[test]
fn what_exists_and_cannot_be_executed_is_told_from_what_does_not_exist() {
    let scratch = Scratch::new();
    fs::write(scratch.path("tool"), "#!/bin/sh\n").unwrap();
    fs::create_dir(scratch.path("dir")).unwrap();
    fs::write(scratch.path("dir/__main__.py"), "").unwrap();
    scratch.script("empty", "");
    let mut plan = command(&scratch, 1, &["x"]);
    plan.working_dir = Some(scratch.path("."));
    for (command, kind, words) in [
        ("./tool", CommandNotExecutable, ["Permission denied", "chmod +x"]),
        ("./dir", CommandNotExecutable, ["is a directory", "python ./dir"]),
        ("./empty", CommandNotExecutable, ["neither a binary nor a script", "interpreter"]),
        ("./tool/below", CommandNotFound, ["Not a directory", "below"]),
    ] {
        plan.command = vec![command.into()];
        refused(&plan, kind, &words);
    }
}

#[test]
fn the_interpreter_line_is_followed() {
    let scratch = Scratch::new();
    scratch.script("no-x", "text");
    fs::set_permissions(scratch.path("no-x"), fs::Permissions::from_mode(0o644)).unwrap();
    let table = [
        ("#!/no/such/python -u\n".to_string(), CommandNotFound, "/no/such/python"),
        ("#!/bin/sh\r\necho\r\n".to_string(), CommandNotFound, "CR LF"),
        ("#!/usr/bin/env no-such-python\n".to_string(), CommandNotFound, "no-such-python"),
        ("#! /usr/bin/env -S no-such-python -u\n".to_string(), CommandNotFound, "no-such-python"),
        (format!("#!{}\n", scratch.path("no-x")), CommandNotExecutable, "Permission denied"),
        ("#!/usr\n".to_string(), CommandNotExecutable, "Is a directory"),
        ("#!\n".to_string(), CommandNotExecutable, "neither a binary nor a script"),
    ];
    for (text, kind, word) in table {
        let script = scratch.script("script", &text);
        refused(&command(&scratch, 1, &[&script]), kind, &["script", word]);
    }
    // A script may interpret a script, and env may be given what it understands.
    let outer = scratch.script("outer", "#!/bin/sh\necho via outer\n");
    for first in [format!("#!{outer}\n"), "#!/usr/bin/env sh\necho via outer\n".to_string()] {
        let script = scratch.script("script", &first);
        let plan = command(&scratch, 1, &[&script]);
        let mut shim = Shim::prepared(&plan);
        let (exits, _) = shim.run_to_end();
        assert_eq!(exits[0].status, code(0));
        assert_eq!(text(&plan, 0), "via outer\n");
        shim.exit(false);
        fs::remove_dir_all(scratch.path("logs")).unwrap();
    }
}

#[test]
fn a_program_that_only_exec_can_refuse_ends_its_rank_with_126() {
    let scratch = Scratch::new();
    let program = scratch.script("foreign", "");
    fs::write(&program, [b"\x7fELF".as_slice(), &[0; 100]].concat()).unwrap();
    let plan = command(&scratch, 2, &[&program]);
    let mut shim = Shim::prepared(&plan);
    let (exits, _) = shim.run_to_end();
    for exit in exits {
        assert_eq!(exit.status, code(126));
        let said = String::from_utf8(exit.stderr_tail).unwrap();
        assert!(said.contains("cannot execute") && said.contains("foreign"), "{said}");
    }
    shim.exit(true);
}

#[test]
fn a_working_directory_that_cannot_be_entered_is_refused() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, "true");
    plan.working_dir = Some(scratch.path("missing"));
    refused(&plan, Node, &["working directory", "missing", "No such file or directory"]);
    fs::write(scratch.path("file"), "").unwrap();
    plan.working_dir = Some(scratch.path("file"));
    refused(&plan, Node, &["working directory", "Not a directory"]);
}

#[test]
fn a_port_that_somebody_listens_on_is_refused_by_number() {
    let scratch = Scratch::new();
    for address in ["0.0.0.0:0", "127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
        let port = listener.local_addr().unwrap().port();
        let mut plan = shell(&scratch, 1, "true");
        plan.ports = vec![free_port(), port];
        refused(&plan, PortTaken(port), &[&port.to_string()]);
    }
}

#[test]
fn a_port_of_another_pod_is_refused_until_that_pod_has_ended() {
    let (one, two) = (Scratch::new(), Scratch::new());
    let port = free_port();
    let (mut first, mut second) = (shell(&one, 1, "true"), shell(&two, 1, "true"));
    first.ports = vec![port];
    second.ports = vec![port];
    let mut holder = Shim::prepared(&first);
    refused(&second, PortTaken(port), &[]);
    holder.run_to_end();
    let mut shim = Shim::prepared(&second);
    holder.exit(false);
    shim.run_to_end();
    shim.exit(false);
    let name = SocketAddr::from_abstract_name(format!("phalanx-port-{port}")).unwrap();
    let foreign = UnixListener::bind_addr(&name).unwrap();
    let three = Scratch::new();
    let mut third = shell(&three, 1, "true");
    third.ports = vec![port];
    refused(&third, PortTaken(port), &[]);
    drop(foreign);
}

#[test]
fn a_name_that_another_user_holds_keeps_nobody_off_a_port_that_is_free() {
    if !is_root() {
        return skipped("only root can be two users");
    }
    let scratch = Scratch::new();
    let port = free_port();
    let mut plan = shell(&scratch, 1, "true");
    plan.ports = vec![port];
    // With and without room for another connection.
    for backlog in ["-1", "0"] {
        let squat = format!(
            "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un(\"\\0phalanx-port-{port}\")) or die; \
             listen(S, {backlog}); print qq(held\\n); close(STDOUT); sleep 1000"
        );
        let squatter = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "perl", "-we", &squat])
            .stdout(Stdio::piped())
            .spawn();
        let mut squatter = Killed(squatter.unwrap());
        let mut said = String::new();
        squatter.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "held\n");
        for _ in 0..3 {
            let mut shim = Shim::prepared(&plan);
            shim.run_to_end();
            shim.exit(false);
        }
    }
}

/// A process that ends with this, and with a test that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_refused_prepare_leaves_nothing_behind_and_the_next_one_works() {
    let scratch = Scratch::new();
    let port = free_port();
    let mut plan = shell(&scratch, 2, "echo fine");
    plan.ports = vec![port];
    let mut shim = Shim::start();
    let mut bad = plan.clone();
    bad.ranks[1].log_dir = "/proc/no/logs".into();
    let reason = shim.refused(&bad);
    assert_eq!(reason.kind, Node);
    assert!(!fs::exists(&plan.job_dir).unwrap() && !fs::exists(&plan.ranks[0].log_dir).unwrap());
    shim.heard.clear();
    shim.prepare(&plan);
    let (exits, _) = shim.run_to_end();
    assert!(exits.iter().all(|exit| exit.status.success()));
    shim.exit(false);
}

#[test]
fn a_prepare_while_a_generation_is_alive_is_refused() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, "true");
    let mut shim = Shim::prepared(&plan);
    plan.generation = plan.generation.next();
    shim.heard.clear();
    assert!(shim.refused(&plan).message.contains("generation 1 is still alive"));
    shim.run_to_end();
    shim.exit(false);
}

#[test]
fn a_log_directory_that_cannot_be_written_is_named() {
    let scratch = Scratch::new();
    let mut plan = shell(&scratch, 1, "true");
    for (dir, why) in [("/proc/logs/0", "No such file or directory"), ("/dev/null/logs", "Not a directory")] {
        plan.ranks[0].log_dir = dir.into();
        refused(&plan, Node, &[dir, why, "--log-dir"]);
    }
}

#[test]
fn a_log_file_is_never_written_through_a_symbolic_link() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "echo overwritten");
    fs::create_dir_all(&plan.ranks[0].log_dir).unwrap();
    fs::write(scratch.path("victim"), "precious").unwrap();
    symlink(scratch.path("victim"), scratch.path("logs/1/0/stdout.log")).unwrap();
    let mut shim = Shim::start();
    let reason = shim.refused(&plan);
    assert!(reason.message.contains("logs/1/0"), "{}", reason.message);
    shim.exit(true);
    assert_eq!(fs::read_to_string(scratch.path("victim")).unwrap(), "precious");
}

#[test]
fn a_job_directory_that_somebody_prepared_for_us_is_refused() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "true");
    fs::create_dir(scratch.path("base")).unwrap();
    fs::create_dir(scratch.path("elsewhere")).unwrap();
    // A link in the place of the directory.
    symlink(scratch.path("elsewhere"), &plan.job_dir).unwrap();
    refused(&plan, Node, &["symbolic link", "base/test-job"]);
    assert_eq!(fs::read_dir(scratch.path("elsewhere")).unwrap().count(), 0, "the link was followed");
    fs::remove_file(&plan.job_dir).unwrap();
    // A link in the place of the directory above.
    fs::remove_dir(scratch.path("base")).unwrap();
    symlink(scratch.path("elsewhere"), scratch.path("base")).unwrap();
    refused(&plan, Node, &["symbolic link"]);
    fs::remove_file(scratch.path("base")).unwrap();
    // A directory above that everybody may write to.
    fs::create_dir(scratch.path("base")).unwrap();
    fs::set_permissions(scratch.path("base"), fs::Permissions::from_mode(0o777)).unwrap();
    refused(&plan, Node, &["everybody may write"]);
    if is_root() {
        fs::set_permissions(scratch.path("base"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(scratch.path("base"), Some(12345), None).unwrap();
        refused(&plan, Node, &["another user"]);
        std::os::unix::fs::chown(scratch.path("base"), Some(0), None).unwrap();
        fs::create_dir(&plan.job_dir).unwrap();
        std::os::unix::fs::chown(&plan.job_dir, Some(12345), None).unwrap();
        refused(&plan, Node, &["another user"]);
    }
}

#[test]
fn the_directory_is_private_and_one_that_was_left_is_taken_over() {
    let scratch = Scratch::new();
    let plan = shell(&scratch, 1, "true");
    fs::create_dir_all(&plan.job_dir).unwrap();
    let mut shim = Shim::prepared(&plan);
    for dir in [plan.job_dir.clone(), format!("{}/tmp", plan.job_dir)] {
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700, "{dir}");
    }
    // A second shim of the same job finds it in use.
    let mut other = Shim::start();
    assert!(other.refused(&plan).message.contains("another shim"));
    other.exit(true);
    shim.run_to_end();
    shim.exit(false);
    assert!(!fs::exists(&plan.job_dir).unwrap());
}
