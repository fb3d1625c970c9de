//! Tests the comparison of two files or streams of slices, against a naive oracle and with the real
//! binary.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{Cursor, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int16Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use omega_slices::ipc::SliceReader;
use omega_slices::{ErrorKind, Tolerance, diff};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// One symbol in one slice, in the order of the columns: two numbers, a flag, a timestamp.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    close: Option<f64>,
    indicator: Option<f64>,
    valid: bool,
    own_ns: Option<i64>,
}

const COLUMNS: [&str; 4] = ["bid_close", "valid_bid", "bid_timestamp", "ind_x"];

/// The contents of a file.
#[derive(Debug, Clone)]
struct Content {
    symbols: Vec<&'static str>,
    timeframe: &'static str,
    producer: &'static str,
    /// By timestamp, one row per symbol.
    slices: BTreeMap<i64, Vec<Row>>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
struct Form {
    is_file: bool,
    compression: Option<CompressionType>,
    /// Slices per batch.
    batch: usize,
    /// The values under nulls.
    under_null: f64,
}

const PLAIN: Form = Form {
    is_file: true,
    compression: None,
    batch: 100,
    under_null: f64::NAN,
};

fn row(close: impl Into<Option<f64>>) -> Row {
    let close = close.into();
    Row {
        close,
        indicator: Some(1.0),
        valid: close.is_some_and(f64::is_finite),
        own_ns: close.map(|_| 7),
    }
}

impl Content {
    /// `slices` slices of two symbols, one per nanosecond.
    fn new(slices: i64) -> Self {
        let rows = |ns: i64| vec![row(ns as f64), row(ns as f64 + 0.5)];
        Self {
            symbols: vec!["EURUSD", "GBPUSD"],
            timeframe: "M1",
            producer: "tests",
            slices: (0..slices).map(|ns| (ns, rows(ns))).collect(),
        }
    }

    fn with(mut self, timestamp_ns: i64, symbol: usize, row: Row) -> Self {
        self.slices.get_mut(&timestamp_ns).expect("a slice")[symbol] = row;
        self
    }

    fn without(mut self, timestamp_ns: i64) -> Self {
        self.slices.remove(&timestamp_ns).expect("a slice");
        self
    }

    fn schema(&self) -> SchemaRef {
        let timestamp = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let symbol = DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8));
        let types = [
            DataType::Float64,
            DataType::Boolean,
            timestamp.clone(),
            DataType::Float64,
        ];
        let mut fields = vec![
            Field::new("timestamp", timestamp, false),
            Field::new("symbol", symbol, false),
        ];
        let columns = COLUMNS.into_iter().zip(types);
        fields.extend(columns.map(|(name, kind)| {
            let nullable = kind != DataType::Boolean;
            Field::new(name, kind, nullable)
        }));
        let metadata = [
            ("schema_name", "multi_symbol_slice".to_owned()),
            ("schema_version", "1.0.0".to_owned()),
            ("symbols", json!(self.symbols).to_string()),
            ("timeframe", self.timeframe.to_owned()),
            ("request", json!({"start": null}).to_string()),
            ("producer", self.producer.to_owned()),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
        Arc::new(Schema::new_with_metadata(fields, HashMap::from(metadata)))
    }

