import ast
import re
from functools import partial
from itertools import product
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from augment import RandomShiftRotate
from common.errors import TrainingFailed
from common.files import load_arrays, save_arrays
from models.core import autoencoder as base
from models.core import training
from models.core.seeds import SeedUse, derive_seed, new_stream
from models.core.training import Trainer
from models.kingdra import ensemble


class Toy:
    """w (d,) is fitted to the samples (n, d): loss = mean over b of ||x - w||^2."""

    def __init__(self, x, optimizer=None, start=0.0, weight=1.0, **settings):
        self.w = keras.Variable(np.full(x.shape[1:], start, np.float32))
        settings = {"batch_size": len(x), "seed": 5, "shuffle": False} | settings
        self.trainer = Trainer(
            tf.constant(x, tf.float32),
            self.loss,
            {"distance": weight},
            [self.w],
            optimizer or keras.optimizers.SGD(0.1),
            **settings,
        )

    def loss(self, x, targets, seed):
        return {"distance": tf.reduce_mean(tf.reduce_sum((x - self.w) ** 2, axis=1))}

    def run(self, total, interval=1000, refresh=lambda step: False, **others):
        self.trainer.run(total, interval, refresh, **others)
        return np.asarray(self.w)


X = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)


# -- the order of batches -------------------------------------------------------------------------


def all_rows(trainer, passes):
    return [trainer.rows(step) for step in range(passes * trainer.steps_per_pass)]


@pytest.mark.parametrize(
    ("n", "b", "sizes"),
    [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 4, [3]), (4, 4, [4]), (5, 1, [1] * 5)],
)
def test_contiguous_batches_with_a_short_last_one(n, b, sizes):
    trainer = Toy(np.zeros((n, 1)), batch_size=b).trainer
    assert trainer.steps_per_pass == len(sizes)
    rows = all_rows(trainer, 2)
    assert [len(r) for r in rows] == sizes * 2
    assert np.concatenate(rows).tolist() == [*range(n), *range(n)]
    assert all(r.dtype == np.int32 for r in rows)


@pytest.mark.parametrize(("n", "b"), [(10, 4), (8, 4), (3, 4)])
def test_shuffled_passes_are_permutations(n, b):
    trainer = Toy(np.zeros((n, 1)), batch_size=b, shuffle=True).trainer
    rows = all_rows(trainer, 3)
    assert all(len(r) for r in rows)
    steps = trainer.steps_per_pass
    for k in range(3):
        one_pass = np.concatenate(rows[k * steps : (k + 1) * steps])
        assert sorted(one_pass.tolist()) == list(range(n))


def test_shuffles_depend_on_pass_and_seed_alone():
    def order(seed, step):
        settings = {"batch_size": 100, "shuffle": True, "seed": seed}
        return Toy(np.zeros((100, 1)), **settings).trainer.rows(step).tolist()

    orders = [order(1, 0), order(1, 1), order(1, 2), order(2, 0)]
    assert len({tuple(o) for o in orders}) == 4 and list(range(100)) not in orders
    trainer = Toy(np.zeros((100, 1)), batch_size=100, shuffle=True, seed=1).trainer
    for step in (2, 0, 1, 2):  # in any sequence, as after a restore
        assert trainer.rows(step).tolist() == orders[step]


def test_several_shuffles_take_turns():
    """Batch t is the next of series t mod 3, and each series goes through whole permutations."""
    n, b, series = 10, 4, 3
    settings = {"batch_size": b, "shuffle": True, "shuffles": series}
    trainer = Toy(np.zeros((n, 1)), **settings).trainer
    assert trainer.steps_per_pass == n // b
    rows = [trainer.rows(step) for step in range(18)]  # two permutations of each series
    orders = []
    for one in range(series):
        assert [len(r) for r in rows[one::series]] == [4, 4, 2] * 2
        order = np.concatenate(rows[one::series]).tolist()
        orders += [tuple(order[:n]), tuple(order[n:])]
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert len(set(orders)) == len(orders)
    again = Toy(np.zeros((n, 1)), **settings).trainer
    for step in (17, 3, 10, 0):  # in any sequence, as after a restore
        assert again.rows(step).tolist() == rows[step].tolist()


