"""The engine of sweeps: trials as processes that are started, watched, retried and made rows.

Nothing here is remembered: what is done stands in the run folders, who is at work in the kernel's
locks, so that a sweep can be killed at any moment and any number of them can share the work.
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
from dataclasses import dataclass

from common import paths
from common.device import limited
from common.errors import FolderInUse
from common.files import save_json
from common.locks import is_locked, try_lock
from common.logs import warnings_in
from experiments.runs import about, finished, now, read_result
from experiments.spec import RunSpec

PAUSE = 2.0  # seconds until a trial that another sweep is at is looked at again
LOSSES = 3  # how often a trial is started again because its machine was lost
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_prctl = ctypes.CDLL(None).prctl


@dataclass(eq=False)
class Trial:
    """One run of a sweep."""

    name: str
    spec: RunSpec
    folder: str
    cache_dir: str
    weights: str | None  # the pretrained weights that it shares with others, there or not yet
    record: dict  # the run's identity
    minutes: tuple = (0.0, 0.0)  # of pretraining, and of clustering at most
    megabytes: tuple = (0.0, 0.0)  # of its folder, and of the shared weights
    tries: int = 0
    losses: int = 0
    after: float = 0.0  # not to be started before this time

    @property
    def words(self):
        """What it is on main.py's command line, folders excepted."""
        return self.spec.to_argv()

    def command(self, folder=None, cache_dir=None):
        """Return all words for main.py, by default with the folders of this machine."""
        folders = ["--save-dir", folder or self.folder, "--cache-dir", cache_dir or self.cache_dir]
        return [*self.words, *folders, "--quiet"]

    @property
    def source(self):
        """Where its data come from, as `datasets.Dataset.source`."""
        return "named" if self.spec.data is None else "file"

    def waits_for_weights(self):
        """Whether its pretraining is still to be done."""
        return self.weights is not None and not os.path.exists(self.weights)


@dataclass
class Outcome:
    """How a trial's process ended."""

    code: int = 0  # exit status; negative: the signal that killed it
    stderr: str = ""
    late: float = 0.0  # minutes, if it was stopped for taking longer
    lost: str = ""  # what happened to its machine

    def reason(self):
        """Return one line on why the trial failed."""
        if self.lost:
            return f"its machine was lost {LOSSES + 1} times: {self.lost}"
        if self.late:
            return f"stopped after {self.late:g} minutes"
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"exit status {self.code}"


class Process:
    """`python main.py WORDS` as a process that dies with this one.

    Parameters
    ----------
    words : list of str
    cpus : set of int, optional
        The cores it may use.
    timeout : float, optional
        Minutes.
    root : path
        The folder of main.py.
    """

    def __init__(self, words, cpus=None, timeout=None, root=None):
        self.timeout, self.begin = timeout, time.monotonic()
        threads = words[words.index("--threads") + 1]
        parent = os.getpid()

        def prepare():
            _prctl(DIE_WITH_PARENT, signal.SIGKILL)
            if os.getppid() != parent:  # it died before it could be told
                os._exit(1)
            if cpus:
                os.sched_setaffinity(0, cpus)

        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(root or paths.ROOT, "main.py"), *words],
            stdout=subprocess.DEVNULL, stderr=self.errors, stdin=subprocess.DEVNULL,
            preexec_fn=prepare, env=limited(threads),
        )  # fmt: skip

    def poll(self):
        """Return the Outcome, or None while it runs in time."""
        late = self.timeout and (time.monotonic() - self.begin) / 60 > self.timeout
        if self.process.poll() is None and not late:
            return None
        self.process.kill()
        code = self.process.wait()
        with self.errors as file:
            file.seek(0)
            stderr = file.read().decode(errors="replace")
        return Outcome(code, stderr, self.timeout if late and code else 0.0)

    def stop(self):
        """End it."""
        self.process.kill()
        self.process.wait()
        self.errors.close()


