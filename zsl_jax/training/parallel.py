"""Where a run's arrays live: one device, several (sharded or pmap), or the devices of several processes.

Batches are global: whatever the number of devices, an iteration draws the same rows and the same noise, and its result
is that of one device but for the order of sums. State and data are replicated, the rows of a batch are split.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from zsl_jax.errors import InputError
from zsl_jax.train_steps import mapped
from zsl_jax.train_steps.method import Batch, Method, Metrics, Tables, TrainState
from zsl_jax.training.feed import Resident, gather

AXIS = "data"
Devices = tuple[jax.Device, ...]
STREAMS_REFUSED = (
    "config.parallel.mode: 'pmap' trains on rows that stay on the devices, but these are more than config.memory_mb "
    "holds, or are read from files; use mode='sharded'"
)


@dataclasses.dataclass(frozen=True)
class Sharded:
    """One program that XLA partitions over all devices (of all processes); also the layout of a single device."""

    devices: Devices

    def sharding(self, *axes: str | None) -> NamedSharding:
        """Arrays split along the dimensions named `AXIS`; without arguments: the whole array on every device."""
        mesh = Mesh(np.array(self.devices), (AXIS,), axis_types=(AxisType.Auto,))
        return NamedSharding(mesh, PartitionSpec(*axes))

    def place(self, tree: Any) -> Any:
        """Puts the same numpy arrays on every device."""
        return jax.device_put(tree, self.sharding())

    def start(self, make: Callable[..., Any], *arguments: Any) -> Any:
        """What the pure function `make` returns for numpy arguments, on every device."""
        return jax.jit(make, out_shardings=self.sharding())(*arguments)

    def stored(self, state: Any) -> Any:
        """The state as checkpoints hold it."""
        return state

    def unstored(self, state: Any) -> Any:
        """Undoes `stored`."""
        return state

    def shapes(self, make: Callable[..., Any], *arguments: Any) -> Any:
        """Shapes of what `make` returns and where checkpoints restore it to."""
        place = self.sharding()
        made = jax.eval_shape(make, *arguments)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), made)

    def local(self, tree: Any) -> Any:
        """The arrays as the first device of this process has them."""
        return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)

    def place_shares(self, shape: tuple[int, ...], read: Callable[[Any], np.ndarray]) -> jax.Array:
        """An array [slots, updates, B, ...] of which each device gets its rows of the batches, read by index."""
        return jax.make_array_from_callback(shape, self.sharding(None, None, AXIS), read)

    def step_on_rows(
        self, method: Method, state: TrainState, data: Resident, rows: jax.Array, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        """One iteration on global batches of row numbers [updates, B]."""
        return self.step(method, state, gather(data, rows), key, data.tables)

    def step(
        self, method: Method, state: TrainState, batches: Batch, key: jax.Array, tables: Tables
    ) -> tuple[TrainState, Metrics]:
        """One iteration on global batches."""
        if len(self.devices) > 1:
            batches = jax.lax.with_sharding_constraint(batches, self.sharding(None, AXIS))
        return method.train_step(state, batches, key, tables)

    def compile(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles (state, data, ...) -> (state, metrics) for placed arguments; the state is donated."""
        whole = self.sharding()
        return jax.jit(run, donate_argnums=0, out_shardings=(whole, whole))


@dataclasses.dataclass(frozen=True)
class Mapped:
    """`jax.pmap` over the devices of one process: state and data have a leading axis, one copy for each device."""

    devices: Devices

    def place(self, tree: Any) -> Any:
        """Puts the same arrays on every device."""
        copies = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (len(self.devices), *leaf.shape)), tree)
        return jax.device_put(copies, Sharded(self.devices).sharding(AXIS))

    def start(self, make: Callable[..., Any], *arguments: Any) -> Any:
        """What the pure function `make` returns for numpy arguments, on every device."""
        return self.unstored(jax.jit(make)(*arguments))

    def stored(self, state: Any) -> Any:
        """The state as checkpoints hold it: of one device, without the leading axis."""
        return self.local(state)

    def unstored(self, state: Any) -> Any:
        """Undoes `stored`."""
        return self.place(jax.device_get(state))

    def shapes(self, make: Callable[..., Any], *arguments: Any) -> Any:
        """Shapes of what `make` returns and where checkpoints restore it to."""
        return Sharded(self.devices[:1]).shapes(make, *arguments)

    def local(self, tree: Any) -> Any:
        """The arrays as the first device has them, without the leading axis."""
        return jax.tree.map(lambda leaf: leaf.addressable_data(0)[0], tree)

    def place_shares(self, shape: tuple[int, ...], read: Callable[[Any], np.ndarray]) -> jax.Array:
        """Raises InputError: batches that are read as they are needed go to sharded devices alone."""
        raise InputError(STREAMS_REFUSED)

    def step(self, *_: Any) -> tuple[TrainState, Metrics]:
        """Raises InputError, as `place_shares`."""
        raise InputError(STREAMS_REFUSED)

    def step_on_rows(
        self, method: Method, state: TrainState, data: Resident, rows: jax.Array, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        """One iteration on this device's share of row numbers [updates, B]; on all, if the method takes no share."""
        if method.mapped_step is None:
            return method.train_step(state, gather(data, rows), key, data.tables)
        own = mapped.own_rows(rows, rows.shape[1] // len(self.devices), AXIS, dim=1)
        return method.mapped_step(state, gather(data, own), key, AXIS, data.tables)

    def compile(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Compiles (state, data, ...) -> (state, metrics) for placed state and data; the state is donated."""
        in_axes = (0, 0, None, None, None)
        return jax.pmap(run, AXIS, in_axes=in_axes, out_axes=(0, None), devices=self.devices, donate_argnums=0)


Layout = Sharded | Mapped
MODES = {"sharded": Sharded, "pmap": Mapped}


def make_layout(options: Any) -> Layout:
    """The layout that the section `parallel` of a configuration asks for.

    Args:
      options: `mode` (sharded | pmap) and `devices` (how many; 0: all).

    Raises:
      InputError: an unknown mode, more devices than there are, or several processes where that cannot be.
    """
    found, wanted = jax.devices(), options.devices
    if options.mode not in MODES:
        raise InputError(f"config.parallel.mode: {options.mode!r}; choose one of {tuple(MODES)}")
    if not 0 <= wanted <= len(found):
        raise InputError(f"config.parallel.devices: {wanted}, but there are {len(found)} ({found[0].platform})")
    if jax.process_count() > 1 and (options.mode == "pmap" or wanted not in (0, len(found))):
        raise InputError("config.parallel: several processes need mode='sharded' and devices=0 (all of them)")
    return MODES[options.mode](tuple(found[: wanted or len(found)]))


def check_batch_sizes(config: Any, layout: Layout) -> None:
    """Raises InputError when a stage's batches cannot be split evenly over the devices."""
    devices = len(layout.devices)
    for name in config.stages:
        size = config[name].batch_size
        if size % devices:
            raise InputError(
                f"config.{name}.batch_size: {size} rows cannot be split over {devices} devices evenly; "
                "use a multiple, or other config.parallel.devices"
            )
