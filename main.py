"""RhythmicML: with arguments the command line, without them the pages."""

from app import frozen

if __name__ == "__main__":
    frozen.settle()
    from app.cli import main

    main()
