//! Decides which rows lie in trading hours. Does no I/O.

use std::ops::Range;
use std::sync::Arc;

use crate::candle::VALUES_PER_CANDLE;
use crate::request::{Session, Timeframe, Zone};
use crate::units::{
    NANOSECONDS_PER_DAY, NANOSECONDS_PER_SECOND, SECONDS_PER_DAY, SECONDS_PER_HOUR,
};
const SECONDS_PER_WEEK: i64 = 7 * SECONDS_PER_DAY;

/// The weekday of a day number since 1970-01-01 (a Thursday), modulo 7.
const SATURDAY: i64 = 2;
const MONDAY: i64 = 4;

/// The session filter of one series. It caches the part of the week of the last look-up, so ordered
/// rows cost one look-up per week. The order of rows does not change the result.
#[derive(Debug, Clone)]
pub enum SessionFilter {
    /// Keeps every row.
    KeepAll,
    /// The FX week, for timeframes shorter than a day.
    FxWeek(FxWeek),
    /// Without weekends, for timeframes of a day or more; without placeholders too, if there are
    /// prices.
    FxDays {
        /// Whether the series holds prices, and so may hold placeholders.
        prices: bool,
    },
    /// The hours of a session file.
    Hours(HoursFilter),
}

impl SessionFilter {
    /// The filter of a series with or without `prices`.
    pub fn new(session: Session, timeframe: &Timeframe, prices: bool) -> Self {
        match session {
            Session::None => Self::KeepAll,
            Session::Fx if timeframe.is_intraday() => Self::FxWeek(FxWeek::default()),
            Session::Fx => Self::FxDays { prices },
        }
    }

    /// The filter of given hours.
    pub fn of_hours(hours: Arc<Hours>) -> Self {
        Self::Hours(HoursFilter {
            hours,
            stretch_ns: 0..0,
            stretch_is_open: false,
        })
    }

    /// Whether every row passes.
    pub fn keeps_all(&self) -> bool {
        matches!(self, Self::KeepAll)
    }

    /// Whether the filter needs the values of a candle, not only its timestamp.
    pub fn needs_values(&self) -> bool {
        matches!(self, Self::FxDays { prices: true })
    }

    /// Whether a candle with this raw timestamp and these values (open, high, low, close, volume)
    /// lies in trading hours.
    pub fn keeps(&mut self, timestamp_ns: i64, values: [f64; VALUES_PER_CANDLE]) -> bool {
        match self {
            Self::KeepAll => true,
            Self::FxWeek(week) => week.is_open(timestamp_ns),
            Self::FxDays { prices } => {
                let is_placeholder = *prices && is_placeholder(values);
                !is_weekend_utc(timestamp_ns) && !is_placeholder
            }
            Self::Hours(hours) => hours.is_open(timestamp_ns),
        }
    }

    /// Whether a row with this timestamp is kept (unless it is a placeholder), and the first later
    /// instant at which that may change. `None` if that instant does not fit `i64`.
    pub fn stretch(&mut self, timestamp_ns: i64) -> (bool, Option<i64>) {
        match self {
            Self::KeepAll => (true, None),
            Self::FxWeek(week) => {
                let open = week.is_open(timestamp_ns);
                (open, week.stretch_s.end.checked_mul(NANOSECONDS_PER_SECOND))
            }
            Self::FxDays { .. } => {
                let is_weekend = is_weekend_utc(timestamp_ns);
                let day = timestamp_ns.div_euclid(NANOSECONDS_PER_DAY);
                let next = if is_weekend { MONDAY } else { SATURDAY };
                let days = (next - day - 1).rem_euclid(7) + 1;
                (!is_weekend, (day + days).checked_mul(NANOSECONDS_PER_DAY))
            }
            Self::Hours(hours) => {
                let open = hours.is_open(timestamp_ns);
                let end_ns = hours.stretch_ns.end;
                (open, (end_ns > timestamp_ns).then_some(end_ns))
            }
        }
    }
}

fn is_weekend_utc(timestamp_ns: i64) -> bool {
    let day = timestamp_ns.div_euclid(NANOSECONDS_PER_DAY);
    (SATURDAY..MONDAY).contains(&day.rem_euclid(7))
}

/// A candle that a data vendor inserts for a day without trading.
fn is_placeholder([open, high, low, close, volume]: [f64; VALUES_PER_CANDLE]) -> bool {
    volume == 0.0 && open == high && high == low && low == close
}

