//! Parses the arguments that say what files look like: names, columns, times and numbers.

use std::path::PathBuf;

use clap::Args;
use omega_slices::{
    Error, Layout, LayoutOptions, PathTemplate, RequestBuilder, Scales, StampedSides, SymbolZones,
    Zone,
};

use super::series::parsed;
use super::storage::StorageArguments;

#[derive(Debug, Args)]
pub struct FileArguments {
    /// Layout of the files: the name of a built-in one, or a TOML file.
    ///
    /// It sets the options of paths, columns, times and numbers. Other options come before it.
    /// `omega-slices layout list` shows the built-in ones.
    #[arg(long, value_name = "NAME|FILE.toml")]
    layout: Option<PathBuf>,

    /// Path template of the candle files. [default:
    /// {root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet]
    ///
    /// Its fields are {root} {symbol} {timeframe} {side} {SIDE}. `*` stands for any text within a
    /// name, `**` for any number of folders; all files that match form one series. The value of a
    /// folder such as symbol={symbol} is percent-decoded.
    #[arg(long, value_name = "TEMPLATE")]
    path_template: Option<String>,

    /// Names of the input columns: timestamp=ts,open=o,…
    ///
    /// Unnamed fields use UTC time, Open, High, Low, Close and Volume, else those words in any
    /// case; for timestamps also date, datetime, time and timestamp. `timestamp=Date|Datetime`
    /// takes the first that the file has. `volume=` says that there is no volume. `bid_open=bo`
    /// names the column of one price type, so that one file holds several.
    #[arg(long, value_name = "FIELD=COLUMN", value_delimiter = ',')]
    columns: Vec<String>,

    /// How names of files spell timeframes: M1=1m,H1=1h,…
    #[arg(long, value_name = "TIMEFRAME=TEXT", value_delimiter = ',')]
    spell: Vec<String>,

    /// Regular expression that a whole symbol matches.
    ///
    /// It decides where a file name can be read in several ways.
    #[arg(long, value_name = "REGEX")]
    symbol_pattern: Option<String>,

    /// Accept a column of instruments that contains several values.
    ///
    /// An example is an id that changes at a roll.
    #[arg(long)]
    one_instrument: bool,

    /// Unit of integer timestamps since 1970: s, ms, us, ns or magnitude.
    ///
    /// magnitude picks, for each file, the unit under which all its values lie from 1990 to 2100.
    #[arg(long, value_name = "UNIT")]
    timestamp_unit: Option<String>,

    /// Time zone (IANA name) of timestamps that are local times without a zone.
    ///
    /// For columns of UTC instants, it names the zone of their days.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,

    /// How to read local times that occur twice when the clocks are set back. [default: error]
    ///
    /// error fails the run. infer uses the order of the rows. earlier and later pick one of the two
    /// instants.
    #[arg(long, value_name = "error|infer|earlier|later")]
    ambiguous: Option<String>,

    /// Whether timestamps mark the open or the close of a candle. [default: open]
    ///
    /// Timestamps of closes are first moved back by one timeframe.
    #[arg(long, value_name = "open|close")]
    stamped: Option<String>,

    /// What the timestamps of daily and weekly candles mean: instants (utc) or dates (local).
    ///
    /// With local, the date is the one in which the middle of the candle lies, in the zone of the
    /// column.
    #[arg(long, value_name = "utc|local")]
    days: Option<String>,

    /// Factor of prices that are stored as integers, such as 1e-9.
    ///
    /// Binary numbers of 8 or 16 bytes need it. They are signed and little-endian.
    #[arg(long, value_name = "SCALE")]
    price_scale: Option<String>,

    /// Factor of volumes that are stored as integers. [default: 1]
    #[arg(long, value_name = "SCALE")]
    volume_scale: Option<String>,

    /// What to do with rows of which all prices are null or NaN. [default: keep]
    ///
    /// keep makes candles of them, drop does not.
    #[arg(long, value_name = "keep|drop")]
    empty_rows: Option<String>,

    /// Text that stands for the slash of a symbol in names.
    #[arg(long, value_name = "TEXT", hide = true)]
    symbol_separator: Option<String>,

    /// What names spell, and the symbol that it means: `{a}_{b} = {a}/{b}`.
    #[arg(long, value_name = "RULE", hide = true)]
    rewrite: Vec<String>,

    /// Zone of some symbols: `*.PA=Europe/Paris`.
    #[arg(long, value_name = "PATTERN=ZONE", hide = true)]
    symbol_zone: Vec<String>,

    /// One name of a column, whatever it contains; repeated, alternatives.
    #[arg(long, value_name = "FIELD=COLUMN", hide = true)]
    column: Vec<String>,
}

