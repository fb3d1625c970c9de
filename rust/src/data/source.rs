//! Owns one Parquet file: its footer, its columns and their types, decoding them into nanoseconds
//! and float64, and the promise that it stays the same file while it is read.
//!
//! Decoder errors and panics become [`Code::CorruptInput`] with the file's name; nothing here
//! knows windows, sessions or order.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelector,
};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use crate::data::candle::VALUES_PER_CANDLE;
use crate::error::{Code, Error, Result};
use crate::request::{ColumnNames, format_timestamp};

const NANOSECONDS_PER_DAY: i64 = 86_400_000_000_000;

/// One Parquet file whose footer has been read and whose columns have been checked.
#[derive(Debug)]
pub(crate) struct SourceFile {
    path: PathBuf,
    identity: Identity,
    metadata: ArrowReaderMetadata,
    timestamp: Column,
    values: [Column; VALUES_PER_CANDLE],
}

/// A column of the file that the product reads.
#[derive(Debug)]
struct Column {
    name: String,
    leaf: usize,
}

/// What tells whether a path still names the very same, unchanged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// Consecutive rows of one row group: `skip` rows after its first one, `rows` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub row_group: usize,
    pub skip: usize,
    pub rows: usize,
}

/// Which columns a pass over a file decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Timestamps,
    Values,
    Candles,
}

/// Consecutive decoded rows, as they stand in the file.
#[derive(Debug)]
pub(crate) struct RawRows {
    pub len: usize,
    /// Nanoseconds UTC; `None` in a pass over values.
    pub timestamps: Option<ScalarBuffer<i64>>,
    /// The five value columns; `None` in a pass over timestamps.
    pub values: Option<[ScalarBuffer<f64>; VALUES_PER_CANDLE]>,
    pub rows: RowNumbers,
}

/// Where decoded rows stand in their file. Rows of one chunk are consecutive but for the gaps
/// between spans, so a few (position, row) pairs say it all.
#[derive(Debug, Clone)]
pub(crate) struct RowNumbers(Vec<(usize, u64)>);

impl RowNumbers {
    /// The row in the file, counted from 0, of the decoded row at `position`.
    pub fn row(&self, position: usize) -> u64 {
        let part = self.0.partition_point(|&(start, _)| start <= position);
        let (start, row) = self.0[part - 1];
        row + (position - start) as u64
    }
}

impl SourceFile {
    /// Opens a file, reads its footer and checks its six columns.
    ///
    /// # Errors
    ///
    /// [`Code::CorruptInput`] where it is no readable Parquet file, [`Code::SchemaMismatch`] where
    /// a column is missing or of a wrong type, a system failure where no descriptor is left.
    pub fn open(path: &Path, names: &ColumnNames) -> Result<Self> {
        let (file, identity) = open_file(path)?;
        let metadata = guarded(path, || {
            // The embedded Arrow schema adds nothing but one unit: without it every timestamp
            // keeps the unit it is stored in, and dictionaries come as plain values.
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            let metadata = ArrowReaderMetadata::load(&file, options)?;
            with_seconds(metadata, &names.timestamp)
        })?;
        let timestamp = find_column(
            path,
            &metadata,
            &names.timestamp,
            is_timestamp,
            "a timestamp or date32",
        )?;
        let mut values = Vec::with_capacity(VALUES_PER_CANDLE);
        for name in &names.values {
            values.push(find_column(
                path,
                &metadata,
                name,
                is_number,
                "an integer, float or decimal",
            )?);
        }
        let source = Self {
            path: path.to_owned(),
            identity,
            metadata,
            timestamp,
            values: values
                .try_into()
                .expect("one column was found for each of the five names"),
        };
        source.check_row_counts()?;
        if source.physical_timestamp_type() == PhysicalType::INT96 {
            source.check_int96_range()?;
        }
        Ok(source)
    }

