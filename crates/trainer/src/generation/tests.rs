//! Which texts are written when, by a model that counts.

use std::cell::RefCell;
use std::sync::Mutex;

use super::*;

const VOCAB_SIZE: u32 = 12;
/// The token that ends a text.
const STOP: u32 = 9;

/// Goes on with the number after the last, and notes how many tokens each pass has and which texts are forgotten.
#[derive(Default)]
struct Counting {
    passes: Mutex<Vec<usize>>,
    forgotten: Mutex<Vec<usize>>,
}

struct Counts<'a>(&'a Counting);

fn logits(last: u32) -> Vec<f32> {
    (0..VOCAB_SIZE).map(|token| f32::from(u8::from(token == last + 1))).collect()
}

impl TextModel for Counting {
    fn write<'a>(&'a self, _pass: &'a Pass) -> Result<Box<dyn Writing + 'a>, Error> {
        Ok(Box::new(Counts(self)))
    }

    fn continues(&self) -> bool {
        true
    }
}

impl Writing for Counts<'_> {
    fn read(&mut self, prompts: &[&[u32]]) -> Result<Vec<f32>, Error> {
        self.0.passes.lock().unwrap().push(prompts.iter().map(|prompt| prompt.len()).sum());
        Ok(prompts.iter().filter_map(|prompt| prompt.last()).flat_map(|&last| logits(last)).collect())
    }

    fn write(&mut self, tokens: &[Option<u32>]) -> Result<Vec<f32>, Error> {
        self.0.passes.lock().unwrap().push(tokens.iter().flatten().count());
        Ok(tokens.iter().flatten().flat_map(|&last| logits(last)).collect())
    }

    fn forget(&mut self, place: usize) {
        self.0.forgotten.lock().unwrap().push(place);
    }

    fn room(&self, prompt: usize) -> usize {
        4000 - prompt
    }
}

fn run(model: &Counting, prompts: &[Vec<u32>], batch_size: usize, max_new_tokens: usize) -> Vec<Continuation> {
    let prompts: Vec<Prompt> = prompts.iter().map(|ids| Prompt { token_ids: ids.clone(), number: 0 }).collect();
    let generation = Generation {
        model,
        pass: &Pass::base(),
        sampling: Sampling::GREEDY,
        max_new_tokens,
        stop_token_ids: &[STOP],
        batch_size,
    };
    let told = RefCell::new(vec![(Vec::new(), 0); prompts.len()]);
    let each = |index: usize, news| {
        let (tokens, ends) = &mut told.borrow_mut()[index];
        match news {
            News::Token(token) => tokens.push(token),
            News::End => *ends += 1,
        }
        Ok(())
    };
    let continuations = generation.run(&prompts, each).unwrap();
    let expected: Vec<_> = continuations.iter().map(|one| (one.token_ids.clone(), 1)).collect();
    assert_eq!(told.into_inner(), expected);
    continuations
}

#[test]
fn a_place_is_taken_by_the_next_prompt_as_soon_as_it_is_free() {
    let model = Counting::default();
    let written = run(&model, &[vec![5], vec![7, 7], vec![8], vec![1, 2, 6]], 2, 3);
    let of = |index: usize| (&written[index].token_ids[..], written[index].finish_reason);
    assert_eq!(of(0), (&[6, 7, 8][..], FinishReason::Length));
    assert_eq!(of(1), (&[8][..], FinishReason::Stop));
    assert_eq!(of(2), (&[][..], FinishReason::Stop));
    assert_eq!(of(3), (&[7, 8][..], FinishReason::Stop));
    assert_eq!((written[2].seconds_to_first_token, written[0].seconds_to_first_token.is_some()), (None, true));
    // Both prompts; a token of both, which ends the second; the third prompt, which ends at once; the fourth; a token of the first and
    // of the fourth, which ends the first; the rest of the fourth.
    assert_eq!(*model.passes.lock().unwrap(), [3, 2, 1, 3, 2, 1]);
    assert_eq!(*model.forgotten.lock().unwrap(), [1, 1, 0, 1]);
}

#[test]
fn prompts_are_read_together_up_to_a_number_of_tokens() {
    let model = Counting::default();
    let prompt = |tokens: usize| vec![8; tokens];
    run(&model, &[1000, 1000, 48, 1, 3000, 10].map(prompt), 6, 5);
    assert_eq!(*model.passes.lock().unwrap(), [2048, 1, 3000, 10]);
}

#[test]
fn nothing_is_read_for_a_text_without_room() {
    let model = Counting::default();
    let written = run(&model, &[vec![1; 4000], vec![8]], 2, 5);
    assert_eq!((written[0].token_ids.len(), written[0].finish_reason), (0, FinishReason::Length));
    assert_eq!(*model.passes.lock().unwrap(), [1]);
    assert!(run(&model, &[], 8, 5).is_empty());
}
