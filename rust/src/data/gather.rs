//! Owns the data plane: it moves values from the chunks of many series into the columns of a
//! batch, by the placements it is given. It knows no rule about time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{Int16Type, SchemaRef};

use crate::data::candle::{CandleChunk, VALUES_PER_CANDLE};
use crate::data::sync::{ABSENT, Placement};

/// Slices are moved this many at a time, so that the part of a column that is written to stays in
/// the cache while all series of it are visited.
const TILE_SLICES: usize = 128;

/// Collects slices until a batch is full. One value column is time-major: the values of all
/// symbols at one timestamp stand side by side.
pub(crate) struct BatchBuilder {
    schema: SchemaRef,
    symbols: usize,
    price_types: usize,
    /// Slices per full batch.
    capacity: usize,
    /// The `symbol` column of a full batch; shorter batches take a part of it.
    symbol_column: DictionaryArray<Int16Type>,
    /// Timestamps of the collected slices.
    timestamps: Vec<i64>,
    sides: Vec<Side>,
}

/// The columns of one price type.
struct Side {
    values: [Vec<f64>; VALUES_PER_CANDLE],
    /// Whether each cell holds a candle.
    present: Vec<bool>,
}

/// The rows of one series that a block of the timeline is gathered from.
pub(crate) struct SeriesBlock<'a> {
    pub placement: &'a Placement,
    pub chunks: &'a VecDeque<CandleChunk>,
    /// Row 0 of the placement, counted from the start of the first chunk.
    pub first_row: usize,
}

impl BatchBuilder {
    pub fn new(schema: SchemaRef, symbols: &[String], price_types: usize, capacity: usize) -> Self {
        let keys = (0..capacity * symbols.len())
            .map(|row| {
                i16::try_from(row % symbols.len())
                    .expect("requests are limited to i16::MAX symbols")
            })
            .collect::<Vec<_>>();
        let names = Arc::new(StringArray::from_iter_values(symbols));
        let mut builder = Self {
            schema,
            symbols: symbols.len(),
            price_types,
            capacity,
            symbol_column: DictionaryArray::new(keys.into(), names),
            timestamps: Vec::new(),
            sides: Vec::new(),
        };
        builder.reset();
        builder
    }

    /// How many slices still fit.
    pub fn room(&self) -> usize {
        self.capacity - self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Appends the slices `part` of a block: `timeline` and every series' placement span the whole
    /// block. Series stand in request order: for each symbol in turn, its price types.
    pub fn append(&mut self, timeline: &[i64], part: Range<usize>, series: &[SeriesBlock<'_>]) {
        debug_assert!(part.len() <= self.room());
        debug_assert_eq!(series.len(), self.symbols * self.price_types);
        let mut tile = part.start;
        while tile < part.end {
            let tile_end = part.end.min(tile + TILE_SLICES);
            let first_cell = self.timestamps.len() * self.symbols;
            for (number, one) in series.iter().enumerate() {
                let (symbol, price_type) = (number / self.price_types, number % self.price_types);
                let side = &mut self.sides[price_type];
                side.gather(one, tile..tile_end, first_cell + symbol, self.symbols);
            }
            self.timestamps.extend_from_slice(&timeline[tile..tile_end]);
            tile = tile_end;
        }
    }

    /// Takes the collected slices as a batch and begins the next one.
    pub fn finish(&mut self) -> RecordBatch {
        let slices = self.timestamps.len();
        let rows = slices * self.symbols;
        let mut timestamps = Vec::with_capacity(rows);
        for &timestamp_ns in &self.timestamps {
            timestamps.extend(std::iter::repeat_n(timestamp_ns, self.symbols));
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from(timestamps).with_timezone("UTC")),
            Arc::new(self.symbol_column.slice(0, rows)),
        ];
        let mut validity: Vec<ArrayRef> = Vec::with_capacity(self.sides.len());
        for side in std::mem::take(&mut self.sides) {
            let (values, valid) = side.into_columns(rows);
            columns.extend(values);
            validity.push(valid);
        }
        columns.extend(validity);
        self.reset();
        RecordBatch::try_new(self.schema.clone(), columns)
            .expect("the columns are built to the schema, all of the same length")
    }

    fn reset(&mut self) {
        let rows = self.capacity * self.symbols;
        self.timestamps.clear();
        self.timestamps.reserve(self.capacity);
        self.sides = (0..self.price_types).map(|_| Side::new(rows)).collect();
    }
}

impl Side {
    /// Without a candle a cell is NaN, so that a column reads as plain numbers too.
    fn new(rows: usize) -> Self {
        Self {
            values: std::array::from_fn(|_| vec![f64::NAN; rows]),
            present: vec![true; rows],
        }
    }

