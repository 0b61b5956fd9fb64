"""Builds the dashboards and the alerts for Grafana: `make dashboards`."""
