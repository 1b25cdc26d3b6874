"""Kingdra, its ladder networks, and IMSAT."""


def __getattr__(name):
    """Import the authors' class, and TensorFlow with it, when it is first asked for."""
    if name == "KingdraCluster":
        from models.kingdra.authors import KingdraCluster

        return KingdraCluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
