//! Checks whether the steps of a series contradict its timeframe.

use slices_core::request::Timeframe;
use slices_core::units::{NANOSECONDS_PER_HOUR, greatest_common_divisor};

/// Minimum number of steps to conclude that a series has a longer timeframe.
const TELLING_STEPS: u64 = 20;

/// Number of steps to compare at a time.
const BLOCK: usize = 32;

/// The timeframes that a warning may propose, and their lengths in minutes.
const PROPOSED: [(&str, i64); 16] = [
    ("W1", 10_080),
    ("D1", 1_440),
    ("H12", 720),
    ("H8", 480),
    ("H6", 360),
    ("H4", 240),
    ("H3", 180),
    ("H2", 120),
    ("H1", 60),
    ("M30", 30),
    ("M15", 15),
    ("M10", 10),
    ("M5", 5),
    ("M3", 3),
    ("M2", 2),
    ("M1", 1),
];

/// The statistics of the steps between neighbouring candles.
pub(super) struct Steps {
    timeframe_ns: i64,
    is_of_days: bool,
    previous_ns: Option<i64>,
    count: u64,
    shorter: u64,
    shortest_ns: i64,
    /// The greatest common divisor of all steps; 0 without steps.
    divisor_ns: i64,
    /// Whether a step lasts 23 or 25 hours.
    has_clock_change: bool,
}

/// How the steps of a series contradict its timeframe.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// Describes the steps.
    pub what: String,
    /// The longest usual timeframe that fits all steps.
    pub fits: Option<&'static str>,
    /// Whether the steps look like days of a zone with clock changes.
    pub looks_local: bool,
}

impl Steps {
    pub fn new(timeframe: &Timeframe) -> Self {
        Self {
            timeframe_ns: timeframe.duration_ns(),
            is_of_days: timeframe.whole_days().is_some(),
            previous_ns: None,
            count: 0,
            shorter: 0,
            shortest_ns: i64::MAX,
            divisor_ns: 0,
            has_clock_change: false,
        }
    }

    /// Adds the next candles: strictly ascending, and later than all before.
    pub fn add(&mut self, timestamps: &[i64]) {
        let Some((&first, &last)) = timestamps.first().zip(timestamps.last()) else {
            return;
        };
        if let Some(previous_ns) = self.previous_ns.replace(last) {
            self.step(first.saturating_sub(previous_ns));
            self.count += 1;
        }
        self.count += timestamps.len() as u64 - 1;
        // Nearly all steps are regular, so blocks without other steps are skipped at once.
        let timeframe_ns = self.timeframe_ns;
        let mut any_regular = false;
        let (before, after) = (&timestamps[..timestamps.len() - 1], &timestamps[1..]);
        for (before, after) in before.chunks(BLOCK).zip(after.chunks(BLOCK)) {
            if are_regular(before, after, timeframe_ns) {
                any_regular = true;
                continue;
            }
            for (&a, &b) in before.iter().zip(after) {
                if b.wrapping_sub(a) == timeframe_ns {
                    any_regular = true;
                } else {
                    self.step(b.saturating_sub(a));
                }
            }
        }
        if any_regular {
            self.step(timeframe_ns);
        }
    }

    fn step(&mut self, step_ns: i64) {
        if self.divisor_ns == 0 || step_ns % self.divisor_ns != 0 {
            self.divisor_ns = greatest_common_divisor(step_ns, self.divisor_ns);
        }
        if step_ns < self.timeframe_ns {
            self.shorter += 1;
            self.shortest_ns = self.shortest_ns.min(step_ns);
        }
        self.has_clock_change |=
            step_ns == 23 * NANOSECONDS_PER_HOUR || step_ns == 25 * NANOSECONDS_PER_HOUR;
    }

    /// The contradiction, if there is one.
    pub fn mismatch(&self) -> Option<Mismatch> {
        let minute_ns = NANOSECONDS_PER_HOUR / 60;
        let divides = |minutes: i64| self.divisor_ns % (minutes * minute_ns) == 0;
        let fits = PROPOSED.iter().find(|(_, minutes)| divides(*minutes));
        let looks_local = self.is_of_days && self.has_clock_change;
        let what = if self.shorter > 0 {
            format!(
                "{} of {} steps are shorter, the shortest {}",
                self.shorter,
                self.count,
                length(self.shortest_ns)
            )
        } else if self.count >= TELLING_STEPS
            && fits.is_some_and(|(_, minutes)| minutes * minute_ns > self.timeframe_ns)
        {
            format!("all {} steps are longer", self.count)
        } else {
            return None;
        };
        Some(Mismatch {
            what,
            fits: fits.map(|(name, _)| *name),
            looks_local,
        })
    }
}

