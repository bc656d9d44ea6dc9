//! What a device can do at most.

/// Rates that no kernel exceeds.
#[derive(Clone, Copy, Debug)]
pub struct Roofline {
    /// Floating-point operations, where they are known.
    pub flops_per_s: Option<f64>,
    /// Bytes of a copy, those read and those written.
    pub bytes_per_s: f64,
}
