//! AdamW against `torch.optim.AdamW`.

use tunesmith_adamw::{AdamW, Group, Step, clip_coefficient, grad_norm, step};

/// What torch 2.15 prints for:
///
/// ```python
/// import torch
/// p = torch.tensor([1.0, -2.0, 0.5, 3.0]); q = torch.tensor([0.25, -0.125]); ps = [p, q]
/// for t in ps: t.requires_grad_()
/// groups = [{"params": [p]}, {"params": [q], "weight_decay": 0.0, "lr": 5e-3}]
/// o = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)
/// for s in range(1, 4):
///     p.grad = torch.tensor([0.1, -0.2, 3.0, 1e-4]) * s; q.grad = torch.tensor([4.0, -0.03]) * s
///     n = torch.nn.utils.clip_grad_norm_(ps, 2.0); o.step()
///     print(n.item(), p.tolist(), q.tolist())
/// print([o.state[t][k].tolist() for t in ps for k in ("exp_avg", "exp_avg_sq")])
/// ```
#[test]
#[rustfmt::skip]
fn three_clipped_steps_of_two_groups_are_torchs() {
    const PARAMETERS: [[f64; 6]; 3] = [
        [0.9890002608299255, -1.9880001544952393, 0.4895000159740448, 2.987244129180908, 0.24500000476837158, -0.12000041455030441],
        [0.9780115485191345, -1.9760123491287231, 0.47901052236557007, 2.974501132965088, 0.24000000953674316, -0.11500082910060883],
        [0.9670338034629822, -1.964036464691162, 0.4685315191745758, 2.96177077293396, 0.23500001430511475, -0.11000124365091324],
    ];
    const NORMS: [f64; 3] = [5.005087375640869, 10.010174751281738, 15.015262603759766];
    const EXP_AVG: [f64; 6] = [0.010828981176018715, -0.02165796235203743, 0.32486942410469055, 1.082898052118253e-05, 0.4331592321395874, -0.003248694119974971];
    const EXP_AVG_SQ: [f64; 6] = [0.00022773629461880773, 0.0009109451784752309, 0.20496265590190887, 2.2773626040528683e-10, 0.36437806487083435, 2.04962652787799e-05];
    // PyTorch orders a few operations otherwise: two units in the last place.
    let close = |got: f32, expected: f64| (f64::from(got) - expected).abs() <= 2.4e-7 * expected.abs();

    let method = AdamW { beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weight_decay: 0.1 };
    let groups = [
        Group { range: 0..4, learning_rate: 1.0, weight_decay: 1.0 },
        Group { range: 4..6, learning_rate: 0.5, weight_decay: 0.0 },
    ];
    let mut parameters = [1.0, -2.0, 0.5, 3.0, 0.25, -0.125];
    let (mut exp_avg, mut exp_avg_sq) = ([0.0; 6], [0.0; 6]);
    for (i, (expected, norm)) in PARAMETERS.iter().zip(NORMS).enumerate() {
        let gradients = [0.1, -0.2, 3.0, 1e-4, 4.0, -0.03].map(|g: f32| g * (i + 1) as f32);
        assert!(close(grad_norm(&gradients) as f32, norm));
        step(&method, Step {
            step: i as u64 + 1,
            learning_rate: 1e-2,
            grad_scale: clip_coefficient(grad_norm(&gradients), 2.0),
            groups: &groups,
            gradients: &gradients,
            parameters: &mut parameters,
            exp_avg: &mut exp_avg,
            exp_avg_sq: &mut exp_avg_sq,
        }).unwrap();
        for (got, expected) in parameters.iter().zip(expected) {
            assert!(close(*got, *expected), "step {}: {got} {expected}", i + 1);
        }
    }
    assert!(exp_avg.iter().zip(EXP_AVG).all(|(got, expected)| close(*got, expected)), "{exp_avg:?}");
    assert!(exp_avg_sq.iter().zip(EXP_AVG_SQ).all(|(got, expected)| close(*got, expected)), "{exp_avg_sq:?}");
}
