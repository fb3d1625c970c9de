//! Aligns series: which timestamps become slices, and which row of each series belongs to them.
//! Pure functions over strictly increasing `i64` slices, without files or values.
//!
//! All series of the primary timeframe share one time index: the union of their timestamps. A
//! timeline selects positions of this index. A timestamp outside the timeline therefore does not
//! split the runs of the series.
//!
//! Everything else in a slice follows from two numbers. Of the candles that are at least `delay`
//! old at a position, the slice shows the latest, up to an age of `max_age`. Without both, that is
//! the candle at the position itself. With an age, candles are carried forward. With the delay of a
//! timeframe, it is the latest complete candle. No position shows a candle that is incomplete when
//! the slice is known.

mod row_run;
mod time_grid;

use std::ops::Range;

pub use self::row_run::RowRun;
use crate::error::Result;
use crate::request::{Timeline, check_timeline};

/// Selects the positions that become slices. Series are ordered by symbol, with the same number of
/// price types each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimelineRule {
    /// Positions at which every series has a candle.
    Intersection,
    /// All positions.
    Union,
    /// Positions at which every price type of this symbol has a candle.
    Leader(usize),
    /// Positions at which at least this many symbols have a candle of every price type.
    Quorum(usize),
}

impl TimelineRule {
    /// The rule of a timeline for symbols in this order.
    ///
    /// # Errors
    ///
    /// Fails if the leader is not one of the symbols, or the quorum is larger than their number.
    pub fn new(timeline: &Timeline, symbols: &[String]) -> Result<Self> {
        check_timeline(timeline, symbols)?;
        Ok(match timeline {
            Timeline::Intersection => Self::Intersection,
            Timeline::Union => Self::Union,
            Timeline::Leader(leader) => {
                let place = symbols.iter().position(|symbol| symbol == leader);
                Self::Leader(place.unwrap_or_default())
            }
            Timeline::Quorum(quorum) => Self::Quorum(quorum.get()),
        })
    }
}

/// The union of the timestamps of all series, and the rows of each series in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeIndex {
    /// Strictly increasing.
    pub timestamps: Vec<i64>,
    /// The runs of each series, ascending and as long as possible. The series has no candle at
    /// positions outside its runs.
    pub aligned: Vec<Vec<RowRun>>,
}

impl TimeIndex {
    /// Builds the index of `series`; each is strictly increasing.
    #[must_use]
    pub fn of(series: &[&[i64]]) -> Self {
        Self::build(series, true)
    }

    /// The same. With `tries_grid`, series with many gaps are aligned by bitmaps if they lie on one
    /// grid. Otherwise all are merged.
    fn build(series: &[&[i64]], mut tries_grid: bool) -> Self {
        // Similar series have all timestamps after a few unions. The others are united by halves:
        // one union per series would take quadratic time.
        const EAGER_UNIONS: usize = 8;
        // A series of shorter runs, on average, is aligned faster by bitmaps.
        const SHORT_RUN: usize = 24;
        // Start with the longest: it often has all timestamps.
        let longest = series.iter().max_by_key(|one| one.len());
        let mut timestamps = longest.map_or_else(Vec::new, |one| one.to_vec());
        let mut aligned: Vec<Option<Vec<RowRun>>> = vec![None; series.len()];
        let mut united = Vec::new();
        let mut unions = 0;
        let mut late: Vec<Vec<i64>> = Vec::new();
        for (&one, known) in series.iter().zip(0..) {
            let found = align(&timestamps, one);
            if tries_grid && found.len() * SHORT_RUN > one.len() {
                tries_grid = false;
                if let Some((timestamps, aligned)) = time_grid::align_all(series) {
                    return Self {
                        timestamps,
                        aligned,
                    };
                }
            }
            let covered: usize = found.iter().map(RowRun::len).sum();
            if covered == one.len() {
                aligned[known] = Some(found);
            } else if unions < EAGER_UNIONS {
                unite(&timestamps, one, &mut united);
                std::mem::swap(&mut timestamps, &mut united);
                unions += 1;
                // The index has grown, so earlier alignments are invalid.
                aligned.fill(None);
            } else {
                late.push(unaligned(&found, one));
            }
        }
        if !late.is_empty() {
            unite(&timestamps, &union_by_halves(late), &mut united);
            timestamps = united;
            aligned.fill(None);
        }
        let aligned = aligned.into_iter().zip(series);
        let aligned = aligned
            .map(|(found, one)| found.unwrap_or_else(|| align(&timestamps, one)))
            .collect();
        Self {
            timestamps,
            aligned,
        }
    }

