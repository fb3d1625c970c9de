//! Opens the files of a series: orders them by time, checks their instruments, and resolves local
//! times that occur twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::SeriesRules;
use crate::input_list::{InputFileDocument, contradiction};
use crate::series_files::{FileEntry, ListedFile, SeriesFiles};
use slices_core::error::{Code, Error, Result};
use slices_core::hint::{Setting, hint};
use slices_core::report::FileUnit;
use slices_core::request::ColumnChoice;
use slices_parquet::{
    DoubledRow, EmptyFile, FileOptions, Instruments, Opened, SeriesFile, StaysOpen, TimeRules,
    ValueColumn,
};

/// The files of a series, in reading order.
pub struct OpenedFiles {
    pub(super) files: Vec<SeriesFile>,
    /// The index of each file among all files by name.
    pub(super) places: Vec<usize>,
    pub(super) empty: Vec<EmptyFile>,
    /// In name order.
    pub(super) units: Vec<FileUnit>,
    /// The columns of fields of which the request leaves a choice.
    pub(super) columns: BTreeMap<String, BTreeSet<String>>,
}

impl OpenedFiles {
    pub(super) fn open(series: &SeriesFiles, rules: &SeriesRules) -> Result<Self> {
        let mut files = Vec::with_capacity(series.files.len());
        let mut empty = Vec::new();
        // Of many files, keep only those open that are being read.
        for (place, entry) in series.files.iter().enumerate() {
            match open_file(series, entry, rules, &rules.time, Asks::Rows)? {
                Opened::File(file) => files.push((place, *file)),
                Opened::Empty(file) => empty.push(file),
            }
        }
        if !rules.one_instrument {
            let mut instruments = Instruments::default();
            files
                .iter()
                .try_for_each(|(_, file)| instruments.look_at(file.file()))?;
        }
        let units = files.iter().filter_map(|(_, file)| {
            let unit = file.unit().filter(|_| rules.unit.is_some())?;
            Some(FileUnit::new(file.file().path(), unit))
        });
        let units = units.collect();
        let names = files.iter().map(|(place, file)| {
            let listed = series.files[*place].listed.as_deref();
            (listed, file.file().column_names())
        });
        let columns = chosen_columns(names, rules);
        if files.len() > 1 {
            let smallest: Result<Vec<_>> =
                files.iter().map(|(_, file)| file.smallest_ns()).collect();
            let mut in_time: Vec<_> = smallest?.into_iter().zip(files).collect();
            // A stable sort: equal times keep the name order.
            in_time.sort_by_key(|(smallest_ns, _)| *smallest_ns);
            files = in_time.into_iter().map(|(_, file)| file).collect();
        }
        let (places, mut files): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        infer_second_passes(&mut files)?;
        Ok(Self {
            files,
            places,
            empty,
            units,
            columns,
        })
    }

    /// Describes the files, in name order. Reads no values.
    pub(super) fn inputs(
        series: &SeriesFiles,
        rules: &SeriesRules,
    ) -> Result<Vec<InputFileDocument>> {
        let time = Arc::new(TimeRules {
            // A list contains files even if their rows do not fit 64-bit nanoseconds.
            reach_ns: 0..=0,
            ..(*rules.time).clone()
        });
        let mut instruments = Instruments::default();
        let mut documents = Vec::with_capacity(series.files.len());
        for entry in &series.files {
            let mut document = InputFileDocument::new(entry.path.clone());
            let (size, modified_ns) = match open_file(series, entry, rules, &time, Asks::Zone)? {
                Opened::Empty(file) => {
                    document.rows = Some(0);
                    file.size_and_modified_ns()
                }
                Opened::File(file) => {
                    if !rules.one_instrument {
                        instruments.look_at(file.file())?;
                    }
                    let (first_ns, last_ns) = file.stamp_range()?;
                    let fields =
                        std::iter::once("timestamp").chain(rules.fields.iter().map(String::as_str));
                    let columns = fields.zip(file.file().column_names());
                    document.rows = Some(file.file().rows());
                    document.first_timestamp_ns = Some(first_ns);
                    document.last_timestamp_ns = Some(last_ns);
                    document.columns = columns
                        .map(|(field, column)| (field.to_owned(), column.to_owned()))
                        .chain(
                            rules
                                .has_no_volume
                                .then(|| ("volume".to_owned(), String::new())),
                        )
                        .collect();
                    document.unit = file.unit();
                    document.zone = file.zone().map(|zone| zone.name().to_owned());
                    file.file().size_and_modified_ns()
                }
            };
            document.size = Some(size);
            document.modified_ns = Some(modified_ns);
            documents.push(document);
        }
        Ok(documents)
    }
}