    pub fn path(&self) -> &Path {
        &self.path
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

    /// Decodes the rows of `spans` (in their order), at most `batch_rows` at a time.
    pub fn read(&self, pass: Pass, spans: &[Span], batch_rows: usize) -> Result<SourceReader> {
        let (file, identity) = open_file(&self.path)?;
        self.check_unchanged(identity)?;
        let with_timestamps = pass != Pass::Values;
        let with_values = pass != Pass::Timestamps;
        let mut leaves = Vec::new();
        if with_timestamps {
            leaves.push(self.timestamp.leaf);
        }
        if with_values {
            leaves.extend(self.values.iter().map(|column| column.leaf));
        }
        leaves.sort_unstable();
        leaves.dedup();
        let place_of = |column: &Column| {
            leaves
                .binary_search(&column.leaf)
                .expect("every column that is read was projected")
        };
        let timestamp_place = with_timestamps.then(|| place_of(&self.timestamp));
        let value_places = with_values.then(|| self.values.each_ref().map(place_of));
        let reader = guarded(&self.path, || {
            self.batches(
                file.clone(),
                self.metadata.clone(),
                &leaves,
                spans,
                batch_rows,
            )
        })?;
        Ok(SourceReader {
            file,
            reader,
            timestamp_place,
            value_places,
            spans: self.numbered(spans),
            decoded_rows: 0,
        })
    }

    fn batches(
        &self,
        file: PositionedFile,
        metadata: ArrowReaderMetadata,
        leaves: &[usize],
        spans: &[Span],
        batch_rows: usize,
    ) -> Result<ParquetRecordBatchReader, ParquetError> {
        let mask = ProjectionMask::leaves(metadata.parquet_schema(), leaves.iter().copied());
        let group_rows: Vec<_> = self.row_group_rows().collect();
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_batch_size(batch_rows)
            .with_projection(mask)
            .with_row_groups(spans.iter().map(|span| span.row_group).collect());
        if spans
            .iter()
            .any(|span| span.rows < group_rows[span.row_group])
        {
            let selectors = spans.iter().flat_map(|span| {
                [
                    RowSelector::skip(span.skip),
                    RowSelector::select(span.rows),
                    RowSelector::skip(group_rows[span.row_group] - span.skip - span.rows),
                ]
            });
            builder = builder.with_row_selection(selectors.collect::<Vec<_>>().into());
        }
        builder.build()
    }

    /// The spans as (first position in the decoded rows, first row in the file), with the end.
    fn numbered(&self, spans: &[Span]) -> NumberedSpans {
        let group_rows: Vec<_> = self.row_group_rows().collect();
        let mut starts = Vec::with_capacity(spans.len());
        let mut rows = 0;
        for span in spans {
            let group_start: usize = group_rows[..span.row_group].iter().sum();
            starts.push((rows, (group_start + span.skip) as u64));
            rows += span.rows;
        }
        NumberedSpans { starts, rows }
    }

    fn timestamp_type(&self) -> &DataType {
        let schema: &Schema = self.metadata.schema();
        schema
            .field_with_name(&self.timestamp.name)
            .expect("the column was found when the file was opened")
            .data_type()
    }

    fn physical_timestamp_type(&self) -> PhysicalType {
        self.metadata
            .parquet_schema()
            .column(self.timestamp.leaf)
            .physical_type()
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
        let (file, identity) = open_file(&self.path)?;
        self.check_unchanged(identity)?;
        let spans = self.all_rows();
        let mut row = 0;
        let reader = guarded(&self.path, || {
            let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
            let metadata = with_column_type(&self.metadata, &self.timestamp.name, &milliseconds)?;
            self.batches(file, metadata, &[self.timestamp.leaf], &spans, 8_192)
        })?;
        let mut reader = reader;
        while let Some(batch) =
            guarded(&self.path, || reader.next().transpose().map_err(Into::into))?
        {
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

    fn check_unchanged(&self, now: Identity) -> Result<()> {
        if now == self.identity {
            return Ok(());
        }
        Err(self
            .corrupt("the file changed while it was being read")
            .with_hint("run again when nothing writes to it"))
    }

    /// The timestamps of a decoded column in nanoseconds.
    fn timestamps(&self, column: &ArrayRef, rows: &RowNumbers) -> Result<ScalarBuffer<i64>> {
        if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
            let position = (0..nulls.len())
                .find(|&position| nulls.is_null(position))
                .expect("a bitmap with a null count above 0 holds a null");
            return Err(self
                .corrupt("a timestamp is null")
                .at_row(rows.row(position))
                .at_column(&self.timestamp.name)
                .with_hint("remove or repair the row"));
        }
        let scaled = |raw: &[i64], unit: &str| {
            let scale = nanoseconds_per_unit(column.data_type()).expect("checked when opened");
            let nanoseconds: Vec<i64> = raw.iter().map(|value| value.wrapping_mul(scale)).collect();
            let limit = i64::MAX / scale;
            // Symmetric limits: i64::MIN itself is no multiple of any scale above 1.
            match raw
                .iter()
                .position(|value| !(-limit..=limit).contains(value))
            {
                None => Ok(nanoseconds.into()),
                Some(bad) => Err(self.out_of_range(raw[bad], unit, rows.row(bad))),
            }
        };
        match column.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Ok(column
                .as_primitive::<TimestampNanosecondType>()
                .values()
                .clone()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => scaled(
                column.as_primitive::<TimestampMicrosecondType>().values(),
                "microseconds",
            ),
            DataType::Timestamp(TimeUnit::Millisecond, _) => scaled(
                column.as_primitive::<TimestampMillisecondType>().values(),
                "milliseconds",
            ),
            DataType::Timestamp(TimeUnit::Second, _) => scaled(
                column.as_primitive::<TimestampSecondType>().values(),
                "seconds",
            ),
            _ => {
                let days = column.as_primitive::<Date32Type>().values();
                let days: Vec<i64> = days.iter().copied().map(i64::from).collect();
                scaled(&days, "days")
            }
        }
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

    fn corrupt(&self, message: impl Into<String>) -> Error {
        Error::input(Code::CorruptInput, message).at_file(&self.path)
    }
}

/// The decoder of one pass over one file. Needs its [`SourceFile`] at every step.
pub(crate) struct SourceReader {
    file: PositionedFile,
    reader: ParquetRecordBatchReader,
    timestamp_place: Option<usize>,
    value_places: Option<[usize; VALUES_PER_CANDLE]>,
    spans: NumberedSpans,
    decoded_rows: usize,
}

struct NumberedSpans {
    starts: Vec<(usize, u64)>,
    rows: usize,
}

impl SourceReader {
    /// The next rows; `None` after the last ones.
    pub fn next_rows(&mut self, source: &SourceFile) -> Result<Option<RawRows>> {
        let batch = guarded(&source.path, || {
            self.reader.next().transpose().map_err(ParquetError::from)
        })?;
        let Some(batch) = batch else {
            return self.check_end(source).map(|()| None);
        };
        let rows = self.row_numbers(batch.num_rows());
        self.decoded_rows += batch.num_rows();
        if self.decoded_rows > self.spans.rows {
            return Err(source.corrupt("the file holds more rows than its footer says"));
        }
        let timestamps = self
            .timestamp_place
            .map(|place| source.timestamps(batch.column(place), &rows))
            .transpose()?;
        let values = self.value_places.map(|places| values(&batch, places));
        Ok(Some(RawRows {
            len: batch.num_rows(),
            timestamps,
            values,
            rows,
        }))
    }

    fn check_end(&self, source: &SourceFile) -> Result<()> {
        if self.decoded_rows < self.spans.rows {
            return Err(source.corrupt(format!(
                "the file holds fewer rows than its footer says ({} of {})",
                self.decoded_rows, self.spans.rows
            )));
        }
        source.check_unchanged(
            self.file
                .identity()
                .map_err(|error| unreadable(&source.path, error))?,
        )
    }

    fn row_numbers(&self, rows: usize) -> RowNumbers {
        let (begin, end) = (self.decoded_rows, self.decoded_rows + rows);
        let starts = &self.spans.starts;
        let first = starts
            .partition_point(|&(start, _)| start <= begin)
            .saturating_sub(1);
        let last = starts
            .partition_point(|&(start, _)| start < end)
            .max(first + 1);
        let numbers = starts.get(first..last).unwrap_or_default();
        RowNumbers(
            numbers
                .iter()
                .map(|&(start, row)| {
                    let into_span = begin.saturating_sub(start);
                    (start.saturating_sub(begin), row + into_span as u64)
                })
                .collect(),
        )
    }
}

fn values(
    batch: &RecordBatch,
    places: [usize; VALUES_PER_CANDLE],
) -> [ScalarBuffer<f64>; VALUES_PER_CANDLE] {
    places.map(|place| float64(batch.column(place)))
}

/// A numeric column as float64, each value the nearest double; a null is NaN.
fn float64(column: &ArrayRef) -> ScalarBuffer<f64> {
    match column.data_type() {
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            if column.null_count() == 0 {
                return column.values().clone();
            }
            converted(column, |value| value)
        }
        DataType::Float32 => converted(column.as_primitive::<Float32Type>(), f64::from),
        DataType::Float16 => converted(column.as_primitive::<Float16Type>(), f64::from),
        DataType::Int8 => converted(column.as_primitive::<Int8Type>(), f64::from),
        DataType::Int16 => converted(column.as_primitive::<Int16Type>(), f64::from),
        DataType::Int32 => converted(column.as_primitive::<Int32Type>(), f64::from),
        DataType::UInt8 => converted(column.as_primitive::<UInt8Type>(), f64::from),
        DataType::UInt16 => converted(column.as_primitive::<UInt16Type>(), f64::from),
        DataType::UInt32 => converted(column.as_primitive::<UInt32Type>(), f64::from),
        // `as` rounds to the nearest double, ties to even.
        DataType::Int64 => converted(column.as_primitive::<Int64Type>(), |value| value as f64),
        DataType::UInt64 => converted(column.as_primitive::<UInt64Type>(), |value| value as f64),
        DataType::Decimal256(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            converted(column.as_primitive::<Decimal256Type>(), |value| {
                parsed_decimal(&Decimal256Type::format_decimal(value, precision, scale))
            })
        }
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            converted(column.as_primitive::<Decimal128Type>(), |value| {
                decimal128(value, precision, scale)
            })
        }
        other => unreachable!("{other} was refused when the file was opened"),
    }
}

fn converted<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    convert: impl Fn(T::Native) -> f64,
) -> ScalarBuffer<f64> {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => column
            .values()
            .iter()
            .map(|&value| convert(value))
            .collect(),
        Some(nulls) => column
            .values()
            .iter()
            .zip(nulls)
            .map(|(&value, valid)| if valid { convert(value) } else { f64::NAN })
            .collect(),
    }
}

