//! Where the elements of a tensor are: a part of a shared buffer on any device, or frozen bytes of a mapped file.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use device::launch::DeviceBuffer;
use device::{Buffer, DType, Device, DeviceError, Element, Elements, SharedBytes};
use half::{bf16, f16};

use crate::convert::convert;
use crate::{Result, TensorError};

/// A buffer that several tensors may view. Only an optimizer or a loader writes to it, between steps.
pub(crate) struct Memory {
    device: Device,
    dtype: DType,
    buffer: RwLock<Buffer>,
    /// All elements in another type that kernels asked for, until the next change.
    converted: Mutex<Option<Buffer>>,
}

impl Memory {
    pub(crate) fn new(buffer: Buffer) -> Arc<Self> {
        let (device, dtype) = (buffer.device(), buffer.dtype());
        Arc::new(Self { device, dtype, buffer: RwLock::new(buffer), converted: Mutex::default() })
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    fn read(&self) -> RwLockReadGuard<'_, Buffer> {
        // A writer that panicked left numbers, not broken invariants.
        self.buffer.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn converted(&self) -> MutexGuard<'_, Option<Buffer>> {
        self.converted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer, to change it.
    fn exclusive(&self) -> RwLockWriteGuard<'_, Buffer> {
        let buffer = self.buffer.write().unwrap_or_else(PoisonError::into_inner);
        // Only now: whoever still read the old elements could put a copy of them back.
        *self.converted() = None;
        buffer
    }

    /// A copy of all elements.
    pub(crate) fn to_vec(&self) -> Result<Vec<f32>> {
        Ok(self.read().read_f32()?.into_owned())
    }

    /// Runs `change` on all elements, exclusively; on a copy of them where the CPU cannot reach them.
    pub(crate) fn write<R>(&self, change: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
        let mut buffer = self.exclusive();
        if self.device == Device::Cpu {
            return Ok(change(buffer.f32_mut()?));
        }
        let mut copy = buffer.to_host()?;
        let result = change(copy.f32_mut()?);
        buffer.memory_mut()?.write(copy.f32()?)?;
        Ok(result)
    }

    /// Replaces the elements from `start` on.
    pub(crate) fn write_at(&self, start: usize, values: &[f32]) -> Result<()> {
        Ok(self.exclusive().write_f32(start, values)?)
    }

    /// Replaces the elements from `start` on by those of a tensor on the same device, converted.
    pub(crate) fn copy_at(&self, start: usize, from: &crate::Tensor, op: &'static str) -> Result<()> {
        if self.device == Device::Cpu {
            return self.write_at(start, from.read().f32(op, "x")?);
        }
        let from = from.on_device(op, "x", self.dtype)?;
        let start = start * self.dtype.size_bytes();
        let mut to = self.exclusive().memory()?.view(start..start + from.len_bytes());
        Ok(to.copy_from(&from)?)
    }

    /// Runs `change` on the memory of all elements on a device that runs kernels.
    pub(crate) fn write_on_device<R>(&self, change: impl FnOnce(&mut DeviceBuffer) -> R) -> Result<R> {
        Ok(change(self.exclusive().memory_mut()?))
    }

    /// The `elements` in `dtype`. What is of another type is converted at once and kept: adapters are f32, and kernels take
    /// them in the type of the activations.
    fn on_device(&self, elements: Range<usize>, dtype: DType) -> Result<DeviceBuffer> {
        let buffer = self.read();
        let bytes = elements.start * dtype.size_bytes()..elements.end * dtype.size_bytes();
        if self.dtype == dtype {
            return Ok(buffer.memory()?.view(bytes));
        }
        let mut converted = self.converted();
        let kept = match converted.take() {
            Some(kept) if kept.dtype() == dtype => kept,
            _ => {
                let mut made = Buffer::scratch(self.device, dtype, buffer.len())?;
                convert(&buffer, &mut made, false)?;
                made
            }
        };
        Ok(converted.insert(kept).memory()?.view(bytes))
    }
}

#[derive(Clone)]
pub(crate) enum Storage {
    Memory { memory: Arc<Memory>, start: usize, dtype: DType },
    Frozen { bytes: SharedBytes, dtype: DType },
}

impl Storage {
    pub(crate) fn own(buffer: Buffer) -> Self {
        let dtype = buffer.dtype();
        Storage::Memory { memory: Memory::new(buffer), start: 0, dtype }
    }

    pub(crate) fn dtype(&self) -> DType {
        match self {
            Storage::Memory { dtype, .. } | Storage::Frozen { dtype, .. } => *dtype,
        }
    }

