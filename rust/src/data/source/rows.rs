//! Owns one pass over a file: the timestamps of its rows in nanoseconds, and their values where a
//! rule looks at them.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use parquet::basic::Type as PhysicalType;

use super::arrays::ArrayBatches;
use super::clock::{FileClock, Stored, StoredTime};
use super::columns::{bytes, float64, integers};
use super::file::PositionedFile;
use super::row_ranges::FixedWidthRanges;
use super::text_time::{self, TextTime};
use super::{RowRange, SourceFile};
use crate::data::candle::VALUES_PER_CANDLE;
use crate::error::{Code, Error, Result};
use crate::hint::{Setting, hint};

/// Which columns a pass over a file decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Projection {
    Timestamps,
    /// Only in files whose columns of numbers are the five values of a candle.
    Candles,
}

/// Consecutive decoded rows, as they stand in the file.
#[derive(Debug)]
pub(crate) struct RawRows {
    /// The stamps, nanoseconds UTC.
    pub timestamps: ScalarBuffer<i64>,
    /// The end of each candle less its timeframe, where that is not its stamp.
    pub begins: Option<ScalarBuffer<i64>>,
    /// The five value columns; `None` in a pass over timestamps.
    pub values: Option<[ScalarBuffer<f64>; VALUES_PER_CANDLE]>,
}

impl RawRows {
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            timestamps: self.timestamps.slice(offset, len),
            begins: self.begins.as_ref().map(|begins| begins.slice(offset, len)),
            values: self
                .values
                .as_ref()
                .map(|values| values.each_ref().map(|column| column.slice(offset, len))),
        }
    }
}

/// The decoder of one pass over one file. Needs its [`SourceFile`] at every step.
pub(crate) struct SourceReader {
    file: PositionedFile,
    clock: FileClock,
    pass: Projection,
    batch_rows: usize,
    decoder: Decoder,
    /// (first position in the decoded rows, first row in the file) of each range.
    starts: Vec<(usize, u64)>,
    rows: usize,
    decoded_rows: usize,
}

/// Timestamps as they are stored.
enum Ticks {
    /// Numbers of the column's unit.
    Numbers(ScalarBuffer<i64>),
    /// What texts say.
    Times(Vec<StoredTime>),
}

impl Ticks {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Times(times) => times.len(),
        }
    }
}

/// Consecutive rows, as they stand in the file.
struct Decoded {
    ticks: Ticks,
    values: Option<[ScalarBuffer<f64>; VALUES_PER_CANDLE]>,
}

enum Decoder {
    /// Timestamps of eight bytes, straight from their pages.
    Flat(Box<FixedWidthRanges>),
    Arrays {
        reader: Box<ArrayBatches>,
        timestamp_place: usize,
        value_places: Option<[usize; VALUES_PER_CANDLE]>,
    },
}

impl SourceFile {
    /// Decodes the rows of `ranges` (in their order), at most `batch_rows` at a time.
    pub fn read(
        &self,
        pass: Projection,
        ranges: &[RowRange],
        batch_rows: usize,
    ) -> Result<SourceReader> {
        self.read_beginning(pass, ranges, batch_rows, false)
    }

    /// The same; `goes_on` where another reader will read what is left of the last row group, or fail.
    pub fn read_beginning(
        &self,
        pass: Projection,
        ranges: &[RowRange],
        batch_rows: usize,
        goes_on: bool,
    ) -> Result<SourceReader> {
        let file = self.opened()?;
        let leaf = self.timestamp.leaf;
        let decoder =
            if pass == Projection::Timestamps && self.physical_type(leaf) == PhysicalType::INT64 {
                let flat = FixedWidthRanges::new(file.clone(), leaf, ranges);
                Decoder::Flat(Box::new(flat.going_on(goes_on)))
            } else {
                self.row_arrays(&file, pass, ranges, batch_rows)
            };
        let group_rows: Vec<_> = self.row_group_rows().collect();
        let mut starts = Vec::with_capacity(ranges.len());
        let mut rows = 0;
        for range in ranges {
            let group_start: usize = group_rows[..range.row_group].iter().sum();
            starts.push((rows, (group_start + range.skip) as u64));
            rows += range.rows;
        }
        Ok(SourceReader {
            file,
            clock: self.clock.clone(),
            pass,
            batch_rows,
            decoder,
            starts,
            rows,
            decoded_rows: 0,
        })
    }

