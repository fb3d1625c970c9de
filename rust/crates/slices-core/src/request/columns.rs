//! The columns of the input files: which names a field may have there.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;

use super::PriceType;
use crate::error::{Error, Result};

/// Stands for the symbol in the name of a column.
const SYMBOL: &str = "{symbol}";

/// Separates alternatives in a text.
const OR: char = '|';

/// The number of prices of a candle; they come before the volume.
const PRICES: usize = 4;

/// The name of a field's column if the request does not name one.
#[derive(Debug, PartialEq, Eq)]
pub struct UsualName {
    /// The name that is looked for first.
    pub name: &'static str,
    /// Names that are taken if that one is missing, in any case.
    pub others: &'static [&'static str],
}

impl UsualName {
    /// The timestamps of candles.
    pub const TIMESTAMP: &Self = &Self {
        name: "UTC time",
        others: &[
            "UTC time",
            "date",
            "datetime",
            "time",
            "timestamp",
            "__index_level_0__",
        ],
    };

    /// The values of candles.
    const VALUES: [&Self; ColumnNames::VALUE_FIELDS.len()] = [
        &Self::of("Open", &["open"]),
        &Self::of("High", &["high"]),
        &Self::of("Low", &["low"]),
        &Self::of("Close", &["close"]),
        &Self::of("Volume", &["volume"]),
    ];

    const fn of(name: &'static str, others: &'static [&'static str]) -> Self {
        Self { name, others }
    }
}

/// Which column holds a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnChoice {
    /// The column of the usual name.
    Usual(&'static UsualName),
    /// The first of these columns that the file has.
    Named(Vec<String>),
    /// The files have no such column.
    Absent,
}

impl ColumnChoice {
    /// The column of this name.
    pub fn of(name: &str) -> Self {
        Self::Named(vec![name.to_owned()])
    }

    /// The first name that is looked for; empty without a column.
    #[must_use]
    pub fn first(&self) -> &str {
        match self {
            Self::Usual(usual) => usual.name,
            Self::Named(names) => names.first().map_or("", String::as_str),
            Self::Absent => "",
        }
    }

    /// Whether a request that chooses so may read the column of this name.
    pub fn accepts(&self, name: &str) -> bool {
        match self {
            Self::Usual(usual) => {
                let mut others = usual.others.iter();
                name == usual.name || others.any(|other| other.eq_ignore_ascii_case(name))
            }
            Self::Named(names) => names.iter().any(|one| one == name),
            Self::Absent => name.is_empty(),
        }
    }

    /// Whether two choices may mean the same column of a file.
    pub fn may_be(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Named(names), other) | (other, Self::Named(names)) => {
                names.iter().any(|name| other.accepts(name))
            }
            (Self::Usual(one), Self::Usual(other)) => one == other,
            (Self::Absent, _) | (_, Self::Absent) => false,
        }
    }

    /// The choice for a symbol, whose name may be part of that of a column.
    pub fn of_symbol(&self, symbol: &str) -> Cow<'_, Self> {
        match self {
            Self::Named(names) if names.iter().any(|name| name.contains(SYMBOL)) => {
                let names = names.iter().map(|name| name.replace(SYMBOL, symbol));
                Cow::Owned(Self::Named(names.collect()))
            }
            _ => Cow::Borrowed(self),
        }
    }

    /// The names that a request spells; none for the usual ones.
    fn names(&self) -> &[String] {
        match self {
            Self::Named(names) => names,
            Self::Usual(_) | Self::Absent => &[],
        }
    }

    fn names_symbol(&self) -> bool {
        match self {
            Self::Named(names) => names.iter().all(|name| name.contains(SYMBOL)),
            Self::Usual(_) | Self::Absent => false,
        }
    }

    /// Whether the request chooses a column.
    #[must_use]
    pub fn is_given(&self) -> bool {
        !matches!(self, Self::Usual(_))
    }

    /// The choice as a request spells it.
    fn document(&self) -> Option<ColumnDocument> {
        match self {
            Self::Usual(_) => None,
            Self::Absent => Some(ColumnDocument::Text(String::new())),
            Self::Named(names) if names.iter().all(|name| !name.contains(OR)) => {
                Some(ColumnDocument::Text(names.join(&OR.to_string())))
            }
            Self::Named(names) => Some(ColumnDocument::List(names.clone())),
        }
    }
}

/// A choice in the JSON of a request.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ColumnDocument {
    /// Alternatives, separated; empty without a column.
    Text(String),
    /// Alternatives of which one contains the separator.
    List(Vec<String>),
}

impl fmt::Display for ColumnChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(names) => f.write_str(&names.join(&OR.to_string())),
            Self::Usual(_) | Self::Absent => f.write_str(self.first()),
        }
    }
}