/// The FX week: open from Monday 07:00 to Saturday 07:00 in Sydney.
#[derive(Debug, Clone)]
pub struct FxWeek {
    sydney: Zone,
    /// The range of the last look-up, in seconds since 1970-01-01T00:00Z.
    stretch_s: Range<i64>,
    stretch_is_open: bool,
}

impl Default for FxWeek {
    fn default() -> Self {
        Self {
            sydney: Zone::named("Australia/Sydney").expect("its rules are compiled in"),
            stretch_s: 0..0,
            stretch_is_open: false,
        }
    }
}

impl FxWeek {
    /// Seconds from Monday 00:00 local time to the open and to the close.
    const OPENS_S: i64 = 7 * SECONDS_PER_HOUR;
    const CLOSES_S: i64 = 5 * SECONDS_PER_DAY + 7 * SECONDS_PER_HOUR;

    fn is_open(&mut self, timestamp_ns: i64) -> bool {
        // Open and close are whole seconds, so the fraction never matters.
        let timestamp_s = timestamp_ns.div_euclid(NANOSECONDS_PER_SECOND);
        if !self.stretch_s.contains(&timestamp_s) {
            self.look_up(timestamp_s);
        }
        self.stretch_is_open
    }

    fn look_up(&mut self, timestamp_s: i64) {
        let local_s = timestamp_s + self.sydney.offset_s(timestamp_s);
        // Local time counted from Monday 1969-12-29.
        let into_week = (local_s + 3 * SECONDS_PER_DAY).rem_euclid(SECONDS_PER_WEEK);
        let monday_s = local_s - into_week;
        let opens = |monday_s| self.utc_of_local_s(monday_s + Self::OPENS_S);
        let closes = |monday_s| self.utc_of_local_s(monday_s + Self::CLOSES_S);
        let is_open = (Self::OPENS_S..Self::CLOSES_S).contains(&into_week);
        let stretch_s = if is_open {
            opens(monday_s)..closes(monday_s)
        } else if into_week < Self::OPENS_S {
            closes(monday_s - SECONDS_PER_WEEK)..opens(monday_s)
        } else {
            closes(monday_s)..opens(monday_s + SECONDS_PER_WEEK)
        };
        (self.stretch_is_open, self.stretch_s) = (is_open, stretch_s);
    }

    /// The instant of a Sydney local time. Used only for Mondays and Saturdays at 07:00, which
    /// exist once: no clock change ever fell there.
    fn utc_of_local_s(&self, local_s: i64) -> i64 {
        // The guess is at most an hour off, so it lies on the right side of any clock change.
        let guess_s = local_s - self.sydney.offset_s(local_s - 10 * SECONDS_PER_HOUR);
        local_s - self.sydney.offset_s(guess_s)
    }
}

/// Trading hours: ascending ranges from open (included) to close (excluded), without overlaps.
#[derive(Debug, PartialEq, Eq)]
pub struct Hours(Vec<Range<i64>>);

/// What is wrong with a session, by its index in the input.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionFault {
    /// Closes no later than it opens.
    ClosesBeforeItOpens(usize),
    /// Opens before the previous one has closed.
    Overlaps(usize),
}

impl Hours {
    /// Creates hours from sessions in any order.
    pub fn new(opens_ns: &[i64], closes_ns: &[i64]) -> Result<Self, SessionFault> {
        let hours = || {
            opens_ns
                .iter()
                .zip(closes_ns)
                .map(|(&open, &close)| open..close)
        };
        if let Some(at) = hours().position(|hours| hours.is_empty()) {
            return Err(SessionFault::ClosesBeforeItOpens(at));
        }
        let mut hours: Vec<_> = hours().enumerate().collect();
        hours.sort_by_key(|(_, hours)| hours.start);
        let overlaps = hours
            .windows(2)
            .find(|pair| pair[1].1.start < pair[0].1.end);
        if let Some([_, (at, _)]) = overlaps {
            return Err(SessionFault::Overlaps(*at));
        }
        Ok(Self(hours.into_iter().map(|(_, hours)| hours).collect()))
    }

    /// The sessions in time order: open (included) and close (excluded), nanoseconds UTC.
    pub fn sessions_ns(&self) -> &[Range<i64>] {
        &self.0
    }
}

/// Decides whether instants lie in given hours, and caches the range of the last look-up.
#[derive(Debug, Clone)]
pub struct HoursFilter {
    hours: Arc<Hours>,
    stretch_ns: Range<i64>,
    stretch_is_open: bool,
}