    /// The positions of a timeline, ascending; each symbol has `price_types` series.
    #[must_use]
    pub fn timeline(&self, rule: TimelineRule, price_types: usize) -> Vec<u32> {
        let all = 0..self.timestamps.len() as u32;
        match rule {
            TimelineRule::Union => all.collect(),
            TimelineRule::Intersection => self.common_to(&self.aligned),
            TimelineRule::Leader(symbol) => {
                self.common_to(&self.aligned[symbol * price_types..][..price_types])
            }
            TimelineRule::Quorum(quorum) => {
                let symbols = self.aligned.chunks(price_types);
                // The number of symbols without all price types at each position.
                let mut lacking = vec![0_usize; self.timestamps.len()];
                let may_lack = symbols.len() - quorum;
                for aligned in symbols {
                    for gap in united(aligned.iter().flat_map(|one| self.gaps(one)).collect()) {
                        lacking[gap].iter_mut().for_each(|count| *count += 1);
                    }
                }
                all.zip(lacking)
                    .filter_map(|(position, lacking)| (lacking <= may_lack).then_some(position))
                    .collect()
            }
        }
    }

    /// The positions at which all given series have a candle.
    fn common_to(&self, aligned: &[Vec<RowRun>]) -> Vec<u32> {
        let mut kept = vec![true; self.timestamps.len()];
        for gap in aligned.iter().flat_map(|one| self.gaps(one)) {
            kept[gap].fill(false);
        }
        (0..self.timestamps.len() as u32)
            .zip(kept)
            .filter_map(|(position, kept)| kept.then_some(position))
            .collect()
    }

    fn gaps<'a>(&self, aligned: &'a [RowRun]) -> impl Iterator<Item = Range<usize>> + 'a {
        gaps(aligned, 0..self.timestamps.len())
    }
}

/// Carries candles of a series forward into the gaps between its runs, up to the age `max_age_ns`.
/// `before_ns` is the timestamp of the candle before all of them. It counts as the first row.
#[must_use]
pub fn carry_forward(
    index: &[i64],
    aligned: &[RowRun],
    before_ns: Option<i64>,
    max_age_ns: i64,
) -> Vec<RowRun> {
    let rows_before = u64::from(before_ns.is_some());
    let mut carried = Vec::with_capacity(2 * aligned.len() + 1);
    // The latest candle, and the first position after its own.
    let mut latest = before_ns.map(|timestamp_ns| (timestamp_ns, 0));
    let mut position = 0;
    let ends = aligned.iter().map(RowRun::position);
    let runs = aligned.iter().map(Some).chain([None]);
    for (run, end) in runs.zip(ends.chain([index.len()])) {
        if let Some((timestamp_ns, row)) = latest {
            let until_ns = timestamp_ns.saturating_add(max_age_ns);
            let len = index[position..end].partition_point(|&at| at <= until_ns);
            if len > 0 {
                carried.push(RowRun::repeated(position, row, len, timestamp_ns));
            }
        }
        if let Some(run) = run {
            let fresh = run.with_row(run.row() + rows_before);
            carried.push(fresh);
            position = run.positions().end;
            latest = Some((index[position - 1], fresh.last_row()));
        }
    }
    carried
}

