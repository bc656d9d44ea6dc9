//! Rows that are appended step after step: the keys and values of texts that are being generated.

use std::ops::Range;
use std::sync::Arc;

use device::{Buffer, DType, Device};

use crate::storage::Memory;
use crate::{Result, Shape, Tensor, ops};

const OP: &str = "row_buffers";
/// Rows that a part has room for at least.
const FEWEST_ROWS: usize = 64;

/// Matrices of as many columns in one memory, on the device of the rows that come first. Each grows at its end and shrinks at
/// its front, and there may be room between one and the next, so that a row is appended to one without moving the others. Rows
/// never change until their matrix is cleared, so a view keeps its values while others are appended behind them.
pub struct RowBuffers {
    memory: Arc<Memory>,
    columns: usize,
    parts: Vec<Part>,
}

/// Where the rows of one matrix are in the memory.
#[derive(Clone, Copy, Default)]
struct Part {
    /// First row that it may use.
    place: usize,
    /// First row that is left.
    start: usize,
    /// Row behind the last one.
    end: usize,
    /// Row behind the last one that it may use.
    limit: usize,
}

impl RowBuffers {
    /// No matrices, of `columns` values a row.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] without memory.
    pub fn new(columns: usize) -> Result<Self> {
        let memory = Memory::new(Buffer::scratch(Device::Cpu, DType::F32, 0)?);
        Ok(Self { memory, columns, parts: Vec::new() })
    }

    /// Adds empty matrices until there are `parts`.
    pub fn add_up_to(&mut self, parts: usize) {
        let end = self.parts.last().map_or(0, |last| last.limit);
        let empty = Part { place: end, start: end, end, limit: end };
        self.parts.resize(parts.max(self.parts.len()), empty);
    }

    /// Number of rows of matrix `part`.
    ///
    /// # Panics
    /// If there is no such matrix, as slicing does.
    pub fn rows(&self, part: usize) -> usize {
        self.parts[part].end - self.parts[part].start
    }

    /// Whether no matrix has a row.
    pub fn is_empty(&self) -> bool {
        (0..self.parts.len()).all(|part| self.rows(part) == 0)
    }

    /// Appends rows to several matrices. `x`, `[rows, columns]`, holds those of each after the other, and `counts` which matrix
    /// they are for and how many they are. Memory grows by doubling.
    ///
    /// # Errors
    /// [`crate::TensorError::Shape`] for other sizes than these, [`crate::TensorError::DType`] unless `x` is f32 on the CPU,
    /// [`crate::TensorError::OnHost`] on the CPU after rows on another device, [`crate::TensorError::Device`] without memory.
    ///
    /// # Panics
    /// If there is no such matrix, as slicing does.
    pub fn push(&mut self, x: &Tensor, counts: &[(usize, usize)]) -> Result<()> {
        let expected = [counts.iter().map(|(_, rows)| rows).sum(), self.columns];
        if x.shape() != expected {
            return Err(x.unexpected(OP, "x", format!("{expected:?}")));
        }
        if counts.iter().any(|&(part, rows)| self.parts[part].end + rows > self.parts[part].limit) {
            self.grow(x, counts)?;
        }
        let mut first = 0;
        for &(part, rows) in counts {
            let part = &mut self.parts[part];
            let new = ops::slice_rows(&x.detach(), first..first + rows)?;
            self.memory.copy_at(part.end * self.columns, &new, OP)?;
            part.end += rows;
            first += rows;
        }
        Ok(())
    }

    /// Forgets the first `rows` rows of matrix `part`, or all if there are not so many.
    ///
    /// # Panics
    /// If there is no such matrix, as slicing does.
    pub fn drop_front(&mut self, part: usize, rows: usize) {
        let part = &mut self.parts[part];
        part.start = part.end.min(part.start + rows);
    }

    /// Forgets all rows of matrix `part`. Others will take their place, in views of them too.
    ///
    /// # Panics
    /// If there is no such matrix, as slicing does.
    pub fn clear(&mut self, part: usize) {
        let part = &mut self.parts[part];
        (part.start, part.end) = (part.place, part.place);
    }

    /// What there is from the first row of the first matrix to the last row of the last: `[rows, columns]`, a constant. What lies
    /// between the matrices is undefined.
    pub fn view(&self) -> Tensor {
        let Range { start, end } = self.span();
        Tensor::constant_in(&self.memory, start * self.columns, Shape::from([end - start, self.columns]))
    }

    /// The rows of matrix `part` in the view.
    ///
    /// # Panics
    /// If there is no such matrix, as slicing does.
    pub fn range(&self, part: usize) -> Range<usize> {
        let first = self.span().start;
        self.parts[part].start - first..self.parts[part].end - first
    }

    fn span(&self) -> Range<usize> {
        let mut parts = self.parts.iter().filter(|part| part.start < part.end);
        let Some(first) = parts.next() else { return 0..0 };
        first.start..parts.next_back().unwrap_or(first).end
    }