impl HoursFilter {
    fn is_open(&mut self, timestamp_ns: i64) -> bool {
        if !self.stretch_ns.contains(&timestamp_ns) {
            let hours = &self.hours.0;
            let next = hours.partition_point(|hours| hours.end <= timestamp_ns);
            self.stretch_is_open = hours
                .get(next)
                .is_some_and(|hours| hours.contains(&timestamp_ns));
            self.stretch_ns = if self.stretch_is_open {
                hours[next].clone()
            } else {
                // The largest instant is looked up every time.
                let closed = next
                    .checked_sub(1)
                    .map_or(i64::MIN, |before| hours[before].end);
                closed..hours.get(next).map_or(i64::MAX, |hours| hours.start)
            };
        }
        self.stretch_is_open
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, TimeZone, Timelike, Weekday};
    use chrono_tz::Australia::Sydney;
    use proptest::prelude::*;

    use super::*;
    use crate::request::parse_timestamp;

    const ANY_VALUES: [f64; 5] = [1.0, 2.0, 0.5, 1.5, 10.0];

    fn ns(text: &str) -> i64 {
        parse_timestamp(text).expect(text)
    }

    fn open(text: &str) -> bool {
        FxWeek::default().is_open(ns(text))
    }

    #[test]
    fn the_week_opens_and_closes_to_the_nanosecond() {
        // January: daylight saving, UTC+11. Monday 07:00 is Sunday 20:00Z.
        assert!(!open("2024-01-07T19:59:59.999999999Z"));
        assert!(open("2024-01-07T20:00:00Z"));
        assert!(open("2024-01-12T19:59:59.999999999Z"));
        assert!(!open("2024-01-12T20:00:00Z"));
        // July: standard time, UTC+10.
        assert!(!open("2024-07-07T20:59:59.999999999Z"));
        assert!(open("2024-07-07T21:00:00Z"));
        assert!(open("2024-07-12T20:59:59.999999999Z"));
        assert!(!open("2024-07-12T21:00:00Z"));
    }

    #[test]
    fn the_weeks_of_both_clock_changes() {
        // Clocks go back on Sunday 2024-04-07: the week before closes at 20:00Z, the next opens at
        // 21:00Z.
        assert!(!open("2024-04-05T20:00:00Z"));
        assert!(!open("2024-04-07T20:59:59Z"));
        assert!(open("2024-04-07T21:00:00Z"));
        // Clocks go forward on Sunday 2024-10-06: 21:00Z closes, 20:00Z opens.
        assert!(open("2024-10-04T20:59:59Z"));
        assert!(!open("2024-10-04T21:00:00Z"));
        assert!(open("2024-10-06T20:00:00Z"));
    }

    #[test]
    fn after_2099_the_same_rule_holds() {
        // 2150-07-03 is a Friday in Sydney's winter (UTC+10), 2150-01-02 one in its summer.
        assert!(open("2150-07-03T20:59:59Z"));
        assert!(!open("2150-07-03T21:00:00Z"));
        assert!(open("2150-01-02T19:59:59Z"));
        assert!(!open("2150-01-02T20:00:00Z"));
    }

    #[test]
    fn days_drop_weekends_and_placeholders() {
        let mut filter = SessionFilter::new(Session::Fx, &"D1".parse().expect("a timeframe"), true);
        let mut keeps = |text: &str, values| filter.keeps(ns(text), values);
        assert!(keeps("2024-01-05", ANY_VALUES)); // Friday
        assert!(!keeps("2024-01-06", ANY_VALUES));
        assert!(!keeps("2024-01-07T23:59:59.999999999", ANY_VALUES));
        assert!(keeps("2024-01-08", ANY_VALUES)); // Monday
        assert!(!keeps("2024-01-08", [1.0, 1.0, 1.0, 1.0, 0.0]));
        assert!(keeps("2024-01-08", [1.0, 1.0, 1.0, 1.0, 1.0]));
        assert!(keeps("2024-01-08", [1.0, 1.0, 1.0, 2.0, 0.0]));
        assert!(keeps("2024-01-08", [1.0, 1.0, 1.0, 1.0, f64::NAN]));
        assert!(keeps(
            "2024-01-08",
            [f64::NAN, f64::NAN, f64::NAN, f64::NAN, 0.0]
        ));
        assert!(!keeps("1969-12-27", ANY_VALUES)); // a Saturday before 1970
    }

