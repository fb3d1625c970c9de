//! Tests the real binary: where it writes what, and its exit status.

mod common;

use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use arrow::ipc::reader::{FileReader, StreamReader};
use common::{MINUTE, Row, run, status, sync, text};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;
use tempfile::TempDir;

/// Two symbols, both sides, 400 minutes each.
fn data() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for symbol in ["A", "B"] {
        for side in ["BID", "ASK"] {
            let rows: Vec<Row> = (0..400)
                .map(|minute| common::row(minute * MINUTE, 1.0))
                .collect();
            common::write(&common::path(folder.path(), symbol, "M1", side), &rows, 150);
        }
    }
    folder
}

/// Rows per batch of a stream, and whether its last one is the seal.
fn batch_rows(stream: &[u8]) -> Vec<usize> {
    StreamReader::try_new(Cursor::new(stream), None)
        .expect("a stream")
        .map(|batch| batch.expect("a batch").num_rows())
        .collect()
}

#[test]
fn stdout_is_the_stream_and_stderr_stays_silent() {
    let data = data();
    let output = run(&mut sync(data.path()));
    assert_eq!(status(&output), 0);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(batch_rows(&output.stdout), [800, 0]);
}

#[test]
fn json_messages_end_with_the_report() {
    let data = data();
    let output = run(sync(data.path()).args(["--error-format", "json"]));
    let lines: Vec<Value> = text(&output.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    let [report] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(report["kind"], "report");
    assert_eq!(report["slices"], 400);
    assert_eq!(report["last_timestamp_ns"], 399 * MINUTE);
    assert_eq!(report["series"].as_array().expect("a list").len(), 4);
    assert_eq!(report["series"][0]["symbol"], "A");
    assert_eq!(report["series"][1]["price_type"], "ask");
    assert_eq!(report["series"][0]["candles"], 400);
}

#[test]
fn a_file_and_a_stream_file_hold_what_stdout_shows() {
    let data = data();
    let stdout = run(&mut sync(data.path())).stdout;
    let stream = data.path().join("x.arrows");
    let file = data.path().join("x.arrow");
    for target in [&stream, &file] {
        let output = run(sync(data.path()).arg("-o").arg(target));
        assert_eq!(status(&output), 0, "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
        assert!(text(&output.stderr).starts_with("wrote 400 slices from 4 series to "));
    }
    let left = fs::read_dir(data.path()).expect("a folder").count();
    assert_eq!(left, 4, "two symbols and two outputs, nothing else");
    assert_eq!(fs::read(&stream).expect("the stream"), stdout);
    let read = FileReader::try_new(File::open(&file).expect("the file"), None).expect("a file");
    assert_eq!(
        read.schema(),
        StreamReader::try_new(Cursor::new(&stdout), None)
            .expect("a stream")
            .schema()
    );
    let rows: Vec<_> = read
        .map(|batch| batch.expect("a batch").num_rows())
        .collect();
    assert_eq!(rows, [800, 0]);
}

#[test]
fn an_existing_file_needs_force_and_stays_as_it_was() {
    let data = data();
    let target = data.path().join("x.arrow");
    fs::write(&target, "mine").expect("a file");
    let output = run(sync(data.path()).arg("-o").arg(&target));
    assert_eq!(status(&output), 4);
    assert!(
        text(&output.stderr).contains("--force"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(fs::read(&target).expect("the file"), b"mine");
    let output = run(sync(data.path()).arg("--force").arg("-o").arg(&target));
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(fs::read(&target).expect("the file").starts_with(b"ARROW1"));
    assert_eq!(fs::read_dir(data.path()).expect("a folder").count(), 3);
}

#[test]
fn a_failing_run_leaves_no_file_and_no_seal() {
    let data = data();
    // The last row group of one file is damaged, in the header of its first page of opens; earlier
    // slices are fine.
    let damaged = common::path(data.path(), "B", "M1", "ASK");
    let mut bytes = fs::read(&damaged).expect("the file");
    let file = File::open(&damaged).expect("the file");
    let footer = SerializedFileReader::new(file).expect("a footer");
    let last = footer.metadata().row_groups().last().expect("a row group");
    let (start, _) = last.column(1).byte_range();
    bytes[start as usize..][..40].fill(0xff);
    fs::write(&damaged, bytes).expect("the file");

    let target = data.path().join("x.arrows");
    let output = run(sync(data.path()).arg("-o").arg(&target));
    assert_eq!(status(&output), 3, "{}", text(&output.stderr));
    assert!(!target.exists());
    assert_eq!(fs::read_dir(data.path()).expect("a folder").count(), 2);

    let old = data.path().join("old.arrows");
    fs::write(&old, "old").expect("a file");
    let output = run(sync(data.path()).arg("--force").arg("-o").arg(&old));
    assert_eq!(status(&output), 3);
    assert_eq!(fs::read(&old).expect("the file"), b"old");

    let output = run(sync(data.path()).args(["--chunk-rows", "20"]));
    assert_eq!(status(&output), 3);
    assert!(
        text(&output.stderr).contains("3008 CORRUPT_INPUT"),
        "{}",
        text(&output.stderr)
    );
    assert!(text(&output.stderr).contains("B_M1_ASK.parquet"));
    let sealed = StreamReader::try_new(Cursor::new(&output.stdout), None).is_ok_and(|stream| {
        stream
            .last()
            .is_some_and(|batch| batch.is_ok_and(|batch| batch.num_rows() == 0))
    });
    assert!(!sealed);
}

/// More slices than a pipe or socket can hold.
const MANY_SLICES: i64 = 60_000;

#[test]
fn a_reader_that_closes_the_pipe_is_no_failure() {
    let data = common::two_symbols(MANY_SLICES);
    let mut child = sync(data.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut begin = [0; 100];
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_exact(&mut begin)
        .expect("a beginning");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(status(&output), 0);
    assert_eq!(text(&output.stderr), "");
}

/// A socket reports a closed reader differently if data was left unread.
#[test]
fn a_reader_that_closes_the_socket_is_no_failure() {
    let data = common::two_symbols(MANY_SLICES);
    for left_unread in [false, true] {
        let (mut ours, theirs) = UnixStream::pair().expect("two sockets");
        let child = sync(data.path())
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        if left_unread {
            ours.read_exact(&mut [0; 100]).expect("a beginning");
            // Wait until the writer blocks.
            std::thread::sleep(Duration::from_millis(200));
        }
        drop(ours);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(status(&output), 0);
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn a_full_device_is_a_failure_of_the_output() {
    let data = data();
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("a full device");
    let output = run(sync(data.path()).stdout(full));
    assert_eq!(status(&output), 4);
    assert!(
        text(&output.stderr).contains("4 SYSTEM_FAILURE"),
        "{}",
        text(&output.stderr)
    );
    let output = run(sync(data.path()).args(["-o", "/dev/full"]));
    assert_eq!(status(&output), 4);
}

#[test]
fn outputs_that_cannot_be_are_refused_before_the_work() {
    let data = data();
    for (target, expected) in [("nowhere/x.arrow", 4), (".", 4), ("x.parquet", 2), ("x", 2)] {
        let output = run(sync(data.path()).arg("-o").arg(data.path().join(target)));
        assert_eq!(
            status(&output),
            expected,
            "{target}: {}",
            text(&output.stderr)
        );
    }
    assert_eq!(fs::read_dir(data.path()).expect("a folder").count(), 2);
}

#[test]
fn requests_that_make_no_sense_end_with_status_2() {
    let data = data();
    let cases: &[(&[&str], &str)] = &[
        (&["--timeframe", "X1"], "3002"),
        (&["--timeframe", "M0"], "3002"),
        (
            &["--timeline", "both"],
            "intersection, union, leader:SYMBOL, quorum:K",
        ),
        (&["--timeline", "leader:C"], "3001"),
        (&["--timeline", "quorum:0"], "at least 1"),
        (&["--timeline", "quorum:3"], "number of symbols, 2"),
        (&["--fill", "forward"], "--max-age 15m"),
        (&["--fill", "forward", "--max-age", "soon"], "5bars"),
        (&["--max-age", "1h"], "--fill forward"),
        (&["--fill", "backward"], "none, forward"),
        (
            &["--with-timeframe", "S30"],
            "shorter than the primary one, M1",
        ),
        (&["--with-timeframe", "M1"], "is the primary one"),
        (&["--with-timeframe", "H"], "3002"),
        (&["--with-timeframe", "H1:age=1d"], "H1:max-age=1d"),
        (
            &["--with-timeframe", "H1", "--with-timeframe", "H1"],
            "twice",
        ),
        (&["--known-at", "noon"], "open, close"),
        (
            &["--session", "fx", "--session-file", "x.csv"],
            "choose either --session or --session-file",
        ),
        (&["--indicators", "a,a"], "twice"),
        (&["--indicator-template", "{symbol}"], "--indicators"),
        (&["--session", "nyse"], "none, fx"),
        (&["--price-types", "mid"], "3004"),
        (&["--price-types", "bid,bid"], "twice"),
        (&["--start", "2024-01-02", "--end", "2024-01-01"], "--start"),
        (&["--start", "yesterday"], "yesterday"),
        (&["--columns", "close"], "FIELD=COLUMN"),
        (&["--columns", "vwap=V"], "vwap"),
        (&["--path-template", "{root}/{what}"], "{what}"),
        (&["--threads", "0"], "threads"),
        (&["--force"], "--output"),
        (&["--no-such-option"], "--no-such-option"),
    ];
    for (arguments, expected) in cases {
        let output = run(sync(data.path()).args(*arguments));
        let said = text(&output.stderr);
        assert_eq!(status(&output), 2, "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
        let json = run(sync(data.path())
            .args(*arguments)
            .arg("--error-format=json"));
        let line: Value = serde_json::from_str(text(&json.stderr).trim()).expect("one JSON line");
        assert_eq!(
            (&line["kind"], &line["exit"]),
            (&"error".into(), &2.into()),
            "{arguments:?}"
        );
    }
}

/// With the symbols of the disk, a timeline is checked once they are known.
#[test]
fn a_timeline_that_the_symbols_of_the_disk_do_not_allow_is_refused() {
    let data = data();
    for (timeline, expected) in [("leader:C", "3001"), ("quorum:3", "number of symbols, 2")] {
        let mut all = Command::new(env!("CARGO_BIN_EXE_omega-slices"));
        all.args(["sync", "--all-symbols", "--timeline", timeline, "--data"])
            .arg(data.path());
        let output = run(&mut all);
        assert_eq!(status(&output), 2, "{timeline}");
        assert!(text(&output.stderr).contains(expected), "{timeline}");
    }
}

#[test]
fn symbols_come_from_a_list_a_file_or_the_disk() {
    let data = data();
    let binary = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omega-slices"));
        command
            .arg("sync")
            .env("OMEGA_DATA_PARQUET_ROOT", data.path());
        command
    };
    let list = data.path().join("symbols.txt");
    fs::write(&list, "# mine\n\nA\n  B  \n").expect("a file");
    let expected = run(binary().args(["--symbols", "A, B"])).stdout;
    assert_eq!(batch_rows(&expected), [800, 0]);
    assert_eq!(
        run(binary().args(["--symbols", "A", "--symbols", "B"])).stdout,
        expected
    );
    assert_eq!(
        run(binary().arg("--symbols-file").arg(&list)).stdout,
        expected
    );
    assert_eq!(run(binary().arg("--all-symbols")).stdout, expected);
    // In any spelling of the root.
    let root = data.path().to_str().expect("UTF-8");
    for root in [
        format!("{root}/"),
        format!("{root}//"),
        format!("{root}/./"),
        format!("{root}/A/.."),
    ] {
        let output = run(binary().arg("--all-symbols").arg("--data").arg(&root));
        let rows = |output: &Output| batch_rows(&output.stdout);
        assert_eq!(rows(&output), [800, 0], "{root}: {}", text(&output.stderr));
    }
    let mut here = binary();
    here.args(["--all-symbols", "--data", "./"])
        .current_dir(data.path());
    assert_eq!(batch_rows(&run(&mut here).stdout), [800, 0]);
    assert_eq!(status(&run(&mut binary())), 2);
    assert_eq!(
        status(&run(binary().args(["--all-symbols", "--symbols", "A"]))),
        2
    );
    assert_eq!(
        status(&run(binary().args(["--symbols-file", "no-such-file"]))),
        2
    );
}

#[test]
fn an_empty_timeline_is_a_complete_stream_and_a_warning() {
    let data = tempfile::tempdir().expect("a folder");
    for (symbol, first) in [("A", 0), ("B", 100)] {
        let rows: Vec<Row> = (first..first + 50)
            .map(|minute| common::row(minute * MINUTE, 1.0))
            .collect();
        for side in ["BID", "ASK"] {
            common::write(&common::path(data.path(), symbol, "M1", side), &rows, 50);
        }
    }
    let output = run(&mut sync(data.path()));
    assert_eq!(status(&output), 0);
    assert_eq!(batch_rows(&output.stdout), [0]);
    let said = text(&output.stderr);
    assert!(said.starts_with("warning[EMPTY_TIMELINE]"), "{said}");
    assert!(
        said.contains("A M1 bid ends at") && said.contains("before B"),
        "{said}"
    );
}

#[test]
fn help_and_version_go_to_stdout() {
    let binary = || Command::new(env!("CARGO_BIN_EXE_omega-slices"));
    let help = run(binary().args(["sync", "--help"]));
    assert_eq!(status(&help), 0);
    for option in [
        "--data",
        "--symbols",
        "--timeline",
        "--fill",
        "--max-age",
        "--with-timeframe",
        "--known-at",
        "--indicators",
        "--indicator-template",
        "--session",
        "--session-file",
        "--path-template",
        "--output",
    ] {
        assert!(text(&help.stdout).contains(option), "{option}");
    }
    let version = run(binary().arg("--version"));
    let zones = omega_slices::zone_rules_release();
    assert!(zones.starts_with("20"), "{zones}");
    assert_eq!(
        text(&version.stdout),
        format!(
            "omega-slices {} (time zones {zones})\n",
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn help_fits_into_a_hundred_columns() {
    for command in ["sync", "inputs", "coverage", "inspect", "diff", "cache"] {
        let mut help = Command::new(env!("CARGO_BIN_EXE_omega-slices"));
        let help = text(&run(help.args([command, "--help"]).env("COLUMNS", "100")).stdout);
        let wide = help.lines().find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{command}");
        assert!(help.lines().count() > 10, "{command}: {help}");
    }
}

#[test]
fn a_progress_bar_is_drawn_on_stderr_where_it_is_asked_for() {
    let data = data();
    let output = run(sync(data.path()).args(["--progress", "always"]));
    assert_eq!(status(&output), 0);
    assert!(
        text(&output.stderr).contains("candles"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(batch_rows(&output.stdout), [800, 0]);
}

#[test]
fn names_from_the_disk_never_drive_the_terminal() {
    let data = data();
    let root = data.path().join("\u{1b}[31mred");
    let output = run(&mut sync(&root));
    assert_eq!(status(&output), 3);
    assert!(
        !text(&output.stderr).contains('\u{1b}'),
        "{:?}",
        text(&output.stderr)
    );
}

#[test]
fn names_that_are_no_text_are_passed_over_or_told() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let data = data();
    let odd = OsStr::from_bytes(b"\xff");
    fs::create_dir(data.path().join(odd)).expect("a folder");
    fs::write(data.path().join("A").join(odd), "").expect("a file");
    let output = run(sync(data.path()).args(["--error-format", "json"]));
    assert_eq!(status(&output), 0);
    let mut all = Command::new(env!("CARGO_BIN_EXE_omega-slices"));
    all.args(["sync", "--all-symbols", "--data"])
        .arg(data.path());
    assert_eq!(batch_rows(&run(&mut all).stdout), [800, 0]);
    // Here the odd file matches, and is not a Parquet file.
    let any = [
        "--path-template",
        "{root}/{symbol}/*",
        "--price-types",
        "bid",
        "--error-format",
        "json",
    ];
    let output = run(sync(data.path()).args(any));
    assert_eq!(status(&output), 3);
    let line: Value = serde_json::from_str(text(&output.stderr).trim()).expect("one JSON line");
    assert_eq!(line["code"], 3008);
}

/// Whichever step runs out of file descriptors, an error leaves nothing behind.
#[test]
fn too_few_file_descriptors_leave_no_output() {
    let data = data();
    let binary = env!("CARGO_BIN_EXE_omega-slices");
    let (mut failed, mut passed) = (0, 0);
    for limit in 3..24 {
        for force in ["", "--force"] {
            let folder = tempfile::tempdir().expect("a folder");
            let target = folder.path().join("slices.arrow");
            if !force.is_empty() {
                fs::write(&target, "old").expect("an old file");
            }
            let script = format!(
                "ulimit -n {limit}; exec {binary} sync --data {} --symbols A,B --chunk-rows 16 {force} -o {}",
                data.path().display(),
                target.display()
            );
            let output = run(Command::new("sh").args(["-c", &script]));
            let left: Vec<_> = fs::read_dir(folder.path())
                .expect("the folder")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            let content = fs::read(&target).ok();
            let said = text(&output.stderr);
            if status(&output) == 0 {
                passed += 1;
                assert_eq!(left.len(), 1, "{left:?}");
                assert!(content.is_some_and(|bytes| bytes.starts_with(b"ARROW1")));
            } else {
                failed += 1;
                let old = (!force.is_empty()).then(|| b"old".to_vec());
                assert_eq!(content, old, "limit {limit} {force}: {said}");
                assert_eq!(left.len(), usize::from(old.is_some()), "{left:?}");
            }
        }
    }
    assert!(failed > 2 && passed > 2, "{failed} failed, {passed} passed");
}

#[test]
fn a_replaced_file_keeps_its_permissions_and_a_link_its_target() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let data = data();
    let target = data.path().join("x.arrow");
    fs::write(&target, "old").expect("a file");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).expect("permissions");
    let link = data.path().join("link.arrow");
    symlink(&target, &link).expect("a link");
    let output = run(sync(data.path()).arg("--force").arg("-o").arg(&link));
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(link.is_symlink());
    assert!(fs::read(&target).expect("the file").starts_with(b"ARROW1"));
    assert_eq!(
        fs::metadata(&target)
            .expect("the file")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let dangling = data.path().join("dangling.arrow");
    symlink(data.path().join("nowhere.arrow"), &dangling).expect("a link");
    let output = run(sync(data.path()).arg("--force").arg("-o").arg(&dangling));
    assert_eq!(status(&output), 4);
    assert!(dangling.is_symlink());
}
