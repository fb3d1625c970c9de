//! Decodes Thrift's compact protocol, as needed for Parquet headers and footers. Returns `None` for
//! truncated or invalid input. Reserves no memory for declared sizes, and limits the nesting.

use super::varint;

/// Maximum nesting of structs and lists; a footer has six levels.
const DEPTH_MAX: usize = 16;

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A field stores the value in its kind; a list element stores it in a byte.
    Boolean(bool),
    Byte,
    /// An integer of 16, 32 or 64 bits; all have the same encoding.
    Integer,
    Double,
    Bytes,
    List,
    Struct,
    Unknown,
}

impl Kind {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::Boolean(true),
            2 => Self::Boolean(false),
            3 => Self::Byte,
            4..=6 => Self::Integer,
            7 => Self::Double,
            8 => Self::Bytes,
            9 | 10 => Self::List,
            12 => Self::Struct,
            _ => Self::Unknown,
        }
    }
}

/// The bytes still to be read. Methods return `None` if they end too early or are invalid.
pub(super) struct CompactReader<'a> {
    bytes: &'a [u8],
    depth: usize,
}

impl<'a> CompactReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, depth: 0 }
    }

    /// The unread bytes.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads the fields of a struct; `field` must read or skip each value.
    pub fn each(
        &mut self,
        mut field: impl FnMut(&mut Self, i16, Kind) -> Option<()>,
    ) -> Option<()> {
        self.deeper()?;
        let mut id = 0_i16;
        loop {
            let head = self.byte()?;
            if head & 0x0f == 0 {
                self.depth -= 1;
                return Some(());
            }
            id = match head >> 4 {
                0 => i16::try_from(self.integer()?).ok()?,
                delta => id.checked_add(i16::from(delta))?,
            };
            field(self, id, Kind::of(head & 0x0f))?;
        }
    }

    /// Reads the elements of a list; `element` must read or skip each one, and gets the number of
    /// those after it.
    pub fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self, Kind, u64) -> Option<()>,
    ) -> Option<()> {
        self.deeper()?;
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.unsigned()?,
            few => u64::from(few),
        };
        for after in (0..count).rev() {
            element(self, Kind::of(head & 0x0f), after)?;
        }
        self.depth -= 1;
        Some(())
    }

    pub fn skip(&mut self, kind: Kind) -> Option<()> {
        match kind {
            Kind::Boolean(_) => {}
            Kind::Byte => drop(self.byte()?),
            Kind::Integer => drop(self.integer()?),
            Kind::Double => drop(self.take(8)?),
            Kind::Bytes => drop(self.bytes()?),
            Kind::List => self.elements(|fields, kind, _| match kind {
                Kind::Boolean(_) => fields.byte().map(drop),
                _ => fields.skip(kind),
            })?,
            Kind::Struct => self.each(|fields, _, kind| fields.skip(kind))?,
            Kind::Unknown => return None,
        }
        Some(())
    }

    /// A variable-length integer with the sign in its lowest bit.
    pub fn integer(&mut self) -> Option<i64> {
        let raw = self.unsigned()?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.unsigned()?).ok()?;
        self.take(len)
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEPTH_MAX).then_some(())
    }

    fn unsigned(&mut self) -> Option<u64> {
        varint::unsigned(64, || self.byte())
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.bytes.split_at_checked(len)?;
        self.bytes = left;
        Some(taken)
    }
}
