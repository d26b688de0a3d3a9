"""RhythmicML: with arguments the command line, without them the pages."""

from app.cli import main

if __name__ == "__main__":
    main()
