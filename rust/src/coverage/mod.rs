//! Measures coverage: how much of a request's timeline each series covers, and which series cost
//! slices.
//!
//! [`Coverage::measure`] walks once over the union of all series, in the bounded memory of
//! [`SliceBatches`], and counts. Nothing here prints. Each field says what it counts.
//!
//! * `tally` counts slice by slice: presence, candles that contradict themselves, cells of the heat
//!   map.
//! * `survey` counts series by series: dropped rows and missing bars.
//! * `heat_map` computes the picture, in the bins of `bins`.

mod bins;
mod heat_map;
mod survey;
mod tally;

use std::cmp::Reverse;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use self::bins::most_bins;
pub use self::heat_map::{HeatMap, HeatMapCell};
use self::survey::{GapCount, SeriesSurvey, SharedSurvey, Surveyor, lock};
use self::tally::Tally;
use slices_core::error::Result;
use slices_core::report::{SeriesReport, Warning};
use slices_core::request::{PriceType, Request};
use slices_core::text::listed;
use slices_engine::multi_symbol::{Inputs, ReadOptions, SliceBatches};

/// The part of a timeline that each series and symbol covers, those that cost most slices first.
///
/// The union holds every timestamp at which any series has a candle. The intersection holds those
/// at which every series has one. Both lie within window and session of the request. Serializes to
/// the document of `coverage --json`, which leaves out the heat map.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Coverage {
    /// The timeframe of the candles.
    pub timeframe: String,
    /// The price types, in the order bid, ask, trade.
    pub price_types: Vec<PriceType>,
    /// Timestamps of the union.
    pub union_timestamps: u64,
    /// Timestamps of the intersection.
    pub intersection_timestamps: u64,
    /// The first timestamp of the union, nanoseconds UTC.
    pub first_timestamp_ns: Option<i64>,
    /// The last timestamp of the union, nanoseconds UTC.
    pub last_timestamp_ns: Option<i64>,
    /// One entry per symbol. Sorted by [`SymbolCoverage::alone`], then by the number of incomplete
    /// timestamps, both descending, then in request order.
    pub symbols: Vec<SymbolCoverage>,
    /// One entry per series. Sorted by [`SeriesCoverage::alone`], then by
    /// [`SeriesCoverage::misses`], both descending, then in request order.
    pub series: Vec<SeriesCoverage>,
    /// Symbol × time.
    #[serde(skip)]
    pub heat_map: HeatMap,
}

/// One symbol over the timestamps of the union: `complete + one_sided + missing` is their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SymbolCoverage {
    /// The symbol.
    pub symbol: String,
    /// Timestamps at which it has all requested price types.
    pub complete: u64,
    /// Timestamps at which it has some of them, and lacks others.
    pub one_sided: u64,
    /// Timestamps at which it has none.
    pub missing: u64,
    /// Timestamps that only this symbol keeps out of the intersection: every other symbol is
    /// complete.
    pub alone: u64,
    /// Timestamps at which the bid closes above the ask.
    pub crossed: u64,
}

/// One series: a symbol's candles of one price type.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SeriesCoverage {
    /// The rows and candles of the series, and the rows that each rule dropped.
    #[serde(flatten)]
    pub report: SeriesReport,
    /// Its candles as a share of the timestamps of the union; `None` if the union is empty.
    pub share: Option<f64>,
    /// Timestamps of the union at which it has no candle.
    pub misses: u64,
    /// Timestamps that only this series keeps out of the intersection: every other series has a
    /// candle.
    pub alone: u64,
    /// Bars that are missing between its own candles.
    pub gaps: Gaps,
    /// Candles that contradict themselves.
    pub inconsistent: Inconsistent,
}

/// Stretches between neighbouring candles of a series with bars that the session filter would keep.
///
/// Bars are those of the timeframe's grid, on which `normalize` floors candles. A candle stands for
/// the bar that holds its timestamp. A bar lies in trading hours if its opening does. Missing bars
/// before the first candle and after the last are not gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gaps {
    /// Number of stretches.
    pub count: u64,
    /// Number of bars in all stretches.
    pub bars: u64,
    /// The stretch with the most bars; the first of several.
    pub longest: Option<Gap>,
}

/// One stretch without candles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gap {
    /// Number of missing bars.
    pub bars: u64,
    /// The candle before them, nanoseconds UTC.
    pub last_before_ns: i64,
    /// The candle after them, nanoseconds UTC.
    pub first_after_ns: i64,
}

/// The number of candles that contradict themselves, by kind. A candle may count in several kinds.
/// A comparison with NaN never holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inconsistent {
    /// The high is lower than the low.
    pub high_below_low: u64,
    /// Open or close lies below the low or above the high, and the high is not lower than the low.
    pub outside_range: u64,
    /// The volume is negative.
    pub negative_volume: u64,
    /// A value is null, NaN or infinite.
    pub not_finite: u64,
}

impl Inconsistent {
    /// Whether all counts are 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<&GapCount> for Gaps {
    fn from(count: &GapCount) -> Self {
        Self {
            count: count.gaps,
            bars: count.bars,
            longest: count.longest.map(|gap| Gap {
                bars: gap.bars,
                last_before_ns: gap.last_before_ns,
                first_after_ns: gap.first_after_ns,
            }),
        }
    }
}

