//! Defines the public error type of the crate and its numbered codes.
//!
//! Every error says what is wrong, where (file, symbol, price type, row, column) and what to do
//! next. The exit status follows from [`Error::kind`]; the library never exits or prints.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::hint::Hint;
use crate::price_type::PriceType;

/// A result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The numbered reasons of failure, the same in Rust, on the command line and in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// 2: the request is invalid or contradicts itself.
    Usage = 2,
    /// 4: the output or the operating system failed (disk full, too few descriptors, …).
    SystemFailure = 4,
    /// 3001: a symbol without a file, or with an invalid name.
    SymbolNotFound = 3001,
    /// 3002: the symbol has no file of this timeframe, or the timeframe is unknown.
    TimeframeNotFound = 3002,
    /// 3003: no slice or candle has the requested timestamp.
    NoDataForTimestamp = 3003,
    /// 3004: an unknown price type, or one that the symbol has no file of.
    InvalidPriceType = 3004,
    /// 3005: the iterator has no more slices.
    IteratorExhausted = 3005,
    /// 3006: a slice stream or file that is unreadable or incomplete.
    DeserializationError = 3006,
    /// 3007: a column is missing or has a wrong type.
    SchemaMismatch = 3007,
    /// 3008: a Parquet file that is unreadable or contains invalid values.
    CorruptInput = 3008,
    /// 3009: two rows of one series share a timestamp, and the request forbids it.
    DuplicateTimestamp = 3009,
    /// 3010: a series is not in time order, and the request forbids it.
    UnsortedInput = 3010,
    /// 3011: the requested backend is not available.
    BackendUnavailable = 3011,
    /// 3012: two implementations disagree.
    Divergence = 3012,
    /// 3013: an input can be read in more than one way, and the request does not choose.
    AmbiguousInput = 3013,
    /// 3014: a format, a table or a scheme that this program cannot read.
    UnsupportedInput = 3014,
    /// 3021: a series outside the timeline has no candles, and the run is strict.
    EmptySeries = 3021,
    /// 3022: the timeline is empty, and the run is strict.
    EmptyTimeline = 3022,
    /// 3023: rows of one timestamp differ, and the run is strict.
    ConflictingDuplicates = 3023,
    /// 3024: the steps of a series contradict its timeframe, and the run is strict.
    TimeframeMismatch = 3024,
    /// 3025: days are not stamped at midnight UTC, and the run is strict.
    LocalDays = 3025,
}

impl Code {
    /// All codes, ordered by number.
    pub const ALL: [Self; 21] = [
        Self::Usage,
        Self::SystemFailure,
        Self::SymbolNotFound,
        Self::TimeframeNotFound,
        Self::NoDataForTimestamp,
        Self::InvalidPriceType,
        Self::IteratorExhausted,
        Self::DeserializationError,
        Self::SchemaMismatch,
        Self::CorruptInput,
        Self::DuplicateTimestamp,
        Self::UnsortedInput,
        Self::BackendUnavailable,
        Self::Divergence,
        Self::AmbiguousInput,
        Self::UnsupportedInput,
        Self::EmptySeries,
        Self::EmptyTimeline,
        Self::ConflictingDuplicates,
        Self::TimeframeMismatch,
        Self::LocalDays,
    ];

    /// The number, as users and programs see it.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The name in capitals, as in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "USAGE",
            Self::SystemFailure => "SYSTEM_FAILURE",
            Self::SymbolNotFound => "SYMBOL_NOT_FOUND",
            Self::TimeframeNotFound => "TIMEFRAME_NOT_FOUND",
            Self::NoDataForTimestamp => "NO_DATA_FOR_TIMESTAMP",
            Self::InvalidPriceType => "INVALID_PRICE_TYPE",
            Self::IteratorExhausted => "ITERATOR_EXHAUSTED",
            Self::DeserializationError => "DESERIALIZATION_ERROR",
            Self::SchemaMismatch => "SCHEMA_MISMATCH",
            Self::CorruptInput => "CORRUPT_INPUT",
            Self::DuplicateTimestamp => "DUPLICATE_TIMESTAMP",
            Self::UnsortedInput => "UNSORTED_INPUT",
            Self::BackendUnavailable => "BACKEND_UNAVAILABLE",
            Self::Divergence => "DIVERGENCE",
            Self::AmbiguousInput => "AMBIGUOUS_INPUT",
            Self::UnsupportedInput => "UNSUPPORTED_INPUT",
            Self::EmptySeries => "EMPTY_SERIES",
            Self::EmptyTimeline => "EMPTY_TIMELINE",
            Self::ConflictingDuplicates => "CONFLICTING_DUPLICATES",
            Self::TimeframeMismatch => "TIMEFRAME_MISMATCH",
            Self::LocalDays => "LOCAL_DAYS",
        }
    }
}

/// Who has to act on an error; the command line derives the exit status from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong (exit status 2).
    Usage,
    /// The input is missing, malformed or contradictory (exit status 3).
    Input,
    /// The output or the system failed (exit status 4).
    System,
}

