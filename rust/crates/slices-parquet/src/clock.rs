//! Converts the stored timestamps of a file into instants, and these into the timestamps of
//! candles. Does no I/O.
//!
//! A value becomes an instant by its unit, its text, or the local time of a zone. The instant of a
//! close becomes that of the open. With local days, the instant becomes midnight UTC of its date.
//! Later steps see only this timestamp.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::{
    Ambiguous, ClockChange, Days, Instants, Stamped, Timeframe, TimestampUnit, WallClock, Zone,
    format_timestamp,
};
use slices_core::units::{NANOSECONDS_PER_DAY, NANOSECONDS_PER_HOUR};

/// The maximum shift of an instant by a zone, or disorder of two instants by a clock change.
const ZONE_MARGIN_NS: i64 = 2 * NANOSECONDS_PER_DAY;

/// The part of a date after midnight and before noon.
const MORNING_NS: Range<i64> = 1..12 * NANOSECONDS_PER_HOUR;

/// Instants that stay within 64 bits after a shift by a day.
const PLAIN_NS: Range<i64> = i64::MIN + ZONE_MARGIN_NS..i64::MAX - ZONE_MARGIN_NS;

/// The role of the timestamps of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// They shape the slices.
    Primary,
    /// They decide when a candle of a higher timeframe is shown.
    Higher,
    /// Neither, as for indicators.
    Other,
}

/// How to read the timestamps of a series; the same for all of its files.
#[derive(Debug, Clone)]
pub struct TimeRules {
    /// The unit of integer timestamps; with `None` these are an error.
    pub unit: Option<TimestampUnit>,
    /// The zone of local times, and of days in columns of UTC instants.
    pub zone: Option<Zone>,
    /// What a wall-clock time is that occurs twice.
    pub ambiguous: Ambiguous,
    /// Which side of a candle its timestamp is.
    pub stamped: Stamped,
    /// What the timestamps of days mean; `None` if the request does not say.
    pub days: Option<Days>,
    /// The timeframe of the candles; `None` if the instants are not those of candles.
    pub timeframe: Option<Timeframe>,
    /// Whether timestamps are floored.
    pub normalize: bool,
    /// What the timestamps decide.
    pub part: Part,
    /// The timestamps in reach: those that may be used, both ends included.
    pub reach_ns: RangeInclusive<i64>,
}

impl TimeRules {
    /// Rules for instants that are not those of candles, all of them in reach.
    pub fn of_instants() -> Self {
        Self {
            unit: None,
            zone: None,
            ambiguous: Ambiguous::Error,
            stamped: Stamped::Open,
            days: None,
            timeframe: None,
            normalize: false,
            part: Part::Other,
            reach_ns: i64::MIN..=i64::MAX,
        }
    }

    /// The number of days of a candle, if it is whole.
    fn days_per_candle(&self) -> Option<i64> {
        self.timeframe.as_ref().and_then(Timeframe::whole_days)
    }

    /// Whether the zone that a column names matters.
    pub fn needs_zone(&self) -> bool {
        self.days_per_candle().is_some()
    }

    /// Whether timestamps are dates.
    pub fn is_dated(&self) -> bool {
        self.days == Some(Days::Local) && self.days_per_candle().is_some()
    }

    /// Whether a timestamp inside a date, rather than at its start, is an error.
    fn checks_dates(&self) -> bool {
        self.is_dated() && self.part == Part::Primary && !self.normalize
    }

    /// Whether the instant from which the age of a candle counts is needed beside its timestamp.
    pub fn needs_begins(&self) -> bool {
        self.is_dated() && self.part == Part::Higher
    }

    /// Whether a date without a time is a valid timestamp.
    pub fn takes_dates(&self) -> bool {
        let timeframe = self.timeframe.as_ref();
        timeframe.is_none_or(|timeframe| !timeframe.is_intraday())
    }

    /// Whether days are floored in UTC only because the request does not say what they mean.
    pub fn guesses_days(&self) -> bool {
        self.normalize && self.days.is_none() && self.days_per_candle().is_some()
    }
}