    fn row_arrays(
        &self,
        file: &PositionedFile,
        pass: Projection,
        ranges: &[RowRange],
        batch_rows: usize,
    ) -> Decoder {
        let with_values = pass == Projection::Candles;
        let mut leaves = vec![self.timestamp.leaf];
        if with_values {
            leaves.extend(self.values.iter().map(|column| column.leaf));
        }
        leaves.sort_unstable();
        leaves.dedup();
        let place_of = |leaf: usize| {
            leaves
                .binary_search(&leaf)
                .expect("every column that is read was projected")
        };
        Decoder::Arrays {
            timestamp_place: place_of(self.timestamp.leaf),
            value_places: with_values
                .then(|| std::array::from_fn(|field| place_of(self.values[field].leaf))),
            reader: Box::new(self.arrays(file, &leaves, ranges, batch_rows)),
        }
    }

    /// The timestamps of a decoded column as they are stored.
    fn ticks(&self, column: &ArrayRef, row: impl Fn(usize) -> u64) -> Result<Ticks> {
        if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
            let position = (0..nulls.len())
                .find(|&position| nulls.is_null(position))
                .expect("a bitmap with a null count above 0 holds a null");
            return Err(self.null_timestamp(row(position)));
        }
        let numbers: ScalarBuffer<i64> = match column.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => column
                .as_primitive::<TimestampNanosecondType>()
                .values()
                .clone(),
            DataType::Timestamp(TimeUnit::Microsecond, _) => column
                .as_primitive::<TimestampMicrosecondType>()
                .values()
                .clone(),
            DataType::Timestamp(TimeUnit::Millisecond, _) => column
                .as_primitive::<TimestampMillisecondType>()
                .values()
                .clone(),
            DataType::Timestamp(TimeUnit::Second, _) => column
                .as_primitive::<TimestampSecondType>()
                .values()
                .clone(),
            DataType::Date32 => {
                let days = column.as_primitive::<Date32Type>().values();
                days.iter().copied().map(i64::from).collect()
            }
            integer if integer.is_integer() => integers(column).into(),
            _ => return self.texts(column, row).map(Ticks::Times),
        };
        Ok(Ticks::Numbers(numbers))
    }

    fn texts(&self, column: &ArrayRef, row: impl Fn(usize) -> u64) -> Result<Vec<StoredTime>> {
        let texts = bytes(column).into_iter().enumerate();
        let times = texts.map(|(position, bytes)| {
            let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
            let time = text.and_then(text_time::parse);
            let time = time.ok_or_else(|| self.no_time(bytes, row(position)))?;
            if matches!(time, TextTime::Date(_)) && !self.clock.rules().takes_dates() {
                return Err(self.date_alone(text, row(position)));
            }
            Ok(stored_time_of(time))
        });
        times.collect()
    }

    fn no_time(&self, bytes: Option<&[u8]>, row: u64) -> Error {
        let text = String::from_utf8_lossy(bytes.unwrap_or_default());
        self.corrupt(format!(
            "invalid timestamp {text:?}: expected {}",
            text_time::FORMS
        ))
        .at_row(row)
        .at_column(&self.timestamp.name)
        .with_hint("correct the row, or write the column as timestamps")
    }

    fn date_alone(&self, text: Option<&str>, row: u64) -> Error {
        let text = text.unwrap_or_default();
        let message =
            format!("the date {text} without a time cannot stamp a candle shorter than a day");
        Error::input(Code::SchemaMismatch, message)
            .at_file(self.path())
            .at_row(row)
            .at_column(&self.timestamp.name)
            .with_hint("write date and time in one column, or request a timeframe of days")
    }

    /// The stamps of numbers that only have to be multiplied.
    fn scaled(
        &self,
        clock: &FileClock,
        mut numbers: Vec<i64>,
        row: impl Fn(usize) -> u64,
    ) -> Result<Vec<i64>> {
        let scale = match clock.stored() {
            Stored::Instants(scale) | Stored::Wall(scale) => scale,
            Stored::Dates => super::NANOSECONDS_PER_DAY,
            Stored::Integers { .. } | Stored::Text => 1,
        };
        if scale == 1 && !self.unsigned {
            return Ok(numbers);
        }
        // Symmetric limits: i64::MIN itself is no multiple of any scale above 1.
        let limit = i64::MAX / scale;
        let is_outside =
            |value: &i64| !(-limit..=limit).contains(value) || self.unsigned && *value < 0;
        if numbers.iter().filter(|value| is_outside(value)).count() == 0 {
            numbers.iter_mut().for_each(|value| *value *= scale);
            return Ok(numbers);
        }
        for (position, value) in numbers.iter_mut().enumerate() {
            let time = self.stored_time(*value);
            *value = match time {
                StoredTime::TooSmall | StoredTime::TooLarge => clock
                    .far_stamp(time)
                    .ok_or_else(|| self.too_far(*value, row(position)))?,
                _ => *value * scale,
            };
        }
        Ok(numbers)
    }

    /// Whether all numbers fit into nanoseconds.
    fn all_fit(&self, numbers: &[i64]) -> bool {
        let (Stored::Instants(scale) | Stored::Wall(scale)) = self.clock.stored() else {
            return false;
        };
        let limit = i64::MAX / scale;
        let is_outside =
            |value: &&i64| !(-limit..=limit).contains(*value) || self.unsigned && **value < 0;
        numbers.iter().filter(is_outside).count() == 0
    }

    fn at_timestamps(&self, error: Error) -> Error {
        error.at_file(self.path()).at_column(&self.timestamp.name)
    }

    /// The error for a value that does not fit.
    fn too_far(&self, value: i64, row: u64) -> Error {
        let unit = match self.clock.stored() {
            Stored::Instants(1_000) | Stored::Wall(1_000) => "microseconds",
            Stored::Instants(1_000_000) | Stored::Wall(1_000_000) => "milliseconds",
            Stored::Instants(1_000_000_000) | Stored::Wall(1_000_000_000) => "seconds",
            Stored::Dates => "days",
            _ => "nanoseconds",
        };
        if self.unsigned {
            return self.out_of_range(value.cast_unsigned(), unit, row);
        }
        self.out_of_range(value, unit, row)
    }

    fn null_timestamp(&self, row: u64) -> Error {
        self.corrupt("a timestamp is null")
            .at_row(row)
            .at_column(&self.timestamp.name)
            .with_hint("remove or repair the row")
    }
}

