"""The whole comparison: ``python -m benchmarks.peers.run``, as ``make bench`` calls it; stages may be named.

Every code runs in processes of its own, on one core and then on two, the codes taking turns, with the settings that
``tune.py`` chose on the development halves. Energies are compared first; nothing is timed unless they agree. Results go
to ``book/_data/peers`` as CSV, and the tables with the targets are printed. A missed target is a result, not an error.
"""

import json
import sys
import time

from benchmarks.peers import tables
from benchmarks.peers.learning import KS
from benchmarks.peers.measure import spread
from benchmarks.peers.problems import SETS, problems
from benchmarks.peers.records import DATA, write
from benchmarks.peers.tune import SETTINGS, kind
from benchmarks.peers.worker import Worker

__all__ = ["PLAYERS", "main"]

#: Who can do which set: Spirit has spins only, ASE has no spheres.
PLAYERS = {"spin": ("spirit", "ase"), "skyrmion": ("spirit",), "wire": ("spirit",), "landscape": ("ase",)}
CORES = {1: "0", 2: "0,1"}
ROUNDS, SOLVERS = 3, 2
SPIN_CODES = {"mepmeta improved": 1000, "mepmeta smooth": 1000, "spirit lean": 20_000, "spirit as shipped": 5000,
              "ase direct": 100, "ase loop": 30}  # fmt: skip
FILM_CODES = ("mepmeta improved", "mepmeta smooth", "spirit VP", "spirit LBFGS_OSO")
FILMS = [(10, 12), (30, 12), (100, 12), (300, 12), (30, 6), (30, 24), (30, 48)]
LARGEST = [(1000, 12)]  # minutes, so on one core only


def say(*words) -> None:
    print(f"[{time.strftime('%H:%M:%S')}]", *words, flush=True)


def agreement(worker: Worker) -> None:
    rows = []
    for family in SETS:
        for code in PLAYERS[family]:
            for name in problems(family):
                found = worker.ask({"task": "agree", "code": code, "problem": name})
                if found is None or not found["fine"]:
                    sys.exit(f"{code} has another energy in {name}: {found}. Nothing was timed.")
                rows.append({"code": code, "problem": name, **found})
    write(DATA / "agreement.csv", rows, "largest differences of energies and gradients from those of mepmeta")
    say("energies agree:", len(rows), "comparisons, largest difference of a gradient",
        f"{max(row['gradient'] for row in rows):.1e}")  # fmt: skip


def _turns(worker: Worker, jobs: dict, rounds: int) -> list[dict]:
    """Every job once a round, in turn; medians and quartiles of CPU and wall time."""
    times = {key: [] for key in jobs}
    for turn in range(rounds + 1):
        for key, job in jobs.items():
            found = worker.ask(job)
            if turn and found is not None:
                times[key].append(found)
    rows = []
    for key, found in times.items():
        row = dict(key)
        for what, values in zip(("cpu", "wall"), zip(*found, strict=True), strict=True):
            row |= dict(zip((f"{what}_s", f"{what}_low", f"{what}_high"), spread(values), strict=True))
        rows.append(row)
    return rows


