//! The library against a naive oracle, on random series and requests, and the promises about its
//! output: the same bytes at any thread count and chunk size, whole slices, a seal.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int16Type, TimestampNanosecondType};
use arrow::ipc::reader::StreamReader;
use omega_slices::{
    CandleData, DuplicatePolicy, MultiSymbolDataIterator, PriceType, ReadOptions, Request,
    RequestBuilder, SliceBatches, Timeline, ipc,
};
use proptest::prelude::*;
use proptest::test_runner::Config;

use common::{MINUTE, Row};

const SYMBOLS: [&str; 3] = ["A", "B", "C"];
const SIDES: [(PriceType, &str); 2] = [(PriceType::Bid, "BID"), (PriceType::Ask, "ASK")];

/// What a case holds: for each symbol and side the rows of its files, and the request's words.
#[derive(Debug, Clone)]
struct Case {
    series: Vec<Vec<Row>>,
    row_group_rows: usize,
    files: usize,
    window: Option<(i64, i64)>,
    timeline: Timeline,
    duplicates: DuplicatePolicy,
    normalize: bool,
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        12 => (0..1_000_i32).prop_map(|value| Some(f64::from(value) / 8.0)),
        1 => Just(None),
        1 => Just(Some(f64::NAN)),
        1 => Just(Some(f64::NEG_INFINITY)),
        1 => Just(Some(-0.0)),
    ]
}

/// Minutes from a small range, so that series meet, miss and repeat each other; mostly in order.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (0..120_i64, prop::array::uniform5(value()), 0..3_i64);
    (prop::collection::vec(row, 0..80), prop::bool::weighted(0.7)).prop_map(|(rows, sorted)| {
        let mut rows: Vec<Row> = rows
            .into_iter()
            .map(|(minute, values, seconds)| {
                (minute * MINUTE + seconds / 2 * 1_000_000_000, values)
            })
            .collect();
        if sorted {
            rows.sort_by_key(|row| row.0);
        }
        rows
    })
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(rows(), SYMBOLS.len() * SIDES.len()),
        1..40_usize,
        1..4_usize,
        prop::option::of((0..130_i64, 0..60_i64)),
        prop::sample::select(Timeline::ALL),
        prop::sample::select(vec![DuplicatePolicy::Last, DuplicatePolicy::First]),
        any::<bool>(),
    )
        .prop_map(
            |(series, row_group_rows, files, window, timeline, duplicates, normalize)| Case {
                series,
                row_group_rows,
                files,
                window: window.map(|(start, minutes)| (start * MINUTE, (start + minutes) * MINUTE)),
                timeline,
                duplicates,
                normalize,
            },
        )
}

impl Case {
    /// Each series in `files` files of nearly the same length, in name order.
    fn write(&self, root: &Path) {
        let mut series = self.series.iter();
        for symbol in SYMBOLS {
            for (_, side) in SIDES {
                let rows = series.next().expect("rows for every series");
                let file_rows = rows.len().div_ceil(self.files).max(1);
                for (number, part) in
                    (0..self.files).zip(rows.chunks(file_rows).chain(std::iter::repeat(&[][..])))
                {
                    let path = root.join(symbol).join(format!("{side}_{number}.parquet"));
                    common::write(&path, part, self.row_group_rows);
                }
            }
        }
    }

    fn request(&self, root: &Path) -> RequestBuilder {
        Request::builder(root)
            .symbols(SYMBOLS)
            .path_template(
                Some("{root}/{symbol}/{SIDE}_*.parquet")
                    .map(|text| omega_slices::PathTemplate::parse(text).expect("a template")),
            )
            .start_ns(self.window.map(|window| window.0))
            .end_ns(self.window.map(|window| window.1))
            .timeline(self.timeline)
            .duplicates(self.duplicates)
            .normalize(self.normalize)
    }

    /// The slices as the rules say, with a map per series and no thought for speed.
    fn oracle(&self) -> Vec<(i64, Vec<Option<[u64; 5]>>)> {
        let series: Vec<BTreeMap<i64, [u64; 5]>> =
            self.series.iter().map(|rows| self.map(rows)).collect();
        let all: BTreeSet<i64> = series.iter().flat_map(|one| one.keys().copied()).collect();
        all.into_iter()
            .filter(|at| {
                self.timeline == Timeline::Union || series.iter().all(|one| one.contains_key(at))
            })
            .map(|at| (at, series.iter().map(|one| one.get(&at).copied()).collect()))
            .collect()
    }

