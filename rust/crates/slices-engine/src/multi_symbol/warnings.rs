//! Writes the warnings about a whole run, after its end.

use slices_core::report::{SeriesReport, Warning};
use slices_core::request::{Timeline, format_timestamp};
use slices_core::text::listed;

/// Series that a warning names at most.
const SHOWN: usize = 20;

/// Names the series outside the timeline without any candle; `None` if all have candles.
pub(super) fn empty_series(series: &[SeriesReport]) -> Option<Warning> {
    let empty: Vec<_> = series.iter().filter(|one| one.candles == 0).collect();
    (!empty.is_empty()).then(|| {
        Warning::new(
            "EMPTY_SERIES",
            format!(
                "no candles within window and session: {}",
                listed(empty.into_iter().map(|one| one.name().to_string()), SHOWN)
            ),
        )
    })
}

/// Explains why the timeline is empty, from the counts and ends of the series.
pub(super) fn empty_timeline(timeline: &Timeline, series: &[SeriesReport]) -> Warning {
    let name = |one: &SeriesReport| one.name().to_string();
    let leads = |one: &&SeriesReport| match timeline {
        Timeline::Leader(leader) => one.symbol == *leader,
        _ => true,
    };
    let series: Vec<_> = series.iter().filter(leads).collect();
    let without: Vec<_> = series.iter().filter(|one| one.candles == 0).collect();
    let earliest_end = series.iter().min_by_key(|one| one.last_timestamp_ns);
    let latest_start = series.iter().max_by_key(|one| one.first_timestamp_ns);
    let why = if let Timeline::Quorum(quorum) = timeline {
        let none = format!("no timestamp has {quorum} symbols with all their price types");
        if without.is_empty() {
            none
        } else {
            let without = listed(without.into_iter().map(|one| name(one)), SHOWN);
            format!("{none}; no candles remain of {without}")
        }
    } else if !without.is_empty() {
        format!(
            "no candles remain of {}",
            listed(without.into_iter().map(|one| name(one)), SHOWN)
        )
    } else if let (Some(ended), Some(began)) = (earliest_end, latest_start)
        && let (Some(end_ns), Some(start_ns)) = (ended.last_timestamp_ns, began.first_timestamp_ns)
        && end_ns < start_ns
    {
        format!(
            "{} ends at {}, before {} begins at {}",
            name(ended),
            format_timestamp(end_ns),
            name(began),
            format_timestamp(start_ns)
        )
    } else {
        format!(
            "these series share no timestamp: {}",
            listed(series.into_iter().map(name), SHOWN)
        )
    };
    Warning::new(
        "EMPTY_TIMELINE",
        format!("the timeline {timeline} is empty: {why}"),
    )
}
