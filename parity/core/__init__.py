"""What every room and script needs: parameters, paths, files, exit codes, processes, fingerprints.
Nothing here knows images, networks or backends.
Begin with params.py (params.yaml, typed) and paths.py (where each result is)."""
