//! How batches are compressed: codecs, and their levels (KIP-390).

use std::fmt;
use std::ops::RangeInclusive;

/// `compression.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Compression {
    /// `none` **(default)**
    #[default]
    None,
    /// `gzip`
    Gzip,
    /// `snappy` (xerial framing, as the Java client writes it)
    Snappy,
    /// `lz4` (frame format)
    Lz4,
    /// `zstd`, Kafka 2.1 and later
    Zstd,
}

/// What zstd's encoder has: the C library's levels, or the one of the encoder in pure Rust.
const ZSTD_ENCODER: RangeInclusive<i32> = if cfg!(feature = "zstd-c") { ZSTD_LEVELS } else { 1..=1 };
const ZSTD_LEVELS: RangeInclusive<i32> = -131_072..=22;

impl Compression {
    /// Kafka's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The levels that Kafka has for it, from fast to small; `None` where it has none.
    #[must_use]
    pub const fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some(1..=9),
            Self::Lz4 => Some(1..=17),
            Self::Zstd => Some(ZSTD_LEVELS),
        }
    }

    /// Those of them that this build's encoder has: for gzip all; for lz4 9 alone, Kafka's default, which is the fast
    /// one there too; for zstd all with the feature `zstd-c`, without it 1 alone.
    #[must_use]
    pub const fn encoder_levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Self::Lz4 => Some(9..=9),
            Self::Zstd => Some(ZSTD_ENCODER),
            _ => self.levels(),
        }
    }

    /// The codec at a level: of gzip 1 to 9 (6 is usual), of lz4 1 to 17 (9), of zstd -131072 to 22 (3, without `zstd-c`
    /// 1), as far as this build's encoder [has it](Self::encoder_levels). -1 is gzip's usual level, as in Kafka.
    ///
    /// # Errors
    /// There is no such level, or the encoder does not have it.
    pub fn at_level(self, level: i32) -> Result<Packing, LevelError> {
        if (self, level) == (Self::Gzip, -1) {
            return Ok(self.into());
        }
        match (self.levels(), self.encoder_levels()) {
            (Some(levels), _) if !levels.contains(&level) => Err(LevelError::OutOfRange {
                codec: self,
                level,
                least: *levels.start(),
                most: *levels.end(),
            }),
            (Some(_), Some(has)) if has.contains(&level) => Ok(Packing { codec: self, level: Some(level) }),
            (Some(_), Some(has)) => Err(LevelError::NotBuiltIn { codec: self, level, has: *has.end() }),
            _ => Err(LevelError::NoLevels { codec: self }),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a codec cannot compress at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelError {
    /// It has none.
    #[error("{codec} has no levels")]
    NoLevels {
        /// The codec.
        codec: Compression,
    },
    /// It has no such level.
    #[error("{level} is no level of {codec}: there are {least} to {most}")]
    OutOfRange {
        /// The codec.
        codec: Compression,
        /// The level that was asked for.
        level: i32,
        /// The fastest.
        least: i32,
        /// The one that makes the smallest batches.
        most: i32,
    },
    /// Kafka has the level, and this build's encoder does not.
    #[error(
        "{codec} has no level {level} here: the encoder in pure Rust has {has} only. Leave the level out{}",
        other_encoder(*.codec)
    )]
    NotBuiltIn {
        /// The codec.
        codec: Compression,
        /// The level that was asked for.
        level: i32,
        /// The encoder's only one.
        has: i32,
    },
}

fn other_encoder(codec: Compression) -> &'static str {
    match codec {
        Compression::Zstd => ", or build with the feature `zstd-c`, which brings the C library",
        _ => "",
    }
}

/// How batches are compressed: a codec, at its usual level unless one is [said](Compression::at_level).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packing {
    codec: Compression,
    level: Option<i32>,
}

impl Packing {
    /// The codec.
    #[must_use]
    pub const fn codec(self) -> Compression {
        self.codec
    }

    /// The level, if one was said.
    #[must_use]
    pub const fn level(self) -> Option<i32> {
        self.level
    }
}

impl From<Compression> for Packing {
    fn from(codec: Compression) -> Self {
        Self { codec, level: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_that_kafka_has_and_the_encoder_too() {
        use Compression::{Gzip, Lz4, None, Snappy, Zstd};
        assert_eq!(Gzip.at_level(9).unwrap().level(), Some(9));
        assert_eq!(Gzip.at_level(-1).unwrap(), Packing::from(Gzip));
        assert_eq!(Lz4.at_level(9).unwrap().level(), Some(9));
        assert_eq!(Zstd.at_level(1).unwrap().level(), Some(1));
        for (codec, level, least, most) in [
            (Gzip, 0, 1, 9),
            (Gzip, 10, 1, 9),
            (Lz4, 0, 1, 17),
            (Lz4, 18, 1, 17),
            (Zstd, 23, -131_072, 22),
            (Zstd, -131_073, -131_072, 22),
        ] {
            let error = codec.at_level(level).unwrap_err();
            assert_eq!(error, LevelError::OutOfRange { codec, level, least, most });
        }
        let high = Lz4.at_level(12).unwrap_err();
        assert_eq!(high, LevelError::NotBuiltIn { codec: Lz4, level: 12, has: 9 });
        for codec in [None, Snappy] {
            assert_eq!(codec.at_level(1), Err(LevelError::NoLevels { codec }));
        }
    }

    #[test]
    fn zstd_has_its_higher_levels_by_the_c_library() {
        let high = Compression::Zstd.at_level(19);
        match cfg!(feature = "zstd-c") {
            true => assert_eq!(high.unwrap().level(), Some(19)),
            false => {
                let told = high.unwrap_err().to_string();
                assert!(told.contains("has 1 only") && told.contains("`zstd-c`"), "{told}");
            }
        }
    }
}
