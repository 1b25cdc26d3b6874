"""Kingdra: an ensemble of ladder networks that label samples for one another (ICLR 2020).

Rounds of: train each member on all samples and, where there are some, on pseudo-labels; find the
groups of samples on which the members agree (agreement.py); match the groups to clusters.

Departures: docs/methods/kingdra.md
"""

import itertools
import os
import threading
import time
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from common.errors import TrainingFailed, UserError
from models.core.functional import Tensor
from models.core.optimizers import make as make_optimizer
from models.core.seeds import derive_seed
from models.core.training import Trainer
from models.kingdra.agreement import find_groups, match_groups, mean_agreement
from models.kingdra.ensemble import NETWORK, STEPS, STREAM, Ensemble, side_by_side
from models.kingdra.ladder import Ladder, dot_loss, information_loss, noise_divergence
from models.kingdra.rounds import RoundState


def supervised_stream(
    groups: list[np.ndarray], clusters: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return n pairs (sample, pseudo-label), int32 (n,) each, in random order.

    Groups take turns, each going round its samples, so that labels are even (Kingdra).
    """
    k = len(groups)
    turns = [rng.permutation(group) for group in groups]
    t = np.arange(n)
    rows = np.empty(n, np.int32)
    for g, members in enumerate(turns):
        own = t[t % k == g]
        rows[own] = members[(own // k) % len(members)]
    labels = np.asarray(clusters, np.int32)[t % k]
    order = rng.permutation(n)
    return rows[order], labels[order]


class Member:
    """One ladder network, its optimizer and its trainer.

    L = ladder_weight sum_l c_l C_l + mi_weight (Q(p clean) + Q(p corrupted))
    + kl_weight KL(p clean || p corrupted) + cross-entropy of pseudo-labels: C_l the denoising cost
    of layer l, c_l its `denoising_costs`, Q the information ("im") or the dot loss.
    """

    def __init__(self, model: "Kingdra", number: int, data: Tensor):
        self.model, self.number, self.data = model, number, data
        self.checkpoint = model._place(f"checkpoint-member{number}.h5")
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
            "ladder": c.ladder_weight,
            "clustering": self.weight,
            "noise_kl": c.kl_weight,
            "cross_entropy": 1.0,
        }
        self.supervised = supervised
        return Trainer(
            self.data,
            self.loss,
            weights,
            self.network.variables,
            self.optimizer,
            batch_size=c.batch_size,
            seed=derive_seed(model.seed_, STEPS, self.number),
            shuffle=supervised or c.shuffle,
            targets=self.targets,
            identity=f"{model._identity} member {self.number}",
            whole_batches=model._leave_out_last(self.data.shape[0]),
        )

    def loss(self, x: Tensor, targets: dict[str, Tensor], seed: Tensor) -> dict[str, Tensor]:
        """Return {name: scalar} of a batch x (b, d), its targets and the step's seed (2,)."""
        c, paths = self.model.config, [x, x]  # the first path is clean, the others corrupted
        if self.supervised:
            paths.append(tf.gather(self.data, targets["partner"]))
        logits, layers = self.network.encode(paths, len(paths) - 1, seed)
        costs = self.network.denoising_costs(layers[0], layers[1], logits[1])
        im = partial(information_loss, mu=c.mi_mu)
        quality = dot_loss if c.clustering_loss == "dot" else im
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

    def prepare(self, state: RoundState) -> None:
        """Make ready for the round that comes after a `RoundState`."""
        c, model = self.model.config, self.model
        later = state.round > 0 and c.mi_weight_later is not None
        self.weight.assign(c.mi_weight_later if later else c.mi_weight)
        if not state.groups:  # there never were any: once found, some are always kept
            return
        if not self.supervised:
            before, self.trainer = self.trainer, self._trainer(True)
            self.trainer.go_on_from(before)
        rng = np.random.default_rng([derive_seed(model.seed_, STREAM, self.number), state.round])
        clusters = state.clusters[self.number]
        rows, labels = supervised_stream(state.groups, clusters, self.data.shape[0], rng)
        self.targets["partner"].assign(rows)
        self.targets["pseudo"].assign(labels)

    def take_up(self, state: RoundState) -> None:
        """Go on from the checkpoint; UserError if it is behind the `RoundState`."""
        self.prepare(state)
        self.trainer.restore(self.checkpoint, self.model._monitor.warn)
        if self.trainer.step < state.step:
            raise UserError(f"{self.checkpoint}: behind the other files of the run")
        if self.trainer.step == state.step:
            self.trainer.mean_losses()  # of the last round, which has logged them


class Kingdra(Ensemble):
    """The ensemble with pseudo-labels; with `pseudo_labels=False` LADDER-IM and its ensemble."""

    def make_networks(self, sizes: tuple) -> list[Ladder]:
        c = self.config
        return [
            Ladder(sizes, c.noise_std, c.last_bn, derive_seed(self.seed_, NETWORK, m))
            for m in range(c.members)
        ]

    def correspondence(self, labels: np.ndarray | list[np.ndarray]) -> np.ndarray:
        if self.config.alignment == "last":
            return np.tile(np.arange(self.n_clusters), (len(labels), 1))
        return super().correspondence(labels)

    def voted(self, predictions: list[np.ndarray], mappings: np.ndarray) -> np.ndarray:
        """Return the members' mean prediction, or with `vote` "first" the first's."""
        if self.config.vote == "first":
            return predictions[0]
        return super().voted(predictions, mappings)

    def voters(self, members: list[keras.Model]) -> list[keras.Model]:
        return members[:1] if self.config.vote == "first" else members

    # -- the algorithm -----------------------------------------------------------------------

    def train(self, data: Tensor) -> None:
        """Rounds of: train, predict, find groups on which members agree, match, log."""
        c, lock = self.config, threading.Lock()
        members, state = self._take_up(data)
        longest = c.epochs_first + (c.rounds - 1) * max(c.epochs, c.epochs_first)
        total = len(members) * members[0].trainer.steps_per_pass * longest
        self._monitor.begin("cluster", total, len(members) * state.step + 1)
        steps = itertools.count(sum(member.trainer.step for member in members) + 1)

        def count():  # steps of all members, whatever thread makes them
            with lock:
                self._monitor.progress("cluster", next(steps))

        while state.round < c.rounds:
            begin = time.monotonic()
            self._train_members(members, state, count)
            predictions = [self._predictions(network, data)[0] for network in self.networks]
            labels = np.array([p.argmax(axis=1) for p in predictions])  # (m, n)
            values, others = self._pseudo_label(predictions, labels, state)
            mappings = self.correspondence(labels)
            values["agreement"] = mean_agreement(np.take_along_axis(mappings, labels, axis=1))
            vote = self.voted(predictions, mappings).argmax(axis=1)
            if state.round == 1:
                state.first_labels, state.first_vote = labels, vote
            others = {"member": [(None, one) for one in labels]} | others
            self._end_round(members, state, begin, values, vote, others)
        self.n_iter_, self.converged_ = state.round, None
        self._steps_made = len(members) * state.step
        self.first_labels_, self.first_vote_ = state.first_labels, state.first_vote
        self.seconds_["cluster"] = state.seconds
        self.step_seconds_["cluster"] = state.step_seconds

    def _train_members(self, members, state, count):
        """Train every member for a round, on its pseudo-labels too if there are groups.

        count: called after each step of a member.
        """
        c, begin = self.config, time.monotonic()
        epochs = c.epochs if state.groups else c.epochs_first
        end = state.step + epochs * members[0].trainer.steps_per_pass
        stop = threading.Event()

        def progress(step):
            if stop.is_set():
                raise TrainingFailed("stopped: another member failed")
            count()

        def train(member):
            self.run_phase(
                member.trainer,
                end,
                checkpoint=member.checkpoint,
                resume=False,
                progress=progress,
                save_at_end=True,
            )

        for member in members:
            member.prepare(state)
        jobs = [partial(train, member) for member in members]
        side_by_side(jobs, min(self.workers, len(members)), stop)
        state.round, state.step = state.round + 1, end
        state.member_seconds = np.array([member.trainer.seconds for member in members])
        state.step_seconds += time.monotonic() - begin

    def _pseudo_label(self, predictions, labels, state):
        """Put the next round's groups, and each member's clusters for them, into the state.

        predictions, labels: of the members, m arrays (n, k) and (m, n). Return what to log, and
        the pseudo-labels as `Monitor.row` takes them.
        """
        c, k, begin = self.config, self.n_clusters, time.monotonic()
        if not c.pseudo_labels:
            return {}, {}
        confident = np.all([p.max(axis=1) > c.confidence for p in predictions], axis=0)
        groups = find_groups(labels, confident, *c.thresholds, k)
        state.choose(groups, k)
        if state.groups:
            last = c.alignment == "last"
            state.clusters = np.array(
                [match_groups(state.groups, labels[-1] if last else one, k) for one in labels]
            )
        sizes = [len(group) for group in groups]
        values = {
            "groups": len(groups),
            "pseudo_labels": sum(sizes),
            "smallest_group": min(sizes, default=0),
            "largest_group": max(sizes, default=0),
            "graph_seconds": time.monotonic() - begin,
        }
        rows = np.concatenate([np.zeros(0, np.int64), *groups])
        pseudo = (rows, np.repeat(np.arange(len(groups)), sizes))
        return values, {"pseudo": [pseudo] if len(rows) else []}

    def _end_round(self, members, state, begin, values, vote, others):
        """Log the round that began at time `begin`, and write the state."""
        losses = [member.trainer.mean_losses() for member in members]
        values |= {name: float(np.mean([one[name] for one in losses])) for name in losses[0]}
        state.seconds += time.monotonic() - begin
        values["seconds"] = state.seconds
        self._monitor.row("cluster", len(members) * state.step, values, vote, others)
        if self.run_dir is not None:
            state.save(self._place("checkpoint-rounds.h5"), self._identity)

    def other_labels(self) -> dict[str, np.ndarray]:
        """Return those after the first round: of the ensemble, and of each member (m, n)."""
        return {"ensemble": self.first_vote_, "member": self.first_labels_}

    # -- taking up a run ---------------------------------------------------------------------

    def _take_up(self, data):
        """Return the members and the state as the last session left them, or as they begin."""
        n, m = data.shape[0], self.config.members
        path = self._place("checkpoint-rounds.h5")

        def beginning():
            members = [Member(self, number, data) for number in range(m)]
            return members, RoundState.beginning(m, self.n_clusters, n)

        members, state = beginning()
        if path is None:
            return members, state
        try:
            if os.path.exists(path):
                state = RoundState.load(path, self._identity)
            for member in members:
                member.take_up(state)
        except UserError as error:
            self._monitor.warn(f"{error}; the run starts over")
            for file in [path, *(member.checkpoint for member in members)]:
                if os.path.exists(file):
                    os.replace(file, f"{file}.damaged")
            self._build(self._shape)
            return beginning()
        more = [member.trainer.seconds for member in members] - state.member_seconds
        state.seconds += float(more.sum()) / min(self.workers, m)  # of a round that was cut short
        return members, state
