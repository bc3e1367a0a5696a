"""The library that `stages/` and `tools/` stand on: a room per subject. A room imports only rooms
above it in this list.

core            parameters, paths, files, the command line, other processes, fingerprints
datasets        images with their targets: the sample, ImageNet, VOC, class folders, downloads
preprocessing   decode, resize, crop and normalise images; profiles; the stored splits
networks        torchvision's and the user's networks, their weights, the export to ONNX
backends        run a model in PyTorch, ONNX Runtime or OpenCV: blob in, logits out
inference       run a backend over a split, resume an interrupted run, predictions on disk
evaluation      accuracy, parity, exactness, stability, the verdict and its reasons, charts
graphs          ONNX graphs: cut, match and compare them
faults          find the first wrong tensor, reduce the graph, report the bug, try workarounds
mending         rewrite an ONNX file so that OpenCV computes it right; rules and their proof
coverage        measure the models of zoos in OpenCV, and the tables of the result
operators       measure single operators in OpenCV, and the tables of the result
checking        check any ONNX file: what the records know of it, and what each engine computes
bundle          pack a model for the device with what proves it there; the reports of devices
report          the pages in HTML: the report of a run, and the table of a zoo
"""
