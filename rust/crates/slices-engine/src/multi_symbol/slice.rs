//! Defines views of slices: a batch, a borrowed slice, an owned slice, and a snapshot of one
//! symbol.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};

use slices_core::candle::{
    CandleData, ColumnGroup, StreamSchema, TIMESTAMP_COLUMN, VALUES_PER_CANDLE,
};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::{Fields, PriceType, Request, Timeframe};

/// The index of `close` among the five values of a candle.
const CLOSE: usize = 3;

/// The parts that all batches of a run share.
#[derive(Debug)]
pub(super) struct BatchContext {
    symbols: Arc<[String]>,
    index: HashMap<String, usize>,
    timeframe: Timeframe,
    /// How long after its timestamp a slice is known, in nanoseconds.
    known_after_ns: i64,
    /// The higher timeframes, in the order of the request.
    higher: Vec<Timeframe>,
    indicators: Vec<String>,
    fields: Fields,
    stream: Arc<StreamSchema>,
    /// Column group and field of each numeric column, by name.
    columns: HashMap<String, (usize, usize)>,
    /// The column groups of the primary timeframe, by price type.
    primary: [Option<usize>; PriceType::ALL.len()],
}

impl BatchContext {
    /// `known_after_ns` says how long after its timestamp a slice is known, if not after the
    /// timeframe.
    pub fn new(
        request: &Request,
        stream: Arc<StreamSchema>,
        symbols: Arc<[String]>,
        known_after_ns: Option<i64>,
    ) -> Self {
        let groups = || stream.groups.iter().enumerate();
        let columns = groups().flat_map(|(group, one)| {
            let names = one.values.iter().cloned().enumerate();
            names.map(move |(field, name)| (name, (group, field)))
        });
        let is_primary = |one: &ColumnGroup, price_type| {
            one.higher.is_none() && one.price_type == Some(price_type)
        };
        let higher = request.higher_timeframes().iter();
        Self {
            index: symbols.iter().cloned().zip(0..).collect(),
            known_after_ns: known_after_ns.unwrap_or(request.timeframe().duration_ns()),
            timeframe: request.timeframe().clone(),
            higher: higher.map(|one| one.timeframe().clone()).collect(),
            indicators: request.indicators().to_vec(),
            fields: request.fields(),
            columns: columns.collect(),
            primary: PriceType::ALL.map(|price_type| {
                let group = groups().find(|(_, one)| is_primary(one, price_type));
                group.map(|(group, _)| group)
            }),
            symbols,
            stream,
        }
    }

    /// Checks that the slices have whole candles.
    ///
    /// # Errors
    ///
    /// A usage error if the request left out fields.
    fn check_whole(&self) -> Result<()> {
        if self.fields.is_all() {
            return Ok(());
        }
        let names: Vec<_> = self.fields.names().collect();
        let names = names.join(", ");
        let message = format!("the slices have no whole candles: their fields are {names}");
        Err(Error::usage(message).with_hint(hint!["read columns, or leave out ", Setting::Fields,]))
    }

    /// Panics unless the slices have whole candles.
    fn expect_whole(&self) {
        if let Err(error) = self.check_whole() {
            panic!("{error}");
        }
    }

    /// The place of the close in a column group. Panics if the request left it out.
    fn close(&self) -> usize {
        let place = self.fields.place(CLOSE);
        place.expect("prices are closes, and the request left out the field close")
    }

    /// The column group of a price type in the primary timeframe.
    fn side(&self, price_type: PriceType) -> Option<usize> {
        self.primary[price_type as usize]
    }

