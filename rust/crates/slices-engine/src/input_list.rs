//! Reads lists of inputs: JSON documents that name the files of each series and describe them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::places::open_objects;
use crate::series_files::{FileEntry, ListedFile, Resolved, Role, SeriesFiles};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::report::SeriesName;
use slices_core::request::{
    ColumnChoice, ColumnNames, PriceType, Request, Symbols, Timeframe, TimestampUnit, Zone,
    check_readable, check_timeline, remote_scheme, uri_scheme, without_file_scheme,
};
use slices_store::Storage;

/// Maximum size: enough for a thousand symbols with one file a day for ten years.
const LIST_BYTES_MAX: u64 = 1 << 30;

/// The whole document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    series: Vec<ListedSeries>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedSeries {
    symbol: String,
    price_type: Option<PriceType>,
    timeframe: String,
    files: Vec<FileOrPath>,
}

/// A file, given as a path or as a full description.
#[derive(Debug)]
struct FileOrPath(FileDocument);

impl<'de> Deserialize<'de> for FileOrPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not an untagged enum: its error would not say what is wrong.
        match Value::deserialize(deserializer)? {
            Value::String(path) => Ok(Self(FileDocument::new(path.into()))),
            document => serde_json::from_value(document)
                .map(Self)
                .map_err(D::Error::custom),
        }
    }
}

/// The description of a file in a list of inputs, read and printed in the same form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct InputFileDocument {
    /// Its path, relative to the folder of the list.
    pub path: PathBuf,
    /// Its size in bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// When it was last modified, nanoseconds since 1970.
    #[serde(default)]
    pub modified_ns: Option<i64>,
    /// Number of rows.
    #[serde(default)]
    pub rows: Option<u64>,
    /// The smallest timestamp, nanoseconds UTC; `None` without rows.
    #[serde(default)]
    pub first_timestamp_ns: Option<i64>,
    /// The largest timestamp, nanoseconds UTC; `None` without rows.
    #[serde(default)]
    pub last_timestamp_ns: Option<i64>,
    /// The columns to read, by `timestamp`, the fields of a candle, or the names of indicators.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// The unit of integer timestamps.
    #[serde(default)]
    pub unit: Option<TimestampUnit>,
    /// The zone of local times and of days.
    #[serde(default)]
    pub zone: Option<String>,
    /// The column of symbols in a file of several symbols, which is not supported yet.
    #[serde(default, skip_serializing)]
    symbol_column: Option<String>,
}

type FileDocument = InputFileDocument;

impl InputFileDocument {
    /// Describes a file by its path only.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            size: None,
            modified_ns: None,
            rows: None,
            first_timestamp_ns: None,
            last_timestamp_ns: None,
            columns: BTreeMap::new(),
            unit: None,
            zone: None,
            symbol_column: None,
        }
    }
}

/// A list of inputs: for each series its files, in order.
struct InputList<'a> {
    file: &'a Path,
    series: BTreeMap<(String, String, Option<PriceType>), Vec<FileEntry>>,
}

/// Finds the files of every requested series in a list.
///
/// # Errors
///
/// [`Code::CorruptInput`] if the list is invalid. [`Code::SymbolNotFound`],
/// [`Code::TimeframeNotFound`] or [`Code::InvalidPriceType`] if it lacks a series. A usage error if
/// an option of the request contradicts it.
pub fn resolve(request: &Request, file: &Path, storage: &Storage) -> Result<Resolved> {
    let list = InputList::read(file, request, storage)?;
    let symbols = match request.symbols() {
        Symbols::Listed(symbols) => symbols.clone(),
        Symbols::All => {
            let symbols = list.all_symbols(request)?;
            check_timeline(request.timeline(), &symbols)?;
            symbols
        }
    };
    let sides: Vec<_> = request.price_types().iter().copied().map(Some).collect();
    let mut series = Vec::new();
    let mut add = |role, timeframe: &Timeframe, sides: &[Option<PriceType>]| -> Result<()> {
        for symbol in &symbols {
            for &price_type in sides {
                let name = SeriesName {
                    symbol: symbol.clone(),
                    timeframe: timeframe.as_str().to_owned(),
                    price_type,
                };
                series.push(SeriesFiles {
                    files: list.files(&name)?,
                    name,
                    role,
                    within: None,
                });
            }
        }
        Ok(())
    };
    add(Role::Primary, request.timeframe(), &sides)?;
    for (number, higher) in request.higher_timeframes().iter().enumerate() {
        add(Role::Higher(number), higher.timeframe(), &sides)?;
    }
    if !request.indicators().is_empty() {
        add(Role::Indicators, request.timeframe(), &[None])?;
    }
    check_shared(request, &series)?;
    open_objects(&series, storage)?;
    Ok(Resolved { symbols, series })
}

