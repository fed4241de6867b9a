//! A group whose majority is gone for good, left to the one replica that is there.

use super::{
    Replica,
    forms::{self, LogIdForm},
    types::{Entry, Vote},
};
use crate::{Error, Result, command::Command};
use openraft::{EntryPayload, Membership};
use oribi_store::log::Op;
use std::collections::BTreeSet;

impl Replica {
    /// Writes behind all that this replica has that it is the only member from now on, and `then`. All
    /// of its entries count as committed afterwards, also those that never were. To be called only
    /// where no instance runs or will run before the next start; blocks.
    ///
    /// # Errors
    /// Entries that cannot be read, or a log that cannot be written.
    pub(crate) fn leave_alone(&self, then: Option<Command>) -> Result<()> {
        let known = self.log.group(self.group).unwrap_or_default();
        let applied = self.applied.lock().last;
        let next = known.entries.end.max(applied.map_or(0, |last| last.index + 1));
        let vote = self.vote();
        if next == 0 && vote.is_none() && then.is_none() {
            // It never began, and will by itself.
            return Ok(());
        }
        let newest = known.entries.end.checked_sub(1).filter(|_| !known.entries.is_empty());
        let newest = newest.map(|index| self.log.read(self.group, index..index + 1)).transpose()?;
        let newest = newest.unwrap_or_default().pop();
        let newest = newest.map(|(at, bytes)| forms::decode_entry_id(at, &bytes)).transpose();
        let newest = newest.map_err(|reason| self.unavailable(reason))?;
        let terms = newest.or(applied).map(|last| last.leader_id.term);
        let terms = terms.into_iter().chain(vote.map(|vote| vote.leader_id().term));
        let (term, own) = (terms.max().unwrap_or(0) + 1, self.member.to_u64());
        let alone = BTreeSet::from([own]);
        let members = Membership::new_with_defaults(vec![alone.clone()], alone);
        let payloads = std::iter::once(EntryPayload::Membership(members))
            .chain(then.map(EntryPayload::Normal));
        let entries = payloads.zip(next..).map(|(payload, index)| {
            let log_id = LogIdForm::new(term, own, index).to_id();
            forms::encode_entry(&Entry { log_id, payload })
        });
        let entries = entries.collect();
        self.log.submit_and_wait(self.group, Op::Append { first: next, entries })?;
        let vote = forms::encode_vote(&Vote::new(term, own));
        self.log.submit_and_wait(self.group, Op::Vote(vote)).map_err(Error::from)
    }
}
