//! How nodes and their replicas are, as they tell each other.
//!
//! `version u8, disk_free u64, clock i64, count u32` and of each replica `group u64, incarnation u32,
//! flags u8, vote's term u64 and member u64, members u64, last u64, applied u64, flushed u64, rows u64,
//! bytes u64`, little-endian. Indexes are one more than they are; 0 is none. Flags: 1 there is a vote,
//! 2 for an elected one, 4 it leads, 8 its files are set aside, 16 there is none.

use crate::{Incarnation, MemberId, elections::Vote};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use oribi_model::LogIndex;
use oribi_store::log::GroupId;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 21;
const REPLICA_BYTES: usize = 77;
const VOTE: u8 = 1;
const ELECTED: u8 = 2;
const LEADS: u8 = 4;
const DAMAGED: u8 = 8;
const GONE: u8 = 16;

/// How a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sounding {
    pub(crate) group: GroupId,
    pub(crate) incarnation: Incarnation,
    /// As its log has it.
    pub(crate) vote: Option<Vote>,
    pub(crate) leads: bool,
    /// Its files are set aside.
    pub(crate) is_damaged: bool,
    /// There is none, or no more.
    pub(crate) is_gone: bool,
    /// The entry that names the members.
    pub(crate) members_at: Option<LogIndex>,
    /// Its newest entry, committed or not.
    pub(crate) last: Option<LogIndex>,
    pub(crate) applied: Option<LogIndex>,
    pub(crate) flushed: Option<LogIndex>,
    pub(crate) rows: u64,
    /// Of its segments.
    pub(crate) bytes: u64,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    pub(crate) disk_free_bytes: u64,
    /// Its wall clock, ns since 1970.
    pub(crate) clock_ns: i64,
    pub(crate) replicas: Vec<Sounding>,
}

impl Report {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD_BYTES + REPLICA_BYTES * self.replicas.len());
        out.put_u8(VERSION);
        out.put_u64_le(self.disk_free_bytes);
        out.put_i64_le(self.clock_ns);
        out.put_u32_le(self.replicas.len() as u32);
        self.replicas.iter().for_each(|replica| replica.encode(&mut out));
        out.freeze()
    }

    pub(crate) fn decode(mut body: &[u8]) -> Option<Report> {
        if body.len() < HEAD_BYTES || body.get_u8() != VERSION {
            return None;
        }
        let (disk_free_bytes, clock_ns) = (body.get_u64_le(), body.get_i64_le());
        let count = body.get_u32_le() as usize;
        if count.checked_mul(REPLICA_BYTES) != Some(body.len()) {
            return None;
        }
        let replicas = (0..count).map(|_| Sounding::decode(&mut body)).collect();
        Some(Report { disk_free_bytes, clock_ns, replicas })
    }
}

impl Sounding {
    fn encode(&self, out: &mut BytesMut) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let elected = self.vote.is_some_and(|vote| vote.is_elected);
        out.put_u64_le(self.group.0);
        out.put_u32_le(self.incarnation.0);
        out.put_u8(
            flag(self.vote.is_some(), VOTE)
                | flag(elected, ELECTED)
                | flag(self.leads, LEADS)
                | flag(self.is_damaged, DAMAGED)
                | flag(self.is_gone, GONE),
        );
        out.put_u64_le(self.vote.map_or(0, |vote| vote.term));
        out.put_u64_le(self.vote.map_or(0, |vote| vote.member.to_u64()));
        for index in [self.members_at, self.last, self.applied, self.flushed] {
            out.put_u64_le(index.map_or(0, |index| index.0.saturating_add(1)));
        }
        out.put_u64_le(self.rows);
        out.put_u64_le(self.bytes);
    }

    /// Reads as many bytes as it takes, which must be there.
    fn decode(body: &mut &[u8]) -> Sounding {
        let (group, incarnation) = (GroupId(body.get_u64_le()), Incarnation(body.get_u32_le()));
        let flags = body.get_u8();
        let (term, member) = (body.get_u64_le(), MemberId::from_u64(body.get_u64_le()));
        let vote = Vote { term, member, is_elected: flags & ELECTED != 0 };
        let mut index = || body.get_u64_le().checked_sub(1).map(LogIndex);
        let (members_at, last, applied, flushed) = (index(), index(), index(), index());
        Sounding {
            group,
            incarnation,
            vote: (flags & VOTE != 0).then_some(vote),
            leads: flags & LEADS != 0,
            is_damaged: flags & DAMAGED != 0,
            is_gone: flags & GONE != 0,
            members_at,
            last,
            applied,
            flushed,
            rows: body.get_u64_le(),
            bytes: body.get_u64_le(),
        }
    }
}

/// Whatever bytes come must be read or refused.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(report) = Report::decode(bytes) {
        assert_eq!(
            Report::decode(&report.encode()).map(|again| again.replicas.len()),
            Some(report.replicas.len())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn sounding()(
            (group, incarnation, term, member) in any::<(u64, u32, u64, u64)>(),
            (voted, is_elected, leads, is_damaged, is_gone) in any::<(bool, bool, bool, bool, bool)>(),
            indexes in prop::array::uniform4(prop::option::of(0u64..u64::MAX)),
            (rows, bytes) in any::<(u64, u64)>(),
        ) -> Sounding {
            let vote = Vote { term, member: MemberId::from_u64(member), is_elected };
            let [members_at, last, applied, flushed] = indexes.map(|index| index.map(LogIndex));
            Sounding {
                group: GroupId(group),
                incarnation: Incarnation(incarnation),
                vote: voted.then_some(vote),
                leads,
                is_damaged,
                is_gone,
                members_at,
                last,
                applied,
                flushed,
                rows,
                bytes,
            }
        }
    }

    proptest! {
        #[test]
        fn reports_come_out_as_they_went_in(
            disk_free_bytes: u64,
            clock_ns: i64,
            replicas in prop::collection::vec(sounding(), 0..4),
        ) {
            let report = Report { disk_free_bytes, clock_ns, replicas };
            let encoded = report.encode();
            for cut in 0..encoded.len() {
                prop_assert_eq!(Report::decode(&encoded[..cut]), None);
            }
            prop_assert_eq!(Report::decode(&encoded), Some(report));
        }

        #[test]
        fn any_bytes_may_come(mut bytes in prop::collection::vec(any::<u8>(), 0..250)) {
            fuzz(&bytes);
            if bytes.len() >= HEAD_BYTES {
                bytes[0] = VERSION;
                let count = (bytes.len() - HEAD_BYTES) / REPLICA_BYTES;
                bytes[17..HEAD_BYTES].copy_from_slice(&(count as u32).to_le_bytes());
                bytes.truncate(HEAD_BYTES + count * REPLICA_BYTES);
                fuzz(&bytes);
            }
        }
    }
}
