//! Reads integers of variable length, as Thrift, Snappy and run lengths write them.

/// Reads an unsigned integer: seven bits a byte, the lowest first. `next` gives the next byte.
/// `None` if the bytes end before it, or it has more than `bits` bits.
pub(super) fn unsigned(bits: u32, mut next: impl FnMut() -> Option<u8>) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..bits).step_by(7) {
        let byte = next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_bits_of_each_byte_count() {
        let read = |bits, bytes: &[u8]| {
            let mut bytes = bytes.iter().copied();
            unsigned(bits, || bytes.next())
        };
        assert_eq!(read(64, &[0x05]), Some(5));
        assert_eq!(read(64, &[0xac, 0x02, 9]), Some(300));
        assert_eq!(read(64, &[0x80]), None);
        assert_eq!(read(35, &[0xff; 9]), None);
        let all = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(64, &all), Some(u64::MAX));
    }
}
