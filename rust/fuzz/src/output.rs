//! Checks every output: it is complete, its slices are whole and ordered, and values agree with
//! their flags. Uses Arrow's readers and ours.

use std::io::{self, Cursor, Write};
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int16Type, TimestampNanosecondType};
use arrow::ipc::reader::{FileReader, StreamReader};
use omega_slices::ipc::{Format, SliceReader};

/// Maximum size of an output; beyond it, the output acts as a full disk.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

const FIELDS: [&str; 5] = ["open", "high", "low", "close", "volume"];

/// An output of limited size.
#[derive(Debug, Default)]
pub struct Output(pub Vec<u8>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks an output that is reported as complete.
pub fn check(bytes: &[u8], format: Format, symbols: &[&str]) {
    let batches: Vec<RecordBatch> = match format {
        Format::Stream => StreamReader::try_new(Cursor::new(bytes), None)
            .expect("a stream")
            .collect::<Result<_, _>>(),
        Format::File => FileReader::try_new(Cursor::new(bytes), None)
            .expect("a file")
            .collect::<Result<_, _>>(),
    }
    .expect("batches");
    let (seal, batches) = batches.split_last().expect("a seal");
    assert_eq!(seal.num_rows(), 0, "no seal at the end");
    let mut last_ns = None;
    let mut slices = 0;
    for batch in batches {
        assert_ne!(batch.num_rows(), 0, "a seal before the end");
        last_ns = check_rows(batch, symbols, last_ns);
        check_candles(batch);
        slices += (batch.num_rows() / symbols.len()) as u64;
    }
    let input = Box::new(Cursor::new(bytes.to_vec()));
    let mut reader = SliceReader::new(input, Path::new("output")).expect("slices");
    for slices in reader.by_ref() {
        slices.expect("what was written can be read back");
    }
    assert_eq!(reader.so_far().slices, slices);
}

fn check_rows(batch: &RecordBatch, symbols: &[&str], mut last_ns: Option<i64>) -> Option<i64> {
    let timestamps = batch.column(0).as_primitive::<TimestampNanosecondType>();
    let names = batch.column(1).as_dictionary::<Int16Type>();
    let names = names
        .downcast_dict::<arrow::array::StringArray>()
        .expect("texts");
    assert!(
        batch.num_rows().is_multiple_of(symbols.len()),
        "a slice is cut"
    );
    assert_eq!(timestamps.null_count(), 0);
    for first in (0..batch.num_rows()).step_by(symbols.len()) {
        let timestamp_ns = timestamps.value(first);
        assert!(
            last_ns.is_none_or(|last_ns| last_ns < timestamp_ns),
            "time goes back"
        );
        last_ns = Some(timestamp_ns);
        for (row, symbol) in (first..).zip(symbols) {
            assert_eq!(timestamps.value(row), timestamp_ns);
            let name = arrow::array::ArrayAccessor::value(&names, row);
            assert_eq!(name, *symbol);
        }
    }
    last_ns
}

/// A candle is valid if it exists with five finite values; values under nulls are NaN.
fn check_candles(batch: &RecordBatch) {
    for field in batch.schema().fields() {
        let Some((before, price_type)) = field.name().split_once("valid_") else {
            continue;
        };
        let valid = batch.column_by_name(field.name()).expect("a column");
        let columns = FIELDS.map(|field| {
            let name = format!("{before}{price_type}_{field}");
            let column = batch.column_by_name(&name).expect("a column of values");
            column.as_primitive::<Float64Type>()
        });
        for row in 0..batch.num_rows() {
            for column in columns {
                assert!(
                    column.is_valid(row) || column.value(row).is_nan(),
                    "a value under a null"
                );
                assert_eq!(
                    column.is_valid(row),
                    columns[0].is_valid(row),
                    "half a candle"
                );
            }
            let finite = columns.iter().all(|column| column.value(row).is_finite());
            assert_eq!(
                valid.as_boolean().value(row),
                finite,
                "the flag says something else"
            );
        }
    }
}
