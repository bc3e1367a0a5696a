"""The pictures that the pipeline draws, a module per kind; their shared look is in charts.py."""