/// Whether all steps equal the timeframe. No early exit, so that several are compared at a time.
fn are_regular(before: &[i64], after: &[i64], timeframe_ns: i64) -> bool {
    let pairs = before.iter().zip(after);
    let differences = pairs.map(|(a, b)| b.wrapping_sub(*a) ^ timeframe_ns);
    differences.fold(0, |all, difference| all | difference) == 0
}

/// A length in the largest unit in which it is a whole number.
fn length(nanoseconds: i64) -> String {
    const UNITS: [(i64, &str); 7] = [
        (24 * NANOSECONDS_PER_HOUR, "d"),
        (NANOSECONDS_PER_HOUR, "h"),
        (NANOSECONDS_PER_HOUR / 60, "min"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let unit = UNITS.iter().find(|(unit, _)| nanoseconds % unit == 0);
    let (unit, name) = unit.unwrap_or(&(1, "ns"));
    format!("{} {name}", nanoseconds / unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = NANOSECONDS_PER_HOUR / 60;

    fn mismatch(timeframe: &str, timestamps: &[i64]) -> Option<Mismatch> {
        let mut steps = Steps::new(&timeframe.parse().expect("a timeframe"));
        steps.add(timestamps);
        steps.mismatch()
    }

    fn every(minutes: i64, count: i64) -> Vec<i64> {
        (0..count).map(|number| number * minutes * MINUTE).collect()
    }

    #[test]
    fn a_longer_timeframe_needs_twenty_steps_to_show() {
        assert_eq!(mismatch("M1", &every(5, 20)), None);
        let found = mismatch("M1", &every(5, 21)).expect("a mismatch");
        assert_eq!(found.fits, Some("M5"));
        let mut with_gap = every(1_440, 21);
        with_gap.push(with_gap[20] + 3 * 1_440 * MINUTE);
        assert_eq!(
            mismatch("M1", &with_gap).and_then(|one| one.fits),
            Some("D1")
        );
        assert_eq!(mismatch("D1", &with_gap), None);
        // M7 is not a usual timeframe, but its steps are whole minutes.
        assert_eq!(mismatch("M7", &every(7, 40)), None);
        assert_eq!(
            mismatch("S30", &every(7, 40)).and_then(|one| one.fits),
            Some("M1")
        );
    }

    #[test]
    fn one_shorter_step_is_enough() {
        let found = mismatch("M5", &[0, 5 * MINUTE, 6 * MINUTE]).expect("a mismatch");
        assert_eq!(found.fits, Some("M1"));
        assert_eq!(found.what, "1 of 2 steps are shorter, the shortest 1 min");
        assert_eq!(mismatch("M5", &[0]), None);
        assert_eq!(mismatch("M5", &[]), None);
    }

    #[test]
    fn days_of_23_hours_look_local() {
        let found = mismatch("D1", &[0, 1_440 * MINUTE, 2_820 * MINUTE]).expect("a mismatch");
        assert!(found.looks_local);
    }

    proptest! {
        #[test]
        fn chunks_never_change_the_answer(
            minutes in prop::collection::btree_set(0..4_000_i64, 0..60),
            step in prop::sample::select(vec![1_i64, 5, 60]),
            cut in 0..60_usize,
        ) {
            let timestamps: Vec<_> = minutes.into_iter().map(|at| at * step * MINUTE).collect();
            let timeframe: Timeframe = "M5".parse().expect("a timeframe");
            let mut steps = Steps::new(&timeframe);
            let (before, after) = timestamps.split_at(cut.min(timestamps.len()));
            steps.add(before);
            steps.add(after);
            prop_assert_eq!(steps.mismatch(), mismatch("M5", &timestamps));
            let all: Vec<_> = timestamps.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let divides = |minutes: i64| all.iter().all(|one| one % (minutes * MINUTE) == 0);
            let fits = PROPOSED.iter().find(|(_, minutes)| divides(*minutes));
            let shorter = all.iter().any(|one| *one < 5 * MINUTE);
            let longer = all.len() >= 20 && fits.is_some_and(|(_, minutes)| *minutes > 5);
            prop_assert_eq!(steps.mismatch().is_some(), shorter || longer);
            if let Some(found) = steps.mismatch() {
                prop_assert_eq!(found.fits, fits.map(|(name, _)| *name));
            }
        }
    }
}
