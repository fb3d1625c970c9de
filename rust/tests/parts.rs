//! Tests requests cut into parts: joined, they are the whole, and a folder of them that is not what
//! its list says is refused.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{MINUTE, Row, omega_slices, path, row, run, status, sync, text, write};
use omega_slices::ipc::{PartList, SliceReader};
use omega_slices::{ReadOptions, Request, SliceBatches, SplitBy, Storage, Timeline, split};
use serde_json::Value;

const DAY: i64 = 24 * 60 * MINUTE;

/// Two symbols with gaps, a candle every ten minutes for five days, one of them empty, and the hours
/// above.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (tag, symbol) in [(1, "A"), (2, "B")] {
        for side in ["BID", "ASK"] {
            let stamps = (0..5 * 144).map(|number| number * 10 * MINUTE);
            let stamps = stamps.filter(|ns| ns / DAY != 2 && ns / (10 * MINUTE) % (3 + tag) != 1);
            let rows: Vec<Row> = stamps.map(|ns| row(ns, tag as f64)).collect();
            write(&path(folder.path(), symbol, "M10", side), &rows, 60);
            let hours: Vec<Row> = (0..5 * 24)
                .map(|hour| row(hour * 60 * MINUTE, 5.0))
                .collect();
            write(&path(folder.path(), symbol, "H1", side), &hours, 30);
        }
    }
    folder
}

const REQUEST: [&str; 6] = [
    "--timeframe=M10",
    "--timeline=union",
    "--fill=forward",
    "--max-age=2h",
    "--with-timeframe=H1",
    "--known-at=close",
];

fn precompute(root: &Path, into: &Path, more: &[&str]) -> Output {
    let mut command = omega_slices();
    command.args([
        "precompute",
        "--symbols=A,B",
        "--error-format=json",
        "--data",
    ]);
    command.arg(root).arg("--into").arg(into);
    run(command.args(REQUEST).args(more))
}

fn list(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("_slices.json")).expect("a list");
    serde_json::from_str(&text).expect("JSON")
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn refused(output: &Output, exit: i32, told: &str) {
    let said = text(&output.stderr);
    assert_eq!(status(output), exit, "{said}");
    assert!(said.contains(told), "{told}: {said}");
}

#[test]
fn parts_joined_are_the_whole() {
    let data = data();
    let whole = data.path().join("whole.arrow");
    let made = run(sync(data.path()).args(REQUEST).arg("-o").arg(&whole));
    assert_eq!(status(&made), 0, "{}", text(&made.stderr));
    for (number, options) in [
        &["--by=day", "--jobs=1"][..],
        &["--by=day", "--jobs=3"],
        &["--by=7", "--jobs=2"],
        &["--by=week"],
        &[
            "--by=day",
            "--start=1970-01-01T00:00:05Z",
            "--before=1970-01-05T03:10:00Z",
        ],
    ]
    .iter()
    .enumerate()
    {
        let parts = data.path().join(format!("parts{number}"));
        let made = precompute(data.path(), &parts, options);
        assert_eq!(status(&made), 0, "{}", text(&made.stderr));
        let other = data.path().join(format!("other{number}.arrow"));
        let window = &options[options.len().min(if number == 4 { 1 } else { 9 })..];
        let mut command = sync(data.path());
        command.args(REQUEST).args(window).arg("-o").arg(&other);
        assert_eq!(status(&run(&mut command)), 0);
        let compared = run(omega_slices().arg("diff").args([&other, &parts]));
        refused(&compared, 0, "");
        assert!(
            text(&compared.stdout).contains("are equal"),
            "{}",
            text(&compared.stdout)
        );
    }
    let report: Value = {
        let again = precompute(data.path(), &data.path().join("parts0"), &["--by=day"]);
        serde_json::from_str(text(&again.stderr).lines().last().expect("a report")).expect("JSON")
    };
    let read = SliceReader::open(&whole, &Storage::default()).expect("a file");
    let slices: usize = read.map(|slices| slices.expect("slices").len()).sum();
    assert_eq!(report["kind"], "report");
    assert_eq!(report["parts"], 5);
    assert_eq!(report["slices"], slices);
}

