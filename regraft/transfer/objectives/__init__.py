"""Objectives: what is minimised. Each takes logits and targets and returns a scalar."""
