//! A connection that does nothing by itself.

pub(crate) use tests::Wire;
