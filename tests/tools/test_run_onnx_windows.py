"""The windows of run_onnx.py and of the demo, on a screen of their own: Xvfb."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.checkout import stage_process
from helpers.images import noise, write_image
from helpers.standalone import write_model

from tools.run_onnx import voc_colors

TITLES = ("classification", "segmentation")  # the tasks
both_tasks = pytest.mark.parametrize("task", TITLES)
pytestmark = pytest.mark.window
KEYS = {"a": 38, "q": 24, "Esc": 9, "Shift": 50}  # codes of a PC's keyboard
SECONDS = 30  # how long a test waits
CORNER = (1279, 1023)  # where the mouse is out of the way
RED, BLUE = (0, 0, 255), (255, 0, 0)  # BGR
FRAMES = 30  # of a video in one of the two colours, before it changes to the other


class Screen:
    """The window on an X display that has one of TITLES, with a keyboard and a mouse for it.

    Speaks the protocol itself, so that the tests need no program but Xvfb: "X Window System
    Protocol", X version 11, appendix B, and "X Test Extension Protocol", section 6.
    """

    MAP, UNMAP, GET_GEOMETRY, QUERY_TREE, INTERN_ATOM, GET_PROPERTY = 8, 10, 14, 15, 16, 20
    SEND_EVENT, WARP_POINTER, GET_INPUT_FOCUS, QUERY_EXTENSION, FAKE_INPUT = 25, 41, 43, 98, 2
    ERROR, REPLY, PRESS, RELEASE, CLIENT_MESSAGE, WM_NAME = 0, 1, 2, 3, 33, 39

    def __init__(self, number: int, framebuffer: Path) -> None:
        self.framebuffer = framebuffer
        self.sent = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"/tmp/.X11-unix/X{number}")
        self.socket.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, 0, 0))
        setup = self._read(4 * struct.unpack("<6xH", self._read(8))[0])
        vendor, formats = struct.unpack_from("<16xH3xB", setup)
        (self.root,) = struct.unpack_from("<I", setup, 32 + -(-vendor // 4) * 4 + 8 * formats)
        self.xtest = self._ask(self.QUERY_EXTENSION, self._text("XTEST"))[9]
        self._point_at(CORNER)

    def pixels(self) -> np.ndarray | None:
        """The window's content, uint8 (H, W, 3), BGR; None without a window."""
        window = self.window()
        if window is None:
            return None
        geometry = self._ask(self.GET_GEOMETRY, struct.pack("<I", window))
        x, y, width, height = struct.unpack_from("<hhHH", geometry, 12)
        content = self.framebuffer.read_bytes()  # in the format of the program xwd
        fields = struct.unpack_from(">25I", content)
        rows, row_bytes, start = fields[5], fields[12], fields[0] + 12 * fields[19]
        screen = np.frombuffer(content, np.uint8, rows * row_bytes, start).reshape(rows, -1, 4)
        return screen[y : y + height, x : x + width, :3]

    def window(self) -> int | None:
        """The id of the window, if there is one."""
        tree = self._ask(self.QUERY_TREE, struct.pack("<I", self.root))
        (count,) = struct.unpack_from("<H", tree, 16)
        for window in struct.unpack_from(f"<{count}I", tree, 32):
            with suppress(LookupError):  # the window has gone meanwhile
                query = struct.pack("<5I", window, self.WM_NAME, 0, 0, 64)
                title = self._ask(self.GET_PROPERTY, query)
                (length,) = struct.unpack_from("<I", title, 16)
                if title[32 : 32 + length].decode() in TITLES:
                    return window
        return None

    def press(self, key: str) -> None:
        """Press a key, with the mouse on the window."""
        self._point_at((10, 10))
        for action in (self.PRESS, self.RELEASE):
            event = struct.pack("<BB2xII8xhh8x", action, KEYS[key], 0, self.root, 0, 0)
            self._send(self.xtest, event, self.FAKE_INPUT)
        self._point_at(CORNER)

    def close(self) -> None:
        """Ask the window to close, as a click on its cross does."""
        names = ("WM_PROTOCOLS", "WM_DELETE_WINDOW")
        answers = [self._ask(self.INTERN_ATOM, self._text(name)) for name in names]
        protocols, delete = (struct.unpack_from("<I", answer, 8)[0] for answer in answers)
        window = self.window()
        event = struct.pack("<BB2xIIII12x", self.CLIENT_MESSAGE, 32, window, protocols, delete, 0)
        self._send(self.SEND_EVENT, struct.pack("<II", window, 0) + event)
        self._ask(self.GET_INPUT_FOCUS)

    def hide_and_show(self) -> None:
        """Take the window from the screen and put it back there, so that it is drawn again."""
        window = self.window()
        if window is not None:
            for request in (self.UNMAP, self.MAP):
                self._send(request, struct.pack("<I", window))

    def _point_at(self, place: tuple[int, int]) -> None:
        self._send(self.WARP_POINTER, struct.pack("<II4xHHhh", 0, self.root, 0, 0, *place))
        self._ask(self.GET_INPUT_FOCUS)  # when that is answered, all before is done

    def _text(self, text: str) -> bytes:
        return struct.pack("<Hxx", len(text)) + text.encode() + bytes(-len(text) % 4)

    def _send(self, opcode: int, body: bytes = b"", minor: int = 0) -> None:
        self.socket.sendall(struct.pack("<BBH", opcode, minor, 1 + len(body) // 4) + body)
        self.sent += 1

    def _ask(self, opcode: int, body: bytes = b"") -> bytes:
        """Send a request and return the reply; raises LookupError for an error."""
        self._send(opcode, body)
        while True:
            answer = self._read(32)
            kind, number, length = struct.unpack_from("<BxHI", answer)
            if kind == self.REPLY:
                answer += self._read(4 * length)
            if number == self.sent % 2**16 and kind == self.ERROR:
                raise LookupError(f"X error {answer[1]} of request {opcode}")
            if number == self.sent % 2**16 and kind == self.REPLY:
                return answer

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = self.socket.recv(count - len(content))
            assert part, "the X server has gone"
            content += part
        return content


@pytest.fixture(scope="module")
def _xvfb(tmp_path_factory) -> Iterator[tuple[str, Screen]]:
    """An X server without a window manager; the name of its display."""
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed")
    folder = tmp_path_factory.mktemp("screen")
    ours, servers = os.pipe()
    command = ["Xvfb", "-displayfd", str(servers), "-screen", "0", "1280x1024x24"]
    command += ["-fbdir", str(folder), "-nolisten", "tcp"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, pass_fds=[servers], stderr=log)
    os.close(servers)
    try:
        with os.fdopen(ours) as pipe:
            number = pipe.readline().strip()
        assert number, (folder / "log").read_text()
        yield f":{number}", Screen(int(number), folder / "Xvfb_screen0")
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def screen(_xvfb, monkeypatch) -> Screen:
    """The screen that windows appear on."""
    monkeypatch.setenv("DISPLAY", _xvfb[0])
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    return _xvfb[1]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a model for each task, and two images."""
    for task in TITLES:
        write_model(tmp_path / f"{task}.onnx", task)
    for seed, name in enumerate(("a", "b")):
        write_image(tmp_path / f"images/{name}.png", noise(240, 320, seed))
    return tmp_path


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a tool with --show, or run_onnx.py for a task; ends what a test leaves running."""
    processes = []

    def start(name: str, *args: str) -> subprocess.Popen:
        if name in TITLES:
            name, args = "run_onnx", ("--model", f"{name}.onnx", "--input", *args)
        processes.append(stage_process(name, *args, "--show", cwd=tmp_path))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], screen: Screen, process: subprocess.Popen) -> None:
    """Wait until a condition holds, as long as the process runs.

    On a busy machine, the Qt of OpenCV 5.0.0 misses the first events of an X server without a
    window manager, and leaves its window black until it has to draw it again.
    """
    began = tried = time.monotonic()
    while not condition():
        if process.poll() is not None or time.monotonic() - began > SECONDS:
            process.kill()
            pytest.fail(f"did not come: {' '.join(process.communicate())}")
        if time.monotonic() - tried > 1:
            tried = time.monotonic()
            screen.hide_and_show()
        time.sleep(0.02)