/// What a timestamp column stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Instants in a unit of this many nanoseconds.
    Instants(i64),
    /// Local times without a zone, in a unit of this many nanoseconds.
    Wall(i64),
    /// Days since 1970-01-01.
    Dates,
    /// Integers since 1970 in a unit that the request must name.
    Integers {
        unsigned: bool,
    },
    Text,
}

/// The value of one row, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredTime {
    Instant(i64),
    Wall(i64),
    /// Midnight of a date.
    Date(i64),
    /// Below the range of 64-bit nanoseconds.
    TooSmall,
    TooLarge,
}

impl StoredTime {
    /// A time whose instant is out of range, as such.
    fn as_far(self) -> Self {
        match self {
            Self::Wall(wall_ns) if wall_ns < 0 => Self::TooSmall,
            Self::Wall(_) => Self::TooLarge,
            other => other,
        }
    }
}

/// The timestamps of consecutive rows.
pub(super) struct CandleTimestamps {
    pub timestamps_ns: Vec<i64>,
    /// The end of each candle minus its timeframe, if that is not its timestamp: ages count from
    /// there.
    pub begins_ns: Option<Vec<i64>>,
}

/// The clock of one file. It caches its last look-ups, so each reader has its own.
#[derive(Debug, Clone)]
pub(super) struct FileClock {
    rules: Arc<TimeRules>,
    stored: Stored,
    /// The local clock of times without a zone.
    wall: Option<WallClock>,
    /// The zone of days and weeks, unless it is UTC.
    calendar: Option<WallClock>,
    /// For each backward clock change, the row of the file from which ambiguous times are the later
    /// ones.
    second_passes: Option<Arc<BTreeMap<i64, u64>>>,
}

impl FileClock {
    /// The clock of a column whose type names the zone `own`. `zone` applies to times without a
    /// zone. It is the zone of days too, unless `own` is set and is not UTC.
    pub fn new(
        rules: Arc<TimeRules>,
        stored: Stored,
        own: Option<Zone>,
        zone: Option<&Zone>,
    ) -> Self {
        let wall = matches!(stored, Stored::Wall(_) | Stored::Dates | Stored::Text);
        let not_utc = |zone: &Zone| !zone.is_utc();
        let given = zone.filter(|zone| not_utc(zone)).cloned();
        let own = own.filter(not_utc);
        let needs_calendar = rules.days_per_candle().is_some();
        Self {
            wall: given.clone().filter(|_| wall).map(WallClock::new),
            calendar: own.or(given).filter(|_| needs_calendar).map(WallClock::new),
            rules,
            stored,
            second_passes: None,
        }
    }

    pub fn stored(&self) -> Stored {
        self.stored
    }

    pub fn rules(&self) -> &Arc<TimeRules> {
        &self.rules
    }

    /// Whether a multiplication converts every value.
    pub fn only_scales(&self) -> bool {
        !matches!(self.stored, Stored::Text)
            && self.wall.is_none()
            && self.rules.stamped == Stamped::Open
            && !self.rules.is_dated()
    }

    /// Whether a multiplication and, between clock changes, a constant shift convert every value.
    pub fn only_shifts(&self) -> bool {
        matches!(self.stored, Stored::Instants(_) | Stored::Wall(_))
            && !self.rules.needs_begins()
            && (self.rules.stamped == Stamped::Open
                || self.calendar.is_none() && !self.rules.is_dated())
    }

    /// Converts consecutive instants or local times (nanoseconds, all in range) into timestamps.
    /// Gives the same timestamps as [`Self::timestamp`], many at a time. Requires
    /// [`Self::only_shifts`].
    pub fn shift(
        &mut self,
        times_ns: &mut [i64],
        row: impl Fn(usize) -> u64,
        too_far: impl Fn(usize) -> Error,
    ) -> Result<()> {
        if let Err((at, error)) = self.shift_walls(times_ns, &row, too_far) {
            // An earlier row may have an invalid date, which comes first.
            self.shift_to_dates(&mut times_ns[..at], row)?;
            return Err(error);
        }
        if let (Stamped::Close, Some(timeframe)) = (self.rules.stamped, &self.rules.timeframe) {
            let duration_ns = timeframe.duration_ns();
            let opened = |time_ns: &mut i64| *time_ns = time_ns.saturating_sub(duration_ns);
            times_ns.iter_mut().for_each(opened);
        }
        self.shift_to_dates(times_ns, row)
    }

