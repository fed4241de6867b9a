//! What became of the rows of a write, as long as not all of them are answered.

use crate::{Error, Receipt, Result, Unstored};
use oribi_cluster::WriteOutcome;

/// What became of some rows of a write.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) receipt: Receipt,
    not_stored: Vec<u32>,
    unknown: Vec<u32>,
    /// Why, of the first that failed.
    error: Option<Error>,
}

impl Part {
    /// Rows that were put off.
    pub(crate) fn deferred(points: oribi_model::Points) -> Part {
        let receipt = Receipt { deferred: vec![points], ..Receipt::default() };
        Part { receipt, ..Part::default() }
    }

    /// Adds what became of other rows.
    pub(crate) fn add(&mut self, other: Part) {
        self.receipt.add(other.receipt);
        self.not_stored.extend(other.not_stored);
        self.unknown.extend(other.unknown);
        self.fail_by(other.error);
    }

    /// Adds rows, by origin, that are not acknowledged.
    pub(crate) fn fail(
        &mut self,
        origins: impl IntoIterator<Item = u32>,
        outcome: WriteOutcome,
        error: Error,
    ) {
        match outcome {
            WriteOutcome::NotStored => self.not_stored.extend(origins),
            WriteOutcome::Unknown => self.unknown.extend(origins),
        }
        self.fail_by(Some(error));
    }

    /// A write that cannot be says so before one that may come again.
    fn fail_by(&mut self, error: Option<Error>) {
        let is_final = |error: &Option<Error>| error.as_ref().is_some_and(|e| !e.is_retryable());
        if self.error.is_none() || (is_final(&error) && !is_final(&self.error)) {
            self.error = error.or(self.error.take());
        }
    }

    /// The receipt, where all rows are answered by it.
    pub(crate) fn acked(self) -> Result<Receipt> {
        let Part { receipt, mut not_stored, mut unknown, error } = self;
        let Some(error) = error else { return Ok(receipt) };
        if !error.is_retryable() || (receipt.rows == 0 && unknown.is_empty()) {
            return Err(error);
        }
        let reason = match error {
            Error::Storage(reason) => reason,
            error => error.to_string(),
        };
        not_stored.extend(receipt.deferred.iter().flat_map(|points| &points.origins));
        not_stored.sort_unstable();
        unknown.sort_unstable();
        let stored = receipt.rows;
        Err(Error::Partly(Box::new(Unstored { stored, not_stored, unknown, reason })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use WriteOutcome::{NotStored, Unknown};

    fn storage() -> Error {
        Error::Storage("no leader".into())
    }

    fn stored(rows: u64) -> Part {
        Part { receipt: Receipt { rows, ..Receipt::default() }, ..Part::default() }
    }

    #[test]
    fn a_write_of_which_nothing_is_stored_says_so_and_another_is_unknown() {
        let mut part = Part::default();
        part.fail([3, 1], NotStored, Error::Stopping);
        part.fail([2], NotStored, storage());
        let error = part.acked().unwrap_err();
        assert!(matches!(error, Error::Stopping) && error.outcome() == NotStored);

        let mut part = stored(4);
        let mut other = Part::default();
        other.fail([9, 7], Unknown, storage());
        other.fail([8, 2], NotStored, Error::Stopping);
        part.add(other);
        let error = part.acked().unwrap_err();
        assert!(error.is_retryable() && error.outcome() == Unknown);
        let Error::Partly(unstored) = error else { panic!("{error}") };
        let (not_stored, unknown) = (vec![2, 8], vec![7, 9]);
        let reason = "no leader".to_owned();
        assert_eq!(*unstored, Unstored { stored: 4, not_stored, unknown, reason });
        assert_eq!(stored(4).acked().unwrap().rows, 4);
    }

    #[test]
    fn what_can_never_be_is_said_before_what_may_come_again() {
        let mut part = stored(1);
        part.fail([1], Unknown, storage());
        part.fail([2], NotStored, Error::Invalid("a name".into()));
        part.fail([3], NotStored, Error::Invalid("another".into()));
        let error = part.acked().unwrap_err();
        assert!(matches!(error, Error::Invalid(reason) if reason == "a name"));
    }
}
