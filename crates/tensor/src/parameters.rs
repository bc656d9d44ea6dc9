//! Trainable values under names, in one flat buffer: one optimizer pass, one clip, one file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use device::launch::DeviceBuffer;
use device::{Buffer, DType, Device};

use crate::storage::Memory;
use crate::{Result, Shape, Tensor, TensorError};

/// Named trainable leaves, f32 on one device, that lie one after another in the order they were declared.
pub struct Parameters {
    memory: Arc<Memory>,
    entries: Vec<(String, Tensor)>,
    len: usize,
    version: AtomicU64,
}

impl Parameters {
    /// Zeros for every `(name, shape)` on the CPU.
    ///
    /// # Errors
    /// [`TensorError::Device`] without memory.
    pub fn zeros(declared: impl IntoIterator<Item = (String, Shape)>) -> Result<Self> {
        Self::zeros_on(Device::Cpu, declared)
    }

    /// Zeros for every `(name, shape)` on `device`.
    ///
    /// # Errors
    /// [`TensorError::Device`] for a device that is not there, and without memory.
    pub fn zeros_on(device: Device, declared: impl IntoIterator<Item = (String, Shape)>) -> Result<Self> {
        let declared: Vec<_> = declared.into_iter().collect();
        let len = declared.iter().map(|(_, shape)| shape.count()).sum();
        let memory = Memory::new(Buffer::zeroed(device, DType::F32, len)?);
        let mut start = 0;
        let entries = declared
            .into_iter()
            .map(|(name, shape)| {
                let leaf = Tensor::leaf_in(&memory, start, shape);
                start += shape.count();
                (name, leaf)
            })
            .collect();
        Ok(Self { memory, entries, len, version: AtomicU64::new(0) })
    }

    /// Where they are.
    pub fn device(&self) -> Device {
        self.memory.device()
    }

    /// Names and leaves in the order of the flat buffer.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.entries.iter().map(|(name, leaf)| (name.as_str(), leaf))
    }

    /// The leaves in the order of the flat buffer.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.entries.iter().map(|(_, leaf)| leaf)
    }

    /// The leaf called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, leaf)| leaf)
    }

    /// Number of trainable values.
    pub fn count(&self) -> usize {
        self.len
    }

    /// A copy of all values on the CPU, one leaf after another.
    ///
    /// # Errors
    /// [`TensorError::Device`] if something that was started on their device failed.
    pub fn to_host(&self) -> Result<Vec<f32>> {
        self.memory.to_vec()
    }

    /// Changes all values at once, one leaf after another; a copy of them, which is written back, where they are not on the
    /// CPU. No graph that uses them may be waiting for its backward.
    ///
    /// # Errors
    /// None on the CPU; [`TensorError::Device`].
    pub fn update<R>(&self, change: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
        self.version.fetch_add(1, Ordering::Relaxed);
        self.memory.write(change)
    }

    /// Lets kernels change all values at once.
    ///
    /// # Errors
    /// [`TensorError::Device`] on the CPU.
    pub fn update_on_device<R>(&self, change: impl FnOnce(&mut DeviceBuffer) -> R) -> Result<R> {
        self.version.fetch_add(1, Ordering::Relaxed);
        self.memory.write_on_device(change)
    }

    /// A number that is another one after every change: what follows from the values alone can be kept until then.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Sets leaf `index`.
    ///
    /// # Errors
    /// [`TensorError::Count`] if the values do not fill it; [`TensorError::Device`] if they cannot be copied.
    ///
    /// # Panics
    /// If there is no leaf `index`.
    pub fn set(&self, index: usize, values: &[f32]) -> Result<()> {
        let leaf = &self.entries[index].1;
        if leaf.count() != values.len() {
            return Err(TensorError::Count { count: values.len(), shape: Shape::from(leaf.shape()) });
        }
        self.version.fetch_add(1, Ordering::Relaxed);
        self.memory.write_at(self.entries[..index].iter().map(|(_, leaf)| leaf.count()).sum(), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_view_one_flat_buffer() {
        let parameters =
            Parameters::zeros([("a".to_owned(), Shape::from([2, 2])), ("b".to_owned(), Shape::from([3]))]).unwrap();
        let before = parameters.version();
        parameters.set(1, &[1.0, 2.0, 3.0]).unwrap();
        assert_ne!(parameters.version(), before);
        parameters.update(|flat| flat.iter_mut().for_each(|x| *x += 1.0)).unwrap();
        assert_eq!(parameters.get("a").unwrap().to_vec(), [1.0; 4]);
        assert_eq!(parameters.get("b").unwrap().to_vec(), [2.0, 3.0, 4.0]);
        assert!(matches!(parameters.set(0, &[0.0]), Err(TensorError::Count { .. })));
        assert_eq!(parameters.count(), 7);
    }
}