/// What went wrong, where, and what to do about it.
///
/// Constructors create it, and each `with_*` or `at_*` method adds a detail. The display text
/// contains message and location on one line.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    details: Box<Details>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Debug)]
struct Details {
    code: Code,
    kind: ErrorKind,
    message: String,
    hint: Option<Hint>,
    location: Location,
}

/// The location of an error or warning; unknown and inapplicable parts are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub file: Option<PathBuf>,
    /// The symbol.
    pub symbol: Option<String>,
    /// The price type of the series.
    pub price_type: Option<PriceType>,
    /// The row in the file, counted from 0.
    pub row: Option<u64>,
    /// The column, as the file or the renaming names it.
    pub column: Option<String>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| {
            let written = write!(f, "{separator}{name} {value}");
            separator = ", ";
            written
        };
        if let Some(file) = &self.file {
            part(f, "file", &file.display())?;
        }
        if let Some(symbol) = &self.symbol {
            part(f, "symbol", symbol)?;
        }
        if let Some(price_type) = self.price_type {
            part(f, "price type", &price_type)?;
        }
        if let Some(row) = self.row {
            part(f, "row", &row)?;
        }
        if let Some(column) = &self.column {
            part(f, "column", column)?;
        }
        Ok(())
    }
}

impl Location {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Error {
    fn new(code: Code, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            details: Box::new(Details {
                code,
                kind,
                message: message.into(),
                hint: None,
                location: Location::default(),
            }),
            source: None,
        }
    }

    /// Creates a usage error without a numbered code of its own.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, ErrorKind::Usage, message)
    }

    /// Creates a usage error with a numbered code.
    #[must_use]
    pub fn bad_request(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, ErrorKind::Usage, message)
    }

    /// Creates an error of the input files.
    #[must_use]
    pub fn input(code: Code, message: impl Into<String>) -> Self {
        Self::new(code, ErrorKind::Input, message)
    }

    /// Creates an error of the output or the operating system.
    #[must_use]
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(Code::SystemFailure, ErrorKind::System, message)
    }

    /// Adds a hint: what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Hint>) -> Self {
        self.details.hint = Some(hint.into());
        self
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the file.
    #[must_use]
    pub fn at_file(mut self, file: &Path) -> Self {
        self.details.location.file = Some(file.to_owned());
        self
    }

    /// Adds the series; a series of indicators has no price type.
    #[must_use]
    pub fn at_series(mut self, symbol: &str, price_type: impl Into<Option<PriceType>>) -> Self {
        self.details.location.symbol = Some(symbol.to_owned());
        self.details.location.price_type = price_type.into();
        self
    }

    /// Adds the symbol alone.
    #[must_use]
    pub fn at_symbol(mut self, symbol: &str) -> Self {
        self.details.location.symbol = Some(symbol.to_owned());
        self
    }

    /// Adds the row of the file, counted from 0.
    #[must_use]
    pub fn at_row(mut self, row: u64) -> Self {
        self.details.location.row = Some(row);
        self
    }

    /// Adds the column.
    #[must_use]
    pub fn at_column(mut self, column: &str) -> Self {
        self.details.location.column = Some(column.to_owned());
        self
    }

    /// The numbered code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.details.code
    }

    /// Who has to act.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.details.kind
    }

    /// What is wrong, without the location.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.details.message
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&Hint> {
        self.details.hint.as_ref()
    }

    /// Where it happened.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.details.location
    }

    /// Whether a write failed because the reader of a pipe or socket has closed it.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        self.details.kind == ErrorKind::System
            && self
                .source
                .as_ref()
                .and_then(|source| source.downcast_ref::<std::io::Error>())
                .is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionReset))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details.message)?;
        if !self.details.location.is_empty() {
            write!(f, " ({})", self.details.location)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_known_part_of_the_place() {
        let error = Error::input(Code::CorruptInput, "the timestamp is null")
            .at_file(Path::new("EURUSD_M1_BID.parquet"))
            .at_series("EURUSD", PriceType::Bid)
            .at_row(17)
            .at_column("UTC time");
        assert_eq!(
            error.to_string(),
            "the timestamp is null (file EURUSD_M1_BID.parquet, symbol EURUSD, price type bid, \
             row 17, column UTC time)"
        );
    }

    #[test]
    fn only_a_closed_output_pipe_counts_as_broken_pipe() {
        let pipe = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let socket = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(Error::system("write").with_source(pipe()).is_broken_pipe());
        assert!(
            Error::system("write")
                .with_source(socket())
                .is_broken_pipe()
        );
        assert!(
            !Error::input(Code::CorruptInput, "read")
                .with_source(pipe())
                .is_broken_pipe()
        );
        assert!(
            !Error::system("write")
                .with_source(std::io::Error::from(std::io::ErrorKind::StorageFull))
                .is_broken_pipe()
        );
    }

    #[test]
    fn codes_are_listed_once_each_in_order() {
        assert!(
            Code::ALL
                .windows(2)
                .all(|pair| pair[0].number() < pair[1].number())
        );
    }
}
