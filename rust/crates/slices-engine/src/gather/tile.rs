//! Plans the tiles of a plan: which rows of each series are read for some slices, and where they
//! belong. Reads nothing. All columns of a series share one answer.

use std::ops::Range;
use std::sync::OnceLock;

use super::plan::{Plan, SeriesRows, pieces};
use slices_core::alignment::RowRun;

/// Number of slices to move at a time. The rows of a group of series stay in the cache meanwhile,
/// and so does the dictionary of one series while it is read.
pub const TILE_SLICES: usize = 3_072;

/// Number of rows of one symbol that are read for a tile: one for each slice, and those between
/// them, unless there are too many. Far from a power of two, or neighbouring lanes would compete
/// for the same lines of the cache.
pub const LANE_ROWS: usize = TILE_SLICES + TILE_SLICES / 2 + 24;

/// The row of a lane that holds NaN, for absent candles.
pub const ABSENT_ROW: usize = LANE_ROWS;

/// A lane of shorter runs than this, on average, is moved by its index.
const SHORT_RUN_PLACES: usize = 24;

/// Slices of a plan that are moved at a time, and the parts of time indexes that they need.
pub struct Tile {
    /// Counted from the first slice of the plan.
    pub slices: Range<usize>,
    pieces: Vec<Piece>,
    /// The place of each slice: its position, counted over all pieces.
    pub places: Vec<u32>,
    /// Number of places of all pieces, at most [`LANE_ROWS`].
    len: usize,
    /// By number of series; made for the first column that asks.
    lanes: Vec<OnceLock<LanePlan>>,
}

/// Consecutive positions of the time index of a block.
struct Piece {
    /// The number of the part of the plan that holds the block.
    part: usize,
    positions: Range<usize>,
}

impl Tile {
    /// The tiles of a plan, in order.
    pub fn of_plan(plan: &Plan) -> Vec<Self> {
        let slices = pieces(0..plan.slices, TILE_SLICES);
        slices.map(|slices| Self::new(plan, slices)).collect()
    }

    fn new(plan: &Plan, slices: Range<usize>) -> Self {
        let parts = || plan.numbered_parts_of(slices.clone());
        let whole = Self::with_pieces(plan, slices.clone(), parts());
        if whole.len <= LANE_ROWS {
            return whole;
        }
        // Too much lies between the slices to be read with them.
        let consecutive = parts().flat_map(|(part, slices)| {
            let positions = &plan.parts[part].0.positions;
            let mut left = slices;
            std::iter::from_fn(move || {
                let first = *positions.get(left.start).filter(|_| !left.is_empty())?;
                let next = left.clone().zip(first..);
                let len = next
                    .take_while(|&(slice, position)| positions[slice] == position)
                    .count();
                let slices = left.start..left.start + len;
                left.start += len;
                Some((part, slices))
            })
        });
        Self::with_pieces(plan, slices.clone(), consecutive)
    }

    /// Puts pieces one after the other: each is the reach of some slices of a part.
    fn with_pieces(
        plan: &Plan,
        slices: Range<usize>,
        parts: impl Iterator<Item = (usize, Range<usize>)>,
    ) -> Self {
        let series = plan
            .parts
            .first()
            .map_or(0, |(block, _)| block.series.len());
        let mut tile = Self {
            slices,
            pieces: Vec::new(),
            places: Vec::new(),
            len: 0,
            lanes: std::iter::repeat_with(OnceLock::new).take(series).collect(),
        };
        for (part, slices) in parts {
            let block = &plan.parts[part].0;
            let positions = block.reach(&slices);
            let place = |&position: &u32| (tile.len + position as usize - positions.start) as u32;
            tile.places
                .extend(block.positions[slices].iter().map(place));
            tile.len += positions.len();
            tile.pieces.push(Piece { part, positions });
        }
        tile
    }

    /// How the rows of a series get into its lane.
    pub fn lane(&self, plan: &Plan, series: usize) -> &LanePlan {
        shared(&self.lanes[series], || LanePlan::new(plan, self, series))
    }
}

