//! Builds Parquet fixtures in code, so that tests show what a file contains.

#![allow(
    dead_code,
    reason = "each test binary uses its own part of the fixtures"
)]

pub mod forged;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// A row of a file: a timestamp in nanoseconds and five values.
pub type Row = (i64, [Option<f64>; 5]);

/// A minute in nanoseconds.
pub const MINUTE: i64 = 60_000_000_000;

/// A row whose values derive from its timestamp and a tag, so that a misplaced value shows.
pub fn row(timestamp_ns: i64, tag: f64) -> Row {
    let base = tag * 1_000.0 + (timestamp_ns / MINUTE % 1_000) as f64;
    (
        timestamp_ns,
        [0.0, 0.25, 0.5, 0.75, 0.125].map(|part| Some(base + part)),
    )
}

/// The file of a series in the default layout.
pub fn path(root: &Path, symbol: &str, timeframe: &str, side: &str) -> PathBuf {
    root.join(symbol)
        .join(format!("{symbol}_{timeframe}_{side}.parquet"))
}

/// Writes rows with the default column names: nanosecond UTC timestamps, and nullable float64
/// values. A row group has `row_group_rows` rows in pages of a few rows, so small files have
/// several. An even number of rows per group adds statistics to page headers, which changes how the
/// file is read.
pub fn write(path: &Path, rows: &[Row], row_group_rows: usize) {
    let timestamps = TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.0))
        .with_timezone("UTC");
    let mut columns: Vec<(String, ArrayRef)> = vec![("UTC time".into(), Arc::new(timestamps))];
    for (field, name) in ["Open", "High", "Low", "Close", "Volume"]
        .into_iter()
        .enumerate()
    {
        let values: Float64Array = rows.iter().map(|row| row.1[field]).collect();
        columns.push((name.into(), Arc::new(values)));
    }
    write_columns(path, columns, row_group_rows);
}

/// Writes any columns.
pub fn write_columns(path: &Path, columns: Vec<(String, ArrayRef)>, row_group_rows: usize) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(row_group_rows))
        .set_data_page_row_count_limit(16)
        .set_write_batch_size(16)
        .set_write_page_header_statistics(row_group_rows.is_multiple_of(2))
        .build();
    write_with(path, columns, properties);
}

/// Writes any columns with any writer properties.
pub fn write_with(path: &Path, columns: Vec<(String, ArrayRef)>, properties: WriterProperties) {
    fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a folder");
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .expect("columns of one length");
    let file = File::create(path).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a Parquet writer");
    writer.write(&batch).expect("rows are written");
    writer.close().expect("a footer is written");
}

/// A timestamp column of the given unit, for [`write_columns`].
pub fn timestamps(unit: TimeUnit, values: Vec<Option<i64>>) -> ArrayRef {
    let column = arrow::array::Int64Array::from(values);
    arrow::compute::cast(&column, &DataType::Timestamp(unit, None)).expect("a timestamp column")
}

/// The columns Open to Volume, filled with `value`.
pub fn plain_values(rows: usize, value: f64) -> Vec<(String, ArrayRef)> {
    ["Open", "High", "Low", "Close", "Volume"]
        .into_iter()
        .map(|name| {
            (
                name.to_owned(),
                Arc::new(Float64Array::from(vec![value; rows])) as ArrayRef,
            )
        })
        .collect()
}

/// The real binary, without environment variables and stdin.
pub fn omega_slices() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omega-slices"));
    command
        .env_remove("OMEGA_DATA_PARQUET_ROOT")
        .stdin(Stdio::null());
    command
}

/// `sync` of the symbols A and B.
pub fn sync(root: &Path) -> Command {
    let mut command = omega_slices();
    command
        .args(["sync", "--symbols", "A,B", "--data"])
        .arg(root);
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().expect("the binary starts")
}

/// The exit status.
pub fn status(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Two symbols, both sides, `minutes` minutes each.
pub fn two_symbols(minutes: i64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let rows: Vec<Row> = (0..minutes)
        .map(|minute| row(minute * MINUTE, 1.0))
        .collect();
    for symbol in ["A", "B"] {
        for side in ["BID", "ASK"] {
            write(&path(folder.path(), symbol, "M1", side), &rows, 60_000);
        }
    }
    folder
}

/// Symbols A and B, both sides, long enough for a slow run: plain pages of the usual size, 50,000
/// rows per group.
pub fn long_data(minutes: i64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let first = path(folder.path(), "A", "M1", "BID");
    write_long(&first, minutes, MINUTE, 1.0);
    for (symbol, side) in [("A", "ASK"), ("B", "BID"), ("B", "ASK")] {
        let other = path(folder.path(), symbol, "M1", side);
        fs::create_dir_all(other.parent().expect("a folder")).expect("a folder");
        fs::copy(&first, other).expect("a copy");
    }
    folder
}

/// Writes `rows` candles, one every `step_ns`, in plain pages of the usual size.
pub fn write_long(path: &Path, rows: i64, step_ns: i64, tag: f64) {
    let times = (0..rows).map(|row| Some(row * step_ns)).collect();
    let mut columns = vec![(
        "UTC time".to_owned(),
        timestamps(TimeUnit::Nanosecond, times),
    )];
    for name in ["Open", "High", "Low", "Close", "Volume"] {
        let values = (0..rows).map(|row| tag * 1_000.0 + (row % 1_000) as f64);
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        columns.push((name.to_owned(), values));
    }
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(50_000))
        .set_dictionary_enabled(false)
        .build();
    write_with(path, columns, properties);
}