class Cores:
    """This machine: trials side by side, each pinned to its share of the cores."""

    def __init__(self, jobs, timeout=None):
        cores = sorted(os.sched_getaffinity(0))
        share = max(1, len(cores) // jobs)
        self.free = [set(cores[(i * share) % len(cores) :][:share]) for i in range(jobs)]
        self.timeout = timeout
        self._cpus = {}

    def room(self):
        """Whether another trial can be started."""
        return bool(self.free)

    def start(self, trial):
        """Start a trial."""
        os.makedirs(trial.folder, exist_ok=True)
        process = Process(trial.command(), self.free[0], self.timeout)
        self._cpus[trial] = (process, self.free.pop(0))

    def poll(self, trial):
        """Return a trial's Outcome, or None while it runs."""
        process, cpus = self._cpus[trial]
        outcome = process.poll()
        if outcome is not None:
            self.free.insert(0, cpus)
            del self._cpus[trial]
        return outcome

    def stop(self):
        """End what runs."""
        for process, _ in self._cpus.values():
            process.stop()


def fail(trial, why, stderr=""):
    """Leave a result that says why a trial failed; a later sweep tries it again.

    Not if another sweep is at the trial or has done it.
    """
    command = "python main.py " + shlex.join(trial.command())
    failure = {"status": "failed", "reason": why, "command": command, "finished": now(),
               "source": trial.source}  # fmt: skip
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

    Parameters
    ----------
    trials : list of Trial
    place : Cores or distributed.Cluster
    retries : int
        How often a failed trial is tried again.
    settled : callable ()
        Called whenever a trial has left a result.
    """

    def __init__(self, trials, place, retries=0, settled=lambda: None):
        self.place, self.retries, self.settled = place, retries, settled
        self.begun = now()
        self.pending = [trial for trial in trials if finished(trial.folder) is None]
        self.running, self.failed = [], []
        print(f"{len(trials) - len(self.pending)} trials are done, {len(self.pending)} to do",
              flush=True)  # fmt: skip

    def run(self):
        """Run what is not done; return the names of the trials that failed."""
        told = False
        try:
            while self.pending or self.running:
                for trial in list(self.running):
                    outcome = self.place.poll(trial)
                    if outcome is not None:
                        self.running.remove(trial)
                        self.settle(trial, outcome)
                while self.place.room() and (trial := self.choose()) is not None:
                    self.start(trial)
                if self.running or not self.pending:
                    told = False
                elif not told:
                    print(f"waiting for another process: {len(self.pending)} trials", flush=True)
                    told = True
                time.sleep(0.2)
        finally:
            self.place.stop()
        return self.failed

    def choose(self):
        """Take a trial that can be started now from those to do; None if there is none.

        A trial is passed over while another process is at it or pretrains what it needs.
        """
        pretraining = {trial.weights for trial in self.running if trial.waits_for_weights()}
        time_now = time.monotonic()
        for trial in [trial for trial in self.pending if trial.after <= time_now]:
            result = read_result(trial.folder)
            if result.get("status") == "ok":  # another sweep did it
                self.pending.remove(trial)
                self.told("done", trial, "by another sweep")
            elif self.failed_elsewhere(trial, result):
                self.pending.remove(trial)
                self.failed.append(trial.name)
                self.told("failed", trial, f"in another sweep: {result['reason']}")
            elif is_locked(os.path.join(trial.folder, "lock")) or (
                trial.waits_for_weights()
                and is_locked(os.path.join(os.path.dirname(trial.weights), "lock"))
            ):
                trial.after = time_now + PAUSE
            elif trial.weights not in pretraining:
                self.pending.remove(trial)
                return trial
        return None

    def failed_elsewhere(self, trial, result):
        """Whether another sweep has tried the trial since this one began, and given it up."""
        mine = trial.tries + trial.losses > 0
        failed = result.get("status") == "failed" and result.get("finished", "") > self.begun
        return failed and not mine

    def start(self, trial):
        """Start a trial; where that is impossible, it has failed."""
        try:
            self.place.start(trial)
            self.running.append(trial)
        except FolderInUse:
            self.postpone(trial)
        except OSError as error:
            self.settle(trial, Outcome(1, f"cannot start: {error}"))

    def postpone(self, trial):
        """Look at a trial again a little later."""
        trial.after = time.monotonic() + PAUSE
        self.pending.insert(0, trial)

    def settle(self, trial, outcome):
        """Report a trial that ended; try it again, or leave a row that says why it failed."""
        if outcome.code == FolderInUse.status:  # another sweep was faster
            self.postpone(trial)
            return
        if outcome.lost and trial.losses < LOSSES:
            trial.losses += 1
            self.told("lost", trial, f"{outcome.lost}; it is started again")
            self.postpone(trial)
            return
        for line in warnings_in(outcome.stderr):
            self.told("note", trial, line)
        result = finished(trial.folder) if outcome.code == 0 and not outcome.lost else None
        if result is not None:
            scores = f"acc {result['acc']:.4f} nmi {result['nmi']:.4f}" if "acc" in result else ""
            words = [scores, f"{result['seconds_total']:.0f} s", result.get("verdict", "")]
            self.told("done", trial, " ".join(filter(None, words)))
        else:
            why = outcome.reason()
            self.told("failed", trial, why)
            trial.tries += 1
            if trial.tries <= self.retries:
                self.pending.append(trial)
                return
            self.failed.append(trial.name)
            fail(trial, why, outcome.stderr)
        self.settled()

    @staticmethod
    def told(what, trial, text):
        """Print a line on a trial."""
        print(f"{what:6} {trial.name:36} {text}", flush=True)