/// Checks that the price types of a symbol that share a file read other prices of it.
fn check_shared(request: &Request, all: &[SeriesFiles]) -> Result<()> {
    type Users<'a> = Vec<(&'a SeriesName, Prices)>;
    let mut users: HashMap<(&Path, &str, &str), Users<'_>> = HashMap::new();
    for series in all {
        let name = &series.name;
        let Some(price_type) = name.price_type else {
            continue;
        };
        for file in &series.files {
            let prices = prices_of(request, name, price_type, file);
            let key = (file.path.as_path(), &*name.symbol, &*name.timeframe);
            let users = users.entry(key).or_default();
            let mut others = users.iter().filter(|(other, _)| *other != name);
            if let Some((other, _)) = others.find(|(_, other)| may_share(&prices, other)) {
                let message = format!(
                    "invalid list of inputs: {other} and {name} would have the same prices"
                );
                let error = Error::input(Code::CorruptInput, message).at_file(&file.path);
                let hint = "name other columns of the file for each in the list, or other files";
                return Err(name.on(error).with_hint(hint));
            }
            users.push((name, prices));
        }
    }
    Ok(())
}

/// The columns of the prices of a candle.
type Prices = Vec<ColumnChoice>;

fn prices_of(
    request: &Request,
    name: &SeriesName,
    price_type: PriceType,
    file: &FileEntry,
) -> Prices {
    let listed = file.listed.as_deref();
    let fields = ColumnNames::VALUE_FIELDS.iter().enumerate();
    let prices = fields.filter(|(_, field)| **field != "volume");
    prices
        .map(
            |(place, field)| match listed.and_then(|listed| listed.columns.get(*field)) {
                Some(column) => ColumnChoice::of(column),
                None => {
                    let choice = request.columns().value(price_type, place);
                    choice.of_symbol(&name.symbol).into_owned()
                }
            },
        )
        .collect()
}

fn may_share(one: &Prices, other: &Prices) -> bool {
    one.iter().zip(other).any(|(one, other)| one.may_be(other))
}