    fn map(&self, rows: &[Row]) -> BTreeMap<i64, [u64; 5]> {
        let mut map = BTreeMap::new();
        for &(at, values) in rows {
            if self
                .window
                .is_some_and(|(start, end)| at < start || end < at)
            {
                continue;
            }
            let at = if self.normalize { at - at % MINUTE } else { at };
            let values = values.map(|value| bits(value.unwrap_or(f64::NAN)));
            match self.duplicates {
                DuplicatePolicy::First => {
                    map.entry(at).or_insert(values);
                }
                _ => {
                    map.insert(at, values);
                }
            }
        }
        map
    }
}

fn bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

fn candle_bits(candle: &CandleData) -> [u64; 5] {
    [
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
    ]
    .map(bits)
}

fn options(threads: usize, chunk_rows: usize) -> ReadOptions {
    let number = |value| NonZeroUsize::new(value).expect("not zero");
    ReadOptions::new()
        .with_threads(number(threads))
        .with_chunk_rows(number(chunk_rows))
}

/// A writer that another thread may finish while the test keeps the bytes.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Bytes {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("no panic while writing")
            .extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn stream(request: &Request, options: &ReadOptions) -> Vec<u8> {
    let bytes = Bytes::default();
    let mut batches = SliceBatches::open(request, options).expect("the series open");
    ipc::write(&mut batches, ipc::Format::Stream, bytes.clone(), |_| {}).expect("it is written");
    std::mem::take(&mut bytes.0.lock().expect("the writer is done"))
}

fn decoded(stream: &[u8]) -> Vec<RecordBatch> {
    StreamReader::try_new(Cursor::new(stream), None)
        .expect("a stream")
        .collect::<Result<_, _>>()
        .expect("batches")
}

/// The slices of a request, from the owned iterator.
fn slices(request: &Request, options: &ReadOptions) -> Vec<(i64, Vec<Option<[u64; 5]>>)> {
    MultiSymbolDataIterator::open(request, options)
        .expect("the series open")
        .map(|slice| {
            let slice = slice.expect("a slice");
            let cells = SYMBOLS.iter().flat_map(|symbol| {
                SIDES.map(|(price_type, _)| slice.get(symbol, price_type).map(candle_bits))
            });
            (slice.timestamp_ns(), cells.collect())
        })
        .collect()
}

