"""wattest: what a training costs in energy, and what it gives, on a machine that is busy."""

__version__ = "0.1.0"
