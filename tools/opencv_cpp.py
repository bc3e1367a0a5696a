"""Build OpenCV for C++ from the source of the installed opencv-python, and tools/cpp/run_onnx.cpp
with it: `make opencv-cpp`. It takes an hour or more of one core; an interrupted build resumes.

The source is the source distribution of opencv-python. Only the modules that run_onnx.cpp needs are
built, and nothing else is downloaded.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from parity.core.cli import InputError, log, run
from parity.core.files import new_directory
from parity.core.paths import OPENCV_CPP
from parity.core.resumable import parse_jobs
from parity.coverage.opencv_versions import DISTRIBUTION, installed_version

RUNNER = Path(__file__).parent / "cpp"
MODULES = ("core", "imgproc", "imgcodecs", "dnn")
# What would be downloaded (ippicv, kleidicv, a font), and what the modules do not need.
OFF = (
    *("BUILD_DOCS", "BUILD_EXAMPLES", "BUILD_JAVA", "BUILD_PERF_TESTS", "BUILD_TESTS"),
    *("BUILD_opencv_apps", "BUILD_opencv_python3", "OPENCV_GENERATE_SETUPVARS"),
    *("WITH_ADE", "WITH_AVIF", "WITH_CUDA", "WITH_EIGEN", "WITH_FFMPEG", "WITH_GSTREAMER"),
    *("WITH_GTK", "WITH_IPP", "WITH_JASPER", "WITH_JPEGXL", "WITH_KLEIDICV", "WITH_LAPACK"),
    *("WITH_OBSENSOR", "WITH_OPENEXR", "WITH_OPENJPEG", "WITH_UNIFONT", "WITH_V4L"),
)
# The image libraries of the source, as in opencv-python, not those of the system.
ON = ("BUILD_JPEG", "BUILD_PNG", "BUILD_TIFF", "BUILD_WEBP", "BUILD_ZLIB")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.opencv_cpp", description=__doc__)
    parser.add_argument("--jobs", default="", help="compilers at a time; default: one per core")
    jobs = parse_jobs(parser.parse_args(argv).jobs)
    for program in ("cmake", "c++"):
        if not shutil.which(program):
            raise InputError(f"{program}: not found; expected CMake and a C++ compiler")
    version = installed_version()
    log(f"OpenCV of {DISTRIBUTION} {version}, C++ modules {', '.join(MODULES)}, {jobs} at a time")
    print(f"built: {build(version, OPENCV_CPP.resolve(), jobs)}")


def build(version: str, folder: Path, jobs: int) -> Path:
    """Build OpenCV and the runner below a folder; return the path of the runner."""
    source, installed = provide_source(version, folder), folder / f"opencv-{version}"
    options = {
        "BUILD_LIST": ",".join(MODULES),
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_INSTALL_PREFIX": str(installed),
        **dict.fromkeys(OFF, "OFF"),
        **dict.fromkeys(ON, "ON"),
    }
    make(source, folder / f"build-{version}", options, jobs, install=True)
    runner = folder / "run_onnx"
    make(RUNNER, runner, {"CMAKE_PREFIX_PATH": str(installed)}, jobs)
    return runner / "run_onnx"


def provide_source(version: str, folder: Path) -> Path:
    """Return the folder of OpenCV's source, downloading it first if necessary."""
    source = folder / f"source-{version}"
    if not source.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        log(f"downloading the source distribution of {DISTRIBUTION} {version}")
        with new_directory(source) as partial:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            download += [f"--no-binary={DISTRIBUTION}", "--disable-pip-version-check"]
            call([*download, "--dest", str(partial), f"{DISTRIBUTION}=={version}"], "pip")
            (archive,) = partial.glob("*.tar.gz")
            unpack(archive, partial)
            archive.unlink()
    return source


def unpack(archive: Path, folder: Path) -> None:
    """Unpack OpenCV from a source distribution: what lies in <name>-<version>/opencv/ there."""
    with tarfile.open(archive) as packed:
        inside = []
        for member in packed:
            _, _, name = member.name.partition("/")
            if name.startswith("opencv/"):
                member.name = name.removeprefix("opencv/")
                inside.append(member)
        if not inside:
            raise InputError(f"{archive.name}: found no folder opencv; expected OpenCV's source")
        packed.extractall(folder, members=inside, filter="data")


def make(
    source: Path, target: Path, options: dict[str, str], jobs: int, install: bool = False
) -> None:
    """Configure and build a project of CMake; what was built before is not built again."""
    log(f"building {target}")
    values = [f"-D{name}={value}" for name, value in options.items()]
    call(["cmake", "-S", str(source), "-B", str(target), *values], "cmake")
    command = ["cmake", "--build", str(target), "--parallel", str(jobs)]
    call([*command, "--target", "install"] if install else command, "the build")


def call(command: Sequence[str], name: str) -> None:
    """Run a command, whose lines go to stderr; raises InputError where it fails."""
    code = subprocess.run(command, stdout=sys.stderr, check=False).returncode
    if code:
        raise InputError(f"{name} has failed with exit code {code}; the lines above say why")


if __name__ == "__main__":
    run(main)
