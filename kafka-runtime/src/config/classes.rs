//! Java's (de)serializer classes. The handler's types say what is decoded; the class says only whether they can.

const KAFKA: &str = "org.apache.kafka.common.serialization.";
const SPRING: &str = "org.springframework.kafka.support.serializer.";

/// The packages and stems of classes whose format is known here, without `Serializer` or `Deserializer`.
const KNOWN: &[(&str, &str, &str)] = &[
    (KAFKA, "String", "text"),
    (KAFKA, "ByteArray", "bytes"),
    (KAFKA, "ByteBuffer", "bytes"),
    (KAFKA, "Bytes", "bytes"),
    (SPRING, "Json", "JSON"),
    (SPRING, "JacksonJson", "JSON"),
];

/// The format that a serializer writes.
pub(crate) fn serializer(class: &str) -> Result<&'static str, String> {
    match class.strip_prefix(SPRING) {
        Some("StringOrBytesSerializer") => Ok("text or bytes"),
        _ => known(class, "Serializer"),
    }
}

/// The format that a deserializer reads.
pub(crate) fn deserializer(class: &str) -> Result<&'static str, String> {
    match class.strip_prefix(SPRING) {
        // It hands on to another, which its own property names.
        Some("ErrorHandlingDeserializer") => Ok("as its delegate"),
        _ => known(class, "Deserializer"),
    }
}

fn known(class: &str, suffix: &str) -> Result<&'static str, String> {
    let wanted = class.trim();
    let found = KNOWN.iter().find(|(package, stem, _)| {
        wanted.strip_prefix(package).and_then(|name| name.strip_suffix(suffix)) == Some(*stem)
    });
    found.map(|(_, _, format)| *format).ok_or_else(|| {
        let names: Vec<_> =
            KNOWN.iter().map(|(package, stem, _)| format!("{package}{stem}{suffix}")).collect();
        format!("is no {} known here; known are {}", suffix.to_lowercase(), names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_bytes_and_json_are_known() {
        assert_eq!(serializer("org.apache.kafka.common.serialization.StringSerializer"), Ok("text"));
        assert_eq!(deserializer("org.apache.kafka.common.serialization.ByteArrayDeserializer"), Ok("bytes"));
        assert_eq!(deserializer("org.springframework.kafka.support.serializer.JsonDeserializer"), Ok("JSON"));
        assert!(
            deserializer("org.springframework.kafka.support.serializer.ErrorHandlingDeserializer").is_ok()
        );
    }

    #[test]
    fn others_are_not_nor_a_serializer_where_a_deserializer_belongs() {
        for class in [
            "io.confluent.kafka.serializers.KafkaAvroDeserializer",
            "org.apache.kafka.common.serialization.LongDeserializer",
            "org.apache.kafka.common.serialization.StringSerializer",
            "StringDeserializer",
        ] {
            let error = deserializer(class).unwrap_err();
            assert!(error.contains("org.apache.kafka.common.serialization.StringDeserializer"), "{class}");
        }
    }
}
