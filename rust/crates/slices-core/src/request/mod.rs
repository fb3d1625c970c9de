//! Describes a request: every option is checked before any file is opened.
//!
//! A [`Request`] is consistent once it exists; the engine finds out whether its files exist.
//! Options that do not change the output (threads, chunk sizes) are not part of it.

mod builder;
mod columns;
mod fields;
mod higher_timeframe;
mod naming;
mod options;
mod pattern;
mod readings;
mod scale;
mod split;
mod stamped;
mod symbol_zones;
mod template;
mod time;
mod timeframe;
mod timeline;
mod uri;
mod zone;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use crate::price_type::PriceType;
pub use builder::RequestBuilder;
pub use builder::check_timeline;
pub use columns::{ColumnChoice, ColumnNames, UsualName};
pub use fields::Fields;
pub use higher_timeframe::{HigherTimeframe, MaxAge};
pub use naming::{Naming, decoded, encoded};
pub use options::{
    Ambiguous, Days, DecisionTime, DuplicatePolicy, EmptyRows, Fill, Session, Stamped, SymbolsOut,
    TimestampOut, TimestampUnit, UnsortedPolicy,
};
pub use pattern::SymbolPattern;
pub use readings::{Reading, owner};
pub use scale::{Scale, Scales, decimal};
pub use split::SplitBy;
pub use stamped::StampedSides;
pub use symbol_zones::SymbolZones;
pub use template::{DEFAULT_TEMPLATES, PathTemplate};
pub use template::{PathPattern, TemplateFields};
pub use time::{format_timestamp, parse_timestamp};
pub use timeframe::Timeframe;
pub use timeline::Timeline;
pub use uri::{
    Scheme, check_local_path, check_readable, check_writable, remote_scheme, uri_scheme,
    without_file_scheme,
};
pub use zone::{ClockChange, Instants, WallClock};
pub use zone::{Zone, zone_rules_release};

use self::columns::ColumnDocument;

/// The maximum number of symbols in a stream: the symbol column has 16-bit dictionary keys.
pub const MAX_SYMBOLS: usize = i16::MAX as usize;

/// The symbols of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Symbols {
    /// These, in this order.
    Listed(Vec<String>),
    /// Every symbol that has a file of the timeframe and at least one requested price type, in
    /// name order.
    All,
}

/// A checked request: what to read and what to make of it.
///
/// ```
/// # mod omega_slices { pub use slices_core::{Error, request::*}; }
/// use omega_slices::{Request, Timeline};
///
/// let request = Request::builder("data/parquet")
///     .symbols(["EURUSD", "GBPUSD"])
///     .timeframe("M1".parse()?)
///     .timeline(Timeline::Union)
///     .build()?;
/// assert_eq!(request.timeframe().as_str(), "M1");
/// # Ok::<(), omega_slices::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    data: PathBuf,
    symbols: Symbols,
    timeframe: Timeframe,
    price_types: Vec<PriceType>,
    start_ns: Option<i64>,
    end_ns: Option<i64>,
    before_ns: Option<i64>,
    timeline: Timeline,
    session: Session,
    normalize: bool,
    unsorted: UnsortedPolicy,
    duplicates: Option<DuplicatePolicy>,
    path_template: Option<PathTemplate>,
    naming: Naming,
    columns: ColumnNames,
    price_scales: Scales,
    volume_scales: Scales,
    empty_rows: EmptyRows,
    fill: Fill,
    max_age: Option<MaxAge>,
    higher_timeframes: Vec<HigherTimeframe>,
    known_at: DecisionTime,
    session_file: Option<PathBuf>,
    session_name: Option<String>,
    indicators: Vec<String>,
    indicator_template: Option<PathTemplate>,
    inputs: Option<PathBuf>,
    symbol_pattern: Option<SymbolPattern>,
    one_instrument: bool,
    timestamp_unit: Option<TimestampUnit>,
    zone: Option<Zone>,
    ambiguous: Ambiguous,
    stamped: StampedSides,
    zones: SymbolZones,
    days: Option<Days>,
    /// What a layout says of days: nothing for requests without any.
    days_of_layout: Option<Days>,
    fields: Fields,
    timestamp_out: TimestampOut,
    symbols_out: SymbolsOut,
}

