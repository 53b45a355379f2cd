"""A code in a process of its own, so that a crash ends a run and not the comparison.

The process reads jobs, one JSON object a line, and answers each with one line. ``Worker`` is the other end: it starts
the process on given cores, and starts it anew when it dies or takes too long.
"""

import json
import os
import select
import subprocess
import sys
import time

__all__ = ["Worker"]

#: Peers are set for speed, and so are we: eight numbers at a time where the processor can; LLVM is content with four.
WIDE = "--xla_cpu_prefer_vector_width=512"
MARK = "@answer "  # the libraries print to stdout, too


class Worker:
    """A process that computes.

    Args:
        cores: the cores it may use, for example "0" or "0,1".
        fresh: without what XLA compiled earlier and kept on disk.
    """

    def __init__(self, cores: str, fresh: bool = False):
        self.cores, self.fresh, self.process = cores, fresh, None

    def ask(self, job: dict, limit: float = 600.0) -> dict | None:
        """The answer to a job; None when the process died over it or ran longer than ``limit`` seconds."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.close()
            return None
        until = time.monotonic() + limit
        while True:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))
            line = self.process.stdout.readline() if ready else ""
            if not line:
                self.close()
                return None
            if line.startswith(MARK):
                return json.loads(line[len(MARK) :])

    def _start(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(len(self.cores.split(","))), "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment["XLA_FLAGS"] = f"{environment.get('XLA_FLAGS', '')} {WIDE}".strip()
        if self.fresh:
            environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        self.process = subprocess.Popen(
            ["taskset", "-c", self.cores, sys.executable, "-m", "benchmarks.peers.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, bufsize=1, env=environment,
        )  # fmt: skip

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def answer(job: dict) -> object:
    from benchmarks.peers import agreement, cost, learning, solve
    from benchmarks.peers.problems import load

    if job["task"] == "solve":
        outcomes = solve.solve(job["code"], load(job["problem"]), job["settings"], **job.get("options", {}))
        return [outcome._asdict() for outcome in outcomes]
    if job["task"] == "answer":
        return solve.answer(job["code"], load(job["problem"]), job["settings"])
    if job["task"] == "agree":
        return agreement.agree(job["code"], job["problem"])
    where = learning if job["task"] == "loss_and_gradient" else cost
    return getattr(where, job["task"])(**job["options"])


def main() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)
    for line in sys.stdin:
        print(MARK + json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
