"""The versions of what computes a result."""

import importlib.metadata
import platform

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "zsl_jax")


def versions() -> dict[str, str]:
    """Returns the versions of what computes a result, and the kind and number of devices."""
    devices = jax.devices()
    found = {package: importlib.metadata.version(package) for package in PACKAGES}
    return found | {
        "python": platform.python_version(),
        "device": f"{devices[0].platform}: {devices[0].device_kind}",
        "devices": str(len(devices)),
    }
