//! The memory of one statement, within its own bound and that of all questions.

use crate::watch::Watch;
use datafusion::{
    error::{DataFusionError, Result},
    execution::memory_pool::{GreedyMemoryPool, MemoryPool, MemoryReservation},
};
use std::{fmt, sync::Arc};

/// Charges the question's watch as well.
#[derive(Debug)]
pub(crate) struct StatementPool {
    own: GreedyMemoryPool,
    watch: Arc<Watch>,
}

impl StatementPool {
    pub(crate) fn new(bytes_max: usize, watch: Arc<Watch>) -> StatementPool {
        StatementPool { own: GreedyMemoryPool::new(bytes_max), watch }
    }
}

impl fmt::Display for StatementPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} bytes of it", self.name(), self.reserved())
    }
}

impl MemoryPool for StatementPool {
    fn name(&self) -> &str {
        "the memory of all queries"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.watch.allotment().take_anyway(additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.watch.allotment().give_back(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.watch.allotment().take(additional).map_err(|error| {
            self.own.shrink(reservation, additional);
            let told = DataFusionError::ResourcesExhausted(error.to_string());
            // The first cause stays, which tells it from the statement's own bound.
            self.watch.fail(error);
            told
        })
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, QueryOptions, allotment::Allotment};
    use datafusion::execution::memory_pool::MemoryConsumer;

    #[test]
    fn a_statement_that_finds_nothing_left_fails_for_that_reason() {
        let all = Arc::new(Allotment::new(100));
        let options = QueryOptions::default();
        let watch = Arc::new(Watch::new(&options).within_all(all.clone()));
        let pool: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(1_000, watch.clone()));
        let reservation = MemoryConsumer::new("a sort").register(&pool);
        reservation.try_grow(90).unwrap();
        assert!(reservation.try_grow(20).is_err());
        assert!(matches!(watch.failure(), Some(Error::Crowded { .. })));
        assert_eq!((pool.reserved(), all.held_bytes()), (90, 90));
        drop(reservation);
        assert_eq!(all.held_bytes(), 0);
    }
}
