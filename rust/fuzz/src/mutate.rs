//! Mutates inputs without breaking the frame of a file, so that the code behind it is reached.
//! libFuzzer's own mutations move later bytes, which makes every offset in a footer wrong.

/// The end of Parquet and Arrow files: the footer length, then these bytes.
const TRAILERS: [&[u8]; 2] = [b"PAR1", b"ARROW1"];

const LENGTH_BYTES: usize = 4;

/// Maximum number of bytes to change in place.
const WINDOW_BYTES_MAX: usize = 48;

/// Changes the first `size` bytes of `data` in one of three ways; returns their new number. `any`
/// is libFuzzer's own mutation, with the same arguments.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    any: impl Fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    if size > max_size {
        // The caller wants a smaller input.
        return any(data, size, max_size);
    }
    let choice = seed >> 8;
    match seed % 4 {
        0 if size > LENGTH_BYTES => window(data, size, choice as usize, any),
        1 => footer(data, size, max_size, &any).unwrap_or_else(|| any(data, size, max_size)),
        _ => any(data, size, max_size),
    }
}

/// Changes a few bytes without moving any.
fn window(
    data: &mut [u8],
    size: usize,
    choice: usize,
    any: impl Fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let start = choice % size;
    let length = (1 + choice / size % WINDOW_BYTES_MAX).min(size - start);
    let window = &mut data[start..start + length];
    any(window, length, length);
    size
}

/// Changes a footer, and corrects its length in the file.
fn footer(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    any: impl Fn(&mut [u8], usize, usize) -> usize,
) -> Option<usize> {
    let magic = TRAILERS
        .into_iter()
        .find(|magic| data[..size].ends_with(magic))?;
    let end = size.checked_sub(magic.len() + LENGTH_BYTES)?;
    let said = data[end..].first_chunk::<LENGTH_BYTES>()?;
    let length = u32::from_le_bytes(*said) as usize;
    let start = end.checked_sub(length)?;
    let trailer = magic.len() + LENGTH_BYTES;
    let room = max_size.checked_sub(start + trailer)?;
    if room == 0 {
        return None;
    }
    let mut bytes = data[start..end].to_vec();
    bytes.resize(room.max(length), 0);
    let length = any(&mut bytes, length, room);
    let end = start + length;
    data[start..end].copy_from_slice(&bytes[..length]);
    data[end..][..LENGTH_BYTES].copy_from_slice(&(length as u32).to_le_bytes());
    data[end + LENGTH_BYTES..][..magic.len()].copy_from_slice(magic);
    Some(end + trailer)
}
