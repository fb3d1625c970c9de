//! Owns the data plane: it moves values from the chunks of many series into the columns of a
//! batch, by the placements it is given. It knows no rule about time.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, RecordBatch,
    StringArray, TimestampNanosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int16Type, SchemaRef};

use crate::data::candle::{CandleChunk, VALUES_PER_CANDLE};
use crate::data::sync::{ABSENT, Placement};

/// Slices are moved this many at a time: what is read of every series and written to every column
/// meanwhile stays in the cache.
const TILE_SLICES: usize = 128;

/// Symbols that are moved together. Their values at one timestamp are neighbours in the column, so
/// a cache line of it is written at once.
const GROUP_SYMBOLS: usize = 8;

/// The rows of a tile of a series that is the timeline itself.
const IDENTITY_ROWS: [u32; TILE_SLICES] = {
    let mut rows = [0; TILE_SLICES];
    let mut row = 0;
    while row < TILE_SLICES {
        rows[row] = row as u32;
        row += 1;
    }
    rows
};

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
    /// Value columns of batches that are no longer needed, to be written over.
    spare: Vec<Vec<f64>>,
}

/// The columns of one price type.
struct Side {
    values: [Vec<f64>; VALUES_PER_CANDLE],
    /// Whether each cell holds a candle; not kept while all do.
    present: Option<Vec<bool>>,
}

/// The rows of one series that a block of the timeline is gathered from.
pub(crate) struct SeriesBlock<'a> {
    pub placement: &'a Placement,
    pub chunks: &'a VecDeque<CandleChunk>,
    /// Row 0 of the placement, counted from the start of the first chunk.
    pub first_row: usize,
}

/// The part of a series that one tile needs: its values in one piece, and for each slice of the
/// tile where its candle stands in them.
struct TileSource<'a> {
    values: [Cow<'a, [f64]>; VALUES_PER_CANDLE],
    rows: &'a [u32],
    /// The row in which `values` begins. An absent row less this is beyond the end of `values`.
    first: u32,
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
        Self {
            schema,
            symbols: symbols.len(),
            price_types,
            capacity,
            symbol_column: DictionaryArray::new(keys.into(), names),
            timestamps: Vec::with_capacity(capacity),
            sides: Vec::new(),
            spare: Vec::new(),
        }
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
        self.begin();
        let mut start = part.start;
        while start < part.end {
            let tile = start..part.end.min(start + TILE_SLICES);
            let first_cell = self.timestamps.len() * self.symbols;
            for (price_type, side) in self.sides.iter_mut().enumerate() {
                let mut sources = series[price_type..]
                    .iter()
                    .step_by(self.price_types)
                    .map(|one| TileSource::new(one, tile.clone()));
                for symbol in (0..self.symbols).step_by(GROUP_SYMBOLS) {
                    let group: Vec<_> = sources.by_ref().take(GROUP_SYMBOLS).collect();
                    side.gather(&group, first_cell + symbol, self.symbols);
                }
            }
            self.timestamps.extend_from_slice(&timeline[tile.clone()]);
            start = tile.end;
        }
    }

    /// Takes the collected slices as a batch and begins the next one.
    pub fn finish(&mut self) -> RecordBatch {
        let slices = self.timestamps.len();
        let rows = slices * self.symbols;
        self.begin();
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
        self.timestamps.clear();
        RecordBatch::try_new(self.schema.clone(), columns)
            .expect("the columns are built to the schema, all of the same length")
    }

    /// Takes back the memory of a batch that nobody else holds any more.
    pub fn recycle(&mut self, batch: RecordBatch) {
        let (_, columns, _) = batch.into_parts();
        for column in columns {
            if *column.data_type() == DataType::Float64 {
                let values = column.as_primitive::<Float64Type>().clone();
                drop(column);
                let (_, values, _) = values.into_parts();
                // A batch that is still referenced somewhere keeps its memory.
                if let Ok(values) = values.into_inner().into_vec() {
                    self.spare.push(values);
                }
            }
        }
    }

    /// Makes the columns of the next batch, unless it has begun already.
    fn begin(&mut self) {
        if self.sides.is_empty() {
            self.sides = (0..self.price_types).map(|_| self.new_side()).collect();
        }
    }

    /// Columns to be written over: every cell of a batch is, before the batch is taken.
    fn new_side(&mut self) -> Side {
        let cells = self.capacity * self.symbols;
        Side {
            values: std::array::from_fn(|_| {
                let mut values = self.spare.pop().unwrap_or_default();
                values.resize(cells, f64::NAN);
                values
            }),
            present: None,
        }
    }
}

