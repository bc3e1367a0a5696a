"""Datasets: the generated sample, known downloads, and folders in the layouts of the field.

Not here: decoding of images (preprocessing/). No module here reads a pixel of a user's image.
Begin with dataset.py, what a dataset is, then `read_dataset` in layouts.py, which finds its images.
"""
