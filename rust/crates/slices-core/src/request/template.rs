//! Parses path templates, expands them per series and matches paths against them.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::request::{PriceType, Reading, without_file_scheme};

/// A path with the fields `{root}`, `{symbol}`, `{timeframe}`, `{side}` (lower case) and `{SIDE}`
/// (upper case). `*` stands for any characters within one path component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Star,
    /// Any number of folders.
    Folders,
    Root,
    Symbol,
    Timeframe,
    SideLower,
    SideUpper,
}

/// Where files are without a template, in order of preference.
pub const DEFAULT_TEMPLATES: [&str; 2] = [
    "{root}/{symbol}/{symbol}_{timeframe}_{SIDE}.parquet",
    "{root}/{symbol}/{symbol}_{timeframe}_{side}.parquet",
];

/// The values of a template's fields; a field that is `None` stands for any text.
#[derive(Debug, Clone, Copy)]
pub struct TemplateFields<'a> {
    /// The root folder.
    pub root: &'a str,
    /// The symbol; `None` stands for any.
    pub symbol: Option<&'a str>,
    /// The timeframe; `None` stands for any.
    pub timeframe: Option<&'a str>,
    /// The price type; `None` for indicators.
    pub price_type: Option<PriceType>,
}

impl PathTemplate {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// A usage error if a field is unknown or a brace is unclosed.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::usage(format!("invalid path template {text:?}: {why}"))
                .with_hint("use the fields {root}, {symbol}, {timeframe}, {side} and {SIDE}")
        };
        if text.is_empty() || text.contains('\0') {
            return Err(bad("it is empty or contains a NUL character".to_owned()));
        }
        let place = without_file_scheme(text.into());
        let text = place.to_str().unwrap_or(text);
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let plain = rest.find(['{', '}', '*']).unwrap_or(rest.len());
            if plain > 0 {
                pieces.push(Piece::Literal(rest[..plain].to_owned()));
                rest = &rest[plain..];
            } else if let Some(after) = folders(rest, &pieces) {
                pieces.push(Piece::Folders);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('*') {
                pieces.push(Piece::Star);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let (name, after) = after
                    .split_once('}')
                    .ok_or_else(|| bad("it has an unclosed brace".to_owned()))?;
                pieces.push(match name {
                    "root" => Piece::Root,
                    "symbol" => Piece::Symbol,
                    "timeframe" => Piece::Timeframe,
                    "side" => Piece::SideLower,
                    "SIDE" => Piece::SideUpper,
                    _ => return Err(bad(format!("it has the unknown field {{{name}}}"))),
                });
                rest = after;
            } else {
                return Err(bad(
                    "it has a closing brace without an opening one".to_owned()
                ));
            }
        }
        let place = |wanted: &Piece| pieces.iter().position(|piece| piece == wanted);
        let last_folders = pieces.iter().rposition(|piece| *piece == Piece::Folders);
        if let Some(symbol) = place(&Piece::Symbol)
            && place(&Piece::Folders).is_some_and(|first| first < symbol)
            && last_folders.is_some_and(|last| last > symbol)
        {
            return Err(bad(
                "it has ** on both sides of {symbol}, so that a file may be of several symbols"
                    .to_owned(),
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }

    /// The source text of the template.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path depends on the symbol.
    #[doc(hidden)]
    #[must_use]
    pub fn names_symbol(&self) -> bool {
        self.pieces.contains(&Piece::Symbol)
    }

    /// Whether the path depends on the price type.
    #[doc(hidden)]
    #[must_use]
    pub fn names_side(&self) -> bool {
        self.pieces.contains(&Piece::SideLower) || self.pieces.contains(&Piece::SideUpper)
    }

    /// Whether the path depends on the timeframe.
    #[doc(hidden)]
    #[must_use]
    pub fn names_timeframe(&self) -> bool {
        self.pieces.contains(&Piece::Timeframe)
    }

    /// Whether one expansion can match several files.
    pub fn has_star(&self) -> bool {
        self.pieces.contains(&Piece::Star) || self.pieces.contains(&Piece::Folders)
    }

    /// Whether the symbol is the value of a `key=value` folder, where it is percent-encoded.
    #[must_use]
    pub fn encodes_symbol(&self) -> bool {
        let mut pairs = self.pieces.windows(2);
        pairs.any(|pair| match pair {
            [Piece::Literal(before), Piece::Symbol] => before.ends_with('='),
            _ => false,
        })
    }

    /// The template up to the end of the first name with the symbol.
    pub fn through_symbol(&self) -> Self {
        let symbol = self.pieces.iter().position(|piece| *piece == Piece::Symbol);
        let (before, after) = self.pieces.split_at(symbol.unwrap_or(self.pieces.len()));
        let mut pieces = before.to_vec();
        for piece in after {
            match piece {
                Piece::Literal(text) if text.contains('/') => {
                    let end = text.split('/').next().unwrap_or_default();
                    if !end.is_empty() {
                        pieces.push(Piece::Literal(end.to_owned()));
                    }
                    break;
                }
                piece => pieces.push(piece.clone()),
            }
        }
        Self {
            text: self.text.clone(),
            pieces,
        }
    }

    /// Whether a `*` is next to `{symbol}`, so that the end of the symbol is unknown.
    pub fn has_star_beside_symbol(&self) -> bool {
        let mut pairs = self.pieces.windows(2);
        pairs.any(|pair| pair.contains(&Piece::Star) && pair.contains(&Piece::Symbol))
    }

    /// The longer timeframe that a file of `timeframe` also matches, because a `*` follows the
    /// field, or a `*` or symbol comes right before it. Examples are `M15`, found with
    /// `{timeframe}*` for `M1`, and `15m`, found with `*{timeframe}` for `5m`.
    pub fn longer_timeframe(
        &self,
        path: &str,
        timeframe: &str,
        fields: TemplateFields<'_>,
    ) -> Option<String> {
        let mut pairs = self.pieces.windows(2);
        let is_open = pairs.any(|pair| match pair {
            [Piece::Timeframe, Piece::Star] => true,
            [Piece::Star | Piece::Symbol, Piece::Timeframe] => {
                timeframe.starts_with(|first: char| first.is_ascii_digit())
            }
            _ => false,
        });
        if !is_open {
            return None;
        }
        let names: Vec<_> = path.split('/').collect();
        let matches = |longer: &str, symbol| {
            let timeframe = Some(longer);
            let fields = TemplateFields {
                timeframe,
                symbol,
                ..fields
            };
            self.pattern(fields).matches(&names)
        };
        let mut longest = timeframe.to_owned();
        let mut symbol = fields.symbol;
        loop {
            let digits = || (0..10).map(|digit| char::from(b'0' + digit));
            let behind = digits()
                .map(|digit| (format!("{longest}{digit}"), symbol))
                .find(|(longer, symbol)| matches(longer, *symbol));
            let before = || {
                let shorter = |digit| {
                    let rest = symbol.and_then(|symbol| symbol.strip_suffix(digit));
                    rest.filter(|rest| !rest.is_empty())
                };
                digits()
                    .flat_map(|digit| {
                        let longer = format!("{digit}{longest}");
                        [(longer.clone(), symbol), (longer, shorter(digit))]
                    })
                    .filter(|(_, text)| text.is_some() == symbol.is_some())
                    .find(|(longer, symbol)| matches(longer, *symbol))
            };
            match behind.or_else(before) {
                Some((longer, of_longer)) => (longest, symbol) = (longer, of_longer),
                None => return (longest != timeframe).then_some(longest),
            }
        }
    }

    /// The path with all fields filled in; a `*` stays.
    pub fn path(&self, fields: TemplateFields<'_>) -> String {
        self.pattern(fields).text("*")
    }

    /// The pattern of the template: `*` and unset fields match any text, other parts are literal.
    pub fn pattern(&self, fields: TemplateFields<'_>) -> PathPattern {
        let mut parts = vec![NamePattern::default()];
        for piece in &self.pieces {
            let text = match piece {
                Piece::Literal(text) => Some(text.as_str()),
                Piece::Star => None,
                Piece::Folders => {
                    last(&mut parts).any_depth = true;
                    continue;
                }
                Piece::Root => Some(fields.root),
                Piece::Symbol => fields.symbol,
                Piece::Timeframe => fields.timeframe,
                Piece::SideLower => fields.price_type.map(PriceType::as_str),
                Piece::SideUpper => fields.price_type.map(PriceType::as_upper),
            };
            let Some(text) = text else {
                last(&mut parts).push_any();
                continue;
            };
            for (number, name) in text.split('/').enumerate() {
                if number > 0 {
                    parts.push(NamePattern::default());
                }
                last(&mut parts).push_text(name);
            }
        }
        let name = |number: usize| parts.get(number).and_then(NamePattern::literal);
        if name(0).is_some_and(|scheme| scheme.ends_with(':')) && name(1) == Some("") {
            // The slashes of a URI are those of its scheme, or part of the name of an object.
            return PathPattern { parts };
        }
        // Repeated slashes count as one; the slash before the first name is the root.
        let mut number = 0;
        parts.retain(|part| {
            number += 1;
            number == 1 || part.literal() != Some("")
        });
        PathPattern { parts }
    }

    /// The folder that the user spelled out: the leading names without a `*` or a field other than
    /// `{root}`. `None` if the user spelled out the whole path.
    pub fn spelled_folder(&self, root: &str) -> Option<PathBuf> {
        let pattern = self.pattern(TemplateFields {
            root,
            symbol: None,
            timeframe: None,
            price_type: None,
        });
        let names = pattern.parts.iter().map(NamePattern::literal);
        let spelled: Vec<_> = names.map_while(|name| name).collect();
        if spelled.len() == pattern.parts.len() {
            return None;
        }
        Some(match spelled[..] {
            [] => PathBuf::from("."),
            // The name before the first slash of an absolute path is empty.
            [""] => PathBuf::from("/"),
            _ => PathBuf::from(spelled.join("/")),
        })
    }

    /// Every symbol for which the template yields `path`, with the other fields given.
    ///
    /// Empty if the path does not match the template. Several if a `*` or plain text next to the
    /// symbol leaves its start or end open.
    pub fn readings(&self, path: &str, fields: TemplateFields<'_>) -> Vec<Reading> {
        let marked = self.pattern(TemplateFields {
            symbol: Some(MARK),
            ..fields
        });
        let names: Vec<_> = path.split('/').collect();
        // Of open folders, those that leave a name for the symbol.
        let open = self.pattern(TemplateFields {
            symbol: None,
            ..fields
        });
        let Some(placed) = open.placed(&names) else {
            return Vec::new();
        };
        let of_part = |part: &NamePattern| {
            let place = open.parts.iter().position(|one| std::ptr::eq(one, part));
            place.and_then(|place| marked.parts.get(place))
        };
        let of_symbol = placed
            .into_iter()
            .zip(&names)
            .find_map(|(part, name)| Some((of_part(part)?.around(MARK)?, *name)));
        let Some((around, name)) = of_symbol else {
            return Vec::new();
        };
        let edges = || name.char_indices().map(|(at, _)| at).chain([name.len()]);
        let starts: Vec<_> = edges().filter(|&at| around.may_begin(name, at)).collect();
        let ends: Vec<_> = edges().filter(|&at| around.may_end(name, at)).collect();
        let mut readings: Vec<Reading> = Vec::new();
        for &start in &starts {
            for &end in ends.iter().filter(|&&end| end > start) {
                let symbol = &name[start..end];
                let candidate = self.pattern(TemplateFields {
                    symbol: Some(symbol),
                    ..fields
                });
                let is_known = readings.iter().any(|known| known.symbol == symbol);
                if !is_known && candidate.matches(&names) {
                    readings.push(Reading {
                        symbol: symbol.to_owned(),
                        rest: around.rest(name, end).map(str::to_owned),
                    });
                }
            }
        }
        readings
    }

    /// Whether the first name with the symbol leaves the start or end of the symbol open.
    pub fn may_have_readings(&self, fields: TemplateFields<'_>) -> bool {
        let marked = self.pattern(TemplateFields {
            symbol: Some(MARK),
            ..fields
        });
        let of_symbol = marked.parts.iter().find(|part| part.around(MARK).is_some());
        of_symbol.is_some_and(|part| part.literal().is_none())
    }
}

/// Stands for the symbol in a pattern, to find the name that contains it and the text around it. No
/// path contains this text.
const MARK: &str = "\0";

fn last(parts: &mut [NamePattern]) -> &mut NamePattern {
    parts.last_mut().expect("a pattern has at least one part")
}

/// A path pattern, name by name, with places that match any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// The names between the slashes.
    pub parts: Vec<NamePattern>,
}

