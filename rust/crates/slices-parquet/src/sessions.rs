//! Reads a file of sessions: two columns of instants, in Parquet or CSV.

use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{ChunkReader, Length};

use super::file::open_file;
use super::{FileContents, FileOptions, Opened, Projection, SeriesFile, StaysOpen, TimeRules};
use slices_core::error::{Code, Error, Result};
use slices_core::request::ColumnChoice;
use slices_core::request::parse_timestamp;
use slices_core::session::{Hours, SessionFault};
use slices_store::Storage;

const OPEN: &str = "open";
const CLOSE: &str = "close";

/// The file is read as a whole: a million sessions fit.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The start of every Parquet file.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// Reads the sessions of a file: `open` (included) and `close` (excluded), in any row order. A file
/// that starts like Parquet is read as Parquet, any other as UTF-8 CSV with a header.
///
/// # Errors
///
/// [`Code::CorruptInput`] if the file cannot be read, a cell is not a timestamp, or a session is
/// empty or overlaps another. [`Code::SchemaMismatch`] if a column is missing or has a wrong type.
pub fn read_sessions(path: &Path, storage: &Storage) -> Result<Hours> {
    let file = open_file(path, None, storage)?;
    if Length::len(&file) > FILE_BYTES_MAX {
        let message =
            format!("the file of sessions is too large: expected at most {FILE_BYTES_MAX} bytes");
        return Err(corrupt(path, message).with_hint("write one row per session, not per candle"));
    }
    let bytes = file.guarded(|| file.get_bytes(0, Length::len(&file) as usize))?;
    let (opens_ns, closes_ns) = if bytes.starts_with(PARQUET_MAGIC) {
        (
            parquet_column(path, OPEN, storage)?,
            parquet_column(path, CLOSE, storage)?,
        )
    } else {
        csv_columns(path, &bytes)?
    };
    // The columns were read one after the other, so check for changes in between.
    file.input().check_named()?;
    Hours::new(&opens_ns, &closes_ns).map_err(|fault| {
        let (message, row, column) = match fault {
            SessionFault::ClosesBeforeItOpens(row) => (
                "invalid session: it closes at or before its open",
                row,
                CLOSE,
            ),
            SessionFault::Overlaps(row) => (
                "invalid session: it opens before the previous one has closed",
                row,
                OPEN,
            ),
        };
        corrupt(path, message)
            .at_row(row as u64)
            .at_column(column)
            .with_hint("correct the row: a session covers open <= timestamp < close")
    })
}

fn parquet_column(path: &Path, name: &str, storage: &Storage) -> Result<Vec<i64>> {
    let opened = SeriesFile::open(FileOptions {
        path,
        within: None,
        contents: FileContents::Sessions,
        timestamp: &ColumnChoice::of(name),
        values: &[],
        time: &Arc::new(TimeRules::of_instants()),
        unit: None,
        zone: None,
        asks_zone: false,
        stays_open: StaysOpen::Always,
        storage,
        reads_rows: false,
    })?;
    let Opened::File(file) = opened else {
        return Ok(Vec::new());
    };
    let mut reader = file.read(Projection::Timestamps, &file.file().all_rows(), 8_192)?;
    let mut instants_ns = Vec::new();
    while let Some(rows) = reader.next_rows()? {
        instants_ns.extend_from_slice(&rows.timestamps);
    }
    Ok(instants_ns)
}

fn csv_columns(path: &Path, bytes: &[u8]) -> Result<(Vec<i64>, Vec<i64>)> {
    let unreadable = |error: csv::Error| {
        let row = error
            .position()
            .map(|position| position.record().saturating_sub(1));
        let error = corrupt(path, format!("cannot read the file as CSV: {error}"))
            .with_hint("write a header and rows such as 2024-01-02T14:30:00Z,2024-01-02T21:00:00Z");
        match row {
            Some(row) => error.at_row(row),
            None => error,
        }
    };
    // Some editors start a file with an invisible byte order mark.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let header = reader.headers().map_err(unreadable)?.clone();
    let place = |name: &str| {
        let mut places = (0..header.len()).filter(|&place| &header[place] == name);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (found, _) => {
                let found = if found.is_some() {
                    "occurs twice"
                } else {
                    "is missing"
                };
                Err(
                    Error::input(Code::SchemaMismatch, format!("the column {name:?} {found}"))
                        .at_file(path)
                        .at_column(name)
                        .with_hint("start the file with the header open,close"),
                )
            }
        }
    };
    let places = [(OPEN, place(OPEN)?), (CLOSE, place(CLOSE)?)];
    let (mut opens_ns, mut closes_ns) = (Vec::new(), Vec::new());
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(unreadable)?;
        for ((name, place), instants_ns) in places.iter().zip([&mut opens_ns, &mut closes_ns]) {
            let instant_ns = parse_timestamp(&record[*place]).map_err(|error| {
                let hint = error
                    .hint()
                    .map_or_else(|| "write it as 2024-01-02T14:30:00Z".into(), Clone::clone);
                corrupt(path, error.message())
                    .at_row(row as u64)
                    .at_column(name)
                    .with_hint(hint)
            })?;
            instants_ns.push(instant_ns);
        }
    }
    Ok((opens_ns, closes_ns))
}

fn corrupt(path: &Path, message: impl Into<String>) -> Error {
    Error::input(Code::CorruptInput, message).at_file(path)
}
