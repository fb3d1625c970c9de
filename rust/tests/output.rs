//! Tests what a request chooses of its output: the fields of candles, the unit of timestamps, and
//! the type of symbols.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::ipc::reader::StreamReader;
use common::{MINUTE, Row, omega_slices, path, row, run, status, sync, text, write, write_columns};
use omega_slices::{Fields, PriceType, ReadOptions, Request, SliceBatches, Timeline};
use serde_json::Value;

/// Two symbols with gaps, candles of hours, and a duplicate whose rows differ in volume alone.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (tag, symbol) in [(1, "A"), (2, "B")] {
        for side in ["BID", "ASK"] {
            let minutes = (0..400).filter(|minute| minute % (3 + tag) != 1);
            let mut rows: Vec<Row> = minutes
                .map(|minute| row(minute * MINUTE, tag as f64))
                .collect();
            let (timestamp_ns, mut values) = rows[9];
            values[4] = Some(7.0);
            rows.insert(10, (timestamp_ns, values));
            write(&path(folder.path(), symbol, "M1", side), &rows, 60);
            let hours: Vec<Row> = (0..7).map(|hour| row(hour * 60 * MINUTE, 5.0)).collect();
            write(&path(folder.path(), symbol, "H1", side), &hours, 3);
        }
    }
    folder
}

fn everything(root: &Path, more: &[&str]) -> Output {
    let options = [
        "--timeline=union",
        "--fill=forward",
        "--max-age=2m",
        "--with-timeframe=H1",
        "--error-format=json",
    ];
    run(sync(root).args(options).args(more))
}

fn batches(output: &Output) -> Vec<RecordBatch> {
    assert_eq!(status(output), 0, "{}", text(&output.stderr));
    let reader = StreamReader::try_new(&output.stdout[..], None).expect("a stream");
    reader.map(|batch| batch.expect("a batch")).collect()
}

fn report(output: &Output) -> Value {
    let lines = text(&output.stderr);
    let last = lines.lines().last().expect("a report");
    serde_json::from_str(last).expect("JSON")
}

#[test]
fn chosen_fields_are_the_columns_of_the_whole() {
    let data = data();
    let whole = batches(&everything(data.path(), &[]));
    for fields in ["close", "volume,open", "low,high,close"] {
        let chosen = everything(data.path(), &["--fields", fields]);
        let some = batches(&chosen);
        assert_eq!(some.len(), whole.len());
        let schema = some[0].schema();
        assert_eq!(schema.metadata()["schema_version"], "1.1.0");
        let left_out = |name: &str| {
            let field = name.rsplit('_').next().unwrap_or_default();
            let all = ["open", "high", "low", "close", "volume"];
            all.contains(&field) && !fields.split(',').any(|one| one == field)
        };
        for (some, whole) in some.iter().zip(&whole) {
            let names = whole.schema();
            let names = names.fields().iter().map(|field| field.name().clone());
            let kept: Vec<_> = names.filter(|name| !left_out(name)).collect();
            let found = some.schema();
            let found: Vec<_> = found
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect();
            assert_eq!(found, kept);
            for name in &kept {
                assert_eq!(
                    some.column_by_name(name),
                    whole.column_by_name(name),
                    "{name}"
                );
            }
        }
        // A conflict counts where a chosen field differs.
        let conflicts = &report(&chosen)["series"][0]["conflicting_duplicates"];
        assert_eq!(
            conflicts,
            &Value::from(u64::from(fields.contains("volume"))),
            "{fields}"
        );
    }
}

#[test]
fn all_fields_by_name_are_no_choice() {
    let data = data();
    let whole = everything(data.path(), &[]);
    let named = everything(data.path(), &["--fields=volume,close,low,high,open"]);
    assert!(named.stdout == whole.stdout);
}