    /// Moves the candles of one series at the slices `part` of the block. The first of them goes
    /// to cell `cell`, each further one `stride` cells on.
    fn gather(&mut self, series: &SeriesBlock<'_>, part: Range<usize>, cell: usize, stride: usize) {
        match series.placement {
            Placement::Identity => {
                let rows = series.first_row + part.start..series.first_row + part.end;
                let mut cell = cell;
                for (chunk, rows) in within_chunks(series.chunks, rows) {
                    self.copy_run(chunk, rows.clone(), cell, stride);
                    cell += rows.len() * stride;
                }
            }
            Placement::Rows(rows) => {
                self.copy_rows(series, &rows[part], cell, stride);
            }
        }
    }

    fn copy_run(&mut self, chunk: &CandleChunk, rows: Range<usize>, cell: usize, stride: usize) {
        for (to, from) in self.values.iter_mut().zip(&chunk.values) {
            let cells = to[cell..].iter_mut().step_by(stride);
            for (cell, value) in cells.zip(&from[rows.clone()]) {
                *cell = *value;
            }
        }
    }

    fn copy_rows(&mut self, series: &SeriesBlock<'_>, rows: &[u32], cell: usize, stride: usize) {
        let mut at = 0;
        let mut chunk_start = 0;
        for chunk in series.chunks {
            let chunk_end = chunk_start + chunk.len();
            // Rows increase, so those of one chunk are neighbours (with absent ones between).
            let in_chunk = rows[at..]
                .iter()
                .position(|&row| row != ABSENT && series.first_row + row as usize >= chunk_end)
                .unwrap_or(rows.len() - at);
            let part = &rows[at..at + in_chunk];
            let first_cell = cell + at * stride;
            for (to, from) in self.values.iter_mut().zip(&chunk.values) {
                let cells = to[first_cell..].iter_mut().step_by(stride);
                for (cell, &row) in cells.zip(part) {
                    if row != ABSENT {
                        *cell = from[series.first_row + row as usize - chunk_start];
                    }
                }
            }
            let cells = self.present[first_cell..].iter_mut().step_by(stride);
            for (present, &row) in cells.zip(part) {
                *present = row != ABSENT;
            }
            at += in_chunk;
            chunk_start = chunk_end;
            if at == rows.len() {
                return;
            }
        }
        // No chunk is left (or none was there): what remains is absent.
        for present in self.present[cell + at * stride..]
            .iter_mut()
            .step_by(stride)
            .take(rows.len() - at)
        {
            *present = false;
        }
    }

    /// The five value columns and the `valid` column, of the first `rows` cells.
    fn into_columns(self, rows: usize) -> (Vec<ArrayRef>, ArrayRef) {
        let [open, high, low, close, volume] = &self.values;
        // A number times 0 is 0 only where it is finite; an absent cell is NaN, so it is not.
        let valid = BooleanBuffer::collect_bool(rows, |row| {
            (open[row] * 0.0 + high[row] * 0.0)
                + (low[row] * 0.0 + close[row] * 0.0)
                + volume[row] * 0.0
                == 0.0
        });
        let nulls = NullBuffer::from(&self.present[..rows]);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let values = self.values.map(|mut column| {
            column.truncate(rows);
            Arc::new(Float64Array::new(ScalarBuffer::from(column), nulls.clone())) as ArrayRef
        });
        (values.into(), Arc::new(BooleanArray::new(valid, None)))
    }
}

/// The chunks that hold `rows` (counted from the start of the first chunk), each with its part.
fn within_chunks(
    chunks: &VecDeque<CandleChunk>,
    rows: Range<usize>,
) -> impl Iterator<Item = (&CandleChunk, Range<usize>)> {
    let mut chunk_start = 0;
    chunks.iter().filter_map(move |chunk| {
        let start = rows.start.max(chunk_start) - chunk_start;
        let end = rows.end.saturating_sub(chunk_start).min(chunk.len());
        chunk_start += chunk.len();
        (start < end).then_some((chunk, start..end))
    })
}