/// The double nearest to `value / 10^scale`.
fn decimal128(value: i128, precision: u8, scale: i8) -> f64 {
    // Both sides of the division are exact doubles here, and IEEE division rounds correctly.
    const EXACT_POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
        1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    const EXACT_INTEGERS: i128 = 1 << f64::MANTISSA_DIGITS;
    let power = usize::try_from(scale)
        .ok()
        .and_then(|scale| EXACT_POWERS.get(scale));
    match power {
        Some(power) if (-EXACT_INTEGERS..=EXACT_INTEGERS).contains(&value) => value as f64 / power,
        _ => parsed_decimal(&Decimal128Type::format_decimal(value, precision, scale)),
    }
}

fn parsed_decimal(text: &str) -> f64 {
    text.parse().expect("a formatted decimal is a number")
}

fn nanoseconds_per_unit(data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(1),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(1_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some(1_000_000),
        DataType::Timestamp(TimeUnit::Second, _) => Some(1_000_000_000),
        DataType::Date32 => Some(NANOSECONDS_PER_DAY),
        _ => None,
    }
}

fn is_timestamp(data_type: &DataType) -> bool {
    nanoseconds_per_unit(data_type).is_some()
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(
            data_type,
            DataType::Decimal128(..) | DataType::Decimal256(..)
        )
}

