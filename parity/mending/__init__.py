"""Rewrite an ONNX file with operators that OpenCV computes right: the rules, the search for those
that a file needs, and the proof that the file stays the same function. Finding the wrong node is
`parity.faults`. Begin with rule.py and hard_sigmoid.py, then rules.py."""
