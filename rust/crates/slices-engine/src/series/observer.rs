//! Lets others watch a series while it is read. The engine does not know what for.

use slices_core::request::Timeframe;
use slices_core::session::SessionFilter;

/// What an observer may know of its series before it is read.
pub struct ObservedSeries<'a> {
    /// The timeframe of its candles.
    pub timeframe: &'a Timeframe,
    /// The trading hours, outside of which rows are dropped.
    pub session: &'a SessionFilter,
}

/// Watches one series. Runs on the thread that reads it.
pub trait SeriesObserver: Send {
    /// The next candles of the window, strictly increasing and later than all before.
    fn candles(&mut self, timestamps: &[i64]);

    /// Rows of the window that the session filter or the rule of duplicates dropped, in any order. Where
    /// timestamps are floored, those of duplicates are: that is the same bar.
    fn dropped(&mut self, timestamps: &mut dyn Iterator<Item = i64>);
}

/// Watches nothing.
impl SeriesObserver for () {
    fn candles(&mut self, _: &[i64]) {}

    fn dropped(&mut self, _: &mut dyn Iterator<Item = i64>) {}
}
