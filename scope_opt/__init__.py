"""Map neural networks onto multi-chip-module (chiplet) accelerators, with certificates."""

__version__ = "0.1.0"
