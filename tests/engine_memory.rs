//! What the engines allocate: under 2 MB each, all of it before their first stream, and a
//! gibibyte goes through them as well.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement; this one only counts")]

#[path = "engines/generate.rs"]
mod generate;

use cratehold::deflate::engines::miniz9::Miniz9;
use cratehold::deflate::engines::zlib_rs9::{Release, ZlibRs9};
use cratehold::deflate::engines::zlib9::{MemLevel, Zlib9};
use cratehold::deflate::{Engine, Recipe, redo_by_library};
use generate::Random;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::ControlFlow;

thread_local! {
    /// Allocations of this thread, and the bytes of those.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: each call goes to the system's allocator as it is; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps to the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: the caller keeps to the contract of `realloc`.
        unsafe { System.realloc(memory, layout, bytes) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    COUNT.set(COUNT.get() + 1);
    BYTES.set(BYTES.get() + bytes);
}

/// Allocations and bytes while `work` runs.
fn allocated<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    let (count, bytes) = (COUNT.get(), BYTES.get());
    let done = work();
    (done, COUNT.get() - count, BYTES.get() - bytes)
}

type Deflate = Box<dyn FnMut(&[u8], &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> bool>;

fn engine(engine: Engine) -> Deflate {
    match engine {
        Engine::Miniz9 => {
            let mut engine = Miniz9::new();
            Box::new(move |input, sink| engine.deflate(input, sink))
        }
        Engine::Zlib9Mem9 | Engine::Zlib9Mem8 => {
            let is_nine = engine == Engine::Zlib9Mem9;
            let mut engine = Zlib9::new(if is_nine { MemLevel::Nine } else { MemLevel::Eight });
            Box::new(move |input, sink| engine.deflate(input, sink))
        }
        Engine::ZlibRs06 | Engine::ZlibRs05 => {
            let is_06 = engine == Engine::ZlibRs06;
            let mut engine = ZlibRs9::new(if is_06 { Release::V06 } else { Release::V05 });
            Box::new(move |input, sink| engine.deflate(input, sink))
        }
    }
}

#[test]
fn all_memory_is_there_before_the_first_stream() {
    let mut random = Random::new(5);
    let inputs = [
        generate::prose(1, 300),
        generate::prose(2, 700_000),
        random.bytes(300_000),
        vec![0; 1_000_000],
        generate::table(3, 400_000),
        generate::periodic(4, 5000, 300_000),
        random.letters(b"0123456789abcdef", 300_000),
        random.letters(b"01", 100_000),
    ];
    for number in Engine::ALL {
        let (mut deflate, _, bytes) = allocated(|| engine(number));
        assert!(bytes < 2_000_000, "{} takes {bytes} bytes", number.name());
        for input in &inputs {
            let (done, count, _) = allocated(|| deflate(input, &mut |_| ControlFlow::Continue(())));
            assert!(done);
            assert_eq!(count, 0, "{} allocates for {} bytes", number.name(), input.len());
        }
    }
}

/// The zeros are pages that the system never had to give.
#[test]
fn a_gibibyte_of_zeros() {
    let input = vec![0; 1 << 30];
    std::thread::scope(|scope| {
        for number in Engine::ALL {
            let input = &input;
            scope.spawn(move || as_by_the_library(number, input));
        }
    });
}

fn as_by_the_library(number: Engine, input: &[u8]) {
    let mut deflate = engine(number);
    let mut stream = Vec::with_capacity(4 << 20);
    let (done, count, _) = allocated(|| {
        deflate(input, &mut |piece| {
            stream.extend_from_slice(piece);
            ControlFlow::Continue(())
        })
    });
    assert!(done);
    assert_eq!(count, 0, "{}", number.name());
    let recipe = Recipe {
        engine: number,
        header: Vec::new(),
        trailer: Vec::new(),
    };
    assert!(redo_by_library(input, &recipe) == Ok(stream), "{}", number.name());
}
