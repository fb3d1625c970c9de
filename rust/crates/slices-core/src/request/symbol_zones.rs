//! The zones of some symbols.

use serde::{Serialize, Serializer};

use super::Zone;
use crate::error::{Error, Result};

/// Zones by patterns of symbols. `*` stands for any text; the first pattern that fits counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SymbolZones(Vec<(String, Zone)>);

impl SymbolZones {
    /// Adds the zone of symbols such as `*.PA`.
    ///
    /// # Errors
    ///
    /// A usage error for an empty pattern, one that was added before, or an unknown zone.
    pub fn add(&mut self, pattern: &str, zone: &str) -> Result<()> {
        if pattern.is_empty() || self.0.iter().any(|(known, _)| known == pattern) {
            return Err(Error::usage(format!(
                "invalid pattern of symbols {pattern:?}: it is empty, or has a zone already"
            ))
            .with_hint("write it as \"*.PA\" = \"Europe/Paris\", each once"));
        }
        self.0.push((pattern.to_owned(), Zone::named(zone)?));
        Ok(())
    }

    /// The zone of a symbol, if a pattern fits.
    #[must_use]
    pub fn of(&self, symbol: &str) -> Option<&Zone> {
        let mut all = self.0.iter();
        let found = all.find(|(pattern, _)| fits(pattern, symbol));
        found.map(|(_, zone)| zone)
    }

    /// Whether no symbol has a zone of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for SymbolZones {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A list, since the order counts.
        let pairs = self.0.iter().map(|(pattern, zone)| (pattern, zone.name()));
        serializer.collect_seq(pairs)
    }
}

/// Whether a text is that of a pattern.
fn fits(pattern: &str, text: &str) -> bool {
    let mut texts = pattern.split('*');
    let first = texts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = texts.next_back() else {
        return rest.is_empty();
    };
    for between in texts {
        // The leftmost match leaves the most room for later ones.
        let Some(at) = rest.find(between) else {
            return false;
        };
        rest = &rest[at + between.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_fits_counts() {
        let mut zones = SymbolZones::default();
        for (pattern, zone) in [
            ("AIR.PA", "Europe/Berlin"),
            ("*.PA", "Europe/Paris"),
            ("^*", "America/New_York"),
        ] {
            zones.add(pattern, zone).expect(pattern);
        }
        let of = |symbol: &str| zones.of(symbol).map(Zone::name);
        assert_eq!(of("AIR.PA"), Some("Europe/Berlin"));
        assert_eq!(of("MC.PA"), Some("Europe/Paris"));
        assert_eq!(of("^GSPC"), Some("America/New_York"));
        assert_eq!(of("AAPL"), None);
        assert!(zones.add("*.PA", "Europe/Paris").is_err());
        assert!(zones.add("", "Europe/Paris").is_err());
        assert!(zones.add("*.L", "Europe/Nowhere").is_err());
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, is_fit) in [
            ("*", "", true),
            ("a*", "a", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "abc", true),
            ("a*b", "ab*", false),
            ("a*a", "a", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(fits(pattern, text), is_fit, "{pattern} {text}");
        }
    }
}
