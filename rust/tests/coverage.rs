//! Tests coverage against a naive oracle on random series, and the command with the real binary.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use omega_slices::{
    Coverage, DuplicatePolicy, HeatMapCell, PriceType, ReadOptions, Request, format_timestamp,
};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::Value;
use tempfile::TempDir;

use common::{MINUTE, Row};

const SYMBOLS: [&str; 3] = ["A", "B", "C"];
const SIDES: [(PriceType, &str); 2] = [(PriceType::Bid, "BID"), (PriceType::Ask, "ASK")];

/// The rows of each symbol and side, and the options of the request.
#[derive(Debug, Clone)]
struct Case {
    series: Vec<Vec<Row>>,
    row_group_rows: usize,
    window: Option<(i64, i64)>,
    first_wins: bool,
    normalize: bool,
    /// Open and close of each session, ascending.
    hours: Option<Vec<(i64, i64)>>,
    threads: usize,
    chunk_rows: usize,
}

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        // Few different values, so that about half of the candles are valid.
        8 => (0..3_i32).prop_map(|value| Some(f64::from(value))),
        1 => Just(Some(-1.0)),
        1 => Just(None),
        1 => Just(Some(f64::INFINITY)),
    ]
}

/// Minutes, sometimes with seconds; mostly in order.
fn rows(step: i64) -> impl Strategy<Value = Vec<Row>> {
    let row = (0..900 / step, prop::array::uniform5(value()), 0..4_i64);
    let rows = prop::collection::vec(row, 0..70);
    (rows, prop::bool::weighted(0.7)).prop_map(move |(rows, sorted)| {
        let at = |minute, second: i64| minute * step * MINUTE + second / 3 * 1_000_000_000;
        let rows = rows.into_iter();
        let mut rows: Vec<Row> = rows
            .map(|(minute, values, second)| (at(minute, second), values))
            .collect();
        if sorted {
            rows.sort_by_key(|row| row.0);
        }
        rows
    })
}

fn case() -> impl Strategy<Value = Case> {
    let every_series = SYMBOLS.len() * SIDES.len();
    let series = prop_oneof![1..2_i64, 20..21_i64]
        .prop_flat_map(move |step| prop::collection::vec(rows(step), every_series));
    let hours = prop::collection::btree_set(-10..1_000_i64, 0..8).prop_map(|edges| {
        let edges: Vec<_> = edges.into_iter().map(|minute| minute * MINUTE).collect();
        edges
            .chunks_exact(2)
            .map(|pair| (pair[0], pair[1]))
            .collect()
    });
    let words = (
        prop::option::of((0..500_i64, 0..600_i64)),
        any::<bool>(),
        any::<bool>(),
        prop::option::weighted(0.5, hours),
    );
    (series, 1..40_usize, words, 1..4_usize, 1..50_usize).prop_map(
        |(series, row_group_rows, (window, first_wins, normalize, hours), threads, chunk_rows)| {
            Case {
                series,
                row_group_rows,
                window: window.map(|(start, len)| (start * MINUTE, (start + len) * MINUTE)),
                first_wins,
                normalize,
                hours,
                threads,
                chunk_rows,
            }
        },
    )
}

/// The candles of one series, and the raw timestamps of rows dropped in the window.
#[derive(Default)]
struct Cleaned {
    candles: BTreeMap<i64, [f64; 5]>,
    outside_session: u64,
    dropped: Vec<i64>,
}

impl Case {
    fn write(&self, root: &Path) {
        let mut series = self.series.iter();
        for symbol in SYMBOLS {
            for (_, side) in SIDES {
                let rows = series.next().expect("rows for every series");
                common::write(
                    &common::path(root, symbol, "M1", side),
                    rows,
                    self.row_group_rows,
                );
            }
        }
        if let Some(hours) = &self.hours {
            let line = |&(open, close): &(i64, i64)| {
                format!("{},{}\n", format_timestamp(open), format_timestamp(close))
            };
            let text = "open,close\n".to_owned() + &hours.iter().map(line).collect::<String>();
            fs::write(root.join("hours.csv"), text).expect("a file");
        }
    }

