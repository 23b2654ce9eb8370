//! Configuration: Spring's `application.yml`, read as Spring Boot reads it, every value with its source, every
//! mistake reported at once.

mod settings;

pub use settings::*;
