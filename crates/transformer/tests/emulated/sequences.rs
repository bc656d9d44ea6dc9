//! What is done with the sequences of a packed batch: rows before each, the mean of each; and one row added to all.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::launch::{self, Starts};
use tunesmith_transformer::{Gradient, TransformerError, broadcast, mean_rows, prepend};

use crate::{assert_within, dtype, values};

/// Starts of sequences of these lengths.
fn cu_seqlens(lengths: &[u32]) -> Vec<u32> {
    let ends = lengths.iter().scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

fn widths() -> impl Strategy<Value = usize> {
    prop_oneof![0usize..9, 510usize..516]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Rows are copied, and sums are in the order of the CPU: in f32 the bits are equal.
    #[test]
    fn rows_before_sequences_are_those_of_the_cpu(
        lengths in proptest::collection::vec(0u32..5, 0..6),
        prompt_rows in 0usize..4,
        width in widths(),
        (wide, wide_prompt) in (any::<bool>(), any::<bool>()),
        add: bool,
        seed: u64,
    ) {
        let (dtype, executor) = (dtype(wide), testing::executor(seed));
        let prompt_dtype = if wide || wide_prompt { DType::F32 } else { DType::BF16 };
        let cu_seqlens = cu_seqlens(&lengths);
        let shape = prepend::Shape { prompt_rows, width, cu_seqlens: &cu_seqlens };
        let starts = Starts::new(&executor, &cu_seqlens).unwrap();
        let on_device = launch::prepend::Shape { prompt_rows, width, starts: &starts };
        prop_assert_eq!(on_device.num_rows(), shape.num_rows());
        let (prompt_buffer, prompt) = stored(&executor, prompt_dtype, values(prompt_rows * width, seed, 0));
        let (x_buffer, x) = stored(&executor, dtype, values(shape.num_tokens() * width, seed, 1));
        let mut y = vec![f32::NAN; shape.num_rows() * width];
        prepend::forward(shape, &prompt, &x, &mut y).unwrap();
        let mut y_buffer = executor.allocate(y.len() * dtype.size_bytes()).unwrap();
        launch::prepend::forward(on_device, (prompt_dtype, &prompt_buffer), (dtype, &x_buffer), &mut y_buffer).unwrap();
        assert_within(dtype, &read(dtype, &y_buffer), &y, |_| 0.0);

        let (dy_buffer, dy) = stored(&executor, dtype, values(y.len(), seed, 2));
        let (mut dprompt, mut dx) = (prompt, x);
        prepend::backward_prompt(shape, &dy, Gradient { values: &mut dprompt, add }).unwrap();
        prepend::backward_x(shape, &dy, Gradient { values: &mut dx, add }).unwrap();
        let (mut dprompt_buffer, mut dx_buffer) = (prompt_buffer, x_buffer);
        let gradient = launch::Gradient { values: &mut dprompt_buffer, add };
        launch::prepend::backward_prompt(on_device, (dtype, &dy_buffer), (prompt_dtype, gradient)).unwrap();
        let gradient = launch::Gradient { values: &mut dx_buffer, add };
        launch::prepend::backward_x(on_device, (dtype, &dy_buffer), gradient).unwrap();
        assert_within(prompt_dtype, &read(prompt_dtype, &dprompt_buffer), &dprompt, |_| 0.0);
        assert_within(dtype, &read(dtype, &dx_buffer), &dx, |_| 0.0);
    }

    /// As above.
    #[test]
    fn means_are_those_of_the_cpu(
        lengths in proptest::collection::vec(0u32..9, 0..6),
        width in widths(),
        wide: bool,
        add: bool,
        seed: u64,
    ) {
        let (dtype, executor) = (dtype(wide), testing::executor(seed));
        let cu_seqlens = cu_seqlens(&lengths);
        let shape = mean_rows::Shape { width, cu_seqlens: &cu_seqlens };
        let starts = Starts::new(&executor, &cu_seqlens).unwrap();
        let on_device = launch::mean_rows::Shape { width, starts: &starts };
        let (x_buffer, x) = stored(&executor, dtype, values(shape.num_rows() * width, seed, 0));
        let mut y = vec![f32::NAN; lengths.len() * width];
        mean_rows::forward(shape, &x, &mut y).unwrap();
        let mut y_buffer = executor.allocate(y.len() * dtype.size_bytes()).unwrap();
        launch::mean_rows::forward(on_device, dtype, &x_buffer, &mut y_buffer).unwrap();
        assert_within(dtype, &read(dtype, &y_buffer), &y, |_| 0.0);

        let (dy_buffer, dy) = stored(&executor, dtype, values(y.len(), seed, 1));
        let (mut dx, mut dx_buffer) = (x, x_buffer);
        mean_rows::backward(shape, &dy, Gradient { values: &mut dx, add }).unwrap();
        let gradient = launch::Gradient { values: &mut dx_buffer, add };
        launch::mean_rows::backward(on_device, dtype, &dy_buffer, gradient).unwrap();
        assert_within(dtype, &read(dtype, &dx_buffer), &dx, |_| 0.0);
    }

    /// As above.
    #[test]
    fn sums_with_one_row_are_those_of_the_cpu(
        rows in 0usize..5,
        columns in widths(),
        factor in -2f32..2.0,
        with_x: bool,
        wide: bool,
        seed: u64,
    ) {
        let (dtype, executor) = (dtype(wide), testing::executor(seed));
        let shape = broadcast::Shape { rows, columns };
        let (x_buffer, x) = stored(&executor, dtype, values(rows * columns, seed, 0));
        let (row_buffer, row) = stored(&executor, dtype, values(columns, seed, 1));
        let (mut y, mut y_buffer) = (vec![f32::NAN; x.len()], executor.allocate(x.len() * dtype.size_bytes()).unwrap());
        broadcast::broadcast(shape, with_x.then_some(&x), factor, &row, &mut y).unwrap();
        let x_on_device = with_x.then_some(&x_buffer);
        launch::broadcast::broadcast(shape, dtype, x_on_device, factor, &row_buffer, &mut y_buffer).unwrap();
        assert_within(dtype, &read(dtype, &y_buffer), &y, |_| 0.0);
        let (mut y, mut y_buffer) = (x, x_buffer);
        broadcast::in_place(shape, factor, &row, &mut y).unwrap();
        launch::broadcast::in_place(shape, dtype, factor, &row_buffer, &mut y_buffer).unwrap();
        assert_within(dtype, &read(dtype, &y_buffer), &y, |_| 0.0);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let executor = testing::executor(0);
    for falling in [&[0, 2, 1][..], &[1, 2]] {
        let refused = Starts::new(&executor, falling).unwrap_err();
        assert!(matches!(refused, TransformerError::Starts { op: "sequences" }));
    }
    let starts = Starts::new(&executor, &[0, 1, 3]).unwrap();
    let (x, mut y) = (executor.upload(&[1.0f32; 4]).unwrap(), executor.upload(&[7.0f32; 4]).unwrap());
    let shape = launch::mean_rows::Shape { width: 2, starts: &starts };
    let refused = launch::mean_rows::forward(shape, DType::F32, &x, &mut y).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { argument: "x", expected: 6, got: 4, .. }));
    let shape = launch::prepend::Shape { prompt_rows: 2, width: 2, starts: &starts };
    let gradient = launch::Gradient::overwrite(&mut y);
    let refused = launch::prepend::backward_prompt(shape, (DType::F32, &x), (DType::BF16, gradient)).unwrap_err();
    assert!(matches!(refused, TransformerError::KernelDType { got: DType::BF16, .. }));
    let gradient = launch::Gradient::overwrite(&mut y);
    let refused = launch::prepend::backward_prompt(shape, (DType::F32, &x), (DType::F32, gradient)).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { argument: "dy", expected: 14, got: 4, .. }));
    assert_eq!(y.read::<f32>().unwrap(), [7.0; 4]);
}