/// The columns that were read for each field, if neither the request nor a list of inputs names
/// one.
fn chosen_columns<'a, N: Iterator<Item = &'a str>>(
    files: impl Iterator<Item = (Option<&'a ListedFile>, N)>,
    rules: &SeriesRules,
) -> BTreeMap<String, BTreeSet<String>> {
    let fields = rules.fields.iter().zip(&rules.values);
    let fields = fields.map(|(field, column)| (field.as_str(), &column.choice));
    let fields: Vec<_> = std::iter::once(("timestamp", &rules.timestamp))
        .chain(fields)
        .collect();
    let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (listed, names) in files {
        for ((field, choice), name) in fields.iter().zip(names) {
            let is_listed = listed.is_some_and(|listed| listed.columns.contains_key(*field));
            let is_only = match choice {
                _ if is_listed => true,
                ColumnChoice::Usual(usual) => name == usual.name,
                ColumnChoice::Named(names) => names.len() == 1,
                ColumnChoice::Absent => true,
            };
            let known = columns
                .get(*field)
                .is_some_and(|known| known.contains(name));
            if !is_only && !known {
                let of_field = columns.entry((*field).to_owned()).or_default();
                of_field.insert(name.to_owned());
            }
        }
    }
    columns
}

/// The purpose of opening a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// To read its rows.
    Rows,
    /// To describe it, with its zone.
    Zone,
}

/// Opens one file of a series, according to its rules and the list of inputs.
fn open_file(
    series: &SeriesFiles,
    entry: &FileEntry,
    rules: &SeriesRules,
    time: &Arc<TimeRules>,
    asks: Asks,
) -> Result<Opened> {
    let listed = entry.listed.as_deref();
    let column = |field: &str| {
        let listed = listed.and_then(|listed| listed.columns.get(field));
        listed.map(|name| ColumnChoice::of(name))
    };
    let symbol = &series.name.symbol;
    let of_symbol = |choice: &ColumnChoice| choice.of_symbol(symbol).into_owned();
    let timestamp = column("timestamp").unwrap_or_else(|| of_symbol(&rules.timestamp));
    // The list contains the zone of the column itself too, whatever the request names.
    let listed_zone = listed.and_then(|listed| listed.zone.as_ref());
    let of_symbol_zone = rules.zones.of(symbol).map(|zone| {
        Arc::new(TimeRules {
            zone: Some(zone.clone()),
            ..(**time).clone()
        })
    });
    let time = of_symbol_zone.as_ref().unwrap_or(time);
    let asked_zone = time.zone.as_ref();
    let zone = match (listed_zone, asked_zone) {
        (Some(listed), Some(asked)) if listed.is_utc() => Some(asked),
        (listed, asked) => listed.or(asked),
    };
    let fields = rules.fields.iter().zip(&rules.values);
    let values: Vec<_> = fields
        .map(|(field, given)| match column(field) {
            Some(choice) => ValueColumn {
                choice,
                ..given.clone()
            },
            None => ValueColumn {
                // Indicators are called as the request calls them.
                choice: match series.name.price_type {
                    Some(_) => of_symbol(&given.choice),
                    None => given.choice.clone(),
                },
                ..given.clone()
            },
        })
        .collect();
    let opened = SeriesFile::open(FileOptions {
        path: &entry.path,
        within: series.within.as_ref(),
        contents: rules.contents,
        timestamp: &timestamp,
        values: &values,
        time,
        unit: listed.and_then(|listed| listed.unit).or(time.unit),
        zone,
        asks_zone: asks == Asks::Zone || listed_zone.is_some(),
        stays_open: match &series.files[..] {
            [_] if asks == Asks::Rows => StaysOpen::Always,
            _ => StaysOpen::Recently(&rules.recent_files),
        },
        storage: &rules.storage,
        reads_rows: asks == Asks::Rows,
    });
    let opened = opened.map_err(|error| of_rule(error, rules, &values[rules.fields()..]))?;
    let (size, modified_ns) = match &opened {
        Opened::File(file) => file.file().size_and_modified_ns(),
        Opened::Empty(file) => file.size_and_modified_ns(),
    };
    if let Some(listed) = listed {
        if let (Some(asked), Some(zone), Opened::File(file)) = (asked_zone, &listed.zone, &opened)
            && asked != zone
            && file
                .own_zone()
                .is_none_or(|own| own.is_utc() && !zone.is_utc())
        {
            return Err(contradiction(
                "zone",
                &entry.path,
                asked.name(),
                zone.name(),
            ));
        }
        let differs = |what: &str, listed: String, is: String| {
            let message =
                format!("the file differs from the list of inputs: {what} {is}, not {listed}");
            Err(Error::input(Code::CorruptInput, message)
                .at_file(&entry.path)
                .with_hint("create the list again with omega-slices inputs"))
        };
        if let Some(known) = listed.size.filter(|known| *known != size) {
            return differs("its size is", known.to_string(), size.to_string());
        }
        if let Some(known) = listed.modified_ns.filter(|known| *known != modified_ns) {
            return differs(
                "it was changed at",
                known.to_string(),
                modified_ns.to_string(),
            );
        }
    }
    Ok(opened)
}

