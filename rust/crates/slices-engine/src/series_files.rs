//! Names the files of each series: what discovery or a list of inputs finds, and every reader of
//! files takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slices_core::report::SeriesName;
use slices_core::request::{TimestampUnit, Zone};

/// The role of a series in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Candles of the primary timeframe.
    Primary,
    /// Candles of a higher timeframe, by its index in the request.
    Higher(usize),
    /// Indicators.
    Indicators,
}

/// A file of a series, and what a list of inputs says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The path of the file.
    pub path: PathBuf,
    /// Set if a list of inputs names the file.
    pub listed: Option<Arc<ListedFile>>,
}

impl From<PathBuf> for FileEntry {
    fn from(path: PathBuf) -> Self {
        Self { path, listed: None }
    }
}

/// A series of a request and its files, in name order or in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesFiles {
    /// The series.
    pub name: SeriesName,
    /// What it is for.
    pub role: Role,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// The folder that the files must stay in, with links resolved.
    pub within: Option<Arc<Path>>,
}

/// The symbols and series of a request. Candles of the primary timeframe come first: for each
/// symbol, one series per price type, in the order of the request. Each higher timeframe follows in
/// the same way, then one series of indicators per symbol.
#[derive(Debug)]
pub struct Resolved {
    /// The symbols, in the order of the stream.
    pub symbols: Vec<String>,
    /// The series, in the order of the stream.
    pub series: Vec<SeriesFiles>,
}

/// What a list says about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedFile {
    /// Column names, by `timestamp`, the fields of a candle, or the names of indicators.
    pub columns: BTreeMap<String, String>,
    /// The unit of integer timestamps.
    pub unit: Option<TimestampUnit>,
    /// The zone of wall clocks and days.
    pub zone: Option<Zone>,
    /// The size in bytes.
    pub size: Option<u64>,
    /// The time of the last write, nanoseconds since 1970.
    pub modified_ns: Option<i64>,
}
