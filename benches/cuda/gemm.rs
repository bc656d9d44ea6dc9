//! Products of bf16 matrices as kernels, each beside cuBLASLt's where that is installed, and beside the kernel for all GPUs
//! where there is one for this GPU alone.

use criterion::{Criterion, Throughput};
use device::DType;
use device::launch::{Architecture, CublasLt, DeviceBuffer, Executor, Product};
use gemm::launch::{Matrix, MatrixMut, Update, gemm};
use tunesmith_benches::{Gpu, Linear, Shapes, Suite};

/// `C = A W^T` forward, `dX = dY W` backward.
struct Operands {
    a: DeviceBuffer,
    weight: DeviceBuffer,
    c: DeviceBuffer,
}

impl Operands {
    fn new(gpu: &Gpu, product: Product, seed: u64) -> Self {
        let Product { m, n, k, .. } = product;
        let normal = |len, site| gpu.normal(DType::BF16, len, 3 * seed + site);
        Self { a: normal(m * k, 0), weight: normal(k * n, 1), c: gpu.empty(DType::BF16, m * n) }
    }

    fn launch(&mut self, product: Product) -> Result<(), gemm::GemmError> {
        let Product { m, n, k, b_transposed } = product;
        let weight = if b_transposed {
            Matrix::new(&self.weight, DType::BF16, n, k).transposed()
        } else {
            Matrix::new(&self.weight, DType::BF16, k, n)
        };
        let a = Matrix::new(&self.a, DType::BF16, m, k);
        gemm(1.0, a, weight, Update::Overwrite, MatrixMut::new(&mut self.c, DType::BF16, m, n))
    }
}

fn product(linear: &Linear, forward: bool) -> Product {
    let &Linear { tokens: m, inputs, outputs, .. } = linear;
    let (n, k) = if forward { (outputs, inputs) } else { (inputs, outputs) };
    Product { m, n, k, b_transposed: forward }
}

pub(crate) fn products(criterion: &mut Criterion) {
    let Some(gpu) = Gpu::find() else { return };
    let mut suite = Suite::new(criterion, "gemm");
    let portable = portable(gpu);
    let mut cublaslt = CublasLt::new(gpu.executor());
    if let Err(missing) = &cublaslt {
        println!("{missing}");
    }
    for linear in Shapes::read().linears() {
        for (direction, forward) in [("forward", true), ("grad_x", false)] {
            let product = product(&linear, forward);
            let Product { m, n, k, .. } = product;
            suite.throughput(Throughput::Elements(2 * (m * n * k) as u64));
            let bytes = 2 * (m * k + k * n + m * n);
            let mut sets = gpu.sets(bytes, |seed| Operands::new(gpu, product, seed as u64));
            suite.launches(gpu, format!("{direction}, {linear}"), &mut sets, |set| set.launch(product));
            if let Ok(cublaslt) = &mut cublaslt {
                suite.launches(gpu, format!("{direction}, {linear}, cublaslt"), &mut sets, |set| {
                    cublaslt.gemm(product, &set.a, &set.weight, &mut set.c)
                });
            }
            if let Some(portable) = &portable {
                let mut sets = portable.sets(bytes, |seed| Operands::new(portable, product, seed as u64));
                suite.launches(portable, format!("{direction}, {linear}, sm_80"), &mut sets, |set| set.launch(product));
            }
        }
    }
    suite.finish();
}

/// The same GPU with the kernels for all, where it has others.
fn portable(gpu: &Gpu) -> Option<Gpu> {
    let device::Device::Cuda(ordinal) = gpu.executor().device() else { return None };
    let own = gpu.executor().architecture() > Architecture::Ampere;
    own.then(|| gpu.with_executor(Executor::cuda_as(Architecture::Ampere, ordinal).expect("a later GPU runs them")))
}
