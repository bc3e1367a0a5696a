"""Seeded draws: every option of a choice comes before any comes twice."""

from collections.abc import Hashable, Sequence
from typing import TypeVar
from zlib import crc32

import numpy as np

Option = TypeVar("Option", bound=Hashable)
FLOAT = np.float32

NORMAL = "normal"


def _with(values: np.ndarray, *special: float) -> np.ndarray:
    """Replace the first values, spread over the tensor, by special ones."""
    flat = values.reshape(-1).copy()
    places = np.linspace(0, flat.size - 1, min(flat.size, len(special))).astype(int)
    flat[places] = special[: len(places)]
    return flat.reshape(values.shape)


# What to make of normally distributed values.
VALUES = {
    NORMAL: lambda x: x,
    "mean_100": lambda x: x + 100,
    "mean_1000": lambda x: x + 1000,
    "zeros": np.zeros_like,
    "large": lambda x: x * 1e4,
    "denormal": lambda x: _with(x, 1e-40, -1e-40),
    "infinity": lambda x: _with(x, np.inf, -np.inf),
    "nan": lambda x: _with(x, np.nan),
}
SPECIAL = tuple(name for name in VALUES if name != NORMAL)
OFFSET = ("mean_100", "mean_1000")  # where float32 cancels, and ONNX Runtime may be imprecise


class Draws:
    """Draws for one operator or pattern. The same seed and name give the same draws, whatever else
    is drawn.

    `values` is a key of VALUES, by which `tensor` draws.
    """

    def __init__(self, seed: int, name: str) -> None:
        self.random = np.random.default_rng([seed, crc32(name.encode())])
        self.values = NORMAL
        self._decks: dict[str, list] = {}
        self._options: dict[str, set] = {}

    @property
    def options(self) -> int:
        """The number of options of all choices so far."""
        return sum(map(len, self._options.values()))

    def one_of(self, key: str, *options: Option) -> Option:
        """Draw an option; `key` names the choice."""
        self._options.setdefault(key, set()).update(options)
        deck = self._decks.setdefault(key, [])
        fitting = [one for one in deck if one in options]
        if not fitting:
            fitting = [options[place] for place in self.random.permutation(len(options))]
            deck += fitting
        deck.remove(fitting[0])
        return fitting[0]

    def normal(self, *shape: int) -> np.ndarray:
        """Draw float32 values of mean 0 and spread 1, whatever `values` is."""
        return self.random.standard_normal(shape).astype(FLOAT)

    def tensor(self, *shape: int) -> np.ndarray:
        """Draw float32 values of the kind `values`."""
        with np.errstate(all="ignore"):
            return VALUES[self.values](self.normal(*shape).astype(np.float64)).astype(FLOAT)

    def positive(self, *shape: int) -> np.ndarray:
        """Draw float32 values between 0.5 and 2, such as variances."""
        return self.random.uniform(0.5, 2, shape).astype(FLOAT)

    def indices(self, below: int, *shape: int, negative: bool = False) -> np.ndarray:
        """Draw int64 indices of an axis; with `negative`, some count from its end."""
        return self.random.integers(-below if negative else 0, below, shape)

    def sides(self) -> tuple[int, int]:
        """Draw height and width: 1 pixel, odd, even."""
        return self.one_of("sides", (5, 6), (8, 8), (7, 7), (1, 9), (6, 1), (1, 1), (12, 5))

    def image(self, channels: int | None = None) -> np.ndarray:
        """Draw a blob (N, C, H, W), float32."""
        channels = channels or self.one_of("channels", 3, 4, 1, 8)
        return self.tensor(self.one_of("batch", 1, 3), channels, *self.sides())

    def shape(self) -> tuple[int, ...]:
        """Draw a shape of one to five axes."""
        return self.one_of(
            "shape",
            (1, 3, 5, 6),
            (3, 4, 7, 1),
            (2, 5, 8),
            (3, 6),
            (1, 1, 1, 7),
            (7,),
            (2, 2, 3, 4, 5),
        )


def broadcast_shapes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the shapes that broadcast to `shape`: 1 in each position, in all but each, without
    leading axes, a single value."""
    shape, axes = tuple(shape), range(len(shape))
    found = [tuple(1 if one == axis else shape[one] for one in axes) for axis in axes]
    found += [tuple(shape[one] if one == axis else 1 for one in axes) for axis in axes]
    found += [shape[start:] for start in axes[1:]]
    found += [(1,) * len(shape), (1,), ()]
    return [one for one in dict.fromkeys(found) if one != shape]
