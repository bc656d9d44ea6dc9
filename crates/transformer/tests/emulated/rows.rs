//! Rows of a table.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::rows::Shape;
use tunesmith_transformer::{TransformerError, embedding, launch, rows};

use crate::{UNIT, assert_within, dtype, values};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn embeddings_agree_with_the_cpu(
        ids in proptest::collection::vec(0u32..7, 0..12),
        width in prop_oneof![0usize..9, 510usize..516],
        scale in 0.5f32..30.0,
        padding_idx in proptest::option::of(0u32..7),
        wide: bool,
        wide_rows: bool,
        seed: u64,
    ) {
        let (table_dtype, row_dtype) = (dtype(wide), dtype(wide_rows));
        let shape = embedding::Shape { vocab_size: 7, hidden: width, scale, padding_idx };
        let of = Shape { rows: 7, width };
        let executor = testing::executor(seed);
        let (table_buffer, table) = stored(&executor, table_dtype, values(7 * width, seed, 0));
        let (dy_buffer, dy) = stored(&executor, row_dtype, values(ids.len() * width, seed, 1));
        let selected = launch::rows::Selected::new(&executor, &ids, 7).unwrap();

        let mut y = vec![0.0; dy.len()];
        embedding::forward(shape, table[..].into(), &ids, &mut y).unwrap();
        let mut y_buffer = executor.allocate(y.len() * row_dtype.size_bytes()).unwrap();
        launch::rows::gather(of, scale, (table_dtype, &table_buffer), &selected, (row_dtype, &mut y_buffer)).unwrap();
        // One product on each side.
        assert_within(row_dtype, &read(row_dtype, &y_buffer), &y, |_| 0.0);

        let (mut start_buffer, start) = stored(&executor, DType::F32, values(7 * width, seed, 2));
        let mut dtable = start.clone();
        embedding::backward(shape, &dy, &ids, &mut dtable).unwrap();
        launch::rows::scatter_add(
            of, scale, (row_dtype, &dy_buffer), &selected, (DType::F32, &mut start_buffer), padding_idx,
        ).unwrap();
        // The same terms in the same order; where the CPU has no fused multiply-add, a product is rounded once more.
        assert_within(DType::F32, &read(DType::F32, &start_buffer), &dtable, |i| {
            let terms = ids.iter().zip(dy.chunks(width)).filter(|(id, _)| **id as usize == i / width);
            let sum: f64 = terms.map(|(_, dy)| f64::from((scale * dy[i % width]).abs())).sum();
            2.0 * (ids.len() as f64 + 1.0) * UNIT * (sum + f64::from(start[i]).abs())
        });
    }
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let executor = testing::executor(0);
    let refused = launch::rows::Selected::new(&executor, &[0, 3], 3).unwrap_err();
    assert!(matches!(refused, TransformerError::Row { index: 1, row: 3, rows: 3, .. }));
    let selected = launch::rows::Selected::new(&executor, &[2], 3).unwrap();
    let (x, mut y) = (executor.upload(&[1.0f32; 4]).unwrap(), executor.upload(&[7.0f32; 2]).unwrap());
    // Checked for three rows, the table has two.
    let shape = rows::Shape { rows: 2, width: 2 };
    let refused = launch::rows::gather(shape, 1.0, (DType::F32, &x), &selected, (DType::F32, &mut y)).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { argument: "rows", expected: 2, got: 3, .. }));
    let (mut half, wide) = (executor.upload(&[0u16; 6]).unwrap(), executor.upload(&[1.0f32; 2]).unwrap());
    let shape = rows::Shape { rows: 3, width: 2 };
    let (from, to) = ((DType::F32, &wide), (DType::BF16, &mut half));
    let refused = launch::rows::scatter_add(shape, 1.0, from, &selected, to, None).unwrap_err();
    assert!(matches!(refused, TransformerError::KernelDType { got: DType::BF16, .. }));
}