#[test]
fn the_list_tells_of_each_part() {
    let data = data();
    let parts = data.path().join("parts");
    assert_eq!(status(&precompute(data.path(), &parts, &["--by=day"])), 0);
    let list = list(&parts);
    assert_eq!(list["schema_version"], "1.0.0");
    assert_eq!(list["request"]["timeframe"], "M10");
    assert_eq!(list["request"]["start"], Value::Null);
    let all = list["parts"].as_array().expect("parts");
    assert_eq!(all.len(), 5);
    // Candles are carried into the empty day by other rules than those of the timeline.
    assert_eq!(all[2]["slices"], 0);
    assert_eq!(all[2]["first_timestamp_ns"], Value::Null);
    for pair in all.windows(2) {
        assert_eq!(pair[0]["before"], pair[1]["start"]);
    }
    for part in all {
        let file = part["file"].as_str().expect("a name");
        let size = fs::metadata(parts.join(file)).expect("a file").len();
        assert_eq!(part["bytes"], size);
        assert_eq!(part["sha256"].as_str().map(str::len), Some(64));
        assert_eq!(
            file,
            format!("{}.arrow", part["key"].as_str().expect("a key"))
        );
    }
    assert_eq!(files(&parts).len(), 6);
}

#[test]
fn begun_again_it_makes_what_is_missing_or_changed() {
    let data = data();
    let parts = data.path().join("parts");
    assert_eq!(status(&precompute(data.path(), &parts, &["--by=day"])), 0);
    let before = list(&parts);
    let name = |list: &Value, part: usize| list["parts"][part]["file"].as_str().map(str::to_owned);
    let second = parts.join(name(&before, 1).expect("a name"));
    let content = fs::read(&second).expect("a file");
    fs::remove_file(&second).expect("it was there");
    refused(
        &run(omega_slices().arg("inspect").arg(&parts)),
        3,
        "cannot read",
    );
    assert_eq!(status(&precompute(data.path(), &parts, &["--by=day"])), 0);
    assert_eq!(fs::read(&second).expect("made again"), content);
    assert_eq!(list(&parts), before);

    let rows: Vec<Row> = (0..5 * 144)
        .map(|number| row(number * 10 * MINUTE, 9.0))
        .collect();
    write(&path(data.path(), "A", "M10", "BID"), &rows, 60);
    assert_eq!(status(&precompute(data.path(), &parts, &["--by=day"])), 0);
    let after = list(&parts);
    assert!((0..5).all(|part| name(&before, part) != name(&after, part)));
    // Nothing of the former parts is left.
    assert_eq!(files(&parts).len(), 6);
}

#[test]
fn another_request_needs_leave() {
    let data = data();
    let parts = data.path().join("parts");
    assert_eq!(status(&precompute(data.path(), &parts, &["--by=week"])), 0);
    let other = ["--by=week", "--fields=close"];
    refused(
        &precompute(data.path(), &parts, &other),
        2,
        "parts of another request",
    );
    let forced = ["--by=week", "--fields=close", "--overwrite"];
    assert_eq!(status(&precompute(data.path(), &parts, &forced)), 0);
    assert_eq!(list(&parts)["request"]["fields"][0], "close");
    assert_eq!(files(&parts).len(), 3);
}

#[test]
fn a_part_that_fails_leaves_no_list() {
    let data = data();
    let parts = data.path().join("parts");
    let mut rows: Vec<Row> = (0..5 * 144)
        .map(|number| row(number * 10 * MINUTE, 9.0))
        .collect();
    rows.push(rows[rows.len() - 1]);
    write(&path(data.path(), "B", "M10", "ASK"), &rows, 60);
    for jobs in ["--jobs=1", "--jobs=2"] {
        let failed = precompute(
            data.path(),
            &parts,
            &["--by=day", "--duplicates=error", jobs],
        );
        refused(&failed, 3, "B_M10_ASK");
        assert!(files(&parts).iter().all(|name| name.ends_with(".arrow")));
    }
    fs::write(data.path().join("file"), "").expect("written");
    let inside = data.path().join("file").join("parts");
    refused(&precompute(data.path(), &inside, &["--by=day"]), 4, "");
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let data = data();
    let parts = data.path().join("parts");
    for by in ["0", "decade", "-3", "100001"] {
        let by = format!("--by={by}");
        refused(
            &precompute(data.path(), &parts, &[&by]),
            2,
            "cannot split by",
        );
    }
    refused(&precompute(data.path(), &parts, &["--jobs=0"]), 2, "--jobs");
    refused(
        &precompute(data.path(), Path::new("hdfs://bucket/x"), &[]),
        2,
        "hdfs",
    );
    assert!(!parts.exists());
}

