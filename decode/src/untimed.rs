//! Times of rows that have none of their own, in a message that has one.

use super::{Fault, time::check_ahead};
use oribi_model::RejectReason;
use std::cell::{Cell, OnceCell};

/// Nanoseconds of a millisecond, which the rows of its messages share.
pub const PLACES: i64 = 1_000_000;
/// The tag that keeps apart what came by different partitions of a Kafka topic.
const PARTITION_TAG: &str = "kafka_partition";

/// The time of a message: each row without a time gets a nanosecond of its own, the same one whenever
/// the message is read again. Those of a Kafka record stay within its millisecond, in which its
/// partition numbers all rows; those of other messages follow one another.
#[derive(Debug)]
pub struct MessageTime {
    first_ns: i64,
    given: Cell<i64>,
    partition: Option<i32>,
    partition_text: OnceCell<String>,
    now_ns: i64,
    ahead_ns_max: i64,
}

impl MessageTime {
    /// The time `first_ns`, ns since the Unix epoch, for the first row, if it lies at most
    /// `ahead_ns_max` ahead of `now_ns`. `partition` is the message's in a Kafka topic.
    pub fn new(
        first_ns: i64,
        partition: Option<i32>,
        now_ns: i64,
        ahead_ns_max: i64,
    ) -> MessageTime {
        let (given, partition_text) = (Cell::new(0), OnceCell::new());
        MessageTime { first_ns, given, partition, partition_text, now_ns, ahead_ns_max }
    }

    /// The time of the next row.
    ///
    /// # Errors
    /// A message whose time lies too far ahead, or with more rows than a millisecond has
    /// nanoseconds.
    pub fn next_ns(&self) -> Result<i64, Fault> {
        check_ahead(self.first_ns, self.now_ns, self.ahead_ns_max)?;
        let given = self.given.get();
        if given >= PLACES {
            let detail = format!("a message of more than {PLACES} rows without a time");
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        self.given.set(given + 1);
        if self.partition.is_none() {
            return Ok(self.first_ns.saturating_add(given));
        }
        let place = self.first_ns.rem_euclid(PLACES);
        Ok(self.first_ns - place + (place + given) % PLACES)
    }

    /// A tag that rows which take their time from the message have.
    pub fn tag(&self) -> Option<(&'static str, &str)> {
        let partition = self.partition?;
        Some((PARTITION_TAG, self.partition_text.get_or_init(|| partition.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_a_nanosecond_of_its_own_in_the_millisecond() {
        let time = MessageTime::new(5_999_998, Some(3), 0, 6_000_000);
        let times: Vec<i64> = (0..4).map(|_| time.next_ns().unwrap()).collect();
        assert_eq!(times, [5_999_998, 5_999_999, 5_000_000, 5_000_001]);
        assert_eq!(time.tag(), Some(("kafka_partition", "3")));
        let before = MessageTime::new(-1, Some(0), 0, 0);
        assert_eq!([before.next_ns(), before.next_ns()], [Ok(-1), Ok(-1_000_000)]);
        let before = MessageTime::new(-1, None, 0, 0);
        assert_eq!([before.next_ns(), before.next_ns()], [Ok(-1), Ok(0)]);
        assert_eq!(before.tag(), None);
    }

    #[test]
    fn a_time_too_far_ahead_or_a_millisecond_that_is_full_is_a_fault() {
        let ahead = MessageTime::new(11, None, 0, 10);
        assert_eq!(ahead.next_ns().unwrap_err().reason, RejectReason::Time);
        let full = MessageTime::new(0, None, 0, 0);
        assert!((0..PLACES).all(|_| full.next_ns().is_ok()));
        assert_eq!(full.next_ns().unwrap_err().reason, RejectReason::Limit);
    }
}
