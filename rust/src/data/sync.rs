//! Owns the timeline: which timestamps become slices, and which row of each series belongs to
//! them. Pure functions over strictly increasing `i64` slices; knows neither files nor values.
//!
//! All series of the primary timeframe are placed on one axis, which holds every timestamp of any of
//! them; a timeline is a choice of its positions. So a timestamp that is left out of the timeline is left
//! out once, and does not cut what the series have in one piece.
//!
//! What else a slice shows is one question with two numbers: of the candles that are at least `delay`
//! old at a position, the latest, if it is no older than `max_age`. Without delay and age that is the
//! candle at the position itself; with an age it is carried forward; with the delay of its timeframe it
//! is the latest complete candle. No position ever sees a candle that is not complete when the slice is
//! known.

use std::ops::Range;

use crate::error::Result;
use crate::request::{Timeline, check_timeline};

/// Positions of an axis that follow each other, and the rows of one series that belong to them: rows
/// that follow each other too, or one and the same row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first position.
    pub position: usize,
    /// The row that belongs to it.
    pub row: u64,
    /// How many positions there are.
    pub len: usize,
    /// Where one row belongs to all of the positions: its own timestamp. `None` where each position
    /// has a row of its own, stamped as the position is.
    pub held_ns: Option<i64>,
}

impl Stretch {
    /// The positions.
    #[must_use]
    pub fn positions(&self) -> Range<usize> {
        self.position..self.position + self.len
    }

    /// The part of it that lies in `positions`; of length 0 where they have nothing in common.
    #[must_use]
    pub fn within(&self, positions: &Range<usize>) -> Self {
        let start = self.position.max(positions.start);
        let end = (self.position + self.len).min(positions.end);
        let rows = if self.held_ns.is_none() {
            (start - self.position) as u64
        } else {
            0
        };
        Self {
            position: start,
            row: self.row + rows,
            len: end.saturating_sub(start),
            held_ns: self.held_ns,
        }
    }

    /// The last of its rows.
    #[must_use]
    pub fn last_row(&self) -> u64 {
        match self.held_ns {
            None => self.row + self.len.saturating_sub(1) as u64,
            Some(_) => self.row,
        }
    }
}

/// Which positions become slices, said of series that stand in the order of their symbols, and of each
/// symbol in as many price types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimelineRule {
    /// Those at which every series has a candle.
    Intersection,
    /// All.
    Union,
    /// Those at which every price type of this symbol has a candle.
    Leader(usize),
    /// Those at which so many symbols have a candle of every price type.
    Quorum(usize),
}

impl TimelineRule {
    /// The rule, for symbols in this order.
    ///
    /// # Errors
    ///
    /// Where the leader is none of them, or the quorum is larger than they are many.
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

/// Every timestamp of some series, and where each series has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Axis {
    /// Strictly increasing.
    pub timestamps: Vec<i64>,
    /// For each series in turn, its stretches, ascending and as long as they can be. A position in
    /// none of them is a timestamp that the series does not have.
    pub placed: Vec<Vec<Stretch>>,
}

impl Axis {
    /// The axis of `series`, each strictly increasing.
    #[must_use]
    pub fn of(series: &[&[i64]]) -> Self {
        // The longest first: often it has them all.
        let longest = series.iter().max_by_key(|one| one.len());
        let mut timestamps = longest.map_or_else(Vec::new, |one| one.to_vec());
        let mut placed: Vec<Option<Vec<Stretch>>> = vec![None; series.len()];
        let mut united = Vec::new();
        for number in 0..series.len() {
            let found = place(&timestamps, series[number]);
            if found.iter().map(|stretch| stretch.len).sum::<usize>() < series[number].len() {
                unite(&timestamps, series[number], &mut united);
                std::mem::swap(&mut timestamps, &mut united);
                // Whatever was placed so far was placed on another axis.
                placed.fill(None);
            } else {
                placed[number] = Some(found);
            }
        }
        let placed = placed.into_iter().zip(series);
        let placed = placed
            .map(|(found, one)| found.unwrap_or_else(|| place(&timestamps, one)))
            .collect();
        Self { timestamps, placed }
    }

