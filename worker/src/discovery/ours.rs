//! Telling our own processes from those of others.

use crate::shim::tree::process;

/// Deeper trees are nobody's ranks.
const DEEPEST: usize = 1000;

/// Whether a process descends from this one, as the ranks of a worker do by their shims.
pub fn is_ours(pid: u32) -> bool {
    let own = i32::try_from(std::process::id()).ok();
    let parent = |pid: &i32| process(*pid).map(|found| found.parent);
    std::iter::successors(i32::try_from(pid).ok(), parent).take(DEEPEST).any(|pid| Some(pid) == own)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_of_a_child_is_ours_and_the_parent_is_not() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let grandchild: u32 = line.trim().parse().unwrap();
        let ours = [child.id(), grandchild, std::process::id()].map(is_ours);
        let others = [std::os::unix::process::parent_id(), 1, u32::MAX].map(is_ours);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(grandchild as i32), nix::sys::signal::SIGKILL)
            .unwrap();
        child.wait().unwrap();
        assert_eq!((ours, others), ([true; 3], [false; 3]));
    }
}
