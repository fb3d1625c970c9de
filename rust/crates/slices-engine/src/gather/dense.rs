//! Gathers columns whose values change from slice to slice. Reads a few thousand rows of a few
//! series, which stay in the cache, and writes them side by side.

use std::ops::Range;

use super::plan::{Block, Plan, SeriesRows, pieces};
use super::{BufferPool, GatheredColumn, Source, all_finite};
use slices_core::alignment::RowRun;
use slices_core::error::Result;

/// Number of slices to move at a time. The rows of a group of series stay in the cache meanwhile,
/// and so does the dictionary of one series while it is read.
pub const TILE_SLICES: usize = 3_072;

/// Number of symbols to move together. Their values at one timestamp are neighbours in the column,
/// so a cache line of it is written at once.
const GROUP_SYMBOLS: usize = 8;

/// Number of rows of one symbol that are read for a tile: one for each slice, and those between
/// them, unless there are too many. Far from a power of two, or neighbouring lanes would compete
/// for the same lines of the cache.
const LANE_ROWS: usize = TILE_SLICES + TILE_SLICES / 2 + 24;

/// Fills one column, batch after batch.
pub struct DenseGatherer {
    /// One per symbol.
    pub(super) sources: Vec<Source>,
    buffers: BufferPool<f64>,
    lanes: Vec<Lane>,
}

impl DenseGatherer {
    pub(super) fn new(sources: Vec<Source>, buffers: BufferPool<f64>) -> Self {
        Self {
            lanes: new_lanes(sources.len()),
            sources,
            buffers,
        }
    }

    /// The column of each batch of a plan.
    pub(super) fn gather(&mut self, plan: &Plan) -> Result<Vec<GatheredColumn>> {
        let symbols = self.sources.len();
        let mut columns: Vec<_> = plan
            .batches()
            .map(|slices| GatheredColumn {
                values: self.buffers.take(slices.len() * symbols, f64::NAN),
                finite: true,
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
                        column.finite &= lanes.iter().all(|lane| lane.finite);
                        move_group(lanes, places, cells, symbols);
                    }
                }
            }
        }
        Ok(columns)
    }

    /// Reads the values of some neighbouring symbols for a tile, each into its lane.
    fn read_group(&mut self, tile: &Tile<'_>, group: Range<usize>) -> Result<()> {
        for (source, lane) in self.sources[group].iter_mut().zip(&mut self.lanes) {
            lane.read(tile, source)?;
        }
        Ok(())
    }
}

/// Writes whole series of one length side by side, tile by tile as a gatherer does.
pub fn interleave_all(series: &[Vec<f64>], cells: &mut [f64]) {
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

/// Slices of a plan that are moved at a time, and the parts of time indexes that they need.
struct Tile<'a> {
    pieces: Vec<Piece<'a>>,
    /// The place of each slice: its position, counted over all pieces.
    places: Vec<u32>,
    /// Number of places of all pieces, at most [`LANE_ROWS`].
    len: usize,
}

/// Consecutive positions of the time index of a block.
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

    /// Puts pieces one after the other, each with the slices that lie in it.
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

/// The values of candles that are absent.
static ABSENT: [f64; LANE_ROWS] = [f64::NAN; LANE_ROWS];

/// Where a piece of a tile goes in a lane.
#[derive(Clone, Copy)]
struct LaneSpace {
    /// The first place of the piece.
    place: usize,
    /// Number of rows of the lane that are used.
    used: usize,
    /// Number of rows left for the piece.
    room: usize,
}

/// A step that fills rows of a lane, from row `at` on.
#[derive(Clone, Copy)]
enum LaneStep {
    /// Reads consecutive rows of the series.
    Read { row: u64, at: usize, len: usize },
    /// Repeats a row of the lane that was read before.
    Spread { from: usize, at: usize, len: usize },
    /// Repeats one row of the series, which was read last or is read alone.
    Repeat { row: u64, at: usize, len: usize },
}

/// The values of one symbol for a tile: rows as they were read, and which of them belong where.
struct Lane {
    rows: Box<[f64; LANE_ROWS]>,
    /// From places of the tile to places in `rows`, ascending.
    placed: Vec<RowRun>,
    /// The first run that may still be moved.
    next: usize,
    /// How the rows of the current piece are read.
    steps: Vec<LaneStep>,
    /// Whether everything in `rows` is a finite number.
    finite: bool,
}

fn new_lanes(symbols: usize) -> Vec<Lane> {
    let lane = || Lane {
        rows: Box::new([f64::NAN; LANE_ROWS]),
        placed: Vec::new(),
        next: 0,
        steps: Vec::new(),
        finite: true,
    };
    std::iter::repeat_with(lane)
        .take(symbols.min(GROUP_SYMBOLS))
        .collect()
}

impl Lane {
    fn begin(&mut self) {
        self.placed.clear();
        self.next = 0;
        self.finite = true;
    }

    fn place(&mut self, place: usize, row: usize, len: usize) {
        self.placed.push(RowRun::Sequential {
            position: place,
            row: row as u64,
            len,
        });
    }

    /// Reads the values of a symbol for a tile: plans which rows belong where, then reads them.
    fn read(&mut self, tile: &Tile<'_>, source: &mut Source) -> Result<()> {
        self.begin();
        let mut used = 0;
        let mut place = 0;
        for Piece { block, positions } in &tile.pieces {
            let series = &block.series[source.series];
            // Each place that is still to come takes a row at most.
            let room = LANE_ROWS - used - (tile.len - place - positions.len());
            used = self.plan(series, positions, LaneSpace { place, used, room }, source);
            self.execute(series, source)?;
            place += positions.len();
        }
        self.finite = all_finite(&self.rows[..used]);
        Ok(())
    }

