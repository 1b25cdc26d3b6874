"""A row of the registry of methods. No TensorFlow here."""

import dataclasses
from dataclasses import dataclass, field

from models.settings.base import Settings
from models.settings.fields import SGD, Adam


@dataclass(frozen=True)
class Method:
    """A row of the registry: a method, its class, and what its paper says of its settings."""

    path: str  # "module:Class"
    settings: Settings  # the published ones
    paper: str  # its page, docs/methods/{paper}.md
    ours: bool = False  # whether it is in no paper
    # data set -> {setting: value} where the paper's differ on it
    by_dataset: dict = field(default_factory=dict)
    # number of samples -> {setting: value} from that number on; the largest that fits counts
    by_size: dict = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The name of the class's module."""
        return self.path.partition(":")[0]

    @property
    def cls(self) -> str:
        """The name of the class."""
        return self.path.partition(":")[2]

    def settings_for(
        self, dataset: str | None = None, n: int | None = None, vectors: bool = False
    ) -> Settings:
        """Return the published settings on a data set of n samples.

        For vectors that are no published set, ours in part: SGD's rates, published for hundreds of
        pixels in [0, 1], diverge on tables, so Adam takes its place, on scaled columns.
        Batches follow the data's order only where the samples are known to be mixed.
        """
        changes = dict(self.by_dataset.get(OTHER_FORMS.get(dataset, dataset), {}))
        if dataset in ORDERED and hasattr(self.settings, "shuffle"):
            changes["shuffle"] = True
        if vectors and self.settings.scalable:
            for name in ("pretrain_optimizer", "optimizer"):
                if isinstance(getattr(self.settings, name, None), SGD):
                    changes[name] = Adam(1e-3)
            changes["scale_inputs"] = True
        if n is not None:
            sizes = [size for size in self.by_size if n >= size]
            changes |= self.by_size[max(sizes)] if sizes else {}
        return dataclasses.replace(self.settings, **changes)


ORDERED = (None, "ytf")  # where samples may lie by class: data of a user's own, YTF by person
OTHER_FORMS = {"20news-l2": "20news"}  # data set -> the one whose settings it has
