//! Work that a thread starts and that is done as late as it may be: when it is waited for.

use std::collections::VecDeque;

/// What `cuda/emulator` needs to do a piece of work.
pub(super) type Work = [u64; 4];

/// Pieces under way: closed groups, oldest first, and the group that is still open.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    groups: VecDeque<VecDeque<Work>>,
    open: VecDeque<Work>,
}

impl Deferred {
    pub(super) fn start(&mut self, work: Work) {
        self.open.push_back(work);
    }

    /// Closes the open group, which may be empty.
    pub(super) fn commit(&mut self) {
        self.groups.push_back(std::mem::take(&mut self.open));
    }

    /// The next piece to do so that at most the latest `pending` groups are under way.
    pub(super) fn next(&mut self, pending: usize) -> Option<Work> {
        while self.groups.len() > pending {
            match self.groups[0].pop_front() {
                Some(work) => return Some(work),
                None => self.groups.pop_front(),
            };
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_done_in_order_and_the_latest_stay() {
        let mut deferred = Deferred::default();
        for group in [&[1, 2][..], &[], &[3], &[4]] {
            group.iter().for_each(|&i| deferred.start([i; 4]));
            deferred.commit();
        }
        let done: Vec<u64> = std::iter::from_fn(|| deferred.next(1)).map(|work| work[0]).collect();
        assert_eq!(done, [1, 2, 3]);
        assert_eq!(deferred.next(0), Some([4; 4]));
        assert_eq!(deferred.next(0), None);
    }
}
