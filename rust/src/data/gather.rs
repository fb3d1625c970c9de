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

/// The rows of one symbol that are read for a tile: one for each slice, and those between them, as far
/// as there are not too many. Far from a power of two: neighbouring lanes would compete for the same
/// lines of the cache.
const LANE_ROWS: usize = TILE_SLICES + TILE_SLICES / 2 + 24;

/// A stretch of the timeline, and which row of each series belongs to each of its timestamps.
pub(crate) struct Block {
    pub timeline: Vec<i64>,
    /// Where each timestamp stands on the axis of the block.
    pub positions: Vec<u32>,
    /// For each symbol in turn, its price types.
    pub series: Vec<SeriesRows>,
}

impl Block {
    /// The part of the axis that some slices reach over.
    pub fn reach(&self, slices: &Range<usize>) -> Range<usize> {
        match &self.positions[slices.clone()] {
            [] => 0..0,
            [first, .., last] => *first as usize..*last as usize + 1,
            [only] => *only as usize..*only as usize + 1,
        }
    }
}

/// The rows of one series in a block.
pub(crate) struct SeriesRows {
    /// Ascending on the axis; at a position in none of them there is no candle.
    pub placed: Vec<Stretch>,
    /// Ranges of rows that may be asked for in any order; all others come in theirs.
    pub shuffled: Arc<[Range<u64>]>,
}

impl SeriesRows {
    /// The stretches that have something in common with some positions.
    pub fn touched_by(&self, positions: &Range<usize>) -> &[Stretch] {
        let first = self
            .placed
            .partition_point(|stretch| stretch.positions().end <= positions.start);
        let after = &self.placed[first..];
        &after[..after.partition_point(|stretch| stretch.position < positions.end)]
    }

    /// Reads consecutive rows, the first of which is `row`.
    fn read(&self, cursor: &mut ValueCursor, row: u64, into: &mut [f64]) -> Result<()> {
        if self.shuffled.is_empty() {
            cursor.skip_to(row)?;
            return cursor.read(into);
        }
        for (value, row) in into.iter_mut().zip(row..) {
            let shuffled = self.shuffled.iter().find(|rows| rows.contains(&row));
            *value = match shuffled {
                Some(rows) => cursor.value_in(rows, row)?,
                None => cursor.value_at(row)?,
            };
        }
        Ok(())
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
    lanes: Vec<Lane>,
}

impl ColumnGatherer {
    pub fn new(
        cursors: Vec<ValueCursor>,
        price_type: usize,
        price_types: usize,
        spare: SpareColumns,
    ) -> Self {
        Self {
            lanes: new_lanes(cursors.len()),
            cursors,
            price_type,
            price_types,
            spare,
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
        for slices in pieces(0..plan.slices, TILE_SLICES) {
            let tile = Tile::new(plan, slices.clone());
            for group in pieces(0..symbols, GROUP_SYMBOLS) {
                self.read_group(&tile, group.clone())?;
                let lanes = &mut self.lanes[..group.len()];
                for (column, batch) in columns.iter_mut().zip(plan.batches()) {
                    let moved = batch.start.max(slices.start)..batch.end.min(slices.end);
                    if !moved.is_empty() {
                        let cell = (moved.start - batch.start) * symbols + group.start;
                        let places = &tile.places[moved.start - slices.start..][..moved.len()];
                        let cells = &mut column.values[cell..];
                        column.all_finite &= move_group(lanes, places, cells, symbols);
                    }
                }
            }
        }
        Ok(columns)
    }

    /// Reads the values of some neighbouring symbols for a tile, each into its lane.
    fn read_group(&mut self, tile: &Tile<'_>, group: Range<usize>) -> Result<()> {
        let cursors = self.cursors[group.clone()].iter_mut();
        for ((symbol, cursor), lane) in group.zip(cursors).zip(&mut self.lanes) {
            let number = symbol * self.price_types + self.price_type;
            lane.read(tile, number, cursor)?;
        }
        Ok(())
    }
}

/// Brings whole series of one length side by side, tile by tile as a gatherer does.
pub(crate) fn interleave_all(series: &[Vec<f64>], cells: &mut [f64]) {
    let symbols = series.len();
    let mut lanes = new_lanes(symbols);
    for tile in pieces(0..series.first().map_or(0, Vec::len), TILE_SLICES) {
        let places: Vec<u32> = (0..tile.len() as u32).collect();
        for group in pieces(0..symbols, GROUP_SYMBOLS) {
            for (lane, values) in lanes.iter_mut().zip(&series[group.clone()]) {
                lane.begin();
                lane.rows[..tile.len()].copy_from_slice(&values[tile.clone()]);
                lane.place(0, 0, tile.len());
            }
            let cells = &mut cells[tile.start * symbols + group.start..];
            move_group(&mut lanes[..group.len()], &places, cells, symbols);
        }
    }
}

/// Some slices of a plan that are moved at a time, and the parts of axes that are read for them.
struct Tile<'a> {
    pieces: Vec<Piece<'a>>,
    /// The place of each slice, counted over all pieces.
    places: Vec<u32>,
    /// Places of all pieces together, no more than [`LANE_ROWS`].
    len: usize,
}

/// Positions of the axis of a block that follow each other.
struct Piece<'a> {
    block: &'a Block,
    positions: Range<usize>,
}

