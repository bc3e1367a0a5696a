"""Check the external data of an ONNX file before a library reads the file by itself."""

import mmap
from pathlib import Path


def check_external_data(path: Path) -> None:
    """Raise InputError if an ONNX file names data outside its folder.

    Takes constant memory where no tensor can have external data: the file then nowhere holds the
    key `location` of such data.
    """
    if not path.is_file() or not path.stat().st_size:
        return  # the library refuses it
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") < 0:
            return
    from parity.networks.onnx_file import parse  # the stages that run a model need no onnx

    parse(path)