/// The numbers, without a copy where nobody else has them.
fn owned(numbers: ScalarBuffer<i64>) -> Vec<i64> {
    match numbers.into_inner().into_vec() {
        Ok(numbers) => numbers,
        Err(shared) => shared.typed_data().to_vec(),
    }
}

fn stored_time_of(time: TextTime) -> StoredTime {
    let (ns, make): (i128, fn(i64) -> StoredTime) = match time {
        TextTime::Instant(ns) => (ns, StoredTime::Instant),
        TextTime::Wall(ns) => (ns, StoredTime::Wall),
        TextTime::Date(days) => (
            i128::from(days) * i128::from(super::NANOSECONDS_PER_DAY),
            StoredTime::Date,
        ),
    };
    match i64::try_from(ns) {
        Ok(ns) => make(ns),
        Err(_) if ns < 0 => StoredTime::TooSmall,
        Err(_) => StoredTime::TooLarge,
    }
}

impl SourceReader {
    /// The next rows; `None` after the last ones.
    pub fn next_rows(&mut self, source: &SourceFile) -> Result<Option<RawRows>> {
        let Some(decoded) = self.decode(source)? else {
            self.check_end(source)?;
            return Ok(None);
        };
        let rows = decoded.ticks.len();
        let (timestamps, begins) = match decoded.ticks {
            Ticks::Numbers(numbers) if self.clock.only_scales() && source.far_rows.is_empty() => {
                let row = |position| self.row_in_file(position);
                (source.scaled(&self.clock, owned(numbers), row)?, None)
            }
            Ticks::Numbers(numbers)
                if self.clock.only_shifts()
                    && source.far_rows.is_empty()
                    && source.all_fit(&numbers) =>
            {
                let row = |position| self.row_in_file(position);
                let mut stamps = source.scaled(&self.clock, owned(numbers), row)?;
                let mut clock = self.clock.clone();
                let shifted = clock.shift(&mut stamps, row);
                shifted.map_err(|error| source.at_timestamps(error))?;
                self.clock = clock;
                (stamps, None)
            }
            ticks => {
                let times = self.times_of(source, &ticks);
                let mut clock = self.clock.clone();
                let row = |position| self.row_in_file(position);
                let too_far = |position: usize| match &ticks {
                    Ticks::Numbers(numbers) => source.too_far(numbers[position], row(position)),
                    Ticks::Times(_) => source
                        .corrupt("the timestamp does not fit 64-bit nanoseconds")
                        .at_row(row(position))
                        .at_column(&source.timestamp.name)
                        .with_hint(hint![
                            "correct the row, or leave it out with ",
                            Setting::Start,
                            " and ",
                            Setting::End
                        ]),
                };
                let stamped = clock.stamp(times.into_iter(), row, too_far);
                let stamped = stamped.map_err(|error| source.at_timestamps(error))?;
                // What it looked up serves for the next rows too.
                self.clock = clock;
                (stamped.stamps_ns, stamped.begins_ns)
            }
        };
        self.decoded_rows += rows;
        Ok(Some(RawRows {
            timestamps: timestamps.into(),
            begins: begins.map(Into::into),
            values: decoded.values,
        }))
    }

