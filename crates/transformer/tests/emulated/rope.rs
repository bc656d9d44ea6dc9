//! Rotary position embedding.

use device::DType;
use device::launch::testing::{self, read, stored};
use proptest::prelude::*;
use tunesmith_transformer::rope::{self, Direction, Shape};
use tunesmith_transformer::{RopeTable, TransformerError, launch};

use crate::{UNIT, assert_within, values};

const MAX_POSITIONS: usize = 64;

fn table(pairs: usize) -> RopeTable {
    let inv_freq: Vec<f32> = (0..pairs).map(|j| 0.7f32.powi(j as i32)).collect();
    RopeTable::from_frequencies(&inv_freq, 1.25, MAX_POSITIONS).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn agrees_with_the_cpu(
        num_tokens in 0usize..5,
        num_heads in 0usize..4,
        pairs in prop_oneof![1usize..9, Just(32usize), 62usize..66],
        pass in prop_oneof![Just(0usize), 1usize..6],
        gap in prop_oneof![Just(0usize), 1usize..6],
        wide: bool,
        backward: bool,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let head_dim = 2 * pairs + pass;
        let width = num_heads * head_dim;
        let shape = Shape { num_tokens, num_heads, head_dim, row_stride: width + gap };
        let table = table(pairs);
        let positions: Vec<u32> = (0..num_tokens).map(|t| ((t as u64 * 29 + seed % 64) % MAX_POSITIONS as u64) as u32).collect();
        let executor = testing::executor(seed);
        let tables = launch::rope::Tables::new(&executor, &table).unwrap();
        let angles = tables.angles(&positions).unwrap();
        let (mut buffer, x) = stored(&executor, dtype, values(num_tokens * shape.row_stride, seed, 0));

        // Into another buffer. A channel and its partner are at most |x| apart from zero; cosines and sines carry 1.25.
        let mut y = vec![0.0; num_tokens * width];
        if width > 0 {
            rope::forward(shape, rope::Forward { x: &x, table: &table, positions: &positions, y: &mut y }).unwrap();
        }
        let mut y_buffer = executor.allocate(y.len() * dtype.size_bytes()).unwrap();
        launch::rope::forward(shape, launch::rope::Forward { dtype, x: &buffer, angles: &angles, y: &mut y_buffer }).unwrap();
        // Two products and a sum, three roundings on each side at most, of terms up to 1.25 |x|.
        let largest = x.iter().fold(0.0f64, |max, &x| max.max(f64::from(x).abs()));
        let bound = 2.0 * 3.0 * UNIT * 2.0 * 1.25 * largest;
        assert_within(dtype, &read(dtype, &y_buffer), &y, |_| bound);

        // In place, either way round; the gaps stay.
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let mut moved = x.clone();
        if shape.row_stride > 0 {
            rope::in_place(shape, rope::InPlace { x: &mut moved, table: &table, positions: &positions, direction }).unwrap();
        }
        launch::rope::in_place(shape, launch::rope::InPlace { dtype, x: &mut buffer, angles: &angles, direction }).unwrap();
        let got = read(dtype, &buffer);
        assert_within(dtype, &got, &moved, |_| bound);
        for (row, start) in got.chunks(shape.row_stride.max(1)).zip(x.chunks(shape.row_stride.max(1))) {
            prop_assert_eq!(&row[width..], &start[width..]);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let executor = testing::executor(0);
    let tables = launch::rope::Tables::new(&executor, &table(2)).unwrap();
    let beyond = tables.angles(&[0, 64]).unwrap_err();
    assert!(matches!(beyond, TransformerError::Position { index: 1, position: 64, max_positions: 64 }));
    let angles = tables.angles(&[0]).unwrap();
    let run = |shape: Shape, len: usize| {
        let mut x = executor.upload(&vec![0.0f32; len]).unwrap();
        let direction = Direction::Forward;
        launch::rope::in_place(
            shape,
            launch::rope::InPlace { dtype: DType::F32, x: &mut x, angles: &angles, direction },
        )
    };
    let narrow = run(Shape::contiguous(1, 2, 2), 4);
    assert!(matches!(narrow, Err(TransformerError::RotaryDim { rotary_dim: 4, head_dim: 2 })));
    let short = run(Shape { row_stride: 3, ..Shape::contiguous(1, 1, 4) }, 3);
    assert!(matches!(short, Err(TransformerError::Length { argument: "row", expected: 4, got: 3, .. })));
    let more = run(Shape::contiguous(2, 1, 4), 8);
    assert!(matches!(more, Err(TransformerError::Length { argument: "positions", expected: 2, got: 1, .. })));
}
