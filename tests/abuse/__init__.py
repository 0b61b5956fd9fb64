"""The exporter under load and abuse: many scrapers, slow clients, malformed requests.

`make test` runs these small, `make test-abuse` at the sizes, and with the limits, that the README tells.
"""
