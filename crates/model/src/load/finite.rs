//! Weights that are not numbers.

use std::sync::atomic::{AtomicUsize, Ordering};

use device::{Elements, parallel};

/// The first element that is NaN or infinite.
pub(crate) fn check_finite(elements: Elements<'_>) -> Option<usize> {
    const BLOCK: usize = 1 << 18;
    let first = AtomicUsize::new(usize::MAX);
    parallel::ranges(elements.len(), BLOCK, |range| {
        let part = elements.slice(range.start, range.len());
        let found = match part {
            Elements::F32(s) => s.iter().position(|x| !x.is_finite()),
            Elements::BF16(s) => s.iter().position(|x| !x.is_finite()),
            Elements::F16(s) => s.iter().position(|x| !x.is_finite()),
        };
        if let Some(index) = found {
            first.fetch_min(range.start + index, Ordering::Relaxed);
        }
    });
    let first = first.into_inner();
    (first != usize::MAX).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_them_is_found() {
        let mut values = vec![1.0f32; 600_000];
        assert_eq!(check_finite(Elements::from(&values[..])), None);
        values[599_999] = f32::NAN;
        values[300_000] = f32::NEG_INFINITY;
        assert_eq!(check_finite(Elements::from(&values[..])), Some(300_000));
        let halves = [half::f16::ZERO, half::f16::INFINITY];
        assert_eq!(check_finite(Elements::from(&halves[..])), Some(1));
    }
}
