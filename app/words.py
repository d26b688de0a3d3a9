"""Values in people's words, as the agent says them too."""

from app.deployer.agent.words import duration, size

__all__ = ["duration", "size"]
