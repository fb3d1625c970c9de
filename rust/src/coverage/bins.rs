//! Counts by time in bins, with several counters per bin. The bins widen as the time that they span
//! grows. Does no I/O.

use std::ops::RangeInclusive;

use slices_core::request::Timeframe;

/// The most bins for a number of series. Very many series get fewer, so that all bins together take
/// some tens of megabytes at most.
pub(crate) fn most_bins(series: usize) -> usize {
    const CELLS: usize = 1_000_000;
    (CELLS / series.max(1)).clamp(64, 512)
}

/// Consecutive bins, each of `1 << shift` bars of a timeframe: bar `b` lies in bin `b >> shift`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bins {
    shift: u32,
    first: i64,
    last: i64,
}

impl Bins {
    fn of_bar(bar: i64) -> Self {
        Self {
            shift: 0,
            first: bar,
            last: bar,
        }
    }

    pub fn len(&self) -> usize {
        (self.last - self.first + 1) as usize
    }

    /// The narrowest bins that cover both, if there are at most `most`; otherwise wider ones.
    pub fn covering(self, other: Self, most: usize) -> Self {
        let shift = self.shift.max(other.shift);
        let (one, two) = (self.widened_to(shift), other.widened_to(shift));
        let mut all = Self {
            shift,
            first: one.first.min(two.first),
            last: one.last.max(two.last),
        };
        while all.len() > most {
            all = all.widened_to(all.shift + 1);
        }
        all
    }

    fn widened_to(self, shift: u32) -> Self {
        let by = shift - self.shift;
        Self {
            shift,
            first: self.first >> by,
            last: self.last >> by,
        }
    }

    /// Start of the bin at an index, or of the one behind the last. Clamped to the range of `i64`.
    pub fn start_ns(&self, place: usize, timeframe: &Timeframe) -> i64 {
        timeframe.bar_open_ns((self.first + place as i64) << self.shift)
    }

    /// Length of a bin, in bars.
    pub fn bars(&self) -> u64 {
        1 << self.shift
    }
}

/// Counters by time.
///
/// The length of a bin is the smallest power of two of bars that keeps the number of bins within
/// the limit. So the first and the last timestamp alone decide the bins, in whatever order
/// timestamps come.
#[derive(Debug, Clone)]
pub(crate) struct TimeCounts {
    timeframe: Timeframe,
    /// Number of counters per bin.
    width: usize,
    most: usize,
    bins: Option<Bins>,
    /// The counters, bin by bin.
    counts: Vec<u64>,
    /// The timestamps of the bin used last, and its index.
    recent: Option<(RangeInclusive<i64>, usize)>,
}

impl TimeCounts {
    /// Creates counters without a bin; later at most `most` bins, with `width` counters each.
    pub fn new(timeframe: &Timeframe, width: usize, most: usize) -> Self {
        debug_assert!(width > 0 && most > 1);
        Self {
            timeframe: timeframe.clone(),
            width,
            most,
            bins: None,
            counts: Vec::new(),
            recent: None,
        }
    }

    /// The most bins.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The bins in use, from the first to the last; `None` before the first count.
    pub fn bins(&self) -> Option<Bins> {
        self.bins
    }

