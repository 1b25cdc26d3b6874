"""The engine of sweeps: trials as processes that are started, watched, retried and made rows.

A sweep keeps no state of its own: which trials are done is read from the run folders, which are
running from the kernel's locks, so that a sweep can be killed at any moment and any number of them
can share the work.
"""

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from common import paths
from common.device import limited
from common.errors import FolderInUse
from common.files import save_json
from common.locks import is_locked, try_lock
from common.logs import warnings_in
from experiments.description import about, now
from experiments.run_files import finished, read_result
from experiments.spec import RunSpec

PAUSE = 2.0  # seconds until a trial that another sweep runs is checked again
LOSSES = 3  # how often a trial is started again because its machine was lost
LOWEST = 19  # niceness of the lowest priority
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_prctl = ctypes.CDLL(None).prctl


@dataclass(eq=False)
class Trial:
    """One run of a sweep."""

    name: str
    spec: RunSpec
    folder: str
    weights: str | None  # the pretrained weights that it shares with others, there or not yet
    record: dict  # the run's identity
    minutes: tuple = (0.0, 0.0)  # of pretraining, and of clustering at most
    megabytes: tuple = (0.0, 0.0)  # of its folder, and of the shared weights
    tries: int = 0
    losses: int = 0
    after: float = 0.0  # not to be started before this time

    @property
    def argv(self) -> list[str]:
        """The arguments of main.py, folders excepted."""
        return self.spec.to_argv()

    def command(self) -> list[str]:
        """Return the arguments of main.py with the folders of this machine."""
        folders = ["--save-dir", self.folder, "--cache-dir", self.spec.cache_dir]
        return [*self.argv, *folders, "--quiet"]

    @property
    def source(self) -> str:
        """Where its data come from, as `datasets.Dataset.source`."""
        return "named" if self.spec.data is None else "file"

    def waits_for_weights(self) -> bool:
        """Whether its pretraining is still to be done."""
        return self.weights is not None and not os.path.exists(self.weights)


@dataclass
class Outcome:
    """How a trial's process ended."""

    code: int = 0  # exit status; negative: the signal that killed it
    stderr: str = ""
    timed_out: float = 0.0  # minutes, if it was stopped for taking longer
    node_lost: str = ""  # what happened to its machine

    def reason(self) -> str:
        """Return one line on why the trial failed."""
        if self.node_lost:
            return f"its machine was lost {LOSSES + 1} times: {self.node_lost}"
        if self.timed_out:
            return f"stopped after {self.timed_out:g} minutes"
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"exit status {self.code}"


class Process:
    """`python main.py ARGV` as a process that dies with this one.

    cpus: the cores it may use; timeout: minutes; root: the folder of main.py.
    """

    def __init__(
        self,
        argv: list[str],
        cpus: set[int] | None = None,
        timeout: float | None = None,
        root: str | None = None,
    ):
        self.timeout, self.begin = timeout, time.monotonic()
        threads = argv[argv.index("--threads") + 1]
        parent = os.getpid()

        def prepare():
            _prctl(DIE_WITH_PARENT, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the call
                os._exit(1)
            if cpus:
                os.sched_setaffinity(0, cpus)
            if os.nice(0) >= LOWEST:
                os.setsid()  # Linux weighs sessions first, and niceness only within each
                with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as file:
                    file.write(str(LOWEST))

        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(root or paths.ROOT, "main.py"), *argv],
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            stdin=subprocess.DEVNULL,
            preexec_fn=prepare,
            env=limited(threads),
        )

    def poll(self) -> Outcome | None:
        """Return the Outcome, or None while it runs in time."""
        overdue = self.timeout and (time.monotonic() - self.begin) / 60 > self.timeout
        if self.process.poll() is None and not overdue:
            return None
        self.process.kill()
        code = self.process.wait()
        with self.errors as file:
            file.seek(0)
            stderr = file.read().decode(errors="replace")
        return Outcome(code, stderr, self.timeout if overdue and code else 0.0)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.errors.close()