/// A step that fills rows of a lane, from row `at` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneStep {
    /// Reads consecutive rows of the series.
    Read { row: u64, at: usize, len: usize },
    /// Repeats a row of the lane that was read before.
    Spread { from: usize, at: usize, len: usize },
    /// Repeats one row of the series, which was read last or is read alone.
    Repeat { row: u64, at: usize, len: usize },
}

/// Consecutive places of a tile, and the row of the lane at the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedRun {
    pub place: u32,
    pub row: u32,
    pub len: u32,
}

/// How the rows of one series get into a lane, and which of them belong where.
pub struct LanePlan {
    /// The steps, each with its part of the plan.
    pub steps: Vec<(usize, LaneStep)>,
    /// Number of rows of the lane that are used.
    pub used: usize,
    /// Consecutive rows at consecutive places, ascending. Empty if `is_indexed`.
    pub runs: Vec<PlacedRun>,
    /// Whether runs are too short to be moved one by one.
    pub is_indexed: bool,
    /// Whether every place has a candle.
    pub is_full: bool,
    /// The row of the lane for each slice of the tile.
    index: OnceLock<Vec<u16>>,
}

impl LanePlan {
    fn new(plan: &Plan, tile: &Tile, number: usize) -> Self {
        let runs = tile.pieces.iter().map(|piece| {
            let series = &plan.parts[piece.part].0.series[number];
            series.touched_by(&piece.positions).len()
        });
        let is_indexed = runs.sum::<usize>() * SHORT_RUN_PLACES > tile.len;
        Self::build(plan, tile, number, is_indexed)
    }

    fn build(plan: &Plan, tile: &Tile, number: usize, is_indexed: bool) -> Self {
        let series = |piece: &Piece| &plan.parts[piece.part].0.series[number];
        let mut lane = LaneBuilder {
            steps: Vec::new(),
            used: 0,
            places: if is_indexed {
                Places::Index(Vec::with_capacity(tile.len))
            } else {
                Places::Runs(Vec::new())
            },
        };
        let mut place = 0;
        for piece in &tile.pieces {
            // Each place that is still to come takes a row at most.
            let left = tile.len - place - piece.positions.len();
            let room = LANE_ROWS - lane.used - left;
            lane.add(series(piece), piece, place, room);
            place += piece.positions.len();
        }
        let LaneBuilder {
            steps,
            used,
            places,
        } = lane;
        let present = match &places {
            Places::Runs(runs) => runs.iter().map(|run| run.len as usize).sum(),
            Places::Index(by_place) => {
                let is_there = |row: &&u16| **row != ABSENT_ROW as u16;
                by_place.iter().filter(is_there).count()
            }
        };
        let (runs, index) = match places {
            Places::Runs(runs) => (runs, OnceLock::new()),
            Places::Index(by_place) => (Vec::new(), OnceLock::from(tile.by_slice(by_place))),
        };
        Self {
            steps,
            used,
            runs,
            is_indexed,
            is_full: present == tile.len,
            index,
        }
    }

    /// The rows of a lane that holds `len` rows, one for each place.
    pub fn consecutive(len: usize) -> Self {
        Self {
            steps: Vec::new(),
            used: len,
            runs: vec![PlacedRun {
                place: 0,
                row: 0,
                len: len as u32,
            }],
            is_indexed: false,
            is_full: true,
            index: OnceLock::new(),
        }
    }

