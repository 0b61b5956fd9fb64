"""Build of the zip and the MSI for Windows, on Linux: `make windows`."""
