//! Weighted sums of tensors, thinned out or with signs elected.
//!
//! Sources: Ilharco et al. 2022, "Editing Models with Task Arithmetic"; Yadav et al. 2023, "TIES-Merging"; Yu et al. 2023,
//! "Language Models are Super Mario" (DARE).

use device::philox::Stream;

use super::{MajoritySign, Merge};

/// Random numbers of a combination are no training step's.
const COMBINE_STEP: u32 = u32::MAX - 1;

/// How tensors are summed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    pub(super) merge: Merge,
    /// Share of the values that is kept.
    pub(super) density: f64,
    pub(super) majority_sign: MajoritySign,
    pub(super) seed: u64,
}

impl Sum {
    /// The sum of `tensors`, of one length, each with its weight. `site` tells the random numbers of one sum from another's.
    pub(super) fn of(&self, tensors: &[(f32, Vec<f32>)], site: u32) -> Vec<f32> {
        let tensors: Vec<(f32, Vec<f32>)> = tensors
            .iter()
            .enumerate()
            .map(|(index, (weight, values))| (*weight, self.thinned(values, site, index)))
            .collect();
        let Some((_, first)) = tensors.first() else { return Vec::new() };
        let elects = matches!(self.merge, Merge::Ties | Merge::DareTies);
        (0..first.len())
            .map(|i| {
                let terms = tensors.iter().map(|(weight, values)| (*weight, values[i]));
                if elects { self.disjoint_mean(terms) } else { terms.map(|(weight, value)| weight * value).sum() }
            })
            .collect()
    }

    fn thinned(&self, values: &[f32], site: u32, index: usize) -> Vec<f32> {
        match self.merge {
            Merge::Linear => values.to_vec(),
            _ if self.density >= 1.0 => values.to_vec(),
            Merge::Ties | Merge::MagnitudePrune => largest(values, self.density),
            Merge::DareLinear | Merge::DareTies => {
                let stream = Stream::new(self.seed, COMBINE_STEP - index as u32, site);
                let kept = |i: usize| f64::from(stream.uniform(i as u64)) < self.density;
                let scaled = |(i, value): (usize, &f32)| if kept(i) { value / self.density as f32 } else { 0.0 };
                values.iter().enumerate().map(scaled).collect()
            }
        }
    }

    /// The sum of the terms whose sign most of them have, divided by how many these are.
    fn disjoint_mean(&self, terms: impl Iterator<Item = (f32, f32)> + Clone) -> f32 {
        let vote = |value: f32| match self.majority_sign {
            MajoritySign::Total => value,
            MajoritySign::Frequency if value == 0.0 => 0.0,
            MajoritySign::Frequency => value.signum(),
        };
        let is_positive = terms.clone().map(|(_, value)| vote(value)).sum::<f32>() >= 0.0;
        let agrees = |value: f32| if is_positive { value > 0.0 } else { value < 0.0 };
        let (sum, count) = terms
            .filter(|(_, value)| agrees(*value))
            .fold((0.0, 0), |(sum, count), (weight, value)| (sum + weight * value, count + 1));
        sum / count.max(1) as f32
    }
}

/// `values` with all but the share `density` of largest magnitude set to zero; of equal ones the first are kept.
fn largest(values: &[f32], density: f64) -> Vec<f32> {
    let kept = (density * values.len() as f64) as usize;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()));
    let mut thinned = vec![0.0; values.len()];
    order.into_iter().take(kept).for_each(|i| thinned[i] = values[i]);
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(merge: Merge, density: f64, majority_sign: MajoritySign, tensors: &[(f32, Vec<f32>)]) -> Vec<f32> {
        Sum { merge, density, majority_sign, seed: 1 }.of(tensors, 0)
    }

    #[test]
    fn literals() {
        let tensors =
            [(1.0, vec![1.0, -4.0, 2.0, 0.5]), (2.0, vec![-3.0, -1.0, 4.0, 0.25]), (0.5, vec![1.0, 2.0, -1.0, 0.0])];
        let total = MajoritySign::Total;
        assert_eq!(sum(Merge::Linear, 0.1, total, &tensors), [-4.5, -5.0, 9.5, 1.0]);
        // Two of four values remain in each: [., -4, 2, .], [-3, ., 4, .], [1, 2, ., .]; of the last, 1 comes before -1.
        assert_eq!(sum(Merge::MagnitudePrune, 0.5, total, &tensors), [-5.5, -3.0, 10.0, 0.0]);
        // Signs by sums: -2, -2, 6, 0. Means of weighted values with that sign.
        assert_eq!(sum(Merge::Ties, 0.5, total, &tensors), [-6.0, -4.0, 5.0, 0.0]);
        // By counts: a tie of one against one is positive.
        assert_eq!(sum(Merge::Ties, 0.5, MajoritySign::Frequency, &tensors), [0.5, 1.0, 5.0, 0.0]);
        assert_eq!(sum(Merge::DareLinear, 1.0, total, &tensors), sum(Merge::Linear, 1.0, total, &tensors));
    }

    #[test]
    fn random_thinning_keeps_the_mean() {
        let ones = [(1.0, vec![1.0; 1 << 16])];
        let thinned = sum(Merge::DareLinear, 0.25, MajoritySign::Total, &ones);
        assert!(thinned.iter().all(|value| [0.0, 4.0].contains(value)));
        let mean = thinned.iter().map(|value| f64::from(*value)).sum::<f64>() / thinned.len() as f64;
        // Standard error sqrt(3 / 65536) = 0.0068, times five.
        assert!((mean - 1.0).abs() <= 0.034, "{mean}");
    }
}
