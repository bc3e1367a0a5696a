"""Which models of torchvision and other zoos survive in OpenCV: choosing, measuring and judging the
cells of `make coverage`, and the record and page of the answer. How one model of params.yaml is
evaluated and judged lives in parity.evaluation. Begin with cells.py, then run.py."""
