//! Defines the columns: the fields of a candle, column groups, and the schema of the stream.
//!
//! Column names stand here and nowhere else; a test checks it.

use std::ops::Range;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::metadata::StreamMetadata;
use crate::request::{ColumnNames, Fill, PriceType, Request, SymbolsOut, TimestampOut};

/// Number of values in a candle: open, high, low, close and volume.
pub const VALUES_PER_CANDLE: usize = ColumnNames::VALUE_FIELDS.len();

/// The column of the slices' timestamps.
pub const TIMESTAMP_COLUMN: &str = "timestamp";

/// The column of symbols.
pub const SYMBOL_COLUMN: &str = "symbol";

/// A candle: the bar of one symbol and price type, stamped with the time it opens.
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

/// Columns of the stream that come from the same series, one series per symbol. They hold candles
/// of one price type and timeframe, or indicators, and are null in the same rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnGroup {
    /// The higher timeframe of its candles, by its index in the request; `None` for the primary
    /// one.
    pub higher: Option<usize>,
    /// `None` for indicators.
    pub price_type: Option<PriceType>,
    /// The names of its numeric columns that the files hold.
    pub values: Vec<String>,
    /// The name of the column of a volume that the files do not hold.
    pub absent: Option<String>,
    /// The name of the column that says where a candle exists with finite values.
    pub valid: Option<String>,
    /// The name of the column with the timestamps of the candles.
    pub timestamp: Option<String>,
    /// The series number of the first symbol, and its distance to that of the next symbol.
    first_series: usize,
    series_step: usize,
}

impl ColumnGroup {
    /// The series number of a symbol among all series of the request.
    pub fn series(&self, symbol: usize) -> usize {
        self.first_series + symbol * self.series_step
    }
}

/// A column of the stream after `timestamp` and `symbol`, by the index of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// A value of a candle, or an indicator.
    Value {
        /// The column group, by its index.
        group: usize,
        /// The column within the group.
        field: usize,
    },
    /// A value that no file holds: null throughout.
    Absent {
        /// The column group, by its index.
        group: usize,
    },
    /// Whether a cell holds a candle whose values are all finite.
    Valid {
        /// The column group, by its index.
        group: usize,
    },
    /// The timestamp of the candle in a cell.
    Timestamp {
        /// The column group, by its index.
        group: usize,
    },
}

/// The column groups and columns of a stream.
#[derive(Debug)]
pub struct StreamSchema {
    /// The column groups.
    pub groups: Vec<ColumnGroup>,
    /// The columns, in the order of the schema.
    pub columns: Vec<Column>,
}

impl StreamSchema {
    /// Number of bytes that a row takes in memory.
    pub fn row_bytes(&self) -> usize {
        let of_columns = self.columns.iter().map(|column| match column {
            Column::Value { .. } | Column::Absent { .. } | Column::Timestamp { .. } => {
                size_of::<f64>()
            }
            // A bit, and a byte while it is found.
            Column::Valid { .. } => 2,
        });
        size_of::<i64>() + size_of::<i16>() + of_columns.sum::<usize>()
    }

    /// The layout of the stream for `request` and a number of symbols. Series have the numbers that
    /// the engine gives them.
    ///
    /// The columns after `timestamp` and `symbol` are, in order:
    ///
    /// - the value columns of each price type (bid, ask, trade)
    /// - their `valid_*` columns
    /// - with fill, their `*_timestamp` columns
    /// - for each higher timeframe, its price types (each with the timestamp first) and `valid_*`
    ///   columns
    /// - the indicators
    pub fn new(request: &Request, symbols: usize) -> Self {
        let price_types = request.price_types();
        let mut layout = Self {
            groups: Vec::new(),
            columns: Vec::new(),
        };
        let carried = request.fill() == Fill::Forward;
        let candles = (price_types, request);
        let primary = layout.add_candles(candles, None, "", 0, carried);
        for group in primary.clone() {
            layout.add_values(group);
        }
        layout.add_valid(primary.clone());
        if carried {
            let timestamps = primary.map(|group| Column::Timestamp { group });
            layout.columns.extend(timestamps);
        }
        let mut first_series = symbols * price_types.len();
        for (number, higher) in request.higher_timeframes().iter().enumerate() {
            let prefix = format!("{}_", higher.timeframe());
            let groups = layout.add_candles(candles, Some(number), &prefix, first_series, true);
            for group in groups.clone() {
                layout.columns.push(Column::Timestamp { group });
                layout.add_values(group);
            }
            layout.add_valid(groups);
            first_series += symbols * price_types.len();
        }
        if !request.indicators().is_empty() {
            let names = request.indicators().iter();
            layout.groups.push(ColumnGroup {
                higher: None,
                price_type: None,
                values: names.map(|name| format!("ind_{name}")).collect(),
                absent: None,
                valid: None,
                timestamp: None,
                first_series,
                series_step: 1,
            });
            layout.add_values(layout.groups.len() - 1);
        }
        layout
    }

