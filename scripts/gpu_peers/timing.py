"""Taking turns: every run of a case for a while, then all again in the other order, so that clocks and heat are the same for all."""

import statistics

# Twice what the caches of current GPUs hold.
ROTATED_BYTES = 128 << 20
MOST_SETS = 64
# One turn of one run.
TURN_MS = 30


class Run:
    """One way of doing a case, with operands that exceed the cache together."""

    def __init__(self, name, make, case):
        self.name = name
        sets = min(ROTATED_BYTES // case.bytes + 1, MOST_SETS)
        self.calls = [make() for _ in range(sets)]
        self.next = 0
        self.samples = []

    def call(self):
        self.calls[self.next]()
        self.next = (self.next + 1) % len(self.calls)

    def elapsed_ms(self, count):
        """By the GPU's clock."""
        import torch

        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(count):
            self.call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    def warm_up(self):
        """Compiles what is to be compiled, and finds how many calls make a turn."""
        for _ in self.calls:
            self.call()
        self.count = max(1, round(TURN_MS * 10 / max(self.elapsed_ms(10), 1e-3)))

    def turn(self):
        self.samples.append(1e3 * self.elapsed_ms(self.count) / self.count)

    @property
    def microseconds(self):
        return statistics.median(self.samples)


def interleave(runs, rounds):
    """Gives every run, warmed up, `rounds` turns."""
    for number in range(rounds):
        for run in runs if number % 2 == 0 else reversed(runs):
            run.turn()
