"""Turn one application into a bootable, disposable cloud image, and measure how fast it starts."""

__version__ = "0.1.0"