    /// Converts local times into instants. An error has its position; the times before it are
    /// converted.
    fn shift_walls(
        &mut self,
        times_ns: &mut [i64],
        row: impl Fn(usize) -> u64,
        too_far: impl Fn(usize) -> Error,
    ) -> std::result::Result<(), (usize, Error)> {
        let mut at = 0;
        while self.wall.is_some() && at < times_ns.len() {
            let (range, offset_ns) = self.wall.as_ref().map_or((0..0, 0), WallClock::plain);
            let is_plain = |time_ns: &i64| range.contains(time_ns);
            let rest = &mut times_ns[at..];
            let plain = rest.iter().position(|time_ns| !is_plain(time_ns));
            let plain = plain.unwrap_or(rest.len());
            rest[..plain]
                .iter_mut()
                .for_each(|time_ns| *time_ns -= offset_ns);
            at += plain;
            if let Some(time_ns) = times_ns.get_mut(at) {
                let time = StoredTime::Wall(*time_ns);
                let instant = self.instant(time, || row(at));
                let instant = instant.map_err(|error| (at, error))?;
                let far = || self.far_timestamp(time.as_far());
                *time_ns = instant.or_else(far).ok_or_else(|| (at, too_far(at)))?;
                at += 1;
            }
        }
        Ok(())
    }

    /// Converts the opens of candles into dates, if the rules require it.
    fn shift_to_dates(&mut self, opens_ns: &mut [i64], row: impl Fn(usize) -> u64) -> Result<()> {
        if !self.rules.is_dated() {
            return Ok(());
        }
        let checks = self.rules.checks_dates();
        let mut at = 0;
        while at < opens_ns.len() {
            let calendar = self.calendar.as_ref();
            let (range, offset_ns) = calendar.map_or((PLAIN_NS, 0), WallClock::plain_instants);
            for open_ns in &mut opens_ns[at..] {
                let shown_ns = open_ns.wrapping_add(offset_ns);
                let into_date_ns = shown_ns.rem_euclid(NANOSECONDS_PER_DAY);
                let is_morning = MORNING_NS.contains(&into_date_ns);
                if !range.contains(open_ns) || (checks && is_morning) {
                    break;
                }
                let is_evening_before = into_date_ns >= MORNING_NS.end;
                *open_ns =
                    shown_ns - into_date_ns + i64::from(is_evening_before) * NANOSECONDS_PER_DAY;
                at += 1;
            }
            if let Some(open_ns) = opens_ns.get_mut(at) {
                *open_ns =
                    self.checked_date(StoredTime::Instant(*open_ns), *open_ns, || row(at))?;
                at += 1;
            }
        }
        Ok(())
    }

    /// Sets which rows of each doubled hour belong to its second pass.
    pub fn set_second_passes(&mut self, second_passes: BTreeMap<i64, u64>) {
        self.second_passes = Some(Arc::new(second_passes));
    }

    /// Whether the order of rows decides about local times that occur twice.
    pub fn infers(&self) -> bool {
        self.wall.is_some() && self.rules.ambiguous == Ambiguous::Infer
    }

    /// Whether days and weeks have a zone other than UTC.
    pub fn has_calendar(&self) -> bool {
        self.calendar.is_some()
    }