    /// The column group of a price type in any timeframe; `None` if the price type is not
    /// requested.
    fn group(&self, timeframe: &str, price_type: PriceType) -> Result<Option<usize>> {
        if timeframe == self.timeframe.as_str() {
            return Ok(self.side(price_type));
        }
        let place = self.higher.iter().position(|one| one.as_str() == timeframe);
        let Some(place) = place else {
            let known = [&self.timeframe].into_iter().chain(&self.higher);
            let known: Vec<_> = known.map(Timeframe::as_str).collect();
            return Err(Error::input(
                Code::TimeframeNotFound,
                format!("the slice has no candles of timeframe {timeframe:?}"),
            )
            .with_hint(format!(
                "use one of {}, or request it as a higher timeframe",
                known.join(", ")
            )));
        };
        let groups = &self.stream.groups;
        Ok(groups
            .iter()
            .position(|one| one.higher == Some(place) && one.price_type == Some(price_type)))
    }

    /// The column group of the indicators, which comes last.
    fn indicator_group(&self) -> Option<usize> {
        let last = self.stream.groups.len().checked_sub(1)?;
        self.stream.groups[last]
            .price_type
            .is_none()
            .then_some(last)
    }

    fn symbol(&self, symbol: &str) -> Result<usize> {
        self.index.get(symbol).copied().ok_or_else(|| {
            Error::input(
                Code::SymbolNotFound,
                format!("the slice has no symbol {symbol:?}"),
            )
            .at_symbol(symbol)
            .with_hint("add the symbol to the request, or use a symbol of the request")
        })
    }

    /// The snapshot of one symbol; `candle` returns its candle in a column group.
    fn snapshot(
        &self,
        index: usize,
        timestamp_ns: i64,
        candle: impl Fn(usize) -> Option<CandleData>,
        indicators: Vec<Option<f64>>,
    ) -> SymbolSnapshot {
        let of = |higher: Option<usize>, price_type: PriceType| {
            let groups = &self.stream.groups;
            let is_meant =
                |one: &ColumnGroup| one.higher == higher && one.price_type == Some(price_type);
            candle(groups.iter().position(is_meant)?)
        };
        let higher = self.higher.iter().enumerate();
        SymbolSnapshot {
            symbol: self.symbols[index].clone(),
            timestamp_ns,
            bid: of(None, PriceType::Bid),
            ask: of(None, PriceType::Ask),
            trade: of(None, PriceType::Trade),
            higher: higher
                .map(|(place, timeframe)| HigherTimeframeCandles {
                    timeframe: timeframe.clone(),
                    bid: of(Some(place), PriceType::Bid),
                    ask: of(Some(place), PriceType::Ask),
                    trade: of(Some(place), PriceType::Trade),
                })
                .collect(),
            indicators: self.indicators.iter().cloned().zip(indicators).collect(),
        }
    }
}

/// Whole slices in Arrow columns: slice `k` is rows `[k * N, (k + 1) * N)` for N symbols.
#[derive(Debug, Clone)]
pub struct SliceBatch {
    record_batch: RecordBatch,
    layout: Arc<BatchContext>,
    timestamps: ScalarBuffer<i64>,
    sides: Vec<Side>,
}

/// The columns of one column group.
#[derive(Debug, Clone)]
struct Side {
    values: Vec<ScalarBuffer<f64>>,
    nulls: Option<NullBuffer>,
    /// The timestamps of the candles, if they may differ from those of the slices.
    timestamps: Option<ScalarBuffer<i64>>,
}

impl Side {
    fn is_present(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
    }

    /// The candle of a row, in a slice with this timestamp. Fields that were left out are NaN.
    fn candle(&self, row: usize, timestamp_ns: i64, fields: Fields) -> Option<CandleData> {
        if !self.is_present(row) {
            return None;
        }
        let mut values = [f64::NAN; VALUES_PER_CANDLE];
        for (field, column) in fields.indices().zip(&self.values) {
            values[field] = column[row];
        }
        let [open, high, low, close, volume] = values;
        Some(CandleData {
            timestamp_ns: self
                .timestamps
                .as_ref()
                .map_or(timestamp_ns, |own| own[row]),
            open,
            high,
            low,
            close,
            volume,
        })
    }
}

