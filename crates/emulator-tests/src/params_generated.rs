// Written by scripts/bindings from params.h.

#[doc = " Threads of every block."]
pub const PROBE_THREADS: u32 = 64;
#[doc = " Shared memory of every block."]
pub const PROBE_SHARED_BYTES: u32 = 1024;
#[doc = " One array in, one array out."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct ProbeParams {
    #[doc = " Address of the input, f32 or bf16 as the kernel says."]
    pub input: u64,
    #[doc = " Address of `[len]` f32, written."]
    pub output: u64,
    #[doc = " Elements."]
    pub len: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ProbeParams"][::std::mem::size_of::<ProbeParams>() - 24usize];
    ["Alignment of ProbeParams"][::std::mem::align_of::<ProbeParams>() - 8usize];
    ["Offset of field: ProbeParams::input"][::std::mem::offset_of!(ProbeParams, input) - 0usize];
    ["Offset of field: ProbeParams::output"][::std::mem::offset_of!(ProbeParams, output) - 8usize];
    ["Offset of field: ProbeParams::len"][::std::mem::offset_of!(ProbeParams, len) - 16usize];
};
#[doc = " Threads of a block that multiplies on Hopper: one warpgroup."]
pub const HOPPER_PROBE_THREADS: u32 = 128;
#[doc = " Its shared memory: A (64 x 64), B (64 x 256) and a barrier."]
pub const HOPPER_PROBE_SHARED_BYTES: u32 = 41984;
#[doc = " A matrix for the tensor memory accelerator."]
#[repr(C)]
#[repr(align(64))]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct ProbeTensorMap {
    #[doc = " Opaque."]
    pub words: [u64; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ProbeTensorMap"][::std::mem::size_of::<ProbeTensorMap>() - 128usize];
    ["Alignment of ProbeTensorMap"][::std::mem::align_of::<ProbeTensorMap>() - 64usize];
    ["Offset of field: ProbeTensorMap::words"][::std::mem::offset_of!(ProbeTensorMap, words) - 0usize];
};
#[doc = " Two bf16 matrices in, their product out."]
#[repr(C)]
#[repr(align(64))]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct HopperProbeParams {
    #[doc = " `[64, 64]`"]
    pub a: ProbeTensorMap,
    #[doc = " `[256, 64]` or `[64, 256]`, as the kernel says."]
    pub b: ProbeTensorMap,
    #[doc = " Address of `[64, 256]` f32, written."]
    pub output: u64,
    #[doc = " Up to a multiple of the alignment."]
    pub padding: [u64; 7usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of HopperProbeParams"][::std::mem::size_of::<HopperProbeParams>() - 320usize];
    ["Alignment of HopperProbeParams"][::std::mem::align_of::<HopperProbeParams>() - 64usize];
    ["Offset of field: HopperProbeParams::a"][::std::mem::offset_of!(HopperProbeParams, a) - 0usize];
    ["Offset of field: HopperProbeParams::b"][::std::mem::offset_of!(HopperProbeParams, b) - 128usize];
    ["Offset of field: HopperProbeParams::output"][::std::mem::offset_of!(HopperProbeParams, output) - 256usize];
    ["Offset of field: HopperProbeParams::padding"][::std::mem::offset_of!(HopperProbeParams, padding) - 264usize];
};
