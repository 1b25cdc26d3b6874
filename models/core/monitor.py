"""How a run is watched from outside. No TensorFlow here."""


class Monitor:
    """What a run tells the outside; this one is silent. Labels go out, none come in."""

    def begin(self, phase, total, step):
        """A phase of `total` steps starts, or is taken up again at `step`."""

    def progress(self, phase, step):
        """A step was made."""

    def row(self, phase, step, values, labels=None, others=None):
        """Something to log: {name: float}, and the labels (n,) if they were just assigned.

        others is {name: [(sample numbers or None for all, their labels), ...]}: labels of other
        kinds, of members of an ensemble for example.
        """

    def note(self, text):
        """Something to tell the user."""

    def warn(self, text):
        """Something that went wrong and was survived."""