    fn measure(&self, root: &Path) -> Coverage {
        let request = Request::builder(root)
            .symbols(SYMBOLS)
            .start_ns(self.window.map(|window| window.0))
            .end_ns(self.window.map(|window| window.1))
            .normalize(self.normalize)
            .duplicates(if self.first_wins {
                DuplicatePolicy::First
            } else {
                DuplicatePolicy::Last
            })
            .session_file(self.hours.as_ref().map(|_| root.join("hours.csv")))
            .build()
            .expect("a request");
        let not_zero = |number| NonZeroUsize::new(number).expect("not zero");
        let options = ReadOptions::new()
            .with_threads(not_zero(self.threads))
            .with_chunk_rows(not_zero(self.chunk_rows));
        Coverage::measure(&request, &options, |_| {}).expect("sound files")
    }

    fn is_open(&self, at: i64) -> bool {
        let hours = self.hours.as_ref();
        hours.is_none_or(|hours| hours.iter().any(|&(open, close)| open <= at && at < close))
    }

    /// Window, session, flooring, order, duplicates: row by row.
    fn filter_rows(&self, rows: &[Row]) -> Cleaned {
        let mut filtered = Cleaned::default();
        let in_window = |at| {
            self.window
                .is_none_or(|(start, end)| start <= at && at <= end)
        };
        let mut raw_of = BTreeMap::new();
        for &(raw, values) in rows.iter().filter(|row| in_window(row.0)) {
            if !self.is_open(raw) {
                filtered.outside_session += 1;
                filtered.dropped.push(raw);
                continue;
            }
            let at = if self.normalize {
                raw.div_euclid(MINUTE) * MINUTE
            } else {
                raw
            };
            let values = values.map(|value| value.unwrap_or(f64::NAN));
            if self.first_wins && filtered.candles.contains_key(&at) {
                filtered.dropped.push(raw);
                continue;
            }
            filtered.dropped.extend(raw_of.insert(at, raw));
            filtered.candles.insert(at, values);
        }
        filtered
    }

    /// The bars missing between two candles, by their opens.
    fn missing_bars(&self, before: i64, after: i64) -> u64 {
        let bars = before.div_euclid(MINUTE) + 1..after.div_euclid(MINUTE);
        bars.filter(|bar| self.is_open(bar * MINUTE)).count() as u64
    }
}

