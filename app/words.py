"""Values in people's words, as the agent says them too."""

from app.deployer.agent.words import size

__all__ = ["size"]
