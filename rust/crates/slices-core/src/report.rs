//! Defines the report of a run: series names, counts per series, warnings and totals.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Code, Error};
use crate::hint::{Setting, hint};
use crate::request::{PriceType, TimestampUnit};

/// Identifies a series; indicators have no price type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesName {
    /// The symbol.
    pub symbol: String,
    /// The timeframe of its candles.
    pub timeframe: String,
    /// The price type; `None` for indicators.
    pub price_type: Option<PriceType>,
}

impl SeriesName {
    /// Adds the series to an error.
    pub fn on(&self, error: Error) -> Error {
        error.at_series(&self.symbol, self.price_type)
    }
}

impl fmt::Display for SeriesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.price_type.map_or("indicators", PriceType::as_str);
        write!(f, "{} {} {what}", self.symbol, self.timeframe)
    }
}

/// The row counts of one series: rows read, and rows that each rule dropped.
///
/// `rows = outside_window + outside_session + empty + duplicates + candles` once the series is read
/// to its end. Rows before the window count as outside of it, even if their candles are shown
/// inside.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeriesReport {
    /// The symbol.
    pub symbol: String,
    /// The timeframe of its candles.
    pub timeframe: String,
    /// The price type; `None` for indicators.
    pub price_type: Option<PriceType>,
    /// Number of files of the series.
    pub files: usize,
    /// Number of rows in these files.
    pub rows: u64,
    /// Rows read so far with a raw timestamp inside the window.
    pub inside_window: u64,
    /// Rows that the session filter dropped.
    pub outside_session: u64,
    /// Rows without a price, if the request drops them.
    pub empty: Option<u64>,
    /// Rows dropped in favour of another row of the same timestamp.
    pub duplicates: u64,
    /// Timestamps whose rows differ in a value that is read.
    pub conflicting_duplicates: u64,
    /// Candles of the series.
    pub candles: u64,
    /// The timestamp of the first candle, nanoseconds UTC.
    pub first_timestamp_ns: Option<i64>,
    /// The timestamp of the last candle, nanoseconds UTC.
    pub last_timestamp_ns: Option<i64>,
    /// Whether the kept rows were in time order in the files.
    pub sorted: bool,
    /// The unit of each file with integer timestamps, if the request names a unit.
    pub timestamp_units: Vec<FileUnit>,
    /// The columns that were read for each field, if the request leaves a choice. Several if files
    /// differ, in name order.
    pub columns: BTreeMap<String, BTreeSet<String>>,
}

/// The timestamp unit of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileUnit {
    /// The file.
    pub file: String,
    /// The unit.
    pub unit: TimestampUnit,
}

impl FileUnit {
    /// The unit of a file.
    #[doc(hidden)]
    #[must_use]
    pub fn new(file: &Path, unit: TimestampUnit) -> Self {
        Self {
            file: file.to_string_lossy().into_owned(),
            unit,
        }
    }
}

impl SeriesReport {
    /// A series before its first row.
    #[doc(hidden)]
    #[must_use]
    pub fn new(name: &SeriesName, files: usize, rows: u64) -> Self {
        Self {
            symbol: name.symbol.clone(),
            timeframe: name.timeframe.clone(),
            price_type: name.price_type,
            files,
            rows,
            inside_window: 0,
            outside_session: 0,
            empty: None,
            duplicates: 0,
            conflicting_duplicates: 0,
            candles: 0,
            first_timestamp_ns: None,
            last_timestamp_ns: None,
            sorted: true,
            timestamp_units: Vec::new(),
            columns: BTreeMap::new(),
        }
    }

    /// The name of the series.
    #[doc(hidden)]
    #[must_use]
    pub fn name(&self) -> SeriesName {
        SeriesName {
            symbol: self.symbol.clone(),
            timeframe: self.timeframe.clone(),
            price_type: self.price_type,
        }
    }

    /// Counts the next candles.
    #[doc(hidden)]
    pub fn add_candles(&mut self, timestamps: &[i64]) {
        self.candles += timestamps.len() as u64;
        self.first_timestamp_ns = self.first_timestamp_ns.or(timestamps.first().copied());
        self.last_timestamp_ns = timestamps.last().copied().or(self.last_timestamp_ns);
    }

    /// Rows with a raw timestamp outside the window.
    #[must_use]
    pub fn outside_window(&self) -> u64 {
        self.rows.saturating_sub(self.inside_window)
    }
}

