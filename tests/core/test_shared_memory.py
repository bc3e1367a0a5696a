import numpy as np

from parity.core.processes import Worker
from parity.core.shared_memory import SharedMemory


def add_one(descriptor: int, shape: tuple[int, ...]) -> None:
    array = SharedMemory(descriptor).array(shape, np.float32)
    array += 1


def test_a_process_that_inherits_the_memory_reads_and_writes_it():
    memory = SharedMemory()
    array = memory.array((3, 5), np.float32)
    array[:] = 2
    with Worker(60, descriptors=[memory.descriptor]) as worker:
        worker.call(add_one, memory.descriptor, (3, 5))
        np.testing.assert_array_equal(array, 3)
        # It grows after the other process has started.
        memory.array((300, 500), np.float32)[:] = 5
        worker.call(add_one, memory.descriptor, (300, 500))
    np.testing.assert_array_equal(memory.array((300, 500), np.float32), 6)


def test_an_array_of_the_memory_is_stored_without_a_copy():
    memory = SharedMemory()
    array = memory.array((4,), np.float64)
    array[:] = range(4)
    memory.store(array)
    assert memory.holds(array) and not memory.holds(array.copy())
    memory.store(np.arange(6.0).reshape(2, 3).T)  # not contiguous
    np.testing.assert_array_equal(memory.array((3, 2), np.float64), [[0, 3], [1, 4], [2, 5]])


def test_an_array_outlives_the_memory():
    memory = SharedMemory()
    array = memory.array((2,), np.int64)
    array[:] = 7
    memory.close()
    memory.close()
    np.testing.assert_array_equal(array, 7)


def test_an_empty_array_is_one_too():
    assert SharedMemory().array((0, 3), np.float32).shape == (0, 3)
