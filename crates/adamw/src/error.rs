//! What can be wrong with the arguments of a step.

/// Errors of an optimizer step. Nothing has been changed when one is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdamWError {
    /// A buffer is not as long as the parameters.
    #[error("adamw: `{argument}` holds {got} elements, expected {expected}, one for each parameter")]
    Length {
        /// The buffer.
        argument: &'static str,
        /// Parameters there are.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// The groups do not cover the parameters one after another.
    #[error(
        "adamw: group {index} starts at {start} and ends at {end}; expected a start at {expected} and an end within {parameters}"
    )]
    Group {
        /// Which group.
        index: usize,
        /// Its first parameter.
        start: usize,
        /// After its last one.
        end: usize,
        /// Where the group before it ends.
        expected: usize,
        /// Parameters there are.
        parameters: usize,
    },
    /// Parameters after the last group.
    #[error("adamw: the groups end at {end}, expected them to cover all {parameters} parameters")]
    Uncovered {
        /// Where the last group ends.
        end: usize,
        /// Parameters there are.
        parameters: usize,
    },
    /// A constant outside the range in which the method is defined.
    #[error("adamw: `{name}` is {value}, expected {expected}")]
    Constant {
        /// The constant.
        name: &'static str,
        /// As given.
        value: f64,
        /// The range.
        expected: &'static str,
    },
    /// A launch or its memory failed.
    #[error("adamw: {0}")]
    Device(#[from] device::DeviceError),
}
