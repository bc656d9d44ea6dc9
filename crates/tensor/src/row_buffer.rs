//! Rows that are appended step after step: the keys and values of a text that is being generated.

use std::sync::Arc;

use device::{Buffer, DType, Device};

use crate::storage::Memory;
use crate::{Result, Shape, Tensor};

const OP: &str = "row_buffer";

/// A matrix on the device of the rows that come first, which grows at its end and shrinks at its front. Rows never change once they are there, so a view keeps its
/// values while others are appended behind it.
pub struct RowBuffer {
    memory: Arc<Memory>,
    columns: usize,
    /// First row that is left.
    start: usize,
    /// Row behind the last one.
    end: usize,
    /// Rows that the memory holds.
    capacity: usize,
}

impl RowBuffer {
    /// No rows of `columns` values each.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] without memory.
    pub fn new(columns: usize) -> Result<Self> {
        let memory = Memory::new(Buffer::scratch(Device::Cpu, DType::F32, 0)?);
        Ok(Self { memory, columns, start: 0, end: 0, capacity: 0 })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.end - self.start
    }

    /// Appends the rows of `x`, `[rows, columns]`. Memory grows by doubling.
    ///
    /// # Errors
    /// [`crate::TensorError::Shape`] for another number of columns, [`crate::TensorError::DType`] unless `x` is f32 on the CPU,
    /// [`crate::TensorError::OnHost`] on the CPU after rows on another device, [`crate::TensorError::Device`] without memory.
    pub fn push(&mut self, x: &Tensor) -> Result<()> {
        let (rows, columns) = x.matrix_shape(OP, "x")?;
        if columns != self.columns {
            return Err(x.unexpected(OP, "x", format!("[rows, {}]", self.columns)));
        }
        if self.end + rows > self.capacity {
            self.grow(x, rows)?;
        }
        self.memory.copy_at(self.end * columns, x, OP)?;
        self.end += rows;
        Ok(())
    }

    /// Forgets the first `rows` rows, or all if there are not so many.
    pub fn drop_front(&mut self, rows: usize) {
        self.start = self.end.min(self.start + rows);
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.drop_front(self.rows());
    }

    /// The rows that are there now: `[rows, columns]`, a constant.
    pub fn view(&self) -> Tensor {
        Tensor::constant_in(&self.memory, self.start * self.columns, Shape::from([self.rows(), self.columns]))
    }

    /// Moves the rows to memory like that of `x` with room for twice as many. Views of the old memory keep it.
    fn grow(&mut self, x: &Tensor, more: usize) -> Result<()> {
        const FEWEST: usize = 64;
        let capacity = (2 * (self.rows() + more)).max(FEWEST);
        let memory = Memory::new(Buffer::scratch(x.device(), x.compute_dtype(), capacity * self.columns)?);
        if self.rows() > 0 {
            memory.copy_at(0, &self.view(), OP)?;
        }
        (self.start, self.end) = (0, self.rows());
        self.memory = memory;
        self.capacity = capacity;
        Ok(())
    }
}

impl std::fmt::Debug for RowBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowBuffer({} x {})", self.rows(), self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(first: f32, count: usize) -> Tensor {
        let values: Vec<f32> = (0..2 * count).map(|i| first + i as f32).collect();
        Tensor::from_f32([count, 2], &values).unwrap()
    }

    #[test]
    fn views_keep_their_rows_while_others_come_and_go() {
        let mut buffer = RowBuffer::new(2).unwrap();
        assert_eq!(buffer.view().shape(), [0, 2]);
        buffer.push(&rows(0.0, 3)).unwrap();
        let view = buffer.view();
        buffer.drop_front(2);
        buffer.push(&rows(100.0, 1)).unwrap();
        assert_eq!(buffer.view().to_vec(), [4.0, 5.0, 100.0, 101.0]);
        buffer.push(&rows(1000.0, 200)).unwrap();
        assert_eq!(buffer.view().to_vec()[..6], [4.0, 5.0, 100.0, 101.0, 1000.0, 1001.0]);
        assert_eq!(view.to_vec(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        buffer.clear();
        assert_eq!(buffer.rows(), 0);
        assert!(buffer.push(&Tensor::from_f32([1, 3], &[0.0; 3]).unwrap()).is_err());
    }
}