/// Explains why a column is needed that the slices do not show.
fn of_rule(error: Error, rules: &SeriesRules, others: &[ValueColumn]) -> Error {
    let column = error.location().column.as_ref();
    if column.is_none_or(|column| !others.iter().any(|other| other.choice.accepts(column))) {
        return error;
    }
    if !rules.session.needs_values() {
        return error.with_hint(hint![
            Setting::EmptyRows.to("drop"),
            " looks at all four prices of candles: name the columns with ",
            Setting::Columns,
            ", or keep empty rows"
        ]);
    }
    error.with_hint(hint![
        Setting::Session.to("fx"),
        " looks at all five values of candles of days: name the columns with ",
        Setting::Columns,
        ", or choose another session"
    ])
}

/// A local hour that occurs twice, with the rows seen so far.
struct DoubledHour {
    /// File, row and local time of its first row.
    first: (usize, u64, i64),
    latest_wall_ns: i64,
    /// File and row of the first backward step.
    second_pass: Option<(usize, u64)>,
    /// File, row and local time of the second backward step.
    third_pass: Option<(usize, u64, i64)>,
    is_in_reach: bool,
}

/// Finds, over all files in reading order, the row from which the times of each doubled hour are
/// later than the clock change. A backward step starts the second pass.
///
/// # Errors
///
/// [`Code::CorruptInput`] if an hour in reach has no backward step, or more than one.
fn infer_second_passes(files: &mut [SeriesFile]) -> Result<()> {
    let mut hours: BTreeMap<i64, DoubledHour> = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        file.doubled_rows(|doubled: DoubledRow| {
            let DoubledRow { row, wall_ns, .. } = doubled;
            let hour = hours
                .entry(doubled.change.change_ns)
                .or_insert(DoubledHour {
                    first: (number, row, wall_ns),
                    latest_wall_ns: wall_ns,
                    second_pass: None,
                    third_pass: None,
                    is_in_reach: false,
                });
            hour.is_in_reach |= doubled.is_in_reach;
            if wall_ns < hour.latest_wall_ns {
                if hour.second_pass.is_none() {
                    hour.second_pass = Some((number, row));
                } else if hour.third_pass.is_none() {
                    hour.third_pass = Some((number, row, wall_ns));
                }
            }
            hour.latest_wall_ns = wall_ns;
        })?;
    }
    for hour in hours.values().filter(|hour| hour.is_in_reach) {
        let fault = match (hour.second_pass, hour.third_pass) {
            (Some(_), None) => continue,
            (None, _) => hour.first,
            (_, Some(third)) => third,
        };
        let (file, row, wall_ns) = fault;
        return Err(files[file].not_inferred(row, wall_ns, hour.second_pass.is_some()));
    }
    for (number, file) in files.iter_mut().enumerate() {
        let from = hours.iter().filter_map(|(&change_ns, hour)| {
            let (second_file, row) = hour.second_pass?;
            let from = match number.cmp(&second_file) {
                std::cmp::Ordering::Less => return None,
                std::cmp::Ordering::Equal => row,
                std::cmp::Ordering::Greater => 0,
            };
            Some((change_ns, from))
        });
        file.set_second_passes(from.collect());
    }
    Ok(())
}
