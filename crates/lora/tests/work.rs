//! What a launch is said to do.

use device::DType;
use device::launch::{Architecture, Executor, Work};
use tunesmith_lora::LoraShape;
use tunesmith_lora::launch::{Backward, Gradient, Group, Output, Projection, Saved, Weight, forward};

/// Multiply-adds of a dense product and of both low-rank ones, whichever kernels do them.
#[test]
fn flops_are_those_of_the_products() {
    let (tokens, inputs, outputs, rank) = (256, 512, 384, 16);
    let shape = LoraShape::new(tokens, inputs, outputs, rank).unwrap();
    let [of_x, of_y, of_s] = [inputs, outputs, rank].map(|columns| [tokens, columns]);
    let [of_a, of_b] = [[rank, inputs], [outputs, rank]];
    for architecture in [Architecture::Ampere, Architecture::Hopper] {
        let executor = Executor::dry(architecture);
        let make = |[rows, columns]: [usize; 2], bytes: usize| executor.allocate(rows * columns * bytes).unwrap();
        let [x, weight, lora_a, lora_b] = [of_x, [outputs, inputs], of_a, of_b].map(|sizes| make(sizes, 2));
        let projection = Projection {
            shape,
            weight: Weight::Dense { buffer: &weight, transposed: false },
            bias: None,
            lora_a: &lora_a,
            lora_b: &lora_b,
            lora_bias: None,
            scaling: 1.0,
            dropout: None,
        };
        let group = Group { dtype: DType::BF16, x: &x, projections: &[projection] };
        let (mut y, mut s) = (make(of_y, 2), make(of_s, 2));
        let flops = || executor.take_launches().iter().map(|launch| launch.grid.work).sum::<Work>().flops;
        forward(group, &mut [Output { y: &mut y, s: &mut s }]).unwrap();
        let base = 2 * tokens * inputs * outputs;
        let low_rank = 2 * tokens * rank * (inputs + outputs);
        assert_eq!(flops(), (base + low_rank) as u64, "{architecture:?}");
        let saved = [Saved { s: &s, grad_y: &y }];
        let (mut grad_x, mut grad_a, mut grad_b) = (make(of_x, 2), make(of_a, 4), make(of_b, 4));
        let backward = Backward::new(group, &saved).unwrap();
        backward.x(Gradient { values: &mut grad_x, add: false }).unwrap();
        backward.lora_a(&mut [Gradient { values: &mut grad_a, add: false }]).unwrap();
        backward.lora_b(&mut [Gradient { values: &mut grad_b, add: false }]).unwrap();
        assert_eq!(flops(), (base + 2 * low_rank) as u64, "{architecture:?}");
    }
}