def test_a_pass_of_eight_shuffles_has_two_thirds_of_the_samples():
    """1 - (1 - 1/8)^8 = .66: the share that the released code's eight processes draw."""
    settings = {"batch_size": 256, "shuffle": True, "shuffles": 8}
    trainer = Toy(np.zeros((9298, 1)), **settings).trainer
    steps = trainer.steps_per_pass
    rows = all_rows(trainer, 40)
    passes = [np.concatenate(rows[k * steps : (k + 1) * steps]) for k in range(40)]
    assert np.mean([len(np.unique(p)) / 9298 for p in passes]) == pytest.approx(0.656, abs=0.01)


def test_each_pass_trains_on_every_sample_once():
    """Also where n is a multiple of b (the released code trains on an empty batch there)."""
    for n in (8, 10):
        seen = keras.Variable(np.zeros(n, np.float32))
        x = np.arange(n, dtype=np.float32)[:, None]

        def loss(x, targets, seed, seen=seen, n=n):
            here = tf.reduce_sum(tf.one_hot(tf.cast(x[:, 0], tf.int32), n), axis=0)
            return {"seen": -tf.reduce_sum(seen * here)}  # the gradient counts visits

        trainer = Trainer(
            tf.constant(x),
            loss,
            {"seen": 1.0},
            [seen],
            keras.optimizers.SGD(1.0),
            batch_size=4,
            seed=0,
            shuffle=True,
        )
        trainer.run(2 * trainer.steps_per_pass, 1000, lambda step: False)
        assert np.asarray(seen).tolist() == [2] * n


@pytest.mark.parametrize("shuffle", [False, True])
def test_targets_follow_their_samples(shuffle):
    """Each sample's target is its own number: the loss counts pairs that do not match."""
    x = np.arange(10, dtype=np.float32)[:, None]
    target = tf.Variable(tf.constant(x) * 3.0, trainable=False)
    w = keras.Variable(np.float32(3.0))
    trainer = Trainer(
        tf.constant(x),
        lambda x, t, seed: {"gap": tf.reduce_mean(abs(x * w - t["three"]))},
        {"gap": 1.0},
        [w],
        keras.optimizers.SGD(1e-9),
        batch_size=4,
        seed=1,
        shuffle=shuffle,
        targets={"three": target},
    )
    trainer.run(6, 1000, lambda step: False)
    assert trainer.mean_losses()["gap"] < 1e-5


# -- steps ----------------------------------------------------------------------------------------


def test_quadratic_reaches_its_optimum():
    np.testing.assert_allclose(Toy(X).run(100), X.mean(axis=0), atol=1e-5)


def test_momentum_steps_by_hand():
    """v <- m v - lr g, w <- w + v, with g = 2 (w - mean)."""
    toy = Toy(X, keras.optimizers.SGD(0.05, momentum=0.9), start=1.0)
    mean, w, v = X.mean(axis=0, dtype=np.float64), np.ones(3), np.zeros(3)
    for _ in range(3):
        v = 0.9 * v - 0.05 * 2 * (w - mean)
        w = w + v
    np.testing.assert_allclose(toy.run(3), w, rtol=1e-5)


def test_weights_multiply_the_losses():
    toy = Toy(X, start=1.0, weight=0.25)
    w = 1 - 0.1 * 0.25 * 2 * (1 - X.mean(axis=0))
    np.testing.assert_allclose(toy.run(1), w, rtol=1e-5)
    losses = toy.trainer.mean_losses()
    assert losses["loss"] == pytest.approx(0.25 * losses["distance"])


def test_mean_losses_are_means_over_the_steps_since_the_last_call():
    toy = Toy(X, keras.optimizers.SGD(1e-12), batch_size=4)
    assert toy.trainer.mean_losses() == {}
    square = (X.astype(np.float64) ** 2).sum(axis=1)
    toy.run(3)
    expected = np.mean([square[:4].mean(), square[4:8].mean(), square[8:].mean()])
    got = toy.trainer.mean_losses()
    assert set(got) == {"distance", "loss"}
    assert got["distance"] == pytest.approx(expected, rel=1e-5)
    assert toy.trainer.mean_losses() == {}
    toy.run(4)
    assert toy.trainer.mean_losses()["loss"] == pytest.approx(square[:4].mean(), rel=1e-5)


