"""Metric families from one look at the host, a module for each subject."""
