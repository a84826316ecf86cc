"""Taking turns: what else the machine does meets all contenders alike."""
import gc
import random
import statistics
import time
from collections.abc import Sequence

from micronet_mm.latency.variants import Contender, threads_of_pytorch

WARM_UP, TIMED = 3, 10
REST = 0.1  # seconds: threads of ONNX Runtime wait without sleeping for a while when there is nothing left to do


def measure(contenders: Sequence[Contender], rounds: int, threads: int = 1, seed: int = 0) -> None:
    """Time forward passes into ``times``: in every round a short burst of each contender, in random order.

    A burst begins with passes that are not timed, since the one before had the caches. Of several threads it begins
    when those of the one before have gone to sleep.
    """
    order = random.Random(seed)
    with threads_of_pytorch(threads):
        for _ in range(rounds):
            for contender in order.sample(list(contenders), len(contenders)):
                gc.collect(0)
                if threads > 1:
                    time.sleep(REST)
                for _ in range(WARM_UP):
                    contender.run()
                for _ in range(TIMED):
                    begin = time.perf_counter()
                    contender.run()
                    contender.times.append(time.perf_counter() - begin)


def median_ms(contender: Contender) -> float:
    return 1000 * statistics.median(contender.times)


def quartiles_ms(contender: Contender) -> tuple[float, float]:
    """Between which half of the passes are."""
    low, _, high = statistics.quantiles(contender.times, n=4)
    return 1000 * low, 1000 * high
