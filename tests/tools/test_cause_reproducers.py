from helpers.refusals import refused

from tools import cause_reproducers


def test_an_unknown_cause_is_refused():
    with refused("CAUSE: found 'mish'; expected one of number_is_not_second, "):
        cause_reproducers.main(["mish"])
