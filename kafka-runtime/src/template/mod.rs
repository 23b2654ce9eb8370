//! Sending: a typed producer built from the configuration.