def test_only_the_given_variables_are_trained():
    x = tf.ones((4, 1))
    a, b = keras.Variable(np.float32(0)), keras.Variable(np.float32(0))
    trainer = Trainer(
        x,
        lambda x, t, seed: {"gap": tf.reduce_mean((x - a - b) ** 2)},
        {"gap": 1.0},
        [a],
        keras.optimizers.SGD(0.1),
        batch_size=4,
        seed=0,
        shuffle=False,
    )
    trainer.run(5, 1000, lambda step: False)
    assert float(a) > 0.5 and float(b) == 0


def test_augmentation_draws_on_seed_and_step():
    """Step t sees augment(x[rows], (seed, t)); the clean data stays as it was."""
    x = np.zeros((6, 1), np.float32)
    seen = []

    def augment(x, seed):
        seen.append(seed)
        return x + tf.cast(seed[0] * 100 + seed[1], tf.float32)

    data = tf.constant(x)
    w = keras.Variable(np.float32(0))
    trainer = Trainer(
        data,
        lambda x, t, seed: {"value": tf.reduce_mean(x) + 0 * w.value},
        {"value": 1.0},
        [w],
        keras.optimizers.SGD(0.1),
        batch_size=4,
        seed=7,
        shuffle=False,
        augment=augment,
    )
    for step in range(3):
        trainer.run(step + 1, 1000, lambda step: False)
        assert trainer.mean_losses()["value"] == 700 + step
    assert len(seen) == 1  # one graph for full and short batches alike
    assert (data.numpy() == x).all()


@pytest.mark.parametrize("moment", ["refresh", "checkpoint", "end"])
def test_divergence_is_told(tmp_path, moment):
    toy = Toy(X, keras.optimizers.SGD(1e6))
    path = tmp_path / "checkpoint.h5"
    with pytest.raises(TrainingFailed, match="not finite at step"):
        if moment == "refresh":
            toy.run(30, 10, lambda step: toy.trainer.mean_losses() and False)
        elif moment == "checkpoint":
            toy.run(30, checkpoint=path, every=0.0)
        else:
            toy.run(30)
            toy.trainer.mean_losses()
    if moment == "checkpoint":  # what is on disk can still be used
        again = Toy(X)
        assert again.trainer.restore(path) and np.isfinite(again.trainer.mean_losses()["loss"])


# -- refresh --------------------------------------------------------------------------------------


def refreshes(toy, total, interval, stop=None):
    steps = []

    def refresh(step):
        assert step == toy.trainer.step
        steps.append(step)
        return step == stop

    toy.run(total, interval, refresh)
    return steps


@pytest.mark.parametrize(
    ("total", "interval", "steps"),
    [(7, 3, [0, 3, 6]), (6, 3, [0, 3]), (2, 3, [0]), (3, 1, [0, 1, 2]), (0, 3, [])],
)
def test_refresh_is_called_at_multiples_below_the_total(total, interval, steps):
    toy = Toy(X)
    assert refreshes(toy, total, interval) == steps
    assert toy.trainer.step == total


def test_refresh_stops_the_run_before_the_step():
    toy, three = Toy(X), Toy(X).run(3)
    assert refreshes(toy, 20, 3, stop=3) == [0, 3]
    assert toy.trainer.step == 3
    assert (np.asarray(toy.w) == three).all()


def test_refreshed_targets_hold_until_the_next_refresh():
    target = tf.Variable(tf.zeros(10), trainable=False)
    w, used = keras.Variable(np.float32(0)), []
    trainer = Trainer(
        tf.constant(X),
        lambda x, t, seed: {"target": tf.reduce_mean(t["t"]) + 0 * w.value},
        {"target": 1.0},
        [w],
        keras.optimizers.SGD(0.1),
        batch_size=4,
        seed=0,
        shuffle=False,
        targets={"t": target},
    )

    def refresh(step):
        target.assign(tf.fill([10], float(step + 1)))

    trainer.run(7, 3, refresh, progress=lambda step: used.append(trainer.mean_losses()["target"]))
    assert used == [1, 1, 1, 4, 4, 4, 7]


def test_progress_is_called_after_each_step():
    steps = []
    Toy(X).run(4, progress=steps.append)
    assert steps == [1, 2, 3, 4]


# -- checkpoints ----------------------------------------------------------------------------------


