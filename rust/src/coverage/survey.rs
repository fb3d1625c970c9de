//! Counts dropped rows and missing bars of a series while it is read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::coverage::bins::TimeCounts;
use slices_core::request::Timeframe;
use slices_core::session::SessionFilter;
use slices_engine::{ObservedSeries, SeriesObserver};

/// The counts of a series beside its report.
pub(super) struct SeriesSurvey {
    /// Rows that the session filter or the duplicate rule dropped. Duplicates count at their
    /// floored timestamp, if the request floors.
    pub dropped: TimeCounts,
    pub gaps: GapCount,
}

impl SeriesSurvey {
    pub fn new(series: &ObservedSeries<'_>, bins: usize) -> Self {
        Self {
            dropped: TimeCounts::new(series.timeframe, 1, bins),
            gaps: GapCount::new(series.timeframe, series.session.clone()),
        }
    }
}

/// A survey that the observer fills, and that is read at the end.
pub(super) type SharedSurvey = Arc<Mutex<SeriesSurvey>>;

/// Fills a shared survey.
pub(super) struct Surveyor(pub SharedSurvey);

impl SeriesObserver for Surveyor {
    fn candles(&mut self, timestamps: &[i64]) {
        lock(&self.0).gaps.add(timestamps);
    }

    fn dropped(&mut self, timestamps: &mut dyn Iterator<Item = i64>) {
        let dropped = &mut lock(&self.0).dropped;
        timestamps.for_each(|at| dropped.at(at)[0] += 1);
    }
}

/// No code panics while it holds the lock.
pub(super) fn lock(survey: &SharedSurvey) -> MutexGuard<'_, SeriesSurvey> {
    survey.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bars missing between two neighbouring candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MissingBars {
    pub bars: u64,
    /// The candle before them.
    pub last_before_ns: i64,
    /// The candle after them.
    pub first_after_ns: i64,
}

/// Counts the stretches between neighbouring candles with bars of the timeframe's grid that the
/// session filter would keep.
pub(super) struct GapCount {
    timeframe: Timeframe,
    session: SessionFilter,
    previous_ns: Option<i64>,
    /// Number of stretches.
    pub gaps: u64,
    /// Number of bars in all stretches.
    pub bars: u64,
    /// The stretch with the most bars; the first of several.
    pub longest: Option<MissingBars>,
}

impl GapCount {
    fn new(timeframe: &Timeframe, session: SessionFilter) -> Self {
        Self {
            timeframe: timeframe.clone(),
            session,
            previous_ns: None,
            gaps: 0,
            bars: 0,
            longest: None,
        }
    }

    /// Adds the next candles: strictly increasing, and later than all before.
    fn add(&mut self, timestamps: &[i64]) {
        let duration_ns = self.timeframe.duration_ns().unsigned_abs();
        for &timestamp_ns in timestamps {
            let previous_ns = self.previous_ns.replace(timestamp_ns);
            // Candles at most one bar apart have no bar between them.
            if let Some(previous_ns) = previous_ns
                && timestamp_ns.abs_diff(previous_ns) > duration_ns
            {
                self.add_gap(previous_ns, timestamp_ns);
            }
        }
    }

    fn add_gap(&mut self, last_before_ns: i64, first_after_ns: i64) {
        let bars = self.open_bars(last_before_ns, first_after_ns);
        if bars == 0 {
            return;
        }
        self.gaps += 1;
        self.bars += bars;
        if self.longest.is_none_or(|longest| longest.bars < bars) {
            self.longest = Some(MissingBars {
                bars,
                last_before_ns,
                first_after_ns,
            });
        }
    }

