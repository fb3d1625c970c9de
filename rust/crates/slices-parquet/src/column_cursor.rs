//! Reads one column of a series forward, over all row groups and files that hold its rows.
//!
//! Values of eight bytes go from the page into the caller's memory. If a file stores another type,
//! or a page another encoding, the Parquet library decodes the rest of the row group into arrays.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::ArrowNativeType;
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::ColumnChunkMetaData;

use super::arrays::ArrayBatches;
use super::columns::{Column, stored_numbers};
use super::file::PositionedFile;
use super::fixed_width::{ColumnRead, FixedWidth, FixedWidthColumn};
use super::numbers::{Numbers, numbers};
use super::pages::{footer_chunk_bytes, open_chunk_bytes};
use super::parquet_file::{ParquetFile, RowRange};
use slices_core::error::{Error, Result};
use slices_core::request::Scale;

/// Number of rows per array that the library decodes.
const ARRAY_ROWS: usize = 4_096;

/// Rows of one row group of a file.
#[derive(Debug, Clone)]
pub struct FileRange {
    file: Arc<ParquetFile>,
    range: RowRange,
    /// Number of rows before it in the series.
    first_row: u64,
}

/// The rows of a series in reading order, over all its files. Cheap to clone: the columns of a
/// series share one list.
#[derive(Debug, Clone)]
pub struct FileRanges(Arc<[FileRange]>);

impl FileRanges {
    /// Lists rows of row groups in this order, without empty ranges.
    pub fn new(ranges: impl IntoIterator<Item = (Arc<ParquetFile>, RowRange)>) -> Self {
        let mut first_row = 0;
        let ranges = ranges.into_iter().filter(|(_, range)| range.rows > 0);
        let ranges = ranges.map(|(file, range)| {
            let ranged = FileRange {
                file,
                range,
                first_row,
            };
            first_row += range.rows as u64;
            ranged
        });
        Self(ranges.collect())
    }

    /// Number of bytes of pages that a cursor over a column holds at most, as the footers say.
    pub fn bytes_by_footer(&self, column: FileColumn) -> u64 {
        let of_range = |range: &FileRange| {
            footer_chunk_bytes(range.chunk(column)) + column.library_bytes(&range.file)
        };
        self.0.iter().map(of_range).max().unwrap_or(0)
    }

    /// The same as the headers of the pages say, which is less if a chunk has several pages. Reads
    /// all headers.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, or changed.
    pub fn bytes_by_headers(&self, column: FileColumn) -> Result<u64> {
        let mut most = 0;
        for range in self.0.iter() {
            let chunk = range.chunk(column);
            let declared = open_chunk_bytes(&range.file.opened()?, chunk);
            let bytes = declared.unwrap_or_else(|| footer_chunk_bytes(chunk));
            most = most.max(bytes + column.library_bytes(&range.file));
        }
        Ok(most)
    }
}

impl FileRange {
    fn chunk(&self, column: FileColumn) -> &ColumnChunkMetaData {
        let group = self
            .file
            .metadata
            .metadata()
            .row_group(self.range.row_group);
        group.column(column.of(&self.file).leaf)
    }
}

/// The column that a cursor reads from each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileColumn {
    /// The column of timestamps.
    Timestamp,
    /// One of the columns of numbers.
    Value(usize),
}

impl FileColumn {
    fn of(self, file: &ParquetFile) -> &Column {
        match self {
            Self::Timestamp => &file.timestamp,
            Self::Value(field) => &file.values[field],
        }
    }

    /// Number of bytes of the arrays that the library decodes, where it does.
    fn library_bytes(self, file: &ParquetFile) -> u64 {
        let is_fixed = matches!(
            file.physical_type(self.of(file).leaf),
            PhysicalType::DOUBLE | PhysicalType::INT64
        );
        if is_fixed {
            0
        } else {
            // The levels, the values as stored and as numbers.
            (ARRAY_ROWS * 3 * size_of::<f64>()) as u64
        }
    }
}

