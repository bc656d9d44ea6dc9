//! Blocks of columns.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::columns::{self, Shape};
use tunesmith_transformer::launch::columns::Blocks;
use tunesmith_transformer::{TransformerError, launch};

use crate::{assert_within, values};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agrees_with_the_cpu(
        rows in 0usize..4,
        (start, len, gap, count) in (0usize..5, 0usize..70, 0usize..9, 0usize..4),
        behind in 0usize..4,
        wide: bool,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let stride = len + gap;
        let shape = Shape { rows, columns: start + count * stride + behind };
        let ranges: Vec<_> = (0..count).map(|b| start + b * stride..start + b * stride + len).collect();
        let blocks = Blocks::of(&ranges).unwrap();
        let executor = testing::executor(seed);
        let (x_buffer, x) = stored(&executor, dtype, values(rows * shape.columns, seed, 0));
        let (dy_buffer, dy) = stored(&executor, dtype, values(rows * len * count, seed, 1));
        let mut y = vec![0.0; dy.len()];
        columns::gather(shape, &x, &ranges, &mut y).unwrap();
        let mut y_buffer = executor.allocate(y.len() * dtype.size_bytes()).unwrap();
        launch::columns::gather(shape, dtype, &x_buffer, blocks, &mut y_buffer).unwrap();
        prop_assert_eq!(&read(dtype, &y_buffer), &y);

        let (mut back, _) = stored(&executor, dtype, vec![0.0; x.len()]);
        launch::columns::scatter(shape, dtype, &y_buffer, blocks, &mut back).unwrap();
        let mut expected = vec![0.0; x.len()];
        columns::scatter_add(shape, &y, &ranges, &mut expected).unwrap();
        prop_assert_eq!(read(dtype, &back), expected);

        let mut dx = x;
        columns::scatter_add(shape, &dy, &ranges, &mut dx).unwrap();
        let mut dx_buffer = x_buffer;
        launch::columns::scatter_add(shape, dtype, &dy_buffer, blocks, &mut dx_buffer).unwrap();
        assert_within(dtype, &read(dtype, &dx_buffer), &dx, |_| 0.0);
    }
}

#[test]
fn ranges_of_other_lengths_or_distances_are_no_blocks() {
    assert_eq!(Blocks::of(&[2..4, 6..8, 10..12]), Some(Blocks { start: 2, len: 2, stride: 4, count: 3 }));
    assert_eq!(Blocks::of(&[2..4, 6..8, 9..11]), None);
    assert_eq!(Blocks::of(&[2..4, 6..9]), None);
    assert_eq!(Blocks::of(&[6..8, 2..4]), None);
}

#[test]
fn blocks_that_are_not_there_or_overlap_are_refused() {
    let executor = testing::executor(0);
    let (x, mut y) = (executor.upload(&[1.0f32; 8]).unwrap(), executor.upload(&[7.0f32; 4]).unwrap());
    let shape = Shape { rows: 1, columns: 8 };
    for blocks in [
        Blocks::one(6..10),
        Blocks { start: 0, len: 2, stride: 1, count: 2 },
        Blocks { start: 1, len: 2, stride: usize::MAX, count: 2 },
    ] {
        let refused = launch::columns::gather(shape, DType::F32, &x, blocks, &mut y).unwrap_err();
        assert!(matches!(refused, TransformerError::Columns { .. }), "{blocks:?}: {refused}");
    }
    assert_eq!(y.read::<f32>().unwrap(), [7.0; 4]);
}