/// The columns of the input files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnNames {
    timestamp: ColumnChoice,
    values: [ColumnChoice; Self::VALUE_FIELDS.len()],
    /// Columns of one price type, by the index of the field.
    of_sides: BTreeMap<(PriceType, usize), ColumnChoice>,
}

impl ColumnNames {
    /// The value fields of a candle, in the order that the whole crate uses.
    pub const VALUE_FIELDS: [&'static str; 5] = ["open", "high", "low", "close", "volume"];

    /// Names the columns of a field as a text: `timestamp`, `open`, `high`, `low`, `close` or
    /// `volume`; also `bid_open` for the column of one price type. `|` separates alternatives, and
    /// `{symbol}` stands for the symbol. An empty text says that there is no volume.
    ///
    /// # Errors
    ///
    /// A usage error if the field is unknown, or a name is empty.
    pub fn rename(&mut self, field: &str, columns: &str) -> Result<()> {
        let names = if columns.is_empty() {
            Vec::new()
        } else {
            columns.split(OR).map(str::to_owned).collect()
        };
        self.set(field, &names)
    }

    /// Names the columns of a field, in order of preference. Without names, there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::rename`].
    pub fn set(&mut self, field: &str, names: &[String]) -> Result<()> {
        let is_volume = field == "volume" || field.ends_with("_volume");
        if names.iter().any(String::is_empty) || names.is_empty() && !is_volume {
            return Err(
                Error::usage(format!("the column name for {field:?} is empty")).with_hint(
                    "name the column of the file, as in timestamp=ts,open=o; only volume may be empty",
                ),
            );
        }
        let choice = |usual: Option<&'static UsualName>| match (names, usual) {
            ([], _) => ColumnChoice::Absent,
            ([name], Some(usual)) if name == usual.name => ColumnChoice::Usual(usual),
            _ => ColumnChoice::Named(names.to_vec()),
        };
        if field == "timestamp" {
            self.timestamp = choice(Some(UsualName::TIMESTAMP));
            return Ok(());
        }
        let place = |field: &str| Self::VALUE_FIELDS.iter().position(|name| *name == field);
        if let Some(place) = place(field) {
            self.values[place] = choice(Some(UsualName::VALUES[place]));
            return Ok(());
        }
        let of_side = field.split_once('_').and_then(|(side, field)| {
            let price_type: PriceType = side.parse().ok()?;
            Some((price_type, place(field)?))
        });
        let Some(of_side) = of_side else {
            return Err(Error::usage(format!(
                "invalid candle field {field:?}: expected a field of the input columns"
            ))
            .with_hint(
                "choose from timestamp, open, high, low, close and volume, as in timestamp=ts,open=o, \
                 or name those of one price type, as in bid_open=bo",
            ));
        };
        self.of_sides.insert(of_side, choice(None));
        Ok(())
    }

    /// The column of the timestamps.
    #[must_use]
    pub fn timestamp(&self) -> &ColumnChoice {
        &self.timestamp
    }

    /// The column of a value of candles of a price type, by the index of its field.
    #[must_use]
    pub fn value(&self, price_type: PriceType, field: usize) -> &ColumnChoice {
        let of_side = self.of_sides.get(&(price_type, field));
        of_side.unwrap_or(&self.values[field])
    }

    /// Whether files hold no volume of a price type.
    #[must_use]
    pub fn has_no_volume(&self, price_type: PriceType) -> bool {
        *self.value(price_type, PRICES) == ColumnChoice::Absent
    }

    /// Whether candles of two price types differ in one file: all their prices have other columns.
    pub(super) fn tell_apart(&self, one: PriceType, other: PriceType) -> bool {
        (0..PRICES).all(|field| !self.value(one, field).may_be(self.value(other, field)))
    }

    /// Whether symbols differ in one file: all prices have columns with the name of the symbol, and
    /// no two symbols the same one.
    pub(super) fn tell_symbols_apart(&self, price_type: PriceType, symbols: &[String]) -> bool {
        (0..PRICES).all(|field| {
            let choice = self.value(price_type, field);
            let mut owners: HashMap<String, &str> = HashMap::new();
            let mut is_own =
                |name: &str, symbol| *owners.entry(name.to_owned()).or_insert(symbol) == symbol;
            choice.names_symbol()
                && symbols.iter().all(|symbol| {
                    let of_symbol = choice.of_symbol(symbol);
                    of_symbol.names().iter().all(|name| is_own(name, symbol))
                })
        })
    }

    /// Lets a field have the same column for all price types.
    pub fn forget_sides(&mut self, field: &str) {
        self.of_sides
            .retain(|(_, place), _| Self::VALUE_FIELDS[*place] != field);
    }

