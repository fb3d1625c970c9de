//! Owns the timeline: which timestamps become slices, and which row of each series belongs to
//! them. Pure functions over strictly increasing `i64` slices; knows neither files nor values.
//!
//! All series are placed on one axis, which holds every timestamp of any of them; a timeline is a
//! choice of its positions. So a timestamp that is left out of the timeline is left out once, and does
//! not cut what the series have in one piece.

use std::ops::Range;

use crate::request::Timeline;

/// Positions of an axis that follow each other, and the rows of one series that belong to them and
/// follow each other too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first position.
    pub position: usize,
    /// The row that belongs to it.
    pub row: u64,
    /// How many positions and rows there are.
    pub len: usize,
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
        Self {
            position: start,
            row: self.row + (start - self.position) as u64,
            len: end.saturating_sub(start),
        }
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

    /// The positions that a timeline consists of, ascending.
    #[must_use]
    pub fn timeline(&self, rule: Timeline) -> Vec<u32> {
        let positions = 0..self.timestamps.len();
        let all = positions.clone().map(|position| position as u32);
        match rule {
            Timeline::Union => all.collect(),
            Timeline::Intersection => {
                let mut kept = vec![true; self.timestamps.len()];
                for placed in &self.placed {
                    for gap in gaps(placed, positions.clone()) {
                        kept[gap].fill(false);
                    }
                }
                all.zip(kept)
                    .filter_map(|(position, kept)| kept.then_some(position))
                    .collect()
            }
        }
    }
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

/// How far the timeline is final: up to and including the returned timestamp, no row can still
/// come. It is the smallest "last timestamp loaded" over the series that have more to come;
/// `i64::MAX` where none has.
///
/// `None` where a series that has more to come has nothing loaded: nothing is final then.
pub fn safe_horizon<'a>(series: impl IntoIterator<Item = (&'a [i64], bool)>) -> Option<i64> {
    let mut horizon = i64::MAX;
    for (loaded, exhausted) in series {
        if !exhausted {
            horizon = horizon.min(*loaded.last()?);
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
fn place(axis: &[i64], series: &[i64]) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let (mut position, mut row) = (0, 0);
    while let (Some(&here), Some(&there)) = (axis.get(position), series.get(row)) {
        let len = common_prefix(&axis[position..], &series[row..]);
        if len > 0 {
            stretches.push(Stretch {
                position,
                row: row as u64,
                len,
            });
            position += len;
            row += len;
        } else {
            position = first_not_before(axis, position, there);
            row = first_not_before(series, row, here);
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

/// The index of the first value of `sorted` that is not before `timestamp`, searched from `next`
/// on. Step by step: nearly always it is the next one, and every row was decoded one by one too.
#[inline]
fn first_not_before(sorted: &[i64], mut next: usize, timestamp: i64) -> usize {
    while next < sorted.len() && sorted[next] < timestamp {
        next += 1;
    }
    next
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

    fn oracle(rule: Timeline, series: &[Vec<i64>]) -> Vec<i64> {
        let all: BTreeSet<i64> = series.iter().flatten().copied().collect();
        let present = |timestamp: &i64| match rule {
            Timeline::Union => true,
            Timeline::Intersection => series.iter().all(|one| one.contains(timestamp)),
        };
        all.into_iter().filter(present).collect()
    }

    proptest! {
        #[test]
        fn axis_and_timeline_are_what_the_oracle_says(series in series()) {
            let borrowed: Vec<&[i64]> = series.iter().map(Vec::as_slice).collect();
            let axis = Axis::of(&borrowed);
            prop_assert_eq!(&axis.timestamps, &oracle(Timeline::Union, &series));
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
            for &rule in Timeline::ALL {
                let timeline = axis.timeline(rule);
                let chosen = timeline.iter().map(|&position| axis.timestamps[position as usize]);
                prop_assert_eq!(chosen.collect::<Vec<_>>(), oracle(rule, &series));
            }
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
        };
        assert_eq!(axis.placed, [[whole], [whole]]);
        assert_eq!(axis.timeline(Timeline::Intersection), [0, 1, 2]);
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
        assert_eq!(axis.timeline(Timeline::Intersection).len(), 90);
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
    }

    #[test]
    fn the_horizon_is_the_smallest_last_timestamp_of_unfinished_series() {
        assert_eq!(
            safe_horizon([(&[1, 5][..], false), (&[1, 9][..], false)]),
            Some(5)
        );
        assert_eq!(
            safe_horizon([(&[1, 5][..], true), (&[1, 9][..], false)]),
            Some(9)
        );
        assert_eq!(safe_horizon([(&[1, 5][..], true)]), Some(i64::MAX));
        assert_eq!(safe_horizon([(&[][..], false), (&[1][..], false)]), None);
        assert_eq!(
            safe_horizon([(&[][..], true), (&[1][..], true)]),
            Some(i64::MAX)
        );
    }
}
