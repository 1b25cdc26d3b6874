"""The one driver of the training loop: a phase is taken up, announced, run and timed here."""

import gc
import itertools
import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from common.errors import TrainingFailed, UserError
from common.files import load_arrays, save_arrays
from models.core.estimator import Estimator
from models.core.monitor import Monitor
from models.core.samples import hash_array
from models.settings.base import Settings, digest

if TYPE_CHECKING:
    from models.core.training import Trainer

OFTEN = 10  # phases after which what TensorFlow traced for small data is let go
LARGE = 2**20  # values of the samples from which on that is done before each phase
DIVERGED = 100.0  # times the first mean loss of pretraining, on scaled inputs
SLOWER = {
    "pretrain": "a smaller --pretrain-lr, or --pretrain-optimizer adam",
    "cluster": "a smaller --lr, or --optimizer adam",
}
SCALING = ("input shift", "input scale")  # what a model file holds under `scale_inputs`
_phases = itertools.count(1)


class PhasedEstimator(Estimator):
    """An estimator whose `fit` is made of phases of gradient steps, each with a checkpoint.

    Whoever derives from it has the parameters of this constructor (see `DeepClusterer`), `seconds_`
    and `step_seconds_`, and in `fit` its monitor as `_monitor`.
    """

    def __init__(
        self,
        n_clusters: int,
        config: Settings,
        *,
        method: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        run_dir: str | os.PathLike | None = None,
        monitor: Monitor | None = None,
        checkpoint_seconds: float = 60.0,
        steps_per_execution: int = 1,
    ):
        self.n_clusters = n_clusters
        self.config = config
        self.method = method
        self.random_state = random_state
        self.run_dir = run_dir
        self.monitor = monitor
        self.checkpoint_seconds = checkpoint_seconds
        self.steps_per_execution = steps_per_execution

    def begin(self, x: object) -> np.ndarray:
        """Check training samples, return them, and make ready what phases need.

        The digest `_identity` is of what decides the result: by it a checkpoint is known.
        """
        x = self._training_samples(x)
        self._make_ready()
        self._identity = self._digest(hash_array(x))
        return x

    def _digest(self, *more):
        """Return a digest of method, settings, K and seed, and of `more`, plain data."""
        about = [self.method, self.config.identity_dict(), int(self.n_clusters), int(self.seed_)]
        return digest([*about, *more])

    def _make_ready(self):
        """Make the monitor and the run's folder, and set the seconds to none."""
        self._monitor = self.monitor or Monitor()
        self.seconds_, self.step_seconds_ = {}, {}
        if self.run_dir is not None:
            os.makedirs(self.run_dir, exist_ok=True)

    def run_phase(
        self,
        trainer: "Trainer",
        total: int,
        name: str | None = None,
        *,
        interval: int | None = None,
        refresh: Callable[[int], bool | None] | None = None,
        checkpoint: str | os.PathLike | None = None,
        carry: Iterable[str] = (),
        start: Callable[[bool], bool | None] = lambda restored: None,
        resume: bool = True,
        offset: int = 0,
        progress: Callable[[int], object] = lambda step: None,
        save_at_end: bool = False,
        retries: int = 0,
        at_end: Callable[[], object] = lambda: None,
    ) -> bool:
        """Take a phase up from its checkpoint, train to its end, log it and count its seconds.

        Return whether there was something left to train.

        Parameters
        ----------
        total : int
            Steps of the phase in all, those of earlier sessions included.
        name : str, optional
            "pretrain" or "cluster", under which the monitor hears of it and its seconds are
            added to `seconds_` and `step_seconds_`. None: a part of another phase, which
            accounts for it.
        interval : int, optional
            Steps between two calls of `refresh`; None: a pass over the data.
        refresh : callable (step) -> bool, optional
            See `Trainer.run`. None: the mean losses are logged, at the end, too.
        carry : names, optional
            Arrays that a checkpoint must hold in `trainer.carry`.
        start : callable (restored) -> bool
            Called before the first step with whether a checkpoint was taken up; it makes what
            there is to make if not, and returns True if nothing is left to train, so that the
            log stays as it is.
        resume : bool
            Whether a checkpoint is taken up.
        offset : int
            Steps of this name made before, by another trainer: rows count on from there.
        progress : callable (step)
            Called after each step of a phase without a name.
        save_at_end : bool
            Write the checkpoint once more at the end, for phases that others follow.
        retries : int
            How often the phase starts over with a tenth of the learning rate where the loss is not
            finite, and in pretraining on scaled inputs where it grows `DIVERGED` times above its
            first mean. With other settings, the published ones among them, a phase that comes to
            its end is left as it is.
        at_end : callable ()
            Called after the last step; a failure there counts as one of the steps.

        Raises
        ------
        TrainingFailed
            If the loss is not finite.
        """
        # What TensorFlow traced for phases before lies in reference cycles, large but few objects,
        # which Python would not look for until a process that fits many models holds gigabytes.
        # Looking takes as long as a short phase.
        if next(_phases) % OFTEN == 0 or np.prod(trainer.x.shape) >= LARGE:
            gc.collect()
        monitor, scales = self._monitor, getattr(self.config, "scale_inputs", None)
        beginning = trainer.snapshot() if retries else None
        restored = checkpoint is not None and resume
        restored = restored and trainer.restore(checkpoint, monitor.warn, carry)
        left = not start(restored)

        def report(step):
            losses = trainer.mean_losses()
            if not losses:
                return
            first, loss = trainer.first_loss, losses["loss"]
            if retries and scales and loss > DIVERGED * first > 0:
                raise TrainingFailed(
                    f"the loss has grown from {first:g} to {loss:g} at step {step}"
                )
            monitor.row(name, offset + step, losses | {"seconds": trainer.seconds})

        if left:
            if name is not None:
                # A trainer that comes back from its end has written its rows, and those of the
                # next may follow. A phase's last row may be at `offset`, the next's is after it.
                written = restored and trainer.step == total and not trainer.unread_losses()
                if refresh is not None or not written:
                    step = trainer.step or min(offset, 1)
                    monitor.begin(name, offset + total, offset + step)
                refresh = refresh or report
                progress = lambda step: monitor.progress(name, offset + step)  # noqa: E731
            unfinished = trainer.step < total
            while True:
                try:
                    trainer.run(
                        total,
                        interval or trainer.steps_per_pass,
                        refresh or (lambda step: False),
                        checkpoint,
                        self.checkpoint_seconds,
                        progress,
                        self.steps_per_execution,
                    )
                    if refresh is report:
                        report(trainer.step)
                    at_end()
                    break
                except TrainingFailed as error:
                    again = trainer.retries < retries
                    rate = trainer.start_over(beginning) if again else None
                    if rate is None:
                        way_out = SLOWER.get(name, "a smaller learning rate")
                        way_out += ", or --scale-inputs" if scales is False else ""
                        raise TrainingFailed(f"{error}: expected {way_out}") from error
                    monitor.warn(f"{error}: {name} starts over with a learning rate of {rate:g}")
                    monitor.begin(name, offset + total, offset + min(offset, 1))
                    start(False)
            if save_at_end and unfinished and checkpoint is not None:
                trainer.save(checkpoint)
        if name is not None:
            self.seconds_[name] = self.seconds_.get(name, 0.0) + trainer.seconds
            self.step_seconds_[name] = self.step_seconds_.get(name, 0.0) + trainer.step_seconds
        return left

    def _scaled(self, x, fresh=False):
        """Return samples as `scale_inputs` says: columns of mean 0, all of deviation `scaled_to`.

        Mean and deviation are those of the fitted samples; `fresh`: these are the ones to fit.
        """
        if fresh:
            self._scaling = {}
            if getattr(self.config, "scale_inputs", False):
                shift = x.mean(axis=0, dtype=np.float64)
                deviation = float(np.sqrt(np.mean((x - shift) ** 2))) / self.config.scaled_to
                found = (shift, np.float64(deviation or 1.0))
                self._scaling = dict(zip(SCALING, found, strict=True))
        if not self._scaling:
            return x
        shift, deviation = self._scaling.values()
        return ((x - shift) / deviation).astype(np.float32)

    def _restore_scaling(self, arrays):
        """Take up what a model file holds under `scale_inputs`; nothing: samples stay."""
        self._scaling = {name: arrays[name] for name in SCALING if name in arrays}

    def _place(self, name):
        """Return the path of a file of the run; None where nothing is kept."""
        return None if self.run_dir is None else os.path.join(self.run_dir, name)


def once(
    path: str | os.PathLike | None,
    identity: str,
    compute: Callable[[], dict],
    warn: Callable[[str], object] = lambda line: None,
) -> tuple[dict, float]:
    """Return what `compute` gives, {name: array}, or gave in an earlier session of the same run.

    And the seconds that computing took, if it was done in an earlier session; else 0.

    Parameters
    ----------
    path : path or None
        Where it is kept; None: nowhere.
    identity : str
        Of the run: what another left behind is computed anew.
    warn : callable (str)
        Called with a line on a file that is of no use.
    """
    if path is not None and os.path.exists(path):
        try:
            arrays, about = load_arrays(path)
            if about.get("identity") == identity:
                return arrays, float(about.get("seconds", 0.0))
            raise UserError(f"{str(path)!r} is the checkpoint of another run")
        except UserError as error:
            warn(f"{error}; this part starts over")
    begin = time.monotonic()
    arrays = compute()
    if path is not None:
        seconds = time.monotonic() - begin
        save_arrays(path, arrays, {"identity": identity, "seconds": seconds})
    return arrays, 0.0
