"""The four dashboards and the panels they consist of."""