def test_seconds_go_on_after_a_restore(tmp_path, eager):
    path = tmp_path / "checkpoint.h5"
    first = Rich(False).run(3)
    first.trainer.seconds, first.trainer.step_seconds = 100.0, 90.0
    first.trainer.save(path)
    second = Rich(False)
    assert second.trainer.restore(path)
    second.run(6)
    assert 90 < second.trainer.step_seconds < 100 < second.trainer.seconds < 190


def test_a_restore_knows_how_often_the_phase_started_over(tmp_path, eager):
    """And with which rate, and the loss that a later one is held against."""
    path, first = tmp_path / "checkpoint.h5", Rich(False)
    start = first.trainer.snapshot()
    first.run(2)
    rate = float(first.trainer._optimizer.learning_rate)
    assert first.trainer.start_over(start) == pytest.approx(rate / 10)
    assert first.trainer.start_over(start) == pytest.approx(rate / 100)
    assert (first.trainer.step, first.trainer.first_loss) == (0, None)
    for name in ("w", "b", "state", "target"):
        assert np.array_equal(getattr(first, name), getattr(Rich(False), name)), name
    first.run(6)  # with a refresh, which reads the losses
    first.trainer.save(path)
    second = Rich(False)
    assert second.trainer.restore(path) and second.trainer.retries == 2
    assert float(second.trainer._optimizer.learning_rate) == pytest.approx(rate / 100)
    assert second.trainer.first_loss == first.trainer.first_loss > 0


class Rich:
    """Everything at once: images, augmentation, Adam, targets, further state."""

    def __init__(self, shuffle):
        rng = np.random.default_rng(1)
        self.w = keras.Variable(rng.normal(size=(36, 2)).astype(np.float32))
        self.b = keras.Variable(np.zeros(2, np.float32))
        self.state = keras.Variable(np.zeros(2, np.float32))
        self.target = tf.Variable(tf.zeros((12, 2)), trainable=False)
        self.data = tf.constant(rng.random((12, 6, 6, 1)), tf.float32)
        self.trainer = Trainer(
            self.data,
            self.loss,
            {"gap": 1.0, "size": 0.1},
            [self.w, self.b],
            keras.optimizers.Adam(0.01),
            batch_size=4,
            seed=3,
            shuffle=shuffle,
            augment=RandomShiftRotate(),
            targets={"t": self.target},
            state=[self.state],
        )
        self.log = []

    def output(self, x):
        return tf.matmul(tf.reshape(x, (-1, 36)), self.w.value) + self.b.value

    def loss(self, x, targets, seed):
        out = self.output(x)
        gap = tf.reduce_mean((out - targets["t"] - self.state.value) ** 2)
        return {"gap": gap, "size": tf.reduce_mean(abs(out))}

    def refresh(self, step):
        self.log.append((step, self.trainer.mean_losses()))
        self.target.assign(tf.tanh(self.output(self.data)))
        self.state.assign(self.state + 0.125)
        self.trainer.carry["labels"] = np.asarray(self.target)[:, 0] > 0
        return False

    def run(self, total, **others):
        self.trainer.run(total, 4, self.refresh, **others)
        return self

    def everything(self):
        named = {name: np.asarray(getattr(self, name)) for name in ("w", "b", "state", "target")}
        named["labels"] = self.trainer.carry["labels"]
        return named | {"losses": sorted(self.trainer.mean_losses().items())}


@pytest.fixture(scope="module")
def straight():
    """The uninterrupted runs, by `shuffle`."""
    runs = {shuffle: Rich(shuffle).run(11) for shuffle in (False, True)}
    return {shuffle: (run.log, run.everything()) for shuffle, run in runs.items()}


def equal(got, expected):
    assert set(got) == set(expected)
    for name in expected:
        assert np.array_equal(got[name], expected[name]), name


@pytest.mark.parametrize(("stop", "shuffle"), [(1, True), (4, True), (5, False)])
def test_restored_run_continues_bit_for_bit(tmp_path, straight, stop, shuffle):
    path = tmp_path / "checkpoint.h5"
    log, expected = straight[shuffle]
    first = Rich(shuffle).run(stop)
    first.trainer.save(path)
    second = Rich(shuffle)
    assert second.trainer.restore(path)
    assert second.trainer.step == stop
    assert second.trainer.seconds == first.trainer.seconds > 0
    second.run(11)
    assert second.trainer.step == 11
    assert second.trainer.seconds > first.trainer.seconds
    assert first.log + second.log == log
    equal(second.everything(), expected)


