//! What another node has said of itself and its replicas: all of them now and then, and in between those
//! of which there is something new.

use crate::{
    replica::CHANGED_KEPT,
    route::sounding::{Report, Sounding},
};
use oribi_store::log::GroupId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// After so long a node is asked for all again.
const WHOLE_PAUSE: Duration = Duration::from_secs(60);

/// What a node has answered.
pub(super) struct Said {
    /// When it was asked.
    pub(super) at: Instant,
    /// Whether it has told of all its replicas.
    pub(super) is_whole: bool,
    pub(super) report: Report,
    pub(super) clock_ahead_ns: i64,
}

/// What a node said of itself last.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// When it was asked.
    pub(crate) at: Instant,
    pub(crate) disk_free_bytes: u64,
    /// By how much its clock is ahead of the one here, as far as the way there and back lets tell.
    pub(crate) clock_ahead_ns: i64,
    /// Its replicas.
    pub(crate) replicas: Arc<BTreeMap<GroupId, Sounding>>,
    /// When it was asked for all of them.
    whole_at: Option<Instant>,
}

impl Heard {
    pub(super) fn new(said: Said) -> Heard {
        let Said { at, report, clock_ahead_ns, .. } = said;
        let (disk_free_bytes, replicas) = (report.disk_free_bytes, Arc::new(by_group(report)));
        Heard { at, disk_free_bytes, clock_ahead_ns, replicas, whole_at: Some(at) }
    }

    /// Whether all is known as of not long ago, so that news are enough: what has changed since it
    /// answered last it remembers still.
    pub(super) fn may_tell_news(&self, now: Instant) -> bool {
        let is_within = |at: Instant, length| now.saturating_duration_since(at) < length;
        let knows_whole = self.whole_at.is_some_and(|at| is_within(at, WHOLE_PAUSE));
        knows_whole && is_within(self.at, CHANGED_KEPT / 2)
    }

    /// Has it asked for all the next time.
    pub(super) fn forget_whole(&mut self) {
        self.whole_at = None;
    }

    /// Takes an answer. Whether it says anything new of replicas.
    pub(super) fn hear(&mut self, said: Said) -> bool {
        let Said { at, is_whole, report, clock_ahead_ns } = said;
        (self.at, self.clock_ahead_ns) = (at, clock_ahead_ns);
        self.disk_free_bytes = report.disk_free_bytes;
        if is_whole {
            self.whole_at = Some(at);
            let replicas = by_group(report);
            let is_new = *self.replicas != replicas;
            self.replicas = Arc::new(replicas);
            return is_new;
        }
        let is_known = |one: &Sounding| match self.replicas.get(&one.group) {
            Some(known) => known == one,
            None => one.is_gone,
        };
        let news: Vec<_> = report.replicas.into_iter().filter(|one| !is_known(one)).collect();
        if news.is_empty() {
            return false;
        }
        let replicas = Arc::make_mut(&mut self.replicas);
        for one in news {
            match one.is_gone {
                true => replicas.remove(&one.group),
                false => replicas.insert(one.group, one),
            };
        }
        true
    }
}

fn by_group(report: Report) -> BTreeMap<GroupId, Sounding> {
    report.replicas.into_iter().map(|one| (one.group, one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_model::LogIndex;

    fn of(group: u64, applied: u64) -> Sounding {
        let (group, applied) = (GroupId(group), Some(LogIndex(applied)));
        Sounding { group, applied, ..Sounding::default() }
    }

    fn gone(group: u64) -> Sounding {
        Sounding { is_gone: true, group: GroupId(group), ..Sounding::default() }
    }

    fn said(at: Instant, is_whole: bool, replicas: Vec<Sounding>) -> Said {
        let report = Report { replicas, ..Report::default() };
        Said { at, is_whole, report, clock_ahead_ns: 0 }
    }

    #[test]
    fn news_replace_what_was_known_and_leave_the_rest() {
        let at = Instant::now();
        let mut heard = Heard::new(said(at, true, vec![of(1, 5), of(2, 5), of(3, 5)]));
        assert!(!heard.hear(said(at, false, vec![of(2, 5), gone(9)])), "nothing new");
        assert!(heard.hear(said(at, false, vec![of(2, 6), gone(3), of(4, 0)])));
        let known: Vec<_> = heard.replicas.values().copied().collect();
        assert_eq!(known, [of(1, 5), of(2, 6), of(4, 0)]);
        assert!(heard.hear(said(at, true, vec![of(1, 5)])));
        assert_eq!(heard.replicas.len(), 1);
        assert!(!heard.hear(said(at, true, vec![of(1, 5)])), "nothing new");
    }

    #[test]
    fn all_is_asked_for_now_and_then_and_after_silence() {
        let at = Instant::now();
        let mut heard = Heard::new(said(at, true, Vec::new()));
        assert!(heard.may_tell_news(at + Duration::from_secs(1)));
        assert!(!heard.may_tell_news(at + CHANGED_KEPT), "it may have forgotten what is new");
        let later = at + WHOLE_PAUSE;
        heard.hear(said(later - Duration::from_secs(1), false, Vec::new()));
        assert!(!heard.may_tell_news(later));
        heard.hear(said(later, true, Vec::new()));
        assert!(heard.may_tell_news(later));
        heard.forget_whole();
        assert!(!heard.may_tell_news(later));
    }
}
