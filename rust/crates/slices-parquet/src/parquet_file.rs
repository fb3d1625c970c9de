//! Opens one Parquet file: reads its footer and finds its columns. Makes the errors that name it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::file::reader::{ChunkReader, Length};

use super::arrays::ArrayBatches;
use super::clock::TimeRules;
use super::columns::{
    Column, Expected, FileContents, ValueColumn, chosen_name, find_column, is_time, is_timestamp,
    with_seconds,
};
use super::file::{
    FileEnd, InputFile, OpenFile, PositionedFile, damaged, is_out_of_descriptors, open_file,
};
use super::formats::{ENCRYPTED, TELLING_BYTES, format_of};
use super::limits::{ROWS_PER_BYTE_MAX, check_footer};
use super::numbers;
use super::page_index::Pages;
use super::recent_files::RecentFiles;
use slices_core::error::{Code, Error, Result};
use slices_core::request::{ColumnChoice, Scales, TimestampUnit, Zone};
use slices_store::Storage;

/// The file to read, and how to read it.
#[derive(Debug, Clone, Copy)]
pub struct FileOptions<'a> {
    /// The path of the file.
    pub path: &'a Path,
    /// The folder that the path must not lead out of.
    pub within: Option<&'a Arc<Path>>,
    /// The content of the file.
    pub contents: FileContents,
    /// The column of timestamps.
    pub timestamp: &'a ColumnChoice,
    /// The columns of numbers.
    pub values: &'a [ValueColumn],
    /// The rules that convert its timestamps.
    pub time: &'a Arc<TimeRules>,
    /// The unit of timestamps that are integers.
    pub unit: Option<TimestampUnit>,
    /// The zone of its wall clocks and days.
    pub zone: Option<&'a Zone>,
    /// Whether the caller needs the zone of the column, even if no rule uses it.
    pub asks_zone: bool,
    /// How long the file stays open.
    pub stays_open: StaysOpen<'a>,
    /// Where objects come from.
    pub storage: &'a Storage,
    /// Whether its rows are read next, so that those of an object may be fetched ahead.
    pub reads_rows: bool,
}

/// How long a file stays open beyond each time that it is read.
#[derive(Debug, Clone, Copy)]
pub enum StaysOpen<'a> {
    /// For as long as it may be read again.
    Always,
    /// Until enough other files were opened.
    Recently(&'a Arc<RecentFiles>),
}

/// Consecutive rows of one row group: `rows` rows after the first `skip` ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRange {
    /// The row group, by its index.
    pub row_group: usize,
    /// Rows of the group before the first one.
    pub skip: usize,
    /// Number of rows.
    pub rows: usize,
}

/// One Parquet file whose footer has been read and whose columns have been checked.
#[derive(Debug)]
pub struct ParquetFile {
    input: Arc<InputFile>,
    /// The open file while it is read. All readers of a file share one descriptor.
    shared: Mutex<Weak<OpenFile>>,
    /// The open file, if it stays open for as long as this value lives.
    _open: Option<PositionedFile>,
    /// Where it is kept otherwise.
    recent: Option<Arc<RecentFiles>>,
    /// The pages of column chunks of an object, by row group and column.
    pub(super) pages: Mutex<HashMap<(usize, usize), Pages>>,
    pub(super) metadata: ArrowReaderMetadata,
    pub(super) timestamp: Column,
    /// Columns of numbers: the five values of a candle, or indicators.
    pub(super) values: Vec<Column>,
}

/// The columns of timestamps that candles may have.
const OF_CANDLES: Expected = Expected {
    is_right: is_time,
    what: "a timestamp, date, text or integer",
};

/// The columns of timestamps of other files.
const OF_INSTANTS: Expected = Expected {
    is_right: is_timestamp,
    what: "a timestamp or date32",
};

/// The content of a footer.
pub(super) enum Footer {
    Rows(ParquetFile),
    /// The file has no rows. Its columns are not checked.
    NoRows(Arc<InputFile>, ArrowReaderMetadata),
}

