//! Reads slices back, in order and in bounded memory, from a stream, a file or a folder of parts.
//!
//! A file is read as the stream that it contains, so it may come through a pipe. Its footer comes
//! last and must agree with the slices. Guarantees whole slices, symbols in order and strictly
//! increasing timestamps. The input must end with seal, end marker and (for files) the footer.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int16Type, Schema, SchemaRef, TimestampNanosecondType};
use arrow::error::ArrowError;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::read_footer_length;
use arrow::ipc::{Footer, root_as_footer};
use serde_json::Value;

use crate::footer::{self, Seal};
use crate::messages::{CONTINUATION, Messages, wrong};
use crate::parts::{Part, PartList, exchanged, read_parts};
use crate::plain_types::{plain_schema, with_plain_types};
use crate::slice_file::{BytesAt, SliceFile, not_readable};
use crate::write::Format;
use slices_core::candle::{symbol_type_of, timestamp_type_of};
use slices_core::error::{Code, Error, Result};
use slices_core::metadata::{MetadataFault, SCHEMA_VERSION, StreamMetadata};
use slices_core::panic_guard::catch_panic;
use slices_core::request::{SymbolsOut, TimestampOut, check_readable, remote_scheme};
use slices_store::Storage;

/// The start and the end of a file.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Maximum size of the magic with its padding.
const HEADER_BYTES_MAX: usize = 64;

/// Maximum footer size: an index of some ten million batches.
const FOOTER_BYTES_MAX: u64 = 1 << 29;

/// The footer length and the magic, after the footer.
const TRAILER_BYTES: usize = 10;

const BUFFER_BYTES: usize = 1 << 16;

/// The contents of a slice file or stream, according to its schema.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SliceContent {
    /// Columns and metadata, with the types as written.
    pub schema: SchemaRef,
    /// The symbols, in the order of the rows of a slice.
    pub symbols: Arc<[String]>,
    /// The primary timeframe.
    pub timeframe: String,
    /// The request that it answers, as written.
    pub request: Value,
    /// The program that wrote it.
    pub producer: String,
    /// The version of its schema.
    pub schema_version: String,
}

/// Whole slices, read back.
#[derive(Debug, Clone)]
pub struct StoredSlices {
    batch: RecordBatch,
    symbols: usize,
}

impl StoredSlices {
    /// Number of slices; never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.batch.num_rows() / self.symbols
    }

    /// The timestamp of a slice, nanoseconds UTC.
    ///
    /// # Panics
    ///
    /// Panics if the slice does not exist.
    #[must_use]
    pub fn timestamp_ns(&self, slice: usize) -> i64 {
        let timestamps = self
            .batch
            .column(0)
            .as_primitive::<TimestampNanosecondType>();
        timestamps.value(slice * self.symbols)
    }

    /// The rows: slice k is `[k * N, (k + 1) * N)`, where N is the number of symbols. Timestamps
    /// are in nanoseconds and symbols in a dictionary, whatever the types as written.
    #[must_use]
    pub fn record_batch(&self) -> &RecordBatch {
        &self.batch
    }
}

/// Reads slices from a file or stream, batch by batch.
///
/// An iterator of `Result<StoredSlices>`. On complete input it yields `None` after the last slice.
/// On other input it yields an error ([`Code::DeserializationError`]), and then `None`.
pub struct SliceReader {
    name: PathBuf,
    format: Format,
    /// `None` after the end marker.
    messages: Option<Messages<Input>>,
    content: SliceContent,
    seal: Seal,
    sealed: bool,
    ended: bool,
    last_ns: Option<i64>,
    /// What the files before this one contain.
    before: Seal,
    /// The files after this one.
    parts: vec::IntoIter<(Part, PathBuf)>,
    /// Where those come from that are objects.
    storage: Storage,
}

type Input = Box<dyn Read + Send>;

impl SliceReader {
    /// Opens a file or stream by its path or URI, or a folder of parts; `-` is stdin.
    ///
    /// # Errors
    ///
    /// [`Code::DeserializationError`] if the input is missing, unreadable or contains no slices of
    /// this crate.
    pub fn open(path: &Path, storage: &Storage) -> Result<Self> {
        if let Some(folder) = folder_of_parts(path, storage)? {
            return Self::open_parts(&folder, storage);
        }
        let input: Input = if is_stdin(path) {
            Box::new(io::stdin())
        } else {
            Box::new(SliceFile::open(path, storage)?)
        };
        Self::new(input, path)
    }

