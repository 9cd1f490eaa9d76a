//! What the shim says to the worker, and when: output is counted rarely, ends are told in order.

use std::time::{Duration, Instant};

use phalanx_worker_core::shim::ShimReport;

use super::guardian::Guardian;
use super::pod_events::Shim;
use super::run::{Source, wall_clock};

/// At least this much time between two reports of how far output has come; the first comes at once.
pub(super) const REPORT_EVERY: Duration = Duration::from_millis(5);

impl Shim {
    pub(super) fn report_exits(&mut self) {
        // Ranks that were never prepared have no end.
        if self.pod.as_ref().is_none_or(|pod| !pod.life.may_report_exits() || pod.refusal.is_some()) {
            return;
        }
        for index in std::mem::take(&mut self.exits) {
            self.report_streams(index);
            let Some(pod) = &self.pod else { return };
            if let Some(exit) = pod.exit_of(index) {
                self.report(&ShimReport::Exited { generation: pod.generation, exit });
            }
        }
    }

    /// How far output has come, if the worker is ready to hear it: one report per stream, whatever
    /// was written meanwhile.
    pub(super) fn report_output(&mut self, now: Instant) {
        if self.link.is_behind() || self.reported_at.is_some_and(|at| now < at + REPORT_EVERY) {
            return;
        }
        let ranks = self.pod.as_ref().map_or(0, |pod| pod.ranks().len());
        let mut any = false;
        for index in 0..ranks {
            any |= self.report_streams(index);
        }
        if any {
            self.reported_at = Some(now);
        }
    }

    pub(super) fn report_streams(&mut self, index: usize) -> bool {
        let Some(pod) = &mut self.pod else { return false };
        let generation = pod.generation;
        let Some(rank) = pod.ranks_mut().get_mut(index) else { return false };
        let number = rank.rank;
        let mut reports = Vec::new();
        for output in &mut rank.streams {
            if let Some(written) = output.unreported() {
                let stream = output.stream;
                reports.push(ShimReport::Output { generation, rank: number, stream, written });
            }
            let notices = output.take_notices();
            reports.extend(notices.into_iter().map(|notice| ShimReport::Notice { notice }));
        }
        reports.iter().for_each(|report| self.report(report));
        !reports.is_empty()
    }

    /// Everything of this generation is dead: the last bytes, the last reports, the reservations.
    pub(super) fn finish(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        let (now, at) = (Instant::now(), wall_clock());
        for stream in pod.streams_mut() {
            stream.drain(&mut self.buffer, now, at);
            stream.close_pipe();
            stream.finish(now);
        }
        pod.life.execs_done();
        self.report_exits();
        let ranks = self.pod.as_ref().map_or(0, |pod| pod.ranks().len());
        for index in 0..ranks {
            self.report_streams(index);
        }
        let Some(mut pod) = self.pod.take() else { return };
        let guardian = self.kept.guardian.as_ref().map(Guardian::pid);
        let (generation, end, refusal) = (pod.generation, pod.end(guardian), pod.refusal.take());
        drop(pod);
        self.pending = None;
        // What init containers made that do not run again stays for the next generation.
        if let Some(home) = self.kept.home.as_ref().filter(|_| self.init_done.is_empty()) {
            home.drop_tmp();
        }
        self.exits.clear();
        self.report(&match refusal {
            Some(refusal) => ShimReport::NotPrepared { generation, reason: refusal.into() },
            None => ShimReport::Ended { generation, end },
        });
    }

    pub(super) fn report(&mut self, report: &ShimReport) {
        if self.orphaned {
            return;
        }
        if let Err(error) = self.link.report(report) {
            self.on_worker_gone(&error);
        }
    }

    pub(super) fn flush(&mut self) {
        if self.orphaned {
            return;
        }
        if let Err(error) = self.link.flush() {
            return self.on_worker_gone(&error);
        }
        let behind = self.link.is_behind();
        if behind != self.wants_room {
            self.wants_room = behind;
            self.poll.want_room(self.link.as_fd(), Source::Worker, behind);
        }
    }
}