    /// The positions that a timeline consists of, ascending; each symbol has `price_types` series.
    #[must_use]
    pub fn timeline(&self, rule: TimelineRule, price_types: usize) -> Vec<u32> {
        let all = 0..self.timestamps.len() as u32;
        match rule {
            TimelineRule::Union => all.collect(),
            TimelineRule::Intersection => self.common_to(&self.placed),
            TimelineRule::Leader(symbol) => {
                self.common_to(&self.placed[symbol * price_types..][..price_types])
            }
            TimelineRule::Quorum(quorum) => {
                let symbols = self.placed.chunks(price_types);
                // How many symbols lack something at each position.
                let mut lacking = vec![0_usize; self.timestamps.len()];
                let may_lack = symbols.len() - quorum;
                for placed in symbols {
                    for gap in united(placed.iter().flat_map(|one| self.gaps(one)).collect()) {
                        lacking[gap].iter_mut().for_each(|count| *count += 1);
                    }
                }
                all.zip(lacking)
                    .filter_map(|(position, lacking)| (lacking <= may_lack).then_some(position))
                    .collect()
            }
        }
    }

    /// The positions at which each of some series has a candle.
    fn common_to(&self, placed: &[Vec<Stretch>]) -> Vec<u32> {
        let mut kept = vec![true; self.timestamps.len()];
        for gap in placed.iter().flat_map(|one| self.gaps(one)) {
            kept[gap].fill(false);
        }
        (0..self.timestamps.len() as u32)
            .zip(kept)
            .filter_map(|(position, kept)| kept.then_some(position))
            .collect()
    }

    fn gaps<'a>(&self, placed: &'a [Stretch]) -> impl Iterator<Item = Range<usize>> + 'a {
        gaps(placed, 0..self.timestamps.len())
    }
}

/// Carries candles of a series forward into the gaps between its stretches, as long as they are no older
/// than `max_age_ns`. `before_ns` is the candle before all of them, and counts as a row of its own: the
/// first one.
#[must_use]
pub fn carry_forward(
    axis: &[i64],
    placed: &[Stretch],
    before_ns: Option<i64>,
    max_age_ns: i64,
) -> Vec<Stretch> {
    let rows_before = u64::from(before_ns.is_some());
    let mut carried = Vec::with_capacity(2 * placed.len() + 1);
    // The latest candle, and the first position that it does not stand at itself.
    let mut latest = before_ns.map(|timestamp_ns| (timestamp_ns, 0));
    let mut position = 0;
    let ends = placed.iter().map(|stretch| stretch.position);
    let stretches = placed.iter().map(Some).chain([None]);
    for (stretch, end) in stretches.zip(ends.chain([axis.len()])) {
        if let Some((timestamp_ns, row)) = latest {
            let until_ns = timestamp_ns.saturating_add(max_age_ns);
            let len = axis[position..end].partition_point(|&at| at <= until_ns);
            if len > 0 {
                carried.push(Stretch {
                    position,
                    row,
                    len,
                    held_ns: Some(timestamp_ns),
                });
            }
        }
        if let Some(stretch) = stretch {
            let fresh = Stretch {
                row: stretch.row + rows_before,
                ..*stretch
            };
            carried.push(fresh);
            position = stretch.positions().end;
            latest = Some((axis[position - 1], fresh.last_row()));
        }
    }
    carried
}

/// Places on an axis the candles of a series that are shown from `delay_ns` after their timestamp on,
/// each until the next one is shown or it is older than `max_age_ns`.
#[must_use]
pub fn hold(axis: &[i64], candles: &[i64], delay_ns: i64, max_age_ns: Option<i64>) -> Vec<Stretch> {
    let mut held = Vec::with_capacity(candles.len());
    // The first position at which a candle is shown; none where that is beyond all time.
    let shown_from = |candle: usize, searched: usize| {
        let from_ns = candles.get(candle)?.checked_add(delay_ns)?;
        Some(searched + first_not_before(&axis[searched..], from_ns))
    };
    let mut from = shown_from(0, 0);
    for (row, &timestamp_ns) in candles.iter().enumerate() {
        let Some(position) = from else { break };
        from = shown_from(row + 1, position);
        let mut end = from.unwrap_or(axis.len());
        if let Some(max_age_ns) = max_age_ns {
            let until_ns = timestamp_ns.saturating_add(max_age_ns);
            end = position + axis[position..end].partition_point(|&at| at <= until_ns);
        }
        if position < end {
            held.push(Stretch {
                position,
                row: row as u64,
                len: end - position,
                held_ns: Some(timestamp_ns),
            });
        }
    }
    held
}

