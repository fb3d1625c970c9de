//! Tests the library against a naive oracle on random series and requests. Checks the promises
//! about its output too: the same bytes at any thread count and chunk size, whole slices, a seal.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{Float64Type, Int16Type, TimestampNanosecondType};
use arrow::ipc::reader::StreamReader;
use omega_slices::{
    CandleData, DecisionTime, DuplicatePolicy, Fill, HigherTimeframe, MultiSymbolDataIterator,
    PathTemplate, PriceType, ReadOptions, Request, RequestBuilder, SliceBatches, Stamped,
    Timeframe, Timeline, format_timestamp, ipc,
};
use proptest::prelude::*;
use proptest::test_runner::Config;

use common::{MINUTE, Row};

const SYMBOLS: [&str; 3] = ["A", "B", "C"];
const SIDES: [(PriceType, &str); 2] = [(PriceType::Bid, "BID"), (PriceType::Ask, "ASK")];

const HIGHER: [&str; 2] = ["M5", "M30"];
const INDICATORS: [&str; 2] = ["rsi", "beta"];

/// A case: the rows of the files of each series, and the options of the request.
#[derive(Debug, Clone)]
struct Case {
    /// By symbol and side.
    series: Vec<Vec<Row>>,
    row_group_rows: usize,
    files: usize,
    /// Whether files with later rows have earlier names.
    backward_names: bool,
    /// Whether the files store the closes of candles.
    stamped: Stamped,
    window: Option<(i64, i64)>,
    timeline: Timeline,
    duplicates: DuplicatePolicy,
    normalize: bool,
    /// The maximum age of a carried candle.
    max_age: Option<i64>,
    /// For each higher timeframe, the maximum age of its candle, and the rows by symbol and side.
    higher: Vec<(Option<i64>, Vec<Vec<Row>>)>,
    known_at: DecisionTime,
    /// Open and close of each session, ascending.
    hours: Option<Vec<(i64, i64)>>,
    /// By symbol; only the first values count.
    indicators: Option<Vec<Vec<Row>>>,
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

/// Multiples of a step from a small range, so that series overlap, differ and repeat; mostly in
/// order.
fn rows(step: i64) -> impl Strategy<Value = Vec<Row>> {
    let row = (0..120 / step, prop::array::uniform5(value()), 0..3_i64);
    let most = 80 / step as usize + 1;
    (
        prop::collection::vec(row, 0..most),
        prop::bool::weighted(0.7),
    )
        .prop_map(move |(rows, sorted)| {
            let mut rows: Vec<Row> = rows
                .into_iter()
                .map(|(minute, values, seconds)| {
                    (minute * step * MINUTE + seconds / 2 * 1_000_000_000, values)
                })
                .collect();
            if sorted {
                rows.sort_by_key(|row| row.0);
            }
            rows
        })
}

/// An age in nanoseconds; about half are whole minutes.
fn age() -> impl Strategy<Value = i64> {
    prop_oneof![1..20_i64, 1..90_i64].prop_flat_map(|minutes| {
        (Just(minutes), prop::bool::weighted(0.2))
            .prop_map(|(minutes, odd)| minutes * MINUTE + i64::from(odd) * 1_000_000_000)
    })
}

fn timeline() -> impl Strategy<Value = Timeline> {
    let quorum = |symbols| Timeline::Quorum(NonZeroUsize::new(symbols).expect("not zero"));
    prop_oneof![
        2 => Just(Timeline::Intersection),
        3 => Just(Timeline::Union),
        2 => (0..SYMBOLS.len()).prop_map(|leader| Timeline::Leader(SYMBOLS[leader].to_owned())),
        2 => (1..=SYMBOLS.len()).prop_map(quorum),
    ]
}

fn hours() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::btree_set(0..130_i64, 0..8).prop_map(|edges| {
        let edges: Vec<_> = edges.into_iter().map(|minute| minute * MINUTE).collect();
        edges
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect()
    })
}

