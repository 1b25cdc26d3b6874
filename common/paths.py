"""Where things lie in the checkout. Read as `paths.ROOT`, when they are needed."""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULTS = os.path.join(ROOT, "results")  # run folders, rows, tables
