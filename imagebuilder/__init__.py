"""Turn one application into a bootable, disposable cloud image, and measure how fast it starts.

Our plugin of pytest has no assertions to rewrite, and is imported before pytest by our own verb: PYTEST_DONT_REWRITE.
"""

__version__ = "0.1.0"