impl PathPattern {
    /// The pattern as text, with `any` in the open places.
    fn text(&self, any: &str) -> String {
        let name = |part: &NamePattern| match part.any_depth {
            true => any.repeat(2),
            false => part.texts.join(any),
        };
        let names: Vec<_> = self.parts.iter().map(name).collect();
        names.join("/")
    }

    /// Whether the names between the slashes of a path match.
    #[must_use]
    pub fn matches(&self, names: &[&str]) -> bool {
        self.placed(names).is_some()
    }

    /// The pattern with as many names as a path that it matches: open folders are filled in.
    fn placed(&self, names: &[&str]) -> Option<Vec<&NamePattern>> {
        placed(&self.parts, names)
    }
}

/// Fills open folders in, so that each name has its pattern.
fn placed<'a>(parts: &'a [NamePattern], names: &[&str]) -> Option<Vec<&'a NamePattern>> {
    let Some((first, rest)) = parts.split_first() else {
        return names.is_empty().then(Vec::new);
    };
    if !first.any_depth {
        let (name, names) = names.split_first()?;
        first.matches(name.as_bytes()).then_some(())?;
        let mut found = placed(rest, names)?;
        found.insert(0, first);
        return Some(found);
    }
    for folders in 0..=names.len() {
        let (open, names) = names.split_at(folders);
        if open.last().is_some_and(|name| name.starts_with('.')) {
            // As in shells, hidden folders are named.
            return None;
        }
        if let Some(mut found) = placed(rest, names) {
            found.splice(0..0, open.iter().map(|_| first));
            return Some(found);
        }
    }
    None
}