impl<'a> InputList<'a> {
    fn read(file: &'a Path, request: &Request, storage: &Storage) -> Result<Self> {
        let wrong = |message: String| {
            Error::input(Code::CorruptInput, message)
                .at_file(file)
                .with_hint("write the list in the format that omega-slices inputs prints")
        };
        let unreadable = |error: std::io::Error| {
            wrong(format!("cannot read the list of inputs: {error}")).with_source(error)
        };
        let text: Bytes = if remote_scheme(file).is_some() {
            let missing = || wrong("cannot read the list of inputs: it does not exist".to_owned());
            storage.read(file, LIST_BYTES_MAX)?.ok_or_else(missing)?
        } else {
            let metadata = fs::metadata(file).map_err(unreadable)?;
            if !metadata.is_file() || metadata.len() > LIST_BYTES_MAX {
                return Err(wrong(
                    "cannot read the list of inputs: expected a regular file of at most 1 GiB"
                        .to_owned(),
                ));
            }
            fs::read(file).map_err(unreadable)?.into()
        };
        let document: Document = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("cannot read the list of inputs: {error}")))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut series = BTreeMap::new();
        for listed in document.series {
            let timeframe: Timeframe = listed.timeframe.parse().map_err(|error: Error| {
                wrong(error.message().to_owned()).at_symbol(&listed.symbol)
            })?;
            let name = SeriesName {
                symbol: listed.symbol.clone(),
                timeframe: timeframe.as_str().to_owned(),
                price_type: listed.price_type,
            };
            if listed.files.is_empty() {
                return Err(name.on(wrong(format!(
                    "invalid list of inputs: it names no file for {name}"
                ))));
            }
            let entries = listed.files.into_iter().map(|FileOrPath(document)| {
                entry(folder, &document, &name, request).map_err(|error| {
                    let error = name.on(error);
                    if error.location().file.is_some() {
                        error
                    } else {
                        error.at_file(file)
                    }
                })
            });
            let entries = entries.collect::<Result<Vec<_>>>()?;
            let key = (name.symbol.clone(), name.timeframe.clone(), name.price_type);
            if series.insert(key, entries).is_some() {
                return Err(name.on(wrong(format!(
                    "invalid list of inputs: it names the series {name} twice"
                ))));
            }
        }
        Ok(Self { file, series })
    }

    fn files(&self, name: &SeriesName) -> Result<Vec<FileEntry>> {
        let key = (name.symbol.clone(), name.timeframe.clone(), name.price_type);
        if let Some(files) = self.series.get(&key) {
            return Ok(files.clone());
        }
        let of_symbol = || self.series.keys().filter(|key| key.0 == name.symbol);
        let of_timeframe = || of_symbol().filter(|key| key.1 == name.timeframe);
        let code = if of_timeframe().any(|key| key.2.is_some()) && name.price_type.is_some() {
            Code::InvalidPriceType
        } else if of_symbol().next().is_some() {
            Code::TimeframeNotFound
        } else {
            Code::SymbolNotFound
        };
        let error = Error::input(code, format!("the list of inputs lacks the series {name}"));
        Err(name
            .on(error.at_file(self.file))
            .with_hint("add it to the list, or request another series"))
    }

    /// The symbols with the primary timeframe and any requested price type, in name order.
    fn all_symbols(&self, request: &Request) -> Result<Vec<String>> {
        let timeframe = request.timeframe().as_str();
        let is_requested = |side: PriceType| request.price_types().contains(&side);
        let keys = self.series.keys();
        let symbols: BTreeSet<_> = keys
            .filter(|key| key.1 == timeframe && key.2.is_some_and(is_requested))
            .filter(|key| {
                request
                    .symbol_pattern()
                    .is_none_or(|pattern| pattern.matches(&key.0))
            })
            .map(|key| key.0.clone())
            .collect();
        if symbols.is_empty() {
            let message = format!(
                "the list of inputs has no {timeframe} candles of the requested price types"
            );
            return Err(Error::input(Code::SymbolNotFound, message)
                .at_file(self.file)
                .with_hint("request another timeframe or price type, or add series to the list"));
        }
        let symbols: Vec<_> = symbols.into_iter().collect();
        // The names come from the list and follow the same rules as names in a request.
        let checked = Request::builder("").inputs(Some(self.file.to_owned()));
        let checked = checked.symbols(symbols.clone()).build();
        checked.map_err(|error| {
            Error::input(error.code(), error.message())
                .at_file(self.file)
                .with_hint("correct the list, or request its other symbols by name")
        })?;
        Ok(symbols)
    }
}