    fn open_parts(folder: &Path, storage: &Storage) -> Result<Self> {
        let list = read_parts(folder, storage)?;
        let parts: Vec<_> = list
            .paths(folder)
            .map(|(part, path)| (part.clone(), path))
            .collect();
        let mut parts = parts.into_iter();
        let (first, path) = parts.next().expect("a list has parts");
        let mut reader = Self::open_part((&first, &list.request), &path, storage)?;
        reader.storage = storage.clone();
        reader.content.request = list.request;
        reader.parts = parts;
        Ok(reader)
    }

    fn open_part(listed: (&Part, &Value), path: &Path, storage: &Storage) -> Result<Self> {
        let (file, ..) = open_listed(listed, path, storage)?;
        Self::new(Box::new(file), path)
    }

    /// Goes on to the next part, if there is one.
    fn next_part(&mut self) -> Result<bool> {
        let Some((part, path)) = self.parts.next() else {
            return Ok(false);
        };
        let next = Self::open_part((&part, &self.content.request), &path, &self.storage)?;
        let (own, other) = (&self.content, &next.content);
        let is_alike = own.symbols == other.symbols
            && own.timeframe == other.timeframe
            && own.schema.fields() == other.schema.fields();
        if !is_alike {
            return Err(exchanged(&path));
        }
        self.before = self.so_far();
        self.seal = next.seal;
        self.name = next.name;
        self.messages = next.messages;
        self.sealed = false;
        Ok(true)
    }

    /// Reads from any input; errors name it `name`.
    ///
    /// # Errors
    ///
    /// As [`SliceReader::open`].
    pub fn new(input: Input, name: &Path) -> Result<Self> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let (format, first) = read_header(&mut input)
            .map_err(|error| not_readable(name, &error).with_source(error))?;
        if !first.starts_with(&CONTINUATION) {
            let what = if first.is_empty() {
                "it is empty"
            } else {
                "it is neither an Arrow IPC file nor a stream"
            };
            return Err(Error::input(Code::DeserializationError, what)
                .at_file(name)
                .with_hint("name a file or stream that omega-slices sync wrote"));
        }
        let input: Input = Box::new(io::Cursor::new(first).chain(input));
        let messages = guarded(name, || Messages::new(input))?;
        let content = SliceContent::of(messages.schema(), name)?;
        Ok(Self {
            name: name.to_owned(),
            format,
            messages: Some(messages),
            content,
            seal: Seal::default(),
            sealed: false,
            ended: false,
            last_ns: None,
            before: Seal::default(),
            parts: Vec::new().into_iter(),
            storage: Storage::default(),
        })
    }

    /// The contents, according to the schema.
    #[must_use]
    pub fn content(&self) -> &SliceContent {
        &self.content
    }

    /// The format: stream or file.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The slices and batches read so far.
    #[must_use]
    pub fn so_far(&self) -> Seal {
        Seal {
            slices: self.before.slices + self.seal.slices,
            batches: self.before.batches + self.seal.batches,
        }
    }

    fn next_batch(&mut self) -> Result<Option<StoredSlices>> {
        loop {
            let Some(messages) = &mut self.messages else {
                return Ok(None);
            };
            let Some(batch) = guarded(&self.name, || messages.next_batch())? else {
                self.check_end()?;
                if self.next_part()? {
                    continue;
                }
                return Ok(None);
            };
            if self.sealed {
                return Err(malformed("it goes on after its seal", &self.name));
            }
            if batch.num_rows() == 0 {
                self.sealed = true;
                continue;
            }
            let batch = with_plain_types(batch, &self.content.symbols);
            let batch = batch.map_err(|what| malformed(what, &self.name))?;
            let slices = StoredSlices {
                batch,
                symbols: self.content.symbols.len(),
            };
            self.check(&slices)?;
            self.seal.slices += slices.len() as u64;
            self.seal.batches += 1;
            self.last_ns = Some(slices.timestamp_ns(slices.len() - 1));
            return Ok(Some(slices));
        }
    }

    /// Checks that a batch contains whole slices, in order, after those before it.
    fn check(&self, slices: &StoredSlices) -> Result<()> {
        let symbols = &self.content.symbols;
        let batch = &slices.batch;
        let fail = |what: &str| Err(malformed(what, &self.name));
        if !batch.num_rows().is_multiple_of(symbols.len()) {
            return fail("a batch ends within a slice");
        }
        let names = batch.column(1).as_dictionary::<Int16Type>();
        let places = names.keys().values().chunks_exact(symbols.len());
        let in_order = |places: &[i16]| (0..).zip(places).all(|(place, &found)| place == found);
        if names.null_count() > 0
            || !is_list(names.values(), symbols)
            || !places.into_iter().all(in_order)
        {
            return fail("its rows are not in the order of its symbols");
        }
        let timestamps = batch.column(0).as_primitive::<TimestampNanosecondType>();
        let mut last_ns = self.last_ns;
        for rows in timestamps.values().chunks_exact(symbols.len()) {
            if rows.iter().any(|&timestamp| timestamp != rows[0]) {
                return fail("the rows of a slice differ in their timestamps");
            }
            if last_ns.is_some_and(|last_ns| rows[0] <= last_ns) {
                return fail("its timestamps do not increase from slice to slice");
            }
            last_ns = Some(rows[0]);
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<()> {
        if !self.sealed {
            return Err(incomplete("it ends before its seal", &self.name));
        }
        let mut rest = Vec::new();
        if let Some(messages) = self.messages.take() {
            let input = messages.into_rest();
            let read = input.take(FOOTER_BYTES_MAX).read_to_end(&mut rest);
            read.map_err(|error| not_readable(&self.name, &error).with_source(error))?;
        }
        match self.format {
            Format::Stream if rest.is_empty() => Ok(()),
            Format::Stream => Err(malformed("it goes on after its end", &self.name)),
            Format::File => match guarded(&self.name, || seal_of(&rest))? {
                Some(seal) if seal == self.seal => Ok(()),
                Some(_) => Err(malformed("its footer counts different slices", &self.name)),
                None => Err(incomplete("its footer has no seal", &self.name)),
            },
        }
    }
}

impl Iterator for SliceReader {
    type Item = Result<StoredSlices>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let slices = self.next_batch().transpose();
        self.ended = !matches!(slices, Some(Ok(_)));
        slices
    }
}

