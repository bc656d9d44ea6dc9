//! Generations of GPUs that kernels are written for.

/// What a kernel may use. A kernel for one generation runs on it and, but for [`Architecture::Hopper`]'s, on later ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// Compute capability 8.0 and up: `mma.sync`, `ldmatrix`, `cp.async`.
    #[default]
    Ampere,
    /// Compute capability 9.0: also `wgmma`, the tensor memory accelerator and its barriers.
    Hopper,
}

impl Architecture {
    /// That of a GPU.
    pub(super) fn of(compute_capability: (i32, i32)) -> Self {
        // `wgmma` belongs to 9.0 alone.
        if compute_capability == (9, 0) { Architecture::Hopper } else { Architecture::Ampere }
    }

    /// As users name it.
    pub const fn name(self) -> &'static str {
        match self {
            Architecture::Ampere => "ampere",
            Architecture::Hopper => "hopper",
        }
    }

    /// Shared memory that a block can have: 163 KiB on an A100, 227 on an H100.
    pub const fn max_shared_bytes(self) -> u32 {
        match self {
            Architecture::Ampere => 163 << 10,
            Architecture::Hopper => 227 << 10,
        }
    }
}