/// Ranges in any order as few that ascend and do not meet.
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

/// The positions within a range that lie in none of some ascending stretches, piece by piece.
pub(crate) fn gaps(
    placed: &[Stretch],
    within: Range<usize>,
) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut before = within.start;
    let end = within.end..within.end;
    let placed = placed.iter().map(Stretch::positions).chain([end]);
    placed.filter_map(move |positions| {
        let gap = before..positions.start.min(within.end);
        before = before.max(positions.end);
        (!gap.is_empty()).then_some(gap)
    })
}

/// How far everything is final: up to and including the returned timestamp, no row can still
/// come. It is the smallest "last timestamp loaded" over the series that have more to come, each by its
/// delay later; `i64::MAX` where none has.
///
/// `None` where a series that has more to come has nothing loaded: nothing is final then.
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

/// Finds the row of each timestamp of an axis in one series: ascending stretches, as long as they can
/// be.
#[must_use]
pub fn place(axis: &[i64], series: &[i64]) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let (mut position, mut row) = (0, 0);
    while let (Some(&here), Some(&there)) = (axis.get(position), series.get(row)) {
        let len = common_prefix(&axis[position..], &series[row..]);
        if len > 0 {
            stretches.push(Stretch {
                position,
                row: row as u64,
                len,
                held_ns: None,
            });
            position += len;
            row += len;
        } else {
            position += first_not_before(&axis[position..], there);
            row += first_not_before(&series[row..], here);
        }
    }
    stretches
}