impl std::iter::FusedIterator for SliceReader {}

impl SliceContent {
    /// The schema of the batches that a [`SliceReader`] yields: with the usual types, whatever the
    /// types as written.
    #[must_use]
    pub fn plain_schema(&self) -> SchemaRef {
        plain_schema(&self.schema)
    }

    /// Reads the contents from a schema, if this crate wrote it.
    fn of(schema: SchemaRef, name: &Path) -> Result<Self> {
        let fail = |what: String| {
            Err(Error::input(Code::DeserializationError, what)
                .at_file(name)
                .with_hint("name a file or stream that omega-slices sync wrote"))
        };
        let entry = |key: &str| schema.metadata().get(key).map(String::as_str);
        let metadata = match StreamMetadata::read(entry) {
            Ok(metadata) => metadata,
            Err(MetadataFault::OtherSchema) => {
                return fail("it is an Arrow file or stream, but contains no slices".to_owned());
            }
            Err(MetadataFault::OtherVersion(version)) => {
                let message = format!(
                    "its schema has version {version:?}, but this program reads {SCHEMA_VERSION}"
                );
                return Err(Error::input(Code::DeserializationError, message)
                    .at_file(name)
                    .with_hint("read it with the release that wrote it or a newer one"));
            }
            Err(MetadataFault::Incomplete) => {
                return fail("its schema metadata is incomplete".to_owned());
            }
        };
        if metadata.symbols.is_empty() || !has_columns_of_slices(&schema) {
            return fail("its columns are not the columns of slices".to_owned());
        }
        Ok(Self {
            symbols: metadata.symbols.into(),
            timeframe: metadata.timeframe,
            request: metadata.request,
            producer: metadata.producer,
            schema_version: metadata.schema_version,
            schema,
        })
    }
}

