"""Trials on a Ray cluster, each a process of main.py on some node. Ray is optional.

Nothing but the data sets need be on the nodes: the code goes there with the job, a trial works in
a temporary folder of its node, and its files come back to this machine's run folder when it ends.
This machine holds the run folder's lock meanwhile, as if the trial ran here, and the pretrained
weights that trials share: the first one of a kind brings them, the others take them along.
"""

import contextlib
import json
import math
import os
import shlex
import shutil
import socket
import tempfile
import time
from pathlib import Path

from common import paths
from common.checkout import commit_at_start
from common.errors import FolderInUse, UserError
from common.files import remove, remove_leftovers, save_json, write_bytes
from common.locks import try_lock
from experiments.run_files import finished
from experiments.runs import CHECKPOINTS
from experiments.sweep import Outcome, Process, Trial
from models.settings.base import digest

# What of this folder a node does not need, as patterns of .gitignore.
EXCLUDED = [".git", ".venv", "/results", "/data", "/tests", "__pycache__"]


def work(
    home: str, argv: list[str], timeout: float | None, weights: tuple[str, bytes | None] | None
) -> tuple[Outcome, dict[str, bytes], bytes | None]:
    """Run a trial on a node.

    Parameters
    ----------
    home : str
        The trial's own folder below the node's temporary one: a second try on the same node goes
        on from the first one's checkpoint.
    argv : list of str
        For main.py, folders excepted.
    timeout : float or None
        Minutes.
    weights : (key, bytes or None) or None
        Of the shared pretraining, and the weights if they are there.

    Returns how it ended, the run folder's files if it is done, and shared weights if it made them.
    """
    home = os.path.join(tempfile.gettempdir(), home)
    folder, cache = os.path.join(home, "run"), os.path.join(home, "pretrained")
    os.makedirs(folder, exist_ok=True)
    made = None
    if weights is not None:
        key, given = weights
        made = os.path.join(cache, key, "ae_weights.h5")
        os.makedirs(os.path.dirname(made), exist_ok=True)
        if given is not None:
            write_bytes(made, given)
            made = None
    argv = [*argv, "--save-dir", folder, "--cache-dir", cache, "--quiet"]
    process = Process(argv, timeout=timeout, root=os.getcwd())
    try:
        while (outcome := process.poll()) is None:
            time.sleep(0.2)
    except BaseException:
        process.stop()
        raise
    made = Path(made).read_bytes() if made is not None and os.path.exists(made) else None
    files = {}
    if finished(folder) is not None:
        some = [path for path in Path(folder).iterdir() if path.is_file() and path.name != "lock"]
        files = {path.name: path.read_bytes() for path in some}
        shutil.rmtree(home, ignore_errors=True)
    return outcome, files, made


class Cluster:
    """A Ray cluster as the executor of a `sweep.Sweep`.

    UserError if Ray is not installed, or there is no cluster at the address.

    Parameters
    ----------
    address : str
        For ray.init: "auto", "HOST:PORT" on a machine of the cluster, "ray://HOST:PORT" elsewhere.
    results : path
        This machine's folder of results.
    cpus : int
        CPUs a trial; also its threads.
    gpus : float, optional
        GPUs a trial. None: one if the cluster has any, else none.
    jobs : int, optional
        Trials side by side at most. None: as many as the cluster can hold.
    timeout : float, optional
        Minutes a trial.
    """

    def __init__(
        self,
        address: str,
        results: str,
        *,
        cpus: int = 1,
        gpus: float | None = None,
        jobs: int | None = None,
        timeout: float | None = None,
    ):
        try:
            import ray
        except ImportError as error:
            install = "`pip install -r requirements-ray.txt`"
            raise UserError(f"--ray needs Ray on this machine: expected {install}") from error
        self._ray = ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            _check_address(address)
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"working_dir": paths.ROOT, "excludes": EXCLUDED},
            )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"no Ray cluster at {address!r}: {reason}") from error
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
        self.needs = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
        self.jobs, self.timeout = jobs, timeout
        self.home = f"deep-clustering-{digest([socket.gethostname(), os.path.abspath(results)])}"
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(work)
        self._tasks = {}  # trial -> (Ray's reference, the locks that are held)
        self._commit = commit_at_start()
        if not self._capacity():
            self.stop()
            has = " and ".join(f"{amount:g} {name}" for name, amount in self.needs.items())
            raise UserError(f"no machine of the cluster has {has}: expected --threads, --gpus less")

    def _capacity(self):
        """Return how many trials the cluster's machines hold side by side."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return sum(
            min(int(have.get(name, 0) / amount) for name, amount in self.needs.items())
            for have in nodes
        )

    def has_capacity(self) -> bool:
        """Whether another trial can be started."""
        return len(self._tasks) < (self.jobs or math.inf) and len(self._tasks) < self._capacity()

    def start(self, trial: Trial) -> None:
        """Send a trial to the cluster; FolderInUse if another process runs it."""
        folders = [trial.folder]
        if trial.waits_for_weights():
            folders.append(os.path.dirname(trial.weights))
        with contextlib.ExitStack() as locks:
            for folder in folders:
                os.makedirs(folder, exist_ok=True)
                lock = try_lock(os.path.join(folder, "lock"))
                if lock is None:
                    raise FolderInUse(f"{folder!r} is in use by another process")
                locks.enter_context(lock)
                remove_leftovers(folder)
            weights = None
            if trial.weights is not None:
                file = Path(trial.weights)
                there = None if trial.waits_for_weights() else file.read_bytes()
                weights = (file.parent.name, there)
            home = os.path.join(self.home, os.path.basename(trial.folder))
            ref = self._task.remote(home, trial.argv, self.timeout, weights)
            self._tasks[trial] = (ref, locks.pop_all())

    def poll(self, trial: Trial) -> Outcome | None:
        """Return a trial's Outcome, or None while it runs; what it made is then in its folder."""
        ray, (ref, locks) = self._ray, self._tasks[trial]
        if not ray.wait([ref], timeout=0)[0]:
            return None
        del self._tasks[trial]
        with locks:
            try:
                outcome, files, made = ray.get(ref)
            except ray.exceptions.RayTaskError as error:  # in `work`, not in main.py
                return Outcome(1, f"on a node: {str(error).strip().splitlines()[-1]}")
            except ray.exceptions.RayError as error:
                return Outcome(node_lost=type(error).__name__)
            try:
                self._keep(trial, files, made)
            except OSError as error:
                return Outcome(1, f"{outcome.stderr}\ncannot keep what the trial made: {error}")
            return outcome

    def _keep(self, trial, files, made):
        """Put a trial's files where it would have written them here, result.json last."""
        if made is not None:
            os.makedirs(os.path.dirname(trial.weights), exist_ok=True)
            write_bytes(trial.weights, made)
        result = files.pop("result.json", None)
        if result is None:
            return
        for name, content in files.items():
            write_bytes(os.path.join(trial.folder, name), content)
        result = json.loads(result) | {"command": "python main.py " + shlex.join(trial.command())}
        result["commit"] = result.get("commit") or self._commit
        save_json(os.path.join(trial.folder, "result.json"), result)
        remove(trial.folder, CHECKPOINTS)  # of a run that was begun here

    def stop(self) -> None:
        """Leave the cluster, which ends what this sweep runs there."""
        for _, locks in self._tasks.values():
            locks.close()
        with contextlib.suppress(Exception):
            self._ray.shutdown()


def _check_address(address):
    """Raise OSError or ValueError if nobody listens there: Ray itself tries for minutes."""
    host, colon, port = address.rpartition("://")[2].partition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=20).close()