impl SliceBatch {
    /// A batch with timestamps in nanoseconds. The output may have other types.
    pub(super) fn new(record_batch: RecordBatch, layout: Arc<BatchContext>) -> Self {
        let column = |name: &str| {
            record_batch
                .column_by_name(name)
                .expect("the batch was built to the stream's schema")
        };
        let timestamps_of = |name: &str| {
            let timestamps = column(name).as_primitive::<TimestampNanosecondType>();
            timestamps.values().clone()
        };
        let sides = layout.stream.groups.iter().map(|group| {
            let field = |name: &String| column(name).as_primitive::<Float64Type>();
            let values = group.values.iter().map(field);
            Side {
                nulls: values.clone().next().and_then(|one| one.nulls().cloned()),
                values: values.map(|one| one.values().clone()).collect(),
                timestamps: group.timestamp.as_deref().map(timestamps_of),
            }
        });
        let sides = sides.collect();
        let timestamps = timestamps_of(TIMESTAMP_COLUMN);
        Self {
            record_batch,
            layout,
            timestamps,
            sides,
        }
    }

    /// The same slices with the Arrow columns of the output.
    pub(super) fn with_output(mut self, record_batch: RecordBatch) -> Self {
        self.record_batch = record_batch;
        self
    }

    /// Number of slices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.record_batch.num_rows() / self.layout.symbols.len()
    }

    /// Whether it has no slices. Batches from [`super::SliceBatches`] have at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The Arrow columns.
    #[must_use]
    pub fn record_batch(&self) -> &RecordBatch {
        &self.record_batch
    }

    /// Returns the Arrow columns.
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

    /// The slices in time order, borrowed. Allocates nothing per step.
    pub fn slices(&self) -> impl ExactSizeIterator<Item = MultiSymbolSliceRef<'_>> + Clone {
        let symbols = self.layout.symbols.len();
        (0..self.len()).map(move |index| MultiSymbolSliceRef {
            batch: self,
            row: index * symbols,
        })
    }

    /// When all its candles are complete: the timestamp of the last slice plus the timeframe,
    /// nanoseconds UTC. `None` without slices.
    #[must_use]
    pub fn known_at_ns(&self) -> Option<i64> {
        self.slices().last().map(|slice| slice.known_at_ns())
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
    /// The row of the first symbol of the slice.
    row: usize,
}

impl<'a> MultiSymbolSliceRef<'a> {
    /// The timestamp of the slice, nanoseconds since 1970-01-01T00:00Z: its candles open here.
    #[must_use]
    pub fn timestamp_ns(&self) -> i64 {
        self.batch.timestamps[self.row]
    }

    /// When the candles of the slice are complete: its timestamp plus the timeframe, nanoseconds
    /// UTC.
    #[must_use]
    pub fn known_at_ns(&self) -> i64 {
        self.timestamp_ns()
            .saturating_add(self.batch.layout.known_after_ns)
    }

