"""A study as pure data, and reading it from TOML and plug-ins."""
