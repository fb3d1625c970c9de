//! Owns the data plane: it moves the values of many series into the columns of a batch, by the
//! plan it is given. It knows no rule about time.
//!
//! One gatherer fills one column, such as `bid_close`, for all symbols: it reads a few thousand
//! rows of a few series, which then lie in the cache, and writes them side by side. Columns know
//! nothing of each other, so each can be filled on another thread.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::data::series::ValueCursor;
use crate::data::sync::Stretch;
use crate::error::Result;

/// Slices that are moved at a time. What is read of a group of series meanwhile stays in the cache,
/// and so does what the decoder needs of one series (its dictionary) for so many rows.
pub(crate) const TILE_SLICES: usize = 3_072;

/// Symbols that are moved together. Their values at one timestamp are neighbours in the column, so
/// a cache line of it is written at once.
const GROUP_SYMBOLS: usize = 8;

/// Rows of one tile that lie within so many are read at once, those between them included.
const NEAR_ROWS: u64 = 4 * TILE_SLICES as u64;

/// A stretch of the timeline, and which row of each series belongs to each of its timestamps.
pub(crate) struct Block {
    pub timeline: Vec<i64>,
    /// For each symbol in turn, its price types.
    pub series: Vec<SeriesRows>,
}

/// The rows of one series in a block.
pub(crate) struct SeriesRows {
    /// Ascending in the slices; a slice in none of them has no candle.
    pub placed: Vec<Stretch>,
    /// Ranges of rows that may be asked for in any order; all others come in theirs.
    pub shuffled: Arc<[Range<u64>]>,
}

impl SeriesRows {
    /// What is placed in some slices of the block.
    pub fn placed_in(&self, slices: &Range<usize>) -> impl Iterator<Item = Stretch> + '_ {
        let slices = slices.clone();
        let touched = self.touched_by(&slices);
        touched.iter().map(move |stretch| stretch.within(&slices))
    }

    /// The rows placed in some slices, from the first to the end of the last, where they ascend.
    fn extent(&self, slices: &Range<usize>) -> Option<Range<u64>> {
        let touched = self.touched_by(slices);
        let first = touched.first()?.within(slices);
        let last = touched.last()?.within(slices);
        Some(first.row..last.row + last.len as u64)
    }

    /// The stretches that have something in common with some slices.
    fn touched_by(&self, slices: &Range<usize>) -> &[Stretch] {
        let first = self
            .placed
            .partition_point(|stretch| stretch.slices().end <= slices.start);
        let after = &self.placed[first..];
        &after[..after.partition_point(|stretch| stretch.slice < slices.end)]
    }
}

/// Some batches, full ones but for the last: their slices are parts of blocks, one after the other.
pub(crate) struct Plan {
    /// Slices of a full batch.
    pub batch_slices: usize,
    pub slices: usize,
    pub parts: Vec<(Arc<Block>, Range<usize>)>,
}

impl Plan {
    /// The slices of each batch, counted from the first slice of the plan.
    pub fn batches(&self) -> impl Iterator<Item = Range<usize>> {
        pieces(0..self.slices, self.batch_slices)
    }

    /// What some slices of the plan consist of: a block, slices of the block.
    pub fn parts_of(&self, slices: Range<usize>) -> impl Iterator<Item = (&Block, Range<usize>)> {
        let mut before = 0;
        self.parts.iter().filter_map(move |(block, part)| {
            let start = slices.start.max(before);
            let end = slices.end.min(before + part.len());
            let first = part.start + start.saturating_sub(before);
            before += part.len();
            (start < end).then(|| (block.as_ref(), first..first + end - start))
        })
    }
}

/// A range in pieces of a length, the last of which may be shorter.
fn pieces(whole: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = whole.end;
    whole
        .step_by(len)
        .map(move |start| start..end.min(start + len))
}

/// What a gatherer is to do next.
#[derive(Clone)]
pub(crate) enum Step {
    Gather(Arc<Plan>),
    /// Read what is left of all series, so that nothing damaged goes unnoticed.
    Finish,
}

/// One column of a batch, time-major: the values of all symbols at one timestamp stand side by side.
#[derive(Default)]
pub(crate) struct GatheredColumn {
    pub values: Vec<f64>,
    /// Whether every value is a finite number; then no candle is absent either.
    pub all_finite: bool,
}

/// Memory of columns that are no longer needed, to be written over.
#[derive(Clone, Default)]
pub(crate) struct SpareColumns(Arc<Mutex<Vec<Vec<f64>>>>);

