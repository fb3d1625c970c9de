//! Cuts a series into segments that do not overlap in time, from the timestamp bounds of its pages.
//! Does no I/O.

use slices_parquet::PageBounds;

/// Consecutive rows of a series, none later than any row of a later segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub rows: u64,
    /// The known order of the rows.
    pub order: Order,
}

/// The order of the rows of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    /// Out of order, or few enough to be read and checked as a whole.
    Whole,
    /// Unknown; a pass that keeps little memory finds out.
    Scan,
}

/// The segments of some pages, as short as possible. Also returns whether a timestamp may end one
/// segment and start the next.
pub(super) fn segments(pages: &[PageBounds]) -> (Vec<Segment>, bool) {
    // The smallest timestamp after each page.
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
    let (mut rows, mut max_ns) = (0, i64::MIN);
    for (page, after) in pages.iter().zip(earliest_after) {
        rows += page.rows as u64;
        max_ns = max_ns.max(page.max_ns);
        if after.is_none_or(|after| max_ns <= after) {
            may_repeat |= after == Some(max_ns);
            segments.push(Segment {
                rows,
                order: Order::Whole,
            });
            (rows, max_ns) = (0, i64::MIN);
        }
    }
    (segments, may_repeat)
}

/// The first segment as it is, and all others as one. The others cost memory and time only after
/// the first has been used.
pub(super) fn first_and_rest(segments: &[Segment]) -> Vec<Segment> {
    let Some((first, rest)) = segments.split_first() else {
        return Vec::new();
    };
    [*first].into_iter().chain(as_one(rest)).collect()
}

/// All segments as one to be scanned; `None` for an empty list.
pub(super) fn as_one(segments: &[Segment]) -> Option<Segment> {
    (!segments.is_empty()).then(|| Segment {
        rows: segments.iter().map(|segment| segment.rows).sum(),
        order: Order::Scan,
    })
}

/// All segments as one to be checked as a whole; `None` for an empty list.
pub(super) fn as_whole(segments: &[Segment]) -> Option<Segment> {
    as_one(segments).map(|segment| Segment {
        order: Order::Whole,
        ..segment
    })
}

/// The timestamp bounds of the pages, over all rows to read.
#[derive(Debug, Default)]
pub(super) struct SegmentBounds(Vec<(u64, PageBounds)>);

impl SegmentBounds {
    pub fn new(pages: &[PageBounds]) -> Self {
        let mut end = 0;
        let ends = pages.iter().map(|page| {
            end += page.rows as u64;
            (end, *page)
        });
        Self(ends.collect())
    }

    /// The first row outside the bounds of its page, counted from `first_row`, and the page.
    pub fn contradicted(&self, first_row: u64, timestamps: &[i64]) -> Option<(usize, PageBounds)> {
        let first_page = self.0.partition_point(|&(end, _)| end <= first_row);
        let mut checked = 0;
        for &(end, page) in &self.0[first_page..] {
            let of_page = usize::try_from(end - first_row).unwrap_or(usize::MAX);
            let part = timestamps.get(checked..of_page.min(timestamps.len()))?;
            let is_outside = |at: &i64| *at < page.min_ns || *at > page.max_ns;
            // No early exit, so that the compiler can compare several values at a time.
            if part.iter().filter(|at| is_outside(at)).count() > 0 {
                return Some((checked + part.iter().position(is_outside)?, page));
            }
            checked += part.len();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page((min_ns, length, rows): (i64, i64, usize)) -> PageBounds {
        PageBounds {
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
            let mut left = pages.iter();
            let bounds: Vec<_> = segments
                .iter()
                .map(|segment| {
                    let (mut rows, mut bounds) = (0, (i64::MAX, i64::MIN));
                    while rows < segment.rows {
                        let page = left.next().expect("segments end where pages do");
                        rows += page.rows as u64;
                        bounds = (bounds.0.min(page.min_ns), bounds.1.max(page.max_ns));
                    }
                    bounds
                })
                .collect();
            for pair in bounds.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0);
            }
            prop_assert_eq!(may_repeat, bounds.windows(2).any(|pair| pair[0].1 == pair[1].0));
            // Segments are as short as possible: no page boundary inside one could end it.
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

    #[test]
    fn rows_are_checked_against_the_bounds_of_their_own_page() {
        let pages = [(0, 9, 3), (5, 5, 2), (20, 0, 1)].map(page);
        let bounds = SegmentBounds::new(&pages);
        let outside = |first_row, timestamps: &[i64]| {
            let found = bounds.contradicted(first_row, timestamps);
            found.map(|(row, page)| (row, page.min_ns))
        };
        assert_eq!(outside(0, &[0, 9, 4, 5, 10, 20]), None);
        assert_eq!(outside(0, &[0, 9, 4, 5, 11, 20]), Some((4, 5)));
        assert_eq!(outside(2, &[-1]), Some((0, 0)));
        assert_eq!(outside(2, &[9, 4]), Some((1, 5)));
        assert_eq!(outside(5, &[21]), Some((0, 20)));
        assert_eq!(outside(3, &[]), None);
        assert_eq!(SegmentBounds::default().contradicted(7, &[1]), None);
    }
}
