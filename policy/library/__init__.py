"""Ready policies, as YAML, each with tests of its own. `default.yaml` is in force where nobody wrote another."""