    pub(crate) fn device(&self) -> Device {
        match self {
            Storage::Memory { memory, .. } => memory.device,
            Storage::Frozen { .. } => Device::Cpu,
        }
    }

    /// A part of the elements, which has to be there.
    pub(crate) fn slice(&self, elements: Range<usize>) -> Self {
        match self {
            Storage::Memory { memory, start, dtype } => {
                Storage::Memory { memory: Arc::clone(memory), start: start + elements.start, dtype: *dtype }
            }
            Storage::Frozen { bytes, dtype } => {
                let size = dtype.size_bytes();
                let part = bytes.slice(elements.start * size, elements.len() * size);
                Storage::Frozen { bytes: part.expect("the caller has checked the range"), dtype: *dtype }
            }
        }
    }

    pub(crate) fn read(&self, len: usize) -> Read<'_> {
        match self {
            Storage::Frozen { bytes, dtype } => Read(Source::Frozen(bytes.as_slice(), *dtype)),
            Storage::Memory { memory, start, .. } if memory.device == Device::Cpu => {
                Read(Source::Memory(memory.read(), *start, len))
            }
            Storage::Memory { memory, dtype, .. } => {
                let values = match dtype {
                    DType::F32 => Copied::F32(self.copied(len)),
                    DType::BF16 => Copied::BF16(self.copied(len)),
                    DType::F16 => Copied::F16(self.copied(len)),
                };
                Read(Source::Copied(values, memory.device))
            }
        }
    }

    /// A copy of the first `len` elements, NaN if the device has failed: its driver repeats the error to whatever comes next.
    fn copied<T: Element>(&self, len: usize) -> Vec<T> {
        let values = self.on_device(len, T::DTYPE).and_then(|memory| Ok(memory.read()?));
        values.unwrap_or_else(|_| vec![T::from_f32(f32::NAN); len])
    }

    /// A copy of the first `len` elements on the CPU.
    pub(crate) fn to_host(&self, len: usize) -> Result<Buffer> {
        Ok(Buffer::on_device(self.on_device(len, self.dtype())?, self.dtype())?.to_host()?)
    }

    /// The first `len` elements in `dtype`, for kernels; [`DeviceError::NoKernels`] on the CPU.
    pub(crate) fn on_device(&self, len: usize, dtype: DType) -> Result<DeviceBuffer> {
        match self {
            Storage::Memory { memory, start, .. } => memory.on_device(*start..start + len, dtype),
            Storage::Frozen { .. } => Err(DeviceError::NoKernels.into()),
        }
    }
}

/// Read access to a tensor's elements for as long as it lives.
pub struct Read<'a>(Source<'a>);

enum Source<'a> {
    Memory(RwLockReadGuard<'a, Buffer>, usize, usize),
    Frozen(&'a [u8], DType),
    /// From this device.
    Copied(Copied, Device),
}

enum Copied {
    F32(Vec<f32>),
    BF16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Read<'_> {
    /// The elements in the dtype they are stored in.
    pub fn elements(&self) -> Elements<'_> {
        match &self.0 {
            Source::Memory(buffer, start, len) => {
                buffer.elements().expect("`Storage::read` borrows the CPU's buffers alone").slice(*start, *len)
            }
            Source::Frozen(bytes, dtype) => {
                Elements::from_bytes(bytes, *dtype).expect("alignment was checked when the tensor was made")
            }
            Source::Copied(Copied::F32(values), _) => Elements::F32(values),
            Source::Copied(Copied::BF16(values), _) => Elements::BF16(values),
            Source::Copied(Copied::F16(values), _) => Elements::F16(values),
        }
    }

    /// The elements in the dtype they are stored in, for an op that computes on the CPU and widens them itself.
    ///
    /// # Errors
    /// [`TensorError::NoKernel`] naming `op` if they are on another device: what an op has no kernel for is not computed on the
    /// CPU instead.
    pub fn on_cpu(&self, op: &'static str) -> Result<Elements<'_>> {
        match self.0 {
            Source::Copied(_, device) => Err(TensorError::NoKernel { op, device }),
            _ => Ok(self.elements()),
        }
    }

    /// The elements as f32, for an op that computes on the CPU.
    ///
    /// # Errors
    /// [`TensorError::DType`] naming `op` and `argument` if they are stored in another dtype; as [`Read::on_cpu`].
    pub fn f32(&self, op: &'static str, argument: &'static str) -> Result<&[f32]> {
        match self.on_cpu(op)? {
            Elements::F32(slice) => Ok(slice),
            other => Err(TensorError::DType { op, argument, expected: DType::F32, got: other.dtype() }),
        }
    }
}