def throughput(cores: int, worker: Worker) -> list[dict]:
    def key(case, code, n, images):
        return (("case", case), ("code", code), ("cores", cores), ("spins", n), ("images", images))

    rows = _turns(worker, {
        key("spin", code, 1, 11): {"task": "spins", "options": {"code": code, "iterations": n}}
        for code, n in SPIN_CODES.items()
    }, 5)  # fmt: skip
    for n, images in FILMS + (LARGEST if cores == 1 else []):
        iterations = max(3, 2_000_000 // (n * n * images))
        rows += _turns(worker, {
            key("film", code, n * n, images): {
                "task": "film", "options": {"code": code, "n": n, "images": images, "iterations": iterations}
            }
            for code in FILM_CODES
        }, 5)  # fmt: skip
    return rows


def convergence(cores: int, worker: Worker, families: tuple[str, ...], rounds: int) -> list[dict]:
    """Every problem of the test halves by every code, in turn."""
    chosen, rows = json.loads(SETTINGS.read_text()), []
    for family in families:
        players = [("mepmeta", "find_mep", {})]
        for code in PLAYERS[family]:
            players += [(code, kind(s), s) for s in chosen[f"{code}-{family}"][:SOLVERS]]
        for name in problems(family, "test"):
            for turn in range(rounds + 1):
                for code, solver, settings in players:
                    if turn == 0 and code != "mepmeta":
                        continue  # only mepmeta compiles, and is not timed over it
                    job = {"task": "solve", "code": code, "problem": name, "settings": settings}
                    found = worker.ask(job, limit=400)
                    if turn == 0:
                        continue
                    failed = {"solved": False, "message": "the process died or hung"}
                    outcome = found[0] if found else dict.fromkeys(_columns(), float("nan")) | failed
                    rows.append({"set": family, "problem": name, "code": code, "solver": solver, "cores": cores,
                                 "round": turn, **outcome})  # fmt: skip
            say(name, f"on {cores} core(s)")
        say(family, f"on {cores} core(s):", tables.solved_line(rows, family, cores))
    return rows


def _columns() -> tuple[str, ...]:
    from benchmarks.peers.solve import Outcome

    return Outcome._fields


def learning(worker: Worker) -> list[dict]:
    rows = []
    for steps in KS:
        found = {way: [] for way in ("ours", "paper")}
        for _ in range(5):
            for way in found:
                job = {"task": "loss_and_gradient", "options": {"way": way, "steps": steps}}
                answer = worker.ask(job, limit=200)
                if answer:
                    found[way].append(answer)
        for way, answers in found.items():
            if not answers:
                continue
            row = {"way": way, "K": steps, "bytes": answers[0]["bytes"], "compile_s": answers[0]["compile"]}
            for what in ("cpu", "wall"):
                row |= dict(zip((f"{what}_s", f"{what}_low", f"{what}_high"), spread([a[what] for a in answers]),
                                strict=True))  # fmt: skip
            rows.append(row)
    return rows


def stage_agreement() -> None:
    with Worker(CORES[1]) as worker:
        agreement(worker)


def stage_iteration() -> None:
    rows = []
    for cores, names in CORES.items():
        with Worker(names) as worker:
            rows += throughput(cores, worker)
    write(DATA / "iteration.csv", rows, "seconds of an iteration (case spin: for each path), medians and quartiles")


def stage_machine() -> None:
    rows = []
    with Worker(CORES[1]) as worker:
        for n, images in ((1, 11), (30, 12), (300, 12)):
            found = worker.ask({"task": "machine", "options": {"n": n, "images": images}})
            rows.append({"cores": 1, "spins": n * n, "images": images, **found})
    write(DATA / "machine.csv", rows, "bandwidth of memory, peak of a matrix product, counts of XLA for an iteration")
    with Worker(CORES[1]) as worker:
        found = worker.ask({"task": "parts", "options": {"iterations": 200}})
    rows = [{"part": part, "cpu_s": value} for part, value in found.items()]
    write(DATA / "parts.csv", rows, "CPU seconds of an iteration and of its parts compiled alone, one core")
    with Worker(CORES[1], fresh=True) as fresh:  # nothing compiled yet, and no cache on disk
        found = fresh.ask({"task": "compiling", "options": {"n": 30, "images": 12}})
    row = {key.replace(" ", "_") + "_s": value for key, value in found.items()}
    write(DATA / "compiling.csv", [{"spins": 900, "images": 12, **row}], "seconds of first and second calls, one core")


def stage_answer() -> None:
    """Fresh processes, in turn, each with one problem of the test half: the first skyrmion."""
    name, rows = problems("skyrmion", "test")[0], []
    settings = json.loads(SETTINGS.read_text())["spirit-skyrmion"]
    for turn in range(ROUNDS):
        for code, chosen in (("mepmeta", {}), *(("spirit", one) for one in settings)):
            with Worker(CORES[1], fresh=True) as fresh:
                found = fresh.ask({"task": "answer", "code": code, "problem": name, "settings": chosen})
                label = f"{code} {chosen['solver']}" if chosen else code
                rows.append({"code": label, "problem": name, "turn": turn, **found})
    write(DATA / "answer.csv", rows, "CPU seconds of fresh processes on one core: loading, first solution, a second")


def stage_learning() -> None:
    with Worker(CORES[1]) as worker:
        write(DATA / "learning.csv", learning(worker), "seconds of one loss and gradient, 100 paths of 11 images")


def stage_convergence() -> None:
    rows = []
    for cores, families, rounds in ((1, SETS, ROUNDS), (2, ("skyrmion",), 1)):
        with Worker(CORES[cores]) as worker:
            rows += convergence(cores, worker, families, rounds)
            write(DATA / "convergence.csv", rows, "test halves, one row a run")


STAGES = {"agreement": stage_agreement, "iteration": stage_iteration, "machine": stage_machine,
          "answer": stage_answer, "learning": stage_learning, "convergence": stage_convergence}  # fmt: skip


def main() -> None:
    """All stages, or those named, energies compared in any case; then the tables, from all files there are."""
    begin = time.monotonic()
    for name in ["agreement", *(sys.argv[1:] or list(STAGES)[1:])]:
        STAGES[name]()
        say(name, "done")
    print(tables.report(DATA))
    say(f"{(time.monotonic() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
