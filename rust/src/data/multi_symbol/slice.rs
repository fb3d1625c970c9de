//! Owns the views of slices: a batch, a borrowed slice, an owned slice, one symbol's snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};

use crate::data::candle::{CandleData, VALUES_PER_CANDLE, value_column};
use crate::error::{Code, Error, Result};
use crate::request::{ColumnNames, PriceType, Request};

/// Where `close` stands among the values of a candle.
const CLOSE: usize = 3;

/// What all batches of one run have in common.
#[derive(Debug)]
pub(super) struct BatchLayout {
    symbols: Arc<[String]>,
    index: HashMap<String, usize>,
    price_types: Vec<PriceType>,
    timeframe_ns: i64,
}

impl BatchLayout {
    pub fn new(request: &Request, symbols: Arc<[String]>) -> Self {
        Self {
            index: symbols.iter().cloned().zip(0..).collect(),
            symbols,
            price_types: request.price_types().to_vec(),
            timeframe_ns: request.timeframe().duration_ns(),
        }
    }

    fn side(&self, price_type: PriceType) -> Option<usize> {
        self.price_types.iter().position(|&one| one == price_type)
    }

    fn symbol(&self, symbol: &str) -> Result<usize> {
        self.index.get(symbol).copied().ok_or_else(|| {
            Error::input(
                Code::SymbolNotFound,
                format!("the slice has no symbol {symbol:?}"),
            )
            .at_symbol(symbol)
            .with_hint("request it, or ask only for symbols of the request")
        })
    }
}

/// Whole slices in Arrow columns: slice `k` is rows `[k * N, (k + 1) * N)`, N symbols.
#[derive(Debug, Clone)]
pub struct SliceBatch {
    record_batch: RecordBatch,
    layout: Arc<BatchLayout>,
    timestamps: ScalarBuffer<i64>,
    sides: Vec<Side>,
}

/// The columns of one price type.
#[derive(Debug, Clone)]
struct Side {
    values: [ScalarBuffer<f64>; VALUES_PER_CANDLE],
    nulls: Option<NullBuffer>,
}

impl Side {
    fn is_present(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }
}

impl SliceBatch {
    pub(super) fn new(record_batch: RecordBatch, layout: Arc<BatchLayout>) -> Self {
        let column = |name: &str| {
            record_batch
                .column_by_name(name)
                .expect("the batch was built to the stream's schema")
        };
        let sides = layout
            .price_types
            .iter()
            .map(|&price_type| {
                let field = |field: &str| {
                    column(&value_column(price_type, field)).as_primitive::<Float64Type>()
                };
                Side {
                    values: ColumnNames::VALUE_FIELDS.map(|name| field(name).values().clone()),
                    nulls: field(ColumnNames::VALUE_FIELDS[0]).nulls().cloned(),
                }
            })
            .collect();
        let timestamps = column("timestamp")
            .as_primitive::<TimestampNanosecondType>()
            .values()
            .clone();
        Self {
            record_batch,
            layout,
            timestamps,
            sides,
        }
    }

    /// How many slices it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.record_batch.num_rows() / self.layout.symbols.len()
    }

    /// Whether it holds no slice. Batches from [`super::SliceBatches`] always hold one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The Arrow columns.
    #[must_use]
    pub fn record_batch(&self) -> &RecordBatch {
        &self.record_batch
    }

    /// The Arrow columns, for keeps.
    #[must_use]
    pub fn into_record_batch(self) -> RecordBatch {
        self.record_batch
    }

    /// The symbols, in the order of the rows of a slice.
    #[must_use]
    pub fn symbols(&self) -> &[String] {
        &self.layout.symbols
    }

    /// Slice `index`, borrowed.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<MultiSymbolSliceRef<'_>> {
        (index < self.len()).then(|| MultiSymbolSliceRef {
            batch: self,
            row: index * self.layout.symbols.len(),
        })
    }

    /// The slices in time order, borrowed. Nothing is allocated per step.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = MultiSymbolSliceRef<'_>> + Clone {
        let symbols = self.layout.symbols.len();
        (0..self.len()).map(move |index| MultiSymbolSliceRef {
            batch: self,
            row: index * symbols,
        })
    }

    pub(super) fn first_timestamp_ns(&self) -> Option<i64> {
        self.timestamps.first().copied()
    }

    pub(super) fn last_timestamp_ns(&self) -> Option<i64> {
        self.timestamps.last().copied()
    }
}