    /// The bars between those of two candles that open in trading hours. Steps over stretches of
    /// trading hours, not over bars. So a closure of years takes at most one step per week.
    fn open_bars(&mut self, before_ns: i64, after_ns: i64) -> u64 {
        let end = self.timeframe.bar(after_ns);
        let mut bar = self.timeframe.bar(before_ns) + 1;
        let mut open_bars = 0;
        while bar < end {
            // The bar opens between the two candles, so `i64` holds its opening.
            let (is_open, stretch_end_ns) = self.session.stretch(self.timeframe.bar_open_ns(bar));
            let next = match stretch_end_ns {
                // The first bar that opens at or after the end of the stretch.
                Some(stretch_end_ns) => end.min(self.timeframe.bar(stretch_end_ns - 1) + 1),
                None => end,
            };
            if is_open {
                open_bars += next.abs_diff(bar);
            }
            bar = next;
        }
        open_bars
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use slices_core::request::{Session, parse_timestamp};
    use slices_core::session::Hours;

    const SECOND: i64 = 1_000_000_000;

    fn count(timeframe: &str, session: Session) -> GapCount {
        let timeframe = timeframe.parse().expect("a timeframe");
        GapCount::new(&timeframe, SessionFilter::new(session, &timeframe, true))
    }

    fn ns(text: &str) -> i64 {
        parse_timestamp(text).expect(text)
    }

    #[test]
    fn a_weekend_is_a_gap_only_where_it_has_trading_hours() {
        // The FX week ends on Friday at 21:00Z and begins on Sunday at 21:00Z.
        let candles = [
            ns("2024-07-05T20:59"),
            ns("2024-07-07T21:00"),
            ns("2024-07-07T21:03"),
        ];
        let mut fx = count("M1", Session::Fx);
        fx.add(&candles);
        let two = MissingBars {
            bars: 2,
            last_before_ns: candles[1],
            first_after_ns: candles[2],
        };
        assert_eq!((fx.gaps, fx.bars, fx.longest), (1, 2, Some(two)));
        let mut all = count("M1", Session::None);
        all.add(&candles[..1]);
        all.add(&candles[1..]);
        assert_eq!((all.gaps, all.bars), (2, 2_880 + 2));
        assert_eq!(all.longest.map(|gap| gap.first_after_ns), Some(candles[1]));
    }

    #[test]
    fn days_that_begin_when_clocks_say_so_have_no_gap() {
        let mut days = count("D1", Session::None);
        // Midnight in a zone of daylight saving: a day of 25 hours.
        days.add(&["2024-10-25T22:00", "2024-10-26T22:00", "2024-10-27T23:00"].map(ns));
        assert_eq!(days.gaps, 0);
        days.add(&["2024-10-29T23:00"].map(ns));
        assert_eq!((days.gaps, days.bars), (1, 1));
    }

    #[test]
    fn the_longest_closure_there_is_takes_no_time_and_does_not_overflow() {
        for (timeframe, session) in [
            ("S1", Session::None),
            ("S1", Session::Fx),
            ("D1", Session::Fx),
        ] {
            let mut gaps = count(timeframe, session);
            gaps.add(&[i64::MIN, i64::MAX]);
            assert_eq!(gaps.gaps, 1, "{timeframe} {session}");
            assert!(gaps.bars > 1 << 17, "{timeframe} {session}");
        }
    }

    proptest! {
        #[test]
        fn open_bars_are_those_that_a_walk_from_bar_to_bar_finds(
            seconds in prop::collection::btree_set(-200..2_000_i64, 1..40),
            edges in prop::collection::btree_set(-300..2_100_i64, 0..12),
            timeframe in prop::sample::select(vec!["S1", "S7", "M1"]),
            filtered in any::<bool>(),
        ) {
            let timestamps: Vec<_> = seconds.into_iter().map(|second| second * SECOND).collect();
            let edges: Vec<_> = edges.into_iter().map(|second| second * SECOND / 3).collect();
            let (opens, closes): (Vec<_>, Vec<_>) =
                edges.chunks_exact(2).filter(|pair| pair[0] < pair[1]).map(|pair| (pair[0], pair[1])).unzip();
            let hours = Arc::new(Hours::new(&opens, &closes).expect("hours in order"));
            let mut filter = if filtered { SessionFilter::of_hours(hours) } else { SessionFilter::KeepAll };
            let timeframe: Timeframe = timeframe.parse().expect("a timeframe");
            let mut counted = GapCount::new(&timeframe, filter.clone());
            for part in timestamps.chunks(3) {
                counted.add(part);
            }
            let mut expected = Vec::new();
            for pair in timestamps.windows(2) {
                let floor = |at| timeframe.floor(at).expect("far from the ends");
                let bars = (1..)
                    .map(|step| floor(pair[0]) + step * timeframe.duration_ns())
                    .take_while(|&bar| bar < floor(pair[1]));
                expected.push(bars.filter(|&bar| filter.keeps(bar, [0.0; 5])).count() as u64);
            }
            prop_assert_eq!(counted.gaps, expected.iter().filter(|bars| **bars > 0).count() as u64);
            prop_assert_eq!(counted.bars, expected.iter().sum::<u64>());
            let longest = expected.iter().copied().max().filter(|bars| *bars > 0);
            prop_assert_eq!(counted.longest.map(|gap| gap.bars), longest);
        }
    }
}