    /// Whether a value out of range is certainly out of reach too.
    fn is_excluded(&self, time: StoredTime) -> bool {
        let margin_ns = if self.only_scales() {
            0
        } else {
            let candle_ns = self
                .rules
                .timeframe
                .as_ref()
                .map_or(0, Timeframe::duration_ns);
            ZONE_MARGIN_NS.saturating_add(candle_ns)
        };
        let (start_ns, end_ns) = (self.rules.reach_ns.start(), self.rules.reach_ns.end());
        match time {
            StoredTime::TooSmall => *start_ns > i64::MIN.saturating_add(margin_ns),
            StoredTime::TooLarge => *end_ns < i64::MAX.saturating_sub(margin_ns),
            _ => false,
        }
    }

    /// The timestamp for a value out of range. `None` if the value may be in reach.
    pub fn far_timestamp(&self, time: StoredTime) -> Option<i64> {
        self.is_excluded(time).then_some(match time {
            StoredTime::TooSmall => i64::MIN,
            _ => i64::MAX,
        })
    }

    /// Converts consecutive values into timestamps. `row` returns the row number in the file at a
    /// position; `too_far` creates the error of a value out of range.
    pub fn timestamp(
        &mut self,
        times: impl ExactSizeIterator<Item = StoredTime>,
        row: impl Fn(usize) -> u64,
        too_far: impl Fn(usize) -> Error,
    ) -> Result<CandleTimestamps> {
        let mut timestamps_ns = Vec::with_capacity(times.len());
        let mut begins_ns = self
            .rules
            .needs_begins()
            .then(|| Vec::with_capacity(times.len()));
        for (position, time) in times.enumerate() {
            let (timestamp_ns, begin_ns) = match self.row(time, || row(position))? {
                Some(timestamp) => timestamp,
                None => {
                    let far = self
                        .far_timestamp(time.as_far())
                        .ok_or_else(|| too_far(position))?;
                    (far, far)
                }
            };
            timestamps_ns.push(timestamp_ns);
            if let Some(begins_ns) = &mut begins_ns {
                begins_ns.push(begin_ns);
            }
        }
        Ok(CandleTimestamps {
            timestamps_ns,
            begins_ns,
        })
    }

    /// The timestamp of one row, and the instant from which its age counts. `None` if the value is
    /// out of range.
    fn row(&mut self, time: StoredTime, row: impl Fn() -> u64) -> Result<Option<(i64, i64)>> {
        let Some(instant_ns) = self.instant(time, &row)? else {
            return Ok(None);
        };
        let open_ns = self.opened(instant_ns);
        let timestamp_ns = self.checked_date(time, open_ns, row)?;
        let begin_ns = if self.rules.needs_begins() {
            self.begins(open_ns)
        } else {
            timestamp_ns
        };
        Ok(Some((timestamp_ns, begin_ns)))
    }

    fn instant(&mut self, time: StoredTime, row: impl Fn() -> u64) -> Result<Option<i64>> {
        let (wall_ns, is_date) = match time {
            StoredTime::Instant(instant_ns) => return Ok(Some(instant_ns)),
            StoredTime::TooSmall | StoredTime::TooLarge => return Ok(None),
            StoredTime::Wall(wall_ns) => (wall_ns, false),
            StoredTime::Date(wall_ns) => (wall_ns, true),
        };
        let Some(clock) = self.wall.as_mut() else {
            return Ok(Some(wall_ns));
        };
        if !is_date && !clock.fits(wall_ns) {
            return Ok(None);
        }
        let instants = clock.instants(wall_ns);
        if is_date {
            // The start of the date.
            return Ok(Some(instants.nearest()));
        }
        let policy = self.rules.ambiguous;
        Ok(Some(match instants {
            Instants::Once(instant_ns) => instant_ns,
            Instants::Skipped(change) if self.is_in_reach(change) => {
                return Err(self.skipped(wall_ns).at_row(row()));
            }
            Instants::Skipped(change) => change.change_ns,
            Instants::Twice(change) => match policy {
                Ambiguous::Earlier => change.earlier_ns,
                Ambiguous::Later => change.later_ns,
                Ambiguous::Error if self.is_in_reach(change) => {
                    return Err(self.ambiguous(wall_ns).at_row(row()));
                }
                Ambiguous::Error => change.earlier_ns,
                Ambiguous::Infer => {
                    let passes = self.second_passes.as_deref();
                    let from = passes.and_then(|passes| passes.get(&change.change_ns));
                    if from.is_some_and(|&from| from <= row()) {
                        change.later_ns
                    } else {
                        change.earlier_ns
                    }
                }
            },
        }))
    }