def wait_for_picture(screen: Screen, path: Path, process: subprocess.Popen) -> None:
    """Wait until the window holds the picture that was written, pixel by pixel."""

    def is_there() -> bool:
        return path.is_file() and np.array_equal(screen.pixels(), cv2.imread(str(path)))

    wait_for(is_there, screen, process)


def end(process: subprocess.Popen, code: int = 0) -> list[str]:
    """Wait for the end; return the lines that were printed."""
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    return output.splitlines()


def written(folder: Path) -> list[str]:
    """The names of the files in the output folder, hidden ones too."""
    return sorted(path.name for path in (folder / "plots").rglob("*") if path.is_file())


# Pictures


@both_tasks
def test_the_picture_is_on_the_screen_as_it_was_written(screen, folder, start, task):
    process = start(task, "images/a.png")
    wait_for_picture(screen, folder / f"plots/demo/{task}-a.png", process)
    screen.press("Shift")
    time.sleep(0.3)
    assert process.poll() is None, "it stays until a key is pressed, and Shift alone is none"
    screen.press("a")
    lines = end(process)
    assert f"picture: plots/demo/{task}-a.png" in lines


def test_what_the_demo_drew_is_on_the_screen(screen, converted, start):
    process = start("demo", "classification", "--image", write_image(converted / "a.png").name)
    wait_for_picture(screen, converted / "plots/demo/squeezenet1_1-a.png", process)
    screen.press("a")
    assert end(process)[-1] == "picture: plots/demo/squeezenet1_1-a.png"