    fn batch(&self, slices: &[(&i64, &Vec<Row>)], form: Form) -> RecordBatch {
        let width = self.symbols.len();
        let rows = || slices.iter().flat_map(|(_, rows)| rows.iter());
        let timestamps = slices.iter().flat_map(|(ns, _)| vec![**ns; width]);
        let keys: Int16Array = (0..slices.len())
            .flat_map(|_| 0..width as i16)
            .map(Some)
            .collect();
        let names = StringArray::from(self.symbols.clone());
        let numbers = |of: fn(&Row) -> Option<f64>| -> ArrayRef {
            let values: ScalarBuffer<f64> = rows()
                .map(|row| of(row).unwrap_or(form.under_null))
                .collect();
            let nulls: NullBuffer = rows().map(|row| of(row).is_some()).collect();
            Arc::new(Float64Array::new(values, Some(nulls)))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(timestamps).with_timezone("UTC")),
            Arc::new(DictionaryArray::new(keys, Arc::new(names))),
            numbers(|row| row.close),
            Arc::new(rows().map(|row| Some(row.valid)).collect::<BooleanArray>()),
            Arc::new(
                rows()
                    .map(|row| row.own_ns)
                    .collect::<TimestampNanosecondArray>()
                    .with_timezone("UTC"),
            ),
            numbers(|row| row.indicator),
        ];
        RecordBatch::try_new(self.schema(), columns).expect("columns of the schema")
    }

    /// Writes the contents as the product does: batches of whole slices, the seal, and the footer
    /// of a file.
    fn bytes(&self, form: Form) -> Vec<u8> {
        let slices: Vec<_> = self.slices.iter().collect();
        let mut batches: Vec<_> = slices
            .chunks(form.batch)
            .map(|slices| self.batch(slices, form))
            .collect();
        let count = batches.len();
        batches.push(self.batch(&[], form));
        let schema = self.schema();
        let options = IpcWriteOptions::default()
            .try_with_compression(form.compression)
            .expect("a known compression");
        let mut bytes = Vec::new();
        if form.is_file {
            let mut writer = FileWriter::try_new_with_options(&mut bytes, &schema, options)
                .expect("a file begins");
            for batch in &batches {
                writer.write(batch).expect("a batch is written");
            }
            let seal = json!({"slices": slices.len(), "batches": count});
            writer.write_metadata("seal", seal.to_string());
            writer.write_metadata("report", "{}");
            writer.finish().expect("a footer is written");
        } else {
            let mut writer = StreamWriter::try_new_with_options(&mut bytes, &schema, options)
                .expect("a stream begins");
            for batch in &batches {
                writer.write(batch).expect("a batch is written");
            }
            writer.finish().expect("an end is written");
        }
        bytes
    }
}

fn reader(bytes: Vec<u8>) -> SliceReader {
    SliceReader::new(Box::new(Cursor::new(bytes)), Path::new("memory")).expect("slices")
}

/// The comparison in memory, as JSON.
fn compared(a: Vec<u8>, b: Vec<u8>, tolerance: f64) -> Value {
    let tolerance = Tolerance::new(tolerance).expect("a tolerance");
    let found = diff(reader(a), reader(b), tolerance).expect("both are complete");
    let mut document = serde_json::to_value(&found).expect("JSON");
    document["equal"] = found.is_equal().into();
    document
}

fn number_json(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else {
        json!(value.to_string())
    }
}

/// The same comparison, done naively: every timestamp, every symbol, every column.
fn expected(a: &Content, b: &Content, tolerance: f64) -> Value {
    let cells = |row: &Row| {
        let number = |value: Option<f64>| value.map_or(Value::Null, number_json);
        [
            number(row.close),
            json!(row.valid),
            json!(row.own_ns),
            number(row.indicator),
        ]
    };
    let numbers = |row: &Row| [row.close, None, None, row.indicator];
    let timestamps: BTreeSet<_> = a.slices.keys().chain(b.slices.keys()).collect();
    let mut first = Value::Null;
    let mut lone = [vec![], vec![]];
    let mut by_column = vec![(0, None::<f64>); COLUMNS.len()];
    let mut by_symbol = vec![(0, None::<f64>); a.symbols.len()];
    let mut differing = BTreeSet::new();
    for &ns in timestamps {
        let place = |of: &Content| of.slices.range(..ns).count();
        let (rows_a, rows_b) = match (a.slices.get(&ns), b.slices.get(&ns)) {
            (Some(rows_a), Some(rows_b)) => (rows_a, rows_b),
            (in_a, _) => {
                let side = usize::from(in_a.is_none());
                lone[side].push(ns);
                if first.is_null() {
                    first = json!({
                        "kind": (["only_in_a", "only_in_b"][side]),
                        "timestamp_ns": ns,
                        "slice": (place([a, b][side])),
                    });
                }
                continue;
            }
        };
        for (symbol, (row_a, row_b)) in rows_a.iter().zip(rows_b).enumerate() {
            for column in 0..COLUMNS.len() {
                let (x, y) = (&cells(row_a)[column], &cells(row_b)[column]);
                let pair = numbers(row_a)[column].zip(numbers(row_b)[column]);
                let pair = pair.filter(|(x, y)| x.is_finite() && y.is_finite());
                if pair.map_or(x == y, |(x, y)| (x - y).abs() <= tolerance) {
                    continue;
                }
                differing.insert(ns);
                for count in [&mut by_column[column], &mut by_symbol[symbol]] {
                    count.0 += 1;
                    let apart = pair.map(|(x, y)| (x - y).abs());
                    count.1 = count.1.into_iter().chain(apart).reduce(f64::max);
                }
                if first.is_null() {
                    first = json!({
                        "kind": "value",
                        "timestamp_ns": ns,
                        "slice": {"a": place(a), "b": place(b)},
                        "symbol": a.symbols[symbol],
                        "column": COLUMNS[column],
                        "a": x,
                        "b": y,
                    });
                }
            }
        }
    }
    let table = |names: &[&str], counts: &[(u64, Option<f64>)]| -> Value {
        let rows = names.iter().zip(counts).filter(|(_, count)| count.0 > 0);
        rows.map(|(name, (values, largest))| {
            json!({"name": name, "values": values, "largest_difference": largest})
        })
        .collect()
    };
    let one_sided = |timestamps: &[i64]| json!({"slices": timestamps.len(), "first_timestamps_ns": &timestamps[..timestamps.len().min(5)]});
    json!({
        "equal": first.is_null(),
        "timeframe": null,
        "symbols": null,
        "columns": null,
        "values_compared": true,
        "first_difference": first,
        "slices": {
            "a": a.slices.len(),
            "b": b.slices.len(),
            "both": a.slices.len() - lone[0].len(),
            "differing": differing.len(),
        },
        "only_in_a": one_sided(&lone[0]),
        "only_in_b": one_sided(&lone[1]),
        "differing_values": by_column.iter().map(|count| count.0).sum::<u64>(),
        "by_column": table(&COLUMNS, &by_column),
        "by_symbol": table(&a.symbols, &by_symbol),
        "metadata": [],
    })
}

