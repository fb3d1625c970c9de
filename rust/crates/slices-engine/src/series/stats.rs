//! Counts the candles of a series while it is read, and makes the warnings at its end.

use crate::series::steps::Steps;
use crate::series::{OpenSeries, SeriesObserver, SeriesRules};
use slices_core::error::Code;
use slices_core::report::{SeriesName, SeriesReport, Warning};
use slices_core::units::NANOSECONDS_PER_DAY;

/// The counts of a series so far.
pub(super) struct SeriesStats {
    pub report: SeriesReport,
    observer: Box<dyn SeriesObserver>,
    /// `None` for indicators, which may have any step.
    steps: Option<Steps>,
    /// Number of floored days.
    days: u64,
    /// Number of floored days that are not stamped at midnight UTC.
    days_off_midnight: u64,
}

impl SeriesStats {
    pub fn new(
        name: &SeriesName,
        files: usize,
        rows: u64,
        rules: &SeriesRules,
        observer: Box<dyn SeriesObserver>,
    ) -> Self {
        let mut report = SeriesReport::new(name, files, rows);
        report.empty = rules.drops_empty.then_some(0);
        Self {
            report,
            observer,
            steps: rules.is_of_candles.then(|| Steps::new(&rules.timeframe)),
            days: 0,
            days_off_midnight: 0,
        }
    }

    /// Adds the next candles of the series.
    pub fn add_candles(&mut self, timestamps: &[i64]) {
        self.report.add_candles(timestamps);
        if let Some(steps) = &mut self.steps {
            steps.add(timestamps);
        }
        self.observer.candles(timestamps);
    }

    /// Counts rows without a price that are no candles.
    pub fn add_empty(&mut self, rows: usize) {
        if let Some(empty) = &mut self.report.empty {
            *empty += rows as u64;
        }
    }

    /// Adds days that are about to be floored.
    pub fn add_days(&mut self, timestamps: &[i64]) {
        let is_off = |at: &&i64| **at % NANOSECONDS_PER_DAY != 0;
        self.days += timestamps.len() as u64;
        self.days_off_midnight += timestamps.iter().filter(is_off).count() as u64;
    }

    /// The warnings about the series, once it has ended.
    pub fn warnings(&self, series: &OpenSeries) -> Vec<Warning> {
        let warning = |code: Code, message: String| {
            Warning::new(code.name(), message)
                .at_file(&series.first_path)
                .at_series(&series.name)
        };
        let name = &series.name;
        let local_days = (self.days_off_midnight > self.days / 2).then(|| {
            let message = format!(
                "{name}: {} of {} candles are not stamped at 00:00Z, as if their writer had lost a \
                 zone; they were floored in UTC; choose the days utc, or local with a zone",
                self.days_off_midnight, self.days
            );
            warning(Code::LocalDays, message)
        });
        let mismatch = self.steps.as_ref().and_then(Steps::mismatch);
        let mismatch = mismatch.map(|found| {
            let mut message = format!(
                "{name}: the steps contradict the timeframe {}: {}; ",
                name.timeframe, found.what
            );
            message.push_str(&match found.fits {
                Some(fits) => format!("{fits} fits"),
                None => "no usual timeframe fits".to_owned(),
            });
            if found.looks_local {
                message.push_str("; days of a local zone are read by choosing the days local");
            }
            warning(Code::TimeframeMismatch, message)
        });
        local_days.into_iter().chain(mismatch).collect()
    }

    /// Reports to the observer the rows in the window that a rule dropped.
    pub fn add_dropped(&mut self, mut timestamps: impl Iterator<Item = i64>) {
        self.observer.dropped(&mut timestamps);
    }
}