class Cores:
    """This machine: trials side by side, each pinned to its share of the cores."""

    def __init__(self, jobs: int, timeout: float | None = None):
        cores = sorted(os.sched_getaffinity(0))
        share = max(1, len(cores) // jobs)
        self.free = [set(cores[(i * share) % len(cores) :][:share]) for i in range(jobs)]
        self.timeout = timeout
        self._cpus = {}

    def has_capacity(self) -> bool:
        """Whether another trial can be started."""
        return bool(self.free)

    def start(self, trial: Trial) -> None:
        """Start a trial."""
        os.makedirs(trial.folder, exist_ok=True)
        process = Process(trial.command(), self.free[0], self.timeout)
        self._cpus[trial] = (process, self.free.pop(0))

    def poll(self, trial: Trial) -> Outcome | None:
        """Return a trial's Outcome, or None while it runs."""
        process, cpus = self._cpus[trial]
        outcome = process.poll()
        if outcome is not None:
            self.free.insert(0, cpus)
            del self._cpus[trial]
        return outcome

    def stop(self) -> None:
        """End what runs."""
        for process, _ in self._cpus.values():
            process.stop()


def fail(trial: Trial, why: str, stderr: str = "") -> None:
    """Leave a result that says why a trial failed; a later sweep tries it again.

    Not if another sweep runs the trial or has done it.
    """
    command = "python main.py " + shlex.join(trial.command())
    failure = {"status": "failed", "reason": why, "command": command}
    failure |= {"finished": now(), "source": trial.source}
    with contextlib.suppress(OSError):
        os.makedirs(trial.folder, exist_ok=True)
        lock = try_lock(os.path.join(trial.folder, "lock"))
        if lock is None:
            return
        with lock:
            if finished(trial.folder) is None:
                save_json(os.path.join(trial.folder, "result.json"), about(trial.record) | failure)
                with open(os.path.join(trial.folder, "stderr.txt"), "w") as file:
                    file.write(stderr)


class Sweep:
    """Trials that are to be done on a machine or a cluster.

    executor: Cores or a distributed.Cluster; retries: how often a failed trial is tried again;
    settled: called whenever a trial has left a result.
    """

    def __init__(
        self,
        trials: list[Trial],
        executor: "Cores",
        retries: int = 0,
        settled: Callable[[], object] = lambda: None,
    ):
        self.executor, self.retries, self.settled = executor, retries, settled
        self.begun = now()
        self.pending = [trial for trial in trials if finished(trial.folder) is None]
        self.running, self.failed = [], []
        todo = len(self.pending)
        print(f"{len(trials) - todo} trials are done, {todo} to do", flush=True)

    def run(self) -> list[str]:
        """Run what is not done; return the names of the trials that failed."""
        waiting = False  # a line says so once
        try:
            while self.pending or self.running:
                for trial in list(self.running):
                    outcome = self.executor.poll(trial)
                    if outcome is not None:
                        self.running.remove(trial)
                        self.settle(trial, outcome)
                while self.executor.has_capacity() and (trial := self.choose()) is not None:
                    self.start(trial)
                if self.running or not self.pending:
                    waiting = False
                elif not waiting:
                    print(f"waiting for another process: {len(self.pending)} trials", flush=True)
                    waiting = True
                time.sleep(0.2)
        finally:
            self.executor.stop()
        return self.failed

    def choose(self) -> Trial | None:
        """Take a trial that can be started now from those to do; None if there is none.

        A trial is skipped while another process runs it or pretrains what it needs.
        """
        pretraining = {trial.weights for trial in self.running if trial.waits_for_weights()}
        time_now = time.monotonic()
        for trial in [trial for trial in self.pending if trial.after <= time_now]:
            result = read_result(trial.folder)
            if result.get("status") == "ok":  # another sweep did it
                self.pending.remove(trial)
                self.report("done", trial, "by another sweep")
            elif self.failed_elsewhere(trial, result):
                self.pending.remove(trial)
                self.failed.append(trial.name)
                self.report("failed", trial, f"in another sweep: {result['reason']}")
            elif is_locked(os.path.join(trial.folder, "lock")) or (
                trial.waits_for_weights()
                and is_locked(os.path.join(os.path.dirname(trial.weights), "lock"))
            ):
                trial.after = time_now + PAUSE
            elif trial.weights not in pretraining:
                self.pending.remove(trial)
                return trial
        return None

    def failed_elsewhere(self, trial: Trial, result: dict) -> bool:
        """Whether another sweep has tried the trial since this one began, and given it up."""
        tried_here = trial.tries + trial.losses > 0
        failed = result.get("status") == "failed" and result.get("finished", "") > self.begun
        return failed and not tried_here

    def start(self, trial: Trial) -> None:
        """Start a trial; where that is impossible, it has failed."""
        try:
            self.executor.start(trial)
            self.running.append(trial)
        except FolderInUse:
            self.postpone(trial)
        except OSError as error:
            self.settle(trial, Outcome(1, f"cannot start: {error}"))

    def postpone(self, trial: Trial) -> None:
        """Check a trial again a little later."""
        trial.after = time.monotonic() + PAUSE
        self.pending.insert(0, trial)

    def settle(self, trial: Trial, outcome: Outcome) -> None:
        """Report a trial that ended; try it again, or leave a row that says why it failed."""
        if outcome.code == FolderInUse.status:  # another sweep was faster
            self.postpone(trial)
            return
        if outcome.node_lost and trial.losses < LOSSES:
            trial.losses += 1
            self.report("lost", trial, f"{outcome.node_lost}; it is started again")
            self.postpone(trial)
            return
        for line in warnings_in(outcome.stderr):
            self.report("note", trial, line)
        result = finished(trial.folder) if outcome.code == 0 and not outcome.node_lost else None
        if result is not None:
            scores = f"acc {result['acc']:.4f} nmi {result['nmi']:.4f}" if "acc" in result else ""
            parts = [scores, f"{result['seconds_total']:.0f} s", result.get("verdict", "")]
            self.report("done", trial, " ".join(filter(None, parts)))
        else:
            why = outcome.reason()
            self.report("failed", trial, why)
            trial.tries += 1
            if trial.tries <= self.retries:
                self.pending.append(trial)
                return
            self.failed.append(trial.name)
            fail(trial, why, outcome.stderr)
        self.settled()

    @staticmethod
    def report(what: str, trial: Trial, text: str) -> None:
        """Print a line on a trial."""
        print(f"{what:6} {trial.name:36} {text}", flush=True)
