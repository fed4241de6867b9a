//! Rows of memtables, of batches large and small.

use super::*;

/// Rows of a block of an answer, at most.
const BLOCK_ROWS_MAX: usize = 65_536;

/// Batches of which some are kept as they came, with rows that stand in several of them, and a
/// series that is longer than a block.
#[test]
fn batches_of_every_size_give_what_a_map_would() {
    let mut random = Random(41);
    for case in 0..6 {
        let (disk, mut model) = (SimDisk::new(), Model::new());
        let tablet = open(&disk).unwrap();
        for index in 1..=12 {
            let rows = [5, 700, 60, 1_500][random.below(4) as usize];
            let mut batch = random_batch(&mut random, rows);
            if index == 7 && case < 2 {
                batch = random_batch(&mut random, 70_000);
                batch.times = (0..70_000).collect();
                batch.row_series.fill(0);
            }
            let entry = Entry::Rows(Arc::new(batch));
            apply_model(&mut model, &entry);
            apply(&tablet, index, &entry);
        }
        let expected: Vec<_> = model.into_iter().collect();
        for block in tablet.scan(&everything(), 1).unwrap().into_iter().flatten() {
            assert!(block.unwrap().rows() <= BLOCK_ROWS_MAX);
        }
        assert!(scanned(&tablet, &everything(), 1) == expected, "case {case}");
        assert!(scanned(&tablet, &everything(), 3) == expected, "case {case}, in parts");
        tablet.seal(LogIndex(12), Vec::new());
        tablet.flush().unwrap();
        assert!(scanned(&tablet, &everything(), 1) == expected, "case {case}, flushed");
    }
}

#[test]
fn blocks_of_many_columns_have_few_rows() {
    const PIECE_ROWS: usize = 8_192;
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    for (index, rows) in (1..).zip([20_000, 700, 900]) {
        let mut batch = random_batch(&mut Random(index), rows);
        batch.times = (0..rows as i64).collect();
        tablet.apply(LogIndex(index), Arc::new(batch));
    }
    let column = |id| ColumnRead { id: ColumnId(id), column_type: ColumnType::Int };
    let spec = ScanSpec { columns: (100..1_100).map(column).collect(), ..everything() };
    for block in tablet.scan(&spec, 1).unwrap().into_iter().flatten() {
        assert!(block.unwrap().rows() <= PIECE_ROWS);
    }
}
