"""Milliseconds per training iteration of each stage of a configuration, and peak memory.

    python benchmarks/iterations.py --config configs/zerodiff_awa2.py --config.data.source=synthetic

Trains each stage for `--iterations` iterations (after one that compiles) on the test task; scores nothing.
"""

import resource
import sys
import time

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from zsl_jax import data
from zsl_jax.train_steps import registry
from zsl_jax.training import checks, loop

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Configuration file.", lock_config=True)
flags.DEFINE_integer("iterations", 10, "Timed iterations of each stage.")


def time_stage(config, name: str, dataset, upstream: dict) -> tuple[float, float, dict]:
    """Seconds to compile, seconds per iteration, and the stage's inference parameters."""
    task = data.test_task(dataset, config.data)
    method = registry.find(name)(config, checks.spec_of(dataset))
    run = loop.make_chunk(method, config[name].batch_size, FLAGS.iterations)
    resident, key = loop.upload(task.train, task.semantics), jax.random.key(config.seed)
    began = time.perf_counter()
    state, _ = run(jax.jit(method.init)(key, upstream), resident, key, np.int32(0), np.int32(1))
    jax.block_until_ready(state)
    compiled = time.perf_counter()
    state, _ = run(state, resident, key, np.int32(1), np.int32(FLAGS.iterations))
    jax.block_until_ready(state)
    return compiled - began, (time.perf_counter() - compiled) / FLAGS.iterations, method.inference(state)


def main() -> None:
    """Prints one line for each stage."""
    FLAGS(sys.argv)
    config = FLAGS.config
    dataset, upstream = data.load(config.data, config.seed), {}
    for name in config.stages:
        compiling, seconds, upstream[name] = time_stage(config, name, dataset, upstream)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name}: {1000 * seconds:.0f} ms per iteration, {compiling:.1f} s to compile, {peak:.1f} GiB peak so far"
        )


if __name__ == "__main__":
    main()
