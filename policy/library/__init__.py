"""Ready policies, as YAML. `default.yaml` is in force where nobody wrote another."""