fn numbers() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        Just(Some(f64::NAN)),
        Just(Some(-f64::NAN)),
        Just(Some(0.0)),
        Just(Some(-0.0)),
        Just(Some(f64::INFINITY)),
        Just(Some(f64::NEG_INFINITY)),
        Just(Some(f64::MAX)),
        Just(Some(-f64::MAX)),
        (-8..8i32).prop_map(|eighths| Some(f64::from(eighths) / 8.0)),
    ]
}

fn rows() -> impl Strategy<Value = Row> {
    let own_ns = prop::option::of(0..3i64);
    (numbers(), numbers(), any::<bool>(), own_ns).prop_map(|(close, indicator, valid, own_ns)| {
        Row {
            close,
            indicator,
            valid,
            own_ns,
        }
    })
}

fn contents() -> impl Strategy<Value = Content> {
    (1..4usize).prop_flat_map(|symbols| {
        let slice = prop::collection::vec(rows(), symbols);
        prop::collection::btree_map(-10..10i64, slice, 0..15).prop_map(move |slices| Content {
            symbols: ["A", "B", "C"][..symbols].to_vec(),
            slices,
            ..Content::new(0)
        })
    })
}

/// A nearly equal pair: the second lacks some slices of the first, adds others and changes some.
fn pairs() -> impl Strategy<Value = (Content, Content)> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, rows()), 0..4);
    (contents(), changes).prop_map(|(a, changes)| {
        let mut b = a.clone();
        for (place, change, row) in changes {
            let timestamps: Vec<_> = b.slices.keys().copied().collect();
            if timestamps.is_empty() {
                break;
            }
            let ns = *place.get(&timestamps);
            match change {
                0 => drop(b.slices.remove(&ns)),
                1 => drop(b.slices.insert(ns + 11, vec![row; b.symbols.len()])),
                _ => {
                    let rows = b.slices.get_mut(&ns).expect("a slice");
                    *place.get_mut(rows) = row;
                }
            }
        }
        (a, b)
    })
}

