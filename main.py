"""RhythmicML: with arguments the command line, without them (later) the window."""

from app.cli import main

if __name__ == "__main__":
    main()
