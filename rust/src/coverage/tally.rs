//! Counts over the slices of a union: which symbols have candles, and which candles contradict
//! themselves.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::Float64Type;

use super::Inconsistent;
use super::heat_map::CellCounters;
use crate::coverage::bins::{TimeCounts, most_bins};
use slices_core::candle::{VALUES_PER_CANDLE, valid_column, value_column};
use slices_core::request::{ColumnNames, PriceType, Request};
use slices_engine::multi_symbol::SliceBatch;

/// Number of rows to check together. Rows are checked one by one only if a chunk has a fault.
const CHUNK_ROWS: usize = 1_024;

/// Index of the close among the values of a candle.
const CLOSE: usize = 3;

/// The counts so far. Series come symbol by symbol, with the price types of each.
pub(super) struct Tally {
    symbols: usize,
    price_types: Vec<PriceType>,
    counters: CellCounters,
    cells: TimeCounts,
    /// Whether the request left out no field.
    has_all_fields: bool,
    /// Slices in which every series has a candle.
    complete: u64,
    alone: Vec<u64>,
    alone_by_symbol: Vec<u64>,
    inconsistent: Vec<Inconsistent>,
    crossed: Vec<u64>,
    /// For each price type, the symbols without a candle in a slice: 64 in a word.
    absent: Vec<Vec<u64>>,
}

/// The candles of one price type in a batch.
struct Candles<'a> {
    /// Open, high, low, close, volume; NaN without a candle.
    values: [&'a [f64]; VALUES_PER_CANDLE],
    present: Option<&'a NullBuffer>,
    /// Whether there is a candle and its values are finite.
    valid: &'a BooleanArray,
}

impl<'a> Candles<'a> {
    /// `left_out` holds NaN for each row: the values of fields that the request left out.
    fn of(batch: &'a SliceBatch, price_type: PriceType, left_out: &'a [f64]) -> Self {
        let column = |name: String| batch.record_batch().column_by_name(&name);
        let fields = ColumnNames::VALUE_FIELDS.map(|field| {
            let column = column(value_column(price_type, field))?;
            Some(column.as_primitive::<Float64Type>())
        });
        let first = fields.iter().flatten().copied().next();
        let valid = column(valid_column(price_type));
        let valid = valid.expect("the batch has the columns of the price types of its request");
        Self {
            values: fields.map(|field| field.map_or(left_out, |field| &field.values()[..])),
            present: first.and_then(|field| field.nulls()),
            valid: valid.as_boolean(),
        }
    }
}

/// Finds faults of candles, from open, high, low, close and volume. A missing candle has none,
/// since a comparison with NaN never holds.
struct Faults<'a>([&'a [f64]; VALUES_PER_CANDLE]);

impl Faults<'_> {
    fn any(&self, row: usize) -> bool {
        self.high_below_low(row) | self.outside_range(row) | self.negative_volume(row)
    }

    fn high_below_low(&self, row: usize) -> bool {
        let [_, high, low, ..] = self.0;
        high[row] < low[row]
    }

    fn outside_range(&self, row: usize) -> bool {
        let [open, high, low, close, _] = self.0;
        let outside = |price: f64| (price < low[row]) | (price > high[row]);
        outside(open[row]) | outside(close[row])
    }

    fn negative_volume(&self, row: usize) -> bool {
        self.0[4][row] < 0.0
    }
}

impl Tally {
    pub fn new(request: &Request, symbols: usize) -> Self {
        let price_types = request.price_types().to_vec();
        let series = symbols * price_types.len();
        let counters = CellCounters::new(symbols);
        Self {
            symbols,
            counters,
            cells: TimeCounts::new(request.timeframe(), counters.count(), most_bins(series)),
            has_all_fields: request.fields().is_all(),
            complete: 0,
            alone: vec![0; series],
            alone_by_symbol: vec![0; symbols],
            inconsistent: vec![Inconsistent::default(); series],
            crossed: vec![0; symbols],
            absent: vec![vec![0; symbols.div_ceil(64)]; price_types.len()],
            price_types,
        }
    }

    /// Counts the slices of a batch.
    pub fn add(&mut self, batch: &SliceBatch) {
        let rows = if self.has_all_fields {
            0
        } else {
            batch.record_batch().num_rows()
        };
        let left_out = vec![f64::NAN; rows];
        let candles: Vec<_> = self
            .price_types
            .iter()
            .map(|&price_type| Candles::of(batch, price_type, &left_out))
            .collect();
        for (slice, timestamp_ns) in batch.slices().map(|slice| slice.timestamp_ns()).enumerate() {
            self.add_presence(slice, timestamp_ns, &candles);
        }
        for (place, candles) in candles.iter().enumerate() {
            self.add_inconsistent(place, candles);
        }
        let side = |price_type| self.price_types.iter().position(|one| *one == price_type);
        if let (Some(bid), Some(ask)) = (side(PriceType::Bid), side(PriceType::Ask)) {
            self.add_crossed(candles[bid].values[CLOSE], candles[ask].values[CLOSE]);
        }
    }