/// What follows `**`, if that is a whole name.
fn folders<'a>(rest: &'a str, pieces: &[Piece]) -> Option<&'a str> {
    let after = rest
        .strip_prefix("**")
        .filter(|after| after.starts_with('/'))?;
    let begins = match pieces.last() {
        None | Some(Piece::Folders) => true,
        Some(Piece::Literal(text)) => text.ends_with('/'),
        Some(_) => false,
    };
    begins.then_some(after)
}

/// The pattern of one name: literal texts with any text between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    texts: Vec<String>,
    /// Whether it stands for any number of folders.
    any_depth: bool,
}

impl Default for NamePattern {
    fn default() -> Self {
        Self {
            texts: vec![String::new()],
            any_depth: false,
        }
    }
}

impl NamePattern {
    fn push_any(&mut self) {
        self.texts.push(String::new());
    }

    fn push_text(&mut self, text: &str) {
        let last = self.texts.last_mut().expect("a name has at least one text");
        last.push_str(text);
    }

    /// Whether it stands for any number of folders.
    pub fn is_any_depth(&self) -> bool {
        self.any_depth
    }

    /// The name itself, if the pattern has no open place.
    pub fn literal(&self) -> Option<&str> {
        match &self.texts[..] {
            [only] if !self.any_depth => Some(only),
            _ => None,
        }
    }

