"""``imagebuilder`` and ``python -m imagebuilder``: signals and streams first, then what takes time to import."""

from imagebuilder.cli import signals, streams


def main() -> None:
    """Entry point."""
    signals.leave_at_once()
    streams.open_all()
    from imagebuilder.cli.main import main as command_line

    command_line()


if __name__ == "__main__":
    main()