def test_several_steps_in_one_call_with_several_shuffles():
    settings = {"batch_size": 3, "shuffle": True, "shuffles": 4, "augment": lambda x, seed: x}
    one, several = Toy(X, **settings), Toy(X, **settings)
    assert (one.run(40) == several.run(40, steps_per_execution=7)).all()


@pytest.mark.parametrize("steps", [2, 3, 50])
@pytest.mark.parametrize("shuffle", [False, True])
def test_several_steps_in_one_call_are_the_same_steps(tmp_path, straight, shuffle, steps):
    log, expected = straight[shuffle]
    run = Rich(shuffle).run(11, steps_per_execution=steps)
    assert run.log == log
    equal(run.everything(), expected)


def test_calls_end_at_a_refresh_at_the_end_of_a_pass_and_at_the_end(monkeypatch):
    run, calls = Rich(True), []  # 3 steps a pass, a refresh every 4
    several = run.trainer._train_steps
    run.trainer._train_steps = lambda rows, step: calls.append(len(rows)) or several(rows, step)
    single = run.trainer._train_step
    run.trainer._train_step = lambda rows, step: calls.append(1) or single(rows, step)
    run.run(11, steps_per_execution=3)
    assert calls == [3, 1, 2, 2, 1, 2]


def test_a_short_batch_ends_a_call():
    toy, again = Toy(X), Toy(X)  # 10 samples
    assert (np.asarray(toy.run(7)) == np.asarray(again.run(7, steps_per_execution=5))).all()


class Killed(Exception):
    pass


def test_killed_run_goes_on_from_its_last_checkpoint(tmp_path, straight):
    path = tmp_path / "checkpoint.h5"

    def kill_at(step):
        def progress(now):
            if now == step:
                raise Killed

        return progress

    for step in (5, 9):
        run = Rich(True)
        run.trainer.restore(path)
        with pytest.raises(Killed):
            run.run(11, checkpoint=path, every=0.0, progress=kill_at(step))
    last = Rich(True)
    assert last.trainer.restore(path) and last.trainer.step == 8
    equal(last.run(11).everything(), straight[True][1])


def test_every_step_has_a_checkpoint_if_that_is_asked_for(tmp_path):
    path = tmp_path / "checkpoint.h5"
    Toy(X).run(5, checkpoint=path, every=0.0)
    again = Toy(X)
    assert again.trainer.restore(path) and again.trainer.step == 5


class Clock:
    """Stands for the module time: a step takes a second, a checkpoint `cost` seconds."""

    def __init__(self, toy, monkeypatch, cost):
        self.now, self.cost, self.saves = 100.0, cost, []
        step, toy.trainer.save = toy.trainer._train_step, self.save
        self.train, toy.trainer._train_step = step, self.step
        monkeypatch.setattr(training, "time", self)

    def monotonic(self):
        return self.now

    def step(self, *args):
        self.now += 1
        self.train(*args)

    def save(self, path):
        self.saves.append(self.now - 100)
        self.now += self.cost


@pytest.mark.parametrize(
    ("every", "cost", "saves"),
    [
        (60.0, 0.0, [2, 6, 14, 30, 62, 122, 182]),  # after 2, 4, 8, 16, 32, 60, 60 seconds
        (5.0, 0.0, [2, 6, 11, 16, 21]),
        (1.0, 0.0, [1, 2, 3, 4]),
        (60.0, 1.0, [2, 13, 24, 41, 74, 135, 196]),  # never more than a tenth of the time
        (60.0, 20.0, [2, 82, 162]),  # but for those that were asked for
        (0.0, 1.0, [1, 3, 5]),
    ],
)
def test_checkpoints_begin_early_and_grow_rare(tmp_path, monkeypatch, every, cost, saves):
    toy = Toy(X)
    clock = Clock(toy, monkeypatch, cost)
    toy.run(200, checkpoint=tmp_path / "checkpoint.h5", every=every)
    assert clock.saves[: len(saves)] == saves
    gaps = np.diff(clock.saves)
    assert gaps.max() <= every + cost + 1


