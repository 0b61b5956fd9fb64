"""The exporter in Windows' Python under Wine: `make test-windows`."""