/// Finds, for each position, the latest candle that is at least `delay_ns` old and at most
/// `max_age_ns` old.
#[must_use]
pub fn asof(index: &[i64], candles: &[i64], delay_ns: i64, max_age_ns: Option<i64>) -> Vec<RowRun> {
    let mut shown = Vec::with_capacity(candles.len());
    // The first position that shows a candle; `None` if it lies beyond the range of `i64`.
    let shown_from = |candle: usize, searched: usize| {
        let from_ns = candles.get(candle)?.checked_add(delay_ns)?;
        Some(searched + first_not_before(&index[searched..], from_ns))
    };
    let mut from = shown_from(0, 0);
    for (row, &timestamp_ns) in candles.iter().enumerate() {
        let Some(position) = from else { break };
        from = shown_from(row + 1, position);
        let mut end = from.unwrap_or(index.len());
        if let Some(max_age_ns) = max_age_ns {
            let until_ns = timestamp_ns.saturating_add(max_age_ns);
            end = position + index[position..end].partition_point(|&at| at <= until_ns);
        }
        if position < end {
            shown.push(RowRun::repeated(
                position,
                row as u64,
                end - position,
                timestamp_ns,
            ));
        }
    }
    shown
}

/// Merges ranges in any order into ascending ranges that do not touch.
fn united(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut united: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match united.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => united.push(range),
        }
    }
    united
}

/// The parts of a range of positions that lie outside some ascending runs.
pub fn gaps(aligned: &[RowRun], within: Range<usize>) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut before = within.start;
    let end = within.end..within.end;
    let aligned = aligned.iter().map(RowRun::positions).chain([end]);
    aligned.filter_map(move |positions| {
        let gap = before..positions.start.min(within.end);
        before = before.max(positions.end);
        (!gap.is_empty()).then_some(gap)
    })
}

/// The last timestamp up to which everything is final (included): no earlier row can still come. It
/// is the smallest last loaded timestamp, plus delay, of the series with more to come. `i64::MAX`
/// if all have ended.
///
/// `None` if a series has more to come and nothing loaded: then nothing is final.
pub fn safe_horizon<'a>(series: impl IntoIterator<Item = (&'a [i64], i64, bool)>) -> Option<i64> {
    let mut horizon = i64::MAX;
    for (loaded, delay_ns, exhausted) in series {
        if !exhausted {
            horizon = horizon.min(loaded.last()?.saturating_add(delay_ns));
        }
    }
    Some(horizon)
}

