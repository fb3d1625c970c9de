//! The TOML of a layout: its keys, and the options that they mean.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;

use super::LayoutOptions;
use slices_core::error::{Error, Result as OurResult};
use slices_core::request::{
    ColumnNames, PathTemplate, PriceType, Scale, Scales, Stamped, StampedSides, SymbolPattern, Zone,
};

/// A fault of a layout, the key and the byte where it is.
pub(super) struct At {
    pub key: String,
    pub place: usize,
    pub error: Error,
}

type Result<T> = std::result::Result<T, At>;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    description: Option<String>,
    path: Option<Spanned<String>>,
    price_types: Option<Spanned<Vec<String>>>,
    symbol_separator: Option<Spanned<String>>,
    #[serde(default)]
    rewrite: Vec<Spanned<String>>,
    symbol_pattern: Option<Spanned<String>>,
    #[serde(default)]
    columns: Columns,
    #[serde(default)]
    time: Time,
    #[serde(default)]
    zones: Pairs,
    #[serde(default)]
    price: Numbers,
    #[serde(default)]
    volume: Numbers,
    #[serde(default)]
    rows: Rows,
    #[serde(default)]
    timeframes: Pairs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    timestamp: Option<Spanned<Names>>,
    open: Option<Spanned<Names>>,
    high: Option<Spanned<Names>>,
    low: Option<Spanned<Names>>,
    close: Option<Spanned<Names>>,
    volume: Option<Spanned<Names>>,
    symbol: Option<Spanned<String>>,
    bid: Option<SideColumns>,
    ask: Option<SideColumns>,
    trade: Option<SideColumns>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SideColumns {
    open: Option<Spanned<Names>>,
    high: Option<Spanned<Names>>,
    low: Option<Spanned<Names>>,
    close: Option<Spanned<Names>>,
    volume: Option<Spanned<Names>>,
}

