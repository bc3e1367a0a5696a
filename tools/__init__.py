"""The scripts that a person runs by hand, one a target of `make`."""

from parity.core.user_code import supervise

supervise()
