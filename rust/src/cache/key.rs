//! Owns the name of an entry: whatever could change the slices changes it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{self, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::data::candle::PRODUCER;
use crate::data::multi_symbol::Inputs;
use crate::data::source;
use crate::error::{Code, Error, Result};
use crate::report::SeriesName;
use crate::request::{Request, zone_rules_release};

/// Changes where the same key would name another file.
const FORMAT: &str = "omega-slices cache 3";

/// Of a footer of Parquet: its length and the magic behind it.
const TRAILER_BYTES: u64 = 8;

/// Bytes of a footer that tell one file from another of the same size and time; more than any has that is
/// written in practice.
const FINGERPRINT_BYTES_MAX: u64 = 16 << 20;

/// The name of an entry, and what it is made of, file by file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EntryKey {
    /// 64 hex digits.
    pub digits: String,
    files: Vec<KeyedFile>,
}

#[derive(Debug, PartialEq, Eq)]
struct KeyedFile {
    series: SeriesName,
    path: PathBuf,
    hash: Vec<u8>,
}

impl EntryKey {
    /// The error, of the first file that is another one in the other key. Where none is, a file has come or
    /// gone.
    pub fn name_change(&self, now: &Self, error: Error) -> Error {
        match self.files.iter().find(|file| !now.files.contains(file)) {
            Some(file) => file.series.on(error.at_file(&file.path)),
            None => error,
        }
    }
}

/// A hash over the request, the identity of every input and the producer's version: 64 hex digits.
///
/// The identity of a file is its path, size, modification time and the bytes of its footer, which hold
/// the statistics of all columns. Sessions count by what they say, wherever they come from.
///
/// # Errors
///
/// A file that cannot be read.
pub(super) fn key_of(request: &Request, inputs: &Inputs) -> Result<EntryKey> {
    let mut key = Key(Sha256::new());
    let mut files = Vec::new();
    key.add(FORMAT.as_bytes());
    key.add(PRODUCER.as_bytes());
    key.add(request.to_json(&inputs.resolved.symbols).as_bytes());
    // Whether somebody chose shows in the warnings alone.
    key.add(&[u8::from(request.duplicates().is_some())]);
    key.add(zone_rules_release().as_bytes());
    if let Some(hours) = &inputs.hours {
        key.add(&hours.sessions_ns().len().to_le_bytes());
        for session in hours.sessions_ns() {
            key.add(&session.start.to_le_bytes());
            key.add(&session.end.to_le_bytes());
        }
    }
    for series in &inputs.resolved.series {
        key.add(series.name.to_string().as_bytes());
        for file in &series.files {
            let hash = hash_of(&file.path, series.within.as_deref());
            let hash = hash.map_err(|error| series.name.on(error))?;
            key.add(&hash);
            if let Some(listed) = &file.listed {
                // What a list says of a file is as good as an option.
                key.add(format!("{listed:?}").as_bytes());
            }
            files.push(KeyedFile {
                series: series.name.clone(),
                path: file.path.clone(),
                hash,
            });
        }
    }
    let digest = key.0.finalize();
    let digits = digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok(EntryKey { digits, files })
}

struct Key(Sha256);

impl Key {
    /// Adds a part, with its length: no two lists of parts give the same bytes.
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }
}

/// A hash over what tells one file from another.
fn hash_of(path: &Path, within: Option<&Path>) -> Result<Vec<u8>> {
    let unreadable = |error: io::Error| {
        let message = format!("cannot read the file: {error}");
        Error::input(Code::CorruptInput, message)
            .at_file(path)
            .with_hint("check that it exists and is readable")
            .with_source(error)
    };
    let mut key = Key(Sha256::new());
    let absolute = path::absolute(path).map_err(unreadable)?;
    key.add(absolute.as_os_str().as_bytes());
    // Looked at before it is opened: opening a pipe would wait for somebody to write to it.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    let size = metadata.size();
    key.add(&size.to_le_bytes());
    key.add(&metadata.mtime().to_le_bytes());
    key.add(&metadata.mtime_nsec().to_le_bytes());
    // What is too short to be Parquet, or no file, is for the run itself to complain about.
    if metadata.is_file() && size >= TRAILER_BYTES {
        let file = File::open(path).map_err(unreadable)?;
        // A file that was made where it was allowed is no way round.
        source::check_within(&file, path, within)?;
        key.add(&footer_of(&file, size).map_err(unreadable)?);
    }
    Ok(key.0.finalize().to_vec())
}

/// The last bytes of a file of so many bytes: the footer of Parquet, as far as it tells one from another.
fn footer_of(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact_at(&mut trailer, size - TRAILER_BYTES)?;
    let [length @ .., _, _, _, _] = trailer;
    let footer = u64::from(u32::from_le_bytes(length)).min(FINGERPRINT_BYTES_MAX);
    let from = (size - TRAILER_BYTES).saturating_sub(footer);
    let mut bytes = vec![0; (size - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}
