//! Weights of parameterized hypercomplex multiplication: sums of `n` Kronecker products of a rule and matrices of low rank.
//!
//! Sources: Zhang et al. 2021, "Beyond Fully-Connected Layers with Quaternions"; Mahabadi et al. 2021, "Compacter".
//!
//! ```text
//! W = (sum_i A_i (x) M_i)^T with M_i = L_i R_i:      W[b Q + q, a P + p] = sum_i A_i[a, b] M_i[p, q]
//! ```
//!
//! | argument | shape |
//! |---|---|
//! | `rule`, A | `[n, n, n]` |
//! | `left`, L | `[n, P, rank]` |
//! | `right`, R | `[n, rank, Q]` |
//! | `weight`, W | `[n Q, n P]` |
//!
//! Gradients, with the sums over the blocks of `dW`:
//!
//! ```text
//! dA_i[a, b] = sum_pq dW[b Q + q, a P + p] M_i[p, q]      dM_i[p, q] = sum_ab dW[b Q + q, a P + p] A_i[a, b]
//! dL_i = dM_i R_i^T                                       dR_i = L_i^T dM_i
//! ```
//!
//! All in f32. The functions here are the definition of the result, on slices; [`launch`] has kernels for them, on device
//! buffers.

#![deny(unsafe_code)]

mod backward;
mod error;
mod forward;
#[expect(unsafe_code, reason = "a launch takes addresses")]
pub mod launch;
mod shape;

pub use backward::{ProductGradients, grad_rule};
pub use error::PhmError;
pub use forward::{Factors, forward};
pub use shape::PhmShape;

/// A gradient to write: over what is there, or added to it.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// The memory; if `add` is not set, what it holds is never read.
    pub values: &'a mut [f32],
    /// Whether to add to `values`.
    pub add: bool,
}