@pytest.mark.parametrize("session", [3, 20])
def test_a_run_killed_every_few_seconds_gets_on(tmp_path, monkeypatch, eager, session):
    """With the default of a minute between two checkpoints."""
    path, sessions, last = tmp_path / "checkpoint.h5", 0, 0
    straight = Toy(X, batch_size=4).run(60)
    while last < 60:
        sessions += 1
        toy = Toy(X, batch_size=4)
        toy.trainer.restore(path)
        assert sessions == 1 or toy.trainer.step > last
        last = toy.trainer.step
        clock = Clock(toy, monkeypatch, 0.0)
        toy.trainer.save = partial(Trainer.save, toy.trainer)
        try:
            w = toy.run(60, checkpoint=path, progress=partial(stop_after, clock, session))
        except Killed:
            continue
        last = 60
    assert np.array_equal(w, straight)
    assert sessions <= 60 / (2 if session == 3 else 14) + 1


def stop_after(clock, seconds, step):
    if clock.now - 100 > seconds:
        raise Killed


def test_no_checkpoint_is_no_error(tmp_path):
    toy = Toy(X)
    assert toy.trainer.restore(tmp_path / "absent.h5") is False
    assert toy.trainer.step == 0 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage", ["truncated", "garbage", "another shape", "fewer arrays", "another run"]
)
def test_checkpoint_of_no_use_is_put_aside(tmp_path, damage):
    path = tmp_path / "checkpoint.h5"
    if damage == "another shape":
        other = Toy(X[:, :2])
    elif damage == "another run":
        other = Toy(X, identity="another")
    else:
        other = Toy(X)
    other.run(2)
    other.trainer.save(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "garbage":
        path.write_bytes(b"nothing of use")
    content = path.read_bytes()
    state = [keras.Variable(np.ones(2, np.float32))] if damage == "fewer arrays" else []
    toy = Toy(X, state=state)
    assert toy.trainer.restore(path) is False
    assert not path.exists()
    assert (tmp_path / "checkpoint.h5.damaged").read_bytes() == content
    assert toy.trainer.step == 0 and not np.asarray(toy.w).any()
    toy.run(5)
    assert (np.asarray(toy.w) == Toy(X).run(5)).all()


@pytest.mark.parametrize("missing", ["variable/0", "step", "seconds", "carry/labels"])
def test_a_checkpoint_of_an_older_version_is_put_aside_in_one_line(tmp_path, missing):
    path, lines = tmp_path / "checkpoint.h5", []
    old = Toy(X)
    old.run(2)
    old.trainer.carry = {"labels": np.arange(3)}
    old.trainer.save(path)
    arrays, about = load_arrays(path)
    for kept in (arrays, about):
        kept.pop(missing, None)
    save_arrays(path, arrays, about)
    toy = Toy(X)
    assert toy.trainer.restore(path, lines.append, ["labels"]) is False
    assert toy.trainer.step == 0 and not np.asarray(toy.w).any() and toy.trainer.carry == {}
    assert len(lines) == 1 and "\n" not in lines[0]
    assert missing in lines[0] and "starts over" in lines[0]
    assert (tmp_path / "checkpoint.h5.damaged").exists() and not path.exists()


# -- seeds ----------------------------------------------------------------------------------------


def test_derived_seeds_differ_by_seed_and_use():
    seeds = {derive_seed(s, use) for s in range(50) for use in range(4)}
    assert len(seeds) == 200
    assert all(0 <= s < 2**31 and isinstance(s, int) for s in seeds)
    assert derive_seed(3, 1) == derive_seed(3, 1)


# Every use of derive_seed, by its words in the code (r is the run's seed, `seed` the network's,
# derive_seed(r, NETWORK)). New uses take new_stream: do not add any here.
OLD_USES = {
    "core/autoencoder": ["r, NETWORK", "r, PRETRAIN", "r, SELECT, step", "r, INITIALIZE"],
    "core/base": ["r, CLUSTER"],
    "dscdan/autoencoder": ["seed, i", "seed, 3"],
    "dscdan/joint": [
        "seed, 4",
        "r, INITIALIZE",
        "r, INITIALIZE",
        "r, NETWORK, 2, start",
        "r, NETWORK, int(name == 'spectral'), start",
    ],
    "dscdan/spectralnet": [
        "seed, 1",
        "seed, 2",
        "r, INITIALIZE",
        "r, INITIALIZE",
        "r, CLUSTER, offset > 0",
    ],
    "kingdra/ensemble": ["r, NETWORK, 0"],
    "kingdra/imsat": ["r, STEPS"],
    "kingdra/model": ["r, NETWORK, m", "r, STEPS, self.number", "r, STREAM, self.number"],
    # The start of clustering, in the place of the k-means that their base class would draw.
    "n2d": ["r, INITIALIZE", "r, INITIALIZE"],
    "vade": ["r, INITIALIZE"],
}


def uses(path, function):
    """Return the arguments of each call of a function in a file, as text."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == function:
            words = ", ".join(ast.unparse(a) for a in node.args)
            words = re.sub(r"(self|model)\.seed_", "r", words)
            found.append(words)
    return sorted(found)


def test_no_use_of_the_old_streams_is_new(root):
    """They run into one another: see the next test. Take new_stream(seed, SeedUse...., ...)."""
    paths = {*root.glob("*.py"), *root.glob("*/*.py"), *(root / "models").rglob("*.py")}
    paths = [p for p in paths if root / "tests" not in p.parents]
    found = {p.relative_to(root): uses(p, "derive_seed") for p in paths}
    assert {name: words for name, words in found.items() if words} == {
        Path("models", f"{name}.py"): sorted(words) for name, words in OLD_USES.items()
    }


def test_which_of_the_old_streams_are_one():
    """Each line is one stream; results of today hang on it. Members, starts and steps 0 to 9."""
    auto = {
        ("network",): (base.NETWORK,),
        ("pretraining",): (base.PRETRAIN,),
        ("k-means",): (base.INITIALIZE,),
        ("clustering",): (base.CLUSTER,),
    }
    auto |= {("selection", i): (base.SELECT, i) for i in range(10)}
    auto |= {("fresh head", i): (base.NETWORK, 2, i) for i in range(1, 10)}
    auto |= {("head on labels", i): (base.NETWORK, 0, i) for i in range(10)}
    auto |= {("head", i): (base.NETWORK, 1, i) for i in range(10)}
    auto |= {("stage", i): (base.CLUSTER, i) for i in range(2)}
    ladder = {("IMSAT",): (ensemble.STEPS,)}
    ladder |= {("network", m): (ensemble.NETWORK, m) for m in range(10)}
    ladder |= {("steps", m): (ensemble.STEPS, m) for m in range(10)}
    ladder |= {("stream", m): (ensemble.STREAM, m) for m in range(10)}
    assert shared(auto) == [
        {("network",), ("head on labels", 0)},
        {("clustering",), ("stage", 0)},  # methods of their own
    ]
    assert shared(ladder) == [{("IMSAT",), ("steps", 0)}]  # methods of their own


def shared(names):
    """Return the sets of names that have one stream, in order."""
    by_seed = {}
    for name, place in names.items():
        by_seed.setdefault(derive_seed(7, *place), set()).add(name)
    return [found for found in by_seed.values() if len(found) > 1]


def test_new_streams_are_apart_from_one_another_and_from_the_old():
    use, runs = SeedUse.EXAMPLE, (0, 1, 2, 3, 7, 2**31 - 1)
    places = [
        (),
        *product(range(3), repeat=1),
        *product(range(3), repeat=2),
        *product(range(3), repeat=3),
    ]
    new = [new_stream(r, use, *place) for r in runs for place in places]
    old = [
        derive_seed(r, *place) for r in runs for place in [*places, *product(range(3), repeat=4)]
    ]
    assert len(set(new)) == len(new) and not set(new) & set(old)
    assert all(0 <= s < 2**31 and isinstance(s, int) for s in new)
    assert (
        new_stream(3, use, 1) == new_stream(np.int64(3), use, np.int64(1)) != derive_seed(3, 0, 1)
    )
    assert derive_seed(5) == derive_seed(5, 0) == derive_seed(5, 0, 0)  # the trap itself
    assert len({new_stream(5, use), new_stream(5, use, 0), new_stream(5, use, 0, 0)}) == 3


def test_a_new_stream_has_a_use_of_its_own():
    assert len({use.value for use in SeedUse}) == len(SeedUse.__members__)  # no number twice
    with pytest.raises(TypeError, match="use=0: expected a SeedUse"):
        new_stream(1, 0)


def test_the_old_streams_are_as_they_were():
    found = [
        derive_seed(0),
        derive_seed(3, 1),
        derive_seed(3, 0, 2, 1),
        derive_seed(2**31 - 1, 4, 9),
    ]
    assert found == [1484405855, 228595140, 1481917911, 870518679]