impl Request {
    /// Starts a request over the files below `data`.
    pub fn builder(data: impl Into<PathBuf>) -> RequestBuilder {
        RequestBuilder {
            request: Self {
                data: without_file_scheme(data.into()),
                symbols: Symbols::Listed(Vec::new()),
                timeframe: "M1".parse().expect("M1 is a timeframe"),
                price_types: vec![PriceType::Bid, PriceType::Ask],
                start_ns: None,
                end_ns: None,
                before_ns: None,
                timeline: Timeline::default(),
                session: Session::default(),
                normalize: false,
                unsorted: UnsortedPolicy::default(),
                duplicates: None,
                path_template: None,
                naming: Naming::default(),
                columns: ColumnNames::default(),
                price_scales: Scales::default(),
                volume_scales: Scales::default(),
                empty_rows: EmptyRows::default(),
                fill: Fill::default(),
                max_age: None,
                higher_timeframes: Vec::new(),
                known_at: DecisionTime::default(),
                session_file: None,
                session_name: None,
                indicators: Vec::new(),
                indicator_template: None,
                inputs: None,
                symbol_pattern: None,
                one_instrument: false,
                timestamp_unit: None,
                zone: None,
                ambiguous: Ambiguous::default(),
                stamped: StampedSides::default(),
                zones: SymbolZones::default(),
                days: None,
                days_of_layout: None,
                fields: Fields::ALL,
                timestamp_out: TimestampOut::default(),
                symbols_out: SymbolsOut::default(),
            },
        }
    }

    /// The root folder of the input files; empty if a list names the files.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The symbols.
    #[must_use]
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The timeframe of the candles.
    #[must_use]
    pub fn timeframe(&self) -> &Timeframe {
        &self.timeframe
    }

    /// The price types, each once, in the order bid, ask, trade.
    #[must_use]
    pub fn price_types(&self) -> &[PriceType] {
        &self.price_types
    }

    /// The first raw timestamp to keep (included), nanoseconds UTC; `None` sets no limit.
    #[must_use]
    pub fn start_ns(&self) -> Option<i64> {
        self.start_ns
    }

    /// The last raw timestamp to keep (included), nanoseconds UTC; `None` sets no limit. It is one
    /// nanosecond before [`Self::before_ns`] if that is set.
    #[must_use]
    pub fn end_ns(&self) -> Option<i64> {
        // Checked by the builder: the first instant is no exclusive end.
        self.end_ns
            .or(self.before_ns.map(|before_ns| before_ns - 1))
    }

    /// The exclusive end of the window, nanoseconds UTC, if the request names one.
    #[must_use]
    pub fn before_ns(&self) -> Option<i64> {
        self.before_ns
    }

    /// Which timestamps become slices.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Which rows lie in trading hours.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// Whether timestamps are floored to the timeframe.
    #[must_use]
    pub fn normalize(&self) -> bool {
        self.normalize
    }

    /// What to do with a series that is not in time order.
    #[must_use]
    pub fn unsorted(&self) -> UnsortedPolicy {
        self.unsorted
    }

    /// Which row is kept if several share a timestamp. `None` if the user did not choose: then the
    /// last one is kept.
    #[must_use]
    pub fn duplicates(&self) -> Option<DuplicatePolicy> {
        self.duplicates
    }

    /// The path template that replaces the default layout.
    #[must_use]
    pub fn path_template(&self) -> Option<&PathTemplate> {
        self.path_template.as_ref()
    }

    /// How names of files spell symbols and timeframes.
    #[must_use]
    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    /// The column names of the input files.
    #[must_use]
    pub fn columns(&self) -> &ColumnNames {
        &self.columns
    }

    /// The factors of prices that are stored as integers.
    #[must_use]
    pub fn price_scales(&self) -> Scales {
        self.price_scales
    }

    /// The factors of volumes that are stored as integers.
    #[must_use]
    pub fn volume_scales(&self) -> Scales {
        self.volume_scales
    }

    /// What to do with rows without a price.
    #[must_use]
    pub fn empty_rows(&self) -> EmptyRows {
        self.empty_rows
    }

    /// What is shown where a series of the primary timeframe has no candle.
    #[must_use]
    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// How old a candle may be that is carried forward; `None` without [`Fill::Forward`].
    #[must_use]
    pub fn max_age(&self) -> Option<&MaxAge> {
        self.max_age.as_ref()
    }

    /// The higher timeframes.
    #[must_use]
    pub fn higher_timeframes(&self) -> &[HigherTimeframe] {
        &self.higher_timeframes
    }

    /// The decision time, at which candles of higher timeframes must be complete.
    #[must_use]
    pub fn known_at(&self) -> DecisionTime {
        self.known_at
    }

    /// The file of sessions; all rows outside of them are dropped.
    #[must_use]
    pub fn session_file(&self) -> Option<&Path> {
        self.session_file.as_deref()
    }

    /// The indicators, in the order of their columns.
    #[must_use]
    pub fn indicators(&self) -> &[String] {
        &self.indicators
    }

    /// The path template that replaces the default layout of indicator files.
    #[must_use]
    pub fn indicator_template(&self) -> Option<&PathTemplate> {
        self.indicator_template.as_ref()
    }

