//! What an op keeps of a tensor until its backward.

use std::sync::{Arc, OnceLock};

use device::{Buffer, DType, Device, ElementsMut, parallel};

use crate::{Result, Tensor, tape};

/// A tensor kept for a backward pass, in no more memory than it needs.
///
/// | the tensor | what is kept |
/// |---|---|
/// | of a recipe ([`Tensor::with_recipe`]) | the recipe: the elements are computed again when the first of those that kept them reads them, and freed with the last |
/// | computed by a model in bf16 | its elements in bf16, once however many ops keep them |
/// | any other | its elements |
#[derive(Clone)]
pub(crate) enum Saved {
    Tensor(Tensor),
    Recipe(Arc<Recipe>),
}

/// How a tensor that is not kept is computed again.
pub(crate) struct Recipe {
    compute: Box<Compute>,
    made: OnceLock<Tensor>,
}

type Compute = dyn Fn() -> Result<Tensor> + Send + Sync;

impl Recipe {
    pub(crate) fn new(compute: impl Fn() -> Result<Tensor> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { compute: Box::new(compute), made: OnceLock::new() })
    }

    fn tensor(&self) -> Result<&Tensor> {
        match self.made.get() {
            Some(made) => Ok(made),
            None => {
                let made = (self.compute)()?;
                Ok(self.made.get_or_init(|| made))
            }
        }
    }
}

impl Saved {
    /// Keeps `x`, if ops are being recorded.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] without memory.
    pub(crate) fn new(x: &Tensor) -> Result<Self> {
        if !tape::is_recording() {
            return Ok(Saved::Tensor(x.detach()));
        }
        match x.recipe() {
            Some(recipe) => Ok(Saved::Recipe(recipe)),
            None => Ok(Saved::Tensor(x.kept()?)),
        }
    }

    /// The tensor as it is kept.
    ///
    /// # Errors
    /// Those of computing it again.
    pub(crate) fn stored(&self) -> Result<Tensor> {
        match self {
            Saved::Tensor(tensor) => Ok(tensor.clone()),
            Saved::Recipe(recipe) => recipe.tensor().cloned(),
        }
    }

    /// The tensor as it was given, but for what rounding lost.
    ///
    /// # Errors
    /// As [`Saved::stored`]; [`crate::TensorError::Device`] without memory.
    pub(crate) fn get(&self) -> Result<Tensor> {
        self.stored()?.widened()
    }
}

impl Tensor {
    /// The elements in f32 if they were kept in fewer bits on the CPU.
    pub(crate) fn widened(self) -> Result<Tensor> {
        if self.device() == Device::Cpu && self.dtype() != DType::F32 { widened(&self) } else { Ok(self) }
    }
}

/// Elements that are converted as one piece of work.
const BLOCK: usize = 1 << 15;

fn widened(tensor: &Tensor) -> Result<Tensor> {
    let mut out = Buffer::scratch(Device::Cpu, DType::F32, tensor.count())?;
    {
        let read = tensor.read();
        let elements = read.elements();
        parallel::rows_mut(out.f32_mut()?, 1, BLOCK, |start, out| elements.slice(start, out.len()).widen_into(out));
    }
    Tensor::new(tensor.shape(), out)
}

