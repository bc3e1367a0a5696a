"""A model packed for the device, with the images and answers that prove it there, and the reports
that devices send home. Begin with content.py: what a bundle holds; write.py writes it. How a device
verifies it is the matter of tools/run_onnx.py, which imports nothing from here."""
