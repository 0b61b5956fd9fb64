"""Each way to install it, done for real, on a Debian with systemd in namespaces: `make test-install`."""
