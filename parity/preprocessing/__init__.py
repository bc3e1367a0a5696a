"""From an image file to a blob: decoding, resizing, cropping, normalising, and storing the result.

Not here: which images a dataset has (datasets/). What a backend reads is `Split` in splits.py.
Begin with images.py, which decodes and resizes one image; write_splits.py does so for a dataset.
"""
