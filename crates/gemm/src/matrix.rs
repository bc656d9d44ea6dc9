//! Matrices as views of slices: the operands of a product.

use device::{Buffer, DType, Device, Element, Elements, ElementsMut};

use crate::kernel::{Kernel, Side};
use crate::packed::PackedPanels;
use crate::problem::Output;
use crate::{Expand, GemmError};

/// A borrowed matrix of any dtype, possibly transposed, possibly a block of columns of a wider one.
///
/// It is described freely and checked when it is used: see [`gemm`](crate::gemm).
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: Values<'a>,
    stored: Stored,
    transposed: bool,
    /// The same elements, packed.
    packed: Option<&'a PackedPanels>,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix `[rows, cols]`.
    pub fn new(elements: impl Into<Elements<'a>>, rows: usize, cols: usize) -> Self {
        Self::of(Values::Stored(elements.into()), rows, cols)
    }

    /// A row-major matrix `[rows, cols]` whose elements are computed when they are packed.
    pub fn expanded(source: &'a dyn Expand, rows: usize, cols: usize) -> Self {
        Self::of(Values::Expanded(source), rows, cols)
    }

    fn of(values: Values<'a>, rows: usize, cols: usize) -> Self {
        Self { values, stored: Stored::dense(rows, cols), transposed: false, packed: None }
    }

    /// The same matrix as an operand of products in `precision`. In bf16, f32 elements are read as the nearest bf16, ties to
    /// even, which tiles multiply at the rate of bf16; everything else is left as it is.
    pub fn rounded_to(self, precision: DType) -> Self {
        match (self.values, precision) {
            (Values::Stored(Elements::F32(elements)), DType::BF16) => {
                Self { values: Values::Rounded(elements), packed: None, ..self }
            }
            _ => self,
        }
    }

    /// The same elements read as the transpose: `[cols, rows]`. Nothing is moved.
    pub fn transposed(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// Stored rows start `row_stride` elements apart, as in a block of columns of a wider matrix. The slice starts at the
    /// block's first element and may end right after its last one.
    pub fn with_row_stride(self, row_stride: usize) -> Self {
        Self { stored: Stored { row_stride, ..self.stored }, packed: None, ..self }
    }

    /// With the same elements, packed.
    pub(crate) fn with_packed(self, packed: Option<&'a PackedPanels>) -> Self {
        Self { packed, ..self }
    }

    /// Rows, after transposition.
    pub fn rows(&self) -> usize {
        if self.transposed { self.stored.cols } else { self.stored.rows }
    }

    /// Columns, after transposition.
    pub fn cols(&self) -> usize {
        if self.transposed { self.stored.rows } else { self.stored.cols }
    }

    /// What the elements are read as.
    pub(crate) fn dtype(&self) -> DType {
        self.values.dtype()
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.rows(), self.cols()]
    }

    pub(crate) fn check(&self, operand: &'static str) -> Result<(), GemmError> {
        self.stored.check(operand, self.values.len())
    }

    /// The rows as lines along the depth of a product: what `A` is packed from.
    pub(crate) fn row_lines(self) -> Lines<'a> {
        let Self { values, stored, transposed, packed } = self;
        Lines { values, stride: stored.row_stride, depth_is_contiguous: !transposed, packed }
    }

    /// The columns as lines along the depth of a product: what `B` is packed from.
    pub(crate) fn column_lines(self) -> Lines<'a> {
        self.transposed().row_lines()
    }
}

/// Where the elements of an operand come from.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    /// Memory.
    Stored(Elements<'a>),
    /// Memory of f32, each read as the nearest bf16.
    Rounded(&'a [f32]),
    /// A computation.
    Expanded(&'a dyn Expand),
}

impl Values<'_> {
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Values::Stored(elements) => elements.dtype(),
            Values::Rounded(_) => DType::BF16,
            Values::Expanded(source) => source.dtype(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Values::Stored(elements) => elements.len(),
            Values::Rounded(elements) => elements.len(),
            Values::Expanded(source) => source.len(),
        }
    }
}

impl std::fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Values::Stored(elements) => elements.fmt(f),
            Values::Rounded(elements) => write!(f, "Rounded({} x float32)", elements.len()),
            Values::Expanded(source) => write!(f, "Expanded({} x {})", source.len(), source.dtype()),
        }
    }
}

/// A borrowed matrix that a product is written to, rounded once to its dtype.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    pub(crate) elements: ElementsMut<'a>,
    pub(crate) stored: Stored,
}

