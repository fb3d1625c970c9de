//! Entry points for benchmarks: our decoders, and the library's way to the same values. Not part of
//! the public interface.

use std::path::Path;
use std::sync::Arc;

use slices_core::error::{Error, Result};
use slices_core::request::{ColumnChoice, Scales};
use slices_store::Storage;

use crate::numbers::float64;
use crate::{
    ColumnCursor, FileColumn, FileContents, FileOptions, FileRanges, Opened, SeriesFile, StaysOpen,
    TimeRules, ValueColumn,
};

/// Rows that are decoded at a time, as a run does.
const ROWS: usize = 8_192;

fn open(path: &Path, column: &str) -> Result<Box<SeriesFile>> {
    let opened = SeriesFile::open(FileOptions {
        path,
        within: None,
        contents: FileContents::Indicators,
        timestamp: &ColumnChoice::of("UTC time"),
        values: &[ValueColumn {
            choice: ColumnChoice::of(column),
            scales: Scales::default(),
        }],
        time: &Arc::new(TimeRules::of_instants()),
        unit: None,
        zone: None,
        asks_zone: false,
        stays_open: StaysOpen::Always,
        storage: &Storage::default(),
        reads_rows: true,
    })?;
    match opened {
        Opened::File(file) => Ok(file),
        Opened::Empty(_) => Err(Error::usage("the file has no rows")),
    }
}

/// Decodes a column of numbers by our cursor. Returns the sum of its values.
///
/// # Errors
///
/// Fails where the file cannot be read.
pub fn decode_by_cursor(path: &Path, column: &str) -> Result<f64> {
    let file = open(path, column)?;
    let file = file.file();
    let rows = file.all_rows();
    let ranges = FileRanges::new(rows.iter().map(|range| (file.clone(), *range)));
    let mut cursor = ColumnCursor::<f64>::new(ranges, FileColumn::Value(0));
    let mut values = vec![0.0; ROWS];
    let mut left = file.rows() as usize;
    let mut sum = 0.0;
    while left > 0 {
        let part = &mut values[..left.min(ROWS)];
        cursor.read(part)?;
        sum += part.iter().sum::<f64>();
        left -= part.len();
    }
    Ok(sum)
}

/// Decodes the same column by the library. Returns the sum of its values.
///
/// # Errors
///
/// Fails where the file cannot be read.
pub fn decode_by_library(path: &Path, column: &str) -> Result<f64> {
    let file = open(path, column)?;
    let file = file.file();
    let opened = file.opened()?;
    let leaves = [file.values[0].leaf];
    let mut batches = file.arrays(&opened, &leaves, &file.all_rows(), ROWS);
    let mut sum = 0.0;
    while let Some(batch) = opened.guarded(|| batches.next())? {
        sum += float64(batch.column(0)).iter().sum::<f64>();
    }
    Ok(sum)
}

/// Decompresses the first bytes of a Snappy block. Returns how many bytes there are.
#[must_use]
pub fn beginning(compressed: &[u8], wanted: usize) -> Option<usize> {
    crate::snappy::beginning(compressed, wanted).map(|bytes| bytes.len())
}
