"""How `rhythmicml.toml` is read, value by value."""