impl<'a> MatrixMut<'a> {
    /// A row-major matrix `[rows, cols]` of f32.
    pub fn new(elements: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::of(ElementsMut::F32(elements), rows, cols)
    }

    /// A row-major matrix `[rows, cols]` of any dtype.
    pub fn of(elements: ElementsMut<'a>, rows: usize, cols: usize) -> Self {
        Self { elements, stored: Stored::dense(rows, cols) }
    }

    /// Rows start `row_stride` elements apart; what lies between them is left alone.
    pub fn with_row_stride(self, row_stride: usize) -> Self {
        Self { stored: Stored { row_stride, ..self.stored }, ..self }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.stored.rows
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.stored.cols
    }

    pub(crate) fn check(&self) -> Result<(), GemmError> {
        self.stored.check("C", self.elements.len())
    }

    /// Its first element, for threads that write disjoint parts.
    pub(crate) fn output(&mut self) -> Output {
        let start = match &mut self.elements {
            ElementsMut::F32(c) => c.as_mut_ptr().cast(),
            ElementsMut::BF16(c) => c.as_mut_ptr().cast(),
            ElementsMut::F16(c) => c.as_mut_ptr().cast(),
        };
        Output { start, dtype: self.elements.dtype(), row_stride: self.stored.row_stride, col_stride: 1 }
    }

    /// Calls `body` with each row of a matrix that has columns.
    pub(crate) fn for_each_row(&mut self, mut body: impl FnMut(ElementsMut<'_>)) {
        fn run<T: Element>(c: &mut [T], stored: Stored, mut body: impl FnMut(ElementsMut<'_>)) {
            let rows = c.chunks_mut(stored.row_stride).take(stored.rows);
            rows.for_each(|row| body(ElementsMut::new(&mut row[..stored.cols])));
        }
        match &mut self.elements {
            ElementsMut::F32(c) => run(c, self.stored, &mut body),
            ElementsMut::BF16(c) => run(c, self.stored, &mut body),
            ElementsMut::F16(c) => run(c, self.stored, &mut body),
        }
    }

    /// Lets `product` work on a copy in f32, and rounds that: a product that passes over `C` more than once.
    pub(crate) fn through_f32(
        mut self,
        product: impl FnOnce(MatrixMut<'_>) -> Result<(), GemmError>,
    ) -> Result<(), GemmError> {
        let Stored { rows, cols, .. } = self.stored;
        let mut whole = Buffer::scratch(Device::Cpu, DType::F32, rows * cols)?;
        let whole = whole.f32_mut()?;
        let mut copies = whole.chunks_exact_mut(cols);
        self.for_each_row(|row| copies.next().into_iter().for_each(|copy| row.as_elements().widen_into(copy)));
        product(MatrixMut::new(whole, rows, cols))?;
        let mut results = whole.chunks_exact(cols);
        self.for_each_row(|mut row| results.next().into_iter().for_each(|result| row.narrow_from(result)));
        Ok(())
    }
}

/// How a matrix lies in its slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
}

impl Stored {
    pub(crate) fn dense(rows: usize, cols: usize) -> Self {
        Self { rows, cols, row_stride: cols }
    }

    pub(crate) fn check(self, operand: &'static str, got: usize) -> Result<(), GemmError> {
        let Self { rows, cols, row_stride } = self;
        if row_stride < cols {
            return Err(GemmError::RowStride { operand, cols, row_stride });
        }
        let expected = match rows {
            0 => 0,
            _ => (rows - 1).saturating_mul(row_stride).saturating_add(cols),
        };
        let fits = if row_stride == cols { got == expected } else { got >= expected };
        if fits { Ok(()) } else { Err(GemmError::Length { operand, rows, cols, row_stride, expected, got }) }
    }
}

/// An operand seen along the depth `k` of a product: lines (rows of `A` or columns of `B`) of `k` elements each.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub(crate) values: Values<'a>,
    /// From line to line if the depth is contiguous, from depth to depth otherwise.
    pub(crate) stride: usize,
    /// Whether the elements of one line are neighbours, rather than the elements of one depth.
    pub(crate) depth_is_contiguous: bool,
    /// The same elements, packed for some kernel and side, along the lines or across.
    pub(crate) packed: Option<&'a PackedPanels>,
}

impl<'a> Lines<'a> {
    /// The panels of a side that kernel `K` has packed already.
    pub(crate) fn packed_by<K: Kernel>(&self, side: Side) -> Option<&'a PackedPanels> {
        self.packed.filter(|panels| panels.fit::<K>(side, self.depth_is_contiguous))
    }
}