impl<'a> Tile<'a> {
    fn new(plan: &'a Plan, slices: Range<usize>) -> Self {
        let mut whole = Self::of(plan.parts_of(slices.clone()).map(|(block, slices)| {
            let positions = block.reach(&slices);
            (Piece { block, positions }, slices)
        }));
        if whole.len > LANE_ROWS {
            // Too much lies between the slices to be read with them.
            whole = Self::of(plan.parts_of(slices).flat_map(|(block, slices)| {
                let mut left = slices;
                std::iter::from_fn(move || {
                    let first = *block
                        .positions
                        .get(left.start)
                        .filter(|_| !left.is_empty())?;
                    let next = (left.clone()).zip(first..);
                    let len = next
                        .take_while(|&(slice, position)| block.positions[slice] == position)
                        .count();
                    let slices = left.start..left.start + len;
                    left.start += len;
                    let positions = block.reach(&slices);
                    Some((Piece { block, positions }, slices))
                })
            }));
        }
        whole
    }

    /// Pieces of axes one after the other, each with the slices that lie in it.
    fn of(pieces: impl Iterator<Item = (Piece<'a>, Range<usize>)>) -> Self {
        let mut tile = Self {
            pieces: Vec::new(),
            places: Vec::new(),
            len: 0,
        };
        for (piece, slices) in pieces {
            let first = piece.positions.start;
            let place = |&position: &u32| (tile.len + position as usize - first) as u32;
            tile.places
                .extend(piece.block.positions[slices].iter().map(place));
            tile.len += piece.positions.len();
            tile.pieces.push(piece);
        }
        tile
    }
}

/// What stands in the place of a candle that is not there.
static ABSENT: [f64; LANE_ROWS] = [f64::NAN; LANE_ROWS];

/// The values of one symbol for a tile: rows as they were read, and which of them belong where.
struct Lane {
    rows: Box<[f64; LANE_ROWS]>,
    /// From places of the tile to places in `rows`, ascending.
    placed: Vec<Stretch>,
    /// The first stretch that may still be moved.
    next: usize,
}

fn new_lanes(symbols: usize) -> Vec<Lane> {
    let lane = || Lane {
        rows: Box::new([f64::NAN; LANE_ROWS]),
        placed: Vec::new(),
        next: 0,
    };
    std::iter::repeat_with(lane)
        .take(symbols.min(GROUP_SYMBOLS))
        .collect()
}

impl Lane {
    fn begin(&mut self) {
        self.placed.clear();
        self.next = 0;
    }

    fn place(&mut self, place: usize, row: usize, len: usize) {
        self.placed.push(Stretch {
            position: place,
            row: row as u64,
            len,
        });
    }

    /// Reads the values of series number `number` of the blocks.
    fn read(&mut self, tile: &Tile<'_>, number: usize, cursor: &mut ValueCursor) -> Result<()> {
        self.begin();
        let (mut used, mut place, mut places_left) = (0, 0, tile.len);
        for Piece { block, positions } in &tile.pieces {
            let series = &block.series[number];
            let touched = series.touched_by(positions);
            places_left -= positions.len();
            let stretches = touched.iter().map(|stretch| stretch.within(positions));
            if let Some(rows) = extent(touched, positions).filter(|_| series.shuffled.is_empty())
                && rows.end - rows.start <= (LANE_ROWS - used - places_left) as u64
            {
                // All at once, and what lies between.
                let end = used + (rows.end - rows.start) as usize;
                series.read(cursor, rows.start, &mut self.rows[used..end])?;
                for stretch in stretches {
                    let row = used + (stretch.row - rows.start) as usize;
                    self.place(place + stretch.position - positions.start, row, stretch.len);
                }
                used = end;
            } else {
                for stretch in stretches {
                    let end = used + stretch.len;
                    series.read(cursor, stretch.row, &mut self.rows[used..end])?;
                    self.place(
                        place + stretch.position - positions.start,
                        used,
                        stretch.len,
                    );
                    used = end;
                }
            }
            place += positions.len();
        }
        Ok(())
    }