proptest! {
    #![proptest_config(Config { cases: 96, ..Config::default() })]

    #[test]
    fn slices_are_what_the_oracle_says(case in case()) {
        let folder = tempfile::tempdir().expect("a folder");
        case.write(folder.path());
        let request = case.request(folder.path()).build().expect("a request");
        let expected = case.oracle();
        for (threads, chunk_rows) in [(1, 1), (2, 7), (7, 64), (2, 16_384)] {
            prop_assert_eq!(&slices(&request, &options(threads, chunk_rows)), &expected);
        }
    }

    #[test]
    fn the_bytes_depend_on_the_data_and_the_request_alone(case in case()) {
        let folder = tempfile::tempdir().expect("a folder");
        case.write(folder.path());
        let request = case.request(folder.path()).build().expect("a request");
        let expected = stream(&request, &options(1, 16_384));
        for (threads, chunk_rows) in [(1, 1), (2, 3), (7, 10), (7, 16_384)] {
            prop_assert!(stream(&request, &options(threads, chunk_rows)) == expected);
        }
    }

    #[test]
    fn a_range_split_in_two_equals_the_whole(case in case(), cut in 0..125_i64) {
        let folder = tempfile::tempdir().expect("a folder");
        case.write(folder.path());
        let (start, end) = case.window.unwrap_or((0, 200 * MINUTE));
        let cut = (cut * MINUTE).clamp(start, end);
        let part = |start, end| {
            let request = case.request(folder.path()).start_ns(Some(start)).end_ns(Some(end));
            slices(&request.build().expect("a request"), &options(2, 13))
        };
        // A cut inside a candle would split its rows: cuts are minutes, where candles open.
        let mut joined = if cut > start { part(start, cut - 1) } else { Vec::new() };
        joined.extend(part(cut, end));
        prop_assert_eq!(joined, part(start, end));
    }

    #[test]
    fn every_stream_holds_whole_slices_and_the_seal(case in case()) {
        let folder = tempfile::tempdir().expect("a folder");
        case.write(folder.path());
        let request = case.request(folder.path()).build().expect("a request");
        let batches = decoded(&stream(&request, &options(2, 5)));
        let (seal, data) = batches.split_last().expect("at least the seal");
        prop_assert_eq!(seal.num_rows(), 0);
        let mut previous = i64::MIN;
        for batch in data {
            prop_assert!(batch.num_rows() > 0);
            prop_assert_eq!(batch.num_rows() % SYMBOLS.len(), 0);
            let timestamps = batch["timestamp"].as_primitive::<TimestampNanosecondType>().values();
            let symbols = batch["symbol"].as_dictionary::<Int16Type>();
            for (slice, cells) in timestamps.chunks(SYMBOLS.len()).enumerate() {
                prop_assert!(cells.iter().all(|at| *at == cells[0]) && cells[0] > previous);
                previous = cells[0];
                for (number, symbol) in SYMBOLS.into_iter().enumerate() {
                    let key = symbols.keys().value(slice * SYMBOLS.len() + number);
                    prop_assert_eq!(symbols.values().as_string::<i32>().value(key as usize), symbol);
                }
            }
            for (price_type, _) in SIDES {
                check_side(batch, price_type)?;
            }
        }
    }
}

/// Nulls stand over NaN, and `valid` says: a candle is here and its five values are finite.
fn check_side(batch: &RecordBatch, price_type: PriceType) -> Result<(), TestCaseError> {
    let columns: Vec<_> = ["open", "high", "low", "close", "volume"]
        .iter()
        .map(|field| batch[&*format!("{price_type}_{field}")].as_primitive::<Float64Type>())
        .collect();
    let valid = batch[&*format!("valid_{price_type}")].as_boolean();
    for row in 0..batch.num_rows() {
        let present = columns[0].is_valid(row);
        for column in &columns {
            prop_assert_eq!(column.is_valid(row), present);
            prop_assert!(present || column.values()[row].is_nan());
        }
        let finite = columns
            .iter()
            .all(|column| column.values()[row].is_finite());
        prop_assert_eq!(valid.value(row), present && finite);
    }
    Ok(())
}

#[test]
fn borrowed_owned_and_columns_show_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    for (tag, symbol) in (1_i32..).zip(SYMBOLS) {
        for (offset, side) in [(0.0, "BID"), (0.5, "ASK")] {
            let rows: Vec<Row> = (0..3_000)
                .filter(|minute| minute % (5 + i64::from(tag)) != 0)
                .map(|minute| common::row(minute * MINUTE, f64::from(tag) + offset))
                .collect();
            common::write(
                &common::path(folder.path(), symbol, "M1", side),
                &rows,
                1_000,
            );
        }
    }
    let request = Request::builder(folder.path())
        .symbols(SYMBOLS)
        .timeline(Timeline::Union)
        .build()
        .expect("a request");
    let mut owned = MultiSymbolDataIterator::open(&request, &options(2, 100)).expect("it opens");
    let mut count = 0;
    for batch in SliceBatches::open(&request, &options(2, 777)).expect("it opens") {
        let batch = batch.expect("a batch");
        for borrowed in batch.slices() {
            let owned = owned.next().expect("as many slices").expect("a slice");
            assert_eq!(owned, borrowed.to_owned());
            assert_eq!(borrowed.known_at_ns(), borrowed.timestamp_ns() + MINUTE);
            assert_eq!(borrowed.get("unknown", PriceType::Bid), None);
            for (index, symbol) in SYMBOLS.into_iter().enumerate() {
                for (price_type, _) in SIDES {
                    let candle = borrowed.get(symbol, price_type);
                    assert_eq!(candle.as_ref(), owned.get(symbol, price_type));
                    assert_eq!(
                        candle.map(|candle| candle.close),
                        borrowed.price(symbol, price_type)
                    );
                    let column = borrowed
                        .column(&format!("{price_type}_high"))
                        .expect("a column");
                    match candle {
                        Some(candle) => assert_eq!(column[index], candle.high),
                        None => assert!(column[index].is_nan()),
                    }
                }
                let snapshot = borrowed.snapshot(symbol).expect("a known symbol");
                assert_eq!(
                    Ok(&snapshot),
                    owned.snapshot(symbol).as_ref().map_err(|_| ())
                );
                let spread = snapshot
                    .ask
                    .zip(snapshot.bid)
                    .map(|(ask, bid)| ask.close - bid.close);
                assert_eq!(borrowed.spread(symbol), spread);
                assert_eq!(owned.spread(symbol), spread);
                let mid = snapshot
                    .ask
                    .zip(snapshot.bid)
                    .map(|(ask, bid)| (bid.close + ask.close) / 2.0);
                assert_eq!(borrowed.mid(symbol), mid);
                assert_eq!(owned.mid(symbol), mid);
            }
            assert_eq!(borrowed.column("trade_close"), None);
            assert_eq!(borrowed.column("bid_price"), None);
            assert!(owned.snapshot("unknown").is_err());
            count += 1;
        }
    }
    assert!(owned.next().is_none());
    assert!(count > 2_900, "{count}");
}

