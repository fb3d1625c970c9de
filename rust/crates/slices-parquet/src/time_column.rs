//! Converts the timestamps of a file from their stored form into those of candles.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::ScalarBuffer;

use super::clock::{CandleTimestamps, FileClock, Stored, StoredTime};
use super::columns::{bytes, stored_numbers};
use super::parquet_file::ParquetFile;
use super::text_time::{self, TextTime};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::format_timestamp;
use slices_core::units::NANOSECONDS_PER_DAY;

/// The column of timestamps of a file, and the clock that converts it. Each reader has its own
/// clone, since the clock keeps its last look-up.
#[derive(Debug, Clone)]
pub(super) struct TimeColumn {
    file: Arc<ParquetFile>,
    pub clock: FileClock,
    /// Whether timestamps are unsigned integers.
    pub unsigned: bool,
    /// Rows of 96-bit timestamps beyond the range of 64-bit nanoseconds, and beyond which end.
    /// Ascending.
    far_rows: Arc<[(Range<u64>, StoredTime)]>,
}

/// Timestamps as they are stored.
pub(super) enum Ticks {
    /// Numbers in the unit of the column.
    Numbers(ScalarBuffer<i64>),
    /// Times parsed from text.
    Times(Vec<StoredTime>),
}

impl Ticks {
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Times(times) => times.len(),
        }
    }
}

impl TimeColumn {
    pub fn new(file: Arc<ParquetFile>, clock: FileClock, unsigned: bool) -> Self {
        Self {
            file,
            clock,
            unsigned,
            far_rows: Arc::default(),
        }
    }

    pub fn set_far_rows(&mut self, far_rows: Vec<(Range<u64>, StoredTime)>) {
        self.far_rows = far_rows.into();
    }

    /// The timestamps of consecutive rows. `row` maps a position to the row number in the file.
    pub fn timestamps(
        &mut self,
        ticks: Ticks,
        row: impl Fn(usize) -> u64,
    ) -> Result<CandleTimestamps> {
        let only_timestamps = |timestamps_ns| CandleTimestamps {
            timestamps_ns,
            begins_ns: None,
        };
        match ticks {
            Ticks::Numbers(numbers) if self.clock.only_scales() && self.far_rows.is_empty() => {
                self.scaled(owned(numbers), row).map(only_timestamps)
            }
            Ticks::Numbers(numbers)
                if self.clock.only_shifts()
                    && self.far_rows.is_empty()
                    && self.all_fit(&numbers) =>
            {
                let mut timestamps = self.scaled(owned(numbers), &row)?;
                let file = self.file.clone();
                let too_far = |position| {
                    file.corrupt(
                        "the local time is an instant that does not fit 64-bit nanoseconds",
                    )
                    .at_row(row(position))
                    .at_column(&file.timestamp.name)
                };
                let shifted = self.clock.shift(&mut timestamps, &row, too_far);
                shifted.map_err(|error| self.at_timestamps(error))?;
                Ok(only_timestamps(timestamps))
            }
            ticks => {
                let times = self.times(&ticks, &row);
                let mut clock = self.clock.clone();
                let too_far = |position: usize| match &ticks {
                    Ticks::Numbers(numbers) => self.too_far(numbers[position], row(position)),
                    Ticks::Times(_) => self
                        .file
                        .corrupt("the timestamp does not fit 64-bit nanoseconds")
                        .at_row(row(position))
                        .at_column(&self.file.timestamp.name)
                        .with_hint(hint![
                            "correct the row, or leave it out with ",
                            Setting::Start,
                            " and ",
                            Setting::End,
                        ]),
                };
                let timestamps = clock.timestamp(times.into_iter(), &row, too_far);
                let timestamps = timestamps.map_err(|error| self.at_timestamps(error))?;
                // Its last look-up helps with the next rows.
                self.clock = clock;
                Ok(timestamps)
            }
        }
    }

    /// The times of consecutive rows as they are stored.
    pub fn times(&self, ticks: &Ticks, row: impl Fn(usize) -> u64) -> Vec<StoredTime> {
        let numbers = match ticks {
            Ticks::Times(times) => return times.clone(),
            Ticks::Numbers(numbers) => numbers.iter().enumerate(),
        };
        let time = |(position, &number): (usize, &i64)| {
            let far = if self.far_rows.is_empty() {
                None
            } else {
                self.far_row(row(position))
            };
            far.unwrap_or_else(|| self.stored_time(number))
        };
        numbers.map(time).collect()
    }

