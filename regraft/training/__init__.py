"""The loop: stages, checkpoints, resume, the cache of a frozen trunk."""