/// Parquet has no unit for seconds. Some writers store such timestamps as plain integers and leave
/// their type to the embedded Arrow schema alone; only then, it is asked.
fn with_seconds(
    metadata: ArrowReaderMetadata,
    timestamp: &str,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let type_in =
        |schema: &Schema| Some(schema.field_with_name(timestamp).ok()?.data_type().clone());
    if type_in(metadata.schema()) != Some(DataType::Int64) {
        return Ok(metadata);
    }
    let embedded =
        ArrowReaderMetadata::try_new(metadata.metadata().clone(), ArrowReaderOptions::new())?;
    match type_in(embedded.schema()) {
        Some(seconds @ DataType::Timestamp(TimeUnit::Second, _)) => {
            with_column_type(&metadata, timestamp, &seconds)
        }
        _ => Ok(metadata),
    }
}

/// The same file, with one column decoded as another type.
fn with_column_type(
    metadata: &ArrowReaderMetadata,
    column: &str,
    data_type: &DataType,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema: &Schema = metadata.schema();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| {
            if field.name() == column {
                Arc::new(field.as_ref().clone().with_data_type(data_type.clone()))
            } else {
                field.clone()
            }
        })
        .collect();
    let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
    ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
}

fn find_column(
    path: &Path,
    metadata: &ArrowReaderMetadata,
    name: &str,
    is_right: fn(&DataType) -> bool,
    expected: &str,
) -> Result<Column> {
    let mismatch = |message: String| {
        Error::input(Code::SchemaMismatch, message)
            .at_file(path)
            .at_column(name)
    };
    let schema: &Schema = metadata.schema();
    let mut fields = schema.fields().iter().filter(|field| field.name() == name);
    let Some(field) = fields.next() else {
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        return Err(
            mismatch(format!("the column {name:?} is missing")).with_hint(format!(
                "the file has the columns {names:?}; rename with --columns (timestamp=…,open=…)"
            )),
        );
    };
    if fields.next().is_some() {
        return Err(mismatch(format!("the file has several columns {name:?}")));
    }
    if !is_right(field.data_type()) {
        return Err(mismatch(format!(
            "the column {name:?} holds {}, not {expected}",
            field.data_type()
        ))
        .with_hint("write the column with a matching type, or name another one with --columns"));
    }
    let columns = metadata.parquet_schema().columns();
    let leaf = columns
        .iter()
        .position(|column| matches!(column.path().parts(), [only] if only == name))
        .ok_or_else(|| mismatch(format!("the column {name:?} is nested, not {expected}")))?;
    Ok(Column {
        name: name.to_owned(),
        leaf,
    })
}

