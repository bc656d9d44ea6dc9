use super::*;
use crate::launch::DeviceBuffer;

/// `to = from`, through memory of its own.
fn copy(executor: &Executor, from: &DeviceBuffer, to: &mut DeviceBuffer) -> Result<(), DeviceError> {
    let mut between = executor.allocate(from.len_bytes())?;
    between.copy_from(from)?;
    to.copy_from(&between)
}

#[test]
fn what_comes_again_is_one_graph_that_follows_its_buffers() {
    let executor = Executor::emulated(0);
    let mut to = executor.upload(&[0.0f32; 2]).unwrap();
    let inputs = [0.0f32, 1.0, 2.0, 3.0, 4.0].map(|value| [value, 7.0]);
    // Each somewhere else.
    let uploaded = inputs.map(|values| executor.upload(&values).unwrap());
    for (from, values) in uploaded.iter().zip(inputs) {
        executor.in_graphs(|| copy(&executor, from, &mut to)).unwrap();
        assert_eq!(to.read::<f32>().unwrap(), values);
    }
    let GraphStats { made, started, nodes, updated } = executor.graph_stats();
    // Memory of its own that is taken, and two copies; of these the first has changed, but for the time the graph was made.
    assert_eq!((made, started, nodes, updated), (1, 4, 12, 3));
}

#[test]
fn each_shape_has_its_graph() {
    let executor = Executor::emulated(0);
    let mut operands: Vec<[DeviceBuffer; 2]> =
        [2usize, 300].map(|len| [1.0f32, 0.0].map(|value| executor.upload(&vec![value; len]).unwrap())).into();
    for _ in 0..4 {
        for [from, to] in &mut operands {
            executor.in_graphs(|| copy(&executor, from, to)).unwrap();
        }
    }
    let GraphStats { made, started, updated, .. } = executor.graph_stats();
    // The same requests get the same memory.
    assert_eq!((made, started, updated), (2, 6, 0));
    assert!(operands.iter().all(|[from, to]| from.read::<f32>().unwrap() == to.read::<f32>().unwrap()));
}

#[test]
fn a_device_without_memory_lets_its_graphs_go() {
    let executor = Executor::emulated(0);
    let [from, mut to] = [1.0f32, 0.0].map(|value| executor.upload(&[value; 64]).unwrap());
    let step = |to: &mut DeviceBuffer| executor.in_graphs(|| copy(&executor, &from, to)).unwrap();
    (0..3).for_each(|_| step(&mut to));
    assert_eq!(executor.graph_stats().made, 1);
    executor.limit_memory(4096);
    assert!(matches!(executor.allocate(8192), Err(DeviceError::OutOfMemory { .. })));
    assert!(executor.0.graphs.state().known.is_empty());
    (0..3).for_each(|_| step(&mut to));
    assert_eq!((executor.graph_stats().made, to.read::<f32>().unwrap()), (2, vec![1.0; 64]));
}

#[test]
fn more_than_a_graph_holds_is_several() {
    let executor = Executor::emulated(0);
    let mut buffer = executor.upload(&[1.0f32]).unwrap();
    for _ in 0..2 {
        executor.in_graphs(|| (0..2 * COMMANDS + 1).try_for_each(|_| buffer.zero())).unwrap();
    }
    let GraphStats { made, started, nodes, .. } = executor.graph_stats();
    assert_eq!((made, started, nodes), (3, 3, 2 * COMMANDS as u64 + 1));
}

#[test]
fn no_more_shapes_are_kept_than_some() {
    let executor = Executor::emulated(0);
    let mut buffer = executor.upload(&[0u8; 4 * KEPT]).unwrap();
    for len in 1..4 * KEPT {
        executor.in_graphs(|| buffer.view(0..len).zero()).unwrap();
        assert!(executor.0.graphs.state().known.len() <= KEPT);
    }
    executor.in_graphs(|| buffer.view(0..4 * KEPT - 1).zero()).unwrap();
    executor.in_graphs(|| buffer.view(0..1).zero()).unwrap();
    assert_eq!(executor.graph_stats().made, 1);
    buffer.zero().unwrap();
}

#[test]
fn a_copy_from_the_host_does_not_overtake_what_reads_the_memory() {
    let executor = Executor::emulated(0);
    for _ in 0..3 {
        let mut results: Vec<DeviceBuffer> = (0..4).map(|_| executor.allocate(8).unwrap()).collect();
        executor
            .in_graphs(|| {
                for (value, result) in (1u8..).zip(&mut results) {
                    // Given back when it was read by what is not started yet; the next one may not lie there.
                    let input = executor.upload(&[f32::from(value); 2])?;
                    result.copy_from(&input)?;
                }
                // Memory that something else was copied from is written.
                let mut last = executor.upload(&[5.0f32; 2])?;
                results[0].copy_from(&last)?;
                last.write(&[6.0f32; 2])?;
                results[1].copy_from(&last)
            })
            .unwrap();
        let read: Vec<f32> = results.iter().map(|result| result.read::<f32>().unwrap()[1]).collect();
        assert_eq!(read, [5.0, 6.0, 3.0, 4.0]);
    }
}

#[test]
fn whoever_waits_sees_what_was_collected() {
    let executor = Executor::emulated(0);
    let mut buffer = executor.upload(&[1.0f32]).unwrap();
    let seen = executor.in_graphs(|| {
        buffer.zero()?;
        let seen = buffer.read::<f32>()?;
        executor.synchronize()?;
        executor.record()?.wait()?;
        executor.trim()?;
        Ok::<_, DeviceError>(seen)
    });
    assert_eq!(seen.unwrap(), [0.0]);
}

#[test]
fn what_fails_ends_it_and_loses_nothing() {
    let executor = Executor::emulated(0);
    let mut buffer = executor.upload(&[1.0f32]).unwrap();
    let failed = executor.in_graphs(|| {
        buffer.zero()?;
        Err::<(), _>(DeviceError::NoKernels)
    });
    assert!(matches!(failed, Err(DeviceError::NoKernels)));
    assert_eq!(buffer.read::<f32>().unwrap(), [0.0]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        executor.in_graphs(|| -> Result<(), DeviceError> { panic!("on purpose") })
    }));
    assert!(panicked.is_err() && executor.0.graphs.state().collecting == 0);
    // Nobody collects any more.
    buffer.write(&[2.0f32]).unwrap();
    assert_eq!(buffer.read::<f32>().unwrap(), [2.0]);
}

#[test]
fn memory_that_is_full_is_emptied_behind_what_was_collected() {
    let executor = Executor::emulated(0);
    executor.limit_memory(3 << 10);
    let (from, mut to) = (executor.upload(&[3u8; 1 << 10]).unwrap(), executor.allocate(1 << 10).unwrap());
    executor
        .in_graphs(|| {
            copy(&executor, &from, &mut to)?;
            // There is room for this once what was copied through is given back.
            executor.allocate(512).map(drop)
        })
        .unwrap();
    assert_eq!(to.read::<u8>().unwrap(), [3; 1 << 10]);
}