fn case() -> impl Strategy<Value = Case> {
    let every_series = SYMBOLS.len() * SIDES.len();
    let of_timeframe = move |step| {
        let rows = prop::collection::vec(rows(step), every_series);
        (prop::option::of(age()), rows)
    };
    let series = prop::collection::vec(rows(1), every_series);
    let files = (
        1..40_usize,
        1..4_usize,
        any::<bool>(),
        prop::sample::select(Stamped::ALL),
    );
    let words = (
        prop::option::of((0..130_i64, 0..60_i64, 0..3_i64)),
        timeline(),
        prop::sample::select(vec![DuplicatePolicy::Last, DuplicatePolicy::First]),
        any::<bool>(),
        prop::option::of(age()),
        prop::sample::select(DecisionTime::ALL),
        prop::option::weighted(0.2, hours()),
    );
    let besides = (
        (of_timeframe(5), of_timeframe(30), 0..=HIGHER.len()),
        prop::option::weighted(0.4, prop::collection::vec(rows(1), SYMBOLS.len())),
    );
    (series, files, words, besides).prop_map(|(series, files, words, besides)| {
        let (window, timeline, duplicates, normalize, max_age, known_at, hours) = words;
        let ((five, thirty, timeframes), indicators) = besides;
        Case {
            series,
            row_group_rows: files.0,
            files: files.1,
            backward_names: files.2,
            stamped: files.3,
            // The window sometimes starts within a minute.
            window: window.map(|(start, minutes, seconds)| {
                let seconds_ns = seconds / 2 * 1_000_000_000;
                (
                    start * MINUTE + seconds_ns,
                    (start + minutes) * MINUTE + seconds_ns,
                )
            }),
            timeline,
            duplicates,
            normalize,
            max_age,
            higher: [five, thirty].into_iter().take(timeframes).collect(),
            known_at,
            hours,
            indicators,
        }
    })
}

/// The timestamp of a candle and its values.
type Shown = Option<(i64, [u64; 5])>;

/// By symbol and side the candle, then those of each higher timeframe in the same order; by symbol
/// its indicators.
type Cells = (Vec<Shown>, Vec<Option<u64>>);

impl Case {
    fn write(&self, root: &Path) {
        self.write_candles(root, "M1", self.files, &self.series);
        for (timeframe, (_, series)) in HIGHER.iter().zip(&self.higher) {
            self.write_candles(root, timeframe, 1, series);
        }
        for (symbol, rows) in SYMBOLS.iter().zip(self.indicators.iter().flatten()) {
            let stamps = rows.iter().map(|row| row.0 + self.stored_after(MINUTE));
            let stamps = TimestampNanosecondArray::from_iter_values(stamps);
            let mut columns: Vec<(String, ArrayRef)> = vec![("UTC time".into(), Arc::new(stamps))];
            for (field, name) in INDICATORS.iter().enumerate() {
                let values: Float64Array = rows.iter().map(|row| row.1[field]).collect();
                columns.push(((*name).into(), Arc::new(values)));
            }
            let path = root.join(symbol).join("indicators.parquet");
            common::write_columns(&path, columns, self.row_group_rows);
        }
        if let Some(hours) = &self.hours {
            let lines = hours.iter().rev().map(|&(open, close)| {
                format!("{},{}\n", format_timestamp(open), format_timestamp(close))
            });
            let text = ["open,close\n".to_owned()].into_iter().chain(lines);
            fs::write(root.join("hours.csv"), text.collect::<String>()).expect("a file");
        }
    }

    /// Writes each series to `files` files of nearly equal length, in name order.
    fn write_candles(&self, root: &Path, timeframe: &str, files: usize, series: &[Vec<Row>]) {
        let mut series = series.iter();
        let stored_after = self.stored_after(minutes(timeframe));
        for symbol in SYMBOLS {
            for (_, side) in SIDES {
                let rows = series.next().expect("rows for every series");
                for (number, part) in self.parts(rows, files).into_iter().enumerate() {
                    let name = format!("{timeframe}_{side}_{number}.parquet");
                    let part: Vec<Row> = part
                        .iter()
                        .map(|(at, values)| (at + stored_after, *values))
                        .collect();
                    common::write(&root.join(symbol).join(name), &part, self.row_group_rows);
                }
            }
        }
    }

    /// The delay between the stamp of a row and its stored timestamp.
    fn stored_after(&self, timeframe_ns: i64) -> i64 {
        match self.stamped {
            Stamped::Open => 0,
            Stamped::Close => timeframe_ns,
        }
    }

