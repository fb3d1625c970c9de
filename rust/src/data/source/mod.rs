//! Owns one Parquet file: its footer, its columns and their types, decoding them into nanoseconds
//! and float64, and the promise that it stays the same file while it is read.
//!
//! Decoder errors and panics become [`Code::CorruptInput`] with the file's name; nothing here
//! knows windows, sessions or order.

mod arrays;
mod claims;
mod columns;
mod file;
mod flat;
mod hybrid;
mod pages;
mod rows;
mod sessions;
mod snappy;
mod spans;
mod thrift;
mod values;
mod window;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampMillisecondType};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::file::statistics::Statistics;

use self::arrays::ArrayBatches;
use self::claims::{ROWS_PER_BYTE_MAX, check_footer};
use self::columns::{
    Column, find_column, is_number, is_timestamp, nanoseconds_per_unit, with_column_type,
    with_seconds,
};
pub(crate) use self::file::check_within;
use self::file::{InputFile, PositionedFile, open_file};
pub(crate) use self::rows::{Pass, RawRows, SourceReader};
pub(crate) use self::sessions::read_sessions;
pub(crate) use self::values::ValueReader;
use crate::error::{Code, Error, Result};
use crate::request::format_timestamp;

/// One Parquet file whose footer has been read and whose columns have been checked.
#[derive(Debug)]
pub(crate) struct SourceFile {
    input: Arc<InputFile>,
    /// The open file, while anybody reads from it: all readers of a file share one descriptor.
    shared: Mutex<Weak<File>>,
    /// The same, where it stays open for as long as this lives.
    _held: Option<PositionedFile>,
    metadata: ArrowReaderMetadata,
    timestamp: Column,
    /// Columns of numbers: the five values of a candle, or indicators.
    values: Vec<Column>,
}

/// Consecutive rows of one row group: `skip` rows after its first one, `rows` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub row_group: usize,
    pub skip: usize,
    pub rows: usize,
}

/// So many consecutive rows, none of them null and all within these timestamps, ends included, if
/// the file says the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeBounds {
    pub rows: usize,
    pub min_ns: i64,
    pub max_ns: i64,
}

impl SourceFile {
    /// Opens a file, reads its footer and checks its column of timestamps and those of numbers. It stays
    /// open if it is to be `held`; otherwise it is open while somebody reads from it, and opened again
    /// for the next one. It must not lead out of the folder that it has to lie `within`. With the names of columns comes what to do where they are not there.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] where it leads out of its folder, [`Code::CorruptInput`] where it is no readable Parquet file, [`Code::SchemaMismatch`] where
    /// a column is missing or of a wrong type, a system failure where no descriptor is left.
    pub fn open(
        (path, within): (&Path, Option<&Arc<Path>>),
        timestamp: (&str, &str),
        values: (&[String], &str),
        held: bool,
    ) -> Result<Self> {
        let ((timestamp, other_timestamp), (values, other_values)) = (timestamp, values);
        let file = open_file(path, within.cloned())?;
        let metadata = file.guarded(|| {
            // The embedded Arrow schema adds nothing but one unit: without it every timestamp
            // keeps the unit it is stored in, and dictionaries come as plain values.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            check_footer(&file)?;
            let metadata = ArrowReaderMetadata::load(&file, options)?;
            with_seconds(metadata, timestamp)
        })?;
        let timestamp_column = find_column(
            path,
            &metadata,
            timestamp,
            is_timestamp,
            "a timestamp or date32",
            other_timestamp,
        )?;
        let number = "an integer, float or decimal";
        let values = values
            .iter()
            .map(|name| find_column(path, &metadata, name, is_number, number, other_values))
            .collect::<Result<_>>()?;
        let source = Self {
            input: file.input().clone(),
            shared: Mutex::new(file.downgrade()),
            _held: held.then_some(file),
            metadata,
            timestamp: timestamp_column,
            values,
        };
        source.check_row_counts()?;
        if source.physical_type(source.timestamp.leaf) == PhysicalType::INT96 {
            source.check_int96_range()?;
        }
        Ok(source)
    }

    pub fn path(&self) -> &Path {
        self.input.path()
    }

    /// Whether the file is still under its name, and what it was when it was opened.
    pub fn check_named(&self) -> Result<()> {
        self.input.check_named()
    }

    /// How many rows each row group holds.
    pub fn row_group_rows(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        let groups = self.metadata.metadata().row_groups();
        // Checked when the file was opened.
        groups.iter().map(|group| group.num_rows() as usize)
    }

    pub fn rows(&self) -> u64 {
        self.row_group_rows().map(|rows| rows as u64).sum()
    }