    fn add_candles(
        &mut self,
        (price_types, request): (&[PriceType], &Request),
        higher: Option<usize>,
        prefix: &str,
        first_series: usize,
        with_timestamps: bool,
    ) -> Range<usize> {
        let first_group = self.groups.len();
        for (place, &price_type) in price_types.iter().enumerate() {
            let fields = request.fields().names();
            let mut values: Vec<_> = fields
                .map(|field| format!("{prefix}{}", value_column(price_type, field)))
                .collect();
            // The volume comes last.
            let shows_volume = request.fields().place(VALUES_PER_CANDLE - 1).is_some();
            let has_no_volume = shows_volume && request.columns().has_no_volume(price_type);
            let absent = has_no_volume.then(|| values.pop()).flatten();
            self.groups.push(ColumnGroup {
                higher,
                price_type: Some(price_type),
                values,
                absent,
                valid: Some(format!("{prefix}{}", valid_column(price_type))),
                timestamp: with_timestamps.then(|| format!("{prefix}{price_type}_timestamp")),
                first_series: first_series + place,
                series_step: price_types.len(),
            });
        }
        first_group..self.groups.len()
    }

    fn add_values(&mut self, group: usize) {
        let fields = 0..self.groups[group].values.len();
        self.columns
            .extend(fields.map(|field| Column::Value { group, field }));
        let absent = self.groups[group].absent.is_some();
        self.columns
            .extend(absent.then_some(Column::Absent { group }));
    }

    fn add_valid(&mut self, groups: Range<usize>) {
        self.columns
            .extend(groups.map(|group| Column::Valid { group }));
    }

    /// The schema of the stream with its symbols. States how long after their timestamp slices are
    /// known, if that is not the timeframe.
    pub fn schema(
        &self,
        request: &Request,
        symbols: &[String],
        known_after_ns: Option<i64>,
    ) -> SchemaRef {
        let timestamp_type = timestamp_type_of(request.timestamp_out());
        let mut fields = vec![
            Field::new(TIMESTAMP_COLUMN, timestamp_type.clone(), false),
            Field::new(SYMBOL_COLUMN, symbol_type_of(request.symbols_out()), false),
        ];
        for &column in &self.columns {
            let field = match column {
                Column::Value { group, field } => {
                    Field::new(&self.groups[group].values[field], DataType::Float64, true)
                }
                Column::Absent { group } => {
                    Field::new(name(&self.groups[group].absent), DataType::Float64, true)
                }
                Column::Valid { group } => {
                    Field::new(name(&self.groups[group].valid), DataType::Boolean, false)
                }
                Column::Timestamp { group } => Field::new(
                    name(&self.groups[group].timestamp),
                    timestamp_type.clone(),
                    true,
                ),
            };
            fields.push(field);
        }
        let metadata = StreamMetadata::entries(request, symbols, known_after_ns);
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }
}

fn name(column: &Option<String>) -> &str {
    column
        .as_deref()
        .expect("the layout has such a column only for groups that name it")
}

/// The type of timestamps.
pub fn timestamp_type_of(unit: TimestampOut) -> DataType {
    let unit = match unit {
        TimestampOut::Nanoseconds => TimeUnit::Nanosecond,
        TimestampOut::Microseconds => TimeUnit::Microsecond,
    };
    DataType::Timestamp(unit, Some("UTC".into()))
}

/// The type of `symbol`.
pub fn symbol_type_of(kind: SymbolsOut) -> DataType {
    match kind {
        SymbolsOut::Dictionary => {
            DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8))
        }
        SymbolsOut::Text => DataType::Utf8,
    }
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
    use crate::metadata::{SCHEMA_VERSION, SCHEMA_VERSION_OF_CHANGES};
    use crate::request::Timeframe;

    fn names_of(schema: &Schema) -> Vec<&str> {
        let fields = schema.fields().iter();
        fields.map(|field| field.name().as_str()).collect()
    }

    #[test]
    fn what_is_shown_besides_follows_in_the_order_of_the_request() {
        let request = Request::builder("root")
            .symbols(["A", "B"])
            .price_types([PriceType::Bid])
            .fill(Fill::Forward)
            .max_age(Some("1h".parse().expect("an age")))
            .higher_timeframes(["H4", "H1"].map(|text| text.parse::<Timeframe>().expect(text)))
            .indicators(["rsi"])
            .build()
            .expect("a request");
        let layout = StreamSchema::new(&request, 2);
        let schema = layout.schema(&request, &["A".to_owned(), "B".to_owned()], None);
        let names = names_of(&schema);
        assert_eq!(names[6..9], ["bid_volume", "valid_bid", "bid_timestamp"]);
        assert_eq!(names[9..11], ["H4_bid_timestamp", "H4_bid_open"]);
        assert_eq!(
            names[14..17],
            ["H4_bid_volume", "H4_valid_bid", "H1_bid_timestamp"]
        );
        assert_eq!(names[22..], ["H1_valid_bid", "ind_rsi"]);
        let series = |group: usize| [0, 1].map(|symbol| layout.groups[group].series(symbol));
        assert_eq!([0, 1, 2, 3].map(series), [[0, 1], [2, 3], [4, 5], [6, 7]]);
    }

    #[test]
    fn the_schema_has_the_documented_columns_in_order() {
        let request = Request::builder("root")
            .symbols(["A"])
            .price_types([PriceType::Trade, PriceType::Bid])
            .build()
            .expect("a request");
        let layout = StreamSchema::new(&request, 1);
        let schema = layout.schema(&request, &["A".to_owned()], None);
        assert_eq!(
            names_of(&schema),
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
        assert!(!schema.metadata().contains_key("known_after_ns"));
        let dated = layout.schema(&request, &["A".to_owned()], Some(7));
        assert_eq!(dated.metadata()["known_after_ns"], "7");
        assert_eq!(
            dated.metadata()["schema_version"],
            SCHEMA_VERSION_OF_CHANGES
        );
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