/// How many values two slices have in common before they differ.
fn common_prefix(a: &[i64], b: &[i64]) -> usize {
    // Whole blocks are compared as memory; what differs is then found one by one.
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

/// The index of the first value of `sorted` that is not before `timestamp`. Nearly always it is one of
/// the first; after those, in steps that double.
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
            1..5,
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

    /// The row that is shown at each position, and the timestamp of the candle where it is held.
    fn shown(axis: &[i64], stretches: &[Stretch]) -> Vec<Option<(u64, i64)>> {
        let mut shown = vec![None; axis.len()];
        let mut end = 0;
        for stretch in stretches {
            assert!(stretch.len > 0 && end <= stretch.position, "{stretches:?}");
            end = stretch.positions().end;
            for position in stretch.positions() {
                let one = stretch.within(&(position..position + 1));
                shown[position] = Some((one.row, one.held_ns.unwrap_or(axis[position])));
            }
        }
        shown
    }

    /// The same, as the definition says: of the candles that are at least so old, the latest, if it is not
    /// too old.
    fn naively_shown(
        axis: &[i64],
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
        axis.iter().map(at).collect()
    }

    proptest! {
        #[test]
        fn axis_and_timeline_are_what_the_oracle_says(series in series()) {
            let borrowed: Vec<&[i64]> = series.iter().map(Vec::as_slice).collect();
            let axis = Axis::of(&borrowed);
            prop_assert_eq!(&axis.timestamps, &oracle(TimelineRule::Union, 1, &series));
            prop_assert_eq!(axis.placed.len(), series.len());
            for (one, stretches) in series.iter().zip(&axis.placed) {
                for (position, timestamp) in axis.timestamps.iter().enumerate() {
                    let expected = one.iter().position(|value| value == timestamp);
                    let placed = stretches.iter().find(|one| one.positions().contains(&position));
                    let row = placed.map(|one| one.row as usize + position - one.position);
                    prop_assert_eq!(row, expected);
                }
                // As long as they can be: between two of them the axis has what the series has not.
                for pair in stretches.windows(2) {
                    let ended = (pair[0].position + pair[0].len, pair[0].row + pair[0].len as u64);
                    prop_assert!(pair[0].len > 0 && ended.0 < pair[1].position);
                    prop_assert_eq!(ended.1, pair[1].row);
                }
            }
            for price_types in (1..=3).filter(|types| series.len().is_multiple_of(*types)) {
                let symbols = series.len() / price_types;
                let leaders = (0..symbols).map(TimelineRule::Leader);
                let quorums = (1..=symbols).map(TimelineRule::Quorum);
                for rule in [TimelineRule::Union, TimelineRule::Intersection].into_iter().chain(leaders).chain(quorums) {
                    let timeline = axis.timeline(rule, price_types);
                    let chosen = timeline.iter().map(|&position| axis.timestamps[position as usize]);
                    prop_assert_eq!(chosen.collect::<Vec<_>>(), oracle(rule, price_types, &series), "{:?}", rule);
                }
            }
        }

        #[test]
        fn what_is_carried_is_the_latest_candle_while_it_is_young(
            series in series(), before in prop::option::of(1..60_i64), max_age in ages(),
        ) {
            let borrowed: Vec<&[i64]> = series.iter().map(Vec::as_slice).collect();
            let axis = Axis::of(&borrowed);
            let before = before.and_then(|gap| axis.timestamps.first()?.checked_sub(gap));
            for (one, placed) in series.iter().zip(&axis.placed) {
                let candles: Vec<i64> = before.into_iter().chain(one.iter().copied()).collect();
                let carried = carry_forward(&axis.timestamps, placed, before, max_age);
                let expected = naively_shown(&axis.timestamps, &candles, 0, Some(max_age));
                prop_assert_eq!(shown(&axis.timestamps, &carried), expected);
            }
        }

        #[test]
        fn what_is_held_is_the_latest_candle_old_enough(
            series in series(), delay in ages(), max_age in prop::option::of(ages()),
        ) {
            let axis = &series[0];
            for candles in &series {
                let held = hold(axis, candles, delay, max_age);
                prop_assert_eq!(shown(axis, &held), naively_shown(axis, candles, delay, max_age));
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
    fn identical_series_are_one_stretch() {
        let one = [1, 2, 3];
        let axis = Axis::of(&[&one, &one]);
        assert_eq!(axis.timestamps, one);
        let whole = Stretch {
            position: 0,
            row: 0,
            len: 3,
            held_ns: None,
        };
        assert_eq!(axis.placed, [[whole], [whole]]);
        assert_eq!(axis.timeline(TimelineRule::Intersection, 1), [0, 1, 2]);
    }

    #[test]
    fn what_one_series_lacks_cuts_only_that_series() {
        let (whole, holed): (Vec<i64>, Vec<i64>) = (
            (0..100).collect(),
            (0..100).filter(|at| at % 10 != 5).collect(),
        );
        let axis = Axis::of(&[&whole, &holed]);
        assert_eq!(
            axis.placed.iter().map(Vec::len).collect::<Vec<_>>(),
            [1, 11]
        );
        assert_eq!(axis.timeline(TimelineRule::Intersection, 1).len(), 90);
        assert_eq!(
            gaps(&axis.placed[1], 20..40).collect::<Vec<_>>(),
            [25..26, 35..36]
        );
    }

    #[test]
    fn a_stretch_is_cut_to_a_range() {
        let stretch = Stretch {
            position: 10,
            row: 100,
            len: 5,
            held_ns: None,
        };
        let cut = |range| {
            let part = stretch.within(&range);
            (part.position, part.row, part.len)
        };
        assert_eq!(cut(0..20), (10, 100, 5));
        assert_eq!(cut(12..14), (12, 102, 2));
        assert_eq!(cut(0..11), (10, 100, 1));
        assert_eq!(cut(14..30), (14, 104, 1));
        for empty in [0..10, 15..20, 3..3] {
            assert_eq!(stretch.within(&empty).len, 0);
        }
        let held = Stretch {
            held_ns: Some(7),
            ..stretch
        };
        assert_eq!(held.within(&(12..14)).row, 100);
        assert_eq!((stretch.last_row(), held.last_row()), (104, 100));
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
