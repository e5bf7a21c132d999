"""sapiens-bench: benchmark and evaluation harness for human vision models."""

__version__ = "0.1.0"
