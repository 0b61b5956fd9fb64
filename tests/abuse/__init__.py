"""What the exporter bears: many scrapers, clients that stall, clients that talk nonsense.

`make test` runs these small, `make test-abuse` at the sizes, and with the limits, that the README tells.
"""
