"""Measurements and experiments; none of them is a test."""
