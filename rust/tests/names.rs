//! Tests hostile and careless names with the real binary: names that leave the root, use an input
//! as output, or control a terminal.

#![expect(
    clippy::print_stdout,
    reason = "how many faults were tried is part of what the tests say"
)]

mod common;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::TimeUnit;
use common::{MINUTE, omega_slices, run, status, text};
use serde_json::Value;

/// One symbol of ten minutes in a root, and another one elsewhere.
fn root_and_elsewhere() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let (root, elsewhere) = (folder.path().join("root"), folder.path().join("elsewhere"));
    let rows: Vec<_> = (0..10)
        .map(|minute| common::row(minute * MINUTE, 1.0))
        .collect();
    common::write(&common::path(&root, "A", "M1", "BID"), &rows, 10);
    common::write(&common::path(&elsewhere, "B", "M1", "BID"), &rows, 10);
    (folder, root, elsewhere)
}

/// JSON holds no other text than UTF-8, and a list must name its files.
#[test]
fn a_file_whose_name_is_not_utf_8_is_read_but_not_listed() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let (_folder, root, _) = root_and_elsewhere();
    let name = OsStr::from_bytes(b"A_M1_BID_\xff.parquet");
    fs::rename(
        common::path(&root, "A", "M1", "BID"),
        root.join("A").join(name),
    )
    .expect("another name");
    let request = |command: &str| {
        let mut request = omega_slices();
        request.args([command, "--symbols", "A", "--price-types", "bid"]);
        request.args(["--error-format", "json", "--path-template"]);
        request.arg("{root}/{symbol}/{symbol}_{timeframe}_{SIDE}_*.parquet");
        run(request.arg("--data").arg(&root))
    };
    assert_eq!(status(&request("sync")), 0);
    let listed = request("inputs");
    assert_eq!(
        (status(&listed), listed.stdout.len()),
        (3, 0),
        "{}",
        text(&listed.stderr)
    );
    let error: Value = serde_json::from_slice(&listed.stderr).expect("an error");
    assert_eq!(error["name"], "UNSUPPORTED_INPUT");
    assert_eq!(error["symbol"], "A");
    assert!(error["hint"].is_string() && error["file"].is_string());
}

fn of_symbols(root: &Path, symbols: &[&str]) -> Command {
    let mut command = omega_slices();
    command.args([
        "sync",
        "--price-types",
        "bid",
        "--error-format",
        "json",
        "--data",
    ]);
    command.arg(root).args(symbols);
    command
}