    /// Plans how the rows of a series get into the lane, and places them. Returns how many rows of
    /// the lane are used then.
    fn plan(
        &mut self,
        series: &SeriesRows,
        positions: &Range<usize>,
        space: LaneSpace,
        source: &Source,
    ) -> usize {
        let mut used = space.used;
        let mut take = |len: usize| {
            used += len;
            used - len
        };
        let mut touched = series.touched_by(positions);
        let place_of = |run: &RowRun| space.place + run.position() - positions.start;
        let is_repeated = |run: &RowRun| run.repeated_ns().is_some();
        self.steps.clear();
        let mut room = space.room;
        if let Some((first, rest)) = touched.split_first()
            && let Some((row, _)) = source.latest
            && is_repeated(first)
            && first.row() == row
        {
            // Read before, for slices before these.
            let run = first.within(positions);
            let (at, len) = (take(run.len()), run.len());
            self.steps.push(LaneStep::Repeat { row, at, len });
            self.place(place_of(&run), at, len);
            room -= len;
            touched = rest;
        }
        let runs = touched.iter().map(|run| run.within(positions));
        let repeated_places: usize = if series.repeats {
            runs.clone().filter(is_repeated).map(|run| run.len()).sum()
        } else {
            0
        };
        // Rows out of order have no extent.
        let extent = extent(touched, positions).filter(|_| series.shuffled.is_empty());
        let at_once =
            extent.filter(|rows| rows.end - rows.start + repeated_places as u64 <= room as u64);
        if let Some(rows) = at_once {
            // With the rows between the runs.
            let len = (rows.end - rows.start) as usize;
            let first = take(len);
            self.steps.push(LaneStep::Read {
                row: rows.start,
                at: first,
                len,
            });
            for run in runs {
                let from = first + (run.row() - rows.start) as usize;
                let len = run.len();
                if is_repeated(&run) {
                    let at = take(len);
                    self.steps.push(LaneStep::Spread { from, at, len });
                    self.place(place_of(&run), at, len);
                } else {
                    self.place(place_of(&run), from, len);
                }
            }
        } else {
            for run in runs {
                let (row, at, len) = (run.row(), take(run.len()), run.len());
                self.steps.push(if is_repeated(&run) {
                    LaneStep::Repeat { row, at, len }
                } else {
                    LaneStep::Read { row, at, len }
                });
                self.place(place_of(&run), at, len);
            }
        }
        used
    }

    /// Reads what was planned.
    fn execute(&mut self, series: &SeriesRows, source: &mut Source) -> Result<()> {
        for step in &self.steps {
            match *step {
                LaneStep::Read { row, at, len } => {
                    let end = at + len;
                    series.read(&mut source.cursor, row, &mut self.rows[at..end])?;
                    source.latest = Some((row + len as u64 - 1, self.rows[end - 1]));
                }
                LaneStep::Spread { from, at, len } => {
                    let value = self.rows[from];
                    self.rows[at..at + len].fill(value);
                }
                LaneStep::Repeat { row, at, len } => {
                    let value = source.value_at(series, row)?;
                    self.rows[at..at + len].fill(value);
                }
            }
        }
        Ok(())
    }

    /// The values from a place of the tile on, as many as are consecutive. Places must ascend.
    fn from(&mut self, place: usize) -> &[f64] {
        while let Some(run) = self.placed.get(self.next) {
            if run.position() > place {
                return &ABSENT[..run.position() - place];
            }
            let moved = place - run.position();
            if moved < run.len() {
                let rows = &self.rows[run.row() as usize..][..run.len()];
                return &rows[moved..];
            }
            self.next += 1;
        }
        &ABSENT
    }
}

/// The rows within some positions, from the first to the end of the last, where they ascend.
fn extent(touched: &[RowRun], positions: &Range<usize>) -> Option<Range<u64>> {
    let first = touched.first()?.within(positions);
    let last = touched.last()?.within(positions);
    Some(first.row()..last.last_row() + 1)
}

/// Moves the values at some places of the lanes to `cells`, which begin with the first place.
fn move_group(lanes: &mut [Lane], places: &[u32], cells: &mut [f64], symbols: usize) {
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
            Ok(sources) => move_whole_group(sources, len, lines),
            Err(_) => move_few(sources, lines),
        }
        places = later;
    }
}

/// Moves values of eight symbols, line by line, from `len` values of each.
///
/// Written out, so that the compiler sees eight slices of one length. With a loop over them it
/// checks a bound for each value, which takes twice the time.
fn move_whole_group<'a>(
    sources: &[&[f64]; GROUP_SYMBOLS],
    len: usize,
    lines: impl Iterator<Item = (usize, &'a mut [f64])>,
) {
    let [a, b, c, d, e, f, g, h] = *sources;
    let (a, b, c, d) = (&a[..len], &b[..len], &c[..len], &d[..len]);
    let (e, f, g, h) = (&e[..len], &f[..len], &g[..len], &h[..len]);
    for (at, line) in lines {
        let Some(line) = line.first_chunk_mut() else {
            break;
        };
        *line = [a[at], b[at], c[at], d[at], e[at], f[at], g[at], h[at]];
    }
}

/// Moves values of fewer symbols, line by line.
fn move_few<'a>(sources: &[&[f64]], lines: impl Iterator<Item = (usize, &'a mut [f64])>) {
    for (at, line) in lines {
        for (cell, source) in line.iter_mut().zip(sources) {
            *cell = source[at];
        }
    }
}