/// One slice, borrowed from its batch: two words, no allocation.
#[derive(Debug, Clone, Copy)]
pub struct MultiSymbolSliceRef<'a> {
    batch: &'a SliceBatch,
    /// The row of the slice's first symbol.
    row: usize,
}

impl<'a> MultiSymbolSliceRef<'a> {
    /// The slice's time, nanoseconds since 1970-01-01T00:00Z: its candles open here.
    #[must_use]
    pub fn timestamp_ns(&self) -> i64 {
        self.batch.timestamps[self.row]
    }

    /// When the slice's candles are complete: the timestamp plus the timeframe, nanoseconds UTC.
    #[must_use]
    pub fn known_at_ns(&self) -> i64 {
        self.timestamp_ns()
            .saturating_add(self.batch.layout.timeframe_ns)
    }

    /// The symbols, in the order of the request.
    #[must_use]
    pub fn symbols(&self) -> &'a [String] {
        &self.batch.layout.symbols
    }

    /// How many symbols the slice has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.layout.symbols.len()
    }

    /// Whether the slice has no symbols; a request has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The candle of a symbol. `None` where it has none here, where the price type was not
    /// requested, and for an unknown symbol.
    #[must_use]
    pub fn get(&self, symbol: &str, price_type: PriceType) -> Option<CandleData> {
        self.candle(*self.batch.layout.index.get(symbol)?, price_type)
    }

    /// The candle of the symbol at `index` of [`Self::symbols`].
    #[must_use]
    pub fn candle(&self, index: usize, price_type: PriceType) -> Option<CandleData> {
        if index >= self.len() {
            return None;
        }
        let side = &self.batch.sides[self.batch.layout.side(price_type)?];
        let row = self.row + index;
        if !side.is_present(row) {
            return None;
        }
        let [open, high, low, close, volume] = side.values.each_ref().map(|column| column[row]);
        Some(CandleData {
            timestamp_ns: self.timestamp_ns(),
            open,
            high,
            low,
            close,
            volume,
        })
    }

    /// The closing price. `None` as for [`Self::get`].
    #[must_use]
    pub fn price(&self, symbol: &str, price_type: PriceType) -> Option<f64> {
        let side = &self.batch.sides[self.batch.layout.side(price_type)?];
        let row = self.row + *self.batch.layout.index.get(symbol)?;
        side.is_present(row).then(|| side.values[CLOSE][row])
    }

    /// The middle between the closing prices of bid and ask. `None` where either is missing.
    #[must_use]
    pub fn mid(&self, symbol: &str) -> Option<f64> {
        Some((self.price(symbol, PriceType::Bid)? + self.price(symbol, PriceType::Ask)?) / 2.0)
    }

    /// The closing ask minus the closing bid. `None` where either is missing.
    #[must_use]
    pub fn spread(&self, symbol: &str) -> Option<f64> {
        Some(self.price(symbol, PriceType::Ask)? - self.price(symbol, PriceType::Bid)?)
    }

    /// One field of all symbols side by side, such as `bid_close`; NaN where a candle is missing.
    /// `None` where there is no such column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&'a [f64]> {
        let (side, field) = name.split_once('_')?;
        let price_type: PriceType = side.parse().ok()?;
        let field = ColumnNames::VALUE_FIELDS
            .iter()
            .position(|one| *one == field)?;
        let side = &self.batch.sides[self.batch.layout.side(price_type)?];
        side.values[field].get(self.row..self.row + self.len())
    }

    /// All candles of one symbol.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] for a symbol that was not requested.
    pub fn snapshot(&self, symbol: &str) -> Result<SymbolSnapshot> {
        let index = self.batch.layout.symbol(symbol)?;
        Ok(SymbolSnapshot {
            symbol: symbol.to_owned(),
            timestamp_ns: self.timestamp_ns(),
            bid: self.candle(index, PriceType::Bid),
            ask: self.candle(index, PriceType::Ask),
            trade: self.candle(index, PriceType::Trade),
        })
    }

    /// The slice on its own, independent of the batch.
    #[must_use]
    pub fn to_owned(&self) -> MultiSymbolSlice {
        let layout = &self.batch.layout;
        let candles = (0..self.len())
            .flat_map(|index| {
                layout
                    .price_types
                    .iter()
                    .map(move |&price_type| self.candle(index, price_type))
            })
            .collect();
        MultiSymbolSlice {
            timestamp_ns: self.timestamp_ns(),
            known_at_ns: self.known_at_ns(),
            layout: layout.clone(),
            candles,
        }
    }
}

