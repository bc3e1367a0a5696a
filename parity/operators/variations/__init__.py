"""Cases of our own, drawn from a seed: operators of vision networks with drawn attributes, shapes
and values, and near misses of the patterns that OpenCV fuses.

Begin with cases.py. single.py draws single operators, patterns.py lists what OpenCV fuses, and
perturbations.py turns a pattern into its near misses.
"""
