"""The only training loop: gradient steps on (augmented) batches, targets refreshed in between."""

import functools
import itertools
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from common.errors import TrainingFailed, UserError
from common.files import load_arrays, save_arrays
from models.core.functional import Tensor

Variable = keras.Variable | tf.Variable
FIRST = 2.0  # seconds from the start of a phase, or its taking up, to its first checkpoint
SHARE = 0.1  # of the time that checkpoints may take, but for one every `every` seconds
CARRY = "carry/"  # prefix of a checkpoint's arrays that are the caller's


class Trainer:
    """Steps of an optimizer on batches of a data set that lies on the device.

    Step t draws on (seed, t) alone, so a run that is stopped and restored from its checkpoint
    goes on exactly as if nothing had happened.

    Parameters
    ----------
    x : float32 tensor (n, ...)
        Clean samples.
    loss : callable (x (b, ...), targets {name: (b, ...)}, seed int32 (2,)) -> {name: scalar}
        Named, unweighted losses of a batch: of its (augmented) samples, its rows of the targets,
        and the step's seed pair, from which all noise in the loss is drawn.
    weights : dict of name -> float
        The total is the sum of weight * loss over these names; `loss` returns just these.
    variables : list of keras.Variable
        What the optimizer updates.
    shuffle : bool
        True: a new permutation for each pass. False: contiguous slices in data order.
    augment : callable (x (b, ...), seed int32 (2,)) -> x (b, ...), optional
        Changes the samples of a batch, by the step's seed pair, before `loss` gets them.
    targets : dict of name -> tf.Variable (n, ...), optional
    state : list of variables, optional
        Further variables that a checkpoint must hold.
    identity : str, optional
        What run this is: checkpoints of another are not taken up.
    whole_batches : bool
        Leave out the short batch at the end of a pass, if that is not the only one.
    shuffles : int
        With more than 1, that many endless series of permutations take turns, a batch each, as
        where several processes feed one queue. A pass is then n // batch_size steps (1 at least),
        in which a sample may come up several times or not at all.
    """

    def __init__(
        self,
        x: Tensor,
        loss: Callable[[Tensor, dict[str, Tensor], Tensor], dict[str, Tensor]],
        weights: Mapping[str, float | tf.Variable],
        variables: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        augment: Callable[[Tensor, Tensor], Tensor] | None = None,
        targets: dict[str, tf.Variable] | None = None,
        state: Iterable[Variable] = (),
        identity: str = "",
        whole_batches: bool = False,
        shuffles: int = 1,
    ):
        self.x, self.batch_size, self.seed, self.shuffle = x, batch_size, seed, shuffle
        self.n, self.shuffles = int(x.shape[0]), shuffles
        whole, all_of_it = max(1, self.n // batch_size), math.ceil(self.n / batch_size)
        self.steps_per_pass = whole if whole_batches or shuffles > 1 else all_of_it
        self._steps_per_order = whole if whole_batches else all_of_it
        self.targets, self.identity = targets or {}, identity
        self.names = [*weights, "loss"]
        self.step = 0
        self.seconds = 0.0  # spent in `run`, earlier sessions included
        self.earlier_seconds = 0.0  # of these, in earlier sessions
        self.step_seconds = 0.0  # of these, in training steps
        self.carry = {}  # further arrays of the caller's that a checkpoint must hold
        self.retries = 0  # how often the phase has started over with a smaller rate
        self.first_loss = None  # the first mean of the total loss, since it last started over
        self._sums = tf.Variable(tf.zeros(len(self.names) + 1, tf.float64), trainable=False)
        optimizer.build(variables)
        kept = {
            "variable": variables,
            "optimizer": optimizer.variables,
            "state": state,
            "target": self.targets.values(),
            "sums": [self._sums],
        }  # all that steps change, by its name in a checkpoint
        self._kept = {f"{kind}/{i}": v for kind, some in kept.items() for i, v in enumerate(some)}
        self._optimizer = optimizer
        self._order = functools.lru_cache(shuffles)(self._permutation)  # the last of each series
        self._train_step, self._train_steps = self._compile(
            loss, weights, variables, optimizer, augment
        )

    def _compile(self, loss, weights, variables, optimizer, augment):
        """Return the compiled step (gather, augment, loss, gradient, update), and several."""

        def train_step(rows, step):
            x = tf.gather(self.x, rows)  # (b, ...)
            seed = tf.stack([self.seed, step])
            if augment is not None:
                x = augment(x, seed)
            targets = {name: tf.gather(t, rows) for name, t in self.targets.items()}
            with tf.GradientTape() as tape:
                parts = loss(x, targets, seed)
                total = tf.add_n([weight * parts[name] for name, weight in weights.items()])
            trained = [v.value for v in variables]
            optimizer.apply(tape.gradient(total, trained), variables)
            values = [parts[name] for name in weights] + [total, tf.ones_like(total)]
            self._sums.assign_add(tf.cast(tf.stack(values), tf.float64))

        def train_steps(rows, step):
            def one(i):
                step_function(rows[i], step + i)
                return (i + 1,)

            tf.while_loop(lambda i: i < tf.shape(rows)[0], one, (0,), parallel_iterations=1)

        def compiled(steps, shape):
            return tf.function(
                steps,
                autograph=False,
                input_signature=[tf.TensorSpec(shape, tf.int32), tf.TensorSpec([], tf.int32)],
                experimental_attributes={"_noinline": True},  # inlined, a step may round otherwise
            )

        step_function = compiled(train_step, [None])
        return step_function, compiled(train_steps, [None, None])

    def rows(self, step: int) -> np.ndarray:
        """Return the sample numbers of a step's batch, int32 (b,); the last of a pass is short."""
        turn, series = divmod(step, self.shuffles)
        number, place = divmod(turn, self._steps_per_order)
        order = self._order(series, number) if self.shuffle else np.arange(self.n, dtype=np.int32)
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def _permutation(self, series, number):
        """Return a permutation of the samples, int32 (n,): the one of that number in a series."""
        stream = [] if self.shuffles == 1 else [self.shuffles, series]
        rng = np.random.default_rng([self.seed, *stream, number])
        return rng.permutation(self.n).astype(np.int32)

    def _execute(self, count):
        """Make up to `count` steps of one pass and batch size in one call of TensorFlow."""
        if count == 1:
            self._train_step(self.rows(self.step), self.step)
            self.step += 1
            return
        left = self.steps_per_pass - self.step % self.steps_per_pass
        size = len(self.rows(self.step))
        ahead = map(self.rows, range(self.step, self.step + min(count, left)))
        batches = list(itertools.takewhile(lambda rows: len(rows) == size, ahead))
        self._train_steps(np.stack(batches), self.step)
        self.step += len(batches)

    def run(
        self,
        total: int,
        interval: int,
        refresh: Callable[[int], bool | None],
        checkpoint: str | os.PathLike | None = None,
        every: float = 60.0,
        progress: Callable[[int], object] = lambda step: None,
        steps_per_execution: int = 1,
    ) -> None:
        """Train to step `total`, or until `refresh` says stop.

        Parameters
        ----------
        total : int
            Steps in all, those before a restore included.
        interval : int
            `refresh(step)` is called at each multiple of it below `total`, 0 included, before
            the step; it may change targets and returns True to stop.
        checkpoint : path, optional
            Written between two steps: after `FIRST` seconds, after twice as many, and so on up to
            `every` seconds, so that a run that is killed again and again gets on.
        every : float
            Seconds from one checkpoint to the next at most. They are farther apart than `FIRST`
            and its doubles where saving would take more than `SHARE` of the time.
        progress : callable (step)
            Called for each step made.
        steps_per_execution : int
            Steps in one call of TensorFlow at most: fewer where a refresh, the end of a pass or
            the end is nearer. Any number gives the same result.

        Raises
        ------
        TrainingFailed
            When the loss is no longer finite, at the next refresh or checkpoint.
        """
        begin = saved = time.monotonic()
        before, growing, wait = self.seconds, FIRST, min(every, FIRST)
        while self.step < total:
            if self.step % interval == 0 and refresh(self.step):
                break
            start, first = time.monotonic(), self.step + 1
            self._execute(
                min(steps_per_execution, total - self.step, interval - self.step % interval)
            )
            now = time.monotonic()
            self.step_seconds += now - start
            self.seconds = before + now - begin
            for step in range(first, self.step + 1):
                progress(step)
            if checkpoint is not None and now - saved >= wait:
                self.save(checkpoint)
                saved = time.monotonic()
                growing *= 2
                wait = min(every, max(growing, (saved - now) / SHARE))
        self.seconds = before + time.monotonic() - begin

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the values of all that steps change, by their names in a checkpoint."""
        return {name: np.asarray(v).copy() for name, v in self._kept.items()}

    def start_over(self, snapshot: dict[str, np.ndarray]) -> float | None:
        """Go back to a snapshot of the start, with a tenth of the learning rate; return that.

        None where a schedule decides the rate.
        """
        rate = self._optimizer._learning_rate
        if not hasattr(rate, "assign"):
            return None
        slower = 0.1 * float(rate)
        for name, v in self._kept.items():
            v.assign(snapshot[name])
        rate.assign(slower)
        self.step, self.carry, self.first_loss = 0, {}, None
        self.retries += 1
        return float(rate)

    def go_on_from(self, other: "Trainer") -> None:
        """Count on from the steps and seconds of another trainer of the same variables."""
        self.step, self.seconds, self.step_seconds = other.step, other.seconds, other.step_seconds
        self.earlier_seconds = other.earlier_seconds

    def mean_losses(self) -> dict[str, float]:
        """Return {name: mean} over the steps since the last call, and start afresh.

        Empty if there was no step since.
        """
        sums = self._finite_sums()
        self._sums.assign(np.zeros_like(sums))
        if sums[-1] == 0:
            return {}
        means = dict(zip(self.names, (sums[:-1] / sums[-1]).tolist(), strict=True))
        self.first_loss = means["loss"] if self.first_loss is None else self.first_loss
        return means

    def unread_losses(self) -> bool:
        """Whether there was a step since the last `mean_losses`."""
        return bool(self._sums.numpy()[-1])

    def _finite_sums(self):
        sums = self._sums.numpy()
        if not np.isfinite(sums).all():
            raise TrainingFailed(f"the loss is not finite at step {self.step}")
        return sums

    def save(self, path: str | os.PathLike) -> None:
        """Write everything that the rest of the run depends on, and what run that is."""
        self._finite_sums()
        carry = {f"{CARRY}{name}": array for name, array in self.carry.items()}
        names = ("step", "seconds", "step_seconds", "identity", "retries", "first_loss")
        about = {name: getattr(self, name) for name in names}
        save_arrays(path, self.snapshot() | carry, about)

    def restore(
        self,
        path: str | os.PathLike,
        warn: Callable[[str], object] = lambda line: None,
        carry: Iterable[str] = (),
    ) -> bool:
        """Take up a checkpoint if there is a usable one; return whether there was.

        A checkpoint that is damaged, another run's, or an older version's without all that is
        needed now is put aside as `path`.damaged and the run starts over; `warn` is called with a
        line that says so. `carry` names the arrays that the caller needs in `self.carry`.
        """
        if not os.path.exists(path):
            return False
        try:
            arrays, about = load_arrays(path)
            there = arrays.keys() | about.keys()
            for name in (*self._kept, "step", "seconds", *(f"{CARRY}{one}" for one in carry)):
                if name not in there:
                    raise UserError(f"{str(path)!r} holds no {name}: another version's")
            fits = all(tuple(v.shape) == arrays[name].shape for name, v in self._kept.items())
            if not fits or about.get("identity", "") != self.identity:
                raise UserError(f"{str(path)!r} is the checkpoint of another run")
        except UserError as error:
            os.replace(path, f"{path}.damaged")
            warn(f"{error}; put aside as {path}.damaged, this phase starts over")
            return False
        for name, v in self._kept.items():
            v.assign(arrays[name])
        self.step, self.seconds = about["step"], about["seconds"]
        self.earlier_seconds = self.seconds
        self.step_seconds = about.get("step_seconds", math.nan)  # an older checkpoint: not known
        self.retries, self.first_loss = about.get("retries", 0), about.get("first_loss")
        self.carry = {n.removeprefix(CARRY): a for n, a in arrays.items() if n.startswith(CARRY)}
        return True