impl FileArguments {
    /// Sets the options. Returns what the layout says, if there is one.
    pub fn set(
        &self,
        builder: RequestBuilder,
        storage: &StorageArguments,
        are_listed: bool,
    ) -> Result<(RequestBuilder, LayoutOptions), Error> {
        let layout = match &self.layout {
            None => LayoutOptions::default(),
            Some(name) => Layout::open(name, &storage.open()?)?.options()?,
        };
        if layout.symbol_column.is_some() {
            return Err(Error::usage("files of several symbols are not read yet")
                .with_hint("write one file per symbol, and choose another layout"));
        }
        let mut columns = layout.columns.clone();
        let renamings = self.columns.iter().map(|renaming| {
            pair("columns", renaming, "FIELD=COLUMN", "timestamp=ts,open=o")
                .map(|(field, column)| (field.trim(), column))
        });
        let renamings = renamings.collect::<Result<Vec<_>, _>>()?;
        // A name for all price types comes before those of one that the layout has.
        for (field, _) in &renamings {
            columns.forget_sides(field);
        }
        for (field, column) in renamings {
            columns.rename(field, column)?;
        }
        let mut alternatives: Vec<(&str, Vec<String>)> = Vec::new();
        for column in &self.column {
            let (field, column) = pair("column", column, "FIELD=COLUMN", "open=o")?;
            match alternatives.iter_mut().find(|(known, _)| *known == field) {
                Some((_, names)) => names.push(column.to_owned()),
                None => alternatives.push((field, vec![column.to_owned()])),
            }
        }
        for (field, _) in &alternatives {
            columns.forget_sides(field);
        }
        for (field, names) in alternatives {
            columns.set(field, &names)?;
        }
        let mut naming = layout.naming.clone();
        if let Some(separator) = &self.symbol_separator {
            naming.set_separator(separator)?;
        }
        for rule in &self.rewrite {
            naming.add_rewrite(rule)?;
        }
        if !self.spell.is_empty() {
            naming.forget_timeframes();
        }
        for spelling in &self.spell {
            let (timeframe, text) = pair("spell", spelling, "TIMEFRAME=TEXT", "M1=1m,H1=1h")?;
            naming.spell(&timeframe.trim().parse()?, text)?;
        }
        let mut zones = match &self.zone {
            None => layout.zones.clone(),
            Some(_) => SymbolZones::default(),
        };
        for one in &self.symbol_zone {
            // No zone contains the sign.
            let (pattern, zone) = one.rsplit_once('=').ok_or_else(|| {
                Error::usage(format!("invalid --symbol-zone {one:?}"))
                    .with_hint("write PATTERN=ZONE, as in *.PA=Europe/Paris")
            })?;
            zones.add(pattern, zone)?;
        }
        let template = self.path_template.as_deref().map(PathTemplate::parse);
        // A list names the files in its place.
        let of_layout = layout.path_template.clone().filter(|_| !are_listed);
        let zone = self.zone.as_deref().map(Zone::named).transpose()?;
        let builder = builder
            .path_template(template.transpose()?.or(of_layout))
            .columns(columns)
            .naming(naming)
            .zones(zones)
            .symbol_pattern(
                parsed(self.symbol_pattern.as_deref())?.or(layout.symbol_pattern.clone()),
            )
            .one_instrument(self.one_instrument || layout.one_instrument)
            .timestamp_unit(parsed(self.timestamp_unit.as_deref())?.or(layout.timestamp_unit))
            .zone(zone.or(layout.zone.clone()))
            .ambiguous(
                parsed(self.ambiguous.as_deref())?
                    .or(layout.ambiguous)
                    .unwrap_or_default(),
            )
            .stamped(
                parsed::<StampedSides>(self.stamped.as_deref())?
                    .unwrap_or_else(|| layout.stamped.clone()),
            )
            .days(parsed(self.days.as_deref())?)
            .days_of_layout(layout.days)
            .price_scales(
                parsed::<Scales>(self.price_scale.as_deref())?.unwrap_or(layout.price_scales),
            )
            .volume_scales(
                parsed::<Scales>(self.volume_scale.as_deref())?.unwrap_or(layout.volume_scales),
            )
            .empty_rows(parsed(self.empty_rows.as_deref())?.unwrap_or(layout.empty_rows));
        Ok((builder, layout))
    }
}

/// Splits an argument such as `M1=1m`.
fn pair<'a>(
    option: &str,
    text: &'a str,
    expected: &str,
    example: &str,
) -> Result<(&'a str, &'a str), Error> {
    text.split_once('=').ok_or_else(|| {
        Error::usage(format!("invalid --{option} {text:?}: expected {expected}"))
            .with_hint(format!("write {expected}, as in {example}"))
    })
}
