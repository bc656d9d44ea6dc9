//! Short parallel loops.
//!
//! A loop of some ten microseconds is over before a thread that sleeps has been woken. So the helpers of [`brief`] look
//! out for the next loop for a moment before they go to sleep, and whoever starts a loop does not wait for them: it takes
//! parts as they do, and only those that found a part are waited for. In generation loops follow each other so closely
//! that the helpers stay awake from token to token.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a helper looks out before it sleeps.
const LOOKOUT: Duration = Duration::from_micros(200);
/// Looks between two of the clock.
const LOOKS: usize = 64;

/// Calls `body(i)` for every `i` below `count`, on this thread and on helpers, one for each other thread of rayon's pool.
///
/// For bodies that take microseconds; a loop inside such a body, and one started while another thread runs one, runs on
/// its own thread alone.
pub fn brief(count: usize, body: impl Fn(usize) + Sync) {
    static TEAM: OnceLock<Team> = OnceLock::new();
    if count > 1 {
        let team = TEAM.get_or_init(|| Team::new(rayon::current_num_threads().saturating_sub(1)));
        if let Some(turn) = team.turn() {
            return team.run(turn, count, &body);
        }
    }
    (0..count).for_each(body);
}

/// As [`brief`] with consecutive rows of `row_len` elements of `data`: `body(i, row)`. What is left behind the last whole
/// row is not visited.
pub fn brief_rows_mut<T: Send>(data: &mut [T], row_len: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    struct Start<T>(*mut T);
    // SAFETY: stands for the exclusive borrow of `data`, of which threads use disjoint rows; elements may change threads.
    unsafe impl<T: Send> Sync for Start<T> {}
    let (start, count) = (Start(data.as_mut_ptr()), data.len().checked_div(row_len).unwrap_or(0));
    let start = &start;
    brief(count, |i| {
        // SAFETY: `i < count`, so the row is within `data`, and `brief` gives each `i` to one call.
        body(i, unsafe { std::slice::from_raw_parts_mut(start.0.add(i * row_len), row_len) });
    });
}

/// The helpers, and the loop that they can join.
struct Team {
    shared: &'static Shared,
    helpers: usize,
    turn: Mutex<()>,
}

struct Shared {
    /// Loops that were started. Written by whoever has the turn.
    started: AtomicU64,
    /// [`OPEN`] while a loop can be joined, plus [`HELPER`] for each helper within.
    gate: AtomicUsize,
    /// The loop, valid while the gate is open or a helper within.
    body: UnsafeCell<Option<Body>>,
    count: AtomicUsize,
    /// The part to be taken next.
    next: AtomicUsize,
    /// What a helper panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Helpers that sleep or are about to.
    asleep: AtomicUsize,
    bed: Mutex<()>,
    wake: Condvar,
}

const OPEN: usize = 1;
const HELPER: usize = 2;

/// The body of a loop. Its lifetime is that of the loop: see [`Team::run`].
type Body = *const (dyn Fn(usize) + Sync);

// SAFETY: `body` is written only while the gate is closed and nobody within, and read only by helpers within; the rest is
// synchronized by itself.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is to a body that all threads may call.
unsafe impl Send for Shared {}

