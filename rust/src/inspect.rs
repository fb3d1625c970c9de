//! Describes a file or stream of slices, complete or not, or a folder of parts.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use slices_core::error::{Code, Error, Result};
use slices_ipc::{
    Format, SliceContent, SliceFile, SliceReader, folder_of_parts, read_part_footer, read_parts,
};
use slices_store::Storage;

/// The contents of a file or stream.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The format: file or stream. Parts are files.
    pub format: Format,
    /// Number of parts in a folder; `None` for a single file or stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<usize>,
    /// Whether it is complete; incomplete slices must not be used.
    pub sealed: bool,
    /// Why it is incomplete.
    pub problem: Option<String>,
    /// Number of slices; in incomplete input, those before the problem.
    pub slices: u64,
    /// Number of record batches with slices.
    pub batches: u64,
    /// The timestamp of the first slice, nanoseconds UTC.
    pub first_timestamp_ns: Option<i64>,
    /// The timestamp of the last slice, nanoseconds UTC.
    pub last_timestamp_ns: Option<i64>,
    /// The symbols, in the order of the rows of a slice.
    pub symbols: Vec<String>,
    /// The primary timeframe.
    pub timeframe: String,
    /// The columns, in order.
    pub columns: Vec<ColumnType>,
    /// The version of the schema.
    pub schema_version: String,
    /// The program that wrote it.
    pub producer: String,
    /// The request that it answers.
    pub request: Value,
    /// The report of the run that wrote it; only a complete file has one.
    pub report: Option<Value>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ColumnType {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as Arrow prints it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

/// Inspects a file or stream, or a folder of parts; `-` is stdin.
///
/// Reads only the footers of complete files, and all of any other input.
///
/// # Errors
///
/// [`crate::Code::DeserializationError`] if the input is missing, unreadable or contains no slices
/// of this crate, or if a part is not the listed one. Incomplete slices are not an error.
pub fn inspect(path: &Path, storage: &Storage) -> Result<Inspection> {
    if let Some(folder) = folder_of_parts(path, storage)? {
        return in_folder(&folder, storage);
    }
    if let Some(found) = in_footer(path, storage) {
        return Ok(found);
    }
    let mut reader = SliceReader::open(path, storage)?;
    let mut found = Inspection::new(reader.content(), reader.format());
    for slices in reader.by_ref() {
        match slices {
            Ok(slices) => {
                let first_ns = Some(slices.timestamp_ns(0));
                found.first_timestamp_ns = found.first_timestamp_ns.or(first_ns);
                found.last_timestamp_ns = Some(slices.timestamp_ns(slices.len() - 1));
            }
            Err(error) => found.problem = Some(error.message().to_owned()),
        }
    }
    found.sealed = found.problem.is_none();
    (found.slices, found.batches) = (reader.so_far().slices, reader.so_far().batches);
    Ok(found)
}

/// Reads the footers of all parts. The report is that of all of them, without counts by series.
fn in_folder(folder: &Path, storage: &Storage) -> Result<Inspection> {
    let list = read_parts(folder, storage)?;
    let mut found: Option<Inspection> = None;
    let mut warnings = Vec::new();
    for (part, path) in list.paths(folder) {
        let (content, report) = read_part_footer((part, &list.request), &path, storage)?;
        if let Some(found) = &found
            && found.symbols != *content.symbols
        {
            return Err(other_symbols(&path));
        }
        let found = found.get_or_insert_with(|| Inspection::new(&content, Format::File));
        found.slices += part.slices;
        found.batches += part.batches;
        found.first_timestamp_ns = found.first_timestamp_ns.or(part.first_timestamp_ns);
        found.last_timestamp_ns = part.last_timestamp_ns.or(found.last_timestamp_ns);
        warnings.extend(report["warnings"].as_array().into_iter().flatten().cloned());
    }
    let mut found = found.expect("a list has parts");
    found.sealed = true;
    found.parts = Some(list.parts.len());
    found.request = list.request;
    found.report = Some(json!({
        "slices": found.slices,
        "batches": found.batches,
        "first_timestamp_ns": found.first_timestamp_ns,
        "last_timestamp_ns": found.last_timestamp_ns,
        "warnings": warnings,
    }));
    Ok(found)
}

fn other_symbols(path: &Path) -> Error {
    let message = "its symbols are other ones than those of the parts before";
    Error::input(Code::DeserializationError, message)
        .at_file(path)
        .with_hint("run precompute again: it makes what is missing or changed")
}

/// Reads the footer; `None` for streams, pipes and incomplete files.
fn in_footer(path: &Path, storage: &Storage) -> Option<Inspection> {
    let file = SliceFile::open(path, storage).ok()?;
    if !file.is_regular() {
        return None;
    }
    let (content, seal, report) = slices_ipc::read_footer(&file, path).ok()?;
    let mut found = Inspection::new(&content, Format::File);
    found.sealed = true;
    (found.slices, found.batches) = (seal.slices, seal.batches);
    found.first_timestamp_ns = report["first_timestamp_ns"].as_i64();
    found.last_timestamp_ns = report["last_timestamp_ns"].as_i64();
    found.report = Some(report);
    Some(found)
}

impl Inspection {
    fn new(content: &SliceContent, format: Format) -> Self {
        let fields = content.schema.fields().iter();
        Self {
            format,
            parts: None,
            sealed: false,
            problem: None,
            slices: 0,
            batches: 0,
            first_timestamp_ns: None,
            last_timestamp_ns: None,
            symbols: content.symbols.to_vec(),
            timeframe: content.timeframe.clone(),
            columns: fields
                .map(|field| ColumnType {
                    name: field.name().clone(),
                    data_type: field.data_type().to_string(),
                    nullable: field.is_nullable(),
                })
                .collect(),
            schema_version: content.schema_version.clone(),
            producer: content.producer.clone(),
            request: content.request.clone(),
            report: None,
        }
    }
}