    /// Whether a name matches. As in shells, only a pattern with a leading dot matches hidden
    /// names.
    pub fn matches(&self, name: &[u8]) -> bool {
        let (first, rest) = self
            .texts
            .split_first()
            .expect("a name has at least one text");
        let Some((last, middle)) = rest.split_last() else {
            return name == first.as_bytes();
        };
        if name.starts_with(b".") && !first.starts_with('.') {
            return false;
        }
        let Some(name) = name.strip_prefix(first.as_bytes()) else {
            return false;
        };
        let Some(mut name) = name.strip_suffix(last.as_bytes()) else {
            return false;
        };
        // The leftmost match of each text leaves the most room for later ones.
        for text in middle.iter().filter(|text| !text.is_empty()) {
            let Some(at) = name
                .windows(text.len())
                .position(|part| part == text.as_bytes())
            else {
                return false;
            };
            name = &name[at + text.len()..];
        }
        true
    }

    /// The texts around the first `mark`; `None` without a mark.
    fn around(&self, mark: &str) -> Option<Around<'_>> {
        let number = self.texts.iter().position(|text| text.contains(mark))?;
        let (before, after) = self.texts[number].split_once(mark)?;
        let is_last = number + 1 == self.texts.len();
        Some(Around {
            before,
            begins: number == 0,
            // A second mark repeats the symbol: the text after the first mark is literal up to it.
            after: after.split(mark).next().unwrap_or_default(),
            ends: is_last && !after.contains(mark),
            last: (!is_last).then(|| self.texts[self.texts.len() - 1].as_str()),
        })
    }
}

