//! Questions to ranks that have no answer yet, each of them a process or a connection.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use nix::sys::epoll::EpollFlags;
use phalanx_common::exit::ExitStatus;
use phalanx_common::health::Question;
use phalanx_common::spec::{ProbeHandler, ProbePort};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::prober::Answer;
use phalanx_worker_core::shim::ShimRank;

use super::exec::{Exec, Kit};
use super::socket::{self, Connection, Progress};
use crate::shim::cgroup::Cgroup;
use crate::shim::run::{Poll, Source};

/// Whom a question is about: the index of the rank in its pod, and what is asked.
pub(in crate::shim) type Key = (usize, Question);

/// An answer, and to which question.
pub(in crate::shim) struct Answered {
    pub(in crate::shim) key: Key,
    pub(in crate::shim) number: u64,
    pub(in crate::shim) answer: Answer,
}

/// A question, before it is asked.
pub(in crate::shim) struct Asks<'a> {
    pub(in crate::shim) key: Key,
    pub(in crate::shim) number: u64,
    pub(in crate::shim) handler: &'a ProbeHandler,
    /// From now on, at which time; `None`: it may take its time.
    pub(in crate::shim) within: Option<(Duration, Timestamp)>,
}

/// What is being asked; at most one question of a kind to each rank.
pub(in crate::shim) struct Questions {
    kit: Option<Kit>,
    /// In events the first has this number.
    first: usize,
    open: BTreeMap<Key, Open>,
}

struct Open {
    number: u64,
    /// No answer by then is a failure; `None`: it may take its time.
    until: Option<Timestamp>,
    timeout: Duration,
    asking: Asking,
}

enum Asking {
    Exec(Exec),
    Connection(Connection),
}

impl Questions {
    /// `kit`: for what asks by a program. `first`: the number of the first of those that are asked, in events.
    pub(in crate::shim) fn new(kit: Option<Kit>, first: usize) -> Questions {
        Questions { kit, first, open: BTreeMap::new() }
    }

    /// What asks this rank by a program has its environment from here on.
    pub(super) fn renew(&mut self, index: usize, rank: &ShimRank) {
        self.kit.iter_mut().for_each(|kit| kit.renew(index, rank));
    }

