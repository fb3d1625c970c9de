//! Reads the rows of one file in order: their timestamps, and their values if a rule needs them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use parquet::basic::Type as PhysicalType;

use super::arrays::ArrayBatches;
use super::clock::StoredTime;
use super::column_cursor::{ColumnCursor, FileColumn, FileRanges, LastRange};
use super::file::PositionedFile;
use super::numbers::numbers;
use super::parquet_file::{ParquetFile, RowRange};
use super::series_file::SeriesFile;
use super::time_column::{Ticks, TimeColumn};
use slices_core::candle::VALUES_PER_CANDLE;
use slices_core::error::Result;

/// The places of open, high, low, close and volume among the columns of numbers of a file; `None`
/// for values that are not read, and NaN then.
pub type CandlePlaces = [Option<usize>; VALUES_PER_CANDLE];

/// The columns that a pass over a file decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// The timestamps alone.
    Timestamps,
    /// Timestamps and the values of candles that are at these places among the columns of numbers.
    Candles(CandlePlaces),
}

/// Consecutive decoded rows, in file order.
#[derive(Debug)]
pub struct RawRows {
    /// The timestamps, nanoseconds UTC.
    pub timestamps: ScalarBuffer<i64>,
    /// The end of each candle minus its timeframe, if that differs from its timestamp.
    pub begins: Option<ScalarBuffer<i64>>,
    /// The five value columns; `None` for a pass over timestamps.
    pub values: Option<[ScalarBuffer<f64>; VALUES_PER_CANDLE]>,
}

impl RawRows {
    /// Some of the rows, without a copy.
    #[must_use]
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

/// Reads one file once, from the first row to the last.
pub struct RowReader {
    file: Arc<ParquetFile>,
    time: TimeColumn,
    batch_rows: usize,
    decoder: Decoder,
    /// (first position in the decoded rows, first row in the file) of each range.
    starts: Vec<(usize, u64)>,
    rows: usize,
    decoded_rows: usize,
}

/// Consecutive rows with their timestamps as they are stored.
struct Decoded {
    ticks: Ticks,
    values: Option<[ScalarBuffer<f64>; VALUES_PER_CANDLE]>,
}

enum Decoder {
    /// Timestamps of eight bytes.
    Timestamps(Box<ColumnCursor<i64>>),
    Arrays(Box<RowArrays>),
}

/// Timestamps of any type, with or without values.
struct RowArrays {
    file: PositionedFile,
    batches: ArrayBatches,
    timestamp_place: usize,
    /// Among the decoded columns.
    value_places: Option<CandlePlaces>,
    /// Among the columns of numbers of the file.
    value_columns: CandlePlaces,
}

impl SeriesFile {
    /// Decodes the rows of `ranges` in their order, at most `batch_rows` at a time.
    pub fn read(
        &self,
        projection: Projection,
        ranges: &[RowRange],
        batch_rows: usize,
    ) -> Result<RowReader> {
        self.read_beginning(projection, ranges, batch_rows, LastRange::Whole)
    }

    /// As [`Self::read`]; `last` says whether another reader reads the rest of the last row group,
    /// or fails.
    pub fn read_beginning(
        &self,
        projection: Projection,
        ranges: &[RowRange],
        batch_rows: usize,
        last: LastRange,
    ) -> Result<RowReader> {
        let file = self.file();
        let is_fixed_width = file.physical_type(file.timestamp.leaf) == PhysicalType::INT64;
        let decoder = if projection == Projection::Timestamps && is_fixed_width {
            let of_file = ranges.iter().map(|range| (file.clone(), *range));
            let cursor = ColumnCursor::new(FileRanges::new(of_file), FileColumn::Timestamp);
            Decoder::Timestamps(Box::new(cursor.with_last_range(last)))
        } else {
            Decoder::Arrays(Box::new(RowArrays::new(
                file, projection, ranges, batch_rows,
            )?))
        };
        let group_rows: Vec<_> = file.row_group_rows().collect();
        let mut starts = Vec::with_capacity(ranges.len());
        let mut rows = 0;
        for range in ranges {
            let group_start: usize = group_rows[..range.row_group].iter().sum();
            starts.push((rows, (group_start + range.skip) as u64));
            rows += range.rows;
        }
        Ok(RowReader {
            file: file.clone(),
            time: self.time.clone(),
            batch_rows,
            decoder,
            starts,
            rows,
            decoded_rows: 0,
        })
    }
}

impl RowArrays {
    fn new(
        file: &Arc<ParquetFile>,
        projection: Projection,
        ranges: &[RowRange],
        batch_rows: usize,
    ) -> Result<Self> {
        let value_leaves = match projection {
            Projection::Timestamps => None,
            Projection::Candles(places) => Some(places.map(|place| Some(file.values[place?].leaf))),
        };
        let mut leaves = vec![file.timestamp.leaf];
        leaves.extend(value_leaves.iter().flatten().flatten());
        leaves.sort_unstable();
        leaves.dedup();
        let place_of = |leaf: usize| {
            leaves
                .binary_search(&leaf)
                .expect("every column that is read was projected")
        };
        let opened = file.opened()?;
        Ok(Self {
            timestamp_place: place_of(file.timestamp.leaf),
            value_places: value_leaves.map(|leaves| leaves.map(|leaf| leaf.map(place_of))),
            value_columns: match projection {
                Projection::Timestamps => [None; VALUES_PER_CANDLE],
                Projection::Candles(places) => places,
            },
            batches: file.arrays(&opened, &leaves, ranges, batch_rows),
            file: opened,
        })
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.file.guarded(|| self.batches.next())
    }
}

impl RowReader {
    /// The next rows; `None` after the last ones.
    pub fn next_rows(&mut self) -> Result<Option<RawRows>> {
        let Some(Decoded { ticks, values }) = self.decode()? else {
            return Ok(None);
        };
        let rows = ticks.len();
        let place = RowPlaces {
            starts: &self.starts,
            decoded_rows: self.decoded_rows,
        };
        let timestamps = self
            .time
            .timestamps(ticks, |position| place.row(position))?;
        self.decoded_rows += rows;
        Ok(Some(RawRows {
            timestamps: timestamps.timestamps_ns.into(),
            begins: timestamps.begins_ns.map(Into::into),
            values,
        }))
    }