impl ParquetFile {
    /// Opens a file, reads its footer and finds its columns.
    ///
    /// # Errors
    ///
    /// The errors of [`super::SeriesFile::open`] about footer and columns.
    pub(super) fn open(options: &FileOptions<'_>) -> Result<Footer> {
        let path = options.path;
        let recent = match options.stays_open {
            StaysOpen::Always => None,
            StaysOpen::Recently(recent) => Some(recent.clone()),
        };
        let file = opened_with(recent.as_deref(), || {
            open_file(path, options.within.map(Arc::as_ref), options.storage)
        })?;
        let of_candles = options.time.timeframe.is_some();
        let times = if of_candles { OF_CANDLES } else { OF_INSTANTS };
        let metadata = file.guarded(|| {
            // Skip the embedded Arrow schema, which would only add one unit and a zone. Without it,
            // timestamps keep their stored unit, and dictionaries become plain values.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let end = FileEnd::read(&file)?;
            if check_footer(&end)? {
                return Ok(None);
            }
            ArrowReaderMetadata::load(&end, options).map(Some)
        });
        let metadata = metadata.map_err(|error| other_format(&file).unwrap_or(error))?;
        let Some(metadata) = metadata else {
            return Err(unsupported(&file, ENCRYPTED));
        };
        if metadata.metadata().num_row_groups() == 0
            || metadata
                .metadata()
                .row_groups()
                .iter()
                .all(|group| group.num_rows() == 0)
        {
            if metadata.metadata().file_metadata().num_rows() != 0 {
                let message = "footer declares rows, but its row groups have none";
                return Err(damaged(path, message));
            }
            return Ok(Footer::NoRows(file.input().clone(), metadata));
        }
        let timestamp = ValueColumn {
            choice: options.timestamp.clone(),
            scales: Scales::default(),
        };
        let other = || options.contents.other_timestamp();
        let (schema, choice) = (metadata.schema().clone(), &timestamp.choice);
        let name = chosen_name(path, &schema, choice, times.is_right, other())?;
        let metadata = file.guarded(|| with_seconds(metadata, name))?;
        let timestamp = find_column(path, &metadata, &timestamp, times, other())?;
        let number = match options.contents {
            FileContents::Candles => numbers::OF_CANDLES,
            FileContents::Indicators | FileContents::Sessions => numbers::OF_INDICATORS,
        };
        let values = options
            .values
            .iter()
            .map(|column| {
                let other = options.contents.other_value();
                find_column(path, &metadata, column, number, other)
            })
            .collect::<Result<_>>()?;
        let opened = Self {
            input: file.input().clone(),
            shared: Mutex::new(file.downgrade()),
            _open: recent.is_none().then_some(file),
            recent,
            pages: Mutex::default(),
            metadata,
            timestamp,
            values,
        };
        opened.check_row_counts()?;
        Ok(Footer::Rows(opened))
    }

    /// The Arrow type of the timestamps.
    pub(super) fn timestamp_type(&self) -> DataType {
        let field = self.metadata.schema().field_with_name(&self.timestamp.name);
        let field = field.expect("the column was found when the file was opened");
        field.data_type().clone()
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.input.path()
    }

    /// Whether it is an object, of which every byte has to be fetched.
    pub fn is_stored(&self) -> bool {
        self.input.is_stored()
    }

    /// Checks that the file still has its name, and is unchanged since it was opened.
    pub fn check_named(&self) -> Result<()> {
        self.input.check_named()
    }

    /// Number of rows of each row group.
    pub fn row_group_rows(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        let groups = self.metadata.metadata().row_groups();
        // Checked when the file was opened.
        groups.iter().map(|group| group.num_rows() as usize)
    }

    /// Number of rows in all row groups.
    pub fn rows(&self) -> u64 {
        self.row_group_rows().map(|rows| rows as u64).sum()
    }

    /// Every row of the file.
    pub fn all_rows(&self) -> Vec<RowRange> {
        self.row_group_rows()
            .enumerate()
            .map(|(row_group, rows)| RowRange {
                row_group,
                skip: 0,
                rows,
            })
            .collect()
    }