/// Whether a schema begins with timestamp and symbol, in the types that a request may choose, and
/// goes on with numbers, flags, and timestamps of the same unit.
fn has_columns_of_slices(schema: &Schema) -> bool {
    let mut types = schema.fields().iter().map(|field| field.data_type());
    let Some(timestamp) = types.next().filter(|one| {
        let mut units = TimestampOut::ALL.iter();
        units.any(|&unit| **one == timestamp_type_of(unit))
    }) else {
        return false;
    };
    let is_symbol = |one: &DataType| {
        let mut kinds = SymbolsOut::ALL.iter();
        kinds.any(|&kind| *one == symbol_type_of(kind))
    };
    types.next().is_some_and(is_symbol)
        && types.all(|one| matches!(one, DataType::Float64 | DataType::Boolean) || one == timestamp)
}

/// Reads the footer of a complete file: its contents, seal and report.
///
/// # Errors
///
/// [`Code::DeserializationError`] if the file is not ours, or its footer has no seal.
pub fn read_footer(file: &impl BytesAt, name: &Path) -> Result<(SliceContent, Seal, Value)> {
    let bytes = guarded(name, || {
        let mut trailer = [0; TRAILER_BYTES];
        let trailer_start = trailer_start(file)?;
        file.fill_at(&mut trailer, trailer_start)?;
        let length = read_footer_length(trailer)?;
        let start = trailer_start.checked_sub(length as u64);
        let start = start.ok_or_else(|| wrong("the footer is longer than the file"))?;
        let mut bytes = vec![0; length];
        file.fill_at(&mut bytes, start)?;
        Ok(bytes)
    })?;
    let (schema, batches, entries) = guarded(name, || {
        let footer = footer_of(&bytes)?;
        let schema = footer
            .schema()
            .ok_or_else(|| wrong("the footer has no schema"))?;
        let batches = footer.recordBatches().map_or(0, |batches| batches.len());
        Ok((try_fb_to_schema(schema)?, batches, entries_of(footer)))
    })?;
    let content = SliceContent::of(schema.into(), name)?;
    match footer::read(&entries) {
        // One more batch: the empty one.
        Some((seal, report)) if batches as u64 == seal.batches + 1 => Ok((content, seal, report)),
        _ => Err(incomplete("its footer has no seal", name)),
    }
}

/// The contents and the report of a part, which must be the listed one.
///
/// # Errors
///
/// [`Code::DeserializationError`] if it is missing, unreadable or another file.
pub fn read_part_footer(
    (part, whole): (&Part, &Value),
    path: &Path,
    storage: &Storage,
) -> Result<(SliceContent, Value)> {
    let (_, content, report) = open_listed((part, whole), path, storage)?;
    Ok((content, report))
}

fn open_listed(
    (part, whole): (&Part, &Value),
    path: &Path,
    storage: &Storage,
) -> Result<(SliceFile, SliceContent, Value)> {
    // To open a pipe would wait for its writer.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(exchanged(path));
    }
    let file = SliceFile::open(path, storage)?;
    let (content, seal, report) = read_footer(&file, path)?;
    let bytes = file.len_bytes().unwrap_or_default();
    part.check(whole, &content.request, (seal, &report, bytes), path)?;
    Ok((file, content, report))
}

/// The byte range of the stream inside a file, between header and footer, end marker included.
///
/// # Errors
///
/// [`Code::DeserializationError`] if it cannot be found.
pub fn stream_in_file(file: &impl BytesAt, name: &Path) -> Result<Range<u64>> {
    let bounds = || {
        let mut trailer = [0; TRAILER_BYTES];
        let trailer_start = trailer_start(file)?;
        file.fill_at(&mut trailer, trailer_start)?;
        let footer = read_footer_length(trailer)? as u64;
        let mut header = [0; HEADER_BYTES_MAX + CONTINUATION.len()];
        file.fill_at(&mut header, 0)?;
        let mut words = (1..).zip(header[8..].chunks(CONTINUATION.len() * 2));
        let start = words.find(|(_, word)| word.starts_with(&CONTINUATION));
        let start = start.map(|(word, _)| word * 8);
        match (start, trailer_start.checked_sub(footer)) {
            (Some(start), Some(end)) if start <= end => Ok(start..end),
            _ => Err(wrong("it contains no stream")),
        }
    };
    guarded(name, bounds)
}

