use super::*;
use crate::{points::PointsBuilder, row::RowRules};
use arrow_array::TimestampMillisecondArray;
use arrow_ipc::writer::{FileWriter, StreamWriter};
use oribi_model::{ArrivalClock, Name, Points, Rejection, SystemClock};
use proptest::prelude::*;
use std::sync::Arc;

fn sample() -> RecordBatch {
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_000, 5]));
    let value: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN)]));
    let site: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    RecordBatch::try_from_iter([("time", time), ("v", value), ("site", site)]).unwrap()
}

fn stream() -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &sample().schema()).unwrap();
    writer.write(&sample()).unwrap();
    writer.into_inner().unwrap()
}

fn read(body: &[u8]) -> (Points, Vec<Rejection>, bool) {
    let arrival = ArrivalClock::new(Arc::new(SystemClock));
    let tags = ["site".to_owned()];
    let rules = RowRules { tags: &tags, ..RowRules::new(&arrival) };
    let name = |name| Name::new(name).unwrap();
    let mut builder = PointsBuilder::new(name("default"), name("m"));
    let mut sink = RowSink::new(&rules, &mut builder, None, 1);
    let failed = read_rows(body, &mut sink).is_err();
    let rejected = std::mem::take(&mut sink.rejected);
    (builder.finish(), rejected, failed)
}

#[test]
fn streams_and_files_give_rows() {
    let mut writer = FileWriter::try_new(Vec::new(), &sample().schema()).unwrap();
    writer.write(&sample()).unwrap();
    let file = writer.into_inner().unwrap();
    for body in [stream(), file] {
        let (points, rejected, failed) = read(&body);
        assert!(!failed);
        assert_eq!(points.times, [1_700_000_000_000_000_000]);
        assert_eq!(points.tags_of(0).next().unwrap().1, "a");
        assert_eq!((rejected.len(), rejected[0].origin), (1, 2));
    }
}

proptest! {
    #[test]
    fn broken_streams_are_refused_or_read(at in 0usize..2000, byte: u8, cut in 0usize..2000) {
        let mut body = stream();
        let at = at % body.len();
        body[at] = byte;
        read(&body);
        body.truncate(cut);
        read(&body);
    }

    #[test]
    fn any_bytes_are_safe(body: Vec<u8>) {
        read(&body);
    }
}
