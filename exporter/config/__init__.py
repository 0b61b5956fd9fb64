"""The two configuration files: YAML to frozen values, or an error that names the place in the file."""
