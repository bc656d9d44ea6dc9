//! Intel AMX: tile registers, and the permission to use them.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;
    use std::marker::PhantomData;
    use std::sync::OnceLock;

    /// Proof that tiles are there, and that this process may use them.
    #[derive(Clone, Copy, Debug)]
    pub struct Tiles {
        features: u32,
    }

    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;

    impl Tiles {
        /// `None` if this machine or its kernel lacks them.
        pub fn detect() -> Option<Self> {
            static FEATURES: OnceLock<u32> = OnceLock::new();
            let features = *FEATURES.get_or_init(|| {
                let features = __cpuid_count(7, 0).edx;
                if features & AMX_TILE != 0 && request_permission() { features } else { 0 }
            });
            (features != 0).then_some(Self { features })
        }

        /// Whether there are products of bf16.
        pub fn has_bf16(self) -> bool {
            self.features & AMX_BF16 != 0
        }

        /// Whether there are products of bytes.
        pub fn has_int8(self) -> bool {
            self.features & AMX_INT8 != 0
        }

        /// Configures this thread's tiles, all eight of 16 rows of 64 bytes, for as long as the result lives.
        pub fn session(self) -> Session {
            // SAFETY: `self` proves that the instruction is there; its operand is a valid configuration of 64 bytes.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, readonly)) };
            Session(PhantomData)
        }
    }

    /// Asks Linux to keep tile registers for the threads of this process, which it does for those that ask.
    fn request_permission() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        // SAFETY: the call sets a permission of this process and touches no memory; kernels that lack it return an error.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }

    /// The operand of `ldtilecfg`: all eight tiles as large as they can be.
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        bytes_per_row: [u16; 16],
        rows: [u8; 16],
    }

    static CONFIGURATION: Configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes_per_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
    };

    /// Tiles are configured on this thread, which it does not leave, for as long as it lives. A session within another ends
    /// both, so none is begun while one lives.
    #[derive(Debug)]
    pub struct Session(PhantomData<*const ()>);

    impl Drop for Session {
        fn drop(&mut self) {
            // SAFETY: a session exists, so the instruction does. Released tiles cost nothing when the thread is switched.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub use amx::{Session, Tiles};