    /// The symbols, in the order of the request.
    #[must_use]
    pub fn symbols(&self) -> &'a [String] {
        &self.batch.layout.symbols
    }

    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.layout.symbols.len()
    }

    /// Whether it has no symbols; a request has at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The candle of a symbol in the primary timeframe, carried forward with fill. `None` if there
    /// is none here, or if the price type or symbol is not requested.
    ///
    /// # Panics
    ///
    /// Panics if the request left out fields, since then there are no whole candles.
    #[must_use]
    pub fn get(&self, symbol: &str, price_type: PriceType) -> Option<CandleData> {
        self.candle(*self.batch.layout.index.get(symbol)?, price_type)
    }

    /// The candle of the symbol at `index` of [`Self::symbols`].
    ///
    /// # Panics
    ///
    /// Panics if the request left out fields.
    #[must_use]
    pub fn candle(&self, index: usize, price_type: PriceType) -> Option<CandleData> {
        self.batch.layout.expect_whole();
        if index >= self.len() {
            return None;
        }
        self.candle_of(index, self.batch.layout.side(price_type)?)
    }

    fn candle_of(&self, index: usize, group: usize) -> Option<CandleData> {
        let fields = self.batch.layout.fields;
        self.batch.sides[group].candle(self.row + index, self.timestamp_ns(), fields)
    }

    /// The candle of a symbol in any requested timeframe. For a higher timeframe it is the latest
    /// complete candle. `None` if there is none, or if the price type is not requested.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] or [`Code::TimeframeNotFound`] if the symbol or timeframe is not
    /// requested; a usage error if the request left out fields.
    pub fn get_candle(
        &self,
        symbol: &str,
        timeframe: &str,
        price_type: PriceType,
    ) -> Result<Option<CandleData>> {
        self.batch.layout.check_whole()?;
        let index = self.batch.layout.symbol(symbol)?;
        let group = self.batch.layout.group(timeframe, price_type)?;
        Ok(group.and_then(|group| self.candle_of(index, group)))
    }

    /// The value of an indicator. `None` if the symbol has no indicators here, or if the symbol or
    /// indicator is not requested.
    #[must_use]
    pub fn indicator(&self, symbol: &str, name: &str) -> Option<f64> {
        let layout = &self.batch.layout;
        let index = *layout.index.get(symbol)?;
        let field = layout.indicators.iter().position(|one| one == name)?;
        self.indicators(index).nth(field)?
    }

    fn indicators(&self, index: usize) -> impl Iterator<Item = Option<f64>> {
        let group = self.batch.layout.indicator_group();
        let side = group.map(|group| &self.batch.sides[group]);
        let row = self.row + index;
        side.into_iter().flat_map(move |side| {
            let values = side.values.iter();
            values.map(move |values| side.is_present(row).then(|| values[row]))
        })
    }

    /// The closing price. `None` as for [`Self::get`].
    ///
    /// # Panics
    ///
    /// Panics if the request left out the field `close`.
    #[must_use]
    pub fn price(&self, symbol: &str, price_type: PriceType) -> Option<f64> {
        let close = self.batch.layout.close();
        let side = &self.batch.sides[self.batch.layout.side(price_type)?];
        let row = self.row + *self.batch.layout.index.get(symbol)?;
        side.is_present(row).then(|| side.values[close][row])
    }

    /// The mean of the closing bid and the closing ask. `None` if either is missing. Panics as
    /// [`Self::price`].
    #[must_use]
    pub fn mid(&self, symbol: &str) -> Option<f64> {
        Some((self.price(symbol, PriceType::Bid)? + self.price(symbol, PriceType::Ask)?) / 2.0)
    }

    /// The closing ask minus the closing bid. `None` if either is missing. Panics as
    /// [`Self::price`].
    #[must_use]
    pub fn spread(&self, symbol: &str) -> Option<f64> {
        Some(self.price(symbol, PriceType::Ask)? - self.price(symbol, PriceType::Bid)?)
    }

    /// One numeric column for all symbols, such as `bid_close`, `H1_ask_open` or `ind_rsi`; absent
    /// values are NaN. `None` for an unknown column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&'a [f64]> {
        let &(group, field) = self.batch.layout.columns.get(name)?;
        self.batch.sides[group].values[field].get(self.row..self.row + self.len())
    }

    /// The snapshot of one symbol.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] if the symbol is not requested; a usage error if the request left
    /// out fields.
    pub fn snapshot(&self, symbol: &str) -> Result<SymbolSnapshot> {
        let layout = &self.batch.layout;
        layout.check_whole()?;
        let index = layout.symbol(symbol)?;
        let indicators = self.indicators(index).collect();
        let candle = |group| self.candle_of(index, group);
        Ok(layout.snapshot(index, self.timestamp_ns(), candle, indicators))
    }

    /// Copies the slice out of its batch.
    #[must_use]
    pub fn to_owned(&self) -> MultiSymbolSlice {
        let layout = &self.batch.layout;
        let timestamp_ns = self.timestamp_ns();
        let rows = self.row..self.row + self.len();
        let mut candles = Vec::with_capacity(layout.stream.groups.len() * self.len());
        for (group, side) in layout.stream.groups.iter().zip(&self.batch.sides) {
            if group.price_type.is_some() {
                let candle = |row| side.candle(row, timestamp_ns, layout.fields);
                candles.extend(rows.clone().map(candle));
            }
        }
        MultiSymbolSlice {
            timestamp_ns,
            layout: layout.clone(),
            candles: candles.into(),
            indicators: (0..self.len())
                .flat_map(|index| self.indicators(index))
                .collect(),
        }
    }
}