/// The names that a column may have.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a name, or a list of names")]
enum Names {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Time {
    unit: Option<Spanned<String>>,
    zone: Option<Spanned<String>>,
    ambiguous: Option<Spanned<String>>,
    days: Option<Spanned<String>>,
    stamped: Option<Spanned<Sides>>,
}

/// A stamped side, or one for each of some timeframes.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected open, close, or a table of timeframes")]
enum Sides {
    All(String),
    Some(BTreeMap<String, String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    scale: Option<Spanned<ScaleDocument>>,
}

/// A scale, or one for each width of binary numbers.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a table of them by width")]
enum ScaleDocument {
    Of(Number),
    ByWidth(BTreeMap<String, Number>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number")]
enum Number {
    Integer(i64),
    Float(f64),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    empty: Option<Spanned<String>>,
    one_instrument: Option<bool>,
}

/// Keys and texts, in the order of the file.
#[derive(Debug, Default)]
struct Pairs(Vec<(String, Spanned<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of texts")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Document {
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| At {
            key: String::new(),
            place: error.span().map_or(0, |span| span.start),
            error: Error::usage(error.message().to_owned()),
        })
    }

    pub fn description(self) -> Option<String> {
        self.description
    }

    pub fn options(&self) -> Result<LayoutOptions> {
        let time = &self.time;
        let mut options = LayoutOptions {
            path_template: optional("path", &self.path, |text| PathTemplate::parse(text))?,
            symbol_pattern: parsed::<SymbolPattern>("symbol_pattern", &self.symbol_pattern)?,
            timestamp_unit: parsed("time.unit", &time.unit)?,
            zone: optional("time.zone", &time.zone, |name| Zone::named(name))?,
            ambiguous: parsed("time.ambiguous", &time.ambiguous)?,
            days: parsed("time.days", &time.days)?,
            stamped: optional("time.stamped", &time.stamped, Sides::parse)?.unwrap_or_default(),
            price_scales: optional("price.scale", &self.price.scale, ScaleDocument::parse)?
                .unwrap_or_default(),
            volume_scales: optional("volume.scale", &self.volume.scale, ScaleDocument::parse)?
                .unwrap_or_default(),
            empty_rows: parsed("rows.empty", &self.rows.empty)?.unwrap_or_default(),
            one_instrument: self.rows.one_instrument.unwrap_or_default(),
            symbol_column: self
                .columns
                .symbol
                .as_ref()
                .map(|name| name.get_ref().clone()),
            ..LayoutOptions::default()
        };
        options.price_types = optional("price_types", &self.price_types, |texts| {
            let parsed = texts.iter().map(|text| text.parse());
            parsed.collect::<OurResult<Vec<PriceType>>>()
        })?;
        let naming = &mut options.naming;
        optional("symbol_separator", &self.symbol_separator, |text| {
            naming.set_separator(text)
        })?;
        for rule in &self.rewrite {
            checked("rewrite", rule, |rule| naming.add_rewrite(rule))?;
        }
        for (timeframe, text) in &self.timeframes.0 {
            checked(&format!("timeframes.{timeframe}"), text, |text| {
                naming.spell(&timeframe.parse()?, text)
            })?;
        }
        for (pattern, zone) in &self.zones.0 {
            let key = format!("zones.{pattern}");
            checked(&key, zone, |zone| options.zones.add(pattern, zone))?;
        }
        self.columns.set(&mut options.columns)?;
        Ok(options)
    }
}

impl Columns {
    fn set(&self, columns: &mut ColumnNames) -> Result<()> {
        let mut set = |field: &str, key: String, names: &Option<Spanned<Names>>| {
            let set = optional(&key, names, |names| columns.set(field, &names.list()));
            set.map(drop)
        };
        for (field, names) in [
            ("timestamp", &self.timestamp),
            ("open", &self.open),
            ("high", &self.high),
            ("low", &self.low),
            ("close", &self.close),
            ("volume", &self.volume),
        ] {
            set(field, format!("columns.{field}"), names)?;
        }
        let sides = [
            ("bid", &self.bid),
            ("ask", &self.ask),
            ("trade", &self.trade),
        ];
        for (side, of_side) in sides {
            let Some(of_side) = of_side else {
                continue;
            };
            for (field, names) in [
                ("open", &of_side.open),
                ("high", &of_side.high),
                ("low", &of_side.low),
                ("close", &of_side.close),
                ("volume", &of_side.volume),
            ] {
                let key = format!("columns.{side}.{field}");
                set(&format!("{side}_{field}"), key, names)?;
            }
        }
        Ok(())
    }
}

impl Names {
    fn list(&self) -> Vec<String> {
        match self {
            Self::One(name) if name.is_empty() => Vec::new(),
            Self::One(name) => vec![name.clone()],
            Self::Several(names) => names.clone(),
        }
    }
}

impl Sides {
    fn parse(&self) -> OurResult<StampedSides> {
        match self {
            Self::All(side) => Ok(side.parse::<Stamped>()?.into()),
            Self::Some(sides) => {
                let mut all = StampedSides::default();
                for (timeframe, side) in sides {
                    all.set(&timeframe.parse()?, side.parse()?)?;
                }
                Ok(all)
            }
        }
    }
}

impl ScaleDocument {
    fn parse(&self) -> OurResult<Scales> {
        match self {
            Self::Of(scale) => Ok(scale.parse()?.into()),
            Self::ByWidth(widths) => {
                let mut scales = Scales::default();
                for (width, scale) in widths {
                    let of_width = match width.as_str() {
                        "8" => &mut scales.bytes_8,
                        "16" => &mut scales.bytes_16,
                        _ => {
                            let message = format!("invalid width {width:?} of binary numbers");
                            return Err(Error::usage(message).with_hint("choose 8 or 16"));
                        }
                    };
                    *of_width = Some(scale.parse()?);
                }
                Ok(scales)
            }
        }
    }
}

impl Number {
    fn parse(&self) -> OurResult<Scale> {
        match self {
            Self::Integer(number) => number.to_string().parse(),
            // The shortest decimal that is this double: what the file spells.
            Self::Float(number) => format!("{number:e}").parse(),
            Self::Text(text) => text.parse(),
        }
    }
}

/// What a value means, or where it is wrong.
fn checked<T, V>(
    key: &str,
    value: &Spanned<V>,
    parse: impl FnOnce(&V) -> OurResult<T>,
) -> Result<T> {
    parse(value.get_ref()).map_err(|error| At {
        key: key.to_owned(),
        place: value.span().start,
        error,
    })
}

fn optional<T, V>(
    key: &str,
    value: &Option<Spanned<V>>,
    parse: impl FnOnce(&V) -> OurResult<T>,
) -> Result<Option<T>> {
    let value = value.as_ref();
    value.map(|value| checked(key, value, parse)).transpose()
}

fn parsed<T: FromStr<Err = Error>>(
    key: &str,
    value: &Option<Spanned<String>>,
) -> Result<Option<T>> {
    optional(key, value, |text| text.parse())
}