/// Writes the sorted union of `a` and `b` into `out` (cleared first).
fn unite(a: &[i64], b: &[i64], out: &mut Vec<i64>) {
    out.clear();
    out.reserve(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let len = common_prefix(&a[i..], &b[j..]);
        out.extend_from_slice(&a[i..i + len]);
        (i, j) = (i + len, j + len);
        if let (Some(&x), Some(&y)) = (a.get(i), b.get(j)) {
            out.push(x.min(y));
            i += usize::from(x < y);
            j += usize::from(y < x);
        }
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
}

/// The timestamps of a series outside its runs.
fn unaligned(runs: &[RowRun], series: &[i64]) -> Vec<i64> {
    let mut left = Vec::new();
    let mut next = 0;
    for run in runs {
        let row = run.row() as usize;
        left.extend_from_slice(&series[next..row]);
        next = row + run.len();
    }
    left.extend_from_slice(&series[next..]);
    left
}

/// The sorted union of sorted lists.
fn union_by_halves(mut lists: Vec<Vec<i64>>) -> Vec<i64> {
    while lists.len() > 1 {
        let mut halves = Vec::with_capacity(lists.len().div_ceil(2));
        let mut left = lists.into_iter();
        while let Some(one) = left.next() {
            let united = match left.next() {
                None => one,
                Some(two) => {
                    let mut united = Vec::new();
                    unite(&one, &two, &mut united);
                    united
                }
            };
            halves.push(united);
        }
        lists = halves;
    }
    lists.pop().unwrap_or_default()
}

/// Finds the row of each timestamp of an index in one series: ascending runs, as long as possible.
#[must_use]
pub fn align(index: &[i64], series: &[i64]) -> Vec<RowRun> {
    let mut runs = Vec::new();
    let (mut position, mut row) = (0, 0);
    while let (Some(&here), Some(&there)) = (index.get(position), series.get(row)) {
        let len = common_prefix(&index[position..], &series[row..]);
        if len > 0 {
            runs.push(RowRun::sequential(position, row as u64, len));
            position += len;
            row += len;
        } else {
            position += first_not_before(&index[position..], there);
            row += first_not_before(&series[row..], here);
        }
    }
    runs
}

/// The number of equal values at the start of both slices.
fn common_prefix(a: &[i64], b: &[i64]) -> usize {
    // Compare blocks as memory, then the values of the first block that differs.
    const BLOCK: usize = 16;
    let (a_blocks, _) = a.as_chunks::<BLOCK>();
    let (b_blocks, _) = b.as_chunks::<BLOCK>();
    let blocks = a_blocks
        .iter()
        .zip(b_blocks)
        .take_while(|(a, b)| a == b)
        .count();
    let start = blocks * BLOCK;
    let rest = a[start..].iter().zip(&b[start..]);
    start + rest.take_while(|(a, b)| a == b).count()
}

/// The index of the first value of `sorted` that is at or after `timestamp`. Tries the first
/// values, then steps that double: the result is usually near the start.
#[inline]
fn first_not_before(sorted: &[i64], timestamp: i64) -> usize {
    const NEAR: usize = 4;
    let near = sorted.iter().take(NEAR).take_while(|&&at| at < timestamp);
    let (mut start, mut step) = (near.count(), 1);
    if start < NEAR {
        return start;
    }
    while let Some(&at) = sorted.get(start + step - 1)
        && at < timestamp
    {
        start += step;
        step *= 2;
    }
    let end = sorted.len().min(start + step);
    start + sorted[start..end].partition_point(|&at| at < timestamp)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn series() -> impl Strategy<Value = Vec<Vec<i64>>> {
        let dense = prop::collection::btree_set(0..40_i64, 0..40);
        let sparse = prop::collection::btree_set(any::<i64>(), 0..20);
        let wide = prop::collection::btree_set(0..2_000_i64, 0..300);
        prop::collection::vec(
            prop_oneof![dense, sparse, wide].prop_map(|set| set.into_iter().collect()),
            // Includes more series than the limit of eager unions.
            1..16,
        )
    }

    fn ages() -> impl Strategy<Value = i64> {
        prop_oneof![0..30_i64, 0..500_i64, 0..=i64::MAX]
    }

    fn oracle(rule: TimelineRule, price_types: usize, series: &[Vec<i64>]) -> Vec<i64> {
        let all: BTreeSet<i64> = series.iter().flatten().copied().collect();
        let complete = |symbol: &[Vec<i64>], at: &i64| symbol.iter().all(|one| one.contains(at));
        let present = |at: &i64| {
            let mut symbols = series.chunks(price_types);
            match rule {
                TimelineRule::Union => true,
                TimelineRule::Intersection => symbols.all(|symbol| complete(symbol, at)),
                TimelineRule::Leader(leader) => symbols
                    .nth(leader)
                    .is_some_and(|symbol| complete(symbol, at)),
                TimelineRule::Quorum(quorum) => {
                    symbols.filter(|symbol| complete(symbol, at)).count() >= quorum
                }
            }
        };
        all.into_iter().filter(present).collect()
    }

    /// The row shown at each position, with the timestamp of its candle.
    fn shown(index: &[i64], runs: &[RowRun]) -> Vec<Option<(u64, i64)>> {
        let mut shown = vec![None; index.len()];
        let mut end = 0;
        for run in runs {
            assert!(!run.is_empty() && end <= run.position(), "{runs:?}");
            end = run.positions().end;
            for position in run.positions() {
                let one = run.within(&(position..position + 1));
                shown[position] = Some((one.row(), one.repeated_ns().unwrap_or(index[position])));
            }
        }
        shown
    }

    /// The same by definition: of the candles that are old enough, the latest, up to the maximum
    /// age.
    fn naively_shown(
        index: &[i64],
        candles: &[i64],
        delay: i64,
        max_age: Option<i64>,
    ) -> Vec<Option<(u64, i64)>> {
        let age = |at: i64, candle: i64| i128::from(at) - i128::from(candle);
        let at = |&at: &i64| {
            let row = candles
                .iter()
                .rposition(|&candle| age(at, candle) >= i128::from(delay))?;
            let fits = max_age.is_none_or(|max_age| age(at, candles[row]) <= i128::from(max_age));
            fits.then_some((row as u64, candles[row]))
        };
        index.iter().map(at).collect()
    }

    proptest! {
        #[test]
        fn time_index_and_timeline_are_what_the_oracle_says(series in series()) {
            let borrowed: Vec<&[i64]> = series.iter().map(Vec::as_slice).collect();
            let index = TimeIndex::of(&borrowed);
            prop_assert_eq!(&index.timestamps, &oracle(TimelineRule::Union, 1, &series));
            prop_assert_eq!(index.aligned.len(), series.len());
            for (one, runs) in series.iter().zip(&index.aligned) {
                for (position, timestamp) in index.timestamps.iter().enumerate() {
                    let expected = one.iter().position(|value| value == timestamp);
                    let aligned = runs.iter().find(|one| one.positions().contains(&position));
                    let row = aligned.map(|one| one.row() as usize + position - one.position());
                    prop_assert_eq!(row, expected);
                }
                // Runs are as long as possible: between two runs the index has timestamps that the
                // series lacks.
                for pair in runs.windows(2) {
                    let ended = (pair[0].positions().end, pair[0].row() + pair[0].len() as u64);
                    prop_assert!(!pair[0].is_empty() && ended.0 < pair[1].position());
                    prop_assert_eq!(ended.1, pair[1].row());
                }
            }
            for price_types in (1..=3).filter(|types| series.len().is_multiple_of(*types)) {
                let symbols = series.len() / price_types;
                let leaders = (0..symbols).map(TimelineRule::Leader);
                let quorums = (1..=symbols).map(TimelineRule::Quorum);
                for rule in [TimelineRule::Union, TimelineRule::Intersection].into_iter().chain(leaders).chain(quorums) {
                    let timeline = index.timeline(rule, price_types);
                    let chosen = timeline.iter().map(|&position| index.timestamps[position as usize]);
                    prop_assert_eq!(chosen.collect::<Vec<_>>(), oracle(rule, price_types, &series), "{:?}", rule);
                }
            }
        }

        #[test]
        fn a_grid_gives_what_merging_gives(
            cells in prop::collection::vec(prop::collection::btree_set(0..3_000_i64, 0..900), 1..12),
            start_ns in prop_oneof![Just(i64::MIN), Just(i64::MAX - 3_000 * 77), -1_000..1_000_i64],
            step_ns in prop_oneof![Just(1_i64), Just(60), 2..77_i64],
            stray in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut series: Vec<Vec<i64>> = cells
                .iter()
                .map(|cells| cells.iter().map(|cell| start_ns + cell * step_ns).collect())
                .collect();
            let longest = series.iter().map(Vec::len).max().unwrap_or(0);
            if let Some(stray) = stray
                && step_ns > 2
                && longest > 0
            {
                // One timestamp between two cells.
                let one = series.iter_mut().max_by_key(|one| one.len()).expect("a series");
                one[stray.index(longest)] += 1;
            }
            let series: Vec<&[i64]> = series.iter().map(Vec::as_slice).collect();
            if let Some((timestamps, aligned)) = time_grid::align_all(&series) {
                let index = TimeIndex { timestamps, aligned };
                prop_assert_eq!(index, TimeIndex::build(&series, false));
            } else {
                // Nearly all are on a grid.
                prop_assert!(longest < 400 || stray.is_some() || step_ns == 1);
            }
        }

        #[test]
        fn what_is_carried_is_the_latest_candle_while_it_is_young(
            series in series(), before in prop::option::of(1..60_i64), max_age in ages(),
        ) {
            let borrowed: Vec<&[i64]> = series.iter().map(Vec::as_slice).collect();
            let index = TimeIndex::of(&borrowed);
            let before = before.and_then(|gap| index.timestamps.first()?.checked_sub(gap));
            for (one, aligned) in series.iter().zip(&index.aligned) {
                let candles: Vec<i64> = before.into_iter().chain(one.iter().copied()).collect();
                let carried = carry_forward(&index.timestamps, aligned, before, max_age);
                let expected = naively_shown(&index.timestamps, &candles, 0, Some(max_age));
                prop_assert_eq!(shown(&index.timestamps, &carried), expected);
            }
        }

        #[test]
        fn asof_shows_the_latest_candle_old_enough(
            series in series(), delay in ages(), max_age in prop::option::of(ages()),
        ) {
            let index = &series[0];
            for candles in &series {
                let found = asof(index, candles, delay, max_age);
                prop_assert_eq!(shown(index, &found), naively_shown(index, candles, delay, max_age));
            }
        }

        #[test]
        fn the_first_not_before_is_found(sorted in prop::collection::btree_set(0..300_i64, 0..200), timestamp in 0..310_i64) {
            let sorted: Vec<i64> = sorted.into_iter().collect();
            let expected = sorted.iter().filter(|&&at| at < timestamp).count();
            prop_assert_eq!(first_not_before(&sorted, timestamp), expected);
        }
    }

    #[test]
    fn identical_series_are_one_row_run() {
        let one = [1, 2, 3];
        let index = TimeIndex::of(&[&one, &one]);
        assert_eq!(index.timestamps, one);
        let whole = RowRun::sequential(0, 0, 3);
        assert_eq!(index.aligned, [[whole], [whole]]);
        assert_eq!(index.timeline(TimelineRule::Intersection, 1), [0, 1, 2]);
    }

    #[test]
    fn what_one_series_lacks_cuts_only_that_series() {
        let (whole, holed): (Vec<i64>, Vec<i64>) = (
            (0..100).collect(),
            (0..100).filter(|at| at % 10 != 5).collect(),
        );
        let index = TimeIndex::of(&[&whole, &holed]);
        assert_eq!(
            index.aligned.iter().map(Vec::len).collect::<Vec<_>>(),
            [1, 11]
        );
        assert_eq!(index.timeline(TimelineRule::Intersection, 1).len(), 90);
        assert_eq!(
            gaps(&index.aligned[1], 20..40).collect::<Vec<_>>(),
            [25..26, 35..36]
        );
    }

    #[test]
    fn a_row_run_is_cut_to_a_range() {
        let sequential = RowRun::sequential(10, 100, 5);
        let cut = |range| {
            let part = sequential.within(&range);
            (part.position(), part.row(), part.len())
        };
        assert_eq!(cut(0..20), (10, 100, 5));
        assert_eq!(cut(12..14), (12, 102, 2));
        assert_eq!(cut(0..11), (10, 100, 1));
        assert_eq!(cut(14..30), (14, 104, 1));
        for empty in [0..10, 15..20, 3..3] {
            assert_eq!(sequential.within(&empty).len(), 0);
        }
        let repeated = RowRun::repeated(10, 100, 5, 7);
        assert_eq!(repeated.within(&(12..14)).row(), 100);
        assert_eq!((sequential.last_row(), repeated.last_row()), (104, 100));
    }

    #[test]
    fn the_horizon_is_the_smallest_last_timestamp_of_unfinished_series() {
        let horizon = |series: &[(&[i64], i64, bool)]| safe_horizon(series.iter().copied());
        assert_eq!(
            horizon(&[(&[1, 5], 0, false), (&[1, 9], 0, false)]),
            Some(5)
        );
        assert_eq!(horizon(&[(&[1, 5], 0, true), (&[1, 9], 0, false)]), Some(9));
        assert_eq!(
            horizon(&[(&[1, 5], 3, false), (&[1, 9], 0, false)]),
            Some(8)
        );
        assert_eq!(horizon(&[(&[5], i64::MAX, false)]), Some(i64::MAX));
        assert_eq!(horizon(&[(&[1, 5], 0, true)]), Some(i64::MAX));
        assert_eq!(horizon(&[(&[], 0, false), (&[1], 0, false)]), None);
        assert_eq!(horizon(&[(&[], 0, true), (&[1], 0, true)]), Some(i64::MAX));
    }
}
