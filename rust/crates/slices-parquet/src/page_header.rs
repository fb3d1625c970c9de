//! Reads the header of a page. The Parquet library skips the statistics in it, so this module reads
//! the few fields that matter.

use super::thrift::{CompactReader, Kind};

/// The id of the statistics in the header of a page of the second version.
const STATISTICS_OF_VERSION_2: i16 = 8;

/// Number of rows of a page, and the bounds of its values as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredBounds {
    pub rows: usize,
    pub min: i64,
    pub max: i64,
}

/// A dictionary page that may be read in part: plain values, without a checksum of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DictionaryPage {
    /// Where its compressed bytes begin, counted from the page's header.
    pub start: usize,
    pub compressed_bytes: usize,
    /// Number of bytes after decompression.
    pub value_bytes: usize,
}

impl DictionaryPage {
    /// Reads the header at the start of `bytes`. `None` for any other page.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = CompactReader::new(bytes);
        let page = PageHeader::read(&mut fields)?;
        let dictionary = page.dictionary.filter(|_| !page.has_checksum)?;
        let values = dictionary.values.filter(|_| dictionary.is_plain)?;
        Some(Self {
            start: bytes.len() - fields.rest().len(),
            compressed_bytes: usize::try_from(page.compressed_bytes?).ok()?,
            value_bytes: usize::try_from(values.checked_mul(8)?).ok()?,
        })
    }
}

/// What a page header declares about its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeclaredPage {
    pub header_bytes: usize,
    pub compressed_bytes: i64,
    pub uncompressed_bytes: i64,
    pub kind: PageKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    Dictionary {
        values: i64,
    },
    Data {
        /// Bytes of levels before the compressed part. The first version of pages compresses them
        /// too.
        plain_bytes: i64,
        is_compressed: bool,
    },
}

impl DeclaredPage {
    /// Reads the header at the start of `bytes`. `None` if the header is missing or cut.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = CompactReader::new(bytes);
        let page = PageHeader::read(&mut fields)?;
        // A page of two kinds is ambiguous.
        if page.kinds > 1 {
            return None;
        }
        let level_bytes = page.data.as_ref().map_or([0; 2], |data| data.level_bytes);
        Some(Self {
            header_bytes: bytes.len() - fields.rest().len(),
            compressed_bytes: page.compressed_bytes?,
            uncompressed_bytes: page.uncompressed_bytes?,
            kind: match page.dictionary {
                Some(Dictionary { values, .. }) => PageKind::Dictionary { values: values? },
                None => PageKind::Data {
                    plain_bytes: level_bytes[0].checked_add(level_bytes[1])?,
                    is_compressed: page.data.is_none_or(|data| !data.is_plain),
                },
            },
        })
    }
}

/// The fields of a page header that matter here.
#[derive(Default)]
pub(super) struct PageHeader {
    uncompressed_bytes: Option<i64>,
    pub compressed_bytes: Option<i64>,
    has_checksum: bool,
    /// Number of page kinds that the header describes; valid is one.
    kinds: usize,
    /// `None` for other pages than dictionaries.
    dictionary: Option<Dictionary>,
    /// `None` for a page without rows, such as a dictionary.
    pub data: Option<DataPage>,
}

#[derive(Default)]
struct Dictionary {
    values: Option<i64>,
    is_plain: bool,
}

#[derive(Default)]
pub(super) struct DataPage {
    rows: Option<i64>,
    nulls: Option<i64>,
    min: Option<i64>,
    max: Option<i64>,
    /// Bytes of the levels that are never compressed: definition and repetition.
    level_bytes: [i64; 2],
    /// Whether the page is not compressed, even in a compressed column.
    is_plain: bool,
}

impl PageHeader {
    pub fn read(fields: &mut CompactReader<'_>) -> Option<Self> {
        let mut page = Self::default();
        fields.each(|fields, id, kind| {
            page.kinds += usize::from(matches!(id, 5 | 7 | 8));
            match (id, kind) {
                (2, Kind::Integer) => page.uncompressed_bytes = Some(fields.integer()?),
                (3, Kind::Integer) => page.compressed_bytes = Some(fields.integer()?),
                (4, Kind::Integer) => {
                    fields.integer()?;
                    page.has_checksum = true;
                }
                (7, Kind::Struct) => page.dictionary = Some(Dictionary::read(fields)?),
                // The two versions of data pages have their statistics in different fields.
                (5, Kind::Struct) => page.data = Some(DataPage::read(fields, 5)?),
                (8, Kind::Struct) => {
                    page.data = Some(DataPage::read(fields, STATISTICS_OF_VERSION_2)?);
                }
                _ => fields.skip(kind)?,
            }
            Some(())
        })?;
        Some(page)
    }
}

