"""Experiments: learning curves, ablations, what the energy tank does."""