    /// What a request says about the column of a field of a price type; `None` if it says nothing.
    /// `field` is `timestamp` or a value field.
    #[must_use]
    pub fn given(&self, price_type: Option<PriceType>, field: &str) -> Option<&ColumnChoice> {
        let choice = if field == "timestamp" {
            &self.timestamp
        } else {
            let place = Self::VALUE_FIELDS.iter().position(|name| *name == field)?;
            self.value(price_type?, place)
        };
        Some(choice).filter(|choice| choice.is_given())
    }

    /// The columns that a request names, by their fields.
    pub(super) fn document(&self) -> BTreeMap<String, ColumnDocument> {
        let plain = Self::VALUE_FIELDS.into_iter().zip(&self.values);
        let plain = plain.chain([("timestamp", &self.timestamp)]);
        let plain = plain.map(|(field, choice)| (field.to_owned(), choice));
        let of_sides = self.of_sides.iter().map(|((price_type, field), choice)| {
            let field = Self::VALUE_FIELDS[*field];
            (format!("{price_type}_{field}"), choice)
        });
        plain
            .chain(of_sides)
            .filter_map(|(field, choice)| Some((field, choice.document()?)))
            .collect()
    }
}

impl Default for ColumnNames {
    fn default() -> Self {
        Self {
            timestamp: ColumnChoice::Usual(UsualName::TIMESTAMP),
            values: UsualName::VALUES.map(ColumnChoice::Usual),
            of_sides: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(names: &ColumnNames) -> String {
        serde_json::to_string(&names.document()).expect("texts are JSON")
    }

    #[test]
    fn a_request_spells_what_differs_from_the_usual() {
        let mut names = ColumnNames::default();
        for (field, columns) in [
            ("open", "Open"),
            ("timestamp", "Date|Datetime"),
            ("volume", ""),
            ("bid_close", "bc"),
            ("ask_volume", "av"),
        ] {
            names.rename(field, columns).expect(field);
        }
        assert_eq!(
            json(&names),
            r#"{"ask_volume":"av","bid_close":"bc","timestamp":"Date|Datetime","volume":""}"#
        );
        names.set("high", &["a|b".to_owned()]).expect("a field");
        assert!(json(&names).contains(r#""high":["a|b"]"#));
        assert!(names.has_no_volume(PriceType::Bid));
        assert!(!names.has_no_volume(PriceType::Ask));
        assert_eq!(names.value(PriceType::Bid, 3), &ColumnChoice::of("bc"));
        assert_eq!(names.value(PriceType::Ask, 3).first(), "Close");
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        for (field, columns) in [
            ("open", ""),
            ("timestamp", ""),
            ("open", "a|"),
            ("volume", "|"),
            ("bid_open", ""),
            ("mid_open", "x"),
            ("bid_timestamp", "x"),
            ("bid", "x"),
            ("Open", "x"),
        ] {
            let refused = ColumnNames::default().rename(field, columns);
            assert!(refused.is_err(), "{field}={columns}");
        }
    }

    #[test]
    fn price_types_of_one_file_have_other_prices() {
        let (bid, ask) = (PriceType::Bid, PriceType::Ask);
        let mut names = ColumnNames::default();
        assert!(!names.tell_apart(bid, ask));
        for field in ["open", "high", "low", "close"] {
            assert!(!names.tell_apart(bid, ask), "{field}");
            names.rename(&format!("ask_{field}"), field).expect(field);
        }
        assert!(!names.tell_apart(bid, ask), "open may be the usual one");
        for field in ["open", "high", "low", "close"] {
            let column = format!("ask {field}|a{field}");
            names.rename(&format!("ask_{field}"), &column).expect(field);
        }
        assert!(names.tell_apart(bid, ask));
        names.rename("bid_low", "low|alow").expect("a field");
        assert!(!names.tell_apart(bid, ask), "an alternative of both");
        names.forget_sides("low");
        assert!(!names.tell_apart(bid, ask), "one column for both");
    }

    #[test]
    fn symbols_of_one_file_have_other_prices() {
        let symbols = |all: &[&str]| -> Vec<String> { all.iter().map(|&one| one.into()).collect() };
        let mut names = ColumnNames::default();
        let are_apart = |names: &ColumnNames, all: &[&str]| {
            names.tell_symbols_apart(PriceType::Bid, &symbols(all))
        };
        assert!(!are_apart(&names, &["A", "B"]));
        for field in ["open", "high", "low", "close"] {
            let column = format!("{{symbol}}_{field}|A{{symbol}}_{field}");
            names.rename(field, &column).expect(field);
        }
        assert!(are_apart(&names, &["A", "B"]));
        assert!(!are_apart(&names, &["AB", "B"]));
    }
}
