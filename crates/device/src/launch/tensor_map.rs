//! Matrices as Hopper's tensor memory accelerator sees them.

/// A descriptor, as a kernel's parameters hold it: opaque on a GPU.
pub type TensorMap = [u64; 16];

/// A row-major matrix of bf16 that is copied in boxes of 64 columns, 128 bytes, whose 16-byte pieces trade places by an
/// exclusive or with the row (the 128-byte swizzle). What a box covers beyond the matrix is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TiledMatrix {
    /// Rows of the matrix, at least 1.
    pub rows: usize,
    /// Columns of the matrix, at least 1.
    pub cols: usize,
    /// Elements from row to row, a multiple of 8.
    pub row_stride: usize,
    /// Rows of a box, at most 256.
    pub box_rows: u32,
}

impl TiledMatrix {
    /// Columns of a box.
    pub const BOX_COLS: u32 = 64;

    /// Bytes from row to row, as a descriptor has them: rows may not overlap, even where there is only one.
    pub(super) fn stride_bytes(&self) -> u64 {
        2 * if self.rows == 1 { self.cols.next_multiple_of(8) } else { self.row_stride } as u64
    }

    /// Whether the accelerator can read the matrix at `address`: rows begin at multiples of 16 bytes, and sizes fit 32 bits.
    pub fn is_readable(&self, address: u64) -> bool {
        let sizes = [self.rows, self.cols].iter().all(|&size| (1..=1 << 31).contains(&size));
        sizes && address.is_multiple_of(16) && self.row_stride.is_multiple_of(8) && self.row_stride < 1 << 38
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_alone_is_as_far_from_the_next_as_it_is_long() {
        let matrix = TiledMatrix { rows: 2, cols: 20, row_stride: 32, box_rows: 64 };
        assert_eq!(matrix.stride_bytes(), 64);
        assert_eq!(TiledMatrix { rows: 1, row_stride: 8, ..matrix }.stride_bytes(), 48);
    }
}
