//! Parses the pattern that symbols in file names must match.

use std::fmt;
use std::str::FromStr;

use regex::Regex;

use crate::error::{Error, Result};

/// A regular expression that a symbol matches as a whole.
#[derive(Debug, Clone)]
pub struct SymbolPattern {
    text: String,
    whole: Regex,
}

impl SymbolPattern {
    /// The source text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a symbol matches as a whole.
    #[must_use]
    pub fn matches(&self, symbol: &str) -> bool {
        self.whole.is_match(symbol)
    }
}

impl PartialEq for SymbolPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SymbolPattern {}

impl fmt::Display for SymbolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SymbolPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Compile the text alone first: the group around it could make an invalid text such as
        // `a)(b` valid.
        let whole = Regex::new(text).and_then(|_| Regex::new(&format!("^(?:{text})$")));
        let whole = whole.map_err(|error| {
            Error::usage(format!("invalid symbol pattern {text:?}: {error}"))
                .with_hint("write a regular expression without look-around, such as [A-Z]+_[A-Z]+")
                .with_source(error)
        })?;
        Ok(Self {
            text: text.to_owned(),
            whole,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_matches_as_a_whole() {
        let pattern: SymbolPattern = "[A-Z]+|btc".parse().expect("a pattern");
        for (symbol, expected) in [
            ("EURUSD", true),
            ("btc", true),
            ("xbtc", false),
            ("A1", false),
        ] {
            assert_eq!(pattern.matches(symbol), expected, "{symbol}");
        }
        for text in ["(", "a)(b", "(?=a)", "[z-a]"] {
            assert!(text.parse::<SymbolPattern>().is_err(), "{text}");
        }
    }
}
