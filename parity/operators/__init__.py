"""Which operators OpenCV computes right: small graphs with known answers, measured in each engine
and version of OpenCV, and the record and page of the answer. Whole networks live in
parity.coverage. Begin with case.py, then run.py."""