/// An owned slice, independent of its batch.
#[derive(Debug, Clone)]
pub struct MultiSymbolSlice {
    timestamp_ns: i64,
    layout: Arc<BatchContext>,
    /// The candles, by column group, then by symbol. Fields that were left out are NaN.
    candles: Box<[Option<CandleData>]>,
    /// The indicators, by symbol, then by name.
    indicators: Box<[Option<f64>]>,
}

impl MultiSymbolSlice {
    /// The timestamp of the slice, nanoseconds since 1970-01-01T00:00Z: its candles open here.
    #[must_use]
    pub fn timestamp_ns(&self) -> i64 {
        self.timestamp_ns
    }

    /// When the candles of the slice are complete: its timestamp plus the timeframe, nanoseconds
    /// UTC.
    #[must_use]
    pub fn known_at_ns(&self) -> i64 {
        self.timestamp_ns.saturating_add(self.layout.known_after_ns)
    }

    /// The symbols, in the order of the request.
    #[must_use]
    pub fn symbols(&self) -> &[String] {
        &self.layout.symbols
    }

    /// The candle of a symbol in the primary timeframe, carried forward with fill. `None` if there
    /// is none here, or if the price type or symbol is not requested.
    ///
    /// # Panics
    ///
    /// Panics if the request left out fields, since then there are no whole candles.
    #[must_use]
    pub fn get(&self, symbol: &str, price_type: PriceType) -> Option<&CandleData> {
        self.layout.expect_whole();
        self.candle(*self.layout.index.get(symbol)?, price_type)
    }

    fn candle(&self, index: usize, price_type: PriceType) -> Option<&CandleData> {
        self.candle_of(index, self.layout.side(price_type)?)
    }

    fn candle_of(&self, index: usize, group: usize) -> Option<&CandleData> {
        self.candles[group * self.layout.symbols.len() + index].as_ref()
    }

    /// The candle of a symbol in any requested timeframe; see [`MultiSymbolSliceRef::get_candle`].
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] or [`Code::TimeframeNotFound`] if the symbol or timeframe is not
    /// requested; a usage error if the request left out fields.
    pub fn get_candle(
        &self,
        symbol: &str,
        timeframe: &str,
        price_type: PriceType,
    ) -> Result<Option<&CandleData>> {
        self.layout.check_whole()?;
        let index = self.layout.symbol(symbol)?;
        let group = self.layout.group(timeframe, price_type)?;
        Ok(group.and_then(|group| self.candle_of(index, group)))
    }

    /// The value of an indicator; see [`MultiSymbolSliceRef::indicator`].
    #[must_use]
    pub fn indicator(&self, symbol: &str, name: &str) -> Option<f64> {
        let index = *self.layout.index.get(symbol)?;
        let field = self.layout.indicators.iter().position(|one| one == name)?;
        self.indicators_of(index)[field]
    }

    fn indicators_of(&self, index: usize) -> &[Option<f64>] {
        let count = self.layout.indicators.len();
        &self.indicators[index * count..][..count]
    }

    /// The closing price. `None` as for [`Self::get`].
    ///
    /// # Panics
    ///
    /// Panics if the request left out the field `close`.
    #[must_use]
    pub fn price(&self, symbol: &str, price_type: PriceType) -> Option<f64> {
        self.layout.close();
        let candle = self.candle(*self.layout.index.get(symbol)?, price_type);
        candle.map(|candle| candle.close)
    }

    /// The mean of the closing bid and the closing ask. `None` if either is missing. Panics as
    /// [`Self::price`].
    #[must_use]
    pub fn mid(&self, symbol: &str) -> Option<f64> {
        Some((self.price(symbol, PriceType::Bid)? + self.price(symbol, PriceType::Ask)?) / 2.0)
    }

    /// The closing ask minus the closing bid. `None` if either is missing. Panics as
    /// [`Self::price`].
    #[must_use]
    pub fn spread(&self, symbol: &str) -> Option<f64> {
        Some(self.price(symbol, PriceType::Ask)? - self.price(symbol, PriceType::Bid)?)
    }

    /// The snapshot of one symbol.
    ///
    /// # Errors
    ///
    /// [`Code::SymbolNotFound`] if the symbol is not requested; a usage error if the request left
    /// out fields.
    pub fn snapshot(&self, symbol: &str) -> Result<SymbolSnapshot> {
        self.layout.check_whole()?;
        let index = self.layout.symbol(symbol)?;
        let candle = |group| self.candle_of(index, group).copied();
        let indicators = self.indicators_of(index).to_vec();
        Ok(self
            .layout
            .snapshot(index, self.timestamp_ns, candle, indicators))
    }
}

