"""Measurements, each side by side with what people do today: `python -m benchmarks`, see README.md."""