impl Side {
    /// Moves one tile of neighbouring symbols; the first of them at the first slice goes to `cell`.
    fn gather(&mut self, group: &[TileSource<'_>], cell: usize, symbols: usize) {
        for (field, column) in self.values.iter_mut().enumerate() {
            let cells = &mut column[cell..];
            match <&[TileSource<'_>; GROUP_SYMBOLS]>::try_from(group) {
                Ok(group) => move_group(
                    cells,
                    symbols,
                    &group.each_ref().map(|one| one.field(field)),
                ),
                Err(_) => {
                    for (offset, one) in group.iter().enumerate() {
                        move_group(&mut cells[offset..], symbols, &[one.field(field)]);
                    }
                }
            }
        }
        for (offset, one) in group.iter().enumerate() {
            if one.rows.contains(&ABSENT) {
                let all = self.values[0].len();
                let present = self.present.get_or_insert_with(|| vec![true; all]);
                let cells = present[cell + offset..].iter_mut().step_by(symbols);
                for (present, &row) in cells.zip(one.rows) {
                    *present = row != ABSENT;
                }
            }
        }
    }

    /// The five value columns and the `valid` column, of the first `rows` cells.
    fn into_columns(self, rows: usize) -> (Vec<ArrayRef>, ArrayRef) {
        let [open, high, low, close, volume] = self.values.each_ref().map(|column| &column[..rows]);
        // A number times 0 is 0 only where it is finite; an absent cell is NaN, so it is not.
        let valid = BooleanBuffer::collect_bool(rows, |row| {
            (open[row] * 0.0 + high[row] * 0.0)
                + (low[row] * 0.0 + close[row] * 0.0)
                + volume[row] * 0.0
                == 0.0
        });
        let nulls = self
            .present
            .map(|present| NullBuffer::from(&present[..rows]));
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        let values = self.values.map(|mut column| {
            column.truncate(rows);
            let values = ScalarBuffer::from(column);
            Arc::new(Float64Array::new(values, nulls.clone())) as ArrayRef
        });
        (values.into(), Arc::new(BooleanArray::new(valid, None)))
    }
}

/// One field of a group's series: the values, the rows of the tile, the row of the first value.
type Lane<'a> = (&'a [f64], &'a [u32], u32);

/// For each slice of a tile in turn, the values of `GROUP` neighbouring symbols.
fn move_group<const GROUP: usize>(cells: &mut [f64], symbols: usize, lanes: &[Lane<'_>; GROUP]) {
    let slices = lanes[0].1.len();
    for (slice, line) in cells.chunks_mut(symbols).take(slices).enumerate() {
        for (cell, (values, rows, first)) in line[..GROUP].iter_mut().zip(lanes) {
            let place = rows[slice].wrapping_sub(*first) as usize;
            *cell = values.get(place).copied().unwrap_or(f64::NAN);
        }
    }
}

impl<'a> TileSource<'a> {
    fn new(series: &SeriesBlock<'a>, tile: Range<usize>) -> Self {
        let (rows, offset) = match series.placement {
            Placement::Identity => (&IDENTITY_ROWS[..tile.len()], tile.start),
            Placement::Rows(rows) => (&rows[tile], 0),
        };
        let present = |row: &&u32| **row != ABSENT;
        let first = rows.iter().find(present).copied().unwrap_or(0);
        let last = rows
            .iter()
            .rev()
            .find(present)
            .map_or(first, |last| last + 1);
        let base = series.first_row + offset;
        let values = in_one_piece(series.chunks, base + first as usize..base + last as usize);
        Self {
            values,
            rows,
            first,
        }
    }

    fn field(&self, field: usize) -> Lane<'_> {
        (&self.values[field], self.rows, self.first)
    }
}

/// The values of `rows`, counted from the start of the first chunk: borrowed where one chunk holds
/// them all, copied where they cross from one into the next.
fn in_one_piece(
    chunks: &VecDeque<CandleChunk>,
    rows: Range<usize>,
) -> [Cow<'_, [f64]>; VALUES_PER_CANDLE] {
    let mut pieces: [Cow<'_, [f64]>; VALUES_PER_CANDLE] = Default::default();
    let mut chunk_start = 0;
    for chunk in chunks {
        let start = rows.start.max(chunk_start) - chunk_start;
        let end = rows.end.saturating_sub(chunk_start).min(chunk.len());
        chunk_start += chunk.len();
        if start < end {
            for (piece, column) in pieces.iter_mut().zip(&chunk.values) {
                if piece.is_empty() {
                    *piece = Cow::Borrowed(&column[start..end]);
                } else {
                    piece.to_mut().extend_from_slice(&column[start..end]);
                }
            }
        }
        if chunk_start >= rows.end {
            break;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::candle::stream_schema;
    use crate::request::{PriceType, Request};

    /// The value of a field of a row of a series: every cell of a batch tells where it came from.
    fn value(series: usize, row: usize, field: usize) -> f64 {
        (series * 1_000_000 + row * 10 + field) as f64
    }

    /// `rows` rows of a series, cut into chunks of the given lengths again and again.
    fn chunks(series: usize, rows: usize, lengths: &[usize]) -> VecDeque<CandleChunk> {
        let mut chunks = VecDeque::new();
        let mut start = 0;
        for &length in lengths.iter().cycle() {
            let end = rows.min(start + length);
            chunks.push_back(CandleChunk {
                timestamps: (start as i64..end as i64).collect(),
                values: std::array::from_fn(|field| {
                    (start..end).map(|row| value(series, row, field)).collect()
                }),
            });
            start = end;
            if start == rows {
                return chunks;
            }
        }
        unreachable!("lengths are not empty and not zero")
    }

    /// A placement over `slices` slices: the timeline itself, or rows with gaps and absent ones.
    fn placement(slices: usize) -> impl Strategy<Value = Placement> {
        let steps = prop::collection::vec((1..4_u32, prop::bool::weighted(0.9)), slices);
        prop_oneof![
            Just(Placement::Identity),
            steps.prop_map(|steps| {
                let mut next = 0;
                let rows = steps.into_iter().map(|(step, is_there)| {
                    next += step;
                    if is_there { next } else { ABSENT }
                });
                Placement::Rows(rows.collect())
            }),
        ]
    }

    proptest! {
        /// Any number of symbols (whole groups and a rest), tiles, chunks, parts and batches.
        #[test]
        fn every_value_arrives_in_its_cell(
            (symbols, slices, first_row, capacity, lengths, placements) in
                (1..20_usize, 1..400_usize, 0..5_usize, 1..300_usize,
                 prop::collection::vec(1..200_usize, 1..4))
                    .prop_flat_map(|(symbols, slices, first_row, capacity, lengths)| (
                        Just(symbols), Just(slices), Just(first_row), Just(capacity), Just(lengths),
                        prop::collection::vec(placement(slices), symbols * 2),
                    ))
        ) {
            let names: Vec<String> = (0..symbols).map(|number| format!("S{number}")).collect();
            let request = Request::builder("root").symbols(names.clone()).build().expect("a request");
            let mut builder = BatchBuilder::new(stream_schema(&request, &names), &names, 2, capacity);
            let timeline: Vec<i64> = (0..slices as i64).collect();
            let loaded: Vec<_> = (0..symbols * 2)
                .map(|series| chunks(series, first_row + slices * 4 + 4, &lengths))
                .collect();
            let blocks: Vec<_> = placements
                .iter()
                .zip(&loaded)
                .map(|(placement, chunks)| SeriesBlock { placement, chunks, first_row })
                .collect();
            let mut slice = 0;
            while slice < slices {
                let part = slice..slices.min(slice + builder.room());
                builder.append(&timeline, part.clone(), &blocks);
                let batch = builder.finish();
                prop_assert_eq!(batch.num_rows(), part.len() * symbols);
                for (at, symbol, price_type) in part.clone().flat_map(|at| {
                    (0..symbols).flat_map(move |symbol| [0, 1].map(|side| (at, symbol, side)))
                }) {
                    let series = symbol * 2 + price_type;
                    let cell = (at - part.start) * symbols + symbol;
                    let side = [PriceType::Bid, PriceType::Ask][price_type];
                    let row = placements[series].row(at);
                    for (field, name) in crate::request::ColumnNames::VALUE_FIELDS.iter().enumerate() {
                        let column = batch[&*format!("{side}_{name}")].as_primitive::<Float64Type>();
                        prop_assert_eq!(column.is_valid(cell), row.is_some());
                        match row {
                            Some(row) => prop_assert_eq!(column.value(cell), value(series, first_row + row, field)),
                            None => prop_assert!(column.values()[cell].is_nan()),
                        }
                    }
                    let valid = batch[&*format!("valid_{side}")].as_boolean();
                    prop_assert_eq!(valid.value(cell), row.is_some());
                }
                slice = part.end;
                builder.recycle(batch);
            }
        }
    }
}
