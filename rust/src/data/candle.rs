//! Owns the column contract: a candle's fields, a chunk of candles, and the schema of the stream.
//!
//! Column names and metadata keys are written here and nowhere else in the crate.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::request::{ColumnNames, PriceType, Request};

/// How many values a candle has: open, high, low, close and volume.
pub const VALUES_PER_CANDLE: usize = ColumnNames::VALUE_FIELDS.len();

/// `schema_name` of every stream and file written by this crate.
pub const SCHEMA_NAME: &str = "multi_symbol_slice";

/// `schema_version` of every stream and file written by this crate.
pub const SCHEMA_VERSION: &str = "1.0.0";

/// `producer` of every stream and file written by this crate.
pub const PRODUCER: &str = concat!("omega-slices/", env!("CARGO_PKG_VERSION"));

/// One candle: the bar of one symbol and price type, stamped with the time it opens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CandleData {
    /// Open time, nanoseconds since 1970-01-01T00:00Z.
    pub timestamp_ns: i64,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Volume, in the unit of the input.
    pub volume: f64,
}

impl CandleData {
    /// Whether all five values are finite numbers.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        [self.open, self.high, self.low, self.close, self.volume]
            .iter()
            .all(|value| value.is_finite())
    }
}

/// The schema of the stream for `request`, over the symbols that it came down to.
///
/// Column order: `timestamp`, `symbol`, the five value columns of each price type (bid, ask,
/// trade), then the `valid_*` columns in the same order.
pub(crate) fn stream_schema(request: &Request, symbols: &[String]) -> SchemaRef {
    let mut fields = vec![
        Field::new("timestamp", timestamp_type(), false),
        Field::new("symbol", symbol_type(), false),
    ];
    for &price_type in request.price_types() {
        for value in ColumnNames::VALUE_FIELDS {
            fields.push(Field::new(
                value_column(price_type, value),
                DataType::Float64,
                true,
            ));
        }
    }
    for &price_type in request.price_types() {
        fields.push(Field::new(
            valid_column(price_type),
            DataType::Boolean,
            false,
        ));
    }
    let metadata = [
        ("schema_name", SCHEMA_NAME.to_owned()),
        ("schema_version", SCHEMA_VERSION.to_owned()),
        (
            "symbols",
            serde_json::to_string(symbols).expect("a list of strings is JSON"),
        ),
        ("timeframe", request.timeframe().as_str().to_owned()),
        ("request", request.to_json(symbols)),
        ("producer", PRODUCER.to_owned()),
    ];
    let metadata: HashMap<_, _> = metadata
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// The type of `timestamp`.
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// The type of `symbol`.
pub(crate) fn symbol_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8))
}

/// The name of a value column, such as `bid_open`.
#[must_use]
pub fn value_column(price_type: PriceType, field: &str) -> String {
    format!("{price_type}_{field}")
}

/// The name of a validity column, such as `valid_bid`.
#[must_use]
pub fn valid_column(price_type: PriceType) -> String {
    format!("valid_{price_type}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_the_documented_columns_in_order() {
        let request = Request::builder("root")
            .symbols(["A"])
            .price_types([PriceType::Trade, PriceType::Bid])
            .build()
            .expect("a request");
        let schema = stream_schema(&request, &["A".to_owned()]);
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(
            names,
            [
                "timestamp",
                "symbol",
                "bid_open",
                "bid_high",
                "bid_low",
                "bid_close",
                "bid_volume",
                "trade_open",
                "trade_high",
                "trade_low",
                "trade_close",
                "trade_volume",
                "valid_bid",
                "valid_trade",
            ]
        );
        assert_eq!(schema.metadata()["symbols"], r#"["A"]"#);
        assert_eq!(schema.metadata()["schema_version"], SCHEMA_VERSION);
    }

    #[test]
    fn a_candle_is_valid_when_all_five_values_are_finite() {
        let candle = CandleData {
            timestamp_ns: 0,
            open: 1.0,
            high: 1.0,
            low: 1.0,
            close: 1.0,
            volume: 0.0,
        };
        assert!(candle.is_valid());
        assert!(
            !CandleData {
                low: f64::NAN,
                ..candle
            }
            .is_valid()
        );
        assert!(
            !CandleData {
                volume: f64::INFINITY,
                ..candle
            }
            .is_valid()
        );
    }
}