/// The ways in which a candle contradicts itself, from its values alone.
fn faults([open, high, low, close, volume]: [f64; 5]) -> [bool; 4] {
    let is_below = high < low;
    let outside = |price: f64| price < low || price > high;
    let finite = [open, high, low, close, volume]
        .iter()
        .all(|value| value.is_finite());
    [
        is_below,
        !is_below && (outside(open) || outside(close)),
        volume < 0.0,
        !finite,
    ]
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    case.write(folder.path());
    let coverage = case.measure(folder.path());
    let filtered: Vec<_> = case
        .series
        .iter()
        .map(|rows| case.filter_rows(rows))
        .collect();
    let union: BTreeSet<i64> = filtered
        .iter()
        .flat_map(|one| one.candles.keys().copied())
        .collect();
    // The series without a candle at each timestamp.
    let absent = |at: &i64| -> Vec<usize> {
        let all = 0..filtered.len();
        all.filter(|&series| !filtered[series].candles.contains_key(at))
            .collect()
    };
    let absent: Vec<_> = union.iter().map(absent).collect();
    prop_assert_eq!(coverage.union_timestamps, union.len() as u64);
    let complete = absent.iter().filter(|absent| absent.is_empty()).count();
    prop_assert_eq!(coverage.intersection_timestamps, complete as u64);
    prop_assert_eq!(coverage.first_timestamp_ns, union.first().copied());
    prop_assert_eq!(coverage.last_timestamp_ns, union.last().copied());

    for (number, own) in filtered.iter().enumerate() {
        let (symbol, side) = (SYMBOLS[number / 2], SIDES[number % 2].0);
        let found = coverage.series.iter();
        let found =
            found.filter(|one| one.report.symbol == symbol && one.report.price_type == Some(side));
        let [found] = &found.collect::<Vec<_>>()[..] else {
            panic!("{symbol} {side} once")
        };
        let candles = own.candles.len() as u64;
        prop_assert_eq!(found.report.candles, candles);
        prop_assert_eq!(found.report.outside_session, own.outside_session);
        prop_assert_eq!(
            found.report.outside_session + found.report.duplicates,
            own.dropped.len() as u64
        );
        prop_assert_eq!(found.misses, union.len() as u64 - candles);
        let alone = absent
            .iter()
            .filter(|absent| absent[..] == [number])
            .count();
        prop_assert_eq!(found.alone, alone as u64);
        let timestamps: Vec<_> = own.candles.keys().copied().collect();
        let bars = timestamps
            .windows(2)
            .map(|pair| (case.missing_bars(pair[0], pair[1]), pair[0], pair[1]));
        let gaps: Vec<_> = bars.filter(|gap| gap.0 > 0).collect();
        prop_assert_eq!(found.gaps.count, gaps.len() as u64);
        prop_assert_eq!(found.gaps.bars, gaps.iter().map(|gap| gap.0).sum::<u64>());
        let longest = gaps.iter().copied().rev().max_by_key(|gap| gap.0);
        let shown = found
            .gaps
            .longest
            .map(|gap| (gap.bars, gap.last_before_ns, gap.first_after_ns));
        prop_assert_eq!(shown, longest);
        let by_fault = |fault: usize| {
            own.candles
                .values()
                .filter(|values| faults(**values)[fault])
                .count() as u64
        };
        let counts = found.inconsistent;
        prop_assert_eq!(
            [
                counts.high_below_low,
                counts.outside_range,
                counts.negative_volume,
                counts.not_finite
            ],
            [0, 1, 2, 3].map(by_fault)
        );
    }
    for (number, symbol) in SYMBOLS.iter().enumerate() {
        let found = coverage
            .symbols
            .iter()
            .find(|one| one.symbol == *symbol)
            .expect("each symbol");
        let (bid, ask) = (
            &filtered[2 * number].candles,
            &filtered[2 * number + 1].candles,
        );
        let crossed = bid
            .iter()
            .filter(|(at, bid)| ask.get(at).is_some_and(|ask| bid[3] > ask[3]));
        prop_assert_eq!(found.crossed, crossed.count() as u64);
        let own = |series: &usize| series / 2 == number;
        let alone = absent
            .iter()
            .filter(|absent| !absent.is_empty() && absent.iter().all(own));
        prop_assert_eq!(found.alone, alone.count() as u64);
    }
    prop_assert!(
        coverage
            .series
            .is_sorted_by(|one, next| (one.alone, one.misses) >= (next.alone, next.misses))
    );
    check_heat_map(&coverage, &filtered, &union)
}

/// Checks every cell against the timestamps in its bin.
fn check_heat_map(
    coverage: &Coverage,
    filtered: &[Cleaned],
    union: &BTreeSet<i64>,
) -> Result<(), TestCaseError> {
    let map = &coverage.heat_map;
    let bins = map.timestamps().len();
    prop_assert!(bins <= 512);
    prop_assert!(
        map.bars_per_bin() == 1 || bins > 256,
        "{bins} bins of {} bars",
        map.bars_per_bin()
    );
    for bin in 0..bins {
        let span = map.start_ns(bin)..map.start_ns(bin + 1);
        prop_assert_eq!(
            (span.end - span.start) as u64,
            map.bars_per_bin() * MINUTE as u64
        );
        let inside: Vec<_> = union.range(span.clone()).collect();
        prop_assert_eq!(map.timestamps()[bin], inside.len() as u64);
        for (number, pair) in filtered.chunks(2).enumerate() {
            let mut expected = HeatMapCell::default();
            for at in &inside {
                match pair
                    .iter()
                    .filter(|one| one.candles.contains_key(at))
                    .count()
                {
                    0 => expected.missing += 1,
                    1 => expected.one_sided += 1,
                    _ => expected.present += 1,
                }
            }
            let dropped = pair.iter().flat_map(|one| &one.dropped);
            expected.dropped = dropped.filter(|at| span.contains(at)).count() as u64;
            prop_assert_eq!(
                map.cells(number)[bin],
                expected,
                "symbol {}, bin {}",
                number,
                bin
            );
        }
    }
    let counted: u64 = map.timestamps().iter().sum();
    prop_assert_eq!(counted, union.len() as u64);
    let dropped = (0..SYMBOLS.len())
        .map(|symbol| map.total(symbol).dropped)
        .sum::<u64>();
    prop_assert_eq!(
        dropped as usize,
        filtered.iter().map(|one| one.dropped.len()).sum::<usize>()
    );
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 150, ..Config::default() })]

    #[test]
    fn every_figure_is_the_one_that_brute_force_finds(case in case()) {
        check(&case)?;
    }
}