fn forms() -> impl Strategy<Value = Form> {
    let compressions = [
        None,
        Some(CompressionType::LZ4_FRAME),
        Some(CompressionType::ZSTD),
    ];
    let under_null = prop_oneof![Just(f64::NAN), Just(1.0)];
    (
        any::<bool>(),
        prop::sample::select(compressions.to_vec()),
        1..8usize,
        under_null,
    )
        .prop_map(|(is_file, compression, batch, under_null)| Form {
            is_file,
            compression,
            batch,
            under_null,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_tells_what_a_naive_comparison_tells(
        (a, b) in pairs(),
        form_a in forms(),
        form_b in forms(),
        tolerance in prop::sample::select(&[0.0, 0.125, 0.5, f64::INFINITY]),
    ) {
        prop_assert_eq!(
            compared(a.bytes(form_a), b.bytes(form_b), tolerance),
            expected(&a, &b, tolerance)
        );
    }

    #[test]
    fn a_pair_is_as_different_the_other_way_round(
        (a, b) in pairs(),
        form_a in forms(),
        form_b in forms(),
    ) {
        let there = compared(a.bytes(form_a), b.bytes(form_b), 0.0);
        let back = compared(b.bytes(form_b), a.bytes(form_a), 0.0);
        for key in ["equal", "differing_values", "by_column", "by_symbol"] {
            prop_assert_eq!(&there[key], &back[key], "{}", key);
        }
        prop_assert_eq!(&there["only_in_a"], &back["only_in_b"]);
        prop_assert_eq!(&there["first_difference"]["timestamp_ns"], &back["first_difference"]["timestamp_ns"]);
    }
}

#[test]
fn long_runs_are_gone_through_block_by_block_and_to_the_last_row() {
    let content = Content::new(3_000);
    for ns in [0, 255, 256, 511, 512, 1_500, 2_999] {
        for symbol in [0, 1] {
            let other = content.clone().with(ns, symbol, row(-1.0));
            let form = Form {
                batch: 3_000,
                ..PLAIN
            };
            let found = compared(content.bytes(form), other.bytes(PLAIN), 0.0);
            let first = &found["first_difference"];
            assert_eq!(first["timestamp_ns"], ns);
            assert_eq!(first["symbol"], content.symbols[symbol]);
            assert_eq!(first["b"], -1.0);
            assert_eq!(found["differing_values"], 1);
        }
    }
}

#[test]
fn where_the_symbols_differ_slices_are_matched_and_no_values_compared() {
    let a = Content::new(10);
    let mut b = Content::new(10).without(4).with(2, 0, row(-1.0));
    b.symbols = vec!["GBPUSD", "EURUSD"];
    let found = compared(a.bytes(PLAIN), b.bytes(PLAIN), 0.0);
    assert_eq!(
        found["symbols"],
        json!({"only_in_a": [], "only_in_b": [], "reordered": true})
    );
    assert_eq!(found["values_compared"], false);
    assert_eq!(found["differing_values"], 0);
    assert_eq!(found["first_difference"]["timestamp_ns"], 4);

    let mut b = Content::new(10);
    b.symbols.push("USDJPY");
    b.symbols.remove(0);
    for rows in b.slices.values_mut() {
        rows.push(row(1.0));
        rows.remove(0);
    }
    let found = compared(a.bytes(PLAIN), b.bytes(PLAIN), 0.0);
    assert_eq!(
        found["symbols"],
        json!({"only_in_a": ["EURUSD"], "only_in_b": ["USDJPY"], "reordered": false})
    );
    assert_eq!(found["first_difference"], Value::Null);
    assert_eq!(found["equal"], false);
}

/// The stream with other column names or another column order; edits the schema bytes.
fn with_columns(content: &Content, order: &[usize], rename: &[(&str, &str)]) -> Vec<u8> {
    let schema = content.schema();
    let slices: Vec<_> = content.slices.iter().collect();
    let fields: Vec<_> = order
        .iter()
        .map(|&place| {
            let field = schema.field(place).clone();
            let new = rename.iter().find(|(old, _)| old == field.name());
            new.map_or(field.clone(), |(_, new)| field.with_name(*new))
        })
        .collect();
    let other = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &other).expect("a stream begins");
    for part in [&slices[..], &[]] {
        let batch = content.batch(part, PLAIN);
        let columns = order.iter().map(|&place| batch.column(place).clone());
        let batch = RecordBatch::try_new(other.clone(), columns.collect()).expect("a batch");
        writer.write(&batch).expect("a batch is written");
    }
    writer.finish().expect("an end is written");
    drop(writer);
    bytes
}

#[test]
fn where_the_columns_differ_the_common_ones_are_compared() {
    let a = Content::new(10);
    let b = Content::new(10).with(3, 1, row(None));
    let order = [0, 1, 2, 3, 4, 5];
    let found = compared(
        a.bytes(PLAIN),
        with_columns(&b, &order, &[("bid_close", "ask_close")]),
        0.0,
    );
    assert_eq!(
        found["columns"],
        json!({"only_in_a": ["bid_close"], "only_in_b": ["ask_close"], "reordered": false})
    );
    assert_eq!(found["first_difference"]["column"], "valid_bid");
    assert_eq!(found["differing_values"], 2);

    let found = compared(
        a.bytes(PLAIN),
        with_columns(&b, &[0, 1, 5, 4, 3, 2], &[]),
        0.0,
    );
    assert_eq!(
        found["columns"],
        json!({"only_in_a": [], "only_in_b": [], "reordered": true})
    );
    assert_eq!(found["first_difference"]["column"], "bid_close");
    assert_eq!(found["differing_values"], 3);

    // One name, two types.
    let swapped = [
        ("bid_close", "bid_timestamp"),
        ("bid_timestamp", "bid_close"),
    ];
    let found = compared(a.bytes(PLAIN), with_columns(&a, &order, &swapped), 0.0);
    assert_eq!(
        found["columns"]["only_in_a"],
        json!([
            "bid_close (Float64)",
            "bid_timestamp (Timestamp(ns, \"UTC\"))"
        ])
    );
    assert_eq!(found["differing_values"], 0);
    assert_eq!(found["equal"], false);
}

#[test]
fn a_tolerance_below_zero_or_nan_is_a_usage_error() {
    for limit in [-1.0, -f64::MIN_POSITIVE, f64::NAN, f64::NEG_INFINITY] {
        let error = Tolerance::new(limit).expect_err("not a tolerance");
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
    assert_eq!(Tolerance::new(-0.0).expect("zero"), Tolerance::EXACT);
}

// --- The real binary ---

/// A folder with files of slices, in which the binary runs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omega-slices"));
        command
            .arg("diff")
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    /// Status, stdout and stderr.
    fn diff(&self, arguments: &[&str]) -> (i32, String, String) {
        outcome(&self.command(arguments).output().expect("the binary starts"))
    }
}

fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let status = output.status.code().expect("no signal ended it");
    (status, text(&output.stdout), text(&output.stderr))
}

