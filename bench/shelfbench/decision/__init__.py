"""From a run to a deployable decision, and using one; reads untrusted files."""