impl Dictionary {
    fn read(fields: &mut CompactReader<'_>) -> Option<Self> {
        // The plain encoding, and an older one for plain dictionaries.
        const PLAIN: [i64; 2] = [0, 2];
        let mut dictionary = Self::default();
        fields.each(|fields, id, kind| {
            match (id, kind) {
                (1, Kind::Integer) => dictionary.values = Some(fields.integer()?),
                (2, Kind::Integer) => dictionary.is_plain = PLAIN.contains(&fields.integer()?),
                _ => fields.skip(kind)?,
            }
            Some(())
        })?;
        Some(dictionary)
    }
}

impl DataPage {
    fn read(fields: &mut CompactReader<'_>, statistics: i16) -> Option<Self> {
        let mut page = Self::default();
        let has_version_2 = statistics == STATISTICS_OF_VERSION_2;
        fields.each(|fields, id, kind| {
            match (id, kind) {
                (1, Kind::Integer) => page.rows = Some(fields.integer()?),
                (5, Kind::Integer) if has_version_2 => page.level_bytes[0] = fields.integer()?,
                (6, Kind::Integer) if has_version_2 => page.level_bytes[1] = fields.integer()?,
                (7, Kind::Boolean(is_compressed)) if has_version_2 => {
                    page.is_plain = !is_compressed;
                }
                (_, Kind::Struct) if id == statistics => page.read_statistics(fields)?,
                _ => fields.skip(kind)?,
            }
            Some(())
        })?;
        Some(page)
    }

    fn read_statistics(&mut self, fields: &mut CompactReader<'_>) -> Option<()> {
        fields.each(|fields, id, kind| {
            match (id, kind) {
                (3, Kind::Integer) => self.nulls = Some(fields.integer()?),
                (5, Kind::Bytes) => self.max = little_endian(fields.bytes()?),
                (6, Kind::Bytes) => self.min = little_endian(fields.bytes()?),
                _ => fields.skip(kind)?,
            }
            Some(())
        })
    }

    pub fn bounds(&self) -> Option<StoredBounds> {
        let (min, max) = (self.min?, self.max?);
        (self.nulls == Some(0) && min <= max).then_some(StoredBounds {
            rows: usize::try_from(self.rows?).ok()?,
            min,
            max,
        })
    }
}

fn little_endian(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        4 => Some(i64::from(i32::from_le_bytes(bytes.try_into().ok()?))),
        8 => Some(i64::from_le_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A version 1 data page of 20,000 rows between -1 and 2, then the page's own bytes.
    const HEADER: &[u8] = &[
        0x15, 0x00, // type: data page
        0x15, 0x80, 0x01, // 64 bytes uncompressed
        0x15, 0x40, // 32 bytes compressed
        0x2c, // data page header
        0x15, 0xc0, 0xb8, 0x02, // 20,000 values
        0x15, 0x00, 0x15, 0x06, 0x15, 0x06, // encodings
        0x1c, // statistics
        0x36, 0x00, // no nulls
        0x28, 0x08, 2, 0, 0, 0, 0, 0, 0, 0, // max_value
        0x18, 0x08, 255, 255, 255, 255, 255, 255, 255, 255, // min_value
        0x00, 0x00, 0x00, // the three structs end
        9, 9, 9,
    ];

    #[test]
    fn rows_and_bounds_are_read_from_a_header() {
        let mut fields = CompactReader::new(HEADER);
        let page = PageHeader::read(&mut fields).expect("a header");
        assert_eq!(fields.rest(), [9, 9, 9]);
        assert_eq!(page.compressed_bytes, Some(32));
        let bounds = page.data.and_then(|data| data.bounds()).expect("bounds");
        assert_eq!((bounds.rows, bounds.min, bounds.max), (20_000, -1, 2));
    }

    proptest! {
        /// Any bytes are read to an end without a panic.
        #[test]
        fn damaged_headers_are_given_up(at in 0..HEADER.len(), byte: u8, len in 0..HEADER.len()) {
            let mut bytes = HEADER.to_vec();
            bytes[at] = byte;
            for bytes in [&bytes[..], &bytes[..len]] {
                if let Some(page) = PageHeader::read(&mut CompactReader::new(bytes)) {
                    let _ = page.data.map(|data| data.bounds());
                }
            }
        }
    }
}
