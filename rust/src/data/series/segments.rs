//! Owns cutting a series into segments, none of which reaches into the time of the next: pure, from
//! the bounds that the files give for their pages.

use crate::data::source::TimeBounds;

/// Consecutive rows of a series, none of them later than any row of a later segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub rows: u64,
    /// Whether the rows are in order among themselves, as far as is known.
    pub order: Order,
    /// Between which timestamps the rows are said to lie, the ends included.
    pub bounds: Option<(i64, i64)>,
}

/// What is known of the order of a segment's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    /// They are not, or are short enough to be looked at and held whole.
    LookAtAll,
    /// To be found out by a pass that keeps little of them.
    Scan,
}

/// The segments that pages make up, as short as they can be, and whether a timestamp may both end
/// one and begin the next.
pub(super) fn segments(pages: &[TimeBounds]) -> (Vec<Segment>, bool) {
    // For each page, the earliest that comes after it.
    let mut earliest = None;
    let mut earliest_after: Vec<Option<i64>> = pages
        .iter()
        .rev()
        .map(|page| {
            let after = earliest;
            earliest = Some(after.map_or(page.min_ns, |after: i64| after.min(page.min_ns)));
            after
        })
        .collect();
    earliest_after.reverse();
    let mut segments = Vec::new();
    let mut may_repeat = false;
    let (mut rows, mut min_ns, mut max_ns) = (0, i64::MAX, i64::MIN);
    for (page, after) in pages.iter().zip(earliest_after) {
        rows += page.rows as u64;
        min_ns = min_ns.min(page.min_ns);
        max_ns = max_ns.max(page.max_ns);
        if after.is_none_or(|after| max_ns <= after) {
            may_repeat |= after == Some(max_ns);
            segments.push(Segment {
                rows,
                order: Order::LookAtAll,
                bounds: Some((min_ns, max_ns)),
            });
            (rows, min_ns, max_ns) = (0, i64::MAX, i64::MIN);
        }
    }
    (segments, may_repeat)
}

/// The first segment as it is, all others as one: memory and time for them are spent once the
/// first one has been used.
pub(super) fn first_and_rest(segments: &[Segment]) -> Vec<Segment> {
    let Some((first, rest)) = segments.split_first() else {
        return Vec::new();
    };
    let rest = rest.iter().copied().reduce(|all, one| Segment {
        rows: all.rows + one.rows,
        bounds: all
            .bounds
            .zip(one.bounds)
            .map(|(all, one)| (all.0.min(one.0), all.1.max(one.1))),
        ..all
    });
    let rest = rest.map(|rest| Segment {
        order: Order::Scan,
        ..rest
    });
    [*first].into_iter().chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page((min_ns, length, rows): (i64, i64, usize)) -> TimeBounds {
        TimeBounds {
            rows,
            min_ns,
            max_ns: min_ns.saturating_add(length),
        }
    }

    proptest! {
        #[test]
        fn no_segment_reaches_into_the_next_one(
            pages in prop::collection::vec(
                (prop_oneof![0..30_i64, Just(i64::MAX)], 0..4_i64, 1..9_usize).prop_map(page), 0..12)
        ) {
            let (segments, may_repeat) = segments(&pages);
            let rows = |segments: &[Segment]| segments.iter().map(|one| one.rows).sum::<u64>();
            prop_assert_eq!(rows(&segments), pages.iter().map(|page| page.rows as u64).sum::<u64>());
            let bounds: Vec<_> = segments.iter().filter_map(|one| one.bounds).collect();
            prop_assert_eq!(bounds.len(), segments.len());
            for pair in bounds.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0);
            }
            prop_assert_eq!(may_repeat, bounds.windows(2).any(|pair| pair[0].1 == pair[1].0));
            // As short as they can be: no page border inside one would do.
            let mut row = 0;
            for (at, pair) in pages.windows(2).enumerate() {
                row += pair[0].rows as u64;
                let before = pages[..=at].iter().map(|page| page.max_ns).max();
                let after = pages[at + 1..].iter().map(|page| page.min_ns).min();
                let ends_there = (0..segments.len()).any(|last| rows(&segments[..=last]) == row);
                prop_assert_eq!(ends_there, before <= after);
            }
        }
    }
}
