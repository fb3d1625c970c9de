//! Aligns series whose timestamps lie on one grid, by bitmaps. For series with many gaps this is
//! much less work than comparing timestamps.

use super::row_run::RowRun;
use crate::units::greatest_common_divisor;

/// Number of steps of a series from which the step of the grid is derived.
const PROBED_STEPS: usize = 256;

/// Number of cells per row of the longest series, above which bitmaps would be mostly empty.
const MAX_CELLS_PER_ROW: usize = 8;

/// Instants `step_ns` apart, from `start_ns` on.
struct Grid {
    start_ns: i64,
    step_ns: u64,
    /// 2^64 over the step, rounded up: a multiplication takes the place of the division.
    reciprocal: u64,
    words: usize,
}

impl Grid {
    /// The grid of some series, each strictly increasing; `None` if their timestamps are too sparse
    /// or clearly lie on no grid.
    fn of(series: &[&[i64]]) -> Option<Self> {
        let longest = *series.iter().max_by_key(|one| one.len())?;
        let steps = longest.windows(2).take(PROBED_STEPS);
        let step_ns = steps.fold(0, |divisor_ns, pair| {
            greatest_common_divisor(pair[1].saturating_sub(pair[0]), divisor_ns)
        });
        // The reciprocal of 1 does not fit into 64 bits.
        let step_ns = u64::try_from(step_ns).ok().filter(|&step_ns| step_ns > 1)?;
        let start_ns = series.iter().filter_map(|one| one.first()).min()?;
        let last_ns = series.iter().filter_map(|one| one.last()).max()?;
        let span_ns = last_ns.checked_sub(*start_ns)? as u64;
        let cells = usize::try_from(span_ns / step_ns).ok()?.checked_add(1)?;
        (cells / MAX_CELLS_PER_ROW <= longest.len()).then_some(Self {
            start_ns: *start_ns,
            step_ns,
            reciprocal: u64::MAX / step_ns + 1,
            words: cells.div_ceil(64),
        })
    }

    /// Sets the bits of the cells of a series. Returns whether all timestamps lie on the grid.
    fn mark(&self, series: &[i64], words: &mut [u64]) -> bool {
        let mut on_grid = true;
        let (mut place, mut word) = (0, 0);
        for &timestamp_ns in series {
            let since_ns = timestamp_ns.wrapping_sub(self.start_ns) as u64;
            // Exact for multiples of the step, and only these pass.
            let cell = ((u128::from(since_ns) * u128::from(self.reciprocal)) >> 64) as u64;
            on_grid &= cell.wrapping_mul(self.step_ns) == since_ns;
            let at = (cell / 64) as usize;
            if at != place {
                if let Some(marked) = words.get_mut(place) {
                    *marked |= word;
                }
                (place, word) = (at, 0);
            }
            word |= 1 << (cell % 64);
        }
        if let Some(marked) = words.get_mut(place) {
            *marked |= word;
        }
        on_grid
    }

    fn timestamps(&self, union: &[u64]) -> Vec<i64> {
        let count = union.iter().map(|word| word.count_ones() as usize).sum();
        let mut timestamps = Vec::with_capacity(count);
        for (word, first) in union.iter().zip((0_u64..).step_by(64)) {
            let mut bits = *word;
            while bits != 0 {
                let cell = first + u64::from(bits.trailing_zeros());
                timestamps.push(self.start_ns.wrapping_add((cell * self.step_ns) as i64));
                bits &= bits - 1;
            }
        }
        timestamps
    }
}

/// The union of the timestamps of series on one grid, and the runs of each series in it. `None` if
/// they lie on no grid.
pub fn align_all(series: &[&[i64]]) -> Option<(Vec<i64>, Vec<Vec<RowRun>>)> {
    let grid = Grid::of(series)?;
    let mut marked = vec![0; grid.words * series.len()];
    let mut union = vec![0; grid.words];
    for (one, words) in series.iter().zip(marked.chunks_mut(grid.words)) {
        if !grid.mark(one, words) {
            return None;
        }
        for (all, own) in union.iter_mut().zip(words) {
            *all |= *own;
        }
    }
    let mut likely_runs = 0;
    let aligned = marked.chunks(grid.words).map(|words| {
        // Series of one market are alike, so the runs rarely have to move for more room.
        let runs = runs(&union, words, likely_runs + likely_runs / 16);
        likely_runs = runs.len();
        runs
    });
    let aligned = aligned.collect();
    Some((grid.timestamps(&union), aligned))
}

/// The runs of a series: which bits of the union it has. There is room for `likely_runs` at first.
fn runs(union: &[u64], words: &[u64], likely_runs: usize) -> Vec<RowRun> {
    let mut built = RunBuilder {
        runs: Vec::with_capacity(likely_runs),
        ..RunBuilder::default()
    };
    for (&all, &own) in union.iter().zip(words) {
        let positions = all.count_ones();
        if own == all {
            built.add(positions as usize);
        } else if own == 0 {
            built.pass(positions as usize);
        } else {
            let mut present = compressed(own, all);
            let mut left = positions;
            while left > 0 {
                let absent = present.trailing_zeros().min(left);
                built.pass(absent as usize);
                left -= absent;
                present = present.checked_shr(absent).unwrap_or(0);
                let there = present.trailing_ones().min(left);
                built.add(there as usize);
                left -= there;
                present = present.checked_shr(there).unwrap_or(0);
            }
        }
    }
    built.finish()
}

/// The bits of `own` at the set bits of `all`, side by side.
fn compressed(own: u64, all: u64) -> u64 {
    if all == u64::MAX {
        return own;
    }
    let (mut left, mut present) = (all, 0);
    for place in 0..all.count_ones() {
        let lowest = left & left.wrapping_neg();
        present |= u64::from(own & lowest != 0) << place;
        left ^= lowest;
    }
    present
}

/// Joins positions with consecutive rows into runs.
#[derive(Default)]
struct RunBuilder {
    runs: Vec<RowRun>,
    /// The first position and row of the current run.
    first: (usize, u64),
    len: usize,
    position: usize,
    row: u64,
}

impl RunBuilder {
    /// Adds positions that the series has.
    fn add(&mut self, positions: usize) {
        if self.len == 0 {
            self.first = (self.position, self.row);
        }
        self.len += positions;
        self.position += positions;
        self.row += positions as u64;
    }

    /// Passes positions that the series lacks.
    fn pass(&mut self, positions: usize) {
        if positions > 0 {
            self.end();
            self.position += positions;
        }
    }

    fn end(&mut self) {
        if self.len > 0 {
            let (position, row) = self.first;
            self.runs.push(RowRun::sequential(position, row, self.len));
            self.len = 0;
        }
    }

    fn finish(mut self) -> Vec<RowRun> {
        self.end();
        self.runs
    }
}