    /// The time of a stored value.
    pub fn stored_time(&self, value: i64) -> StoredTime {
        let (scale, is_wall) = match self.clock.stored() {
            Stored::Instants(scale) => (scale, false),
            Stored::Wall(scale) => (scale, true),
            Stored::Dates => (NANOSECONDS_PER_DAY, false),
            Stored::Integers { .. } | Stored::Text => (1, false),
        };
        if self.unsigned && value < 0 {
            return StoredTime::TooLarge;
        }
        match value.checked_mul(scale) {
            None if value < 0 => StoredTime::TooSmall,
            None => StoredTime::TooLarge,
            Some(midnight_ns) if self.clock.stored() == Stored::Dates => {
                StoredTime::Date(midnight_ns)
            }
            Some(wall_ns) if is_wall => StoredTime::Wall(wall_ns),
            Some(instant_ns) => StoredTime::Instant(instant_ns),
        }
    }

    /// The end of 64-bit nanoseconds that a row's 96-bit timestamp lies beyond.
    fn far_row(&self, row: u64) -> Option<StoredTime> {
        let next = self.far_rows.partition_point(|(rows, _)| rows.end <= row);
        let (rows, time) = self.far_rows.get(next)?;
        rows.contains(&row).then_some(*time)
    }

    pub fn out_of_range(&self, value: impl std::fmt::Display, unit: &str, row: u64) -> Error {
        self.file
            .corrupt(format!(
                "the timestamp {value} ({unit} since 1970) does not fit 64-bit nanoseconds"
            ))
            .at_row(row)
            .at_column(&self.file.timestamp.name)
            .with_hint(format!(
                "timestamps reach from {} to {}",
                format_timestamp(i64::MIN),
                format_timestamp(i64::MAX)
            ))
    }

    /// The timestamps of a decoded column as they are stored.
    pub fn ticks(&self, column: &ArrayRef, row: impl Fn(usize) -> u64) -> Result<Ticks> {
        if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
            let position = (0..nulls.len())
                .find(|&position| nulls.is_null(position))
                .expect("a bitmap with a null count above 0 holds a null");
            return Err(self.null_timestamp(row(position)));
        }
        match stored_numbers(column) {
            Some(numbers) => Ok(Ticks::Numbers(numbers)),
            None => self.texts(column, row).map(Ticks::Times),
        }
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
        self.file
            .corrupt(format!(
                "invalid timestamp {text:?}: expected {}",
                text_time::FORMS
            ))
            .at_row(row)
            .at_column(&self.file.timestamp.name)
            .with_hint("correct the row, or write the column as timestamps")
    }

    fn date_alone(&self, text: Option<&str>, row: u64) -> Error {
        let text = text.unwrap_or_default();
        let message =
            format!("the date {text} without a time cannot stamp a candle shorter than a day");
        Error::input(Code::SchemaMismatch, message)
            .at_file(self.file.path())
            .at_row(row)
            .at_column(&self.file.timestamp.name)
            .with_hint("write date and time in one column, or request a timeframe of days")
    }

    /// The timestamps of numbers that only need a factor.
    fn scaled(&self, mut numbers: Vec<i64>, row: impl Fn(usize) -> u64) -> Result<Vec<i64>> {
        let scale = match self.clock.stored() {
            Stored::Instants(scale) | Stored::Wall(scale) => scale,
            Stored::Dates => NANOSECONDS_PER_DAY,
            Stored::Integers { .. } | Stored::Text => 1,
        };
        if scale == 1 && !self.unsigned {
            return Ok(numbers);
        }
        // The limits are symmetric, since a scale above 1 never gives i64::MIN.
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
                StoredTime::TooSmall | StoredTime::TooLarge => self
                    .clock
                    .far_timestamp(time)
                    .ok_or_else(|| self.too_far(*value, row(position)))?,
                _ => *value * scale,
            };
        }
        Ok(numbers)
    }

    /// Whether all numbers fit into 64-bit nanoseconds.
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
        error
            .at_file(self.file.path())
            .at_column(&self.file.timestamp.name)
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

    pub fn null_timestamp(&self, row: u64) -> Error {
        self.file
            .corrupt("a timestamp is null")
            .at_row(row)
            .at_column(&self.file.timestamp.name)
            .with_hint("remove or repair the row")
    }
}

/// The numbers; copied only if they are shared.
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
            i128::from(days) * i128::from(NANOSECONDS_PER_DAY),
            StoredTime::Date,
        ),
    };
    match i64::try_from(ns) {
        Ok(ns) => make(ns),
        Err(_) if ns < 0 => StoredTime::TooSmall,
        Err(_) => StoredTime::TooLarge,
    }
}
