//! Merges the ranges of bytes that are read from an object.

use std::ops::Range;

/// A gap of at most this size is read too, rather than in two requests: it takes less time than an
/// answer takes to begin. Larger ones lie between the pages of a window, which saves bytes.
pub(super) const GAP_BYTES: u64 = 128 << 10;

/// A request reads at most this much, so that a large range arrives over several connections.
pub(super) const REQUEST_BYTES: u64 = 64 << 20;

/// Whether two ranges have a byte in common.
pub(super) fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The ranges in order, with small gaps closed. Empty ones are left out.
pub(super) fn merged(ranges: impl IntoIterator<Item = Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges
        .into_iter()
        .filter(|range| !range.is_empty())
        .collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// The parts of a range that lie in none of `known`, which are in order and do not overlap.
pub(super) fn missing(
    range: Range<u64>,
    known: impl IntoIterator<Item = Range<u64>>,
) -> Vec<Range<u64>> {
    let mut left = range;
    let mut missing = Vec::new();
    for known in known {
        if known.end <= left.start {
            continue;
        }
        if known.start >= left.end {
            break;
        }
        if known.start > left.start {
            missing.push(left.start..known.start);
        }
        left.start = known.end.min(left.end);
    }
    if !left.is_empty() {
        missing.push(left);
    }
    missing
}

/// A range in requests of at most [`REQUEST_BYTES`].
pub(super) fn requests(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range
        .step_by(REQUEST_BYTES as usize)
        .map(move |start| start..end.min(start.saturating_add(REQUEST_BYTES)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_gaps_are_closed() {
        let ranges = [10..20, 0..5, 22..30, 100..100, 90..95];
        assert_eq!(merged(ranges.clone(), 2), [0..5, 10..30, 90..95]);
        assert_eq!(merged(ranges, 100), vec![0..95]);
    }

    #[test]
    fn large_ranges_become_several_requests() {
        let all: Vec<_> = requests(5..5 + 2 * REQUEST_BYTES + 1).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[2], 5 + 2 * REQUEST_BYTES..5 + 2 * REQUEST_BYTES + 1);
    }

    proptest! {
        /// Byte by byte: what is missing and what is known is the range.
        #[test]
        fn missing_bytes_are_those_that_are_not_known(
            range in (0_u64..60, 0_u64..60),
            known in proptest::collection::vec((0_u64..60, 0_u64..60), 0..6),
        ) {
            let ordered = |(a, b): (u64, u64)| a.min(b)..a.max(b);
            let range = ordered(range);
            let known = merged(known.into_iter().map(ordered), 0);
            let parts = missing(range.clone(), known.clone());
            for byte in 0..60 {
                let is_known = known.iter().any(|part| part.contains(&byte));
                let is_missing = parts.iter().any(|part| part.contains(&byte));
                prop_assert_eq!(is_missing, range.contains(&byte) && !is_known);
            }
        }
    }
}