    /// The rule as documented, instant by instant.
    fn naive_is_open(timestamp_ns: i64) -> bool {
        let local = Sydney.timestamp_nanos(timestamp_ns);
        let opened = local.hour() >= 7;
        match local.weekday() {
            Weekday::Mon => opened,
            Weekday::Sat => !opened,
            Weekday::Sun => false,
            _ => true,
        }
    }

    #[test]
    fn days_without_prices_have_no_placeholders() {
        let mut filter =
            SessionFilter::new(Session::Fx, &"D1".parse().expect("a timeframe"), false);
        assert!(!filter.needs_values());
        assert!(filter.keeps(ns("2024-01-08"), [1.0, 1.0, 1.0, 1.0, 0.0]));
        assert!(!filter.keeps(ns("2024-01-06"), ANY_VALUES));
    }

    #[test]
    fn hours_may_touch_but_not_overlap() {
        assert!(Hours::new(&[10, 0], &[20, 10]).is_ok());
        assert_eq!(
            Hours::new(&[0, 5], &[0, 9]),
            Err(SessionFault::ClosesBeforeItOpens(0))
        );
        assert_eq!(
            Hours::new(&[0, 9], &[2, 5]),
            Err(SessionFault::ClosesBeforeItOpens(1))
        );
        assert_eq!(
            Hours::new(&[9, 0, 20], &[15, 10, 30]),
            Err(SessionFault::Overlaps(0))
        );
        assert_eq!(Hours::new(&[0, 0], &[5, 5]), Err(SessionFault::Overlaps(1)));
    }

    proptest! {
        /// Tests instants in any order, up to both ends of `i64`.
        #[test]
        fn an_instant_lies_in_the_hours_that_hold_it(
            edges in prop::collection::btree_set(prop_oneof![-50..50_i64, Just(i64::MIN), Just(i64::MAX)], 0..20),
            instants in prop::collection::vec(prop_oneof![-60..60_i64, Just(i64::MIN), Just(i64::MAX)], 1..40),
        ) {
            let edges: Vec<_> = edges.into_iter().collect();
            let (opens, closes): (Vec<_>, Vec<_>) =
                edges.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
            let hours = Hours::new(&opens, &closes).expect("hours in order");
            let mut filter = SessionFilter::of_hours(Arc::new(hours));
            for instant in instants {
                let inside = opens.iter().zip(&closes).any(|(&open, &close)| open <= instant && instant < close);
                prop_assert_eq!(filter.keeps(instant, ANY_VALUES), inside);
            }
        }

        /// Tests every filter up to both ends of `i64`.
        #[test]
        fn an_answer_holds_to_the_end_of_its_stretch(
            instants in prop::collection::vec(
                prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(i64::MAX - 1)], 1..20),
            part in 0.0..1.0,
        ) {
            let fx = |timeframe: &str| {
                SessionFilter::new(Session::Fx, &timeframe.parse().expect("a timeframe"), true)
            };
            let hours = Hours::new(&[i64::MIN, -50, 7], &[-60, 7, i64::MAX]).expect("hours in order");
            let hours = SessionFilter::of_hours(Arc::new(hours));
            for mut filter in [SessionFilter::KeepAll, fx("M1"), fx("D1"), hours] {
                for &instant in &instants {
                    let (open, end) = filter.stretch(instant);
                    prop_assert!(end.is_none_or(|end| end > instant));
                    let last = end.map_or(i64::MAX, |end| end - 1);
                    let within = instant.saturating_add(((last as f64 - instant as f64) * part) as i64);
                    for at in [instant, within.clamp(instant, last), last] {
                        prop_assert_eq!(filter.keeps(at, ANY_VALUES), open);
                    }
                }
            }
        }

        /// Tests instants in any order, and near the edges of weeks.
        #[test]
        fn the_remembered_stretch_never_changes_an_answer(
            instants in prop::collection::vec(
                (ns("1900-01-01")..ns("2099-01-01"), 0..3i64, any::<bool>()), 1..50)
        ) {
            let mut week = FxWeek::default();
            for (instant, hours, near_edge) in instants {
                let instant = if near_edge {
                    let hour = SECONDS_PER_HOUR * NANOSECONDS_PER_SECOND;
                    instant.div_euclid(hour) * hour + hours - 1
                } else {
                    instant
                };
                prop_assert_eq!(week.is_open(instant), naive_is_open(instant));
            }
        }
    }
}
