"""From rows to answers: who solved what, profiles, ratios, and the targets beside them. No measuring here, no JAX.

``make bench`` prints these tables and the page of the book shows them: the same files, the same functions.
"""

from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.peers.records import read

__all__ = [
    "TARGETS", "Target", "failures", "first_answer", "per_problem", "profile", "ratio", "report", "solved_line",
    "targets",
]  # fmt: skip

Rows = list[dict]


class Target(NamedTuple):
    """A goal and what was measured.

    Args:
        what: in words.
        goal: ratio to reach, ``better`` at least.
        measured: ratio that was measured.
        note: what it was measured on.
    """

    what: str
    goal: float
    measured: float
    note: str

    @property
    def met(self) -> bool:
        return bool(self.measured >= self.goal)

    @property
    def verdict(self) -> str:
        if not np.isfinite(self.measured):
            return "not measured"
        return "met" if self.met else f"missed by a factor of {self.goal / self.measured:.2g}"


#: What was asked for: ratios in one run, on the same number of cores.
TARGETS = {
    "spin spirit": 20.0,
    "spin ase": 2000.0,
    "film 900 1": 2.5,
    "film 900 2": 4.0,
    "film 90000 1": 2.0,
    "converged": 1.0,
    "cpu": 3.0,
}


def ratio(rows: Rows, slower: str, faster: str, what: str = "cpu_s", **match) -> float:
    """Cost of an iteration in code ``slower`` over that in ``faster``, for the rows that match."""
    cost = {}
    for code in (slower, faster):
        found = [r[what] for r in rows if r["code"] == code and all(r[k] == v for k, v in match.items())]
        if len(found) != 1:
            return float("nan")
        cost[code] = found[0]
    return cost[slower] / cost[faster]


def label(row: dict) -> str:
    names = {"spirit": "Spirit", "ase": "ASE"}
    return "mepmeta" if row["code"] == "mepmeta" else f"{names[row['code']]} {row['solver']}"


def per_problem(rows: Rows, family: str, cores: int = 1) -> dict[str, dict[str, dict]]:
    """Code to problem to its result: medians over the rounds of cpu and wall, the rest as in the first round."""
    table = {}
    for row in rows:
        if row["set"] == family and row["cores"] == cores:
            table.setdefault(label(row), {}).setdefault(row["problem"], []).append(row)
    return {
        code: {
            problem: rounds[0] | {what: float(np.median([r[what] for r in rounds])) for what in ("cpu", "wall")}
            for problem, rounds in found.items()
        }
        for code, found in table.items()
    }


def profile(results: dict[str, dict[str, dict]], what: str) -> dict[str, np.ndarray]:
    """Dolan-More: for each code, the sorted ratios of its cost to the least that any code needed; inf if not solved."""
    names = sorted({name for found in results.values() for name in found})
    cost = {
        code: np.array([found[n][what] if n in found and found[n]["solved"] else np.inf for n in names])
        for code, found in results.items()
    }
    least = np.min(list(cost.values()), axis=0)
    return {code: np.sort(np.where(np.isfinite(c), c / least, np.inf)) for code, c in cost.items()}


def failures(rows: Rows, sets: tuple[str, ...]) -> Rows:
    """A row for each set and code: solved, on a saddle, total cost on what it solved, the first reason of a failure."""
    table = []
    for family in sets:
        for code, found in per_problem(rows, family).items():
            good = [r for r in found.values() if r["solved"]]
            why = [f"{name}: {r['message']}" for name, r in found.items() if not r["solved"]]
            table.append({
                "set": family, "code": code, "problems": len(found), "solved": len(good),
                "saddle": sum(r["index"] == 1 for r in good),
                "evaluations": sum(r["evaluations"] for r in good), "cpu": sum(r["cpu"] for r in good),
                "why": why[0] if why else "",
            })  # fmt: skip
    return table


def solved_line(rows: Rows, family: str, cores: int) -> str:
    return ", ".join(
        f"{code} {sum(r['solved'] for r in found.values())}/{len(found)} {sum(r['cpu'] for r in found.values()):.1f} s"
        for code, found in per_problem(rows, family, cores).items()
    )