#[test]
fn equal_files_are_one_line_and_status_0() {
    let folder = Folder::new();
    let content = Content::new(250);
    folder.write("a.arrow", content.bytes(PLAIN));
    for (number, form) in [
        PLAIN,
        Form { batch: 7, ..PLAIN },
        Form {
            is_file: false,
            ..PLAIN
        },
        Form {
            compression: Some(CompressionType::ZSTD),
            ..PLAIN
        },
        Form {
            is_file: false,
            compression: Some(CompressionType::LZ4_FRAME),
            batch: 1,
            under_null: 0.0,
        },
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}.b");
        folder.write(&name, content.bytes(form));
        let (status, stdout, stderr) = folder.diff(&["a.arrow", &name]);
        assert_eq!(
            stdout,
            format!("a.arrow and {name} are equal: 250 slices of 2 symbols\n")
        );
        assert_eq!((status, stderr.as_str()), (0, ""));
    }
}

#[test]
fn who_wrote_the_slices_does_not_count_but_is_mentioned() {
    let folder = Folder::new();
    folder.write("a.arrow", Content::new(1).bytes(PLAIN));
    let other = Content {
        producer: "somebody else",
        ..Content::new(1)
    };
    folder.write("b.arrow", other.bytes(PLAIN));
    let (status, stdout, _) = folder.diff(&["a.arrow", "b.arrow"]);
    assert_eq!(
        stdout,
        "a.arrow and b.arrow are equal: 1 slice of 2 symbols \
         (metadata differ, which does not count: producer)\n"
    );
    assert_eq!(status, 0);
}

