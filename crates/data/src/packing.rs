//! Several sequences in one place of a batch.

/// Groups of examples. A batch holds the sequences of a group side by side; each keeps its own positions and its own
/// attention, so packing changes what is computed at once and not what is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bins {
    members: Vec<usize>,
    /// Of each bin in `members`, and the end.
    starts: Vec<usize>,
}

impl Bins {
    /// One example in each bin: no packing.
    pub fn singles(examples: usize) -> Self {
        Self { members: (0..examples).collect(), starts: (0..=examples).collect() }
    }

    /// How many bins there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that they take.
    pub(crate) fn bytes_in_memory(&self) -> usize {
        size_of_val(self.members.as_slice()) + size_of_val(self.starts.as_slice())
    }

    /// The examples of bin `index`, in the order of the file.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> &[usize] {
        &self.members[self.starts[index]..self.starts[index + 1]]
    }
}

/// Puts sequences of `lengths` into bins of `capacity` tokens: each, in turn, into the first bin that has room for it.
///
/// No sequence is cut; one that is longer than `capacity` has a bin of its own. The result is a function of the arguments
/// alone. First fit needs at most 1.7 times as many bins as the best packing (Dósa and Sgall 2013), and far fewer than
/// that with the short rows that packing is for. A tree of the room in each bin finds the bin in logarithmic time.
pub fn first_fit(lengths: impl ExactSizeIterator<Item = usize>, capacity: usize) -> Bins {
    let count = lengths.len();
    let leaves = count.next_power_of_two();
    // Node i has the children 2 i and 2 i + 1, and the most room of any bin below it.
    let mut room = vec![capacity; 2 * leaves];
    let mut bin_of = Vec::with_capacity(count);
    for length in lengths {
        let length = length.min(capacity);
        let mut node = 1;
        while node < leaves {
            node *= 2;
            if room[node] < length {
                node += 1;
            }
        }
        bin_of.push(node - leaves);
        room[node] -= length;
        while node > 1 {
            node /= 2;
            room[node] = room[2 * node].max(room[2 * node + 1]);
        }
    }
    by_bin(&bin_of)
}

/// The members of each bin, in order, by counting.
fn by_bin(bin_of: &[usize]) -> Bins {
    let bins = bin_of.iter().max().map_or(0, |&last| last + 1);
    let mut starts = vec![0; bins + 1];
    for &bin in bin_of {
        starts[bin + 1] += 1;
    }
    for bin in 0..bins {
        starts[bin + 1] += starts[bin];
    }
    let mut next = starts.clone();
    let mut members = vec![0; bin_of.len()];
    for (example, &bin) in bin_of.iter().enumerate() {
        members[next[bin]] = example;
        next[bin] += 1;
    }
    Bins { members, starts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_bin_with_room_is_taken() {
        let bins = first_fit([6, 5, 4, 3, 2, 12, 5].into_iter(), 10);
        let groups: Vec<&[usize]> = (0..bins.len()).map(|i| bins.get(i)).collect();
        assert_eq!(groups, [&[0, 2][..], &[1, 3, 4], &[5], &[6]]);
        assert!(first_fit(std::iter::empty::<usize>(), 10).is_empty());
        assert_eq!(Bins::singles(3), first_fit([10, 10, 10].into_iter(), 10));
    }

    proptest! {
        #[test]
        fn every_sequence_is_in_one_bin_and_no_bin_overflows(
            lengths in prop::collection::vec(1usize..30, 0..200),
            capacity in 1usize..40,
        ) {
            let bins = first_fit(lengths.iter().copied(), capacity);
            let mut members: Vec<usize> = (0..bins.len()).flat_map(|i| bins.get(i).to_vec()).collect();
            members.sort_unstable();
            prop_assert_eq!(members, (0..lengths.len()).collect::<Vec<_>>());
            for i in 0..bins.len() {
                let bin = bins.get(i);
                prop_assert!(bin.is_sorted());
                prop_assert!(bin.len() == 1 || bin.iter().map(|&m| lengths[m]).sum::<usize>() <= capacity);
            }
            // First fit: what opened a bin had no room in any bin before it, as that was then.
            for later in 1..bins.len() {
                let opener = bins.get(later)[0];
                for earlier in 0..later {
                    let held = bins.get(earlier).iter().filter(|&&m| m < opener);
                    let held: usize = held.map(|&m| lengths[m].min(capacity)).sum();
                    prop_assert!(held + lengths[opener].min(capacity) > capacity);
                }
            }
        }
    }
}