    fn add_presence(&mut self, slice: usize, timestamp_ns: i64, candles: &[Candles<'_>]) {
        let counts = self.cells.at(timestamp_ns);
        counts[CellCounters::TIMESTAMPS] += 1;
        let first_row = slice * self.symbols;
        let mut absent_series = 0;
        for (absent, candles) in self.absent.iter_mut().zip(candles) {
            for (word, absent) in absent.iter_mut().enumerate() {
                let first = word * 64;
                let len = (self.symbols - first).min(64);
                *absent = candles.present.map_or(0, |present| {
                    unset_bits(present.inner(), first_row + first, len)
                });
                absent_series += absent.count_ones();
            }
        }
        if absent_series == 0 {
            self.complete += 1;
            return;
        }
        let mut only = None;
        let mut absent_symbols = 0;
        for word in 0..self.absent[0].len() {
            let of_all = || self.absent.iter().map(|absent| absent[word]);
            let missing = of_all().fold(u64::MAX, |all, one| all & one);
            let any = of_all().fold(0, |any, one| any | one);
            absent_symbols += any.count_ones();
            for bit in set_bits(any) {
                let symbol = word * 64 + bit;
                only = Some(symbol);
                counts[if missing >> bit & 1 == 1 {
                    self.counters.missing(symbol)
                } else {
                    self.counters.one_sided(symbol)
                }] += 1;
            }
        }
        if let Some(symbol) = only
            && absent_symbols == 1
        {
            self.alone_by_symbol[symbol] += 1;
            let is_absent = |absent: &Vec<u64>| absent[symbol / 64] >> (symbol % 64) & 1 == 1;
            if absent_series == 1
                && let Some(place) = self.absent.iter().position(is_absent)
            {
                self.alone[symbol * self.price_types.len() + place] += 1;
            }
        }
    }

    fn add_inconsistent(&mut self, place: usize, candles: &Candles<'_>) {
        let rows = candles.valid.len();
        let (symbols, price_types) = (self.symbols, self.price_types.len());
        let series = |row: usize| row % symbols * price_types + place;
        for first in (0..rows).step_by(CHUNK_ROWS) {
            let chunk = first..rows.min(first + CHUNK_ROWS);
            let len = chunk.len();
            let faults = Faults(candles.values.map(|values| &values[chunk.clone()]));
            // Without an early end, so that the compiler compares many at once.
            if (0..len).filter(|&row| faults.any(row)).count() == 0 {
                continue;
            }
            for row in (0..len).filter(|&row| faults.any(row)) {
                let counts = &mut self.inconsistent[series(first + row)];
                let is_below = faults.high_below_low(row);
                counts.high_below_low += u64::from(is_below);
                counts.outside_range += u64::from(faults.outside_range(row) && !is_below);
                counts.negative_volume += u64::from(faults.negative_volume(row));
            }
        }
        let absent = candles.present.map_or(0, NullBuffer::null_count);
        if rows - absent > candles.valid.true_count() {
            let is_present =
                |row: &usize| candles.present.is_none_or(|present| present.is_valid(*row));
            for row in (0..rows).filter(is_present) {
                self.inconsistent[series(row)].not_finite += u64::from(!candles.valid.value(row));
            }
        }
    }

    fn add_crossed(&mut self, bid_close: &[f64], ask_close: &[f64]) {
        let chunks = bid_close
            .chunks(CHUNK_ROWS)
            .zip(ask_close.chunks(CHUNK_ROWS));
        for (chunk, (bid, ask)) in chunks.enumerate() {
            let crossed = || bid.iter().zip(ask).map(|(bid, ask)| bid > ask);
            if crossed().filter(|crossed| *crossed).count() == 0 {
                continue;
            }
            for (row, crossed) in crossed().enumerate() {
                self.crossed[(chunk * CHUNK_ROWS + row) % self.symbols] += u64::from(crossed);
            }
        }
    }

    /// Slices in which every series has a candle.
    pub fn complete(&self) -> u64 {
        self.complete
    }

    /// For each series, the number of slices at which it alone has no candle, and its faulty
    /// candles.
    pub fn series(&self) -> impl Iterator<Item = (u64, Inconsistent)> {
        let inconsistent = self.inconsistent.iter().copied();
        self.alone.iter().copied().zip(inconsistent)
    }

    /// For each symbol, the number of slices at which it alone lacks a candle.
    pub fn alone_by_symbol(&self) -> &[u64] {
        &self.alone_by_symbol
    }

    /// For each symbol, the number of slices at which its bid closes above its ask.
    pub fn crossed(&self) -> &[u64] {
        &self.crossed
    }

    /// The counters of the heat map, by [`CellCounters`].
    pub fn into_cells(self) -> TimeCounts {
        self.cells
    }
}

/// The `len` (1 to 64) bits from `first` on, inverted.
fn unset_bits(bits: &BooleanBuffer, first: usize, len: usize) -> u64 {
    let first = bits.offset() + first;
    let bytes = &bits.values()[first / 8..];
    // 64 bits may span nine bytes.
    let mut nine = [0; 16];
    let taken = bytes.len().min(9);
    nine[..taken].copy_from_slice(&bytes[..taken]);
    let word = (u128::from_le_bytes(nine) >> (first % 8)) as u64;
    !word & (u64::MAX >> (64 - len))
}

fn set_bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        bit
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_those_of_the_buffer(
            bits in prop::collection::vec(any::<bool>(), 1..200),
            (offset, first, len) in (0..20_usize, 0..200_usize, 1..=64_usize),
        ) {
            let offset = offset.min(bits.len() - 1);
            let buffer = BooleanBuffer::from(&bits[..]).slice(offset, bits.len() - offset);
            let first = first.min(buffer.len() - 1);
            let len = len.min(buffer.len() - first);
            let expected: Vec<_> = (0..len).filter(|bit| !bits[offset + first + bit]).collect();
            prop_assert_eq!(set_bits(unset_bits(&buffer, first, len)).collect::<Vec<_>>(), expected);
        }
    }
}
