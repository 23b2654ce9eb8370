//! Tests of the whole module: against Java's bytes, and against any bytes.

mod properties;
mod vectors;