/// Who reads the rows behind the last range of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastRange {
    /// No reader does.
    Whole,
    /// Another reader reads the rest of the row group, or fails. So this cursor may read a
    /// dictionary in part.
    Beginning,
}

/// A value that a cursor can read.
pub trait ColumnValue: FixedWidth + ArrowNativeType {
    /// The physical type that stores it unchanged.
    const PHYSICAL_TYPE: PhysicalType;

    /// The values of a decoded array, and the text that ends them early if it is no number. Values
    /// under nulls are arbitrary.
    fn from_array(array: &ArrayRef, scale: Option<Scale>) -> (ScalarBuffer<Self>, Option<String>);
}

impl ColumnValue for f64 {
    const PHYSICAL_TYPE: PhysicalType = PhysicalType::DOUBLE;

    fn from_array(array: &ArrayRef, scale: Option<Scale>) -> (ScalarBuffer<Self>, Option<String>) {
        let Numbers { values, fault } = numbers(array, scale);
        (values, fault)
    }
}

impl ColumnValue for i64 {
    const PHYSICAL_TYPE: PhysicalType = PhysicalType::INT64;

    fn from_array(array: &ArrayRef, _: Option<Scale>) -> (ScalarBuffer<Self>, Option<String>) {
        let values = stored_numbers(array).expect("64-bit columns of timestamps hold numbers");
        (values, None)
    }
}

/// Reads one column forward.
pub struct ColumnCursor<T: ColumnValue> {
    ranges: FileRanges,
    column: FileColumn,
    /// Number of rows to read at a time with a wide dictionary; 0 to read none ahead.
    ahead_rows: usize,
    last_range: LastRange,
    /// The index of the current range.
    range: usize,
    /// Number of rows of this range that were read.
    read: usize,
    /// The file of this range, open while its ranges are read.
    open: Option<PositionedFile>,
    decoder: Option<Decoder<T>>,
}

/// Decodes the rest of a range.
enum Decoder<T: ColumnValue> {
    Pages {
        column: Box<FixedWidthColumn>,
        /// Values that were read ahead, and the number of them already returned.
        ahead: Vec<T>,
        used: usize,
    },
    Arrays {
        batches: Box<ArrayBatches>,
        /// Decoded values that were not returned yet.
        decoded: ScalarBuffer<T>,
        /// The index of the first null in `decoded`.
        first_null: Option<usize>,
        /// The text after the last of them that is no number.
        fault: Option<String>,
    },
}

impl<T: ColumnValue> ColumnCursor<T> {
    /// Creates a cursor at the first row.
    pub fn new(ranges: FileRanges, column: FileColumn) -> Self {
        Self {
            ranges,
            column,
            ahead_rows: 0,
            last_range: LastRange::Whole,
            range: 0,
            read: 0,
            open: None,
            decoder: None,
        }
    }

    /// Sets the number of rows to read at a time with a wide dictionary. Use it if several columns
    /// are read in turns.
    pub fn with_ahead_rows(mut self, rows: usize) -> Self {
        self.ahead_rows = rows;
        self
    }

    /// Sets who reads the rows behind the last range.
    pub fn with_last_range(mut self, last: LastRange) -> Self {
        self.last_range = last;
        self
    }

    /// Moves the cursor to a row. Does not decode the rows before it.
    pub fn starting_at(mut self, row: u64) -> Self {
        let after = self.ranges.0.partition_point(|one| one.first_row <= row);
        if let Some(range) = after.checked_sub(1) {
            let first_row = self.ranges.0[range].first_row;
            self.range = range;
            self.read = (row - first_row) as usize;
        }
        self
    }

