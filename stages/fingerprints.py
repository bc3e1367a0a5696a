"""Write the version of each library to a file, so that an upgrade reruns what uses the library.

One file a library: another version of OpenCV leaves PyTorch's predictions alone.
"""

import argparse
from importlib.metadata import version
from pathlib import Path

from parity.core.cli import run
from parity.core.files import new_directory, write_text

# A file's name, as dvc.yaml has it, and the distributions that it stands for.
LIBRARIES = {
    "torch": ("torch", "torchvision"),
    "opencv": ("opencv-python",),
    "onnxruntime": ("onnxruntime",),
    "onnx": ("onnx", "onnxscript"),
}
VERSIONS = Path("data/versions")


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(prog="stages.fingerprints", description=__doc__).parse_args(argv)
    with new_directory(VERSIONS) as out:
        for name, distributions in LIBRARIES.items():
            lines = [f"{distribution} {version(distribution)}" for distribution in distributions]
            write_text(out / f"{name}.txt", "".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    run(main)
