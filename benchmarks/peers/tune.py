"""Choose the settings of Spirit and ASE on the development halves: ``python -m benchmarks.peers.tune``.

A grid of solvers, steps, springs and moments to begin climbing is run on the first few problems of the development half
of each set. The best settings of the best solvers go on to the whole half. Best is: solves most, then needs least CPU
time. The test half is never looked at. mepmeta has nothing to tune: ``find_mep`` runs with its defaults.

Everything that was tried is written to ``tuning-*.csv``, what was chosen, best solver first, to ``settings.json``.
Arguments: the core to run on, and what to tune, for example ``spirit-skyrmion,ase-spin``; all of it by default.
"""

import itertools
import json
import sys

from benchmarks.peers.problems import problems
from benchmarks.peers.records import DATA, write
from benchmarks.peers.worker import Worker

__all__ = ["GRIDS", "SETTINGS"]

SETTINGS = DATA / "settings.json"
#: Iterations to give up after here, and solvers that go on from some problems to all.
CAP, FINALISTS = 6000, 4
SHORT = {"spin": 4, "skyrmion": 4, "wire": 4, "landscape": 4}


def grid(**axes) -> list[dict]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


#: Of the dynamical solvers, which Spirit's manual says do worse than those made for minimisation, one setting each.
SPIRIT = [
    *grid(solver=["VP"], dt=[2e-3, 4e-3, 8e-3], spring=[0.2, 1.0], climb_at=[0.1, 1.0]),
    *grid(solver=["VP_OSO"], dt=[1e-3, 4e-3], spring=[0.2], climb_at=[0.1]),
    *grid(solver=["LBFGS_OSO", "LBFGS_Atlas"], dt=[1e-3], spring=[0.2, 1.0], climb_at=[0.1]),
    *grid(solver=["LBFGS_OSO"], dt=[1e-3], spring=[3.0], climb_at=[0.1]),  # beyond the spring that came out best
    *grid(solver=["SIB", "Depondt", "Heun"], dt=[1e-2], spring=[0.2], climb_at=[0.1]),
]
#: The string method of ASE keeps images at equal distances, the climbing one too; that and its splines were not tried.
METHODS = ["improvedtangent", "aseneb"]
ASE = {
    "spin": [
        *grid(optimiser=["FIRE"], method=METHODS, spring=[0.1, 1.0], climb_at=[0.1, 1.0], dt=[0.1, 0.3]),
        *grid(optimiser=["MDMin"], method=METHODS, spring=[0.1, 1.0], climb_at=[0.1, 1.0], dt=[0.2, 0.5]),
        *grid(optimiser=["LBFGS", "BFGS"], method=METHODS, spring=[0.1, 1.0], climb_at=[0.1, 1.0], alpha=[5.0, 70.0]),
    ],
    "landscape": [
        *grid(optimiser=["FIRE"], method=METHODS, spring=[1.0, 10.0], climb_at=[0.1], dt=[0.01, 0.03]),
        *grid(optimiser=["MDMin"], method=METHODS, spring=[10.0], climb_at=[0.1], dt=[0.03]),
        *grid(optimiser=["LBFGS"], method=METHODS, spring=[1.0, 10.0], climb_at=[0.1], alpha=[70.0, 500.0]),
        *grid(optimiser=["BFGS"], method=METHODS[:1], spring=[10.0], climb_at=[0.1], alpha=[500.0]),
    ],
}  # fmt: skip
GRIDS = {("spirit", "skyrmion"): SPIRIT, ("spirit", "spin"): SPIRIT, ("spirit", "wire"): SPIRIT,
         ("ase", "spin"): ASE["spin"], ("ase", "landscape"): ASE["landscape"]}  # fmt: skip


def kind(settings: dict) -> str:
    """What the best setting is kept of: a solver."""
    return settings.get("solver") or f"{settings['optimiser']} {settings['method']}"


def score(worker: Worker, code: str, settings: dict, names: list[str]) -> dict:
    solved, cpu, evaluations, why = 0, 0.0, 0, ""
    for name in names:
        job = {
            "task": "solve",
            "code": code,
            "problem": name,
            "settings": settings,
            "options": {"cap": CAP, "repeats": 0},
        }
        found = worker.ask(job, limit=120)
        if found is None:
            why = "the process died or hung"
            continue
        solved += found[0]["solved"]
        cpu, evaluations = cpu + found[0]["cpu"], evaluations + found[0]["evaluations"]
        why = why or found[0]["message"]
    return {"solved": solved, "of": len(names), "cpu_s": cpu, "evaluations": evaluations, "first_failure": why}


def main() -> None:
    rows, cores = [], sys.argv[1] if len(sys.argv) > 1 else "0"
    chosen = json.loads(SETTINGS.read_text()) if SETTINGS.exists() else {}
    only = sys.argv[2].split(",") if len(sys.argv) > 2 else None
    with Worker(cores) as worker:
        for (code, family), candidates in GRIDS.items():
            if only and f"{code}-{family}" not in only:
                continue
            names = problems(family, "development")
            best = {}
            for stage, few in (("some", names[: SHORT[family]]), ("all", names)):
                if stage == "all":
                    ranked = sorted(best.values(), key=lambda pair: pair[0], reverse=True)
                    candidates, best = [settings for _, settings in ranked[:FINALISTS]], {}
                for settings in candidates:
                    found = score(worker, code, settings, few)
                    key = (found["solved"], -found["cpu_s"])
                    print(code, family, stage, json.dumps(settings), found, flush=True)
                    rows.append({"code": code, "set": family, "stage": stage, "kind": kind(settings),
                                 "settings": json.dumps(settings).replace('"', ""), **found})  # fmt: skip
                    if stage == "all" or kind(settings) not in best or key > best[kind(settings)][0]:
                        best[kind(settings)] = key, settings
            ranked = sorted(best.values(), key=lambda pair: pair[0], reverse=True)
            chosen[f"{code}-{family}"] = [settings for _, settings in ranked]
            SETTINGS.parent.mkdir(parents=True, exist_ok=True)
            SETTINGS.write_text(json.dumps(chosen, indent=1) + "\n")
            write(DATA / f"tuning-{code}-{family}.csv", [r for r in rows if (r["code"], r["set"]) == (code, family)],
                  "settings tried on development problems")  # fmt: skip


if __name__ == "__main__":
    main()