#[test]
fn the_report_begins_with_the_first_difference() {
    let folder = Folder::new();
    let golden = Content::new(200);
    let new = golden
        .clone()
        .with(3, 1, row(3.6))
        .with(5, 0, row(None))
        .with(150, 1, row(150.75))
        .without(7);
    folder.write("golden.arrow", golden.bytes(PLAIN));
    folder.write("new.arrow", new.bytes(Form { batch: 9, ..PLAIN }));
    let (status, stdout, stderr) = folder.diff(&["golden.arrow", "new.arrow"]);
    assert_eq!(
        stdout,
        "\
first difference
  timestamp     1970-01-01T00:00:00.000000003Z
  symbol        GBPUSD
  field         bid_close
  golden.arrow  3.5
  new.arrow     3.6
  difference    0.10000000000000009
  slice         3 (the first is 0)

slices
  golden.arrow  200, 1 only here: 1970-01-01T00:00:00.000000007Z
  new.arrow     199
  in both       199
  differing     3, in 5 values

  column               values  largest difference
  bid_close                 3  0.25
  valid_bid                 1  no two numbers
  bid_timestamp             1  no two numbers

  symbol        values  largest difference
  EURUSD             3  no two numbers
  GBPUSD             2  0.25
"
    );
    assert_eq!((status, stderr.as_str()), (1, ""));

    // After a slice that one side lacks, slices have two numbers.
    let only = golden.clone().without(7).with(9, 0, row(None));
    folder.write("only.arrow", only.bytes(PLAIN));
    let (status, stdout, _) = folder.diff(&["only.arrow", "golden.arrow"]);
    assert!(
        stdout.starts_with(
            "\
first difference
  timestamp     1970-01-01T00:00:00.000000007Z
  only.arrow    no slice
  golden.arrow  slice 7 (the first is 0)
"
        ),
        "{stdout}"
    );
    assert_eq!(status, 1);
}

#[test]
fn what_differs_in_the_whole_is_named_first_in_words() {
    let folder = Folder::new();
    let a = Content::new(3);
    let mut b = Content::new(3).without(1);
    b.symbols = vec!["EURUSD", "USDJPY"];
    b.timeframe = "H1";
    folder.write("a.arrow", a.bytes(PLAIN));
    folder.write("b.arrow", b.bytes(PLAIN));
    let (status, stdout, _) = folder.diff(&["a.arrow", "b.arrow"]);
    assert!(
        stdout.starts_with(
            "\
symbols only in a.arrow: GBPUSD
symbols only in b.arrow: USDJPY
timeframe is M1 in a.arrow, H1 in b.arrow
values were not compared: the symbols differ

first difference
  timestamp   1970-01-01T00:00:00.000000001Z
  a.arrow     slice 1 (the first is 0)
  b.arrow     no slice
"
        ),
        "{stdout}"
    );
    assert_eq!(status, 1);

    let b = with_columns(&a, &[0, 1, 5, 4, 2], &[]);
    folder.write("b.arrow", b);
    let (status, stdout, _) = folder.diff(&["a.arrow", "b.arrow"]);
    assert!(
        stdout.starts_with(
            "\
columns only in a.arrow: valid_bid
columns come in another order
values were compared in the common columns only
"
        ),
        "{stdout}"
    );
    assert_eq!(status, 1);
}

#[test]
fn a_tolerance_lets_small_differences_pass() {
    let folder = Folder::new();
    folder.write("a.arrow", Content::new(9).bytes(PLAIN));
    let other = Content::new(9).with(4, 0, row(4.25));
    folder.write("b.arrow", other.bytes(PLAIN));
    for (tolerance, expected) in [("0", 1), ("0.2", 1), ("0.25", 0), ("inf", 0)] {
        let (status, _, _) = folder.diff(&["a.arrow", "b.arrow", "--tolerance", tolerance]);
        assert_eq!(status, expected, "{tolerance}");
    }
    for tolerance in ["-1", "-1e-9", "nan", "much"] {
        let (status, stdout, stderr) =
            folder.diff(&["a.arrow", "b.arrow", "--tolerance", tolerance]);
        assert_eq!((status, stdout.as_str()), (2, ""), "{tolerance}: {stderr}");
        assert!(stderr.contains("toleran"), "{stderr}");
    }
}

