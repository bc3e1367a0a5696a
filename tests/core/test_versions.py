from parity.core.versions import version_numbers


def test_versions_are_compared_as_numbers():
    versions = ["4.13.0.92", "5.0.0-dev", "4.9.0", "5.0.0.93"]
    assert sorted(versions, key=version_numbers) == ["4.9.0", "4.13.0.92", "5.0.0-dev", "5.0.0.93"]
