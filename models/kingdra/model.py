"""Kingdra: an ensemble of ladder networks that label samples for one another (ICLR 2020).

Rounds of: train each member on all samples and, where there are some, on pseudo-labels; find the
groups of samples on which the members agree (agreement.py); match the groups to clusters.

Departures: docs/methods/kingdra.md
"""

import os
import threading
import time
from functools import partial

import numpy as np
import tensorflow as tf
from sklearn.exceptions import NotFittedError

from common.errors import TrainingFailed, UserError
from common.files import load_arrays, save_arrays
from models.core.monitor import Monitor
from models.core.optimizers import make as make_optimizer
from models.core.training import Trainer, derive_seed
from models.kingdra.agreement import find_groups, match_groups, mean_agreement
from models.kingdra.ensemble import STEPS, STREAM, Ensemble, side_by_side
from models.kingdra.ladder import dot_loss, information_loss, noise_divergence
from models.settings.kingdra import translate


def supervised_stream(groups, clusters, n, rng):
    """Return n pairs (sample, pseudo-label), int32 (n,) each, in random order.

    Groups take turns, each going round its samples, so that labels are even (Kingdra).
    """
    k = len(groups)
    turns = [rng.permutation(group) for group in groups]
    t = np.arange(n)
    rows = np.empty(n, np.int32)
    for g, members in enumerate(turns):
        mine = t[t % k == g]
        rows[mine] = members[(mine // k) % len(members)]
    labels = np.asarray(clusters, np.int32)[t % k]
    order = rng.permutation(n)
    return rows[order], labels[order]


class Member:
    """One network, its optimizer and its trainer."""

    def __init__(self, model, number, data):
        self.model, self.number, self.data = model, number, data
        self.network = model.networks[number]
        self.optimizer = make_optimizer(model.config.optimizer)
        n = data.shape[0]
        zeros = np.zeros(n, np.int32)
        self.targets = {name: tf.Variable(zeros, trainable=False) for name in ("partner", "pseudo")}
        self.weight = tf.Variable(model.config.mi_weight, trainable=False)
        self.trainer = self._trainer(False)

    def _trainer(self, supervised):
        c, model = self.model.config, self.model
        weights = {
            "ladder": c.ladder_weight, "clustering": self.weight, "noise_kl": c.kl_weight,
            "cross_entropy": 1.0,
        }  # fmt: skip
        self.supervised = supervised
        return Trainer(
            self.data, self.loss, weights, self.network.variables, self.optimizer,
            batch_size=c.batch_size, seed=derive_seed(model.random_state, STEPS, self.number),
            shuffle=supervised, targets=self.targets,
            identity=f"{model._identity} member {self.number}",
        )  # fmt: skip

    def loss(self, x, targets, seed):
        """Return {name: scalar} of a batch x (b, d), its targets and the step's seed (2,)."""
        paths = [x, x]
        if self.supervised:
            paths.append(tf.gather(self.data, targets["partner"]))
        logits, layers = self.network.encode(paths, len(paths) - 1, seed)
        costs = self.network.denoising_costs(layers[0], layers[1], logits[1])
        c = self.model.config
        clustering = {"dot": dot_loss, "im": lambda p: information_loss(p, c.mi_mu)}
        quality = clustering[c.clustering_loss]
        cross_entropy = tf.zeros(())
        if self.supervised:
            cross_entropy = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(targets["pseudo"], logits[2])
            )
        return {
            "ladder": tf.add_n(
                [w * cost for w, cost in zip(c.denoising_costs, costs, strict=True)]
            ),
            "clustering": quality(tf.nn.softmax(logits[0])) + quality(tf.nn.softmax(logits[1])),
            "noise_kl": noise_divergence(logits[0], logits[1]),
            "cross_entropy": cross_entropy,
        }

    def prepare(self, state):
        """Make ready for the round that `state` describes."""
        c, model = self.model.config, self.model
        later = state["round"] > 0 and c.mi_weight_later is not None
        self.weight.assign(c.mi_weight_later if later else c.mi_weight)
        groups = split(state)
        if not groups:  # there never were any: once found, some are always kept
            return
        if not self.supervised:
            before, self.trainer = self.trainer, self._trainer(True)
            for name in ("step", "seconds", "step_seconds"):
                setattr(self.trainer, name, getattr(before, name))
        rng = np.random.default_rng(
            [derive_seed(model.random_state, STREAM, self.number), state["round"]]
        )
        clusters = state["clusters"][self.number]
        rows, labels = supervised_stream(groups, clusters, self.data.shape[0], rng)
        self.targets["partner"].assign(rows)
        self.targets["pseudo"].assign(labels)


def split(state, which=""):
    """Return the list of groups, int arrays, that a state holds end to end."""
    sizes = state.get(f"{which}sizes", ())
    return np.split(state[f"{which}groups"], np.cumsum(sizes)[:-1]) if len(sizes) else []


class Kingdra(Ensemble):
    """The ensemble with pseudo-labels; with `pseudo_labels=False` LADDER-IM and its ensemble."""

    @property
    def members(self):
        return self.config.members

    @property
    def noise_std(self):
        return self.config.noise_std

    @property
    def last_bn(self):
        return self.config.last_bn

    @property
    def vote(self):
        return self.config.vote

    def correspondence(self, labels):
        if self.config.alignment == "last":
            return np.tile(np.arange(self.n_clusters), (len(labels), 1))
        return super().correspondence(labels)

    def train(self, data):
        c = self.config
        members, state = self._start(data)
        self._counter = Counter(self._monitor, sum(member.trainer.step for member in members))
        per_pass = members[0].trainer.steps_per_pass
        longest = c.epochs_first + (c.rounds - 1) * max(c.epochs, c.epochs_first)
        self._monitor.begin(
            "cluster", c.members * per_pass * longest, c.members * state["step"] + 1
        )
        while state["round"] < c.rounds:
            state = self._round(members, data, state)
        self.n_iter_, self.converged_ = c.rounds, None
        self._steps_made = c.members * state["step"]
        self.first_labels_, self.first_vote_ = state["first_labels"], state["first_vote"]
        self.seconds_["cluster"] = state["seconds"]
        self.step_seconds_["cluster"] = state["step_seconds"]

    def other_labels(self):
        """Return those after the first round: of the ensemble, and of each member (m, n)."""
        return {"ensemble": self.first_vote_, "member": self.first_labels_}

    def _start(self, data):
        """Return the members and the state of the last finished round, or of the beginning.

        The state is what the next round depends on besides the members themselves; its arrays
        "groups" and "sizes" hold the groups end to end, "clusters" (m, k) a member's cluster for
        each group.
        """
        n, k, m = data.shape[0], self.n_clusters, self.config.members
        beginning = {
            "round": 0, "step": 0, "seconds": 0.0, "step_seconds": 0.0, "best": 0,
            "groups": np.zeros(0, np.int64), "sizes": np.zeros(0, np.int64),
            "clusters": np.zeros((m, k), np.int64), "member_seconds": np.zeros(m),
            "first_labels": np.zeros((m, n), np.int64), "first_vote": np.zeros(n, np.int64),
        }  # fmt: skip
        members = [Member(self, number, data) for number in range(m)]
        if self.run_dir is None:
            return members, beginning
        try:
            state = self._saved_state(beginning)
            for member in members:
                member.prepare(state)
                checkpoint = self._place(f"checkpoint-member{member.number}.h5")
                member.trainer.restore(checkpoint, self._monitor.warn)
                if member.trainer.step < state["step"]:
                    raise UserError(f"{checkpoint}: behind the other files of the run")
                if member.trainer.step == state["step"]:
                    member.trainer.mean_losses()  # of the last round, which has logged them
        except UserError as error:
            self._monitor.warn(f"{error}; the run starts over")
            self._put_aside()
            self._build(self._shape)
            return [Member(self, number, data) for number in range(m)], beginning
        more = [member.trainer.seconds for member in members] - state["member_seconds"]
        state["seconds"] += more.sum() / min(self.workers, m)  # of a round that was cut short
        return members, state

    def _saved_state(self, beginning):
        """Return the state in the run's folder; `beginning` if there is none."""
        path = self._place("checkpoint-rounds.h5")
        if not os.path.exists(path):
            return beginning
        arrays, about = load_arrays(path)
        if about.get("identity") != self._identity:
            raise UserError(f"{str(path)!r} is the checkpoint of another run")
        if missing := sorted(set(beginning) - set(arrays) - set(about)):
            raise UserError(f"{str(path)!r} holds no {', '.join(missing)}: another version's")
        return arrays | {key: about[key] for key in beginning if key in about}

    def _put_aside(self):
        """Rename all checkpoints, of which one is of no use, so that the next start finds none."""
        for name in ("rounds", *(f"member{number}" for number in range(self.members))):
            path = self._place(f"checkpoint-{name}.h5")
            if os.path.exists(path):
                os.replace(path, f"{path}.damaged")

    def _save_state(self, state):
        if self.run_dir is not None:
            plain = {key: v for key, v in state.items() if not isinstance(v, np.ndarray)}
            arrays = {key: v for key, v in state.items() if isinstance(v, np.ndarray)}
            path = self._place("checkpoint-rounds.h5")
            save_arrays(path, arrays, plain | {"identity": self._identity})

    def _round(self, members, data, state):
        """Train every member for a round, find the next groups, log; return the next state."""
        c, begin = self.config, time.monotonic()
        epochs = c.epochs if len(state["sizes"]) else c.epochs_first
        end = state["step"] + epochs * members[0].trainer.steps_per_pass
        stop = threading.Event()
        for member in members:
            member.prepare(state)
        jobs = [partial(self._train_member, member, end, stop) for member in members]
        side_by_side(jobs, min(self.workers, len(members)), stop)
        step_seconds = state["step_seconds"] + time.monotonic() - begin
        predictions = [self._predictions(network, data)[0] for network in self.networks]
        labels = np.array([p.argmax(axis=1) for p in predictions])  # (m, n)
        mappings = self.correspondence(labels)
        vote = self.voted(predictions, mappings).argmax(axis=1)
        state = state | {
            "round": state["round"] + 1, "step": end, "step_seconds": step_seconds,
            "member_seconds": np.array([member.trainer.seconds for member in members]),
        }  # fmt: skip
        if state["round"] == 1:
            state |= {"first_labels": labels, "first_vote": vote}
        told, others = {}, {"member": [(None, one) for one in labels]}
        if c.pseudo_labels:
            told, pseudo = self._regroup(predictions, labels, state)
            others["pseudo"] = [pseudo] if len(pseudo[0]) else []
        aligned = np.take_along_axis(mappings, labels, axis=1)
        told["agreement"] = mean_agreement(aligned)
        losses = [member.trainer.mean_losses() for member in members]
        told |= {key: float(np.mean([one[key] for one in losses])) for key in losses[0]}
        state["seconds"] += time.monotonic() - begin
        self._monitor.row("cluster", c.members * end, told | {"seconds": state["seconds"]}, vote,
                          others)  # fmt: skip
        self._save_state(state)
        return state

    def _regroup(self, predictions, labels, state):
        """Put the next round's groups into the state; return what to log and the pseudo-labels.

        If a group is missing, those with the largest smallest group so far stay in use [C].
        """
        c, k, begin = self.config, self.n_clusters, time.monotonic()
        confident = np.all([p.max(axis=1) > c.confidence for p in predictions], axis=0)
        groups = find_groups(labels, confident, *c.thresholds, k)
        told = {"groups": len(groups), "pseudo_labels": sum(map(len, groups))}
        told |= {"smallest_group": min(map(len, groups), default=0),
                 "largest_group": max(map(len, groups), default=0)}  # fmt: skip
        if len(groups) == k:
            if told["smallest_group"] > state["best"]:
                best = {"best_groups": np.concatenate(groups), "best": told["smallest_group"]}
                state |= best | {"best_sizes": np.array([len(group) for group in groups])}
            chosen = groups
        else:
            chosen = split(state, "best_")
        state["groups"] = np.concatenate([np.zeros(0, np.int64), *chosen])
        state["sizes"] = np.array([len(group) for group in chosen], np.int64)
        if chosen:
            state["clusters"] = np.array([
                match_groups(chosen, labels[-1] if c.alignment == "last" else one, k)
                for one in labels
            ])  # fmt: skip
        told["graph_seconds"] = time.monotonic() - begin
        rows = np.concatenate([np.zeros(0, np.int64), *groups])
        return told, (rows, np.repeat(np.arange(len(groups)), [len(group) for group in groups]))

    def _train_member(self, member, end, stop):
        """Train a member to step `end`, unless another thread fails."""
        checkpoint = self._place(f"checkpoint-member{member.number}.h5")

        def progress(step):
            if stop.is_set():
                raise TrainingFailed("stopped: another member failed")
            self._counter.add()

        trainer = member.trainer
        if trainer.step < end:
            trainer.run(
                end, end + 1, lambda step: False, checkpoint, self.checkpoint_seconds, progress
            )
            if checkpoint is not None:
                trainer.save(checkpoint)


class Counter:
    """Counts the steps of all members for the monitor, whatever thread makes them."""

    def __init__(self, monitor, steps):
        self._monitor, self._steps, self._lock = monitor, steps, threading.Lock()

    def add(self):
        with self._lock:
            self._steps += 1
            self._monitor.progress("cluster", self._steps)


class KingdraCluster:
    """Kingdra in the form of the authors' class, keyword for keyword.

    Parameters
    ----------
    n_en : int
        Members.
    n_epochs_per_iter0, n_epochs_per_iter : int
        Passes a round without and with pseudo-labels.
    low_th, high_th : int
        Thresholds of the graph; `med_th` is accepted and unused, as there.
    thresh : float
        Confidence.
    batch_size, n_class, n_iter : int
        n_class is K, n_iter the rounds.
    ens_common_mapping : bool
        Whether the members vote; else the first decides.
    mi_loss_w_it2 : float, optional
        Weight of the clustering loss after the first round.
    random_state, workers : int
        Not in the authors' class.
    **model_args
        mi_loss_w_init, fc_layer_sizes (K last), ladder_loss_w_init, noise_kl_w_init, noise_std,
        mi_mu_w_init, lr, denoising_cost, last_layer_bn.

    Examples
    --------
    >>> from models.kingdra.model import KingdraCluster
    >>> labels = KingdraCluster(n_iter=5).fit(x).predict(x)  # doctest: +SKIP
    """

    def __init__(self, random_state=0, workers=1, monitor=None, **arguments):
        self.random_state, self.workers, self.monitor = random_state, workers, monitor
        self.config, self.n_class = translate(arguments)

    def fit(self, X, callback=None):  # noqa: N803
        """Cluster samples X (n, d) or (n, h, w); callback(round, labels) after each round."""
        monitor = self.monitor
        if callback is not None:
            monitor = CallbackMonitor(callback)
        self.model = Kingdra(
            self.n_class, self.config, method="KINGDRA-LADDER-IM", workers=self.workers,
            random_state=self.random_state, monitor=monitor,
        )  # fmt: skip
        self.model.fit(X)
        return self

    def predict(self, X):  # noqa: N803
        """Return the labels (n,) of samples."""
        if not hasattr(self, "model"):
            raise NotFittedError("this KingdraCluster is not fitted yet: call fit first")
        return self.model.predict(X)


class CallbackMonitor(Monitor):
    """Calls back after each round."""

    def __init__(self, callback):
        self.callback, self.round = callback, 0

    def row(self, phase, step, values, labels=None, others=None):
        if phase == "cluster":
            self.callback(self.round, labels)
            self.round += 1
