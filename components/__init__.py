"""Kubeflow components: typed wrappers of one library call each."""
