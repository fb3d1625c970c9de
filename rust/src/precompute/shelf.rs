//! Keeps parts: in a folder, where each is an entry of a cache, or in a bucket.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cache::{self, SliceCache};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::request::{Request, format_timestamp, remote_scheme};
use slices_engine::multi_symbol::{Inputs, ReadOptions, SliceBatches};
use slices_ipc::{Format, Part, PartList, Seal, SliceContent, SliceFile, WriteOptions};
use slices_store::{Storage, Upload};

/// The extension of a part.
const EXTENSION: &str = "arrow";

/// The digits of a key.
const KEY_DIGITS: usize = 64;

/// The place of the parts.
pub(super) struct Shelf {
    folder: PathBuf,
    options: ReadOptions,
    /// For a folder of this machine.
    cache: Option<SliceCache>,
}

/// What a complete file of a part says about itself.
struct Stored {
    content: SliceContent,
    seal: Seal,
    report: Value,
    bytes: u64,
    sha256: String,
}

impl Shelf {
    pub fn open(folder: &Path, options: &ReadOptions) -> Result<Self> {
        let is_remote = remote_scheme(folder).is_some();
        // No entry is ever in excess.
        let cache = (!is_remote).then(|| SliceCache::open(folder, u64::MAX));
        Ok(Self {
            folder: folder.to_owned(),
            options: options.clone(),
            cache: cache.transpose()?,
        })
    }

    /// The list that is there, which must be of this request.
    pub fn known(&self, told: &Value, overwrite: bool) -> Result<Option<PartList>> {
        let replaced = hint![
            "name another folder, or replace them with ",
            Setting::Overwrite
        ];
        let known = match PartList::read(&self.folder, &self.options.storage()) {
            // A list that cannot be read says nothing about the parts.
            Err(error) if overwrite && error.code() == Code::DeserializationError => None,
            Err(error) if error.code() == Code::DeserializationError => {
                return Err(error.with_hint(hint![
                    "remove the list, or replace it and its parts with ",
                    Setting::Overwrite
                ]));
            }
            known => known?,
        };
        if known.as_ref().is_some_and(|known| known.request != *told) && !overwrite {
            return Err(
                Error::usage("the folder holds the parts of another request")
                    .at_file(&self.folder)
                    .with_hint(replaced),
            );
        }
        Ok(known)
    }

    /// The part of a request: found as it was made, or made now.
    pub fn make(
        &self,
        request: &Request,
        known: Option<&PartList>,
        options: &ReadOptions,
    ) -> Result<(Part, Value)> {
        match &self.cache {
            Some(cache) => self.make_in_folder(cache, request, known, options),
            None => self.make_in_bucket(request, known, options),
        }
    }

    fn make_in_folder(
        &self,
        cache: &SliceCache,
        request: &Request,
        known: Option<&PartList>,
        options: &ReadOptions,
    ) -> Result<(Part, Value)> {
        loop {
            let entry = cache.entry(request, options, |_| {})?;
            let mut hash = Hash(Sha256::new());
            entry.copy_to(Format::File, &mut hash)?;
            let stored = Stored {
                content: entry.content().clone(),
                seal: Seal {
                    slices: entry.slices(),
                    batches: entry.report()["batches"].as_u64().unwrap_or_default(),
                },
                report: entry.report().clone(),
                bytes: entry.size_bytes(),
                sha256: hash.digits(),
            };
            let name = entry
                .path()
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            if stored.is_of(request) && !contradicts(known, &name, &stored.sha256) {
                return Ok(part_of(request, &name, stored));
            }
            // It has the name of the part, and is another file: it is made anew.
            fs::remove_file(entry.path()).map_err(|error| {
                Error::system(format!(
                    "cannot remove a file that is not the part of its name: {error}"
                ))
                .at_file(entry.path())
                .with_source(error)
                .with_hint("remove it, or name another folder")
            })?;
        }
    }

    fn make_in_bucket(
        &self,
        request: &Request,
        known: Option<&PartList>,
        options: &ReadOptions,
    ) -> Result<(Part, Value)> {
        let inputs = Inputs::find(request, options)?;
        let key = cache::digits_of(request, &inputs)?;
        let name = format!("{key}.{EXTENSION}");
        let path = self.folder.join(&name);
        // Another run, or another part of this one, may have made it meanwhile.
        let storage = options.storage();
        let mut replaces = false;
        if storage.exists(&path)? {
            match self.found(request, known, &name, &storage)? {
                Some(found) => return Ok(found),
                None => replaces = true,
            }
        }
        // Another run may make the same part meanwhile; whoever is first counts.
        let or_found = |error| match self.found(request, known, &name, &options.storage()) {
            Ok(Some(found)) => Ok(found),
            _ => Err(error),
        };
        let upload = match storage.create(&path, replaces) {
            Ok(upload) => upload,
            Err(error) => return or_found(error),
        };
        let mut upload = Hashed {
            upload,
            hash: Hash(Sha256::new()),
            bytes: 0,
        };
        let mut batches = SliceBatches::open_inputs(request, inputs, options)?;
        let written = slices_ipc::write(
            &mut batches,
            WriteOptions::new(Format::File),
            &mut upload,
            |_, _| {},
        );
        written.map_err(|error| upload.upload.take_failure().unwrap_or(error))?;
        // The files may be newer than those of the key.
        if cache::digits_of(request, &Inputs::find(request, options)?)? != key {
            let message =
                "an input changed while it was being read: the slices may mix old and new rows";
            return Err(Error::input(Code::CorruptInput, message)
                .at_file(request.data())
                .with_hint("run again when no other process writes there"));
        }
        let Hashed {
            upload,
            hash,
            bytes,
        } = upload;
        if let Err(error) = upload.finish() {
            return or_found(error);
        }
        let file = SliceFile::open(&path, &options.storage())?;
        let (content, seal, report) = slices_ipc::read_footer(&file, &path)?;
        let stored = Stored {
            content,
            seal,
            report,
            bytes,
            sha256: hash.digits(),
        };
        Ok(part_of(request, &name, stored))
    }