impl Coverage {
    /// Reads every candle of the request's series and counts. Ignores timeline, carrying forward,
    /// higher timeframes and indicators of the request.
    ///
    /// Calls `after_batch` now and then, and once at the end, for progress and for warnings.
    ///
    /// ```no_run
    /// use omega_slices::{Coverage, ReadOptions, Request};
    ///
    /// let request = Request::builder("data/parquet").symbols(["EURUSD", "GBPUSD"]).build()?;
    /// let coverage = Coverage::measure(&request, &ReadOptions::new(), |_| {})?;
    /// for symbol in &coverage.symbols {
    ///     println!("{} alone costs {} slices", symbol.symbol, symbol.alone);
    /// }
    /// # Ok::<(), omega_slices::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`SliceBatches::open`] and of its batches.
    pub fn measure(
        request: &Request,
        options: &ReadOptions,
        mut after_batch: impl FnMut(&SliceBatches),
    ) -> Result<Self> {
        let request = request.over_union();
        let inputs = Inputs::find(&request, options)?;
        let bins = most_bins(inputs.resolved.series.len());
        let mut surveys: Vec<SharedSurvey> = Vec::new();
        let mut batches = SliceBatches::open_observed(&request, inputs, options, |series| {
            let survey = Arc::new(Mutex::new(SeriesSurvey::new(&series, bins)));
            surveys.push(survey.clone());
            Box::new(Surveyor(survey))
        })?;
        let mut tally = Tally::new(&request, batches.symbols().len());
        while let Some(batch) = batches.next() {
            let walked = batch.map(|batch| {
                tally.add(&batch);
                batches.recycle(batch.into_record_batch());
            });
            after_batch(&batches);
            walked?;
        }
        after_batch(&batches);
        Ok(Self::new(&request, &batches, tally, &surveys))
    }

    fn new(
        request: &Request,
        batches: &SliceBatches,
        tally: Tally,
        surveys: &[SharedSurvey],
    ) -> Self {
        let report = batches.report();
        let union_timestamps = report.slices;
        let share =
            |candles: u64| (union_timestamps > 0).then(|| candles as f64 / union_timestamps as f64);
        let each = report.series.into_iter().zip(surveys).zip(tally.series());
        let mut series: Vec<_> = each
            .map(|((report, survey), (alone, inconsistent))| SeriesCoverage {
                share: share(report.candles),
                misses: union_timestamps - report.candles,
                alone,
                gaps: (&lock(survey).gaps).into(),
                inconsistent,
                report,
            })
            .collect();
        series.sort_by_key(|one| (Reverse(one.alone), Reverse(one.misses)));
        let intersection_timestamps = tally.complete();
        let dropped = surveys
            .iter()
            .map(|survey| lock(survey).dropped.clone())
            .collect();
        let alone = tally.alone_by_symbol().to_vec();
        let crossed = tally.crossed().to_vec();
        let heat_map = HeatMap::new(request, batches.symbols(), tally.into_cells(), dropped);
        let mut symbols: Vec<_> = (0..batches.symbols().len())
            .map(|symbol| {
                let all = heat_map.total(symbol);
                SymbolCoverage {
                    symbol: batches.symbols()[symbol].clone(),
                    complete: all.present,
                    one_sided: all.one_sided,
                    missing: all.missing,
                    alone: alone[symbol],
                    crossed: crossed[symbol],
                }
            })
            .collect();
        symbols.sort_by_key(|one| (Reverse(one.alone), Reverse(one.one_sided + one.missing)));
        Self {
            timeframe: request.timeframe().as_str().to_owned(),
            price_types: request.price_types().to_vec(),
            union_timestamps,
            intersection_timestamps,
            first_timestamp_ns: report.first_timestamp_ns,
            last_timestamp_ns: report.last_timestamp_ns,
            symbols,
            series,
            heat_map,
        }
    }

    /// Returns a warning that names the series with candles at less than `share` (0 to 1) of the
    /// union's timestamps, the worst first. `None` if each has enough. An empty union never has
    /// enough.
    #[must_use]
    pub fn check(&self, share: f64) -> Option<Warning> {
        const SHOWN: usize = 20;
        let mut under: Vec<_> = self
            .series
            .iter()
            .filter_map(|one| one.share.filter(|own| *own < share).map(|own| (own, one)))
            .collect();
        let message = if self.union_timestamps == 0 {
            "cannot compute shares: no series has a candle".to_owned()
        } else if under.is_empty() {
            return None;
        } else {
            under.sort_by(|one, other| one.0.total_cmp(&other.0));
            let named = under
                .iter()
                .map(|(own, one)| format!("{} ({own:.6})", one.report.name()));
            format!(
                "{} of {} series have candles at less than {share} of the {} timestamps: {}",
                under.len(),
                self.series.len(),
                self.union_timestamps,
                listed(named, SHOWN)
            )
        };
        Some(Warning::new("UNDER_THRESHOLD", message))
    }
}