fn check_outside(output: &Output, file: &Path, elsewhere: &Path) {
    assert_eq!(status(output), 3, "{}", text(&output.stderr));
    let line: Value = serde_json::from_str(text(&output.stderr).trim()).expect("one JSON line");
    assert_eq!(line["code"], 3001, "{line}");
    assert_eq!(line["file"].as_str(), file.to_str(), "{line}");
    assert_eq!(line["symbol"], "B", "{line}");
    let real = fs::canonicalize(elsewhere).expect("the folder");
    let says = |key: &str, part: &str| line[key].as_str().expect("text").contains(part);
    assert!(says("message", real.to_str().expect("text")), "{line}");
    assert!(says("hint", "--follow-links"), "{line}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_link_that_leads_out_of_the_root_has_to_be_allowed() {
    let (_folder, root, elsewhere) = root_and_elsewhere();
    let file = common::path(&root, "B", "M1", "BID");
    let source = common::path(&elsewhere, "B", "M1", "BID");
    // The same files inside the root.
    fs::create_dir(root.join("B")).expect("a folder");
    fs::copy(&source, &file).expect("a copy");
    let plain = run(&mut of_symbols(&root, &["--symbols", "B"])).stdout;
    fs::remove_dir_all(root.join("B")).expect("the folder");
    let as_folder = || symlink(elsewhere.join("B"), root.join("B")).expect("a link");
    let as_file = || {
        fs::create_dir(root.join("B")).expect("a folder");
        symlink(&source, &file).expect("a link");
    };
    let relative = || symlink("../elsewhere/B", root.join("B")).expect("a link");
    for make in [&as_folder as &dyn Fn(), &as_file, &relative] {
        make();
        check_outside(
            &run(&mut of_symbols(&root, &["--symbols", "A,B"])),
            &file,
            &elsewhere,
        );
        check_outside(
            &run(&mut of_symbols(&root, &["--all-symbols"])),
            &file,
            &elsewhere,
        );
        let coverage = run(omega_slices()
            .args(["coverage", "--symbols", "B", "--price-types", "bid"])
            .args(["--error-format", "json", "--data"])
            .arg(&root));
        check_outside(&coverage, &file, &elsewhere);
        let allowed = run(&mut of_symbols(
            &root,
            &["--symbols", "B", "--follow-links"],
        ));
        assert_eq!(status(&allowed), 0, "{}", text(&allowed.stderr));
        // The permission is not part of the request.
        assert!(allowed.stdout == plain);
        // An entry built with the permission does not bypass the check.
        let cache = tempfile::tempdir().expect("a folder");
        let cached = |options: &[&str]| {
            let mut command = of_symbols(&root, &["--symbols", "B"]);
            command.arg("--cache").arg(cache.path()).args(options);
            run(&mut command)
        };
        assert_eq!(status(&cached(&["--follow-links"])), 0);
        check_outside(&cached(&[]), &file, &elsewhere);
        assert_eq!(status(&cached(&["--follow-links"])), 0);
        let link = root.join("B");
        if link.is_symlink() {
            fs::remove_file(link).expect("the link");
        } else {
            fs::remove_dir_all(link).expect("the folder");
        }
    }
}

#[test]
fn links_within_the_root_and_links_that_were_spelled_are_followed() {
    let (folder, root, elsewhere) = root_and_elsewhere();
    symlink("A", root.join("C")).expect("a link");
    fs::copy(
        common::path(&root, "A", "M1", "BID"),
        root.join("A").join("C_M1_BID.parquet"),
    )
    .expect("a copy");
    let link = folder.path().join("link");
    symlink(&root, &link).expect("a link");
    symlink(&elsewhere, root.join("sub")).expect("a link");
    let spelled = "{root}/sub/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet";
    for (root, arguments) in [
        (&root, &["--symbols", "A,C"][..]),
        (&link, &["--symbols", "A,C"]),
        (&root, &["--symbols", "B", "--path-template", spelled]),
    ] {
        let output = run(&mut of_symbols(root, arguments));
        assert_eq!(
            status(&output),
            0,
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    let found = spelled.replace("sub", "s*");
    let output = run(&mut of_symbols(
        &root,
        &["--symbols", "B", "--path-template", &found],
    ));
    check_outside(
        &output,
        &common::path(&root.join("sub"), "B", "M1", "BID"),
        &elsewhere,
    );
}

#[test]
fn no_run_replaces_what_it_reads() {
    let data = common::two_symbols(10);
    let root = data.path();
    let input = common::path(root, "A", "M1", "BID");
    // An input with the name of an output.
    let renamed = root.join("A").join("A_M1_BID.arrow");
    fs::rename(&input, &renamed).expect("the file");
    symlink(&renamed, &input).expect("a link");
    let hard = root.join("hard.arrow");
    fs::hard_link(&renamed, &hard).expect("a link");
    let soft = root.join("soft.arrow");
    symlink(&renamed, &soft).expect("a link");
    let symbols = root.join("symbols.arrow");
    fs::write(&symbols, "A\nB\n").expect("a file");
    let sessions = root.join("sessions.arrow");
    fs::write(&sessions, "open,close\n1970-01-01,1970-01-02\n").expect("a file");
    let own = |path: &Path| path.to_str().expect("text").to_owned();
    let asked = [
        "--symbols-file".to_owned(),
        own(&symbols),
        "--session-file".to_owned(),
        own(&sessions),
        "--force".to_owned(),
    ];
    for target in [&renamed, &hard, &soft, &symbols, &sessions] {
        let before = fs::read(target).expect("the file");
        for (command, option) in [
            (&["sync"][..], "-o"),
            (&["sync", "--cache", &own(&root.join("cache"))], "-o"),
            (&["coverage"], "--html"),
        ] {
            let mut run_over = omega_slices();
            run_over.args(command).args(&asked).arg("--data").arg(root);
            let output = run(run_over.arg(option).arg(target));
            let said = text(&output.stderr);
            assert_eq!(
                status(&output),
                2,
                "{command:?} {}: {said}",
                target.display()
            );
            assert!(said.contains("itself reads"), "{said}");
            assert!(fs::read(target).expect("the file") == before);
        }
    }
    let other = root.join("x.arrow");
    fs::write(&other, "").expect("a file");
    let mut run_over = omega_slices();
    run_over.arg("sync").args(&asked).arg("--data").arg(root);
    assert_eq!(status(&run(run_over.arg("-o").arg(&other))), 0);
}

/// Characters of every kind that control a terminal.
const DRIVING: &str = "x\u{1b}[31m\u{9b}31m\u{7f}\u{85}\u{202e}\u{2066}\u{200f}\u{61c}\u{7}\r";

/// The same, with a line break and a forged line.
const DRIVING_LINES: &str = "x\u{1b}]0;t\u{7}\u{9b}\u{7f}\u{202e}\nerror[forged]: y";

fn check_harmless(what: &str, bytes: &[u8]) {
    let said = text(bytes);
    let drives = |character: char| {
        character.is_control() && character != '\n'
            || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!said.contains(drives), "{what}: {said:?}");
    let forged = said.lines().any(|line| line.starts_with("error[forged]"));
    assert!(!forged, "{what}: {said}");
}

/// A terminal shows names of any origin and never obeys them.
#[test]
fn nothing_drives_a_terminal() {
    let data = common::two_symbols(10);
    let root = data.path();
    let own = |path: &Path| path.to_str().expect("text").to_owned();
    let input = own(&common::path(root, "A", "M1", "BID"));
    let bytes = fs::read(&input).expect("the file");
    let rooted = |arguments: &[&str]| {
        let mut all = arguments
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        all.extend(["--data".to_owned(), own(root)]);
        all
    };
    let mut runs: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |what: &str, arguments: Vec<String>| runs.push((what.to_owned(), arguments));
    for name in [DRIVING, DRIVING_LINES] {
        // A folder, a symbol, a file, a template, a column, an indicator, a file of sessions or of
        // symbols.
        let folder = root.join(name.replace('/', ""));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("A.parquet");
        fs::write(&file, "no Parquet").expect("a file");
        add(
            "a root",
            vec![
                "sync".into(),
                "--symbols=A".into(),
                format!("--data={}", own(&folder)),
            ],
        );
        let template = "{root}/{symbol}/A.parquet";
        for command in ["sync", "coverage"] {
            let all = [
                command,
                "--all-symbols",
                "--price-types=bid",
                "--path-template",
                template,
            ];
            add("a symbol of the disk", rooted(&all));
            let stars = "{root}/*/*.parquet";
            add(
                "a file of the disk",
                rooted(&[
                    command,
                    "--symbols=A",
                    "--price-types=bid",
                    "--path-template",
                    stars,
                ]),
            );
            add("a symbol", rooted(&[command, &format!("--symbols={name}")]));
            add(
                "a column",
                rooted(&[command, "--symbols=A", &format!("--columns=open={name}")]),
            );
            add(
                "a template",
                rooted(&[command, "--symbols=A", "--path-template", name]),
            );
            let sessions = folder.join("sessions.csv");
            fs::write(&sessions, format!("open,close\n{name},\"{name}\"\n")).expect("a file");
            add(
                "sessions",
                rooted(&[command, "--symbols=A", "--session-file", &own(&sessions)]),
            );
            let symbols = folder.join("symbols.txt");
            fs::write(&symbols, format!("A\n{name}\n")).expect("a file");
            add(
                "a list of symbols",
                rooted(&[command, "--symbols-file", &own(&symbols)]),
            );
            add(
                "no such option",
                vec![command.to_owned(), format!("--{name}")],
            );
        }
        add(
            "an indicator",
            rooted(&["sync", "--symbols=A", &format!("--indicators={name}")]),
        );
        add(
            "an output",
            rooted(&["sync", "--symbols=A", "-o", &own(&folder.join("x.none"))]),
        );
        add(
            "a cache",
            rooted(&[
                "sync",
                "--symbols=A",
                "--print-path",
                "--cache",
                &own(&file),
            ]),
        );
        add("a file of slices", vec!["inspect".into(), own(&file)]);
        add(
            "two files of slices",
            vec!["diff".into(), own(&file), own(&file)],
        );
        // Columns of a file, which an error lists.
        let odd = folder.join("odd.parquet");
        let mut columns = common::plain_values(2, 1.0);
        columns[0].0 = name.to_owned();
        let times = common::timestamps(TimeUnit::Second, vec![Some(60), Some(120)]);
        columns.push(("UTC time".to_owned(), times));
        common::write_columns(&odd, columns, 10);
        let template = own(&odd);
        let one = [
            "sync",
            "--symbols=A",
            "--price-types=bid",
            "--path-template",
            &template,
        ];
        add("columns of a file", rooted(&one));
        // A slice file with the text in its metadata.
        for part in ["symbols", "timeframe", "request", "producer", "column"] {
            let forged = folder.join(format!("{part}.arrows"));
            forged_slices(&forged, part, name);
            add(part, vec!["inspect".into(), own(&forged)]);
            let sound = folder.join("sound.arrows");
            forged_slices(&sound, "nothing", name);
            add(part, vec!["diff".into(), own(&forged), own(&sound)]);
        }
    }
    assert_eq!(fs::read(&input).expect("the file"), bytes);
    for (what, arguments) in &runs {
        for more in [&[][..], &["--error-format=json"], &["--json"]] {
            if more == ["--json"] && !matches!(&*arguments[0], "inspect" | "diff" | "coverage") {
                continue;
            }
            let output = run(omega_slices().args(arguments).args(more));
            let what = format!("{what}: {arguments:?} {more:?}");
            assert!(output.status.code().is_some(), "{what}");
            check_harmless(&what, &output.stderr);
            let is_stream = arguments[0] == "sync";
            if !is_stream {
                check_harmless(&what, &output.stdout);
            }
        }
    }
    println!(
        "tried: {} (runs over names that would drive a terminal)",
        runs.len()
    );
}

/// Writes a small stream of one symbol, with `name` in one part.
fn forged_slices(path: &Path, part: &str, name: &str) {
    use std::collections::HashMap;

    use arrow::array::TimestampNanosecondArray;
    use arrow::array::{BooleanArray, DictionaryArray, Int16Array, RecordBatch, StringArray};
    use arrow::datatypes::{Field, Int16Type, Schema};
    use arrow::ipc::writer::StreamWriter;

    let of = |one: &str, otherwise: &str| {
        if part == one {
            name.to_owned()
        } else {
            otherwise.to_owned()
        }
    };
    let symbol = of("symbols", "A");
    let keys = Int16Array::from(vec![0]);
    let values = Arc::new(StringArray::from(vec![symbol.clone()]));
    let symbols = DictionaryArray::<Int16Type>::new(keys, values);
    let mut columns: Vec<(String, ArrayRef, bool)> = vec![
        (
            "timestamp".into(),
            Arc::new(TimestampNanosecondArray::from(vec![0]).with_timezone("UTC")),
            false,
        ),
        ("symbol".into(), Arc::new(symbols), false),
    ];
    let number = || Arc::new(Float64Array::from(vec![1.0])) as ArrayRef;
    for value in ["open", "high", "low", "close", "volume"] {
        columns.push((format!("bid_{value}"), number(), true));
    }
    columns.push((
        "valid_bid".into(),
        Arc::new(BooleanArray::from(vec![true])),
        false,
    ));
    if part == "column" {
        columns.push((format!("ind_{name}"), number(), true));
    }
    let metadata = HashMap::from([
        ("schema_name".to_owned(), "multi_symbol_slice".to_owned()),
        ("schema_version".to_owned(), "1.0.0".to_owned()),
        (
            "symbols".to_owned(),
            serde_json::json!([symbol]).to_string(),
        ),
        ("timeframe".to_owned(), of("timeframe", "M1")),
        (
            "request".to_owned(),
            serde_json::json!({"data": of("request", "data")}).to_string(),
        ),
        ("producer".to_owned(), of("producer", "omega-slices/0")),
    ]);
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column, nullable)| Field::new(name, column.data_type().clone(), *nullable))
        .collect();
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let arrays = columns.into_iter().map(|(_, column, _)| column).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).expect("columns of one length");
    let file = File::create(path).expect("a file");
    let mut writer = StreamWriter::try_new(file, &schema).expect("a schema");
    writer.write(&batch).expect("a batch");
    writer.write(&batch.slice(0, 0)).expect("a seal");
    writer.finish().expect("an end");
}
