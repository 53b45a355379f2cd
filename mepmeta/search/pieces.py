"""A path over several minima: its pieces are searched one by one, and put together into one path."""

from collections.abc import Sequence

import numpy as np

from mepmeta.search.beyond import Passage
from mepmeta.search.converge import TIGHTER, Verdict, converge, doubt, enough
from mepmeta.search.first_path import first_path
from mepmeta.search.network import Network
from mepmeta.search.result import StationaryPoint
from mepmeta.search.scout import SCOUTS, scouted
from mepmeta.search.spread import places, spread
from mepmeta.search.state import Search

__all__ = ["over_minima"]

#: Pieces that are searched, at most; images of each, and iterations.
TRIES, IMAGES, STEPS = 40, 14, 400
#: Images that a path has for each of its pieces, by default.
EACH = 6


def over_minima(
    band: Search, first: Verdict, tol: float, images: Sequence[int] | None
) -> tuple[Search, Verdict, list[StationaryPoint]] | None:
    """The path from start to end over the minima between, and all stationary points inside it; None if a piece failed.

    Args:
        band: of the whole path.
        first: what its search has found, :attr:`~mepmeta.search.converge.Verdict.beyond` its ends.
        tol: residual to reach.
        images: of the path, where they are given.
    """
    whole, way = band, _explored(band, first, tol)
    if not way:
        return None
    least = EACH * len(way) + 1
    for n in images or (max(IMAGES, least), 2 * max(IMAGES, least), 4 * max(IMAGES, least)):
        band, verdict, points = _joined(band, way, tol, n)
        if not band.too_few:
            break
    whole.count(band)
    return (band, verdict, points) if points or band.too_few else None


def _explored(band: Search, first: Verdict, tol: float) -> list[Passage]:
    """The passages from start to end that searches between the minima on the way find; none where one is missing."""
    network, latest = Network(band.problem, band.ends), band
    network.learn(np.asarray(band.path), 0, 1, first.passage, first.between)
    last = (band.steps + band.max_steps) // 2
    try:
        for _ in range(TRIES):
            pair = network.missing()
            if pair is None or latest.steps >= last:
                break
            one, other = (network.minima[k] for k in pair)
            for line in (network.line(*pair), None):  # what is known of the way may lead back
                latest = _piece(latest, one, other, line, min(last, latest.steps + STEPS))
                verdict = _searched(latest, tol)
                if line is None or verdict.beyond or verdict.saddle is not None:
                    break
            path = np.asarray(latest.path)
            if verdict.saddle is not None:
                top = 1 + int(np.argmax(latest.held))
                sides = list(path[top::-1]), list(path[top:])
                network.add(Passage(verdict.saddle, verdict.mode, (one, other), sides))
            elif verdict.beyond:
                network.learn(path, *pair, verdict.passage, verdict.between)
    finally:
        band.count(latest)
    return network.way()


def _piece(
    before: Search, one: StationaryPoint, other: StationaryPoint, line: Sequence[np.ndarray] | None, last: int
) -> Search:
    """A band between two minima, along a line if one is known."""
    problem = before.problem
    if line is None:
        path = np.array(first_path(problem, one.state, other.state, IMAGES).line)
    else:
        path = spread(problem, line, IMAGES)
    path[0], path[-1] = one.state, other.state
    return Search(problem, path, before.rules, last, before.bar, before, (one, other))


def _searched(band: Search, tol: float) -> Verdict:
    """The search of a piece: by scouts, then by the band."""
    few = spread(band.problem, band.path, SCOUTS)
    few = Search(band.problem, few, band.rules, band.max_steps, band.bar, band, band.ends)
    over = scouted(few, band.path, tol)
    band.count(few)
    verdict = converge(band, True, tol, over)
    # A saddle counts if its valleys lead to both minima; a band may pass by one that is not between them.
    return verdict if verdict.saddle is None or not any(band.astray) else Verdict(None)


def _joined(
    before: Search, way: Sequence[Passage], tol: float, n_images: int
) -> tuple[Search, Verdict, list[StationaryPoint]]:
    """So many images laid along passages from start to end and converged there; and the stationary points between."""
    problem = before.problem
    sides = [side for p in way for side in (p.ways[0][::-1], p.ways[1])]
    if n_images - 1 < len(sides):
        before.too_few = True
        return before, Verdict(None, why=f"{n_images} images are too few for a path over {len(way)} saddles"), []
    lengths, counts = np.array([places(problem, side)[-1] for side in sides]), np.ones(len(sides), int)
    for _ in range(n_images - 1 - len(sides)):  # one more to where images are farthest apart
        counts[np.argmax(lengths / counts)] += 1
    at = np.append(0, np.cumsum(counts))
    parts = [spread(problem, side, k + 1) for side, k in zip(sides, counts, strict=True)]
    path = np.concatenate([*(part[:-1] for part in parts), parts[-1][-1:]])
    path[[0, -1]] = np.asarray(before.path)[[0, -1]]
    band = Search(problem, path, before.rules, before.max_steps, before.bar, before)
    band.hold(*at[1:-1])
    for k, p in enumerate(way):
        band.follow(p.mode, tol * TIGHTER, at[2 * k], at[2 * k + 2])
    saddle = max((p.saddle for p in way), key=lambda saddle: saddle.energy)
    if not (band.look() <= tol or band.run(tol, at_most=STEPS // 4)):
        return band, Verdict(None, why="the pieces of the path, put together, did not converge"), []
    if doubt(band, saddle, at[1::2]):
        return band, Verdict(None, why="the pieces of the path do not make one"), []
    s = np.append(0, np.cumsum(np.asarray(band.parts.lengths)))
    inner = [point for p in way for point in (p.saddle, p.minima[1])][:-1]
    points = [point._replace(position=float(s[k])) for point, k in zip(inner, at[1:-1], strict=True)]
    return band, enough(band, Verdict(saddle)), points
