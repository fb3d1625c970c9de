//! Defines the observer of a series. The engine does not know what it is for.

use slices_core::request::Timeframe;
use slices_core::session::SessionFilter;

/// What an observer knows about its series before it is read.
pub struct ObservedSeries<'a> {
    /// The timeframe of its candles.
    pub timeframe: &'a Timeframe,
    /// The trading hours; rows outside are dropped.
    pub session: &'a SessionFilter,
}

/// Observes one series. Runs on the thread that reads it.
pub trait SeriesObserver: Send {
    /// Receives the next candles of the window, strictly increasing and later than all before.
    fn candles(&mut self, timestamps: &[i64]);

    /// Receives rows of the window that the session filter or the duplicate rule dropped, in any
    /// order. Duplicates come with their floored timestamp, if the request floors.
    fn dropped(&mut self, timestamps: &mut dyn Iterator<Item = i64>);
}

/// Observes nothing.
impl SeriesObserver for () {
    fn candles(&mut self, _: &[i64]) {}

    fn dropped(&mut self, _: &mut dyn Iterator<Item = i64>) {}
}
