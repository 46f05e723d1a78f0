"""A study: pure data, and how it is read from TOML and plug-ins."""
