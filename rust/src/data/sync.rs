//! Owns the timeline: which timestamps become slices, and which row of each series belongs to
//! them. Pure functions over strictly increasing `i64` slices; knows neither files nor values.

use crate::request::Timeline;

/// Stands in [`Placement::Rows`] for "this series has no row at this timestamp".
pub const ABSENT: u32 = u32::MAX;

/// Which rows of one series belong to the timestamps of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// The rows are the timeline: row `k` belongs to timestamp `k`. The common case in clean data,
    /// and the one that needs no look-up.
    Identity,
    /// For each timestamp of the timeline, the row, or [`ABSENT`].
    Rows(Vec<u32>),
}

impl Placement {
    /// The row at timestamp `k` of the timeline.
    #[must_use]
    pub fn row(&self, k: usize) -> Option<usize> {
        match self {
            Self::Identity => Some(k),
            Self::Rows(rows) => (rows[k] != ABSENT).then_some(rows[k] as usize),
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
    let mut next = 0;
    timeline.retain(|&timestamp| {
        next = first_not_before(other, next, timestamp);
        other.get(next) == Some(&timestamp)
    });
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

/// Finds the row of each timestamp of the timeline in one series.
#[must_use]
pub fn place(timeline: &[i64], series: &[i64]) -> Placement {
    if timeline == series {
        return Placement::Identity;
    }
    assert!(
        series.len() < ABSENT as usize,
        "a block of a series is shorter than 2^32 rows"
    );
    let mut next = 0;
    let rows = timeline.iter().map(|&timestamp| {
        next = first_not_before(series, next, timestamp);
        if series.get(next) == Some(&timestamp) {
            next as u32
        } else {
            ABSENT
        }
    });
    Placement::Rows(rows.collect())
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
                    let placement = place(&found, one);
                    for (k, timestamp) in found.iter().enumerate() {
                        let expected = one.iter().position(|value| value == timestamp);
                        prop_assert_eq!(placement.row(k), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn identical_series_need_no_look_up() {
        let one = [1, 2, 3];
        let mut found = Vec::new();
        timeline(Timeline::Intersection, &[&one, &one], &mut found);
        assert_eq!(found, one);
        assert_eq!(place(&found, &one), Placement::Identity);
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
