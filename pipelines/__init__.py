"""The DAGs, and how they run: locally, compiled, on a cluster."""