#[test]
fn iterators_move_to_other_threads_and_share_nothing() {
    fn assert_send<T: Send>() {}
    assert_send::<SliceBatches>();
    assert_send::<MultiSymbolDataIterator>();

    let folder = tempfile::tempdir().expect("a folder");
    let rows: Vec<Row> = (0..5_000)
        .map(|minute| common::row(minute * MINUTE, 1.0))
        .collect();
    common::write(&common::path(folder.path(), "A", "M1", "BID"), &rows, 5_000);
    let request = Request::builder(folder.path())
        .symbols(["A"])
        .price_types([PriceType::Bid])
        .build()
        .expect("a request");
    let iterators = [1, 2].map(|threads| {
        MultiSymbolDataIterator::open(&request, &options(threads, 50)).expect("it opens")
    });
    let walks = iterators.map(|iterator| {
        std::thread::spawn(move || {
            iterator
                .map(|slice| slice.expect("a slice").timestamp_ns())
                .collect::<Vec<_>>()
        })
    });
    for walk in walks {
        let timestamps = walk.join().expect("no panic");
        assert_eq!(timestamps, rows.iter().map(|row| row.0).collect::<Vec<_>>());
    }
}

/// The timestamps of a regular series are kept from the first pass. Rows outside the window that
/// stand between rows inside it, within and across the batches of that pass, must not shift them.
#[test]
fn rows_outside_the_window_between_rows_inside_shift_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let end = 30_000 * MINUTE;
    for outside in [
        vec![100],
        vec![8_191],
        vec![8_192],
        vec![8_190, 8_191, 8_192, 8_193],
        vec![0],
        vec![19_999],
    ] {
        let mut rows: Vec<Row> = (0..20_000)
            .map(|minute| common::row(minute * MINUTE, 1.0))
            .collect();
        for &row in &outside {
            rows[row].0 += end;
        }
        common::write(
            &common::path(folder.path(), "A", "M1", "BID"),
            &rows,
            20_000,
        );
        let request = Request::builder(folder.path())
            .symbols(["A"])
            .price_types([PriceType::Bid])
            .end_ns(Some(end - 1))
            .build()
            .expect("a request");
        let expected = rows.iter().filter(|row| row.0 < end);
        let mut slices =
            MultiSymbolDataIterator::open(&request, &options(2, 1_000)).expect("it opens");
        for (at, values) in expected {
            let slice = slices.next().expect("as many slices").expect("a slice");
            assert_eq!(slice.timestamp_ns(), *at, "{outside:?}");
            let candle = slice.get("A", PriceType::Bid).expect("a candle");
            assert_eq!(Some(candle.open), values[0], "{outside:?} at {at}");
        }
        assert!(slices.next().is_none(), "{outside:?}");
    }
}