/// A: all of minutes 0 to 9. B: bid without 3, ask without 3 and 4. Nothing else.
fn data() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |symbol: &str, side: &str, without: &[i64]| {
        let minutes = (0..10).filter(|minute| !without.contains(minute));
        let tag = if side == "BID" { 1.0 } else { 2.0 };
        let rows: Vec<Row> = minutes.map(|minute| sound(minute * MINUTE, tag)).collect();
        common::write(&common::path(folder.path(), symbol, "M1", side), &rows, 100);
    };
    write("A", "BID", &[]);
    write("A", "ASK", &[]);
    write("B", "BID", &[3]);
    write("B", "ASK", &[3, 4]);
    folder
}

/// A valid candle.
fn sound(timestamp_ns: i64, price: f64) -> Row {
    (
        timestamp_ns,
        [price, price + 0.5, price - 0.5, price, 1.0].map(Some),
    )
}

fn coverage(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omega-slices"));
    command
        .args(["coverage", "--symbols", "A,B", "--data"])
        .arg(root)
        .env_remove("OMEGA_DATA_PARQUET_ROOT")
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the binary starts")
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn the_first_lines_say_why_there_are_so_few_slices() {
    let data = data();
    let output = run(&mut coverage(data.path()));
    assert_eq!(status(&output), 0);
    assert_eq!(text(&output.stderr), "");
    let report = text(&output.stdout);
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "8 of 10 timestamps (80.00 %) from 1970-01-01T00:00:00Z to 1970-01-01T00:09:00Z are in the \
             intersection; 2 are lost, since not every one of the 4 series has a candle there.",
            "Missing in one symbol only: B 2 (ask 1, both 1).",
        ]
    );
    assert_eq!(
        lines[3..6],
        [
            "series  has  misses     share  alone  gaps  bars  longest gap",
            "B ask     8       2   80.00 %      1     1     2  2 between 1970-01-01T00:02:00Z and 1970-01-01T00:05:00Z",
            "B bid     9       1   90.00 %      0     1     1  1 between 1970-01-01T00:02:00Z and 1970-01-01T00:04:00Z",
        ]
    );
}

#[test]
fn what_several_symbols_lack_is_said_too() {
    let data = data();
    let rows: Vec<Row> = (4..14).map(|minute| sound(minute * MINUTE, 1.0)).collect();
    common::write(&common::path(data.path(), "A", "M1", "BID"), &rows, 100);
    let report = text(&run(&mut coverage(data.path())).stdout);
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(
        lines[1..3],
        [
            "Missing in one symbol only: A 3 (bid 3), B 1 (ask 1).",
            "At 5 timestamps, two or more symbols lack a candle, most often: A at 5, B at 5.",
        ]
    );
}

