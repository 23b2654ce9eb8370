//! `${random.uuid}`, `${random.value}`, `${random.int}`, `${random.long}`, also with `(max)` or `[min,max]`.

use kafka_client::seams::Rng;

/// The value that `random.<what>` has this time.
pub(crate) fn value(what: &str, rng: &Rng) -> Option<String> {
    match what {
        "uuid" => Some(uuid(rng)),
        "int" => Some((rng.next_u64() as i32).to_string()),
        "long" => Some((rng.next_u64() as i64).to_string()),
        "value" => Some(format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64())),
        ranged => {
            let range = ranged.strip_prefix("int").or_else(|| ranged.strip_prefix("long"))?;
            between(range, rng).map(|value| value.to_string())
        }
    }
}

/// A number in the range `(max)` or `(min,max)`, in round or square brackets; `max` is excluded.
fn between(range: &str, rng: &Rng) -> Option<i64> {
    let inside = range
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .or_else(|| range.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')))?;
    let (low, high) = inside.split_once(',').unwrap_or(("0", inside));
    let (low, high): (i64, i64) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    let width =
        high.checked_sub(low).and_then(|width| u64::try_from(width).ok()).filter(|width| *width > 0)?;
    low.checked_add_unsigned(rng.below(width))
}

/// A version 4 UUID.
fn uuid(rng: &Rng) -> String {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xFFFF,
        high & 0xFFF,
        0x8000 | ((low >> 48) & 0x3FFF),
        low & 0xFFFF_FFFF_FFFF,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_form() {
        let rng = Rng::seeded(7);
        let uuid = value("uuid", &rng).unwrap();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert_eq!(value("value", &rng).unwrap().len(), 32);
        for _ in 0..100 {
            let number: i64 = value("int[1024,65536]", &rng).unwrap().parse().unwrap();
            assert!((1024..65536).contains(&number));
            assert_eq!(value("long(1)", &rng).unwrap(), "0");
        }
        for bad in [
            "",
            "int(",
            "int(0)",
            "int(5,1)",
            "float",
            "long[a,b]",
            "int[-9223372036854775808,9223372036854775807]",
        ] {
            assert_eq!(value(bad, &rng), None, "{bad}");
        }
    }
}
