//! Configuration: Spring's `application.yml`, read as Spring Boot reads it, every value with its source, every
//! mistake reported at once.

mod names;
mod origin;
mod placeholder;
mod problems;
mod profile;
mod random;
mod scalar;
mod secrets;
mod settings;
mod source;
mod value;
mod yaml;

pub use settings::*;