#[test]
fn a_file_needs_the_chosen_columns_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let minutes = (0..20).map(|minute| Some(minute * MINUTE)).collect();
    let closes: ArrayRef = Arc::new(Float64Array::from_iter_values((0..20).map(f64::from)));
    let times = common::timestamps(TimeUnit::Nanosecond, minutes);
    let columns = vec![("UTC time".to_owned(), times), ("Close".to_owned(), closes)];
    write_columns(&path(folder.path(), "A", "M1", "BID"), columns.clone(), 7);
    write_columns(&path(folder.path(), "A", "D1", "BID"), columns, 7);
    let only_a = |more: &[&str]| {
        let mut command = omega_slices();
        command.args([
            "sync",
            "--symbols=A",
            "--price-types=bid",
            "--error-format=json",
        ]);
        run(command.arg("--data").arg(folder.path()).args(more))
    };
    let found = batches(&only_a(&["--fields=close"]));
    let closes = found[0].column_by_name("bid_close").expect("closes");
    let closes = closes.as_primitive::<arrow::datatypes::Float64Type>();
    assert_eq!(
        closes.values()[..],
        (0..20).map(f64::from).collect::<Vec<_>>()[..]
    );
    for (options, column) in [
        (vec!["--fields=close,volume"], "Volume"),
        // The session of days looks at all five values.
        (
            vec!["--fields=close", "--session=fx", "--timeframe=D1"],
            "Open",
        ),
    ] {
        let failed = only_a(&options);
        assert_eq!(status(&failed), 3);
        let error = report(&failed);
        assert_eq!(
            (&error["code"], &error["column"]),
            (&3007.into(), &column.into()),
            "{error}"
        );
        let hint = error["hint"].as_str().expect("a hint");
        let is_of_rule = hint.contains("--session fx looks at all five values");
        assert_eq!(is_of_rule, column == "Open", "{hint}");
    }
}

#[test]
fn wrong_fields_are_a_usage_error() {
    let data = data();
    for (fields, why) in [
        ("", "names no field"),
        ("close,close", "\"close\" is requested twice"),
        ("close,vwap", "invalid field \"vwap\""),
    ] {
        let failed = run(sync(data.path()).args(["--fields", fields]));
        assert_eq!(status(&failed), 2, "{fields}");
        let said = text(&failed.stderr);
        assert!(said.contains(why), "{said}");
        assert!(failed.stdout.is_empty());
    }
}

#[test]
fn other_types_hold_the_same_slices() {
    let data = data();
    let whole = batches(&everything(data.path(), &[]));
    let plain = data.path().join("plain.arrow");
    let write_to = |target: &Path, more: &[&str]| {
        let target = target.to_str().expect("a path of text");
        let written = everything(data.path(), &[more, &["-o", target]].concat());
        assert_eq!(status(&written), 0, "{}", text(&written.stderr));
    };
    write_to(&plain, &[]);
    for (number, (unit, symbols)) in [("us", "dictionary"), ("ns", "string"), ("us", "string")]
        .into_iter()
        .enumerate()
    {
        let options = ["--timestamp-out", unit, "--symbols-out", symbols];
        let found = batches(&everything(data.path(), &options));
        let schema = found[0].schema();
        assert_eq!(schema.metadata()["schema_version"], "1.1.0");
        let request: Value = serde_json::from_str(&schema.metadata()["request"]).expect("JSON");
        assert_eq!(
            request["timestamp_out"],
            if unit == "us" {
                "us".into()
            } else {
                Value::Null
            }
        );
        assert_eq!(
            request["symbols_out"],
            if symbols == "string" {
                "string".into()
            } else {
                Value::Null
            }
        );
        for (found, whole) in found.iter().zip(&whole) {
            let (schema, plain) = (found.schema(), whole.schema());
            for ((column, expected), (field, usual)) in found
                .columns()
                .iter()
                .zip(whole.columns())
                .zip(schema.fields().iter().zip(plain.fields()))
            {
                let kind = match usual.data_type() {
                    DataType::Timestamp(_, zone) if unit == "us" => {
                        DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                    }
                    DataType::Dictionary(..) if symbols == "string" => DataType::Utf8,
                    other => other.clone(),
                };
                assert_eq!(field.data_type(), &kind);
                let expected = arrow::compute::cast(expected, &kind).expect("a cast");
                assert_eq!(column, &expected, "{}", field.name());
            }
        }
        for extension in ["arrow", "arrows"] {
            let target = data.path().join(format!("{number}.{extension}"));
            write_to(&target, &options);
            let same = run(omega_slices().arg("diff").arg(&target).arg(&plain));
            assert_eq!(status(&same), 0, "{}", text(&same.stdout));
            let told = run(omega_slices().args(["inspect", "--json"]).arg(&target));
            let told: Value = serde_json::from_str(&text(&told.stdout)).expect("JSON");
            assert_eq!(told["sealed"], true);
            // Both lack one minute in twenty.
            assert_eq!(told["slices"], 400 - 400 / 20);
            let kind = told["columns"][0]["type"].as_str().expect("a type");
            assert_eq!(kind.contains("µs"), unit == "us", "{kind}");
        }
    }
}