    /// Whether a time next to a clock change may be in reach.
    pub fn is_in_reach(&mut self, change: ClockChange) -> bool {
        let [earlier, later] = [change.earlier_ns, change.later_ns].map(|instant_ns| {
            let open_ns = self.opened(instant_ns);
            self.dated(open_ns)
        });
        earlier <= *self.rules.reach_ns.end() && *self.rules.reach_ns.start() <= later
    }

    /// The clock change next to a local time that occurs twice.
    pub fn doubled(&mut self, time: StoredTime) -> Option<ClockChange> {
        let (StoredTime::Wall(wall_ns), Some(clock)) = (time, &mut self.wall) else {
            return None;
        };
        match clock.instants(wall_ns) {
            Instants::Twice(change) => Some(change),
            _ => None,
        }
    }

    /// The open of the candle.
    fn opened(&mut self, instant_ns: i64) -> i64 {
        let (Stamped::Close, Some(timeframe)) = (self.rules.stamped, &self.rules.timeframe) else {
            return instant_ns;
        };
        let (days, duration_ns) = (timeframe.whole_days(), timeframe.duration_ns());
        match (days, &mut self.calendar) {
            (Some(days), Some(calendar)) => calendar.days_after(instant_ns, -days),
            _ => instant_ns.saturating_sub(duration_ns),
        }
    }

    /// The timestamp of a candle by its open, after the check of its date.
    fn checked_date(
        &mut self,
        time: StoredTime,
        open_ns: i64,
        row: impl Fn() -> u64,
    ) -> Result<i64> {
        let timestamp_ns = self.dated(open_ns);
        if self.rules.checks_dates() {
            self.check_date(time, open_ns, timestamp_ns, row)?;
        }
        Ok(timestamp_ns)
    }

    /// The timestamp of a candle by its open.
    fn dated(&mut self, open_ns: i64) -> i64 {
        if !self.rules.is_dated() {
            return open_ns;
        }
        // Without a calendar, the clock shows UTC.
        let middle_ns = self
            .shown(open_ns)
            .saturating_add(12 * NANOSECONDS_PER_HOUR);
        middle_ns.saturating_sub(middle_ns.rem_euclid(NANOSECONDS_PER_DAY))
    }

    /// The local time in the zone of days.
    fn shown(&mut self, instant_ns: i64) -> i64 {
        match &mut self.calendar {
            Some(calendar) => calendar.shown(instant_ns),
            None => instant_ns,
        }
    }

    /// The end of a candle minus its timeframe, by its open.
    fn begins(&mut self, open_ns: i64) -> i64 {
        let days = self.rules.days_per_candle().unwrap_or(0);
        match &mut self.calendar {
            Some(calendar) => {
                let end_ns = calendar.days_after(open_ns, days);
                end_ns.saturating_sub(days.saturating_mul(NANOSECONDS_PER_DAY))
            }
            None => open_ns,
        }
    }

    /// Fails if the date of a candle is ambiguous.
    fn check_date(
        &mut self,
        time: StoredTime,
        open_ns: i64,
        timestamp_ns: i64,
        row: impl Fn() -> u64,
    ) -> Result<()> {
        let into_date_ns = self.shown(open_ns).rem_euclid(NANOSECONDS_PER_DAY);
        if matches!(time, StoredTime::Date(_))
            || !MORNING_NS.contains(&into_date_ns)
            || !self.rules.reach_ns.contains(&timestamp_ns)
        {
            return Ok(());
        }
        // If the clocks skip midnight, the date starts later.
        let begins = self
            .calendar
            .as_mut()
            .map(|clock| clock.instants(timestamp_ns).nearest());
        if begins == Some(open_ns) {
            return Ok(());
        }
        let shown = wall_text(self.shown(open_ns));
        let message = format!(
            "ambiguous date of a candle stamped {shown} local time: expected midnight or \
             the evening before"
        );
        Err(Error::input(Code::AmbiguousInput, message)
            .at_row(row())
            .with_hint(hint![
                "name the zone of the days with ",
                Setting::Zone,
                " if the column has no zone, or add ",
                Setting::Normalize,
                " if the time is within the candle's date there",
            ]))
    }