    /// The values from a place of the tile on, and how many places they go on for. Places must ascend.
    fn from(&mut self, place: usize) -> &[f64] {
        while let Some(stretch) = self.placed.get(self.next) {
            if stretch.position > place {
                return &ABSENT[..stretch.position - place];
            }
            let moved = place - stretch.position;
            if moved < stretch.len {
                let rows = &self.rows[stretch.row as usize..][..stretch.len];
                return &rows[moved..];
            }
            self.next += 1;
        }
        &ABSENT
    }
}

/// The rows within some positions, from the first to the end of the last, where they ascend.
fn extent(touched: &[Stretch], positions: &Range<usize>) -> Option<Range<u64>> {
    let first = touched.first()?.within(positions);
    let last = touched.last()?.within(positions);
    Some(first.row..last.row + last.len as u64)
}

/// Moves the values at some places of the lanes to `cells`, which begin with those at the first place.
/// Whether all values are finite.
fn move_group(lanes: &mut [Lane], places: &[u32], cells: &mut [f64], symbols: usize) -> bool {
    let mut not_finite = NotFinite::default();
    let mut lines = cells.chunks_mut(symbols);
    let mut places = places;
    while let Some(&first) = places.first() {
        let mut sources: [&[f64]; GROUP_SYMBOLS] = [&[]; GROUP_SYMBOLS];
        let sources = &mut sources[..lanes.len()];
        for (source, lane) in sources.iter_mut().zip(&mut *lanes) {
            *source = lane.from(first as usize);
        }
        // Until any of the lanes has or lacks its candles in another way.
        let len = sources.iter().map(|source| source.len()).min();
        let len = len.unwrap_or(LANE_ROWS);
        let end = places.partition_point(|&place| ((place - first) as usize) < len);
        let (now, later) = places.split_at(end);
        let offsets = now.iter().map(|place| (place - first) as usize);
        let lines = offsets.zip(lines.by_ref());
        match <&[&[f64]; GROUP_SYMBOLS]>::try_from(&*sources) {
            Ok(sources) => move_whole_group(sources, len, lines, &mut not_finite),
            Err(_) => move_few(sources, lines, &mut not_finite),
        }
        places = later;
    }
    not_finite.none()
}

/// Whether a value that is no finite number was among those seen, symbol by symbol.
#[derive(Clone, Copy, Default)]
struct NotFinite([f64; GROUP_SYMBOLS]);

impl NotFinite {
    fn see(&mut self, values: &[f64; GROUP_SYMBOLS]) {
        for (sum, value) in self.0.iter_mut().zip(values) {
            // 0 where the value is finite, NaN otherwise.
            *sum += value * 0.0;
        }
    }

    fn none(&self) -> bool {
        self.0.iter().sum::<f64>() == 0.0
    }
}

/// Some values of eight symbols, line by line, from `len` values of each.
///
/// Written out, since only then does the compiler see eight slices of one length: with a loop over them
/// it checks a bound for each value, which takes twice the time.
fn move_whole_group<'a>(
    sources: &[&[f64]; GROUP_SYMBOLS],
    len: usize,
    lines: impl Iterator<Item = (usize, &'a mut [f64])>,
    not_finite: &mut NotFinite,
) {
    let [a, b, c, d, e, f, g, h] = *sources;
    let (a, b, c, d) = (&a[..len], &b[..len], &c[..len], &d[..len]);
    let (e, f, g, h) = (&e[..len], &f[..len], &g[..len], &h[..len]);
    // A copy stays in registers.
    let mut seen = *not_finite;
    for (at, line) in lines {
        let Some(line) = line.first_chunk_mut() else {
            break;
        };
        let values = [a[at], b[at], c[at], d[at], e[at], f[at], g[at], h[at]];
        seen.see(&values);
        *line = values;
    }
    *not_finite = seen;
}

/// Some values of fewer symbols, line by line.
fn move_few<'a>(
    sources: &[&[f64]],
    lines: impl Iterator<Item = (usize, &'a mut [f64])>,
    not_finite: &mut NotFinite,
) {
    for (at, line) in lines {
        let sums = &mut not_finite.0;
        for ((cell, source), sum) in line.iter_mut().zip(sources).zip(sums) {
            *cell = source[at];
            *sum += *cell * 0.0;
        }
    }
}
