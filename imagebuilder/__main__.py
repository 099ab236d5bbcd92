"""``python -m imagebuilder``."""

from imagebuilder.cli.main import main

if __name__ == "__main__":
    main()
