r"""The way down from a saddle, image by image: each on a sphere about the one above it.

The improved tangent of an image between a lower and a higher neighbour leads to the higher one. So an image that no
force pulls across its tangent is a stationary state of the energy at a given distance from the image above, and the
images of a valley follow one from the other, from the saddle down. A band of quasi-Newton steps has to find them all at
once, and creeps along their soft directions; here every image starts with the curvatures that the last one has learned.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from mepmeta.methods import LBFGS
from mepmeta.methods.loop import March
from mepmeta.problem import Problem
from mepmeta.search.descent import Descended, at_distance, descend
from mepmeta.search.spread import spread

__all__ = ["below", "valleys"]

#: Where an image is nearly there, a few curvatures do, and cost a part of many.
KNOWN = LBFGS(angle=1e-3, growth=jnp.inf, memory=5)
#: Gradients for one image, at most.
MOST = 300
#: The force, in units of force, at which one image may be told from another.
ROUGHLY = 1e-3
#: Two first images whose directions from the saddle have a larger cosine than this lead down one way.
ALIKE = 0.9
#: Images that are left are put on no way that has come so near to the end.
FARTHER = 1.4
#: The last image may be so much nearer to the end than to the one before, or farther; beyond, distances are chosen
#: anew, so often; and what is more uneven than the last factor is no path.
NEARER, GAP, ROUNDS, UNEVEN = 0.5, 1.4, 3, 3.0


def valleys(
    problem: Problem, path: Array, top: int, mode: Array, tol: float, known: bool = False
) -> tuple[np.ndarray, int, list[list[np.ndarray]]]:
    r"""The path with its images in the valleys of a saddle, where these lead to its ends.

    And the gradients computed, and for each side the images down a valley that leads elsewhere, from the saddle on,
    none where it leads to the end; of a side without images nothing is known.

    .. math:: \partial E(x_n) \parallel \tau_n,\qquad \mathrm{dist}(x_n, x_{n-1}) = d

    Args:
        problem: the energy in its units.
        path: images in units of the problem; image ``top`` is the saddle.
        mode: the negative mode of the saddle, of any sign.
        tol: largest force across the path on a particle.
        known: whether the images are known to be near to where they will be, so that no other ones are tried.

    Source: :cite:t:`muller1979`, :cite:t:`gonzalez1989`.
    """
    path, evaluations, astray = np.array(path), 0, []
    for side in (path[top::-1], path[top:]):  # views, from the saddle down
        found, count, way = (
            _valley(problem, side, mode, tol, known) if len(side) > 2 else (None, 0, [np.array(side[0])])
        )
        evaluations += count
        astray.append([] if found is not None else way)
        if found is not None:
            side[:] = found
    return path, evaluations, astray


def _valley(
    problem: Problem, path: np.ndarray, mode: Array, tol: float, known: bool
) -> tuple[np.ndarray | None, int, list]:
    """Of one side; None where the valley leads elsewhere. And the last way down."""
    guess, evaluations, best = path, 0, (np.log(UNEVEN), None)
    for _ in range(ROUNDS):
        way, d, count, found = _down(problem, guess, mode, tol, known)
        evaluations += count
        left, short = problem.distance(way[-1], path[-1]) / d, len(path) - 1 - len(way)
        if not found or left > len(path):
            break
        uneven = abs(np.log(max(left, np.finfo(float).tiny)))
        if short == 0 and uneven < best[0]:
            best = uneven, np.stack([*way, path[-1]])
            if known or NEARER < left < GAP:
                break
        # The length of the valley is known now.
        guess = spread(problem, [*way, path[-1]], len(path))
    return best[1], evaluations, way


def _down(problem: Problem, guess: np.ndarray, mode: Array, tol: float, known: bool) -> tuple[list, float, int, bool]:
    """Images as far apart as the guess says, as many as it has or until near its end, where all of them were found.

    The images, the last distance, gradients computed, and whether all were found.
    """
    end, way, evaluations, before = guess[-1], [np.array(guess[0])], 1, None
    level = problem.look(guess[0])[0]
    lengths = [problem.distance(x, y) for x, y in zip(guess[:-1], guess[1:], strict=True)]
    for n in range(1, len(guess) - 1):
        above = way[-1]
        d = (problem.distance(above, guess[n]) + sum(lengths[n:])) / (len(guess) - n)
        if n == 1:
            mode = np.asarray(mode) * np.copysign(1, np.vdot(mode, problem.way(above, guess[1])))
        if known:  # off its guess as the one above is off its own
            x = problem.moved_by(guess[n], above - guess[n - 1])
            found = descend(problem, x, tol, MOST, along=above, distance=d, before=before, method=KNOWN)
            count = found.evaluations
        else:
            found, count = below(problem, way, d, mode, (guess[n], end), tol, before)
        evaluations, before = evaluations + count, found.march
        if not (found.residual <= tol and found.energy < level):
            return way, d, evaluations, False
        level = found.energy
        way.append(found.state)
        if n < len(guess) - 2 and problem.distance(found.state, end) < FARTHER * d:
            break
    return way, d, evaluations, True


def below(
    problem: Problem,
    way: list[np.ndarray],
    d: float,
    mode: np.ndarray,
    others: tuple[np.ndarray, ...],
    tol: float,
    before: March | None,
) -> tuple[Descended, int]:
    """The image below the last one of a way down from a saddle, at distance d from it, and the gradients computed.

    Args:
        problem: the energy in its units.
        way: the images so far, the saddle first.
        d: in units of length.
        mode: the negative mode of the saddle, with the sign of this way.
        others: states towards which the valley may turn.
        tol: largest force on a particle across the way to the last image.
        before: the end of the descent of the last image, None for the first one.
    """
    above, first = way[-1], len(way) == 1
    ahead = mode if first else _ahead(problem, way)
    # On ahead, as guessed, or straight to the end, until three images show how the valley turns.
    several = (problem.moved_by(above, d * ahead), *others)
    starts = [at_distance(problem, x, above, d) for x in several[: None if len(way) < 3 else 1]]
    evaluations = len(starts)
    energies = [problem.look(x)[0] for x in starts]
    order = sorted(range(len(starts)), key=lambda k: (not np.isfinite(energies[k]), energies[k]))
    starts = [starts[k] for k in order]
    x = starts[0]
    # Next to the saddle there may be a ridge ahead, and a valley beside it: the lower one of two.
    if first and np.vdot(problem.way(above, starts[0]), problem.way(above, starts[1])) < ALIKE * d**2:
        rough = max(tol, ROUGHLY)
        several = [descend(problem, x, rough, MOST, along=above, distance=d) for x in starts[:2]]
        evaluations += sum(one.evaluations for one in several)
        lower = min(several, key=lambda one: (not one.residual <= rough, one.energy))
        x, before = lower.state, lower.march
    found = descend(problem, x, tol, MOST, along=above, distance=d, before=before)
    return found, evaluations + found.evaluations


def _ahead(problem: Problem, way: list[np.ndarray]) -> np.ndarray:
    """The direction in which a way goes on: turned as much as at the image before, if there is one."""

    def straight(n: int) -> np.ndarray:
        back = np.asarray(problem.way(way[n], way[n - 1]))
        return -back / np.linalg.norm(back)

    ahead = straight(-1)
    if len(way) > 2:
        went = np.asarray(problem.way(way[-2], way[-1]))
        ahead = ahead + went / np.linalg.norm(went) - straight(-2)
        ahead = ahead / np.linalg.norm(ahead)
    return ahead