    /// The JSON document that lists the input files, instead of a root folder and templates.
    #[must_use]
    pub fn inputs(&self) -> Option<&Path> {
        self.inputs.as_deref()
    }

    /// The pattern that symbols in file names must match.
    #[must_use]
    pub fn symbol_pattern(&self) -> Option<&SymbolPattern> {
        self.symbol_pattern.as_ref()
    }

    /// Whether a column of instruments may contain several values in one series.
    #[must_use]
    pub fn one_instrument(&self) -> bool {
        self.one_instrument
    }

    /// The unit of timestamps that are stored as integers; with `None` these are an error.
    #[must_use]
    pub fn timestamp_unit(&self) -> Option<TimestampUnit> {
        self.timestamp_unit
    }

    /// The zone of local times, and of days in columns of UTC instants.
    #[must_use]
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// How to read local times that occur twice.
    #[must_use]
    pub fn ambiguous(&self) -> Ambiguous {
        self.ambiguous
    }

    /// Which side of a candle its timestamp marks, by timeframe.
    #[must_use]
    pub fn stamped(&self) -> &StampedSides {
        &self.stamped
    }

    /// The zones of some symbols, in place of that of the request.
    #[must_use]
    pub fn zones(&self) -> &SymbolZones {
        &self.zones
    }

    /// What the timestamps of daily and weekly candles mean. `None` means [`Days::Utc`] without a
    /// choice of the user.
    #[must_use]
    pub fn days(&self) -> Option<Days> {
        self.days
    }

    /// The fields of the candles of every timeframe.
    #[must_use]
    pub fn fields(&self) -> Fields {
        self.fields
    }

    /// The unit of all timestamps in the output.
    #[must_use]
    pub fn timestamp_out(&self) -> TimestampOut {
        self.timestamp_out
    }

    /// The type of the column of symbols in the output.
    #[must_use]
    pub fn symbols_out(&self) -> SymbolsOut {
        self.symbols_out
    }

    /// Whether candles of some timeframe last whole days.
    fn has_whole_days(&self) -> bool {
        let higher = self
            .higher_timeframes
            .iter()
            .map(HigherTimeframe::timeframe);
        let mut timeframes = [&self.timeframe].into_iter().chain(higher);
        timeframes.any(|timeframe| timeframe.whole_days().is_some())
    }

    /// Whether slices are stamped with dates in the zones of the primary candles.
    pub fn is_dated(&self) -> bool {
        self.days == Some(Days::Local) && self.timeframe.whole_days().is_some()
    }

    /// The same series at the union of their timestamps, without fill, higher timeframes and
    /// indicators.
    pub fn over_union(&self) -> Self {
        Self {
            timeline: Timeline::Union,
            fill: Fill::default(),
            max_age: None,
            higher_timeframes: Vec::new(),
            indicators: Vec::new(),
            indicator_template: None,
            timestamp_out: TimestampOut::default(),
            symbols_out: SymbolsOut::default(),
            ..self.clone()
        }
    }

    /// The earliest timestamp of a slice: the start of the window, floored with `normalize`. `None`
    /// without a start.
    pub fn first_slice_ns(&self) -> Option<i64> {
        let start_ns = self.start_ns?;
        Some(if self.normalize {
            self.timeframe.floor(start_ns).unwrap_or(i64::MIN)
        } else {
            start_ns
        })
    }

    /// The maximum age of a carried candle in nanoseconds; 0 without fill.
    pub fn max_age_ns(&self) -> i64 {
        let max_age = self.max_age.as_ref();
        max_age.map_or(0, |age| checked_age(age, &self.timeframe))
    }

    /// The delay after which a candle of a higher timeframe is shown, counted from its timestamp,
    /// and its maximum age, both in nanoseconds. `known_after_ns` says when primary candles are
    /// known, if not after one timeframe.
    pub fn higher_timeframe_delays_ns(
        &self,
        higher: &HigherTimeframe,
        known_after_ns: Option<i64>,
    ) -> (i64, Option<i64>) {
        let timeframe = higher.timeframe();
        let known_ns = match self.known_at {
            DecisionTime::Open => 0,
            DecisionTime::Close => known_after_ns.unwrap_or(self.timeframe.duration_ns()),
        };
        let max_age = higher.max_age();
        (
            timeframe.duration_ns() - known_ns,
            max_age.map(|age| checked_age(age, timeframe)),
        )
    }