#[test]
fn json_is_one_document() {
    let folder = Folder::new();
    folder.write("a.arrow", Content::new(9).bytes(PLAIN));
    let other = Content::new(9).with(4, 0, row(f64::NEG_INFINITY));
    folder.write("b.arrow", other.bytes(PLAIN));
    let (status, stdout, stderr) = folder.diff(&["a.arrow", "b.arrow", "--json"]);
    assert_eq!((status, stderr.as_str()), (1, ""));
    let document: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(document["equal"], false);
    assert_eq!(
        [&document["a"], &document["b"]],
        [&json!("a.arrow"), &json!("b.arrow")]
    );
    assert_eq!(document["tolerance"], 0.0);
    assert_eq!(
        document["first_difference"],
        json!({
            "kind": "value", "timestamp_ns": 4, "slice": {"a": 4, "b": 4},
            "symbol": "EURUSD", "column": "bid_close", "a": 4.0, "b": "-inf",
        })
    );
    let (status, stdout, _) = folder.diff(&["a.arrow", "a.arrow", "--json"]);
    let document: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((status, &document["equal"]), (0, &json!(true)));
}

#[test]
fn one_side_may_be_stdin() {
    let folder = Folder::new();
    folder.write("a.arrow", Content::new(40_000).bytes(PLAIN));
    let stream = Content::new(40_000).bytes(Form {
        is_file: false,
        ..PLAIN
    });
    for (arguments, labels) in [
        (["a.arrow", "-"], "a.arrow and stdin"),
        (["-", "a.arrow"], "stdin and a.arrow"),
    ] {
        let mut child = folder
            .command(&arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(&stream).expect("it reads to the end");
        drop(stdin);
        let (status, stdout, stderr) = outcome(&child.wait_with_output().expect("it ends"));
        assert_eq!((status, stderr.as_str()), (0, ""));
        assert!(stdout.starts_with(labels), "{stdout}");
    }
    let (status, stdout, stderr) = folder.diff(&["-", "-"]);
    assert_eq!((status, stdout.as_str()), (2, ""));
    assert!(stderr.contains("stdin"), "{stderr}");
}

#[test]
fn what_is_not_whole_gives_no_report_whatever_was_found_before() {
    let folder = Folder::new();
    let a = Content::new(2_000).bytes(PLAIN);
    folder.write("a.arrow", &a);
    let differs = Content::new(2_000).with(1, 0, row(None));
    let file = differs.bytes(PLAIN);
    let stream = differs.bytes(Form {
        is_file: false,
        ..PLAIN
    });
    // The second half is missing or overwritten; the footer is missing; the end marker is missing.
    folder.write("half.arrow", &file[..file.len() / 2]);
    let mut overwritten = file.clone();
    overwritten[file.len() / 2..].fill(0x5a);
    folder.write("overwritten.arrow", overwritten);
    folder.write("no-footer.arrow", &file[..file.len() - 400]);
    folder.write("no-end.arrows", &stream[..stream.len() - 8]);
    folder.write("text.arrow", "no slices at all");
    folder.write("empty.arrow", "");
    for broken in [
        "half.arrow",
        "overwritten.arrow",
        "no-footer.arrow",
        "no-end.arrows",
        "text.arrow",
        "empty.arrow",
        "missing.arrow",
    ] {
        for arguments in [["a.arrow", broken], [broken, "a.arrow"]] {
            for json in [&[][..], &["--json"]] {
                let (status, stdout, stderr) = folder.diff(&[&arguments, json].concat());
                assert_eq!((status, stdout.as_str()), (3, ""), "{arguments:?}");
                assert!(stderr.contains("3006 DESERIALIZATION_ERROR"), "{stderr}");
                assert!(stderr.contains(broken), "{stderr}");
            }
        }
    }
}

/// A reader that closes the pipe is not a failure, and does not change the exit status.
#[test]
fn a_closed_stdout_changes_nothing_about_the_answer() {
    let folder = Folder::new();
    folder.write("a.arrow", Content::new(9).bytes(PLAIN));
    folder.write("b.arrow", Content::new(8).bytes(PLAIN));
    for (other, expected) in [("a.arrow", 0), ("b.arrow", 1)] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = folder
            .command(&["a.arrow", other])
            .stdout(OwnedFd::from(writer))
            .output()
            .expect("the binary starts");
        let (status, _, stderr) = outcome(&output);
        assert_eq!((status, stderr.as_str()), (expected, ""));
    }
}

#[test]
fn help_shows_how_it_is_used() {
    let (status, stdout, _) = Folder::new().diff(&["--help"]);
    assert_eq!(status, 0);
    for word in ["--tolerance", "--json", "omega-slices diff golden.arrow"] {
        assert!(stdout.contains(word), "{word}");
    }
}
