import errno
import os
import tempfile

import pytest

from parity.core.system_errors import REMEDIES, UNWRITABLE, explain, ran_out, system_error


@pytest.mark.parametrize("number", sorted(REMEDIES), ids=lambda number: errno.errorcode[number])
def test_what_the_system_refuses_is_one_line_with_the_file_and_a_remedy(number):
    words = os.strerror(number).lower()
    line = explain(OSError(number, os.strerror(number), "models/a/model.onnx"))
    assert line.startswith(f"models/a/model.onnx: {words}") and line.endswith(REMEDIES[number])
    assert "\n" not in line
    unnamed = explain(OSError(number, os.strerror(number)))
    assert unnamed.startswith(words) and unnamed.endswith(REMEDIES[number])


def test_a_full_disk_says_what_is_free(tmp_path):
    for path in (tmp_path, tmp_path / "not/there.json"):
        line = explain(OSError(errno.ENOSPC, "", str(path)))
        assert line.startswith(f"{path}: no space left on device: ") and " MB free; " in line


@pytest.mark.parametrize("name", ["a.json", b"a.json", "data/ü.json", b"\xff.json"])
def test_any_name_of_a_file_can_be_explained(name):
    assert explain(OSError(errno.EROFS, "", name)).startswith(f"{os.fsdecode(name)}: read-only")


def raised_while_handling(error: Exception, cause: Exception, hidden: bool) -> Exception:
    try:
        try:
            raise cause
        except Exception:
            if hidden:
                raise error from None
            raise error from cause
    except Exception as raised:
        return raised


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("number", UNWRITABLE)
def test_the_error_of_the_disk_is_found_behind_a_librarys_own(number, hidden):
    cause = OSError(number, os.strerror(number), "a.pth")
    error = RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0")
    error = raised_while_handling(error, cause, hidden)
    assert system_error(error) is cause
    assert explain(error) == explain(cause)


@pytest.mark.parametrize(
    "error",
    [
        *(TypeError("no"), KeyError("images"), ZeroDivisionError(), RuntimeError("shapes differ")),
        *(OSError(errno.EINVAL, "Invalid argument"), OSError(errno.EBADF, "Bad descriptor")),
        OSError("could not get source code"),
        raised_while_handling(TypeError("no"), PermissionError(errno.EACCES, "", "a"), True),
        raised_while_handling(KeyError("a"), FileNotFoundError(errno.ENOENT, "", "a"), False),
    ],
    ids=repr,
)
def test_a_defect_is_not_explained(error):
    assert explain(error) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 7.28 TiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes\n"),
        RuntimeError("Traceback (most recent call last):\n  ...\nMemoryError: std::bad_alloc\n"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=repr,
)
def test_memory_that_runs_out_is_one_line(error):
    line = explain(error)
    assert "\n" not in line and "memory" in line and line.endswith(REMEDIES[errno.ENOMEM])


def test_a_missing_file_is_one_that_make_writes_and_a_missing_folder_for_scratch_is_not():
    assert explain(FileNotFoundError(2, "", "a.npy")) == "a.npy: no such file; `make` writes it"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
        with pytest.raises(FileNotFoundError) as caught:
            tempfile.gettempdir()
    assert explain(caught.value) == "No usable temporary directory found in ['/nowhere']"


def test_the_word_memory_alone_is_no_lack_of_it():
    assert not ran_out("memory format channels_last is not supported")