impl Team {
    fn new(helpers: usize) -> Self {
        // For as long as the process lives, as its helpers do.
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            started: AtomicU64::new(0),
            gate: AtomicUsize::new(0),
            body: UnsafeCell::new(None),
            count: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            panic: Mutex::new(None),
            asleep: AtomicUsize::new(0),
            bed: Mutex::new(()),
            wake: Condvar::new(),
        }));
        let start = |i| std::thread::Builder::new().name(format!("helper {i}")).spawn(|| shared.help()).is_ok();
        // Where the system gives no more threads, there are fewer.
        let helpers = (0..helpers).take_while(|&i| start(i)).count();
        Self { shared, helpers, turn: Mutex::new(()) }
    }

    /// The right to run a loop; `None` while there is one, or nobody to help with it.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let turn = match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            // By a body that panicked: nothing is left of its loop.
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        turn.filter(|_| self.helpers > 0)
    }

    fn run(&self, _turn: MutexGuard<'_, ()>, count: usize, body: &(dyn Fn(usize) + Sync)) {
        let shared = self.shared;
        // SAFETY: only the lifetime changes. Helpers call the body only while within; `Closing` sees the last of them off
        // before `body` goes out of scope here, even by a panic.
        let body_of_loop = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Body>(body) };
        *lock(&shared.panic) = None;
        // SAFETY: the turn is ours, so the gate is closed and nobody within.
        unsafe { *shared.body.get() = Some(body_of_loop) };
        shared.count.store(count, Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        shared.gate.store(OPEN, Ordering::Release);
        let closing = Closing(shared);
        shared.started.fetch_add(1, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            drop(lock(&shared.bed));
            shared.wake.notify_all();
        }
        shared.take_parts(body);
        drop(closing);
        let panic = lock(&shared.panic).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Closes the gate and waits until everyone has left.
struct Closing(&'static Shared);

impl Drop for Closing {
    fn drop(&mut self) {
        let mut looks = 0;
        let mut within = self.0.gate.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        while within > 0 {
            // A helper that lost its core gets this one.
            if looks < LOOKS {
                std::hint::spin_loop()
            } else {
                std::thread::yield_now()
            }
            looks += 1;
            within = self.0.gate.load(Ordering::Acquire);
        }
    }
}

impl Shared {
    fn take_parts(&self, body: &(dyn Fn(usize) + Sync)) {
        let count = self.count.load(Ordering::Relaxed);
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= count {
                return;
            }
            body(part);
        }
    }

    /// The life of a helper.
    fn help(&self) {
        let mut joined = 0;
        loop {
            self.await_loop(&mut joined);
            if !self.enter() {
                continue;
            }
            // SAFETY: within, the body is there and nobody changes it.
            let body = unsafe { (*self.body.get()).map(|body| &*body) };
            let parts = || body.into_iter().for_each(|body| self.take_parts(body));
            if let Err(panic) = catch_unwind(AssertUnwindSafe(parts)) {
                *lock(&self.panic) = Some(panic);
            }
            self.gate.fetch_sub(HELPER, Ordering::Release);
        }
    }

    /// Goes through the gate if it is open.
    fn enter(&self) -> bool {
        let inside = |gate| (gate & OPEN != 0).then_some(gate + HELPER);
        self.gate.fetch_update(Ordering::Acquire, Ordering::Relaxed, inside).is_ok()
    }

    /// Returns when a loop was started that is not `joined` yet, and takes note of it.
    fn await_loop(&self, joined: &mut u64) {
        let is_new = |joined: &mut u64| {
            let started = self.started.load(Ordering::SeqCst);
            std::mem::replace(joined, started) != started
        };
        let since = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if is_new(joined) {
                    return;
                }
                std::hint::spin_loop();
            }
            if since.elapsed() >= LOOKOUT {
                break;
            }
        }
        let mut bed = lock(&self.bed);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while !is_new(joined) {
            bed = self.wake.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_visited_once_in_every_loop() {
        let team = Team::new(3);
        for count in (1..200).chain([10_000]) {
            let visits: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            team.run(team.turn().unwrap(), count, &|i| {
                visits[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(visits.iter().all(|visits| visits.load(Ordering::Relaxed) == 1), "{count}");
            if count % 50 == 0 {
                // Long enough that the helpers sleep.
                std::thread::sleep(5 * LOOKOUT);
            }
        }
    }

    #[test]
    fn rows_within_rows_and_beside_others() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let mut data = vec![0; 50 * 7 + 3];
                        brief_rows_mut(&mut data, 7, |i, row| {
                            brief_rows_mut(row, 1, |j, element| element[0] += 7 * i + j + 1);
                        });
                        let expected = (1..=50 * 7).chain([0; 3]);
                        assert!(data.iter().copied().eq(expected));
                    }
                });
            }
        });
        brief_rows_mut(&mut [1, 2], 0, |_, _| panic!("no rows"));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_helpers_go_on() {
        let team = Team::new(2);
        for _ in 0..20 {
            let loop_with_panic = || team.run(lock(&team.turn), 64, &|i| assert!(i != 33, "part 33"));
            assert!(catch_unwind(AssertUnwindSafe(loop_with_panic)).is_err());
            let sum = AtomicUsize::new(0);
            team.run(lock(&team.turn), 64, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
            assert_eq!(sum.into_inner(), 64 * 63 / 2);
        }
    }
}
