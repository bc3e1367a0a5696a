"""Running a backend over the val split: batches, resuming an interrupted run, predictions on disk.

Not here: the backends themselves (backends/) and what the predictions are worth (evaluation/).
Begin with `run_backend` in runner.py; predictions.py documents the files.
"""
