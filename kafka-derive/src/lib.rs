//! The attribute `#[kafka_listener]`. Its reference is the documentation of `kafka_runtime::kafka_listener`.
//!
//! # Layout, in the order that tokens flow
//!
//! ```text
//! attr      the attribute's tokens -> settings (name, value), each with its place
//! ast       the item's tokens -> a function, its arguments told apart
//! settings  each setting by name, typed and checked
//! valid     settings and function -> a listener that can be registered, or everything that is wrong with them
//! text      what a literal may say: placeholders, topics, durations, numbers
//! nearest   the known name that an unknown one is closest to
//! expand    a listener -> the function as written, a hidden handler, a registered constant
//! ```

mod ast;
mod attr;
mod expand;
mod nearest;
mod settings;
mod text;
mod valid;

use proc_macro::TokenStream;

/// Makes an async function a Kafka listener. See `kafka_runtime::kafka_listener` for the reference.
#[proc_macro_attribute]
pub fn kafka_listener(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::kafka_listener(attribute.into(), item.into()).into()
}