    /// The rows of each file, in the order of their names.
    fn parts<'a>(&self, rows: &'a [Row], files: usize) -> Vec<&'a [Row]> {
        let file_rows = rows.len().div_ceil(files).max(1);
        let parts = rows.chunks(file_rows).chain(std::iter::repeat(&[][..]));
        let mut parts: Vec<_> = parts.take(files).collect();
        if self.backward_names {
            parts.reverse();
        }
        parts
    }

    fn request(&self, root: &Path) -> RequestBuilder {
        let template = |text| Some(PathTemplate::parse(text).expect("a template"));
        let age = |ns: i64| format!("{}s", ns / 1_000_000_000).parse().expect("an age");
        let higher = HIGHER.iter().zip(&self.higher).map(|(text, (max_age, _))| {
            HigherTimeframe::new(text.parse().expect("a timeframe"), max_age.map(age))
        });
        Request::builder(root)
            .symbols(SYMBOLS)
            .path_template(template("{root}/{symbol}/{timeframe}_{SIDE}_*.parquet"))
            .start_ns(self.window.map(|window| window.0))
            .end_ns(self.window.map(|window| window.1))
            .timeline(self.timeline.clone())
            .duplicates(self.duplicates)
            .stamped(self.stamped)
            .normalize(self.normalize)
            .fill(if self.max_age.is_some() {
                Fill::Forward
            } else {
                Fill::None
            })
            .max_age(self.max_age.map(age))
            .higher_timeframes(higher)
            .known_at(self.known_at)
            .session_file(self.hours.as_ref().map(|_| root.join("hours.csv")))
            .indicators(self.indicators.iter().flat_map(|_| INDICATORS))
            .indicator_template(
                self.indicators
                    .as_ref()
                    .and_then(|_| template("{root}/{symbol}/indicators.parquet")),
            )
    }

    fn floored(&self, at: i64, timeframe_ns: i64) -> i64 {
        if self.normalize {
            at - at % timeframe_ns
        } else {
            at
        }
    }

    /// The earliest timestamp of a slice.
    fn first(&self) -> i64 {
        self.window
            .map_or(i64::MIN, |(start, _)| self.floored(start, MINUTE))
    }

    fn known_ns(&self, at: i64) -> i64 {
        match self.known_at {
            DecisionTime::Open => at,
            DecisionTime::Close => at + MINUTE,
        }
    }

    /// The slices by the rules, with a map per series and without optimisation.
    fn oracle(&self) -> Vec<(i64, Cells)> {
        let (start, end) = self.window.unwrap_or((i64::MIN, i64::MAX));
        let first = self.first();
        let leads_in = |at: i64| {
            let lead = first.saturating_sub(self.max_age.unwrap_or(0));
            lead <= at && at < start && self.floored(at, MINUTE) < first
        };
        let in_window = |at: i64| start <= at && at <= end;
        let primary: Vec<Map> = self
            .series
            .iter()
            .map(|rows| self.map(rows, self.files, MINUTE, |at| in_window(at) || leads_in(at)))
            .collect();
        let higher: Vec<(i64, Option<i64>, Vec<Map>)> = HIGHER
            .iter()
            .zip(&self.higher)
            .map(|(text, (max_age, series))| {
                let maps = series
                    .iter()
                    .map(|rows| self.map(rows, 1, minutes(text), |at| at <= end));
                (minutes(text), *max_age, maps.collect())
            })
            .collect();
        let indicators = self.indicators.iter().flatten();
        let indicators: Vec<Map> = indicators
            .map(|rows| self.map(rows, 1, MINUTE, in_window))
            .collect();

        let all: BTreeSet<i64> = primary.iter().flat_map(|one| one.keys().copied()).collect();
        let complete = |symbol: &[Map], at: &i64| symbol.iter().all(|one| one.contains_key(at));
        let present = |at: &i64| {
            let mut symbols = SYMBOLS.iter().zip(primary.chunks(SIDES.len()));
            match &self.timeline {
                Timeline::Union => true,
                Timeline::Intersection => symbols.all(|(_, one)| complete(one, at)),
                Timeline::Leader(leader) => {
                    symbols.any(|(name, one)| name == leader && complete(one, at))
                }
                Timeline::Quorum(quorum) => {
                    symbols.filter(|(_, one)| complete(one, at)).count() >= quorum.get()
                }
            }
        };
        let slice = |at: i64| {
            let carried = |map: &Map| latest(map, at, at, Some(self.max_age.unwrap_or(0)));
            let mut candles: Vec<Shown> = primary.iter().map(carried).collect();
            for (timeframe_ns, max_age, maps) in &higher {
                let until = self.known_ns(at) - timeframe_ns;
                candles.extend(maps.iter().map(|map| latest(map, at, until, *max_age)));
            }
            let values = indicators.iter().flat_map(|map| {
                let row = map.get(&at);
                (0..INDICATORS.len()).map(move |field| row.map(|values| values[field]))
            });
            (at, (candles, values.collect()))
        };
        all.into_iter()
            .filter(|&at| at >= first)
            .filter(present)
            .map(slice)
            .collect()
    }

    fn map(
        &self,
        rows: &[Row],
        files: usize,
        timeframe_ns: i64,
        is_kept: impl Fn(i64) -> bool,
    ) -> Map {
        let mut map = Map::new();
        for &(at, values) in self.parts(rows, files).into_iter().flatten() {
            let inside = |&(open, close): &(i64, i64)| open <= at && at < close;
            let is_open = self
                .hours
                .as_ref()
                .is_none_or(|hours| hours.iter().any(inside));
            if !is_kept(at) || !is_open {
                continue;
            }
            let at = self.floored(at, timeframe_ns);
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

    /// The same files without the rows that a slice at `at` must not depend on.
    fn known_at(&self, at: i64) -> Self {
        let keep = |series: &[Vec<Row>], is_known: &dyn Fn(i64) -> bool| -> Vec<Vec<Row>> {
            let known =
                |rows: &Vec<Row>| rows.iter().copied().filter(|row| is_known(row.0)).collect();
            series.iter().map(known).collect()
        };
        let stamped = |row: i64| self.floored(row, MINUTE) <= at;
        let higher = HIGHER
            .iter()
            .zip(&self.higher)
            .map(|(text, (max_age, series))| {
                let timeframe_ns = minutes(text);
                let is_complete =
                    |row: i64| self.floored(row, timeframe_ns) + timeframe_ns <= self.known_ns(at);
                (*max_age, keep(series, &is_complete))
            });
        Self {
            series: keep(&self.series, &stamped),
            higher: higher.collect(),
            indicators: self
                .indicators
                .as_ref()
                .map(|series| keep(series, &stamped)),
            ..self.clone()
        }
    }
}

/// The length of a timeframe of minutes.
fn minutes(timeframe: &str) -> i64 {
    timeframe[1..].parse::<i64>().expect("minutes") * MINUTE
}

type Map = BTreeMap<i64, [u64; 5]>;

/// The latest candle up to an instant, in a slice at `at`, up to the maximum age.
fn latest(map: &Map, at: i64, until: i64, max_age: Option<i64>) -> Shown {
    let (&candle, &values) = map.range(..=until).next_back()?;
    max_age
        .is_none_or(|max_age| at - candle <= max_age)
        .then_some((candle, values))
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
    let options = ipc::WriteOptions::new(ipc::Format::Stream);
    ipc::write(&mut batches, options, bytes.clone(), |_, _| {}).expect("it is written");
    std::mem::take(&mut bytes.0.lock().expect("the writer is done"))
}

fn decoded(stream: &[u8]) -> Vec<RecordBatch> {
    StreamReader::try_new(Cursor::new(stream), None)
        .expect("a stream")
        .collect::<Result<_, _>>()
        .expect("batches")
}

/// The slices of a request, from the owned iterator.
fn slices(request: &Request, options: &ReadOptions) -> Vec<(i64, Cells)> {
    let higher = request.higher_timeframes().iter();
    let timeframes = [request.timeframe()]
        .into_iter()
        .chain(higher.map(HigherTimeframe::timeframe));
    let series = || {
        let of_timeframe = |timeframe: &Timeframe| {
            let timeframe = timeframe.as_str().to_owned();
            SYMBOLS.iter().flat_map(move |symbol| {
                let timeframe = timeframe.clone();
                SIDES.map(move |(price_type, _)| (*symbol, timeframe.clone(), price_type))
            })
        };
        timeframes.clone().flat_map(of_timeframe)
    };
    MultiSymbolDataIterator::open(request, options)
        .expect("the series open")
        .map(|slice| {
            let slice = slice.expect("a slice");
            let candles = series().map(|(symbol, timeframe, price_type)| {
                let candle = slice.get_candle(symbol, &timeframe, price_type);
                let candle = candle.expect("it was asked for")?;
                Some((candle.timestamp_ns, candle_bits(candle)))
            });
            let indicators = SYMBOLS.iter().flat_map(|symbol| {
                let names = request.indicators().iter();
                names.map(|name| slice.indicator(symbol, name).map(bits))
            });
            (
                slice.timestamp_ns(),
                (candles.collect(), indicators.collect()),
            )
        })
        .collect()
}

/// Every bit of the first slices, including nulls and the values under them.
fn bytes_of(batches: &[RecordBatch], slices: usize) -> Vec<Vec<u8>> {
    let mut left = slices * SYMBOLS.len();
    let mut columns = Vec::new();
    for batch in batches {
        let rows = left.min(batch.num_rows());
        left -= rows;
        columns.resize(batch.num_columns(), Vec::new());
        for (bytes, column) in columns.iter_mut().zip(batch.columns()) {
            for row in 0..rows {
                bytes.push(u8::from(column.is_valid(row)));
                if let Some(values) = column.as_primitive_opt::<Float64Type>() {
                    bytes.extend(values.value(row).to_le_bytes());
                } else if let Some(values) = column.as_primitive_opt::<TimestampNanosecondType>() {
                    bytes.extend(values.value(row).to_le_bytes());
                } else if let Some(values) = column.as_boolean_opt() {
                    bytes.push(u8::from(values.value(row)));
                } else {
                    let keys = column.as_dictionary::<Int16Type>().keys();
                    bytes.extend(keys.value(row).to_le_bytes());
                }
            }
        }
    }
    assert_eq!(left, 0, "fewer slices than expected");
    columns
}

/// `OMEGA_PROPERTY_EXAMPLES=300` runs three hundred times as many cases as usual.
fn config() -> Config {
    let factor = std::env::var("OMEGA_PROPERTY_EXAMPLES").ok();
    let factor: u32 = factor.map_or(1, |text| text.parse().expect("a number"));
    Config {
        cases: 64 * factor,
        max_global_rejects: 64 * 1_024 * factor,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

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
        // A cut inside a candle would split its rows, so ranges start where candles open.
        let (start, end) = case.window.unwrap_or((0, 200 * MINUTE));
        let start = start - start % MINUTE;
        let cut = (cut * MINUTE).clamp(start, end - end % MINUTE);
        let part = |start, end| {
            let request = case.request(folder.path()).start_ns(Some(start)).end_ns(Some(end));
            slices(&request.build().expect("a request"), &options(2, 13))
        };
        let mut joined = if cut > start { part(start, cut - 1) } else { Vec::new() };
        joined.extend(part(cut, end));
        prop_assert_eq!(joined, part(start, end));
    }

    /// Proves that slices do not look ahead. Without the rows that it must not depend on, a slice
    /// and all earlier ones stay the same to the last bit.
    #[test]
    fn no_slice_depends_on_anything_later(case in case(), cut in any::<prop::sample::Index>()) {
        // Later rows must not decide which file a row is in.
        let case = Case { backward_names: false, ..case };
        let folder = tempfile::tempdir().expect("a folder");
        let read = |case: &Case, name: &str| {
            let root = folder.path().join(name);
            case.write(&root);
            let request = case.request(&root).build().expect("a request");
            decoded(&stream(&request, &options(2, 16)))
        };
        let timeline: Vec<i64> = case.oracle().into_iter().map(|(at, _)| at).collect();
        prop_assume!(!timeline.is_empty());
        let last = cut.index(timeline.len());
        let whole = read(&case, "whole");
        let known = read(&case.known_at(timeline[last]), "known");
        prop_assert_eq!(bytes_of(&known, last + 1), bytes_of(&whole, last + 1));
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
                check_side(batch, "", price_type)?;
                for (timeframe, _) in HIGHER.iter().zip(&case.higher) {
                    check_side(batch, &format!("{timeframe}_"), price_type)?;
                }
            }
        }
    }
}

/// Values under nulls are NaN, and `valid` means that a candle exists with five finite values.
fn check_side(
    batch: &RecordBatch,
    prefix: &str,
    price_type: PriceType,
) -> Result<(), TestCaseError> {
    let columns: Vec<_> = ["open", "high", "low", "close", "volume"]
        .iter()
        .map(|field| batch[&*format!("{prefix}{price_type}_{field}")].as_primitive::<Float64Type>())
        .collect();
    let valid = batch[&*format!("{prefix}valid_{price_type}")].as_boolean();
    let timestamps = batch.column_by_name(&format!("{prefix}{price_type}_timestamp"));
    let timestamps = timestamps.map(AsArray::as_primitive::<TimestampNanosecondType>);
    for row in 0..batch.num_rows() {
        let present = columns[0].is_valid(row);
        for column in &columns {
            prop_assert_eq!(column.is_valid(row), present);
            prop_assert!(present || column.values()[row].is_nan());
        }
        if let Some(timestamps) = timestamps {
            prop_assert_eq!(timestamps.is_valid(row), present);
            prop_assert!(present || timestamps.value(row) == 0);
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

/// The timestamps of a regular series are kept from the first pass. Rows outside the window between
/// rows inside it must not shift them, within and across the batches of that pass.
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
