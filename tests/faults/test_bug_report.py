import pytest

from parity.faults.bug_report import same_finding
from parity.faults.workaround import Outcome, conclusion, table

STABLE = """# DNN, new engine: wrong output without an error: Mul

### System Information

- OpenCV 5.0.0 (opencv-python 5.0.0.93)

### Detailed description

- seen: shape (1, 1, 1, 1), min 1.66667, max 1.66667, mean 1.66667, 0 NaN

[ WARN:0@0.039] global any.cpp:729 parseModel

{workarounds}
"""
UNSTABLE = """# DNN, new engine: the output depends on uninitialized memory: Resize

### System Information

- OpenCV 5.0.0 (opencv-python 5.0.0.93)

### Detailed description

- seen: shape (1, 1, 30, 41), min {value}, max {value}, mean {value}, 0 NaN
- new: unstable, rel {value}
{more}
{workarounds}
"""


def workarounds(ms: float, rel: float = 1.8, failure: str = "rel 1.8, limit 0.0001") -> str:
    known = {"file": "6.3 MB", "engine": "auto", "agreement": 25.0}
    outcomes = [
        Outcome("exporter dynamo", change_size=3, advice="do", rel=1e-6, ms=ms, **known),
        Outcome(
            "unchanged", change_size=0, advice="", rel=rel, ms=2 * ms, failure=failure, **known
        ),
    ]
    return "\n".join([table(outcomes), *conclusion("any", outcomes)])


def test_a_report_of_other_times_is_the_same_finding():
    one, other = (STABLE.format(workarounds=workarounds(ms)) for ms in (6.04, 1234.56))
    assert one != other and same_finding(one, other.replace("@0.039]", "@10.5]"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mean 1.66667", "mean 1.66668"),
        ("5.0.0.93", "5.0.1.1"),
        ("engine: wrong", "engine: another"),
        ("1.8e+00", "1.9e+00"),
        ("cpp:729", "cpp:730"),
        ("| passes", "| rel 1"),
        ("works: exporter dynamo", "works: engine new"),
    ],
)
def test_a_report_of_another_finding_is_not(old, new):
    report = STABLE.format(workarounds=workarounds(6))
    assert old in report and not same_finding(report, report.replace(old, new))


def test_numbers_that_uninitialized_memory_holds_are_no_finding():
    seen = "seen:     min 3.00648e+10\n"
    one = UNSTABLE.format(value=1.79e31, more=seen, workarounds=workarounds(6))
    failure = "unstable: a second pass gave another output"
    changed = workarounds(7, float("nan"), failure)
    other = UNSTABLE.format(value="nan", more=3 * seen.replace("3", "-7"), workarounds=changed)
    assert "unstable, rel nan" in other
    other = other.replace("unstable, rel nan", "unstable, 12 of 40 values are NaN or infinite")
    assert same_finding(one, other)
    assert not same_finding(one, other.replace("| passes", f"| {failure}"))
    assert not same_finding(one, other.replace("5.0.0.93", "5.0.1.1"))
