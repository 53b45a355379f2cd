r"""The way down from a saddle, image by image: each on a sphere about the one above it.

The improved tangent of an image between a lower and a higher neighbour leads to the higher one. So an image that no
force pulls across its tangent is a stationary state of the energy at a given distance from the image above, and the
images of a valley follow one from the other, from the saddle down. A band of quasi-Newton steps has to find them all at
once, and creeps along their soft directions.
"""

from typing import NamedTuple

import numpy as np
from jax import Array

from mepmeta.problem import Problem
from mepmeta.search.newton import newton_step

__all__ = ["Valley", "valley"]

#: Newton steps for one image, at most.
STEPS = 40
#: A step is at most this part of the distance of two images.
WIDEST = 0.5
#: A distance is kept to this part of it.
EXACT = 1e-6
#: From the last image to the end so many distances of images are right; else the distance is chosen anew, so often.
LEAST, MOST, ROUNDS = 0.3, 1.5, 3
#: A valley that is this many times as far from the end as it was thought to be long leads elsewhere.
LONGEST = 1.0


class Valley(NamedTuple):
    """Images from the saddle to the end, both included, whether they are what was looked for, and gradients computed (a
    product counts two)."""

    path: np.ndarray
    found: bool
    evaluations: int


def valley(problem: Problem, path: np.ndarray, mode: Array, tol: float) -> Valley:
    r"""The images of the valley between a saddle, the first of ``path``, and a minimum, the last one.

    .. math:: \partial E(x_n) \parallel \tau_n,\qquad \mathrm{dist}(x_n, x_{n-1}) = d

    Args:
        problem: the energy in its units.
        path: a guess.
        mode: the negative mode of the saddle, of any sign.
        tol: largest force across the path on a particle.

    Source: :cite:t:`mueller1979`, :cite:t:`gonzalez1989`.
    """
    end, images, evaluations, guess = path[-1], len(path) - 1, 0, path
    d = sum(problem.distance(x, y) for x, y in zip(path[:-1], path[1:], strict=True)) / images
    for _ in range(ROUNDS):
        way, count, found = _down(problem, guess, mode, d, tol)
        evaluations += count
        left = problem.distance(way[-1], end) / d
        short = images - len(way)  # images that were not needed
        if not found or left > LONGEST * images:
            break
        if short == 0 and LEAST < left < MOST:
            return Valley(np.stack([*way, end]), True, evaluations)
        # The length of the valley is known now.
        guess, d = np.stack([*way, *[end] * (short + 1)]), d * (len(way) - 1 + left) / images
    return Valley(path, False, evaluations)


def _down(problem: Problem, guess: np.ndarray, mode: Array, d: float, tol: float) -> tuple[list, int, bool]:
    """Images d apart, until they are as many as those of the guess or near its end; gradients; whether all were found."""
    end, way, evaluations = guess[-1], [guess[0]], 1
    level = problem.look(guess[0])[0]
    for n in range(1, len(guess) - 1):
        above = way[-1]
        if n == 1:
            ahead = np.asarray(mode) * np.copysign(1, np.vdot(mode, problem.way(above, guess[1])))
        else:
            ahead = -np.asarray(problem.way(above, way[-2])) / d
        starts = [_at_distance(problem, above, x, d) for x in (guess[n], problem.moved_by(above, d * ahead))]
        starts = [(problem.look(x)[0], x) for x in starts]
        x = min(starts, key=lambda pair: (not np.isfinite(pair[0]), pair[0]))[1]
        x, energy, count, found = _on_sphere(problem, above, x, d, tol)
        evaluations += 2 + count
        if not (found and energy < level):
            return way, evaluations, False
        level = energy
        way.append(x)
        if problem.distance(x, end) < LEAST * d:
            break
    return way, evaluations, True


def _at_distance(problem: Problem, centre: Array, x: Array, d: float) -> Array:
    """The state x moved to about this distance from the centre."""
    for _ in range(2):
        way = np.asarray(problem.way(x, centre))
        distance = np.linalg.norm(way)
        x = problem.moved_by(x, (1 - d / distance) * way)
    return x


def _on_sphere(problem: Problem, centre: Array, x: Array, d: float, tol: float) -> tuple[Array, float, int, bool]:
    r"""The state of least energy at distance d from the centre: it, its energy, gradients computed, whether it was found.

    Newton steps on the sphere, whose curvature adds :math:`\partial_\tau E/d` to that of the energy. A step also takes up
    what the distance is off by, so the sphere itself is never computed.
    """

    def look(x: Array) -> tuple:
        way = np.asarray(problem.way(x, centre))
        distance = float(np.linalg.norm(way))
        energy, force, g = problem.look(x, way / distance)
        return energy, force, np.asarray(g), way / distance, distance

    radius, evaluations = WIDEST * d, 1
    energy, force, g, tau, distance = look(x)
    for _ in range(STEPS):
        if not np.isfinite(force) or (force <= tol and abs(distance - d) <= EXACT * d):
            break
        slope = float(np.vdot(g, tau))  # of the energy towards the centre; its multiplier on the sphere
        bond = np.copysign(max(abs(slope) / distance, np.finfo(x.dtype).tiny), slope)
        step = newton_step(problem, x, g - slope * tau, tau, *np.array([radius, bond], x.dtype))
        after = problem.moved_by(x, np.asarray(step.move) + (distance - d) * tau)
        there = look(after)
        evaluations += 1 + 2 * int(step.products)
        rise = there[0] - energy + slope * (there[4] - distance)
        if there[1] <= max(force, tol) or rise <= 0:
            x, (energy, force, g, tau, distance) = after, there
        else:
            radius /= 4
    return x, energy, evaluations, bool(force <= tol and abs(distance - d) <= EXACT * d)