    /// The counters of all bins, bin by bin.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks_exact(self.width)
    }

    /// The counters of the bin of a timestamp.
    pub fn at(&mut self, timestamp_ns: i64) -> &mut [u64] {
        let place = match &self.recent {
            Some((timestamps, place)) if timestamps.contains(&timestamp_ns) => *place,
            _ => self.look_up(timestamp_ns),
        };
        &mut self.counts[place * self.width..][..self.width]
    }

    fn look_up(&mut self, timestamp_ns: i64) -> usize {
        let bar = self.timeframe.bar(timestamp_ns);
        let own = Bins::of_bar(bar);
        let bins = self.bins.map_or(own, |bins| bins.covering(own, self.most));
        self.extend_to(bins);
        let place = ((bar >> bins.shift) - bins.first) as usize;
        let start_ns = bins.start_ns(place, &self.timeframe);
        let next_ns = bins.start_ns(place + 1, &self.timeframe);
        // The largest timestamp is looked up anew each time.
        self.recent = Some((start_ns..=next_ns - 1, place));
        place
    }

    /// Moves the counters into bins that cover the present ones and are no narrower.
    pub fn extend_to(&mut self, bins: Bins) {
        if self.bins == Some(bins) {
            return;
        }
        self.recent = None;
        if let Some(own) = self.bins {
            let wide = own.widened_to(bins.shift);
            self.widen(own, wide);
            let before = (wide.first - bins.first) as usize * self.width;
            self.counts.splice(..0, std::iter::repeat_n(0, before));
        }
        self.counts.resize(bins.len() * self.width, 0);
        self.bins = Some(bins);
    }

    fn widen(&mut self, own: Bins, wide: Bins) {
        let by = wide.shift - own.shift;
        if by == 0 {
            return;
        }
        for place in 0..own.len() {
            // The target never lies behind the source, so no counter is added twice.
            let into = (((own.first + place as i64) >> by) - wide.first) as usize;
            for counter in 0..self.width {
                let count = std::mem::take(&mut self.counts[place * self.width + counter]);
                self.counts[into * self.width + counter] += count;
            }
        }
        self.counts.truncate(wide.len() * self.width);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn any_timestamp() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => (0..200_i64).prop_map(|minute| minute * 60_000_000_000 + 7),
            2 => -1_000_000_000_000_000..1_000_000_000_000_000_i64,
            1 => any::<i64>(),
            1 => prop::sample::select(vec![i64::MIN, i64::MAX - 1, i64::MAX]),
        ]
    }

    /// The bins by their definition: the smallest power of two that gives at most `most`.
    fn naive(timeframe: &Timeframe, timestamps: &[i64], most: i64) -> BTreeMap<i64, u64> {
        let bars = || timestamps.iter().map(|&at| timeframe.bar(at));
        let (Some(first), Some(last)) = (bars().min(), bars().max()) else {
            return BTreeMap::new();
        };
        let shift = (0..).find(|shift| (last >> shift) - (first >> shift) < most);
        let shift = shift.expect("a width that is enough");
        let mut counts: BTreeMap<_, _> = (first >> shift..=last >> shift)
            .map(|bin| (timeframe.bar_open_ns(bin << shift), 0))
            .collect();
        for bar in bars() {
            *counts
                .entry(timeframe.bar_open_ns(bar >> shift << shift))
                .or_default() += 1;
        }
        counts
    }

    fn shown(counts: &TimeCounts) -> BTreeMap<i64, u64> {
        let start = |place| {
            counts
                .bins
                .map(|bins| bins.start_ns(place, &counts.timeframe))
        };
        let rows = counts.rows().enumerate();
        rows.map(|(place, row)| (start(place).expect("bins"), row[1]))
            .collect()
    }

    proptest! {
        #[test]
        fn counts_lie_in_the_bins_that_the_ends_ask_for(
            timestamps in prop::collection::vec(any_timestamp(), 0..60),
            others in prop::collection::vec(any_timestamp(), 0..60),
            most in 2..12_usize,
            timeframe in prop::sample::select(vec!["S1", "M1", "W1"]),
        ) {
            let timeframe: Timeframe = timeframe.parse().expect("a timeframe");
            let counted = |timestamps: &[i64]| {
                let mut counts = TimeCounts::new(&timeframe, 2, most);
                timestamps.iter().for_each(|&at| counts.at(at)[1] += 1);
                counts
            };
            let (mut one, two) = (counted(&timestamps), counted(&others));
            prop_assert_eq!(shown(&one), naive(&timeframe, &timestamps, most as i64));
            prop_assert!(one.rows().all(|row| row[0] == 0));
            // Both on the bins that they need together.
            if let (Some(bins), Some(other)) = (one.bins(), two.bins()) {
                one.extend_to(bins.covering(other, most));
                let all: Vec<_> = timestamps.iter().chain(&others).copied().collect();
                let bins: Vec<_> = naive(&timeframe, &all, most as i64).into_keys().collect();
                prop_assert_eq!(shown(&one).into_keys().collect::<Vec<_>>(), bins);
                let counted: u64 = one.rows().map(|row| row[1]).sum();
                prop_assert_eq!(counted, timestamps.len() as u64);
            }
        }
    }

    #[test]
    fn very_many_series_share_fewer_bins() {
        assert_eq!(
            [0, 1, 100, 4_000, 65_534].map(most_bins),
            [512, 512, 512, 250, 64]
        );
    }
}