    /// The timestamps of the next rows as they are stored; `None` after the last ones.
    pub(super) fn next_times(&mut self) -> Result<Option<Vec<StoredTime>>> {
        let Some(Decoded { ticks, .. }) = self.decode()? else {
            return Ok(None);
        };
        let row = |position| self.places().row(position);
        let times = self.time.times(&ticks, row);
        self.decoded_rows += times.len();
        Ok(Some(times))
    }

    /// Decodes the next rows; `None` after the last ones.
    fn decode(&mut self) -> Result<Option<Decoded>> {
        match &mut self.decoder {
            Decoder::Timestamps(cursor) => {
                let rows = self.batch_rows.min(self.rows - self.decoded_rows);
                if rows == 0 {
                    return Ok(None);
                }
                let mut timestamps = vec![0; rows];
                if let Some(null) = cursor.read(&mut timestamps)? {
                    return Err(self.time.null_timestamp(self.places().row(null)));
                }
                Ok(Some(Decoded {
                    ticks: Ticks::Numbers(timestamps.into()),
                    values: None,
                }))
            }
            Decoder::Arrays(arrays) => {
                let Some(batch) = arrays.next()? else {
                    if self.decoded_rows < self.rows {
                        return Err(self.file.fewer_rows(self.decoded_rows, self.rows));
                    }
                    arrays.file.check()?;
                    return Ok(None);
                };
                let (timestamps, values) = (arrays.timestamp_place, arrays.value_places);
                let columns = arrays.value_columns;
                let row = |position| self.places().row(position);
                let ticks = self.time.ticks(batch.column(timestamps), row)?;
                let values = match values {
                    None => None,
                    Some(places) => Some(self.values(&batch, places, columns)?),
                };
                Ok(Some(Decoded { ticks, values }))
            }
        }
    }

    /// The values of candles in a batch.
    fn values(
        &self,
        batch: &RecordBatch,
        places: CandlePlaces,
        columns: CandlePlaces,
    ) -> Result<[ScalarBuffer<f64>; VALUES_PER_CANDLE]> {
        let mut fault = None;
        let values = std::array::from_fn(|field| {
            let (Some(place), Some(column)) = (places[field], columns[field]) else {
                return vec![f64::NAN; batch.num_rows()].into();
            };
            let column = &self.file.values[column];
            let found = numbers(batch.column(place), column.scale);
            if let Some(text) = found.fault {
                let position = found.values.len();
                let is_first = |&(first, ..): &(usize, _, _)| position < first;
                if fault.as_ref().is_none_or(is_first) {
                    fault = Some((position, column, text));
                }
            }
            found.values
        });
        match fault {
            None => Ok(values),
            Some((position, column, text)) => {
                let row = self.places().row(position);
                Err(self.file.not_a_number(column, row, &text))
            }
        }
    }

    fn places(&self) -> RowPlaces<'_> {
        RowPlaces {
            starts: &self.starts,
            decoded_rows: self.decoded_rows,
        }
    }
}

/// Maps positions in the next batch to rows of the file.
struct RowPlaces<'a> {
    starts: &'a [(usize, u64)],
    decoded_rows: usize,
}

impl RowPlaces<'_> {
    /// The row in the file, counted from 0, at a position in the next batch.
    fn row(&self, position: usize) -> u64 {
        let decoded = self.decoded_rows + position;
        let range = self.starts.partition_point(|&(start, _)| start <= decoded);
        let (start, row) = self.starts[range - 1];
        row + (decoded - start) as u64
    }
}
