"""What predictions and times are worth: scores, parity, stability, timing, the verdict, and how
they are shown. `inference` runs a model; `faults` finds the node that breaks it.
Begin with results.py (all that is measured of a model) and verdict.py (what passes, why not)."""
