//! Parses the timeline: which timestamps become slices.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

/// Which timestamps become slices. Only candles of the primary timeframe count, without those that
/// are carried forward.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Timeline {
    /// Timestamps present in every requested series.
    #[default]
    Intersection,
    /// Timestamps present in any requested series.
    Union,
    /// Timestamps present in every requested price type of this symbol.
    Leader(String),
    /// Timestamps at which at least this many symbols have all their requested price types.
    Quorum(NonZeroUsize),
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intersection => f.write_str("intersection"),
            Self::Union => f.write_str("union"),
            Self::Leader(symbol) => write!(f, "leader:{symbol}"),
            Self::Quorum(symbols) => write!(f, "quorum:{symbols}"),
        }
    }
}

impl FromStr for Timeline {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "intersection" => Ok(Self::Intersection),
            None if text == "union" => Ok(Self::Union),
            Some(("leader", symbol)) if !symbol.is_empty() => Ok(Self::Leader(symbol.to_owned())),
            Some(("quorum", symbols)) => symbols
                .parse()
                .ok()
                .filter(|_| !symbols.starts_with(['+', '0']))
                .map(Self::Quorum)
                .ok_or_else(|| {
                    Error::usage(format!(
                        "invalid timeline {text:?}: expected a number of symbols, not {symbols:?}"
                    ))
                    .with_hint("write the minimum number of symbols, at least 1: quorum:3")
                }),
            _ => Err(Error::usage(format!(
                "invalid timeline {text:?}: expected a known timeline"
            ))
            .with_hint("choose one of: intersection, union, leader:SYMBOL, quorum:K")),
        }
    }
}

impl Serialize for Timeline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timeline_reads_what_it_writes() {
        for text in [
            "intersection",
            "union",
            "leader:EURUSD",
            "leader:a:b",
            "quorum:1",
            "quorum:40",
        ] {
            let timeline: Timeline = text.parse().expect(text);
            assert_eq!(timeline.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_timeline_is_refused() {
        for text in [
            "",
            "both",
            "Union",
            "union:",
            "leader",
            "leader:",
            "quorum",
            "quorum:",
            "quorum:0",
            "quorum:-1",
            "quorum:+1",
            "quorum:01",
            "quorum:1.5",
            "quorum:x",
            "quorum:99999999999999999999999",
        ] {
            assert!(text.parse::<Timeline>().is_err(), "{text}");
        }
    }
}
