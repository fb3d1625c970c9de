//! Writes and reads the metadata of a stream. No other module names its keys.

use std::collections::HashMap;

use serde_json::Value;

use crate::request::{PriceType, Request, SymbolsOut, TimestampOut};

/// `schema_name` of every stream and file of slices.
pub const SCHEMA_NAME: &str = "multi_symbol_slice";

/// `schema_version` of every stream and file of slices.
pub const SCHEMA_VERSION: &str = "1.0.0";

/// `schema_version` if the metadata states when slices are known, or the columns are not those of
/// [`SCHEMA_VERSION`]: fields are left out, columns have other types, or there is no volume.
pub const SCHEMA_VERSION_OF_CHANGES: &str = "1.1.0";

/// `producer` of every stream and file that this release writes.
pub const PRODUCER: &str = concat!("omega-slices/", env!("CARGO_PKG_VERSION"));

/// The key of the schema's name.
const SCHEMA_NAME_KEY: &str = "schema_name";
/// The key of the schema's version.
pub const SCHEMA_VERSION_KEY: &str = "schema_version";
/// The key of the list of symbols.
const SYMBOLS_KEY: &str = "symbols";
/// The key of the primary timeframe.
const TIMEFRAME_KEY: &str = "timeframe";
/// The key of the request.
pub const REQUEST_KEY: &str = "request";
/// The key of the program that wrote the stream.
pub const PRODUCER_KEY: &str = "producer";
/// The key of the list of price types without a volume.
const NO_VOLUME_KEY: &str = "no_volume";
/// The key of the time until slices are known.
const KNOWN_AFTER_KEY: &str = "known_after_ns";

/// The metadata of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamMetadata {
    /// The version of the schema.
    pub schema_version: String,
    /// The symbols, in the order of the rows of a slice.
    pub symbols: Vec<String>,
    /// The primary timeframe.
    pub timeframe: String,
    /// The request that the stream answers.
    pub request: Value,
    /// The program that wrote the stream.
    pub producer: String,
    /// Time from the timestamp of a slice until it is known, in nanoseconds; `None` for the
    /// timeframe.
    pub known_after_ns: Option<i64>,
    /// The price types without a volume: it is null in each of their candles.
    pub no_volume: Vec<PriceType>,
}

/// The reason why metadata is not that of a stream of slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataFault {
    /// It has another schema name.
    OtherSchema,
    /// It has a version that this release cannot read.
    OtherVersion(String),
    /// An entry is missing or invalid.
    Incomplete,
}

impl StreamMetadata {
    /// The metadata of the stream that answers a request, as keys and values.
    #[must_use]
    pub fn entries(
        request: &Request,
        symbols: &[String],
        known_after_ns: Option<i64>,
    ) -> HashMap<String, String> {
        let price_types = request.price_types().iter();
        let no_volume: Vec<_> = price_types
            .filter(|price_type| request.columns().has_no_volume(**price_type))
            .collect();
        let is_plain = known_after_ns.is_none()
            && request.fields().is_all()
            && no_volume.is_empty()
            && request.timestamp_out() == TimestampOut::default()
            && request.symbols_out() == SymbolsOut::default();
        let version = if is_plain {
            SCHEMA_VERSION
        } else {
            SCHEMA_VERSION_OF_CHANGES
        };
        let symbols_json = serde_json::to_string(symbols).expect("a list of strings is JSON");
        let entries = [
            (SCHEMA_NAME_KEY, SCHEMA_NAME.to_owned()),
            (SCHEMA_VERSION_KEY, version.to_owned()),
            (SYMBOLS_KEY, symbols_json),
            (TIMEFRAME_KEY, request.timeframe().as_str().to_owned()),
            (REQUEST_KEY, request.to_json(symbols)),
            (PRODUCER_KEY, PRODUCER.to_owned()),
        ];
        let no_volume = (!no_volume.is_empty()).then(|| {
            let json = serde_json::to_string(&no_volume).expect("a list of words is JSON");
            (NO_VOLUME_KEY, json)
        });
        let known_after = known_after_ns.map(|ns| (KNOWN_AFTER_KEY, ns.to_string()));
        entries
            .into_iter()
            .chain(known_after)
            .chain(no_volume)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// Reads the metadata of a stream. `entry` returns the value of a key.
    ///
    /// # Errors
    ///
    /// The reason why it is not the metadata of slices.
    pub fn read<'a>(entry: impl Fn(&str) -> Option<&'a str>) -> Result<Self, MetadataFault> {
        if entry(SCHEMA_NAME_KEY) != Some(SCHEMA_NAME) {
            return Err(MetadataFault::OtherSchema);
        }
        let major = |version: &str| version.split('.').next().map(str::to_owned);
        let version = entry(SCHEMA_VERSION_KEY).unwrap_or_default();
        if major(version) != major(SCHEMA_VERSION) {
            return Err(MetadataFault::OtherVersion(version.to_owned()));
        }
        let read = || {
            Some(Self {
                schema_version: version.to_owned(),
                symbols: serde_json::from_str(entry(SYMBOLS_KEY)?).ok()?,
                timeframe: entry(TIMEFRAME_KEY)?.to_owned(),
                request: serde_json::from_str(entry(REQUEST_KEY)?).ok()?,
                producer: entry(PRODUCER_KEY)?.to_owned(),
                known_after_ns: entry(KNOWN_AFTER_KEY).and_then(|ns| ns.parse().ok()),
                no_volume: match entry(NO_VOLUME_KEY) {
                    None => Vec::new(),
                    Some(json) => serde_json::from_str(json).ok()?,
                },
            })
        };
        read().ok_or(MetadataFault::Incomplete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &HashMap<String, String>) -> Result<StreamMetadata, MetadataFault> {
        StreamMetadata::read(|key| entries.get(key).map(String::as_str))
    }

    fn entries(known_after_ns: Option<i64>) -> HashMap<String, String> {
        let request = Request::builder("root").symbols(["A", "B"]).build();
        let symbols = ["A".to_owned(), "B".to_owned()];
        StreamMetadata::entries(&request.expect("a request"), &symbols, known_after_ns)
    }

    #[test]
    fn what_is_written_is_read() {
        for (known_after_ns, version) in
            [(None, SCHEMA_VERSION), (Some(7), SCHEMA_VERSION_OF_CHANGES)]
        {
            let read = read(&entries(known_after_ns)).expect("metadata");
            assert_eq!(read.symbols, ["A", "B"]);
            assert_eq!(read.timeframe, "M1");
            assert_eq!(read.request["data"], "root");
            assert_eq!(read.producer, PRODUCER);
            assert_eq!(read.schema_version, version);
            assert_eq!(read.known_after_ns, known_after_ns);
        }
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let without = |key: &str| {
            let mut entries = entries(None);
            entries.remove(key);
            read(&entries).expect_err(key)
        };
        assert_eq!(without(SCHEMA_NAME_KEY), MetadataFault::OtherSchema);
        let other = MetadataFault::OtherVersion(String::new());
        assert_eq!(without(SCHEMA_VERSION_KEY), other);
        for key in [SYMBOLS_KEY, TIMEFRAME_KEY, REQUEST_KEY, PRODUCER_KEY] {
            assert_eq!(without(key), MetadataFault::Incomplete, "{key}");
        }
        let mut newer = entries(None);
        newer.insert(SCHEMA_VERSION_KEY.to_owned(), "1.9.0".to_owned());
        assert!(read(&newer).is_ok());
        newer.insert(SCHEMA_VERSION_KEY.to_owned(), "2.0.0".to_owned());
        assert!(read(&newer).is_err());
    }
}