    fn skipped(&self, wall_ns: i64) -> Error {
        let message = format!(
            "invalid local time {}: it does not exist{}, the clocks skipped it",
            wall_text(wall_ns),
            self.in_zone()
        );
        Error::input(Code::CorruptInput, message).with_hint(hint![
            "correct the row, or name the right zone with ",
            Setting::Zone
        ])
    }

    pub fn ambiguous(&self, wall_ns: i64) -> Error {
        let message = format!(
            "ambiguous local time {}: it occurs twice{}, the clocks were set back",
            wall_text(wall_ns),
            self.in_zone()
        );
        Error::input(Code::CorruptInput, message).with_hint(hint![
            "choose ",
            Setting::Ambiguous.to("infer"),
            " (by row order), earlier or later",
        ])
    }

    fn in_zone(&self) -> String {
        let zone = self.rules.zone.as_ref();
        zone.map_or_else(String::new, |zone| format!(" in {zone}"))
    }

    /// The range of timestamps of rows whose values lie between two values (both included).
    /// Saturates.
    pub fn bounds(&mut self, smallest: StoredTime, largest: StoredTime) -> (i64, i64) {
        let [earliest, latest] = [smallest, largest].map(|time| match time {
            StoredTime::TooSmall => [i64::MIN; 2],
            StoredTime::TooLarge => [i64::MAX; 2],
            StoredTime::Instant(instant_ns) => [instant_ns; 2],
            StoredTime::Wall(wall_ns) | StoredTime::Date(wall_ns) => match &mut self.wall {
                Some(clock) => {
                    let instants = clock.instants(wall_ns);
                    [instants.nearest(), instants.latest()]
                }
                None => [wall_ns; 2],
            },
        });
        let [first_ns, last_ns] = [earliest[0], latest[1]].map(|instant_ns| {
            if matches!(instant_ns, i64::MIN | i64::MAX) {
                return instant_ns;
            }
            let open_ns = self.opened(instant_ns);
            self.dated(open_ns)
        });
        (first_ns, last_ns)
    }

    /// The same, wide enough that the zone of days moves no row out of it.
    pub fn outer_bounds(&mut self, smallest: StoredTime, largest: StoredTime) -> (i64, i64) {
        let (first_ns, last_ns) = self.bounds(smallest, largest);
        let moves = self.has_calendar() && !self.only_scales();
        let margin_ns = if moves { ZONE_MARGIN_NS } else { 0 };
        (
            first_ns.saturating_sub(margin_ns),
            last_ns.saturating_add(margin_ns),
        )
    }
}

