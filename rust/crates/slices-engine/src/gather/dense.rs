//! Gathers columns whose values change from slice to slice. Reads a few thousand rows of a few
//! series, which stay in the cache, and writes them side by side.
//!
//! Values are moved in one of two ways. Where rows and slices go side by side for long, eight
//! slices of memory of one length are moved line by line. Where candles are often absent or
//! carried, each value is found through the index of its lane, without a branch.

use std::array;
use std::ops::Range;

use super::plan::{Plan, pieces};
use super::tile::{ABSENT_ROW, LANE_ROWS, LanePlan, LaneStep, TILE_SLICES, Tile};
use super::{BufferPool, GatheredColumn, Source, all_finite};
use slices_core::error::Result;

/// Number of symbols to move together. Their values at one timestamp are neighbours in the column,
/// so a cache line of it is written at once.
const GROUP_SYMBOLS: usize = 8;

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
        for tile in plan.tiles() {
            for group in pieces(0..symbols, GROUP_SYMBOLS) {
                let sources = &mut self.sources[group.clone()];
                let plans: Vec<_> = sources
                    .iter()
                    .map(|source| tile.lane(plan, source.series))
                    .collect();
                for ((source, lane), of_lane) in sources.iter_mut().zip(&mut self.lanes).zip(&plans)
                {
                    lane.read(plan, of_lane, source)?;
                }
                let mut group_of_lanes = LaneGroup {
                    lanes: &mut self.lanes[..group.len()],
                    plans: &plans,
                    tile,
                };
                let finite = group_of_lanes.lanes.iter().all(|lane| lane.finite);
                for (column, batch) in columns.iter_mut().zip(plan.batches()) {
                    let moved = batch.start.max(tile.slices.start)..batch.end.min(tile.slices.end);
                    if !moved.is_empty() {
                        let cell = (moved.start - batch.start) * symbols + group.start;
                        let first = tile.slices.start;
                        let slices = moved.start - first..moved.end - first;
                        column.finite &= finite;
                        group_of_lanes.move_to(slices, &mut column.values[cell..], symbols);
                    }
                }
            }
        }
        Ok(columns)
    }
}

/// Brings whole series of one length side by side, tile by tile as a gatherer does.
pub fn interleave_all(series: &[Vec<f64>], cells: &mut [f64]) {
    let symbols = series.len();
    let mut lanes = new_lanes(symbols);
    for tile in pieces(0..series.first().map_or(0, Vec::len), TILE_SLICES) {
        let places: Vec<u32> = (0..tile.len() as u32).collect();
        let of_lane = LanePlan::consecutive(tile.len());
        for group in pieces(0..symbols, GROUP_SYMBOLS) {
            for (lane, values) in lanes.iter_mut().zip(&series[group.clone()]) {
                lane.next = 0;
                lane.rows[..tile.len()].copy_from_slice(&values[tile.clone()]);
            }
            let cells = &mut cells[tile.start * symbols + group.start..];
            let plans = vec![&of_lane; group.len()];
            move_runs(&mut lanes[..group.len()], &plans, &places, cells, symbols);
        }
    }
}

/// The values of candles that are absent.
static ABSENT: [f64; LANE_ROWS] = [f64::NAN; LANE_ROWS];

/// Rows of a lane, and NaN behind them.
type LaneRows = [f64; LANE_ROWS + 1];

/// The values of one symbol for a tile, as they were read.
struct Lane {
    rows: Box<LaneRows>,
    /// The first run that may still be moved.
    next: usize,
    /// Whether everything in `rows` is a finite number.
    finite: bool,
}

fn new_lanes(symbols: usize) -> Vec<Lane> {
    let lane = || Lane {
        rows: Box::new([f64::NAN; LANE_ROWS + 1]),
        next: 0,
        finite: true,
    };
    std::iter::repeat_with(lane)
        .take(symbols.min(GROUP_SYMBOLS))
        .collect()
}

