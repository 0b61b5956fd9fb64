"""Names of processes, by the `process_names` rules of the configuration."""