/// A warning: not a failure, but something that users should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Warning {
    /// The kind in capitals, such as `UNSORTED_INPUT`.
    pub name: &'static str,
    /// The full message.
    pub message: String,
    /// The file that it is about.
    #[serde(serialize_with = "as_text")]
    pub file: Option<PathBuf>,
    /// The symbol that it is about.
    pub symbol: Option<String>,
    /// The price type that it is about.
    pub price_type: Option<PriceType>,
}

impl Warning {
    /// A warning of a kind. It concerns no file or series yet.
    #[doc(hidden)]
    #[must_use]
    pub fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            message: message.into(),
            file: None,
            symbol: None,
            price_type: None,
        }
    }

    /// Adds a file.
    #[doc(hidden)]
    #[must_use]
    pub fn at_file(self, file: &Path) -> Self {
        Self {
            file: Some(file.to_owned()),
            ..self
        }
    }

    /// Adds a series.
    #[doc(hidden)]
    #[must_use]
    pub fn at_series(self, series: &SeriesName) -> Self {
        Self {
            symbol: Some(series.symbol.clone()),
            price_type: series.price_type,
            ..self
        }
    }

    /// Converts the warning into the error of a strict run.
    #[must_use]
    pub fn to_error(&self) -> Error {
        let mut error = Error::input(code_of(self.name), &*self.message).with_hint(hint![
            "correct the input or the request, or run without ",
            Setting::Strict
        ]);
        if let Some(file) = &self.file {
            error = error.at_file(file);
        }
        match &self.symbol {
            Some(symbol) => error.at_series(symbol, self.price_type),
            None => error,
        }
    }
}

/// The code that a warning has in a strict run, by its name.
fn code_of(warning: &str) -> Code {
    let code = Code::ALL.into_iter().find(|code| code.name() == warning);
    code.expect("every warning has the name of a code")
}

/// The static name of a warning that was read back; `None` if it is unknown.
pub fn known_name(warning: &str) -> Option<&'static str> {
    let mut names = Code::ALL.into_iter().map(Code::name);
    names.find(|name| *name == warning)
}

/// The counts of a whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Slices emitted.
    pub slices: u64,
    /// Record batches emitted, without the seal.
    pub batches: u64,
    /// Timestamp of the first slice, nanoseconds UTC.
    pub first_timestamp_ns: Option<i64>,
    /// Timestamp of the last slice, nanoseconds UTC.
    pub last_timestamp_ns: Option<i64>,
    /// Number of bytes that the run wrote to a temporary file. Not serialized: it depends on the
    /// machine, and a file of slices holds the report.
    #[serde(skip)]
    pub temporary_bytes: u64,
    /// One entry per series. First the primary timeframe (for each symbol, its price types), then
    /// each higher timeframe, then one series of indicators per symbol.
    pub series: Vec<SeriesReport>,
}

impl Report {
    /// A run that emitted nothing, of these series.
    #[doc(hidden)]
    #[must_use]
    pub fn new(series: Vec<SeriesReport>) -> Self {
        Self {
            slices: 0,
            batches: 0,
            first_timestamp_ns: None,
            last_timestamp_ns: None,
            temporary_bytes: 0,
            series,
        }
    }
}

impl Serialize for SeriesReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut document = serializer.serialize_struct("SeriesReport", 16)?;
        document.serialize_field("symbol", &self.symbol)?;
        document.serialize_field("timeframe", &self.timeframe)?;
        document.serialize_field("price_type", &self.price_type)?;
        document.serialize_field("files", &self.files)?;
        document.serialize_field("rows", &self.rows)?;
        document.serialize_field("outside_window", &self.outside_window())?;
        document.serialize_field("outside_session", &self.outside_session)?;
        if let Some(empty) = self.empty {
            document.serialize_field("empty", &empty)?;
        }
        document.serialize_field("duplicates", &self.duplicates)?;
        document.serialize_field("conflicting_duplicates", &self.conflicting_duplicates)?;
        document.serialize_field("candles", &self.candles)?;
        document.serialize_field("first_timestamp_ns", &self.first_timestamp_ns)?;
        document.serialize_field("last_timestamp_ns", &self.last_timestamp_ns)?;
        document.serialize_field("sorted", &self.sorted)?;
        if !self.timestamp_units.is_empty() {
            document.serialize_field("timestamp_units", &self.timestamp_units)?;
        }
        if !self.columns.is_empty() {
            document.serialize_field("columns", &self.columns)?;
        }
        document.end()
    }
}

/// Serialises a path as text; invalid Unicode is replaced.
fn as_text<S: serde::Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_deref()
        .map(Path::to_string_lossy)
        .serialize(serializer)
}
