"""HTTP: the server, its API, authentication and TLS."""