impl Lane {
    /// Reads the rows of a symbol for a tile.
    fn read(&mut self, plan: &Plan, of_lane: &LanePlan, source: &mut Source) -> Result<()> {
        self.next = 0;
        for &(part, step) in &of_lane.steps {
            let series = &plan.parts[part].0.series[source.series];
            match step {
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
        self.finite = all_finite(&self.rows[..of_lane.used]);
        debug_assert!(self.rows[ABSENT_ROW].is_nan());
        Ok(())
    }

    /// The values from a place of the tile on, as many as are consecutive. Places must ascend.
    fn from(&mut self, of_lane: &LanePlan, place: usize) -> &[f64] {
        while let Some(run) = of_lane.runs.get(self.next) {
            let (first, len) = (run.place as usize, run.len as usize);
            if first > place {
                return &ABSENT[..first - place];
            }
            let moved = place - first;
            if moved < len {
                let rows = &self.rows[run.row as usize..][..len];
                return &rows[moved..];
            }
            self.next += 1;
        }
        &ABSENT
    }
}

/// The lanes of neighbouring symbols, and where their rows belong.
struct LaneGroup<'a> {
    lanes: &'a mut [Lane],
    plans: &'a [&'a LanePlan],
    tile: &'a Tile,
}

impl LaneGroup<'_> {
    /// Moves the values at some slices of the tile to `cells`, which begin with the first of them.
    fn move_to(&mut self, slices: Range<usize>, cells: &mut [f64], symbols: usize) {
        if !self.plans.iter().any(|plan| plan.is_indexed) {
            let places = &self.tile.places[slices];
            move_runs(self.lanes, self.plans, places, cells, symbols);
        } else if let (Ok(lanes), Ok(plans)) = (
            <&[Lane; GROUP_SYMBOLS]>::try_from(&*self.lanes),
            <&[&LanePlan; GROUP_SYMBOLS]>::try_from(self.plans),
        ) {
            let rows = array::from_fn(|lane| &*lanes[lane].rows);
            let index = array::from_fn(|lane| &plans[lane].index(self.tile)[slices.clone()]);
            gather_whole_group(&rows, &index, cells, symbols);
        } else {
            for (symbol, (lane, plan)) in self.lanes.iter().zip(self.plans).enumerate() {
                let cells = cells[symbol..].iter_mut().step_by(symbols);
                for (cell, &row) in cells.zip(&plan.index(self.tile)[slices.clone()]) {
                    *cell = lane.rows[row as usize];
                }
            }
        }
    }
}

/// Moves values of eight symbols through the indexes of their lanes, line by line.
fn gather_whole_group(
    rows: &[&LaneRows; GROUP_SYMBOLS],
    index: &[&[u16]; GROUP_SYMBOLS],
    cells: &mut [f64],
    symbols: usize,
) {
    let [a, b, c, d, e, f, g, h] = *rows;
    let len = index[0].len();
    let [ia, ib, ic, id, ie, i_f, ig, ih] = index.map(|index| &index[..len]);
    for (at, line) in (0..len).zip(cells.chunks_mut(symbols)) {
        let Some(line) = line.first_chunk_mut() else {
            break;
        };
        *line = [
            a[ia[at] as usize],
            b[ib[at] as usize],
            c[ic[at] as usize],
            d[id[at] as usize],
            e[ie[at] as usize],
            f[i_f[at] as usize],
            g[ig[at] as usize],
            h[ih[at] as usize],
        ];
    }
}

/// Moves the values at some places of the lanes to `cells`, which begin with the first place.
fn move_runs(
    lanes: &mut [Lane],
    plans: &[&LanePlan],
    places: &[u32],
    cells: &mut [f64],
    symbols: usize,
) {
    let mut lines = cells.chunks_mut(symbols);
    let mut places = places;
    while let Some(&first) = places.first() {
        let mut sources: [&[f64]; GROUP_SYMBOLS] = [&[]; GROUP_SYMBOLS];
        let sources = &mut sources[..lanes.len()];
        for ((source, lane), plan) in sources.iter_mut().zip(&mut *lanes).zip(plans) {
            *source = lane.from(plan, first as usize);
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