    /// The part in an object of its name, if that is the part.
    fn found(
        &self,
        request: &Request,
        known: Option<&PartList>,
        name: &str,
        storage: &Storage,
    ) -> Result<Option<(Part, Value)>> {
        let stored = self.stored(&self.folder.join(name), storage)?;
        let is_part =
            |stored: &Stored| stored.is_of(request) && !contradicts(known, name, &stored.sha256);
        Ok(stored
            .filter(is_part)
            .map(|stored| part_of(request, name, stored)))
    }

    /// What an object says about itself; `None` if it is no complete file of slices.
    fn stored(&self, path: &Path, storage: &Storage) -> Result<Option<Stored>> {
        let mut file = SliceFile::open(path, storage)?;
        let (content, seal, report) = match slices_ipc::read_footer(&file, path) {
            Err(error) if error.code() == Code::DeserializationError => return Ok(None),
            read => read?,
        };
        let mut hash = Hash(Sha256::new());
        let bytes = io::copy(&mut file, &mut hash).map_err(|error| {
            Error::system(format!("cannot read a part: {error}"))
                .at_file(path)
                .with_source(error)
                .with_hint("run again")
        })?;
        Ok(Some(Stored {
            content,
            seal,
            report,
            bytes,
            sha256: hash.digits(),
        }))
    }

    /// Writes the list, and removes the parts that only the list before names. `false` if a part is
    /// not there any more.
    pub fn complete(&self, list: &PartList, overwrite: bool) -> Result<bool> {
        // Runs at the same time complete their lists one after the other.
        let _lock = self.cache.is_some().then(|| self.lock()).transpose()?;
        let known = self.known(&list.request, overwrite)?;
        if self.cache.is_some() {
            let is_there = |(part, path): (&Part, PathBuf)| {
                fs::metadata(path).is_ok_and(|metadata| metadata.len() == part.bytes)
            };
            if !list.paths(&self.folder).all(is_there) {
                return Ok(false);
            }
        }
        if self.cache.is_none() && !self.are_there(list)? {
            return Ok(false);
        }
        list.write(&self.folder, &self.options.storage())?;
        if let Some(known) = known {
            self.remove_stale(&known, list);
        }
        // Without a lock, another run may have removed them since.
        Ok(self.cache.is_some() || self.are_there(list)?)
    }

    /// Whether all parts are objects of their sizes.
    fn are_there(&self, list: &PartList) -> Result<bool> {
        let storage = self.options.storage();
        let paths: Vec<_> = list.paths(&self.folder).map(|(_, path)| path).collect();
        storage.open_all(&paths)?;
        for (part, path) in list.paths(&self.folder) {
            if !storage.exists(&path)? || storage.open(&path)?.len() != part.bytes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn lock(&self) -> Result<File> {
        let lock = || {
            let folder = File::open(&self.folder)?;
            flock(&folder, FlockOperation::LockExclusive)?;
            Ok(folder)
        };
        lock().map_err(|error: io::Error| {
            Error::system(format!("cannot lock the folder: {error}"))
                .at_file(&self.folder)
                .with_source(error)
                .with_hint("name a folder that is readable, on a file system with locks")
        })
    }

    /// Removes the parts that the list no longer names. Touches no file that is not named as a
    /// part.
    fn remove_stale(&self, known: &PartList, list: &PartList) {
        let is_listed = |name: &str| list.parts.iter().any(|part| part.file == name);
        for (part, path) in known.paths(&self.folder) {
            if !is_listed(&part.file) && is_name_of_part(&part.file) {
                // It may be gone already.
                let _ = match &self.cache {
                    Some(_) => fs::remove_file(path).map_err(|_| ()),
                    None => self.options.storage().remove(&path).map_err(|_| ()),
                };
            }
        }
    }
}

impl Stored {
    /// Whether it answers a request, as its own metadata says.
    fn is_of(&self, request: &Request) -> bool {
        let told = request.to_json(&self.content.symbols);
        serde_json::from_str(&told).is_ok_and(|told: Value| told == self.content.request)
    }
}

/// Whether a list names the file with another checksum.
fn contradicts(known: Option<&PartList>, name: &str, sha256: &str) -> bool {
    let parts = known.into_iter().flat_map(|known| &known.parts);
    let mut listed = parts.filter(|part| part.file == name);
    listed.any(|part| part.sha256 != sha256)
}

fn part_of(request: &Request, name: &str, stored: Stored) -> (Part, Value) {
    let before_ns = request.end_ns().and_then(|end_ns| end_ns.checked_add(1));
    let mut part = Part::new(name.to_owned(), stored.seal, &stored.report, stored.bytes);
    part.start = request.start_ns().map(format_timestamp);
    part.before = before_ns.map(format_timestamp);
    part.sha256 = stored.sha256;
    part.key = name.split('.').next().unwrap_or_default().to_owned();
    (part, stored.report)
}

fn is_name_of_part(name: &str) -> bool {
    let digits = name
        .strip_suffix(EXTENSION)
        .and_then(|rest| rest.strip_suffix('.'));
    digits.is_some_and(|digits| {
        digits.len() == KEY_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Hashes what is written to it.
struct Hash(Sha256);

impl Hash {
    fn digits(self) -> String {
        let digits = self.0.finalize();
        digits.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Uploads and hashes what is written to it.
struct Hashed {
    upload: Upload,
    hash: Hash,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.upload.write(bytes)?;
        self.hash.0.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.upload.flush()
    }
}
