"""What our own window calls itself when it asks for a page."""

from app import VERSION

WINDOW = f"RhythmicML/{VERSION}"
