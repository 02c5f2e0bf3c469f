"""The built-in tasks: one TOML file each, to run by name or to copy and edit."""
