"""The health of a clustering, judged without labels: one verdict on the numbers of quality.py.

docs/health.md has how well each number ranks runs by their accuracy, and where the limits below
come from.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Health:
    """What is known of a result without labels."""

    verdict: str  # healthy, doubtful or collapsed
    reasons: tuple = ()  # why it is not healthy
    signals: dict = field(default_factory=dict)  # name -> number, those of NAMES that are known

    def columns(self) -> dict:
        """Return the columns of results.csv: verdict, reasons, and a column a signal."""
        numbers = {name: _rounded(value) for name, value in self.signals.items()}
        return {"verdict": self.verdict, "reasons": "; ".join(self.reasons)} | numbers

    def line(self) -> str:
        """Return the verdict with its reasons, one line."""
        return self.verdict + (f": {'; '.join(self.reasons)}" if self.reasons else "")


def _rounded(value):
    return value if isinstance(value, int) else round(float(value), 6)


# Beyond these a result is doubtful; docs/health.md has the runs that they were set on.
LEAST = {"stability": 0.85, "neighbor_agreement": 0.85, "cluster_entropy": 0.75}
MOST = {"changed": 0.02, "drift": 0.02}
BELOW_KMEANS = 0.8  # of the modularity of k-means: the classes of Fashion-MNIST have 0.84 of it
SMALLEST = 0.1  # of the even share 1 / K: a smaller cluster is next to empty
COLLAPSED = 0.5  # share of the clusters that are empty, or of the samples in one of K > 3


def judge(signals: dict, k: int, n: int) -> Health:
    """Return the Health that `quality.signals` of k clusters and n samples speak for."""
    s, collapsed, doubts = signals, [], []
    empty, largest = s["empty_clusters"], s["largest_cluster"]
    if empty:
        some = collapsed if empty >= COLLAPSED * k else doubts
        some.append(f"{empty} of {k} clusters {'is' if empty == 1 else 'are'} empty")
    smallest = s["smallest_cluster"]
    if 0 < smallest < SMALLEST / k:
        doubts.append(f"the smallest of {k} clusters has {smallest * n:,.0f} of {n:,} samples")
    if largest > max(COLLAPSED, 1.5 / k) or largest == 1:
        collapsed.append(f"one cluster holds {largest:.0%} of the samples")
    elif s["cluster_entropy"] < LEAST["cluster_entropy"]:
        doubts.append(f"sizes are uneven: from {smallest * n:,.0f} to {largest * n:,.0f} samples")
    if s.get("changed", 0) > MOST["changed"] and s["at_limit"]:
        doubts.append(f"{s['changed']:.0%} of the labels still changed when training stopped")
    if s.get("stability", 1) < LEAST["stability"]:
        doubts.append(
            f"only {s['stability']:.0%} of the samples keep their cluster under a small transform"
        )
    if s["neighbor_agreement"] < LEAST["neighbor_agreement"]:
        doubts.append(
            f"nearest neighbours in the embedding share a cluster in only "
            f"{s['neighbor_agreement']:.0%} of the pairs"
        )
    if s["input_modularity"] < BELOW_KMEANS * s["kmeans_modularity"]:
        doubts.append(
            f"neighbours in the input share a cluster far less than under k-means of the "
            f"samples (modularity {s['input_modularity']:.3f}, k-means "
            f"{s['kmeans_modularity']:.3f})"
        )
    if s.get("drift", 0) > MOST["drift"]:
        doubts.append(
            f"labels have drifted: earlier in training they fitted the neighbours in the input "
            f"better (modularity {s['input_modularity'] + s['drift']:.3f}, now "
            f"{s['input_modularity']:.3f})"
        )
    verdict = "collapsed" if collapsed else "doubtful" if doubts else "healthy"
    return Health(verdict, (*collapsed, *doubts), s)


def alarming(result: dict) -> bool:
    """Whether a result.json has a collapse or an empty cluster: a warning even if --quiet."""
    return result.get("verdict") == "collapsed" or result.get("empty_clusters", 0) > 0


def lines(result: dict) -> list[str]:
    """Return what to print of a result.json's health: a few lines, the verdict first.

    Empty for a result of a time when there was no verdict.
    """
    r, n = result, int(result["n"])
    if "verdict" not in r:
        return []
    lines = [f"health: {r['verdict']}"]
    lines += [f"  {reason}" for reason in r["reasons"].split("; ") if reason]
    sizes = f"{r['smallest_cluster'] * n:,.0f} to {r['largest_cluster'] * n:,.0f} of {n:,} samples"
    lines.append(f"  {r.get('clusters', r['k'])} clusters of {sizes}, {r['empty_clusters']} empty")
    texts = {
        "stability": "of the samples keep their cluster under a small transform",
        "neighbor_agreement": "of the neighbours in the embedding share a cluster",
        "uncertain": "of the memberships are uncertain",
        "start_agreement": "of the labels are as at the start of clustering",
    }
    shares = [f"{r[name]:.0%} {text}" for name, text in texts.items() if name in r]
    lines.append("  " + "; ".join(shares))
    end = []
    if "changed" in r:
        how = "stopped by the limit" if r["at_limit"] else "converged"
        end.append(f"{how}, {r['changed']:.2%} of the labels changed last")
    if "drift" in r:
        end.append(f"drift {r['drift']:.3f}")
    return lines + (["  " + "; ".join(end)] if end else [])
