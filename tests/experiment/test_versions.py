"""What a result says of its making."""

import numpy as np

from zsl_jax.experiment.versions import versions


def test_versions_name_packages_and_device():
    found = versions()
    assert {"python", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "zsl_jax", "device"} <= set(found)
    assert found["device"].startswith("cpu")
    assert found["numpy"] == np.__version__
