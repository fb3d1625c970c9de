//! Writes candle files for benchmarks: one price type, values derived from the minute, no gaps.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use omega_slices::{PriceType, Request};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

const MINUTE_NS: i64 = 60_000_000_000;

/// Writes `symbols` symbols of `minutes` minutes to a new folder. Returns it and the request for
/// all of them.
pub fn request(symbols: usize, minutes: i64) -> (TempDir, Request) {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<_> = (0..symbols).map(|number| format!("S{number:03}")).collect();
    for name in &names {
        write(folder.path(), name, minutes);
    }
    let request = Request::builder(folder.path())
        .symbols(names)
        .price_types([PriceType::Trade])
        .build()
        .expect("a request");
    (folder, request)
}

fn write(root: &Path, symbol: &str, minutes: i64) {
    let timestamps =
        TimestampNanosecondArray::from_iter_values((0..minutes).map(|at| at * MINUTE_NS));
    let mut columns: Vec<(&str, ArrayRef)> = vec![("UTC time", Arc::new(timestamps))];
    for name in ["Open", "High", "Low", "Close", "Volume"] {
        let values = Float64Array::from_iter_values((0..minutes).map(|at| at as f64 / 8.0));
        columns.push((name, Arc::new(values)));
    }
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let folder = root.join(symbol);
    fs::create_dir_all(&folder).expect("a folder");
    let file = File::create(folder.join(format!("{symbol}_M1_TRADE.parquet"))).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a Parquet writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
}
