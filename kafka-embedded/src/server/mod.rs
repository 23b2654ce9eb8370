//! Bytes in, bytes out.
//!
//! ```text
//! listener ──▶ connection ── frames ──▶ dispatch: header, version, decode ──▶ api::* ──▶ response ──▶ connection
//! ```

pub(crate) mod connection;
pub(crate) mod dispatch;
pub(crate) mod frames;
pub(crate) mod listener;
pub(crate) mod response;
