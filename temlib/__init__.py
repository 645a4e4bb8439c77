"""Which classifier to trust on particles in electron micrographs, and what share of a sample is what.

Importing the package is cheap: each module imports what it needs, and only `train` ever imports Keras. Its wings are
described in `docs/architecture.md`.
"""

__version__ = "0.1.0"
