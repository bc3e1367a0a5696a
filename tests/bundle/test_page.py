from helpers.bundles import tiny_content

from parity.bundle.page import page


def test_it_is_one_page_that_names_what_it_compares_and_how_to_run_it(tmp_path):
    text = page(tiny_content(tmp_path), with_cpp=True)
    assert len(text.splitlines()) < 80
    for part in ("run_onnx.py --verify", "build/run_onnx --verify", "onnxruntime 1", "0.0001"):
        assert part in text
    assert "cmake" not in page(tiny_content(tmp_path), with_cpp=False)


def test_a_file_without_metadata_is_run_with_its_flags(tmp_path):
    content = tiny_content(tmp_path, preprocess={})
    text = page(content, with_cpp=False)
    assert content.flags in text and "--task classification --classes labels.txt" in text


def test_a_forced_bundle_says_so_at_the_top(tmp_path):
    content = tiny_content(tmp_path, forced=True, verdict="FAIL: wrong")
    assert "**This model did not pass: FAIL: wrong.**" in page(content, with_cpp=False)[:400]
