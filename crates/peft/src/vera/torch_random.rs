//! The numbers of torch's generator on the CPU: a Mersenne Twister, and how `Tensor.uniform_` takes floats from it.
//!
//! Source: Matsumoto and Nishimura 1998, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random number
//! generator".

/// Words of state.
const WORDS: usize = 624;
/// How far ahead the word lies that is mixed in.
const AHEAD: usize = 397;

/// `torch.Generator(device="cpu")`.
pub(super) struct Generator {
    state: [u32; WORDS],
    next: usize,
}

impl Generator {
    /// `manual_seed(seed)`, of which torch uses the low 32 bits.
    pub(super) fn new(seed: u64) -> Self {
        let mut state = [seed as u32; WORDS];
        for i in 1..WORDS {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: WORDS }
    }

    /// `uniform_(-bound, bound)`: 24 bits of each word, spread and moved in one rounding.
    pub(super) fn fill_uniform(&mut self, values: &mut [f32], bound: f32) {
        const STEP: f32 = 1.0 / (1 << 24) as f32;
        for value in values {
            let bits = self.word() & ((1 << 24) - 1);
            *value = (bits as f32 * STEP).mul_add(bound - -bound, -bound);
        }
    }

    fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for i in 0..WORDS {
            let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
            let mixed = (joined >> 1) ^ if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + AHEAD) % WORDS] ^ mixed;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_reference_implementation() {
        // init_genrand(5489), the default seed of the authors' mt19937ar.c.
        let mut generator = Generator::new(5489);
        assert_eq!([(); 3].map(|()| generator.word()), [3_499_211_612, 581_869_302, 3_890_346_734]);
        // C++ fixes the 10000th word in its standard.
        assert_eq!((3..10_000).map(|_| generator.word()).last(), Some(4_123_659_995));
    }

    #[test]
    fn floats_are_those_of_torch() {
        // torch.empty(4).uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(7))
        let mut values = [0.0; 4];
        for seed in [7, (1 << 40) + 7] {
            Generator::new(seed).fill_uniform(&mut values, 0.3);
            assert_eq!(values, TORCH);
        }
    }

    const TORCH: [f32; 4] = [0.020953525, -0.1807181, 0.09552702, 0.09413417];
}
