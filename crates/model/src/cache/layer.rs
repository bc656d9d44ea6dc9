//! Keys and values of one block.

use std::sync::Arc;

use tensor::{Result, RowBuffers, Sequences, Tensor};

use crate::parts::Prefix;

/// Keys and values of some texts in one block.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: RowBuffers,
    values: RowBuffers,
    window: Option<usize>,
    /// What the adapter sets before them: computed once, where the first text begins.
    prefix: Option<Prefix>,
    /// The places of the texts that the pass goes on, in their order there, and how many rows each has in it.
    in_pass: Arc<[(usize, usize)]>,
}

impl LayerCache {
    /// An empty one for keys and values of `columns` elements each, of which a block sees the last `window`.
    pub(crate) fn new(columns: usize, window: Option<usize>) -> Result<Self> {
        let (keys, values) = (RowBuffers::new(columns)?, RowBuffers::new(columns)?);
        Ok(Self { keys, values, window, prefix: None, in_pass: [].into() })
    }

    /// Makes room for more texts, until there are `places`.
    pub(crate) fn add_up_to(&mut self, places: usize) {
        self.keys.add_up_to(places);
        self.values.add_up_to(places);
    }

    /// Forgets the text at `place`.
    pub(crate) fn forget(&mut self, place: usize) {
        self.keys.clear(place);
        self.values.clear(place);
    }

    /// Says which texts the next pass goes on, each with the number of its rows.
    pub(crate) fn begin(&mut self, rows: &Arc<[(usize, usize)]>) {
        self.in_pass = Arc::clone(rows);
    }

    /// What is set before keys and values: what `compute` gives where no text has begun.
    pub(crate) fn prefix(&mut self, compute: impl FnOnce() -> Result<Option<Prefix>>) -> Result<Option<Prefix>> {
        if self.keys.is_empty() {
            self.prefix = compute()?;
        }
        Ok(self.prefix.clone())
    }

    /// Takes keys and values of the texts that `rows` names with how many they are.
    pub(crate) fn push(&mut self, keys: &Tensor, values: &Tensor, rows: &[(usize, usize)]) -> Result<()> {
        self.keys.push(keys, rows)?;
        self.values.push(values, rows)
    }

    /// Takes the keys and values of the pass, and gives what its queries see, as [`LayerCache::seen`]. `leading` come before
    /// those of a text's first token.
    pub(crate) fn append(
        &mut self,
        keys: &Tensor,
        values: &Tensor,
        leading: Option<&Prefix>,
    ) -> Result<(Tensor, Tensor, Arc<Sequences>)> {
        if let Some((first_keys, first_values)) = leading {
            let begun = |(place, _): &(usize, usize)| (self.keys.rows(*place) == 0).then_some(*place);
            for place in self.in_pass.iter().filter_map(begun).collect::<Vec<_>>() {
                self.push(first_keys, first_values, &[(place, first_keys.shape()[0])])?;
            }
        }
        if let Some(window) = self.window {
            for &(place, _) in self.in_pass.iter() {
                let gone = self.keys.rows(place).saturating_sub(window - 1);
                self.keys.drop_front(place, gone);
                self.values.drop_front(place, gone);
            }
        }
        self.push(keys, values, &Arc::clone(&self.in_pass))?;
        self.seen()
    }

    /// Keys and values, and which of them the queries of each text in the pass see. Between those of one text and of the next
    /// others may lie: they make up a sequence without a query.
    pub(crate) fn seen(&self) -> Result<(Tensor, Tensor, Arc<Sequences>)> {
        let (keys, values) = self.keys_and_values();
        let (mut starts_q, mut starts_kv) = (vec![0], vec![0]);
        let mut end_at = |queries: usize, key: usize| {
            if starts_q.last() != Some(&(queries as u32)) || starts_kv.last() != Some(&(key as u32)) {
                starts_q.push(queries as u32);
                starts_kv.push(key as u32);
            }
        };
        let mut queries = 0;
        for &(place, rows) in self.in_pass.iter() {
            let own = self.keys.range(place);
            end_at(queries, own.start);
            queries += rows;
            end_at(queries, own.end);
        }
        end_at(queries, keys.shape()[0]);
        Ok((keys, values, Arc::new(Sequences::cached(&starts_q, &starts_kv)?)))
    }

    /// Keys and values of all texts.
    pub(crate) fn keys_and_values(&self) -> (Tensor, Tensor) {
        (self.keys.view(), self.values.view())
    }
}