@both_tasks
def test_any_key_goes_on_to_the_next_picture(screen, folder, start, task):
    process = start(task, "images")
    names = [f"{task}-a.png", f"{task}-b.png"]
    for name in names:
        wait_for_picture(screen, folder / "plots/demo" / name, process)
        screen.press("a")
    end(process)
    assert written(folder) == names


@pytest.mark.parametrize("key", ["q", "Esc"])
def test_q_and_escape_end_it_before_the_next_picture(screen, folder, start, key):
    process = start("classification", "images")
    wait_for_picture(screen, folder / "plots/demo/classification-a.png", process)
    screen.press(key)
    end(process)
    assert written(folder) == ["classification-a.png"]


def test_a_closed_window_goes_on_to_the_next_picture(screen, folder, start):
    process = start("segmentation", "images")
    names = ["segmentation-a.png", "segmentation-b.png"]
    for name in names:
        wait_for_picture(screen, folder / "plots/demo" / name, process)
        screen.close()
    end(process)
    assert written(folder) == names


# Videos


def write_video(path: Path, changes: int) -> int:
    """Write a video that is red and then blue so many times; return the number of its frames."""
    code = cv2.VideoWriter.fourcc(*"MJPG")
    video = cv2.VideoWriter(str(path), code, 25, (320, 240))
    for color in (RED, BLUE) * changes:
        for _ in range(FRAMES):
            video.write(np.full((240, 320, 3), color, np.uint8))
    video.release()
    return 2 * FRAMES * changes


def wait_for_color(screen: Screen, color: Sequence[float], process: subprocess.Popen) -> None:
    """Wait until most of the window has a colour, BGR, as closely as a video keeps it."""

    def is_there() -> bool:
        pixels = screen.pixels()
        return pixels is not None and np.abs(np.median(pixels, axis=(0, 1)) - color).max() < 8

    wait_for(is_there, screen, process)


@both_tasks
def test_a_video_is_played_and_not_written(screen, folder, start, task):
    red, blue = np.array([RED, BLUE], np.float64)
    if task == "segmentation":
        red, blue = (red + voc_colors()[1]) / 2, (blue + voc_colors()[3]) / 2
    frames = write_video(folder / "video.avi", changes=5)
    process = start(task, "video.avi")
    for color in (red, blue):
        wait_for_color(screen, color, process)
    lines = end(process)
    assert len([line for line in lines if line.startswith("frame ")]) == frames
    assert not written(folder)


@pytest.mark.parametrize("how", ["q", "Esc", "closed"])
def test_a_video_ends_when_its_user_has_seen_enough(screen, folder, start, how):
    frames = write_video(folder / "video.avi", changes=20)
    process = start("classification", "video.avi")
    wait_for_color(screen, RED, process)
    if how == "closed":
        screen.close()
    else:
        screen.press(how)
    lines = end(process)
    assert lines[-1].startswith("frame ") and len(lines) < frames
    assert not written(folder)


# Interruption


@pytest.mark.parametrize("source", ["images", "video.avi"])
def test_ctrl_c_ends_it_while_a_window_is_open(screen, folder, start, source):
    write_video(folder / "video.avi", changes=20)
    process = start("segmentation", source)
    wait_for(lambda: screen.window() is not None, screen, process)
    process.send_signal(signal.SIGINT)
    end(process, code=130)


# Without a display


@pytest.mark.parametrize(
    ("task", "display", "source", "name"),
    [
        ("classification", ":987", "images/a.png", "classification-a.png"),  # no such display
        ("segmentation", None, "video.avi", "segmentation-video.avi"),
    ],
)
def test_without_a_display_a_line_says_so_and_where_the_picture_lies(
    folder, start, monkeypatch, task, display, source, name
):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(variable, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    write_video(folder / "video.avi", changes=1)
    lines = end(start(task, source))
    (line,) = [line for line in lines if "no display" in line]
    assert f"plots/demo/{name}" in line
    assert written(folder) == [name]
