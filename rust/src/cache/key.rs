//! Computes the key of an entry: everything that can change the slices changes it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{self, Path, PathBuf};

use sha2::{Digest, Sha256};

use slices_core::error::{Code, Error, Result};
use slices_core::metadata::PRODUCER;
use slices_core::report::SeriesName;
use slices_core::request::{Request, remote_scheme, zone_rules_release};
use slices_engine::multi_symbol::Inputs;
use slices_store::Storage;

/// The version of the key and of the file format behind it.
const FORMAT: &str = "omega-slices cache 3";

/// The end of a Parquet file: the footer length and the magic.
const TRAILER_BYTES: u64 = 8;

/// Maximum number of footer bytes in the key. They tell apart files of the same size and time; real
/// footers are smaller.
const FINGERPRINT_BYTES_MAX: u64 = 16 << 20;

/// The key of an entry, and the files that it is made of.
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
    /// Adds to an error the first file that differs in the other key. If none differs, a file was
    /// added or removed.
    pub fn name_change(&self, now: &Self, error: Error) -> Error {
        match self.files.iter().find(|file| !now.files.contains(file)) {
            Some(file) => file.series.on(error.at_file(&file.path)),
            None => error,
        }
    }
}

/// Hashes the request, the identity of every input and the producer version into 64 hex digits.
///
/// The identity of a file is its path, size, modification time and the bytes of its footer. The
/// footer contains the statistics of all columns. Sessions count by their times, wherever they come
/// from.
///
/// # Errors
///
/// Fails if a file cannot be read.
pub(super) fn key_of(request: &Request, inputs: &Inputs) -> Result<EntryKey> {
    let mut key = Key(Sha256::new());
    let mut files = Vec::new();
    key.add(FORMAT.as_bytes());
    key.add(PRODUCER.as_bytes());
    key.add(request.to_json(&inputs.resolved.symbols).as_bytes());
    // An explicit choice silences the warning, so it is part of the key.
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
            let hash = match remote_scheme(&file.path) {
                None => hash_of(&file.path, series.within.as_deref()),
                Some(_) => hash_of_object(&file.path, &inputs.storage),
            };
            let hash = hash.map_err(|error| series.name.on(error))?;
            key.add(&hash);
            if let Some(listed) = &file.listed {
                // What a list says about a file counts like an option.
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
    /// Adds a part with its length, so that different lists of parts give different bytes.
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }
}

/// Hashes the identity of a file.
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
    // Check the type before opening: opening a pipe would block until a writer comes.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    let size = metadata.size();
    key.add(&size.to_le_bytes());
    key.add(&metadata.mtime().to_le_bytes());
    key.add(&metadata.mtime_nsec().to_le_bytes());
    // The run itself reports files that are too short or not regular.
    if metadata.is_file() && size >= TRAILER_BYTES {
        let file = File::open(path).map_err(unreadable)?;
        // A cached entry must not bypass the check of links.
        slices_parquet::check_within(&file, path, within)?;
        key.add(&footer_of(&file, size).map_err(unreadable)?);
    }
    Ok(key.0.finalize().to_vec())
}

/// Hashes the identity of an object: its name, size and version, or the time of its last change.
fn hash_of_object(path: &Path, storage: &Storage) -> Result<Vec<u8>> {
    let object = storage.open(path)?;
    let mut key = Key(Sha256::new());
    key.add(path.as_os_str().as_bytes());
    key.add(&object.len().to_le_bytes());
    key.add(object.tag().unwrap_or_default().as_bytes());
    key.add(&object.modified_ns().to_le_bytes());
    Ok(key.0.finalize().to_vec())
}

/// The last bytes of a file of the given size: its Parquet footer, up to the maximum.
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