    /// Fills `into` with the next rows; that many must remain. Returns the index of the first null.
    /// The value of a null is NaN for numbers and arbitrary for integers.
    ///
    /// # Errors
    ///
    /// [`slices_core::Code::CorruptInput`] if a file is damaged or changed, or holds other rows
    /// than its footer declares.
    pub fn read(&mut self, into: &mut [T]) -> Result<Option<usize>> {
        let mut filled = 0;
        let mut first_null = None;
        while filled < into.len() {
            let range = &self.ranges.0[self.range];
            let (file, range) = (range.file.clone(), range.range);
            let wanted = (into.len() - filled).min(range.rows - self.read);
            let part = &mut into[filled..filled + wanted];
            let column = self.column;
            let at_column = |error: Error| error.at_column(&column.of(&file).name);
            if self.open.is_none() {
                self.open = Some(file.opened()?);
            }
            let step = self.step(&file, range, part).map_err(at_column)?;
            first_null = first_null.or(step.first_null.map(|row| filled + row));
            filled += step.rows;
            self.read += step.rows;
            if self.read == range.rows {
                self.check_rows(&file, range).map_err(at_column)?;
                self.leave_range(&file)?;
            }
        }
        Ok(first_null)
    }

    /// Reads some of the next rows of a range: the decoded ones, or those of a page.
    fn step(&mut self, file: &ParquetFile, range: RowRange, into: &mut [T]) -> Result<ColumnRead> {
        loop {
            let left = range.rows - self.read;
            if self.decoder.is_none() {
                self.decoder = Some(self.open(file, range)?);
            }
            let open = self
                .open
                .as_ref()
                .expect("a decoder reads from an open file");
            match self.decoder.as_mut().expect("it has just been opened") {
                Decoder::Pages {
                    column,
                    ahead,
                    used,
                } => {
                    if *used < ahead.len() {
                        let rows = into.len().min(ahead.len() - *used);
                        into[..rows].copy_from_slice(&ahead[*used..*used + rows]);
                        *used += rows;
                        return Ok(ColumnRead::of_rows(rows));
                    }
                    let ahead_rows = self.ahead_rows.min(left);
                    let reads_ahead = into.len() < ahead_rows && column.has_wide_dictionary();
                    let read = if reads_ahead {
                        ahead.resize(ahead_rows, T::NULL);
                        let read = open.guarded(|| column.read(ahead))?;
                        ahead.truncate(read.rows);
                        *used = 0;
                        read
                    } else {
                        open.guarded(|| column.read(into))?
                    };
                    if read.rows == 0 && !read.unsupported_encoding {
                        let decoded = range.skip + self.read;
                        return Err(file.fewer_rows(decoded, range.skip + range.rows));
                    }
                    if read.rows == 0 {
                        self.decoder = Some(self.arrays(file, range));
                    } else if !reads_ahead {
                        return Ok(read);
                    }
                }
                Decoder::Arrays {
                    batches,
                    decoded,
                    first_null,
                    fault,
                } => {
                    if decoded.is_empty() && fault.is_none() {
                        let Some(batch) = open.guarded(|| batches.next())? else {
                            let decoded = range.skip + self.read;
                            return Err(file.fewer_rows(decoded, range.skip + range.rows));
                        };
                        let array = batch.column(0);
                        let scale = self.column.of(file).scale;
                        (*decoded, *fault) = T::from_array(array, scale);
                        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
                        *first_null = nulls.and_then(|nulls| nulls.iter().position(|valid| !valid));
                    }
                    if decoded.is_empty()
                        && let Some(text) = fault
                    {
                        let row = file.row_of(range.row_group, range.skip + self.read);
                        return Err(file.not_a_number(self.column.of(file), row, text));
                    }
                    let rows = into.len().min(decoded.len());
                    into[..rows].copy_from_slice(&decoded[..rows]);
                    *decoded = decoded.slice(rows, decoded.len() - rows);
                    let null = first_null.filter(|null| *null < rows);
                    *first_null = first_null.and_then(|null| null.checked_sub(rows));
                    return Ok(ColumnRead {
                        first_null: null,
                        ..ColumnRead::of_rows(rows)
                    });
                }
            }
        }
    }