/// The place of a listed file. A list from elsewhere names only objects below its own folder:
/// whoever can write it must not choose what is read on this machine.
fn place_of(folder: &Path, listed: &Path) -> Result<PathBuf> {
    let text = listed.to_string_lossy();
    if remote_scheme(folder).is_none() {
        check_readable(&text)?;
        return Ok(if remote_scheme(listed).is_some() {
            listed.to_owned()
        } else {
            folder.join(without_file_scheme(listed.to_owned()))
        });
    }
    let place = if uri_scheme(&text).is_some() {
        listed.to_owned()
    } else {
        folder.join(listed)
    };
    let below = place.strip_prefix(folder).ok();
    let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    if below.is_some_and(|below| below.components().all(is_plain)) {
        return Ok(place);
    }
    let message = format!("the list of inputs names {text:?}, which is not below its own folder");
    Err(Error::input(Code::CorruptInput, message)
        .with_hint("download the list and check it, or move it to the folder of its files"))
}

/// Checks a file of the list against the request.
fn entry(
    folder: &Path,
    document: &FileDocument,
    name: &SeriesName,
    request: &Request,
) -> Result<FileEntry> {
    let path = place_of(folder, &document.path)?;
    if document.symbol_column.is_some() {
        let message = "cannot read a file of several symbols: one file holds one series";
        return Err(Error::input(Code::UnsupportedInput, message)
            .at_file(&path)
            .with_hint("write one file per symbol"));
    }
    let fields: Vec<&str> = if name.price_type.is_some() {
        ColumnNames::VALUE_FIELDS.to_vec()
    } else {
        request.indicators().iter().map(String::as_str).collect()
    };
    let unknown = document
        .columns
        .keys()
        .find(|field| *field != "timestamp" && !fields.contains(&field.as_str()));
    // A list may describe indicators that this request does not use.
    if let Some(field) = unknown.filter(|_| name.price_type.is_some()) {
        let message = format!("invalid list of inputs: {field:?} is not a candle field");
        return Err(Error::input(Code::CorruptInput, message)
            .with_hint("choose from timestamp, open, high, low, close and volume"));
    }
    for (field, column) in &document.columns {
        if column.is_empty() && field != "volume" {
            let message = format!("invalid list of inputs: the column name for {field:?} is empty");
            return Err(Error::input(Code::CorruptInput, message)
                .with_hint("leave the field out or name its column"));
        }
        let asked = request.columns().given(name.price_type, field);
        let asked = asked.map(|asked| asked.of_symbol(&name.symbol));
        if let Some(asked) = asked.as_deref().filter(|asked| !asked.accepts(column)) {
            return Err(contradiction("columns", &path, &asked.to_string(), column));
        }
        if column.is_empty() && asked.is_none() {
            let message =
                "the list of inputs says that the files have no volume, the request does not";
            return Err(Error::usage(message)
                .at_file(&path)
                .with_hint(hint!["request it with ", Setting::Columns.to("volume="),]));
        }
    }
    let zone = match &document.zone {
        None => None,
        Some(text) => Some(Zone::of_column(text).ok_or_else(|| {
            Error::input(
                Code::CorruptInput,
                format!("invalid time zone {text:?} in the list of inputs: expected an IANA name"),
            )
            .at_file(&path)
            .with_hint("write a name such as Europe/Paris or UTC")
        })?),
    };
    if let (Some(asked), Some(listed)) = (request.timestamp_unit(), document.unit)
        && asked != listed
        && asked != TimestampUnit::Magnitude
    {
        let (asked, listed) = (asked.as_str(), listed.as_str());
        return Err(contradiction("timestamp-unit", &path, asked, listed));
    }
    Ok(FileEntry {
        path,
        listed: Some(Arc::new(ListedFile {
            columns: document.columns.clone(),
            unit: document.unit,
            zone,
            size: document.size,
            modified_ns: document.modified_ns,
        })),
    })
}

/// The error if an option of the request contradicts a list.
pub fn contradiction(option: &str, path: &Path, asked: &str, listed: &str) -> Error {
    Error::usage(format!(
        "the request says {asked:?} for {option}, but the list of inputs says {listed:?}"
    ))
    .at_file(path)
    .with_hint("leave the option out or correct the list")
}
