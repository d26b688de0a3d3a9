"""RhythmicML: with arguments the command line, without them the pages."""

import sys

from app import VERSION, frozen

if __name__ == "__main__":
    frozen.settle()
    if sys.argv[1:] == ["--version"]:  # at once: without what commands need
        print(f"rhythmicml, version {VERSION}")
    else:
        from app.cli import main

        main()
