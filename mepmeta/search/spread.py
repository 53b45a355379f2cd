"""Images at chosen distances along a path, which may have any number of them."""

from collections.abc import Sequence

import numpy as np

from mepmeta.problem import Problem

__all__ = ["along", "places", "spread"]


def places(problem: Problem, path: Sequence[np.ndarray]) -> np.ndarray:
    """Distance of every image along a path."""
    return np.append(0.0, np.cumsum([problem.distance(x, y) for x, y in zip(path[:-1], path[1:], strict=True)]))


def along(problem: Problem, path: Sequence[np.ndarray], s: np.ndarray, wanted: Sequence[float]) -> np.ndarray:
    """The states at distances along a path whose images are at ``s``; at an image, itself to the last digit."""
    found = []
    for at in wanted:
        n = int(np.clip(np.searchsorted(s, at, side="right") - 1, 0, len(s) - 2))
        part = float(np.clip((at - s[n]) / (s[n + 1] - s[n]), 0, 1)) if s[n + 1] > s[n] else 0.0
        found.append(path[n + int(part)] if part in (0, 1) else problem.between(path[n], path[n + 1], part))
    return np.stack([np.asarray(x) for x in found])


def spread(problem: Problem, path: Sequence[np.ndarray], n_images: int) -> np.ndarray:
    """So many images at equal distances along a path."""
    s = places(problem, path)
    return along(problem, path, s, np.linspace(0, s[-1], n_images))
