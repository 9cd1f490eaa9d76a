//! When the facts are derived anew.

use std::time::Duration;

use phalanx_launcher_core::survey::News;
use tokio::time::{Instant, sleep_until};

/// So long after the first thing that is new: a whole cluster may come up at once.
const SETTLE: Duration = Duration::from_millis(300);
/// No sooner after the last time than that, whatever keeps changing.
const REST: Duration = Duration::from_secs(2);

/// One deadline, with the reason that asks for the most.
#[derive(Debug)]
pub(super) struct Due {
    at: Option<(Instant, News)>,
    rested: Instant,
}

impl Due {
    pub(super) fn new(now: Instant) -> Due {
        Due { at: None, rested: now }
    }

    pub(super) fn on_news(&mut self, now: Instant, news: News) {
        if news == News::Nothing {
            return;
        }
        let (at, before) = self.at.unwrap_or(((now + SETTLE).max(self.rested), news));
        self.at = Some((at, before.max(news)));
    }

    /// What is to be done now. [`Due::rest`] has to follow.
    pub(super) fn take(&mut self) -> News {
        self.at.take().map_or(News::Nothing, |(_, news)| news)
    }

    /// It is done.
    pub(super) fn rest(&mut self, now: Instant) {
        self.rested = now + REST;
    }

    pub(super) fn at(&self) -> Option<Instant> {
        self.at.map(|(at, _)| at)
    }
}

/// Never, where there is no deadline.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_news_sets_the_time_and_the_greatest_the_work() {
        let now = Instant::now();
        let mut due = Due::new(now);
        due.on_news(now, News::Nothing);
        assert_eq!(due.at(), None);
        due.on_news(now, News::Machines);
        due.on_news(now + SETTLE / 2, News::Facts);
        due.on_news(now + SETTLE / 2, News::Machines);
        assert_eq!(due.at(), Some(now + SETTLE));
        assert_eq!((due.take(), due.at()), (News::Facts, None));
    }

    #[test]
    fn what_keeps_changing_is_not_derived_all_the_time() {
        let now = Instant::now();
        let mut due = Due::new(now);
        due.rest(now);
        due.on_news(now, News::Facts);
        assert_eq!(due.at(), Some(now + REST));
        assert_eq!(due.take(), News::Facts);
        due.on_news(now + 2 * REST, News::Facts);
        assert_eq!(due.at(), Some(now + 2 * REST + SETTLE), "it has rested");
    }
}
