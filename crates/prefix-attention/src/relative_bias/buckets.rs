//! Which relative positions share a bias.

use crate::AttentionError;

/// The rule by which T5 puts relative positions into buckets: one for each small distance, then buckets that widen with
/// the logarithm of the distance up to `max_distance`, and one for everything farther.
///
/// With `n` buckets for a direction, `e = n / 2` of them exact, the distance `d` of key and query is in bucket
///
/// ```text
/// d                                                        for d < e
/// min(n - 1, e + floor((n - e) ln(d / e) / ln(max_distance / e)))      else
/// ```
///
/// `bidirectional` gives each direction half of the buckets, those of keys behind the query second. Otherwise all keys
/// behind the query count as being at its own position. The results are those of transformers' T5, whose arithmetic of the
/// second line is f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelativeBuckets {
    num_buckets: usize,
    max_distance: usize,
    bidirectional: bool,
}

impl RelativeBuckets {
    /// Checks the sizes.
    ///
    /// # Errors
    /// [`AttentionError::Buckets`] unless a direction has at least two buckets and `max_distance` is beyond the exact ones.
    pub fn new(num_buckets: usize, max_distance: usize, bidirectional: bool) -> Result<Self, AttentionError> {
        let buckets = Self { num_buckets, max_distance, bidirectional };
        let exact = buckets.of_a_direction() / 2;
        // Distances are computed with in f32, and bucket numbers are kept as 32 bits.
        let representable = max_distance < 1 << 24 && num_buckets < 1 << 24;
        if exact == 0 || max_distance <= exact || !representable {
            return Err(AttentionError::Buckets { num_buckets, max_distance, bidirectional });
        }
        Ok(buckets)
    }

    /// Rows of the table.
    pub fn num_buckets(&self) -> usize {
        self.num_buckets
    }

    /// The bucket of a key that stands `relative_position` behind its query (before it, if negative).
    pub fn bucket(&self, relative_position: i64) -> usize {
        let of_a_direction = self.of_a_direction();
        let first = if self.bidirectional && relative_position > 0 { of_a_direction } else { 0 };
        let relative_position = if self.bidirectional { relative_position } else { relative_position.min(0) };
        first + self.of_distance(relative_position.unsigned_abs() as usize)
    }

    fn of_a_direction(&self) -> usize {
        if self.bidirectional { self.num_buckets / 2 } else { self.num_buckets }
    }

    fn of_distance(&self, distance: usize) -> usize {
        let buckets = self.of_a_direction();
        let exact = buckets / 2;
        if distance < exact {
            return distance;
        }
        if distance >= self.max_distance {
            return buckets - 1;
        }
        // The logarithm of f32 values, rounded once: what torch gives, whatever the system's own function does.
        let ratio = f64::from(distance as f32 / exact as f32).ln() as f32;
        let whole = (self.max_distance as f64 / exact as f64).ln() as f32;
        let beyond = (ratio / whole * (buckets - exact) as f32) as usize;
        (exact + beyond).min(buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_transformers() {
        // T5Attention._relative_position_bucket of transformers 5.23.
        let positions =
            [-200, -128, -100, -65, -64, -63, -20, -17, -16, -15, -9, -8, -1, 0, 1, 7, 8, 15, 16, 32, 64, 90, 127, 300];
        let of = |num_buckets, max_distance, bidirectional| {
            let buckets = RelativeBuckets::new(num_buckets, max_distance, bidirectional).unwrap();
            positions.map(|position| buckets.bucket(position))
        };
        assert_eq!(
            of(32, 128, true),
            [15, 15, 15, 14, 14, 13, 10, 10, 10, 9, 8, 8, 1, 0, 17, 23, 24, 25, 26, 28, 30, 30, 31, 31]
        );
        assert_eq!(
            of(32, 128, false),
            [31, 31, 30, 26, 26, 26, 17, 16, 16, 15, 9, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        let few = RelativeBuckets::new(8, 12, true).unwrap();
        let got: Vec<usize> = (-13..14).map(|position| few.bucket(position)).collect();
        assert_eq!(got, [3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 2, 1, 0, 5, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
    }

    #[test]
    fn sizes_without_a_logarithm_are_refused() {
        let refused = |n, distance, both| RelativeBuckets::new(n, distance, both).unwrap_err().to_string();
        assert_eq!(
            refused(3, 128, true),
            "attention: 3 buckets of relative positions in both directions up to a distance of 128, expected at least 2 \
             buckets for each direction and a distance above half of them"
        );
        assert!(refused(1, 128, false).contains("in one direction"));
        assert!(RelativeBuckets::new(32, 16, false).is_err() && RelativeBuckets::new(32, 17, false).is_ok());
        assert!(RelativeBuckets::new(32, 8, true).is_err() && RelativeBuckets::new(32, 9, true).is_ok());
        assert!(RelativeBuckets::new(4, usize::MAX, true).is_err());
        assert!(RelativeBuckets::new(usize::MAX, usize::MAX, true).is_err());
    }
}
