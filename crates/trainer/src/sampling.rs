//! One token out of logits.
//!
//! As in transformers: the temperature first, then `top_k`, then `top_p`, then a draw. The draw is a pure function of the
//! seed, of the number of the text and of the number of the token.

use device::philox::Stream;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Only this many most likely tokens; 0 for all.
    pub top_k: usize,
    /// Only the fewest tokens whose probabilities add up to this.
    pub top_p: f32,
    /// Of the draws.
    pub seed: u64,
}

impl Sampling {
    /// Always the most likely token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 };

    /// Chooses token number `index` of text number `text`. `None` if no logit is a number.
    pub fn choose(&self, logits: &[f32], text: u32, index: u64) -> Option<u32> {
        if self.temperature <= 0.0 {
            return most_likely(logits);
        }
        let candidates = self.candidates(logits);
        let total: f64 = candidates.iter().map(|(_, p)| p).sum();
        let mut left = f64::from(Stream::new(self.seed, text, 0).uniform(index)) * total;
        for (token, probability) in &candidates {
            left -= probability;
            if left < 0.0 {
                return Some(*token);
            }
        }
        candidates.last().map(|(token, _)| *token)
    }

    /// The tokens that may be drawn and their weights, the most likely first.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let mut candidates: Vec<(u32, f64)> = (0u32..)
            .zip(logits)
            .filter(|(_, logit)| !logit.is_nan())
            .map(|(token, &logit)| (token, f64::from(logit) / f64::from(self.temperature)))
            .collect();
        candidates.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if self.top_k > 0 {
            candidates.truncate(self.top_k);
        }
        let Some(&(_, highest)) = candidates.first() else { return candidates };
        candidates.iter_mut().for_each(|(_, weight)| *weight = (*weight - highest).exp());
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut before = 0.0;
        candidates.retain(|(_, weight)| {
            // The most likely token stays, however small `top_p` is.
            let kept = before == 0.0 || before < f64::from(self.top_p) * total;
            before += weight;
            kept
        });
        candidates
    }
}

/// The token of the largest logit, the first of equal ones.
fn most_likely(logits: &[f32]) -> Option<u32> {
    let numbers = (0u32..).zip(logits).filter(|(_, logit)| !logit.is_nan());
    numbers.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).map(|(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
        let mut tokens: Vec<u32> = sampling.candidates(logits).iter().map(|(token, _)| *token).collect();
        tokens.sort_unstable();
        tokens
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(Sampling::GREEDY.choose(&[0.0, 2.0, f32::NAN, 2.0], 0, 0), Some(1));
        assert_eq!(Sampling::GREEDY.choose(&[f32::NAN], 0, 0), None);
        assert_eq!(Sampling { temperature: 1.0, ..Sampling::GREEDY }.choose(&[f32::NAN], 0, 0), None);
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.15f32.ln(), 0.05f32.ln()];
        let warm = Sampling { temperature: 1.0, ..Sampling::GREEDY };
        assert_eq!(tokens(warm, &logits), [0, 1, 2, 3]);
        assert_eq!(tokens(Sampling { top_k: 2, ..warm }, &logits), [0, 1]);
        assert_eq!(tokens(Sampling { top_p: 0.79, ..warm }, &logits), [0, 1]);
        assert_eq!(tokens(Sampling { top_p: 0.81, ..warm }, &logits), [0, 1, 2]);
        assert_eq!(tokens(Sampling { top_p: 0.0, ..warm }, &logits), [0]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
        let warm = Sampling { temperature: 1.0, seed: 7, ..Sampling::GREEDY };
        let mut counts = [0u32; 3];
        for index in 0..10_000 {
            counts[warm.choose(&logits, 0, index).unwrap() as usize] += 1;
        }
        for (count, expected) in counts.iter().zip([5000.0, 3000.0, 2000.0]) {
            // Five standard deviations of a binomial count; the draws are fixed.
            assert!((f64::from(*count) - expected).abs() <= 5.0 * 50.0, "{counts:?}");
        }
        let text = |number| (0..20).map(|index| warm.choose(&logits, number, index).unwrap()).collect::<Vec<_>>();
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }
}