#[test]
fn an_instant_between_microseconds_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows: Vec<Row> = (0..50)
        .map(|minute| row(minute * MINUTE + i64::from(minute == 30), 1.0))
        .collect();
    for side in ["BID", "ASK"] {
        for symbol in ["A", "B"] {
            write(&path(folder.path(), symbol, "M1", side), &rows, 20);
        }
    }
    let target = folder.path().join("x.arrow");
    let options = ["--timestamp-out=us", "--error-format=json", "-o"];
    let failed = run(sync(folder.path()).args(options).arg(&target));
    assert_eq!(status(&failed), 3);
    let error = report(&failed);
    assert_eq!(
        (&error["code"], &error["column"]),
        (&3007.into(), &"timestamp".into())
    );
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("1970-01-01T00:30:00.000000001Z"),
        "{message}"
    );
    assert!(
        error["hint"]
            .as_str()
            .expect("a hint")
            .contains("--timestamp-out")
    );
    assert!(!fs::exists(&target).expect("a folder that can be read"));
    let fine = run(sync(folder.path()).args(["--timestamp-out=us", "--end=1970-01-01T00:29:00Z"]));
    assert_eq!(status(&fine), 0);
}

#[test]
fn coverage_counts_with_the_chosen_fields() {
    let data = data();
    let coverage = |more: &[&str]| {
        let mut command = omega_slices();
        command.args(["coverage", "--json", "--symbols=A,B", "--data"]);
        let found = run(command.arg(data.path()).args(more));
        assert_eq!(status(&found), 0, "{}", text(&found.stderr));
        serde_json::from_str::<Value>(&text(&found.stdout)).expect("JSON")
    };
    let (whole, closes) = (coverage(&[]), coverage(&["--fields=close"]));
    for key in ["union_timestamps", "intersection_timestamps"] {
        assert_eq!(whole[key], closes[key]);
    }
    for key in ["rows", "candles", "misses", "alone", "duplicates"] {
        assert_eq!(whole["series"][0][key], closes["series"][0][key], "{key}");
    }
}

fn request(root: &Path, fields: &str) -> Request {
    let builder = Request::builder(root).symbols(["A", "B"]);
    let builder = builder.timeline(Timeline::Union);
    let builder = builder.fields(fields.parse::<Fields>().expect("fields"));
    builder.build().expect("a request")
}

#[test]
fn columns_and_prices_need_no_whole_candles() {
    let data = data();
    let whole = SliceBatches::open(
        &request(data.path(), "open,high,low,close,volume"),
        &ReadOptions::new(),
    );
    let closes = SliceBatches::open(&request(data.path(), "close"), &ReadOptions::new());
    let (whole, closes) = (whole.expect("a run"), closes.expect("a run"));
    for (whole, closes) in whole.zip(closes) {
        let (whole, closes) = (whole.expect("a batch"), closes.expect("a batch"));
        for (whole, one) in whole.slices().zip(closes.slices()) {
            let bits = |values: &[f64]| {
                values
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<_>>()
            };
            let of =
                |slice: &omega_slices::MultiSymbolSliceRef<'_>| slice.column("bid_close").map(bits);
            assert_eq!(of(&whole), of(&one));
            assert!(one.column("bid_open").is_none());
            for symbol in ["A", "B"] {
                assert_eq!(
                    whole.price(symbol, PriceType::Ask),
                    one.price(symbol, PriceType::Ask)
                );
                assert_eq!(whole.spread(symbol), one.to_owned().spread(symbol));
                assert!(one.snapshot(symbol).is_err());
                assert!(one.get_candle(symbol, "M1", PriceType::Bid).is_err());
                assert!(one.to_owned().snapshot(symbol).is_err());
            }
            assert!(one.to_owned() == one.to_owned());
        }
    }
}

#[test]
#[should_panic(expected = "the slices have no whole candles: their fields are close")]
fn a_whole_candle_is_not_made_up() {
    let data = data();
    let batches = SliceBatches::open(&request(data.path(), "close"), &ReadOptions::new());
    let batch = batches
        .expect("a run")
        .next()
        .expect("a batch")
        .expect("slices");
    let _ = batch
        .get(0)
        .and_then(|slice| slice.get("A", PriceType::Bid));
}
