use super::*;
use crate::QueryOptions;
use oribi_model::{Run, SeriesKey};

/// Parts of as many blocks as named, each with one row, whose times ascend over all.
fn parts(blocks: &[usize]) -> (Vec<BlockIter>, usize) {
    let mut next = 0i64;
    let parts = blocks.iter().map(|count| -> BlockIter {
        let first = next;
        next += *count as i64;
        let block = |time| {
            let runs = vec![Run { series: SeriesKey::from_tags([]), rows: 1 }];
            Ok(Block { runs, times: vec![time].into(), columns: Vec::new() })
        };
        Box::new((first..next).map(block))
    });
    let parts = parts.collect();
    (parts, next as usize)
}

fn sharing(threads: usize) -> Sharing {
    Sharing { threads, rows_alone_max: 3 }
}

#[test]
fn blocks_are_taken_in_order_whoever_reads_them() {
    for threads in [1, 2, 5] {
        for bytes_max in [0, 5, 1_000] {
            let (parts, count) = parts(&[2, 0, 40, 1, 0, 17, 300, 3]);
            let watch = Watch::new(&QueryOptions::default());
            let mut taken = Vec::new();
            let make = |block: Block| Ok((block.times[0], 1));
            let take = |time| {
                taken.push(time);
                Ok(ControlFlow::Continue(()))
            };
            in_order(parts, sharing(threads), bytes_max, &watch, make, take).unwrap();
            let all: Vec<i64> = (0..count as i64).collect();
            assert_eq!(taken, all, "{threads} threads, {bytes_max} bytes");
        }
    }
}

#[test]
fn no_more_is_read_than_wanted() {
    for threads in [1, 2, 5] {
        let (parts, _) = parts(&[10; 100]);
        let watch = Watch::new(&QueryOptions::default());
        let made = std::sync::atomic::AtomicUsize::new(0);
        let make = |block: Block| {
            made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok((block.times[0], 1))
        };
        let take =
            |time| Ok(if time == 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        in_order(parts, sharing(threads), 20, &watch, make, take).unwrap();
        // What may wait, and what each thread has in hand.
        assert!(made.into_inner() <= 101 + 20 + 1 + threads);
    }
}

#[test]
fn the_first_failure_ends_the_reading() {
    for threads in [1, 2, 5] {
        for (in_make, in_take) in [(Some(57), None), (None, Some(57))] {
            let fails = |time: i64, at: Option<i64>| match at == Some(time) {
                true => Err(Error::Overflow { column: "x".into() }),
                false => Ok(()),
            };
            let (parts, _) = parts(&[30; 10]);
            let watch = Watch::new(&QueryOptions::default());
            let make = |block: Block| fails(block.times[0], in_make).map(|()| (block.times[0], 1));
            let take = |time| fails(time, in_take).map(ControlFlow::Continue);
            let failed = in_order(parts, sharing(threads), 5, &watch, make, take);
            assert!(matches!(failed, Err(Error::Overflow { .. })), "{failed:?}");
        }
    }
}

#[test]
fn the_asker_is_told_the_first_failure_by_whichever_thread() {
    for threads in [2, 5] {
        let (parts, _) = parts(&[30; 10]);
        let watch = Watch::new(&QueryOptions::default());
        let take = |_: &mut (), _, block: Block| match block.times[0] {
            57 => Err(Error::Shed),
            _ => Ok(ControlFlow::Continue(())),
        };
        let failed = fold(parts, sharing(threads), &watch, || (), take);
        assert!(matches!(failed, Err(Error::Shed)), "{failed:?}");
        assert!(matches!(watch.failure(), Some(Error::Shed)), "{:?}", watch.failure());
    }
}