    /// Begins to ask; an answer if that is known at once.
    pub(in crate::shim) fn ask(
        &mut self,
        Asks { key, number, handler, within }: Asks<'_>,
        (poll, cgroup): (&Poll, Option<&Cgroup>),
    ) -> Option<Answered> {
        let answered = |answer| Some(Answered { key, number, answer });
        let asking = match self.begin(key, handler, cgroup) {
            Ok(Some(asking)) => asking,
            Ok(None) => return None,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return answered(Answer::Bad(error.to_string()));
            }
            // This host has no room for a process or a socket: that says nothing of the rank.
            Err(_) => return answered(Answer::Unknown),
        };
        let (fd, flags) = match &asking {
            Asking::Exec(exec) => (exec.as_fd(), EpollFlags::EPOLLIN),
            Asking::Connection(connection) => (connection.as_fd(), EpollFlags::EPOLLOUT),
        };
        let watched = poll.add_for(fd, Source::Check(self.first + key.0, key.1), flags);
        let until = within.map(|(timeout, now)| now + timeout);
        let timeout = within.map_or(Duration::ZERO, |(timeout, _)| timeout);
        self.open.insert(key, Open { number, until, timeout, asking });
        if watched.is_ok() {
            return None;
        }
        self.give_up(key, poll);
        answered(Answer::Unknown)
    }

    fn begin(
        &mut self,
        (index, question): Key,
        handler: &ProbeHandler,
        cgroup: Option<&Cgroup>,
    ) -> io::Result<Option<Asking>> {
        let address = |at: &ProbePort| at.address(index as u32);
        let asking = match handler {
            ProbeHandler::Exec { .. } => match &mut self.kit {
                Some(kit) => Asking::Exec(kit.start((index, question), cgroup)?),
                None => return Ok(None),
            },
            ProbeHandler::HttpGet { path, at, headers } => {
                let request = socket::request(path, address(at), headers);
                Asking::Connection(Connection::open(address(at), Some(request))?)
            }
            ProbeHandler::TcpSocket { at } => Asking::Connection(Connection::open(address(at), None)?),
            // They are told, not asked.
            ProbeHandler::Notify | ProbeHandler::Log { .. } => return Ok(None),
        };
        Ok(Some(asking))
    }

    /// Something happened to what is asked.
    pub(in crate::shim) fn on_event(&mut self, key: Key, poll: &Poll) -> Option<Answered> {
        let open = self.open.get_mut(&key)?;
        match &mut open.asking {
            // It answers by its end.
            Asking::Exec(exec) => {
                if !exec.read() {
                    poll.remove(exec.as_fd());
                }
                None
            }
            Asking::Connection(connection) => match connection.go_on() {
                Progress::Waits(flags) => {
                    poll.want(connection.as_fd(), Source::Check(self.first + key.0, key.1), flags);
                    None
                }
                Progress::Done(answer) => {
                    poll.remove(connection.as_fd());
                    let Open { number, .. } = self.open.remove(&key)?;
                    Some(Answered { key, number, answer })
                }
            },
        }
    }

    /// A child that is no rank has ended: perhaps one of these. `known` are processes that no probe left behind.
    pub(in crate::shim) fn on_reaped(
        &mut self,
        pid: i32,
        status: ExitStatus,
        known: &[i32],
        poll: &Poll,
    ) -> Option<Answered> {
        let is_it = |open: &Open| matches!(&open.asking, Asking::Exec(exec) if exec.pid == pid);
        let key = self.open.iter().find(|(_, open)| is_it(open)).map(|(key, _)| *key)?;
        let Some(Open { number, asking: Asking::Exec(exec), .. }) = self.open.remove(&key) else {
            return None;
        };
        poll.remove(exec.as_fd());
        Some(Answered { key, number, answer: exec.finish(status, known) })
    }

    /// What had no answer in time.
    pub(in crate::shim) fn late(&mut self, at: Timestamp, poll: &Poll) -> Vec<Answered> {
        let late: Vec<Key> = self
            .open
            .iter()
            .filter(|(_, open)| open.until.is_some_and(|until| until <= at))
            .map(|(key, _)| *key)
            .collect();
        late.into_iter()
            .filter_map(|key| {
                let open = self.open.get(&key)?;
                let what = format!("no answer within {} s", open.timeout.as_secs_f64());
                let as_far = match &open.asking {
                    Asking::Exec(exec) => Some(Answer::Bad(exec.message(&what))),
                    Asking::Connection(connection) => connection.as_far(),
                };
                let (number, answer) = (open.number, as_far.unwrap_or(Answer::Bad(what)));
                self.give_up(key, poll);
                Some(Answered { key, number, answer })
            })
            .collect()
    }

    /// Ends what nobody waits for any more.
    pub(in crate::shim) fn keep(&mut self, poll: &Poll, wanted: impl Fn(Key, u64) -> bool) {
        let unwanted = self.open.iter().filter(|(key, open)| !wanted(**key, open.number));
        let unwanted: Vec<Key> = unwanted.map(|(key, _)| *key).collect();
        unwanted.into_iter().for_each(|key| self.give_up(key, poll));
    }

    /// When the next one is late.
    pub(in crate::shim) fn next(&self) -> Option<Timestamp> {
        self.open.values().filter_map(|open| open.until).min()
    }

    /// Processes that ask.
    pub(in crate::shim) fn pids(&self) -> impl Iterator<Item = i32> {
        self.open.values().filter_map(|open| match &open.asking {
            Asking::Exec(exec) => Some(exec.pid),
            Asking::Connection(_) => None,
        })
    }

    fn give_up(&mut self, key: Key, poll: &Poll) {
        match self.open.remove(&key).map(|open| open.asking) {
            Some(Asking::Exec(exec)) => {
                poll.remove(exec.as_fd());
                exec.kill();
            }
            Some(Asking::Connection(connection)) => poll.remove(connection.as_fd()),
            None => {}
        }
    }
}