    /// Creates the decoder of the rest of a range.
    fn open(&self, file: &ParquetFile, range: RowRange) -> Result<Decoder<T>> {
        let leaf = self.column.of(file).leaf;
        if file.physical_type(leaf) != T::PHYSICAL_TYPE {
            return Ok(self.arrays(file, range));
        }
        let is_last = self.range + 1 == self.ranges.0.len();
        let is_beginning = is_last && self.last_range == LastRange::Beginning;
        let open = self.open.as_ref().expect("the file was just opened");
        let pages = file.pages_of(open, leaf, range);
        let column =
            open.guarded(|| {
                open.want(&file.bytes_of(open, leaf, range))?;
                let group = file.metadata.metadata().row_group(range.row_group);
                // Checked when the file was opened: a row count is not negative.
                let rows = group.num_rows() as usize;
                let first = is_beginning.then_some(range.skip + range.rows);
                let chunk = group.column(leaf);
                let mut column = FixedWidthColumn::new(open.clone(), chunk, rows, first, pages)?;
                let skip = range.skip + self.read;
                let skipped = column.skip(skip)?;
                Ok((skipped.rows == skip || !skipped.unsupported_encoding)
                    .then_some((column, skipped)))
            })?;
        match column {
            None => Ok(self.arrays(file, range)),
            Some((_, skipped)) if skipped.rows < range.skip + self.read => {
                Err(file.fewer_rows(skipped.rows, range.skip + range.rows))
            }
            Some((column, _)) => Ok(Decoder::Pages {
                column: Box::new(column),
                ahead: Vec::new(),
                used: 0,
            }),
        }
    }

    /// Creates the library's decoder of the rest of a range.
    fn arrays(&self, file: &ParquetFile, range: RowRange) -> Decoder<T> {
        let open = self
            .open
            .as_ref()
            .expect("a range is read from an open file");
        let left = RowRange {
            skip: range.skip + self.read,
            rows: range.rows - self.read,
            ..range
        };
        let leaves = [self.column.of(file).leaf];
        Decoder::Arrays {
            batches: Box::new(file.arrays(open, &leaves, &[left], ARRAY_ROWS)),
            decoded: ScalarBuffer::from(Vec::new()),
            first_null: None,
            fault: None,
        }
    }

    /// Checks that a row group has no more rows after its last one.
    fn check_rows(&mut self, file: &ParquetFile, range: RowRange) -> Result<()> {
        let open = self
            .open
            .as_ref()
            .expect("a range is read from an open file");
        let group = file.metadata.metadata().row_group(range.row_group);
        let is_whole = (range.skip + range.rows) as i64 == group.num_rows();
        let has_more = match &mut self.decoder {
            Some(Decoder::Pages { column, .. }) if is_whole => {
                open.guarded(|| column.read(&mut [T::NULL]))?.rows > 0
            }
            Some(Decoder::Arrays {
                batches, decoded, ..
            }) => !decoded.is_empty() || open.guarded(|| batches.next())?.is_some(),
            _ => false,
        };
        if has_more {
            return Err(file.more_rows());
        }
        Ok(())
    }

    /// Moves to the next range. After the last range of a file, checks that the file is unchanged.
    fn leave_range(&mut self, file: &Arc<ParquetFile>) -> Result<()> {
        if let (FileColumn::Value(_), Some(open)) = (self.column, &self.open)
            && open.is_stored()
        {
            let range = self.ranges.0[self.range].range;
            open.done(&file.bytes_of(open, self.column.of(file).leaf, range));
        }
        self.decoder = None;
        self.range += 1;
        self.read = 0;
        let next = self.ranges.0.get(self.range);
        if next.is_none_or(|next| !Arc::ptr_eq(&next.file, file)) {
            let open = self.open.take();
            open.map_or(Ok(()), |open| open.check())?;
        }
        Ok(())
    }
}
