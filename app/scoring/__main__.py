"""`python -m app.scoring front …` does what `python program front …` does on a host."""

from .main import main

if __name__ == "__main__":
    main()
