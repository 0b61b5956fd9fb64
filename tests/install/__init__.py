"""Each installation method on a Debian with systemd in namespaces: `make test-install`."""
