r"""The way down from a saddle, image by image: each on a sphere about the one above it.

The improved tangent of an image between a lower and a higher neighbour leads to the higher one. So an image that no
force pulls across its tangent is a stationary state of the energy at a given distance from the image above, and the
images of a valley follow one from the other, from the saddle down. A band of quasi-Newton steps has to find them all at
once, and creeps along their soft directions.
"""

import numpy as np
from jax import Array

from mepmeta.problem import Problem
from mepmeta.search.newton import newton_step

__all__ = ["valleys"]

#: Newton steps for one image, at most.
STEPS = 40
#: The force, in units of force, at which one image may be told from another.
ROUGHLY = 1e-3
#: A step is at most this part of the distance of two images.
WIDEST = 0.5
#: A distance is kept to this part of it, or to so many roundings of the coordinates.
EXACT, ROUNDED = 1e-6, 10
#: The last image may be farther from the end, or nearer to it, than from the one before by this factor; beyond,
#: distances are chosen anew, so often; and what is more uneven than the last factor is no path.
EVEN, ROUNDS, UNEVEN = 1.33, 3, 3.0


def valleys(problem: Problem, path: Array, top: int, mode: Array, tol: float) -> tuple[np.ndarray, int]:
    r"""The path with its images in the valleys of a saddle, where these lead to its ends, and the gradients computed.

    .. math:: \partial E(x_n) \parallel \tau_n,\qquad \mathrm{dist}(x_n, x_{n-1}) = d

    Args:
        problem: the energy in its units.
        path: images in units of the problem; image ``top`` is the saddle.
        mode: the negative mode of the saddle, of any sign.
        tol: largest force across the path on a particle.

    Source: :cite:t:`muller1979`, :cite:t:`gonzalez1989`.
    """
    path, evaluations = np.array(path), 0
    for side in (path[top::-1], path[top:]):  # views, from the saddle down
        if len(side) > 2:
            found, count = _valley(problem, side, mode, tol)
            side[:], evaluations = np.array(found), evaluations + count
    return path, evaluations


def _valley(problem: Problem, path: np.ndarray, mode: Array, tol: float) -> tuple[np.ndarray, int]:
    """Of one side; the path itself where the valley leads elsewhere."""
    guess, evaluations, best = path, 0, (np.log(UNEVEN), path)
    for _ in range(ROUNDS):
        way, d, count, found = _down(problem, guess, mode, tol)
        evaluations += count
        left, short = problem.distance(way[-1], path[-1]) / d, len(path) - 1 - len(way)
        if not found or left > len(path):
            break
        uneven = abs(np.log(max(left, EXACT)))
        if short == 0 and uneven < best[0]:
            best = uneven, np.stack([*way, path[-1]])
            if uneven < np.log(EVEN):
                break
        # The length of the valley is known now.
        guess = np.stack([*way, *[path[-1]] * (short + 1)])
    return best[1], evaluations


def _down(problem: Problem, guess: np.ndarray, mode: Array, tol: float) -> tuple[list, float, int, bool]:
    """Images as far apart as the guess says, as many as it has or until near its end, where all of them were found.

    The images, the last distance, gradients computed, and whether all were found.
    """
    end, way, evaluations = guess[-1], [guess[0]], 1
    level = problem.look(guess[0])[0]
    lengths = [problem.distance(x, y) for x, y in zip(guess[:-1], guess[1:], strict=True)]
    for n in range(1, len(guess) - 1):
        above = way[-1]
        d = (problem.distance(above, guess[n]) + sum(lengths[n:])) / (len(guess) - n)
        if n == 1:
            ahead = np.asarray(mode) * np.copysign(1, np.vdot(mode, problem.way(above, guess[1])))
        else:
            ahead = -np.asarray(problem.way(above, way[-2]))
            ahead /= np.linalg.norm(ahead)
        # As guessed, straight ahead, or straight to the end: near a minimum a valley may turn into a softer direction.
        starts = [_at_distance(problem, above, x, d) for x in (guess[n], problem.moved_by(above, d * ahead), end)]
        evaluations += len(starts)
        energies = [problem.look(x)[0] for x in starts]
        order = sorted(range(len(starts)), key=lambda k: (not np.isfinite(energies[k]), energies[k]))
        starts = [starts[k] for k in order]
        x = starts[0]
        if n == 1:  # next to the saddle there may be a ridge ahead, and a valley beside it: the lower one of two
            several = [_on_sphere(problem, above, x, d, max(tol, ROUGHLY)) for x in starts[:2]]
            evaluations += sum(count for _, _, count, _ in several)
            x = min(several, key=lambda one: (not one[3], one[1]))[0]
        x, energy, count, found = _on_sphere(problem, above, x, d, tol)
        evaluations += count
        if not (found and energy < level):
            return way, d, evaluations, False
        level = energy
        way.append(x)
        if n < len(guess) - 2 and problem.distance(x, end) < EVEN * d:
            break
    return way, d, evaluations, True


def _at_distance(problem: Problem, centre: Array, x: Array, d: float) -> Array:
    """The state x moved to about this distance from the centre."""
    for _ in range(2):
        way = np.asarray(problem.way(x, centre))
        distance = float(np.linalg.norm(way)) or 1.0  # it may be the centre itself
        x = problem.moved_by(x, (1 - d / distance) * way)
    return x


def _on_sphere(problem: Problem, centre: Array, x: Array, d: float, tol: float) -> tuple[Array, float, int, bool]:
    r"""The state of least energy at distance d from the centre, its energy, gradients computed, whether it was found.

    Newton steps on the sphere, whose curvature adds :math:`\partial_\tau E/d` to that of the energy: in flat space
    exactly, among spins but for terms of the order of d, so that steps there are quick and their ends the same. A step
    also takes up what the distance is off by, so the sphere itself is never computed.
    """

    def look(x: Array) -> tuple:
        way = np.asarray(problem.way(x, centre))
        distance = float(np.linalg.norm(way)) or 1.0
        energy, force, g = problem.look(x, way / distance)
        return energy, force, np.asarray(g), way / distance, distance

    exact = max(EXACT * d, ROUNDED * float(np.finfo(x.dtype).eps * np.max(np.abs(centre))))
    radius, evaluations = WIDEST * d, 1
    energy, force, g, tau, distance = look(x)
    for _ in range(STEPS):
        if not np.isfinite(force) or radius < exact or (force <= tol and abs(distance - d) <= exact):
            break
        slope = float(np.vdot(g, tau))  # of the energy towards the centre; its multiplier on the sphere
        bond = np.copysign(max(abs(slope) / distance, np.finfo(x.dtype).tiny), slope)
        step = newton_step(problem, x, g - slope * tau, tau, *np.array([radius, bond], x.dtype))
        after = problem.moved_by(x, np.asarray(step.move) + (distance - d) * tau)
        there = look(after)
        evaluations += 1 + 2 * int(step.products)
        rise = there[0] - energy + slope * (there[4] - distance)
        off, off_there = max(force, tol, abs(distance - d)), max(there[1], abs(there[4] - d))  # curvatures are about 1
        if off_there <= off or rise <= 0:
            x, (energy, force, g, tau, distance) = after, there
        else:
            radius /= 4
    return x, energy, evaluations, bool(force <= tol and abs(distance - d) <= exact)
