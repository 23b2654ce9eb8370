//! Kafka's variable-length integers: zigzag, seven bits a byte, low bits first.

use super::Flaw;

const LONGEST_32: usize = 5;
const LONGEST_64: usize = 10;

/// Takes a varint (at most 5 bytes) off the front.
#[inline]
pub(super) fn read_i32(bytes: &mut &[u8]) -> Result<i32, Flaw> {
    // The fifth byte has bits beyond the 32nd: dropped, as Java drops them.
    let raw = read_raw::<LONGEST_32>(bytes)? as u32;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Takes a varlong (at most 10 bytes) off the front.
#[inline]
pub(super) fn read_i64(bytes: &mut &[u8]) -> Result<i64, Flaw> {
    let raw = read_raw::<LONGEST_64>(bytes)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// One and two bytes hold nearly every number of a record: those inline, the rest out of line.
#[inline]
fn read_raw<const LONGEST: usize>(bytes: &mut &[u8]) -> Result<u64, Flaw> {
    match **bytes {
        [a, ref rest @ ..] if a < 0x80 => {
            *bytes = rest;
            Ok(u64::from(a))
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *bytes = rest;
            Ok(u64::from(a & 0x7f) | u64::from(b) << 7)
        }
        _ => read_long::<LONGEST>(bytes),
    }
}

#[inline(never)]
fn read_long<const LONGEST: usize>(bytes: &mut &[u8]) -> Result<u64, Flaw> {
    let mut value = 0;
    for (place, &byte) in bytes.iter().take(LONGEST).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            *bytes = bytes.get(place + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(if bytes.len() < LONGEST { Flaw("a number cut off") } else { Flaw("a number of too many bytes") })
}

/// Appends a number; 32-bit numbers have the same encoding.
#[inline]
pub(super) fn write(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// How many bytes [`write`] appends.
#[inline]
pub(super) fn length(value: i64) -> usize {
    let bits = u64::BITS - (zigzag(value) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of every length, not only those near the ends of the range.
    fn any_magnitude() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0..64u32).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any_magnitude(), after in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            write(&mut out, value);
            prop_assert_eq!(out.len(), length(value));
            out.extend(&after);
            let mut rest = out.as_slice();
            prop_assert_eq!(read_i64(&mut rest), Ok(value));
            prop_assert_eq!(rest, after.as_slice());
            if let Ok(small) = i32::try_from(value) {
                let mut rest = out.as_slice();
                prop_assert_eq!(read_i32(&mut rest), Ok(small));
                prop_assert_eq!(rest, after.as_slice());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() && read_i32(&mut rest).is_ok() {}
            let mut rest = bytes.as_slice();
            while !rest.is_empty() && read_i64(&mut rest).is_ok() {}
        }
    }

    #[test]
    fn the_edges() {
        for (value, expected) in [(0, 1), (-1, 1), (63, 1), (-64, 1), (64, 2), (-65, 2), (8191, 2), (8192, 3)]
        {
            assert_eq!(length(value), expected, "{value}");
        }
        assert_eq!(length(i64::from(i32::MIN)), 5);
        assert_eq!(length(i64::MIN), 10);
        assert_eq!(read_i32(&mut [0x80; 4].as_slice()), Err(Flaw("a number cut off")));
        assert_eq!(read_i32(&mut [0x80; 5].as_slice()), Err(Flaw("a number of too many bytes")));
        assert_eq!(read_i64(&mut [0xff; 9].as_slice()), Err(Flaw("a number cut off")));
        assert_eq!(read_i64(&mut [0xff; 11].as_slice()), Err(Flaw("a number of too many bytes")));
        assert_eq!(read_i32(&mut [].as_slice()), Err(Flaw("a number cut off")));
    }
}
