//! Where there are no tiles.

use crate::pieces::TileProduct;

/// Proof of what is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Amx {}

impl Amx {
    pub(super) fn detect() -> Option<Self> {
        None
    }

    /// Never called.
    pub(crate) fn session(self) -> TileSession {
        TileSession(self)
    }
}

/// What never begins.
pub(crate) struct TileSession(Amx);

impl TileSession {
    /// Never called.
    pub(crate) fn multiply<const PIECES: usize>(&self, product: TileProduct<'_, PIECES>) {
        product.check();
        match self.0 {}
    }
}
