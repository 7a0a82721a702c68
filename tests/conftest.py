"""Strict settings for the whole test run: 8 virtual devices, no silent promotion, no reused keys."""

import os

# Most of the time of these tests, and of the processes they start, is compilation: most of XLA's optimisations are left
# out. Numbers differ by rounding from those that users get; tests/parity, where that counts, is compiled as for users.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import atexit
import gc
import shutil
import tempfile

import jax
import pytest

gc.set_threshold(50_000)  # JAX's traces are many small objects: looking through them as often as by default takes long

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
# Programs that return in another module, after `_forget_compiled_programs`, are read back. A folder for each process,
# since two may not write to one at a time.
COMPILED = tempfile.mkdtemp(prefix="zsl_jax_tests_")
atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", COMPILED)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
jax.config.update("jax_default_matmul_precision", "highest")


# The longest files, which go first: a file is one worker's, so at the end none should wait for another's.
LONGEST = (
    "test_docs.py", "test_main.py", "test_parallel.py", "test_configs.py", "test_gan_zoo.py", "test_autoencoders.py",
    "test_d2sc.py", "test_experiment.py", "test_estimator.py", "test_bench.py", "test_probe.py", "test_zerodiff.py",
    "test_gpu.py", "test_evaluate.py", "test_tfvaegan.py", "test_leaderboard.py", "test_finetune.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Files in this order, the others after them as they come (`--no-loadscope-reorder` keeps it)."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """Frees each module's programs: a process may map some 65,000 areas of memory, and XLA dies when it runs out."""
    yield
    jax.clear_caches()