/// Slices are equal if they show the same; NaN equals NaN.
impl PartialEq for MultiSymbolSlice {
    fn eq(&self, other: &Self) -> bool {
        let bits = |value: f64| {
            if value.is_nan() {
                f64::NAN.to_bits()
            } else {
                value.to_bits()
            }
        };
        let candle_bits = |candle: &Option<CandleData>| {
            candle.map(|candle| {
                let CandleData {
                    timestamp_ns,
                    open,
                    high,
                    low,
                    close,
                    volume,
                } = candle;
                (timestamp_ns, [open, high, low, close, volume].map(bits))
            })
        };
        let indicator_bits = |value: &Option<f64>| value.map(bits);
        let (candles, indicators) = (self.candles.iter(), self.indicators.iter());
        self.timestamp_ns == other.timestamp_ns
            && self.layout.symbols == other.layout.symbols
            && self.layout.timeframe == other.layout.timeframe
            && self.layout.stream.groups == other.layout.stream.groups
            && candles
                .map(candle_bits)
                .eq(other.candles.iter().map(candle_bits))
            && indicators
                .map(indicator_bits)
                .eq(other.indicators.iter().map(indicator_bits))
    }
}

/// The data of one symbol at one timestamp. A candle is `None` if it is missing or not requested.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SymbolSnapshot {
    /// The symbol.
    pub symbol: String,
    /// The timestamp of the slice, nanoseconds UTC.
    pub timestamp_ns: i64,
    /// The bid candle of the primary timeframe.
    pub bid: Option<CandleData>,
    /// The ask candle of the primary timeframe.
    pub ask: Option<CandleData>,
    /// The trade candle of the primary timeframe.
    pub trade: Option<CandleData>,
    /// The latest complete candles of the higher timeframes, in the order of the request.
    pub higher: Vec<HigherTimeframeCandles>,
    /// The indicators by name, in the order of the request; `None` if the symbol has none here.
    pub indicators: Vec<(String, Option<f64>)>,
}

impl SymbolSnapshot {
    /// The age of its oldest candle of the primary timeframe, in nanoseconds; `None` without
    /// candles.
    #[must_use]
    pub fn age_ns(&self) -> Option<i64> {
        let shown = [self.bid, self.ask, self.trade].into_iter().flatten();
        let ages = shown.map(|candle| self.timestamp_ns.saturating_sub(candle.timestamp_ns));
        ages.max()
    }

    /// Whether it shows a candle of the primary timeframe that is older than the slice.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        self.age_ns().is_some_and(|age_ns| age_ns > 0)
    }
}

/// The latest complete candles of one symbol in a higher timeframe.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HigherTimeframeCandles {
    /// The timeframe.
    pub timeframe: Timeframe,
    /// The bid candle.
    pub bid: Option<CandleData>,
    /// The ask candle.
    pub ask: Option<CandleData>,
    /// The trade candle.
    pub trade: Option<CandleData>,
}