    /// What the timestamps of the next rows say, before anything is made of it.
    pub(super) fn next_times(&mut self, source: &SourceFile) -> Result<Option<Vec<StoredTime>>> {
        let Some(decoded) = self.decode(source)? else {
            self.check_end(source)?;
            return Ok(None);
        };
        let times = self.times_of(source, &decoded.ticks);
        self.decoded_rows += times.len();
        Ok(Some(times))
    }

    fn times_of(&self, source: &SourceFile, ticks: &Ticks) -> Vec<StoredTime> {
        let numbers = match ticks {
            Ticks::Times(times) => return times.clone(),
            Ticks::Numbers(numbers) => numbers.iter().enumerate(),
        };
        let time = |(position, &number): (usize, &i64)| {
            let far = if source.far_rows.is_empty() {
                None
            } else {
                source.far_row(self.row_in_file(position))
            };
            far.unwrap_or_else(|| source.stored_time(number))
        };
        numbers.map(time).collect()
    }

    /// The next rows as they stand in the file; `None` after the last ones.
    fn decode(&mut self, source: &SourceFile) -> Result<Option<Decoded>> {
        match &mut self.decoder {
            Decoder::Flat(ranges) => {
                let mut timestamps = vec![0; self.batch_rows.min(self.rows - self.decoded_rows)];
                let read = ranges.read(source, &mut timestamps)?;
                let rest = read.unsupported_encoding.then(|| ranges.rest());
                timestamps.truncate(read.rows);
                if let Some(null) = read.first_null {
                    return Err(source.null_timestamp(self.row_in_file(null)));
                }
                if let Some(rest) = rest {
                    self.decoder = source.row_arrays(&self.file, self.pass, &rest, self.batch_rows);
                    if timestamps.is_empty() {
                        return self.decode(source);
                    }
                }
                Ok((!timestamps.is_empty()).then(|| Decoded {
                    ticks: Ticks::Numbers(timestamps.into()),
                    values: None,
                }))
            }
            Decoder::Arrays {
                reader,
                timestamp_place,
                value_places,
            } => {
                let (timestamps, values) = (*timestamp_place, *value_places);
                let Some(batch) = self.file.guarded(|| reader.next())? else {
                    return Ok(None);
                };
                self.decoded(source, &batch, timestamps, values).map(Some)
            }
        }
    }

    fn decoded(
        &self,
        source: &SourceFile,
        batch: &RecordBatch,
        timestamps: usize,
        values: Option<[usize; VALUES_PER_CANDLE]>,
    ) -> Result<Decoded> {
        let row = |position| self.row_in_file(position);
        Ok(Decoded {
            ticks: source.ticks(batch.column(timestamps), row)?,
            values: values.map(|places| places.map(|place| float64(batch.column(place)))),
        })
    }

    fn check_end(&self, source: &SourceFile) -> Result<()> {
        if self.decoded_rows < self.rows {
            return Err(source.fewer_rows(self.decoded_rows, self.rows));
        }
        self.file.check()
    }

    /// The row in the file, counted from 0, of the row at `position` of those that are decoded next.
    fn row_in_file(&self, position: usize) -> u64 {
        let decoded = self.decoded_rows + position;
        let range = self.starts.partition_point(|&(start, _)| start <= decoded);
        let (start, row) = self.starts[range - 1];
        row + (decoded - start) as u64
    }
}
