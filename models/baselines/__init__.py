"""The baselines of the papers' tables."""