/// Reads the seal from the bytes after the end marker of a file.
fn seal_of(rest: &[u8]) -> Result<Option<Seal>, ArrowError> {
    let (footer, trailer) = rest
        .split_last_chunk::<TRAILER_BYTES>()
        .ok_or_else(|| wrong("the footer is truncated"))?;
    if read_footer_length(*trailer)? != footer.len() {
        return Err(wrong("the footer is truncated"));
    }
    let entries = entries_of(footer_of(footer)?);
    Ok(footer::read(&entries).map(|(seal, _)| seal))
}

fn footer_of(bytes: &[u8]) -> Result<Footer<'_>, ArrowError> {
    root_as_footer(bytes).map_err(|error| ArrowError::ParseError(error.to_string()))
}

fn entries_of(footer: Footer<'_>) -> HashMap<String, String> {
    let entries = footer.custom_metadata().into_iter().flatten();
    entries
        .filter_map(|entry| Some((entry.key()?.to_owned(), entry.value()?.to_owned())))
        .collect()
}

/// The offset of the footer length and the magic.
fn trailer_start(file: &impl BytesAt) -> io::Result<u64> {
    Ok(file.len_bytes()?.saturating_sub(TRAILER_BYTES as u64))
}

/// Tells a file from a stream by its first bytes. Returns the first bytes of the first message.
fn read_header(input: &mut impl Read) -> io::Result<(Format, Vec<u8>)> {
    let mut first = vec![0; 8];
    let read = read_up_to(input, &mut first)?;
    first.truncate(read);
    if !first.starts_with(MAGIC) {
        return Ok((Format::Stream, first));
    }
    for _ in 0..HEADER_BYTES_MAX / 8 {
        let read = read_up_to(input, &mut first)?;
        first.truncate(read);
        if first.starts_with(&CONTINUATION) || first.iter().any(|&byte| byte != 0) {
            break;
        }
    }
    Ok((Format::File, first))
}

fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn is_list(names: &Arc<dyn Array>, symbols: &[String]) -> bool {
    let names: Option<&StringArray> = names.as_string_opt();
    names.is_some_and(|names| {
        names.len() == symbols.len()
            && names
                .iter()
                .zip(symbols)
                .all(|(name, symbol)| name == Some(symbol))
    })
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The folder of parts that a path names, itself or by its list; `None` if it names no folder.
///
/// # Errors
///
/// A system error if the storage cannot be reached; an error for an unknown scheme.
pub fn folder_of_parts(path: &Path, storage: &Storage) -> Result<Option<PathBuf>> {
    if is_stdin(path) {
        return Ok(None);
    }
    check_readable(&path.to_string_lossy())?;
    let of_list = path
        .parent()
        .filter(|_| path.ends_with(PartList::FILE_NAME));
    let folder = of_list.unwrap_or(path);
    let is_folder = match remote_scheme(path) {
        None => of_list.is_some_and(|_| path.is_file()) || path.is_dir(),
        Some(_) => storage.exists(&folder.join(PartList::FILE_NAME))?,
    };
    Ok(is_folder.then(|| folder.to_owned()))
}

/// Runs Arrow's decoder; its errors and panics become errors of the input.
fn guarded<T>(name: &Path, decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    match catch_panic(decode) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ArrowError::IoError(_, error))) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(not_readable(name, &error).with_source(error))
        }
        Ok(Err(error)) => Err(
            incomplete(&format!("it is truncated or damaged: {error}"), name).with_source(error),
        ),
        Err(why) => Err(incomplete(&format!("it is damaged: {why}"), name)),
    }
}

fn incomplete(what: &str, name: &Path) -> Error {
    let what = format!("the slices are incomplete: {what}");
    Error::input(Code::DeserializationError, what)
        .at_file(name)
        .with_hint("write it again with omega-slices sync and do not use any part of it")
}

fn malformed(what: &str, name: &Path) -> Error {
    let what = format!("the slices are malformed: {what}");
    Error::input(Code::DeserializationError, what)
        .at_file(name)
        .with_hint("write it again with omega-slices sync; report a bug if the error remains")
}
