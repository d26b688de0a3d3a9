"""Pipelines: an instance that scores by asking others. See docs/design.md, "Pipelines"."""
