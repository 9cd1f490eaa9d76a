//! One rank as its probes see it.

use std::collections::BTreeMap;

use phalanx_common::health::{MAX_MESSAGE, ProbeWord, Question, RankHealth, last_of};
use phalanx_common::id::Rank;
use phalanx_common::spec::{ProbeKind, Probes};
use phalanx_common::time::Timestamp;
use phalanx_worker_core::prober::Prober;

use super::hook::Turn;
use crate::shim::notify::NotifySocket;

pub(super) struct Checked {
    rank: Rank,
    pub(super) prober: Prober,
    /// Until it has ended.
    pub(super) socket: Option<NotifySocket>,
    pub(super) status: Option<String>,
    /// What it told before the programs of all ranks ran.
    early: BTreeMap<ProbeKind, (bool, &'static str)>,
    pub(super) begun: bool,
    /// Its postStart hook: it has not begun before that is done.
    pub(super) post_start: Turn,
    pub(super) pre_stop: Turn,
    pub(super) ended: bool,
    told: Option<RankHealth>,
    /// SIGKILL, for one that was told to end.
    pub(super) kill_at: Option<Timestamp>,
}

impl Checked {
    pub(super) fn new(rank: Rank, probes: &Probes, socket: NotifySocket) -> Checked {
        Checked {
            rank,
            prober: Prober::new(probes),
            socket: Some(socket),
            status: None,
            early: BTreeMap::new(),
            begun: false,
            post_start: Turn::None,
            pre_stop: Turn::None,
            ended: false,
            told: None,
            kill_at: None,
        }
    }

    /// Another process of the same rank. What was told of the last one stands until this one says otherwise.
    pub(super) fn renew(&mut self, probes: &Probes, socket: NotifySocket) {
        let told = self.told.take().map(|told| RankHealth { ready: false, waits: None, ..told });
        *self = Checked { told, ..Checked::new(self.rank, probes, socket) };
    }

    /// Its program runs, and those of all others, and its postStart hook is done; false if that is known, or if it has
    /// ended.
    pub(super) fn begin(&mut self, at: Timestamp) -> bool {
        if self.ended || std::mem::replace(&mut self.begun, true) {
            return false;
        }
        self.prober.handle_begun(at);
        for (kind, (good, message)) in std::mem::take(&mut self.early) {
            self.prober.handle_told(at, kind, good, message);
        }
        true
    }

    /// It said something that is an answer.
    pub(super) fn tell(&mut self, at: Timestamp, kind: ProbeKind, good: bool, message: &'static str) {
        if self.begun {
            self.prober.handle_told(at, kind, good, message);
        } else {
            self.early.insert(kind, (good, message));
        }
    }

    /// It has ended, and is asked nothing more; its socket, to be forgotten.
    pub(super) fn end(&mut self) -> Option<NotifySocket> {
        self.ended = true;
        self.kill_at = None;
        (self.post_start, self.pre_stop) = (Turn::None, Turn::None);
        self.prober.handle_ended();
        while self.prober.poll_act().is_some() {}
        self.socket.take()
    }

    /// How it stands, if that is not what was told last. `gated`: it is told even where it has nothing to say.
    pub(super) fn news(&mut self, gated: bool) -> Option<RankHealth> {
        if self.ended || !(self.begun || self.post_start.is_on()) {
            return None;
        }
        let ready = self.prober.is_ready();
        let waits = match self.begun {
            true => self.prober.why_not_ready().map(|(probe, message)| (probe.into(), message)),
            false => Some((Question::PostStart, "not done yet".to_owned())),
        };
        let waits = waits
            .filter(|_| !ready)
            .map(|(probe, message)| ProbeWord { probe, message: last_of(&message, MAX_MESSAGE).to_owned() });
        let health = RankHealth { rank: self.rank, ready, waits, status: self.status.clone() };
        let says_nothing = self.told.is_none() && !gated && health.status.is_none();
        if says_nothing || self.told.as_ref() == Some(&health) {
            return None;
        }
        self.told = Some(health.clone());
        Some(health)
    }

    /// When something is due of it.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let hooks = [self.post_start.next(), self.pre_stop.next()];
        self.prober.poll_timeout().into_iter().chain(self.kill_at).chain(hooks.into_iter().flatten()).min()
    }
}
