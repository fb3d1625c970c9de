//! Owns the timeline: which timestamps become slices, and which row of each series belongs to
//! them. Pure functions over strictly increasing `i64` slices; knows neither files nor values.

use std::ops::Range;

use crate::request::Timeline;

/// Slices of a timeline that follow each other, and the rows of one series that belong to them and
/// follow each other too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The first timestamp of the timeline.
    pub slice: usize,
    /// The row that belongs to it.
    pub row: u64,
    /// How many timestamps and rows there are.
    pub len: usize,
}

impl Stretch {
    /// The timestamps of the timeline.
    #[must_use]
    pub fn slices(&self) -> Range<usize> {
        self.slice..self.slice + self.len
    }

    /// The part of it that lies in `slices`; of length 0 where they have nothing in common.
    #[must_use]
    pub fn within(&self, slices: &Range<usize>) -> Self {
        let start = self.slice.max(slices.start);
        let end = (self.slice + self.len).min(slices.end);
        Self {
            slice: start,
            row: self.row + (start - self.slice) as u64,
            len: end.saturating_sub(start),
        }
    }
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

/// The timeline over `series`, each strictly increasing, into `timeline` (cleared first).
pub fn timeline(rule: Timeline, series: &[&[i64]], timeline: &mut Vec<i64>) {
    timeline.clear();
    // The shortest first: it bounds the intersection, and the union is the same in any order.
    let Some(first) = (0..series.len()).min_by_key(|&index| series[index].len()) else {
        return;
    };
    timeline.extend_from_slice(series[first]);
    let mut scratch = Vec::new();
    for (index, other) in series.iter().enumerate() {
        if index == first || timeline == other {
            continue;
        }
        match rule {
            Timeline::Intersection => intersect(timeline, other),
            Timeline::Union => {
                unite(timeline, other, &mut scratch);
                std::mem::swap(timeline, &mut scratch);
            }
        }
    }
}

/// Keeps of `timeline` what also occurs in `other`.
fn intersect(timeline: &mut Vec<i64>, other: &[i64]) {
    let (mut kept, mut read, mut next) = (0, 0, 0);
    while read < timeline.len() && next < other.len() {
        let len = common_prefix(&timeline[read..], &other[next..]);
        timeline.copy_within(read..read + len, kept);
        (kept, read, next) = (kept + len, read + len, next + len);
        if let (Some(&mine), Some(&theirs)) = (timeline.get(read), other.get(next)) {
            read = first_not_before(timeline, read, theirs);
            next = first_not_before(other, next, mine);
        }
    }
    timeline.truncate(kept);
}

/// Writes the sorted union of `a` and `b` into `out` (cleared first).
fn unite(a: &[i64], b: &[i64], out: &mut Vec<i64>) {
    out.clear();
    out.reserve(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        out.push(x.min(y));
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
}

/// Finds the row of each timestamp of the timeline in one series: ascending stretches, as long as
/// they can be. A timestamp in none of them is not in the series.
#[must_use]
pub fn place(timeline: &[i64], series: &[i64]) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let (mut slice, mut row) = (0, 0);
    while slice < timeline.len() {
        row = first_not_before(series, row, timeline[slice]);
        let len = common_prefix(&timeline[slice..], &series[row..]);
        if len == 0 {
            slice = first_not_before(
                timeline,
                slice,
                series.get(row).copied().unwrap_or(i64::MAX),
            );
            if row == series.len() {
                break;
            }
            continue;
        }
        stretches.push(Stretch {
            slice,
            row: row as u64,
            len,
        });
        slice += len;
        row += len;
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
        fn the_timeline_is_what_the_oracle_says(series in series()) {
            let borrowed: Vec<&[i64]> = series.iter().map(Vec::as_slice).collect();
            for &rule in Timeline::ALL {
                let mut found = vec![17];
                timeline(rule, &borrowed, &mut found);
                prop_assert_eq!(&found, &oracle(rule, &series));
                for one in &series {
                    let stretches = place(&found, one);
                    for (slice, timestamp) in found.iter().enumerate() {
                        let expected = one.iter().position(|value| value == timestamp);
                        let placed = stretches.iter().find(|one| one.slices().contains(&slice));
                        let row = placed.map(|one| one.row as usize + slice - one.slice);
                        prop_assert_eq!(row, expected);
                    }
                    // As long as they can be: the next one continues neither slices nor rows.
                    for pair in stretches.windows(2) {
                        let ended = (pair[0].slice + pair[0].len, pair[0].row + pair[0].len as u64);
                        prop_assert!(pair[0].len > 0 && ended.0 <= pair[1].slice && ended.1 <= pair[1].row);
                        prop_assert_ne!(ended, (pair[1].slice, pair[1].row));
                    }
                }
            }
        }
    }

    #[test]
    fn identical_series_are_one_stretch() {
        let one = [1, 2, 3];
        let mut found = Vec::new();
        timeline(Timeline::Intersection, &[&one, &one], &mut found);
        assert_eq!(found, one);
        let whole = Stretch {
            slice: 0,
            row: 0,
            len: 3,
        };
        assert_eq!(place(&found, &one), [whole]);
    }

    #[test]
    fn a_stretch_is_cut_to_a_range() {
        let stretch = Stretch {
            slice: 10,
            row: 100,
            len: 5,
        };
        let cut = |range| {
            let part = stretch.within(&range);
            (part.slice, part.row, part.len)
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