/// One slice that stands on its own.
#[derive(Debug, Clone)]
pub struct MultiSymbolSlice {
    timestamp_ns: i64,
    known_at_ns: i64,
    layout: Arc<BatchLayout>,
    /// For each symbol in turn, its price types.
    candles: Box<[Option<CandleData>]>,
}

impl MultiSymbolSlice {
    /// The slice's time, nanoseconds since 1970-01-01T00:00Z: its candles open here.
    #[must_use]
    pub fn timestamp_ns(&self) -> i64 {
        self.timestamp_ns
    }

    /// When the slice's candles are complete: the timestamp plus the timeframe, nanoseconds UTC.
    #[must_use]
    pub fn known_at_ns(&self) -> i64 {
        self.known_at_ns
    }

    /// The symbols, in the order of the request.
    #[must_use]
    pub fn symbols(&self) -> &[String] {
        &self.layout.symbols
    }

    /// The candle of a symbol. `None` where it has none here, where the price type was not
    /// requested, and for an unknown symbol.
    #[must_use]
    pub fn get(&self, symbol: &str, price_type: PriceType) -> Option<&CandleData> {
        self.candle(*self.layout.index.get(symbol)?, price_type)
    }

    fn candle(&self, index: usize, price_type: PriceType) -> Option<&CandleData> {
        let side = self.layout.side(price_type)?;
        self.candles[index * self.layout.price_types.len() + side].as_ref()
    }

    /// The closing price. `None` as for [`Self::get`].
    #[must_use]
    pub fn price(&self, symbol: &str, price_type: PriceType) -> Option<f64> {
        self.get(symbol, price_type).map(|candle| candle.close)
    }

    /// The middle between the closing prices of bid and ask. `None` where either is missing.
    #[must_use]
    pub fn mid(&self, symbol: &str) -> Option<f64> {
        Some((self.price(symbol, PriceType::Bid)? + self.price(symbol, PriceType::Ask)?) / 2.0)
    }

    /// The closing ask minus the closing bid. `None` where either is missing.
    #[must_use]
    pub fn spread(&self, symbol: &str) -> Option<f64> {
        Some(self.price(symbol, PriceType::Ask)? - self.price(symbol, PriceType::Bid)?)
    }

    /// All candles of one symbol.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] for a symbol that was not requested.
    pub fn snapshot(&self, symbol: &str) -> Result<SymbolSnapshot> {
        let index = self.layout.symbol(symbol)?;
        let candle = |price_type| self.candle(index, price_type).copied();
        Ok(SymbolSnapshot {
            symbol: symbol.to_owned(),
            timestamp_ns: self.timestamp_ns,
            bid: candle(PriceType::Bid),
            ask: candle(PriceType::Ask),
            trade: candle(PriceType::Trade),
        })
    }
}

/// Two slices are equal where they show the same: NaN equals NaN.
impl PartialEq for MultiSymbolSlice {
    fn eq(&self, other: &Self) -> bool {
        let bits = |candle: &Option<CandleData>| {
            candle.map(|candle| {
                let values = [
                    candle.open,
                    candle.high,
                    candle.low,
                    candle.close,
                    candle.volume,
                ];
                values.map(|value| {
                    if value.is_nan() {
                        f64::NAN.to_bits()
                    } else {
                        value.to_bits()
                    }
                })
            })
        };
        self.timestamp_ns == other.timestamp_ns
            && self.known_at_ns == other.known_at_ns
            && self.layout.symbols == other.layout.symbols
            && self.layout.price_types == other.layout.price_types
            && self
                .candles
                .iter()
                .map(bits)
                .eq(other.candles.iter().map(bits))
    }
}

/// The candles of one symbol at one timestamp; `None` where there is none, or none was requested.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SymbolSnapshot {
    /// The symbol.
    pub symbol: String,
    /// The slice's time, nanoseconds UTC.
    pub timestamp_ns: i64,
    /// The bid candle.
    pub bid: Option<CandleData>,
    /// The ask candle.
    pub ask: Option<CandleData>,
    /// The trade candle.
    pub trade: Option<CandleData>,
}