/// A copy rounded to bf16.
pub(crate) fn narrowed(values: &[f32]) -> Result<Buffer> {
    let mut out = Buffer::scratch(Device::Cpu, DType::BF16, values.len())?;
    parallel::rows_mut(out.as_mut_slice::<half::bf16>()?, 1, BLOCK, |start, out| {
        let values = &values[start..][..out.len()];
        ElementsMut::BF16(out).narrow_from(values);
    });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use transformer::Activation;

    use super::*;
    use crate::gradcheck::values;
    use crate::ops::{self, LoraOperands};
    use crate::{Gradients, Layout, Weight, backward, no_grad};

    fn tensor(shape: impl Into<crate::Shape>, seed: u64) -> Tensor {
        let (shape, values) = values(shape, seed);
        Tensor::from_f32(shape, &values).unwrap()
    }

    #[test]
    fn what_a_model_computes_in_bfloat16_is_kept_once() {
        let x = ops::scale(&tensor([3, 5], 1), 1.0).unwrap();
        assert_eq!(Saved::new(&x).unwrap().stored().unwrap().dtype(), DType::F32);
        let x = x.with_precision(DType::BF16);
        let y = ops::scale(&x, 0.7).unwrap();
        let [first, second] = [&y, &y.detach()].map(|y| Saved::new(y).unwrap().stored().unwrap());
        assert!(first.dtype() == DType::BF16 && first.is(&second));
        let rounded: Vec<f32> = y.to_vec().iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect();
        assert_eq!(Saved::new(&y).unwrap().get().unwrap().to_vec(), rounded);
        // What no backward will read is not rounded.
        let unrecorded = no_grad(|| Saved::new(&y)).unwrap().stored().unwrap();
        assert_eq!((unrecorded.dtype(), unrecorded.to_vec()), (DType::F32, y.to_vec()));
    }

    /// Where activations are computed, and in which type.
    fn places() -> Vec<(Device, DType)> {
        let mut places = vec![(Device::Cpu, DType::F32)];
        if cfg!(feature = "emulator") {
            places.extend([DType::F32, DType::BF16].map(|dtype| (Device::Emulated, dtype)));
        }
        places
    }

    #[test]
    fn a_recipe_is_followed_once_and_gives_the_bits_that_were_there() {
        for (device, dtype) in places() {
            let there = |shape: &[usize], seed| tensor(shape, seed).to_device(device, dtype).unwrap();
            let (gate, up, weight) = (there(&[4, 6], 1), there(&[4, 6], 2), there(&[6], 3));
            let silu = Activation::Silu;
            for y in [
                ops::rms_norm(&gate, &weight, 1e-5, false),
                ops::layer_norm(&gate, &weight, Some(&weight), 1e-5),
                ops::activation(&gate, silu),
                ops::gated_activation(&gate, &up, silu),
                ops::gated_activation_fused(&gate, silu),
            ] {
                let y = y.unwrap();
                let (first, second) = (Saved::new(&y).unwrap(), Saved::new(&y).unwrap());
                let made = first.get().unwrap();
                assert!(matches!(first, Saved::Recipe(_)) && made.is(&second.get().unwrap()) && !made.is(&y));
                assert_eq!((made.dtype(), made.to_vec()), (y.dtype(), y.to_vec()), "{device} {dtype}");
            }
        }
    }

    /// A block of a model: norm, projections with LoRA, gate, in one precision or the other.
    fn loss_and_gradients(precision: DType) -> (f32, Vec<f32>) {
        let (rows, hidden, inner) = (32, 64, 96);
        let leaves: Vec<Tensor> = [([4, hidden], 1), ([inner, 4], 2), ([4, inner], 3), ([hidden, 4], 4)]
            .map(|(shape, seed)| values(shape, seed))
            .map(|(shape, values)| Tensor::leaf(shape, &values).unwrap())
            .to_vec();
        let lora = |a: usize| LoraOperands {
            a: leaves[a].clone(),
            b: leaves[a + 1].clone(),
            bias: None,
            scaling: 0.5,
            dropout: None,
        };
        let weight = |shape: [usize; 2], seed| Weight::dense(tensor(shape, seed), Layout::OutIn).unwrap();
        let x = tensor([rows, hidden], 5).with_precision(precision);
        let x = ops::rms_norm(&x, &tensor([hidden], 6), 1e-5, false).unwrap();
        let up = ops::lora_linear(&x, &weight([inner, hidden], 7), None, &lora(0)).unwrap();
        let gate = ops::linear(&x, &weight([inner, hidden], 8), None).unwrap();
        let y = ops::gated_activation(&gate, &up, Activation::Silu).unwrap();
        let y = ops::lora_linear(&y, &weight([hidden, inner], 9), None, &lora(2)).unwrap();
        let weights: Vec<f32> = (0..y.count()).map(|i| (i as f32).sin()).collect();
        let loss = ops::weighted_sum(&y, &weights).unwrap();
        let mut gradients = Gradients::new(&leaves).unwrap();
        backward(&loss, 1.0, &mut gradients).unwrap();
        (loss.item().unwrap(), gradients.flat().unwrap().to_vec())
    }

    #[test]
    fn bfloat16_is_as_close_as_its_rounding() {
        let (exact, got) = (loss_and_gradients(DType::F32).1, loss_and_gradients(DType::BF16).1);
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
        let difference = norm(&mut got.iter().zip(&exact).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied());
        // Each of about six products in a row is of operands off by up to 2^-9 of themselves, in both signs.
        assert!(difference > 0.0 && difference <= 6.0 * 2f32.powi(-8), "{difference}");
    }
}
