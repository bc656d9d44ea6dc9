//! Results for programs to read.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;

/// One benchmark's.
pub(crate) struct Result<'a> {
    pub(crate) device: &'a str,
    pub(crate) family: &'a str,
    pub(crate) case: &'a dyn Display,
    /// The median of an iteration.
    pub(crate) seconds: f64,
    pub(crate) rate: f64,
    pub(crate) unit: &'a str,
    /// The highest rate that the device can have, where it is known.
    pub(crate) peak: Option<f64>,
}

impl Result<'_> {
    /// Adds a line to the file that `TUNESMITH_BENCH_RESULTS` names, if it names one.
    pub(crate) fn write(&self) {
        let Some(path) = std::env::var_os("TUNESMITH_BENCH_RESULTS") else { return };
        let line = serde_json::json!({
            "program": "tunesmith",
            "device": self.device,
            "family": self.family,
            "case": self.case.to_string(),
            "microseconds": 1e6 * self.seconds,
            "rate": self.rate,
            "unit": self.unit,
            "share_of_roofline": self.peak.map(|peak| self.rate / peak),
        });
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