#[test]
fn json_is_one_document_with_every_figure() {
    let data = data();
    let output = run(coverage(data.path()).arg("--json"));
    assert_eq!(status(&output), 0);
    assert_eq!(text(&output.stderr), "");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(document["union_timestamps"], 10);
    assert_eq!(document["intersection_timestamps"], 8);
    assert_eq!(document["last_timestamp_ns"], 9 * MINUTE);
    assert_eq!(document["price_types"], serde_json::json!(["bid", "ask"]));
    let expected = serde_json::json!({
        "symbol": "B", "timeframe": "M1", "price_type": "ask", "files": 1, "rows": 8,
        "outside_window": 0, "outside_session": 0, "duplicates": 0, "conflicting_duplicates": 0,
        "candles": 8,
        "first_timestamp_ns": 0, "last_timestamp_ns": 9 * MINUTE, "sorted": true,
        "share": 0.8, "misses": 2, "alone": 1,
        "gaps": {"count": 1, "bars": 2, "longest": {
            "bars": 2, "last_before_ns": 2 * MINUTE, "first_after_ns": 5 * MINUTE}},
        "inconsistent": {
            "high_below_low": 0, "outside_range": 0, "negative_volume": 0, "not_finite": 0},
    });
    assert_eq!(document["series"][0], expected);
    assert_eq!(document["series"].as_array().map(Vec::len), Some(4));
    let expected = serde_json::json!({
        "symbol": "B", "complete": 8, "one_sided": 1, "missing": 1, "alone": 2, "crossed": 0});
    assert_eq!(document["symbols"][0], expected);
}

#[test]
fn candles_at_fault_are_listed() {
    let data = data();
    let mut rows: Vec<Row> = (0..10).map(|minute| sound(minute * MINUTE, 3.0)).collect();
    rows[1].1 = [3.0, 2.0, 4.0, 3.0, -1.0].map(Some);
    rows[2].1[0] = Some(9.0);
    rows[3].1[4] = None;
    common::write(&common::path(data.path(), "A", "M1", "BID"), &rows, 100);
    let report = text(&run(&mut coverage(data.path())).stdout);
    let faults: Vec<_> = report
        .lines()
        .rev()
        .take(5)
        .map(|line| line.split_whitespace().last())
        .collect();
    assert!(
        report.contains("A bid                  1                      1           1           1"),
        "{report}"
    );
    // The bid of 3 is above the ask of 2 at each of the ten minutes.
    assert_eq!(faults[0], Some("10"));
    let report = text(&run(coverage(data.path()).args(["--price-types", "ask"])).stdout);
    assert!(
        report.ends_with("\nNo candle contradicts itself, and no bid closes above its ask.\n"),
        "{report}"
    );
}

#[test]
fn a_threshold_makes_it_a_check() {
    let data = data();
    for share in ["0.8", "0", " 0.5 "] {
        let output = run(coverage(data.path()).args(["--fail-under", share]));
        assert_eq!(
            (status(&output), text(&output.stderr)),
            (0, String::new()),
            "{share}"
        );
    }
    let plain = run(&mut coverage(data.path())).stdout;
    let output = run(coverage(data.path()).args(["--fail-under", "0.85"]));
    assert_eq!(status(&output), 1);
    assert_eq!(output.stdout, plain, "the whole report comes first");
    assert_eq!(
        text(&output.stderr),
        "warning[UNDER_THRESHOLD]: 1 of 4 series have candles at less than 0.85 of the 10 timestamps: \
         B M1 ask (0.800000)\n"
    );
    let output =
        run(coverage(data.path()).args(["--fail-under", "1", "--error-format", "json", "--json"]));
    assert_eq!(status(&output), 1);
    let warning: Value = serde_json::from_slice(&output.stderr).expect("one JSON line");
    assert_eq!(warning["name"], "UNDER_THRESHOLD");
    serde_json::from_slice::<Value>(&output.stdout).expect("one JSON document");
}

#[test]
fn nothing_at_all_is_never_enough() {
    let data = data();
    let output = run(coverage(data.path()).args(["--start", "2000-01-01", "--fail-under", "0"]));
    assert_eq!(status(&output), 1);
    assert!(text(&output.stdout).starts_with("There is no timestamp: none of the 4 series"));
    assert!(
        text(&output.stderr).contains("UNDER_THRESHOLD"),
        "{}",
        text(&output.stderr)
    );
    let output = run(coverage(data.path()).args(["--start", "2000-01-01"]));
    assert_eq!(status(&output), 0);
}

