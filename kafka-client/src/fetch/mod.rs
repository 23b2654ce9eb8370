//! Fetching: one loop per broker, incremental sessions, a bounded prefetch.
