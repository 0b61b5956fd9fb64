"""Faults of the host, made for real, and what a running exporter says while they last and after."""
