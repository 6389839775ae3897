//! Raw events -> `Observation`.
