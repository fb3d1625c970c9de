//! Owns path templates: text with fields and `*`, checked once, expanded per series.

use std::fmt;

use crate::error::{Error, Result};
use crate::request::PriceType;

/// A path with the fields `{root}`, `{symbol}`, `{timeframe}`, `{side}` (lower case) and `{SIDE}`
/// (upper case), in which `*` stands for any run of characters of one path component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Star,
    Root,
    Symbol,
    Timeframe,
    SideLower,
    SideUpper,
}

/// What a template's fields stand for; a field that is `None` stands for any text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub root: &'a str,
    pub symbol: Option<&'a str>,
    pub timeframe: Option<&'a str>,
    pub price_type: Option<PriceType>,
}

impl PathTemplate {
    /// Checks a template.
    ///
    /// # Errors
    ///
    /// A usage error where a field is unknown or a brace is not closed.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::usage(format!("the path template {text:?} {why}"))
                .with_hint("its fields are {root} {symbol} {timeframe} {side} {SIDE}")
        };
        if text.is_empty() || text.contains('\0') {
            return Err(bad("is empty or holds a NUL character".to_owned()));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let plain = rest.find(['{', '}', '*']).unwrap_or(rest.len());
            if plain > 0 {
                pieces.push(Piece::Literal(rest[..plain].to_owned()));
                rest = &rest[plain..];
            } else if let Some(after) = rest.strip_prefix('*') {
                pieces.push(Piece::Star);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let (name, after) = after
                    .split_once('}')
                    .ok_or_else(|| bad("has an open brace".to_owned()))?;
                pieces.push(match name {
                    "root" => Piece::Root,
                    "symbol" => Piece::Symbol,
                    "timeframe" => Piece::Timeframe,
                    "side" => Piece::SideLower,
                    "SIDE" => Piece::SideUpper,
                    _ => return Err(bad(format!("has the unknown field {{{name}}}"))),
                });
                rest = after;
            } else {
                return Err(bad("has a closing brace without an opening one".to_owned()));
            }
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }

    /// The text that was parsed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn names_symbol(&self) -> bool {
        self.pieces.contains(&Piece::Symbol)
    }

    pub(crate) fn names_side(&self) -> bool {
        self.pieces.contains(&Piece::SideLower) || self.pieces.contains(&Piece::SideUpper)
    }

    /// Whether an expansion with all fields given can match several files.
    pub(crate) fn has_star(&self) -> bool {
        self.pieces.contains(&Piece::Star)
    }

    /// The path itself, for a template without `*` and with all fields given.
    pub(crate) fn path(&self, fields: Fields<'_>) -> String {
        self.expand(fields, str::to_owned)
    }

    /// The glob pattern: `*` and unknown fields match, everything else is literal.
    pub(crate) fn pattern(&self, fields: Fields<'_>) -> String {
        let mut pattern = self.expand(fields, glob::Pattern::escape);
        // Several stars in a row mean what one means; two have a meaning of their own in patterns.
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        pattern
    }

    fn expand(&self, fields: Fields<'_>, literal: impl Fn(&str) -> String) -> String {
        let known = |value: Option<&str>| value.map_or_else(|| "*".to_owned(), &literal);
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => literal(text),
                Piece::Star => "*".to_owned(),
                Piece::Root => literal(fields.root),
                Piece::Symbol => known(fields.symbol),
                Piece::Timeframe => known(fields.timeframe),
                Piece::SideLower => known(fields.price_type.map(PriceType::as_str)),
                Piece::SideUpper => known(fields.price_type.map(PriceType::as_upper)),
            })
            .collect()
    }

    /// Every symbol for which the template yields `path`, with the other fields given.
    ///
    /// None where the path is no file of this layout; several where a `*` or plain text next to
    /// the symbol leaves open where it begins or ends.
    pub(crate) fn symbols_of(&self, path: &str, fields: Fields<'_>) -> Vec<String> {
        let mut symbols = Vec::new();
        for component in path.split('/') {
            let edges: Vec<_> = component
                .char_indices()
                .map(|(at, _)| at)
                .chain(std::iter::once(component.len()))
                .collect();
            for (nth, &start) in edges.iter().enumerate() {
                for &end in &edges[nth + 1..] {
                    let symbol = &component[start..end];
                    if self.yields(path, symbol, fields) && !symbols.iter().any(|s| s == symbol) {
                        symbols.push(symbol.to_owned());
                    }
                }
            }
        }
        symbols
    }

    fn yields(&self, path: &str, symbol: &str, fields: Fields<'_>) -> bool {
        let fields = Fields {
            symbol: Some(symbol),
            ..fields
        };
        if self.has_star() {
            glob::Pattern::new(&self.pattern(fields))
                .is_ok_and(|pattern| pattern.matches_with(path, GLOB_OPTIONS))
        } else {
            self.path(fields) == path
        }
    }
}

/// Shell convention: `*` stays within one component and passes over hidden files.
pub(crate) const GLOB_OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(symbol: &str) -> Fields<'_> {
        Fields {
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

    #[test]
    fn only_the_star_is_special() {
        let template = PathTemplate::parse("{root}/[x]/{symbol}/*?.parquet").expect("a template");
        let pattern = glob::Pattern::new(&template.pattern(fields("A*"))).expect("a pattern");
        assert!(pattern.matches_with("data/[x]/A*/1?.parquet", GLOB_OPTIONS));
        assert!(!pattern.matches_with("data/[x]/AB/1?.parquet", GLOB_OPTIONS));
        assert!(!pattern.matches_with("data/[x]/A*/12.parquet", GLOB_OPTIONS));
        assert!(!pattern.matches_with("data/x/A*/1?.parquet", GLOB_OPTIONS));
    }

    #[test]
    fn stars_in_a_row_are_one_star() {
        let template = PathTemplate::parse("{root}/{symbol}***.parquet").expect("a template");
        let unknown = Fields {
            symbol: None,
            ..fields("")
        };
        assert_eq!(template.pattern(fields("A")), "data/A*.parquet");
        assert_eq!(template.pattern(unknown), "data/*.parquet");
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
            PathTemplate::parse(template)
                .expect("a template")
                .symbols_of(path, fields("ignored"))
        };
        assert_eq!(
            of("{root}/{symbol}_{SIDE}.parquet", "data/A_B_ASK.parquet"),
            ["A_B"]
        );
        assert!(
            of(
                "{root}/{symbol}/{symbol}_{timeframe}.parquet",
                "data/A/B_M1.parquet"
            )
            .is_empty()
        );
        assert_eq!(
            of("{root}/*/{symbol}.parquet", "data/2024/A.parquet"),
            ["A"]
        );
        assert_eq!(
            of("{root}/{symbol}_*.parquet", "data/A_B_C.parquet"),
            ["A", "A_B"]
        );
    }
}