#[test]
fn what_is_no_share_is_a_usage_error() {
    let data = data();
    for share in ["1.01", "-0.1", "nan", "inf", "99%", ""] {
        let output = run(coverage(data.path()).args(["--fail-under", share]));
        assert_eq!(status(&output), 2, "{share}");
        assert_eq!(text(&output.stdout), "", "{share}");
        assert!(
            text(&output.stderr).starts_with("error[2 USAGE]"),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn missing_input_is_no_report() {
    let data = data();
    let output = run(coverage(data.path()).args(["--timeframe", "H1"]));
    assert_eq!(status(&output), 3);
    assert_eq!(text(&output.stdout), "");
    assert!(
        text(&output.stderr).contains("TIMEFRAME_NOT_FOUND"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_reader_who_has_seen_enough_changes_no_answer() {
    let data = data();
    for (share, expected) in [("0.8", 0), ("0.85", 1)] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = coverage(data.path());
        let output = run(command.args(["--fail-under", share]).stdout(writer));
        assert_eq!(status(&output), expected, "{share}");
        assert!(
            !text(&output.stderr).contains("error"),
            "{}",
            text(&output.stderr)
        );
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = run(coverage(data.path()).stdout(writer));
    assert_eq!((status(&output), text(&output.stderr)), (0, String::new()));
}

#[test]
fn a_full_device_is_a_failure() {
    let data = data();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("the device");
    let output = run(coverage(data.path()).stdout(full));
    assert_eq!(status(&output), 4, "{}", text(&output.stderr));
}

#[test]
fn an_unsorted_series_is_said_once_on_stderr() {
    let data = data();
    let rows: Vec<Row> = [2, 1, 0]
        .iter()
        .map(|minute| sound(minute * MINUTE, 1.0))
        .collect();
    common::write(&common::path(data.path(), "A", "M1", "BID"), &rows, 100);
    let output = run(&mut coverage(data.path()));
    assert_eq!(
        text(&output.stderr)
            .matches("warning[UNSORTED_INPUT]")
            .count(),
        1
    );
}

#[test]
fn a_page_is_written_beside_the_report_and_needs_nothing_else() {
    let data = data();
    let page = data.path().join("coverage.html");
    let plain = run(&mut coverage(data.path())).stdout;
    let output = run(coverage(data.path()).arg("--html").arg(&page));
    assert_eq!((status(&output), text(&output.stderr)), (0, String::new()));
    assert_eq!(output.stdout, plain);
    let markup = fs::read_to_string(&page).expect("the page");
    assert!(markup.starts_with("<!doctype html>") && markup.ends_with("</html>\n"));
    assert!(markup.contains("default-src 'none'"));
    let own = markup.replace(
        &between(&markup, "<script type=\"text/javascript\">", "</script>"),
        "",
    );
    assert!(own.len() < 60_000, "{} bytes beside plotly", own.len());
    for outside in ["http:", "https:", "src=\"", "@import", "url("] {
        assert!(!own.contains(outside), "{outside}");
    }
    // B comes first, because it costs more.
    let counts: Value = serde_json::from_str(&between(
        &own,
        "id=\"counts\" type=\"application/json\">",
        "<",
    ))
    .expect("JSON");
    assert_eq!(counts["symbols"], serde_json::json!(["B", "A"]));
    assert_eq!(
        counts["timestamps"],
        serde_json::json!([1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    );
    assert_eq!(
        counts["missing"][0],
        serde_json::json!([0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(
        counts["one_sided"][0],
        serde_json::json!([0, 0, 0, 0, 1, 0, 0, 0, 0, 0])
    );
    assert_eq!(counts["bin_ms"], 60_000);
    // The permissions are those of any new file.
    let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode();
    let other = data.path().join("other");
    fs::write(&other, "").expect("a file");
    assert_eq!(mode(&page), mode(&other));
}

/// The text between two texts.
fn between(text: &str, from: &str, to: &str) -> String {
    let (_, rest) = text.split_once(from).expect(from);
    rest.split_once(to).expect(to).0.to_owned()
}

#[test]
fn an_existing_page_needs_force_and_stays_as_it_was() {
    let data = data();
    let page = data.path().join("coverage.html");
    fs::write(&page, "mine").expect("a file");
    let output = run(coverage(data.path()).arg("--html").arg(&page));
    assert_eq!((status(&output), text(&output.stdout)), (4, String::new()));
    assert!(
        text(&output.stderr).contains("--force"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(fs::read(&page).expect("the file"), b"mine");
    let output = run(coverage(data.path())
        .arg("--force")
        .arg("--html")
        .arg(&page));
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(
        fs::read(&page)
            .expect("the page")
            .starts_with(b"<!doctype html>")
    );
    // Two symbols and the page: no other file remains.
    assert_eq!(fs::read_dir(data.path()).expect("a folder").count(), 3);
}

#[test]
fn a_page_that_cannot_be_is_no_page() {
    let data = data();
    for (target, hint) in [
        (data.path().to_owned(), "name a file"),
        ("/dev/null".into(), "regular file"),
        (data.path().join("no/x.html"), "create the folder"),
    ] {
        let output = run(coverage(data.path()).arg("--html").arg(&target));
        assert_eq!(
            (status(&output), text(&output.stdout)),
            (4, String::new()),
            "{}",
            target.display()
        );
        assert!(
            text(&output.stderr).contains(hint),
            "{}",
            text(&output.stderr)
        );
    }
    let output = run(coverage(data.path()).arg("--force"));
    assert_eq!(status(&output), 2, "--force alone says nothing");
    // Invalid input leaves no page.
    let page = data.path().join("x.html");
    let output = run(coverage(data.path())
        .args(["--timeframe", "H1", "--html"])
        .arg(&page));
    assert_eq!(status(&output), 3);
    assert!(!page.exists());
}

#[test]
fn a_page_about_nothing_has_no_map() {
    let data = data();
    let page = data.path().join("x.html");
    let output = run(coverage(data.path())
        .args(["--start", "2000-01-01", "--html"])
        .arg(&page));
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let markup = fs::read_to_string(&page).expect("the page");
    assert!(markup.contains("There is no timestamp") && !markup.contains("id=\"map\""));
    assert!(markup.len() < 60_000, "plotly is not needed");
}

#[test]
fn a_name_is_text_wherever_it_stands() {
    let data = tempfile::tempdir().expect("a folder");
    let name = "<script>alert(1)<!--&amp;\"'";
    for side in ["BID", "ASK"] {
        common::write(
            &common::path(data.path(), name, "M1", side),
            &[sound(0, 1.0)],
            100,
        );
    }
    let page = data.path().join("x.html");
    let mut command = Command::new(env!("CARGO_BIN_EXE_omega-slices"));
    let output = run(command
        .args(["coverage", "--all-symbols", "--data"])
        .arg(data.path())
        .arg("--html")
        .arg(&page));
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(name));
    let markup = fs::read_to_string(&page).expect("the page");
    assert!(!markup.contains("<script>alert"));
    assert!(markup.contains("<bdi>&lt;script&gt;alert(1)&lt;!--&amp;amp;&quot;&#39;</bdi>"));
    let counts = between(&markup, "id=\"counts\" type=\"application/json\">", "<");
    let counts: Value = serde_json::from_str(&counts).expect("JSON");
    assert_eq!(counts["symbols"][0], name);
}

#[test]
fn the_first_and_the_last_timestamp_there_are_do_no_harm() {
    let data = data();
    let ends: Vec<Row> = [i64::MIN, 0, i64::MAX].map(|at| sound(at, 1.0)).into();
    let path = common::path(data.path(), "A", "M1", "BID");
    common::write(&path, &ends, 100);
    let page = data.path().join("x.html");
    for session in ["none", "fx"] {
        let mut command = coverage(data.path());
        command.args(["--session", session, "--force", "--json", "--html"]);
        let output = run(command.arg(&page));
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        let bid = |one: &&Value| one["symbol"] == "A" && one["price_type"] == "bid";
        let series = document["series"].as_array().expect("a list");
        let series = series.iter().find(bid).expect("the series");
        // The last instant is a Saturday morning in Sydney.
        let (candles, gaps) = if session == "fx" { (2, 1) } else { (3, 2) };
        assert_eq!(series["candles"], candles, "{session}");
        assert_eq!(series["gaps"]["count"], gaps, "{session}");
        let longest = &series["gaps"]["longest"];
        assert_eq!(longest["last_before_ns"], i64::MIN, "{session}");
        assert_eq!(longest["first_after_ns"], 0, "{session}");
    }
}