impl SpareColumns {
    pub fn give(&self, column: Vec<f64>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(column);
    }

    /// A column of `cells` values, all of which are still to be written.
    fn take(&self, cells: usize) -> Vec<f64> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut column = spare.unwrap_or_default();
        column.resize(cells, f64::NAN);
        column
    }
}

/// Fills one column, batch after batch.
pub(crate) struct ColumnGatherer {
    /// One per symbol.
    cursors: Vec<ValueCursor>,
    /// Where the column's price type stands among those of the request, and how many there are.
    price_type: usize,
    price_types: usize,
    spare: SpareColumns,
    lanes: Box<[Lane; GROUP_SYMBOLS]>,
    /// Rows as they were read.
    read: Vec<f64>,
}

/// Values that are copied at a time. What is copied too much is written over next.
const COPIED_VALUES: usize = 16;

/// The slices of a tile, and room for what is copied too much. Far from a power of two: neighbouring
/// lanes would compete for the same lines of the cache.
const LANE_VALUES: usize = TILE_SLICES + COPIED_VALUES + 8;

/// The values of one symbol.
type Lane = [f64; LANE_VALUES];

impl ColumnGatherer {
    pub fn new(
        cursors: Vec<ValueCursor>,
        price_type: usize,
        price_types: usize,
        spare: SpareColumns,
    ) -> Self {
        Self {
            cursors,
            price_type,
            price_types,
            spare,
            lanes: new_lanes(),
            read: Vec::new(),
        }
    }

    /// The column of each batch of a plan; none where it is not to gather.
    pub fn step(&mut self, step: Step) -> Result<Vec<GatheredColumn>> {
        match step {
            Step::Gather(plan) => self.gather(&plan),
            Step::Finish => {
                for cursor in &mut self.cursors {
                    cursor.finish()?;
                }
                Ok(Vec::new())
            }
        }
    }

    fn gather(&mut self, plan: &Plan) -> Result<Vec<GatheredColumn>> {
        let symbols = self.cursors.len();
        let mut columns: Vec<_> = plan
            .batches()
            .map(|slices| GatheredColumn {
                values: self.spare.take(slices.len() * symbols),
                all_finite: true,
            })
            .collect();
        for tile in pieces(0..plan.slices, TILE_SLICES) {
            for group in pieces(0..symbols, GROUP_SYMBOLS) {
                self.read_group(plan, tile.clone(), group.clone())?;
                for (column, batch) in columns.iter_mut().zip(plan.batches()) {
                    let slices = batch.start.max(tile.start)..batch.end.min(tile.end);
                    if !slices.is_empty() {
                        let of_lanes = slices.start - tile.start..slices.end - tile.start;
                        let cell = (slices.start - batch.start) * symbols + group.start;
                        let cells = &mut column.values[cell..];
                        column.all_finite &=
                            move_group(&self.lanes[..group.len()], of_lanes, cells, symbols);
                    }
                }
            }
        }
        Ok(columns)
    }

    /// Reads the values of some neighbouring symbols for a tile, each into its lane.
    fn read_group(&mut self, plan: &Plan, tile: Range<usize>, group: Range<usize>) -> Result<()> {
        let cursors = self.cursors[group.clone()].iter_mut();
        for ((symbol, cursor), lane) in group.zip(cursors).zip(self.lanes.iter_mut()) {
            let mut filled = 0;
            for (block, slices) in plan.parts_of(tile.clone()) {
                let series = &block.series[symbol * self.price_types + self.price_type];
                let end = filled + slices.len();
                fill(lane, filled, cursor, series, &slices, &mut self.read)?;
                filled = end;
            }
        }
        Ok(())
    }
}

/// Brings whole series of one length side by side, tile by tile as a gatherer does.
pub(crate) fn interleave_all(series: &[Vec<f64>], cells: &mut [f64]) {
    let symbols = series.len();
    let mut lanes = new_lanes();
    for tile in pieces(0..series.first().map_or(0, Vec::len), TILE_SLICES) {
        for group in pieces(0..symbols, GROUP_SYMBOLS) {
            for (lane, values) in lanes.iter_mut().zip(&series[group.clone()]) {
                lane[..tile.len()].copy_from_slice(&values[tile.clone()]);
            }
            let cells = &mut cells[tile.start * symbols + group.start..];
            move_group(&lanes[..group.len()], 0..tile.len(), cells, symbols);
        }
    }
}