/// A file read at stated offsets, so that no cursor is shared between columns.
#[derive(Debug, Clone)]
struct PositionedFile(Arc<File>);

impl PositionedFile {
    fn identity(&self) -> io::Result<Identity> {
        let metadata = self.0.metadata()?;
        Ok(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Length for PositionedFile {
    fn len(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for PositionedFile {
    type T = BufReader<PositionedRead>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::new(PositionedRead {
            file: self.0.clone(),
            offset: start,
        }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.len()) {
            // Before any memory is set aside: a damaged length must not cost gigabytes.
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} lie beyond the end of the file"
            )));
        }
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

#[derive(Debug)]
struct PositionedRead {
    file: Arc<File>,
    offset: u64,
}

impl Read for PositionedRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

fn open_file(path: &Path) -> Result<(PositionedFile, Identity)> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let file = PositionedFile(Arc::new(file));
    let identity = file.identity().map_err(|error| unreadable(path, error))?;
    Ok((file, identity))
}

/// An error of the operating system while an input file was opened or asked about.
fn unreadable(path: &Path, error: io::Error) -> Error {
    // Unix numbers of "too many open files", for the process and for the system.
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    let error_of_system = matches!(error.raw_os_error(), Some(EMFILE | ENFILE));
    let described = if error_of_system {
        Error::system("too few file descriptors: every series holds one file open")
            .with_hint("raise the limit (ulimit -n) or request fewer symbols at a time")
    } else {
        Error::input(
            Code::CorruptInput,
            format!("the file cannot be read: {error}"),
        )
        .with_hint("check that it exists and may be read")
    };
    described.at_file(path).with_source(error)
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside the Parquet decoder, where a panic is caught and reported as
/// [`Code::CorruptInput`]. A panic hook that prints should stay silent then.
#[must_use]
pub(crate) fn panic_will_be_reported() -> bool {
    GUARDED.with(Cell::get)
}

/// Runs the decoder: its errors and panics are the file's fault.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    let corrupt = |message: String| {
        Error::input(Code::CorruptInput, message)
            .at_file(path)
            .with_hint("the file is damaged or no Parquet file; write or fetch it again")
    };
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(before);
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            Err(corrupt(format!("the Parquet file cannot be read: {error}")).with_source(error))
        }
        Err(panic) => {
            let why = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("unknown reason");
            Err(corrupt(format!(
                "the Parquet file cannot be decoded: {why}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_the_nearest_double() {
        // 0.1 + 0.2 written as decimals; scale 22 and 53 bits are the edge of the fast way.
        assert_eq!(decimal128(3, 10, 1), 0.3);
        assert_eq!(decimal128(-112_345, 10, 5), -1.123_45);
        assert_eq!(decimal128(1 << 53, 20, 0), 9_007_199_254_740_992.0);
        for (value, scale) in [
            ((1_i128 << 53) + 1, 3),
            (123_456_789_012_345_678_901_234_567_i128, 20),
            (7, 30),
            (-7, -3),
        ] {
            let text = Decimal128Type::format_decimal(value, 38, scale);
            assert_eq!(
                decimal128(value, 38, scale),
                text.parse::<f64>().expect("a number")
            );
        }
    }

    #[test]
    fn row_numbers_know_the_gaps_between_spans() {
        let rows = RowNumbers(vec![(0, 10), (3, 100)]);
        assert_eq!(
            (0..5).map(|at| rows.row(at)).collect::<Vec<_>>(),
            [10, 11, 12, 100, 101]
        );
    }
}