    /// The names of the columns to read: timestamps first, then numbers.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        let columns = [&self.timestamp].into_iter().chain(&self.values);
        columns.map(|column| column.name.as_str())
    }

    /// Size of the file in bytes, and its modification time in nanoseconds since 1970.
    pub fn size_and_modified_ns(&self) -> (u64, i64) {
        (self.input.bytes(), self.input.modified_ns())
    }

    /// Number of bytes that the footer takes in memory.
    pub fn metadata_bytes(&self) -> u64 {
        self.metadata.metadata().memory_size() as u64
    }

    /// The open file. Opens it again if it was closed, and checks that it is unchanged.
    pub(super) fn opened(&self) -> Result<PositionedFile> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = PositionedFile::upgrade(&shared, &self.input) {
            return Ok(file);
        }
        let recent = self.recent.as_deref();
        let file = opened_with(recent, || self.input.open_again())?;
        *shared = file.downgrade();
        Ok(file)
    }

    /// Decodes columns over `ranges` in their order, into arrays of at most `batch_rows` rows.
    pub(super) fn arrays(
        &self,
        file: &PositionedFile,
        leaves: &[usize],
        ranges: &[RowRange],
        batch_rows: usize,
    ) -> ArrayBatches {
        ArrayBatches::new(
            file.clone(),
            self.metadata.clone(),
            leaves,
            ranges,
            batch_rows,
        )
    }

    pub(super) fn physical_type(&self, leaf: usize) -> PhysicalType {
        self.metadata.parquet_schema().column(leaf).physical_type()
    }

    fn check_row_counts(&self) -> Result<()> {
        let metadata = self.metadata.metadata();
        let mut total = 0_i64;
        for group in metadata.row_groups() {
            total = total
                .checked_add(group.num_rows())
                .filter(|_| group.num_rows() >= 0)
                .ok_or_else(|| self.corrupt("footer declares an impossible number of rows"))?;
        }
        let most = self.input.bytes().saturating_mul(ROWS_PER_BYTE_MAX);
        if total as u64 > most {
            let bytes = self.input.bytes();
            return Err(self.corrupt(format!(
                "footer declares {total} rows: a file of {bytes} bytes holds at most {most}"
            )));
        }
        if total != metadata.file_metadata().num_rows() {
            return Err(self.corrupt(format!(
                "footer declares {} rows, but its row groups {total}",
                metadata.file_metadata().num_rows()
            )));
        }
        Ok(())
    }

    pub(super) fn more_rows(&self) -> Error {
        self.corrupt("the file holds more rows than its footer declares")
    }

    pub(super) fn fewer_rows(&self, decoded: usize, expected: usize) -> Error {
        self.corrupt(format!(
            "the file holds fewer rows than its footer declares ({decoded} of {expected})"
        ))
    }

    /// The error for a text that is no number.
    pub(super) fn not_a_number(&self, column: &Column, row: u64, text: &str) -> Error {
        self.corrupt(format!("invalid number {text:?}"))
            .at_row(row)
            .at_column(&column.name)
            .with_hint("correct the row: a number is decimal, such as 1.25 or 125e-2, or NaN")
    }

    /// The row of the file at a place in a row group.
    pub(super) fn row_of(&self, row_group: usize, place: usize) -> u64 {
        let before = self.row_group_rows().take(row_group);
        (before.sum::<usize>() + place) as u64
    }

    pub(super) fn corrupt(&self, message: impl Into<String>) -> Error {
        damaged(self.path(), message)
    }
}

/// Opens a file. If it is to stay open recently and is small, reads it at once. If too many are
/// open, closes those that were only kept, and tries again.
fn opened_with(
    recent: Option<&RecentFiles>,
    open: impl Fn() -> Result<PositionedFile>,
) -> Result<PositionedFile> {
    let Some(recent) = recent else {
        return open();
    };
    let file = match open() {
        Err(error) if is_out_of_descriptors(&error) && recent.close() => open(),
        opened => opened,
    };
    let file = file?.with_contents()?;
    recent.keep(file.clone());
    Ok(file)
}

/// The error for a file in another format than Parquet.
fn other_format(file: &PositionedFile) -> Option<Error> {
    let bytes = usize::try_from(Length::len(file)).ok()?.min(TELLING_BYTES);
    let first = file.get_bytes(0, bytes).ok()?;
    let format = format_of(&first)?;
    Some(unsupported(file, format))
}

fn unsupported(file: &PositionedFile, format: &str) -> Error {
    let (what, hint) = if format == ENCRYPTED {
        ("", "write it without encryption")
    } else {
        (", not Parquet", "convert it to Parquet")
    };
    let message = format!("cannot read the file: it is {format}{what}");
    Error::input(Code::UnsupportedInput, message)
        .at_file(file.input().path())
        .with_hint(hint)
}
