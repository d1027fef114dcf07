"""csrc/core/thread_pool.cpp and affinity.h: threads that sleep and wake."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

import dlkit.kernels as K


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_workers_that_made_way_may_run_everywhere_again():
    before = K.get_num_threads()
    K.set_num_threads(2)
    try:
        a = np.ones((256, 256), np.float32)
        others = os.sched_getaffinity(0)
        for _ in range(20):
            K.matmul(a, a)
            # Longer than workers spin, so that they sleep; the caller moves about meanwhile.
            os.sched_setaffinity(0, {min(others)})
            time.sleep(0.002)
            os.sched_setaffinity(0, {max(others)})
            K.matmul(a, a)
            os.sched_setaffinity(0, others)
            time.sleep(0.002)
        threads = [int(name) for name in os.listdir("/proc/self/task")]
        assert all(os.sched_getaffinity(thread) == others for thread in threads)
    finally:
        K.set_num_threads(before)