    /// The smallest and largest timestamp of a row group by its statistics, in nanoseconds.
    ///
    /// `None` where the statistics do not say so for certain, where the group may hold nulls, or
    /// where a bound does not fit: then the rows themselves have to be looked at.
    pub fn timestamp_bounds(&self, row_group: usize) -> Option<(i64, i64)> {
        let column = self
            .metadata
            .metadata()
            .row_group(row_group)
            .column(self.timestamp.leaf);
        let statistics = column.statistics()?;
        if statistics.null_count_opt() != Some(0) {
            return None;
        }
        let (min, max) = match statistics {
            Statistics::Int64(bounds) => (*bounds.min_opt()?, *bounds.max_opt()?),
            Statistics::Int32(bounds) => {
                (i64::from(*bounds.min_opt()?), i64::from(*bounds.max_opt()?))
            }
            _ => return None,
        };
        let scale = nanoseconds_per_unit(self.timestamp_type())?;
        Some((min.checked_mul(scale)?, max.checked_mul(scale)?))
    }

    /// Decodes some columns over `spans`, in their order, into arrays of at most `batch_rows` rows.
    fn arrays(
        &self,
        file: &PositionedFile,
        leaves: &[usize],
        spans: &[Span],
        batch_rows: usize,
    ) -> ArrayBatches {
        ArrayBatches::new(
            file.clone(),
            self.metadata.clone(),
            leaves,
            spans,
            batch_rows,
        )
    }

    fn timestamp_type(&self) -> &DataType {
        let schema: &Schema = self.metadata.schema();
        schema
            .field_with_name(&self.timestamp.name)
            .expect("the column was found when the file was opened")
            .data_type()
    }

    fn physical_type(&self, leaf: usize) -> PhysicalType {
        self.metadata.parquet_schema().column(leaf).physical_type()
    }

    fn column_name(&self, leaf: usize) -> &str {
        let mut columns = self.values.iter().chain([&self.timestamp]);
        let column = columns.find(|column| column.leaf == leaf);
        column.map_or("", |column| &column.name)
    }

    fn check_row_counts(&self) -> Result<()> {
        let metadata = self.metadata.metadata();
        let mut total = 0_i64;
        for group in metadata.row_groups() {
            total = total
                .checked_add(group.num_rows())
                .filter(|_| group.num_rows() >= 0)
                .ok_or_else(|| self.corrupt("the footer holds impossible row counts"))?;
        }
        let most = self.input.bytes().saturating_mul(ROWS_PER_BYTE_MAX);
        if total as u64 > most {
            let bytes = self.input.bytes();
            return Err(self.corrupt(format!(
                "the footer says {total} rows, of which {bytes} bytes can hold {most} at most"
            )));
        }
        if total != metadata.file_metadata().num_rows() {
            return Err(self.corrupt(format!(
                "the footer says {} rows, its row groups {total}",
                metadata.file_metadata().num_rows()
            )));
        }
        Ok(())
    }

    /// The decoder turns old-style 96-bit timestamps into nanoseconds without looking whether they
    /// fit. In milliseconds they always do, so one pass in that unit finds those that do not.
    fn check_int96_range(&self) -> Result<()> {
        let file = self.opened()?;
        let spans = self.all_rows();
        let mut row = 0;
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        let metadata =
            file.guarded(|| with_column_type(&self.metadata, &self.timestamp.name, &milliseconds))?;
        let leaves = [self.timestamp.leaf];
        let mut batches = ArrayBatches::new(file.clone(), metadata, &leaves, &spans, 8_192);
        while let Some(batch) = file.guarded(|| batches.next())? {
            let column = batch.column(0).as_primitive::<TimestampMillisecondType>();
            let (smallest, largest) = (i64::MIN / 1_000_000 + 1, i64::MAX / 1_000_000 - 1);
            if let Some(bad) = (0..column.len()).find(|&at| {
                column.is_valid(at) && !(smallest..=largest).contains(&column.value(at))
            }) {
                return Err(self.out_of_range(column.value(bad), "milliseconds", row + bad as u64));
            }
            row += batch.num_rows() as u64;
        }
        Ok(())
    }

    /// Every row of the file.
    pub fn all_rows(&self) -> Vec<Span> {
        self.row_group_rows()
            .enumerate()
            .map(|(row_group, rows)| Span {
                row_group,
                skip: 0,
                rows,
            })
            .collect()
    }

    /// The open file; opened again, and seen to be the same, where nobody has held it open.
    fn opened(&self) -> Result<PositionedFile> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = PositionedFile::upgrade(&shared, &self.input) {
            return Ok(file);
        }
        let file = self.input.open_again()?;
        *shared = file.downgrade();
        Ok(file)
    }

    fn out_of_range(&self, value: i64, unit: &str, row: u64) -> Error {
        self.corrupt(format!(
            "the timestamp {value} ({unit} since 1970) does not fit 64-bit nanoseconds"
        ))
        .at_row(row)
        .at_column(&self.timestamp.name)
        .with_hint(format!(
            "timestamps reach from {} to {}",
            format_timestamp(i64::MIN),
            format_timestamp(i64::MAX)
        ))
    }

    fn more_rows(&self) -> Error {
        self.corrupt("the file holds more rows than its footer says")
    }

    fn fewer_rows(&self, decoded: usize, expected: usize) -> Error {
        self.corrupt(format!(
            "the file holds fewer rows than its footer says ({decoded} of {expected})"
        ))
    }

    fn corrupt(&self, message: impl Into<String>) -> Error {
        Error::input(Code::CorruptInput, message).at_file(self.path())
    }
}
