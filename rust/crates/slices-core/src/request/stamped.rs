//! Which side of a candle its timestamp marks, by timeframe.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{Stamped, Timeframe};
use crate::error::{Error, Result};

/// The stamped side of candles: one of all timeframes, or of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StampedSides {
    usual: Stamped,
    others: BTreeMap<String, Stamped>,
}

impl From<Stamped> for StampedSides {
    fn from(usual: Stamped) -> Self {
        Self {
            usual,
            others: BTreeMap::new(),
        }
    }
}

impl StampedSides {
    /// Sets the side of a timeframe.
    ///
    /// # Errors
    ///
    /// A usage error if it is set before.
    pub fn set(&mut self, timeframe: &Timeframe, side: Stamped) -> Result<()> {
        let before = self.others.insert(timeframe.as_str().to_owned(), side);
        if before.is_some() {
            let message = format!("the stamped side of {timeframe} is given twice");
            return Err(Error::usage(message).with_hint("name each timeframe once"));
        }
        Ok(())
    }

    /// The side of a timeframe.
    #[must_use]
    pub fn of(&self, timeframe: &Timeframe) -> Stamped {
        let own = self.others.get(timeframe.as_str());
        own.copied().unwrap_or(self.usual)
    }
}

impl Serialize for StampedSides {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unusual = self.others.iter().filter(|(_, side)| **side != self.usual);
        if unusual.clone().next().is_none() {
            self.usual.serialize(serializer)
        } else {
            serializer.collect_map(unusual)
        }
    }
}

impl FromStr for StampedSides {
    type Err = Error;

    /// Reads `close`, or `D1=close,W1=close` for some timeframes.
    fn from_str(text: &str) -> Result<Self> {
        if !text.contains('=') {
            return Ok(text.parse::<Stamped>()?.into());
        }
        let mut sides = Self::default();
        for one in text.split(',') {
            let (timeframe, side) = one.split_once('=').ok_or_else(|| {
                Error::usage(format!("invalid stamped side of a candle {one:?}"))
                    .with_hint("write it as close, or D1=close,W1=close")
            })?;
            sides.set(&timeframe.trim().parse()?, side.trim().parse()?)?;
        }
        Ok(sides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_those_of_their_timeframes() {
        let timeframe = |text: &str| text.parse::<Timeframe>().expect(text);
        let sides: StampedSides = "D1=close, W1=open".parse().expect("sides");
        assert_eq!(sides.of(&timeframe("D1")), Stamped::Close);
        assert_eq!(sides.of(&timeframe("W1")), Stamped::Open);
        assert_eq!(sides.of(&timeframe("M1")), Stamped::Open);
        let json = |sides: &StampedSides| serde_json::to_string(sides).expect("JSON");
        assert_eq!(json(&sides), r#"{"D1":"close"}"#);
        let all: StampedSides = "close".parse().expect("a side");
        assert_eq!(all.of(&timeframe("M1")), Stamped::Close);
        assert_eq!(json(&all), r#""close""#);
        for text in [
            "",
            "D1=",
            "D1=shut",
            "x=close",
            "D1=close,close",
            "D1=close,1d=open",
        ] {
            assert!(text.parse::<StampedSides>().is_err(), "{text}");
        }
    }
}
