"""PID 1 of a machine that prepares a tree while an image is built: a program of its own, so that init stays as small as
a start needs it. It runs one command over a writable layer and writes down what that changed (docs/contracts.md)."""

from imagebuilder.platforms.linux.preparer.build import PREPARER, preparer_key, provide_preparer
from imagebuilder.platforms.linux.preparer.orders import SKIPPED, Orders, prepare_conf

__all__ = ["PREPARER", "SKIPPED", "Orders", "prepare_conf", "preparer_key", "provide_preparer"]