    /// Moves all rows to memory like that of `x`, where every matrix has room for twice what it will have after `counts`, and one
    /// without rows for what the others have on average, which it will have soon. Views of the old memory keep it.
    fn grow(&mut self, x: &Tensor, counts: &[(usize, usize)]) -> Result<()> {
        let mut rows: Vec<usize> = (0..self.parts.len()).map(|part| self.rows(part)).collect();
        counts.iter().for_each(|&(part, more)| rows[part] += more);
        let begun = rows.iter().filter(|&&rows| rows > 0).count();
        let expected = rows.iter().sum::<usize>().div_ceil(begun.max(1));
        let mut end = 0;
        let moved: Vec<Part> = (0..self.parts.len())
            .map(|part| {
                let place = end;
                end += if rows[part] > 0 { 2 * rows[part] } else { expected }.max(FEWEST_ROWS);
                Part { place, start: place, end: place + self.rows(part), limit: end }
            })
            .collect();
        let memory = Memory::new(Buffer::scratch(x.device(), x.compute_dtype(), end * self.columns)?);
        for (from, to) in self.parts.iter().zip(&moved).filter(|(from, _)| from.start < from.end) {
            let shape = Shape::from([from.end - from.start, self.columns]);
            let kept = Tensor::constant_in(&self.memory, from.start * self.columns, shape);
            memory.copy_at(to.start * self.columns, &kept, OP)?;
        }
        (self.memory, self.parts) = (memory, moved);
        Ok(())
    }
}

impl std::fmt::Debug for RowBuffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows: Vec<usize> = (0..self.parts.len()).map(|part| self.rows(part)).collect();
        write!(f, "RowBuffers({rows:?} x {})", self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(first: f32, count: usize) -> Tensor {
        let values: Vec<f32> = (0..2 * count).map(|i| first + i as f32).collect();
        Tensor::from_f32([count, 2], &values).unwrap()
    }

    /// The rows of matrix `part`.
    fn part(buffers: &RowBuffers, part: usize) -> Vec<f32> {
        ops::slice_rows(&buffers.view(), buffers.range(part)).unwrap().to_vec()
    }

    #[test]
    fn views_keep_their_rows_while_others_come_and_go() {
        let mut buffer = RowBuffers::new(2).unwrap();
        buffer.add_up_to(1);
        assert_eq!((buffer.view().shape(), buffer.is_empty()), (&[0, 2][..], true));
        buffer.push(&rows(0.0, 3), &[(0, 3)]).unwrap();
        let view = buffer.view();
        buffer.drop_front(0, 2);
        buffer.push(&rows(100.0, 1), &[(0, 1)]).unwrap();
        assert_eq!(buffer.view().to_vec(), [4.0, 5.0, 100.0, 101.0]);
        buffer.push(&rows(1000.0, 200), &[(0, 200)]).unwrap();
        assert_eq!(buffer.view().to_vec()[..6], [4.0, 5.0, 100.0, 101.0, 1000.0, 1001.0]);
        assert_eq!(view.to_vec(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        buffer.clear(0);
        assert!(buffer.is_empty());
        let columns = Tensor::from_f32([1, 3], &[0.0; 3]).unwrap();
        assert!(buffer.push(&columns, &[(0, 1)]).is_err());
        assert!(buffer.push(&rows(0.0, 3), &[(0, 2)]).is_err());
    }

    #[test]
    fn matrices_grow_beside_each_other() {
        let mut buffers = RowBuffers::new(2).unwrap();
        buffers.add_up_to(3);
        buffers.push(&rows(0.0, 3), &[(0, 1), (2, 2)]).unwrap();
        assert_eq!([0, 1, 2].map(|part| buffers.rows(part)), [1, 0, 2]);
        buffers.push(&rows(10.0, 2), &[(1, 1), (0, 1)]).unwrap();
        assert_eq!(part(&buffers, 0), [0.0, 1.0, 12.0, 13.0]);
        assert_eq!(part(&buffers, 1), [10.0, 11.0]);
        assert_eq!(part(&buffers, 2), [2.0, 3.0, 4.0, 5.0]);
        // One outgrows its place, and another comes.
        buffers.drop_front(2, 1);
        buffers.add_up_to(4);
        buffers.push(&rows(100.0, 71), &[(1, 70), (3, 1)]).unwrap();
        assert_eq!(part(&buffers, 0), [0.0, 1.0, 12.0, 13.0]);
        assert_eq!(part(&buffers, 1)[..4], [10.0, 11.0, 100.0, 101.0]);
        assert_eq!((part(&buffers, 2), part(&buffers, 3)), (vec![4.0, 5.0], vec![240.0, 241.0]));
        // Those that have not begun have room for what the others have.
        buffers.add_up_to(6);
        buffers.push(&rows(0.0, 300), &[(4, 300)]).unwrap();
        let Part { place, limit, .. } = buffers.parts[5];
        assert!(limit - place >= (2 + 71 + 3 + 1 + 300) / 5, "{place}..{limit}");
        // A place is used again.
        buffers.clear(0);
        buffers.push(&rows(7.0, 1), &[(0, 1)]).unwrap();
        assert_eq!((part(&buffers, 0), buffers.rows(1)), (vec![7.0, 8.0], 71));
    }
}
