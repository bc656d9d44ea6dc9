//! Adapters of a projection that gives queries, keys and values in one: one small adapter for each that is adapted.

/// Queries, keys and values.
pub(super) const PARTS: usize = 3;

/// Which of the three the names mean.
pub(super) fn adapted(attn_matrices: &[String]) -> [bool; PARTS] {
    ["q", "k", "v"].map(|name| attn_matrices.iter().any(|matrix| matrix == name))
}

/// B of the whole projection, `[3 rows, n rank]`, made of the blocks `b`, `[n rows, rank]`: A of an adapter feeds its own
/// part only.
pub(super) fn spread(b: &[f32], rank: usize, adapted: [bool; PARTS]) -> Vec<f32> {
    let n = adapted.iter().filter(|adapted| **adapted).count();
    let rows = b.len() / (rank * n).max(1);
    let mut spread = vec![0.0; PARTS * rows * n * rank];
    let parts = (0..PARTS).filter(|&part| adapted[part]);
    for (block, part) in parts.enumerate() {
        for row in 0..rows {
            let from = (block * rows + row) * rank;
            let to = ((part * rows + row) * n + block) * rank;
            spread[to..to + rank].copy_from_slice(&b[from..from + rank]);
        }
    }
    spread
}

/// The factors of outputs, one where a part is not adapted; `None` if they are not equally many for each adapted part.
pub(super) fn spread_scales(scales: &[f32], adapted: [bool; PARTS]) -> Option<Vec<f32>> {
    let n = adapted.iter().filter(|adapted| **adapted).count();
    let rows = scales.len().checked_div(n).filter(|rows| *rows > 0 && rows * n == scales.len())?;
    let mut blocks = scales.chunks_exact(rows);
    let part = |is_adapted: bool| match is_adapted {
        true => blocks.next().unwrap_or_default().to_vec(),
        false => vec![1.0; rows],
    };
    Some(adapted.map(part).concat())
}

/// A and B of [`spread`] for an update `b` `[3 rows, rank]`, `a` `[rank, in]` that AdapterHub can hold only with an adapter
/// of the whole rank for each part: A once for each, and the rows of B one part after the other.
pub(super) fn split(a: &[f32], b: &[f32]) -> (Vec<f32>, Vec<f32>) {
    (a.repeat(PARTS), b.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_beside_their_parts() {
        let adapted = [true, false, true];
        // Two parts of two rows, rank 1.
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0], 1, adapted), [1., 0., 2., 0., 0., 0., 0., 0., 0., 3., 0., 4.]);
        assert_eq!(spread_scales(&[5.0, 6.0], adapted), Some(vec![5.0, 1.0, 6.0]));
        assert_eq!(spread_scales(&[5.0, 6.0, 7.0], adapted), None);
        assert_eq!((spread_scales(&[], adapted), spread_scales(&[5.0], [false; PARTS])), (None, None));
        assert_eq!(super::adapted(&["v".to_owned(), "q".to_owned()]), adapted);
        let (a, b) = split(&[7.0, 8.0], &[1.0, 2.0, 3.0]);
        assert_eq!(
            (a, spread(&b, 1, [true; 3])),
            (vec![7., 8., 7., 8., 7., 8.], vec![1., 0., 0., 0., 2., 0., 0., 0., 3.])
        );
    }
}
