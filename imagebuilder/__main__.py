"""``imagebuilder`` and ``python -m imagebuilder``: signals and streams first, then what takes time to import."""

import os
import signal


def main() -> None:
    """Entry point."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is a handler that prints a sentence
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look through all that is installed
    from imagebuilder.cli import signals, streams

    signals.leave_at_once()
    streams.open_all()
    from imagebuilder.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
