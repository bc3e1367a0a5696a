"""What goes wrong between PyTorch, the ONNX file and OpenCV: located, reduced, reported, avoided.

Accuracy and verdicts live in `parity.evaluation`; the command lines are in tools/.
Begin with locate.py (whose fault, at which node), reproducer.py and workaround.py.
"""