/// The literal texts around a symbol in a name.
struct Around<'a> {
    before: &'a str,
    /// Whether the name begins with that text.
    begins: bool,
    after: &'a str,
    /// Whether the name ends with that text.
    ends: bool,
    /// The last text of the name, if a `*` stands between the symbol and it.
    last: Option<&'a str>,
}

impl Around<'_> {
    fn may_begin(&self, name: &str, at: usize) -> bool {
        name[..at].ends_with(self.before) && (!self.begins || at == self.before.len())
    }

    fn may_end(&self, name: &str, at: usize) -> bool {
        name[at..].starts_with(self.after) && (!self.ends || at + self.after.len() == name.len())
    }

    /// The text between the end of the symbol and the last text of the name.
    fn rest<'n>(&self, name: &'n str, end: usize) -> Option<&'n str> {
        let last = self.last?;
        name.get(end + self.after.len()..name.len().checked_sub(last.len())?)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(symbol: &str) -> TemplateFields<'_> {
        TemplateFields {
            root: "data",
            symbol: Some(symbol),
            timeframe: Some("M1"),
            price_type: Some(PriceType::Ask),
        }
    }

    #[test]
    fn fields_are_filled_in() {
        let template = PathTemplate::parse("{root}/{timeframe}/{symbol}.{side}.{SIDE}.parquet")
            .expect("a template");
        assert_eq!(template.path(fields("A")), "data/M1/A.ask.ASK.parquet");
    }

    fn matches(template: &str, symbol: Option<&str>, path: &str) -> bool {
        let fields = TemplateFields {
            symbol,
            ..fields("")
        };
        let template = PathTemplate::parse(template).expect("a template");
        let names: Vec<_> = path.split('/').collect();
        template.pattern(fields).matches(&names)
    }

    #[test]
    fn what_a_symbol_adds_is_not_spelled() {
        let spelled = |template: &str| {
            let template = PathTemplate::parse(template).expect("a template");
            template.spelled_folder("data/fx")
        };
        for (template, expected) in [
            ("{root}/{symbol}/{symbol}.parquet", Some("data/fx")),
            ("{root}/m1/{symbol}.parquet", Some("data/fx/m1")),
            ("{root}/*/x.parquet", Some("data/fx")),
            ("{root}-{timeframe}/x.parquet", Some("data")),
            ("/data/{symbol}.parquet", Some("/data")),
            ("/{symbol}.parquet", Some("/")),
            ("{symbol}/x.parquet", Some(".")),
            ("{root}/x.parquet", None),
        ] {
            assert_eq!(spelled(template), expected.map(PathBuf::from), "{template}");
        }
    }

    #[test]
    fn a_file_may_be_of_a_longer_timeframe_too() {
        let longer = |template: &str, symbol, timeframe, path: &str| {
            let template = PathTemplate::parse(template).expect("a template");
            let fields = TemplateFields {
                timeframe: Some(timeframe),
                ..fields(symbol)
            };
            template.longer_timeframe(path, timeframe, fields)
        };
        for (template, symbol, timeframe, path, expected) in [
            ("{timeframe}*.pq", "A", "M1", "M15x.pq", Some("M15")),
            ("{timeframe}*.pq", "A", "M1", "M1x.pq", None),
            ("*{timeframe}.pq", "A", "5m", "x15m.pq", Some("15m")),
            ("*{timeframe}.pq", "A", "5m", "x_5m.pq", None),
            ("*{timeframe}.pq", "A", "M5", "x1M5.pq", None),
            ("{symbol}{timeframe}.pq", "A1", "5m", "A15m.pq", Some("15m")),
            (
                "{symbol}/{symbol}{timeframe}.pq",
                "A1",
                "5m",
                "A1/A15m.pq",
                None,
            ),
            ("{symbol}{timeframe}.pq", "1", "5m", "15m.pq", None),
        ] {
            let found = longer(template, symbol, timeframe, path);
            assert_eq!(found.as_deref(), expected, "{template} {path}");
        }
    }

    #[test]
    fn slashes_in_a_row_are_one() {
        let template = PathTemplate::parse("{root}//{symbol}/x").expect("a template");
        for (root, expected) in [("a/", "a/S/x"), ("/", "/S/x"), ("./a//b//", "./a/b/S/x")] {
            let fields = TemplateFields {
                root,
                ..fields("S")
            };
            assert_eq!(template.path(fields), expected);
            let readings = template.readings(expected, fields);
            assert_eq!(readings.len(), 1);
            assert_eq!(readings[0].symbol, "S");
        }
    }

    #[test]
    fn only_the_star_is_special() {
        let template = "{root}/[x]/{symbol}/*?.parquet";
        assert!(matches(template, Some("A*"), "data/[x]/A*/1?.parquet"));
        assert!(!matches(template, Some("A*"), "data/[x]/AB/1?.parquet"));
        assert!(!matches(template, Some("A*"), "data/[x]/A*/12.parquet"));
        assert!(!matches(template, Some("A*"), "data/x/A*/1?.parquet"));
    }

    #[test]
    fn a_star_stays_within_a_name_and_passes_over_hidden_ones() {
        assert!(matches("{root}/*", None, "data/a"));
        assert!(!matches("{root}/*", None, "data/a/b"));
        assert!(!matches("{root}/*", None, "data/.a"));
        assert!(matches("{root}/.*", None, "data/.a"));
        assert!(matches("{root}/a*", None, "data/a"));
    }

    #[test]
    fn texts_between_stars_are_found_in_order_and_never_overlap() {
        assert!(matches("*ab*ba*", None, "xabbax"));
        assert!(!matches("*ab*ba*", None, "xabax"));
        assert!(!matches("ab*ba", None, "aba"));
        assert!(matches("ab*ba", None, "abba"));
        assert!(matches("{symbol}***.x", None, "a.x"));
        assert!(matches("*aab", None, "aaab"));
    }

    #[test]
    fn a_reading_knows_what_stands_behind_its_symbol() {
        let template = PathTemplate::parse("{root}/{symbol}_*.parquet").expect("a template");
        let readings = template.readings("data/ES_MICRO_2023.parquet", fields("ignored"));
        let rests: Vec<_> = readings.iter().map(|one| one.rest.as_deref()).collect();
        assert_eq!(rests, [Some("MICRO_2023"), Some("2023")]);
        for (text, open) in [
            ("{root}/{symbol}/{symbol}-*.x", false),
            ("{root}/{symbol}-*.x", true),
            ("{root}/*/{symbol}.x", false),
            ("{root}/*-{symbol}.x", true),
        ] {
            let template = PathTemplate::parse(text).expect("a template");
            assert_eq!(
                template.may_have_readings(fields("ignored")),
                open,
                "{text}"
            );
        }
        for (text, beside) in [
            ("{symbol}*", true),
            ("*{symbol}", true),
            ("{symbol}-*", false),
            ("{symbol}/*", false),
        ] {
            let template = PathTemplate::parse(text).expect("a template");
            assert_eq!(template.has_star_beside_symbol(), beside, "{text}");
        }
    }

    #[test]
    fn unknown_fields_and_stray_braces_are_refused() {
        for text in ["", "{root}/{sym}", "{root", "root}", "{}", "a\0b"] {
            assert!(PathTemplate::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_symbol_is_read_back_from_a_path() {
        let of = |template: &str, path: &str| {
            let template = PathTemplate::parse(template).expect("a template");
            let readings = template.readings(path, fields("ignored"));
            let symbols = readings.into_iter().map(|reading| reading.symbol);
            symbols.collect::<Vec<_>>()
        };
        assert_eq!(
            of("{root}/{symbol}_{SIDE}.parquet", "data/A_B_ASK.parquet"),
            ["A_B"]
        );
        let twice = "{root}/{symbol}/{symbol}_{timeframe}.parquet";
        assert_eq!(of(twice, "data/A/A_M1.parquet"), ["A"]);
        assert!(of(twice, "data/A/B_M1.parquet").is_empty());
        assert!(of(twice, "data/A.parquet").is_empty());
        assert_eq!(of("{root}/{symbol}-{symbol}.x", "data/A-A-A-A.x"), ["A-A"]);
        assert_eq!(
            of("{root}/*/{symbol}.parquet", "data/2024/A.parquet"),
            ["A"]
        );
        assert_eq!(
            of("{root}/{symbol}_*.parquet", "data/A_B_C.parquet"),
            ["A", "A_B"]
        );
        assert_eq!(of("{root}/é{symbol}é", "data/éxé"), ["x"]);
    }
}
