//! Logs of the suite's programs.

/// Logs to the standard error, as `RUST_LOG` says: the standard output is what a program tells its test.
pub fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
}