fn new_lanes() -> Box<[Lane; GROUP_SYMBOLS]> {
    Box::new([[f64::NAN; LANE_VALUES]; GROUP_SYMBOLS])
}

/// Moves some slices of neighbouring symbols to `cells`, which begin with the first of them. Whether
/// all values are finite.
fn move_group(lanes: &[Lane], slices: Range<usize>, cells: &mut [f64], symbols: usize) -> bool {
    match <&[Lane; GROUP_SYMBOLS]>::try_from(lanes) {
        Ok(lanes) => interleave(lanes, slices.clone(), cells, symbols),
        Err(_) => {
            for (offset, lane) in lanes.iter().enumerate() {
                let lane = std::array::from_ref(lane);
                interleave(lane, slices.clone(), &mut cells[offset..], symbols);
            }
        }
    }
    lanes.iter().all(|lane| are_finite(&lane[slices.clone()]))
}

/// For each slice in turn, the values of `GROUP` neighbouring symbols.
fn interleave<const GROUP: usize>(
    lanes: &[Lane; GROUP],
    slices: Range<usize>,
    cells: &mut [f64],
    symbols: usize,
) {
    // The bound spares a check for every value.
    let slices = slices.start..slices.end.min(TILE_SLICES);
    for (slice, line) in slices.zip(cells.chunks_mut(symbols)) {
        for (cell, lane) in line[..GROUP].iter_mut().zip(lanes) {
            *cell = lane[slice];
        }
    }
}

fn are_finite(values: &[f64]) -> bool {
    // A number times 0 is 0 only where it is finite. Four sums, so that none waits for another.
    let (fours, rest) = values.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for four in fours {
        for (sum, value) in sums.iter_mut().zip(four) {
            *sum += value * 0.0;
        }
    }
    sums.iter().sum::<f64>() == 0.0 && rest.iter().all(|value| value.is_finite())
}

/// Reads the values of some slices of a block into a lane, from `start` on; NaN where there is no
/// candle.
fn fill(
    lane: &mut Lane,
    start: usize,
    cursor: &mut ValueCursor,
    series: &SeriesRows,
    slices: &Range<usize>,
    read: &mut Vec<f64>,
) -> Result<()> {
    let end = start + slices.len();
    if !series.shuffled.is_empty() {
        return fill_in_any_order(&mut lane[start..end], cursor, series, slices);
    }
    let mut filled = start;
    let near = series
        .extent(slices)
        .filter(|rows| rows.end - rows.start <= NEAR_ROWS);
    if let Some(rows) = &near {
        read_rows(cursor, rows.clone(), read)?;
    }
    for stretch in series.placed_in(slices) {
        let to = start + stretch.slice - slices.start;
        lane[filled..to].fill(f64::NAN);
        filled = to + stretch.len;
        let from = match &near {
            Some(rows) => (stretch.row - rows.start) as usize,
            None => {
                // Too far apart to keep what lies between.
                read_rows(cursor, stretch.row..stretch.row + stretch.len as u64, read)?;
                0
            }
        };
        for at in (0..stretch.len).step_by(COPIED_VALUES) {
            lane[to + at..][..COPIED_VALUES].copy_from_slice(&read[from + at..][..COPIED_VALUES]);
        }
    }
    lane[filled..end].fill(f64::NAN);
    Ok(())
}

/// Reads rows that do not lie behind, and leaves room for what is copied too much.
fn read_rows(cursor: &mut ValueCursor, rows: Range<u64>, read: &mut Vec<f64>) -> Result<()> {
    cursor.skip_to(rows.start)?;
    read.clear();
    cursor.read((rows.end - rows.start) as usize, read)?;
    read.resize(read.len() + COPIED_VALUES, f64::NAN);
    Ok(())
}

/// Row by row, for a series with rows that are not in time order.
fn fill_in_any_order(
    lane: &mut [f64],
    cursor: &mut ValueCursor,
    series: &SeriesRows,
    slices: &Range<usize>,
) -> Result<()> {
    lane.fill(f64::NAN);
    for stretch in series.placed_in(slices) {
        for (slice, row) in stretch.slices().zip(stretch.row..) {
            let shuffled = series.shuffled.iter().find(|rows| rows.contains(&row));
            lane[slice - slices.start] = match shuffled {
                Some(rows) => cursor.value_in(rows, row)?,
                None => cursor.value_at(row)?,
            };
        }
    }
    Ok(())
}
