//! The one fault of a mapped file that is a signal: somebody shortened it, and a page behind its new end was read.

/// Exit code of a process that lost a mapped file, `EX_IOERR` of sysexits.
pub const EXIT_BUS_ERROR: i32 = 74;

const MESSAGE: &[u8] = b"error: a file that is in use was shortened, or its disk failed (SIGBUS); nothing more was \
    written. Stop whatever writes to the file, fetch it again and start again\n";

/// From now on such a read ends the process with a line on stderr and [`EXIT_BUS_ERROR`], instead of a core dump. For the
/// `main` of a program: a process has one handler.
pub fn exit_on_bus_error() {
    // SAFETY: an all-zero `sigaction` is a valid value of the plain C struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = report as extern "C" fn(libc::c_int) as usize;
    // SAFETY: `action` is initialised, its handler only calls functions that are allowed in one, and no old action is asked
    // for. The call fails only for a signal that does not exist.
    unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) };
}

extern "C" fn report(_signal: libc::c_int) {
    // SAFETY: `write` is async-signal-safe and reads `MESSAGE`, which is static.
    unsafe { libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
    // SAFETY: `_exit` is async-signal-safe and runs nothing of this process.
    unsafe { libc::_exit(EXIT_BUS_ERROR) };
}