    /// Clears the flags of the slices without a candle: of `slices` of the tile, the flag of the
    /// first is the first of `flags`, and each next one is `stride` further.
    pub fn clear_absent(&self, tile: &Tile, slices: Range<usize>, flags: &mut [u8], stride: usize) {
        if self.is_indexed {
            let index = &self.index(tile)[slices];
            for (flag, &row) in flags.iter_mut().step_by(stride).zip(index) {
                *flag = u8::from(row != ABSENT_ROW as u16);
            }
            return;
        }
        let slice_at = |place: u32| {
            let all_are_slices = tile.places.len() == tile.len;
            let slice = if all_are_slices {
                place as usize
            } else {
                tile.places.partition_point(|&at| at < place)
            };
            slice.clamp(slices.start, slices.end) - slices.start
        };
        let mut before = 0;
        let end = (tile.len as u32, tile.len as u32);
        let runs = self.runs.iter().map(|run| (run.place, run.place + run.len));
        for (first, next) in runs.chain([end]) {
            let gap = slice_at(before)..slice_at(first);
            let flags = flags.iter_mut().step_by(stride);
            for flag in flags.skip(gap.start).take(gap.len()) {
                *flag = 0;
            }
            before = next;
        }
    }

    /// The row of the lane for each slice of the tile; [`ABSENT_ROW`] without a candle.
    pub fn index(&self, tile: &Tile) -> &[u16] {
        let index: &Vec<u16> = shared(&self.index, || {
            let mut by_place = Vec::with_capacity(tile.len);
            for run in &self.runs {
                by_place.resize(run.place as usize, ABSENT_ROW as u16);
                by_place.extend(run.row as u16..(run.row + run.len) as u16);
            }
            tile.by_slice(by_place)
        });
        index
    }
}

impl Tile {
    /// The rows of the places that are slices.
    fn by_slice(&self, mut by_place: Vec<u16>) -> Vec<u16> {
        by_place.resize(self.len, ABSENT_ROW as u16);
        if self.places.len() == self.len {
            // Every place is a slice.
            return by_place;
        }
        let places = self.places.iter();
        places.map(|&place| by_place[place as usize]).collect()
    }
}

/// Returns the value of a cell, and makes it first if it is missing. Threads that come at the same
/// time all make it: that takes less time than to wait for each other.
pub(super) fn shared<T>(cell: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    match cell.get() {
        Some(made) => made,
        None => {
            let made = make();
            cell.get_or_init(|| made)
        }
    }
}

/// Builds a lane, piece by piece.
struct LaneBuilder {
    steps: Vec<(usize, LaneStep)>,
    used: usize,
    places: Places,
}

/// Which row of the lane belongs to which place.
enum Places {
    Runs(Vec<PlacedRun>),
    /// The row of each place so far.
    Index(Vec<u16>),
}

impl LaneBuilder {
    /// Adds a piece, whose first place is `first_place`. At most `room` rows of the lane are left
    /// for it.
    fn add(&mut self, series: &SeriesRows, piece: &Piece, first_place: usize, room: usize) {
        let positions = &piece.positions;
        let is_repeated = RowRun::is_repeated;
        let place_of = |run: &RowRun| first_place + run.position() - positions.start;
        let mut room = room;
        let mut touched = series.touched_by(positions);
        while let Some((first, rest)) = touched.split_first()
            && is_repeated(first)
        {
            // Slices before these may have shown it, and a cursor never goes back.
            let run = first.within(positions);
            self.repeat(piece.part, &run, place_of(&run));
            room -= run.len();
            touched = rest;
        }
        let runs = touched.iter().map(|run| run.within(positions));
        let spread_places: usize = match self.places {
            Places::Runs(_) if series.repeats => {
                let repeated = runs.clone().filter(is_repeated);
                repeated.map(|run| run.len()).sum()
            }
            _ => 0,
        };
        // Rows out of order have no extent.
        let extent = extent(touched, positions).filter(|_| series.shuffled.is_empty());
        let at_once =
            extent.filter(|rows| rows.end - rows.start + spread_places as u64 <= room as u64);
        if let Some(rows) = at_once {
            // With the rows between the runs.
            let len = (rows.end - rows.start) as usize;
            let first = self.take(len);
            let row = rows.start;
            self.step(
                piece.part,
                LaneStep::Read {
                    row,
                    at: first,
                    len,
                },
            );
            for run in runs {
                let from = first + (run.row() - rows.start) as usize;
                if is_repeated(&run) {
                    self.spread(piece.part, from, place_of(&run), run.len());
                } else {
                    self.place(place_of(&run), from, run.len());
                }
            }
        } else {
            for run in runs {
                if is_repeated(&run) {
                    self.repeat(piece.part, &run, place_of(&run));
                } else {
                    let (row, at, len) = (run.row(), self.take(run.len()), run.len());
                    self.step(piece.part, LaneStep::Read { row, at, len });
                    self.place(place_of(&run), at, len);
                }
            }
        }
    }