def targets(iteration: Rows, convergence: Rows) -> list[Target]:
    """Every target with its measured ratio. CPU time on one core, wall time on two; the improved tangent, as in Spirit.

    Spirit is the one that was set for speed. Where no setting of it converged on every problem, the one that converged
    on most counts, and CPU times are summed over the problems that it solved.
    """
    ours, spin, film = "mepmeta improved", {"case": "spin", "cores": 1}, {"case": "film", "images": 12}
    shipped = ratio(iteration, "spirit as shipped", ours, **spin)
    loop = ratio(iteration, "ase loop", ours, **spin)
    found = [
        Target("single spin, 1000 paths, path-iterations per second over Spirit's", TARGETS["spin spirit"],
               ratio(iteration, "spirit lean", ours, **spin), f"Spirit set for speed; as shipped {shipped:.1f}"),
        Target("the same over ASE's", TARGETS["spin ase"], ratio(iteration, "ase direct", ours, **spin),
               f"steps called directly; by its own loop {loop:.0f}"),
    ]  # fmt: skip
    for n, cores in ((900, 1), (900, 2), (90_000, 1)):
        side, what = round(n**0.5), "cpu_s" if cores == 1 else "wall_s"
        measured = ratio(iteration, "spirit VP", ours, what, spins=n, cores=cores, **film)
        smooth = ratio(iteration, "spirit VP", "mepmeta smooth", what, spins=n, cores=cores, **film)
        found.append(
            Target(f"{side}x{side}, 12 images, an iteration faster than Spirit's, {cores} core(s)",
                   TARGETS[f"film {n} {cores}"], measured, f"with the smooth tangent {smooth:.2f}")
        )  # fmt: skip
    results = per_problem(convergence, "skyrmion")
    mine = results.pop("mepmeta", {})
    solved = np.mean([r["solved"] for r in mine.values()]) if mine else float("nan")
    found.append(Target("skyrmions, part converged with one default setting", TARGETS["converged"], float(solved), ""))

    def rank(code: str) -> tuple[int, float]:
        good = [r for r in results[code].values() if r["solved"]]
        return len(good), -sum(r["cpu"] for r in good)

    if results and mine:
        best = max(results, key=rank)
        common = [n for n, r in results[best].items() if r["solved"] and mine[n]["solved"]]
        cpu = sum(results[best][n]["cpu"] for n in common) / sum(mine[n]["cpu"] for n in common)
        note = f"{best}, {rank(best)[0]} of {len(results[best])} converged"
    else:
        cpu, note = float("nan"), ""
    found.append(Target("skyrmions, Spirit's total CPU time over ours", TARGETS["cpu"], cpu, note))
    return found


def first_answer(rows: list[dict], code: str) -> tuple[float, float]:
    """CPU seconds of a whole process until it has its answer, and of the same problem again: medians.

    Of several solvers of a code the quickest one counts that had an answer every time; infinite where none had.
    """
    found = [(float("inf"), float("inf"))]
    for label in sorted({r["code"] for r in rows if r["code"].split()[0] == code}):
        mine = [r for r in rows if r["code"] == label]
        if all(r["solved"] for r in mine):
            found.append((median(r["loading_s"] + r["first_s"] for r in mine), median(r["second_s"] for r in mine)))
    return min(found)


def _columns(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def report(data: Path) -> str:
    """All tables as text."""
    iteration, convergence = (read(data / f"{name}.csv")[1] for name in ("iteration", "convergence"))
    learning, compiling = (read(data / f"{name}.csv")[1] for name in ("learning", "compiling"))
    out = ["", "Cost of an iteration: ns for each spin and image, median CPU / wall"]
    out.append(_columns([["case", "spins", "images", "cores", "code", "CPU", "wall"], *(
        [r["case"], str(r["spins"]), str(r["images"]), str(r["cores"]), r["code"],
         *(f"{1e9 * r[w] / r['spins'] / r['images']:.1f}" for w in ("cpu_s", "wall_s"))]
        for r in iteration
    )]))  # fmt: skip
    out += ["", "Test halves to a residual of 1e-5, one core: solved, of these on a saddle of index 1, total cost"]
    out.append(_columns([["set", "code", "solved", "saddle", "gradients", "CPU (s)", "first failure"], *(
        [r["set"], r["code"], f"{r['solved']}/{r['problems']}", str(r["saddle"]), str(r["evaluations"]),
         f"{r['cpu']:.3f}", r["why"]]
        for r in failures(convergence, ("spin", "skyrmion", "wire", "landscape"))
    )]))  # fmt: skip
    out += ["", "Cost of a loss and its gradient, 100 paths: the paper's way over ours"]
    rows = [["K", "time", "memory"]]
    for K in sorted({r["K"] for r in learning}):
        pair = {r["way"]: r for r in learning if r["K"] == K}
        if len(pair) == 2:
            rows.append([str(K), *(f"{pair['paper'][w] / pair['ours'][w]:.1f}" for w in ("cpu_s", "bytes"))])
    out.append(_columns(rows))
    out += ["", "Seconds of the first call and the second: " + ", ".join(
        f"{k[:-2].replace('_', ' ')} {v:.2f}" for k, v in compiling[0].items() if k.endswith("_s"))]  # fmt: skip
    answer = read(data / "answer.csv")[1]
    seconds = {code: first_answer(answer, code) for code in ("mepmeta", "spirit")}
    out += ["", "CPU seconds of a whole process until its answer, and of the same again: " + ", ".join(
        f"{code} {whole:.2f} and {again:.2f}" for code, (whole, again) in seconds.items())]  # fmt: skip
    out += ["", "Targets"]
    out.append(_columns([["what", "target", "measured", "verdict", ""], *(
        [t.what, f"{t.goal:g}", f"{t.measured:.2f}", t.verdict, t.note] for t in targets(iteration, convergence)
    )]))  # fmt: skip
    return "\n".join(out)