/// A local time as text without a zone.
fn wall_text(wall_ns: i64) -> String {
    let text = format_timestamp(wall_ns).replace('T', " ");
    text.trim_end_matches('Z')
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use slices_core::request::parse_timestamp;

    fn ns(text: &str) -> i64 {
        parse_timestamp(text).expect(text)
    }

    fn clock(
        timeframe: &str,
        stored: Stored,
        own: Option<&str>,
        change: impl FnOnce(&mut TimeRules),
    ) -> FileClock {
        let mut rules = TimeRules {
            timeframe: Some(timeframe.parse().expect(timeframe)),
            ..TimeRules::of_instants()
        };
        change(&mut rules);
        let own = own.map(|name| Zone::of_column(name).expect(name));
        let zone = rules.zone.clone();
        FileClock::new(Arc::new(rules), stored, own, zone.as_ref())
    }

    fn too_far(_: usize) -> Error {
        Error::input(Code::CorruptInput, "too far")
    }

    fn timestamps(clock: &mut FileClock, times: Vec<StoredTime>) -> Result<CandleTimestamps> {
        clock.timestamp(times.into_iter(), |position| position as u64, too_far)
    }

    fn timestamp(clock: &mut FileClock, time: StoredTime) -> i64 {
        timestamps(clock, vec![time])
            .expect("a timestamp")
            .timestamps_ns[0]
    }

    #[test]
    fn a_local_day_is_the_date_of_its_middle() {
        let mut paris = clock("D1", Stored::Instants(1), Some("Europe/Paris"), |rules| {
            rules.days = Some(Days::Local);
            rules.normalize = true;
        });
        for (instant, date) in [
            ("2024-06-02T22:00", "2024-06-03"), // midnight
            ("2024-06-03T07:30", "2024-06-03"), // 09:30
            ("2024-06-03T15:00", "2024-06-04"), // 17:00
            ("2024-06-03T10:00", "2024-06-04"), // noon
        ] {
            let stamped = timestamp(&mut paris, StoredTime::Instant(ns(instant)));
            assert_eq!(stamped, ns(date), "{instant}");
        }
    }

    #[test]
    fn a_morning_says_nothing_of_its_date_unless_days_are_floored() {
        for (normalize, is_primary, fails) in [
            (false, true, true),
            (true, true, false),
            (false, false, false),
        ] {
            let mut days = clock("D1", Stored::Wall(1), None, |rules| {
                rules.days = Some(Days::Local);
                rules.zone = Some(Zone::named("Asia/Tokyo").expect("a zone"));
                rules.normalize = normalize;
                rules.part = if is_primary {
                    Part::Primary
                } else {
                    Part::Other
                };
            });
            let morning = timestamps(&mut days, vec![StoredTime::Wall(ns("2024-06-03T09:00"))]);
            assert_eq!(morning.is_err(), fails);
            let evening = timestamp(&mut days, StoredTime::Wall(ns("2024-06-03T17:00")));
            assert_eq!(evening, ns("2024-06-04"));
        }
    }

    #[test]
    fn a_day_of_23_hours_is_one_day_back() {
        let mut london = clock("D1", Stored::Instants(1), Some("Europe/London"), |rules| {
            rules.stamped = Stamped::Close;
        });
        let closed = StoredTime::Instant(ns("2024-03-31T23:00"));
        assert_eq!(timestamp(&mut london, closed), ns("2024-03-31T00:00"));
        let mut hours = clock("H1", Stored::Instants(1), Some("Europe/London"), |rules| {
            rules.stamped = Stamped::Close;
        });
        assert_eq!(timestamp(&mut hours, closed), ns("2024-03-31T22:00"));
    }

    #[test]
    fn a_higher_day_is_complete_a_calendar_day_later() {
        let mut days = clock(
            "D1",
            Stored::Instants(1),
            Some("America/New_York"),
            |rules| {
                rules.part = Part::Higher;
                rules.days = Some(Days::Local);
            },
        );
        let opens = StoredTime::Instant(ns("2024-03-10T05:00"));
        let read = timestamps(&mut days, vec![opens]).expect("timestamps");
        assert_eq!(read.timestamps_ns, [ns("2024-03-10")]);
        // A day of 23 hours ends at 04:00Z.
        assert_eq!(read.begins_ns, Some(vec![ns("2024-03-10T04:00")]));
    }

    #[test]
    fn far_times_matter_only_where_the_window_has_no_end_before_them() {
        let mut open = clock("D1", Stored::Instants(1), None, |_| {});
        assert!(timestamps(&mut open, vec![StoredTime::TooLarge]).is_err());
        let mut ended = clock("D1", Stored::Instants(1), None, |rules| {
            rules.reach_ns = i64::MIN..=ns("2024-01-01");
        });
        assert_eq!(timestamp(&mut ended, StoredTime::TooLarge), i64::MAX);
        assert!(timestamps(&mut ended, vec![StoredTime::TooSmall]).is_err());
    }

    proptest! {
        /// The fast conversion gives the same timestamps as the conversion of single values.
        #[test]
        fn shifting_is_stamping(
            zone in prop::sample::select(vec!["America/New_York", "Australia/Lord_Howe", "UTC"]),
            closes in any::<bool>(),
            is_wall in any::<bool>(),
            times_s in prop::collection::vec(1_700_000_000_i64..1_740_000_000, 0..200),
        ) {
            let stored = if is_wall { Stored::Wall(1) } else { Stored::Instants(1) };
            let mut one_by_one = clock("M5", stored, None, |rules| {
                rules.zone = Some(Zone::named(zone).expect(zone));
                rules.ambiguous = Ambiguous::Later;
                // Skipped times are not an error here.
                rules.reach_ns = 0..=0;
                if closes {
                    rules.stamped = Stamped::Close;
                }
            });
            let mut at_once = one_by_one.clone();
            prop_assert!(at_once.only_shifts());
            let mut shifted: Vec<_> = times_s.iter().map(|time_s| time_s * 1_000_000_000).collect();
            let make = if is_wall { StoredTime::Wall } else { StoredTime::Instant };
            let times: Vec<_> = shifted.iter().map(|&time_ns| make(time_ns)).collect();
            at_once.shift(&mut shifted, |_| 0, too_far).expect("no error");
            prop_assert_eq!(timestamps(&mut one_by_one, times).expect("no error").timestamps_ns, shifted);
        }

        #[test]
        fn shifting_to_dates_is_stamping(
            zone in prop::sample::select(vec!["America/New_York", "Asia/Beirut", "UTC"]),
            is_wall in any::<bool>(),
            checks in any::<bool>(),
            // Hours of days: mostly midnight and the evening before.
            hours in prop::collection::vec(
                (19_000_i64..20_000, prop_oneof![20 => 12_i64..=24, 1 => 24_i64..36]),
                0..200,
            ),
            ends in prop::bool::weighted(0.1),
        ) {
            let stored = if is_wall { Stored::Wall(1) } else { Stored::Instants(1) };
            let named = Zone::named(zone).expect(zone);
            let mut one_by_one = clock("D1", stored, None, |rules| {
                rules.zone = Some(named.clone());
                rules.days = Some(Days::Local);
                rules.part = if checks { Part::Primary } else { Part::Other };
            });
            let mut at_once = one_by_one.clone();
            prop_assert!(at_once.only_shifts());
            let mut zoned = WallClock::new(named);
            let walls = hours.iter().map(|(day, hour)| (day * 24 + hour) * NANOSECONDS_PER_HOUR);
            let mut shifted: Vec<_> = walls
                .map(|wall_ns| if is_wall { wall_ns } else { zoned.instants(wall_ns).nearest() })
                .collect();
            if ends {
                shifted.extend([i64::MIN, i64::MAX]);
            }
            let make = if is_wall { StoredTime::Wall } else { StoredTime::Instant };
            let times: Vec<_> = shifted.iter().map(|&time_ns| make(time_ns)).collect();
            let found = at_once.shift(&mut shifted, |at| at as u64, too_far).map(|()| shifted);
            let expected = timestamps(&mut one_by_one, times).map(|timestamps| timestamps.timestamps_ns);
            let comparable = |result: Result<Vec<i64>>| {
                result.map_err(|error| (error.to_string(), error.location().row))
            };
            prop_assert_eq!(comparable(found), comparable(expected));
        }
    }

    #[test]
    fn times_of_a_changing_clock_are_errors_only_within_reach() {
        let new_york = |reach_ns| {
            clock("M1", Stored::Wall(1), None, |rules| {
                rules.zone = Some(Zone::named("America/New_York").expect("a zone"));
                rules.reach_ns = reach_ns;
            })
        };
        for wall in ["2024-11-03T01:30", "2024-03-10T02:30"] {
            let wall = StoredTime::Wall(ns(wall));
            assert!(timestamps(&mut new_york(i64::MIN..=i64::MAX), vec![wall]).is_err());
            assert!(timestamps(&mut new_york(ns("2024-12-01")..=i64::MAX), vec![wall]).is_ok());
        }
    }
}