    /// The whole request as compact JSON, with the symbols that it resolved to.
    #[must_use]
    pub fn to_json(&self, symbols: &[String]) -> String {
        let document = RequestDocument {
            data: self
                .inputs
                .is_none()
                .then(|| self.data.to_string_lossy().into_owned()),
            symbols,
            timeframe: self.timeframe.as_str(),
            price_types: &self.price_types,
            start: self.start_ns.map(format_timestamp),
            end: self.end_ns.map(format_timestamp),
            timeline: &self.timeline,
            session: self
                .session_name
                .as_deref()
                .unwrap_or(self.session.as_str()),
            normalize: self.normalize,
            unsorted: self.unsorted,
            duplicates: self.duplicates.unwrap_or_default(),
            path_template: self.path_template.as_ref().map(PathTemplate::as_str),
            columns: self.columns.document(),
            fill: self.fill,
            max_age: self.max_age.as_ref(),
            with_timeframe: &self.higher_timeframes,
            known_at: self.known_at,
            session_file: self
                .session_file
                .as_ref()
                .filter(|_| self.session_name.is_none())
                .map(|path| path.to_string_lossy().into_owned()),
            indicators: &self.indicators,
            indicator_template: self.indicator_template.as_ref().map(PathTemplate::as_str),
            inputs: self
                .inputs
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned()),
            symbol_pattern: self.symbol_pattern.as_ref().map(SymbolPattern::as_str),
            one_instrument: self.one_instrument.then_some(true),
            timestamp_unit: self.timestamp_unit,
            zone: self.zone.as_ref(),
            ambiguous: Some(self.ambiguous).filter(|chosen| *chosen != Ambiguous::default()),
            stamped: Some(&self.stamped).filter(|chosen| **chosen != StampedSides::default()),
            days: self.days,
            fields: (!self.fields.is_all()).then(|| self.fields.names().collect()),
            timestamp_out: Some(self.timestamp_out).filter(|unit| *unit != TimestampOut::default()),
            before: self.before_ns.map(format_timestamp),
            symbols_out: Some(self.symbols_out).filter(|kind| *kind != SymbolsOut::default()),
            naming: &self.naming,
            price_scale: Some(self.price_scales).filter(|given| *given != Scales::default()),
            volume_scale: Some(self.volume_scales).filter(|given| *given != Scales::default()),
            zones: Some(&self.zones).filter(|zones| !zones.is_empty()),
            empty_rows: Some(self.empty_rows).filter(|policy| *policy != EmptyRows::default()),
        };
        serde_json::to_string(&document).expect("strings, lists and maps with string keys are JSON")
    }
}

/// The request in the stream metadata; the order of the fields is part of the format.
#[derive(Serialize)]
struct RequestDocument<'a> {
    data: Option<String>,
    symbols: &'a [String],
    timeframe: &'a str,
    price_types: &'a [PriceType],
    start: Option<String>,
    end: Option<String>,
    timeline: &'a Timeline,
    session: &'a str,
    normalize: bool,
    unsorted: UnsortedPolicy,
    duplicates: DuplicatePolicy,
    path_template: Option<&'a str>,
    columns: BTreeMap<String, ColumnDocument>,
    fill: Fill,
    max_age: Option<&'a MaxAge>,
    with_timeframe: &'a [HigherTimeframe],
    known_at: DecisionTime,
    session_file: Option<String>,
    indicators: &'a [String],
    indicator_template: Option<&'a str>,
    // Options that a request does not use are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol_pattern: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_instrument: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_unit: Option<TimestampUnit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a Zone>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ambiguous: Option<Ambiguous>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stamped: Option<&'a StampedSides>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<Days>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_out: Option<TimestampOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbols_out: Option<SymbolsOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(flatten)]
    naming: &'a Naming,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_scale: Option<Scales>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume_scale: Option<Scales>,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty_rows: Option<EmptyRows>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zones: Option<&'a SymbolZones>,
}

/// An age that the builder has checked.
fn checked_age(age: &MaxAge, timeframe: &Timeframe) -> i64 {
    age.nanoseconds(timeframe).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_every_word_in_a_fixed_order() {
        let mut columns = ColumnNames::default();
        columns.rename("timestamp", "ts").expect("a field");
        columns.rename("close", "c").expect("a field");
        let request = Request::builder("root")
            .symbols(["A", "B"])
            .price_types([PriceType::Ask, PriceType::Bid])
            .start_ns(Some(0))
            .columns(columns)
            .build()
            .expect("a request");
        assert_eq!(
            request.to_json(&["A".to_owned(), "B".to_owned()]),
            concat!(
                r#"{"data":"root","symbols":["A","B"],"timeframe":"M1","price_types":["bid","ask"],"#,
                r#""start":"1970-01-01T00:00:00.000000000Z","end":null,"timeline":"intersection","#,
                r#""session":"none","normalize":false,"unsorted":"sort","duplicates":"last","#,
                r#""path_template":null,"columns":{"close":"c","timestamp":"ts"},"fill":"none","max_age":null,"#,
                r#""with_timeframe":[],"known_at":"open","session_file":null,"indicators":[],"#,
                r#""indicator_template":null}"#
            )
        );
    }
}