    fn take(&mut self, rows: usize) -> usize {
        self.used += rows;
        self.used - rows
    }

    fn step(&mut self, part: usize, step: LaneStep) {
        self.steps.push((part, step));
    }

    /// Places one row of the series, by itself.
    fn repeat(&mut self, part: usize, run: &RowRun, place: usize) {
        let row = run.row();
        match &mut self.places {
            Places::Runs(_) => {
                let (at, len) = (self.take(run.len()), run.len());
                self.step(part, LaneStep::Repeat { row, at, len });
                self.place(place, at, len);
            }
            Places::Index(_) => {
                let at = self.take(1);
                self.step(part, LaneStep::Repeat { row, at, len: 1 });
                self.place_repeated(place, at, run.len());
            }
        }
    }

    /// Places a row of the lane several times.
    fn spread(&mut self, part: usize, from: usize, place: usize, len: usize) {
        match &mut self.places {
            Places::Runs(_) => {
                let at = self.take(len);
                self.step(part, LaneStep::Spread { from, at, len });
                self.place(place, at, len);
            }
            Places::Index(_) => self.place_repeated(place, from, len),
        }
    }

    fn place(&mut self, place: usize, row: usize, len: usize) {
        match &mut self.places {
            Places::Runs(runs) => runs.push(PlacedRun {
                place: place as u32,
                row: row as u32,
                len: len as u32,
            }),
            Places::Index(by_place) => {
                by_place.resize(place, ABSENT_ROW as u16);
                by_place.extend(row as u16..(row + len) as u16);
            }
        }
    }

    fn place_repeated(&mut self, place: usize, row: usize, len: usize) {
        if let Places::Index(by_place) = &mut self.places {
            by_place.resize(place, ABSENT_ROW as u16);
            by_place.resize(place + len, row as u16);
        }
    }
}

