//! Owns the name of an entry: whatever could change the slices changes it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{self, Path};

use sha2::{Digest, Sha256};

use crate::data::candle::PRODUCER;
use crate::data::multi_symbol::Inputs;
use crate::error::{Code, Error, Result};
use crate::request::Request;

/// Changes where the same key would name another file.
const FORMAT: &str = "omega-slices cache 1";

/// Of a footer of Parquet: its length and the magic behind it.
const TRAILER_BYTES: u64 = 8;

/// Bytes of a footer that tell one file from another of the same size and time; more than any has that is
/// written in practice.
const FINGERPRINT_BYTES_MAX: u64 = 16 << 20;

/// A hash over the request, the identity of every input and the producer's version: 64 hex digits.
///
/// The identity of a file is its path, size, modification time and the bytes of its footer, which hold
/// the statistics of all columns. Sessions count by what they say, wherever they come from.
///
/// # Errors
///
/// A file that cannot be read.
pub(super) fn key_of(request: &Request, inputs: &Inputs) -> Result<String> {
    let mut key = Key(Sha256::new());
    key.add(FORMAT.as_bytes());
    key.add(PRODUCER.as_bytes());
    key.add(request.to_json(&inputs.resolved.symbols).as_bytes());
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
            key.add_file(file).map_err(|error| {
                Error::input(
                    Code::CorruptInput,
                    format!("the file cannot be read: {error}"),
                )
                .at_file(file)
                .with_hint("check that it exists and may be read")
                .with_source(error)
            })?;
        }
    }
    let digest = key.0.finalize();
    Ok(digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

struct Key(Sha256);

impl Key {
    /// Adds a part, with its length: no two lists of parts give the same bytes.
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn add_file(&mut self, path: &Path) -> io::Result<()> {
        self.add(path::absolute(path)?.as_os_str().as_bytes());
        // Looked at before it is opened: opening a pipe would wait for somebody to write to it.
        let metadata = fs::metadata(path)?;
        let size = metadata.size();
        self.add(&size.to_le_bytes());
        self.add(&metadata.mtime().to_le_bytes());
        self.add(&metadata.mtime_nsec().to_le_bytes());
        // What is too short to be Parquet, or no file, is for the run itself to complain about.
        if metadata.is_file() && size >= TRAILER_BYTES {
            let file = File::open(path)?;
            let mut trailer = [0; TRAILER_BYTES as usize];
            file.read_exact_at(&mut trailer, size - TRAILER_BYTES)?;
            let [length @ .., _, _, _, _] = trailer;
            let footer = u64::from(u32::from_le_bytes(length)).min(FINGERPRINT_BYTES_MAX);
            let from = (size - TRAILER_BYTES).saturating_sub(footer);
            let mut bytes = vec![0; (size - from) as usize];
            file.read_exact_at(&mut bytes, from)?;
            self.add(&bytes);
        }
        Ok(())
    }
}
