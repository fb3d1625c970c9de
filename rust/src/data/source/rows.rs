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
use super::columns::{float64, nanoseconds_per_unit};
use super::file::PositionedFile;
use super::spans::FlatSpans;
use super::{SourceFile, Span};
use crate::data::candle::VALUES_PER_CANDLE;
use crate::error::{Error, Result};

/// Which columns a pass over a file decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Timestamps,
    /// Only in files whose columns of numbers are the five values of a candle.
    Candles,
}

/// Consecutive decoded rows, as they stand in the file.
#[derive(Debug)]
pub(crate) struct RawRows {
    /// Nanoseconds UTC.
    pub timestamps: ScalarBuffer<i64>,
    /// The five value columns; `None` in a pass over timestamps.
    pub values: Option<[ScalarBuffer<f64>; VALUES_PER_CANDLE]>,
}

impl RawRows {
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            timestamps: self.timestamps.slice(offset, len),
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
    pass: Pass,
    batch_rows: usize,
    decoder: Decoder,
    /// (first position in the decoded rows, first row in the file) of each span.
    starts: Vec<(usize, u64)>,
    rows: usize,
    decoded_rows: usize,
}

enum Decoder {
    /// Timestamps of eight bytes, straight from their pages.
    Flat(Box<FlatSpans>),
    Arrays {
        reader: ArrayBatches,
        timestamp_place: usize,
        value_places: Option<[usize; VALUES_PER_CANDLE]>,
    },
}

impl SourceFile {
    /// Decodes the rows of `spans` (in their order), at most `batch_rows` at a time.
    pub fn read(&self, pass: Pass, spans: &[Span], batch_rows: usize) -> Result<SourceReader> {
        self.read_beginning(pass, spans, batch_rows, false)
    }

    /// The same; `goes_on` where another reader will read what is left of the last row group, or fail.
    pub fn read_beginning(
        &self,
        pass: Pass,
        spans: &[Span],
        batch_rows: usize,
        goes_on: bool,
    ) -> Result<SourceReader> {
        let file = self.opened()?;
        let leaf = self.timestamp.leaf;
        let decoder = if pass == Pass::Timestamps && self.physical_type(leaf) == PhysicalType::INT64
        {
            let flat = FlatSpans::new(file.clone(), leaf, spans);
            Decoder::Flat(Box::new(flat.going_on(goes_on)))
        } else {
            self.row_arrays(&file, pass, spans, batch_rows)
        };
        let group_rows: Vec<_> = self.row_group_rows().collect();
        let mut starts = Vec::with_capacity(spans.len());
        let mut rows = 0;
        for span in spans {
            let group_start: usize = group_rows[..span.row_group].iter().sum();
            starts.push((rows, (group_start + span.skip) as u64));
            rows += span.rows;
        }
        Ok(SourceReader {
            file,
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
        pass: Pass,
        spans: &[Span],
        batch_rows: usize,
    ) -> Decoder {
        let with_values = pass == Pass::Candles;
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
            reader: self.arrays(file, &leaves, spans, batch_rows),
        }
    }

    /// The timestamps of a decoded column in nanoseconds.
    fn timestamps(
        &self,
        column: &ArrayRef,
        row: impl Fn(usize) -> u64,
    ) -> Result<ScalarBuffer<i64>> {
        if let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) {
            let position = (0..nulls.len())
                .find(|&position| nulls.is_null(position))
                .expect("a bitmap with a null count above 0 holds a null");
            return Err(self.null_timestamp(row(position)));
        }
        let days: Vec<i64>;
        let raw: &[i64] = match column.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                let column = column.as_primitive::<TimestampNanosecondType>();
                return Ok(column.values().clone());
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                column.as_primitive::<TimestampMicrosecondType>().values()
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                column.as_primitive::<TimestampMillisecondType>().values()
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                column.as_primitive::<TimestampSecondType>().values()
            }
            _ => {
                let column = column.as_primitive::<Date32Type>().values();
                days = column.iter().copied().map(i64::from).collect();
                &days
            }
        };
        let mut nanoseconds = raw.to_vec();
        self.scale(&mut nanoseconds, column.data_type(), row)?;
        Ok(nanoseconds.into())
    }

    /// Turns timestamps of a unit into nanoseconds.
    fn scale(
        &self,
        timestamps: &mut [i64],
        data_type: &DataType,
        row: impl Fn(usize) -> u64,
    ) -> Result<()> {
        let scale = nanoseconds_per_unit(data_type).expect("checked when opened");
        if scale == 1 {
            return Ok(());
        }
        // Symmetric limits: i64::MIN itself is no multiple of any scale above 1.
        let limit = i64::MAX / scale;
        let is_outside = |value: &i64| !(-limit..=limit).contains(value);
        if let Some(bad) = timestamps.iter().position(is_outside) {
            return Err(self.out_of_range(timestamps[bad], unit_name(data_type), row(bad)));
        }
        timestamps.iter_mut().for_each(|value| *value *= scale);
        Ok(())
    }

    fn null_timestamp(&self, row: u64) -> Error {
        self.corrupt("a timestamp is null")
            .at_row(row)
            .at_column(&self.timestamp.name)
            .with_hint("remove or repair the row")
    }
}

fn unit_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Timestamp(TimeUnit::Microsecond, _) => "microseconds",
        DataType::Timestamp(TimeUnit::Millisecond, _) => "milliseconds",
        DataType::Timestamp(TimeUnit::Second, _) => "seconds",
        _ => "days",
    }
}

impl SourceReader {
    /// The next rows; `None` after the last ones.
    pub fn next_rows(&mut self, source: &SourceFile) -> Result<Option<RawRows>> {
        let rows = match &mut self.decoder {
            Decoder::Flat(spans) => {
                let mut timestamps = vec![0; self.batch_rows.min(self.rows - self.decoded_rows)];
                let read = spans.read(source, &mut timestamps)?;
                let rest = read.foreign.then(|| spans.rest());
                timestamps.truncate(read.rows);
                if let Some(null) = read.first_null {
                    return Err(source.null_timestamp(self.row_in_file(null)));
                }
                let row = |position| self.row_in_file(position);
                source.scale(&mut timestamps, source.timestamp_type(), row)?;
                if let Some(rest) = rest {
                    self.decoder = source.row_arrays(&self.file, self.pass, &rest, self.batch_rows);
                    if timestamps.is_empty() {
                        return self.next_rows(source);
                    }
                }
                (!timestamps.is_empty()).then(|| RawRows {
                    timestamps: timestamps.into(),
                    values: None,
                })
            }
            Decoder::Arrays {
                reader,
                timestamp_place,
                value_places,
            } => {
                let places = (*timestamp_place, *value_places);
                match self.file.guarded(|| reader.next())? {
                    Some(batch) => Some(self.rows_of(source, &batch, places)?),
                    None => None,
                }
            }
        };
        match &rows {
            Some(rows) => self.decoded_rows += rows.timestamps.len(),
            None => self.check_end(source)?,
        }
        Ok(rows)
    }

    fn rows_of(
        &self,
        source: &SourceFile,
        batch: &RecordBatch,
        (timestamps, values): (usize, Option<[usize; VALUES_PER_CANDLE]>),
    ) -> Result<RawRows> {
        let row = |position| self.row_in_file(position);
        Ok(RawRows {
            timestamps: source.timestamps(batch.column(timestamps), row)?,
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
        let span = self.starts.partition_point(|&(start, _)| start <= decoded);
        let (start, row) = self.starts[span - 1];
        row + (decoded - start) as u64
    }
}