/// The rows within some positions, from the first to the end of the last, where they ascend.
fn extent(touched: &[RowRun], positions: &Range<usize>) -> Option<Range<u64>> {
    let first = touched.first()?.within(positions);
    let last = touched.last()?.within(positions);
    Some(first.row()..last.last_row() + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::plan::Block;
    use super::*;

    /// A block of `len` positions: which of them are slices, and what a series shows at each. What
    /// it shows is no candle, the next row, or the latest row once more. Rows that are not shown
    /// lie between, as duplicates do.
    fn block(cells: &[(bool, u8)], first_row: u64) -> (Block, Vec<Option<u64>>) {
        let mut runs: Vec<RowRun> = Vec::new();
        let mut shown = Vec::new();
        let mut row = first_row;
        for (position, &(_, kind)) in cells.iter().enumerate() {
            let latest = (row > first_row).then(|| row - 1);
            let here = match kind {
                0..=3 => {
                    row += 1;
                    Some(row - 1)
                }
                4 => {
                    row += 3;
                    Some(row - 1)
                }
                5 => latest,
                _ => None,
            };
            shown.push(here);
            let Some(here) = here else { continue };
            let is_repeated = kind == 5;
            match runs.last_mut() {
                Some(run)
                    if run.positions().end == position
                        && run.is_repeated() == is_repeated
                        && run.last_row() + u64::from(!is_repeated) == here =>
                {
                    *run = run.with_len(run.len() + 1);
                }
                _ => runs.push(if is_repeated {
                    RowRun::repeated(position, here, 1, 0)
                } else {
                    RowRun::sequential(position, here, 1)
                }),
            }
        }
        let positions = (0_u32..).zip(cells).filter(|(_, (is_slice, _))| *is_slice);
        let block = Block {
            timestamps: (0..cells.len() as i64).collect(),
            positions: positions.map(|(position, _)| position).collect(),
            series: vec![SeriesRows {
                repeats: true,
                runs,
                shuffled: Arc::new([]),
            }],
        };
        (block, shown)
    }

    /// The row in each row of a lane, by its steps. Rows must be read in order.
    fn read(of_lane: &LanePlan, next: &mut u64, latest: &mut Option<u64>) -> Vec<Option<u64>> {
        let mut lane = vec![None; LANE_ROWS + 1];
        for &(_, step) in &of_lane.steps {
            match step {
                LaneStep::Read { row, at, len } => {
                    assert!(row >= *next, "a cursor never goes back");
                    for (cell, row) in lane[at..at + len].iter_mut().zip(row..) {
                        *cell = Some(row);
                    }
                    *next = row + len as u64;
                    *latest = Some(*next - 1);
                }
                LaneStep::Spread { from, at, len } => {
                    let row = lane[from];
                    lane[at..at + len].fill(row);
                }
                LaneStep::Repeat { row, at, len } => {
                    if *latest != Some(row) {
                        assert!(row >= *next, "a cursor never goes back");
                        *next = row + 1;
                        *latest = Some(row);
                    }
                    lane[at..at + len].fill(Some(row));
                }
            }
        }
        assert!(of_lane.used <= LANE_ROWS);
        assert!(lane[of_lane.used..].iter().all(Option::is_none));
        lane
    }

    fn cells(wide: bool) -> impl Strategy<Value = Vec<(bool, u8)>> {
        let kind = prop_oneof![8 => 0..4_u8, 1 => Just(4), 2 => Just(5), 3 => Just(6)];
        let len = if wide { 0..9_000_usize } else { 0..40 };
        let is_slice = prop::bool::weighted(if wide { 0.6 } else { 0.9 });
        prop::collection::vec((is_slice, kind), len)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn runs_and_indexes_show_what_the_blocks_show(
            blocks in prop_oneof![
                prop::collection::vec(cells(false), 1..12),
                prop::collection::vec(cells(true), 1..3),
            ],
        ) {
            let mut first_row = 0;
            let (mut parts, mut expected) = (Vec::new(), Vec::new());
            for cells in &blocks {
                let (block, shown) = block(cells, first_row);
                first_row = shown.iter().flatten().max().map_or(first_row, |row| row + 1);
                let at_slices = block.positions.iter().map(|&at| shown[at as usize]);
                expected.extend(at_slices);
                let slices = 0..block.slices();
                parts.push((Arc::new(block), slices));
            }
            let slices = expected.len();
            let plan = Plan::new(100, slices, parts);
            for is_indexed in [false, true] {
                let (mut next, mut latest) = (0, None);
                for tile in Tile::of_plan(&plan) {
                    let of_lane = LanePlan::build(&plan, &tile, 0, is_indexed);
                    let lane = read(&of_lane, &mut next, &mut latest);
                    let expected = &expected[tile.slices.clone()];
                    let by_index = of_lane.index(&tile).iter().map(|&row| lane[row as usize]);
                    prop_assert_eq!(&by_index.collect::<Vec<_>>()[..], expected);
                    let mut by_run = vec![None; tile.places.len()];
                    for run in &of_lane.runs {
                        for (slice, &place) in tile.places.iter().enumerate() {
                            if (run.place..run.place + run.len).contains(&place) {
                                by_run[slice] = lane[(run.row + place - run.place) as usize];
                            }
                        }
                    }
                    prop_assert!(is_indexed || by_run == expected);
                    let all = 0..tile.places.len();
                    let mut flags = vec![1; all.len()];
                    if !of_lane.is_full {
                        of_lane.clear_absent(&tile, all, &mut flags, 1);
                    }
                    let present = expected.iter().map(|row| u8::from(row.is_some()));
                    prop_assert_eq!(flags, present.collect::<Vec<_>>());
                }
            }
        }
    }
}