#[test]
fn an_exclusive_end_excludes_it() {
    let data = data();
    let slices = |options: &[&str]| {
        let output = run(sync(data.path()).args(REQUEST).args(options));
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        let read = SliceReader::new(
            Box::new(std::io::Cursor::new(output.stdout)),
            Path::new("x"),
        );
        read.expect("a stream")
            .map(|slices| slices.expect("slices").len())
            .sum::<usize>()
    };
    let until = |option: &str| slices(&[&format!("--{option}=1970-01-02T00:10:00Z")]);
    assert_eq!(until("end"), until("before") + 1);
    let both = ["--end=1970-01-02", "--before=1970-01-03"];
    refused(&run(sync(data.path()).args(both)), 2, "--before");
    let empty = ["--start=1970-01-02", "--before=1970-01-02"];
    refused(&run(sync(data.path()).args(empty)), 2, "--before");
}

#[test]
fn a_folder_that_is_not_its_list_is_refused() {
    let data = data();
    let parts = data.path().join("parts");
    assert_eq!(status(&precompute(data.path(), &parts, &["--by=day"])), 0);
    let written = fs::read_to_string(parts.join("_slices.json")).expect("a list");
    let edited = written.replacen("\"slices\": 1", "\"slices\": 7", 1);
    fs::write(parts.join("_slices.json"), edited).expect("written");
    refused(
        &run(omega_slices().arg("inspect").arg(&parts)),
        3,
        "its checksum",
    );
    // A list without a checksum, as others may write it.
    let mut plain: Value = serde_json::from_str(&written).expect("JSON");
    let fields = plain.as_object_mut().expect("an object");
    fields.remove("checksum").expect("a checksum");
    let good = serde_json::to_string_pretty(&plain).expect("JSON");
    let first = list(&parts)["parts"][0]["file"]
        .as_str()
        .expect("a name")
        .to_owned();
    let second = list(&parts)["parts"][1]["file"]
        .as_str()
        .expect("a name")
        .to_owned();
    for (from, to, told) in [
        (&*first, "../x.arrow", "no plain name"),
        (&first, "..", "no plain name"),
        (&first, "", "no plain name"),
        (&first, &second, "twice"),
        ("\"slices\": 1", "\"slices\": 7", "another file"),
        ("\"1.0.0\"", "\"2.0.0\"", "version"),
        ("\"parts\"", "\"pieces\"", "malformed"),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        fs::write(parts.join("_slices.json"), bad).expect("written");
        refused(&run(omega_slices().arg("inspect").arg(&parts)), 3, told);
        refused(
            &run(omega_slices().arg("diff").args([&parts, &parts])),
            3,
            told,
        );
    }
    // Parts that are exchanged, left out or of another request.
    let mut shuffled = plain.clone();
    let listed = shuffled["parts"].as_array_mut().expect("parts");
    listed.swap(0, 1);
    let mut gap = plain.clone();
    gap["parts"].as_array_mut().expect("parts").remove(1);
    let mut other = plain.clone();
    other["request"]["timeline"] = "intersection".into();
    for (bad, told) in [
        (shuffled, "does not begin where"),
        (gap, "does not begin where"),
        (other, "another file"),
    ] {
        fs::write(parts.join("_slices.json"), bad.to_string()).expect("written");
        refused(&run(omega_slices().arg("inspect").arg(&parts)), 3, told);
    }
    fs::write(parts.join("_slices.json"), &good).expect("written");
    let inspected = run(omega_slices().arg("inspect").arg(&parts).arg("--json"));
    let found: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(found["parts"], 5);
    assert_eq!(found["sealed"], true);
    fs::remove_file(parts.join("_slices.json")).expect("it was there");
    refused(
        &run(omega_slices().arg("inspect").arg(&parts)),
        3,
        "without _slices.json",
    );
}

#[test]
fn a_library_user_joins_the_parts_of_a_split() {
    let data = data();
    let request = Request::builder(data.path())
        .symbols(["A", "B"])
        .timeframe("M10".parse().expect("a timeframe"))
        .timeline(Timeline::Union)
        .build()
        .expect("a valid request");
    let options = ReadOptions::new();
    let timestamps = |request: &Request| {
        let batches = SliceBatches::open(request, &options).expect("inputs");
        let mut stamps = Vec::new();
        for batch in batches {
            let batch = batch.expect("a batch");
            stamps.extend(batch.slices().map(|slice| slice.timestamp_ns()));
        }
        stamps
    };
    let parts = split(&request, SplitBy::Day, &options).expect("parts");
    assert_eq!(parts.len(), 5);
    let joined: Vec<i64> = parts.iter().flat_map(timestamps).collect();
    assert_eq!(joined, timestamps(&request));
    assert!(
        PartList::read(data.path(), &Storage::default())
            .expect("no list")
            .is_none()
    );
}
